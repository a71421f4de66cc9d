"""Photon transfer of one amplifier in one night: gain, linearity, full well, from its flats."""

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

# Exposures within this fraction of each other count as one. Chosen: headers write measured times,
# which scatter; a larger part would join exposures that show linearity.
_SAME_EXPOSURE = 0.01
# Levels of flats of one exposure that scatter by more than this part are of a lamp too unsteady to
# show linearity. Chosen: a larger part would take the lamp for the detector, a smaller one leaves
# few nights.
_MOST_LAMP_SCATTER = 0.02
# Every level is taken to have at least this relative error. Chosen: two flats have nearly one level
# by chance, and without a limit a departure from linearity would seem certain then.
_LEAST_ERROR = 1e-3
# Flats in which more than this part of the pixels is full give no gain. Chosen: full pixels have
# less noise, and make gains too high; with 0 a few hot pixels would leave out a flat.
_MOST_FULL_FRACTION = 1e-3
# Flats of one exposure are compared if their levels differ by this factor at most. The twilight
# fades by more, and the noise of a faint flat, brought to the level of a bright one, is another
# one than the bright one's: of ten flats of 60,000 to 500 adu the gain was 10 % too high. Chosen: a
# larger factor loses precision, a smaller one leaves single flats.
_MOST_LEVEL_RATIO = 2.0
# Bands of `BLOCK_SIDE` rows of a frame that are compared.
_BANDS = 48


@dataclass(frozen=True)
class Transfer:
    """The figures of an amplifier by its flats; NaN where they cannot be measured.

    Attributes
    ----------
    gain, gain_error : float
        Electrons per adu, and the standard error.
    frames : int
        Flats that were compared, none of them full.
    level : float
        Median of the brightest flat, adu above bias. Flats that were not compared count as well.
    departure, departure_error : float
        Relative departure from linearity, and its standard error, at half of ``full_well`` or of
        ``level``, whichever is lower.
    full_well : float
        Adu above bias of the lowest full pixels; NaN where none are.
    """

    gain: float = math.nan
    gain_error: float = math.nan
    frames: int = 0
    level: float = math.nan
    departure: float = math.nan
    departure_error: float = math.nan
    full_well: float = math.nan


def band_rows(low, high):
    """Return rows between two of an image, in bands that blocks fit in: (k,) indices.

    Parameters
    ----------
    low, high : int
        The range of rows.

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
    """Return the places of flats of one exposure each: a list of lists of indices."""
    order = sorted(range(len(times)), key=lambda index: times[index])
    groups = []
    for index in order:
        if groups and times[index] <= times[groups[-1][0]] * (1 + _SAME_EXPOSURE):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def split_by_level(members, levels):
    """Return flats of one exposure in sets of like levels: a list of lists of indices.

    A flat that has no like goes with the one next to it: two flats have one difference, whatever
    their levels are.

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
        is_like = sets and levels[sets[-1][0]] <= _MOST_LEVEL_RATIO * levels[index]
        if is_like or (sets and len(sets[-1]) == 1):
            sets[-1].append(index)
        else:
            sets.append([index])
    return [sorted(like_flats) for like_flats in sets]


def measure_transfer(groups, read_noise, read_noise_error=0.0):
    """Measure an amplifier from the flats of a night.

    Parameters
    ----------
    groups : iterable of (sequence of float, numpy.ndarray)
        For each filter the exposure times, and the frames on `band_rows`: shape (n, k, nx), adu
        above the bias, NaN where masked. Taken one after the other. Flats of which all pixels are
        masked do not count.
    read_noise, read_noise_error : float
        Read noise of one frame, adu, and its standard error.

    Returns
    -------
    Transfer
    """
    gains, lines, brightest_level, well = [], [], math.nan, FullWell(read_noise)
    for times, values, levels in _flats_with_pixels(groups):
        sets = group_by_exposure(times)
        for members in sets:
            if len(members) < 2 or not (levels[members] > 0).all():
                continue
            well.add(values[members])
            for like_members in split_by_level(members, levels):
                flats = values[like_members]
                if len(flats) < 2:
                    continue
                gain = measure_gain(flats, read_noise, read_noise_error)
                if gain.pixels:
                    gains.append((_top_level(flats), gain, len(flats)))
        brightest_level = np.fmax(brightest_level, levels.max())
        lines.append((times, levels, sets))
    full_well = well.level()
    # Full pixels do not scatter: their flats give no gain.
    limit = full_well if math.isfinite(full_well) else math.inf
    usable_gains = [(gain, count) for top, gain, count in gains if top < limit]
    gain, error = combine_gains([gain for gain, _ in usable_gains])
    level_of_departure = min(limit, brightest_level) / 2
    departure, departure_error = _mean_departure(lines, level_of_departure, limit)
    return Transfer(
        gain=gain,
        gain_error=error,
        frames=sum(count for _, count in usable_gains),
        level=float(brightest_level),
        departure=departure,
        departure_error=departure_error,
        full_well=float(full_well),
    )


def _top_level(flats):
    """Return the level of flats, (n, ny, nx), that `_MOST_FULL_FRACTION` of the pixels exceeds."""
    sample = flats[:, ::4, ::4]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        sample = flats[np.isfinite(flats)]
    return float(np.quantile(sample, 1 - _MOST_FULL_FRACTION))


def _flats_with_pixels(groups):
    """Yield the times, values and levels of the flats of each filter that have pixels.

    A flat without a pixel has no level: with it the others of its exposure, and the brightest
    level, would not be known.

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


def _mean_departure(lines, level, limit):
    """Return the departure from linearity and its error: the mean of the filters that show it.

    Parameters
    ----------
    lines : list of (sequence of float, numpy.ndarray, list of list of int)
        Lines of each filter: exposures and levels of the flats, and which of them are of one
        exposure.
    level : float
        Level at which it is evaluated, adu.
    limit : float
        Flats of this level or more are full.
    """
    filter_linearities = [
        linearity_of_filter(times, levels, [m for m in sets if max(levels[m]) < limit], level)
        for times, levels, sets in lines
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


def linearity_of_filter(times, levels, sets, level, *, least_scatter=_LEAST_ERROR):
    """Return the linearity that flats of one filter show; None for too few or too unsteady ones.

    Parameters
    ----------
    times : sequence of float
        Exposure of each flat, seconds.
    levels : numpy.ndarray of shape (n,), float64
        Level of each flat, adu.
    sets : list of list of int
        Flats of one exposure, none of them full.
    level : float
        Level at which it is evaluated, adu.
    least_scatter : float, optional
        Every lamp is taken to scatter by at least this part.

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
