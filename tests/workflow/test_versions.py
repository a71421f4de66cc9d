"""The oldest Snakemake that the Snakefile allows makes what the pinned one makes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import SMALL, Sandbox, own_lines, products

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
OLDEST = re.search(r'min_version\("(.*)"\)', (ROOT / "Snakefile").read_text())[1]
# What it needs and the pinned one does not.
BESIDE = ("appdirs", "reretry")
NIGHT = "2024-03-01"


@pytest.fixture(scope="module")
def oldest(tmp_path_factory):
    """A folder with the oldest Snakemake, beside the environment's other packages."""
    folder = tmp_path_factory.mktemp("oldest")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    wanted = [f"snakemake=={OLDEST}", *BESIDE]
    done = subprocess.run(
        [*command, "--no-deps", "--target", folder, *wanted],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if done.returncode:
        pytest.skip(f"Snakemake {OLDEST} cannot be installed here: {done.stderr[-200:]}")
    return folder


def test_the_oldest_snakemake_makes_the_same_bytes(oldest, tmp_path):
    sandbox = Sandbox(tmp_path / "box", {"combine": {"minimum": 3}})
    for number in range(6):
        kind = "FLAT" if number == 5 else "BIAS"
        sandbox.put(f"{NIGHT}/{number}.fits.gz", number, night=NIGHT, kind=kind, size=SMALL)
    other = sandbox.clean()

    def run(*arguments):
        (other.root / "work").mkdir(exist_ok=True)
        done = subprocess.run(
            other.command(*arguments),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            env={**os.environ, "PYTHONPATH": f"{oldest}:{HERE / 'hooks'}:{HERE}"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    output = run()
    assert f"version: {OLDEST}" in output or OLDEST in run("--version")
    assert "6 reduced frames, 1 combined bias" in own_lines(output)[-1]
    assert sandbox.snakemake().status == 0
    assert products(other.results) == products(sandbox.results)
    assert "nothing to do" in run()
    assert "reduce" in run("--rulegraph")
