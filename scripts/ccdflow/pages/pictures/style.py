"""Colours, lengths and fonts of pictures."""

from __future__ import annotations

import re
import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

PAPER = "#fbfaf7"
"""Colour of the ground of a picture."""

WHITE = "#ffffff"
"""Colour of the ground of a panel."""

INK = "#30363b"
"""Colour of text."""

MUTED_INK = "#5f676d"
"""Colour of less important text: numbers of axes, notes."""

FAINT_INK = "#d8d6d0"
"""Colour of the lines of a grid."""

EDGE = "#a5a8a8"
"""Colour of the frame of a panel."""

SERIES = ("#1f6fa8", "#c65d12", "#2b8a6b", "#9a5a8c", "#8a7612", "#4aa3cf", "#5a5f64", "#b34a4a")
"""Colours of series: Okabe and Ito's hues, darkened for thin lines on a pale ground."""

DPI = 110
"""Pixels an inch of all pictures."""

WIDTH = 12.0
"""Width of a picture. All lengths without another unit are inches."""

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
"""Sum of the room above and below the headline, and above and below the explanation."""

HEADLINE_LINE, EXPLANATION_LINE = 0.25, 0.17
"""Heights of a line of the headline and of the explanation."""

ABOVE_HEADING = 0.08
"""Room above the heading of a row of panels."""

HEADLINE_POINTS, HEADING_POINTS, TITLE_POINTS, LABEL_POINTS, NUMBER_POINTS = 13, 10.5, 10, 9, 8
"""Sizes of letters, points: headline, heading of a row, title of a panel, names of axes,
numbers."""

TICK = 4
"""Length of a tick of an axis, pixels."""

TO_TITLE, TO_NAME, TO_NUMBER = 7, 36, 4
"""Pixels from a panel to its title above it and to the name of its horizontal axis, and from a tick
to its number."""

THIN_LINE = 0.8
"""Width of a line through values, points."""

POINTS_OF_INCH = 72
"""Points in an inch."""

# Letters of a line of the headline, and of the explanation: such a line fills the width.
_HEADLINE_LETTERS, _LINE_LETTERS = 95, 158


@cache
def font(points, is_bold):
    """Return the font DejaVu Sans from the files of Matplotlib, which is not imported.

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
    """Return whether the font has a glyph for a letter."""
    letters = font(LABEL_POINTS, is_bold=False)
    return letter.isascii() or bytes(letters.getmask(letter)) != bytes(letters.getmask("\uffff"))


def drawable_text(text):
    """Return a text with escapes for characters that cannot be drawn: controls, missing glyphs."""
    return "".join(
        letter
        if letter.isprintable() and _has_glyph(letter)
        else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )


def headline_lines(text):
    """Return the lines of the headline of a picture, at least one."""
    return textwrap.wrap(drawable_text(text), _HEADLINE_LETTERS) or [""]


def explanation_lines(text):
    """Return the lines of the text below the panels of a picture."""
    # No line ends between a number and its unit.
    text_with_units = re.sub(r"(?<=\d) (?=%|adu\b)", "\u00a0", drawable_text(text))
    return [line.replace("\u00a0", " ") for line in textwrap.wrap(text_with_units, _LINE_LETTERS)]


def footer_height(text):
    """Return the height of the text below the panels, pixels, without the room above it."""
    return pixels(MARGIN + EXPLANATION_LINE * len(explanation_lines(text)))


def pixels(inches):
    """Return a length in inches as pixels."""
    return round(inches * DPI)
