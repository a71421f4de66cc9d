"""Logs of what nobody foresaw: the traceback of a raw file whose reading raised it."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

from ccdflow import paths


def text_of(file, error):
    """Return what the log of a raw file holds.

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


def write(results, file, error):
    """Write the log of a raw file; one that cannot be written is no reason to fail.

    Parameters
    ----------
    results : path-like
    file : str
        Path relative to the raw folder.
    error : BaseException or str
        What was raised, or what `text_of` made of it.
    """
    text = error if isinstance(error, str) else text_of(file, error)
    path = Path(results) / paths.failed_read(file)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
