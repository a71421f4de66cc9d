"""The progress of a run: on a terminal one line that is renewed, in a log a line now and then."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass

from ccdflow.run import job_records
from ccdflow.wording import LEFT_FOR_NEXT_RUN, SET_ASIDE

# Seconds between two lines. Chosen: a terminal shows one changing line, a log keeps every line.
_LINE_SECONDS = {"terminal": 0.2, "plain": 15.0}
# Seconds between two readings of the counts of other processes. Chosen: each process writes its
# count once a second.
_READING_SECONDS = {"terminal": 1.0, "plain": 15.0}
# Width in columns of a terminal whose width is unknown.
_USUAL_WIDTH = 80
# The rate is the mean over this many last seconds. Chosen: then a slow start is soon forgotten.
_RATE_SECONDS = 60.0


@dataclass(frozen=True)
class BatchCount:
    """Numbers of finished products, such as those of a batch.

    Attributes
    ----------
    frames : int
        Number of frames that are done, also of frames set aside.
    set_aside : int
        Number of frames among them that were set aside.
    other_products : int
        Number of products other than frames.
    left : int
        Number of frames among them that failed, or could not be read: the next run tries them.
    """

    frames: int = 0
    set_aside: int = 0
    other_products: int = 0
    left: int = 0

    @classmethod
    def of_record(cls, record, *, is_frame):
        """Return the count of one finished job.

        Parameters
        ----------
        record : ccdflow.run.job_records.Record
        is_frame : bool
            Whether its product is a reduced frame.

        Returns
        -------
        BatchCount
        """
        if not is_frame:
            return cls(other_products=1)
        is_left = record.status in (job_records.GONE, job_records.FAILED)
        return cls(1, int(record.status == job_records.SET_ASIDE), left=int(is_left))

    @classmethod
    def total(cls, counts):
        """Return the sum of several counts."""
        numbers = [tuple(vars(each).values()) for each in counts]
        return cls(*map(sum, zip(*numbers, strict=True)))


class Progress:
    """Counts finished products and shows the progress.

    Parameters
    ----------
    n_frames : int
        Number of frames to reduce.
    n_other_products : int, optional
        Number of other products to make. The line shows it when the first of these is made, or all
        frames are done.
    other_words : str, optional
        The nouns of the other products in the line.
    mode : {'auto', 'plain', 'none'}, optional
        ``auto`` renews one line if the stream is a terminal, and else writes plain lines.
    stream : file object, optional
        Standard error if absent.
    clock : callable, optional
        Returns the time in seconds; tests replace it.

    Attributes
    ----------
    style : {'terminal', 'plain', 'none'}
        The way in which the progress is shown.
    """

    def __init__(
        self,
        n_frames,
        *,
        n_other_products=0,
        other_words="",
        mode="auto",
        stream=None,
        clock=time.monotonic,
    ):
        self.n_frames = n_frames
        self.n_other_products = n_other_products
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

    def add(self, count):
        """Add the count of finished products, and renew the line.

        Parameters
        ----------
        count : BatchCount
        """
        with self._lock:
            self._count_of_this_process = BatchCount.total((self._count_of_this_process, count))
            self._renew()

    def take_over(self, count):
        """Replace the count of other processes by a new one, and renew the line."""
        with self._lock:
            self._count_of_others = count
            self._renew()

    def watch(self, count, *, pause=None):
        """Take over the count of other processes again and again, in a thread, until the end.

        Parameters
        ----------
        count : callable
            Returns a `BatchCount`.
        pause : float, optional
            Seconds between two calls of ``count``; the default is `_READING_SECONDS` of the style.
        """
        if self.style == "none":
            return
        arguments = (count, pause or _READING_SECONDS[self.style])
        threading.Thread(target=self._take_over_until_end, args=arguments, daemon=True).start()

    def _take_over_until_end(self, count, seconds):
        """Take over the result of ``count()`` every few seconds, until the end of the run."""
        while not self._ended.wait(seconds):
            self.take_over(count())

    def end(self):
        """Show the last counts, and begin a new line on a terminal."""
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
        products_in_words = f"{count.other_products} of {self.n_other_products} {self.other_words}"
        if not self.n_frames:
            return f"ccdflow: {products_in_words}"
        text = f"ccdflow: {count.frames} of {self.n_frames} frame{'s' * (self.n_frames != 1)}"
        rate = self._rate(now)
        if rate:
            text += f", {rate:.1f} a second"
            if count.frames < self.n_frames:
                text += f", {duration((self.n_frames - count.frames) / rate)} left"
        if count.set_aside:
            text += f", {count.set_aside} {SET_ASIDE}"
        if count.left:
            text += f", {count.left} {LEFT_FOR_NEXT_RUN}"
        if self.n_other_products and (count.other_products or count.frames >= self.n_frames):
            text += f"; {products_in_words}"
        return text

    def _rate(self, now):
        """Return frames per second over the last minute; over all the run once they are done."""
        start_time, n_earlier = self._samples[0]
        if self._frames_end_time is not None:
            now, start_time, n_earlier = self._frames_end_time, self._start_time, 0
        elapsed = now - start_time
        return (self.count.frames - n_earlier) / elapsed if elapsed > 0 else 0.0

    def _renew(self):
        """Show the counts if enough time has passed since the last time."""
        now = self._clock()
        count = self.count
        if count.frames >= self.n_frames and self._frames_end_time is None:
            self._frames_end_time = now
        is_last = count.frames >= self.n_frames and count.other_products >= self.n_other_products
        if self.style == "none" or not self.n_frames + self.n_other_products:
            return
        if not (is_last or now - self._shown_time >= _LINE_SECONDS[self.style]):
            return
        self._shown_time = now
        text = self.line(now)
        if count.frames < self.n_frames:
            self._samples.append((now, count.frames))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _RATE_SECONDS:
            self._samples.popleft()
        # An unchanged line is not repeated in a log.
        if self.style == "terminal" or text != self._shown_line:
            self._shown_line = text
            self._show(text)

    def say(self, text):
        """Write a line of text; the progress line comes back below it."""
        with self._lock:
            self.clear()
            self._stream.write(text + "\n")
            self._stream.flush()

    def clear(self):
        """Clear the progress line of a terminal, so that a text can be written there."""
        with self._lock:
            if self._width:
                self._stream.write("\r" + " " * self._width + "\r")
                self._stream.flush()
                self._width = 0

    def _show(self, text):
        """Write the progress line: on a terminal over the last one, elsewhere below it."""
        if self.style == "terminal":
            text = text[: _terminal_width(self._stream) - 1]
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def _terminal_width(stream):
    """Return the width of a terminal in columns: a line that wraps cannot be renewed."""
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
