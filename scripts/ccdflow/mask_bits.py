"""The bits of masks and their meanings, as in docs/products.md: one definition for all code.

Never renumber them: masks on disks keep their bits.
"""

import numpy as np

SATURATED = 1
"""Saturated in the raw frame, or measured as full."""

NOT_FINITE = 2
"""NaN or infinite in the raw frame."""

NO_DATA = 4
"""No member, or no amplifier, gives a value."""

HOT = 8
"""A dark current far above the other pixels'."""

DEAD = 16
"""A low response to light."""

BAD_COLUMN = 32
"""In a bad column, or above a trap."""

COSMIC = 64
"""Hit by a cosmic ray."""

UNLIT = 128
"""In a part of the flat without light."""

UNLIT_BELOW = 0.2
"""A pixel of a flat is unlit if it has less than this fraction of the mean light."""

UNCALIBRATED = 256
"""A master is missing or extrapolated here."""

NOT_LINEAR = 512
"""Beyond the linear range."""

BLEED = 1024
"""Next to saturation, or in its trail."""

REPLACED = 2048
"""The pixel has the value of another one."""

VARIES = 4096
"""Bad on some nights and good on others."""

FLAT_UNRELIABLE = 8192
"""The flat has a large error here."""

MEANINGS = {
    SATURATED: "saturated",
    NOT_FINITE: "not finite",
    NO_DATA: "no data",
    HOT: "hot",
    DEAD: "dead or low response",
    BAD_COLUMN: "bad column or trap",
    COSMIC: "cosmic ray",
    UNLIT: "unlit",
    UNCALIBRATED: "calibration missing or extrapolated here",
    NOT_LINEAR: "beyond linear range",
    BLEED: "next to saturation",
    REPLACED: "value replaced",
    VARIES: "varies",
    FLAT_UNRELIABLE: "flat unreliable",
}
"""Each bit in words, as headers and pages have it."""


def flagged_indices(mask):
    """Return `numpy.flatnonzero` of a mask with few set pixels; four pixels are tested at once.

    Parameters
    ----------
    mask : numpy.ndarray of any shape, int16
        Contiguous.

    Returns
    -------
    numpy.ndarray of shape (k,), int64

    Examples
    --------
    >>> print(flagged_indices(np.array([[0, 4, 0], [0, 0, 64]], np.int16)))
    [1 5]
    """
    bits = mask.reshape(-1)
    size_of_fours = bits.size // 4 * 4
    # `flatnonzero` takes five times as long for whole numbers as for booleans.
    flagged_fours = np.flatnonzero(bits[:size_of_fours].view(np.uint64) != 0)
    candidates = (4 * flagged_fours[:, np.newaxis] + np.arange(4)).reshape(-1)
    last_indices = np.flatnonzero(bits[size_of_fours:]) + size_of_fours
    return np.concatenate([candidates[bits[candidates] != 0], last_indices])
