"""Gain, linearity and full well of an amplifier from the flats of one night."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccdflow.detector.photons.full_well import FullWell
from ccdflow.detector.photons.photon_transfer import (
    BLOCK_SIDE,
    combine_gains,
    measure_gain,
    measure_linearity,
)
from ccdflow.robust import median_of_numbers

# Exposures that differ by at most this fraction count as one. Chosen: the times in headers are
# measured and scatter; a larger fraction would join exposures that show linearity.
_SAME_EXPOSURE = 0.01
# Flats of one exposure whose levels scatter by more than this fraction do not show linearity: their
# lamp is too unsteady. Chosen: with a larger fraction changes of the lamp count as departures from
# linearity; with a smaller one few nights have a result.
_MOST_LAMP_SCATTER = 0.02
# Least relative error that is assumed for a level. Chosen: two flats may have nearly one level by
# chance, and a departure from linearity would seem certain then.
_LEAST_RELATIVE_ERROR = 1e-3
# Flats in which more than this fraction of the pixels is full give no gain. Chosen: full pixels
# have less noise, and the gain is too high; with 0 a few hot pixels would exclude a flat.
_MOST_FULL_FRACTION = 1e-3
# Flats of one exposure are compared if their levels differ by at most this factor. The twilight
# fades by more. A faint flat that is scaled to the level of a bright one has more noise. The gain
# from ten flats of 60,000 to 500 adu was 10 % too high. Chosen: a larger factor loses precision;
# with a smaller one single flats remain.
_MOST_LEVEL_RATIO = 2.0
# At most this many bands of `BLOCK_SIDE` rows of a frame are compared.
_BANDS = 48


@dataclass(frozen=True)
class Transfer:
    """The figures of an amplifier from its flats; NaN where they cannot be measured.

    Attributes
    ----------
    gain, gain_error : float
        Electrons per adu, and its standard error.
    n_frames : int
        Number of flats that were compared; none of them is full.
    level : float
        Median of the brightest flat, adu above bias, whether or not it was compared.
    departure, departure_error : float
        Relative departure from linearity and its standard error, at half of ``full_well`` or half
        of ``level``, whichever is lower.
    full_well : float
        Level of the lowest full pixels, adu above bias; NaN where no pixel is full.
    """

    gain: float = math.nan
    gain_error: float = math.nan
    n_frames: int = 0
    level: float = math.nan
    departure: float = math.nan
    departure_error: float = math.nan
    full_well: float = math.nan


def band_rows(low, high):
    """Return the rows of an amplifier that are compared, in bands of the height of a block: (k,).

    Parameters
    ----------
    low, high : int
        The rows of the amplifier, half-open.

    Returns
    -------
    numpy.ndarray of shape (k,), int
    """
    ny = high - low
    count = max(1, min(_BANDS, ny // BLOCK_SIDE))
    starts = np.unique(
        np.linspace(0, max(ny - BLOCK_SIDE, 0), count).astype(int) // BLOCK_SIDE * BLOCK_SIDE
    )
    rows = (starts[:, None] + np.arange(min(BLOCK_SIDE, ny))).ravel() + low
    return rows


def group_by_exposure(times):
    """Return the indices of the flats of each exposure, the shortest first: a list of lists."""
    order = sorted(range(len(times)), key=lambda index: times[index])
    groups = []
    for index in order:
        if groups and times[index] <= times[groups[-1][0]] * (1 + _SAME_EXPOSURE):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def split_by_level(members, levels):
    """Return the indices of flats of one exposure in sets of similar levels: a list of lists.

    A flat without another flat of its level joins the flat with the next lower level: a single flat
    shows no scatter. The faintest flat may remain alone.

    Parameters
    ----------
    members : list of int
        Indices of the flats.
    levels : numpy.ndarray of shape (n,), float64
        Level of each flat, adu.

    Returns
    -------
    list of list of int

    Examples
    --------
    >>> split_by_level([0, 1, 2, 3, 4], np.array([100.0, 900.0, 1000.0, 30.0, 800.0]))
    [[1, 2, 4], [0, 3]]
    """
    if len(members) < 3 or max(levels[members]) <= _MOST_LEVEL_RATIO * min(levels[members]):
        return [members]
    sets = []
    for index in sorted(members, key=lambda index: -levels[index]):
        is_like = bool(sets) and levels[sets[-1][0]] <= _MOST_LEVEL_RATIO * levels[index]
        if is_like or (sets and len(sets[-1]) == 1):
            sets[-1].append(index)
        else:
            sets.append([index])
    return [sorted(like_flats) for like_flats in sets]


def measure_transfer(groups, read_noise, read_noise_error=0.0):
    """Return the `Transfer` of an amplifier from the flats of a night.

    Parameters
    ----------
    groups : iterable of (sequence of float, numpy.ndarray)
        For each filter the exposure times, and the rows `band_rows` of the frames: shape (n, k,
        nx), adu above the bias, NaN where masked. One filter at a time is in memory. Flats with all
        pixels masked do not count.
    read_noise : float
        Read noise of one frame, adu.
    read_noise_error : float, optional
        Its standard error, adu.

    Returns
    -------
    Transfer
    """
    gains, flats_of_filters = [], []
    brightest_level, full_well_search = math.nan, FullWell(read_noise)
    for times, values, levels in _flats_with_pixels(groups):
        sets = group_by_exposure(times)
        for members in sets:
            if len(members) < 2 or not (levels[members] > 0).all():
                continue
            full_well_search.add(values[members])
            for like_members in split_by_level(members, levels):
                flats = values[like_members]
                if len(flats) < 2:
                    continue
                gain = measure_gain(flats, read_noise, read_noise_error)
                if gain.n_pixels:
                    gains.append((_top_level(flats), gain, len(flats)))
        brightest_level = np.fmax(brightest_level, levels.max())
        flats_of_filters.append((times, levels, sets))
    full_well = full_well_search.level()
    # Full pixels do not scatter: flats with such pixels give no gain.
    limit = full_well if math.isfinite(full_well) else math.inf
    usable_gains = [(gain, count) for top, gain, count in gains if top < limit]
    gain, error = combine_gains([gain for gain, _ in usable_gains])
    level_of_departure = min(limit, brightest_level) / 2
    departure, departure_error = _mean_departure(flats_of_filters, level_of_departure, limit)
    return Transfer(
        gain=gain,
        gain_error=error,
        n_frames=sum(count for _, count in usable_gains),
        level=float(brightest_level),
        departure=departure,
        departure_error=departure_error,
        full_well=float(full_well),
    )


def _top_level(flats):
    """Return the level, adu, that the fraction `_MOST_FULL_FRACTION` of flats' pixels exceeds."""
    sample = flats[:, ::4, ::4]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        sample = flats[np.isfinite(flats)]
    return float(np.quantile(sample, 1 - _MOST_FULL_FRACTION))


