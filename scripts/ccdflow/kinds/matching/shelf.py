"""The masters of one kind, setup and filter in columns: arrays only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import cache

import numpy as np

from ccdflow.calibrate.chain import EXACT_PART, is_same_exposure
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.matching.match_words import STRETCHED
from ccdflow.kinds.matching.temperatures import degrees_warmer, temperature_differences


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
                off = temperature_differences(*self.temperatures, degrees)
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
            self._warmer[degrees] = degrees_warmer(*self.temperatures, degrees, rules).tobytes()
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


def _column(values):
    return np.array([number_or_nan(value) for value in values])


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
