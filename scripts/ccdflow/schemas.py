"""Checks of a YAML file's values against a JSON schema; errors name file, key, value, allowed.

`is_match` shows quickly that values are valid, as nearly all are. Only the errors of other values
need jsonschema, whose import and checks would take a tenth of a second of each start.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from functools import cache
from itertools import combinations
from pathlib import Path

from ccdflow.errors import UserError

SCHEMA_FOLDER = Path(__file__).resolve().parents[2] / "config" / "schemas"
"""The folder of the schemas."""


def check_values(values, schema, *, file, words=None):
    """Check values against a schema of ``config/schemas``.

    Parameters
    ----------
    values : dict of str to object
        Value by key, as read from YAML.
    schema : str
        File name of the schema.
    file : str or path-like
        File of the values.
    words : dict of str to (str, str), optional
        The words for the fault and for the allowed values, by the title of a part of the schema.

    Raises
    ------
    UserError
        For the first violation.
    """
    _refuse_infinite_numbers(values, file, "")
    if is_match(values, read_schema(schema)):
        return
    errors = sorted(
        _schema_validator(schema).iter_errors(values), key=lambda e: list(map(str, e.path))
    )
    if errors:
        raise error_of_violation(errors[0], file=file, words=words or {})


def _refuse_infinite_numbers(values, file, key_path):
    """Raise `UserError` for YAML's .nan and .inf, which a schema cannot refuse."""
    if isinstance(values, dict):
        for key, value in values.items():
            _refuse_infinite_numbers(value, file, f"{key_path}.{key}" if key_path else str(key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            _refuse_infinite_numbers(value, file, f"{key_path}[{number}]")
    elif isinstance(values, float) and not math.isfinite(values):
        raise UserError(
            "not a number",
            file=file,
            keyword=key_path,
            value=values,
            allowed="a number",
            remedy="write it in digits, such as 3.5",
        )


@cache
def read_schema(schema):
    """Return a schema of ``config/schemas``; callers must not change it.

    A part that refers to one of the file's ``$defs`` gets the keys defined there. Where both have a
    key, the part's own counts; its properties are added to those defined there.
    """
    values = json.loads((SCHEMA_FOLDER / schema).read_text(encoding="utf-8"))
    return _part_without_references(values, values.get("$defs", {}))


def _part_without_references(part, definitions):
    """Return a part of a schema with its references replaced by the parts that they name."""
    if isinstance(part, list):
        return [_part_without_references(entry, definitions) for entry in part]
    if not isinstance(part, dict):
        return part
    values = {key: value for key, value in part.items() if key not in ("$ref", "$defs")}
    if "$ref" in part:
        shared = definitions[part["$ref"].removeprefix("#/$defs/")]
        if "properties" in values and "properties" in shared:
            values["properties"] = {**shared["properties"], **values["properties"]}
        values = {**shared, **values}
    return {key: _part_without_references(value, definitions) for key, value in values.items()}


@cache
def _schema_validator(schema):
    """Return the validator of jsonschema for a schema."""
    # Imported here, because nearly all values are valid, and only errors need jsonschema.
    import jsonschema

    return jsonschema.Draft202012Validator(read_schema(schema))


# -- the quick check -------------------------------------------------------------------------------


def _is_number(value):
    """Return whether a value is a number; True and False do not count."""
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}


def _is_of_type(value, names, _):
    """Return whether a value is of a type of JSON, or of one of several."""
    return any(_TYPES[name](value) for name in ([names] if isinstance(names, str) else names))


def _is_equal(one, other):
    """Return whether two values are equal: to JSON, True is not 1, and 1 is 1.0."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_equal(one[key], other[key]) for key in one)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def _is_match_of_branch(value, condition, schema):
    """Return whether a value that meets ``if`` matches ``then``, and any other value ``else``."""
    return is_match(value, schema.get("then" if is_match(value, condition) else "else", True))


def _has_valid_other_keys(value, schema_of_others, schema):
    """Return whether the values of all keys that ``properties`` does not name match a schema."""
    known_keys = schema.get("properties", {})
    return all(is_match(value[key], schema_of_others) for key in value if key not in known_keys)


def _are_different(values, is_wanted, _):
    """Return whether all values of a list differ; True if ``uniqueItems`` does not ask for it."""
    return not is_wanted or not any(_is_equal(*pair) for pair in combinations(values, 2))


def _check_if(is_concerned, check):
    """Return a check of the values of one type; values of other types pass."""
    return lambda value, keyword_value, schema: (
        not is_concerned(value) or check(value, keyword_value, schema)
    )


def _is_always_valid(value, keyword_value, schema):
    """Return True: the keyword is one that limits no value."""
    return True


_is_array, _is_object, _is_string = map(_TYPES.get, ("array", "object", "string"))

# The checks of the keywords: each gets the value, the keyword's content and the whole schema.
_CHECKS = {
    **dict.fromkeys(
        ("$schema", "title", "description", "default", "then", "else"), _is_always_valid
    ),
    "type": _is_of_type,
    "enum": lambda value, keyword_value, _: any(_is_equal(value, each) for each in keyword_value),
    "const": lambda value, keyword_value, _: _is_equal(value, keyword_value),
    "anyOf": lambda value, keyword_value, _: any(is_match(value, each) for each in keyword_value),
    "if": _is_match_of_branch,
    "minimum": _check_if(_is_number, lambda value, keyword_value, _: value >= keyword_value),
    "maximum": _check_if(_is_number, lambda value, keyword_value, _: value <= keyword_value),
    "exclusiveMinimum": _check_if(
        _is_number, lambda value, keyword_value, _: value > keyword_value
    ),
    "minLength": _check_if(_is_string, lambda value, keyword_value, _: len(value) >= keyword_value),
    "pattern": _check_if(
        _is_string, lambda value, keyword_value, _: re.search(keyword_value, value) is not None
    ),
    "minItems": _check_if(_is_array, lambda value, keyword_value, _: len(value) >= keyword_value),
    "maxItems": _check_if(_is_array, lambda value, keyword_value, _: len(value) <= keyword_value),
    "items": _check_if(
        _is_array,
        lambda value, keyword_value, _: all(is_match(each, keyword_value) for each in value),
    ),
    "uniqueItems": _check_if(_is_array, _are_different),
    "minProperties": _check_if(
        _is_object, lambda value, keyword_value, _: len(value) >= keyword_value
    ),
    "maxProperties": _check_if(
        _is_object, lambda value, keyword_value, _: len(value) <= keyword_value
    ),
    "required": _check_if(
        _is_object, lambda value, keyword_value, _: all(key in value for key in keyword_value)
    ),
    "properties": _check_if(
        _is_object,
        lambda value, keyword_value, _: all(
            is_match(value[k], keyword_value[k]) for k in keyword_value if k in value
        ),
    ),
    "additionalProperties": _check_if(_is_object, _has_valid_other_keys),
    "propertyNames": _check_if(
        _is_object,
        lambda value, keyword_value, _: all(is_match(key, keyword_value) for key in value),
    ),
}


def is_match(value, schema):
    """Return whether a value is valid by a schema, as by jsonschema's Draft 2020-12.

    Parameters
    ----------
    value : object
        As YAML gives it.
    schema : dict or bool
        As `read_schema` returns it.

    Returns
    -------
    bool

    Raises
    ------
    KeyError
        If the schema has a keyword that is not known here.
    """
    if isinstance(schema, bool):
        return schema
    return all(
        _CHECKS[keyword](value, keyword_value, schema) for keyword, keyword_value in schema.items()
    )


# -- the words of an error -------------------------------------------------------------------------


def error_of_violation(error, *, file, words):
    """Return the `UserError` for a violation that jsonschema found.

    Parameters
    ----------
    error : jsonschema.ValidationError
    file : path-like
        Named in the error.
    words : dict of str to (str, str)
        Problem and allowed values by the title of a schema.

    Returns
    -------
    UserError
    """
    key_path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.path)
    key_path = key_path.lstrip(".") or None
    schema, value = error.schema, error.instance
    if error.validator == "additionalProperties":
        return _unknown_key(schema, value, key_path, file)
    if error.validator == "required":
        return _missing_key(schema, value, key_path, file)
    problem, choices = words.get(schema.get("title")) or (
        "not a valid value",
        allowed_values(schema, error),
    )
    keyword_value = value if isinstance(value, str) else ""
    similar = difflib.get_close_matches(keyword_value, list(map(str, schema.get("enum", ()))), n=1)
    return UserError(
        problem,
        file=file,
        keyword=key_path,
        value="null" if value is None else value,
        allowed=choices,
        remedy=f"did you mean {similar[0]!r}?" if similar else "write an allowed value",
    )


def _unknown_key(schema, value, key_path, file):
    """Return the `UserError` for the first key that a schema does not have.

    Parameters
    ----------
    schema : dict of str to object
    value : dict of str to object
        The keys and values that violate the schema.
    key_path : str or None
        The key in the file below which they are; None for the file itself.
    file : path-like
    """
    known_keys = sorted(schema["properties"])
    unknown_key = next(key for key in value if key not in known_keys)
    similar = difflib.get_close_matches(str(unknown_key), known_keys, n=1)
    return UserError(
        "unknown key",
        file=file,
        keyword=f"{key_path}.{unknown_key}" if key_path else unknown_key,
        allowed=", ".join(known_keys),
        remedy=f"did you mean {similar[0]!r}?" if similar else "remove it, or correct its name",
    )


def _missing_key(schema, value, key_path, file):
    """Return the `UserError` for the first required key that is absent.

    Parameters
    ----------
    schema, value, key_path, file
        As for `_unknown_key`.
    """
    missing_key = next(key for key in schema["required"] if key not in value)
    part = schema.get("properties", {}).get(missing_key, {})
    return UserError(
        "a key is missing",
        file=file,
        keyword=f"{key_path}.{missing_key}" if key_path else missing_key,
        allowed=part.get("description"),
        remedy=f"write a line `{missing_key}: ...`",
    )


def allowed_values(schema, error):
    """Return the allowed values of a schema in words.

    Parameters
    ----------
    schema : dict of str to object
        The part of the schema that is violated.
    error : jsonschema.ValidationError

    Returns
    -------
    str
    """
    if "enum" in schema:
        return ", ".join("null" if value is None else str(value) for value in schema["enum"])
    if "const" in schema:
        const = schema["const"]
        return ", ".join(map(str, const)) if isinstance(const, list) else str(const)
    if error.validator == "type" and "properties" in schema:
        return "keys below it: " + ", ".join(schema["properties"])
    return schema.get("description") or error.message
