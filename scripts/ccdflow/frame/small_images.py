"""A small image of a frame, taken from some of its rows while they pass.

A pixel of the small image is the mean of a square of pixels of the frame, on `SQUARE_ROWS` of its
rows. Rows are added in their order, so that the blocks in which a frame passes change no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

MOST_SIDE_PIXELS = 256
"""The longer side of a small image has at most this many pixels."""

SQUARE_ROWS = 2
"""Rows of each square that are read: two of the LFC's eighteen are enough to see stars."""


def pixels_per_small_pixel(shape):
    """Return the number of pixels of a frame along one pixel of its small image.

    A multiple of `SQUARE_ROWS`, so that the rows that are read are evenly spread; 1 of a small
    frame.
    """
    step = max(1, -(-max(shape) // MOST_SIDE_PIXELS))
    return step if step == 1 else -(-step // SQUARE_ROWS) * SQUARE_ROWS


@dataclass(frozen=True)
class _Squares:
    """The squares of the frames of one shape: the same for all frames of a camera.

    Attributes
    ----------
    step : int
        Side of a square, pixels.
    read_rows, row_step : int
        Rows of a square that are read, and the distance between them.
    whole, cut_start : int
        Squares of a row that are not cut, and the column behind them.
    ones, cut : numpy.ndarray of float32
        Shape (columns,), 1 for each column of a square, and of the one that is cut.
    pixels : numpy.ndarray of float32
        Shape (squares along y, squares along x): how many pixels of each square are read.
    """

    step: int
    read_rows: int
    row_step: int
    whole: int
    cut_start: int
    ones: np.ndarray
    cut: np.ndarray
    pixels: np.ndarray


@lru_cache(maxsize=8)
def _squares(shape):
    """Return the `_Squares` of frames of a shape, computed once."""
    (ny, nx), step = shape, pixels_per_small_pixel(shape)
    read_rows = min(SQUARE_ROWS, step)
    row_step = step // read_rows
    whole, cut = divmod(nx, step)
    rows = np.bincount(np.arange(-(-ny // row_step)) // read_rows).astype(np.float32)
    columns = np.array([step] * whole + [cut] * (cut > 0), np.float32)
    ones = np.ones(step, np.float32)
    pixels = rows[:, None] * columns
    return _Squares(
        step=step,
        read_rows=read_rows,
        row_step=row_step,
        whole=whole,
        cut_start=whole * step,
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
        self._sums = np.zeros((ny * squares.read_rows, nx), np.float32)
        self._uncut_sums = self._sums[:, : squares.whole]
        self._cut_sums = self._sums[:, -1]

    def add(self, first, rows):
        """Take some rows of the frame.

        Parameters
        ----------
        first : int
            Number of the first one, from 0. Blocks come in their order, and none is left out.
        rows : numpy.ndarray
            Shape (k, nx), any byte order.
        """
        squares, start = self._squares, -first % self._squares.row_step
        sampled = rows[start :: squares.row_step]
        first_sampled, count = (first + start) // squares.row_step, len(sampled)
        # Summed while they are in the processor's cache; a product with ones takes a third of the
        # time of `reduceat`, and each row's is its own, whatever the block.
        uncut = sampled[:, : squares.cut_start].reshape(count, squares.whole, squares.step)
        np.matmul(uncut, squares.ones, out=self._uncut_sums[first_sampled : first_sampled + count])
        if squares.cut.size:
            cut = sampled[:, squares.cut_start :]
            np.matmul(cut, squares.cut, out=self._cut_sums[first_sampled : first_sampled + count])

    def result(self):
        """Return the small image: float32, at most `MOST_SIDE_PIXELS` pixels along each side."""
        read_rows = self._squares.read_rows
        sums = self._sums[::read_rows]
        for row in range(1, read_rows):
            sums = sums + self._sums[row::read_rows]
        return sums / self._squares.pixels


def small_image(image):
    """Return the small image of a whole frame.

    Parameters
    ----------
    image : numpy.ndarray of float32 or float64, any byte order
        Shape (ny, nx); of a memory map only the rows that are needed are read.

    Returns
    -------
    numpy.ndarray of shape (rows, columns)
        float32.
    """
    small = SmallImage(image.shape)
    small.add(0, image)
    return small.result()
