"""Simulate raw frames: the guide's LFC night, a run of biases, or an archive of nights.

python scripts/simulate.py FOLDER [--scale 0.0625]    the guide's night
python scripts/simulate.py FOLDER --biases 200        LFC biases
python scripts/simulate.py FOLDER --nights 100        an archive of tiny frames
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from ccdflow import simulate
from ccdflow.errors import UserError


def parse(arguments=None):
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="folder to write the frames to")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--biases", type=int, metavar="N", help="write N biases")
    kind.add_argument("--nights", type=int, metavar="N", help="write N nights of tiny frames")
    parser.add_argument(
        "--frames-per-night", type=int, default=100, metavar="N", help="with --nights"
    )
    parser.add_argument("--seed", type=int, default=2016, help="the same seed, the same bytes")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="science rows and columns as a fraction of 2048 x 4128 (0.0625: 128 x 258), or of"
        " 64 x 48 with --nights",
    )
    parser.add_argument(
        "--date", default="2016-01-16", help="UT date, YYYY-MM-DD (--nights: of the first)"
    )
    parser.add_argument("--darks-date", help="UT date of the frames in darks/ (default: --date)")
    parser.add_argument("--instrument", default="LFC", help="value of the INSTRUME card")
    parser.add_argument("--overscan-side", default="right", choices=("right", "left"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--overwrite", action="store_true", help="write all frames, over whatever is there"
    )
    return parser.parse_args(arguments)


def run(options):
    """Write the requested frames and return the line that names them."""
    own = {"instrument": options.instrument, "overscan_side": options.overscan_side}
    common = {"seed": options.seed, "workers": options.threads}
    if options.nights is not None:
        count = simulate.simulate_archive(
            options.folder,
            nights=options.nights,
            frames_per_night=options.frames_per_night,
            first_date=options.date,
            camera=replace(simulate.ARCHIVE_CAMERA, **own).scaled(options.scale),
            **common,
        )
        return f"{count} simulated frames were added to {options.folder}"
    common |= {
        "scale": options.scale,
        "camera": replace(simulate.LFC, **own),
        "date": options.date,
        "overwrite": options.overwrite,
    }
    if options.biases is not None:
        truth = simulate.simulate_biases(options.folder, options.biases, **common)
    else:
        truth = simulate.simulate_night(options.folder, darks_date=options.darks_date, **common)
    size = f"{truth.camera['naxis1']} x {truth.camera['naxis2']}"
    return (
        f"{len(truth.frames)} simulated frames of {size} are in {options.folder}; "
        f"what was injected is in {simulate.TRUTH_FILE} and {simulate.TRUTH_ARRAYS} there"
    )


def main(arguments=None):
    """Run the command line and return its exit status."""
    options = parse(arguments)
    try:
        print(run(options))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or options.folder}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
