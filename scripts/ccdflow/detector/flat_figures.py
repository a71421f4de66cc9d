"""Figures of flats: level, shape, lamp, gain, and the quality of a combined flat."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ccdflow.detector.bias_figures import measure_drift
from ccdflow.detector.frame_figures import COARSE_BOXES, FINE_BOXES, UNKNOWN_FIGURE, Estimate
from ccdflow.detector.half_split import noise_ratio_of_halves
from ccdflow.detector.lost_pixels import NONE_LOST, LostPixels
from ccdflow.detector.photons.photon_transfer import HIGHEST_GAIN
from ccdflow.mask_bits import UNLIT
from ccdflow.robust import median

APERTURE_PIXELS = 50
"""Pixels of the aperture in `CombinedFlatFigures.aperture_cap`. Chosen: a circle with a radius of
four pixels. The limit grows with the root of their number."""

GAIN_TOLERANCE = 0.05
"""A measured gain is reported if it differs by more than this fraction from the gain in profile or
header. Chosen: the standard errors of bright pixels are wrong by half of it."""

# A gain is measured from the consecutive pairs of at most this many flats.
_MOST_GAIN_FRAMES = 4
# A gain is measured in this many to twice as many sampled rows of an amplifier.
_GAIN_ROWS = 64
# Rows and columns of a block, whose mean is subtracted: the shapes of two flats differ from block
# to block.
_GAIN_BLOCK = (2, 32)
# A gain needs at least this many pixels: with fewer pixels its error would exceed 5 %.
_FEWEST_GAIN_PIXELS = 1000
# A block is lit if its photon variance, at a gain of 1, is above this many times the read variance.
# A read noise that is wrong by 10 % then changes the gain by at most 1 %.
_LEAST_LIGHT_RATIO = 20.0
# A difference beyond this many sigma is a hit: one in 1.7 million normal values is.
_GAIN_CLIP_SIGMA = 5.0
# Rounds in which hits are left out and the gain is measured again.
_GAIN_ITERATIONS = 3
# A block whose scatter is this many sigma too large is left out; one in 3 million is by chance.
# Each flat of a twilight has other stars, and clipping of pixels does not remove their wings.
_GAIN_BLOCK_SIGMA = 5.0
# If stars are in more than this fraction of the blocks, fainter stars are in the other blocks,
# where nothing shows them. In simulated fields of 100 to 1,500 stars in a million pixels the gain
# is too low by 4 to 9 tenths of this fraction. Hits and hot pixels are in fewer blocks.
_MOST_STAR_BLOCK_FRACTION = 0.01
# The relative error of a gain by stars over the fraction of blocks with stars: the largest in the
# simulations for `_MOST_STAR_BLOCK_FRACTION`.
_GAIN_ERROR_BY_STAR_BLOCKS = 0.9
# A gain with a larger relative error counts as unknown: at least 7,500 pixels are needed. Chosen:
# with a larger limit chance alone would cause warnings on the gain (`GAIN_TOLERANCE`); with a
# smaller one windows have no gain.
_MOST_GAIN_ERROR = 0.02
# A gain differs from the header's only if the difference also exceeds this many standard errors:
# chance exceeds them once in 1.7 million.
_GAIN_DIFFERENCE_SIGMA = 5.0
# Consecutive pairs share a flat: their variances are correlated by a quarter, and the variance of
# their mean is this many times larger than without correlation.
_PAIR_VARIANCE_FACTOR = 1.5
# The median of the square of a standard normal value.
_MEDIAN_OF_CHI_SQUARE = 0.45494


@dataclass(frozen=True)
class MemberFlatFigures:
    """Figures by which a flat is compared with the other flats of its group.

    Attributes
    ----------
    level : float
        Median of the good pixels minus bias and dark, electrons; adu if the gain is unknown.
    lost : ccdflow.detector.lost_pixels.LostPixels
        The pixels without a value, mostly saturated ones.
    signal_to_noise : float
        Signal to noise of a pixel at this level.
    box_medians, fine_box_medians : tuple of float
        Medians of the coarse boxes (`COARSE_BOXES`) and of the fine ones (`FINE_BOXES`) over the
        level, row by row; NaN for a box without good pixels.
    relative_noise : float
        Noise of a pixel over the level, from gain and read noise.
    n_pixels : int
        Number of pixels measured.
    """

    level: float
    lost: LostPixels
    signal_to_noise: float
    box_medians: tuple[float, ...]
    fine_box_medians: tuple[float, ...]
    relative_noise: float
    n_pixels: int


def bring_to_one_gain(sample, rows, noises):
    """Convert the samples of flats to electrons, in place, if amplifiers have unlike gains.

    The level of a flat is one number. With gains of 0.3 and 30 a level in adu would be that of one
    amplifier. The other amplifier would seem to have a hundred times too much or too little light.

    Parameters
    ----------
    sample : numpy.ndarray of shape (n, k, nx), float32 or float64
        Rows of flats minus bias and dark, adu. Becomes electrons if all gains are known and some
        differ; otherwise unchanged.
    rows : numpy.ndarray of shape (k,), int
        The rows of the image that the sample has.
    noises : sequence of ccdflow.combine.noise.AmplifierNoise
        Noises of the amplifiers with signal.

    Returns
    -------
    gain : float or None
        Electrons per unit of the sample after the call; None if unknown. Where only some gains are
        known, it is that of the first amplifier.
    read_noise : float
        Read noise of a typical pixel, in the same unit: the root of the mean variance of the
        amplifiers.
    """
    gains = [noise.gain for noise in noises]
    if None in gains or len(set(gains)) == 1:
        return gains[0], noises[0].read_noise or 0.0
    variances, sizes = [], []
    for noise in noises:
        pixels = noise.region.has_rows(rows), noise.region.columns
        sample[:, *pixels] *= sample.dtype.type(noise.gain)
        variances.append(((noise.read_noise or 0.0) * noise.gain) ** 2)
        sizes.append(noise.region.size)
    return 1.0, float(np.average(variances, weights=sizes)) ** 0.5


def member_flat_figures(sample, *, gain=None, read_noise=0.0, lost=NONE_LOST):
    """Return the `MemberFlatFigures` of a flat from some of its rows.

    Parameters
    ----------
    sample : numpy.ndarray of shape (k, nx), float32 or float64
        Rows of a flat minus bias and dark; NaN where masked. See
        `ccdflow.combine.member_noise.sample_members`.
    gain : float or None, optional
        Electrons per unit of the sample; None if unknown, which counts as 1.
    read_noise : float, optional
        In the unit of the sample.
    lost : ccdflow.detector.lost_pixels.LostPixels, optional
        The pixels of the flat without a value.

    Returns
    -------
    MemberFlatFigures
    """
    gain = gain or 1.0
    finite_values = sample[np.isfinite(sample)]
    level = float(np.median(finite_values)) if finite_values.size else math.nan
    light = max(level, 0.0) * gain
    variance = light + (read_noise * gain) ** 2
    signal_to_noise = light / math.sqrt(variance) if variance > 0 else 0.0
    relative_sample = sample / level if level > 0 else np.full_like(sample, np.nan)
    return MemberFlatFigures(
        level=level * gain,
        lost=lost,
        signal_to_noise=float(signal_to_noise),
        box_medians=_medians_of_grid(relative_sample, COARSE_BOXES),
        fine_box_medians=_medians_of_grid(relative_sample, FINE_BOXES),
        relative_noise=1 / signal_to_noise if signal_to_noise > 0 else math.inf,
        n_pixels=int(finite_values.size),
    )


def _medians_of_grid(rows, boxes):
    """Return the medians of boxes, row by row; () for fewer pixels along an axis than boxes."""
    ny, nx = (size // boxes * boxes for size in rows.shape)
    if not ny or not nx:
        return ()
    blocks = rows[:ny, :nx].reshape(boxes, ny // boxes, boxes, nx // boxes).swapaxes(1, 2)
    with warnings.catch_warnings():
        # All pixels of a box may be masked.
        warnings.simplefilter("ignore", RuntimeWarning)
        medians = np.nanmedian(blocks.reshape(boxes, boxes, -1), axis=2)
    return tuple(float(value) for value in medians.ravel())


@dataclass(frozen=True)
class CombinedFlatFigures:
    """One row of the table of combined flats: the figures of one amplifier.

    Attributes
    ----------
    amplifier : str
    frames : int
        Number of members.
    level, lowest, highest : float
        Median, lowest and highest level of the members in the amplifier, in electrons if the gain
        is known, otherwise in adu (`unit`).
    unit : {'electron', 'adu'}
    signal_to_noise : float
        Median over the good pixels of the combined flat: no frame that is divided by the flat can
        have a higher one.
    aperture_cap : float
        The same limit for the sum of `APERTURE_PIXELS` pixels.
    lamp_drift : Estimate
        Slope of the members' level through the night, per cent an hour.
    ratio : float
        Mean of the amplifier's good pixels; the mean of the whole flat is 1.
    unlit : int
        Number of pixels that are flagged as unlit.
    noise_ratio : Estimate
        Measured over predicted noise, from two halves of the members.
    measured_gain : Estimate
        Electrons per unit of the members, from the scatter between members. Unknown where the
        number of pixels gives a relative error above `_MOST_GAIN_ERROR`.
    """

    amplifier: str
    frames: int
    level: float
    lowest: float
    highest: float
    unit: str
    signal_to_noise: float
    aperture_cap: float
    lamp_drift: Estimate
    ratio: float
    unlit: int
    noise_ratio: Estimate
    measured_gain: Estimate


def measure_flat(flat, *, hours=None):
    """Return the `CombinedFlatFigures` of each amplifier of a combined flat.

    Parameters
    ----------
    flat : ccdflow.combine.stack.Combined
        Result of `ccdflow.combine.flats.combine_flats`.
    hours : sequence of float, optional
        Times of the members, in hours.

    Returns
    -------
    list of CombinedFlatFigures
        One for each amplifier of the flat's noise model.
    """
    return [_measure_flat_amplifier(flat, amplifier, hours) for amplifier in flat.noise.amplifiers]


def _measure_flat_amplifier(flat, amplifier, hours):
    """Return the `CombinedFlatFigures` of an amplifier of a combined flat."""
    slices = amplifier.region.slices
    image, errors, mask = flat.image[slices], flat.uncertainty[slices], flat.mask[slices]
    is_good = (mask == 0) & (errors > 0)
    values = image[is_good]
    ratio = float(values.mean(dtype=np.float64)) if values.size else math.nan
    signal_to_noise = float(median(np.divide(values, errors[is_good], out=values)))
    levels = flat.levels * ratio * (amplifier.gain or 1.0)
    return CombinedFlatFigures(
        amplifier=amplifier.name,
        frames=len(levels),
        level=float(np.median(levels)),
        lowest=float(levels.min()),
        highest=float(levels.max()),
        unit="electron" if amplifier.gain else "adu",
        signal_to_noise=signal_to_noise,
        aperture_cap=signal_to_noise * math.sqrt(APERTURE_PIXELS),
        lamp_drift=_lamp_drift(flat.levels, hours),
        ratio=ratio,
        unlit=int(np.count_nonzero(mask & UNLIT)),
        noise_ratio=noise_ratio_of_halves(flat, amplifier.region),
        measured_gain=measure_gain_of_flats(flat, amplifier),
    )


def measure_gain_of_flats(flat, amplifier):
    """Measure the gain of an amplifier, electrons per adu, from the first flats of a group.

    Each pixel is compared with the same pixel of the next flat, at its own level: vignetting does
    not count. Pixels in which read noise matters are left out.

    Parameters
    ----------
    flat : ccdflow.combine.stack.Combined
        Has a sample of its members, each over its level.
    amplifier : ccdflow.combine.noise.AmplifierNoise
        Has a read noise.

    Returns
    -------
    ccdflow.detector.frame_figures.Estimate
        Electrons per unit of the members. Unknown where flats, pixels or electrons are too few for
        an error of `_MOST_GAIN_ERROR`, and where flats are full: they scatter too little.
    """
    rows = np.flatnonzero(amplifier.region.has_rows(flat.sample_rows))
    rows = rows[:: max(1, len(rows) // _GAIN_ROWS)]
    frames = flat.sample[:_MOST_GAIN_FRAMES, rows, amplifier.region.columns].astype(np.float64)
    levels = flat.levels[: len(frames)]
    read_variance = amplifier.read_noise**2
    pairs = [
        _differences_of_pair(*frames[i : i + 2], 1 / levels[i : i + 2], read_variance)
        for i in range(len(frames) - 1)
    ]
    if not pairs:
        return UNKNOWN_FIGURE
    squares, photons, fixed_variances = (
        np.concatenate(parts)
        for parts in zip(
            *((pair.squares, pair.photons, pair.fixed_variances) for pair in pairs), strict=True
        )
    )
    if squares.size < _FEWEST_GAIN_PIXELS:
        return UNKNOWN_FIGURE
    inverse_gain = float(median(squares / photons)) / _MEDIAN_OF_CHI_SQUARE
    largest_ratio = _largest_variance_ratio(squares.shape[1])
    for _ in range(_GAIN_ITERATIONS):
        expected_squares = inverse_gain * photons + fixed_variances
        is_inlier = squares <= _GAIN_CLIP_SIGMA**2 * expected_squares
        is_inlier &= (squares / expected_squares).mean(axis=1, keepdims=True) <= largest_ratio
        inverse_gain = float(np.mean(((squares - fixed_variances) / photons)[is_inlier]))
        if not inverse_gain * HIGHEST_GAIN > 1:
            return UNKNOWN_FIGURE
    relative_error = math.sqrt(2 * _PAIR_VARIANCE_FACTOR / max(np.count_nonzero(is_inlier), 1))
    if relative_error > _MOST_GAIN_ERROR:
        return UNKNOWN_FIGURE
    n_lit_blocks = sum(pair.n_lit_blocks for pair in pairs)
    star_block_fraction = sum(pair.n_star_blocks for pair in pairs) / n_lit_blocks
    if star_block_fraction > _MOST_STAR_BLOCK_FRACTION:
        relative_error = math.hypot(
            relative_error, _GAIN_ERROR_BY_STAR_BLOCKS * star_block_fraction
        )
    return Estimate(1 / inverse_gain, relative_error / inverse_gain)


def _largest_variance_ratio(n_pixels):
    """Return the largest variance of a block over the expected one (Wilson and Hilferty 1931)."""
    cube_root_variance = 2 / (9 * (n_pixels - 1))
    return (1 - cube_root_variance + _GAIN_BLOCK_SIGMA * cube_root_variance**0.5) ** 3


class _PairDifferences(NamedTuple):
    """Squared differences of two flats, pixel by pixel, and the terms of their variance.

    Attributes
    ----------
    squares, photons, fixed_variances : numpy.ndarray of shape (k, pixels of a block), float64
        Values of the blocks with enough light. The expectation of a square is the photon term over
        the gain, plus the fixed variance.
    n_lit_blocks, n_star_blocks : int
        Number of blocks with enough light, and number of blocks among them with a star.
    """

    squares: np.ndarray
    photons: np.ndarray
    fixed_variances: np.ndarray
    n_lit_blocks: int = 0
    n_star_blocks: int = 0


def _differences_of_pair(first, second, inverse_levels, read_variance):
    """Return the `_PairDifferences` of two flats.

    Parameters
    ----------
    first, second : numpy.ndarray of shape (rows, nx), float64
        Sampled rows of two flats.
    inverse_levels : numpy.ndarray of shape (2,), float64
        The inverse level of each flat.
    read_variance : float
        The square of the read noise, adu^2.
    """
    rows, columns = (size // step for size, step in zip(first.shape, _GAIN_BLOCK, strict=True))
    if not rows or not columns:
        return _PairDifferences(*(np.empty((0, _GAIN_BLOCK[0] * _GAIN_BLOCK[1])),) * 3)

    def blocks(values):
        """Return the pixels of each block: (number of blocks, pixels of a block)."""
        part = values[: rows * _GAIN_BLOCK[0], : columns * _GAIN_BLOCK[1]]
        part = part.reshape(rows, _GAIN_BLOCK[0], columns, _GAIN_BLOCK[1])
        return part.swapaxes(1, 2).reshape(rows * columns, -1)

    difference, light = blocks(first - second), blocks(first + second) / 2
    is_complete = np.isfinite(difference).all(axis=1)
    difference, light = difference[is_complete], light[is_complete]
    count = difference.shape[1]
    difference = (difference - difference.mean(axis=1, keepdims=True)) * (
        count / (count - 1)
    ) ** 0.5
    photons = light * inverse_levels.sum()
    fixed_variance = read_variance * np.square(inverse_levels).sum()
    is_lit = photons > _LEAST_LIGHT_RATIO * max(fixed_variance, np.square(inverse_levels).sum())
    # A block in which one pixel is too faint, or an outlier, is left out: that pixel is in its
    # mean.
    has_no_outlier = np.abs(difference).max(axis=1) <= _GAIN_CLIP_SIGMA * 2 * np.median(
        np.abs(difference), axis=1
    )
    is_lit = is_lit.all(axis=1)
    is_chosen = is_lit & has_no_outlier
    # The differences are divided by the noise of their light: a gradient of light in a block is no
    # star. A hot pixel is a single outlier; beside an outlier of a star, a neighbour is an outlier
    # as well.
    pulls = np.abs(difference[is_lit]) / np.sqrt(photons[is_lit])
    limits = _GAIN_CLIP_SIGMA * np.median(pulls, axis=1)
    blocks = pulls.reshape(-1, *_GAIN_BLOCK)
    pulls_with_neighbour = np.minimum(blocks[:, :, 1:], blocks[:, :, :-1]).max(axis=(1, 2))
    n_star_blocks = np.count_nonzero(
        (pulls.max(axis=1) > 2 * limits) & (pulls_with_neighbour > limits)
    )
    photons, squares = photons[is_chosen], np.square(difference[is_chosen])
    return _PairDifferences(
        squares,
        photons,
        np.full(squares.shape, fixed_variance),
        np.count_nonzero(is_lit),
        n_star_blocks,
    )


def gain_differs(gain, measured_gain, error):
    """Return whether a measured gain contradicts the gain of the profile or header.

    Parameters
    ----------
    gain : float
        Gain of the profile or header, electrons per adu.
    measured_gain, error : float
        The measured gain and its standard error; NaN where unknown.

    Returns
    -------
    bool

    Examples
    --------
    >>> gain_differs(1.10, 1.19, 0.004), gain_differs(1.19, 1.175, 0.004)
    (True, False)
    >>> gain_differs(1.10, 1.19, 0.05), gain_differs(1.10, float("nan"), float("nan"))
    (False, False)
    """
    difference = abs(measured_gain - gain)
    return difference > GAIN_TOLERANCE * gain and difference > _GAIN_DIFFERENCE_SIGMA * error


def _lamp_drift(levels, hours):
    """Return the slope of levels through the night, an `Estimate`, per cent an hour."""
    if hours is None:
        return UNKNOWN_FIGURE
    slope = measure_drift(levels, hours).slope
    percent = 100 / float(np.median(levels))
    return Estimate(slope.value * percent, slope.error * percent)
