"""A check that all cards on the time of an exposure agree, with a warning that names others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from ccdflow.camera.times.date_cards import (
    DAY,
    MJD_START,
    card_time_reader,
    jd,
    mjd,
    time_system,
    times_of_day,
)
from ccdflow.camera.times.dates import MOST_HOURS
from ccdflow.files.values import as_number

TOLERANCE = timedelta(minutes=1)
"""Two cards agree if their times differ by at most this and the exposure together: programs write
the start of an exposure, its end, or a moment after it."""

AHEAD_SCALES = re.compile(r"\b(tai|tt|td[bt]|et|gps)\b", re.IGNORECASE)
"""Matches a scale of time that is ahead of UT, by 69.2 s at most."""

# A clock of `AHEAD_SCALES` may be ahead of UT by this: 69.2 s and the rounding of cards.
_SCALE_TOLERANCE = timedelta(seconds=70)

DAY_TOLERANCE = timedelta(days=1.5)
"""The tolerance for a card with the day alone: the day of the evening, or the local day."""

UNIVERSAL_TIME_CARD = re.compile(r".*(?:UT|GMT|OBS).*")
"""Matches cards whose time of day is in UT: in other cards it may be local."""

# Facts that are Julian Dates, with their reader and the number of steps in a day that single
# precision leaves them: the step is 2^-8 days for an MJD, 1/4 day for a Julian Date.
_JULIAN_FORMS = (("mjd", mjd, 256), ("jd", jd, 4))


@dataclass(frozen=True)
class _Claim:
    """The time that a card claims, and the uncertainty of its form.

    Attributes
    ----------
    keyword : str
    time : datetime.datetime
        UT, without a time zone. A time of day alone may be on any date.
    text : str
        The card's value; '' for a time that is shown in ``form``.
    uncertainty : datetime.timedelta
        Uncertainty of the time by the form of the card, which is added to the tolerance.
    form : str
        A format of `datetime.datetime.strftime`.
    is_clock : bool
        Whether it is a time of day, without a date.
    """

    keyword: str
    time: datetime
    text: str = ""
    uncertainty: timedelta = timedelta()
    form: str = "%Y-%m-%dT%H:%M:%S"
    is_clock: bool = False

    @property
    def time_text(self):
        """The time as the card has it, or in the claim's form."""
        return self.text or f"{self.time:{self.form}}"

    def difference_from(self, time):
        """Return the distance from a time, 0 or more; a time of day counts on the nearest date."""
        difference = self.time - time
        return abs((difference + DAY / 2) % DAY - DAY / 2 if self.is_clock else difference)


def warn_of_unlike_dates(reader, moment, exptime):
    """Warn of cards whose time contradicts the start of the exposure.

    Cards of the start, the middle and the end of an exposure agree, and so do cards whose times
    differ by `TOLERANCE`.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets the warning.
    moment : ccdflow.camera.times.nights.Moment
    exptime : float or None
        Seconds.
    """
    if moment.time is None or not moment.cards:
        return
    # An exposure longer than a day is that of a wrong card.
    tolerance = TOLERANCE + timedelta(seconds=min(exptime or 0.0, DAY.total_seconds()))
    if AHEAD_SCALES.search(reader.text("time_system")):
        tolerance += _SCALE_TOLERANCE
    if moment.is_local:
        tolerance += timedelta(hours=MOST_HOURS)
    time = moment.time
    if not moment.is_exact:
        time, tolerance = time + DAY / 2, max(tolerance, DAY_TOLERANCE)
    contradictions = [
        (difference, claim)
        for claim in _claimed_times(reader, time, moment.cards, tolerance)
        if (difference := claim.difference_from(time)) > tolerance + claim.uncertainty
    ]
    if not contradictions:
        return
    difference, worst_claim = max(contradictions, key=lambda pair: pair[0])
    keywords = " and ".join(moment.cards)
    keywords_in_words = ", ".join(dict.fromkeys(claim.keyword for _, claim in contradictions))
    verb = "is" if len(moment.cards) == 1 else "are"
    # A profile that names one card for the date, or for the time of day, ends the contradiction.
    fact = "time" if worst_claim.is_clock else "date"
    keyword = moment.cards[-1] if worst_claim.is_clock else worst_claim.keyword
    reader.warn(
        f"the time of {keywords} is not that of {keywords_in_words}: {keywords} {verb} taken"
        f" (found {moment.iso} and {worst_claim.time_text}, {_time_in_words(difference)} apart);"
        f" if {keyword} is right, write into the camera's profile: keywords: {{{fact}: {keyword}}}"
    )


