"""The content of a frame's picture, taken from its pixels: small images, overscan profiles.

Regions are half-open, ``(y0, y1, x0, x1)``, as Python slices. Texts have FITS sections, which count
from 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ccdflow.errors import UserError
from ccdflow.robust import MAD_TO_SIGMA_SHORT

Box = tuple[int, int, int, int]
"""Rows and columns of a rectangle, half-open: (y0, y1, x0, x1)."""

# From this many rows of a block to fewer than twice as many are averaged, and all of a lower block.
# The averaged rows of an image of 4,000 pixels are two rows apart: a star is wider.
_AVERAGED_ROWS = 6
# Least and largest height over width of a drawn image.
_LEAST_RATIO, _MOST_RATIO = 0.36, 2.0
# Distances below the lowest and above the highest value of the overscan within which the scale of a
# profile includes values, in units of the range of the overscan, which counts as at least 1.
_REACH_BELOW, _REACH_ABOVE = 1.5, 3
# Room at the scale of a profile as a fraction of the range of its values, and in their unit where
# the range is 0. The third number is how many times this room is above the values, for words; it is
# below them once.
_ROOM_FRACTION, _LEAST_ROOM, _ROOMS_ABOVE = 0.08, 0.5, 3.2


@dataclass(frozen=True)
class OverscanStrip:
    """An overscan region that was used.

    Attributes
    ----------
    region : tuple of int
        ``(y0, y1, x0, x1)`` in the raw array, half-open.
    amplifier : str
        The amplifier whose level it measures; empty where there is only one.
    level, noise : float
        Level of the strip and noise of one of its pixels, in the frame's unit; NaN where not known.
    """

    region: Box
    amplifier: str = ""
    level: float = math.nan
    noise: float = math.nan


@dataclass(frozen=True)
class FrameImages:
    """One frame before and after its reduction.

    Attributes
    ----------
    name : str
        The raw file, as the picture names it.
    image_type : str
        bias, dark, flat, science, arc or other.
    raw : numpy.ndarray of shape (ny, nx), any integer or float type
        Pixels of the raw frame; NaN is drawn as blank.
    reduced : numpy.ndarray of shape (my, mx), float32 or float64
        Pixels of the reduced frame.
    strips : tuple of OverscanStrip
        The used overscan; empty if none was subtracted.
    data : tuple of Box
        The science pixels in ``raw``, a region for each amplifier.
    along : {'rows', 'columns', 'frame'}
        As of the amplifiers of a geometry. 'rows': each row has its own level, the strips are
        columns beside the image. 'columns': each column has its own, the strips are rows above or
        below it. 'frame': one level for all pixels.
    header_biassec : str
        The text of the overscan section in the header; empty if it has none.
    header_region : Box, optional
        The overscan section of the header as a half-open region; None if it could not be read.
    unit : str
        Unit of the pixels.
    """

    name: str
    image_type: str
    raw: np.ndarray = field(repr=False)
    reduced: np.ndarray = field(repr=False)
    strips: tuple[OverscanStrip, ...] = ()
    data: tuple[Box, ...] = ()
    along: str = "rows"
    header_biassec: str = ""
    header_region: Box | None = None
    unit: str = "adu"


def fits_section(region):
    """Return a half-open region as a FITS section.

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


