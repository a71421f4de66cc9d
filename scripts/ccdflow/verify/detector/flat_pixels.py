"""Pixels that respond less than their neighbours, or not linearly, found once more from flats."""

from __future__ import annotations

from dataclasses import dataclass

import ccdproc
import numpy as np
from astropy import units
from astropy.nddata import CCDData
from scipy import ndimage

from ccdflow.verify.detector.pixel_bits import (
    NEAR_LIMIT_FRACTION,
    OpenBits,
    bad_parts,
    block_medians,
    column_sums,
    interpolate_blocks,
    sigma_by_mad,
    smooth_lamp,
    values_of_neighbours,
)
from ccdflow.verify.reading.restated_numbers import BAD_COLUMN, DEAD, LOW_SIGMA, PART_ROWS

# The numbers, except for those of the strips, are those of detector/pixels/, written again, so that
# a wrong one there is noticed here.

# Rows that are worked on at once.
_STRIP_ROWS = 256
# A last strip of fewer rows is joined to the strip before it.
_FEWEST_ROWS = 8
# Sigma by which a weak pixel is below its neighbours: several nights must confirm it.
_WEAK_SIGMA = 2.5
# A deep column is below both sides by at least this fraction of the light.
_DEEP_FRACTION = 0.2
# A deep column is below both sides by at least this many sigma of the flat's structure.
_STRUCTURE_SIGMA = 5.0
# Columns whose median is the light on either side of a deep column.
_COLUMNS_OF_A_SIDE = 15
# Columns left out between a deep column and the columns beside it that give the light.
_COLUMNS_BETWEEN = 3
# Deep parts of columns are at most this fraction of all parts: more are structure of the light.
_MOST_DEEP_FRACTION = 0.01
# Each of two levels needs at least this many flats.
_FEWEST_OF_A_LEVEL = 2
# The means of the two levels differ at least by this factor.
_LEAST_RATIO = 1.5
# The faintest bright flat is at least this factor above the brightest faint one.
_LEAST_GAP = 1.1
# A pixel that is not linear differs between the levels by at least this fraction of the light.
_LEAST_DIFFERENCE = 0.002
# A pixel that is not linear differs between the levels by at least this many sigma.
_LEVEL_SIGMA = 4.5
# Sigma by which flats of one level differ at a hit by a cosmic ray.
_OUTLIER_SIGMA = 5.0


@dataclass(frozen=True)
class Contrast:
    """The contrast of an image's pixels to their neighbours in all flats of a night.

    Attributes
    ----------
    sigma : numpy.ndarray of shape (ny, nx), float64
        Contrast in standard deviations; -inf where no flat has a good value.
    noise_fraction : float
        Fraction of the variance that is noise of the night.
    low_share : float
        Fraction of the pixels outside bad columns that are low by `LOW_SIGMA`.
    """

    sigma: np.ndarray
    noise_fraction: float
    low_share: float


def measure_contrast(pairs, bits, low_sigma=LOW_SIGMA, parts=(np.s_[:, :],)):
    """Return the `Contrast` of flats, and add the bits of low pixels.

    Parameters
    ----------
    pairs : iterable of (numpy.ndarray, numpy.ndarray) of shape (ny, nx), float64
        Pixels of a combined flat and their errors, infinite where they do not count.
    bits : OpenBits
        Changed in place.
    low_sigma : float, optional
        Sigma by which a low pixel is below its neighbours; by default that of the maker.
    parts : sequence of (slice, slice), optional
        Regions that make up the image: pixels are compared with others of their region.

    Returns
    -------
    Contrast
    """
    weighted_sum, weights = np.zeros((2, *bits.required_bits.shape))
    for flat, error in pairs:
        weighted_contrast, weight = np.zeros((2, *flat.shape))
        for part in parts:
            weighted_contrast[part], weight[part] = _weighted_contrast(flat[part], error[part])
        weighted_sum, weights = weighted_sum + weighted_contrast, weights + weight
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.where(weights > 0, weighted_sum / np.sqrt(weights), -np.inf)
    sampled_sigma = sigma[::4, ::4]
    usual_sigma = max(1.0, sigma_by_mad(sampled_sigma[np.isfinite(sampled_sigma)]))
    sigma /= usual_sigma
    bits.add(DEAD, -sigma, low_sigma, margin=0)
    sums = column_sums(np.where(np.isfinite(sigma), -sigma, 0.0))
    columns = bad_parts(sums, len(sigma))
    bits.set(BAD_COLUMN, *columns)
    is_measured = np.isfinite(sigma) & ~columns[0]
    low_share = np.count_nonzero(sigma[is_measured] < -LOW_SIGMA) / max(
        1, np.count_nonzero(is_measured)
    )
    return Contrast(sigma, usual_sigma**-2, low_share)


