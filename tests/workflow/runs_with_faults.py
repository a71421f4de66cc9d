"""Runs with faults at chosen places for tests, and the promises that hold after each."""

import json
import os
import subprocess
import sys
from pathlib import Path

from sandbox import SMALL_FRAME, Sandbox

FIRST, SECOND = "2024-03-01", "2024-03-02"


FOLDER = Path(__file__).parent


def fill(sandbox, *, frames=3, size=SMALL_FRAME, nights=(FIRST, SECOND)):
    for night in nights:
        for camera in ("alpha", "beta"):
            for number in range(frames):
                sandbox.put(
                    f"{night}/{camera}{number}.fits.gz",
                    [number, len(camera), int(night[-1])],
                    night=night,
                    camera=camera,
                    size=size,
                    kind="FLAT" if number == 2 else "BIAS",
                )


def put_faults(folder, kind, first, step):
    """Put faults at every ``step`` th place of a run that reduces frames and sets some aside."""
    sandbox = Sandbox(folder / "box", {"bias": {"minimum": 2}})
    fill(sandbox)
    sandbox.run()
    sandbox.profile("alpha", reduction={"dtype": "float64"})
    sandbox.put(f"{FIRST}/beta5.fits.gz", 5, night=FIRST, camera="beta", size=SMALL_FRAME)
    sandbox.write(f"{SECOND}/beta1.fits.gz", b"no")
    sandbox.keep()
    report = folder / "report"
    folders = (FOLDER / "hooks", FOLDER, FOLDER.parent / "support", sandbox.project / "scripts")
    done = subprocess.run(
        [sys.executable, FOLDER / "faults.py", folder, report, kind, str(first), str(step)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in report.read_text().splitlines()]


def check_results(results):
    """Assert that no file is lost or broken, and that there was no traceback."""
    for result in results:
        where = f"{result['kind']} at {result['place']}, {result.get('where')}"
        assert not result["problems"], f"{where}: {result['problems']}"
        assert not result.get("crash"), f"{where}: {result['crash']}"
        message = result["error"] or str(result.get("failures"))
        # A small picture that cannot be left is made by the job of the night's contact sheet.
        place = result.get("where", "")
        is_needed = not place.startswith(("mkdir", "rmdir")) and "/frames/." not in place
        words = ("cannot be written", "Errno", "failed: ", "no space is left", "Input/output error")
        known = any(word in message for word in words) or message == "killed"
        if is_needed:
            assert known, f"{where}: nothing was said of it"
