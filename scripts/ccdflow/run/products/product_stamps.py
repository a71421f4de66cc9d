"""The sizes and times of products: of all products at once, or of a few when asked for."""

from __future__ import annotations

import os
from pathlib import Path

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.run.raw_frames import raw_folders


class ProductStamps:
    """The stamps (size and times) of products, by their paths in the results folder.

    A stamp is read only once: when it is first asked for, or with its whole folder. The stamp of a
    missing product is ().

    Parameters
    ----------
    results : pathlib.Path
    folders : iterable of str, optional
        Folders of products whose files are all read at once.
    stamps : dict of str to tuple, optional
        The stamps of all existing products: no stamp is read later.
    """

    def __init__(self, results, folders=(), *, stamps=None):
        self._results, self._is_complete = results, stamps is not None
        self._stamps = {} if stamps is None else stamps
        for name in folders:
            if not paths.is_of_small_pictures(name):
                self._read_folder(name.rstrip("/"))

    def _read_folder(self, folder):
        """Read the stamps of the files in a folder."""
        try:
            with (
                raw_folders.open_folder(self._results / folder) as descriptor,
                os.scandir(descriptor) as entries,
            ):
                for entry in entries:
                    if not entry.name.startswith(".") and not entry.is_dir():
                        self._stamps[f"{folder}/{entry.name}"] = file_access.stamp_of(entry)
        except FileNotFoundError:
            pass

    @property
    def names(self):
        """The products whose stamps have been read."""
        return self._stamps.keys()

    def stamp_of(self, product):
        """Return the stamp of a product."""
        stamp = self._stamps.get(product)
        if stamp is None:
            if self._is_complete:
                return ()
            stamp = self._stamps[product] = file_access.stamp_of(self._results / product)
        return stamp

    def count_as_missing(self, product):
        """Let a product count as missing, even if its file is there."""
        self._stamps[product] = ()


def product_stamps(results, chain, raw):
    """Return the stamps of all files in the folders of products, and the unreadable folders.

    Links are followed, except into the raw folder.

    Parameters
    ----------
    results : path-like
    chain : iterable of ccdflow.kinds.kind.Kind
    raw : path-like
        The raw folder.

    Returns
    -------
    stamps : ProductStamps
    problems : dict of str to ccdflow.run.raw_frames.raw_folders.FolderProblem
        By the path of a folder (it ends in ``/``): why the folder cannot be read.
    """
    sweep = _Sweep(raw)
    for prefix in dict.fromkeys(kind.path_prefix for kind in chain):
        if prefix.endswith("/"):
            name = prefix.rstrip("/")
            path = os.path.join(results, name)  # noqa: PTH118 - 100,000 of them
            sweep.visit(path, name, is_link=os.path.islink(path))  # noqa: PTH114
        else:
            sweep.stamps[prefix] = file_access.stamp_of(Path(results) / prefix)
    return ProductStamps(Path(results), stamps=sweep.stamps), sweep.problems


class _Sweep:
    """A walk through the folders of products, which finds stamps and unreadable folders.

    Parameters
    ----------
    raw : path-like
        The raw folder: a file in it is no product, even if a link leads there.

    Attributes
    ----------
    stamps : dict of str to tuple of int
        Size and times of each file that was found.
    problems : dict of str to ccdflow.run.raw_frames.raw_folders.FolderProblem
        By the path of a folder: why the folder cannot be read.
    """

    def __init__(self, raw):
        self.stamps, self.problems = {}, {}
        self._raw, self._kernel_mounts = raw, raw_folders.kernel_trees()

    def visit(self, folder, prefix, parents=(), *, is_link):
        """Note the stamps of the files in a folder, and of those in folders below it.

        Parameters
        ----------
        folder, prefix : str
            The path of the folder, and its path relative to the results folder.
        parents : tuple of (int, int), optional
            Device and inode of each folder above it.
        is_link : bool
            Whether the folder is a link.
        """
        try:
            with raw_folders.open_folder(folder) as descriptor:
                self._visit_open(descriptor, folder, prefix, parents, is_link=is_link)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.problems[f"{prefix}/"] = raw_folders.problem_of_reading(error)

    def _visit_open(self, descriptor, folder, prefix, parents, *, is_link):
        """Note the stamps of the files in an open folder, and of those in folders below it.

        Parameters
        ----------
        descriptor : int
        folder, prefix : str
            The path of the folder, and its path relative to the results folder.
        parents : tuple of (int, int)
            Device and inode of each folder above it.
        is_link : bool
            Whether the folder is a link.
        """
        status = os.fstat(descriptor)
        # A link may lead back to a folder above it.
        if (status.st_dev, status.st_ino) in parents:
            return
        if problem := self._problem(folder, status, parents, is_link):
            self.problems[f"{prefix}/"] = problem
            return
        parents, folders = (*parents, (status.st_dev, status.st_ino)), []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = f"{prefix}/{entry.name}"
                if raw_folders.is_folder(entry):
                    # Small pictures are no products of their own: the list of their night is one.
                    is_of_pictures = len(parents) == 2 and paths.is_of_small_pictures(name)
                    is_link = entry.is_symlink()
                    if is_link or not is_of_pictures:
                        folders.append((entry.name, is_link))
                elif not entry.name.startswith("."):
                    self.stamps[name] = file_access.stamp_of(entry)
        for name, is_link in folders:
            path = os.path.join(folder, name)  # noqa: PTH118
            self.visit(path, f"{prefix}/{name}", parents, is_link=is_link)

    def _problem(self, folder, status, parents, is_link):
        """Return the `FolderProblem` of a folder that must not be walked through, or None.

        Parameters
        ----------
        folder : str
        status : os.stat_result
        parents : tuple of (int, int)
            Device and inode of each folder above it.
        is_link : bool
        """
        if status.st_dev in self._kernel_mounts:
            mount_point = self._kernel_mounts[status.st_dev]
            if not is_link:
                return raw_folders.FolderProblem(f"is a part of {mount_point}", "unmount it")
            return raw_folders.FolderProblem(f"leads into {mount_point}", "remove the link")
        text = ""
        if len(parents) > raw_folders.MOST_FOLDERS_DEEP:
            text = "leads into a tree without an end"
        elif is_link and raw_folders.is_above_or_below(folder, self._raw):
            text = "leads into the raw folder, in which nothing is written"
        return raw_folders.FolderProblem(text, "remove the link") if text else None
