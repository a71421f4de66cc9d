"""Which master calibrates a frame, and why: a pure function of the inventory and the profiles.

Nothing here opens a file. What is known of a master before it is made (its night, its frames, their
exposure and temperature) predicts the variance that it adds to a frame; the master that adds the
least is taken. The choice therefore depends on the archive alone, and not on the order of runs.
docs/calibration.md gives the rule in the user's words.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache

import numpy as np

from ccdflow.frame.chain import EXACT_PART, EXACT_SECONDS
from ccdflow.kinds import match_words
from ccdflow.kinds.match_words import STRETCHED

BIAS, DARK, FLAT = "bias", "dark", "flat"

STRAY = 2.0
"""Degrees: of frames with one set point whose sensors differ by more, one was not kept at it."""

MOST_CANDIDATES = 5
"""A frame looks at so many masters of each kind, at most, where the first ones are refused."""

# The places of a candidate among the others: a later night counts only where no earlier one has
# a master that needs no scaling up.
_EARLIER, _LATER, _EARLIER_SCALED_UP, _LATER_SCALED_UP = range(4)

_NO_NUMBER = np.nan


@dataclass(frozen=True, slots=True)
class Rules:
    """How a master is chosen: the settings of ``calibrate:``.

    Attributes
    ----------
    direction : {'causal', 'nearest'}
        causal: masters of the frame's own night and of earlier nights compete; a later one is taken
        only where they have none. nearest: all compete.
    same_night : bool
        A master of the frame's own night wins whenever there is one.
    scale_up : float
        A dark is scaled up to an exposure longer by this factor at most; 1 forbids it.
    temperature_tolerance : float
        Degrees by which a dark's temperature may differ from the frame's.
    """

    direction: str = "causal"
    same_night: bool = False
    scale_up: float = 2.5
    temperature_tolerance: float = 0.5


@dataclass(frozen=True, slots=True)
class Noise:
    """What is known of a detector before its frames are measured.

    Attributes
    ----------
    read_noise : float
        Electrons.
    dark_rate : float
        Electrons a second; 0 if unknown.
    flat_level : float
        Electrons in a pixel of a single flat.
    bias_ageing : float
        Electrons^2 by which a bias departs from the truth, for each day between.
    dark_ageing : float
        (Electrons a second)^2 for each day between.
    flat_ageing : float
        Relative variance of a flat for each day between.
    """

    read_noise: float = 8.0
    dark_rate: float = 0.0
    flat_level: float = 20_000.0
    bias_ageing: float = 0.01
    dark_ageing: float = 1e-6
    flat_ageing: float = 1e-7


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame (or the frames of a master) that is to be calibrated.

    Attributes
    ----------
    setup : tuple of (str, str)
        Everything that must be equal, name and value: camera, amplifiers, gain, mode, binning ...
    night : str
    exptime : float or None
        Seconds.
    filter : str
    set_temperature, temperature : float or None
        Degrees: the set point of the cooler, and the sensor.
    """

    setup: tuple
    night: str
    exptime: float | None = None
    filter: str = ""
    set_temperature: float | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Master:
    """A combined bias, dark or flat that there is, or that is to be made.

    Attributes
    ----------
    product : str
        Its path relative to the results folder.
    kind : {'bias', 'dark', 'flat'}
    about : Frame
        What its members have in common.
    frames : int
        Members, as the inventory counts them.
    """

    product: str
    kind: str
    about: Frame
    frames: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A master that a frame could be calibrated with.

    Attributes
    ----------
    master : Master
    lag : int or None
        Days from the master's night to the frame's: negative for a later night; None where one of
        them has no date.
    scale : float
        What the master is multiplied by.
    variance : float
        Electrons^2 in a pixel that it is predicted to add; of a flat, in units of the signal^2.
    grade : {'A', 'B', 'C'}
    remarks : tuple of str
        What keeps it from grade A.
    """

    master: Master
    lag: int | None
    scale: float
    variance: float
    grade: str
    remarks: tuple = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The masters of one kind for a frame, the best one first.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    candidates : tuple of Candidate
    needed : bool
        False where the step changes nothing: the dark of an exposure that is too short to have any.
    missing : str
        Why there is no candidate, and what there is; '' where there is one.
    """

    kind: str
    candidates: tuple = ()
    needed: bool = True
    missing: str = ""

    @property
    def best(self):
        """The candidate to be taken, or None."""
        return self.candidates[0] if self.candidates else None

    @property
    def grade(self):
        """The grade that this step gives the frame."""
        if self.candidates:
            return self.candidates[0].grade
        return "C" if self.needed else "A"


