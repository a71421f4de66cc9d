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
from ccdflow.verify.reading.restated_numbers import MAD_TO_SIGMA

# The noise of the sky is measured in this many rows.
_SKY_ROWS = 32
# Compared pixels lie this many columns apart: neighbours share a star.
_SKY_LAG = 4
# A difference beyond this many sigma is left out of the noise of the sky.
_SKY_CLIP = 3.0
# Rounds in which differences are left out.
_SKY_ITERATIONS = 4
# Quantiles that take the place of all predicted errors.
_SKY_QUANTILES = 4001
# Variance of a normal distribution that is cut at three sigma.
_KEPT_VARIANCE = 0.97334
# Adu below which a pixel less its level may be saturated: levels differ along the rows.
_SATURATION_MARGIN = 3.0
# Relative, of the noise of the sky: pixels are float32, and the median of their squares jumps.
_SKY_PART = 1e-3
# SATURATE follows from the response that this part of a flat's pixels does not exceed, and from no
# smaller response than the second number.
_BRIGHTEST_PART, _LEAST_FLAT = 0.999, 1e-3
# Every 8th row and 4th column, of which the product's medians are.
_SAMPLED_PIXELS = np.s_[::8, ::4]
# Every 4th row and column of a flat, of which its product's brightest response is.
_SAMPLED_OF_FLAT = np.s_[::4, ::4]
# Halvings of an interval: float64 has 53 bits.
_HALVINGS = 60


@dataclass(frozen=True)
class CalibratedImage:
    """An image of a calibrated frame, and the images that it is made again from.

    Attributes
    ----------
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    reduced : numpy.ndarray of float32 or float64, any byte order
        (ny, nx), as it is in the reduced frame's file.
    planes : dict of str to ccdflow.verify.calibrated.master_planes.MasterPlane
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier
    unit : str
        That the product is to have.
    converts : bool
        Whether adu become electrons.
    without_level : tuple of (slice, slice)
        Parts whose overscan is saturated.
    """

    account: CalibratedAccount
    reduced: np.ndarray
    planes: dict[str, MasterPlane]
    readouts: list[VerifiedAmplifier]
    unit: str
    converts: bool
    without_level: tuple[tuple[slice, slice], ...] = ()

    @cached_property
    def has_remade_errors(self):
        """Which pixels have errors that are made again: (ny, nx) bool.

        The light of pixels beside rows without a level is estimated in another way.
        """
        remade = self.covered.copy()
        for y, x in self.without_level:
            beside = (slice(max(each.start - 1, 0), each.stop + 1) for each in (y, x))
            remade[tuple(beside)] = False
        return remade

    @cached_property
    def covered(self):
        """Which pixels an amplifier has: (ny, nx) bool."""
        covered_pixels = np.zeros(self.reduced.shape, bool)
        for readout in self.readouts:
            covered_pixels[readout.place] = True
        return covered_pixels

    @property
    def scale(self):
        """The factor on the dark; 0 without one."""
        return self.account.masters["dark"].factors[0] if "dark" in self.planes else 0.0

    def rows(self, rows):
        """Return some rows, calibrated by ccdproc, and the scale at which they are rounded.

        Parameters
        ----------
        rows : slice or numpy.ndarray of int, shape (k,)
            Of the image.

        Returns
        -------
        image, terms : numpy.ndarray
            (k, nx), float64; the largest term of each pixel's sum, in its unit.
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
                    ccd = less_dark(ccd, master, self.scale)
                terms = np.fmax(terms, np.abs(pixels * (self.scale if kind == "dark" else 1.0)))
            image = np.array(ccd.data)
            return (self._multiply_by_gains(image, rows), self._multiply_by_gains(terms, rows))

    def _multiply_by_gains(self, image, rows):
        """Multiply rows of the image by the gains, in place, if its unit is electrons."""
        if not self.converts:
            return image
        index = np.arange(*rows.indices(len(self.reduced))) if isinstance(rows, slice) else rows
        # Where all amplifiers have one gain, an overscan that was left in is multiplied as well.
        gains, all_pixels = {r.gain for r in self.readouts}, tuple(map(slice, self.reduced.shape))
        for readout in self.readouts[:1] if len(gains) == 1 else self.readouts:
            y, x = all_pixels if len(gains) == 1 else readout.place
            inside = np.flatnonzero((index >= (y.start or 0)) & (index < y.stop))
            if inside.size:
                part = CCDData(image[inside, x], unit=units.adu)
                gain = readout.gain * units.electron / units.adu
                image[inside, x] = ccdproc.gain_correct(part, gain).data
        return image


def less_dark(ccd, master, scale):
    """Return an image less a dark times a scale, by ccdproc.

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


