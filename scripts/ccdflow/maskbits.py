"""The bits of masks, those of docs/products.md: one definition for all that set or read them."""

import numpy as np

SATURATED = 1
NOT_FINITE = 2
NO_DATA = 4
HOT = 8
DEAD = 16
BAD_COLUMN = 32
COSMIC = 64
UNLIT = 128
UNCALIBRATED = 256
NOT_LINEAR = 512
BLEED = 1024
REPLACED = 2048
VARIES = 4096
FLAT_UNRELIABLE = 8192


def flagged(mask):
    """Return `numpy.flatnonzero` of a mask of few set pixels, looking at four pixels at once.

    Parameters
    ----------
    mask : numpy.ndarray
        Any shape, int16, contiguous.

    Returns
    -------
    numpy.ndarray of int64
    """
    flat = mask.reshape(-1)
    whole = flat.size // 4 * 4
    # Of whole numbers `flatnonzero` takes five times as long as of booleans.
    words = np.flatnonzero(flat[:whole].view(np.uint64) != 0)
    at = (4 * words[:, np.newaxis] + np.arange(4)).reshape(-1)
    rest = np.flatnonzero(flat[whole:]) + whole
    return np.concatenate([at[flat[at] != 0], rest])