@cache
def day_of(night):
    """Return the day number of a night's date, or None where its name is no date."""
    try:
        return date.fromisoformat(night[:10]).toordinal()
    except ValueError:
        return None


@dataclass(frozen=True)
class _Shelf:
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
        """Return which of the exposures are equal to another one, or may be scaled to it."""
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
        """Return which of the temperatures are another than a frame's, and which nobody knows."""
        question = frame.set_temperature, frame.temperature
        if question not in self._warm:
            with np.errstate(invalid="ignore"):
                off = _temperature_difference(*self.temperatures, frame)
                flags = (off > rules.temperature_tolerance) + 2 * np.isfinite(off)
            self._warm[question] = flags.tobytes()
        return self._warm[question]


class Masters:
    """The masters of an archive, to be asked which of them a frame takes.

    Parameters
    ----------
    masters : iterable of Master
    rules : Rules, optional
    noise : callable, optional
        Takes a setup and returns its `Noise`.
    """

    def __init__(self, masters, rules=None, noise=None):
        self.rules = rules or Rules()
        self._noise = noise or (lambda setup: Noise())
        self._by_kind = defaultdict(list)
        shelves = defaultdict(list)
        for master in sorted(masters, key=lambda master: master.product):
            self._by_kind[master.kind].append(master)
            shelves[_shelf_name(master.kind, master.about)].append(master)
        self._shelves = {name: _shelf(found) for name, found in shelves.items()}
        self._answers = {}

    def choose(self, kind, frame):
        """Return the `Choice` of masters of a kind for a frame.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
        frame : Frame

        Returns
        -------
        Choice
        """
        if kind == DARK and not _needs_dark(frame, self._noise(frame.setup)):
            return Choice(kind, needed=False)
        shelf = self._shelves.get(_shelf_name(kind, frame))
        question, seconds = _question(shelf, kind, frame, self.rules)
        if question not in self._answers:
            self._answers[question] = self._choose(shelf, kind, frame, seconds)
        choice = self._answers[question]
        if seconds == frame.exptime or all(each.scale == 1 for each in choice.candidates):
            return choice
        question = (*question, frame.exptime)
        if question not in self._answers:
            found = tuple(_rescaled(each, frame.exptime) for each in choice.candidates)
            self._answers[question] = replace(choice, candidates=found)
        return self._answers[question]

    def _choose(self, shelf, kind, frame, seconds):
        noise = self._noise(frame.setup)
        found = () if shelf is None else _ranked(shelf, kind, frame, noise, self.rules, seconds)
        missing = "" if found else self._why_none(kind, replace(frame, exptime=seconds))
        return Choice(kind, found, missing=missing)

    # -- refusals, in words ------------------------------------------------------------------------

    def passed_over(self, kind, frame, nights):
        """Return the masters of some nights that a frame may not take, and why.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
        frame : Frame
        nights : set of str

        Returns
        -------
        list of (Master, str)
        """
        found = []
        for master in self._by_kind[kind]:
            if master.about.night in nights and (why := self.why_not(kind, frame, master)):
                found.append((master, why))
        return found

    def why_not(self, kind, frame, master):
        """Return in a few words which criterion a master does not meet; '' if it meets all."""
        about = master.about
        if about.setup != frame.setup:
            return match_words.how(about, frame)
        if kind == FLAT and about.filter != frame.filter:
            return "other filter"
        if kind != DARK:
            return ""
        off = temperatures_apart(about, frame)
        if off is not None and abs(off) > self.rules.temperature_tolerance:
            return f"{abs(off):.3g} C {'warmer' if off > 0 else 'colder'}"
        if frame.exptime is None or not about.exptime:
            return "an exposure is unknown"
        scale = frame.exptime / about.exptime
        is_exact = is_same_exposure(about.exptime, frame.exptime)
        if scale > self.rules.scale_up and not is_exact:
            return f"would be scaled up {scale:.2g} times"
        return ""

    def _why_none(self, kind, frame):
        """Return which criterion no master meets, and the masters that come nearest."""
        wanted = match_words.wanted_words(kind, frame)
        if not self._by_kind[kind]:
            return f"no {kind} {wanted}: there is none at all"
        same = [m for m in self._by_kind[kind] if m.about.setup == frame.setup]
        others = [m for m in self._by_kind[kind] if m.about.setup != frame.setup]
        if kind == FLAT and any(m.about.filter == frame.filter for m in others):
            others = [m for m in others if m.about.filter == frame.filter]
        parts = [self._what_there_is(kind, same)] if same else []
        if others and (kind == FLAT or not same):
            nearest = min(others, key=lambda m: (match_words.distance(m.about, frame), m.product))
            words, how = match_words.words_of(nearest, kind), match_words.how(nearest.about, frame)
            parts.append(f"nearest {words} with {how}")
        return f"no {kind} {wanted}: {'; '.join(parts)}"

    def _what_there_is(self, kind, masters):
        """Return the masters of the frame's own setup, and what a dark has to keep to."""
        text = f"there are {match_words.some_masters(masters, kind)}"
        if kind == DARK:
            text += (
                f"; allowed: scaled up {self.rules.scale_up:g} times at most, and a temperature"
                f" within {self.rules.temperature_tolerance:g} C"
            )
        return text


