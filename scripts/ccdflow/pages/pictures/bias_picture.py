"""The picture of a camera's figures from one night's biases, as PNG bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccdflow.pages.pictures.plot_panel import HOLLOW_SIZE, MARKS, PlotPanel, write_sentence
from ccdflow.pages.pictures.raster import lighter_colour, new_picture
from ccdflow.pages.pictures.style import (
    INK,
    LEFT_ROOM,
    MUTED_INK,
    SERIES,
    THIN_LINE,
    drawable_text,
)

# The names of at most this many amplifiers fit into a legend.
_MOST_NAMED = 4
# Width of a bar, inches.
_BAR_WIDTH = 0.15
# Number of bars of an amplifier: one for rows, one for columns.
_BARS = 2
# Half the height of a bar, in rows of the panel.
_HALF_BAR = 0.25
# Width and height of a panel, inches.
_PANEL_WIDTH, _PANEL_HEIGHT = 5.0, 2.2
# From the left of the picture to the panels of the right column, inches.
_RIGHT_COLUMN = 6.8
# From the left of the picture to the panel of structure (its names are between), and its width,
# inches.
_STRUCTURE_BOX_LEFT, _STRUCTURE_BOX_WIDTH = 1.65, 4.1
# From the headline to the upper and to the lower row of panels, inches.
_UPPER_ROW, _LOWER_ROW = 0.35, 3.45
# Height of the panels without that of structure, inches.
_AROUND_STRUCTURE = 4.1
# Room at each side of a horizontal scale as a fraction of the range of its values, and in its unit
# where the range is 0.
_SIDE_FRACTION, _HALF_STEP = 0.05, 0.5
# Room at each end of a vertical scale as a fraction of the range of its values.
_HEIGHT_FRACTION = 0.12
# Least room at each end of a scale as a fraction of the largest value, which counts as at least 1:
# of levels, and of read noises. On a narrower scale noise would look like jumps.
_LEAST_LEVEL_FRACTION, _LEAST_NOISE_FRACTION = 1e-3, 0.01
# Upper ends of the scales of bars and of noises, which begin at 0, in units of their highest
# values.
_BARS_END, _NOISES_END = 1.15, 1.05
# From the lower edge of the panel of bars to the position of a further row, and from its upper edge
# to the first row, in rows. Both outermost bars are at the same distance from their edge.
_BEFORE_NEXT_ROW, _ABOVE_FIRST_ROW = 0.4, 0.6
# An amplifier's name beside a bar has at most the first number of letters; a longer name is cut to
# its end, with the second number of letters.
_BAR_NAME_LETTERS, _END_LETTERS = 16, 15
# Minutes of an hour: biases within less than an hour have an axis in minutes.
_MINUTES = 60
# Points of a curve.
_CURVE_POINTS = 50
# Fraction of its colour in a pale bar; the other fraction is white.
_PALE_OPACITY = 0.6


@dataclass(frozen=True)
class AmplifierNight:
    """The figures of one amplifier from the biases of one night.

    Attributes
    ----------
    amplifier : str
        Its name; empty where the camera has only one.
    hours : tuple of float
        Time of each bias, hours. With NaN, or without times, biases are drawn in their order.
    levels : tuple of float
        Bias level of each frame, in the unit of the picture.
    pair_noise : tuple of float
        Read noise from each pair of consecutive biases, in the unit of the picture.
    claimed_noise : float
        Read noise in header or profile, in the unit of the picture; NaN if they have none.
    row_structure, column_structure : float
        Scatter of the means of rows and of columns in excess of noise, after overscan subtraction,
        in the unit of the picture.
    row_error, column_error : float
        Standard errors of the two structures.
    combined_noise : tuple of (int, float)
        For each combined bias the number of its frames, and its measured noise in the unit of the
        picture.
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


def night_quality_picture(amplifiers, *, title, unit="adu"):
    """Return the picture of a camera's figures from one night's biases.

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
    ValueError
        If there is no amplifier.
    """
    if not amplifiers:
        raise ValueError("there is no amplifier to draw")
    explanation = (
        "A sound detector keeps its level, has the read noise that is claimed for it, and is "
        "averaged down as the root of the number of frames. Structure is the scatter of the means "
        "of rows and of columns beyond noise, after the overscan was subtracted; the combined "
        "bias takes out the part that all frames share."
    ) + (" Colours are those of the bars." if len(amplifiers) > _MOST_NAMED else "")
    # Bars are no nearer to each other than their names allow.
    structure_height = max(_PANEL_HEIGHT, _BARS * _BAR_WIDTH * len(amplifiers))
    raster, top = new_picture(title, explanation, _AROUND_STRUCTURE + structure_height)
    # These colours come first, because the shades at the edges of lines and letters fill the
    # palette.
    for colour in SERIES:
        raster.colour_number(colour)
        raster.colour_number(lighter_colour(colour, _PALE_OPACITY))
    upper, lower, size = top + _UPPER_ROW, top + _LOWER_ROW, (_PANEL_WIDTH, _PANEL_HEIGHT)
    structure_box = _STRUCTURE_BOX_LEFT, lower, _STRUCTURE_BOX_WIDTH, structure_height
    _draw_drift(raster, (LEFT_ROOM, upper, *size), amplifiers, unit)
    _draw_pairs(raster, (_RIGHT_COLUMN, upper, *size), amplifiers, unit)
    _draw_structure(raster, structure_box, amplifiers, unit)
    _draw_noise_by_number(raster, (_RIGHT_COLUMN, lower, *size), amplifiers, unit)
    return raster.png()