def saturation(header, reduced, tail):
    """Return the raw value of a saturated pixel, AMPSAT or the measured one; None for neither.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the calibrated image.
    reduced : astropy.io.fits.Header
        Of the reduced frame.
    tail : str
        Number of the amplifier, two digits; '' for the only one.

    Returns
    -------
    float or None
    """
    top = number_of_card(card(reduced, "AMPSAT", tail))
    return number_of_card(card(header, "SATMEAS", tail)) if top is None else top


def saturated_pixels(image, cards, header, readouts, *, more=0.0):
    """Return which reduced pixels are saturated, by a value less the level that was subtracted.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32, any byte order
    cards, header : astropy.io.fits.Header
        Of the calibrated image, and of the reduced one.
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier
    more : float
        Adu that are added to the value.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
        True for a saturated pixel.
    """
    full = np.zeros(image.shape, bool)
    for readout in readouts:
        top = saturation(cards, header, readout.tail)
        if top is None:
            continue
        level = number_of_card(card(header, "BIASLVL", readout.tail))
        top -= 0.0 if level is None else level + _SATURATION_MARGIN
        # The level of the card has six digits: between these limits a pixel may be either.
        full[readout.place] = image[readout.place] >= np.float32(top + more)
    return full


def check_sky(header, image, noise, smooth, mask):
    """Compare level, noise and predicted noise of the sky with those of the same rows.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the calibrated image.
    image : CalibratedImage
    noise : ccdflow.verify.calibrated.standard_errors.VarianceTerms or None
    smooth : ccdflow.verify.detector.photon_light.SmoothLight or None
    mask : numpy.ndarray of shape (ny, nx), int16, or None
        The product's: pixels that have a flag do not count.

    Raises
    ------
    Differs
        If a card of the sky has another value.
    """
    ny, nx = image.reduced.shape
    rows = np.linspace(0, max(ny - 2, 0), min(ny, _SKY_ROWS)).round().astype(int)
    rows = np.unique(rows)
    first, second = (image.rows(np.minimum(rows + step, ny - 1))[0] for step in (0, 1))
    if mask is not None:
        flagged, after = (mask[np.minimum(rows + step, ny - 1)] != 0 for step in (0, 1))
        good = np.where(flagged, np.nan, first), np.where(after, np.nan, second)
        lag = min(_SKY_LAG, nx - 1)
        has_good_pixels = np.isfinite(good[1][:, lag:] - good[0][:, : nx - lag]).any()
        if has_good_pixels:
            first, second = good
    values = np.concatenate([first, second])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    # Chosen: a median near 0 has the rounding of its terms.
    _same_unless_unknown(header, "SKYLVL", float(np.median(values)), least=1e-5)
    lag = min(_SKY_LAG, nx - 1)
    steps = (second[:, lag:] - first[:, : nx - lag]).ravel()
    steps = steps[np.isfinite(steps)]
    if steps.size:
        _same_unless_unknown(header, "SKYRMS", _clipped_scatter(steps) / 2**0.5, part=_SKY_PART)
    # Pixels outside all amplifiers have no error that means anything.
    if noise is not None and noise.is_exact and image.covered.all():
        predicted = np.concatenate([_predicted_noise(noise, smooth, row, nx) for row in rows])
        if mask is not None and has_good_pixels:
            predicted[flagged] = np.nan
        expected = expected_scatter(predicted)
        _same_unless_unknown(header, "SKYPRED", expected, part=_SKY_PART)


def _predicted_noise(noise, smooth, row, nx):
    """Return the noise that is predicted for the pixels of a row.

    Parameters
    ----------
    noise : ccdflow.verify.calibrated.standard_errors.VarianceTerms
    smooth : ccdflow.verify.detector.photon_light.SmoothLight
    row, nx : int
        The row, and its number of pixels.
    """
    rows = slice(row, row + 1)
    flat, flat_variance = noise.flat_and_variance(rows, nx)
    before, photon = noise.without_light(rows, nx), noise.photons(rows, nx)
    lit = standard_errors.limited_light(smooth.rows(row, row + 1), before, flat, photon)
    return np.sqrt(noise.with_light(before, lit, flat, flat_variance, photon)) / flat


def _clipped_scatter(steps):
    """Return the standard deviation of steps about 0, outliers left out and allowed for."""
    squares = steps**2
    sigma = MAD_TO_SIGMA * float(np.median(squares)) ** 0.5 or float(np.mean(squares)) ** 0.5
    for _ in range(_SKY_ITERATIONS):
        kept = squares[squares <= (_SKY_CLIP * sigma) ** 2]
        sigma = (float(np.mean(kept)) / _KEPT_VARIANCE) ** 0.5
    return sigma


