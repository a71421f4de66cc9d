"""The counts in the lines of a run, a night at a time: of the whole archive, or of closed nights.

Functions named `..._of_closed_nights` count those nights alone; their callers add the others. All
others count the archive.

Frames of closed nights (`ccdflow.run.nights.closed_nights`) are not in the store. Their part of
lines and tables was noted when the night was closed.
"""

from __future__ import annotations

from collections import Counter

from ccdflow.run import job_records
from ccdflow.run.rawframes.enabled_types import is_of_enabled_type
from ccdflow.run.rawframes.header_store import HeaderStore
from ccdflow.run.rawframes.rows import OK, plain_row, row_of_plain_values

COUNTS_NOTE = "counts"
"""The name of this part of the notes on closed nights."""


EXPOSURE_LIMIT = 2.0**31
"""Exposure times are below this, seconds; a larger number is not an exposure."""


def counts_of_night(context, night, records, older_headers):
    """Return the counts of a night that is closed, as plain values for its note.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    records : list of ccdflow.run.job_records.Record
        Records that are about this night alone.
    older_headers : dict of str to int
        By kind, how many of its products have a header of an older version.

    Returns
    -------
    dict of str to object
    """
    rows = context.rows_of(night)
    sound_rows = [row for row in rows if row.status == OK and not row.gone]
    return {
        "statuses": Counter(row.status_and_reason[0] for row in rows),
        "asked": sum(is_of_enabled_type(row, context.settings) for row in sound_rows),
        "types": Counter(row.facts["type"] for row in sound_rows),
        "records": Counter(record.kind for record in records),
        "made": Counter(record.kind for record in records if record.status == job_records.MADE),
        "disk": _files_by_folder(records),
        "older_headers": older_headers,
        "rows": [plain_row(row) for row in rows if _may_have_line(row)],
    }


def _may_have_line(row):
    """Return whether a line of the run may be about a frame."""
    is_plain = row.status == OK and not (row.gone or row.warnings or row.reason)
    lacks_exposure = row.facts["type"] == "dark" and not has_exposure(row)
    return not is_plain or lacks_exposure or (row.is_undated and row.facts["type"] == "bias")


def has_exposure(row):
    """Return whether a frame has an exposure time that can be one."""
    value = row.facts["exptime"]
    return isinstance(value, int | float) and 0 < value < EXPOSURE_LIMIT


def store_for_lines(context):
    """Return a store with all rows, closed nights' included, that may get a last line."""
    rows = {
        row.file: row
        for night in context.summaries(COUNTS_NOTE).values()
        for row in map(row_of_plain_values, night["rows"])
    }
    if not rows:
        return context.store
    return HeaderStore(rows={**rows, **context.store.rows})


def status_counts(context):
    """Return {status: number of frames of the archive}, the status as the table shows it."""
    counts = Counter(row.status_and_reason[0] for row in context.store.rows.values())
    return _add_closed_nights(context, "statuses", counts)


def type_counts(context):
    """Return {image type: number of good frames of the archive}."""
    rows = (row for row in context.store.rows.values() if row.status == OK and not row.gone)
    return _add_closed_nights(context, "types", Counter(row.facts["type"] for row in rows))


def frames_asked_of_closed_nights(context):
    """Return the number of frames of closed nights that the configuration asks for."""
    return sum(night["asked"] for night in context.summaries(COUNTS_NOTE).values())


def records_of_closed_nights(context):
    """Return the numbers of records of closed nights by kind: of all, and of products made."""
    return _add_closed_nights(context, "records", Counter()), _add_closed_nights(
        context, "made", Counter()
    )


def older_headers_of_closed_nights(context):
    """Return {kind: number of products of closed nights with a header of an older version}."""
    return _add_closed_nights(context, "older_headers", Counter())


def _add_closed_nights(context, name, counter):
    """Return a counter with the counts of closed nights added."""
    for night in context.summaries(COUNTS_NOTE).values():
        counter.update(night[name])
    return counter


def _files_by_folder(records):
    """Return {folder: [files, bytes]} of products that were made."""
    sizes = {}
    for record in records:
        if record.status == job_records.MADE and record.stamp:
            product = record.product
            top = sizes.setdefault(product.partition("/")[0] if "/" in product else ".", [0, 0])
            top[0] += 1
            top[1] += record.stamp[0]
    return sizes


def disk_used(context):
    """Return [[folder, files, bytes]] of the products, as their records have it."""
    sizes = _files_by_folder(context.ledger.values())
    for night in context.summaries(COUNTS_NOTE).values():
        for top, (files, size) in night["disk"].items():
            counts = sizes.setdefault(top, [0, 0])
            counts[0] += files
            counts[1] += size
    return [[top, *sizes[top]] for top in sorted(sizes, key=lambda top: -sizes[top][1])]
