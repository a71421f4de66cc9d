"""The worked examples of the documents give the figures that stand there."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize(("name", "least"), [("calibration", 10), ("detector", 6)])
def test_examples_give_their_figures(name, least):
    blocks = re.findall(r"```pycon\n(.*?)```", (DOCS / f"{name}.md").read_text("utf-8"), re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, name, 0)
    failures = []
    done = doctest.DocTestRunner().run(test, out=failures.append)
    assert (done.failed, failures) == (0, [])
    assert done.attempted >= least


def test_the_documents_describe_every_camera_that_comes_with_ccdflow():
    """An observer who finds a profile for the telescope looks there for the reasons."""
    profiles = {path.stem for path in (ROOT / "config" / "cameras").glob("*.yaml")}
    text = (DOCS / "cameras.md").read_text("utf-8")
    described = re.findall(r"^\*\*`(\w+)`: ", text, re.MULTILINE)
    assert sorted(described) == sorted(profiles)
    numbers = {6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    assert f"those of {numbers[len(profiles)]} cameras" in (ROOT / "README.md").read_text("utf-8")
