"""The start of an exposure whose date card has the local time, as cards in UT show."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from ccdflow.camera.times import longitudes
from ccdflow.camera.times.agreement import TOLERANCE
from ccdflow.camera.times.date_cards import (
    DAY,
    HALF_DAY,
    MJD_START,
    card_time_reader,
    jd,
    keywords_in_ut,
    mjd,
    time_system,
    times_of_day,
)
from ccdflow.camera.times.dates import MOST_HOURS
from ccdflow.camera.times.nights import (
    LEAST_ZONE_HOURS,
    read_sidereal_time,
    stated_longitude,
    universal_time_of,
)
from ccdflow.files.values import as_number

# Hours by which a time zone differs from longitude / 15 at most: 2.2 in the west of China, and in
# summers of Spain.
_MOST_HOURS_OFF = 2.75
# Zones are multiples of this: an observatory has none of quarters of an hour.
_ZONE_STEP = timedelta(minutes=30)


class _UniversalTime(NamedTuple):
    """A time in UT of a card.

    Attributes
    ----------
    keyword : str
    text : str
        The card's value.
    time : datetime.datetime
        A time of day alone is on the date of the moment, a date alone at midnight.
    has_date, has_clock : bool
        Whether the card has a date, and a time of day.
    """

    keyword: str
    text: str
    time: datetime
    has_date: bool = True
    has_clock: bool = True

    @property
    def is_complete(self):
        """Whether the card has a date and a time of day."""
        return self.has_date and self.has_clock


def moment_in_ut(reader, moment, exptime, longitude):
    """Return the moment in UT if its date card turns out to have the local time.

    It does if no card in UT agrees with it, if all differ from it by one time zone, and if the
    site's longitude, where it is known, has this zone. Of a date card that is in UT by its comment
    the sidereal time decides. The warning names both cards. Any other moment stays as it is:
    `ccdflow.camera.times.agreement.warn_of_unlike_dates` warns of the contradiction.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets the warning.
    moment : ccdflow.camera.times.nights.Moment
    exptime : float or None
        Seconds.
    longitude : float or None
        Degrees east, by the camera's profile; None for the header's own.

    Returns
    -------
    ccdflow.camera.times.nights.Moment
    """
    if moment.time is None or not moment.is_exact or moment.is_local:
        return moment
    east = stated_longitude(reader) if longitude is None else longitude
    tolerance = TOLERANCE + timedelta(seconds=min(exptime or 0.0, DAY.total_seconds()))
    universal_times = _universal_times(reader, moment)
    if len(moment.cards) > 1 and moment.cards[1] in keywords_in_ut(reader, "time"):
        # Times of day alone agree with that of the moment, or are contradictions.
        dates = [each for each in universal_times if each.has_date]
        if not dates and east is not None:
            return _moment_of_local_pair(reader, moment, east, tolerance)
        zones = [_whole_days_of(moment, each, east, tolerance) for each in dates]
        universal_time, zone = _best_time(dates, zones, tolerance)
        return _moved_moment(reader, moment, universal_time, zone, east, is_clock_in_ut=True)
    zones = [_zone_of(moment, each, east, tolerance) for each in universal_times]
    universal_time, zone = _best_time(universal_times, zones, tolerance)
    return _moved_moment(reader, moment, universal_time, zone, east, is_clock_in_ut=False)


def _moved_moment(reader, moment, universal_time, zone, east, *, is_clock_in_ut):
    """Return the moment at a time in UT, with a warning, unless its date card is in UT.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    moment : ccdflow.camera.times.nights.Moment
    universal_time : _UniversalTime or None
        None for a moment that stays.
    zone : datetime.timedelta or None
        The moment minus the time in UT.
    east : float or None
        Degrees.
    is_clock_in_ut : bool
        Whether the date alone is local.
    """
    if universal_time is None:
        return moment
    time = universal_time.time if universal_time.is_complete else moment.time - zone
    is_date_in_ut = moment.cards[0] in keywords_in_ut(reader, "date")
    if is_date_in_ut and not _has_sidereal_time(reader, east, time):
        return moment
    _warn_of_local_date(reader, moment, universal_time, is_clock_in_ut=is_clock_in_ut)
    cards = (*moment.cards, *universal_time.keyword.split(", "))
    if is_clock_in_ut:
        return moment._replace(time=time, cards=cards)
    if not universal_time.has_clock:
        # The zone is not known: the night follows from the local time.
        return moment._replace(is_local=True, cards=cards)
    return moment._replace(time=time, cards=cards, local_time=moment.time)


def _moment_of_local_pair(reader, moment, east, tolerance):
    """Return the moment of a date and a time of day in UT, if the date is that of a local time.

    Of DATE-OBS, TIME-OBS and UT, the first two belong together by their names: if TIME-OBS is local
    time, so is the date, unless the sidereal time agrees with the date in UT.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets the warning.
    moment : ccdflow.camera.times.nights.Moment
        Its first card is a date, its second one a time of day in UT.
    east : float
        Degrees.
    tolerance : datetime.timedelta
    """
    date_card = moment.cards[0]
    partner = date_card.replace("DATE", "TIME")
    if partner in keywords_in_ut(reader, "time") or date_card in keywords_in_ut(reader, "date"):
        return moment
    midnight = datetime(moment.time.year, moment.time.month, moment.time.day)
    for card_time in times_of_day(reader, time_system(reader), reads_other_names=False):
        if card_time.keyword != partner or card_time.day is not None or card_time.zone is not None:
            continue
        local_time = midnight + card_time.clock
        time = universal_time_of(local_time, moment.time - midnight)
        if not _is_zone(local_time - time, east, tolerance) or (
            time != moment.time and _has_sidereal_time(reader, east, moment.time)
        ):
            return moment
        reader.warn(
            f"{date_card}, {partner}: the local date and time, by {moment.cards[1]} (found"
            f" {local_time.isoformat()} and {moment.time:%H:%M:%S} in UT); to end this line,"
            f" write into the camera's profile: keywords: {{time: {moment.cards[1]}}}, if"
            f" {date_card} is in UT"
        )
        return moment._replace(time=time, cards=(*moment.cards, partner), local_time=local_time)
    return moment


def _best_time(universal_times, zones, tolerance):
    """Return the most complete time in UT, with its zone, if all are of one zone; else two None.

    Parameters
    ----------
    universal_times : list of _UniversalTime
    zones : list of datetime.timedelta or None
        The zone that each implies.
    tolerance : datetime.timedelta
        Zones that differ by no more are one.
    """
    if not zones or None in zones or max(zones) - min(zones) > tolerance:
        return None, None
    pairs = zip(universal_times, zones, strict=True)
    return max(pairs, key=lambda pair: (pair[0].has_clock, pair[0].has_date))


def _warn_of_local_date(reader, moment, universal_time, *, is_clock_in_ut):
    """Warn that the date card has the local time, and name the card that is taken.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    moment : ccdflow.camera.times.nights.Moment
    universal_time : _UniversalTime
    is_clock_in_ut : bool
        Whether the date alone is local.
    """
    card, keyword = moment.cards[0], universal_time.keyword
    form = "date" if is_clock_in_ut else "time"
    text = moment.time.date().isoformat() if is_clock_in_ut else moment.iso
    remedy = f"keywords: {{date: {keyword.partition(',')[0]}}}"
    if not universal_time.has_date:
        remedy = f"keywords: {{time: {card}}}, if {card} is in UT"
    reader.warn(
        f"{card}: the local {form}, by {keyword}, which is taken (found {text} and"
        f" {universal_time.text}); to end this line, write into the camera's profile: {remedy}"
    )


def _universal_times(reader, moment):
    """Return the `_UniversalTime` of each card in UT, except for those of the moment.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    moment : ccdflow.camera.times.nights.Moment
    """
    dates_and_clocks = [*_dates_in_ut(reader, moment), *_clocks_in_ut(reader, moment)]
    return [*_joined_times(dates_and_clocks), *_julian_dates(reader, moment)]


def _dates_in_ut(reader, moment):
    """Yield the `_UniversalTime` of each date, as `_universal_times` does."""
    read_card_time = card_time_reader(time_system(reader))
    keywords = keywords_in_ut(reader, "date").difference(moment.cards)
    for content in reader.contents_of("date"):
        card_time = read_card_time(content) if content.keyword in keywords else None
        if card_time is not None and card_time.exchanged is None:
            time = card_time.moment_at(card_time.clock or timedelta())
            text = time.isoformat() if card_time.clock else card_time.day.isoformat()
            yield _UniversalTime(content.keyword, text, time, has_clock=bool(card_time.clock))


def _clocks_in_ut(reader, moment):
    """Yield the `_UniversalTime` of each time of day, as `_universal_times` does."""
    keywords = keywords_in_ut(reader, "time").difference(moment.cards)
    for card_time in times_of_day(reader, time_system(reader), reads_other_names=False):
        # 00:00:00 counts as a time of day that was not set.
        if card_time.keyword in keywords and card_time.clock:
            day = moment.time.date() if card_time.day is None else card_time.day
            clock = card_time.clock - (card_time.zone or timedelta())
            time = datetime(day.year, day.month, day.day) + clock
            text = time.isoformat() if card_time.day else f"{time:%H:%M:%S}"
            yield _UniversalTime(card_time.keyword, text, time, has_date=card_time.day is not None)


def _julian_dates(reader, moment):
    """Yield the `_UniversalTime` of each Julian Date with a time, as `_universal_times` does."""
    for name, read_days in (("mjd", mjd), ("jd", jd)):
        for content in reader.contents_of(name):
            days = None if content.keyword in moment.cards else read_days(content)
            if days is not None and as_number(content.value) % 1:
                time = MJD_START + timedelta(days=days)
                yield _UniversalTime(content.keyword, str(content.value), time)


def _joined_times(universal_times):
    """Return times in UT, of which a date alone is joined to each time of day alone."""
    dates = [each for each in universal_times if not each.has_clock]
    clocks = [each for each in universal_times if not each.has_date]
    if not dates or not clocks:
        return universal_times
    date = dates[0]
    joined = []
    for clock in clocks:
        start = datetime(clock.time.year, clock.time.month, clock.time.day)
        time = date.time + (clock.time - start)
        joined.append(_UniversalTime(f"{date.keyword}, {clock.keyword}", time.isoformat(), time))
    return joined + [each for each in universal_times if each.is_complete]


def _zone_of(moment, universal_time, east, tolerance):
    """Return the time zone of a moment that is in local time; None if it is in none.

    Parameters
    ----------
    moment : ccdflow.camera.times.nights.Moment
    universal_time : _UniversalTime
    east : float or None
        Degrees.
    tolerance : datetime.timedelta

    Returns
    -------
    datetime.timedelta or None
        Local time minus UT. For a date alone it is the longitude / 15, or None without a longitude.
    """
    time = universal_time.time
    if not universal_time.has_clock:
        return _zone_of_dates(moment, time.date(), east)
    if not universal_time.has_date:
        time = universal_time_of(moment.time, time - datetime(time.year, time.month, time.day))
    zone = moment.time - time
    return zone if _is_zone(zone, east, tolerance) else None


def _is_zone(zone, east, tolerance):
    """Return whether a place has a time zone, by its longitude if that is known.

    Parameters
    ----------
    zone : datetime.timedelta
        Local time minus UT.
    east : float or None
        Degrees.
    tolerance : datetime.timedelta
        The difference from a whole number of half hours that cards may have.
    """
    distance = abs((zone + _ZONE_STEP / 2) % _ZONE_STEP - _ZONE_STEP / 2)
    if not distance <= tolerance < abs(zone):
        return False
    hours = zone.total_seconds() / 3600
    if east is None:
        return LEAST_ZONE_HOURS < hours < LEAST_ZONE_HOURS + 24
    return abs(hours) <= MOST_HOURS and abs((hours - east / 15 + 12) % 24 - 12) <= _MOST_HOURS_OFF


def _zone_of_dates(moment, date, east):
    """Return the zone by the longitude if only a local moment is on a date in UT; else None."""
    if east is None or moment.time.date() == date:
        return None
    zone = timedelta(hours=east / 15)
    margin = timedelta(hours=_MOST_HOURS_OFF)
    is_on_date = date in (
        (moment.time - zone - margin).date(),
        (moment.time - zone + margin).date(),
    )
    return zone if is_on_date else None


def _whole_days_of(moment, universal_time, east, tolerance):
    """Return the day by which the date card is off a date in UT; None if it is not the local date.

    Parameters
    ----------
    moment : ccdflow.camera.times.nights.Moment
        Its time of day is in UT.
    universal_time : _UniversalTime
    east : float or None
        Degrees.
    tolerance : datetime.timedelta

    Returns
    -------
    datetime.timedelta or None
        The date of the moment minus the one in UT, a day or minus a day.
    """
    if not universal_time.has_date:
        return None
    if universal_time.has_clock:
        difference = moment.time - universal_time.time
    else:
        difference = timedelta(days=(moment.time.date() - universal_time.time.date()).days)
    days = DAY if difference > timedelta() else -DAY
    if abs(difference - days) > (tolerance if universal_time.has_clock else timedelta()):
        return None
    if east is not None:
        local_time = moment.time - days + timedelta(hours=east / 15)
        margin = timedelta(hours=_MOST_HOURS_OFF)
        # The local date, or that of the evening.
        local_times = (local_time - HALF_DAY, local_time - margin, local_time + margin)
        if moment.time.date() not in {each.date() for each in local_times}:
            return None
    return days


def _has_sidereal_time(reader, east, time):
    """Return whether the sidereal time of the header is that of its longitude at a time in UT."""
    sidereal = reader.read("sidereal", read_sidereal_time, "not a sidereal time")
    if not sidereal.value or east is None:
        return False
    implied = longitudes.longitude_of_sidereal_time(sidereal.value, time)
    return longitudes.longitude_with_sign_of(east, implied)[1]
