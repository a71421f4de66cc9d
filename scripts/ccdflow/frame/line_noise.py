"""The noise of lines from differences of neighbours, and means without outliers."""

from __future__ import annotations

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA_SHORT, column_medians, median

MOST_ROWS_FOR_NOISE = 256
"""The noise of a pixel, and the profile across a seam, come from at most this many rows of the
image. The columns of an overscan are judged by this many rows to twice as many."""

OUTLIER_SIGMA = 5
"""Values beyond this many sigma are outliers: 1 of 1.7 million normal values is by chance."""

LEAST_SIGMA = 1.0
"""Adu: outliers are judged by at least this sigma, because most whole numbers may be equal."""


def noise_of_neighbours(*series, least_sigma=0.0):
    """Return the noise of each of some series, from the differences of neighbours.

    A difference counts in all series or in none: an outlier of one series is left out of all.

    Parameters
    ----------
    *series : numpy.ndarray of shape (n, ...), float32 or float64
        Neighbours along the first axis, adu; all of one shape.
    least_sigma : float, optional
        Least sigma of a difference by which outliers are found, adu.

    Returns
    -------
    noises : list of float
        Adu; NaN without any difference.
    count : int
        Number of differences that count.
    """
    differences = [np.diff(values, axis=0) for values in series]
    is_inlier = np.logical_and.reduce([_are_inliers(values, least_sigma) for values in differences])
    noises = [_rms_about_median(values, is_inlier) / np.sqrt(2) for values in differences]
    return noises, int(np.count_nonzero(is_inlier))


def _are_inliers(values, least_sigma):
    """Return the mask of finite values that are no outliers, in the shape of the values."""
    is_finite = np.isfinite(values)
    if not is_finite.any():
        return is_finite
    are_all_finite = is_finite.all()
    deviations = np.abs(values - median(values if are_all_finite else values[is_finite]))
    sigma = MAD_TO_SIGMA_SHORT * float(
        median(deviations if are_all_finite else deviations[is_finite])
    )
    if not (sigma or least_sigma):
        return is_finite
    return is_finite & (deviations <= OUTLIER_SIGMA * max(sigma, least_sigma))


def _rms_about_median(values, is_inlier):
    """Return the root mean square of the inliers about their median; NaN without an inlier."""
    if not is_inlier.any():
        return float("nan")
    inliers = np.ravel(values) if is_inlier.all() else values[is_inlier]
    deviations = np.abs(inliers - median(inliers)).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(deviations))))


def clipped_means(lines):
    """Return the mean of each column of some lines, without outliers.

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
    limit = OUTLIER_SIGMA * np.maximum(sigma, LEAST_SIGMA)
    return np.mean(lines, axis=0, where=deviations <= limit)
