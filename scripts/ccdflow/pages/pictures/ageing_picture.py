"""The picture of how masters depart from one another with the days between."""

from __future__ import annotations

import numpy as np

from ccdflow.pages.pictures.canvas import drawing, label_axes, new_figure, png_bytes
from ccdflow.pages.pictures.style import LEFT_ROOM, MUTED_INK, SERIES, WIDTH, drawable_text

# Height of a panel, inches.
_PANEL_HEIGHT = 1.5
# From the headline to the first panel, inches.
_FIRST_TOP = 0.3
# Width of a bar of errors, points.
_ERROR_LINE = 0.8
# From one panel to the next, inches.
_PANEL_STEP = 2.45


def ageing_picture(series, *, title, explanation):
    """Draw a panel for each series of masters.

    Parameters
    ----------
    series : sequence of (str, str, list of (int, float, float), float)
        Name; unit; days between, excess variance and its error of each pair; the ageing in use.
    title, explanation : str

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        If there is no series.
    """
    if not series:
        raise ValueError("there are no masters to compare")
    panel_width = (WIDTH - 3 * LEFT_ROOM) / 2
    rows = (len(series) + 1) // 2
    with drawing():
        figure, make_axes = new_figure(title, explanation, height=_PANEL_STEP * rows)
        for number, (name, unit, points, rate_in_use) in enumerate(series):
            left, top = (
                LEFT_ROOM + number % 2 * (panel_width + LEFT_ROOM),
                _FIRST_TOP + _PANEL_STEP * (number // 2),
            )
            axes = make_axes((left, top, panel_width, _PANEL_HEIGHT))
            days, excess, errors = np.array(points, float).T
            axes.errorbar(
                days, excess, errors, fmt="o", color=SERIES[0], markersize=3, linewidth=_ERROR_LINE
            )
            last_day = max(days.max(), 1)
            axes.plot(
                [0, last_day],
                [0, rate_in_use * last_day],
                color=MUTED_INK,
                linewidth=1,
                linestyle="--",
            )
            label_axes(axes, drawable_text(name), "days between", unit)
        return png_bytes(figure)
