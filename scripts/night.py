"""Print a night on one screen of a terminal.

python scripts/night.py results=FOLDER [night=NIGHT]

Without NIGHT it prints the last one. Everything is read from the tables in the results folder, so
it works where there is no browser, and while a run is at work.

Example, after `make demo`:

python scripts/night.py results=demo/results
"""

from __future__ import annotations

import shutil
import sys

from ccdflow import commandline, paths
from ccdflow.errors import UserError
from ccdflow.files.text_files.tables import table_rows
from ccdflow.pages import terminal
from ccdflow.run.lines.night_lists import nights_in_words
from ccdflow.run.rawframes.rows import is_dated

_TABLES = {
    "frames": paths.INVENTORY,
    "biases": paths.BIAS_QUALITY,
    "darks": paths.DARK_QUALITY,
    "flats": paths.FLAT_QUALITY,
    "steps": paths.ASSOCIATIONS_FILE,
}


def parse(arguments=None):
    """Return the parsed command line."""
    parser = commandline.parser(
        __doc__, words="results=FOLDER [night=NIGHT]", names=("results", "night")
    )
    return commandline.parse_arguments(parser, arguments)


def tables_of(results, night):
    """Return the night that is meant, its rows in all tables, and the other nights.

    Parameters
    ----------
    results : pathlib.Path
    night : str or None
        None for the last one that has a date, if any has.

    Returns
    -------
    night : str
        The night that is meant.
    tables : ccdflow.pages.terminal.Tables
        The rows of this night.
    other_nights : list of str

    Raises
    ------
    UserError
        If there is no such night, or the table of masters lacks a column.
    """
    rows = {name: table_rows(results / file) for name, file in _TABLES.items()}
    nights = sorted({row["night"] for row in rows["frames"] if row["night"]})
    if night is None and nights:
        # Frames without a date have the name of their folder, which may come behind all dates.
        night = max(filter(is_dated, nights), default=nights[-1])
    if night not in nights:
        raise UserError(
            "there is no such night",
            file=str(results / paths.INVENTORY),
            keyword="night",
            value=night,
            allowed=nights_in_words(nights) or "there are none yet",
            remedy="give night=NIGHT" if nights else "run the workflow first",
        )
    # Older results: the table has no such column.
    if any("calibrated" not in row for row in rows["steps"][:1]):
        raise UserError(
            "the table lacks the column calibrated: an older ccdflow wrote it",
            file=str(results / paths.ASSOCIATIONS_FILE),
            remedy="run snakemake with this results folder once",
        )
    rows_of_night = {
        name: [row for row in table if row["night"] == night] for name, table in rows.items()
    }
    return night, terminal.Tables(**rows_of_night), [each for each in nights if each != night]


def show(options):
    """Return the text on the night that is asked for.

    Raises
    ------
    UserError
        If the results folder has no inventory.
    """
    results = commandline.path(options, "results")
    if not (results / paths.INVENTORY).is_file():
        raise UserError(
            "there is no inventory: nothing was made here",
            file=str(results),
            remedy="run snakemake with this results folder first",
        )
    night_wanted = options.given.get("night")
    if night_wanted is None and options.words:
        night_wanted = options.words.pop(0)
    commandline.no_more_words(options)
    night, tables, other_nights = tables_of(results, night_wanted)
    page = results / paths.night_page(night)
    size = shutil.get_terminal_size()
    width, height = (size.columns, size.lines) if sys.stdout.isatty() else (1000, None)
    link = str(page) if page.is_file() else ""
    return terminal.night_text(
        night, tables, page=link, other_nights=other_nights, width=width, height=height
    )


def main(arguments=None):
    """Run the command line and return its exit status."""
    return commandline.run(show, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
