"""Pages in headless Chromium: a script acts as the reader, and its result is read from the page."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Put there by `.ci/run` with npm, for those who have it; no part of ccdflow.
AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: see .ci/run")


# Chromium's windows are no narrower: a narrower page is shown in a frame of a page.
_NARROWEST = 500
_FRAME = """<!doctype html><meta charset="utf-8"><title>narrow</title><body style="margin: 0">
<pre id="driven" style="display: none"></pre>
<script>
addEventListener("message", (event) => {{
  document.getElementById("driven").textContent = event.data;
}});
</script>
<iframe title="narrow" style="border: 0; width: {width}px; height: {height}px"
  srcdoc="{page}"></iframe>
"""


def chromium(page, *options, width=1300, height=2400, profile):
    """Open a page and return what Chromium prints."""
    command = [
        CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}",
        *options, Path(page).as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


def framed(text, width, *, height=2400):
    """Return a page that shows another one, given as text, as wide as a phone would."""
    return _FRAME.format(page=html.escape(text), width=width, height=height)


def act(page, script, *, width=1300, scripts=()):
    """Return what a script finds on a page: the value that its body, an async function's, returns.

    Parameters
    ----------
    page : Path
        The file; a copy beside it has the script.
    script : str
        JavaScript.
    width : int
        Of the window, pixels.
    scripts : sequence of Path
        To be read before.
    """
    driver = f"""
<pre id="driven"></pre>
<script>
window.errors = [];
window.addEventListener("error", (event) => window.errors.push(String(event.message)));
window.addEventListener("load", async () => {{
  let result;
  try {{ result = await (async () => {{ {script} }})(); }}
  catch (error) {{ window.errors.push(String(error)); }}
  const found = JSON.stringify([result ?? null, window.errors]);
  document.getElementById("driven").textContent = found;
  if (window.parent !== window) window.parent.postMessage(found, "*");
}});
</script>
"""
    text = page.read_text("utf-8")
    before = "".join(f"<script>{each.read_text('utf-8')}</script>" for each in scripts)
    copy = page.with_name("driven.html")
    head, _, tail = text.partition("</head>")
    text = f"{head}</head>{tail}".replace("</body>", f"{before}{driver}</body>")
    if width < _NARROWEST:
        text = framed(text, width)
    copy.write_text(text, "utf-8")
    profile = page.parent / "profile"
    seen = chromium(copy, "--dump-dom", "--virtual-time-budget=20000", width=width, profile=profile)
    shutil.rmtree(profile, ignore_errors=True)
    found = re.search(r'<pre id="driven"[^>]*>(.*?)</pre>', seen, re.DOTALL)
    result, errors = json.loads(html.unescape(found[1]))
    assert errors == []
    return result
