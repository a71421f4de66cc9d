"""Header cards as cameras write them: in any HDU, repeated, HIERARCH, blank or unreadable."""

from __future__ import annotations

import fnmatch
import re
import warnings
from dataclasses import dataclass, field
from functools import lru_cache

from astropy.io.fits.card import Card, Undefined
from astropy.io.fits.verify import VerifyError

from ccdflow.files.raw_headers import RawHeader, has_card_texts, indexed_names
from ccdflow.files.values import Broken, as_number, says_unknown

# A standard FITS keyword has at most this many letters.
_LONGEST_KEYWORD = 8
# A message shows at most this many letters of a value. Chosen: the message stays one line.
_MOST_SHOWN_LETTERS = 60


@dataclass(frozen=True)
class CardSpec:
    """The place of a value in the headers of a file.

    Attributes
    ----------
    keyword : str
        The card's name; HIERARCH cards without the word HIERARCH, such as ``ESO DPR TYPE``.
    hdu : int or str, optional
        Index or EXTNAME of the HDU; without it, the caller gives the order of HDUs.
    occurrence : str
        'first' or 'last', if the card is in a header more than once.
    name : str
        The card's name in astropy's index.
    """

    keyword: str
    hdu: int | str | None = None
    occurrence: str = "first"
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "name", _indexed_name(self.keyword))


def parse_card_spec(value):
    """Return the `CardSpec` of a profile's entry: a keyword, or a mapping with the three fields."""
    if isinstance(value, str):
        return CardSpec(bare_keyword(value))
    spec = {"hdu": None, "occurrence": "first"} | value
    return CardSpec(bare_keyword(spec["keyword"]), spec["hdu"], spec["occurrence"])


def bare_keyword(keyword):
    """Return the keyword in capitals, single blanks, and without the word HIERARCH.

    Examples
    --------
    >>> bare_keyword("hierarch ESO  DET WIN1 NX")
    'ESO DET WIN1 NX'
    """
    words = keyword.upper().split()
    return " ".join(words[1:] if words[:1] == ["HIERARCH"] else words)


@dataclass(frozen=True)
class Content:
    """The content of one card.

    Attributes
    ----------
    keyword : str
    value : str, int, float, bool, complex or Broken
        `Broken` where the card does not follow FITS.
    comment : str
    """

    keyword: str
    value: str | int | float | bool | complex | Broken
    comment: str = ""


def contents_of_cards(header, keyword, occurrence="first"):
    """Return the contents of a keyword's cards, blank ones left out.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Not changed.
    keyword : str
        As in `CardSpec`.
    occurrence : str, optional
        'first' or 'last', where to begin.

    Returns
    -------
    list of Content
    """
    cards = _cards_of_keyword(header, keyword)
    if cards:
        cards = [content for content in cards if content is not None]
    return cards[::-1] if occurrence == "last" else cards


# Matches keywords that astropy does not normalize.
_PLAIN_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")


# A camera's headers have some hundreds of keywords: 4096 entries hold the keywords of several
# cameras.
@lru_cache(maxsize=4096)
def _indexed_name(keyword):
    """Return the name of a keyword in astropy's index; '' if only astropy can look for the keyword.

    A name of more than eight letters is that of a HIERARCH card, unless it has a point in it.
    """
    if _PLAIN_KEYWORD.fullmatch(keyword):
        return keyword
    name = Card.normalize_keyword(keyword)
    return name if len(name) > _LONGEST_KEYWORD and "." not in name else ""


def has_card(header, keyword):
    """Return whether a header has a card of a keyword, in a tenth of the time of astropy's ``in``.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str

    Returns
    -------
    bool
    """
    name = _indexed_name(keyword)
    return name in indexed_names(header) if name else keyword in header


def count_cards(header, keyword):
    """Return the number of cards of a keyword in a header.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str

    Returns
    -------
    int
    """
    return len(_cards_of_keyword(header, keyword))


def specs_in_headers(headers, specs):
    """Return those `CardSpec` whose card may be in one of the headers: a few of hundreds.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    specs : iterable of CardSpec
        The cards that are asked for.

    Returns
    -------
    list of CardSpec
    """
    names = indexed_names(headers[0])
    if len(headers) > 1:
        names = frozenset().union(*map(indexed_names, headers))
    return [spec for spec in specs if spec.name in names or not spec.name]


