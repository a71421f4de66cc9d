"""The mask of a calibrated frame, made again: which bits each pixel must have, and which it may."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from scipy import ndimage

from ccdflow.verify.calibrated import cosmic_rays
from ccdflow.verify.calibrated.standard_errors import VarianceTerms
from ccdflow.verify.comparing.amplifiers import card, limit_rounding, number_of_card
from ccdflow.verify.comparing.comparing import NEAR_LIMIT_OF_CARD, Differs
from ccdflow.verify.detector.detector_products import pixel_history, read_measurement
from ccdflow.verify.reading.accounts import NamedMaster
from ccdflow.verify.reading.restated_numbers import (
    BAD_COLUMN,
    BLEED,
    COSMIC,
    DEAD,
    HOT,
    MAD_TO_SIGMA,
    NO_DATA,
    NOT_LINEAR,
    SATURATED,
    UNCALIBRATED,
    UNLIT,
    VARIES,
)
from ccdflow.verify.reading.stored_rows import master_file
from ccdflow.verify.reading.verdict import OLDER, CannotRemake

# Older results: a header names only some of its tables, and this is the reason against a remake.
_NOT_ALL_NAMED = "it names not all of its measurements of bad pixels"
# Electrons a second above which a pixel is hot if its dark is scaled up.
_HOT_RATE = 20.0
# Flags of pixels whose value is not light: they do not count for the errors of their neighbours.
_BITS_WITHOUT_LIGHT = HOT | DEAD | BAD_COLUMN | UNLIT | VARIES
# A column bleeds if at least this many saturated pixels follow one another in it.
_FEWEST_SATURATED = 3
# The tail of a bleeding column is brighter than the columns beside it by this many sigma.
_EXCESS_SIGMA = 5.0
# A bleeding column is compared with the columns this far to its left and right.
_COLUMNS_APART = 6
# Fraction of the limit within which the end of a tail is uncertain; the second one is added for
# pixels that are stored in steps.
_END_TOLERANCE, _END_TOLERANCE_IN_STEPS = 1e-5, 0.1
# Least scatter of pixels, in their unit.
_LEAST_SCATTER = 1e-6
# Fraction of the nights in which a pixel must be bad, where the header lacks BPMSHARE.
_LEAST_SHARE = 0.7
# A header names at most this many measurements of bad pixels: keywords have two digits for them.
_MOST_NAMED = 99
# Hits may differ in this many pixels and in this fraction of all hits where pixels are stored in
# steps: the maker looked for hits before the rounding.
_MOST_DIFFERING, _MOST_DIFFERING_FRACTION = 5, 0.05
# Rows of the tail of a bleeding column that are compared at once.
_ROWS_AT_ONCE = 64


class ExpectedMask:
    """The bits that each pixel of a mask must have, and the bits that it may have.

    Parameters
    ----------
    bits : numpy.ndarray of shape (ny, nx), int16
        The bits that the masters and the reduced frame give.

    Attributes
    ----------
    required_bits, allowed_bits : numpy.ndarray of shape (ny, nx), int16
        The bits that each pixel must have, and those that it may have.
    """

    def __init__(self, bits):
        self.required_bits, self.allowed_bits = bits.copy(), bits.copy()

    def add(self, bit, is_required, place=..., *, is_possible=None):
        """Require a bit where a condition holds, and allow it where it is possible.

        Parameters
        ----------
        bit : int
            Bit of the mask.
        is_required : numpy.ndarray of the shape of the place, bool
            The pixels of the place that must have the bit.
        place : index, optional
            The part of the image; all of it by default.
        is_possible : numpy.ndarray of the same shape, bool, optional
            Pixels that may have the bit, beside those that must; None for no others.
        """
        self.required_bits[place][is_required] |= bit
        self.allowed_bits[place][
            is_required if is_possible is None else is_required | is_possible
        ] |= bit

    def check(self, mask):
        """Raise unless each pixel of a mask (ny, nx) has all required bits, and only allowed ones.

        Raises
        ------
        Differs
            If any pixel has other bits.
        """
        missing_bits = self.required_bits & ~mask
        wrong_bits = missing_bits | (mask & ~self.allowed_bits)
        if count := int(np.count_nonzero(wrong_bits)):
            bits = int(np.bitwise_or.reduce(wrong_bits, axis=None))
            raise Differs(f"{count} pixels of the mask have other bits than they must (of {bits})")


def add_not_linear(expected, mask, image, header, reduced_header):
    """Require the bit in unsaturated pixels above LINRAW minus the level, the linear range's end.

    Parameters
    ----------
    expected : ExpectedMask
        Changed in place.
    mask : numpy.ndarray of shape (ny, nx), int16
        The product's.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    header : astropy.io.fits.Header
        Header of the calibrated image.
    reduced_header : astropy.io.fits.Header
        Header of the reduced frame.
    """
    for readout in image.readouts:
        raw_limit = number_of_card(card(header, "LINRAW", readout.tail))
        if raw_limit is None:
            continue
        values = image.reduced[readout.place]
        level = number_of_card(card(reduced_header, "BIASLVL", readout.tail)) or 0.0
        linear_limit = raw_limit - level
        is_unsaturated = (mask[readout.place] & SATURATED) == 0
        is_nonlinear, may_be_nonlinear = (
            (values > np.float32(linear_limit + side * limit_rounding(level))) & is_unsaturated
            for side in (1, -1)
        )
        expected.add(NOT_LINEAR, is_nonlinear, readout.place, is_possible=may_be_nonlinear)


def add_uncovered(expected, image):
    """Require the bit in pixels without an amplifier.

    Parameters
    ----------
    expected : ExpectedMask
        Changed in place.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    """
    if not image.is_covered.all():
        expected.add(NO_DATA, ~image.is_covered)


@dataclass(frozen=True)
class StoredPlanes:
    """The stored planes of one image of a calibrated frame, except its mask.

    Attributes
    ----------
    pixels : numpy.ndarray of shape (ny, nx), float32, any byte order
    half_step : float
        Half of the step in which the pixels are stored; 0 for exact ones.
    errors : numpy.ndarray of shape (ny, nx), float32, any byte order, or None
        UNCERT; None where it cannot be compared.
    error_half_step : float
        Half of the step in which the errors are stored; 0 for exact ones.
    variance_terms : ccdflow.verify.calibrated.standard_errors.VarianceTerms or None
    is_in_electrons : bool
        Whether the reduced frame is in electrons.
    image_number : int
        Number of the image among those of the frame, from 0.
    """

    pixels: np.ndarray
    half_step: float
    errors: np.ndarray | None
    error_half_step: float
    variance_terms: VarianceTerms | None
    is_in_electrons: bool
    image_number: int


def add_scaled_dark(expected, image, stored_planes):
    """Require the bits in pixels whose dark was scaled up: hot ones, and those that it makes noisy.

    Parameters
    ----------
    expected : ExpectedMask
        Gets the bits.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
        The frame, calibrated again.
    stored_planes : StoredPlanes
        Pixels of the product.
    """
    if not image.scale > 1:
        return
    dark = image.planes["dark"]
    seconds = number_of_card(dark.first_header.get("EXPTIME"))
    for readout in image.readouts if seconds else ():
        gain = 1.0 if stored_planes.is_in_electrons else readout.photon_gain
        if gain is None:
            continue
        rate = dark.data[readout.place] * np.float64(gain / seconds)
        is_above, may_be_above = (
            rate > _HOT_RATE * (1 + side * NEAR_LIMIT_OF_CARD) for side in (1, -1)
        )
        expected.add(HOT, is_above, readout.place, is_possible=may_be_above)
    can_compare_noise = (
        stored_planes.variance_terms is not None and stored_planes.errors is not None
    )
    if can_compare_noise and dark.errors is not None:
        _add_noise_of_dark(expected, image, stored_planes)


def _add_noise_of_dark(expected, image, stored_planes):
    """Require the bit in pixels where the variance of the dark is more than half of all variance.

    Parameters
    ----------
    expected : ExpectedMask
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    stored_planes : StoredPlanes
        Both its variance terms and its errors are known.
    """
    dark, flat = image.planes["dark"], image.planes.get("flat")
    for readout in image.readouts:
        place = readout.place
        doubled_factor = 2 * (stored_planes.variance_terms.factor(readout) * image.scale) ** 2
        doubled_variance = doubled_factor * dark.errors[place].astype(np.float64) ** 2
        if flat is not None:
            doubled_variance /= flat.data[place].astype(np.float64) ** 2
        errors = np.asarray(stored_planes.errors[place], np.float64)
        with np.errstate(invalid="ignore"):
            # Errors that are stored in steps are uncertain by half of a step.
            higher, lower = (
                np.maximum(errors + side * stored_planes.error_half_step, 0) ** 2
                for side in (1, -1)
            )
            is_above = doubled_variance > higher * (1 + NEAR_LIMIT_OF_CARD)
            may_be_above = doubled_variance > lower * (1 - NEAR_LIMIT_OF_CARD)
        expected.add(UNCALIBRATED, is_above, place, is_possible=may_be_above)


# -- bad pixels ------------------------------------------------------------------------------------


def add_bad_pixels(expected, first_header, results, image_number):
    """Require the bits of the measurements of bad pixels that a header names.

    Parameters
    ----------
    expected : ExpectedMask
        Changed in place.
    first_header : astropy.io.fits.Header
        Header of the calibrated frame's first HDU.
    results : pathlib.Path
        The results folder.
    image_number : int

    Raises
    ------
    CannotRemake
        If a measurement is gone or was replaced, or the header does not name all of them.
    Differs
        If a measurement is of another camera.
    """
    if "BPMIM" not in first_header:
        return
    measurements = _named_measurements(first_header, results)
    for *_, cards in measurements:
        if cards["CCDFCAM"] != first_header["CCDFCAM"]:
            raise Differs(f"CCDFCAM is {cards['CCDFCAM']} in its measurement of bad pixels")
    share = float(first_header.get("BPMSHARE", _LEAST_SHARE))
    index, bits, *_ = pixel_history(
        list(measurements), image_number, expected.required_bits.shape, share
    )
    for image in (expected.required_bits, expected.allowed_bits):
        image.reshape(-1)[index] |= bits


def _named_measurements(first_header, results):
    """Return the tables of bad pixels that a frame names, oldest first."""
    n_tables = first_header["BPMNTS"]
    tails = ["", *(f"{place:02d}" for place in range(2, min(n_tables, _MOST_NAMED) + 1))]
    names = [f"{word}{tail}" for tail in tails for word in ("BPMIM", "BPMKEY")]
    names += ["BPMSHARE"] if n_tables > 1 else []
    missing_cards = [name for name in names if name not in first_header]
    if missing_cards or n_tables > _MOST_NAMED:
        raise CannotRemake(
            f"the header lacks {(missing_cards or ['BPMIM100'])[0]}: {_NOT_ALL_NAMED}", OLDER
        )
    names_and_keys = [
        (first_header[f"BPMIM{tail}"], first_header[f"BPMKEY{tail}"]) for tail in reversed(tails)
    ]
    return [_measured_pixels(name, key, results) for name, key in names_and_keys]


def _measured_pixels(name, key, results):
    """Return the table of bad pixels with a name and a key; the last tables stay in memory."""
    master = NamedMaster(unquote(str(name), errors="surrogateescape"), key)
    path = master_file(master, "measurement of bad pixels", results)
    status = path.stat()
    return _cached_measurement(path, status.st_size, status.st_mtime_ns)


# Frames of a night name the same measurements, of 10 nights by default (`detector: nights`): 32
# entries hold the measurements of three cameras. A frame that names more reads all of them again.
@lru_cache(maxsize=32)
def _cached_measurement(path, size, time):
    """Return a table of bad pixels; a file of another size or time is read again."""
    return read_measurement(path)


def pixels_without_light(mask, image, opened, stored_planes):
    """Return the pixels that do not count for the errors of their neighbours.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), int16, or None
        Mask of the product; without one the masters and the tables of bad pixels give the flags.
    image : ccdflow.verify.calibrated.remade_calibration.RemadeCalibratedImage
    opened : ccdflow.verify.calibrated.calibrated_verdict.OpenedFrame
    stored_planes : StoredPlanes

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
    """
    bits = _BITS_WITHOUT_LIGHT if image.scale > 1 else _BITS_WITHOUT_LIGHT | UNCALIBRATED
    if mask is None:
        expected = ExpectedMask(np.zeros(image.reduced.shape, np.int16))
        for plane in image.planes.values():
            expected.required_bits |= plane.flags
        add_bad_pixels(expected, opened.first_header, opened.results, stored_planes.image_number)
        add_scaled_dark(expected, image, replace(stored_planes, errors=None))
        mask = expected.required_bits
    return (mask & bits) != 0


# -- saturation ------------------------------------------------------------------------------------


def add_neighbours(expected, mask, pixels, half_step):
    """Require the bit in neighbours of saturated pixels, and in columns that bleed from them.

    Parameters
    ----------
    expected : ExpectedMask
    mask : numpy.ndarray of shape (ny, nx), int16
        Mask of the product.
    pixels : numpy.ndarray of shape (ny, nx), float32, any byte order
        Pixels of the product.
    half_step : float
        Half of the step in which pixels are stored; 0 for exact ones.
    """
    is_full = (mask & SATURATED) != 0
    # Where more than half of the pixels of such rows are saturated, the frame is overexposed, and
    # its maker flags no neighbours.
    n_full_rows = int(is_full.any(axis=1).sum())
    if not n_full_rows or n_full_rows * is_full.shape[1] < 2 * np.count_nonzero(is_full):
        return
    neighbours = ndimage.binary_dilation(is_full, np.ones((3, 3))) & ~is_full
    expected.add(BLEED, neighbours)
    for column in np.flatnonzero(is_full.sum(axis=0) >= _FEWEST_SATURATED):
        edges = np.flatnonzero(np.diff(np.r_[0, is_full[:, column].astype(np.int8), 0]))
        for low, high in zip(edges[::2], edges[1::2], strict=True):
            if high - low >= _FEWEST_SATURATED:
                for start in (_TailStart(column, low - 1, -1), _TailStart(column, high, 1)):
                    _add_tail(expected, is_full, pixels, start, half_step)


class _TailStart(NamedTuple):
    """The first pixel beyond a saturated run of a column, and the direction of its tail.

    Attributes
    ----------
    column, row : int
    direction : {-1, 1}
        Down or up.
    """

    column: int
    row: int
    direction: int


def _add_tail(expected, is_full, pixels, start, half_step):
    """Require the bit along a column while it is brighter than its surroundings.

    Parameters
    ----------
    expected : ExpectedMask
        Gets the bit.
    is_full : numpy.ndarray of shape (ny, nx), bool
        Saturated pixels.
    pixels : numpy.ndarray of shape (ny, nx), float32, any byte order
        Adu or electrons.
    start : _TailStart
    half_step : float
        Half of the step in which pixels are stored; 0 for exact ones.
    """
    (ny, nx), (column, row, direction) = is_full.shape, start
    sides = [c for c in (column - _COLUMNS_APART, column + _COLUMNS_APART) if 0 <= c < nx]
    tolerance, is_sure = _END_TOLERANCE + (_END_TOLERANCE_IN_STEPS if half_step else 0.0), True
    while 0 <= row < ny:
        rows = np.arange(row, np.clip(row + direction * _ROWS_AT_ONCE, -1, ny), direction)
        block = np.asarray(pixels[rows], np.float64)
        scatter = MAD_TO_SIGMA * np.nanmedian(np.abs(np.diff(block[:, ::8], axis=1))) / 2**0.5
        limit = _EXCESS_SIGMA * max(float(scatter), _LEAST_SCATTER)
        excess = block[:, column] - block[:, sides].max(axis=1)
        lengths = []
        for side in (1, -1):
            with np.errstate(invalid="ignore"):
                is_past_end = ~(excess > limit * (1 + side * tolerance) + 2 * side * half_step)
            lengths.append(int(np.argmax(is_past_end)) if is_past_end.any() else len(is_past_end))
        certain_rows, possible_rows = (
            rows[:length][~is_full[rows[:length], column]] for length in lengths
        )
        if is_sure:
            expected.required_bits[certain_rows, column] |= BLEED
        expected.allowed_bits[possible_rows, column] |= BLEED
        is_sure &= lengths[0] == len(rows)
        if lengths[1] < len(rows):
            return
        row += direction * _ROWS_AT_ONCE


# -- cosmic rays -----------------------------------------------------------------------------------


def add_cosmics(expected, mask, header, image, errors):
    """Require the bit in the hits that ccdproc finds with the arguments of the header.

    Parameters
    ----------
    expected : ExpectedMask
        Changed in place.
    mask : numpy.ndarray of shape (ny, nx), int16
        The product's.
    header : astropy.io.fits.Header
        Header of the calibrated image.
    image, errors : numpy.ndarray of shape (ny, nx), float32, any byte order
        Pixels and UNCERT of the product.

    Raises
    ------
    Differs
        If more pixels differ than rounding to steps explains, or CRFWHM is not that of the stars.
    CannotRemake
        If the header lacks an argument of the search.
    """
    if "NCOSMIC" not in header or header.get("COSMICS") != "found":
        return
    hits = cosmic_rays.hits_of(header, image, errors, mask & ~np.int16(COSMIC))
    if "QUANSTEP" not in header:
        expected.add(COSMIC, hits)
        return
    # The maker looked for hits before it rounded the pixels to steps.
    is_stored_hit = (mask & COSMIC) != 0
    n_differing = np.count_nonzero(is_stored_hit != hits)
    if n_differing > _MOST_DIFFERING + _MOST_DIFFERING_FRACTION * np.count_nonzero(hits):
        raise Differs(
            f"{n_differing} pixels are hits of cosmic rays by ccdproc alone, or here alone"
        )
    expected.add(COSMIC, is_stored_hit)
