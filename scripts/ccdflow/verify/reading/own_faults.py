"""Errors of ccdflow's own code, as opposed to errors of astropy at a damaged file."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import is_own_fault, raising_line
from ccdflow.files import atomic_write


def is_missing_card(error):
    """Return whether an error is the `KeyError` of astropy for a missing card."""
    return isinstance(error, KeyError) and not is_own_fault(error)


def report_own_fault(product, error, results):
    """Write the traceback of an error of the verification itself, and return a sentence on it.

    The results folder may be read-only: the sentence names the log only if it was written.

    Parameters
    ----------
    product : str
        Relative to the results folder.
    error : BaseException
        The error, with its traceback.
    results : path-like
        The results folder.

    Returns
    -------
    str
    """
    place, log = raising_line(error), paths.failed_verification(product)
    words = (
        f"the verification itself failed, which says nothing about the product:"
        f" {type(error).__name__}: {' '.join(str(error).split())}"
        f" ({Path(place.filename).name}, line {place.lineno})"
    )
    text = f"{product}\n\n{''.join(traceback.format_exception(error))}"
    with suppress(OSError):
        atomic_write.write_text(Path(results) / log, text)
        words += f"; its traceback is in {log}"
    return f"{words}; report it as a fault of ccdflow"
