"""Files that are whole or not there: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from ccdflow import paths

# A temporary file of another host is removed this many seconds after the last writing. Chosen: no
# product takes a day.
_FOREIGN_PART_SECONDS = 86400
# A folder that another run removes is made again at most this many times. Chosen: another run
# removes it once or twice.
_MOST_TRIALS = 5


class Part:
    """A file under a temporary name in its folder; it gets its own name when it is whole.

    Nearly all files of ccdflow are written in this way::

        with Part(path) as part:
            part.write(data)
            part.keep()

    A part that is not kept leaves nothing, and an earlier file of that name stays as it is.

    Parameters
    ----------
    path : path-like
        Its folder is made where it is missing.
    is_buffered : bool, optional
        Whether small pieces are gathered before they are written.

    Attributes
    ----------
    temporary_path : pathlib.Path
        Where the file is until it is whole.
    file : file object
        Open for reading and writing.
    """

    def __init__(self, path, *, is_buffered=False):
        self._path = Path(path)
        self._buffering = -1 if is_buffered else 0
        self._is_kept = False
        self.temporary_path = paths.temporary_name(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        with _name_file_in_errors(self._path):
            self.file = self._open()
        return self

    def _open(self):
        """Return the file; make its folder again where another run has just removed it as empty."""
        for trials_left in reversed(range(_MOST_TRIALS + 1)):
            try:
                return self.temporary_path.open("w+b", buffering=self._buffering)
            except FileNotFoundError:
                if not trials_left:
                    raise
            self._path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, data):
        """Write all of some bytes."""
        with _name_file_in_errors(self._path):
            write_all(self.file, memoryview(data).cast("B"))

    def write_at(self, data, offset):
        """Write all of some bytes at an offset of the file.

        Parameters
        ----------
        data : bytes-like
        offset : int
            Offset in the file, bytes.
        """
        self.file.seek(offset)
        self.write(data)

    def keep(self):
        """Give the file its name."""
        with _name_file_in_errors(self._path):
            self.file.close()
            self.temporary_path.replace(self._path)
        self._is_kept = True

    def __exit__(self, *error):
        if self._is_kept:
            return
        # A disk that cannot be written may also refuse to remove the file: the next run removes it.
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self.temporary_path.unlink()


@contextmanager
def _name_file_in_errors(path):
    """Name a file in the errors of the system: errors of writing do not name it."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def is_temporary(name):
    """Return whether a name is one under which a `Part` is written."""
    return name.startswith(".") and name.endswith(".part")


def remove_abandoned(path):
    """Remove a file if it is a temporary one that no process is going to finish.

    Parameters
    ----------
    path : pathlib.Path
        Any file.
    """
    if is_temporary(path.name) and _is_abandoned(path):
        path.unlink(missing_ok=True)


def _is_abandoned(path):
    """Return whether no process is going to finish a temporary file.

    On this machine: its process has ended, or is this one. The age of the file decides for other
    machines, and for a name without a process.
    """
    owner = paths.owner_of_temporary(path)
    if owner is not None and owner[0] == socket.gethostname():
        try:
            os.kill(owner[1], 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return owner[1] == os.getpid() or _is_zombie(owner[1])
    try:
        return time.time() - path.stat().st_mtime > _FOREIGN_PART_SECONDS
    except OSError:
        return False


def _is_zombie(process):
    """Return whether a process has ended and left its number, as in a container without init.

    The result is False on systems other than Linux, which do not show it.
    """
    try:
        text = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False
    # The name of the program is in brackets, and may have blanks and brackets itself.
    return text.rpartition(b")")[2].split()[:1] == [b"Z"]


def write_whole(path, parts):
    """Write a file whole or not at all.

    Parameters
    ----------
    path : path-like
    parts : list of bytes-like
        The content, in order; a part may also be an iterable of bytes-like pieces. The parts of a
        FITS file are its headers and data units, each padded to 2880 bytes.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; the old file is untouched.
    """
    with Part(path) as part:
        for data in parts:
            for piece in _pieces_of_data(data):
                part.write(piece)
        part.keep()


def write_directly(path, content):
    """Write a file whose readers notice a missing end, such as a PNG, under its own name.

    To rename a file takes longer than to write a small one. A file that is there already is
    replaced by `write_whole`, so that no link is followed.

    Parameters
    ----------
    path : path-like
    content : bytes

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; an older file is untouched.
    """
    is_new = False
    try:
        with open(path, "xb", buffering=0) as file, _name_file_in_errors(path):  # noqa: PTH123
            is_new = True
            write_all(file, content)
    except (FileExistsError, FileNotFoundError):
        write_whole(path, [content])
    # Even an interruption, which is no `Exception`, leaves no half of a file.
    except BaseException:
        if is_new:
            Path(path).unlink(missing_ok=True)
        raise


def write_text(path, text):
    """Write a text as UTF-8, whole or not at all; bytes that are no UTF-8 become escapes.

    Parameters
    ----------
    path : path-like
    text : str

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; an older file is untouched.
    """
    write_whole(path, [text.encode("utf-8", "backslashreplace")])


def _pieces_of_data(data):
    """Return the pieces of a part: the bytes as one piece, or the iterable that the part is."""
    try:
        return (memoryview(data).cast("B"),)
    except TypeError:
        return data


def write_all(file, data):
    """Write all of some bytes to an unbuffered file.

    Parameters
    ----------
    file : file object
        Open for writing, binary and unbuffered.
    data : memoryview or bytes
    """
    while data:
        data = data[file.write(data) :]
