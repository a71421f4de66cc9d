"""The start of a run: the lock, the notes of earlier runs, and the plan."""

from __future__ import annotations

import gc
import logging
import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain as chained
from pathlib import Path
from typing import TextIO

from ccdflow import paths
from ccdflow.camera.profiles import load_cameras
from ccdflow.files.atomic_write import is_temporary, remove_abandoned
from ccdflow.run import job_records, late_notes, ledger, lock, plan
from ccdflow.run.batches import claims, withdrawal
from ccdflow.run.context import JobContext
from ccdflow.run.ending import retiring, saving
from ccdflow.run.lines.plan_description import lines_on_plan
from ccdflow.run.nights import closed_nights, partial_plan
from ccdflow.run.nights.note_lines import NeedsWholePlan, NothingClosed
from ccdflow.run.raw_frames import header_store, inventory, raw_names
from ccdflow.run.raw_frames.raw_verdicts import mark_bad_frames, mark_gone
from ccdflow.run.raw_frames.reading_settings import ReadingSettings
from ccdflow.run.run_start import RunRequest, RunStart
from ccdflow.run.sealing import seal
from ccdflow.settings import cameras_folder

_LOG = logging.getLogger(__name__)
# The request of a run that plans all nights.
_WHOLE_RUN = RunRequest()
# Below this number of frames no line gives the reason for a plan of all nights: it takes a second.
_MANY_FRAMES = 10_000


@dataclass
class Session:
    """A run that is planned, and later its failures.

    Attributes
    ----------
    plan : ccdflow.run.plan.Plan
    is_dry : bool
        Whether the run writes nothing.
    lock : file object or None
        The lock of the results folder; None for a dry run, and in the process of a batch.
    busy_batches : dict of str to dict of str to str
        Batches of an earlier run that are still at work, by path. The values have the path of the
        record of each product.
    awaited_batches : frozenset of str
        Batches for which this run has waited. Those among the busy ones give no sign of life.
    signs : ccdflow.run.batches.claims.SignsOfLife
        Signs of life of the processes of busy batches, noted from the plan on.
    failed_records : list of ccdflow.run.job_records.Record
        Failed jobs of this run; filled when the run ends, as are the next four lists.
    postponed_records : list of ccdflow.run.job_records.Record
        Jobs that were left for the next run, because a raw file has gone or changed.
    waiting_records : list of ccdflow.run.job_records.Record
        Jobs whose products keep their earlier version, because a source could not be made.
    provisional_records : list of ccdflow.run.job_records.Record
        Products that were made although a source could not be made.
    unread_records : list of ccdflow.run.job_records.Record
        Jobs that could not read their raw file because the raw folder went away.
    unmoved_products : dict of str to Exception
        Products that no longer belong to the archive, but cannot be moved or deleted; the reason.
    seal : ccdflow.run.sealing.seal.Seal or None
        The valid seal: nothing is to be done, and inventory and ledger were not read.
    state_to_seal : ccdflow.run.sealing.seal.State or None
        The state of the archive before the plan was made; None where no seal is to be left.
    archive_state : ccdflow.run.sealing.seal.State or None
        The same state, also where no seal is to be left: a watch closes nights with it.
    why_all_nights : str
        The reason why all nights are planned although some are closed; '' otherwise. A dry run
        always plans all nights, and has the reason that the run itself would have.
    """

    plan: plan.Plan
    is_dry: bool
    lock: TextIO | None = None
    busy_batches: dict[str, dict[str, str]] = field(default_factory=dict)
    awaited_batches: frozenset[str] = frozenset()
    signs: claims.SignsOfLife = field(default_factory=claims.SignsOfLife)
    failed_records: list[job_records.Record] = field(default_factory=list)
    postponed_records: list[job_records.Record] = field(default_factory=list)
    waiting_records: list[job_records.Record] = field(default_factory=list)
    provisional_records: list[job_records.Record] = field(default_factory=list)
    unread_records: list[job_records.Record] = field(default_factory=list)
    unmoved_products: dict[str, Exception] = field(default_factory=dict)
    seal: seal.Seal | None = None
    state_to_seal: seal.State | None = None
    archive_state: seal.State | None = None
    why_all_nights: str = ""

    @property
    def is_idle(self):
        """Whether a run that writes has found nothing to do."""
        has_work = bool(self.plan.jobs or self.plan.products_to_retire or self.busy_batches)
        return not (has_work or self.is_dry)

    def lines_on_nights(self):
        """Return the line, in a list, on why all nights are planned; [] if no line is needed."""
        if not self.why_all_nights or len(self.context.store.rows) < _MANY_FRAMES:
            return []
        return [f"all nights are planned: {self.why_all_nights}"]

    def batches_to_await(self, products):
        """Return the busy batches of an earlier run that make some of these products.

        A job waits for these batches before it makes such a product. Otherwise both would write the
        same file.

        Parameters
        ----------
        products : collection of str

        Returns
        -------
        list of str
            Paths relative to the results folder, without batches for which the run has waited.
        """
        return [
            path
            for path, records in self.busy_batches.items()
            if path not in self.awaited_batches and not records.keys().isdisjoint(products)
        ]

    def plan_lines(self):
        """Return the first lines of the run, on the products to be made and moved."""
        return self.seal.plan_lines if self.seal else lines_on_plan(self.plan)

    def dry_run_lines(self):
        """Return the lines of a dry run on the effects of the plan."""
        return self.seal.dry_run_lines if self.seal else self.plan.dry_run_lines()

    @property
    def context(self):
        """The run's context."""
        return self.plan.context


