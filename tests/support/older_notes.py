"""Notes as earlier versions wrote them: lines without checksums, and no copy of the first line."""

import json

from ccdflow import paths
from ccdflow.files.text_files import checked_lines, notes


def plain_lines(path):
    """Return the first line of some notes and the other ones, without their checksums."""
    first, *lines = notes.read_checked(path)
    head = json.loads(first)
    if checked_lines.CHECKSUM in head:
        del head[checked_lines.CHECKSUM]
        lines = [_without_checksum(line) for line in lines]
    return json.dumps(head, separators=(",", ":")), lines


def _without_checksum(line):
    """Return a line of notes without the checksum at the end of its first field."""
    first, tab, rest = line.partition("\t")
    # A line without a checksum fails here.
    int(first[-8:], 16)
    return first[:-9] + tab + rest


def write_as_before(results):
    """Write the notes of a results folder as an earlier version did."""
    for name in (paths.HEADERS, paths.LEDGER, paths.LATE_NOTES):
        if (results / name).is_file():
            first, lines = plain_lines(results / name)
            if name == paths.LATE_NOTES:
                files = {"rows": paths.HEADERS, "records": paths.LEDGER}
                checksums = {
                    part: notes.noted_checksum(results / file) for part, file in files.items()
                }
                first = json.dumps({**json.loads(first), "of": checksums}, separators=(",", ":"))
            notes.write_checked(results / name, [first, *lines])
        if name in paths.COPIES_OF_FIRST_LINES:
            (results / paths.COPIES_OF_FIRST_LINES[name]).unlink(missing_ok=True)
