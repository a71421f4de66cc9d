"""The masters of a setup in columns, and which of them go first for a frame: arrays only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache

import numpy as np

from ccdflow.calibrate.chain import EXACT_PART, EXACT_SECONDS
from ccdflow.kinds.matching import match_words
from ccdflow.kinds.matching.candidates import (
    BIAS,
    DARK,
    FLAT,
    MOST_CANDIDATES,
    STRAY,
    Candidate,
)
from ccdflow.kinds.matching.match_words import STRETCHED

# Tiers of candidates: a later night counts only where no earlier one has a master that needs no
# scaling up.
_EARLIER, _LATER, _EARLIER_SCALED_UP, _LATER_SCALED_UP = range(4)

_NO_NUMBER = np.nan


@cache
def day_of(night):
    """Return the day number of a night's date, or None where its name is no date."""
    try:
        return date.fromisoformat(night[:10]).toordinal()
    except ValueError:
        return None


@dataclass(frozen=True)
class Shelf:
    """Masters of one kind, setup and filter, in columns; their exposures and temperatures once."""

    masters: tuple
    days: np.ndarray
    nights: np.ndarray
    frames: np.ndarray
    exptimes: np.ndarray
    set_points: np.ndarray
    sensors: np.ndarray
    exposures: tuple
    temperatures: tuple
    _warm: dict = field(default_factory=dict)
    _flags: dict = field(default_factory=dict)

    def exposure_flags(self, seconds, rules):
        """Return which of the exposures are equal to another one, or may be scaled to it.

        Parameters
        ----------
        seconds : float
            The frame's exposure.
        rules : Rules

        Returns
        -------
        tuple of (bool, int)
        """
        if seconds not in self._flags:
            reach = max(EXACT_SECONDS, EXACT_PART * abs(seconds))
            self._flags[seconds] = tuple(
                (
                    abs(own - seconds) <= reach,
                    own > 0 and (seconds / own > STRETCHED) + (seconds / own > rules.scale_up),
                )
                for own in self.exposures
            )
        return self._flags[seconds]

    def warm(self, frame, rules):
        """Return which of the temperatures are another than a frame's, and which nobody knows.

        Parameters
        ----------
        frame : ToCalibrate
        rules : Rules

        Returns
        -------
        bytes
            A byte a temperature: 1 for another one, 2 for a known one, 3 for both.
        """
        question = frame.set_temperature, frame.temperature
        if question not in self._warm:
            with np.errstate(invalid="ignore"):
                off = _temperature_difference(*self.temperatures, frame)
                flags = (off > rules.temperature_tolerance) + 2 * np.isfinite(off)
            self._warm[question] = flags.tobytes()
        return self._warm[question]


def shelf_of(masters):
    """Return the `Shelf` of some masters of one kind, setup and filter."""
    abouts = [master.about for master in masters]
    exptimes = _column([about.exptime for about in abouts])
    degrees = [
        _column([about.set_temperature for about in abouts]),
        _column([about.temperature for about in abouts]),
    ]
    return Shelf(
        tuple(masters),
        _column([day_of(about.night) for about in abouts]),
        np.array([about.night for about in abouts]),
        _column([master.frames for master in masters]),
        exptimes,
        *degrees,
        tuple(np.unique(exptimes[np.isfinite(exptimes)]).tolist()),
        tuple(np.unique(degrees, axis=1)),
    )


def question(shelf, kind, frame, rules):
    """Return all that a frame's answer depends on, and the exposure for which masters are ranked.

    Thousands of frames differ by a thousandth of a second or a hundredth of a degree, and have
    the same answer: what counts is which masters are exact, may be scaled, are of the temperature.
    All that a scaled dark adds goes with the square of the exposure, so that the order is the same.

    Parameters
    ----------
    shelf : Shelf or None
        The masters of its setup.
    kind : {'bias', 'dark', 'flat'}
    frame : ToCalibrate
    rules : Rules

    Returns
    -------
    question : tuple
    seconds : float or None
    """
    if kind != DARK:
        return (kind, frame.setup, frame.night, frame.filter if kind == FLAT else ""), None
    seconds = frame.exptime
    asked = (kind, frame.setup, frame.night)
    if shelf is None or seconds is None:
        return (*asked, seconds), seconds
    # The rounding is the frame's own: other frames of the archive do not change it.
    rounded = float(f"{seconds:.4g}")
    return (
        *asked,
        rounded,
        shelf.exposure_flags(seconds, rules),
        shelf.warm(frame, rules),
    ), rounded


