"""The masters of a setup that go first for a frame, found by arrays of their values."""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np

from ccdflow.calibrate.applied_masters import DARK
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.master_columns import day_of
from ccdflow.kinds.matching.match_sentences import SCALE_KIND
from ccdflow.kinds.matching.rule_values import (
    EXACT_NIGHTS,
    MOST_CANDIDATES,
    TEMPERATURE_UNKNOWN,
)
from ccdflow.kinds.matching.terms import RankedMaster, terms_of
from ccdflow.run.master_choices import Use

# Tiers of masters: the sum of a master's tiers ranks it before its variance does. A master of a
# later night counts only where the frame's own and all earlier nights have none: otherwise each new
# night would change older frames. In both groups a dark that is scaled up comes after the others.
_LATER_TIER, _SCALED_UP_TIER = 2, 1
# At most this many masters are sorted as a whole; of more masters only the first ones are found.
# Sorting 128 takes 5 us and finding the first ones 18 us; of 4,096 it is 670 and 77 us.
_FEW_MASTERS = 128
# Number of the last masters up to the frame's night that are compared first, before any other.
# Chosen: two weeks of one master a night.
_RECENT_MASTERS = 16
# Two variances that differ by more than this factor differ by more than their rounding.
_ROUNDING_MARGIN = 1 + 1e-9


def rescale_use(use, exptime, seconds):
    """Return the `Use` of a dark for a frame of another exposure; an exact dark stays as it is.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
    exptime : float
        Exposure of the dark itself, seconds.
    seconds : float
        Exposure of the frame, seconds.

    Returns
    -------
    ccdflow.run.master_choices.Use
    """
    if not use.is_scaled:
        return use
    scale = seconds / exptime
    scale_remark = match_sentences.remark_on_scale(scale)
    remarks = [scale_remark if each[0] is SCALE_KIND else each for each in use.remarks]
    return use.rescale(scale, tuple(remarks))


def rank_masters(columns, kind, frame, noise, seconds, *, key=None):
    """Return the masters of a setup that a frame may take, the best first.

    Masters of the weeks around the frame are compared first. Those further away are compared only
    where they may be better in spite of their ageing. The result is that of a comparison of all.

    Parameters
    ----------
    columns : ccdflow.kinds.matching.master_columns.MasterColumns
    kind : {'bias', 'dark', 'flat'}
    frame : ccdflow.kinds.matching.rule_values.Observation
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise
    seconds : float or None
        The exposure that the masters are scaled for.
    key : hashable, optional
        The frame's `ccdflow.kinds.matching.terms.choice_key`, if the caller has it.

    Returns
    -------
    tuple of ccdflow.run.master_choices.Use
        A master of several nights may be in it more than once.
    """
    terms = terms_of(columns, kind, frame, noise, seconds, key=key)
    if (uses := rank_recent(terms, frame.night)) is not None:
        return uses
    ranking = Ranking(terms, frame.night, EXACT_NIGHTS)
    days_of_reach = ranking.reach_of_others()
    if days_of_reach > EXACT_NIGHTS:
        ranking = Ranking(terms, frame.night, days_of_reach)
    return ranking.uses()


