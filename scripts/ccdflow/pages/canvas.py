"""What all pictures are drawn with: one style, one layout in inches, one way to a PNG.

The same values give the same bytes: no date, no software version, no style file of the user's.
"""

from __future__ import annotations

import io
import math
import textwrap
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import FuncNorm, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator
from PIL import Image

PAPER = "#fbfaf7"
INK = "#30363b"
MUTED = "#5f676d"
FAINT = "#d8d6d0"
# Okabe and Ito's hues, darkened a little so that thin lines stand out on the pale ground.
SERIES = ("#1f6fa8", "#c65d12", "#2b8a6b", "#9a5a8c", "#8a7612", "#4aa3cf", "#5a5f64", "#b34a4a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DPI = 110
WIDTH = 12.0  # inches, as all lengths of the layout
LEFT = 0.75  # room for the numbers and the label of a vertical axis
SCALE_ROOM = 1.15  # room for the colour scale of an image and the numbers of the next panel
BELOW = 0.72  # room for the label of a horizontal axis and the title of the panel below it
STEPS = (1, 2, 5, 10)
_LEGEND_ENTRIES = 8
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
    # Found anew for every panel otherwise, from all of its labels: a sixth of the drawing.
    "axes.titley": 1.0,
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
# Few enough that noise is not what most of the file is spent on.
_SHADES = 48
# Lightness rises evenly from a soft blue to paper: bright is bright, also for the colour-blind.
SHADES = LinearSegmentedColormap.from_list(
    "ccdflow", ("#263f5e", "#4a7291", "#86a9b0", "#c6cfbd", "#fdf6e3"), N=_SHADES
)
# Values that an asinh scale is taken from.
_FEWEST = 16
_SHOWN_PERCENT = (3.0, 96.0)


@contextmanager
def drawing():
    """Hold the lock, and a style that nothing on the user's machine changes."""
    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(title, explanation, *, height):
    """Make a figure with a headline above the panels and an explanation below them.

    Positions are given, not found: finding them takes longer than all the drawing.

    Returns
    -------
    figure : Figure
        The figure.
    place : Place
        What makes axes in it, in inches right of and below the corner under the headline.
    """
    headline = textwrap.wrap(drawable(title), 95) or [""]
    lines = textwrap.wrap(drawable(explanation), 158)
    above = 0.2 + 0.25 * len(headline)
    total = above + height + 0.2 + 0.17 * len(lines)
    figure = Figure(figsize=(WIDTH, total), dpi=_DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    place = Place(figure, above, total)
    figure.text(
        0.15 / WIDTH, 1 - 0.12 / total, "\n".join(headline), va="top", fontsize=13,
        fontweight="bold",
    )  # fmt: skip
    figure.text(0.15 / WIDTH, 0.12 / total, "\n".join(lines), va="bottom", color=MUTED)
    return figure, place


@dataclass(frozen=True)
class Place:
    """Makes axes in a figure whose panels begin ``above`` inches below its upper edge."""

    figure: Figure
    above: float
    total: float

    def __call__(self, box):
        """Make axes in a box: left, top, width, height."""
        left, top, width, height = box
        low = self.total - self.above - top - height
        return self.figure.add_axes(
            (left / WIDTH, low / self.total, width / WIDTH, height / self.total)
        )

    def heading(self, text, top):
        """Write a heading for a row of panels."""
        where = 1 - (self.above + top + 0.08) / self.total
        self.figure.text(0.15 / WIDTH, where, text, va="top", fontsize=10.5, fontweight="bold")


def png_bytes(figure):
    """Render to a PNG of 256 colours, none off by more than 6 of 255: a third of the weight."""
    figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    stream = io.BytesIO()
    small = pixels.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.putpalette(_with_exact_ground(small.getpalette()))
    small.save(stream, format="PNG", compress_level=6, dpi=(_DPI, _DPI))
    return stream.getvalue()


def _with_exact_ground(palette):
    """Put the two colours of the ground into a palette, where it has their nearest ones."""
    colours = np.array(palette).reshape(-1, 3)
    for ground in (PAPER, "#ffffff"):
        exact = [int(ground[at : at + 2], 16) for at in (1, 3, 5)]
        colours[np.abs(colours - exact).sum(axis=1).argmin()] = exact
    return colours.ravel().tolist()


@cache
def _glyphs():
    return frozenset(get_font(findfont(_FONT)).get_charmap())


def drawable(text):
    """Write what cannot be drawn (controls, characters the font lacks) as escapes."""
    return "".join(
        letter
        if letter.isprintable() and ord(letter) in _glyphs()
        else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )


def label_axes(axes, title, xlabel, ylabel):
    """Name a panel and its axes, and give it lines to read values by."""
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True, axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def say(axes, text):
    """Put a sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def legend(axes):
    """Put the legend above the panel, beside its title, or inside where it would not fit."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    if len(labels) > _LEGEND_ENTRIES:
        left_out = len(labels) - _LEGEND_ENTRIES + 1
        handles = handles[: _LEGEND_ENTRIES - 1]
        labels = labels[: _LEGEND_ENTRIES - 1]
        labels[-1] += f"  (and {left_out} more)"
    inches = axes.get_position().width * WIDTH
    needed = 0.062 * sum(map(len, labels)) + 0.52 * len(labels)
    needed += 0.085 * len(axes.get_title(loc="left"))
    if needed < inches:
        axes.legend(
            handles, labels, ncols=len(labels), loc="lower right", bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.1,
        )  # fmt: skip
    else:
        columns = 1 + (inches > 8)
        _make_room(axes, 0.1 + 0.17 * math.ceil(len(labels) / columns))
        axes.legend(handles, labels, ncols=columns, loc="upper right")


def _make_room(axes, inches):
    """Raise the upper end of the vertical scale, so that what is drawn ends so far below it."""
    low, high = axes.get_ylim()
    free = inches / (axes.get_position().height * axes.figure.get_figheight())
    axes.set_ylim(low, low + (high - low) / (1 - min(free, 0.6)))


def widen(axes, values, *, least=1e-3):
    """Give a scale to values, no narrower than this fraction of them: else noise looks like jumps.

    Parameters
    ----------
    axes : Axes
        Whose vertical scale is set.
    values : sequence of float
        What is drawn; NaN is left out.
    least : float, optional
        Fraction of the largest value, on each side.
    """
    finite = np.asarray([value for value in values if math.isfinite(value)])
    if finite.size == 0:
        return
    low, high = float(finite.min()), float(finite.max())
    least *= max(abs(low), abs(high), 1.0)
    room = max(0.12 * (high - low), least)
    axes.set_ylim(low - room, high + room)


def look(number):
    """Colour and marker of the line with this number."""
    return {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)]}


