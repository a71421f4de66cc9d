"""Print a night on one screen of a terminal.

python scripts/night.py results=FOLDER [night=NIGHT]

Without NIGHT it prints the last night. Everything is read from the tables in the results folder,
so the script works without a browser, and while a run is at work.

Example, after `make demo`:

python scripts/night.py results=demo/results
"""

from __future__ import annotations

import shutil
import sys

from ccdflow import command_lines, paths
from ccdflow.errors import UserError
from ccdflow.files.text_files.tables import table_rows
from ccdflow.pages import terminal
from ccdflow.run.lines.night_lists import nights_in_words
from ccdflow.run.raw_frames.rows import is_dated

_TABLES = {
    "frames": paths.INVENTORY,
    "biases": paths.BIAS_QUALITY,
    "darks": paths.DARK_QUALITY,
    "flats": paths.FLAT_QUALITY,
    "steps": paths.ASSOCIATIONS_FILE,
}


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("results", "night"))
    return command_lines.parse_arguments(parser, arguments)


def tables_of(results, night):
    """Return the night to print, its rows in all tables, and the other nights.

    Parameters
    ----------
    results : pathlib.Path
    night : str or None
        None for the last night with a date, or the last of all if none has a date.

    Returns
    -------
    night : str
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
    night = _existing_night(night, nights, file=str(results / paths.INVENTORY))
    # Older results: the table has no column with this name.
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


def _existing_night(night, nights, *, file):
    """Return the night, or the last one for None; raise `UserError` for an unknown night.

    Parameters
    ----------
    night : str or None
    nights : list of str
        All nights of the inventory, sorted.
    file : str
        The inventory; named in the error.
    """
    if night is None and nights:
        # A frame without a date has the name of its folder, which may be sorted after all dates.
        night = max(filter(is_dated, nights), default=nights[-1])
    if night not in nights:
        raise UserError(
            "there is no such night",
            file=file,
            keyword="night",
            value=night,
            allowed=nights_in_words(nights) or "there are none yet",
            remedy="give night=NIGHT" if nights else "run the workflow first",
        )
    return night


def run(options):
    """Return the text on the night of the command line.

    Raises
    ------
    UserError
        If the results folder has no inventory.
    """
    results = command_lines.path(options, "results")
    if not (results / paths.INVENTORY).is_file():
        raise UserError(
            "there is no inventory: nothing was made here",
            file=str(results),
            remedy="run snakemake with this results folder first",
        )
    night_wanted = options.settings_given.get("night")
    if night_wanted is None and options.words:
        night_wanted = options.words.pop(0)
    command_lines.refuse_further_words(options)
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
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
