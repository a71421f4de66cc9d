"""Pixels that respond less than their neighbours, or not linearly, found once more from flats."""

from __future__ import annotations

from dataclasses import dataclass

import ccdproc
import numpy as np
from astropy import units
from astropy.nddata import CCDData
from scipy import ndimage

from ccdflow.verify.detector.pixel_bits import (
    NEAR_LIMIT_PART,
    OpenBits,
    bad_parts,
    between_blocks,
    block_medians,
    column_sums,
    lamp_of,
    mad,
    neighbours,
)
from ccdflow.verify.reading.restated_numbers import BAD_COLUMN, DEAD

# All numbers but the strip are those of detector/pixels/, written again, so that a wrong one there
# is noticed here.

# Rows that are worked on at once.
_STRIP_ROWS = 256
# A rest of fewer rows belongs to the strip before it.
_FEWEST_ROWS = 8
# A low pixel is this many sigma below its neighbours in a flat.
_LOW_SIGMA = 4.5
# A weak pixel is this many sigma below its neighbours: several nights must confirm it.
_WEAK_SIGMA = 2.5
# Rows of a part of a column.
_PART_ROWS = 32
# A deep column is below both sides by this part of the light.
_DEEP_PART = 0.2
# A deep column is below both sides by this many sigma of the flat's structure.
_STRUCTURE_SIGMA = 5.0
# The light to either side of a deep column is the median of this many columns.
_COLUMNS_AROUND = 15
# Columns left out between a deep column and the columns beside it that give the light.
_COLUMNS_BETWEEN = 3
# Deep parts of columns are at most this fraction of all parts: more are structure of the light.
_MOST_DEEP = 0.01
# Each of two levels needs at least this many flats.
_FEWEST_OF_A_LEVEL = 2
# The means of the two levels differ at least by this factor.
_LEAST_RATIO = 1.5
# The faintest bright flat is at least this factor above the brightest faint one.
_LEAST_GAP = 1.1
# A pixel that is not linear differs between the levels by this part of the light.
_LEAST_DIFFERENCE = 0.002
# A pixel that is not linear differs between the levels by this many sigma.
_LEVEL_SIGMA = 4.5
# Two flats differ by this many sigma at a hit.
_OUTLIER_SIGMA = 5.0


@dataclass(frozen=True)
class Contrast:
    """By how many sigma the pixels of an image are off their neighbours in all flats of a night.

    Attributes
    ----------
    sigma : numpy.ndarray of float64
        (ny, nx); -inf where no flat tells.
    own : float
        Part of the variance that is noise of the night.
    low_part : float
        Part of the pixels outside bad columns that are low.
    """

    sigma: np.ndarray
    own: float
    low_part: float


def contrast_of(pairs, bits, low_sigma=_LOW_SIGMA, parts=(np.s_[:, :],)):
    """Return the `Contrast` of flats, and give the pixels that are low their bits.

    Parameters
    ----------
    pairs : iterable of (numpy.ndarray, numpy.ndarray) of float64
        Pixels of a combined flat and their errors, (ny, nx) each, infinite where they do not count.
    bits : OpenBits
        Changed in place.
    low_sigma : float
        Sigma by which a low pixel is below its neighbours.
    parts : sequence of (slice, slice)
        Regions that together are the image, each compared with itself alone.

    Returns
    -------
    Contrast
    """
    total, weights = np.zeros((2, *bits.must.shape))
    for flat, error in pairs:
        weighted, weight = np.zeros((2, *flat.shape))
        for part in parts:
            weighted[part], weight[part] = _weighted_contrast(flat[part], error[part])
        total, weights = total + weighted, weights + weight
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.where(weights > 0, total / np.sqrt(weights), -np.inf)
    sampled = sigma[::4, ::4]
    usual = max(1.0, mad(sampled[np.isfinite(sampled)]))
    sigma /= usual
    bits.add(DEAD, -sigma, low_sigma, least=0)
    sums = column_sums(np.where(np.isfinite(sigma), -sigma, 0.0))
    columns = bad_parts(sums, len(sigma))
    bits.set(BAD_COLUMN, *columns)
    is_measured = np.isfinite(sigma) & ~columns[0]
    low = np.count_nonzero(sigma[is_measured] < -_LOW_SIGMA) / max(1, np.count_nonzero(is_measured))
    return Contrast(sigma, usual**-2, low)


