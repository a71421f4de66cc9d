"""Lines of an archive's notes, read at their ranges: the rows and records of a few nights.

The ranges are noted when nothing is to be done (`ccdflow.run.nights.closed_nights`). They hold as
long as the files of the notes are the same.
"""

from __future__ import annotations

import os

from ccdflow.files.text_files import notes


class NeedsWholePlan(Exception):
    """Some nights alone do not give the answer: a whole plan is needed.

    Parameters
    ----------
    reason : str
        Why, as a sentence in small letters without a full stop.
    """

    def __init__(self, reason):
        super().__init__(reason)


class NothingClosed(NeedsWholePlan):
    """An archive has no closed nights, as in a first run: a whole plan is what is expected."""


class NoteLines:
    """A file of notes that is read in ranges.

    Parameters
    ----------
    path : path-like
    """

    def __init__(self, path):
        self._path = path

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
            If they cannot be read.
        """
        try:
            with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123
                texts = [os.pread(file.fileno(), length, start) for start, length in ranges]
        except OSError as error:
            raise NeedsWholePlan(str(error)) from None
        if any(len(text) != length for text, (_, length) in zip(texts, ranges, strict=True)):
            raise NeedsWholePlan(f"{self._path} is shorter than it was")
        return b"".join(texts).decode().split("\n")[:-1]


def ranges_of(path, names, home_of):
    """Return where the lines of a file of notes are, by where they belong.

    Parameters
    ----------
    path : path-like
    names : iterable of str
        What each line is about, in the order of the lines.
    home_of : callable
        Called with a name; returns what its line belongs to.

    Returns
    -------
    dict of str to list of [int, int]
        Offset and length of neighbouring lines that belong together.

    Raises
    ------
    NeedsWholePlan
        If the file has other lines.
    """
    ranges_by_home, last_home, end = {}, None, 0
    lines = notes.ranges_of_lines(path)
    next(lines, None)
    for name, (start, length) in zip(names, lines, strict=True):
        home = home_of(name)
        ranges = ranges_by_home.setdefault(home, [])
        if home == last_home and ranges:
            ranges[-1][1] += length
        else:
            ranges.append([start, length])
        last_home, end = home, start + length
    if end and end != os.path.getsize(path):  # noqa: PTH202
        raise NeedsWholePlan(f"{path} has more lines than it should have")
    return ranges_by_home
