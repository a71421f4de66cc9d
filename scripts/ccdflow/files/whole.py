"""Files that are whole or not there: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ccdflow import paths


def write_hdus(path, parts):
    """Write a FITS file whole or not at all: a temporary name in the same folder, then a rename.

    Parameters
    ----------
    path : path-like
    parts : list
        Headers and data units in order, each padded to 2880 bytes: bytes-like, or an iterable of
        such.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; what stood there is untouched.
    """
    path = Path(path)
    part = paths.temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb", buffering=0) as file:
            for data in parts:
                for piece in _pieces(data):
                    write_all(file, piece)
        part.replace(path)
    except BaseException:
        # A disk that cannot be written may not let go of the file either: the next run does it.
        with suppress(OSError):
            part.unlink()
        raise


def _pieces(data):
    try:
        return (memoryview(data).cast("B"),)
    except TypeError:
        return data


def write_all(file, data):
    """Write all of some bytes to an unbuffered file."""
    while data:
        data = data[file.write(data) :]


def stamp_of(path):
    """Return size, mtime and ctime (ns) of a file, or () where there is none.

    Parameters
    ----------
    path : path-like or os.DirEntry
    """
    try:
        status = path.stat() if isinstance(path, os.DirEntry) else os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
