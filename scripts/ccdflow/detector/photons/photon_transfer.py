"""Gain and linearity of an amplifier, from the flats of an ordinary night.

The photons of a flat scatter by the root of their number. The variance in adu^2 over the level in
adu is therefore the inverse of the electrons per adu (Janesick, Photon Transfer, SPIE Press 2007,
chapter 5). Frames of one exposure are compared pixel by pixel: fixed structure (vignetting, dust,
the response of the pixels) cancels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ccdflow.errors import UserError
from ccdflow.robust import MAD_TO_SIGMA, column_medians, median

BLOCK_SIDE = 16
"""Pixels on a side of the blocks whose mean is subtracted from the differences between frames. With
larger blocks light whose shape differs between flats counts as noise; with smaller ones a star
fills its block, and does not stand out in it. Chosen, not measured."""

PAIR_CLIP = 5.0
"""Differences beyond this many sigma are cosmic rays, or pixels that do not follow the light: one
in 1.7 million normal values is. With a smaller limit the noise itself is cut, and the gain is too
high; with a larger one hits make it too low."""

HIGHEST_GAIN = 300.0
"""Electrons per adu that no detector has (12 bits for a million electrons are 250): flats that give
a higher gain are full."""

# Number of bins into which pixels are divided by level; each bin has its own limit and gain. With
# more, each has fewer pixels and a larger error; with fewer, lit and dark pixels of a frame share
# one limit. Chosen, not measured.
_N_LEVEL_BINS = 8
# A bin counts if its photon variance is above this many times the read variance. If no bin does,
# all count as one bin. In dark pixels, as beside a slit, the noise of the rows' levels would count
# as photons. A read variance that is wrong by a tenth changes the gain by 2.5 % at this limit.
_LEAST_PHOTON_RATIO = 4.0
# Stars are searched for in flats if more than this fraction of the pixels is beyond the limit in
# some frame. Chosen: hits are a tenth of this, and fewer stars (fifty bright ones in a million
# pixels) change the gain by 0.1 %.
_MOST_HIT_FRACTION = 1e-3
# Pixels on a side of the box in which the light of a star is summed. A narrower star has most of
# its light in one box; a wider star is found in several.
_STAR_BOX = 5
# A box that differs from its block by this many sigma has light of a star: one in 150,000 does by
# chance.
_STAR_SIGMA = 4.5
# Adu: least read noise that is assumed. Without it, limits for simulated frames without read noise
# would be 0 where they have no light.
_LEAST_READ_NOISE = 1e-3
# Adu: least level that is assumed for bright pixels, so that the variance over it is finite.
_LEAST_BRIGHT_LEVEL = 1
# Pixels around a box with a star that are left out with it: the wings of the star.
_STAR_WING_PIXELS = 4


@dataclass(frozen=True)
class Gain:
    """The gain of an amplifier, from the flats of one exposure.

    Attributes
    ----------
    gain, error : float
        Electrons per adu, and its standard error.
    level : float
        Mean level of the flats, adu.
    variance : float
        Mean variance of the pixels compared, adu^2, with the read noise.
    n_pixels : int
        Number of pixels compared.
    """

    gain: float
    error: float
    level: float
    variance: float
    n_pixels: int


@dataclass(frozen=True)
class Linearity:
    """The departure of the level from proportionality to the exposure.

    Attributes
    ----------
    departure, error : float
        Relative departure from a straight line at ``level``, negative where charge is lost, and its
        standard error.
    level : float
        Level at which the departure is evaluated, adu.
    shutter : float
        Seconds by which the exposure is longer (if negative, shorter) than the value of its card.
    shutter_error : float
        Standard error of ``shutter``, seconds.
    """

    departure: float
    error: float
    level: float
    shutter: float
    shutter_error: float


def measure_gain(flats, read_noise, read_noise_error=0.0):
    """Return the `Gain` of an amplifier from flats of one exposure.

    Parameters
    ----------
    flats : array_like
        Shape (n, ny, nx), adu above the bias, at least two flats. Pixels that are not finite, such
        as masked ones, do not count. Not changed.
    read_noise : float
        Read noise of one frame, adu, from biases.
    read_noise_error : float, optional
        Its standard error, adu.

    Returns
    -------
    Gain
        ``gain`` is NaN if the scatter is not above the read noise, if the flats are full or have no
        light, or if no whole block has a good pixel. ``n_pixels`` is 0 if no pixels were compared.

    Raises
    ------
    UserError
        For anything but two or more frames, each at least as large as a block.

    Notes
    -----
    Each frame of level l is scaled to the mean level L of all frames. A pixel has the signal s, the
    gain g and the read noise R. Its sum of squared differences from the mean of the frames, over n
    - 1, has the expectation s/g <L/l> + R^2 <(L/l)^2>.
    """
    flats = np.asarray(flats)
    if flats.ndim != 3 or len(flats) < 2 or min(flats.shape[1:]) < BLOCK_SIDE:
        raise UserError(
            "the gain needs two flats or more",
            keyword="flats",
            value=flats.shape,
            allowed=f"(n, ny, nx), n from 2, ny and nx from {BLOCK_SIDE}",
            remedy="give two flats of one level or more, with the overscan trimmed",
        )
    is_good = np.isfinite(flats).all(axis=0)
    levels = _levels_of_flats(flats, is_good)
    level = levels.mean()
    whole = tuple(slice(size - size % BLOCK_SIDE) for size in is_good.shape)
    if not (levels > 0).all() or not is_good[whole].any():
        return Gain(np.nan, np.nan, float(level), np.nan, 0)
    ratios = level / levels
    scaled = _scale_blocks(flats, ratios, is_good)
    least_variance = (1 + _LEAST_PHOTON_RATIO) * read_noise**2 * np.mean(ratios**2)
    all_scatters = list(_scatter_by_level(scaled, read_noise))
    scatters = [scatter for scatter in all_scatters if scatter.variance > least_variance]
    scatters = scatters or _join_bins(all_scatters)
    gains = [_gain_of_bin(scatter, ratios, read_noise, read_noise_error) for scatter in scatters]
    n_pixels = sum(gain.n_pixels for gain in gains)
    variance = sum(gain.variance * gain.n_pixels for gain in gains) / max(n_pixels, 1)
    return Gain(*combine_gains(gains), float(level), float(variance), n_pixels)


def _levels_of_flats(flats, is_good):
    """Return the mean of the good pixels of each flat, (n,) float64; (1,) NaN if none is good."""
    if not is_good.any():
        return np.array([np.nan])
    are_all_good = is_good.all()
    return np.array(
        [(flat if are_all_good else flat[is_good]).mean(dtype=np.float64) for flat in flats]
    )


def _gain_of_bin(scatter, ratios, read_noise, read_noise_error):
    """Return the `Gain` by the pixels of a bin; its gain is NaN where they show no photons.

    Parameters
    ----------
    scatter : _LevelScatter
    ratios : numpy.ndarray of shape (n,), float64
        Mean level of all flats over the level of each flat.
    read_noise, read_noise_error : float
        As for `measure_gain`.
    """
    mean_square_ratio = np.mean(ratios**2)
    photons = scatter.variance - read_noise**2 * mean_square_ratio
    # Pixels without light, such as those beside a slit, and full pixels show no photons.
    if not 0 < scatter.level < photons * HIGHEST_GAIN:
        return Gain(np.nan, np.nan, scatter.level, scatter.variance, scatter.n_pixels)
    gain = scatter.level * np.mean(ratios) / photons
    variance_error = scatter.variance * np.sqrt(2 / scatter.freedom)
    read_noise_error_part = 2 * read_noise * read_noise_error * mean_square_ratio
    error = gain * np.hypot(variance_error, read_noise_error_part) / photons
    return Gain(float(gain), float(error), scatter.level, scatter.variance, scatter.n_pixels)


class _ScaledBlocks(NamedTuple):
    """Frames scaled to one level, cut to whole blocks.

    Attributes
    ----------
    differences : numpy.ndarray of shape (n, ny, nx), float64
        Pixels of each frame minus their mean, adu; 0 where a pixel is not good.
    middle : numpy.ndarray of shape (ny, nx), float64
        Mean of the scaled frames, adu.
    is_good : numpy.ndarray of shape (ny, nx), bool
        Pixels that count.
    """

    differences: np.ndarray
    middle: np.ndarray
    is_good: np.ndarray

    @property
    def bands(self):
        """The slices of the rows of blocks; one slice fits in the processor's cache."""
        return [
            slice(first, first + BLOCK_SIDE) for first in range(0, len(self.middle), BLOCK_SIDE)
        ]


