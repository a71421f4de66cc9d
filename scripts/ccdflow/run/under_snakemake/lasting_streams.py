"""Standard output and standard error that outlast their terminal.

A run whose terminal has gone, or whose reader was `head`, goes on without messages. An error while
a message is written would end the thread that writes it. Snakemake counts finished jobs in such
threads, so it would wait for ever for a job that has ended, also after SIGTERM.
"""

from __future__ import annotations

import errno
import os
import sys

# Errors of a stream whose reader or terminal is gone: nothing can be written to it.
_GONE_ERRORS = (errno.EPIPE, errno.EIO)


class LastingStream:
    """A text stream of which no message raises an error of the system.

    A message for a full disk is lost. A stream whose reader has gone leads nowhere from then on,
    also for the processes that this one starts later.

    Parameters
    ----------
    stream : file object
    """

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        """Write a text as far as that is possible; return its length."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._pass_over(error)
            return len(text)

    def writelines(self, lines):
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self):
        """Write all that is kept back, as far as that is possible."""
        try:
            self._stream.flush()
        except OSError as error:
            self._pass_over(error)

    def _pass_over(self, error):
        """Let a stream lead nowhere if nobody reads it any more."""
        if error.errno not in _GONE_ERRORS:
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        finally:
            os.close(nowhere)


def outlast(handlers=()):
    """Let `sys.stdout` and `sys.stderr` outlast their terminal; a second call does nothing.

    Parameters
    ----------
    handlers : iterable of logging.Handler
        Handlers that write to one of them; they will write to its successor.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, LastingStream):
            continue
        # Python has no stream where whoever started the process has closed it.
        lasting_stream = LastingStream(stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        setattr(sys, name, lasting_stream)
        for handler in handlers:
            if getattr(handler, "stream", handler) is stream:
                handler.setStream(lasting_stream)
