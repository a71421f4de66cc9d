"""Make products again with ccdproc and astropy, from their headers alone, and compare them.

python scripts/verify.py raw=FOLDER results=FOLDER [PRODUCT ...] [--all] [--whole] [--expected WORD]

Example, after `make demo`:

python scripts/verify.py raw=demo/raw results=demo/results reduced/ccd.001.0.fits

Without PRODUCT it takes one reduced, one calibrated and one combined frame of each camera, type and
night. `snakemake verify` does the same.
Verdicts are in results/verification.csv. A verified product is not verified again while it and the
files that it names are unchanged. Exit status 1 if any product differs, or cannot be made again for
a reason that is not expected; 2 if the verification itself failed (docs/verify.md).
"""

from __future__ import annotations

import sys

from ccdflow import command_lines
from ccdflow.run.ledger import noted_fits_products
from ccdflow.verify import command
from ccdflow.verify.reading.verdict import EXPECTABLE


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("raw", "results"))
    parser.add_argument("--all", action="store_true", help="verify every product, not a sample")
    parser.add_argument(
        "--whole",
        action="store_true",
        help="compare all rows of combined frames, not bands of them",
    )
    parser.add_argument(
        "--expected", action="append", default=[], choices=EXPECTABLE,
        help="reason for which a product that cannot be made again is no failure; may be repeated",
    )  # fmt: skip
    command_lines.add_cores(parser)
    return command_lines.parse_arguments(parser, arguments)


def run(options):
    """Verify the products, and return the lines on them and the exit status."""
    raw, results = (command_lines.path(options, name, must_exist=True) for name in options.names)
    request = command.VerifyRequest(
        product_names=tuple(options.words),
        verifies_all_products=options.all,
        compares_all_rows=options.whole,
        expected_causes=tuple(options.expected),
        threads=options.cores,
    )
    return command.verify_and_report(
        raw, results, request, notes_by_product=noted_fits_products(results)
    )


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
