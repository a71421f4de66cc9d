"""Writing of a run's notes: inventory, header values and ledger."""

from __future__ import annotations

from ccdflow.run import failures, late_notes, ledger
from ccdflow.run.nights import partial_plan
from ccdflow.run.raw_frames import header_store
from ccdflow.run.raw_frames.raw_verdicts import note_flags


def save_session(session, files=()):
    """Write inventory, header values and ledger if they changed; then remove folded records.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    files : iterable of path-like, optional
        Files of records that are in the ledger now.

    Raises
    ------
    OSError
        If one of the notes cannot be written.
    """
    context = session.context
    note_flags(context)
    for file, text in context.store.tracebacks.items():
        failures.write_raw_log(context.results, file, text)
    context.store.tracebacks.clear()
    if context.closed_nights is not None:
        partial_plan.save_partial_plan(context)
    else:
        header_store.save_store(context.results, context.store)
        ledger.save_ledger(context.results, context.ledger)
        late_notes.remove_late_notes(context.results)
    ledger.remove_records(context.results, files)
