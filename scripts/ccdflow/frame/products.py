"""What the files of products hold: which image is in which HDU, and how it is found again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccdflow.bias.combine import Member
from ccdflow.errors import FrameError
from ccdflow.files import fitsio
from ccdflow.files.headertext import is_commentary


@dataclass(frozen=True)
class ProductImage:
    """An image of a product.

    Attributes
    ----------
    hdu : int
        Its HDU in the product.
    raw_hdu : int or None
        The raw HDU that it is made of; None if it is put together of several.
    amplifiers : tuple of ccdflow.camera.geometry.Amplifier
        Those it is made of.
    shape : (int, int)
        (ny, nx).
    """

    hdu: int
    raw_hdu: int | None
    amplifiers: tuple
    shape: tuple[int, int]

    @property
    def suffix(self):
        """What the names of its other extensions end with: '' in a file's first HDU."""
        return str(self.hdu) if self.hdu else ""


def product_images(geometry, recipe):
    """Return the images that frames of a geometry become, in the order of the product's HDUs.

    Frames of one image become one in the primary HDU. Of several raw HDUs that are not put
    together each stays what it was: an extension, or the primary.

    Parameters
    ----------
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.cameras.Recipe

    Returns
    -------
    tuple of ProductImage
    """
    amplifiers = geometry.amplifiers
    hdus = {amplifier.hdu for amplifier in amplifiers}
    if geometry.layout == "image" and (recipe.trim or len(hdus) == 1):
        (_, raw_shape), *_ = geometry.raw_shapes
        only = next(iter(hdus)) if len(hdus) == 1 else None
        return (ProductImage(0, only, amplifiers, geometry.shape if recipe.trim else raw_shape),)
    shapes = geometry.extension_shapes if recipe.trim and geometry.extension_shapes else ()
    shapes = shapes or geometry.raw_shapes
    first = 0 if any(hdu == 0 for hdu, _ in shapes) else 1
    return tuple(
        ProductImage(number, hdu, tuple(a for a in amplifiers if a.hdu == hdu), shape)
        for number, (hdu, shape) in enumerate(shapes, start=first)
    )


# -- reading them back ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ProductHdu:
    """An HDU of a product as it stands in the file.

    Attributes
    ----------
    cards : dict of str to str
        The text of each card by keyword, with the CONTINUE cards that follow it; COMMENT, HISTORY
        and blank cards are not among them.
    member : ccdflow.bias.combine.Member or None
        Where its pixels are; None if it has none.
    """

    cards: dict
    member: Member | None


def read_hdus(path, count):
    """Read the first HDUs of a product, their headers once and no pixels.

    Parameters
    ----------
    path : path-like
    count : int
        How many.

    Returns
    -------
    list of ProductHdu

    Raises
    ------
    FrameError
        If the file cannot be read or ends before its pixels do.
    """
    path = Path(path)
    found, at = [], 0
    try:
        with path.open("rb", buffering=0) as file:
            while len(found) < count:
                file.seek(at)
                text = _header_text(file, path)
                hdu, size = _hdu(text, path, at + len(text))
                at += len(text) + -(-size // fitsio.BLOCK) * fitsio.BLOCK
                found.append(hdu)
            if path.stat().st_size < at:
                raise FrameError("ends before its pixels do", file=path)
    except OSError as error:
        raise FrameError(f"cannot be read: {error.strerror}", file=path) from None
    return found


def _header_text(file, path):
    text = file.read(2 * fitsio.BLOCK)
    while (end := _end(text)) is None:
        more = file.read(fitsio.BLOCK)
        if not more:
            raise FrameError("has no such HDU, or it is cut", file=path)
        text += more
    return text[:end]


def _end(text):
    """Return where a header ends that begins a text, None if it goes on."""
    at = text.find(b"END" + b" " * 77)
    while at % 80:
        if at < 0:
            return None
        at = text.find(b"END" + b" " * 77, at + 1)
    end = -(-(at + 80) // fitsio.BLOCK) * fitsio.BLOCK
    return end if end <= len(text) else None


def _hdu(text, path, offset):
    cards, last = {}, ""
    for start in range(0, len(text), 80):
        card = text[start : start + 80].decode("ascii")
        keyword = card[:8].rstrip()
        if keyword == "HIERARCH":
            keyword = card.partition("=")[0].rstrip()
        if keyword == "END":
            break
        if keyword == "CONTINUE":
            if last in cards:
                cards[last] += card
            continue
        # Of cards that stand twice the first is kept, and not continued by the second's.
        last = "" if keyword in cards or is_commentary(keyword) else keyword
        if last:
            cards[keyword] = card
    axes = int(_value(cards["NAXIS"]))
    if not axes:
        return ProductHdu(cards, None), 0
    shape = int(_value(cards["NAXIS2"])), int(_value(cards["NAXIS1"]))
    dtype = fitsio.DTYPES[int(_value(cards["BITPIX"]))]
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    return ProductHdu(cards, Member(path, offset, shape, dtype)), size


def _value(card):
    return card[10:].partition("/")[0]
