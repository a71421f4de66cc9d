"""Sections and coordinates of a trimmed image: cards of the raw frame, converted.

The columns and rows of an amplifier move to the product by x' = x + c, or x' = c - x if they are
reversed. Each card about pixels is converted, or removed if that is impossible.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product, starmap

from ccdflow.camera.amplifiers.scan_counts import (
    ESO_SCAN_KEYS,
    OVERSCAN_X,
    OVERSCAN_Y,
    PRESCAN_X,
    PRESCAN_Y,
)
from ccdflow.camera.sections import Region, parse_fits
from ccdflow.errors import FrameError
from ccdflow.files.cards import card_value
from ccdflow.files.values import as_number

# Sections of the chip or the detector that correspond to DATASEC, by NOAO's conventions.
_DETECTOR_CARDS = ("CCDSEC", "DETSEC", "AMPSEC")
# Matches cards about the raw array; RTDATSEC is WHT's, COVER and ROVER are Lick's.
_RAW_PIXEL_CARD = re.compile(
    r"((BIAS|TRIM|DATA|CCD|DET|AMP|PRE|POST)SEC_?[A-Z0-9]{0,2}|[ABCDT]SEC_?(\d{1,2}|[A-Z]\d?)|RTDATSEC"
    r"|[CR]OVER|ESO DET OUT\d+ (" + "|".join(ESO_SCAN_KEYS) + r")|"
    + "|".join(PRESCAN_X + OVERSCAN_X + PRESCAN_Y + OVERSCAN_Y) + ")"
)  # fmt: skip
# Matches the keyword of a card on a prescan or an overscan in any dialect, and of Subaru's first
# and last pixels of an amplifier.
_SCAN_CARD = re.compile(
    r"[A-Z0-9_-]*(?:OVER?SC|OVRSC|OSCAN|OVSC|PRESC(?!AL)|PRSC|POSTSC|PSTSC|PREPIX|POSTPIX|NBIAS)[A-Z0-9_-]*"
    r"|[A-Z]_(?:EF|OS)M[NX]\d\d"
)
# Matches the text of a card whose value is a section: = '[1:2048,1:4096]'.
_SECTION_CARD = re.compile(
    r".{8,70}= *'? *\[ *\d+ *: *\d+ *, *\d+ *: *\d+ *\][ ']*(?:/.*)?", re.DOTALL
)
# Matches cards whose section holds for the product as well: the size of the chip, and the window
# that was read of it.
_CHIP_SECTION = re.compile(r".*(?:SIZ|WIN|ROI|AOI|SUB|PANE|READ|RECT|CROP).*|CCDREGN|REGION")
# Matches a card of physical coordinates: LTV1, LTM1_2.
_PHYSICAL_CARD = re.compile(r"LT(V[12]|M[12]_[12])")
# Matches a card of world coordinates or of a distortion: CRVAL1A, PV1_2, WCSAXES, D2IMARR.
_WORLD_CARD = re.compile(
    r"(CRPIX|CRVAL|CDELT|CTYPE|CUNIT|CROTA|CRDER|CSYER)\d[A-Z]?|(PC|CD|PV|PS)\d_\d+[A-Z]?"
    r"|(WCSAXES|WCSNAME|LONPOLE|LATPOLE)[A-Z]?|WCSDIM|WAT\d_\d+"
    r"|[AB]P?_(ORDER|DMAX|\d+_\d+)|CPDIS\d|DP\d|CPERR\d|D2IM.*"
)
# Matches a card of a distortion: A_ORDER, BP_1_2, CPDIS1, D2IMARR.
_DISTORTION_CARD = re.compile(r"[AB]P?_(ORDER|\d+_\d+)|CPDIS\d|DP\d|D2IM.*")
# Matches a card of world coordinates in or per pixels: CRPIX1, CDELT2A, CD1_2.
_PIXEL_FIGURE_CARD = re.compile(r"(CRPIX|CDELT)\d[A-Z]?|(PC|CD)\d_\d+[A-Z]?")
# Matches a card of world coordinates, with the letter of its version: CRVAL1A is of version A,
# CRPIX2 of the unnamed one.
_VERSIONED_CARD = re.compile(r"(CRPIX|CRVAL|CDELT|CTYPE|CD\d_|PC\d_)[12](?P<version>[A-Z]?)")
# The reference pixels of two solutions may differ by at most this many pixels. With a larger
# tolerance amplifiers that are placed differently have one solution; with a smaller one headers
# that round their reference pixels have none. Chosen, not measured.
_PIXEL_TOLERANCE = 0.1
# Other numbers of two solutions may differ by at most this fraction. With a larger one unlike
# solutions agree: 1e-6 of a right ascension of 180 degrees is 0.6 arcsec; with a smaller one
# numbers of few digits disagree. Chosen, not measured.
_RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class AxisShift:
    """The shift (and reversal) of an amplifier's raw columns or rows, in FITS pixels.

    Attributes
    ----------
    sign : int
        -1 if they are reversed.
    offset : int
        product = sign * raw + offset.
    """

    sign: int
    offset: int


def axis_shifts(amplifier):
    """Return the `AxisShift` in x and in y of a trimmed amplifier."""
    data, place = amplifier.data, amplifier.place
    return (
        _axis_shift(data.x0, data.x1, place.x0, amplifier.is_flipped_x),
        _axis_shift(data.y0, data.y1, place.y0, amplifier.is_flipped_y),
    )


def _axis_shift(raw_start, raw_stop, image_start, is_flipped):
    """Return the `AxisShift` of raw columns or rows.

    Parameters
    ----------
    raw_start, raw_stop : int
        First raw column or row, and the one after the last.
    image_start : int
        The column or row of the image at which they begin.
    is_flipped : bool
        Whether they are reversed.
    """
    return (
        AxisShift(-1, image_start + raw_stop + 1)
        if is_flipped
        else AxisShift(1, image_start - raw_start)
    )


def is_about_raw_pixels(keyword, text=""):
    """Return whether a card describes the raw array: a section, or a number of columns or rows.

    Parameters
    ----------
    keyword : str
    text : str, optional
        The whole card. One with a section as its value is about the raw array, whatever its name
        is, unless that is of the size of the chip or of a window.

    Returns
    -------
    bool
    """
    patterns = (_RAW_PIXEL_CARD, _PHYSICAL_CARD, _SCAN_CARD)
    if any(pattern.fullmatch(keyword) for pattern in patterns):
        return True
    # Nearly all cards have no bracket.
    is_section = "[" in text and _SECTION_CARD.fullmatch(text) is not None
    return is_section and not _CHIP_SECTION.fullmatch(keyword)


def correct_cards(cards, headers, amplifiers, shape):
    """Make the cards of a trimmed image true: sections, physical and world coordinates.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place; without cards for which `is_about_raw_pixels` is true.
    headers : list of astropy.io.fits.Header
        Headers of the raw file.
    amplifiers : tuple of ccdflow.camera.geometry.Amplifier
        Amplifiers of this image.
    shape : (int, int)
        (ny, nx) of the image.
    """
    image_region = Region(0, shape[0], 0, shape[1])
    cards.set("DATASEC", image_region.to_fits(), "science pixels in this image")
    for keyword in _DETECTOR_CARDS:
        section = detector_section(headers, amplifiers, shape, keyword)
        if section:
            cards.set(keyword, section, "where they lie on the chip or detector")
    _place_physical(cards, headers, amplifiers)
    _place_world(cards, headers, amplifiers)


# -- the detector ----------------------------------------------------------------------------------


def detector_section(headers, amplifiers, shape, keyword):
    """Return a product's CCDSEC, DETSEC or AMPSEC; '' if the cards do not determine it.

    The raw card refers to the pixels of DATASEC, of TRIMSEC or of the whole array, which may differ
    from the pixels of the product. The size of its section over that of these pixels is the
    binning.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        Headers of the raw file.
    amplifiers : tuple of ccdflow.camera.geometry.Amplifier
        Amplifiers of the image.
    shape : (int, int)
        (ny, nx) of the image.
    keyword : str

    Returns
    -------
    str
    """
    directions = {_detector_axes(headers, amplifier, keyword) for amplifier in amplifiers}
    if len(directions) != 1 or None in directions:
        return ""
    ends = []
    for (binning, sign, origin), length in zip(directions.pop(), (shape[1], shape[0]), strict=True):
        low, high = sorted((origin, origin + sign * binning * length))
        if low < 0:
            return ""
        ends.append(f"{low + 1}:{high}" if sign > 0 else f"{high}:{low + 1}")
    return "[{},{}]".format(*ends)


def _detector_axes(headers, amplifier, keyword):
    """Return (binning, direction, origin) of the detector along the product's x and y, or None."""
    header = _section_header(headers, amplifier.hdu, keyword)
    try:
        section = parse_fits(card_value(header, keyword))
        base = _referenced_region(headers, amplifier.hdu)
    except FrameError:
        return None
    chip, shifts = section.region, axis_shifts(amplifier)
    directions = (
        _detector_axis((chip.x0, chip.x1), section.is_flipped_x, (base.x0, base.x1), shifts[0]),
        _detector_axis((chip.y0, chip.y1), section.is_flipped_y, (base.y0, base.y1), shifts[1]),
    )
    return None if None in directions else directions


