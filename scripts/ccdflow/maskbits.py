"""The bits of masks, as in docs/products.md: one definition for all code that uses them.

Never renumber them: masks on disks keep their bits.
"""

import numpy as np

# Saturated in the raw frame, or measured as full.
SATURATED = 1
# NaN or infinite in the raw frame.
NOT_FINITE = 2
# No member, or no amplifier, gives a value.
NO_DATA = 4
# A dark current far above the other pixels'.
HOT = 8
# A low response to light.
DEAD = 16
# In a bad column, or above a trap.
BAD_COLUMN = 32
# Hit by a cosmic ray.
COSMIC = 64
# In a part of the flat without light.
UNLIT = 128
# A master is missing or extrapolated here.
UNCALIBRATED = 256
# Beyond the linear range.
NOT_LINEAR = 512
# Next to saturation, or in its trail.
BLEED = 1024
# The value is another's.
REPLACED = 2048
# Bad on some nights and good on others.
VARIES = 4096
# The flat is known badly here.
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
