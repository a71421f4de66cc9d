"""Pixels of a detector that are bad in the dark, from the darks of an ordinary night.

Darks of several exposures give a straight line for each pixel: a rate, and an offset at exposure
zero. A pixel with a high rate is hot. A dark cannot correct a pixel that follows no line, or varies
between frames of one exposure. docs/products.md explains the bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ccdflow.detector.pixels.columns import PART_ROWS
from ccdflow.detector.pixels.surroundings import finite_values, surrounding_medians
from ccdflow.errors import UserError
from ccdflow.mask_bits import HOT, VARIES
from ccdflow.robust import MAD_TO_SIGMA, chi_square_limit, median_of_numbers

FALSE_ALARM_FRACTION = 1e-6
"""Fraction of good pixels that one limit of chi^2 calls bad by chance."""

BAD_SIGMA = 5
"""A bad pixel is more than this many standard errors above its surroundings: one normal value in
3.5 million is, one pixel or two of a chip. Its offset may also be as far below them."""

# A value is a hit if it is this many sigma above the mean of the other values of its pixel and
# exposure: by chance one in a thousand million is. A single hit of a pixel is a cosmic ray.
_HIT_SIGMA = 6.0
# The sample from which the values of usual pixels are found has at most this many rows: 256,000
# pixels with 2000 columns. More rows of every dark take longer to read; with fewer, bad columns and
# glows have a larger part in the sample. Chosen, not measured.
_SAMPLE_ROWS = 128
# Pixels that are fitted at once: they fit in the processor's cache.
_STRIP_PIXELS = 1 << 17
# Noise factors up to this count as 1: chance causes them. With a larger limit good pixels of a
# detector that is noisier than assumed are flagged; with a smaller one the factors follow the
# scatter of a median.
_LARGEST_CHANCE_FACTOR = 1.05
# A pixel whose rate is this many standard errors above the usual rate is fitted again, with the
# weights of its own charge. Chosen: with a smaller limit good pixels are fitted twice, with a
# larger one warm pixels have wrong errors.
_OWN_CHARGE_SIGMA = 3
# Fits of the usual line: the second has the weights of the charge that the first finds. A pixel
# that is fitted again has one fit more, with the weights of its own charge.
_ITERATIONS = 2


@dataclass(frozen=True)
class DarkLines:
    """The straight line through the darks of each pixel, and how well it fits.

    Attributes
    ----------
    rate, rate_error : numpy.ndarray of shape (ny, nx), float32 and float64
        Slope and its standard error, electrons a second.
    offset, offset_error : numpy.ndarray of shape (ny, nx), float32 and float64
        Value at an exposure of zero and its standard error, electrons.
    misfit_chi2 : numpy.ndarray of shape (ny, nx), float32
        Chi^2 of the means of the exposures about the line.
    misfit_freedom : int
        Degrees of freedom of ``misfit_chi2``: 0 for two exposures.
    scatter_chi2 : numpy.ndarray of shape (ny, nx), float32
        Chi^2 of the frames about the means of their exposures.
    scatter_freedom : int
        Degrees of freedom of ``scatter_chi2``: 0 for one frame of each exposure.
    """

    rate: np.ndarray
    rate_error: np.ndarray
    offset: np.ndarray
    offset_error: np.ndarray
    misfit_chi2: np.ndarray
    misfit_freedom: int
    scatter_chi2: np.ndarray
    scatter_freedom: int


class NoiseFactors(NamedTuple):
    """The noise of the darks over the assumed noise, 1 or more: one factor for each figure.

    Attributes
    ----------
    rate, offset : float
        Factors of the errors of rates and offsets.
    misfit_chi2, scatter_chi2 : float
        Factors of the two chi^2 of `DarkLines`.
    """

    rate: float = 1.0
    misfit_chi2: float = 1.0
    scatter_chi2: float = 1.0
    offset: float = 1.0


# The factors of darks that have the assumed noise.
_ASSUMED_NOISE = NoiseFactors()


class DarkFit:
    """The fit of lines to the darks of an amplifier, a strip of rows at a time.

    Parameters
    ----------
    sample : numpy.ndarray of shape (n, k, nx), float32
        Some rows of each dark, electrons, bias subtracted.
    times : sequence of float
        Exposure times in seconds; at least two different ones.
    read_noise : float
        Electrons; includes the noise of the combined bias.
    drops_hits : bool, optional
        Whether a pixel's single hit (`_HIT_SIGMA`) is left out as a cosmic ray.

    Attributes
    ----------
    exposures : numpy.ndarray of shape (k,), float64
        The different exposure times, seconds, the shortest first.
    rate : float
        The dark current of a usual pixel, electrons a second.
    noise_factors : NoiseFactors
        Measured in the sample.

    Raises
    ------
    UserError
        If all exposures are equal.
    """

    def __init__(self, sample, times, read_noise, *, drops_hits=False):
        times = np.asarray(times, dtype=np.float64)
        self.exposures, self._exposure_indices = np.unique(times, return_inverse=True)
        if len(self.exposures) < 2:
            raise UserError(
                "a rate needs darks of two exposures or more",
                keyword="times",
                value=times.tolist(),
                allowed="two exposures or more",
                remedy="give darks of another exposure as well",
            )
        self._counts = np.bincount(self._exposure_indices)
        self._members = [
            _slice_or_indices(np.flatnonzero(self._exposure_indices == i))
            for i in range(len(self._counts))
        ]
        self._read_noise = float(read_noise)
        self._drops_hits = drops_hits
        self._usual_charge = np.zeros(len(self.exposures))
        self.rate = 0.0
        self.noise_factors = _ASSUMED_NOISE
        # The noise follows from the charge of a usual pixel: weights by the charge of the pixel
        # itself would bias the line.
        for _ in range(_ITERATIONS):
            lines = self._fit(sample, is_refined=False)
            self.rate = float(median_of_numbers(lines.rate))
            middle = float(median_of_numbers(lines.offset))
            self._usual_charge = np.maximum(middle + self.rate * self.exposures, 0)
        self.noise_factors = self._noise_factors(self._fit(sample, is_refined=True))

    @staticmethod
    def _noise_factors(lines):
        """Return the `NoiseFactors` of the lines of a sample."""
        noise_factors = [_deviation_by_mad(lines.rate) / float(median_of_numbers(lines.rate_error))]
        for values, freedom in (
            (lines.misfit_chi2, lines.misfit_freedom),
            (lines.scatter_chi2, lines.scatter_freedom),
        ):
            noise_factors.append(
                float(median_of_numbers(values)) / chi_square_limit(freedom, 0.5)
                if freedom
                else 1.0
            )
        noise_factors.append(
            _deviation_by_mad(lines.offset) / float(median_of_numbers(lines.offset_error))
        )
        # A factor within the scatter of a median does not show another noise.
        return NoiseFactors(
            *(factor if factor > _LARGEST_CHANCE_FACTOR else 1.0 for factor in noise_factors)
        )

    def lines(self, darks):
        """Return the `DarkLines` of some rows of the darks, (n, k, nx) electrons."""
        return self._fit(darks, is_refined=True)

    def _fit(self, darks, *, is_refined):
        """Return the `DarkLines` of darks; refined lines have weights of their own and no hits."""
        darks = np.asarray(darks, dtype=np.float32)
        hits = self._find_hits(darks) if self._drops_hits and is_refined else None
        means = np.stack([darks[members].mean(axis=0) for members in self._members])
        variances = (self._read_noise**2 + self._usual_charge) / self._counts
        offset, rate, error, offset_error = _usual_line(self.exposures, means, variances)
        misfit_chi2, scatter_chi2 = np.zeros_like(rate), np.zeros_like(rate)
        for mean, exposure, members, variance, count in zip(
            means, self.exposures, self._members, variances, self._counts, strict=True
        ):
            spread = darks[members] - mean
            scatter_chi2 += np.square(spread, out=spread).sum(axis=0) * np.float32(
                1 / (variance * count)
            )
            residual = np.subtract(mean, offset + rate * np.float32(exposure), out=mean)
            misfit_chi2 += np.square(residual, out=residual) * np.float32(1 / variance)
        errors, offset_errors = (np.full(rate.shape, value) for value in (error, offset_error))
        lines = DarkLines(
            rate=rate, rate_error=errors, offset=offset, offset_error=offset_errors,
            misfit_chi2=misfit_chi2, misfit_freedom=len(means) - 2, scatter_chi2=scatter_chi2,
            scatter_freedom=len(darks) - len(means),
        )  # fmt: skip
        if is_refined:
            stands_out = rate > self.rate + _OWN_CHARGE_SIGMA * error
            stands_out |= ~np.isfinite(rate)
            if hits is not None:
                stands_out.reshape(-1)[hits.pixels] = True
            index = np.flatnonzero(stands_out)
            if index.size:
                pixels = np.unravel_index(index, rate.shape)
                hits = None if hits is None else hits.hits_of(index)
                self._refine(lines, darks[:, *pixels], hits, pixels)
        return lines

    def _find_hits(self, darks):
        """Return the `_Hits` of pixels that have a single hit."""
        darks = darks.reshape(len(darks), -1)
        suspects = []
        for usual_charge, count, members in zip(
            self._usual_charge, self._counts, self._members, strict=True
        ):
            if count > 1:
                highest, mean_of_others = _highest_and_others(darks[members])
                # No pixel has a lower limit than this, and few values reach it.
                least = np.float32(0.999 * self._hit_limit(usual_charge, count))
                excess = np.subtract(highest, mean_of_others, out=highest)
                suspects.append(np.flatnonzero(excess > least))
        pixels = np.unique(np.concatenate(suspects)) if suspects else np.zeros(0, np.int64)
        values = darks[:, pixels]
        is_hit = np.zeros(values.shape, bool)
        for usual_charge, count, members in zip(
            self._usual_charge, self._counts, self._members, strict=True
        ):
            if count > 1:
                highest, mean_of_others = _highest_and_others(values[members])
                limit = self._hit_limit(np.maximum(mean_of_others, usual_charge), count)
                is_hit[members] = (values[members] == highest) & (highest - mean_of_others > limit)
        is_only_one = np.count_nonzero(is_hit, axis=0) == 1
        return _Hits(pixels[is_only_one], is_hit[:, is_only_one])

    def _hit_limit(self, charge, count):
        """Return the least excess of a hit over the mean of the pixel's other values, electrons."""
        return _HIT_SIGMA * np.sqrt((self._read_noise**2 + charge) * (1 + 1 / (count - 1)))

    def _refine(self, lines, values, hits, pixels):
        """Fit some pixels again with the weights of their own charge, in place.

        Parameters
        ----------
        lines : DarkLines
            Lines of all pixels; those of the given pixels are changed in place.
        values : numpy.ndarray of shape (n, k), float32
            Values of each frame and pixel.
        hits : numpy.ndarray of shape (n, k), bool, or None
            Values that are left out.
        pixels : (numpy.ndarray of shape (k,), numpy.ndarray of shape (k,)), int
            Rows and columns of the pixels that are fitted again.
        """
        values = values.astype(np.float64)
        is_used = np.isfinite(values)
        if hits is not None:
            is_used &= ~hits
        values = np.where(is_used, values, 0)
        counts = np.stack([is_used[members].sum(axis=0) for members in self._members])
        sums = np.stack([values[members].sum(axis=0) for members in self._members])
        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.where(counts > 0, sums / counts, 0.0)
            variance = np.full(means.shape, self._read_noise**2)
            for _ in range(_ITERATIONS + 1):
                offset, rate, error, offset_error = _weighted_lines(
                    self.exposures, means, counts / variance
                )
                model = offset + rate * self.exposures[:, None]
                has_own_charge = rate > self.rate + _OWN_CHARGE_SIGMA * error
                charge = np.maximum(np.where(has_own_charge, model, self._usual_charge[:, None]), 0)
                variance = self._read_noise**2 + charge
            misfit_chi2 = (np.square(means - model) * counts / variance).sum(axis=0)
            spread = np.where(is_used, np.square(values - means[self._exposure_indices]), 0)
            scatter_chi2 = (spread / variance[self._exposure_indices]).sum(axis=0)
        for name, refined in (
            ("rate", rate), ("rate_error", error), ("offset", offset),
            ("offset_error", offset_error), ("misfit_chi2", misfit_chi2),
            ("scatter_chi2", scatter_chi2),
        ):  # fmt: skip
            getattr(lines, name)[pixels] = refined


