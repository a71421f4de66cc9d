"""CSV tables of many rows: a new version copies the lines of unchanged rows.

A table of a million rows takes ten seconds to form and half a second to copy. A line depends on its
own row alone, so that a table brought up to date has the bytes of one written from scratch.
"""

from __future__ import annotations

import csv
import io
import os
from contextlib import suppress
from pathlib import Path

from ccdflow.files.text_files import notes

# Bytes that are copied at once.
_PIECE = 1 << 20


class _NotAsBefore(Exception):
    """The file does not have one line for each row from which it was written."""


def write_table(path, columns, rows, rows_before, cells):
    """Write a table sorted by name, whole or not at all, and only if its content changed.

    Parameters
    ----------
    path : path-like
    columns : sequence of str
    rows : dict of str to object
        By name.
    rows_before : dict of str to object
        The rows that the file has now; {} if they are not known. The lines of rows that are the
        same objects in ``rows`` are copied.
    cells : callable
        Called with a row; returns its cells.

    Returns
    -------
    bool
        Whether it was written.
    """
    line_of = TableLines(cells)
    if rows_before:
        try:
            with Path(path).open("rb") as old_file:
                lines = _merge_lines(
                    old_file, line_of(columns, is_cells=True), rows, rows_before, line_of
                )
                return notes.write_with(path, lambda file: file.writelines(lines))
        except (FileNotFoundError, _NotAsBefore):
            # The old table is missing, lacks a line, or has a cell with a line break: all lines are
            # written anew.
            pass

    def write(file):
        """Write all lines anew."""
        file.write(line_of(columns, is_cells=True))
        file.writelines(line_of(rows[name]) for name in sorted(rows))

    return notes.write_with(path, write)


def update_table(path, lines):
    """Put lines into a table sorted by its first cell, in place of lines with the same first cell.

    All other lines are copied. No cell may have a line break, and no first cell may be quoted.

    Parameters
    ----------
    path : path-like
    lines : dict of str to list of bytes
        By first cell; [] for a first cell whose lines are removed from the table.

    Returns
    -------
    bool
        Whether it was written.
    """
    new_lines = sorted((name.encode(), own_lines) for name, own_lines in lines.items())
    with Path(path).open("rb") as old_file:
        return notes.write_with(path, lambda file: _write_updated(old_file, new_lines, file))


def _write_updated(old_file, new_lines, file):
    """Write an updated table: bytes between changed lines are copied and not parsed.

    Parameters
    ----------
    old_file : binary file
        The table on the disk.
    new_lines : list of (bytes, list of bytes)
        First cell and lines, sorted.
    file : binary file
        Empty.
    """
    size, copied_end = old_file.seek(0, os.SEEK_END), 0
    for name, own_lines in new_lines:
        first, end = _lines_of(old_file, name, size)
        _append_bytes(file, old_file, copied_end, first)
        file.writelines(own_lines)
        copied_end = end
    _append_bytes(file, old_file, copied_end, size)


def _lines_of(old_file, name, size):
    """Return where the lines whose first cell is a name begin, and where they end.

    If there is none, both are the place where such a line belongs. The table is searched by
    bisection.
    """
    old_file.seek(0)
    low = len(old_file.readline())
    first = high = size
    while low < high:
        # The reading begins one byte earlier: from there `readline` leads to the line that begins
        # here, or to the next one.
        old_file.seek((low + high) // 2 - 1)
        start = old_file.tell() + len(old_file.readline())
        line = old_file.readline() if start < high else b""
        if not line:
            high = (low + high) // 2
        elif line.partition(b",")[0] < name:
            low = start + len(line)
        else:
            first, high = start, (low + high) // 2
    old_file.seek(first)
    end = first
    for line in old_file:
        if line.partition(b",")[0] != name:
            break
        end += len(line)
    return first, end


def _append_bytes(file, old_file, start, end):
    """Append the bytes of a table between two places to a file.

    Parameters
    ----------
    file, old_file : binary file
    start, end : int
    """
    if end - start > _PIECE:
        start = _append_by_system(file, old_file, start, end)
    old_file.seek(start)
    while start < end:
        piece = old_file.read(min(_PIECE, end - start))
        if not piece:
            raise OSError(f"{old_file.name} became shorter while it was read")
        file.write(piece)
        start += len(piece)


def _append_by_system(file, old_file, start, end):
    """Let the system append bytes of a table to a file; return the place where it stopped.

    The bytes do not pass through this process. This takes a third of the time, and other threads go
    on meanwhile. The system cannot do it between some disks, and a Python that was built for a
    glibc before 2.27, such as those of conda, lacks the call.

    Parameters
    ----------
    file, old_file : binary file
    start, end : int
    """
    copy_range = getattr(os, "copy_file_range", None)
    if copy_range is None:
        return start
    file.flush()
    with suppress(OSError):
        # An error of the disk comes again when the other bytes are read and written.
        while start < end and (
            number := copy_range(old_file.fileno(), file.fileno(), end - start, start)
        ):
            start += number
    file.seek(0, os.SEEK_END)
    return start


def table_rows(path):
    """Return the rows of a table as dicts of text; [] if there is no such table.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    list of dict of str to str
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def count_line_breaks(path):
    """Return the number of line breaks in a file."""
    with Path(path).open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_PIECE), b""))


class TableLines:
    """Makes the line of a row: bytes, with its line break.

    Parameters
    ----------
    cells : callable
        Called with a row; returns its cells.
    """

    def __init__(self, cells):
        self._cells = cells
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)

    def __call__(self, row, *, is_cells=False):
        """Return the line of a row; ``is_cells`` where the row is the cells themselves."""
        self._text.seek(0)
        self._text.truncate()
        self._writer.writerow(row if is_cells else self._cells(row))
        return self._text.getvalue().encode()


def _merge_lines(old_file, head, rows, rows_before, line_of):
    """Yield the lines of the old table, with the new lines in their places.

    Parameters
    ----------
    old_file : binary file
        The table on the disk.
    head : bytes
        Its first line.
    rows, rows_before : dict of str to object
        The rows by name: now, and when the table was written.
    line_of : TableLines
    """
    if old_file.readline() != head:
        raise _NotAsBefore
    yield head
    unchanged_names = {name for name, row in rows_before.items() if rows.get(name) is row}
    new_names = iter(sorted(rows.keys() - unchanged_names))
    next_name = next(new_names, None)
    for name in sorted(rows_before):
        text = old_file.readline()
        if not text.endswith(b"\n"):
            raise _NotAsBefore
        while next_name is not None and next_name <= name:
            yield line_of(rows[next_name])
            next_name = next(new_names, None)
        if name in unchanged_names:
            yield text
    if old_file.read(1):
        raise _NotAsBefore
    while next_name is not None:
        yield line_of(rows[next_name])
        next_name = next(new_names, None)
