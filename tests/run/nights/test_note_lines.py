"""Files of notes that are not as they were when ranges were noted: a whole plan, no traceback."""

from types import SimpleNamespace

import pytest

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.files.text_files import note_columns, notes
from ccdflow.run import late_notes
from ccdflow.run.nights import closed_nights, merging, note_lines
from ccdflow.run.nights.note_lines import NeedsWholePlan

HOME_BY_NAME = {"a": "first", "b": "first", "c": "second", "d": "first"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lines"
    notes.write_checked(path, ["head", "a one", "b two", "c three", "d"])
    return path


def ranges_of(path, names="abcd"):
    return note_lines.ranges_of(path, names, HOME_BY_NAME.get)


def test_neighbouring_lines_of_a_home_have_one_range(path):
    start = notes.START + len("head\n")
    assert ranges_of(path) == {
        "first": [[start, 12], [start + 20, 2]],
        "second": [[start + 12, 8]],
    }
    lines = note_lines.NoteLines(path, file_access.stamp_of(path))
    assert lines.read_ranges(ranges_of(path)["first"]) == ["a one", "b two", "d"]


@pytest.mark.parametrize(
    ("names", "words"), [("abc", "has more lines"), ("abcde", "has fewer lines"), ("", "has more")]
)
def test_another_number_of_lines_needs_a_whole_plan(path, names, words):
    with pytest.raises(NeedsWholePlan, match=words):
        ranges_of(path, names)


def test_a_file_that_is_gone_needs_a_whole_plan(path):
    lines = note_lines.NoteLines(path, file_access.stamp_of(path))
    ranges = ranges_of(path)["second"]
    path.unlink()
    for ask in (lambda: ranges_of(path), lambda: lines.read_ranges(ranges)):
        with pytest.raises(NeedsWholePlan, match="No such file"):
            ask()
    with pytest.raises(NeedsWholePlan, match=r"first line of .*lines cannot be read"):
        note_lines.first_values(path)


def test_ranges_of_a_file_that_was_written_since_are_not_read(path):
    """Of the same size: a range would begin within a line."""
    lines = note_lines.NoteLines(path, file_access.stamp_of(path))
    ranges = ranges_of(path)["second"]
    assert lines.read_ranges(ranges) == ["c three"]
    with pytest.raises(NeedsWholePlan, match="is shorter than its lines were noted"):
        lines.read_ranges([*ranges, [10**9, 5]])
    notes.write_checked(path, ["head", "a three", "b two", "c one", "d"])
    with pytest.raises(NeedsWholePlan, match="is not as it was"):
        lines.read_ranges(ranges)


def test_a_record_of_a_kind_that_is_gone_or_of_an_earlier_path_belongs_to_no_night():
    homes = SimpleNamespace(
        _reach_by_kind={"page": closed_nights.OF_A_NIGHT, "table": None},
        _night_by_segment={"n1": "N1"},
    )
    night_of_record = closed_nights._Homes.night_of_record
    assert night_of_record(homes, "nights/n1/report.html", "page") == "N1"
    assert night_of_record(homes, "table.csv", "table") == ""
    for product, kind in (("x.fits", "gone"), ("report.html", "page"), ("nights/n2/x", "page")):
        with pytest.raises(NeedsWholePlan, match=f"{product} belongs to no night"):
            night_of_record(homes, product, kind)


def test_a_column_with_another_number_of_cells_is_not_read(tmp_path):
    path, written = tmp_path / "columns", [("whole", [b"1", b"2"]), ("short", [b"1"])]
    note_columns.write_columns(path, written, shared_values={}, names=["n1", "n2"])
    nights = closed_nights.ClosedNights(note_columns.read_columns(path))
    assert nights.column("whole") == {"n1": 1, "n2": 2}
    with pytest.raises(NeedsWholePlan, match="has 1 values of short, not 2"):
        nights.column("short")


def test_late_notes_that_are_damaged_are_not_merged(tmp_path, monkeypatch):
    """The nights are planned anew then; the damaged lines count nowhere."""
    (tmp_path / paths.STATE).mkdir(parents=True)
    for name in (paths.HEADERS, paths.LEDGER):
        notes.write_checked(tmp_path / name, ["{}"])
    late = late_notes.LateNotes({"rows": {}, "records": {}}, ["row"], ["record"])
    late_notes.write_late_notes(tmp_path, late)
    text = (tmp_path / paths.LATE_NOTES).read_bytes()
    (tmp_path / paths.LATE_NOTES).write_bytes(text.replace(b"record\n", b"broken\n"))
    (tmp_path / paths.CLOSED_NIGHTS).write_text("nights")
    monkeypatch.setattr(merging, "read_closed_nights", lambda _: SimpleNamespace(nights=[]))
    monkeypatch.setattr(merging, "_LEAST_BYTES", 1)
    monkeypatch.setattr(merging, "_LEAST_FRACTION", 0)
    assert merging.merge_late_notes(tmp_path) is False
    assert not (tmp_path / paths.CLOSED_NIGHTS).exists()
