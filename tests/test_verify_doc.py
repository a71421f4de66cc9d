"""docs/verify.md: the lines that a stranger types work as they stand."""

import contextlib
import io
import re
from pathlib import Path

from small_frames import LFC_LIKE, bias_cards, biases, run_jobs, write_raw

PAGE = Path(__file__).parents[1] / "docs" / "verify.md"


def test_the_lines_by_hand_print_true(tmp_path, monkeypatch):
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (frame,) = biases(1)
    write_raw(tmp_path / "raw" / "ccd.001.0.fits.gz", (frame, bias_cards(1)))
    run_jobs(tmp_path / "raw", tmp_path / "results", {"cam": LFC_LIKE.format(name="TESTCAM")})
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(lines, str(PAGE), "exec"), {})
    assert said.getvalue().splitlines()[-1] == "True"
