"""Combined bias, dark and flat by ccdflow's functions: `python ccdflow_masters.py FRAMES OUT`.

FRAMES holds reduced {bias,dark,flat}_*.fits, of one exposure for each kind. OUT gets
combined_bias.fits, combined_dark.fits and combined_flat.fits, with --errors also UNCERT and MASK.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import ccdflow.lean_imports  # noqa: F401

# isort: split
from astropy.io import fits

from ccdflow.combine.biases import combine_biases
from ccdflow.combine.darks import combine_darks
from ccdflow.combine.flats import FlatSubtraction, ScaledDark, combine_flats
from ccdflow.combine.member_reader import member_of_file
from ccdflow.combine.noise import AmplifierNoise
from ccdflow.combine.stack import CombineOptions
from ccdflow.combine.subtracted_masters import SubtractedMaster
from ccdflow.files import atomic_write
from ccdflow.files.fits_products.hdus import array_hdu
from ccdflow.files.header_text import CardList


def members(folder, name):
    """Return the frames of a kind, and the header of the first frame."""
    paths = sorted(folder.glob(f"{name}_*.fits"))
    return [member_of_file(path) for path in paths], fits.getheader(paths[0])


def save(path, combined, *, errors):
    """Write a combined image, with uncertainty and mask if `errors` is true."""
    cards = CardList()
    cards.set("BUNIT", "adu")
    hdu_parts = array_hdu(cards, combined.image, is_primary=True)
    if errors:
        hdu_parts += array_hdu(CardList(), combined.uncertainty, name="UNCERT")
        hdu_parts += array_hdu(CardList(), combined.mask, name="MASK")
    atomic_write.write_whole(path, hdu_parts)


def amplifier_of(shape, header):
    """Return the noise of the only amplifier by the header."""
    gain = header["GAIN"]
    return [AmplifierNoise("A", (0, shape[0], 0, shape[1]), header["RDNOISE"] / gain, gain)]


def main():
    """Combine the frames of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    members_by_kind = {name: members(options.frames, name) for name in ("bias", "dark", "flat")}
    # A master is written while the next one is combined, as in jobs of the workflow.
    with ThreadPoolExecutor(1) as writer:
        jobs = []

        def combine_kind(name, combine, **options_of_kind):
            """Combine the frames of a kind, and return the result and the exposure."""
            frames, header = members_by_kind[name]
            result = combine(
                frames,
                amplifiers=amplifier_of(frames[0].shape, header),
                options=CombineOptions(
                    options.threads, uncertainty_source="scatter" if options.errors else None
                ),
                **options_of_kind,
            )
            path = options.out / f"combined_{name}.fits"
            jobs.append(writer.submit(save, path, result, errors=options.errors))
            return result, header["EXPTIME"]

        bias_result, _ = combine_kind("bias", combine_biases)
        bias = SubtractedMaster(bias_result.image, uncertainty=bias_result.uncertainty)
        dark_result, seconds = combine_kind("dark", combine_darks, bias=bias)
        dark = SubtractedMaster(
            dark_result.image,
            uncertainty=dark_result.uncertainty,
            seconds=seconds,
            is_bias_subtracted=True,
        )
        flats, header = members_by_kind["flat"]
        scaled_dark = ScaledDark(dark, [header["EXPTIME"]] * len(flats))
        combine_kind("flat", combine_flats, subtraction=FlatSubtraction(bias, scaled_dark))
        for job in jobs:
            job.result()


if __name__ == "__main__":
    main()
