"""Headers of raw files as the texts of their cards; astropy's cards are made when they are needed.

Thousands of frames share most of their cards, and have the same keywords in the same order. The
keyword of a card is therefore found once for each text, and the positions of keywords once for all
headers with the same keywords (`KeywordOrder`). `Remembered` keeps the result of a function of
headers for all headers in which the cards that the function read are the same.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from itertools import compress
from operator import ne
from struct import Struct
from typing import NamedTuple

from astropy.io import fits
from astropy.io.fits.card import Card, Undefined

from ccdflow.files.text_cards import keep_records_as_text

keep_records_as_text()

CARD_BYTES = 80
"""Bytes of a FITS card."""

# The last card of a header, and the keyword of a card that continues the text of the card before.
_END_CARD = "END".ljust(CARD_BYTES)
_END_BYTES = _END_CARD.encode()
_CONTINUE = "CONTINUE"
# Matches the first eight letters of a card with a plain keyword. All other cards are read by
# astropy.
_PLAIN_CARD = re.compile(r"([A-Z0-9_-]{1,8}) *\Z")

# Matches a card without a blank after its sign of equality.
_NO_INDICATOR = re.compile(r"([A-Za-z0-9_-]{1,8}) {0,8}= ?(\S.*)")
# Keywords of cards without a value.
_KEYWORDS_WITHOUT_VALUE = ("COMMENT", "HISTORY", "END")
# At most this many cards are remembered: an archive repeats most of them. A frame has a dozen cards
# of its own (half a kilobyte each), and a process that runs for nights must not keep these.
_MOST_TEXTS = 1 << 11
# Headers of more cards are parsed card by card: nearly all headers have fewer.
_MOST_USUAL_CARDS = 720
# The table of `bytes.translate`: question marks for all but printable ASCII.
_ALLOWED_CHARACTERS = bytes(c if 32 <= c < 127 else 63 for c in range(256))
ENDINGS = b"\0\r\n\t"
"""Characters that some programs put at the end of a card instead of blanks."""

# At most this many orders of keywords are remembered: there is one for each setting of a camera.
_MOST_ORDERS = 1 << 10

# The last cards, by their text in the file: keyword as astropy has it, name in astropy's index, and
# the text that astropy would read.
_recent_cards = {}
# The cards that were in `_recent_cards` when it was emptied last: those that come again go back
# there.
_older_cards = {}
# The same for cards that came as bytes, by their bytes.
_recent_bytes, _older_bytes = {}, {}
# The `KeywordOrder` of headers with the same keywords, by the keywords.
_keyword_orders = {}
# (keyword, name in astropy's index) by the keyword: one object for all cards of a keyword.
_heads = {}
# (keyword, name in astropy's index) by the first ten letters of a card, for plain keywords but
# CONTINUE and END.
_usual_heads = {}
# The entry of `_recent_cards` for a CONTINUE card.
_CONTINUATION = ((_CONTINUE, ""), "")
# The last header read, by the number of cards that its blocks have room for: see `_LastHeader`.
_last_headers = {}


class KeywordOrder:
    """The keywords of a header in their order.

    Parameters
    ----------
    heads : sequence of (str, str)
        Keyword of each card, and its name in astropy's index.

    Attributes
    ----------
    keywords : tuple of str
    positions : dict of str to tuple of int
        Where the cards of a name stand.
    """

    __slots__ = ("keywords", "positions")

    def __init__(self, heads):
        self.keywords = tuple(keyword for keyword, _ in heads)
        positions = {}
        for position, (_, name) in enumerate(heads):
            positions.setdefault(name, []).append(position)
        self.positions = {name: tuple(starts) for name, starts in positions.items()}


class RawHeader(fits.Header):
    """A header of astropy, whose cards are made only when code of astropy asks for one.

    Attributes
    ----------
    texts : list of str or None
        The texts of the cards; None once astropy's cards are made, which callers may change.
    order : KeywordOrder
    positions_read : set of int or None
        Gets the positions of the cards that are read; None if they are not noted.
    """

    texts = order = positions_read = None

    def __getattr__(self, name):
        """Make astropy's cards when the first of its attributes is asked for."""
        if self.texts is None or name not in ("_cards", "_keyword_indices", "_rvkc_indices"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self.positions_read is not None:
            self.positions_read.update(range(len(self.texts)))
        self.__dict__.update(_parse_by_astropy(self.texts).__dict__)
        self.texts = None
        return self.__dict__[name]

    def _has_plain(self, keyword):
        """Return whether a keyword can be looked for without astropy's cards."""
        is_text = self.texts is not None and isinstance(keyword, str)
        return is_text and _PLAIN_CARD.match(keyword) is not None

    def __contains__(self, keyword):
        """Return whether there is a card of a keyword."""
        if self._has_plain(keyword):
            return keyword.rstrip() in self.order.positions
        return super().__contains__(keyword)

    def __getitem__(self, keyword):
        """Return the value of the first card of a keyword; for all else, the result of astropy."""
        if not self._has_plain(keyword) or keyword.rstrip() in _KEYWORDS_WITHOUT_VALUE:
            return super().__getitem__(keyword)
        cards = self.cards_of(keyword.rstrip())
        if not cards:
            raise KeyError(f"Keyword {keyword!r} not found.")
        return _value_of(cards[0])

    def __iter__(self):
        """Return an iterator over the keywords of all cards."""
        return super().__iter__() if self.texts is None else iter(self.order.keywords)

    def __len__(self):
        """Return the number of cards."""
        return super().__len__() if self.texts is None else len(self.texts)

    def cards_of(self, name):
        """Return the texts of the cards of a name in astropy's index; they count as read.

        Parameters
        ----------
        name : str

        Returns
        -------
        list of str
        """
        positions = self.order.positions.get(name)
        if not positions:
            return []
        if self.positions_read is not None:
            self.positions_read.update(positions)
        texts = self.texts
        return [texts[position] for position in positions]

    def text_at(self, position):
        """Return the text of the card at a position; it counts as read.

        Parameters
        ----------
        position : int

        Returns
        -------
        str
        """
        if self.positions_read is not None:
            self.positions_read.add(position)
        return self.texts[position]


def parse_raw_header(text):
    """Return the header of a text of cards, as `astropy.io.fits.Header.fromstring` would.

    Cards without a blank after the sign of equality get one, see `card_with_indicator`.

    Parameters
    ----------
    text : str
        ASCII, 80 characters a card.

    Returns
    -------
    RawHeader
    """
    find, end = _recent_cards.get, _end_of(text)
    heads_and_texts = [
        find(card := text[i : i + CARD_BYTES]) or _parse_card(card)
        for i in range(0, end, CARD_BYTES)
    ]
    if _CONTINUE in text and _CONTINUATION in heads_and_texts:
        heads_and_texts = _join_cards(text, heads_and_texts)
    heads = tuple([head for head, _ in heads_and_texts])
    texts = [text for _, text in heads_and_texts]
    return _header_of(heads, texts)


def _header_of(heads, texts):
    """Return the header of cards by the keyword and the text of each."""
    order = _keyword_orders.get(heads)
    if order is None:
        if len(_keyword_orders) >= _MOST_ORDERS:
            _keyword_orders.clear()
        order = _keyword_orders[heads] = KeywordOrder(heads)
    header = RawHeader.__new__(RawHeader)
    header.texts, header.order = texts, order
    return header


def parse_usual_header(data):
    """Return the header of the bytes of cards, most of which came before; None for an odd header.

    A header is odd if it has a CONTINUE card, no card END padded with blanks, no other card, or too
    many (`_MOST_USUAL_CARDS`).

    Parameters
    ----------
    data : bytes
        80 of them a card, with the card END and its padding.

    Returns
    -------
    RawHeader or None
    """
    count = len(data) // CARD_BYTES
    if count * CARD_BYTES != len(data) or count > _MOST_USUAL_CARDS:
        return None
    last = _last_headers.get(count)
    header = None if last is None else _header_like(last, data)
    if header is not None:
        return header
    cards = _card_splitter(count)(data)
    try:
        end = cards.index(_END_BYTES)
    except ValueError:
        return None
    find = _recent_bytes.get
    heads_and_texts = [find(card) or _learn_bytes(card) for card in cards[:end]]
    if not heads_and_texts:
        return None
    heads, texts = zip(*heads_and_texts, strict=True)
    if None in heads:
        return None
    header = _header_of(heads, list(texts))
    blanks = data[end * CARD_BYTES :]
    _last_headers[count] = _LastHeader(
        cards[:end], _card_splitter(end), blanks, heads, texts, header.order
    )
    return header


class _LastHeader(NamedTuple):
    """The header that the next one is compared with: frames of a night differ in a dozen cards.

    Attributes
    ----------
    cards : tuple of bytes
        The cards before END.
    split : callable
        Takes the bytes of a header, and returns as many cards.
    end : bytes
        The card END and the blanks after it.
    heads : tuple of (str, str)
        As for `KeywordOrder`.
    texts : tuple of str
    order : KeywordOrder
    """

    cards: tuple[bytes, ...]
    split: Callable[[bytes], tuple[bytes, ...]]
    end: bytes
    heads: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]
    order: KeywordOrder


