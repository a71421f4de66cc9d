"""The picture of which frames there are of each night, holes marked."""

from __future__ import annotations

from ccdflow.errors import UserError
from ccdflow.pages.pictures.canvas import drawing, new_figure, png_bytes
from ccdflow.pages.pictures.style import INK, MUTED, PAPER, WIDTH, drawable

_ROW, _LABELS = 0.26, 2.6
_COLOURS = {"own": "#86a9b0", "other": "#f0d9a8", "missing": "#d98a7a"}
_MARKS = {"other": "o", "missing": "x"}


def coverage_picture(nights, labels, cells, *, title, explanation):
    """Draw the coverage matrix.

    Parameters
    ----------
    nights, labels : sequence of str
        Columns and rows.
    cells : dict of (str, str) to (int, str)
        By label and night: a number of frames, and ``own``, ``other`` or ``missing``.
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
    height = _ROW * len(labels) + 1.1
    with drawing():
        figure, place = new_figure(title, explanation, height=height)
        axes = place((_LABELS, 0.1, WIDTH - _LABELS - 0.3, _ROW * len(labels)))
        for (label, night), (count, state) in cells.items():
            x, y = nights.index(night), labels.index(label)
            axes.fill_between(
                [x - 0.47, x + 0.47], y - 0.45, y + 0.45, color=_COLOURS[state], linewidth=0
            )
            text = str(count) if count else _MARKS[state]
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=INK)
        axes.set_xlim(-0.5, max(len(nights), 8) - 0.5)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), [drawable(label)[:40] for label in labels])
        axes.set_xticks(
            range(len(nights)), [drawable(night) for night in nights], rotation=90, color=MUTED
        )
        axes.tick_params(length=0)
        axes.set_facecolor(PAPER)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        return png_bytes(figure)
