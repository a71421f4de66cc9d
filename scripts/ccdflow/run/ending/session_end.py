"""The end of a run: records of jobs are folded, the notes written, the last lines returned."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.run import failures, job_records, ledger, lock
from ccdflow.run.batches import withdrawal
from ccdflow.run.context import PageContext
from ccdflow.run.ending import retiring, saving
from ccdflow.run.lines import last_run, raw_away
from ccdflow.run.lines.closing_lines import closing_lines, has_strict_failure, line_on_counts
from ccdflow.run.lines.target_lines import line_on_number, lines_on_targets
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.products import kept_products, removal
from ccdflow.run.raw_frames.raw_verdicts import mark_bad_frames
from ccdflow.run.run_start import RunRequest, RunStart
from ccdflow.run.sealing import seal
from ccdflow.run.session import no_collection, reading_settings, session_of_all_nights


def finish(session):
    """Fold the records of a run's jobs into the ledger, write the notes, return the last lines.

    Parameters
    ----------
    session : ccdflow.run.session.Session

    Returns
    -------
    lines : list of str
        The last lines of the run.
    has_failed : bool
        Whether a job failed, the raw folder went away, a product could not be moved, or a frame is
        set aside and ``strict`` counts that as a failure.

    Raises
    ------
    UserError
        If an error of the system stops it: the notes cannot be written, or a file not be read.
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
    """End a run that had a plan; return the last lines, and whether it failed."""
    moved_line = ""
    if session.lock is not None and not session.is_dry:
        moved_line = lock.moved_line(session.lock, session.context.results)
    try:
        return _close_session(session, moved_line)
    except NeedsWholePlan as error:
        session.why_all_nights = str(error)
        return _finish_whole(session, moved_line)


def _close_session(session, moved_line):
    """Fold the records, and leave a seal if nothing was to be done; return as `finish` does."""
    context = session.context
    plan_lines = session.plan_lines() if session.state_to_seal and session.is_idle else []
    if not session.is_dry:
        _fold_records(session)
    # The state for the seal already lists the files of the raw folder that are not read.
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
    """End a run of some nights with a plan of all nights; return as `finish` does.

    Frames of this run change the warnings on frames of nights that were not planned.
    """
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
        It has the records of failed and postponed jobs.
    context : ccdflow.run.context.JobContext
        The context of the session, or of a plan of all nights that was made since.
    moved_line : str
        The line on a results folder that was moved; '' if it was not.
    files_not_read : dict of str to int or None, optional
        As `closing_lines` takes it.

    Returns
    -------
    list of str
    """
    # The ledger now holds the jobs' results.
    ended_context = PageContext.of(replace(context, jobs={}, jobs_elsewhere={}))
    # If the results folder was moved, one line on it replaces those on all failures that this has
    # caused.
    reported_failures = () if moved_line else session.failed_records
    lines = [*filter(None, [moved_line]), *removal.lines_on_unmoved(session.unmoved_products)]
    records_left = (reported_failures, session.postponed_records)
    if session.unread_records:
        # One line reports the raw folder, in place of a line for each frame, master and picture
        # that lacks its file. The next run makes these, and prints the other lines.
        lines += [
            raw_away.line_on_raw_away(session),
            *failures.lines_on_failures(context.results, reported_failures),
            *lines_on_waiting(session),
        ]
        if session.plan.requested:
            return [*lines, line_on_number(ended_context, session.plan, *records_left)]
        return [*lines, line_on_counts(ended_context, *records_left)]
    if session.plan.requested:
        return lines + lines_on_targets(ended_context, session.plan, *records_left)
    return lines + closing_lines(
        ended_context,
        *records_left,
        lines_on_kept=lines_on_waiting(session),
        files_not_read=files_not_read,
    )


def _is_failure(session, context):
    """Return whether something failed: a job, a move, the raw folder, or a frame by ``strict``."""
    has_failed = session.failed_records or session.unread_records or session.unmoved_products
    return bool(has_failed) or has_strict_failure(context)


def lines_on_waiting(session):
    """Return the lines on products that wait for a source, and on products made without one.

    Parameters
    ----------
    session : ccdflow.run.session.Session
        The session of a run whose records are folded.

    Returns
    -------
    list of str
    """
    return kept_products.lines_on_kept(
        session.context.chain, session.waiting_records, session.provisional_records
    )


def _fold_records(session):
    """Fold the records of the jobs, fill the session's lists of records, and write the notes."""
    context = session.context
    jobs = session.plan.jobs if session.busy_batches else {}
    files, unmade_records = ledger.fold(
        context.results, context.ledger, checks_files=False, jobs=jobs,
        provisional_records=session.provisional_records,
    )  # fmt: skip
    mark_bad_frames(context.store, unmade_records)
    session.failed_records = [
        record for record in unmade_records if record.status == job_records.FAILED
    ]
    session.waiting_records = [
        record for record in unmade_records if record.status == job_records.WAITING
    ]
    session.unread_records = [
        record for record in unmade_records if record.data.get(job_records.RAW_AWAY)
    ]
    session.postponed_records = [
        record for record in unmade_records if record.status == job_records.GONE
    ]
    products_that_stay = retiring.products_to_keep(session.plan, unmade_records)
    products_that_leave = [
        record.product for record in unmade_records if record.product not in products_that_stay
    ]
    session.unmoved_products |= retiring.retire(context, products_that_leave)
    for product in retiring.refused_of_frames_set_aside(session.plan, unmade_records):
        context.ledger.pop(product, None)
    busy_batches = withdrawal.withdraw(context.results, is_run_over=True)
    saving.save_session(
        session, withdrawal.removable_record_files(files, busy_batches, context.results)
    )
    if session.plan.jobs:
        last_run.write_last_run(session)
