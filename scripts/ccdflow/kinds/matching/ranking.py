"""The masters of a setup in columns, and which of them go first for a frame: arrays only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, cached_property

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
)
from ccdflow.kinds.matching.match_words import STRETCHED

# Tiers of candidates: a later night counts only where the own and earlier ones have none at all,
# or a night that is added would change older frames. Darks that are scaled up come after others.
_LATER, _SCALED_UP = 2, 1
# Masters that are sorted whole; of more, those that come first are sought.
_FEW = 128
# Questions of which the terms are kept: a night has a few, a sensor without a cooler a million.
_MOST_TERMS = 64


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
    nights : numpy.ndarray of shape (n,)
        The number of its night.
    numbers : dict of str to int
        The number of each night.
    frames : numpy.ndarray of shape (n,)
        Numbers of members.
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
    nights: np.ndarray
    numbers: dict
    frames: np.ndarray
    exptimes: np.ndarray
    bias_variances: np.ndarray
    exposures: np.ndarray
    temperatures: tuple
    pairs: np.ndarray
    _warm: dict = field(default_factory=dict)
    _warmer: dict = field(default_factory=dict)
    _flags: dict = field(default_factory=dict)
    _by_product: dict = field(default_factory=dict)
    _terms: dict = field(default_factory=dict)

    def terms(self, kind, frame, noise, rules, seconds):
        """Return the `Terms` of a frame: the same object for all with the same question.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
        frame : ObservedAs
        noise : DetectorNoise
        rules : Rules
        seconds : float or None
            The exposure that masters are scaled for.

        Returns
        -------
        Terms
        """
        degrees = frame.set_temperature, frame.temperature
        name = question(self, kind, frame.exptime, degrees, rules)[0], seconds, noise
        if name not in self._terms:
            if len(self._terms) >= _MOST_TERMS:
                self._terms.clear()
            terms = _terms_of_darks if kind == DARK else _terms_of_others
            # A header may say an exposure of 1e-300 s: a scale beyond all limits.
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                self._terms[name] = terms(self, kind, frame, noise, rules, seconds)
        return self._terms[name]

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
    nights, numbers = _numbered(about.night for about in abouts)
    pairs, degrees = _numbered((about.set_temperature, about.temperature) for about in abouts)
    return Shelf(
        masters=masters,
        places=places,
        days=days,
        nights=nights,
        numbers=numbers,
        frames=_column([master.frames for master in masters]),
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
    asked, about = question_of_exposure(shelf, kind, seconds, rules)
    return (asked, question_of_degrees(shelf, kind, degrees, rules)), about


def question_of_exposure(shelf, kind, seconds, rules):
    """Return the part of `question` that is about the exposure, and the exposure itself.

    Parameters
    ----------
    shelf : Shelf or None
    kind : {'bias', 'dark', 'flat'}
    seconds : float or None
    rules : ccdflow.kinds.matching.candidates.Rules

    Returns
    -------
    question : hashable
    seconds : float or None
    """
    if kind != DARK:
        return None, None
    if shelf is None or seconds is None:
        return seconds, seconds
    # The rounding is the frame's own: what else there is in the archive does not change it.
    rounded = float(f"{seconds:.3g}")
    return (rounded, shelf.exposure_flags(seconds, rules)), rounded


def question_of_degrees(shelf, kind, degrees, rules):
    """Return the part of `question` that is about the temperatures.

    Parameters
    ----------
    shelf : Shelf or None
    kind : {'bias', 'dark', 'flat'}
    degrees : (float or None, float or None)
        Set point and sensor.
    rules : ccdflow.kinds.matching.candidates.Rules

    Returns
    -------
    bytes
    """
    if shelf is None:
        return b""
    if kind == DARK:
        return shelf.warm(degrees, rules)
    # Round: an unregulated sensor would give each frame a question of its own.
    return shelf.warmer(tuple(map(tenths, degrees)), rules)


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


@dataclass(frozen=True)
class Terms:
    """All that ranks the masters of a shelf for frames of any night: those that may be taken.

    Attributes
    ----------
    shelf : Shelf
    places : numpy.ndarray of int of shape (n,)
        Of each master its place on the shelf: oldest first, undated ones last.
    dated : numpy.ndarray
        The days of those that have one.
    scale : numpy.ndarray of shape (n,)
    exact, up, known : numpy.ndarray of bool of shape (n,)
        Whether it is not scaled; whether it is scaled up; whether its temperature is known.
    warmer : numpy.ndarray of shape (n,)
        Degrees by which a bias or flat is warmer than the frame.
    fixed, warming, left : numpy.ndarray of shape (n,)
        The variance that it adds without ageing; that for the degrees between; and of a dark that
        of the bias which its scale leaves behind.
    a_day : float
        The variance that a day between adds.
    is_dark : bool
    """

    shelf: Shelf
    places: np.ndarray
    scale: np.ndarray
    exact: np.ndarray
    up: np.ndarray
    known: np.ndarray
    warmer: np.ndarray
    fixed: np.ndarray
    warming: np.ndarray
    left: np.ndarray
    a_day: float
    is_dark: bool

    @cached_property
    def days(self):
        """The days of the masters, NaN where they have none."""
        return self.shelf.days[self.places]

    @cached_property
    def dated(self):
        """The days of those that have one."""
        return self.days[np.isfinite(self.days)]

    @cached_property
    def nights(self):
        """The numbers of the masters' nights."""
        return self.shelf.nights[self.places]

    @cached_property
    def ties(self):
        """The masters' places in the order of products."""
        return self.shelf.places[self.places]

    @cached_property
    def least(self):
        """The least variance of an unscaled master up to each one, and from each one on."""
        added = (self.fixed + self.warming) + self.left
        added = np.where(self.exact, added, np.inf)
        return np.minimum.accumulate(added), np.minimum.accumulate(added[::-1])[::-1]

    def within(self, day, reach, *, is_causal):
        """Return the masters at most so many days from a day, and the undated ones.

        A causal rule has later ones among them where ``reach`` is infinite only.

        Parameters
        ----------
        day : float
            NaN for none.
        reach : float
            Days.
        is_causal : bool

        Returns
        -------
        slice or numpy.ndarray of int
        """
        count, dated = len(self.places), self.dated
        if math.isnan(day) or math.isinf(reach):
            return slice(0, count)
        first = int(dated.searchsorted(day - reach))
        last = int(dated.searchsorted(day if is_causal else day + reach, "right"))
        if len(dated) == count:
            return slice(first, last)
        return np.concatenate([np.arange(first, last), np.arange(len(dated), count)])

    def least_beyond(self, day, reach, *, is_causal):
        """Return the least variance, without ageing, of an unscaled master further away.

        Parameters
        ----------
        day, reach : float
        is_causal : bool
            Whether later ones do not count.

        Returns
        -------
        float
        """
        first = self.dated.searchsorted(day - reach)
        least = self.least[0][first - 1] if first else math.inf
        last = self.dated.searchsorted(day + reach, "right")
        if is_causal or last == len(self.dated):
            return least
        return min(least, self.least[1][last])


