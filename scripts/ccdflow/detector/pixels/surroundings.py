"""The usual values around a pixel: interpolated medians of blocks, and a smooth polynomial."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import legvander, legvander2d

from ccdflow.robust import median, row_medians

# Pixels on a side of the blocks whose interpolated medians each pixel is compared with: a running
# median over such blocks takes ten times as long.
_BLOCK_SIDE = 8
# Rows of blocks that are sorted or interpolated at once: no second plane of a large image is in
# memory.
_BLOCK_ROWS_AT_ONCE = 16
# Blocks along a side of the image, to which the polynomial of a flat's illumination is fitted. A
# simulated flat that loses half of its light towards the corners is fitted to 0.03 % (rms), with 12
# blocks to 0.07 %, with 48 to 0.01 %, which need four times as many medians. Chosen between them.
_BLOCKS_A_SIDE = 24
# Degree of the polynomial of a flat's illumination along each axis. In simulated flats with a sharp
# vignette the darkest corner is off by an eighth of its light, with degree 4 by half; with degree 8
# the corners of flats without a vignette are off by 0.7 % in place of 0.4 %.
_DEGREE = 6
# The median of a block with more pixels than this is that of every second one along both axes.
_MANY_PIXELS = 1000


def finite_values(values, nan=0.0):
    """Return `numpy.nan_to_num` of values, or the array itself if all values are finite.

    Parameters
    ----------
    values : numpy.ndarray of any shape, float32 or float64
        Not changed.
    nan : float, optional
        Replaces NaN.

    Returns
    -------
    numpy.ndarray of the same shape and type
    """
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=nan)


class BlockMedians:
    """The medians of the blocks of an image, which is added and interpolated in bands of rows.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx) of the image.
    dtype : numpy.dtype
        A type of floats.
    """

    def __init__(self, shape, dtype):
        self._ny, nx = shape
        self._medians = np.empty([-(-size // _BLOCK_SIDE) for size in shape], dtype)
        self._columns = _between_blocks(np.arange(nx), self._medians.shape[1])

    @property
    def bands(self):
        """Slices of rows in whole blocks; the pixels of one slice fit in the processor's cache."""
        step = _BLOCK_ROWS_AT_ONCE * _BLOCK_SIDE
        # The last block is mirrored at its edge: its band has at least one whole block.
        first_rows = range(0, max(self._ny - _BLOCK_SIDE, 1), step)
        return [slice(start, stop) for start, stop in pairwise([*first_rows, self._ny])]

    def add_band(self, rows, pixels):
        """Measure the medians of the blocks in a band of rows, and keep them.

        Parameters
        ----------
        rows : slice
            One of `bands`.
        pixels : numpy.ndarray of shape (rows, nx), float32 or float64
        """
        blocks = _blocks_of(pixels)
        first, shape = rows.start // _BLOCK_SIDE, blocks.shape[:2]
        medians = row_medians(blocks.reshape(-1, _BLOCK_SIDE**2))
        self._medians[first : first + shape[0]] = medians.reshape(shape)

    def smooth(self, rows):
        """Return the medians interpolated to the pixels of a band of rows, (rows, nx)."""
        low, high, fraction = _between_blocks(np.arange(rows.start, rows.stop), len(self._medians))
        fraction = fraction.reshape(-1, 1)
        columns = (1 - fraction) * self._medians[low] + fraction * self._medians[high]
        low, high, fraction = self._columns
        before, after = columns.take(low, axis=1), columns.take(high, axis=1)
        smooth_medians = np.multiply(before, 1 - fraction, out=before)
        smooth_medians += np.multiply(after, fraction, out=after)
        return smooth_medians


def surrounding_medians(image):
    """Return the medians of blocks of an image of floats, interpolated to all pixels, (ny, nx)."""
    medians = BlockMedians(image.shape, image.dtype)
    for rows in medians.bands:
        medians.add_band(rows, image[rows])
    smooth = [medians.smooth(rows) for rows in medians.bands]
    return smooth[0] if len(smooth) == 1 else np.concatenate(smooth)


