"""The search for raw frames in the raw folder: links are followed, within bounds."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import UserError, action_of
from ccdflow.files import file_access
from ccdflow.run.raw_frames import folder_identities

MOST_FOLDERS_DEEP = 100
"""A tree with more levels of folders counts as endless; in the raw folder only a link can lead into
one. Chosen: no archive is so deep."""

MOST_LINKED_FOLDERS = 10_000
"""One link may lead to at most this many folders. Chosen: 27 years of nights, and far fewer than a
whole disk has."""

# File systems of the kernel itself: their entries are no files, and links there lead anywhere.
_KERNEL_FILE_SYSTEMS = frozenset((
    "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs", "bpf",
    "pstore", "efivarfs", "devpts", "mqueue", "fusectl", "binfmt_misc", "selinuxfs", "rpc_pipefs",
    "nsfs",
))  # fmt: skip
MOUNT_TABLE = "/proc/self/mountinfo"
"""The table of mounts on Linux, see proc_pid_mountinfo(5)."""

# Matches a byte as the kernel writes it in the name of a mount: a blank is \040.
_ESCAPED_BYTE = re.compile(rb"\\([0-7]{3})")
# Remedy and consequence of a `FolderProblem`.
_NOT_FOLLOWED = ("remove the link, or lead it to the folder of the frames", "it is not followed")
_NOT_LOOKED_INTO = ("unmount it, or give a folder without it", "it is not looked into")


class NoFolder(UserError):
    """There is no raw folder, or another one has taken its place."""


class NoFrames(UserError):
    """The raw folder holds no raw frame."""


@dataclass(frozen=True)
class FolderProblem:
    """Why a folder or a link cannot be looked into.

    Attributes
    ----------
    text : str
        The problem, without a remedy.
    remedy : str
        The user's action against it.
    consequence : str
        The effect on its files until then; '' if the text names it.
    """

    text: str
    remedy: str
    consequence: str = ""

    @property
    def text_with_remedy(self):
        """The problem, its consequence and its remedy in one line."""
        consequence = f"{self.consequence}: " if self.consequence else ""
        return f"{self.text}; {consequence}{self.remedy}"


def list_raw(raw, results=None):
    """Return {relative path: stamp} of all raw frames below a folder, see `find_frames`.

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
    return find_frames(raw, results)[0]


def walk_names(raw, results, hear_folder):
    """Return the paths of all raw frames below a folder, and read no stamps, see `find_frames`.

    Parameters
    ----------
    raw : path-like
    results : path-like or None
    hear_folder : callable
        Takes the path of each folder (``night/``, or ``''``) before its files are listed.

    Returns
    -------
    set of str
    """
    walk = _Walk(Path(raw), results, hear_folder)
    walk.visit_all()
    return set(walk.stamps)


def find_frames(raw, results=None):
    """Find all raw frames below a folder, links followed.

    Links into the kernel's own trees and into the results are not followed. A link that leads to
    very many folders, or to very many levels of folders, is given up. Each of them is a problem in
    one line, as is one of the kernel's own trees that is mounted below the raw folder.

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
    problems : dict of str to FolderProblem
        Why a folder (its path ends in ``/``) or a link could not be looked into.

    Raises
    ------
    UserError
        If the folder is missing (`NoFolder`), cannot be read, is one of the kernel's own trees, or
        holds no raw frame (`NoFrames`).
    """
    raw = Path(raw)
    identity = _identity_of_raw_folder(raw)
    walk = _Walk(raw, results)
    if mount_point := walk.mount_point_by_device.get(identity[0]):
        raise _no_raw_folder(raw, f"the folder is a part of {mount_point}, the kernel's own tree")
    walk.visit_all()
    if _identity_of_raw_folder(raw) != identity:
        # Folders that the walk had still to look into are those of another disk, or of none.
        raise _no_raw_folder(raw, "the folder was replaced while it was looked through", NoFolder)
    if not walk.stamps:
        raise _error_without_frames(raw, walk.problems)
    return dict(sorted(walk.stamps.items())), walk.problems


