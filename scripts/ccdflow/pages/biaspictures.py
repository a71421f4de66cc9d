"""Pictures of combined biases and of what biases say about the detector, as PNG bytes.

Every function takes values and gives back the bytes of one PNG; the same values, the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.ticker import MaxNLocator

from ccdflow.errors import UserError
from ccdflow.pages.canvas import (
    BELOW,
    FAINT,
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
    legend,
    look,
    new_figure,
    png_bytes,
    say,
    widen,
)  # fmt: skip
from ccdflow.pages.panels import check_image, middle_half, shrink
from ccdflow.pages.words import span
from ccdflow.robust import MAD_TO_SIGMA_SHORT

_SHOWN_PIXELS = 620
_NAMED = 4
_BAR = 0.15  # inches
_SAMPLED = 1000  # pixels along an axis that are enough for a line or a distribution


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
    noises, predicted : tuple of float
        Noise of a pixel of each amplifier as measured, and as the members' read noise predicts it;
        NaN where not known.
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
    noises: tuple[float, ...] = ()
    predicted: tuple[float, ...] = ()
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
    check_image(image, "combined bias", combined.name)
    if not np.isfinite(image).any():
        raise UserError("the combined bias has no finite pixel", file=combined.name)
    small = shrink(image, _SHOWN_PIXELS)
    boxes, height = _combined_layout(small.ratio)
    with drawing():
        title = title or f"Combined bias: {combined.name}"
        figure, place = new_figure(title, _combined_sentence(combined), height=height)
        at_image, by_column, by_row, spread = (place(box) for box in boxes)
        draw_image(at_image, small, combined.unit, "Combined bias")
        _draw_line_profile(by_column, image, combined.unit, axis=0)
        _draw_line_profile(by_row, image, combined.unit, axis=1)
        _draw_histogram(spread, combined)
        return png_bytes(figure)


def _combined_layout(ratio):
    """Boxes for image, columns, rows and distribution, and the height of it all."""
    if ratio < 1.0:
        width = 4.3
        tall = max(2.1, width * ratio)
        below = 0.35 + tall + BELOW + 0.2
        return [
            (LEFT, 0.35, width, width * ratio),
            (LEFT, below, 4.9, 2.0),
            (6.9, below, 4.9, 2.0),
            (6.9, 0.35, 4.9, tall),
        ], below + 2.0 + 0.6
    width = 2.7
    tall = max(4.9, width * ratio)
    start = LEFT + width + SCALE_ROOM + 0.6
    height = (tall - 2 * BELOW) / 3
    tops = [0.35 + number * (height + BELOW) for number in range(3)]
    right = [(start, top, WIDTH - start - 0.2, height) for top in tops]
    return [(LEFT, 0.35, width, width * ratio), *right], 0.35 + tall + 0.6


@dataclass(frozen=True)
class AmplifierNight:
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
        Scatter of the means of rows and of columns after overscan subtraction beyond what noise
        accounts for, in ``unit``.
    row_error, column_error : float
        Their standard errors.
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
    row_error: float = math.nan
    column_error: float = math.nan
    combined_noise: tuple[tuple[int, float], ...] = ()


def night_quality_picture(
    amplifiers: Sequence[AmplifierNight], *, title: str, unit: str = "adu"
) -> bytes:
    """Draw what one night's biases say about one camera.

    Parameters
    ----------
    amplifiers : sequence of AmplifierNight
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
        "A sound detector keeps its level, has the read noise that is claimed for it, and is "
        "averaged down as the root of the number of frames. Structure is what the means of rows "
        "and of columns show beyond noise after the overscan was subtracted; what all frames share "
        "of it, the combined bias takes out."
    ) + (" Colours are those of the bars." if len(amplifiers) > _NAMED else "")
    # Two bars an amplifier, no nearer than their names allow.
    tall = max(2.2, 2 * _BAR * len(amplifiers))
    with drawing():
        figure, place = new_figure(title, explanation, height=4.1 + tall)
        _draw_drift(place((LEFT, 0.35, 5.0, 2.2)), amplifiers, unit)
        _draw_pairs(place((6.8, 0.35, 5.0, 2.2)), amplifiers, unit)
        _draw_structure(place((1.65, 3.45, 4.1, tall)), amplifiers, unit)
        _draw_gain_by_number(place((6.8, 3.45, 5.0, 2.2)), amplifiers, unit)
        return png_bytes(figure)