def _header_like(last, data):
    """Return the header of bytes with the same keywords as the last header, None for others."""
    last_cards, split, end, heads, texts, order = last
    if not data.endswith(end):
        return None
    cards = split(data)
    texts, find = list(texts), _recent_bytes.get
    for position in compress(range(len(cards)), map(ne, cards, last_cards)):
        card = cards[position]
        head, text = find(card) or _learn_bytes(card)
        if head != heads[position]:
            return None
        texts[position] = text
    header = RawHeader.__new__(RawHeader)
    header.texts, header.order = texts, order
    return header


# `count` is the number of cards of whole blocks, or of the cards before END. Up to
# `_MOST_USUAL_CARDS` there are 20 numbers of the first sort and hundreds of the second: 256 entries
# bound the memory.
@lru_cache(maxsize=256)
def _card_splitter(count):
    """Return a function that gives the first cards in the bytes of a header, by their number."""
    return Struct(f"{CARD_BYTES}s" * count).unpack_from


def _learn_bytes(card):
    """Return (head, text) of a card's bytes, and remember it; the head is None for an odd card."""
    head_and_text = _older_bytes.get(card)
    if head_and_text is None:
        text = readable_cards(card)
        head = _usual_heads.get(text[:10])
        if head is not None:
            # The entry that `_parse_text` would make, for nearly all cards that differ between
            # frames.
            head_and_text = head, text
        else:
            head_and_text = (None, text) if text == _END_CARD else _parse_text(text)
            head_and_text = (None, text) if head_and_text is _CONTINUATION else head_and_text
    if len(_recent_bytes) < _MOST_TEXTS:
        _recent_bytes[card] = head_and_text
    else:
        _remember_card(_recent_bytes, _older_bytes, card, head_and_text)
    return head_and_text


