"""The start of an exposure, and its night, by the header, the path and the profile."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

from ccdflow.camera.profile_lines import yaml_number
from ccdflow.camera.times import longitudes
from ccdflow.camera.times.date_cards import (
    HALF_DAY,
    MJD_START,
    CardTime,
    card_time_reader,
    card_times_by_name,
    days_of,
    keywords_in_ut,
    time_system,
    times_of_day,
)
from ccdflow.camera.times.dates import (
    MOST_HOURS,
    clock_of_number,
    day_of_folder,
    order_of,
    read_clock,
    read_day,
    read_zone,
)
from ccdflow.camera.times.day_order import stated_day
from ccdflow.files.values import Broken, as_number

# Cards of the latitude: 0 in one of them shows that the site was not set.
_LATITUDE_CARDS = ("LATITUDE", "SITELAT", "OBS-LAT", "LAT-OBS", "OBSLAT", "GEOLAT", "TELLAT")
# Geocentric coordinates of the site, m.
_PLACE_CARDS = ("OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z")
# A time zone of this number or more is in seconds: a quarter of an hour is 900 s. Zones have fewer
# than 15 hours, or 900 minutes.
_LEAST_ZONE_SECONDS = 900

LEAST_ZONE_HOURS = -10.25
"""Hours by which the clocks of an observatory are ahead of UT at least: those of Hawaii. The zones
of all others, to summer in New Zealand, are less than a day ahead of this."""


class Moment(NamedTuple):
    """The start of an exposure, as far as its header states it.

    Attributes
    ----------
    time : datetime.datetime or None
    is_exact : bool
        Whether the time of day is known.
    is_local : bool
        Whether `time` is the local time, in an unknown zone.
    cards : tuple of str
        The keywords of the cards with this time.
    local_time : datetime.datetime or None
        The local time, where the date card has it.
    """

    time: datetime | None = None
    is_exact: bool = False
    is_local: bool = False
    cards: tuple[str, ...] = ()
    local_time: datetime | None = None

    @property
    def iso(self):
        """ISO date and time, the date alone where the time is unknown; '' without a date."""
        if self.time is None:
            return ""
        if not self.is_exact:
            return self.time.date().isoformat()
        return self.time.isoformat(timespec="milliseconds" if self.time.microsecond else "seconds")


def moment_of(reader, longitude=None):
    """Return the start of an exposure.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets warnings on cards that cannot be read, and on guessed values.
    longitude : float, optional
        Degrees east, by the camera's profile; by default that of the header.

    Returns
    -------
    Moment
    """
    system = time_system(reader)
    card_times = [
        card_time
        for card_time, _ in reader.all_values("date", card_time_reader(system), "not a date")
    ]
    card_times = card_times or card_times_by_name(reader, system)
    universal = [card_time for card_time in card_times if not card_time.is_local]
    if not universal or _is_local_time_known_alone(reader, universal, card_times, system):
        local_times = [card_time for card_time in card_times if card_time.is_local]
        return _moment_without_ut(reader, local_times, system, longitude)
    card_time = _day_and_month(reader, universal[0], longitude)
    reader.warn(card_time.remark and f"{card_time.keyword}: {card_time.remark}: taken for UT")
    clock = card_time.clock
    if not clock:
        # A date at midnight to the second counts as one without a time of day, if another card has
        # a time of day.
        moment_of_clock = _moment_with_clock(reader, card_time, universal[1:], system)
        if moment_of_clock is not None:
            return moment_of_clock
    if clock is None:
        clocks = times_of_day(reader, system)
        if clocks and card_time.keyword not in keywords_in_ut(reader, "date"):
            # All times of day are local, and so is the date.
            return _local_moment(reader, card_time, system, longitude)
        day = datetime(card_time.day.year, card_time.day.month, card_time.day.day)
        return Moment(day, cards=(card_time.keyword,))
    return Moment(card_time.moment_at(clock), is_exact=True, cards=(card_time.keyword,))


def _is_local_time_known_alone(reader, universal_times, card_times, system):
    """Return whether a date has a time of day in local time, and no card has one in UT.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    universal_times, card_times : list of ccdflow.camera.times.date_cards.CardTime
        The dates in UT, and all dates.
    system : timedelta, str or None
        As `ccdflow.camera.times.date_cards.time_system` returns it.
    """
    keywords = keywords_in_ut(reader, "time")
    return (
        any(card_time.is_local and card_time.clock for card_time in card_times)
        and not any(card_time.clock for card_time in universal_times)
        and not any(clock.keyword in keywords for clock in times_of_day(reader, system))
    )


def _moment_without_ut(reader, local_times, system, longitude):
    """Return the moment by a Julian Date, or by dates in local time, if no date is in UT.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    local_times : list of ccdflow.camera.times.date_cards.CardTime
    system : timedelta, str or None
        As `ccdflow.camera.times.date_cards.time_system` returns it.
    longitude : float or None
        Degrees east, by the camera's profile.
    """
    days, keyword = days_of(reader)
    # A whole number of days has no time of day, which a local date may have.
    if days is not None and (days % 1 or not local_times):
        return _moment_of_days(days, keyword)
    if not local_times:
        return Moment()
    card_time = _day_and_month(reader, local_times[0], longitude)
    return _local_moment(reader, card_time, system, longitude)


def _moment_of_days(days, keyword):
    """Return the moment of a Modified Julian Date."""
    return Moment(MJD_START + timedelta(days=days), is_exact=bool(days % 1), cards=(keyword,))


def _day_and_month(reader, card_time, longitude):
    """Return a date with day and month in the order of other cards; warn without such a card.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    card_time : ccdflow.camera.times.date_cards.CardTime
    longitude : float or None
        Degrees east, by the camera's profile.
    """
    if card_time.exchanged is None:
        return card_time
    day = stated_day(reader, card_time) or _day_of_sidereal_time(reader, card_time, longitude)
    if day is not None:
        return replace(card_time, day=day, exchanged=None)
    reader.warn(
        f"{card_time.keyword}: day and month cannot be told apart: {card_time.day.isoformat()} is"
        f" meant, or {card_time.exchanged.isoformat()}; the first is taken, unless the frame's"
        " folder is named after its date, such as 2016-01-15, or the camera's profile names a card"
        " that tells: keywords: {date: CARD}"
    )
    return card_time


def _day_of_sidereal_time(reader, card_time, longitude):
    """Return the one of the two days of a date that the sidereal time agrees with, or None.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    card_time : ccdflow.camera.times.date_cards.CardTime
    longitude : float or None
        Degrees east, by the camera's profile.
    """
    east = stated_longitude(reader) if longitude is None else longitude
    sidereal = reader.read("sidereal", read_sidereal_time, "not a sidereal time").value
    card_times = () if card_time.is_local else times_of_day(reader, time_system(reader))
    clock = card_time.clock or next((each.clock for each in card_times if not each.is_local), None)
    if east is None or not sidereal or clock is None:
        return None
    agreeing_days = []
    for day in (card_time.day, card_time.exchanged):
        time = replace(card_time, day=day).moment_at(clock)
        implied = longitudes.longitude_of_sidereal_time(sidereal, time)
        if longitudes.longitude_with_sign_of(east, implied)[1]:
            agreeing_days.append(day)
    return agreeing_days[0] if len(agreeing_days) == 1 else None


def _moment_with_clock(reader, card_time, other_card_times, system):
    """Return the moment with the time of day of another card, or None where none has it.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    card_time : ccdflow.camera.times.date_cards.CardTime
        The day whose time of day is wanted.
    other_card_times : list of ccdflow.camera.times.date_cards.CardTime
        The further dates in UT.
    system : timedelta, str or None
        As `ccdflow.camera.times.date_cards.time_system` returns it.
    """
    for clock_card in times_of_day(reader, system):
        if not clock_card.is_local and (clock_card.clock or card_time.clock is None):
            return _moment_of_day_and_clock(reader, card_time, clock_card)
    for other_card_time in other_card_times:
        if other_card_time.clock and abs((other_card_time.day - card_time.day).days) <= 1:
            return Moment(
                other_card_time.moment_at(other_card_time.clock),
                is_exact=True,
                cards=(other_card_time.keyword,),
            )
    days, keyword = days_of(reader)
    return None if days is None or not days % 1 else _moment_of_days(days, keyword)


def _moment_of_day_and_clock(reader, card_time, clock_card):
    """Return the moment of a card's day at the time of day of another card, a `CardTime`."""
    reader.warn(clock_card.remark and f"{clock_card.keyword}: {clock_card.remark}: taken for UT")
    zone = clock_card.zone if clock_card.zone is not None else card_time.zone
    is_near = clock_card.day is not None and abs((clock_card.day - card_time.day).days) <= 1
    day = clock_card.day if is_near else card_time.day
    start = datetime(day.year, day.month, day.day) + clock_card.clock - (zone or timedelta())
    return Moment(start, is_exact=True, cards=(card_time.keyword, clock_card.keyword))


