"""The picture of the detector's figures by a night's biases, as PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from ccdflow.errors import UserError
from ccdflow.pages.pictures.canvas import (
    STEPS,
    drawing,
    label_axes,
    legend,
    look,
    new_figure,
    png_bytes,
    say,
    widen,
)
from ccdflow.pages.pictures.style import FAINT, INK, LEFT, MUTED, SERIES, drawable

_NAMED = 4
_BAR = 0.15  # inches


@dataclass(frozen=True)
class AmplifierNight:
    """The figures of one amplifier by the biases of one night.

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
        Number of combined frames, and the noise measured; often one entry.
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
    """Draw the figures of one camera by one night's biases.

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


def _called(amplifier, number):
    return drawable(amplifier.amplifier) or f"amplifier {number + 1}"


def _label(amplifiers, number, after=""):
    """Name for a legend; none where there are too many, and the bars' colours have to do."""
    if len(amplifiers) > _NAMED:
        return None
    return _called(amplifiers[number], number) + after


def _time_scale(amplifiers):
    """The length of an hour, and the name of the axis; 0 where times are not known."""
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
