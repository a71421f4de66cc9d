"""The verdict on a calibrated frame: pixels, standard errors, mask, cards."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from astropy.io import fits

from ccdflow import paths
from ccdflow.errors import is_own_fault
from ccdflow.verify.calibrated import masking, remade_calibration, shutters, standard_errors
from ccdflow.verify.calibrated.grading import check_grade
from ccdflow.verify.calibrated.master_planes import plane_of
from ccdflow.verify.comparing.amplifiers import (
    card,
    header_with_recipe,
    number_of_card,
    pixels_at_end,
    places_without_level,
    readouts_of,
    tails_of,
)
from ccdflow.verify.comparing.card_order import CALIBRATED_ORDER, COMMON_GAIN_ORDER, check_order
from ccdflow.verify.comparing.card_pairs import check_required, must_have
from ccdflow.verify.comparing.comparing import (
    Differs,
    check_figure,
    check_text,
    check_value,
    difference_within,
    rounding_of_card,
)
from ccdflow.verify.comparing.extensions import (
    check_extensions,
    check_names,
    check_packed,
    extension_name,
)
from ccdflow.verify.comparing.source_cards import CALIBRATED_ORIGINS, check_cards
from ccdflow.verify.reading.accounts import (
    CalibratedAccount,
    account_of_calibrated,
    date_of_combined,
    product_of,
    raw_file,
    uncompressed_hdus,
)
from ccdflow.verify.reading.measured_gains import measured_gains
from ccdflow.verify.reading.restated_numbers import (
    COSMIC,
    HOT,
    NO_DATA,
    NOT_FINITE,
    SATURATED,
    UNCALIBRATED,
)
from ccdflow.verify.reading.stored_rows import master_file, open_product
from ccdflow.verify.reading.verdict import MISSING, SOURCE_REPLACED, CannotRemake

MOST_STEPS = 2
"""Steps of float32 by which a calibrated pixel may differ: ccdproc rounds in another order."""

# Further steps of float32 in a frame that is corrected for the shutter: the card of the mean dead
# time has six digits.
_SHUTTER_STEPS = 16
# Units of raw pixels, and of electrons, as headers write them.
_ADU_UNITS = ("adu", "adus", "dn", "count", "counts")
_ELECTRON_UNITS = ("electron", "electrons", "e-", "e")
# Extensions, each with the card that only a file with the extension has.
_CARDS_OF_EXTENSIONS = (("UNCERT", "SKYPRED"), ("MASK", "NSAT"))
# Cards of a calibrated frame that keep cards of the reduced frame: the new name and the name there.
_RENAMED_CARDS = {
    "RAWGAIN": "GAIN", "RAWEGAIN": "EGAIN", "RAWCGAIN": "CCDGAIN",
    "RAWSATUR": "SATURATE", "RAWSATLV": "SATLEVEL",
}  # fmt: skip
# Rows that are calibrated and compared at once.
_ROWS_AT_ONCE = 64
# Matches a card that names a table of bad pixels, such as BPMIM and BPMIM02.
_TABLE_CARD = re.compile(r"BPMIM(\d\d)?")
# Cards with the number of flagged pixels, and the bit of the mask that each counts.
_COUNT_CARDS = (("NSAT", SATURATED), ("NHOT", HOT), ("NUNCAL", UNCALIBRATED))


def verify_calibrated(headers, path, results):
    """Return the verdict on a calibrated frame, which is made again and compared.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    path, results : pathlib.Path

    Returns
    -------
    dict of str to object
        Fields of a `ccdflow.verify.reading.verdict.Verdict`.

    Raises
    ------
    Differs
        If pixels, standard errors, mask or header differ.
    CannotRemake
        If ccdproc cannot make a frame of this sort, or a file is missing.
    """
    must_have(headers[0], "RAWFILE")
    account = account_of_calibrated(headers)
    reduced_name = product_of(raw_file(headers[0]))
    if not path.as_posix().endswith("calibrated/" + reduced_name.removeprefix("reduced/")):
        raise Differs(f"RAWFILE is {headers[0]['RAWFILE']}, which becomes {reduced_name}")
    reduced_path = results / reduced_name
    if not reduced_path.is_file():
        raise CannotRemake("its reduced frame is missing", MISSING)
    image_indices = [n for n, header in enumerate(headers) if "NAMPS" in header]
    needed_kinds = [
        kind
        for kind, keyword in _CARDS_OF_EXTENSIONS
        if any(keyword in headers[hdu] for hdu in image_indices)
    ]
    check_extensions(headers, image_indices, ("UNCERT", "MASK"), needed_kinds=needed_kinds)
    master_paths = {
        kind: master_file(master, kind, results) for kind, master in account.masters.items()
    }
    check_named_tables(headers[0])
    n_pixels, largest_difference, notes = 0, 0.0, set()
    with (
        fits.open(reduced_path, memmap=False) as reduced_hdus,
        fits.open(path, memmap=False) as hdus_as_stored,
    ):
        hdus = uncompressed_hdus(hdus_as_stored)
        if len(hdus) < len(hdus_as_stored):
            check_packed(hdus_as_stored[0].header, headers[0])
        if reduced_hdus[0].header["CCDFKEY"] != account.reduced_key:
            reason = f"its reduced frame {reduced_name} was replaced by another"
            raise CannotRemake(reason, SOURCE_REPLACED)
        for hdu in sorted({0, *image_indices}):
            has_common_gain = hdu == 0 and _has_common_gain(headers, reduced_hdus, image_indices)
            _check_header(headers[hdu], reduced_hdus[hdu].header, has_common_gain=has_common_gain)
        _check_masters(headers[0], reduced_hdus[0].header, account, master_paths)
        for hdu in image_indices:
            difference, note = _verify_image(
                OpenedFrame(headers, hdus, reduced_hdus, account, master_paths, results), hdu
            )
            largest_difference = max(largest_difference, difference)
            notes |= {note} - {""}
            n_pixels += hdus[hdu].data.size
    compared = ", ".join([f"{MOST_STEPS} steps of float32 with ccdproc", *sorted(notes)])
    return {"compared": compared, "pixels": n_pixels, "largest": largest_difference}


def _has_common_gain(headers, reduced_hdus, image_indices):
    """Return whether pixels became electrons by a measured gain: the reduced frame lacks a gain.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    reduced_hdus : astropy.io.fits.HDUList
    image_indices : list of int
        The HDUs that hold an image.
    """
    return any(
        headers[hdu].get("BUNIT") == "electron"
        and card(reduced_hdus[hdu].header, "AMPGAIN", tail) is None
        for hdu in image_indices
        for tail in tails_of(headers[hdu])
    )


def _check_header(header, reduced_header, *, has_common_gain):
    """Raise unless a header has the cards of the reduced frame and ccdflow's, in their order.

    Parameters
    ----------
    header, reduced_header : astropy.io.fits.Header
    has_common_gain : bool
        Whether GAINMEAS of this header is the factor of all pixels.
    """
    check_cards(header, [reduced_header], CALIBRATED_ORIGINS)
    order = COMMON_GAIN_ORDER if has_common_gain else CALIBRATED_ORDER
    check_order(header, reduced_header, order, CALIBRATED_ORIGINS.renewed_cards)
    check_names(header, reduced_header)


@dataclass(frozen=True)
class OpenedFrame:
    """A calibrated frame, opened, and the files that it is compared with.

    Attributes
    ----------
    headers : list of astropy.io.fits.Header
        Headers of the calibrated frame.
    hdus : list of astropy.io.fits.ImageHDU
        HDUs of the calibrated frame, uncompressed; the first one may be a primary HDU.
    reduced_hdus : astropy.io.fits.HDUList
        The reduced frame.
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    master_paths : dict of str to pathlib.Path
        The masters' files by their kind.
    results : pathlib.Path
    """

    headers: list[fits.Header]
    hdus: list[fits.ImageHDU]
    reduced_hdus: fits.HDUList
    account: CalibratedAccount
    master_paths: dict[str, Path]
    results: Path

    @property
    def first_header(self):
        """The first header of the calibrated frame."""
        return self.headers[0]

    @property
    def hdus_by_name(self):
        """The HDUs of the calibrated frame by their names."""
        return {each.name: each for each in self.hdus}

    def number_of_image(self, hdu):
        """Return the number of an image, by the index of its HDU, among the images, from 0."""
        return [n for n, each in enumerate(self.headers) if "NAMPS" in each].index(hdu)


def _verify_image(opened, hdu):
    """Return the largest difference of an image's pixels, and the words on its standard errors."""
    header = header_with_recipe(opened.headers[hdu], opened.first_header)
    reduced_header = opened.reduced_hdus[hdu].header
    image, is_in_electrons = _image_of(opened, hdu, header)
    stored_pixels = _pixels_of(opened.hdus[hdu])
    _check_step_cards(header, opened.first_header, image, opened.account)
    _check_gain(header, opened.first_header, image, reduced_header, opened.results)
    _check_renamed(header, reduced_header)
    steps = allowed_float_steps(opened.first_header)
    largest = _compare_pixels(stored_pixels, image, half_step_of(header), steps=steps)
    variance_terms = standard_errors.variance_terms_of(
        header, image.readouts, image.planes, opened.account, converts=image.converts,
        is_in_electrons=is_in_electrons,
    )  # fmt: skip
    smooth_light = None if variance_terms is None else remade_calibration.smooth_light_of(image)
    hdus_by_name, comparison = opened.hdus_by_name, ""
    mask_hdu = hdus_by_name.get(extension_name("MASK", hdu))
    mask = None if mask_hdu is None else _pixels_of(mask_hdu)
    stored_planes = masking.StoredPlanes(
        pixels=stored_pixels, half_step=half_step_of(header), errors=None, error_half_step=0.0,
        variance_terms=variance_terms, is_in_electrons=is_in_electrons,
        image_number=opened.number_of_image(hdu),
    )  # fmt: skip
    uncertainty = None
    if variance_terms is not None:
        uncertainty = hdus_by_name.get(extension_name("UNCERT", hdu))
    if uncertainty is not None:
        stored_planes = replace(
            stored_planes,
            errors=_pixels_of(uncertainty),
            error_half_step=half_step_of(uncertainty.header),
        )
    # The mask is compared first: the standard errors and the noise of the sky depend on it.
    if mask is not None:
        _check_mask(mask, image, MaskSources(opened, hdu, header, stored_planes))
    remade_calibration.check_sky(header, image, variance_terms, smooth_light, mask)
    remade_calibration.check_saturation(header, image, reduced_header)
    if uncertainty is not None:
        has_no_light = masking.pixels_without_light(mask, image, opened, stored_planes)
        comparison = _verify_errors(
            header, uncertainty.header, image, stored_planes, smooth_light, has_no_light
        )
    return largest, comparison


