"""The figures of detectors over the nights, read from the records of biases and measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ccdflow import paths
from ccdflow.detector.trend_steps import TRENDS
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.dark import rounded_exposure
from ccdflow.kinds.matching.master_columns import day_of
from ccdflow.kinds.measuring.detector_measurement import DETECTOR

DARKS_ENTRY = "darks of measurements"
"""The key of `darks_of_measurement` in the summary of a closed night."""

_BIAS_FIGURES, _MEASUREMENT_FIGURES = ("level", "read_noise"), ("gain", "dark_rate", "hot")


@dataclass(frozen=True)
class FigureSeries:
    """A figure of one amplifier over the nights in which its camera had one setup.

    Attributes
    ----------
    camera, setup, amplifier, figure : str
    points : dict of str to (float, float, float)
        By night: the value, its standard error, the read noise; NaN for one that is not known.
    """

    camera: str
    setup: str
    amplifier: str
    figure: str
    points: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def key(self):
        """The key that series are sorted by."""
        return self.camera, self.setup, self.amplifier, self.figure

    @property
    def name(self):
        """Amplifier and setup in words."""
        return " ".join(filter(None, (self.amplifier, self.setup)))

    def events(self, epochs=()):
        """Return [(nights, Event)] of the steps of the series, found in each epoch separately.

        Parameters
        ----------
        epochs : sequence of str, optional
            Nights with which the camera's epochs begin.

        Returns
        -------
        list of (list of str, ccdflow.detector.trend_steps.Event)
            The nights of the epoch: the event has indices of these.
        """
        (trend,) = (trend for trend in TRENDS if trend.name == self.figure)
        nights_by_epoch = {}
        for night in sorted(self.points):
            epoch = max((begin for begin in epochs if begin <= night), default="")
            nights_by_epoch.setdefault(epoch, []).append(night)
        events = []
        for nights in nights_by_epoch.values():
            values, errors, noises = zip(*(self.points[night] for night in nights), strict=True)
            days = [day_of(night) for night in nights]
            noise = _finite_median(noises)
            events += [
                (nights, step) for step in trend.steps(days, values, errors, read_noise=noise)
            ]
        return events


def _finite_median(values):
    """Return the median of the finite values; NaN without any."""
    finite_values = [value for value in values if math.isfinite(value)]
    return float(np.median(finite_values)) if finite_values else math.nan


def groups_with_figures(context):
    """Return the dated groups with figures of the detector: biases, and measurements.

    Parameters
    ----------
    context : ccdflow.run.context.Context

    Returns
    -------
    biases, measurements : list of ccdflow.run.job.Group
    """
    biases = BIAS_KIND.groups(context) if BIAS_KIND.is_enabled(context) else []
    dated_biases = [group for group in biases if day_of(group.night) is not None]
    return dated_biases, [
        group for group in DETECTOR.groups(context) if day_of(group.night) is not None
    ]


def figure_series(context, *, first_night=""):
    """Return the `FigureSeries` of all cameras, sorted.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    first_night : str, optional
        The first night that counts.

    Returns
    -------
    list of FigureSeries
    """
    biases, measurements = (
        [group for group in groups if group.night >= first_night]
        for groups in groups_with_figures(context)
    )
    series_by_key = {}
    points = (*_bias_points(context, biases), *_measurement_points(context, measurements))
    for key, night, point in points:
        if math.isfinite(point[0]):
            if key not in series_by_key:
                series_by_key[key] = FigureSeries(*key)
            series_by_key[key].points[night] = point
    return [series_by_key[key] for key in sorted(series_by_key)]


def _bias_points(context, groups):
    """Yield (key of the series, night, point) of the figures of combined biases."""
    for group in groups:
        setup = paths.stem(group.product).removeprefix(f"bias_{group.camera}").strip("_")
        for figures in _figures_of_group(context, group):
            for name in _BIAS_FIGURES:
                key = group.camera, setup, figures["amplifier"], name
                point = figures[name], figures[f"{name}_error"], figures["read_noise"]
                yield key, group.night, point


def _measurement_points(context, groups):
    """Yield (key of the series, night, point) of the figures of a detector's measurements."""
    temperatures = _dark_temperatures(context, groups)
    for group in groups:
        setup = paths.stem(group.product).removeprefix(paths.PIXELS_START)
        temperature, exposures = temperatures[group.product]
        for figures in _figures_of_group(context, group):
            for name in _MEASUREMENT_FIGURES:
                is_of_darks = name != "gain"
                words = f"{setup} {temperature} {exposures[name]}" if is_of_darks else setup
                is_measured = not is_of_darks or math.isfinite(figures["dark_rate"])
                value = float(figures[name]) if is_measured else math.nan
                key = group.camera, words.strip(), figures["amplifier"], name
                yield key, group.night, (value, figures.get(f"{name}_error", math.nan), math.nan)


