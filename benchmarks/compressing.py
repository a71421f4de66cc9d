"""Calibrated frames as compressed tiles: their sizes, and the CPU times to write and read them.

python benchmarks/compressing.py FRAME ... [--out FOLDER]

FRAME are uncompressed calibrated frames, such as demo/results/calibrated/ccd.037.0.fits after
`make demo`. The writers of ccdflow and `CompImageHDU` of astropy write each frame, and astropy
reads it. Times are those of one process on one core, the smallest of `ROUNDS`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import measure
import numpy as np
from astropy.io import fits

from ccdflow.files.fits_products import compressed_images
from ccdflow.files.fits_products.multi_image_products import Plane, read_stored_hdus

ROUNDS, ROWS = 3, 512
NAMES_BY_FORM = {"": "plain", "lossless": "compress: lossless", "quantised": "compress: quantised"}
ASTROPY_NAME = "astropy's CompImageHDU, GZIP_2, lossless"


def write_by_ccdflow(frame, target, compress):
    """Write a frame in blocks of rows as the workflow does, and return the CPU seconds."""
    stored_hdus, arrays = read_stored_hdus(frame), []
    with fits.open(frame, memmap=False) as hdus:
        arrays = [np.array(hdu.data, hdu.data.dtype.newbyteorder("=")) for hdu in hdus]
    planes = [
        Plane(lambda words, stored=stored: stored.cards.to_bytes(words), stored.shape, stored.dtype)
        for stored in stored_hdus
    ]
    start_time = time.process_time()
    with compressed_images.product_writer(target, planes, compress=compress) as writer:
        for plane, array in zip(planes, arrays, strict=True):
            for start in range(0, len(array), ROWS):
                writer.write(plane, array[start : start + ROWS])
        writer.finish()
    return time.process_time() - start_time


def write_by_astropy(frame, target):
    """Write a frame with astropy's compressed HDUs, and return the CPU seconds."""
    with fits.open(frame, memmap=False) as hdus:
        compressed_hdus = [fits.PrimaryHDU()]
        compressed_hdus += [
            fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0)
            for hdu in hdus
        ]
        start_time = time.process_time()
        fits.HDUList(compressed_hdus).writeto(target, overwrite=True)
        return time.process_time() - start_time


def reading_seconds(path):
    """Return the CPU seconds in which astropy reads all pixels."""
    start_time = time.process_time()
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus:
            np.asarray(hdu.data)
    return time.process_time() - start_time


def mean_figures(frames, write, folder):
    """Return the mean of [bytes, seconds to write, seconds to read] over the frames."""
    figures = []
    for frame in frames:
        target = Path(folder) / "frame.fits"
        times = [(write(frame, target), reading_seconds(target)) for _ in range(ROUNDS)]
        figures.append([target.stat().st_size, *np.min(times, axis=0)])
    return np.mean(figures, axis=0)


def table(frames):
    """Return the lines of the table."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            name: mean_figures(frames, lambda f, t, form=form: write_by_ccdflow(f, t, form), folder)
            for form, name in NAMES_BY_FORM.items()
        }
        figures[ASTROPY_NAME] = mean_figures(frames, write_by_astropy, folder)
    plain_size = figures["plain"][0]
    lines = [
        "| a calibrated frame with UNCERT and MASK | MB | of plain | CPU s to write | to read |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (size, write_seconds, read_seconds) in figures.items():
        fraction = f"{size / plain_size:.0%}"
        lines.append(
            f"| {name} | {size / 1e6:.1f} | {fraction} | {write_seconds:.2f} | {read_seconds:.2f} |"
        )
    return lines


def main():
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", nargs="+", type=Path, metavar="FRAME")
    measure.add_output_option(parser)
    options = parser.parse_args()
    shape = read_stored_hdus(options.frames[0])[0].shape
    text = "\n".join(
        [
            "# Calibrated frames, compressed",
            "",
            f"{len(options.frames)} frames of {shape[1]} x {shape[0]} pixels; one core.",
            "",
            *table(options.frames),
            "",
        ]
    )
    (options.out / "compressing.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