def check_presence(raw, results=None, identities=None):
    """Raise the error of `find_frames` if a raw folder is away, as in the middle of a run.

    The first raw frame that is found proves that it is there.

    Parameters
    ----------
    raw : path-like
    results : path-like, optional
        As `find_frames` takes them.
    identities : dict of str to tuple of (int, int), optional
        The identities that the folder, and folders below it, had before
        (`folder_identities.identities_of_folders`).

    Raises
    ------
    UserError
        If the folder is missing or another one (`NoFolder`), cannot be read, or holds no raw frame
        (`NoFrames`), as the empty folder of a disk that is not mounted; or if a folder below it is
        missing or another one (`NoFolder`).
    """
    raw = Path(raw)
    _identity_of_raw_folder(raw)
    walk = _Walk(raw, results)
    while walk.pending_folders and not walk.stamps:
        walk.visit_next()
    if not walk.stamps:
        raise _error_without_frames(raw, walk.problems)
    if exchange := folder_identities.first_changed_folder(raw, identities or {}):
        folder = exchange.folder.removesuffix("/")
        words = f"{folder} was replaced or removed" if folder else "the folder was replaced"
        raise _no_raw_folder(raw, f"{words} while headers were read", NoFolder)


def why_away(raw, results=None):
    """Return the reason why a raw folder is away, in words; '' if it is there.

    Parameters
    ----------
    raw : path-like
    results : path-like, optional
        As `find_frames` takes them.

    Returns
    -------
    str
    """
    try:
        check_presence(raw, results)
    except UserError as error:
        return error.problem
    return ""


def _identity_of_raw_folder(raw):
    """Return (device, inode) of the raw folder; raise `UserError` if it is missing or unreadable.

    Parameters
    ----------
    raw : pathlib.Path
    """
    try:
        # A path that leads through a file, or to itself, leads to no folder.
        status = raw.stat() if raw.is_dir() else None
    except OSError as error:
        raise _no_raw_folder(raw, f"cannot be read ({os.strerror(error.errno)})") from None
    if status is None:
        raise _no_raw_folder(raw, "there is no such folder", NoFolder)
    return status.st_dev, status.st_ino


def _error_without_frames(raw, problems):
    """Return the error of a raw folder in which no raw frame was found.

    Parameters
    ----------
    raw : pathlib.Path
    problems : dict of str to FolderProblem
        As `find_frames` returns them.
    """
    if problems:
        name = min(problems)
        return UserError(
            problems[name].text,
            # The raw folder itself has the name `/`, by which `pathlib` would leave it.
            file=str(raw / name.removeprefix("/")),
            keyword="raw",
            value=str(raw),
            remedy=problems[name].remedy,
            needs_run=True,
        )
    return NoFrames(
        "the folder holds no raw frame",
        file=paths.CONFIG_FILE,
        keyword="raw",
        value=str(raw),
        allowed="a folder with *.fits, *.fit, *.fts files, with .gz, .fz, .bz2, .xz or without",
        remedy="give your folder of raw frames: raw=FOLDER (snakemake: --config raw=FOLDER)",
    )


def _no_raw_folder(raw, problem, error_class=UserError):
    """Return the error of a raw folder that cannot be read, with its remedy."""
    return error_class(
        problem,
        file=paths.CONFIG_FILE,
        keyword="raw",
        value=str(raw),
        remedy="give your folder of raw frames: raw=FOLDER (snakemake: --config raw=FOLDER)",
    )


def is_plain_name(file):
    """Return whether a file's path needs no quotes in tables and has no folder named like a frame.

    Examples
    --------
    >>> is_plain_name("2024-03-01/a b.fits"), is_plain_name("a,b.fits")
    (True, False)
    >>> is_plain_name("x.fits/a.fits")
    False
    """
    is_text = file.isprintable() and not set(file) & {",", '"'}
    return is_text and not any(map(paths.is_fits, file.split("/")[:-1]))


