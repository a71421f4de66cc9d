"""Masks that store only their set pixels, and the bits that a master passes on to frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.mask_bits import NO_DATA, NOT_FINITE, SATURATED, UNCALIBRATED, flagged_indices

# Bits of pixels for which the members gave no good value: the master has no value there.
_NO_VALUE_BITS = SATURATED | NOT_FINITE | NO_DATA


def bits_of_master(mask):
    """Return a master's mask in the bits of a frame's; a pixel without a value is UNCALIBRATED.

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
    indices : numpy.ndarray of shape (n,), int64
        Indices of the set pixels in the flattened image, in order.
    bits : numpy.ndarray of shape (n,), int16
        Bits of the set pixels.
    width : int
        Number of columns of the image.
    """

    indices: np.ndarray
    bits: np.ndarray
    width: int

    @classmethod
    def from_mask(cls, mask):
        """Return the sparse mask of a mask, (ny, nx) int16."""
        indices = flagged_indices(np.ascontiguousarray(mask))
        return cls(indices, mask.reshape(-1)[indices], mask.shape[1])

    @property
    def nbytes(self):
        """Bytes of memory in use."""
        return self.indices.nbytes + self.bits.nbytes

    def cut(self, region):
        """Return the mask of the pixels in a `ccdflow.camera.sections.Region`."""
        y, x = np.divmod(self.indices, self.width)
        is_inside = (y >= region.y0) & (y < region.y1) & (x >= region.x0) & (x < region.x1)
        width = region.x1 - region.x0
        indices = (y[is_inside] - region.y0) * width + x[is_inside] - region.x0
        return SparseMask(indices, self.bits[is_inside], width)

    def put(self, first, block):
        """Set the bits of this mask in a block of rows of another one.

        Parameters
        ----------
        first : int
            Row of the image at which the block begins.
        block : numpy.ndarray of shape (k, nx), int16
            Rows of a mask, contiguous; changed in place.
        """
        start = first * self.width
        low, high = self.indices.searchsorted(start), self.indices.searchsorted(start + block.size)
        if high > low:
            block.reshape(-1)[self.indices[low:high] - start] |= self.bits[low:high]
