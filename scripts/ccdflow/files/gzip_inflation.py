"""Inflated bytes of raw files: forwards a little at a time, or straight into a buffer."""

from __future__ import annotations

import zlib

from isal import igzip, igzip_lib, isal_zlib

from ccdflow.files.file_errors import IncompleteRawFile, damaged_error, too_long_error
from ccdflow.files.fits_structure import FITS_BLOCK_BYTES, has_end_card
from ccdflow.files.streams import CHUNK, FIRST_SLICE, Slices, StreamUnpacker

# At most this many bytes of a header are inflated ahead: nearly all headers are shorter, and the
# bytes of many files are kept at once.
_MOST_BYTES_AHEAD = 20 * FITS_BLOCK_BYTES
# The usual card of an HDU without data.
_NO_DATA = b"NAXIS   =                    0"
GZIP_MAGIC = b"\x1f\x8b"
"""The first bytes of a gzip file."""


def _new_decompressor():
    """Return a decompressor of one stream of gzip."""
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)


class RawStream:
    """The inflated bytes of a raw file, read forwards, at most `CHUNK` of them at a time.

    A few bytes of gzip may inflate to gigabytes: besides the bytes asked for, at most `CHUNK` are
    held.

    Parameters
    ----------
    file : file object
        Unbuffered.
    name : str
        The name that errors carry.
    is_packed : bool
        Whether the file is packed by gzip; otherwise its bytes are given as they are.
    inflated_start : InflatedStart, optional
        The first bytes of a packed file.

    Attributes
    ----------
    crc : int
        CRC-32 of the inflated bytes so far.
    has_ended : bool
        Whether the end of the file was reached.
    """

    def __init__(self, file, name, is_packed, inflated_start=None):
        self._file = file
        self._name = name
        self._unpacker, self._is_packed = None, is_packed
        self._buffer = bytearray()
        # Offset of the first byte of the buffer in the inflated file.
        self._buffer_offset = 0
        self.crc = 0
        self.has_ended = False
        self._inflated_start = inflated_start

    def _begin(self):
        """Make the unpacker of a packed file; most files never need one."""
        slices = Slices(self._file, self._name, "gzip", GZIP_MAGIC)
        self._unpacker = StreamUnpacker(slices, _new_decompressor, (igzip_lib.error,))

    def _read_more(self, size):
        """Return some inflated bytes, b'' at the end; the file is read ``size`` bytes at a time."""
        if self._is_packed and self._unpacker is None:
            self._begin()
        if self._unpacker is None:
            inflated = self._file.read(min(size, CHUNK))
        else:
            inflated = self._unpacker.read(size)
        self.has_ended = not inflated
        self.crc = isal_zlib.crc32(inflated, self.crc)
        return inflated

    def read_at(self, offset, size, step=CHUNK):
        """Return up to ``size`` bytes from ``offset`` on; the bytes before are forgotten.

        Parameters
        ----------
        offset : int
            Place in the unpacked bytes, never before that of an earlier call.
        size : int
            Bytes.
        step : int, optional
            Bytes of the file that are read at a time.

        Returns
        -------
        bytes
            Fewer than ``size`` where the file ends.
        """
        if self._inflated_start is not None and (
            inflated := self._inflated_start.bytes_at(offset, size)
        ):
            return inflated
        while self._buffer_offset + len(self._buffer) < offset + size and not self.has_ended:
            self._buffer += self._read_more(step)
            n_dropped = min(offset - self._buffer_offset, len(self._buffer))
            if n_dropped > 0:
                del self._buffer[:n_dropped]
                self._buffer_offset += n_dropped
        first = offset - self._buffer_offset
        return bytes(self._buffer[first : first + size])

    def finish(self, most_bytes):
        """Read to the end and return the number of bytes, at most ``most_bytes``.

        Raises
        ------
        FrameError
            If there are more bytes, the stream ends early (`IncompleteRawFile`) or is damaged.
        """
        count = self._buffer_offset + len(self._buffer)
        self._buffer.clear()
        while count <= most_bytes and not self.has_ended:
            count += len(self._read_more(CHUNK))
        if count > most_bytes:
            raise too_long_error(self._name, most_bytes)
        if self._unpacker is not None and not self._unpacker.is_complete:
            raise damaged_error(
                self._name, "gzip stream ends early: the file is truncated", IncompleteRawFile
            )
        return count


class InflatedStart:
    """The first bytes of a gzip file, inflated when they are needed.

    Most headers end within these bytes, and the pixels that follow take longer to inflate than the
    header. For a few kilobytes zlib is faster than igzip, whose tables are made for pixels. Damage
    is left to igzip, which reports it.

    Parameters
    ----------
    start : bytes
        The first bytes of the file.
    """

    def __init__(self, start):
        # 31: zlib's longest window, 15 bits, and 16 for the header and checksum of gzip.
        self._packed, self._inflate = start[:FIRST_SLICE], zlib.decompressobj(31)
        self._inflated = b""

    def inflate_header(self):
        """Inflate the first header, or its part in these bytes, for later calls of `bytes_at`."""
        for place in range(0, _MOST_BYTES_AHEAD, FITS_BLOCK_BYTES):
            block = self.bytes_at(place, FITS_BLOCK_BYTES)
            if not block:
                return
            if has_end_card(block):
                if _NO_DATA not in self._inflated:
                    # Pixels follow, and no other header. The decompressor, of 40 kB, is not needed
                    # any more.
                    self._packed, self._inflate = b"", None
                return

    def bytes_at(self, offset, size):
        """Return ``size`` bytes from an offset on; b'' if some are damaged or not here.

        Parameters
        ----------
        offset, size : int
            Offset and size of the unpacked bytes.

        Returns
        -------
        bytes
        """
        missing_bytes = offset + size - len(self._inflated)
        if missing_bytes > 0 and self._packed:
            try:
                self._inflated += self._inflate.decompress(self._packed, missing_bytes)
                self._packed = self._inflate.unconsumed_tail
            except zlib.error:
                self._packed = self._inflated = b""
        if offset + size > len(self._inflated):
            return b""
        return self._inflated[offset : offset + size]


class GzipFile:
    """A gzip file's inflated bytes, put straight into the reader's buffer.

    ``igzip.open`` gives the same bytes after two more copies, each into new pages. The reader
    inside it, which checks checksum and length, needs no copies. Its name is private: another
    version of isal may lack it.
    """

    def __init__(self, file):
        reader_class = getattr(isal_zlib, "_GzipReader", None)
        self._reader = (
            igzip.open(file) if reader_class is None else reader_class(file, igzip.READ_BUFFER_SIZE)
        )

    def readinto(self, buffer):
        """Fill (part of) a buffer; 0 at the end."""
        return self._reader.readinto(buffer)


def fill_buffer(file, buffer):
    """Read into a buffer until it is full or the file ends; return the number of bytes.

    Parameters
    ----------
    file : file object
        Open for reading, binary.
    buffer : memoryview
        A buffer of bytes.

    Returns
    -------
    int
    """
    n_filled = 0
    while n_filled < len(buffer):
        count = file.readinto(buffer[n_filled:])
        if not count:
            break
        n_filled += count
    return n_filled
