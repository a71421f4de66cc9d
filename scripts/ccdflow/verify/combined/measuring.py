"""The figures of a combined frame, measured once more on its members.

Rows are sampled as docs/products.md describes it: evenly, an odd number of rows apart, and fewer
rows of very many frames.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ccdflow.verify.detector.photon_light import lines_between_middles
from ccdflow.verify.reading.restated_numbers import DIGITAL_NOISE, MAD_TO_SIGMA

MODEL_ROWS = 64
"""At most this many rows of each member give the noise model."""

FIGURE_ROWS = 128
"""At most this many rows of each member give figures."""

# The sampled rows of all members take at most this many bytes: more members give fewer rows each.
_SAMPLE_BYTES = 12_600_000
# At least this many rows of each member are sampled, even if they take up to `_MOST_EXCESS` times
# as many bytes.
_FEWEST_ROWS = 16
# The sampled rows of all members never take more than this many times `_SAMPLE_BYTES`.
_MOST_EXCESS = 5
# Values that give a scatter to 0.1 %.
_ENOUGH_VALUES = 1_000_000
# Sampled rows and columns of a box whose median is the expected light of its pixels.
_BOX_SHAPE = (4, 32)
# A value beyond this many sigma is an outlier: one in 1.7 million normal values is.
_CLIP_SIGMA = 5.0
# At most this many rounds of clipping: a round that rejects nothing is the last.
_CLIP_ITERATIONS = 20
# Ratio of the variance of the mean of squared consecutive differences to that without correlation:
# two differences share a frame, and their squares are correlated by 1/4.
_PAIR_VARIANCE_FACTOR = 1.5
# Normal values that are combined in all trials of a statistic, and the least and largest number of
# trials: 3,000 trials of 100 values give a ratio of variances to 0.6 %, and 3 % are allowed.
_TRIAL_VALUES, _FEWEST_TRIALS, _MOST_TRIALS = 300_000, 2000, 20_000
# Seed of the random numbers: each verification gives the same figures.
_TRIAL_SEED = 18
# A gain is measured from consecutive pairs of at most this many flats.
_GAIN_FRAMES = 5
# A pixel gives a gain if its light in adu is more than this many times its read variance in adu^2.
_GAIN_LIGHT = 30
# Fewest pixels that give a gain: fewer leave an error above 6.7 %.
_FEWEST_GAIN_PIXELS = 1000
# Rounds of clipping for a gain: twice those of the maker, so that the gain has converged.
_GAIN_ITERATIONS = 6
# The median of the square of a standard normal value (chi square of one degree of freedom).
_MEDIAN_OF_SQUARES = 0.4549
# Ratio of the variance of squared differences to their squared mean: it is 2 for independent
# differences, and 3 here, where neighbours in a row share a pixel.
_SQUARES_VARIANCE = 3


def rows_measured_on(ny, nx, n_frames, n_rows):
    """Return the rows of float32 frames that figures are measured on.

    Parameters
    ----------
    ny, nx : int
        Shape of a frame.
    n_frames : int
        Number of frames.
    n_rows : int
        Rows that are wanted: the memory may allow fewer.

    Returns
    -------
    numpy.ndarray of shape (k,), int
    """
    n_affordable = _SAMPLE_BYTES // (n_frames * nx * 4)
    n_rows = min(n_rows, max(n_affordable, min(_FEWEST_ROWS, _MOST_EXCESS * n_affordable)))
    if n_rows < 1:
        return np.arange(0)
    step = -(-ny // n_rows)
    step += (step + 1) % 2
    return np.arange(min(step // 2, ny - 1), ny, step)


def spread_rows(frames):
    """Return evenly spread rows of frames, (n, k, nx): `_ENOUGH_VALUES` at most, or two rows."""
    most_rows = max(int(_ENOUGH_VALUES // (len(frames) * frames.shape[2])), 2)
    return frames[:, :: -(-frames.shape[1] // most_rows)]


def finite_median(values):
    """Return the median over the first axis without NaN: (n, ...) to (...)."""
    # numpy.nanmedian takes ten times as long as numpy.median.
    return np.nanmedian(values, axis=0) if np.isnan(values).any() else np.median(values, axis=0)


def box_medians(sample):
    """Return the light around sampled pixels, medians of boxes: (n, k, nx) to (k, nx)."""
    _, n_rows, nx = sample.shape
    light = np.zeros((n_rows, nx))
    for y in range(0, n_rows, _BOX_SHAPE[0]):
        for x in range(0, nx, _BOX_SHAPE[1]):
            box = sample[:, y : y + _BOX_SHAPE[0], x : x + _BOX_SHAPE[1]]
            finite_values = box[np.isfinite(box)]
            light[y : y + _BOX_SHAPE[0], x : x + _BOX_SHAPE[1]] = (
                np.median(finite_values) if finite_values.size else np.nan
            )
    return light


def smooth_light(sampled_rows, sample, ny):
    """Return the light of an amplifier: medians of boxes, interpolated between their middles.

    Parameters
    ----------
    sampled_rows : numpy.ndarray of shape (k,), int64
        The sampled rows, counted from the amplifier's first.
    sample : numpy.ndarray of shape (n, k, nx), float32
    ny : int
        Rows of the amplifier.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float64
    """
    positions = sampled_rows, np.arange(sample.shape[2])
    middles = [
        np.array(
            [
                part.mean()
                for part in np.split(places, range(length, len(places), length))
                if 4 * len(part) >= length or len(places) < length
            ]
        )
        for places, length in zip(positions, _BOX_SHAPE, strict=True)
    ]
    boxes = box_medians(sample)[:: _BOX_SHAPE[0], :: _BOX_SHAPE[1]][
        : len(middles[0]), : len(middles[1])
    ]
    finite_values = boxes[np.isfinite(boxes)]
    boxes[np.isnan(boxes)] = np.median(finite_values) if finite_values.size else 0.0
    lines = lines_between_middles(middles[1], boxes.T, positions[1]).T
    return lines_between_middles(middles[0], lines, np.arange(ny))


def scatter(values, least=DIGITAL_NOISE):
    """Return standard deviation and number of the values within `_CLIP_SIGMA` of their mean.

    Parameters
    ----------
    values : numpy.ndarray of any shape, float64
    least : float, optional
        Scatter of rounding to whole adu, in the unit of the values.

    Returns
    -------
    (float, int)
        (NaN, 0) for fewer than two values.
    """
    values = values[np.isfinite(values)]
    if values.size < 2:
        return np.nan, 0
    mean = float(np.median(values))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(values - mean))) or float(values.std())
    kept_values = values
    for _ in range(_CLIP_ITERATIONS):
        previous_size = kept_values.size
        kept_values = values[np.abs(values - mean) <= _CLIP_SIGMA * max(sigma, least)]
        if kept_values.size < 2:
            return np.nan, 0
        mean, sigma = float(kept_values.mean()), float(kept_values.std(ddof=1))
        if kept_values.size == previous_size:
            break
    return sigma, kept_values.size


def white_scatter(image):
    """Return the scatter of an image (ny, nx) about the means of its rows, in its unit."""
    sigma, _ = scatter(image)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_kept = np.abs(image - np.nanmedian(image)) <= _CLIP_SIGMA * max(sigma, DIGITAL_NOISE)
        means = np.nanmean(np.where(is_kept, image, np.nan), axis=1, keepdims=True)
    length = max(np.count_nonzero(is_kept) / len(image), 2)
    return scatter(image - means)[0] * (length / (length - 1)) ** 0.5


def read_noise_of_pairs(frames):
    """Return the read noise, adu, from differences of consecutive frames (n, k, nx).

    A noise that all pixels of a row share does not count.
    """
    scatters = [white_scatter(second - first) for first, second in pairwise(frames)]
    return float(np.mean(np.square(scatters)) / 2) ** 0.5


def pair_noise(frames):
    """Return the noise of a value, adu, from differences of consecutive frames (n, k, nx).

    A noise that all pixels of a row share counts.
    """
    scatters = [scatter(second - first)[0] for first, second in pairwise(frames)]
    return float(np.mean(np.square(scatters)) / 2) ** 0.5


def has_scatter(frames, noise):
    """Return whether differences of frames scatter after outliers are left out.

    Without noise, values are mostly equal, and a step of one adu is an outlier among them.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float64
        Adu.
    noise : float
        Predicted noise of a value, adu.

    Returns
    -------
    bool
    """
    unit = noise * 2**0.5
    return any(scatter((second - first) / unit)[0] > 0 for first, second in pairwise(frames))


def noise_of_two_halves(frames, account):
    """Return the noise of a combination of frames, adu, from the difference of two halves.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, ...), float64
    account : ccdflow.verify.reading.accounts.CombinedAccount

    Returns
    -------
    float
    """
    n_frames = len(frames)
    halves = [combine_values(part, account) for part in (frames[::2], frames[1::2])]
    settings = _combining_settings(account)
    variance_of_difference = sum(
        clipped_variance_ratio(n, *settings) / n for n in (n_frames - n_frames // 2, n_frames // 2)
    )
    ratio = clipped_variance_ratio(n_frames, *settings) / n_frames / variance_of_difference
    return white_scatter(halves[0] - halves[1]) * ratio**0.5


def predicted_noise(noise, n_frames, account):
    """Return the noise of a combination of frames that have this noise each.

    Parameters
    ----------
    noise : float
        Noise of a single frame.
    n_frames : int
        Number of frames.
    account : ccdflow.verify.reading.accounts.CombinedAccount

    Returns
    -------
    float
    """
    return (
        noise * (clipped_variance_ratio(n_frames, *_combining_settings(account)) / n_frames) ** 0.5
    )


class _CombiningSettings(NamedTuple):
    """The settings of a combination; `clip` is None where a noise model gives the limit."""

    method: str
    clip: float | None
    deviation: str
    iterations: int


def _combining_settings(account):
    """Return the `_CombiningSettings` of a combined frame."""
    clip = None if account.deviation == "noise" else account.clip
    return _CombiningSettings(account.method, clip, account.deviation, account.iterations)


def combine_values(values, account):
    """Return the combination of values with normal noise, of which a noise model rejects none.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, ...), float64
    account : ccdflow.verify.reading.accounts.CombinedAccount

    Returns
    -------
    numpy.ndarray of shape (...), float64
    """
    return _combined_values(values, *_combining_settings(account))


def _combined_values(values, method, clip, deviation, iterations):
    """Return the clipped mean or median of values (n, k) along the first axis.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k), float64
    method : {'average', 'median'}
    clip : float or None
        Limit in units of the deviation; None for no clipping.
    deviation : {'mad', 'std'}
    iterations : int
    """
    kept_values = np.where(np.isfinite(values), values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(iterations if clip is not None else 0):
            middle = finite_median(kept_values)
            if deviation == "mad":
                sigma = MAD_TO_SIGMA * finite_median(np.abs(kept_values - middle))
            else:
                sigma = np.nanstd(kept_values, axis=0)
            kept_values = np.where(np.abs(kept_values - middle) > clip * sigma, np.nan, kept_values)
        return (
            np.nanmean(kept_values, axis=0) if method == "average" else finite_median(kept_values)
        )


# A simulation takes 0.2 s. An archive has combinations of some tens of numbers of frames.
@lru_cache(maxsize=64)
def clipped_variance_ratio(count, method, clip, deviation, iterations):
    """Return the variance of a combination of normal values over the variance of their mean.

    Parameters
    ----------
    count : int
        Number of values.
    method : {'average', 'median'}
    clip : float or None
        Limit of the rejection.
    deviation : str
        'mad', 'std' or 'noise'.
    iterations : int

    Returns
    -------
    float
    """
    if count < 3 or (method == "average" and clip is None):
        return 1.0
    trials = max(min(_MOST_TRIALS, _TRIAL_VALUES // count), _FEWEST_TRIALS)
    values = np.random.default_rng(_TRIAL_SEED).standard_normal((count, trials))
    combined_values = _combined_values(values, method, clip, deviation, iterations)
    return float(np.mean(combined_values**2) / np.mean(values.mean(axis=0) ** 2))


def model_factor(frames, levels, light, fixed, slope):
    """Return the ratio of measured to predicted noise of consecutive differences, and its error.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float64
        Each over its level.
    levels : sequence of float
    light : numpy.ndarray of shape (k, nx), float64
    fixed, slope : float
        Fixed part and slope of the variance, without the factor.

    Returns
    -------
    (float, float)
    """
    positive_light, variances, n_values = np.maximum(light, 0), [], 0
    for i, j in pairwise(range(len(frames))):
        variance = sum(
            (fixed + slope * positive_light * level) / level**2 for level in (levels[i], levels[j])
        )
        noise = np.sqrt(variance)
        smallest = np.min(noise, where=np.isfinite(noise), initial=np.inf)
        least = DIGITAL_NOISE / min(levels[i], levels[j]) / smallest
        sigma, n_values_of_pair = scatter((frames[i] - frames[j]) / noise, least)
        variances.append(sigma**2)
        n_values += n_values_of_pair
    factor = float(np.mean(variances)) ** 0.5
    return factor, factor * (_PAIR_VARIANCE_FACTOR / (2 * max(n_values, 1))) ** 0.5


def gain_of_pairs(frames, levels, noise):
    """Return the gain, electrons per unit of the levels, and its relative error.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float64
        Flats, each over its level.
    levels : sequence of float
    noise : float
        Read noise, in the unit of the levels.

    Returns
    -------
    (float, float)
        NaN twice if too few pixels have light.
    """
    squares, lights, read_variances = [], [], []
    pairs = zip(pairwise(frames[:_GAIN_FRAMES]), pairwise(levels), strict=False)
    for (first, second), (level, next_level) in pairs:
        # Shading that differs between two flats cancels in differences of neighbours in a row.
        difference = first - second
        steps = (difference[:, 1:] - difference[:, :-1]) / 2**0.5
        mean = (first + second) / 2
        light_of_pair = (mean[:, 1:] + mean[:, :-1]) / 2 * (1 / level + 1 / next_level)
        read_variance = np.full(steps.shape, noise**2 * (1 / level**2 + 1 / next_level**2))
        with np.errstate(invalid="ignore"):
            is_usable = np.isfinite(steps) & (light_of_pair > _GAIN_LIGHT * read_variance)
        for parts, values in (
            (squares, steps**2),
            (lights, light_of_pair),
            (read_variances, read_variance),
        ):
            parts.append(values[is_usable])
    squares, lights, read_variances = map(np.concatenate, (squares, lights, read_variances))
    if squares.size < _FEWEST_GAIN_PIXELS:
        return np.nan, np.nan
    # The reciprocal gain: light is in the unit of the levels.
    inverse = float(np.median(squares / lights)) / _MEDIAN_OF_SQUARES
    for _ in range(_GAIN_ITERATIONS):
        is_kept = squares <= _CLIP_SIGMA**2 * (inverse * lights + read_variances)
        inverse = float(np.mean(((squares - read_variances) / lights)[is_kept]))
    return 1 / inverse, (
        _SQUARES_VARIANCE * _PAIR_VARIANCE_FACTOR / np.count_nonzero(is_kept)
    ) ** 0.5
