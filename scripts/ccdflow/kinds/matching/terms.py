"""The variance that each master of a setup adds to a frame, without its ageing, as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ccdflow.calibrate.applied_masters import DARK, FLAT
from ccdflow.camera.exposures import is_same_exposure
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.matching.master_columns import (
    HAS_KNOWN_TEMPERATURE,
    HAS_OTHER_TEMPERATURE,
    MasterColumns,
    is_scaled_too_far,
)
from ccdflow.kinds.matching.rule_values import HARMLESS_SCALE_UP, CandidateMaster

# The terms of at most this many keys are kept. The frames of a night have a few keys; those of an
# archive whose sensor has no cooler have a million. With more, the terms take memory; with fewer,
# those of one night are computed again and again. Chosen, not measured.
_MOST_TERMS = 64


def choice_key(columns, kind, seconds, temperatures):
    """Return the key of a frame's choice of masters, and the exposure by which they are ranked.

    Thousands of frames differ by a thousandth of a second or a hundredth of a degree, and have the
    same choice. The choice depends on which masters are exact, which may be scaled, and which are
    of the frame's temperature. The variance that a scaled dark adds is proportional to the square
    of the frame's exposure. So the rounded exposure puts the darks into the same order.

    Parameters
    ----------
    columns : MasterColumns or None
    kind : {'bias', 'dark', 'flat'}
    seconds : float or None
    temperatures : (float or None, float or None)
        Set point and sensor, degrees Celsius.

    Returns
    -------
    choice_key : hashable
    rounded_seconds : float or None
        The exposure to three digits; None for biases and flats.
    """
    key, rounded_seconds = exposure_key(columns, kind, seconds)
    return (key, temperature_key(columns, kind, temperatures)), rounded_seconds


def exposure_key(columns, kind, seconds):
    """Return the exposure's part of `choice_key`, and the exposure to three digits.

    Parameters
    ----------
    columns : MasterColumns or None
        Masters of the frame's setup; None without masters.
    kind : {'bias', 'dark', 'flat'}
        Kind of the master.
    seconds : float or None
        Exposure of the frame; None where it is unknown.

    Returns
    -------
    exposure_key : hashable
    rounded_seconds : float or None
        To three digits; None for biases and flats.
    """
    if kind != DARK:
        return None, None
    if columns is None or seconds is None:
        return seconds, seconds
    # The rounding depends on this exposure alone: other frames of the archive do not change it.
    rounded_seconds = float(f"{seconds:.3g}")
    return (rounded_seconds, columns.exposure_flags(seconds)), rounded_seconds


def temperature_key(columns, kind, temperatures):
    """Return the temperatures' part of `choice_key`.

    Parameters
    ----------
    columns : MasterColumns or None
    kind : {'bias', 'dark', 'flat'}
    temperatures : (float or None, float or None)
        Set point and sensor, degrees Celsius.

    Returns
    -------
    bytes
    """
    if columns is None:
        return b""
    if kind == DARK:
        return columns.temperature_flags(temperatures)
    return columns.degrees_warmer(temperatures)


class RankedMaster(NamedTuple):
    """A master that is among the best, with the values of its `ccdflow.run.master_choices.Use`.

    Attributes
    ----------
    master : CandidateMaster
    lag, scale, variance, degrees_warmer, ageing_variance : float
        Days between, NaN for an unknown night; factor; electrons^2 (of a flat, relative to the
        signal^2); degrees Celsius; the unit of the variance.
    is_of_own_night, is_exact, is_scaled_up, has_known_temperature : bool
        Whether it is of the frame's night; is not scaled; is scaled up by more than
        `HARMLESS_SCALE_UP`; has a known temperature, as the frame has.
    """

    master: CandidateMaster
    lag: float
    is_of_own_night: bool
    scale: float
    is_exact: bool
    is_scaled_up: bool
    has_known_temperature: bool
    variance: float
    degrees_warmer: float
    ageing_variance: float


class UnscaledMasters(NamedTuple):
    """The dated masters that are not scaled: lists of plain numbers, oldest first.

    A frame is compared with a few of them: for few values lists are faster than arrays.

    Attributes
    ----------
    masters : list of CandidateMaster
    days, fixed_variance, warming_variance, bias_variance_left, degrees_warmer : list of float
        Values of `Terms`.
    ties : list of int
        Values of `Terms`.
    has_known_temperature : list of bool
        Values of `Terms`.
    least_variances : list of float
        The least variance, without ageing, of each master and those before it, electrons^2; of
        flats, relative to the signal^2.
    """

    masters: list[CandidateMaster]
    days: list[float]
    fixed_variance: list[float]
    warming_variance: list[float]
    bias_variance_left: list[float]
    degrees_warmer: list[float]
    ties: list[int]
    has_known_temperature: list[bool]
    least_variances: list[float]


@dataclass(frozen=True)
class Terms:
    """The values that rank the masters of a setup for a frame of any night.

    Attributes
    ----------
    columns : MasterColumns
    indices : numpy.ndarray of shape (n,), int
        Index of each master in the columns: oldest first, undated ones last.
    scale : numpy.ndarray of shape (n,), float64
        The factor by which each master is multiplied for the frame.
    is_exact, is_scaled_up, has_known_temperature : numpy.ndarray of shape (n,), bool
        True where a master is not scaled; is scaled up by more than `HARMLESS_SCALE_UP`; has a
        known temperature, as the frame has.
    degrees_warmer : numpy.ndarray of shape (n,), float64
        Degrees Celsius by which a bias or flat is warmer than the frame.
    fixed_variance, warming_variance, bias_variance_left : numpy.ndarray of shape (n,), float64
        The variance that a master adds without ageing; the variance for the degrees between master
        and frame; and, of a dark, the variance of the bias that its scale leaves in the frame.
        Electrons^2; of a flat, relative to the signal^2.
    ageing_a_day : float
        The variance that each day between master and frame adds, in the same unit.
    is_dark : bool
    """

    columns: MasterColumns
    indices: np.ndarray
    scale: np.ndarray
    is_exact: np.ndarray
    is_scaled_up: np.ndarray
    has_known_temperature: np.ndarray
    degrees_warmer: np.ndarray
    fixed_variance: np.ndarray
    warming_variance: np.ndarray
    bias_variance_left: np.ndarray
    ageing_a_day: float
    is_dark: bool

    @cached_property
    def days(self):
        """The day numbers of the masters' nights: (n,), float64; NaN where one is not a date."""
        return self.columns.days[self.indices]

    @cached_property
    def dated_days(self):
        """The day numbers of the dated masters: (k,), float64."""
        return self.days[np.isfinite(self.days)]

    @cached_property
    def night_numbers(self):
        """The numbers of the masters' nights, as `MasterColumns` has them: (n,), int64."""
        return self.columns.night_numbers[self.indices]

    @cached_property
    def ties(self):
        """The masters' positions in the order of products, which decide ties: (n,), int64."""
        return self.columns.product_order[self.indices]

    @cached_property
    def unscaled_masters(self):
        """The dated masters that are not scaled, as `UnscaledMasters`."""
        indices = np.flatnonzero(self.is_exact & np.isfinite(self.days))
        variances = (
            self.fixed_variance[indices] + self.warming_variance[indices]
        ) + self.bias_variance_left[indices]
        return UnscaledMasters(
            masters=[self.columns.masters[index] for index in self.indices[indices].tolist()],
            days=self.days[indices].tolist(),
            fixed_variance=self.fixed_variance[indices].tolist(),
            warming_variance=self.warming_variance[indices].tolist(),
            bias_variance_left=self.bias_variance_left[indices].tolist(),
            degrees_warmer=self.degrees_warmer[indices].tolist(),
            ties=self.ties[indices].tolist(),
            has_known_temperature=self.has_known_temperature[indices].tolist(),
            least_variances=np.minimum.accumulate(variances).tolist(),
        )

    @cached_property
    def least_variances(self):
        """The least variances of unscaled masters: up to each master, and from each master on.

        Two arrays (n,), float64, without ageing; infinite where no such master is unscaled.
        """
        added_variance = (self.fixed_variance + self.warming_variance) + self.bias_variance_left
        added_variance = np.where(self.is_exact, added_variance, np.inf)
        return np.minimum.accumulate(added_variance), np.minimum.accumulate(added_variance[::-1])[
            ::-1
        ]

    def masters_within(self, day, reach, *, is_causal):
        """Return the indices of the masters within some days of a frame, and of the undated ones.

        With a causal rule later masters are among them only where ``reach`` is infinite or the
        frame has no day.

        Parameters
        ----------
        day : float
            Day number of the frame's night; NaN for none.
        reach : float
            Largest number of days between master and frame.
        is_causal : bool
            Whether masters of later nights count only where no other one fits.

        Returns
        -------
        slice or numpy.ndarray of shape (k,), int
            All masters where the frame has no day.
        """
        count, dated_days = len(self.indices), self.dated_days
        if math.isnan(day) or math.isinf(reach):
            return slice(0, count)
        start = int(dated_days.searchsorted(day - reach))
        stop = int(dated_days.searchsorted(day if is_causal else day + reach, "right"))
        if len(dated_days) == count:
            return slice(start, stop)
        return np.concatenate([np.arange(start, stop), np.arange(len(dated_days), count)])

    def least_variance_beyond(self, day, reach, *, is_causal):
        """Return the least variance, without ageing, of the unscaled masters beyond a reach.

        Parameters
        ----------
        day, reach : float
            As `masters_within` takes them.
        is_causal : bool
            Whether later masters do not count.

        Returns
        -------
        float
            Electrons^2; of flats, relative to the signal^2; infinite where there is no such master.
        """
        start = self.dated_days.searchsorted(day - reach)
        stop = self.dated_days.searchsorted(day + reach, "right")
        least_before = self.least_variances[0][start - 1] if start else math.inf
        if is_causal or stop == len(self.dated_days):
            return least_before
        return min(least_before, self.least_variances[1][stop])


