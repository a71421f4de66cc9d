"""A watch closes nights that have ended, so that its memory holds the open ones alone.

A run that finds nothing to do notes all nights beside its seal (`ccdflow.run.nights`). While a
telescope observes, there is always something to do in the present night. After a round a watch
therefore plans the same frames once more, and finds nothing to do. It writes the note of all
nights, but with an empty hash of the folders of nights that are not done: the next plan opens
these. Late notes (`ccdflow.run.late_notes`), which each plan reads, are merged into the other notes
once they are many.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace

from ccdflow.run.job import OF_A_MASTER
from ccdflow.run.nights import closed_nights, merging, partial_plan
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.raw_frames.rows import is_dated
from ccdflow.run.sealing.seal import is_read_again

# Nights are closed when they have at least this fraction of the frames of all open nights, because
# each closing writes all notes anew. Chosen, not measured.
_LEAST_CLOSED_FRACTION = 0.25


def close_nights(session):
    """Close the nights that are done, if they have enough frames.

    Parameters
    ----------
    session : ccdflow.run.session.Session
        It has ended; its lock is still held.

    Returns
    -------
    bool
        Whether the notes were written anew. A plan that was made with the former ones is outdated.
    """
    context, rows = session.context, session.context.store.rows.values()
    if session.archive_state is None or session.unmoved_products or context.unreadable_folders:
        return False
    done_nights, open_nights = _done_and_open_nights(session)
    if not done_nights or sum(
        row.night in done_nights for row in rows
    ) < _LEAST_CLOSED_FRACTION * len(rows):
        return False
    try:
        new_plan = partial_plan.plan_again(context)
    except NeedsWholePlan:
        return False
    master_kinds = {kind.name for kind in context.chain if kind.reach == OF_A_MASTER}
    if new_plan.jobs_of_kind(*master_kinds) or new_plan.products_to_retire:
        return False
    open_nights |= {job.night for job in new_plan.jobs.values()}
    open_folders = {
        f"raw/{posixpath.dirname(row.file)}" for row in rows if row.night in open_nights
    }
    # No folder has the empty hash, and a removed folder has no hash: the next plan opens these
    # nights.
    folders = {**session.archive_state.folders, **dict.fromkeys(open_folders, "")}
    ended_context = replace(new_plan.context, jobs={}, jobs_elsewhere={})
    state = replace(session.archive_state, folders=folders)
    closed_nights.note_all_nights(ended_context, state, new_plan.older_headers)
    merging.merge_late_notes(context.results)
    return True


def _done_and_open_nights(session):
    """Return the nights that are done and not closed yet, and the nights that are not done.

    A night is not done if it may be the last one, if a product of it was made in this round, if the
    next round reads a frame of it again, or if it shares a folder with a night that is not done.
    """
    context, closed_nights_of_run = session.context, session.context.closed_nights
    rows = context.store.rows.values()
    nights = {row.night for row in rows}
    open_nights = {max(nights, default=""), max(filter(is_dated, nights), default="")}
    open_nights |= {job.night for job in session.plan.jobs.values()}
    open_nights |= {row.night for row in rows if is_read_again(row)}
    nights_by_folder = {}
    for row in rows:
        nights_by_folder.setdefault(posixpath.dirname(row.file), set()).add(row.night)
    earlier_open_nights = None
    while earlier_open_nights != open_nights:
        earlier_open_nights = set(open_nights)
        for nights_of_folder in nights_by_folder.values():
            if not open_nights.isdisjoint(nights_of_folder):
                open_nights |= nights_of_folder
    changed_nights = (
        nights
        if closed_nights_of_run is None
        else closed_nights_of_run.changed_nights
        | {night for night in nights if night not in closed_nights_of_run}
    )
    return (nights & changed_nights) - open_nights, open_nights
