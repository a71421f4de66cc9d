"""docs/verify.md: the lines that a stranger types work as they stand."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from small_frames import LFC_LIKE, bias_cards, biases, run_jobs, write_raw

from ccdflow import simulate

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "verify.md"


def said_by(lines):
    """Return the last line that some lines of Python print."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(lines, str(PAGE), "exec"), {})
    return said.getvalue().splitlines()[-1]


@pytest.fixture
def lines():
    """The lines for a reduced frame, and those for a calibrated one."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_lines_for_a_reduced_frame_print_true(tmp_path, monkeypatch, lines):
    (frame,) = biases(1)
    write_raw(tmp_path / "raw" / "ccd.001.0.fits.gz", (frame, bias_cards(1)))
    run_jobs(tmp_path / "raw", tmp_path / "results", {"cam": LFC_LIKE.format(name="TESTCAM")})
    monkeypatch.chdir(tmp_path)
    assert said_by(lines[0]) == "True"


def test_the_lines_for_a_calibrated_frame_print_true(tmp_path, monkeypatch, lines):
    simulate.simulate_night(tmp_path / "raw", scale=0.0625)
    profile = (ROOT / "config" / "cameras" / "lfc.yaml").read_text()
    kinds = ("frame", "bias", "dark", "flat", "science")
    run_jobs(tmp_path / "raw", tmp_path / "results", {"lfc": profile}, kinds=kinds)
    monkeypatch.chdir(tmp_path)
    assert said_by(lines[1]) == "True"
    # One adu more in a pixel of the flat, and they differ.
    assert said_by(lines[1].replace("norm_value=1)", "norm_value=1.00001)")) == "False"


def test_each_product_takes_ten_lines(lines):
    counts = [sum(bool(line.strip()) for line in block.splitlines()) for block in lines]
    assert len(counts) == 2
    assert max(counts) <= 10
