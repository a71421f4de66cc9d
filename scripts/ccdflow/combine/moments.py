"""Mean and scatter of values without their outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.combine.noise import DIGITAL_NOISE
from ccdflow.robust import MAD_TO_SIGMA, median

CLIP_SIGMA = 5.0
"""A value beyond this many sigma is an outlier: 1 of 1.7 million normal values is by chance."""

# Clipping begins with the median and MAD of at most this many values: sorting more takes longer.
_START_VALUES = 20_000
# Values that are worked on at once: they stay in the processor's cache. A multiple of the 8192
# float32 values that numpy sums in float64 at once: the sums of parts add up to the same bits as a
# sum of all values.
_VALUES_AT_ONCE = 1 << 16
# Clipping ends after this many rounds, or earlier if a round leaves out no value: with cosmic rays
# in a hundredth of the values after two, with the wings of a Cauchy distribution after 16.
_MOST_ITERATIONS = 50


@dataclass(frozen=True)
class Moments:
    """The moments of the values that clipping leaves.

    Attributes
    ----------
    mean, sigma : float
        Mean, and standard deviation with ``ddof=1``.
    count : int
        Number of the values.
    """

    mean: float
    sigma: float
    count: int


def clipped_moments(values, *, rounding_noise=DIGITAL_NOISE):
    """Return the mean and scatter of an array without its outliers.

    Parameters
    ----------
    values : numpy.ndarray of any shape, float32 or float64
        NaN and infinite values are ignored.
    rounding_noise : float, optional
        Noise of rounding to whole adu, in the unit of the values. Outliers are judged by at least
        this sigma. The default is for values in adu.

    Returns
    -------
    Moments
        NaN for fewer than two finite values.
    """
    values = np.ravel(values)
    is_finite = np.isfinite(values)
    if not is_finite.all():
        values = values[is_finite]
    if len(values) < 2:
        return Moments(float("nan"), float("nan"), len(values))
    sample = values[:: len(values) // _START_VALUES + 1]
    mean = float(median(sample))
    sigma = MAD_TO_SIGMA * float(median(np.abs(sample - mean)))
    # More than half of the values may agree.
    if sigma == 0:
        mean, sigma = _mean_and_deviation(values)
    count, extremes = 0, np.array([values.min(), values.max()])
    for _ in range(_MOST_ITERATIONS):
        # Most values may be one whole number: a value that differs by one is no outlier.
        limit = CLIP_SIGMA * max(sigma, rounding_noise)
        # Usually all values are kept: the extremes show it in a tenth of the time.
        if (np.abs(extremes - mean) <= limit).all():
            n_before, count, values_kept = count, len(values), values
        else:
            is_kept = _are_within(values, mean, limit)
            n_before, count, values_kept = count, int(np.count_nonzero(is_kept)), None
        if count in (0, n_before):
            count = n_before
            break
        mean, sigma = _mean_and_deviation(values[is_kept] if values_kept is None else values_kept)
    correction = np.sqrt(count / (count - 1)) if count > 1 else 1.0
    return Moments(mean, float(sigma * correction), count)


def _are_within(values, mean, limit):
    """Return the mask of the values within a limit of their mean, (n,) bool."""
    is_within = np.empty(len(values), bool)
    buffer = np.empty(min(len(values), _VALUES_AT_ONCE), values.dtype)
    for first in range(0, len(values), _VALUES_AT_ONCE):
        part = values[first : first + _VALUES_AT_ONCE]
        deviations = np.subtract(part, mean, out=buffer[: len(part)])
        distances = np.abs(deviations, out=deviations)
        np.less_equal(distances, limit, out=is_within[first : first + len(part)])
    return is_within


def _mean_and_deviation(values):
    """Return the mean and standard deviation (``ddof=0``) of values."""
    mean = values.mean(dtype=np.float64)
    middle = mean.astype(values.dtype)
    # Sums of float64 in parts would differ in their last digit from a sum of all values.
    step = _VALUES_AT_ONCE if values.dtype == np.float32 else len(values)
    buffer = np.empty(min(len(values), step), values.dtype)
    offset = total = np.float64(0)
    for first in range(0, len(values), step):
        part = values[first : first + step]
        deviations = np.subtract(part, middle, out=buffer[: len(part)])
        offset = np.add.reduce(deviations, dtype=np.float64, initial=offset)
        squares = np.square(deviations, out=deviations)
        total = np.add.reduce(squares, dtype=np.float64, initial=total)
    variance = total / len(values) - (offset / len(values)) ** 2
    return float(mean), float(np.sqrt(max(variance, 0)))
