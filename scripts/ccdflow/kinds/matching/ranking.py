"""The masters of a setup in columns, and which of them go first for a frame: arrays only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache

import numpy as np

from ccdflow.calibrate.chain import EXACT_PART, is_same_exposure
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.matching import match_words
from ccdflow.kinds.matching.candidates import (
    BIAS,
    DARK,
    EXACT_NIGHTS,
    FLAT,
    MOST_CANDIDATES,
    STRAY,
    TEMPERATURE_UNKNOWN,
    Candidate,
)
from ccdflow.kinds.matching.match_words import STRETCHED

# Tiers of candidates: a later night counts only where the own and earlier ones have none at all,
# or a night that is added would change older frames. Darks that are scaled up come after others.
_LATER, _SCALED_UP = 2, 1


@cache
def day_of(night):
    """Return the day number of a night's date, or None where its name is no date."""
    try:
        return date.fromisoformat(night[:10]).toordinal()
    except ValueError:
        return None


@dataclass(frozen=True)
class Shelf:
    """Masters of one kind, setup and filter, in columns.

    Attributes
    ----------
    masters : tuple of OfferedMaster
    days : numpy.ndarray of shape (n,)
        Of each master its night as a day, NaN where it has none.
    places : dict of str to list of int
        The masters of each night.
    frames : numpy.ndarray of shape (n,)
        Numbers of members.
    exptimes : numpy.ndarray of shape (n,)
        Seconds; NaN where it is not known.
    bias_variances : numpy.ndarray of shape (n,)
        Of the bias that was subtracted from the members.
    set_points, sensors : numpy.ndarray of shape (n,)
        Temperatures, degrees; NaN where they are not known.
    exposures : numpy.ndarray
        Each exposure time once.
    temperatures : tuple of numpy.ndarray
        Set points, and the sensor's temperatures, of each pair once.
    """

    masters: tuple
    days: np.ndarray
    places: dict
    frames: np.ndarray
    exptimes: np.ndarray
    bias_variances: np.ndarray
    set_points: np.ndarray
    sensors: np.ndarray
    exposures: np.ndarray
    temperatures: tuple
    _warm: dict = field(default_factory=dict)
    _warmer: dict = field(default_factory=dict)
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
        bytes
            A byte an exposure: 1 for an equal one, 2 and 4 for one that is too short.
        """
        if seconds not in self._flags:
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                ratio = seconds / self.exposures
            exact = is_same_exposure(self.exposures, seconds)
            flags = exact + 2 * (ratio > STRETCHED) + 4 * is_too_long(ratio, rules.scale_up)
            self._flags[seconds] = flags.astype(np.uint8).tobytes()
        return self._flags[seconds]

    def warm(self, degrees, rules):
        """Return which of the temperatures are another than a frame's, and which are unknown.

        Parameters
        ----------
        degrees : (float or None, float or None)
            Set point and sensor of the frame.
        rules : ccdflow.kinds.matching.candidates.Rules

        Returns
        -------
        bytes
            A byte a temperature: 1 for another one, 2 for a known one, 3 for both.
        """
        if degrees not in self._warm:
            with np.errstate(invalid="ignore"):
                off = _temperature_difference(*self.temperatures, degrees)
                flags = (off > rules.temperature_tolerance) + 2 * np.isfinite(off)
            self._warm[degrees] = flags.astype(np.uint8).tobytes()
        return self._warm[degrees]

    def warmer(self, degrees, rules):
        """Return by how many degrees each of the temperatures is warmer than a frame.

        Parameters
        ----------
        degrees : (float or None, float or None)
            Set point and sensor of the frame.
        rules : ccdflow.kinds.matching.candidates.Rules

        Returns
        -------
        bytes
            Of an array of float64.
        """
        if degrees not in self._warmer:
            self._warmer[degrees] = _degrees_warmer(*self.temperatures, degrees, rules).tobytes()
        return self._warmer[degrees]


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
        _places(about.night for about in abouts),
        _column([master.frames for master in masters]),
        exptimes,
        _column([master.bias_variance for master in masters]),
        *degrees,
        np.unique(exptimes[np.isfinite(exptimes)]),
        tuple(np.unique(degrees, axis=1)),
    )


def _places(nights):
    places = {}
    for place, night in enumerate(nights):
        places.setdefault(night, []).append(place)
    return places


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


def _column(values):
    return np.array([number_or_nan(value) for value in values])


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
            off = _temperature_difference(shelf.set_points, shelf.sensors, degrees)
            known = np.isfinite(off)
            usable = np.isfinite(scale) & ~(off > rules.temperature_tolerance)
            usable &= exact | ~is_too_long(
                number_or_nan(frame.exptime) / shelf.exptimes, rules.scale_up
            )
        else:
            degrees = tuple(map(tenths, degrees))
            warmer = _degrees_warmer(shelf.set_points, shelf.sensors, degrees, rules)
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


def temperatures_apart(about, frame):
    """Return by how many degrees a master is warmer than a frame, None where unknown.

    Parameters
    ----------
    about : ObservedAs
        Of the master.
    frame : ObservedAs

    Returns
    -------
    float or None
    """
    return degrees_apart(
        (about.set_temperature, about.temperature), (frame.set_temperature, frame.temperature)
    )


def degrees_apart(master, frame):
    """Return by how many degrees a master is warmer than a frame, None where unknown.

    Parameters
    ----------
    master, frame : sequence of (float or None)
        Set point and sensor.

    Returns
    -------
    float or None
    """
    (set_point, sensor), (own_set_point, own_sensor) = master, frame
    off = None if sensor is None or own_sensor is None else sensor - own_sensor
    if set_point is None or own_set_point is None:
        return off
    by_set_point = set_point - own_set_point
    if off is None or abs(off) <= STRAY:
        return by_set_point
    return max(by_set_point, off, key=abs)


def _temperature_difference(set_points, sensors, degrees):
    """Return by how many degrees each master differs: NaN where one of the two is unknown.

    Set points are compared where both have one: a sensor moves by a step of its converter. Where
    it moves by more, the cooler did not reach its set point.
    """
    by_set_point = np.abs(set_points - number_or_nan(degrees[0]))
    by_sensor = np.abs(sensors - number_or_nan(degrees[1]))
    farther = np.where(by_sensor > STRAY, np.fmax(by_set_point, by_sensor), by_set_point)
    return np.where(np.isfinite(by_set_point), farther, by_sensor)


def tenths(degrees):
    """Return a temperature as biases and flats are compared by it."""
    return None if degrees is None else round(degrees, 1)


def _degrees_warmer(set_points, sensors, degrees, rules):
    """Return by how many degrees each bias or flat is warmer than a frame: 0 for nothing.

    These depend little on temperature: what is unknown, within the tolerance, or a sensor's own
    unrest where nobody set it, is no difference. Set points count to a tenth, sensors to a degree.

    Parameters
    ----------
    set_points, sensors : numpy.ndarray
    degrees : (float or None, float or None)
        Set point and sensor of the frame.
    rules : ccdflow.kinds.matching.candidates.Rules
    """
    by_set_point = set_points - number_or_nan(degrees[0])
    by_sensor = sensors - number_or_nan(degrees[1])
    with np.errstate(invalid="ignore"):
        off = np.where(np.abs(by_set_point) > rules.temperature_tolerance, by_set_point, 0.0)
        is_far = (np.abs(by_sensor) > STRAY) & ~(np.abs(by_sensor) <= np.abs(off))
    # Added to 0, as -0 would be another answer.
    return np.where(is_far, np.round(by_sensor), np.round(off, 1)) + 0.0


def is_too_long(scale, scale_up):
    """Tell whether a dark would be scaled up by more than is allowed, to a thousandth.

    Parameters
    ----------
    scale : float or numpy.ndarray
    scale_up : float
        The factor that is allowed.

    Returns
    -------
    bool
    """
    return scale > scale_up * (1 + EXACT_PART)


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