def start(
    settings, *, chain, request=_WHOLE_RUN, last_round=None, cores=1, progress=None,
):  # fmt: skip
    """Begin a run: lock the folder, bring inventory and ledger up to date, and plan.

    Parameters
    ----------
    settings : dict of str to object
        Settings, as `ccdflow.settings.load_settings` returns them.
    chain : ccdflow.kinds.kind.Chain
        The kinds of products: `ccdflow.kinds.CHAIN`.
    request : ccdflow.run.run_start.RunRequest, optional
        The default is a plan of all nights, with all changed notes written.
    last_round : ccdflow.run.run_start.LastRound, optional
        The last round, if this run is a round of a watch.
    cores : int, optional
        Number of processes that may read headers.
    progress : callable, optional
        Called with two counts: of headers that are read, and of all headers to read.

    Returns
    -------
    Session

    Raises
    ------
    UserError
        If another run is at work, a camera's profile is wrong, a folder is missing or cannot be
        read, the raw folder holds no raw frame, or results cannot be written.
    """
    results = Path(settings["results"])
    with no_collection(), ExitStack() as stack:
        try:
            reading = reading_settings(settings)
            lock.check_places(results)
            # The stack releases the lock if the start fails.
            lock_file = None if request.is_dry else stack.enter_context(lock.take_lock(results))
            session = _start_locked(
                RunStart(
                    settings=settings,
                    reading=reading,
                    chain=chain,
                    request=request,
                    last_round=last_round,
                    lock=lock_file,
                    cores=cores,
                    progress=progress,
                )
            )
        except OSError as error:
            raise lock.error_of_system(results, error) from None
        stack.pop_all()
    return session


def _start_locked(run_start):
    """Return the session of a run that holds the lock, with a plan of all nights, some or none."""
    request, is_round = run_start.request, run_start.last_round is not None
    # A dry run leaves no seal, so it needs the state only if there is a seal already.
    is_seal_wanted = request.accepts_seal and (
        not request.is_dry or seal.has_seal(run_start.results)
    )
    if not is_seal_wanted and not is_round:
        # The folders are examined for changed nights only for a seal or a watch.
        return session_of_all_nights(run_start)
    archive_state = None
    if not request.names_products:
        archive_state = seal.state_of(
            run_start.settings,
            run_start.reading.cameras,
            run_start.chain,
            cores=run_start.cores,
            has_records=is_round,
        )
    if is_seal_wanted and (valid_seal := _valid_seal(run_start, archive_state)) is not None:
        return _sealed_session(run_start, valid_seal)
    session = _session_of_nights(run_start, archive_state)
    session.state_to_seal = archive_state if is_seal_wanted else None
    session.archive_state = archive_state
    return session


def _valid_seal(run_start, archive_state):
    """Return the seal if it holds and has the lines of this run; otherwise None."""
    valid_seal = seal.valid_seal(run_start.results, archive_state)
    if valid_seal is None or not run_start.request.is_dry:
        return valid_seal
    return None if valid_seal.dry_run_lines is None else valid_seal


