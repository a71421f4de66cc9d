"""The table in docs/rebuilds.md names tests that are there, and all of them."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "rebuilds.md"
MODULES = ("test_rebuilds.py", "test_faults.py", "test_events.py", "test_lost.py")
# Tests of the contract stand among others as well: rows name them, and need not name the others.
ALL = sorted(HERE.parent.rglob("test_*.py"))


def names_in(name):
    return re.findall(r"^def (test_\w+)", (HERE / name).read_text("utf-8"), re.MULTILINE)


def rows():
    table = DOCUMENT.read_text("utf-8").partition("## How it knows")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_row_of_the_table_names_its_tests():
    there = {test for name in ALL for test in names_in(name)}
    for event, *_, named in rows():
        found = re.findall(r"`(\w+)`", named)
        assert found, f"no test holds the row: {event}"
        assert set(found) <= there, f"{event}: {set(found) - there} is not there"


def test_each_test_is_in_the_table():
    named = {test for row in rows() for test in re.findall(r"`(\w+)`", row[-1])}
    assert {test for name in MODULES for test in names_in(name)} - named == set()


def test_an_event_has_one_row_of_four_cells():
    """A bar in a text would shift what runs into what does not; two rows could contradict."""
    found = rows()
    assert {len(row) for row in found} == {4}
    events = [event for event, *_ in found]
    assert len(set(events)) == len(events)
    assert all(events)
