"""The work of a batch's process: it makes the jobs, shows the progress, and leaves a record."""

from __future__ import annotations

from pathlib import Path

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.run import freed_pages, job_records, worker
from ccdflow.run.batches import batch_progress, claims
from ccdflow.run.batches.batch_files import batches_awaited, earlier_record_paths, read_batch
from ccdflow.run.lines.progress import BatchCount, Progress
from ccdflow.run.processes import parent_process

BATCH = "batch"
"""The name that the record of a batch has in the place of a kind."""

DISK_FULL_STATUS = 28
"""The exit status of a batch's process if the disk is full."""

# Seconds to wait for the records of earlier batches. A network file system shows files of other
# machines late: by default NFS keeps the list of a folder for 60 s at most (acdirmax).
_MOST_LATE_SECONDS = 60.0


def make_all(path, *, chain, threads, parent=None, say=print):
    """Make the products of a batch, once no other process works on it; return the exit status.

    Parameters
    ----------
    path : path-like
        The batch's file.
    chain : ccdflow.kinds.kind.Chain
        The kinds of products.
    threads : int
    parent : int, optional
        The process that this one must not outlive.
    say : callable, optional
        Called with each line for the user or the log.

    Returns
    -------
    int
        Exit status: 0 if each job has left a record or the batch was withdrawn; `DISK_FULL_STATUS`
        if the disk is full; 1 if a job has left no record, or another version of ccdflow wrote the
        batch.
    """
    freed_pages.keep_freed_pages()
    if parent is not None:
        parent_process.die_with(parent)
    try:
        claim = claims.claim(path, say=say)
    except claims.Withdrawn as error:
        say(f"{error}: the batch is no longer wanted")
        return 0
    try:
        return _make_claimed(path, chain, threads, parent, say)
    except claims.Withdrawn as error:
        say(f"{error}: the batch is no longer wanted")
        return 0
    except UserError as error:
        say(str(error))
        return 1
    finally:
        if claim is not None:
            claim.close()


def _make_claimed(path, chain, threads, parent, say):
    """Make the products of a batch that this process has claimed; return the exit status.

    Parameters
    ----------
    path, chain, threads, parent, say
        As for `make_all`.
    """
    meter = None
    # The reports begin before the first job: while this process waits for records, other processes
    # see that it is alive.
    reporter = batch_progress.Reporter(
        path, lambda: meter.progress.count if meter else BatchCount()
    )
    reporter.start()
    try:
        # A process of an earlier run that is still at work may leave records of these jobs.
        awaited_batches = batches_awaited(path)
        signs = claims.SignsOfLife(awaited_batches)
        for awaited in awaited_batches:
            claims.wait_for(awaited, say=say, signs=signs)
        session = read_batch(path, chain)
        context = session.context
        # Snakemake starts a batch after the batches that it needs. But a killed run may have left a
        # job in the queue of a cluster, which starts earlier if a batch of this run has its name.
        paths_awaited = [context.results / record for record in earlier_record_paths(path)]
        missing_path = job_records.await_records(paths_awaited, _MOST_LATE_SECONDS)
        if missing_path is not None:
            say(
                f"{missing_path.relative_to(context.results)}: the record of an earlier batch is"
                " missing, whose products this batch needs: nothing is made; the run that wrote the"
                " batch starts it again"
            )
            return 1
        # A main process on this machine shows the progress of all its batches itself.
        meter = _Meter(context, mode="plain" if parent is None else "none")
        result = worker.work_plan(
            context, session.plan.jobs.values(), threads=threads, on_done=meter.count_job
        )
        meter.progress.end()
        for product, reason in result.unrecorded.items():
            say(f"{product}: its record cannot be written: {reason}")
        if result.full_disk:
            say(str(result.full_disk))
            return DISK_FULL_STATUS
        return 0 if record_batch(context, path) else 1
    finally:
        # The reports end before the lock is released, because the next run removes the count of a
        # batch that has ended.
        reporter.end()


class _Meter:
    """Counts the finished jobs of a batch, also jobs that an earlier process has finished.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    mode : {'auto', 'plain', 'none'}
        See `ccdflow.run.lines.progress.Progress`.
    """

    def __init__(self, context, *, mode):
        count_of_earlier_jobs = count_recorded_jobs(context)
        self._first = context.chain.first.name
        n_frames = sum(job.kind == self._first for job in context.jobs.values())
        self.progress = Progress(n_frames, n_other_products=len(context.jobs) - n_frames, mode=mode)
        self.progress.take_over(count_of_earlier_jobs)

    def count_job(self, record):
        """Count a finished job by its record."""
        self.progress.add(BatchCount.of_record(record, is_frame=record.kind == self._first))


def count_recorded_jobs(context):
    """Return the `BatchCount` of those jobs of a batch that have left a record."""
    counts = [BatchCount()]
    for job in context.jobs.values():
        record = job_records.readable_record(context.results / job.record_path)
        if record is not None:
            is_frame = job.kind == context.chain.first.name
            counts.append(BatchCount.of_record(record, is_frame=is_frame))
    return BatchCount.total(counts)


def record_batch(context, path):
    """Write the record of a batch if each of its jobs has left a record; return whether it did.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Context of the batch's process.
    path : path-like
        The batch's file.

    Returns
    -------
    bool
    """
    count = count_recorded_jobs(context)
    if count.frames + count.other_products < len(context.jobs):
        return False
    name, _, key = Path(path).stem.rpartition(".")
    product = f"batches/{name}"
    record = job_records.Record(product, BATCH, key, data=vars(count))
    job_records.write_record(context.results, record, paths.done_record(product, key))
    return True
