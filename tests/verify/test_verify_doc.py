"""docs/verify.md: the lines that a stranger types work as they stand."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from small_frames import LFC_LIKE, bias_cards, biases, run_jobs, write_raw

from ccdflow import simulate
from ccdflow.verify.comparing import source_cards

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "verify.md"


def last_line_of(lines):
    """Return the last line that some lines of Python print."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(lines, str(PAGE), "exec"), {})
    return output.getvalue().splitlines()[-1]


@pytest.fixture
def lines():
    """The lines for a reduced frame, combined bias, dark and flat, and for a calibrated frame."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_lines_for_a_reduced_frame_print_true(tmp_path, monkeypatch, lines):
    (frame,) = biases(1)
    write_raw(tmp_path / "raw" / "ccd.001.0.fits.gz", (frame, bias_cards(1)))
    run_jobs(tmp_path / "raw", tmp_path / "results", {"cam": LFC_LIKE.format(name="TESTCAM")})
    monkeypatch.chdir(tmp_path)
    assert last_line_of(lines[0]) == "True"


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """The folder of the guide's night, small, calibrated."""
    top = tmp_path_factory.mktemp("guide")
    simulate.simulate_night(top / "raw", scale=0.0625)
    profile = (ROOT / "config" / "cameras" / "lfc.yaml").read_text()
    kinds = ("frame", "bias", "dark", "flat", "science")
    run_jobs(top / "raw", top / "results", {"lfc": profile}, kinds=kinds)
    return top


@pytest.mark.parametrize(
    ("number", "part", "other"),
    [
        (1, '"CLIPSIG"] *', '"CLIPSIG"] * 0.4 *'),
        (2, "> limit", "> limit / 4"),
        (3, "one.divide(level)", "one.divide(level * 1.00001)"),
        (4, "norm_value=1)", "norm_value=1.00001)"),
    ],
    ids=["bias", "dark", "flat", "calibrated"],
)
@pytest.mark.filterwarnings("ignore")
def test_the_lines_for_each_kind_print_true(guide, monkeypatch, lines, number, part, other):
    """With another limit, level or flat they print False."""
    monkeypatch.chdir(guide)
    assert last_line_of(lines[number]) == "True"
    assert part in lines[number]
    assert last_line_of(lines[number].replace(part, other)) == "False"


def test_each_product_takes_ten_lines(lines):
    counts = [sum(bool(line.strip()) for line in block.splitlines()) for block in lines]
    assert len(counts) == 5
    assert max(counts) <= 10


def test_each_card_that_is_believed_stands_in_the_page_with_its_reason():
    text = PAGE.read_text()
    for why in source_cards.BELIEVED_CARDS.values():
        assert f"| {why} |" in text
