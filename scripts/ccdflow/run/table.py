"""The table of all raw frames for its readers: ``inventory.csv``."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from ccdflow import paths
from ccdflow.files import notes
from ccdflow.run.rawnames import shown_name
from ccdflow.run.rows import FACTS

COLUMNS = (
    "file", "night", "camera", "imagetyp", "type", "filter", "grism", "exptime", "naxis1", "naxis2",
    "biassec", "trimsec", "datasec", "ccdsec", "ccdsum", "gain", "rdnoise", "date_obs",
    "object", "readmode", "window", "fingerprint", "status", "reason",
)  # fmt: skip
_NUMBERS = {"exptime", "naxis1", "naxis2", "gain", "rdnoise"}


def table(store):
    """Return the inventory as a data frame with `COLUMNS`, one row a raw file, sorted by file."""
    rows = sorted(store.rows.values(), key=lambda row: row.file)
    columns = {
        name: [row.facts[name] for row in rows]
        for name in COLUMNS
        if name in FACTS and name != "night"
    }
    columns["file"] = [shown_name(row.file) for row in rows]
    columns["night"] = [shown_name(row.night) for row in rows]
    for name in ("camera", "fingerprint"):
        columns[name] = [getattr(row, name) for row in rows]
    columns["status"], columns["reason"] = zip(*(row.shown for row in rows), strict=True)
    return pd.DataFrame(columns, columns=list(COLUMNS))


def write_table(results, store):
    """Write ``inventory.csv``, only if its content changed.

    Returns
    -------
    bool
        Whether it was written.
    """
    text = io.StringIO()
    table(store).to_csv(text, index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    return notes.write_atomically(Path(results) / paths.INVENTORY, text.getvalue())


def read_table(path):
    """Read an inventory: text cells as text, numbers as numbers."""
    types = {name: str for name in COLUMNS if name not in _NUMBERS}
    return pd.read_csv(
        path, dtype=types, keep_default_na=False, na_values={n: [""] for n in _NUMBERS}
    )
