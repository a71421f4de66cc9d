"""Removal of products: the only way in which a product leaves its place.

A product made from raw pixels may be the last copy of them, so it is moved to ``set_aside/``,
under its own path. Only a page, picture or table, whose sources stay, is deleted.
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
from ccdflow.run.rawframes import rawfolder
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
        Its new path; None if it was deleted or absent.

    Raises
    ------
    OSError
        If it cannot be moved or deleted; it then stays in its place.
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
        if raw is not None and rawfolder.is_below(target.parent, raw):
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


def lines_on_unmoved(unmoved, *, most_lines=5):
    """Return a line for each product that could not be removed; beyond a few they are counted.

    Parameters
    ----------
    unmoved : dict of str to Exception
        By product.
    most_lines : int
        The first few products are named; the default is chosen: enough to show a pattern.

    Returns
    -------
    list of str
    """
    lines = [
        f"{product} does not belong among the products any more, and cannot be moved to set_aside/:"
        f" {failures.error_words(error)}; {failures.remedy_of(error)}"
        for product, error in unmoved.items()
    ]
    return first_lines(lines, most_lines, "more that cannot be moved")


def _free_path(results, product):
    """Return a free path below ``set_aside/``, and make its folder."""
    place = results / paths.SET_ASIDE_FOLDER
    *folders, name = Path(product).parts
    for folder in folders:
        place = _first_suitable(
            place, folder, lambda path: path.is_dir() or not os.path.lexists(path)
        )
    place.mkdir(parents=True, exist_ok=True)
    return _first_suitable(place, name, lambda path: not os.path.lexists(path))


def _remove_small_pictures(folder):
    """Remove the small pictures of a night, and no file of the user's own."""
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
    """Move a file, also to another disk."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The folder of products is a link to another disk.
        with atomic_write.Part(target) as part:
            shutil.copy2(path, part.name)
            part.keep()
        path.unlink()