def _block_sums(image, step):
    """Return the sums over square blocks of an image, only of the rows that are averaged."""
    ny, nx = image.shape
    sums_by_rows = np.zeros((-(-ny // step), nx))
    # Whole rows are added, ten times as fast as `reduceat` along the columns.
    with np.errstate(invalid="ignore"):
        for first in _sampled_block_rows(step, ny):
            sampled_rows = image[first::step]
            sums_by_rows[: len(sampled_rows)] += sampled_rows
    return np.add.reduceat(sums_by_rows, np.arange(0, nx, step), axis=1)


def _sampled_block_rows(step, ny):
    """Return the rows of a block that are averaged, counted from the first row of the block."""
    return range(0, min(step, ny), max(1, step // _AVERAGED_ROWS))


def _block_counts(shape, step):
    """Return the number of averaged pixels of each block of `_block_sums`."""
    ny, nx = shape
    heights = [len(range(first, ny, step)) for first in _sampled_block_rows(step, ny)]
    blocks = np.arange(-(-ny // step))
    widths = np.diff([*range(0, nx, step), nx])
    return np.outer((blocks[:, None] < heights).sum(axis=1), widths)


def check_image(image, title, name):
    """Refuse an array that is not an image of rows and columns.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), any integer or float type, any byte order
    title : str
        Name of the image in the error.
    name : str
        Name of the frame in the error.

    Raises
    ------
    UserError
        If the array is not two-dimensional, or has an empty axis.
    """
    if image.ndim != 2 or image.size == 0:
        raise UserError(
            f"the {title} is no image of rows and columns",
            file=name,
            keyword="shape",
            value=image.shape,
            allowed="two axes, none of them empty",
            remedy="give an image of one amplifier or frame",
        )


def check_frame(frame):
    """Refuse a frame whose images or regions cannot be drawn.

    Raises
    ------
    UserError
        If an image is not two-dimensional or has an empty axis, a region does not lie inside the
        raw frame, or ``along`` has none of its values.
    """
    check_image(frame.raw, "raw frame", frame.name)
    check_image(frame.reduced, "reduced frame", frame.name)
    if frame.along not in ("rows", "columns", "frame"):
        raise UserError(
            "the overscan has levels along no such axis",
            file=frame.name,
            keyword="along",
            value=frame.along,
            allowed="'rows', 'columns' or 'frame'",
            remedy="give the axis that the reduction of the frame used",
        )
    ny, nx = frame.raw.shape
    for y0, y1, x0, x1 in (*(strip.region for strip in frame.strips), *frame.data):
        if not (0 <= y0 < y1 <= ny and 0 <= x0 < x1 <= nx):
            raise UserError(
                "a region does not lie inside the frame",
                file=frame.name,
                keyword="region",
                value=fits_section((y0, y1, x0, x1)),
                allowed=fits_section((0, ny, 0, nx)),
                remedy="give regions in pixels of the raw frame",
            )


def _has_upright_strips(frame):
    """Return whether strips are columns; with one level for all pixels, their shape decides."""
    if frame.along == "frame" and frame.strips:
        y0, y1, x0, x1 = frame.strips[0].region
        return y1 - y0 >= x1 - x0
    return frame.along != "columns"


def noun_across(frame):
    """Return 'column' or 'row': the lines that are counted across a strip."""
    return "column" if _has_upright_strips(frame) else "row"


def range_across(frame, region):
    """Return the half-open range of a region across the strips: of columns, or of rows.

    Parameters
    ----------
    frame : FrameImages
    region : (int, int, int, int)
        y0, y1, x0, x1.

    Returns
    -------
    (int, int)
    """
    y0, y1, x0, x1 = region
    return (x0, x1) if _has_upright_strips(frame) else (y0, y1)


def _along_range(frame, region):
    """Return the range of a region along the strips of a frame: (start, stop), pixels."""
    y0, y1, x0, x1 = region
    return (y0, y1) if _has_upright_strips(frame) else (x0, x1)


def _strip_pixels(frame, region):
    """Return the pixels of a region; the second axis is the one across the strip."""
    y0, y1, x0, x1 = region
    pixels = frame.raw[y0:y1, x0:x1]
    return pixels if _has_upright_strips(frame) else pixels.T


def header_differs(frame):
    """Return whether the header names an overscan section that is not a used strip.

    False without strips.
    """
    if not frame.header_biassec or not frame.strips:
        return False
    if frame.header_region is None:
        return True
    return frame.header_region not in [strip.region for strip in frame.strips]


def strip_groups(frame):
    """Return groups of strips that lie beside each other; at most the first three."""
    groups = []
    for strip in sorted(frame.strips, key=lambda strip: range_across(frame, strip.region)):
        start, stop = range_across(frame, strip.region)
        previous_stop = range_across(frame, groups[-1][-1].region)[1] if groups else None
        if groups and start - previous_stop <= 2 * (stop - start):
            groups[-1].append(strip)
        else:
            groups.append([strip])
    return groups[:3]


def mean_of_middle_half(pixels, *, axis):
    """Return the mean of the middle half of the values along an axis.

    Medians of integers change by whole units, and hide smaller steps. If one of the values is not
    finite, the whole result is `medians`.

    Parameters
    ----------
    pixels : numpy.ndarray of any shape, any integer or float type, any byte order
    axis : int

    Returns
    -------
    numpy.ndarray of the shape without that axis, float64
    """
    values = np.moveaxis(np.asarray(pixels, dtype=np.float32), axis, 0)
    if not np.isfinite(values).all():
        return medians(pixels, axis=axis)
    start = values.shape[0] // 4
    stop = values.shape[0] - start
    return np.partition(values, (start, stop - 1), axis=0)[start:stop].mean(axis=0, dtype=float)


def medians(pixels, *, axis):
    """Return the median of the finite pixels along an axis; NaN for no finite pixel.

    Parameters
    ----------
    pixels : numpy.ndarray of any shape, any integer or float type, any byte order
    axis : int

    Returns
    -------
    numpy.ndarray of the shape without that axis, float64
    """
    values = np.asarray(pixels, dtype=float)
    if np.isfinite(values).all():
        return np.median(values, axis=axis)
    masked_values = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.median(masked_values, axis=axis), np.nan)


# -- the drawn values ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ShrunkImage:
    """An image shrunk for drawing.

    Attributes
    ----------
    values : numpy.ndarray of shape (ceil(ny / step), ceil(nx / step)), float64
        Means of square blocks; blocks at the far edges may be smaller. NaN for a block whose
        averaged rows have no finite pixel.
    step : int
        Side of a block in pixels.
    shape : tuple of int
        ``(ny, nx)`` of the whole image.
    """

    values: np.ndarray = field(repr=False)
    step: int
    shape: tuple[int, int]

    @property
    def ratio(self):
        """Height over width as drawn, within limits: long strips are drawn wider, or taller."""
        return min(max(self.shape[0] / self.shape[1], _LEAST_RATIO), _MOST_RATIO)


def shrink(image, limit):
    """Return an image averaged over square blocks, so that no side is longer than a limit.

    In large blocks only some evenly spaced rows are averaged.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), any integer or float type
        NaN and infinities are left out of the averages.
    limit : int
        Longest side of the result, pixels.

    Returns
    -------
    ShrunkImage
    """
    step = max(1, math.ceil(max(image.shape) / limit))
    sums = _block_sums(image, step)
    if np.isfinite(sums).all():
        means = sums / _block_counts(image.shape, step)
    else:
        is_finite = np.isfinite(image)
        counts = _block_sums(is_finite, step)
        sums = _block_sums(np.where(is_finite, image, 0), step)
        means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return ShrunkImage(means, step, image.shape)


@dataclass(frozen=True)
class Profile:
    """The values across strips that lie beside each other, of each column (or row).

    Attributes
    ----------
    strips : tuple of OverscanStrip
        The strips.
    columns : numpy.ndarray of shape (n,), int
        Columns from a few before the strips to a few after them, counted from 0.
    lines : tuple of numpy.ndarray of shape (n,), float64
        Typical value of each column in the frame's unit, a line for each range of rows of the
        strips: four quadrants with overscan in the same columns have two.
    limits : tuple of float or None
        Ends of a scale that shows the strips and values near theirs; None if the strips have no
        finite pixel.
    """

    strips: tuple[OverscanStrip, ...]
    columns: np.ndarray = field(repr=False)
    lines: tuple[np.ndarray, ...] = field(repr=False)
    limits: tuple[float, float] | None


@dataclass(frozen=True)
class FrameContent:
    """All drawn parts of a frame, without a reference to its pixels.

    Attributes
    ----------
    frame : FrameImages
        The frame, its images replaced by empty ones of the same shape.
    raw, reduced : ShrunkImage
        The shrunk images of the frame.
    profiles : tuple of Profile
        One for each group of strips, at most three; the picture shows the first.
    """

    frame: FrameImages
    raw: ShrunkImage
    reduced: ShrunkImage
    profiles: tuple[Profile, ...]


def take_content(frame, limit):
    """Return the drawn parts of a frame.

    Parameters
    ----------
    frame : FrameImages
        The frame.
    limit : int
        Longest side of the images to draw, in pixels.

    Returns
    -------
    FrameContent

    Raises
    ------
    UserError
        As of `check_frame`.
    """
    check_frame(frame)
    frame_without_pixels = replace(
        frame, raw=_array_without_memory(frame.raw), reduced=_array_without_memory(frame.reduced)
    )
    profiles = tuple(take_profile(frame, group) for group in strip_groups(frame))
    raw, reduced = shrink(frame.raw, limit), shrink(frame.reduced, limit)
    return FrameContent(frame_without_pixels, raw, reduced, profiles)


def _array_without_memory(image):
    """Return an array of the same shape that takes no memory."""
    return np.broadcast_to(np.uint8(0), image.shape)


def take_profile(frame, strips):
    """Return the profile across strips that lie beside each other.

    Parameters
    ----------
    frame : FrameImages
        The frame.
    strips : list of OverscanStrip
        Strips of the frame, a group of `strip_groups`.

    Returns
    -------
    Profile
        Its columns include the overscan section of the header, if it is near the strips.
    """
    spans = [range_across(frame, strip.region) for strip in strips]
    start, stop = min(span[0] for span in spans), max(span[1] for span in spans)
    width = stop - start
    if frame.header_region is not None:
        header_start, header_stop = range_across(frame, frame.header_region)
        if header_start < stop + width and header_stop > start - width:
            start, stop = min(start, header_start), max(stop, header_stop)
    margin = max(6, width // 3)
    upright_image = frame.raw if _has_upright_strips(frame) else frame.raw.T
    start, stop = max(0, start - margin), min(upright_image.shape[1], stop + margin)
    ranges = dict.fromkeys(_along_range(frame, strip.region) for strip in strips)
    lines = tuple(
        mean_of_middle_half(upright_image[low:high, start:stop], axis=0) for low, high in ranges
    )
    columns = np.arange(start, stop)
    levels_and_noises = [_level_and_noise(frame, strip) for strip in strips]
    is_in_strip = np.isin(columns, np.concatenate([np.arange(*span) for span in spans]))
    limits = _limits_of_scale(
        levels_and_noises, np.concatenate(lines), np.tile(is_in_strip, len(lines))
    )
    return Profile(tuple(strips), columns, lines, limits)


def _level_and_noise(frame, strip):
    """Return the level and noise of a strip, in the frame's unit; measured if not known."""
    pixels = np.asarray(_strip_pixels(frame, strip.region), dtype=float)
    level, noise = strip.level, strip.noise
    if not math.isfinite(level):
        level = float(medians(pixels.ravel(), axis=0))
    if not math.isfinite(noise):
        residuals = pixels - medians(pixels, axis=1)[:, None]
        noise = MAD_TO_SIGMA_SHORT * float(medians(np.abs(residuals).ravel(), axis=0))
    return level, noise


def _limits_of_scale(levels_and_noises, values, is_in_strip):
    """Return the ends of a scale that shows strips, half their noise, and values near theirs.

    None if no pixel of the strips is finite.
    """
    is_finite = np.isfinite(values)
    strip_values = values[is_in_strip & is_finite]
    if strip_values.size == 0:
        return None
    noise_limits = [
        level + side * noise / 2 for level, noise in levels_and_noises for side in (-1, 1)
    ]
    values_to_show = np.array(
        [*strip_values, *(value for value in noise_limits if math.isfinite(value))]
    )
    low, high = values_to_show.min(), values_to_show.max()
    reach = max(high - low, 1.0)
    near_values = values[
        is_finite & (values > low - _REACH_BELOW * reach) & (values < high + _REACH_ABOVE * reach)
    ]
    low, high = float(min(low, near_values.min())), float(max(high, near_values.max()))
    room = _ROOM_FRACTION * (high - low) or _LEAST_ROOM
    return low - room, high + _ROOMS_ABOVE * room
