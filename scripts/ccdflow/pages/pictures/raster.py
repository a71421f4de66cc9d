"""A picture of pixels with at most 256 colours: boxes, images, lines and text drawn into it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from ccdflow.pages.pictures.style import (
    ABOVE_HEADING,
    ABOVE_HEADLINE,
    DPI,
    EXPLANATION_LINE,
    EXPLANATION_ROOM,
    HEADING_POINTS,
    HEADLINE_LINE,
    HEADLINE_POINTS,
    HEADLINE_ROOM,
    INK,
    LABEL_POINTS,
    MARGIN,
    MUTED_INK,
    PAPER,
    WIDTH,
    drawable_text,
    explanation_lines,
    font,
    headline_lines,
    pixels,
)

# Steps of colour from a ground to the colour of letters and lines at their edges.
_SHADE_COUNT = 8
# Factor by which lines are drawn larger before they are shrunk: this smooths their edges.
_FINER_FACTOR = 4
# Colours of a PNG with a palette of one byte a pixel.
_MOST_COLOURS = 256


class Raster:
    """A picture into which boxes, images, lines and text are drawn.

    Lengths are pixels from the upper left corner. A pixel is the number of a colour: the same
    picture always has the same bytes.

    Parameters
    ----------
    width, height : int
    ground : str, optional
        Colour of all pixels at first, ``#rrggbb``.

    Attributes
    ----------
    explanation : str
        The text that explains the picture, for the PNG.
    pixels : numpy.ndarray of shape (height, width), uint8
        The number of each pixel's colour.
    """

    def __init__(self, width, height, *, ground=PAPER):
        self._colours = {}
        self._shades = {}
        self.explanation = ""
        self.pixels = np.full((height, width), self.colour_number(ground), np.uint8)

    def colour_number(self, colour):
        """Return the number of a colour, ``#rrggbb``; of the nearest one if all are in use."""
        rgb = bytes.fromhex(colour.removeprefix("#"))
        if rgb not in self._colours and len(self._colours) == _MOST_COLOURS:
            return self._nearest(rgb)
        return self._colours.setdefault(rgb, len(self._colours))

    def _nearest(self, rgb):
        """Return the number of the nearest colour."""
        colours = np.array([list(colour) for colour in self._colours])
        return int(np.abs(colours - list(rgb)).sum(axis=1).argmin())

    def fill(self, left, top, right, bottom, colour):
        """Fill a box; ``right`` and ``bottom`` are the first pixels outside.

        Parameters
        ----------
        left, top, right, bottom : int
            Pixels from the upper left corner.
        colour : str
            ``#rrggbb``.
        """
        self.pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = (
            self.colour_number(colour)
        )

    def outline(self, left, top, right, bottom, colour, thickness=1):
        """Draw the edges of a box, on its inner side.

        Parameters
        ----------
        left, top, right, bottom : int
            Pixels from the upper left corner.
        colour : str
            ``#rrggbb``.
        thickness : int, optional
            Pixels.
        """
        self.fill(left, top, right, top + thickness, colour)
        self.fill(left, bottom - thickness, right, bottom, colour)
        self.fill(left, top, left + thickness, bottom, colour)
        self.fill(right - thickness, top, right, bottom, colour)

    def put(self, left, top, numbers):
        """Draw an image of numbers of colours, its first row on top.

        Parameters
        ----------
        left, top : int
            Pixels from the upper left corner.
        numbers : numpy.ndarray of shape (ny, nx), uint8
            Numbers of colours.
        """
        height, width = numbers.shape
        self.pixels[top : top + height, left : left + width] = numbers

    def draw_text(
        self,
        x,
        y,
        text,
        colour,
        *,
        points=LABEL_POINTS,
        is_bold=False,
        anchor="ls",
        is_upright=False,
    ):
        """Write a line of text.

        Parameters
        ----------
        x, y : float
            Position of the anchor.
        text : str
        colour : str
        points : float, optional
        is_bold : bool, optional
        anchor : str, optional
            Position of (x, y) in the text as in Pillow. First letter: l, m, r for left, middle,
            right. Second letter: a, m, s, d for ascender, middle, baseline, descender.
        is_upright : bool, optional
            Whether the text is read upwards; its middle is at (x, y) then.
        """
        letters = font(points, is_bold)
        left, top, right, bottom = letters.getbbox(text, anchor=anchor)
        if right <= left or bottom <= top:
            return
        sheet = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(sheet).text((1 - left, 1 - top), text, 255, font=letters, anchor=anchor)
        mask = np.asarray(sheet)
        if is_upright:
            mask = np.rot90(mask)
            left, top = 1 - mask.shape[1] / 2, 1 - mask.shape[0] / 2
        self._blend(round(x + left) - 1, round(y + top) - 1, mask, colour)

    def polyline(self, points, colour, width, box):
        """Draw the part of a line through points that is inside a box.

        Parameters
        ----------
        points : sequence of (float, float)
            Pixels from the upper left corner.
        colour : str
            ``#rrggbb``.
        width : float
            Pixels.
        box : (int, int, int, int)
            Left, top, right and bottom of the box, pixels.
        """
        left, top, right, bottom = box
        sheet = Image.new("L", ((right - left) * _FINER_FACTOR, (bottom - top) * _FINER_FACTOR))
        corner = (left, top)
        enlarged_points = [
            tuple(
                float((value - low) * _FINER_FACTOR) - 0.5
                for value, low in zip(each, corner, strict=True)
            )
            for each in points
        ]
        ImageDraw.Draw(sheet).line(
            enlarged_points, fill=255, width=round(width * _FINER_FACTOR), joint="curve"
        )
        self._blend(left, top, np.asarray(sheet.reduce(_FINER_FACTOR)), colour)

    def polygon(self, corners, colour):
        """Fill a polygon.

        Parameters
        ----------
        corners : array-like of shape (n, 2)
            x and y in pixels from the upper left corner.
        colour : str
            ``#rrggbb``.
        """
        corners = np.asarray(corners, float)
        low = np.floor(corners.min(axis=0)).astype(int)
        size = np.ceil(corners.max(axis=0)).astype(int) - low
        sheet = Image.new("L", tuple((size * _FINER_FACTOR).tolist()))
        enlarged_corners = [tuple(each) for each in ((corners - low) * _FINER_FACTOR).tolist()]
        ImageDraw.Draw(sheet).polygon(enlarged_corners, fill=255)
        self._blend(*low.tolist(), np.asarray(sheet.reduce(_FINER_FACTOR)), colour)

    def _blend(self, left, top, mask, colour):
        """Mix a colour into pixels, by a mask of its fraction from 0 to 255.

        Parameters
        ----------
        left, top : int
            Corner of the mask.
        mask : numpy.ndarray of shape (ny, nx), uint8
        colour : str
        """
        height, width = self.pixels.shape
        mask = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
        left, top = max(0, left), max(0, top)
        patch = self.pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        # Half of 255 is added to round the quotient.
        steps = (mask.astype(np.uint16) * _SHADE_COUNT + 127) // 255
        rows, columns = np.nonzero(steps)
        grounds, steps = patch[rows, columns], steps[rows, columns]
        table = np.zeros((_MOST_COLOURS, _SHADE_COUNT + 1), np.uint8)
        for ground in np.unique(grounds).tolist():
            table[ground] = self._colours_between(ground, colour)
        patch[rows, columns] = table[grounds, steps]

    def _colours_between(self, ground, colour):
        """Return the numbers of the steps of colour from a ground to a colour."""
        key = ground, colour
        if key not in self._shades:
            ground_rgb = np.array(list(list(self._colours)[ground]), float)
            full_rgb = np.array(list(bytes.fromhex(colour.removeprefix("#"))), float)
            mixed = [
                ground_rgb + (full_rgb - ground_rgb) * step / _SHADE_COUNT
                for step in range(_SHADE_COUNT + 1)
            ]
            self._shades[key] = [
                self.colour_number("#" + bytes(np.rint(each).astype(int).tolist()).hex())
                for each in mixed
            ]
        return self._shades[key]

    def png(self):
        """Return the picture as the bytes of a PNG."""
        image = Image.fromarray(self.pixels, mode="P")
        image.putpalette(b"".join(self._colours))
        stream = io.BytesIO()
        description = description_chunk(self.explanation)
        image.save(stream, format="PNG", compress_level=6, dpi=(DPI, DPI), pnginfo=description)
        return stream.getvalue()


