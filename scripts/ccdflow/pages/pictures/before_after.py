"""Pictures of frames before and after their reduction, as PNG bytes.

The same values give the same bytes.
"""

from __future__ import annotations

import numpy as np

from ccdflow.pages.pictures.frame_content import (
    header_differs,
    noun_across,
    range_across,
    take_content,
)  # fmt: skip
from ccdflow.pages.pictures.image_panel import draw_image
from ccdflow.pages.pictures.plot_panel import PlotPanel, write_sentence
from ccdflow.pages.pictures.raster import new_picture, write_heading
from ccdflow.pages.pictures.style import (
    INK,
    LEFT_ROOM,
    MARGIN,
    MUTED_INK,
    NUMBER_POINTS,
    SCALE_ROOM,
    SERIES,
    WIDTH,
    drawable_text,
    pixels,
)

USED_COLOUR = "#2b8a6b"
"""Colour of the overscan that was used."""

CLAIMED_COLOUR = "#c65d12"
"""Colour of the section that the header claims."""

DATA_COLOUR = "#1f6fa8"
"""Colour of the science pixels."""

_USED_GROUND, _DATA_GROUND = "#ddece6", "#ebf2f7"
# Darker shades of `USED_COLOUR` and `CLAIMED_COLOUR` for words on pale grounds: a contrast of at
# least 4.5 instead of 3.5.
_USED_INK, _CLAIMED_INK = "#1f6b52", "#a34a0c"
# An image is shrunk to at most this many pixels along its longer side: somewhat more than the width
# of the widest drawn image.
_MOST_IMAGE_PIXELS = pixels(2.7)
# Width of a tall image and of other images, inches.
_NARROW_WIDTH, _USUAL_WIDTH = 1.35, 2.5
# An image is tall if its height over its width is at least this.
_TALL_RATIO = 1.4
# Least height of the panel of the overscan, and the sum of the room above and below it, inches.
_LEAST_HEIGHT, _AROUND_PANELS = 1.3, 1.15
# From the top of a row to its panels, inches.
_PANELS_TOP = 0.55
# Sum of the room left and right of the heading of a row, inches.
_BESIDE_HEADING = 0.3
# Room right of the panel of the overscan, and the width that its axis takes of the room for the
# scales of two images, inches.
_RIGHT_OF_PROFILE, _AXIS_ROOM = 0.2, 0.5
# The reduced image has the height of the raw image if their ratios of height to width differ by
# less than this fraction.
_SAME_RATIO_FRACTION = 0.1
# Least width and height of the outline of a region, pixels.
_LEAST_OUTLINE = 2
# From the top of a panel to the names of its regions, pixels.
_TO_TAG = 9
# From the bottom of a panel to the mark of the header's section, pixels: its upper edge, its lower
# edge, its name.
_CLAIM_TOP, _CLAIM_BOTTOM, _CLAIM_TEXT = 11, 7, 16
# Position of the text on a value off the scale: pixels from the side of the panel; from its top as
# a fraction of its height, and at least in pixels; number of lines.
_TO_SIDE, _TOP_FRACTION, _LEAST_TO_TOP, _OFF_SCALE_LINES = 9, 0.16, 24, 3
# Height of a line of small text in a panel, pixels.
_TEXT_LINE = 14

MOST_FRAMES = 100
"""A picture has at most this many frames. Chosen: 100 square frames are 40,000 pixels high, 53 MB
in memory."""


def before_after_picture(frames, *, title="Before and after"):
    """Return the picture of several frames, a row each: raw, reduced, profile of the overscan.

    Parameters
    ----------
    frames : iterable of ccdflow.pages.pictures.frame_content.FrameImages
        At least one, as a rule one of each image type. From a generator only one frame at a time is
        in memory. At most `MOST_FRAMES` are drawn; the explanation has their number.
    title : str, optional
        Headline.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        If there is no frame.
    UserError
        As of `ccdflow.pages.pictures.frame_content.check_frame`.
    """
    contents, n_left_out = [], 0
    for frame in frames:
        if len(contents) < MOST_FRAMES:
            contents.append(take_content(frame, _MOST_IMAGE_PIXELS))
        else:
            n_left_out += 1
    if not contents:
        raise ValueError("there is no frame to draw")
    explanation = (
        "Left: as read from the camera. Middle: as reduced; each with a scale of its own. Right: "
        "the overscan, column by column (or row by row, where it lies above or below the image); "
        "the green band is the part that was used."
    )
    if n_left_out:
        n_drawn = len(contents)
        explanation += f" Drawn are the first {n_drawn} of {n_drawn + n_left_out} frames."
    heights = [_row_height(content) for content in contents]
    raster, top = new_picture(title, explanation, sum(heights))
    for content, height in zip(contents, heights, strict=True):
        _draw_row(raster, content, top)
        top += height
    return raster.png()


