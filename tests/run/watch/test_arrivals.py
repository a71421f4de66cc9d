"""How a watch notices frames: the kernel's events, and looks at the folder."""

import errno
import os

import pytest

from ccdflow.files import atomic_write
from ccdflow.run.watch import arrivals, new_frames

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:40 / /data rw,relatime shared:2 - nfs4 server:/data rw
31 22 0:41 / /data/my\\040raw rw - xfs /dev/sdb rw
32 30 0:42 / /data/cam rw master:3 - fuse.sshfs host: rw
33 22 0:43 / /data/my\\040raw rw - tmpfs tmpfs rw
"""


@pytest.fixture
def events(tmp_path):
    """The events of a folder with a folder in it."""
    (tmp_path / "raw" / "night").mkdir(parents=True)
    folder_events = arrivals.Events(tmp_path / "raw")
    yield folder_events
    folder_events.close()


def news_of(events):
    news = events.news(0.001)
    return news.complete_files, news.begun_files, news.needs_look


def test_a_file_is_complete_when_it_is_closed_or_gets_its_name(events):
    raw = events.raw
    with (raw / "a.fits").open("wb") as file:
        file.write(b"half")
        file.flush()
        assert news_of(events) == (set(), {"a.fits"}, False)
        file.write(b"whole")
    assert news_of(events) == ({"a.fits"}, set(), False)
    (raw / "night" / "b.fits.part").write_bytes(b"whole")
    assert news_of(events) == (set(), set(), False)
    (raw / "night" / "b.fits.part").rename(raw / "night" / "b.fits")
    assert news_of(events) == ({"night/b.fits"}, set(), False)
    (raw / ".hidden.fits").write_bytes(b"")
    assert news_of(events) == (set(), set(), False)


def test_removed_files_and_new_folders_lead_to_a_look(events):
    raw = events.raw
    (raw / "a.fits").write_bytes(b"")
    news_of(events)
    (raw / "a.fits").unlink()
    assert news_of(events) == (set(), set(), True)
    (raw / "later").mkdir()
    assert news_of(events) == (set(), set(), True)
    (raw / "later" / "c.fits").write_bytes(b"")
    assert news_of(events) == ({"later/c.fits"}, set(), False)
    # A folder that is moved has the names of its new place.
    (raw / "later").rename(raw / "moved")
    assert news_of(events)[2]
    (raw / "moved" / "d.fits").write_bytes(b"")
    assert news_of(events) == ({"moved/d.fits"}, set(), False)
    assert not events.is_lost


def test_a_folder_behind_a_link_is_watched_and_a_circle_is_not_followed(tmp_path):
    raw, other = tmp_path / "raw", tmp_path / "other"
    other.mkdir()
    raw.mkdir()
    (raw / "link").symlink_to(other)
    (other / "round").symlink_to(raw)
    events = arrivals.Events(raw)
    (other / "a.fits").write_bytes(b"")
    assert "link/a.fits" in news_of(events)[0]
    events.close()


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_raw_folder_that_goes_is_lost(events, is_moved):
    (events.raw / "night").rmdir()
    if is_moved:
        events.raw.rename(events.raw.with_name("other"))
    else:
        events.raw.rmdir()
    assert news_of(events)[2]
    assert events.is_lost


def test_a_link_is_complete_once_it_has_stayed_as_it_is(events):
    quiet = new_frames.SettledFiles(events.raw)
    (events.raw.parent / "a.fits").write_bytes(b"a")
    os.link(events.raw.parent / "a.fits", events.raw / "a.fits")
    stamp = atomic_write.stamp_of(events.raw / "a.fits")
    complete = [quiet.closed_stamps(events.news(0.001)) for _ in range(4)]
    assert complete == [{}, {}, {"a.fits": stamp}, {}]


def test_a_file_that_grows_is_not_at_rest(tmp_path):
    quiet = new_frames.SettledFiles(tmp_path)
    assert quiet.unchanged_stamps({"a": (1, 1), "b": (1, 1)}) == {}
    assert quiet.unchanged_stamps({"a": (2, 2), "b": (1, 1)}) == {"b": (1, 1)}
    assert quiet.unchanged_stamps({"a": (2, 2)}) == {"a": (2, 2)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/x", "nfs4"), ("/data/my raw/a", "tmpfs"), ("/data/cam", "fuse.sshfs"),
     ("/database", "ext4")],
)  # fmt: skip
def test_the_mount_tells_the_file_system(path, kind, tmp_path):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert arrivals.file_system_of(path, tmp_path / "mountinfo") == kind
    assert arrivals.file_system_of(path, tmp_path / "none") == ""


def test_frames_of_other_machines_are_looked_for(tmp_path, monkeypatch):
    kinds = {"nfs4": "polling", "ext4": "events", "": "polling", "9p": "polling"}
    for kind, way in kinds.items():
        monkeypatch.setattr(arrivals, "file_system_of", lambda path, kind=kind: kind)
        source, why = arrivals.frame_source(tmp_path, "auto", None)
        assert (source.way, bool(why)) == (way, way == "polling")
        source.close()
    source, _ = arrivals.frame_source(tmp_path, "events", None)
    assert source.way == "events"
    source.close()
    source, why = arrivals.frame_source(tmp_path / "none", "auto", None)
    assert (source.way, why, source.is_lost) == ("polling", "", True)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (AttributeError("inotify_init1"), "this system reports no changes of files"),
    ],
)
def test_where_the_kernel_cannot_tell_frames_are_looked_for(tmp_path, monkeypatch, error, why):
    def refuse(raw):
        raise error

    monkeypatch.setattr(arrivals, "Events", refuse)
    source, reason = arrivals.frame_source(tmp_path, "events", None)
    assert (source.way, reason) == ("polling", why)


def test_a_raw_folder_of_too_many_folders_is_not_watched_by_events(tmp_path, monkeypatch):
    """The kernel's room for watches is shared: such a folder is looked at instead."""
    monkeypatch.setattr(arrivals, "_MOST_FOLDERS", 2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    arrivals.Events(tmp_path).close()
    (tmp_path / "c").mkdir()
    with pytest.raises(OSError, match="the raw folder has more than 2 folders") as caught:
        arrivals.Events(tmp_path)
    assert caught.value.errno == errno.ENOSPC
