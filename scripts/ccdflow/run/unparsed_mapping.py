"""Mappings that stay JSON text until they are read: an archive has a million of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

# Faster than `json.loads`, which also looks for blanks around a text: these texts have no blanks.
decode = json.JSONDecoder().raw_decode


class UnparsedMapping(Mapping):
    """A mapping that stays JSON text until it is read; an archive has a million of them.

    Parameters
    ----------
    text : str
        A JSON object.
    common : str, optional
        Another one: values shared with other records, for keys that are absent from the text.
    """

    __slots__ = ("common", "text")

    def __init__(self, text, common=""):
        self.text = text
        self.common = common

    def _mapping(self):
        """The values: those of this record, over those that it shares with others."""
        unshared = decode(self.text)[0]
        return {**parse_common(self.common), **unshared} if self.common else unshared

    def __getitem__(self, name):
        return self._mapping()[name]

    def __iter__(self):
        return iter(self._mapping())

    def __len__(self):
        return len(self._mapping())

    def items(self):
        """Return the items of a dict that is parsed once; `Mapping` would parse it for each."""
        return self._mapping().items()


def lists_in(values, names):
    """Return the lists under some names in a mapping; one that is empty or absent is ().

    Most texts of an archive show by themselves that the lists are empty, and are not parsed.

    Parameters
    ----------
    values : mapping of str to object
        A record's data.
    names : sequence of str

    Returns
    -------
    list of sequence
    """
    if isinstance(values, UnparsedMapping):
        # The pattern matches behind keys alone: JSON puts a backslash before a quote within a text.
        starts, text = [f'"{name}":[' for name in names], values.text
        if not values.common and all(text.count(s) == text.count(f"{s}]") for s in starts):
            return [()] * len(names)
        values = dict(values.items())
    return [values.get(name) or () for name in names]


# Records that follow each other share a text: one of a night, a kind and a camera. 1000 entries
# hold more nights than a run asks for; the values of one text take some kilobytes.
@lru_cache(1000)
def parse_common(text):
    """Return the values of a text that many records share; nobody changes them."""
    return json.loads(text)


def forget_texts():
    """Forget the values of shared texts that were asked for."""
    parse_common.cache_clear()
