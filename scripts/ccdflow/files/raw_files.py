"""Reading raw files: bytes and headers, nothing about cameras.

A raw file is opened once, so that headers, fingerprint and pixels are of the same bytes. It is
inflated into a buffer that is used again, and no more of it than its headers promise. A file that
holds more bytes, or asks for more memory than allowed, is refused.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat

from isal import isal_zlib

from ccdflow.errors import FrameError
from ccdflow.files.decompression import UnpackedFile, packing_of
from ccdflow.files.file_access import open_at_once, stamp_of_status
from ccdflow.files.file_errors import (
    ChangedRawFile,
    IncompleteRawFile,
    check_length,
    check_memory,
    damaged_error,
    irregular_error,
    raw_file_errors,
    too_long_error,
    truncated_error,
)
from ccdflow.files.fits_structure import (
    EXTENSION_START,
    FITS_BLOCK_BYTES,
    PRIMARY_START,
    Hdu,
    RawLayout,
    data_size,
    has_end_card,
    parse_header,
    tiled_size,
)
from ccdflow.files.gzip_inflation import GZIP_MAGIC, GzipFile, InflatedStart, RawStream, fill_buffer
from ccdflow.files.remembered_results import Remembered
from ccdflow.files.streams import FIRST_SLICE
from ccdflow.files.thread_buffers import thread_buffer

# Bytes of the file that are read at a time for headers: most headers are not longer.
_HEADER_READ_BYTES = 8192

MOST_HEADER_BYTES = 4 << 20
"""One header has at most this many bytes."""

# All headers of one file have at most this many bytes.
_MOST_BYTES_OF_ALL_HEADERS = 16 << 20
# A file has at most this many HDUs.
_MOST_HDUS = 2000

BYTES_BEYOND_END = 1 << 16
"""Bytes read after the promised end: in a damaged stream the checksum may be among them."""

# Packed bytes read at once for their checksum.
_CHECKSUM_CHUNK = 1 << 16
# Bytes of the header and trailer of a gzip file, the least that one can have.
_LEAST_GZIP_BYTES = 18
# A packed file may be this many bytes larger than twice its promised content. Chosen: a megabyte of
# zeros may follow the last stream, as on a tape.
_PACKING_OVERHEAD = 2 << 20


def open_raw(path, name=None):
    """Open a raw file, plain or packed by gzip, bzip2 or xz, by its content.

    Parameters
    ----------
    path : path-like
    name : str, optional
        The name that errors carry; the path if absent.

    Returns
    -------
    RawFile

    Raises
    ------
    OSError
        If it cannot be opened.
    ccdflow.files.file_errors.UnreadableRawFile
        If it is not a regular file.
    IncompleteRawFile
        If it is empty.
    """
    name = str(path) if name is None else name
    try:
        file = io.FileIO(path, opener=open_at_once)
    except OSError as error:
        # The system opens no socket, and no device without a driver.
        if error.errno == errno.ENXIO and not os.path.isfile(path):  # noqa: PTH113
            raise irregular_error(name) from None
        raise
    try:
        return RawFile(file, name)
    except BaseException:
        file.close()
        raise


class RawFile(io.RawIOBase):
    """A raw file that is open; as a file object it gives the inflated bytes.

    Parameters
    ----------
    file : file object
        Unbuffered; closed with this.
    name : str
        The name that errors carry.

    Attributes
    ----------
    stamp : tuple of int
        Size, mtime and ctime (ns) of the file that is open.
    headers : list of astropy.io.fits.Header
        Headers that `layout` could read, also those of a file that is cut off after them.
    """

    def __init__(self, file, name):
        self._file = file
        self._name = name
        self.headers = []
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise irregular_error(name)
        self.stamp = stamp_of_status(status)
        if not status.st_size:
            raise damaged_error(name, "the file is empty", IncompleteRawFile)
        self._start = file.read(FIRST_SLICE)
        self._is_gzip = self._start.startswith(GZIP_MAGIC)
        self._packing = None if self._is_gzip else packing_of(self._start)
        # The end of a gzip file and its inflated first header, once `read_ahead` was called.
        self._trailer = self._inflated = None
        self._begin(())

    def _begin(self, hdus):
        """Begin at the first byte; bytes read later are compared with the headers of some HDUs."""
        self._source = None
        self._expected_headers = [(hdu.offset - len(hdu.raw), hdu.raw) for hdu in hdus]
        self._crc = self._length = 0
        self._has_expected_headers = True

    def _unpacking_reader(self):
        """Return the reader of the file's unpacked bytes, from the first one on."""
        self._file.seek(0)
        if self._packing:
            return UnpackedFile(self._file, self._name, self._packing)
        return GzipFile(self._file) if self._is_gzip else self._file

    def read_ahead(self):
        """Read the bytes that most layouts need, and inflate the first header of a gzip file.

        Raises
        ------
        FrameError
            If the file cannot be read, or is too short for gzip.
        """
        if self._is_gzip:
            with raw_file_errors(self._name):
                self._trailer = _gzip_trailer(self._file, self.stamp[0], self._name)
                self._inflated = InflatedStart(self._start)
                self._inflated.inflate_header()

    def layout(self, *, memory=None, reads_whole_file=True):
        """Return the layout by the headers, inflating no more of the file than they need.

        Parameters
        ----------
        memory : int, optional
            The most bytes that one frame may ask for; a larger one is not read any further.
        reads_whole_file : bool, optional
            Whether a file without a checksum of its own is read to its end for its fingerprint.

        Returns
        -------
        RawLayout

        Raises
        ------
        FrameError
            If the file cannot be read, is damaged or incomplete, or a header is not valid.
        ChangedRawFile
            If it was written to since it was opened.
        """
        with raw_file_errors(self._name):
            layout = self._layout(memory, reads_whole_file)
            if stamp_of_status(os.fstat(self._file.fileno())) != self.stamp:
                raise ChangedRawFile(self._name)
            return layout

    def _layout(self, memory, reads_whole_file):
        """Read all headers; return the layout that they promise, with the place of each HDU."""
        name, size = self._name, self.stamp[0]
        crc, promised_bytes, inflated_start = None, size, None
        if self._is_gzip:
            crc, promised_bytes = self._trailer or _gzip_trailer(self._file, size, name)
            inflated_start = self._inflated or InflatedStart(self._start)
            self._trailer = self._inflated = None
        elif self._packing:
            # Files of bzip2 and xz do not state their unpacked length.
            promised_bytes = math.inf
        self._file.seek(0)
        source = self._unpacking_reader() if self._packing else self._file
        stream = RawStream(source, name, self._is_gzip, inflated_start)
        self.headers = []
        hdus = _read_hdus(stream, promised_bytes, memory, name, self.headers)
        offset = hdus[-1].end
        length = hdus[-1].offset + hdus[-1].size
        is_packed = self._is_gzip or self._packing
        if size > (2 * offset + _PACKING_OVERHEAD if is_packed else offset):
            raise too_long_error(name, offset)
        if self._is_gzip and promised_bytes in (length % 2**32, offset % 2**32):
            # Trailer and headers agree on the length: the file need not be inflated.
            n_bytes, is_checked = max(promised_bytes, length), False
        elif not self._is_gzip and not reads_whole_file:
            n_bytes, is_checked = length if self._packing else size, False
        else:
            # Only reading it all shows the length of a stream: it may have several gzip members, be
            # truncated, or be longer than promised.
            n_bytes, is_checked = stream.finish(offset), True
            crc = stream.crc
        if n_bytes < length:
            raise truncated_error(name, n_bytes, length)
        fingerprint = "" if crc is None else _fingerprint_text(crc, n_bytes)
        return RawLayout(tuple(hdus), fingerprint, length, is_checked)

    def bytes_checksum(self):
        """Return the CRC-32 of the bytes on the disk as eight hexadecimal digits.

        For a packed file this takes a tenth of the time of inflating.

        Raises
        ------
        ChangedRawFile
            If the file was written to since it was opened.
        ccdflow.files.file_errors.UnreadableRawFile
            If it cannot be read.
        """
        crc, buffer = 0, memoryview(bytearray(_CHECKSUM_CHUNK))
        with raw_file_errors(self._name):
            self._file.seek(0)
            while count := self._file.readinto(buffer):
                crc = isal_zlib.crc32(buffer[:count], crc)
            if stamp_of_status(os.fstat(self._file.fileno())) != self.stamp:
                raise ChangedRawFile(self._name)
        return f"{crc:08x}"

    def rewind(self, layout):
        """Go back to the first byte, to read the file whose layout is given."""
        self._begin(layout.hdus)

    def readable(self):
        """Return True: the file is open for reading."""
        return True

    def readinto(self, buffer):
        """Fill (part of) a buffer with inflated bytes; 0 at the end."""
        if self._source is None:
            self._source = self._unpacking_reader()
        count = self._source.readinto(buffer)
        if count:
            first, self._length = self._length, self._length + count
            part = memoryview(buffer).cast("B")[:count]
            self._crc = isal_zlib.crc32(part, self._crc)
            self._compare_headers(part, first)
        return count

    def _compare_headers(self, part, first):
        """Compare inflated bytes from a place in the file on with the expected headers."""
        for start, raw in self._expected_headers:
            low, high = max(first, start), min(first + len(part), start + len(raw))
            if low < high and part[low - first : high - first] != raw[low - start : high - start]:
                self._has_expected_headers = False

    def check(self, fingerprint):
        """Raise `ChangedRawFile` unless the bytes read since `rewind` are those of a fingerprint.

        Parameters
        ----------
        fingerprint : str
            Fingerprint of the file that is expected; '' if only its headers are compared.

        Raises
        ------
        ChangedRawFile
            If headers or content differ from those that are expected.
        """
        present_fingerprint = _fingerprint_text(self._crc, self._length)
        if not self._has_expected_headers or fingerprint not in ("", present_fingerprint):
            raise ChangedRawFile(self._name)

    def read_all(self, layout, *, memory, fingerprint=None):
        """Inflate the file into this thread's buffer.

        Parameters
        ----------
        layout : RawLayout
            Result of `layout`; no more than it promises is ever inflated.
        memory : int
            The most bytes that one frame may ask for.
        fingerprint : str, optional
            Fingerprint of the content that is expected; that of the layout if absent.

        Returns
        -------
        memoryview
            The FITS file's bytes, valid until this thread reads its next frame.

        Raises
        ------
        FrameError
            If the file is damaged, incomplete or too long, or asks for more memory than allowed.
        ChangedRawFile
            If its bytes are not those of the layout or the fingerprint.
        """
        check_memory(layout.length, memory, self._name)
        end = layout.hdus[-1].end
        buffer = thread_buffer("raw", end + BYTES_BEYOND_END)
        with raw_file_errors(self._name):
            self.rewind(layout)
            count = fill_buffer(self, buffer)
        check_length(count, count > end, layout, self._name)
        self.check(layout.fingerprint if fingerprint is None else fingerprint)
        return buffer[:count]

    def close(self):
        """Close the file."""
        self._file.close()
        super().close()


