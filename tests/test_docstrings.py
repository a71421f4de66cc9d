"""The examples in docstrings give what they say they give."""

import doctest
import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
MODULES = [
    ".".join(path.relative_to(SCRIPTS).with_suffix("").parts)
    for path in sorted((SCRIPTS / "ccdflow").rglob("*.py"))
    if ">>>" in path.read_text("utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name, capsys):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0, capsys.readouterr().out
    assert tried > 0, f"the >>> of {name} are in no docstring"
