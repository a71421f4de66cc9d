"""The errors that ccdflow raises on purpose; each is one line with a remedy."""

from __future__ import annotations

import errno
import os.path
import traceback

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the system: no space, or the quota is used up."""

OCCUPIED_PATH_ERRORS = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
"""Errors of the system: a file stands in a folder's place, or the reverse."""

_DISK_ERRORS = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV)
ACTIONS = {
    **dict.fromkeys(FULL_DISK, "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "repair the permissions"),
    errno.EROFS: "mount its disk for writing",
    **dict.fromkeys(OCCUPIED_PATH_ERRORS, "a file or folder is in the way: move it"),
    **dict.fromkeys(_DISK_ERRORS, "check the disk or the network"),
    errno.ELOOP: "remove the link, which leads to itself",
}
"""The user's action against an error of the system, by its number."""

RUN_AGAIN = ", and run again"
"""The end of a line of a run whose remedy needs another run; the lines of a watch end otherwise."""

CHECK_FILE = "check that the file exists, its permissions and its disk"
"""The action against most errors of reading a file that was named."""

MAKE_AGAIN = "delete it and make it again, as the next run of the workflow does"
"""The remedy of a damaged product, whether the workflow or a script has made it."""

# The folder of ccdflow: a fault raised by a line of a file in it is ccdflow's own.
_LIBRARY = os.path.join(os.path.dirname(__file__), "")  # noqa: PTH118, PTH120


class CcdflowError(Exception):
    """An error in parts: the place, the value found, the values allowed, the remedy.

    Parameters
    ----------
    problem : str
        The problem, in plain words.
    file : str or path-like, optional
        The file with the problem.
    keyword : str, optional
        The header card or configuration key.
    value : object, optional
        The value found there.
    allowed : str, optional
        The values that are allowed.
    remedy : str, optional
        The remedy.
    needs_run : bool, optional
        Whether another run is needed after the remedy: the line of a run adds `RUN_AGAIN`.
    """

    def __init__(
        self, problem, *, file=None, keyword=None, value=None, allowed=None, remedy=None,
        needs_run=False,
    ):  # fmt: skip
        self.problem = problem
        self.file = file
        self.keyword = keyword
        self.value = value
        self.allowed = allowed
        self.remedy = remedy
        self.needs_run = needs_run
        super().__init__(str(self))

    @property
    def reason(self):
        """The line without the file's name, as the inventory shows it."""
        return self._reason(RUN_AGAIN)

    @property
    def reason_without_remedy(self):
        """The line without the file's name and without the remedy."""
        text = self.problem
        if self.keyword is not None:
            text = f"{self.keyword}: {text}"
        if self.value is not None:
            # Numbers and arrays of numpy are shown as those of Python: 0.5, not np.float64(0.5).
            plain_value = self.value.tolist() if hasattr(self.value, "tolist") else self.value
            text += f" (found {plain_value!r})"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        return " ".join(text.split())

    def _reason(self, after_remedy):
        """Return the line without the file's name; ``after_remedy`` as for `line`."""
        text = self.reason_without_remedy
        if self.remedy is not None:
            text += f"; {self.remedy}{after_remedy if self.needs_run else ''}"
        return " ".join(text.split())

    def line(self, after_remedy=RUN_AGAIN):
        """Return the line; ``after_remedy`` follows a remedy that needs another run."""
        reason = self._reason(after_remedy)
        return f"{self.file}: {reason}" if self.file is not None else reason

    def __str__(self):
        return self.line()


def line_with_origin(error, config_file, names_given, place=""):
    """Return an error's line, without the configuration file if the command line gave the value.

    Parameters
    ----------
    error : CcdflowError
    config_file : str
        Path of the configuration file, which an error on a setting has for its file.
    names_given : collection of str
        Names of the settings of the command line.
    place : str, optional
        The words for the command line in place of the file.

    Returns
    -------
    str

    Examples
    --------
    >>> error = UserError("is not given", file="config/config.yaml", keyword="raw")
    >>> line_with_origin(error, "config/config.yaml", {"raw"}, "--config ")
    '--config raw: is not given'
    >>> line_with_origin(error, "config/config.yaml", {"results"})
    'config/config.yaml: raw: is not given'
    """
    name = str(error.keyword).split(".")[0]
    if name in names_given and str(error.file or "").endswith(config_file):
        return f"{place}{error.reason}"
    return str(error)


class UserError(CcdflowError):
    """A wrong configuration, camera profile or call: no product is made."""


class FrameError(CcdflowError):
    """A frame that cannot be reduced: it is set aside (rejected); all others are reduced."""


class DamagedProduct(FrameError):
    """A damaged product: it and its dependants are made again."""


def action_of(error, default="check its permissions and its disk"):
    """Return the user's action against an error of the system, without "and run again".

    Parameters
    ----------
    error : OSError
    default : str, optional
        The action against an error whose number is not in `ACTIONS`.

    Returns
    -------
    str
    """
    return ACTIONS.get(error.errno, default)


def one_line(error):
    """Return an exception's class and text in one printable line, even if its `str` raises."""
    # `format_exception_only` does not raise if the `str` of the error does.
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    printable_text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable_text.removeprefix(f"{type(error).__module__}.")


def raising_line(error):
    """Return the line that raised an error (`traceback.FrameSummary`), the innermost one."""
    return traceback.extract_tb(error.__traceback__)[-1]


def is_own_fault(error):
    """Return whether a line of ccdflow raised an error, and not a line of another library.

    The class of an error does not decide this: of 5000 files with changed bytes astropy refused 138
    with a KeyError, TypeError or AttributeError. If ccdflow uses a name that astropy does not have,
    or arguments that astropy does not take, a line of ccdflow raises the error.

    Parameters
    ----------
    error : BaseException
        The error as it was caught, with its traceback.

    Returns
    -------
    bool
    """
    return raising_line(error).filename.startswith(_LIBRARY)
