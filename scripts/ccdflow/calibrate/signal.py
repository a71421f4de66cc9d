"""The signal from which the photon noise of a frame is predicted: never one noisy pixel alone.

A variance from a pixel's own counts is small if noise made the pixel faint: means weighted by it
come out too low. The signal of the sky is the interpolated median of tiles. If the mean of 3 x 3
pixels differs significantly from it (stars, galaxies, steps), the signal is a surface of second
degree through the neighbours. The pixel's own value counts only if it is off that surface, in the
middle of a sharp star or in its steep wings.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

TILE_SIDE = 64
"""Rows and columns of a tile."""

SIGNIFICANT_SIGMA = 4.0
"""A mean of 3 x 3 pixels is significant beyond this many of its standard deviations."""

OWN_ELECTRONS = 2500.0
"""A pixel of this many electrons is its own estimate: its noise is 2 %, and shifts the mean of the
deviations over their errors by 0.01."""

SHARP_SIGMA = 3.0
"""A pixel is sharp if it is this many standard deviations of the difference, or 4.5 of its own, off
the surface through its neighbours. If it is also this many of its own off the surface through all
nine pixels, it is its own estimate."""

LEAST_LIGHT = 0.5
"""Standard deviations of a pixel without light, or its variance over that of a photon if that is
less: an expected signal is not lower below 0. Medians of tiles scatter by a tenth of a standard
deviation, and by a quarter where they are extrapolated to the corners."""

# Rows of a tile that give its median, to a fraction of the noise.
_SAMPLED_ROWS_OF_A_TILE = 8
# One column in this many counts in the sampled rows.
_COLUMN_STEP = 4
# In a tile with fewer columns each column counts.
_WIDE_TILE_COLUMNS = 32
# One row in this many gives the least variance, which varies slowly.
_SAMPLED_ROWS = 4
# Numbers of float32 in a line of the processor's cache.
_CACHE_LINE = 16


@dataclass(frozen=True)
class Tiles:
    """The tiles' rows, and the rows sampled in each.

    Attributes
    ----------
    edges : numpy.ndarray of shape (k + 1,), int
        First row of each tile, and the end of the last.
    rows : list of numpy.ndarray of shape (k,), int
        Sampled rows of each tile.
    """

    edges: np.ndarray
    rows: list[np.ndarray]

    @property
    def all_rows(self):
        """All sampled rows, in order: int, (k,)."""
        return np.concatenate(self.rows)


def tiles_of(ny, size=TILE_SIDE):
    """Return the division of ``ny`` rows into `Tiles` of about ``size`` rows.

    Parameters
    ----------
    ny : int
    size : int, optional
        Rows.

    Returns
    -------
    Tiles
    """
    edges = np.linspace(0, ny, max(1, round(ny / size)) + 1).round().astype(int)
    rows = []
    for low, high in pairwise(edges):
        step = max(1, (high - low) // _SAMPLED_ROWS_OF_A_TILE)
        rows.append(np.arange(low + min(step // 2, high - low - 1), high, step))
    return Tiles(edges, rows)


class Background:
    """The smooth part of an image: medians of tiles, lines between their middles and beyond.

    Parameters
    ----------
    tiles : Tiles
    sample : numpy.ndarray of shape (k, nx), float32
        The image on ``tiles.all_rows``; values that are not finite are ignored.
    size : int
        Columns of a tile, about.

    Attributes
    ----------
    level : float
        Median of the medians of all tiles.
    is_negative : bool
        Whether the background is below 0 anywhere.
    """

    def __init__(self, tiles, sample, size=TILE_SIDE):
        width = sample.shape[1] // max(1, round(sample.shape[1] / size))
        levels = _tile_medians(tiles, width, sample)
        if np.isnan(levels).any():
            finite_levels = levels[np.isfinite(levels)]
            levels[np.isnan(levels)] = np.median(finite_levels) if finite_levels.size else 0.0
        middles = width * np.arange(levels.shape[1]) + (width - 1) / 2
        self.level = float(np.median(levels))
        low, part = _interpolation_indices(middles, sample.shape[1])
        high = np.minimum(low + 1, len(middles) - 1)
        grid = levels[:, low] + part * (levels[:, high] - levels[:, low])
        # Picked columns lie one below the other: rows of such an array are slow to add.
        self._grid = np.ascontiguousarray(grid, np.float32)
        middle_rows = (tiles.edges[:-1] + tiles.edges[1:] - 1) / 2
        self._tile_before, part = _interpolation_indices(middle_rows, tiles.edges[-1])
        self._fraction = part.astype(np.float32)
        # Between the middles of tiles the background is nowhere lower than at one of them; beyond,
        # it is lowest at an end.
        ends = np.empty((2, sample.shape[1]), np.float32)
        self.write_rows(np.array([0, tiles.edges[-1] - 1]), ends)
        self.is_negative = bool((self._grid < 0).any() or (ends < 0).any())

    def write_rows(self, rows, out):
        """Write the background of some rows to ``out``, (k, nx).

        Parameters
        ----------
        rows : slice or numpy.ndarray of shape (k,), int
            Rows of the image, in order.
        out : numpy.ndarray of shape (k, nx), float32

        Returns
        -------
        numpy.ndarray of shape (k, nx), float32
            ``out``, the signal in the unit of the sample.
        """
        low, part = self._tile_before[rows], self._fraction[rows]
        ends = [0, len(low)]
        if low[0] != low[-1]:
            ends = low.searchsorted(np.arange(low[0], low[-1] + 2)).tolist()
        for tile, (first, stop) in enumerate(pairwise(ends), int(low[0])):
            level = self._grid[tile]
            step = self._grid[min(tile + 1, len(self._grid) - 1)] - level
            # Products, as by `numpy.multiply`, which takes twice as long for a column by a row.
            np.einsum("i,j->ij", part[first:stop], step, out=out[first:stop])
            out[first:stop] += level
        return out


def _interpolation_indices(middles, length):
    """Return the index of the middle before each position, and the fraction of the way to the next.

    Parameters
    ----------
    middles : numpy.ndarray of shape (n,), float64
        In increasing order.
    length : int
        Number of positions, from 0.

    Returns
    -------
    index, fraction : numpy.ndarray of shape (length,), int64 and float64
        Below the first and beyond the last middle the fraction is below 0 or above 1.
    """
    if len(middles) == 1:
        return np.zeros(length, int), np.zeros(length)
    positions = np.arange(length)
    low = np.clip(np.searchsorted(middles, positions, side="right") - 1, 0, len(middles) - 2)
    return low, (positions - middles[low]) / (middles[low + 1] - middles[low])


def _tile_medians(tiles, width, sample):
    """Return the median of each tile, (rows of tiles, tiles in a row); NaN for an empty one."""
    count = sample.shape[1] // width
    step = _COLUMN_STEP if width >= _WIDE_TILE_COLUMNS else 1
    median = _row_medians
    if not (np.isfinite(sample.min()) and np.isfinite(sample.max())):
        # An infinite value is none: it would make its tile, and those beside it, infinite.
        sample, median = np.where(np.isfinite(sample), sample, np.float32(np.nan)), np.nanmedian
    medians = np.empty((len(tiles.rows), count))
    first = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a tile without any value
        for number, rows in enumerate(tiles.rows):
            strip = sample[first : first + len(rows), : count * width]
            first += len(rows)
            boxes = strip.reshape(len(rows), count, width)[:, :, ::step]
            medians[number] = median(boxes.swapaxes(0, 1).reshape(count, -1), axis=1)
    return medians


def _row_medians(values, axis):
    """Return `numpy.median` of rows of finite values: sorting them is faster."""
    sorted_values = np.sort(values, axis=axis)
    size = sorted_values.shape[axis]
    sums = sorted_values[:, (size - 1) // 2] + sorted_values[:, size // 2]
    return np.divide(sums, 2, out=sums)


def pixels_of_structure(image, background, variance, flat, photon, scratch, *, strip=None):
    """Return the pixels significantly off the background, and their signal.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float32
        Contiguous, calibrated: a block of rows and one row on either side.
    background : numpy.ndarray of shape (k, nx), float32
        For the rows in the middle.
    variance : numpy.ndarray of shape (k, nx), float32
        The pixels' variance if the background is their signal.
    flat : numpy.ndarray of shape (k, nx), float32, or None
    photon : float
        Variance of the photons over their signal.
    scratch : numpy.ndarray of shape (2, n), float32
        Rows of at least (k + 2) nx; overwritten.
    strip : int, optional
        Rows within which the least variance is sought; default: all.

    Returns
    -------
    indices : numpy.ndarray of shape (n,), int64
        Indices in the flattened block.
    light : numpy.ndarray of shape (n,), float32
        Their expected signal.
    """
    indices, deviation = _pixels_with_signal(
        image, background, variance, scratch, strip or len(variance)
    )
    pixel_variance = variance.reshape(-1)[indices]
    is_far = deviation * deviation > np.float32(SIGNIFICANT_SIGMA**2 / 9) * pixel_variance
    # Beside an infinite pixel, as beside NaN, the background is all that is known.
    is_far &= np.isfinite(deviation)
    indices, pixel_variance = indices[is_far], pixel_variance[is_far]
    level = background.reshape(-1)[indices]
    divisor = np.float32(1) if flat is None else flat.reshape(-1)[indices]
    photons = np.float32(photon) / divisor
    image_indices = indices + image.shape[1]
    return indices, _expected_signal(image, image_indices, level, pixel_variance, photons)


def _pixels_with_signal(image, background, variance, scratch, strip):
    """Return pixels (flattened) whose mean of 3 x 3 may be significantly off, and by how much.

    The end of each row is taken as the neighbour of the next one's start, which is faster; of the
    outermost columns, where this is wrong, the mean is taken once more, without the neighbours
    that they lack: the column itself is counted twice.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float32
        With a row more on either side.
    background, variance : numpy.ndarray of shape (k, nx), float32
        Smooth level, and the variance of a pixel about it.
    scratch : numpy.ndarray of shape (2, n), float32
        Room for the sums, which are overwritten.
    strip : int
        Rows that share a limit.
    """
    width = image.shape[1]
    pixels, size = image.reshape(-1), background.size - 2
    sums = scratch[0, : image.size - 2]
    # Sums that begin at a line of the processor's cache are written twice as fast.
    lead = min(_CACHE_LINE - 1, 2 * width)
    block_sums = scratch[1, lead : lead + background.size]
    inner = block_sums[1:-1]
    np.add(pixels[:-2], pixels[1:-1], out=sums)
    sums += pixels[2:]
    np.add(sums[:size], sums[width : width + size], out=inner)
    inner += sums[2 * width : 2 * width + size]
    sums_by_row = block_sums.reshape(background.shape)
    sums_by_row[:, 0], sums_by_row[:, -1] = _sums_at_ends(image)
    means = np.multiply(block_sums, np.float32(1 / 9), out=block_sums)
    differences = np.subtract(means, background.reshape(-1), out=means)
    deviations = np.abs(differences, out=differences)
    deviations_by_row = deviations.reshape(background.shape)
    is_candidate = np.empty(background.shape, bool)
    for first in range(0, len(background), strip):
        rows = slice(first, first + strip)
        # A limit by a sample of the variances finds almost all pixels with signal, and few others.
        least = float(np.min(variance[rows][::_SAMPLED_ROWS]))
        limit = np.float32(SIGNIFICANT_SIGMA / 3 * max(least, 0.0) ** 0.5)
        np.greater(deviations_by_row[rows], limit, out=is_candidate[rows])
    indices = np.flatnonzero(is_candidate)
    return indices, deviations[indices]


def _sums_at_ends(image):
    """Return the sums of 3 x 3 pixels in the first and the last column, (2, k)."""
    width = image.shape[1]
    columns = image.T[[0, -1, min(1, width - 1), max(-2, -width)]]
    left, middle, right = columns[:, :-2], columns[:, 1:-1], columns[:, 2:]
    sums = left[:2] + middle[:2]
    sums += right[:2]
    sums *= 2
    for column in (left, middle, right):
        sums += column[2:]
    return sums


def _expected_signal(image, indices, level, variance, photon):
    """Return the expected signal of pixels from the 3 x 3 pixels around each.

    A surface of second degree through the eight neighbours is independent of the pixel's own
    noise. If the pixel is off it, the image is sharper than such a surface, and the one through all
    nine pixels is used; the pixel's own value, if it is bright or that surface misses it as well:
    beside a peak of 500,000 electrons that surface is wrong by ten thousands.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float32
        With a row more on either side.
    indices : numpy.ndarray of shape (n,), int64
        Places of the pixels in the flattened image.
    level, variance : numpy.ndarray of shape (n,), float32
        Smooth level, and the variance at that level.
    photon : numpy.ndarray of shape (n,), float32, or numpy.float32
        The variance that one unit of light adds.
    """
    width = image.shape[1]
    pixels = image.reshape(-1)
    values = pixels[indices]
    # A pixel of an outermost column is its own neighbour.
    column = indices % width
    left_indices, right_indices = indices - (column > 0), indices + (column < width - 1)
    edges = [
        pixels[neighbours]
        for neighbours in (left_indices, right_indices, indices - width, indices + width)
    ]
    corners = [
        pixels[neighbours]
        for neighbours in (
            left_indices - width,
            right_indices - width,
            left_indices + width,
            right_indices + width,
        )
    ]
    lowest = values
    for neighbour in (*edges, *corners):
        lowest = np.minimum(lowest, neighbour)
    edge, corner = sum(edges), sum(corners)
    surface_of_neighbours = np.float32(1 / 2) * edge - np.float32(1 / 4) * corner
    surface_of_all = (
        np.float32(5 / 9) * values + np.float32(2 / 9) * edge - np.float32(1 / 9) * corner
    )
    expected_variance = variance + np.maximum(surface_of_neighbours - level, 0) * photon
    is_sharp = (values - surface_of_neighbours) ** 2 > np.float32(
        SHARP_SIGMA**2 * 9 / 4
    ) * expected_variance
    # In units of the signal, an electron is ``photon`` times the flat.
    is_own = surface_of_all > np.float32(OWN_ELECTRONS) * photon
    own_variance = variance + np.maximum(values - level, 0) * photon
    # Values far off the surface on either side: a low limit, or one above the surface alone, would
    # choose values because noise raised them, whose errors are then too large.
    is_own |= (values - surface_of_all) ** 2 > np.float32(SHARP_SIGMA**2) * own_variance
    light = np.where(is_sharp, np.where(is_own, values, surface_of_all), surface_of_neighbours)
    return np.maximum(light, lowest)
