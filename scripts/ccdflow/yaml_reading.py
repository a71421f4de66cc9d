"""YAML as configuration and profiles need it: plain values, bounded, each key once.

Aliases can turn a few bytes into gigabytes, tags can name classes of a program, and unlimited
nesting exhausts the stack of Python. No setting needs one of these; each is refused with one line.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ccdflow.errors import UserError, action_of

# A file of settings with more characters is refused. Chosen: config.yaml has 11,000.
_MOST_CHARACTERS = 1 << 20
# Blocks are nested in at most this many levels: no settings need more.
_MOST_DEPTH = 20
# A file has at most this many keys and values, each list and mapping counted as one value: a
# profile of a hundred amplifiers has two thousand.
_MOST_KEYS_AND_VALUES = 20_000
# The least whole number that does not fit into 64 bits with a sign.
_INTEGER_LIMIT = 2**63
SURROGATE = re.compile("[\ud800-\udfff]")
"""Matches half of a character, for which UTF-8 has no bytes; Python puts one in the place of a file
name's byte that is not UTF-8."""


class _PlainValues:
    """The values of YAML's safe loaders, with errors for a repeated key and for a huge number."""

    def construct_mapping(self, node, deep=False):
        """Return a mapping; refuse a key given twice, because one of its values would be lost.

        Raises
        ------
        yaml.MarkedYAMLError
            If a key is given twice.
        """
        known_keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in known_keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is given twice", problem_mark=node.start_mark
                )
            known_keys.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node):
        """Return a whole number; refuse a number that does not fit into 64 bits.

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
    """A loader that uses PyYAML's parser in Python, whose errors are worded better."""


class _FastLoader(_PlainValues, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """A loader that uses PyYAML's C parser, if installed: it takes a tenth of the time."""


for _each in (_Loader, _FastLoader):
    _each.add_constructor("tag:yaml.org,2002:int", _each.construct_yaml_int)


def parse_yaml(text, *, file):
    """Return the value of a YAML text.

    Parameters
    ----------
    text : str
    file : str or path-like
        The file or option with the text; named in the error.

    Returns
    -------
    object

    Raises
    ------
    UserError
        If the text is not YAML, has aliases, tags or a key twice, or has more characters, levels,
        or keys and values than allowed.
    """
    if len(text) > _MOST_CHARACTERS:
        raise UserError(
            "the file is too long",
            file=file,
            allowed=f"{_MOST_CHARACTERS} characters",
            remedy="give a file of settings",
        )
    try:
        return _load_values(text, file, _FastLoader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError):
        # The parser in Python is tried next: it reads the text, or words the problem better.
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
        # Some texts of values have no value: an impossible date, a number of 5000 digits.
        raise UserError(
            f"not valid YAML: {error}", file=file, remedy="correct this value, or put it in quotes"
        ) from None


def read_yaml(path):
    """Return the value of a YAML file; errors are raised as by `read_text` and `parse_yaml`."""
    return parse_yaml(read_text(path), file=path)


def read_text(path):
    """Return the text of a YAML file; of a file that is too long, only enough to be refused.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot be read: {error}",
            file=path,
            remedy=action_of(error) if isinstance(error, OSError) else "write it as UTF-8",
        ) from None


def check_amount(values, *, file):
    """Check the depth and number of values that another program has read.

    The limits are those of `parse_yaml`, and are counted as there. By aliases a list can
    appear many times, or inside itself: each appearance counts.

    Parameters
    ----------
    values : dict or list
    file : str
        The source of the values; named in the error.

    Raises
    ------
    UserError
        If the values are nested too deep, or are too many.
    """
    count, remaining = 0, [(values, 1)]
    while remaining:
        value, depth = remaining.pop()
        is_nested = isinstance(value, dict | list | tuple)
        count += 1 + (len(value) if isinstance(value, dict) else 0)
        if (is_nested and depth > _MOST_DEPTH) or count + len(remaining) > _MOST_KEYS_AND_VALUES:
            raise UserError(
                "not a plain value: it is nested too deep, or holds too much, perhaps by aliases",
                file=file,
                allowed=f"{_MOST_DEPTH} levels, {_MOST_KEYS_AND_VALUES} keys and values",
                remedy="write the values out",
            )
        if isinstance(value, dict):
            value = list(value.values())
        if is_nested:
            remaining += [(each, depth + 1) for each in value]


def _load_values(text, file, loader):
    """Return the values of a YAML text; raise `UserError` for a text that is not plain."""
    _refuse_special_yaml(text, file, loader)
    return yaml.load(text, Loader=loader)


def _refuse_special_yaml(text, file, loader):
    """Raise `UserError` for aliases, tags and excess in a YAML text, before a value is built."""
    depth = count = 0
    for event in yaml.parse(text, Loader=loader):
        # Keys and values; the other events are ends, and the document's own.
        count += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        problem, remedy = _problem_of_event(event)
        if not problem and depth > _MOST_DEPTH:
            problem = f"nested deeper than {_MOST_DEPTH} levels"
        elif not problem and count > _MOST_KEYS_AND_VALUES:
            problem = f"more than {_MOST_KEYS_AND_VALUES} keys and values"
        if problem:
            line = event.start_mark.line + 1
            raise UserError(
                f"not a plain value in line {line}: {problem}", file=file, remedy=remedy
            )


def _problem_of_event(event):
    """Return the problem of one event of a YAML parser, '' for none, and the remedy."""
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "an alias or anchor (* or &)", "write the value out, or put it in quotes"
    if getattr(event, "tag", None):
        return f"a tag ({event.tag})", "write the value alone, or put it in quotes"
    if SURROGATE.search(getattr(event, "value", "")):
        return "a character that cannot be written as UTF-8", "write another character"
    return "", "write single values, lists and keys, as config/config.yaml does"
