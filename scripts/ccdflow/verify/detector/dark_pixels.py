"""Pixels that are bad in darks, found once more by a line through the darks of each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from ccdflow.verify.detector.pixel_bits import (
    bad_parts,
    column_sums,
    sigma_by_mad,
    values_of_neighbours,
)
from ccdflow.verify.reading.restated_numbers import BAD_COLUMN, HOT, VARIES

# All numbers but `_OWN_LIGHT_ROUNDS` are those of detector/pixels/, written again, so that a wrong
# one there is noticed here.

# At most this many rows give rate and noise of a usual pixel.
_SAMPLE_ROWS = 128
# Pixels of each dark that are read at once.
_STRIP_PIXELS = 1 << 17
# Fraction of the good pixels that chance takes as far off their line as bad ones.
_FALSE_ALARM_SHARE = 1e-6
# Standard errors by which the rate of a hot pixel is above its surroundings.
_BAD_SIGMA = 5.0
# Standard errors by which a hit by a cosmic ray is above the other values of its exposure.
_HIT_SIGMA = 6.0
# A pixel at least this many standard errors above the usual rate has weights by its own light.
_OWN_LIGHT_SIGMA = 3.0
# Rounds in which the line of a usual pixel is fitted.
_USUAL_ROUNDS = 2
# Rounds in which the line of a pixel is fitted with weights by its own light.
_OWN_LIGHT_ROUNDS = 3
# Errors are scaled by factors above this one: a smaller factor is chance.
_SAME_NOISE = 1.05


def rows_of_usual_pixel(ny):
    """Return the rows in which a usual pixel is measured: int, (k,), evenly spread."""
    return np.unique(np.round(np.linspace(0, ny - 1, min(ny, _SAMPLE_ROWS))).astype(int))


def strips_of(ny, nx):
    """Return the strips, multiples of 32 rows, in which neighbours are compared.

    Parameters
    ----------
    ny, nx : int
        Shape of the amplifier.

    Returns
    -------
    list of slice
    """
    step = max(32, _STRIP_PIXELS // nx // 32 * 32)
    return [slice(low, min(low + step, ny)) for low in range(0, ny, step)]


@dataclass(frozen=True)
class PixelLines:
    """Lines through the darks of some pixels, with errors and chi^2.

    Attributes
    ----------
    rate, error : numpy.ndarray of shape (...), float64
        Rate and its standard error, electrons a second.
    offset, offset_error : numpy.ndarray of shape (...), float64
        Electrons without exposure, and their standard error.
    misfit_chi2, scatter_chi2 : numpy.ndarray of shape (...), float64
        Chi^2 of the exposures about the line, and of the frames about the means of their exposures.
    """

    rate: np.ndarray
    error: np.ndarray
    offset: np.ndarray
    offset_error: np.ndarray
    misfit_chi2: np.ndarray
    scatter_chi2: np.ndarray


class ErrorScales(NamedTuple):
    """The ratios of measured to assumed scatter, each 1 or more.

    Attributes
    ----------
    rate, offset : float
        Factors of the errors of rates and of offsets.
    misfit_chi2, scatter_chi2 : float
        Factors of both chi^2.
    """

    rate: float
    misfit_chi2: float
    scatter_chi2: float
    offset: float


class LinesThroughDarks:
    """The lines in time that the darks of an amplifier follow.

    Parameters
    ----------
    sample : numpy.ndarray of shape (n, r, nx), float64
        Some rows of all darks, electrons; NaN where masked.
    seconds : sequence of float
        Exposure of each dark.
    read_noise : float
        Read noise, electrons.

    Attributes
    ----------
    times : numpy.ndarray of shape (k,), float64
        The different exposures, s.
    members_of_exposures : list of numpy.ndarray of shape (m,), int
        The darks of each exposure, by index.
    read_noise : float
        Electrons.
    usual_light : numpy.ndarray of shape (k,), float64
        Electrons of a usual pixel in each exposure.
    rate : float
        Dark current of a usual pixel, electrons a second.
    degrees_of_freedom : (int, int)
        Those of `misfit_chi2` and of `scatter_chi2` of a pixel.
    scales : ErrorScales
    """

    def __init__(self, sample, seconds, read_noise):
        self.times = np.unique(seconds)
        self.members_of_exposures = [
            np.flatnonzero(np.asarray(seconds) == time) for time in self.times
        ]
        self.read_noise = float(read_noise)
        self.usual_light, self.rate = np.zeros(len(self.times)), 0.0
        for _ in range(_USUAL_ROUNDS):
            lines = self._usual_lines(sample)
            self.rate = float(np.nanmedian(lines.rate))
            self.usual_light = np.maximum(np.nanmedian(lines.offset) + self.rate * self.times, 0)
        self.degrees_of_freedom = len(self.times) - 2, len(seconds) - len(self.times)
        self.scales = self._scales(self.lines(sample))

    def _scales(self, lines):
        """Return the `ErrorScales` by the scatter of these lines."""
        rate = lines.rate[np.isfinite(lines.rate)]
        rate_scale = sigma_by_mad(rate - np.median(rate)) / float(np.nanmedian(lines.error))
        chi2_scales = []
        for values, degrees_of_freedom in zip(
            (lines.misfit_chi2, lines.scatter_chi2), self.degrees_of_freedom, strict=True
        ):
            expected_median = special.chdtri(degrees_of_freedom, 0.5) if degrees_of_freedom else 1.0
            chi2_scales.append(
                float(np.nanmedian(values)) / expected_median if degrees_of_freedom else 1.0
            )
        offset = lines.offset[np.isfinite(lines.offset)]
        offset_scale = sigma_by_mad(offset - np.median(offset)) / float(
            np.nanmedian(lines.offset_error)
        )
        scales = (rate_scale, *chi2_scales, offset_scale)
        return ErrorScales(*[scale if scale > _SAME_NOISE else 1.0 for scale in scales])

    def _usual_lines(self, darks):
        """Return the lines with the weights of a usual pixel: (n, ...) to (...)."""
        means = np.array([darks[members].mean(axis=0) for members in self.members_of_exposures])
        counts = np.array([len(members) for members in self.members_of_exposures])
        variance = (self.read_noise**2 + self.usual_light) / counts
        weight = 1 / variance
        middle = np.average(self.times, weights=weight)
        spread = (weight * (self.times - middle) ** 2).sum()
        rate = np.tensordot(weight * (self.times - middle) / spread, means, 1)
        offset = np.tensordot(weight / weight.sum(), means, 1) - rate * middle
        shape = (-1, *[1] * rate.ndim)
        deviations = means - (offset + rate * self.times.reshape(shape))
        misfit_chi2 = (deviations**2 / variance.reshape(shape)).sum(axis=0)
        scatter_chi2 = sum(
            ((darks[members] - mean) ** 2).sum(axis=0) / (self.read_noise**2 + usual_light)
            for members, mean, usual_light in zip(
                self.members_of_exposures, means, self.usual_light, strict=True
            )
        )
        offset_error = (1 / weight.sum() + middle**2 / spread) ** 0.5
        errors = [np.full(rate.shape, value) for value in (spread**-0.5, offset_error)]
        return PixelLines(
            rate=rate,
            error=errors[0],
            offset=offset,
            offset_error=errors[1],
            misfit_chi2=misfit_chi2,
            scatter_chi2=scatter_chi2,
        )

    def lines(self, darks):
        """Return the lines of pixels; bright or hit ones have the weights of their own light.

        Parameters
        ----------
        darks : numpy.ndarray of shape (n, k, nx), float64
            Electrons.

        Returns
        -------
        PixelLines
            The line of each pixel.
        """
        lines, hits = self._usual_lines(darks), self._hits(darks)
        with np.errstate(invalid="ignore"):
            needs_weights = (lines.rate > self.rate + _OWN_LIGHT_SIGMA * lines.error) | hits.any(
                axis=0
            )
        needs_weights |= ~np.isfinite(lines.rate)
        places = np.nonzero(needs_weights)
        if places[0].size:
            weighted_lines = self._weighted_lines(darks[:, *places], hits[:, *places])
            for name, values in vars(weighted_lines).items():
                getattr(lines, name)[places] = values
        return lines

    def _hits(self, darks):
        """Return which values are hits by cosmic rays: the only outlier of a pixel's exposures."""
        hits = np.zeros(darks.shape, bool)
        for members, usual_light in zip(self.members_of_exposures, self.usual_light, strict=True):
            if len(members) < 2:
                continue
            values = darks[members]
            largest, n_others = values.max(axis=0), len(members) - 1
            mean_of_others = (values.sum(axis=0) - largest) / n_others
            with np.errstate(invalid="ignore"):
                limit = _HIT_SIGMA * np.sqrt(
                    (self.read_noise**2 + np.fmax(mean_of_others, usual_light)) * (1 + 1 / n_others)
                )
                hits[members] = (values == largest) & (largest - mean_of_others > limit)
        return hits & (hits.sum(axis=0) == 1)

    def _weighted_lines(self, values, hits):
        """Return the lines of some pixels, (n, m), with the weights of their own light."""
        is_kept, times = np.isfinite(values) & ~hits, self.times[:, None]
        values = np.where(is_kept, values, 0.0)
        counts = np.array(
            [is_kept[members].sum(axis=0) for members in self.members_of_exposures], float
        )
        sums = np.array([values[members].sum(axis=0) for members in self.members_of_exposures])
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        variance = np.full(means.shape, self.read_noise**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(_OWN_LIGHT_ROUNDS):
                weight = counts / variance
                middle = (weight * times).sum(axis=0) / weight.sum(axis=0)
                spread = (weight * (times - middle) ** 2).sum(axis=0)
                # Without a second exposure only rounding makes a spread.
                spread[(counts > 0).sum(axis=0) < 2] = 0
                rate = (weight * (times - middle) * means).sum(axis=0) / spread
                offset = (weight * means).sum(axis=0) / weight.sum(axis=0) - rate * middle
                error, model = spread**-0.5, offset + rate * times
                light = np.where(
                    rate > self.rate + _OWN_LIGHT_SIGMA * error, model, self.usual_light[:, None]
                )
                variance = self.read_noise**2 + np.maximum(light, 0)
            misfit_chi2 = ((means - model) ** 2 * counts / variance).sum(axis=0)
        scatter_chi2 = sum(
            (np.where(is_kept[members], values[members] - mean, 0) ** 2).sum(axis=0) / value
            for members, mean, value in zip(self.members_of_exposures, means, variance, strict=True)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            offset_error = (1 / weight.sum(axis=0) + middle**2 / spread) ** 0.5
        return PixelLines(
            rate=rate,
            error=error,
            offset=offset,
            offset_error=offset_error,
            misfit_chi2=misfit_chi2,
            scatter_chi2=scatter_chi2,
        )


def flag_by_lines(bits, place, read_rows, seconds, read_noise, hot_rate):
    """Require the bits that darks of several exposures give to an amplifier's pixels.

    Parameters
    ----------
    bits : ccdflow.verify.detector.pixel_bits.OpenBits
        Bits of the image; changed in place.
    place : (slice, slice)
        The amplifier.
    read_rows : callable
        Called with rows of the amplifier, from its first one; returns (n, k, nx) electrons.
    seconds : sequence of float
        Exposure of each dark.
    read_noise : float
        Electrons.
    hot_rate : float
        Electrons a second.
    """
    y, x = place
    ny, nx = y.stop - y.start, x.stop - x.start
    fit = LinesThroughDarks(read_rows(rows_of_usual_pixel(ny)), seconds, read_noise)
    sums = []
    for strip in strips_of(ny, nx):
        lines = fit.lines(read_rows(np.arange(strip.start, strip.stop)))
        part = slice(strip.start + y.start, strip.stop + y.start), x
        rate = np.nan_to_num(lines.rate, nan=fit.rate)
        excess = lines.rate - np.maximum(values_of_neighbours(rate), fit.rate)
        limit = np.fmax(hot_rate, _BAD_SIGMA * fit.scales.rate * lines.error)
        bits.add(HOT, excess, limit, part, margin=0)
        for bit, values, freedom, scale in zip(
            (HOT, VARIES),
            (lines.misfit_chi2, lines.scatter_chi2),
            fit.degrees_of_freedom,
            (fit.scales.misfit_chi2, fit.scales.scatter_chi2),
            strict=True,
        ):
            if freedom:
                bits.add(
                    bit, values, scale * special.chdtri(freedom, _FALSE_ALARM_SHARE), part, margin=0
                )
        _flag_filling_pixels(bits, part, lines, fit)
        is_empty = ~np.isfinite(lines.rate)
        bits.set(HOT, is_empty, is_empty, part)
        sigma = (lines.rate - fit.rate) / (lines.error * fit.scales.rate)
        sums.append(column_sums(np.nan_to_num(sigma, nan=0.0)))
    bits.set(BAD_COLUMN, *bad_parts(np.concatenate(sums), ny), place)


def _flag_filling_pixels(bits, part, lines, fit):
    """Require the bit in pixels whose offset differs from that of their neighbours: they fill up.

    Parameters
    ----------
    bits : ccdflow.verify.detector.pixel_bits.OpenBits
        The bits of the pixels, changed in place.
    part : (slice, slice)
        Rows and columns of the pixels in the image.
    lines : PixelLines
        Lines of these pixels.
    fit : LinesThroughDarks
        Fit of the amplifier.
    """
    offset = np.nan_to_num(lines.offset)
    square = (
        (offset - values_of_neighbours(offset)) / (fit.scales.offset * lines.offset_error)
    ) ** 2
    bits.add(HOT, square, _BAD_SIGMA**2, part, margin=0)
    if fit.degrees_of_freedom[0]:
        limit = special.chdtri(fit.degrees_of_freedom[0] + 1, _FALSE_ALARM_SHARE)
        bits.add(HOT, square + lines.misfit_chi2 / fit.scales.misfit_chi2, limit, part, margin=0)


def flag_by_one_dark(bits, place, rate, error, hot_rate):
    """Require the bits that one combined dark gives to an amplifier's pixels.

    Parameters
    ----------
    bits : ccdflow.verify.detector.pixel_bits.OpenBits
        Changed in place.
    place : (slice, slice)
    rate, error : numpy.ndarray of shape (ny, nx), float64
        Rates of the amplifier's pixels and their standard errors, electrons a second.
    hot_rate : float
    """
    level, usual_error = float(np.nanmedian(rate)), float(np.nanmedian(error))
    surroundings = values_of_neighbours(np.nan_to_num(rate, nan=level))
    limit = np.fmax(hot_rate, _BAD_SIGMA * np.fmax(error, usual_error))
    bits.add(HOT, rate - np.maximum(surroundings, level), limit, place, margin=0)
    is_empty = ~np.isfinite(rate)
    bits.set(HOT, is_empty, is_empty, place)
    sums = column_sums(np.nan_to_num((rate - level) / usual_error, nan=0.0))
    bits.set(BAD_COLUMN, *bad_parts(sums, len(rate)), place)
