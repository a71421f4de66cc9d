"""What is not as it should be in a combined bias, in words."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ccdflow.combine.stack import combine_arrays
from ccdflow.detector.frame_figures import CLIP, DIGITAL_NOISE

# From so many adu of noise on, whole adu are as good as any number.
_SMOOTH = 4.0
_TRIALS = 4000


def expected_clipping(n, recipe, noise=math.inf):
    """Return which part of `n` normal values a recipe rejects, from a seeded simulation.

    Parameters
    ----------
    n : int
    recipe : ccdflow.combine.stack.Recipe
    noise : float
        Noise of the values in adu: they are whole adu, and of a quiet camera most of them agree, so
        that the others count as outliers.
    """
    if n < 3 or recipe.clip is None or recipe.clip_by == "noise":
        return 0.0
    is_whole = 0 < noise < _SMOOTH
    return _simulated(n, recipe, float(f"{noise:.2g}") if is_whole else None)


@lru_cache(maxsize=256)
def _simulated(n, recipe, noise):
    random = np.random.default_rng(20160117)
    values = random.standard_normal((n, 1, _TRIALS), dtype=np.float32)
    if noise is None:
        return _rejected(values, recipe)
    # What was measured has the noise of rounding in it.
    values *= math.sqrt(max(noise**2 - DIGITAL_NOISE**2, 0))
    # A pixel's mean is anywhere between two adu, most of a frame may be at one place, and levels
    # that were subtracted are whole adu, halves, or any number.
    levels = random.random((n, 1, 1), dtype=np.float32)
    halves = np.rint(2 * levels) / 2
    anywhere = random.random(_TRIALS, dtype=np.float32)
    tried = [(anywhere, 0), (anywhere, halves), (anywhere, levels), (0, 0), (0.25, 0), (0.5, 0)]
    return max(_rejected(np.rint(values + at + level) - level, recipe) for at, level in tried)


def _rejected(values, recipe):
    count = combine_arrays(np.asarray(values, dtype=np.float32), recipe).count
    return 1 - float(count.mean()) / len(values)


# A combined bias whose noise is above the prediction by more than this part of it is said to be,
# frames that differ by more than this part of the noise, and values rejected beyond expectation.
_NOISY, _DIFFERENT, _CLIPPED = 0.2, 0.5, 0.05


def remarks(figures, recipe):
    """Say what is not as it should be in a combined bias.

    Parameters
    ----------
    figures : dict
        Of an amplifier, as `AmplifierQuality` names them, and ``cut_off``, see `is_cut_off`.
    recipe : CombineRecipe

    Returns
    -------
    list of str
    """
    said = []
    measured, predicted = figures["combined_noise"], figures["predicted_noise"]
    single = max(figures["read_noise"], DIGITAL_NOISE)
    excess = measured - predicted
    if figures["disagreement"] > _DIFFERENT * single:
        said.append(
            f"its frames differ from each other by {figures['disagreement']:.3g} adu (rms) in a"
            f" part of the image, where the read noise is {figures['read_noise']:.3g} adu: look at"
            " them"
        )
    if predicted > 0 and excess > max(_NOISY * predicted, CLIP * figures["combined_noise_error"]):
        said.append(
            f"its noise is {measured:.3g} adu, {100 * excess / predicted:.0f} % more than the"
            f" {predicted:.3g} adu that the read noise predicts"
        )
    if figures["cut_off"]:
        said.append(
            "its level is so near 0 that the converter cuts off what is below: level and noise are"
            " not those of the detector"
        )
    clipped = figures["clipped_fraction"]
    expected = expected_clipping(figures["frames"], recipe, figures["read_noise"])
    if clipped > expected + _CLIPPED:
        said.append(
            f"{100 * clipped:.2g} % of the values were rejected, where noise alone would have"
            f" {100 * expected:.2g} %" + _WHOLE_NUMBERS * (figures["read_noise"] < 1)
        )
    return said


_WHOLE_NUMBERS = (
    ": most values of so quiet a camera agree, and the others count as outliers; its level is that"
    " of the most frequent value (`bias: {clip: null}` averages all)"
)


def is_cut_off(frames, levels, noise):
    """Tell whether a camera's converter cuts off what lies below 0.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape ``(n, k, nx)``: the same pixels of `n` biases, of one amplifier, in adu.
    levels : sequence of float
        What was subtracted from each, adu; 0 where nothing was.
    noise : float
        Read noise, adu.

    Returns
    -------
    bool
        Whether the level is within 1.5 noises of 0, and yet of the values more than one noise below
        0 there are less than a third of what a normal distribution has there.
    """
    levels = np.asarray(levels, dtype=np.float64)[:, None, None]
    middle = np.median(levels) + np.nanmedian(frames[:, ::8])
    if not 0 <= middle < 1.5 * noise:
        return False
    expected = math.erfc((middle / noise + 1) / 2**0.5) / 2
    return bool(np.mean(frames + levels < -noise) < expected / 3)
