"""Many headers read at once, by several processes: Python's threads share one core.

A process of Python's own pool would start by importing the modules of the main process, and so
Snakemake. These import the library only, read chunks of names from their standard input and write
rows to their standard output. A process that dies costs time: its frames are read here.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path

# Frames from which on one more process pays: it takes as long to start.
FRAMES_A_PROCESS = 500
# Files that a process is given at once.
_CHUNK = 100
# Processes that read headers, at most.
_MOST_PROCESSES = 8


def read_all(read, files, *, cores):
    """Yield the result of ``read`` for each of some files, in their order.

    Parameters
    ----------
    read : callable
        Called with one of ``files``; it and its result can be pickled.
    files : list
    cores : int
        How many processes may work at once.
    """
    workers = min(cores, _MOST_PROCESSES, len(files) // FRAMES_A_PROCESS)
    if workers < 2:
        with ThreadPoolExecutor(4) as pool:
            yield from pool.map(read, files)
        return
    free = queue.SimpleQueue()

    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]

    def read_chunk(chunk):
        process = free.get()
        try:
            return _ask(process, chunk)
        except (OSError, EOFError, pickle.PickleError):
            return [read(file) for file in chunk]
        finally:
            free.put(process)

    with ExitStack() as stack:
        for _ in range(workers):
            free.put(stack.enter_context(_process(read)))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        yield from chain.from_iterable(pool.map(read_chunk, chunks))


@contextmanager
def _process(read):
    """Start a process that knows ``read``; end it at the end."""
    library = str(Path(__file__).parents[3])
    before = os.environ.get("PYTHONPATH")
    process = subprocess.Popen(
        [sys.executable, "-c", "from ccdflow.run.rawframes.header_reading import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (library, before)))},
    )
    try:
        with suppress(OSError):
            # If the process has died, the first question tells.
            _send(process, read)
        yield process
    finally:
        process.kill()
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        process.wait()


def _send(process, value):
    pickle.dump(value, process.stdin)
    process.stdin.flush()


def _ask(process, chunk):
    _send(process, chunk)
    return pickle.load(process.stdout)


def serve():
    """Answer the main process until it closes the line, or ends."""
    # The main process tells when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = sys.stdout.buffer
    # Text that a library prints is no answer.
    sys.stdout = sys.stderr
    try:
        read = pickle.load(sys.stdin.buffer)
        while True:
            chunk = pickle.load(sys.stdin.buffer)
            pickle.dump([read(file) for file in chunk], answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        return
