"""Hashes of the names, sizes and times of the files in many folders, by several processes.

A million frames have three million files in sixty thousand folders; half of the time goes into
system calls, half into Python. Each folder is examined by itself, in any process. The main process
counts the folders below each link.
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
from ccdflow.run.raw_frames import raw_folders

# Other processes are started after this many folders. Chosen: this many folders take as long as the
# start of the processes.
_MOST_FOLDERS_ALONE = 1000
# A helper process gets this many folders at once: a question to it costs as much as a few folders.
_CHUNK = 100
# The main process examines this many folders before it checks again for answers.
_OWN_FOLDERS = 10


class NotPlain(Exception):
    """A folder cannot be read, or has a temporary file, link or tree that needs a plan."""


@dataclass(frozen=True)
class Folder:
    """A folder that is to be examined.

    Attributes
    ----------
    path : str
    name : str
        The name of its hash in a `ccdflow.run.sealing.seal.State`.
    parents : tuple of (int, int)
        Device and inode of the folders above it.
    link : str
        The path of the link above it, or of itself if it is a link; '' if there is none.
    is_raw : bool
        Whether it holds raw frames, and not products.
    """

    path: str
    name: str
    parents: tuple[tuple[int, int], ...] = ()
    link: str = ""
    is_raw: bool = False


@dataclass(frozen=True)
class FolderLook:
    """A function on one folder, with the values that it needs: a helper process gets this object.

    Attributes
    ----------
    raw : str
        The raw folder. Only a plan can report on a folder of products with a link into it.
    kernel_mounts : dict of int to str
        The trees of the kernel, such as /proc, by device (`raw_folders.kernel_trees`).
    """

    raw: str
    kernel_mounts: dict[int, str]

    def __call__(self, folder):
        """Return the content of a folder; None if only a plan can report on it.

        Parameters
        ----------
        folder : Folder

        Returns
        -------
        hash_of_files : str
            Hash of the names, sizes and times of the files; '' without files.
        folders : list of Folder
            The folders in it.
        passed_over : list of str
            Names of files that look like raw frames and are not read.
        """
        try:
            return self._content(folder)
        except (NotPlain, OSError):
            return None

    def _content(self, folder):
        """Return the content of a folder as `__call__` does; all values are empty if it is gone."""
        try:
            with raw_folders.open_folder(folder.path) as descriptor:
                return self._content_of_open(folder, descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return "", [], []

    def _content_of_open(self, folder, descriptor):
        """Return the content of an open folder as `__call__` does."""
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in folder.parents:
            # A link has led back to a folder above it.
            return "", [], []
        if status.st_dev in self.kernel_mounts:
            raise NotPlain
        parents = (*folder.parents, (status.st_dev, status.st_ino))
        files, folders, passed_over = [], [], []
        is_hashed = paths.is_raw_name if folder.is_raw else _is_product_name
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(self._folder(entry, folder, parents))
                elif is_hashed(entry.name):
                    files.append(entry)
                elif folder.is_raw and paths.is_passed_over(entry.name):
                    passed_over.append(entry.name)
        # A slash marks the end of a name: no name contains one.
        texts = [
            f"{entry.name}/{(file := entry.stat()).st_size} {file.st_mtime_ns} {file.st_ctime_ns}"
            for entry in files
        ]
        texts += [f"{name}/" for name in passed_over]
        texts.sort()
        return hash_of("\n".join(texts)) if texts else "", folders, passed_over

    def _folder(self, entry, parent, parents):
        """Return the `Folder` of an entry; its ``link`` passes on to the folders below it."""
        # `entry.path` would be the bare name, because the folder was opened by a descriptor.
        path = os.path.join(parent.path, entry.name)  # noqa: PTH118
        is_link = entry.is_symlink()
        if is_link and not parent.is_raw and raw_folders.is_above_or_below(path, self.raw):
            raise NotPlain
        link = parent.link or (path if is_link else "")
        prefix = parent.name if parent.name.endswith("/") else f"{parent.name}/"
        return Folder(path, prefix + entry.name, parents, link, parent.is_raw)


def _is_product_name(name):
    """Return whether a file's name is not hidden; raise `NotPlain` if it is a temporary file's."""
    if name.startswith("."):
        refuse_part(name)
        return False
    return True


def refuse_part(name):
    """Raise `NotPlain` if a name is that of a temporary file.

    Raises
    ------
    NotPlain
        For such a name: an earlier run was killed.
    """
    if name.startswith(".") and name.endswith(".part"):
        raise NotPlain


def hash_of(text):
    """Return the hash of a text as hexadecimal digits; names of files in it may not be UTF-8."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


class TreeLook:
    """The hashes of all folders of some trees; other processes help if there are many folders.

    Parameters
    ----------
    cores : int
        Number of processes that may work at once, this process included.

    Attributes
    ----------
    hashes : dict of str to str
        The hash of the files of each folder that has any, by `Folder.name`.
    passed_over : list of str
        Files that look like raw frames and are not read: `Folder.name`, a slash, the file's name.
    """

    def __init__(self, cores):
        self.hashes, self.passed_over = {}, []
        self._n_helpers, self._n_folders = cores - 1, 0

    def look(self, folder_look, folders):
        """Note the hashes of some folders and of all folders below them; links are followed.

        Parameters
        ----------
        folder_look : FolderLook
        folders : iterable of Folder

        Raises
        ------
        NotPlain
            If a folder has files on which only a plan can report.
        """
        self._count_by_link = Counter()
        self._pending_folders = list(folders)
        while self._pending_folders:
            if (
                self._n_helpers > 0
                and self._n_folders > _MOST_FOLDERS_ALONE
                and len(self._pending_folders) > 2 * _CHUNK
            ):
                self._look_together(folder_look)
            else:
                self._look_at_one(folder_look)

    def _look_at_one(self, folder_look):
        """Examine the folder that was found last: so the list of pending folders stays short."""
        folder = self._pending_folders.pop()
        self._take(folder, folder_look(folder))

    def _take(self, folder, answer):
        """Note the content of a folder, which is a result of `FolderLook`.

        Raises
        ------
        NotPlain
            If there is no result, a link leads to too many folders, or a folder is too deep.
        """
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
        for subfolder in folders:
            # A link may lead into the trees of the kernel, or into the whole disk (`raw_folders`).
            self._count_by_link[subfolder.link] += bool(subfolder.link)
            if self._count_by_link[subfolder.link] > raw_folders.MOST_LINKED_FOLDERS:
                raise NotPlain(f"{subfolder.link}: a link to more folders than are followed")
            if len(subfolder.parents) > raw_folders.MOST_FOLDERS_DEEP:
                raise NotPlain(f"{subfolder.path}: a deeper folder than are followed")
        self._pending_folders += folders

    def _look_together(self, folder_look):
        """Examine all pending folders, and the folders in them, with helper processes."""
        with ExitStack() as stack:
            helpers = [
                stack.enter_context(helper_process(folder_look)) for _ in range(self._n_helpers)
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
                # This process waits for the next answer if it has no folder to examine.
                seconds = 0 if self._pending_folders else None
                for question in wait(questions, seconds, FIRST_COMPLETED).done:
                    helper, chunk = questions.pop(question)
                    if isinstance(question.exception(), LOST_ERRORS):
                        # The helper has died: its folders are examined by another process.
                        self._pending_folders += chunk
                        continue
                    helpers.append(helper)
                    for folder, answer in zip(chunk, question.result(), strict=True):
                        self._take(folder, answer)
