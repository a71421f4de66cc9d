"""The table of all raw frames for its readers: ``inventory.csv``."""

from __future__ import annotations

from pathlib import Path

from ccdflow import paths
from ccdflow.files.text_files import tables
from ccdflow.run.raw_frames.raw_names import shown_name
from ccdflow.run.raw_frames.rows import picker_of_facts

COLUMNS = (
    "file", "night", "camera", "imagetyp", "type", "filter", "grism", "exptime", "naxis1", "naxis2",
    "biassec", "trimsec", "datasec", "ccdsec", "ccdsum", "gain", "rdnoise", "date_obs",
    "object", "readmode", "window", "fingerprint", "status", "reason",
)  # fmt: skip
"""The columns of inventory.csv."""

_NUMBER_COLUMNS = {"exptime", "naxis1", "naxis2", "gain", "rdnoise"}


TABLE_VERSION = 1
"""Raise it when a change alters the text of a row that did not change."""

_facts_of = picker_of_facts(*COLUMNS[3:-3])


def cells(row):
    """Return the cells of a row under `COLUMNS`: they depend on this row alone."""
    return (
        shown_name(row.file), shown_name(row.night), row.camera, *_facts_of(row.facts),
        row.fingerprint, *row.status_and_reason,
    )  # fmt: skip


def write_inventory(results, store, *, earlier_rows=None):
    """Write ``inventory.csv``, one row a raw file, sorted by file; only if its content changed.

    Parameters
    ----------
    results : path-like
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    earlier_rows : dict of str to ccdflow.run.raw_frames.rows.Row, optional
        The rows that the file has now, if they are known.

    Returns
    -------
    bool
        Whether it was written.
    """
    path = Path(results) / paths.INVENTORY
    return tables.write_table(path, COLUMNS, store.rows, earlier_rows or {}, cells)


def read_inventory(path):
    """Return an inventory as a `pandas.DataFrame`: text cells as text, numbers as numbers."""
    # Imported here: pandas takes 0.3 s to import, and no run reads the table in this way.
    import pandas as pd

    types = {name: str for name in COLUMNS if name not in _NUMBER_COLUMNS}
    return pd.read_csv(
        path, dtype=types, keep_default_na=False, na_values={n: [""] for n in _NUMBER_COLUMNS}
    )
