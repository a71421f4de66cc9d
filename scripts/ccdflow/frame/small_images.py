"""A small image of a frame, from some of its rows.

A pixel of the small image is the mean of a square of pixels of the frame, on one or two rows of the
square. These rows are copied while a frame is processed in blocks, and are summed at the end, so
that the blocks change no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ccdflow.files.thread_buffers import thread_buffer

MOST_SIDE_PIXELS = 256
"""The longer side of a small image has at most this many pixels."""

SQUARE_ROWS = 2
"""Number of rows of each square that are read in science frames: in an LFC frame two of the
eighteen rows of a square show the stars."""

ROWS_OF_CALIBRATIONS = 1
"""Number of rows of each square that are read in biases, darks and flats, which have no stars."""

# Type of the pixels of the rows that are copied.
_LINE_TYPE = np.dtype(np.float32)


def pixels_per_small_pixel(shape):
    """Return the side of the squares of a frame, pixels.

    The side is a multiple of `SQUARE_ROWS`, so that the rows that are read are evenly spread; it is
    1 for a small frame.
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
    n_read, row_step : int
        Number of rows of a square that are read, and the distance between them.
    n_uncut, cut_start : int
        Number of squares along a row that the frame's edge does not cut, and the column after them.
    ones, cut_ones : numpy.ndarray of shape (columns,), float32
        1 for each column of a square, and for each column of the square that the edge cuts.
    n_pixels : numpy.ndarray of shape (squares along y, squares along x), float32
        Number of pixels of each square that are read.
    """

    step: int
    n_read: int
    row_step: int
    n_uncut: int
    cut_start: int
    ones: np.ndarray
    cut_ones: np.ndarray
    n_pixels: np.ndarray


# A camera has a few shapes of frames, windows among them. The squares of a further shape are
# computed again in less than a millisecond; those that are kept take as much memory as a small
# image.
@lru_cache(maxsize=8)
def _squares_of_shape(shape, rows):
    """Return the `_Squares` of frames of a shape, computed once."""
    (ny, nx), step = shape, pixels_per_small_pixel(shape)
    n_read = min(rows, step)
    row_step = step // n_read
    n_uncut, cut_columns = divmod(nx, step)
    rows_of_squares = np.bincount(np.arange(-(-ny // row_step)) // n_read).astype(np.float32)
    columns = np.array([step] * n_uncut + ([cut_columns] if cut_columns else []), np.float32)
    ones = np.ones(step, np.float32)
    return _Squares(
        step=step,
        n_read=n_read,
        row_step=row_step,
        n_uncut=n_uncut,
        cut_start=n_uncut * step,
        ones=ones,
        cut_ones=ones[:cut_columns],
        n_pixels=rows_of_squares[:, None] * columns,
    )


class SmallImage:
    """Collects the small image of one frame; a thread has one at a time.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the frame.
    rows : int, optional
        Number of rows of each square that are read: `SQUARE_ROWS` or `ROWS_OF_CALIBRATIONS`.
    """

    def __init__(self, shape, rows=SQUARE_ROWS):
        self._squares = squares = _squares_of_shape(tuple(shape), rows)
        count, nx = -(-shape[0] // squares.row_step), shape[1]
        memory = thread_buffer("small image", max(1, count * nx) * _LINE_TYPE.itemsize)
        self._lines = np.frombuffer(memory, _LINE_TYPE, count * nx).reshape(count, nx)
        self._n_lines = 0

    def add(self, first, rows):
        """Add the next block of rows of the frame.

        Parameters
        ----------
        first : int
            Number of the first row of the block, from 0. Blocks are added in order, without gaps.
        rows : numpy.ndarray of shape (k, nx), float32 or float64, any byte order
        """
        step = self._squares.row_step
        rows_sampled = rows[-first % step :: step]
        lines = self._lines[self._n_lines : self._n_lines + len(rows_sampled)]
        self._n_lines += len(rows_sampled)
        if rows_sampled.dtype == _LINE_TYPE and rows_sampled.strides[1] == _LINE_TYPE.itemsize:
            # numpy lets other threads run while it works on 500 items or more, and the wait after
            # each block takes three times as long as the work. Here a whole line is one item.
            item = np.dtype((np.void, rows_sampled.shape[1] * _LINE_TYPE.itemsize))
            rows_sampled, lines = rows_sampled.view(item), lines.view(item)
        lines[...] = rows_sampled

    def result(self):
        """Return the small image: float32, at most `MOST_SIDE_PIXELS` pixels along each side."""
        squares, lines = self._squares, self._lines
        # The sums of rows beyond the frame, in squares that its edge cuts, stay 0.
        ny, nx = squares.n_pixels.shape
        sums = np.zeros((ny * squares.n_read, nx), np.float32)
        sums_of_lines = sums[: len(lines)]
        # A product with ones takes a third of the time of `reduceat`.
        uncut = lines[:, : squares.cut_start].reshape(len(lines), squares.n_uncut, squares.step)
        np.matmul(uncut, squares.ones, out=sums_of_lines[:, : squares.n_uncut])
        if squares.cut_ones.size:
            np.matmul(lines[:, squares.cut_start :], squares.cut_ones, out=sums_of_lines[:, -1])
        total = sums[:: squares.n_read]
        for row in range(1, squares.n_read):
            total = total + sums[row :: squares.n_read]
        return total / squares.n_pixels


def small_image(image, rows=SQUARE_ROWS):
    """Return the small image of a whole frame.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64, any byte order
        Of a memory map only the rows of the sample are read.
    rows : int, optional
        See `SmallImage`.

    Returns
    -------
    numpy.ndarray of shape (rows, columns), float32
    """
    collector = SmallImage(image.shape, rows)
    collector.add(0, image)
    return collector.result()
