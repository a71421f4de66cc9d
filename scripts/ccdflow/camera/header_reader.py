"""Values of a frame's headers by their meaning, and warnings on cards that cannot be read."""

from __future__ import annotations

from itertools import chain

from ccdflow.camera.gains import (
    GAIN_FIGURE,
    READ_NOISE_FIGURE,
    SATURATION_FIGURE,
    figure_of_content,
    is_gain_setting,
)
from ccdflow.camera.image_hdus import required_image_hdus
from ccdflow.camera.profile_lines import type_rule_text
from ccdflow.files.card_search import CardPositions, Reading, contents_at, first_readable
from ccdflow.files.cards import (
    CardSpec,
    as_text,
    contents_of_cards,
    known_content_at,
    specs_in_headers,
    unreadable_card,
)
from ccdflow.files.values import (
    MOST_SATURATION,
    as_seconds,
    is_doubtful,
    says_unknown,
)

IMAGE_FACTS = (
    "gain", "read_noise", "saturation", "biassec", "trimsec", "datasec", "ccdsec",
)  # fmt: skip
"""Facts on the pixels: the image's own header comes before the primary one."""

AMBIGUOUS_CARDS = frozenset(("FRAME", "EXP", "TIME", "ST", "OFFSET", "UT1", "TZ", "JD", "FLAVOR"))
"""Cards with other uses on other cameras: no warning if their value cannot be read."""

LONGEST_BIAS_SECONDS = 1.0
"""A bias with a longer exposure gets a warning. Slow shutters and clocks write some 0.1 s."""

# The reading of a fact without cards.
_EMPTY_READING = Reading()
_NOT_ELECTRONS = "not a number from 0 to 1e6"
_EXPOSURE_REMEDY = (
    "allowed: 0 s up to below 2^31 s; it counts as unknown until the card is corrected"
)
_GAIN_REMEDY = (
    "allowed: electrons per adu, above 0; correct the card, or write gain into the camera's profile"
)


class FactPositions(CardPositions):
    """The positions of the cards of facts, and the HDUs that hold an image.

    Parameters
    ----------
    headers, cards, file
        As for `HeaderReader`.

    Attributes
    ----------
    images : tuple of int
    """

    def __init__(self, headers, cards, *, file):
        self.images = required_image_hdus(headers, file=file)
        super().__init__(headers, chain.from_iterable(cards.values()))


def _seconds_of(content):
    """Return the exposure that a card has, in seconds; None for none."""
    value = as_seconds(content.value, content.comment)
    return value if value is not None and value >= 0 else None


