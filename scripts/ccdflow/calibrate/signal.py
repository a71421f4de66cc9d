"""The signal from which the photon noise of a frame is predicted: never one noisy pixel alone.

A variance from a pixel's own counts is too small if noise made the pixel faint, and means weighted
by such variances come out too low. The signal of the sky is the interpolated median of tiles. Where
the mean of 3 x 3 pixels differs significantly from the sky (stars, galaxies, steps), the signal is
a surface of second degree through the neighbours. The pixel's own value counts only if it is off
that surface: in the middle of a sharp star or in its steep wings.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

TILE_SIDE = 64
"""Rows and columns of a tile. With larger tiles the background follows the sky less closely; with
smaller ones a galaxy fills a tile and counts as background. Chosen, not measured."""

SIGNIFICANT_SIGMA = 4.0
"""A mean of 3 x 3 pixels is significant beyond this many of its standard deviations: one mean in
16,000 is by chance."""

OWN_ELECTRONS = 2500.0
"""A sharp pixel of more electrons is its own estimate. Its noise is 2 %: errors that follow from
the noisy value shift the mean of deviations over errors by 0.01 only."""

SHARP_SIGMA = 3.0
"""A pixel is sharp if it is off the surface through its neighbours by this many standard
deviations of the difference, which are 1.5 times its own. If it is also off the surface through
all nine pixels, by this many of its own standard deviations, its own value is the estimate.
With a smaller limit noise chooses pixels, whose errors follow their noise; with a larger one
stars are flattened."""

MOST_BELOW_ZERO = 0.5
"""An expected signal is at most this many units below 0. The unit is the standard deviation of a
pixel without light or, if this is less, its variance over that of one photon. Medians of tiles
scatter by a tenth of a standard deviation, and by a quarter where they are extrapolated to the
corners."""

# The median of a tile is from this many of its rows, or up to twice as many: it is known to a tenth
# of a pixel's noise.
_SAMPLED_ROWS_OF_A_TILE = 8
# One column in this many counts in the sampled rows: 128 pixels of a tile. With each column the
# median takes four times as long and has half the error; with one in 16 it has twice the error.
_COLUMN_STEP = 4
# In a tile with fewer columns each column counts.
_WIDE_TILE_COLUMNS = 32
# One row in this many gives the least variance, which varies slowly.
_ROW_STEP = 4
# Numbers of float32 in a line of the processor's cache.
_CACHE_LINE = 16


@dataclass(frozen=True)
class Tiles:
    """The rows of an image divided into tiles, and the rows that are sampled in each tile.

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
    """The smooth part of an image: medians of tiles, linear between their middles and beyond.

    Parameters
    ----------
    tiles : Tiles
    sample : numpy.ndarray of shape (k, nx), float32
        The image on ``tiles.all_rows``; values that are not finite are ignored.
    size : int, optional
        Columns of a tile, approximately.

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
        low, fraction = _interpolation_indices(middles, sample.shape[1])
        high = np.minimum(low + 1, len(middles) - 1)
        grid = levels[:, low] + fraction * (levels[:, high] - levels[:, low])
        # Arrays indexed by columns are stored column by column: their rows are slow to add.
        self._grid = np.ascontiguousarray(grid, np.float32)
        middle_rows = (tiles.edges[:-1] + tiles.edges[1:] - 1) / 2
        self._tile_before, fraction = _interpolation_indices(middle_rows, tiles.edges[-1])
        self._fraction = fraction.astype(np.float32)
        # Between the middles of two tiles the background is not below the lower of the two; beyond
        # the outermost middles it is lowest at an end of the image.
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
            ``out``: the background in the unit of the sample.
        """
        low, fraction = self._tile_before[rows], self._fraction[rows]
        ends = [0, len(low)]
        if low[0] != low[-1]:
            ends = low.searchsorted(np.arange(low[0], low[-1] + 2)).tolist()
        for tile, (first, stop) in enumerate(pairwise(ends), int(low[0])):
            level = self._grid[tile]
            step = self._grid[min(tile + 1, len(self._grid) - 1)] - level
            # The product of a column and a row: `numpy.multiply` takes twice as long for the same.
            np.einsum("i,j->ij", fraction[first:stop], step, out=out[first:stop])
            out[first:stop] += level
        return out


def _interpolation_indices(middles, length):
    """Return the middle before each position, and the fraction of the way to the next middle.

    Parameters
    ----------
    middles : numpy.ndarray of shape (n,), float64
        In increasing order.
    length : int
        Number of positions, from 0.

    Returns
    -------
    index, fraction : numpy.ndarray of shape (length,), int64 and float64
        The fraction is below 0 before the first middle, and above 1 beyond the last one.
    """
    if len(middles) == 1:
        return np.zeros(length, int), np.zeros(length)
    positions = np.arange(length)
    low = np.clip(np.searchsorted(middles, positions, side="right") - 1, 0, len(middles) - 2)
    return low, (positions - middles[low]) / (middles[low + 1] - middles[low])


