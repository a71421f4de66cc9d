"""Columns of a detector, or parts of columns, that differ from their neighbours."""

from __future__ import annotations

import numpy as np

from ccdflow.detector.pixels.medians import box_median
from ccdflow.robust import MAD_TO_SIGMA, row_medians

PART_ROWS = 32
"""Rows of the smallest part of a column that is examined."""

# Lengths of bad parts of a column, in units of the smallest part. The longest shows an offset an
# eighth of what the shortest shows; without it faint columns are missed, without the shortest the
# short ones. Each further length takes the time of a search. Chosen, not measured.
_LENGTHS_IN_PARTS = (1, 4, 16, 64)
# Parts that differ by this many sigma are bad: 0.01 of the 300,000 parts of an LFC frame do by
# chance. With a smaller limit good columns are flagged; with a larger one faint bad ones are
# missed.
_BAD_SIGMA = 5.5
# Among bad parts that touch, one differs by this many sigma from the part beside it: light that
# falls off towards an edge has no such step. Measured in 90 vignetted flats of 6,000 to 30,000
# pixels: no column is flagged, with 3.5 sigma one in 30 flats. Single bad columns are found with
# both limits.
_STEP_SIGMA = 4.5
# A pixel counts with at most this many sigma: a single pixel makes no bad column. With a larger
# limit a few hits make one; with a smaller one the noise itself is cut.
_MOST_SIGMA_OF_A_PIXEL = 3.0
# A part is compared with the median of this many columns: fewer than half of them may be bad.
_COLUMNS_AROUND = 31


def bad_columns(sigma):
    """Return the mask of pixels in parts of columns that are too high.

    Parameters
    ----------
    sigma : numpy.ndarray of shape (ny, nx), float32
        Standard deviations by which each pixel is above its neighbours; 0 where unknown. With
        -sigma parts that are too low are found.

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
    # This loop gives the sums of `numpy.add.reduceat` in a third of the time.
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
    """Clear, in place, parts that no step separates from the parts beside them.

    Parameters
    ----------
    is_high : numpy.ndarray of shape (nx,), bool
        Parts that are too high.
    total : numpy.ndarray of shape (nx,), float32
        The sum of each part, sigma.
    least_step : float
        Least difference of neighbouring parts that is a step.
    """
    steps = np.zeros(len(total) + 1)
    steps[1:-1] = np.abs(np.diff(total))
    ends = np.flatnonzero(np.diff(np.concatenate([[False], is_high, [False]]).astype(np.int8)))
    for first, stop in ends.reshape(-1, 2):
        if steps[first : stop + 1].max() < least_step:
            is_high[first:stop] = False


def pixels_of_parts(parts, ny):
    """Return the mask of the pixels of parts of columns, (ny, nx) bool.

    Parameters
    ----------
    parts : numpy.ndarray of shape (k, nx), bool
        A value for each part of a column.
    ny : int
        Rows of the image.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
    """
    return np.repeat(parts, PART_ROWS, axis=0)[:ny]
