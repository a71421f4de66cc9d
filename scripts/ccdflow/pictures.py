"""Pictures of frames, of combined biases and of their figures, as PNG bytes.

Every function takes values and gives back the bytes of one PNG. The same values give the same
bytes: no date, no software version, no style file of the user's. Pixels and sections are
written in FITS counting, from 1; regions are handed over as Python slices, half-open,
``(y0, y1, x0, x1)``.
"""

from __future__ import annotations

import io
import math
import textwrap
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cache

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ccdflow.errors import UserError

Region = tuple[int, int, int, int]

PAPER = "#fbfaf7"
INK = "#30363b"
MUTED = "#5f676d"
FAINT = "#d8d6d0"
# Okabe and Ito's hues, darkened a little so that thin lines stand out on the pale ground.
SERIES = ("#1f6fa8", "#c65d12", "#2b8a6b", "#9a5a8c", "#8a7612", "#4aa3cf", "#5a5f64", "#b34a4a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
USED = "#2b8a6b"
CLAIMED = "#c65d12"
DATA = "#1f6fa8"
# Few enough that noise is not what most of the file is spent on.
_SHADES = 48
# Lightness rises evenly from a soft blue to paper: bright is bright, also for the colour-blind.
SHADES = LinearSegmentedColormap.from_list(
    "ccdflow", ("#263f5e", "#4a7291", "#86a9b0", "#c6cfbd", "#fdf6e3"), N=_SHADES
)

_DPI = 110
_WIDTH = 12.0  # inches, as all lengths of the layout
_LEFT = 0.75  # room for the numbers and the label of a vertical axis
_SCALE = 1.15  # room for the colour scale of an image and the numbers of the next panel
_BELOW = 0.72  # room for the label of a horizontal axis and the title of the panel below it
_SHOWN_PIXELS = 620
_SHOWN_PERCENT = (3.0, 96.0)
_LEGEND_ENTRIES = 8
_NAMED = 4
_SAMPLED = 1000  # pixels along an axis that are enough for a line or a distribution
_STEPS = (1, 2, 5, 10)
_FONT = "DejaVu Sans"
_STYLE = {
    "font.family": [_FONT],
    "font.size": 9,
    "axes.facecolor": "#ffffff",
    "axes.edgecolor": "#a5a8a8",
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "axes.unicode_minus": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

# Matplotlib's settings and font caches are global: jobs that run as threads draw one at a time.
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Strip:
    """One overscan region that was used.

    Attributes
    ----------
    region : tuple of int
        ``(y0, y1, x0, x1)`` in the raw array, half-open.
    amplifier : str
        The amplifier whose level it measures; empty where there is only one.
    level, noise : float
        Level of the strip and noise of one of its pixels, in the frame's unit; NaN where not known.
    """

    region: Region
    amplifier: str = ""
    level: float = math.nan
    noise: float = math.nan


@dataclass(frozen=True)
class FramePanels:
    """One frame before and after its reduction.

    Attributes
    ----------
    name : str
        The raw file, as the reader knows it.
    kind : str
        Image type: bias, dark, flat, science, arc, other.
    raw : ndarray, shape (ny, nx)
        The pixels as they were read; NaN is drawn as blank.
    reduced : ndarray, shape (my, mx)
        The pixels of the product.
    strips : tuple of Strip
        The overscan used; empty where none was subtracted.
    data : tuple of Region
        What of ``raw`` was kept, a region for each amplifier.
    runs_along : {'columns', 'rows'}
        'columns': the strips are columns beside the image, and each row has its own level.
        'rows': the strips are rows above or below it, and each column has its own level.
    statistic : str
        How a level was made of a strip, in a word or two: 'median', 'mean', 'spline of order 3'.
    header_biassec : str
        The overscan section that the header names, as it stands there; empty where it has none.
    header_region : Region, optional
        The same as a half-open region, where it could be read.
    unit : str
        Unit of the pixels.
    note : str
        A sentence to add to the explanation.
    """

    name: str
    kind: str
    raw: np.ndarray = field(repr=False)
    reduced: np.ndarray = field(repr=False)
    strips: tuple[Strip, ...] = ()
    data: tuple[Region, ...] = ()
    runs_along: str = "columns"
    statistic: str = "median"
    header_biassec: str = ""
    header_region: Region | None = None
    unit: str = "adu"
    note: str = ""


def fits_section(region: Region) -> str:
    """Write a half-open region as a FITS section.

    Parameters
    ----------
    region : tuple of int
        ``(y0, y1, x0, x1)``, half-open, from 0.

    Returns
    -------
    str
        ``[x0+1:x1,y0+1:y1]``.
    """
    y0, y1, x0, x1 = region
    return f"[{x0 + 1}:{x1},{y0 + 1}:{y1}]"


def describe(frame: FramePanels) -> str:
    """Say in plain words what was done to a frame; also fit for a caption or an alternative text.

    Parameters
    ----------
    frame : FramePanels
        The frame.

    Returns
    -------
    str
        One to four sentences.
    """
    if not frame.strips:
        said = ["No overscan was subtracted from this frame."]
    else:
        line = "row" if frame.runs_along == "columns" else "column"
        sections = _listing([fits_section(strip.region) for strip in frame.strips])
        said = [
            "The electronics add an offset, the bias level, to every pixel. Overscan pixels see no "
            f"light, so they measure it: the {frame.statistic} of {sections} was subtracted, "
            f"{line} by {line}."
        ]
    if frame.reduced.shape != frame.raw.shape:
        said.append(
            f"Only the image pixels were kept: {_size(frame.reduced)} of {_size(frame.raw)}."
        )
    if _header_differs(frame):
        said.append(f"The header names {_text(frame.header_biassec)} as the overscan instead.")
    if frame.note:
        said.append(frame.note)
    return " ".join(said)


def before_after(frame: FramePanels, *, title: str | None = None) -> bytes:
    """Draw one frame raw beside reduced, with the profile of its overscan.

    Parameters
    ----------
    frame : FramePanels
        The frame.
    title : str, optional
        Headline; the frame's type and name by default.

    Returns
    -------
    bytes
        A PNG, 1320 pixels wide.

    Raises
    ------
    UserError
        If an image is not two-dimensional or a region does not lie inside the raw frame.
    """
    _check_frame(frame)
    groups = _strip_groups(frame)
    said = describe(frame) + _blocks(frame.raw, _SHOWN_PIXELS)
    boxes, height = _layout(frame, len(groups))
    with _drawing():
        figure, place = _figure(title or _headline(frame), said, height=height)
        raw, reduced = place(boxes["raw"]), place(boxes["reduced"])
        _draw_pair(raw, reduced, frame, limit=_SHOWN_PIXELS)
        for box, group in zip(boxes["profiles"], groups, strict=True):
            _draw_profile(place(box), frame, group)
        if groups:
            _draw_level(place(boxes["level"]), frame)
        return _png(figure)


def overview(frames: Sequence[FramePanels], *, title: str = "Before and after") -> bytes:
    """Draw several frames in one picture, a row each: raw, reduced, profile of the overscan.

    Parameters
    ----------
    frames : sequence of FramePanels
        At least one, as a rule one of each image type.
    title : str, optional
        Headline.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    UserError
        If there is no frame, or one is not fit to be drawn.
    """
    if not frames:
        raise UserError("there is no frame to draw", remedy="give at least one frame")
    for frame in frames:
        _check_frame(frame)
    explanation = (
        "Left: as read from the camera. Middle: after the overscan was subtracted and the image "
        "cut out, each with a scale of its own. Right: the overscan, column by column (or row by "
        "row, where it lies above or below the image); the green band is what was used."
    )
    heights = [_overview_height(frame) for frame in frames]
    with _drawing():
        figure, place = _figure(title, explanation, height=sum(heights))
        for number, frame in enumerate(frames):
            top = sum(heights[:number])
            place.heading(_headline(frame), top)
            width = _overview_width(frame)
            image = (_LEFT, top + 0.55, width, width * _shown_ratio(frame.raw))
            left, middle = place(image), place((_LEFT + width + _SCALE, *image[1:]))
            _draw_pair(left, middle, frame, limit=320)
            start = 2 * _LEFT + 2 * (width + _SCALE) - 0.5
            right = place((start, image[1], _WIDTH - start - 0.2, max(1.3, image[3])))
            groups = _strip_groups(frame)
            if groups:
                _draw_profile(right, frame, groups[0])
            else:
                _say(right, "No overscan was subtracted.")
        return _png(figure)


def _overview_width(frame):
    return 1.35 if _shown_ratio(frame.raw) >= 1.4 else 2.5


def _overview_height(frame):
    return 1.15 + max(1.3, _overview_width(frame) * _shown_ratio(frame.raw))


def overscan_picture(
    frames: Sequence[FramePanels], *, title: str = "Overscan, column by column"
) -> bytes:
    """Draw the overscan profiles of several frames on one scale, each less its own level.

    Light that leaks from the image into the overscan shows as a tail that bright frames have and
    biases have not.

    Parameters
    ----------
    frames : sequence of FramePanels
        Frames of one camera, at least one of them with overscan. The marks are the first one's.
    title : str, optional
        Headline.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    UserError
        If none of the frames has overscan, or one is not fit to be drawn.
    """
    shown = [frame for frame in frames if frame.strips]
    if not shown:
        raise UserError("none of the frames has overscan", remedy="leave this picture out")
    for frame in shown:
        _check_frame(frame)
    groups = _strip_groups(shown[0])
    explanation = (
        "Each line is one frame: the typical value of every overscan "
        f"{_across(shown[0])} less the level of the frame. "
        "A tail that only bright frames have is light leaking out of the image; the green band, "
        "which was used, should be free of it."
    )
    with _drawing():
        figure, place = _figure(title, explanation, height=3.5)
        for number, box in enumerate(_beside((_LEFT, 0.35, _WIDTH - _LEFT - 0.2, 2.5), groups)):
            _draw_profiles_together(place(box), shown, groups[number], legend=number == 0)
        return _png(figure)


# ---------------------------------------------------------------------------- combined bias


@dataclass(frozen=True)
class CombinedPanels:
    """A combined bias.

    Attributes
    ----------
    name : str
        The product.
    image : ndarray, shape (ny, nx)
        Its pixels; NaN is left out.
    members : int
        Number of frames combined.
    noise, predicted : float
        Noise of a pixel as measured, and as the members' read noise predicts it; NaN where not
        known.
    rejected : float
        Fraction of the members' pixels that were rejected, 0 to 1; NaN where not known.
    recipe : str
        How it was made, in a few words.
    unit : str
        Unit of the pixels.
    """

    name: str
    image: np.ndarray = field(repr=False)
    members: int = 0
    noise: float = math.nan
    predicted: float = math.nan
    rejected: float = math.nan
    recipe: str = ""
    unit: str = "adu"


def combined_bias_picture(combined: CombinedPanels, *, title: str | None = None) -> bytes:
    """Draw a combined bias: image, profile along rows and columns, distribution of its pixels.

    Parameters
    ----------
    combined : CombinedPanels
        The combined bias.
    title : str, optional
        Headline; the product's name by default.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    UserError
        If the image is not two-dimensional or has no finite pixel.
    """
    image = combined.image
    _check_image(image, "combined bias", combined.name)
    if not np.isfinite(image).any():
        raise UserError("the combined bias has no finite pixel", file=combined.name)
    boxes, height = _combined_layout(_shown_ratio(image))
    with _drawing():
        title = title or f"Combined bias: {combined.name}"
        figure, place = _figure(title, _combined_sentence(combined), height=height)
        at_image, by_column, by_row, spread = (place(box) for box in boxes)
        _draw_image(at_image, image, combined.unit, "Combined bias", limit=_SHOWN_PIXELS)
        _draw_line_profile(by_column, image, combined.unit, axis=0)
        _draw_line_profile(by_row, image, combined.unit, axis=1)
        _draw_histogram(spread, combined)
        return _png(figure)


def _combined_layout(ratio):
    """Boxes for image, columns, rows and distribution, and the height of it all."""
    if ratio < 1.0:
        width = 4.3
        tall = max(2.1, width * ratio)
        below = 0.35 + tall + _BELOW + 0.2
        return [
            (_LEFT, 0.35, width, width * ratio),
            (_LEFT, below, 4.9, 2.0),
            (6.9, below, 4.9, 2.0),
            (6.9, 0.35, 4.9, tall),
        ], below + 2.0 + 0.6
    width = 2.7
    tall = max(4.9, width * ratio)
    start = _LEFT + width + _SCALE + 0.6
    height = (tall - 2 * _BELOW) / 3
    tops = [0.35 + number * (height + _BELOW) for number in range(3)]
    right = [(start, top, _WIDTH - start - 0.2, height) for top in tops]
    return [(_LEFT, 0.35, width, width * ratio), *right], 0.35 + tall + 0.6


# ---------------------------------------------------------------------------- figures of a night


@dataclass(frozen=True)
class AmplifierQuality:
    """What the biases of one night say about one amplifier.

    Attributes
    ----------
    amplifier : str
        Its name; empty where the camera has only one.
    hours : tuple of float
        Time of each bias, in hours UT or since the first; NaN, or empty, where not known: then
        the frames are drawn in their order.
    levels : tuple of float
        Bias level of each frame, in ``unit``.
    pair_noise : tuple of float
        Read noise from each pair of biases, in ``unit``.
    claimed_noise : float
        What the header or the profile claims, in ``unit``; NaN where it says nothing.
    row_structure, column_structure : float
        Scatter of the row means and of the column means after overscan subtraction, in ``unit``.
    row_expected, column_expected : float
        The scatter that read noise alone would give.
    combined_noise : tuple of (int, float)
        Noise measured after combining so many frames; often one entry.
    """

    amplifier: str = ""
    hours: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    pair_noise: tuple[float, ...] = ()
    claimed_noise: float = math.nan
    row_structure: float = math.nan
    column_structure: float = math.nan
    row_expected: float = math.nan
    column_expected: float = math.nan
    combined_noise: tuple[tuple[int, float], ...] = ()


def night_quality_picture(
    amplifiers: Sequence[AmplifierQuality], *, title: str, unit: str = "adu"
) -> bytes:
    """Draw what one night's biases say about one camera.

    Parameters
    ----------
    amplifiers : sequence of AmplifierQuality
        At least one.
    title : str
        Headline, with night and camera.
    unit : str, optional
        Unit of levels and noises.

    Returns
    -------
    bytes
        A PNG of four panels: level through the night, read noise, structure, noise of the
        combined bias against read noise over the root of N.

    Raises
    ------
    UserError
        If there is no amplifier.
    """
    if not amplifiers:
        raise UserError("there is no amplifier to draw", remedy="leave this picture out")
    explanation = (
        "A sound detector keeps its level, has the read noise that is claimed for it, shows no "
        "more structure than noise alone gives, and is averaged down as the root of the number of "
        "frames. Structure: scatter of the means of rows and of columns after the overscan was "
        "subtracted."
    ) + (" Colours are those of the bars." if len(amplifiers) > _NAMED else "")
    with _drawing():
        figure, place = _figure(title, explanation, height=6.3)
        _draw_drift(place((_LEFT, 0.35, 5.0, 2.2)), amplifiers, unit)
        _draw_pairs(place((6.8, 0.35, 5.0, 2.2)), amplifiers, unit)
        _draw_structure(place((1.65, 3.45, 4.1, 2.2)), amplifiers, unit)
        _draw_gain_by_number(place((6.8, 3.45, 5.0, 2.2)), amplifiers, unit)
        return _png(figure)


@dataclass(frozen=True)
class TrendPoint:
    """The figures of one night, camera and amplifier.

    Attributes
    ----------
    night : str
        Name of the night, as a rule ``YYYY-MM-DD``.
    camera, amplifier : str
        What was measured; the amplifier may be empty.
    level, read_noise, combined_noise : float
        In the unit of the picture; NaN where not known.
    """

    night: str
    camera: str
    amplifier: str = ""
    level: float = math.nan
    read_noise: float = math.nan
    combined_noise: float = math.nan


def trend_picture(
    points: Sequence[TrendPoint],
    *,
    title: str = "Trend over the nights",
    highlight: str | None = None,
    unit: str = "adu",
) -> bytes:
    """Draw bias level, read noise and noise of the combined bias over nights.

    Parameters
    ----------
    points : sequence of TrendPoint
        At least one, in any order.
    title : str, optional
        Headline.
    highlight : str, optional
        A night to mark.
    unit : str, optional
        Unit of the values.

    Returns
    -------
    bytes
        A PNG of three panels with one line a camera and amplifier.

    Raises
    ------
    UserError
        If there is no point.
    """
    if not points:
        raise UserError("there is no night to draw", remedy="leave this picture out")
    nights = sorted({point.night for point in points})
    where = dict(zip(nights, _positions(nights), strict=True))
    series = sorted({(point.camera, point.amplifier) for point in points})
    cameras = {point.camera for point in points}
    explanation = (
        "Each point is one night's biases. What should stay the same is the electronics' own: a "
        "jump is worth a look at what was changed that day."
    )
    with _drawing():
        figure, place = _figure(title, explanation, height=6.4)
        panels = (
            ("level", "Bias level, less its median"),
            ("read_noise", "Read noise of one frame"),
            ("combined_noise", "Noise of the combined bias"),
        )
        for row, (key, name) in enumerate(panels):
            axes = place((_LEFT, 0.35 + 2.05 * row, _WIDTH - _LEFT - 0.2, 1.35))
            for number, which in enumerate(series):
                _draw_trend(axes, points, key, which, where, number, alone=len(cameras) == 1)
            if len(nights) == 1:
                axes.margins(y=0.6)
            _name(axes, name, "", unit)
            _night_ticks(axes, where)
            if highlight in where:
                axes.axvline(where[highlight], color=FAINT, linewidth=6, zorder=0)
            if row == 0:
                _legend(axes)
        return _png(figure)


# ---------------------------------------------------------------------------- checks


def _check_image(image, what, name):
    if image.ndim != 2 or image.size == 0:
        raise UserError(
            f"the {what} is no image of rows and columns",
            file=name,
            value=image.shape,
            allowed="two axes, none of them empty",
        )


def _check_frame(frame):
    _check_image(frame.raw, "raw frame", frame.name)
    _check_image(frame.reduced, "reduced frame", frame.name)
    if frame.runs_along not in ("columns", "rows"):
        raise UserError(
            "the overscan runs along neither axis",
            file=frame.name,
            value=frame.runs_along,
            allowed="'columns' or 'rows'",
        )
    ny, nx = frame.raw.shape
    for y0, y1, x0, x1 in (*(strip.region for strip in frame.strips), *frame.data):
        if not (0 <= y0 < y1 <= ny and 0 <= x0 < x1 <= nx):
            raise UserError(
                "a region does not lie inside the frame",
                file=frame.name,
                value=fits_section((y0, y1, x0, x1)),
                allowed=fits_section((0, ny, 0, nx)),
            )


# ---------------------------------------------------------------------------- drawing, in general


@contextmanager
def _drawing():
    """Hold the lock, and a style that nothing on the user's machine changes."""
    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _figure(title, explanation, *, height):
    """Make a figure with a headline above the panels and an explanation below them.

    Positions are given, not found: finding them takes longer than all the drawing.

    Returns
    -------
    figure : Figure
        The figure.
    place : _Place
        What makes axes in it, in inches right of and below the corner under the headline.
    """
    headline = textwrap.wrap(_text(title), 95) or [""]
    lines = textwrap.wrap(_text(explanation), 158)
    above = 0.2 + 0.25 * len(headline)
    total = above + height + 0.2 + 0.17 * len(lines)
    figure = Figure(figsize=(_WIDTH, total), dpi=_DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    place = _Place(figure, above, total)
    figure.text(
        0.15 / _WIDTH, 1 - 0.12 / total, "\n".join(headline), va="top", fontsize=13,
        fontweight="bold",
    )  # fmt: skip
    figure.text(0.15 / _WIDTH, 0.12 / total, "\n".join(lines), va="bottom", color=MUTED)
    return figure, place


@dataclass(frozen=True)
class _Place:
    """Makes axes in a figure whose panels begin ``above`` inches below its upper edge."""

    figure: Figure
    above: float
    total: float

    def __call__(self, box):
        left, top, width, height = box
        low = self.total - self.above - top - height
        return self.figure.add_axes(
            (left / _WIDTH, low / self.total, width / _WIDTH, height / self.total)
        )

    def heading(self, text, top):
        where = 1 - (self.above + top + 0.08) / self.total
        self.figure.text(0.15 / _WIDTH, where, text, va="top", fontsize=10.5, fontweight="bold")


def _beside(box, groups):
    """Divide a box into one for each group, with room for their numbers."""
    left, top, width, height = box
    each = (width - 0.75 * (len(groups) - 1)) / len(groups)
    return [(left + number * (each + 0.75), top, each, height) for number in range(len(groups))]


def _png(figure):
    """Render to a PNG of 256 colours, none off by more than 6 of 255: a third of the weight."""
    figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    stream = io.BytesIO()
    small = pixels.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(stream, format="PNG", optimize=True, dpi=(_DPI, _DPI))
    return stream.getvalue()


@cache
def _glyphs():
    return frozenset(get_font(findfont(_FONT)).get_charmap())


def _text(text):
    """Write what cannot be drawn (controls, characters the font lacks) as escapes."""
    return "".join(
        letter
        if letter.isprintable() and ord(letter) in _glyphs()
        else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )


def _listing(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _size(image):
    return f"{image.shape[1]} × {image.shape[0]}"


def _headline(frame, *, width=90):
    name = _text(frame.name)
    if len(name) > width:
        name = "…" + name[1 - width :]
    return f"{frame.kind.capitalize()}: {name}"


def _name(axes, title, xlabel, ylabel):
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True, axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def _say(axes, text):
    """Put a sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _legend(axes):
    """Put the legend above the panel, beside its title, or inside where it would not fit."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    if len(labels) > _LEGEND_ENTRIES:
        left_out = len(labels) - _LEGEND_ENTRIES + 1
        handles = handles[: _LEGEND_ENTRIES - 1]
        labels = labels[: _LEGEND_ENTRIES - 1]
        labels[-1] += f"  (and {left_out} more)"
    inches = axes.get_position().width * _WIDTH
    needed = 0.062 * sum(map(len, labels)) + 0.52 * len(labels)
    needed += 0.085 * len(axes.get_title(loc="left"))
    if needed < inches:
        axes.legend(
            handles, labels, ncols=len(labels), loc="lower right", bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.1,
        )  # fmt: skip
    else:
        axes.legend(
            handles, labels, ncols=1 + (inches > 8), loc="upper right", frameon=True,
            framealpha=0.8, edgecolor="none",
        )  # fmt: skip


def _widen(axes, values):
    """Give a scale to values that are all the same, which would else be drawn as if they jumped."""
    finite = np.asarray([value for value in values if math.isfinite(value)])
    if finite.size == 0:
        return
    low, high = float(finite.min()), float(finite.max())
    least = 1e-3 * max(abs(low), abs(high), 1.0)
    room = max(0.12 * (high - low), least)
    axes.set_ylim(low - room, high + room)


# ---------------------------------------------------------------------------- images


def shrink(image: np.ndarray, limit: int) -> tuple[np.ndarray, int]:
    """Average an image over square blocks until no side is longer than a limit.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any real type; NaN and infinities are left out of the averages.
    limit : int
        Longest side wanted, in pixels.

    Returns
    -------
    small : ndarray of float64, shape (ceil(ny / step), ceil(nx / step))
        Means of the blocks; NaN where a block has no finite pixel. Blocks at the far edges
        may be smaller than the others.
    step : int
        Side of a block.
    """
    step = max(1, math.ceil(max(image.shape) / limit))
    finite = np.isfinite(image)
    if finite.all():
        return _block_sums(image, step) / _block_counts(image.shape, step), step
    counts = _block_sums(finite, step)
    sums = _block_sums(np.where(finite, image, 0), step)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0), step


def _blocks(image, limit):
    """Say how many pixels one drawn point stands for, where it is more than one."""
    step = max(1, math.ceil(max(image.shape) / limit))
    return f" Each point drawn is the mean of {step} × {step} pixels." if step > 1 else ""


def _block_sums(image, step):
    by_rows = np.add.reduceat(image, np.arange(0, image.shape[0], step), axis=0, dtype=float)
    return np.add.reduceat(by_rows, np.arange(0, image.shape[1], step), axis=1)


def _block_counts(shape, step):
    heights, widths = (np.diff([*range(0, length, step), length]) for length in shape)
    return np.outer(heights, widths)


def _shown_ratio(image):
    """Height over width as drawn: long strips are drawn wider, or taller, than they are."""
    return min(max(image.shape[0] / image.shape[1], 0.36), 2.0)


def _scale(values):
    """Limits that leave out a few values at each end, and are never equal."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, _SHOWN_PERCENT))
    least = 1e-6 * max(abs(low), abs(high), 1.0)
    return (low, high) if high - low > least else (low - 0.5, high + 0.5)


def _draw_image(axes, image, unit, title, *, limit, ratio=None):
    """Draw an image with its scale beside it; ``ratio`` is its height over its width as drawn."""
    ratio = ratio or _shown_ratio(image)
    small, step = shrink(image, limit)
    blank = not np.isfinite(small).any()
    low, high = _scale(small)
    ny, nx = image.shape
    rows, columns = small.shape
    drawn = axes.imshow(
        small,
        origin="lower",
        cmap=SHADES,
        vmin=low,
        vmax=high,
        extent=(0.5, 0.5 + columns * step, 0.5, 0.5 + rows * step),
        aspect="auto",
        interpolation="auto",
    )
    axes.set(xlim=(0.5, nx + 0.5), ylim=(0.5, ny + 0.5), facecolor=FAINT)
    _fit(axes, ratio)
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    axes.set_xlabel("column (pixels)")
    axes.set_ylabel("row (pixels)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, steps=_STEPS))
    inches = axes.get_position().width * _WIDTH
    bar = axes.inset_axes((1 + 0.08 / inches, 0.0, 0.12 / inches, 1.0))
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    ends = (bool(np.nanmin(small) < low), bool(np.nanmax(small) > high)) if not blank else ()
    colours = axes.figure.colorbar(drawn, cax=bar, extend=beyond.get(ends, "neither"))
    colours.outline.set_visible(False)
    colours.locator = MaxNLocator(5)
    bar.set_title(unit, fontsize=8, color=MUTED, loc="left")


def _fit(axes, ratio):
    """Give axes the shape of their image, inside the box they have, from its upper left corner."""
    box = axes.get_position()
    wide, tall = axes.figure.get_size_inches()
    width = min(box.width * wide, box.height * tall / ratio)
    height = width * ratio / tall
    axes.set_position((box.x0, box.y1 - height, width / wide, height))


def _draw_pair(left, right, frame, *, limit):
    """Draw raw and reduced; of one height, unless their shapes are truly different."""
    ratio, other = _shown_ratio(frame.raw), _shown_ratio(frame.reduced)
    _draw_image(left, frame.raw, frame.unit, "Raw", limit=limit)
    _outline(left, frame)
    alike = abs(other / ratio - 1) < 0.1
    _draw_image(
        right, frame.reduced, frame.unit, "Reduced", limit=limit, ratio=ratio if alike else other
    )
    right.set_ylabel("")


def _outline(axes, frame):
    """Mark on the raw image what was kept and which overscan was used."""
    marks = [(region, DATA) for region in frame.data]
    marks += [(strip.region, USED) for strip in frame.strips]
    for (y0, y1, x0, x1), colour in marks:
        axes.fill(
            np.array([x0, x1, x1, x0]) + 0.5, np.array([y0, y0, y1, y1]) + 0.5,
            fill=False, edgecolor=colour, linewidth=1.1,
        )  # fmt: skip


def _layout(frame, groups):
    """Boxes of the panels for one frame, and the height of it all.

    Images that are taller than wide stand at the left, with the profiles at their right; others
    stand above the profiles.
    """
    ratio = _shown_ratio(frame.raw)
    if ratio >= 1.0 and groups:
        width = 2.4 if ratio > 1.3 else 2.9
        tall = max(4.3, width * ratio)
        start = 2 * (_LEFT + width + _SCALE) - 0.5
        wide, height = _WIDTH - start - 0.2, (tall - _BELOW) / 2
        profile = (start, 0.35, wide, height)
        level = (start, 0.35 + height + _BELOW, wide, height)
    else:
        width = 4.3 if ratio < 1.0 else 2.8
        tall = width * ratio
        level = (6.9, 0.35 + tall + _BELOW, 4.9, 2.1)
        profile = (_LEFT, *level[1:])
    reduced = _LEFT + width + _SCALE if ratio >= 1.0 and groups else 6.9
    boxes = {
        "raw": (_LEFT, 0.35, width, width * ratio),
        "reduced": (reduced, 0.35, width, width * ratio),
        "profiles": _beside(profile, range(groups)) if groups else [],
        "level": level,
    }
    last = level if groups else boxes["raw"]
    return boxes, last[1] + last[3] + 0.6


# ---------------------------------------------------------------------------- overscan profiles


def _across(frame):
    """The word for what is counted across a strip."""
    return "column" if frame.runs_along == "columns" else "row"


def _across_range(frame, region):
    y0, y1, x0, x1 = region
    return (x0, x1) if frame.runs_along == "columns" else (y0, y1)


def _along_range(frame, region):
    y0, y1, x0, x1 = region
    return (y0, y1) if frame.runs_along == "columns" else (x0, x1)


def _upright(frame):
    """The raw frame with the strips as columns."""
    return frame.raw if frame.runs_along == "columns" else frame.raw.T


def _strip_pixels(frame, region):
    """Pixels of a region, with the direction across it as the second axis."""
    y0, y1, x0, x1 = region
    pixels = frame.raw[y0:y1, x0:x1]
    return pixels if frame.runs_along == "columns" else pixels.T


def _header_differs(frame):
    """Whether the header names another overscan than the one used."""
    if not frame.header_biassec or not frame.strips:
        return False
    if frame.header_region is None:
        return True
    return frame.header_region not in [strip.region for strip in frame.strips]


def _strip_groups(frame):
    """Strips that lie beside each other, to be drawn in one panel; at most three groups."""
    groups = []
    for strip in sorted(frame.strips, key=lambda strip: _across_range(frame, strip.region)):
        start, stop = _across_range(frame, strip.region)
        last = _across_range(frame, groups[-1][-1].region)[1] if groups else None
        if groups and start - last <= 2 * (stop - start):
            groups[-1].append(strip)
        else:
            groups.append([strip])
    return groups[:3]


def _profiles(frame, group):
    """Typical value of each column across a group of strips and a little beyond.

    Returns
    -------
    columns : ndarray of int
        Counted from 0.
    lines : list of ndarray of float
        Means of the middle half along the strip, one line for each range of rows that the group's
        strips have: four quadrants with overscan in the same columns give two.
    """
    spans = [_across_range(frame, strip.region) for strip in group]
    start, stop = min(span[0] for span in spans), max(span[1] for span in spans)
    width = stop - start
    if frame.header_region is not None:
        header_start, header_stop = _across_range(frame, frame.header_region)
        if header_start < stop + width and header_stop > start - width:
            start, stop = min(start, header_start), max(stop, header_stop)
    margin = max(6, width // 3)
    upright = _upright(frame)
    start, stop = max(0, start - margin), min(upright.shape[1], stop + margin)
    ranges = dict.fromkeys(_along_range(frame, strip.region) for strip in group)
    lines = [_middle_half(upright[low:high, start:stop], axis=0) for low, high in ranges]
    return np.arange(start, stop), lines


def _middle_half(pixels, *, axis):
    """Mean of the middle half of the finite values along an axis: as robust as the quartiles.

    Medians of integers jump by whole units, and hide what is smaller than that.
    """
    values = np.moveaxis(np.asarray(pixels, dtype=np.float32), axis, 0)
    if not np.isfinite(values).all():
        return _medians(pixels, axis=axis)
    first = values.shape[0] // 4
    last = values.shape[0] - first
    return np.partition(values, (first, last - 1), axis=0)[first:last].mean(axis=0, dtype=float)


def _medians(pixels, *, axis):
    """Median along an axis of the finite pixels, NaN where there is none, without a warning."""
    values = np.asarray(pixels, dtype=float)
    if np.isfinite(values).all():
        return np.median(values, axis=axis)
    masked = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.median(masked, axis=axis), np.nan)


def _level_and_noise(frame, strip):
    """The strip's own level and noise, measured where they were not handed over."""
    pixels = np.asarray(_strip_pixels(frame, strip.region), dtype=float)
    level, noise = strip.level, strip.noise
    if not math.isfinite(level):
        level = float(_medians(pixels.ravel(), axis=0))
    if not math.isfinite(noise):
        rest = pixels - _medians(pixels, axis=1)[:, None]
        noise = 1.4826 * float(_medians(np.abs(rest).ravel(), axis=0))
    return level, noise


def _profile_limits(frame, group, columns, lines):
    """Limits that show the strips used, and a few times the noise around them.

    None where the strips have no finite pixel.
    """
    measured = [_level_and_noise(frame, strip) for strip in group]
    inside = np.zeros(columns.size, dtype=bool)
    for strip in group:
        start, stop = _across_range(frame, strip.region)
        inside |= (columns >= start) & (columns < stop)
    values = np.concatenate(lines)
    used = values[np.tile(inside, len(lines)) & np.isfinite(values)]
    if used.size == 0:
        return None
    low = min([level - noise / 2 for level, noise in measured if math.isfinite(level)] + [*used])
    high = max([level + noise / 2 for level, noise in measured if math.isfinite(level)] + [*used])
    reach = max(high - low, 1.0)
    wanted = values[np.isfinite(values)]
    wanted = wanted[(wanted > low - 1.5 * reach) & (wanted < high + 3 * reach)]
    low, high = min([low, *wanted]), max([high, *wanted])
    room = 0.08 * (high - low) or 0.5
    return low - room, high + 3.2 * room


def _draw_profile(axes, frame, group):
    columns, lines = _profiles(frame, group)
    limits = _profile_limits(frame, group, columns, lines)
    if limits is None:
        _say(axes, "The overscan has no finite pixel.")
        return
    _mark_regions(axes, frame, group, columns)
    for number, values in enumerate(lines):
        colour = INK if len(lines) == 1 else SERIES[number % len(SERIES)]
        axes.step(columns + 1, values, where="mid", color=colour, linewidth=1.1)
    axes.set(ylim=limits, xlim=(columns[0] + 0.5, columns[-1] + 1.5))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=_STEPS))
    across, unit = _across(frame), frame.unit
    _name(
        axes, f"Overscan, {across} by {across}", f"{across} (pixels)", f"typical value ({unit})"
    )  # fmt: skip
    _say_off_scale(axes, lines[0], *limits, unit)


def _mark_regions(axes, frame, group, columns):
    """Shade what was used, what is image, and line out what the header names."""
    names = {}
    for strip in group:
        names.setdefault(_across_range(frame, strip.region), []).append(_text(strip.amplifier))
    for (start, stop), amplifiers in names.items():
        axes.axvspan(start + 0.5, stop + 0.5, color=USED, alpha=0.16, linewidth=0)
        label = f"used {', '.join(filter(None, amplifiers))}" if len(group) > 1 else "used"
        _tag(axes, (start + stop) / 2 + 0.5, label.strip(), USED)
    spans = {_shown_range(frame, region, columns) for region in frame.data}
    for start, stop in sorted(spans):
        if start < stop:
            axes.axvspan(start + 0.5, stop + 0.5, color=DATA, alpha=0.09, linewidth=0)
            _tag(axes, (start + stop) / 2 + 0.5, "image", DATA)
    if frame.header_region is not None and _header_differs(frame):
        _mark_header(axes, frame, columns)


def _shown_range(frame, region, columns):
    """The part of a region that a profile shows; empty where the second is not the larger."""
    start, stop = _across_range(frame, region)
    return max(start, int(columns[0])), min(stop, int(columns[-1]) + 1)


def _mark_header(axes, frame, columns):
    start, stop = _shown_range(frame, frame.header_region, columns)
    if start >= stop:
        return
    place = axes.get_xaxis_transform()
    axes.plot(
        [start + 0.5, stop + 0.5], [0.035, 0.035], transform=place, color=CLAIMED,
        linewidth=2.2, solid_capstyle="butt",
    )  # fmt: skip
    axes.text(
        (start + stop) / 2 + 0.5, 0.055, f"header: {_text(frame.header_biassec)}",
        transform=place, ha="center", va="bottom", color=CLAIMED, fontsize=8,
    )  # fmt: skip


def _tag(axes, where, text, colour):
    axes.text(
        where, 0.97, text, transform=axes.get_xaxis_transform(), ha="center", va="top",
        color=colour, fontsize=8, fontweight="bold",
    )  # fmt: skip


def _say_off_scale(axes, values, low, high, unit):
    """Say what the scale leaves out, so that a line that ends at the frame is not misread."""
    finite = values[np.isfinite(values)]
    beyond = finite[(finite > high) | (finite < low)]
    if beyond.size == 0:
        return
    farthest = beyond[np.argmax(np.abs(beyond - (low + high) / 2))]
    left = bool(np.isin(values[: values.size // 2], beyond).any())
    axes.text(
        0.02 if left else 0.98, 0.84, f"off scale:\n{farthest:.0f} {unit}",
        transform=axes.transAxes, ha="left" if left else "right", va="top", fontsize=7.5,
        color=MUTED,
    )  # fmt: skip


def _draw_level(axes, frame):
    """Draw the level of each row (or column) as the strips give it."""
    for number, strip in enumerate(frame.strips):
        levels = _medians(_strip_pixels(frame, strip.region), axis=1)
        y0, _, x0, _ = strip.region
        first = y0 if frame.runs_along == "columns" else x0
        step = max(1, levels.size // 500)
        edges = np.arange(0, levels.size, step)
        counts = np.diff([*edges, levels.size])
        means = np.add.reduceat(levels, edges) / counts
        axes.plot(
            first + 1 + edges + (counts - 1) / 2, means, color=SERIES[(number + 2) % len(SERIES)],
            linewidth=0.9, label=_text(strip.amplifier) or None,
        )  # fmt: skip
    line = "row" if frame.runs_along == "columns" else "column"
    _name(axes, f"Overscan level of each {line}", f"{line} (pixels)", f"level ({frame.unit})")
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=_STEPS))
    if len(frame.strips) > 1 and any(strip.amplifier for strip in frame.strips):
        _legend(axes)


def _draw_profiles_together(axes, frames, group, *, legend):
    """Draw the profiles of several frames less their levels, with the first one's marks."""
    first = frames[0]
    columns, _ = _profiles(first, group)
    _mark_regions(axes, first, group, columns)
    limits = []
    for number, frame in enumerate(frames):
        for same in _strip_groups(frame):
            if _across_range(frame, same[0].region) != _across_range(first, group[0].region):
                continue
            theirs, lines = _profiles(frame, same)
            level, _ = _level_and_noise(frame, same[0])
            found = _profile_limits(frame, same, theirs, lines)
            limits += [value - level for value in found or ()]
            axes.step(
                theirs + 1, lines[0] - level, where="mid", linewidth=1.1,
                color=SERIES[number % len(SERIES)], label=_headline(frame, width=24),
            )  # fmt: skip
    if limits:
        axes.set_ylim(min(limits), max(limits))
    axes.set_xlim(columns[0] + 0.5, columns[-1] + 1.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=_STEPS))
    _name(axes, "", f"{_across(first)} (pixels)", f"above the level ({first.unit})")
    if legend:
        _legend(axes)


# ---------------------------------------------------------------------------- combined bias


def _combined_sentence(combined):
    said = [f"{combined.members} biases combined"]
    if combined.recipe:
        said[0] += f" ({combined.recipe})"
    if math.isfinite(combined.noise):
        said.append(f"noise of a pixel {combined.noise:.3g} {combined.unit}")
        if math.isfinite(combined.predicted):
            said[-1] += f", predicted from the read noise {combined.predicted:.3g} {combined.unit}"
    if math.isfinite(combined.rejected):
        said.append(f"{100 * combined.rejected:.2g} % of the pixels rejected as outliers")
    return (
        "; ".join(said)
        + ". The lines are means of the middle half of the pixels: what they show, every frame has."
    )


def _sampled(image, *axes):
    """Every so many rows or columns of a big image; all of them where those have no pixel."""
    steps = [max(1, image.shape[axis] // _SAMPLED) if axis in axes else 1 for axis in (0, 1)]
    part = image[:: steps[0], :: steps[1]]
    return part if np.isfinite(part).any() else image


def _draw_line_profile(axes, image, unit, *, axis):
    """Draw the typical value of each column (axis 0) or row (axis 1)."""
    values = _middle_half(_sampled(image, axis), axis=axis)
    line, across = ("column", "rows") if axis == 0 else ("row", "columns")
    axes.plot(np.arange(1, values.size + 1), values, color=SERIES[0], linewidth=0.8)
    _name(axes, f"Each {line}, typical value over all {across}", f"{line} (pixels)", unit)
    axes.margins(x=0.01)
    low, high = (float(value) for value in np.nanpercentile(values, (0.5, 99.5)))
    room = 0.4 * (high - low) or 0.5
    axes.set_ylim(low - room, high + room)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=_STEPS))


def _draw_histogram(axes, combined):
    """Draw the distribution of the pixels, with a normal curve of the predicted noise."""
    values = _sampled(combined.image, 0, 1)
    values = values[np.isfinite(values)]
    centre = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - centre)))
    reach = 6 * max(spread, np.nan_to_num(combined.predicted), 1e-3)
    counts, edges = np.histogram(values, bins=60, range=(centre - reach, centre + reach))
    share = 100 * counts / values.size
    axes.stairs(share, edges, fill=True, color=SERIES[0], alpha=0.35, label="pixels")
    if math.isfinite(combined.predicted) and combined.predicted > 0:
        middle = (edges[1:] + edges[:-1]) / 2
        curve = np.exp(-0.5 * ((middle - centre) / combined.predicted) ** 2)
        curve *= 100 * (edges[1] - edges[0]) / (combined.predicted * math.sqrt(2 * math.pi))
        axes.plot(middle, curve, color=SERIES[1], linewidth=1.2, label="noise alone, as predicted")
    _name(axes, "All pixels", f"value ({combined.unit})", "% of the pixels")
    axes.set_xlim(edges[0], edges[-1])
    _legend(axes)


