"""Notes whose lines have a checksum each: damage to some lines costs these lines only.

The checksum in front of all lines (`ccdflow.files.text_files.notes`) is the quick test. Where it
fails, the lines are tested one by one, and the sound ones are used. The first line describes all
others, and is needed to read them: a copy of it is in a file beside long notes.

A line's checksum follows its first field, which ends at the first tab or with the line. There it
is passed over by a parser that reads one JSON value. The checksum of the first line is its last
value.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from isal import isal_zlib

from ccdflow.files.text_files import json_text, notes

CHECKSUM = "checksum"
"""The value of a first line with its checksum. If it is there, all lines have checksums."""

# Matches the end of a first line: its last value, which is its checksum.
_END_OF_FIRST = re.compile(rf',"{CHECKSUM}":"([0-9a-f]{{8}})"}}\Z')
# The length of this end.
_LENGTH_OF_END = len(f',"{CHECKSUM}":"01234567"}}')
# The length of a checksum after a field, with the blank before it.
_CHECKSUM_LENGTH = 9
# The lines of a copy: a description of the notes, and their first line.
_LINES_OF_COPY = 2
# Bytes of a block of a disk, which are read or lost together; and bytes that are read at once.
_SECTOR = 4096
_STRETCH = 256 * _SECTOR
# With more unreadable blocks the rest of a file is given up. Chosen: a disk may try for seconds to
# read one block.
_MOST_UNREADABLE = 1000
_encode = json_text.compact_encoder()


def text_checksum(text, seed=0):
    """Return the CRC-32 of a text.

    Parameters
    ----------
    text : str
    seed : int, optional
        The CRC-32 of a text that comes before it.

    Returns
    -------
    int
    """
    return isal_zlib.crc32(text.encode(), seed)


def add_checksum(line, seed=0):
    """Return a line with its checksum.

    Parameters
    ----------
    line : str
    seed : int, optional
        The CRC-32 of all that the line refers to: the line is sound only together with this.

    Returns
    -------
    str
    """
    first, tab, rest = line.partition("\t")
    return f"{first} {isal_zlib.crc32(line.encode(), seed):08x}{tab}{rest}"


def remove_checksum(line, seed=0):
    """Return a line without its checksum; None if the line is not as `add_checksum` returned it.

    Parameters
    ----------
    line : str
    seed : int, optional
        As for `add_checksum`.

    Returns
    -------
    str or None
    """
    first, tab, rest = line.partition("\t")
    plain_line = f"{first[:-_CHECKSUM_LENGTH]}{tab}{rest}"
    checksum = isal_zlib.crc32(plain_line.encode(), seed)
    return plain_line if first[-_CHECKSUM_LENGTH:] == f" {checksum:08x}" else None


def first_line_of(values):
    """Return the first line of some notes, with its checksum.

    Parameters
    ----------
    values : dict of str to object
        Plain values, at least one.

    Returns
    -------
    str
    """
    text = _encode({name: value for name, value in values.items() if name != CHECKSUM})
    return f'{text[:-1]},"{CHECKSUM}":"{text_checksum(text):08x}"}}'


def checksum_in_first(line):
    """Return the checksum in a line of `first_line_of`, as a seed for other lines."""
    return int(_END_OF_FIRST.search(line)[1], 16)


def values_of_first(line):
    """Return the values of a first line; {} if it is damaged.

    Parameters
    ----------
    line : str
        An earlier version wrote it without a checksum, which is then no value of it.

    Returns
    -------
    dict of str to object
    """
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    if CHECKSUM in values:
        end = _END_OF_FIRST.search(line, max(0, len(line) - _LENGTH_OF_END))
        if not end or int(end[1], 16) != text_checksum(f"{line[:-_LENGTH_OF_END]}}}"):
            return {}
    return values


@dataclass
class CheckedLines:
    """Lines of notes, of which some may be damaged.

    Attributes
    ----------
    head : dict of str to object
        The values of the first line; {} if the notes cannot be read.
    lines : iterable of str
        The other lines.
    is_whole : bool
        Whether the file is as it was written. If not, each line is to be tested.
    count : int
        Number of the other lines as written; 0 if it is not known.
    """

    head: dict[str, object]
    lines: Iterable[str] = ()
    is_whole: bool = True
    count: int = 0

    def n_lost(self, n_kept, n_damaged):
        """Return the number of lines that are lost.

        Parameters
        ----------
        n_kept : int
            Number of different sound lines.
        n_damaged : int
            Number of damaged lines: two of them are one where a line break was lost.

        Returns
        -------
        int
        """
        if self.is_whole:
            return 0
        return max(0, self.count - n_kept) if self.count else n_damaged


def read_lines(path, copy_path=None):
    """Return the `CheckedLines` of some notes.

    Parameters
    ----------
    path : path-like
    copy_path : path-like, optional
        The file with the copy of the first line.

    Returns
    -------
    CheckedLines
        Where the file is not as it was written, its lines are those that `add_checksum` returned
        and others; those of notes without checksums are not read.
    """
    lines = notes.read_checked(path)
    if lines is not None:
        try:
            head = json.loads(next(lines))
        except (StopIteration, ValueError):
            head = {}
        return CheckedLines(head, lines) if head and isinstance(head, dict) else CheckedLines({})
    if not Path(path).is_file():
        return CheckedLines({})
    lines = _readable_lines(path)
    checksum_line, first_line = next(lines, ""), next(lines, "")
    head, used_lines = values_of_first(first_line), lines
    copied_head, description = _read_copy(copy_path)
    if CHECKSUM not in head:
        head, used_lines = copied_head, chain([first_line], lines)
    if CHECKSUM not in head:
        return CheckedLines({})
    count = description["count"] if description.get("of") == checksum_line else 0
    return CheckedLines(head, used_lines, is_whole=False, count=count)


def _read_copy(copy_path):
    """Return the first line's values in its copy, and the description of the notes; {} for none."""
    lines = [] if copy_path is None else [*(notes.read_checked(copy_path) or ())]
    if len(lines) != _LINES_OF_COPY:
        return {}, {}
    return values_of_first(lines[1]), json.loads(lines[0])


