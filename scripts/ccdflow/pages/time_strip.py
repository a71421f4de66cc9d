"""The strip of time on the page of a night: figures of its frames against the time of day."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ccdflow.pages.contents import Section
from ccdflow.pages.pictures.scales import steps_between
from ccdflow.pages.text_formatting import figure_text, type_rank

# Distances of the time lines, hours: a minute to a day.
_TICK_HOURS = (1 / 60, 1 / 12, 1 / 6, 0.5, 1, 2, 3, 6, 12, 24)
# Margins above and below the values of a panel are the largest of three: a fraction of their range,
# a fraction of the largest value, and a number in the panel's unit, so that none is 0.
_MARGIN_OF_RANGE, _MARGIN_OF_VALUE, _LEAST_MARGIN = 0.08, 2e-4, 1e-6
# Margins before the first and after the last frame: a fraction of the time between them, and their
# least size in hours.
_MARGIN_OF_TIME, _LEAST_HOURS = 0.02, 1 / 60

# Largest numbers of digits: of each end of a range, and of a single value.
_RANGE_DIGITS, _VALUE_DIGITS = 6, 3


@dataclass(frozen=True)
class TimePoint:
    """A point of a panel: the value of one frame at its time.

    Attributes
    ----------
    hours : float
        Hours since the midnight, UT, that begins the date of the night's first frame.
    value : float
        Value in the unit of the panel.
    image_type : str
    words : str
        Text on hovering: file, value and unit.
    number : int
        Number of the frame's tile on the contact sheet, from 0; -1 without a tile.
    """

    hours: float
    value: float
    image_type: str
    words: str
    number: int = -1


@dataclass(frozen=True)
class TimePanel:
    """A panel of the strip of time: one figure against the time of day.

    Attributes
    ----------
    name, unit, hint : str
        Name of the figure, its unit, and the text on hovering.
    points : tuple of TimePoint
    most_decimals : int
        Decimals of the `span`, at most; the default limits only values below 0.0001.
    """

    name: str
    unit: str
    hint: str
    points: tuple[TimePoint, ...]
    most_decimals: int = 9

    @property
    def limits(self):
        """The lowest and the highest value of the scale, in the panel's unit; never equal."""
        values = [point.value for point in self.points]
        low, high = min(values), max(values)
        margin = max(
            _MARGIN_OF_RANGE * (high - low),
            _MARGIN_OF_VALUE * max(abs(low), abs(high)),
            _LEAST_MARGIN,
        )
        return low - margin, high + margin

    @property
    def span(self):
        """The lowest and the highest value in words.

        Both have as many decimals as distinguish them, and one more if they differ by fewer than
        ten units of the last decimal. If no decimal distinguishes them, only one value is written.
        """
        low, high = (end(point.value for point in self.points) for end in (min, max))
        largest = max(abs(low), abs(high))
        size = math.floor(math.log10(largest)) if largest else 0
        most_decimals = max(0, min(self.most_decimals, _RANGE_DIGITS - 1 - size))
        for decimals in range(most_decimals + 1):
            n_units = round((round(high, decimals) - round(low, decimals)) * 10**decimals)
            if n_units:
                decimals_written = min(most_decimals, decimals + (n_units < 10))
                return f"{low:.{decimals_written}f} to {high:.{decimals_written}f}".replace(
                    "-", "−"
                )
        return figure_text(low, _VALUE_DIGITS)


@dataclass(frozen=True)
class TimePanels:
    """The content of the strip of time: panels one below another, with one time axis.

    Attributes
    ----------
    panels : tuple of TimePanel
    start, end : float
        Hours at the left and at the right edge, as in `TimePoint`.
    image_types : tuple of str
        The image types of all points.
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
            The panel, whose limits are the scale.
        point : TimePoint

        Returns
        -------
        float
        """
        low, high = panel.limits
        return round(100 * (high - point.value) / (high - low), 1)

    @property
    def ticks(self):
        """Position, 0 to 1000, and text of each time line, at round times."""
        length = self.end - self.start
        # A strip of more than a week has a time line every two days.
        step = next((hours for hours in _TICK_HOURS if length / hours <= 7), 48)
        first, last = steps_between(self.start, self.end, step)
        ticks = []
        for number in range(first, last + 1):
            minutes = round(number * step * 60)
            position = round(1000 * (number * step - self.start) / length, 1)
            ticks.append((position, f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"))
        return ticks


def strip_section(panels):
    """Return the section with the strip of time; None where no panel has a point.

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
    margin = max(_MARGIN_OF_TIME * (max(hours) - min(hours)), _LEAST_HOURS)
    image_types = {point.image_type for panel in panels for point in panel.points}
    image_types = tuple(sorted(image_types, key=lambda each: (type_rank(each), each)))
    strip = TimePanels(panels, min(hours) - margin, max(hours) + margin, image_types)
    return Section("clock", "Through the night", template="strip.html.j2", content=strip, order=20)
