"""Reading raw frames and writing products: bytes, headers and arrays, nothing about cameras.

A raw frame is inflated once, into a buffer that is used again, and only as far as its own header
promises: a file that holds more, or asks for more memory than allowed, is refused first.
"""

from __future__ import annotations

import io
import mmap
import os
import stat
import threading
import warnings
import zlib
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from isal import igzip, igzip_lib, isal_zlib

from ccdflow import paths
from ccdflow.errors import FrameError
from ccdflow.files.cards import card_value

BLOCK = 2880
_GZIP_MAGIC = b"\x1f\x8b"
_FIRST_READ = 8192
_CHUNK = 1 << 20
_MAX_HEADER = 4 << 20
_ALLOWED = bytes(c if 32 <= c < 127 else 63 for c in range(256))
_SUM_BYTES = 360 * BLOCK
# Bytes looked for behind the promised end: those of a damaged stream lead to its checksum.
BEYOND = 1 << 16
# A thousand times more than any disk holds, and still a number that arithmetic is quick with.
_MOST_BYTES = 10**18
DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_UNSIGNED = {16: (np.uint16, 2**15), 32: (np.uint32, 2**31), 64: (np.uint64, 2**63)}


class Incomplete(FrameError):
    """The file ends before what it promises: it may still be being written."""


class Unreadable(FrameError):
    """The file cannot be opened or read: nothing is known of what it holds."""


