"""Logs of unforeseen errors: the traceback of a raw file whose reading failed."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write


def text_of(file, error):
    """Return the text of a raw file's log.

    Parameters
    ----------
    file : str
        Path relative to the raw folder.
    error : BaseException

    Returns
    -------
    str
    """
    return f"{file}\n\n{''.join(traceback.format_exception(error))}"


def write_traceback(results, file, error):
    """Write the log of a raw file; ignore a log that cannot be written.

    Parameters
    ----------
    results : path-like
    file : str
        Path relative to the raw folder.
    error : BaseException or str
        The error, or its text by `text_of`.
    """
    text = error if isinstance(error, str) else text_of(file, error)
    path = Path(results) / paths.failed_read(file)
    with suppress(OSError):
        atomic_write.write_text(path, text)