def is_below(path, folder):
    """Return whether a path leads to a folder or below it, links followed.

    Parameters
    ----------
    path, folder : path-like

    Returns
    -------
    bool
    """
    top = os.path.realpath(folder).removesuffix("/")
    return f"{os.path.realpath(path)}/".startswith(f"{top}/")


def is_above_or_below(path, folder):
    """Return whether a path leads to a folder, below it or above it, links followed.

    Parameters
    ----------
    path, folder : path-like

    Returns
    -------
    bool
    """
    return is_below(path, folder) or is_below(folder, path)


class _Walk:
    """A walk through a folder: frames found, and folders that cannot be looked into.

    Parameters
    ----------
    raw : pathlib.Path
    results : path-like or None

    Attributes
    ----------
    roots : list of path-like
        The raw folder, and the results folder if there is one.
    stamps : dict of str to tuple of int
        The stamp of each frame that was found.
    problems : dict of str to FolderProblem
        The folders and links that cannot be looked into.
    pending_folders : list of (str, frozenset, str)
        Folders yet to be looked into: path, those above it, and the link that led there.
    count_by_link : dict of str to int
        Number of folders that each link led to.
    endless_links : set of str
        Links that lead to too many folders.
    mount_point_by_device : dict of int to str
        The folders in which the kernel's own trees are mounted.
    hear_folder : callable, optional
        See `walk_names`; where it is given, stamps are not read.
    """

    def __init__(self, raw, results, hear_folder=None):
        self.raw, self.hear_folder = raw, hear_folder
        self.results = _device_and_inode(results)
        self.roots = [each for each in (raw, results) if each]
        self.stamps, self.problems = {}, {}
        self.pending_folders = [("", frozenset(), "")]
        self.count_by_link, self.endless_links = {}, set()
        self.mount_point_by_device = kernel_trees()

    def visit_all(self):
        """Visit each folder."""
        while self.pending_folders:
            self.visit_next()

    def visit_next(self):
        """Visit the next folder, unless it is behind a link that was given up."""
        prefix, parents, link = self.pending_folders.pop()
        if link not in self.endless_links:
            self.visit_folder(prefix, parents, link)

    def visit_folder(self, prefix, parents, link):
        """Note the frames of a folder, and the folders in it that are to be looked into."""
        folder = os.path.join(self.raw, prefix)  # noqa: PTH118 - 100,000 of them
        try:
            with open_folder(folder) as descriptor:
                self.visit_open_folder(descriptor, prefix, parents, link)
        except OSError as error:
            self.problems[prefix or "/"] = problem_of_reading(error)

    def visit_open_folder(self, descriptor, prefix, parents, link):
        """Visit a folder that is open: note its frames, or why it is not looked into.

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
            self.problems[prefix] = FolderProblem("leads into the results folder", *_NOT_FOLLOWED)
            return
        if mount_point := self.mount_point_by_device.get(status.st_dev):
            problem = _problem_of_kernel_tree(mount_point, is_linked=bool(link))
            self.problems[link or prefix] = problem
            return
        if link:
            self.count_by_link[link] = self.count_by_link.get(link, 0) + 1
            if self.count_by_link[link] > MOST_LINKED_FOLDERS or len(parents) > MOST_FOLDERS_DEEP:
                self.give_up_link(link)
                return
        if self.hear_folder:
            self.hear_folder(prefix)
        entries = sorted(os.scandir(descriptor), key=lambda entry: entry.name)
        parents = parents | {(status.st_dev, status.st_ino)}
        for entry in entries:
            if not entry.name.startswith("."):
                self.note_entry(entry, prefix, parents, link)

    def give_up_link(self, link):
        """Give up a link that leads to too many folders; the frames there are dropped."""
        self.endless_links.add(link)
        self.problems[link] = FolderProblem(
            f"leads into a tree of more than {MOST_LINKED_FOLDERS} folders, or {MOST_FOLDERS_DEEP}"
            " below each other",
            *_NOT_FOLLOWED,
        )
        self.stamps = {
            name: stamp for name, stamp in self.stamps.items() if not name.startswith(link)
        }

    def leads_into_results(self, path):
        """Return whether a path leads into the results folder, and not into the raw folder."""
        return [is_below(path, folder) for folder in self.roots] == [False, True]

    def note_entry(self, entry, prefix, parents, link):
        """Note a frame, or a folder that is to be looked into."""
        name = prefix + entry.name
        try:
            leads_to_folder = entry.is_dir()
            is_link = leads_to_folder and entry.is_symlink()
        except OSError as error:
            # The link leads to itself.
            self.problems[name] = problem_of_reading(error)
            return
        # The path of an entry of an open folder is its bare name.
        if is_link and self.leads_into_results(os.path.join(self.raw, name)):  # noqa: PTH118
            self.problems[f"{name}/"] = FolderProblem(
                "leads into the results folder", *_NOT_FOLLOWED
            )
        elif leads_to_folder:
            link_of_folder = link or (f"{name}/" if is_link else "")
            self.pending_folders.append((f"{name}/", parents, link_of_folder))
        elif paths.is_raw_name(entry.name):
            self.stamps[name] = () if self.hear_folder else file_access.stamp_of(entry)


@contextmanager
def open_folder(path):
    """Open a folder, so that its files can be listed and looked at by their names.

    By its whole path, the system would go through all folders above a file, for each of millions of
    files.

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


