"""By how many degrees masters are warmer than frames, by the set point and by the sensor.

Set points are compared where master and frame have one: a sensor moves by a few steps of its
converter. Where the sensors differ by more than `rule_values.SENSOR_SPREAD_DEGREES`, a cooler did
not reach its set point, and the larger of the two differences counts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ccdflow.files.values import number_or_nan, number_or_none
from ccdflow.kinds.matching.rule_values import SENSOR_SPREAD_DEGREES
from ccdflow.kinds.matching.setups import TEMPERATURE_FACTS


def observation_degrees_warmer(observation, frame):
    """Return by how many degrees Celsius a master is warmer than a frame; None where unknown.

    Parameters
    ----------
    observation : ccdflow.kinds.matching.rule_values.Observation
        Observation of the master.
    frame : ccdflow.kinds.matching.rule_values.Observation

    Returns
    -------
    float or None
    """
    return degrees_warmer(
        (observation.set_temperature, observation.temperature),
        (frame.set_temperature, frame.temperature),
    )


def degrees_warmer(master_temperatures, frame_temperatures):
    """Return by how many degrees Celsius a master is warmer than a frame; None where unknown.

    Parameters
    ----------
    master_temperatures, frame_temperatures : sequence of (float or None)
        Set point and sensor temperature, degrees Celsius.

    Returns
    -------
    float or None
    """
    set_point, sensor = master_temperatures
    frame_set_point, frame_sensor = frame_temperatures
    is_sensor_known = sensor is not None and frame_sensor is not None
    sensor_difference = sensor - frame_sensor if is_sensor_known else None
    if set_point is None or frame_set_point is None:
        return sensor_difference
    set_point_difference = set_point - frame_set_point
    if sensor_difference is None or abs(sensor_difference) <= SENSOR_SPREAD_DEGREES:
        return set_point_difference
    return max(set_point_difference, sensor_difference, key=abs)


def temperature_differences(set_points, sensors, frame_temperatures):
    """Return by how many degrees Celsius masters differ from a frame; NaN where it is unknown.

    Parameters
    ----------
    set_points, sensors : numpy.ndarray of shape (n,), float64
        Set points and sensor temperatures of the masters, degrees Celsius; NaN where unknown.
    frame_temperatures : (float or None, float or None)
        Set point and sensor temperature of the frame, degrees Celsius.

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        Degrees Celsius, at least 0.
    """
    set_point_differences = np.abs(set_points - number_or_nan(frame_temperatures[0]))
    sensor_differences = np.abs(sensors - number_or_nan(frame_temperatures[1]))
    larger_differences = np.where(
        sensor_differences > SENSOR_SPREAD_DEGREES,
        np.fmax(set_point_differences, sensor_differences),
        set_point_differences,
    )
    return np.where(np.isfinite(set_point_differences), larger_differences, sensor_differences)


def tenths_of_degrees(temperature):
    """Return a temperature to 0.1 degree, as biases and flats are compared; None for None."""
    return None if temperature is None else round(temperature, 1)


def degrees_beyond_tolerance(set_points, sensors, frame_temperatures, rules):
    """Return by how many degrees Celsius biases or flats are warmer than a frame, to 0.1 degree.

    Biases and flats depend little on temperature. A difference counts as 0 if it is unknown, within
    the tolerance, or within the scatter of a sensor without a set point.

    Parameters
    ----------
    set_points, sensors : numpy.ndarray of shape (n,), float64
        Set points and sensors of the masters, degrees Celsius.
    frame_temperatures : (float or None, float or None)
        Set point and sensor temperature of the frame, degrees Celsius.
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        Degrees Celsius; negative for a colder master.
    """
    set_point_differences = set_points - number_or_nan(frame_temperatures[0])
    sensor_differences = sensors - number_or_nan(frame_temperatures[1])
    with np.errstate(invalid="ignore"):
        set_points_beyond = np.where(
            np.abs(set_point_differences) > rules.temperature_tolerance, set_point_differences, 0.0
        )
        is_sensor_farther = (np.abs(sensor_differences) > SENSOR_SPREAD_DEGREES) & ~(
            np.abs(sensor_differences) <= np.abs(set_points_beyond)
        )
    # The sum with 0.0 turns -0.0 into 0.0: the bytes of these values are part of a key.
    return np.round(np.where(is_sensor_farther, sensor_differences, set_points_beyond), 1) + 0.0


def dark_degrees_warmer(use, row):
    """Return by how many degrees Celsius a dark is warmer than a row's frame; None where unknown.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
        Use of a dark.
    row : ccdflow.run.raw_frames.rows.Row
        Row of the frame.

    Returns
    -------
    float or None
    """
    return dark_degrees_warmer_than(use, [row.facts[name] for name in TEMPERATURE_FACTS])


def dark_degrees_warmer_than(use, temperatures):
    """Return by how many degrees Celsius a dark is warmer than a frame; None where unknown.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
        Use of a dark.
    temperatures : sequence of (float, int or str)
        Set point and sensor temperature of the frame, as in its header.

    Returns
    -------
    float or None
    """
    return (
        degrees_warmer(use.temperatures, _numbers_of(tuple(temperatures)))
        if use.temperatures
        else None
    )


# Temperatures repeat within and between nights: up to 20,000 different pairs are converted once.
@lru_cache(maxsize=20_000)
def _numbers_of(temperatures):
    """Return the values of temperature cards as numbers; None for a value that is no number."""
    return tuple(map(number_or_none, temperatures))
