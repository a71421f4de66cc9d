"""The ways to notice frames: the kernel reports those on local disks; others are searched for."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from inotify_simple import INotify, flags

from ccdflow import paths
from ccdflow.run.raw_frames import raw_folders

AUTO_WAY, EVENTS_WAY, POLLING_WAY = "auto", "events", "polling"
"""The ways to notice frames, as `watch.py` names them."""

WATCH_WAYS = (AUTO_WAY, EVENTS_WAY, POLLING_WAY)
"""All ways to notice frames."""

# The kernel sees each change on these file systems; on others, another machine may change files.
_LOCAL_FILE_SYSTEMS = frozenset(
    (
        "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs",
        "tmpfs", "ramfs", "overlay", "vfat", "exfat", "msdos", "ntfs3", "hfsplus",
    )
)  # fmt: skip
# With more folders in it, the raw folder is looked through. Chosen: the kernel's room for events is
# shared by all programs of a user.
_MOST_FOLDERS = 5000
# The kernel's limits on events, by the number of the error: in its own words they are a full disk
# and too many open files.
_PROBLEM_BY_LIMIT = {
    errno.ENOSPC: "the kernel reports no more folders: sysctl fs.inotify.max_user_watches",
    errno.EMFILE: "the kernel reports to no more programs: sysctl fs.inotify.max_user_instances",
}
_WANTED_EVENTS = (
    flags.CLOSE_WRITE | flags.MOVED_TO | flags.CREATE | flags.MOVED_FROM | flags.DELETE
    | flags.MOVE_SELF | flags.ONLYDIR
)  # fmt: skip


@dataclass
class FolderEvents:
    """The changes of a raw folder since they were last asked for.

    Attributes
    ----------
    complete_files : set of str
        Files that were closed after writing, or got their name.
    begun_files : set of str
        Files that came and were not closed: files being written, links, and files that were in a
        folder before its events were asked for.
    needs_look : bool
        Whether something else may have happened: the folder is to be looked through.
    """

    complete_files: set[str] = field(default_factory=set)
    begun_files: set[str] = field(default_factory=set)
    needs_look: bool = False


class Polling:
    """Reports each time that the folder has to be searched.

    Parameters
    ----------
    wait : callable
        Takes seconds.
    is_lost : bool, optional
        Whether the folder was missing: the way to watch it is chosen again once it is there.
    """

    way = POLLING_WAY

    def __init__(self, wait, *, is_lost=False):
        self._wait = wait
        self.is_lost = is_lost

    def wait_for_news(self, seconds):
        """Wait, and return the `FolderEvents`."""
        self._wait(seconds)
        return FolderEvents(needs_look=True)

    def close(self):
        """Do nothing: polling has no handle of the kernel's."""


