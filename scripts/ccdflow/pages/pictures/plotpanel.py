"""A panel with lines and bands over a pair of axes, drawn into a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.pages.pictures.raster import Raster
from ccdflow.pages.pictures.scales import nice_ticks, tick_labels
from ccdflow.pages.pictures.style import (
    EDGE,
    FAINT,
    INK,
    LABEL,
    MUTED,
    NUMBER,
    TITLE,
    WHITE,
    font,
    pixels,
)

_TICK = 4


@dataclass(frozen=True)
class PlotPanel:
    """A panel whose scales are given; curves end at its edges.

    Attributes
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of its axes, inches.
    x_range, y_range : (float, float)
        Values at the left and right edge, and at the lower and upper edge.
    """

    raster: Raster
    box: tuple[float, float, float, float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def __post_init__(self):
        """Make its ground white."""
        self.raster.fill(*self.corners, WHITE)

    @property
    def corners(self):
        """Left, top, right and bottom in pixels."""
        left, top, width, height = self.box
        return tuple(pixels(each) for each in (left, top, left + width, top + height))

    def x(self, value):
        """Return the pixel of a value across."""
        left, _, right, _ = self.corners
        low, high = self.x_range
        return left + (value - low) / (high - low) * (right - left)

    def y(self, value):
        """Return the pixel of a value upwards."""
        _, top, _, bottom = self.corners
        low, high = self.y_range
        return bottom - (value - low) / (high - low) * (bottom - top)

    def band(self, start, stop, colour):
        """Shade the range between two values across.

        Parameters
        ----------
        start, stop : float
            Values on the horizontal scale.
        colour : str
            ``#rrggbb``.
        """
        left, top, right, bottom = self.corners
        first, last = (min(max(round(self.x(each)), left), right) for each in (start, stop))
        self.raster.fill(first, top, last, bottom, colour)

    def bars(self, edges, heights, colour):
        """Draw bars from 0 upwards between edges across.

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
        """Draw lines between points, in points of width; none to a value that is NaN.

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
        # A point far away is outside like any other, and a number that can be drawn.
        height = bottom - top
        ys = np.clip(ys, top - 9 * height, bottom + 9 * height)
        known = np.isfinite(ys)
        for part in np.split(np.arange(xs.size), np.nonzero(np.diff(known.astype(int)))[0] + 1):
            if part.size > 1 and known[part[0]]:
                points = list(zip(xs[part].tolist(), ys[part].tolist(), strict=True))
                self.raster.curve(points, colour, width * 110 / 72, (left, top, right, bottom))

    def steps(self, places, values, colour, width=1.1):
        """Draw values as steps, each as wide as from the middle to its neighbours'.

        Parameters
        ----------
        places, values : numpy.ndarray of shape (n,)
            Values on the two scales.
        colour : str
            ``#rrggbb``.
        width : float, optional
            Points.
        """
        edges = np.concatenate([[places[0] - 0.5], places[:-1] + 0.5, [places[-1] + 0.5]])
        self.curve(np.repeat(edges, 2)[1:-1], np.repeat(values, 2), colour, width)

    def axes(self, title, xlabel, ylabel, *, most=6, is_whole=True):
        """Draw the axes, with numbers, names and lines to read values by.

        Parameters
        ----------
        title, xlabel, ylabel : str
        most : int, optional
            Numbers on the horizontal axis.
        is_whole : bool, optional
            Whether these are whole numbers.
        """
        raster = self.raster
        left, top, right, bottom = self.corners
        raster.text(left, top - 7, title, INK, points=TITLE)
        ticks = nice_ticks(*self.y_range, max(3, (bottom - top) // 38))
        texts = tick_labels(ticks)
        for value, text in zip(ticks, texts, strict=True):
            y = round(self.y(value))
            raster.fill(left, y, right, y + 1, FAINT)
            raster.fill(left - _TICK, y, left, y + 1, EDGE)
            raster.text(left - _TICK - 4, y, text, MUTED, points=NUMBER, anchor="rm")
        widest = max((font(NUMBER, False).getlength(text) for text in texts), default=0)
        away = left - _TICK - 16 - widest
        raster.text(away, (top + bottom) / 2, ylabel, INK, points=LABEL, upright=True)
        ticks = nice_ticks(*self.x_range, most, is_whole=is_whole)
        for value, text in zip(ticks, tick_labels(ticks), strict=True):
            x = self.x(value)
            raster.fill(round(x), bottom, round(x) + 1, bottom + _TICK, EDGE)
            raster.text(x, bottom + _TICK + 4, text, MUTED, points=NUMBER, anchor="mt")
        raster.text((left + right) / 2, bottom + 36, xlabel, INK, points=LABEL, anchor="ms")
        raster.fill(left - 1, top, left, bottom + 1, EDGE)
        raster.fill(left - 1, bottom, right, bottom + 1, EDGE)

    def legend(self, entries):
        """Name colours above the panel, at its right end: (colour, text) each."""
        x = self.corners[2]
        y = self.corners[1] - 7
        for colour, text in reversed(entries):
            x -= font(NUMBER, False).getlength(text)
            self.raster.text(x, y, text, INK, points=NUMBER)
            self.raster.fill(round(x) - 34, y - 6, round(x) - 8, y - 3, colour)
            x -= 52