def _cards_of_keyword(header, keyword):
    """Return the contents of a keyword's cards, None for a blank one.

    Hundreds of keywords are looked for in a frame, which has few of them. To look up a plain
    keyword takes a tenth of the time in which astropy normalizes it.
    """
    name = _indexed_name(keyword)
    if name and has_card_texts(header):
        return [_content_of_text(keyword, text) for text in header.cards_of(name)]
    if name:
        cards = [header._cards[index] for index in header._keyword_indices.get(name, ())]
    elif keyword not in header:
        return []
    else:
        cards = [header.cards[(keyword, i)] for i in range(header.count(keyword))]
    return [_content_of_card(keyword, card) for card in cards]


def known_content_at(header, keyword, index):
    """Return the content of the card at an index; None for a blank one or an unknown value.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
        The keyword of the card there.
    index : int

    Returns
    -------
    Content or None
    """
    if type(header) is RawHeader and header.texts is not None:
        # The code of `RawHeader.text_at`, without a call: it runs once for each card of each frame.
        if header.positions_read is not None:
            header.positions_read.add(index)
        return _known_content_of_text(keyword, header.texts[index])
    return _content_if_known(_content_of_card(keyword, header._cards[index]))


# A dozen of a frame's hundred cards differ from those of other frames: the other cards are asked
# for again long before 2048 texts push them out. A text and its content take half a kilobyte.
@lru_cache(maxsize=1 << 11)
def _known_content_of_text(keyword, text):
    """Return the content of a file's card; None for a blank one or an unknown value."""
    return _content_if_known(_content_of_text(keyword, text))


def _content_if_known(content):
    """Return the content of a card, None where its value only says that nothing is known."""
    return None if content is None or says_unknown(content.value) else content


def header_value(header, keyword, default=None):
    """Return the value that ``header.get`` gives; a whole number is parsed once for all frames.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    default : object, optional
        The value where there is no such card.

    Returns
    -------
    object
    """
    cards = _cards_of_keyword(header, keyword)
    if not cards and _indexed_name(keyword):
        return default
    content = cards[0] if cards else None
    is_integer = content is not None and type(content.value) is int
    return content.value if is_integer else header.get(keyword, default)


def _content_of_card(keyword, card):
    """Return the `Content` of astropy's card, None for a blank one."""
    image = card._image
    is_as_in_file = image is not None and image[8:10] == "= " and not card._modified
    return _content_of_text(keyword, image) if is_as_in_file else parse_by_astropy(keyword, card)


# Matches a number or a text in the form in which nearly all programs write them.
_USUAL_CARD = re.compile(
    r"(?!COMMENT|HISTORY|END )[A-Z0-9_-]{1,8} *= +"
    r"(?:(?P<whole>[+-]?\d+)|(?P<number>[+-]?\d+\.\d*)|'(?P<text>[ -&(-~]+)')"
    r" *(?:/ *(?P<comment>[ -~]*))?"
)


# As many entries as for `_known_content_of_text`, which gets the same cards.
@lru_cache(maxsize=1 << 11)
def _content_of_text(keyword, text):
    """Return the `Content` of a card of a file by its text, None for a blank card."""
    match = _USUAL_CARD.fullmatch(text) if text[8:10] == "= " else None
    if match:
        integer, number, value, comment = match.groups()
        value = int(integer) if integer else float(number) if number else value.strip()
        return Content(keyword, value, (comment or "").rstrip()) if value != "" else None
    card = Card.fromstring(text)
    if text[8:10] != "= ":
        with warnings.catch_warnings():
            # Like the parser of headers, this does not warn of an odd keyword.
            warnings.simplefilter("ignore")
            _ = card.keyword
    return parse_by_astropy(keyword, card)


def parse_by_astropy(keyword, card):
    """Return the `Content` of astropy's card, None for one without a value.

    Parameters
    ----------
    keyword : str
    card : astropy.io.fits.Card

    Returns
    -------
    Content or None
    """
    try:
        value = card.value
    except (VerifyError, ValueError):
        # The properties of astropy's card would repair it, which changes the header.
        return _content_of_broken(keyword, card._image)
    if isinstance(value, str):
        value = value.strip()
    if isinstance(value, Undefined) or value is None or value == "":
        return None
    if not _has_indicator(card):
        return _content_of_broken(keyword, card._image)
    return Content(keyword, value, _comment_of_card(card))


def _has_indicator(card):
    """Return whether a card has the sign of equality that FITS wants before a value."""
    image = card._image
    return image is None or image[8:10] == "= " or image[:8].upper() == "HIERARCH"


def _comment_of_card(card):
    """Return the comment of astropy's card; '' for one that cannot be parsed."""
    try:
        return card.comment
    except (VerifyError, ValueError):
        return ""