def _combined_sentence(combined):
    said = [f"{combined.members} biases combined"]
    if combined.recipe:
        said[0] += f" ({combined.recipe})"
    if noise := span(combined.noises):
        said.append(f"noise of a pixel {noise} {combined.unit}")
        if predicted := span(combined.predicted):
            said[-1] += f", predicted from the read noise {predicted} {combined.unit}"
    if math.isfinite(combined.rejected):
        said.append(f"{100 * combined.rejected:.2g} % of the values rejected as outliers")
    return (
        "; ".join(said)
        + ". The lines are means of the middle half of the pixels of each column and row: what"
        " stands out of the noise there, the frames have in common."
    )


def _sampled(image, *axes):
    """Every so many rows or columns of a big image; all of them where those have no pixel."""
    steps = [max(1, image.shape[axis] // _SAMPLED) if axis in axes else 1 for axis in (0, 1)]
    part = image[:: steps[0], :: steps[1]]
    return part if np.isfinite(part).any() else image


def _draw_line_profile(axes, image, unit, *, axis):
    """Draw the typical value of each column (axis 0) or row (axis 1)."""
    values = middle_half(_sampled(image, axis), axis=axis)
    line, across = ("column", "rows") if axis == 0 else ("row", "columns")
    axes.plot(np.arange(1, values.size + 1), values, color=SERIES[0], linewidth=0.8)
    label_axes(axes, f"Each {line}, typical value over all {across}", f"{line} (pixels)", unit)
    axes.margins(x=0.01)
    low, high = (float(value) for value in np.nanpercentile(values, (0.5, 99.5)))
    room = 0.4 * (high - low) or 0.5
    axes.set_ylim(low - room, high + room)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=STEPS))


def _draw_histogram(axes, combined):
    """Draw the distribution of the pixels, with that of noise alone, as it is predicted.

    With several amplifiers, this is the mean of their normal curves.
    """
    values = _sampled(combined.image, 0, 1)
    values = values[np.isfinite(values)]
    centre = float(np.median(values))
    spread = MAD_TO_SIGMA_SHORT * float(np.median(np.abs(values - centre)))
    predicted = [noise for noise in combined.predicted if math.isfinite(noise) and noise > 0]
    edges = _edges(values, centre, 6 * max(spread, *predicted, 1e-3))
    counts, _ = np.histogram(values, bins=edges)
    share = 100 * counts / values.size
    axes.stairs(share, edges, fill=True, color=SERIES[0], alpha=0.35, label="pixels")
    if predicted:
        middle = (edges[1:] + edges[:-1]) / 2
        curves = [
            np.exp(-0.5 * ((middle - centre) / noise) ** 2) / (noise * math.sqrt(2 * math.pi))
            for noise in predicted
        ]
        curve = 100 * (edges[1] - edges[0]) * np.mean(curves, axis=0)
        axes.plot(middle, curve, color=SERIES[1], linewidth=1.2, label="noise alone, as predicted")
    label_axes(axes, "All pixels", f"value ({combined.unit})", "% of the pixels")
    axes.set_xlim(edges[0], edges[-1])
    legend(axes)


def _edges(values, centre, reach, bins=60):
    """Edges of bins about a centre, each of them with as many possible values as its neighbours.

    Means of few whole numbers lie a fixed step apart: bins of one and a half steps would hold one
    and two of them by turns.
    """
    width = 2 * reach / bins
    near, counts = np.unique(values[np.abs(values - centre) < reach], return_counts=True)
    # What clipping left lies between the steps, but there is little of it.
    near = near[counts > 0.1 * counts.max(initial=0)]
    step = float(np.median(np.diff(near))) if near.size > 1 else 0.0
    if step > width / 8:
        width = step * max(1, round(width / step))
        centre = float(near[np.argmin(np.abs(near - centre))]) + step / 2
    count = math.ceil(reach / width)
    return centre + width * np.arange(-count, count + 1)


def _called(amplifier, number):
    return drawable(amplifier.amplifier) or f"amplifier {number + 1}"


def _label(amplifiers, number, after=""):
    """Name for a legend; none where there are too many, and the bars' colours have to do."""
    if len(amplifiers) > _NAMED:
        return None
    return _called(amplifiers[number], number) + after