# -- places --------------------------------------------------------------------------------------


def _image_width(content):
    """Return the width of the images of a frame, inches."""
    return _NARROW_WIDTH if content.raw.ratio >= _TALL_RATIO else _USUAL_WIDTH


def _row_height(content):
    """Return the height of the row of a frame with its heading, inches."""
    return _AROUND_PANELS + max(_LEAST_HEIGHT, _image_width(content) * content.raw.ratio)


def _draw_row(raster, content, top):
    """Draw the row of a frame: both images, and its overscan or a sentence on it."""
    frame = content.frame
    name = f"{frame.image_type.capitalize()}: {drawable_text(frame.name)}"
    write_heading(raster, name, MARGIN, top, WIDTH - _BESIDE_HEADING)
    width = _image_width(content)
    height = width * content.raw.ratio
    _draw_pair(raster, content, (LEFT_ROOM, top + _PANELS_TOP, width, height))
    start = 2 * (LEFT_ROOM + width + SCALE_ROOM) - _AXIS_ROOM
    panel_width = WIDTH - start - _RIGHT_OF_PROFILE
    box = start, top + _PANELS_TOP, panel_width, max(_LEAST_HEIGHT, height)
    if not content.profiles:
        write_sentence(raster, box, "No overscan was subtracted.")
    elif content.profiles[0].limits is None:
        write_sentence(raster, box, "The overscan has no finite pixel.")
    else:
        _draw_profile(raster, box, frame, content.profiles[0])


# -- panels --------------------------------------------------------------------------------------


def _draw_pair(raster, content, box):
    """Draw the raw and the reduced image, of one height unless their shapes differ."""
    left, top, width, height = box
    ratio, reduced_ratio = content.raw.ratio, content.reduced.ratio
    unit = content.frame.unit
    _mark_regions(raster, draw_image(raster, box, content.raw, unit, "Raw"), content.frame)
    ratio = ratio if abs(reduced_ratio / ratio - 1) < _SAME_RATIO_FRACTION else reduced_ratio
    reduced_box = left + width + SCALE_ROOM, top, width, height
    draw_image(raster, reduced_box, content.reduced, unit, "Reduced", ratio=ratio, names_rows=False)


def _mark_regions(raster, corners, frame):
    """Draw the outlines of the science pixels and the used overscan on the raw image."""
    left, top, right, bottom = corners
    ny, nx = frame.raw.shape
    x_scale, y_scale = (right - left) / nx, (bottom - top) / ny
    marks = [(region, DATA_COLOUR) for region in frame.data]
    marks += [(strip.region, USED_COLOUR) for strip in frame.strips]
    for (y0, y1, x0, x1), colour in marks:
        start, stop = round(left + x0 * x_scale), round(left + x1 * x_scale)
        upper, lower = round(bottom - y1 * y_scale), round(bottom - y0 * y_scale)
        stop, lower = max(stop, start + _LEAST_OUTLINE), max(lower, upper + _LEAST_OUTLINE)
        raster.outline(start, upper, stop, lower, colour)


def _draw_profile(raster, box, frame, profile):
    """Draw the typical values across the overscan.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of the panel, inches.
    frame : ccdflow.pages.pictures.frame_content.FrameImages
    profile : ccdflow.pages.pictures.frame_content.Profile
    """
    columns = profile.columns
    # The axis counts columns from 1; a column extends by half to both sides.
    panel = PlotPanel(raster, box, (columns[0] + 0.5, columns[-1] + 1.5), profile.limits)
    _shade_regions(panel, frame, profile)
    word = noun_across(frame)
    panel.axes(
        f"Overscan, {word} by {word}", f"{word} (pixels)", f"typical value ({frame.unit})", most=5
    )
    for number, values in enumerate(profile.lines):
        colour = INK if len(profile.lines) == 1 else SERIES[number % len(SERIES)]
        panel.steps(columns + 1, values, colour)
    _name_regions(panel, frame, profile)
    _write_off_scale(panel, profile, frame.unit, word)


def _shade_regions(panel, frame, profile):
    """Shade the ranges of the used overscan and of the image in a panel."""
    for strip in profile.strips:
        start, stop = range_across(frame, strip.region)
        panel.band(start + 0.5, stop + 0.5, _USED_GROUND)
    for start, stop in _image_ranges(frame, profile):
        panel.band(start + 0.5, stop + 0.5, _DATA_GROUND)


