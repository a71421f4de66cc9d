"""Dark ranges of an axis that are detector without light, not overscan."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.camera.binning import binning_of_hdu
from ccdflow.camera.sections import parse_fits
from ccdflow.errors import FrameError

# An overscan takes at most this fraction of the columns, and of the rows. Few cameras read more
# overscan rows.
_LARGEST_FRACTION = {"columns": 0.3, "rows": 0.1}

# Cards with the number of columns and of rows that the chip has.
_CHIP_LENGTH_CARDS = {
    "columns": ("DNAXIS1", "ESO DET CHIP1 NX"),
    "rows": ("DNAXIS2", "ESO DET CHIP1 NY"),
}


def drop_unlit_ranges(axes, headers, index, claimed_sections, findings):
    """Return the axes without dark ranges that must be detector without light, as beside a slit.

    Dark ranges count as unlit detector if they are wider than an overscan can be, or if the frame
    is not longer than the chip according to cards. Dark ranges that the header leaves out of its
    data section do not count.

    Parameters
    ----------
    axes : tuple of ccdflow.camera.proposing.lit_columns.AxisLevels
        Columns and rows.
    headers : list of astropy.io.fits.Header
        One for each HDU.
    index : int
        Number of the HDU, the primary is 0.
    claimed_sections : sequence of (str, ccdflow.camera.sections.Region)
        The header's own sections, by keyword.
    findings : list of str
        Gets a sentence on each range that is taken out.

    Returns
    -------
    tuple of ccdflow.camera.proposing.lit_columns.AxisLevels
    """
    checked_axes = []
    for axis, factor in zip(axes, binning_of_hdu(headers, index)[::-1], strict=True):
        reason = ""
        if axis.strips and not _are_left_out(axis, claimed_sections):
            reason = _reason_for_unlit(axis, factor, _chip_length(headers, index, axis.name))
        if reason:
            findings.append(
                f"{_ranges_in_words(axis)} hold the level alone, but {reason}: unlit detector, as"
                " beside a slit, and no overscan. Should it be one all the same, write it"
                " under `overscan:`."
            )
            axis = replace(axis, strips=(), lit_ranges=((0, len(axis.levels)),))
        checked_axes.append(axis)
    return tuple(checked_axes)


def _reason_for_unlit(axis, factor, chip_length):
    """Return the reason why the strips of an axis belong to the chip; '' if they may be overscan.

    Parameters
    ----------
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
        With strips.
    factor : int
        Binning along the axis.
    chip_length : int or None
        Unbinned columns or rows of the chip, if a card has them.
    """
    length = len(axis.levels)
    n_dark_columns = length - sum(stop - start for start, stop in axis.lit_ranges)
    if chip_length and length * factor <= chip_length:
        return f"the chip has {chip_length} {axis.name}, and the frame {length * factor} of them"
    if n_dark_columns > _LARGEST_FRACTION[axis.name] * length:
        return f"{n_dark_columns} of {length} {axis.name} are more than an overscan has"
    return ""


def _are_left_out(axis, claimed_sections):
    """Return whether the header's data section shares no column with any strip."""
    section = dict(claimed_sections).get("TRIMSEC") or dict(claimed_sections).get("DATASEC")
    if section is None:
        return False
    start, stop = axis.ends_of(section)
    return all(strip.stop <= start or strip.start >= stop for strip in axis.strips)


def _ranges_in_words(axis):
    """Return the unlit strips of an axis in words: ``Columns 1 to 8 and 1033 to 1040``."""
    parts = [f"{strip.start + 1} to {strip.stop}" for strip in axis.strips]
    return f"{axis.name.capitalize()} {' and '.join(parts)}"


def _chip_length(headers, index, name):
    """Return the unbinned columns or rows of the chip, None where no card has them."""
    for header in (headers[index], headers[0]):
        for keyword in ("DETSIZE", "CCDSIZE"):
            text = header.get(keyword)
            if isinstance(text, str) and len(headers) <= 2:
                # In a mosaic the card has the size of all its chips.
                try:
                    shape = parse_fits(text, keyword=keyword).region.shape
                except FrameError:
                    continue
                return shape[name == "columns"]
        for keyword in _CHIP_LENGTH_CARDS[name]:
            if isinstance(header.get(keyword), int) and header[keyword] > 0:
                return header[keyword]
    return None