def _detector_axis(chip, is_reversed, base, shift):
    """Return binning, direction and origin on the detector of an axis of the product; or None.

    Parameters
    ----------
    chip : (int, int)
        The range on the chip.
    is_reversed : bool
        Whether the axis runs against that of the chip.
    base : (int, int)
        The range in the raw image.
    shift : AxisShift
        From the raw image to the reduced one.
    """
    binning, remainder = divmod(chip[1] - chip[0], base[1] - base[0])
    if remainder or not binning:
        return None
    # The raw edge at which the product begins, counted from 0, and its distance from the beginning
    # of the range on the chip.
    edge = -shift.offset if shift.sign > 0 else shift.offset - 1
    distance = binning * (edge - base[0])
    if is_reversed:
        return binning, -shift.sign, chip[1] - distance
    return binning, shift.sign, chip[0] + distance


def _section_header(headers, hdu, keyword):
    """Return the header with an image's section: its own, or the primary of a single image."""
    is_only_image = sum(as_number(header.get("NAXIS")) > 0 for header in headers) == 1
    return headers[0] if is_only_image and keyword not in headers[hdu] else headers[hdu]


def _referenced_region(headers, hdu):
    """Return the raw pixels that the sections of the detector refer to."""
    ny, nx = (int(headers[hdu][f"NAXIS{axis}"]) for axis in (2, 1))
    for keyword in ("DATASEC", "TRIMSEC"):
        text = card_value(_section_header(headers, hdu, keyword), keyword)
        if text is not None:
            return parse_fits(text, shape=(ny, nx)).region
    return Region(0, ny, 0, nx)