def _scale_blocks(flats, factors, is_good):
    """Return the `_ScaledBlocks` of flats times their factors, (n,).

    Parameters
    ----------
    flats : numpy.ndarray of shape (n, ny, nx), float32 or float64
        Images of the flats.
    factors : numpy.ndarray of shape (n,), float64
        Factor on each flat.
    is_good : numpy.ndarray of shape (ny, nx), bool
        Pixels that count.
    """
    n, ny, nx = flats.shape
    shape = ny - ny % BLOCK_SIDE, nx - nx % BLOCK_SIDE
    is_good = is_good[: shape[0], : shape[1]]
    blocks = _ScaledBlocks(np.empty((n, *shape)), np.empty(shape), is_good)
    for rows in blocks.bands:
        scaled_flats, middle = blocks.differences[:, rows], blocks.middle[rows]
        for scaled, flat, factor in zip(scaled_flats, flats, factors, strict=True):
            np.multiply(flat[rows, : shape[1]], factor, out=scaled, dtype=np.float64)
        np.mean(scaled_flats, axis=0, out=middle)
        differences = np.subtract(scaled_flats, middle, out=scaled_flats)
        if not is_good[rows].all():
            differences[:, ~is_good[rows]] = 0
    return blocks


def _expected_noise(blocks, read_noise):
    """Return the noise of the differences of pixels, adu up to a factor, by their level.

    The model is a variance R^2 + c l, with the read noise R, the level l, and the variance c of the
    bright pixels over their level. Only the change of the noise with the level within a bin is
    used: limits are multiples of the scatter that each bin shows. A factor common to all pixels
    therefore does not count, and c may contain the read variance, which is small beside the
    variance of bright pixels.

    Parameters
    ----------
    blocks : _ScaledBlocks
    read_noise : float
        Adu.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float64
        Adu, right up to a common factor.
    """
    floor = max(read_noise, _LEAST_READ_NOISE)
    levels = blocks.middle[blocks.is_good]
    is_bright = blocks.middle >= median(levels)
    is_bright &= blocks.is_good
    squares = np.concatenate(
        [
            column_medians(np.abs(blocks.differences[:, rows])[:, is_bright[rows]]) ** 2
            for rows in blocks.bands
        ]
    )
    bright_level = max(median(blocks.middle[is_bright]), _LEAST_BRIGHT_LEVEL)
    variance_per_level = MAD_TO_SIGMA**2 * median(squares) / bright_level
    variances = np.maximum(blocks.middle, 0)
    variances *= variance_per_level
    variances += floor**2
    return np.sqrt(variances, out=variances)


