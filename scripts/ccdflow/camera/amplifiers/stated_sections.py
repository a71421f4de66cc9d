"""Agreement of a profile's overscan with the sections that a frame's own header states.

A profile counts its strips from an edge of the frame. In a frame that was read without overscan, or
trimmed, the same columns hold data. If the header has sections, they decide. A profile with `size`
is made for this size, and decides along the axes whose length it gives. A card that may be about
other frames only raises a warning: a section of the chip, or a section that leaves the frame,
because some cameras write the same section for every window.
"""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

from ccdflow.camera.binning import binning_of_hdu
from ccdflow.camera.geometry import LIT_STRIP_BY_CARD, Note
from ccdflow.camera.image_hdus import array_shape
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError
from ccdflow.files.cards import card_value

# A strip with more than this fraction of its columns among the data of the header contradicts the
# header: of the 25 columns of the LFC, 2 may be data, which hardly move a median.
_MOST_SHARED_FRACTION = 0.1

# Cards with the section of the chip that the science pixels are of, in order of preference.
_CHIP_SECTIONS = ("CCDSEC", "DETSEC")


class _Axis(IntEnum):
    """The axis across a strip: 0 for x (NAXIS1), 1 for y (NAXIS2)."""

    X = 0
    Y = 1

    @property
    def lines(self):
        """The lines of pixels that are counted along it: columns along x."""
        return ("columns", "rows")[self]

    @property
    def card(self):
        """The keyword of the axis's length."""
        return f"NAXIS{self + 1}"


class _CardOnStrip(NamedTuple):
    """A card that shows that a strip holds data.

    Attributes
    ----------
    keyword, text : str
        The card.
    is_sure : bool
        Whether the card is certainly about this frame.
    """

    keyword: str
    text: str
    is_sure: bool = True


class _CheckedStrip(NamedTuple):
    """A strip of overscan and the axis across it.

    Attributes
    ----------
    region : ccdflow.camera.sections.Region
    axis : _Axis
        X for a strip left or right of the data, Y for one below or above.
    length : int
        Columns (along x) or rows (along y) of the frame.
    factor : int
        Binning along the axis.
    shape : (int, int)
        Shape of the frame: (ny, nx).
    profile_size : (int or None, int or None)
        NAXIS1, NAXIS2 that the profile is made for; None for any.
    """

    region: Region
    axis: _Axis
    length: int
    factor: int
    shape: tuple[int, int]
    profile_size: tuple[int | None, int | None]


def check_strips(headers, drafts, size, *, binning_cards=(), file):
    """Refuse a frame whose header shows that its profile's overscan holds data; return warnings.

    If BIASSEC contains the strip, or TRIMSEC has none of its columns, the header contradicts
    itself, and the profile decides.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    drafts : list of ccdflow.camera.geometry.Draft
        All drafts of the frame. Strips that a card gives (`may_be_lengthened`) are those of the
        header, and are not checked.
    size : (int or None, int or None)
        NAXIS1, NAXIS2 that the profile is made for. An axis with a number is not checked.
    binning_cards : tuple of ccdflow.files.cards.CardSpec, optional
        As `specs` of `ccdflow.camera.binning.binning_of_hdu`.
    file : str
        Path of the raw file relative to the raw folder; named in errors.

    Returns
    -------
    list of ccdflow.camera.geometry.Note
        The warnings. One for a DATASEC that leaves the frame and has more than
        `_MOST_SHARED_FRACTION` of a strip, one for a BIASSEC far outside the frame. Without both
        cards, one for a CCDSEC or DETSEC with as many columns (or rows) as the frame.

    Raises
    ------
    FrameError
        If DATASEC, within the frame, has more than `_MOST_SHARED_FRACTION` of a strip's columns (or
        rows), or, without DATASEC, if BIASSEC begins where the frame ends.
    """
    warnings = []
    for draft in drafts:
        shape = array_shape(headers[draft.hdu], file=file)
        factors = binning_of_hdu(headers, draft.hdu, specs=binning_cards)
        is_alone = sum(other.hdu == draft.hdu for other in drafts) == 1
        for region in () if draft.may_be_lengthened else draft.overscan:
            axis = _axis_of_strip(draft.data, region)
            if axis is None or size[axis] is not None:
                continue
            strip = _CheckedStrip(region, axis, shape[1 - axis], factors[1 - axis], shape, size)
            claim = _claim_of_data(headers[draft.hdu], strip, is_alone=is_alone)
            if claim is not None and claim.is_sure:
                raise _contradiction_error(draft, strip, claim, file=file)
            if claim is not None:
                warnings.append(_warning_of_strip(draft, strip, claim))
    return warnings


def _axis_of_strip(data, strip):
    """Return X for a strip left or right of the data, Y above or below, None for neither alone."""
    is_beside_along = {
        _Axis.X: not strip.shares_columns(data),
        _Axis.Y: not strip.shares_rows(data),
    }
    axes = [axis for axis, is_beside in is_beside_along.items() if is_beside]
    return axes[0] if len(axes) == 1 else None


