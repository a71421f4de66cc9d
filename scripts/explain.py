"""Explain a product: its raw frame, the steps of its reduction, its masters and why these.

python scripts/explain.py FILE [raw=FOLDER] [results=FOLDER]
python scripts/explain.py FILE raw=FOLDER --what-if MASTER [picture=what_if.png]

Example, after `make demo`:

python scripts/explain.py demo/results/calibrated/ccd.037.0.fits raw=demo/raw

FILE is any product in a results folder. With results=FOLDER it may be a raw frame, by its path or
as inventory.csv has it: its calibrated or reduced frame is explained. With raw=FOLDER the script
adds what the next run would change. --what-if makes a picture and three numbers of what another
combined bias, dark or flat would do to a calibrated frame; it writes no product. Settings that were
given to the run by --config are given here as well: calibrate='{skip_harmful: true}'.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from ccdflow import command_lines, paths, settings
from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.kinds import CHAIN
from ccdflow.kinds.explaining import product_explanation, raw_products
from ccdflow.kinds.explaining.what_if import picture_of_change, rule_line, try_master
from ccdflow.run import read_only_plan
from ccdflow.run.context import PlanContext

NAMES = ("raw", "results", "picture", "cameras", *settings.block_names())


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=NAMES)
    parser.add_argument(
        "--what-if",
        metavar="MASTER",
        help="compare the frame with one calibrated by this combined bias, dark or flat",
    )
    return command_lines.parse_arguments(parser, arguments)


def run(options):
    """Return the lines on a product: its raw frame, steps and masters, or another master's effect.

    Raises
    ------
    UserError
        If not one file of the results folder is given.
    """
    settings_given, files = dict(options.settings_given), options.words
    picture = Path(settings_given.pop("picture", "what_if.png"))
    if len(files) != 1:
        raise UserError(
            "one file is explained at a time",
            keyword="FILE",
            value=" ".join(files) or "none",
            allowed="one file",
            remedy="run the command once for each file",
        )
    file = Path(files[0])
    results = Path(settings_given.get("results") or product_explanation.results_folder_of(file))
    product, first_lines = product_of(file, results)
    context = None
    if "raw" in settings_given:
        session = read_only_plan.plan_only({**settings_given, "results": str(results)}, chain=CHAIN)
        context = PlanContext.of(session.context)
    if options.what_if is None:
        lines = product_explanation.explain_product(results, product, context)
        return "\n".join([*first_lines, *lines])
    return "\n".join(what_if(context, results, product, options.what_if, picture))


def product_of(file, results):
    """Return the product that a path leads to, and [the line on it] if it is a raw frame.

    Parameters
    ----------
    file : pathlib.Path
        A product, or its path relative to the results folder; or a raw frame.
    results : pathlib.Path

    Returns
    -------
    str
        Relative to the results folder; of a raw frame the calibrated frame, else the reduced one.
    list of str

    Raises
    ------
    UserError
        If the path is neither that of a product nor that of a raw frame.
    """
    is_below_results = not file.is_absolute() and (
        (results / file).exists() or file.parts[:1] in [(name,) for name in paths.PRODUCT_FOLDERS]
    )
    if is_below_results and not file.exists():
        file = results / file
    with contextlib.suppress(ValueError):
        return file.resolve().relative_to(results.resolve()).as_posix(), []
    raw_file = raw_products.raw_file_of(results, file)
    products, _ = raw_products.products_of(results, raw_file)
    first_line = raw_products.line_on_raw(results, raw_file)
    return (products or [paths.reduced_frame(raw_file)])[-1], [first_line]


def what_if(context, results, product, master, picture):
    """Write the picture of another master's effect; return the lines on it and on the rule.

    The lines have the three numbers of the effect, and the verdict of the rule on the master.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext or None
        None where no raw folder was given.
    results : pathlib.Path
        The results folder.
    product : str
        Path relative to the results folder.
    master : str
        The other master: a file, or its path relative to the results folder.
    picture : pathlib.Path
        The file to write; an existing file is replaced.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If there is no raw folder, or the picture cannot be written, or is in the results folder.
    """
    if context is None:
        raise UserError("--what-if needs the raw folder", keyword="raw", remedy="write raw=FOLDER")
    is_product = results.resolve() in picture.resolve().parents
    if picture.suffix != ".png" or is_product:
        raise UserError(
            "the picture would be written over a product"
            if is_product
            else "the picture is a PNG file",
            keyword="picture",
            value=str(picture),
            allowed="a name that ends in .png, outside the results folder",
            remedy="write picture=FILE.png",
        )
    master = Path(master) if Path(master).is_file() else results / master
    change = try_master(context, product, master)
    png = picture_of_change(change, product=product, master=master.name)
    try:
        atomic_write.write_whole(picture, [png])
    except OSError as error:
        raise UserError(
            f"cannot be written ({error.strerror})",
            file=picture,
            remedy="give picture=FILE in a folder that can be written",
        ) from None
    rule = rule_line(context, product, master)
    lines = [*change.lines(), *([rule] if rule else []), f"  picture  {picture}"]
    return [f"{product} with {master.name}:", *lines]


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
