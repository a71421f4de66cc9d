"""Exposure times that count as equal."""

from __future__ import annotations

EXACT_SECONDS = 0.1
"""Exposures that differ by fewer seconds count as equal: shutters and clocks are no more exact."""

EXACT_PART = 1e-3
"""Exposures that differ by less than this fraction count as equal: cards may be measured times."""


def is_same_exposure(seconds, reference):
    """Return whether two exposure times in seconds are equal: within 0.1 s, or 0.1 %.

    Parameters
    ----------
    seconds : float or numpy.ndarray of any shape, float64
        Seconds.
    reference : float
        Seconds; the tolerance is of this one.

    Returns
    -------
    bool or numpy.ndarray of the same shape, bool

    Examples
    --------
    >>> is_same_exposure(300.0, 300.2), is_same_exposure(1.0, 1.2)
    (True, False)
    """
    return abs(seconds - reference) <= max(EXACT_SECONDS, EXACT_PART * abs(reference))
