"""How a watch notices frames: the kernel reports files of this machine, others are looked for."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from inotify_simple import INotify, flags

from ccdflow import paths
from ccdflow.run.rawframes import rawfolder

AUTO_WAY, EVENTS_WAY, POLLING_WAY = "auto", "events", "polling"
"""The ways to notice frames, as `watch.py` names them."""

WATCH_WAYS = (AUTO_WAY, EVENTS_WAY, POLLING_WAY)
"""All of them."""

# The kernel knows each change on these file systems; on others another machine may make changes.
_LOCAL_FILE_SYSTEMS = frozenset(
    (
        "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs",
        "tmpfs", "ramfs", "overlay", "vfat", "exfat", "msdos", "ntfs3", "hfsplus",
    )
)  # fmt: skip
# Events are asked for at most this many folders; with more the folder is looked through.
_MOST_FOLDERS = 5000
_WANTED_EVENTS = (
    flags.CLOSE_WRITE | flags.MOVED_TO | flags.CREATE | flags.MOVED_FROM | flags.DELETE
    | flags.MOVE_SELF | flags.ONLYDIR
)  # fmt: skip


@dataclass
class FolderEvents:
    """The events since the last call.

    Attributes
    ----------
    complete_files : set of str
        Files that were closed after writing, or got their name.
    begun_files : set of str
        Files that came and were not closed: one being written, or a link.
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
    is_lost : bool
        Whether the folder was not there, and may be watched in another way once it is.
    """

    way = POLLING_WAY

    def __init__(self, wait, *, is_lost=False):
        self._wait = wait
        self.is_lost = is_lost

    def news(self, seconds):
        """Wait, and return the `FolderEvents`."""
        self._wait(seconds)
        return FolderEvents(needs_look=True)

    def close(self):
        """Do nothing."""


class Events:
    """The kernel's events of a folder and the folders below it, links followed.

    Parameters
    ----------
    raw : path-like

    Raises
    ------
    OSError
        If there are too many folders for the kernel, or the folder is not there.
    """

    way = EVENTS_WAY
    # Whether the folder went away, or was moved: another one in its place is not watched.
    is_lost = False

    def __init__(self, raw):
        self.raw = Path(raw)
        self._inotify = INotify()
        self._folders = {}
        try:
            self._add("", raises_errors=True)
        except OSError:
            self.close()
            raise

    def _add(self, prefix, *, raises_errors=False):
        """Ask for the events of a folder and of those below it."""
        pending = [(prefix, ())]
        while pending:
            prefix, parents = pending.pop()
            path = self.raw / prefix
            try:
                status = path.stat()
                if (status.st_dev, status.st_ino) in parents:
                    continue
                number = self._inotify.add_watch(path, _WANTED_EVENTS)
                if len(self._folders) > _MOST_FOLDERS:
                    raise OSError(
                        errno.ENOSPC, f"the raw folder has more than {_MOST_FOLDERS} folders"
                    )
                self._folders[number] = prefix
                entries = list(os.scandir(path))
            except OSError:
                if raises_errors:
                    raise
                continue
            parents = (*parents, (status.st_dev, status.st_ino))
            pending += [
                (f"{prefix}{entry.name}/", parents)
                for entry in entries
                if rawfolder.is_folder(entry)
            ]

    def news(self, seconds):
        """Wait for something to happen, and return the `FolderEvents`."""
        news = FolderEvents()
        for event in self._inotify.read(timeout=max(1, round(seconds * 1000))):
            self._note(event, news)
        news.begun_files -= news.complete_files
        return news

    def _note(self, event, news):
        """Note an event of the kernel among the news."""
        if event.mask & (flags.Q_OVERFLOW | flags.IGNORED | flags.UNMOUNT):
            prefix = self._folders.pop(event.wd, None)
            self.is_lost |= prefix == "" or bool(event.mask & flags.Q_OVERFLOW)
            news.needs_look = True
            return
        prefix = self._folders.get(event.wd)
        if event.mask & flags.MOVE_SELF:
            self.is_lost |= prefix == ""
            news.needs_look = True
        if prefix is None or not event.name or event.name.startswith("."):
            return
        name = f"{prefix}{event.name}"
        if event.mask & flags.ISDIR:
            if event.mask & (flags.CREATE | flags.MOVED_TO):
                self._add(f"{name}/")
            news.needs_look = True
        elif paths.is_raw_name(event.name):
            if event.mask & (flags.CLOSE_WRITE | flags.MOVED_TO):
                news.complete_files.add(name)
            elif event.mask & flags.CREATE:
                news.begun_files.add(name)
            else:
                news.needs_look = True

    def close(self):
        """Give the kernel's handle back."""
        self._inotify.close()


def frame_source(raw, way, wait):
    """Return how to notice frames of a folder, and why it is looked through, or ''.

    Parameters
    ----------
    raw : path-like
    way : {'auto', 'events', 'polling'}
    wait : callable
        Takes seconds.

    Returns
    -------
    (Events or Polling, str)
    """
    if not os.path.isdir(raw):  # noqa: PTH112 - a folder that cannot be looked at is not there yet
        return Polling(wait, is_lost=True), ""
    file_system = file_system_of(raw)
    if way == POLLING_WAY or (way == AUTO_WAY and file_system not in _LOCAL_FILE_SYSTEMS):
        return Polling(wait), f"file system {file_system or 'unknown'}" if way == AUTO_WAY else ""
    try:
        return Events(raw), ""
    except OSError as error:
        return Polling(wait), error.strerror or str(error)
    except AttributeError:
        # Only Linux has such events.
        return Polling(wait), "this system reports no changes of files"


def file_system_of(path, mounts="/proc/self/mountinfo"):
    """Return the type of the file system that a path lies on, '' where unknown.

    Parameters
    ----------
    path : path-like
    mounts : path-like
        As Linux writes it: see proc_pid_mountinfo(5).

    Returns
    -------
    str
    """
    try:
        lines = Path(mounts).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    path, longest_point, file_system = os.path.realpath(path), "", ""
    for line in lines:
        mount_fields, _, source_fields = line.partition(" - ")
        mount_point = mount_fields.split(" ")[4].encode().decode("unicode_escape")
        is_above = path == mount_point or path.startswith(mount_point.rstrip("/") + "/")
        # The later one of two mounts in one place is seen.
        if is_above and len(mount_point) >= len(longest_point):
            longest_point, file_system = mount_point, source_fields.split(" ")[0]
    return file_system