def _time_scale(amplifiers):
    """What an hour is drawn as, and what the axis is called; 0 where times are not known."""
    timed = all(len(each.hours) == len(each.levels) for each in amplifiers)
    hours = [hour for each in amplifiers for hour in each.hours]
    if not hours or not timed or not all(math.isfinite(hour) for hour in hours):
        return 0, "bias, in order"
    if max(hours) - min(hours) < 1:
        return 60, "time (minutes)"
    return 1, "time (hours)"


def _draw_drift(axes, amplifiers, unit):
    """Draw the levels less their median, so that amplifiers of unlike level share a scale."""
    scale, where = _time_scale(amplifiers)
    every = []
    for number, each in enumerate(amplifiers):
        known = [level for level in each.levels if math.isfinite(level)]
        if not known:
            continue
        centre = float(np.median(known))
        times = range(1, len(each.levels) + 1)
        if scale:
            times = [hour * scale for hour in each.hours]
        label = _label(amplifiers, number, f": {centre:.1f} {unit}")
        change = [level - centre for level in each.levels]
        every += change
        axes.plot(times, change, linewidth=0.8, markersize=4, label=label, **look(number))
    label_axes(axes, "Bias level through the night", where, f"less its median ({unit})")
    if not every:
        return say(axes, "No bias level was measured.")
    widen(axes, every)
    if not scale:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=STEPS))
    return legend(axes)


def _draw_pairs(axes, amplifiers, unit):
    every = []
    for number, each in enumerate(amplifiers):
        if each.pair_noise:
            where = range(1, len(each.pair_noise) + 1)
            label = _label(amplifiers, number)
            axes.plot(where, each.pair_noise, lw=0, markersize=4, label=label, **look(number))
            every += each.pair_noise
        if math.isfinite(each.claimed_noise):
            axes.axhline(
                each.claimed_noise, color=SERIES[number % len(SERIES)], linewidth=1.1,
                linestyle=(0, (5, 3)),
            )  # fmt: skip
            every.append(each.claimed_noise)
    label_axes(axes, "Read noise, from pairs", "pair, in order", unit)
    if not every:
        return say(axes, "There was no pair of biases to measure the read noise from.")
    widen(axes, every, least=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=STEPS))
    if any(math.isfinite(each.claimed_noise) for each in amplifiers):
        axes.plot([], [], color=MUTED, lw=1.1, linestyle=(0, (5, 3)), label="claimed")
    return legend(axes)


def _draw_structure(axes, amplifiers, unit):
    """Draw the scatter of row and column means that noise does not account for."""
    names, largest = [], 0.0
    for number, each in enumerate(amplifiers):
        for what in ("row", "column"):
            value, error = getattr(each, f"{what}_structure"), getattr(each, f"{what}_error")
            if not math.isfinite(value):
                continue
            place = len(names)
            called = _called(each, number)
            called = called if len(called) <= 16 else "…" + called[-15:]
            names.append(f"{called}, {what}s")
            axes.barh(place, value, height=0.5, color=SERIES[number % len(SERIES)], alpha=0.6)
            error = error if math.isfinite(error) else 0.0
            axes.plot([max(0.0, value - error), value + error], [place] * 2, color=INK, lw=1.2)
            largest = max(largest, value + error)
    label_axes(axes, "Structure left over", f"rms of the means ({unit})", "")
    if not names:
        return say(axes, "No structure was measured.")
    axes.grid(False, axis="y")
    axes.grid(True, axis="x", color=FAINT, linewidth=0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.15 * largest or 1.0))
    axes.plot([], [], color=INK, lw=1.2, label="± 1 standard error")
    return legend(axes)


def _draw_gain_by_number(axes, amplifiers, unit):
    """Draw the noise of combined biases against read noise over the root of N."""
    most = 1
    for number, each in enumerate(amplifiers):
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
                **look(number),
            )
    for number, each in enumerate(amplifiers):
        known = [noise for noise in each.pair_noise if math.isfinite(noise)]
        if each.combined_noise and known:
            counts = np.geomspace(1, most, 50)
            single = float(np.median(known))
            axes.plot(counts, single / np.sqrt(counts), linewidth=1, color=look(number)["color"])
    label_axes(axes, "Noise of the combined bias", "number of frames, N", unit)
    if most == 1:
        return say(axes, "No biases were combined.")
    axes.plot([], [], color=MUTED, linewidth=1, label="read noise / √N")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=STEPS))
    return legend(axes)