def _amplifier_name(amplifier, number):
    """Return the name of an amplifier, or 'amplifier' with its number, counted from 1."""
    return drawable_text(amplifier.amplifier) or f"amplifier {number + 1}"


def _time_scale(amplifiers):
    """Return the units of the axis in an hour, 0 without times, and the name of the axis."""
    has_times = all(len(each.hours) == len(each.levels) for each in amplifiers)
    hours = [hour for each in amplifiers for hour in each.hours]
    if not hours or not has_times or not all(math.isfinite(hour) for hour in hours):
        return 0, "bias, in order"
    if max(hours) - min(hours) < 1:
        return _MINUTES, "time (minutes)"
    return 1, "time (hours)"


def _colour_of_amplifier(number):
    """Return the colour of an amplifier by its number; after the last colour the first follows."""
    return SERIES[number % len(SERIES)]


def _legend_entries(amplifiers):
    """Return the legend of amplifiers: colour, text and mark of each; [] for many amplifiers."""
    if len(amplifiers) > _MOST_NAMED:
        return []
    return [
        (
            _colour_of_amplifier(number),
            _amplifier_name(each, number),
            MARKS[number % len(MARKS)],
        )
        for number, each in enumerate(amplifiers)
    ]


def _wide_scale(values, least):
    """Return the ends of a scale for values, with a least room as a fraction of the largest."""
    low, high = min(values), max(values)
    room = max(_HEIGHT_FRACTION * (high - low), least * max(abs(low), abs(high), 1.0))
    return low - room, high + room


def _finite_values(values):
    """Return the finite values, a list."""
    return [value for value in values if math.isfinite(value)]


def _draw_drift(raster, box, amplifiers, unit):
    """Draw the levels minus their median: amplifiers of unlike levels have one scale.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of the panel, inches.
    amplifiers : sequence of AmplifierNight
    unit : str
    """
    units_in_hour, axis_name = _time_scale(amplifiers)
    lines = []
    for amplifier in amplifiers:
        finite_levels = _finite_values(amplifier.levels)
        centre = float(np.median(finite_levels)) if finite_levels else math.nan
        times = range(1, len(amplifier.levels) + 1)
        if units_in_hour:
            times = [hour * units_in_hour for hour in amplifier.hours]
        lines.append((list(times), [level - centre for level in amplifier.levels], centre))
    changes = _finite_values(value for _, change, _ in lines for value in change)
    if not changes:
        write_sentence(raster, box, "No bias level was measured.")
        return
    entries = _legend_entries(amplifiers)
    entries = [
        (colour, f"{text}: {centre:.1f} {unit}", mark)
        for (colour, text, mark), (_, _, centre) in zip(entries, lines, strict=False)
        if math.isfinite(centre)
    ]
    positions = [time for times, _, _ in lines for time in times]
    room = _SIDE_FRACTION * (max(positions) - min(positions)) or _HALF_STEP
    panel = PlotPanel.with_legend(
        raster, box, x_range=(min(positions) - room, max(positions) + room),
        y_range=_wide_scale(changes, _LEAST_LEVEL_FRACTION),
        title="Bias level through the night", entries=entries,
    )  # fmt: skip
    panel.axes(panel.title, axis_name, f"less its median ({unit})", is_whole=not units_in_hour)
    for number, (times, change, _) in enumerate(lines):
        panel.curve(times, change, _colour_of_amplifier(number), THIN_LINE)
        panel.dots(times, change, _colour_of_amplifier(number), MARKS[number % len(MARKS)])
    panel.legend(entries)


