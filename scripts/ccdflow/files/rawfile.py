"""Reading raw files: bytes and headers, nothing about cameras.

A raw frame is inflated once, into a buffer that is used again, and only as far as its own header
promises: a file that holds more, or asks for more memory than allowed, is refused first.
"""

from __future__ import annotations

import io
import mmap
import os
import stat
import threading
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path

from isal import igzip, igzip_lib, isal_zlib

from ccdflow.errors import FrameError
from ccdflow.files.promised import BLOCK, Hdu, RawLayout, data_size, ends, parse_header, readable

_GZIP_MAGIC = b"\x1f\x8b"
_FIRST_READ = 8192
_CHUNK = 1 << 20
MAX_HEADER = 4 << 20
# Bytes looked for behind the promised end: those of a damaged stream lead to its checksum.
BEYOND = 1 << 16


class Incomplete(FrameError):
    """The file ends before what it promises: it may still be being written."""


class Unreadable(FrameError):
    """The file cannot be opened or read: nothing is known of what it holds."""


class _Stream:
    """The inflated bytes of a raw file, read forwards, never more than `_CHUNK` of them at a time.

    However much a few bytes of gzip inflate to, no more than what is asked for is held.
    """

    def __init__(self, file, path, packed):
        self._file = file
        self._path = path
        self._inflate = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP) if packed else None
        self._packed = b""
        self._buffer = bytearray()
        self._start = 0
        self.crc = 0
        self.end_seen = False

    def _more(self, size):
        """Return some inflated bytes, b'' at the end; the file is read ``size`` bytes at a time."""
        out = b""
        if self._inflate is None:
            out = self._file.read(min(size, _CHUNK))
        while self._inflate is not None and not out:
            if self._inflate.eof and not self._next_member(size):
                break
            if self._inflate.needs_input and not self._packed:
                self._packed = self._file.read(size)
                if not self._packed:
                    break
            try:
                out = self._inflate.decompress(self._packed, _CHUNK)
            except igzip_lib.error as error:
                raise _damaged_stream(self._path, error) from None
            self._packed = b""
        self.end_seen = not out
        self.crc = isal_zlib.crc32(out, self.crc)
        return out

    def _next_member(self, size):
        """Begin with what follows the end of a gzip member; tell whether there is one.

        pigz and bgzip write files of several members. Zeros may follow the last one.
        """
        rest = self._inflate.unused_data.lstrip(b"\0")
        while len(rest) < len(_GZIP_MAGIC):
            more = self._file.read(size)
            if not more:
                break
            rest = (rest + more).lstrip(b"\0")
        if not rest:
            return False
        if not rest.startswith(_GZIP_MAGIC):
            raise _damaged_stream(self._path, "something else follows it")
        self._inflate = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
        self._packed = rest
        return True

    def at(self, offset, size, step=_CHUNK):
        """Return up to ``size`` bytes from ``offset`` on; what lies before is forgotten."""
        while self._start + len(self._buffer) < offset + size and not self.end_seen:
            self._buffer += self._more(step)
            drop = min(offset - self._start, len(self._buffer))
            if drop > 0:
                del self._buffer[:drop]
                self._start += drop
        first = offset - self._start
        return bytes(self._buffer[first : first + size])

    def finish(self, most):
        """Read to the end and return the number of bytes, `FrameError` beyond ``most`` of them."""
        count = self._start + len(self._buffer)
        self._buffer.clear()
        while count <= most and not self.end_seen:
            count += len(self._more(_CHUNK))
        if count > most:
            raise _too_long(self._path, most)
        if self._inflate is not None and not self._inflate.eof:
            raise damaged(self._path, "gzip stream ends early: the file is truncated", Incomplete)
        return count


def damaged(path, problem, kind=FrameError):
    """Return the error of a file whose bytes are not as they were written."""
    return kind(problem, file=path, remedy="copy the file again from where it came from")


def _damaged_stream(path, error):
    return damaged(path, f"gzip stream is damaged ({error})")


def _truncated(path, actual, length):
    problem = f"the file is truncated: {actual} bytes, its header promises {length}"
    return damaged(path, problem, Incomplete)


