"""The progress line: renewed on a terminal, plain lines in a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass

# Seconds from line to line. Chosen: a terminal shows one line that changes, a file keeps each.
_LINE_SECONDS = {"terminal": 0.2, "plain": 15.0}
# Columns of a terminal that does not tell its width.
_USUAL_WIDTH = 80
# The rate is the mean of this many last seconds, so that a slow start is soon forgotten.
_WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class BatchCount:
    """The finished part of a batch.

    Attributes
    ----------
    frames, set_aside, other_products : int
        Frames done (including those set aside), frames set aside, and other products.
    """

    frames: int = 0
    set_aside: int = 0
    other_products: int = 0

    @classmethod
    def total(cls, counts):
        """Return the sum of several counts."""
        numbers = [(each.frames, each.set_aside, each.other_products) for each in counts]
        return cls(*map(sum, zip(*numbers, strict=True)))


class Progress:
    """Counts finished products and shows the progress.

    Parameters
    ----------
    total : int
        Number of frames to do.
    other_products : int
        Number of other products to make; shown once the first is made or no frame is left.
    other_words : str, optional
        The plural of the other products in the line.
    mode : {'auto', 'plain', 'none'}
        ``auto`` renews one line if the stream is a terminal.
    stream : file object, optional
        Standard error if absent.
    clock : callable, optional
        Returns seconds; tests replace it.

    Attributes
    ----------
    style : {'terminal', 'plain', 'none'}
        The way in which the progress is shown.
    """

    def __init__(
        self,
        total,
        *,
        other_products=0,
        other_words="",
        mode="auto",
        stream=None,
        clock=time.monotonic,
    ):
        self.total = total
        self.other_products = other_products
        self.other_words = other_words or "other products"
        self._count_of_this_process = BatchCount()
        self._count_of_others = BatchCount()
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._start_time = self._shown_time = clock()
        self._frames_end_time = None
        self._samples = deque([(self._shown_time, 0)])
        self._lock = threading.RLock()
        self._width = 0
        self._shown_line = ""
        self._ended = threading.Event()
        is_terminal = mode == "auto" and self._stream.isatty()
        self.style = "none" if mode == "none" else "terminal" if is_terminal else "plain"

    @property
    def count(self):
        """The finished products, of this process and others."""
        return BatchCount.total((self._count_of_this_process, self._count_of_others))

    def tick(self, *, is_set_aside=False, is_other_product=False):
        """Count one more frame, or one more of the other products.

        Parameters
        ----------
        is_set_aside : bool
            Whether the frame was set aside.
        is_other_product : bool
            Whether it is another product.
        """
        with self._lock:
            one_more = BatchCount(not is_other_product, is_set_aside, is_other_product)
            self._count_of_this_process = BatchCount.total((self._count_of_this_process, one_more))
            self._renew()

    def take_over(self, count):
        """Take over the count of other processes in place of their last one."""
        with self._lock:
            self._count_of_others = count
            self._renew()

    def watch(self, count, *, pause=None):
        """Read the progress of other processes at intervals.

        Parameters
        ----------
        count : callable
            Returns a `BatchCount`.
        pause : float, optional
            Seconds; the default depends on the stream.
        """
        if self.style == "none":
            return
        seconds = pause or (1.0 if self.style == "terminal" else _LINE_SECONDS["plain"])

        def run():
            while not self._ended.wait(seconds):
                self.take_over(count())

        threading.Thread(target=run, daemon=True).start()

    def end(self):
        """Show the last state, and leave the line."""
        self._ended.set()
        with self._lock:
            if self.style == "terminal" and self._width:
                self._show(self.line(self._clock()))
                self._stream.write("\n")
                self._stream.flush()
                self._width = 0

    def line(self, now):
        """Return the progress line at a time of the clock."""
        count = self.count
        made_products = f"{count.other_products} of {self.other_products} {self.other_words}"
        if not self.total:
            return f"ccdflow: {made_products}"
        text = f"ccdflow: {count.frames} of {self.total} frame{'s' * (self.total != 1)}"
        rate = self._rate(now)
        if rate:
            text += f", {rate:.1f} a second"
            if count.frames < self.total:
                text += f", {duration((self.total - count.frames) / rate)} left"
        if count.set_aside:
            text += f", {count.set_aside} set aside"
        if self.other_products and (count.other_products or count.frames >= self.total):
            text += f"; {made_products}"
        return text

    def _rate(self, now):
        """Return frames a second: over the last minute, and of the whole run once all are done."""
        start_time, n_earlier = self._samples[0]
        if self._frames_end_time is not None:
            now, start_time, n_earlier = self._frames_end_time, self._start_time, 0
        elapsed = now - start_time
        return (self.count.frames - n_earlier) / elapsed if elapsed > 0 else 0.0

    def _renew(self):
        """Show the counts if enough time has passed since the last time."""
        now = self._clock()
        count = self.count
        if count.frames >= self.total and self._frames_end_time is None:
            self._frames_end_time = now
        is_last = count.frames >= self.total and count.other_products >= self.other_products
        if self.style == "none" or not self.total + self.other_products:
            return
        if not (is_last or now - self._shown_time >= _LINE_SECONDS[self.style]):
            return
        self._shown_time = now
        text = self.line(now)
        if count.frames < self.total:
            self._samples.append((now, count.frames))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW_SECONDS:
            self._samples.popleft()
        # An unchanged line is not repeated in a log.
        if self.style == "terminal" or text != self._shown_line:
            self._shown_line = text
            self._show(text)

    def say(self, text):
        """Write a separate line."""
        with self._lock:
            self.clear()
            self._stream.write(text + "\n")
            self._stream.flush()

    def clear(self):
        """Clear the line, to make room for another text."""
        with self._lock:
            if self._width:
                self._stream.write("\r" + " " * self._width + "\r")
                self._stream.flush()
                self._width = 0

    def _show(self, text):
        """Write a line: over the last one in a terminal, below it elsewhere."""
        if self.style == "terminal":
            text = text[: _terminal_width(self._stream) - 1]
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def _terminal_width(stream):
    """Return the width of a terminal: a line that wraps cannot be renewed."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError, AttributeError):
        return _USUAL_WIDTH


def duration(seconds):
    """Return a duration in words.

    Examples
    --------
    >>> duration(75), duration(7300)
    ('1 min 15 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
