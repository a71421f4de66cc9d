"""Photon transfer of one amplifier in one night: gain, linearity, saturation, from its flats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccdflow.detector.photon_transfer import (
    BLOCK,
    combine_gains,
    measure_gain,
    measure_linearity,
    saturation_level,
)

# Exposures this near to each other are one.
_SAME = 0.01
# Flats of more scatter in level than this have no lamp that tells of linearity.
_STEADY = 0.02
_LEAST_ERROR = 1e-3
# Reduced pixels that are saturated differ by the levels of their rows: adu of a step.
_STEP = 16
# Adu below which no pile of pixels is looked for.
_LOWEST_PILE = 2000
# Rows of a frame that are compared: bands of `BLOCK` rows.
_BANDS = 48


@dataclass(frozen=True)
class Transfer:
    """What flats say of an amplifier; NaN for what they do not.

    Attributes
    ----------
    gain, gain_error : float
        Electrons per adu.
    frames : int
        Flats that were compared.
    level : float
        Mean level of the brightest of them, adu above bias.
    departure, departure_error : float
        Relative departure from linearity at half of ``full_well``, or at half of the brightest
        level where nothing is saturated.
    full_well : float
        Adu above bias at which pixels pile up.
    """

    gain: float = math.nan
    gain_error: float = math.nan
    frames: int = 0
    level: float = math.nan
    departure: float = math.nan
    departure_error: float = math.nan
    full_well: float = math.nan


def band_rows(low, high):
    """Return rows between two of an image, in bands that blocks fit in: (k,) indices."""
    ny = high - low
    count = max(1, min(_BANDS, ny // BLOCK))
    starts = np.unique(np.linspace(0, max(ny - BLOCK, 0), count).astype(int) // BLOCK * BLOCK)
    found = (starts[:, None] + np.arange(min(BLOCK, ny))).ravel() + low
    return found


def by_exposure(times):
    """Return the places of flats of one exposure each: a list of lists of indices."""
    order = sorted(range(len(times)), key=lambda i: times[i])
    found = []
    for i in order:
        if found and times[i] <= times[found[-1][0]] * (1 + _SAME):
            found[-1].append(i)
        else:
            found.append([i])
    return found


def measure_transfer(groups, read_noise, read_noise_error=0.0):
    """Measure an amplifier from the flats of a night.

    Parameters
    ----------
    groups : iterable of (sequence of float, numpy.ndarray)
        For each filter the exposure times, and the frames on `band_rows`: shape (n, k, nx), adu
        above the bias, NaN where masked. Taken one after the other.
    read_noise, read_noise_error : float
        Adu.

    Returns
    -------
    Transfer
    """
    gains, lines, wells, frames, brightest = [], [], [], 0, math.nan
    for times, values in groups:
        sets = by_exposure(times)
        levels = np.nanmedian(values, axis=(1, 2))
        for members in sets:
            if len(members) > 1 and (levels[members] > 0).all():
                gains.append(measure_gain(values[members], read_noise, read_noise_error))
                frames += len(members)
        brightest = np.nanmax([brightest, levels.max()])
        well = _full_well(values[int(np.argmax(levels))])
        wells += [] if well is None else [well]
        lines.append((times, levels, sets))
    gain, error = combine_gains(gains)
    full_well = min(wells, default=math.nan)
    at = (full_well if wells else brightest) / 2
    departure, departure_error = _linearity(lines, at)
    return Transfer(
        gain, error, frames, float(brightest), departure, departure_error, float(full_well)
    )


def _full_well(values):
    """Return the level at which the pixels of a reduced flat pile up, or None."""
    finite = values[np.isfinite(values)]
    if not finite.size or finite.max() < _LOWEST_PILE:
        return None
    steps = np.rint(np.maximum(finite, 0) / _STEP).astype(np.int64)
    top = saturation_level(steps)
    return None if top is None else float(top * _STEP)


def _linearity(lines, at):
    """Return the departure from linearity and its error: the mean of the filters that tell."""
    found = []
    for times, levels, sets in lines:
        several = [members for members in sets if len(members) > 1]
        if len(sets) < 3 or not several:
            continue
        rms = [np.std(levels[m], ddof=1) / np.mean(levels[m]) for m in several]
        lamp = max(float(np.sqrt(np.mean(np.square(rms)))), _LEAST_ERROR)
        if lamp > _STEADY:
            continue
        means = np.array([levels[m].mean() for m in sets])
        errors = means * lamp / np.sqrt([len(m) for m in sets])
        seconds = [float(np.mean([times[i] for i in m])) for m in sets]
        one = measure_linearity(seconds, means, errors, at)
        found.append((one.departure, one.error))
    found = [(value, error) for value, error in found if math.isfinite(value) and error > 0]
    if not found:
        return math.nan, math.nan
    values, errors = np.array(found).T
    weights = errors**-2.0
    return float(values @ weights / weights.sum()), float(weights.sum() ** -0.5)
