"""Checks of the numbers and dates that a user gives to the simulators."""

from __future__ import annotations

from datetime import date as Date

from ccdflow.errors import UserError


def check_number(keyword, value, *, least, most=None):
    """Raise unless a number is in its range.

    Parameters
    ----------
    keyword : str
        Name of the number, for the error.
    value : float
    least : float
    most : float, optional

    Raises
    ------
    UserError
        If `value` is below `least` or above `most`, or NaN.
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

    Parameters
    ----------
    text : str

    Returns
    -------
    datetime.date

    Raises
    ------
    UserError
        If the text is not a date.
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
