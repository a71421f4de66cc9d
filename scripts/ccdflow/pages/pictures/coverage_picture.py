"""The picture of the frames of each night, with holes marked."""

from __future__ import annotations

from ccdflow.errors import UserError
from ccdflow.pages.pictures.plotpanel import PlotPanel
from ccdflow.pages.pictures.raster import new_picture
from ccdflow.pages.pictures.style import INK, MUTED, NUMBER, PAPER, WIDTH, drawable_text, font

# Height of a row, inches.
_ROW = 0.26
# Room for the labels at the left, inches.
_LABELS = 2.6
_COLOURS = {"own": "#86a9b0", "other": "#f0d9a8", "missing": "#d98a7a"}
_MARKS = {"other": "o", "missing": "x"}
# Letters of a night's name that are shown.
_NIGHT = 14


def coverage_picture(nights, labels, cells, *, title, explanation):
    """Draw the coverage matrix.

    Parameters
    ----------
    nights, labels : sequence of str
        Columns and rows.
    cells : dict of (str, str) to (int, str)
        By label and night: a number of frames, and ``own``, ``other`` or ``missing``. One that is
        missing beside frames has the number and its mark.
    title, explanation : str

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    UserError
        If there is no night or no kind of frame.
    """
    if not nights or not labels:
        raise UserError("there is no night to draw", remedy="leave this picture out")
    raster, top = new_picture(title, explanation, _ROW * len(labels) + 1.1)
    columns = max(len(nights), 8)
    box = _LABELS, top + 0.1, WIDTH - _LABELS - 0.3, _ROW * len(labels)
    panel = PlotPanel(raster, box, (-0.5, columns - 0.5), (len(labels) - 0.5, -0.5), ground=PAPER)
    left, _, _, bottom = panel.corners
    places = {night: place for place, night in enumerate(nights)}
    rows = {label: place for place, label in enumerate(labels)}
    for (label, night), (count, state) in cells.items():
        x, y = places[night], rows[label]
        panel.block(x - 0.47, x + 0.47, y - 0.45, y + 0.45, _COLOURS[state])
        text = " ".join(filter(None, (str(count or ""), _MARKS.get(state))))
        raster.text(panel.x(x), panel.y(y), text, INK, points=NUMBER, anchor="mm")
    for label, place in rows.items():
        name = drawable_text(label)[:40]
        raster.text(left - 6, panel.y(place), name, MUTED, points=NUMBER, anchor="rm")
    for night, place in places.items():
        name = drawable_text(night)[:_NIGHT]
        half = font(NUMBER, bold=False).getlength(name) / 2
        at = panel.x(place), bottom + 8 + half
        raster.text(*at, name, MUTED, points=NUMBER, upright=True)
    return raster.png()
