"""The strip of time on the page of a night: figures of its frames against the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ccdflow.pages.contents import Section
from ccdflow.pages.pictures.scales import steps_between
from ccdflow.pages.text_formatting import figure_text, type_rank

# Distances of the clock's lines, hours: a minute to a day.
_TICK_STEPS = (1 / 60, 1 / 12, 1 / 6, 0.5, 1, 2, 3, 6, 12, 24)
# Room above and below the values of a panel: part of their range, but at least this part of the
# largest value, and never nothing.
_ROOM_OF_RANGE, _ROOM_OF_VALUE, _LEAST_ROOM = 0.08, 2e-4, 1e-6
# Room left and right of the first and last frame: part of the time between, but at least a minute.
_ROOM_OF_TIME, _LEAST_TIME = 0.02, 1 / 60

# Digits of the ends of a range at most, and of a single value.
_RANGE_DIGITS, _VALUE_DIGITS = 6, 3


@dataclass(frozen=True)
class TimePoint:
    """One frame in the strip of time.

    Attributes
    ----------
    hours : float
        Hours since the first midnight of the night's frames, UT.
    value : float
        In the unit of its panel.
    image_type : str
    words : str
        Text on hovering: file, value and unit.
    number : int
        Number of its tile on the contact sheet, from 0; -1 if it has none.
    """

    hours: float
    value: float
    image_type: str
    words: str
    number: int = -1


@dataclass(frozen=True)
class TimePanel:
    """One panel of the strip of time: a figure against the clock.

    Attributes
    ----------
    name, unit, hint : str
        The figure, its unit, and its text on hovering.
    points : tuple of TimePoint
    most_decimals : int
        Decimals of the ends of its range in words, at most; the default limits nothing.
    """

    name: str
    unit: str
    hint: str
    points: tuple[TimePoint, ...]
    most_decimals: int = 9

    @property
    def limits(self):
        """Lowest and highest value of the scale, in the panel's unit; never equal."""
        values = [point.value for point in self.points]
        low, high = min(values), max(values)
        room = max(
            _ROOM_OF_RANGE * (high - low), _ROOM_OF_VALUE * max(abs(low), abs(high)), _LEAST_ROOM
        )
        return low - room, high + room

    @property
    def span(self):
        """Lowest and highest value in words.

        They have the decimals that distinguish them, and one more where they would differ by fewer
        than ten units of the last place; values that six digits do not distinguish are one value.
        """
        low, high = (end(point.value for point in self.points) for end in (min, max))
        largest = max(abs(low), abs(high))
        size = math.floor(math.log10(largest)) if largest else 0
        most_decimals = max(0, min(self.most_decimals, _RANGE_DIGITS - 1 - size))
        for decimals in range(most_decimals + 1):
            units = round((round(high, decimals) - round(low, decimals)) * 10**decimals)
            if units:
                decimals_written = min(most_decimals, decimals + (units < 10))
                return f"{low:.{decimals_written}f} to {high:.{decimals_written}f}".replace(
                    "-", "−"
                )
        return figure_text(low, _VALUE_DIGITS)


@dataclass(frozen=True)
class TimePanels:
    """The strip of time: panels over one another, all with the same clock.

    Attributes
    ----------
    panels : tuple of TimePanel
    start, end : float
        Hours at the left and at the right edge.
    image_types : tuple of str
        The image types that occur.
    """

    panels: tuple[TimePanel, ...]
    start: float
    end: float
    image_types: tuple[str, ...]

    def x(self, point):
        """Return the distance of a point from the left edge of the panel, 0 to 1000."""
        return round(1000 * (point.hours - self.start) / (self.end - self.start), 1)

    def y(self, panel, point):
        """Return the distance of a point from the top of its panel, 0 to 100.

        Parameters
        ----------
        panel : TimePanel
            Its limits are the scale.
        point : TimePoint

        Returns
        -------
        float
        """
        low, high = panel.limits
        return round(100 * (high - point.value) / (high - low), 1)

    @property
    def ticks(self):
        """Positions, 0 to 1000, and texts of about six lines of the clock, at round times."""
        length = self.end - self.start
        # A strip of more than a week has a line every two days.
        step = next((hours for hours in _TICK_STEPS if length / hours <= 7), 48)
        first, last = steps_between(self.start, self.end, step)
        ticks = []
        for number in range(first, last + 1):
            minutes = round(number * step * 60)
            position = round(1000 * (number * step - self.start) / length, 1)
            ticks.append((position, f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"))
        return ticks


def strip_section(panels):
    """Return the strip of time; None where no panel has a point.

    Parameters
    ----------
    panels : sequence of TimePanel

    Returns
    -------
    Section or None
    """
    panels = tuple(panel for panel in panels if panel.points)
    hours = [point.hours for panel in panels for point in panel.points]
    if not hours:
        return None
    room = max(_ROOM_OF_TIME * (max(hours) - min(hours)), _LEAST_TIME)
    image_types = {point.image_type for panel in panels for point in panel.points}
    image_types = tuple(sorted(image_types, key=lambda each: (type_rank(each), each)))
    strip = TimePanels(panels, min(hours) - room, max(hours) + room, image_types)
    return Section("clock", "Through the night", template="strip.html.j2", content=strip, order=20)
