"""The arithmetic of a tile: arrays of shape (n, width), members along the first axis.

What clipping rejects is decided in float64, but only where it has to be: an estimate in the
members' own type proves for most pixels, with its error bound, that nothing lies beyond the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.combine.noise import median_excess
from ccdflow.combine.recipe import MEDIAN_OVER_MEAN
from ccdflow.robust import MAD_TO_SIGMA

_BRIGHTER = 3.0  # standard errors above the expected light

# -- what is known of the noise of some pixels -----------------------------------------------------


@dataclass(frozen=True)
class PixelNoise:
    """The noise of the values of some pixels in each member.

    A value of a member of level L is (charge / L), so that its variance about `centre` is
    (fixed + slope max(L light + k dark, 0)) / L^2; `light` is the centre, or what is expected of it
    where the centre is not significantly brighter.

    Parameters
    ----------
    fixed, slope : numpy.ndarray
        Shape ``(k,)``: variance without light, and what a unit of light adds.
    levels : numpy.ndarray
        Shape ``(n,)``: level L of each member.
    dark : numpy.ndarray or None
        Shape ``(k,)``: the charge that was subtracted.
    factors : numpy.ndarray or None
        Shape ``(n,)``: by what the charge was multiplied in each member.
    expected : numpy.ndarray or None
        Shape ``(k,)``: light of the pixels as their surroundings have it.
    """

    fixed: np.ndarray
    slope: np.ndarray
    levels: np.ndarray
    dark: np.ndarray | None = None
    factors: np.ndarray | None = None
    expected: np.ndarray | None = None

    def part(self, columns):
        """Return the noise of some of the pixels."""
        some = {
            name: None if getattr(self, name) is None else getattr(self, name)[columns]
            for name in ("fixed", "slope", "dark", "expected")
        }
        return replace(self, **some)

    def light(self, centre):
        """Return the light whose noise pixels of this centre have."""
        if self.expected is None:
            return centre
        single = self.fixed + self.slope * np.maximum(self.expected, 0)
        reach = _BRIGHTER * np.sqrt(single / len(self.levels))
        return np.where(centre > self.expected + reach, centre, self.expected)

    def variances(self, centre):
        """Return the variance of each value, shape ``(n, k)``, where the pixels have `centre`."""
        levels = self.levels[:, None]
        light = self.light(centre) * levels
        if self.dark is not None:
            light += self.factors[:, None] * self.dark
        return (self.fixed + self.slope * np.maximum(light, 0)) / levels**2

    def least_variance(self, low):
        """Return what no variance is below, shape ``(k,)``, where the centre is `low` or more."""
        # What is not as expected is brighter.
        light = np.maximum(low if self.expected is None else self.expected, 0) / self.levels.max()
        if self.dark is not None:
            most = (np.abs(self.factors) / self.levels**2).max()
            light += np.minimum(self.dark * np.sign(self.factors.max()), 0) * most
        return self.fixed / self.levels.max() ** 2 + self.slope * np.maximum(light, 0)

    def of_mean(self, centre, keep=None):
        """Return the variance of the mean of the values that are kept, shape ``(k,)``.

        Parameters
        ----------
        centre : numpy.ndarray
            Shape ``(k,)``.
        keep : numpy.ndarray of bool, optional
            Shape ``(n, k)``; all if not given.
        """
        inverse = 1 / self.levels
        factors = inverse**2 * (0 if self.factors is None else self.factors)
        if keep is None:
            count, squares, sums = len(inverse), np.sum(inverse**2), inverse.sum()
            darks = factors.sum()
        else:
            count = np.count_nonzero(keep, axis=0)
            sums, squares, darks = (
                _sum_in_turn(np.where(keep, each[:, None], 0))
                for each in (inverse, inverse**2, factors)
            )
        light = self.light(centre) * sums
        if self.dark is not None:
            light += self.dark * darks
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.fixed * squares + self.slope * np.maximum(light, 0)) / count**2


# -- the estimate ----------------------------------------------------------------------------------


def estimate(values, order, recipe, *, want_spread=True, noise=None):
    """Combine all values of each pixel, and tell where that is proved to be the recipe's result.

    `values` are overwritten.

    Parameters
    ----------
    values : numpy.ndarray
        Shape ``(n, width)``.
    order : ccdflow.combine.ordering.Ordering
    recipe : ccdflow.combine.recipe.CombineRecipe
        Resolved: not ``auto``.
    want_spread : bool
        Whether to work out the scatter.
    noise : PixelNoise, optional
        Needed where the recipe clips by noise.

    Returns
    -------
    value : numpy.ndarray of float64
        Shape ``(width,)``.
    spread : numpy.ndarray or None
        Shape ``(width,)``: uncertainty times the root of the number of values.
    proven : numpy.ndarray of bool
        Shape ``(width,)``: False where a value is not finite or may be beyond the clipping limit.
    """
    n = len(values)
    total = np.add.reduce(values, axis=0, dtype=np.float64)
    proven = np.isfinite(total)
    by = None if recipe.clip is None else recipe.clip_by
    if by == "noise":
        low, high = np.minimum.reduce(values, axis=0), np.maximum.reduce(values, axis=0)
        proven &= _near_each_other(low, high, recipe.clip, n, noise)
    if by in (None, "noise") and recipe.method == "average":
        value = total / n
        centre = value.astype(values.dtype)
        if not want_spread:
            return value, None, proven
        np.subtract(values, centre, out=values)
        return value, _sample_spread(values, value - centre), proven
    order.sort(values)
    value = total / n if recipe.method == "average" else middle(values, np.float64)
    centre = middle(values, values.dtype)
    half = n // 2
    np.subtract(centre, values[:half], out=values[:half])
    np.subtract(values[half:], centre, out=values[half:])
    if by == "std":
        proven &= _within_deviations(values, centre, total / n, recipe.clip)
    mad = None
    if by == "mad" or (want_spread and recipe.method == "median"):
        mad = middle_deviation(values, order.spare)
    if by == "mad":
        proven &= _clips_nothing(values, centre, mad, recipe.clip)
    if not want_spread:
        return value, None, proven
    if recipe.method == "median":
        return value, _median_spread(mad, n), proven
    return value, _sample_spread(values, value - centre), proven


def _sample_spread(deviations, offset):
    """Sample standard deviation from deviations about a point `offset` below the mean."""
    n = len(deviations)
    np.square(deviations, out=deviations)
    squares = np.add.reduce(deviations, axis=0)
    squares -= n * np.square(offset).astype(squares.dtype)
    return np.sqrt(np.maximum(squares, 0) / (n - 1))


def _near_each_other(low, high, clip, n, noise):
    """Whether all values are so near to each other that none is beyond its limit.

    The centre is one of them, so nothing is further from it than the highest from the lowest;
    and no limit is below that of the least variance. The difference is off by half a unit in
    its last place, the limit by a few.
    """
    margin = 1 + 16 * np.finfo(low.dtype).eps
    limit = clip * np.sqrt((1 + 1 / n) * noise.least_variance(low))
    return (high - low) * margin <= limit


def _within_deviations(deviations, centre, mean, clip):
    """Whether no deviation from the median can be beyond the limit in standard deviations.

    The variance is off by a few units in the last place of the squared largest number; of so many
    values as members are allowed, the sums add less than that.
    """
    n = len(deviations)
    squares = np.zeros(deviations.shape[1])
    for line in deviations:
        squares += np.square(line, dtype=np.float64)
    largest = np.maximum(deviations[0], deviations[-1]).astype(np.float64)
    error = 4 * np.finfo(deviations.dtype).eps * (largest + np.abs(centre))
    variance = squares / n - np.square(np.abs(mean - centre) + error) - 2 * error * largest
    return largest + error <= clip * np.sqrt(np.maximum(variance, 0)) * (1 - 1e-6)


def _clips_nothing(deviations, centre, mad, clip):
    """Whether no deviation can be beyond the limit, whatever the rounding to the members' type.

    Median, deviations and MAD are each off by at most a few units in the last place of the
    largest number that went in; the margin is several times that. Differences with
    infinities are NaN, so they prove nothing.
    """
    epsilon = np.finfo(deviations.dtype).eps
    largest = np.maximum(deviations[0], deviations[-1])
    limit = mad * deviations.dtype.type(MAD_TO_SIGMA * clip)
    margin = (largest + np.abs(centre)) * deviations.dtype.type(4 * epsilon * (2 + 1.5 * clip))
    return limit - largest >= margin


def middle(ordered, dtype):
    """Median along the first axis of values that are in order."""
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half].astype(dtype)
    return (ordered[half - 1].astype(dtype) + ordered[half]) / 2


def middle_deviation(deviations, spare):
    """Median along the first axis of the deviations from the median of values in order.

    The k values nearest to the median are neighbours once they are in order, and the furthest
    of them is at one of the two ends: so the k-th smallest deviation is the smallest, over all
    runs of k neighbours, of the larger of the deviations at the two ends.
    """
    n, half = len(deviations), len(deviations) // 2

    def smallest(k):
        ends = np.maximum(deviations[: n - k + 1], deviations[k - 1 :], out=spare[: n - k + 1])
        return np.minimum.reduce(ends, axis=0)

    upper = smallest(half + 1)
    return upper if n % 2 else (smallest(half) + upper) / 2


def _median_spread(mad, count):
    return np.where(count > 1, mad * (MAD_TO_SIGMA * MEDIAN_OVER_MEAN), np.nan)


# -- the exact result ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exact:
    """What some pixels become.

    `value`, `spread`, `count` have shape ``(k,)``, `keep` and `finite` shape ``(n, k)``; `variance`
    is that of `value` by the noise model, None without one.
    """

    value: np.ndarray
    spread: np.ndarray
    count: np.ndarray
    keep: np.ndarray
    finite: np.ndarray
    variance: np.ndarray | None = None

    @property
    def clipped(self):
        """Values of each member that were rejected, shape ``(n,)``."""
        return np.count_nonzero(self.finite & ~self.keep, axis=1)

    @property
    def invalid(self):
        """Values of each member that were not finite, shape ``(n,)``."""
        return np.count_nonzero(~self.finite, axis=1)


def solve_exactly(values, recipe, noise=None):
    """Apply the recipe to `values`, float64 of shape (n, k), with rejection.

    Parameters
    ----------
    values : numpy.ndarray
    recipe : ccdflow.combine.recipe.CombineRecipe
        Resolved: not ``auto``.
    noise : PixelNoise, optional
        Needed where the recipe clips by noise.

    Returns
    -------
    Exact
    """
    return combine_kept(values, kept_by(values, recipe, noise), recipe, noise)


def kept_by(values, recipe, noise=None):
    """Return which of the values the recipe keeps, shape ``(n, k)``."""
    keep = np.isfinite(values)
    for _ in range(recipe.iterations if recipe.clip is not None else 0):
        centre, limit = _limits(values, keep, recipe, noise)
        new = keep & ((values < centre - limit) | (values > centre + limit))
        if not new.any():
            break
        keep &= ~new
    return keep


def _limits(values, keep, recipe, noise):
    """Return the centre of each pixel and how far from it a value may be."""
    if recipe.clip_by == "noise":
        centre = _lower_median(values, keep)
        count = np.maximum(np.count_nonzero(keep, axis=0), 1)
        variances = noise.variances(centre)
        # The centre is uncertain by about the mean variance over the number of values.
        of_centre = _sum_in_turn(np.where(keep, variances, 0)) / count**2
        return centre, recipe.clip * np.sqrt(variances + of_centre)
    centre, mad = _kept_median(values, keep)
    if recipe.clip_by == "mad":
        return centre, mad * MAD_TO_SIGMA * recipe.clip
    count = np.count_nonzero(keep, axis=0)
    mean = _sum_in_turn(np.where(keep, values, 0)) / count
    squares = _sum_in_turn(np.square(np.where(keep, values - mean, 0)))
    return centre, recipe.clip * np.sqrt(squares / count)


def _lower_median(values, keep):
    """Median of the kept values, of an even number the lower of the middle two; NaN of none.

    It is one of the values, so that a pixel never loses all of them; and where half of them were
    hit, it is one that was not.
    """
    ordered = np.sort(np.where(keep, values, np.inf), axis=0)
    counts = np.count_nonzero(keep, axis=0)
    place = np.maximum((counts - 1) // 2, 0)
    centre = np.take_along_axis(ordered, place[None], axis=0)[0]
    return np.where(counts > 0, centre, np.nan)


def combine_kept(values, keep, recipe, noise=None):
    """Combine the values that are kept.

    Parameters
    ----------
    values : numpy.ndarray
        Float64, shape ``(n, k)``.
    keep : numpy.ndarray of bool
        Shape ``(n, k)``.
    recipe : ccdflow.combine.recipe.CombineRecipe
    noise : PixelNoise, optional

    Returns
    -------
    Exact
    """
    count = np.count_nonzero(keep, axis=0)
    if recipe.method == "median":
        value, mad = _kept_median(values, keep)
        spread = _median_spread(mad, count)
    else:
        value = _sum_in_turn(np.where(keep, values, 0)) / count
        squares = _sum_in_turn(np.square(np.where(keep, values - value, 0)))
        spread = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    variance = None
    if noise is not None:
        variance = noise.of_mean(value, keep) * _excess(recipe, count)
    return Exact(value, spread, count, keep, np.isfinite(values), variance)


def _excess(recipe, count):
    """Variance of what the method makes of so many values, over that of their mean."""
    if recipe.method == "average":
        return 1.0
    table = np.array([median_excess(k) for k in range(int(np.max(count, initial=0)) + 1)])
    return table[count]


def _kept_median(values, keep):
    """Median of the kept values of each pixel and their MAD, NaN where none is kept."""
    ordered = np.sort(np.where(keep, values, np.inf), axis=0)
    counts = np.count_nonzero(keep, axis=0)
    centre = np.full(values.shape[1], np.nan)
    mad = centre.copy()
    for count in np.flatnonzero(np.bincount(counts)):
        if count == 0:
            continue
        columns = np.flatnonzero(counts == count)
        part = np.take(ordered[:count], columns, axis=1)
        centre[columns] = middle(part, np.float64)
        deviations = np.abs(part - centre[columns])
        mad[columns] = middle_deviation(deviations, np.empty((count + 1, len(columns))))
    return centre, mad


def _sum_in_turn(values):
    """Sum along the first axis, member by member: `numpy.sum` adds a single column in pairs."""
    total = np.zeros(values.shape[1])
    for row in values:
        total += row
    return total