def _image_of(opened, hdu, header):
    """Return an HDU's `RemadeCalibratedImage`, and whether its reduced frame is in electrons."""
    account, first_header = opened.account, opened.first_header
    reduced_header = opened.reduced_hdus[hdu].header
    cuts = {kind: master.cut for kind, master in account.masters.items()}
    planes = {
        kind: plane_of(path, hdu, kind, cuts[kind]) for kind, path in opened.master_paths.items()
    }
    if "SHUTCOR" in first_header:
        must_have(first_header, "FLATIM")
        planes["flat"] = shutters.flat_over_factor(
            planes["flat"], first_header, opened.reduced_hdus[0].header, opened.results,
            opened.number_of_image(hdu),
        )  # fmt: skip
    bias = planes["bias"].header if "bias" in planes else None
    readouts = readouts_of(header, first_header, reduced_header, bias)
    unit, converts, is_in_electrons = _unit_of(reduced_header, readouts)
    image = remade_calibration.RemadeCalibratedImage(
        account=account, reduced=opened.reduced_hdus[hdu].data, planes=planes, readouts=readouts,
        unit=unit, converts=converts,
        places_without_level=tuple(
            place
            for readout in readouts
            for place in places_without_level(reduced_header, readout.tail)
        ),
    )  # fmt: skip
    return image, is_in_electrons