def rank_recent(terms, night):
    """Return the first masters of a frame if all are unscaled and of the last nights up to its own.

    Most frames of an archive with masters of each night have such masters. For the other frames
    older, later, scaled or undated masters may be among the first.

    Parameters
    ----------
    terms : ccdflow.kinds.matching.terms.Terms
        Variances that the masters of the setup add.
    night : str
        Night of the frame.

    Returns
    -------
    tuple of ccdflow.run.master_choices.Use or None
        None where all masters have to be compared.
    """
    day, unscaled, rules = day_of(night), terms.unscaled_masters, terms.columns.rules
    if day is None or not rules.is_causal or rules.prefers_own_night:
        return None
    days, ageing_a_day = unscaled.days, terms.ageing_a_day
    end = bisect_right(days, day)
    if end < MOST_CANDIDATES or (terms.is_dark and day - days[end - 1] > EXACT_NIGHTS):
        return None
    start = max(0, end - _RECENT_MASTERS)
    fixed_variance, warming_variance = unscaled.fixed_variance, unscaled.warming_variance
    bias_variance_left, ties = unscaled.bias_variance_left, unscaled.ties
    candidate_values = []
    for index in range(start, end):
        # These sums have the order of those in `Ranking`, so that their rounding is the same.
        lag = day - days[index]
        ageing_variance = ageing_a_day * lag + warming_variance[index]
        variance = fixed_variance[index] + ageing_variance
        candidate_values.append(
            (
                variance + bias_variance_left[index],
                lag,
                ties[index],
                index,
                variance,
                ageing_variance,
            )
        )
    candidate_values.sort()
    if start:
        least_variance = unscaled.least_variances[start - 1] + ageing_a_day * (
            day - days[start - 1]
        )
        if least_variance <= candidate_values[MOST_CANDIDATES - 1][0] * _ROUNDING_MARGIN:
            return None
    return tuple(
        [
            _unscaled_use(
                unscaled.masters[index], night, lag, variance, ageing_variance,
                degrees_warmer=unscaled.degrees_warmer[index],
                has_known_temperature=unscaled.has_known_temperature[index],
            )
            for _, lag, _, index, variance, ageing_variance in candidate_values[:MOST_CANDIDATES]
        ]
    )  # fmt: skip


def use_at(columns, index, kind, frame, noise):
    """Return the `Use` of one bias or flat for a frame, equal to that of `rank_masters`.

    Parameters
    ----------
    columns : ccdflow.kinds.matching.master_columns.MasterColumns
    index : int
        Index of the master in the columns.
    kind : {'bias', 'flat'}
    frame : ccdflow.kinds.matching.rule_values.Observation
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise

    Returns
    -------
    ccdflow.run.master_choices.Use
    """
    terms, master = terms_of(columns, kind, frame, noise, None), columns.masters[index]
    lag = number_or_nan(day_of(frame.night)) - float(columns.days[index])
    if master.observation.night == frame.night:
        lag = 0.0
    ageing_variance = terms.ageing_a_day * (0.0 if math.isnan(lag) else abs(lag)) + float(
        terms.warming_variance[index]
    )
    variance = float(terms.fixed_variance[index]) + ageing_variance
    degrees_warmer = float(terms.degrees_warmer[index])
    return _unscaled_use(
        master,
        frame.night,
        lag,
        variance,
        ageing_variance,
        degrees_warmer=degrees_warmer,
        has_known_temperature=True,
    )


