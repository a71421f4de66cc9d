"""The lines of a watch on problems whose end it waits for, and on frames that are set aside."""

from __future__ import annotations

from ccdflow.errors import RUN_AGAIN, CcdflowError
from ccdflow.run import failures, job_records, lock
from ccdflow.run.lines import raw_away
from ccdflow.run.raw_frames import raw_folders
from ccdflow.run.raw_frames.rows import SET_ASIDE
from ccdflow.wording import count, more_line

ROUND = "round"
"""The subject of problems of a round."""

WATCH_GOES_ON = "; the watch goes on by itself"
"""The end of a remedy in a watch, in place of the request for another run."""

# A round names at most this many frames set aside one by one. Chosen: more would hide other lines.
_MOST_FRAMES = 5


class Complaints:
    """The problems whose end a watch waits for, each named once.

    Parameters
    ----------
    say : callable
        Takes a line for the observer.
    show_problem : callable
        Called with the first of the problems that last, and with '' when all have passed.
    is_last_round : callable
        Takes no argument; returns whether no other round follows.

    Attributes
    ----------
    raw_away_line : str
        The line on a raw folder that went away in the middle of a round; '' while it is there.
    """

    def __init__(self, say, show_problem, is_last_round):
        self._say = say
        self._show_problem = show_problem
        self._is_last_round = is_last_round
        self.raw_away_line = ""
        # The lines of the last calls of `say_if_changed` and `name_failures`.
        self._lines, self._failure_lines = [], []
        # Problems that were named and have not passed, by their subject.
        self._problems = {}
        # The reasons with which frames set aside were named.
        self._reason_by_file = {}

    def say(self, line):
        """Write a line.

        Parameters
        ----------
        line : str
        """
        self._say(line)

    def line_on_raw_away(self, ended_session):
        """Return the line on a raw folder that went away in a round; it stays until that is back.

        Parameters
        ----------
        ended_session : ccdflow.run.session.Session
            With `unread_records`.

        Returns
        -------
        str
        """
        after_remedy = RUN_AGAIN if self._is_last_round() else WATCH_GOES_ON
        self.raw_away_line = raw_away.line_on_raw_away(ended_session, after_remedy)
        return self.raw_away_line

    def error_in_words(self, error, raw):
        """Return the words for an error whose end the watch waits for.

        Parameters
        ----------
        error : Exception
        raw : path-like
            The raw folder.

        Returns
        -------
        str
        """
        is_away = isinstance(error, (raw_folders.NoFolder, raw_folders.NoFrames))
        return (is_away and self.raw_away_line) or problem_in_words(error, raw)

    def record_with_remedy(self, record):
        """Return a record with the remedy of a watch, if another round follows.

        Parameters
        ----------
        record : ccdflow.run.job_records.Record

        Returns
        -------
        ccdflow.run.job_records.Record
        """
        return (
            record
            if self._is_last_round()
            else failures.record_with_words_after_remedy(record, WATCH_GOES_ON)
        )

    def say_if_changed(self, lines):
        """Write the lines of a round, unless they are those of the round before.

        Parameters
        ----------
        lines : list of str
        """
        for line in lines if lines != self._lines else ():
            self._say(line)
        self._lines = lines

    def complain(self, text, subject=ROUND):
        """Write the line on a problem once, until the problem has passed.

        Parameters
        ----------
        text : str
            '' where there is none.
        subject : str, optional
            The thing that has the problem.
        """
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
        self._show_problem(next(iter(self._problems.values()), ""))

    def name_failures(self, lines):
        """Write the lines on products that failed, without those of the round before.

        Parameters
        ----------
        lines : list of str
        """
        for line in lines:
            if line not in self._failure_lines:
                self._say(line)
        self._failure_lines = lines

    def name_set_aside(self, rows):
        """Name the frames that are set aside, each once for a reason.

        Parameters
        ----------
        rows : iterable of ccdflow.run.raw_frames.rows.Row
        """
        reason_by_file = {
            row.file: row.reason for row in rows if row.status == SET_ASIDE and not row.gone
        }
        new_files = [
            file
            for file, reason in reason_by_file.items()
            if self._reason_by_file.get(file) != reason
        ]
        for file in new_files[:_MOST_FRAMES]:
            self._say(f"{file}: {SET_ASIDE}: {reason_by_file[file]}")
        for line in more_line(len(new_files) - _MOST_FRAMES, f"more were {SET_ASIDE}"):
            self._say(line)
        self._reason_by_file |= reason_by_file


def problem_in_words(error, raw):
    """Return the words for an error whose end a watch waits for.

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
    if isinstance(error, raw_folders.NoFolder):
        return f"there is no folder {raw} yet"
    if isinstance(error, raw_folders.NoFrames):
        return f"no frame has arrived in {raw} yet"
    return error.line(WATCH_GOES_ON) if isinstance(error, CcdflowError) else str(error)


def problem_of_work(work_result):
    """Return the words for a full disk or for records that could not be written; '' for neither.

    Parameters
    ----------
    work_result : ccdflow.run.worker.WorkResult

    Returns
    -------
    str
    """
    if work_result.full_disk is not None:
        return work_result.full_disk.line(WATCH_GOES_ON)
    return "; ".join(failure.line(WATCH_GOES_ON) for failure in work_result.unrecorded.values())


def line_on_made_products(chain, records, seconds):
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
        n_made = sum(
            record.kind == kind.name and record.status == job_records.MADE for record in records
        )
        if n_made:
            parts.append(count(n_made, *kind.counted_nouns))
    return f"made: {', '.join(parts)}, in {seconds:.1f} s" if parts else ""
