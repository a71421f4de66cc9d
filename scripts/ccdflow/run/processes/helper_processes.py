"""Processes that work for the main process, because Python's threads share one core.

A process of Python's own pool would import the modules of the main process, and so Snakemake. The
processes of this module import the library only. They read questions from their standard input and
write answers to their standard output. A process that dies costs only time: the main process
answers its questions by itself.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

LOST_ERRORS = (OSError, EOFError, pickle.PickleError)
"""The errors that `ask` raises if the process has died."""


@contextmanager
def helper_process(answer):
    """Start a process that calls a function for the main process; kill it when the block ends.

    Parameters
    ----------
    answer : callable
        Called with each part of a question; its result is the answer. The function, its argument
        and its result can be pickled.

    Yields
    ------
    subprocess.Popen
        The process, an argument of `ask`.
    """
    library = str(Path(__file__).parents[3])
    former_path = os.environ.get("PYTHONPATH")
    process = subprocess.Popen(
        [sys.executable, "-c", "from ccdflow.run.processes.helper_processes import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (library, former_path)))},
    )
    try:
        with suppress(OSError):
            # If the process has died already, the first call of `ask` raises an error.
            _send_value(process, answer)
        yield process
    finally:
        process.kill()
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        process.wait()


def ask(process, parts):
    """Return the answers of a helper process to the parts of a question.

    Parameters
    ----------
    process : subprocess.Popen
        As `helper_process` yields it.
    parts : list of object
        Arguments of the process's function, which is called once for each.

    Returns
    -------
    list of object
        The answers, in the order of the parts.

    Raises
    ------
    OSError, EOFError, pickle.PickleError
        If the process has died: `LOST_ERRORS`.
    """
    _send_value(process, parts)
    return pickle.load(process.stdout)


def _send_value(process, value):
    """Write a value into the standard input of a process."""
    pickle.dump(value, process.stdin)
    process.stdin.flush()


def serve():
    """Answer questions of the main process until it closes the pipe or ends."""
    # Ctrl-C is ignored here, because the main process then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = sys.stdout.buffer
    # A library's prints must not mix with the answers.
    sys.stdout = sys.stderr
    try:
        answer = pickle.load(sys.stdin.buffer)
        while True:
            parts = pickle.load(sys.stdin.buffer)
            pickle.dump([answer(part) for part in parts], answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        return
