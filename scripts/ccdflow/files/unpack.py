"""The bytes of files that bzip2 or xz packed; files of gzip have their own, faster way."""

from __future__ import annotations

import bz2
import io
import lzma

from ccdflow.files.file_errors import Incomplete, damaged

_CHUNK = 1 << 20
# Bytes that unpacking may take: xz -9 wants 65 MB, and a file may ask for 4 GB.
_MEMORY = 1 << 28
_PACKINGS = (
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)),
)
LONGEST_MAGIC = 6


def packing_of(start):
    """Return (name, maker of decompressors) for the first bytes of a file, None for any other."""
    found = [(name, make) for magic, name, make in _PACKINGS if start.startswith(magic)]
    return found[0] if found else None


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
        self._file, self._name = file, name
        self._packing, self._make = packing
        self._unpack, self._held = self._make(), b""

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
            data = b""
            if self._unpack.eof:
                data = self._unpack.unused_data or self._file.read(_CHUNK)
                if not data:
                    return b""
                # Several streams may follow one another.
                self._unpack = self._make()
            elif self._unpack.needs_input:
                data = self._file.read(_CHUNK)
                if not data:
                    problem = f"{self._packing} stream ends early: the file is truncated"
                    raise damaged(self._name, problem, Incomplete)
            try:
                out = self._unpack.decompress(data, _CHUNK)
            except (OSError, ValueError, lzma.LZMAError) as error:
                problem = f"{self._packing} stream is damaged ({error})"
                raise damaged(self._name, problem) from None
        return out
