"""The masters of a setup in columns, and which of them go first for a frame: arrays only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from typing import NamedTuple

import numpy as np

from ccdflow.calibrate.chain import EXACT_PART, is_same_exposure
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.matching import match_words
from ccdflow.kinds.matching.candidates import (
    DARK,
    EXACT_NIGHTS,
    FLAT,
    MOST_CANDIDATES,
    STRAY,
    TEMPERATURE_UNKNOWN,
    Candidate,
    DetectorNoise,
    ObservedAs,
    Rules,
)
from ccdflow.kinds.matching.match_words import STRETCHED

# Tiers of candidates: a later night counts only where the own and earlier ones have none at all,
# or a night that is added would change older frames. Darks that are scaled up come after others.
_LATER, _SCALED_UP = 2, 1
# Masters that are sorted whole; of more, those that come first are sought.
_FEW = 128


@cache
def day_of(night):
    """Return the day number of a night's date, or None where its name is no date."""
    try:
        return date.fromisoformat(night[:10]).toordinal()
    except ValueError:
        return None


@dataclass(frozen=True)
class Shelf:
    """Masters of one kind, setup and filter, in columns: oldest first, undated ones last.

    Attributes
    ----------
    masters : tuple of OfferedMaster
    places : numpy.ndarray of shape (n,)
        Of each master its place in the order of products, which decides between equal ones.
    days : numpy.ndarray of shape (n,)
        Its night as a day, NaN where it has none.
    dated : numpy.ndarray
        The days of those that have one.
    nights : numpy.ndarray of shape (n,)
        The number of its night.
    numbers : dict of str to int
        The number of each night.
    frames : numpy.ndarray of shape (n,)
        Numbers of members.
    most_until, most_from : numpy.ndarray of shape (n,)
        Most members of a master up to each one, and from each one on.
    exptimes : numpy.ndarray of shape (n,)
        Seconds; NaN where it is not known.
    bias_variances : numpy.ndarray of shape (n,)
        Of the bias that was subtracted from the members.
    exposures : numpy.ndarray
        Each exposure time once.
    temperatures : tuple of numpy.ndarray
        Set points, and the sensor's temperatures, degrees, of each pair once; NaN where they are
        not known.
    pairs : numpy.ndarray of shape (n,)
        Of each master the place of its pair of temperatures.
    """

    masters: tuple
    places: np.ndarray
    days: np.ndarray
    dated: np.ndarray
    nights: np.ndarray
    numbers: dict
    frames: np.ndarray
    most_until: np.ndarray
    most_from: np.ndarray
    exptimes: np.ndarray
    bias_variances: np.ndarray
    exposures: np.ndarray
    temperatures: tuple
    pairs: np.ndarray
    _warm: dict = field(default_factory=dict)
    _warmer: dict = field(default_factory=dict)
    _flags: dict = field(default_factory=dict)
    _by_product: dict = field(default_factory=dict)

    def place_of(self, product):
        """Return the place of a master on the shelf, None where it is not there."""
        if not self._by_product:
            # A master of several nights is there for each of them: its first one is meant.
            for place in np.argsort(self.places):
                self._by_product.setdefault(self.masters[place].product, int(place))
        return self._by_product.get(product)

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
    """Return the `Shelf` of masters of a kind, setup and filter, given in the order of products."""
    masters = tuple(masters)
    days = _column([day_of(master.about.night) for master in masters])
    places = np.argsort(days, kind="stable")
    masters, days = tuple(masters[place] for place in places), days[places]
    abouts = [master.about for master in masters]
    exptimes = _column([about.exptime for about in abouts])
    frames = _column([master.frames for master in masters])
    nights, numbers = _numbered(about.night for about in abouts)
    pairs, degrees = _numbered((about.set_temperature, about.temperature) for about in abouts)
    return Shelf(
        masters=masters,
        places=places,
        days=days,
        dated=days[np.isfinite(days)],
        nights=nights,
        numbers=numbers,
        frames=frames,
        most_until=np.maximum.accumulate(frames),
        most_from=np.maximum.accumulate(frames[::-1])[::-1],
        exptimes=exptimes,
        bias_variances=_column([master.bias_variance for master in masters]),
        exposures=np.unique(exptimes[np.isfinite(exptimes)]),
        temperatures=tuple(map(_column, zip(*degrees, strict=True))),
        pairs=pairs,
    )


def _numbered(values):
    """Return the number of each of some values, and {value: its number}."""
    numbers = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values]), numbers


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