def _fingerprint_text(crc, length):
    """Return the fingerprint of a FITS file by its CRC-32 and length, as hexadecimal digits."""
    return f"{crc:08x}-{length:x}"


def _read_hdus(stream, length, memory, name, parsed_headers):
    """Return the HDUs of a file: the first one, and the extensions that follow it.

    Parameters
    ----------
    stream : ccdflow.files.gzip_inflation.RawStream
    length : float
        Bytes of the file as unpacked; infinite where it is not known.
    memory : int or None
        The most bytes that an image may take; None for any.
    name : str
        Named in errors.
    parsed_headers : list of astropy.io.fits.Header
        Gets the headers one by one, so that those before a fault are known.
    """
    hdus, offset, header_bytes, largest_image = [], 0, 0, 0
    while not hdus or offset < length:
        text, data_start = _header_at(stream, offset, name, is_first=not hdus)
        if text is None:
            break
        header_bytes += len(text)
        if len(hdus) == _MOST_HDUS or header_bytes > _MOST_BYTES_OF_ALL_HEADERS:
            raise FrameError(
                "the file has more headers than any camera writes",
                file=name,
                keyword="headers",
                allowed=f"{_MOST_HDUS} HDUs, {_MOST_BYTES_OF_ALL_HEADERS >> 20} MB of headers",
                remedy="move it out of the raw folder",
            )
        header = parse_header(text)
        parsed_headers.append(header)
        size, image_bytes = _remembered_sizes(
            "sizes", lambda headers: _sizes_of(headers, name), [header]
        )
        hdus.append(Hdu(header, data_start, size, text))
        offset = hdus[-1].end
        # A few bytes of compressed tiles may expand to an image of any size.
        largest_image = max(largest_image, image_bytes)
        if memory is not None:
            check_memory(max(offset, largest_image), memory, name)
    return hdus


