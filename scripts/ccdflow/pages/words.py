"""Figures as pages and pictures write them."""

from __future__ import annotations

import math


def figure(value: float, digits: int = 4) -> str:
    """Write a figure with so many significant digits, all digits before the point kept.

    Parameters
    ----------
    value : float
        NaN and infinities are written as a dash.
    digits : int, optional
        Significant digits wanted.

    Returns
    -------
    str
        Without exponent from 0.0001 on.
    """
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:.{max(0, digits - 1 - size)}f}".replace("-", "−")


def span(values, digits=3):
    """Write figures in short: the one there is, or the least and the largest; '' for none.

    Parameters
    ----------
    values : sequence of float
        NaN is left out.
    digits : int, optional
        Significant digits wanted.

    Returns
    -------
    str
        '2.9' or '2.7 to 2.9'.
    """
    known = [value for value in values if math.isfinite(value)]
    ends = [figure(end(known), digits) for end in (min, max)] if known else []
    return " to ".join(dict.fromkeys(ends))
