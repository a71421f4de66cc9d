"""Mappings that stay JSON text until a value is looked up: an archive has a million of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

# Faster than `json.loads`, which also looks for blanks around a text. These texts have no blanks.
decode = json.JSONDecoder().raw_decode


class UnparsedMapping(Mapping):
    """A mapping that stays JSON text until a value is looked up.

    Parameters
    ----------
    text : str
        A JSON object.
    shared_text : str, optional
        A second JSON object, with values that many records share. It gives the values of keys that
        ``text`` does not have.
    """

    __slots__ = ("shared_text", "text")

    def __init__(self, text, shared_text=""):
        self.text = text
        self.shared_text = shared_text

    def _mapping(self):
        """Return the values of both texts; ``text`` counts where both have a key."""
        unshared = decode(self.text)[0]
        return {**parse_shared(self.shared_text), **unshared} if self.shared_text else unshared

    def __getitem__(self, name):
        return self._mapping()[name]

    def __iter__(self):
        return iter(self._mapping())

    def __len__(self):
        return len(self._mapping())

    def items(self):
        """Return the items; the method of `Mapping` would parse the text once for each item."""
        return self._mapping().items()


def lists_in(values, names):
    """Return the lists under some names in a mapping; () for an empty or absent list.

    Most texts of an archive show without parsing that these lists are empty.

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
        # This matches keys only: within a text JSON puts a backslash before a quotation mark.
        starts, text = [f'"{name}":[' for name in names], values.text
        if not values.shared_text and all(
            text.count(start) == text.count(f"{start}]") for start in starts
        ):
            return [()] * len(names)
        values = dict(values.items())
    return [values.get(name) or () for name in names]


# Records of one night, kind and camera share a text, and follow each other. Chosen: 1000 entries
# suffice for more nights than a run looks up. The values of one text take some kilobytes.
@lru_cache(1000)
def parse_shared(text):
    """Return the values of a text that many records share; callers must not change them."""
    return json.loads(text)


def forget_texts():
    """Empty the cache of `parse_shared`."""
    parse_shared.cache_clear()
