"""The picture of bias levels and noises over the nights, as PNG bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccdflow.pages.pictures.matplotlib_figure import (
    drawing,
    label_axes,
    legend,
    new_figure,
    png_bytes,
    set_vertical_scale,
)
from ccdflow.pages.pictures.night_axis import (
    draw_line,
    night_panel_box,
    night_ticks,
    positions_of_nights,
)
from ccdflow.pages.pictures.style import FAINT_INK, drawable_text

# Height of all panels, inches.
_PANELS_HEIGHT = 6.4
# Room above and below the point of a single night, as a fraction of the scale.
_ROOM_OF_ONE_NIGHT = 0.6
# Least room at each end of the scale of ratios, as a fraction of the largest.
_LEAST_RATIO_ROOM = 0.2


@dataclass(frozen=True)
class TrendPoint:
    """The figures of an amplifier of a camera in one night.

    Attributes
    ----------
    night : str
        Name of the night, as a rule its date ``YYYY-MM-DD``.
    camera, amplifier : str
        The camera, with the values that distinguish its groups of biases if it has several groups;
        the amplifier, which may be empty.
    level, read_noise : float
        In the unit of the picture; NaN where not known.
    noise_ratio : float
        Noise of the combined bias over the prediction by the read noise and the number of frames.
    """

    night: str
    camera: str
    amplifier: str = ""
    level: float = math.nan
    read_noise: float = math.nan
    noise_ratio: float = math.nan


def trend_picture(points, *, title="Trend over the nights", highlight=None, unit="adu"):
    """Return the picture of bias level, read noise and noise of the combined bias over nights.

    Parameters
    ----------
    points : sequence of TrendPoint
        At least one, in any order.
    title : str, optional
        Headline.
    highlight : str, optional
        A night to mark.
    unit : str, optional
        Unit of the values.

    Returns
    -------
    bytes
        A PNG of three panels with a line for each camera and amplifier.

    Raises
    ------
    ValueError
        If there is no point.
    """
    if not points:
        raise ValueError("there is no night to draw")
    positions_by_night = positions_of_nights({point.night for point in points})
    explanation = (
        "Each point is one night's biases. The electronics set these figures: after a jump, "
        "look for what was changed that day."
    )
    with drawing():
        figure, make_axes = new_figure(title, explanation, height=_PANELS_HEIGHT)
        panels = (
            ("level", "Bias level, less its median", unit),
            ("read_noise", "Read noise of one frame", unit),
            ("noise_ratio", "Noise of the combined bias, measured over predicted", "ratio"),
        )
        for row, (key, name, axis_name) in enumerate(panels):
            axes = make_axes(night_panel_box(row))
            level_unit = unit if key == "level" else ""
            _draw_trends(axes, points, key, positions_by_night, level_unit)
            label_axes(axes, name, "", axis_name)
            night_ticks(axes, positions_by_night)
            if highlight in positions_by_night:
                axes.axvline(positions_by_night[highlight], color=FAINT_INK, linewidth=6, zorder=0)
            if row == 0:
                legend(axes)
        return png_bytes(figure)


def _lines_of_figure(points, key, positions_by_night):
    """Return the label and the line of each camera and amplifier in a panel.

    Parameters
    ----------
    points : sequence of TrendPoint
    key : str
        Name of the figure.
    positions_by_night : dict of str to float

    Returns
    -------
    list of (str, list of (float, float))
        Label; position of a night and the figure, ascending.
    """
    has_one_camera = len({point.camera for point in points}) == 1
    lines = []
    for camera, amplifier in sorted({(point.camera, point.amplifier) for point in points}):
        line = sorted(
            (positions_by_night[point.night], getattr(point, key))
            for point in points
            if (point.camera, point.amplifier) == (camera, amplifier)
            and math.isfinite(getattr(point, key))
        )
        words = (amplifier,) if has_one_camera and amplifier else (camera, amplifier)
        lines.append((" ".join(filter(None, words)), line))
    return lines


def _draw_trends(axes, points, key, positions_by_night, level_unit):
    """Draw the lines of one figure, and set the range of its axis.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    points : sequence of TrendPoint
    key : str
        Name of the figure.
    positions_by_night : dict of str to float
    level_unit : str
        Unit of a bias level; empty for another figure.
    """
    lines = _lines_of_figure(points, key, positions_by_night)
    for number, (label, line) in enumerate(lines):
        _draw_trend(axes, line, label, number, level_unit)
    if len(positions_by_night) == 1:
        axes.margins(y=_ROOM_OF_ONE_NIGHT)
    if key == "noise_ratio":
        # Ratios scatter by a few percent: the errors of the measurement.
        ratios = [point.noise_ratio for point in points if point.noise_ratio > 0]
        set_vertical_scale(axes, [1.0, *ratios], least_room=_LEAST_RATIO_ROOM)


def _draw_trend(axes, line, label, number, level_unit):
    """Draw one line. Levels are drawn minus their median: unlike levels have one scale.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    line : list of (float, float)
        Position of a night, and the figure.
    label : str
        Text of the legend.
    number : int
        Number of the line, for its style.
    level_unit : str
        Unit of a bias level; empty for another figure.
    """
    if not line:
        return
    days, values = zip(*line, strict=True)
    label = drawable_text(label)
    if level_unit:
        centre = float(np.median(values))
        values = [value - centre for value in values]
        label += f": {centre:.1f} {level_unit}"
    draw_line(axes, days, values, label=label, number=number)
