"""The numbers of frames, records and files that the lines of a run give.

Frames of closed nights (`ccdflow.run.nights.closed_nights`) are not in the store: their numbers
were noted when the night was closed. Functions named `..._of_closed_nights` return these alone, and
their callers add the open nights. All other functions count the whole archive. Functions that read
the notes raise `ccdflow.run.nights.note_lines.NeedsWholePlan` if these cannot be read.
"""

from __future__ import annotations

from collections import Counter

from ccdflow.run import job_records
from ccdflow.run.raw_frames.enabled_types import is_of_enabled_type
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.rows import OK, plain_row, row_of_plain_values

COUNTS_NOTE = "counts"
"""The name of this part of the notes on closed nights."""


EXPOSURE_LIMIT = 2.0**31
"""Seconds, 68 years: an exposure time that is not below this is no exposure time. With a larger
limit damaged cards count; with a much smaller one exposures in milliseconds do not. Chosen, not
measured."""


def counts_of_night(context, night, records, older_headers):
    """Return the counts of a night that is closed, as plain values for its note.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    records : list of ccdflow.run.job_records.Record
        Records that are about this night alone.
    older_headers : dict of str to int
        By kind, the number of its products that have a header of an older version.

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
        "disk": _disk_use_by_folder(records),
        "older_headers": older_headers,
        "rows": [plain_row(row) for row in rows if _may_have_line(row)],
    }


def _may_have_line(row):
    """Return whether a line of the run may be about a frame."""
    has_verdict = bool(row.status != OK or row.gone or row.warnings or row.reason)
    lacks_exposure = row.facts["type"] == "dark" and not has_exposure(row)
    return has_verdict or lacks_exposure or (row.is_undated and row.facts["type"] == "bias")


def has_exposure(row):
    """Return whether a frame has an exposure time above 0 and below `EXPOSURE_LIMIT`."""
    value = row.facts["exptime"]
    return isinstance(value, int | float) and 0 < value < EXPOSURE_LIMIT


def store_for_lines(context):
    """Return a store with all rows that a last line may be about, also those of closed nights."""
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


def n_frames_of_closed_nights(context):
    """Return the number of frames of closed nights that the configuration asks for."""
    return sum(night["asked"] for night in context.summaries(COUNTS_NOTE).values())


def record_counts_of_closed_nights(context):
    """Return the numbers of records of closed nights by kind: of all, and of products made."""
    return _add_closed_nights(context, "records", Counter()), _add_closed_nights(
        context, "made", Counter()
    )


def older_header_counts_of_closed_nights(context):
    """Return {kind: number of products of closed nights with a header of an older version}."""
    return _add_closed_nights(context, "older_headers", Counter())


def _add_closed_nights(context, name, counter):
    """Return a counter with the counts of closed nights added."""
    for night in context.summaries(COUNTS_NOTE).values():
        counter.update(night[name])
    return counter


def _disk_use_by_folder(records):
    """Return {folder: [number of files, bytes]} of the products that were made."""
    disk_use = {}
    for record in records:
        if record.status == job_records.MADE and record.stamp:
            product = record.product
            folder = product.partition("/")[0] if "/" in product else "."
            totals = disk_use.setdefault(folder, [0, 0])
            totals[0] += 1
            totals[1] += record.stamp[0]
    return disk_use


def disk_used(context):
    """Return [[folder, number of files, bytes]] of the products by their records, largest first."""
    disk_use = _disk_use_by_folder(context.ledger.values())
    for night in context.summaries(COUNTS_NOTE).values():
        for folder, (n_files, n_bytes) in night["disk"].items():
            totals = disk_use.setdefault(folder, [0, 0])
            totals[0] += n_files
            totals[1] += n_bytes
    folders = sorted(disk_use, key=lambda folder: -disk_use[folder][1])
    return [[folder, *disk_use[folder]] for folder in folders]