class _Hits(NamedTuple):
    """The hits of cosmic rays in darks.

    Attributes
    ----------
    pixels : numpy.ndarray of shape (k,), int64
        Sorted indices in the flattened image of the pixels with a hit.
    is_hit : numpy.ndarray of shape (n, k), bool
        Whether the value of a frame and pixel is the hit.
    """

    pixels: np.ndarray
    is_hit: np.ndarray

    def hits_of(self, pixels):
        """Return the mask of hits, (n, m), of sorted pixels that include all pixels with a hit."""
        is_hit = np.zeros((len(self.is_hit), len(pixels)), bool)
        is_hit[:, np.searchsorted(pixels, self.pixels)] = self.is_hit
        return is_hit


def _highest_and_others(values):
    """Return the highest of each pixel's values, (n, k), and the mean of its other values."""
    highest = values.max(axis=0)
    return highest, (values.sum(axis=0) - highest) / (len(values) - 1)


def _slice_or_indices(indices):
    """Return consecutive indices as a slice, with which numpy copies nothing."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first + 1 == len(indices) else indices


class _PixelLines(NamedTuple):
    """The weighted line of each of n pixels over the exposure, in electrons and electrons a second.

    Attributes
    ----------
    offset, slope, slope_error, offset_error : numpy.ndarray of shape (n,) or float
        Value at 0 s, slope, and standard errors. Errors are floats where all pixels have the same
        weights.
    """

    offset: np.ndarray
    slope: np.ndarray
    slope_error: np.ndarray | float
    offset_error: np.ndarray | float


def _usual_line(times, means, variances):
    """Return the `_PixelLines` of means, (k, ny, nx), with the same weights for all pixels."""
    weights = 1 / variances
    s, st, stt = weights.sum(), weights @ times, weights @ times**2
    determinant = s * stt - st**2
    slope_weights = weights * (s * times - st) / determinant
    offset_weights = weights * (stt - st * times) / determinant
    slope = np.tensordot(slope_weights.astype(np.float32), means, 1)
    offset = np.tensordot(offset_weights.astype(np.float32), means, 1)
    return _PixelLines(offset, slope, np.sqrt(s / determinant), np.sqrt(stt / determinant))


def _weighted_lines(times, values, weights):
    """Return the `_PixelLines` of values, (k, n), with weights of the same shape."""
    t = times[:, None]
    s, st, stt = weights.sum(axis=0), (weights * t).sum(axis=0), (weights * t * t).sum(axis=0)
    sy, sty = (weights * values).sum(axis=0), (weights * t * values).sum(axis=0)
    determinant = s * stt - st**2
    slope = (s * sty - st * sy) / determinant
    offset = (stt * sy - st * sty) / determinant
    return _PixelLines(offset, slope, np.sqrt(s / determinant), np.sqrt(stt / determinant))


def _deviation_by_mad(values):
    """Return the standard deviation of values by their MAD, in their unit; NaN does not count."""
    return float(MAD_TO_SIGMA * median_of_numbers(np.abs(values - median_of_numbers(values))))


def sample_rows(ny):
    """Return the indices of evenly spaced rows for the sample of `DarkFit`, (k,) int."""
    return np.unique(np.linspace(0, ny - 1, min(ny, _SAMPLE_ROWS)).round().astype(int))


def strips_of_rows(shape):
    """Yield slices of the rows of an image that are fitted at once, multiples of `PART_ROWS`."""
    step = max(PART_ROWS, _STRIP_PIXELS // shape[1] // PART_ROWS * PART_ROWS)
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def fit_darks(darks, times, read_noise, *, drops_hits=False):
    """Return the `DarkLines` of all pixels of darks.

    Parameters
    ----------
    darks : array_like
        Shape (n, ny, nx), electrons, bias subtracted. Not changed.
    times : sequence of float
        Exposure times in seconds; at least two different ones.
    read_noise : float
        Electrons; includes the noise of the combined bias.
    drops_hits : bool, optional
        See `DarkFit`.

    Returns
    -------
    DarkLines
        Arrays are float32, those of errors float64.

    Raises
    ------
    UserError
        If all exposures are equal.

    Notes
    -----
    The variance of a value is read_noise^2 plus the electrons of a usual pixel. For a pixel far
    above the usual rate it is read_noise^2 plus the electrons that its own line predicts.

    Examples
    --------
    Three darks of three pixels, one of them hot:

    >>> times = [100.0, 200.0, 300.0]
    >>> rates = np.array([[0.25, 2.0, 0.25]])
    >>> darks = [10 + rates * time for time in times]
    >>> lines = fit_darks(darks, times, read_noise=5.0)
    >>> print(lines.rate, lines.offset.round(3))
    [[0.25 2.   0.25]] [[10. 10. 10.]]
    """
    darks = np.asarray(darks)
    fit = DarkFit(darks[:, sample_rows(darks.shape[1])], times, read_noise, drops_hits=drops_hits)
    lines_of_strips = [fit.lines(darks[:, rows]) for rows in strips_of_rows(darks.shape[1:])]
    names = ("rate", "rate_error", "offset", "offset_error", "misfit_chi2", "scatter_chi2")
    arrays = {
        name: np.concatenate([getattr(part, name) for part in lines_of_strips]) for name in names
    }
    return replace(lines_of_strips[0], **arrays)


def dark_mask(lines, *, hot_rate=0.5, level=None, noise_factors=_ASSUMED_NOISE):
    """Return the mask of pixels that are bad in the dark, (ny, nx).

    Parameters
    ----------
    lines : DarkLines
    hot_rate : float, optional
        A pixel is hot if its rate is more than this many electrons a second above its surroundings
        (`rates_of_surroundings`), and more than `BAD_SIGMA` times its error. The default is that of
        the configuration (`detector: hot_rate`).
    level : float, optional
        Rate of a usual pixel, electrons a second; the median of the lines if absent.
    noise_factors : NoiseFactors, optional
        The noise factors of the `DarkFit` that gave the lines.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), int16
        `HOT` for hot pixels, for pixels without a finite rate, and for pixels that are not linear
        in time: they follow no line, or their offset differs from that of the neighbours by more
        than `BAD_SIGMA` errors. A pixel that is full
        in the shortest dark has such an offset. `VARIES` for pixels that scatter between frames of
        one exposure by more than their noise.
    """
    excess = lines.rate - rates_of_surroundings(
        lines.rate, float(median_of_numbers(lines.rate)) if level is None else level
    )
    is_hot = excess > np.maximum(hot_rate, BAD_SIGMA * noise_factors.rate * lines.rate_error)
    is_hot |= ~np.isfinite(lines.rate)
    offset = finite_values(lines.offset)
    departure_chi2 = np.square(
        (offset - surrounding_medians(offset)) / (noise_factors.offset * lines.offset_error)
    )
    is_hot |= departure_chi2 > BAD_SIGMA**2
    if lines.misfit_freedom:
        misfit_chi2 = lines.misfit_chi2 / noise_factors.misfit_chi2
        is_hot |= misfit_chi2 > chi_square_limit(lines.misfit_freedom, FALSE_ALARM_FRACTION)
        # A pixel that fills up slowly has a small departure and a small misfit, which are
        # independent: their sum is a chi^2.
        limit = chi_square_limit(lines.misfit_freedom + 1, FALSE_ALARM_FRACTION)
        is_hot |= departure_chi2 + misfit_chi2 > limit
    mask = is_hot * np.int16(HOT)
    if lines.scatter_freedom:
        limit = noise_factors.scatter_chi2 * chi_square_limit(
            lines.scatter_freedom, FALSE_ALARM_FRACTION
        )
        mask |= (lines.scatter_chi2 > limit) * np.int16(VARIES)
    return mask


def rates_of_surroundings(rate, level):
    """Return the rate of usual pixels around each pixel, which is higher in a glow.

    Parameters
    ----------
    rate : numpy.ndarray of shape (ny, nx), float32
        Electrons a second.
    level : float
        Rate of a usual pixel of the whole amplifier, electrons a second.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
        The median of the neighbours, at least `level`, electrons a second.
    """
    return np.maximum(surrounding_medians(finite_values(rate, nan=level)), level)
