"""The slots of a run, one for each core: a job works in its slots, other jobs wait for them.

Snakemake starts a job some milliseconds after another job has ended, because it does its
bookkeeping first. So ccdflow lets it start more jobs than there are cores. The additional jobs wait
here, and no core is idle in these milliseconds.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager

from ccdflow.files import thread_buffers


class CoreSlots:
    """The slots of a run, one for each core that it may use; jobs get them in order of request.

    The buffers in memory belong to the slots, and each job uses those of its slot: a job that waits
    has no buffer.

    Parameters
    ----------
    n_slots : int
    """

    def __init__(self, n_slots):
        self._n_slots = n_slots
        self._free_slots = [{} for _ in range(n_slots)]
        self._waiting_jobs = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, n_slots):
        """Wait for some free slots, and hold them until the block ends.

        Parameters
        ----------
        n_slots : int
            Number of slots; a number above that of all slots counts as all slots.

        Yields
        ------
        None
        """
        slots = self._take(min(n_slots, self._n_slots))
        try:
            with thread_buffers.lend_buffers(slots[0]):
                yield
        finally:
            with self._changed:
                self._free_slots += slots
                self._changed.notify_all()

    def _take(self, n_slots):
        """Return free slots, once enough are free and no other job waits before this job."""
        job = object()
        with self._changed:
            self._waiting_jobs.append(job)
            self._changed.wait_for(
                lambda: self._waiting_jobs[0] is job and len(self._free_slots) >= n_slots
            )
            self._waiting_jobs.popleft()
            # The slots that were given back last: their buffers may be in a processor's cache.
            slots = [self._free_slots.pop() for _ in range(n_slots)]
            self._changed.notify_all()
        return slots