class Ranking:
    """Masters of a setup in the order in which a frame takes them.

    Parameters
    ----------
    terms : ccdflow.kinds.matching.terms.Terms
    night : str
        Night of the frame.
    reach : float, optional
        Days between frame and master, at most: see `Terms.masters_within`. By default all masters
        are compared.
    """

    def __init__(self, terms, night, reach=math.inf):
        self._terms, self._day = terms, number_or_nan(day_of(night))
        self._is_causal = terms.columns.rules.is_causal
        selection = self._selection = terms.masters_within(
            self._day, reach, is_causal=self._is_causal
        )
        self._lags = self._day - terms.days[selection]
        self._is_of_own_night = terms.night_numbers[selection] == terms.columns.number_of_night.get(
            night, -1
        )
        self._lags[self._is_of_own_night] = 0
        days_apart = np.abs(self._lags)
        is_undated = _none_if_unset(np.isnan(days_apart))
        if is_undated is not None:
            days_apart[is_undated] = 0.0
        self._ageing_variance = terms.ageing_a_day * days_apart + terms.warming_variance[selection]
        self._variance = terms.fixed_variance[selection] + self._ageing_variance
        self._added_variance = self._variance + terms.bias_variance_left[selection]
        self._order = self._first_indices(days_apart, is_undated)

    def _first_indices(self, days_apart, is_undated):
        """Return the indices of the first masters; note the ranks that count before the variance.

        Parameters
        ----------
        days_apart : numpy.ndarray of shape (n,), float64
            Days between master and frame, 0 where they are unknown.
        is_undated : numpy.ndarray of shape (n,), bool, or None
            True where the days are unknown; None where all are known.

        Returns
        -------
        numpy.ndarray of shape (k,), int64
        """
        terms, selection, is_later = self._terms, self._selection, None
        if self._is_causal:
            is_later = _none_if_unset(~self._is_of_own_night & ~(self._lags >= 0))
        is_scaled_up = _none_if_unset(terms.is_scaled_up[selection])
        is_not_preferred = self._is_not_preferred(days_apart, is_later)
        tiers = [(_LATER_TIER, is_later), (_SCALED_UP_TIER, is_scaled_up)]
        tiers = [tier * flags for tier, flags in tiers if flags is not None]
        tier = sum(tiers) if tiers else None
        keys = [
            tier,
            ~self._is_of_own_night if terms.columns.rules.prefers_own_night else None,
            is_not_preferred,
            is_undated,
            None if is_later is None else np.where(is_later, days_apart, 0.0),
            self._added_variance,
            days_apart,
        ]
        # These ranks count before the variance: a master beyond the reach may precede one that has
        # such a rank.
        ranks = (tier, is_undated, is_not_preferred)
        self._ranks_before_variance = [each for each in ranks if each is not None]
        # Keys that all masters have alike decide nothing.
        return _sort_first([key for key in keys if key is not None], terms.ties[selection])

    def _is_not_preferred(self, days_apart, is_later):
        """Return a mask of the darks that come after the exact ones; None where it masks none."""
        terms, selection = self._terms, self._selection
        if not terms.is_dark:
            return None
        is_preferred, is_near = terms.is_exact[selection], days_apart <= EXACT_NIGHTS
        if is_later is not None:
            is_near &= ~is_later
        if not np.count_nonzero(is_preferred & is_near):
            # Exact darks of another season compete with scaled darks of these weeks.
            is_preferred = is_preferred | (is_near & ~terms.is_scaled_up[selection])
        return _none_if_unset(~is_preferred)

    def reach_of_others(self):
        """Return the days beyond which no other master comes among the first of this ranking.

        This ranking compares the masters of the weeks around. The result is infinite where masters
        further away may go first for another reason than their variance.
        """
        terms, order = self._terms, self._order
        if len(self._is_of_own_night) == len(terms.indices):
            return 0
        if len(order) < MOST_CANDIDATES:
            return math.inf
        if any(each[order[-1]] for each in self._ranks_before_variance):
            return math.inf
        # Of the darks that are further away, only unscaled ones go first.
        least_variance = terms.least_variance_beyond(
            self._day, EXACT_NIGHTS, is_causal=self._is_causal
        )
        last_variance = self._added_variance[order[-1]]
        if least_variance > last_variance:
            return 0
        if not terms.ageing_a_day:
            return math.inf
        # One day more allows for the rounding.
        return (last_variance * _ROUNDING_MARGIN - least_variance) / terms.ageing_a_day + 1

    def uses(self):
        """Return the `Use` of each of the first masters, the best first."""
        terms, order, selection = self._terms, self._order, self._selection
        indices = order + selection.start if isinstance(selection, slice) else selection[order]
        columns_of_values = RankedMaster(
            [terms.columns.masters[index] for index in terms.indices[indices].tolist()],
            lag=self._lags[order].tolist(),
            is_of_own_night=self._is_of_own_night[order].tolist(),
            scale=terms.scale[indices].tolist(),
            is_exact=terms.is_exact[indices].tolist(),
            is_scaled_up=terms.is_scaled_up[indices].tolist(),
            has_known_temperature=terms.has_known_temperature[indices].tolist(),
            variance=self._variance[order].tolist(),
            degrees_warmer=terms.degrees_warmer[indices].tolist(),
            ageing_variance=self._ageing_variance[order].tolist(),
        )
        return tuple(map(_use_of, map(RankedMaster._make, zip(*columns_of_values, strict=True))))


