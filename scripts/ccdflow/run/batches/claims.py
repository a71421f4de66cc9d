"""Locks on batches, which outlive the main process.

A killed main process leaves jobs on the cluster. Each job holds a lock, which the kernel (or the
file server) releases when the job ends. Each job also writes a sign of life (`batch_progress`): on
some file systems locks do not work between machines, on others they survive a dead machine.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from pathlib import Path

from ccdflow.files import file_access
from ccdflow.run.batches.batch_progress import count_path

MOST_SILENT_SECONDS = 600.0
"""A process counts as dead after this many seconds without a sign of life: a network file system
may hold one for minutes."""

# Seconds between two tries to take a lock that another process holds. Chosen: a wait ends at most
# this much later than the work of that process.
_POLL_SECONDS = 1.0

WITHDRAWN_LINE = '"withdrawn"\n'
"""The line that replaces the content of a withdrawn batch's file."""

_WITHDRAWN_BYTES = WITHDRAWN_LINE.encode()
# Errors of a file system that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Withdrawn(Exception):
    """The batch is no longer wanted: a later main process has made a new plan."""


def lock_path(batch):
    """Return the path of a batch's lock file."""
    return Path(batch).with_suffix(".lock")


def try_lock(path):
    """Return the locked file, or None if another process holds it.

    On a file system without locks the file counts as locked: two processes may then do the same
    work, and both write the same bytes.

    Raises
    ------
    OSError
        If the file cannot be opened or locked for another reason.
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


def _note_nothing():
    """Do nothing: no other process watches whether this one still waits."""


class SignsOfLife:
    """The last sign of life of each batch that this process waits for, and the time of each.

    All waits of this process share one object. Each silent batch is waited for once, and the waits
    for several silent batches do not add up.

    Parameters
    ----------
    batches : iterable of path-like, optional
        Batches whose sign is noted now. The sign of any other batch is noted by the first call of
        `silence_of` for it.
    clock : module or object, optional
        Has the functions `monotonic` and `sleep`; the default is the module `time`.
    """

    def __init__(self, batches=(), *, clock=None):
        self._clock = clock or time
        self._signs, self._lines = {}, set()
        self._lock = threading.Lock()
        for batch in batches:
            self.silence_of(batch)

    def silence_of(self, batch):
        """Return the seconds since this process saw a new sign of life of a batch's process."""
        batch, now = Path(batch), self._clock.monotonic()
        sign = _sign_of_life(batch)
        with self._lock:
            last_sign, seen_at = self._signs.get(batch, (None, None))
            if seen_at is None or sign != last_sign:
                self._signs[batch], seen_at = (sign, now), now
        return now - seen_at

    def sleep(self, seconds):
        """Let some time pass."""
        self._clock.sleep(seconds)

    def say_once(self, say, line):
        """Write a line, unless it was written before.

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


def claim(
    batch,
    *,
    say=print,
    most_silent_seconds=MOST_SILENT_SECONDS,
    poll_seconds=_POLL_SECONDS,
    signs=None,
):
    """Wait until no other process works on a batch, and lock it.

    Parameters
    ----------
    batch : path-like
        The batch's file.
    say : callable, optional
        Called with a line if this process has to wait, and with a second line if the holder gives
        no sign of life.
    most_silent_seconds : float, optional
        Seconds without a sign of life after which the holder counts as dead.
    poll_seconds : float, optional
        Seconds between two tries to take the lock.
    signs : SignsOfLife, optional
        Shared by all waits of this process.

    Returns
    -------
    file object or None
        The lock: it is held until the file is closed. None where the holder gives no sign of life.

    Raises
    ------
    Withdrawn
        If the batch is gone or withdrawn.
    """
    batch = Path(batch)
    if is_withdrawn(batch):
        raise Withdrawn(str(batch))
    file = _wait_for_process(
        batch, say, most_silent_seconds, poll_seconds, _note_nothing, signs or SignsOfLife()
    )
    if is_withdrawn(batch):
        if file is not None:
            # The file is removed while it is locked: later another process may have a new file of
            # this name.
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
        with open(batch, "rb", opener=file_access.open_at_once) as file:
            return file.read(len(_WITHDRAWN_BYTES) + 1) == _WITHDRAWN_BYTES
    except FileNotFoundError:
        return True


def wait_for(
    batch,
    *,
    say=print,
    most_silent_seconds=MOST_SILENT_SECONDS,
    poll_seconds=_POLL_SECONDS,
    note_life=_note_nothing,
    signs=None,
):
    """Wait until no process works on a batch, without locking it.

    Parameters
    ----------
    batch : path-like
        The batch's file.
    say : callable, optional
        Called with a line if another process works on the batch, or gives no sign of life.
    most_silent_seconds : float, optional
        Seconds without a sign of life after which that process counts as dead.
    poll_seconds : float, optional
        Seconds between two tries to take the lock.
    note_life : callable, optional
        Called after each try that has failed: it shows that this process waits, and does not hang.
    signs : SignsOfLife, optional
        Shared by all waits of this process.
    """
    if lock_path(batch).exists():
        signs = signs or SignsOfLife()
        file = _wait_for_process(
            Path(batch), say, most_silent_seconds, poll_seconds, note_life, signs
        )
        if file is not None:
            file.close()


def _wait_for_process(batch, say, most_silent_seconds, poll_seconds, note_life, signs):
    """Return the lock of a batch once its process ended; None where it gives no sign of life.

    Parameters
    ----------
    batch : pathlib.Path
    say : callable
        Takes a line.
    most_silent_seconds : float
        Seconds without a sign of life after which the process counts as dead: locks may survive a
        dead machine.
    poll_seconds : float
        Seconds between two tries.
    note_life : callable
        Called after each try that has failed.
    signs : SignsOfLife
    """
    path = lock_path(batch)
    while (file := try_lock(path)) is None:
        note_life()
        signs.say_once(say, waiting_line(batch))
        if signs.silence_of(batch) > most_silent_seconds:
            signs.say_once(
                say,
                f"no sign of life of the earlier job on {batch.stem} for"
                f" {most_silent_seconds:.0f} s: going on",
            )
            return None
        signs.sleep(poll_seconds)
    return file


def _sign_of_life(batch):
    """Return the time of a batch's file of counts, ns since the epoch; None without that file."""
    try:
        return count_path(batch).stat().st_mtime_ns
    except FileNotFoundError:
        return None
