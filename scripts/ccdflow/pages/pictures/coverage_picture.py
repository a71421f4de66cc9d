"""The picture of the frames of each night and type, missing ones marked, as PNG bytes."""

from __future__ import annotations

from ccdflow.pages.pictures.plot_panel import PlotPanel
from ccdflow.pages.pictures.raster import new_picture
from ccdflow.pages.pictures.style import (
    INK,
    MUTED_INK,
    NUMBER_POINTS,
    PAPER,
    WIDTH,
    drawable_text,
    font,
)

# Height of a row of the matrix, inches.
_ROW_INCHES = 0.26
# Room for the labels at the left, inches.
_LABEL_INCHES = 2.6
# Room above the matrix, right of it, and the sum of the room above and below it with the names of
# the nights, inches.
_ABOVE_MATRIX, _RIGHT_OF_MATRIX, _AROUND_MATRIX = 0.1, 0.3, 1.1
# A matrix has the width of at least this many nights: its cells are never wide.
_FEWEST_COLUMNS = 8
# Half the width and half the height of a cell's colour, in columns and rows: cells have gaps.
_HALF_WIDTH, _HALF_HEIGHT = 0.47, 0.45
# From the matrix to the labels at its left and to the nights' names below it, pixels.
_TO_LABEL, _TO_NIGHT = 6, 8
# A label has at most this many letters.
_LABEL_LETTERS = 40
_COLOURS = {"own": "#86a9b0", "other": "#f0d9a8", "missing": "#d98a7a"}
_MARK_OF_STATE = {"other": "o", "missing": "x"}
# A night's name has at most this many letters.
_NIGHT_LETTERS = 14


def coverage_picture(nights, labels, cells, *, title, explanation):
    """Return the picture of a matrix of kinds of frames and nights.

    Parameters
    ----------
    nights, labels : sequence of str
        Columns and rows.
    cells : dict of (str, str) to (int, str)
        By label and night: the number of frames, and a state. ``own``: the night has such frames;
        ``other``: its frames took a master of another night; ``missing``: some have no master. The
        last two have a mark beside the number.
    title, explanation : str

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        If there is no night or no kind of frame.
    """
    if not nights:
        raise ValueError("there is no night to draw")
    if not labels:
        raise ValueError("there is no kind of frame to draw")
    raster, top = new_picture(title, explanation, _ROW_INCHES * len(labels) + _AROUND_MATRIX)
    n_columns = max(len(nights), _FEWEST_COLUMNS)
    width = WIDTH - _LABEL_INCHES - _RIGHT_OF_MATRIX
    box = _LABEL_INCHES, top + _ABOVE_MATRIX, width, _ROW_INCHES * len(labels)
    panel = PlotPanel(raster, box, (-0.5, n_columns - 0.5), (len(labels) - 0.5, -0.5), ground=PAPER)
    left, _, _, bottom = panel.corners
    column_of = {night: column for column, night in enumerate(nights)}
    row_of = {label: row for row, label in enumerate(labels)}
    for (label, night), (count, state) in cells.items():
        x, y = column_of[night], row_of[label]
        panel.block(
            x - _HALF_WIDTH, x + _HALF_WIDTH, y - _HALF_HEIGHT, y + _HALF_HEIGHT, _COLOURS[state]
        )
        text = " ".join(filter(None, (str(count or ""), _MARK_OF_STATE.get(state))))
        raster.draw_text(panel.x(x), panel.y(y), text, INK, points=NUMBER_POINTS, anchor="mm")
    for label, row in row_of.items():
        name = drawable_text(label)[:_LABEL_LETTERS]
        raster.draw_text(
            left - _TO_LABEL, panel.y(row), name, MUTED_INK, points=NUMBER_POINTS, anchor="rm"
        )
    for night, column in column_of.items():
        name = drawable_text(night)[:_NIGHT_LETTERS]
        half = font(NUMBER_POINTS, is_bold=False).getlength(name) / 2
        place = panel.x(column), bottom + _TO_NIGHT + half
        raster.draw_text(*place, name, MUTED_INK, points=NUMBER_POINTS, is_upright=True)
    return raster.png()
