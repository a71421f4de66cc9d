"""A process that ends with its parent."""

from __future__ import annotations

import os
import threading
import time


def die_with(parent, *, pause=1.0):
    """End this process soon after its parent has ended, so that no work goes on unseen.

    Parameters
    ----------
    parent : int
        Process id.
    pause : float, optional
        Seconds between two looks.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(pause)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
