"""The page of a watch: it shows the page of the night and loads it again when it changes.

It is not a product: `snakemake` does not make it, and no product depends on it.
"""

from __future__ import annotations

import json
from pathlib import Path

LIVE_PAGE, LIVE_SCRIPT = "live.html", "live.js"
"""The page of a watch, and the script that it loads."""

WATCHING_STATE, ENDED_STATE = "watching", "ended"
"""The states of a watch that the page shows."""


def live_page():
    """Return the page as HTML: it loads `LIVE_SCRIPT` again and again, also from a local file."""
    return (Path(__file__).parent / "templates" / LIVE_PAGE).read_text("utf-8")


def live_script(page, time, *, lines=(), state=WATCHING_STATE, beat=0):
    """Return the script that tells the page of a watch its night's page, lines and state.

    Parameters
    ----------
    page : str
        Path of the night's page, relative to the folder of the script; '' before it exists.
    time : int
        Time of the night's page, nanoseconds since the epoch; the browser loads the page again
        when this time changes.
    lines : sequence of str, optional
        The last lines of the watch, the newest one last.
    state : str, optional
        `WATCHING_STATE`, `ENDED_STATE`, or the problem for whose end the watch waits.
    beat : int, optional
        Time of this script, seconds since the epoch. If the page sees no newer one for half a
        minute, it shows that the watch is silent.

    Returns
    -------
    str
    """
    message = {"page": page, "time": time, "lines": list(lines), "state": state, "beat": beat}
    # The text may hold any characters of a header, which must not end the script: they are escaped.
    return f"live({json.dumps(message, ensure_ascii=True)});\n".replace("</", "<\\/")