# ---------------------------------------------------------------------------- figures of a night


def _called(amplifier, number):
    return _text(amplifier.amplifier) or f"amplifier {number + 1}"


def _label(amplifiers, number, after=""):
    """Name for a legend; none where there are too many, and the bars' colours have to do."""
    if len(amplifiers) > _NAMED:
        return None
    return _called(amplifiers[number], number) + after


def _look(number):
    return {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)]}


def _draw_drift(axes, amplifiers, unit):
    """Draw the levels less their median, so that amplifiers of unlike level share a scale."""
    timed = all(
        len(each.hours) == len(each.levels) and all(math.isfinite(hour) for hour in each.hours)
        for each in amplifiers
    )
    every = []
    for number, each in enumerate(amplifiers):
        if not each.levels:
            continue
        centre = float(np.median(each.levels))
        where = each.hours if timed else range(1, len(each.levels) + 1)
        label = _label(amplifiers, number, f": {centre:.1f} {unit}")
        change = [level - centre for level in each.levels]
        every += change
        axes.plot(where, change, linewidth=0.8, markersize=4, label=label, **_look(number))
    _name(
        axes, "Bias level through the night", "time (hours)" if timed else "bias, in order",
        f"less its median ({unit})",
    )  # fmt: skip
    if not every:
        return _say(axes, "No bias level was measured.")
    _widen(axes, every)
    if not timed:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=_STEPS))
    return _legend(axes)