def _verify_errors(header, error_header, image, stored_planes, smooth_light, has_no_light):
    """Compare the standard errors of an image, and return the words on the comparison.

    Parameters
    ----------
    header, error_header : astropy.io.fits.Header
        Headers of the image, and of its UNCERT extension.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    stored_planes : ccdflow.verify.calibrated.masking.StoredPlanes
    smooth_light : ccdflow.verify.detector.photon_light.SmoothLight
        Smooth light of the image.
    has_no_light : numpy.ndarray of shape (ny, nx), bool
        Pixels that do not count for the errors of their neighbours.
    """
    _check_noise(header, image, stored_planes.variance_terms)
    comparison = remade_calibration.check_errors(stored_planes, image, smooth_light, has_no_light)
    _check_unit_of_errors(error_header, header["BUNIT"])
    return comparison


def _check_unit_of_errors(header, unit):
    """Raise unless a header of UNCERT names standard deviations in the unit of the image."""
    check_text(header, "BUNIT", unit)
    check_text(header, "UTYPE", "StdDevUncertainty")


def _unit_of(reduced_header, readouts):
    """Return (unit, converts, is_in_electrons) of the calibrated frame of a reduced one.

    Parameters
    ----------
    reduced_header : astropy.io.fits.Header
    readouts : list of ccdflow.verify.comparing.amplifiers.VerifiedAmplifier

    Returns
    -------
    (str, bool, bool)
        The unit, whether adu become electrons, and whether the reduced frame is in electrons.
    """
    unit = str(reduced_header.get("BUNIT", "adu"))
    converts = unit.lower() in _ADU_UNITS and all(readout.gain for readout in readouts)
    is_in_electrons = unit.lower() in _ELECTRON_UNITS
    return "electron" if converts or is_in_electrons else unit, converts, is_in_electrons


