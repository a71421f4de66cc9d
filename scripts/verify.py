"""Make products again by ccdproc and astropy, from their headers alone, and compare them.

python scripts/verify.py raw=FOLDER results=FOLDER [PRODUCT ...] [--all] [--whole]

Without PRODUCT it takes one frame of each camera, type and night, and every combined frame.
Verdicts are in results/verification.csv. A verified product is not verified again while it and the
files that it names are unchanged. Exit status 1 if any product differs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ccdflow.errors import CcdflowError, UserError
from ccdflow.verify import table, verdicts


def parse(arguments=None):
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="raw=FOLDER results=FOLDER PRODUCT ...")
    parser.add_argument("--all", action="store_true", help="every product, not a sample")
    parser.add_argument(
        "--whole", action="store_true", help="all rows of combined frames, not bands of them"
    )
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args(arguments)


def folders_and_products(words):
    """Return the folders given as ``raw=`` and ``results=``, and the other words.

    Raises
    ------
    UserError
        If a folder is not given or not there.
    """
    given = dict(word.split("=", 1) for word in words if word.startswith(("raw=", "results=")))
    for name in ("raw", "results"):
        if name not in given:
            raise UserError("is not given", keyword=name, remedy=f"write {name}=FOLDER")
        if not Path(given[name]).is_dir():
            raise UserError("is not a folder", keyword=name, value=given[name])
    rest = [word for word in words if not word.startswith(("raw=", "results="))]
    return Path(given["raw"]), Path(given["results"]), rest


def named(results, words):
    """Return the products that are named, relative to the results folder."""
    there = set(table.products_of(results))
    products = []
    for word in words:
        product = word.removeprefix(f"{results.as_posix()}/")
        if product not in there:
            raise UserError(
                "there is no such product",
                file=results / product,
                allowed=f"a file below {results}/reduced or {results}/combined",
            )
        products.append(product)
    return products


def run(options):
    """Verify the products, print the result, and return the exit status."""
    raw, results, words = folders_and_products(options.words)
    if words:
        products = named(results, words)
    else:
        products = table.products_of(results) if options.all else table.sample_of(results)
    found, fresh = table.verify_products(
        products, raw=raw, results=results, whole=options.whole, threads=options.cores
    )
    for line in table.lines_of(found, fresh):
        print(f"ccdflow: {line}")
    return int(any(verdict.verdict == verdicts.DIFFERS for verdict in found))


def main(arguments=None):
    """Run the command line and return its exit status."""
    try:
        return run(parse(arguments))
    except CcdflowError as error:
        print(f"ccdflow: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
