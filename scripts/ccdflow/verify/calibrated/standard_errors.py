"""The standard errors of a calibrated frame, made again from the terms that its header names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.verify.calibrated.master_planes import MasterPlane, expected_dark_light
from ccdflow.verify.comparing.amplifiers import VerifiedAmplifier, card, number_of_card
from ccdflow.verify.detector.photon_light import light_of_block

# Pixels that are compared at once.
_BLOCK_PIXELS = 1 << 16
CARD_ROUNDING_PART = 2e-5
"""Relative difference of standard errors that is rounding: cards have six digits."""

SCATTER_ROUNDING_PART = 0.05
"""Relative difference of median standard errors that is allowed where a bias has errors from the
scatter of its values."""

# Relative rounding of a sum of float32: four steps.
_SUM_ROUNDING = 4 * float(np.finfo(np.float32).eps)
# Standard deviations of a pixel without light by which smooth light may be below 0.
_LEAST_LIGHT = 0.5
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
    singles : list of float
        Variance of a pixel without light in one frame, adu^2.
    shares : float
        Squares of the shares of the levels of the frame and of its masters' rows.
    converts : bool
        Whether adu become electrons.
    is_in_electrons : bool
        Whether the reduced frame is in electrons.
    is_exact : bool
        Whether the header says all that the errors follow from.
    dark_bias_variance : float
        Mean over the amplifiers of the variance of a bias that was subtracted from the dark alone,
        adu^2.
    """

    readouts: list[VerifiedAmplifier]
    planes: dict[str, MasterPlane]
    scale: float
    constants: list[float]
    singles: list[float]
    shares: float
    converts: bool
    is_in_electrons: bool
    is_exact: bool
    dark_bias_variance: float

    def factor(self, readout):
        """Return the value of one adu in the product."""
        return readout.gain if self.converts else 1.0

    def photon(self, readout):
        """Return the variance of a unit of light."""
        return 1.0 if self.is_in_electrons else self.factor(readout) / readout.photon_gain

    def photons(self, rows, nx):
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
        for readout, inside, _ in self.pieces(rows):
            variances[inside] = self.photon(readout)
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
        (numpy.ndarray, numpy.ndarray) of float64 and float32
            Each of the shape of the part.
        """
        plane, first = self.planes["dark"], readout.place[0].start
        variance = plane.errors[place].astype(np.float64) ** 2
        light = expected_dark_light(plane, readout.place)
        return variance, light[place[0].start - first : place[0].stop - first]

    def without_light(self, rows, nx):
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
        for (readout, inside, place), constant in self._with_constants(rows):
            factor = self.factor(readout)
            variances[inside] = factor**2 * constant
            if "dark" in self.planes:
                variance, light = self.dark_variance_and_light(readout, place)
                variances[inside] += (factor * self.scale) ** 2 * variance
                variances[inside] += self.scale * factor * self.photon(readout) * light
        return variances

    def _with_constants(self, rows):
        constants_by_tail = dict(zip((r.tail for r in self.readouts), self.constants, strict=True))
        return [(piece, constants_by_tail[piece[0].tail]) for piece in self.pieces(rows)]

    def noise_of_bias(self, frames):
        """Return the median noise of a combined bias of ``frames`` frames, adu."""
        # From each eighth row and fourth column, as the noise of the other masters.
        sizes = [
            sum(not n % 8 for n in range(y.start, y.stop))
            * sum(not n % 4 for n in range(x.start, x.stop))
            for y, x in (readout.place for readout in self.readouts)
        ]
        return float(np.median(np.repeat(self.singles, sizes))) ** 0.5 / frames**0.5

    def flat_and_variance(self, rows, nx):
        """Return the flat of some rows, and its relative variance.

        Parameters
        ----------
        rows : slice
        nx : int

        Returns
        -------
        (numpy.ndarray, numpy.ndarray or float)
            Each (k, nx), float64; the variance is 0.0 without a flat.
        """
        if "flat" not in self.planes:
            return np.ones((rows.stop - rows.start, nx)), 0.0
        plane = self.planes["flat"]
        flat = plane.data[rows].astype(np.float64)
        return flat, (plane.errors[rows] / flat) ** 2

    def with_light(self, before, light, flat, flat_variance, photon):
        """Return the variance of pixels with their light, before the flat.

        Parameters
        ----------
        before : numpy.ndarray of any shape, float64
            Variance without light, before the flat.
        light : numpy.ndarray of the same shape, float64
            In the product's unit, after the flat.
        flat, flat_variance : numpy.ndarray of the same shape, float64, or float
            The flat and its relative variance.
        photon : numpy.ndarray of the same shape, float64, or float
            Variance of a unit of light.

        Returns
        -------
        numpy.ndarray of the same shape, float64
        """
        flat_light = light * flat
        return before + flat_light**2 * flat_variance + flat_light * photon


def variance_terms_of(header, readouts, planes, account, *, converts, is_in_electrons):
    """Return the `VarianceTerms` of an image; None if its noise cannot be known.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the calibrated image.
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
    shares = 1.0 + sum(
        part**2 / plane.frames for part, plane in ((share, bias), (scale, dark)) if plane
    )
    constants, singles, dark_bias_variances = [], [], []
    for readout in readouts:
        factor = readout.gain if converts else 1.0
        level = number_of_card(card(header, "OSCNOISE", readout.tail)) or 0.0
        single, rows = readout.read_noise**2 + readout.rounding, (level / factor) ** 2 / shares
        total = single + rows
        singles.append(total)
        dark_bias_variances.append(
            dark_bias_variance * (1 + rows / single) if single else dark_bias_variance
        )
        constants.append(
            total + dark_bias_variances[-1] + share**2 * total / (bias.frames if bias else 1)
        )
    is_exact = not (share and bias is not None and bias.errors is not None) and all(
        plane.is_modelled for kind, plane in planes.items() if kind != "bias"
    )
    return VarianceTerms(
        readouts=readouts, planes=planes, scale=scale, constants=constants, singles=singles,
        shares=shares, converts=converts, is_in_electrons=is_in_electrons, is_exact=is_exact,
        dark_bias_variance=sum(dark_bias_variances) / len(dark_bias_variances),
    )  # fmt: skip


