"""Results of functions of headers that are remembered by the cards that the functions read."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter

from ccdflow.files.rawheader import is_text

# Results kept for one sort of headers at most: one for each set of texts that the cards have.
_MOST_ANSWERS = 1 << 11
# Sorts of headers at most: headers with the same keywords are of one sort.
_MOST_TABLES = 1 << 8
# Sets of cards that a function reads in one sort of headers, at most: of a bias it reads fewer
# cards than of a science frame.
_MOST_SETS = 8


class Remembered:
    """The results of functions of headers, by the texts of the cards that they read.

    Frames of a night differ in few cards, of which most functions read none. The cards that a
    function reads are noted while it works: with the same keywords in all headers, and the same
    texts in those cards, it has the same result. An exception is not remembered.

    Threads may share one: at worst two of them compute the same result.
    """

    def __init__(self):
        # The results by the texts of the cards that were read: a table of these for each set of
        # cards, by name and keyword orders of the headers.
        self._tables = {}

    def __call__(self, name, function, headers):
        """Return ``function(headers)``.

        Parameters
        ----------
        name : hashable
            Name of the function, together with all else that its result depends on.
        function : callable
            Its result is never changed by anybody.
        headers : list of astropy.io.fits.Header
            One for each HDU.
        """
        if len(headers) == 1:
            (header,) = headers
            if not is_text(header):
                return function(headers)
            key, texts = (name, header.order), header.texts
        elif all(map(is_text, headers)):
            key = (name, *[header.order for header in headers])
            texts = list(chain.from_iterable(header.texts for header in headers))
        else:
            return function(headers)
        table = self._tables.get(key)
        for pick, answers in table.values() if table else ():
            answer = answers.get(pick(texts))
            if answer is not None:
                return answer[0]
        result, positions_read = _result_and_places(function, headers)
        self._keep(key, positions_read, texts, result)
        return result

    def _keep(self, key, positions, texts, result):
        """Keep a result under the texts of the cards that were seen.

        Parameters
        ----------
        key : hashable
        positions : frozenset of int
            The places of the cards that were seen.
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
        pick, answers = table[positions]
        if len(answers) >= _MOST_ANSWERS:
            answers.clear()
        answers[pick(texts)] = (result,)


def _no_texts(texts):
    """Return no texts, for a function that reads no card."""
    return ()


def _result_and_places(function, headers):
    """Return the result of a function, and the positions of the cards that it read.

    Places are counted through all headers.
    """
    lengths = [len(header.texts) for header in headers]
    for header in headers:
        header.seen = set()
    try:
        result = function(headers)
    finally:
        positions_of_headers = [header.seen for header in headers]
        for header in headers:
            header.seen = None
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
    headers : list of astropy.io.fits.Header
        One for each HDU.

    Returns
    -------
    object
        As the function returns it.
    """
    return function(headers)
