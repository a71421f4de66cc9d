"""Look at an archive as the next run would see it, and write nothing: for the scripts."""

from __future__ import annotations

from pathlib import Path

from ccdflow import settings, yamltext
from ccdflow.run import session


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
