"""Values as people and programs write them: decimal commas, units, Fortran's exponents.

A value that cannot be used (NaN, infinite, text where a number belongs) is None here. The reader of
a card distinguishes such a value from an absent card, see `ccdflow.files.card_search.Reading`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

# Words for an unknown value: a card that has one counts as absent.
_UNKNOWN_WORDS = frozenset([
    "unknown", "undefined", "undef", "n/a", "na", "none", "null", "nil", "-", "--", "---", "?",
    "??", "???", "_null_", "missing", "unavailable", "notavailable", "invalid", "not_set",
    "notset", "unset",
])  # fmt: skip
# Matches a number, perhaps with an exponent: 12, -1.5, .5E3, 1D-2.
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eEdDqQ]([+-]?\d+))?")
# Matches a fraction of whole numbers: 1/4.
_FRACTION = re.compile(r"(\d+)\s*/\s*(\d+)")
# Matches a number with a comma between thousands and a decimal point: 1,234.5.
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+")
# Matches a number with a point between thousands and a decimal comma: 1.234,5.
_THOUSANDS_COMMA = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+")
# Matches a number with or without a unit: 300 s, 1.2 [e-/ADU].
_NUMBER_AND_UNIT = re.compile(
    r"(.*?[\d.,])\s*[(\[]?\s*([a-zµ][a-zµ/. ()^-]*[0-9]*)?\]?", re.IGNORECASE
)

SECONDS_OF_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sek", "seg"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millisec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "usec", "microsec", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
"""Units of time, in lower case, in seconds."""

# The least and largest size of a duration other than 0, seconds: beyond them squares and quotients
# might overflow. No camera exposes for so short or so long.
_POSSIBLE_SECONDS = 1e-9, 1e9
# A gain or read noise below this and above 0, in electrons, counts as absent: quotients would
# overflow.
_LEAST_ELECTRONS = 1e-6

FACTORLESS_UNITS = dict.fromkeys([
    "e", "e-", "el", "electron", "electrons", "e/adu", "e-/adu", "electrons/adu", "electron/adu",
    "e/dn", "e-/dn", "e/count", "e-/count", "e/ct", "rms", "e-/px", "e-/pix", "e-/pixel", "e/pix",
    "e/pixel", "e rms", "e- rms", "el rms", "electron rms", "electrons rms", "rms e-",
], 1.0)  # fmt: skip
"""Units of gains and read noises that need no factor, in lower case."""

ADU_UNITS = dict.fromkeys([
    "adu", "adus", "dn", "dns", "count", "counts", "ct", "cts", "adu rms", "adus rms", "dn rms",
    "counts rms", "rms adu", "adu/px", "adu/pix", "adu/pixel", "adu/e", "adu/e-", "adu/electron",
    "adu/electrons", "dn/e", "dn/e-", "dn/electron", "count/e-", "counts/e-", "counts/electron",
], 1.0)  # fmt: skip
"""Units in adu of gains, read noises and saturations behind a number, in lower case."""

# Matches the unit of time in a comment: '[ms] exposure', 'exposure time in ms', 'integration (ms)'.
_UNIT_OF_COMMENT = re.compile(r"\[\s*([a-zµ]+)\s*\]|\(\s*([a-zµ]+)\s*\)|\bin ([a-zµ]+)\b", re.I)
# Matches a unit at the end of a comment: 'exposure time, milliseconds', 'Exposure - ms', 'msec'. A
# number before it is the resolution of a clock.
_UNIT_AT_END = re.compile(
    r"(?<![\d.])(?<!\d )\b"
    r"(ms|msecs?|millisec(?:onds?)?|us|µs|usec|microsec(?:onds?)?|minutes?)\W*$",
    re.IGNORECASE,
)
# Matches a comment on the precision of an exposure: its unit is not that of the exposure.
_PRECISION = re.compile(r"precis|accura|resol|round|nearest|error", re.IGNORECASE)


@dataclass(frozen=True)
class Broken:
    """The text of a card that does not follow FITS: neither in quotes nor a number.

    Attributes
    ----------
    text : str
        As it stands, without the comment.
    """

    text: str

    def __str__(self):
        return self.text

    def __repr__(self):
        return self.text


def says_unknown(value):
    """Return whether a value only says that nothing is known: blank, 'N/A', 'UNKNOWN'.

    Examples
    --------
    >>> says_unknown("N/A"), says_unknown("0")
    (True, False)
    """
    if value is None:
        return True
    if not isinstance(value, str | Broken):
        return False
    text = "".join(str(value).lower().split())
    return not text or text in _UNKNOWN_WORDS


def as_number(value, units=None):
    """Return a value as a finite float, or None where it is not one.

    Parameters
    ----------
    value : str, int, float, bool, Broken or None
        Text may have a decimal comma (``0,5``), Fortran's exponent (``5.0D-01``), separated
        thousands where they cannot be mistaken (``1.234,5``), and one of `units` at its end.
    units : dict of str to float, optional
        The value of each unit, by its name in lower case.

    Returns
    -------
    float or None

    Examples
    --------
    >>> as_number("1.5e3"), as_number("none")
    (1500.0, None)
    """
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        try:
            return _finite_or_none(float(value))
        except OverflowError:
            return None
    if not isinstance(value, str | Broken):
        return None
    text = " ".join(str(value).split())
    number = _bare_number(text)
    return _number_with_unit(text, units) if number is None and units else number


def _number_with_unit(text, units):
    """Return the number of a text with a unit, times the value of the unit; None for other text."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] is None:
        return None
    factor = units.get(" ".join(match[2].lower().split()).strip("() ."))
    number = _bare_number(match[1])
    return None if factor is None or number is None else _finite_or_none(number * factor)


