"""The masters of one kind, setup and filter in columns: an array for each of their values."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ccdflow.camera.exposures import EXACT_FRACTION, is_same_exposure
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.matching.rule_values import HARMLESS_SCALE_UP, CandidateMaster, Rules
from ccdflow.kinds.matching.temperatures import (
    degrees_beyond_tolerance,
    temperature_differences,
    tenths_of_degrees,
)

if TYPE_CHECKING:
    from ccdflow.kinds.matching.terms import Terms

IS_EXACT, IS_SCALED_UP, IS_TOO_SHORT = 1, 2, 4
"""Flags of a dark's exposure: it is the frame's; the dark would be scaled up by more than is
harmless; by more than is allowed."""

HAS_OTHER_TEMPERATURE, HAS_KNOWN_TEMPERATURE = 1, 2
"""Flags of a dark's temperature: it is beyond the tolerance from the frame's; both are known."""


@cache
def day_of(night):
    """Return the day number of a night's date, or None where its name begins with no date."""
    try:
        return date.fromisoformat(night[:10]).toordinal()
    except ValueError:
        return None


@dataclass(frozen=True)
class MasterColumns:
    """Masters of one kind, setup and filter, in columns: oldest first, undated ones last.

    Attributes
    ----------
    masters : tuple of CandidateMaster
    rules : ccdflow.kinds.matching.rule_values.Rules
        The rules by which all frames choose among them: the flags that are kept follow from them.
    product_order : numpy.ndarray of shape (n,), int64
        Position of each master in the order of products, which decides between equal ones.
    days : numpy.ndarray of shape (n,), float64
        Day number of each master's night; NaN where the night is not a date.
    night_numbers : numpy.ndarray of shape (n,), int64
        `number_of_night` of each master's night.
    number_of_night : dict of str to int
        A number for each night, in the order in which the masters have them.
    n_members : numpy.ndarray of shape (n,), float64
        Number of members of each master.
    exptimes : numpy.ndarray of shape (n,), float64
        Seconds; NaN where the exposure is not known.
    bias_variances : numpy.ndarray of shape (n,), float64
        Variances of the biases that the members had subtracted, electrons^2.
    exposures : numpy.ndarray of shape (k,), float64
        Each exposure time once.
    temperatures : tuple of numpy.ndarray of shape (k,), float64
        Set points and sensor temperatures, degrees Celsius: each pair once; NaN where one is not
        known.
    temperature_index : numpy.ndarray of shape (n,), int64
        Index of the pair of temperatures of each master.
    terms : dict of tuple to ccdflow.kinds.matching.terms.Terms
        The terms of the last frames by their keys: `ccdflow.kinds.matching.terms.terms_of`.
    """

    masters: tuple[CandidateMaster, ...]
    rules: Rules
    product_order: np.ndarray
    days: np.ndarray
    night_numbers: np.ndarray
    number_of_night: dict[str, int]
    n_members: np.ndarray
    exptimes: np.ndarray
    bias_variances: np.ndarray
    exposures: np.ndarray
    temperatures: tuple[np.ndarray, np.ndarray]
    temperature_index: np.ndarray
    _temperature_flags: dict[tuple[float | None, ...], bytes] = field(default_factory=dict)
    _degrees_warmer: dict[tuple[float | None, ...], bytes] = field(default_factory=dict)
    _exposure_flags: dict[float | None, bytes] = field(default_factory=dict)
    _indices_of_products: dict[str, int] = field(default_factory=dict)
    terms: dict[tuple[Hashable, ...], Terms] = field(default_factory=dict, repr=False)

    def index_of(self, product):
        """Return the index of a master in the columns; None where the columns lack the master."""
        if not self._indices_of_products:
            # A master of several nights has an entry for each of them: the first one counts.
            for index in np.argsort(self.product_order):
                self._indices_of_products.setdefault(self.masters[index].product, int(index))
        return self._indices_of_products.get(product)

    def exptime_of(self, product):
        """Return the exposure of a master in the columns, seconds; None where it is unknown."""
        return self.masters[self.index_of(product)].observation.exptime

    def exposure_flags(self, seconds):
        """Return which darks have a frame's exposure, and which may be scaled to it.

        Parameters
        ----------
        seconds : float
            The frame's exposure.

        Returns
        -------
        bytes
            A byte for each of `exposures`: `IS_EXACT`, `IS_SCALED_UP`, `IS_TOO_SHORT`.
        """
        if seconds not in self._exposure_flags:
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                scale = seconds / self.exposures
            is_exact = is_same_exposure(self.exposures, seconds)
            is_too_short = is_scaled_too_far(scale, self.rules.scale_up)
            is_scaled_up = scale > HARMLESS_SCALE_UP
            flags = IS_EXACT * is_exact + IS_SCALED_UP * is_scaled_up + IS_TOO_SHORT * is_too_short
            self._exposure_flags[seconds] = flags.astype(np.uint8).tobytes()
        return self._exposure_flags[seconds]

    def temperature_flags(self, frame_temperatures):
        """Return which darks have another temperature than a frame, and whether that is known.

        Parameters
        ----------
        frame_temperatures : (float or None, float or None)
            Set point and sensor of the frame, degrees Celsius.

        Returns
        -------
        bytes
            A byte for each of `temperatures`: `HAS_OTHER_TEMPERATURE`, `HAS_KNOWN_TEMPERATURE`.
        """
        if frame_temperatures not in self._temperature_flags:
            with np.errstate(invalid="ignore"):
                differences = temperature_differences(*self.temperatures, frame_temperatures)
                is_other = differences > self.rules.temperature_tolerance
            is_known = np.isfinite(differences)
            flags = HAS_OTHER_TEMPERATURE * is_other + HAS_KNOWN_TEMPERATURE * is_known
            self._temperature_flags[frame_temperatures] = flags.astype(np.uint8).tobytes()
        return self._temperature_flags[frame_temperatures]

    def degrees_warmer(self, frame_temperatures):
        """Return by how many degrees Celsius each bias or flat is warmer than a frame.

        Parameters
        ----------
        frame_temperatures : (float or None, float or None)
            Set point and sensor of the frame, degrees Celsius.

        Returns
        -------
        bytes
            Bytes of an array of float64, a value for each of `temperatures`.
        """
        if frame_temperatures not in self._degrees_warmer:
            # Rounded to 0.1 degree: without a cooler each frame would have an entry of its own.
            rounded_temperatures = tuple(map(tenths_of_degrees, frame_temperatures))
            if rounded_temperatures not in self._degrees_warmer:
                differences = degrees_beyond_tolerance(
                    *self.temperatures, rounded_temperatures, self.rules
                )
                self._degrees_warmer[rounded_temperatures] = differences.tobytes()
            self._degrees_warmer[frame_temperatures] = self._degrees_warmer[rounded_temperatures]
        return self._degrees_warmer[frame_temperatures]