def _weighted_contrast(flat, error):
    """Return the contrast of a flat times its weight, and the weight, each (ny, nx)."""
    lamp, (ny, nx) = lamp_of(flat), flat.shape
    strips = _strips_of(ny)
    medians = np.concatenate([block_medians(flat[rows] / lamp(rows)) for rows in strips])
    weighted, weights = np.zeros((2, ny, nx))
    for rows in strips:
        smooth = lamp(rows) * between_blocks(medians, rows, nx)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = (smooth / error[rows]) ** 2
            weight[~np.isfinite(weight)] = 0
            off = (flat[rows] / smooth - 1) * weight
        weighted[rows], weights[rows] = np.nan_to_num(off), weight
    return weighted, weights


def _strips_of(ny):
    """Return the rows of an image in strips, the last no lower than a block that is mirrored."""
    lows = [low for low in range(0, ny, _STRIP_ROWS) if low == 0 or ny - low >= _FEWEST_ROWS]
    return [slice(*ends) for ends in zip(lows, [*lows[1:], ny], strict=True)]


def deep_parts(pairs):
    """Return the pixels of columns far below both sides in all flats, and of those that may be.

    Parameters
    ----------
    pairs : iterable of (numpy.ndarray, numpy.ndarray) of float64
        As of `contrast_of`.

    Returns
    -------
    must, may : numpy.ndarray
        (ny, nx), bool.
    """
    deep = None
    for flat, error in pairs:
        deep_in_flat = np.array(
            [_find_deep_parts(flat, np.isfinite(error), sign * NEAR_LIMIT_PART) for sign in (1, -1)]
        )
        deep, ny = deep_in_flat if deep is None else deep & deep_in_flat, len(flat)
    return tuple(np.repeat(parts, _PART_ROWS, axis=0)[:ny] for parts in deep)


def _find_deep_parts(flat, is_usable, lowering):
    """Return which parts of columns are deep in a flat, by a limit that is lower by a part."""
    first_rows = range(0, len(flat), _PART_ROWS)
    levels = np.array([np.median(flat[low : low + _PART_ROWS], axis=0) for low in first_rows])
    is_measured = np.array(
        [is_usable[low : low + _PART_ROWS].mean(axis=0) > 0.5 for low in first_rows]
    )
    smooth = ndimage.median_filter(levels, size=(1, _COLUMNS_AROUND))
    distance, columns = _COLUMNS_AROUND // 2 + _COLUMNS_BETWEEN + 1, np.arange(levels.shape[1])
    left = smooth[:, np.maximum(columns - distance, 0)]
    right = smooth[:, np.minimum(columns + distance, columns[-1])]
    darker = np.minimum(left, right)
    is_measured &= darker > 0
    if not is_measured.any():
        return is_measured
    ratio = levels[is_measured] / ((left + right)[is_measured] / 2)
    limit = 1 - max(_DEEP_PART, _STRUCTURE_SIGMA * mad(ratio - np.median(ratio)))
    deep = is_measured & (levels < (limit - lowering) * darker)
    return deep if deep.sum() <= _MOST_DEEP * is_measured.sum() else np.zeros_like(deep)


def faint_and_bright(levels):
    """Return the places of the faint and of the bright flats; None where they are of one level.

    Parameters
    ----------
    levels : numpy.ndarray of float64
        (n,), adu.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray) of int64 or None
        Sorted indices into ``levels``, (k,) each.
    """
    order = np.argsort(levels, kind="stable")
    if len(levels) < 2 * _FEWEST_OF_A_LEVEL or not levels.min() > 0:
        return None
    steps = np.log(levels[order][1:] / levels[order][:-1])
    cut = _FEWEST_OF_A_LEVEL + int(
        np.argmax(steps[_FEWEST_OF_A_LEVEL - 1 : len(levels) - _FEWEST_OF_A_LEVEL])
    )
    faint, bright = np.sort(order[:cut]), np.sort(order[cut:])
    is_apart = levels[bright].mean() >= _LEAST_RATIO * levels[faint].mean()
    return (
        (faint, bright)
        if is_apart and min(levels[bright]) >= _LEAST_GAP * max(levels[faint])
        else None
    )


