"""The CCD guide's notebooks on its LFC night (example 1) as one script, without their pictures.

`python guide_notebooks.py RAW OUT` runs the calls of notebooks 02-03 to 06-03 with their arguments.
Only the name of the deviation function in the clipping of flats is corrected. RAW holds biases,
flats and science frames, RAW/darks the darks. OUT gets reduced frames, masters and calibrated
frames, in adu.
"""

import sys
from pathlib import Path

import ccdproc
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
from astropy.stats import mad_std

COMBINE_OPTIONS = {
    "method": "average",
    "sigma_clip": True,
    "sigma_clip_low_thresh": 5,
    "sigma_clip_high_thresh": 5,
    "sigma_clip_func": np.ma.median,
    "mem_limit": 350e6,
}
# The longest difference between the exposure times of a frame and of its dark, in seconds.
MOST_SECONDS_APART = 0.5


def reduce_frame(ccd):
    """Return a frame minus its overscan, the last 25 columns, without the last 32 columns."""
    ccd = ccdproc.subtract_overscan(ccd, overscan=ccd[:, -25:], median=True)
    return ccdproc.trim_image(ccd[:, :-32])


def uncompressed_name(name):
    """Return the name of a file without .gz."""
    # A .gz name would make astropy compress, at over a minute a frame.
    return name.removesuffix(".gz")


def write_combined(paths, out, **options):
    """Combine frames, write the result and return it."""
    combined = ccdproc.combine(
        paths, unit="adu", sigma_clip_dev_func=mad_std, **COMBINE_OPTIONS, **options
    )
    combined.meta["combined"] = True
    combined.write(out)
    return combined


def files_with_cards(out, **cards):
    """Return the paths of the frames in a folder that have these cards."""
    collection = ccdproc.ImageFileCollection(out)
    return collection.files_filtered(**cards, include_path=True)


def frames_of_type(folder, imagetyp):
    """Yield the frames of an image type in a folder, and their names."""
    collection = ccdproc.ImageFileCollection(folder)
    return collection.ccds(imagetyp=imagetyp, ccd_kwargs={"unit": "adu"}, return_fname=True)


def nearest_dark(ccd, darks):
    """Return the combined dark with the exposure nearest to that of a frame."""
    seconds = ccd.header["EXPTIME"]
    nearest = min(darks, key=lambda time: abs(time - seconds))
    if abs(nearest - seconds) > MOST_SECONDS_APART:
        raise RuntimeError(f"no dark of {seconds} s: the nearest is {nearest} s")
    return darks[nearest]


def subtract_nearest_dark(ccd, darks):
    """Return a frame minus the combined dark of its exposure."""
    dark = nearest_dark(ccd, darks)
    return ccdproc.subtract_dark(ccd, dark, exposure_time="exptime", exposure_unit=u.second)


def inverse_median(image):
    """Return the factor that scales a flat to a median of 1."""
    return 1 / np.median(image)


def main():
    """Calibrate the night of the command line."""
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    for ccd, name in frames_of_type(raw, "BIAS"):
        reduce_frame(ccd).write(out / uncompressed_name(name))
    write_combined(files_with_cards(out, imagetyp="BIAS"), out / "combined_bias.fits")
    for ccd, name in frames_of_type(raw / "darks", "DARK"):
        reduce_frame(ccd).write(out / uncompressed_name(name))
    summary = ccdproc.ImageFileCollection(out).summary
    times = sorted(set(summary["exptime"][summary["imagetyp"] == "DARK"]))
    darks = {
        time: write_combined(
            files_with_cards(out, imagetyp="DARK", exptime=time),
            out / f"combined_dark_{time:6.3f}.fits",
        )
        for time in times
    }
    for ccd, name in frames_of_type(raw, "FLATFIELD"):
        subtract_nearest_dark(reduce_frame(ccd), darks).write(
            out / f"flat-{uncompressed_name(name)}"
        )
    summary = ccdproc.ImageFileCollection(out).summary
    filters = sorted(set(summary["filter"][summary["imagetyp"] == "FLATFIELD"]))
    flats = {}
    for band in filters:
        paths = files_with_cards(out, imagetyp="FLATFIELD", filter=band)
        name = f"combined_flat_filter_{band.replace(chr(39), 'p')}.fits"
        flats[band] = write_combined(paths, out / name, scale=inverse_median)
    for ccd, name in frames_of_type(raw, "OBJECT"):
        ccd = subtract_nearest_dark(reduce_frame(ccd), darks)
        ccd = ccdproc.flat_correct(ccd, flats[ccd.header["FILTER"]])
        CCDData(ccd.data, unit="adu", header=ccd.header).write(out / uncompressed_name(name))


if __name__ == "__main__":
    main()