def number_or_none(value):
    """Return a value of a row or record as a finite float, None where it is not a number.

    Parameters
    ----------
    value : object
        Text counts as no number, unlike in `as_number`.

    Returns
    -------
    float or None
        -0 becomes 0: the two are equal, but their texts and hashes differ.
    """
    return float(value) + 0.0 if isinstance(value, int | float) and math.isfinite(value) else None


def number_or_nan(value):
    """Return a value of a row or record as a float, NaN where it is not a number.

    Parameters
    ----------
    value : object
        As for `number_or_none`.

    Returns
    -------
    float
    """
    number = number_or_none(value)
    return math.nan if number is None else number


def is_doubtful(value):
    """Return whether a number might be read with a decimal comma or with separated thousands.

    Examples
    --------
    >>> is_doubtful("1,500"), is_doubtful("12,5")
    (True, False)
    """
    if not isinstance(value, str | Broken):
        return False
    return re.match(r"[+-]?[1-9]\d{0,2},\d{3}(?!\d|[eEdD])", str(value).strip()) is not None


def as_seconds(value, comment=""):
    """Return a duration in seconds; None for a value that is not a duration.

    A size below a nanosecond other than 0, or above 30 years, is none. A duration may be negative.

    Parameters
    ----------
    value : str, int, float, bool, Broken or None
        As for `as_number`, and with units of time and fractions (``1/500``) as cameras show them.
    comment : str, optional
        The card's comment, which may name the unit: ``[ms]``, ``in ms``.

    Returns
    -------
    float or None

    Examples
    --------
    >>> as_seconds("2 min"), as_seconds(1500, "[ms] exposure")
    (120.0, 1.5)
    """
    if isinstance(value, str | Broken):
        text = str(value).strip()
        fraction = _FRACTION.match(text)
        if fraction and int(fraction[2]):
            text = f"{int(fraction[1]) / int(fraction[2])}{text[fraction.end() :]}"
        number = as_number(text)
        if number is None:
            return _possible_seconds(as_number(text, SECONDS_OF_UNITS))
    else:
        number = as_number(value)
    return None if number is None else _possible_seconds(number * _seconds_of_unit(comment))


def _possible_seconds(seconds):
    """Return a duration of a possible size, None for another."""
    low, high = _POSSIBLE_SECONDS
    is_possible = seconds is not None and (seconds == 0 or low <= abs(seconds) <= high)
    return seconds if is_possible else None


# A camera has one comment on its exposures: 256 entries are more than an archive has cameras.
@lru_cache(maxsize=256)
def _seconds_of_unit(comment):
    """Return the unit of time in a card's comment, in seconds; 1 where it gives none."""
    for match in _UNIT_OF_COMMENT.finditer(comment or ""):
        seconds = SECONDS_OF_UNITS.get(next(filter(None, match.groups())).lower())
        if seconds is not None:
            return seconds
    match = _UNIT_AT_END.search(comment or "")
    if match and not _PRECISION.search(comment):
        return SECONDS_OF_UNITS[match[1].lower()]
    return 1.0


MOST_SATURATION = 1e10
"""Limit of a saturation: above the largest 32-bit integer, adu, and far above any gain."""


MOST_ELECTRONS = 1e6
"""Limit of a gain, electrons per adu, and of a read noise, electrons: no detector has more."""


def as_electrons(value, *, most=MOST_ELECTRONS):
    """Return a gain, a read noise or a saturation as a number; None if no detector can have it.

    Parameters
    ----------
    value : str, int, float, bool, Broken or None
        As for `as_number`.
    most : float, optional
        The largest value that a detector may have: figures computed of more would overflow.

    Returns
    -------
    float or None

    Examples
    --------
    >>> as_electrons("1.1 e-/ADU"), as_electrons("unknown")
    (1.1, None)
    """
    number = as_number(value, FACTORLESS_UNITS)
    if number is None or not (number == 0 or _LEAST_ELECTRONS <= number <= most):
        return None
    return number


def _bare_number(text):
    """Return the number of a text without a unit, None for other text."""
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif _THOUSANDS_COMMA.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return _finite_or_none(float(f"{match[1]}e{match[2] or 0}"))


def _finite_or_none(number):
    """Return a number that is finite, None for another."""
    return number if math.isfinite(number) else None


def short_number(value):
    """Return a float rounded to six significant digits, as records and tables keep it.

    Examples
    --------
    >>> short_number(1138.8312345), short_number(3), short_number("A")
    (1138.83, 3, 'A')
    """
    return float(f"{value:.6g}") if isinstance(value, float) else value
