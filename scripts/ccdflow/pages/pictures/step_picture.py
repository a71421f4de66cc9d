"""The picture of a camera's figures over the nights, with their steps, as PNG bytes."""

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
from ccdflow.pages.pictures.style import INK, MUTED_INK, NIGHTS_STEP, drawable_text

_STEP_COLOUR = "#b34a4a"
# Room below the last panel, inches.
_BOTTOM_ROOM = 0.25
# Least room above and below the values of a bias level, and of a ratio, as a fraction of the
# largest value (which counts as at least 1).
_LEAST_OF_LEVEL, _LEAST_OF_RATIO = 0.5, 0.05


@dataclass(frozen=True)
class AmplifierLine:
    """A figure of one amplifier over the nights.

    Attributes
    ----------
    name : str
    values : dict of str to float
        By night.
    """

    name: str
    values: dict[str, float]


@dataclass(frozen=True)
class FigurePanel:
    """A figure of all amplifiers of a camera, with the nights of its steps.

    Attributes
    ----------
    words, unit : str
        Name of the figure in words, and its unit.
    lines : tuple of AmplifierLine
    steps : tuple of str
        First nights of the steps in the figure.
    is_level : bool
        Whether the median of a line is subtracted; otherwise the line is divided by it, if it is
        above 0.
    """

    words: str
    unit: str
    lines: tuple[AmplifierLine, ...]
    steps: tuple[str, ...] = ()
    is_level: bool = False


def step_picture(panels, *, title="Figures of the detector", epochs=()):
    """Return the picture of figures over the nights, a panel each, with marked nights.

    Parameters
    ----------
    panels : sequence of FigurePanel
        At least one.
    title : str, optional
        Headline.
    epochs : sequence of str, optional
        First nights of the epochs of the profile.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        If there is no night to draw.
    """
    nights = {night for panel in panels for line in panel.lines for night in line.values}
    if not nights:
        raise ValueError("there is no night to draw")
    nights |= {night for panel in panels for night in panel.steps} | set(epochs)
    positions_by_night = positions_of_nights(nights)
    explanation = (
        "Each figure over its median, which the legend names; the bias level less its median. Red:"
        " a step, with its first night. Grey, dashed: a night in the list epochs: of the camera's"
        " profile."
    )
    with drawing():
        figure, make_axes = new_figure(
            title, explanation, height=NIGHTS_STEP * len(panels) + _BOTTOM_ROOM
        )
        for row, panel in enumerate(panels):
            axes = make_axes(night_panel_box(row))
            unit = f"less median, {panel.unit}" if panel.is_level else "over median"
            label_axes(axes, panel.words[0].upper() + panel.words[1:], "", unit)
            _draw_lines(axes, panel, positions_by_night)
            night_ticks(axes, positions_by_night)
            _mark_nights(axes, positions_by_night, epochs, color=MUTED_INK, linestyle="--")
            _mark_nights(axes, positions_by_night, panel.steps, color=_STEP_COLOUR, has_names=True)
            legend(axes)
        return png_bytes(figure)


def _draw_lines(axes, panel, positions_by_night):
    """Draw the figure of a panel over the nights, a line for each amplifier."""
    drawn_values = []
    for number, line in enumerate(panel.lines):
        positions_and_values = sorted(
            (positions_by_night[n], v) for n, v in line.values.items() if math.isfinite(v)
        )
        if not positions_and_values:
            continue
        days, values = (np.array(each) for each in zip(*positions_and_values, strict=True))
        middle = float(np.median(values))
        if panel.is_level:
            values = values - middle
        elif middle > 0:
            values = values / middle
        unit = panel.unit.replace("e-", "e⁻")
        label = f"{drawable_text(line.name)}: {middle:.4g} {unit}".rstrip()
        draw_line(axes, days, values, label=label, number=number)
        drawn_values += values.tolist()
    set_vertical_scale(
        axes, drawn_values, least_room=_LEAST_OF_LEVEL if panel.is_level else _LEAST_OF_RATIO
    )


def _mark_nights(axes, positions_by_night, nights, *, color, linestyle="-", has_names=False):
    """Draw an upright line at each of some nights.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    positions_by_night : dict of str to float
        Position of each night.
    nights : iterable of str
    color : str
    linestyle : str, optional
        As of Matplotlib.
    has_names : bool, optional
        Whether the names of the nights are written beside the lines.
    """
    for night in nights:
        axes.axvline(
            positions_by_night[night], color=color, linestyle=linestyle, linewidth=1.0, zorder=0
        )
        if has_names:
            axes.annotate(
                drawable_text(night), (positions_by_night[night], 0.03),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0), textcoords="offset points", fontsize=7.5, color=INK,
            )  # fmt: skip
