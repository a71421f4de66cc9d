"""The amplifiers of an image, from the blocks that light reaches and the strips beside them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ccdflow.camera.proposing.lit_columns import (
    FEWEST_STRIP_COLUMNS,
    column_means,
    widest_of,
)
from ccdflow.camera.sections import Region

# The data of an amplifier have at least this fraction of the columns. With a larger fraction narrow
# amplifiers are missed; with a smaller one a bad border that looks lit is taken for an amplifier.
_LEAST_BLOCK_FRACTION = 1 / 20
# A section of the header is used if it has at least this fraction of the lit pixels. With a larger
# fraction the bad rows that an observatory cuts off are kept; with a smaller one a wrong section
# loses data.
_LEAST_KEPT_FRACTION = 0.98
# If less than this fraction of the dark columns agree with each other, a finding states that the
# level is not sure. With a larger fraction good strips with a few trailing columns get this
# finding; with a smaller one no strip does.
_LEAST_AGREEING_FRACTION = 0.5
# Strips of amplifiers that share a row have at least this fraction of the widest strip's width.
# With a larger fraction a strip that lost columns to trailing light does not count; with a smaller
# one a few dark columns are taken for the strip of an amplifier.
_LEAST_WIDTH_FRACTION = 0.7
# The step of a bias and that of the strips agree if they differ by at most this fraction of the
# latter. A smaller fraction refuses amplifiers because of the noise of the medians; a larger one
# takes a gradient of the bias for a step.
_STEP_TOLERANCE = 0.3
# Columns on either side of an edge whose medians give the step of a bias there. Medians of fewer
# columns are noisy; those of more columns include a gradient of the bias.
_STEP_COLUMNS = 8


def find_amplifiers(columns, rows, bias, findings):
    """Return name, data and overscan of each amplifier, from the strips along one of the axes.

    Parameters
    ----------
    columns, rows : ccdflow.camera.proposing.lit_columns.AxisLevels
        The image along each axis: its lit ranges and its strips of overscan.
    bias : numpy.ndarray of shape (ny, nx), float32, or None
        A bias, whose steps are compared with those of the strips.
    findings : list of str
        Gets the sentences on decisions made here.

    Returns
    -------
    tuple of (str, Region, tuple of Region)
    """
    axis, across = (columns, rows) if columns.strips or not rows.strips else (rows, columns)
    if axis is rows and bias is not None:
        bias = bias.T
    side = widest_of(across.lit_ranges)
    blocks = [
        block for block in axis.lit_ranges if block[1] - block[0] >= fewest_block_columns(axis)
    ]
    amplifiers = []
    if not axis.strips:
        amplifiers = [("A", widest_of(axis.lit_ranges), [])]
    elif len(blocks) == 1:
        amplifiers = _amplifiers_of_one_block(blocks[0], axis, bias, findings)
    else:
        for number, block in enumerate(blocks):
            strip = min(axis.strips, key=lambda s, b=block: _distance_and_width(s, b))
            amplifiers.append((f"A{number + 1}", block, [strip]))
    return tuple(
        (
            name,
            _region_of_ranges(axis, block, side),
            tuple(_region_of_ranges(axis, (strip.start, strip.stop), side) for strip in strips),
        )
        for name, block, strips in amplifiers
    )


def fewest_block_columns(axis):
    """Return the least number of columns that count as the data of an amplifier."""
    return max(FEWEST_STRIP_COLUMNS, int(len(axis.levels) * _LEAST_BLOCK_FRACTION))


def amplifiers_with_header_section(amplifiers, claimed_sections):
    """Return the amplifiers with the header's science section, where it is just inside the light.

    The observatory may know of a bad row at the edge. A section that cuts off more, or that leaves
    the light, is not used.

    Parameters
    ----------
    amplifiers : tuple of (str, Region, tuple of Region)
        Name, science pixels and overscan strips.
    claimed_sections : sequence of (str, Region)
        The header's own sections, by keyword.

    Returns
    -------
    tuple of (str, Region, tuple of Region)
    """
    if len(amplifiers) != 1:
        return amplifiers
    ((name, data, strips),) = amplifiers
    for keyword in ("TRIMSEC", "DATASEC"):
        section = dict(claimed_sections).get(keyword)
        if (
            section is not None
            and data.contains(section)
            and section.size >= _LEAST_KEPT_FRACTION * data.size
        ):
            return ((name, section, strips),)
    return amplifiers


def _distance_and_width(strip, block):
    """Return (distance from a block, minus the width) of a strip: a key to find the nearest one."""
    gap = max(strip.start - block[1], block[0] - strip.stop)
    return gap, -strip.width


def _region_of_ranges(axis, along, across):
    """Return the region of two ranges of pixels, along an axis and across it."""
    if axis.name == "columns":
        return Region(*across, *along)
    return Region(*along, *across)


def _amplifiers_of_one_block(block, axis, bias, findings):
    """Return one amplifier, or several that share each row, their strips one after the other.

    Parameters
    ----------
    block : (int, int)
        First line with light, and the one after the last.
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
    bias : numpy.ndarray of shape (ny, nx), float32, or None
        A bias.
    findings : list of str
        Gets the sentences on decisions made here.
    """
    # Of strips of equal width the farthest from the data is taken, because the least charge trails
    # into it.
    widest = max(axis.strips, key=lambda s: (s.width, max(s.start - block[1], block[0] - s.stop)))
    strips_on_side = [
        strip for strip in axis.strips if (strip.start >= block[1]) == (widest.start >= block[1])
    ]
    _note_trailing_light(strips_on_side, axis, findings)
    strips = [s for s in strips_on_side if s.width >= _LEAST_WIDTH_FRACTION * widest.width]
    steps = np.diff([strip.level for strip in strips])
    if len(strips) < 2 or np.abs(steps).min() < axis.read_noise:
        return _amplifiers_of_both_sides(block, axis, bias, findings) or [("A", block, [widest])]
    edges = _amplifier_edges(block, strips, axis, bias, findings)
    if edges is None:
        return [("A", block, [widest])]
    return [
        (f"A{number}", pair, [strip])
        for number, (pair, strip) in enumerate(zip(pairwise(edges), strips, strict=True), 1)
    ]


def _note_trailing_light(strips, axis, findings):
    """Add a finding on strips if most of their columns disagree with each other.

    Parameters
    ----------
    strips : list of ccdflow.camera.proposing.lit_columns.Strip
        Strips of the amplifiers.
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
        Axis across the strips.
    findings : list of str
        Gets the sentence.
    """
    agreeing_columns = sum(strip.width for strip in strips)
    unlit_columns = agreeing_columns + sum(len(strip.left_out) for strip in strips)
    if agreeing_columns < _LEAST_AGREEING_FRACTION * unlit_columns:
        findings.append(
            f"Only {agreeing_columns} of {unlit_columns} {axis.name} without light agree: light"
            " trails into them, and the level is not sure."
        )


def _amplifier_edges(block, strips, axis, bias, findings):
    """Return where the amplifiers of strips of different levels begin and end, a list of columns.

    Parameters
    ----------
    block : (int, int)
        First line with light, and the one after the last.
    strips : list of ccdflow.camera.proposing.lit_columns.Strip
        One for each amplifier.
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
    bias : numpy.ndarray of shape (ny, nx), float32, or None
        A bias, whose level steps where one amplifier ends. Without it the block is divided evenly.
    findings : list of str
        Gets a sentence where the edges are not certain, or do not exist.

    Returns
    -------
    list of int or None
        None where the bias does not step as the strips do.
    """
    count = len(strips)
    edges = np.linspace(*block, count + 1).round().astype(int).tolist()
    if bias is None:
        findings.append(
            f"{count} strips of different levels: taken for {count} amplifiers that divide the "
            f"{axis.name} evenly; a bias as well would show where one ends."
        )
        return edges
    for number, (lower, upper) in enumerate(pairwise(strips), 1):
        step = upper.level - lower.level
        edges[number], step_of_bias = _find_step(column_means(bias), block, edges[number])
        if abs(step_of_bias - step) > _STEP_TOLERANCE * abs(step):
            findings.append(
                f"The strips at {lower.level:.0f} and {upper.level:.0f} adu are not of two"
                " amplifiers: the bias has no such step."
            )
            return None
    return edges


def _amplifiers_of_both_sides(block, axis, bias, findings):
    """Return two amplifiers that read out to opposite sides, each with its strip; or None.

    Parameters
    ----------
    block : (int, int)
        First line with light, and the one after the last.
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
    bias : numpy.ndarray of shape (ny, nx), float32, or None
        A bias.
    findings : list of str
        Gets the sentences on decisions made here.
    """
    sides = [
        [strip for strip in axis.strips if (strip.start >= block[1]) == is_after]
        for is_after in (False, True)
    ]
    if not all(sides):
        return None
    left_strip, right_strip = (max(side, key=lambda s: s.width) for side in sides)
    step = right_strip.level - left_strip.level
    if abs(step) < axis.read_noise:
        return None
    if bias is None:
        findings.append(
            f"The strips on either side of the data differ by {abs(step):.1f} adu: if each is of "
            "an amplifier of its own, a bias as well would show where one ends."
        )
        return None
    edge, step_of_bias = _find_step(column_means(bias), block, (block[0] + block[1]) // 2)
    if abs(step_of_bias - step) > _STEP_TOLERANCE * abs(step):
        return None
    return [("A1", (block[0], edge), [left_strip]), ("A2", (edge, block[1]), [right_strip])]


def _find_step(levels, block, expected_edge):
    """Return the column and the height of the largest step of a bias near an expected edge."""
    reach = max(_STEP_COLUMNS, (block[1] - block[0]) // 4)
    start = max(block[0] + _STEP_COLUMNS, expected_edge - reach)
    stop = min(block[1] - _STEP_COLUMNS, expected_edge + reach)
    steps = [
        np.median(levels[x : x + _STEP_COLUMNS]) - np.median(levels[x - _STEP_COLUMNS : x])
        for x in range(start, stop)
    ]
    steepest = int(np.argmax(np.abs(steps)))
    # The difference of medians is largest over several columns: the steepest of them is the edge.
    middle, half = start + steepest, _STEP_COLUMNS // 2
    candidates = range(max(start, middle - half), min(stop, middle + half))
    edge = max(candidates, key=lambda x: abs(levels[x] - levels[x - 1]))
    return edge, float(steps[steepest])
