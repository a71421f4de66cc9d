"""The identities of raw folders, by which a run knows that another folder took the place of one.

A disk may be mounted in the place of another while a run goes on, or a folder may be renamed and
another one put in its place. The frames of the first one are then missing, or have other content.
The device and inode of a folder show the exchange. But some file systems give a folder a new inode
at any time, so a frame of the size and time that were listed proves that the frames are the same.
"""

from __future__ import annotations

import os
import posixpath
from typing import NamedTuple

from ccdflow.files import file_access
from ccdflow.run.lookups import Lookup

# At most so many frames of a folder are looked at. Chosen: one that is as it was listed suffices.
_MOST_FRAMES = 20
# A folder whose identity was not noted counts as another one if at least this many of its frames
# are missing or changed, and no frame is as it was: a single frame may have been deleted.
_FEWEST_FRAMES = 2


class Exchange(NamedTuple):
    """A raw folder, or one below it, that is away or another one.

    Attributes
    ----------
    folder : str
        Its path relative to the raw folder, with ``/`` at its end; '' for the raw folder itself.
    reason : str
    """

    folder: str
    reason: str


def identity_of(folder):
    """Return (device, inode) of a folder; None if there is no such folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    tuple of (int, int) or None
    """
    try:
        path_with_slash = os.path.join(folder, "")  # noqa: PTH118 - a slash finds folders alone
        status = os.stat(path_with_slash)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino


def identities_of_folders(raw, files):
    """Return the identities of the raw folder and of the folders of some files.

    Parameters
    ----------
    raw : path-like
        The raw folder.
    files : iterable of str
        Raw files, relative to it.

    Returns
    -------
    dict of str to tuple of (int, int)
        By the path of the folder relative to the raw folder, with ``/`` at its end; '' for the raw
        folder itself. Folders that are missing are left out.
    """
    folders = sorted({"", *map(_folder_of, files)})
    identities = {folder: identity_of(os.path.join(raw, folder)) for folder in folders}  # noqa: PTH118
    return {folder: identity for folder, identity in identities.items() if identity}


def first_changed_folder(raw, identities):
    """Return the `Exchange` of the first folder that is not the one that was noted; or None.

    Parameters
    ----------
    raw : path-like
    identities : dict of str to tuple of (int, int)
        As `identities_of_folders` returns them.

    Returns
    -------
    Exchange or None
    """
    for folder, noted_identity in identities.items():
        identity = identity_of(os.path.join(raw, folder))  # noqa: PTH118
        if identity != noted_identity:
            return Exchange(folder, _reason_of(identity))
    return None


def exchange_of(context, file):
    """Return the `Exchange` of the folder of a raw file that could not be read; or None.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        With the `raw_identities` that its plan found.
    file : str
        The raw file, relative to the raw folder.

    Returns
    -------
    Exchange or None
    """
    for folder in _folders_above(file):
        identity = identity_of(context.raw / folder)
        if identity is None:
            return Exchange(folder, _reason_of(identity))
        noted_identity = context.raw_identities.get(folder)
        if identity == noted_identity or (noted_identity is None and folder != _folder_of(file)):
            continue
        rows = context.lookup((Lookup.LISTED_FRAMES, folder), lambda: _listed_rows(context, folder))  # noqa: B023
        if noted_identity is None and len(rows) < _FEWEST_FRAMES:
            continue
        if not any(_is_as_listed(context.raw, row) for row in rows):
            return Exchange(folder, _reason_of(identity))
    return None


def _reason_of(identity):
    """Return the reason of an `Exchange`, by the identity of the folder that is there now."""
    return "there is no such folder" if identity is None else "another folder is in its place"


def _folder_of(file):
    """Return the folder of a file, with ``/`` at its end; '' for the raw folder."""
    folder = posixpath.dirname(file)
    return f"{folder}/" if folder else ""


def _folders_above(file):
    """Return all folders above a file, the uppermost first.

    Examples
    --------
    >>> _folders_above("2024/night/a.fits")
    ['', '2024/', '2024/night/']
    """
    parts = file.split("/")[:-1]
    return ["".join(f"{part}/" for part in parts[:count]) for count in range(len(parts) + 1)]


def _listed_rows(context, folder):
    """Return some of the rows of a folder whose frames were there when they were listed."""
    rows = [
        row for file, row in context.store.rows.items() if file.startswith(folder) and not row.gone
    ]
    return rows[:: len(rows) // _MOST_FRAMES + 1]


def _is_as_listed(raw, row):
    """Return whether a raw file is there with the size and the time of writing that its row has.

    The third value of a stamp is the time of the inode, which a copy of the same frame has not.
    """
    stamp = file_access.stamp_of(raw / row.file)
    return bool(stamp) and (not row.stamp or stamp[:2] == row.stamp[:2])