def _flats_with_pixels(groups):
    """Yield the times, values and levels of each filter's flats, without fully masked flats.

    A flat without a pixel has no level. The mean level of its exposure, and the brightest level,
    would be NaN.

    Parameters
    ----------
    groups : iterable of (sequence of float, numpy.ndarray)
        See `measure_transfer`.

    Yields
    ------
    times : list of float
    values : numpy.ndarray of shape (n, k, nx), float32 or float64
    levels : numpy.ndarray of shape (n,), float32 or float64
        Medians, adu above bias; n from 1.
    """
    for times, values in groups:
        levels = np.array([median_of_numbers(frame) for frame in values])
        is_known = np.isfinite(levels)
        if is_known.all() and levels.size:
            yield times, values, levels
        elif is_known.any():
            times_with_level = [times[index] for index in np.flatnonzero(is_known)]
            yield times_with_level, values[is_known], levels[is_known]


def _mean_departure(flats_of_filters, level, limit):
    """Return the mean departure from linearity over the filters, and its error; NaN for none.

    Parameters
    ----------
    flats_of_filters : list of (sequence of float, numpy.ndarray, list of list of int)
        For each filter: exposures and levels of the flats, and the indices of the flats of each
        exposure.
    level : float
        Level at which the departure is evaluated, adu.
    limit : float
        Full well, adu: exposures with a flat of this level or more do not count.
    """
    filter_linearities = [
        linearity_of_filter(times, levels, [m for m in sets if max(levels[m]) < limit], level)
        for times, levels, sets in flats_of_filters
    ]
    departures = [
        (linearity.departure, linearity.error)
        for linearity in filter_linearities
        if linearity is not None and math.isfinite(linearity.departure) and linearity.error > 0
    ]
    if not departures:
        return math.nan, math.nan
    values, errors = np.array(departures).T
    weights = errors**-2.0
    return float(values @ weights / weights.sum()), float(weights.sum() ** -0.5)


def linearity_of_filter(times, levels, sets, level, *, least_scatter=_LEAST_RELATIVE_ERROR):
    """Return the `Linearity` by flats of one filter; None if too few, or of an unsteady lamp.

    Parameters
    ----------
    times : sequence of float
        Exposure of each flat, seconds.
    levels : numpy.ndarray of shape (n,), float64
        Level of each flat, adu.
    sets : list of list of int
        Indices of the flats of each exposure, none of them full.
    level : float
        Level at which the departure is evaluated, adu.
    least_scatter : float, optional
        Least relative scatter that is assumed for the lamp.

    Returns
    -------
    ccdflow.detector.photons.photon_transfer.Linearity or None
    """
    repeated_sets = [members for members in sets if len(members) > 1]
    if len(sets) < 3 or not repeated_sets:
        return None
    rms = [np.std(levels[members], ddof=1) / np.mean(levels[members]) for members in repeated_sets]
    lamp = max(float(np.sqrt(np.mean(np.square(rms)))), least_scatter)
    if lamp > _MOST_LAMP_SCATTER:
        return None
    means = np.array([levels[members].mean() for members in sets])
    errors = means * lamp / np.sqrt([len(members) for members in sets])
    seconds = [float(np.mean([times[index] for index in members])) for members in sets]
    return measure_linearity(seconds, means, errors, level)
