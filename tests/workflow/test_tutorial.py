"""docs/tutorial.md: every command runs as it stands, and prints what the tutorial shows."""

import doctest
import os
import re
import subprocess
import warnings
from pathlib import Path

import pytest
import ready_python

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCKS = re.findall(r"```(console|pycon)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
ELLIPSIS = "..."


def commands(block):
    """Return [(command, the lines that are shown of its output)] of a block."""
    shown_commands = []
    for line in block.splitlines():
        if line.startswith("$ "):
            shown_commands.append((line[2:], []))
        else:
            shown_commands[-1][1].append(line)
    return shown_commands


def differences(shown, printed):
    """Return the pairs (shown, printed) that differ: None or "" where one has no line.

    A shown ``...`` matches any number of printed lines.
    """
    printed, missing, is_free = iter(printed), [], False
    for line in shown:
        if line == ELLIPSIS:
            is_free = True
            continue
        next_line = next((other for other in printed if other == line or not is_free), None)
        if next_line != line:
            missing.append((line, next_line))
        is_free = False
    rest = [] if shown and shown[-1] == ELLIPSIS else [line for line in printed if line]
    return [*missing, *(("", line) for line in rest)]


@pytest.mark.parametrize(
    ("shown", "printed", "count"),
    [
        (["a", "b"], ["a", "b"], 0),
        (["a", ELLIPSIS, "c"], ["a", "x", "y", "c"], 0),
        (["a", "c"], ["a", "b", "c"], 2),
        ([ELLIPSIS, "z"], ["a", "b"], 1),
        (["a"], ["a", "b"], 1),
    ],
)
def test_lines_are_compared_in_their_order(shown, printed, count):
    assert len(differences(shown, printed)) == count


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what a reader's checkout has, and nothing made in it."""
    top = tmp_path_factory.mktemp("tutorial")
    (top / "scripts").symlink_to(ROOT / "scripts")
    return top


def test_the_tutorial_has_the_output_of_its_commands(folder, monkeypatch):
    monkeypatch.chdir(folder)
    # `python` and `snakemake` of this folder are forks: fifteen starts take half a minute.
    path = f"{Path(ready_python.interpreter()).parent}:{os.environ['PATH']}"
    wrong = []
    for kind, block in BLOCKS:
        if kind == "pycon":
            run = doctest.DocTestRunner(verbose=False)
            test = doctest.DocTestParser().get_doctest(block, {}, "tutorial", str(PAGE), 0)
            with warnings.catch_warnings():
                # astropy remarks that it fills in MJD-OBS.
                warnings.simplefilter("ignore")
                assert run.run(test).failed == 0
            continue
        for command, shown in commands(block):
            # The reader stands in the project's folder, this test in one of its own.
            line = re.sub(r"^snakemake ", f"snakemake --snakefile {ROOT}/Snakefile ", command)
            done = subprocess.run(
                ["/bin/bash", "-c", line],
                capture_output=True, text=True, check=False,
                env={**os.environ, "PATH": path, "COLUMNS": "200"},
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            printed = (done.stderr + done.stdout).splitlines()
            wrong += [(command, *difference) for difference in differences(shown, printed)]
    assert wrong == []
    assert len(BLOCKS) == 10
