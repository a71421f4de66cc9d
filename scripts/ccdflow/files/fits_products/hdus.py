"""HDUs as bytes: cards and arrays in, headers with checksums and padded data units out."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import numpy as np

from ccdflow import __version__
from ccdflow.files import checksum, fits_structure
from ccdflow.files.header_text import CardList, card_text

# Bytes of a piece. Larger pieces are written faster; smaller ones stay in the processor's cache.
_PIECE_BYTES = 1 << 22


@cache
def version_cards():
    """Return the cards of the versions that products name: (keyword, version, comment) of each."""
    return (
        ("CCDFLOW", __version__, "reduced by ccdflow, version"),
        ("CCDPVER", version("ccdproc"), "equal to this ccdproc by test: docs/verify.md"),
        ("ASTRPVER", version("astropy"), "astropy version"),
        ("NUMPYVER", version("numpy"), "numpy version"),
    )


def array_hdu(cards, data, *, name=None, is_primary=False):
    """Return header and data unit of an array, with its checksums.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Without the cards that describe the array.
    data : numpy.ndarray of shape (ny, nx), any byte order, or None
        Pixels, of type uint8, int16, int32, float32 or float64; None for a primary HDU without an
        image.
    name : str or CardList, optional
        EXTNAME, or the cards that name the extension.
    is_primary : bool, optional

    Returns
    -------
    list of bytes and BigEndian
        The header, and the data with their padding, for `ccdflow.files.atomic_write`.
    """
    unit, word_sum = ([], 0) if data is None else data_unit(data)
    return [hdu_header(cards, data, word_sum, name=name, is_primary=is_primary), *unit]


def hdu_header(cards, data, word_sum, *, name=None, is_primary=False):
    """Return the header of an HDU with its checksums.

    Parameters
    ----------
    cards, data, name, is_primary
        As for `array_hdu`; only shape and type of the data are used.
    word_sum : int
        FITS checksum sum of the data unit.

    Returns
    -------
    bytes
    """
    if isinstance(name, str):
        name = CardList([("EXTNAME", card_text("EXTNAME", name))])
    return _order_cards(cards, data, is_primary=is_primary, name=name).to_bytes(word_sum)


class BigEndian:
    """The pixels of an array as a FITS file stores them, a piece at a time.

    Parameters
    ----------
    data : numpy.ndarray of any shape, any type, byte order and memory layout
        Not changed. Callers must not change it before the pieces are written.

    Attributes
    ----------
    nbytes : int
        Bytes of all pixels.
    """

    def __init__(self, data):
        self._flat = np.ascontiguousarray(data).reshape(-1)
        self._dtype = data.dtype.newbyteorder(">")
        self.nbytes = self._flat.nbytes

    def __iter__(self):
        """Yield bytes-like pieces; each is valid until the next one."""
        step = _PIECE_BYTES // self._dtype.itemsize
        buffer = np.empty(min(step, self._flat.size), self._dtype)
        for first in range(0, self._flat.size, step):
            part = self._flat[first : first + step]
            piece = buffer[: part.size]
            piece[...] = part
            yield memoryview(piece.view("u1"))

    def sum(self, padding):
        """Return the FITS checksum sum of the pixels and their padding."""
        total, remainder = 0, b""
        if self._flat.itemsize == 4 and self._flat.dtype.isnative:
            # A sum of native numbers needs no swap of bytes: the words of FITS are the same
            # numbers.
            for first in range(0, self._flat.size, _PIECE_BYTES // 4):
                words = self._flat[first : first + _PIECE_BYTES // 4].view(np.uint32)
                total = checksum.fits_sum_of(total, words.sum(dtype=np.uint64))
            return checksum.fits_sum_of(total, checksum.sum_words(padding))
        for piece in self:
            # Only the last piece may end within a word.
            n_summed = len(piece) // 4 * 4
            total = checksum.fits_sum_of(total, checksum.sum_words(piece[:n_summed]))
            remainder = bytes(piece[n_summed:])
        return checksum.fits_sum_of(total, checksum.sum_words(remainder + padding))


def data_unit(data):
    """Return an array as a data unit.

    Parameters
    ----------
    data : numpy.ndarray of any type
        As for `array_hdu`.

    Returns
    -------
    unit : list of BigEndian and bytes
        The pixels and their padding.
    total : int
        FITS checksum sum of its words.
    """
    pixels = BigEndian(data)
    padding = b"\0" * (-pixels.nbytes % fits_structure.FITS_BLOCK_BYTES)
    return [pixels, padding], pixels.sum(padding)


def _order_cards(cards, data, *, is_primary, name=None):
    """Return the cards of an HDU, with those that FITS demands at the beginning of a header.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
    data : numpy.ndarray of shape (ny, nx), or None
        In the type of the file.
    is_primary : bool
        Whether the header is that of the first HDU.
    name : ccdflow.files.header_text.CardList or None, optional
        The cards with the name of the extension.
    """
    first = CardList()
    if is_primary:
        first.set("SIMPLE", value=True, comment="conforms to FITS standard")
    else:
        first.set("XTENSION", "IMAGE", "Image extension")
    bits = 8 if data is None else data.dtype.itemsize * 8 * (-1 if data.dtype.kind == "f" else 1)
    first.set("BITPIX", bits, "array data type")
    first.set("NAXIS", 0 if data is None else 2, "number of array dimensions")
    if data is not None:
        first.set("NAXIS1", data.shape[1])
        first.set("NAXIS2", data.shape[0])
    if is_primary:
        first.set("EXTEND", value=True)
    else:
        first.set("PCOUNT", 0)
        first.set("GCOUNT", 1)
    first.extend(name or ())
    first.extend(cards)
    return first