def _none_if_unset(flags):
    """Return flags as they are; None where none is set."""
    return flags if np.count_nonzero(flags) else None


def _sort_first(keys, ties):
    """Return the indices of the masters that come first by some keys, the most important key first.

    Parameters
    ----------
    keys : list of numpy.ndarray of shape (n,), bool, int or float64
        A smaller value goes first.
    ties : numpy.ndarray of shape (n,), int
        The key that decides where all other keys are equal.

    Returns
    -------
    numpy.ndarray of shape (k,), int64
        At most `MOST_CANDIDATES`.
    """
    if len(ties) <= _FEW_MASTERS:
        return np.lexsort([ties, *reversed(keys)])[:MOST_CANDIDATES]
    indices = np.arange(len(ties))
    for key in keys:
        values = key[indices]
        last_value = np.partition(values, MOST_CANDIDATES - 1)[MOST_CANDIDATES - 1]
        indices = indices[values <= last_value]
        if values.min() < last_value:
            # The other keys decide only between masters that are equal in this one.
            break
    return indices[np.lexsort([ties[indices], *(key[indices] for key in reversed(keys))])][
        :MOST_CANDIDATES
    ]


def _unscaled_use(
    master, night, lag, variance, ageing_variance, *, degrees_warmer, has_known_temperature
):
    """Return the `Use` of a master that is not scaled, for a frame of a night.

    Parameters
    ----------
    master : ccdflow.kinds.matching.rule_values.CandidateMaster
    night : str
        Night of the frame.
    lag : float
        Days from the night of the master to that of the frame; NaN where one is not a date.
    variance : float
        Variance that the master adds to a pixel of the frame: electrons^2; of a flat, relative to
        the signal^2.
    ageing_variance : float
        The part of the variance that is due to the lag and to the degrees between, in the same
        unit.
    degrees_warmer : float
        Degrees Celsius by which the master is warmer; 0 within the tolerance, and where unknown.
    has_known_temperature : bool
        Whether the temperatures of both are known.
    """
    remarks = () if master.observation.night == night else (match_sentences.remark_on_lag(lag),)
    if not has_known_temperature:
        remarks += (TEMPERATURE_UNKNOWN,)
    if degrees_warmer:
        remarks += (match_sentences.remark_on_degrees(degrees_warmer),)
    lag = None if math.isnan(lag) else int(lag)
    grade = "B" if remarks else "A"
    return Use.of_whole(
        product=master.product, lag=lag, scale=1.0, variance=variance, grade=grade,
        remarks=remarks, temperatures=_temperatures_of(master), degrees_warmer=degrees_warmer,
        ageing_variance=ageing_variance, is_scaled=False,
    )  # fmt: skip


def _use_of(ranked):
    """Return the `Use` of a `RankedMaster`, with its remarks."""
    remarks = []
    if not ranked.is_of_own_night:
        remarks.append(match_sentences.remark_on_lag(ranked.lag))
    if not ranked.is_exact:
        remarks.append(match_sentences.remark_on_scale(ranked.scale))
    if not ranked.has_known_temperature:
        remarks.append(TEMPERATURE_UNKNOWN)
    if ranked.degrees_warmer:
        remarks.append(match_sentences.remark_on_degrees(ranked.degrees_warmer))
    lag = None if math.isnan(ranked.lag) else int(ranked.lag)
    grade = "C" if ranked.is_scaled_up else "B" if remarks else "A"
    return Use.of_whole(
        product=ranked.master.product, lag=lag, scale=ranked.scale, variance=ranked.variance,
        grade=grade, remarks=tuple(remarks), temperatures=_temperatures_of(ranked.master),
        degrees_warmer=ranked.degrees_warmer, ageing_variance=ranked.ageing_variance,
        is_scaled=not ranked.is_exact,
    )  # fmt: skip


def _temperatures_of(master):
    """Return a dark's set point and sensor temperature, degrees Celsius; () of other masters."""
    observation = master.observation
    return (observation.set_temperature, observation.temperature) if master.kind == DARK else ()
