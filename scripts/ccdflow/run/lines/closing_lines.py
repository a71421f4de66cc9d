"""The lines at the end of a run: failed jobs, frames set aside, and the number of products."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.run import failures, job_records
from ccdflow.run.lines.plan_description import (
    lines_on_frames_set_aside,
    lines_on_unknown_frames,
    lines_on_unreadable_folders,
)
from ccdflow.run.nights import archive_counts
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.lines_on_types import biasless_lines, untyped_lines
from ccdflow.run.raw_frames.raw_verdicts import records_by_kind
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, RAW_MISSING, SET_ASIDE, RowMark
from ccdflow.run.raw_frames.warnings_of_rows import (
    files_passed_over,
    no_overscan_lines,
    passed_over_lines,
    warning_lines,
)
from ccdflow.wording import LEFT_FOR_NEXT_RUN, count


def why_failed(session):
    """Return the line that says why a completed run counts as a failure."""
    if session.unread_records:
        return "the raw folder went away; all else is made, see the lines above"
    if session.failed_records:
        jobs_in_words = count(len(session.failed_records), "job")
        products_made = "all else"
        if session.waiting_records:
            products_made = "all else that needs none of them"
        return f"{jobs_in_words} failed; {products_made} is made, see the lines above"
    if session.unmoved_products:
        return "products could not be moved to set_aside/; all else is made, see the lines above"
    return "frames were set aside, and `strict` makes that a failure"


def has_strict_failure(context):
    """Return whether a frame is set aside and the setting ``strict`` makes that a failure."""
    if not context.settings["strict"]:
        return False
    return any(
        row.status == SET_ASIDE for row in archive_counts.store_for_lines(context).rows.values()
    )


def closing_lines(
    context, failed_records=(), postponed_records=(), *, lines_on_kept=(), files_not_read=None
):
    """Return the closing lines of a run.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    failed_records, postponed_records : sequence of ccdflow.run.job_records.Record, optional
        Failed jobs of this run, and jobs that were left for the next run.
    lines_on_kept : sequence of str, optional
        Lines on products that keep their earlier version.
    files_not_read : iterable of str, optional
        Files of the raw folder that look like raw frames and are not read. The default is to look
        through the folder for them.

    Returns
    -------
    list of str
    """
    store = archive_counts.store_for_lines(context)
    lines = lines_on_unreadable_folders(context) + failures.lines_on_failures(
        context.results, failed_records
    )
    lines += [
        f"{LEFT_FOR_NEXT_RUN}: {record.product}: {record.reason}"
        for record in postponed_records
        # Frames have lines by their rows.
        if record.kind != context.chain.first.name
    ]
    lines += lines_on_kept
    lines += lines_on_frames_set_aside(
        store, most_lines=20, leave_out={record.product for record in failed_records}
    )
    lines += passed_over_lines(
        files_passed_over(context.raw) if files_not_read is None else files_not_read
    )
    lines += warning_lines(store) + untyped_lines(store) + no_overscan_lines(store)
    lines += biasless_lines(store)
    lines += lines_on_unknown_frames(context)
    records = records_by_kind(context.ledger)
    for kind in context.chain:
        lines += kind.closing_lines(context, records.get(kind.name, []))
    return [*lines, line_on_counts(context, failed_records, postponed_records)]


def line_on_counts(context, failed_records, postponed_records):
    """Return the last line of a run: the numbers of products, and of frames by status.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    failed_records, postponed_records : sequence of ccdflow.run.job_records.Record
        As `closing_lines` takes them.

    Returns
    -------
    str
    """
    # Files of these products may be on the disk, made by an earlier run: they do not count.
    products_not_made = {
        reduced_product(file)
        for file, row in context.store.rows.items()
        if row.status_and_reason[0] == ARRIVING_STATUS
    }
    products_not_made |= {record.product for record in (*failed_records, *postponed_records)}
    records = records_by_kind(context.ledger)
    noted_records, noted_products = archive_counts.record_counts_of_closed_nights(context)
    counts = []
    for kind in context.chain:
        records_of_kind = records.get(kind.name, [])
        if kind.counted_nouns and (
            records_of_kind or noted_records[kind.name] or kind.is_always_counted
        ):
            number = sum(
                record.status == job_records.MADE and record.product not in products_not_made
                for record in records_of_kind
            )
            counts.append(count(number + noted_products[kind.name], *kind.counted_nouns))
    counts += _counts_of_frames(context, failed_records)
    return f"{', '.join(counts)}; table: {context.results / paths.INVENTORY}"


def _counts_of_frames(context, failed_records):
    """Return the last counts of the last line, in words: frames by status, and failed jobs."""
    store = archive_counts.store_for_lines(context)
    statuses, first = archive_counts.status_counts(context), context.chain.first.name
    counts = {
        "failed": len(failed_records),
        "of unknown image type": sum(row.has(RowMark.UNKNOWN_TYPE) for row in store.rows.values()),
        LEFT_FOR_NEXT_RUN: statuses[ARRIVING_STATUS]
        - sum(each.kind == first for each in failed_records),
        RAW_MISSING: statuses[RAW_MISSING],
    }
    words_of_counts = [f"{number} {words}" for words, number in counts.items() if number > 0]
    return [f"{statuses[SET_ASIDE]} {SET_ASIDE}", *words_of_counts]
