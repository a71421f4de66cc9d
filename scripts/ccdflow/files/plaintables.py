"""Tables of products read as their bytes, without a table of astropy's, which takes milliseconds.

A map of bad pixels reads the tables of each night of an epoch: thousands in twenty years.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np

from ccdflow.files.fits_structure import BLOCK
from ccdflow.files.rawheader import CARD

_HEADER_BYTES = 4 * BLOCK
_FORMS = {"I": ">i2", "J": ">i4", "E": ">f4"}
# The value of a card: 'O''Hara', 12, 1.5E-3, T, each with or without a comment.
_VALUE = re.compile(
    r" *(?:'(?P<text>(?:[^']|'')*)'|(?P<integer>[-+]?\d+)"
    r"|(?P<number>[-+]?\d+(?:\.\d*)?(?:E[-+]?\d+)?)|(?P<truth>[TF])) *(?:/.*)?"
)
_NO_IMAGE = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0}
_OF_TABLES = {
    "XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": int, "NAXIS2": int,
    "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": int,
}  # fmt: skip
_WITHOUT_VALUE = {"", "COMMENT", "HISTORY", "CONTINUE"}
_LAST = ("EXTNAME", "CHECKSUM", "DATASUM")


@dataclass(frozen=True)
class PlainTables:
    """The tables of a product.

    Attributes
    ----------
    cards : dict of str to object
        Values of the primary header, by keyword.
    tables : dict of str to numpy.ndarray
        Structured, (n,), big-endian as stored, by the names of the HDUs; only those asked for.
    """

    cards: dict[str, object]
    tables: dict[str, np.ndarray]


def read_plain_tables(path, names):
    """Return the `PlainTables` of a product that is a header without an image, and tables.

    Parameters
    ----------
    path : path-like
    names : collection of str
        The tables whose rows are read.

    Returns
    -------
    PlainTables or None
        None where the file is not wholly as ccdflow writes it: astropy is to read it, or to tell
        what is wrong with it.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            return _read(file.fileno(), names)
    except (OSError, ValueError):
        return None


def _read(file, names):
    """Return the tables and cards of an open file; raise for any other layout."""
    size = os.fstat(file).st_size
    first, at = _cards_at(file, 0)
    _begin(first, _NO_IMAGE)
    tables, seen = {}, set()
    while at < size:
        cards, at = _cards_at(file, at)
        name, dtype, rows = _layout_of(cards)
        length = rows * dtype.itemsize
        _demand(name not in seen and at + length <= size)
        seen.add(name)
        if name in names:
            content = os.pread(file, length, at)
            _demand(len(content) == length)
            tables[name] = np.frombuffer(content, dtype)
        at += -(-length // BLOCK) * BLOCK
    _demand(at == size and tables.keys() == set(names))
    return PlainTables(first, tables)


def _demand(is_so):
    if not is_so:
        raise ValueError("not as ccdflow writes it")


def _cards_at(file, at):
    """Return the values of the header that begins at a place, and where it ends."""
    content = b""
    while more := os.pread(file, _HEADER_BYTES, at + len(content)):
        before, content = len(content), content + more
        for start in range(before, len(content) - CARD + 1, CARD):
            if content.startswith(b"END     ", start):
                end = -(-(start + CARD) // BLOCK) * BLOCK
                _demand(end <= len(content) and not content[start + 3 : end].strip(b" "))
                return _parse_header(content[:start].decode("ascii")), at + end
        _demand(len(more) == _HEADER_BYTES)
    raise ValueError("a header without an end")


def _parse_header(text):
    """Return {keyword: value} of the text of a plain header."""
    _demand(text.isprintable())
    cards = {}
    for start in range(0, len(text), CARD):
        if text.startswith("= ", start + 8):
            keyword = text[start : start + 8].rstrip()
            _demand(keyword not in cards)
            cards[keyword] = _value_of(text[start + 10 : start + CARD])
        else:
            _demand(text[start : start + 8].rstrip() in _WITHOUT_VALUE)
    return cards


def _value_of(text):
    match = _VALUE.fullmatch(text)
    _demand(match)
    if match["text"] is not None:
        return match["text"].rstrip().replace("''", "'")
    if match["truth"]:
        return match["truth"] == "T"
    return int(match["integer"]) if match["integer"] else float(match["number"])


def _begin(cards, wanted):
    """Raise if a header does not begin with cards of some values, or of some type."""
    _demand([*cards][: len(wanted)] == [*wanted])
    for name, value in wanted.items():
        kind = value if isinstance(value, type) else type(value)
        _demand(type(cards[name]) is kind and value in (kind, cards[name]))


def _layout_of(cards):
    """Return name, type and number of rows of a table."""
    _begin(cards, _OF_TABLES)
    _demand(cards["TFIELDS"] <= len(cards))
    columns = range(1, cards["TFIELDS"] + 1)
    fields = [(f"TTYPE{number}", f"TFORM{number}") for number in columns]
    _demand([*cards][len(_OF_TABLES) :] == [*chain(*fields), *_LAST])
    dtype = _dtype_of(tuple((cards[name], cards[form]) for name, form in fields))
    _demand(cards["NAXIS1"] == dtype.itemsize and cards["NAXIS2"] >= 0)
    return cards["EXTNAME"], dtype, cards["NAXIS2"]


@lru_cache
def _dtype_of(fields):
    """Return the type of the rows of a table by the names and forms of its columns."""
    _demand(fields and all(isinstance(name, str) and form in _FORMS for name, form in fields))
    return np.dtype([(name, _FORMS[form]) for name, form in fields])