def _time_in_words(difference):
    """Return a length of time in words: days, hours or seconds.

    Examples
    --------
    >>> [_time_in_words(timedelta(hours=hours)) for hours in (168, 8, 0.05)]
    ['7 days', '8 hours', '180 s']
    """
    seconds = difference.total_seconds()
    for size, name in ((DAY.total_seconds(), "days"), (3600, "hours")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.0f} s"


def _claimed_times(reader, taken_time, keywords, tolerance):
    """Yield the `_Claim` of each card on the time of the exposure, except for the cards taken.

    Julian dates within the tolerance are left out.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    taken_time : datetime.datetime
        The time that is taken, UT.
    keywords : tuple of str
        The cards with this time.
    tolerance : datetime.timedelta
        Times that differ by no more agree.
    """
    system = time_system(reader)
    read_card_time = card_time_reader(system)
    for content in reader.contents_of("date"):
        card_time = None if content.keyword in keywords else read_card_time(content)
        if card_time is not None and not card_time.is_local and card_time.exchanged is None:
            yield _claim_of_date(card_time)
    for card_time in times_of_day(reader, system, reads_other_names=False):
        is_local = card_time.is_local or not UNIVERSAL_TIME_CARD.fullmatch(card_time.keyword)
        if not is_local and card_time.keyword not in keywords:
            yield _claim_of_clock(card_time, taken_time)
    yield from _julian_times(reader, taken_time, keywords, tolerance)


def _claim_of_date(card_time):
    """Return the `_Claim` of a date, with or without a time of day."""
    if card_time.clock:
        return _Claim(card_time.keyword, card_time.moment_at(card_time.clock))
    noon = datetime(card_time.day.year, card_time.day.month, card_time.day.day, 12)
    return _Claim(card_time.keyword, noon, card_time.day.isoformat(), DAY_TOLERANCE)


def _claim_of_clock(card_time, taken_time):
    """Return the `_Claim` of a time of day, on the card's own date or on that of the time taken."""
    if card_time.day is not None:
        return _Claim(card_time.keyword, card_time.moment_at(card_time.clock))
    midnight = datetime(taken_time.year, taken_time.month, taken_time.day)
    clock_time = midnight + card_time.clock - (card_time.zone or timedelta())
    return _Claim(card_time.keyword, clock_time, form="%H:%M:%S", is_clock=True)


def _julian_times(reader, taken_time, keywords, tolerance):
    """Yield the `_Claim` of each card of a Julian date, as `_claimed_times` does.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    taken_time : datetime.datetime
    keywords : collection of str
        Cards that are left out.
    tolerance : datetime.timedelta
        Times that differ by no more agree.
    """
    for name, read_days, steps in _JULIAN_FORMS:
        for content in reader.contents_of(name):
            days = None if content.keyword in keywords else read_days(content)
            if days is None:
                continue
            value, time = as_number(content.value), MJD_START + timedelta(days=days)
            if value % 1 and abs(time - taken_time) <= tolerance:
                # Nearly all cards end here, without a count of their digits.
                continue
            text = str(content.value)
            if not value % 1:
                noon = datetime(time.year, time.month, time.day, 12)
                yield _Claim(content.keyword, noon, text, DAY_TOLERANCE)
                continue
            digits = len(text.partition(".")[2].rstrip(" "))
            uncertainty = 10.0**-digits if value * steps % 1 else 1 / steps
            yield _Claim(content.keyword, time, text, timedelta(days=uncertainty))
