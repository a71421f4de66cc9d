"""The calendar of the overview: nights as squares of their completeness, a year at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ccdflow.pages.text_formatting import plural

if TYPE_CHECKING:
    from ccdflow.pages.page import NightLine

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
"""The names of the months, January first."""

UNDATED_HEADING = "Without a date"
"""The heading of nights without a date."""


@dataclass(frozen=True)
class CalendarDay:
    """One night of the calendar.

    Attributes
    ----------
    day : int
        Day of the month.
    page : str
        Path of the night's page; empty where it has none.
    level : int
        0 (nothing is reduced) to 4 (all is made).
    words : str
        Text on hovering: the state of the night's products.
    """

    day: int
    page: str
    level: int
    words: str


@dataclass(frozen=True)
class Year:
    """One year of the calendar.

    Attributes
    ----------
    name : str
        The year, or `UNDATED_HEADING`.
    months : tuple of (str, tuple of CalendarDay)
        The months that have nights, with their nights.
    nights : tuple of ccdflow.pages.page.NightLine
        All nights of the year, the last one first.
    frames : int
        Number of frames.
    """

    name: str
    months: tuple[tuple[str, tuple[CalendarDay, ...]], ...] = ()
    nights: tuple[NightLine, ...] = ()
    frames: int = 0


def calendar(nights):
    """Sort the nights of an overview into years.

    Parameters
    ----------
    nights : sequence of ccdflow.pages.page.NightLine

    Returns
    -------
    list of Year
        The last one first; nights whose name is not a date come at the end.
    """
    years = defaultdict(list)
    for line in nights:
        day = _date_of_night(line.night)
        years[str(day.year) if day else ""].append((day, line))
    ranked = sorted(years, key=lambda name: (name != "", name), reverse=True)
    return [_year_of_nights(name, years[name]) for name in ranked]


def _year_of_nights(name, days):
    """Return the `Year` of some nights."""
    months = defaultdict(list)
    for day, line in days:
        if day is not None:
            months[day.month].append(
                CalendarDay(day.day, line.page, completeness_step(line), words_on_state(line))
            )
    return Year(
        name or UNDATED_HEADING,
        tuple(
            (MONTHS[month - 1], tuple(sorted(months[month], key=lambda each: each.day)))
            for month in sorted(months)
        ),
        tuple(line for _, line in days),
        sum(line.frames for _, line in days),
    )


def _date_of_night(night):
    """Return the date of a night; None for an undated one, which has no place in a calendar."""
    try:
        return date.fromisoformat(night)
    except ValueError:
        return None


def completeness_step(line):
    """Return the completeness of a night: 0 (nothing is reduced), then quarters, 4 (all is made).

    Parameters
    ----------
    line : ccdflow.pages.page.NightLine
        A night is complete if all its frames are reduced, all its groups combined, and all its
        science frames calibrated; a frame of grade C lacks a step and does not count.

    Returns
    -------
    int
    """
    n_expected = line.frames + line.groups + line.calibrated_frames + line.uncalibrated
    n_complete = sum(number for grade, number in line.grades if grade < "C")
    n_made = line.reduced + line.masters + n_complete
    if not n_made or not n_expected:
        return 0
    return 4 if n_made == n_expected else max(1, min(3, math.floor(4 * n_made / n_expected)))


def words_on_state(line):
    """Return the state of a night's products in words."""
    text = f"{line.night}: {line.reduced} of {line.frames} frames reduced"
    if line.set_aside:
        text += f", {line.set_aside} set aside"
    for image_type, n_made, groups in line.combined:
        text += f", {n_made} of {groups} combined {plural(image_type)}"
    if line.calibrated_frames:
        text += f", calibrated: {line.grades_words}"
    if line.uncalibrated:
        text += f", {line.uncalibrated} not calibrated"
    return text