def _draw_pairs(axes, amplifiers, unit):
    every = []
    for number, each in enumerate(amplifiers):
        if each.pair_noise:
            where = range(1, len(each.pair_noise) + 1)
            label = _label(amplifiers, number)
            axes.plot(where, each.pair_noise, lw=0, markersize=4, label=label, **_look(number))
            every += each.pair_noise
        if math.isfinite(each.claimed_noise):
            axes.axhline(
                each.claimed_noise, color=SERIES[number % len(SERIES)], linewidth=1.1,
                linestyle=(0, (5, 3)),
            )  # fmt: skip
            every.append(each.claimed_noise)
    _name(axes, "Read noise, from pairs", "pair, in order", unit)
    if not every:
        return _say(axes, "There was no pair of biases to measure the read noise from.")
    _widen(axes, every)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=_STEPS))
    if any(math.isfinite(each.claimed_noise) for each in amplifiers):
        axes.plot([], [], color=MUTED, lw=1.1, linestyle=(0, (5, 3)), label="claimed")
    return _legend(axes)


def _draw_structure(axes, amplifiers, unit):
    """Draw the scatter of row and column means beside what chance gives."""
    names, largest = [], 0.0
    for number, each in enumerate(amplifiers):
        for what in ("row", "column"):
            measured = getattr(each, f"{what}_structure")
            expected = getattr(each, f"{what}_expected")
            if not math.isfinite(measured):
                continue
            place = len(names)
            names.append(f"{_called(each, number)[:12]}, {what}s")
            axes.barh(place, measured, height=0.5, color=SERIES[number % len(SERIES)], alpha=0.6)
            largest = max(largest, measured)
            if math.isfinite(expected):
                axes.plot([expected] * 2, [place - 0.36, place + 0.36], color=INK, linewidth=1.6)
                largest = max(largest, expected)
    _name(axes, "Structure left over", f"scatter of the means ({unit})", "")
    if not names:
        return _say(axes, "No structure was measured.")
    axes.grid(False, axis="y")
    axes.grid(True, axis="x", color=FAINT, linewidth=0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.15 * largest or 1.0))
    axes.plot([], [], color=INK, linewidth=1.6, label="what noise alone gives")
    return _legend(axes)


