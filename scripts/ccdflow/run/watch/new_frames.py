"""The raw frames of a watch: those that rounds have seen, and those that wait for one."""

from __future__ import annotations

import time
from pathlib import Path

from ccdflow.files import atomic_write
from ccdflow.run.rawframes.rows import ARRIVING_STATUS


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
        self._settled = SettledFiles(raw, pause)
        # Stamps of the frames that wait for a round, by file.
        self._waiting = {}
        # Frames that rounds found incomplete.
        self._arriving = set()
        # The latest stamps of all frames that no round had seen, complete or not.
        self._noticed = {}

    def note_news(self, news):
        """Note the frames that a `ccdflow.run.watch.arrivals.FolderEvents` reports as complete."""
        self._note_waiting(self._settled.closed_stamps(news))

    def note_look(self, unseen_files, *, is_polled):
        """Note the frames of a look; those that stayed the same for a pause are complete.

        Parameters
        ----------
        unseen_files : dict of str to tuple
            Files that no round had seen, with their stamps.
        is_polled : bool
            Whether looks alone tell of frames: then the next look, after a pause, shows which
            frames have changed. Otherwise the next look comes late, and before it these files alone
            are looked at again.
        """
        self._noticed = dict(unseen_files)
        if is_polled:
            self._note_waiting(self._settled.unchanged_stamps(unseen_files))
        else:
            self._settled.note_open(unseen_files)

    def _note_waiting(self, stamps):
        """Note complete frames."""
        self._waiting |= stamps
        self._noticed |= stamps

    @property
    def noticed_stamps(self):
        """The frames that no round has seen, as they were noticed last: {file: stamp}."""
        self._noticed = self.seen.unseen_stamps(self._noticed)
        return self._noticed

    def note_all_seen(self, stamps):
        """Note the end of a whole round.

        Parameters
        ----------
        stamps : dict of str to tuple
            The frames that were noticed before it, which are not to lead to another one.
        """
        self.seen.add(stamps)
        self._waiting.clear()

    def note_all_rows(self, rows, rewritten_files):
        """Note which frames a whole round found incomplete.

        Parameters
        ----------
        rows : iterable of ccdflow.run.rawframes.rows.Row
            The rows of all frames.
        rewritten_files : set of str
            Files that are being written once more.
        """
        self._arriving = set(rewritten_files)
        self.note_rows(row for row in rows if row.file not in rewritten_files)

    def note_rows(self, rows):
        """Note which frames a short round found incomplete.

        Parameters
        ----------
        rows : iterable of ccdflow.run.rawframes.rows.Row
        """
        for row in rows:
            if row.status == ARRIVING_STATUS:
                self._arriving.add(row.file)
            else:
                self._arriving.discard(row.file)

    def waiting(self):
        """Return {file: stamp} of the frames that wait for a round."""
        self._waiting = self.seen.unseen_stamps(self._waiting)
        return self._waiting

    @property
    def n_waiting(self):
        """The number of frames that no round has done: not seen, or still incomplete."""
        return len(self.noticed_stamps.keys() | self._arriving)

    def count_arriving(self, files):
        """Return how many of some files the last round that read them found incomplete."""
        return len(self._arriving & files.keys())


class SeenFrames:
    """Raw frames that rounds have seen; of each stamp a hash is kept, because there are many."""

    def __init__(self):
        self._marks = {}

    def unseen_stamps(self, stamps):
        """Return the entries of {file: stamp} that were not seen with this stamp."""
        return {
            file: stamp for file, stamp in stamps.items() if self._marks.get(file) != hash(stamp)
        }

    def missing_files(self, stamps):
        """Return the seen files that are not among all there are."""
        return self._marks.keys() - stamps.keys()

    def add(self, stamps):
        """Note files as seen."""
        self._marks.update((file, hash(stamp)) for file, stamp in stamps.items())

    def remove(self, files):
        """Forget files."""
        for file in files:
            self._marks.pop(file, None)


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
        # Of files that may still be written to: the stamp, and since when it is so.
        self._open_files = {}

    def unchanged_stamps(self, stamps):
        """Return {file: stamp} of the files that did not change since the last look."""
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
            stamp_by_file[name] = atomic_write.stamp_of(self.raw / name)
        for name, (earlier_stamp, earlier_time) in list(self._open_files.items()):
            stamp = atomic_write.stamp_of(self.raw / name)
            if not stamp:
                del self._open_files[name]
            elif stamp != earlier_stamp:
                self._open_files[name] = stamp, time_now
            elif time_now - earlier_time >= self._pause:
                stamp_by_file[name] = stamp
                del self._open_files[name]
        for name in news.begun_files:
            self._open_files.setdefault(name, (atomic_write.stamp_of(self.raw / name), time_now))
        return {name: stamp for name, stamp in stamp_by_file.items() if stamp}
