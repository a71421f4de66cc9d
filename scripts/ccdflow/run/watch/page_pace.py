"""The pace at which a watch renews the lists and pages of nights while frames come fast.

The more frames a night has, the more its page costs: 30 ms of CPU with 100 tiny frames, 90 ms with
2,000. Renewed after each frame it would take most of the time of a long night. So it
waits after each renewal, for several times as long as the renewal took.
"""

from __future__ import annotations

import time

# A page waits for this many times the seconds that it took: it takes at most a quarter of the time.
_REST_TIMES = 3
# A page waits for no more seconds than this: one of LFC frames takes 0.35 s, and as it is read
# while frames come, a frame has to be shown two seconds after its last byte.
_MOST_SECONDS = 0.5


class PagePace:
    """The nights with frames that their pages do not show yet, and when these are renewed.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds that never go back; tests replace it.

    Attributes
    ----------
    nights_owed : set of str
        The nights.
    open_lines : dict of str to (list of str, list of str)
        Lines of their frames, as texts and warnings by raw file. They wait for the widths of stars
        in the nights' lists: see `ccdflow.run.watch.frame_lines.FrameLines`.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self.nights_owed, self.open_lines = set(), {}
        self._next = 0.0

    def may_draw(self):
        """Return whether pages may be renewed now."""
        return self._clock() >= self._next

    def is_due(self):
        """Return whether a page is to be renewed although no frame comes."""
        return bool(self.nights_owed) and self.may_draw()

    def wait(self, pause):
        """Return how long to wait for frames, in s: at most ``pause``, and until a page is due."""
        return min(pause, max(0.0, self._next - self._clock())) if self.nights_owed else pause

    def note(self, nights_put_off, seconds):
        """Note the end of a round.

        Parameters
        ----------
        nights_put_off : set of str
            Nights whose pages it has put off; none where it has renewed pages.
        seconds : float
            The time that it took beside that of the frames themselves.
        """
        if not nights_put_off:
            self._next = self._clock() + min(_REST_TIMES * seconds, _MOST_SECONDS)
        self.nights_owed = set(nights_put_off)

    def forget(self):
        """Forget the nights: a whole round renews all pages."""
        self.nights_owed = set()