def expected_scatter(errors):
    """Return the scatter of normal values with these standard errors, by their quantiles.

    Parameters
    ----------
    errors : numpy.ndarray of shape (n,), float64 or float32
        Those that are not finite, or not above 0, do not count.

    Returns
    -------
    float
        NaN if none counts.
    """
    errors = np.sort(errors[np.isfinite(errors) & (errors > 0)].astype(float))
    if not errors.size:
        return float("nan")
    errors = errors[np.linspace(0, errors.size - 1, _SKY_QUANTILES).round().astype(int)]
    # The median of their absolute values, by halves: scipy.optimize takes 0.2 s to import.
    low, high = errors[0] / 2, 2 * errors[-1]
    for _ in range(_HALVINGS):
        sigma = (low + high) / 2
        is_below = special.erf(sigma / MAD_TO_SIGMA / errors / 2**0.5).mean() < 0.5
        low, high = (sigma, high) if is_below else (low, sigma)
    for _ in range(_SKY_ITERATIONS):
        limit = _SKY_CLIP * sigma / errors
        # The variance of normal values within the limit is an incomplete gamma function of 3/2.
        squares = errors**2 * special.gammainc(1.5, limit**2 / 2)
        kept_share = special.erf(limit / 2**0.5)
        sigma = (squares.mean() / kept_share.mean() / _KEPT_VARIANCE) ** 0.5
    return sigma


def _same_unless_unknown(
    header, keyword, value, *, part=RELATIVE_ROUNDING, least=ABSOLUTE_ROUNDING
):
    """Compare a card with a figure; a figure that is not finite is written as `unknown`.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    value : float
        The figure as made again.
    part, least : float
        Tolerance: fraction of the value, and the least of it.
    """
    if header.get(keyword) != "unknown" or np.isfinite(value):
        check_value(keyword, header.get(keyword), value, part=part, least=least)


def check_noise_cards(header, image, noise):
    """Compare the cards on the noise of the masters, as applied, with the masters' own.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the calibrated image.
    image : CalibratedImage
    noise : VarianceTerms or None

    Raises
    ------
    Differs
        If a card of the noise has another value.
    """
    if noise is None or not image.covered.all():
        return
    factor = max(noise.factor(readout) for readout in noise.readouts)
    for kind, keyword in (("dark", "MDNOISE"), ("flat", "MFNOISE")):
        plane = image.planes.get(kind)
        if plane is None or not plane.is_modelled:
            continue
        part = plane.errors[_SAMPLED_PIXELS].astype(np.float64)
        part = part / plane.data[_SAMPLED_PIXELS] if kind == "flat" else part
        value = float(np.median(part**2)) ** 0.5
        value *= 1.0 if kind == "flat" else noise.scale * factor
        check_value(keyword, header.get(keyword), value, part=DERIVED_ROUNDING)
    bias, dark = image.planes.get("bias"), image.planes.get("dark")
    is_other = noise.dark_bias_variance > 0 and dark is not None
    if is_other if bias is None else bias.errors is None:
        check_value(
            "MBNOISE",
            header.get("MBNOISE"),
            _noise_of_bias(noise, image, factor),
            part=DERIVED_ROUNDING,
        )


def _noise_of_bias(noise, image, factor):
    """Return MBNOISE: the noise of the bias as applied, and of one in the dark alone.

    A bias that the dark has as well counts with 1 less the dark's factor; a dark of another bias
    adds that one's variance.
    """
    other_variance = factor**2 * noise.dark_bias_variance
    if "bias" not in image.planes:
        return other_variance**0.5
    dark = image.planes.get("dark")
    is_same = dark is not None and str(dark.first_header.get("BIASKEY", "")) == (
        image.account.masters["bias"].key
    )
    share = abs(1.0 - noise.scale) if is_same else 1.0
    noise_of_own = (
        share * factor * noise.noise_of_bias(image.planes["bias"].frames) if share else 0.0
    )
    return (noise_of_own**2 + other_variance) ** 0.5


def check_saturation(header, image, reduced):
    """Compare SATURATE with AMPSAT, SATMEAS or AMPTOP, taken through the masters.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the calibrated image.
    image : CalibratedImage
    reduced : astropy.io.fits.Header
        Of the reduced frame.

    Raises
    ------
    Differs
        If SATURATE has another value.
    """
    levels = []
    for readout in image.readouts:
        tops = [
            saturation(header, reduced, readout.tail), raw_top(reduced, readout.tail)
        ]  # fmt: skip
        if tops == [None, None]:
            return
        value = min(top for top in tops if top is not None)
        value -= number_of_card(card(reduced, "BIASLVL", readout.tail)) or 0.0
        for kind, scale in (("bias", 1.0), ("dark", image.scale)):
            if kind in image.planes:
                part = image.planes[kind].data[readout.place]
                value -= scale * float(np.median(part[_SAMPLED_PIXELS]))
        if "flat" in image.planes:
            part = image.planes["flat"].data[readout.place]
            value /= max(float(np.quantile(part[_SAMPLED_OF_FLAT], _BRIGHTEST_PART)), _LEAST_FLAT)
        levels.append(value * (readout.gain if image.converts else 1.0))
    check_value("SATURATE", header.get("SATURATE"), min(levels), part=DERIVED_ROUNDING)