class _LevelScatter(NamedTuple):
    """The scatter of the pixels of one bin of levels.

    Attributes
    ----------
    level : float
        Mean of the pixels, adu.
    variance : float
        Variance of a pixel between the frames, adu^2.
    n_pixels : int
        Number of pixels.
    freedom : float
        Degrees of freedom of the variance.
    """

    level: float
    variance: float
    n_pixels: int
    freedom: float


def _join_bins(scatters):
    """Return a list with the `_LevelScatter` of all pixels of some bins; empty for no bins.

    Where the read noise is most of the scatter, it decides in which bin a pixel is: the levels of
    the bins are not those of the light.

    Parameters
    ----------
    scatters : list of _LevelScatter
    """
    if not scatters:
        return []
    n_pixels = sum(scatter.n_pixels for scatter in scatters)
    freedom = sum(scatter.freedom for scatter in scatters)
    level = sum(scatter.level * scatter.n_pixels for scatter in scatters) / n_pixels
    variance = sum(scatter.variance * scatter.freedom for scatter in scatters) / freedom
    return [_LevelScatter(level, variance, n_pixels, freedom)]


def _scatter_by_level(blocks, read_noise):
    """Yield the `_LevelScatter` of each bin of levels.

    Pixels of one level have one noise. In flats with a spectrum or a vignette a common limit would
    exclude the bright pixels. A bin may reach from dark to lit pixels, as beside a slit: within a
    bin the limit follows the expected noise.

    Parameters
    ----------
    blocks : _ScaledBlocks
        Its differences are changed in place.
    read_noise : float
        Adu.
    """
    bin_numbers = _level_bin_numbers(blocks)
    expected_noise = _expected_noise(blocks, read_noise)
    limits = _limits_of_bins(blocks, bin_numbers, expected_noise)
    has_stars = _has_stars(blocks, bin_numbers, limits, expected_noise)
    pixel_counts, sums = np.zeros(_N_LEVEL_BINS, np.int64), np.zeros((3, _N_LEVEL_BINS))
    for rows in blocks.bands:
        limit_in_noises = limits[bin_numbers[rows]]
        limit = np.multiply(limit_in_noises, expected_noise[rows], out=limit_in_noises)
        is_used = _pixels_within(blocks, rows, limit, has_stars=has_stars)
        _add_band(blocks, rows, bin_numbers[rows], is_used, pixel_counts, sums)
    for n_pixels, light, sum_of_squares, freedom in zip(pixel_counts, *sums, strict=True):
        if freedom > 0:
            yield _LevelScatter(
                level=float(light / n_pixels),
                variance=float(sum_of_squares / freedom),
                n_pixels=int(n_pixels),
                freedom=float(freedom),
            )


