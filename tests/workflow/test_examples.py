"""The examples of the scripts run as they stand in their docstrings, on a small demonstration."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import ready_python
from astropy.io import fits

ROOT = Path(__file__).parents[2]
# In this order: calibrate.py takes what combine.py made, and a page shows what verify.py found.
ORDER = (
    "demo", "daily", "watch", "telescope", "night", "tonight", "explain", "verify", "combine",
    "calibrate", "new_camera", "simulate", "architecture",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as `make demo` leaves it, with frames of 160 x 258."""
    top = tmp_path_factory.mktemp("examples")
    (top / "scripts").symlink_to(ROOT / "scripts")
    (top / "docs").mkdir()
    run(top, "scripts/simulate.py", "raw=demo/raw", "--scale", "0.0625")
    snakemake = ("-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "2")
    run(top, *snakemake, "--config", "raw=demo/raw", "results=demo/results")
    yield top
    shutil.rmtree(top)


def run(top, *arguments):
    """Run Python in a folder, and return its output; it has to succeed."""
    done = subprocess.run(
        [ready_python.interpreter(), *arguments],
        cwd=top,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_each_example_runs(folder):
    outputs, python = {}, ready_python.interpreter()
    for name in ORDER:
        doc = (ROOT / "scripts" / f"{name}.py").read_text("utf-8").split('"""')[1]
        start = f"python scripts/{name}.py "
        (line,) = (x for x in doc.partition("Example")[2].splitlines() if x.startswith(start))
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
