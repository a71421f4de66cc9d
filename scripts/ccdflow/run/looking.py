"""Look at an archive as the next run would see it, and write nothing: for the scripts."""

from __future__ import annotations

from pathlib import Path

from ccdflow import settings, yamltext
from ccdflow.errors import UserError
from ccdflow.run import session

# Settings that a script takes as words.
_ALLOWED = ("raw", "results", "cameras")


def split_words(words, *, allowed=_ALLOWED):
    """Return the settings given as ``NAME=VALUE``, and the other words.

    Parameters
    ----------
    words : list of str
    allowed : tuple of str
        Names that a setting may have.

    Returns
    -------
    given : dict of str to str
    rest : list of str

    Raises
    ------
    UserError
        If a name is given twice, or without a value.
    """
    given, rest = {}, []
    for word in words:
        name, is_setting, value = word.partition("=")
        if not is_setting or name not in allowed:
            rest.append(word)
        elif not value or name in given:
            problem = "is given twice" if value else "has no value"
            raise UserError(problem, keyword=name, remedy=f"write {name}=VALUE once")
        else:
            given[name] = value
    return given, rest


def settings_of(given):
    """Return the settings of the configuration file, with others given on the command line."""
    values = {}
    if Path(settings.NAME).is_file():
        settings.check_file(settings.NAME)
        values = yamltext.read(settings.NAME)
    return settings.load({**values, **given})


def look(given, *, chain):
    """Plan the next run without writing anything: it reads headers that are new or have changed.

    Parameters
    ----------
    given : dict of str to str
        Settings of the command line.
    chain : ccdflow.kinds.kind.Chain

    Returns
    -------
    ccdflow.run.session.Session
    """
    return session.start(settings_of(given), chain=chain, dry=True)
