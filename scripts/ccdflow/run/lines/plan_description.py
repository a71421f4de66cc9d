"""The lines of a run on its plan: products to be made and moved, frames set aside."""

from __future__ import annotations

import posixpath
from collections import Counter

from ccdflow import paths
from ccdflow.run import ledger
from ccdflow.run.lines.night_lists import nights_in_words
from ccdflow.run.nights import archive_counts
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.raw_names import shown_name
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK, RAW_MISSING, SET_ASIDE
from ccdflow.wording import LEFT_FOR_NEXT_RUN, count, first_lines, first_named, listing, more_line

# At most this many products or files that are moved have a line each. Chosen: enough to show a
# pattern.
_MOST_MOVED = 5
_REASON_OF_MOVE = "no frame or setting asks for it any longer"
# At most this many frames without a row are named. Chosen: they fit one line.
_MOST_UNKNOWN = 3
# At most this many frames of a folder with one reason have a line each; more have one line
# together. Chosen, as `_MOST_MOVED`.
_MOST_ALIKE = 5
# The progress line has at most this many nouns of products, and otherwise "other products". Chosen:
# more do not fit a terminal.
_MOST_KINDS = 5


def lines_on_plan(plan):
    """Return the first lines of a run: products to be made and moved, frames set aside.

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan

    Returns
    -------
    list of str
    """
    return [
        *_lines_on_jobs(plan),
        *_lines_on_lost_records(plan.context),
        *_lines_on_older_headers(plan),
        *_lines_on_moves(plan),
        *_lines_on_unreduced_frames(plan),
        *lines_on_unreadable_folders(plan.context),
    ]


def lines_on_unreadable_folders(context):
    """Return a line for each folder of products that cannot be read."""
    lines = []
    for folder, problem in sorted(context.unreadable_folders.items()):
        lines.append(
            f"{context.results}/{folder}: {problem.text}; its products were not looked at, and none"
            f" is made there: {problem.remedy}"
        )
    return lines


def lines_on_unknown_frames(context):
    """Return the line, in a list, on reduced frames without a row; [] if there are none.

    The raw files of such frames are gone or renamed, and the notes on the headers were lost.
    """
    first = context.chain.first
    unknown_products = sorted(
        product
        for product, record in context.ledger.items()
        if first.has_name(product) and record.stamp and product not in context.products
    )
    if not unknown_products:
        return []
    return [
        f"no raw file is known for {count(len(unknown_products), *first.counted_nouns)}"
        f" ({first_named(unknown_products, _MOST_UNKNOWN)}),"
        " because the notes on the headers were lost: the products are kept, in no table and no"
        " combination; bring the raw files back, or delete the products"
    ]


def _lines_on_jobs(plan):
    """Return the lines on the products to be made: one for each kind, one for all reports."""
    jobs = _jobs_by_kind(plan)
    kinds = [kind for kind in plan.context.chain if kind.name in jobs]
    lines = []
    for kind in kinds:
        jobs_of_kind = jobs[kind.name]
        if kind is plan.context.chain.first:
            frames_in_words = count(plan.planned_counts[kind.name], *kind.nouns)
            lines.append(
                f"{len(jobs_of_kind)} of {frames_in_words} to {kind.verb}:"
                f" {_reasons_in_words(jobs_of_kind)}"
            )
        elif not kind.is_report:
            number_in_words = count(len(jobs_of_kind), *kind.nouns)
            lines.append(f"{number_in_words} to {kind.verb}: {_reasons_in_words(jobs_of_kind)}")
    reports = [kind for kind in kinds if kind.is_report]
    if reports:
        numbers = _counts_of_reports(reports, jobs)
        reasons = _reasons_in_words([job for kind in reports for job in jobs[kind.name]])
        lines.append(f"{numbers} to write: {reasons}")
    return lines or [f"nothing to do: {_subject_up_to_date(plan)} up to date"]


