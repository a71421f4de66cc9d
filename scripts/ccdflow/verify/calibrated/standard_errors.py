"""The standard errors of a calibrated frame, made again from the terms that its header names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.verify.calibrated.master_planes import MasterPlane, expected_dark_light
from ccdflow.verify.comparing.amplifiers import VerifiedAmplifier, card, number_of_card
from ccdflow.verify.comparing.comparing import are_within
from ccdflow.verify.detector.photon_light import light_of_block
from ccdflow.verify.reading.restated_numbers import MOST_BELOW_ZERO

# Pixels that are compared at once.
_BLOCK_PIXELS = 1 << 16
CARD_ROUNDING_PART = 2e-5
"""Relative difference of standard errors that is rounding: cards have six digits."""

SCATTER_ROUNDING_PART = 0.05
"""Relative difference of median standard errors that is allowed where a bias has errors from the
scatter of its values."""

# Relative rounding of a sum of float32: four steps.
_SUM_ROUNDING = 4 * float(np.finfo(np.float32).eps)
# A decision on a pixel's light this near its limit may go either way: pixels are float32.
_NEAR_LIMIT = 5e-3


def block_rows(nx):
    """Return the rows of a block, within which pixels are compared with their surroundings."""
    return max(2, _BLOCK_PIXELS // nx // 2 * 2)


@dataclass(frozen=True)
class VarianceTerms:
    """The terms of the variance of an image's pixels.

    Attributes
    ----------
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier
    planes : dict of str to ccdflow.verify.calibrated.master_planes.MasterPlane
    scale : float
        On the dark.
    constants : list of float
        Variance that all pixels of an amplifier have, adu^2.
    pixel_variances : list of float
        Variance of a pixel without light in one frame, adu^2.
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
        """Return the value of one adu in the product."""
        return readout.gain if self.converts else 1.0

    def photon_variance(self, readout):
        """Return the variance of a unit of light."""
        return 1.0 if self.is_in_electrons else self.factor(readout) / readout.photon_gain

    def photon_variances(self, rows, nx):
        """Return the variance of a unit of light of each pixel of some rows.

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
        """Yield (readout, slices in these rows, slices in the image)."""
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

    def noise_of_bias(self, frames):
        """Return the median noise of a combined bias of ``frames`` frames, adu."""
        # From each eighth row and fourth column, as the noise of the other masters.
        sizes = [
            sum(not n % 8 for n in range(y.start, y.stop))
            * sum(not n % 4 for n in range(x.start, x.stop))
            for y, x in (readout.place for readout in self.readouts)
        ]
        return float(np.median(np.repeat(self.pixel_variances, sizes))) ** 0.5 / frames**0.5

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
    """Return the `VarianceTerms` of an image; None if its noise cannot be known.

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
        part**2 / plane.frames for part, plane in ((share, bias), (scale, dark)) if plane
    )
    constants, pixel_variances, dark_bias_variances = [], [], []
    for readout in readouts:
        factor = readout.gain if converts else 1.0
        level_noise = (number_of_card(card(header, "OSCNOISE", readout.tail)) or 0.0) / factor
        level_variance = level_noise**2 / level_shares
        variance_of_frame = readout.read_noise**2 + readout.rounding
        pixel_variance = variance_of_frame + level_variance
        pixel_variances.append(pixel_variance)
        # The levels of the dark's bias add to its noise as those of a frame to a frame's.
        level_factor = 1 + level_variance / variance_of_frame if variance_of_frame else 1.0
        dark_bias_variances.append(dark_bias_variance * level_factor)
        bias_variance = share**2 * pixel_variance / (bias.frames if bias else 1)
        constants.append(pixel_variance + dark_bias_variances[-1] + bias_variance)
    # The errors of a bias are the scatter of its values, and smoothed.
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

    A frame with the bias of its dark has it minus the dark's share of it; another bias in the dark
    adds its noise.
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
    """Return smooth light, raised where it is further below 0 than noise brings it.

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


def find_wrong_errors(errors, pixels_with_edges, rows, noise, smooth_light, step=0.0):
    """Return whether each standard error of some rows differs, and the expected errors.

    Parameters
    ----------
    errors : numpy.ndarray of shape (k, nx), float64
        UNCERT of the rows.
    pixels_with_edges : numpy.ndarray of shape (k + 2, nx), float64
        The calibrated pixels with a row on either side.
    rows : slice
    noise : VarianceTerms
    smooth_light : ccdflow.verify.detector.photon_light.SmoothLight
    step : float
        By how much errors that are stored in steps are off.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray) of shape (k, nx), bool and float64
        True for an error that differs; and the expected errors, in the unit of the pixels.
    """
    terms = _terms_of_rows(noise, rows, pixels_with_edges.shape[1])
    light = limited_light(
        smooth_light.rows(rows.start, rows.stop),
        terms.variance_without_light,
        terms.flat,
        terms.photon_variance,
    )
    variance = terms.variance(light)
    largest_photon = max(noise.photon_variance(readout) for readout in noise.readouts)
    bright_pixels = light_of_block(pixels_with_edges, light, variance, terms.flat, largest_photon)
    places = bright_pixels.places
    terms_of_bright = terms.terms_at(places)
    # The product exchanges the light of these pixels: float32 is rounded at the larger variance,
    # and that light at the brightest of the pixels around.
    replaced_variance = variance.reshape(-1)[places].copy()
    replaced_variance += (
        bright_pixels.brightest * terms_of_bright.flat * terms_of_bright.photon_variance
    )
    variance.reshape(-1)[places] = terms_of_bright.variance(np.maximum(bright_pixels.light, 0))
    limit = np.full(variance.shape, CARD_ROUNDING_PART)
    # Where a master has no value, as in an amplifier that the flat does not light, no error is made
    # again, and the product's own is believed.
    with np.errstate(invalid="ignore"):
        limit.reshape(-1)[places] += (
            _SUM_ROUNDING * replaced_variance / variance.reshape(-1)[places]
        )
        expected = np.sqrt(variance) / terms.flat
        is_wrong = ~are_within(errors, expected, limit * expected + step) & np.isfinite(expected)
        is_as_otherwise_decided = _are_of_other_light(
            errors.reshape(-1)[places],
            limit.reshape(-1)[places],
            bright_pixels,
            terms_of_bright,
            step,
        )
    is_wrong.reshape(-1)[places[is_as_otherwise_decided]] = False
    return is_wrong, expected


def _are_of_other_light(errors, limit, bright_pixels, terms, step):
    """Return which errors of pixels that stand out agree where a close decision goes otherwise.

    Parameters
    ----------
    errors, limit : numpy.ndarray of shape (n,), float64
        The errors of the product, and their relative rounding.
    bright_pixels : ccdflow.verify.detector.photon_light.MeasuredLight
    terms : _TermsOfPixels
    step : float
        By how much errors that are stored in steps are off.

    Returns
    -------
    numpy.ndarray of shape (n,), bool
    """
    agrees = np.zeros(errors.shape, bool)
    for light in bright_pixels.other_lights:
        alternative = np.sqrt(terms.variance(np.maximum(light, 0))) / terms.flat
        agrees |= np.abs(errors - alternative) <= limit * alternative + step
    # A decision near its limit may have gone the other way.
    return agrees & (bright_pixels.closeness < _NEAR_LIMIT)


@dataclass(frozen=True)
class _TermsOfPixels:
    """The terms of the variance of some pixels, but for their light.

    Attributes
    ----------
    noise : VarianceTerms
    flat, variance_without_light, photon_variance : numpy.ndarray of one shape, float64
    flat_variance : numpy.ndarray of that shape, float64, or float
    """

    noise: VarianceTerms
    flat: np.ndarray
    flat_variance: np.ndarray | float
    variance_without_light: np.ndarray
    photon_variance: np.ndarray

    def variance(self, light):
        """Return the variance of the pixels with some light, adu^2."""
        return self.noise.variance_with_light(
            self.variance_without_light,
            light,
            self.flat,
            self.flat_variance,
            self.photon_variance,
        )

    def terms_at(self, places):
        """Return the terms of the pixels at some places, which are indices of the flat arrays."""
        is_varied_flat = np.ndim(self.flat_variance) > 0
        return _TermsOfPixels(
            self.noise,
            self.flat.reshape(-1)[places],
            self.flat_variance.reshape(-1)[places] if is_varied_flat else 0.0,
            self.variance_without_light.reshape(-1)[places],
            self.photon_variance.reshape(-1)[places],
        )


def _terms_of_rows(noise, rows, nx):
    """Return the `_TermsOfPixels` of some rows."""
    flat, flat_variance = noise.flat_and_variance(rows, nx)
    return _TermsOfPixels(
        noise,
        flat,
        flat_variance,
        noise.variance_without_light(rows, nx),
        noise.photon_variances(rows, nx),
    )
