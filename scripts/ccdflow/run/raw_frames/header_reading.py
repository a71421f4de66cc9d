"""The headers of many files read at once, by several processes.

If a process dies, this process reads its files: nothing but time is lost.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain

from ccdflow.run.processes.helper_processes import LOST_ERRORS, ask, helper_process

FRAMES_A_PROCESS = 500
"""Frames for each further process: to read them takes as long as to start the process."""

# A process gets this many files at once: to send a list takes as long as to read a few headers.
_FILES_PER_CHUNK = 100
# At most this many processes read headers. Chosen: more would wait for the disk.
_MOST_PROCESSES = 8
# Threads that read headers where there is one process. Chosen: while some wait for the disk, one
# works. Python runs one at a time, so that they need one core, however many `cores` there are.
_THREADS = 4


def read_all(read, files, *, cores):
    """Yield the result of ``read`` for each of some files, in their order.

    Parameters
    ----------
    read : callable
        Takes a list of some of ``files`` and returns a list of as many results. The function, its
        argument and its results can be pickled.
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
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from chain.from_iterable(pool.map(read, ([file] for file in files)))
        return
    free_processes = queue.SimpleQueue()
    chunks = [
        files[start : start + _FILES_PER_CHUNK] for start in range(0, len(files), _FILES_PER_CHUNK)
    ]

    def read_chunk(chunk):
        """Return the results of some files, by a free process; by this one if that has died."""
        process = free_processes.get()
        try:
            (answer,) = ask(process, [chunk])
            return answer
        except LOST_ERRORS:
            return read(chunk)
        finally:
            free_processes.put(process)

    with ExitStack() as stack:
        for _ in range(n_processes):
            free_processes.put(stack.enter_context(helper_process(read)))
        pool = stack.enter_context(ThreadPoolExecutor(n_processes))
        yield from chain.from_iterable(pool.map(read_chunk, chunks))