def description_chunk(text):
    """Return the chunk of a PNG with the text that explains the picture."""
    description = PngInfo()
    if text:
        description.add_itxt("Description", text)
    return description


def lighter_colour(colour, fraction):
    """Return a colour mixed with white.

    Parameters
    ----------
    colour : str
        ``#rrggbb``.
    fraction : float
        Fraction of the colour, 0 to 1.

    Returns
    -------
    str
    """
    channels = bytes.fromhex(colour.removeprefix("#"))
    return "#" + bytes(round(255 + fraction * (value - 255)) for value in channels).hex()


def new_picture(title, explanation, height):
    """Return a picture with a headline above its panels and an explanation below them.

    Parameters
    ----------
    title, explanation : str
    height : float
        Height of the panels, inches.

    Returns
    -------
    raster : Raster
    panels_top : float
        From the upper edge to the panels, inches.
    """
    headline, lines = headline_lines(title), explanation_lines(explanation)
    panels_top = HEADLINE_ROOM + HEADLINE_LINE * len(headline)
    total = pixels(panels_top + height + EXPLANATION_ROOM + EXPLANATION_LINE * len(lines))
    raster = Raster(pixels(WIDTH), total)
    raster.explanation = explanation
    for number, line in enumerate(headline):
        y = pixels(ABOVE_HEADLINE + HEADLINE_LINE * number)
        raster.draw_text(
            pixels(MARGIN), y, line, INK, points=HEADLINE_POINTS, is_bold=True, anchor="la"
        )
    for number, line in enumerate(reversed(lines)):
        y = total - pixels(MARGIN + EXPLANATION_LINE * number)
        raster.draw_text(pixels(MARGIN), y, line, MUTED_INK, points=LABEL_POINTS)
    return raster, panels_top


def write_heading(raster, text, left, top, width):
    """Write the heading of a row of panels; the beginning of a long heading is cut off.

    Parameters
    ----------
    raster : Raster
    text : str
    left, top : float
        Upper left corner, inches.
    width : float
        Width that the heading may have, inches.
    """
    letters = font(HEADING_POINTS, is_bold=True)
    text = drawable_text(text)
    while letters.getlength(text) > pixels(width) and len(text) > 1:
        text = "…" + text[2:]
    corner = pixels(left), pixels(top + ABOVE_HEADING)
    raster.draw_text(*corner, text, INK, points=HEADING_POINTS, is_bold=True, anchor="la")
