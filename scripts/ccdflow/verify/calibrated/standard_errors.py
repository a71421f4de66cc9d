"""The standard errors of a calibrated frame, made again from the terms that its header names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.verify.calibrated.master_planes import MasterPlane, expected_dark_light
from ccdflow.verify.comparing.amplifiers import VerifiedAmplifier, card, number_of_card
from ccdflow.verify.comparing.comparing import are_within
from ccdflow.verify.detector.photon_light import light_of_block
from ccdflow.verify.reading.restated_numbers import MOST_BELOW_ZERO

# About this many pixels are compared at once.
_BLOCK_PIXELS = 1 << 16
CARD_TOLERANCE = 2e-5
"""Relative tolerance of standard errors: the cards that they follow from have six digits."""

SCATTER_TOLERANCE = 0.05
"""Relative tolerance of the median standard error where the errors of a bias are a scatter of
values."""

# Relative rounding of a sum of float32: four steps.
_SUM_ROUNDING = 4 * float(np.finfo(np.float32).eps)
# Relative distance from its limit within which a decision on a pixel's light may go either way:
# pixels are float32.
_NEAR_LIMIT = 5e-3


def block_rows(nx):
    """Return the number of rows of a block that is compared at once."""
    return max(2, _BLOCK_PIXELS // nx // 2 * 2)


@dataclass(frozen=True)
class VarianceTerms:
    """The terms of the variance of an image's pixels.

    Attributes
    ----------
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier
    planes : dict of str to ccdflow.verify.calibrated.master_planes.MasterPlane
    scale : float
        Factor of the dark.
    constants : list of float
        For each amplifier the variance that all its pixels have, adu^2.
    pixel_variances : list of float
        For each amplifier the variance of a pixel without light in one frame, adu^2.
    level_shares : float
        Sum of the squared shares that the levels of the frame and of its masters have in a row.
    converts : bool
        Whether adu become electrons.
    is_in_electrons : bool
        Whether the reduced frame is in electrons.
    is_exact : bool
        Whether the header has all values that the errors follow from.
    dark_bias_variance : float
        Mean over the amplifiers of the variance of a bias that was subtracted from the dark alone,
        adu^2.
    """

    readouts: list[VerifiedAmplifier]
    planes: dict[str, MasterPlane]
    scale: float
    constants: list[float]
    pixel_variances: list[float]
    level_shares: float
    converts: bool
    is_in_electrons: bool
    is_exact: bool
    dark_bias_variance: float

    def factor(self, readout):
        """Return the value of one adu in the unit of the product."""
        return readout.gain if self.converts else 1.0

    def photon_variance(self, readout):
        """Return the variance that one unit of light adds, in the unit of the product."""
        return 1.0 if self.is_in_electrons else self.factor(readout) / readout.photon_gain

    def photon_variances(self, rows, nx):
        """Return the variance that one unit of light adds to each pixel of some rows.

        Parameters
        ----------
        rows : slice
        nx : int

        Returns
        -------
        numpy.ndarray of shape (k, nx), float64
        """
        variances = np.zeros((rows.stop - rows.start, nx))
        for readout, place_in_rows, _ in self.pieces(rows):
            variances[place_in_rows] = self.photon_variance(readout)
        return variances

    def pieces(self, rows):
        """Yield (readout, its slices in these rows, its slices in the image)."""
        for readout in self.readouts:
            y, x = readout.place
            low, high = max(y.start, rows.start), min(y.stop, rows.stop)
            if low < high:
                yield (
                    readout,
                    (slice(low - rows.start, high - rows.start), x),
                    (slice(low, high), x),
                )

    def dark_variance_and_light(self, readout, place):
        """Return the variance and light of a dark in a part of an amplifier, adu^2 and adu.

        Parameters
        ----------
        readout : VerifiedAmplifier
            The amplifier.
        place : (slice, slice)
            The part, in the image.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray) of the shape of the part, float64 and float32
        """
        plane, first = self.planes["dark"], readout.place[0].start
        variance = plane.errors[place].astype(np.float64) ** 2
        light = expected_dark_light(plane, readout.place)
        return variance, light[place[0].start - first : place[0].stop - first]

    def variance_without_light(self, rows, nx):
        """Return the variance of some rows without their light, before the flat.

        Parameters
        ----------
        rows : slice
        nx : int

        Returns
        -------
        numpy.ndarray of shape (k, nx), float64
            In the squared unit of the product.
        """
        variances = np.zeros((rows.stop - rows.start, nx))
        tails = [readout.tail for readout in self.readouts]
        constant_by_tail = dict(zip(tails, self.constants, strict=True))
        for readout, place_in_rows, place in self.pieces(rows):
            factor = self.factor(readout)
            variances[place_in_rows] = factor**2 * constant_by_tail[readout.tail]
            if "dark" in self.planes:
                variance, light = self.dark_variance_and_light(readout, place)
                photon_factor = self.scale * factor * self.photon_variance(readout)
                variances[place_in_rows] += (factor * self.scale) ** 2 * variance
                variances[place_in_rows] += photon_factor * light
        return variances

    def noise_of_bias(self, n_frames):
        """Return the median noise of a combined bias of ``n_frames`` frames, adu."""
        # Each amplifier counts with its sampled pixels, every eighth row and fourth column.
        sizes = [
            sum(not n % 8 for n in range(y.start, y.stop))
            * sum(not n % 4 for n in range(x.start, x.stop))
            for y, x in (readout.place for readout in self.readouts)
        ]
        return float(np.median(np.repeat(self.pixel_variances, sizes))) ** 0.5 / n_frames**0.5

    def flat_and_variance(self, rows, nx):
        """Return the flat of some rows, and its relative variance.

        Parameters
        ----------
        rows : slice
        nx : int

        Returns
        -------
        (numpy.ndarray, numpy.ndarray or float) of shape (k, nx), float64
            The variance is 0.0 without a flat.
        """
        if "flat" not in self.planes:
            return np.ones((rows.stop - rows.start, nx)), 0.0
        plane = self.planes["flat"]
        flat = plane.data[rows].astype(np.float64)
        return flat, (plane.errors[rows] / flat) ** 2

    def variance_with_light(
        self, variance_without_light, light, flat, flat_variance, photon_variance
    ):
        """Return the variance of pixels with their light, before the flat.

        Parameters
        ----------
        variance_without_light : numpy.ndarray of any shape, float64
            Variance without light, before the flat.
        light : numpy.ndarray of the same shape, float64
            In the product's unit, after the flat.
        flat, flat_variance : numpy.ndarray of the same shape, float64, or float
            The flat and its relative variance.
        photon_variance : numpy.ndarray of the same shape, float64, or float
            Variance of a unit of light.

        Returns
        -------
        numpy.ndarray of the same shape, float64
        """
        flat_light = light * flat
        return variance_without_light + flat_light**2 * flat_variance + flat_light * photon_variance


def variance_terms_of(header, readouts, planes, account, *, converts, is_in_electrons):
    """Return the `VarianceTerms` of an image; None if a gain or read noise is unknown.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the calibrated image.
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier
    planes : dict of str to ccdflow.verify.calibrated.master_planes.MasterPlane
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    converts, is_in_electrons : bool

    Returns
    -------
    VarianceTerms or None
    """
    if any(r.read_noise is None or not r.photon_gain for r in readouts):
        return None
    share, scale, dark_bias_variance = _shares_of_masters(planes, account)
    bias, dark = planes.get("bias"), planes.get("dark")
    level_shares = 1.0 + sum(
        factor**2 / plane.n_frames for factor, plane in ((share, bias), (scale, dark)) if plane
    )
    constants, pixel_variances, dark_bias_variances = [], [], []
    for readout in readouts:
        factor = readout.gain if converts else 1.0
        level_noise = (number_of_card(card(header, "OSCNOISE", readout.tail)) or 0.0) / factor
        level_variance = level_noise**2 / level_shares
        variance_of_frame = readout.read_noise**2 + readout.rounding_variance
        pixel_variance = variance_of_frame + level_variance
        pixel_variances.append(pixel_variance)
        # The levels add to the variance of the dark's bias by the same ratio as to that of a frame.
        level_factor = 1 + level_variance / variance_of_frame if variance_of_frame else 1.0
        dark_bias_variances.append(dark_bias_variance * level_factor)
        bias_variance = share**2 * pixel_variance / (bias.n_frames if bias else 1)
        constants.append(pixel_variance + dark_bias_variances[-1] + bias_variance)
    # Errors of a bias are a smoothed scatter of values, which no card gives exactly.
    has_scatter_of_bias = bool(share) and bias is not None and bias.errors is not None
    is_exact = not has_scatter_of_bias and all(
        plane.is_modelled for kind, plane in planes.items() if kind != "bias"
    )
    return VarianceTerms(
        readouts=readouts, planes=planes, scale=scale, constants=constants,
        pixel_variances=pixel_variances, level_shares=level_shares, converts=converts,
        is_in_electrons=is_in_electrons, is_exact=is_exact,
        dark_bias_variance=sum(dark_bias_variances) / len(dark_bias_variances),
    )  # fmt: skip


def _shares_of_masters(planes, account):
    """Return the factors of bias and dark, and the variance of a dark's own bias.

    The bias of the frame counts with 1 minus the factor of the dark if the dark has the same bias.
    Another bias in the dark adds its variance.
    """
    bias, dark = planes.get("bias"), planes.get("dark")
    share = 0.0 if bias is None else 1.0
    if dark is None:
        return share, 0.0, 0.0
    scale = account.masters["dark"].factors[0]
    key = str(dark.first_header.get("BIASKEY", ""))
    if bias is not None and key == account.masters["bias"].key:
        return 1.0 - scale, scale, 0.0
    noise_of_other_bias = number_of_card(dark.first_header.get("MBNOISE")) if key else None
    return share, scale, (scale * (noise_of_other_bias or 0.0)) ** 2


def limited_light(light, variance_without_light, flat, photon_variance):
    """Return smooth light, raised to minus `MOST_BELOW_ZERO` standard deviations where it is lower.

    Parameters
    ----------
    light, variance_without_light : numpy.ndarray of one shape, float64
    flat, photon_variance : numpy.ndarray of the same shape, float64, or float
        As of `VarianceTerms.variance_with_light`.

    Returns
    -------
    numpy.ndarray of the same shape, float64
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = (
            np.fmin(np.sqrt(variance_without_light), variance_without_light / photon_variance)
            / flat
        )
    return np.maximum(light, -MOST_BELOW_ZERO * lowest)


