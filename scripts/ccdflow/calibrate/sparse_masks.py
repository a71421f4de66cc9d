"""Masks that store only their set pixels, and the bits that a master passes on to frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.maskbits import NO_DATA, NOT_FINITE, SATURATED, UNCALIBRATED, flagged_indices

# Bits of pixels for which the members gave no good value: the master has no value there.
_NO_VALUE_BITS = SATURATED | NOT_FINITE | NO_DATA


def bits_of_master(mask):
    """Return a master's mask as bits of a frame's; pixels without values have no calibration.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), integers

    Returns
    -------
    numpy.ndarray of shape (ny, nx), int16
    """
    mask = mask.astype(np.int16, order="C")
    # Few pixels have any bit.
    index = flagged_indices(mask)
    bits = mask.reshape(-1)[index]
    has_no_value = (bits & _NO_VALUE_BITS) != 0
    bits &= ~np.int16(_NO_VALUE_BITS)
    bits[has_no_value] |= UNCALIBRATED
    mask.reshape(-1)[index] = bits
    return mask


@dataclass(frozen=True)
class SparseMask:
    """A mask that stores only its set pixels.

    Attributes
    ----------
    index : numpy.ndarray of shape (n,), int64
        Indices of the set pixels in the flattened image, in order.
    value : numpy.ndarray of shape (n,), int16
        Their bits.
    width : int
        Number of columns of the image.
    """

    index: np.ndarray
    value: np.ndarray
    width: int

    @classmethod
    def from_mask(cls, mask):
        """Return a mask (ny, nx) of int16 as a sparse one."""
        index = flagged_indices(np.ascontiguousarray(mask))
        return cls(index, mask.reshape(-1)[index], mask.shape[1])

    @property
    def nbytes(self):
        """Bytes of memory in use."""
        return self.index.nbytes + self.value.nbytes

    def cut(self, region):
        """Return the mask of a `ccdflow.camera.sections.Region`, counted from its corner."""
        y, x = np.divmod(self.index, self.width)
        is_inside = (y >= region.y0) & (y < region.y1) & (x >= region.x0) & (x < region.x1)
        width = region.x1 - region.x0
        index = (y[is_inside] - region.y0) * width + x[is_inside] - region.x0
        return SparseMask(index, self.value[is_inside], width)

    def put(self, first, block):
        """Set these bits in the rows of a mask from ``first`` on, (k, nx) int16, contiguous.

        Parameters
        ----------
        first : int
            Row of the image that the block begins with.
        block : numpy.ndarray of shape (k, nx), int16
            Rows of a mask, contiguous; changed in place.
        """
        start = first * self.width
        low, high = self.index.searchsorted(start), self.index.searchsorted(start + block.size)
        if high > low:
            block.reshape(-1)[self.index[low:high] - start] |= self.value[low:high]
