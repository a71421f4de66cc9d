"""Products of several images: headers and places of their HDUs read, and images written by rows.

A calibrated frame has an image, its uncertainty and its mask. Each comes a block of rows at a time:
the three are written side by side, at places that are known before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ccdflow.errors import MAKE_AGAIN, DamagedProduct, FrameError, action_of
from ccdflow.files import atomic_write, checksum, file_access, fits_structure, raw_headers
from ccdflow.files.cards import card_value
from ccdflow.files.fits_structure import FITS_BLOCK_BYTES
from ccdflow.files.header_text import CardList

if TYPE_CHECKING:
    from astropy.io import fits

# The remedy for a file that ccdflow has not written.
_PRODUCT_REMEDY = f"give a product of ccdflow, or {MAKE_AGAIN}"


@dataclass(frozen=True)
class StoredHdu:
    """An HDU of a product as it is in the file.

    Attributes
    ----------
    header : astropy.io.fits.Header
    cards : ccdflow.files.header_text.CardList
        The header as text.
    offset : int
        First byte of its pixels.
    shape : (int, int) or None
        (ny, nx); None without an image.
    dtype : str
        Type of the stored pixels, such as '>f4'.
    """

    header: fits.Header
    cards: CardList
    offset: int
    shape: tuple[int, int] | None
    dtype: str

    @property
    def name(self):
        """EXTNAME in capitals; '' without the card."""
        return str(card_value(self.header, "EXTNAME") or "").upper()

    @property
    def size(self):
        """Bytes of its pixels, without the padding."""
        return 0 if self.shape is None else np.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_stored_hdus(path, *, name=None):
    """Return the HDUs of an uncompressed product; no pixels are read.

    Parameters
    ----------
    path : path-like
    name : str, optional
        The name that errors carry; the path if absent.

    Returns
    -------
    list of StoredHdu

    Raises
    ------
    FrameError
        If the file cannot be read, is cut, or holds anything but plain images.
    """
    name = str(path) if name is None else name
    hdus, offset = [], 0
    try:
        with open(path, "rb", buffering=0, opener=file_access.open_at_once) as file:
            size = os.fstat(file.fileno()).st_size
            while offset < size:
                hdus.append(_stored_hdu(file, offset, name))
                offset = hdus[-1].offset + -(-hdus[-1].size // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES
    except OSError as error:
        raise DamagedProduct(
            f"cannot be read ({error.strerror})", file=name, remedy=MAKE_AGAIN
        ) from None
    if offset != size or not hdus:
        raise DamagedProduct(
            "the product is cut",
            file=name,
            keyword="bytes",
            value=size,
            allowed=f"{max(offset, FITS_BLOCK_BYTES)} or more",
            remedy=MAKE_AGAIN,
        )
    return hdus


def _stored_hdu(file, start, name):
    """Return the HDU whose header begins at an offset of an open product."""
    file.seek(start)
    if not start and file.read(6) != b"SIMPLE":
        raise DamagedProduct("not a FITS file", file=name, remedy=_PRODUCT_REMEDY)
    try:
        header_bytes = fits_structure.read_header_bytes(file, start)
    except EOFError:
        raise DamagedProduct("the product is cut", file=name, remedy=MAKE_AGAIN) from None
    offset = start + len(header_bytes)
    text = raw_headers.readable_cards(header_bytes)
    header = fits_structure.parse_header(text.encode("ascii"))
    cards = CardList.parse(text)
    if not card_value(header, "NAXIS"):
        return StoredHdu(header, cards, offset, None, "")
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0 or "ZIMAGE" in header:
        raise DamagedProduct(
            "its pixels are scaled or compressed",
            file=name,
            keyword="BSCALE",
            allowed="a product of ccdflow, plain pixels",
            remedy=MAKE_AGAIN,
        )
    try:
        shape = fits_structure.image_shape(header, name)
    except FrameError as error:
        raise DamagedProduct(
            error.problem,
            file=name,
            keyword=error.keyword,
            value=error.value,
            remedy=_PRODUCT_REMEDY,
        ) from error
    return StoredHdu(header, cards, offset, shape, fits_structure.DTYPES[header["BITPIX"]])


def read_rows(descriptor, hdu, first, buffer, *, name):
    """Read consecutive rows of an image into a buffer.

    Parameters
    ----------
    descriptor : int
        Descriptor of the open file.
    hdu : StoredHdu
    first : int
        The first row.
    buffer : numpy.ndarray of shape (k, nx), the stored type
    name : str
        For the error.

    Raises
    ------
    FrameError
        If the file ends before them or cannot be read.
    """
    place = (hdu.offset + first * _row_bytes(hdu), memoryview(buffer).cast("B"))
    _read_into(descriptor, [place], name)


def read_picked_rows(descriptor, hdu, rows, buffer, *, name):
    """Read rows of an image, given by their numbers, into a buffer.

    Parameters
    ----------
    descriptor, hdu, name
        See `read_rows`.
    rows : sequence of int
    buffer : numpy.ndarray of shape (k, nx), the stored type
        Contiguous.

    Raises
    ------
    FrameError
        See `read_rows`.
    """
    size, view = _row_bytes(hdu), memoryview(buffer).cast("B")
    places = (
        (hdu.offset + row * size, view[number * size : (number + 1) * size])
        for number, row in enumerate(rows)
    )
    _read_into(descriptor, places, name)


def _row_bytes(hdu):
    """Return the bytes of a row of an image."""
    return hdu.shape[1] * np.dtype(hdu.dtype).itemsize


def _read_into(descriptor, places, name):
    """Fill views with the bytes of a file; `places` are pairs of an offset in it and a view."""
    try:
        for offset, view in places:
            while view:
                count = os.preadv(descriptor, [view], offset)
                if not count:
                    raise DamagedProduct("the product is cut", file=name, remedy=MAKE_AGAIN)
                view, offset = view[count:], offset + count
    except OSError as error:
        raise DamagedProduct(
            f"cannot be read ({error.strerror})", file=name, remedy=action_of(error)
        ) from None


class Plane:
    """One HDU that is being written: a header of known size, and an image by rows.

    Parameters
    ----------
    make_header : callable
        Takes the checksum sum of the pixels and returns the bytes of the header, always as many.
    shape : (int, int), optional
        (ny, nx); None without an image.
    dtype : str, optional
        Big-endian type of the pixels.

    Attributes
    ----------
    word_sum : int
        FITS checksum sum of the pixels so far.
    header_size, size : int
        Bytes of the header with its padding, and of the pixels without.
    start : int
        Offset of the header in the file.
    bytes_written : int
        Bytes of pixels written so far.
    """

    def __init__(self, make_header, shape=None, dtype=">f4"):
        self.make_header = make_header
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.word_sum = 0
        self.header_size = len(make_header(0))
        self.size = 0 if shape is None else shape[0] * shape[1] * self.dtype.itemsize
        self.start = self.bytes_written = 0

    @property
    def end(self):
        """First byte after the padded pixels."""
        return self.start + self.header_size + -(-self.size // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES

    def check_written(self, name, header):
        """Raise an error unless pixels and header have as many bytes as were foreseen.

        Parameters
        ----------
        name : str
            File and HDU, named in the error.
        header : bytes

        Raises
        ------
        RuntimeError
            If one of them has more or fewer bytes.
        """
        sizes = (self.bytes_written, len(header))
        if sizes != (self.size, self.header_size):
            raise RuntimeError(
                f"{name}: {sizes[0]} bytes of pixels and {sizes[1]} of header were written; "
                f"{self.size} and {self.header_size} were foreseen"
            )


class PlanesWriter:
    """A FITS file of several images that are written side by side, headers last.

    The file gets its name when it is whole (`ccdflow.files.atomic_write.Part`).

    Parameters
    ----------
    path : path-like
    planes : list of Plane
        In the order of the file.
    """

    def __init__(self, path, planes):
        self._path = path
        self._part = atomic_write.Part(path)
        self._planes = planes
        offset = 0
        for plane in planes:
            plane.start = offset
            offset = plane.end

    def __enter__(self):
        self._part.__enter__()
        return self

    def write(self, plane, block):
        """Write the next rows of a plane.

        Parameters
        ----------
        plane : Plane
        block : numpy.ndarray of shape (k, nx), native float32 or int16
            Big-endian afterwards. All but the last block of a plane hold a multiple of four bytes.
        """
        plane.word_sum = checksum.fits_sum_of(plane.word_sum, swap_bytes(block))
        data = memoryview(block).cast("B")
        self._part.write_at(data, plane.start + plane.header_size + plane.bytes_written)
        plane.bytes_written += len(data)

    def read(self, plane, first, stop):
        """Return rows of a plane that were written, (k, nx) in native byte order.

        Parameters
        ----------
        plane : Plane
        first, stop : int
            The range of rows.

        Returns
        -------
        numpy.ndarray of shape (stop - first, nx), of the image's type, native

        Raises
        ------
        RuntimeError
            If the rows are not written yet.
        """
        step = plane.shape[1] * plane.dtype.itemsize
        start = plane.start + plane.header_size + first * step
        content = bytearray((stop - first) * step)
        view = memoryview(content)
        while view:
            count = os.preadv(self._part.file.fileno(), [view], start)
            if not count:
                raise RuntimeError(f"{self._path}: rows {first} to {stop} are not written yet")
            view, start = view[count:], start + count
        rows = np.frombuffer(content, plane.dtype).reshape(stop - first, plane.shape[1])
        return rows.astype(plane.dtype.newbyteorder("="))

    def finish(self):
        """Write the padding and the headers, give the file its name, and return the headers."""
        headers = []
        for number, plane in enumerate(self._planes):
            header = plane.make_header(plane.word_sum)
            plane.check_written(f"{self._path}, HDU {number}", header)
            end_of_pixels = plane.start + plane.header_size + plane.size
            self._part.write_at(bytes(plane.end - end_of_pixels), end_of_pixels)
            self._part.write_at(header, plane.start)
            headers.append(header)
        self._part.keep()
        return headers

    def __exit__(self, *error):
        self._part.__exit__(*error)


def swap_bytes(block):
    """Turn contiguous numbers into big-endian in place and return their checksum sum.

    Parameters
    ----------
    block : numpy.ndarray of any shape
        Native int16, float32 or float64.

    Returns
    -------
    int
        See `ccdflow.files.checksum.sum_words`.
    """
    flat = block.reshape(-1).view(f"u{block.itemsize}")
    even_words = flat[: flat.size // 2 * 2] if flat.itemsize == 2 else flat
    total = int(even_words.view(np.uint32).sum(dtype=np.uint64))
    if flat.itemsize == 2:
        # The halves of a little-endian word are swapped. A product of the word with 65536, to which
        # its carries are added, swaps them back.
        total <<= 16
        if flat.size % 2:
            total += int(flat[-1]) << 16
    np.copyto(flat.view(flat.dtype.newbyteorder(">")), flat)
    return checksum.fits_sum_of(total)
