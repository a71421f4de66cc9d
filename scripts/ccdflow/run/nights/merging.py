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
from ccdflow.files import file_access
from ccdflow.files.text_files import checked_lines, json_text, notes
from ccdflow.run import late_notes, ledger
from ccdflow.run.nights.closed_nights import (
    note_new_ranges,
    read_closed_nights,
    remove_closed_nights,
)
from ccdflow.run.nights.note_lines import NeedsWholePlan, first_values
from ccdflow.run.raw_frames import header_store

# Late notes of fewer bytes are not merged: a night of 100 frames has fewer, and to read them takes
# little time. In the memory of a watch they are objects of several times this size.
_LEAST_BYTES = 150_000
# Late notes that are a smaller fraction of the notes are not merged either, because merging copies
# all notes.
_LEAST_FRACTION = 0.02
_encode = json_text.compact_encoder()


def merge_late_notes(results):
    """Merge the late notes of a results folder into its notes, if they are many.

    Parameters
    ----------
    results : pathlib.Path

    Returns
    -------
    bool
        Whether they were merged. They stay as they are if there is no sound note of closed nights.

    Raises
    ------
    OSError
        If the notes cannot be written.
    """
    late_size, *sizes = (
        (file_access.stamp_of(results / name) or (0,))[0]
        for name in (paths.LATE_NOTES, paths.HEADERS, paths.LEDGER)
    )
    if late_size < max(_LEAST_BYTES, _LEAST_FRACTION * sum(sizes)):
        return False
    try:
        _merge_all(results, read_closed_nights(results))
    except NeedsWholePlan:
        # Each file that was written is complete, and the next run plans all nights.
        remove_closed_nights(results)
        return False
    return True


def _merge_all(results, closed_nights):
    """Merge rows and records, remove the late notes, and note the new ranges of the nights."""
    late = late_notes.read_late_notes(results)
    if late.heads.keys() != {"rows", "records"} or late.n_lost:
        raise NeedsWholePlan("the late notes are damaged, or of other notes")
    for name in (paths.HEADERS, paths.LEDGER):
        _check_whole(results / name)
    head = first_values(results / paths.HEADERS)
    reader = header_store.RowReader(head)
    late_head = late.heads["rows"]
    head["shared"] = dict(sorted({**head["shared"], **late_head["shared"]}.items()))
    head["table"] = late_head["table"]
    complete = header_store.add_checksum_of_row if reader.has_checksums else str
    late_rows = {_name_of(line): (complete(line), reader.row(line).night) for line in late.rows}
    homes = _homes_of_ranges(closed_nights, "rows", [])
    ranges = {"rows": _merge_lines(results, paths.HEADERS, head, late_rows, homes)}
    homes = _homes_of_ranges(closed_nights, "records", closed_nights.head["always"])
    ranges["records"] = _merge_records(results, late, homes)
    late_notes.remove_late_notes(results)
    note_new_ranges(results, closed_nights, ranges)


def _check_whole(path):
    """Raise `NeedsWholePlan` unless a file of notes is as it was written: its lines are copied."""
    try:
        with path.open("rb") as file:
            is_whole = notes.is_as_written(file)
    except OSError:
        is_whole = False
    if not is_whole:
        raise NeedsWholePlan(f"{path} is damaged")


def _merge_records(results, late, homes):
    """Merge the records into the ledger; return their ranges in the file.

    Records share the common parts of their bases, which the first line of the ledger has once each.
    A new common part is put at their end, so that the numbers of the others stay.

    Parameters
    ----------
    results : pathlib.Path
    late : ccdflow.run.late_notes.LateNotes
    homes : list of (int, int, str)
        See `_merge_lines`.
    """
    head = first_values(results / paths.LEDGER)
    has_checksums = checked_lines.CHECKSUM in head
    bases = head["bases"]
    index_by_basis = {ledger.canonical_json(basis): index for index, basis in enumerate(bases)}

    def index_of_common(text):
        """Return the place of a common part among the bases; a new one is put at their end."""
        if text not in index_by_basis:
            index_by_basis[text] = len(bases)
            bases.append(json.loads(text))
        return index_by_basis[text]

    new_lines = {}
    for line in late.records:
        product, new_line, night = ledger.line_of_late_line(
            line, index_of_common, has_checksums=has_checksums
        )
        new_lines[product] = new_line, night
    removed_lines = dict.fromkeys(late.heads["records"]["removed"], (None, ""))
    return _merge_lines(results, paths.LEDGER, head, removed_lines | new_lines, homes)


def _name_of(line):
    """Return the name at the beginning of a line: the text after its opening bracket and quote."""
    return scanstring(line, 2)[0]


def _homes_of_ranges(closed_nights, column, ranges_of_no_night):
    """Return [(start, end, home)] of the ranges of a file of notes, in order."""
    ranges = [(start, start + length, "") for start, length in ranges_of_no_night]
    for night in closed_nights.nights:
        ranges += [
            (start, start + length, night)
            for start, length in closed_nights.value(column, night) or ()
        ]
    return sorted(ranges)


@dataclass
class _PositionedLines:
    """The ranges of a file that lines get as they are written one after the other.

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


def _merge_lines(results, name, head, late_lines, homes):
    """Write a file of notes with late lines, in place of earlier lines of the same name.

    Parameters
    ----------
    results : pathlib.Path
    name : str
        Path of the file in the results folder.
    head : dict of str to object
        The values of the first line.
    late_lines : dict of str to (str or None, str)
        Line and home by name; None for a line that is removed.
    homes : list of (int, int, str)
        As `_homes_of_ranges` returns them.

    Returns
    -------
    dict of str to list of [int, int]
        The ranges of the lines by home.

    Raises
    ------
    NeedsWholePlan
        If a line of the file belongs to no night.
    OSError
        If the file cannot be read or written.
    """
    # Older results: notes of lines without checksums stay so until they are written as a whole.
    has_checksums = checked_lines.CHECKSUM in head
    first_line = checked_lines.first_line_of(head) if has_checksums else _encode(head)
    positioned = _PositionedLines(notes.START + len(first_line.encode()) + 1)
    earlier_lines = (
        (subject, line, home)
        for subject, line, home in _named_lines(results / name, homes)
        if subject not in late_lines
    )
    new_lines = (
        (subject, *late_lines[subject])
        for subject in sorted(late_lines)
        if late_lines[subject][0] is not None
    )
    lines = (positioned.put(line, home) for _, line, home in merge(earlier_lines, new_lines))
    copy_path = results / paths.COPIES_OF_FIRST_LINES[name] if has_checksums else None
    checked_lines.write_lines(results / name, first_line, lines, copy_path=copy_path)
    return positioned.ranges


def _named_lines(path, homes):
    """Yield (name, line, home) of the lines of a file of notes after the first one."""
    ranges = iter(homes)
    end, home = 0, ""
    with Path(path).open("rb") as file:
        start = len(file.readline())
        start += len(file.readline())
        for line_bytes in file:
            while start >= end:
                _, end, home = next(ranges, (0, 0, None))
                if home is None:
                    raise NeedsWholePlan(f"{path} has lines that belong to no night")
            line = line_bytes[:-1].decode()
            yield _name_of(line), line, home
            start += len(line_bytes)
