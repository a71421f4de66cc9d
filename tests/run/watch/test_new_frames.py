"""The frames of a watch: complete ones wait until a round has done them, each with its stamp."""

from types import SimpleNamespace

from ccdflow.files import atomic_write
from ccdflow.run.rawframes.rows import ARRIVING_STATUS, OK
from ccdflow.run.watch.arrivals import FolderEvents
from ccdflow.run.watch.new_frames import NewFrames


def test_a_complete_frame_waits_until_a_round_has_seen_it_with_its_stamp(tmp_path):
    frames, path = NewFrames(tmp_path), tmp_path / "a.fits"
    path.write_bytes(b"a")
    stamp = atomic_write.stamp_of(path)
    frames.note_news(FolderEvents(complete_files={"a.fits"}))
    assert frames.waiting() == {"a.fits": stamp}
    # A look finds it as well, and another one that no event told of.
    unseen = {"a.fits": stamp, "b.fits": (7, 7, 7)}
    frames.note_look(unseen)
    assert frames.waiting() == {"a.fits": stamp}
    assert frames.count_waiting(unseen) == 2
    frames.note_look(unseen)
    assert frames.waiting() == unseen
    frames.seen.add(frames.waiting())
    assert frames.waiting() == {}
    assert frames.count_waiting({"a.fits": stamp, "b.fits": (8, 8, 8)}) == 1


def test_frames_that_a_round_found_incomplete_are_counted_until_they_are_whole(tmp_path):
    frames = NewFrames(tmp_path)
    of_status = lambda status: [SimpleNamespace(file="a.fits", status=status)]  # noqa: E731
    frames.note_rows(of_status(ARRIVING_STATUS))
    assert frames.count_arriving({"a.fits": (1, 1, 1), "b.fits": (1, 1, 1)}) == 1
    assert frames.count_arriving({"b.fits": (1, 1, 1)}) == 0
    frames.note_rows(of_status(OK))
    assert frames.count_arriving({"a.fits": (1, 1, 1)}) == 0
