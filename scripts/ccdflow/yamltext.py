"""YAML as configuration and profiles need it: plain values, bounded, each key once.

Aliases can make a few bytes into gigabytes, tags name types of a program, and nesting without end
ends Python: none of them is needed to set a value, and all are refused in one line.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ccdflow.errors import UserError

# A file of settings with more bytes is refused.
_MOST_BYTES = 1 << 20
# Levels of nested blocks at most: no settings need more.
_MOST_DEPTH = 20
# Values of a file at most: a profile of a hundred amplifiers has two thousand.
_MOST_VALUES = 20_000
# The least whole number that does not fit into 64 bits.
_INTEGER_LIMIT = 2**63
SURROGATE = re.compile("[\ud800-\udfff]")
"""Matches half of a character, for which UTF-8 has no bytes; Python puts one in the place of a file
name's byte that is not UTF-8."""


class _PlainValues:
    """The values of YAML's safe loaders, but for a key given twice and a number too large."""

    def construct_mapping(self, node, deep=False):
        """Return a mapping; an error for a key given twice, of which one would be lost.

        Raises
        ------
        yaml.MarkedYAMLError
            If a key is given twice.
        """
        known_keys = set()
        for each, _ in node.value:
            key = self.construct_object(each, deep=True)
            if key in known_keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is given twice", problem_mark=node.start_mark
                )
            known_keys.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node):
        """Return a whole number; an error for one that does not fit into 64 bits.

        Raises
        ------
        yaml.MarkedYAMLError
            If the number is too large.
        """
        value = super().construct_yaml_int(node)
        if abs(value) >= _INTEGER_LIMIT:
            # Python cannot even print the largest of such numbers.
            raise yaml.MarkedYAMLError(
                problem="the number is too large", problem_mark=node.start_mark
            )
        return value


class _Loader(_PlainValues, yaml.SafeLoader):
    """A loader that uses PyYAML's parser in Python, which words the errors."""


class _FastLoader(_PlainValues, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """A loader that uses PyYAML's C parser, where there is one: it takes a tenth of the time."""


for _each in (_Loader, _FastLoader):
    _each.add_constructor("tag:yaml.org,2002:int", _each.construct_yaml_int)


def parse_yaml(text, *, file):
    """Return the value of a YAML text.

    Parameters
    ----------
    text : str
    file : str or path-like
        Where it comes from; named in the error.

    Returns
    -------
    object

    Raises
    ------
    UserError
        If it is not YAML, or has aliases, tags, keys that stand twice or too much of anything.
    """
    if len(text) > _MOST_BYTES:
        raise UserError(
            "the file is too long",
            file=file,
            allowed=f"{_MOST_BYTES >> 20} MB",
            remedy="give a file of settings",
        )
    try:
        return _load_values(text, file, _FastLoader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError):
        # The parser in Python words the problem, or reads the text.
        pass
    try:
        return _load_values(text, file, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UserError(
            f"not valid YAML{place}: {problem}",
            file=file,
            remedy="correct this line or the one above",
        ) from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # Some values are none: an impossible date, a number of 5000 digits, a list as a key.
        raise UserError(
            f"not valid YAML: {error}", file=file, remedy="correct this value, or put it in quotes"
        ) from None


def read_yaml(path):
    """Return the value of a YAML file; the errors are as in `read_text` and `parse_yaml`."""
    return parse_yaml(read_text(path), file=path)


def read_text(path):
    """Return the text of a YAML file, or the first part of one that `parse_yaml` refuses.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot be read: {error}",
            file=path,
            remedy="check its permissions, and that it is UTF-8",
        ) from None


def check_amount(values, *, file):
    """Check that values which another program has read are bounded as in `parse_yaml`.

    Aliases make the same list appear many times, or inside itself: each appearance counts.

    Parameters
    ----------
    values : dict or list
    file : str
        Where they come from; named in the error.

    Raises
    ------
    UserError
        If they are nested too deep, or too many.
    """
    count, remaining = 0, [(values, 1)]
    while remaining:
        value, depth = remaining.pop()
        count += 1
        if depth > _MOST_DEPTH or count + len(remaining) > _MOST_VALUES:
            raise UserError(
                "not a plain value: it is nested too deep, or holds too much, perhaps by aliases",
                file=file,
                allowed=f"{_MOST_DEPTH} levels, {_MOST_VALUES} values",
                remedy="write the values out",
            )
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            remaining += [(each, depth + 1) for each in value]


def _load_values(text, file, loader):
    """Return the values of a YAML text; raise `UserError` for one with more than values."""
    _refuse_more_than_values(text, file, loader)
    return yaml.load(text, Loader=loader)


def _refuse_more_than_values(text, file, loader):
    """Refuse anchors, tags and depths that no value needs; nothing is built of it yet."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        problem, remedy = "", "write single values, lists and keys, as config/config.yaml does"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problem = "an alias or anchor (* or &)"
            remedy = "write the value out, or put it in quotes"
        elif getattr(event, "tag", None):
            problem, remedy = f"a tag ({event.tag})", "write the value alone, or put it in quotes"
        elif depth > _MOST_DEPTH:
            problem = f"nested deeper than {_MOST_DEPTH} levels"
        elif count > _MOST_VALUES:
            problem = f"more than {_MOST_VALUES} values"
        elif SURROGATE.search(getattr(event, "value", "")):
            problem = "a character that cannot be written as UTF-8"
            remedy = "write another character"
        if problem:
            line = event.start_mark.line + 1
            raise UserError(
                f"not a plain value in line {line}: {problem}", file=file, remedy=remedy
            )
