"""Calls that may not come back: a network folder that hangs holds threads that ask it for files.

A call that takes long need not hang. On a busy machine it waits for the processor, and in a folder
of a million files it asks as many short questions. The kernel counts how often each thread has had
the processor: a thread that waits for one answer does not get it.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

# The threads of a call are checked this many times within its time limit.
_CHECKS_PER_LIMIT = 16
# The file in which the kernel describes a thread: see proc_pid_status(5).
_STATUS_FILE = "/proc/self/task/{}/status"
# The state of a thread that has the processor, or waits for nothing but the processor.
_RUNNING_STATE = "R"


class NoAnswer(Exception):
    """A call has not come back within its time. The call goes on, and can be waited for again."""


class Patience:
    """Calls by name, each in a thread of its own, never two under one name.

    Nothing can end a thread that the kernel holds. So a call that does not come back is left
    alone, and a second call under its name waits for the first one.

    Parameters
    ----------
    seconds : float
        Seconds without an answer after which the caller goes on.
    """

    def __init__(self, seconds):
        self.seconds = seconds
        self._calls = {}
        self._life_at = 0.0

    @property
    def hanging_calls(self):
        """Names of the calls that have not come back."""
        return [name for name, call in self._calls.items() if call.thread.is_alive()]

    def is_late(self, name):
        """Return whether a call has run for longer than the limit."""
        call = self._calls.get(name)
        return call is not None and time.monotonic() - call.began > self.seconds

    def is_stuck(self, name):
        """Return whether one question to the system has held a call for longer than the limit.

        Between two checks of its threads at most an eighth of the limit is counted: if this thread
        had to wait for longer, the others had to as well. On a system that counts nothing, all the
        time since the call began is counted.
        """
        call = self._calls.get(name)
        pause = self.seconds / _CHECKS_PER_LIMIT
        return call is not None and call.measure_standstill(pause) > self.seconds

    def note_life(self):
        """Note a sign of life of the work that `life_at` is asked about."""
        self._life_at = time.monotonic()

    def life_at(self):
        """Return the time (`time.monotonic`) of the last sign of life, 0 for none."""
        return self._life_at

    def ask(self, name, function, *, wait_seconds=None, last_sign=None):
        """Return a function's result; wait for it within the limit.

        Parameters
        ----------
        name : str
            A call under this name that has not come back is waited for instead.
        function : callable
            Called without an argument, in a thread of its own.
        wait_seconds : float, optional
            Seconds after which the caller goes on; the default is the limit. Where the call is
            late, and there is no `last_sign`, the caller goes on at once.
        last_sign : callable, optional
            Returns the time (`time.monotonic`) of the last sign of life of the work. The limit
            counts from the later of two times: this one, and the last one at which a thread of the
            call had the processor.

        Returns
        -------
        object
            The result of the function.

        Raises
        ------
        NoAnswer
            If the call has not come back.
        BaseException
            The error that the function raised.
        """
        if name not in self._calls:
            self._calls[name] = _Call(function, has_helpers=last_sign is not None)
        call = self._calls[name]
        wait_seconds = self.seconds if wait_seconds is None else wait_seconds
        self._wait_for(call, 0 if last_sign is None and self.is_late(name) else wait_seconds)
        while call.thread.is_alive() and last_sign is not None:
            if self.is_stuck(name) and time.monotonic() - last_sign() > self.seconds:
                break
            self._wait_for(call, wait_seconds)
        if call.thread.is_alive():
            raise NoAnswer(name)
        del self._calls[name]
        if call.error is not None:
            raise call.error
        return call.value

    def _wait_for(self, call, seconds):
        """Wait for a call to come back, and see meanwhile whether its threads go on."""
        end = time.monotonic() + seconds
        while (seconds_left := end - time.monotonic()) > 0 and call.thread.is_alive():
            call.thread.join(min(seconds_left, self.seconds / _CHECKS_PER_LIMIT))
            call.measure_standstill(self.seconds / _CHECKS_PER_LIMIT)


class _Call:
    """One call in a thread of its own.

    Parameters
    ----------
    function : callable
        Takes no argument.
    has_helpers : bool
        Whether the call starts threads, which are checked as well.

    Attributes
    ----------
    value : object
        Result of the function, None until it has come back.
    error : BaseException or None
        The error that it raised.
    began : float
        Start of the call, `time.monotonic`.
    thread : threading.Thread
        The thread of the call.
    """

    def __init__(self, function, *, has_helpers):
        self.value = self.error = None
        self.began = self._last_look = time.monotonic()
        self._function = function
        # All other threads are those of the call; None if the call has one thread.
        self._earlier_threads = set(threading.enumerate()) if has_helpers else None
        self._turns, self._seconds_stuck = {}, 0.0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        """Call the function; keep its result, or its error."""
        try:
            self.value = self._function()
        # Any error goes to the caller of `ask`.
        except BaseException as error:
            self.error = error

    def measure_standstill(self, pause):
        """Check the threads of the call, unless that was done less than ``pause`` seconds ago.

        Returns
        -------
        float
            The seconds for which none of them has had the processor.
        """
        now = time.monotonic()
        seconds_passed = now - self._last_look
        if seconds_passed >= pause:
            turns = {thread.native_id: _turns_of(thread.native_id) for thread in self._threads()}
            has_advanced = turns != self._turns or _RUNNING_STATE in turns.values()
            self._seconds_stuck = (
                0.0 if has_advanced else self._seconds_stuck + min(seconds_passed, 2 * pause)
            )
            self._last_look, self._turns = now, turns
        return self._seconds_stuck

    def _threads(self):
        """Return the threads of the call."""
        if self._earlier_threads is None:
            return [self.thread]
        return [each for each in threading.enumerate() if each not in self._earlier_threads]


def _turns_of(thread_id):
    """Return how often a thread got the processor, or `_RUNNING_STATE`; None where unknown."""
    try:
        lines = Path(_STATUS_FILE.format(thread_id)).read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    entries = dict(line.partition(":")[::2] for line in lines)
    if entries.get("State", "").strip().startswith(_RUNNING_STATE):
        return _RUNNING_STATE
    return tuple(entries.get(f"{kind}_ctxt_switches") for kind in ("voluntary", "nonvoluntary"))
