"""The slots of a run, one for each core: a job works in its slots, and the next jobs wait for one.

Snakemake starts a job some milliseconds after another has ended, as it does its bookkeeping first.
So it may start more jobs than there are cores; these wait here, and no core is idle meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager

from ccdflow.files import thread_buffers


class CoreSlots:
    """As many slots as a run may use cores; jobs get them in the order in which they ask.

    A slot keeps the buffers of memory that its jobs use, so that waiting jobs have none.

    Parameters
    ----------
    count : int
        Number of slots.
    """

    def __init__(self, count):
        self._n_slots = count
        self._free_slots = [{} for _ in range(count)]
        self._waiting_jobs = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, count):
        """Wait for some free slots, and hold them until the block ends.

        Parameters
        ----------
        count : int
            Slots; a number above that of all slots counts as all of them.

        Yields
        ------
        None
        """
        slots = self._take(min(count, self._n_slots))
        try:
            with thread_buffers.lend_buffers(slots[0]):
                yield
        finally:
            with self._changed:
                self._free_slots += slots
                self._changed.notify_all()

    def _take(self, number):
        """Return free slots once this job is the first that waits and there are enough."""
        job = object()
        with self._changed:
            self._waiting_jobs.append(job)
            self._changed.wait_for(
                lambda: self._waiting_jobs[0] is job and len(self._free_slots) >= number
            )
            self._waiting_jobs.popleft()
            # The last ones that were given back: their buffers may be in a processor's cache.
            slots = [self._free_slots.pop() for _ in range(number)]
            self._changed.notify_all()
        return slots