# -- physical coordinates --------------------------------------------------------------------------


def _place_physical(cards, headers, amplifiers):
    """Write LTV and LTM, so that IRAF's physical coordinates of each pixel are unchanged.

    Nothing is written where amplifiers are shifted differently.
    """
    pairs = {(a.hdu, axis_shifts(a)) for a in amplifiers}
    if len(pairs) > 1:
        return
    hdu, shifts = pairs.pop()
    for axis, shift in enumerate(shifts, start=1):
        start = _number_of_card(headers[hdu], f"LTV{axis}", 0.0)
        comment = "image = LTM x physical + LTV" if axis == 1 else ""
        cards.set(f"LTV{axis}", shift.sign * start + shift.offset, comment)
    for axis, shift in enumerate(shifts, start=1):
        for column in (1, 2):
            value = _number_of_card(headers[hdu], f"LTM{axis}_{column}", float(axis == column))
            if value or axis == column:
                cards.set(f"LTM{axis}_{column}", shift.sign * value)


def _number_of_card(header, keyword, default):
    """Return the number of a card, or the default if it has none."""
    value = as_number(card_value(header, keyword))
    return default if value is None else value


# -- world coordinates -----------------------------------------------------------------------------


def _place_world(cards, headers, amplifiers):
    """Convert the world coordinates if all amplifiers agree on them; otherwise remove them."""
    solutions = [_moved_world(headers, amplifier) for amplifier in amplifiers]
    if all(solution == {} for solution in solutions):
        return
    is_common = None not in solutions and all(
        _worlds_agree(solutions[0], other_solution) for other_solution in solutions[1:]
    )
    if not is_common:
        for keyword in [keyword for keyword, _ in cards if _WORLD_CARD.fullmatch(keyword)]:
            cards.drop(keyword)
        cards.add_history("ccdflow: world coordinates that do not hold for this image left out")
        return
    raw_header = _world_header(headers, amplifiers[0])
    keywords = {keyword for keyword, _ in cards}
    for keyword, value in solutions[0].items():
        if keyword not in keywords or value != card_value(raw_header, keyword):
            comment = raw_header.comments[keyword] if keyword in raw_header else ""
            cards.set(keyword, value, comment)