def rescaled(candidate, seconds):
    """Return a scaled candidate as it is for an exposure.

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
    variance = candidate.variance * (scale / candidate.scale) ** 2
    return replace(candidate, scale=scale, variance=variance, remarks=tuple(remarks))


def scaled_words(scale):
    """Return how a dark is scaled: ``scaled down by 0.5``."""
    return f"scaled {'up' if scale > 1 else 'down'} by {scale:.4g}"


def _column(values):
    return np.array([_number(value) for value in values])


def _number(value):
    return _NO_NUMBER if value is None else float(value)


def ranked(shelf, kind, frame, noise, rules, seconds):
    """Return the candidates on a shelf that a frame may take, the best first.

    They are scaled for an exposure of ``seconds``.

    Parameters
    ----------
    shelf : Shelf
    kind : {'bias', 'dark', 'flat'}
    frame : ToCalibrate
    noise : DetectorNoise
    rules : Rules
    seconds : float or None
        The exposure that they are scaled for.

    Returns
    -------
    list of Candidate
    """
    # A header may say an exposure of 1e-300 s: a scale beyond all limits.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lags = _number(day_of(frame.night)) - shelf.days
        own = shelf.nights == frame.night
        lags[own] = 0
        apart = np.nan_to_num(np.abs(lags))
        scale, exact, up = _scales(shelf, kind, frame, seconds)
        usable, known = np.ones(len(own), bool), np.ones(len(own), bool)
        if kind == DARK:
            off = _temperature_difference(shelf.set_points, shelf.sensors, frame)
            known = np.isfinite(off)
            usable = np.isfinite(scale) & ~(off > rules.temperature_tolerance)
            usable &= exact | (_number(frame.exptime) / shelf.exptimes <= rules.scale_up)
        variance = _predicted(shelf, kind, noise, scale, apart, seconds)
    later = ~own & ~(lags >= 0)
    is_last = later & (rules.direction != "nearest")
    tier = is_last + np.where(up, _EARLIER_SCALED_UP, _EARLIER)
    first_by = np.where(is_last, apart, 0.0)
    strange = np.isnan(lags)
    order = _first(
        np.flatnonzero(usable),
        (tier, ~own & rules.same_night, ~exact, strange, first_by, variance, apart),
    )
    return tuple(
        _candidate(shelf, index, lags, own, scale, exact, up, known, variance) for index in order
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
    wanted = _number(frame.exptime)
    exact = _is_exact(shelf.exptimes, wanted)
    scale = np.where(exact, 1.0, _number(seconds) / shelf.exptimes)
    scale[~exact & ~(shelf.exptimes > 0)] = _NO_NUMBER
    return scale, exact, ~exact & (wanted / shelf.exptimes > STRETCHED)


def _is_exact(exptimes, seconds):
    return np.abs(exptimes - seconds) <= max(EXACT_SECONDS, EXACT_PART * abs(seconds))


def is_same_exposure(one, other):
    """Tell whether two exposure times in seconds are equal: within 0.1 s, or 0.1 %.

    Parameters
    ----------
    one, other : float
        Seconds.
    """
    return abs(one - other) <= max(EXACT_SECONDS, EXACT_PART * abs(other))


def temperatures_apart(about, frame):
    """Return by how many degrees a master is warmer than a frame, None where nobody knows.

    Parameters
    ----------
    about : ToCalibrate
        Of the master.
    frame : ToCalibrate

    Returns
    -------
    float or None
    """
    return degrees_apart(
        (about.set_temperature, about.temperature), (frame.set_temperature, frame.temperature)
    )


def degrees_apart(master, frame):
    """Return by how many degrees a master is warmer than a frame, None where nobody knows.

    Parameters
    ----------
    master, frame : sequence of (float or None)
        Set point and sensor.
    """
    (set_point, sensor), (own_set_point, own_sensor) = master, frame
    off = None if sensor is None or own_sensor is None else sensor - own_sensor
    if set_point is None or own_set_point is None:
        return off
    by_set_point = set_point - own_set_point
    if off is None or abs(off) <= STRAY:
        return by_set_point
    return max(by_set_point, off, key=abs)


def _temperature_difference(set_points, sensors, frame):
    """Return by how many degrees each master differs: NaN where one of the two is unknown.

    Set points are compared where both have one: a sensor moves by a step of its converter. Where
    it moves by more, the cooler did not reach its set point.
    """
    by_set_point = np.abs(set_points - _number(frame.set_temperature))
    by_sensor = np.abs(sensors - _number(frame.temperature))
    farther = np.where(by_sensor > STRAY, np.fmax(by_set_point, by_sensor), by_set_point)
    return np.where(np.isfinite(by_set_point), farther, by_sensor)


def _predicted(shelf, kind, noise, scale, apart, seconds):
    """Return the variance that each master is predicted to add to a pixel."""
    if kind == FLAT:
        return 1 / (shelf.frames * noise.flat_level) + noise.flat_ageing * apart
    if kind == BIAS:
        return noise.read_noise**2 / shelf.frames + noise.bias_ageing * apart
    one = noise.read_noise**2 + noise.dark_rate * shelf.exptimes
    ageing = noise.dark_ageing * _number(seconds) ** 2
    return scale**2 * one / shelf.frames + ageing * apart


def _candidate(shelf, index, lags, own, scale, exact, up, known, variance):
    remarks = []
    if not own[index]:
        remarks.append(match_words.lag_words(lags[index]))
    if not exact[index]:
        remarks.append(scaled_words(scale[index]))
    if not known[index]:
        remarks.append("temperature unknown")
    grade = "C" if up[index] else "B" if remarks else "A"
    lag = None if np.isnan(lags[index]) else int(lags[index])
    return Candidate(
        shelf.masters[index],
        lag,
        float(scale[index]),
        float(variance[index]),
        grade,
        tuple(remarks),
    )