def _local_moment(reader, card_time, system, longitude):
    """Return the moment of a date in local time, in UT if cards have the zone or a time in UT.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    card_time : ccdflow.camera.times.date_cards.CardTime
        The date in local time, with or without a time of day.
    system : timedelta, str or None
        As `ccdflow.camera.times.date_cards.time_system` returns it.
    longitude : float or None
        Degrees east, by the camera's profile.
    """
    clocks = times_of_day(reader, system)
    keywords = keywords_in_ut(reader, "time")
    universal = next((clock for clock in clocks if clock.keyword in keywords), None)
    local_clocks = (clock.clock for clock in clocks if clock.keyword not in keywords)
    local_clock = card_time.clock or next(local_clocks, None)
    zone = _time_zone(reader)
    if local_clock is None:
        if universal is not None:
            return _moment_of_local_day(reader, card_time, universal, longitude, zone)
        day = datetime(card_time.day.year, card_time.day.month, card_time.day.day)
        return Moment(
            day, is_exact=card_time.clock is not None, is_local=True, cards=(card_time.keyword,)
        )
    local_time = replace(card_time, zone=None).moment_at(local_clock)
    if zone is not None:
        return Moment(local_time - zone, is_exact=True, cards=(card_time.keyword,))
    if universal is not None:
        time = universal_time_of(local_time, universal.clock - (universal.zone or timedelta()))
        cards = (card_time.keyword, universal.keyword)
        return Moment(time, is_exact=True, cards=cards, local_time=local_time)
    reader.warn(f"{card_time.keyword} is the local time, and no card has the time zone")
    return Moment(local_time, is_exact=True, is_local=True, cards=(card_time.keyword,))


