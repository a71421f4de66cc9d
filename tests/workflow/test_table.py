"""The table in docs/rebuilds.md names tests that are there, and all of them."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "rebuilds.md"
MODULES = ("test_rebuilds.py", "test_faults.py", "test_events.py", "test_lost.py")


def names_in(name):
    return re.findall(r"^def (test_\w+)", (HERE / name).read_text(), re.MULTILINE)


def rows():
    table = DOCUMENT.read_text("utf-8").partition("## How it knows")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_row_of_the_table_names_its_tests():
    there = {test for name in MODULES for test in names_in(name)}
    for event, *_, named in rows():
        found = re.findall(r"`(\w+)`", named)
        assert found, f"no test holds the row: {event}"
        assert set(found) <= there, f"{event}: {set(found) - there} is not there"


def test_each_test_is_in_the_table():
    named = {test for row in rows() for test in re.findall(r"`(\w+)`", row[-1])}
    assert {test for name in MODULES for test in names_in(name)} == named


def test_the_table_has_the_rows_of_the_issue():
    events = {event for event, *_ in rows()}
    assert {
        "nothing changed",
        "the content of a raw file changed",
        "raw files touched, or copied elsewhere and back with new times",
        "results or the whole project moved to another path",
        "one camera's region, statistic or dtype edited",
        "a setting that changes no pixel (a colour, a comment, a thread count)",
        "a release that changes the arithmetic",
        "a release or a `git checkout` that changes none",
        "a raw file deleted",
        "a product deleted by hand or damaged (its checksum tells)",
        "a raw file gone bad",
        "a bad file replaced by a good one",
        "kill -9 in the middle, then the same command again",
        "two runs at once in one results folder",
        "disk full, results folder read-only",
    } <= events
    assert len(events) == len(rows()) >= 25
