"""The combined biases, darks and flats that threads share: each file is read once for all."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from ccdflow.calibrate import combined_master
from ccdflow.errors import MAKE_AGAIN, DamagedProduct

DEFAULT_STORE_BYTES = 700_000_000
"""Bytes of masters that a store keeps; those in use are never freed. With fewer, the masters of a
large camera are read again for each frame; with more, a process holds masters that no frame needs.
Chosen, not measured."""

# A master that nobody asks for is freed by the next call of `free_idle` after this many. A watch
# calls it after each round: with fewer calls masters are read again if frames are minutes apart;
# with more they stay in memory for longer after the last frame. Chosen, not measured.
_MOST_IDLE_CALLS = 3


class MasterStore:
    """The masters that threads share: each file is read once.

    Parameters
    ----------
    memory : int, optional
        Bytes that the masters may take; beyond it, the masters that were asked for longest ago are
        freed.
    """

    def __init__(self, memory=DEFAULT_STORE_BYTES):
        self._memory = memory
        self._lock = threading.Lock()
        self._masters = OrderedDict()
        self._locks = {}
        # For each master, the number of calls of `free_idle` since it was asked for.
        self._n_idle_calls_by_key = {}

    def get(self, path, kind, *, name=None, region=None):
        """Return a master, from memory if its file is unchanged.

        Parameters
        ----------
        path : path-like
        kind : {'bias', 'dark', 'flat'}
        name : str, optional
            Name of the master for cards and errors; default: the path.
        region : ccdflow.camera.sections.Region, optional
            Part of a master of one image; default: the whole master.

        Returns
        -------
        ccdflow.calibrate.combined_master.Master

        Raises
        ------
        FrameError
            If the master cannot be read, or `ccdflow.calibrate.combined_master.read_master`
            refuses it.
        """
        name = str(path) if name is None else name
        try:
            status = Path(path).stat()
        except OSError as error:
            raise DamagedProduct(
                f"the combined {kind} cannot be read ({os.strerror(error.errno)})",
                file=name,
                remedy=MAKE_AGAIN,
            ) from None
        key = (str(path), kind, name, region, status.st_size, status.st_mtime_ns, status.st_ino)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            with self._lock:
                master = self._masters.get(key)
                if master is not None:
                    self._masters.move_to_end(key)
                    self._n_idle_calls_by_key[key] = 0
                    return master
            master = combined_master.read_master(path, kind, name=name)
            if region is not None:
                master = master.cut(region)
            self._keep(key, master)
        return master

    def _keep(self, key, master):
        """Keep a master, and free the oldest ones beyond the limit of memory."""
        with self._lock:
            self._masters[key], self._n_idle_calls_by_key[key] = master, 0
            total = sum(kept_master.nbytes for kept_master in self._masters.values())
            while total > self._memory and len(self._masters) > 1:
                total -= next(iter(self._masters.values())).nbytes
                self._forget(next(iter(self._masters)))

    def _forget(self, key):
        """Drop the master of a key, its lock and its count."""
        for values_by_key in (self._masters, self._locks, self._n_idle_calls_by_key):
            values_by_key.pop(key, None)

    def clear(self):
        """Free all masters."""
        with self._lock:
            for key in list(self._masters):
                self._forget(key)

    def free_idle(self):
        """Free the masters that nobody has asked for during the last few calls of this method."""
        with self._lock:
            for key in list(self._n_idle_calls_by_key):
                self._n_idle_calls_by_key[key] += 1
                if self._n_idle_calls_by_key[key] > _MOST_IDLE_CALLS:
                    self._forget(key)
