"""Bits of masks and numbers that several modules of verification need, and do not import.

They are written again on purpose, so that a wrong one in the maker is noticed.
"""

from __future__ import annotations

from math import pi
from statistics import NormalDist

SATURATED, NOT_FINITE, NO_DATA, HOT, DEAD, BAD_COLUMN = 1, 2, 4, 8, 16, 32
"""The bits from 1 to 32, as docs/products.md lists them."""

COSMIC, UNLIT, UNCALIBRATED, NOT_LINEAR, BLEED, REPLACED = 64, 128, 256, 512, 1024, 2048
"""The bits from 64 to 2048: of cosmic rays, flats and detectors, and of the treatment of a
pixel."""

VARIES, FLAT_UNRELIABLE = 4096, 8192
"""The bits of pixels that are bad only on some nights, or whose flat has a large error."""

MAD_TO_SIGMA = 1 / NormalDist().inv_cdf(0.75)
"""Standard deviation of a normal distribution over its median absolute deviation."""

DIGITAL_NOISE = 12**-0.5
"""Standard deviation of rounding to whole numbers: combine/noise.py."""

MEDIAN_VARIANCE = pi / 2
"""Variance of the median of many normal values over the variance of their mean."""

LOW_SIGMA = 4.5
"""Sigma by which a low pixel is below its neighbours: detector/pixels/response.py."""

PART_ROWS = 32
"""Rows in one part of a column: detector/pixels/columns.py."""

UNDERSAMPLED_FWHM = 2.5
"""Stars of a smaller FWHM, pixels, are compared with their own profile: cosmic_rays/cosmics.py."""

LEAST_FLAT = 1e-3
"""Least response by which a pixel is divided: calibrate/combined_master.py."""

LEAST_LIT_RESPONSE = 0.2
"""Least response of a lit pixel: mask_bits.py."""

MOST_BELOW_ZERO = 0.5
"""Standard deviations by which expected light may be below 0: calibrate/signal.py."""

MOST_CELLS = 16
"""Most cells along an axis of the map of a shutter: detector/dead_time.py."""

LEAST_CELL_SIDE = 16
"""Least number of pixels along a side of a cell of this map: detector/dead_time.py."""