def readable_cards(data):
    """Return the bytes of cards as text; bytes that FITS does not allow are question marks.

    Zeros, tabs and ends of lines after a card become the blanks that should stand there.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    str
    """
    text = str(data, "latin-1")
    if text.isascii() and text.isprintable():
        return text
    if any(byte in data for byte in ENDINGS):
        cards = (
            bytes(data[start : start + CARD_BYTES]) for start in range(0, len(data), CARD_BYTES)
        )
        data = b"".join(card.rstrip(ENDINGS + b" ").ljust(len(card)) for card in cards)
    return data.translate(_ALLOWED_CHARACTERS).decode("ascii")


def _end_of(text):
    """Return where the card END begins, or the length of a text without one."""
    position = text.find(_END_CARD)
    while position > 0 and position % CARD_BYTES:
        position = text.find(_END_CARD, position + 1)
    return len(text) if position < 0 else position


def _parse_card(card):
    """Return (head, text) of a card that is not among the recent ones, and remember it."""
    head_and_text = _older_cards.get(card) or _parse_text(card)
    _remember_card(_recent_cards, _older_cards, card, head_and_text)
    return head_and_text


def _parse_text(card):
    """Return (head, text) of a card."""
    head = _usual_heads.get(card[:10])
    if head is not None and len(card) == CARD_BYTES:
        return head, card
    text = card_with_indicator(card)
    if text.startswith(_CONTINUE):
        return _CONTINUATION
    head_and_text = _head_of(text)
    if card[8:10] == "= " and _PLAIN_CARD.match(card[:8]) and len(_usual_heads) < _MOST_TEXTS:
        _usual_heads[card[:10]] = _heads.get(card[:8].rstrip())
    return head_and_text


