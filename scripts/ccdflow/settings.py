"""The configuration: checked against its schema, with its defaults filled in."""

from __future__ import annotations

import copy
import os
from functools import cache
from pathlib import Path

from ccdflow import paths, schemas, yaml_reading
from ccdflow.errors import UserError

CONFIG_SCHEMA = "config.schema.json"
"""The schema of the configuration."""

ROOT = Path(__file__).resolve().parents[2]
"""The folder of ccdflow."""

FOLDER_SETTINGS = ("raw", "results", "cameras")
"""The settings that are folders."""

# Older results: settings of earlier versions, each with the setting that replaced it.
_FORMER_BATCH_SIZE = "frames_per_order"
_FORMER_SETTINGS = {
    "combine": "`bias` (`combine: memory` is `limits: combine_memory`)",
    _FORMER_BATCH_SIZE: "`frames_per_batch`",
}
# Words of the command line that are values of YAML, not texts.
_YAML_WORDS = {"true": True, "false": False, "null": None}


def check_file(path):
    """Check that a file holds YAML with keys and values.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    UserError
        If the file cannot be read, or holds anything but keys with values.
    """
    values = yaml_reading.read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(
            "the file holds no keys with values",
            file=path,
            allowed="lines such as `types: all`",
            remedy="write its settings as keys with values, or put the release's file in its place",
        )


@cache
def _schema_defaults():
    """Return the schema's default of each key."""
    return _defaults_of(schemas.read_schema(CONFIG_SCHEMA))


def block_names():
    """Return the names of the settings that are blocks of settings, such as ``calibrate``."""
    return tuple(name for name, part in _schema_defaults().items() if isinstance(part, dict))


def _defaults_of(schema):
    """Return {setting: its default} of a schema, blocks within blocks."""
    return {
        key: _defaults_of(part) if "properties" in part else part["default"]
        for key, part in schema["properties"].items()
    }


def load_settings(config, *, folders=()):
    """Check a configuration and fill in the defaults.

    Parameters
    ----------
    config : dict of str to object
        The values of the configuration file and the command line, as Snakemake passes them. The
        dictionary is not changed.
    folders : sequence of str, optional
        The folders of products in the results folder, in which raw frames may not lie:
        `ccdflow.paths.PRODUCT_FOLDERS`.

    Returns
    -------
    dict of str to object
        Plain values, with every key of the schema.

    Raises
    ------
    UserError
        For an unknown key, a value that is not allowed, or folders that cannot be used together.
    """
    yaml_reading.check_amount(config, file="--config or --configfile")
    user_settings = {key: _plain_value(value) for key, value in config.items()}
    user_settings |= {
        key: _expanded_folder(key, user_settings[key])
        for key in FOLDER_SETTINGS
        if key in user_settings
    }
    user_settings = _settings_with_new_names(user_settings)
    schemas.check_values(user_settings, CONFIG_SCHEMA, file=paths.CONFIG_FILE)
    settings = _merged_settings(_schema_defaults(), user_settings)
    schemas.check_values(settings, CONFIG_SCHEMA, file=paths.CONFIG_FILE)
    _check_folders(settings, (*folders, paths.SET_ASIDE_FOLDER, paths.STATE))
    return settings


def check_both_folders(settings, names_given):
    """Check that raw and results folder are both the user's, or both those of the demonstration.

    Otherwise products of the demonstration's frames would be written among the user's products, or
    the reverse.

    Parameters
    ----------
    settings : dict of str to object
        As `load_settings` returns them.
    names_given : collection of str
        Names of the settings that the command line gives.

    Raises
    ------
    UserError
        For the folder that is the demonstration's, and that the command line does not give.
    """
    defaults = _schema_defaults()
    demonstration_folders = [
        name for name in ("raw", "results") if settings[name] == defaults[name]
    ]
    if len(demonstration_folders) != 1 or demonstration_folders[0] in names_given:
        return
    (name,) = demonstration_folders
    other = "results" if name == "raw" else "raw"
    raise UserError(
        f"is not given, and would be that of the demonstration beside {other}={settings[other]}",
        keyword=name,
        value=settings[name],
        remedy=f"write {name}=FOLDER as well",
    )


