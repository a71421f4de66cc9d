"""The bytes of files that bzip2 or xz packed; `gzip_inflation` has a faster reader for gzip."""

from __future__ import annotations

import bz2
import io
import lzma

from ccdflow.files.file_errors import IncompleteRawFile, damaged_error
from ccdflow.files.streams import CHUNK, Slices

# Bytes that unpacking may take: xz -9 wants 65 MB, and a file may ask for 4 GB.
_MEMORY = 1 << 28
# First bytes, name, and maker of decompressors.
_PACKINGS = (
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)),
)


def packing_of(start):
    """Return (magic, name, maker of decompressors) by the first bytes of a file, or None."""
    return next((packing for packing in _PACKINGS if start.startswith(packing[0])), None)


class Unpacked(io.RawIOBase):
    """The unpacked bytes of a file, forwards only, never more than a megabyte of them held.

    Parameters
    ----------
    file : file object
        At its first byte; not closed with this.
    name : str
        The name that errors carry.
    packing : tuple
        As `packing_of` gives it.
    """

    def __init__(self, file, name, packing):
        magic, self._packing, self._make = packing
        self._name, self._slices = name, Slices(file, name, self._packing, magic)
        self._buffer = b""
        self._begin()

    def _begin(self):
        """Begin a new stream."""
        self._unpack, self._has_output = self._make(), False

    def readable(self):
        """Return True: the file is open for reading."""
        return True

    def readinto(self, buffer):
        """Fill (part of) a buffer; 0 at the end."""
        if not self._buffer:
            self._buffer = self._more()
        part = self._buffer[: len(buffer)]
        buffer[: len(part)] = part
        self._buffer = self._buffer[len(part) :]
        return len(part)

    def _more(self):
        """Return some unpacked bytes, b'' at the end."""
        unpacked = b""
        while not unpacked:
            if self._unpack.eof:
                unused = len(self._unpack.unused_data)
                if not self._slices.next_stream(unused, CHUNK, gave=self._has_output):
                    return b""
                self._begin()
            packed = self._slices.take(CHUNK) if self._unpack.needs_input else b""
            if self._unpack.needs_input and not packed:
                problem = f"{self._packing} stream ends early: the file is truncated"
                raise damaged_error(self._name, problem, IncompleteRawFile)
            try:
                unpacked = self._unpack.decompress(packed, CHUNK)
            except (OSError, ValueError, lzma.LZMAError) as error:
                raise self._slices.damaged(error) from None
            self._has_output = self._has_output or bool(unpacked)
        return unpacked
