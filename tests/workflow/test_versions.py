"""The oldest Snakemake that the Snakefile allows makes what the pinned one makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import SMALL_FRAME, Sandbox, own_lines, products

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
OLDEST_VERSION = re.search(r'min_version\("(.*)"\)', (ROOT / "Snakefile").read_text())[1]
# Packages that it needs and the pinned one does not.
EXTRA_PACKAGES = ("appdirs", "reretry")
NIGHT = "2024-03-01"
# Runs Snakemake with each list of arguments, one after the other, and writes what it prints into
# the file of the number of the list. Each run is a fork: Snakemake is imported once.
RUNS = """
import json, os, runpy, sys
import snakemake.cli
argument_lists, folder = json.loads(sys.argv[1]), sys.argv[2]
for number, arguments in enumerate(argument_lists):
    process = os.fork()
    if not process:
        output = os.open(os.path.join(folder, str(number)), os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv[1:] = arguments
        runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
        sys.exit()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status:
        sys.exit(f"run {number} ended with {status}")
"""


@pytest.fixture(scope="module")
def oldest_snakemake(tmp_path_factory):
    """A folder with the oldest Snakemake, beside the environment's other packages."""
    folder = tmp_path_factory.mktemp("oldest")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "-qq",
        "install",
        "--no-compile",
    ]
    wanted = [f"snakemake=={OLDEST_VERSION}", *EXTRA_PACKAGES]
    done = subprocess.run(
        [*command, "--no-deps", "--target", folder, *wanted],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        pytest.skip(f"Snakemake {OLDEST_VERSION} cannot be installed here: {done.stderr[-200:]}")
    return folder


def test_the_oldest_snakemake_makes_the_same_bytes(oldest_snakemake, tmp_path):
    sandbox = Sandbox(tmp_path / "box", {"bias": {"minimum": 3}})
    for number in range(6):
        kind = "FLAT" if number == 5 else "BIAS"
        sandbox.put(f"{NIGHT}/{number}.fits.gz", number, night=NIGHT, kind=kind, size=SMALL_FRAME)
    other = sandbox.clean()

    (other.root / "work").mkdir(exist_ok=True)
    printed = tmp_path / "printed"
    printed.mkdir()
    argument_lists = [
        ["--version"],
        other.arguments(),
        other.arguments(),
        other.arguments("--rulegraph"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUNS, json.dumps(argument_lists), printed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, "PYTHONPATH": f"{oldest_snakemake}:{FOLDER / 'hooks'}:{FOLDER}"},
    )
    outputs = [path.read_text() for path in sorted(printed.iterdir())]
    assert done.returncode == 0, "\n".join([done.stderr, *outputs])
    version, first, second, graph = outputs
    assert version.strip() == OLDEST_VERSION
    assert "6 reduced frames, 1 combined bias" in own_lines(first)[-1]
    assert "nothing to do" in second
    assert "reduce" in graph
    assert sandbox.snakemake().status == 0
    assert products(other.results) == products(sandbox.results)
