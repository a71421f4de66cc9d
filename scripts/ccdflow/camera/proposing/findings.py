"""The findings of a proposal, in sentences."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from ccdflow.camera.proposing.lit_blocks import fewest_block_columns
from ccdflow.camera.reduction_recipe import WIDE_STRIP_COLUMNS
from ccdflow.robust import MEDIAN_VARIANCE


def sentences_on_image(columns, rows, amplifiers, claimed_sections, *, has_light):
    """Return the findings on one image, a sentence each.

    Parameters
    ----------
    columns, rows : ccdflow.camera.proposing.lit_columns.AxisLevels
        The image along each axis: its lit ranges and its strips of overscan.
    amplifiers : sequence of tuple
        Name, science pixels and overscan strips: (str, `Region`, tuple of `Region`).
    claimed_sections : sequence of (str, ccdflow.camera.sections.Region)
        The header's own sections, by keyword.
    has_light : bool
        Whether the frame was exposed to light; a bias shows no edges.

    Returns
    -------
    list of str
    """
    texts = []
    used_strips = [strip for *_, strips in amplifiers for strip in strips]
    for axis in (columns, rows):
        texts += _findings_on_axis(axis, used_strips, has_light=has_light)
    if not used_strips and has_light:
        texts.append(
            "No columns or rows were found at which light ends abruptly: there is no overscan, or "
            "it is of no use. (A well lit flat, and a bias beside it, show it best.)"
        )
    texts += _findings_on_narrow_strips(used_strips)
    texts += _findings_on_claims(amplifiers, claimed_sections, has_light=has_light)
    return texts


def _findings_on_axis(axis, used_strips, *, has_light):
    """Return the findings on the strips and the lit ranges of an axis."""
    texts = []
    for strip in axis.strips:
        used_parts = [region for region in used_strips if _is_part_of_strip(axis, region, strip)]
        texts.append(_finding_on_strip(axis, strip, used_parts))
        texts += _findings_on_left_out_columns(axis, strip)
    if axis.has_fading_light and has_light:
        texts.append(f"At an edge the light fades over {axis.name}: unlit detector, no overscan.")
    if axis.strips and has_light:
        texts += [
            f"{_columns_in_words(axis, start, stop)} not clean; not kept."
            for start, stop in axis.lit_ranges
            if stop - start < fewest_block_columns(axis)
        ]
    return texts


def _findings_on_narrow_strips(used_strips):
    """Return [the finding] on the narrowest strip, if its level is smoothed; else []."""
    count = min((min(strip.shape) for strip in used_strips), default=WIDE_STRIP_COLUMNS)
    if count >= WIDE_STRIP_COLUMNS:
        return []
    return [
        f"A strip of {count} is too narrow for a level of its own for each row or column: the "
        f"level along it is smoothed (`reduction: {{model: null}}` would not do so, and add "
        f"{100 * np.sqrt(MEDIAN_VARIANCE / count):.0f} % of a pixel's noise to each row)."
    ]


def _is_part_of_strip(axis, region, strip):
    """Return whether a region lies within a strip along an axis."""
    start, stop = axis.ends_of(region)
    return strip.start <= start and stop <= strip.stop


def _columns_in_words(axis, start, stop):
    """Return 'Columns 3 to 5 are', or 'Column 3 is'."""
    if stop - start == 1:
        return f"{axis.name[:-1].capitalize()} {stop} is"
    return f"{axis.name.capitalize()} {start + 1} to {stop} are"


def _finding_on_strip(axis, strip, used_parts):
    """Return the finding on a strip: level, noise, and the parts that overscans use."""
    text = (
        f"{axis.name.capitalize()} {strip.start + 1} to {strip.stop} hold the level alone: "
        f"{strip.level:.1f} adu, noise {np.median(axis.noises[strip.start : strip.stop]):.1f} adu"
    )
    if not used_parts:
        return text + "; not used, and not kept."
    ranges = {axis.ends_of(region) for region in used_parts}
    if ranges == {(strip.start, strip.stop)}:
        return text + ": used as overscan."
    ranges_in_words = " and ".join(f"{start + 1} to {stop}" for start, stop in sorted(ranges))
    return text + f": {ranges_in_words} used as overscan."


def _findings_on_left_out_columns(axis, strip):
    """Return the findings on columns of a strip that do not hold its level."""
    texts = []
    for start, stop in _runs_of([x for x, _ in strip.left_out]):
        values = [value for x, value in strip.left_out if start <= x < stop]
        extreme = max(values, key=abs)
        is_near_data = any(
            start == lit_stop or stop == lit_start for lit_start, lit_stop in axis.lit_ranges
        )
        cause = ": light leaks in" if is_near_data and extreme > 0 else ""
        side = "above" if extreme > 0 else "below"
        if stop - start > 1:
            text = f"{axis.name.capitalize()} {start + 1} to {stop} are up to"
        else:
            text = f"{axis.name[:-1].capitalize()} {start + 1} is"
        texts.append(f"{text} {abs(extreme):.1f} adu {side} it{cause}; left out.")
    return texts


def _runs_of(numbers):
    """Return the ranges [(start, stop)] of consecutive numbers."""
    runs = []
    for x in sorted(numbers):
        if runs and runs[-1][1] == x:
            runs[-1] = (runs[-1][0], x + 1)
        else:
            runs.append((x, x + 1))
    return runs


def _findings_on_claims(amplifiers, claimed_sections, *, has_light):
    """Return the findings on the header's sections: whether the pixels agree with them."""
    texts = []
    claims = dict(claimed_sections)
    strips = [strip for *_, overscan in amplifiers for strip in overscan]
    data = [region for _, region, _ in amplifiers]
    bias = claims.get("BIASSEC")
    if bias is not None and strips:
        problems = _problems_of_bias_section(bias, strips, data)
        text = f"The header's BIASSEC {bias.to_fits()} "
        texts.append(text + ("is wrong: " + "; ".join(problems) + "." if problems else "agrees."))
    keyword = "TRIMSEC" if "TRIMSEC" in claims else "DATASEC"
    if keyword in claims and len(data) == 1 and has_light:
        section, lit_pixels = claims[keyword], data[0]
        verdict = "agrees."
        if section != lit_pixels:
            verdict = f"is not where the light is, {lit_pixels.to_fits()}."
        texts.append(f"The header's {keyword} {section.to_fits()} {verdict}")
    return texts