def _level_bin_numbers(blocks):
    """Return the number of the bin of levels that each pixel is in, (ny, nx) int8."""
    levels = blocks.middle[blocks.is_good]
    # Quantiles of sorted values take less time than those of unsorted ones.
    levels.sort()
    edges = np.quantile(levels, np.linspace(0, 1, _N_LEVEL_BINS + 1)[1:-1])
    # `numpy.searchsorted` gives the same counts and is slower: it takes pixel by pixel.
    bin_numbers = np.zeros(blocks.middle.shape, np.int8)
    for edge in edges:
        bin_numbers += blocks.middle > edge
    return bin_numbers


def _pixels_within(blocks, rows, limit, *, has_stars):
    """Return the mask of pixels of a row of blocks that are within their limits in all frames.

    An outlier in one frame shifts the mean of its pixel, and all differences from it.

    Parameters
    ----------
    blocks : _ScaledBlocks
    rows : slice
        One of the bands.
    limit : numpy.ndarray of shape (BLOCK_SIDE, nx), float64
        Limit of the differences, adu.
    has_stars : bool
        Whether pixels with the light of stars are excluded as well.

    Returns
    -------
    numpy.ndarray of shape (BLOCK_SIDE, nx), bool
    """
    is_used = blocks.is_good[rows].copy()
    for differences in blocks.differences[:, rows]:
        is_used &= np.abs(differences) <= limit
    if has_stars:
        is_used &= ~_star_pixels(blocks.differences[:, rows], limit / PAIR_CLIP, is_used)
    return is_used


def _add_band(blocks, rows, bin_numbers, is_used, pixel_counts, sums):
    """Add the pixels of a row of blocks to the sums of the bins of levels, in place.

    Parameters
    ----------
    blocks : _ScaledBlocks
        The differences of these rows are changed in place.
    rows : slice
        One of the bands.
    bin_numbers : numpy.ndarray of shape (BLOCK_SIDE, nx), int8
        The bin of each pixel.
    is_used : numpy.ndarray of shape (BLOCK_SIDE, nx), bool
        Pixels that count.
    pixel_counts : numpy.ndarray of shape (k,), int64
        Number of pixels in each of the k bins.
    sums : numpy.ndarray of shape (3, k), float64
        Sums of the levels of these pixels, adu, of their squared differences, adu^2, and of their
        degrees of freedom.
    """
    count, squares = _scatter_in_blocks(blocks.differences[:, rows], is_used)
    freedom_of_pixel = (len(blocks.differences) - 1) * (1 - 1 / np.maximum(count, 1))
    bins_of_used = bin_numbers[is_used]
    pixel_counts += np.bincount(bins_of_used, minlength=_N_LEVEL_BINS)
    freedom = np.broadcast_to(freedom_of_pixel, is_used.shape)
    for total, values in zip(sums, (blocks.middle[rows], squares, freedom), strict=True):
        total += np.bincount(bins_of_used, values[is_used], minlength=_N_LEVEL_BINS)