def _draw_gain_by_number(axes, amplifiers, unit):
    """Draw the noise of combined biases against read noise over the root of N."""
    most = 1
    for number, each in enumerate(amplifiers):
        look = _look(number)
        if each.combined_noise:
            counts, noises = zip(*sorted(each.combined_noise), strict=True)
            most = max(most, *counts)
            axes.plot(
                counts,
                noises,
                lw=0,
                markersize=6,
                mfc="none",
                label=_label(amplifiers, number),
                **look,
            )
    for number, each in enumerate(amplifiers):
        if each.combined_noise and each.pair_noise:
            counts = np.geomspace(1, most, 50)
            single = float(np.median(each.pair_noise))
            axes.plot(counts, single / np.sqrt(counts), linewidth=1, color=_look(number)["color"])
    _name(axes, "Noise of the combined bias", "number of frames, N", unit)
    if most == 1:
        return _say(axes, "No biases were combined.")
    axes.plot([], [], color=MUTED, linewidth=1, label="read noise / √N")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=_STEPS))
    return _legend(axes)


# ---------------------------------------------------------------------------- trend


def _positions(nights):
    """Days for nights that are dates, else their order."""
    try:
        return [float(date.fromisoformat(night).toordinal()) for night in nights]
    except ValueError:
        return [float(number) for number in range(len(nights))]


def _draw_trend(axes, points, key, which, where, number, *, alone):
    """Draw one line; levels less their median, so that unlike levels share a scale."""
    chosen = sorted(
        (where[point.night], getattr(point, key))
        for point in points
        if (point.camera, point.amplifier) == which and math.isfinite(getattr(point, key))
    )
    if not chosen:
        return
    days, values = zip(*chosen, strict=True)
    label = _text(which[1] if alone and which[1] else " ".join(filter(None, which)))
    if key == "level":
        centre = float(np.median(values))
        values = [value - centre for value in values]
        label += f": {centre:.1f}"
    size = 4.5 if len(chosen) < 60 else 2.5
    axes.plot(days, values, linewidth=0.8, markersize=size, label=label, **_look(number))


def _night_ticks(axes, where):
    """Name as many nights as fit, at their places."""
    first, last = min(where.values()), max(where.values())
    apart = (last - first) / 7 or 1.0
    ticks, names = [], []
    for night, place in where.items():
        if not ticks or place - ticks[-1] >= apart:
            ticks.append(place)
            names.append(_text(night if len(night) <= 16 else night[:15] + "…"))
    axes.set_xticks(ticks, names)
    room = 0.03 * (last - first) or 0.5
    axes.set_xlim(first - room, last + room)