def _shelf_name(kind, about):
    return kind, about.setup, about.filter if kind == FLAT else ""


def _shelf(masters):
    abouts = [master.about for master in masters]
    exptimes = _column([about.exptime for about in abouts])
    degrees = [
        _column([about.set_temperature for about in abouts]),
        _column([about.temperature for about in abouts]),
    ]
    return _Shelf(
        tuple(masters),
        _column([day_of(about.night) for about in abouts]),
        np.array([about.night for about in abouts]),
        _column([master.frames for master in masters]),
        exptimes,
        *degrees,
        tuple(np.unique(exptimes[np.isfinite(exptimes)]).tolist()),
        tuple(np.unique(degrees, axis=1)),
    )


def _question(shelf, kind, frame, rules):
    """Return what a frame's answer depends on, and the exposure for which masters are ranked.

    Thousands of frames differ by a thousandth of a second or a hundredth of a degree, and have
    the same answer: what counts is which masters are exact, may be scaled, are of the temperature.
    All that a scaled dark adds goes with the square of the exposure, so that the order is the same.

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
    # The rounding is the frame's own: what else there is in the archive does not change it.
    rounded = float(f"{seconds:.4g}")
    return (
        *asked,
        rounded,
        shelf.exposure_flags(seconds, rules),
        shelf.warm(frame, rules),
    ), rounded


def _rescaled(candidate, seconds):
    """Return a scaled candidate as it is for an exposure."""
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


def _needs_dark(frame, noise):
    """Tell whether a frame is long enough for its dark current to matter.

    Below a tenth of the read noise the dark would add more than it takes away.
    """
    if frame.exptime is not None and frame.exptime <= 0:
        return False
    if not noise.dark_rate or frame.exptime is None:
        return True
    return frame.exptime * noise.dark_rate >= noise.read_noise / 10


def _number(value):
    return _NO_NUMBER if value is None else float(value)


def _ranked(shelf, kind, frame, noise, rules, seconds):
    """Return the candidates on a shelf that a frame may take, the best first.

    They are scaled for an exposure of ``seconds``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
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
    """Tell whether two exposure times in seconds are equal: within 0.1 s, or 0.1 %."""
    return abs(one - other) <= max(EXACT_SECONDS, EXACT_PART * abs(other))


def temperatures_apart(about, frame):
    """Return by how many degrees a master is warmer than a frame, None where nobody knows."""
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
