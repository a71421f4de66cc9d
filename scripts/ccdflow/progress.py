"""How far a run is: a line that is renewed on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import threading
import time

_EVERY = {"terminal": 0.2, "plain": 15.0}


class Progress:
    """Counts frames done and says so.

    Parameters
    ----------
    total : int
        Frames to do.
    mode : {'auto', 'plain', 'none'}
        auto renews one line if the stream is a terminal.
    stream : file object, optional
        Standard error if absent.
    clock : callable, optional
        Seconds, for tests.
    """

    def __init__(self, total, *, mode="auto", stream=None, clock=time.monotonic):
        self.total = total
        self.done = 0
        self.aside = 0
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._started = self._last = clock()
        self._lock = threading.Lock()
        self._width = 0
        is_terminal = mode == "auto" and self._stream.isatty()
        self.style = "none" if mode == "none" else "terminal" if is_terminal else "plain"

    def tick(self, *, aside=False):
        """Count one more frame."""
        with self._lock:
            self.done += 1
            self.aside += aside
            now = self._clock()
            is_last = self.done == self.total
            if self.style != "none" and (is_last or now - self._last >= _EVERY[self.style]):
                self._last = now
                self._show(self.line(now))
                if is_last and self.style == "terminal":
                    self._stream.write("\n")
                    self._width = 0

    def line(self, now):
        """Return the line for a moment."""
        elapsed = max(now - self._started, 1e-9)
        rate = self.done / elapsed
        left = (self.total - self.done) / rate if rate else 0
        text = f"ccdflow: {self.done} of {self.total} frames, {rate:.1f} a second"
        if self.done < self.total:
            text += f", {duration(left)} left"
        if self.aside:
            text += f", {self.aside} set aside"
        return text

    def say(self, text):
        """Write a line of its own."""
        with self._lock:
            if self._width:
                self._stream.write("\r" + " " * self._width + "\r")
                self._width = 0
            self._stream.write(text + "\n")
            self._stream.flush()

    def _show(self, text):
        if self.style == "terminal":
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def duration(seconds):
    """Return a length of time in words.

    >>> duration(75), duration(7300)
    ('1 min 15 s', '2 h 2 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
