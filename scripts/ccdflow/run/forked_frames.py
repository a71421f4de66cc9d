"""One function on many frames, in forked processes that share their memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ccdflow.errors import CcdflowError, UserError

# The function of a frame, inherited by forked processes.
_inherited = []
# Held while a forked process is at work on a frame.
_at_work = threading.Lock()


def map_forked(work, paths, cores):
    """Work on each frame, in forked processes where there are several frames and cores.

    The first frame brings into memory what all share, such as masters. Threads would wait for one
    another between the many short steps of a block.

    Parameters
    ----------
    work : callable
        Takes the path of a frame.
    paths : sequence of pathlib.Path
    cores : int

    Returns
    -------
    list
        Of each frame what `work` returns, or its `CcdflowError` or `OSError`.

    Raises
    ------
    UserError
        If one of the processes is killed.
    """
    first, other_paths = _result_or_error(work, paths[0]), paths[1:]
    workers = min(cores, len(other_paths))
    # A process with threads, such as that of a test, cannot be forked safely.
    if workers < 2 or threading.active_count() > 1:
        return [first, *(_result_or_error(work, path) for path in other_paths)]
    context = multiprocessing.get_context("fork")
    link = os.pipe()
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(work, link)
    )
    # Ctrl-C is for the parent, which gives out no more frames: the processes inherit the block.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        results = pool.map(_do_inherited_work, other_paths)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        return [first, *results]
    except BrokenProcessPool:
        raise UserError(
            "a process that worked on frames was killed, perhaps for lack of memory",
            keyword="--cores",
            value=cores,
            remedy="give fewer cores, and the frames that are missing once more",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
        for end in link:
            os.close(end)


def _start_worker(work, link):
    """Keep the function of a forked process, and end the process with its parent."""
    _inherited[:] = [work]
    reading, writing = link
    os.close(writing)
    threading.Thread(target=_end_with_parent, args=(reading,), daemon=True).start()


def _end_with_parent(reading):
    """End this process, between two frames, once its parent has gone, in whatever way."""
    os.read(reading, 1)
    with _at_work:
        os._exit(1)


def _do_inherited_work(path):
    with _at_work:
        return _result_or_error(_inherited[0], path)


def _result_or_error(work, path):
    try:
        return work(path)
    except (CcdflowError, OSError) as error:
        return error
