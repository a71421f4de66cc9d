"""Pixels that are not linear in light, from flats of one filter and two levels.

A good pixel has the same response in faint and bright flats. A trap holds back some electrons: its
pixel, or its column, responds less in faint flats. Other faults change the response in bright
flats. The difference of the bright and the faint flats, each divided by its level, is 0 for a good
pixel.
"""

from __future__ import annotations

import numpy as np

from ccdflow.detector.pixels.ccdmask import ccdmask
from ccdflow.detector.pixels.columns import bad_columns
from ccdflow.detector.pixels.surroundings import surrounding_medians
from ccdflow.mask_bits import BAD_COLUMN
from ccdflow.robust import MAD_TO_SIGMA, median

LEVEL_SIGMA = 4.5
"""A bad pixel differs from its neighbours in the ratio of the two levels by more than this many
sigma: seven of a million good pixels do by chance."""

# Bright flats have on average at least this many times the level of faint ones. Chosen: with a
# smaller ratio a departure from linearity is too small to be seen; with a larger one few nights
# have two levels.
_LEAST_RATIO = 1.5
# The faintest bright flat has at least this many times the level of the brightest faint one.
# Chosen: twilights without a gap in level are not two levels.
_LEAST_GAP = 1.1
# Each level needs at least this many flats: two flats differ at a hit, which a single flat does not
# show.
_FEWEST_OF_A_LEVEL = 2
# Relative error that is added to the noise: differences of this fraction of the light are no fault.
_LEAST_DIFFERENCE = 0.002
# If values of one level differ by more than this many sigma, one is a hit, or a star of a twilight:
# the pixel is left out. With a larger limit hits make bad pixels; with a smaller one good pixels
# are left out.
_OUTLIER_SIGMA = 5.0


def split_levels(levels):
    """Return the faint and the bright flats of one filter: two sets of indices.

    Parameters
    ----------
    levels : sequence of float
        Level of each flat, adu. NaN, for a flat without a pixel, does not count.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray) of shape (k,), int64, or None
        Faint and bright flats, split at the widest gap in level. None for flats of one level, or if
        a level has fewer flats than `_FEWEST_OF_A_LEVEL`.
    """
    levels = np.asarray(levels, float)
    # NaN is sorted after all numbers.
    order = np.argsort(levels, kind="stable")[: np.count_nonzero(np.isfinite(levels))]
    if len(order) < 2 * _FEWEST_OF_A_LEVEL or not levels[order[0]] > 0:
        return None
    gaps = np.diff(np.log(levels[order]))[_FEWEST_OF_A_LEVEL - 1 : len(order) - _FEWEST_OF_A_LEVEL]
    split_index = int(np.argmax(gaps)) + _FEWEST_OF_A_LEVEL
    faint, bright = np.sort(order[:split_index]), np.sort(order[split_index:])
    if (
        levels[bright].mean() < _LEAST_RATIO * levels[faint].mean()
        or levels[bright].min() < _LEAST_GAP * levels[faint].max()
    ):
        return None
    return faint, bright


def average_levels(values, levels, groups, gain_and_read_noise):
    """Return the means of faint and of bright flats, each over its level, and their variances.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k, nx), float32
        Rows of the flats, adu above bias; NaN where masked. Not changed.
    levels : numpy.ndarray of shape (n,), float64
        Level of each flat, adu.
    groups : (numpy.ndarray, numpy.ndarray) of int64
        As `split_levels` returns them.
    gain_and_read_noise : (float, float)
        Gain, electrons per adu, and read noise, adu.

    Returns
    -------
    numpy.ndarray of shape (4, k, nx), float32
        Means of faint and bright flats, and the variances of both. Means are NaN where a flat is
        masked, or flats of one level differ.
    """
    gain, read_noise = gain_and_read_noise
    means, variances = [], []
    for group in groups:
        inverse_levels = 1 / np.asarray(levels, np.float32)[group, None, None]
        scaled_flats = values[group] * inverse_levels
        mean = scaled_flats.mean(axis=0)
        mean_inverse_level = float(np.mean(inverse_levels))
        variance = (
            np.maximum(mean, 0) * (mean_inverse_level / gain)
            + (read_noise * mean_inverse_level) ** 2
        )
        # A trap takes the same charge from flats of unlike levels: these agree minus their levels,
        # not over their levels. The smaller of the two spreads counts.
        shifted_flats = (values[group] - 1 / inverse_levels) * np.float32(mean_inverse_level)
        spread = np.minimum(np.ptp(scaled_flats, axis=0), np.ptp(shifted_flats, axis=0))
        mean[spread > _OUTLIER_SIGMA * np.sqrt(2 * variance)] = np.nan
        means.append(mean)
        variances.append(variance / len(group))
    return np.array([*means, *variances], np.float32)


def nonlinear_mask(averages, *, includes_ccdmask=False):
    """Return the mask of pixels and columns that are not linear in light.

    Parameters
    ----------
    averages : numpy.ndarray of shape (4, ny, nx), float32
        As `average_levels` returns them.
    includes_ccdmask : bool, optional
        Whether pixels that `ccdproc.ccdmask` flags in the ratio of the levels are bad as well.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), int16
        `BAD_COLUMN` ("a bad column or trap"). No pixel is flagged if fewer than half are lit.
    """
    faint, bright, faint_variance, bright_variance = averages
    mask = np.zeros(faint.shape, np.int16)
    is_measured = np.isfinite(faint) & np.isfinite(bright)
    is_lit = is_measured & (faint > 0)
    if np.count_nonzero(is_lit) < mask.size / 2:
        return mask
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(is_lit, bright / faint, np.nan)
    ratio[~is_lit] = median(ratio[is_lit])
    usual_ratio = surrounding_medians(ratio)
    least_difference = _LEAST_DIFFERENCE * np.maximum(bright, faint)
    variance = bright_variance + usual_ratio**2 * faint_variance + np.square(least_difference)
    sigma = (bright - usual_ratio * faint) / np.sqrt(variance)
    sigma /= max(1.0, MAD_TO_SIGMA * float(median(np.abs(sigma[is_measured]))))
    sigma[~is_measured] = 0
    mask[np.abs(sigma) > LEVEL_SIGMA] = BAD_COLUMN
    mask[bad_columns(sigma) | bad_columns(-sigma)] = BAD_COLUMN
    if includes_ccdmask:
        mask[ccdmask(ratio) & is_measured] = BAD_COLUMN
    return mask
