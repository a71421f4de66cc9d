"""Size and times of products: of all by a walk through their folders, or of a few when needed."""

from __future__ import annotations

import os
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.run.rawframes import rawfolder


class ProductStamps(dict):
    """The stamp of each product by its path in the results folder; () for a missing one.

    A stamp is read once: when it is first needed, or with its whole folder.

    Parameters
    ----------
    results : pathlib.Path
    folders : iterable of str, optional
        Folders of products whose files are all read at once.
    """

    def __init__(self, results, folders=()):
        super().__init__()
        self._results = results
        for name in folders:
            if not paths.is_of_small_pictures(name):
                self._read_folder(name.rstrip("/"))

    def _read_folder(self, folder):
        """Read the stamps of the files in a folder."""
        try:
            with os.scandir(self._results / folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and not entry.is_dir():
                        self[f"{folder}/{entry.name}"] = atomic_write.stamp_of(entry)
        except FileNotFoundError:
            pass

    def __missing__(self, product):
        self[product] = atomic_write.stamp_of(self._results / product)
        return self[product]

    def __contains__(self, product):
        return bool(self[product])

    def get(self, product, default=None):
        """Return the stamp of a product, or the default if it has no stamp."""
        return self[product] or default

    def pop(self, product, default=None):
        """Forget a product: it counts as missing."""
        before = self.get(product, default)
        self[product] = ()
        return before


def product_stamps(results, chain, raw):
    """Find all that lies in the folders of products; links are followed, but not into raw frames.

    Parameters
    ----------
    results : path-like
    chain : iterable of ccdflow.kinds.kind.Kind
    raw : path-like
        The raw folder.

    Returns
    -------
    stamps : dict of str to tuple of int
        By product; () for a file at the top that is not there.
    problems : dict of str to str
        Why a folder (its path ends in ``/``) cannot be looked into.
    """
    sweep = _Sweep(raw)
    for prefix in dict.fromkeys(kind.path_prefix for kind in chain):
        if prefix.endswith("/"):
            name = prefix.rstrip("/")
            path = os.path.join(results, name)  # noqa: PTH118 - 100,000 of them
            sweep.look(path, name, is_link=os.path.islink(path))  # noqa: PTH114
        else:
            sweep.stamps[prefix] = atomic_write.stamp_of(Path(results) / prefix)
    return sweep.stamps, sweep.problems


class _Sweep:
    """A walk through the folders of products: stamps, and folders that cannot be looked into.

    Parameters
    ----------
    raw : path-like
        The raw folder: what lies in it is no product, wherever a link leads.
    """

    def __init__(self, raw):
        self.stamps, self.problems = {}, {}
        self._raw, self._systems = raw, rawfolder.devices()

    def look(self, folder, prefix, above=(), *, is_link):
        """Note the files in a folder and below it."""
        try:
            status = os.stat(folder)  # noqa: PTH116
            # A link may lead back to a folder above it.
            if (status.st_dev, status.st_ino) in above:
                return
            if problem := self._problem(folder, status, above, is_link):
                self.problems[f"{prefix}/"] = problem
                return
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.problems[f"{prefix}/"] = f"cannot be read ({error.strerror or error})"
            return
        above = (*above, (status.st_dev, status.st_ino))
        with entries:
            for entry in entries:
                name = f"{prefix}/{entry.name}"
                if rawfolder.is_folder(entry):
                    # A night's list of small pictures knows their folder.
                    is_known = len(above) == 2 and paths.is_of_small_pictures(name)
                    is_link = entry.is_symlink()
                    if is_link or not is_known:
                        self.look(entry.path, name, above, is_link=is_link)
                elif not entry.name.startswith("."):
                    self.stamps[name] = atomic_write.stamp_of(entry)

    def _problem(self, folder, status, above, is_link):
        """Return why a folder is not a folder of products, or ''."""
        if status.st_dev in self._systems:
            return f"leads into {self._systems[status.st_dev]}"
        if len(above) > rawfolder.MOST_FOLDERS_DEEP:
            return "leads into a tree without an end"
        if is_link and rawfolder.is_inside(folder, self._raw):
            return "leads into the raw folder, in which nothing is written"
        return ""
