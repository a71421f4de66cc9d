"""Notes in columns: bytes, damage, places."""

import pytest

from ccdflow.files.text_files import note_columns

CELLS = {
    "plain": [note_columns.cell(value) for value in ({"k": "ü\n\t"}, 3, [1.5])],
    "some": [b"", b"1", note_columns.cell("x")],
}


@pytest.fixture
def path(tmp_path):
    note_columns.write_columns(
        tmp_path / "notes", CELLS.items(), shared_values={"form": 2}, names=["a", "b", "c"]
    )
    return tmp_path / "notes"


def test_columns_are_read_as_they_were_written(path):
    columns = note_columns.read_columns(path)
    assert (columns.shared_values, columns.names, list(columns)) == (
        {"form": 2},
        ["a", "b", "c"],
        list(CELLS),
    )
    assert {name: columns.cells(name) for name in columns} == CELLS
    assert note_columns.values(columns.cells("plain")) == [{"k": "ü\n\t"}, 3, [1.5]]
    assert note_columns.values(columns.cells("some")) == [None, 1, "x"]


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
    note_columns.write_columns(
        path, CELLS.items(), shared_values={"form": 3}, names=["a", "b", "c"]
    )
    with pytest.raises(note_columns.NotAsWritten, match=r"notes was written anew$"):
        before.cells("plain")
