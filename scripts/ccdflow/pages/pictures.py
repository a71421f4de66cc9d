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
    TrendPoint,
    combined_bias_picture,
    night_quality_picture,
    trend_picture,
)  # fmt: skip
from ccdflow.pages.canvas import (
    BELOW,
    INK,
    LEFT,
    MUTED,
    SCALE_ROOM,
    SERIES,
    STEPS,
    WIDTH,
    beside,
    draw_image,
    drawable,
    drawing,
    label_axes,
    legend,
    new_figure,
    png_bytes,
    say,
)  # fmt: skip
from ccdflow.pages.panels import (
    FramePanels,
    Strip,
    across,
    across_range,
    along,
    describe,
    fits_section,
    header_differs,
    take_panels,
    take_profiles,
)  # fmt: skip

__all__ = [
"AmplifierNight", "CombinedPanels", "FramePanels", "Strip", "TrendPoint",
    "before_after", "combined_bias_picture", "describe", "fits_section", "night_quality_picture",
    "overscan_picture", "overview", "trend_picture",
]  # fmt: skip

USED = "#2b8a6b"
CLAIMED = "#c65d12"
DATA = "#1f6fa8"
_SHOWN_PIXELS = 620
_OVERVIEW_PIXELS = 320
# A picture of more rows would be higher than what can be drawn, 65536 pixels.
MOST_FRAMES = 100


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
    panels = take_panels(frame, _SHOWN_PIXELS)
    said = describe(frame)
    if panels.raw.step > 1:
        said += f" Each point drawn is the mean of {panels.raw.step} × {panels.raw.step} pixels."
    boxes, height = _layout(panels)
    with drawing():
        figure, place = new_figure(title or _headline(frame), said, height=height)
        _draw_pair(place(boxes["raw"]), place(boxes["reduced"]), panels)
        for box, profile in zip(boxes["profiles"], panels.profiles, strict=True):
            _draw_profile(place(box), frame, profile)
        if panels.levels:
            _draw_levels(place(boxes["level"]), panels)
        return png_bytes(figure)


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


def overscan_picture(
    frames: Iterable[FramePanels], *, title: str = "Overscan, column by column"
) -> bytes:
    """Draw the overscan profiles of several frames on one scale, each less its own level.

    Light that leaks from the image into the overscan shows as a tail that bright frames have and
    biases have not.

    Parameters
    ----------
    frames : iterable of FramePanels
        Frames of one camera, at least one of them with overscan. The marks are the first one's.
        One for each image type is enough: the lines of hundreds cannot be told apart.
    title : str, optional
        Headline.

    Returns
    -------
    bytes
        A PNG, 1320 pixels wide.

    Raises
    ------
    UserError
        If none of the frames has overscan, or one is not fit to be drawn.
    """
    drawn = [take_profiles(frame) for frame in frames if frame.strips]
    if not drawn:
        raise UserError("none of the frames has overscan", remedy="leave this picture out")
    first, profiles = drawn[0]
    explanation = (
        "Each line is one frame: the typical value of every overscan "
        f"{across(first)} less the level of the frame. "
        "A tail that only bright frames have is light leaking out of the image; the green band, "
        "which was used, should be free of it."
    )
    boxes = beside((LEFT, 0.35, WIDTH - LEFT - 0.2, 2.5), len(profiles))
    with drawing():
        figure, place = new_figure(title, explanation, height=3.5)
        for number, box in enumerate(boxes):
            _draw_profiles_together(place(box), drawn, number)
        return png_bytes(figure)


# -- places --------------------------------------------------------------------------------------


def _layout(panels):
    """Boxes of the panels for one frame, and the height of it all.

    Images that are taller than wide stand at the left, with the profiles at their right; others
    stand above the profiles.
    """
    ratio, profiles = panels.raw.ratio, len(panels.profiles)
    if ratio >= 1.0 and profiles:
        width = 2.4 if ratio > 1.3 else 2.9
        tall = max(4.3, width * ratio)
        start = 2 * (LEFT + width + SCALE_ROOM) - 0.5
        wide, height = WIDTH - start - 0.2, (tall - BELOW) / 2
        profile = (start, 0.35, wide, height)
        level = (start, 0.35 + height + BELOW, wide, height)
        second = LEFT + width + SCALE_ROOM
    else:
        width = 4.3 if ratio < 1.0 else 2.8
        level = (6.9, 0.35 + width * ratio + BELOW, 4.9, 2.1)
        profile = (LEFT, *level[1:])
        second = 6.9
    boxes = {
        "raw": (LEFT, 0.35, width, width * ratio),
        "reduced": (second, 0.35, width, width * ratio),
        "profiles": beside(profile, profiles),
        "level": level,
    }
    last = level if profiles else boxes["raw"]
    return boxes, last[1] + last[3] + 0.6


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


def _draw_levels(axes, panels):
    """Draw the level of each row (or column) as the strips give it."""
    frame = panels.frame
    for number, (first, levels) in enumerate(panels.levels):
        step = max(1, levels.size // 500)
        edges = np.arange(0, levels.size, step)
        counts = np.diff([*edges, levels.size])
        means = np.add.reduceat(levels, edges) / counts
        axes.plot(
            first + 1 + edges + (counts - 1) / 2, means, color=SERIES[(number + 2) % len(SERIES)],
            linewidth=0.9, label=drawable(frame.strips[number].amplifier) or None,
        )  # fmt: skip
    line = along(frame)
    label_axes(axes, f"Overscan level of each {line}", f"{line} (pixels)", f"level ({frame.unit})")
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=STEPS))
    if len(frame.strips) > 1 and any(strip.amplifier for strip in frame.strips):
        legend(axes)


def _draw_profiles_together(axes, drawn, which):
    """Draw one profile of the first frame with those of the others at the same place."""
    first, profiles = drawn[0]
    marked = profiles[which]
    place = across_range(first, marked.strips[0].region)
    _mark_regions(axes, first, marked)
    limits = []
    for number, (frame, theirs) in enumerate(drawn):
        for profile in theirs:
            if across_range(frame, profile.strips[0].region) != place:
                continue
            limits += [value - profile.level for value in profile.limits or ()]
            axes.step(
                profile.columns + 1, profile.lines[0] - profile.level, where="mid", linewidth=1.1,
                color=SERIES[number % len(SERIES)], label=_headline(frame, width=24),
            )  # fmt: skip
    if limits:
        axes.set_ylim(min(limits), max(limits))
    axes.set_xlim(marked.columns[0] + 0.5, marked.columns[-1] + 1.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=STEPS))
    label_axes(axes, "", f"{across(first)} (pixels)", f"above the level ({first.unit})")
    if which == 0:
        legend(axes)