def _figures_of_group(context, group):
    """Return the figures of each amplifier in a product's record; () where there are none."""
    record = context.outcome(group.product)
    return record.data.get("quality", ()) if record is not None else ()


def _dark_temperatures(context, measurements):
    """Return {measurement: (temperature, exposures by figure)} of the darks used, in words.

    Rates are comparable only between darks of one temperature, all of one exposure or of several.
    """
    darks, temperatures_by_setup = {}, {}
    for darks_of_night in context.summaries(DARKS_ENTRY).values():
        darks |= darks_of_night
    for group in measurements:
        if group.product not in darks:
            darks[group.product] = darks_of_measurement(context, group)
        temperatures_by_setup.setdefault((group.camera, group.shared), set()).add(
            darks[group.product][0]
        )
    tolerance = context.settings["calibrate"]["temperature_tolerance"]
    names = {
        setup: names_of_temperatures(temperatures, tolerance)
        for setup, temperatures in temperatures_by_setup.items()
    }
    dark_words_by_product = {}
    for group in measurements:
        temperature, seconds = darks[group.product]
        exposures = "+".join(f"{time:g}" for time in seconds) + " s" if seconds else ""
        exposures_of_rate = "several exposures" if len(seconds) > 1 else exposures
        name = names[group.camera, group.shared][temperature]
        words_by_figure = {"dark_rate": exposures_of_rate, "hot": exposures}
        dark_words_by_product[group.product] = name, words_by_figure
    return dark_words_by_product


def darks_of_measurement(context, group):
    """Return the temperature of a measurement's darks that has most exposures, and these, sorted.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        The measurement.

    Returns
    -------
    temperature : str
        '' where none is known.
    seconds : list of float
    """
    darks = {}
    for step in group.steps:
        for use in step.uses if step.kind == "dark" else ():
            if context.made_record(use.product) is not None:
                shared = dict(context.group(use.product).shared)
                seconds = rounded_exposure(float(shared["exptime"]))
                darks.setdefault(shared.get("temperature", ""), set()).add(seconds)
    temperature, seconds = max(darks.items(), key=lambda entry: len(entry[1]), default=("", ()))
    return temperature, sorted(seconds)


def names_of_temperatures(texts_of_temperatures, tolerance):
    """Return the names of temperatures; close ones share a name.

    Temperatures are close if each is within the tolerance of the next lower one.

    Parameters
    ----------
    texts_of_temperatures : collection of str
        Temperatures in degrees Celsius, as texts; '' where none is known.
    tolerance : float
        Degrees Celsius.

    Returns
    -------
    dict of str to str
        By the texts; '' for ''.
    """
    texts = sorted((text for text in texts_of_temperatures if text), key=float)
    runs = []
    for text in texts:
        if runs and float(text) - float(runs[-1][-1]) <= tolerance:
            runs[-1].append(text)
        else:
            runs.append([text])
    names = {"": ""}
    for run in runs:
        middle = float(np.median([float(text) for text in run]))
        names |= dict.fromkeys(run, f"{middle:.0f} C")
    return names