def lines_on_former_names(config):
    """Return a line for each setting that is given under its former name.

    Parameters
    ----------
    config : dict of str to object
        As for `load_settings`.

    Returns
    -------
    list of str
    """
    return [
        f"warning: the setting `{former}` is called {now} now; "
        "its value is used, write the new name"
        for former, now in _FORMER_SETTINGS.items()
        if former in config
    ]


def _settings_with_new_names(user_settings):
    """Return settings with former names replaced.

    A value under a former name replaces the value under the new name. The configuration file has
    every new name, so that a former name can only have been written by the user.
    """
    new_settings = dict(user_settings)
    if _FORMER_BATCH_SIZE in new_settings:
        new_settings["frames_per_batch"] = new_settings.pop(_FORMER_BATCH_SIZE)
    if not isinstance(new_settings.get("combine"), dict):
        # The value is not a block: the schema reports `combine` as an unknown key.
        return new_settings
    blocks = {"bias": dict(new_settings.pop("combine"))}
    if "memory" in blocks["bias"]:
        blocks["limits"] = {"combine_memory": blocks["bias"].pop("memory")}
    for name, block in blocks.items():
        present_block = new_settings.get(name, {})
        if isinstance(present_block, dict):
            new_settings[name] = {**present_block, **block}
    return new_settings


def _plain_value(value, *, is_nested=False):
    """Return a value from ``--config`` with strings turned into numbers, booleans and null.

    Snakemake converts numbers at the top level only; within blocks all its values are strings.
    """
    if isinstance(value, dict):
        return {key: _plain_value(item, is_nested=True) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(item, is_nested=True) for item in value]
    if not isinstance(value, str):
        return value
    if is_nested:
        return yaml_reading.parse_yaml(value, file="--config")
    return _YAML_WORDS.get(value, value)


def _expanded_folder(name, value):
    """Return a folder's path with ``~`` expanded."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Snakemake reads 2016_01_16 as 20160116, and 007 as 7: the text cannot be recovered.
        raise UserError(
            "a folder's name that looks like a number arrives as a number",
            file=paths.CONFIG_FILE,
            keyword=name,
            value=value,
            allowed="a folder's name as text",
            remedy=f"write ./ before it: {name}=./NAME",
        )
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111


def _merged_settings(defaults, user_settings):
    """Return a copy of the defaults in which the user's values replace them, block by block."""
    merged = copy.deepcopy(defaults)
    for key, value in user_settings.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged_settings(merged[key], value)
        else:
            merged[key] = value
    return merged


def _check_folders(settings, folders):
    """Raise `UserError` if the folders of raw frames and results cannot be used together."""
    if set("{}<>") & set(settings["results"]):
        raise UserError(
            "Snakemake would take the brackets in this path for wildcards",
            file=paths.CONFIG_FILE,
            keyword="results",
            value=settings["results"],
            allowed="a path without { } < >",
            remedy="name another folder",
        )
    # `Path.resolve` ends in an error at a link that leads to itself.
    raw, results = (Path(os.path.realpath(settings[name])) for name in ("raw", "results"))
    if results == raw or raw in results.parents:
        raise UserError(
            "the results would lie inside the raw folder, and be taken for raw frames",
            file=paths.CONFIG_FILE,
            keyword="results",
            value=settings["results"],
            allowed=f"a folder that is not inside {settings['raw']}",
            remedy="name another folder, such as one beside it",
        )
    for name in folders:
        # A folder of products may be a link.
        product_folder = Path(os.path.realpath(results / name))
        if product_folder == raw or product_folder in raw.parents or raw in product_folder.parents:
            raise UserError(
                "the raw folder lies where products are written",
                file=paths.CONFIG_FILE,
                keyword="raw",
                value=settings["raw"],
                allowed=f"a folder outside {settings['results']}/{name}",
                remedy="move the raw frames out, or name another results folder",
            )


def cameras_folder(settings):
    """Return the folder of camera profiles: that in the current folder, else that of ccdflow."""
    folder = Path(settings["cameras"])
    return folder if folder.is_dir() or folder.is_absolute() else ROOT / folder
