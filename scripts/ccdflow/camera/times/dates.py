"""Days, times of day and time zones as acquisition programs write them.

Each function parses a text, and returns the part that it did not understand as well. The module
`ccdflow.camera.times.nights` decides which card counts, and which night follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

FIRST_YEAR = 1976
"""The first year of CCD observations: an earlier date comes from a clock that was never set."""

LAST_YEAR = 2099
"""The last year that is read: a later one is a misread number."""

# Years of two digits up to this one belong to the twenty-first century, others to the twentieth.
_LAST_SHORT_YEAR = 59
# The first years of the centuries of years with two digits.
_LAST_CENTURY, _THIS_CENTURY = 1900, 2000
# Days of a leap year.
_LONGEST_YEAR_DAYS = 366
# Seconds of a day with a leap second: a larger number is not a time of day in seconds.
_LONGEST_DAY_SECONDS = 86401
# 24:00:00 as the digits hhmmss: a number of at least this is no time of day in such digits.
_MIDNIGHT_DIGITS = 240000

# Months by the first three letters of their English names, and a pattern of a month's name.
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"({'|'.join(_MONTHS)})[a-z]*\.?"
# Matches 2016-01-28, 2016-01-28T07:42:26.5: the form of nearly all cards, which is tried first. No
# other pattern reads more from a text in this form.
_USUAL_DAY = re.compile(r"((?:19|20)\d\d)-(\d\d)-(\d\d)([tT]\d\d:\d\d:\d\d(?:\.\d*)?)?", re.ASCII)
# Matches a time of day in the usual form: 07:42:26, T07:42:26.5.
_USUAL_CLOCK = re.compile(r"[tT]?(\d\d):(\d\d):(\d\d(?:\.\d*)?)", re.ASCII)
# Matches a date with separators, the year first: 2016-01-28, 2016/1/28, 2016: 1:28.
_YEAR_FIRST = re.compile(r"(?<!\d)((?:19|20)\d\d)([-/_.: ])\s?(\d\d?)\2\s?(\d\d?)(?!\d)")
# Matches a date of eight digits: 20160128.
_EIGHT_DIGITS = re.compile(r"(?<!\d)((?:19|20)\d\d)([01]\d)([0-3]\d)(?!\d)")
# Matches a year and the number of the day in it: 2016028, 2016-028.
_DAY_OF_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)-?([0-3]\d\d)(?!\d)")
# Matches a date with the year last; day or month may come first: 28/01/16, 28.1.2016.
_DAY_FIRST = re.compile(r"(?<!\d)(\d\d?)([-/.])(\d\d?)\2(\d{2,4})(?!\d)")
# Matches a day, the name of a month and a year: 28-Jan-2016, 28 January 16.
_NAMED_MONTH_DATE = re.compile(rf"(?<!\d)(\d\d?)[-_/. ]*{_MONTH}[-_/., ]*(\d{{2,4}})(?![\d:])")
# Matches the name of a month, a day and a year: Jan 28, 2016.
_NAMED_FIRST = re.compile(rf"{_MONTH}[-_/. ]*(\d\d?),?[-_ ]+((?:19|20)\d\d)(?!\d)")
# Matches a year, the name of a month and a day: 2016 Jan 28, 2016-Jan-28.
_NAMED_MIDDLE = re.compile(rf"(?<!\d)((?:19|20)\d\d)[-_/. ]*{_MONTH}[-_/. ]*(\d\d?)(?!\d)")
# Matches the form of C's asctime: Sat Jan 28 07:42:26 2000.
_ASCTIME = re.compile(rf"{_MONTH}\s+(\d\d?)\s+(\d\d?:\d\d:\d\d(?:\.\d*)?)\s+(.*?)((?:19|20)\d\d)$")
# The patterns of dates with an unambiguous year and month, in the order in which they are tried,
# each with the numbers of its groups for year, month and day.
_CLEAR_DATES = (
    (_YEAR_FIRST, (1, 3, 4)),
    (_EIGHT_DIGITS, (1, 2, 3)),
    (_NAMED_MIDDLE, (1, 2, 3)),
    (_NAMED_MONTH_DATE, (3, 2, 1)),
    (_NAMED_FIRST, (3, 1, 2)),
)
# The patterns of dates in names of folders, in the order in which they are tried, each with the
# numbers of its groups for year, month and day.
_FOLDER_DATES = (
    (_YEAR_FIRST, (1, 3, 4)),
    (_EIGHT_DIGITS, (1, 2, 3)),
    (_NAMED_MONTH_DATE, (3, 2, 1)),
    (_NAMED_MIDDLE, (1, 2, 3)),
)

# Matches a time of day with separators: 7:42, 07:42:26.5, 7h42m26s, 07 42 26.
_CLOCK = re.compile(
    r"\+?(\d{1,2})\s*(?:h|:|\s)\s*(\d{1,2})(?:\s*(?:m|:|\s|')\s*(\d{1,2}(?:[.,]\d*)?)\s*(?:s|'')?|\s*m)?",
    re.IGNORECASE,
)
# Matches a time of day with hyphens or points: 07-42-26, 07.42.26,5.
_DASHED_CLOCK = re.compile(r"(\d\d)([-.])(\d\d)\2(\d\d(?:[.,]\d*)?)(?!\d)")
# Matches a time of day without separators: 0742, 074226.5.
_DIGIT_CLOCK = re.compile(r"(\d\d)(\d\d)(\d\d(?:\.\d*)?)?(?!\d)")
# Matches the half of the day after a time of day: am, P.M.
_AM_PM = re.compile(r"\s*([ap])\.?m\.?(?![a-z])", re.IGNORECASE)
# Matches a time zone as hours and minutes from UT: UT+2, -08:00, GMT - 0330.
_ZONE_OFFSET = re.compile(
    r"\s*(?:ut|utc|gmt)?\s*([+-])\s*(\d{1,2})(?::?(\d\d))?(?!\d)", re.IGNORECASE
)
# Time zones by name, in hours east of Greenwich, without names that countries use for two zones.
_ZONE_HOURS = {
    "z": 0, "ut": 0, "utc": 0, "gmt": 0, "ut1": 0, "uttime": 0, "hst": -10, "akst": -9, "akdt": -8,
    "pst": -8, "pdt": -7, "mst": -7, "mdt": -6, "cdt": -5, "edt": -4, "clt": -4, "clst": -3,
    "brt": -3, "art": -3, "cet": 1, "cest": 2, "mez": 1, "mesz": 2, "eet": 2, "eest": 3, "sast": 2,
    "msk": 3, "jst": 9, "kst": 9, "awst": 8, "acst": 9.5, "acdt": 10.5, "aest": 10, "aedt": 11,
    "nzst": 12, "nzdt": 13,
}  # fmt: skip

SCALES = frozenset(["ut", "utc", "ut1", "gmt", "z", "zulu", "tai", "tt", "tdb", "tdt", "et", "gps"])
"""Time scales within two minutes of UT, which count as UT: the night is the same."""

MOST_HOURS = 14.5
"""Local time, with summer time, differs from UT by at most this many hours."""


@dataclass(frozen=True)
class Day:
    """A day read from a text.

    Attributes
    ----------
    day : datetime.date
    exchanged : datetime.date or None
        The date with day and month exchanged, where both orders are possible.
    remainder : str
        The text after the day, perhaps with a time of day and a zone.
    """

    day: date
    exchanged: date | None = None
    remainder: str = ""


@dataclass(frozen=True)
class Clock:
    """A time of day read from a text.

    Attributes
    ----------
    time : datetime.timedelta
        Time since midnight.
    zone : datetime.timedelta or None
        Time by which the zone is ahead of UT, where the text has a zone.
    remark : str
        A sentence on a zone that is not understood; else ''.
    """

    time: timedelta
    zone: timedelta | None = None
    remark: str = ""


def read_day(text, *, order=""):
    """Return the day in a text, or None.

    Parameters
    ----------
    text : str, float or None
        Such as 2016-01-16T04:17, 20160116, 16/01/98, 16/01/116 (years since 1900), 16-Jan-2016.
    order : str, optional
        'day' or 'month', the one that comes first by the card's comment. '' without such a comment:
        the day comes first, as in FITS before 1999.

    Returns
    -------
    Day or None
        None without a day, or for one that is not from `FIRST_YEAR` to `LAST_YEAR`.

    Examples
    --------
    >>> print(read_day("2016-01-16T04:17").day, read_day("16/01/98").day, read_day("unknown"))
    2016-01-16 1998-01-16 None
    """
    if type(text) is str and (match := _USUAL_DAY.fullmatch(text)):
        return _day_of_date(int(match[1]), int(match[2]), match[3], (match[4] or "").lower())
    text = " ".join(str(text or "").lower().split())
    match = _ASCTIME.search(text)
    if match:
        return _day_of_date(
            _full_year(match[5]), _month_number(match[1]), match[2], f"{match[3]} {match[4]}"
        )
    for pattern, groups in _CLEAR_DATES:
        match = pattern.search(text)
        if match:
            return _day_of_match(match, groups) or _day_of_exchanged_match(match, pattern)
    match = _DAY_FIRST.match(text)
    if match:
        return _day_of_numbers(match, text[match.end() :], order)
    match = _DAY_OF_YEAR.match(text)
    if match and 1 <= int(match[2]) <= _LONGEST_YEAR_DAYS:
        first = _day_of_date(int(match[1]), 1, 1, text[match.end() :])
        return first and Day(first.day + timedelta(days=int(match[2]) - 1), None, first.remainder)
    return None


def _day_of_match(match, groups):
    """Return the `Day` of the date that a pattern matched; None for a date that does not exist."""
    year, month, day = (match[group] for group in groups)
    return _day_of_date(_full_year(year), _month_number(month), day, match.string[match.end() :])


def _day_of_exchanged_match(match, pattern):
    """Return the `Day` of a date such as 2025/16/12 (SCORPIO), whose month follows the day.

    Parameters
    ----------
    match : re.Match
    pattern : re.Pattern
        The one that matched. None is returned for another one than `_YEAR_FIRST`.
    """
    return _day_of_match(match, (1, 4, 3)) if pattern is _YEAR_FIRST else None


def day_of_folder(name):
    """Return the day in a folder's name, a datetime.date; None without one.

    Names of folders contain other numbers as well: only dates with a year of four digits count, and
    no date as 28/01/2016, with day and month in digits before the year.

    Examples
    --------
    >>> print(day_of_folder("2016-01-15"), day_of_folder("n20160115"), day_of_folder("darks"))
    2016-01-15 2016-01-15 None
    """
    text = name.lower()
    for pattern, groups in _FOLDER_DATES:
        match = pattern.search(text)
        if match and len(match[groups[0]]) == 4:
            named_day = _day_of_match(match, groups)
            if named_day is not None:
                return named_day.day
    return None


def _day_of_numbers(match, remainder, order):
    """Return the `Day` of three numbers, the first or second of which is the month."""
    first, second, year = int(match[1]), int(match[3]), _full_year(match[4])
    if order == "month":
        first, second = second, first
    day = _day_of_date(year, second, first, remainder)
    exchanged = _day_of_date(year, first, second, remainder)
    if day is None or exchanged is None or order or day == exchanged:
        return day or exchanged
    return Day(day.day, exchanged.day, remainder)


def _day_of_date(year, month, day, remainder):
    """Return the `Day` of a year, a month and a day; None for a date that does not exist.

    Parameters
    ----------
    year, month : int
    day : int or str
    remainder : str
        The text after the date.
    """
    try:
        calendar_day = date(year, month, int(day))
    except (TypeError, ValueError):
        return None
    is_possible = FIRST_YEAR <= calendar_day.year <= LAST_YEAR
    return Day(calendar_day, None, remainder) if is_possible else None


def _month_number(text):
    """Return the number of a month, from 1, by its digits or the first letters of its name."""
    return int(text) if text.isdigit() else _MONTHS.index(text[:3]) + 1


def _full_year(digits):
    """Return the year of two to four digits: three count from 1900, as in old programs."""
    year = int(digits)
    if len(digits) == 4:
        return year
    if len(digits) == 3:
        return _LAST_CENTURY + year
    return (_LAST_CENTURY if year > _LAST_SHORT_YEAR else _THIS_CENTURY) + year


def read_clock(text, *, follows_date=False):
    """Return the time of day in a text, or None.

    Parameters
    ----------
    text : str, float or None
        Such as 04:17:28.5, 4h17m28s, 04 17 28, 041728, 4:17 PM, with Z, UT or an offset after it.
    follows_date : bool, optional
        Whether the text follows a date: ``T``, a blank, ``_`` or ``-`` may then come first.

    Returns
    -------
    Clock or None

    Examples
    --------
    >>> print(read_clock("04:17:28.5").time, read_clock("4:17 PM").time)
    4:17:28.500000 16:17:00
    """
    if type(text) is str and (match := _USUAL_CLOCK.fullmatch(text)):
        is_clock = follows_date or text[0] not in "tT"
        return _time_of_day(int(match[1]), int(match[2]), float(match[3]), "") if is_clock else None
    return _clock_of_text(str(text or "").strip(), follows_date=follows_date)


def _clock_of_text(text, *, follows_date):
    """Return the time of day in a text of any form, as `read_clock` does; None without one."""
    if follows_date:
        text = re.sub(r"^(?:[tT_:/]|-(?=\d\d?[:h]))\s*", "", text)
    match = _DASHED_CLOCK.match(text) or _CLOCK.match(text) or _DIGIT_CLOCK.match(text)
    if match is None or (match.re is _DIGIT_CLOCK and match[3] is None and not follows_date):
        return None
    hours, minutes, seconds = (part for part in match.groups() if part not in ("-", "."))
    seconds = float((seconds or "0").replace(",", "."))
    return _time_of_day(int(hours), int(minutes), seconds, text[match.end() :])


def _time_of_day(hours, minutes, seconds, remainder):
    """Return the time of day of three numbers and the text after them, or None.

    Parameters
    ----------
    hours, minutes : int
    seconds : float
    remainder : str
        The text after the numbers.
    """
    # A leap second is the 61st of its minute.
    if hours > 24 or minutes > 59 or seconds >= 61:
        return None
    if not remainder:
        return Clock(timedelta(hours=hours, minutes=minutes, seconds=seconds))
    am_pm = _AM_PM.match(remainder)
    if am_pm:
        if not 1 <= hours <= 12:
            return None
        hours, remainder = hours % 12 + 12 * (am_pm[1].lower() == "p"), remainder[am_pm.end() :]
    zone, is_understood = read_zone(remainder)
    remark = "" if is_understood else f"the time zone {remainder.strip()!r} is not understood"
    return Clock(timedelta(hours=hours, minutes=minutes, seconds=seconds), zone, remark)


def read_zone(text):
    """Return (offset of a time zone east of Greenwich, whether the text is understood).

    Parameters
    ----------
    text : str
        Such as -07:00, -0700, Z, UT, UTC+8, MST; '' for none.

    Returns
    -------
    zone : datetime.timedelta or None
    is_understood : bool

    Examples
    --------
    >>> print(*read_zone("+05:30"))
    5:30:00 True
    >>> print(*read_zone("noon"))
    None False
    """
    text = text.strip().strip("()[]").strip()
    if not text:
        return None, True
    match = _ZONE_OFFSET.fullmatch(text)
    if match:
        size = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        if size <= timedelta(hours=MOST_HOURS):
            return (-size if match[1] == "-" else size), True
        return None, False
    letters = re.sub(r"[^a-z0-9]", "", text.lower())
    if letters in _ZONE_HOURS:
        return timedelta(hours=_ZONE_HOURS[letters]), True
    return None, letters in SCALES


def clock_of_number(number, comment=""):
    """Return the time of day that a number is, or None.

    Parameters
    ----------
    number : float
        The unit is that of the comment. Without one, the number is in hours up to 24, else in
        seconds; a number larger than the seconds of a day has the digits hhmmss.
    comment : str, optional

    Returns
    -------
    Clock or None
    """
    words = comment.lower()
    if number < 0:
        return None
    if re.search(r"hhmmss", words):
        return read_clock(f"{int(number):06d}")
    if re.search(r"fraction|\[d\]", words):
        seconds = number * 86400
    elif re.search(r"\bsec|\[s\]|\bs of day", words):
        seconds = number
    elif re.search(r"\bmin(ute)?s?\b.*(day|midnight)|\[min\]", words):
        seconds = number * 60
    elif number <= 24 or re.search(r"\bhours?\b|\[hr?\]", words):
        seconds = number * 3600
    else:
        seconds = number
    if seconds <= _LONGEST_DAY_SECONDS:
        return Clock(timedelta(seconds=seconds))
    return read_clock(f"{int(number):06d}") if number < _MIDNIGHT_DIGITS else None


# A camera has up to ten cards of dates, each with one comment: 256 entries hold the comments of
# many cameras.
@lru_cache(maxsize=256)
def order_of(comment):
    """Return the first of 'day' and 'month' in a comment such as 'dd/mm/yy'; '' without them."""
    words = re.sub(r"[^a-z]", "", comment.lower())
    if re.search(r"dd?mm?y|days?months?y", words):
        return "day"
    return "month" if re.search(r"mm?dd?y|months?days?y", words) else ""
