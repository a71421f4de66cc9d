"""The faults of a raw file, each an error with its remedy."""

from __future__ import annotations

import os
import zlib

from isal import igzip, igzip_lib, isal_zlib

from ccdflow.errors import CHECK_FILE, FrameError, one_line

# Errors of decompressors for damaged bytes.
_STREAM_ERRORS = (igzip.BadGzipFile, igzip_lib.error, isal_zlib.error, zlib.error)


class IncompleteRawFile(FrameError):
    """The file is shorter than its headers promise: perhaps it is still being written."""


class DamagedRawFile(FrameError):
    """The bytes that were read are damaged: perhaps in this reading alone."""


class UnreadableRawFile(FrameError):
    """The file cannot be opened or read: its content is unknown."""


class ChangedRawFile(FrameError):
    """The file was written to, or replaced, while it was read."""

    def __init__(self, name):
        super().__init__(
            "the raw file changed while the run went on", file=name, remedy="run again"
        )


def damaged_error(path, problem, error_class=DamagedRawFile):
    """Return the error of a file with damaged bytes.

    Parameters
    ----------
    path : path-like
        Named in the error.
    problem : str
        The first words of the error.
    error_class : type, optional
        Class of the error: `DamagedRawFile`, or another `FrameError`.

    Returns
    -------
    FrameError
        An error of that class.
    """
    return error_class(problem, file=path, remedy="copy the file again from where it came from")


def unforeseen_error(path, error):
    """Return the error of a file whose reading raised an unexpected exception.

    Parameters
    ----------
    path : path-like
        Named in the error.
    error : Exception
        The error that was raised.

    Returns
    -------
    FrameError
    """
    return FrameError(
        f"it ended in an error that was not foreseen ({one_line(error)[:200]})",
        file=path,
        remedy="report it with its log below .ccdflow/logs/raw, and move the file out",
    )


def damaged_stream_error(path, error):
    """Return the error of a gzip stream that cannot be inflated.

    Parameters
    ----------
    path : path-like
        Named in the error.
    error : Exception
        The error of the decompressor.

    Returns
    -------
    DamagedRawFile
    """
    return damaged_error(path, f"gzip stream is damaged ({error})")


def truncated_error(path, actual, length):
    """Return the error of a file that is shorter than its headers say.

    Parameters
    ----------
    path : path-like
        Named in the error.
    actual : int
        Bytes that the file has.
    length : int
        Bytes that the headers promise.

    Returns
    -------
    IncompleteRawFile
    """
    problem = f"the file is truncated: {actual} bytes, its header promises {length}"
    return damaged_error(path, problem, IncompleteRawFile)


def irregular_error(path):
    """Return the error of a pipe, a socket or a device."""
    return UnreadableRawFile(
        "not a regular file", file=path, remedy="move it out of the raw folder"
    )


def unreadable_file_error(path, error):
    """Return the error of a file that the system cannot or may not read.

    Parameters
    ----------
    path : path-like
        Named in the error.
    error : OSError

    Returns
    -------
    UnreadableRawFile
    """
    return UnreadableRawFile(
        f"cannot be read ({os.strerror(error.errno) if error.errno else error})",
        file=path,
        remedy=CHECK_FILE,
    )


def memory_error(path):
    """Return the error of a file for which the machine has not enough memory."""
    return UnreadableRawFile(
        "the memory did not suffice to read it",
        file=path,
        remedy="end other programs or use fewer --cores",
        needs_run=True,
    )


def too_long_error(path, promised_bytes):
    """Return the error of a file that is longer than its headers promise.

    Parameters
    ----------
    path : path-like
        Named in the error.
    promised_bytes : int
        Bytes that the headers promise.

    Returns
    -------
    FrameError
    """
    return FrameError(
        f"the file holds more than the {promised_bytes} bytes that its headers promise",
        file=path,
        remedy="find out its origin, and move it out",
    )


def raw_file_errors(name):
    """Return a context that turns errors of the system and of decompressors into `FrameError`.

    Parameters
    ----------
    name : str
        Name of the raw file, named in errors.

    Returns
    -------
    context manager

    Raises
    ------
    DamagedRawFile
        On leaving the context, if the stream cannot be decompressed.
    IncompleteRawFile
        If it ends early.
    UnreadableRawFile
        For an error of the system.
    """
    return _RawFileErrors(name)


class _RawFileErrors:
    """The context of `raw_file_errors`; one by `contextmanager` takes five times longer."""

    __slots__ = ("_name",)

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        pass

    def __exit__(self, error_type, error, traceback):
        # The errors of streams come first, because `BadGzipFile` is an `OSError` as well.
        if isinstance(error, _STREAM_ERRORS):
            raise damaged_stream_error(self._name, error) from None
        if isinstance(error, EOFError):
            problem = "gzip stream ends early: the file is truncated"
            raise damaged_error(self._name, problem, IncompleteRawFile) from None
        if isinstance(error, OSError):
            raise unreadable_file_error(self._name, error) from None


def check_length(count, has_more, layout, name):
    """Raise `FrameError` if a file holds more than its headers promise, or less.

    Parameters
    ----------
    count : int
        Bytes read.
    has_more : bool
        Whether the file has more bytes.
    layout : ccdflow.files.fits_structure.RawLayout
    name : str

    Raises
    ------
    FrameError
        If it holds more.
    IncompleteRawFile
        If it holds less.
    """
    if has_more:
        raise too_long_error(name, layout.hdus[-1].end)
    if count < layout.length:
        raise truncated_error(name, count, layout.length)


def check_memory(size, limit, name):
    """Raise `FrameError` if a frame's headers ask for more bytes than the limit.

    Parameters
    ----------
    size : int
        Bytes that the headers ask for.
    limit : int
        The limit, bytes.
    name : str
        Named in the error.

    Raises
    ------
    FrameError
        If they ask for more.
    """
    if size > limit:
        raise FrameError(
            f"the header asks for {size / 1e6:.0f} MB of pixels, more than the limit",
            file=name,
            keyword="NAXIS",
            allowed=f"at most {limit / 1e6:.0f} MB",
            remedy="raise limits: frame_memory in config/config.yaml if the frame is real",
        )
