"""A small image of a frame, taken from some of its rows while they pass.

A pixel of the small image is the mean of a square of pixels of the frame, on `ROWS` of the square's
rows. Rows are added in their order, so that the blocks in which a frame passes change no bit.
"""

from __future__ import annotations

import numpy as np

from ccdflow.files.inflate import scratch

SIDE = 256
"""The longer side of a small image has at most so many pixels."""

ROWS = 2
"""Rows of each square that are looked at: two of the LFC's seventeen are enough to see stars."""


def step_of(shape):
    """Return the number of pixels of a frame along one pixel of its small image."""
    return max(1, -(-max(shape) // SIDE))


class SmallImage:
    """Collects the small image of one frame; its buffer is reused by the thread's next one.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the frame.
    """

    def __init__(self, shape):
        ny, nx = shape
        self.step = step_of(shape)
        looked_at = min(ROWS, self.step)
        self._offsets = [number * self.step // looked_at for number in range(looked_at)]
        starts = np.arange(0, ny, self.step)
        self._counts = sum((starts + offset < ny).astype(np.float32) for offset in self._offsets)
        size = len(starts) * nx * 4
        buffer = scratch.get("small image", size)
        self._sums = np.frombuffer(buffer, dtype=np.float32).reshape(len(starts), nx)

    def add(self, first, rows):
        """Take some rows of the frame.

        Parameters
        ----------
        first : int
            Number of the first one, from 0. Blocks come in their order, and none is left out.
        rows : numpy.ndarray
            Shape (k, nx), any byte order.
        """
        for number, offset in enumerate(self._offsets):
            own = rows[-(first - offset) % self.step :: self.step]
            place = -(-(first - offset) // self.step)
            sums = self._sums[place : place + len(own)]
            if number:
                np.add(sums, own, out=sums, casting="same_kind")
            else:
                sums[...] = own

    def result(self):
        """Return the small image: float32, at most `SIDE` pixels along each side."""
        nx = self._sums.shape[1]
        starts = np.arange(0, nx, self.step)
        widths = np.diff([*starts, nx]).astype(np.float32)
        sums = np.add.reduceat(self._sums, starts, axis=1)
        return sums / (self._counts[:, None] * widths)


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