def _moment_of_local_day(reader, card_time, universal, longitude, zone):
    """Return the moment of a local day and a time of day in UT.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    card_time, universal : ccdflow.camera.times.date_cards.CardTime
        The day, and the time of day.
    longitude : float or None
        Degrees east, by the camera's profile.
    zone : datetime.timedelta or None
        Local time minus UT, by a card.
    """
    if zone is None:
        east = stated_longitude(reader) if longitude is None else longitude
        zone = None if east is None else timedelta(hours=east / 15)
    clock = universal.clock - (universal.zone or timedelta())
    midnight = datetime(card_time.day.year, card_time.day.month, card_time.day.day)
    cards = (card_time.keyword, universal.keyword)
    if zone is None:
        reader.warn(
            f"{card_time.keyword} is the local date, and no card has the longitude: taken for UT;"
            " write into the camera's profile: site: {longitude: DEGREES EAST}"
        )
        return Moment(midnight + clock, is_exact=True, cards=cards)
    # The local time of the moment is on the local day.
    return Moment(midnight + (clock + zone) % timedelta(days=1) - zone, is_exact=True, cards=cards)


def universal_time_of(local_time, clock):
    """Return the time in UT of a local time and a time of day in UT.

    Local time is ahead of UT by `LEAST_ZONE_HOURS` to a day more than this, so that the date is
    known.

    Parameters
    ----------
    local_time : datetime.datetime
    clock : datetime.timedelta
        Time since midnight in UT.

    Returns
    -------
    datetime.datetime

    Examples
    --------
    >>> print(universal_time_of(datetime(2023, 5, 31, 19), timedelta(hours=2)))
    2023-06-01 02:00:00
    """
    least_zone = timedelta(hours=LEAST_ZONE_HOURS)
    midnight = datetime(local_time.year, local_time.month, local_time.day)
    zone = (local_time - midnight - clock - least_zone) % timedelta(days=1) + least_zone
    return local_time - zone