def _pixels_of(hdu):
    """Return the pixels of an HDU of a product; raise `Differs` if its tiles are damaged."""
    try:
        return np.asarray(hdu.data)
    except Exception as error:
        # Any error of astropy and its packages means that the tiles are not as they were written.
        if is_own_fault(error):
            raise
        raise Differs(f"the tiles of {hdu.name} cannot be unpacked: {error}") from None


def half_step_of(header):
    """Return the largest rounding error of values that are stored in steps; 0 where none is named.

    That is half of QUANSTEP, and a little more for the rounding of float32.
    """
    # 1e-5 of the step: float32 rounds a value of many steps by less.
    return float(header.get("QUANSTEP", 0.0)) * (1 + 1e-5) / 2


def allowed_float_steps(header):
    """Return the float32 steps by which a pixel may differ, with the rounding of cards.

    GAINMEAS has six digits, and pixels are multiplied by a mean gain with all its digits.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the first HDU.

    Returns
    -------
    int

    Examples
    --------
    >>> allowed_float_steps({}), allowed_float_steps({"GAINMEAS": 10.3152})
    (2, 43)
    """
    steps = MOST_STEPS + (_SHUTTER_STEPS if "SHUTCOR" in header else 0)
    gain = number_of_card(header.get("GAINMEAS"))
    if gain:
        steps += math.ceil(rounding_of_card(gain) / gain / float(np.finfo(np.float32).eps))
    return steps


