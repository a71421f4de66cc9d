"""The picture of a combined bias, as PNG bytes: image, profiles, distribution of its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ccdflow.errors import UserError
from ccdflow.pages.pictures.frame_content import check_image, mean_of_middle_half, shrink
from ccdflow.pages.pictures.image_panel import draw_image
from ccdflow.pages.pictures.plot_panel import PlotPanel
from ccdflow.pages.pictures.raster import new_picture
from ccdflow.pages.pictures.style import (
    BELOW_ROOM,
    LEFT_ROOM,
    SCALE_ROOM,
    SERIES,
    THIN_LINE,
    WIDTH,
    pixels,
)
from ccdflow.pages.text_formatting import span_text
from ccdflow.robust import MAD_TO_SIGMA_SHORT

# The image is shrunk to at most this many pixels along its longer side. Only an image higher than
# 1.8 times its width is drawn larger: its height is up to 5.4 inches.
_MOST_SIDE_PIXELS = pixels(4.9)
# From this many pixels along an axis to twice as many are sampled, and all of fewer: enough for a
# profile or a distribution.
_SAMPLED_SIDE_PIXELS = 500
# Rounds in which the middle of the noise is measured again, from the pixels near the last one.
# Measured: with structure of three times the noise in half of the pixels, the tenth round moves the
# middle by less than 0.5 % of the noise.
_ITERATIONS = 20
# Room above the uppermost panels, inches.
_ABOVE_PANELS = 0.35
# Room below the lowest panel, for the name of its axis, inches.
_BELOW_PANELS = 0.6
# Width and least height of an image that is wider than high, inches. The profiles are below it, and
# the distribution is at its right.
_WIDE_IMAGE, _LEAST_WIDE_HEIGHT = 4.3, 2.1
# Width and height of the panels of profiles below an image, inches.
_PROFILE_WIDTH, _PROFILE_HEIGHT = 4.9, 2.0
# From the left of the picture to the panels of the right column, and additional room above the
# profiles, inches.
_RIGHT_COLUMN, _ABOVE_PROFILES = 6.9, 0.2
# Width and least height of an image that is at least as high as wide, inches. The three other
# panels are at its right.
_TALL_IMAGE, _LEAST_TALL_HEIGHT = 2.7, 4.9
# Room between the scale of a tall image and the panels, and room right of the panels, inches.
_BETWEEN_TALL, _RIGHT_OF_PANELS = 0.6, 0.2
# Percentiles of a profile that its scale includes. Room beyond them as a fraction of their range,
# and in the unit of the pixels where the range is 0.
_PROFILE_PERCENTILES, _ROOM_FRACTION, _ROOM_OF_ONE_VALUE = (0.5, 99.5), 0.4, 0.5
# Room at each side of a profile, as a fraction of its length.
_SIDE_FRACTION = 0.01
# The distribution extends to both sides by the first number times the largest of three: the
# scatter, the noise, and the second number, adu. With a larger first number it is a narrow peak;
# with a smaller one its wings are cut.
_REACH_SIGMA, _LEAST_NOISE = 6, 1e-3
# Upper end of the scale of the distribution, in units of its highest value.
_DISTRIBUTION_END = 1.05
# Pixels within this many times the largest predicted noise of the last middle give the next one.
_NEAR_NOISE = 1.5
# A value does not count for the step of the values if no more pixels have it than this fraction of
# the pixels with the most frequent value.
_RARE_FRACTION = 0.1
# Bins are multiples of the step of the values if this step is longer than a bin over this number.
_BINS_OF_STEP = 8
# A rejected fraction below this many percent is given as an upper limit.
_LEAST_PERCENT = 1e-3
_BAR_COLOUR = "#b0cbdf"


@dataclass(frozen=True)
class CombinedBiasValues:
    """The values of a combined bias that its picture shows.

    Attributes
    ----------
    name : str
        Name of the product.
    image : numpy.ndarray of shape (ny, nx), float32 or float64
        Pixels of the combined bias; NaN is not drawn.
    n_members : int
        Number of frames combined.
    noises, predicted_noises : tuple of float
        Noise of a pixel of each amplifier, measured, and predicted by the members' read noise; NaN
        where not known.
    rejected_fraction : float
        Fraction of the members' values that were rejected, 0 to 1; NaN where not known.
    recipe : str
        Recipe of the combination, in a few words.
    unit : str
        Unit of the pixels.
    """

    name: str
    image: np.ndarray = field(repr=False)
    n_members: int = 0
    noises: tuple[float, ...] = ()
    predicted_noises: tuple[float, ...] = ()
    rejected_fraction: float = math.nan
    recipe: str = ""
    unit: str = "adu"


def combined_bias_picture(combined, *, title=None):
    """Return the picture of a combined bias: image, two profiles, distribution of its pixels.

    Parameters
    ----------
    combined : CombinedBiasValues
        The combined bias.
    title : str, optional
        Headline; by default with the product's name.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    UserError
        If the image is not two-dimensional, has an empty axis, or has no finite pixel.
    """
    image = combined.image
    check_image(image, "combined bias", combined.name)
    if not np.isfinite(image).any():
        raise UserError(
            "the combined bias has no finite pixel",
            file=combined.name,
            remedy="look at its frames: all their pixels are NaN or infinite",
        )
    shrunk = shrink(image, _MOST_SIDE_PIXELS)
    boxes, height = _combined_layout(shrunk.ratio)
    title = title or f"Combined bias: {combined.name}"
    raster, panels_top = new_picture(title, combined_sentence(combined), height)
    image_box, column_box, row_box, histogram_box = (
        (left, top + panels_top, *size) for left, top, *size in boxes
    )
    draw_image(raster, image_box, shrunk, combined.unit, "Combined bias")
    _draw_line_profile(raster, column_box, image, combined.unit, axis=0)
    _draw_line_profile(raster, row_box, image, combined.unit, axis=1)
    _draw_histogram(raster, histogram_box, combined)
    return raster.png()


def _combined_layout(ratio):
    """Return the boxes of image, columns, rows and distribution, and their height, inches."""
    if ratio < 1.0:
        width = _WIDE_IMAGE
        image_height = max(_LEAST_WIDE_HEIGHT, width * ratio)
        profiles_top = _ABOVE_PANELS + image_height + BELOW_ROOM + _ABOVE_PROFILES
        return [
            (LEFT_ROOM, _ABOVE_PANELS, width, width * ratio),
            (LEFT_ROOM, profiles_top, _PROFILE_WIDTH, _PROFILE_HEIGHT),
            (_RIGHT_COLUMN, profiles_top, _PROFILE_WIDTH, _PROFILE_HEIGHT),
            (_RIGHT_COLUMN, _ABOVE_PANELS, _PROFILE_WIDTH, image_height),
        ], profiles_top + _PROFILE_HEIGHT + _BELOW_PANELS
    width = _TALL_IMAGE
    image_height = max(_LEAST_TALL_HEIGHT, width * ratio)
    start = LEFT_ROOM + width + SCALE_ROOM + _BETWEEN_TALL
    height = (image_height - 2 * BELOW_ROOM) / 3
    tops = [_ABOVE_PANELS + number * (height + BELOW_ROOM) for number in range(3)]
    right_boxes = [(start, top, WIDTH - start - _RIGHT_OF_PANELS, height) for top in tops]
    image_box = LEFT_ROOM, _ABOVE_PANELS, width, width * ratio
    return [image_box, *right_boxes], _ABOVE_PANELS + image_height + _BELOW_PANELS


def combined_sentence(combined):
    """Return the members, noise, predicted noise and rejected part of a bias, in a sentence."""
    parts = [f"{combined.n_members} biases combined"]
    if combined.recipe:
        parts[0] += f" ({combined.recipe})"
    if noise := span_text(combined.noises):
        parts.append(f"noise of a pixel {noise} {combined.unit}")
        if predicted := span_text(combined.predicted_noises):
            parts[-1] += f", predicted from the read noise {predicted} {combined.unit}"
    if math.isfinite(combined.rejected_fraction):
        percent = 100 * combined.rejected_fraction
        share_in_words = (
            f"{percent:.2g}" if percent >= _LEAST_PERCENT or not percent else "less than 0.001"
        )
        parts.append(f"{share_in_words} % of the values rejected as outliers")
    return (
        "; ".join(parts)
        + ". The lines are means of the middle half of the pixels of each column and row:"
        " structure beyond noise there is common to the frames."
    )


def _sampled_lines_of(image, *axes):
    """Return evenly spaced lines of a large image; all lines if the sample has no finite pixel."""
    steps = [
        max(1, image.shape[axis] // _SAMPLED_SIDE_PIXELS) if axis in axes else 1 for axis in (0, 1)
    ]
    part = image[:: steps[0], :: steps[1]]
    part = part if np.isfinite(part).any() else image
    return np.asarray(part, part.dtype.newbyteorder("="))


def _draw_line_profile(raster, box, image, unit, *, axis):
    """Draw the typical value of each column (axis 0) or each row (axis 1).

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height, inches.
    image : numpy.ndarray of shape (ny, nx), float32 or float64
    unit : str
    axis : {0, 1}
    """
    values = mean_of_middle_half(_sampled_lines_of(image, axis), axis=axis)
    line, other_lines = ("column", "rows") if axis == 0 else ("row", "columns")
    low, high = (float(value) for value in np.nanpercentile(values, _PROFILE_PERCENTILES))
    room = _ROOM_FRACTION * (high - low) or _ROOM_OF_ONE_VALUE
    edge = _SIDE_FRACTION * values.size
    panel = PlotPanel(raster, box, (1 - edge, values.size + edge), (low - room, high + room))
    title = f"Each {line}, typical value over all {other_lines}"
    panel.axes(title, f"{line} (pixels)", unit)
    panel.curve(np.arange(1, values.size + 1), values, SERIES[0], THIN_LINE)


def _draw_histogram(raster, box, combined):
    """Draw the distribution of the pixels, and that predicted for noise alone.

    For several amplifiers the prediction is the mean of their normal distributions.
    """
    values = _sampled_lines_of(combined.image, 0, 1)
    values = values[np.isfinite(values)]
    centre = float(np.median(values))
    spread = MAD_TO_SIGMA_SHORT * float(np.median(np.abs(values - centre)))
    predicted = [noise for noise in combined.predicted_noises if math.isfinite(noise) and noise > 0]
    edges = bin_edges(values, centre, _REACH_SIGMA * max(spread, *predicted, _LEAST_NOISE))
    counts, _ = np.histogram(values, bins=edges)
    percentages = 100 * counts / values.size
    middle = (edges[1:] + edges[:-1]) / 2
    peak = middle_of_noise(values, centre, predicted)
    curves = [
        np.exp(-0.5 * ((middle - peak) / noise) ** 2) / (noise * math.sqrt(2 * math.pi))
        for noise in predicted
    ]
    curve = 100 * (edges[1] - edges[0]) * np.mean(curves, axis=0) if curves else percentages
    highest = _DISTRIBUTION_END * float(max(percentages.max(), curve.max()))
    panel = PlotPanel(raster, box, (edges[0], edges[-1]), (0, highest))
    panel.axes("All pixels", f"value ({combined.unit})", "% of the pixels", is_whole=False)
    panel.bars(edges, percentages, _BAR_COLOUR)
    entries = [(_BAR_COLOUR, "pixels")]
    if curves:
        panel.curve(middle, curve, SERIES[1])
        entries.append((SERIES[1], "noise alone, as predicted"))
    panel.legend(entries)


def middle_of_noise(values, centre, predicted):
    """Return the middle of the pixels' noise, where structure shifts their median.

    Parameters
    ----------
    values : numpy.ndarray of shape (n,), float32 or float64
    centre : float
        Their median.
    predicted : sequence of float
        The noise of a pixel that the read noise of each amplifier predicts; may be empty.

    Returns
    -------
    float
        In the unit of the values.
    """
    for _ in range(_ITERATIONS if predicted else 0):
        near_values = values[np.abs(values - centre) < _NEAR_NOISE * max(predicted)]
        if not near_values.size:
            break
        centre = float(near_values.mean(dtype=np.float64))
    return centre


def bin_edges(values, centre, reach, bins=60):
    """Return the edges of bins of one width about a centre.

    Means of a few whole numbers differ by multiples of a step: bins of one and a half steps would
    contain one and two values by turns. If the step is not much shorter than a bin, the width is
    a multiple of it, and the centre moves by up to a step.

    Parameters
    ----------
    values : numpy.ndarray of shape (n,), float32 or float64
    centre, reach : float
        The middle of the bins before it moves, and the least distance of the outermost edges from
        the middle.
    bins : int, optional
        Approximate number of bins.

    Returns
    -------
    numpy.ndarray of shape (k,), float64
        The edges, in the unit of the values.
    """
    width = 2 * reach / bins
    near_values, counts = np.unique(values[np.abs(values - centre) < reach], return_counts=True)
    # The few values between the steps are means of pixels with rejected values.
    near_values = near_values[counts > _RARE_FRACTION * counts.max(initial=0)]
    step = float(np.median(np.diff(near_values))) if near_values.size > 1 else 0.0
    if step > width / _BINS_OF_STEP:
        width = step * max(1, round(width / step))
        centre = float(near_values[np.argmin(np.abs(near_values - centre))]) + step / 2
    count = math.ceil(reach / width)
    return centre + width * np.arange(-count, count + 1)