def _shares_of_masters(planes, account):
    """Return the factors of bias and dark, and the variance of a dark's own bias.

    A frame with the bias of its dark has it less the dark's share of it; another bias in the dark
    adds its noise.
    """
    bias, dark = planes.get("bias"), planes.get("dark")
    if dark is None:
        return (0.0 if bias is None else 1.0), 0.0, 0.0
    scale = account.masters["dark"].factors[0]
    key = str(dark.first_header.get("BIASKEY", ""))
    if bias is not None and key == account.masters["bias"].key:
        return 1.0 - scale, scale, 0.0
    dark_bias_variance = (
        (scale * (number_of_card(dark.first_header.get("MBNOISE")) or 0.0)) ** 2 if key else 0.0
    )
    return (0.0 if bias is None else 1.0), scale, dark_bias_variance


def limited_light(light, before, flat, photon):
    """Return smooth light, raised where it is further below 0 than noise brings it.

    Parameters
    ----------
    light, before, flat, photon : numpy.ndarray of one shape, float64, or float
        As of `VarianceTerms.with_light`.

    Returns
    -------
    numpy.ndarray of the same shape, float64
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = np.fmin(np.sqrt(before), before / photon) / flat
    return np.maximum(light, -_LEAST_LIGHT * lowest)


def wrong_in(errors, padded, rows, noise, smooth, step=0.0):
    """Return how many standard errors of some rows differ, and the ratio of the others.

    Parameters
    ----------
    errors : numpy.ndarray of float64
        (k, nx): UNCERT of the rows.
    padded : numpy.ndarray of float64
        (k + 2, nx): the calibrated pixels with a row on either side.
    rows : slice
    noise : VarianceTerms
    smooth : ccdflow.verify.detector.photon_light.SmoothLight
    step : float
        By how much errors that are stored in steps are off.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        (k, nx), bool: True for an error that differs; and the expected errors, in the pixels' unit.
    """
    nx = padded.shape[1]
    flat, flat_variance = noise.flat_and_variance(rows, nx)
    before = noise.without_light(rows, nx)
    photon = noise.photons(rows, nx)
    light = limited_light(smooth.rows(rows.start, rows.stop), before, flat, photon)
    variance = noise.with_light(before, light, flat, flat_variance, photon)
    largest_photon = max(noise.photon(readout) for readout in noise.readouts)
    bright = light_of_block(padded, light, variance, flat, largest_photon)
    part = np.asarray(flat_variance).reshape(-1)[bright.places] if np.ndim(flat_variance) else 0.0

    def variance_with(lights):
        """Return the variance of the pixels that stand out, with other light."""
        places = bright.places
        lit = np.maximum(lights, 0)
        return noise.with_light(
            before.reshape(-1)[places],
            lit,
            flat.reshape(-1)[places],
            part,
            photon.reshape(-1)[places],
        )

    # The product exchanges the light of these pixels: float32 is rounded at the larger variance,
    # and that light at the brightest of the pixels around.
    replaced = variance.reshape(-1)[bright.places].copy()
    replaced += (
        bright.brightest * flat.reshape(-1)[bright.places] * photon.reshape(-1)[bright.places]
    )
    variance.reshape(-1)[bright.places] = variance_with(bright.light)
    limit = np.full(variance.shape, CARD_ROUNDING_PART)
    # Without a value, as in an amplifier that the flat does not light, there is no error either.
    with np.errstate(invalid="ignore"):
        limit.reshape(-1)[bright.places] += (
            _SUM_ROUNDING * replaced / variance.reshape(-1)[bright.places]
        )
        expected = np.sqrt(variance) / flat
        is_wrong = np.abs(errors - expected) > limit * expected + step
        is_wrong |= ~np.isfinite(errors) & np.isfinite(expected)
        # A decision near its limit may have gone the other way.
        is_undecided = is_wrong.reshape(-1)[bright.places] & (bright.near < _NEAR_LIMIT)
        for lights in bright.others:
            alternative = np.sqrt(variance_with(lights)) / flat.reshape(-1)[bright.places]
            agrees = (
                np.abs(errors.reshape(-1)[bright.places] - alternative)
                <= limit.reshape(-1)[bright.places] * alternative + step
            )
            is_wrong.reshape(-1)[bright.places[is_undecided & agrees]] = False
    return is_wrong, expected
