"""The executor: it runs the jobs of a plan in a pool of threads.

Batches use it, and so do the jobs that remain after a failure. A run on one machine leaves the
order of jobs to Snakemake, and uses only `attempt`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from ccdflow.run import failures, job_records

SWITCH_SECONDS = 0.0003
"""Seconds for which a thread runs while others wait (`sys.setswitchinterval`).

A thread stops at each system call, and then waits for this time before it runs again. With Python's
default interval, which is longer, the cores are idle for a third of the time.
"""


def attempt(context, job, *, make, threads=1):
    """Make a job's product and leave its record; an error becomes a record as well.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    job : ccdflow.run.job.Job
    make : callable
        ``make(context, job, threads=threads)`` puts the product in place and returns its
        `ccdflow.run.job_records.Record`.
    threads : int, optional
        Cores for the job.

    Returns
    -------
    ccdflow.run.job_records.Record
        Its status is ``failed`` if the job raised an error.

    Raises
    ------
    ccdflow.run.failures.DiskFull
        If the disk is full: no other product can be made either.
    OSError
        If the record of a failed job cannot be written.
    """
    try:
        record = make(context, job, threads=threads)
        job_records.write_record(context.results, record, job.record_path)
    except BaseException as error:
        # Ctrl-C reaches the main thread only. In other threads every error becomes a record:
        # Snakemake waits for ever for a job whose thread has ended by an error.
        is_main = threading.current_thread() is threading.main_thread()
        if isinstance(error, KeyboardInterrupt) and is_main:
            raise
        return failures.leave_record(context, job, error)
    return record


@dataclass
class WorkResult:
    """The result of a call of the executor.

    Attributes
    ----------
    records : dict of str to ccdflow.run.job_records.Record
        By product, in the order in which the jobs ended.
    unrecorded : dict of str to ccdflow.run.failures.JobFailure
        Products whose jobs could leave no record, with the reason.
    full_disk : ccdflow.run.failures.DiskFull or None
        The error of the full disk that ended the work early; None if the disk had room.
    """

    records: dict[str, job_records.Record] = field(default_factory=dict)
    unrecorded: dict[str, failures.JobFailure] = field(default_factory=dict)
    full_disk: failures.DiskFull | None = None


def work_plan(context, jobs, *, threads, on_done=None):
    """Make the products of these jobs by their kinds, each after the jobs that it needs.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    jobs : iterable of ccdflow.run.job.Job
    threads : int
    on_done : callable, optional
        As for `work`; the errors are those of `work`.

    Returns
    -------
    WorkResult
    """
    chain = context.chain
    return work(
        context, jobs, threads=threads, make=chain.make, is_wide=chain.is_wide, on_done=on_done
    )


def work(context, jobs, *, threads, make, is_wide=None, on_done=None):
    """Make the products of these jobs, each after the jobs that it needs.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    jobs : iterable of ccdflow.run.job.Job
        In the plan's order; the first job that is ready runs next.
    threads : int
        Number of jobs that run at the same time.
    make : callable
        See `attempt`.
    is_wide : callable, optional
        Tells whether a job uses all threads itself; no other job runs beside it then.
    on_done : callable, optional
        Called with each record, by the thread that made it.

    Returns
    -------
    WorkResult
        If the disk was full, some jobs are missing from it.

    Raises
    ------
    RuntimeError
        If some jobs wait for each other in a circle.
    Exception
        The first error that is not an error of a job, such as one of ``on_done``.
    """
    pool = _Pool(context, list(jobs), threads=threads, make=make, is_wide=is_wide, on_done=on_done)
    workers = [threading.Thread(target=pool.run, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if pool.error is not None:
        raise pool.error
    return pool.result


class _Pool:
    """The jobs that wait, are ready or run; all threads share them under one lock.

    Parameters
    ----------
    context, jobs, threads, make, is_wide, on_done
        See `work`; `jobs` is a list here.

    Attributes
    ----------
    result : WorkResult
        The result so far.
    error : BaseException or None
        The first error of a thread that is not an error of a job.
    followers : list of list of int
        For each job the indices of the jobs that need it.
    n_missing_needs : list of int
        For each job the number of jobs for which it still waits.
    ready_jobs : list of int
        The indices of the jobs that can be done now, as a heap.
    n_remaining, n_busy_threads : int
        Number of jobs that are not done, and of threads at work.
    is_stopped : bool
        Whether no further job is begun.
    condition : threading.Condition
        The lock, and the signal that a job is done.
    """

    def __init__(self, context, jobs, threads, make, is_wide, on_done):
        self.context, self.jobs, self.threads, self.make = context, jobs, threads, make
        self.is_wide = is_wide or (lambda job: False)
        self.on_done = on_done or (lambda record: None)
        self.result, self.error = WorkResult(), None
        index_of = {job.product: index for index, job in enumerate(jobs)}
        self.followers = [[] for _ in jobs]
        self.n_missing_needs = [0] * len(jobs)
        for index, job in enumerate(jobs):
            for need in set(job.needs) & index_of.keys():
                self.followers[index_of[need]].append(index)
                self.n_missing_needs[index] += 1
        self.ready_jobs = [index for index, count in enumerate(self.n_missing_needs) if not count]
        heapify(self.ready_jobs)
        self.n_remaining, self.n_busy_threads, self.is_stopped = len(jobs), 0, False
        self.condition = threading.Condition()

    def run(self):
        """Make products until none is left (one thread's work)."""
        try:
            while (index := self._next()) is not None:
                self._do(index)
        except BaseException as error:
            with self.condition:
                # An error of another thread is often a consequence of the first error.
                self.error = error if self.error is None else self.error
                self.is_stopped = True
                self.condition.notify_all()

    def _next(self):
        """Return the index of the next job that can be done; None without such a job."""
        with self.condition:
            while self.n_remaining and not self.is_stopped:
                if self.ready_jobs and self._fits(self.jobs[self.ready_jobs[0]]):
                    self.n_busy_threads += self._width(self.jobs[self.ready_jobs[0]])
                    return heappop(self.ready_jobs)
                if not self.n_busy_threads:
                    counts = zip(self.jobs, self.n_missing_needs, strict=True)
                    circle = [job.product for job, n_missing in counts if n_missing]
                    raise RuntimeError(f"jobs need each other in a circle: {', '.join(circle)}")
                self.condition.wait()
        return None

    def _fits(self, job):
        """Return whether the threads that are free suffice for a job."""
        return self.n_busy_threads + self._width(job) <= self.threads

    def _width(self, job):
        """Return the number of threads that a job takes: all for a wide job, otherwise 1."""
        return self.threads if self.is_wide(job) else 1

    def _do(self, index):
        """Do a job and note its record, or the reason why there is no record."""
        job, record, failure, full_disk = self.jobs[index], None, None, None
        width = self._width(job)
        try:
            record = attempt(self.context, job, make=self.make, threads=width)
        except failures.DiskFull as error:
            full_disk = error
        except OSError as error:
            failure = failures.JobFailure.of(error)
        if record is not None:
            self.on_done(record)
        with self.condition:
            self._note(job, record, failure)
            self.n_busy_threads -= width
            self.n_remaining -= 1
            if full_disk is not None:
                self.result.full_disk, self.is_stopped = full_disk, True
            for follower in self.followers[index]:
                self.n_missing_needs[follower] -= 1
                if not self.n_missing_needs[follower]:
                    heappush(self.ready_jobs, follower)
            self.condition.notify_all()

    def _note(self, job, record, failure):
        """Note the record of a job, or why it could not be written; neither for a full disk."""
        if record is not None:
            self.result.records[job.product] = record
        elif failure is not None:
            self.result.unrecorded[job.product] = failure
