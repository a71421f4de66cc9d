"""Sorting of each pixel's values: a sorting network for a few members, otherwise numpy.

Median and MAD are taken from sorted values.
"""

from __future__ import annotations

import numpy as np

# With at most this many members a sorting network is faster than numpy's sort.
_NETWORK_LIMIT = 16


class Ordering:
    """Sorts the values of each pixel, and reuses its buffers.

    A network of minima and maxima of whole rows sorts a few members at the speed of the cache. Its
    cost for each value grows with the square of log n, so that many members are transposed and
    sorted by numpy.

    Parameters
    ----------
    n : int
        Number of members.
    width : int
        Number of pixels that are sorted at once.
    dtype : numpy.dtype
        Type of the members' values.

    Attributes
    ----------
    network : list of (slice, slice) or None
        The steps of the sorting network; None for too many members.
    spare : numpy.ndarray of shape (m, width), dtype of the members
        Room for intermediate values of a network.
    columns : numpy.ndarray of shape (width, n), dtype of the members
        Room for the transposed values, a row for each pixel; in the same memory as ``spare``.
    """

    def __init__(self, n, width, dtype):
        self.network = _sorting_network(n) if n <= _NETWORK_LIMIT else None
        self._buffer = np.empty(max(n, n // 2 + 2) * width, dtype)
        self.spare = self._buffer.reshape(-1, width)
        self.columns = self._buffer[: n * width].reshape(width, n)

    @property
    def is_by_pixel(self):
        """Whether the values are transposed and sorted by numpy: the members are many."""
        return self.network is None

    def sorted_by_pixel(self, values):
        """Return `values`, shape (n, width), sorted, as (width, n); valid until the next call."""
        np.copyto(self.columns, values.T)
        self.columns.sort(axis=1)
        return self.columns

    def some_sorted_by_pixel(self, values, places):
        """Return the sorted values of some pixels, as `sorted_by_pixel` does of all.

        Parameters
        ----------
        values : numpy.ndarray of shape (n, width), float32 or float64
        places : numpy.ndarray of shape (k,), int
            Indices of the pixels, of at most half of all pixels.

        Returns
        -------
        numpy.ndarray of shape (k, n), float32 or float64
            Sorted along the second axis; valid until the next call.
        """
        n, count = len(values), len(places)
        values_taken = self._buffer[n * count : 2 * n * count].reshape(n, count)
        # With another mode numpy would buffer the result in as much memory again.
        np.take(values, places, axis=1, out=values_taken, mode="clip")
        columns = self.columns[:count]
        np.copyto(columns, values_taken.T)
        columns.sort(axis=1)
        return columns

    def flags(self, values):
        """Return room for a flag of each of `values`, bool; valid until the next call."""
        return self._buffer.view(np.bool_)[: values.size].reshape(values.shape)

    def sort(self, values):
        """Sort `values`, shape (n, width), along the first axis in place."""
        if self.is_by_pixel:
            np.copyto(values, self.sorted_by_pixel(values).T)
            return
        for first, second in self.network:
            low, high = values[first], values[second]
            smaller = np.minimum(low, high, out=self.spare[: len(low)])
            np.maximum(low, high, out=high)
            np.copyto(low, smaller)


def median_of_sorted(sorted_values, dtype):
    """Return the median of sorted values along the first axis.

    Parameters
    ----------
    sorted_values : numpy.ndarray of shape (n, k), float32 or float64
        Sorted along the first axis.
    dtype : dtype
        Type of the result.

    Returns
    -------
    numpy.ndarray of shape (k,), of type `dtype`
    """
    half = len(sorted_values) // 2
    if len(sorted_values) % 2:
        return sorted_values[half].astype(dtype)
    return (sorted_values[half - 1].astype(dtype) + sorted_values[half]) / 2


def mad_of_sorted(deviations, spare):
    """Return the median absolute deviation of values, from their sorted deviations.

    The k values nearest to the median are neighbours in the sorted order, and the farthest of them
    is at one end. The k-th smallest deviation is therefore the minimum, over all runs of k
    neighbours, of the larger deviation of the two ends.

    Parameters
    ----------
    deviations : numpy.ndarray of shape (n, k), float32 or float64
        Absolute deviations from the median, in the order of the sorted values.
    spare : numpy.ndarray of shape (n, k), float32 or float64
        Room for intermediate values; overwritten.

    Returns
    -------
    numpy.ndarray of shape (k,), float32 or float64
    """
    n, half = len(deviations), len(deviations) // 2

    def smallest(k):
        """Return the k-th smallest deviation of each pixel."""
        ends = np.maximum(deviations[: n - k + 1], deviations[k - 1 :], out=spare[: n - k + 1])
        return np.minimum.reduce(ends, axis=0)

    upper = smallest(half + 1)
    return upper if n % 2 else (smallest(half) + upper) / 2


def _sorting_network(n):
    """Return Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M).

    Returns
    -------
    list of tuple of slice
        Pairs of slices of rows; rows at the same index of a pair are compared and exchanged.
    """
    steps = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    block = top
    while block > 0:
        distance, offset, reach = block, 0, top
        while True:
            # Compare row i with row i + distance wherever i & block == offset.
            starts = range(offset, n - distance, 2 * block)
            if len(starts) <= block:
                steps += [(slice(i, min(i + block, n - distance)), distance) for i in starts]
            else:
                ends = range(offset, min(offset + block, n - distance))
                steps += [(slice(i, n - distance, 2 * block), distance) for i in ends]
            if reach == block:
                break
            distance, offset, reach = reach - block, block, reach // 2
        block //= 2
    return [
        (rows, slice(rows.start + distance, rows.stop + distance, rows.step))
        for rows, distance in steps
    ]
