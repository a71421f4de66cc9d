"""A small image of a frame, taken from some of its rows while they pass.

A pixel of the small image is the mean of a square of pixels of the frame, on `ROWS` of the square's
rows. Rows are added in their order, so that the blocks in which a frame passes change no bit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SIDE = 256
"""The longer side of a small image has at most so many pixels."""

ROWS = 2
"""Rows of each square that are looked at: two of the LFC's eighteen are enough to see stars."""


def pixels_per_small_pixel(shape):
    """Return the number of pixels of a frame along one pixel of its small image.

    A multiple of `ROWS`, so that the rows that are looked at are evenly spread; 1 of a small frame.
    """
    step = max(1, -(-max(shape) // SIDE))
    return step if step == 1 else -(-step // ROWS) * ROWS


@lru_cache(maxsize=8)
def _squares(shape):
    """Return how many pixels of each square are looked at: float32, a square each."""
    (ny, nx), step = shape, pixels_per_small_pixel(shape)
    looked_at = min(ROWS, step)
    columns, rows = np.arange(0, nx, step), np.arange(0, ny, step // looked_at)
    counts = np.bincount(np.arange(len(rows)) // looked_at).astype(np.float32)
    return counts[:, None] * np.diff([*columns, nx]).astype(np.float32)


class SmallImage:
    """Collects the small image of one frame.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the frame.
    """

    def __init__(self, shape):
        self.step = pixels_per_small_pixel(shape)
        self._looked_at = min(ROWS, self.step)
        self._pixels = _squares(tuple(shape))
        # The squares of a row that are whole, and the column behind them.
        self._whole = shape[1] // self.step
        self._rest = self._whole * self.step
        self._ones = np.ones(self.step, np.float32)
        self._cut = self._ones[: shape[1] - self._rest]
        # A row without pixels at the end of a square that is cut stays 0.
        size = (len(self._pixels) * self._looked_at, self._pixels.shape[1])
        self._sums = np.zeros(size, np.float32)

    def add(self, first, rows):
        """Take some rows of the frame.

        Parameters
        ----------
        first : int
            Number of the first one, from 0. Blocks come in their order, and none is left out.
        rows : numpy.ndarray
            Shape (k, nx), any byte order.
        """
        apart = self.step // self._looked_at
        own = rows[-first % apart :: apart]
        place = -(-first // apart)
        # Summed while they are in the processor's cache; a product with ones takes a third of the
        # time of `reduceat`, and each row's is its own, whatever the block.
        sums = self._sums[place : place + len(own)]
        squares = own[:, : self._rest].reshape(len(own), self._whole, self.step)
        np.matmul(squares, self._ones, out=sums[:, : self._whole])
        if self._cut.size:
            np.matmul(own[:, self._rest :], self._cut, out=sums[:, -1])

    def result(self):
        """Return the small image: float32, at most `SIDE` pixels along each side."""
        sums = self._sums.reshape(len(self._pixels), self._looked_at, -1).sum(axis=1)
        return sums / self._pixels


def small_image(image):
    """Return the small image of a whole frame.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx); of a memory map only the rows that are needed are read.

    Returns
    -------
    numpy.ndarray
        float32.
    """
    small = SmallImage(image.shape)
    small.add(0, image)
    return small.result()
