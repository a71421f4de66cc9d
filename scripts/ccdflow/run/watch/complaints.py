"""The words of a watch on problems that pass, and on frames that are set aside."""

from __future__ import annotations

from ccdflow.run import job_records, lock
from ccdflow.run.rawframes import rawfolder
from ccdflow.run.rawframes.rows import SET_ASIDE
from ccdflow.wording import count

ROUND = "round"
"""The subject of problems of a round."""

# A round names at most this many frames set aside one by one. Chosen: more would hide other lines.
_MOST_FRAMES = 5
# The remedy in lines of a run.
_REMEDY_OF_RUN = ", and run again"
# The remedy in lines of a watch.
_REMEDY_OF_WATCH = "; the watch goes on by itself"


class Complaints:
    """The problems whose end a watch waits for, each said once.

    Parameters
    ----------
    say : callable
        Takes a line for the observer.
    waits : callable
        Called with each problem, and with '' when all have passed.
    """

    def __init__(self, say, waits):
        self._say = say
        self._waits = waits
        # The lines that `say_once` and `name_failures` were given last.
        self._lines, self._failure_lines = [], []
        # Problems that were said, by their subject.
        self._problems = {}
        # Frames set aside that were named, with the reason.
        self._reason_by_file = {}

    def say_once(self, lines):
        """Say the lines of a round, unless they are those of the round before.

        Parameters
        ----------
        lines : list of str
        """
        for line in lines if lines != self._lines else ():
            self._say(line)
        self._lines = lines

    def complain(self, text, subject=ROUND):
        """Say a problem once, until it has passed.

        Parameters
        ----------
        text : str
            '' where there is none.
        subject : str
            Its subject.
        """
        text = line_of_watch(text)
        former_text = self._problems.get(subject, "")
        if text == former_text:
            return
        is_known = text in self._problems.values()
        self._problems[subject] = text
        if not text:
            del self._problems[subject]
            if not self._problems:
                self._say("goes on")
        elif not is_known:
            self._say(f"waiting: {text}")
        self._waits(next(iter(self._problems.values()), ""))

    def name_failures(self, lines):
        """Say the lines on products that failed, without those that the round before said.

        Parameters
        ----------
        lines : list of str
        """
        for line in lines:
            if line not in self._failure_lines:
                self._say(line_of_watch(line))
        self._failure_lines = lines

    def name_set_aside(self, rows):
        """Name the frames that are set aside, each once for a reason.

        Parameters
        ----------
        rows : iterable of ccdflow.run.rawframes.rows.Row
        """
        reason_by_file = {
            row.file: row.reason for row in rows if row.status == SET_ASIDE and not row.gone
        }
        new = [
            file
            for file, reason in reason_by_file.items()
            if self._reason_by_file.get(file) != reason
        ]
        for file in new[:_MOST_FRAMES]:
            self._say(f"{file}: set aside: {reason_by_file[file]}")
        if new[_MOST_FRAMES:]:
            self._say(f"... and {len(new) - _MOST_FRAMES} more were set aside")
        self._reason_by_file |= reason_by_file


def line_of_watch(text):
    """Return a line of a run with the remedy of a watch, which goes on."""
    return text.replace(_REMEDY_OF_RUN, _REMEDY_OF_WATCH)


def problem_in_words(error, raw):
    """Return the words for an error that a watch waits out.

    Parameters
    ----------
    error : Exception
    raw : path-like
        The raw folder.

    Returns
    -------
    str
    """
    if isinstance(error, lock.Busy):
        return error.problem
    if isinstance(error, rawfolder.NoFolder):
        return f"there is no folder {raw} yet"
    if isinstance(error, rawfolder.NoFrames):
        return f"no frame has arrived in {raw} yet"
    return str(error)


def made_in_words(chain, records, seconds):
    """Return the line on the products of frames that a round made, '' for none.

    Parameters
    ----------
    chain : ccdflow.kinds.kind.Chain
        Kinds of products.
    records : list of ccdflow.run.job_records.Record
        Records of the round.
    seconds : float
        Seconds that the round took.

    Returns
    -------
    str
    """
    parts = []
    for kind in chain:
        if not kind.counted_nouns or not kind.type:
            continue
        number_made = sum(
            record.kind == kind.name and record.status == job_records.MADE for record in records
        )
        if number_made:
            parts.append(count(number_made, *kind.counted_nouns))
    return f"made: {', '.join(parts)}, in {seconds:.1f} s" if parts else ""