# Thousands of files have the same cards on the size of their data.
_remembered_sizes = Remembered()


def _sizes_of(headers, name):
    """Return the sizes that a header promises, bytes: its data, and the image in its tiles."""
    return data_size(headers[0], name), tiled_size(headers[0], name)


def _gzip_trailer(file, size, name):
    """Return CRC-32 and length (modulo 2^32) that a gzip file ends with."""
    if size < _LEAST_GZIP_BYTES:
        raise damaged_error(
            name, "gzip stream ends early: the file is truncated", IncompleteRawFile
        )
    tail = os.pread(file.fileno(), 8, size - 8)
    return int.from_bytes(tail[:4], "little"), int.from_bytes(tail[4:], "little")


def _header_at(stream, offset, name, *, is_first):
    """Return the bytes of the header at an offset and where its data start, or (None, offset).

    Parameters
    ----------
    stream : ccdflow.files.gzip_inflation.RawStream
        The open file.
    offset : int
    name : str
        Name of the file, for errors.
    is_first : bool
        Whether the header is that of the first HDU.
    """
    first_block = stream.read_at(offset, FITS_BLOCK_BYTES, _HEADER_READ_BYTES)
    if not is_first and not first_block.startswith(EXTENSION_START):
        return None, offset
    if is_first and not first_block.startswith(PRIMARY_START):
        raise _error_of_other_file(first_block, name)
    blocks, after = [first_block], offset + len(first_block)
    while not has_end_card(blocks[-1]):
        if len(blocks[-1]) < FITS_BLOCK_BYTES:
            problem = "the file is truncated: its header has no END card"
            raise damaged_error(name, problem, IncompleteRawFile)
        if after - offset > MOST_HEADER_BYTES:
            raise FrameError(
                f"the header has no END card within {MOST_HEADER_BYTES} bytes",
                file=name,
                remedy="move it out of the raw folder",
            )
        blocks.append(stream.read_at(after, FITS_BLOCK_BYTES, _HEADER_READ_BYTES))
        after += len(blocks[-1])
    return b"".join(blocks), after


def _error_of_other_file(start, name):
    """Return the error of a file that does not begin as FITS does, by its first bytes."""
    if PRIMARY_START.startswith(start) or GZIP_MAGIC.startswith(start):
        return damaged_error(name, "the file is truncated: it has no header", IncompleteRawFile)
    return FrameError(
        "not a FITS file: it does not begin with SIMPLE",
        file=name,
        keyword="SIMPLE",
        value=bytes(start[:8]).decode("ascii", "replace"),
        remedy="move it out of the raw folder",
    )
