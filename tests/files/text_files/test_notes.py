"""Files of notes: written where they change, and believed only as they were written."""

from ccdflow.files.text_files import notes


def test_unchanged_text_is_not_written(tmp_path):
    path = tmp_path / "a.csv"
    assert notes.write_if_changed(path, "one")
    before = path.stat()
    assert not notes.write_if_changed(path, "one")
    assert path.stat() == before
    assert notes.write_if_changed(path, "two")
    assert path.read_text() == "two"


LINES = ["a", "", "ü\t1"]


def test_notes_that_are_damaged_are_no_notes(tmp_path):
    path = tmp_path / "notes"
    assert notes.write_checked(path, LINES)
    before = path.stat()
    assert not notes.write_checked(path, iter(LINES))
    assert path.stat() == before
    assert list(notes.read_checked(path)) == LINES
    content = path.read_bytes()
    for bit in range(len(content) * 8):
        bad = bytearray(content)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        assert notes.read_checked(path) is None
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert notes.read_checked(path) is None
    assert notes.read_checked(tmp_path / "none") is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes"]


def test_other_notes_of_the_same_length_are_written(tmp_path):
    path = tmp_path / "notes"
    notes.write_checked(path, ["one"])
    assert notes.write_checked(path, ["two"])
    assert list(notes.read_checked(path)) == ["two"]
