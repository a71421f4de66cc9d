"""The start of an exposure by the usual forms of cards, in headers whose cards agree.

For all other headers the result is None: the modules `nights` and `agreement` read all forms, and
write the warnings, but take longer. A test compares the results of the two ways.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache

from ccdflow.camera.header_reader import AMBIGUOUS_CARDS
from ccdflow.camera.times.agreement import (
    AHEAD_SCALES,
    DAY_TOLERANCE,
    TOLERANCE,
    UNIVERSAL_TIME_CARD,
)
from ccdflow.camera.times.date_cards import (
    DAY,
    HALF_DAY,
    MJD_START,
    MJD_ZERO,
    meaning_of,
    time_system,
)
from ccdflow.camera.times.dates import FIRST_YEAR, LAST_YEAR
from ccdflow.camera.times.nights import Moment
from ccdflow.files.raw_headers import has_card_texts

# Patterns of the keyword of a card up to its value, of its comment, and of a time of day.
_KEYWORD = r"[A-Z0-9_-]{1,8} *= +"
_COMMENT = r" *(?:/ *([ -~]*))?"
_CLOCK_PATTERN = r"(\d\d):(\d\d):(\d\d(?:\.\d*)?)"
# Matches a card with a date, or with a date and a time: '2016-01-28T07:42:26.5'.
_DATED_CARD = re.compile(
    rf"{_KEYWORD}'((?:19|20)\d\d)-(\d\d)-(\d\d)(?:T{_CLOCK_PATTERN})? *'{_COMMENT}", re.ASCII
).fullmatch
# Matches a card with a time of day: '07:42:26.5'.
_CLOCK_CARD = re.compile(rf"{_KEYWORD}'{_CLOCK_PATTERN} *'{_COMMENT}", re.ASCII).fullmatch
# Matches a card with a number that has a decimal point, such as a Modified Julian Date: 57415.32.
_DAYS_CARD = re.compile(rf"{_KEYWORD}(\d+\.\d*){_COMMENT}", re.ASCII).fullmatch
# Matches a card with the number of a frame, which has too few digits for a date.
_COUNT_CARD = re.compile(rf"{_KEYWORD}\d{{1,6}}{_COMMENT}", re.ASCII).fullmatch
# Seconds. Times of cards may differ by the exposure, but by at most this: a day.
_LONGEST_EXPOSURE = 86400.0
# The facts that are numbers of days, with the number to subtract for a Modified Julian Date.
_DAY_NUMBERS = (("mjd", 0.0), ("jd", MJD_ZERO))
# Modified Julian Dates between these are of years from `FIRST_YEAR` to `LAST_YEAR`.
_FIRST_MJD, _END_OF_MJD = (
    (datetime(year, 1, 1) - MJD_START).days for year in (FIRST_YEAR, LAST_YEAR + 1)
)


class _Unusual(Exception):
    """A card has an unusual form, or a time that contradicts the other cards."""


def usual_moment(reader, exptime):
    """Return the start of an exposure; None where cards have unusual forms or do not agree.

    Where the result is not None, `nights.moment_of` has the same result, and
    `agreement.warn_of_unlike_dates` gives no warning.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets the warnings on TIMESYS, which are the first.
    exptime : float or None
        Seconds.

    Returns
    -------
    ccdflow.camera.times.nights.Moment or None
    """
    if reader.positions_of("time_system") and (
        time_system(reader) is not None or AHEAD_SCALES.search(reader.text("time_system"))
    ):
        return None
    try:
        dates, clocks = _dated_cards(reader), _cards_of_clocks(reader)
        if not dates:
            return None
        keyword, day, clock = dates[0]
        if clock:
            moment = Moment(day + clock, is_exact=True, cards=(keyword,))
        elif clock is None and clocks:
            other_keyword, clock = clocks[0]
            moment = Moment(day + clock, is_exact=True, cards=(keyword, other_keyword))
        else:
            return None
        tolerance = TOLERANCE + timedelta(seconds=min(exptime or 0.0, _LONGEST_EXPOSURE))
        _check_dates_and_clocks(dates, clocks, moment, tolerance)
        _check_numbers(reader, moment.time, tolerance)
    except _Unusual:
        return None
    return moment


def _matched_cards(reader, name, pattern):
    """Return [(keyword, match)] of the cards of a fact; the match is None for a frame's number."""
    matches = []
    for keyword, hdu, position, _ in reader.positions_of(name):
        header = reader.headers[hdu]
        if position is None or not has_card_texts(header):
            raise _Unusual
        text = header.text_at(position)
        match = pattern(text)
        if match is None and not (keyword in AMBIGUOUS_CARDS and _COUNT_CARD(text)):
            raise _Unusual
        matches.append((keyword, match))
    return matches


