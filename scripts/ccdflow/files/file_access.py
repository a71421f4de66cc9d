"""Access to files and folders: bytes, size and times, without waiting for a named pipe."""

from __future__ import annotations

import os
import stat


def raise_unless_missing(error):
    """Raise the error of a walk through folders, unless it says that a folder is not there.

    `os.walk` passes over folders that cannot be read: their files would count as absent.

    Raises
    ------
    OSError
        The error itself, unless it is a `FileNotFoundError`.
    """
    if not isinstance(error, FileNotFoundError):
        raise error


def read_bytes(path):
    """Return the bytes of a file; a named pipe, which may never be written, is not waited for."""
    with open(path, "rb", buffering=0, opener=open_at_once) as file:
        return file.read()


def open_at_once(path, flags):
    """Open a file as an opener of `open`; a named pipe, which may never be written, does not block.

    Parameters
    ----------
    path : path-like
    flags : int
        As `os.open` takes them.

    Returns
    -------
    int
        The descriptor.
    """
    return os.open(path, flags | os.O_NONBLOCK)


def stamp_of(path):
    """Return size, mtime and ctime (ns) of a regular file; () for anything else, or none.

    Parameters
    ----------
    path : path-like or os.DirEntry

    Returns
    -------
    tuple of int
    """
    try:
        status = path.stat() if isinstance(path, os.DirEntry) else os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    return stamp_of_status(status)


def stamp_of_status(status):
    """Return the stamp of a file, see `stamp_of`, from its `os.stat_result`."""
    if not stat.S_ISREG(status.st_mode):
        return ()
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
