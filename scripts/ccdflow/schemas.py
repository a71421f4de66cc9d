"""Checks of a YAML file's values against a JSON schema; errors name file, key, value, allowed."""

from __future__ import annotations

import difflib
import json
import math
from functools import cache
from pathlib import Path

import jsonschema

from ccdflow.errors import UserError

SCHEMA_FOLDER = Path(__file__).resolve().parents[2] / "config" / "schemas"
"""The folder of the schemas."""


def check_values(values, schema, *, file, words=None):
    """Check values against a schema of ``config/schemas``.

    Parameters
    ----------
    values : dict
    schema : str
        File name of the schema.
    file : str or path-like
        File of the values.
    words : dict of str to (str, str), optional
        For parts of the schema, by title: the words for the fault and for the allowed values.

    Raises
    ------
    UserError
        For the first violation.
    """
    _refuse_no_number(values, file, "")
    errors = sorted(_validator(schema).iter_errors(values), key=lambda e: list(map(str, e.path)))
    if errors:
        raise violation(errors[0], file=file, words=words or {})


def _refuse_no_number(values, file, where):
    """Raise `UserError` for YAML's .nan and .inf: they pass every comparison of a schema."""
    if isinstance(values, dict):
        for key, value in values.items():
            _refuse_no_number(value, file, f"{where}.{key}" if where else str(key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            _refuse_no_number(value, file, f"{where}[{number}]")
    elif isinstance(values, float) and not math.isfinite(values):
        raise UserError(
            "not a number",
            file=file,
            keyword=where,
            value=values,
            allowed="a number",
            remedy="write it in digits, such as 3.5",
        )


@cache
def read_schema(schema):
    """Return a schema of ``config/schemas``; callers must not change it.

    A part that refers to one of the file's ``$defs`` has the keys defined there; its own keys go
    before them, its properties beside those defined there.
    """
    values = json.loads((SCHEMA_FOLDER / schema).read_text(encoding="utf-8"))
    return _part_without_references(values, values.get("$defs", {}))


def _part_without_references(part, definitions):
    """Return a part of a schema with its references put in place."""
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
def _validator(schema):
    return jsonschema.Draft202012Validator(read_schema(schema))


def violation(error, *, file, words):
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
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.path)
    where = where.lstrip(".") or None
    schema, value = error.schema, error.instance
    if error.validator == "additionalProperties":
        known = sorted(schema["properties"])
        unknown = next(key for key in value if key not in known)
        close = difflib.get_close_matches(str(unknown), known, n=1)
        return UserError(
            "unknown key",
            file=file,
            keyword=f"{where}.{unknown}" if where else unknown,
            allowed=", ".join(known),
            remedy=f"did you mean {close[0]!r}?" if close else None,
        )
    if error.validator == "required":
        missing = next(key for key in schema["required"] if key not in value)
        part = schema.get("properties", {}).get(missing, {})
        return UserError(
            "a key is missing",
            file=file,
            keyword=f"{where}.{missing}" if where else missing,
            allowed=part.get("description"),
            remedy=f"write a line `{missing}: ...`",
        )
    problem, choices = words.get(schema.get("title")) or (
        "not a valid value",
        allowed_values(schema, error),
    )
    given = value if isinstance(value, str) else ""
    close = difflib.get_close_matches(given, list(map(str, schema.get("enum", ()))), n=1)
    return UserError(
        problem,
        file=file,
        keyword=where,
        value="null" if value is None else value,
        allowed=choices,
        remedy=f"did you mean {close[0]!r}?" if close else "write an allowed value",
    )


def allowed_values(schema, error):
    """Return the allowed values of a schema in words.

    Parameters
    ----------
    schema : dict
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
