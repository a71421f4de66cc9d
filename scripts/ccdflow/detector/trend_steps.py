"""Steps in figures of the detector over the nights, with dates, apart from drifts and chance.

Each night may be the first of a new state. A straight line with a step at this night is fitted to
the nights about it: the two-phase regression with a common trend of Wang (2003, J. Climate 16,
3383). The statistic is the step over its standard error, and the date is the night where it is
largest. Single outlying nights are left out first, by a running median. Correlated nights count for
less (Bayley and Hammersley 1946, Suppl. J. R. Stat. Soc. 8, 184; Wang 2008, J. Appl. Meteorol.
Climatol. 47, 2423). A random walk over a gap of nights increases the error of the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA, normal_deviate

FEWEST_NIGHTS_A_SIDE = 5
"""A step has at least this many nights on each side: fewer may be bad nights in a row."""

LEAST_STEP_SIGMA = 4.75
"""A step has at least this many standard errors: chance reaches them once in 500,000 trials."""

# The line is fitted to at most this many nights on each side. Chosen: the error of a step is 0.52
# of the scatter then; more nights are of other seasons, and fewer cause larger errors.
_MOST_NIGHTS_A_SIDE = 30
# The line is fitted to nights within this many days on each side: over longer times the seasons
# bend it.
_MOST_DAYS_A_SIDE = 45.0
# Nearest nights on each side that are included at any distance. Chosen: with fewer than
# `FEWEST_NIGHTS_A_SIDE` a sparse archive has no steps; with many nights the line spans seasons.
_NEAREST_NIGHTS = 8
# Nights of the running median, which three bad nights in a row hardly move.
_NIGHTS_OF_MEDIAN = 7
# A night that deviates from the running median by more than this many sigma is a single outlier:
# one in 16,000 good nights is by chance.
_SIGMA_OF_LONE_NIGHTS = 4.0
# The random walk of a figure is measured by pairs of nights at least this many days apart. Chosen:
# in shorter times the scatter of nights hides it, and few pairs are farther apart.
_LEAST_WANDERING_DAYS = 20.0
# A series has at most this many steps. Chosen: values that jump at random must not prolong the
# search; with `FEWEST_NIGHTS_A_SIDE` 255 nights have no more.
_MOST_STEPS = 50
# Trials without a step after which the search ends. Chosen: each takes the time of a fit, and
# candidates come in the order of their size.
_TRIALS_WITHOUT_STEP = 5
# Deviations beyond this many sigma are outliers: one in 370 normal values is.
_OUTLIER_SIGMA = 3.0
# Standard deviation of a normal distribution over that without its values beyond `_OUTLIER_SIGMA`.
_NARROWING_BY_CLIPPING = 1.0136
# Nights of a part of the series whose scatter is compared with that of the whole series. Chosen:
# they give the scatter to 23 % (simulated normal values), and a month of bad weather or electronics
# is as long.
_NIGHTS_OF_PART = 30
# A part whose scatter is larger by this factor has a scatter of its own. Chance does so to 16 of
# 100 parts (of 20,000 simulated ones; 29 at 1.3 and 3 at 1.6), which lose some weight. With a
# larger factor a noisy month counts as quiet, and its bad nights as steps.
_LARGER_SCATTER_FACTOR = 1.4
# Degrees of freedom of the scatter about the lines, over the number of nights: it is below 1
# because outliers are left out. Simulated normal values give 0.76 with 40 nights, 0.82 with 100 and
# 0.86 with 300.
_FREEDOM_PER_NIGHT = 0.85
# Largest correlation of neighbouring nights that is assumed. Chosen: errors grow 6.2 times then.
# With a limit near 1 they would be infinite; with a smaller one a random walk has steps.
_MOST_CORRELATION = 0.95


@dataclass(frozen=True)
class Event:
    """A step in a figure between two nights.

    Attributes
    ----------
    first, last_before : int
        Index of the first night of the new state, and of the last measured night of the old state.
    size, error : float
        Figure after minus figure before the step, and its standard error, in the figure's unit.
    before, after : float
        The figure on the two sides of the step.
    sigma : float
        The step over its standard error, converted to a normal distribution.
    """

    first: int
    last_before: int
    size: float
    error: float
    before: float
    after: float
    sigma: float


@dataclass(frozen=True)
class Trend:
    """A figure that is followed over the nights, and the least step in it.

    Attributes
    ----------
    name, words, unit : str
    least_step : float
        Least step that is reported, as a fraction of the median: smaller steps change no calibrated
        frame.
    night_scatter : float
        Least scatter from night to night that is assumed, as a fraction of the median.
    counts_pixels : bool
        Whether the figure is a number of pixels, with a scatter of at least one pixel.
    is_level : bool
        Whether the figure is a level with an arbitrary zero: fractions are those of the read noise.
    """

    name: str
    words: str
    unit: str
    least_step: float
    night_scatter: float
    counts_pixels: bool = False
    is_level: bool = False

    def steps(self, days, values, errors=None, *, read_noise=math.nan):
        """Return the `Event` of each step in this figure over the nights of one epoch.

        Parameters
        ----------
        days, values : sequence of float
            Day and figure of each night, as for `find_steps`.
        errors : sequence of float, optional
            Standard errors of the figures.
        read_noise : float, optional
            Read noise in the unit of a level, for its fractions.

        Returns
        -------
        list of Event
        """
        values = np.asarray(values, float)
        finite_values = values[np.isfinite(values)]
        if not finite_values.size:
            return []
        scale = abs(float(read_noise if self.is_level else np.median(finite_values)))
        scale = scale if math.isfinite(scale) else 1.0
        floor = self.night_scatter * scale
        if self.counts_pixels:
            # The same pixels are hot every night: their number scatters by less than its root.
            floor = max(floor, 1.0)
        return find_steps(days, values, errors, least_step=self.least_step * scale, floor=floor)


TRENDS = (
    Trend("level", "bias level", "adu", 0.5, 0.02, is_level=True),
    Trend("read_noise", "read noise", "adu", 0.02, 0.001),
    Trend("gain", "gain", "e-/adu", 0.02, 0.001),
    Trend("dark_rate", "dark rate", "e-/s", 0.05, 0.002),
    Trend("hot", "hot pixels", "pixels", 0.1, 0.01, counts_pixels=True),
)
"""The figures that are followed over the nights, with the least step that is reported."""


def find_steps(days, values, errors=None, *, least_step=0.0, floor=0.0, limit=LEAST_STEP_SIGMA):
    """Return the `Event` of each step in a figure over the nights, oldest first.

    Parameters
    ----------
    days : sequence of float
        The day of each value, in ascending order.
    values : sequence of float
        The value of each night; values that are not finite do not count.
    errors : sequence of float, optional
        Standard errors of the values; NaN where unknown. The scatter from night to night is
        measured from the values, and added.
    least_step : float, optional
        Smaller steps are not reported.
    floor : float, optional
        Least scatter from night to night that is assumed.
    limit : float, optional
        Least number of standard errors of a step.

    Returns
    -------
    list of Event

    Examples
    --------
    A gain that jumps on the sixth night:

    >>> gains = [1.1, 1.102, 1.099, 1.101, 1.1, 1.201, 1.199, 1.2, 1.202, 1.2]
    >>> (step,) = find_steps(range(10), gains)
    >>> step.first, round(step.size, 3)
    (5, 0.1)
    """
    days, values = np.asarray(days, float), np.asarray(values, float)
    measured_nights = np.flatnonzero(np.isfinite(values))
    if measured_nights.size < 2 * FEWEST_NIGHTS_A_SIDE:
        return []
    errors = np.full(values.size, np.nan) if errors is None else np.asarray(errors, float)
    is_known = np.isfinite(errors)
    errors = np.where(is_known, errors, np.median(errors[is_known]) if is_known.any() else 0.0)
    indices = measured_nights[_has_company(values[measured_nights], errors[measured_nights], floor)]
    if indices.size < 2 * FEWEST_NIGHTS_A_SIDE:
        return []
    nights = _Nights(days[indices], values[indices], errors[indices], floor)
    steps = [nights.event(judged) for judged in nights.find_cuts(limit, least_step)]
    return [_event_of_all_nights(event, indices, values, nights.scatter) for event in steps]


def _has_company(values, errors, floor):
    """Return the mask of nights whose value agrees with most nights before, after or about it."""
    limit = _SIGMA_OF_LONE_NIGHTS * np.hypot(np.maximum(_scatter_by_night(values), floor), errors)
    reach = _NIGHTS_OF_MEDIAN // 2
    windows_about = np.pad(values, reach, constant_values=np.nan)
    windows_about = np.lib.stride_tricks.sliding_window_view(windows_about, _NIGHTS_OF_MEDIAN)
    # Beside a step, only the nights of one side agree.
    windows_ahead = np.lib.stride_tricks.sliding_window_view(values, FEWEST_NIGHTS_A_SIDE)
    n_windows = len(windows_ahead)
    first_nights, last_nights = slice(0, n_windows), slice(len(values) - n_windows, None)
    has_company = np.zeros(values.size, bool)
    for nights, windows in (
        (slice(None), windows_about),
        (first_nights, windows_ahead),
        (last_nights, windows_ahead),
    ):
        middle = np.nanmedian(windows, axis=1)
        is_alike = np.abs(windows - middle[:, None]) <= limit[nights, None]
        is_majority = 2 * is_alike.sum(axis=1) > np.isfinite(windows).sum(axis=1)
        has_company[nights] |= is_majority & (np.abs(values[nights] - middle) <= limit[nights])
    return has_company


def _scatter_of_all_nights(values):
    """Return the standard deviation from night to night, from differences: drifts do not count."""
    return _deviation_about_zero(np.diff(values)) / math.sqrt(2)


def _scatter_by_night(values):
    """Return the scatter at each night, (n,): that of all nights, or the larger one of a part."""
    scatter, size = _scatter_of_all_nights(values), values.size
    n_parts = max(size // _NIGHTS_OF_PART, 1)
    if n_parts == 1:
        return np.full(size, scatter)
    changes = np.abs(np.diff(values, prepend=values[0]))[: n_parts * _NIGHTS_OF_PART].reshape(
        n_parts, _NIGHTS_OF_PART
    )
    part_scatters = np.pad(MAD_TO_SIGMA * np.median(changes, axis=1) / math.sqrt(2), 1)
    # A part takes the largest scatter of itself and its neighbours: the scatter may change within
    # it.
    part_scatters = np.max([part_scatters[:-2], part_scatters[1:-1], part_scatters[2:]], axis=0)
    part_scatters = np.where(
        part_scatters > _LARGER_SCATTER_FACTOR * scatter, part_scatters, scatter
    )
    return np.append(
        np.repeat(part_scatters, _NIGHTS_OF_PART),
        np.full(size % _NIGHTS_OF_PART, part_scatters[-1]),
    )


def _deviation_about_zero(values):
    """Return the standard deviation of values about 0, without outliers."""
    size = np.abs(values)
    limit = _OUTLIER_SIGMA * MAD_TO_SIGMA * float(np.median(size))
    return _NARROWING_BY_CLIPPING * math.sqrt(float(np.mean(size[size <= limit] ** 2)))


def _event_of_all_nights(event, indices, values, scatter):
    """Return an event with indices among all nights; its first night may have been left out.

    Parameters
    ----------
    event : Event
        With indices among the nights that were not left out.
    indices : numpy.ndarray of shape (k,), int64
        Indices of these nights among all.
    values : numpy.ndarray of shape (n,), float64
        Values of all nights, in the figure's unit; NaN for a night without one.
    scatter : float
        Scatter of the nights about a steady state, in the same unit.
    """
    first, last = int(indices[event.first]), int(indices[event.last_before])
    nights_between = np.arange(last + 1, first)
    nights_of_new_state = nights_between[
        np.abs(values[nights_between] - event.after) < _SIGMA_OF_LONE_NIGHTS * scatter
    ]
    first = int(nights_of_new_state[0]) if nights_of_new_state.size else first
    measured_nights = [night for night in range(last, first) if math.isfinite(values[night])]
    return replace(event, first=first, last_before=measured_nights[-1])


@dataclass(frozen=True)
class _Fit:
    """The step with each of n nights as the first of a new state, in the figure's unit.

    Attributes
    ----------
    step, variance, before, after : numpy.ndarray of shape (n,), float64
        As of `_FittedStep`, for each night; NaN where no step can be fitted.
    """

    step: np.ndarray
    variance: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def step_at(self, night):
        """Return the `_FittedStep` with one night as the first of a new state."""
        return _FittedStep(
            step=float(self.step[night]),
            variance=float(self.variance[night]),
            before=float(self.before[night]),
            after=float(self.after[night]),
        )


class _FittedStep(NamedTuple):
    """A step with one night as the first of a new state, in the figure's unit.

    Attributes
    ----------
    step, variance : float
        The step, and the square of its standard error by the weights of the nights.
    before, after : float
        Values of the line directly before and after the step, minus the median of the figure.
    """

    step: float
    variance: float
    before: float
    after: float


class _JudgedCut(NamedTuple):
    """A cut between two states of a figure, with its significance beside the other cuts.

    Attributes
    ----------
    cut : int
        Index of the first night of the new state.
    fit : _FittedStep
        The step at this night.
    sigma : float
        The step over its error, converted to a normal distribution; 0 if it is below the least
        step.
    error : float
        Error of the step, in the figure's unit.
    """

    cut: int
    fit: _FittedStep
    sigma: float
    error: float


class _Nights:
    """A figure over the nights that were not left out, and the search for its steps.

    Parameters
    ----------
    days, values, errors : numpy.ndarray of shape (n,), float64
        Day, figure and standard error of each night.
    floor : float
        Least scatter from night to night that is assumed.

    Attributes
    ----------
    middle : float
        Median of the given values, which is subtracted from the attribute `values`.
    least_scatter : float
        The least scatter that is assumed, in the figure's unit.
    scatter : float
        Scatter from night to night.
    weights : numpy.ndarray of shape (n,), float64
        Weight of each night in a fit.
    freedom : float
        Degrees of freedom of the scatter.
    """

    def __init__(self, days, values, errors, floor):
        self.days, self.middle = days - days.mean(), float(np.median(values))
        self.values = values - self.middle
        median_error = float(np.median(errors))
        # The scatter of equal values is not 0: results are divided by it.
        self.least_scatter = max(floor, median_error, 1e-9 * abs(self.middle), 1e-9)
        self.scatter = max(_scatter_of_all_nights(values), self.least_scatter)
        scatters = np.maximum(_scatter_by_night(values), self.scatter)
        variance_between = np.maximum(scatters**2 - median_error**2, 0.0)
        # Chosen: no night has more than the weight of a hundred usual nights, even if its error is
        # tiny.
        self.weights = 1 / np.maximum(variance_between + errors**2, (0.1 * self.scatter) ** 2)
        self.freedom = _FREEDOM_PER_NIGHT * len(values)

    def find_cuts(self, limit, least_step):
        """Return the `_JudgedCut` of each step, in the order of nights.

        The largest step is tried first. Its error follows from the values without this step: a
        random walk looks like steps, but scatters as much as before without one of them.
        """
        cuts, nights_tried = [], []
        while len(cuts) < _MOST_STEPS and len(nights_tried) < _TRIALS_WITHOUT_STEP:
            fit = self._fit(*self._window(cuts))
            size = np.abs(fit.step) / np.sqrt(fit.variance)
            size[~(np.abs(fit.step) >= least_step)] = 0.0
            for night in nights_tried:
                size[max(night - FEWEST_NIGHTS_A_SIDE, 0) : night + FEWEST_NIGHTS_A_SIDE] = 0.0
            best_night = int(np.argmax(size))
            if not size[best_night] >= limit:
                break
            best_cut = self._date_cut(best_night, cuts)
            further_cuts = sorted({*cuts, best_cut})
            is_new = best_cut not in cuts
            if is_new and self._judge_cut(best_cut, further_cuts, least_step).sigma >= limit:
                cuts = further_cuts
            else:
                nights_tried.append(best_night)
        return self._settle_steps(cuts, limit, least_step)

    def _settle_steps(self, cuts, limit, least_step):
        """Return the `_JudgedCut` of steps, each dated again between its neighbours."""
        for cut in list(cuts):
            other_cuts = [other_cut for other_cut in cuts if other_cut != cut]
            cuts = sorted({*other_cuts, self._date_cut(cut, other_cuts)})
        judged = [self._judge_cut(cut, cuts, least_step) for cut in cuts]
        return [step for step in judged if step.sigma >= limit]

    def _date_cut(self, cut, other_cuts):
        """Return the night near a cut at which a step reduces the sum of squares most."""
        low, high = (np.full(self.values.size, end[cut]) for end in self._window(other_cuts))
        fit = self._fit(low, high)
        return int(np.argmax(np.nan_to_num(fit.step**2 / fit.variance, nan=0.0)))

    def _judge_cut(self, cut, cuts, least_step):
        """Return the `_JudgedCut` of one of several cuts."""
        fit = self._fit(*self._window([other_cut for other_cut in cuts if other_cut != cut]))
        step_fit = fit.step_at(cut)
        residuals = self._residuals(cuts)
        gaps = np.diff(self.days)
        days_waited = max(float(gaps[cut - 1] - np.median(gaps)), 0.0)
        inflation = self._inflation(residuals, len(cuts))
        error = math.sqrt(
            step_fit.variance * inflation**2 + self._variance_a_day(residuals) * days_waited
        )
        size = abs(step_fit.step)
        sigma = self._sigma(size / error) if size >= least_step else 0.0
        return _JudgedCut(cut, step_fit, sigma, error)

    def event(self, judged):
        """Return the `Event` of a `_JudgedCut`, by the indices of these nights."""
        return Event(
            first=judged.cut,
            last_before=judged.cut - 1,
            size=judged.fit.step,
            error=float(judged.error),
            before=judged.fit.before + self.middle,
            after=judged.fit.after + self.middle,
            sigma=float(judged.sigma),
        )

    def _fit(self, low, high):
        """Return the `_Fit` of steps at each night, to the nights from low up to high.

        NaN where a side has fewer than `FEWEST_NIGHTS_A_SIDE` nights.
        """
        index = np.arange(low.size)
        sums_before, sums_after = self._sums(low, index), self._sums(index, high)
        w_before, wt_before, wy_before, wtt_before, wty_before = sums_before
        w_after, wt_after, wy_after, wtt_after, wty_after = sums_after
        with np.errstate(divide="ignore", invalid="ignore"):
            t_before, y_before = wt_before / w_before, wy_before / w_before
            t_after, y_after = wt_after / w_after, wy_after / w_after
            # Both sides have one slope, each about its own mean day.
            xx = wtt_before - wt_before * t_before + wtt_after - wt_after * t_after
            xy = wty_before - wt_before * y_before + wty_after - wt_after * y_after
            slope, distance = xy / xx, t_after - t_before
            step = y_after - y_before - slope * distance
            variance = 1 / w_before + 1 / w_after + distance**2 / xx
            dates = self.days - np.diff(self.days, prepend=self.days[0]) / 2
            ends = y_before + slope * (dates - t_before), y_after + slope * (dates - t_after)
        step[(index - low < FEWEST_NIGHTS_A_SIDE) | (high - index < FEWEST_NIGHTS_A_SIDE)] = np.nan
        return _Fit(step, variance, *ends)

    def _window(self, cuts):
        """Return the first night, and the one after the last, of each night's fit: (n,) each."""
        index = np.arange(self.values.size)
        edges = np.array([0, *cuts, index.size])
        parts = np.searchsorted(edges, index, side="right") - 1
        low, high = self._nights_nearby
        return np.maximum(low, edges[parts]), np.minimum(high, edges[parts + 1])

    @cached_property
    def _nights_nearby(self):
        """The first night, and the one after the last, that are near each night: (n,) each."""
        index, days = np.arange(self.values.size), self.days
        low = np.minimum(np.searchsorted(days, days - _MOST_DAYS_A_SIDE), index - _NEAREST_NIGHTS)
        high = np.maximum(np.searchsorted(days, days + _MOST_DAYS_A_SIDE), index + _NEAREST_NIGHTS)
        return np.maximum(low, index - _MOST_NIGHTS_A_SIDE), np.minimum(
            high, index + _MOST_NIGHTS_A_SIDE
        )

    @cached_property
    def _running(self):
        """The `_running_sums` of the figure."""
        return self._running_sums(self.values)

    def _running_sums(self, values):
        """Return the running weighted sums of 1, t, y, t^2 and t y, (5, n + 1); the first is 0."""
        w, t = self.weights, self.days
        terms = np.array([w, w * t, w * values, w * t * t, w * t * values])
        return np.pad(np.cumsum(terms, axis=1), ((0, 0), (1, 0)))

    def _sums(self, low, high):
        """Return the weighted sums of 1, t, y, t^2 and t y over nights from low up to high."""
        return self._running[:, high] - self._running[:, low]

    # -- errors ------------------------------------------------------------------------------------

    def _sigma(self, t):
        """Return a step in standard errors, converted from Student's to a normal distribution.

        The scatter is uncertain, because the nights are few.
        """
        return normal_deviate(t, self.freedom)

    def _residuals(self, cuts):
        """Return the values without the steps at some nights."""
        residuals = self.values.copy()
        for cut in cuts:
            fit = self._fit(*self._window([other_cut for other_cut in cuts if other_cut != cut]))
            residuals[cut:] -= np.nan_to_num(fit.step[cut])
        return residuals

    def _inflation(self, residuals, n_steps):
        """Return the factor of the errors by the scatter about the lines and correlated nights.

        The weights contain the scatter of differences between nights. Drifts do not change it, but
        it is less certain than the scatter about the fitted lines.

        Parameters
        ----------
        residuals : numpy.ndarray of shape (n,), float64
            The values without their steps.
        n_steps : int
            Number of steps that were subtracted.
        """
        running, (low, high) = self._running_sums(residuals), self._window(())
        n, t, y, tt, ty = running[:, high] - running[:, low]
        # Nights of one day have no slope: the numerator is 0 as well, and 0/0 would be NaN.
        xx = np.maximum(tt - t * t / n, 1e-300)
        slope = (ty - t * y / n) / xx
        line_values = y / n + slope * (self.days - t / n)
        leverage = self.weights * (1 / n + (self.days - t / n) ** 2 / xx)
        freedom = residuals.size - leverage.sum() - n_steps
        spread = max(
            _deviation_about_zero(residuals - line_values) * math.sqrt(residuals.size / freedom),
            self.least_scatter,
        )
        correlation = 1 - (self.scatter / max(spread, self.scatter)) ** 2
        correlation = min(max(correlation - self.values.size**-0.5, 0.0), _MOST_CORRELATION)
        return math.sqrt((1 + correlation) / (1 - correlation)) * spread / self.scatter

    def _variance_a_day(self, residuals):
        """Return the variance that each day adds to the figure by a random walk."""
        later_nights = np.searchsorted(self.days, self.days + _LEAST_WANDERING_DAYS)
        pairs = np.flatnonzero(later_nights < residuals.size)
        if pairs.size < FEWEST_NIGHTS_A_SIDE:
            return 0.0
        lags = self.days[later_nights[pairs]] - self.days[pairs]
        deviation = _deviation_about_zero(residuals[later_nights[pairs]] - residuals[pairs])
        return max(deviation**2 - 2 * self.scatter**2, 0.0) / float(np.median(lags))