def _terms_of_darks(shelf, kind, frame, noise, rules, seconds):
    """Return the `Terms` of darks for a frame."""
    wanted, exptimes = number_or_nan(frame.exptime), shelf.exptimes
    exact = is_same_exposure(exptimes, wanted)
    scale = np.where(exact, 1.0, number_or_nan(seconds) / exptimes)
    scale[~exact & ~(exptimes > 0)] = np.nan
    up = ~exact & (wanted / exptimes > STRETCHED)
    flags = shelf.warm((frame.set_temperature, frame.temperature), rules)
    flags = np.frombuffer(flags, np.uint8)[shelf.pairs]
    usable = np.isfinite(scale) & (flags & 1 == 0)
    usable &= exact | ~is_too_long(wanted / exptimes, rules.scale_up)
    one = noise.read_noise**2 + noise.dark_rate * exptimes
    # A scaled dark leaves a part of its bias, if it is the frame's as well: `pairs` knows.
    # A dark of a vanishing exposure has a scale without end, and is no candidate.
    left = (1 - scale) ** 2 * shelf.bias_variances
    columns = scale, exact, up, flags & 2 > 0, np.zeros(len(scale))
    columns += (scale**2 * one / shelf.frames, np.zeros(len(scale)), left)
    a_day = noise.dark_ageing * number_or_nan(seconds) ** 2
    own = (column[usable] for column in columns)
    return Terms(shelf, np.flatnonzero(usable), *own, a_day, is_dark=True)


def _terms_of_others(shelf, kind, frame, noise, rules, seconds):
    """Return the `Terms` of biases or flats for a frame: it may take all of them."""
    degrees = tuple(map(tenths, (frame.set_temperature, frame.temperature)))
    warmer = np.frombuffer(shelf.warmer(degrees, rules))[shelf.pairs]
    count = len(warmer)
    fixed = noise.read_noise**2 / shelf.frames
    a_day, warming = noise.bias_ageing, noise.bias_warming
    if kind == FLAT:
        fixed = 1 / (shelf.frames * noise.flat_level)
        a_day, warming = noise.flat_ageing, noise.flat_warming
    yes, no = np.ones(count, bool), np.zeros(count, bool)
    columns = (np.ones(count), yes, no, yes, warmer, fixed, (warming * warmer) ** 2)
    return Terms(shelf, np.arange(count), *columns, np.zeros(count), a_day, is_dark=False)


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
    terms = shelf.terms(kind, frame, noise, rules, seconds)
    ranking = Ranking(terms, frame.night, rules, EXACT_NIGHTS)
    reach = ranking.reach_of_others()
    if reach > EXACT_NIGHTS:
        ranking = Ranking(terms, frame.night, rules, reach)
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
    terms = shelf.terms(kind, frame, noise, rules, None)
    return Ranking(terms, frame.night, rules, some=slice(place, place + 1)).candidates()[0]