def _weighted_contrast(flat, error):
    """Return the contrast of a flat times its weight, and the weight, each (ny, nx)."""
    lamp, (ny, nx) = smooth_lamp(flat), flat.shape
    strips = _strips_of(ny)
    medians = np.concatenate([block_medians(flat[rows] / lamp(rows)) for rows in strips])
    weighted_contrast, weights = np.zeros((2, ny, nx))
    for rows in strips:
        smooth = lamp(rows) * interpolate_blocks(medians, rows, nx)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = (smooth / error[rows]) ** 2
            weight[~np.isfinite(weight)] = 0
            contrast = (flat[rows] / smooth - 1) * weight
        weighted_contrast[rows], weights[rows] = np.nan_to_num(contrast), weight
    return weighted_contrast, weights


def _strips_of(ny):
    """Return the strips of an image's rows; the last one has at least `_FEWEST_ROWS`."""
    lows = [low for low in range(0, ny, _STRIP_ROWS) if low == 0 or ny - low >= _FEWEST_ROWS]
    return [slice(*ends) for ends in zip(lows, [*lows[1:], ny], strict=True)]


def deep_parts(pairs):
    """Return which pixels are in parts of columns that are deep in all flats, and which may be.

    Parameters
    ----------
    pairs : iterable of (numpy.ndarray, numpy.ndarray) of float64
        As of `measure_contrast`.

    Returns
    -------
    is_deep, may_be_deep : numpy.ndarray of shape (ny, nx), bool
    """
    is_deep = None
    for flat, error in pairs:
        is_deep_in_flat = np.array(
            [
                _find_deep_parts(flat, np.isfinite(error), sign * NEAR_LIMIT_FRACTION)
                for sign in (1, -1)
            ]
        )
        is_deep, ny = is_deep_in_flat if is_deep is None else is_deep & is_deep_in_flat, len(flat)
    return tuple(np.repeat(parts, PART_ROWS, axis=0)[:ny] for parts in is_deep)


def _find_deep_parts(flat, is_usable, limit_shift):
    """Return which parts of columns are deep in a flat, for a limit lowered by this fraction."""
    first_rows = range(0, len(flat), PART_ROWS)
    levels = np.array([np.median(flat[low : low + PART_ROWS], axis=0) for low in first_rows])
    is_measured = np.array(
        [is_usable[low : low + PART_ROWS].mean(axis=0) > 0.5 for low in first_rows]
    )
    smooth = ndimage.median_filter(levels, size=(1, _COLUMNS_OF_A_SIDE))
    distance, columns = _COLUMNS_OF_A_SIDE // 2 + _COLUMNS_BETWEEN + 1, np.arange(levels.shape[1])
    left_light = smooth[:, np.maximum(columns - distance, 0)]
    right_light = smooth[:, np.minimum(columns + distance, columns[-1])]
    darker_side = np.minimum(left_light, right_light)
    is_measured &= darker_side > 0
    if not is_measured.any():
        return is_measured
    ratio = levels[is_measured] / ((left_light + right_light)[is_measured] / 2)
    limit = 1 - max(_DEEP_FRACTION, _STRUCTURE_SIGMA * sigma_by_mad(ratio - np.median(ratio)))
    is_deep = is_measured & (levels < (limit - limit_shift) * darker_side)
    return (
        is_deep
        if is_deep.sum() <= _MOST_DEEP_FRACTION * is_measured.sum()
        else np.zeros_like(is_deep)
    )


def faint_and_bright(levels):
    """Return the indices of the faint and of the bright flats.

    None if all are of one level, or a level has too few.

    Parameters
    ----------
    levels : numpy.ndarray of shape (n,), float64
        Adu; NaN for a flat without a good pixel, which does not count.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray) of shape (k,), int64, or None
        Sorted indices into ``levels``.
    """
    order = [place for place in np.argsort(levels, kind="stable") if not np.isnan(levels[place])]
    if len(order) < 2 * _FEWEST_OF_A_LEVEL or not levels[order[0]] > 0:
        return None
    steps = np.log(levels[order][1:] / levels[order][:-1])
    n_faint = _FEWEST_OF_A_LEVEL + int(
        np.argmax(steps[_FEWEST_OF_A_LEVEL - 1 : len(order) - _FEWEST_OF_A_LEVEL])
    )
    faint_places, bright_places = np.sort(order[:n_faint]), np.sort(order[n_faint:])
    has_two_levels = levels[bright_places].mean() >= _LEAST_RATIO * levels[faint_places].mean()
    return (
        (faint_places, bright_places)
        if has_two_levels and min(levels[bright_places]) >= _LEAST_GAP * max(levels[faint_places])
        else None
    )


