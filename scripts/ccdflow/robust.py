"""Statistics: the median, the factor from a MAD to a standard deviation, Student's t, chi^2."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import numpy as np

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution over its MAD (as in `astropy.stats.mad_std`)."""

MAD_TO_SIGMA_SHORT = 1.4826
"""`MAD_TO_SIGMA` to four decimals, for limits that decide which pixels count: with more decimals a
pixel near its limit could be decided otherwise, which would change the bytes of products."""

FWHM_OVER_SIGMA = 2.3548
"""Full width at half maximum over sigma of a Gaussian, 2 sqrt(2 ln 2), to five digits: for limits.
"""

MEDIAN_VARIANCE = np.pi / 2
"""Variance of the median over the variance of the mean, for many values of a normal
distribution."""

MEDIAN_OVER_MEAN = np.sqrt(MEDIAN_VARIANCE)
"""Standard error of the median over the standard error of the mean, for many values of a normal
distribution."""

MEDIAN_OVER_MEAN_SHORT = 1.25
"""`MEDIAN_OVER_MEAN` to three digits, for limits: with more digits a value near its limit could be
decided otherwise, which would change the bytes of products."""

# Quantiles of chi^2 are valid between these two probabilities: a test compares them with scipy's.
_LEAST_PROBABILITY, _MOST_PROBABILITY = 1e-12, 0.9
# From three up to this many lines are sorted by minima and maxima of whole lines, which is faster
# than to sort pixel by pixel: three lines take a fifth of the time.
_FEW_LINES = 8
# The size of a sample of many values, and a distance in places of the sorted sample. The two values
# of the sample that are this far below and above the expected place of a quantile enclose the
# quantile of all values. The distance is 5 sigma of the place of the median, and more for other
# quantiles. 4 % of all values lie between the two.
_SAMPLE_VALUES, _PLACES_FROM_EXPECTED = 1 << 14, 320
# With fewer values than this, a sample does not make the median faster.
_MANY_VALUES = 1 << 18
# Values that are compared at once: they stay in the processor's cache.
_VALUES_AT_ONCE = 1 << 16


