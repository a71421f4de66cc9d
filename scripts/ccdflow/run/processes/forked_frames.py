"""A function that is called for many frames, in forked processes that share memory."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import traceback
from contextlib import contextmanager
from dataclasses import dataclass

from ccdflow.errors import CcdflowError, UserError


@dataclass(frozen=True)
class _Failure:
    """An error that is not due to a frame: it ends the work on all frames."""

    error: Exception


class _FrameNumbers:
    """The numbers of the frames that are still to be done; each thread takes the next one.

    Parameters
    ----------
    first, stop : int
        The first number, and the one after the last.
    """

    def __init__(self, first, stop):
        self._lock = threading.Lock()
        self._next, self._stop = first, stop

    def __iter__(self):
        return self

    def __next__(self):
        with self._lock:
            if self._next >= self._stop:
                raise StopIteration
            self._next += 1
            return self._next - 1

    def end(self):
        """End the iteration in all threads."""
        with self._lock:
            self._stop = 0


def map_forked(work, paths, cores):
    """Return the results of a function for some frames; forked processes share the work.

    This process does the first frame before it forks: that loads the data that all frames share,
    such as masters. It does further frames as well, because a process that only waited would hold
    these data for nothing. Threads are no alternative: they would wait for each other between the
    many short steps of a block.

    Parameters
    ----------
    work : callable
        Called with the path of a frame; its result is not None.
    paths : sequence of pathlib.Path
        One or more.
    cores : int

    Returns
    -------
    list of object
        For each frame the result of `work`, or its `CcdflowError` or `OSError`.

    Raises
    ------
    UserError
        If one of the processes is killed.
    Exception
        The first other error of `work`: a fault of the program.
    """
    results = [_result_or_error(work, paths[0])]
    n_helpers = min(cores, len(paths) - 1) - 1
    # A process with threads, such as that of a test, cannot be forked safely.
    if n_helpers < 1 or threading.active_count() > 1:
        return [*results, *(_result_or_error(work, path) for path in paths[1:])]
    results += [None] * (len(paths) - 1)
    numbers = _FrameNumbers(1, len(paths))
    with _helper_processes(work, paths, n_helpers) as links:
        threads = [
            threading.Thread(target=_hand_out, args=(link, numbers, results)) for link in links
        ]
        try:
            for thread in threads:
                thread.start()
            for number in numbers:
                results[number] = _result_or_error(work, paths[number])
        finally:
            # The helpers finish their present frames, also after Ctrl-C or an error.
            numbers.end()
            for thread in threads:
                thread.join()
    for result in results:
        if isinstance(result, _Failure):
            raise result.error
    if any(result is None for result in results):
        raise UserError(
            "a process that worked on frames was killed, perhaps for lack of memory",
            keyword="--cores",
            value=cores,
            allowed="as many as have room in the memory",
            remedy="give fewer cores, and the frames that are missing once more",
        )
    return results


@contextmanager
def _helper_processes(work, paths, n_helpers):
    """Fork processes that work on frames; yield a connection to each of them, then end them."""
    context = multiprocessing.get_context("fork")
    pairs = [context.Pipe() for _ in range(n_helpers)]
    own_pipes, pipes_of_helpers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    processes = [
        context.Process(
            target=_serve_frames, args=(link, [*own_pipes, *pipes_of_helpers], work, paths)
        )
        for link in pipes_of_helpers
    ]
    # Ctrl-C must reach this process only, which then gives out no more frames. The helpers inherit
    # the blocked signal.
    earlier_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for process in processes:
            process.start()
        for link in pipes_of_helpers:
            link.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier_mask)
        yield own_pipes
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier_mask)
        for link in own_pipes:
            link.close()
        for process in processes:
            if process.pid is not None:
                process.join()


def _serve_frames(link, links, work, paths):
    """Do the frames whose numbers come through a connection, until that connection is closed.

    The system closes the connection if the process that forked this one is killed.

    Parameters
    ----------
    link : multiprocessing.connection.Connection
        The end of this process.
    links : list of multiprocessing.connection.Connection
        All ends of all connections, which a fork copies; all but `link` are closed here.
    work : callable
        Called with the path of a frame.
    paths : sequence of pathlib.Path
        The paths of all frames, by number.
    """
    for each_link in links:
        if each_link is not link:
            each_link.close()
    while True:
        try:
            number = link.recv()
        except (EOFError, OSError):
            return
        try:
            result = _result_or_error(work, paths[number])
        except Exception as error:
            error.add_note(traceback.format_exc())
            result = _Failure(error)
        try:
            link.send(result)
        except OSError:
            return


def _hand_out(link, numbers, results):
    """Send frames to a helper one by one and store its results; end the work if it fails."""
    for number in numbers:
        try:
            link.send(number)
            results[number] = link.recv()
        except (EOFError, OSError):
            numbers.end()
        if isinstance(results[number], _Failure):
            numbers.end()


def _result_or_error(work, path):
    """Return the result of the work on a frame, or the error that is due to that frame."""
    try:
        return work(path)
    except (CcdflowError, OSError) as error:
        return error