class KernelEvents:
    """The kernel's events of the folders in which a look finds raw frames.

    Parameters
    ----------
    raw : path-like
    results : path-like, optional
        The results folder, whose files are no raw frames.

    Raises
    ------
    OSError
        If there are more folders than `_MOST_FOLDERS` or than the kernel allows, or the raw folder
        is not there.
    """

    way = EVENTS_WAY
    # Whether the folder was removed or moved, or the kernel does not report all folders in it: the
    # folder has to be watched anew, or in the other way.
    is_lost = False

    def __init__(self, raw, results=None):
        self.raw, self._results = Path(raw), results
        self._inotify = INotify()
        # The paths of each watched folder, which has several where links lead to it: ``night/``.
        self._prefixes = {}
        try:
            self.raw.stat()
            self._watch_folders(raises_errors=True)
        except OSError:
            self.close()
            raise

    def _watch_folders(self, *, raises_errors=False):
        """Ask for the events of all folders; return the raw files in those that are new."""
        earlier_prefixes, self._prefixes = self._prefixes, {}
        errors = []

        def watch_folder(prefix):
            """Ask for the events of a folder before its files are listed: none is missed."""
            try:
                if len(self._prefixes) > _MOST_FOLDERS:
                    text = f"the raw folder has more than {_MOST_FOLDERS} folders"
                    raise OSError(errno.E2BIG, text)
                number = self._inotify.add_watch(self.raw / prefix, _WANTED_EVENTS)
            except OSError as error:
                # A folder that has gone meanwhile has no events.
                if error.errno != errno.ENOENT:
                    errors.append(error)
            else:
                self._prefixes.setdefault(number, set()).add(prefix)

        names = raw_folders.walk_names(self.raw, self._results, watch_folder)
        if errors and raises_errors:
            raise errors[0]
        # Without the events of some folders, their frames would be noticed late.
        self.is_lost |= bool(errors)
        for number in earlier_prefixes.keys() - self._prefixes.keys():
            with suppress(OSError):
                self._inotify.rm_watch(number)
        new_prefixes = set().union(*self._prefixes.values())
        new_prefixes -= set().union(*earlier_prefixes.values())
        return {name for name in names if name[: name.rfind("/") + 1] in new_prefixes}

    def wait_for_news(self, seconds):
        """Wait for something to happen, and return the `FolderEvents`."""
        news, are_folders_new = FolderEvents(), False
        for event in self._inotify.read(timeout=max(1, round(seconds * 1000))):
            are_folders_new |= self._add_event(event, news)
        if are_folders_new:
            news.begun_files |= self._watch_folders()
        news.begun_files -= news.complete_files
        return news

    def _add_event(self, event, news):
        """Add an event of the kernel to the news; return whether a folder may have come or gone."""
        if event.mask & (flags.Q_OVERFLOW | flags.IGNORED | flags.UNMOUNT):
            prefixes = self._prefixes.pop(event.wd, ())
            self.is_lost |= "" in prefixes or bool(event.mask & flags.Q_OVERFLOW)
            news.needs_look = True
            return False
        prefixes = self._prefixes.get(event.wd, ())
        if event.mask & flags.MOVE_SELF:
            self.is_lost |= "" in prefixes
            news.needs_look = True
        if not prefixes or not event.name or event.name.startswith("."):
            return False
        # The kernel does not report a link to a folder as a folder.
        is_new = bool(event.mask & (flags.CREATE | flags.MOVED_TO))
        is_folder = bool(event.mask & flags.ISDIR) or (
            is_new and any((self.raw / prefix / event.name).is_dir() for prefix in prefixes)
        )
        if is_folder:
            news.needs_look = True
            return True
        if paths.is_raw_name(event.name):
            names = {f"{prefix}{event.name}" for prefix in prefixes}
            if event.mask & (flags.CLOSE_WRITE | flags.MOVED_TO):
                news.complete_files |= names
            elif event.mask & flags.CREATE:
                news.begun_files |= names
            else:
                news.needs_look = True
        return False

    def close(self):
        """Give the kernel's handle back."""
        self._inotify.close()


def frame_source(raw, way, wait, results=None):
    """Return the source of news on a raw folder, and the reason for polling, or ''.

    Parameters
    ----------
    raw : path-like
    way : {'auto', 'events', 'polling'}
    wait : callable
        Takes seconds.
    results : path-like, optional
        The results folder, whose files are no raw frames.

    Returns
    -------
    (KernelEvents or Polling, str)
    """
    if not os.path.isdir(raw):  # noqa: PTH112 - a folder that cannot be looked at is not there yet
        return Polling(wait, is_lost=True), ""
    file_system = file_system_of(raw)
    if way == POLLING_WAY or (way == AUTO_WAY and file_system not in _LOCAL_FILE_SYSTEMS):
        return Polling(wait), f"file system {file_system or 'unknown'}" if way == AUTO_WAY else ""
    try:
        return KernelEvents(raw, results), ""
    except OSError as error:
        return Polling(wait), _PROBLEM_BY_LIMIT.get(error.errno, error.strerror or str(error))
    except AttributeError:
        # Only Linux has events of files.
        return Polling(wait), "this system reports no changes of files"


def file_system_of(path, mounts=raw_folders.MOUNT_TABLE):
    """Return the type of the file system that a path lies on, '' where unknown.

    Parameters
    ----------
    path : path-like
    mounts : path-like, optional
        As Linux writes it: see proc_pid_mountinfo(5).

    Returns
    -------
    str
    """
    path, longest_point, file_system = os.path.realpath(path), "", ""
    for mount in raw_folders.read_mounts(mounts):
        is_above = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        # Of two mounts on one folder the later one is visible.
        if is_above and len(mount.point) >= len(longest_point):
            longest_point, file_system = mount.point, mount.file_system
    return file_system