def _compare_pixels(pixels, image, half_step, *, steps):
    """Return the largest difference between stored pixels and those that ccdproc makes.

    Parameters
    ----------
    pixels : numpy.ndarray of shape (ny, nx), float32
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    half_step : float
        Half of the step in which pixels are stored; 0 for exact ones.
    steps : int
        Steps of float32 by which a pixel may differ.
    """
    largest = 0.0
    for low in range(0, len(pixels), _ROWS_AT_ONCE):
        rows = slice(low, low + _ROWS_AT_ONCE)
        remade, terms = image.calibrate_rows(rows)
        stored = pixels[rows].astype(np.float64)
        difference = difference_within(
            stored, remade, np.float32, steps, terms, allowance=half_step
        )
        largest = max(largest, difference)
    return largest


def _check_step_cards(header, first_header, image, account):
    """Compare the unit, ZEROCOR, DARKCOR and FLATCOR with the masters that were applied.

    Parameters
    ----------
    header, first_header : astropy.io.fits.Header
        Headers of the image, and of the first HDU.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    """
    check_required(header, first_header, "calibrated")
    must_have(header, "BUNIT")
    if header["BUNIT"] != image.unit:
        raise Differs(f"the unit is {image.unit}, and BUNIT has {header['BUNIT']}")
    for kind, keyword in (("bias", "ZEROCOR"), ("dark", "DARKCOR"), ("flat", "FLATCOR")):
        name = account.masters[kind].name if kind in account.masters else None
        if name is not None and unquote(str(header.get(keyword))) != name:
            raise Differs(f"{keyword} is not {name}")
    if image.converts:
        check_figure(header, "GAIN", 1.0)


def _check_renamed(header, reduced_header):
    """Compare the cards of `_RENAMED_CARDS` with those of the reduced frame."""
    for name, keyword in _RENAMED_CARDS.items():
        if name in header and name not in reduced_header:
            check_text(header, name, reduced_header.get(keyword))


def _check_gain(header, first_header, image, reduced_header, results):
    """Compare a measured gain with the gains of the detector's nights, or with that of the flat.

    A measured gain is the weighted mean of some nights, and therefore lies between their gains.

    Parameters
    ----------
    header, first_header : astropy.io.fits.Header
        Headers of the image, and of the first HDU.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    reduced_header : astropy.io.fits.Header
        Header of the reduced frame's image.
    results : pathlib.Path
    """
    flat = image.planes.get("flat")
    for tail in tails_of(header):
        keyword = f"GAINMEAS{tail}"
        card_value = number_of_card(card(header, "GAINMEAS", tail))
        if card_value is None:
            continue
        if tail and card_value == number_of_card(card(reduced_header, "AMPGAIN", tail)):
            # GAINMEAS repeats the gain of the header: another amplifier lacks a gain, and the noise
            # needs one of each. There is no measurement to compare.
            continue
        name = str(card(reduced_header, "AMPNAM", tail, ""))
        camera = str(first_header.get("CCDFCAM"))
        gains = measured_gains(results / paths.DETECTOR_FILE, name, camera=camera)
        gain_of_flat = None if flat is None else number_of_card(card(flat.header, "GAINMEAS", tail))
        if not gains and "BPMIM" in first_header and not (results / paths.DETECTOR_FILE).is_file():
            raise CannotRemake(
                f"{paths.DETECTOR_FILE}, which has its {keyword}, is missing", MISSING
            )
        if not gains and gain_of_flat is not None:
            gains = [gain_of_flat]
        if not gains:
            reason = f"no flat and no line of {paths.DETECTOR_FILE} has its {keyword}"
            raise CannotRemake(reason, MISSING)
        check_value(keyword, card_value, min(max(card_value, min(gains)), max(gains)))


