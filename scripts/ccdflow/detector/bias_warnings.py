"""Warnings on a combined bias, in words."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ccdflow.combine.moments import CLIP_SIGMA
from ccdflow.combine.noise import DIGITAL_NOISE
from ccdflow.combine.stack import combine_arrays
from ccdflow.robust import median_of_numbers

# Adu. Simulated values of at least this noise are not rounded: rounding adds 1/12 adu^2, 0.5 % of
# the variance.
_LEAST_UNROUNDED_NOISE = 4.0
# Simulated pixels: with five values each, they give a rejected fraction of 5 % to within 0.2 %.
_CLIPPING_TRIALS = 4000
# Seed of the random numbers: each run has the same warnings.
_CLIPPING_SEED = 20160117
# The end of a warning on a camera whose noise is below 1 adu.
_WHOLE_NUMBERS_NOTE = (
    ": most values of so quiet a camera agree, and the others count as outliers; its level is that"
    " of the most frequent value (`bias: {clip: null}` averages all)"
)


def expected_clipped_fraction(n, recipe, noise=math.inf):
    """Return the fraction of `n` normal values that a recipe rejects, from a seeded simulation.

    Parameters
    ----------
    n : int
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
    noise : float, optional
        Noise of the values in adu. The values are whole adu: with little noise most of them are
        equal, and the others count as outliers.

    Returns
    -------
    float
    """
    if n < 3 or recipe.clip is None or recipe.clip_by == "noise":
        return 0.0
    is_rounded = 0 < noise < _LEAST_UNROUNDED_NOISE
    return _simulated_rejected_fraction(n, recipe, float(f"{noise:.2g}") if is_rounded else None)


# A simulation takes up to 0.1 s. The noise is rounded to two digits and differs from amplifier to
# amplifier. A night of groups of several sizes needs tens of results: 256 are those of several
# nights.
@lru_cache(maxsize=256)
def _simulated_rejected_fraction(n, recipe, noise):
    """Return the fraction of simulated values that a recipe rejects, at its worst level."""
    random = np.random.default_rng(_CLIPPING_SEED)
    values = random.standard_normal((n, 1, _CLIPPING_TRIALS), dtype=np.float32)
    if noise is None:
        return _rejected_fraction(values, recipe)
    # The measured noise includes the noise of rounding.
    values *= math.sqrt(max(noise**2 - DIGITAL_NOISE**2, 0))
    # The mean of a pixel lies anywhere between two whole adu, or all pixels have the same mean. The
    # subtracted levels are whole adu, halves, or any number.
    levels = random.random((n, 1, 1), dtype=np.float32)
    halves = np.rint(2 * levels) / 2
    means = random.random(_CLIPPING_TRIALS, dtype=np.float32)
    # A common mean is 0, 0.25 or 0.5 adu above a whole number: both extremes and their middle.
    placements = [(means, 0), (means, halves), (means, levels), (0, 0), (0.25, 0), (0.5, 0)]
    return max(
        _rejected_fraction(np.rint(values + mean + level) - level, recipe)
        for mean, level in placements
    )


def _rejected_fraction(values, recipe):
    """Return the fraction of values (n, 1, k) that a recipe rejects."""
    count = combine_arrays(np.asarray(values, dtype=np.float32), recipe).count
    return 1 - float(count.mean()) / len(values)


# Warn if the noise exceeds its prediction by more than this fraction. Chosen: a frame minus a bias
# of ten frames is 2 % noisier then.
_EXCESS_NOISE = 0.2
# Warn if frames differ by more than this fraction of the read noise. Chosen: such a difference
# exceeds the noise of a combination of more than four frames.
_FRAME_DIFFERENCE = 0.5
# Warn if the rejected fraction of the values exceeds the expected fraction by more than this.
# Chosen: cosmic rays hit fewer than 1 in 1,000 values of a bias, and a quarter of a group may be
# frames of another kind.
_EXCESS_REJECTION = 0.05


def warnings_on_bias(figures, recipe):
    """Return warnings on a combined bias, in words.

    Parameters
    ----------
    figures : dict of str to object
        Figures of an amplifier with the names of `AmplifierQuality`, and ``cut_off``, the result of
        `is_cut_off`.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe

    Returns
    -------
    list of str
    """
    sentences = []
    measured_noise, predicted_noise = figures["combined_noise"], figures["predicted_noise"]
    frame_noise = max(figures["read_noise"], DIGITAL_NOISE)
    excess = measured_noise - predicted_noise
    if figures["disagreement"] > _FRAME_DIFFERENCE * frame_noise:
        sentences.append(
            f"its frames differ from each other by {figures['disagreement']:.3g} adu (rms) in a"
            f" part of the image, where the read noise is {figures['read_noise']:.3g} adu: look at"
            " them"
        )
    if predicted_noise > 0 and excess > max(
        _EXCESS_NOISE * predicted_noise, CLIP_SIGMA * figures["combined_noise_error"]
    ):
        sentences.append(
            f"its noise is {measured_noise:.3g} adu, {100 * excess / predicted_noise:.0f} % more"
            f" than the {predicted_noise:.3g} adu that the read noise predicts"
        )
    if figures["cut_off"]:
        sentences.append(
            "its level is so near 0 that the converter cuts off what is below: level and noise are"
            " not those of the detector"
        )
    clipped_fraction = figures["clipped_fraction"]
    expected_fraction = expected_clipped_fraction(figures["frames"], recipe, figures["read_noise"])
    if clipped_fraction > expected_fraction + _EXCESS_REJECTION:
        sentences.append(
            f"{100 * clipped_fraction:.2g} % of the values were rejected, where noise alone would"
            f" have {100 * expected_fraction:.2g} %"
            + (_WHOLE_NUMBERS_NOTE if figures["read_noise"] < 1 else "")
        )
    return sentences


# A level is near 0 if it is below the first number times the read noise. Values are cut off if the
# expected number of values more than one read noise below 0 exceeds the number found by more than
# the factor of the second number. Chosen: at the limit of the level 0.6 % of the values are
# expected there, at higher levels too few to count.
_NEAR_ZERO_NOISES, _MISSING_FACTOR = 1.5, 3


def is_cut_off(frames, levels, noise):
    """Return whether the converter of a camera cuts off the values below 0.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        The same pixels of `n` biases, of one amplifier, in adu; NaN does not count.
    levels : sequence of float
        Level that was subtracted from each frame, adu; 0 if none was.
    noise : float
        Read noise, adu.

    Returns
    -------
    bool
        True if the level is near 0 and values below 0 are missing: see `_NEAR_ZERO_NOISES` and
        `_MISSING_FACTOR`.
    """
    levels = np.asarray(levels, dtype=np.float64)[:, None, None]
    middle = np.median(levels) + median_of_numbers(frames[:, ::8])
    if not 0 <= middle < _NEAR_ZERO_NOISES * noise:
        return False
    expected_fraction = math.erfc((middle / noise + 1) / 2**0.5) / 2
    values = (frames + levels)[np.isfinite(frames)]
    return bool(np.mean(values < -noise) < expected_fraction / _MISSING_FACTOR)
