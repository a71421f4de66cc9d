"""The rows of docs/rebuilds.md and docs/bad-frames.md have tests, which tests/contract.md names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
CONTRACT = (TESTS / "contract.md").read_text("utf-8")
# Each test of these files holds a row.
MODULES = ("test_rebuilds.py", "test_faults.py", "test_random_events.py", "test_silent_losses.py")
DEFINED = {
    path.relative_to(ROOT).as_posix(): set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    for path in TESTS.rglob("test_*.py")
}
# The heading of the first column, and the fewest rows.
TABLES = {
    "rebuilds.md": ("event", 40),
    "bad-frames.md": ("the reason, behind its card or setting", 20),
}


def rows(name):
    """Return the cells of the rows of a document's table."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    lines = text[text.index(f"| {TABLES[name][0]}") :].splitlines()
    table = lines[2 : next((n for n, line in enumerate(lines) if line[:1] != "|"), len(lines))]
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in table]


def named_tests(name):
    """Return {first cell of a row: text that names its tests}."""
    section = CONTRACT.partition(f"## docs/{name}\n")[2].partition("\n## ")[0]
    parts = section.split("\n- **")[1:]
    events, texts = zip(*(part.split("**", 1) for part in parts), strict=True)
    tests_by_row = dict(zip((" ".join(event.split()) for event in events), texts, strict=True))
    assert len(tests_by_row) == len(parts), "two rows of one name"
    return tests_by_row


@pytest.mark.parametrize("name", TABLES)
def test_each_row_has_its_tests(name):
    table = rows(name)
    assert len(table) >= TABLES[name][1]
    # A bar in a text would shift what runs into what does not; two rows could contradict.
    assert {len(cells) for cells in table} == {3}
    events = [cells[0] for cells in table]
    assert all(events)
    assert list(named_tests(name)) == events


@pytest.mark.parametrize("name", TABLES)
def test_the_tests_of_each_row_exist(name):
    workflow = [file for file in DEFINED if file.startswith("tests/workflow/")]
    for event, text in named_tests(name).items():
        tests = re.findall(r"`(test_\w+)`", text)
        assert tests or "test_" in text, event
        files = re.findall(r"`(tests/[\w/]+\.py)`", text)
        missing = set(tests) - set().union(*(DEFINED[file] for file in [*files, *workflow]))
        others = [file for file, names in DEFINED.items() if missing & names]
        assert not missing, (event, missing, others)


def test_each_test_of_the_contract_holds_a_row():
    named = set(re.findall(r"`(test_\w+)`", CONTRACT))
    held = set().union(*(DEFINED[f"tests/workflow/{name}"] for name in MODULES))
    assert held - named == set()


def test_each_reason_is_one_that_the_library_gives():
    """Words of the first column of docs/bad-frames.md stand in the library's code."""
    paths = sorted((ROOT / "scripts" / "ccdflow").rglob("*.py"))
    text = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in paths))
    named = []
    for cells in rows("bad-frames.md"):
        for reason in re.split(r", (?=the |gzip )", cells[0]):
            words = reason.rpartition("): ")[2].rstrip(".: ").split("...")
            named += [part.strip(" ,") for part in words]
    assert len(named) > 20
    assert [part for part in named if part not in text] == []
