"""The header cards on the start of an exposure: days, times of day, Julian Dates."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache

from ccdflow.camera.times.dates import (
    SCALES,
    clock_of_number,
    order_of,
    read_clock,
    read_day,
    read_zone,
)
from ccdflow.files.cards import Content, as_text
from ccdflow.files.values import as_number

MJD_START = datetime(1858, 11, 17)
"""Midnight at which the modified Julian date is 0."""

MJD_ZERO = 2400000.5
"""The Julian Date at which the Modified Julian Date is 0, by definition."""

DAY, HALF_DAY = timedelta(days=1), timedelta(hours=12)
"""The length of a day, and of half a day. Two times of day are compared modulo a day. A date
without a time counts as noon. Local times minus half a day have one date in the whole night."""

# Modified Julian Dates from the year 1900 to 2100.
_MJD_RANGE = (15020, 88127)
# Matches keywords of the start of an exposure, for cards that no list has: EXPSTART, SHUTOPEN.
_BEGIN_NAME = re.compile(r".*(?:UT|EXP|OBS|SHUT|START|STRT|BEG|OPEN).*")
# Matches the exceptions: the end of an exposure, times of the file, sidereal and local times.
_OTHER_TIME_NAME = re.compile(
    r".*(?:END|CLOSE|STOP|CREAT|FILE|WRIT|PROC|REL|MODIF|ARCH|SOFT|VERS|READ|AVG|MID|MEAN|TIME$).*"
    r"|L?ST(?:START|BEG|OBS|STRT)?|SID.*|(?:LT|LOC|LCT|HST|JST|CST).*|OBSERV.*|.*(?:DUR|EXPT).*"
)
# Matches the keyword of a Modified Julian Date: MJD-OBS, TMJDBEG.
_MJD_NAME = re.compile(r".*MJD.*")


@dataclass(frozen=True)
class CardTime:
    """The content of one card: a day, a time of day, or both.

    Attributes
    ----------
    keyword : str
    day : datetime.date or None
    exchanged : datetime.date or None
        The day with the other order of day and month, where both orders are possible.
    clock : datetime.timedelta or None
        Time since midnight.
    zone : datetime.timedelta or None
        Time by which the card's zone is ahead of UT, where the card has a zone.
    is_local : bool
        Whether the time is local, in an unknown zone.
    remark : str
        A warning on a part of the text that is not understood; else ''.
    """

    keyword: str
    day: date | None = None
    exchanged: date | None = None
    clock: timedelta | None = None
    zone: timedelta | None = None
    is_local: bool = False
    remark: str = ""

    def moment_at(self, clock):
        """Return the moment of the day at a time of day, in UT where the zone is known."""
        start = datetime(self.day.year, self.day.month, self.day.day)
        return start + clock - (self.zone or timedelta())


def card_times_by_name(reader, system):
    """Return the days with a time of all cards with a keyword of the start, sorted by time.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    system : timedelta, str or None
        As `time_system` returns it.

    Returns
    -------
    list of CardTime
    """
    card_times = map(
        card_time_reader(system), reader.cards_with_name(_BEGIN_NAME, _OTHER_TIME_NAME)
    )
    return sorted(
        (
            card_time
            for card_time in card_times
            if card_time is not None and card_time.clock is not None
        ),
        key=lambda card_time: card_time.moment_at(card_time.clock),
    )


def time_system(reader):
    """Return the time scale of TIMESYS: 'local', a zone as a timedelta, or None for UT."""
    return reader.result_of("time_system", _time_system)


def _time_system(reader):
    """Read TIMESYS once for a frame; the result is that of `time_system`, None for UT."""
    reading = reader.read("time_system", as_text, "not a system of time")
    # The observatories of NOAO write 'UTC approximate': their clocks were set by hand.
    text = re.sub(r"\s*approx(?:imate(?:ly)?|\.)?$", "", (reading.value or "").lower())
    if not text or re.sub(r"[^a-z0-9]", "", text) in SCALES or text.startswith("utc("):
        return None
    if re.match(r"local|lt$|lct|civil", text):
        return "local"
    zone, is_understood = read_zone(text)
    if zone is None and not is_understood:
        reader.warn(f"{reading.keyword}: {reading.value!r} is not understood: taken for UT")
    return zone or None


def card_time_reader(system):
    """Return a function that reads a card with a day, and perhaps a time of day."""

    def reader(content):
        """Return the `CardTime` of a card; None for a card without a day."""
        if type(content.value) is str:
            return _card_time_of_text(content.keyword, content.value, content.comment, system)
        if isinstance(content.value, float):
            return _card_time_of_days(content)
        return None if isinstance(content.value, bool) else _card_time_of_card(content, system)

    return reader


def _card_time_of_days(content):
    """Return the `CardTime` of a Julian Date that a profile names as the date; else None."""
    days = mjd(content) if _MJD_NAME.fullmatch(content.keyword) else None
    if days is None and "JD" in content.keyword:
        days = jd(content)
    if days is None:
        return None
    time = MJD_START + timedelta(days=days)
    clock = time - datetime(time.year, time.month, time.day)
    return CardTime(content.keyword, time.date(), None, clock if days % 1 else None)


# A night has one or two dates. Texts with a time of day differ from frame to frame: 256 entries are
# a limit to the memory.
@lru_cache(maxsize=256)
def _card_time_of_text(keyword, text, comment, system):
    """Return the `CardTime` of a card of text, None without a day in it.

    Parameters
    ----------
    keyword, text, comment : str
        Keyword, text and comment of the card.
    system : timedelta, str or None
        As `time_system` returns it.
    """
    return _card_time_of_card(Content(keyword, text, comment), system)


def _card_time_of_card(content, system):
    """Return the `CardTime` of a card, None without a day in it."""
    day = read_day(content.value, order=order_of(content.comment))
    if day is None:
        return None
    clock = read_clock(day.remainder, follows_date=True) if day.remainder.strip() else None
    if clock is None:
        card_time = CardTime(content.keyword, day.day, day.exchanged)
    else:
        card_time = CardTime(
            content.keyword, day.day, day.exchanged, clock.time, clock.zone, remark=clock.remark
        )
    return _card_time_with_zone(card_time, content, system)


def _card_time_with_zone(card_time, content, system):
    """Return a card's time with the zone that its name, its comment and TIMESYS give."""
    if card_time.zone is not None:
        return card_time
    meaning = meaning_of(content.keyword, content.comment)
    if meaning == "universal":
        return card_time
    if system == "local" or meaning == "local":
        return replace(card_time, is_local=True)
    return replace(card_time, zone=system) if isinstance(system, timedelta) else card_time


