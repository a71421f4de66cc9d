"""The picture of how masters depart from one another with the days between."""

from __future__ import annotations

import numpy as np

from ccdflow.pages.pictures.canvas import drawing, label_axes, new_figure, png_bytes
from ccdflow.pages.pictures.style import LEFT_ROOM, MUTED_INK, SERIES, WIDTH, drawable_text

# Height of a panel, inches.
_PANEL = 1.5
# From one panel to the next, inches.
_STEP = 2.45


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
    wide = (WIDTH - 3 * LEFT_ROOM) / 2
    rows = (len(series) + 1) // 2
    with drawing():
        figure, make_axes = new_figure(title, explanation, height=_STEP * rows)
        for number, (name, unit, points, rate_in_use) in enumerate(series):
            left, top = LEFT_ROOM + number % 2 * (wide + LEFT_ROOM), 0.3 + _STEP * (number // 2)
            axes = make_axes((left, top, wide, _PANEL))
            days, excess, errors = np.array(points, float).T
            axes.errorbar(
                days, excess, errors, fmt="o", color=SERIES[0], markersize=3, linewidth=0.8
            )
            most = max(days.max(), 1)
            axes.plot(
                [0, most], [0, rate_in_use * most], color=MUTED_INK, linewidth=1, linestyle="--"
            )
            label_axes(axes, drawable_text(name), "days between", unit)
        return png_bytes(figure)
