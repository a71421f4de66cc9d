"""The bytes of files that bzip2 or xz packed; `gzip_inflation` has a faster reader for gzip."""

from __future__ import annotations

import bz2
import io
import lzma

from ccdflow.files.file_errors import IncompleteRawFile, damaged_error
from ccdflow.files.streams import CHUNK, Slices, StreamUnpacker

# Unpacking xz may take at most this many bytes of memory: xz -9 wants 65 MB, and a file may ask for
# 4 GB.
_MOST_MEMORY_BYTES = 1 << 28
# The first bytes of packed files, the name of their packing, and the maker of its decompressors.
_PACKINGS = (
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (
        b"\xfd7zXZ\x00",
        "xz",
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY_BYTES),
    ),
)
# Errors of decompressors for damaged bytes.
_DECOMPRESSION_ERRORS = (OSError, ValueError, lzma.LZMAError)


def packing_of(start):
    """Return (magic, name, maker of decompressors) by the first bytes of a file, or None."""
    return next((packing for packing in _PACKINGS if start.startswith(packing[0])), None)


class UnpackedFile(io.RawIOBase):
    """The unpacked bytes of a file, forwards only, never more than a megabyte of them held.

    Parameters
    ----------
    file : file object
        At its first byte; not closed with this.
    name : str
        The name that errors carry.
    packing : tuple of (bytes, str, callable)
        As `packing_of` gives it.
    """

    def __init__(self, file, name, packing):
        magic, self._packing_name, new_decompressor = packing
        slices = Slices(file, name, self._packing_name, magic)
        self._name = name
        self._unpacker = StreamUnpacker(slices, new_decompressor, _DECOMPRESSION_ERRORS)
        self._buffer = b""

    def readable(self):
        """Return True: the file is open for reading."""
        return True

    def readinto(self, buffer):
        """Fill (part of) a buffer; 0 at the end."""
        if not self._buffer:
            self._buffer = self._read_more()
        part = self._buffer[: len(buffer)]
        buffer[: len(part)] = part
        self._buffer = self._buffer[len(part) :]
        return len(part)

    def _read_more(self):
        """Return some unpacked bytes, b'' at the end."""
        unpacked = self._unpacker.read(CHUNK)
        if not unpacked and not self._unpacker.is_complete:
            problem = f"{self._packing_name} stream ends early: the file is truncated"
            raise damaged_error(self._name, problem, IncompleteRawFile)
        return unpacked
