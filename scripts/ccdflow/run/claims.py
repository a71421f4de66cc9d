"""Who is at work on a work order: locks that outlive the main process, and how far each one is.

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
    """The order does not hold any more: a later main process has planned anew."""


@dataclass(frozen=True)
class Count:
    """How much of an order is done.

    Attributes
    ----------
    frames, aside, others : int
        Frames done, those of them that were set aside, and other products.
    """

    frames: int = 0
    aside: int = 0
    others: int = 0


def lock_path(order):
    """Return the lock file of an order's file."""
    return Path(order).with_suffix(".lock")


def count_path(order):
    """Return the file in which a process says how far it is with an order."""
    return Path(order).with_suffix(".count")


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
        # Whoever held it before may have removed it together with its order.
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()


def claim(order, *, say=print, silence=SILENCE, poll=_POLL):
    """Wait until nobody else works on an order, and hold it.

    Parameters
    ----------
    order : path-like
        The order's file.
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
        If the order is not there (any more).
    """
    order = Path(order)
    if not order.is_file():
        raise Withdrawn(str(order))
    file = _wait(order, say, silence, poll)
    if not order.is_file():
        if file is not None:
            file.close()
            lock_path(order).unlink(missing_ok=True)
        raise Withdrawn(str(order))
    return file


def wait_for(order, *, say=print, silence=SILENCE, poll=_POLL):
    """Wait until nobody works on an order any more, without taking it."""
    if lock_path(order).exists():
        file = _wait(Path(order), say, silence, poll)
        if file is not None:
            file.close()


def _wait(order, say, silence, poll):
    path, said, sign, since = lock_path(order), False, None, time.monotonic()
    while (file := _try_lock(path)) is None:
        if not said:
            say(f"waiting: an earlier job is still at work on {order.stem}")
            said = True
        now = _sign_of_life(order)
        if now != sign:
            sign, since = now, time.monotonic()
        elif time.monotonic() - since > silence:
            say(f"no sign of life of the earlier job on {order.stem} for {silence:.0f} s: going on")
            return None
        time.sleep(poll)
    return file


def _sign_of_life(order):
    try:
        return count_path(order).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def withdraw(results, *, ended=False):
    """Withdraw the orders that nobody is at work on.

    Only the process that holds the results folder may do this. A cluster job that is still
    queueing for an order finds that it was withdrawn: for a while something is left in its
    place, because Snakemake would wait a minute for a file that is not there.

    Parameters
    ----------
    results : path-like
    ended : bool
        Whether the orders are those of this process, whose jobs have all ended.

    Returns
    -------
    dict of str to set of str
        Products of the orders that somebody is at work on, by the order's path relative to the
        results folder.
    """
    busy = {}
    folder = Path(results) / paths.ORDERS
    # A lock or count may have lost its order when a process was killed between the two.
    for order in sorted({path.with_suffix(".json") for path in folder.glob("[!.]*.*.*")}):
        file = _try_lock(lock_path(order))
        if file is None:
            busy[f"{paths.ORDERS}/{order.name}"] = products(order)
            continue
        for path in (count_path(order), lock_path(order)):
            path.unlink(missing_ok=True)
        _withdraw(order, ended=ended)
        file.close()
    return busy


# Left in place of an order, for so many seconds: longer than a job may queue.
WITHDRAWN = '"withdrawn"\n'
_KEPT = 30 * 86400.0


def _withdraw(order, *, ended):
    """Take an order away; one that a cluster's job may queue for says that it was withdrawn."""
    try:
        head = order.read_text("utf-8").partition("\n")[0]
        if '"queued":true' in head and not ended:
            order.write_text(WITHDRAWN)
        elif head != WITHDRAWN.strip() or time.time() - order.stat().st_mtime > _KEPT:
            order.unlink()
    except FileNotFoundError:
        return
    except OSError:
        order.unlink(missing_ok=True)


def products(order):
    """Return the products that an order is about."""
    try:
        with Path(order).open(encoding="utf-8") as file:
            file.readline()
            return {job["product"] for job in json.loads(file.readline())["jobs"]}
    except (OSError, ValueError, KeyError):
        return set()


def removable(files, busy, results):
    """Return the records' files that no process at work on an order needs any more.

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
    """Writes how far this process is with an order, and thereby that it is alive.

    Parameters
    ----------
    order : path-like
    count : callable
        Returns a `Count`.
    beat : float
        Seconds between two signs of life.
    """

    def __init__(self, order, count, *, beat=BEAT):
        self._path = count_path(order)
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


def read_count(order):
    """Return the `Count` that a process has written; one of nothing where there is none."""
    try:
        numbers = [int(word) for word in count_path(order).read_text().split()]
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
