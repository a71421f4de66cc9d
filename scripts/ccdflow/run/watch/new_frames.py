"""The raw frames of a watch: those that rounds have seen, and those that wait for one."""

from __future__ import annotations

import time
from pathlib import Path

from ccdflow.files import file_access
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS


class NewFrames:
    """The raw frames that are complete and that no round has done.

    Parameters
    ----------
    raw : path-like
    pause : float
        Seconds for which a frame that no event reports as complete has to stay the same.

    Attributes
    ----------
    seen : SeenFrames
        The frames of earlier rounds.
    """

    def __init__(self, raw, pause):
        self.seen = SeenFrames()
        self._settled_files = SettledFiles(raw, pause)
        # Stamps of the frames that wait for a round, by file.
        self._waiting_stamps = {}
        # Frames that rounds found incomplete.
        self._incomplete_files = set()
        # The latest stamps of all frames that no round had seen, complete or not.
        self._noticed_stamps = {}

    def note_news(self, news):
        """Note the frames that a `ccdflow.run.watch.arrivals.FolderEvents` reports as complete."""
        self._note_waiting(self._settled_files.closed_stamps(news))

    def note_look(self, unseen_files, *, is_polled):
        """Note the frames of a look; those that have not changed for a pause are complete.

        Parameters
        ----------
        unseen_files : dict of str to tuple
            Files that no round had seen, with their stamps.
        is_polled : bool
            Whether frames are noticed by looks alone: the next look, after a pause, then shows
            which frames have changed. Otherwise the next look comes late, and these files alone are
            looked at again before it.
        """
        self._noticed_stamps = dict(unseen_files)
        if is_polled:
            self._note_waiting(self._settled_files.unchanged_stamps(unseen_files))
        else:
            self._settled_files.note_open(unseen_files)

    def _note_waiting(self, stamps):
        """Note complete frames."""
        self._waiting_stamps |= stamps
        self._noticed_stamps |= stamps

    @property
    def noticed_stamps(self):
        """The frames that no round has seen, as they were noticed last: {file: stamp}."""
        self._noticed_stamps = self.seen.unseen_stamps(self._noticed_stamps)
        return self._noticed_stamps

    def note_whole_round(self, stamps):
        """Note the frames that a whole round has seen, at its end.

        Parameters
        ----------
        stamps : dict of str to tuple
            The frames that were noticed before the round: they lead to no other round.
        """
        self.seen.add(stamps)
        self._waiting_stamps.clear()

    def note_rows_of_whole_round(self, rows, rewritten_files):
        """Note which frames a whole round found incomplete.

        Parameters
        ----------
        rows : iterable of ccdflow.run.raw_frames.rows.Row
            The rows of all frames.
        rewritten_files : set of str
            Files that are being written once more.
        """
        self._incomplete_files = set(rewritten_files)
        self.note_rows_of_short_round(row for row in rows if row.file not in rewritten_files)

    def note_rows_of_short_round(self, rows):
        """Note which frames a short round found incomplete.

        Parameters
        ----------
        rows : iterable of ccdflow.run.raw_frames.rows.Row
        """
        for row in rows:
            if row.status == ARRIVING_STATUS:
                self._incomplete_files.add(row.file)
            else:
                self._incomplete_files.discard(row.file)

    def waiting_stamps(self):
        """Return {file: stamp} of the frames that wait for a round."""
        self._waiting_stamps = self.seen.unseen_stamps(self._waiting_stamps)
        return self._waiting_stamps

    @property
    def n_waiting(self):
        """The number of frames that no round has done: not seen, or still incomplete."""
        return len(self.noticed_stamps.keys() | self._incomplete_files)

    def count_arriving(self, files):
        """Return the number of these files that were incomplete in their last round."""
        return len(self._incomplete_files & files.keys())


class SeenFrames:
    """Raw frames that rounds have seen, each with the hash of its stamp: there are many of them."""

    def __init__(self):
        self._stamp_hashes = {}

    def unseen_stamps(self, stamps):
        """Return the entries of {file: stamp} that were not seen with this stamp."""
        return {
            file: stamp
            for file, stamp in stamps.items()
            if self._stamp_hashes.get(file) != hash(stamp)
        }

    def missing_files(self, stamps):
        """Return the seen files that are not among the present ones, given as {file: stamp}."""
        return self._stamp_hashes.keys() - stamps.keys()

    def add(self, stamps):
        """Note files, {file: stamp}, as seen."""
        self._stamp_hashes.update((file, hash(stamp)) for file, stamp in stamps.items())

    def remove(self, files):
        """Forget that files were seen."""
        for file in files:
            self._stamp_hashes.pop(file, None)


class SettledFiles:
    """Files whose size and times have not changed for a pause, or since the last look.

    Parameters
    ----------
    raw : path-like
    pause : float
        Seconds.
    clock : callable, optional
        Returns seconds that never go back; tests replace it.
    """

    def __init__(self, raw, pause, clock=time.monotonic):
        self.raw, self._pause, self._clock = Path(raw), pause, clock
        self._stamps_of_last_look = {}
        # Files that may still be written to: the stamp of each, and the time since which it is
        # unchanged.
        self._open_files = {}

    def unchanged_stamps(self, stamps):
        """Return {file: stamp} of the files that have not changed since the last call."""
        unchanged = {
            name: stamp
            for name, stamp in stamps.items()
            if self._stamps_of_last_look.get(name) == stamp
        }
        self._stamps_of_last_look = stamps
        return unchanged

    def note_open(self, stamps):
        """Note files that may still be written to, as {file: stamp}."""
        time_now = self._clock()
        for name, stamp in stamps.items():
            self._open_files.setdefault(name, (stamp, time_now))

    def closed_stamps(self, news):
        """Return {file: stamp} of files that are closed, or have not changed for a pause."""
        stamp_by_file, time_now = {}, self._clock()
        for name in news.complete_files:
            self._open_files.pop(name, None)
            stamp_by_file[name] = file_access.stamp_of(self.raw / name)
        for name, (earlier_stamp, earlier_time) in list(self._open_files.items()):
            stamp = file_access.stamp_of(self.raw / name)
            if not stamp:
                del self._open_files[name]
            elif stamp != earlier_stamp:
                self._open_files[name] = stamp, time_now
            elif time_now - earlier_time >= self._pause:
                stamp_by_file[name] = stamp
                del self._open_files[name]
        for name in news.begun_files:
            self._open_files.setdefault(name, (file_access.stamp_of(self.raw / name), time_now))
        return {name: stamp for name, stamp in stamp_by_file.items() if stamp}
