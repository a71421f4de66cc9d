"""The withdrawal of batches of an earlier run, and the records of batches still at work."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.run.batches.batch_progress import count_path
from ccdflow.run.batches.claims import WITHDRAWN_LINE, lock_path, try_lock

# The file of a withdrawn batch is removed once it is older than this, in seconds. Chosen: no job
# stays in a queue for a month.
_LONGEST_AGE = 30 * 86400.0


def withdraw(results, *, is_run_over=False):
    """Withdraw the batches on which no process works; return the batches that are still at work.

    Only the process that holds the lock of the results folder may do this. The file of a withdrawn
    batch is replaced by a short one, in which a cluster job that leaves the queue later sees the
    withdrawal. Snakemake would wait a minute for a file that is absent.

    Parameters
    ----------
    results : path-like
    is_run_over : bool, optional
        Whether the batches are those of this process, whose jobs have all ended.

    Returns
    -------
    dict of str to dict of str to str
        The batches that are still at work, by path relative to the results folder. The values have
        the path of the record of each product.
    """
    record_paths_by_batch = {}
    folder = Path(results) / paths.BATCHES
    # A process that was killed between two removals may have left a lock or count without a batch.
    batches = {path.with_suffix(".json") for path in folder.glob("[!.]*.*.*")}
    for batch in sorted(batches):
        file = try_lock(lock_path(batch))
        if file is None:
            record_paths_by_batch[str(batch.relative_to(results))] = record_paths_of(batch)
            continue
        # The lock is removed last: a process that finds no lock makes a new one, and works on the
        # batch if its file exists.
        _withdraw_batch(batch, is_run_over=is_run_over)
        for path in (count_path(batch), lock_path(batch)):
            path.unlink(missing_ok=True)
        file.close()
    return record_paths_by_batch


def _withdraw_batch(batch, *, is_run_over):
    """Remove the file of a batch; replace it if a cluster job may still be in the queue."""
    try:
        head = batch.read_text("utf-8").partition("\n")[0]
        if '"queued":true' in head and not is_run_over:
            atomic_write.write_text(batch, WITHDRAWN_LINE)
        elif head != WITHDRAWN_LINE.strip() or time.time() - batch.stat().st_mtime > _LONGEST_AGE:
            batch.unlink()
    except FileNotFoundError:
        return
    except OSError:
        # A job that finds no file of its batch makes no product (`Withdrawn`), so the batch is
        # withdrawn in this way as well.
        batch.unlink(missing_ok=True)


def record_paths_of(batch):
    """Return {product: path of its record, relative to the results folder} of a batch."""
    try:
        _, body = Path(batch).read_text("utf-8").splitlines()
        jobs = json.loads(body)["jobs"]
        return {
            job["product"]: paths.done_record(job["product"], job["key"], job["attempt"])
            for job in jobs
        }
    except (OSError, ValueError, KeyError, TypeError):
        # The file is gone, that of a withdrawn batch, or of another version.
        return {}


def removable_record_files(files, record_paths_by_batch, results):
    """Return the files of records that no batch at work may need.

    Parameters
    ----------
    files : list of str
        Files of records that are in the ledger now.
    record_paths_by_batch : dict of str to dict of str to str
        As `withdraw` returns it.
    results : path-like

    Returns
    -------
    list of str
    """
    if not record_paths_by_batch:
        return files
    products_of_busy_batches = set().union(*record_paths_by_batch.values())
    return [
        path
        for path in files
        if paths.parse_done(os.path.relpath(path, results))[0] not in products_of_busy_batches
    ]