def _scale(values):
    """Limits that leave out a few values at each end, and are never equal."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, _SHOWN_PERCENT))
    least = 1e-6 * max(abs(low), abs(high), 1.0)
    return (low, high) if high - low > least else (low - 0.5, high + 0.5)


@dataclass(frozen=True)
class _Asinh:
    """A scale that is even about the typical value, and shows stars of any brightness."""

    centre: float
    width: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        """Return the scale of an image; None where it has too few values for one."""
        known = np.sort(values[np.isfinite(values)])
        if known.size < _FEWEST:
            return None
        low, centre, high = (known[int(part * (known.size - 1))] for part in (0.16, 0.5, 0.84))
        width = float(high - low) / 2
        least, most = float(known[int(0.002 * known.size)]), float(known[-1])
        if width <= 1e-6 * max(abs(least), abs(most)) or most <= least:
            return None
        return cls(float(centre), width, max(least, float(centre) - 10 * width), most)

    def norm(self):
        """Return it for matplotlib."""
        inverse = lambda x: self.centre + self.width * np.sinh(x)  # noqa: E731
        return FuncNorm(
            (lambda v: np.arcsinh((v - self.centre) / self.width), inverse), self.low, self.high
        )

    def ticks(self):
        """Return about six values that lie evenly, written with two digits."""
        ends = np.arcsinh((np.array([self.low, self.high]) - self.centre) / self.width)
        values = self.centre + self.width * np.sinh(np.linspace(*ends, 6))
        digits = [2 - math.ceil(math.log10(max(abs(each), self.width))) for each in values]
        near = 1 - math.floor(math.log10(self.width))
        rounded = [
            round(each, near if abs(each - self.centre) < 3 * self.width else places)
            for each, places in zip(values.tolist(), digits, strict=True)
        ]
        return sorted({each for each in rounded if self.low <= each <= self.high})


def draw_image(axes, image, unit, title, *, ratio=None, scale="linear"):
    """Draw an image with its colour scale beside it.

    Parameters
    ----------
    axes : Axes
        Their box is made as small as the image needs.
    image : Small
        The image, shrunk.
    unit, title : str
        What stands above the colour scale, and above the image.
    ratio : float, optional
        Height over width as drawn; the image's own by default.
    scale : {'linear', 'asinh'}, optional
        'linear' leaves a few values at each end out; 'asinh' shows faint structure and the
        brightest stars in one.
    """
    ratio = ratio or image.ratio
    small, step = image.values, image.step
    blank = not np.isfinite(small).any()
    low, high = _scale(small)
    ny, nx = image.shape
    rows, columns = small.shape
    curved = _Asinh.of(small) if scale == "asinh" else None
    if curved is not None:
        low, high = curved.low, curved.high
    drawn = axes.imshow(
        small,
        origin="lower",
        cmap=SHADES,
        norm=Normalize(low, high) if curved is None else curved.norm(),
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
        axis.set_major_locator(MaxNLocator(4, integer=True, steps=STEPS))
    inches = axes.get_position().width * WIDTH
    bar = axes.inset_axes((1 + 0.08 / inches, 0.0, 0.12 / inches, 1.0))
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    ends = (bool(np.nanmin(small) < low), bool(np.nanmax(small) > high)) if not blank else ()
    colours = axes.figure.colorbar(drawn, cax=bar, extend=beyond.get(ends, "neither"))
    colours.outline.set_visible(False)
    if curved is None:
        colours.locator = MaxNLocator(5)
    else:
        colours.set_ticks(curved.ticks())
        colours.minorticks_off()
        bar.yaxis.set_major_formatter(lambda value, _: f"{value:.10g}".replace("-", "−"))
    # Above the arrow that says that brighter values are cut.
    above = 1.05 if ends and ends[1] else 1.0
    bar.set_title(unit, fontsize=8, color=MUTED, loc="left", y=above)


def _fit(axes, ratio):
    """Give axes the shape of their image, inside the box they have, from its upper left corner."""
    box = axes.get_position()
    wide, tall = axes.figure.get_size_inches()
    width = min(box.width * wide, box.height * tall / ratio)
    height = width * ratio / tall
    axes.set_position((box.x0, box.y1 - height, width / wide, height))