def _check_noise(header, image, variance_terms):
    """Compare the cards on noise with the cards of the masters."""
    bias = image.planes.get("bias")
    for readout in () if bias is None else image.readouts:
        measured_noise = number_of_card(card(bias.header, "RNOISE", readout.tail))
        if measured_noise:
            check_figure(header, f"MODRN{readout.tail}", measured_noise)
    remade_calibration.check_noise_cards(header, image, variance_terms)
    remade_calibration.check_overscan_noise(header, image, variance_terms)


def _check_masters(first_header, reduced_header, account, master_paths):
    """Compare a header's cards on its masters with the masters' own headers.

    Parameters
    ----------
    first_header, reduced_header : astropy.io.fits.Header
        Headers of the product, and of its reduced frame.
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    master_paths : dict of str to pathlib.Path
        The masters by kind.
    """
    check_grade(first_header, account.masters)
    for kind, path in master_paths.items():
        master = fits.getheader(path)
        keyword = f"{kind.upper()}DT"
        _check_lag(first_header, keyword, account.masters[kind].name)
        if kind == "flat":
            _check_flat_level(first_header, path)
        if kind == "dark":
            _check_dark(first_header, reduced_header, master, account.masters["dark"].factors[0])


def _check_flat_level(first_header, path):
    """Compare FLATLVL with that of the flat, in which each image has the same one."""
    images = open_product(path).images.values()
    levels = {number_of_card(image.header.get("FLATLVL")) for image in images} - {None}
    if len(levels) == 1 and (level := levels.pop()):
        check_figure(first_header, "FLATLVL", level)


def _check_lag(first_header, keyword, name):
    """Compare a card with the nights between a frame and its master by their dates, to a day."""
    night = date_of_combined(name)
    day = re.match(r"\d{4}-\d\d-\d\d", str(first_header.get("DATE-OBS", "")))
    if night is None or day is None:
        return
    must_have(first_header, keyword)
    lag = (date.fromisoformat(day[0]) - night).days
    if abs(first_header[keyword] - lag) > 1:
        raise Differs(f"{keyword} is about {lag}, and its card has {first_header[keyword]}")


def _check_dark(first_header, reduced_header, dark_header, scale):
    """Compare the factor of a dark with the exposures, and DARKDTMP with the temperatures.

    Parameters
    ----------
    first_header, reduced_header, dark_header : astropy.io.fits.Header
        Headers of the product, of its reduced frame, and of the dark.
    scale : float
        The factor of the dark.
    """
    frame_seconds, dark_seconds = (
        number_of_card(header.get("EXPTIME")) for header in (reduced_header, dark_header)
    )
    if frame_seconds and dark_seconds:
        # Exposures that differ by at most 0.1 s or 0.1 % count as equal.
        is_equal = abs(frame_seconds - dark_seconds) <= max(0.1, 1e-3 * dark_seconds)
        expected = 1.0 if is_equal else frame_seconds / dark_seconds
        # Chosen: the exposure may be in another card of the camera, which differs by less than 1 %.
        check_value("DARKSCAL", scale, expected, rtol=1e-2)
    frame_degrees, dark_degrees = (
        number_of_card(header.get("CCD-TEMP")) for header in (reduced_header, dark_header)
    )
    if frame_degrees is not None and dark_degrees is not None:
        # Half of a tenth of a degree: temperatures count to a tenth.
        check_figure(first_header, "DARKDTMP", dark_degrees - frame_degrees, atol=0.05)


@dataclass(frozen=True)
class MaskSources:
    """The values that give the mask of an image, beside its masters and its pixels.

    Attributes
    ----------
    opened : OpenedFrame
    hdu : int
        Index of the image's HDU.
    header : astropy.io.fits.Header
        Header of the image, with the cards that all images share.
    stored_planes : ccdflow.verify.calibrated.masking.StoredPlanes
    """

    opened: OpenedFrame
    hdu: int
    header: fits.Header
    stored_planes: masking.StoredPlanes