class _Asked(NamedTuple):
    """A frame's question to a shelf, as of `ranked`."""

    shelf: Shelf
    kind: str
    frame: ObservedAs
    noise: DetectorNoise
    rules: Rules
    seconds: float | None

    @property
    def is_causal(self):
        """Whether a later master counts only where there is no other."""
        return self.rules.direction != "nearest"

    def within(self, reach):
        """Return the masters at most so many days away, and the undated ones.

        A causal rule has later ones among them where ``reach`` is infinite only.
        """
        days, dated, day = self.shelf.days, self.shelf.dated, day_of(self.frame.night)
        if day is None or math.isinf(reach):
            return slice(0, len(days))
        first = int(dated.searchsorted(day - reach))
        last = int(dated.searchsorted(day if self.is_causal else day + reach, "right"))
        if len(dated) == len(days):
            return slice(first, last)
        return np.concatenate([np.arange(first, last), np.arange(len(dated), len(days))])

    def most_beyond(self, reach):
        """Return the most members of a master further away; 0 where there is none."""
        dated, day = self.shelf.dated, day_of(self.frame.night)
        first = dated.searchsorted(day - reach)
        most = self.shelf.most_until[first - 1] if first else 0
        last = dated.searchsorted(day + reach, "right")
        if self.is_causal or last == len(dated):
            return most
        return max(most, self.shelf.most_from[last])


