"""A look at names, sizes and times of the files in many folders, by several processes.

Half of the time goes into the system's answers, half into Python; a million frames have three
million files in sixty thousand folders. Each folder is looked at by itself, in any process; links
are counted in the main one.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass

from ccdflow import paths
from ccdflow.run.processes.helper_processes import LOST_ERRORS, ask, helper_process
from ccdflow.run.rawframes import rawfolder

# Other processes start to help after this many folders, which take as long as their start.
_MOST_FOLDERS_ALONE = 1000
# A process gets this many folders at once: one question costs as much as a few folders.
_CHUNK = 100
# The main process looks at this many folders between two looks at the answers.
_OWN_FOLDERS = 10


class NotPlain(Exception):
    """A folder has a temporary file, a link or a tree that needs a plan, or cannot be read."""


@dataclass(frozen=True)
class Folder:
    """A folder that is to be looked at.

    Attributes
    ----------
    path : str
    name : str
        The name of its hash in a state.
    parents : tuple of (int, int)
        Device and inode of the folders above it.
    link : str
        The link that led here, '' for none.
    is_raw : bool
        Whether it holds raw frames, not products.
    """

    path: str
    name: str
    parents: tuple[tuple[int, int], ...] = ()
    link: str = ""
    is_raw: bool = False


@dataclass(frozen=True)
class FolderLook:
    """Looks at one folder.

    Attributes
    ----------
    raw : str
        The folder of raw frames, into which a link from products is not plain.
    systems : dict of int to str
        The kernel's own trees, as `ccdflow.run.rawframes.rawfolder.kernel_trees` returns them.
    """

    raw: str
    systems: dict[int, str]

    def __call__(self, folder):
        """Return (hash of names, sizes and times, folders in it, files that are passed over).

        The hash is '' where there is no file; None in the place of all if the folder is not plain.
        """
        try:
            return self._content(folder)
        except (NotPlain, OSError):
            return None

    def _content(self, folder):
        """Return (hash of the files, folders, names passed over).

        All are empty if the folder is gone, or if a link leads back to a folder above it.
        """
        try:
            with rawfolder.open_folder(folder.path) as descriptor:
                return self._content_of_open(folder, descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return "", [], []

    def _content_of_open(self, folder, descriptor):
        """Return the same as `_content`, of a folder that is open."""
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in folder.parents:
            # A link may lead back to a folder above it.
            return "", [], []
        if status.st_dev in self.systems:
            raise NotPlain
        parents = (*folder.parents, (status.st_dev, status.st_ino))
        files, folders, passed_over = [], [], []
        is_looked_at = paths.is_raw_name if folder.is_raw else _is_product_name
        with os.scandir(descriptor) as listed:
            for entry in listed:
                if entry.is_dir():
                    folders.append(self._folder(entry, folder, parents))
                elif is_looked_at(entry.name):
                    files.append(entry)
                elif folder.is_raw and paths.is_passed_over(entry.name):
                    passed_over.append(entry.name)
        # No name has a slash in it, which marks where it ends.
        texts = [
            f"{entry.name}/{(file := entry.stat()).st_size} {file.st_mtime_ns} {file.st_ctime_ns}"
            for entry in files
        ]
        texts += [f"{name}/" for name in passed_over]
        texts.sort()
        return hash_of("\n".join(texts)) if texts else "", folders, passed_over

    def _folder(self, entry, parent, parents):
        """Return the `Folder` of an entry; a link carries its path to all folders below it."""
        # The entry of a folder that is open has its name for a path.
        path = os.path.join(parent.path, entry.name)  # noqa: PTH118
        is_link = entry.is_symlink()
        if is_link and not parent.is_raw and rawfolder.is_above_or_below(path, self.raw):
            raise NotPlain
        link = parent.link or (path if is_link else "")
        prefix = parent.name if parent.name.endswith("/") else f"{parent.name}/"
        return Folder(path, prefix + entry.name, parents, link, parent.is_raw)


def _is_product_name(name):
    """Return whether a file's name is not hidden; raise `NotPlain` for a temporary file's name."""
    if name.startswith("."):
        refuse_part(name)
        return False
    return True


def refuse_part(name):
    """Raise `NotPlain` if a name is that of a temporary file.

    Raises
    ------
    NotPlain
        For such a name: an earlier run was cut off.
    """
    if name.startswith(".") and name.endswith(".part"):
        raise NotPlain


def hash_of(text):
    """Return the hash of a text, in which names of files may not be UTF-8."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


