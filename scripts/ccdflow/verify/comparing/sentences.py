"""The check of ccdflow's lines in HISTORY: each is a known sentence, and agrees with the cards.

docs/products.md has the sentences; a test holds them against the code that writes them.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from ccdflow.verify.comparing.amplifiers import card
from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.reading.amplifier_places import place_of

# Pattern of a number in a sentence.
_NUMBER = r"(?:-?[\d.]+(?:e[+-]?\d+)?|nan|inf)"
# Characters of a HISTORY card.
_CARD_CHARACTERS = 72
_START_OF_SENTENCE = "ccdflow: "
# Matches the sentence on a member that was left out, for each possible reason.
_LEFT_OUT_SENTENCE = re.compile(
    "(?P<file>.*) was left out: (?:"
    + "|".join(
        (
            "its pixels are those of .*: combined once",
            "its amplifier .* is (?:saturated|dead) throughout",
            rf"its .+ is {_NUMBER} ?%?.*, (?:below|above) the limit of {_NUMBER}.*",
            r"its .+ cannot be measured \(the group has .*\): hardly a pixel of a part of it is"
            r" like the others",
            rf"its temperature is {_NUMBER} C, further than {_NUMBER} C from that of the group,"
            rf" {_NUMBER} C",
            rf"its exposure of {_NUMBER} s: flats of several exposures differ, as a shutter makes"
            rf" them; those of {_NUMBER} s are combined",
        )
    )
    + ")",
    re.DOTALL,
)
# Matches the sentence on pixels without a value; their number is compared with a card.
_EMPTY_PIXELS_SENTENCE = re.compile(r"(\d+) pixels have no value in any frame: they are NaN")
# Matches the sentence on a missing master; its kind is compared with the cards.
_WITHOUT_MASTER_SENTENCE = re.compile("combined without (?P<kind>bias|dark): there was none")
# Patterns of warnings by the kind of master. A group has the name of the card that must agree with
# its number.
_WARNINGS = {
    "bias": (
        rf"its frames differ from each other by {_NUMBER} adu \(rms\) in a part of the image, where"
        rf" the read noise is (?P<RNOISE>{_NUMBER}) adu: look at them",
        rf"its noise is (?P<CNOISE>{_NUMBER}) adu, {_NUMBER} % more than the (?P<CNOISPR>{_NUMBER})"
        " adu that the read noise predicts",
        "its level is so near 0 that the converter cuts off what is below: level and noise are not"
        " those of the detector",
        rf"(?P<NREJECT>{_NUMBER}) % of the values were rejected, where noise alone would have"
        rf" {_NUMBER} %"
        "(?:: most values of so quiet a camera agree, and the others count as outliers;"
        r" its level is that of the most frequent value \(`bias: \{clip: null\}` averages all\))?",
    ),
    "dark": (
        rf"the level of its frames (?:rose|fell) by {_NUMBER} from {_NUMBER} \S+: light that leaks"
        " in, or a detector that was not yet cold",
        # No card has this number: it compares two halves of the members with UNCERT.
        rf"its noise is {_NUMBER} times the predicted noise",
    ),
    "flat": (
        "no pixel has light in any frame, and nothing is calibrated there: look at the flats",
        rf"the flats show a gain of (?P<GAINMEAS>{_NUMBER}) \+- {_NUMBER} electrons per \S+,"
        rf" profile or header say (?P<AMPGAIN>{_NUMBER}): UNCERT is made with what the flats"
        " show; if you trust it, write `gain:` into the camera's profile",
        rf"the shape of .* differs by {_NUMBER} % from that of the other flats \(rms in 8 x 8"
        rf" boxes, slopes taken off\), more than {_NUMBER} %, and it is combined with them: another"
        " filter than its card says, or another light: look at it",
    ),
}
# Matches the sentence on an amplifier without signal.
_FLAGGED_AMPLIFIER = re.compile(
    "amplifier (?P<name>.*) is (?P<flag>saturated|dead) throughout", re.DOTALL
)
# Matches any sentence on one amplifier: its name, and the text after it.
_AMPLIFIER_SENTENCE = re.compile("amplifier (?P<name>.*?): (?P<text>.*)", re.DOTALL)
# Relative rounding of percentages of rejected values: they have two digits.
_SHARE_ROUNDING = 0.06
# Relative rounding of other numbers in sentences: they have three digits, the cards more.
_SENTENCE_ROUNDING = 6e-3


def sentences_in_header(header):
    """Return the sentences of ccdflow in HISTORY; the cards of a long sentence are joined."""
    sentences, last_line = [], None
    for line in header.get("HISTORY", ()):
        text = str(line)
        if text.startswith(_START_OF_SENTENCE):
            sentences.append(text.removeprefix(_START_OF_SENTENCE))
        elif sentences and last_line is not None and len(last_line) >= _CARD_CHARACTERS - 1:
            # Readers cut the blanks at the end of a card.
            sentences[-1] += " " * (_CARD_CHARACTERS - len(last_line)) + text
        last_line = text
    return sentences


def check_combined(header, first_header, kind, tails):
    """Raise unless each sentence of a combined frame is known, and agrees with its cards.

    Parameters
    ----------
    header, first_header : astropy.io.fits.Header
        Headers of an image, and of the first HDU.
    kind : {'bias', 'dark', 'flat'}
    tails : sequence of str
        Numbers of the image's amplifiers, '' for the only one.

    Raises
    ------
    Differs
        If a sentence is unknown, lost, or has another number than the card.
    """
    files_left_out, empty_counts = [], []
    for text in sentences_in_header(header):
        if match := _LEFT_OUT_SENTENCE.fullmatch(text):
            files_left_out.append(match["file"])
        elif match := _WITHOUT_MASTER_SENTENCE.fullmatch(text):
            if f"{match['kind'].upper()}IM" in first_header:
                raise Differs(f"HISTORY has {text!r}, and {match['kind'].upper()}IM names one")
        elif match := _EMPTY_PIXELS_SENTENCE.fullmatch(text):
            empty_counts.append(int(match[1]))
        elif match := _FLAGGED_AMPLIFIER.fullmatch(text):
            if match["flag"] not in [card(header, "AMPBAD", tail) for tail in tails]:
                raise Differs(f"HISTORY has {text!r}, and there is no such amplifier by AMPBAD")
        else:
            _check_warning(text, header, kind, tails)
    number = header.get("NEMPTY", 0)
    if empty_counts != ([number] if number else []):
        raise Differs(f"NEMPTY is {number}, and HISTORY has {empty_counts} pixels without a value")
    files_in_cards = [str(header[word]) for word in header if word.startswith("IMO")]
    if files_left_out != files_in_cards:
        raise Differs("IMOUT and the lines of HISTORY do not name the same frames as left out")


def _check_warning(text, header, kind, tails):
    """Raise unless a sentence is a warning on an image or on one of its amplifiers.

    Parameters
    ----------
    text : str
    header : astropy.io.fits.Header
    kind : str
        Kind of product.
    tails : list of str
        End of the keywords of each amplifier's cards.
    """
    sentence, tail = text, tails[0]
    if len(tails) > 1 and (match := _AMPLIFIER_SENTENCE.fullmatch(text)):
        names = [str(header.get(f"AMPNAM{tail}")).strip() for tail in tails]
        if match["name"].strip() not in names:
            raise Differs(f"HISTORY has {text!r}, and there is no such amplifier")
        sentence, tail = match["text"], tails[names.index(match["name"].strip())]
    sentence = sentence.partition(": ")[2] if sentence.startswith("amplifier ") else sentence
    for pattern in _WARNINGS[kind]:
        if match := re.fullmatch(pattern, sentence):
            for keyword, figure in match.groupdict().items():
                _check_number(text, header, keyword, tail, float(figure))
            return
    raise Differs(f"HISTORY has a sentence that ccdflow does not write: {text!r}")


def _check_number(text, header, keyword, tail, number):
    """Compare a number of a sentence with its card, in the unit of the card.

    The sentence on rejected values has a percentage of one amplifier. NREJECT is the number of all
    amplifiers, and may be larger.

    Parameters
    ----------
    text : str
        The sentence.
    header : astropy.io.fits.Header
    keyword, tail : str
        Beginning and end of the card's keyword; the end is that of an amplifier.
    number : float
        Number in the sentence.
    """
    if keyword == "NREJECT":
        y, x = place_of(header, tail)
        n_values = header.get("NCOMBINE", 0) * (y.stop - y.start) * (x.stop - x.start)
        if header[keyword] < (1 - _SHARE_ROUNDING) * number / 100 * n_values:
            raise Differs(f"HISTORY has {text!r}, and NREJECT is {header[keyword]}")
        return
    numbered_keywords = {"CNOISPR": "CNOISP", "GAINMEAS": "GAINME", "AMPGAIN": "GAIN"}
    value = header.get(f"{numbered_keywords.get(keyword, keyword)}{tail}" if tail else keyword)
    if isinstance(value, int | float) and abs(value - number) > _SENTENCE_ROUNDING * abs(value):
        raise Differs(f"HISTORY has {text!r}, and {keyword}{tail} is {value}")


def check_plain(header, pattern):
    """Raise unless each sentence of ccdflow in HISTORY matches a pattern.

    Parameters
    ----------
    header : astropy.io.fits.Header
    pattern : re.Pattern
        Matches whole sentences.

    Raises
    ------
    Differs
        If a sentence does not match.
    """
    for text in sentences_in_header(header):
        if not pattern.fullmatch(text):
            text = unquote(text)
            raise Differs(f"HISTORY has a sentence that ccdflow does not write: {text!r}")
