"""The notes of runs that planned some nights only: lines beside notes too large to rewrite.

The header values and the ledger of a million frames take 900 MB. A run that opens a few nights
(`ccdflow.run.nights.partial_plan`) leaves both files unchanged, and writes all differences into the
file of late notes. A reader of the two files reads the late notes after them. The next plan of
all nights writes the two files anew and removes the late notes.

Late notes are valid only for the files beside which they were written: they hold the checksums of
these files.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.files.text_files import checked_lines

# The notes are read this many times at most if a run writes them meanwhile, as a watch does in each
# round. Chosen: without a limit a reader could wait for as long as the watch goes on.
_MOST_READINGS = 5
# The two files of notes. The keys are those of their checksums in the file of late notes.
_FILE_BY_NAME = {"rows": paths.HEADERS, "records": paths.LEDGER}


@dataclass
class LateNotes:
    """Lines that replace or add to the lines of the notes.

    Attributes
    ----------
    heads : dict of str to dict
        The first lines of the two files of notes, which name the fields of the other lines. The key
        ``"rows"`` has that of the rows, ``"records"`` that of the records.
    rows, records : list of str
        Lines of `ccdflow.run.raw_frames.header_store.line_of_row` and of
        `ccdflow.run.ledger.late_line`.
    n_lost : int
        Number of lines that are lost because the file is damaged; -1 for all of them.
    """

    heads: dict[str, object] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    n_lost: int = 0


def read_late_notes(results):
    """Return the `LateNotes` of a results folder; empty if none are valid for the present notes.

    Parameters
    ----------
    results : path-like

    Returns
    -------
    LateNotes
    """
    file_lines = checked_lines.read_lines(Path(results) / paths.LATE_NOTES, _copy_path(results))
    head = file_lines.head
    # Older results: their notes have "said".
    count, heads = head.get("count"), head.get("heads", head.get("said"))
    if not isinstance(count, int) or not isinstance(heads, dict) or "of" not in head:
        # There are no late notes, or another version wrote them in a form that is unknown here.
        return LateNotes(n_lost=-1 if has_late_notes(results) else 0)
    lines_by_name, n_lost = _lines_of_late_notes(file_lines)
    for name, file in _FILE_BY_NAME.items():
        if head["of"].get(name) != _checksum_of_notes(results, file):
            # This file was written anew since, and contains the late lines.
            lines_by_name[name] = []
            heads.pop(name, None)
    return LateNotes(heads, lines_by_name["rows"], lines_by_name["records"], n_lost)


def _lines_of_late_notes(file_lines):
    """Return the sound lines of late notes without their checksums, and the number of lost lines.

    Parameters
    ----------
    file_lines : ccdflow.files.text_files.checked_lines.CheckedLines

    Returns
    -------
    lines_by_name : dict of str to list of str
        Of ``"rows"`` and of ``"records"``.
    n_lost : int
    """
    head = file_lines.head
    # Older results: late notes of lines without checksums.
    if checked_lines.CHECKSUM not in head:
        lines = iter(file_lines.lines)
        return {"rows": list(islice(lines, head["count"])), "records": list(lines)}, 0
    seed = int(head[checked_lines.CHECKSUM], 16)
    lines = [checked_lines.remove_checksum(line, seed) for line in file_lines.lines]
    if file_lines.is_whole:
        return {"rows": lines[: head["count"]], "records": lines[head["count"] :]}, 0
    sound_lines = list(dict.fromkeys(line for line in lines if line is not None))
    # Records have several fields, rows have one.
    lines_by_name = {
        "rows": [line for line in sound_lines if "\t" not in line],
        "records": [line for line in sound_lines if "\t" in line],
    }
    return lines_by_name, max(0, head["count"] + head["records"] - len(sound_lines))


def _checksum_of_notes(results, file):
    """Return the checksum with which a file of notes was written."""
    copy = paths.COPIES_OF_FIRST_LINES[file]
    return checked_lines.written_checksum(Path(results) / file, Path(results) / copy)


def read_settled(results, read):
    """Return the result of a function that reads notes while no run writes them.

    A reader without the lock may read while a run merges the late notes into the two files: it
    would get the files as before, and no late notes.

    Parameters
    ----------
    results : path-like
    read : callable
        Takes no argument. Called again, up to `_MOST_READINGS` times in all, if the notes have
        changed meanwhile.

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
    """Return size and times of the two files of notes, and of the late notes."""
    names = (*_FILE_BY_NAME.values(), paths.LATE_NOTES)
    return [file_access.stamp_of(Path(results) / name) for name in names]


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
    first_line = checked_lines.first_line_of(
        {
            "of": {name: _checksum_of_notes(results, file) for name, file in _FILE_BY_NAME.items()},
            "heads": late.heads,
            "count": len(late.rows),
            "records": len(late.records),
        }
    )
    seed = checked_lines.checksum_in_first(first_line)
    checked_lines.write_lines(
        Path(results) / paths.LATE_NOTES,
        first_line,
        (checked_lines.add_checksum(line, seed) for line in chain(late.rows, late.records)),
        copy_path=_copy_path(results),
    )


def has_late_notes(results):
    """Return whether a results folder has a file of late notes, whatever its content."""
    return (Path(results) / paths.LATE_NOTES).exists()


def stamp_of_late_notes(results):
    """Return size and times of the file of late notes as a list, [] where there is none."""
    return list(file_access.stamp_of(Path(results) / paths.LATE_NOTES))


def remove_late_notes(results):
    """Remove the files of late notes: their lines are in the files of notes now."""
    for path in (Path(results) / paths.LATE_NOTES, _copy_path(results)):
        with suppress(FileNotFoundError):
            path.unlink()


def _copy_path(results):
    """Return the path of the copy of the late notes' first line."""
    return Path(results) / paths.COPIES_OF_FIRST_LINES[paths.LATE_NOTES]
