"""Gain and linearity of an amplifier, from the flats of an ordinary night.

The photons of a flat scatter by the root of their number. The scatter in adu against the level in
adu therefore gives the electrons per adu (Janesick, Photon Transfer, SPIE Press 2007, chapter 5).
Frames of one exposure are compared pixel by pixel, so that fixed structure (vignetting, dust, the
response of the pixels) cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ccdflow.errors import UserError
from ccdflow.robust import MAD_TO_SIGMA, column_medians, median

BLOCK_SIDE = 16
"""Pixels on a side of the blocks whose mean is taken out of the differences between frames."""

PAIR_CLIP = 5.0
"""Differences beyond this many sigma are cosmic rays, or pixels that do not follow the others."""

HIGHEST_GAIN = 300.0
"""Electrons per adu that no detector has (12 bits for a million electrons are 250): flats that
scatter so little are full."""

# Parts of the levels of the pixels, each with its own limit and gain.
_LEVELS = 8


@dataclass(frozen=True)
class Gain:
    """The gain of an amplifier, from the flats of one exposure.

    Attributes
    ----------
    gain, error : float
        Electrons per adu, and the standard error.
    level : float
        Mean level of the flats, adu.
    variance : float
        Variance of a pixel at that level, adu^2, read noise included.
    pixels : int
        Number of pixels compared.
    """

    gain: float
    error: float
    level: float
    variance: float
    pixels: int


@dataclass(frozen=True)
class Linearity:
    """The departure of the level from proportionality to the exposure.

    Attributes
    ----------
    departure, error : float
        Relative departure from a straight line at ``level``, negative where counts are lost, and
        its standard error.
    level : float
        Adu.
    shutter : float
        Seconds by which the exposure is longer (if negative, shorter) than its card says.
    shutter_error : float
        Seconds.
    """

    departure: float
    error: float
    level: float
    shutter: float
    shutter_error: float


def measure_gain(flats, read_noise, read_noise_error=0.0):
    """Measure the gain of an amplifier from flats of one exposure.

    Parameters
    ----------
    flats : array_like
        Shape (n, ny, nx), adu above the bias, at least two flats; pixels that are not finite, such
        as masked ones, are ignored. Not changed.
    read_noise, read_noise_error : float
        Read noise of one frame, adu, from biases.

    Returns
    -------
    Gain
        ``gain`` is NaN if the scatter is not above the read noise, or the flats are full.

    Raises
    ------
    UserError
        For fewer than two frames, frames smaller than a block, or a level that is not above zero.

    Notes
    -----
    Each frame is scaled to the mean level L. The sum of squared differences from the mean of the
    frames, over n - 1, then has the expectation s/g <L/l> + R^2 <(L/l)^2> in pixels of signal s,
    with the levels l of the frames, the gain g and the read noise R.
    """
    flats = np.asarray(flats, dtype=np.float64)
    if flats.ndim != 3 or len(flats) < 2 or min(flats.shape[1:]) < BLOCK_SIDE:
        raise UserError(
            "the gain needs two flats or more",
            keyword="flats",
            value=flats.shape,
            allowed=f"(n, ny, nx), n from 2, ny and nx from {BLOCK_SIDE}",
            remedy="give two flats of one level or more, with the overscan trimmed",
        )
    is_good = np.isfinite(flats).all(axis=0)
    levels = np.array([flat[is_good].mean() if is_good.any() else np.nan for flat in flats])
    if not (levels > 0).all():
        raise UserError(
            "the level of a flat is not above zero",
            keyword="flats",
            value=levels.tolist(),
            allowed="levels above the bias",
            remedy="give flats with light, less their bias",
        )
    level = levels.mean()
    scaled_flats = flats * (level / levels)[:, np.newaxis, np.newaxis]
    # Numbers of double precision take twice the memory of the frames.
    del flats
    share = np.mean((level / levels) ** 2)
    gains = []
    for part_level, variance, pixels, freedom in _scatter_by_level(
        scaled_flats, is_good, read_noise
    ):
        photons = variance - read_noise**2 * share
        if photons * HIGHEST_GAIN <= part_level:
            gains.append(Gain(np.nan, np.nan, float(part_level), variance, pixels))
            continue
        gain = part_level * np.mean(level / levels) / photons
        variance_error = variance * np.sqrt(2 / freedom)
        read_noise_error_part = 2 * read_noise * read_noise_error * share
        error = gain * np.hypot(variance_error, read_noise_error_part) / photons
        gains.append(Gain(float(gain), float(error), float(part_level), variance, pixels))
    pixels = sum(part.pixels for part in gains)
    variance = sum(part.variance * part.pixels for part in gains) / max(pixels, 1)
    return Gain(*combine_gains(gains), float(level), float(variance), pixels)


def _expected_noise(differences, middle, is_good, read_noise):
    """Return the relative noise of pixels, by their level and the read noise.

    Parameters
    ----------
    differences : numpy.ndarray of shape (n, k), float64
        Pixels of each frame less their mean, adu.
    middle : numpy.ndarray of shape (k,), float64
        This mean, adu.
    is_good : numpy.ndarray of shape (k,), bool
    read_noise : float
        Adu.
    """
    floor = max(read_noise, 1e-3)
    distances = np.abs(differences.take(np.flatnonzero(is_good), axis=1))
    squares, levels = column_medians(distances) ** 2, middle[is_good]
    is_bright = levels >= median(levels)
    per_level = MAD_TO_SIGMA**2 * median(squares[is_bright]) / max(median(levels[is_bright]), 1)
    return np.sqrt(np.maximum(middle, 0) * per_level + floor**2)


class _LevelScatter(NamedTuple):
    """The scatter of the pixels of some levels.

    Attributes
    ----------
    level : float
        Their mean, adu.
    variance : float
        adu^2.
    pixels : int
        Their number.
    freedom : float
        Degrees of freedom of the variance.
    """

    level: float
    variance: float
    pixels: int
    freedom: float


def _scatter_by_level(scaled_flats, is_good, read_noise):
    """Yield the `_LevelScatter` of each part of the levels.

    Pixels of one level have one noise: where a spectrum or a vignette is on the flats, a limit for
    all pixels would leave out the bright ones. A part may span levels from the dark to the lit
    (beside a slit), so that the limit follows the noise within a part as well.

    Parameters
    ----------
    scaled_flats : numpy.ndarray
        Frames scaled to one level, (n, ny, nx); changed in place.
    is_good : numpy.ndarray
        Pixels to use, (ny, nx), bool.
    read_noise : float
        Adu.
    """
    n, ny, nx = scaled_flats.shape
    ny, nx = ny - ny % BLOCK_SIDE, nx - nx % BLOCK_SIDE
    scaled_flats, is_good = scaled_flats[:, :ny, :nx], is_good[:ny, :nx]
    middle = scaled_flats.mean(axis=0)
    shape = n, ny // BLOCK_SIDE, BLOCK_SIDE, nx // BLOCK_SIDE, BLOCK_SIDE
    # Pixels are selected from the flattened image: an index for each axis takes ten times as long.
    scaled_flats -= middle
    differences, middle = scaled_flats.reshape(n, -1), middle.ravel()
    is_good = is_good.ravel()
    edges = np.quantile(middle[is_good], np.linspace(0, 1, _LEVELS + 1)[1:-1])
    # As `numpy.searchsorted` counts, which looks for each pixel by itself.
    bins = np.zeros(middle.shape, np.int8)
    for edge in edges:
        bins += middle > edge
    expected_noise = _expected_noise(differences, middle, is_good, read_noise)
    spread = np.zeros(middle.shape)
    for part in range(_LEVELS):
        indices = np.flatnonzero(is_good & (bins == part))
        if indices.size:
            distances = np.abs(differences.take(indices, axis=1))
            distances /= expected_noise[indices]
            spread[indices] = MAD_TO_SIGMA * median(distances) * expected_noise[indices]
    # A pixel that is off in one frame shifts its mean, and so all of its differences.
    spread *= PAIR_CLIP
    is_kept = is_good.copy()
    for frame_differences in differences:
        is_kept &= np.abs(frame_differences) <= spread
    blocks, is_kept = differences.reshape(shape), is_kept.reshape(shape[1:])
    count = is_kept.sum(axis=(1, 3), keepdims=True)
    means = np.where(is_kept, blocks, 0).sum(axis=(2, 4), keepdims=True) / np.maximum(count, 1)
    blocks -= means
    np.square(blocks, out=blocks)
    squares = sum(np.where(is_kept, frame_differences, 0) for frame_differences in blocks).ravel()
    freedom = (is_kept * (n - 1) * (1 - 1 / np.maximum(count, 1))).ravel()
    is_kept = is_kept.ravel()
    for part in range(_LEVELS):
        indices = np.flatnonzero(is_kept & (bins == part))
        if (total := float(freedom[indices].sum())) > 0:
            yield _LevelScatter(
                level=float(middle[indices].mean()),
                variance=float(squares[indices].sum() / total),
                pixels=indices.size,
                freedom=total,
            )


def combine_gains(gains):
    """Return the mean of gains from several exposures, weighted by their relative errors.

    The mean is taken of one over the gain (noise over signal), which scatters evenly about its true
    value. A gain that came out low by chance has a small error of its own, and would draw a mean of
    gains to it.

    Parameters
    ----------
    gains : list of Gain

    Returns
    -------
    gain, error : float
        Electrons per adu; NaN if none is finite. The error is one standard error.
    """
    finite_gains = [
        gain_of_exposure for gain_of_exposure in gains if np.isfinite(gain_of_exposure.gain)
    ]
    if not finite_gains:
        return np.nan, np.nan
    values = np.array([gain_of_exposure.gain for gain_of_exposure in finite_gains])
    errors = np.array(
        [gain_of_exposure.error for gain_of_exposure in finite_gains], dtype=np.float64
    )
    weights = (values / errors) ** 2
    gain = weights.sum() / (weights / values).sum()
    return float(gain), float(gain * weights.sum() ** -0.5)


def measure_linearity(times, levels, errors, evaluated_level):
    """Measure the departure from linearity from flats of three exposures or more.

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
        All NaN for fewer than three exposures.

    Notes
    -----
    A parabola c0 + c1 t + c2 t^2 is fitted with the errors as weights. Its straight part is
    c1 (t + c0/c1), so c0/c1 is the time that the shutter adds, and at the exposure t that gives the
    wanted level the departure is c2 t / c1.
    """
    times, levels, errors = (np.asarray(each, dtype=np.float64) for each in (times, levels, errors))
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
