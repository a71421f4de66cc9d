"""FITS checksums: of data units, of headers, and of whole products."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from isal import isal_zlib

from ccdflow.errors import FrameError
from ccdflow.files.cards import card_value
from ccdflow.files.fits_structure import (
    EXTENSION_START,
    FITS_BLOCK_BYTES,
    PRIMARY_START,
    Hdu,
    data_size,
    has_end_card,
    parse_header,
)
from ccdflow.files.gzip_inflation import fill_buffer
from ccdflow.files.raw_files import MOST_HEADER_BYTES
from ccdflow.files.thread_buffers import thread_buffer

# Bytes that are read and summed at once: a megabyte, in whole blocks.
_SUM_BYTES = 360 * FITS_BLOCK_BYTES

# Words of 32 bits that are summed at once: a megabyte stays in the processor's cache.
_SUM_WORDS = 1 << 18


def fits_sum_of(*parts):
    """Return the FITS checksum sum (ones' complement, 32 bit) of partial sums of 32-bit words."""
    total = sum(int(part) for part in parts)
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def sum_words(data):
    """Return the ones' complement sum of big-endian 32-bit words (FITS standard 4.0, appendix J).

    Parameters
    ----------
    data : bytes-like
        Its length is a multiple of four.

    Returns
    -------
    int
    """
    words = np.frombuffer(data, dtype=">u4")
    total = 0
    for first in range(0, words.size, _SUM_WORDS):
        total += int(words[first : first + _SUM_WORDS].sum(dtype=np.uint64))
    return fits_sum_of(total)


def encode_checksum(total):
    """Return the 16 characters of a CHECKSUM card (FITS standard 4.0, appendix J).

    Parameters
    ----------
    total : int
        The sum of the whole HDU with a CHECKSUM card of sixteen zeros.

    Returns
    -------
    str
    """
    quarters = [_quarters_of_byte(byte) for byte in (0xFFFFFFFF - total).to_bytes(4, "big")]
    # The first quarters of the four bytes are written first, then the second ones.
    text = "".join(chr(code) for codes in zip(*quarters, strict=True) for code in codes)
    return text[-1] + text[:-1]


def _quarters_of_byte(byte):
    """Return four codes of letters and digits whose sum is a byte and four times that of ``0``."""
    quarter, remainder = divmod(byte, 4)
    zero = ord("0")
    codes = [zero + quarter + remainder, *[zero + quarter] * 3]
    while any(map(_is_punctuation, codes)):
        for i in (0, 2):
            if any(map(_is_punctuation, codes[i : i + 2])):
                codes[i] += 1
                codes[i + 1] -= 1
    return codes


def _is_punctuation(code):
    """Return whether an ASCII code from that of 0 to that of z is no letter and no digit."""
    return ord("9") < code < ord("A") or ord("Z") < code < ord("a")


def headers_among(parts):
    """Return the headers among the parts of a FITS file, each of them whole.

    Parameters
    ----------
    parts : iterable of bytes-like
        Headers as bytes, and data units.

    Returns
    -------
    list of bytes
    """
    starts = (PRIMARY_START, EXTENSION_START)
    return [part for part in parts if isinstance(part, bytes) and part.startswith(starts)]


def product_checksum(datasum, headers):
    """Return the checksum of a FITS product's content as its record has it.

    The checksum joins the DATASUM of its first image with the CRC-32 of all headers. Headers have
    the sums of all HDUs, so that each change of a byte of the product changes the checksum.

    Parameters
    ----------
    datasum : int or str
        The DATASUM.
    headers : iterable of bytes
        In the order of the HDUs, with their padding.

    Returns
    -------
    str
        DATASUM and CRC-32, with a hyphen between them.
    """
    total = 0
    for header in headers:
        total = isal_zlib.crc32(header, total)
    return f"{datasum}-{total:08x}"


def datasum_of(content):
    """Return the DATASUM that a record's content begins with."""
    # Older results: the content in their records is the DATASUM alone.
    return content.partition("-")[0]


def header_bytes(header, word_sum):
    """Return a header as padded bytes, with DATASUM and CHECKSUM cards that fit.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Not changed.
    word_sum : int
        The sum of the data unit's words, see `sum_words`.

    Returns
    -------
    bytes
    """
    header = header.copy()
    header.remove("CHECKSUM", ignore_missing=True, remove_all=True)
    header.remove("DATASUM", ignore_missing=True, remove_all=True)
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    header["DATASUM"] = (str(word_sum), "data unit checksum")
    text = header.tostring().encode("ascii")
    total = fits_sum_of(sum_words(text), word_sum)
    return text.replace(
        b"CHECKSUM= '" + b"0" * 16, b"CHECKSUM= '" + encode_checksum(total).encode()
    )


def datasum_and_key(path):
    """Return (DATASUM, key) of a FITS product; ('', '') if it is not whole.

    Returns
    -------
    datasum : str
        DATASUM of the first HDU that has data; '0' if none has. '' if the file is missing or cut or
        cannot be read, or if an HDU has no CHECKSUM or disagrees with it.
    key : str
        CCDFKEY of the first HDU; '' where there is none.
    """
    headers, first_sum = [], ""
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            offset = 0
            while offset < size:
                if (hdu := _whole_hdu(file, offset, size)) is None:
                    return "", ""
                header, offset, datasum = hdu
                headers.append(header)
                first_sum = first_sum or datasum
    except (OSError, FrameError):
        return "", ""
    if not headers:
        return "", ""
    return first_sum or "0", str(card_value(headers[0], "CCDFKEY") or "")


def _whole_hdu(file, start, size):
    """Return header, end and DATASUM ('' without data) of an HDU.

    None if it is cut, changed or without CHECKSUM.

    Parameters
    ----------
    file : file object
    start, size : int
        Where the HDU begins, and the bytes of the file.
    """
    text = b""
    while not text or not has_end_card(text[-FITS_BLOCK_BYTES:]):
        block = file.read(FITS_BLOCK_BYTES)
        if len(block) < FITS_BLOCK_BYTES or len(text) > MOST_HEADER_BYTES:
            return None
        text += block
    header = parse_header(text)
    first = start + len(text)
    end = Hdu(header, first, data_size(header)).end
    if card_value(header, "CHECKSUM") is None or end > size:
        return None
    total = sum_words(text)
    for offset in range(first, end, _SUM_BYTES):
        part = thread_buffer("sum", min(_SUM_BYTES, end - offset))
        if fill_buffer(file, part) < len(part):
            return None
        total = fits_sum_of(total, sum_words(part))
    if total not in (0, 0xFFFFFFFF):
        return None
    return header, end, str(card_value(header, "DATASUM")) if end > first else ""


def datasum_of_file(path):
    """Return the DATASUM of a FITS product; '' if it is not whole, see `datasum_and_key`."""
    return datasum_and_key(path)[0]