def _counts_of_reports(kinds, jobs):
    """Return the numbers of pictures, pages and tables, counted together by their common noun.

    A dozen kinds would not fit a line.

    Parameters
    ----------
    kinds : list of ccdflow.kinds.kind.Kind
    jobs : dict of str to list of ccdflow.run.job.Job
        By the name of their kind.

    Returns
    -------
    str
    """
    kinds_by_nouns = {}
    for kind in kinds:
        kinds_by_nouns.setdefault(kind.progress_nouns, []).append(kind)
    counts = []
    for shared_nouns, kinds_of_noun in kinds_by_nouns.items():
        nouns = kinds_of_noun[0].nouns if len(kinds_of_noun) == 1 else shared_nouns
        counts.append(count(sum(len(jobs[kind.name]) for kind in kinds_of_noun), *nouns))
    return ", ".join(counts)


def _jobs_by_kind(plan):
    """Return {name of a kind: its jobs}, in the order of the plan."""
    jobs = {}
    for job in plan.jobs.values():
        jobs.setdefault(job.kind, []).append(job)
    return jobs


def _lines_on_older_headers(plan):
    """Return a line for each kind with products that keep an older version of their header."""
    counts = archive_counts.older_header_counts_of_closed_nights(plan.context)
    counts.update({kind: len(products) for kind, products in plan.older_headers.items()})
    return [
        f"{count(number, *kind.nouns)} with a header of an older version: "
        f"`-R {kind.rule}` writes it anew; the pixels would be the same"
        for kind in plan.context.chain
        if (number := counts[kind.name])
    ]


def _lines_on_lost_records(context):
    """Return a line for each file of notes that is damaged, or cannot be read at all."""
    results, records = context.results, context.ledger
    remedy = "end the run and put a copy of this file in its place, if you have one"
    lines = []
    if ledger.has_unreadable_records(results, records):
        lines.append(
            f"warning: {results}/{paths.LEDGER}: the notes on finished products are damaged, or of"
            f" a later version: all products count as new and are made again; {remedy}"
        )
    for file, n_lost in records.n_lost_by_file.items():
        notes = (
            f"{n_lost:,} of the notes on finished products are damaged"
            if n_lost > 0
            else "these notes on finished products are damaged, or of a later version"
        )
        lines.append(
            f"warning: {results}/{file}: {notes}: their products count as new and are made again;"
            f" {remedy}"
        )
    if context.store.n_lost:
        lines.append(
            f"warning: {results}/{paths.HEADERS}: {context.store.n_lost:,} of the notes on headers"
            " are damaged: the headers of these frames are read again"
        )
    return lines


def _subject_up_to_date(plan):
    """Return the beginning of the line on products that are current."""
    if plan.requested:
        return "all products asked for are"
    first = plan.context.chain.first
    return f"{count(plan.planned_counts.get(first.name, 0), *first.nouns)} reduced and"


def _lines_on_moves(plan):
    """Return the lines on products to be moved or deleted."""
    rows, chain = plan.context.store.rows, plan.context.chain
    products_of_moved_files = set(map(reduced_product, plan.moved_files))
    products_moved = [
        product
        for product in plan.files_to_retire
        if not paths.is_shown_only(product) and product not in products_of_moved_files
    ]
    products_named = set(products_moved[:_MOST_MOVED])
    reasons_by_product = {
        product: row.status_and_reason[1]
        for file, row in (rows.items() if products_named else ())
        if (product := reduced_product(file)) in products_named and product not in plan.dropped_rows
    }
    lines = _lines_on_moved_files(
        {
            old: new
            for old, new in plan.moved_files.items()
            if reduced_product(old) in plan.files_to_retire
        }
    )
    lines += [
        f"{product} to be moved into {paths.set_aside('')}: "
        + (
            reasons_by_product.get(product)
            or getattr(chain.kind_of(product), "why_moved", _REASON_OF_MOVE)
        )
        for product in products_moved[:_MOST_MOVED]
    ]
    lines += more_line(len(products_moved) - _MOST_MOVED)
    if n_deleted := len(plan.files_to_retire) - len(products_moved):
        number_in_words = count(n_deleted, "page, picture or table", "pages, pictures, tables")
        lines.append(f"{number_in_words} to be removed: nothing is left to be shown there")
    return lines


