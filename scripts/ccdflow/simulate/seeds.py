"""Random numbers that follow from names and seeds, and the checks of numbers given by a user."""

from __future__ import annotations

import zlib
from datetime import date as Date

import numpy as np

from ccdflow.errors import UserError


def generator(*entropy):
    """Return a random generator that is the same wherever the same integers are given."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))


def text_seed(text):
    """Return an integer that follows from a text."""
    return zlib.crc32(text.encode())


def check_number(keyword, value, *, least, most=None):
    """Refuse a number out of its range.

    Parameters
    ----------
    keyword : str
        Named in the error.
    value : float
    least : float
    most : float, optional

    Raises
    ------
    UserError
        Where `value` is below `least` or above `most`, or not a number.
    """
    if not (value >= least and (most is None or value <= most)):
        raise UserError(
            "out of range",
            keyword=keyword,
            value=value,
            allowed=f"{least} or more" if most is None else f"{least} to {most}",
            remedy="give a number within these limits",
        )


def parse_date(text):
    """Return the date of a text YYYY-MM-DD.

    Raises
    ------
    UserError
        Where the text is no date.
    """
    try:
        return Date.fromisoformat(str(text))
    except ValueError:
        raise UserError(
            "not a date",
            keyword="date",
            value=text,
            allowed="YYYY-MM-DD, a UT date",
            remedy="give a date such as 2025-06-12",
        ) from None
