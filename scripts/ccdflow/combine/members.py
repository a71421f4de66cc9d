"""The HDUs of reduced frames that are combined: headers as text, and the places of the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccdflow.combine.member_reader import Member
from ccdflow.errors import CHECK_FILE, MAKE_AGAIN, DamagedProduct, FrameError, action_of
from ccdflow.files import file_access, fits_structure
from ccdflow.files.header_text import is_commentary
from ccdflow.files.raw_headers import CARD_BYTES


@dataclass(frozen=True)
class ProductHdu:
    """An HDU of a product's file.

    Attributes
    ----------
    cards : dict of str to str
        The text of each card by keyword, with the CONTINUE cards that follow it; without COMMENT,
        HISTORY and blank cards.
    member : ccdflow.combine.member_reader.Member or None
        Place of its pixels; None if the HDU has no pixels.
    """

    cards: dict[str, str]
    member: Member | None


def read_hdus(path, count):
    """Read the headers of the first HDUs of a product, and no pixels.

    Parameters
    ----------
    path : path-like
    count : int
        Number of HDUs.

    Returns
    -------
    list of ProductHdu

    Raises
    ------
    FrameError
        If the file cannot be read.
    DamagedProduct
        If the file has fewer HDUs, or ends before its pixels do, or a header lacks the size or type
        of its pixels, or holds bytes other than ASCII.
    """
    path = Path(path)
    hdus, offset = [], 0
    try:
        with open(path, "rb", buffering=0, opener=file_access.open_at_once) as file:
            while len(hdus) < count:
                text = fits_structure.read_header_bytes(file, offset)
                try:
                    hdu, size = _hdu_and_size(text, path, offset + len(text))
                except (KeyError, ValueError):
                    raise DamagedProduct(
                        "the header of the product is damaged",
                        file=path,
                        keyword="HDU",
                        value=len(hdus),
                        allowed="NAXIS, NAXIS1, NAXIS2 and BITPIX of an image, in ASCII",
                        remedy=MAKE_AGAIN,
                    ) from None
                offset += (
                    len(text)
                    + -(-size // fits_structure.FITS_BLOCK_BYTES) * fits_structure.FITS_BLOCK_BYTES
                )
                hdus.append(hdu)
            if path.stat().st_size < offset:
                raise DamagedProduct("ends before its pixels do", file=path, remedy=MAKE_AGAIN)
    except EOFError:
        raise DamagedProduct(
            f"has fewer than {count} HDUs, or is cut",
            file=path,
            keyword="HDUs",
            value=len(hdus),
            allowed=f"{count} or more",
            remedy=f"give a smaller number, or {MAKE_AGAIN}",
        ) from None
    except OSError as error:
        raise FrameError(
            f"cannot be read: {error.strerror}",
            file=path,
            remedy=action_of(error, CHECK_FILE),
        ) from None
    return hdus


def _hdu_and_size(text, path, offset):
    """Return the `ProductHdu` of a header, and the number of bytes of its pixels.

    Raises
    ------
    KeyError, ValueError
        If a card of the pixels' layout is missing or wrong, or a byte is not ASCII.
    """
    cards, last_keyword = {}, ""
    for start in range(0, len(text), CARD_BYTES):
        card = text[start : start + CARD_BYTES].decode("ascii")
        keyword = card[:8].rstrip()
        if keyword == "HIERARCH":
            keyword = card.partition("=")[0].rstrip()
        if keyword == "END":
            break
        if keyword == "CONTINUE":
            if last_keyword in cards:
                cards[last_keyword] += card
            continue
        # Of several cards with one keyword the first is kept; CONTINUE cards of the others are not.
        last_keyword = "" if keyword in cards or is_commentary(keyword) else keyword
        if last_keyword:
            cards[keyword] = card
    n_axes = int(_value_text(cards["NAXIS"]))
    if not n_axes:
        return ProductHdu(cards, None), 0
    shape = int(_value_text(cards["NAXIS2"])), int(_value_text(cards["NAXIS1"]))
    if min(shape) < 1:
        raise ValueError(shape)
    dtype = fits_structure.DTYPES[int(_value_text(cards["BITPIX"]))]
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    return ProductHdu(cards, Member(path, offset, shape, dtype)), size


def _value_text(card):
    """Return the text of a card between its sign of equality and its comment."""
    return card[10:].partition("/")[0]
