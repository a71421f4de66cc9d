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
    """Return the page. It loads `LIVE_SCRIPT` every two seconds.

    A browser may do so from a file.
    """
    return (Path(__file__).parent / "templates" / LIVE_PAGE).read_text("utf-8")


def live_script(page, time, *, lines=(), state=WATCHING_STATE, beat=0):
    """Return the script with the page to show and the last lines of the watch.

    Parameters
    ----------
    page : str
        Path of the night's page, relative to the folder of the script; '' for none yet.
    time : int
        Time of the page's last change; the browser loads the page again when it differs.
    lines : sequence of str
        The last lines of the watch, the newest one last.
    state : str
        `WATCHING_STATE`, `ENDED_STATE`, or the problem that it waits for.
    beat : int
        Seconds since the epoch; without a newer one for half a minute the watch counts as dead.

    Returns
    -------
    str
    """
    message = {"page": page, "time": time, "lines": list(lines), "state": state, "beat": beat}
    # Escaped: the text stands in a script, and may hold any characters of a header.
    return f"live({json.dumps(message, ensure_ascii=True)});\n".replace("</", "<\\/")