def _tile_medians(tiles, width, sample):
    """Return the median of each tile, (rows of tiles, tiles in a row); NaN for an empty one."""
    n_tiles = sample.shape[1] // width
    step = _COLUMN_STEP if width >= _WIDE_TILE_COLUMNS else 1
    median = _row_medians
    if not (np.isfinite(sample.min()) and np.isfinite(sample.max())):
        # Infinite values are left out: each would make its tile and the tiles beside it infinite.
        sample, median = np.where(np.isfinite(sample), sample, np.float32(np.nan)), np.nanmedian
    medians = np.empty((len(tiles.rows), n_tiles))
    first = 0
    with warnings.catch_warnings():
        # numpy warns of a tile without any value.
        warnings.simplefilter("ignore", RuntimeWarning)
        for number, rows in enumerate(tiles.rows):
            strip = sample[first : first + len(rows), : n_tiles * width]
            first += len(rows)
            boxes = strip.reshape(len(rows), n_tiles, width)[:, :, ::step]
            medians[number] = median(boxes.swapaxes(0, 1).reshape(n_tiles, -1), axis=1)
    return medians


def _row_medians(values, axis):
    """Return the medians of rows of finite values: `numpy.median` takes longer than sorting."""
    sorted_values = np.sort(values, axis=axis)
    size = sorted_values.shape[axis]
    sums = sorted_values[:, (size - 1) // 2] + sorted_values[:, size // 2]
    return np.divide(sums, 2, out=sums)


def pixels_of_structure(image, background, variance, flat, photon_variance, scratch, *, strip=None):
    """Return the pixels that differ significantly from the background, and their signal.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float32
        A block of calibrated rows and one row on either side, contiguous.
    background : numpy.ndarray of shape (k, nx), float32
        Background of the rows of the block.
    variance : numpy.ndarray of shape (k, nx), float32
        Variance of the pixels if the background is their signal.
    flat : numpy.ndarray of shape (k, nx), float32, or None
    photon_variance : float
        Variance of photons over their signal, in the unit of the image, before the flat.
    scratch : numpy.ndarray of shape (2, m), float32
        Room for sums, m at least (k + 2) nx; overwritten.
    strip : int, optional
        Number of rows that share a limit of candidates; default: all rows.

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
    # Beside a pixel that is infinite or NaN the background stays the signal.
    is_far &= np.isfinite(deviation)
    indices, pixel_variance = indices[is_far], pixel_variance[is_far]
    level = background.reshape(-1)[indices]
    divisor = np.float32(1) if flat is None else flat.reshape(-1)[indices]
    photon_variances = np.float32(photon_variance) / divisor
    image_indices = indices + image.shape[1]
    return indices, _expected_signal(image, image_indices, level, pixel_variance, photon_variances)


def _pixels_with_signal(image, background, variance, scratch, strip):
    """Return candidates, and by how much the mean of their 3 x 3 pixels is off the background.

    In the flattened image the end of a row is beside the start of the next row, and sums are fast.
    In the outermost columns, where this is wrong, the sums are replaced: the column itself counts
    twice, for the neighbours that it lacks.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float32
        The block, with a row more on either side.
    background, variance : numpy.ndarray of shape (k, nx), float32
        Background of the block, and the variance of a pixel about it.
    scratch : numpy.ndarray of shape (2, n), float32
        Room for sums; overwritten.
    strip : int
        Number of rows that share a limit.

    Returns
    -------
    indices : numpy.ndarray of shape (n,), int64
        Candidates, in the flattened block.
    deviations : numpy.ndarray of shape (n,), float32
        Absolute deviations of their means.
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
        # The least of a sample of the variances: nearly all pixels with signal are candidates.
        least = float(np.min(variance[rows][::_ROW_STEP]))
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


def _expected_signal(image, indices, level, variance, photon_variance):
    """Return the expected signal of pixels from the 3 x 3 pixels around each.

    A surface of second degree through the eight neighbours is independent of the pixel's own
    noise. If the pixel is off this surface, the image is sharper there, and the surface through all
    nine pixels is used. The pixel's own value is used if it is bright, or off the second surface as
    well: beside a peak of 500,000 electrons that surface is wrong by tens of thousands. The signal
    is never below the lowest of the nine pixels.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float32
        The block, with a row more on either side.
    indices : numpy.ndarray of shape (n,), int64
        Pixels of the flattened image.
    level, variance : numpy.ndarray of shape (n,), float32
        Background of these pixels, and their variance if it is their signal.
    photon_variance : numpy.ndarray of shape (n,), float32, or numpy.float32
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
    edge_sum, corner_sum = sum(edges), sum(corners)
    surface_of_neighbours = np.float32(1 / 2) * edge_sum - np.float32(1 / 4) * corner_sum
    surface_of_all = (
        np.float32(5 / 9) * values + np.float32(2 / 9) * edge_sum - np.float32(1 / 9) * corner_sum
    )
    expected_variance = variance + np.maximum(surface_of_neighbours - level, 0) * photon_variance
    is_sharp = (values - surface_of_neighbours) ** 2 > np.float32(
        SHARP_SIGMA**2 * 9 / 4
    ) * expected_variance
    # In units of the signal, an electron is ``photon_variance`` times the flat.
    is_own = surface_of_all > np.float32(OWN_ELECTRONS) * photon_variance
    own_variance = variance + np.maximum(values - level, 0) * photon_variance
    # Values far above or below the surface are chosen. With a low limit, or those above it alone,
    # noise would choose the values that it raised, and their errors would be too large.
    is_own |= (values - surface_of_all) ** 2 > np.float32(SHARP_SIGMA**2) * own_variance
    light = np.where(is_sharp, np.where(is_own, values, surface_of_all), surface_of_neighbours)
    return np.maximum(light, lowest)
