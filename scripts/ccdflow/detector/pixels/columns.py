"""Columns of a detector, or parts of them, that are off their neighbours: dead, hot, trapped."""

from __future__ import annotations

import numpy as np

from ccdflow.detector.pixels.medians import box_median
from ccdflow.robust import MAD_TO_SIGMA, row_medians

PART_ROWS = 32
"""Rows of the smallest part of a column that is looked at."""

# Lengths of bad parts of a column, in units of the smallest part.
_LENGTHS_IN_PARTS = (1, 4, 16, 64)
# Parts this many sigma off are bad: among 300,000 parts of an LFC frame 0.01 by chance.
_BAD_SIGMA = 5.5
# A bad part differs from the one beside it by this many sigma, somewhere among bad parts that
# touch: light that falls off towards an edge has no step. Measured: with 4.5 no column of 90
# vignetted flats of 6,000 to 30,000 pixels is flagged, with 3.5 one in 30 of them; single columns
# are found as before.
_STEP_SIGMA = 4.5
# A pixel counts for no more than this, so that one alone makes no column.
_MOST_SIGMA_OF_A_PIXEL = 3.0
# A part is compared with the median of this many columns, which 15 bad neighbours do not set.
_COLUMNS_AROUND = 31


def bad_columns(sigma):
    """Return the pixels of columns that are too high over some length.

    Parameters
    ----------
    sigma : numpy.ndarray of shape (ny, nx), float32
        Number of standard deviations by which each pixel is above its neighbours; of -sigma those
        too low are found. 0 where it is not known.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
        Whole parts of `PART_ROWS` rows.
    """
    return pixels_of_parts(high_parts(sums_of_parts(sigma)), len(sigma))


def sums_of_parts(sigma):
    """Return the sums over parts of columns of some rows, (number of parts, nx) float32."""
    clipped = np.clip(sigma, -_MOST_SIGMA_OF_A_PIXEL, _MOST_SIGMA_OF_A_PIXEL)
    starts = np.arange(0, len(sigma), PART_ROWS)
    if len(sigma) % PART_ROWS:
        return np.add.reduceat(clipped, starts, axis=0)
    # This loop makes the sums of `numpy.add.reduceat` in a third of the time.
    parts = clipped.reshape(len(starts), PART_ROWS, -1)
    sums = parts[:, 0].copy()
    for row in range(1, PART_ROWS):
        sums += parts[:, row]
    return sums


def high_parts(sums):
    """Return the mask of parts of columns that are too high, (number of parts, nx) bool.

    Parameters
    ----------
    sums : numpy.ndarray of shape (k, nx), float32
        As `sums_of_parts` returns them.

    Returns
    -------
    numpy.ndarray of shape (k, nx), bool
    """
    is_too_high = np.zeros(sums.shape, bool)
    for length in dict.fromkeys(min(length, len(sums)) for length in _LENGTHS_IN_PARTS):
        starts = np.arange(0, len(sums), length)
        total = np.add.reduceat(sums, starts, axis=0) / np.sqrt(PART_ROWS * length)
        above = total - box_median(total, (1, min(_COLUMNS_AROUND, sums.shape[1])))
        scatter = MAD_TO_SIGMA * row_medians(np.abs(above))[:, np.newaxis]
        unit = np.maximum(scatter, 1.0)
        is_high = above > _BAD_SIGMA * unit
        for row in np.flatnonzero(is_high.any(axis=1)):
            _drop_slopes(is_high[row], total[row], _STEP_SIGMA * unit[row, 0])
        is_too_high |= np.repeat(is_high, length, axis=0)[: len(sums)]
    return is_too_high


def _drop_slopes(is_high, total, least_step):
    """Take the parts of a row out, in place, that no step separates from the parts beside them.

    Parameters
    ----------
    is_high : numpy.ndarray of shape (nx,), bool
        Parts that are too high.
    total : numpy.ndarray of shape (nx,), float32
        Their sums.
    least_step : float
        Size of a step.
    """
    steps = np.zeros(len(total) + 1)
    steps[1:-1] = np.abs(np.diff(total))
    ends = np.flatnonzero(np.diff(np.concatenate([[False], is_high, [False]]).astype(np.int8)))
    for first, stop in ends.reshape(-1, 2):
        if steps[first : stop + 1].max() < least_step:
            is_high[first:stop] = False


def pixels_of_parts(parts, ny):
    """Return the pixels of parts of columns, (ny, nx) bool.

    Parameters
    ----------
    parts : numpy.ndarray of shape (k, nx), bool
        A value for each part of a column.
    ny : int

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
    """
    return np.repeat(parts, PART_ROWS, axis=0)[:ny]
