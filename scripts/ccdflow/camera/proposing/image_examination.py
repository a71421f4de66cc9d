"""One image examined for a profile: its strips without light, its amplifiers, the findings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.camera.proposing.findings import sentences_on_image
from ccdflow.camera.proposing.lit_blocks import amplifiers_with_header_section, find_amplifiers
from ccdflow.camera.proposing.lit_columns import (
    LEAST_ERROR,
    LEAST_NOISE,
    MOST_NOISE_RATIO,
    AxisLevels,
    agreeing_ranges,
    column_noises,
    fill_with_medians,
    measure_axis,
    quietest_noise,
    remaining_ranges,
    strip_of,
    subtract_drift,
    tolerance_of_means,
    widest_of,
)
from ccdflow.camera.proposing.unlit_ranges import drop_unlit_ranges
from ccdflow.camera.sections import Region, parse_fits
from ccdflow.errors import FrameError

BRIGHT_FRAME_NOTE = (
    "This frame is bright, {level:.0f} adu with the noise of light, and that ends nowhere "
    "abruptly: no overscan shows in it. The values below are the header's."
)
"""The note on a bright frame without dark columns."""

# A frame holds light if its level, adu, is above this and its noise above `_NOISE_OF_LIGHT`: no
# bias has both.
_BRIGHT_LEVEL = 3000.0
# The least noise of a frame that holds light, adu, see `_BRIGHT_LEVEL`.
_NOISE_OF_LIGHT = 15.0
# A frame whose median noise is above this many read noises is lit. Read noise alone varies by less
# from column to column, and the photon noise of a hundred electrons doubles the noise.
_LIT_NOISE_RATIO = 1.5

BLANK_IMAGE_NOTE = (
    "All or most of this image is at one value: it is saturated, or dead. Nothing can be seen in "
    "it; what follows is the header's."
)
"""The note on an image of one value."""

TOO_FAINT_NOTE = (
    "There is no light in this frame, or too little next to any dark columns or rows, to tell "
    "where the overscan is: better give a flat as well. The values below are the header's."
)
"""The note on a frame without enough light."""


@dataclass(frozen=True)
class ImageFindings:
    """Findings in the image of one HDU.

    Attributes
    ----------
    hdu : int
    shape : (int, int)
        (ny, nx).
    columns, rows : AxisLevels
    amplifiers : tuple of (str, Region, tuple of Region)
        Name, data and overscan of each.
    claimed_sections : tuple of (str, Region)
        The header's sections that lie in the frame, by card.
    findings : tuple of str
        Sentences for the user.
    has_light : bool
        Whether the frame shows light.
    """

    hdu: int
    shape: tuple[int, int]
    columns: AxisLevels
    rows: AxisLevels
    amplifiers: tuple[tuple[str, Region, tuple[Region, ...]], ...]
    claimed_sections: tuple[tuple[str, Region], ...]
    findings: tuple[str, ...]
    has_light: bool


def examine_image(headers, index, flat, *, bias=None, frame_type="", header_amplifiers=()):
    """Examine the pixels of one image.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    index : int
        The HDU.
    flat : numpy.ndarray of shape (ny, nx), any integer or float type
        Adu: the frame with the most light.
    bias : numpy.ndarray of shape (ny, nx), any integer or float type, optional
        Adu: a bias of the same camera.
    frame_type : str, optional
        The type of `flat`, '' if unknown.
    header_amplifiers : tuple of ccdflow.camera.geometry.Amplifier, optional
        The geometry by the header alone for this HDU.

    Returns
    -------
    ImageFindings
    """
    flat = fill_with_medians(flat)
    bias = None if bias is None else fill_with_medians(bias)
    claimed_sections = _claimed_sections(headers, index, flat.shape)
    read_noise = None if bias is None else max(float(np.median(column_noises(bias))), LEAST_NOISE)
    columns = measure_axis(flat, "columns", read_noise=read_noise)
    if not np.median(columns.noises):
        return _findings_on_blank(index, flat, columns, claimed_sections, header_amplifiers)
    columns, rows = _measure_both_axes(flat, columns, read_noise)
    findings = []
    has_light = _has_light(columns, rows, frame_type)
    if has_light:
        columns, rows = drop_unlit_ranges(
            (columns, rows), headers, index, claimed_sections, findings
        )
    strip = _header_strip(header_amplifiers, claimed_sections)
    has_light = has_light and not _is_missed(strip, columns, rows, flat.shape)
    if has_light:
        amplifiers = _amplifiers_by_light(
            flat, (columns, rows), bias, header_amplifiers, claimed_sections, findings
        )
    else:
        findings.append(_note_without_light(columns, frame_type))
        columns, rows = _axes_with_header_strip(flat, columns, rows, strip)
        amplifiers = _amplifiers_of_header(
            header_amplifiers, find_amplifiers(columns, rows, bias, findings)
        )
    findings += sentences_on_image(columns, rows, amplifiers, claimed_sections, has_light=has_light)
    return ImageFindings(
        hdu=index,
        shape=flat.shape,
        columns=columns,
        rows=rows,
        amplifiers=amplifiers,
        claimed_sections=claimed_sections,
        findings=tuple(findings),
        has_light=has_light,
    )


def _amplifiers_by_light(flat, axes, bias, header_amplifiers, claimed_sections, findings):
    """Return the amplifiers of a frame that shows light, by where the light ends.

    Parameters
    ----------
    flat : numpy.ndarray of shape (ny, nx), float32
        Adu.
    axes : (AxisLevels, AxisLevels)
        Columns and rows.
    bias : numpy.ndarray of shape (ny, nx), float32, or None
        Adu.
    header_amplifiers : tuple of ccdflow.camera.geometry.Amplifier
        The geometry by the header alone.
    claimed_sections : tuple of (str, Region)
        The sections of the header, by keyword.
    findings : list of str
        Sentences are added.

    Returns
    -------
    tuple of (str, Region, tuple of Region)
    """
    columns, rows = axes
    amplifiers = amplifiers_with_header_section(
        find_amplifiers(columns, rows, bias, findings), claimed_sections
    )
    if len(header_amplifiers) <= len(amplifiers):
        return amplifiers
    if not _are_dark(flat, header_amplifiers, columns.read_noise):
        return amplifiers
    findings.append(
        f"The header's {len(header_amplifiers)} amplifiers are used: their strips are"
        " dark, but light does not show where one of them ends."
    )
    return _amplifiers_of_header(header_amplifiers, amplifiers)


def _note_without_light(columns, frame_type):
    """Return the note on a frame that shows no overscan: it is bright all over, or too faint."""
    if _is_bright(columns, frame_type):
        return BRIGHT_FRAME_NOTE.format(level=float(np.median(columns.levels)))
    return TOO_FAINT_NOTE


def _measure_both_axes(flat, columns, read_noise):
    """Return the `AxisLevels` of columns and rows; ``columns`` are those measured over all rows.

    ``read_noise`` is that of a bias, adu, or None.
    """
    lit_range = widest_of(columns.lit_ranges)
    drift_free, error = flat, 0.0
    if columns.strips:
        strip = widest_of([(strip.start, strip.stop) for strip in columns.strips])
        drift_free, error = subtract_drift(flat, strip, columns.read_noise)
    transposed = drift_free[:, lit_range[0] : lit_range[1]].T
    least_noise = min(columns.read_noise, quietest_noise(column_noises(transposed)))
    rows = measure_axis(transposed, "rows", read_noise=read_noise or least_noise, level_error=error)
    lit_range = widest_of(rows.lit_ranges)
    if rows.strips:
        # The columns are measured again without the rows that no light reaches, because these rows
        # lower the measured light.
        columns = measure_axis(
            flat[lit_range[0] : lit_range[1]], "columns", read_noise=read_noise or least_noise
        )
    if read_noise is None and not columns.strips and not rows.strips:
        # Without dark columns it is not known whether light fades.
        columns, rows = (
            replace(columns, has_fading_light=False),
            replace(rows, has_fading_light=False),
        )
    return columns, rows


def _findings_on_blank(index, flat, columns, claimed_sections, header_amplifiers):
    """Return the finding on an image that is saturated or dead throughout.

    Parameters
    ----------
    index : int
        The HDU.
    flat : numpy.ndarray of shape (ny, nx), float32
        Adu.
    columns : AxisLevels
    claimed_sections : tuple of (str, Region)
        The sections of the header, by keyword.
    header_amplifiers : tuple of ccdflow.camera.geometry.Amplifier
        The geometry by the header alone.
    """
    rows = measure_axis(flat.T, "rows")
    columns, rows = (replace(axis, strips=(), has_fading_light=False) for axis in (columns, rows))
    all_pixels = Region(0, flat.shape[0], 0, flat.shape[1])
    amplifiers = _amplifiers_of_header(header_amplifiers, (("A", all_pixels, ()),))
    if len(header_amplifiers) == 1:
        amplifiers = (("A", header_amplifiers[0].data, header_amplifiers[0].overscan),)
    return ImageFindings(
        index,
        flat.shape,
        columns,
        rows,
        amplifiers,
        claimed_sections,
        (BLANK_IMAGE_NOTE,),
        has_light=False,
    )


def _are_dark(flat, header_amplifiers, read_noise):
    """Return whether all amplifiers of the header have strips, and no strip has light."""
    strips = [strip for amplifier in header_amplifiers for strip in amplifier.overscan]
    noises = [np.median(column_noises(flat[strip.slices])) for strip in strips if strip.size > 1]
    return all(a.overscan for a in header_amplifiers) and all(
        n <= MOST_NOISE_RATIO * read_noise for n in noises
    )


def _has_light(columns, rows, frame_type):
    """Return whether a frame shows light: by strips next to lit pixels, its type, or its noise."""
    if frame_type in ("bias", "dark"):
        return False
    if columns.strips or rows.strips or frame_type == "flat":
        return True
    return np.median(columns.noises) > _LIT_NOISE_RATIO * columns.read_noise or _is_bright(
        columns, frame_type
    )


def _is_bright(columns, frame_type):
    """Return whether level and noise of an image are so high that it must hold light."""
    level, noise = np.median(columns.levels), np.median(columns.noises)
    return frame_type not in ("bias", "dark") and level > _BRIGHT_LEVEL and noise > _NOISE_OF_LIGHT


def _header_strip(header_amplifiers, claimed_sections):
    """Return the one strip that the header names, by its geometry or by BIASSEC; or None."""
    if len(header_amplifiers) == 1 and header_amplifiers[0].overscan:
        return header_amplifiers[0].overscan[0]
    return None if header_amplifiers else dict(claimed_sections).get("BIASSEC")


def _is_missed(strip, columns, rows, shape):
    """Return whether the header's strip is dark, but light was too faint to show where it ends.

    Parameters
    ----------
    strip : ccdflow.camera.sections.Region or None
        The header's.
    columns, rows : AxisLevels
    shape : (int, int)
        (ny, nx) of the image.
    """
    if strip is None:
        return False
    axis = columns if _is_upright(strip, shape) else rows
    start, stop = axis.ends_of(strip)
    if any(dark_strip.start < stop and start < dark_strip.stop for dark_strip in axis.strips):
        return False
    return float(np.median(axis.noises[start:stop])) <= MOST_NOISE_RATIO * axis.read_noise


def _axes_with_header_strip(flat, columns, rows, strip):
    """Return the axes with the header's strip, without the lines of the strip that differ.

    Parameters
    ----------
    flat : numpy.ndarray of shape (ny, nx), float32
    columns, rows : AxisLevels
    strip : ccdflow.camera.sections.Region or None
        The header's.
    """
    columns, rows = replace(columns, strips=()), replace(rows, strips=())
    if strip is None:
        return columns, rows
    if _is_upright(strip, flat.shape):
        return _axis_within_claim(columns, strip.x0, strip.x1, flat.shape[0]), rows
    return columns, _axis_within_claim(rows, strip.y0, strip.y1, flat.shape[1])


def _amplifiers_of_header(header_amplifiers, amplifiers):
    """Return the amplifiers of the header; a single one gets the strips that the pixels show."""
    if len(header_amplifiers) > 1:
        return tuple((a.name, a.data, a.overscan) for a in header_amplifiers)
    if len(header_amplifiers) == 1 and len(amplifiers) == 1:
        ((name, _, strips),) = amplifiers
        return ((name, header_amplifiers[0].data, strips),)
    return amplifiers


def _is_upright(region, shape):
    """Return whether a region is a strip of columns rather than of rows."""
    return region.shape[0] / shape[0] >= region.shape[1] / shape[1]


def _axis_within_claim(axis, start, stop, count):
    """Return an axis with the strips that agree within the range that the header claims.

    Parameters
    ----------
    axis : AxisLevels
    start, stop : int
        The range.
    count : int
        Pixels of each line along the other axis.
    """
    error = max(axis.read_noise / np.sqrt(count), LEAST_ERROR)
    groups = agreeing_ranges(axis.levels, start, stop, tolerance_of_means(axis.read_noise, error))
    strips = tuple(strip_of(axis.levels, group, (start, stop), groups) for group in groups)
    lit_ranges = tuple(remaining_ranges([(start, stop)], len(axis.levels)))
    return replace(axis, strips=strips, lit_ranges=lit_ranges) if strips and lit_ranges else axis


def _claimed_sections(headers, index, shape):
    """Return the header's sections that lie in the frame, by card."""
    regions = []
    for keyword in ("BIASSEC", "TRIMSEC", "DATASEC"):
        text = headers[index].get(keyword)
        if isinstance(text, str) and text.strip():
            try:
                region = parse_fits(text, shape=shape, keyword=keyword).region
            except FrameError:
                continue
            if region.is_within(shape):
                regions.append((keyword, region))
    return tuple(regions)