class Ranking:
    """Masters of a shelf in the order in which a frame takes them.

    Parameters
    ----------
    terms : Terms
    night : str
        Of the frame.
    rules : Rules
    reach : float, optional
        Masters at most so many days away are compared, as of `Terms.within`.
    some : slice or numpy.ndarray of int, optional
        The masters that are compared, in place of ``reach``.
    """

    def __init__(self, terms, night, rules, reach=math.inf, *, some=None):
        self._terms, self._day = terms, number_or_nan(day_of(night))
        self._is_causal = rules.direction != "nearest"
        if some is None:
            some = terms.within(self._day, reach, is_causal=self._is_causal)
        self._some = some
        self._lags = self._day - terms.days[some]
        self._own = terms.nights[some] == terms.shelf.numbers.get(night, -1)
        self._lags[self._own] = 0
        apart = np.abs(self._lags)
        strange = np.isnan(apart)
        is_last = (~self._own & ~(self._lags >= 0)) if self._is_causal else self._own & False
        if is_strange := strange.any():
            apart[strange] = 0.0
        ageing = terms.a_day * apart + terms.warming[some]
        self._variance = terms.fixed[some] + ageing
        self._added, self._ageing = self._variance + terms.left[some], ageing
        up, goes_first = terms.up[some], self._goes_first(apart, is_last)
        tier = _LATER * is_last + _SCALED_UP * up
        # Keys that all masters have alike decide nothing.
        keys = [tier, ~self._own if rules.same_night else None]
        keys += [~goes_first if terms.is_dark else None, strange if is_strange else None]
        keys += [np.where(is_last, apart, 0.0) if is_last.any() else None, self._added, apart]
        self._order = _first([key for key in keys if key is not None], terms.ties[some])
        self._is_sure = (tier == 0) & ~strange & goes_first

    def _goes_first(self, apart, is_last):
        """Return which masters go before scaled darks, whatever they add."""
        exact, near = self._terms.exact[self._some], (apart <= EXACT_NIGHTS) & ~is_last
        if not self._terms.is_dark or (exact & near).any():
            return exact
        # Exact darks of another season compete with scaled ones of these weeks.
        return exact | (near & ~self._terms.up[self._some])

    def reach_of_others(self):
        """Return the days beyond which no master of the shelf comes among the first of these.

        These are all masters of the weeks around. Where masters that are further away may go first
        for another reason than their variance, it is infinite.
        """
        terms, order = self._terms, self._order
        if len(self._own) == len(terms.places):
            return 0
        if len(order) < MOST_CANDIDATES or not self._is_sure[order[-1]]:
            return math.inf
        # Of darks that are further away, those that go first are not scaled.
        least = terms.least_beyond(self._day, EXACT_NIGHTS, is_causal=self._is_causal)
        last = self._added[order[-1]]
        if least > last:
            return 0
        # A day and a little more, for the rounding.
        return (last * (1 + 1e-9) - least) / terms.a_day + 1 if terms.a_day else math.inf

    def candidates(self):
        """Return the first of them as `Candidate`."""
        terms, order = self._terms, self._order
        places = (
            np.arange(self._some.start, self._some.stop)
            if isinstance(self._some, slice)
            else self._some
        )
        places = places[order]
        columns = (self._lags[order], self._own[order])
        columns += tuple(each[places] for each in (terms.scale, terms.exact, terms.up, terms.known))
        columns += (self._variance[order], terms.warmer[places], self._ageing[order])
        masters = [terms.shelf.masters[place] for place in terms.places[places]]
        values = (masters, *(column.tolist() for column in columns))
        return tuple(_candidate(*each) for each in zip(*values, strict=True))


def _first(keys, places):
    """Return the indices that come first by some keys, the most important key first.

    Parameters
    ----------
    keys : list of numpy.ndarray of shape (n,)
    places : numpy.ndarray of int of shape (n,)
        They decide between equal ones.

    Returns
    -------
    numpy.ndarray of int
    """
    if len(places) <= _FEW:
        return np.lexsort([places, *reversed(keys)])[:MOST_CANDIDATES]
    some = np.arange(len(places))
    for key in keys:
        values = key[some]
        last = np.partition(values, MOST_CANDIDATES - 1)[MOST_CANDIDATES - 1]
        some = some[values <= last]
        if values.min() < last:
            # Later keys decide among equals only.
            break
    return some[np.lexsort([places[some], *(key[some] for key in reversed(keys))])][
        :MOST_CANDIDATES
    ]


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
