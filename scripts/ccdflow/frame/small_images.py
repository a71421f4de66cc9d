"""A small image of a frame, taken from some of its rows while they pass.

A pixel of the small image is the mean of a square of pixels of the frame, on one or two of the
square's rows. These are copied while they pass, and added at the end: the blocks in which a frame
passes change no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ccdflow.files.thread_buffers import thread_buffer

MOST_SIDE_PIXELS = 256
"""The longer side of a small image has at most this many pixels."""

SQUARE_ROWS = 2
"""Rows of each square that are read of science frames: two of the eighteen of an LFC frame show its
stars."""

ROWS_OF_CALIBRATIONS = 1
"""Rows of each square that are read of biases, darks and flats, which have no stars."""

_LINE = np.dtype(np.float32)


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
    uncut, cut_start : int
        Squares of a row that are not cut, and the column behind them.
    ones, cut_ones : numpy.ndarray of shape (columns,), float32
        1 for each column of a square, and of the one that is cut.
    pixels : numpy.ndarray of shape (squares along y, squares along x), float32
        Number of pixels of each square that are read.
    """

    step: int
    read_rows: int
    row_step: int
    uncut: int
    cut_start: int
    ones: np.ndarray
    cut_ones: np.ndarray
    pixels: np.ndarray


# A camera has a few shapes of frames, windows among them. One more is computed again in less than
# a millisecond, and one that is kept takes as much memory as a small image.
@lru_cache(maxsize=8)
def _squares_of_shape(shape, rows):
    """Return the `_Squares` of frames of a shape, computed once."""
    (ny, nx), step = shape, pixels_per_small_pixel(shape)
    read_rows = min(rows, step)
    row_step = step // read_rows
    uncut, cut_columns = divmod(nx, step)
    counts = np.bincount(np.arange(-(-ny // row_step)) // read_rows).astype(np.float32)
    columns = np.array([step] * uncut + ([cut_columns] if cut_columns else []), np.float32)
    ones = np.ones(step, np.float32)
    pixels = counts[:, None] * columns
    return _Squares(
        step=step,
        read_rows=read_rows,
        row_step=row_step,
        uncut=uncut,
        cut_start=uncut * step,
        ones=ones,
        cut_ones=ones[:cut_columns],
        pixels=pixels,
    )


class SmallImage:
    """Collects the small image of one frame; a thread has one at a time.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the frame.
    rows : int, optional
        Rows of each square that are read: `SQUARE_ROWS` or `ROWS_OF_CALIBRATIONS`.
    """

    def __init__(self, shape, rows=SQUARE_ROWS):
        self._squares = squares = _squares_of_shape(tuple(shape), rows)
        count, nx = -(-shape[0] // squares.row_step), shape[1]
        memory = thread_buffer("small image", max(1, count * nx) * _LINE.itemsize)
        self._lines = np.frombuffer(memory, _LINE, count * nx).reshape(count, nx)
        self._n_lines = 0

    def add(self, first, rows):
        """Take some rows of the frame.

        Parameters
        ----------
        first : int
            Number of the first one, from 0. Blocks come in their order, and none is left out.
        rows : numpy.ndarray of shape (k, nx), float32 or float64, any byte order
        """
        step = self._squares.row_step
        rows_sampled = rows[-first % step :: step]
        lines = self._lines[self._n_lines : self._n_lines + len(rows_sampled)]
        self._n_lines += len(rows_sampled)
        if rows_sampled.dtype == _LINE and rows_sampled.strides[1] == _LINE.itemsize:
            # Numpy lets other threads go on during work on 500 items or more, and waiting for them
            # after each block takes three times as long as the work. A line is one item here.
            item = np.dtype((np.void, rows_sampled.shape[1] * _LINE.itemsize))
            rows_sampled, lines = rows_sampled.view(item), lines.view(item)
        lines[...] = rows_sampled

    def result(self):
        """Return the small image: float32, at most `MOST_SIDE_PIXELS` pixels along each side."""
        squares, lines = self._squares, self._lines
        # A row without pixels at the end of a square that is cut stays 0.
        ny, nx = squares.pixels.shape
        sums = np.zeros((ny * squares.read_rows, nx), np.float32)
        sums_of_lines = sums[: len(lines)]
        # A product with ones takes a third of the time of `reduceat`.
        uncut = lines[:, : squares.cut_start].reshape(len(lines), squares.uncut, squares.step)
        np.matmul(uncut, squares.ones, out=sums_of_lines[:, : squares.uncut])
        if squares.cut_ones.size:
            np.matmul(lines[:, squares.cut_start :], squares.cut_ones, out=sums_of_lines[:, -1])
        total = sums[:: squares.read_rows]
        for row in range(1, squares.read_rows):
            total = total + sums[row :: squares.read_rows]
        return total / squares.pixels


def small_image(image, rows=SQUARE_ROWS):
    """Return the small image of a whole frame.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64, any byte order
        Only the rows that are needed are read of a memory map.
    rows : int, optional
        See `SmallImage`.

    Returns
    -------
    numpy.ndarray of shape (rows, columns), float32
    """
    collector = SmallImage(image.shape, rows)
    collector.add(0, image)
    return collector.result()