def _problems_of_bias_section(bias, strips, data):
    """Return the problems of a BIASSEC, in words.

    Parameters
    ----------
    bias : ccdflow.camera.sections.Region
        BIASSEC of the header.
    strips, data : list of ccdflow.camera.sections.Region
        Overscan and data as the pixels show them.
    """
    overlapping_strips = [strip for strip in strips if strip.overlaps(bias)]
    if not overlapping_strips:
        return ["it shares no pixel with the overscan that is seen"]
    first_data, along, across = data[0], "rows", "columns"
    if overlapping_strips[0].shares_columns(first_data):
        # Strips above or below the data are compared as if they lay beside them.
        along, across = across, along
        bias, first_data = bias.transpose(), first_data.transpose()
        strips = [strip.transpose() for strip in strips]
    problems = []
    length = first_data.y1 - first_data.y0
    shared = min(bias.y1, first_data.y1) - max(bias.y0, first_data.y0)
    missing_lines = length - max(0, shared)
    if missing_lines:
        problems.append(f"it is {missing_lines} of {length} {along} too short")
    first_of_strips, end_of_strips = min(s.x0 for s in strips), max(s.x1 for s in strips)
    for start, stop in (
        (bias.x0, min(first_of_strips, bias.x1)),
        (max(end_of_strips, bias.x0), bias.x1),
    ):
        if stop - start > 1:
            problems.append(f"{across} {start + 1} to {stop} of it do not hold the level alone")
        elif stop > start:
            problems.append(f"{across[:-1]} {stop} of it do not hold the level alone")
    return problems


# Matches a number: -12, 3.5.
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def merged_findings(images):
    """Return the findings of all HDUs; those that differ only in their numbers become one."""
    if len(images) == 1:
        return list(images[0].findings)
    findings_by_text = defaultdict(list)
    for image in images:
        for finding in image.findings:
            findings_by_text[_NUMBER.sub("#", finding)].append((image.hdu, finding))
    merged = []
    for findings_of_text in findings_by_text.values():
        hdus = list(dict.fromkeys(hdu for hdu, _ in findings_of_text))
        texts = [finding for hdu, finding in findings_of_text if hdu == hdus[0]]
        place = f"HDU {', '.join(_ranges_of_numbers(hdus))}"
        are_same = len({finding for _, finding in findings_of_text}) <= len(texts)
        merged += [f"{place}: {text}" for text in texts[:-1]]
        merged.append(
            f"{place}: {texts[-1]}"
            + ("" if are_same else f" (The numbers are those of HDU {hdus[0]}.)")
        )
    return merged


def _ranges_of_numbers(numbers):
    """Return whole numbers as '1 to 4', '7'."""
    return [
        f"{first + 1} to {stop}" if stop - first > 1 else str(stop)
        for first, stop in _runs_of([number - 1 for number in numbers])
    ]
