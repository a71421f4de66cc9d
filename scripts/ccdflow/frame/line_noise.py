"""The noise of a series of values from differences of neighbours, and means without outliers."""

from __future__ import annotations

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA_SHORT, column_medians, median

ROWS_OF_A_PIXEL = 256
"""The noise of a pixel and the profile across a seam take this many rows."""

# Values beyond this many sigma are outliers: one in 1.7 million normal values is.
_OUTLIER_SIGMA = 5

LEAST_SIGMA = 1.0
"""Adu. A smaller sigma of pixels shows no outliers: most of whole numbers may be one number."""


def noise_of_neighbours(*series, least=0.0):
    """Return the noise of each of some series from differences of neighbours, and their number.

    A difference counts in all series or in none: an outlier in one is left out of all.

    Parameters
    ----------
    *series : numpy.ndarray of float32 or float64
        Of one shape, (n, ...), adu: neighbours along the first axis.
    least : float
        Least sigma of a difference by which outliers are found, adu.

    Returns
    -------
    noises : list of float
        Adu; NaN without any difference.
    count : int
    """
    differences = [np.diff(values, axis=0) for values in series]
    kept = np.logical_and.reduce([_are_inliers(values, least) for values in differences])
    noises = [_root_mean_square(values, kept) / np.sqrt(2) for values in differences]
    return noises, int(np.count_nonzero(kept))


def _are_inliers(values, least):
    """Return which values are finite and no outliers, in the shape of the values."""
    finite = np.isfinite(values)
    if not finite.any():
        return finite
    all_finite = finite.all()
    deviations = np.abs(values - median(values if all_finite else values[finite]))
    sigma = MAD_TO_SIGMA_SHORT * float(median(deviations if all_finite else deviations[finite]))
    if not (sigma or least):
        return finite
    return finite & (deviations <= _OUTLIER_SIGMA * max(sigma, least))


def _root_mean_square(values, kept):
    """Return the scatter of the values that are kept about their median, NaN without any."""
    if not kept.any():
        return float("nan")
    chosen = np.ravel(values) if kept.all() else values[kept]
    deviations = np.abs(chosen - median(chosen)).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(deviations))))


def clipped_means(lines):
    """Return the means of the columns of lines without outliers.

    Parameters
    ----------
    lines : numpy.ndarray of shape (n, m), float32 or float64
        Adu.

    Returns
    -------
    numpy.ndarray of shape (m,), float32 or float64
    """
    deviations = np.abs(lines - column_medians(lines))
    sigma = MAD_TO_SIGMA_SHORT * column_medians(deviations)
    limit = _OUTLIER_SIGMA * np.maximum(sigma, LEAST_SIGMA)
    return np.mean(lines, axis=0, where=deviations <= limit)