class TreeLook:
    """A look at whole trees of folders; other processes help where there are many.

    Parameters
    ----------
    cores : int
        Number of processes that may work at once.

    Attributes
    ----------
    hashes : dict of str to str
        The hash of each folder with a file, by its name.
    passed_over : list of str
        Files that look like raw frames and are not read, by their names as those of folders.
    """

    def __init__(self, cores):
        self.hashes, self.passed_over = {}, []
        self._helpers, self._n_folders = cores - 1, 0

    def look(self, folder_look, folders):
        """Look at some folders and all below them; links are followed.

        Parameters
        ----------
        folder_look : FolderLook
        folders : iterable of Folder

        Raises
        ------
        NotPlain
            If only a plan shows what is there.
        """
        self._count_by_link = Counter()
        self._pending_folders = list(folders)
        while self._pending_folders:
            if (
                self._helpers > 0
                and self._n_folders > _MOST_FOLDERS_ALONE
                and len(self._pending_folders) > 2 * _CHUNK
            ):
                self._look_together(folder_look)
            else:
                self._look_at_one(folder_look)

    def _look_at_one(self, folder_look):
        """Look at the folder that was found last, so that few are open at once."""
        folder = self._pending_folders.pop()
        self._take(folder, folder_look(folder))

    def _take(self, folder, answer):
        """Note the content of a folder, and the folders to be looked at."""
        if answer is None:
            raise NotPlain(
                f"{folder.path}: a link, temporary file or tree that only a plan reports"
            )
        hash_of_files, folders, passed_over = answer
        self._n_folders += 1
        if hash_of_files:
            self.hashes[folder.name] = hash_of_files
        if passed_over and not folder.link:
            self.passed_over += (os.path.join(folder.name, name) for name in passed_over)  # noqa: PTH118
        for each in folders:
            # A link may lead into the kernel's own trees, or into the whole disk (`rawfolder`).
            self._count_by_link[each.link] += bool(each.link)
            if self._count_by_link[each.link] > rawfolder.MOST_LINKED_FOLDERS:
                raise NotPlain(f"{each.link}: a link to more folders than are followed")
            if len(each.parents) > rawfolder.MOST_FOLDERS_DEEP:
                raise NotPlain(f"{each.path}: a deeper folder than are followed")
        self._pending_folders += folders

    def _look_together(self, folder_look):
        """Look at the folders that are open now, and at those in them, with other processes."""
        with ExitStack() as stack:
            helpers = [
                stack.enter_context(helper_process(folder_look)) for _ in range(self._helpers)
            ]
            pool = stack.enter_context(ThreadPoolExecutor(len(helpers)))
            questions = {}
            while self._pending_folders or questions:
                while helpers and len(self._pending_folders) > _CHUNK:
                    helper, chunk = helpers.pop(), self._pending_folders[-_CHUNK:]
                    del self._pending_folders[-_CHUNK:]
                    questions[pool.submit(ask, helper, chunk)] = helper, chunk
                for _ in range(min(_OWN_FOLDERS, len(self._pending_folders))):
                    self._look_at_one(folder_look)
                if not questions:
                    continue
                # Without a folder of its own this process waits for the next answer.
                seconds = 0 if self._pending_folders else None
                for answered in wait(questions, seconds, FIRST_COMPLETED).done:
                    helper, chunk = questions.pop(answered)
                    if isinstance(answered.exception(), LOST_ERRORS):
                        # The process has died: this one looks at its folders.
                        self._pending_folders += chunk
                        continue
                    helpers.append(helper)
                    for folder, answer in zip(chunk, answered.result(), strict=True):
                        self._take(folder, answer)
