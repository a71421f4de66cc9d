"""The arithmetic of a tile: arrays of shape (n, width), members along the first axis.

The rejection is decided in float64, but only where necessary: for most pixels an estimate in the
members' own type proves, with its error bound, that no value is beyond the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.combine.noise import median_variance_over_mean
from ccdflow.combine.ordering import mad_of_sorted, median_of_sorted
from ccdflow.combine.unclipped_pixels import is_unclipped_of_many, is_within
from ccdflow.robust import MAD_TO_SIGMA, MEDIAN_OVER_MEAN

# A pixel more than this many standard errors above the light of its surroundings has the noise of
# its own light: 1 pixel in 700 is by chance.
_BRIGHT_SIGMA = 3.0
# A pixel with a value nearer to the clipping limit than this fraction of the limit is solved
# exactly: sums in another order have other last digits.
_ROUNDING_FRACTION = 1e-6

# -- the noise of some pixels ----------------------------------------------------------------------


@dataclass(frozen=True)
class PixelNoise:
    """The noise of the values of some pixels in each member.

    A value of a member of level L is its signal over L, and has the variance
    (read_variance + photon_slope max(L light + k dark, 0)) / L^2. `light` is the centre of the
    values, or the expected light if the centre is not significantly brighter.

    Attributes
    ----------
    read_variance, photon_slope : numpy.ndarray of shape (k,) or (1,), float32 or float64
        Variance without light, and the variance added by a unit of light; of shape (1,) if all
        pixels are alike.
    levels : numpy.ndarray of shape (n,), float64
        Level L of each member.
    dark : numpy.ndarray of shape (k,), float32 or float64, or None
        The dark that was subtracted, whose charge adds noise.
    factors : numpy.ndarray of shape (n,), float64, or None
        Factor on the dark in each member.
    expected_light : numpy.ndarray of shape (k,), float32 or float64, or None
        Light of the pixels, estimated from their surroundings.
    """

    read_variance: np.ndarray
    photon_slope: np.ndarray
    levels: np.ndarray
    dark: np.ndarray | None = None
    factors: np.ndarray | None = None
    expected_light: np.ndarray | None = None

    def part(self, columns):
        """Return the noise of some of the pixels, by their indices."""
        names = ("read_variance", "photon_slope", "dark", "expected_light")
        values = {name: getattr(self, name) for name in names}
        parts = {
            name: value if value is None or len(value) == 1 else value[columns]
            for name, value in values.items()
        }
        return replace(self, **parts)

    def light(self, centre):
        """Return the light that sets the noise of pixels with this centre, (k,)."""
        if self.expected_light is None:
            return centre
        variance = self.photon_slope * np.maximum(self.expected_light, 0)
        variance += self.read_variance
        variance /= len(self.levels)
        limit = np.sqrt(variance, out=variance)
        limit *= _BRIGHT_SIGMA
        limit += self.expected_light
        return np.where(centre > limit, centre, self.expected_light)

    def variances(self, centre):
        """Return the variance of each value, shape ``(n, k)``, for pixels with this `centre`."""
        levels = self.levels[:, None]
        light = self.light(centre) * levels
        if self.dark is not None:
            light += self.factors[:, None] * self.dark
        return (self.read_variance + self.photon_slope * np.maximum(light, 0)) / levels**2

    def least_variance(self, low):
        """Return a lower bound of the variances, shape ``(k,)``, for centres of at least `low`."""
        # A centre replaces the expected light only if it is brighter than that light.
        light = (
            np.maximum(low if self.expected_light is None else self.expected_light, 0)
            / self.levels.max()
        )
        if self.dark is not None:
            largest_factor = (np.abs(self.factors) / self.levels**2).max()
            light += np.minimum(self.dark * np.sign(self.factors.max()), 0) * largest_factor
        np.maximum(light, 0, out=light)
        variance = np.multiply(light, self.photon_slope, out=light)
        variance += self.read_variance / self.levels.max() ** 2
        return variance

    def variance_of_mean(self, centre, is_kept=None):
        """Return the variance of the mean of the kept values, shape ``(k,)``.

        Parameters
        ----------
        centre : numpy.ndarray of shape (k,), float64
        is_kept : numpy.ndarray of shape (n, k), bool, optional
            Default: all values.

        Returns
        -------
        numpy.ndarray of shape (k,), float64
            NaN where no value is kept.
        """
        inverse = 1 / self.levels
        factors = inverse**2 * (0 if self.factors is None else self.factors)
        if is_kept is None:
            count, sum_of_squares, sum_of_inverses = len(inverse), np.sum(inverse**2), inverse.sum()
            sum_of_factors = factors.sum()
        else:
            count = np.count_nonzero(is_kept, axis=0)
            sum_of_inverses, sum_of_squares, sum_of_factors = (
                _sum_by_member(np.where(is_kept, each[:, None], 0))
                for each in (inverse, inverse**2, factors)
            )
        light = self.light(centre) * sum_of_inverses
        if self.dark is not None:
            light += self.dark * sum_of_factors
        np.maximum(light, 0, out=light)
        variance = np.multiply(light, self.photon_slope, out=light)
        variance += self.read_variance * sum_of_squares
        with np.errstate(invalid="ignore", divide="ignore"):
            variance /= count**2
        return variance


# -- the estimate ----------------------------------------------------------------------------------


def estimate_pixels(values, ordering, recipe, *, needs_spread=True, noise=None):
    """Combine all values of each pixel, and prove in which pixels the recipe rejects none of them.

    `values` are overwritten.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, width), float32 or float64
    ordering : ccdflow.combine.ordering.Ordering
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
        Resolved: not ``auto``.
    needs_spread : bool, optional
        Whether to compute the scatter; otherwise ``spread`` is None.
    noise : PixelNoise, optional
        Needed if the recipe clips by noise.

    Returns
    -------
    value : numpy.ndarray of shape (width,), float64
    spread : numpy.ndarray of shape (width,), float32 or float64, or None
        Uncertainty times the square root of the number of values.
    is_proven : numpy.ndarray of shape (width,), bool
        False if a value is not finite or may be beyond the clipping limit.
    """
    n = len(values)
    total = np.add.reduce(values, axis=0, dtype=np.float64)
    is_proven = np.isfinite(total)
    clip_by = None if recipe.clip is None else recipe.clip_by
    if clip_by == "noise":
        low, high = np.minimum.reduce(values, axis=0), np.maximum.reduce(values, axis=0)
        is_proven &= _are_within_noise(low, high, recipe.clip, n, noise)
    if clip_by in (None, "noise") and recipe.method == "average":
        value = total / n
        centre = value.astype(values.dtype)
        if not needs_spread:
            return value, None, is_proven
        deviations = np.subtract(values, centre, out=values)
        return value, _sample_spread(deviations, value - centre), is_proven
    if (
        clip_by == "mad"
        and recipe.method == "average"
        and not needs_spread
        and ordering.is_by_pixel
    ):
        value = total / n
        is_proven &= is_unclipped_of_many(values, value, ordering, recipe.clip)
        return value, None, is_proven
    ordering.sort(values)
    value, spread, is_unclipped = _estimate_sorted(
        values, total / n, recipe, needs_spread=needs_spread, spare=ordering.spare
    )
    return value, spread, is_proven & is_unclipped


def _estimate_sorted(values, mean, recipe, *, needs_spread, spare):
    """Return the results of `estimate_pixels` from values that are sorted for each pixel.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, width), float32 or float64
        Overwritten.
    mean : numpy.ndarray of shape (width,), float64
        Mean of all values.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
    needs_spread : bool
        Whether to compute the scatter.
    spare : numpy.ndarray of shape (n, width), float32 or float64
        See `ccdflow.combine.ordering.Ordering`.

    Returns
    -------
    value : numpy.ndarray of shape (width,), float64
    spread : numpy.ndarray of shape (width,), float32 or float64, or None
        See `estimate_pixels`.
    is_unclipped : numpy.ndarray of shape (width,), bool, or True
        Whether no value is beyond the limit of MAD or standard deviation.
    """
    n = len(values)
    clip_by = None if recipe.clip is None else recipe.clip_by
    value = mean if recipe.method == "average" else median_of_sorted(values, np.float64)
    centre = median_of_sorted(values, values.dtype)
    half = n // 2
    np.subtract(centre, values[:half], out=values[:half])
    np.subtract(values[half:], centre, out=values[half:])
    deviations = values
    mad, is_unclipped = None, True
    if clip_by == "std":
        is_unclipped = _are_within_std(deviations, centre, mean, recipe.clip)
    if clip_by == "mad" or (needs_spread and recipe.method == "median"):
        mad = mad_of_sorted(deviations, spare)
    if clip_by == "mad":
        is_unclipped = _are_within_mad(deviations, centre, mad, recipe.clip)
    if not needs_spread:
        return value, None, is_unclipped
    if recipe.method == "median":
        return value, _median_spread(mad, n), is_unclipped
    return value, _sample_spread(deviations, value - centre), is_unclipped


def _sample_spread(deviations, offset):
    """Return the sample standard deviation, from deviations about the mean minus `offset`."""
    n = len(deviations)
    squares = np.square(deviations, out=deviations)
    total = np.add.reduce(squares, axis=0)
    total -= n * np.square(offset).astype(total.dtype)
    return np.sqrt(np.maximum(total, 0) / (n - 1))


def _are_within_noise(low, high, clip, n, noise):
    """Return whether all values are so close together that none is beyond its limit.

    The centre is one of the values, so no value is farther from the centre than the highest value
    from the lowest. No limit is smaller than that of the least variance. Rounding changes the
    difference by half a unit in its last place, and the limit by a few.

    Parameters
    ----------
    low, high : numpy.ndarray of shape (k,), float32 or float64
        The lowest and highest value of each pixel.
    clip : float
        Limit in standard deviations.
    n : int
        Number of values of a pixel.
    noise : PixelNoise
    """
    margin = 1 + 16 * np.finfo(low.dtype).eps
    variance = noise.least_variance(low)
    variance *= 1 + 1 / n
    limit = np.sqrt(variance, out=variance)
    limit *= clip
    return (high - low) * margin <= limit


def _are_within_std(deviations, centre, mean, clip):
    """Return whether no deviation from the median can exceed the limit in standard deviations.

    Rounding changes the variance by a few units in the last place of the largest number squared;
    the sums over all members add less.

    Parameters
    ----------
    deviations : numpy.ndarray of shape (n, k), float32 or float64
        Distances from the median, sorted along the first axis.
    centre, mean : numpy.ndarray of shape (k,), float32 or float64
        Median and mean of each pixel.
    clip : float
        The limit in standard deviations.
    """
    n = len(deviations)
    squares = np.zeros(deviations.shape[1])
    for line in deviations:
        squares += np.square(line, dtype=np.float64)
    largest = np.maximum(deviations[0], deviations[-1]).astype(np.float64)
    error = 4 * np.finfo(deviations.dtype).eps * (largest + np.abs(centre))
    variance = squares / n - np.square(np.abs(mean - centre) + error) - 2 * error * largest
    return largest + error <= clip * np.sqrt(np.maximum(variance, 0)) * (1 - _ROUNDING_FRACTION)


def _are_within_mad(deviations, centre, mad, clip):
    """Return whether no deviation from the median can exceed the limit in sigma by the MAD.

    Parameters
    ----------
    deviations : numpy.ndarray of shape (n, k), float32 or float64
        Distances from the median, sorted along the first axis.
    centre, mad : numpy.ndarray of shape (k,), float32 or float64
        Median of each pixel, and median of the distances from it.
    clip : float
        The limit in sigma.
    """
    return is_within(np.maximum(deviations[0], deviations[-1]), centre, mad, clip)


def _median_spread(mad, count):
    """Return the standard error of a median times the square root of the number of values.

    NaN for fewer than two values.
    """
    return np.where(count > 1, mad * (MAD_TO_SIGMA * MEDIAN_OVER_MEAN), np.nan)


# -- the exact result ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExactResults:
    """The exact results of some pixels.

    Attributes
    ----------
    value, spread : numpy.ndarray of shape (k,), float64
        The result, and its uncertainty times the square root of `count`, in the members' unit.
    count : numpy.ndarray of shape (k,), int
        Number of values that are kept.
    is_kept, is_finite : numpy.ndarray of shape (n, k), bool
        True for a value that is kept, and for one that is finite.
    variance : numpy.ndarray of shape (k,), float64, or None
        Variance of ``value`` by the noise model; None without a model.
    """

    value: np.ndarray
    spread: np.ndarray
    count: np.ndarray
    is_kept: np.ndarray
    is_finite: np.ndarray
    variance: np.ndarray | None = None

    @property
    def n_rejected(self):
        """Number of rejected values of each member, shape ``(n,)``."""
        return np.count_nonzero(self.is_finite & ~self.is_kept, axis=1)

    @property
    def n_invalid(self):
        """Number of values of each member that were not finite, shape ``(n,)``."""
        return np.count_nonzero(~self.is_finite, axis=1)


def solve_exactly(values, recipe, noise=None):
    """Apply the recipe with its rejection to `values`, float64 of shape (n, k).

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k), float64
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
        Resolved: not ``auto``.
    noise : PixelNoise, optional
        Needed if the recipe clips by noise.

    Returns
    -------
    ExactResults
    """
    return combine_kept(values, kept_mask(values, recipe, noise), recipe, noise)


def kept_mask(values, recipe, noise=None):
    """Return a mask of the values that the recipe keeps, shape ``(n, k)``.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k), float64
        The members' values of each pixel.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
        Its clip and number of iterations.
    noise : PixelNoise, optional
        Where the recipe clips by it.

    Returns
    -------
    numpy.ndarray of shape (n, k), bool
        True for kept values.
    """
    is_kept = np.isfinite(values)
    for _ in range(recipe.iterations if recipe.clip is not None else 0):
        centre, limit = _centre_and_limit(values, is_kept, recipe, noise)
        is_rejected = is_kept & ((values < centre - limit) | (values > centre + limit))
        if not is_rejected.any():
            break
        is_kept &= ~is_rejected
    return is_kept


def _centre_and_limit(values, is_kept, recipe, noise):
    """Return the centre of each pixel and the largest distance of a kept value from the centre.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k), float64
        NaN where a member has no value.
    is_kept : numpy.ndarray of shape (n, k), bool
        The values that no earlier iteration rejected.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
    noise : PixelNoise or None
        Needed where the recipe clips by noise.
    """
    if recipe.clip_by == "noise":
        centre = _lower_median(values, is_kept)
        count = np.maximum(np.count_nonzero(is_kept, axis=0), 1)
        variances = noise.variances(centre)
        # The variance of the centre is about the mean variance over the number of values.
        centre_variance = _sum_by_member(np.where(is_kept, variances, 0)) / count**2
        return centre, recipe.clip * np.sqrt(variances + centre_variance)
    centre, mad = _kept_median_and_mad(values, is_kept)
    if recipe.clip_by == "mad":
        return centre, mad * MAD_TO_SIGMA * recipe.clip
    count = np.count_nonzero(is_kept, axis=0)
    mean = _sum_by_member(np.where(is_kept, values, 0)) / count
    squares = _sum_by_member(np.square(np.where(is_kept, values - mean, 0)))
    return centre, recipe.clip * np.sqrt(squares / count)


def _lower_median(values, is_kept):
    """Return the median of the kept values; of an even number the lower middle one; NaN of none.

    This median is one of the values, so that a pixel never loses all of its values. If half of the
    values were hit by cosmic rays, the median is a value without a hit.
    """
    sorted_values = np.sort(np.where(is_kept, values, np.inf), axis=0)
    counts = np.count_nonzero(is_kept, axis=0)
    middle_index = np.maximum((counts - 1) // 2, 0)
    centre = np.take_along_axis(sorted_values, middle_index[None], axis=0)[0]
    return np.where(counts > 0, centre, np.nan)


def combine_kept(values, is_kept, recipe, noise=None):
    """Combine the kept values of each pixel.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k), float64
        Values of n members in k pixels.
    is_kept : numpy.ndarray of shape (n, k), bool
        Whether a value is combined.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
        Method and clipping of the combination.
    noise : PixelNoise, optional
        Noise of the pixels; without it no variance is computed.

    Returns
    -------
    ExactResults
    """
    count = np.count_nonzero(is_kept, axis=0)
    if recipe.method == "median":
        value, mad = _kept_median_and_mad(values, is_kept)
        spread = _median_spread(mad, count)
    else:
        value = _sum_by_member(np.where(is_kept, values, 0)) / count
        squares = _sum_by_member(np.square(np.where(is_kept, values - value, 0)))
        spread = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    variance = None
    if noise is not None:
        variance = noise.variance_of_mean(value, is_kept) * _variance_over_mean(recipe, count)
    return ExactResults(
        value=value,
        spread=spread,
        count=count,
        is_kept=is_kept,
        is_finite=np.isfinite(values),
        variance=variance,
    )


def _variance_over_mean(recipe, count):
    """Return the variance of the method's result for ``count`` values over that of their mean."""
    if recipe.method == "average":
        return 1.0
    table = np.array(
        [median_variance_over_mean(k) for k in range(int(np.max(count, initial=0)) + 1)]
    )
    return table[count]


def _kept_median_and_mad(values, is_kept):
    """Return the median and the MAD of the kept values of each pixel; NaN if none is kept."""
    sorted_values = np.sort(np.where(is_kept, values, np.inf), axis=0)
    counts = np.count_nonzero(is_kept, axis=0)
    centre = np.full(values.shape[1], np.nan)
    mad = centre.copy()
    for count in np.flatnonzero(np.bincount(counts)):
        if count == 0:
            continue
        columns = np.flatnonzero(counts == count)
        part = np.take(sorted_values[:count], columns, axis=1)
        centre[columns] = median_of_sorted(part, np.float64)
        deviations = np.abs(part - centre[columns])
        mad[columns] = mad_of_sorted(deviations, np.empty((count + 1, len(columns))))
    return centre, mad


def _sum_by_member(values):
    """Return the sum along the first axis, member by member, (k,).

    `numpy.sum` adds a single column in pairs, which may change the last digit.
    """
    total = np.zeros(values.shape[1])
    for row in values:
        total += row
    return total
