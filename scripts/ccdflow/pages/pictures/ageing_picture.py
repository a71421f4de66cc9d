"""The picture of the differences of masters against the days between them, as PNG bytes."""

from __future__ import annotations

import numpy as np

from ccdflow.pages.pictures.matplotlib_figure import drawing, label_axes, new_figure, png_bytes
from ccdflow.pages.pictures.style import LEFT_ROOM, MUTED_INK, SERIES, WIDTH, drawable_text

# Height of a panel, inches.
_PANEL_HEIGHT = 1.5
# From the headline to the first panel, inches.
_FIRST_TOP = 0.3
# Width of an error bar, points.
_ERROR_LINE = 0.8
# From the top of a panel to the top of the next one below, inches.
_PANEL_STEP = 2.45


def ageing_picture(series, *, title, explanation):
    """Return the picture of the ageing of masters, a panel for each series.

    Parameters
    ----------
    series : sequence of (str, str, list of (int, float, float), float)
        Name; unit of the variance; for each pair of masters, at least one, the days between them,
        their excess variance and its standard error; variance a day that is in use.
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
    n_rows = (len(series) + 1) // 2
    with drawing():
        figure, make_axes = new_figure(title, explanation, height=_PANEL_STEP * n_rows)
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
            most_days = max(days.max(), 1)
            axes.plot(
                [0, most_days],
                [0, rate_in_use * most_days],
                color=MUTED_INK,
                linewidth=1,
                linestyle="--",
            )
            label_axes(axes, drawable_text(name), "days between", unit)
        return png_bytes(figure)
