"""The pace at which a watch renews the lists and pages of nights while frames come fast.

The more frames a night has, the more its page costs: 30 ms of CPU with 100 tiny frames, 90 ms with
2,000. Renewed after each frame, pages would take most of the time of a long night. After each
renewal a page therefore waits, for several times as long as the renewal took.
"""

from __future__ import annotations

import time

# A page waits this many times as long as its renewal took: quick renewals take at most a quarter of
# the time. For slow ones the next number limits the wait.
_REST_FACTOR = 3
# A page waits for at most this many seconds. A page of LFC frames takes 0.35 s, and observers have
# to see a frame two seconds after its last byte.
_MOST_REST_SECONDS = 0.5


class PagePace:
    """The nights with frames that their pages do not show yet, and when these are renewed.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds that never go back; tests replace it.

    Attributes
    ----------
    nights_owed : set of str
        Nights whose pages lack frames.
    open_lines : dict of str to (list of str, list of str)
        Lines of their frames, as texts and warnings by raw file. They wait for the widths of stars
        in the nights' lists: see `ccdflow.run.watch.frame_lines.FrameLines`.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self.nights_owed, self.open_lines = set(), {}
        self._next_renewal = 0.0

    def may_draw(self):
        """Return whether pages may be renewed now."""
        return self._clock() >= self._next_renewal

    def is_page_due(self):
        """Return whether a page is to be renewed although no frame comes."""
        return bool(self.nights_owed) and self.may_draw()

    def seconds_to_wait(self, pause):
        """Return the seconds to wait for frames: until a page is due, and at most ``pause``."""
        return (
            min(pause, max(0.0, self._next_renewal - self._clock())) if self.nights_owed else pause
        )

    def note_round(self, nights_put_off, seconds):
        """Note the end of a round.

        Parameters
        ----------
        nights_put_off : set of str
            Nights whose pages the round has put off; none if it has renewed pages.
        seconds : float
            The time that the round took beside that of the frames themselves.
        """
        if not nights_put_off:
            self._next_renewal = self._clock() + min(_REST_FACTOR * seconds, _MOST_REST_SECONDS)
        self.nights_owed = set(nights_put_off)

    def forget(self):
        """Forget the nights: a whole round renews all pages."""
        self.nights_owed = set()
