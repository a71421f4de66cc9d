"""The raw frames of a watch: those that rounds have seen, and those that wait for one."""

from __future__ import annotations

from pathlib import Path

from ccdflow.files import atomic_write
from ccdflow.run.rawframes.rows import ARRIVING_STATUS


class NewFrames:
    """The raw frames that are complete and that no round has done.

    Parameters
    ----------
    raw : path-like

    Attributes
    ----------
    seen : SeenFrames
        Those of earlier rounds.
    """

    def __init__(self, raw):
        self.seen = SeenFrames()
        self._settled = SettledFiles(raw)
        # Stamps of frames that wait for a round, by file; frames that rounds found incomplete.
        self._waiting, self._arriving = {}, set()

    def note_news(self, news):
        """Note the frames that a `ccdflow.run.watch.arrivals.FolderEvents` reports as complete."""
        self._waiting |= self._settled.closed_stamps(news)

    def note_look(self, unseen_files):
        """Note the frames of a look that did not change since the look before.

        Parameters
        ----------
        unseen_files : dict of str to tuple
            Files that no round had seen, with their stamps.
        """
        self._waiting |= self._settled.unchanged_stamps(unseen_files)

    def note_rows(self, rows):
        """Note which frames a round found incomplete.

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

    def count_waiting(self, unseen_files):
        """Return the number of frames that no round has done, with those of the last look.

        Parameters
        ----------
        unseen_files : dict of str to tuple
            See `note_look`.

        Returns
        -------
        int
        """
        return len(self.seen.unseen_stamps({**unseen_files, **self._waiting}))

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
    """Files whose size and times did not change since the last look.

    Parameters
    ----------
    raw : path-like
    """

    def __init__(self, raw):
        self.raw = Path(raw)
        self._stamps_of_last_look = {}
        self._stamp_of_open_files = {}

    def unchanged_stamps(self, stamps):
        """Return {file: stamp} of the files that did not change since the last look."""
        unchanged = {
            name: stamp
            for name, stamp in stamps.items()
            if self._stamps_of_last_look.get(name) == stamp
        }
        self._stamps_of_last_look = stamps
        return unchanged

    def closed_stamps(self, news):
        """Return {file: stamp} of files that are closed, or were begun and have not grown since."""
        stamp_by_file = {}
        for name in news.complete_files:
            self._stamp_of_open_files.pop(name, None)
            stamp_by_file[name] = atomic_write.stamp_of(self.raw / name)
        for name, earlier_stamp in list(self._stamp_of_open_files.items()):
            stamp = atomic_write.stamp_of(self.raw / name)
            if stamp == earlier_stamp:
                stamp_by_file[name] = stamp
                del self._stamp_of_open_files[name]
            else:
                self._stamp_of_open_files[name] = stamp
        for name in news.begun_files:
            self._stamp_of_open_files[name] = ()
        return {name: stamp for name, stamp in stamp_by_file.items() if stamp}