def terms_of(columns, kind, frame, noise, seconds, *, key=None):
    """Return the `Terms` of a frame: one object for frames with the same key, exposure and noise.

    Parameters
    ----------
    columns : MasterColumns
    kind : {'bias', 'dark', 'flat'}
    frame : ccdflow.kinds.matching.rule_values.Observation
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise
    seconds : float or None
        The exposure that masters are scaled for.
    key : hashable, optional
        The frame's `choice_key`, if the caller has it.

    Returns
    -------
    Terms
    """
    if key is None:
        temperatures = frame.set_temperature, frame.temperature
        key, _ = choice_key(columns, kind, frame.exptime, temperatures)
    terms_key = key, seconds, noise
    if terms_key not in columns.terms:
        if len(columns.terms) >= _MOST_TERMS:
            columns.terms.clear()
        # A header may have an exposure of 1e-300 s, which gives an infinite scale.
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            columns.terms[terms_key] = (
                _terms_of_darks(columns, frame, noise, seconds)
                if kind == DARK
                else _terms_of_biases_or_flats(columns, kind, frame, noise)
            )
    return columns.terms[terms_key]


def _terms_of_darks(columns, frame, noise, seconds):
    """Return the `Terms` of darks for a frame.

    Parameters
    ----------
    columns : MasterColumns
    frame : ccdflow.kinds.matching.rule_values.Observation
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise
    seconds : float or None
        The exposure that masters are scaled for.
    """
    frame_seconds, exptimes = number_or_nan(frame.exptime), columns.exptimes
    is_exact = is_same_exposure(exptimes, frame_seconds)
    scale = np.where(is_exact, 1.0, number_or_nan(seconds) / exptimes)
    scale[~is_exact & ~(exptimes > 0)] = np.nan
    is_scaled_up = ~is_exact & (frame_seconds / exptimes > HARMLESS_SCALE_UP)
    flags = columns.temperature_flags((frame.set_temperature, frame.temperature))
    flags = np.frombuffer(flags, np.uint8)[columns.temperature_index]
    is_usable = np.isfinite(scale) & (flags & HAS_OTHER_TEMPERATURE == 0)
    is_usable &= is_exact | ~is_scaled_too_far(frame_seconds / exptimes, columns.rules.scale_up)
    variance_of_member = noise.read_noise**2 + noise.dark_rate * exptimes
    # A scaled dark leaves a part of its bias in a frame of the same bias; `pairs` computes the
    # exact variance. A dark whose exposure is nearly 0 has an infinite scale, and is no candidate.
    bias_variance_left = (1 - scale) ** 2 * columns.bias_variances
    zeros = np.zeros(np.count_nonzero(is_usable))
    return Terms(
        columns=columns,
        indices=np.flatnonzero(is_usable),
        scale=scale[is_usable],
        is_exact=is_exact[is_usable],
        is_scaled_up=is_scaled_up[is_usable],
        has_known_temperature=(flags & HAS_KNOWN_TEMPERATURE > 0)[is_usable],
        degrees_warmer=zeros,
        fixed_variance=(scale**2 * variance_of_member / columns.n_members)[is_usable],
        warming_variance=zeros,
        bias_variance_left=bias_variance_left[is_usable],
        ageing_a_day=noise.dark_ageing * number_or_nan(seconds) ** 2,
        is_dark=True,
    )


