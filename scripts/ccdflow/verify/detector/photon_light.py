"""The light from which the noise of photons follows, as docs/products.md describes it.

Most pixels have the smooth light: medians of tiles, interpolated. Where the mean of 3 x 3 pixels
is above it, a pixel has the light of a surface through its neighbours. In the middle of a sharp
star and in its steep wings it has its own light.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# All numbers but `_NEAR_FRACTION` and `_EXAMINED_FRACTION` are those of calibrate/signal.py,
# written again, so that a wrong one there is noticed here.

# Rows and columns of a tile whose median is the smooth light.
_TILE_SIDE = 64
# From this many rows of a tile to fewer than twice as many are sampled, and all of a lower tile.
_SAMPLED_ROWS_OF_A_TILE = 8
# One column in this many counts in the sampled rows.
_COLUMN_STEP = 4
# A tile with fewer columns than this has all of them in its median.
_WIDE_TILE_COLUMNS = 32
# Standard deviations by which a mean of 3 x 3 pixels stands out of the smooth light.
_SIGNIFICANT_SIGMA = 4.0
# Standard deviations by which a pixel is off the surface through its neighbours, or through all.
_SHARP_SIGMA = 3.0
# A sharp pixel whose surface has more photons than this has its own light.
_OWN_ELECTRONS = 2500.0
# A squared difference above this fraction of its limit is near a decision. The comparison of errors
# needs only pixels that are nearer to it: `ccdflow.verify.calibrated.standard_errors._NEAR_LIMIT`.
_NEAR_FRACTION = 0.99
# A difference is examined above this fraction of the least limit of a block. The rounding, 2e-5,
# lifts no smaller difference over the limit, and each examined pixel takes time.
_EXAMINED_FRACTION = 0.999
# One row in this many gives the least variance.
_ROW_STEP = 4


def edges_of_tiles(ny, size=_TILE_SIDE):
    """Return the edges of the tiles of `ny` rows, and the sampled rows of each tile.

    Parameters
    ----------
    ny : int
    size : int, optional
        Rows of a tile.

    Returns
    -------
    (numpy.ndarray, list of numpy.ndarray) of shape (k + 1,) and (rows in a tile,), int
    """
    edges = np.linspace(0, ny, max(1, round(ny / size)) + 1).round().astype(int)
    rows = []
    for low, high in pairwise(edges):
        step = max(1, (high - low) // _SAMPLED_ROWS_OF_A_TILE)
        rows.append(np.arange(low + min(step // 2, high - low - 1), high, step))
    return edges, rows


class SmoothLight:
    """The smooth light of an image.

    Parameters
    ----------
    sample : numpy.ndarray of shape (k, nx), float32 or float64
        The rows that `edges_of_tiles` names.
    ny : int
        Rows of the image.
    size : int, optional
        Approximate number of rows and columns of a tile.
    """

    def __init__(self, sample, ny, size=_TILE_SIDE):
        edges, rows = edges_of_tiles(ny, size)
        nx = sample.shape[1]
        width = nx // max(1, round(nx / size))
        n_columns_of_tiles, step = nx // width, _COLUMN_STEP if width >= _WIDE_TILE_COLUMNS else 1
        ends = np.cumsum([0, *map(len, rows)])
        medians = np.array(
            [
                [
                    _median_of_known(sample[low:high, x * width : (x + 1) * width : step])
                    for x in range(n_columns_of_tiles)
                ]
                for low, high in pairwise(ends)
            ]
        )
        is_finite = np.isfinite(medians)
        medians[~is_finite] = np.median(medians[is_finite]) if is_finite.any() else 0.0
        middles = width * np.arange(n_columns_of_tiles) + (width - 1) / 2
        self._grid = lines_between_middles(middles, medians.T, np.arange(nx)).T
        self._middles_of_tiles = (edges[:-1] + edges[1:] - 1) / 2

    def rows(self, start, stop):
        """Return the light of some rows: (k, nx).

        Parameters
        ----------
        start, stop : int
            Half-open range.

        Returns
        -------
        numpy.ndarray of shape (k, nx), float64
            In the unit of the sample.
        """
        return lines_between_middles(self._middles_of_tiles, self._grid, np.arange(start, stop))


def lines_between_middles(middles, values, places):
    """Return values at places of the first axis: lines between the middles and beyond them.

    scipy's `interp1d` does the same, and takes 0.1 s of CPU to import.

    Parameters
    ----------
    middles : sequence of float, n
        Ascending.
    values : numpy.ndarray of shape (n, ...), float64
    places : numpy.ndarray of shape (k,), int64 or float64

    Returns
    -------
    numpy.ndarray of shape (k, ...), float64
    """
    middles = np.asarray(middles)
    if len(middles) == 1:
        return np.repeat(values, len(places), axis=0)
    upper_index = np.clip(np.searchsorted(middles, places), 1, len(middles) - 1)
    lower_index = upper_index - 1
    fractions = (places - middles[lower_index]) / (middles[upper_index] - middles[lower_index])
    fractions = fractions.reshape(-1, *[1] * (values.ndim - 1))
    return values[lower_index] * (1 - fractions) + values[upper_index] * fractions


def _median_of_known(values):
    """Return the median of the finite values; NaN without any."""
    values = values[np.isfinite(values)]
    return np.median(values) if values.size else np.nan


@dataclass(frozen=True)
class MeasuredLight:
    """Pixels of a block that stand out of the smooth light.

    Attributes
    ----------
    places : numpy.ndarray of shape (k,), int
        Flattened indices of the pixels in the block.
    light : numpy.ndarray of shape (k,), float64
        Light of each pixel.
    other_lights : numpy.ndarray of shape (4, k), float64
        The lights that the pixels may have if a decision goes the other way.
    closeness : numpy.ndarray of shape (k,), float64
        Distance to the nearest limit of a decision, relative to the limit: 0 on it.
    brightest : numpy.ndarray of shape (k,), float64
        Largest absolute value of the pixel and its neighbours: light is rounded at this scale.
    """

    places: np.ndarray
    light: np.ndarray
    other_lights: np.ndarray
    closeness: np.ndarray
    brightest: np.ndarray


def light_of_block(image, smooth, variance, flat, photon_variance):
    """Return the `MeasuredLight` of a block of rows.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float64
        The block with a row on either side.
    smooth, variance, flat : numpy.ndarray of shape (k, nx), float64
        The smooth light, the variance with it before the flat, and the flat.
    photon_variance : float
        Variance of a unit of light.

    Returns
    -------
    MeasuredLight
    """
    width = image.shape[1]
    pixels = np.ascontiguousarray(image).reshape(-1)
    row_sums = image[:-2] + image[1:-1] + image[2:]
    # An outermost column is its own neighbour.
    padded_sums = np.pad(row_sums, ((0, 0), (1, 1)), mode="edge")
    mean = (padded_sums[:, :-2] + padded_sums[:, 1:-1] + padded_sums[:, 2:]) / 9
    difference = np.abs(mean - smooth)
    # Only pixels beyond a limit are examined: that of the quietest pixels of the block.
    least_variance = max(float(np.nanmin(variance[::_ROW_STEP] / flat[::_ROW_STEP] ** 2)), 0.0)
    limit = _SIGNIFICANT_SIGMA / 3 * least_variance**0.5
    places = np.flatnonzero(difference > limit * _EXAMINED_FRACTION)
    pixel_variance = variance.reshape(-1)[places] / flat.reshape(-1)[places] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        # Pixels outside all amplifiers may have no variance.
        square = difference.reshape(-1)[places] ** 2
        ratio = np.minimum(
            square / (_SIGNIFICANT_SIGMA**2 / 9 * pixel_variance),
            square / limit**2 if limit else np.inf,
        )
    is_chosen = ratio > _NEAR_FRACTION
    places, pixel_variance, ratio = places[is_chosen], pixel_variance[is_chosen], ratio[is_chosen]
    photon_of_pixels = photon_variance / flat.reshape(-1)[places]
    with np.errstate(divide="ignore", invalid="ignore"):
        surface = _light_by_surface(
            pixels,
            places + width,
            width=width,
            smooth=smooth.reshape(-1)[places],
            smooth_variance=pixel_variance,
            photon_variance=photon_of_pixels,
        )
    smooth_of_places = smooth.reshape(-1)[places]
    light = np.where(ratio > 1, surface.light, smooth_of_places)
    closeness = np.minimum(surface.closeness, np.abs(ratio - 1))
    other_lights = np.vstack([surface.other_lights, smooth_of_places])
    return MeasuredLight(places, light, other_lights, closeness, surface.brightest)


class _SurfaceLight(NamedTuple):
    """The light of n pixels by the surface of the 3 x 3 pixels around each, in their unit.

    Attributes
    ----------
    light : numpy.ndarray of shape (n,), float32 or float64
    other_lights : numpy.ndarray of shape (3, n), float32 or float64
        The lights that a pixel may have where a limit is near.
    closeness : numpy.ndarray of shape (n,), float32 or float64
        Distance to the nearest limit, relative to it.
    brightest : numpy.ndarray of shape (n,), float32 or float64
        Largest absolute value of the pixel and its neighbours.
    """

    light: np.ndarray
    other_lights: np.ndarray
    closeness: np.ndarray
    brightest: np.ndarray


def _light_by_surface(pixels, places, width, smooth, smooth_variance, photon_variance):
    """Return the `_SurfaceLight` of some pixels.

    Parameters
    ----------
    pixels : numpy.ndarray of shape (n,), float32 or float64
        All pixels of the image with an edge row on either side, flattened.
    places : numpy.ndarray of shape (k,), int64
        Indices in ``pixels``.
    width : int
        Columns of the image.
    smooth, smooth_variance, photon_variance : numpy.ndarray of shape (k,), float32 or float64
        Smooth light there, the variance without that of more light, and the variance that one unit
        of light adds.
    """
    values, column = pixels[places], places % width
    left, right = places - (column > 0), places + (column < width - 1)
    edges = [pixels[place] for place in (left, right, places - width, places + width)]
    corners = [pixels[side + step] for side in (left, right) for step in (-width, width)]
    faintest = np.minimum.reduce([values, *edges, *corners])
    edge_sum, corner_sum = sum(edges), sum(corners)
    light_of_neighbours = edge_sum / 2 - corner_sum / 4
    light_of_surface = (5 * values + 2 * edge_sum - corner_sum) / 9
    expected_variance = (
        smooth_variance + np.maximum(light_of_neighbours - smooth, 0) * photon_variance
    )
    sharpness = (values - light_of_neighbours) ** 2 / (_SHARP_SIGMA**2 * 9 / 4 * expected_variance)
    brightness = light_of_surface / (_OWN_ELECTRONS * photon_variance)
    own_variance = smooth_variance + np.maximum(values - smooth, 0) * photon_variance
    misfit = (values - light_of_surface) ** 2 / (_SHARP_SIGMA**2 * own_variance)
    # A bright pixel, or a pixel off the surface, has its own light.
    own_light_excess = np.maximum(brightness, misfit)
    light = np.where(
        sharpness > 1, np.where(own_light_excess > 1, values, light_of_surface), light_of_neighbours
    )
    # The pixel's own light decides even a little below the limit of sharpness.
    closeness = np.minimum(
        np.abs(sharpness - 1), np.where(sharpness > _NEAR_FRACTION, abs(own_light_excess - 1), 1)
    )
    other_lights = [
        np.maximum(value, faintest) for value in (values, light_of_surface, light_of_neighbours)
    ]
    brightest = np.maximum.reduce([np.abs(neighbour) for neighbour in (values, *edges, *corners)])
    return _SurfaceLight(np.maximum(light, faintest), np.array(other_lights), closeness, brightest)
