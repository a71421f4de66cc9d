"""The removal of products from their places; no other module removes a product.

A product that was made from raw pixels may be their last copy, so it is moved to ``set_aside/``,
where it has the same path. Only a page, picture or table is deleted: its sources stay.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.run import failures
from ccdflow.run.raw_frames import raw_folders
from ccdflow.wording import first_lines


def remove_product(results, product, *, raw=None):
    """Move a product to ``set_aside/``, or delete one that is made only of other products.

    Earlier files of the same name in ``set_aside/`` are kept.

    Parameters
    ----------
    results : path-like
    product : str
        Path relative to the results folder.
    raw : path-like, optional
        The raw folder, in which nothing is written.

    Returns
    -------
    Path or None
        Its new path; None if it was deleted, or is absent or a folder.

    Raises
    ------
    OSError
        If the product cannot be moved or deleted; it then stays in its place.
    UserError
        If the folder ``set_aside/`` leads into the raw folder.
    """
    path = Path(results) / product
    if not os.path.lexists(path) or (path.is_dir() and not path.is_symlink()):
        return None
    target = None
    if paths.is_shown_only(product):
        path.unlink()
        if path.name == paths.SHEET_FILE:
            _remove_small_pictures(path.with_name(paths.SMALL_PICTURES_FOLDER))
    else:
        target = _free_path(Path(results), product)
        if raw is not None and raw_folders.is_below(target.parent, raw):
            raise UserError(
                "its folder in set_aside/ leads into the raw folder",
                file=str(target.parent),
                remedy="remove the link",
                needs_run=True,
            )
        _move_file(path, target)
    with suppress(OSError):
        path.parent.rmdir()
    return target


def lines_on_unmoved(unmoved_products, *, most_lines=5):
    """Return a line for each of the first products that could not be removed, and a count.

    Parameters
    ----------
    unmoved_products : dict of str to Exception
        By product, the error.
    most_lines : int, optional
        Number of products that get a line; the others are counted. The default is chosen: enough
        to show a pattern.

    Returns
    -------
    list of str
    """
    lines = [
        f"{product} does not belong among the products any more, and cannot be moved to set_aside/:"
        f" {failures.error_words(error)}; {failures.remedy_of(error)}"
        for product, error in unmoved_products.items()
    ]
    return first_lines(lines, most_lines, "more that cannot be moved")


def _free_path(results, product):
    """Return a free path below ``set_aside/``, and make its folder."""
    parent = results / paths.SET_ASIDE_FOLDER
    *folders, name = Path(product).parts
    for folder in folders:
        parent = _first_suitable(
            parent, folder, lambda path: path.is_dir() or not os.path.lexists(path)
        )
    parent.mkdir(parents=True, exist_ok=True)
    return _first_suitable(parent, name, lambda path: not os.path.lexists(path))


def _remove_small_pictures(folder):
    """Delete the small pictures of a night; leave all other files in their folder."""
    with suppress(OSError):
        for path in folder.iterdir():
            if paths.is_small_picture(path.name):
                path.unlink()
        folder.rmdir()


def _first_suitable(folder, name, is_suitable):
    """Return ``folder/name``, or the first of ``name.2``, ``name.3`` ... that is suitable."""
    path, number = folder / name, 1
    while not is_suitable(path):
        number += 1
        path = folder / paths.numbered_name(name, number)
    return path


def _move_file(path, target):
    """Move a file, even to another disk."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The folder of products is a link to another disk.
        with atomic_write.Part(target) as part:
            shutil.copy2(path, part.temporary_path)
            part.keep()
        path.unlink()
