"""Standard output and standard error that raise no error once their reader is gone.

A run continues without messages if its terminal is closed, or the program that reads its pipe,
such as `head`, has ended. With Python's own streams an error would end the thread that writes.
Snakemake counts finished jobs in such threads, so it would wait for ever for a job that has ended,
also after SIGTERM.
"""

from __future__ import annotations

import errno
import os
import sys

# Errors of a stream whose reader or terminal is gone.
_GONE_ERRORS = (errno.EPIPE, errno.EIO)


class LastingStream:
    """A text stream that raises no error of the system when a message is written.

    A message that finds the disk full is lost. Once the reader is gone, the stream leads to
    ``/dev/null``, also for the processes that this one starts later.

    Parameters
    ----------
    stream : file object
    """

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        """Write a text, or lose it; return its length in any case."""
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
        """Write the text in the buffer, or lose it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._pass_over(error)

    def _pass_over(self, error):
        """Ignore an error; let the stream lead to ``/dev/null`` if its reader is gone."""
        if error.errno not in _GONE_ERRORS:
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        finally:
            os.close(nowhere)


def outlast(handlers=()):
    """Replace `sys.stdout` and `sys.stderr` by lasting streams; a second call does nothing.

    Parameters
    ----------
    handlers : iterable of logging.Handler, optional
        Handlers that write to one of the two streams: they get the stream that replaces it.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, LastingStream):
            continue
        # The stream is None if it was closed before Python was started.
        lasting_stream = LastingStream(stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        setattr(sys, name, lasting_stream)
        for handler in handlers:
            if getattr(handler, "stream", handler) is stream:
                handler.setStream(lasting_stream)
