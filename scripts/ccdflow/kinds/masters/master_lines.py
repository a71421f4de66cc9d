"""The flags of frames and the last lines of a run on masters."""

from __future__ import annotations

import posixpath

from ccdflow.detector.member_selection import TOO_FAINT
from ccdflow.kinds.masters.combining import is_below_minimum
from ccdflow.run import job_records
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.raw_names import copied_files
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK
from ccdflow.run.unparsed_mapping import lists_in
from ccdflow.wording import LEFT_FOR_NEXT_RUN, first_lines

# The end of a run names at most this many frames that were left out of masters of one kind.
_MOST_LEFT_OUT = 10
# The end of a run names at most this many masters of a kind that were not made.
_MOST_REFUSED = 10
# The least `minimum` of a master that the schema of the configuration allows.
_FEWEST_FRAMES = 2
# The lists of a master's record in which each entry gets a line.
_LIST_NAMES = ("remarks", "left_out")


def flags_of_members(kind, context, records):
    """Yield the flags of frames that are copies, or are left out of their master.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.Context
    records : list of ccdflow.run.job_records.Record
        All of this kind.

    Yields
    ------
    (str, str)
        The reduced frame and the flag in words.
    """
    rows = context.store.rows
    rows_of_type = [row for row in rows.values() if row.facts["type"] == kind.type]
    for file, original in copied_files(rows_of_type).items():
        if rows[file].status == OK:
            yield reduced_product(file), f"the same frame as {original}: combined once"
    # Masters that are no longer asked for flag no frame. A frame that was set aside later is not
    # flagged either.
    for record in records if kind.is_enabled(context) else ():
        if context.is_noted_group(record.product):
            continue
        for file, text, *_ in record.data.get("left_out", ()):
            if file in rows and rows[file].status == OK:
                yield reduced_product(file), f"left out of its {kind.nouns[0]}: {text}"


def lines_on_masters(kind, context, records):
    """Return the lines on masters that were not made, have warnings, or lack frames.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.Context
    records : list of ccdflow.run.job_records.Record
        All of this kind.

    Returns
    -------
    list of str
    """
    noun = kind.nouns[0]
    made_records = (record for record in records if record.status == job_records.MADE)
    lists_of_records = [
        (record.product, *lists_in(record.data, _LIST_NAMES)) for record in made_records
    ]
    lines = _lines_on_refused(kind, context, records)
    lines += [
        f"{noun}: {product}: {text}" for product, remarks, _ in lists_of_records for text in remarks
    ]
    # Masters whose frames do not agree are not among these: their own line names the first frames.
    lists_below_minimum = [
        (record.product, *lists_in(record.data, _LIST_NAMES))
        for record in records
        if is_below_minimum(record)
    ]
    lines_on_left_out = [
        f"left out of its {noun}: {file}: {text}"
        for _, _, left_out in (*lists_of_records, *lists_below_minimum)
        for file, text, *_ in left_out
    ]
    return lines + first_lines(lines_on_left_out, _MOST_LEFT_OUT, f"more, see {kind.table}")


def _lines_on_refused(kind, context, records):
    """Return the lines on masters that were refused: a remedy is only in the first of its lines."""
    lines, remedies = [], set()
    files_left = [row.file for row in context.store.rows.values() if row.status == ARRIVING_STATUS]
    for record in records:
        if record.status != job_records.REFUSED:
            continue
        n_left, may_have_more = _frames_left(context, record, files_left)
        remedy = _remedy_of(kind, context, record, n_left=n_left, may_have_more=may_have_more)
        words = f"; {remedy}" if remedy and remedy not in remedies else ""
        remedies.add(remedy)
        if n_left and is_below_minimum(record):
            verb = "is" if n_left == 1 else "are"
            words = f"; {n_left} of its frames {verb} {LEFT_FOR_NEXT_RUN}{words}"
        lines.append(f"no {kind.nouns[0]}: {record.product}: {record.reason}{words}")
    return first_lines(lines, _MOST_REFUSED, f"more, see {kind.table}")


def _remedy_of(kind, context, record, *, n_left, may_have_more):
    """Return the remedy for a master that was refused; '' where its reason has the remedy.

    '' also where the frames that are left for the next run suffice.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of the master.
    context : ccdflow.run.context.Context
    record : ccdflow.run.job_records.Record
        Record of the refused master.
    n_left : int
    may_have_more : bool
        As `_frames_left` returns them.

    Returns
    -------
    str
    """
    if record.basis.get("missing") or "memory" in record.data:
        return ""
    members = record.data.get("members", ())
    if is_below_minimum(record):
        n_lacking = kind.configuration(context)["minimum"] - len(members) - n_left
        if n_lacking <= 0:
            return ""
        if n_left or may_have_more:
            condition = ", unless frames that are still being written belong to it"
            return f"take {n_lacking} more{condition if may_have_more else ''}"
        lower_minimum = f", or add {kind.block}='{{minimum: {len(members)}}}' to --config"
        return f"take {n_lacking} more{lower_minimum if len(members) >= _FEWEST_FRAMES else ''}"
    if not members:
        figures = {figure for _, _, figure, *_ in record.data.get("left_out", ())}
        return f"take brighter {kind.type}s" if figures == {TOO_FAINT} else "look at these frames"
    return (
        "take the odd ones out of the raw folder, or write `{type: other, file: NAME}` under"
        " `types:` in the camera's profile"
    )


def _frames_left(context, record, files_left):
    """Return how many frames of a group are left for the next run, and whether more may be.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    record : ccdflow.run.job_records.Record
        Record of the master.
    files_left : list of str
        All raw files that are left for the next run.

    Returns
    -------
    n_left : int
        Number of frames that are known to be of the group.
    may_have_more : bool
        Whether the folders of the group have further frames that are still being written: their
        headers are not known.
    """
    group = context.find_group(record.product) if files_left else None
    files = set(group.files) if group is not None else set()
    folders = set(map(posixpath.dirname, files))
    others_left = (file for file in files_left if file not in files)
    return (
        sum(file in files for file in files_left),
        any(posixpath.dirname(file) in folders for file in others_left),
    )
