"""Figures of Matplotlib as PNG bytes: their style, layout in inches, legends and scales.

The same values give the same bytes: without date, version of the software, or the user's style.
"""

from __future__ import annotations

import io
import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ccdflow.pages.pictures.plot_panel import MARKS, MOST_LEGEND_ENTRIES, MOST_LEGEND_FRACTION
from ccdflow.pages.pictures.raster import description_chunk
from ccdflow.pages.pictures.style import (
    ABOVE_HEADLINE,
    DPI,
    EDGE,
    EXPLANATION_LINE,
    EXPLANATION_ROOM,
    FAINT_INK,
    HEADLINE_LINE,
    HEADLINE_POINTS,
    HEADLINE_ROOM,
    INK,
    LABEL_POINTS,
    MARGIN,
    MUTED_INK,
    NUMBER_POINTS,
    PAPER,
    SERIES,
    TITLE_POINTS,
    WHITE,
    WIDTH,
    explanation_lines,
    headline_lines,
)

# Height of a line of a legend, inches.
_LEGEND_LINE = 0.17
# Room below the explanation, inches; Matplotlib measures it from the lower end of letters.
_BELOW_EXPLANATION = 0.12
# Widths of a letter of a legend, of a letter of a panel's title, and of the mark of an entry,
# inches.
_LEGEND_LETTER, _TITLE_LETTER, _LEGEND_MARK = 0.062, 0.085, 0.52
# A legend inside a panel that is wider than this has two columns, inches.
_TWO_COLUMNS_WIDTH = 8
# Room above a legend inside a panel, inches.
_ABOVE_LEGEND = 0.1
# Room above and below the values on a vertical scale, as a fraction of their range.
_SCALE_ROOM = 0.12
_FONT = "DejaVu Sans"
_STYLE = {
    "font.family": [_FONT],
    "font.size": LABEL_POINTS,
    "axes.facecolor": WHITE,
    "axes.edgecolor": EDGE,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.titlesize": TITLE_POINTS,
    "axes.titlelocation": "left",
    # Without this position of titles, Matplotlib computes one from all labels, in a sixth of the
    # time of drawing.
    "axes.titley": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED_INK,
    "ytick.color": MUTED_INK,
    "xtick.labelsize": NUMBER_POINTS,
    "ytick.labelsize": NUMBER_POINTS,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "axes.unicode_minus": True,
    "legend.frameon": False,
    "legend.fontsize": NUMBER_POINTS,
}


# Settings and font caches of Matplotlib are global: threads draw one at a time.
_MATPLOTLIB_LOCK = threading.Lock()
# The thread whose fonts are open, at the key "thread".
_font_state = {}


@contextmanager
def drawing():
    """Hold the lock of Matplotlib, and the style of all pictures, while a figure is drawn."""
    with _MATPLOTLIB_LOCK, matplotlib.rc_context():
        _close_fonts_of_others()
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _close_fonts_of_others():
    """Close the fonts that Matplotlib opened for another thread: up to 64 open files.

    A watch draws each page in a thread of its own: open files and memory would grow with the pages.
    """
    thread = threading.get_ident()
    if _font_state.get("thread") != thread:
        font_manager._get_font.cache_clear()
        _font_state["thread"] = thread


