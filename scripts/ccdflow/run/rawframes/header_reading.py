"""Many headers read at once, by several processes.

A process that dies costs time: its frames are read here.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain

from ccdflow.run.helper_processes import LOST_ERRORS, ask, process

FRAMES_A_PROCESS = 500
"""One more process starts for each such number of frames: reading them takes as long as its
start."""

# A process gets this many files at once.
_CHUNK = 100
# At most this many processes read headers.
_MOST_PROCESSES = 8


def read_all(read, files, *, cores):
    """Yield the result of ``read`` for each of some files, in their order.

    Parameters
    ----------
    read : callable
        Called with a list of some of ``files``, returns a list of as many results; it and they can
        be pickled.
    files : list
        Arguments of ``read``.
    cores : int
        How many processes may work at once.

    Yields
    ------
    object
        The result for a file.
    """
    workers = min(cores, _MOST_PROCESSES, len(files) // FRAMES_A_PROCESS)
    if workers < 2:
        with ThreadPoolExecutor(4) as pool:
            yield from chain.from_iterable(pool.map(read, ([file] for file in files)))
        return
    free = queue.SimpleQueue()

    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]

    def read_chunk(chunk):
        """Read the headers of some files by a free process, here if it was lost."""
        reader = free.get()
        try:
            (answer,) = ask(reader, [chunk])
            return answer
        except LOST_ERRORS:
            return read(chunk)
        finally:
            free.put(reader)

    with ExitStack() as stack:
        for _ in range(workers):
            free.put(stack.enter_context(process(read)))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        yield from chain.from_iterable(pool.map(read_chunk, chunks))
