"""The bits of masks and the factor of the MAD, written again on purpose, not imported.

The bits are those of docs/products.md and of the headers of MASK.
"""

from __future__ import annotations

from statistics import NormalDist

SATURATED, NOT_FINITE, NO_DATA, HOT, DEAD, BAD_COLUMN = 1, 2, 4, 8, 16, 32
"""The bits from 1 to 32 as docs/products.md lists them, written again on purpose."""

COSMIC, UNLIT, UNCALIBRATED, NOT_LINEAR, BLEED, REPLACED = 64, 128, 256, 512, 1024, 2048
"""The bits from 64 to 2048: of cosmic rays, flats and detectors, and what became of the pixel."""

VARIES, FLAT_UNRELIABLE = 4096, 8192
"""The bits of pixels that are bad on some nights only, or whose flat has a large error."""

MAD_TO_SIGMA = 1 / NormalDist().inv_cdf(0.75)
"""Standard deviation of a normal distribution over its median absolute deviation."""
