"""The bits that darks and flats give to pixels, and the bits that rounding leaves open."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre
from scipy import ndimage

from ccdflow.verify.reading.restated_numbers import MAD_TO_SIGMA, PART_ROWS

NEAR_LIMIT_FRACTION = 2e-3
"""Fraction of a limit, and sigma about it, within which float32 and float64 may disagree."""

# All numbers below are those of detector/pixels/, written again, so that a wrong one there is
# noticed here.

# Rows and columns of a block.
_BLOCK_SIDE = 8
# Numbers of successive parts of a column whose sums are compared.
_LENGTHS_IN_PARTS = (1, 4, 16, 64)
# Sigma by which the sum of parts of a bad column is above the usual sum.
_BAD_SIGMA = 5.5
# Sigma by which at least one of the bad parts that touch differs from the part beside it.
_STEP_SIGMA = 4.5
# One pixel adds at most this many sigma to the sum of a part: no single pixel makes a column bad.
_MOST_SIGMA_OF_A_PIXEL = 3.0
# Columns whose median is the usual sum of parts.
_COLUMNS_AROUND = 31
# Blocks along each side of a flat, whose medians give its smooth light.
_BLOCKS_A_SIDE = 24
# Degree of the polynomials through the medians of the blocks of a flat.
_DEGREE = 6
# In blocks of more pixels, one pixel of four gives the median.
_MANY_PIXELS = 1000


class OpenBits:
    """The bits that pixels must have, and the bits that they may have.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx) of the image.

    Attributes
    ----------
    required_bits, allowed_bits : numpy.ndarray of shape (ny, nx), int16
    """

    def __init__(self, shape):
        self.required_bits, self.allowed_bits = np.zeros(shape, np.int16), np.zeros(shape, np.int16)

    def add(self, bit, value, limit, place=..., *, margin=NEAR_LIMIT_FRACTION):
        """Require a bit of pixels whose value is above a limit, and allow it near the limit.

        Parameters
        ----------
        bit : int
            Bit of the mask.
        value, limit : numpy.ndarray of the shape of the place, float64, or float
            Values of these pixels, and their limits. NaN is above no limit.
        place : index, optional
            Part of the image.
        margin : float, optional
            Distance that is added to the fraction of the limit within which a value is near.
        """
        half_width = NEAR_LIMIT_FRACTION * np.abs(limit) + margin
        with np.errstate(invalid="ignore"):
            self.set(bit, value > limit + half_width, value > limit - half_width, place)

    def set(self, bit, is_required, is_allowed, place=...):
        """Require a bit of some pixels, and allow it in others.

        Parameters
        ----------
        bit : int
        is_required, is_allowed : numpy.ndarray of the shape of the place, bool
            Pixels of the place that must, and that may, have the bit.
        place : index, optional
        """
        self.required_bits[place] |= np.where(is_required, bit, 0).astype(np.int16)
        self.allowed_bits[place] |= np.where(is_required | is_allowed, bit, 0).astype(np.int16)

    def count_wrong(self, bits):
        """Return how many pixels lack a required bit, or have one that is not allowed.

        Parameters
        ----------
        bits : numpy.ndarray of shape (ny, nx), int16
            The bits of a product.

        Returns
        -------
        int
        """
        return int(
            np.count_nonzero(((bits & ~self.allowed_bits) | (self.required_bits & ~bits)) != 0)
        )


def sigma_by_mad(values):
    """Return the standard deviation of normal values, (k,), by their median absolute value."""
    return MAD_TO_SIGMA * float(np.median(np.abs(values)))


def block_medians(image):
    """Return the medians of blocks; mirrored pixels fill the blocks beyond the far edges."""
    ny, nx = image.shape
    padded_image = np.pad(image, ((0, -ny % _BLOCK_SIDE), (0, -nx % _BLOCK_SIDE)), mode="symmetric")
    n_rows, n_columns = padded_image.shape[0] // _BLOCK_SIDE, padded_image.shape[1] // _BLOCK_SIDE
    blocks = padded_image.reshape(n_rows, _BLOCK_SIDE, n_columns, _BLOCK_SIDE).transpose(0, 2, 1, 3)
    return np.median(blocks.reshape(n_rows, n_columns, -1), axis=-1)


def interpolate_blocks(medians, rows, nx):
    """Return the values of pixels, interpolated between the middles of blocks, (k, nx).

    Parameters
    ----------
    medians : numpy.ndarray of shape (ny / 8, nx / 8), float64
        As `block_medians` returns them.
    rows : slice
        Rows of the image.
    nx : int

    Returns
    -------
    numpy.ndarray of shape (k, nx), float64
        In the unit of the medians.
    """
    row_weights = _interpolation_weights(np.arange(rows.start, rows.stop), medians.shape[0])
    return row_weights @ medians @ _interpolation_weights(np.arange(nx), medians.shape[1]).T


def _interpolation_weights(pixels, n_blocks):
    """Return the weights of blocks in the interpolation at pixels, (pixels, blocks)."""
    positions = np.clip((pixels + 0.5) / _BLOCK_SIDE - 0.5, 0, n_blocks - 1)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(n_blocks)))


def values_of_neighbours(image):
    """Return the interpolated medians of blocks around each pixel of an image, (ny, nx)."""
    return interpolate_blocks(block_medians(image), slice(0, len(image)), image.shape[1])


def smooth_lamp(flat):
    """Return the function that gives rows of the smooth light of a flat: slice to (k, nx).

    It is a polynomial of `_DEGREE` in x and in y through the medians of `_BLOCKS_A_SIDE` blocks
    along each axis, fewer in small images.

    Parameters
    ----------
    flat : numpy.ndarray of shape (ny, nx), floats

    Returns
    -------
    callable
    """
    parts = [
        np.array_split(np.arange(size), min(_BLOCKS_A_SIDE, max(1, size // _BLOCK_SIDE)))
        for size in flat.shape
    ]
    medians = np.empty([len(part) for part in parts])
    for i, y in enumerate(parts[0]):
        for j, x in enumerate(parts[1]):
            block = flat[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
            medians[i, j] = np.median(block[::2, ::2] if block.size > _MANY_PIXELS else block)
    degrees = [min(_DEGREE, len(part) - 1) for part in parts]
    middles = [
        np.array([2 * part.mean() / max(size - 1, 1) - 1 for part in parts_of_axis])
        for parts_of_axis, size in zip(parts, flat.shape, strict=True)
    ]
    grid = [part.ravel() for part in np.meshgrid(*middles, indexing="ij")]
    terms = legendre.legvander2d(*grid, degrees)
    coefficients = np.linalg.lstsq(terms, medians.ravel(), rcond=None)[0]
    coefficients = coefficients.reshape([degree + 1 for degree in degrees])
    places = [np.linspace(-1, 1, size) for size in flat.shape]
    return lambda rows: legendre.leggrid2d(places[0][rows], places[1], coefficients)


def column_sums(sigma):
    """Return the sums of parts of each column: `PART_ROWS` rows, and limited sigma of a pixel.

    Parameters
    ----------
    sigma : numpy.ndarray of shape (k, nx), float64
        Finite; k is a multiple of `PART_ROWS`, unless the rows are the last of the image.

    Returns
    -------
    numpy.ndarray of shape (parts, nx), float64
        In sigma.
    """
    limited_sigma = np.clip(sigma, -_MOST_SIGMA_OF_A_PIXEL, _MOST_SIGMA_OF_A_PIXEL)
    return np.array(
        [
            limited_sigma[low : low + PART_ROWS].sum(axis=0)
            for low in range(0, len(limited_sigma), PART_ROWS)
        ]
    )


def bad_parts(sums, ny):
    """Return which pixels are in bad parts of columns, and which may be.

    Parameters
    ----------
    sums : numpy.ndarray of shape (parts, nx), float64
        As `column_sums` returns them, of all rows.
    ny : int

    Returns
    -------
    is_bad, may_be_bad : numpy.ndarray of shape (ny, nx), bool
    """
    is_bad = np.zeros((2, *sums.shape), bool)
    for length in {min(length, len(sums)) for length in _LENGTHS_IN_PARTS}:
        first_rows = range(0, len(sums), length)
        sums_of_lengths = np.array([sums[low : low + length].sum(axis=0) for low in first_rows])
        sums_of_lengths /= (PART_ROWS * length) ** 0.5
        contrast = sums_of_lengths - ndimage.median_filter(
            sums_of_lengths, size=(1, min(_COLUMNS_AROUND, sums.shape[1]))
        )
        for row, sums_of_row, low in zip(contrast, sums_of_lengths, first_rows, strict=True):
            noise_of_sums = max(sigma_by_mad(row), 1.0)
            for is_bad_by_limit, limit_factor in zip(
                is_bad, (1 + NEAR_LIMIT_FRACTION, 1 - NEAR_LIMIT_FRACTION), strict=True
            ):
                is_high = row > limit_factor * _BAD_SIGMA * noise_of_sums
                is_bad_by_limit[low : low + length] |= _runs_with_a_step(
                    is_high, sums_of_row, limit_factor * _STEP_SIGMA * noise_of_sums
                )
    return tuple(np.repeat(is_bad_by_limit, PART_ROWS, axis=0)[:ny] for is_bad_by_limit in is_bad)


def _runs_with_a_step(is_high, sums, least_step):
    """Return which parts of a row are high and touch a step, directly or through high parts.

    Parameters
    ----------
    is_high : numpy.ndarray of shape (nx,), bool
    sums : numpy.ndarray of shape (nx,), float64
        Sums of the parts.
    least_step : float
        Least difference of neighbours that is a step.

    Returns
    -------
    numpy.ndarray of shape (nx,), bool
    """
    is_step = np.abs(np.diff(sums)) >= least_step
    touches = np.pad(is_step, (1, 0)) | np.pad(is_step, (0, 1))
    return ndimage.binary_propagation(is_high & touches, mask=is_high)