def _claim_of_data(header, strip, *, is_alone):
    """Return the card that shows that a strip holds data; None without one.

    Parameters
    ----------
    header : astropy.io.fits.Header
    strip : _CheckedStrip
    is_alone : bool
        Whether the HDU has no other amplifier.

    Returns
    -------
    _CardOnStrip or None
    """
    if _confirms_overscan(header, strip):
        return None
    length, factor = strip.length, strip.factor
    text, data = _read_stated(header, "DATASEC", strip.axis, strip.shape)
    if data is not None:
        data_start, data_stop = data
        if length < data_stop <= length * factor:
            # Some cameras count unbinned pixels in DATASEC.
            data_start, data_stop = data_start // factor, data_stop // factor
        start, stop = _range_along_axis(strip.region, strip.axis)
        n_shared = min(stop, data_stop) - max(start, data_start)
        is_data = n_shared > _MOST_SHARED_FRACTION * (stop - start)
        return _CardOnStrip("DATASEC", text, data_stop <= length) if is_data else None
    text, bias = _read_stated(header, "BIASSEC", strip.axis, strip.shape)
    if bias is not None:
        bias_start, bias_stop = bias
        # A BIASSEC that begins less than its width beyond the frame was next to the data before the
        # frame was trimmed: a few columns may have been between the two.
        is_next = bias_start - length < bias_stop - bias_start
        return _CardOnStrip("BIASSEC", text, is_next) if bias_start >= length else None
    for keyword in _CHIP_SECTIONS if is_alone else ():
        text, chip = _read_stated(header, keyword, strip.axis, None)
        if chip is not None:
            is_as_long = (chip[1] - chip[0]) // factor == length
            return _CardOnStrip(keyword, text, is_sure=False) if is_as_long else None
    return None


def _confirms_overscan(header, strip):
    """Return whether BIASSEC or TRIMSEC, inside the frame, shows that a strip is an overscan.

    Parameters
    ----------
    header : astropy.io.fits.Header
    strip : _CheckedStrip
    """
    length = strip.length
    start, stop = _range_along_axis(strip.region, strip.axis)
    _, bias = _read_stated(header, "BIASSEC", strip.axis, strip.shape)
    if bias is not None and bias[0] <= start and stop <= bias[1] <= length:
        return True
    _, trim = _read_stated(header, "TRIMSEC", strip.axis, strip.shape)
    return trim is not None and trim[1] <= length and (trim[1] <= start or stop <= trim[0])


def _read_stated(header, keyword, axis, shape):
    """Return a section's text and its range, (start, stop); (None, None) without a section.

    A section that cannot be read counts as absent, because the profile replaces it.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header with the section.
    keyword : str
    axis : _Axis
        The axis along which the pixels are counted.
    shape : (int, int)
        (ny, nx) of the raw image.
    """
    text = card_value(header, keyword)
    if isinstance(text, str):
        with suppress(FrameError):
            return text, _range_along_axis(Region.from_fits(text, shape=shape), axis)
    return None, None


def _range_along_axis(region, axis):
    """Return the first column of a region and the one after its last; along y, the rows."""
    return (region.y0, region.y1) if axis is _Axis.Y else (region.x0, region.x1)


# Sentences on a section, by its card; all cards not listed have the sentence of CCDSEC.
_SENTENCES = {
    "DATASEC": "{text} are data",
    "BIASSEC": "the overscan is {text}, outside the frame",
    "CCDSEC": "all {length} {axis} are of the chip's {text}",
}


def _contradiction_error(draft, strip, claim, *, file):
    """Return the error on a strip that holds data according to a card.

    Parameters
    ----------
    draft : ccdflow.camera.geometry.Draft
    strip : _CheckedStrip
    claim : _CardOnStrip
    file : str
        Named in the error.

    Returns
    -------
    FrameError
    """
    return FrameError(
        "the overscan of the camera's profile holds data by this card:"
        f" {_claim_in_words(claim, strip)}, and amplifier"
        f" {draft.name} has its overscan at {strip.region.to_fits()}",
        file=file,
        keyword=claim.keyword,
        value=claim.text,
        allowed=_allowed_section(strip),
        remedy=_remedy_for_strip(strip),
    )


def _warning_of_strip(draft, strip, claim):
    """Return the `Note` on a strip that may hold data according to a card.

    Parameters
    ----------
    draft : ccdflow.camera.geometry.Draft
        Amplifier of the strip.
    strip : _CheckedStrip
        Strip that may hold data.
    claim : _CardOnStrip
        The card.

    Returns
    -------
    ccdflow.camera.geometry.Note
    """
    text = (
        f"{claim.keyword}: the overscan of the camera's profile may hold data by this card (found"
        f" {claim.text}, allowed: {_allowed_section(strip)}):"
        f" {_claim_in_words(claim, strip)}, and amplifier {draft.name}"
        f" has its overscan at {strip.region.to_fits()}:"
        f" {_remedy_for_strip(strip).replace('; ', ', ')}"
    )
    return Note(text, topic=claim.keyword, mark=LIT_STRIP_BY_CARD)


def _claim_in_words(claim, strip):
    """Return the sentence on the claim of a card about the image across a strip."""
    sentence = _SENTENCES.get(claim.keyword, _SENTENCES["CCDSEC"])
    return sentence.format(text=claim.text, length=strip.length, axis=strip.axis.lines)


def _allowed_section(strip):
    """Return the section that a card may have, in words."""
    return f"a section without the {strip.axis.lines} of the overscan"


def _remedy_for_strip(strip):
    """Return the remedy for a strip that holds data: a profile, or the size in one."""
    numbers = ["null" if number is None else str(number) for number in strip.profile_size]
    numbers[strip.axis] = str(strip.length)
    return (
        "if the frame was read without overscan, binned or trimmed, give it a profile of its own,"
        f" recognised by {strip.axis.card}: {strip.length} (`overscan: none`, if it has"
        f" none); if the card is wrong, write `size: [{', '.join(numbers)}]` into the profile, or"
        " into a copy of it if the camera has frames of other sizes"
    )
