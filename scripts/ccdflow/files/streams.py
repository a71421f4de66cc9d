"""The packed bytes of a file that has one or more streams, and their unpacking."""

from __future__ import annotations

import re

from ccdflow.files.file_errors import damaged_error

CHUNK = 1 << 20
"""At most this many bytes of a stream are unpacked at once."""

FIRST_SLICE = 1 << 12
"""Bytes of a stream that are unpacked at first: the decompressor copies the bytes after its end."""

# At most this many zeros, as on a tape, may follow the last stream.
_MOST_ZEROS = 1 << 20
# At most this many empty streams may follow one another: bgzip ends its files with an empty one.
_MOST_EMPTY_STREAMS = 100
# Matches a byte that is not zero.
_NO_ZERO = re.compile(rb"[^\0]")


class Slices:
    """The packed bytes of a file, a slice at a time; a new stream begins with a small one.

    Parameters
    ----------
    file : file object
        Unbuffered.
    name : str
        The name that errors carry.
    packing : str
        Name of the packing, for errors.
    magic : bytes
        The first bytes of each stream.
    """

    def __init__(self, file, name, packing, magic):
        self._file, self._name, self._packing, self._magic = file, name, packing, magic
        # The bytes read last, and how many of them were taken.
        self._block, self._place = b"", 0
        self._slice_bytes, self._n_empty_streams = FIRST_SLICE, 0

    def take(self, size):
        """Return the next bytes, b'' at the end; the file is read ``size`` bytes at a time."""
        if self._place == len(self._block):
            self._block, self._place = self._file.read(size), 0
        packed = self._block[self._place : self._place + self._slice_bytes]
        self._place += len(packed)
        self._slice_bytes = min(2 * self._slice_bytes, CHUNK)
        return packed

    def next_stream(self, unused_bytes, size, *, had_output):
        """Go to the first byte of the next stream; return whether there is one.

        pigz, bgzip and pbzip2 write files of several streams. Zeros may follow the last one.

        Parameters
        ----------
        unused_bytes : int
            Bytes of the last slice that follow the stream.
        size : int
            Bytes of the file to be read at a time.
        had_output : bool
            Whether the stream gave any bytes.

        Returns
        -------
        bool

        Raises
        ------
        ccdflow.files.file_errors.DamagedRawFile
            If something else follows, more zeros than on a tape, or stream after stream of nothing.
        """
        self._n_empty_streams = 0 if had_output else self._n_empty_streams + 1
        if self._n_empty_streams > _MOST_EMPTY_STREAMS:
            raise self.damage_error(
                f"more than {_MOST_EMPTY_STREAMS} empty ones follow one another"
            )
        self._place -= unused_bytes
        n_zeros = 0
        while (match := _NO_ZERO.search(self._block, self._place)) is None:
            n_zeros += len(self._block) - self._place
            if n_zeros > _MOST_ZEROS:
                raise self.damage_error(f"more than {_MOST_ZEROS} zeros follow it")
            self._block, self._place = self._file.read(size), 0
            if not self._block:
                return False
        self._place = match.start()
        if len(self._block) - self._place < len(self._magic):
            self._block, self._place = self._block[self._place :] + self._file.read(size), 0
        if not self._block.startswith(self._magic, self._place):
            raise self.damage_error("something else follows it")
        self._slice_bytes = FIRST_SLICE
        return True

    def damage_error(self, problem):
        """Return the error of a stream that cannot be unpacked.

        Parameters
        ----------
        problem : str or Exception

        Returns
        -------
        ccdflow.errors.FrameError
        """
        return damaged_error(self._name, f"{self._packing} stream is damaged ({problem})")


class StreamUnpacker:
    """The unpacked bytes of a file of one or more packed streams, some of them at a time.

    Parameters
    ----------
    slices : Slices
        The packed bytes.
    new_decompressor : callable
        Returns a decompressor of one stream: of `bz2`, `lzma` or `isal.igzip_lib`.
    errors : tuple of type
        Errors of the decompressor for damaged bytes.
    """

    def __init__(self, slices, new_decompressor, errors):
        self._slices, self._new_decompressor, self._errors = slices, new_decompressor, errors
        self._begin_stream()

    def _begin_stream(self):
        """Begin a stream: nothing of it is unpacked yet."""
        self._decompressor, self._has_output = self._new_decompressor(), False

    @property
    def is_complete(self):
        """Whether the last byte that was read ends a stream: otherwise the file is truncated."""
        return self._decompressor.eof

    def read(self, size):
        """Return some unpacked bytes, b'' at the end of the file.

        Parameters
        ----------
        size : int
            Bytes of the file that are read at a time.

        Returns
        -------
        bytes
            At most `CHUNK`.

        Raises
        ------
        FrameError
            If a stream is damaged, or something else follows it.
        """
        unpacked = b""
        while not unpacked:
            if self._decompressor.eof:
                unused_bytes = len(self._decompressor.unused_data)
                if not self._slices.next_stream(unused_bytes, size, had_output=self._has_output):
                    break
                self._begin_stream()
            packed = self._slices.take(size) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not packed:
                break
            try:
                unpacked = self._decompressor.decompress(packed, CHUNK)
            except self._errors as error:
                raise self._slices.damage_error(error) from None
            self._has_output = self._has_output or bool(unpacked)
        return unpacked
