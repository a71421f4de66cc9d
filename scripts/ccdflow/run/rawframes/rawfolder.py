"""The search for raw frames in the raw folder: links are followed, within bounds."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.files import atomic_write

MOST_FOLDERS_DEEP = 100
"""A tree of more levels of folders is taken for an endless one. Chosen: no archive is so deep."""

MOST_LINKED = 10_000
"""One link may lead to at most this many folders. Chosen: 27 years of nights, and far fewer than a
whole disk has."""

# Types of the kernel's own trees: their entries are no files, and links there lead anywhere.
_KERNEL_FILE_SYSTEMS = frozenset((
    "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs", "bpf",
    "pstore", "efivarfs", "devpts", "mqueue", "fusectl", "binfmt_misc", "selinuxfs", "rpc_pipefs",
    "nsfs",
))  # fmt: skip
_MOUNT_TABLE = "/proc/self/mountinfo"
_REMOVE_REMEDY = "it is not followed: remove the link, or lead it to the folder of the frames"
_UNMOUNT_REMEDY = "it is not looked into: unmount it, or give a folder without it"


class NoFolder(UserError):
    """There is no raw folder."""


class NoFrames(UserError):
    """The raw folder holds no raw frame."""


def list_raw(raw, results=None):
    """Return {relative path: stamp} of all raw frames below a folder, as `look_through` does.

    Parameters
    ----------
    raw : path-like
        The raw folder.
    results : path-like, optional
        The results folder: links into it are not followed.

    Returns
    -------
    dict of str to tuple
    """
    return look_through(raw, results)[0]


def look_through(raw, results=None):
    """Find all raw frames below a folder, links followed.

    A link into the kernel's own trees or into the results is not followed, and one that leads to
    very many folders, or folders very deep, is left there: each is a problem in one line. So is a
    tree of the kernel's that is mounted below the raw folder.

    Parameters
    ----------
    raw : path-like
    results : path-like, optional
        The results folder: products are no raw frames.

    Returns
    -------
    stamps : dict of str to tuple of int
        The stamp of each frame by its path relative to the folder; () for a link that leads
        nowhere.
    problems : dict of str to str
        Why a folder (its path ends in ``/``) or a link could not be looked into.

    Raises
    ------
    UserError
        If the folder is missing (`NoFolder`), cannot be read, is one of the kernel's own trees, or
        holds no raw frame (`NoFrames`).
    """
    raw = Path(raw)
    try:
        is_there = raw.is_dir()
    except OSError as error:
        raise _no_raw_folder(raw, f"cannot be read ({os.strerror(error.errno)})") from None
    if not is_there:
        raise _no_raw_folder(raw, "there is no such folder", NoFolder)
    walk = _Walk(raw, results)
    if mount_point := walk.systems.get(raw.stat().st_dev):
        raise _no_raw_folder(raw, f"the folder is a part of {mount_point}, the kernel's own tree")
    walk.walk_through()
    stamps, problems = walk.stamps, walk.problems
    if not stamps and problems:
        name, problem = min(problems.items())
        raise UserError(
            problem,
            file=str(raw / name),
            keyword="raw",
            value=str(raw),
            remedy="check its permissions and its disk, and run again",
        )
    if not stamps:
        raise NoFrames(
            "the folder holds no raw frame",
            file="config/config.yaml",
            keyword="raw",
            value=str(raw),
            allowed="a folder with *.fits, *.fit, *.fts files, with .gz, .fz, .bz2, .xz or without",
            remedy="give your folder of raw frames: raw=FOLDER (snakemake: --config raw=FOLDER)",
        )
    return dict(sorted(stamps.items())), problems


def _no_raw_folder(raw, problem, error_class=UserError):
    """Return the error of a raw folder that cannot be read, with its remedy."""
    return error_class(
        problem,
        file="config/config.yaml",
        keyword="raw",
        value=str(raw),
        remedy="give your folder of raw frames: raw=FOLDER (snakemake: --config raw=FOLDER)",
    )


def is_plain_name(file):
    """Return whether a raw file's name can stand unquoted in tables and is not a product folder.

    Examples
    --------
    >>> is_plain_name("2024-03-01/a b.fits"), is_plain_name("a,b.fits")
    (True, False)
    >>> is_plain_name("x.fits/a.fits")
    False
    """
    is_text = file.isprintable() and not set(file) & {",", '"'}
    return is_text and not any(map(paths.is_fits, file.split("/")[:-1]))


def is_inside(path, folder):
    """Return whether a path leads to a folder, below it or above it, links followed.

    Parameters
    ----------
    path, folder : path-like

    Returns
    -------
    bool
    """
    target, top = os.path.realpath(path), os.path.realpath(folder)
    return f"{target}/".startswith(f"{top}/") or f"{top}/".startswith(f"{target}/")


class _Walk:
    """A walk through a folder: frames found, and folders that cannot be looked into.

    Parameters
    ----------
    raw : pathlib.Path
    results : path-like or None
    """

    def __init__(self, raw, results):
        self.raw = raw
        self.results = _device_and_inode(results)
        self.roots = [os.path.realpath(each) for each in (raw, results) if each]
        self.stamps, self.problems = {}, {}
        # Folders yet to be looked into: path, those above it, and the link that led there.
        self.pending_folders = [("", frozenset(), "")]
        # By link, the number of folders that it led to; links that lead to too many.
        self.count_by_link, self.endless_links = {}, set()
        self.systems = devices()

    def walk_through(self):
        """Look into each folder."""
        while self.pending_folders:
            prefix, parents, link = self.pending_folders.pop()
            if link in self.endless_links:
                continue
            self.look(prefix, parents, link)

    def look(self, prefix, parents, link):
        """Note the frames of a folder, and the folders in it that are to be looked into."""
        folder = os.path.join(self.raw, prefix)  # noqa: PTH118 - 100,000 of them
        try:
            with open_folder(folder) as descriptor:
                self.look_into(descriptor, prefix, parents, link)
        except OSError as error:
            self.problems[prefix or "/"] = _cannot_be_read(error)

    def look_into(self, descriptor, prefix, parents, link):
        """Note the same of a folder that is open.

        Parameters
        ----------
        descriptor : int
        prefix : str
            Its path relative to the raw folder, '' for that, else with ``/`` at its end.
        parents : frozenset of (int, int)
            Device and inode of the folders above it.
        link : str
            The link that led here, '' for none.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in parents:
            return
        if (status.st_dev, status.st_ino) == self.results:
            self.problems[prefix] = f"leads into the results folder; {_REMOVE_REMEDY}"
            return
        if self.is_of_kernel(prefix, status, link):
            return
        if link and self.is_too_much(parents, link):
            return
        entries = sorted(os.scandir(descriptor), key=lambda entry: entry.name)
        parents = parents | {(status.st_dev, status.st_ino)}
        for entry in entries:
            if not entry.name.startswith("."):
                self.note(entry, prefix, parents, link)

    def is_of_kernel(self, prefix, status, link):
        """Return whether a folder is one of the kernel's own trees; note the problem."""
        if mount_point := self.systems.get(status.st_dev):
            problem = (
                f"leads into {mount_point}; {_REMOVE_REMEDY}"
                if link
                else f"is a part of {mount_point}; {_UNMOUNT_REMEDY}"
            )
            self.problems[link or prefix] = problem
        return bool(mount_point)

    def is_too_much(self, parents, link):
        """Return whether a link leads to too much; note the problem."""
        self.count_by_link[link] = self.count_by_link.get(link, 0) + 1
        if self.count_by_link[link] <= MOST_LINKED and len(parents) <= MOST_FOLDERS_DEEP:
            return False
        self.endless_links.add(link)
        self.problems[link] = (
            f"leads into a tree of more than {MOST_LINKED} folders, or {MOST_FOLDERS_DEEP}"
            " below each other;"
            f" {_REMOVE_REMEDY}"
        )
        self.stamps = {
            name: stamp for name, stamp in self.stamps.items() if not name.startswith(link)
        }
        return True

    def is_of_results(self, path):
        """Return whether a link leads below the results folder, not back to the raw folder."""
        target = os.path.realpath(path)
        is_below = [target == folder or target.startswith(f"{folder}/") for folder in self.roots]
        return is_below == [False, True]

    def note(self, entry, prefix, parents, link):
        """Note a frame, or a folder that is to be looked into."""
        name = prefix + entry.name
        try:
            is_folder = entry.is_dir()
            is_link = is_folder and entry.is_symlink()
        except OSError as error:
            # A link to itself.
            self.problems[name] = _cannot_be_read(error)
            return
        # The entry of a folder that is open has its name for a path.
        if is_link and self.is_of_results(os.path.join(self.raw, name)):  # noqa: PTH118
            self.problems[f"{name}/"] = f"leads into the results folder; {_REMOVE_REMEDY}"
        elif is_folder:
            link_of_folder = link or (f"{name}/" if is_link else "")
            self.pending_folders.append((f"{name}/", parents, link_of_folder))
        elif paths.is_raw_name(entry.name):
            self.stamps[name] = atomic_write.stamp_of(entry)


