"""The figures of a combined frame by its members, measured once more.

Rows are sampled as docs/products.md says: evenly, an odd number of rows apart, 64 for the noise
model and 128 for the figures of biases, fewer of very many frames.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ccdflow.verify.detector.photon_light import lines_between_middles
from ccdflow.verify.reading.restated_numbers import MAD_TO_SIGMA

MODEL_ROWS = 64
"""The model of the noise is measured in this many rows of the members."""

FIGURE_ROWS = 128
"""The figures are measured in this many rows of the members."""

# The sample of all members has this many bytes: more members give fewer rows each.
_SAMPLE_BYTES = 12_600_000
# Values that determine a scatter to a thousandth.
_ENOUGH_VALUES = 1_000_000
# Rows and columns of a box whose median is the expected light of its pixels.
_BOX_SHAPE = (4, 32)
# A value beyond this many sigma is an outlier: one in 1.7 million normal values is.
_CLIP_SIGMA = 5.0
# Rounds of clipping at most: it ends before, where a round rejects nothing.
_CLIP_ITERATIONS = 20
# Scatter of rounding to whole numbers: sigma is no smaller.
_LEAST_SIGMA = 12**-0.5
# Consecutive differences share a frame, so their variances are correlated by 1/4: the variance of
# their mean is this many times larger than without the correlation.
_PAIR_VARIANCE_FACTOR = 1.5
# Normal values that are combined to measure the variance of a statistic, and the least and largest
# number of trials: the ratio is known to 0.6 % by 3,000 trials of 100 values, and compared to 3 %.
_TRIAL_VALUES, _FEWEST_TRIALS, _MOST_TRIALS = 300_000, 2000, 20_000
# Seed of the random numbers: each verification has the same figures.
_TRIAL_SEED = 18
# Flats from which a gain is measured: they make four pairs.
_GAIN_FRAMES = 5
# A pixel gives a gain if its photon variance, at a gain of 1, is this many times the read variance.
_GAIN_LIGHT = 30
# A gain needs this many pixels: fewer leave an error above 5 %.
_GAIN_PIXELS = 1000
# Rounds of clipping for a gain: twice the number of the products', so that it has settled.
_GAIN_ITERATIONS = 6
# The median of the square of a standard normal value (chi square of one degree of freedom).
_MEDIAN_OF_SQUARES = 0.4549
# The squares of differences, of neighbours in a row and of flats, have this many times the squared
# mean as variance: 2 for independent ones, 3 as neighbours share a pixel.
_SQUARES_VARIANCE = 3


def rows_measured_on(ny, nx, count, n_rows):
    """Return the rows of float32 frames that figures are measured on.

    Parameters
    ----------
    ny, nx : int
        Shape of a frame.
    count : int
        Number of frames.
    n_rows : int
        Rows, where the memory allows.

    Returns
    -------
    numpy.ndarray of shape (k,), int
    """
    affordable = _SAMPLE_BYTES // (count * nx * 4)
    n_rows = min(n_rows, max(affordable, min(16, 5 * affordable)))
    if n_rows < 1:
        return np.arange(0)
    step = -(-ny // n_rows)
    step += (step + 1) % 2
    return np.arange(min(step // 2, ny - 1), ny, step)


def spread_rows(frames):
    """Return as many rows of all frames as make a million values, spread evenly: (n, k, nx)."""
    most_rows = max(int(_ENOUGH_VALUES // (len(frames) * frames.shape[2])), 2)
    return frames[:, :: -(-frames.shape[1] // most_rows)]


def finite_median(values):
    """Return the median of (n, ...) without NaN: (...). `numpy.nanmedian` is ten times slower."""
    return np.nanmedian(values, axis=0) if np.isnan(values).any() else np.median(values, axis=0)


def box_medians(sample):
    """Return the light of sampled pixels from their surroundings: (n, k, nx) to (k, nx)."""
    _, count, nx = sample.shape
    light = np.zeros((count, nx))
    for y in range(0, count, _BOX_SHAPE[0]):
        for x in range(0, nx, _BOX_SHAPE[1]):
            box = sample[:, y : y + _BOX_SHAPE[0], x : x + _BOX_SHAPE[1]]
            finite_values = box[np.isfinite(box)]
            light[y : y + _BOX_SHAPE[0], x : x + _BOX_SHAPE[1]] = (
                np.median(finite_values) if finite_values.size else np.nan
            )
    return light


def smooth_light(sampled_rows, sample, ny):
    """Return the light of an amplifier: medians of boxes, and planes between their middles.

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


