"""The content that the headers of a FITS file promise: HDUs, their sizes and places."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from astropy.io import fits

from ccdflow.errors import FrameError
from ccdflow.files import raw_headers
from ccdflow.files.cards import card_value, contents_of_cards, count_cards, has_card
from ccdflow.files.raw_headers import CARD_BYTES, ENDINGS, readable_cards

PRIMARY_START, EXTENSION_START = b"SIMPLE  =", b"XTENSION="
"""The first bytes of the header of a primary HDU, and of an extension."""

FITS_BLOCK_BYTES = 2880
"""Bytes of a FITS block: headers and data are padded to a multiple."""

DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""The type of stored pixels for each BITPIX."""

# The keyword of the last card of a header.
_END_KEYWORD = b"END     "
# Bytes that are read at once: most headers are shorter.
_READ_BYTES = 1 << 14
# An HDU has at most this many bytes of data: no disk holds a thousandth of them, and arithmetic
# with them is fast.
_MOST_BYTES = 10**18

MOST_AXES = 999
"""Axes of an image that FITS allows (standard 4.0, section 4.4.1.1)."""

# Columns of a table that FITS allows.
_MOST_COLUMNS = 999


@dataclass(frozen=True)
class Hdu:
    """The extent of an HDU in the (inflated) file.

    Attributes
    ----------
    header : astropy.io.fits.Header
    offset : int
        First byte of the data unit.
    size : int
        Bytes of data, without the padding.
    raw : bytes
        The header as it is in the file, in blocks of 2880 bytes.
    """

    header: fits.Header = field(compare=False)
    offset: int
    size: int
    raw: bytes = field(default=b"", repr=False, compare=False)

    @property
    def text(self):
        """The header, with question marks for characters that FITS does not allow."""
        return readable_cards(self.raw)

    @property
    def end(self):
        """First byte after the padded data unit."""
        return self.offset + -(-self.size // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES

    @property
    def is_tiled(self):
        """Whether the data are a table of compressed tiles."""
        return card_value(self.header, "ZIMAGE") is True


@dataclass(frozen=True)
class RawLayout:
    """The layout of a raw file, by its headers.

    Attributes
    ----------
    hdus : tuple of Hdu
    fingerprint : str
        CRC-32 and length (hexadecimal) of the FITS file inside; '' if the file was not read to its
        end and has no checksum of its own.
    length : int
        Bytes that the HDUs promise, padding of the last one not counted.
    is_checked : bool
        Whether the file was read to its end, so that damage would have been noticed.
    """

    hdus: tuple[Hdu, ...]
    fingerprint: str
    length: int
    is_checked: bool = False

    @property
    def headers(self):
        """The headers, index = HDU number; for compressed tiles the image's headers."""
        return [uncompressed_header(hdu.header) for hdu in self.hdus]

    @property
    def texts(self):
        """The headers as in the file, index = HDU number; for compressed tiles the table's."""
        return [hdu.text for hdu in self.hdus]


def parse_header(text):
    """Return the header of some bytes; those that FITS does not allow become question marks."""
    header = raw_headers.parse_usual_header(text)
    return raw_headers.parse_raw_header(readable_cards(text)) if header is None else header


def end_of_header(text):
    """Return the end of the padded header that a text begins with; None if the header goes on.

    Parameters
    ----------
    text : bytes
        Whole cards of a header whose END is padded with blanks, and the bytes after them.

    Returns
    -------
    int or None
    """
    offset = text.find(_END_KEYWORD)
    while offset % CARD_BYTES:
        if offset < 0:
            return None
        offset = text.find(_END_KEYWORD, offset + 1)
    end = -(-(offset + CARD_BYTES) // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES
    return end if end <= len(text) else None


def read_header_bytes(file, offset):
    """Return the bytes of the header of a product that begins at an offset, padded to its end.

    Parameters
    ----------
    file : file object
        Open for reading bytes.
    offset : int

    Returns
    -------
    bytes
        Whole blocks.

    Raises
    ------
    EOFError
        If the file ends before the header does.
    OSError
        If it cannot be read.
    """
    file.seek(offset)
    text = b""
    while (end := end_of_header(text)) is None:
        block = file.read(_READ_BYTES)
        if not block:
            raise EOFError("the header is cut" if text else "the file ends before it")
        text += block
    return text[:end]


def has_end_card(block):
    """Return whether a block of a header has its END card, padded with blanks or with zeros."""
    block = bytes(block)
    offset = block.find(b"END")
    while offset >= 0:
        if offset % CARD_BYTES == 0:
            tail = block[offset + 3 : offset + CARD_BYTES]
            if tail.startswith(b"     ") or not tail.strip(ENDINGS):
                return True
        offset = block.find(b"END", offset + 1)
    return False


def _structural_value(header, keyword):
    """Return the value of a keyword's first card, the only one that counts; None without one."""
    cards = contents_of_cards(header, keyword)
    # If the first card is blank, later ones do not count either: astropy takes the first.
    is_blank = len(cards) < count_cards(header, keyword)
    return cards[0].value if cards and not is_blank else None


def _integer_of(header, keyword, name, *, low=0, high=_MOST_BYTES, default=None):
    """Return a structural whole number of a header; raise if it is missing or not usable.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    name : str
        Name of the file, named in the error.
    low, high : int, optional
        The limits, both allowed.
    default : int, optional
        The value of an absent card; without it the card is required.
    """
    value = _structural_value(header, keyword) if has_card(header, keyword) else default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise FrameError(
            "missing from the header" if value is None else "not a usable number",
            file=name,
            keyword=keyword,
            value=value,
            allowed=f"an integer of at least {low}"
            + (f", at most {high}" if high < _MOST_BYTES else ""),
            remedy="move it out of the raw folder: it has no image that can be found",
        )
    return value


def data_size(header, name=None):
    """Return the bytes of data that a header promises (FITS standard 4.0, equation 2).

    Parameters
    ----------
    header : astropy.io.fits.Header
    name : str, optional
        Named in errors.

    Returns
    -------
    int

    Raises
    ------
    FrameError
        If a structural card is missing or has a value that FITS does not allow.
    """
    _check_extension(header, name)
    n_axes = _integer_of(header, "NAXIS", name, high=MOST_AXES)
    bitpix = _structural_value(header, "BITPIX") if has_card(header, "BITPIX") else None
    _check_pixel_type("BITPIX", bitpix, name)
    if n_axes == 0:
        return 0
    n_pixels, n_groups = _count_pixels(header, "NAXIS", n_axes, name), 1
    if has_card(header, "XTENSION"):
        n_pixels += _integer_of(header, "PCOUNT", name, default=0)
        n_groups = _integer_of(header, "GCOUNT", name, default=1)
    return _checked_size(abs(bitpix) // 8 * n_groups * n_pixels, name)


def tiled_size(header, name=None):
    """Return the bytes of the image in compressed tiles; 0 for any other HDU.

    Parameters
    ----------
    header, name
        See `data_size`.

    Returns
    -------
    int

    Raises
    ------
    FrameError
        If the header does not give type and axes of the image.
    """
    if card_value(header, "ZIMAGE") is not True:
        return 0
    n_axes = _integer_of(header, "ZNAXIS", name, high=MOST_AXES)
    # astropy looks for this many columns: a wrong number would take hours.
    _integer_of(header, "TFIELDS", name, high=_MOST_COLUMNS, default=0)
    bitpix = card_value(header, "ZBITPIX")
    n_pixels = _count_pixels(header, "ZNAXIS", n_axes, name) if n_axes else 0
    _check_pixel_type("ZBITPIX", bitpix, name)
    return _checked_size(abs(bitpix) // 8 * n_pixels, name)


def _checked_size(size, name):
    """Return a size in bytes; raise `FrameError` if no disk is so large."""
    if size > _MOST_BYTES:
        problem = f"the header asks for more than {_MOST_BYTES:.0e} bytes of pixels"
        raise FrameError(problem, file=name, remedy="move the file out of the raw folder")
    return size


def _count_pixels(header, keyword, n_axes, name):
    """Return the number of pixels: the product of the lengths of all axes.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : {'NAXIS', 'ZNAXIS'}
    n_axes : int
        Number of axes.
    name : str
        Name of the file, for errors.
    """
    return prod(_integer_of(header, f"{keyword}{axis}", name) for axis in range(1, n_axes + 1))


def _check_pixel_type(keyword, value, name):
    """Raise `FrameError` unless a value is a BITPIX of FITS."""
    # 16.0 equals 16, but is not valid FITS.
    if not isinstance(value, int) or value not in DTYPES:
        raise FrameError(
            "not a FITS pixel type",
            file=name,
            keyword=keyword,
            value=value,
            allowed=", ".join(map(str, DTYPES)),
            remedy="move the file out of the raw folder",
        )


def _check_extension(header, name):
    """Refuse an extension without a type: it may be an image or a table."""
    extension_type = _structural_value(header, "XTENSION") if has_card(header, "XTENSION") else ""
    if not isinstance(extension_type, str):
        raise FrameError(
            "the extension does not name its kind",
            file=name,
            keyword="XTENSION",
            value=extension_type,
            allowed="'IMAGE', 'BINTABLE' or another word in quotes",
            remedy="copy the file again from where it came from: a card of its header is damaged",
        )


def uncompressed_header(header):
    """Return the header of the image in compressed tiles; any other header unchanged."""
    if not has_card(header, "ZIMAGE") or card_value(header, "ZIMAGE") is not True:
        return header
    image = header.copy()
    for keyword in ("TFIELDS", "TTYPE1", "TFORM1", "ZIMAGE", "ZCMPTYPE", "THEAP"):
        image.remove(keyword, ignore_missing=True, remove_all=True)
    for keyword in [k for k in image if k.startswith(("ZTILE", "ZNAME", "ZVAL", "TTYPE", "TFORM"))]:
        image.remove(keyword, ignore_missing=True)
    for keyword in [k for k in header if k.startswith(("ZNAXIS", "ZBITPIX"))]:
        value = card_value(header, keyword)
        if isinstance(value, int):
            image[keyword[1:]] = value
        else:
            # This card describes the table and not the image.
            image.remove(keyword[1:], ignore_missing=True)
        image.remove(keyword, ignore_missing=True, remove_all=True)
    return image


def image_shape(header, name=None):
    """Return (ny, nx) of an image header; the last axes beyond the second may have length one.

    Parameters
    ----------
    header : astropy.io.fits.Header
    name : str, optional
        Named in errors.

    Returns
    -------
    (int, int)

    Raises
    ------
    FrameError
        If the header does not describe a two-dimensional image.
    """
    header = uncompressed_header(header)
    n_axes = _integer_of(header, "NAXIS", name, high=MOST_AXES, default=0)
    lengths = [
        _integer_of(header, f"NAXIS{axis}", name, default=0) for axis in range(1, n_axes + 1)
    ]
    while len(lengths) > 2 and lengths[-1] == 1:
        lengths.pop()
    if len(lengths) != 2 or 0 in lengths:
        raise FrameError(
            "no two-dimensional image",
            file=name,
            keyword="NAXIS",
            value=" x ".join(map(str, lengths)) or 0,
            allowed="an image of two axes",
            remedy="move the file out of the raw folder",
        )
    return lengths[1], lengths[0]
