"""Each row of docs/bad-frames.md and docs/rebuilds.md names its tests, and these exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_DEFINED = {
    path.relative_to(ROOT).as_posix(): set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    for path in (ROOT / "tests").rglob("test_*.py")
}


def rows(text, first):
    """Return the cells of the rows of the table whose heading begins with some words."""
    lines = text[text.index(f"| {first}") :].splitlines()
    table = lines[2 : next((n for n, line in enumerate(lines) if line[:1] != "|"), len(lines))]
    return [line.strip()[1:-1].split("|") for line in table]


@pytest.mark.parametrize(
    ("name", "first", "least"),
    [("bad-frames.md", "the reason begins with", 20), ("rebuilds.md", "event", 40)],
)
def test_each_row_names_tests_that_exist(name, first, least):
    found = rows((ROOT / "docs" / name).read_text(), first)
    assert len(found) >= least
    for cells in found:
        assert len(cells) == 4, cells[0]
        tests = re.findall(r"`(test_\w+)`", cells[-1])
        assert tests, cells[0]
        files = re.findall(r"`(tests/[\w/]+\.py)`", cells[-1])
        workflow = [file for file in _DEFINED if file.startswith("tests/workflow/")]
        places = [*files, *workflow]
        defined = set().union(*(_DEFINED[file] for file in places))
        missing = set(tests) - defined
        others = [file for file, names in _DEFINED.items() if missing & names]
        assert not missing, (cells[0], missing, others)


def test_each_reason_is_one_that_the_library_gives():
    """Words of the first column of docs/bad-frames.md stand in the library's code."""
    paths = sorted((ROOT / "scripts" / "ccdflow").rglob("*.py"))
    text = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in paths))
    named = []
    for cells in rows((ROOT / "docs/bad-frames.md").read_text(), "the reason begins with"):
        for reason in re.split(r", (?=the |gzip )", cells[0].strip()):
            words = reason.rpartition("): ")[2].rstrip(".: ").split("...")
            named += [part.strip(" ,") for part in words]
    assert len(named) > 20
    assert [part for part in named if part not in text] == []