class HeaderReader:
    """Reads the values of one frame and gathers its warnings.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    cards : dict of str to tuple of CardSpec
        The cards that are tried in order, by the fact they give (`ccdflow.camera.facts.KEYWORDS`).
    file : str
        Named in errors.
    positions : FactPositions, optional
        Positions of the facts in these headers and cards, where they are known.

    Attributes
    ----------
    warnings : list of str
        Warnings: cards that cannot be read, and values that were guessed.
    images : tuple of int
        The HDUs that hold an image.
    """

    def __init__(self, headers, cards, *, file, positions=None):
        self.headers, self.cards, self.file = headers, cards, file
        self._positions = (
            FactPositions(headers, cards, file=file) if positions is None else positions
        )
        self.images = self._positions.images
        self.warnings = []
        self._readings, self._results = {}, {}

    def hdu_order(self, name):
        """Return the HDUs in which a fact is looked for, in this order."""
        image = self.images[0]
        return (image, 0) if name in IMAGE_FACTS else (0, image)

    def warn(self, text):
        """Add a warning, once."""
        if text and text not in self.warnings:
            self.warnings.append(text)

    def warn_all(self, texts):
        """Add warnings, each once.

        Parameters
        ----------
        texts : iterable of str
        """
        for text in texts:
            self.warn(text)

    def read(self, name, reader, problem, *, keywords=None, remedy=""):
        """Return the first readable value of a fact's cards, a `Reading`; warn of unreadable ones.

        Parameters
        ----------
        name : str
            One of the names in `ccdflow.camera.facts.KEYWORDS`.
        reader : callable
            Called with a `Content`; returns None for a value that cannot be used.
        problem : str
            The words of the warning on such a value.
        keywords : iterable of str, optional
            The cards, where `ccdflow.camera.facts.KEYWORDS` does not have them.
        remedy : str, optional
            The values allowed and the remedy, for the warning if no card can be read.

        Returns
        -------
        ccdflow.files.card_search.Reading
        """
        if name not in self._readings:
            positions = self.positions_of(name, keywords)
            if not positions:
                return self._readings.setdefault(name, _EMPTY_READING)
            contents_in_order = contents_at(self.headers, positions)
            reading = first_readable(
                contents_in_order, reader, problem=problem, unreported_keywords=AMBIGUOUS_CARDS
            )
            for text in reading.problems:
                ending = f"; {remedy}" if remedy else ""
                self.warn(text + (f": {reading.keyword} is used" if reading.keyword else ending))
            self._readings[name] = reading
        return self._readings[name]

    def result_of(self, name, make):
        """Return the result of a function, which is called once for this frame.

        Parameters
        ----------
        name : hashable
        make : callable
            Called with this reader. Callers do not change the result; its warnings are added once.

        Returns
        -------
        object
        """
        if name not in self._results:
            self._results[name] = make(self)
        return self._results[name]

    def contents_of(self, name, *, keywords=None):
        """Return the contents of a fact's cards that are not blank, in the order that counts.

        Parameters
        ----------
        name, keywords
            As for `read`.

        Returns
        -------
        iterator of ccdflow.files.cards.Content
        """
        return contents_at(self.headers, self.positions_of(name, keywords))

    def positions_of(self, name, keywords=None):
        """Return the positions of the cards of a fact, as `CardPositions.find` does.

        Parameters
        ----------
        name, keywords
            As for `read`.

        Returns
        -------
        list of (str, int, int or None, CardSpec)
        """
        positions = self._positions.positions_by_name.get(name)
        if positions is None:
            specs = self.cards[name] if keywords is None else tuple(map(CardSpec, keywords))
            positions = self._positions.find(name, specs, self.hdu_order(name))
        return positions

    def all_values(self, name, reader, problem):
        """Return [(value, content)] of a fact's readable cards, in order; warn of the others.

        Parameters
        ----------
        name : str
            A fact of `ccdflow.camera.facts.KEYWORDS`.
        reader : callable
            Takes the content of a card, and returns its value or None.
        problem : str or None
            The words of the warning on a card that cannot be read; None for no warning.

        Returns
        -------
        list of (object, ccdflow.files.cards.Content)
        """
        readable, problems = [], []
        positions = self.positions_of(name)
        for content in contents_at(self.headers, positions) if positions else ():
            value = reader(content)
            if value is not None:
                readable.append((value, content))
            elif problem is not None and content.keyword not in AMBIGUOUS_CARDS:
                problems.append(unreadable_card(content, problem))
        for text in problems:
            self.warn(f"{text}: {readable[0][1].keyword} is used" if readable else text)
        return readable

    def text(self, name):
        """Return a value as text; '' where no card has it."""
        content = self._first_content(name)
        if content is None:
            return ""
        if (text := as_text(content)) is not None:
            return text
        return self.read(name, as_text, "the text is not in quotes").value or ""

    def _first_content(self, name):
        """Return the content of the first card of a fact that is not blank; None without one."""
        headers, positions = self.headers, self.positions_of(name)
        for keyword, hdu, position, _ in positions:
            if position is None:
                # The position of this card is not known: astropy looks for its keyword.
                return next(contents_at(headers, positions), None)
            content = known_content_at(headers[hdu], keyword, position)
            if content is not None:
                return content
        return None

    def seconds(self):
        """Return the exposure in seconds, or None."""
        content = self._first_content("exptime")
        if content is None:
            return None
        value = _seconds_of(content) if type(content.value) in (int, float) else None
        return self._seconds_of_doubtful_cards() if value is None else value

    def _exposure(self):
        """Return the `Reading` of the exposure."""
        problem = "not an exposure in seconds"
        return self.read("exptime", _seconds_of, problem, remedy=_EXPOSURE_REMEDY)

    def _seconds_of_doubtful_cards(self):
        """Return the exposure as `seconds` does, with warnings on cards that are not numbers."""
        reading = self._exposure()
        if reading.content is not None and is_doubtful(reading.content.value):
            comma_in_words = f"the comma of {reading.content.value!r}"
            self.warn(f"{reading.keyword}: {comma_in_words} is read as a decimal one")
        return reading.value

    def warn_of_no_exposure(self, words):
        """Warn of a frame with light, called by these words, whose exposure is 0 s."""
        keyword = self._exposure().keyword
        ending = (
            "; it counts as unknown until the card is corrected"
            if words == "a science frame"
            else ": correct the card, or the type by `types:` in the camera's profile"
        )
        self.warn(f"{keyword}: no exposure of {words} (found 0); allowed: above 0 s{ending}")

    def warn_of_long_bias(self, imagetyp):
        """Warn of a bias with an exposure: it may be a dark, or its card that of another frame.

        Parameters
        ----------
        imagetyp : str
            The image type as written; '' where no card has it.
        """
        seconds = self.seconds()
        if seconds is None or seconds <= LONGEST_BIAS_SECONDS:
            return
        rule = type_rule_text("dark", imagetyp=[imagetyp], exptime=[("min", LONGEST_BIAS_SECONDS)])
        self.warn(
            f"{self._exposure().keyword}: {seconds:g} s is no exposure of a bias (found"
            f" {seconds:g}); allowed: up to {LONGEST_BIAS_SECONDS:g} s; it counts as a bias; if it"
            f" is a dark, write into the camera's profile: types: [{rule}]; if it is none, the same"
            " with type: bias"
        )

    def read_noise(self, gain):
        """Return the read noise in electrons, or None; the gain, or None, is for one in adu."""
        return self.read(
            "read_noise",
            lambda content: figure_of_content(content, READ_NOISE_FIGURE, gain=gain),
            _NOT_ELECTRONS if gain else f"{_NOT_ELECTRONS}, or in adu without a gain",
        ).value

    def saturation(self, gain):
        """Return the saturation in adu, or None; the gain, or None, is for one in electrons."""
        problem = "not a number from 0 to 1e10"
        return self.read(
            "saturation",
            lambda content: figure_of_content(
                content, SATURATION_FIGURE, gain=gain, largest=MOST_SATURATION
            ),
            problem if gain else f"{problem}, or in electrons without a gain",
        ).value

    def cards_with_name(self, pattern, excluded):
        """Return the contents of all cards whose keyword matches a pattern, the primary's first.

        Parameters
        ----------
        pattern, excluded : re.Pattern
            Patterns of whole keywords: of those that are wanted, and of the exceptions.

        Returns
        -------
        list of ccdflow.files.cards.Content
        """
        order = (0, self.images[0])
        return list(
            contents_at(self.headers, self._positions.positions_with_name(order, pattern, excluded))
        )

    def gain(self):
        """Return the gain in electrons per adu, or None; warn of a card that is a setting."""
        header = self.headers[self.images[0]]
        reading = self.read(
            "gain", lambda c: figure_of_content(c, GAIN_FIGURE), _NOT_ELECTRONS, remedy=_GAIN_REMEDY
        )
        self._warn_of_other_gains()
        if reading.value is None or not is_gain_setting(reading.content, header):
            if reading.value == 0:
                self.warn(
                    f"{reading.keyword}: no gain (found {reading.content.value}); {_GAIN_REMEDY}"
                )
            # A gain of 0 counts as unknown.
            return reading.value or None
        self.warn(
            f"{reading.keyword}: a setting of the readout, not electrons per adu (found"
            f" {reading.content.value}); {_GAIN_REMEDY}"
        )
        return None

    def _warn_of_other_gains(self):
        """Warn of gains of further amplifiers that cannot be read: each has its own image."""
        for hdu in self.images[1:]:
            for spec in specs_in_headers(self.headers, self.cards["gain"]):
                for content in contents_of_cards(self.headers[hdu], spec.keyword, spec.occurrence):
                    if says_unknown(content.value) or is_gain_setting(content, self.headers[hdu]):
                        continue
                    if not figure_of_content(content, GAIN_FIGURE):
                        text = unreadable_card(content, _NOT_ELECTRONS)
                        self.warn(f"image {self.images.index(hdu) + 1}: {text}; {_GAIN_REMEDY}")
