"""Calibrated frames made again by `ccdproc.subtract_bias`, `subtract_dark` and `flat_correct`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import ccdproc
import numpy as np
from astropy import units
from astropy.nddata import CCDData
from scipy import special

from ccdflow.verify.calibrated import standard_errors
from ccdflow.verify.calibrated.master_planes import MasterPlane
from ccdflow.verify.comparing.amplifiers import (
    VerifiedAmplifier,
    card,
    check_level_noise,
    limit_rounding,
    number_of_card,
    raw_top,
)
from ccdflow.verify.comparing.comparing import (
    ABSOLUTE_ROUNDING,
    DERIVED_ROUNDING,
    RELATIVE_ROUNDING,
    Differs,
    check_value,
)
from ccdflow.verify.detector import photon_light
from ccdflow.verify.reading.accounts import CalibratedAccount
from ccdflow.verify.reading.restated_numbers import LEAST_FLAT, MAD_TO_SIGMA

# Level and noise of the sky are measured in at most this many rows, and in the rows after them.
_SKY_ROWS = 32
# Pixels whose difference gives the noise of the sky are this many columns apart: neighbours share a
# star.
_COLUMN_LAG = 4
# Differences beyond this many sigma are left out of the noise of the sky.
_SKY_CLIP = 3.0
# Rounds in which outlying differences are left out.
_CLIPPING_ITERATIONS = 4
# Quantiles of the predicted errors that take the place of all errors.
_SKY_QUANTILES = 4001
# Variance of a normal distribution of sigma 1 that is cut at `_SKY_CLIP`.
_CLIPPED_VARIANCE = 0.97334
# Adu by which a saturated pixel minus its level may be below the limit: the rows have other levels
# than the mean one of the card.
_SATURATION_MARGIN = 3.0
# Relative tolerance of the noise of the sky: by the rounding of float32 a median may be that of the
# next value.
_SKY_TOLERANCE = 1e-3
# SATURATE follows from the response that this fraction of a flat's pixels does not exceed, so that
# single pixels do not count: calibrate/image_figures.py.
_TOP_FRACTION = 0.999
# Every 8th row and 4th column: the sample for the product's medians.
_SAMPLED_PIXELS = np.s_[::8, ::4]
# Every 4th row and column of a flat: the sample for the product's brightest response.
_SAMPLED_OF_FLAT = np.s_[::4, ::4]
# Halvings of an interval: float64 has 53 bits.
_HALVINGS = 60


@dataclass(frozen=True)
class RemadeCalibratedImage:
    """An image of a calibrated frame, and the images that it is made again from.

    Attributes
    ----------
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    reduced : numpy.ndarray of shape (ny, nx), float32 or float64, any byte order
        Pixels of the reduced frame.
    planes : dict of str to ccdflow.verify.calibrated.master_planes.MasterPlane
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier
    unit : str
        Unit of the calibrated frame.
    converts : bool
        Whether adu become electrons.
    places_without_level : tuple of (slice, slice)
        Parts whose overscan is saturated.
    """

    account: CalibratedAccount
    reduced: np.ndarray
    planes: dict[str, MasterPlane]
    readouts: list[VerifiedAmplifier]
    unit: str
    converts: bool
    places_without_level: tuple[tuple[slice, slice], ...] = ()

    @cached_property
    def has_remade_errors(self):
        """Whether the error of each pixel is made again: (ny, nx) bool.

        The product estimates the light of pixels beside rows without a level in another way.
        """
        is_remade = self.is_covered.copy()
        for y, x in self.places_without_level:
            surroundings = (slice(max(each.start - 1, 0), each.stop + 1) for each in (y, x))
            is_remade[tuple(surroundings)] = False
        return is_remade

    @cached_property
    def is_covered(self):
        """Whether each pixel belongs to an amplifier: (ny, nx) bool."""
        covered_pixels = np.zeros(self.reduced.shape, bool)
        for readout in self.readouts:
            covered_pixels[readout.place] = True
        return covered_pixels

    @property
    def scale(self):
        """The factor of the dark; 0 without a dark."""
        return self.account.masters["dark"].factors[0] if "dark" in self.planes else 0.0

    def calibrate_rows(self, rows):
        """Return some rows that ccdproc calibrates, and the size of the terms that are rounded.

        Parameters
        ----------
        rows : slice or numpy.ndarray of shape (k,), int
            Rows of the image.

        Returns
        -------
        image, terms : numpy.ndarray of shape (k, nx), float64
            The pixels, and the largest term of each pixel's sum, in its unit.
        """
        ccd = CCDData(self.reduced[rows].astype(np.float64), unit=units.adu)
        terms = np.abs(ccd.data)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for kind, plane in self.planes.items():
                pixels = plane.data[rows].astype(np.float64)
                if kind == "flat":
                    flat = CCDData(pixels, unit=units.dimensionless_unscaled)
                    ccd = ccdproc.flat_correct(ccd, flat, norm_value=1, add_keyword=None)
                    terms /= np.abs(pixels)
                    continue
                master = CCDData(pixels, unit=units.adu)
                if kind == "bias":
                    ccd = ccdproc.subtract_bias(ccd, master, add_keyword=None)
                else:
                    ccd = subtract_dark(ccd, master, self.scale)
                terms = np.fmax(terms, np.abs(pixels * (self.scale if kind == "dark" else 1.0)))
            image = np.array(ccd.data)
            return (self._multiply_by_gains(image, rows), self._multiply_by_gains(terms, rows))

    def _multiply_by_gains(self, image, rows):
        """Multiply rows by the gains, in place, if the image gets electrons; return the rows."""
        if not self.converts:
            return image
        index = np.arange(*rows.indices(len(self.reduced))) if isinstance(rows, slice) else rows
        # Where all amplifiers have one gain, overscan that was not trimmed is multiplied as well.
        gains, all_pixels = {r.gain for r in self.readouts}, tuple(map(slice, self.reduced.shape))
        for readout in self.readouts[:1] if len(gains) == 1 else self.readouts:
            y, x = all_pixels if len(gains) == 1 else readout.place
            rows_inside = np.flatnonzero((index >= (y.start or 0)) & (index < y.stop))
            if rows_inside.size:
                part = CCDData(image[rows_inside, x], unit=units.adu)
                gain = readout.gain * units.electron / units.adu
                image[rows_inside, x] = ccdproc.gain_correct(part, gain).data
        return image


def subtract_dark(ccd, master, scale):
    """Return an image minus a dark times a factor, by ccdproc.

    Parameters
    ----------
    ccd : astropy.nddata.CCDData
    master : astropy.nddata.CCDData
        The dark.
    scale : float
        The factor of the dark.

    Returns
    -------
    astropy.nddata.CCDData
    """
    return ccdproc.subtract_dark(
        ccd,
        master,
        dark_exposure=1 * units.s,
        data_exposure=scale * units.s,
        scale=True,
        add_keyword=None,
    )


def saturated_value(header, reduced_header, tail):
    """Return the raw value of a saturated pixel, adu: AMPSAT, or SATMEAS; None without either.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the calibrated image.
    reduced_header : astropy.io.fits.Header
        Header of the reduced frame.
    tail : str
        Number of the amplifier, two digits; '' for the only one.

    Returns
    -------
    float or None
    """
    top = number_of_card(card(reduced_header, "AMPSAT", tail))
    return number_of_card(card(header, "SATMEAS", tail)) if top is None else top


def saturated_pixels(image, header, reduced_header, readouts, *, side=0):
    """Return which reduced pixels reach the saturated value minus the level that was subtracted.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32, any byte order
    header, reduced_header : astropy.io.fits.Header
        Headers of the calibrated image, and of the reduced one.
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier
    side : {-1, 0, 1}, optional
        1 for pixels that are saturated in spite of the rounding of the limit, -1 for all that may
        be; by default the limit counts as exact.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
        True for a saturated pixel.
    """
    is_full = np.zeros(image.shape, bool)
    for readout in readouts:
        top = saturated_value(header, reduced_header, readout.tail)
        if top is None:
            continue
        level = number_of_card(card(reduced_header, "BIASLVL", readout.tail))
        top -= 0.0 if level is None else level + _SATURATION_MARGIN
        top += side * limit_rounding(level or 0.0)
        is_full[readout.place] = image[readout.place] >= np.float32(top)
    return is_full


def check_sky(header, image, variance_terms, smooth_light, mask):
    """Compare SKYLVL, SKYRMS and SKYPRED with level, noise and predicted noise of the same rows.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the calibrated image.
    image : RemadeCalibratedImage
    variance_terms : ccdflow.verify.calibrated.standard_errors.VarianceTerms or None
    smooth_light : ccdflow.verify.detector.photon_light.SmoothLight or None
    mask : numpy.ndarray of shape (ny, nx), int16, or None
        Mask of the product: flagged pixels do not count.

    Raises
    ------
    Differs
        If a card of the sky has another value.
    """
    ny, nx = image.reduced.shape
    rows = np.linspace(0, max(ny - 2, 0), min(ny, _SKY_ROWS)).round().astype(int)
    rows = np.unique(rows)
    next_rows = np.minimum(rows + 1, ny - 1)
    first, second = image.calibrate_rows(rows)[0], image.calibrate_rows(next_rows)[0]
    differences = _differences_of_sky(first, second)
    uses_mask = False
    if mask is not None:
        good_first = np.where(mask[rows] != 0, np.nan, first)
        good_second = np.where(mask[next_rows] != 0, np.nan, second)
        differences_of_good = _differences_of_sky(good_first, good_second)
        # Where no two good pixels make a difference, all pixels count.
        uses_mask = differences_of_good.size > 0
        if uses_mask:
            first, second, differences = good_first, good_second, differences_of_good
    values = np.concatenate([first, second])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    # Chosen: a median near 0 has the rounding of larger terms.
    _check_unless_unknown(header, "SKYLVL", float(np.median(values)), atol=1e-5)
    if differences.size:
        _check_unless_unknown(
            header, "SKYRMS", _clipped_scatter(differences) / 2**0.5, rtol=_SKY_TOLERANCE
        )
    # Pixels outside all amplifiers have no meaningful error.
    if variance_terms is not None and variance_terms.is_exact and image.is_covered.all():
        predicted = np.concatenate(
            [_predicted_noise(variance_terms, smooth_light, row, nx) for row in rows]
        )
        if uses_mask:
            predicted[mask[rows] != 0] = np.nan
        expected = expected_scatter(predicted)
        _check_unless_unknown(header, "SKYPRED", expected, rtol=_SKY_TOLERANCE)


def _differences_of_sky(first, second):
    """Return the finite differences of pixels in rows and of shifted pixels in the next rows."""
    nx = first.shape[1]
    lag = min(_COLUMN_LAG, nx - 1)
    differences = (second[:, lag:] - first[:, : nx - lag]).ravel()
    return differences[np.isfinite(differences)]


def _predicted_noise(variance_terms, smooth_light, row, nx):
    """Return the noise that is predicted for the pixels of a row, (1, nx), in their unit.

    Parameters
    ----------
    variance_terms : ccdflow.verify.calibrated.standard_errors.VarianceTerms
    smooth_light : ccdflow.verify.detector.photon_light.SmoothLight
    row, nx : int
        The row, and its number of pixels.
    """
    rows = slice(row, row + 1)
    flat, flat_variance = variance_terms.flat_and_variance(rows, nx)
    variance_without_light = variance_terms.variance_without_light(rows, nx)
    photon_variance = variance_terms.photon_variances(rows, nx)
    light = standard_errors.limited_light(
        smooth_light.rows(row, row + 1), variance_without_light, flat, photon_variance
    )
    variance = variance_terms.variance_with_light(
        variance_without_light, light, flat, flat_variance, photon_variance
    )
    return np.sqrt(variance) / flat


def _clipped_scatter(differences):
    """Return the standard deviation about 0, without outliers, and corrected for the cut."""
    squares = differences**2
    sigma = MAD_TO_SIGMA * float(np.median(squares)) ** 0.5 or float(np.mean(squares)) ** 0.5
    for _ in range(_CLIPPING_ITERATIONS):
        kept_squares = squares[squares <= (_SKY_CLIP * sigma) ** 2]
        sigma = (float(np.mean(kept_squares)) / _CLIPPED_VARIANCE) ** 0.5
    return sigma


def expected_scatter(errors):
    """Return the clipped scatter that normal values with these standard errors would have.

    Parameters
    ----------
    errors : numpy.ndarray of shape (n,), float64 or float32
        Only finite errors above 0 count.

    Returns
    -------
    float
        NaN if none counts.
    """
    errors = np.sort(errors[np.isfinite(errors) & (errors > 0)].astype(float))
    if not errors.size:
        return float("nan")
    errors = errors[np.linspace(0, errors.size - 1, _SKY_QUANTILES).round().astype(int)]
    # Bisection gives the median of absolute values: scipy.optimize would take 0.2 s to import.
    low, high = errors[0] / 2, 2 * errors[-1]
    for _ in range(_HALVINGS):
        sigma = (low + high) / 2
        is_below = special.erf(sigma / MAD_TO_SIGMA / errors / 2**0.5).mean() < 0.5
        low, high = (sigma, high) if is_below else (low, sigma)
    for _ in range(_CLIPPING_ITERATIONS):
        limit = _SKY_CLIP * sigma / errors
        # The variance of normal values within the limit is an incomplete gamma function of 3/2.
        squares = errors**2 * special.gammainc(1.5, limit**2 / 2)
        kept_share = special.erf(limit / 2**0.5)
        sigma = (squares.mean() / kept_share.mean() / _CLIPPED_VARIANCE) ** 0.5
    return sigma


def _check_unless_unknown(
    header, keyword, value, *, rtol=RELATIVE_ROUNDING, atol=ABSOLUTE_ROUNDING
):
    """Compare a card with a figure; a figure that is not finite is written as `unknown`.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    value : float
        The figure that was made again.
    rtol, atol : float, optional
        Relative and absolute tolerance.
    """
    if header.get(keyword) != "unknown" or np.isfinite(value):
        check_value(keyword, header.get(keyword), value, rtol=rtol, atol=atol)


def check_noise_cards(header, image, variance_terms):
    """Compare MDNOISE, MFNOISE and MBNOISE with the noise of the masters as they are applied.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the calibrated image.
    image : RemadeCalibratedImage
    variance_terms : ccdflow.verify.calibrated.standard_errors.VarianceTerms or None

    Raises
    ------
    Differs
        If a card of the noise has another value.
    """
    if variance_terms is None or not image.is_covered.all():
        return
    factor = max(variance_terms.factor(readout) for readout in variance_terms.readouts)
    for kind, keyword in (("dark", "MDNOISE"), ("flat", "MFNOISE")):
        plane = image.planes.get(kind)
        if plane is None or not plane.is_modelled:
            continue
        sample = plane.errors[_SAMPLED_PIXELS].astype(np.float64)
        sample = sample / plane.data[_SAMPLED_PIXELS] if kind == "flat" else sample
        value = float(np.median(sample**2)) ** 0.5
        value *= 1.0 if kind == "flat" else variance_terms.scale * factor
        check_value(keyword, header.get(keyword), value, rtol=DERIVED_ROUNDING)
    bias = image.planes.get("bias")
    if bias is None:
        has_modelled_bias = variance_terms.dark_bias_variance > 0 and "dark" in image.planes
    else:
        has_modelled_bias = bias.errors is None
    if has_modelled_bias:
        value = _noise_of_bias(variance_terms, image, factor)
        check_value("MBNOISE", header.get("MBNOISE"), value, rtol=DERIVED_ROUNDING)


def _noise_of_bias(variance_terms, image, factor):
    """Return MBNOISE: the noise of the bias that is applied and of another bias in the dark.

    A bias that was subtracted from the dark as well counts with 1 minus the factor of the dark.
    """
    other_variance = factor**2 * variance_terms.dark_bias_variance
    if "bias" not in image.planes:
        return other_variance**0.5
    dark = image.planes.get("dark")
    has_same_bias = dark is not None and str(dark.first_header.get("BIASKEY", "")) == (
        image.account.masters["bias"].key
    )
    share = abs(1.0 - variance_terms.scale) if has_same_bias else 1.0
    noise_of_applied_bias = (
        share * factor * variance_terms.noise_of_bias(image.planes["bias"].n_frames)
        if share
        else 0.0
    )
    return (noise_of_applied_bias**2 + other_variance) ** 0.5


def check_saturation(header, image, reduced_header):
    """Compare SATURATE with AMPSAT, SATMEAS or AMPTOP after the steps of the calibration.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the calibrated image.
    image : RemadeCalibratedImage
    reduced_header : astropy.io.fits.Header
        Header of the reduced frame.

    Raises
    ------
    Differs
        If SATURATE has another value.
    """
    saturated_values = []
    for readout in image.readouts:
        tops = (
            saturated_value(header, reduced_header, readout.tail),
            raw_top(reduced_header, readout.tail),
        )
        value = min((top for top in tops if top is not None), default=None)
        if value is None:
            return
        value -= number_of_card(card(reduced_header, "BIASLVL", readout.tail)) or 0.0
        for kind, scale in (("bias", 1.0), ("dark", image.scale)):
            if kind in image.planes:
                part = image.planes[kind].data[readout.place]
                value -= scale * float(np.median(part[_SAMPLED_PIXELS]))
        if "flat" in image.planes:
            part = image.planes["flat"].data[readout.place]
            value /= max(float(np.quantile(part[_SAMPLED_OF_FLAT], _TOP_FRACTION)), LEAST_FLAT)
        saturated_values.append(value * (readout.gain if image.converts else 1.0))
    check_value("SATURATE", header.get("SATURATE"), min(saturated_values), rtol=DERIVED_ROUNDING)


def smooth_light_of(image):
    """Return the `ccdflow.verify.detector.photon_light.SmoothLight` of an image (ny, nx)."""
    rows = np.concatenate(photon_light.edges_of_tiles(len(image.reduced))[1])
    return photon_light.SmoothLight(image.calibrate_rows(rows)[0], len(image.reduced))


def check_errors(stored_planes, image, smooth_light, has_no_light):
    """Compare the standard errors of an image with those of the header's terms.

    Parameters
    ----------
    stored_planes : ccdflow.verify.calibrated.masking.StoredPlanes
        Stored planes of the product, with errors and variance terms. Errors are made again from
        the stored pixels; from remade pixels where the stored ones were rounded to steps.
    image : RemadeCalibratedImage
    smooth_light : ccdflow.verify.detector.photon_light.SmoothLight
        Smooth light of the frame.
    has_no_light : numpy.ndarray of shape (ny, nx), bool
        Pixels that do not count for the errors of their neighbours.

    Returns
    -------
    str
        The closeness of the comparison, in words.

    Raises
    ------
    Differs
        If an error is missing, or differs by more than the rounding allows.
    """
    errors, variance_terms, half_step = (
        stored_planes.errors,
        stored_planes.variance_terms,
        stored_planes.error_half_step,
    )
    ny, nx = errors.shape
    n_wrong, n_missing, ratios = 0, 0, []
    for low in range(0, ny, standard_errors.block_rows(nx)):
        rows = slice(low, min(low + standard_errors.block_rows(nx), ny))
        index = np.clip(np.arange(rows.start - 1, rows.stop + 1), 0, ny - 1)
        stored_errors = errors[rows].astype(np.float64)
        pixels = (
            image.calibrate_rows(index)[0].astype(np.float32)
            if stored_planes.half_step
            else stored_planes.pixels[index]
        )
        smooth_rows = smooth_light.rows(index[0], index[-1] + 1)[index - index[0]]
        pixels = _fill_pixels(pixels.astype(float), has_no_light[index], smooth_rows)
        is_wrong, expected = standard_errors.find_wrong_errors(
            stored_errors,
            pixels,
            rows=rows,
            variance_terms=variance_terms,
            smooth_light=smooth_light,
            half_step=half_step,
        )
        n_wrong += int(np.count_nonzero(is_wrong & image.has_remade_errors[rows]))
        is_missing = ~np.isfinite(stored_errors) & np.isfinite(expected)
        n_missing += int(np.count_nonzero(is_missing & image.has_remade_errors[rows]))
        # Overscan that was not trimmed has no error that is made again.
        has_error = image.has_remade_errors[rows] & np.isfinite(stored_errors) & (expected > 0)
        if has_error.any():
            ratios.append(np.median(stored_errors[has_error] / expected[has_error]))
    if n_missing:
        raise Differs(f"{n_missing} standard errors are missing")
    if variance_terms.is_exact and n_wrong:
        raise Differs(f"{n_wrong} standard errors differ from those by the header's terms")
    ratio = float(np.median(ratios)) if ratios else 1.0
    if not abs(ratio - 1) <= standard_errors.SCATTER_TOLERANCE:
        raise Differs(
            f"the standard errors are {ratio:.4g} times those by the header's terms in the median"
        )
    return "its standard errors " + (
        f"to {standard_errors.CARD_TOLERANCE:g}"
        if variance_terms.is_exact
        else f"in the median to {standard_errors.SCATTER_TOLERANCE:g}"
    )


def _fill_pixels(pixels, has_no_light, smooth_light):
    """Return rows in which pixels without light have the mean of their good neighbours in the row.

    A pixel without a good neighbour has the smooth light.
    """
    padded_pixels = np.pad(np.where(has_no_light, np.nan, pixels), ((0, 0), (1, 1)), mode="edge")
    side_pixels = np.stack([padded_pixels[:, :-2], padded_pixels[:, 2:]])
    is_good = np.isfinite(side_pixels)
    count = is_good.sum(axis=0)
    mean = np.where(is_good, side_pixels, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(has_no_light, np.where(count > 0, mean, smooth_light), pixels)


def check_overscan_noise(header, image, variance_terms):
    """Compare OSCNOISE with the noise of levels of as many pixels as the overscan has.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the calibrated image.
    image : RemadeCalibratedImage
    variance_terms : ccdflow.verify.calibrated.standard_errors.VarianceTerms

    Raises
    ------
    Differs
        If OSCNOISE has another value.
    """
    for readout in image.readouts:
        card_value = number_of_card(card(header, "OSCNOISE", readout.tail))
        if card_value is None:
            continue
        if number_of_card(card(header, "BIASLVL", readout.tail)) is None:
            check_value("OSCNOISE", card_value, 0.0)
            continue
        factor = variance_terms.factor(readout) * variance_terms.level_shares**0.5
        check_level_noise("OSCNOISE", card_value, header, readout, factor=factor)
