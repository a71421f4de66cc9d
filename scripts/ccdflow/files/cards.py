"""Header cards as they really are: in another HDU, standing twice, HIERARCH, blank, unreadable."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from astropy.io.fits.card import Undefined
from astropy.io.fits.verify import VerifyError

from ccdflow.errors import UserError


@dataclass(frozen=True)
class CardSpec:
    """Where a value stands in the headers of a file.

    Parameters
    ----------
    keyword : str
        The card's name; HIERARCH cards without the word HIERARCH, such as ``ESO DPR TYPE``.
    hdu : int or str, optional
        Index or EXTNAME of the HDU; without it the callers' own order of HDUs is searched.
    occurrence : str
        'first' or 'last', where the card stands more than once in a header.
    """

    keyword: str
    hdu: int | str | None = None
    occurrence: str = "first"


def read_card(value):
    """Read a CardSpec of a profile: a keyword, or a mapping with `keyword`, `hdu`, `occurrence`."""
    if isinstance(value, str):
        return CardSpec(bare(value))
    spec = {"hdu": None, "occurrence": "first"} | value
    return CardSpec(bare(spec["keyword"]), spec["hdu"], spec["occurrence"])


def bare(keyword):
    """The keyword in capitals, single blanks, and without the word HIERARCH."""
    words = keyword.upper().split()
    return " ".join(words[1:] if words[:1] == ["HIERARCH"] else words)


def card_value(header, keyword, occurrence="first"):
    """The value of a card: str, int, float or bool; None where absent, blank or undefined.

    A card that does not follow the FITS standard (``GRATING = 1800 l/mm / lines``) counts as
    absent: astropy can only read it by mending it, which changes the header and warns.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Not changed.
    keyword : str
        As in `CardSpec`.
    occurrence : str
        'first' or 'last'.

    Returns
    -------
    str, int, float, bool or None
    """
    if keyword not in header:
        return None
    index = 0 if occurrence == "first" else header.count(keyword) - 1
    card = header.cards[(keyword, index)]
    try:
        value = card.value
    except VerifyError:
        return None
    if isinstance(value, str):
        value = value.strip()
    return None if isinstance(value, Undefined) or value == "" else value


def find(headers, spec, order):
    """The value of a card in the first of these HDUs that has it, or None.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    spec : CardSpec
        What is looked for; its own `hdu` comes before `order`.
    order : sequence of int
        HDUs to search.

    Returns
    -------
    str, int, float, bool or None
    """
    for index in order if spec.hdu is None else hdu_indices(headers, spec.hdu):
        value = card_value(headers[index], spec.keyword, spec.occurrence)
        if value is not None:
            return value
    return None


def find_first(headers, specs, order):
    """The value of the first of several cards that is there, or None."""
    for spec in specs:
        value = find(headers, spec, order)
        if value is not None:
            return value
    return None


def hdu_indices(headers, hdu):
    """The HDUs an index or EXTNAME stands for: one, or none where the file has no such HDU."""
    if isinstance(hdu, int):
        return (hdu,) if 0 <= hdu < len(headers) else ()
    wanted = hdu.strip().upper()
    names = (str(card_value(header, "EXTNAME") or "").upper() for header in headers)
    return tuple(index for index, name in enumerate(names) if name == wanted)[:1]


def matches(value, patterns):
    """Whether a card's value is one of these: text as a glob regardless of case, numbers by value.

    Parameters
    ----------
    value : str, int, float, bool or None
        None matches nothing.
    patterns : sequence
        Globs, numbers or booleans.

    Returns
    -------
    bool
    """
    return any(_is(value, pattern) for pattern in patterns)


def as_list(value):
    """A tuple of what may have been written as one value or as a list of them."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def number(value):
    """The value as a float where it is a number, or text that reads as one; else None."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def whole(value):
    """The value as an int where it is a whole number, or text that reads as one; else None."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def require(condition, problem, **details):
    """Raise a UserError unless the condition holds."""
    if not condition:
        raise UserError(problem, **details)


def _is(value, pattern):
    if value is None:
        return False
    if isinstance(pattern, bool) or isinstance(value, bool):
        return value is pattern or str(value).upper()[:1] == str(pattern).upper()
    if isinstance(pattern, int | float):
        return number(value) == pattern
    return fnmatch.fnmatchcase(str(value).strip().upper(), str(pattern).strip().upper())