def scatter(values, least=_LEAST_SIGMA):
    """Return standard deviation and number of values within five sigma of the mean.

    Parameters
    ----------
    values : numpy.ndarray of any shape, float64
    least : float
        Scatter of rounding to whole adu, in the unit of the values.

    Returns
    -------
    (float, int)
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
    """Return the scatter of an image (ny, nx) about the means of its rows."""
    sigma, _ = scatter(image)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_kept = np.abs(image - np.nanmedian(image)) <= _CLIP_SIGMA * max(sigma, _LEAST_SIGMA)
        means = np.nanmean(np.where(is_kept, image, np.nan), axis=1, keepdims=True)
    length = max(np.count_nonzero(is_kept) / len(image), 2)
    return scatter(image - means)[0] * (length / (length - 1)) ** 0.5


def read_noise_of_pairs(frames):
    """Return the read noise from differences of consecutive frames: (n, k, nx)."""
    scatters = [white_scatter(second - first) for first, second in pairwise(frames)]
    return float(np.mean(np.square(scatters)) / 2) ** 0.5


def pair_noise(frames):
    """Return the noise of a value, that of rows in it, from differences of frames (n, k, nx)."""
    scatters = [scatter(second - first)[0] for first, second in pairwise(frames)]
    return float(np.mean(np.square(scatters)) / 2) ** 0.5


def has_scatter(frames, noise):
    """Return whether differences of frames scatter, in units of their predicted noise.

    Whole numbers of a camera of hardly any noise are mostly equal, and a step of one adu is an
    outlier among them.

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
    """Return the noise of the combination of frames from that of two halves of them.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, ...), float64
    account : ccdflow.verify.reading.accounts.CombinedAccount

    Returns
    -------
    float
    """
    count = len(frames)
    halves = [combine_values(part, account) for part in (frames[::2], frames[1::2])]
    total_excess = sum(
        variance_excess(n, *_combining_settings(account)) / n
        for n in (count - count // 2, count // 2)
    )
    ratio = variance_excess(count, *_combining_settings(account)) / count / total_excess
    return white_scatter(halves[0] - halves[1]) * ratio**0.5


def predicted_noise(noise, count, account):
    """Return the noise of the combination of ``count`` frames of a read noise.

    Parameters
    ----------
    noise : float
        Noise of a single frame.
    count : int
        Number of frames.
    account : ccdflow.verify.reading.accounts.CombinedAccount

    Returns
    -------
    float
    """
    return noise * (variance_excess(count, *_combining_settings(account)) / count) ** 0.5


class _CombiningSettings(NamedTuple):
    """The combination of values: without a clip where a noise model is the limit."""

    method: str
    clip: tuple[float, float] | None
    deviation: str
    iterations: int


def _combining_settings(account):
    """Return the `_CombiningSettings` of a combined frame."""
    clip = None if account.deviation == "noise" else account.clip
    return _CombiningSettings(account.method, clip, account.deviation, account.iterations)


def combine_values(values, account):
    """Combine values of normal noise: (n, ...); a noise model rejects none of them.

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


# A simulation takes 0.2 s. Combinations of an archive have some tens of numbers of frames.
@lru_cache(maxsize=64)
def variance_excess(count, method, clip, deviation, iterations):
    """Return the variance of the combination of normal values over that of their mean.

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
    """Return the measured over the predicted noise of consecutive differences, and its error.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float64
        Over their levels.
    levels : sequence of float
    light : numpy.ndarray of shape (k, nx), float64
    fixed, slope : float
        Fixed part and slope of the variance, without the factor.

    Returns
    -------
    (float, float)
    """
    positive_light, variances, count = np.maximum(light, 0), [], 0
    for i, j in pairwise(range(len(frames))):
        variance = sum(
            (fixed + slope * positive_light * level) / level**2 for level in (levels[i], levels[j])
        )
        noise = np.sqrt(variance)
        smallest = np.min(noise, where=np.isfinite(noise), initial=np.inf)
        least = _LEAST_SIGMA / min(levels[i], levels[j]) / smallest
        sigma, number = scatter((frames[i] - frames[j]) / noise, least)
        variances.append(sigma**2)
        count += number
    factor = float(np.mean(variances)) ** 0.5
    return factor, factor * (_PAIR_VARIANCE_FACTOR / (2 * max(count, 1))) ** 0.5


def gain_of_pairs(frames, levels, noise):
    """Return electrons per unit of flats from the differences of consecutive ones, and its error.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float64
        Each over its level; five are enough.
    levels : sequence of float
    noise : float
        Read noise, in the unit of the levels.

    Returns
    -------
    (float, float)
    """
    squares, photons, fixed = [], [], []
    pairs = zip(pairwise(frames[:_GAIN_FRAMES]), pairwise(levels), strict=False)
    for (first, second), (level, next_level) in pairs:
        # Differences of neighbours in a row, so that shading from one flat to the next does not
        # count.
        difference = first - second
        steps = (difference[:, 1:] - difference[:, :-1]) / 2**0.5
        mean = (first + second) / 2
        light_of_pair = (mean[:, 1:] + mean[:, :-1]) / 2 * (1 / level + 1 / next_level)
        read_variance = np.full(steps.shape, noise**2 * (1 / level**2 + 1 / next_level**2))
        with np.errstate(invalid="ignore"):
            is_usable = np.isfinite(steps) & (light_of_pair > _GAIN_LIGHT * read_variance)
        for parts, values in (
            (squares, steps**2),
            (photons, light_of_pair),
            (fixed, read_variance),
        ):
            parts.append(values[is_usable])
    squares, photons, fixed = map(np.concatenate, (squares, photons, fixed))
    if squares.size < _GAIN_PIXELS:
        return np.nan, np.nan
    # The reciprocal gain: photons are in the unit of the flats.
    inverse = float(np.median(squares / photons)) / _MEDIAN_OF_SQUARES
    for _ in range(_GAIN_ITERATIONS):
        is_kept = squares <= _CLIP_SIGMA**2 * (inverse * photons + fixed)
        inverse = float(np.mean(((squares - fixed) / photons)[is_kept]))
    return 1 / inverse, (
        _SQUARES_VARIANCE * _PAIR_VARIANCE_FACTOR / np.count_nonzero(is_kept)
    ) ** 0.5
