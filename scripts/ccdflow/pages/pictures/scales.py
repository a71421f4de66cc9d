"""Scales of pictures: the position or brightness of a value, and the ticks of an axis."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

# An asinh scale needs at least this many values; a smaller image has a linear one. With fewer
# values the quantiles of `_FRACTIONS_OF_NOISE` are those of one or two pixels; with a larger number
# small images lose the scale that shows faint light. Chosen, not measured.
_FEWEST_VALUES = 16
# Percentiles of an image at the ends of its linear scale. With a wider range a few hot and dead
# pixels set the scale, and the others have one shade; with a smaller one more pixels are plain
# black or white. Chosen, not measured.
_SHOWN_PERCENT = (3.0, 96.0)
# Quantiles of the sorted values: the median and one standard deviation to each side for normal
# values. Stars hardly change them.
_FRACTIONS_OF_NOISE = (0.16, 0.5, 0.84)
# Quantile at the lower end of an asinh scale. Chosen: this fraction of the pixels is dead.
_DARKEST_FRACTION = 0.002
# Lower end of an asinh scale at most this many widths below the typical value. Chosen: noise is
# never lower.
_DEEPEST_WIDTHS = 10
# Steps of ticks, times a power of 10.
_TICK_STEPS = (1, 2, 5, 10)
# Numbers of at least this size are written with an exponent.
_LARGE_NUMBER = 1e7
# Values that differ by less than this fraction of the largest one count as equal: float32 has seven
# digits.
_NARROW_FRACTION = 1e-6
# Tolerance as a fraction of a step: 0.3 / 0.1 is 2.9999999999999996, and a tick at the end of a
# scale is on the scale.
_ROUNDING_FRACTION = 1e-9


def steps_between(low, high, step):
    """Return the first and the last multiple of a step between two values, in steps.

    Parameters
    ----------
    low, high, step : float
        In one unit; ``step`` is above 0.

    Returns
    -------
    (int, int)
        The second is lower than the first if no multiple is between the values.

    Examples
    --------
    >>> steps_between(0.1, 0.3, 0.1), steps_between(0.11, 0.29, 0.1)
    ((1, 3), (2, 2))
    """
    return math.ceil(low / step - _ROUNDING_FRACTION), math.floor(high / step + _ROUNDING_FRACTION)


def nice_ticks(low, high, most, *, is_whole=False):
    """Return evenly spaced round values between two values.

    Parameters
    ----------
    low, high : float
        ``low`` is the smaller.
    most : int
        Number of values at most; from 2.
    is_whole : bool, optional
        Whether only whole numbers are wanted.

    Returns
    -------
    list of float
        [] if no whole number is between the values, and only these are wanted.
    """
    length = high - low
    size = 10.0 ** math.floor(math.log10(length / most))
    # One of these steps is long enough, also for whole numbers.
    for step in (factor * size for factor in (*_TICK_STEPS, 20, 50)):
        tick_step = max(1.0, step) if is_whole else step
        first, last = steps_between(low, high, tick_step)
        if last - first < most:
            break
    return [number * tick_step for number in range(first, last + 1)]


def upright_ticks(low, high, most, *, is_whole=False):
    """Return round values of a vertical scale, two or more if it has them.

    A single value shows no distance.

    Parameters
    ----------
    low, high, most, is_whole
        As of `nice_ticks`. The result may have up to twice as many values, plus one.

    Returns
    -------
    list of float

    Examples
    --------
    >>> nice_ticks(0.5, 350.5, 2, is_whole=True), upright_ticks(0.5, 350.5, 2, is_whole=True)
    ([200.0], [100.0, 200.0, 300.0])
    """
    for number in range(most, 2 * most + 2):
        ticks = nice_ticks(low, high, number, is_whole=is_whole)
        if len(ticks) > 1:
            break
    return ticks


def tick_labels(values):
    """Return the texts of the values of an axis, all with the digits that their distance needs.

    Examples
    --------
    >>> tick_labels([-0.5, 0.0, 0.5]), tick_labels([1e7, 2e7])
    (['−0.5', '0.0', '0.5'], ['1e+07', '2e+07'])
    """
    largest = max(map(abs, values), default=0.0)
    step = min((b - a for a, b in itertools.pairwise(values)), default=largest) or 1.0
    decimals = max(0, -math.floor(math.log10(step) + _ROUNDING_FRACTION))
    if largest >= _LARGE_NUMBER or decimals > 6:
        digits = max(0, math.floor(math.log10(largest / step) + _ROUNDING_FRACTION))
        return [f"{value:.{digits}e}".replace("-", "−") for value in values]
    return [f"{value + 0.0:.{decimals}f}".replace("-", "−") for value in values]


@dataclass(frozen=True)
class LinearScale:
    """A linear scale from `low` to `high`, outside of which are a few values of the image."""

    low: float
    high: float

    @classmethod
    def of(cls, values):
        """Return the scale of an image; NaN does not count."""
        finite_values = values[np.isfinite(values)]
        if finite_values.size == 0:
            return cls(0.0, 1.0)
        low, high = (float(value) for value in np.percentile(finite_values, _SHOWN_PERCENT))
        least_range = _NARROW_FRACTION * max(abs(low), abs(high), 1.0)
        return cls(low, high) if high - low > least_range else cls(low - 0.5, high + 0.5)

    def place(self, values):
        """Return the places of values, of any shape: 0 at the lower end, 1 at the upper."""
        return (values - self.low) / (self.high - self.low)

    def ticks(self, count=6):
        """Return round values and their texts.

        Parameters
        ----------
        count : int, optional
            As ``most`` of `upright_ticks`; a scale of a picture has room for the default.

        Returns
        -------
        values : list of float
        texts : list of str
        """
        values = upright_ticks(self.low, self.high, count)
        return values, tick_labels(values)


@dataclass(frozen=True)
class AsinhScale:
    """A scale that is linear about the typical value, and logarithmic for bright stars.

    Attributes
    ----------
    centre, width : float
        The typical value, and the scatter about it.
    low, high : float
        The ends of the scale.
    """

    centre: float
    width: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        """Return the scale of an image; None if its values are too few, or nearly equal."""
        sorted_values = np.sort(values[np.isfinite(values)])
        if sorted_values.size < _FEWEST_VALUES:
            return None
        low, centre, high = (
            sorted_values[int(part * (sorted_values.size - 1))] for part in _FRACTIONS_OF_NOISE
        )
        width = float(high - low) / 2
        dark_value, largest = (
            float(sorted_values[int(_DARKEST_FRACTION * sorted_values.size)]),
            float(sorted_values[-1]),
        )
        # For an image of one value the width is 0.
        if width <= _NARROW_FRACTION * max(abs(dark_value), abs(largest)):
            return None
        return cls(
            float(centre), width, max(dark_value, float(centre) - _DEEPEST_WIDTHS * width), largest
        )

    def place(self, values):
        """Return the places of values, of any shape: 0 at the lower end, 1 at the upper."""
        ends = self._asinh_of(np.array([self.low, self.high]))
        return (self._asinh_of(values) - ends[0]) / (ends[1] - ends[0])

    def _asinh_of(self, values):
        """Return the asinh of values in units of the width from the centre."""
        return np.arcsinh((values - self.centre) / self.width)

    def ticks(self, count=6):
        """Return rounded values at even distances and their texts, as `LinearScale.ticks`."""
        ends = self._asinh_of(np.array([self.low, self.high]))
        values = self.centre + self.width * np.sinh(np.linspace(*ends, count))
        digits = [2 - math.ceil(math.log10(max(abs(each), self.width))) for each in values]
        near_decimals = 1 - math.floor(math.log10(self.width))
        rounded = [
            round(each, near_decimals if abs(each - self.centre) < 3 * self.width else decimals)
            for each, decimals in zip(values.tolist(), digits, strict=True)
        ]
        values_on_scale = sorted({each for each in rounded if self.low <= each <= self.high})
        return values_on_scale, [f"{value:.10g}".replace("-", "−") for value in values_on_scale]


def scale_of(values, kind):
    """Return the scale of an image; one without an asinh scale has a linear scale.

    Parameters
    ----------
    values : numpy.ndarray of any shape, float32 or float64
    kind : {'linear', 'asinh'}

    Returns
    -------
    LinearScale or AsinhScale
    """
    return (AsinhScale.of(values) if kind == "asinh" else None) or LinearScale.of(values)
