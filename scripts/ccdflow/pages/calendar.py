"""The calendar of the overview: a square for each night, whose shade shows its completeness."""

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
    """A night of the calendar.

    Attributes
    ----------
    day : int
        Day of the month.
    page : str
        Path of the night's page; empty where it has none.
    completeness : int
        As of `completeness_step`: from 0, nothing is made, to 4, all is made.
    words : str
        Text on hovering: the state of the night's products.
    """

    day: int
    page: str
    completeness: int
    words: str


@dataclass(frozen=True)
class Year:
    """A year of the calendar.

    Attributes
    ----------
    name : str
        The year, or `UNDATED_HEADING`.
    months : tuple of (str, tuple of CalendarDay)
        The months that have nights, with their nights.
    nights : tuple of ccdflow.pages.page.NightLine
        All nights of the year, in the order of the overview.
    n_frames : int
        Number of frames of the year.
    """

    name: str
    months: tuple[tuple[str, tuple[CalendarDay, ...]], ...] = ()
    nights: tuple[NightLine, ...] = ()
    n_frames: int = 0


def calendar(nights):
    """Return the years of the nights of an overview.

    Parameters
    ----------
    nights : sequence of ccdflow.pages.page.NightLine

    Returns
    -------
    list of Year
        The last year first; the nights whose names are no dates are in a last one.
    """
    years = defaultdict(list)
    for line in nights:
        day = _date_of_night(line.night)
        years[str(day.year) if day else ""].append((day, line))
    # '' is the least of the names, and so comes last.
    return [_year_of_nights(name, years[name]) for name in sorted(years, reverse=True)]


def _year_of_nights(name, days):
    """Return the `Year` of (date or None, line) pairs; '' is the name of nights without a date."""
    months = defaultdict(list)
    for day, line in days:
        if day is not None:
            months[day.month].append(
                CalendarDay(day.day, line.page, completeness_step(line), words_on_state(line))
            )
    return Year(
        name or UNDATED_HEADING,
        tuple(
            (MONTHS[month - 1], tuple(sorted(months[month], key=lambda night: night.day)))
            for month in sorted(months)
        ),
        tuple(line for _, line in days),
        sum(line.n_frames for _, line in days),
    )


def _date_of_night(night):
    """Return the date of a night; None for an undated night, which is not in the calendar."""
    try:
        return date.fromisoformat(night)
    except ValueError:
        return None


def completeness_step(line):
    """Return the completeness of a night in quarters: 0, nothing is made, to 4, all is made.

    Parameters
    ----------
    line : ccdflow.pages.page.NightLine
        A night is complete if all its frames are reduced, all its groups combined, and all its
        science frames calibrated; a frame of grade C lacks a step and does not count.

    Returns
    -------
    int
    """
    n_expected = line.n_frames + line.n_groups + line.n_calibrated + line.n_uncalibrated
    n_complete = sum(number for grade, number in line.grades if grade < "C")
    n_made = line.n_reduced + line.n_masters + n_complete
    if not n_made or not n_expected:
        return 0
    return 4 if n_made == n_expected else max(1, min(3, math.floor(4 * n_made / n_expected)))


def words_on_state(line):
    """Return the state of a night's products in words."""
    text = f"{line.night}: {line.n_reduced} of {line.n_frames} frames reduced"
    if line.n_set_aside:
        text += f", {line.n_set_aside} set aside"
    for image_type, n_made, n_groups in line.combined:
        text += f", {n_made} of {n_groups} combined {plural(image_type)}"
    if line.n_calibrated:
        text += f", calibrated: {line.grades_words}"
    if line.n_uncalibrated:
        text += f", {line.n_uncalibrated} not calibrated"
    return text