def _draw_pairs(raster, box, amplifiers, unit):
    """Draw the read noise of each pair of biases, and the claimed read noise.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of the panel, inches.
    amplifiers : sequence of AmplifierNight
    unit : str
    """
    claimed_noises = [amplifier.claimed_noise for amplifier in amplifiers]
    noises = _finite_values(
        [*claimed_noises, *(value for amplifier in amplifiers for value in amplifier.pair_noise)]
    )
    if not noises:
        write_sentence(raster, box, "There was no pair of biases to measure the read noise from.")
        return
    entries = [
        entry
        for entry, amplifier in zip(_legend_entries(amplifiers), amplifiers, strict=False)
        if amplifier.pair_noise
    ]
    if _finite_values(claimed_noises):
        entries.append((MUTED_INK, "claimed", "--"))
    most_pairs = max(2, *(len(amplifier.pair_noise) for amplifier in amplifiers))
    room = _SIDE_FRACTION * (most_pairs - 1)
    panel = PlotPanel.with_legend(
        raster, box, x_range=(1 - room, most_pairs + room),
        y_range=_wide_scale(noises, _LEAST_NOISE_FRACTION),
        title="Read noise, from pairs", entries=entries,
    )  # fmt: skip
    panel.axes(panel.title, "pair, in order", unit)
    for number, amplifier in enumerate(amplifiers):
        positions = range(1, len(amplifier.pair_noise) + 1)
        panel.dots(
            positions,
            amplifier.pair_noise,
            _colour_of_amplifier(number),
            MARKS[number % len(MARKS)],
        )
        if math.isfinite(amplifier.claimed_noise):
            panel.dashes(amplifier.claimed_noise, _colour_of_amplifier(number))
    panel.legend(entries)


def _draw_structure(raster, box, amplifiers, unit):
    """Draw the structure of rows and columns of each amplifier as bars.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of the panel, inches.
    amplifiers : sequence of AmplifierNight
    unit : str
    """
    rows = []
    for number, amplifier in enumerate(amplifiers):
        name = _amplifier_name(amplifier, number)
        short_name = name if len(name) <= _BAR_NAME_LETTERS else "…" + name[-_END_LETTERS:]
        for line in ("row", "column"):
            value, error = (
                getattr(amplifier, f"{line}_structure"),
                getattr(amplifier, f"{line}_error"),
            )
            if math.isfinite(value):
                error = error if math.isfinite(error) else 0.0
                rows.append((f"{short_name}, {line}s", value, error, _colour_of_amplifier(number)))
    if not rows:
        write_sentence(raster, box, "No structure was measured.")
        return
    largest = max(value + error for _, value, error, _ in rows)
    y_range = len(rows) - _BEFORE_NEXT_ROW, -_ABOVE_FIRST_ROW
    panel = PlotPanel(raster, box, (0, _BARS_END * largest or 1.0), y_range)
    panel.named_rows("Structure left over", f"rms of the means ({unit})", [row[0] for row in rows])
    for position, (_, value, error, colour) in enumerate(rows):
        pale_colour = lighter_colour(colour, _PALE_OPACITY)
        panel.block(0, value, position - _HALF_BAR, position + _HALF_BAR, pale_colour)
        panel.block(max(0.0, value - error), value + error, position, position, INK)
    panel.legend([(INK, "± 1 standard error")])


def _draw_noise_by_number(raster, box, amplifiers, unit):
    """Draw the noise of combined biases, and the read noise over the root of N, against N.

    Parameters
    ----------
    raster : ccdflow.pages.pictures.raster.Raster
    box : (float, float, float, float)
        Left, top, width and height of the panel, inches.
    amplifiers : sequence of AmplifierNight
    unit : str
    """
    most_frames = max(
        [1, *(count for amplifier in amplifiers for count, _ in amplifier.combined_noise)]
    )
    if most_frames == 1:
        write_sentence(raster, box, "No biases were combined.")
        return
    counts = np.geomspace(1, most_frames, _CURVE_POINTS)
    drawn_noises, curves = [], []
    for number, amplifier in enumerate(amplifiers):
        drawn_noises += _finite_values(noise for _, noise in amplifier.combined_noise)
        pair_noises = _finite_values(amplifier.pair_noise)
        if amplifier.combined_noise and pair_noises:
            read_noise = float(np.median(pair_noises))
            curves.append((read_noise / np.sqrt(counts), _colour_of_amplifier(number)))
            drawn_noises.append(read_noise)
    entries = [
        (colour, text, f"{mark}, hollow")
        for (colour, text, mark), amplifier in zip(
            _legend_entries(amplifiers), amplifiers, strict=False
        )
        if amplifier.combined_noise
    ]
    entries.append((MUTED_INK, "read noise / √N"))
    room = _SIDE_FRACTION * (most_frames - 1)
    panel = PlotPanel.with_legend(
        raster, box, x_range=(1 - room, most_frames + room),
        y_range=(0, _NOISES_END * max(drawn_noises, default=1.0)),
        title="Noise of the combined bias", entries=entries,
    )  # fmt: skip
    panel.axes(panel.title, "number of frames, N", unit)
    for values, colour in curves:
        panel.curve(counts, values, colour, 1)
    for number, amplifier in enumerate(amplifiers):
        positions, noises = (
            zip(*amplifier.combined_noise, strict=True) if amplifier.combined_noise else ((), ())
        )
        mark = f"{MARKS[number % len(MARKS)]}, hollow"
        panel.dots(positions, noises, _colour_of_amplifier(number), mark, size=HOLLOW_SIZE)
    panel.legend(entries)
