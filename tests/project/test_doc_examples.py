"""The worked examples of the documents give the figures that stand there."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "least"), [("calibration", 10), ("detector", 6)])
def test_examples_give_their_figures(name, least):
    blocks = re.findall(r"```pycon\n(.*?)```", (DOCS / f"{name}.md").read_text("utf-8"), re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, name, 0)
    failures = []
    done = doctest.DocTestRunner().run(test, out=failures.append)
    assert (done.failed, failures) == (0, [])
    assert done.attempted >= least
