"""The horizontal axis of nights of panels that Matplotlib draws, and lines over it."""

from __future__ import annotations

from datetime import date

from ccdflow.pages.pictures.matplotlib_figure import line_style
from ccdflow.pages.pictures.style import (
    LEFT_ROOM,
    NIGHTS_HEIGHT,
    NIGHTS_STEP,
    NIGHTS_TOP,
    RIGHT_ROOM,
    THIN_LINE,
    WIDTH,
    drawable_text,
)

# Lines of at least this many nights have small markers: large ones would hide one another.
_MANY_NIGHTS = 60
# Sizes of markers, points.
_MARKER_SIZE, _SMALL_MARKER_SIZE = 4.5, 2.5
# Room before the first night and after the last, as a fraction of the range of nights; and for a
# single night, in nights.
_SIDE_FRACTION, _SIDE_OF_ONE = 0.03, 0.5
# An axis has at most the first number of names of nights; a name has at most the second number of
# letters.
_MOST_NAMES, _NAME_LETTERS = 8, 16


def night_panel_box(row):
    """Return left, top, width and height of a panel over the nights, inches; row 0 is on top."""
    return LEFT_ROOM, NIGHTS_TOP + NIGHTS_STEP * row, WIDTH - LEFT_ROOM - RIGHT_ROOM, NIGHTS_HEIGHT


def positions_of_nights(nights):
    """Return the position of each night on the axis: its day if all are dates, else its number.

    Parameters
    ----------
    nights : iterable of str

    Returns
    -------
    dict of str to float
        Ascending.

    Examples
    --------
    >>> positions_of_nights({"2024-03-02", "2024-03-01"})
    {'2024-03-01': 738946.0, '2024-03-02': 738947.0}
    """
    nights = sorted(nights)
    try:
        return {night: float(date.fromisoformat(night).toordinal()) for night in nights}
    except ValueError:
        return {night: float(number) for number, night in enumerate(nights)}


def night_ticks(axes, positions_by_night):
    """Set the ends of an axis of nights, and name as many nights as fit.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    positions_by_night : dict of str to float
        As `positions_of_nights` returns it.
    """
    first, last = min(positions_by_night.values()), max(positions_by_night.values())
    least_distance = (last - first) / (_MOST_NAMES - 1) or 1.0
    ticks, names = [], []
    for night, position in positions_by_night.items():
        if not ticks or position - ticks[-1] >= least_distance:
            name = night if len(night) <= _NAME_LETTERS else night[: _NAME_LETTERS - 1] + "…"
            ticks.append(position)
            names.append(drawable_text(name))
    axes.set_xticks(ticks, names)
    room = _SIDE_FRACTION * (last - first) or _SIDE_OF_ONE
    axes.set_xlim(first - room, last + room)


def draw_line(axes, positions, values, *, label, number):
    """Draw the line of one amplifier over the nights.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    positions, values : sequence of float
        Positions of nights, ascending, and the figures.
    label : str
        Text of the legend.
    number : int
        Number of the line, for its style.
    """
    size = _MARKER_SIZE if len(positions) < _MANY_NIGHTS else _SMALL_MARKER_SIZE
    style = {"linewidth": THIN_LINE, "markersize": size, **line_style(number)}
    axes.plot(positions, values, label=label, **style)
