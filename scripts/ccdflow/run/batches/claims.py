"""Locks on batches, which outlive the main process, and the progress of each batch.

A killed main process leaves jobs on the cluster. Each job holds a lock, which the kernel (or the
file server) releases when the job ends. It also shows a sign of life, for file systems whose locks
do not work between machines or survive a dead machine.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.run.lines.progress import BatchCount

BEAT_SECONDS = 1.0
"""Seconds between two signs of life."""

MOST_SILENT_SECONDS = 600.0
"""A process counts as dead after this many seconds without a sign of life: a network file system
may hold one for minutes."""

# Seconds between two looks at a claim.
_POLL_SECONDS = 1.0

WITHDRAWN_LINE = '"withdrawn"\n'
"""Text in the place of a withdrawn batch."""

_WITHDRAWN_BYTES = WITHDRAWN_LINE.encode()
# Seconds, thirty days, for which a withdrawn batch is kept: longer than a job may queue.
_LONGEST_AGE = 30 * 86400.0
# Answers of a file system without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Withdrawn(Exception):
    """The batch no longer holds: a later main process has made a new plan."""


def lock_path(batch):
    """Return the path of a batch's lock file."""
    return Path(batch).with_suffix(".lock")


def count_path(batch):
    """Return the path of the file that holds a batch's progress."""
    return Path(batch).with_suffix(".count")


# -- locks -----------------------------------------------------------------------------------------


def try_lock(path):
    """Return the locked file, or None if another process holds it.

    On a file system without locks the file counts as locked: two processes may then do the same
    work, and both write the same bytes.
    """
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.close()
                raise
            return file
        # An earlier holder may have removed the lock file together with its batch.
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()


def _no_sign():
    """Show no sign of life: nobody watches the process that waits."""


class SignsOfLife:
    """The signs of life that a process has seen of others, and when.

    All waits of the process share them: another one that is silent is waited for once, and the
    waits for several silent ones do not add up.

    Parameters
    ----------
    batches : iterable of path-like, optional
        Batches whose sign is noted now; that of another one is noted at the first question.
    """

    def __init__(self, batches=()):
        self._signs, self._lines = {}, set()
        self._lock = threading.Lock()
        for batch in batches:
            self.silence_of(batch)

    def silence_of(self, batch):
        """Return for how many seconds no new sign of life of a batch's process was seen."""
        batch, now = Path(batch), time.monotonic()
        sign = _sign_of_life(batch)
        with self._lock:
            last_sign, seen_at = self._signs.get(batch, (None, None))
            if seen_at is None or sign != last_sign:
                self._signs[batch], seen_at = (sign, now), now
        return now - seen_at

    def say_once(self, say, line):
        """Say a line, unless it was said before.

        Parameters
        ----------
        say : callable
            Takes a line.
        line : str
        """
        with self._lock:
            is_new = line not in self._lines
            self._lines.add(line)
        if is_new:
            say(line)


def claim(batch, *, say=print, silence=MOST_SILENT_SECONDS, poll=_POLL_SECONDS):
    """Wait until no other process works on a batch, and lock it.

    Parameters
    ----------
    batch : path-like
        The batch's file.
    say : callable
        Takes a line if it has to wait, and another if the holder gives no sign of life.
    silence : float
        Seconds without a sign of life after which the holder counts as dead.
    poll : float
        Seconds between two looks.

    Returns
    -------
    file object
        Keep it until the work is done; closing it releases the lock.

    Raises
    ------
    Withdrawn
        If the batch is gone.
    """
    batch = Path(batch)
    if is_withdrawn(batch):
        raise Withdrawn(str(batch))
    file = _wait_for_process(batch, say, silence, poll, _no_sign, SignsOfLife())
    if is_withdrawn(batch):
        if file is not None:
            # The file goes while it is locked: one of that name may be another process's later.
            lock_path(batch).unlink(missing_ok=True)
            file.close()
        raise Withdrawn(str(batch))
    return file