def _image_ranges(frame, profile):
    """Return the half-open ranges of a profile that are science pixels."""
    ranges = sorted({_range_in_profile(frame, each, profile) for each in frame.data})
    return [(start, stop) for start, stop in ranges if start < stop]


def _name_regions(panel, frame, profile):
    """Name the used overscan and the image, and mark the section of the header."""
    names = {}
    for strip in profile.strips:
        names.setdefault(range_across(frame, strip.region), []).append(
            drawable_text(strip.amplifier)
        )
    for (start, stop), amplifiers in names.items():
        names_in_words = ", ".join(filter(None, amplifiers)) if len(profile.strips) > 1 else ""
        _write_tag(panel, (start + stop) / 2 + 0.5, f"used {names_in_words}".strip(), _USED_INK)
    for start, stop in _image_ranges(frame, profile):
        _write_tag(panel, (start + stop) / 2 + 0.5, "image", DATA_COLOUR)
    if frame.header_region is not None and header_differs(frame):
        _mark_header(panel, frame, profile)


def _write_tag(panel, position, text, colour):
    """Write a word at the upper edge of a panel, at a position on its axis.

    Parameters
    ----------
    panel : ccdflow.pages.pictures.plot_panel.PlotPanel
    position : float
        On the horizontal axis, in the unit of the panel.
    text, colour : str
    """
    raster, top = panel.raster, panel.corners[1]
    place = panel.x(position), top + _TO_TAG
    raster.draw_text(*place, text, colour, points=NUMBER_POINTS, is_bold=True, anchor="mt")


def _range_in_profile(frame, region, profile):
    """Return the range of a region within a profile: (start, stop); empty if stop <= start."""
    start, stop = range_across(frame, region)
    return max(start, int(profile.columns[0])), min(stop, int(profile.columns[-1]) + 1)


def _mark_header(panel, frame, profile):
    """Mark the overscan section of the header, below the profile."""
    start, stop = _range_in_profile(frame, frame.header_region, profile)
    if start >= stop:
        return
    left, right, bottom = panel.x(start + 0.5), panel.x(stop + 0.5), panel.corners[3]
    upper, lower = bottom - _CLAIM_TOP, bottom - _CLAIM_BOTTOM
    panel.raster.fill(round(left), upper, round(right), lower, CLAIMED_COLOUR)
    text = f"header: {drawable_text(frame.header_biassec)}"
    place = (left + right) / 2, bottom - _CLAIM_TEXT
    panel.raster.draw_text(*place, text, _CLAIMED_INK, points=NUMBER_POINTS, anchor="ms")


def _index_off_scale(values, limits):
    """Return the index of the finite value farthest beyond the limits of a scale, or None.

    Examples
    --------
    >>> _index_off_scale(np.array([9.0, np.nan, 30.0, 2.0, -40.0]), (0.0, 10.0))
    4
    """
    low, high = limits
    distances = np.abs(values - (low + high) / 2)
    is_beyond = np.isfinite(values) & (distances > (high - low) / 2)
    return int(np.argmax(np.where(is_beyond, distances, 0))) if is_beyond.any() else None


def _write_off_scale(panel, profile, unit, word):
    """Write the farthest value beyond the scale, if there is one.

    The line of the profile ends at the panel's edge. The text has the number of the column, because
    there is often no room beside the column.

    Parameters
    ----------
    panel : ccdflow.pages.pictures.plot_panel.PlotPanel
    profile : ccdflow.pages.pictures.frame_content.Profile
    unit, word : str
        Unit of the values, and 'column' or 'row'.
    """
    values = profile.lines[0]
    farthest = _index_off_scale(values, panel.y_range)
    if farthest is None:
        return
    is_left = farthest < values.size // 2
    left, top, right, bottom = panel.corners
    x = left + _TO_SIDE if is_left else right - _TO_SIDE
    # Below the words "image" and "used" at the upper edge.
    to_top = max(_LEAST_TO_TOP, round(_TOP_FRACTION * (bottom - top)))
    y = panel.between_lines(top + to_top, _OFF_SCALE_LINES * _TEXT_LINE)
    number, value = profile.columns[farthest] + 1, values[farthest]
    for line, text in enumerate(("off scale:", f"{value:.0f} {unit} in", f"{word} {number}")):
        anchor = "la" if is_left else "ra"
        panel.raster.draw_text(
            x, y + _TEXT_LINE * line, text, MUTED_INK, points=NUMBER_POINTS, anchor=anchor
        )