@dataclass(frozen=True)
class Hdu:
    """Where an HDU stands in the (inflated) file.

    Attributes
    ----------
    header : astropy.io.fits.Header
    offset : int
        First byte of the data unit.
    size : int
        Bytes of data, without the padding.
    text : str
        The header as it stands, in blocks of 2880 characters; what FITS does not allow are
        question marks.
    """

    header: fits.Header = field(compare=False)
    offset: int
    size: int
    text: str = field(default="", repr=False, compare=False)

    @property
    def end(self):
        """First byte after the padded data unit."""
        return self.offset + -(-self.size // BLOCK) * BLOCK

    @property
    def is_tiled(self):
        """Whether the data are a table of compressed tiles."""
        return card_value(self.header, "ZIMAGE") is True


@dataclass(frozen=True)
class RawLayout:
    """What the first blocks of a raw file tell.

    Attributes
    ----------
    hdus : tuple of Hdu
    fingerprint : str
        CRC-32 and length (hexadecimal) of the FITS file inside.
    length : int
        Bytes that the HDUs promise, padding of the last one not counted.
    """

    hdus: tuple[Hdu, ...]
    fingerprint: str
    length: int

    @property
    def headers(self):
        """The headers, index = HDU number; for compressed tiles those of the image."""
        return [image_header(hdu.header) for hdu in self.hdus]

    @property
    def texts(self):
        """The headers as they stand, index = HDU number; for compressed tiles the table's."""
        return [hdu.text for hdu in self.hdus]


# -- reading headers ---------------------------------------------------------------------------


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
            raise _damaged(self._path, "gzip stream ends early: the file is truncated", Incomplete)
        return count


def _damaged(path, problem, kind=FrameError):
    return kind(problem, file=path, remedy="copy the file again from where it came from")


def _damaged_stream(path, error):
    return _damaged(path, f"gzip stream is damaged ({error})")


def _truncated(path, actual, length):
    problem = f"the file is truncated: {actual} bytes, its header promises {length}"
    return _damaged(path, problem, Incomplete)


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
        raise _damaged(name, "the file is empty", Incomplete)
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
        raise _damaged(name, "gzip stream ends early: the file is truncated", Incomplete)
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
                    raise _damaged(name, "the file is truncated: it has no header", Incomplete)
                if first:
                    raise FrameError(
                        "not a FITS file: it does not begin with SIMPLE",
                        file=name,
                        value=bytes(block[:8]).decode("ascii", "replace"),
                        remedy="move it out of the raw folder",
                    )
                return None, offset
        text += block
        if _ends(block):
            break
        if len(block) < BLOCK:
            problem = "the file is truncated: its header has no END card"
            raise _damaged(name, problem, Incomplete)
        if len(text) > _MAX_HEADER:
            raise FrameError(
                f"the header has no END card within {_MAX_HEADER} bytes",
                file=name,
                remedy="move it out of the raw folder",
            )
    return bytes(text), offset + len(text)


def _ends(block):
    return any(block[i : i + 8] == b"END     " for i in range(0, len(block), 80))


def parse_header(text):
    """Parse the bytes of a header; bytes that FITS does not allow become question marks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fits.Header.fromstring(readable(text))


def readable(text):
    """Return the bytes of a header as text; bytes that FITS does not allow are question marks."""
    return text.translate(_ALLOWED).decode("ascii")


def _number(header, keyword, name, *, low=0, default=None):
    value = card_value(header, keyword) if keyword in header else default
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise FrameError(
            "missing from the header" if value is None else "not a usable number",
            file=name,
            keyword=keyword,
            value=value,
            allowed=f"an integer of at least {low}",
            remedy="the frame has no image that can be found; move it out of the raw folder",
        )
    return value


def data_size(header, name=None):
    """Return the bytes of data that a header promises (FITS standard 4.0, equation 2)."""
    axes = _number(header, "NAXIS", name)
    bitpix = card_value(header, "BITPIX")
    if bitpix not in DTYPES:
        raise FrameError(
            "not a FITS pixel type",
            file=name,
            keyword="BITPIX",
            value=bitpix,
            allowed=", ".join(map(str, DTYPES)),
            remedy="move the file out of the raw folder",
        )
    if axes == 0:
        return 0
    pixels, groups = 1, 1
    for axis in range(1, axes + 1):
        pixels *= _number(header, f"NAXIS{axis}", name)
    if "XTENSION" in header:
        pixels += _number(header, "PCOUNT", name, default=0)
        groups = _number(header, "GCOUNT", name, default=1)
    size = abs(bitpix) // 8 * groups * pixels
    if size > _MOST_BYTES:
        problem = f"the header asks for more than {_MOST_BYTES:.0e} bytes of pixels"
        raise FrameError(problem, file=name, remedy="move the file out of the raw folder")
    return size


def image_header(header):
    """Return the header of the image that compressed tiles hold; any other header as it is."""
    if card_value(header, "ZIMAGE") is not True:
        return header
    image = header.copy()
    for keyword in ("TFIELDS", "TTYPE1", "TFORM1", "ZIMAGE", "ZCMPTYPE", "THEAP"):
        image.remove(keyword, ignore_missing=True, remove_all=True)
    for keyword in [k for k in image if k.startswith(("ZTILE", "ZNAME", "ZVAL", "TTYPE", "TFORM"))]:
        image.remove(keyword, ignore_missing=True)
    for keyword in [k for k in header if k.startswith(("ZNAXIS", "ZBITPIX"))]:
        image[keyword[1:]] = header[keyword]
        image.remove(keyword, ignore_missing=True)
    return image


# -- reading pixels ----------------------------------------------------------------------------


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
        raise _damaged(name, problem, Incomplete) from None
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


def array(data, hdu, name=None):
    """Return the stored pixels of an image HDU as (ny, nx), big-endian, a view where possible.

    Parameters
    ----------
    data : memoryview
        The file's bytes.
    hdu : Hdu
    name : str, optional

    Returns
    -------
    stored : numpy.ndarray
        Shape (ny, nx). For integers with the FITS unsigned offset the *stored* signed values.
    offset : int
        What to add to the stored integers to have the values: 0, 2**15, 2**31 ...

    Raises
    ------
    FrameError
        If the HDU holds no two-dimensional image.
    """
    if not is_plain(hdu):
        return _through_astropy(data, hdu, name), 0
    shape = image_shape(hdu.header, name)
    bitpix = hdu.header["BITPIX"]
    stored = np.frombuffer(data, dtype=DTYPES[bitpix], count=shape[0] * shape[1], offset=hdu.offset)
    offset = 0 if bitpix < 0 else int(hdu.header.get("BZERO", 0))
    return stored.reshape(shape), offset


def is_plain(hdu):
    """Tell whether an image's stored numbers are its values, or unsigned ones offset."""
    return not hdu.is_tiled and _plain_scaling(hdu.header)


def _plain_scaling(header):
    bzero, bscale = header.get("BZERO", 0), header.get("BSCALE", 1)
    if bscale != 1 or "BLANK" in header:
        return False
    bitpix = header["BITPIX"]
    return bzero == 0 or (bitpix in _UNSIGNED and bzero == _UNSIGNED[bitpix][1])


def _through_astropy(data, hdu, name):
    index = _index_of(data, hdu)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(bytes(data)), memmap=False) as hdus:
            values = hdus[index].data
    if values is None or values.ndim != 2:
        image_shape(hdu.header, name)
    return np.ascontiguousarray(values)


def _index_of(data, hdu):
    """Return the number of the HDU whose data start at its offset."""
    offset = index = 0
    while True:
        end = offset
        while not _ends(data[end : end + BLOCK]):
            end += BLOCK
        end += BLOCK
        if end == hdu.offset:
            return index
        header = parse_header(bytes(data[offset:end]))
        offset = Hdu(header, end, data_size(header)).end
        index += 1


def image_shape(header, name=None):
    """Return (ny, nx) of an image header; axes of length one beyond the second are dropped.

    Raises
    ------
    FrameError
        If the header does not describe a two-dimensional image.
    """
    header = image_header(header)
    axes = header.get("NAXIS", 0)
    lengths = [header.get(f"NAXIS{axis}", 0) for axis in range(1, axes + 1)]
    while len(lengths) > 2 and lengths[-1] == 1:
        lengths.pop()
    if len(lengths) != 2 or 0 in lengths:
        raise FrameError(
            "no two-dimensional image",
            file=name,
            keyword="NAXIS",
            value=" x ".join(map(str, lengths)) or 0,
            allowed="an image of two axes",
            remedy="move the file out of the raw folder",
        )
    return lengths[1], lengths[0]