def _check_mask(mask, image, sources):
    """Raise unless a mask has the bits that its sources give, and no others.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), int16
        Mask of the product.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    sources : MaskSources
    """
    opened, header, stored_planes = sources.opened, sources.header, sources.stored_planes
    bits_of_sources = np.zeros(mask.shape, np.int16)
    for plane in image.planes.values():
        bits_of_sources |= plane.flags
    reduced_hdus, mask_name = opened.reduced_hdus, extension_name("MASK", sources.hdu)
    reduced_header = reduced_hdus[sources.hdu].header
    if mask_name in [each.name for each in reduced_hdus]:
        bits_of_sources |= reduced_hdus[mask_name].data.astype(np.int16)
    else:
        bits_of_sources[~np.isfinite(image.reduced)] |= NOT_FINITE
        is_saturated = remade_calibration.saturated_pixels(
            image.reduced, header, reduced_header, image.readouts
        )
        bits_of_sources[is_saturated] |= SATURATED
    for readout in image.readouts:
        is_at_end = pixels_at_end(image.reduced, reduced_header, readout.place, readout.tail)
        bits_of_sources[is_at_end] |= SATURATED
    for place in image.places_without_level:
        bits_of_sources[place] |= NO_DATA
    expected_mask = masking.ExpectedMask(bits_of_sources)
    # A pixel within the rounding of the limit may be saturated or not.
    measured_readouts = [r for r in image.readouts if card(header, "SATMEAS", r.tail) is not None]
    is_saturated, may_be_saturated = (
        remade_calibration.saturated_pixels(
            image.reduced, header, reduced_header, measured_readouts, side=side
        )
        for side in (1, -1)
    )
    expected_mask.add(SATURATED, is_saturated, is_possible=may_be_saturated)
    masking.add_uncovered(expected_mask, image)
    masking.add_not_linear(expected_mask, mask, image, header, reduced_header)
    masking.add_bad_pixels(
        expected_mask, opened.first_header, opened.results, stored_planes.image_number
    )
    masking.add_scaled_dark(expected_mask, image, stored_planes)
    masking.add_neighbours(expected_mask, mask, stored_planes.pixels, stored_planes.half_step)
    if stored_planes.errors is not None:
        masking.add_cosmics(expected_mask, mask, header, stored_planes.pixels, stored_planes.errors)
    expected_mask.check(mask)
    for keyword, bit in _COUNT_CARDS:
        check_figure(header, keyword, int(np.count_nonzero(mask & bit)))
    if "NCOSMIC" in header or "COSMICS" in header:
        check_figure(header, "NCOSMIC", int(np.count_nonzero(mask & COSMIC)))
        _check_cosmics(header)


def check_named_tables(first_header):
    """Raise if BPMNTS is less than the number of tables of bad pixels that a header names.

    Raises
    ------
    Differs
        If BPMNTS is less or absent, or only some of BPMIM, BPMKEY and BPMNTS are there.
    """
    present_keywords = [
        keyword for keyword in ("BPMIM", "BPMKEY", "BPMNTS") if keyword in first_header
    ]
    if present_keywords and len(present_keywords) < 3:
        raise Differs(
            "BPMIM, BPMKEY and BPMNTS should be there together, and the header has only"
            f" {' and '.join(present_keywords)}"
        )
    n_tables = sum(_TABLE_CARD.fullmatch(keyword) is not None for keyword in first_header)
    card_value = number_of_card(first_header.get("BPMNTS"))
    if present_keywords and (card_value is None or card_value < n_tables):
        raise Differs(f"BPMNTS is {n_tables}, and its card has {first_header['BPMNTS']}")


def _check_cosmics(header):
    """Compare COSMICS with NCOSMIC: discarded cosmic rays are in no mask."""
    card_value = header.get("COSMICS")
    if card_value not in ("found", "discarded"):
        raise Differs(f"COSMICS should be found or discarded, and its card has {card_value}")
    if card_value == "discarded" and header["NCOSMIC"]:
        raise Differs(f"COSMICS is discarded, and NCOSMIC has {header['NCOSMIC']}")