def _world_header(headers, amplifier):
    """Return the header with an amplifier's world coordinates: its HDU's, or the primary."""
    header = headers[amplifier.hdu]
    return header if any(map(_WORLD_CARD.fullmatch, header)) else headers[0]


def _moved_world(headers, amplifier):
    """Return an amplifier's world coordinates, moved to the product; None if impossible."""
    raw_header = _world_header(headers, amplifier)
    keywords = filter(_WORLD_CARD.fullmatch, dict.fromkeys(raw_header))
    cards = {keyword: card_value(raw_header, keyword) for keyword in keywords}
    world = {keyword: value for keyword, value in cards.items() if value is not None}
    shifts = axis_shifts(amplifier)
    if shifts == (AxisShift(1, 0), AxisShift(1, 0)):
        return world
    figures = {k: as_number(value) for k, value in world.items() if _PIXEL_FIGURE_CARD.fullmatch(k)}
    if None in figures.values():
        return None
    world |= figures
    matches = [match for match in map(_VERSIONED_CARD.fullmatch, world) if match]
    versions = sorted({match["version"] for match in matches})
    is_reversed = any(shift.sign < 0 for shift in shifts)
    if versions and is_reversed and any(starmap(_is_of_distortion, world.items())):
        return None
    for version, axis in product(versions, (1, 2)):
        _move_axis(world, axis, version, shifts[axis - 1])
    return world


def _move_axis(world, axis, version, shift):
    """Move the reference pixel of an axis in world coordinate cards, and reverse the axis.

    Parameters
    ----------
    world : dict of str to object
        Changed in place.
    axis : {1, 2}
    version : str
        The letter of the solution; '' for the first one.
    shift : AxisShift
    """
    if shift == AxisShift(1, 0):
        return
    # In FITS an absent CRPIX is 0, also for an axis without any card.
    pixel = f"CRPIX{axis}{version}"
    world[pixel] = shift.sign * world.get(pixel, 0.0) + shift.offset
    if shift.sign < 0:
        _reverse_axis(world, axis, version)


def _is_of_distortion(keyword, value):
    """Return whether a card is of a distortion, which cannot be reversed with its axis."""
    return bool(_DISTORTION_CARD.fullmatch(keyword)) or (
        keyword.startswith("WAT") and "cor" in str(value)
    )


def _reverse_axis(world, axis, version):
    """Change the sign of the step along a pixel axis: a column of the CD or PC matrix, or CDELT."""
    if any(re.fullmatch(rf"CD\d_\d{version}", keyword) for keyword in world):
        column = [k for k in world if re.fullmatch(rf"CD\d_{axis}{version}", k)]
    elif any(re.fullmatch(rf"PC\d_\d{version}", keyword) for keyword in world):
        world.setdefault(f"PC{axis}_{axis}{version}", 1.0)
        column = [k for k in world if re.fullmatch(rf"PC\d_{axis}{version}", k)]
    else:
        column = [f"CDELT{axis}{version}"]
        world.setdefault(*column, 1.0)
    for keyword in column:
        world[keyword] = -world[keyword]


def _worlds_agree(first, second):
    """Return whether two sets of world coordinates have the same cards with nearly equal values."""
    return set(first) == set(second) and all(
        _values_agree(keyword, value, second[keyword]) for keyword, value in first.items()
    )


def _values_agree(keyword, first, second):
    """Return whether two values of a card agree: equal texts, or numbers within a tolerance."""
    if isinstance(first, str) or isinstance(second, str):
        return first == second
    tolerance = _PIXEL_TOLERANCE if "CRPIX" in keyword else _RELATIVE_TOLERANCE * abs(first)
    return abs(first - second) <= tolerance