# -- the night -------------------------------------------------------------------------------------


def night_of(moment, reader, longitude, file):
    """Return the night of an exposure: the local date of its evening.

    Local mean time is UT + longitude / 15 h. Half a day is subtracted, so that a night has one
    date.

    Parameters
    ----------
    moment : Moment
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets warnings on guessed values.
    longitude : float or None
        Degrees, east positive, of the camera's profile; None for the header's own.
    file : str
        Path relative to the raw folder.

    Returns
    -------
    str
        YYYY-MM-DD; for an undated frame its folder, '' for the raw folder itself.
    """
    day = folder_day(file)
    if moment.is_exact:
        return _local_time_half_day_back(moment, reader, longitude, day).date().isoformat()
    if day is not None:
        reader.warn("no card has the time of the exposure: the night is the folder's date")
        return day.isoformat()
    local_time = _local_time(reader)
    if local_time is not None:
        return (local_time - HALF_DAY).date().isoformat()
    if moment.time is not None:
        reader.warn("no card has the time of day: the night is the day of the date card")
        return moment.time.date().isoformat()
    reader.warn("no card has the date or time: the night is unknown, its folder's name is used")
    return undated_night(file)


# Seconds. No science frame of this exposure or a longer one is taken by daylight.
_LONGEST_BY_DAYLIGHT = 60.0
# Hours before and after local noon within which only polar sites can have a dark sky.
_DAYLIGHT_HOURS = 3.0


def warn_of_daylight(reader, moment, longitude, exptime):
    """Warn of a science frame that was taken at noon if the sign of its longitude is right.

    A longitude may be counted to the east or to the west, and its card may not show which. A wrong
    sign splits a night in two. There is no warning if the other sign gives noon as well.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets the warning.
    moment : Moment
    longitude : float or None
        Degrees east, by the camera's profile.
    exptime : float or None
        Seconds.
    """
    if not moment.is_exact or moment.is_local or (exptime or 0) < _LONGEST_BY_DAYLIGHT:
        return
    east = longitude if longitude is not None else site_longitude(reader, moment.time)
    if east is None:
        return
    is_noon, is_noon_with_other_sign = (
        abs(_hours_from_noon(moment.time, degrees)) < _DAYLIGHT_HOURS for degrees in (east, -east)
    )
    if not is_noon or is_noon_with_other_sign:
        return
    reading = reader.read("longitude", _read_longitude, "not a longitude in degrees")
    name = "the profile's longitude" if longitude is not None else reading.keyword or "longitude"
    site = f"site: {{longitude: {yaml_number(-east, 6)}}}"
    reader.warn(
        f"{name}: {east:g} degrees east makes this the middle of a day, {-east:g} of a night: if it"
        f" is counted west, write into the camera's profile: {site}; else"
        " its date or time is wrong"
    )


def _hours_from_noon(time, east):
    """Return the hours of local mean time from noon, from -12 to 12.

    Parameters
    ----------
    time : datetime.datetime
        UT.
    east : float
        Degrees.
    """
    hours = time.hour + time.minute / 60 + east / 15
    return hours % 24 - 12


def undated_night(file):
    """Return the name used as the night of a frame whose headers give no date.

    Parameters
    ----------
    file : str
        Path relative to the raw folder.

    Returns
    -------
    str
    """
    return _folder_night(file.rpartition("/")[0])


