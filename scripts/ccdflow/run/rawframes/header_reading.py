"""Many headers read at once, by several processes.

A process that dies costs only time: its frames are read here.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain

from ccdflow.run.processes.helper_processes import LOST_ERRORS, ask, helper_process

FRAMES_A_PROCESS = 500
"""One more process starts for each of this many frames: reading them takes as long as its start."""

# A process gets this many files at once: one question costs as much as a few headers.
_CHUNK = 100
# Chosen: this many processes, at most, read headers; more would wait for the disk.
_MOST_PROCESSES = 8


def read_all(read, files, *, cores):
    """Yield the result of ``read`` for each of some files, in their order.

    Parameters
    ----------
    read : callable
        Called with a list of some of ``files``, returns a list of as many results; it and they can
        be pickled.
    files : list of object
        Arguments of ``read``.
    cores : int
        Number of processes that may work at once.

    Yields
    ------
    object
        The result for a file.
    """
    n_processes = min(cores, _MOST_PROCESSES, len(files) // FRAMES_A_PROCESS)
    if n_processes < 2:
        with ThreadPoolExecutor(4) as pool:
            yield from chain.from_iterable(pool.map(read, ([file] for file in files)))
        return
    free_processes = queue.SimpleQueue()
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]

    def read_chunk(chunk):
        """Read the headers of some files by a free process, here if it was lost."""
        reader = free_processes.get()
        try:
            (answer,) = ask(reader, [chunk])
            return answer
        except LOST_ERRORS:
            return read(chunk)
        finally:
            free_processes.put(reader)

    with ExitStack() as stack:
        for _ in range(n_processes):
            free_processes.put(stack.enter_context(helper_process(read)))
        pool = stack.enter_context(ThreadPoolExecutor(n_processes))
        yield from chain.from_iterable(pool.map(read_chunk, chunks))
