"""The binning of an image by its cards, and the check of a detector section against it."""

from __future__ import annotations

import re

from ccdflow.errors import FrameError
from ccdflow.files.cards import as_integer, card_value, value_of_card

BINNING_PAIRS = (
    ("CCDBIN1", "CCDBIN2"),
    ("CCDXBIN", "CCDYBIN"),
    ("XBINNING", "YBINNING"),
    ("BINX", "BINY"),
    ("XBIN", "YBIN"),
    ("DETXBIN", "DETYBIN"),
    ("BIN-FCT1", "BIN-FCT2"),
    ("CDELT1U", "CDELT2U"),
    ("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"),
    # This pair and the next ones count only in headers that have none of the pairs above.
    ("HBIN", "VBIN"),
    ("CCDBINX", "CCDBINY"),
    ("DET-BIN1", "DET-BIN2"),
    ("XFACTOR", "YFACTOR"),
    ("BINNINGX", "BINNINGY"),
    ("BINFACTX", "BINFACTY"),
    ("BIN1", "BIN2"),
    ("COLBIN", "ROWBIN"),
    ("BINCOL", "BINROW"),
    ("X_BIN", "Y_BIN"),
    ("BIN_X", "BIN_Y"),
    ("BIN-X", "BIN-Y"),
    ("CAMXBIN", "CAMYBIN"),
    ("CCDHBIN", "CCDVBIN"),
    ("HBINNING", "VBINNING"),
    ("PRD-BIN1", "PRD-BIN2"),
    ("ESO DET FRAM CDELT1", "ESO DET FRAM CDELT2"),
)
"""Pairs of cards with the binning along x and along y."""

BINNING_TEXTS = ("CCDSUM", "BINNING", "BINSUM", "CCDBIN")
"""Cards with both numbers in one text, such as `2 2` or `2x2`."""

# Cards that may hold one number for both axes.
_SINGLE_BINNING_CARDS = (*BINNING_TEXTS, "CCD-BIN", "BINFACTR", "BINFACT", "BIN")


def binning_of_hdu(headers, index, *, specs=(), default=(1, 1)):
    """Return the binning (by, bx) of an HDU, from its own header or the primary.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    index : int
        The HDU.
    specs : tuple of ccdflow.files.cards.CardSpec, optional
        The profile's cards: one card with both numbers, or with one number for both axes, or the
        card of x and then that of y.
    default : (int, int), optional
        The binning if no card has it.

    Returns
    -------
    (int, int)

    Examples
    --------
    The columns' number comes first in the card, the rows' in the result:

    >>> from astropy.io import fits
    >>> binning_of_hdu([fits.Header({"CCDSUM": "2 1"})], 0)
    (1, 2)
    """
    if specs:
        texts = [value_of_card(headers, spec, (index, 0)) for spec in specs]
        numbers = _positive_integers(" ".join(str(text) for text in texts if text is not None))
        return (numbers[-1], numbers[0]) if numbers else default
    binning = _binning_of_header(headers[index]) or _binning_of_header(headers[0])
    return binning or _binning_of_one_number(headers, index) or default


def _binning_of_header(header):
    """Return (by, bx) from the first text with both numbers or pair of cards; None without one."""
    for keyword in BINNING_TEXTS:
        numbers = _positive_integers(card_value(header, keyword))
        if len(numbers) == 2:
            return numbers[1], numbers[0]
    for x_keyword, y_keyword in BINNING_PAIRS:
        bx = abs(as_integer(card_value(header, x_keyword)) or 0)
        by = abs(as_integer(card_value(header, y_keyword)) or 0)
        if bx and by:
            return by, bx
    return None


# No camera bins more pixels than this along an axis: a larger number is not a binning.
_MOST_BINNED = 64


def _binning_of_one_number(headers, index):
    """Return (by, bx) from cards with one number for both axes, or None.

    If only one card of a pair is there, it counts for both axes.
    """
    for header in (headers[index], headers[0]):
        for keyword in _SINGLE_BINNING_CARDS:
            numbers = _positive_integers(card_value(header, keyword))
            if len(numbers) in (1, 2) and max(numbers) <= _MOST_BINNED:
                return numbers[-1], numbers[0]
        for pair in BINNING_PAIRS:
            # CDELT1U is a pixel's step on the chip along one axis, and may be there without
            # CDELT2U: it does not give the binning of both axes.
            factors = [as_integer(card_value(header, keyword)) or 0 for keyword in pair]
            if any(factors) and not pair[0].startswith("CDELT") and max(factors) <= _MOST_BINNED:
                return max(factors), max(factors)
    return None


def _positive_integers(value):
    """Return the whole numbers above 0 in a text such as '2 1', '2x1' or '2,1'."""
    return [int(digits) for digits in re.findall(r"\d+", str(value or "")) if int(digits)]


def fits_binned(section, region, factors):
    """Return whether a section of the unbinned detector has the size of these binned pixels.

    Parameters
    ----------
    section : ccdflow.camera.sections.Region
        In pixels of the unbinned detector.
    region : ccdflow.camera.sections.Region
        In binned pixels of the frame.
    factors : (int, int)
        Binning (y, x).

    Returns
    -------
    bool
    """
    pairs = zip(section.shape, region.shape, factors, strict=True)
    return all(abs(length / factor - count) < 1 for length, count, factor in pairs)


def detector_mismatch(draft, section, base, factors, keyword, *, file):
    """Return the error for a detector section that is not the size of the amplifier's pixels.

    Parameters
    ----------
    draft : ccdflow.camera.geometry.Draft
        The amplifier whose section disagrees.
    section : ccdflow.camera.sections.DirectedSection
        In pixels of the unbinned detector.
    base : ccdflow.camera.sections.Region
        The amplifier's pixels in the frame.
    factors : (int, int)
        Binning (y, x).
    keyword : str
        The card with the section.
    file : str
        Path of the raw file relative to the raw folder; named in errors.

    Returns
    -------
    FrameError
    """
    ny, nx = base.shape
    return FrameError(
        f"amplifier {draft.name}: the detector section and the data differ in size",
        file=file,
        keyword=keyword,
        value=section.region.to_fits(),
        allowed=f"{nx * factors[1]} x {ny * factors[0]} for data {base.to_fits()} "
        f"binned {factors[1]} x {factors[0]}",
        remedy="give the amplifiers with their `place` in the camera's profile",
    )