# Frames come folder by folder. A folder that 256 others have pushed out of the cache is only parsed
# again.
@lru_cache(maxsize=256)
def _folder_night(folder):
    """Return the name of the night of a folder of frames without dates."""
    day = _day_of(folder)
    folder = PurePosixPath(folder).as_posix()
    if day is not None:
        return day.isoformat()
    # Frames in the raw folder itself have the night '', which pages call "undated". A folder with
    # this name gets another name, so that no two folders share a night.
    if re.fullmatch("(folder )*undated", folder):
        return f"folder {folder}"
    return "" if folder == "." else folder


def folder_day(file):
    """Return the day that the innermost dated folder of a path is named after, or None."""
    return _day_of(file.rpartition("/")[0])


# Frames come folder by folder. A folder that 256 others have pushed out of the cache is only parsed
# again.
@lru_cache(maxsize=256)
def _day_of(folder):
    """Return the day in the innermost dated part of a folder's path; None without such a part."""
    days = map(day_of_folder, reversed(PurePosixPath(folder).parts))
    return next((day for day in days if day is not None), None)


def _local_time_half_day_back(moment, reader, longitude, day):
    """Return the local time of a moment minus half a day.

    Parameters
    ----------
    moment : Moment
        An exact moment.
    reader : ccdflow.camera.header_reader.HeaderReader
    longitude : float or None
        Degrees east, by the camera's profile.
    day : datetime.date or None
        The day in the name of the frame's folder.
    """
    if moment.is_local:
        return moment.time - HALF_DAY
    if moment.local_time is not None:
        return moment.local_time - HALF_DAY
    east = longitude if longitude is not None else site_longitude(reader, moment.time)
    if east is not None:
        return moment.time + timedelta(hours=east / 15) - HALF_DAY
    local_time = _local_time(reader)
    if local_time is not None and abs(local_time - moment.time) <= timedelta(hours=MOST_HOURS):
        return local_time - HALF_DAY
    zone = _time_zone(reader)
    if zone is not None:
        return moment.time + zone - HALF_DAY
    if day is not None:
        noon = datetime(day.year, day.month, day.day, 12)
        widest = timedelta(hours=MOST_HOURS)
        if noon - widest <= moment.time <= noon + timedelta(days=1) + widest:
            reader.warn("no card has the longitude: the night is the folder's date")
            return noon
    reader.warn(
        "no card has the longitude: the night is that of longitude 0; write into the camera's"
        " profile: site: {longitude: DEGREES EAST}"
    )
    return moment.time - HALF_DAY


def site_longitude(reader, start):
    """Return the site's longitude from the headers in degrees, east positive; None if unknown.

    The longitude of a geocentric place counts to the east by the FITS standard. For any other card
    the sign is the one that agrees with the sidereal time. If neither sign agrees, the sign of the
    card stays, with a warning.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    start : datetime.datetime
        UT.

    Returns
    -------
    float or None
    """
    reading = reader.read("longitude", _read_longitude, "not a longitude in degrees")
    if reading.keyword == "OBSGEO-L":
        return reading.value
    if any(spec.keyword == "OBSGEO-L" for spec in reader.cards["longitude"]):
        longitude_of_place = _longitude_by_coordinates(reader)
        if longitude_of_place is not None:
            return longitude_of_place
    claimed = reading.value
    if claimed == 0 and _is_unset(reader):
        reader.warn(f"{reading.keyword}: longitude and latitude are 0: taken as not set")
        claimed = None
    sidereal = reader.read("sidereal", read_sidereal_time, "not a sidereal time")
    if not sidereal.value:
        return claimed
    implied = longitudes.longitude_of_sidereal_time(sidereal.value, start)
    if claimed is None:
        return implied
    longitude, agrees = longitudes.longitude_with_sign_of(claimed, implied)
    if not agrees:
        difference = min(
            abs(longitudes.wrapped_degrees(longitude_of_sign - implied))
            for longitude_of_sign in (claimed, -claimed)
        )
        reader.warn(
            f"{sidereal.keyword}: the sidereal time agrees with neither sign of "
            f"{reading.keyword} ({difference:.1f} degrees off): the sign stays"
        )
    return longitude


