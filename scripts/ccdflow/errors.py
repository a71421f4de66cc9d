"""The two errors that ccdflow raises on purpose, each one line that says what to do."""

from __future__ import annotations


class CcdflowError(Exception):
    """An error with the parts a reader needs: where, what was found, what is allowed, what to do.

    Parameters
    ----------
    problem : str
        What is wrong, in plain words.
    file : str or path-like, optional
        The file the problem is in.
    keyword : str, optional
        The header card or configuration key.
    value : object, optional
        The value found there.
    allowed : str, optional
        What would have been right.
    remedy : str, optional
        What the user can do.
    """

    def __init__(self, problem, *, file=None, keyword=None, value=None, allowed=None, remedy=None):
        self.problem = problem
        self.file = file
        self.keyword = keyword
        self.value = value
        self.allowed = allowed
        self.remedy = remedy
        super().__init__(str(self))

    @property
    def reason(self):
        """The line without the file's name, as it stands in the inventory."""
        text = self.problem
        if self.keyword is not None:
            text = f"{self.keyword}: {text}"
        if self.value is not None:
            text += f" (found {self.value!r})"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        if self.remedy is not None:
            text += f"; {self.remedy}"
        return " ".join(text.split())

    def __str__(self):
        return f"{self.file}: {self.reason}" if self.file is not None else self.reason


class UserError(CcdflowError):
    """A wrong configuration, camera profile or call: nothing is done."""


class FrameError(CcdflowError):
    """One frame cannot be reduced: it is set aside with this reason, the rest goes on."""
