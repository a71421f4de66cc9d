"""Tables of products read and written as bytes, without tables of astropy.

A table of astropy takes milliseconds to read, and a map of bad pixels reads the tables of each
night of an epoch: thousands in twenty years. The first one imports astropy's tables and units,
which takes half a second of processor time.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np

from ccdflow.files.checksum import sum_words
from ccdflow.files.fits_structure import FITS_BLOCK_BYTES
from ccdflow.files.header_text import CardList
from ccdflow.files.raw_headers import CARD_BYTES

# Bytes of a header that are read at once: most are shorter.
_HEADER_BYTES = 4 * FITS_BLOCK_BYTES
# Types of columns of numbers by TFORM. ccdflow writes no others but texts, such as "10A": astropy
# reads tables with these.
_DTYPE_BY_FORM = {"I": ">i2", "J": ">i4", "E": ">f4"}
# Matches the value of a card: 'O''Hara', 12, 1.5E-3, T, each with or without a comment.
_VALUE = re.compile(
    r" *(?:'(?P<text>(?:[^']|'')*)'|(?P<integer>[-+]?\d+)"
    r"|(?P<number>[-+]?\d+(?:\.\d*)?(?:E[-+]?\d+)?)|(?P<truth>[TF])) *(?:/.*)?"
)
# The first cards of a primary HDU without an image, and of a table: values, or their types.
_PRIMARY_CARDS = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0}
_TABLE_CARDS = {
    "XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": int, "NAXIS2": int,
    "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": int,
}  # fmt: skip
# Keywords of cards without a value.
_COMMENTARY_KEYWORDS = {"", "COMMENT", "HISTORY", "CONTINUE"}
# The keywords of the last cards of a table's header.
_LAST_CARDS = ("EXTNAME", "CHECKSUM", "DATASUM")


@dataclass(frozen=True)
class PlainTables:
    """The tables of a product.

    Attributes
    ----------
    cards : dict of str to object
        Values of the primary header, by keyword.
    tables : dict of str to numpy.ndarray of shape (n,), a structured type
        Big-endian as stored, by the names of the HDUs; only the tables that were asked for.
    """

    cards: dict[str, object]
    tables: dict[str, np.ndarray]


def table_hdu(name, columns, *, comments):
    """Return a table as the bytes of an HDU, the same as those of astropy's `BinTableHDU`.

    Parameters
    ----------
    name : str
        EXTNAME.
    columns : dict of str to (str, numpy.ndarray)
        By their names: TFORM, "I", "J", "E" or "10A" for texts of ten letters, and values, (n,).
    comments : (str, str)
        Comments of the cards CHECKSUM and DATASUM.

    Returns
    -------
    header, data : bytes
        Each with its padding.
    """
    types = [
        (each, _DTYPE_BY_FORM.get(form) or f"S{form[:-1]}") for each, (form, _) in columns.items()
    ]
    length = len(next(iter(columns.values()))[1])
    rows = np.empty(length, types)
    for each, (_, values) in columns.items():
        rows[each] = values
    data = rows.tobytes()
    data += b"\0" * (-len(data) % FITS_BLOCK_BYTES)
    cards = CardList()
    cards.set("XTENSION", "BINTABLE", "binary table extension")
    cards.set("BITPIX", 8, "array data type")
    cards.set("NAXIS", 2, "number of array dimensions")
    cards.set("NAXIS1", rows.dtype.itemsize, "length of dimension 1")
    cards.set("NAXIS2", length, "length of dimension 2")
    cards.set("PCOUNT", 0, "number of group parameters")
    cards.set("GCOUNT", 1, "number of groups")
    cards.set("TFIELDS", len(columns), "number of table fields")
    for number, (each, (form, _)) in enumerate(columns.items(), start=1):
        cards.set(f"TTYPE{number}", each)
        cards.set(f"TFORM{number}", form)
    cards.set("EXTNAME", name, "extension name")
    return cards.to_bytes(sum_words(data), comments=comments), data


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
        None if any part of the file is not as ccdflow writes it, or a table has a column of texts:
        astropy then has to read the file, or to name the fault.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            return _read_tables_and_cards(file.fileno(), names)
    except (OSError, ValueError):
        return None


def _read_tables_and_cards(descriptor, names):
    """Return the tables and cards of an open file; raise for any other layout."""
    size = os.fstat(descriptor).st_size
    primary_cards, offset = _cards_at(descriptor, 0)
    _demand_cards(primary_cards, _PRIMARY_CARDS)
    tables, names_read = {}, set()
    while offset < size:
        cards, offset = _cards_at(descriptor, offset)
        name, dtype, n_rows = _layout_of(cards)
        length = n_rows * dtype.itemsize
        _demand_layout(name not in names_read and offset + length <= size)
        names_read.add(name)
        if name in names:
            content = os.pread(descriptor, length, offset)
            _demand_layout(len(content) == length)
            tables[name] = np.frombuffer(content, dtype)
        offset += -(-length // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES
    _demand_layout(offset == size and tables.keys() == set(names))
    return PlainTables(primary_cards, tables)


def _demand_layout(is_true):
    """Raise `ValueError` unless a condition of the layout is fulfilled."""
    if not is_true:
        raise ValueError("not as ccdflow writes it")


def _cards_at(descriptor, offset):
    """Return the values of the header that begins at a place, and where it ends."""
    content = b""
    while block := os.pread(descriptor, _HEADER_BYTES, offset + len(content)):
        n_parsed, content = len(content), content + block
        for start in range(n_parsed, len(content) - CARD_BYTES + 1, CARD_BYTES):
            if content.startswith(b"END     ", start):
                end = -(-(start + CARD_BYTES) // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES
                _demand_layout(end <= len(content) and not content[start + 3 : end].strip(b" "))
                return _parse_header(content[:start].decode("ascii")), offset + end
        _demand_layout(len(block) == _HEADER_BYTES)
    raise ValueError("a header without an end")


def _parse_header(text):
    """Return {keyword: value} of the text of a plain header."""
    _demand_layout(text.isprintable())
    cards = {}
    for start in range(0, len(text), CARD_BYTES):
        if text.startswith("= ", start + 8):
            keyword = text[start : start + 8].rstrip()
            _demand_layout(keyword not in cards)
            cards[keyword] = _value_of(text[start + 10 : start + CARD_BYTES])
        else:
            _demand_layout(text[start : start + 8].rstrip() in _COMMENTARY_KEYWORDS)
    return cards


def _value_of(text):
    """Return the value of a card by its text after the sign of equality."""
    match = _VALUE.fullmatch(text)
    _demand_layout(match)
    if match["text"] is not None:
        return match["text"].rstrip().replace("''", "'")
    if match["truth"]:
        return match["truth"] == "T"
    return int(match["integer"]) if match["integer"] else float(match["number"])


def _demand_cards(cards, first_cards):
    """Raise `ValueError` unless a header begins with cards of some values, or of some types."""
    _demand_layout([*cards][: len(first_cards)] == [*first_cards])
    for name, value in first_cards.items():
        demanded_type = value if isinstance(value, type) else type(value)
        _demand_layout(type(cards[name]) is demanded_type and value in (demanded_type, cards[name]))


def _layout_of(cards):
    """Return name, type and number of rows of a table."""
    _demand_cards(cards, _TABLE_CARDS)
    _demand_layout(cards["TFIELDS"] <= len(cards))
    columns = range(1, cards["TFIELDS"] + 1)
    fields = [(f"TTYPE{number}", f"TFORM{number}") for number in columns]
    _demand_layout([*cards][len(_TABLE_CARDS) :] == [*chain(*fields), *_LAST_CARDS])
    dtype = _dtype_of(tuple((cards[name], cards[form]) for name, form in fields))
    _demand_layout(cards["NAXIS1"] == dtype.itemsize and cards["NAXIS2"] >= 0)
    return cards["EXTNAME"], dtype, cards["NAXIS2"]


# ccdflow writes some ten forms of tables: the usual 128 entries hold these, and bound the number of
# forms in odd files.
@lru_cache
def _dtype_of(fields):
    """Return the type of the rows of a table by the names and forms of its columns."""
    _demand_layout(
        fields and all(isinstance(name, str) and form in _DTYPE_BY_FORM for name, form in fields)
    )
    return np.dtype([(name, _DTYPE_BY_FORM[form]) for name, form in fields])
