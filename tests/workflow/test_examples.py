"""The examples in the docstrings of the scripts run unchanged on a small demonstration."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import ready_python
from astropy.io import fits

ROOT = Path(__file__).parents[2]
# The order matters: calibrate.py reads the product of combine.py, and a page shows the verdicts of
# verify.py.
ORDER = (
    "demo", "daily", "watch", "telescope", "night", "tonight", "explain", "verify", "combine",
    "calibrate", "new_camera", "simulate", "architecture",
)  # fmt: skip
# Scripts whose examples need the batch of a run or a repository of git, and their tests.
TESTED_ELSEWHERE = {
    "batch": "workflow/test_local_batches.py",
    "release": "project/test_release.py",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder after `make demo`, with frames of 160 x 258."""
    top = tmp_path_factory.mktemp("examples")
    (top / "scripts").symlink_to(ROOT / "scripts")
    (top / "docs").mkdir()
    run(top, "scripts/simulate.py", "raw=demo/raw", "--scale", "0.0625")
    snakemake = ("-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "2")
    run(top, *snakemake, "--config", "raw=demo/raw", "results=demo/results")
    yield top
    shutil.rmtree(top)


def run(top, *arguments):
    """Run Python in a folder, assert that it succeeds, and return its output."""
    done = subprocess.run(
        [ready_python.interpreter(), *arguments],
        cwd=top,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def example_of(script):
    """Return the line of the example in a script's docstring; None without an example."""
    doc = (ROOT / "scripts" / f"{script}.py").read_text("utf-8").split('"""')[1]
    start = f"python scripts/{script}.py "
    lines = doc.partition("Example")[2].splitlines()
    return next((line for line in lines if line.startswith(start)), None)


def test_every_script_with_an_example_runs_here_or_in_a_test_of_its_own():
    scripts = [path.stem for path in (ROOT / "scripts").glob("*.py")]
    assert sorted(scripts) == sorted([*ORDER, *TESTED_ELSEWHERE])
    assert None not in map(example_of, scripts)
    for test in TESTED_ELSEWHERE.values():
        assert (ROOT / "tests" / test).is_file()


def test_each_example_runs(folder):
    outputs, python = {}, ready_python.interpreter()
    for name in ORDER:
        line = example_of(name)
        # A shell, as a reader has one: the example of combine.py has a pattern of files.
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PATH": f"{Path(python).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        outputs[name] = done.stdout
    assert "the table of all 24 raw frames" in outputs["demo"]
    assert outputs["verify"].startswith("ccdflow: 1 of 1 products verified")
    assert outputs["combine"].startswith("demo/bias.fits: 6 frames")
    assert outputs["calibrate"] == "demo/by-hand: 1 frame, in electron\n"
    assert "Profile: demo/lfc.yaml" in outputs["new_camera"]
    assert outputs["simulate"].startswith("24 simulated frames of 160 x 258 are in demo/small")
    assert "2016-01-15" in outputs["tonight"]
    assert "ccd.037.0.fits" in outputs["explain"]
    assert outputs["daily"] == ""
    drawn = (folder / "docs" / "architecture.svg").read_text("utf-8")
    assert drawn == (ROOT / "docs" / "architecture.svg").read_text("utf-8")
    bias = fits.getdata(folder / "demo" / "bias.fits")
    reduced, header = fits.getdata(
        folder / "demo" / "results" / "reduced" / "ccd.037.0.fits", header=True
    )
    made = fits.getdata(folder / "demo" / "by-hand" / "ccd.037.0.fits")
    np.testing.assert_allclose(made, (reduced - bias) * header["GAIN"], rtol=1e-6, atol=1e-3)