@contextmanager
def open_folder(path):
    """Open a folder for a look at its files.

    A file is then found by its name in the open folder: by its path, the system would go through
    all folders above it, for each of millions of files.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    int
        The descriptor, for `os.fstat` and `os.scandir`.

    Raises
    ------
    OSError
        If it cannot be opened, or is no folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _device_and_inode(folder):
    """Return (device, inode) of a folder; None if it is missing."""
    try:
        status = os.stat(folder) if folder else None  # noqa: PTH116
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status else None


def devices():
    """Return {device: path} of the kernel's own trees, {} on a system without such a list."""
    mount_points = {}
    try:
        lines = Path(_MOUNT_TABLE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return mount_points
    for line in lines:
        mount, _, source = line.partition(" - ")
        _, _, device, _, mount_point, *_ = mount.split(" ")
        if source.split(" ")[0] in _KERNEL_FILE_SYSTEMS:
            mount_points.setdefault(os.makedev(*map(int, device.split(":"))), mount_point)
    return mount_points


def _cannot_be_read(error):
    """Return the words for a folder or file that cannot be looked at, with the remedy."""
    problem = f"cannot be read ({os.strerror(error.errno) if error.errno else error})"
    return f"{problem}; check its permissions and its disk"


def is_folder(entry):
    """Return whether an entry is a folder; False for a link that leads to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False