def ranked(shelf, kind, frame, noise, rules, seconds):
    """Return the candidates on a shelf that a frame may take, the best first.

    They are scaled for an exposure of ``seconds``. Masters of the weeks around are compared first,
    and those further away only where they may be better in spite of their ageing: the answer is
    that of a comparison of all.

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
    asked = _Asked(shelf, kind, frame, noise, rules, seconds)
    ranking = _Ranking(asked, asked.within(EXACT_NIGHTS))
    reach = ranking.reach_of_others()
    if reach > EXACT_NIGHTS:
        ranking = _Ranking(asked, asked.within(reach))
    return ranking.candidates()


def candidate_at(shelf, place, kind, frame, noise, rules):
    """Return the `Candidate` that a bias or flat is for a frame, as `ranked` makes it.

    Parameters
    ----------
    shelf : Shelf
    place : int
        Of the master on its shelf.
    kind : {'bias', 'flat'}
    frame : ObservedAs
    noise : DetectorNoise
    rules : Rules

    Returns
    -------
    Candidate
    """
    asked = _Asked(shelf, kind, frame, noise, rules, None)
    return _Ranking(asked, slice(place, place + 1)).candidates()[0]


class _Ranking:
    """Some masters of a shelf in the order in which a frame takes them.

    Parameters
    ----------
    asked : _Asked
    some : slice or numpy.ndarray of int
        Places of the masters on the shelf.
    """

    def __init__(self, asked, some):
        shelf, rules = asked.shelf, asked.rules
        self._asked = asked
        self._places = np.arange(some.start, some.stop) if isinstance(some, slice) else some
        # A header may say an exposure of 1e-300 s: a scale beyond all limits.
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            self._lags = number_or_nan(day_of(asked.frame.night)) - shelf.days[some]
            self._own = shelf.nights[some] == shelf.numbers.get(asked.frame.night, -1)
            self._lags[self._own] = 0
            strange, apart = np.isnan(self._lags), np.abs(self._lags)
            apart[strange] = 0.0
            compare = self._compare_darks if asked.kind == DARK else self._compare_others
            usable = compare(some)
            self._predict(some, apart)
        later = ~self._own & ~(self._lags >= 0)
        is_last = later & asked.is_causal
        near = (apart <= EXACT_NIGHTS) & ~is_last
        # Keys that all masters have alike decide nothing.
        goes_first = self._exact
        if asked.kind == DARK and not (self._exact & usable & near).any():
            # Exact darks of another season compete with scaled ones of these weeks.
            goes_first = self._exact | (near & ~self._up)
        tier = _LATER * is_last + _SCALED_UP * self._up
        keys = [tier, ~self._own if rules.same_night else None]
        keys += [~goes_first if asked.kind == DARK else None, strange if strange.any() else None]
        keys += [np.where(is_last, apart, 0.0) if is_last.any() else None, self._added, apart]
        keys = [key for key in keys if key is not None]
        self._order = _first(np.flatnonzero(usable), keys, shelf.places[some])
        self._is_sure = (tier == 0) & ~strange & goes_first

    def _compare_darks(self, some):
        """Find the scales of darks; return which of them a frame may take."""
        shelf, _, frame, _, rules, seconds = self._asked
        wanted, exptimes = number_or_nan(frame.exptime), shelf.exptimes[some]
        self._exact = is_same_exposure(exptimes, wanted)
        self._scale = np.where(self._exact, 1.0, number_or_nan(seconds) / exptimes)
        self._scale[~self._exact & ~(exptimes > 0)] = np.nan
        self._up = ~self._exact & (wanted / exptimes > STRETCHED)
        flags = shelf.warm((frame.set_temperature, frame.temperature), rules)
        flags = np.frombuffer(flags, np.uint8)[shelf.pairs[some]]
        self._known = flags & 2 > 0
        self._warmer = np.zeros(len(flags))
        usable = np.isfinite(self._scale) & (flags & 1 == 0)
        return usable & (self._exact | ~is_too_long(wanted / exptimes, rules.scale_up))

    def _compare_others(self, some):
        """Find the temperatures of biases or flats; return that a frame may take each of them."""
        shelf, _, frame, _, rules, _ = self._asked
        degrees = tuple(map(tenths, (frame.set_temperature, frame.temperature)))
        self._warmer = np.frombuffer(shelf.warmer(degrees, rules))[shelf.pairs[some]]
        count = len(self._warmer)
        self._scale, self._up = np.ones(count), np.zeros(count, bool)
        self._exact = self._known = usable = np.ones(count, bool)
        return usable

    def _predict(self, some, apart):
        """Predict the variance that each master adds to a pixel, and the part that is ageing."""
        shelf, kind, _, noise, _, _ = self._asked
        frames = shelf.frames[some]
        if kind == DARK:
            ageing = _ageing_a_day(self._asked) * apart
            one = noise.read_noise**2 + noise.dark_rate * shelf.exptimes[some]
            self._variance = self._scale**2 * one / frames + ageing
            # A scaled dark leaves a part of its bias, if it is the frame's as well: `pairs` knows.
            # A dark of a vanishing exposure has a scale without end, and is no candidate.
            left = (1 - self._scale) ** 2 * shelf.bias_variances[some]
            self._added = self._variance + left
        else:
            warming = noise.flat_warming if kind == FLAT else noise.bias_warming
            ageing = _ageing_a_day(self._asked) * apart + (warming * self._warmer) ** 2
            self._variance = self._added = _without_ageing(self._asked, frames) + ageing
        self._ageing = ageing

    def reach_of_others(self):
        """Return the days beyond which no master of the shelf comes among the first of these.

        These are all masters of the weeks around. Where masters that are further away may go first
        for another reason than their variance, it is infinite.
        """
        asked, order = self._asked, self._order
        if len(self._places) == len(asked.shelf.days):
            return 0
        if len(order) < MOST_CANDIDATES or not self._is_sure[order[-1]]:
            return math.inf
        most = asked.most_beyond(EXACT_NIGHTS)
        # Of darks, those that go first are exact and not scaled.
        gain = self._added[order[-1]] - _without_ageing(asked, most) if most else -1.0
        if gain < 0:
            return 0
        a_day = _ageing_a_day(asked)
        # A day more, for the rounding.
        return gain / a_day + 1 if a_day else math.inf

    def candidates(self):
        """Return the first of them as `Candidate`."""
        order = self._order
        columns = (self._lags, self._own, self._scale, self._exact, self._up, self._known)
        columns += (self._variance, self._warmer, self._ageing)
        masters = [self._asked.shelf.masters[place] for place in self._places[order]]
        values = (masters, *(column[order].tolist() for column in columns))
        return tuple(_candidate(*each) for each in zip(*values, strict=True))


def _first(some, keys, places):
    """Return the indices that come first by some keys, the most important key first.

    Parameters
    ----------
    some : numpy.ndarray of int
        The indices that may be taken.
    keys : list of numpy.ndarray
    places : numpy.ndarray of int
        They decide between equal ones.

    Returns
    -------
    numpy.ndarray of int
    """
    for key in keys:
        if len(some) <= _FEW:
            break
        values = key[some]
        last = np.partition(values, MOST_CANDIDATES - 1)[MOST_CANDIDATES - 1]
        some = some[values <= last]
        if values.min() < last:
            # Later keys decide among equals only.
            break
    order = np.lexsort([places[some], *(key[some] for key in reversed(keys))])
    return some[order[:MOST_CANDIDATES]]


def _ageing_a_day(asked):
    """Return the variance by which a master departs from the truth for each day between."""
    noise = asked.noise
    if asked.kind == DARK:
        return noise.dark_ageing * number_or_nan(asked.seconds) ** 2
    return noise.flat_ageing if asked.kind == FLAT else noise.bias_ageing


def _without_ageing(asked, frames):
    """Return the variance that an unscaled master of so many frames adds, at least."""
    noise = asked.noise
    if asked.kind == FLAT:
        return 1 / (frames * noise.flat_level)
    return noise.read_noise**2 / frames


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


def _candidate(master, lag, own, scale, exact, up, known, variance, warmer, ageing):
    """Return the `Candidate` that a master is, with its remarks."""
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
        master,
        None if math.isnan(lag) else int(lag),
        scale,
        variance,
        "C" if up else "B" if remarks else "A",
        tuple(remarks),
        warmer,
        ageing,
    )
