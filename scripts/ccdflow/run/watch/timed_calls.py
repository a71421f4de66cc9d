"""Calls that may not come back: a network folder that hangs holds whoever asks it for a file."""

from __future__ import annotations

import threading
import time


class NoAnswer(Exception):
    """A call has not come back within its time. It goes on, and can be asked for again."""


class Patience:
    """Calls by name, each in a thread of its own, never two under one name.

    Nothing can end a thread that the kernel holds. So a call that does not come back is left
    alone, and who makes it again waits for the first one.

    Parameters
    ----------
    seconds : float
        After so long without an answer who called goes on.
    """

    def __init__(self, seconds):
        self.seconds = seconds
        self._calls = {}

    @property
    def hanging(self):
        """Names of the calls that have not come back."""
        return [name for name, call in self._calls.items() if call.thread.is_alive()]

    def is_late(self, name):
        """Return whether a call has been away for longer than the limit."""
        call = self._calls.get(name)
        return call is not None and time.monotonic() - call.began > self.seconds

    def ask(self, name, function, *, wait=None, moved=None):
        """Return a function's result; wait for it within the limit.

        Parameters
        ----------
        name : str
            A call under this name that has not come back is waited for instead.
        function : callable
        wait : float, optional
            Seconds after which the caller goes on (default: the limit); at once where the call
            is late.
        moved : callable, optional
            Returns the time (`time.monotonic`) of its last sign of life; the limit counts from it.

        Returns
        -------
        object
            The result of the function.

        Raises
        ------
        NoAnswer
            If it has not come back.
        """
        if name not in self._calls:
            self._calls[name] = _Call(function)
        call = self._calls[name]
        wait = self.seconds if wait is None else wait
        call.thread.join(0 if moved is None and self.is_late(name) else wait)
        while call.thread.is_alive() and moved is not None and not self._is_still(moved()):
            call.thread.join(wait)
        if call.thread.is_alive():
            raise NoAnswer(name)
        del self._calls[name]
        if call.error is not None:
            raise call.error
        return call.value

    def _is_still(self, since):
        return time.monotonic() - since > self.seconds


class _Call:
    def __init__(self, function):
        self.value = self.error = None
        self.began = time.monotonic()
        self._function = function
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.value = self._function()
        # Whoever waits for the answer gets the error, whichever it is.
        except BaseException as error:
            self.error = error