def smooth_of(image):
    """Return the `ccdflow.verify.detector.photon_light.SmoothLight` of an image (ny, nx)."""
    rows = np.concatenate(photon_light.tiles(len(image.reduced))[1])
    return photon_light.SmoothLight(image.rows(rows)[0], len(image.reduced))


def check_errors(error, image, noise, smooth, *, calibrated, step, bad):
    """Compare the standard errors of an image with those of the header's terms.

    Parameters
    ----------
    error : numpy.ndarray of shape (ny, nx), float32, any byte order
        The product's standard errors.
    image : CalibratedImage
    noise : VarianceTerms
    smooth : SmoothLight
        The smooth light of the frame.
    calibrated : numpy.ndarray of shape (ny, nx), float32, any byte order, or None
        The frame made again; None where it is made here.
    step : float
        Step of quantised standard errors; 0 where they are exact.
    bad : numpy.ndarray of shape (ny, nx), bool
        Pixels that do not count for the errors of their neighbours.

    Returns
    -------
    str
        How closely.

    Raises
    ------
    Differs
        If an error differs by more than the rounding allows.
    """
    ny, nx = error.shape
    wrong, ratios = 0, []
    for low in range(0, ny, standard_errors.block_rows(nx)):
        rows = slice(low, min(low + standard_errors.block_rows(nx), ny))
        index = np.clip(np.arange(rows.start - 1, rows.stop + 1), 0, ny - 1)
        stored_errors = error[rows].astype(np.float64)
        pixels = (
            image.rows(index)[0].astype(np.float32) if calibrated is None else calibrated[index]
        )
        smooth_rows = smooth.rows(index[0], index[-1] + 1)[index - index[0]]
        pixels = _fill_pixels(pixels.astype(float), bad[index], smooth_rows)
        is_wrong, expected = standard_errors.wrong_in(
            stored_errors, pixels, rows=rows, noise=noise, smooth=smooth, step=step
        )
        wrong += int(np.count_nonzero(is_wrong & image.has_remade_errors[rows]))
        # The overscan of a frame that was left whole has no error that is made again.
        has_error = image.has_remade_errors[rows] & np.isfinite(stored_errors) & (expected > 0)
        if has_error.any():
            ratios.append(np.median(stored_errors[has_error] / expected[has_error]))
    if noise.is_exact and wrong:
        raise Differs(f"{wrong} standard errors differ from those by the header's terms")
    if ratios and not abs(float(np.median(ratios)) - 1) <= standard_errors.SCATTER_ROUNDING_PART:
        raise Differs("the standard errors differ from those by the header's terms")
    return "its standard errors " + (
        f"to {standard_errors.CARD_ROUNDING_PART:g}"
        if noise.is_exact
        else f"in the median to {standard_errors.SCATTER_ROUNDING_PART:g}"
    )


def _fill_pixels(pixels, bad, smooth):
    """Return rows whose bad pixels have the mean of the good ones beside them, or smooth light."""
    padded = np.pad(np.where(bad, np.nan, pixels), ((0, 0), (1, 1)), mode="edge")
    beside = np.stack([padded[:, :-2], padded[:, 2:]])
    is_good = np.isfinite(beside)
    count = is_good.sum(axis=0)
    mean = np.where(is_good, beside, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(bad, np.where(count > 0, mean, smooth), pixels)


def check_overscan_noise(header, image, noise):
    """Compare OSCNOISE with the scatter of medians of as many pixels as the overscan has.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the calibrated image.
    image : CalibratedImage
    noise : VarianceTerms

    Raises
    ------
    Differs
        If OSCNOISE has another value.
    """
    for readout in image.readouts:
        written = number_of_card(card(header, "OSCNOISE", readout.tail))
        if written is None:
            continue
        if number_of_card(card(header, "BIASLVL", readout.tail)) is None:
            check_value("OSCNOISE", written, 0.0)
            continue
        factor = noise.factor(readout) * noise.shares**0.5
        keyword, read_noise = f"OSCNOISE{readout.tail}", readout.read_noise
        check_level_noise(
            keyword,
            written,
            header=header,
            tail=readout.tail,
            read_noise=read_noise,
            rounding=readout.rounding,
            factor=factor,
        )