def average_flats(values, levels, noise):
    """Return the mean of flats of one level, each over its level, and the variance of the mean.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k, nx), float64
        Adu; NaN where masked.
    levels : numpy.ndarray of shape (n,), float64
        Adu.
    noise : (float, float)
        Electrons per adu, and read noise, adu.

    Returns
    -------
    mean, variance : numpy.ndarray of shape (k, nx), float64
        The mean is NaN where a flat is masked, or the flats differ.
    is_open : numpy.ndarray of shape (k, nx), bool
        Whether the rounding of float32 decides that flats differ.
    """
    gain, read_noise = noise
    levels = levels[:, None, None]
    inverse_level = float((1 / levels).mean())
    ratios_to_level = values / levels
    mean = ratios_to_level.mean(axis=0)
    variance = np.maximum(mean, 0) * inverse_level / gain + (read_noise * inverse_level) ** 2
    scaled_differences = (values - levels) * inverse_level
    range_of_values = np.minimum(
        np.ptp(ratios_to_level, axis=0), np.ptp(scaled_differences, axis=0)
    )
    limit = _OUTLIER_SIGMA * np.sqrt(2 * variance)
    with np.errstate(invalid="ignore"):
        mean = np.where(range_of_values > limit, np.nan, mean)
        return (
            mean,
            variance / len(values),
            np.abs(range_of_values - limit) < NEAR_LIMIT_FRACTION * limit,
        )


def open_bits_of_levels(parts, *, includes_ccdmask):
    """Return the `OpenBits` of pixels that are not linear between faint and bright flats.

    Parameters
    ----------
    parts : pair of (numpy.ndarray, numpy.ndarray, numpy.ndarray) of shape (ny, nx)
        Mean (float64), variance (float64) and is_open (bool) of the faint flats and of the bright
        ones: `average_flats`.
    includes_ccdmask : bool
        Whether the pixels that `ccdproc.ccdmask` flags are added.

    Returns
    -------
    OpenBits
    """
    (
        (faint_mean, variance_of_faint, is_open_in_faint),
        (bright_mean, variance_of_bright, is_open_in_bright),
    ) = parts
    bits = OpenBits(faint_mean.shape)
    is_measured = np.isfinite(faint_mean) & np.isfinite(bright_mean)
    is_lit = is_measured & (faint_mean > 0)
    if np.count_nonzero(is_lit) < faint_mean.size / 2:
        return bits
    ratio = np.divide(bright_mean, faint_mean, out=np.full(faint_mean.shape, np.nan), where=is_lit)
    ratio[~is_lit] = np.median(ratio[is_lit])
    usual_ratio = values_of_neighbours(ratio)
    variance = (
        variance_of_bright
        + usual_ratio**2 * variance_of_faint
        + (_LEAST_DIFFERENCE * np.fmax(bright_mean, faint_mean)) ** 2
    )
    sigma = (bright_mean - usual_ratio * faint_mean) / np.sqrt(variance)
    sigma /= max(1.0, sigma_by_mad(sigma[is_measured]))
    sigma = np.where(is_measured, sigma, 0.0)
    bits.add(BAD_COLUMN, np.abs(sigma), _LEVEL_SIGMA)
    for sign in (1, -1):
        bits.set(BAD_COLUMN, *bad_parts(column_sums(sign * sigma), len(sigma)))
    if includes_ccdmask:
        image = CCDData(ratio.astype(np.float32), unit=units.dimensionless_unscaled)
        is_nonlinear = np.asarray(ccdproc.ccdmask(image)) & is_measured
        bits.set(BAD_COLUMN, is_nonlinear, is_nonlinear)
    is_open = is_open_in_faint | is_open_in_bright
    bits.set(BAD_COLUMN, np.zeros_like(is_open), is_open)
    bits.required_bits[is_open] = 0
    return bits


def places_of_weak_pixels(sigma):
    """Return the places of the weak pixels, and of all that may be weak.

    Parameters
    ----------
    sigma : numpy.ndarray of shape (ny, nx), float64
        Sigma of a `Contrast`.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray) of shape (k,), int64
        Flat indices of the weak pixels, and of those that float32 may count among them.
    """
    finite_sigma = np.where(np.isfinite(sigma), sigma, 0).ravel()
    return tuple(
        np.flatnonzero(finite_sigma < -_WEAK_SIGMA - sign * NEAR_LIMIT_FRACTION) for sign in (1, -1)
    )
