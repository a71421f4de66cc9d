"""The bytes of files that bzip2 or xz packed; files of gzip have their own, faster way."""

from __future__ import annotations

import bz2
import io
import lzma

from ccdflow.files.file_errors import IncompleteRawFile, damaged_error
from ccdflow.files.streams import CHUNK, Slices

# Bytes that unpacking may take: xz -9 wants 65 MB, and a file may ask for 4 GB.
_MEMORY = 1 << 28
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
        self._held = b""
        self._begin()

    def _begin(self):
        self._unpack, self._gave = self._make(), False

    def readable(self):
        """Say yes."""
        return True

    def readinto(self, buffer):
        """Fill (part of) a buffer; 0 at the end."""
        if not self._held:
            self._held = self._more()
        part = self._held[: len(buffer)]
        buffer[: len(part)] = part
        self._held = self._held[len(part) :]
        return len(part)

    def _more(self):
        """Return some unpacked bytes, b'' at the end."""
        out = b""
        while not out:
            if self._unpack.eof:
                unused = len(self._unpack.unused_data)
                if not self._slices.next_stream(unused, CHUNK, gave=self._gave):
                    return b""
                self._begin()
            packed = self._slices.take(CHUNK) if self._unpack.needs_input else b""
            if self._unpack.needs_input and not packed:
                problem = f"{self._packing} stream ends early: the file is truncated"
                raise damaged_error(self._name, problem, IncompleteRawFile)
            try:
                out = self._unpack.decompress(packed, CHUNK)
            except (OSError, ValueError, lzma.LZMAError) as error:
                raise self._slices.damaged(error) from None
            self._gave = self._gave or bool(out)
        return out
