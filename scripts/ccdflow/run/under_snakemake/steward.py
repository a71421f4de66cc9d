"""The steward of a run: the part of the main process that the rules call.

The rules get from the steward the records that are to be made, and the records that a job needs.
They call it to do a job, and to end the run. A `host.Host` of this folder has Snakemake's options.
Two methods compensate for Snakemake's behaviour: `note_signals`, as its handler of SIGTERM may wait
for ever, and `make_remaining`, as it leaves out jobs that need a failed batch.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import UserError, line_with_origin
from ccdflow.run import failures, freed_pages, job_records, lock, session, worker
from ccdflow.run.batches import batch_progress, batch_splitting, claims
from ccdflow.run.ending import session_end
from ccdflow.run.late_chain import LateChain
from ccdflow.run.lines import plan_description, summary
from ccdflow.run.lines.closing_lines import why_failed
from ccdflow.run.lines.debug_lines import DebugLines
from ccdflow.run.lines.progress import BatchCount, Progress
from ccdflow.run.run_start import EarlierJobs, RunRequest
from ccdflow.run.under_snakemake import job_list, snakemake_views
from ccdflow.run.under_snakemake.core_slots import CoreSlots
from ccdflow.run.under_snakemake.terminal_messages import TerminalMessages
from ccdflow.wording import first_named

# A dry run names this many jobs of each kind, and counts the others. Chosen: -np names all.
_MOST_NAMED = 8
# Python looks for garbage whenever the number of objects has grown by this much. With Python's
# default of 700 the overview of 10,000 nights causes a dozen searches through all objects, which
# take a quarter of its time. Above 7,000 little is gained, and garbage stays in memory longer.
_OBJECTS_BETWEEN_COLLECTIONS = 7000
# If there are more batches than the first number, their files of counts are read at intervals of
# the second number, in seconds. Chosen: a slow network may read 100 files a second.
_MANY_BATCHES, _SECONDS_BETWEEN_COUNTS = 50, 5.0


class JobFailed(Exception):
    """A job could not leave its record, or a product that was asked for was not made."""


class Steward:
    """One run of the main process.

    Parameters
    ----------
    settings : dict of str to object
        Settings, as `ccdflow.settings.load_settings` returns them.
    chain : callable
        Returns the kinds of products, `ccdflow.kinds.CHAIN`; called when they are first needed.
    notices : sequence of str, optional
        Lines on the settings, which are written before all other lines.
    stream : file object, optional
        The stream for all lines; the default is standard error.

    Attributes
    ----------
    chain : ccdflow.run.late_chain.LateChain
        The kinds of products.
    results : str
        The results folder.
    host : ccdflow.run.under_snakemake.host.Host or None
        The options of Snakemake; None until the run begins.
    session : ccdflow.run.session.Session or None
        The planned run; None until it has started.
    progress : ccdflow.run.lines.progress.Progress or None
    jobs : ccdflow.run.under_snakemake.job_list.JobList
        The jobs that Snakemake starts.
    batches : list of ccdflow.run.batches.batch_splitting.Batch
        Batches of this run; [] where Snakemake starts all jobs one by one.
    targets : list of str
        Paths of the records that Snakemake is to make: of all batches, and of all jobs outside
        batches.
    messages : ccdflow.run.under_snakemake.terminal_messages.TerminalMessages
        The filter of Snakemake's messages.
    is_ended : bool
        Whether `end` was called.
    was_interrupted : bool
        Whether a signal from outside has ended the run.
    full_disk : str
        The line on a full disk; '' while there is room.
    """

    def __init__(self, settings, chain, *, notices=(), stream=None):
        self.settings = settings
        self.chain = LateChain(chain)
        self.notices = notices
        self.results = str(Path(settings["results"]))
        self.stream = sys.stderr if stream is None else stream
        self.host = None
        self.session = None
        self.progress = None
        self.batches = []
        self.targets = []
        self.jobs = job_list.JobList(self.results)
        self.messages = TerminalMessages(self)
        self.is_ended = False
        self.was_interrupted = False
        self.full_disk = ""
        self._view = self._debug_lines = None
        self._n_jobs_left = Counter()
        self._lock = threading.Lock()
        self._slots = None

    # -- the start ---------------------------------------------------------------------------------

    def begin(self, host):
        """Make the plan and split it into batches; a second call does nothing.

        Parameters
        ----------
        host : ccdflow.run.under_snakemake.host.Host

        Raises
        ------
        UserError
            If the run cannot begin; the error is also in the summary (`ccdflow.run.lines.summary`).
        """
        if self.session is not None:
            return
        self.host = host
        if host.is_verbose:
            self._debug_lines = DebugLines(self.say)
        freed_pages.keep_freed_pages()
        # The objects of a plan live until the end of the run, so a search would find no garbage.
        gc.disable()
        try:
            self._begin()
        except UserError as error:
            self._write_summary(error=self.line_of(error), busy=isinstance(error, lock.Busy))
            raise
        finally:
            gc.enable()

    def _begin(self):
        """Make the plan, write the first lines, and split the jobs into batches."""
        requested = [self.jobs.product_at(path) for path in self.host.targets]
        # On the login node of a cluster Snakemake alone limits the number of small jobs.
        self._slots = CoreSlots(self.host.cores) if self.host.is_local else None
        planned_session = self._planned_session(requested)
        for line in [
            *self.notices,
            *planned_session.lines_on_nights(),
            *planned_session.plan_lines(),
        ]:
            self.say(line)
        self.session = planned_session
        plan = planned_session.plan
        # For a plan without jobs the kinds need not be imported.
        if not self.host.is_local or (plan.jobs and batch_splitting.needs_batches(plan)):
            self._write_batches()
        self._start_counting()
        if self.host.is_dry:
            most_lines = None if self.host.names_all_jobs else _MOST_NAMED
            lines_of_jobs = plan_description.lines_of_jobs(plan, most_lines)
            for line in [*planned_session.dry_run_lines(), *lines_of_jobs]:
                print(line, file=self.stream, flush=True)
            return
        sys.setswitchinterval(worker.SWITCH_SECONDS)
        if self.batches:
            seconds = _SECONDS_BETWEEN_COUNTS if len(self.batches) > _MANY_BATCHES else None
            self.progress.watch(self._count_of_batches, pause=seconds)
        # From now on no search for garbage goes through the present objects.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])

    def _planned_session(self, requested):
        """Return the session of this run, with the plan of the products that are asked for.

        Parameters
        ----------
        requested : list of str
            Products that are asked for by name; [] for all.
        """
        planned_session = session.start(
            self.settings,
            chain=self.chain,
            request=RunRequest(
                is_dry=self.host.is_dry,
                accepts_seal=True,
                forced=self._forced_products(),
                requested=frozenset(requested),
                earlier_jobs=EarlierJobs(self.say, may_go_on=not self.host.is_local),
            ),
            cores=self.host.cores,
            progress=self._say_headers_read,
        )
        for product in requested:
            job_list.check_product(planned_session.context, product, self.results)
        # A workflow that uses this one as a module has further names, which are not checked.
        for name in () if self.host.is_module else sorted(self.host.forced):
            if not self.chain.by_rule(name):
                job_list.check_forced(planned_session.context, name, self.jobs.product_at(name))
        if requested:
            planned_session.plan.keep_only(requested)
            job_list.check_any_made(planned_session.plan)
        return planned_session

    def _forced_products(self):
        """Return the names of kinds, and the products, that -F, -R and -f name."""
        if self.host.forces_all:
            return frozenset(kind.name for kind in self.chain)
        kinds = {name: self.chain.by_rule(name) for name in self.host.forced}
        return frozenset(
            kind.name if kind else self.jobs.product_at(name) for name, kind in kinds.items()
        )

    def _write_batches(self):
        """Split the jobs into batches and write their files.

        Raises
        ------
        UserError
            If a file cannot be written, as on a full disk.
        """
        is_split_by_night = not self.host.is_local
        try:
            self.batches = batch_splitting.split(
                self.session, is_split_by_night=is_split_by_night, writes_files=not self.host.is_dry
            )
        except OSError as error:
            raise UserError(
                f"a batch cannot be written ({failures.error_words(error)})",
                file=self.results,
                remedy=f"{failures.remedy_of(error)}; all finished products are whole",
            ) from None

    def _start_counting(self):
        """Set the targets of Snakemake, and start the progress line."""
        self.jobs = job_list.JobList(self.results, self.session, self.batches)
        self.targets = self.jobs.targets()
        jobs = self.session.plan.jobs.values()
        self._n_jobs_left = Counter(job.kind for job in jobs)
        n_frames = sum(job.kind == self.chain.first.name for job in jobs)
        mode = "none" if self.host.is_dry else self.settings["progress"]
        self.progress = Progress(
            n_frames,
            n_other_products=len(jobs) - n_frames,
            other_words=plan_description.other_products_in_words(self.session.plan),
            mode=mode,
            stream=self.stream,
        )

    # -- jobs --------------------------------------------------------------------------------------

    def make(self, product, kind, *, threads=1):
        """Make a product and leave its record, even if its job fails.

        Parameters
        ----------
        product : str
            Path relative to the results folder.
        kind : str
            The kind of product that the rule makes.
        threads : int, optional
            Threads that the product may use for itself.

        Raises
        ------
        JobFailed
            If the disk is full, the record cannot be written, a record that this job waits for is
            missing, or the product is of another kind than the rule's.
        """
        job = self.jobs.job(product)
        if job.kind != kind:
            raise JobFailed(
                f"{job.product} is of the kind {job.kind!r}, and its rule names {kind!r}:"
                " correct kind= or the pattern of product= in rules/"
            )
        if missing_path := self.jobs.await_records_needed(job, self.host.latency):
            raise JobFailed(f"{job.product}: {missing_path} has not appeared; raise --latency-wait")
        with self._slots.hold(threads) if self._slots else nullcontext():
            record = self._attempt(job, threads)
        self._count_job(record)
        self._free_memory(job)

    def _attempt(self, job, threads):
        """Make the product of a job and return its record.

        Raises
        ------
        JobFailed
            If the disk is full, or the record cannot be written.
        """
        if self.full_disk:
            raise JobFailed(self.full_disk)
        context = self.session.context
        try:
            return worker.attempt(
                context, job, make=partial(make_after_others, self), threads=threads
            )
        except failures.DiskFull as error:
            self.end_early(error)
            raise JobFailed(str(error)) from None
        except OSError as error:
            raise JobFailed(
                f"{job.product}: its record cannot be written: {failures.error_words(error)};"
                f" {failures.remedy_of(error)}"
            ) from None

    @property
    def may_start_one_more(self):
        """Whether Snakemake may start a job that waits in `make` for a core.

        Not on a cluster, and not beside batches: their processes do not wait for a core.
        """
        return self._slots is not None and not self.batches

    def _free_memory(self, job):
        """Free the memory that jobs of a kind share after the last of them, and unused pages."""
        kind = self.chain.by_name(job.kind)
        with self._lock:
            self._n_jobs_left[job.kind] -= 1
            is_last = not self._n_jobs_left[job.kind]
        if is_last:
            kind.free_memory(is_done=True)
        if is_last or kind.takes_all_cores:
            freed_pages.give_back_pages()

    def _count_job(self, record):
        """Count a job that is done, by its record, and renew the progress line."""
        is_frame = record.kind == self.chain.first.name
        self.progress.add(BatchCount.of_record(record, is_frame=is_frame))

    def check_made(self, path):
        """Raise `JobFailed` with the reason if a product that was asked for is missing.

        Parameters
        ----------
        path : str
            Path of the product.

        Raises
        ------
        JobFailed
            With the reason in the product's record; without a record the run had no job for it.
        """
        if os.path.exists(path):  # noqa: PTH110
            return
        record = self.session.context.outcome(self.jobs.product_at(path))
        reason = record.reason if record else "this run had no job for it; ask for it by its name"
        raise JobFailed(f"{path} was not made: {reason}")

    def end_early(self, error):
        """Write one line on a full disk, and let Snakemake end after the running jobs (SIGTERM)."""
        with self._lock:
            is_first = not self.full_disk
            self.full_disk = str(error)
        if is_first:
            self.say(str(error))
            os.kill(os.getpid(), signal.SIGTERM)

    def note_signals(self):
        """Let `was_interrupted` note a signal; run Snakemake's handler of SIGTERM in a thread.

        That handler takes a lock. The scheduler often holds this lock in the thread that the signal
        interrupts, so the handler would wait for ever there.
        """
        handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

        def note_and_handle(number, frame):
            """Note a signal, and call Snakemake's handler."""
            self.was_interrupted = not self.full_disk
            if number == signal.SIGINT:
                handlers[number](number, frame)
            else:
                threading.Thread(target=handlers[number], args=(number, frame), daemon=True).start()

        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, note_and_handle)

    # -- the end -----------------------------------------------------------------------------------

    def make_remaining(self):
        """Make the products that Snakemake left out although they do not depend on a failure.

        Snakemake runs no job and no batch that needs a failed batch, even if it needs only a
        product that was made before the failure. Without a cluster such jobs are done here. Pages,
        tables and the overview, which show other nights as well, are made without the failed night,
        and again once that night is finished.
        """
        if self.session is None or self.is_ended or self.was_interrupted or self.full_disk:
            return
        result = worker.work(
            self.session.context,
            self.jobs.remaining_jobs(self.chain, makes_all=self.host.is_local),
            threads=self.host.cores,
            make=partial(make_after_others, self),
            is_wide=self.chain.is_wide,
            on_done=self._count_job,
        )
        for product, reason in result.unrecorded.items():
            self.say(f"{product}: its record cannot be written: {reason}")
        if result.full_disk:
            self.full_disk = str(result.full_disk)
            self.say(self.full_disk)

    def end(self):
        """Take in the records of the jobs and write the last lines of a run.

        Returns
        -------
        str
            The reason why the run failed; '' if it has not failed.
        """
        if self.session is None or self.is_ended:
            return ""
        self.is_ended = True
        if self._debug_lines is not None:
            self._debug_lines.end()
        if self.batches:
            self.progress.take_over(self._count_of_batches())
        self.progress.end()
        for line in self.lines_on_interruption():
            self.say(line)
        try:
            lines, has_failed = session_end.finish(self.session)
        except UserError as error:
            self.say(str(error))
            return "the run's notes could not be written; the next run repairs that"
        for line in lines:
            self.say(line)
        self._write_summary()
        freed_pages.keep_until_exit(self.session)
        return why_failed(self.session) if has_failed else ""

    def lines_on_interruption(self):
        """Yield the lines on a run that has ended before all its jobs."""
        if self.was_interrupted:
            yield "the run was stopped; all finished products are whole: run again for the rest"
        unfinished_batches = [batch for batch in self.batches if not self.jobs.is_batch_done(batch)]
        if not unfinished_batches:
            return
        names_in_words = first_named([batch.name for batch in unfinished_batches], 4)
        count_in_words = (
            f"{len(unfinished_batches)} of {len(self.batches)} batches were not finished"
        )
        yield f"{count_in_words} ({names_in_words}): run again"
        if self.messages.signals and not self.was_interrupted:
            names_in_words = ", ".join(sorted(self.messages.signals))
            yield (
                f"a process was ended from outside ({names_in_words});"
                " if nobody did that, it may have been for lack of memory"
            )

    def _count_of_batches(self):
        """Return the sum of the counts of all batches."""
        return BatchCount.total(
            batch_progress.read_count(f"{self.results}/{batch.path}") for batch in self.batches
        )

    # -- words -------------------------------------------------------------------------------------

    def line_of(self, error):
        """Return the line of an error; it names no file if the value is from the command line."""
        names_given = self.host.settings_given if self.host else frozenset()
        return line_with_origin(error, paths.CONFIG_FILE, names_given, "--config ")

    def say(self, text):
        """Write one line of ccdflow."""
        if self.progress is not None:
            self.progress.say(f"ccdflow: {text}")
        else:
            print(f"ccdflow: {text}", file=self.stream, flush=True)

    def _say_headers_read(self, done, total):
        """Write a line after each thousand headers and the last one, if there are 1000 or more."""
        if total >= 1000 and (done % 1000 == 0 or done == total):
            self.say(f"{done} of {total} headers read")

    def _write_summary(self, **problem):
        """Write the end of the summary, for the program that started the run."""
        if self.host.is_dry:
            return
        if self.session is not None:
            problem["what"] = plan_description.other_products_in_words(self.session.plan)
        summary.write_end(self.progress.count if self.progress else BatchCount(), **problem)

    # -- views -------------------------------------------------------------------------------------

    def view(self, host):
        """Return the paths of all products, for drawings and lists; plan, but write nothing.

        Returns
        -------
        list of str
            Paths of all products that Snakemake can show.
        """
        if self._view is None:
            self.host = replace(host, is_dry=True)
            self._view = snakemake_views.View(self.settings, self.chain)
            self.session = self._view.session
            self.jobs = job_list.JobList(self.results, self.session)
        return [f"{self.results}/{product}" for product in sorted(self._view.drawn_products)]

    def view_needs(self, product):
        """Return the inputs of a product in views, older and newer ones.

        Snakemake shows a product with a newer input as out of date.

        Parameters
        ----------
        product : str

        Returns
        -------
        older_files : list of str
            The sources of the product.
        newer_files : list of str
            A file that is newer than any product; [] if the product is current.
        """
        job = self.jobs.job(product)
        is_frame = job.kind == self.chain.first.name
        products, raw = self._view.older_files(
            job, self.jobs.raw_frame(product) if is_frame else None
        )
        return [f"{self.results}/{need}" for need in products] + raw, self._view.newer_files(job)


def make_after_others(steward, context, job, *, threads):
    """Make the product of a job, once no batch of an earlier run works on the same product.

    A batch of a killed run may be at work on a cluster. The product may be made once it has ended.
    A batch that gives no sign of life is waited for once in a run, not once for each job.

    Parameters
    ----------
    steward : Steward
        The steward of the job's run.
    context : ccdflow.run.context.JobContext
        Context of the jobs.
    job : ccdflow.run.job.Job
        Job of the product.
    threads : int
        Threads that the product may use for itself.

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    awaited_batches = steward.session.batches_to_await([job.product])
    for batch in awaited_batches:
        claims.wait_for(context.results / batch, say=steward.say, signs=steward.session.signs)
    record = None
    if awaited_batches:
        record = job_records.readable_record(context.results / job.record_path)
    return record or steward.chain.make(context, job, threads=threads)
