"""Pages in headless Chromium: a script acts as the reader, and its result is read from the page.

One Chromium serves all tests of a process: its start takes a second of CPU, a page a tenth. It gets
orders through a pair of pipes (``--remote-debugging-pipe``), in messages of JSON.
"""

from __future__ import annotations

import atexit
import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The file is there if `.ci/run` has put it there with npm; it is no part of ccdflow.
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
# Options of `axe.run` in light and in dark colours, which change the contrast and nothing else.
AXE_OPTIONS = {False: "{}", True: '{runOnly: ["color-contrast"]}'}
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)  # fmt: skip

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: see .ci/run")


class Browser:
    """A process of Chromium that opens one page after the other."""

    def __init__(self):
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        # Chromium reads its orders from descriptor 3 and writes its answers to 4: the pipes must
        # have other numbers first.
        orders, answers = (_move_descriptor(each) for each in (orders, answers))
        command = f'exec "$0" "$@" 3<&{orders} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, CHROMIUM, *OPTIONS, f"--user-data-dir={self._profile}"],
            pass_fds=(orders, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(orders)
        os.close(answers)
        self._last_order, self._unread_bytes, self._events = 0, b"", []

    def close(self):
        """End the browser, and remove the folder of its profile."""
        os.close(self._orders)
        os.close(self._answers)
        self._process.terminate()
        self._process.wait(300)
        shutil.rmtree(self._profile, ignore_errors=True)

    def order(self, method, session=None, **values):
        """Give an order and return its result; events until then are kept."""
        self._last_order += 1
        message = {"id": self._last_order, "method": method, "params": values}
        if session is not None:
            message["sessionId"] = session
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._answer()
            if answer.get("id") == self._last_order:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._events.append(answer)

    def wait_for(self, method):
        """Wait for an event of a method."""
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._answer())

    def _answer(self):
        """Return the next message of the browser."""
        while b"\0" not in self._unread_bytes:
            part = os.read(self._answers, 1 << 20)
            assert part, "chromium has ended"
            self._unread_bytes += part
        text, self._unread_bytes = self._unread_bytes.split(b"\0", 1)
        return json.loads(text)

    def open(self, page, *, width, height, scripts, script, is_dark=False):
        """Open a page; return the value of a script on it, the errors, and a PNG of the window."""
        self._events.clear()
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.order(
            "Emulation.setDeviceMetricsOverride", session,
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.order("Emulation.setEmulatedMedia", session, features=[scheme])
        self.order("Runtime.enable", session)
        self.order("Page.enable", session)
        self.order("Page.navigate", session, url=Path(page).as_uri())
        self.wait_for("Page.loadEventFired")
        for each in scripts:
            self.order("Runtime.evaluate", session, expression=each.read_text("utf-8"))
        outcome = self.order(
            "Runtime.evaluate", session, expression=f"(async () => {{ {script} }})()",
            awaitPromise=True, returnByValue=True,
        )  # fmt: skip
        picture = self.order("Page.captureScreenshot", session)["data"]
        self.order("Target.closeTarget", targetId=target)
        errors = [
            event["params"]["exceptionDetails"]
            for event in self._events
            if event.get("method") == "Runtime.exceptionThrown"
        ]
        errors += [outcome["exceptionDetails"]] if "exceptionDetails" in outcome else []
        return outcome["result"].get("value"), errors, base64.b64decode(picture)


def _move_descriptor(descriptor):
    """Return a copy of a descriptor with a number of 10 or more, and close the descriptor."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)
    os.close(descriptor)
    return moved


@cache
def _browser():
    """Return the browser of this process, which ends with it."""
    browser = Browser()
    atexit.register(browser.close)
    return browser


def act(page, script, *, width=1300, height=2400, scripts=(), is_dark=False):
    """Return the value that the async body of a script returns on a page.

    Parameters
    ----------
    page : Path
        File of the page.
    script : str
        Body of a JavaScript function.
    width, height : int
        Size of the window, pixels.
    scripts : sequence of Path
        Scripts that run before.
    is_dark : bool
        Whether the reader's system is set to dark colours.

    Returns
    -------
    object
        Plain values.
    """
    result, errors, _ = _browser().open(
        page, width=width, height=height, scripts=scripts, script=script, is_dark=is_dark
    )
    assert errors == []
    return result


def elements_and_picture(page, *, width, height):
    """Return the text of a page's elements in Chromium, and a PNG of the window."""
    text, errors, picture = _browser().open(
        page, width=width, height=height, scripts=(),
        script="return document.documentElement.outerHTML",
    )  # fmt: skip
    assert errors == []
    return text, picture
