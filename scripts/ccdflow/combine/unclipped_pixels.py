"""Proof that clipping by the MAD leaves out no value of a pixel, without the MAD itself.

For most pixels of many members a count of values is proof, in a third of the time of sorting.
"""

from __future__ import annotations

import numpy as np

from ccdflow.combine.ordering import median_of_sorted
from ccdflow.robust import MAD_TO_SIGMA

# Values are counted if there are at least this many members: the counts show that four pixels of
# five have no outlier, and to sort all pixels takes longer.
_LEAST_COUNTED_MEMBERS = 100
# Counts show that a pixel has no outlier only if its mean is near its median: within this fraction
# of the largest deviation, over the root of the number of members. One pixel in fifty exceeds this
# distance. With a larger limit the counts would show it for fewer pixels.
_NEAR_FRACTION = 0.6
# The limit of the counts is wider than the proof needs by this factor: values are rounded to
# float32.
_MARGIN_FACTOR = 1.01
# Highest number that a byte can hold.
_MOST_OF_A_BYTE = 255


def is_unclipped_of_many(values, mean, ordering, clip):
    """Return True for each pixel of which no value can be beyond the limit.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, width), float32 or float64
        Values of members that are too many for a network (`Ordering.is_by_pixel`).
    mean : numpy.ndarray of shape (width,), float64
        Mean of all values.
    ordering : ccdflow.combine.ordering.Ordering
        Its buffer is overwritten.
    clip : float
        Limit of deviations from the median, in sigma by the MAD.

    Returns
    -------
    numpy.ndarray of shape (width,), bool
    """
    n, width = values.shape
    if n < _LEAST_COUNTED_MEMBERS:
        return _is_unclipped_of_sorted(ordering.sorted_by_pixel(values), clip)
    is_proven = is_unclipped_by_counts(
        values, mean.astype(values.dtype), clip, ordering.flags(values)
    )
    unproven = np.flatnonzero(~is_proven)
    if len(unproven) > width // 2:
        return _is_unclipped_of_sorted(ordering.sorted_by_pixel(values), clip)
    sorted_values = ordering.some_sorted_by_pixel(values, unproven)
    is_proven[unproven] = _is_unclipped_of_sorted(sorted_values, clip)
    return is_proven


def is_unclipped_by_counts(values, centre, clip, flags):
    """Return True where no deviation can exceed the limit, from counts of the values (n, width).

    If at most m = (n - 1) // 2 values are below `low`, and at most m above `high`, the median lies
    between them. If at most m values are between `lower` and `upper`, then at most m are nearer to
    the median than the distances from `lower` to `low` and from `high` to `upper`: so the MAD is at
    least the smaller of these distances.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, width), float32 or float64
    centre : numpy.ndarray of shape (width,), float32 or float64
        A number near the median of each pixel, such as its mean: the nearer, the more pixels are
        proved.
    clip : float
        Limit of deviations from the median, in sigma by the MAD.
    flags : numpy.ndarray of shape (n, width), bool
        Room for a flag of each value; overwritten.

    Returns
    -------
    numpy.ndarray of shape (width,), bool
        False where the counts leave it open.
    """
    n, float_type = len(values), values.dtype.type
    least, largest = np.minimum.reduce(values, axis=0), np.maximum.reduce(values, axis=0)
    reach = np.maximum(largest - centre, centre - least)
    near_fraction = _NEAR_FRACTION / n**0.5
    # The least MAD with which nothing is clipped, plus the distance of the median.
    far_fraction = _MARGIN_FACTOR * ((1 + near_fraction) / (MAD_TO_SIGMA * clip) + near_fraction)
    near_reach, far_reach = float_type(near_fraction) * reach, float_type(far_fraction) * reach
    low, high = centre - near_reach, centre + near_reach
    lower, upper = centre - far_reach, centre + far_reach
    n_half = (n - 1) // 2
    is_proven = _count_flags(np.less(values, low, out=flags)) <= n_half
    is_proven &= _count_flags(np.greater(values, high, out=flags)) <= n_half
    n_outside = _count_flags(np.less_equal(values, lower, out=flags))
    n_outside += _count_flags(np.greater_equal(values, upper, out=flags))
    is_proven &= n - n_outside <= n_half
    mad = np.minimum(low - lower, upper - high)
    return is_proven & is_within(np.maximum(largest - low, high - least), centre, mad, clip)


def _count_flags(flags):
    """Return the number of true flags of each pixel, (width,), in an eighth of numpy's time."""
    counts = np.zeros(flags.shape[1], np.intp)
    for first in range(0, len(flags), _MOST_OF_A_BYTE):
        part = flags[first : first + _MOST_OF_A_BYTE].view(np.uint8)
        counts += np.add.reduce(part, axis=0, dtype=np.uint8)
    return counts


def _is_unclipped_of_sorted(sorted_values, clip):
    """Return True where no deviation can exceed the limit, from values sorted by pixel, (width, n).

    A lower bound of the MAD proves nearly all pixels; for the others the MAD itself is computed.
    """
    n = sorted_values.shape[1]
    centre = median_of_sorted(sorted_values.T, sorted_values.dtype)
    largest = np.maximum(centre - sorted_values[:, 0], sorted_values[:, -1] - centre)
    # The k values nearest to the median are neighbours, v[i] to v[i + k - 1] in sorted order. The
    # k-th deviation is the larger of f(i) = centre - v[i] and g(i) = v[i + k - 1] - centre. As f
    # falls with i and g grows, the MAD is at least min(f(j), g(j + 1)) for any j.
    k = (n + 1) // 2
    # Chosen: these values begin near the first quartile, whose rank scatters by 0.43 root n.
    step = max(1, round(0.3 * n**0.5))
    bounds = [
        np.minimum(centre - sorted_values[:, j], sorted_values[:, j + k] - centre)
        for j in (n // 4 - step, n // 4, n // 4 + step)
    ]
    is_proven = is_within(largest, centre, np.maximum.reduce(bounds), clip)
    unproven = np.flatnonzero(~is_proven)
    unproven_values, middles = sorted_values[unproven], centre[unproven, None]
    ends = np.maximum(
        middles - unproven_values[:, : n - k + 1], unproven_values[:, k - 1 :] - middles
    )
    is_proven[unproven] = is_within(largest[unproven], middles[:, 0], ends.min(axis=1), clip)
    return is_proven


def is_within(largest, centre, mad, clip):
    """Return True where the largest deviation is within the limit, despite rounding to its type.

    Median, deviations and MAD are each off by at most a few units in the last place of the largest
    input; the margin is several times that. Differences of infinities are NaN, which proves
    nothing.

    Parameters
    ----------
    largest, centre, mad : numpy.ndarray of shape (k,), float32 or float64
        Largest deviation from the median of each pixel, or more; a number near the median, which
        gives the size of rounding; and the MAD, or less. All in the members' type.
    clip : float
        Limit of deviations, in sigma by the MAD.

    Returns
    -------
    numpy.ndarray of shape (k,), bool
    """
    float_type = largest.dtype.type
    limit = mad * float_type(MAD_TO_SIGMA * clip)
    # 1.5 is 1.4826, the factor of the MAD, rounded up.
    margin = (largest + np.abs(centre)) * float_type(
        4 * np.finfo(float_type).eps * (2 + 1.5 * clip)
    )
    return limit - largest >= margin
