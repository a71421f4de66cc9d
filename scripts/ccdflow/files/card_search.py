"""The search for a value in several cards of several HDUs, some of which cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from ccdflow.files.cards import (
    CardSpec,
    Content,
    contents_of_cards,
    hdu_indices,
    known_content_at,
    unreadable_card,
)
from ccdflow.files.raw_headers import indexed_names, keywords_of
from ccdflow.files.values import says_unknown


@dataclass(frozen=True)
class Reading:
    """A value that was looked for in the headers, and the problems with its cards.

    Attributes
    ----------
    value : object
        As the reader of the card returns it; None if no card can be read.
    content : Content or None
        The card with the value.
    problems : tuple of str
        A line for each card that came before it and cannot be read, except for cards that are not
        reported.
    """

    value: object = None
    content: Content | None = None
    problems: tuple[str, ...] = ()

    @property
    def keyword(self):
        """The keyword of the card with the value; '' if there is none."""
        return self.content.keyword if self.content else ""

    @property
    def comment(self):
        """The comment of the card with the value; '' if there is none."""
        return self.content.comment if self.content else ""


def first_readable(candidates, reader, *, problem, unreported_keywords=()):
    """Return the first value that can be read, and lines on the cards before it that cannot.

    Parameters
    ----------
    candidates : iterable of ccdflow.files.cards.Content
        In the order in which they are tried.
    reader : callable
        Called with a `Content`; returns its value, or None where it cannot be read.
    problem : str
        The problem of such a card, in plain words.
    unreported_keywords : container of str, optional
        Keywords that have another meaning in some cameras: they give no line.

    Returns
    -------
    Reading
    """
    problems = []
    for content in candidates:
        value = reader(content)
        if value is not None:
            return Reading(value, content, tuple(dict.fromkeys(problems)))
        if content.keyword not in unreported_keywords:
            problems.append(unreadable_card(content, problem))
    return Reading(None, None, tuple(dict.fromkeys(problems)))


class CardPositions:
    """The positions of cards in headers: the same in all headers with the same keywords.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    specs : iterable of CardSpec
        All cards that will be asked for. The HDUs that they name are looked up at once.

    Attributes
    ----------
    positions_by_name : dict of hashable to list
        The positions that `find` has returned, by their name, and those of `positions_with_name`,
        by its two patterns.
    """

    def __init__(self, headers, specs):
        self._indexes = [indexed_names(header) for header in headers]
        self._keywords = [keywords_of(header) for header in headers]
        hdus = {spec.hdu for spec in specs if spec.hdu is not None}
        self._indices_by_hdu = {hdu: hdu_indices(headers, hdu) for hdu in hdus}
        self.positions_by_name = {}

    def find(self, name, specs, order):
        """Return the positions of cards, and remember them under a name.

        Parameters
        ----------
        name : hashable
        specs : iterable of CardSpec
            Tried in order.
        order : sequence of int
            HDUs to search for each of them.

        Returns
        -------
        list of (str, int, int or None, CardSpec)
            Keyword, HDU, and position among the cards of that header; None for cards that only
            astropy can look for.
        """
        positions = [position for spec in specs for position in self._positions(spec, order)]
        self.positions_by_name[name] = positions
        return positions

    def _positions(self, spec, order):
        """Yield the positions of one card, as `find` returns them."""
        for index in dict.fromkeys(self._indices_by_hdu.get(spec.hdu, order)):
            positions = (None,)
            if spec.name:
                positions = self._indexes[index].get(spec.name, ())
                positions = positions[::-1] if spec.occurrence == "last" else positions
            for position in positions:
                yield spec.keyword, index, position, spec

    def positions_with_name(self, order, pattern, excluded):
        """Return the positions of all cards whose keyword matches a pattern and not another one.

        Parameters
        ----------
        order : sequence of int
            HDUs to search, one after the other.
        pattern, excluded : re.Pattern
            Patterns of whole keywords.

        Returns
        -------
        list of (str, int, int or None, CardSpec)
            As `find` returns them.
        """
        name = (pattern, excluded)
        if name not in self.positions_by_name:
            specs = (
                CardSpec(keyword, hdu)
                for hdu in dict.fromkeys(order)
                for keyword in dict.fromkeys(self._keywords[hdu])
                if pattern.fullmatch(keyword) and not excluded.fullmatch(keyword)
            )
            self.positions_by_name[name] = [
                position for spec in specs for position in self._positions(spec, (spec.hdu,))
            ]
        return self.positions_by_name[name]


def contents_at(headers, positions):
    """Yield the contents of cards at some positions, without those of an unknown value.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    positions : iterable of (str, int, int or None, CardSpec)
        As `CardPositions` returns them, for headers of the same keywords.

    Yields
    ------
    ccdflow.files.cards.Content
    """
    for keyword, index, position, spec in positions:
        header = headers[index]
        if position is None:
            for content in contents_of_cards(header, keyword, spec.occurrence):
                if not says_unknown(content.value):
                    yield content
        elif (content := known_content_at(header, keyword, position)) is not None:
            yield content
