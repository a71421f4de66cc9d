"""The file of counts of a batch: its progress, and the sign of life of its process."""

from __future__ import annotations

import threading
from dataclasses import fields
from pathlib import Path

from ccdflow.files import atomic_write
from ccdflow.run.lines.progress import BatchCount

BEAT_SECONDS = 1.0
"""Seconds between two signs of life. Chosen: the progress line of a terminal reads the counts once
a second."""


def count_path(batch):
    """Return the path of a batch's file of counts."""
    return Path(batch).with_suffix(".count")


class Reporter:
    """Writes the count of finished products again and again, as progress and sign of life.

    Parameters
    ----------
    batch : path-like
    count : callable
        Returns a `BatchCount`.
    beat : float, optional
        Seconds between two signs of life.
    """

    def __init__(self, batch, count, *, beat=BEAT_SECONDS):
        self._path = count_path(batch)
        self._count = count
        self._beat = beat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Write the count, and begin to write it at intervals."""
        self.report()
        self._thread.start()

    def report(self):
        """Write the count now; ignore an error of the system, such as a full disk."""
        count = self._count()
        try:
            atomic_write.write_text(self._path, " ".join(map(str, vars(count).values())) + "\n")
        except OSError:
            return

    def end(self):
        """Stop the writing at intervals, then write the last count."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.report()

    def _run(self):
        """Write the count at intervals until the end."""
        while not self._ended.wait(self._beat):
            self.report()


def read_count(batch):
    """Return the `BatchCount` in a batch's file of counts; zeros if the file cannot be read."""
    try:
        numbers = [int(word) for word in count_path(batch).read_text().split()]
    except (OSError, ValueError):
        return BatchCount()
    return BatchCount(*numbers) if len(numbers) == len(fields(BatchCount)) else BatchCount()
