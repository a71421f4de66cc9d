"""The members, nights, candidate masters and keys of groups."""

from __future__ import annotations

from bisect import bisect_right

from ccdflow.kinds.masters.memory_limits import megabytes_allowed
from ccdflow.run import job_records
from ccdflow.run.lookups import Lookup, OutcomeKey
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.rows import digest

TREND_NIGHTS = 30
"""The trend on a night's page has at most this many nights, its own the last of them: a month,
chosen."""


def reduced_members(context, group):
    """Return (raw file, record of the reduced frame) of each frame of a group that was reduced.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group

    Returns
    -------
    list of (str, ccdflow.run.job_records.Record)
    """
    members = []
    for file in group.files:
        record = context.made_record(reduced_product(file))
        if record is not None:
            members.append((file, record))
    return members


def texts_on_left_out(data):
    """Return a text on each member that the data of a master's record name as left out."""
    return [f"left out: {file} ({text})" for file, text, *_ in data.get("left_out", ())]


def trend_groups(kind, context, night):
    """Return the groups of the last `TREND_NIGHTS` nights with groups, up to a night, oldest first.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of ccdflow.run.job.Group
    """
    groups_of_nights = kind.groups_by_night(context)
    nights = context.lookup((Lookup.NIGHTS_OF_GROUPS, kind.name), lambda: sorted(groups_of_nights))
    end = bisect_right(nights, night)
    nights_shown = nights[max(0, end - TREND_NIGHTS) : end]
    return [group for night_shown in nights_shown for group in groups_of_nights[night_shown]]


def later_nights_with_members(kind, context, night):
    """Return the later nights, sorted, whose pages show groups with members of this night.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of str
    """

    def later_nights_by_night():
        """Return {night: later nights whose pages show groups with its frames}."""
        later_nights = {}
        for group in kind.groups(context):
            for earlier_night in group.nights[:-1]:
                later_nights.setdefault(earlier_night, set()).add(group.night_of_page)
        return later_nights

    return sorted(
        context.lookup((Lookup.GROUPS_ELSEWHERE, kind.name), later_nights_by_night).get(night, ())
    )


def candidate_masters(context, group):
    """Return the groups of the candidate masters of a group or frame that this plan has.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of a master, or of a calibrated frame.

    Returns
    -------
    list of ccdflow.run.job.Group
    """
    groups = []
    for step in group.steps:
        for use in step.uses:
            if (master := context.find_group(use.product)) is not None:
                groups.append(master)
    return groups


def basis_lines(kind, context, groups):
    """Return [product, key] of some groups, for the basis of a product that shows these groups.

    After the key come entries on a lack of memory and on a failure, if any. A group whose master
    has no record has no line.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of the groups.
    context : ccdflow.run.context.Context
    groups : iterable of ccdflow.run.job.Group
        Groups that the product shows.

    Returns
    -------
    list of list
    """
    lines = []
    for group in groups:
        record = context.outcome(group.product)
        if record is not None:
            key = record.key
            if not context.is_noted_group(group.product):
                key = context.kept_by_key(
                    (OutcomeKey.HASH_OF_GROUP, group.product),
                    lambda group=group: digest(kind.group_basis(context, group)),
                )
            # A master that stays as it was because its job failed is made, and has a reason.
            failure_entries = (
                ["failed", record.reason]
                if record.status in (job_records.FAILED, job_records.WAITING)
                or (record.status == job_records.MADE and record.reason)
                else []
            )
            memory_entries = _entries_on_memory(context, record)
            lines.append([group.product, key, *memory_entries, *failure_entries])
    return lines


def _entries_on_memory(context, record):
    """Return ['memory'] for a master that is refused for lack of memory and stays so, else [].

    The limit of memory is not part of the master's key. The entry lets a product that shows the
    group be made again once a higher limit suffices for the master.
    """
    if record.status != job_records.REFUSED or "memory" not in record.data:
        return []
    is_tried_again = context.will_be_made(record.product)
    is_enough = megabytes_allowed(context) >= record.data.get("enough", 0)
    return [] if is_tried_again and is_enough else ["memory"]
