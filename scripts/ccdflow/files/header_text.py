"""A header as the texts of its cards: those of a file are kept, and new ones are added.

Building a header of `astropy.io.fits.Header` costs several milliseconds a frame, all of them with
the interpreter's lock held. The raw cards are text already and stay as they are; the text of a new
card comes from astropy, and that of cards which are alike in many frames is remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from astropy.io import fits

from ccdflow.files import checksum, fits_structure
from ccdflow.files.raw_headers import CARD_BYTES

# Letters of a card of commentary, after its keyword.
_COMMENTARY_WIDTH = 72
# Keyword, "= ", and the columns that a value of fixed format fills.
_FIXED_FORMAT_END = 30
# A string of more letters continues in CONTINUE cards.
_LONGEST_STRING = 68
# Characters that need no escape in a header, besides letters, digits and those of "-._~".
_PLAIN_CHARACTERS = " !\"#$&'()*+,/:;<=>?@[\\]^_`{|}~"
# Matches letters that astropy takes for the end of a string.
_STRING_ENDS = re.compile(r"'(?=[ /])|&$")
EXTENSION_NAMES = ("EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT")
"""Cards that name an extension."""

# Matches a keyword whose card is written here as astropy writes it, in a tenth of the time: astropy
# looks up its settings several times for each card.
_WRITTEN_KEYWORD = re.compile(r"[A-Z][A-Z0-9_-]{0,7}")
# Matches a text whose card is written here.
_PLAIN_TEXT = re.compile(r"[ -~]*[!-~]|")
# Matches a number whose card is written here.
_PLAIN_FLOAT = re.compile(r"-?\d+\.\d+")
# A number of fixed format has at most this many letters.
_WIDEST_NUMBER = 20
# Keywords of cards without a value.
_COMMENTARY = ("COMMENT", "HISTORY", "")
# Keywords of which astropy makes no card with a value, or more than one card.
_WITHOUT_VALUE = (*_COMMENTARY, "END", "CONTINUE", "HIERARCH")


class CardList:
    """The cards of a header in their order.

    Parameters
    ----------
    cards : iterable of (str, str), optional
        Keyword, without HIERARCH, and text: a multiple of 80 characters, of which more than one
        where CONTINUE cards follow.
    """

    def __init__(self, cards=()):
        self._cards = list(cards)

    @classmethod
    def parse(cls, text):
        """Return the cards of a header's text unchanged, whether valid FITS or not.

        Blank cards before END, which cameras leave free for further cards, are left out.
        """
        cards = []
        for start in range(0, len(text), CARD_BYTES):
            card = text[start : start + CARD_BYTES]
            keyword = card[:8].rstrip().upper()
            if card.startswith("END     "):
                break
            if keyword == "CONTINUE" and cards and not is_commentary(cards[-1][0]):
                cards[-1] = (cards[-1][0], cards[-1][1] + card)
                continue
            if keyword == "HIERARCH" and "=" in card:
                keyword = " ".join(card[8:].partition("=")[0].split()).upper()
            cards.append((keyword, card))
        while cards and not cards[-1][1].strip():
            cards.pop()
        return cls(cards)

    def __iter__(self):
        return iter(self._cards)

    def __len__(self):
        return len(self._cards)

    def __contains__(self, keyword):
        return any(name == keyword for name, _ in self._cards)

    def copy_without(self, test):
        """Return the cards whose keyword fails a test.

        Parameters
        ----------
        test : callable
            Called with a keyword.

        Returns
        -------
        CardList
        """
        return CardList(card for card in self._cards if not test(card[0]))

    def drop(self, keyword):
        """Take out all cards of a keyword."""
        self._cards = [card for card in self._cards if card[0] != keyword]

    def rename(self, old_keyword, new_keyword):
        """Give the cards of a keyword another keyword, of up to eight characters.

        Parameters
        ----------
        old_keyword, new_keyword : str
            Keywords; the new one has up to eight characters.
        """
        for index, (keyword, text) in enumerate(self._cards):
            if keyword == old_keyword:
                self._cards[index] = (new_keyword, f"{new_keyword:<8}{text[8:]}")

    def set(self, keyword, value, comment=""):
        """Write a card in the place of the cards of its keyword, or at the end.

        Parameters
        ----------
        keyword : str
        value : str, int, float or bool
            Text may hold printable ASCII characters, see `printable_text`.
        comment : str, optional
            Left out if the card has no room for a comment.
        """
        if isinstance(value, float):
            # -0.0 equals 0.0: the cache would return one for the other.
            value += 0.0
        new_card = (keyword, card_text(keyword, value, comment))
        indices = [index for index, card in enumerate(self._cards) if card[0] == keyword]
        if not indices:
            self._cards.append(new_card)
            return
        self._cards[indices[0]] = new_card
        for index in reversed(indices[1:]):
            del self._cards[index]

    def add_comment(self, text):
        """Append a text as COMMENT cards."""
        self._add_commentary("COMMENT", text)

    def add_history(self, text):
        """Append a text as HISTORY cards."""
        self._add_commentary("HISTORY", text)

    def _add_commentary(self, keyword, text):
        """Append a text as cards that have no value: as many as it needs."""
        for start in range(0, len(text), _COMMENTARY_WIDTH):
            part = text[start : start + _COMMENTARY_WIDTH]
            self._cards.append((keyword, f"{keyword:<8}{part:<{_COMMENTARY_WIDTH}}"))

    def extend(self, cards):
        """Append cards; a keyword that is there already is then in the header twice."""
        self._cards += cards

    def to_bytes(self, word_sum, *, comments=("HDU checksum", "data unit checksum")):
        """Return the header as padded bytes, with CHECKSUM and DATASUM cards that fit.

        Parameters
        ----------
        word_sum : int
            The sum of the data unit's words, see `ccdflow.files.checksum.sum_words`.
        comments : (str, str), optional
            Comments of the two cards.

        Returns
        -------
        bytes
        """
        cards = [text for keyword, text in self._cards if keyword not in ("CHECKSUM", "DATASUM")]
        if "LONGSTRN" not in self and any(
            text[CARD_BYTES : CARD_BYTES + 8] == "CONTINUE" for text in cards
        ):
            cards.append(card_text("LONGSTRN", "OGIP 1.0", "the long string convention is used"))
        cards += [
            card_text("CHECKSUM", "0" * 16, comments[0]),
            card_text("DATASUM", str(word_sum), comments[1]),
            f"{'END':<{CARD_BYTES}}",
        ]
        text = "".join(cards).encode("ascii")
        text += b" " * (-len(text) % fits_structure.FITS_BLOCK_BYTES)
        total = checksum.fits_sum_of(checksum.sum_words(text), word_sum)
        return text.replace(
            b"CHECKSUM= '" + b"0" * 16, b"CHECKSUM= '" + checksum.encode_checksum(total).encode()
        )


# A product has up to some hundreds of cards of ccdflow, most of which are the same in the next
# product: with fewer entries nearly all would be made anew.
@lru_cache(maxsize=1 << 10, typed=True)
def card_text(keyword, value, comment=""):
    """Return the text of a card.

    Parameters
    ----------
    keyword : str
    value : str, int, float or bool
    comment : str, optional
        A comment that is too long is written without its unit in brackets, or left out. It is never
        cut.

    Returns
    -------
    str
        80 characters, or a multiple of it for a text that continues in CONTINUE cards.
    """
    plain_value = _plain_value(keyword, value)
    if isinstance(value, str):
        value_width = len(value.replace("'", "''")) + 12
        if value_width - 12 > _LONGEST_STRING:
            # astropy may cut a doubled quote between two CONTINUE cards.
            return _long_text(keyword, value) if "'" in value else str(fits.Card(keyword, value))
    elif plain_value:
        value_width = 0
    else:
        value_width = len(str(fits.Card(keyword, value)).rstrip()) if comment else 0
    room = CARD_BYTES - max(_FIXED_FORMAT_END, value_width) - len(" / ")
    shown_comment = next(
        (text for text in (comment, _comment_without_unit(comment)) if len(text) <= room), ""
    )
    if plain_value and _PLAIN_TEXT.fullmatch(shown_comment):
        end = f" / {shown_comment}" if shown_comment else ""
        return f"{keyword:<8}= {plain_value:{_WIDEST_NUMBER}}{end}".ljust(CARD_BYTES)
    return str(fits.Card(keyword, value, shown_comment or None))


def _plain_value(keyword, value):
    """Return a value as astropy writes it in a card; '' where astropy has to do so itself."""
    if not _WRITTEN_KEYWORD.fullmatch(keyword) or keyword in _WITHOUT_VALUE:
        return ""
    if isinstance(value, str):
        is_plain = bool(value and _PLAIN_TEXT.fullmatch(value))
        return "'{:8}'".format(value.replace("'", "''")) if is_plain else ""
    text = str(value) if type(value) in (int, float) else ""
    is_plain = type(value) is int or _PLAIN_FLOAT.fullmatch(text) is not None
    return f"{text:>{_WIDEST_NUMBER}}" if is_plain and 0 < len(text) <= _WIDEST_NUMBER else ""


def _comment_without_unit(comment):
    """Return a comment without the unit in brackets that it begins with."""
    return comment.partition("] ")[2] if comment.startswith("[") else comment


def _long_text(keyword, value):
    """Return a text with quotes as a card and its CONTINUE cards."""
    pieces = [""]
    for letter in value:
        letter = letter.replace("'", "''")
        if len(pieces[-1]) + len(letter) >= _LONGEST_STRING:
            pieces.append("")
        pieces[-1] += letter
    starts = [f"{keyword:<8}= ", *["CONTINUE  "] * (len(pieces) - 1)]
    ends = [*["&"] * (len(pieces) - 1), ""]
    return "".join(
        f"{start}'{piece}{end}'".ljust(CARD_BYTES)
        for start, piece, end in zip(starts, pieces, ends, strict=True)
    )


def is_commentary(keyword):
    """Return whether a keyword is COMMENT, HISTORY or blank: a header may have many such cards."""
    return keyword in _COMMENTARY


def printable_sentence(text):
    """Return a sentence as `printable_text` does, but with its percent signs as they are.

    Names of files in the sentence are printable texts already.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> printable_sentence("12 % more noise, at −80 °C")
    '12 % more noise, at %E2%88%9280 %C2%B0C'
    """
    return quote(text, safe=f"{_PLAIN_CHARACTERS}%")


def printable_text(text):
    """Return a text with percent signs and numbers in place of characters that FITS does not allow.

    Letters that astropy takes for the end of a string are escaped as well: a quote before a blank
    or a slash, and an ampersand at the end.
    """
    text = quote(text, safe=_PLAIN_CHARACTERS)
    return _STRING_ENDS.sub(lambda match: quote(match[0], safe=""), text)
