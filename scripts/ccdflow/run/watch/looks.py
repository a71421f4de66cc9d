"""Looks through a raw folder for frames that no round has seen, and for those that are gone."""

from __future__ import annotations

from pathlib import Path

from ccdflow.errors import CcdflowError
from ccdflow.run.raw_frames import raw_folders
from ccdflow.run.watch.timed_calls import NoAnswer

# Seconds after which the folder is looked through even where the kernel reports frames: it may have
# missed one.
_LOOK_SECONDS = 10.0
# The pause between two looks is at least this many times as long as the last look, which goes
# through all frames of the archive: with a million frames, looks every ten seconds would never end.
_PAUSE_FACTOR = 20
# If reading this many files hangs, no other file is tried. Chosen: each of them holds a thread.
_MOST_HANGING = 8
# Bytes that are read at once.
_PIECE_BYTES = 1 << 22


class Looks:
    """The looks of a watch through its raw folder.

    Parameters
    ----------
    raw, results : path-like
    seen : ccdflow.run.watch.new_frames.SeenFrames
        The files of earlier rounds.
    patience : ccdflow.run.watch.timed_calls.Patience
    complaints : ccdflow.run.watch.complaints.Complaints
    noticing : ccdflow.run.watch.watching.Noticing
        It has the clock, and the pause for which an answer on a file is waited for.

    Attributes
    ----------
    seen : ccdflow.run.watch.new_frames.SeenFrames
    unseen_files : dict of str to tuple or None
        Files that the last look found and no round had seen, with their stamps; None before the
        first look.
    lost_files : set of str
        Files of earlier rounds that are gone.
    """

    def __init__(self, raw, results, *, seen, patience, complaints, noticing):
        self._clock = noticing.clock
        self._raw, self._results, self.seen = raw, results, seen
        self._patience, self._pause = patience, noticing.pause
        self._complain, self._error_in_words = complaints.complain, complaints.error_in_words
        self.unseen_files, self.lost_files = None, set()
        # The end of the last look, 0 if the next one is due at once, and the seconds that it took.
        self._last_end, self._seconds = 0.0, 0.0

    def request_look(self):
        """Let a look be due now."""
        self._last_end = 0.0

    def is_look_due(self):
        """Return whether the folder is to be looked through now."""
        pause = max(_LOOK_SECONDS, _PAUSE_FACTOR * self._seconds)
        return not self._last_end or self._clock() - self._last_end >= pause

    def look_through(self):
        """Look through the folder for new files and for lost ones.

        Returns
        -------
        dict of str to tuple or None
            All raw frames with their times; None where the folder cannot be read.
        """
        began_at = self._clock()
        try:
            stamps = self._patience.ask(
                "look", lambda: raw_folders.list_raw(self._raw, self._results)
            )
        except NoAnswer:
            # A look that gets its answers, one after the other, may take long.
            if self._patience.is_stuck("look"):
                complaint = f"{self._raw} has not answered for {self._patience.seconds:g} s"
                self._complain(complaint, "look")
            return None
        except (CcdflowError, OSError) as error:
            self._complain(self._error_in_words(error, self._raw), "look")
            return None
        self._complain("", "look")
        self._last_end = self._clock()
        self._seconds = self._last_end - began_at
        self.unseen_files = self.seen.unseen_stamps(stamps)
        self.lost_files = self.seen.missing_files(stamps)
        return stamps

    def readable_files(self, files):
        """Return those files that can be read to their end within the limit.

        The folder of another machine may hang. A file that was read here comes from the memory of
        this machine when a round reads it.

        Parameters
        ----------
        files : dict of str to tuple
            With their stamps.

        Returns
        -------
        dict of str to tuple
        """
        stamp_by_file, raw = {}, Path(self._raw)
        for file, stamp in files.items():
            name = f"read {file}"
            hanging_calls = self._patience.hanging_calls
            if len(hanging_calls) >= _MOST_HANGING and name not in hanging_calls:
                # More files that hang would show nothing new.
                continue
            try:
                self._patience.ask(
                    name, lambda path=raw / file: _read_through(path), wait_seconds=self._pause
                )
            except NoAnswer:
                complaint = f"{raw / file} has not been read within {self._patience.seconds:g} s"
                self._complain(complaint if self._patience.is_late(name) else "", name)
                continue
            except OSError:
                # The round reports the cause.
                pass
            self._complain("", name)
            stamp_by_file[file] = stamp
        return stamp_by_file


def _read_through(path):
    """Read a file to its end, so that it is in memory; not a pipe, which may have no end."""
    if path.is_file():
        with path.open("rb", buffering=0) as file:
            while file.read(_PIECE_BYTES):
                pass
