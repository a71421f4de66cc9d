"""The merging of late notes into the notes of an archive, without loading rows or records.

A plan of some nights reads all late notes (`ccdflow.run.late_notes`), and its run writes all of
them again; of the notes themselves it reads only some ranges. Many late notes are therefore merged
into the notes: sorted lines into sorted lines, at the speed of a copy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from heapq import merge
from json.decoder import scanstring
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.files.text_files import json_text, notes
from ccdflow.run import late_notes, ledger
from ccdflow.run.nights import closed_nights
from ccdflow.run.nights.note_lines import NeedsWholePlan, first_values
from ccdflow.run.rawframes import header_store

# Late notes of fewer bytes are not merged: a night of 100 frames has fewer, and they take little
# time. In the memory of a watch they are objects of several times this size.
_MANY_BYTES = 150_000
# Late notes of a smaller part of the notes are not merged either, for merging copies all notes.
_MERGED_PART = 0.02
_encode = json_text.compact_encoder()


def merge_late_notes(results):
    """Merge the late notes of a results folder into its notes, if they are many.

    Parameters
    ----------
    results : pathlib.Path

    Returns
    -------
    bool
        Whether they were merged. They stay as they are where nobody has closed nights with them.

    Raises
    ------
    OSError
        If the notes cannot be written.
    """
    size, *sizes = (
        (atomic_write.stamp_of(results / name) or (0,))[0]
        for name in (paths.LATE_NOTES, paths.HEADERS, paths.LEDGER)
    )
    if size < max(_MANY_BYTES, _MERGED_PART * sum(sizes)):
        return False
    try:
        nights = closed_nights.read_closed_nights(results)
        _merge_all(results, nights)
    except NeedsWholePlan:
        # Each file that was written is complete, and the next run plans all nights.
        closed_nights.remove_closed_nights(results)
        return False
    return True


def _merge_all(results, nights):
    """Merge rows and records, remove the late notes, and note the new ranges of the nights."""
    late = late_notes.read_late_notes(results)
    if late.heads.keys() != {"rows", "records"}:
        raise NeedsWholePlan("the late notes are damaged, or of other notes")
    first = first_values(results / paths.HEADERS)
    reader = header_store.RowReader(first)
    late_head = late.heads["rows"]
    first["shared"] = dict(sorted({**first["shared"], **late_head["shared"]}.items()))
    first["table"] = late_head["table"]
    late_rows = {_name_of(line): (line, reader.row(line).night) for line in late.rows}
    homes = _homes_of(nights, "rows", [])
    ranges = {"rows": _merge_lines(results / paths.HEADERS, _encode(first), late_rows, homes)}
    homes = _homes_of(nights, "records", nights.head["always"])
    ranges["records"] = _merge_records(results / paths.LEDGER, late, homes)
    late_notes.remove_late_notes(results)
    closed_nights.note_other_ranges(results, nights, ranges)


def _merge_records(path, late, homes):
    """Merge the records into the ledger; return their ranges in the file.

    Records share the common part of their bases, which the first line of the ledger has once: a new
    one is put at the end, so that the numbers in all other lines still hold.

    Parameters
    ----------
    path : pathlib.Path
        Path of the ledger.
    late : ccdflow.run.late_notes.LateNotes
    homes : list of (int, int, str)
        See `_merge_lines`.
    """
    first = first_values(path)
    bases = first["bases"]
    index_by_basis = {ledger.canonical_json(basis): index for index, basis in enumerate(bases)}

    def index_of_common(text):
        """Return the place of a common part among the bases; a new one is put at their end."""
        if text not in index_by_basis:
            index_by_basis[text] = len(bases)
            bases.append(json.loads(text))
        return index_by_basis[text]

    new_lines = {}
    for line in late.records:
        name, *fields = ledger.line_of_late_line(line, index_of_common)
        new_lines[name] = tuple(fields)
    removed_lines = dict.fromkeys(late.heads["records"]["removed"], (None, ""))
    return _merge_lines(path, _encode(first), removed_lines | new_lines, homes)


def _name_of(line):
    """Return the text that a line begins with, as its second character."""
    return scanstring(line, 2)[0]


def _homes_of(nights, column, always):
    """Return [(start, end, home)] of the lines of a file of notes, in order."""
    ranges = [(start, start + length, "") for start, length in always]
    for night in nights.nights:
        ranges += [
            (start, start + length, night) for start, length in nights.value(column, night) or ()
        ]
    return sorted(ranges)


@dataclass
class _PositionedLines:
    """Lines as they are written, and the ranges of the file that they get.

    Attributes
    ----------
    position : int
        Where the next line begins.
    ranges : dict of str to list of [int, int]
        By home.
    """

    position: int
    ranges: dict[str, list[list[int]]] = field(default_factory=dict)
    _last_home: str | None = None

    def put(self, line, home):
        """Note the range of a line, and return the line."""
        ranges, length = self.ranges.setdefault(home, []), len(line.encode()) + 1
        if home == self._last_home and ranges:
            ranges[-1][1] += length
        else:
            ranges.append([self.position, length])
        self._last_home, self.position = home, self.position + length
        return line


def _merge_lines(path, head, late, homes):
    """Write a file of notes with late lines in it, or in place of those of the same name.

    Parameters
    ----------
    path : pathlib.Path
    head : str
        Its first line.
    late : dict of str to (str or None, str)
        Line and home by name; None for a line that goes.
    homes : list of (int, int, str)
        Where the lines of each home are, in order.

    Returns
    -------
    dict of str to list of [int, int]
        The ranges of the lines by home.

    Raises
    ------
    NeedsWholePlan
        If a line belongs nowhere.
    OSError
        If the file cannot be read or written.
    """
    positioned = _PositionedLines(notes.START + len(head.encode()) + 1)
    earlier_lines = (
        (name, line, home) for name, line, home in _named_lines(path, homes) if name not in late
    )
    new_lines = ((name, *late[name]) for name in sorted(late) if late[name][0] is not None)

    def lines():
        yield head
        for _, line, home in merge(earlier_lines, new_lines):
            yield positioned.put(line, home)

    notes.write_checked(path, lines())
    return positioned.ranges


def _named_lines(path, homes):
    """Yield (name, line, home) of the lines of a file of notes behind the first one."""
    ranges = iter(homes)
    end, home = 0, ""
    with Path(path).open("rb") as file:
        start = len(file.readline())
        start += len(file.readline())
        for text in file:
            while start >= end:
                _, end, home = next(ranges, (0, 0, None))
                if home is None:
                    raise NeedsWholePlan(f"{path} has lines that belong to no night")
            line = text[:-1].decode()
            yield _name_of(line), line, home
            start += len(text)
