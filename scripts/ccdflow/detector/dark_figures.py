"""Figures of the detector from combined darks: rate, hot pixels, glow, drift, agreement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ccdflow.combine.moments import clipped_moments
from ccdflow.detector.bias_figures import Drift, measure_drift
from ccdflow.detector.frame_figures import COARSE_BOXES, UNKNOWN_FIGURE, Estimate
from ccdflow.detector.half_split import noise_ratio_of_halves
from ccdflow.detector.pixels.surroundings import surrounding_medians_of_pixels
from ccdflow.detector.pixels.trails import pixels_of_trails
from ccdflow.mask_bits import BLEED, HOT, NOT_LINEAR, SATURATED
from ccdflow.robust import MEDIAN_OVER_MEAN, MEDIAN_VARIANCE, median, normal_deviate, percentile

HOT_RATE = 5.0
"""A hot pixel is at least this many electrons a second above its surroundings; see `HOT_SIGMA`."""

HOT_SIGMA = 5.0
"""A hot pixel is also at least this many standard errors above its surroundings: one good pixel in
3.5 million is by chance."""

# Bits that follow from the pixels of the dark itself: a dark that has them already gets the same
# bits again.
_OWN_BITS = np.int16(HOT | BLEED | NOT_LINEAR)

# A drift has more than this many standard errors, both by the noise of the levels and by their
# scatter about a line: chance exceeds them once in 1.7 million darks.
_DRIFT_SIGMA = 5.0
# Least significance of a drift by the scatter alone, as that of a normal deviate with the
# probability of Student's t: the scatter of few levels is uncertain. With a larger limit few levels
# show no drift; with a smaller one those that lie on a line by chance do.
_DRIFT_SIGMA_OF_SCATTER = 3.0

# A glow has more than this many standard errors: it is the highest of 64 boxes, and chance exceeds
# it in one of 16 million darks.
_GLOW_SIGMA = 6
# Rows that are compared at once: they fit in the processor's cache.
_ROWS_AT_ONCE = 32
# The percentile of `DarkFigures.high_rate`.
_HIGH_PERCENTILE = 99


@dataclass(frozen=True)
class DarkFigures:
    """One row of the table of combined darks: the figures of one amplifier.

    Rates are electrons a second, or adu a second if the gain is unknown (`unit`).

    Attributes
    ----------
    amplifier : str
    frames : int
        Number of members.
    seconds : float
        Exposure time.
    unit : {'electron', 'adu'}
    rate : Estimate
        Median of the pixels without a flag, or hot alone. Its error includes the noise of the
        pixels and the scatter of the members' levels, which have the uncertainty of the overscan.
    high_rate : float
        The percentile `_HIGH_PERCENTILE` of the rates of these pixels.
    hot : int
        Number of hot pixels, see `hot_mask`.
    hot_limit : float
        A pixel is hot if its rate exceeds that of its surroundings by at least this; see also
        `HOT_SIGMA`.
    glow : Estimate
        Highest minus median of the means of coarse boxes without hot pixels; 0 if not significant,
        see `_GLOW_SIGMA`.
    drift : ccdflow.detector.bias_figures.Drift
        Level of the members in the unit of the frames, and its slope an hour.
    is_drifting : bool
        Whether the slope is significant: the result of the function of this name.
    noise_ratio : Estimate
        Measured over predicted noise, from two halves of the members; see `noise_ratio_of_halves`.
    """

    amplifier: str
    frames: int
    seconds: float
    unit: str
    rate: Estimate
    high_rate: float
    hot: int
    hot_limit: float
    glow: Estimate
    drift: Drift
    is_drifting: bool
    noise_ratio: Estimate


def hot_mask(dark, *, seconds, hot_rate=HOT_RATE, noise=None):
    """Return the mask of a combined dark with its hot pixels flagged.

    A pixel is compared with its surroundings, and with the median of its amplifier. The pixels of a
    glow are alike and not hot; a hot pixel in a glow is flagged.

    Parameters
    ----------
    dark : ccdflow.combine.stack.Combined
        In adu, or in electrons if the gains are 1.
    seconds : float
        Exposure time of its members.
    hot_rate : float, optional
        Least rate of a hot pixel above its surroundings, electrons a second; adu a second if the
        gain is unknown.
    noise : ccdflow.combine.noise.NoiseModel, optional
        Amplifiers and gains; default: those of the dark.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), int16
        A copy of `dark.mask` in which hot pixels have the bit `HOT`.
    """
    mask = dark.mask.copy()
    for amplifier in (noise or dark.noise).amplifiers:
        slices = amplifier.region.slices
        flags, values, errors = mask[slices], dark.image[slices], dark.uncertainty[slices]
        is_good = (flags & ~_OWN_BITS) == 0
        if not is_good.any():
            continue
        limit = _hot_limit(amplifier, seconds, hot_rate)
        # The limit has the noise of usual pixels, because that of a hot pixel is mostly the noise
        # of its own charge.
        middle, noise_of_usual = median(values[is_good]), median(errors[is_good])
        rows, columns = _pixels_above(values, middle, np.maximum(limit, HOT_SIGMA * noise_of_usual))
        if not rows.size:
            continue
        surroundings, error = (
            np.maximum(surrounding_medians_of_pixels(plane, rows, columns, usual=usual), usual)
            for plane, usual in ((values, middle), (errors, noise_of_usual))
        )
        is_hot = values[rows, columns] - surroundings >= np.maximum(limit, HOT_SIGMA * error)
        flags[rows[is_hot], columns[is_hot]] |= HOT
    return mask


def _pixels_above(values, middle, limit):
    """Return rows and columns, (k,) each, of pixels at least a limit above a level.

    Parameters
    ----------
    values : numpy.ndarray of shape (ny, nx), float32
        NaN is not above.
    middle, limit : numpy.floating
        The level, and the distance from it.
    """
    indices = []
    with np.errstate(invalid="ignore"):
        for first in range(0, len(values), _ROWS_AT_ONCE):
            rows, columns = np.nonzero(values[first : first + _ROWS_AT_ONCE] - middle >= limit)
            indices.append((rows + first, columns))
    rows, columns = (np.concatenate(parts) for parts in zip(*indices, strict=True))
    return rows, columns


def flag_trails(dark, mask):
    """Flag pixels into which charge of full pixels ran over, in place.

    Parameters
    ----------
    dark : ccdflow.combine.stack.Combined
    mask : numpy.ndarray of shape (ny, nx), int16
        The mask of the dark. Flagged pixels get the bit `BLEED`.
    """
    for amplifier in dark.noise.amplifiers:
        slices = amplifier.region.slices
        flags = mask[slices]
        if ((flags & ~_OWN_BITS) == 0).any():
            indices = pixels_of_trails(
                dark.image[slices],
                dark.uncertainty[slices],
                is_full=flags & SATURATED != 0,
                gain=amplifier.gain,
            )
            flags[np.unravel_index(indices, flags.shape)] |= BLEED


def _hot_limit(amplifier, seconds, hot_rate):
    """Return the limit of a hot pixel above its surroundings, in the unit of the dark."""
    return hot_rate * seconds / (amplifier.gain or 1.0)


def measure_dark(dark, *, seconds, hours=None, hot_rate=HOT_RATE, mask=None):
    """Return the `DarkFigures` of each amplifier of a combined dark.

    Parameters
    ----------
    dark : ccdflow.combine.stack.Combined
        Result of `ccdflow.combine.darks.combine_darks`.
    seconds : float
        Exposure time of its members.
    hours : sequence of float, optional
        Times of the members, in hours.
    hot_rate : float, optional
        See `hot_mask`.
    mask : numpy.ndarray of shape (ny, nx), int16, optional
        The result of `hot_mask`, which is called if the mask is absent.

    Returns
    -------
    list of DarkFigures
        One for each amplifier of the dark's noise model.
    """
    if mask is None:
        mask = hot_mask(dark, seconds=seconds, hot_rate=hot_rate)
    return [
        _measure_amplifier(
            dark, amplifier, mask=mask, seconds=seconds, hours=hours, hot_rate=hot_rate
        )
        for amplifier in dark.noise.amplifiers
    ]


def _measure_amplifier(dark, amplifier, mask, seconds, hours, hot_rate):
    """Return the `DarkFigures` of an amplifier of a combined dark.

    Parameters
    ----------
    dark : ccdflow.combine.stack.Combined
    amplifier : ccdflow.combine.noise.AmplifierNoise
        One of the amplifiers of ``dark.noise``.
    mask : numpy.ndarray of shape (ny, nx), int16
    seconds : float
        Exposure time of the dark.
    hours : sequence of float or None
        Times of the members, in hours.
    hot_rate : float
        See `hot_mask`.
    """
    slices = amplifier.region.slices
    gain = amplifier.gain or 1.0
    per_second = gain / seconds
    values, errors, flags = dark.image[slices], dark.uncertainty[slices], mask[slices]
    is_usable = (flags & ~np.int16(HOT)) == 0
    usable_values = values[is_usable]
    levels = member_levels(dark, amplifier.region)
    drift = measure_drift(levels, hours)
    error = _level_error(amplifier, dark.sample_rows, drift.level.value)
    return DarkFigures(
        amplifier=amplifier.name,
        frames=len(levels),
        seconds=float(seconds),
        unit="electron" if amplifier.gain else "adu",
        rate=_median_rate(usable_values, errors[is_usable], levels, per_second),
        high_rate=_high_rate(usable_values * per_second),
        hot=int(np.count_nonzero(flags & HOT)),
        hot_limit=hot_rate,
        glow=_glow_and_error(values, flags == 0, per_second),
        drift=drift,
        is_drifting=is_drifting(drift, levels, hours, error=error),
        noise_ratio=noise_ratio_of_halves(dark, amplifier.region),
    )


def member_levels(combined, region):
    """Return the median of each member's sample in a region, adu.

    Parameters
    ----------
    combined : ccdflow.combine.stack.Combined
    region : ccdflow.camera.sections.Region

    Returns
    -------
    list of float
        NaN for a member without a finite value.
    """
    members = combined.sample[:, region.has_rows(combined.sample_rows), region.columns]
    return [
        float(np.median(frame[np.isfinite(frame)])) if np.isfinite(frame).any() else math.nan
        for frame in members
    ]


def _level_error(amplifier, rows, level):
    """Return the standard error of the level of one member, by its pixels and its overscan.

    Parameters
    ----------
    amplifier : ccdflow.combine.noise.AmplifierNoise
    rows : numpy.ndarray of shape (k,), int
        Rows of the sample.
    level : float
        Level of the member, adu.

    Returns
    -------
    float
        Adu.

    Notes
    -----
    The median of n normal values has pi / 2 times the variance of their mean, if n is large.
    """
    region = amplifier.region
    n_pixels = np.count_nonzero(region.has_rows(rows)) * (region.x1 - region.x0)
    variance = amplifier.variance_without_light + amplifier.variance_per_light * max(level, 0.0)
    # All rows may have one overscan level.
    common_noise = amplifier.factor * amplifier.level_noise
    return float(np.hypot(np.sqrt(MEDIAN_VARIANCE * variance / max(n_pixels, 1)), common_noise))


def is_drifting(drift, levels, hours, *, error):
    """Return whether levels rise or fall by more than noise and scatter explain.

    The slope must exceed `_DRIFT_SIGMA` standard errors, both by the noise of the levels and by
    their scatter about the line. The scatter of few levels is uncertain. The slope over its error
    by the scatter must therefore be as improbable in Student's distribution as
    `_DRIFT_SIGMA_OF_SCATTER` in a normal one.

    Parameters
    ----------
    drift : ccdflow.detector.bias_figures.Drift
        The drift of these levels.
    levels : sequence of float
        Levels of the members; NaN if unknown.
    hours : sequence of float or None
        Their times; NaN if unknown.
    error : float
        Standard error of a level, in the unit of the levels.

    Returns
    -------
    bool
        False for fewer than three levels with a time.
    """
    slope = drift.slope
    if not np.isfinite(slope.error):
        return False
    times = np.asarray(hours, np.float64)
    times = times[np.isfinite(levels) & np.isfinite(times)]
    error_by_noise = error / np.sqrt(np.sum((times - times.mean()) ** 2))
    size = abs(slope.value)
    if size <= _DRIFT_SIGMA * max(error_by_noise, slope.error):
        return False
    pull = size / slope.error if slope.error else math.inf
    return normal_deviate(pull, len(times) - 2) > _DRIFT_SIGMA_OF_SCATTER


def _median_rate(values, errors, levels, per_second):
    """Return the median rate of pixels, an `Estimate`; its error has those of pixels and levels.

    Parameters
    ----------
    values, errors : numpy.ndarray of shape (n,), float32 or float64
        Pixels of the dark, and their standard errors.
    levels : sequence of float
        Levels of the members.
    per_second : float
        Factor from the unit of the dark to that of rates.

    Notes
    -----
    The median of n normal values has sqrt(pi / 2) times the error of their mean, if n is large.
    """
    if not values.size:
        return UNKNOWN_FIGURE
    error_by_pixels = MEDIAN_OVER_MEAN * median(errors) / np.sqrt(values.size)
    finite_levels = np.array(levels)[np.isfinite(levels)]
    error_by_members = (
        finite_levels.std(ddof=1) / np.sqrt(len(finite_levels)) if len(finite_levels) > 1 else 0.0
    )
    error = float(np.hypot(error_by_pixels, error_by_members)) * per_second
    return Estimate(float(median(values)) * per_second, error)


def _high_rate(rates):
    """Return the percentile `_HIGH_PERCENTILE` of rates, in their unit."""
    return float(percentile(rates, _HIGH_PERCENTILE)) if rates.size else math.nan


def _glow_and_error(values, is_good, per_second):
    """Return the glow of `DarkFigures`, an `Estimate`, from the pixels of an amplifier."""
    ny, nx = values.shape
    if min(ny, nx) < COARSE_BOXES or not is_good.any():
        return UNKNOWN_FIGURE
    edges = np.arange(COARSE_BOXES + 1) * ny // COARSE_BOXES
    columns = np.arange(COARSE_BOXES) * nx // COARSE_BOXES
    bands = [slice(start, stop) for start, stop in pairwise(edges)]

    def sums(array, dtype):
        """Return the sums of the pixels of each box."""
        rows = np.array([array[band].sum(axis=0, dtype=dtype) for band in bands])
        return np.add.reduceat(rows, columns, axis=1)

    with np.errstate(invalid="ignore", divide="ignore"):
        count = sums(is_good, np.int64)
        means = sums(np.where(is_good, values, 0), np.float64) / count
    noise = clipped_moments(values[is_good]).sigma
    fewest_pixels = count[count > 0].min()
    error = noise / math.sqrt(fewest_pixels)
    excess = float(np.nanmax(means) - np.nanmedian(means))
    return Estimate(
        (excess if excess > _GLOW_SIGMA * error else 0.0) * per_second, error * per_second
    )
