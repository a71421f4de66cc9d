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
from ccdflow.verify.comparing.card_order import CALIBRATED_ORDER, check_order
from ccdflow.verify.comparing.card_pairs import check_required, must_have
from ccdflow.verify.comparing.comparing import (
    Differs,
    check_figure,
    check_text,
    check_value,
    difference_within,
)
from ccdflow.verify.comparing.extensions import check_extensions, check_names, check_packed
from ccdflow.verify.comparing.source_cards import CALIBRATED_ORIGINS, check_cards
from ccdflow.verify.reading.accounts import (
    CalibratedAccount,
    account_of_calibrated,
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
"""A calibrated pixel may differ by this many steps of float32: ccdproc rounds in another order."""

# Further steps where a dead time is measured: its card has six digits.
_SHUTTER_STEPS = 16
# Units of raw pixels, and of electrons, as headers write them.
_ADU_UNITS = ("adu", "adus", "dn", "count", "counts")
_ELECTRON_UNITS = ("electron", "electrons", "e-", "e")
# Extensions, each with the card that only a file with the extension has.
_CARDS_OF_EXTENSIONS = (("UNCERT", "SKYPRED"), ("MASK", "NSAT"))
_RENAMED_CARDS = {
    "RAWGAIN": "GAIN", "RAWEGAIN": "EGAIN", "RAWCGAIN": "CCDGAIN",
    "RAWSATUR": "SATURATE", "RAWSATLV": "SATLEVEL",
}  # fmt: skip
# Rows that are compared at once.
_ROWS_AT_ONCE = 64
# Adu by which the value of a full pixel is not certain from the cards.
_SATURATION_DIGITS = 0.01
# Matches a card that names a table of bad pixels, such as BPMIM and BPMIM02.
_TABLE_CARD = re.compile(r"BPMIM(\d\d)?")
_COUNTS = (("NSAT", SATURATED), ("NHOT", HOT), ("NUNCAL", UNCALIBRATED))


def verify_calibrated(headers, path, results):
    """Make a calibrated frame again and compare it.

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
        If pixels, errors, mask or header are others.
    CannotRemake
        If the frame is of a sort that ccdproc cannot make, or a file is missing.
    """
    must_have(headers[0], "RAWFILE")
    account = account_of_calibrated(headers)
    expected = product_of(raw_file(headers[0]))
    if not path.as_posix().endswith("calibrated/" + expected.removeprefix("reduced/")):
        raise Differs(f"RAWFILE is {headers[0]['RAWFILE']}, which becomes {expected}")
    source = results / expected
    if not source.is_file():
        raise CannotRemake("its reduced frame is missing", MISSING)
    images = [n for n, header in enumerate(headers) if "NAMPS" in header]
    needed_kinds = [
        kind
        for kind, keyword in _CARDS_OF_EXTENSIONS
        if any(keyword in headers[hdu] for hdu in images)
    ]
    check_extensions(headers, images, ("UNCERT", "MASK"), needed_kinds=needed_kinds)
    files = {kind: master_file(m, kind, results) for kind, m in account.masters.items()}
    check_named_tables(headers[0])
    pixels, largest_difference, notes = 0, 0.0, set()
    with fits.open(source, memmap=False) as frame, fits.open(path, memmap=False) as hdus_as_stored:
        hdus = uncompressed_hdus(hdus_as_stored)
        if len(hdus) < len(hdus_as_stored):
            check_packed(hdus_as_stored[0].header, headers[0])
        if frame[0].header["CCDFKEY"] != account.reduced_key:
            reason = f"its reduced frame {expected} was replaced by another"
            raise CannotRemake(reason, SOURCE_REPLACED)
        for hdu in sorted({0, *images}):
            _check_header(headers[hdu], frame[hdu].header)
        _check_masters(headers[0], frame[0].header, account, files)
        for hdu in images:
            difference, note = _verify_image(
                OpenedFrame(headers, hdus, frame, account, files, results), hdu
            )
            largest_difference = max(largest_difference, difference)
            notes |= {note} - {""}
            pixels += hdus[hdu].data.size
    compared = ", ".join([f"{MOST_STEPS} steps of float32 with ccdproc", *sorted(notes)])
    return {"compared": compared, "pixels": pixels, "largest": largest_difference}


def _check_header(header, reduced_header):
    """Raise unless a header has the cards of the reduced frame and ccdflow's, in their order."""
    check_cards(header, [reduced_header], CALIBRATED_ORIGINS)
    check_order(header, reduced_header, CALIBRATED_ORDER, CALIBRATED_ORIGINS.renewed_cards)
    check_names(header, reduced_header)


@dataclass(frozen=True)
class OpenedFrame:
    """A calibrated frame, opened, and the files that it is compared with.

    Attributes
    ----------
    headers : list of astropy.io.fits.Header
        Headers of the calibrated frame.
    hdus : list of astropy.io.fits.ImageHDU
        The same, uncompressed; the first one may be a primary HDU.
    frame : astropy.io.fits.HDUList
        The reduced frame.
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    files : dict of str to pathlib.Path
        The masters' files by their kind.
    results : pathlib.Path
    """

    headers: list[fits.Header]
    hdus: list[fits.ImageHDU]
    frame: fits.HDUList
    account: CalibratedAccount
    files: dict[str, Path]
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
        """Return the number of an image among the images, from 0."""
        return [n for n, each in enumerate(self.headers) if "NAMPS" in each].index(hdu)


def _verify_image(opened, hdu):
    """Return the largest difference of an image's pixels, and how its errors were compared."""
    header = header_with_recipe(opened.headers[hdu], opened.first_header)
    reduced_header = opened.frame[hdu].header
    image, is_in_electrons = _image_of(opened, hdu, header)
    stored_pixels = _pixels_of(opened.hdus[hdu])
    _check_steps(header, opened.first_header, image, opened.account)
    _check_gain(header, opened.first_header, image, reduced_header, opened.results)
    _check_renamed(header, reduced_header)
    steps = steps_of_measured(opened.first_header)
    largest = _compare_pixels(stored_pixels, image, half_step(header), steps=steps)
    noise = standard_errors.variance_terms_of(
        header, image.readouts, image.planes, opened.account, converts=image.converts,
        is_in_electrons=is_in_electrons,
    )  # fmt: skip
    smooth_light = None if noise is None else remade_calibration.smooth_light_of(image)
    names, suffix, comparison = opened.hdus_by_name, str(hdu) if hdu else "", ""
    mask = _pixels_of(names[f"MASK{suffix}"]) if f"MASK{suffix}" in names else None
    stored_planes = masking.StoredPlanes(
        pixels=stored_pixels, step=half_step(header), errors=None, error_step=0.0, noise=noise,
        is_in_electrons=is_in_electrons, number=opened.number_of_image(hdu),
    )  # fmt: skip
    uncertainty = names.get(f"UNCERT{suffix}") if noise is not None else None
    if uncertainty is not None:
        stored_planes = replace(
            stored_planes, errors=_pixels_of(uncertainty), error_step=half_step(uncertainty.header)
        )
    # The errors and the noise of the sky depend on the mask, which is therefore compared first.
    if mask is not None:
        _check_mask(mask, image, MaskSources(opened, hdu, header, stored_planes))
    remade_calibration.check_sky(header, image, noise, smooth_light, mask)
    remade_calibration.check_saturation(header, image, reduced_header)
    if uncertainty is not None:
        has_no_light = masking.pixels_without_light(mask, image, opened, stored_planes)
        comparison = _verify_errors(
            header, uncertainty.header, image, stored_planes, smooth_light, has_no_light
        )
    return largest, comparison


def _image_of(opened, hdu, header):
    """Return the `CalibratedImage` of an HDU, and whether its reduced frame is in electrons."""
    account, first_header = opened.account, opened.first_header
    reduced_header = opened.frame[hdu].header
    cuts = {kind: master.cut for kind, master in account.masters.items()}
    planes = {kind: plane_of(path, hdu, kind, cuts[kind]) for kind, path in opened.files.items()}
    if "SHUTCOR" in first_header:
        must_have(first_header, "FLATIM")
        planes["flat"] = shutters.flat_over_factor(
            planes["flat"], first_header, opened.frame[0].header, opened.results,
            opened.number_of_image(hdu),
        )  # fmt: skip
    bias = planes["bias"].header if "bias" in planes else None
    readouts = readouts_of(header, first_header, reduced_header, bias)
    unit, converts, is_in_electrons = _unit_of(reduced_header, readouts)
    image = remade_calibration.CalibratedImage(
        account=account, reduced=opened.frame[hdu].data, planes=planes, readouts=readouts,
        unit=unit, converts=converts,
        places_without_level=tuple(
            place
            for readout in readouts
            for place in places_without_level(reduced_header, readout.tail)
        ),
    )  # fmt: skip
    return image, is_in_electrons


def _verify_errors(header, error_header, image, stored_planes, smooth_light, has_no_light):
    """Compare the standard errors of an image, and return how they were compared.

    Parameters
    ----------
    header, error_header : astropy.io.fits.Header
        Headers of the image, and of its UNCERT extension.
    image : ccdflow.verify.calibrated.remade_calibration.CalibratedImage
    stored_planes : ccdflow.verify.calibrated.masking.StoredPlanes
    smooth_light : ccdflow.verify.detector.photon_light.SmoothLight
        Smooth light of the image.
    has_no_light : numpy.ndarray of shape (ny, nx), bool
        Pixels that do not count for the errors of their neighbours.
    """
    _check_noise(header, image, stored_planes.noise)
    comparison = remade_calibration.check_errors(stored_planes, image, smooth_light, has_no_light)
    _check_unit(error_header, header["BUNIT"])
    return comparison


def _check_unit(header, unit):
    """Raise unless the header of standard errors says so, in the unit of the image."""
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
    """Return the pixels of an HDU of a product, whose tiles may be packed."""
    try:
        return np.asarray(hdu.data)
    except Exception as error:
        # Whatever astropy and its packages raise, the tiles are not as they were written.
        if is_own_fault(error):
            raise
        raise Differs(f"the tiles of {hdu.name} cannot be unpacked: {error}") from None


def half_step(header):
    """Return the largest rounding error of numbers stored in steps, with 1e-5 for float32."""
    # 1e-5 of the step is float32's rounding of a value of many steps.
    return float(header.get("QUANSTEP", 0.0)) * (1 + 1e-5) / 2


def steps_of_measured(header):
    """Return by how many float32 steps pixels may differ, with the rounding of measured cards.

    The mean gain of several nights or amplifiers has more digits than its card, six.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the first HDU.

    Returns
    -------
    int

    Examples
    --------
    >>> steps_of_measured({}), steps_of_measured({"GAINMEAS": 10.3152})
    (2, 43)
    """
    steps = MOST_STEPS + (_SHUTTER_STEPS if "SHUTCOR" in header else 0)
    gain = number_of_card(header.get("GAINMEAS"))
    if gain:
        half_digit = 0.5 * 10.0 ** (math.floor(math.log10(gain)) - 5)
        steps += math.ceil(half_digit / gain / float(np.finfo(np.float32).eps))
    return steps


def _compare_pixels(pixels, image, step, *, steps):
    """Return the largest difference between the pixels and ccdproc's.

    Parameters
    ----------
    pixels : numpy.ndarray of shape (ny, nx), float32
    image : ccdflow.verify.calibrated.remade_calibration.CalibratedImage
    step : float
        Step of the stored values, 0 for none.
    steps : int
        Steps of the type that pixels may differ by.
    """
    largest = 0.0
    for low in range(0, len(pixels), _ROWS_AT_ONCE):
        rows = slice(low, low + _ROWS_AT_ONCE)
        remade, terms = image.calibrate_rows(rows)
        stored = pixels[rows].astype(np.float64)
        difference = difference_within(stored, remade, np.float32, steps, terms, allowance=step)
        largest = max(largest, difference)
    return largest


def _check_steps(header, first_header, image, account):
    """Compare the unit, and the cards of the steps, with the masters that were applied.

    Parameters
    ----------
    header, first_header : astropy.io.fits.Header
        Headers of the image, and of the first HDU.
    image : ccdflow.verify.calibrated.remade_calibration.CalibratedImage
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
    """Compare the cards that keep the camera's facts of raw pixels under another name."""
    for name, keyword in _RENAMED_CARDS.items():
        if name in header and name not in reduced_header:
            check_text(header, name, reduced_header.get(keyword))


def _check_gain(header, first_header, image, reduced_header, results):
    """Compare a measured gain with the gains of the detector's nights, or with the flat's.

    It is the mean of some nights by their errors, so that it lies between them.

    Parameters
    ----------
    header, first_header : astropy.io.fits.Header
        Headers of the image, and of the first HDU.
    image : ccdflow.verify.calibrated.remade_calibration.CalibratedImage
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
            # The measured gain is the header's: the amplifier has it for the noise, because another
            # one lacks a gain. It is no measurement to compare.
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


def _check_noise(header, image, noise):
    """Compare the cards on noise with the masters'."""
    bias = image.planes.get("bias")
    for readout in () if bias is None else image.readouts:
        measured_noise = number_of_card(card(bias.header, "RNOISE", readout.tail))
        if measured_noise:
            check_figure(header, f"MODRN{readout.tail}", measured_noise)
    remade_calibration.check_noise_cards(header, image, noise)
    remade_calibration.check_overscan_noise(header, image, noise)


def _check_masters(first_header, reduced_header, account, files):
    """Compare a header's cards on its masters with the masters' own headers.

    Parameters
    ----------
    first_header, reduced_header : astropy.io.fits.Header
        Headers of the product, and of its reduced frame.
    account : ccdflow.verify.reading.accounts.CalibratedAccount
    files : dict of str to pathlib.Path
        The masters by kind.
    """
    check_grade(first_header, account.masters)
    for kind, path in files.items():
        master = fits.getheader(path)
        keyword = f"{kind.upper()}DT"
        _check_lag(first_header, keyword, account.masters[kind].name)
        if kind == "flat":
            _check_flat_level(first_header, path)
        if kind == "dark":
            _check_dark(first_header, reduced_header, master, account.masters["dark"].factors[0])


def _check_flat_level(first_header, path):
    """Compare FLATLVL with the flat's, which each image of a flat has."""
    images = open_product(path).images.values()
    levels = {number_of_card(image.header.get("FLATLVL")) for image in images} - {None}
    if len(levels) == 1 and (level := levels.pop()):
        check_figure(first_header, "FLATLVL", level)


def _check_lag(first_header, keyword, name):
    """Compare the nights between a frame and its master with their dates, to a day."""
    night = re.search(r"combined/(\d{4}-\d\d-\d\d)/", name)
    day = re.match(r"\d{4}-\d\d-\d\d", str(first_header.get("DATE-OBS", "")))
    if night is None or day is None:
        return
    must_have(first_header, keyword)
    lag = (date.fromisoformat(day[0]) - date.fromisoformat(night[1])).days
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
        # Exposures that differ by less than 0.1 s or 0.1 % count as equal.
        is_equal = abs(frame_seconds - dark_seconds) <= max(0.1, 1e-3 * dark_seconds)
        expected = 1.0 if is_equal else frame_seconds / dark_seconds
        # Chosen: a camera may have its exposure in another card, which differs by less.
        check_value("DARKSCAL", scale, expected, rtol=1e-2)
    frame_degrees, dark_degrees = (
        number_of_card(header.get("CCD-TEMP")) for header in (reduced_header, dark_header)
    )
    if frame_degrees is not None and dark_degrees is not None:
        # Half of the tenth of a degree to which temperatures count.
        check_figure(first_header, "DARKDTMP", dark_degrees - frame_degrees, atol=0.05)


@dataclass(frozen=True)
class MaskSources:
    """The values that the mask of an image follows from, besides masters and image.

    Attributes
    ----------
    opened : OpenedFrame
    hdu : int
        The image.
    header : astropy.io.fits.Header
        Header of the image, with the cards that all images share.
    stored : ccdflow.verify.calibrated.masking.StoredPlanes
    """

    opened: OpenedFrame
    hdu: int
    header: fits.Header
    stored: masking.StoredPlanes


def _check_mask(mask, image, sources):
    """Raise unless a mask has the bits that its sources give, and no others.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), int16
        The product's.
    image : ccdflow.verify.calibrated.remade_calibration.CalibratedImage
    sources : MaskSources
    """
    opened, header, stored_planes = sources.opened, sources.header, sources.stored
    bits_of_sources = np.zeros(mask.shape, np.int16)
    for plane in image.planes.values():
        bits_of_sources |= plane.flags
    frame, suffix = opened.frame, str(sources.hdu) if sources.hdu else ""
    reduced_header = frame[sources.hdu].header
    if f"MASK{suffix}" in [each.name for each in frame]:
        bits_of_sources |= frame[f"MASK{suffix}"].data.astype(np.int16)
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
    # Full pixels lie close together: the level's card has too few digits to part them.
    measured_readouts = [r for r in image.readouts if card(header, "SATMEAS", r.tail) is not None]
    is_saturated, may_be_saturated = (
        remade_calibration.saturated_pixels(
            image.reduced, header, reduced_header, measured_readouts, margin=margin
        )
        for margin in (_SATURATION_DIGITS, -_SATURATION_DIGITS)
    )
    expected_mask.add(SATURATED, is_saturated, is_possible=may_be_saturated)
    masking.add_uncovered(expected_mask, image)
    masking.add_not_linear(expected_mask, mask, image, header, reduced_header)
    masking.add_bad_pixels(expected_mask, opened.first_header, opened.results, stored_planes.number)
    masking.add_scaled_dark(expected_mask, image, stored_planes)
    masking.add_neighbours(expected_mask, mask, stored_planes.pixels, stored_planes.step)
    if stored_planes.errors is not None:
        masking.add_cosmics(expected_mask, mask, header, stored_planes.pixels, stored_planes.errors)
    expected_mask.check(mask)
    for keyword, bit in _COUNTS:
        check_figure(header, keyword, int(np.count_nonzero(mask & bit)))
    if "NCOSMIC" in header or "COSMICS" in header:
        check_figure(header, "NCOSMIC", int(np.count_nonzero(mask & COSMIC)))
        _check_cosmics(header)


def check_named_tables(first_header):
    """Compare BPMNTS with the tables of bad pixels that are named; of more, some are lost.

    Raises
    ------
    Differs
        If it is less, or one of the cards is there alone.
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
    """Compare COSMICS with NCOSMIC: cosmic rays that were discarded are in no mask."""
    card_value = header.get("COSMICS")
    if card_value not in ("found", "discarded"):
        raise Differs(f"COSMICS should be found or discarded, and its card has {card_value}")
    if card_value == "discarded" and header["NCOSMIC"]:
        raise Differs(f"COSMICS is discarded, and NCOSMIC has {header['NCOSMIC']}")