def kernel_trees():
    """Return {device: mount point} of the kernel's own trees; {} without a table of mounts."""
    mount_points = {}
    for mount in read_mounts(MOUNT_TABLE):
        if mount.file_system in _KERNEL_FILE_SYSTEMS:
            mount_points.setdefault(mount.device, mount.point)
    return mount_points


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Attributes
    ----------
    device : int
    point : str
        The folder in which it is mounted.
    file_system : str
        Its type.
    """

    device: int
    point: str
    file_system: str


def read_mounts(table=MOUNT_TABLE):
    """Return all mounts that this process sees; [] on a system without a table of them.

    Parameters
    ----------
    table : path-like, optional
        As Linux writes it: see proc_pid_mountinfo(5).

    Returns
    -------
    list of Mount
    """
    try:
        # Names are bytes; the kernel escapes only blanks, line feeds and backslashes in them.
        lines = Path(table).read_bytes().split(b"\n")
    except OSError:
        return []
    mounts = []
    for line in filter(None, lines):
        place, _, source = line.partition(b" - ")
        _, _, device, _, point, *_ = place.split(b" ")
        point = _ESCAPED_BYTE.sub(lambda digits: bytes([int(digits[1], 8)]), point)
        mounts.append(
            Mount(
                os.makedev(*map(int, device.split(b":"))),
                os.fsdecode(point),
                os.fsdecode(source.split(b" ")[0]),
            )
        )
    return mounts


def problem_of_reading(error):
    """Return the `FolderProblem` of a folder or file that cannot be looked at."""
    reason = os.strerror(error.errno) if error.errno else error
    # A link to itself is no fault of permissions or of the disk.
    is_loop = error.errno == errno.ELOOP
    remedy = action_of(error) if is_loop else "check its permissions and its disk"
    return FolderProblem(f"cannot be read ({reason})", remedy)


def _problem_of_kernel_tree(mount_point, *, is_linked):
    """Return the `FolderProblem` of one of the kernel's own trees."""
    if is_linked:
        return FolderProblem(f"leads into {mount_point}", *_NOT_FOLLOWED)
    return FolderProblem(f"is a part of {mount_point}", *_NOT_LOOKED_INTO)


def is_folder(entry):
    """Return whether an entry is a folder; False for a link that leads to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False
