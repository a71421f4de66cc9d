"""Pixels of a raw frame of floating point that no converter gives: below 0, or scaled to 0..1."""

from __future__ import annotations

import numpy as np

from ccdflow.camera.reduction_marks import REDUCED_REMEDY
from ccdflow.errors import FrameError

MOST_NEGATIVE_FRACTION = 1e-3
"""The fraction of a raw frame's pixels that may be below 0, as faulty pixels are."""

# At most this fraction of the pixels of a scaled frame is above `_MOST_SCALED`, as faulty pixels
# are. More than this fraction has digits behind the point: a raw frame has whole numbers.
_FAULTY_FRACTION = 1e-3
# Siril, PixInsight and others scale a frame to 0..1; a flat over its mean has values about 1. With
# a larger limit, darks without their bias would count as scaled; with a smaller one, bright parts
# of a flat over its mean would not.
_MOST_SCALED = 2.0

_SCALED_REMEDY = (
    "write the frames as integers of the converter (in Siril set16bits, in PixInsight 16 bits), or"
    " give their headers BSCALE = 65535"
)


class FloatPixels:
    """Counts the pixels of a frame, block by block, that no converter gives.

    Parameters
    ----------
    counts_negatives : bool
        Whether pixels below 0 are counted: not those of stored integers, nor of a camera whose
        profile says that its frames are raw.
    """

    def __init__(self, *, counts_negatives):
        self._counts_negatives = counts_negatives
        self._n_pixels = self._n_negative = self._n_large = self._n_fractions = 0

    def add(self, values):
        """Count some pixels, an array of any shape; those of integers are all possible."""
        if values.dtype.kind != "f":
            return
        self._n_pixels += values.size
        if self._counts_negatives:
            self._n_negative += int(np.count_nonzero(values < 0))
        self._n_large += int(np.count_nonzero(values > _MOST_SCALED))
        # Most raw frames end here: their fractions need not be counted.
        if self._n_large <= _FAULTY_FRACTION * self._n_pixels:
            finite_values = values[np.isfinite(values)]
            self._n_fractions += int(np.count_nonzero(finite_values % 1))

    def check(self, file=None):
        """Raise `FrameError` for a frame with pixels below 0, or one that is scaled to 0..1.

        Parameters
        ----------
        file : str, optional
            Named in the error.

        Raises
        ------
        FrameError
            The frame was reduced already, or another program has scaled it: its gain is then of
            other numbers, by a factor of 65535.
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
        faulty = _FAULTY_FRACTION * self._n_pixels
        if self._n_fractions > faulty and self._n_large <= faulty:
            raise FrameError(
                "the pixels are scaled to 0..1: they are real numbers, and nearly none is above"
                f" {_MOST_SCALED:g}",
                file=file,
                keyword=f"pixels above {_MOST_SCALED:g}",
                value=f"{self._n_large} of {self._n_pixels}",
                allowed="adu of the converter",
                remedy=_SCALED_REMEDY,
            )