def _lines_on_moved_files(new_file_by_old):
    """Return a line for each folder from which raw files were moved, or in which they were renamed.

    Parameters
    ----------
    new_file_by_old : dict of str to str

    Returns
    -------
    list of str
    """
    files_by_folders = {}
    for old, new in sorted(new_file_by_old.items()):
        folders = posixpath.dirname(old), posixpath.dirname(new)
        files_by_folders.setdefault(folders, []).append((old, new))
    lines = []
    for files in files_by_folders.values():
        old, new = files[0]
        how_many = f" (the first of {len(files)} files)" if len(files) > 1 else ""
        its = "their former products are" if len(files) > 1 else "its former product is"
        lines.append(
            f"raw file moved: {old} is now {new}{how_many}: {its} to be moved into"
            f" {paths.set_aside('')}"
        )
    return first_lines(lines, _MOST_MOVED, "more folders from which raw files were moved")


def _lines_on_unreduced_frames(plan):
    """Return the line, in a list, with the number of unreduced frames by status; [] for none."""
    statuses = archive_counts.status_counts(plan.context)
    words_by_status = {
        SET_ASIDE: SET_ASIDE,
        ARRIVING_STATUS: LEFT_FOR_NEXT_RUN,
        RAW_MISSING: RAW_MISSING,
    }
    counts = [
        f"{statuses[status]} {text}" for status, text in words_by_status.items() if statuses[status]
    ]
    return [f"beside them: {', '.join(counts)}"] if counts else []