# A camera has up to ten cards of dates and times, each with one comment: 256 entries hold the
# comments of many cameras.
@lru_cache(maxsize=256)
def meaning_of(keyword, comment):
    """Return the scale of a time by name and comment of its card.

    Parameters
    ----------
    keyword, comment : str

    Returns
    -------
    str
        'universal', 'local' or ''.
    """
    words = comment.lower()
    if re.search(r"UT|GMT|MJD", keyword) or re.search(r"\butc?\b|\bgmt\b|universal", words):
        return "universal"
    return "local" if re.search(r"\blocal\b|\blt\b|\bcivil\b", words) else ""


def keywords_in_ut(reader, name):
    """Return the keywords of a fact's cards that are in UT by their name or comment.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    name : str
        A fact of `ccdflow.camera.facts.KEYWORDS`.

    Returns
    -------
    set of str
    """
    return {
        content.keyword
        for content in reader.contents_of(name)
        if meaning_of(content.keyword, content.comment or "") == "universal"
    }


def times_of_day(reader, system, *, reads_other_names=True):
    """Return the times of the cards with a time of day: text, numbers, or a date with it.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    system : timedelta, str or None
        As `time_system` returns it.
    reads_other_names : bool, optional
        Whether cards that no list has are read if no card of the list exists.

    Returns
    -------
    list of CardTime
    """

    def clock_of(content):
        """Return the `CardTime` of a card with a time of day; None without one."""
        return _clock_of_card(content, system)

    def listed_clocks(reader):
        """Return the `CardTime` of each card of the list that can be read."""
        return [
            card_time for card_time, _ in reader.all_values("time", clock_of, "not a time of day")
        ]

    # All cards of a frame are read with one time system, so the result is kept.
    listed = reader.result_of("clocks", listed_clocks)
    if listed or not reads_other_names:
        return listed
    texts = (
        c for c in reader.cards_with_name(_BEGIN_NAME, _OTHER_TIME_NAME) if isinstance(c.value, str)
    )
    card_times = (clock_of(content) for content in texts if ":" in content.value)
    return [card_time for card_time in card_times if card_time is not None]


def _clock_of_card(content, system):
    """Return the `CardTime` of a card with a time of day, None without one."""
    value = content.value
    if isinstance(value, bool):
        return None
    day, clock = None, read_clock(value)
    if clock is None:
        day = read_day(value)
        clock = read_clock(day.remainder, follows_date=True) if day else None
    # '12:30:00' is a time of day, not a number.
    number = None if type(value) is str and ":" in value else as_number(value)
    if number is not None and not re.fullmatch(r"\d{6}(\.\d*)?", str(value)):
        day, clock = None, clock_of_number(number, content.comment)
    if clock is None:
        return None
    day_of_card = day.day if day else None
    card_time = CardTime(
        content.keyword, day_of_card, None, clock.time, clock.zone, remark=clock.remark
    )
    return _card_time_with_zone(card_time, content, system)


def days_of(reader):
    """Return the Modified Julian Date of MJD or JD cards, in days, and the card's keyword.

    Returns
    -------
    float or None
    str
    """
    return reader.result_of("days", _days_of)


def _days_of(reader):
    """Read the day cards once for a frame; the result is that of `days_of`."""
    reading = reader.read("mjd", mjd, "not a Modified Julian Date")
    days, keyword = reading.value, reading.keyword
    if days is None:
        contents = reader.cards_with_name(_MJD_NAME, _OTHER_TIME_NAME)
        pairs = [(mjd(content), content.keyword) for content in contents]
        days, keyword = min((pair for pair in pairs if pair[0] is not None), default=(None, ""))
    julian_date = reader.read("jd", jd, "not a Julian Date")
    if julian_date.value is None:
        return days, keyword
    # A whole number gives the date alone.
    is_more_exact = days is None or (julian_date.value % 1 and not days % 1)
    return (julian_date.value, julian_date.keyword) if is_more_exact else (days, keyword)


def mjd(content):
    """Return a card's Modified Julian Date, in days; None for a value that cannot be one."""
    return _possible_mjd(as_number(content.value))


def jd(content):
    """Return the Modified Julian Date of a card with a Julian Date; None if it cannot be one."""
    value = as_number(content.value)
    return None if value is None else _possible_mjd(value - MJD_ZERO)


def _possible_mjd(days):
    """Return a Modified Julian Date within `_MJD_RANGE`; None for another number and for None."""
    return days if days is not None and _MJD_RANGE[0] < days < _MJD_RANGE[1] else None