def find_wrong_errors(errors, pixels_with_edges, rows, variance_terms, smooth_light, half_step=0.0):
    """Return which standard errors of some rows are wrong, and the expected errors.

    Parameters
    ----------
    errors : numpy.ndarray of shape (k, nx), float64
        UNCERT of the rows.
    pixels_with_edges : numpy.ndarray of shape (k + 2, nx), float64
        The calibrated pixels, with a further row on either side.
    rows : slice
    variance_terms : VarianceTerms
    smooth_light : ccdflow.verify.detector.photon_light.SmoothLight
    half_step : float, optional
        Half of the step in which errors are stored; 0 for exact ones.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray) of shape (k, nx), bool and float64
        True for an error that differs; and the expected errors, in the unit of the pixels.
    """
    terms = _terms_of_rows(variance_terms, rows, pixels_with_edges.shape[1])
    light = limited_light(
        smooth_light.rows(rows.start, rows.stop),
        terms.variance_without_light,
        terms.flat,
        terms.photon_variance,
    )
    variance = terms.variance(light)
    largest_photon = max(
        variance_terms.photon_variance(readout) for readout in variance_terms.readouts
    )
    bright_pixels = light_of_block(pixels_with_edges, light, variance, terms.flat, largest_photon)
    places = bright_pixels.places
    terms_of_bright = terms.terms_at(places)
    # The product replaces the light of these pixels. float32 is rounded at the larger of both
    # variances, and the light at the size of the brightest pixel around.
    replaced_variance = variance.reshape(-1)[places].copy()
    replaced_variance += (
        bright_pixels.brightest * terms_of_bright.flat * terms_of_bright.photon_variance
    )
    variance.reshape(-1)[places] = terms_of_bright.variance(np.maximum(bright_pixels.light, 0))
    limit = np.full(variance.shape, CARD_TOLERANCE)
    # Where a master has no value, as in an amplifier that the flat does not light, no error can be
    # computed, and the product's error counts as right.
    with np.errstate(invalid="ignore"):
        limit.reshape(-1)[places] += (
            _SUM_ROUNDING * replaced_variance / variance.reshape(-1)[places]
        )
        expected = np.sqrt(variance) / terms.flat
        is_wrong = ~are_within(errors, expected, limit * expected + half_step) & np.isfinite(
            expected
        )
        is_as_otherwise_decided = _are_of_other_light(
            errors.reshape(-1)[places],
            limit.reshape(-1)[places],
            bright_pixels,
            terms_of_bright,
            half_step,
        )
    is_wrong.reshape(-1)[places[is_as_otherwise_decided]] = False
    return is_wrong, expected


