"""Which masters of a shelf go first for a frame: arrays only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ccdflow.calibrate.chain import BIAS, DARK, FLAT, is_same_exposure
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.matching import match_words
from ccdflow.kinds.matching.candidates import (
    EXACT_NIGHTS,
    MOST_CANDIDATES,
    TEMPERATURE_UNKNOWN,
    Candidate,
)
from ccdflow.kinds.matching.match_words import STRETCHED
from ccdflow.kinds.matching.shelf import day_of, is_too_long
from ccdflow.kinds.matching.temperatures import (
    degrees_warmer,
    temperature_differences,
    tenths,
)

# Tiers of candidates: a later night counts only where the own and earlier ones have none at all,
# or a night that is added would change older frames. Darks that are scaled up come after others.
_LATER, _SCALED_UP = 2, 1


def question(shelf, kind, seconds, degrees, rules):
    """Return all that a frame's answer depends on, and the exposure by which masters are ranked.

    Thousands of frames differ by a thousandth of a second or a hundredth of a degree, and have
    the same answer: what counts is which masters are exact, may be scaled, are of the temperature.
    All that a scaled dark adds goes with the square of the exposure, so that the order is the same.

    Parameters
    ----------
    shelf : Shelf or None
    kind : {'bias', 'dark', 'flat'}
    seconds : float or None
    degrees : (float or None, float or None)
        Set point and sensor.
    rules : ccdflow.kinds.matching.candidates.Rules

    Returns
    -------
    question : hashable
    seconds : float or None
    """
    if kind != DARK:
        # Round: an unregulated sensor would give each frame a question of its own.
        return b"" if shelf is None else shelf.warmer(tuple(map(tenths, degrees)), rules), None
    if shelf is None or seconds is None:
        return seconds, seconds
    # The rounding is the frame's own: what else there is in the archive does not change it.
    rounded = float(f"{seconds:.3g}")
    return (rounded, shelf.exposure_flags(seconds, rules), shelf.warm(degrees, rules)), rounded


def rescaled(candidate, seconds):
    """Return a scaled candidate for another exposure.

    Parameters
    ----------
    candidate : Candidate
    seconds : float
        The exposure.

    Returns
    -------
    Candidate
    """
    if candidate.scale == 1:
        return candidate
    scale = seconds / candidate.master.about.exptime
    remarks = (
        scaled_words(scale) if remark.startswith("scaled ") else remark
        for remark in candidate.remarks
    )
    larger = (scale / candidate.scale) ** 2
    return replace(
        candidate,
        scale=scale,
        variance=candidate.variance * larger,
        remarks=tuple(remarks),
        ageing=candidate.ageing * larger,
    )


def scaled_words(scale):
    """Return how a dark is scaled: ``scaled down by 0.5``."""
    return f"scaled {'up' if scale > 1 else 'down'} by {scale:.4g}"


def ranked(shelf, kind, frame, noise, rules, seconds):
    """Return the candidates on a shelf that a frame may take, the best first.

    They are scaled for an exposure of ``seconds``.

    Parameters
    ----------
    shelf : Shelf
    kind : {'bias', 'dark', 'flat'}
    frame : ObservedAs
    noise : DetectorNoise
    rules : Rules
    seconds : float or None
        The exposure that they are scaled for.

    Returns
    -------
    tuple of Candidate
    """
    # A header may say an exposure of 1e-300 s: a scale beyond all limits.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lags = number_or_nan(day_of(frame.night)) - shelf.days
        own = np.zeros(len(lags), bool)
        own[shelf.places.get(frame.night, [])] = True
        lags[own] = 0
        strange, apart = np.isnan(lags), np.abs(lags)
        apart[strange] = 0.0
        scale, exact, up = _scales(shelf, kind, frame, seconds)
        usable = known = np.ones(len(own), bool)
        warmer = np.zeros(len(own))
        degrees = frame.set_temperature, frame.temperature
        if kind == DARK:
            off = temperature_differences(shelf.set_points, shelf.sensors, degrees)
            known = np.isfinite(off)
            usable = np.isfinite(scale) & ~(off > rules.temperature_tolerance)
            usable &= exact | ~is_too_long(
                number_or_nan(frame.exptime) / shelf.exptimes, rules.scale_up
            )
        else:
            degrees = tuple(map(tenths, degrees))
            warmer = degrees_warmer(shelf.set_points, shelf.sensors, degrees, rules)
        variance, ageing = _predicted(shelf, kind, noise, scale, apart, seconds, warmer)
        # A scaled dark leaves a part of its bias, if it is the frame's as well: `pairs` knows.
        # A dark of a vanishing exposure has a scale without end, and is no candidate.
        left = (1 - scale) ** 2 * shelf.bias_variances if kind == DARK else 0.0
        added = variance + left
    later = ~own & ~(lags >= 0)
    is_last = later & (rules.direction != "nearest")
    tier = _LATER * is_last + _SCALED_UP * up
    first_by = np.where(is_last, apart, 0.0)
    # Keys that all masters have alike decide nothing.
    goes_first = exact
    if kind == DARK and not (exact & usable & ~is_last & (apart <= EXACT_NIGHTS)).any():
        # Exact darks of another season compete with scaled ones of these weeks.
        goes_first = exact | ((apart <= EXACT_NIGHTS) & ~is_last & ~up)
    keys = [tier, ~own if rules.same_night else None, ~goes_first if kind == DARK else None]
    keys += [strange if strange.any() else None, first_by if is_last.any() else None]
    keys = [key for key in (*keys, added, apart) if key is not None]
    order = _first(np.flatnonzero(usable), keys)
    columns = (lags, own, scale, exact, up, known, variance, warmer, ageing)
    return tuple(
        _candidate(shelf, index, *(column[index] for column in columns)) for index in order
    )


def _first(some, keys):
    """Return the indices that come first by some keys, the most important key first."""
    for key in keys:
        if len(some) <= MOST_CANDIDATES:
            break
        values = key[some]
        last = np.partition(values, MOST_CANDIDATES - 1)[MOST_CANDIDATES - 1]
        some = some[values <= last]
        if values.min() < last:
            # Later keys decide among equals only.
            break
    return some[np.lexsort([some, *(key[some] for key in reversed(keys))])][:MOST_CANDIDATES]


def _scales(shelf, kind, frame, seconds):
    """Return each master's scale, whether it needs none, and whether it is stretched.

    The scale is that for ``seconds``, the rest that of the frame itself.
    """
    count = len(shelf.masters)
    if kind != DARK:
        return np.ones(count), np.ones(count, bool), np.zeros(count, bool)
    wanted = number_or_nan(frame.exptime)
    exact = is_same_exposure(shelf.exptimes, wanted)
    scale = np.where(exact, 1.0, number_or_nan(seconds) / shelf.exptimes)
    scale[~exact & ~(shelf.exptimes > 0)] = np.nan
    return scale, exact, ~exact & (wanted / shelf.exptimes > STRETCHED)


def _predicted(shelf, kind, noise, scale, apart, seconds, warmer):
    """Return the variance that each master is predicted to add to a pixel, and its ageing."""
    if kind == FLAT:
        ageing = noise.flat_ageing * apart + (noise.flat_warming * warmer) ** 2
        return 1 / (shelf.frames * noise.flat_level) + ageing, ageing
    if kind == BIAS:
        ageing = noise.bias_ageing * apart + (noise.bias_warming * warmer) ** 2
        return noise.read_noise**2 / shelf.frames + ageing, ageing
    one = noise.read_noise**2 + noise.dark_rate * shelf.exptimes
    ageing = noise.dark_ageing * number_or_nan(seconds) ** 2 * apart
    return scale**2 * one / shelf.frames + ageing, ageing


def _candidate(shelf, index, lag, own, scale, exact, up, known, variance, warmer, ageing):
    """Return the `Candidate` that a row of a shelf's columns is, with its remarks."""
    remarks = []
    if not own:
        remarks.append(match_words.lag_words(lag))
    if not exact:
        remarks.append(scaled_words(scale))
    if not known:
        remarks.append(TEMPERATURE_UNKNOWN)
    if warmer:
        remarks.append(match_words.warmer_words(warmer))
    return Candidate(
        shelf.masters[index],
        None if np.isnan(lag) else int(lag),
        float(scale),
        float(variance),
        "C" if up else "B" if remarks else "A",
        tuple(remarks),
        float(warmer),
        float(ageing),
    )
