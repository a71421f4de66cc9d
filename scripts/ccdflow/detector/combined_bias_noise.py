"""The noise of a combined bias: predicted by the read noise, and measured by two halves."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.stack import combine_arrays
from ccdflow.detector.frame_figures import UNKNOWN_FIGURE, Estimate, scatter_about_row_means

# Samples that are simulated: they give a ratio of variances to 1 %.
_TRIALS = 40_000
# All samples together have at most this many values, unless `_FEWEST_TRIALS` have more. Samples of
# more than 100 values are therefore fewer than `_TRIALS`.
_TRIAL_VALUES = 4_000_000
# At least this many samples are simulated, whatever their number of values.
_FEWEST_TRIALS = 4000
# Seed of the random numbers: another seed would change cards of combined biases.
_TRIAL_SEED = 20160116


def _recipe_without_noise_clipping(recipe):
    """Return a recipe without clipping by the noise model, which rejects none of normal values."""
    return replace(recipe, clip=None) if recipe.clip_by == "noise" else recipe


# A simulation takes 0.05 to 0.3 s, its result 24 bytes. An archive has one recipe, and its groups
# have some tens of sizes: 256 entries are the results of several recipes.
@lru_cache(maxsize=256)
def variance_ratio(n, recipe):
    """Return the variance of a recipe's result over that of the average, for normal values.

    The ratio is 1 for a plain average, and pi/2 for a median of many values. Clipping increases the
    variance much with three or four values, of which two may agree by chance, and little with many.
    The ratio comes from a seeded simulation, to 1 % (2 % for a median of over 100 values).

    Parameters
    ----------
    n : int
        Number of values.
    recipe : CombineRecipe

    Returns
    -------
    float
    """
    if n < 3 or (recipe.method == "average" and recipe.clip is None):
        return 1.0
    recipe = _recipe_without_noise_clipping(recipe)
    rng = np.random.default_rng(_TRIAL_SEED)
    trials = max(min(_TRIALS, _TRIAL_VALUES // n), _FEWEST_TRIALS)
    values = rng.standard_normal((n, 1, trials), dtype=np.float32)
    # Both variances are of the same values: the deviations that both have by chance cancel.
    squares = [
        _mean_square(combine_arrays(values, compared_recipe, has_uncertainty=False).image)
        for compared_recipe in (recipe, CombineRecipe("average", None))
    ]
    return float(squares[0] / squares[1])


def _mean_square(values):
    """Return the mean of the squares of values, float64."""
    return np.mean(np.square(values), dtype=np.float64)


def predict_noise(sigma, n, recipe=None):
    """Predict the noise of a combination of `n` biases, in adu, from the read noise of one.

    Parameters
    ----------
    sigma : Estimate or float
        Read noise, adu.
    n : int
        Number of members.
    recipe : CombineRecipe, optional
        Default: the recipe of the astropy CCD guide.

    Returns
    -------
    Estimate
        sigma / sqrt(n) times the root of `variance_ratio`.
    """
    if not isinstance(sigma, Estimate):
        sigma = Estimate(float(sigma), 0.0)
    factor = float(np.sqrt(variance_ratio(n, recipe or CombineRecipe()) / n))
    return Estimate(sigma.value * factor, sigma.error * factor)


def measure_combined_noise(frames, recipe=None):
    """Measure the noise of a combined bias, in adu, from two halves of its members.

    The even and the odd members are combined separately. The fixed pattern of the detector cancels
    in the difference of the two halves, and its variance is the sum of their variances.
    `variance_ratio` relates these to the variance of the whole. Differences between rows are
    removed first, as in `measure_read_noise`.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        The same pixels of all members, of one amplifier, in adu.
    recipe : CombineRecipe, optional
        Recipe of the combination; default: the recipe of the astropy CCD guide.

    Returns
    -------
    Estimate
        Its standard error is sigma / sqrt(2 N) for N pixels. Unknown for fewer than two members.

    Examples
    --------
    Sixteen biases of a read noise of 4 adu have a mean with a noise of 1 adu:

    >>> from ccdflow.combine.combine_recipe import CombineRecipe
    >>> frames = np.random.default_rng(1).normal(1000, 4, (16, 64, 100))
    >>> noise = measure_combined_noise(frames, CombineRecipe(clip=None))
    >>> print(f"{noise.value:.2f}")
    1.01
    """
    recipe = _recipe_without_noise_clipping(recipe or CombineRecipe())
    n = len(frames)
    if n < 2:
        return UNKNOWN_FIGURE
    halves = [
        combine_arrays(half, recipe, allows_empty=True, has_uncertainty=False)
        for half in (frames[::2], frames[1::2])
    ]
    moments = scatter_about_row_means(halves[0].image - halves[1].image)
    if moments.count < 2:
        return UNKNOWN_FIGURE
    relative_variance = sum(variance_ratio(k, recipe) / k for k in (n - n // 2, n // 2))
    sigma = moments.sigma * np.sqrt(variance_ratio(n, recipe) / n / relative_variance)
    return Estimate(float(sigma), float(sigma / np.sqrt(2 * moments.count)))