# -- writing -----------------------------------------------------------------------------------


def checksum_of(*parts):
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
    """
    words = np.frombuffer(data, dtype=">u4")
    total = 0
    for first in range(0, words.size, 1 << 18):
        total += int(words[first : first + (1 << 18)].sum(dtype=np.uint64))
    return checksum_of(total)


def encode_checksum(total):
    """Return the 16 characters of a CHECKSUM card (FITS standard 4.0, appendix J).

    Parameters
    ----------
    total : int
        The sum of the whole HDU with a CHECKSUM card of sixteen zeros.
    """
    value = 0xFFFFFFFF - total
    letters = [[0] * 4 for _ in range(4)]
    for position, shift in enumerate((24, 16, 8, 0)):
        byte = value >> shift & 0xFF
        quarter, rest = divmod(byte, 4)
        four = [quarter + 48 + (rest if i == 0 else 0) for i in range(4)]
        while any(58 <= c <= 64 or 91 <= c <= 96 for c in four):
            for i in (0, 2):
                if any(58 <= c <= 64 or 91 <= c <= 96 for c in four[i : i + 2]):
                    four[i] += 1
                    four[i + 1] -= 1
        for i in range(4):
            letters[i][position] = four[i]
    text = "".join(chr(c) for row in letters for c in row)
    return text[-1] + text[:-1]


def header_bytes(header, data_sum):
    """Return a header as padded bytes, with DATASUM and CHECKSUM cards that fit.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Not changed.
    data_sum : int
        The sum of the data unit's words, see `sum_words`.
    """
    header = header.copy()
    header.remove("CHECKSUM", ignore_missing=True, remove_all=True)
    header.remove("DATASUM", ignore_missing=True, remove_all=True)
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    header["DATASUM"] = (str(data_sum), "data unit checksum")
    text = header.tostring().encode("ascii")
    total = checksum_of(sum_words(text), data_sum)
    return text.replace(
        b"CHECKSUM= '" + b"0" * 16, b"CHECKSUM= '" + encode_checksum(total).encode()
    )


def write_hdus(path, parts):
    """Write a FITS file whole or not at all: a temporary name in the same folder, then a rename.

    Parameters
    ----------
    path : path-like
    parts : list of bytes-like
        Headers and data units in order, each padded to 2880 bytes.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; what stood there is untouched.
    """
    path = Path(path)
    part = paths.temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb", buffering=0) as file:
            for data in parts:
                write_all(file, memoryview(data).cast("B"))
        part.replace(path)
    except BaseException:
        # A disk that cannot be written may not let go of the file either: the next run does it.
        with suppress(OSError):
            part.unlink()
        raise


def write_all(file, data):
    """Write all of some bytes to an unbuffered file."""
    while data:
        data = data[file.write(data) :]


def stamp_of(path):
    """Return size, mtime and ctime (ns) of a file, or () where there is none.

    Parameters
    ----------
    path : path-like or os.DirEntry
    """
    try:
        status = path.stat() if isinstance(path, os.DirEntry) else os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def signature(path):
    """Return (DATASUM, key) of a FITS product whose checksums are all right.

    Returns
    -------
    datasum : str
        Of the first HDU that has data; '0' if none has. '' if the file is missing or cut, or if
        any HDU's content is not what its CHECKSUM says.
    key : str
        CCDFKEY of the first HDU; '' where there is none.
    """
    headers, found = [], ""
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            at = 0
            while at < size:
                header, at, datasum = _checked_hdu(file, at, size, str(path))
                headers.append(header)
                found = found or datasum
    except (OSError, FrameError):
        return "", ""
    return (found or "0", str(card_value(headers[0], "CCDFKEY") or "")) if headers else ("", "")


def _checked_hdu(file, start, size, name):
    """Return header, end and DATASUM ('' without data) of an HDU, or raise `FrameError`."""
    text = b""
    while not text or not _ends(text[-BLOCK:]):
        block = file.read(BLOCK)
        if len(block) < BLOCK or len(text) > _MAX_HEADER:
            raise _damaged(name, "an HDU's header has no end")
        text += block
    header = parse_header(text)
    first = start + len(text)
    end = Hdu(header, first, data_size(header, name)).end
    if card_value(header, "CHECKSUM") is None or end > size:
        raise _damaged(name, "an HDU has no checksum or is cut")
    total = sum_words(text)
    for at in range(first, end, _SUM_BYTES):
        part = scratch.get("sum", min(_SUM_BYTES, end - at))
        if fill(file, part) < len(part):
            raise _damaged(name, "an HDU is cut")
        total = checksum_of(total, sum_words(part))
    if total not in (0, 0xFFFFFFFF):
        raise _damaged(name, "an HDU's content is not what its checksum says")
    return header, end, str(card_value(header, "DATASUM")) if end > first else ""


def whole_datasum(path):
    """Return the DATASUM of `signature`: '' for a file that is not whole."""
    return signature(path)[0]


def is_whole(path):
    """Tell whether every HDU of a FITS product has the checksum that it says it has."""
    return bool(whole_datasum(path))
