"""Combine reduced frames into one, by hand.

python scripts/combine.py out=FILE FRAME FRAME ...

The workflow does this for every night and camera; the script does it for a few files by hand. The
frames have to be uncompressed float images of one shape, as ccdflow's reduced frames are.
Example, after `make demo`:

python scripts/combine.py out=demo/bias.fits demo/results/reduced/ccd.00[1-6].0.fits
"""

from __future__ import annotations

import sys
from collections import Counter

from ccdflow import command_lines
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.combined_header import is_electrons
from ccdflow.combine.combined_image import write_combined_image
from ccdflow.combine.member_reader import member_of_file, unit_of_image
from ccdflow.combine.noise import AmplifierNoise, NoiseModel
from ccdflow.combine.stack import DEFAULT_STACK_BYTES, CombineOptions, combine
from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.wording import count


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("out",))
    parser.add_argument("--hdu", type=int, default=0, help="number of the image's HDU (default: 0)")
    parser.add_argument(
        "--method", default="average", choices=("average", "median"),
        help="statistic of the values of a pixel (default: average)",
    )  # fmt: skip
    parser.add_argument(
        "--clip",
        type=command_lines.number_type("--clip", allowed="sigma from 1 up, or 0"),
        default=5.0,
        help="reject values more than this many sigma from the median; 0 rejects none (default: 5)",
    )
    parser.add_argument(
        "--clip-by",
        default="auto",
        choices=("auto", "noise", "mad", "std"),
        help="source of sigma; auto: noise, for fewer than ten frames with --read-noise, else mad",
    )
    parser.add_argument(
        "--read-noise",
        type=command_lines.number_type(
            "--read-noise", allowed="in the unit of the frames, 0 or more"
        ),
        help="read noise of a pixel, in the unit of the frames",
    )
    parser.add_argument(
        "--gain",
        type=command_lines.number_type("--gain", above=0, allowed="electrons a unit, above 0"),
        help="electrons for each unit of the frames; not for biases",
    )
    parser.add_argument(
        "--iterations", type=int, default=1, help="rounds of clipping at most (default: 1)"
    )
    parser.add_argument(
        "--memory",
        type=command_lines.number_type("--memory", above=0, allowed="MB, above 0"),
        default=DEFAULT_STACK_BYTES / 1e6,
        metavar="MB",
        help=f"memory at most, MB (default: {DEFAULT_STACK_BYTES / 1e6:g})",
    )
    command_lines.add_cores(parser, "--threads")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    return command_lines.parse_arguments(parser, arguments)


def run(options):
    """Combine the files, write the result and return the line on it.

    Raises
    ------
    UserError
        If no frame is given, a frame is given twice, or the product exists already or is one of
        the frames.
    """
    product = command_lines.path(options, "out", placeholder="FILE", may_lack_name=True)
    if not all(options.words or [""]):
        raise UserError("no frame is given", remedy="name the reduced frames")
    repeated_frames = [word for word, number in Counter(options.words).items() if number > 1]
    if repeated_frames:
        raise UserError(
            "the frame is given twice", file=repeated_frames[0], remedy="give each frame once"
        )
    command_lines.check_products([product], options.words, may_replace_files=options.overwrite)
    recipe = CombineRecipe(
        method=options.method,
        clip=options.clip or None,
        iterations=options.iterations,
        clip_by=options.clip_by,
    )
    members = [member_of_file(path, hdu=options.hdu) for path in options.words]
    unit = common_unit(options.words, options.hdu)
    result = combine(
        members,
        recipe,
        noise=noise_of(options, members[0].shape),
        options=CombineOptions(options.cores, int(options.memory * 1e6), uncertainty_source=None),
    )
    write_combined_image(product, result, options.words, unit=unit)
    for line in lines_on_empty_members(options.words, result):
        print(f"ccdflow: {line}", file=sys.stderr)
    for path in product.parent.iterdir():
        atomic_write.remove_abandoned(path)
    return (
        f"{product}: {count(len(members), 'frame')}, {result.recipe}; "
        f"{int(result.n_clipped.sum())} values rejected"
    )


def noise_of(options, shape):
    """Return the noise model of the options, None without a read noise.

    Parameters
    ----------
    options : argparse.Namespace
    shape : (int, int)
        (ny, nx) of a frame.

    Returns
    -------
    NoiseModel or None
    """
    if options.read_noise is None:
        return None
    amplifier = AmplifierNoise("all", (0, shape[0], 0, shape[1]), options.read_noise, options.gain)
    return NoiseModel((amplifier,), tuple(shape))


def common_unit(files, hdu):
    """Return the unit of the frames; a frame without BUNIT is in adu.

    Parameters
    ----------
    files : list of str
    hdu : int
        Number of the image's HDU.

    Returns
    -------
    str

    Raises
    ------
    UserError
        If frames differ in their unit.
    """
    units = [unit_of_image(path, hdu=hdu) or "adu" for path in files]
    for path, unit in zip(files, units, strict=True):
        if _lower_unit(unit) != _lower_unit(units[0]):
            raise UserError(
                f"is in another unit than {files[0]}",
                file=path,
                keyword="BUNIT",
                value=unit,
                allowed=units[0],
                remedy="combine frames of one unit, or correct the card",
            )
    return units[0]


def _lower_unit(unit):
    """Return a unit in small letters, and electron for all spellings of electrons."""
    return "electron" if is_electrons(unit) else unit.lower()


def lines_on_empty_members(files, result):
    """Return a line on each frame without any finite pixel: the others alone were combined.

    Parameters
    ----------
    files : list of str
    result : ccdflow.combine.stack.Combined

    Returns
    -------
    list of str
    """
    return [
        f"{path}: no pixel is finite, so nothing of it is in the product; leave it out"
        for path, number in zip(files, result.n_invalid, strict=True)
        if number == result.image.size
    ]


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
