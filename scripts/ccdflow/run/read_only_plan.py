"""The next run's plan without writing anything: for the scripts."""

from __future__ import annotations

from pathlib import Path

from ccdflow import paths, settings, yamltext
from ccdflow.errors import UserError
from ccdflow.run import session
from ccdflow.run.run_start import DRY_RUN


def settings_of(values_given):
    """Return the settings of the configuration file, with others given on the command line.

    A group of settings is given as with ``--config``: ``calibrate='{skip_harmful: true}'``.

    Parameters
    ----------
    values_given : dict of str to str

    Returns
    -------
    dict of str to object
        As `ccdflow.settings.load_settings` returns it.

    Raises
    ------
    UserError
        If a value is not allowed.
    """
    written = {}
    if Path(paths.CONFIG_FILE).is_file():
        settings.check_file(paths.CONFIG_FILE)
        written = yamltext.read_yaml(paths.CONFIG_FILE)
    parts = {name: values_given[name] for name in settings.block_names() if name in values_given}
    for name, text in parts.items():
        part = yamltext.parse_yaml(text, file=f"{name}=")
        if not isinstance(part, dict):
            raise UserError(
                "is not a group of settings", keyword=name, value=text,
                remedy=f"write {name}='{{NAME: VALUE}}', as with --config",
            )  # fmt: skip
        parts[name] = {**(written.get(name) or {}), **part}
    loaded = settings.load_settings({**written, **values_given, **parts})
    settings.check_both_folders(loaded, values_given)
    return loaded


def plan_only(values_given, *, chain):
    """Plan the next run without writing anything: it reads headers that are new or have changed.

    Parameters
    ----------
    values_given : dict of str to str
        Settings of the command line.
    chain : ccdflow.kinds.kind.Chain

    Returns
    -------
    ccdflow.run.session.Session
    """
    return session.start(settings_of(values_given), chain=chain, request=DRY_RUN)
