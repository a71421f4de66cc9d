"""An image with its axes and its colour scale, drawn into a raster."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from ccdflow.pages.pictures.scales import nice_ticks, scale_of, tick_labels, upright_ticks
from ccdflow.pages.pictures.style import (
    EDGE,
    FAINT_INK,
    INK,
    LABEL_POINTS,
    MUTED_INK,
    NUMBER_POINTS,
    TICK,
    TITLE_POINTS,
    TO_NAME,
    TO_NUMBER,
    TO_TITLE,
    pixels,
)

# Shades of an image. Chosen: with more shades the noise of images makes files large.
_SHADE_COUNT = 48
# Colours of dark to bright pixels: lightness rises evenly, as the colour-blind need it.
_COLOUR_STOPS = ("#263f5e", "#4a7291", "#86a9b0", "#c6cfbd", "#fdf6e3")

# Distance of the colour scale from the image, its width, and the length of its arrows, pixels.
_SCALE_GAP, _SCALE_WIDTH, _ARROW_LENGTH = pixels(0.08), pixels(0.12), 15
# Least distance of the ticks of an axis, and of the colour scale, pixels; the largest number of
# ticks of the colour scale.
_TICK_PIXELS, _SCALE_TICK_PIXELS, _MOST_SCALE_TICKS = 60, 24, 6
# From the ticks of rows to the name of their axis: pixels, and further pixels for each letter of
# the longest number.
_TO_ROWS_NAME, _LETTER_PIXELS = 16, 8
# An image that is enlarged by at least this factor is not smoothed: its pixels are seen.
_ENLARGED_FACTOR = 3


@cache
def shades():
    """Return the colours of images, the darkest first."""
    stops = np.array([list(bytes.fromhex(each[1:])) for each in _COLOUR_STOPS], float)
    fractions = np.linspace(0, len(stops) - 1, _SHADE_COUNT)
    mixed = [np.interp(fractions, np.arange(len(stops)), channel) for channel in stops.T]
    return ["#" + bytes(each).hex() for each in np.rint(np.stack(mixed, 1)).astype(np.uint8)]


def draw_image(raster, box, image, unit, title, *, ratio=None, scale="linear", names_rows=True):
    """Draw an image with its axes and its colour scale; return its corners.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height in inches. The image is as large as its shape allows, in the
        upper left corner.
    image : ccdflow.pages.pictures.frame_content.ShrunkImage
    unit, title : str
        Text above the colour scale, and text above the image.
    ratio : float, optional
        Height over width as drawn; the image's own by default.
    scale : {'linear', 'asinh'}, optional
        'linear' excludes a few values at each end; 'asinh' shows both faint structure and the
        brightest stars.
    names_rows : bool, optional
        Whether the axis of rows has its name.

    Returns
    -------
    (int, int, int, int)
        Left, top, right and bottom of the image, pixels of the picture.
    """
    ratio = ratio or image.ratio
    left, top, width, height = box
    width = min(width, height / ratio)
    sides = left, top, left + width, top + width * ratio
    left, top, right, bottom = corners = tuple(pixels(each) for each in sides)
    values = image.values
    is_finite = np.isfinite(values)
    colour_scale = scale_of(values, scale)
    fractions = colour_scale.place(np.where(is_finite, values, colour_scale.low)).clip(0, 1)
    ny, nx = image.shape
    rows, columns = values.shape
    # Blocks at the far edges may extend beyond the image.
    size = (
        round((right - left) * columns * image.step / nx),
        round((bottom - top) * rows * image.step / ny),
    )
    shade_numbers = _shade_numbers(raster, _resize(fractions, size))
    if not is_finite.all():
        shade_numbers[_resize(is_finite.astype(float), size) < 0.5] = raster.colour_number(
            FAINT_INK
        )
    raster.put(left, top, shade_numbers[: bottom - top, : right - left][::-1])
    raster.draw_text(left, top - TO_TITLE, title, INK, points=TITLE_POINTS)
    _draw_axes(raster, corners, image.shape, names_rows=names_rows)
    finite_values = values[is_finite]
    are_values_beyond = (
        bool((finite_values < colour_scale.low).any()),
        bool((finite_values > colour_scale.high).any()),
    )
    _draw_scale(raster, corners, colour_scale, unit, are_values_beyond)
    return corners


def _shade_numbers(raster, fractions):
    """Return the numbers of the shades of values in [0, 1], uint8."""
    numbers = np.array([raster.colour_number(each) for each in shades()], np.uint8)
    return numbers[np.minimum((fractions * _SHADE_COUNT).astype(int), _SHADE_COUNT - 1)]


def _resize(values, size):
    """Return values (ny, nx) in [0, 1], resized to (width, height) pixels."""
    rows, columns = values.shape
    factor = min(size[0] / columns, size[1] / rows)
    method = Image.Resampling.BOX if factor >= _ENLARGED_FACTOR else Image.Resampling.HAMMING
    if size == (columns, rows):
        return values
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, method)).clip(0, 1)


def _draw_axes(raster, corners, shape, *, names_rows):
    """Draw the numbers and names of the axes; the middle of the first pixel is at 1.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    corners : tuple of int
        Left, top, right and bottom of the image, pixels of the picture.
    shape : (int, int)
        (ny, nx) of the image.
    names_rows : bool
        Whether the axis of rows has its name.
    """
    left, top, right, bottom = corners
    ny, nx = shape
    x_scale, y_scale = (right - left) / nx, (bottom - top) / ny
    ticks = nice_ticks(0.5, nx + 0.5, max(2, (right - left) // _TICK_PIXELS), is_whole=True)
    for value, text in zip(ticks, tick_labels(ticks), strict=True):
        x = left + (value - 0.5) * x_scale
        raster.fill(round(x), bottom, round(x) + 1, bottom + TICK, EDGE)
        place = x, bottom + TICK + TO_NUMBER
        raster.draw_text(*place, text, MUTED_INK, points=NUMBER_POINTS, anchor="mt")
    place = (left + right) / 2, bottom + TO_NAME
    raster.draw_text(*place, "column (pixels)", INK, points=LABEL_POINTS, anchor="ms")
    ticks = upright_ticks(0.5, ny + 0.5, max(2, (bottom - top) // _TICK_PIXELS), is_whole=True)
    texts = tick_labels(ticks)
    for value, text in zip(ticks, texts, strict=True):
        y = bottom - (value - 0.5) * y_scale
        raster.fill(left - TICK, round(y), left, round(y) + 1, EDGE)
        place = left - TICK - TO_NUMBER, y
        raster.draw_text(*place, text, MUTED_INK, points=NUMBER_POINTS, anchor="rm")
    if names_rows:
        name_distance = TICK + _TO_ROWS_NAME + _LETTER_PIXELS * max(map(len, texts), default=0)
        name = "row (pixels)"
        raster.draw_text(
            left - name_distance,
            (top + bottom) / 2,
            name,
            INK,
            points=LABEL_POINTS,
            is_upright=True,
        )


def _draw_scale(raster, corners, scale, unit, are_values_beyond):
    """Draw the colour scale; an end beyond which values lie is an arrow.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    corners : (int, int, int, int)
        Left, top, right and bottom of the image, pixels of the picture.
    scale : ccdflow.pages.pictures.scales.LinearScale or ccdflow.pages.pictures.scales.AsinhScale
    unit : str
    are_values_beyond : (bool, bool)
        Whether values lie below the scale, and above it.
    """
    _, top, right, bottom = corners
    left, right = right + _SCALE_GAP, right + _SCALE_GAP + _SCALE_WIDTH
    middle = (left + right) / 2
    colours = shades()
    upper, lower = (
        top + _ARROW_LENGTH * are_values_beyond[1],
        bottom - _ARROW_LENGTH * are_values_beyond[0],
    )
    rows = (np.arange(lower - upper)[::-1] + 0.5) / max(1, lower - upper)
    raster.put(left, upper, np.repeat(_shade_numbers(raster, rows)[:, None], right - left, axis=1))
    if are_values_beyond[0]:
        raster.polygon([(left, lower), (right, lower), (middle, bottom)], colours[0])
    if are_values_beyond[1]:
        raster.polygon([(left, upper), (right, upper), (middle, top)], colours[-1])
    values, texts = scale.ticks(
        max(2, min(_MOST_SCALE_TICKS, (lower - upper) // _SCALE_TICK_PIXELS))
    )
    for fraction, text in zip(scale.place(np.array(values, float)).tolist(), texts, strict=True):
        y = lower - fraction * (lower - upper)
        raster.fill(right, round(y), right + TICK, round(y) + 1, EDGE)
        place = right + TICK + TO_NUMBER, y
        raster.draw_text(*place, text, MUTED_INK, points=NUMBER_POINTS, anchor="lm")
    raster.draw_text(left, top - TO_TITLE, unit, MUTED_INK, points=NUMBER_POINTS)
