"""When a watch may begin a round, and when its next whole round is due.

A whole round plans all open nights, and tables and overviews wait for it. It follows a short round
soon if whole rounds are quick, and later if they take long. After a round with a problem, another
one is tried after a pause.
"""

from __future__ import annotations

import time

# Seconds after which a lasting problem (no folder, a full disk, another run) is tried again.
_RETRY_SECONDS = 10.0
# The longest pause before a product that failed is tried again, seconds. Only that after a slow
# whole round may be longer. Chosen: somebody has to remove the cause, and each trial is a line.
_MOST_RETRY_SECONDS = 600.0
# Least seconds between a short round and a whole one. Chosen: frames that come together share one.
_LEAST_REST_SECONDS = 2.0
# The pause before a whole round lasts this many times as long as the last one, so that whole rounds
# take at most a sixth of the time.
_REST_FACTOR = 5


class RoundSchedule:
    """The times of a watch's rounds.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds that never go back; tests replace it.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        # The time before which no round begins, and that at which a whole one is due.
        self._earliest_begin, self._whole_due = 0.0, None
        # The time at which the last whole round began, and the seconds that it took.
        self._whole_began, self._whole_seconds = 0.0, 0.0
        # The pause before products that failed are tried again.
        self._retry_seconds = _RETRY_SECONDS

    def may_begin(self):
        """Return whether a round may begin: after a problem only when some time has passed."""
        return self._clock() >= self._earliest_begin

    @property
    def has_whole_round(self):
        """Whether a whole round is due, now or later."""
        return self._whole_due is not None

    def is_whole_due(self):
        """Return whether a whole round is to begin now."""
        return self._whole_due is not None and self._clock() >= self._whole_due

    def note_problem(self, *, is_busy=False):
        """Note a problem: the next round begins after a pause; at once if another run is at work.

        Parameters
        ----------
        is_busy : bool, optional
            Whether another run is at work: to try its lock once more costs nothing.
        """
        self._earliest_begin = self._clock() + (0.0 if is_busy else _RETRY_SECONDS)

    def note_short(self, *, has_failure=False):
        """Note a short round that leaves something to a whole one, which comes after a rest.

        A whole round that is due earlier stays due at that time.

        Parameters
        ----------
        has_failure : bool, optional
            Whether a product failed: the whole round, which plans the product anew, is due at once.
        """
        rest = 0.0 if has_failure else max(_LEAST_REST_SECONDS, _REST_FACTOR * self._whole_seconds)
        due = self._clock() + rest
        self._whole_due = due if self._whole_due is None else min(self._whole_due, due)

    def note_failed_short(self, *, is_busy=False):
        """Note a short round with a problem: a whole one tries the same after a pause.

        Parameters
        ----------
        is_busy : bool, optional
            See `note_problem`.
        """
        self._whole_due = self._clock() + _RETRY_SECONDS
        self.note_problem(is_busy=is_busy)

    def begin_whole(self):
        """Note that a whole round begins."""
        self._whole_began = self._clock()

    def note_whole(self, *, is_unfinished=False, has_failed_products=False):
        """Note the end of a whole round, and the seconds since `begin_whole`.

        Parameters
        ----------
        is_unfinished : bool, optional
            Whether the round had a problem, or a frame is still being written: another whole round
            follows after a pause. Otherwise none is due.
        has_failed_products : bool, optional
            Whether a product failed, or waits for one that did: another whole round tries it again,
            after a pause that doubles each time and is no shorter than the usual rest.
        """
        now = self._clock()
        self._earliest_begin = now
        self._whole_seconds = now - self._whole_began
        self._whole_due = None
        if has_failed_products:
            self._whole_due = now + max(self._retry_seconds, _REST_FACTOR * self._whole_seconds)
            self._retry_seconds = min(2 * self._retry_seconds, _MOST_RETRY_SECONDS)
        else:
            self._retry_seconds = _RETRY_SECONDS
        if is_unfinished:
            self._whole_due = now + _RETRY_SECONDS