def written_checksum(path, copy_path):
    """Return the checksum that notes were written with, also where its bytes are damaged.

    Parameters
    ----------
    path, copy_path : path-like
        The notes, and the file with the copy of their first line.

    Returns
    -------
    str
        '' if there is none.
    """
    noted_checksum = notes.noted_checksum(path)
    try:
        checksum_of_copy = json.loads(notes.first_line(copy_path))["of"]
    except (ValueError, TypeError, KeyError):
        return noted_checksum
    if checksum_of_copy == noted_checksum:
        return noted_checksum
    # Either the file was written anew by a version that writes no copy, or it is damaged.
    return noted_checksum if notes.read_checked(path) is not None else checksum_of_copy


def _readable_lines(path):
    """Yield the lines of a file that may be damaged; bytes that cannot be read are zeros in them.

    Nothing is yielded for a file that cannot be opened.
    """
    pending_pieces = []
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            for piece in _readable_pieces(file):
                start, line_break, rest = piece.partition(b"\n")
                pending_pieces.append(start)
                if not line_break:
                    continue
                *lines, rest = (b"".join(pending_pieces), *rest.split(b"\n"))
                pending_pieces = [rest]
                for line in lines:
                    yield line.decode("utf-8", "replace")
    except OSError:
        return
    if last_line := b"".join(pending_pieces):
        yield last_line.decode("utf-8", "replace")


def _readable_pieces(file):
    """Yield the bytes of an open file; bytes that the disk cannot read become zeros."""
    descriptor, n_unreadable = file.fileno(), 0
    size = os.fstat(descriptor).st_size
    for start in range(0, size, _STRETCH):
        try:
            yield os.pread(descriptor, _STRETCH, start)
        except OSError:
            for sector in range(start, min(start + _STRETCH, size), _SECTOR):
                try:
                    yield os.pread(descriptor, _SECTOR, sector)
                except OSError:
                    n_unreadable += 1
                    if n_unreadable > _MOST_UNREADABLE:
                        raise
                    yield bytes(min(_SECTOR, size - sector))


def write_lines(path, first_line, lines, *, copy_path=None):
    """Write notes, and a copy of their first line.

    Parameters
    ----------
    path : path-like
    first_line : str
        As `first_line_of` returns it.
    lines : iterable of str
        As `add_checksum` returns them.
    copy_path : path-like, optional
        The file of the copy.

    Returns
    -------
    bool
        Whether the notes were written: not if the file holds just this.
    """
    count = 0

    def all_lines():
        """Yield the lines, and count those after the first one."""
        nonlocal count
        yield first_line
        for count, line in enumerate(lines, start=1):  # noqa: B007 - counted for the copy
            yield line

    was_written = notes.write_checked(path, all_lines())
    if copy_path is not None:
        description = {"of": notes.noted_checksum(path), "count": count}
        notes.write_checked(copy_path, [_encode(description), first_line])
    return was_written
