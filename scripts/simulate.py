"""Simulate the guide's LFC night: ``python scripts/simulate.py FOLDER [--scale 0.0625]``."""

from __future__ import annotations

import argparse
import sys

from ccdflow import simulate
from ccdflow.errors import UserError


def parse(arguments=None):
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folder", help="folder to write the frames to")
    parser.add_argument("--seed", type=int, default=2016, help="the same seed, the same bytes")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="size of the frames as a fraction of the LFC's 2048 x 4128 (0.0625: 128 x 258)",
    )
    parser.add_argument("--date", default="2016-01-16", help="UT date of the frames, YYYY-MM-DD")
    parser.add_argument("--darks-date", help="UT date of the frames in darks/ (default: --date)")
    parser.add_argument("--instrument", default="LFC", help="value of INSTRUME")
    parser.add_argument("--overscan-side", default="right", help="right or left")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--overwrite", action="store_true", help="write over what is there")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Run the command line and return its exit status."""
    options = parse(arguments)
    try:
        truth = simulate.simulate_night(
            options.folder,
            seed=options.seed,
            scale=options.scale,
            camera=simulate.Camera(
                instrument=options.instrument, overscan_side=options.overscan_side
            ),
            date=options.date,
            darks_date=options.darks_date,
            overwrite=options.overwrite,
            workers=options.threads,
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    size = f"{truth.camera['naxis1']} x {truth.camera['naxis2']}"
    print(
        f"{len(truth.frames)} simulated frames of {size} are in {options.folder}; "
        f"what was injected is in {simulate.TRUTH_FILE} and {simulate.TRUTH_ARRAYS} there"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
