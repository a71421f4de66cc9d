"""The values of all masters that a plan of some nights needs, from a run with nothing to do."""

from __future__ import annotations

from dataclasses import astuple

from ccdflow.kinds.matching.association import library_of
from ccdflow.kinds.matching.rule_values import DetectorNoise
from ccdflow.run.lookups import Lookup
from ccdflow.run.nights.note_lines import NeedsWholePlan


def snapshot_of(context, kind):
    """Return the values of all masters of a kind that a plan of some nights needs.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        After the plan was made.
    kind : ccdflow.kinds.masters.master.MasterKind

    Returns
    -------
    dict of str to (list or dict), or None
        Values that JSON can hold; None where no frame looked for such a master.
    """
    library = context.lookups.get((Lookup.MASTER_LIBRARY, kind.name))
    if library is None:
        # No frame asked for a master: the earlier notes still hold.
        closed_nights = context.closed_nights
        return None if closed_nights is None else closed_nights.notes_of_kind(kind.name)
    noises = [[setup, astuple(noise)] for setup, noise in library.noises.items()]
    return {"noises": noises, "telling": library.card_hashes}


def restore_noises(context, kind, snapshot):
    """Put the noises of a `snapshot_of` into a context of some nights.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        Before the plan is made.
    kind : ccdflow.kinds.masters.master.MasterKind
    snapshot : dict of str to (list or dict), or None
    """
    noises = {
        tuple(map(tuple, setup)): DetectorNoise(*noise)
        for setup, noise in (snapshot or {}).get("noises", ())
    }
    context.lookup((Lookup.NOISES, kind.name), lambda: noises)


def check_snapshot(context, kind, snapshot, *, has_new_groups):
    """Compare the cards that distinguish the masters of a kind with those that were noted.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        After the plan was made.
    kind : ccdflow.kinds.masters.master.MasterKind
    snapshot : dict of str to (list or dict), or None
        As `snapshot_of` returned it.
    has_new_groups : bool
        Whether there are new masters of the kind.

    Raises
    ------
    NeedsWholePlan
        If the cards differ: the choices of closed nights may change.
    """
    is_asked = has_new_groups or (Lookup.MASTER_LIBRARY, kind.name) in context.lookups
    if snapshot is None or not is_asked:
        # No closed night asked for this kind, or its masters are unchanged.
        return
    hashes_now = library_of(context, kind).card_hashes
    noted_hashes = snapshot["telling"]
    if any(hashes_now.get(setup) != card_hash for setup, card_hash in noted_hashes.items()):
        raise NeedsWholePlan(f"other cards tell the masters of {kind.name} apart")
