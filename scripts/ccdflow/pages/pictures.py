"""Pictures of frames before and after their reduction, as PNG bytes.

Every function takes values and gives back the bytes of one PNG; the same values, the same bytes.
Pictures of combined biases and their figures are drawn by `biaspictures`, and can be had from here.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.ticker import MaxNLocator

from ccdflow.errors import UserError
from ccdflow.pages.biaspictures import (
    AmplifierNight,
    CombinedPanels,
    combined_bias_picture,
    night_quality_picture,
)  # fmt: skip
from ccdflow.pages.canvas import (
    INK,
    LEFT,
    MUTED,
    SCALE_ROOM,
    SERIES,
    STEPS,
    WIDTH,
    draw_image,
    drawable,
    drawing,
    label_axes,
    new_figure,
    png_bytes,
    say,
)  # fmt: skip
from ccdflow.pages.panels import (
    FramePanels,
    OverscanStrip,
    across,
    across_range,
    header_differs,
    take_panels,
)  # fmt: skip
from ccdflow.pages.trendpicture import TrendPoint, trend_picture

__all__ = [
    "AmplifierNight", "CombinedPanels", "FramePanels", "OverscanStrip", "TrendPoint",
    "combined_bias_picture", "night_quality_picture", "overview", "trend_picture",
]  # fmt: skip

USED = "#2b8a6b"
CLAIMED = "#c65d12"
DATA = "#1f6fa8"
_OVERVIEW_PIXELS = 320
# A picture of more rows would be higher than what can be drawn, 65536 pixels.
MOST_FRAMES = 100


def overview(frames: Iterable[FramePanels], *, title: str = "Before and after") -> bytes:
    """Draw several frames in one picture, a row each: raw, reduced, profile of the overscan.

    Parameters
    ----------
    frames : iterable of FramePanels
        At least one, as a rule one of each image type. Only one at a time is held in memory, if
        they come from a generator. No more than `MOST_FRAMES` are drawn; the picture says so.
    title : str, optional
        Headline.

    Returns
    -------
    bytes
        A PNG, 1320 pixels wide.

    Raises
    ------
    UserError
        If there is no frame, or one is not fit to be drawn.
    """
    drawn, left_out = [], 0
    for frame in frames:
        if len(drawn) < MOST_FRAMES:
            drawn.append(take_panels(frame, _OVERVIEW_PIXELS))
        else:
            left_out += 1
    if not drawn:
        raise UserError("there is no frame to draw", remedy="give at least one frame")
    explanation = (
        "Left: as read from the camera. Middle: as reduced; each with a scale of its own. Right: "
        "the overscan, column by column (or row by row, where it lies above or below the image); "
        "the green band is what was used."
    )
    if left_out:
        explanation += f" Drawn are the first {len(drawn)} of {len(drawn) + left_out} frames."
    heights = [_overview_height(panels) for panels in drawn]
    with drawing():
        figure, place = new_figure(title, explanation, height=sum(heights))
        for number, panels in enumerate(drawn):
            _draw_overview_row(place, panels, sum(heights[:number]))
        return png_bytes(figure)


# -- places --------------------------------------------------------------------------------------


def _overview_width(panels):
    return 1.35 if panels.raw.ratio >= 1.4 else 2.5


def _overview_height(panels):
    return 1.15 + max(1.3, _overview_width(panels) * panels.raw.ratio)


def _draw_overview_row(place, panels, top):
    place.heading(_headline(panels.frame), top)
    width = _overview_width(panels)
    image = (LEFT, top + 0.55, width, width * panels.raw.ratio)
    _draw_pair(place(image), place((LEFT + width + SCALE_ROOM, *image[1:])), panels)
    start = 2 * (LEFT + width + SCALE_ROOM) - 0.5
    right = place((start, image[1], WIDTH - start - 0.2, max(1.3, image[3])))
    if panels.profiles:
        _draw_profile(right, panels.frame, panels.profiles[0])
    else:
        say(right, "No overscan was subtracted.")


# -- panels --------------------------------------------------------------------------------------


def _headline(frame, *, width=90):
    name = drawable(frame.name)
    if len(name) > width:
        name = "…" + name[1 - width :]
    return f"{frame.kind.capitalize()}: {name}"


def _draw_pair(left, right, panels):
    """Draw raw and reduced; of one height, unless their shapes are truly different."""
    ratio, other = panels.raw.ratio, panels.reduced.ratio
    unit = panels.frame.unit
    draw_image(left, panels.raw, unit, "Raw")
    _outline(left, panels.frame)
    alike = abs(other / ratio - 1) < 0.1
    draw_image(right, panels.reduced, unit, "Reduced", ratio=ratio if alike else other)
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


def _draw_profile(axes, frame, profile):
    if profile.limits is None:
        say(axes, "The overscan has no finite pixel.")
        return
    _mark_regions(axes, frame, profile)
    columns, lines = profile.columns, profile.lines
    for number, values in enumerate(lines):
        colour = INK if len(lines) == 1 else SERIES[number % len(SERIES)]
        axes.step(columns + 1, values, where="mid", color=colour, linewidth=1.1)
    axes.set(ylim=profile.limits, xlim=(columns[0] + 0.5, columns[-1] + 1.5))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
    word = across(frame)
    title = f"Overscan, {word} by {word}"
    label_axes(axes, title, f"{word} (pixels)", f"typical value ({frame.unit})")
    _say_off_scale(axes, lines[0], *profile.limits, frame.unit)


def _mark_regions(axes, frame, profile):
    """Shade what was used, what is image, and line out what the header names."""
    names = {}
    for strip in profile.strips:
        names.setdefault(across_range(frame, strip.region), []).append(drawable(strip.amplifier))
    for (start, stop), amplifiers in names.items():
        axes.axvspan(start + 0.5, stop + 0.5, color=USED, alpha=0.16, linewidth=0)
        several = ", ".join(filter(None, amplifiers)) if len(profile.strips) > 1 else ""
        _tag(axes, (start + stop) / 2 + 0.5, f"used {several}".strip(), USED)
    for start, stop in sorted({_shown_range(frame, each, profile) for each in frame.data}):
        if start < stop:
            axes.axvspan(start + 0.5, stop + 0.5, color=DATA, alpha=0.09, linewidth=0)
            _tag(axes, (start + stop) / 2 + 0.5, "image", DATA)
    if frame.header_region is not None and header_differs(frame):
        _mark_header(axes, frame, profile)


def _shown_range(frame, region, profile):
    """The part of a region that a profile shows; empty where the second is not the larger."""
    start, stop = across_range(frame, region)
    return max(start, int(profile.columns[0])), min(stop, int(profile.columns[-1]) + 1)


def _mark_header(axes, frame, profile):
    start, stop = _shown_range(frame, frame.header_region, profile)
    if start >= stop:
        return
    place = axes.get_xaxis_transform()
    axes.plot(
        [start + 0.5, stop + 0.5], [0.035, 0.035], transform=place, color=CLAIMED,
        linewidth=2.2, solid_capstyle="butt",
    )  # fmt: skip
    axes.text(
        (start + stop) / 2 + 0.5, 0.055, f"header: {drawable(frame.header_biassec)}",
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
