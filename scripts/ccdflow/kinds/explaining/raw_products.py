"""The products of a raw frame, for any path of the raw file."""

from __future__ import annotations

import os.path
from pathlib import Path, PurePath

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.files.header_text import printable_text
from ccdflow.files.text_files.tables import table_rows
from ccdflow.run import job_records, ledger
from ccdflow.wording import first_named

# An error names at most this many files of one name, and a line at most this many masters.
_MOST_NAMED = 3


def raw_file_of(results, path):
    """Return the raw frame of a path, by the inventory.

    Parameters
    ----------
    results : pathlib.Path
        The results folder.
    path : path-like
        Path of the raw file: absolute, or relative to any folder; with .gz, .fz and the like or
        without.

    Returns
    -------
    str
        Path relative to the raw folder, as in the inventory.

    Raises
    ------
    UserError
        If the inventory has no such frame; the error names frames of this name in other folders.
    """
    file_by_product = {
        paths.reduced_frame(row["file"]): row["file"]
        for row in table_rows(Path(results) / paths.INVENTORY)
    }
    parts = PurePath(os.path.normpath(path)).parts
    # The longest end of the path is tried first: a/b.fits and b.fits are two frames.
    for start in range(len(parts)):
        product = paths.reduced_frame("/".join(parts[start:]))
        if product in file_by_product:
            return file_by_product[product]
    name = PurePath(paths.reduced_frame(parts[-1])).name if parts else ""
    files_of_name = sorted(
        file for product, file in file_by_product.items() if PurePath(product).name == name
    )
    remedy = "give a file that is there"
    if files_of_name:
        remedy = f"give {first_named(files_of_name, _MOST_NAMED)}"
    raise UserError(
        f"is neither a product in {results} nor a raw frame of its {paths.INVENTORY}",
        file=path,
        remedy=remedy,
    )


def products_of(results, file):
    """Return the existing products of a raw frame, and the masters that it is a member of.

    Parameters
    ----------
    results : pathlib.Path
    file : str
        The result of `raw_file_of`.

    Returns
    -------
    list of str
        The reduced frame, followed by the calibrated one.
    list of str
        The combined frames.
    """
    candidates = [paths.reduced_frame(file), paths.calibrated_frame(file)]
    products = [product for product in candidates if (Path(results) / product).is_file()]
    masters = [
        product
        for product, record in ledger.load_ledger(results).items()
        if paths.top_folder(product) == paths.COMBINED_FOLDER
        and record.status == job_records.MADE
        and file in record.data.get("members", ())
    ]
    return products, sorted(masters)


def line_on_raw(results, file):
    """Return the line on a raw frame: its products, and the masters that it is a member of.

    Parameters
    ----------
    results : pathlib.Path
    file : str
        The result of `raw_file_of`.

    Returns
    -------
    str
    """
    products, masters = products_of(results, file)
    words = f"{printable_text(file)}: raw frame of {' and '.join(products) or 'no product'}"
    return words + (f"; in {first_named(masters, _MOST_NAMED)}" if masters else "")
