"""Print a night in one screen of a terminal.

python scripts/night.py results=FOLDER [NIGHT]

Without NIGHT it prints the last one. Everything is read from the tables in the results folder, so
it works where there is no browser, and while a run is at work.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import CcdflowError, UserError
from ccdflow.pages import terminal

_TABLES = {
    "frames": paths.INVENTORY,
    "biases": paths.BIAS_QUALITY,
    "darks": paths.DARK_QUALITY,
    "flats": paths.FLAT_QUALITY,
    "steps": paths.ASSOCIATIONS,
}


def parse(arguments=None):
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="results=FOLDER NIGHT")
    return parser.parse_args(arguments)


def results_and_night(words):
    """Return the folder given as ``results=``, and the night, or None for the last one.

    Raises
    ------
    UserError
        If there is no such folder, or there are several nights.
    """
    given = [word.removeprefix("results=") for word in words if word.startswith("results=")]
    nights = [word for word in words if not word.startswith(("results=", "raw="))]
    if not given:
        raise UserError("is not given", keyword="results", remedy="write results=FOLDER")
    results = Path(given[-1])
    if not (results / paths.INVENTORY).is_file():
        raise UserError(
            "there is no inventory: nothing was made here",
            file=str(results),
            remedy="run snakemake with this results folder first",
        )
    if len(nights) > 1:
        raise UserError("more than one night", value=" ".join(nights), allowed="one or none")
    return results, nights[0] if nights else None


def rows_of(path):
    """Return the rows of a table as dicts of text; [] if there is no such table."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tables_of(results, night):
    """Return the night that is meant and its rows in all tables.

    Parameters
    ----------
    results : Path
    night : str or None
        None for the last one.

    Returns
    -------
    str, ccdflow.pages.terminal.Tables

    Raises
    ------
    UserError
        If there is no such night.
    """
    rows = {name: rows_of(results / file) for name, file in _TABLES.items()}
    nights = sorted({row["night"] for row in rows["frames"] if row["night"]})
    if night is None and nights:
        night = nights[-1]
    if night not in nights:
        raise UserError(
            "there is no such night",
            file=str(results / paths.INVENTORY),
            value=night,
            allowed=f"{nights[0]} to {nights[-1]}, {len(nights)} in all"
            if nights
            else "there are none yet",
        )
    return night, terminal.Tables(
        **{name: [row for row in found if row["night"] == night] for name, found in rows.items()}
    )


def main(arguments=None):
    """Run the command line and return its exit status."""
    options = parse(arguments)
    try:
        results, night = results_and_night(options.words)
        night, tables = tables_of(results, night)
    except CcdflowError as error:
        print(error, file=sys.stderr)
        return 1
    page = results / paths.night_page(night)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
    try:
        print(
            terminal.night_text(
                night, tables, page=str(page) if page.is_file() else "", width=width
            )
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` for one, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