def _limits_of_bins(blocks, bin_numbers, expected_noise):
    """Return the limit of the differences in each bin of levels, in units of the expected noise.

    Parameters
    ----------
    blocks : _ScaledBlocks
    bin_numbers : numpy.ndarray of shape (ny, nx), int8
        The bin of each pixel.
    expected_noise : numpy.ndarray of shape (ny, nx), float64
        The result of `_expected_noise`.
    """
    limits = np.zeros(_N_LEVEL_BINS)
    distances = np.abs(blocks.differences)
    distances /= expected_noise
    # Pixels are selected from the flattened image: an index for each axis takes ten times as long.
    distances = distances.reshape(len(distances), -1)
    for number in range(_N_LEVEL_BINS):
        pixels = np.flatnonzero((bin_numbers == number) & blocks.is_good)
        if pixels.size:
            limits[number] = PAIR_CLIP * MAD_TO_SIGMA * median(distances.take(pixels, axis=1))
    return limits


def _has_stars(blocks, bin_numbers, limits, expected_noise):
    """Return whether more pixels are beyond their limit than hits alone explain: stars.

    Parameters
    ----------
    blocks, bin_numbers, expected_noise
        As of `_limits_of_bins`.
    limits : numpy.ndarray of shape (n_bins,), float64
        The result of `_limits_of_bins`.
    """
    n_beyond = 0
    for rows in blocks.bands:
        limit = limits[bin_numbers[rows]] * expected_noise[rows]
        n_beyond += np.count_nonzero((np.abs(blocks.differences[:, rows]) > limit).any(axis=0))
    return n_beyond > _MOST_HIT_FRACTION * np.count_nonzero(blocks.is_good)