def stated_longitude(reader):
    """Return the longitude of the header's cards in degrees east, None without one.

    Unlike `site_longitude` it takes the sign of the card, whatever the sidereal time is.
    """
    longitude = reader.read("longitude", _read_longitude, "not a longitude in degrees").value
    if longitude is None:
        longitude = _longitude_by_coordinates(reader)
    return None if longitude == 0 and _is_unset(reader) else longitude


def _read_longitude(content):
    """Return the longitude of a card in degrees east; the comment of OBSGEO-L does not count."""
    comment = "" if content.keyword == "OBSGEO-L" else content.comment
    return longitudes.read_longitude(content.value, comment)


def read_sidereal_time(content):
    """Return the sidereal time of a card, a timedelta, from hours, degrees or text; else None."""
    clock = None
    number = as_number(content.value)
    if number is not None:
        is_in_seconds = bool(re.search(r"\[s\]|\bsec", content.comment.lower()))
        if 24 < number <= 360 and not is_in_seconds:
            return timedelta(hours=number / 15)
        clock = clock_of_number(number, content.comment)
    elif isinstance(content.value, str | Broken):
        clock = read_clock(content.value)
    return None if clock is None else clock.time


def _longitude_by_coordinates(reader):
    """Return the longitude of the site by its geocentric coordinates; None without coordinates."""
    numbers = [_first_number(reader, keyword) for keyword in _PLACE_CARDS]
    if None in numbers:
        return None
    longitude = longitudes.longitude_of_place(*numbers)
    if longitude is None and any(numbers):
        reader.warn(f"{', '.join(_PLACE_CARDS)}: no telescope is there: not used")
    return longitude


def _first_number(reader, keyword):
    """Return the first number that a card of this keyword has, None without one."""
    contents = reader.contents_of(keyword, keywords=(keyword,))
    numbers = (as_number(content.value) for content in contents)
    return next((number for number in numbers if number is not None), None)


def _is_unset(reader):
    """Return whether the latitude is 0, which shows that the site was not set."""
    latitude = reader.read(
        "latitude",
        lambda content: as_number(content.value),
        "not a latitude",
        keywords=_LATITUDE_CARDS,
    )
    return latitude.value == 0


def _local_time(reader):
    """Return the local time of cards such as DATE-LOC, a datetime; None without one."""

    def local_time_of(content):
        """Return the local time of a card, a datetime; None without a day and a time of day."""
        day = read_day(content.value, order=order_of(content.comment))
        clock = read_clock(day.remainder, follows_date=True) if day else None
        return None if clock is None else CardTime(content.keyword, day.day).moment_at(clock.time)

    return reader.read("local_time", local_time_of, "not a date and time").value


def _read_time_zone(content):
    """Return the time zone of a card: local time minus UT, a timedelta; None without one."""
    number = as_number(content.value)
    if number is not None:
        # The number is in hours. A number that is too large for this is in minutes, or in seconds.
        hours = number / 3600 if abs(number) >= _LEAST_ZONE_SECONDS else number
        hours = hours / 60 if abs(hours) > MOST_HOURS else hours
        hours = -hours if re.search(r"\bwest\b", content.comment.lower()) else hours
        return timedelta(hours=hours) if abs(hours) <= MOST_HOURS else None
    if isinstance(content.value, bool):
        return None
    text = str(content.value)
    zone, _ = read_zone(text if re.match(r"\s*[a-zA-Z+-]", text) else f"+{text}")
    return zone


def _time_zone(reader):
    """Return local time minus UT, a timedelta, by a card such as TIMEZONE; None without one."""
    reading = reader.read("time_zone", _read_time_zone, "not a time zone")
    if reading.value is not None and re.match("TIMEZ|TZ$", reading.keyword):
        is_sure = bool(re.search(r"east|west|utc|gmt|\but\b", reading.comment.lower()))
        if as_number(reading.content.value) is not None and not is_sure and reading.value:
            reader.warn(
                f"{reading.keyword}: {reading.content.value!r} is read as hours east of Greenwich"
            )
    return reading.value
