"""The end of a process after that of its parent."""

from __future__ import annotations

import os
import threading
import time


def die_with(parent, *, pause=1.0):
    """Let this process end soon after its parent has ended, so that no work goes on unseen.

    Parameters
    ----------
    parent : int
        Id of the parent process.
    pause : float, optional
        Seconds between two checks of the parent.
    """
    threading.Thread(target=_end_after, args=(parent, pause), daemon=True).start()


def _end_after(parent, pause):
    """Wait until the parent process has ended, then end this process with exit status 1."""
    while os.getppid() == parent:
        time.sleep(pause)
    os._exit(1)