def new_figure(title, explanation, *, height):
    """Make a figure with a headline above the panels and an explanation below them.

    All positions are given: Matplotlib's automatic layout takes longer than the drawing.

    Parameters
    ----------
    title : str
        Headline; broken into lines.
    explanation : str
        Broken into lines.
    height : float
        Height of the panels, inches.

    Returns
    -------
    figure : Figure
        The figure.
    make_axes : AxesMaker
        Makes axes in the figure. Inches are counted from the left edge and from below the headline.
    """
    headline, lines = headline_lines(title), explanation_lines(explanation)
    panels_top = HEADLINE_ROOM + HEADLINE_LINE * len(headline)
    figure_height = panels_top + height + EXPLANATION_ROOM + EXPLANATION_LINE * len(lines)
    figure = Figure(figsize=(WIDTH, figure_height), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.set_label(explanation)
    make_axes = AxesMaker(figure, panels_top, figure_height)
    figure.text(
        MARGIN / WIDTH, 1 - ABOVE_HEADLINE / figure_height, "\n".join(headline), va="top",
        fontsize=HEADLINE_POINTS, fontweight="bold",
    )  # fmt: skip
    figure.text(
        MARGIN / WIDTH,
        _BELOW_EXPLANATION / figure_height,
        "\n".join(lines),
        va="bottom",
        color=MUTED_INK,
    )
    return figure, make_axes


@dataclass(frozen=True)
class AxesMaker:
    """Makes axes in a figure from boxes in inches.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    panels_top : float
        Room above the panels, inches.
    height : float
        Height of the figure, inches.
    """

    figure: Figure
    panels_top: float
    height: float

    def __call__(self, box):
        """Return axes in a box: left, top, width and height, inches."""
        left, top, width, height = box
        bottom = self.height - self.panels_top - top - height
        return self.figure.add_axes(
            (left / WIDTH, bottom / self.height, width / WIDTH, height / self.height)
        )


def png_bytes(figure):
    """Return a figure as a PNG of 256 colours, a third of the size of one with all colours."""
    figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    stream = io.BytesIO()
    # A palette of 256 colours has a byte for each pixel; channels differ by at most 6 of 255.
    reduced = pixels.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.putpalette(_palette_with_exact_grounds(reduced.getpalette()))
    description = description_chunk(figure.get_label())
    reduced.save(stream, format="PNG", compress_level=6, dpi=(DPI, DPI), pnginfo=description)
    return stream.getvalue()


def _palette_with_exact_grounds(palette):
    """Return a palette in which the nearest colours to the two grounds are replaced by these."""
    colours = np.array(palette).reshape(-1, 3)
    for ground in (PAPER, WHITE):
        ground_rgb = [int(ground[index : index + 2], 16) for index in (1, 3, 5)]
        colours[np.abs(colours - ground_rgb).sum(axis=1).argmin()] = ground_rgb
    return colours.ravel().tolist()


def label_axes(axes, title, xlabel, ylabel):
    """Write the title and the names of the axes of a panel, and draw its horizontal grid.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    title, xlabel, ylabel : str
    """
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(visible=True, axis="y", color=FAINT_INK, linewidth=0.5)
    axes.set_axisbelow(True)


def legend(axes):
    """Draw the legend beside the panel's title, or inside the panel if it is too long."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    if len(labels) > MOST_LEGEND_ENTRIES:
        n_left_out = len(labels) - MOST_LEGEND_ENTRIES + 1
        handles = handles[: MOST_LEGEND_ENTRIES - 1]
        labels = labels[: MOST_LEGEND_ENTRIES - 1]
        labels[-1] += f"  (and {n_left_out} more)"
    inches = axes.get_position().width * WIDTH
    legend_width = _LEGEND_LETTER * sum(map(len, labels)) + _LEGEND_MARK * len(labels)
    legend_width += _TITLE_LETTER * len(axes.get_title(loc="left"))
    if legend_width < inches:
        axes.legend(
            handles, labels, ncols=len(labels), loc="lower right", bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.1,
        )  # fmt: skip
    else:
        columns = 1 + (inches > _TWO_COLUMNS_WIDTH)
        _make_room(axes, _ABOVE_LEGEND + _LEGEND_LINE * math.ceil(len(labels) / columns))
        axes.legend(handles, labels, ncols=columns, loc="upper right")


def _make_room(axes, inches):
    """Raise the upper end of the vertical scale by some inches of room."""
    low, high = axes.get_ylim()
    room_fraction = inches / (axes.get_position().height * axes.figure.get_figheight())
    axes.set_ylim(low, low + (high - low) / (1 - min(room_fraction, MOST_LEGEND_FRACTION)))


def set_vertical_scale(axes, values, *, least_room=1e-3):
    """Set the vertical scale for values; on a narrow scale noise would look like jumps.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        The axes of the panel.
    values : sequence of float
        The values drawn; NaN does not count.
    least_room : float, optional
        Least room at each end, as a fraction of the largest value, which counts as at least 1.
    """
    finite_values = np.asarray([value for value in values if math.isfinite(value)])
    if finite_values.size == 0:
        return
    low, high = float(finite_values.min()), float(finite_values.max())
    largest = max(abs(low), abs(high), 1.0)
    room = max(_SCALE_ROOM * (high - low), least_room * largest)
    axes.set_ylim(low - room, high + room)


def line_style(number):
    """Return the colour and marker of a line by its number, as keywords of Matplotlib."""
    return {"color": SERIES[number % len(SERIES)], "marker": MARKS[number % len(MARKS)]}