def _remember_card(cards, older_cards, card, head_and_text):
    """Remember a card; if there are too many, the older ones are forgotten.

    Parameters
    ----------
    cards, older_cards : dict of (str or bytes) to tuple
        The recent cards, and those that were there when `cards` was emptied last; changed in place.
    card : str or bytes
    head_and_text : tuple of (tuple or None, str)
        As `_parse_text` returns it.
    """
    if len(cards) >= _MOST_TEXTS:
        older_cards.clear()
        older_cards.update(cards)
        cards.clear()
    cards[card] = head_and_text


def _head_of(text):
    """Return (head, text) of a card by its text."""
    plain = text[8:10] == "= " and _PLAIN_CARD.match(text[:8])
    if plain and len(text) == CARD_BYTES:
        return _heads.setdefault(plain[1], (plain[1], plain[1])), text
    card = Card.fromstring(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = (card.keyword, Card.normalize_keyword(card.keyword))
    return head, card._image


def _join_cards(text, heads_and_texts):
    """Return (head, text) of each card, joined with the CONTINUE cards after it."""
    groups = []
    starts = range(0, len(text), CARD_BYTES)
    for start, head_and_text in zip(starts, heads_and_texts, strict=False):
        card = card_with_indicator(text[start : start + CARD_BYTES])
        if head_and_text is _CONTINUATION and groups:
            groups[-1].append(card)
        else:
            groups.append([card])
    return [_head_of("".join(group)) for group in groups]


@lru_cache(maxsize=_MOST_TEXTS)
def _value_of(text):
    """Return the value of a card by its text; None for an undefined one."""
    value = Card.fromstring(text).value
    return None if isinstance(value, Undefined) else value


def _parse_by_astropy(texts):
    """Return a header whose cards are astropy's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RawHeader._fromcards(map(Card.fromstring, texts))


def card_with_indicator(card):
    """Return a card with a blank after its sign of equality, if it lacks one.

    ``IMAGETYP='bias'`` and ``GAIN=2`` are no cards of FITS, and astropy takes the whole for the
    keyword or for a comment. The card keeps its length; a card without room stays unchanged.

    Parameters
    ----------
    card : str

    Returns
    -------
    str
    """
    if card[8:10] != "= " and "=" in card[:10]:
        match = _NO_INDICATOR.fullmatch(card)
        if match and len(match[2].rstrip()) <= CARD_BYTES - 10:
            return f"{match[1]:<8}= {match[2].rstrip():<70}"
    return card


def indexed_names(header):
    """Return the names in a header's index, as a mapping that callers must not change.

    Parameters
    ----------
    header : astropy.io.fits.Header

    Returns
    -------
    collections.abc.Mapping
    """
    return header.order.positions if has_card_texts(header) else header._keyword_indices


def keywords_of(header):
    """Return the keywords of all cards of a header in their order, as a tuple of str."""
    return header.order.keywords if has_card_texts(header) else tuple(header)


def commentary(header, keyword):
    """Return the texts of the cards HISTORY or COMMENT, in their order.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str

    Returns
    -------
    list of str
    """
    if has_card_texts(header):
        return [text[8:].rstrip() for text in header.cards_of(keyword)]
    return [str(text) for text in header[keyword]] if keyword in header else []


def has_card_texts(header):
    """Return whether a header still has the texts of its cards, and no cards of astropy."""
    return type(header) is RawHeader and header.texts is not None
