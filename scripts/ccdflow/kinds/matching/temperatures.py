"""Temperatures of masters and frames: set points and sensors, and by how much they differ."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ccdflow.files.values import number_or_nan, number_or_none
from ccdflow.kinds.matching.rule_values import SENSOR_SPREAD_DEGREES
from ccdflow.kinds.matching.setups import TEMPERATURE_FACTS


def temperatures_apart(observation, frame):
    """Return by how many degrees Celsius a master is warmer than a frame, None where unknown.

    Parameters
    ----------
    observation : ccdflow.kinds.matching.rule_values.Observation
        Observation of the master.
    frame : ccdflow.kinds.matching.rule_values.Observation

    Returns
    -------
    float or None
    """
    return degrees_apart(
        (observation.set_temperature, observation.temperature),
        (frame.set_temperature, frame.temperature),
    )


def degrees_apart(master, frame):
    """Return by how many degrees Celsius a master is warmer than a frame, None where unknown.

    Parameters
    ----------
    master, frame : sequence of (float or None)
        Set point and sensor, degrees Celsius.

    Returns
    -------
    float or None
    """
    (set_point, sensor), (own_set_point, own_sensor) = master, frame
    sensor_off = None if sensor is None or own_sensor is None else sensor - own_sensor
    if set_point is None or own_set_point is None:
        return sensor_off
    set_point_off = set_point - own_set_point
    if sensor_off is None or abs(sensor_off) <= SENSOR_SPREAD_DEGREES:
        return set_point_off
    return max(set_point_off, sensor_off, key=abs)


def temperature_differences(set_points, sensors, degrees):
    """Return by how many degrees Celsius each master differs: NaN where one is unknown.

    Set points are compared where both have one: a sensor moves by a step of its converter. Where
    it moves by more, the cooler did not reach its set point.

    Parameters
    ----------
    set_points, sensors : numpy.ndarray of shape (n,), float64
        Set points and sensors of the masters, degrees Celsius; NaN where they are not known.
    degrees : (float or None, float or None)
        Set point and sensor of the frame, degrees Celsius.

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        Degrees Celsius, at least 0.
    """
    set_points_off = np.abs(set_points - number_or_nan(degrees[0]))
    sensors_off = np.abs(sensors - number_or_nan(degrees[1]))
    farther = np.where(
        sensors_off > SENSOR_SPREAD_DEGREES,
        np.fmax(set_points_off, sensors_off),
        set_points_off,
    )
    return np.where(np.isfinite(set_points_off), farther, sensors_off)


def tenths_of_degrees(degrees):
    """Return a temperature as biases and flats are compared by it."""
    return None if degrees is None else round(degrees, 1)


def degrees_warmer(set_points, sensors, degrees, rules):
    """Return by how many degrees Celsius each bias or flat is warmer than a frame, or 0.

    These depend little on temperature: an unknown difference, one within the tolerance, or the
    scatter of a sensor that nobody set counts as 0. The others count to a tenth of a degree.

    Parameters
    ----------
    set_points, sensors : numpy.ndarray of shape (n,), float64
        Set points and sensors of the masters, degrees Celsius.
    degrees : (float or None, float or None)
        Set point and sensor of the frame, degrees Celsius.
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        Degrees Celsius, of each master.
    """
    set_points_off = set_points - number_or_nan(degrees[0])
    sensors_off = sensors - number_or_nan(degrees[1])
    with np.errstate(invalid="ignore"):
        set_points_beyond = np.where(
            np.abs(set_points_off) > rules.temperature_tolerance, set_points_off, 0.0
        )
        is_far = (np.abs(sensors_off) > SENSOR_SPREAD_DEGREES) & ~(
            np.abs(sensors_off) <= np.abs(set_points_beyond)
        )
    # Added to 0: -0.0 becomes 0.0, because the bytes are part of a key.
    return np.round(np.where(is_far, sensors_off, set_points_beyond), 1) + 0.0


def degrees_of_use(use, row):
    """Return by how many degrees a dark is warmer than a frame, None where unknown.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
        Use of a dark.
    row : ccdflow.run.rawframes.rows.Row
        Row of the frame.

    Returns
    -------
    float or None
    """
    return degrees_warmer_than(use, [row.facts[name] for name in TEMPERATURE_FACTS])


def degrees_warmer_than(use, degrees):
    """Return by how many degrees a dark is warmer than a frame, None where unknown.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
        Use of a dark.
    degrees : sequence of (float, int or str)
        The frame's temperatures as in its header: set point and sensor.

    Returns
    -------
    float or None
    """
    return degrees_apart(use.degrees, _numbers_of(tuple(degrees))) if use.degrees else None


# Temperatures repeat within and between nights, so their numbers are kept.
@lru_cache(maxsize=20_000)
def _numbers_of(degrees):
    """Return set point and temperature of cards as numbers, None for one that is none."""
    return tuple(map(number_or_none, degrees))