def median(values):
    """Return `numpy.median` of all values of an array, ten times as fast.

    `numpy.median` selects three values at once, for which numpy has no vector code. To select one
    value takes 22 us instead of 200 for 20,000 numbers. In an image, two values of a sample enclose
    the median, which is selected from the few values between the two: 8 ms instead of 60 for
    8 million numbers, and instead of 600 where half of the numbers are equal.

    Parameters
    ----------
    values : numpy.ndarray of any shape, any integer or float type
        Not changed.

    Returns
    -------
    numpy.floating
        In the type of floats, float64 for integers; NaN if a value is, or if there is none.

    Examples
    --------
    >>> print(median(np.array([3.0, 1.0, 2.0, 10.0])))
    2.5
    """
    flat = np.ravel(values)
    is_float = flat.dtype.kind == "f"
    float_type = flat.dtype.type if is_float else np.float64
    if not flat.size:
        return float_type(np.nan)
    candidates, middle = _select_candidates(flat, flat.size // 2)
    partitioned = np.partition(candidates, middle)
    if is_float and np.isnan(partitioned[middle:].max()):
        return float_type(np.nan)
    if flat.size % 2:
        return float_type(partitioned[middle])
    return (float_type(partitioned[:middle].max()) + float_type(partitioned[middle])) / float_type(
        2
    )


def percentile(values, percent):
    """Return `numpy.percentile` of all values of an array, for an image in a fifth of the time.

    Parameters
    ----------
    values : numpy.ndarray of any shape, float32 or float64
        At least one value; not changed.
    percent : float
        Above 0 and below 100.

    Returns
    -------
    numpy.floating
        In the type of the values; NaN if a value is.

    Examples
    --------
    >>> print(percentile(np.array([3.0, 1.0, 2.0, 10.0, 4.0]), 75))
    4.0
    """
    flat = np.ravel(values)
    place = (flat.size - 1) * (percent / 100)
    index = int(place)
    if flat.size < _MANY_VALUES or place == index:
        return np.percentile(flat, percent)
    candidates, index_of_next = _select_candidates(flat, index + 1)
    partitioned = np.partition(candidates, index_of_next)
    if np.isnan(partitioned[index_of_next:].max()):
        return flat.dtype.type(np.nan)
    before, after = partitioned[:index_of_next].max(), partitioned[index_of_next]
    # numpy also interpolates from the nearer of the two values: the results have the same bits.
    fraction, step = place - index, after - before
    return after - step * (1 - fraction) if fraction >= 0.5 else before + step * fraction


def _select_candidates(values, index):
    """Return the values near one place of all sorted values, and the index of the place among them.

    With the candidates sorted, the value at the index and the one before it are those of all values
    sorted. NaN is among the candidates if it is among the values.

    Parameters
    ----------
    values : numpy.ndarray of shape (n,), any integer or float type
    index : int
        Index of the value among all sorted values, from 1.

    Returns
    -------
    (numpy.ndarray of shape (k,), int)
    """
    if values.size < _MANY_VALUES:
        return values, index
    # An even step would sample every other column of most images. If the sampled columns are unlike
    # all others, the sample does not enclose the value, and all values are returned below.
    sample = np.sort(values[:: values.size // _SAMPLE_VALUES | 1])
    places = index * len(sample) // values.size + np.array(
        [-_PLACES_FROM_EXPECTED, _PLACES_FROM_EXPECTED]
    )
    low, high = sample[places.clip(0, len(sample) - 1)]
    n_up_to_low, between = _values_between(values, low, high)
    candidates = np.concatenate([[low, low], between, [high, high]])
    new_index = index - n_up_to_low + 2
    if new_index < 2:
        # Most values may be equal, as the errors of pixels without light are.
        is_enclosed, new_index = np.count_nonzero(values < low) < index, 1
    elif new_index > len(between) + 2:
        is_enclosed, new_index = np.count_nonzero(values <= high) > index, len(between) + 3
    else:
        is_enclosed = low != high
    # A sample that is unlike the whole array does not enclose the value: all values are candidates.
    return (candidates, new_index) if is_enclosed else (values, index)


def _values_between(values, low, high):
    """Return the number of values up to a low value, and the values between a low and a high one.

    NaN counts as a value between the two.

    Parameters
    ----------
    values : numpy.ndarray of shape (n,), any integer or float type
    low, high : numpy.number

    Returns
    -------
    (int, numpy.ndarray of shape (k,))
    """
    n_up_to_low, blocks_between = 0, []
    for first in range(0, len(values), _VALUES_AT_ONCE):
        block = values[first : first + _VALUES_AT_ONCE]
        is_outside = block <= low
        n_up_to_low += np.count_nonzero(is_outside)
        is_outside |= block >= high
        blocks_between.append(block[~is_outside])
    return n_up_to_low, np.concatenate(blocks_between)


def median_of_numbers(values):
    """Return `numpy.nanmedian` of all values of an array, several times as fast.

    Parameters
    ----------
    values : numpy.ndarray of any shape, float32 or float64
        Not changed.

    Returns
    -------
    numpy.floating
        In the type of the values; NaN if all of them are.

    Examples
    --------
    >>> print(median_of_numbers(np.array([3.0, np.nan, 2.0])))
    2.5
    """
    is_missing = np.isnan(values)
    return median(values[~is_missing] if is_missing.any() else values)


def is_median_at_least(values, limit):
    """Return whether the median of all values reaches a limit, quickly where no value does.

    Parameters
    ----------
    values : numpy.ndarray of any shape, any integer or float type
        Not changed.
    limit : float

    Returns
    -------
    bool
        False if one of the values is NaN, or if there is none.
    """
    return bool(values.size and values.max() >= limit and median(values) >= limit)


def column_medians(lines):
    """Return `numpy.median` along the first axis of an image; sorting contiguous memory is faster.

    Parameters
    ----------
    lines : numpy.ndarray of shape (n, m), floats
        Not changed.

    Returns
    -------
    numpy.ndarray of shape (m,), the type of the lines
        NaN where a value of the column is NaN, or if there is no line.

    Examples
    --------
    >>> print(column_medians(np.array([[1.0, 8.0], [2.0, np.nan], [30.0, 6.0]])))
    [ 2. nan]
    """
    if not 2 < len(lines) <= _FEW_LINES or lines.ndim != 2:
        return row_medians(lines.T)
    sorted_lines = list(lines)
    # Odd-even transposition: n rounds sort n lines. Minima and maxima are NaN where a value is NaN.
    for first in range(len(sorted_lines)):
        for low in range(first % 2, len(sorted_lines) - 1, 2):
            pair = sorted_lines[low : low + 2]
            sorted_lines[low : low + 2] = np.minimum(*pair), np.maximum(*pair)
    middle = len(sorted_lines) // 2
    if len(sorted_lines) % 2:
        return sorted_lines[middle]
    return (sorted_lines[middle] + sorted_lines[middle - 1]) / 2


def row_medians(rows):
    """Return `numpy.median` of each row of an image: numpy has vector code for sorting alone.

    Parameters
    ----------
    rows : numpy.ndarray of shape (m, n), floats
        Not changed. The rows should be short, because each whole row is sorted.

    Returns
    -------
    numpy.ndarray of shape (m,), the type of the rows
        NaN where a value of the row is NaN, or if the rows have no values.

    Examples
    --------
    >>> print(row_medians(np.array([[1.0, 30.0, 2.0], [8.0, np.nan, 6.0]])))
    [ 2. nan]
    """
    if not rows.shape[1]:
        return np.full(len(rows), np.nan, rows.dtype)
    sorted_values = np.array(rows, order="C")
    sorted_values.sort(axis=1)
    middle = sorted_values.shape[1] // 2
    medians = sorted_values[:, middle].copy()
    if sorted_values.shape[1] % 2 == 0:
        medians += sorted_values[:, middle - 1]
        medians /= 2
    medians[np.isnan(sorted_values[:, -1])] = np.nan
    return medians


def median_of_each_pixel(frames, *, median_function=np.nanmedian):
    """Return the median over the frames of each pixel, fast where all values are finite.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, ny, nx), floats
        Not changed.
    median_function : callable, optional
        The function for frames with values that are not finite: `numpy.nanmedian` or
        `numpy.median`.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), the type of the frames

    Examples
    --------
    >>> frames = np.array([[[1.0, 8.0]], [[2.0, np.nan]], [[30.0, 6.0]]])
    >>> print(median_of_each_pixel(frames))
    [[2. 7.]]
    """
    if not np.isfinite(frames).all():
        with warnings.catch_warnings():
            # A pixel may be NaN in all frames.
            warnings.simplefilter("ignore", RuntimeWarning)
            return median_function(frames, axis=0)
    n = len(frames)
    medians = np.empty(frames.shape[1:], frames.dtype)
    sorted_values = np.empty((frames.shape[2], n), frames.dtype)
    for row, line in enumerate(medians):
        np.copyto(sorted_values, frames[:, row].T)
        sorted_values.sort(axis=1)
        np.add(sorted_values[:, (n - 1) // 2], sorted_values[:, n // 2], out=line)
    medians /= 2
    return medians


# All strips of an image need the same few limits.
@lru_cache(maxsize=64)
def chi_square_limit(degrees_of_freedom, probability):
    """Return the chi^2 that is exceeded with a probability, as `scipy.special.chdtri` does.

    The import of scipy.special would take 0.3 s of processor time, and most nights need no other
    function of scipy.

    Parameters
    ----------
    degrees_of_freedom : int
        From 1.
    probability : float
        From 1e-12 to 0.9.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> round(chi_square_limit(1, 0.5), 6), round(chi_square_limit(7, 1e-6), 6)
    (0.454936, 40.521831)
    """
    if degrees_of_freedom < 1 or not _LEAST_PROBABILITY <= probability <= _MOST_PROBABILITY:
        raise ValueError(
            f"no chi^2 of {degrees_of_freedom} degrees of freedom and probability {probability}"
        )
    low, high = 0.0, degrees_of_freedom + 100.0
    while _survival_probability(high, degrees_of_freedom) > probability:
        low, high = high, 2 * high
    # Bisection until the two are neighbouring numbers: it ends whatever the first two are.
    while low < (middle := (low + high) / 2) < high:
        if _survival_probability(middle, degrees_of_freedom) > probability:
            low = middle
        else:
            high = middle
    return high


def _survival_probability(value, degrees_of_freedom):
    """Return the probability that chi^2 exceeds a value (Abramowitz and Stegun 26.4.4, 26.4.5)."""
    half, is_odd = value / 2, degrees_of_freedom % 2 == 1
    total = math.erfc(math.sqrt(half)) if is_odd else 0.0
    if half > 0:
        for k in range(degrees_of_freedom // 2):
            power = k + 0.5 if is_odd else k
            total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    elif not is_odd:
        total = 1.0
    return total


def normal_deviate(t, degrees_of_freedom):
    """Return the normal deviate, 0 or more, that is exceeded as rarely as the size of Student's t.

    Parameters
    ----------
    t : float
        A value over its standard error, where the error was measured by a scatter; with any sign.
    degrees_of_freedom : float
        Those of that scatter.

    Returns
    -------
    float

    Notes
    -----
    The approximation is that of Wallace (1959, Ann. Math. Stat. 30, 1121).

    Examples
    --------
    >>> round(normal_deviate(5.0, 1), 1), round(normal_deviate(5.0, 1000), 2)
    (1.5, 4.97)
    """
    return (
        (8 * degrees_of_freedom + 1)
        / (8 * degrees_of_freedom + 3)
        * math.sqrt(degrees_of_freedom * math.log1p(t**2 / degrees_of_freedom))
    )
