"""Pixels below 0 in a raw frame of floating point: no converter gives such numbers."""

from __future__ import annotations

import numpy as np

from ccdflow.camera.reduction_marks import REDUCED_REMEDY
from ccdflow.errors import FrameError

MOST_NEGATIVE_FRACTION = 1e-3
"""The fraction of a raw frame's pixels that may be below 0, as faulty pixels are."""


class Negatives:
    """Counts the pixels below 0 of a frame, block by block.

    Parameters
    ----------
    is_judged : bool
        Whether pixels below 0 are counted: not those of integers, nor of a camera whose profile
        says that its frames are raw.
    """

    def __init__(self, is_judged):
        self._is_judged = is_judged
        self._n_negative = self._n_pixels = 0

    def add(self, values):
        """Count the pixels below 0 among some stored pixels, an array of any shape."""
        if self._is_judged:
            self._n_negative += int(np.count_nonzero(values < 0))
            self._n_pixels += values.size

    def check(self, file=None):
        """Raise `FrameError` if more than `MOST_NEGATIVE_FRACTION` of the pixels are below 0.

        Parameters
        ----------
        file : str, optional
            Named in the error.

        Raises
        ------
        FrameError
            The frame was reduced already.
        """
        if self._n_negative > MOST_NEGATIVE_FRACTION * self._n_pixels:
            raise FrameError(
                "the frame was reduced already: it is of floating point and has pixels below 0",
                file=file,
                keyword="pixels below 0",
                value=f"{self._n_negative} of {self._n_pixels}",
                allowed="a raw frame",
                remedy=REDUCED_REMEDY,
            )
