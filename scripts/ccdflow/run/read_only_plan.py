"""The plan of the next run, which writes nothing: for the scripts."""

from __future__ import annotations

from pathlib import Path

from ccdflow import paths, settings, yaml_reading
from ccdflow.errors import UserError
from ccdflow.run import session
from ccdflow.run.run_start import DRY_RUN


def settings_of(values_given):
    """Return the settings of the configuration file, replaced by those of the command line.

    A group of settings is written as with ``--config``: ``calibrate='{skip_harmful: true}'``.

    Parameters
    ----------
    values_given : dict of str to str
        Settings of the command line.

    Returns
    -------
    dict of str to object
        As `ccdflow.settings.load_settings` returns it.

    Raises
    ------
    UserError
        If a value is not allowed.
    """
    values_of_file = {}
    if Path(paths.CONFIG_FILE).is_file():
        settings.check_file(paths.CONFIG_FILE)
        values_of_file = yaml_reading.read_yaml(paths.CONFIG_FILE)
    groups = {name: values_given[name] for name in settings.block_names() if name in values_given}
    for name, text in groups.items():
        group = yaml_reading.parse_yaml(text, file=f"{name}=")
        if not isinstance(group, dict):
            raise UserError(
                "is not a group of settings", keyword=name, value=text,
                remedy=f"write {name}='{{NAME: VALUE}}', as with --config",
            )  # fmt: skip
        groups[name] = {**(values_of_file.get(name) or {}), **group}
    merged_settings = settings.load_settings({**values_of_file, **values_given, **groups})
    settings.check_both_folders(merged_settings, values_given)
    return merged_settings


def plan_only(values_given, *, chain):
    """Return a session with the plan of the next run; write nothing.

    Headers that are new or have changed are read.

    Parameters
    ----------
    values_given : dict of str to str
        Settings of the command line.
    chain : ccdflow.kinds.kind.Chain

    Returns
    -------
    ccdflow.run.session.Session

    Raises
    ------
    UserError
        If a setting is not allowed, or `ccdflow.run.session.start` cannot plan the run.
    """
    return session.start(settings_of(values_given), chain=chain, request=DRY_RUN)
