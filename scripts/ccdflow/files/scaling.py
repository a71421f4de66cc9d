"""The scaling of stored numbers to values: BZERO, BSCALE and BLANK, read or refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ccdflow.errors import FrameError
from ccdflow.files.cards import contents_of_cards
from ccdflow.files.values import as_number

# The remedy for a card that is not a number.
_REMEDY = "find out its origin, and correct the card in a copy of the file"


@dataclass(frozen=True)
class Scaling:
    """The scaling of an image: value = bzero + bscale * stored number.

    Attributes
    ----------
    bzero, bscale : float
    blank : int or None
        The stored integer of pixels without a value.
    """

    bzero: float = 0.0
    bscale: float = 1.0
    blank: int | None = None


def scaling_of(header, name=None):
    """Return the scaling of the stored numbers of an image.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of an image; its BITPIX is one of FITS.
    name : str, optional
        The file, for the error.

    Returns
    -------
    Scaling

    Raises
    ------
    FrameError
        If a card is there and is no number (text, NaN, blank), if BSCALE or BZERO is out of range,
        or if BLANK of an integer image is no integer.
    """
    bzero = _number_of_card(header, "BZERO", 0.0, name)
    bscale = _number_of_card(header, "BSCALE", 1.0, name)
    if bscale == 0:
        raise _refusal_of_card("BSCALE", 0, "a number other than 0", name)
    _check_range(bzero, bscale, header["BITPIX"], name)
    return Scaling(bzero, bscale, _blank_value(header, name))


# Limits of BSCALE, and of a float image's BZERO: products are float32, and the squares of their
# pixels have to lie between 1e-38 and 3.4e38.
_LARGEST_SCALE, _SMALLEST_SCALE = 1e18, 1e-18
# The largest ratio of BZERO to BSCALE: with a larger one nothing is left of the stored numbers.
# Unsigned integers of 64 bits need half of it.
_MOST_STEPS = 2.0**64


def _check_range(bzero, bscale, bitpix, name):
    """Refuse a scaling by which values overflow, vanish, or become one and the same.

    Parameters
    ----------
    bzero, bscale : float
    bitpix : int
    name : str or None
        Name of the file, for errors.
    """
    if not _SMALLEST_SCALE <= abs(bscale) <= _LARGEST_SCALE:
        raise _refusal_of_card(
            "BSCALE", bscale, f"a size from {_SMALLEST_SCALE:g} to {_LARGEST_SCALE:g}", name
        )
    limit = _LARGEST_SCALE if bitpix < 0 else abs(bscale) * _MOST_STEPS
    if abs(bzero) > limit:
        raise _refusal_of_card("BZERO", bzero, f"a size up to {limit:g}", name)


def _number_of_card(header, keyword, default, name):
    """Return the number of BZERO or BSCALE; raise for a card that has none.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : {'BZERO', 'BSCALE'}
    default : float
        The number if there is no card.
    name : str or None
        Name of the file, for errors.
    """
    if keyword not in header:
        return default
    cards = contents_of_cards(header, keyword)
    value = cards[0].value if cards else ""
    number = None if isinstance(value, str) else as_number(value)
    if number is None or not isinstance(value, int | float) or not math.isfinite(number):
        raise _refusal_of_card(
            keyword, value, "a number, without quotes and with a decimal point", name
        )
    return number


def _blank_value(header, name):
    """Return the integer of BLANK; raise for a card that has none.

    None without the card, and for an image of floats.
    """
    # BLANK holds for integers alone: FITS has NaN for floats.
    if "BLANK" not in header or header["BITPIX"] < 0:
        return None
    cards = contents_of_cards(header, "BLANK")
    value = cards[0].value if cards else ""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refusal_of_card("BLANK", value, "an integer", name)
    return value


def _refusal_of_card(keyword, value, allowed, name):
    """Return the error of a card that is not a usable number.

    Parameters
    ----------
    keyword : str
    value : object
    allowed : str
    name : str or None
        Name of the file.
    """
    return FrameError(
        "not a usable number", file=name, keyword=keyword, value=value, allowed=allowed,
        remedy=_REMEDY,
    )  # fmt: skip