def waiting_line(batch):
    """Return the line of a process that waits for an earlier job: its batch, and the remedy.

    Examples
    --------
    >>> waiting_line(Path("2024-03-01.0123456789abcdef.json"))[:60]
    'waiting: an earlier job is still at work on batch 2024-03-01'
    """
    return (
        f"waiting: an earlier job is still at work on batch {batch.stem}; this goes on once that"
        " has ended, at once if you cancel that job on the cluster, or after"
        f" {MOST_SILENT_SECONDS:.0f} s without a sign of life"
    )


def is_withdrawn(batch):
    """Return whether a batch is gone, or a note of its withdrawal stands in its place."""
    try:
        with open(batch, "rb", opener=atomic_write.open_at_once) as file:
            return file.read(len(_WITHDRAWN_BYTES) + 1) == _WITHDRAWN_BYTES
    except FileNotFoundError:
        return True


def wait_for(
    batch,
    *,
    say=print,
    silence=MOST_SILENT_SECONDS,
    poll=_POLL_SECONDS,
    note_life=_no_sign,
    signs=None,
):
    """Wait until no process works on a batch, without locking it.

    Parameters
    ----------
    batch : path-like
        The batch's file.
    say : callable, optional
        Takes a line: another process works on it, or is silent.
    silence : float, optional
        Seconds without a sign of life after which it counts as dead.
    poll : float, optional
        Seconds between two looks.
    note_life : callable, optional
        Called at each look: whoever watches this process sees that it waits, and does not hang.
    signs : SignsOfLife, optional
        Shared by all waits of this process.
    """
    if lock_path(batch).exists():
        signs = signs or SignsOfLife()
        file = _wait_for_process(Path(batch), say, silence, poll, note_life, signs)
        if file is not None:
            file.close()


def _wait_for_process(batch, say, silence, poll, note_life, signs):
    """Return the lock of a batch once its process ended; None where it gives no sign of life.

    Parameters
    ----------
    batch : pathlib.Path
    say : callable
        Takes a line.
    silence : float
        Seconds without a sign of life after which the process counts as dead: locks may survive a
        dead machine.
    poll : float
        Seconds between two tries.
    note_life : callable
        Called after each try that has failed.
    signs : SignsOfLife
    """
    path = lock_path(batch)
    while (file := try_lock(path)) is None:
        note_life()
        signs.say_once(say, waiting_line(batch))
        if signs.silence_of(batch) > silence:
            signs.say_once(
                say,
                f"no sign of life of the earlier job on {batch.stem} for {silence:.0f} s: going on",
            )
            return None
        time.sleep(poll)
    return file


def _sign_of_life(batch):
    """Return when a process last wrote its count, in ns of the file's clock; None for never."""
    try:
        return count_path(batch).stat().st_mtime_ns
    except FileNotFoundError:
        return None


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


# -- progress --------------------------------------------------------------------------------------


class Reporter:
    """Writes the progress of this process, which is also its sign of life.

    Parameters
    ----------
    batch : path-like
    count : callable
        Returns a `BatchCount`.
    beat : float
        Seconds between two signs of life.
    """

    def __init__(self, batch, count, *, beat=BEAT_SECONDS):
        self._path = count_path(batch)
        self._count = count
        self._beat = beat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Start reporting."""
        self.report()
        self._thread.start()

    def report(self):
        """Write the count now; ignore a full disk here."""
        count = self._count()
        try:
            atomic_write.write_text(
                self._path, f"{count.frames} {count.set_aside} {count.other_products}\n"
            )
        except OSError:
            return

    def end(self):
        """Write the last count; nothing is written after it."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.report()

    def _run(self):
        """Write the count as a sign of life until the end."""
        while not self._ended.wait(self._beat):
            self.report()


def read_count(batch):
    """Return the `BatchCount` that a process has written; an empty one if there is no file."""
    try:
        numbers = [int(word) for word in count_path(batch).read_text().split()]
    except (OSError, ValueError):
        return BatchCount()
    return BatchCount(*numbers) if len(numbers) == 3 else BatchCount()


def die_with(parent, *, pause=1.0):
    """End this process soon after its parent has ended, so that no work goes on unseen.

    Parameters
    ----------
    parent : int
        Process id.
    pause : float, optional
        Seconds between two looks.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(pause)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
