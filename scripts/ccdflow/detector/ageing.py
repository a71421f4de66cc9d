"""The ageing of masters: the variance of their differences by the days between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ccdflow.combine.moments import CLIP_SIGMA, clipped_moments

# A slope needs at least this many pairs of different nights: two make a line without an error.
_FEWEST_PAIRS = 3
# Numbers of a line: its slope, and its offset.
_NUMBERS_OF_LINE = 2


@dataclass(frozen=True)
class Pair:
    """Two masters of one kind.

    Attributes
    ----------
    first, second : int
        Their indices among the masters of the series.
    days : int
        Between them.
    degrees : float
        Difference of their temperatures, degrees Celsius; NaN where one is not known.
    excess, error : float
        Variance of their difference minus that of their noises, and its standard error, in the
        masters' unit squared: adu^2, of flats a relative variance.
    """

    first: int
    second: int
    days: int
    degrees: float
    excess: float
    error: float


def structure_function(samples, variances, days, temperatures=None):
    """Return the `Pair` of each two masters that have two pixels in common.

    Parameters
    ----------
    samples : sequence of numpy.ndarray of shape (k, nx), float32
        The same rows of each master. NaN and values beyond 5 sigma do not count: a hot
        pixel that came in between is not an ageing of the others.
    variances : sequence of float
        Variances of the noise of a pixel of each, in the unit of the samples squared.
    days : sequence of int
        The days on which they were taken.
    temperatures : sequence of float, optional
        Degrees Celsius.

    Returns
    -------
    list of Pair

    Notes
    -----
    The variance s^2 of n independent normal values has the standard error s^2 sqrt(2 / n).

    Examples
    --------
    Two biases, a month apart, between which each pixel wandered by 3 adu:

    >>> rng = np.random.default_rng(1)
    >>> first = rng.normal(0, 1, (64, 100))
    >>> second = first + rng.normal(0, 3, (64, 100))
    >>> (pair,) = structure_function([first, second], [0.0, 0.0], [0, 30])
    >>> print(pair.days, f"{pair.excess:.1f}")
    30 8.8
    """
    degrees = [math.nan] * len(days) if temperatures is None else temperatures
    pairs = []
    for first, second in combinations(range(len(samples)), 2):
        difference = samples[first].astype(np.float64) - samples[second]
        values = difference[np.isfinite(difference)]
        if values.size < 2:
            continue
        # The masters are in electrons, or relative to 1, and not rounded to whole adu.
        moments = clipped_moments(values, rounding=0.0)
        is_outlier = np.abs(values - moments.mean) > CLIP_SIGMA * moments.sigma
        # Equal values scatter by the rounding of their mean alone, all beyond 5 sigma of it.
        inliers = values if is_outlier.all() else values[~is_outlier]
        variance = float(inliers.var())
        pairs.append(
            Pair(
                first,
                second,
                abs(int(days[first] - days[second])),
                abs(degrees[first] - degrees[second]),
                variance - variances[first] - variances[second],
                variance * math.sqrt(2 / inliers.size),
            )
        )
    return pairs


def ageing_of(pairs):
    """Return the variance that a day adds, and its standard error.

    A random walk grows in proportion to the days. The line has an offset: noise that was
    subtracted too little, or too much, is there at a lag of 0 as well. Pairs share masters, so that
    the error is that of as many independent pairs as there are masters in them, of which slope and
    offset of the line take two.

    Parameters
    ----------
    pairs : sequence of Pair

    Returns
    -------
    (float, float)
        NaN where there are too few pairs of different nights.

    Notes
    -----
    Least squares with weights. The error of n independent pairs follows from their residuals
    (White 1980, Econometrica 48, 817).
    """
    pairs_apart = [pair for pair in pairs if pair.days > 0]
    if len(pairs_apart) < _FEWEST_PAIRS:
        return math.nan, math.nan
    days = np.array([pair.days for pair in pairs_apart], float)
    excess = np.array([pair.excess for pair in pairs_apart])
    # The scatter of a random walk grows with the days.
    weights = 1 / (days + np.median(days)) ** 2
    middle, mean = np.average([days, excess], axis=1, weights=weights)
    spread = float((weights * (days - middle) ** 2).sum())
    if spread == 0:
        return math.nan, math.nan
    slope = float((weights * (days - middle) * (excess - mean)).sum()) / spread
    residuals = excess - mean - slope * (days - middle)
    slope_variance = float((weights**2 * (days - middle) ** 2 * residuals**2).sum()) / spread**2
    masters = {index for pair in pairs for index in (pair.first, pair.second)}
    independent_pairs = max(len(masters) - _NUMBERS_OF_LINE, 1)
    return slope, math.sqrt(slope_variance * len(pairs_apart) / independent_pairs)