def _reasons_in_words(jobs):
    """Return the reasons of jobs, each with its number of jobs and their nights, by frequency."""
    nights_by_reason = {}
    for job in jobs:
        nights_by_reason.setdefault(job.reason, []).append(job.night)
    reasons_in_order = sorted(nights_by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    if len({frozenset(nights) - {""} for nights in nights_by_reason.values()}) == 1:
        # The nights are the same for all reasons, so they are named once.
        counts_in_words = ", ".join(
            f"{len(nights)} {reason}" for reason, nights in reasons_in_order
        )
        return "; ".join(filter(None, [counts_in_words, nights_in_words(reasons_in_order[0][1])]))
    return "; ".join(
        ", ".join(filter(None, [f"{len(nights)} {reason}", nights_in_words(nights)]))
        for reason, nights in reasons_in_order
    )


def lines_on_frames_set_aside(store, most_lines=None, leave_out=frozenset()):
    """Return a line for each frame set aside, still arriving, or without its raw file.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    most_lines : int, optional
        Number of lines at most, beside one with the number of lines left out. More than a few
        frames of one folder with the same reason have one line: it has the first and their number.
        If there are still too many lines, each line is on all frames with one reason. The default
        is a line for each frame.
    leave_out : set of str, optional
        Reduced frames that get no line, because other lines name them.

    Returns
    -------
    list of str
    """
    rank = {SET_ASIDE: 0, RAW_MISSING: 1, ARRIVING_STATUS: 2}
    rows = [
        row
        for row in store.rows.values()
        if row.status_and_reason[0] != OK and paths.reduced_frame(row.file) not in leave_out
    ]
    rows.sort(key=lambda row: (rank[row.status_and_reason[0]], row.file))
    entries = list(map(_entry_of_row, rows))
    if most_lines is None:
        return _lines_of_groups([name for _, name, _ in entries], entries)
    folders = Counter((key, posixpath.dirname(name)) for key, name, _ in entries)
    # A frame that has a line of its own is a group, whose name is that of the frame.
    groups = [
        (key, folder if folders[key, folder] > _MOST_ALIKE else name)
        for key, name, _ in entries
        for folder in [posixpath.dirname(name)]
    ]
    lines = _lines_of_groups(groups, entries)
    if len(lines) > most_lines:
        lines = _lines_of_groups([key for key, _, _ in entries], entries)
    return first_lines(lines, most_lines, f"more, see {paths.INVENTORY}")


def _entry_of_row(row):
    """Return (status and reasons without warnings, name, reason with warnings) of a frame.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row

    Returns
    -------
    ((str, str, str), str, str)
    """
    status, reason = row.status_and_reason
    if status == SET_ASIDE:
        # Without the warnings: the reason alone gives the remedy.
        reason = row.reason or reason
    elif status == ARRIVING_STATUS:
        status = LEFT_FOR_NEXT_RUN
    name = row.file if row.file.isprintable() else repr(row.file)[1:-1]
    return (status, row.reason, row.gone), name, reason


def _lines_of_groups(groups, entries):
    """Return a line for each group of frames, with the first frame and the number of frames.

    Parameters
    ----------
    groups : list of tuple or list of str
        The group of each frame.
    entries : list of ((str, str, str), str, str)
        Entries of the frames, as `_entry_of_row` returns them.

    Returns
    -------
    list of str
    """
    first_entries = dict(zip(reversed(groups), reversed(entries), strict=True))
    lines = []
    for group, number in Counter(groups).items():
        (status, *_), name, reason = first_entries[group]
        how_many = f" (the first of {number} frames)" if number > 1 else ""
        lines.append(f"{status}: {name}{how_many}: {reason}")
    return lines


def other_products_in_words(plan):
    """Return the nouns of a plan's products other than frames, for the progress line."""
    numbers = Counter(job.kind for job in plan.jobs.values())
    # For a plan without jobs the kinds need not be imported.
    kinds = [kind for kind in (plan.context.chain[1:] if numbers else ()) if numbers[kind.name]]
    if sum(numbers[kind.name] for kind in kinds) == 1:
        return kinds[0].progress_nouns[0]
    words = list(dict.fromkeys(kind.progress_nouns[1] for kind in kinds))
    if len(words) > _MOST_KINDS:
        return "other products"
    return listing(words) if words else ""


def sources_in_words(plan, job):
    """Return the sources of a job's product in words: its raw frame, its members, its night.

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan
    job : ccdflow.run.job.Job

    Returns
    -------
    str
    """
    context = plan.context
    if job.kind == context.chain.first.name:
        return shown_name(context.row_of_product(job.product).file)
    group = context.find_group(job.product)
    if group is not None:
        if not group.files:
            return "all nights"
        return shown_name(group.files[0]) if len(group.files) == 1 else f"{len(group.files)} frames"
    return f"night {shown_name(job.night)}" if job.night else "all nights"


def lines_of_jobs(plan, most_lines=None):
    """Return a line for each job: its sources, its product and the reason.

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan
    most_lines : int, optional
        Number of jobs of a kind that get a line; the others are counted. The default is all jobs.

    Returns
    -------
    list of str
    """
    lines, jobs_by_kind = [], _jobs_by_kind(plan)
    for kind in plan.context.chain:
        jobs = jobs_by_kind.get(kind.name, [])
        # If only one job exceeds the limit, it gets its line: a line with the count 1 is as long.
        has_room = most_lines is None or len(jobs) <= most_lines + 1
        jobs_shown = jobs if has_room else jobs[:most_lines]
        lines += [
            f"  {sources_in_words(plan, job)} -> {job.product} ({job.reason})" for job in jobs_shown
        ]
        count_of_others = more_line(len(jobs) - len(jobs_shown), "more; -np names all")
        lines += [f"  {line}" for line in count_of_others]
    return lines
