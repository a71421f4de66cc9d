"""Exposure times that count as equal."""

from __future__ import annotations

EXACT_SECONDS = 0.1
"""Exposures that differ by at most this many seconds count as equal: shutters and clocks are not
more exact."""

EXACT_FRACTION = 1e-3
"""Exposures that differ by at most this fraction count as equal: cards may be measured times."""


def is_same_exposure(seconds, reference):
    """Return whether two exposure times are equal, within `EXACT_SECONDS` or `EXACT_FRACTION`.

    Parameters
    ----------
    seconds : float or numpy.ndarray of any shape, float64
        Seconds.
    reference : float
        Seconds; the fraction in the tolerance is one of this exposure.

    Returns
    -------
    bool or numpy.ndarray of the same shape, bool

    Examples
    --------
    >>> is_same_exposure(300.0, 300.2), is_same_exposure(1.0, 1.2)
    (True, False)
    """
    return abs(seconds - reference) <= max(EXACT_SECONDS, EXACT_FRACTION * abs(reference))
