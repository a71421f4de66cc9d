"""Notes in columns, and tables of which a few lines are replaced: bytes, damage, places."""

import random

import pytest

from ccdflow.files import note_columns, tables

CELLS = {
    "plain": [note_columns.cell(value) for value in ({"k": "ü\n\t"}, 3, [1.5])],
    "some": [b"", b"1", note_columns.cell("x")],
}


@pytest.fixture
def path(tmp_path):
    note_columns.write_columns(
        tmp_path / "notes", CELLS.items(), first={"form": 2}, names=["a", "b", "c"]
    )
    return tmp_path / "notes"


def test_columns_are_read_as_they_were_written(path):
    found = note_columns.read_columns(path)
    assert (found.first, found.names, list(found)) == ({"form": 2}, ["a", "b", "c"], list(CELLS))
    assert {name: found.cells(name) for name in found} == CELLS
    assert note_columns.values(found.cells("plain")) == [{"k": "ü\n\t"}, 3, [1.5]]
    assert note_columns.values(found.cells("some")) == [None, 1, "x"]


@pytest.mark.parametrize(
    "change",
    [lambda t: t[:-3], lambda t: t[:5], lambda t: b"", lambda t: t.replace(b'"b"', b'"d"')],
)
def test_damaged_columns_are_none(path, change):
    path.write_bytes(change(path.read_bytes()))
    assert note_columns.read_columns(path) is None
    assert note_columns.read_columns(path.parent / "absent") is None


def test_columns_of_a_file_that_was_written_anew_are_not_mixed_with_it(path):
    before = note_columns.read_columns(path)
    note_columns.write_columns(path, CELLS.items(), first={"form": 3}, names=["a", "b", "c"])
    with pytest.raises(OSError, match="written anew"):
        before.cells("plain")


def test_lines_are_put_into_a_table_as_if_it_were_written_from_scratch(tmp_path):
    """Names that begin alike, several lines a name, names that go, tables without a line."""
    dice, path = random.Random(1), tmp_path / "table.csv"

    def name():
        return "".join(dice.choice("ab/.-c") for _ in range(dice.randint(1, 4)))

    def lines(of, word):
        return [
            f"{of},{word}{'x' * dice.randint(0, 40)}\n".encode() for _ in range(dice.choice((1, 3)))
        ]

    def text(rows):
        own = (b"".join(rows[each]) for each in sorted(rows, key=str.encode))
        return b"".join([b"file,value\n", *own])

    for _ in range(200):
        rows = {each: lines(each, "old") for each in {name() for _ in range(dice.randint(0, 12))}}
        path.write_bytes(text(rows))
        changed = [*dice.sample(sorted(rows), min(len(rows), 2)), *(name() for _ in range(2))]
        new = {each: dice.choice(([], lines(each, "new"))) for each in changed}
        tables.update_table(path, new)
        assert path.read_bytes() == text(rows | new)