def _star_pixels(differences, noise, is_used):
    """Return the mask of pixels of a row of blocks that have the light of a star in a frame.

    A faint star without an outlying pixel increases the scatter, and so do the wings of a bright
    star: light is summed in small boxes to find both.

    Parameters
    ----------
    differences : numpy.ndarray of shape (n, BLOCK_SIDE, nx), float64
    noise : numpy.ndarray of shape (BLOCK_SIDE, nx), float64
        Noise of a difference.
    is_used : numpy.ndarray of shape (BLOCK_SIDE, nx), bool
        Good pixels within their limits. The other pixels count as stars, with the wings around
        them.

    Returns
    -------
    numpy.ndarray of shape (BLOCK_SIDE, nx), bool
    """
    side, nx = is_used.shape
    is_star = ~is_used
    count = _box_sums(is_used.astype(np.float64), _STAR_BOX // 2)
    for frame in differences:
        pulls = np.divide(
            frame, noise, out=np.full(is_used.shape, np.nan), where=is_used & (noise > 0)
        )
        blocks = pulls.reshape(side, -1, BLOCK_SIDE).swapaxes(0, 1).reshape(nx // BLOCK_SIDE, -1)
        with warnings.catch_warnings():
            # A block may have no pixel that counts.
            warnings.simplefilter("ignore", RuntimeWarning)
            middles = np.nan_to_num(np.nanmedian(blocks, axis=1))
        pulls = np.nan_to_num(pulls - np.repeat(middles, BLOCK_SIDE))
        is_star |= np.abs(_box_sums(pulls, _STAR_BOX // 2)) > _STAR_SIGMA * np.sqrt(count)
    return _box_sums(is_star.astype(np.float64), _STAR_WING_PIXELS) > 0.5


def _box_sums(image, reach):
    """Return the sums over the pixels of the image at most `reach` away along either axis.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float64
    reach : int
    """
    for axis in (0, 1):
        padded = np.moveaxis(np.zeros(np.add(image.shape, np.eye(2, dtype=int)[axis])), axis, 0)
        np.cumsum(np.moveaxis(image, axis, 0), axis=0, out=padded[1:])
        places = np.arange(image.shape[axis])
        highs = np.minimum(places + reach + 1, len(places))
        sums = padded[highs] - padded[np.maximum(places - reach, 0)]
        image = np.moveaxis(sums, 0, axis)
    return image


def _scatter_in_blocks(differences, is_used):
    """Return the squared differences of a row of blocks from the means of each block.

    Parameters
    ----------
    differences : numpy.ndarray of shape (n, BLOCK_SIDE, nx), float64
        Changed in place.
    is_used : numpy.ndarray of shape (BLOCK_SIDE, nx), bool
        Pixels that count.

    Returns
    -------
    count : numpy.ndarray of shape (nx,), int64
        The pixels that count in the block of each column.
    squares : numpy.ndarray of shape (BLOCK_SIDE, nx), float64
        Sum of the squared differences of each pixel from the means of its block.
    """
    starts = np.arange(0, is_used.shape[1], BLOCK_SIDE)
    count = np.add.reduceat(is_used.sum(axis=0), starts)
    differences *= is_used
    means = np.add.reduceat(differences.sum(axis=1), starts, axis=1) / np.maximum(count, 1)
    differences -= np.repeat(means, BLOCK_SIDE, axis=1)[:, np.newaxis]
    squares = np.square(differences, out=differences)
    return np.repeat(count, BLOCK_SIDE), squares.sum(axis=0)


def combine_gains(gains):
    """Return the weighted mean of the gains from several exposures, and its error.

    The mean is that of the inverse gains (variance over signal), which scatter evenly about the
    true value. A gain that is low by chance has a small error, and would bias a mean of gains.

    Parameters
    ----------
    gains : list of Gain

    Returns
    -------
    gain, error : float
        Electrons per adu, and the standard error; NaN if no gain is finite.
    """
    finite_gains = [gain for gain in gains if np.isfinite(gain.gain)]
    if not finite_gains:
        return np.nan, np.nan
    values = np.array([gain.gain for gain in finite_gains])
    errors = np.array([gain.error for gain in finite_gains], dtype=np.float64)
    weights = (values / errors) ** 2
    mean_gain = weights.sum() / (weights / values).sum()
    return float(mean_gain), float(mean_gain * weights.sum() ** -0.5)


def measure_linearity(times, levels, errors, evaluated_level):
    """Return the `Linearity` by flats of three exposures or more.

    Parameters
    ----------
    times : sequence of float
        Exposures, seconds.
    levels, errors : sequence of float
        Mean level of the flats of each exposure, adu above the bias, and its standard error
        (mostly due to the lamp).
    evaluated_level : float
        Level at which the departure is evaluated, adu.

    Returns
    -------
    Linearity
        All fields are NaN for fewer than three exposures.

    Notes
    -----
    A parabola c0 + c1 t + c2 t^2 is fitted with the errors as weights. Its straight part is c1 (t +
    c0/c1): c0/c1 is the time that the shutter adds. At the exposure t of the evaluated level the
    departure is c2 t / c1.
    """
    times, levels, errors = (
        np.asarray(values, dtype=np.float64) for values in (times, levels, errors)
    )
    if len(np.unique(times)) < 3:
        return Linearity(*[np.nan] * 5)
    longest = times.max()
    design = np.vander(times / longest, 3, increasing=True) / errors[:, np.newaxis]
    covariance = np.linalg.inv(design.T @ design)
    c0, c1, c2 = covariance @ design.T @ (levels / errors)
    exposure = evaluated_level / c1
    slope = np.array([0.0, -c2 * exposure / c1, exposure]) / c1
    shutter_slope = np.array([1.0, -c0 / c1, 0.0]) / c1
    return Linearity(
        departure=float(c2 * exposure / c1),
        error=float(np.sqrt(slope @ covariance @ slope)),
        level=float(evaluated_level),
        shutter=float(c0 / c1 * longest),
        shutter_error=float(np.sqrt(shutter_slope @ covariance @ shutter_slope) * longest),
    )
