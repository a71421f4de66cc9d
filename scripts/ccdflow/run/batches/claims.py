"""Locks on batches, which outlive the main process.

A killed main process leaves jobs on the cluster. Each job holds a lock, which the kernel (or the
file server) releases when the job ends. It also shows a sign of life (`batch_progress`), for file
systems whose locks do not work between machines or survive a dead machine.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from pathlib import Path

from ccdflow.files import atomic_write
from ccdflow.run.batches.batch_progress import count_path

MOST_SILENT_SECONDS = 600.0
"""A process counts as dead after this many seconds without a sign of life: a network file system
may hold one for minutes."""

# Seconds between two looks at a claim.
_POLL_SECONDS = 1.0

WITHDRAWN_LINE = '"withdrawn"\n'
"""Text in the place of a withdrawn batch."""

_WITHDRAWN_BYTES = WITHDRAWN_LINE.encode()
# Answers of a file system without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Withdrawn(Exception):
    """The batch no longer holds: a later main process has made a new plan."""


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
    clock : module or object, optional
        Has `monotonic` and `sleep`, as `time`, the default; tests give another one.
    """

    def __init__(self, batches=(), *, clock=None):
        self._clock = clock or time
        self._signs, self._lines = {}, set()
        self._lock = threading.Lock()
        for batch in batches:
            self.silence_of(batch)

    def silence_of(self, batch):
        """Return for how many seconds no new sign of life of a batch's process was seen."""
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


def claim(batch, *, say=print, silence=MOST_SILENT_SECONDS, poll=_POLL_SECONDS, signs=None):
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
    signs : SignsOfLife, optional
        Shared by all waits of this process.

    Returns
    -------
    file object or None
        To be kept until the work is done; closing it releases the lock. None where the holder gives
        no sign of life.

    Raises
    ------
    Withdrawn
        If the batch is gone.
    """
    batch = Path(batch)
    if is_withdrawn(batch):
        raise Withdrawn(str(batch))
    file = _wait_for_process(batch, say, silence, poll, _no_sign, signs or SignsOfLife())
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
        signs.sleep(poll)
    return file


def _sign_of_life(batch):
    """Return when a process last wrote its count, in ns of the file's clock; None for never."""
    try:
        return count_path(batch).stat().st_mtime_ns
    except FileNotFoundError:
        return None