def _are_of_other_light(errors, limit, bright_pixels, terms, half_step):
    """Return which errors of bright pixels agree if a close decision on their light goes otherwise.

    Parameters
    ----------
    errors, limit : numpy.ndarray of shape (n,), float64
        The errors of the product, and their relative rounding.
    bright_pixels : ccdflow.verify.detector.photon_light.MeasuredLight
    terms : _TermsOfPixels
    half_step : float
        Half of the step in which errors are stored; 0 for exact ones.

    Returns
    -------
    numpy.ndarray of shape (n,), bool
    """
    agrees = np.zeros(errors.shape, bool)
    for light in bright_pixels.other_lights:
        alternative = np.sqrt(terms.variance(np.maximum(light, 0))) / terms.flat
        agrees |= np.abs(errors - alternative) <= limit * alternative + half_step
    # A decision near its limit may have gone the other way.
    return agrees & (bright_pixels.closeness < _NEAR_LIMIT)


@dataclass(frozen=True)
class _TermsOfPixels:
    """The terms of the variance of some pixels without their light.

    Attributes
    ----------
    variance_terms : VarianceTerms
    flat, variance_without_light, photon_variance : numpy.ndarray of one shape, float64
    flat_variance : numpy.ndarray of that shape, float64, or float
    """

    variance_terms: VarianceTerms
    flat: np.ndarray
    flat_variance: np.ndarray | float
    variance_without_light: np.ndarray
    photon_variance: np.ndarray

    def variance(self, light):
        """Return the variance of the pixels with some light, before the flat."""
        return self.variance_terms.variance_with_light(
            self.variance_without_light,
            light,
            self.flat,
            self.flat_variance,
            self.photon_variance,
        )

    def terms_at(self, places):
        """Return the terms of the pixels at some places, indices into the flattened arrays."""
        is_varied_flat = np.ndim(self.flat_variance) > 0
        return _TermsOfPixels(
            self.variance_terms,
            self.flat.reshape(-1)[places],
            self.flat_variance.reshape(-1)[places] if is_varied_flat else 0.0,
            self.variance_without_light.reshape(-1)[places],
            self.photon_variance.reshape(-1)[places],
        )


def _terms_of_rows(variance_terms, rows, nx):
    """Return the `_TermsOfPixels` of some rows."""
    flat, flat_variance = variance_terms.flat_and_variance(rows, nx)
    return _TermsOfPixels(
        variance_terms,
        flat,
        flat_variance,
        variance_terms.variance_without_light(rows, nx),
        variance_terms.photon_variances(rows, nx),
    )
