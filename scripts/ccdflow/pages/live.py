"""The page that shows a night's page while the night goes on, and renews it.

It is no product: neither does `snakemake` make it, nor does a product depend on it.
"""

from __future__ import annotations

from pathlib import Path

PAGE, SCRIPT = "live.html", "live.js"


def live_page():
    """Return the page. It loads `SCRIPT` every two seconds, which a browser may do from a file."""
    return (Path(__file__).parent / "templates" / PAGE).read_text("utf-8")


def live_script(page, time):
    """Return the script that names the page to show.

    Parameters
    ----------
    page : str
        Path of the night's page, relative to the folder of the script.
    time : int
        Of the page; with another one it is loaded again.

    Returns
    -------
    str
    """
    return f'live("{page}", {time});\n'