def average_of(values, levels, noise):
    """Return the mean of flats of one level, each over its level, its variance, and is_open.

    Parameters
    ----------
    values : numpy.ndarray of float64
        (n, k, nx), adu; NaN where masked.
    levels : numpy.ndarray of float64
        (n,), adu.
    noise : (float, float)
        Electrons per adu, and read noise, adu.

    Returns
    -------
    mean, variance : numpy.ndarray of float64
        (k, nx); NaN where they are masked, or differ.
    is_open : numpy.ndarray
        (k, nx), bool: whether float32 decides if they differ.
    """
    gain, read_noise = noise
    levels = levels[:, None, None]
    typical = float((1 / levels).mean())
    over_levels = values / levels
    mean = over_levels.mean(axis=0)
    variance = np.maximum(mean, 0) * typical / gain + (read_noise * typical) ** 2
    less_levels = (values - levels) * typical
    range_of_values = np.minimum(np.ptp(over_levels, axis=0), np.ptp(less_levels, axis=0))
    limit = _OUTLIER_SIGMA * np.sqrt(2 * variance)
    with np.errstate(invalid="ignore"):
        mean = np.where(range_of_values > limit, np.nan, mean)
        return (
            mean,
            variance / len(values),
            np.abs(range_of_values - limit) < NEAR_LIMIT_PART * limit,
        )


def open_bits_of_levels(parts, *, like_ccdmask):
    """Return the `OpenBits` of pixels that are not linear between faint and bright flats.

    Parameters
    ----------
    parts : tuple
        Mean, variance and is_open of the faint flats, and of the bright ones: `average_of`.
    like_ccdmask : bool
        Whether the pixels that `ccdproc.ccdmask` finds count as well.

    Returns
    -------
    OpenBits
    """
    (faint, variance_of_faint, first), (bright, variance_of_bright, second) = parts
    bits = OpenBits(faint.shape)
    measured = np.isfinite(faint) & np.isfinite(bright)
    lit = measured & (faint > 0)
    if np.count_nonzero(lit) < faint.size / 2:
        return bits
    ratio = np.divide(bright, faint, out=np.full(faint.shape, np.nan), where=lit)
    ratio[~lit] = np.median(ratio[lit])
    usual = neighbours(ratio)
    variance = (
        variance_of_bright
        + usual**2 * variance_of_faint
        + (_LEAST_DIFFERENCE * np.fmax(bright, faint)) ** 2
    )
    sigma = (bright - usual * faint) / np.sqrt(variance)
    sigma /= max(1.0, mad(sigma[measured]))
    sigma = np.where(measured, sigma, 0.0)
    bits.add(BAD_COLUMN, np.abs(sigma), _LEVEL_SIGMA)
    for sign in (1, -1):
        bits.set(BAD_COLUMN, *bad_parts(column_sums(sign * sigma), len(sigma)))
    if like_ccdmask:
        image = CCDData(ratio.astype(np.float32), unit=units.dimensionless_unscaled)
        nonlinear = np.asarray(ccdproc.ccdmask(image)) & measured
        bits.set(BAD_COLUMN, nonlinear, nonlinear)
    is_open = first | second
    bits.set(BAD_COLUMN, np.zeros_like(is_open), is_open)
    bits.must[is_open] = 0
    return bits


def weak_pixels(sigma):
    """Return the places of the pixels that are low enough to be kept: those that are, and may be.

    Parameters
    ----------
    sigma : numpy.ndarray of float64
        (ny, nx), of a `Contrast`.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Flat indices of the weak pixels, and of those that float32 may count among them, (k,) each.
    """
    flat = np.where(np.isfinite(sigma), sigma, 0).ravel()
    return tuple(np.flatnonzero(flat < -_WEAK_SIGMA - sign * NEAR_LIMIT_PART) for sign in (1, -1))