def _time_of(hours, minutes, seconds):
    """Return a time of day as a timedelta."""
    hours, minutes, seconds = int(hours), int(minutes), float(seconds)
    # A leap second is the 61st of its minute.
    if hours > 24 or minutes > 59 or seconds >= 61:
        raise _Unusual
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _dated_cards(reader):
    """Return (keyword, midnight, time of day or None) of each card with a day."""
    dates = []
    for keyword, match in _matched_cards(reader, "date", _DATED_CARD):
        if match is None:
            continue
        year, month, day, hours, minutes, seconds, comment = match.groups()
        if meaning_of(keyword, comment or "") == "local":
            raise _Unusual
        midnight = _begin_of_day(year, month, day)
        dates.append((keyword, midnight, hours and _time_of(hours, minutes, seconds)))
    return dates


# Cards of a night have two days: 64 entries hold the days of a month.
@lru_cache(maxsize=64)
def _begin_of_day(year, month, day):
    """Return midnight at the start of a day, by its digits."""
    try:
        midnight = datetime(int(year), int(month), int(day))
    except ValueError:
        # There is no such day: 30 February.
        raise _Unusual from None
    if not FIRST_YEAR <= midnight.year <= LAST_YEAR:
        raise _Unusual
    return midnight


def _cards_of_clocks(reader):
    """Return (keyword, time of day) of each card with a time of day alone."""
    clocks = []
    for keyword, match in _matched_cards(reader, "time", _CLOCK_CARD):
        if match is None or meaning_of(keyword, match[4] or "") == "local":
            raise _Unusual
        clocks.append((keyword, _time_of(match[1], match[2], match[3])))
    return clocks


def _check_dates_and_clocks(dates, clocks, moment, tolerance):
    """Raise `_Unusual` unless all other cards have the time of a moment, within a tolerance.

    Parameters
    ----------
    dates : list of (str, datetime.datetime, datetime.timedelta or None)
        As `_dated_cards` returns them; the first is that of the moment.
    clocks : list of (str, datetime.timedelta)
        As `_cards_of_clocks` returns them.
    moment : ccdflow.camera.times.nights.Moment
    tolerance : datetime.timedelta
    """
    moment_time = moment.time
    for keyword, day, clock in dates[1:]:
        if clock is None and day.date() != moment_time.date():
            # The two days may be those of local time and of UT.
            raise _Unusual
        # A day alone, or with midnight, may mean any time of the day.
        time = day + (clock or HALF_DAY)
        time_tolerance = tolerance if clock else tolerance + DAY_TOLERANCE
        if keyword not in moment.cards and abs(time - moment_time) > time_tolerance:
            raise _Unusual
    midnight = datetime(moment_time.year, moment_time.month, moment_time.day)
    for keyword, clock in clocks:
        if keyword in moment.cards or not UNIVERSAL_TIME_CARD.fullmatch(keyword):
            continue
        if abs((midnight + clock - moment_time + HALF_DAY) % DAY - HALF_DAY) > tolerance:
            raise _Unusual


def _check_numbers(reader, moment_time, tolerance):
    """Raise `_Unusual` unless all Julian dates are those of a moment, within a tolerance."""
    for name, zero in _DAY_NUMBERS:
        for _, match in _matched_cards(reader, name, _DAYS_CARD):
            value = 0.0 if match is None else float(match[1])
            # A number outside the range, or a whole number, gives no time.
            if not _FIRST_MJD < value - zero < _END_OF_MJD or not value % 1:
                raise _Unusual
            if abs(MJD_START + timedelta(days=value - zero) - moment_time) > tolerance:
                raise _Unusual