def _unreadable(path, error):
    return Unreadable(
        f"cannot be read ({os.strerror(error.errno) if error.errno else error})",
        file=path,
        remedy="check that the file exists, its permissions and its disk",
    )


def _too_long(path, most):
    return FrameError(
        f"the file holds more than the {most} bytes that its headers promise",
        file=path,
        remedy="it is refused before the memory is taken; check where it came from",
    )


def read_layout(path, *, name=None, memory=None):
    """Read the headers of a raw file, inflating no more of it than they need.

    Parameters
    ----------
    path : path-like
        The raw file, plain or gzip, by its content.
    name : str, optional
        The name that errors carry; the path if absent.
    memory : int, optional
        The most bytes that one frame may ask for; what asks for more is not read any further.

    Returns
    -------
    RawLayout

    Raises
    ------
    Incomplete
        If the file is empty or truncated.
    Unreadable
        If it cannot be opened or read.
    FrameError
        If it is not FITS, is damaged, or asks for more than ``memory``.
    """
    name = str(path) if name is None else name
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            return _layout(file, name, memory)
    except OSError as error:
        raise _unreadable(name, error) from None


def _open_at_once(path, flags):
    """Open a file; a named pipe, which nobody may ever write to, is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _layout(file, name, memory):
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not a regular file", file=name, remedy="move it out of the raw folder")
    size = status.st_size
    if size == 0:
        raise damaged(name, "the file is empty", Incomplete)
    packed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    stream = _Stream(file, name, packed)
    if packed:
        promised_crc, promised_length = _trailer(file, size, name)
    else:
        promised_length = size
    hdus = []
    offset = 0
    while not hdus or offset < promised_length:
        text, after = _header_at(stream, offset, name, first=not hdus)
        if text is None:
            break
        header = parse_header(text)
        hdus.append(Hdu(header, after, data_size(header, name), readable(text)))
        offset = hdus[-1].end
        if memory is not None:
            check_memory(offset, memory, name)
    length = hdus[-1].offset + hdus[-1].size
    if packed and promised_length in (length % 2**32, offset % 2**32):
        # Both the trailer and the headers say how long the file is: it need not be inflated.
        actual, crc = max(promised_length, length), promised_crc
    else:
        # Of several gzip members, truncated, or followed by something: only the stream knows.
        if not packed and size > offset:
            raise _too_long(name, offset)
        actual = stream.finish(offset)
        crc = stream.crc
    if actual < length:
        raise _truncated(name, actual, length)
    return RawLayout(tuple(hdus), f"{crc:08x}-{actual:x}", length)


def _trailer(file, size, name):
    if size < 18:
        raise damaged(name, "gzip stream ends early: the file is truncated", Incomplete)
    file.seek(-8, os.SEEK_END)
    tail = file.read(8)
    file.seek(0)
    return int.from_bytes(tail[:4], "little"), int.from_bytes(tail[4:], "little")


def _header_at(stream, offset, name, *, first):
    """Return the bytes of the header at an offset and where its data start, or (None, offset)."""
    text = bytearray()
    while True:
        block = stream.at(offset + len(text), BLOCK, _FIRST_READ)
        if not text:
            wanted = b"SIMPLE  =" if first else b"XTENSION="
            if not block.startswith(wanted):
                if first and (wanted.startswith(block) or _GZIP_MAGIC.startswith(block)):
                    raise damaged(name, "the file is truncated: it has no header", Incomplete)
                if first:
                    raise FrameError(
                        "not a FITS file: it does not begin with SIMPLE",
                        file=name,
                        value=bytes(block[:8]).decode("ascii", "replace"),
                        remedy="move it out of the raw folder",
                    )
                return None, offset
        text += block
        if ends(block):
            break
        if len(block) < BLOCK:
            problem = "the file is truncated: its header has no END card"
            raise damaged(name, problem, Incomplete)
        if len(text) > MAX_HEADER:
            raise FrameError(
                f"the header has no END card within {MAX_HEADER} bytes",
                file=name,
                remedy="move it out of the raw folder",
            )
    return bytes(text), offset + len(text)


class _Scratch(threading.local):
    """A buffer of bytes for each thread, used again: fresh pages cost half of the time here."""

    def __init__(self):
        self.buffers = {}

    def get(self, use, size):
        """Return a writable memoryview of ``size`` bytes; it is valid until the next call."""
        have = self.buffers.get(use)
        if have is None or len(have) < size:
            self.buffers.pop(use, None)
            have = self.buffers[use] = mmap.mmap(-1, max(size, 1))
        return memoryview(have)[:size]


scratch = _Scratch()


def read_bytes(path, layout, *, memory, name=None):
    """Inflate a raw file into this thread's buffer.

    Parameters
    ----------
    path : path-like
    layout : RawLayout
        What `read_layout` found; no more than it promises is ever inflated.
    memory : int
        The most bytes that one frame may ask for.
    name : str, optional

    Returns
    -------
    memoryview
        The FITS file's bytes, valid until this thread reads its next frame.

    Raises
    ------
    Incomplete
        If the file is truncated.
    Unreadable
        If it cannot be opened or read.
    FrameError
        If the frame asks for more than ``memory``, holds more than its headers promise, or its
        gzip checksum does not fit.
    """
    name = str(path) if name is None else name
    check_memory(layout.length, memory, name)
    end = layout.hdus[-1].end
    buffer = scratch.get("raw", end + BEYOND)
    with reading(name), open_raw(path) as file:
        got = fill(file, buffer)
    check_length(got, got > end, layout, name)
    return buffer[:got]


def open_raw(path):
    """Open a raw file, plain or gzip by its content, for its inflated bytes."""
    with ExitStack() as stack:
        file = stack.enter_context(Path(path).open("rb", buffering=0))
        packed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        stack.pop_all()
    return _Inflated(file) if packed else file


class _Inflated(io.RawIOBase):
    """A gzip file's inflated bytes, put straight into the reader's buffer.

    ``igzip.open`` gives the same bytes by way of two more copies, each into new pages. The reader
    inside it, which checks checksum and length, can do without them.
    """

    def __init__(self, file):
        self._file = file
        self._reader = isal_zlib._GzipReader(file, igzip.READ_BUFFER_SIZE)

    def readable(self):
        """Say yes."""
        return True

    def readinto(self, buffer):
        """Fill (part of) a buffer; 0 at the end."""
        return self._reader.readinto(buffer)

    def close(self):
        """Close the file."""
        self._file.close()
        super().close()


@contextmanager
def reading(name):
    """Make a `FrameError` of what goes wrong while a raw file is read."""
    try:
        yield
    except (igzip.BadGzipFile, igzip_lib.error, isal_zlib.error, zlib.error) as error:
        raise _damaged_stream(name, error) from None
    except EOFError:
        problem = "gzip stream ends early: the file is truncated"
        raise damaged(name, problem, Incomplete) from None
    except OSError as error:
        raise _unreadable(name, error) from None


def check_length(got, more, layout, name):
    """Raise `FrameError` if a file holds more than its headers promise, or less.

    Parameters
    ----------
    got : int
        Bytes read.
    more : bool
        Whether there are more behind them.
    layout : RawLayout
    name : str
    """
    if more:
        raise _too_long(name, layout.hdus[-1].end)
    if got < layout.length:
        raise _truncated(name, got, layout.length)


def check_memory(size, memory, name):
    """Raise `FrameError` if a frame's headers ask for more bytes than the limit."""
    if size > memory:
        raise FrameError(
            f"the header asks for {size / 1e6:.0f} MB of pixels, more than the limit",
            file=name,
            keyword="NAXIS",
            allowed=f"at most {memory / 1e6:.0f} MB",
            remedy="raise limits: frame_memory in config/config.yaml if the frame is real",
        )


def fill(file, buffer):
    """Read into a buffer until it is full or the file ends; return the number of bytes."""
    got = 0
    while got < len(buffer):
        count = file.readinto(buffer[got:])
        if not count:
            break
        got += count
    return got
