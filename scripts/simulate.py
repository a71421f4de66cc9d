"""Simulate raw frames: the guide's LFC night, a run of biases, or an archive of nights.

python scripts/simulate.py raw=FOLDER                 the guide's night
python scripts/simulate.py raw=FOLDER --biases 200    LFC biases
python scripts/simulate.py raw=FOLDER --nights 100    an archive of tiny frames

The folder is made; existing frames are not written again. Example, 2 MB:

python scripts/simulate.py raw=demo/small --scale 0.0625
"""

from __future__ import annotations

import sys
from dataclasses import replace

from ccdflow import command_lines, simulate


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("raw",))
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--biases", type=int, metavar="N", help="write N biases")
    kind.add_argument("--nights", type=int, metavar="N", help="write N nights of tiny frames")
    parser.add_argument(
        "--frames-per-night",
        type=int,
        default=100,
        metavar="N",
        help="frames of each night of --nights (default: 100)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=2016,
        help="frames with the same seed have the same bytes (default: 2016)",
    )
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
    parser.add_argument(
        "--overscan-side", default="right", choices=("right", "left"),
        help="side of the image with the overscan (default: right)",
    )  # fmt: skip
    command_lines.add_cores(parser, "--threads", default=2)
    parser.add_argument(
        "--overwrite", action="store_true", help="write all frames, also over existing files"
    )
    return command_lines.parse_arguments(parser, arguments)


def run(options):
    """Write the requested frames and return the line that names them."""
    folder = command_lines.path(options, "raw", may_lack_name=True)
    command_lines.refuse_further_words(options)
    camera_settings = {"instrument": options.instrument, "overscan_side": options.overscan_side}
    shared_options = {"seed": options.seed, "workers": options.cores}
    if options.nights is not None:
        count = simulate.simulate_archive(
            folder,
            nights=options.nights,
            frames_per_night=options.frames_per_night,
            first_date=options.date,
            camera=replace(simulate.ARCHIVE_CAMERA, **camera_settings).scale_by(options.scale),
            **shared_options,
        )
        return f"{count} simulated frames were added to {folder}"
    shared_options |= {
        "scale": options.scale,
        "camera": replace(simulate.LFC, **camera_settings),
        "date": options.date,
        "overwrites": options.overwrite,
    }
    if options.biases is not None:
        truth = simulate.simulate_biases(folder, options.biases, **shared_options)
    else:
        truth = simulate.simulate_night(folder, darks_date=options.darks_date, **shared_options)
    size_in_words = f"{truth.camera['naxis1']} x {truth.camera['naxis2']}"
    return (
        f"{len(truth.frames)} simulated frames of {size_in_words} are in {folder}; "
        f"the injected truth is in {simulate.TRUTH_FILE} and {simulate.TRUTH_ARRAYS} there"
    )


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
