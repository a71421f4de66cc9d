"""What is still missing for the frames of tonight: which darks, flats and biases to take now.

python scripts/tonight.py raw=FOLDER [results=FOLDER] [night=2016-01-16]

Reads headers only, and writes nothing. It needs no result; where there are results, headers read
before are not read again, and the noise is that of the measured sky. Without `night=` it takes the
last night. Example:

python scripts/tonight.py raw=/data/lfc results=/data/lfc-reduced
"""

from __future__ import annotations

import argparse
import sys

from ccdflow.errors import CcdflowError, UserError
from ccdflow.kinds import CHAIN, tonight
from ccdflow.run import looking
from ccdflow.run.context import Planning


def parse(arguments=None):
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="raw=FOLDER results=FOLDER night=NIGHT")
    return parser.parse_args(arguments)


def run(options):
    """Return the lines on a night."""
    allowed = ("raw", "results", "cameras", "night")
    given, rest = looking.split_words(options.words, allowed=allowed)
    if rest:
        raise UserError(
            "is not understood", value=rest[0], allowed="raw=FOLDER results=FOLDER night=NIGHT"
        )
    if "raw" not in given:
        raise UserError("is not given", keyword="raw", remedy="write raw=FOLDER")
    night = given.pop("night", None)
    context = Planning.of(looking.look(given, chain=CHAIN).context)
    return tonight.lines(context, night or tonight.last_night(context))


def main(arguments=None):
    """Run the command line and return its exit status."""
    try:
        print("\n".join(run(parse(arguments))))
    except CcdflowError as error:
        print(f"ccdflow: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
