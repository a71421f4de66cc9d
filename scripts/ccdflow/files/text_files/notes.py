"""Files of notes: written whole or not at all, only where they change, and after a checksum."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from isal import isal_zlib

from ccdflow.files import atomic_write

# The first line of a file: the CRC-32 of all other lines.
_CHECKSUM = b"%08x\n"


def write_if_changed(path, text):
    """Write a text or bytes file whole or not at all, and only if its content changed.

    Parameters
    ----------
    path : path-like
    text : str or bytes

    Returns
    -------
    bool
        Whether it was written.
    """
    path = Path(path)
    data = text.encode() if isinstance(text, str) else text
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return False
    return write_with(path, lambda file: file.write(data))


def write_checked(path, lines):
    """Write lines of text after their checksum, whole or not at all.

    The lines are never all in memory at the same time: the notes of an archive are large.

    Parameters
    ----------
    path : path-like
    lines : iterable of str
        Without line breaks in them.

    Returns
    -------
    bool
        Whether it was written: not if the file holds just this.
    """
    return write_checked_bytes(path, (line.encode() + b"\n" for line in lines))


def write_checked_bytes(path, parts):
    """Write bytes after their checksum, whole or not at all.

    Parameters
    ----------
    path : path-like
    parts : iterable of bytes
        Joined, they are whole lines.

    Returns
    -------
    bool
        Whether it was written: not if the file holds just this.
    """

    def write(file):
        """Write the parts, and then their checksum in front of them."""
        checksum = 0
        file.write(_CHECKSUM % checksum)
        for data in parts:
            checksum = isal_zlib.crc32(data, checksum)
            file.write(data)
        file.seek(0)
        file.write(_CHECKSUM % checksum)

    return write_with(path, write)


START = len(_CHECKSUM % 0)
"""Bytes before the first line."""

# Bytes that are read at once.
_CHUNK = 1 << 20


def read_checked(path):
    """Return an iterator over the lines of `write_checked`; None if they are not as written.

    Lines are decoded one at a time.
    """
    try:
        with Path(path).open("rb") as file:
            checksum, text = file.readline(), file.read()
    except OSError:
        return None
    if checksum != _CHECKSUM % isal_zlib.crc32(text):
        return None
    return (line.removesuffix(b"\n").decode() for line in io.BytesIO(text))


def read_headed(path):
    """Return the first line of `write_checked` as a dict, and an iterator over the other lines.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    head : dict of str to object
        {} if the lines are not as written, or the first one is not a JSON object: another version
        wrote the file, in a form that is unknown here.
    lines : iterator over str
    """
    lines = read_checked(path)
    try:
        head = {} if lines is None else json.loads(next(lines))
    except (StopIteration, ValueError):
        head = {}
    return (head, lines) if head and isinstance(head, dict) else ({}, iter(()))


def is_as_written(file):
    """Return whether an open file has the checksum that `write_checked` put before its lines.

    Parameters
    ----------
    file : file object
        Open for reading; it is read in pieces.

    Returns
    -------
    bool
    """
    file.seek(0)
    checksum_line = file.readline()
    return checksum_line == _CHECKSUM % crc32_of(file)


def crc32_of(file):
    """Return the CRC-32 of the rest of an open file, which is read in pieces: it may be large."""
    checksum = 0
    while piece := file.read(_CHUNK):
        checksum = isal_zlib.crc32(piece, checksum)
    return checksum


def noted_checksum(path):
    """Return the checksum that a file has before its lines; '' if it has none."""
    try:
        with Path(path).open("rb") as file:
            return file.readline(len(_CHECKSUM % 0)).decode("ascii", "replace").strip()
    except OSError:
        return ""


def first_line(path):
    """Return the first line after a file's checksum; '' if there is none. Nothing is compared."""
    try:
        with Path(path).open("rb") as file:
            file.readline()
            return file.readline().removesuffix(b"\n").decode()
    except OSError:
        return ""


def ranges_of_lines(path):
    """Yield (offset, length) of each line after the checksum, with the line break."""
    with Path(path).open("rb") as file:
        start = len(file.readline())
        for line in file:
            yield start, len(line)
            start += len(line)


def write_with(path, write):
    """Let ``write`` fill a temporary file, and put that in place if its content is new.

    Parameters
    ----------
    path : path-like
    write : callable
        Called with a binary file.

    Returns
    -------
    bool
        Whether it was put in place.
    """
    path = Path(path)
    with atomic_write.Part(path, is_buffered=True) as part:
        write(part.file)
        part.file.flush()
        if _is_same(part.temporary_path, path):
            return False
        os.fsync(part.file.fileno())
        part.keep()
    return True


def _is_same(part, path):
    """Return whether a file exists and has the content of a part."""
    if not path.is_file() or path.stat().st_size != part.stat().st_size:
        return False
    try:
        with part.open("rb") as first, path.open("rb") as second:
            chunks = iter(lambda: (first.read(_CHUNK), second.read(_CHUNK)), (b"", b""))
            return all(new == old for new, old in chunks)
    except OSError:
        # The disk cannot read one of them: the file is replaced.
        return False
