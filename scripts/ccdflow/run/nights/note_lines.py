"""Lines of an archive's notes, read at their ranges: the rows and records of a few nights.

The ranges are noted when nothing is to be done (`ccdflow.run.nights.closed_nights`). They hold as
long as the files of the notes are the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice, zip_longest

from ccdflow.files import file_access
from ccdflow.files.text_files import checked_lines, notes


class NeedsWholePlan(Exception):
    """Some nights cannot be planned without the others: a whole plan is needed.

    Parameters
    ----------
    reason : str
        Why, as a sentence in small letters without a full stop.
    """

    def __init__(self, reason):
        super().__init__(reason)


class NothingClosed(NeedsWholePlan):
    """An archive has no closed nights, as in a first run: a whole plan is expected."""


class NoteLines:
    """A file of notes that is read in ranges.

    Parameters
    ----------
    path : path-like
    stamp : tuple of int
        Size, mtime and ctime of the file when the ranges were noted.
    """

    def __init__(self, path, stamp):
        self._path, self._stamp = path, stamp

    def read_ranges(self, ranges):
        """Return the lines of some ranges.

        Parameters
        ----------
        ranges : list of (int, int)
            Offset and length of whole lines.

        Returns
        -------
        list of str

        Raises
        ------
        NeedsWholePlan
            If they cannot be read, lie beyond the end of the file, or the file was written since
            the ranges were noted: they may then begin or end within a line.
        """
        try:
            with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123
                if file_access.stamp_of_status(os.fstat(file.fileno())) != self._stamp:
                    raise NeedsWholePlan(f"{self._path} is not as it was")
                texts = [os.pread(file.fileno(), length, start) for start, length in ranges]
        except OSError as error:
            raise NeedsWholePlan(str(error)) from None
        if any(len(text) != length for text, (_, length) in zip(texts, ranges, strict=True)):
            raise NeedsWholePlan(f"{self._path} is shorter than its lines were noted")
        return b"".join(texts).decode("utf-8", "replace").split("\n")[:-1]

    def read_values(self, ranges, reader, read):
        """Return the values of the lines in some ranges.

        Parameters
        ----------
        ranges : list of (int, int)
            As for `read_ranges`.
        reader : ccdflow.run.ledger.RecordReader or ccdflow.run.raw_frames.header_store.RowReader
            Tests the lines if they have checksums.
        read : callable
            The method of the reader that takes a line and returns its value.

        Returns
        -------
        list of object

        Raises
        ------
        NeedsWholePlan
            If a line is damaged, or `read_ranges` cannot read it.
        """
        lines = self.read_ranges(ranges)
        # Older results: lines without checksums, which can only be tried.
        is_sound = reader.is_sound if reader.has_checksums else bool
        if all(map(is_sound, lines)):
            with suppress(ValueError, TypeError, IndexError):
                return list(map(read, lines))
        raise NeedsWholePlan(f"{self._path} has damaged lines")


def first_values(path):
    """Return the values of the first line of a file of notes, which is about the whole file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict of str to object

    Raises
    ------
    NeedsWholePlan
        If they cannot be read.
    """
    try:
        values = checked_lines.values_of_first(notes.first_line(path))
    except UnicodeDecodeError:
        values = {}
    if not values:
        raise NeedsWholePlan(f"the first line of {path} cannot be read")
    return values


def ranges_of(path, names, home_of):
    """Return the ranges of the lines in a file of notes, by the home of each line.

    Parameters
    ----------
    path : path-like
    names : iterable of str
        The subject of each line, in the order of the lines.
    home_of : callable
        Called with a name; returns the home of its line, such as its night.

    Returns
    -------
    dict of str to list of [int, int]
        Offset and length of neighbouring lines that belong together.

    Raises
    ------
    NeedsWholePlan
        If the file cannot be read, or has more or fewer lines than names.
    """
    ranges_by_home, last_home = {}, None
    try:
        # The first line is about the whole file.
        line_ranges = islice(notes.ranges_of_lines(path), 1, None)
        for name, line_range in zip_longest(names, line_ranges):
            if name is None or line_range is None:
                comparison = "more" if name is None else "fewer"
                raise NeedsWholePlan(f"{path} has {comparison} lines than it should have")
            home, (start, length) = home_of(name), line_range
            ranges = ranges_by_home.setdefault(home, [])
            if home == last_home and ranges:
                ranges[-1][1] += length
            else:
                ranges.append([start, length])
            last_home = home
    except OSError as error:
        raise NeedsWholePlan(str(error)) from None
    return ranges_by_home