def columns_of_masters(masters, rules):
    """Return the `MasterColumns` of masters of a kind, setup and filter.

    Parameters
    ----------
    masters : iterable of CandidateMaster
        In the order of products.
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    MasterColumns
    """
    masters = tuple(masters)
    days = _as_numbers([day_of(master.observation.night) for master in masters])
    order_by_day = np.argsort(days, kind="stable")
    masters, days = tuple(masters[index] for index in order_by_day), days[order_by_day]
    observations = [master.observation for master in masters]
    exptimes = _as_numbers([observation.exptime for observation in observations])
    night_numbers, number_of_night = _number_values(
        observation.night for observation in observations
    )
    temperature_index, temperatures = _number_values(
        (observation.set_temperature, observation.temperature) for observation in observations
    )
    return MasterColumns(
        masters=masters,
        rules=rules,
        product_order=order_by_day,
        days=days,
        night_numbers=night_numbers,
        number_of_night=number_of_night,
        n_members=_as_numbers([master.n_members for master in masters]),
        exptimes=exptimes,
        bias_variances=_as_numbers([master.bias_variance for master in masters]),
        exposures=np.unique(exptimes[np.isfinite(exptimes)]),
        temperatures=tuple(map(_as_numbers, zip(*temperatures, strict=True))),
        temperature_index=temperature_index,
    )


def _number_values(values):
    """Return the number of each value, (n,) int64, and {value: number}.

    Numbers count from 0, in the order in which the values first occur.
    """
    numbers = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values]), numbers


def _as_numbers(values):
    """Return values as an array (n,), float64; NaN for texts and for None."""
    return np.array([number_or_nan(value) for value in values])


def is_scaled_too_far(scale, scale_up):
    """Return whether a dark would be scaled up by more than is allowed, to a thousandth.

    Parameters
    ----------
    scale : float or numpy.ndarray of any shape, float64
    scale_up : float
        The factor that is allowed.

    Returns
    -------
    bool or numpy.ndarray of the same shape, bool
    """
    return scale > scale_up * (1 + EXACT_FRACTION)