def surrounding_medians_of_pixels(image, rows, columns, *, usual):
    """Return `surrounding_medians` at some pixels, from the blocks around these alone.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32
    rows, columns : numpy.ndarray of shape (k,), int
    usual : float
        Replaces NaN and infinite values.

    Returns
    -------
    numpy.ndarray of shape (k,), float32
    """
    blocks = _blocks_of(image)
    shape = blocks.shape[:2]
    (above, below, down), (left, right, along) = (
        _between_blocks(positions, count)
        for positions, count in zip((rows, columns), shape, strict=True)
    )
    corners = [(y, x) for x in (left, right) for y in (above, below)]
    block_numbers, places = np.unique(
        [np.ravel_multi_index(corner, shape) for corner in corners], return_inverse=True
    )
    pixels = blocks[np.unravel_index(block_numbers, shape)].reshape(len(block_numbers), -1)
    np.nan_to_num(pixels, copy=False, nan=usual, posinf=usual, neginf=usual)
    first, second, third, fourth = row_medians(pixels)[places].reshape(4, -1)
    before, after = (1 - down) * first + down * second, (1 - down) * third + down * fourth
    return (1 - along) * before + along * after


def _blocks_of(image):
    """Return the blocks of an image, mirrored at its far edges: (rows, columns, side, side)."""
    for axis in (0, 1):
        n_missing = -image.shape[axis] % _BLOCK_SIDE
        widths = [(0, 0), (0, 0)]
        widths[axis] = (0, n_missing)
        image = np.pad(image, widths, mode="symmetric") if n_missing else image
    ny, nx = (n // _BLOCK_SIDE for n in image.shape)
    return image.reshape(ny, _BLOCK_SIDE, nx, _BLOCK_SIDE).swapaxes(1, 2)


def _between_blocks(pixels, count):
    """Return the blocks before and after pixels along an axis, and the fraction of the second.

    Parameters
    ----------
    pixels : numpy.ndarray of shape (k,), int
    count : int
        Number of blocks along the axis.
    """
    positions = np.clip((pixels + 0.5) / _BLOCK_SIDE - 0.5, 0, count - 1)
    low = np.minimum(positions.astype(int), max(count - 2, 0))
    return low, np.minimum(low + 1, count - 1), (positions - low).astype(np.float32)


class Illumination(NamedTuple):
    """The smooth illumination of a flat: a polynomial fitted to the medians of its blocks.

    A flat is divided by it first: a gradient would bias the comparison at the edges, where all
    neighbours of a pixel lie on one side.

    Attributes
    ----------
    across : numpy.ndarray of shape (ny, k), float32
        Legendre polynomials of the rows.
    coefficients : numpy.ndarray of shape (k, m), float32
    along : numpy.ndarray of shape (nx, m), float32
        Legendre polynomials of the columns.
    """

    across: np.ndarray
    coefficients: np.ndarray
    along: np.ndarray

    def values_of_rows(self, rows):
        """Return the illumination of some rows, a slice: (rows, nx), float32."""
        return self.across[rows] @ self.coefficients @ self.along.T


def illumination_of_flat(flat):
    """Return the `Illumination` of a flat, (ny, nx) float32."""
    ny, nx = flat.shape
    rows, columns = (
        np.array_split(np.arange(n), min(_BLOCKS_A_SIDE, max(1, n // _BLOCK_SIDE)))
        for n in (ny, nx)
    )
    medians = np.array(
        [
            [
                median(
                    _thin_block(
                        flat[
                            rows_of_block[0] : rows_of_block[-1] + 1,
                            columns_of_block[0] : columns_of_block[-1] + 1,
                        ]
                    )
                )
                for columns_of_block in columns
            ]
            for rows_of_block in rows
        ]
    )
    centres = [
        [np.mean(part) * 2 / max(n - 1, 1) - 1 for part in parts]
        for parts, n in ((rows, ny), (columns, nx))
    ]
    degrees = [min(_DEGREE, len(parts) - 1) for parts in (rows, columns)]
    y, x = np.meshgrid(*centres, indexing="ij")
    terms = legvander2d(y.ravel(), x.ravel(), degrees)
    coefficients = np.linalg.lstsq(terms, medians.ravel(), rcond=None)[0]
    coefficients = coefficients.reshape([degree + 1 for degree in degrees])
    across, along = (
        legvander(np.linspace(-1, 1, n), degree).astype(np.float32)
        for n, degree in zip((ny, nx), degrees, strict=True)
    )
    return Illumination(across, coefficients.astype(np.float32), along)


def _thin_block(block):
    """Return every second pixel along both axes of a large block; a small one as it is."""
    return block[::2, ::2] if block.size > _MANY_PIXELS else block