def _content_of_broken(keyword, image):
    """Return the `Content` of a card that does not follow FITS: its text and its comment."""
    has_sign = "=" in (image if image[:8].upper() == "HIERARCH" else image[:10])
    text = (image.partition("=")[2] if has_sign else image[8:]).strip()
    comment = ""
    for sign in () if text.startswith("'") else (" /", "/"):
        if sign in text:
            text, _, comment = text.partition(sign)
            break
    return Content(keyword, Broken(text.strip()), comment.strip())


def card_value(header, keyword, occurrence="first"):
    """Return the value of a card: str, int, float or bool; None where absent, blank or undefined.

    A card that does not follow the FITS standard (``GRATING = 1800 l/mm / lines``) counts as absent
    here, unlike in `contents_of_cards`. A blank card is passed over for another of its keyword.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Not changed.
    keyword : str
        As in `CardSpec`.
    occurrence : str, optional
        'first' or 'last'.

    Returns
    -------
    str, int, float, bool or None
    """
    cards = contents_of_cards(header, keyword, occurrence)
    return next((card.value for card in cards if not isinstance(card.value, Broken)), None)


def as_text(content):
    """Return a card's value as text without needless blanks; None for a card that is not FITS."""
    if isinstance(content.value, Broken):
        return None
    return " ".join(str(content.value).split())


def unreadable_card(content, problem):
    """Return the line on a card that is there and cannot be read.

    Parameters
    ----------
    content : Content
        The card.
    problem : str
        Such as ``not a number``.

    Returns
    -------
    str
    """
    return f"{content.keyword}: {problem} (found {shown_value(content.value)})"


def shown_value(value):
    """Return a value for a message, of bounded length."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN_LETTERS else f"{text[: _MOST_SHOWN_LETTERS - 3]}..."


def value_of_card(headers, spec, order):
    """Return the value of a card in the first of these HDUs that has it, or None.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    spec : CardSpec
        The card to look for; its own `hdu` comes before `order`.
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


def first_value_of_cards(headers, specs, order):
    """Return the value of the first of several cards that is there, or None.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    specs : iterable of CardSpec
        The cards that are tried, in order.
    order : sequence of int
        Numbers of the HDUs to look into, in order.

    Returns
    -------
    object or None
    """
    for spec in specs:
        value = value_of_card(headers, spec, order)
        if value is not None:
            return value
    return None


def hdu_indices(headers, hdu):
    """Return the HDUs of an index or EXTNAME: one, or none where the file has no such HDU.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    hdu : int or str
        Index of an HDU, or its EXTNAME.

    Returns
    -------
    tuple of int
    """
    if isinstance(hdu, int):
        return (hdu,) if 0 <= hdu < len(headers) else ()
    extname = hdu.strip().upper()
    names = (str(card_value(header, "EXTNAME") or "").upper() for header in headers)
    return tuple(index for index, name in enumerate(names) if name == extname)[:1]


def matches_patterns(value, patterns):
    """Return whether a value matches a pattern: text as a glob without case, numbers by value.

    Several blanks count as one, as in the texts that lines show.

    Parameters
    ----------
    value : str, int, float, bool or None
        None matches nothing.
    patterns : sequence of (str, int, float or bool)
        Globs, numbers or booleans.

    Returns
    -------
    bool

    Examples
    --------
    >>> matches_patterns("Bias frame", ["bias*"]), matches_patterns("2.0", [2])
    (True, True)
    """
    return any(_is_match(value, pattern) for pattern in patterns)


def as_tuple(value):
    """Return a tuple of values that may have been written as one value or as a list.

    Examples
    --------
    >>> as_tuple("bias"), as_tuple(["bias", "zero"])
    (('bias',), ('bias', 'zero'))
    """
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def as_integer(value):
    """Return the value as an int if it is a whole number or text that reads as one, else None.

    Examples
    --------
    >>> as_integer(2.0), as_integer(" 2"), as_integer("2.5")
    (2, 2, None)
    """
    real = as_number(value)
    return int(real) if real is not None and real.is_integer() else None


def _is_match(value, pattern):
    """Return whether a value matches one pattern, see `matches_patterns`."""
    if value is None:
        return False
    if isinstance(pattern, bool) or isinstance(value, bool):
        return value is pattern or str(value).upper()[:1] == str(pattern).upper()
    if isinstance(pattern, int | float):
        return as_number(value) == pattern
    text, glob = (" ".join(str(each).upper().split()) for each in (value, pattern))
    return fnmatch.fnmatchcase(text, glob)
