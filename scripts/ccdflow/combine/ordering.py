"""The values of each pixel in order: by a sorting network for a few members, else by numpy."""

from __future__ import annotations

import numpy as np

_NETWORK_LIMIT = 16  # up to so many members a sorting network beats numpy's sort


class Ordering:
    """Puts the values of each pixel in order, with buffers that are used again.

    A few members are sorted by a network of minima and maxima of whole rows, which runs at the
    speed of the cache; its cost a value grows with the square of log n, so many members
    are transposed and sorted by numpy.
    """

    def __init__(self, n, width, dtype):
        self.network = _sorting_network(n) if n <= _NETWORK_LIMIT else None
        buffer = np.empty(max(n, n // 2 + 2) * width, dtype)
        self.spare = buffer.reshape(-1, width)
        self.columns = buffer[: n * width].reshape(width, n)

    def sort(self, values):
        """Sort `values`, shape (n, width), along the first axis in place."""
        if self.network is None:
            np.copyto(self.columns, values.T)
            self.columns.sort(axis=1)
            np.copyto(values, self.columns.T)
            return
        for first, second in self.network:
            low, high = values[first], values[second]
            smaller = np.minimum(low, high, out=self.spare[: len(low)])
            np.maximum(low, high, out=high)
            np.copyto(low, smaller)


def _sorting_network(n):
    """Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2 M).

    Returns
    -------
    list of tuple of slice
        Pairs of slices of rows; rows in the same place of a pair are compared and exchanged.
    """
    steps = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    block = top
    while block > 0:
        distance, offset, reach = block, 0, top
        while True:
            # row i is compared with i + distance wherever i & block == offset
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
    return [(s, slice(s.start + d, s.stop + d, s.step)) for s, d in steps]
