"""Who is at work on a batch: locks that outlive the main process, and how far each one is.

A main process that is killed leaves jobs on the cluster. Each holds a lock, which the kernel (or
the file server) releases when they end, and they show a sign of life, for file systems whose locks
do not work between machines or are kept after a machine has died.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ccdflow import paths

# Seconds between two signs of life, and without one until a process is taken for dead.
BEAT = 1.0
SILENCE = 600.0
_POLL = 1.0


class Withdrawn(Exception):
    """The batch does not hold any more: a later main process has planned anew."""


@dataclass(frozen=True)
class Count:
    """How much of a batch is done.

    Attributes
    ----------
    frames, aside, others : int
        Frames done, those of them that were set aside, and other products.
    """

    frames: int = 0
    aside: int = 0
    others: int = 0


def lock_path(batch):
    """Return the lock file of a batch's file."""
    return Path(batch).with_suffix(".lock")


def count_path(batch):
    """Return the file in which a process says how far it is with a batch."""
    return Path(batch).with_suffix(".count")


# -- locks -----------------------------------------------------------------------------------------


def _try_lock(path):
    """Return the locked file, or None if another process holds it.

    A file system without locks gives the file: two processes then do the same work twice, and
    write the same bytes.
    """
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError:
            return file
        # Whoever held it before may have removed it together with its batch.
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()


def claim(batch, *, say=print, silence=SILENCE, poll=_POLL):
    """Wait until nobody else works on a batch, and hold it.

    Parameters
    ----------
    batch : path-like
        The batch's file.
    say : callable
        Told once, in a line, that it has to wait.
    silence : float
        Seconds without a sign of life after which the holder is taken for dead.
    poll : float
        Seconds between two looks.

    Returns
    -------
    file object
        To be kept until the work is done; the lock goes with the process.

    Raises
    ------
    Withdrawn
        If the batch is not there (any more).
    """
    batch = Path(batch)
    if not batch.is_file():
        raise Withdrawn(str(batch))
    file = _wait(batch, say, silence, poll)
    if not batch.is_file():
        if file is not None:
            file.close()
            lock_path(batch).unlink(missing_ok=True)
        raise Withdrawn(str(batch))
    return file


def wait_for(batch, *, say=print, silence=SILENCE, poll=_POLL):
    """Wait until nobody works on a batch any more, without taking it."""
    if lock_path(batch).exists():
        file = _wait(Path(batch), say, silence, poll)
        if file is not None:
            file.close()


def _wait(batch, say, silence, poll):
    path, said, sign, since = lock_path(batch), False, None, time.monotonic()
    while (file := _try_lock(path)) is None:
        if not said:
            say(f"waiting: an earlier job is still at work on {batch.stem}")
            said = True
        now = _sign_of_life(batch)
        if now != sign:
            sign, since = now, time.monotonic()
        elif time.monotonic() - since > silence:
            say(f"no sign of life of the earlier job on {batch.stem} for {silence:.0f} s: going on")
            return None
        time.sleep(poll)
    return file


def _sign_of_life(batch):
    try:
        return count_path(batch).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def withdraw(results, *, ended=False):
    """Withdraw the batchs that nobody is at work on.

    Only the process that holds the results folder may do this. A cluster job that is still
    queueing for a batch finds that it was withdrawn: for a while something is left in its
    place, because Snakemake would wait a minute for a file that is not there.

    Parameters
    ----------
    results : path-like
    ended : bool
        Whether the batchs are those of this process, whose jobs have all ended.

    Returns
    -------
    dict of str to set of str
        Products of the batchs that somebody is at work on, by the batch's path relative to the
        results folder.
    """
    busy = {}
    folders = [Path(results) / name for name in (paths.BATCHES, paths.ORDERS)]
    # A lock or count may have lost its batch when a process was killed between the two.
    found = {path.with_suffix(".json") for each in folders for path in each.glob("[!.]*.*.*")}
    for batch in sorted(found):
        file = _try_lock(lock_path(batch))
        if file is None:
            busy[str(batch.relative_to(results))] = products(batch)
            continue
        for path in (count_path(batch), lock_path(batch)):
            path.unlink(missing_ok=True)
        _withdraw(batch, ended=ended)
        file.close()
    return busy


# Left in place of a batch, for so many seconds: longer than a job may queue.
WITHDRAWN = '"withdrawn"\n'
_KEPT = 30 * 86400.0


def _withdraw(batch, *, ended):
    """Take a batch away; one that a cluster's job may queue for says that it was withdrawn."""
    try:
        head = batch.read_text("utf-8").partition("\n")[0]
        if '"queued":true' in head and not ended:
            batch.write_text(WITHDRAWN)
        elif head != WITHDRAWN.strip() or time.time() - batch.stat().st_mtime > _KEPT:
            batch.unlink()
    except FileNotFoundError:
        return
    except OSError:
        batch.unlink(missing_ok=True)


def products(batch):
    """Return the products that a batch is about."""
    try:
        with Path(batch).open(encoding="utf-8") as file:
            file.readline()
            return {job["product"] for job in json.loads(file.readline())["jobs"]}
    except (OSError, ValueError, KeyError):
        return set()


def removable(files, busy, results):
    """Return the records' files that no process at work on a batch needs any more.

    Parameters
    ----------
    files : list of str
    busy : dict
        As `withdraw` returns it.
    results : path-like
    """
    if not busy:
        return files
    kept = set().union(*busy.values())
    return [
        path for path in files if paths.parse_done(os.path.relpath(path, results))[0] not in kept
    ]


# -- how far it is ---------------------------------------------------------------------------------


class Reporter:
    """Writes how far this process is with a batch, and thereby that it is alive.

    Parameters
    ----------
    batch : path-like
    count : callable
        Returns a `Count`.
    beat : float
        Seconds between two signs of life.
    """

    def __init__(self, batch, count, *, beat=BEAT):
        self._path = count_path(batch)
        self._count = count
        self._beat = beat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Begin to report."""
        self.report()
        self._thread.start()

    def report(self):
        """Write the count now. A disk that is full is not this file's matter."""
        count = self._count()
        try:
            self._path.write_text(f"{count.frames} {count.aside} {count.others}\n")
        except OSError:
            return

    def end(self):
        """Write the last count."""
        self._ended.set()
        self.report()

    def _run(self):
        while not self._ended.wait(self._beat):
            self.report()


def read_count(batch):
    """Return the `Count` that a process has written; one of nothing where there is none."""
    try:
        numbers = [int(word) for word in count_path(batch).read_text().split()]
    except (OSError, ValueError):
        return Count()
    return Count(*numbers) if len(numbers) == 3 else Count()


def die_with(parent, *, every=1.0):
    """End this process soon after its parent has: what works for nobody must not go on."""

    def watch():
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
