"""Size and times of a few products, read from the disk when they are needed."""

from __future__ import annotations

import os

from ccdflow import paths
from ccdflow.files import whole


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
        try:
            with os.scandir(self._results / folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and not entry.is_dir():
                        self[f"{folder}/{entry.name}"] = whole.stamp_of(entry)
        except FileNotFoundError:
            pass

    def __missing__(self, product):
        self[product] = whole.stamp_of(self._results / product)
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