@contextmanager
def no_collection():
    """Switch off garbage collection inside this context.

    The many small objects of an archive's notes hold no garbage, and the search for it would take a
    third of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _errors_of_writing(results):
    """Raise a `UserError` on the results folder for an error of the system in this context."""
    try:
        yield
    except OSError as error:
        raise lock.error_of_writing(results, error) from None


def _context_of_run(run_start, store, records, *, outdated_files=frozenset()):
    """Return the `JobContext` of a run, before its plan is made.

    Parameters
    ----------
    run_start : ccdflow.run.run_start.RunStart
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    records : ccdflow.run.ledger.Ledger
    outdated_files : frozenset of str, optional
        Missing raw files whose camera profile was edited since they were read.
    """
    return JobContext(
        settings=run_start.settings,
        raw=run_start.raw,
        results=run_start.results,
        store=store,
        ledger=records,
        chain=run_start.chain,
        outdated_files=outdated_files,
        cameras=run_start.reading.cameras,
    )


def _sealed_session(run_start, valid_seal):
    """Return the session of a run that has nothing to do, without inventory and ledger."""
    if not run_start.request.is_dry:
        with _errors_of_writing(run_start.results):
            remove_logs(run_start.results)
    empty = _context_of_run(run_start, header_store.HeaderStore(), ledger.Ledger())
    return Session(
        plan.Plan(empty, {}, []), run_start.request.is_dry, run_start.lock, seal=valid_seal
    )


def read_notes(results):
    """Return inventory and ledger of a results folder.

    Returns
    -------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    records : ccdflow.run.ledger.Ledger
    """
    return late_notes.read_settled(
        results, lambda: (header_store.load_store(results), ledger.load_ledger(results))
    )


def _session_of_nights(run_start, archive_state):
    """Return the session of a run that plans some nights, or all nights where this is needed."""
    why_all_nights = ""
    try:
        if run_start.request.names_products:
            closed_nights.read_closed_nights(run_start.results)
            raise NeedsWholePlan("products are asked for by name")
        if not run_start.request.is_dry:
            return _session_of_some_nights(run_start, archive_state)
        # A dry run names the jobs of all nights.
        partial_plan.read_nights(run_start, archive_state)
    except NothingClosed:
        pass
    except NeedsWholePlan as error:
        why_all_nights = str(error)
        _LOG.debug("all nights are planned: %s", why_all_nights)
    session = session_of_all_nights(run_start)
    session.why_all_nights = why_all_nights
    return session


def _session_of_some_nights(run_start, archive_state):
    """Return the session of a run that plans some nights only."""
    opened_plan, files = partial_plan.plan_changed_nights(run_start, archive_state)
    session = Session(opened_plan, run_start.request.is_dry, run_start.lock)
    with _errors_of_writing(run_start.results):
        remove_logs(run_start.results)
        retiring.retire_planned(session)
        saving.save_session(session, files)
    return session


def session_of_all_nights(run_start):
    """Return the session of a plan of all nights.

    Raises
    ------
    UserError
        If the raw folder is missing or holds no raw frame, or results cannot be written.
    """
    results, chain, request = run_start.results, run_start.chain, run_start.request
    forced = request.forced
    # None: all raw files that are set aside are read again.
    products_to_reread = None if chain.first.name in forced else forced | request.requested
    busy_batches = {} if request.is_dry else withdrawal.withdraw(results)
    if not request.earlier_jobs.may_go_on:
        run_start, busy_batches = _wait_for_earlier(run_start, busy_batches)
    store, records, files = _notes_of_earlier_runs(run_start)
    missing_files = inventory.update(
        store,
        run_start.reading,
        products_to_reread=products_to_reread,
        progress=run_start.progress,
        cores=run_start.cores,
    )
    mark_gone(store, records, missing_files, results)
    outdated = frozenset(inventory.outdated_files(store, run_start.reading))
    context = _context_of_run(run_start, store, records, outdated_files=outdated)
    new_plan = plan.make_plan(context, forced, records=files, is_dry=request.is_dry)
    session = Session(
        new_plan,
        request.is_dry,
        run_start.lock,
        busy_batches,
        awaited_batches=run_start.awaited_batches,
        signs=claims.SignsOfLife(results / batch for batch in busy_batches),
    )
    if (
        replacing_batches := _batches_replacing_kept(context, busy_batches, files)
        - run_start.awaited_batches
    ):
        run_start, _ = _wait_for_earlier(run_start, replacing_batches)
        return session_of_all_nights(run_start)
    if not request.is_dry:
        with _errors_of_writing(results):
            remove_logs(results)
            retiring.retire_planned(session)
            saving.save_session(
                session, withdrawal.removable_record_files(files, busy_batches, results)
            )
            remove_parts(results, chain.folders)
    return session


def _notes_of_earlier_runs(run_start):
    """Return the notes of earlier runs, with the records that their jobs have left since.

    Parameters
    ----------
    run_start : ccdflow.run.run_start.RunStart

    Returns
    -------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    records : ccdflow.run.ledger.Ledger
    files : list of str
        Paths of the records that are in the ledger now and still on the disk.
    """
    last_round = run_start.last_round
    if last_round is None or last_round.read_notes is None:
        store, records = read_notes(run_start.results)
    else:
        store, records = last_round.read_notes()
    files, unmade_records = ledger.fold(
        run_start.results, records, checks_files=True, noted_records=run_start.unsaved_records
    )
    mark_bad_frames(store, unmade_records)
    return store, records, files


def _wait_for_earlier(run_start, batches):
    """Wait for batches of an earlier run, each once in this run; return those still at work.

    A batch that is locked after the wait gives no sign of life: its machine is dead.

    Parameters
    ----------
    run_start : ccdflow.run.run_start.RunStart
    batches : collection of str
        By their paths, relative to the results folder.

    Returns
    -------
    run_start : ccdflow.run.run_start.RunStart
        A copy whose awaited batches include these.
    busy_batches : dict of str to dict of str to str
        As `withdrawal.withdraw` returns them after the wait.
    """
    earlier_jobs = run_start.request.earlier_jobs
    if new_batches := frozenset(batches) - run_start.awaited_batches:
        paths_of_batches = [run_start.results / batch for batch in sorted(new_batches)]
        signs = claims.SignsOfLife(paths_of_batches)
        for batch in paths_of_batches:
            claims.wait_for(
                batch, say=earlier_jobs.say, note_life=earlier_jobs.note_life, signs=signs
            )
        batches = withdrawal.withdraw(run_start.results)
    return replace(run_start, awaited_batches=run_start.awaited_batches | new_batches), batches


def _batches_replacing_kept(context, busy_batches, files):
    """Return the busy batches that are going to replace a product that this plan keeps.

    An earlier run with other settings has planned these batches. Jobs of this run would read the
    product while it is replaced.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        The context of the plan.
    busy_batches : dict of str to dict of str to str
        As `withdrawal.withdraw` returns them.
    files : list of str
        Paths of the records that are in the ledger.

    Returns
    -------
    frozenset of str
    """
    folded_files = set(files) if busy_batches else ()

    def is_replaced(product, path):
        """Return whether a busy batch is going to replace a product that the plan keeps."""
        kept_record = context.earlier_record(product)
        if product in context.jobs or kept_record is None:
            return False
        # The path is joined in the same way as the paths in `files`.
        is_folded = os.path.join(context.results, path) in folded_files  # noqa: PTH118
        return not is_folded and kept_record.key != paths.parse_done(path)[1]

    return frozenset(
        batch
        for batch, records in busy_batches.items()
        if any(is_replaced(product, path) for product, path in records.items())
    )


def remove_logs(results):
    """Remove the logs of jobs that failed in the last run; this run tries these jobs again.

    The logs of unreadable raw files stay, because these files stay set aside.
    """
    for path in (results / paths.LOGS).glob("*"):
        if path == results / paths.FAILED_READS:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def reading_settings(settings):
    """Return the `ReadingSettings`, on which the reading of headers depends."""
    return ReadingSettings(
        raw=Path(settings["raw"]),
        results=Path(settings["results"]),
        is_case_insensitive=raw_names.is_case_insensitive(settings["results"]),
        cameras=load_cameras(cameras_folder(settings)),
        reduction=settings["reduction"],
        frame_memory=int(settings["limits"]["frame_memory"] * 1e6),
        settle=settings["limits"]["settle"],
    )


def remove_parts(results, folders):
    """Remove temporary files of dead processes, also in the folders of products.

    Parameters
    ----------
    results : pathlib.Path
        The results folder.
    folders : iterable of str
        Folders of products.
    """
    # Of the results folder itself only the files are examined: its folders may be the user's own.
    top = [(results, [], os.listdir(results))]  # noqa: PTH208
    walks = (os.walk(results / name) for name in (*folders, paths.STATE))
    for folder, _, names in chained(top, *walks):
        for part in filter(is_temporary, names):
            remove_abandoned(Path(folder) / part)
