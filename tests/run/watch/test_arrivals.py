"""How a watch notices frames: the kernel's events, and looks at the folder."""

import errno
import os
import shutil

import pytest

from ccdflow.files import file_access
from ccdflow.run.raw_frames import raw_folders
from ccdflow.run.watch import arrivals, new_frames

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:40 / /data rw,relatime shared:2 - nfs4 server:/data rw
31 22 0:41 / /data/my\\040raw rw - xfs /dev/sdb rw
32 30 0:42 / /data/cam rw master:3 - fuse.sshfs host: rw
33 22 0:43 / /data/my\\040raw rw - tmpfs tmpfs rw
34 22 0:44 / /data/b\udce9d rw - ext4 /dev/sdc rw
35 22 0:45 / /data/ñandú rw - cifs //server/data rw
36 22 0:46 / /data/line\x85\u2028 rw - smb3 //server/data rw
"""


@pytest.fixture
def events(tmp_path):
    """The events of a folder with a folder in it."""
    (tmp_path / "raw" / "night").mkdir(parents=True)
    folder_events = arrivals.KernelEvents(tmp_path / "raw")
    yield folder_events
    folder_events.close()


def news_of(events):
    news = events.wait_for_news(0.001)
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
    events = arrivals.KernelEvents(raw)
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
    times = iter([0.0, 0.5, 1.0, 1.5])
    quiet = new_frames.SettledFiles(events.raw, 1.0, clock=lambda: next(times))
    (events.raw.parent / "a.fits").write_bytes(b"a")
    os.link(events.raw.parent / "a.fits", events.raw / "a.fits")
    stamp = file_access.stamp_of(events.raw / "a.fits")
    complete = [quiet.closed_stamps(events.wait_for_news(0.001)) for _ in range(4)]
    assert complete == [{}, {}, {"a.fits": stamp}, {}]


@pytest.mark.parametrize("way", ["moved", "linked", "made"])
def test_frames_of_a_new_folder_are_noticed_with_it(events, way):
    """Frames from before the kernel was asked waited for two looks, ten seconds apart."""
    other = events.raw.parent / "other"
    (other / "deep").mkdir(parents=True)
    (other / "deep" / "a.fits").write_bytes(b"a")
    if way == "moved":
        other.rename(events.raw / "new")
    elif way == "linked":
        (events.raw / "new").symlink_to(other)
    else:
        shutil.copytree(other, events.raw / "new")
    assert news_of(events) == (set(), {"new/deep/a.fits"}, True)
    (events.raw / "new" / "deep" / "b.fits").write_bytes(b"b")
    assert news_of(events) == ({"new/deep/b.fits"}, set(), False)


ODD_FOLDERS = {
    "hidden": lambda raw: (raw / ".~tmp~").mkdir(),
    "circle": lambda raw: (raw / "night" / "circle").symlink_to(raw),
    "results": lambda raw: (raw / "products").symlink_to(raw.parent / "results"),
    "twice": lambda raw: (raw / "same").symlink_to(raw / "night"),
    "moved": lambda raw: (raw / "night").rename(raw / "moved"),
    "gone": lambda raw: (raw / "night").rename(raw.parent / "gone"),
}


@pytest.mark.parametrize("name", ODD_FOLDERS)
@pytest.mark.parametrize("is_there", [True, False])
def test_events_name_the_frames_that_a_look_finds_and_no_others(tmp_path, name, is_there):
    """A frame in a hidden folder (rsync --delay-updates) was reduced, under that name."""
    raw, results = tmp_path / "raw", tmp_path / "results"
    (raw / "night").mkdir(parents=True)
    (results / "reduced").mkdir(parents=True)
    if is_there:
        ODD_FOLDERS[name](raw)
    events = arrivals.KernelEvents(raw, results)
    if not is_there:
        ODD_FOLDERS[name](raw)
        # Folders that are not watched any more are reported once.
        news_of(events)
        news_of(events)
    folders = [raw, *(folder for folder in tmp_path.rglob("*") if folder.is_dir())]
    for number, folder in enumerate({folder.resolve() for folder in folders} - {tmp_path}):
        (folder / f"{number}.fits").write_bytes(b"a")
    names = events.wait_for_news(0.001).complete_files
    events.close()
    assert names == set(raw_folders.list_raw(raw, results))


@pytest.mark.parametrize(
    ("number", "way"), [(errno.ENOSPC, "polling"), (errno.E2BIG, "polling"), (errno.ENOENT, "")]
)
def test_a_later_folder_that_the_kernel_does_not_report_ends_the_events(
    events, monkeypatch, number, way
):
    def refuse(path, mask):
        raise OSError(number, "no")

    monkeypatch.setattr(events._inotify, "add_watch", refuse)
    (events.raw / "later").mkdir()
    assert news_of(events)[2]
    assert events.is_lost == bool(way)


def test_a_file_that_grows_is_not_at_rest(tmp_path):
    quiet = new_frames.SettledFiles(tmp_path, 1.0)
    assert quiet.unchanged_stamps({"a": (1, 1), "b": (1, 1)}) == {}
    assert quiet.unchanged_stamps({"a": (2, 2), "b": (1, 1)}) == {"b": (1, 1)}
    assert quiet.unchanged_stamps({"a": (2, 2)}) == {"a": (2, 2)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/x", "nfs4"), ("/data/my raw/a", "tmpfs"), ("/data/cam", "fuse.sshfs"),
     ("/database", "ext4"), ("/data/ñandú/raw", "cifs"), ("/data/line\x85\u2028", "smb3")],
)  # fmt: skip
def test_the_mount_tells_the_file_system(path, kind, tmp_path):
    (tmp_path / "mountinfo").write_bytes(os.fsencode(MOUNTS))
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
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the kernel reports no more folders: sysctl fs.inotify.max_user_watches",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "the kernel reports to no more programs: sysctl fs.inotify.max_user_instances",
        ),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (AttributeError("inotify_init1"), "this system reports no changes of files"),
    ],
)
def test_where_the_kernel_cannot_tell_frames_are_looked_for(tmp_path, monkeypatch, error, why):
    def refuse(raw, results):
        raise error

    monkeypatch.setattr(arrivals, "KernelEvents", refuse)
    source, reason = arrivals.frame_source(tmp_path, "events", None)
    assert (source.way, reason) == ("polling", why)


def test_a_raw_folder_of_too_many_folders_is_not_watched_by_events(tmp_path, monkeypatch):
    """The kernel's room for watches is shared: such a folder is looked at instead."""
    monkeypatch.setattr(arrivals, "_MOST_FOLDERS", 2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    arrivals.KernelEvents(tmp_path).close()
    (tmp_path / "c").mkdir()
    with pytest.raises(OSError, match="the raw folder has more than 2 folders") as caught:
        arrivals.KernelEvents(tmp_path)
    assert caught.value.errno == errno.E2BIG
