"""The members, nights and keys of groups of masters."""

from __future__ import annotations

from bisect import bisect_right

from ccdflow.kinds.masters.memory_limits import megabytes_allowed
from ccdflow.run import job_records
from ccdflow.run.lookups import Lookup, OutcomeKey
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.rawframes.rows import digest

TREND_NIGHTS = 30
"""The trend on a night's page has at most this many nights, its own the last of them."""


def reduced_members(context, group):
    """Return [(raw file, record)] of the frames of a group that were reduced.

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


def trend_groups(kind, context, night):
    """Return the groups of a night and of the nights before it, oldest first.

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


def nights_elsewhere(kind, context, night):
    """Return the other nights, sorted, whose pages show groups with members of this night.

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
        """Return {night: later nights on whose pages its groups are}."""
        nights_by_earlier = {}
        for group in kind.groups(context):
            for earlier_night in group.nights[:-1]:
                nights_by_earlier.setdefault(earlier_night, set()).add(group.night_of_page)
        return nights_by_earlier

    return sorted(
        context.lookup((Lookup.GROUPS_ELSEWHERE, kind.name), later_nights_by_night).get(night, ())
    )


def masters_carried(context, group):
    """Return the groups of all masters that a group or frame may take, as far as they are planned.

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
    """Return [[product, key]] of some groups, for the basis of a product that shows them.

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
            if not context.is_of_closed_night(group.product):
                key = context.kept_by_key(
                    (OutcomeKey.HASH_OF_GROUP, group.product),
                    lambda group=group: digest(kind.group_basis(context, group)),
                )
            # A master that stays as it was, because its job failed, was made and has a reason.
            words_on_failure = (
                ["failed", record.reason]
                if record.status in (job_records.FAILED, job_records.WAITING)
                or (record.status == job_records.MADE and record.reason)
                else []
            )
            words_on_memory = _for_lack_of_memory(context, record)
            lines.append([group.product, key, *words_on_memory, *words_on_failure])
    return lines


def _for_lack_of_memory(context, record):
    """Return ['memory'] for a master that was refused, or will be, for lack of it, else [].

    The limit is not part of the master's key, but a product that shows the group is made again once
    a higher limit lets the master be made.
    """
    if record.status != job_records.REFUSED or "memory" not in record.data:
        return []
    is_tried = context.will_be_made(record.product)
    will_do = is_tried and megabytes_allowed(context) >= record.data.get("enough", 0)
    return [] if will_do else ["memory"]
