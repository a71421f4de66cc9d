"""A panel with curves, marks, bars and a legend over a pair of axes, drawn into a raster."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccdflow.pages.pictures.raster import Raster
from ccdflow.pages.pictures.scales import nice_ticks, tick_labels, upright_ticks
from ccdflow.pages.pictures.style import (
    DPI,
    EDGE,
    FAINT_INK,
    INK,
    LABEL_POINTS,
    MUTED_INK,
    NUMBER_POINTS,
    POINTS_OF_INCH,
    TICK,
    TITLE_POINTS,
    TO_NAME,
    TO_NUMBER,
    TO_TITLE,
    WHITE,
    font,
    pixels,
)

# Corners of the marks of values, in units of half their size from their middle: shapes distinguish
# series without colours.
_ROUND_CORNERS = [(math.cos(math.pi * n / 10), math.sin(math.pi * n / 10)) for n in range(20)]
# Half the width of an arm of a plus sign, in units of half the mark's size.
_ARM = 0.38
_PLUS = [
    (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM), (_ARM, 1),
    (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
]  # fmt: skip
_CORNERS = {
    "o": _ROUND_CORNERS,
    "s": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "^": [(0, -1.1), (1, 0.8), (-1, 0.8)],
    "D": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
    "v": [(0, 1.1), (1, -0.8), (-1, -0.8)],
    "P": _PLUS,
    "X": [((x - y) * 0.75, (x + y) * 0.75) for x, y in _PLUS],
    "*": [
        (r * math.sin(math.pi * n / 5), -r * math.cos(math.pi * n / 5))
        for n, r in enumerate((1.3, 0.55) * 5)
    ],
}

MARKS = tuple(_CORNERS)
"""The marks of the series of a panel, in their order."""

MOST_LEGEND_ENTRIES = 8
"""A legend has at most this many entries."""

HOLLOW_SIZE = 6
"""Size of a hollow mark, points."""

MOST_LEGEND_FRACTION = 0.6
"""Largest fraction of the height of a panel that a legend inside it covers."""

# A drawn point is outside of the panel by at most this many heights of the panel: a line to a
# farther point looks no steeper.
_FAR_HEIGHTS = 9
# Least distance of the ticks of a vertical axis, pixels: two lines of their numbers.
_TICK_PIXELS = 38
# Height of a line of a legend inside a panel, pixels.
_LEGEND_LINE_PIXELS = 19
# Thickness of the edge of a hollow mark, pixels.
_MARK_EDGE = 1.4
# From the top of a panel to the foot of the first line of a legend inside it, and the sum of the
# room above and below its lines, pixels.
_LEGEND_TOP, _AROUND_LEGEND = 16, 10
# Pixels by which a legend inside a panel is shifted to the right: entries have room at their right.
_LEGEND_RIGHT = 8
# From the ticks of the vertical axis to its name, beside the longest number, pixels.
_TO_UPRIGHT_NAME = 16
# The axis of a panel of horizontal bars has at most this many numbers.
_TICKS_OF_ROWS = 9
# Room above a text between lines, and least width and height of a block, pixels.
_ABOVE_TEXT, _LEAST_BLOCK = 2, 2
# Lengths of an entry of a legend, pixels: width of its swatch; from its swatch to its text; its
# width without its text; from the start of an entry above a panel to its swatch.
_SWATCH_WIDTH, _TO_TEXT, _BESIDE_TEXT, _TO_SWATCH = 26, 34, 52, 18
# Heights of swatches above the foot of the text, pixels: of a dashed line, of the middle of a mark,
# of the upper and the lower edge of a bar.
_DASHES_FOOT, _MARK_FOOT, _BAR_TOP, _BAR_FOOT = 5, 4, 6, 3
# Size of a mark, points.
_MARK_SIZE = 5
# Length of a dash with its gap, and length of a dash, pixels.
_DASH_STEP, _DASH = 12, 8


def write_sentence(raster, box, text):
    """Write a sentence in the middle of a panel that has nothing to draw.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of the panel, inches.
    text : str
    """
    left, top, width, height = box
    raster.draw_text(
        pixels(left + width / 2), pixels(top + height / 2), text, MUTED_INK, anchor="mm"
    )


@dataclass(frozen=True)
class PlotPanel:
    """A panel with given scales, at whose edges curves end.

    Attributes
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of the axes, inches.
    x_range, y_range : (float, float)
        Values at the left and right edge, and at the lower and upper edge.
    title : str, optional
    has_legend_inside : bool, optional
        Whether the legend is inside the axes.
    ground : str, optional
        Colour of its ground.
    """

    raster: Raster
    box: tuple[float, float, float, float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    title: str = ""
    has_legend_inside: bool = False
    ground: str = WHITE

    @classmethod
    def with_legend(cls, raster, box, x_range, y_range, title, entries):
        """Return a panel with room for a legend: above it beside its title, or inside.

        Parameters
        ----------
        raster, box, x_range, y_range, title
            As of the class. ``y_range`` is extended for a legend inside.
        entries : sequence of tuple
            As of `legend`.

        Returns
        -------
        PlotPanel
        """
        legend_width = sum(map(_entry_width, entries)) + font(
            TITLE_POINTS, is_bold=False
        ).getlength(title)
        has_legend_inside = legend_width > pixels(box[2])
        if has_legend_inside:
            low, high = y_range
            room_fraction = min(
                MOST_LEGEND_FRACTION,
                (_LEGEND_LINE_PIXELS * min(len(entries), MOST_LEGEND_ENTRIES) + _AROUND_LEGEND)
                / pixels(box[3]),
            )
            y_range = low, low + (high - low) / (1 - room_fraction)
        return cls(raster, box, x_range, y_range, title=title, has_legend_inside=has_legend_inside)

    def __post_init__(self):
        """Fill the panel's ground."""
        self.raster.fill(*self.corners, self.ground)

    @property
    def corners(self):
        """Left, top, right and bottom in pixels."""
        left, top, width, height = self.box
        return tuple(pixels(each) for each in (left, top, left + width, top + height))

    def x(self, value):
        """Return the pixel of a value on the horizontal scale."""
        left, _, right, _ = self.corners
        low, high = self.x_range
        return left + (value - low) / (high - low) * (right - left)

    def y(self, value):
        """Return the pixel of a value on the vertical scale."""
        _, top, _, bottom = self.corners
        low, high = self.y_range
        return bottom - (value - low) / (high - low) * (bottom - top)

    def band(self, start, stop, colour):
        """Shade the range between two values on the horizontal scale.

        Parameters
        ----------
        start, stop : float
            Values on the horizontal scale.
        colour : str
            ``#rrggbb``.
        """
        left, top, right, bottom = self.corners
        start_x, stop_x = (min(max(round(self.x(each)), left), right) for each in (start, stop))
        self.raster.fill(start_x, top, stop_x, bottom, colour)

    def bars(self, edges, heights, colour):
        """Draw bars from the lower edge up to values, a histogram.

        Parameters
        ----------
        edges : sequence of float, n + 1
            Values on the horizontal scale.
        heights : sequence of float, n
            Values on the vertical scale.
        colour : str
            ``#rrggbb``.
        """
        _, top, _, bottom = self.corners
        for start, stop, height in zip(edges[:-1], edges[1:], heights, strict=True):
            upper = max(top, round(self.y(height)))
            self.raster.fill(round(self.x(start)), upper, round(self.x(stop)), bottom, colour)

    def curve(self, xs, ys, colour, width=1.2):
        """Draw lines between points; a value that is NaN leaves a gap.

        Parameters
        ----------
        xs, ys : array-like of shape (n,)
            Values on the two scales.
        colour : str
            ``#rrggbb``.
        width : float, optional
            Points.
        """
        left, top, right, bottom = self.corners
        xs, ys = self.x(np.asarray(xs, float)), self.y(np.asarray(ys, float))
        # Far points are replaced by points that are outside as well, and can be drawn.
        height = bottom - top
        ys = np.clip(ys, top - _FAR_HEIGHTS * height, bottom + _FAR_HEIGHTS * height)
        is_known = np.isfinite(ys)
        for run in np.split(np.arange(xs.size), np.nonzero(np.diff(is_known.astype(int)))[0] + 1):
            if run.size > 1 and is_known[run[0]]:
                points = list(zip(xs[run].tolist(), ys[run].tolist(), strict=True))
                self.raster.polyline(
                    points, colour, width * DPI / POINTS_OF_INCH, (left, top, right, bottom)
                )

    def steps(self, positions, values, colour, width=1.1):
        """Draw values as steps of width 1 about their positions.

        Parameters
        ----------
        positions, values : numpy.ndarray of shape (n,), float64
            Values on the two scales.
        colour : str
            ``#rrggbb``.
        width : float, optional
            Points.
        """
        edges = np.concatenate([[positions[0] - 0.5], positions[:-1] + 0.5, [positions[-1] + 0.5]])
        self.curve(np.repeat(edges, 2)[1:-1], np.repeat(values, 2), colour, width)

    def axes(self, title, xlabel, ylabel, *, most=6, is_whole=True):
        """Draw the axes with their numbers and names, the title, and horizontal grid lines.

        Parameters
        ----------
        title, xlabel, ylabel : str
        most : int, optional
            Largest number of numbers on the horizontal axis.
        is_whole : bool, optional
            Whether the horizontal axis has whole numbers only.
        """
        raster = self.raster
        left, top, right, bottom = self.corners
        raster.draw_text(left, top - TO_TITLE, title, INK, points=TITLE_POINTS)
        ticks = self._upright_ticks()
        texts = tick_labels(ticks)
        for value, text in zip(ticks, texts, strict=True):
            y = round(self.y(value))
            raster.fill(left, y, right, y + 1, FAINT_INK)
            raster.fill(left - TICK, y, left, y + 1, EDGE)
            place = left - TICK - TO_NUMBER, y
            raster.draw_text(*place, text, MUTED_INK, points=NUMBER_POINTS, anchor="rm")
        widest = max(
            (font(NUMBER_POINTS, is_bold=False).getlength(text) for text in texts), default=0
        )
        name_x = left - TICK - _TO_UPRIGHT_NAME - widest
        raster.draw_text(
            name_x, (top + bottom) / 2, ylabel, INK, points=LABEL_POINTS, is_upright=True
        )
        ticks = nice_ticks(*self.x_range, most, is_whole=is_whole)
        for value, text in zip(ticks, tick_labels(ticks), strict=True):
            x = self.x(value)
            raster.fill(round(x), bottom, round(x) + 1, bottom + TICK, EDGE)
            raster.draw_text(
                x, bottom + TICK + TO_NUMBER, text, MUTED_INK, points=NUMBER_POINTS, anchor="mt"
            )
        raster.draw_text(
            (left + right) / 2, bottom + TO_NAME, xlabel, INK, points=LABEL_POINTS, anchor="ms"
        )
        raster.fill(left - 1, top, left, bottom + 1, EDGE)
        raster.fill(left - 1, bottom, right, bottom + 1, EDGE)

    def _upright_ticks(self):
        """Return the values of the ticks of the vertical axis."""
        _, top, _, bottom = self.corners
        return upright_ticks(*self.y_range, max(3, (bottom - top) // _TICK_PIXELS))

    def between_lines(self, y, height):
        """Return the first pixel from ``y`` on at which a text touches no grid line.

        Parameters
        ----------
        y : int
            First pixel that is tried, from the top of the picture.
        height : int
            Height of the text, pixels.

        Returns
        -------
        int
            ``y`` itself if the lines leave no room.
        """
        lines = [round(self.y(value)) for value in self._upright_ticks()]
        for position in range(y, self.corners[3] - height):
            if not any(position - _ABOVE_TEXT <= line <= position + height for line in lines):
                return position
        return y

    def block(self, left, right, lower, upper, colour):
        """Fill the box between values on both scales; between equal values it is a line.

        Parameters
        ----------
        left, right, lower, upper : float
            Values on the panel's scales.
        colour : str
        """
        start, stop = round(self.x(left)), round(self.x(right))
        top, bottom = sorted((round(self.y(lower)), round(self.y(upper))))
        stop, bottom = max(stop, start + _LEAST_BLOCK), max(bottom, top + _LEAST_BLOCK)
        self.raster.fill(start, top, stop, bottom, colour)

    def dots(self, xs, ys, colour, mark="o", size=_MARK_SIZE):
        """Draw a mark at each value inside the panel; NaN has none.

        Parameters
        ----------
        xs, ys : sequence of float
        colour : str
        mark : str, optional
            One of `MARKS`; with ', hollow' after it only its edge is drawn.
        size : float, optional
            Points.
        """
        left, top, right, bottom = self.corners
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(y) and left <= self.x(x) <= right and top <= self.y(y) <= bottom:
                _draw_mark(self.raster, self.x(x), y=self.y(y), colour=colour, mark=mark, size=size)

    def dashes(self, value, colour):
        """Draw a dashed horizontal line at a value.

        Parameters
        ----------
        value : float
        colour : str
        """
        left, _, right, _ = self.corners
        _draw_dashes(self.raster, left, right, round(self.y(value)), colour)

    def named_rows(self, title, xlabel, names):
        """Draw the axes of a panel of horizontal bars: their names, and vertical grid lines.

        Parameters
        ----------
        title, xlabel : str
        names : sequence of str
            Names of the bars at 0, 1, and so on, of the vertical scale.
        """
        raster = self.raster
        left, top, right, bottom = self.corners
        raster.draw_text(left, top - TO_TITLE, title, INK, points=TITLE_POINTS)
        ticks = nice_ticks(*self.x_range, _TICKS_OF_ROWS)
        for value, text in zip(ticks, tick_labels(ticks), strict=True):
            x = round(self.x(value))
            raster.fill(x, top, x + 1, bottom, FAINT_INK)
            raster.fill(x, bottom, x + 1, bottom + TICK, EDGE)
            raster.draw_text(
                x, bottom + TICK + TO_NUMBER, text, MUTED_INK, points=NUMBER_POINTS, anchor="mt"
            )
        for position, name in enumerate(names):
            y = round(self.y(position))
            raster.fill(left - TICK, y, left, y + 1, EDGE)
            place = left - TICK - TO_NUMBER, y
            raster.draw_text(*place, name, MUTED_INK, points=NUMBER_POINTS, anchor="rm")
        raster.draw_text(
            (left + right) / 2, bottom + TO_NAME, xlabel, INK, points=LABEL_POINTS, anchor="ms"
        )
        raster.fill(left - 1, top, left, bottom + 1, EDGE)
        raster.fill(left - 1, bottom, right, bottom + 1, EDGE)

    def legend(self, entries):
        """Draw the legend: above the panel at its right end, or inside the panel in lines.

        Parameters
        ----------
        entries : sequence of (str, str) or (str, str, str)
            Colour and text; a mark as of `dots`, or '--' for a dashed line.
        """
        _, top, right, _ = self.corners
        if self.has_legend_inside:
            self._legend_inside(entries)
            return
        for entry in reversed(entries):
            right -= _entry_width(entry)
            self._entry(right + _TO_SWATCH, top - TO_TITLE, entry)

    def _legend_inside(self, entries):
        """Draw the first entries in lines at the upper right; the last line counts the others."""
        entries_shown = list(entries[:MOST_LEGEND_ENTRIES])
        if len(entries_shown) < len(entries):
            colour, text, *mark = entries_shown[-1]
            entries_shown[-1] = (
                colour,
                f"{text}  (and {len(entries) - MOST_LEGEND_ENTRIES} more)",
                *mark,
            )
        _, top, right, _ = self.corners
        left = right - max(map(_entry_width, entries_shown)) + _LEGEND_RIGHT
        for number, entry in enumerate(entries_shown):
            self._entry(left, top + _LEGEND_TOP + _LEGEND_LINE_PIXELS * number, entry)

    def _entry(self, x, y, entry):
        """Draw an entry of the legend, its swatch from x on."""
        colour, text, *marks = entry
        mark = marks[0] if marks else ""
        if mark == "--":
            _draw_dashes(self.raster, round(x), round(x) + _SWATCH_WIDTH, y - _DASHES_FOOT, colour)
        elif mark:
            _draw_mark(
                self.raster,
                x + _SWATCH_WIDTH / 2,
                y=y - _MARK_FOOT,
                colour=colour,
                mark=mark,
                size=HOLLOW_SIZE if "hollow" in mark else _MARK_SIZE,
            )
        else:
            right = round(x) + _SWATCH_WIDTH
            self.raster.fill(round(x), y - _BAR_TOP, right, y - _BAR_FOOT, colour)
        self.raster.draw_text(x + _TO_TEXT, y, text, INK, points=NUMBER_POINTS)


def _entry_width(entry):
    """Return the width of an entry of a legend, pixels."""
    return _BESIDE_TEXT + font(NUMBER_POINTS, is_bold=False).getlength(entry[1])


def _draw_dashes(raster, left, right, y, colour):
    """Draw a dashed horizontal line.

    Parameters
    ----------
    raster : Raster
    left, right, y : int
        Pixels of the picture.
    colour : str
    """
    for x in range(left, right, _DASH_STEP):
        raster.fill(x, y - 1, min(x + _DASH, right), y + 1, colour)


def _draw_mark(raster, x, y, colour, mark, size):
    """Draw a mark; a hollow one is white inside.

    Parameters
    ----------
    raster : Raster
    x, y : float
        The centre, pixels of the picture.
    colour : str
    mark : str
        Shape of the mark, with ``, hollow`` after it for a hollow one.
    size : float
        Points.
    """
    half = size * DPI / POINTS_OF_INCH / 2
    shape, _, hollow = mark.partition(", ")
    corners = [(x + half * dx, y + half * dy) for dx, dy in _CORNERS[shape]]
    raster.polygon(corners, colour)
    if hollow:
        inner_fraction = (half - _MARK_EDGE) / half
        raster.polygon(
            [(x + inner_fraction * (a - x), y + inner_fraction * (b - y)) for a, b in corners],
            WHITE,
        )