def _terms_of_biases_or_flats(columns, kind, frame, noise):
    """Return the `Terms` of biases or flats for a frame, which may take any of them.

    Parameters
    ----------
    columns : MasterColumns
        Masters of the frame's setup.
    kind : {'bias', 'flat'}
        Kind of the master.
    frame : ccdflow.kinds.matching.rule_values.Observation
        Values of the frame.
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise
        Noise of its detector.
    """
    temperatures = frame.set_temperature, frame.temperature
    degrees_warmer = np.frombuffer(columns.degrees_warmer(temperatures))[columns.temperature_index]
    count = len(degrees_warmer)
    fixed_variance = noise.read_noise**2 / columns.n_members
    ageing_a_day, warming = noise.bias_ageing, noise.bias_warming
    if kind == FLAT:
        fixed_variance = 1 / (columns.n_members * noise.flat_level)
        ageing_a_day, warming = noise.flat_ageing, noise.flat_warming
    return Terms(
        columns=columns,
        indices=np.arange(count),
        scale=np.ones(count),
        is_exact=np.ones(count, bool),
        is_scaled_up=np.zeros(count, bool),
        has_known_temperature=np.ones(count, bool),
        degrees_warmer=degrees_warmer,
        fixed_variance=fixed_variance,
        warming_variance=(warming * degrees_warmer) ** 2,
        bias_variance_left=np.zeros(count),
        ageing_a_day=ageing_a_day,
        is_dark=False,
    )
