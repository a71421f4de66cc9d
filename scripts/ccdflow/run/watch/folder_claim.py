"""The claim of a watch on its results folder: no other watch is at work there.

Two watches would make each frame twice: between its rounds a watch gives up the lock of runs, so
that `snakemake` can run.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.run import lock
from ccdflow.run.watch.timed_calls import NoAnswer


class FolderClaim:
    """The lock that keeps other watches off a results folder until `give_up` is called.

    Parameters
    ----------
    results : path-like
    patience : ccdflow.run.watch.timed_calls.Patience
        It limits the wait for a folder that does not answer.
    """

    def __init__(self, results, patience):
        self._results, self._patience, self._lock = Path(results), patience, None

    @property
    def is_held(self):
        """Whether the lock is taken, and its file is where other watches look for it."""
        return self._lock is not None and lock.is_in_place(
            self._lock, self._results, paths.WATCH_LOCK
        )

    def take(self):
        """Take the lock, unless it is held.

        Raises
        ------
        ccdflow.run.lock.Busy
            If another watch is at work there.
        UserError, OSError
            If the lock cannot be written.
        """
        if self.is_held:
            return
        # If the folder was replaced, another watch may have the lock of the new one.
        self.give_up()
        self._lock = lock.take_lock(self._results, paths.WATCH_LOCK)

    def take_within_limit(self):
        """Take the lock if the folder answers in time; the first round reports all other problems.

        Raises
        ------
        ccdflow.run.lock.Busy
            If another watch is at work there.
        """
        with suppress(NoAnswer, OSError):
            try:
                self._patience.ask("claim", self.take)
            except lock.Busy:
                raise
            except UserError:
                pass

    def give_up(self):
        """Leave the folder to other watches."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
