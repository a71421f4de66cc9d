"""Notes in columns, with a cell for each of many names: a reader takes the columns that it needs.

Lines with all notes on a name would have to be parsed completely. The cells of a column are
neighbours in the file: a column is read by one call and parsed by another, and columns that nobody
asks for stay on the disk. Unchanged cells are copied as bytes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ccdflow.files.text_files import json_text, notes

_encode = json_text.compact_encoder()
# The last line: the offset of the line before it, which has the places of the columns.
_LAST_LINE = b"%019d\n"


class NotAsWritten(Exception):
    """The file was replaced since, or a column has not one cell for each name."""


class Columns:
    """The columns of a file.

    Parameters
    ----------
    file : file object
        Open for reading, at its last line but one; its checksum was compared.

    Attributes
    ----------
    shared_values : dict of str to object
        Values that describe all columns.
    names : list of str
        Names that the cells of each column describe, in their order.
    """

    def __init__(self, file):
        self._path, self._stamp = file.name, _stamp_of_open_file(file)
        head = json.loads(file.readline())
        self.shared_values, self.names = head["first"], head["names"]
        self._extents = {name: extent for name, *extent in head["columns"]}

    def __contains__(self, column):
        return column in self._extents

    def __iter__(self):
        return iter(self._extents)

    def cells(self, column):
        """Return the cells of a column: bytes each, b"" where there is no value.

        Parameters
        ----------
        column : str

        Returns
        -------
        list of bytes

        Raises
        ------
        NotAsWritten
            If the file was replaced since, or a name has no cell.
        OSError
            If they cannot be read.
        """
        start, length = self._extents[column]
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123
            if _stamp_of_open_file(file) != self._stamp:
                raise NotAsWritten(f"{self._path} was written anew")
            text = os.pread(file.fileno(), length, start)
        cells = text.split(b"\n")[:-1]
        if len(cells) != len(self.names):
            raise NotAsWritten(
                f"{self._path} has {len(cells)} values of {column}, not {len(self.names)}"
            )
        return cells


def _stamp_of_open_file(file):
    """Return the identity, size and time of an open file."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_columns(path):
    """Return the `Columns` of a file; None if it is not as `write_columns` wrote it.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Columns or None
    """
    try:
        with Path(path).open("rb") as file:
            return _columns_of(file)
    except (OSError, ValueError, TypeError, KeyError):
        # The file is unreadable, or of another version in a form that is unknown here.
        return None


def _columns_of(file):
    """Return the `Columns` of an open file, None if it is not whole."""
    if not notes.is_as_written(file):
        return None
    file.seek(max(0, file.tell() - len(_LAST_LINE % 0)))
    start = file.read().strip()
    if not start.isdigit():
        return None
    file.seek(int(start))
    return Columns(file)


def values(cells):
    """Return the values of some cells; None for an empty cell.

    Parameters
    ----------
    cells : iterable of bytes

    Returns
    -------
    list of object
    """
    # In a single call, json keeps only one copy of a key that many cells have.
    return json.loads(b"[%b]" % b",".join([text or b"null" for text in cells]))


def cell(value):
    """Return the cell of a plain value."""
    return _encode(value).encode()


def write_columns(path, columns, *, shared_values, names):
    """Write a file of columns, whole or not at all.

    Parameters
    ----------
    path : path-like
    columns : iterable of (str, list of bytes)
        Name and cells of each column, one for each name: b"" where there is no value. They are
        never together in memory.
    shared_values : dict of str to object
        Plain values that describe all names.
    names : list of str

    Raises
    ------
    OSError
        If it cannot be written.
    """
    extents = []

    def parts(start):
        """Yield the columns, and the two last lines; the first column begins at an offset."""
        for name, cells in columns:
            text = b"\n".join([*cells, b""])
            extents.append([name, start, len(text)])
            start += len(text)
            yield text
        yield cell({"first": shared_values, "names": names, "columns": extents}) + b"\n"
        yield _LAST_LINE % start

    notes.write_checked_bytes(path, parts(notes.START))
