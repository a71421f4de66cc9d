"""Lines of a table that carry their own checksum: an edited line differs from one as written."""

from __future__ import annotations

import csv
import io
import zlib

CHECKSUM_COLUMN = "seal"
"""The column of a table with the checksum of its line."""


def checksum_of(row):
    """Return the checksum of a line: a dict of texts, in the order of its columns."""
    values = [[name, str(value)] for name, value in row.items() if name != CHECKSUM_COLUMN]
    return f"{zlib.crc32(repr(values).encode('utf-8', 'surrogateescape')):08x}"


def unedited_lines(path):
    """Return (the unedited lines of a table, the number of edited lines).

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    rows : list of dict of str to str
    n_edited : int
        Number of lines with another checksum than theirs; lines without one are in neither.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        lines = list(csv.DictReader(io.StringIO(text)))
    except (OSError, csv.Error):
        return [], 0
    lines_with_checksum = [line for line in lines if line.get(CHECKSUM_COLUMN)]
    unedited = [line for line in lines_with_checksum if line[CHECKSUM_COLUMN] == checksum_of(line)]
    return unedited, len(lines_with_checksum) - len(unedited)


def table_of(columns, rows):
    """Return a table as bytes, each line with its checksum in the last column.

    Parameters
    ----------
    columns : sequence of str
        Names, in order.
    rows : iterable of dict
        By name of column.

    Returns
    -------
    bytes
        CSV in UTF-8.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, CHECKSUM_COLUMN], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        texts = {name: str(row[name]) for name in columns}
        writer.writerow({**texts, CHECKSUM_COLUMN: checksum_of(texts)})
    return text.getvalue().encode("utf-8", "surrogateescape")
