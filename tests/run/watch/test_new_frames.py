"""The frames of a watch: complete ones wait until a round has done them, each with its stamp."""

from types import SimpleNamespace

from ccdflow.files import file_access
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK
from ccdflow.run.watch.arrivals import FolderEvents
from ccdflow.run.watch.new_frames import NewFrames, SettledFiles


def test_a_complete_frame_waits_until_a_round_has_seen_it_with_its_stamp(tmp_path):
    frames, path = NewFrames(tmp_path, 1.0), tmp_path / "a.fits"
    path.write_bytes(b"a")
    stamp = file_access.stamp_of(path)
    frames.note_news(FolderEvents(complete_files={"a.fits"}))
    assert frames.waiting_stamps() == {"a.fits": stamp}
    # A look finds it as well, and another one that no event told of.
    unseen = {"a.fits": stamp, "b.fits": (7, 7, 7)}
    frames.note_look(unseen, is_polled=True)
    assert frames.waiting_stamps() == {"a.fits": stamp}
    assert frames.n_waiting == 2
    frames.note_look(unseen, is_polled=True)
    assert frames.waiting_stamps() == unseen
    frames.seen.add(frames.waiting_stamps())
    assert (frames.waiting_stamps(), frames.n_waiting) == ({}, 0)
    frames.note_look({"b.fits": (8, 8, 8)}, is_polled=True)
    assert frames.n_waiting == 1


def test_a_frame_that_a_round_did_is_not_counted_by_an_earlier_look(tmp_path):
    """A look saw its first half, and the number at the end of a watch was 1."""
    frames, path = NewFrames(tmp_path, 1.0), tmp_path / "a.fits"
    path.write_bytes(b"half")
    frames.note_look({"a.fits": file_access.stamp_of(path)}, is_polled=False)
    path.write_bytes(b"the whole frame")
    frames.note_news(FolderEvents(complete_files={"a.fits"}))
    assert frames.n_waiting == 1
    frames.seen.add(frames.waiting_stamps())
    assert frames.n_waiting == 0


def test_a_whole_round_leaves_no_frame_that_was_noticed_before_it(tmp_path):
    frames = NewFrames(tmp_path, 1.0)
    for stamp in ((1, 1, 1), (1, 1, 1), (2, 2, 2)):
        frames.note_look({"a.fits": stamp}, is_polled=True)
    frames.note_whole_round(frames.noticed_stamps)
    assert (frames.waiting_stamps(), frames.n_waiting) == ({}, 0)


def test_without_events_of_a_file_a_pause_without_change_makes_it_complete(tmp_path):
    """A second look, ten seconds later, was waited for."""
    times = iter([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
    files = SettledFiles(tmp_path, 1.0, clock=lambda: next(times))
    path, nothing = tmp_path / "a.fits", FolderEvents()
    path.write_bytes(b"half")
    files.note_open({"a.fits": file_access.stamp_of(path)})
    assert files.closed_stamps(nothing) == {}
    path.write_bytes(b"the whole frame")
    # However often events of other files lead to a look at this one.
    assert [files.closed_stamps(nothing) for _ in range(3)] == [{}, {}, {
        "a.fits": file_access.stamp_of(path)
    }]  # fmt: skip
    assert files.closed_stamps(nothing) == {}


def test_frames_that_a_round_found_incomplete_are_counted_until_they_are_whole(tmp_path):
    frames = NewFrames(tmp_path, 1.0)
    of_status = lambda status: [SimpleNamespace(file="a.fits", status=status)]  # noqa: E731
    frames.note_rows_of_short_round(of_status(ARRIVING_STATUS))
    assert frames.count_arriving({"a.fits": (1, 1, 1), "b.fits": (1, 1, 1)}) == 1
    assert frames.count_arriving({"b.fits": (1, 1, 1)}) == 0
    frames.note_rows_of_short_round(of_status(OK))
    assert frames.count_arriving({"a.fits": (1, 1, 1)}) == 0
    frames.note_rows_of_whole_round(of_status(ARRIVING_STATUS), {"c.fits"})
    assert frames.n_waiting == 2
    frames.note_rows_of_whole_round(of_status(OK), set())
    assert frames.n_waiting == 0
