"""A small image of a frame, taken from some of its rows while they pass.

A pixel of the small image is the mean of a square of pixels of the frame, on `ROWS` of the square's
rows. Rows are added in their order, so that the blocks in which a frame passes change no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SIDE = 256
"""The longer side of a small image has at most this many pixels."""

ROWS = 2
"""Rows of each square that are looked at: two of the LFC's eighteen are enough to see stars."""


def pixels_per_small_pixel(shape):
    """Return the number of pixels of a frame along one pixel of its small image.

    A multiple of `ROWS`, so that the rows that are looked at are evenly spread; 1 of a small frame.
    """
    step = max(1, -(-max(shape) // SIDE))
    return step if step == 1 else -(-step // ROWS) * ROWS


@dataclass(frozen=True)
class _Squares:
    """The squares of the frames of one shape: the same for all frames of a camera.

    Attributes
    ----------
    step : int
        Side of a square, pixels.
    looked_at, apart : int
        Rows of a square that are looked at, and the distance between them.
    whole, rest : int
        Squares of a row that are not cut, and the column behind them.
    ones, cut : numpy.ndarray
        Float32, 1 for each column of a square, and of the one that is cut.
    pixels : numpy.ndarray
        How many pixels of each square are looked at: float32.
    """

    step: int
    looked_at: int
    apart: int
    whole: int
    rest: int
    ones: np.ndarray
    cut: np.ndarray
    pixels: np.ndarray


@lru_cache(maxsize=8)
def _squares(shape):
    (ny, nx), step = shape, pixels_per_small_pixel(shape)
    looked_at = min(ROWS, step)
    apart = step // looked_at
    whole, cut = divmod(nx, step)
    rows = np.bincount(np.arange(-(-ny // apart)) // looked_at).astype(np.float32)
    columns = np.array([step] * whole + [cut] * (cut > 0), np.float32)
    ones = np.ones(step, np.float32)
    pixels = rows[:, None] * columns
    return _Squares(
        step=step,
        looked_at=looked_at,
        apart=apart,
        whole=whole,
        rest=whole * step,
        ones=ones,
        cut=ones[:cut],
        pixels=pixels,
    )


class SmallImage:
    """Collects the small image of one frame.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the frame.
    """

    def __init__(self, shape):
        self._squares = squares = _squares(tuple(shape))
        ny, nx = squares.pixels.shape
        # A row without pixels at the end of a square that is cut stays 0.
        self._sums = np.zeros((ny * squares.looked_at, nx), np.float32)

    def add(self, first, rows):
        """Take some rows of the frame.

        Parameters
        ----------
        first : int
            Number of the first one, from 0. Blocks come in their order, and none is left out.
        rows : numpy.ndarray
            Shape (k, nx), any byte order.
        """
        of = self._squares
        own = rows[-first % of.apart :: of.apart]
        place, count = -(-first // of.apart), len(own)
        # Summed while they are in the processor's cache; a product with ones takes a third of the
        # time of `reduceat`, and each row's is its own, whatever the block.
        sums = self._sums[place : place + count]
        squares = own[:, : of.rest].reshape(count, of.whole, of.step)
        np.matmul(squares, of.ones, out=sums[:, : of.whole])
        if of.cut.size:
            np.matmul(own[:, of.rest :], of.cut, out=sums[:, of.whole])

    def result(self):
        """Return the small image: float32, at most `SIDE` pixels along each side."""
        looked_at = self._squares.looked_at
        sums = self._sums[::looked_at]
        for row in range(1, looked_at):
            sums = sums + self._sums[row::looked_at]
        return sums / self._squares.pixels


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
