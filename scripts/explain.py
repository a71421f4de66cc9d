"""Tell the story of a product: raw frame, what was subtracted and divided, which masters and why.

python scripts/explain.py [raw=FOLDER] [results=FOLDER] FILE
python scripts/explain.py raw=FOLDER FILE --what-if MASTER [--picture what_if.png]

FILE is any product in a results folder. With raw=FOLDER it says what the next run would change.
--what-if makes a picture and three numbers of what another combined bias, dark or flat would do to
a calibrated frame; it writes no product. Example, after `make demo`:

python scripts/explain.py raw=demo/raw demo/results/calibrated/ccd.037.0.fits
"""

from __future__ import annotations

import sys
from pathlib import Path

from ccdflow import commandline
from ccdflow.errors import UserError
from ccdflow.kinds import CHAIN, story
from ccdflow.run import looking
from ccdflow.run.context import Planning


def parse(arguments=None):
    """Return the parsed command line."""
    parser = commandline.parser(
        __doc__,
        words="raw=FOLDER results=FOLDER cameras=FOLDER FILE",
        names=("raw", "results", "cameras"),
    )
    parser.add_argument("--what-if", metavar="MASTER", help="another combined bias, dark or flat")
    parser.add_argument(
        "--picture", type=Path, default=Path("what_if.png"), help="where --what-if draws it"
    )
    return commandline.parse(parser, arguments)


def run(options):
    """Return the lines of the story."""
    given, files = options.given, options.words
    if len(files) != 1:
        raise UserError("one file is explained at a time", value=" ".join(files) or "none")
    file = Path(files[0])
    results = Path(given["results"]) if "results" in given else story.results_of(file)
    if not file.exists() and not file.is_absolute() and (results / file).exists():
        file = results / file
    try:
        product = file.resolve().relative_to(results.resolve()).as_posix()
    except ValueError:
        raise UserError("does not lie in the results folder", file=file, value=results) from None
    context = None
    if "raw" in given:
        look = looking.look({**given, "results": str(results)}, chain=CHAIN)
        context = Planning.of(look.context)
    if options.what_if is None:
        return "\n".join(story.tell(results, product, context))
    return "\n".join(what_if(context, results, product, options))


def what_if(context, results, product, options):
    """Return the three numbers, and draw the picture."""
    if context is None:
        raise UserError("--what-if needs the raw folder", keyword="raw", remedy="write raw=FOLDER")
    from ccdflow.kinds import what_if

    master = Path(options.what_if)
    master = results / master if not master.is_file() else master
    found = what_if.try_master(context, product, master)
    png = what_if.picture(found, product=product, master=master.name)
    try:
        options.picture.write_bytes(png)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", file=options.picture) from None
    return [f"{product} with {master.name}:", *found.lines(), f"  picture  {options.picture}"]


def main(arguments=None):
    """Run the command line and return its exit status."""
    return commandline.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
