"""The notes of runs that planned some nights only: lines beside notes too large to rewrite.

Header values and ledger of a million frames are 900 MB. A run that opens a few of their nights
(`ccdflow.run.nights.partial_plan`) leaves both files unchanged and writes all later differences
here. A reader of the notes reads these lines after them. The next whole plan writes the notes anew
and removes this file.

A line counts only beside the file that it was written for: the checksum of that file is noted.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.files.text_files import notes

# The notes are read this many times, at most, if a run writes them meanwhile: a watch does so again
# and again. Chosen.
_MOST_READINGS = 5
# The two files of notes; the keys name their checksums in the file of late notes.
_FILES = {"rows": paths.HEADERS, "records": paths.LEDGER}


@dataclass
class LateNotes:
    """Lines that count after the lines of the notes.

    Attributes
    ----------
    heads : dict of str to dict
        The first lines of the notes, with the names of the fields of the lines: of the rows under
        ``"rows"``, of the records under ``"records"``.
    rows, records : list of str
        Lines in the form of the notes.
    """

    heads: dict[str, object] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)


def read_late_notes(results):
    """Return the `LateNotes` of a results folder; empty if none belong to the present notes.

    Parameters
    ----------
    results : path-like

    Returns
    -------
    LateNotes
    """
    head, lines = notes.read_headed(Path(results) / paths.LATE_NOTES)
    # Older results: their notes have "said".
    count, heads = head.get("count"), head.get("heads", head.get("said"))
    if not isinstance(count, int) or not isinstance(heads, dict) or "of" not in head:
        # There are no late notes, or they are of another version in a form that is unknown here.
        return LateNotes()
    lines_by_name = {"rows": list(islice(lines, count)), "records": list(lines)}
    for name, file in _FILES.items():
        if head["of"].get(name) != notes.noted_checksum(Path(results) / file):
            # These notes were written anew, so they contain the late lines.
            lines_by_name[name] = []
            heads.pop(name, None)
    return LateNotes(heads, lines_by_name["rows"], lines_by_name["records"])


def read_settled(results, read):
    """Return the result of a function that reads notes while no run writes them.

    A reader without the lock may meet a run that merges the late notes into the others: it would
    read the old ones, and no late ones.

    Parameters
    ----------
    results : path-like
    read : callable
        Takes no argument; called once more where the notes have changed meanwhile.

    Returns
    -------
    object
        The last result of ``read()``.
    """
    for _ in range(_MOST_READINGS):
        stamps_before, value = _stamps_of_notes(results), read()
        if _stamps_of_notes(results) == stamps_before:
            break
    return value


def _stamps_of_notes(results):
    """Return size and times of the notes."""
    names = (*_FILES.values(), paths.LATE_NOTES)
    return [atomic_write.stamp_of(Path(results) / name) for name in names]


def write_late_notes(results, late):
    """Write a `LateNotes` beside the present notes.

    Parameters
    ----------
    results : path-like
    late : LateNotes

    Raises
    ------
    OSError
        If it cannot be written.
    """
    head = {
        "of": {name: notes.noted_checksum(Path(results) / file) for name, file in _FILES.items()},
        "heads": late.heads,
        "count": len(late.rows),
    }
    lines = [json.dumps(head, separators=(",", ":")), *late.rows, *late.records]
    notes.write_checked(Path(results) / paths.LATE_NOTES, lines)


def has_late_notes(results):
    """Return whether a results folder has a file of late notes, whatever its content."""
    return (Path(results) / paths.LATE_NOTES).exists()


def stamp_of_late_notes(results):
    """Return size and times of the file of late notes as a list, [] where there is none."""
    return list(atomic_write.stamp_of(Path(results) / paths.LATE_NOTES))


def remove_late_notes(results):
    """Remove the file of late notes, once the notes themselves are written whole."""
    with suppress(FileNotFoundError):
        (Path(results) / paths.LATE_NOTES).unlink()
