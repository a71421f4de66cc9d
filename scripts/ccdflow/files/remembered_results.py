"""Results of functions of headers that are remembered by the cards that the functions read."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter

from ccdflow.files.raw_headers import has_card_texts

# At most this many results are kept for one set of cards: one for each set of texts in the cards.
_MOST_RESULTS = 1 << 11
# Results are kept for at most this many pairs of a function and an order of keywords: headers with
# the same keywords have one order.
_MOST_TABLES = 1 << 8
# A function may read this many sets of cards in headers of one order of keywords: in those of a
# bias it reads fewer cards than in those of a science frame. More sets are joined into one. With a
# larger number each look-up tries more sets; with a smaller one the joined set has cards that a
# result does not depend on, and the function is called more often. Chosen, not measured.
_MOST_SETS = 8


class Remembered:
    """The results of functions of headers, by the texts of the cards that they read.

    Frames of a night differ in few cards, of which most functions read none. The cards that a
    function reads are noted while it works. For headers with the same keywords, and the same texts
    in those cards, the function has the same result. An exception is not remembered.

    Threads may share an object of this class: at worst two of them compute the same result.
    """

    def __init__(self):
        # By name and keyword orders: {positions of cards: (picker of their texts, {texts:
        # result})}.
        self._tables = {}

    def __call__(self, name, function, headers):
        """Return ``function(headers)``.

        Parameters
        ----------
        name : hashable
            Name of the function, together with all else that its result depends on.
        function : callable
            Called with the headers. Nobody may change its result.
        headers : list of astropy.io.fits.Header
            One for each HDU.
        """
        if len(headers) == 1:
            (header,) = headers
            if not has_card_texts(header):
                return function(headers)
            key, texts = (name, header.order), header.texts
        elif all(map(has_card_texts, headers)):
            key = (name, *[header.order for header in headers])
            texts = list(chain.from_iterable(header.texts for header in headers))
        else:
            return function(headers)
        table = self._tables.get(key)
        for pick, results_by_texts in table.values() if table else ():
            entry = results_by_texts.get(pick(texts))
            if entry is not None:
                return entry[0]
        result, positions_read = _result_and_positions(function, headers)
        self._keep(key, positions_read, texts, result)
        return result

    def _keep(self, key, positions, texts, result):
        """Keep a result under the texts of the cards that the function read.

        Parameters
        ----------
        key : hashable
        positions : frozenset of int
            The positions of the cards that were read, counted through all headers.
        texts : sequence of str
            Texts of all cards.
        result : object
            Result of the function.
        """
        table = self._tables.get(key, {})
        if positions not in table:
            if len(table) >= _MOST_SETS:
                # A result that depends on few cards may be kept under a larger set of cards.
                positions, table = positions.union(*table), {}
            if len(self._tables) >= _MOST_TABLES and key not in self._tables:
                self._tables.clear()
            pick = itemgetter(*sorted(positions)) if positions else _no_texts
            # A new table, because another thread may be going through the old one.
            table = self._tables[key] = {**table, positions: (pick, {})}
        pick, results_by_texts = table[positions]
        if len(results_by_texts) >= _MOST_RESULTS:
            results_by_texts.clear()
        results_by_texts[pick(texts)] = (result,)


def _no_texts(texts):
    """Return (): the texts of no card, for a function that reads none."""
    return ()


def _result_and_positions(function, headers):
    """Return the result of a function, and the positions of the cards that it read.

    Positions are counted through all headers.
    """
    lengths = [len(header.texts) for header in headers]
    for header in headers:
        header.positions_read = set()
    try:
        result = function(headers)
    finally:
        positions_of_headers = [header.positions_read for header in headers]
        for header in headers:
            header.positions_read = None
    positions_read, first = set(), 0
    for length, positions in zip(lengths, positions_of_headers, strict=True):
        positions_read.update(first + position for position in positions)
        first += length
    return result, frozenset(positions_read)


def compute_at_once(name, function, headers):
    """Return ``function(headers)``: for one frame alone, where a `Remembered` would only cost time.

    Parameters
    ----------
    name : hashable
        Not used.
    function : callable
        Called with the headers.
    headers : list of astropy.io.fits.Header
        One for each HDU.

    Returns
    -------
    object
        As the function returns it.
    """
    return function(headers)
