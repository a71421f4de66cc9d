"""The end of a run: the records of its jobs are folded, the notes written, the last lines given."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.run import job_records, ledger, lock
from ccdflow.run.batches import withdrawal
from ccdflow.run.context import PageContext
from ccdflow.run.ending import retiring, saving
from ccdflow.run.lines import last_run
from ccdflow.run.lines.closing_lines import closing_lines, fails
from ccdflow.run.lines.target_lines import lines_on_targets
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.products import kept_products, removal
from ccdflow.run.rawframes.raw_verdicts import mark_bad_frames
from ccdflow.run.run_start import RunRequest, RunStart
from ccdflow.run.sealing import seal
from ccdflow.run.session import no_collection, reading_settings, session_of_all_nights


def finish(session):
    """End a run: fold the jobs' records into the ledger, write the notes, give the last lines.

    Returns
    -------
    lines : list of str
        The last lines of the run.
    has_failed : bool
        Whether a job failed, or a frame is set aside and ``strict`` counts that as a failure.

    Raises
    ------
    UserError
        If the notes cannot be written, or the values of the last lines cannot be read.
    """
    if session.seal:
        return session.seal.closing_lines, session.seal.is_failure
    try:
        with no_collection():
            return _finish_planned(session)
    except OSError as error:
        consequence = "all finished products are whole, and the next run takes them in"
        raise lock.error_of_writing(
            session.context.results, error, consequence=consequence
        ) from None


def _finish_planned(session):
    """Return the last lines, and whether a job failed, after a run of some nights or of all."""
    moved_line = ""
    if session.lock is not None and not session.is_dry:
        moved_line = lock.moved_line(session.lock, session.context.results)
    try:
        return _close_session(session, moved_line)
    except NeedsWholePlan as error:
        session.why_all_nights = str(error)
        return _finish_whole(session, moved_line)


def _close_session(session, moved_line):
    """Return the closing lines, and whether a job failed."""
    context = session.context
    plan_lines = session.describe() if session.state_to_seal and session.is_idle else []
    if not session.is_dry:
        _fold_records(session)
    # The look for the seal has seen all files of the raw folder.
    archive_state = session.state_to_seal
    passed_over = archive_state.passed_over if archive_state else None
    lines = _last_lines(session, context, moved_line, files_not_read=passed_over)
    is_failure = _is_failure(session, context)
    if plan_lines and not session.failed_records and not moved_line:
        seal.leave_seal(
            session.plan,
            archive_state,
            plan_lines=plan_lines,
            closing_lines=lines,
            is_failure=is_failure,
        )
    return lines, is_failure


def _finish_whole(session, moved_line):
    """Plan all nights at the end of a run of some, whose frames change warnings on others."""
    context = session.context
    settings = context.settings
    reading = reading_settings(settings)
    session_of_all = session_of_all_nights(
        RunStart(
            settings=settings,
            reading=reading,
            chain=context.chain,
            request=RunRequest(is_dry=session.is_dry),
            lock=session.lock,
        )
    )
    session_of_all.why_all_nights = session.why_all_nights
    session.unmoved_products |= session_of_all.unmoved_products
    lines = [
        *session_of_all.lines_on_nights(),
        *_last_lines(session, session_of_all.context, moved_line),
    ]
    if session.plan.jobs:
        last_run.write_last_run(session)
    return lines, _is_failure(session, session_of_all.context)


def _last_lines(session, context, moved_line, *, files_not_read=None):
    """Return the last lines of a run whose records are folded.

    Parameters
    ----------
    session : ccdflow.run.session.Session
        With the jobs that failed, and those left for later.
    context : ccdflow.run.context.JobContext
        That of the session, or of the plan of all nights that was made since.
    moved_line : str
        The line on a results folder that was moved; '' if it was not.
    files_not_read : dict of str to int or None
        As `closing_lines` takes it.

    Returns
    -------
    list of str
    """
    # The ledger now holds the jobs' results.
    ended_context = PageContext.of(replace(context, jobs={}, jobs_elsewhere={}))
    # Jobs whose sources vanished with the folder failed for that reason alone: one line reports it.
    reported_failures = () if moved_line else session.failed_records
    lines = [*filter(None, [moved_line]), *removal.lines_on_unmoved(session.unmoved_products)]
    if session.plan.requested:
        return lines + lines_on_targets(
            ended_context, session.plan, reported_failures, session.postponed_records
        )
    return lines + closing_lines(
        ended_context,
        reported_failures,
        session.postponed_records,
        lines_on_kept=lines_on_waiting(session),
        files_not_read=files_not_read,
    )


def _is_failure(session, context):
    """Return whether a job failed, a product could not be moved, or ``strict`` finds a failure."""
    return bool(session.failed_records or session.unmoved_products) or fails(context)


def lines_on_waiting(session):
    """Return the lines on products that wait for others, and on those made without them.

    Parameters
    ----------
    session : ccdflow.run.session.Session
        It has ended.

    Returns
    -------
    list of str
    """
    return kept_products.lines_on_kept(
        session.context.chain, session.waiting_records, session.provisional_records
    )


def _fold_records(session):
    """Fold the records of the jobs into the ledger, and write inventory and ledger."""
    context = session.context
    jobs = session.plan.jobs if session.busy_batches else {}
    files, unmade = ledger.fold(
        context.results, context.ledger, checks_files=False, jobs=jobs,
        provisional=session.provisional_records,
    )  # fmt: skip
    mark_bad_frames(context.store, unmade)
    session.failed_records = [record for record in unmade if record.status == job_records.FAILED]
    session.waiting_records = [r for r in unmade if r.status == job_records.WAITING]
    first_kind = context.chain.first.name
    session.postponed_records = [
        record
        for record in unmade
        if record.status == job_records.GONE and record.kind != first_kind
    ]
    staying = retiring.unmade_for_now(session.plan, unmade)
    leaving = [record.product for record in unmade if record.product not in staying]
    session.unmoved_products |= retiring.retire(context, leaving)
    for product in retiring.refused_with_frames(session.plan, unmade):
        context.ledger.pop(product, None)
    busy_batches = withdrawal.withdraw(context.results, is_run_over=True)
    saving.save_session(session, withdrawal.removable_records(files, busy_batches, context.results))
    if session.plan.jobs:
        last_run.write_last_run(session)
