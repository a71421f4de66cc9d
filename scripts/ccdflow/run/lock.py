"""The lock on a results folder, and the errors of a folder that cannot be used."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from ccdflow import paths
from ccdflow.errors import UserError, action_of
from ccdflow.run import failures

# Errors of a disk that is full or read-only.
_WRITING_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Errors of a file or folder to which this user may not write: another user's run may have made it.
_FORBIDDEN_ERRORS = (errno.EACCES, errno.EPERM)


# Words for the holder of each lock, and the remedy.
_BUSY_WORDS = {
    paths.LOCK: (
        "another run is at work here",
        "if it is a watch, which goes on by itself, try again in a moment or end it;"
        " else wait until it has finished, or give another results folder",
    ),
    paths.WATCH_LOCK: (
        "another watch is at work here",
        "open live.html there to see its lines; end it first, or give another results folder",
    ),
}


class Busy(UserError):
    """Another run is at work in the results folder."""


def take_lock(results, name=paths.LOCK):
    """Lock the results folder for this process; the kernel unlocks it when the process ends.

    Parameters
    ----------
    results : pathlib.Path
    name : {paths.LOCK, paths.WATCH_LOCK}, optional
        The lock of a run, or that of a watch, which holds it between its rounds as well.

    Returns
    -------
    file object
        Close it to unlock the folder.

    Raises
    ------
    Busy
        If another process holds it: the line names the holder and the time.
    UserError
        If the folder cannot be written or locked.
    """
    path = results / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise error_of_writing(results, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            holder = file.read().strip() or "another process"
        problem, remedy = _BUSY_WORDS[name]
        raise Busy(f"{problem} ({holder})", file=str(results), remedy=remedy) from None
    except OSError as error:
        file.close()
        raise UserError(
            f"the file system of the results folder cannot lock files ({error.strerror})",
            file=str(path),
            remedy="keep the results on another disk: two runs at once would do damage",
        ) from None
    start_time = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {start_time}")
        file.flush()
    except OSError as error:
        with suppress(OSError):
            file.close()
        raise error_of_writing(results, error) from None
    return file


def is_in_place(file, results, name=paths.LOCK):
    """Return whether the file of a lock still has its path, at which the next run looks for it.

    Parameters
    ----------
    file : file object
        The lock, which is held.
    results : path-like
        The results folder.
    name : {paths.LOCK, paths.WATCH_LOCK}, optional

    Returns
    -------
    bool
    """
    try:
        return os.path.samestat(os.fstat(file.fileno()), (Path(results) / name).stat())
    except OSError:
        return False


def moved_line(file, results):
    """Return the line on a results folder that was moved during the run; '' if it was not moved.

    Parameters
    ----------
    file : file object
        The lock.
    results : path-like

    Returns
    -------
    str
    """
    if is_in_place(file, results):
        return ""
    try:
        # Linux gives the present path of an open file.
        path_now = Path(f"/proc/self/fd/{file.fileno()}").readlink()
    except OSError:
        path_now = Path()
    state_folder, consequence = Path(paths.STATE).name, "the next run makes again the products"
    if path_now.parent.name == state_folder and path_now.is_file():
        return (
            f"{results} was moved to {path_now.parent.parent} while the run went on; move it back"
            f" before the next run, or {consequence} that are there"
        )
    return (
        f"{Path(results) / paths.STATE} was moved or replaced while the run went on;"
        f" {consequence} whose records went with it"
    )


def error_of_writing(results, error, *, consequence="no result was changed"):
    """Return the error of a results folder that cannot be written.

    Parameters
    ----------
    results : path-like
        The results folder.
    error : OSError
    consequence : str, optional
        The state in which the error leaves the products, in words. The default is true of a run
        that has made no product yet.

    Returns
    -------
    UserError
    """
    is_forbidden = error.errno in _FORBIDDEN_ERRORS
    is_of_place = is_forbidden or failures.is_of_occupied_path(error)
    return UserError(
        f"the results folder cannot be written ({error.strerror or error})",
        file=str((is_of_place and error.filename) or results),
        remedy=f"{action_of(error)}; {consequence}",
    )


def error_of_system(results, error):
    """Return the `UserError` for an error of the system before any product was made.

    Parameters
    ----------
    results : path-like
        The results folder.
    error : OSError

    Returns
    -------
    UserError
    """
    if error.errno in _WRITING_ERRORS:
        return error_of_writing(results, error)
    return UserError(
        f"cannot be read ({error.strerror or error})",
        file=str(error.filename or results),
        remedy=f"{action_of(error)}; no result was changed",
    )


def check_places(results):
    """Raise `UserError` if a folder of notes has the path of a file, or a note that of a folder.

    Without this check Snakemake, which makes the folders of records and logs itself, would end with
    a traceback.

    Parameters
    ----------
    results : pathlib.Path

    Raises
    ------
    UserError
        For the first such path.
    """
    folders = (paths.STATE, paths.DONE_FOLDER, paths.LOGS, paths.BATCHES)
    files = (paths.LOCK, paths.WATCH_LOCK, paths.LEDGER, paths.HEADERS, paths.INVENTORY, paths.SEAL)
    files += (paths.LATE_NOTES, paths.CLOSED_NIGHTS, *paths.COPIES_OF_FIRST_LINES.values())
    for name in (*folders, *files):
        path = results / name
        has_right_type = path.is_dir() if name in folders else path.is_file()
        # A link whose target is gone does not exist: its note is written anew.
        if not has_right_type and path.exists():
            error_number = errno.ENOTDIR if name in folders else errno.EISDIR
            error = OSError(error_number, os.strerror(error_number), str(path))
            raise error_of_writing(results, error)
