"""Faults of the system at every touch of a file, without a list of readers and writers.

Python announces each opening, listing, renaming and removing of a file to its audit hooks, and a
hook that raises makes the call fail. `stat`, `fsync` and reading at a place are replaced, and
files that are opened are of a class that announces reading and writing::

    touches = Touches(monkeypatch, folder)
    with touches.watch():
        run()
    for place in touches.seen:
        touches.strike(place, lambda: OSError(errno.EIO, "why"))
        with touches.watch():
            run()

A place is (label, operation, function of ccdflow that touches the file, kind of file).
"""

from __future__ import annotations

import builtins
import io
import os
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

LIBRARY = str(Path(__file__).parents[2] / "scripts" / "ccdflow") + os.sep
_AUDITED_CALLS = {
    "open", "os.listdir", "os.scandir", "os.mkdir", "os.rmdir", "os.rename",
    "os.remove", "os.truncate", "mmap.__new__",
}  # fmt: skip
# The objects that note touches, the last one now: all share one hook of the process, because hooks
# cannot be removed.
_active_touches = []
_is_hooked = False


def _hook(event, arguments):
    """Note an audit event for the active `Touches`."""
    if _active_touches and event in _AUDITED_CALLS:
        _active_touches[-1].pass_by(
            event.removeprefix("os.").removesuffix(".__new__"), arguments[0]
        )


class Touches:
    """The places where files below a folder are touched, and an error at one of them.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
    folder : path-like
    label : callable, optional
        Returns the first part of a place, such as the kind of the job at work in this thread.
        Touches for which it returns None are not noted.

    Attributes
    ----------
    seen : collections.Counter of (str, str, str, str)
        Number of touches at each place.
    error : callable or None
        Called without arguments; returns the error that is raised at the place.
    place : tuple of str or None
        The place at which the error is raised.
    is_lasting : bool
        Whether the error is raised at each touch of the place, or only at the first.
    struck : str
        The file at which an error was raised; '' before that.
    """

    def __init__(self, patch, folder, label=lambda: ""):
        global _is_hooked
        if not _is_hooked:
            sys.addaudithook(_hook)
            _is_hooked = True
        self.folder = str(folder)
        self.label = label
        self.seen = Counter()
        self.error, self.place, self.is_lasting = None, None, False
        self.struck = ""
        self._inside = threading.local()
        for name in ("stat", "lstat", "fstat", "fsync", "preadv", "utime"):
            patch.setattr(os, name, self._guard(name, getattr(os, name)))
        for owner in (io, builtins):
            patch.setattr(owner, "open", self._opener(owner.open))

    @contextmanager
    def watch(self):
        """Note touches during a block."""
        _active_touches.append(self)
        try:
            yield self
        finally:
            _active_touches.remove(self)

    def strike(self, place, error, *, is_lasting=False):
        """Raise ``error()`` at a place from now on, once or at each touch; None ends this."""
        self.place, self.error, self.is_lasting = place, error, is_lasting
        if place is not None:
            self.struck = ""

    def _guard(self, name, function):
        """Return a function that notes its call while this object is active."""

        def guard_call(target, *arguments, **options):
            """Note the touch, and call the function."""
            if _active_touches and _active_touches[-1] is self:
                self.pass_by(name, target)
            return function(target, *arguments, **options)

        return guard_call

    def _opener(self, function):
        """Return an `open` whose files note reading and writing."""
        touches = self

        class Watched(io.FileIO):
            """A file that notes reading and writing."""

            def read(self, size=-1):
                """Note and read."""
                touches.pass_by("read", self.name)
                return super().read(size)

            def readall(self):
                """Note and read."""
                touches.pass_by("read", self.name)
                return super().readall()

            def readinto(self, buffer):
                """Note and read."""
                touches.pass_by("read", self.name)
                return super().readinto(buffer)

            def write(self, data):
                """Note and write."""
                touches.pass_by("write", self.name)
                return super().write(data)

        def open_guarded(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None,
                         closefd=True, opener=None):  # fmt: skip
            """Open a file below the folder as `Watched`, any other file as usual."""
            is_active = bool(_active_touches) and _active_touches[-1] is self
            if not (is_active and self._is_below(file)):
                return function(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = Watched(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            if "+" in mode:
                buffered = io.BufferedRandom(raw)
            else:
                buffered = (io.BufferedReader if "r" in mode else io.BufferedWriter)(raw)
            return (
                buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)
            )

        return open_guarded

    def _is_below(self, path):
        """Return whether a path is below the folder."""
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.folder)

    def pass_by(self, operation, target):
        """Note a touch; raise the error if it is at the place."""
        if getattr(self._inside, "now", False):
            return
        self._inside.now = True
        try:
            where = self._place_below(operation, target)
        finally:
            self._inside.now = False
        if where is None:
            return
        self.seen[where] += 1
        if where == self.place and self.error is not None and (self.is_lasting or not self.struck):
            self.struck = str(target)
            raise self.error()

    def _place_below(self, operation, target):
        """Return the place of a touch: (label, operation, function, kind of file), or None."""
        if isinstance(target, int):
            try:
                target = str(Path(f"/proc/self/fd/{target}").readlink())
            except OSError:
                return None
        if not self._is_below(target):
            return None
        label = self.label()
        function = self._function() if label is not None else None
        if function is None:
            return None
        return (label, operation, function, kind_of(os.fspath(target)[len(self.folder) :]))

    @staticmethod
    def _function():
        """Return the innermost running function of ccdflow, as module:function."""
        frame = sys._getframe(3)
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(LIBRARY):
                return f"{file[len(LIBRARY) : -3]}:{frame.f_code.co_name}"
            frame = frame.f_back
        return None


def kind_of(path):
    """Return the kind of a file by its path: its first folders, and its ending.

    >>> kind_of("/results/reduced/a.fits"), kind_of("/results/.ccdflow/done/x.json")
    ('results/reduced *.fits', 'results/.ccdflow/done *.json')
    """
    parts = path.strip("/").split("/")
    folders = [part for part in parts[:-1] if not part.startswith("20")]
    depth = 3 if ".ccdflow" in folders else 2
    ending = Path(parts[-1].removesuffix(".part")).suffix if len(parts) > 1 else ""
    is_part = parts[-1].endswith(".part")
    return f"{'/'.join(folders[:depth])} {'part' if is_part else '*' + ending}"
