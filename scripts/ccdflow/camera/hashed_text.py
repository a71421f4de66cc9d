"""The text of a camera's settings, whose hash tells whether a header has to be read again."""

from __future__ import annotations

from dataclasses import fields

# Older results: the hashes in their rows are of texts with these names of fields.
_FORMER_NAMES = {
    "has_overscan": "overscan",
    "is_raw": "raw",
    "is_flipped_x": "flip_x",
    "is_flipped_y": "flip_y",
}


def hashed_text(settings):
    """Return the `repr` of a dataclass, in which a renamed field has its former name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Strip:
    ...     is_flipped_x: bool
    >>> hashed_text(Strip(is_flipped_x=True))
    'Strip(flip_x=True)'
    """
    values_text = ", ".join(
        f"{_FORMER_NAMES.get(field.name, field.name)}={getattr(settings, field.name)!r}"
        for field in fields(settings)
    )
    return f"{type(settings).__qualname__}({values_text})"
