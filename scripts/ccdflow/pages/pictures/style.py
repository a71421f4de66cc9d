"""Colours and lengths of all pictures, and their letters."""

from __future__ import annotations

import re
import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

PAPER = "#fbfaf7"
"""The ground of a picture."""

WHITE = "#ffffff"
"""The ground of a panel."""

INK = "#30363b"
"""Text."""

MUTED_INK = "#5f676d"
"""Text of less weight: ticks, notes."""

FAINT_INK = "#d8d6d0"
"""Lines of a grid."""

EDGE = "#a5a8a8"
"""The frame of a panel."""

SERIES = ("#1f6fa8", "#c65d12", "#2b8a6b", "#9a5a8c", "#8a7612", "#4aa3cf", "#5a5f64", "#b34a4a")
"""Okabe and Ito's hues, darkened a little so that thin lines stand out on the pale ground."""

DPI = 110
"""Pixels an inch: a picture of 12 inches fills a page of 1320 pixels."""

WIDTH = 12.0
"""Inches, as all lengths of the layout."""

LEFT_ROOM = 0.75
"""Room for the numbers and the label of a vertical axis."""

SCALE_ROOM = 1.15
"""Room for the colour scale of an image and the numbers of the next panel."""

NIGHTS_TOP = 0.35
"""Room above the first panel of figures over the nights: its title and legend."""

NIGHTS_HEIGHT = 1.35
"""Height of a panel of figures over the nights."""

NIGHTS_STEP = 2.05
"""Distance from the top of a panel of figures over the nights to the top of the next."""

RIGHT_ROOM = 0.2
"""Room right of a panel of figures over the nights, for the end of its last night's name."""

BELOW_ROOM = 0.72
"""Room for the label of a horizontal axis and the title of the panel below it."""

MARGIN = 0.15
"""Room left of the headline, of headings and of the explanation, and below the explanation."""

ABOVE_HEADLINE = 0.12
"""Room above the headline."""

HEADLINE_ROOM, EXPLANATION_ROOM = 0.2, 0.2
"""Room above and below the headline together, and above and below the explanation."""

HEADLINE_LINE, EXPLANATION_LINE = 0.25, 0.17
"""Heights of a line of the headline and of the explanation."""

ABOVE_HEADING = 0.08
"""Room above the heading of a row of panels."""

HEADLINE_POINTS, HEADING_POINTS, TITLE_POINTS, LABEL_POINTS, NUMBER_POINTS = 13, 10.5, 10, 9, 8
"""Sizes in points of the headline, a row's heading, a panel's title, labels and numbers."""

TICK = 4
"""Length of a tick of an axis, pixels."""

TO_TITLE, TO_NAME, TO_NUMBER = 7, 36, 4
"""Pixels from a panel to its title above it and to the name of its horizontal axis, and from a tick
to its number."""

THIN_LINE = 0.8
"""Width of a line between values, points."""

POINTS_OF_INCH = 72
"""Points of an inch, in which letters, lines and marks are measured."""

# Letters of a line of the headline and of the explanation, which fill the width of a picture.
_HEADLINE_LETTERS, _LINE_LETTERS = 95, 158


@cache
def font(points, is_bold):
    """Return DejaVu Sans, which Matplotlib brings along; Matplotlib itself is not loaded for it.

    Parameters
    ----------
    points : float
        Height.
    is_bold : bool

    Returns
    -------
    PIL.ImageFont.FreeTypeFont
    """
    (folder,) = find_spec("matplotlib").submodule_search_locations
    file = Path(folder, "mpl-data", "fonts", "ttf", f"DejaVuSans{'-Bold' * is_bold}.ttf")
    return ImageFont.truetype(
        file, points * DPI / POINTS_OF_INCH, layout_engine=ImageFont.Layout.BASIC
    )


@cache
def _has_glyph(letter):
    """Return whether the font of the labels can draw a letter."""
    letters = font(LABEL_POINTS, is_bold=False)
    return letter.isascii() or bytes(letters.getmask(letter)) != bytes(letters.getmask("\uffff"))


def drawable_text(text):
    """Replace characters that cannot be drawn (controls, glyphs that the font lacks) by escapes."""
    return "".join(
        letter
        if letter.isprintable() and _has_glyph(letter)
        else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )


def headline_lines(text):
    """Return the lines of the headline of a picture, one at least."""
    return textwrap.wrap(drawable_text(text), _HEADLINE_LETTERS) or [""]


def explanation_lines(text):
    """Return the lines of the text below the panels of a picture."""
    # No line ends between a number and its unit.
    text_with_units = re.sub(r"(?<=\d) (?=%|adu\b)", "\u00a0", drawable_text(text))
    return [line.replace("\u00a0", " ") for line in textwrap.wrap(text_with_units, _LINE_LETTERS)]


def footer_height(text):
    """Return the pixels that the text below the panels takes, without the room above it."""
    return pixels(MARGIN + EXPLANATION_LINE * len(explanation_lines(text)))


def pixels(inches):
    """Return a length in pixels of the picture."""
    return round(inches * DPI)
