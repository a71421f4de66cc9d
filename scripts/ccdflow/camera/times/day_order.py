"""Whether day or month comes first in a date such as 05/03/98, by other cards and by names."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import chain

from ccdflow.camera.times.date_cards import MJD_START, days_of
from ccdflow.camera.times.dates import day_of_folder, order_of, read_day

# Matches cards that may have the date in another form, or a name with the date in it.
_DATED_CARD = re.compile(r".*(?:DAT|NIGHT|DAY|FILE|NAM|ROOT|ORIG|OBS-?ID|IMAGEID|EXPID).*")
# Matches no keyword.
_NO_CARD = re.compile(r"(?!)")
# Matches the six or eight digits of a date in the name of a file, such as 980503 in n980503_001.
_DIGITS = re.compile(r"(?<!\d)(\d{6}|\d{8})(?!\d)")


def stated_day(reader, card_time):
    """Return the one of the two days of a date that another card, or a name, agrees with.

    A card agrees within a day, because it may have the local date. The cards that are tried are
    Julian Dates, then all with a date or a name, then the path of the file.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    card_time : ccdflow.camera.times.date_cards.CardTime
        Day and month may be exchanged in it.

    Returns
    -------
    datetime.date or None
        None where nothing agrees with exactly one of the two days.
    """
    possible_days = (card_time.day, card_time.exchanged)
    for other_day in _other_days(reader, card_time, possible_days):
        near_days = [day for day in possible_days if abs(day - other_day) <= timedelta(days=1)]
        if len(near_days) == 1:
            return near_days[0]
    return None


def _other_days(reader, card_time, possible_days):
    """Yield the days of all other cards, and of the path of the file.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
    card_time : ccdflow.camera.times.date_cards.CardTime
        Its card is left out.
    possible_days : sequence of datetime.date
        Days that are looked for in digits without separators.
    """
    days, _ = days_of(reader)
    if days is not None:
        yield (MJD_START + timedelta(days=days)).date()
    names = []
    dated_contents = (
        content
        for content in chain(
            *(reader.contents_of(name) for name in ("date", "time", "local_time")),
            reader.cards_with_name(_DATED_CARD, _NO_CARD),
        )
        if isinstance(content.value, str) and content.keyword != card_time.keyword
    )
    for content in dated_contents:
        day = read_day(content.value, order=order_of(content.comment or ""))
        if day is not None and day.exchanged is None:
            yield day.day
        names.append(content.value)
    for name in (*names, *reversed(reader.file.split("/"))):
        day = day_of_folder(name)
        if day is not None:
            yield day
        yield from _days_of_digits(name, possible_days)


def _days_of_digits(name, possible_days):
    """Yield the possible days, and those beside them, whose digits a name has."""
    digits = set(_DIGITS.findall(name))
    for day in possible_days if digits else ():
        for near_day in (day - timedelta(days=1), day, day + timedelta(days=1)):
            if digits & {f"{near_day:%y%m%d}", f"{near_day:%Y%m%d}"}:
                yield near_day
