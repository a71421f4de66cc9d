"""The withdrawal of the batches of an earlier run, and the records of those still at work."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.run.batches.batch_progress import count_path
from ccdflow.run.batches.claims import WITHDRAWN_LINE, lock_path, try_lock

# Seconds, thirty days, for which a withdrawn batch is kept: longer than a job may queue.
_LONGEST_AGE = 30 * 86400.0


def withdraw(results, *, is_run_over=False):
    """Withdraw the batches that no process works on.

    Only the process that holds the results folder may do this. A withdrawn batch leaves a short
    file in its place for a while, so that a queueing cluster job sees the withdrawal: Snakemake
    would wait a minute for a file that is absent.

    Parameters
    ----------
    results : path-like
    is_run_over : bool
        Whether the batches are those of this process, whose jobs have all ended.

    Returns
    -------
    dict of str to dict of str to str
        The batches still at work, by the batch's path relative to the results folder: the record of
        each of its products.
    """
    records_of_busy_batches = {}
    folder = Path(results) / paths.BATCHES
    # A process killed between two removals may leave a lock or count without its batch.
    batches = {path.with_suffix(".json") for path in folder.glob("[!.]*.*.*")}
    for batch in sorted(batches):
        file = try_lock(lock_path(batch))
        if file is None:
            records_of_busy_batches[str(batch.relative_to(results))] = records_of(batch)
            continue
        # The lock goes last: a process that finds none locks a new one, and works on the batch if
        # it is there.
        _withdraw_batch(batch, is_run_over=is_run_over)
        for path in (count_path(batch), lock_path(batch)):
            path.unlink(missing_ok=True)
        file.close()
    return records_of_busy_batches


def _withdraw_batch(batch, *, is_run_over):
    """Remove a batch; leave a note of the withdrawal if a cluster's job may queue for it."""
    try:
        head = batch.read_text("utf-8").partition("\n")[0]
        if '"queued":true' in head and not is_run_over:
            atomic_write.write_text(batch, WITHDRAWN_LINE)
        elif head != WITHDRAWN_LINE.strip() or time.time() - batch.stat().st_mtime > _LONGEST_AGE:
            batch.unlink()
    except FileNotFoundError:
        return
    except OSError:
        # The plan of the batch is over in any case, and a job that finds no batch makes nothing:
        # `Withdrawn`.
        batch.unlink(missing_ok=True)


def records_of(batch):
    """Return {product: path of its record relative to the results folder} of a batch."""
    try:
        _, body = Path(batch).read_text("utf-8").splitlines()
        jobs = json.loads(body)["jobs"]
        return {
            job["product"]: paths.done_record(job["product"], job["key"], job["attempt"])
            for job in jobs
        }
    except (OSError, ValueError, KeyError, TypeError):
        # The batch is gone, withdrawn, or of another version.
        return {}


def removable_records(files, records_of_busy_batches, results):
    """Return the record files that no process at work on a batch needs.

    Parameters
    ----------
    files : list of str
    records_of_busy_batches : dict of str to dict of str to str
        As `withdraw` returns it.
    results : path-like

    Returns
    -------
    list of str
    """
    if not records_of_busy_batches:
        return files
    records_needed = set().union(*records_of_busy_batches.values())
    return [
        path
        for path in files
        if paths.parse_done(os.path.relpath(path, results))[0] not in records_needed
    ]
