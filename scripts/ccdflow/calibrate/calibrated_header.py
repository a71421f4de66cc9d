"""The headers of a calibrated frame: masters, noise and flags, without outdated cards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ccdflow import mask_bits
from ccdflow.files.fits_products.hdus import hdu_header, version_cards
from ccdflow.files.header_text import EXTENSION_NAMES, CardList, printable_text

# Cards that describe the form of an HDU. Each # is one digit.
_STRUCTURE_CARDS = frozenset([
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS#", "NAXIS##", "NAXIS###", "EXTEND", "PCOUNT",
    "GCOUNT", "CHECKSUM", "DATASUM", "LONGSTRN", "EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT",
])  # fmt: skip
# Cards that a calibrated frame gets anew, by their content: cards of the reduced frame with one of
# the keywords are left out. Each # is one digit of the number of an amplifier or a map.
_OWN_CARDS = frozenset([
    # Masters: file, key, days between, cut; scale and temperature of the dark; level of the flat.
    "BIASIM", "BIASKEY", "BIASDT", "BIASCUT", "DARKIM", "DARKKEY", "DARKDT", "DARKCUT",
    "FLATIM", "FLATKEY", "FLATDT", "FLATCUT", "DARKSCAL", "DARKDTMP", "FLATLVL",
    "ZEROCOR", "DARKCOR", "FLATCOR", "REDKEY", "CALGRADE",
    # Noise of masters, of the overscan's level, and of the sky.
    "MBNOISE", "MDNOISE", "MFNOISE", "OSCNOISE", "OSCNOI##", "SKYLVL", "SKYRMS", "SKYPRED",
    # Counts of pixels by their flags; cosmic rays.
    "NSAT", "NHOT", "NUNCAL", "NCOSMIC", "COSMICS", "CRSIGMA", "CRCONTR", "CRFWHM",
    # Bad pixels, linearity, gain and saturation as measured; the shutter.
    "BPMIM", "BPMIM##", "BPMKEY", "BPMKEY##", "BPMNTS", "BPMSHARE", "LINRAW", "LINRAW##",
    "GAINMEAS", "SATMEAS", "SATMEA##", "SHUTCOR", "SHUTKEY", "SHUTMEAN",
])  # fmt: skip
# New names of the camera's cards on raw pixels, which readers would take for the product's cards.
_RENAMED_CARDS = {
    "GAIN": "RAWGAIN",
    "EGAIN": "RAWEGAIN",
    "CCDGAIN": "RAWCGAIN",
    "SATURATE": "RAWSATUR",
    "SATLEVEL": "RAWSATLV",
}
# Matches further cards of the gain, which are renamed where pixels become electrons, or left out if
# their name is too long for that; not GAIN01 ..., which are the reduced frame's own.
_OTHER_GAIN_CARD = re.compile(
    r"(?:E|CCD|RO_?|GT)?GAIN_?(?:\d|[A-Z]\d?|\d[A-Z])|(?:GT|RO_?|E|CCD)GAIN(?:_?\d\d)?|CCDSENS|EPERDN"
    r"|EP(?:ER)?ADU|ELECGAIN|GAINEADU|ESO DET OUT\d+ (?:CONAD|GAIN)"
)
# Matches further cards of the saturation in raw adu, which are treated likewise in all frames.
_OTHER_SATURATION_CARD = re.compile(r"SATURAT(?:[A-DF-Z0-9]|E\d)|SATLEV(?:EL)?\d?")
# The new name of a further card begins with this.
_RAW_PREFIX = "RAW"
# The longest keyword of FITS without HIERARCH.
_LONGEST_KEYWORD = 8
# The cards that count masked pixels: keyword, bit of the mask, and its name in the comment.
_COUNT_CARDS = (
    ("NSAT", mask_bits.SATURATED, "saturated"),
    ("NHOT", mask_bits.HOT, "hot"),
    ("NUNCAL", mask_bits.UNCALIBRATED, "without a calibration, or extrapolated"),
)
# The cards of the steps, by the kind of their master.
_STEP_CARDS = {"bias": "ZEROCOR", "dark": "DARKCOR", "flat": "FLATCOR"}
# Cards that are renamed only where the pixels become electrons.
_GAIN_CARDS = ("GAIN", "EGAIN", "CCDGAIN")


@dataclass(frozen=True)
class Grading:
    """The grade of a frame by the masters that it has, as its header gives it.

    Attributes
    ----------
    grade : {'A', 'B', 'C'}
    reasons : sequence of str
        Reasons for a grade below A, and products left out.
    left_out : sequence of str
        Steps that are left out at any grade, with the reason.
    """

    grade: str = "A"
    reasons: Sequence[str] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class FrameProvenance:
    """The key and grade of a calibrated frame, for its header.

    Attributes
    ----------
    key : str
        CCDFKEY, a hash of everything that the product depends on.
    grading : Grading
        Default: grade A.
    """

    key: str = ""
    grading: Grading = Grading()

    def with_reason(self, reason):
        """Return this provenance with one more reason for the grade."""
        grading = replace(self.grading, reasons=(*self.grading.reasons, reason))
        return replace(self, grading=grading)


def primary_cards(hdu, masters, provenance, corrections=None):
    """Return the cards of the first HDU: those of the reduced frame, and those of its calibration.

    Parameters
    ----------
    hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
        The reduced frame's first HDU.
    masters : ccdflow.calibrate.applied_masters.FrameMasters
    provenance : FrameProvenance
    corrections : ccdflow.calibrate.frame_corrections.FrameCorrections, optional
        The corrections that were applied beside the masters, and their cards.

    Returns
    -------
    ccdflow.files.header_text.CardList
    """
    cards = _cards_of_frame(hdu.cards)
    reduced_key = hdu.header.get("CCDFKEY", "")
    for keyword, value, comment in version_cards():
        cards.set(keyword, value, comment)
    cards.set("CCDFKEY", provenance.key, "hash of everything the product depends on")
    if reduced_key:
        cards.set("REDKEY", reduced_key, "CCDFKEY of the reduced frame")
    for applied in masters.applied_masters:
        _write_master_cards(cards, applied)
    for keyword, value, comment in () if corrections is None else corrections.cards:
        cards.set(keyword, printable_text(value) if isinstance(value, str) else value, comment)
    grading = provenance.grading
    cards.set("CALGRADE", grading.grade, "A own night, B older or scaled, C incomplete")
    for reason in grading.reasons:
        cards.add_history(f"ccdflow: grade {grading.grade}: {printable_text(reason)}")
    for step in grading.left_out:
        cards.add_history(f"ccdflow: without {printable_text(step)}")
    return cards


def _cards_of_frame(cards):
    """Return the cards of a reduced frame that its calibrated frame keeps."""
    return CardList(cards).copy_without(_is_of_product)


def _is_of_product(keyword):
    """Return whether a card of the reduced frame is replaced by one of the calibrated frame.

    Examples
    --------
    >>> [_is_of_product(keyword) for keyword in ("NAXIS2", "BPMIM02", "BPMIM2", "FILTER")]
    [True, True, False, False]
    """
    stem = keyword.rstrip("0123456789")
    form = stem + "#" * (len(keyword) - len(stem))
    return form in _STRUCTURE_CARDS or form in _OWN_CARDS


def _write_master_cards(cards, applied):
    """Write the cards of an applied master: name, key, lag, cut, and scale or level."""
    name, master = applied.master.kind.upper(), applied.master
    cards.set(f"{name}IM", printable_text(master.name), f"combined {master.kind}")
    if master.key:
        cards.set(f"{name}KEY", master.key, "its CCDFKEY")
    if applied.lag is not None:
        cards.set(f"{name}DT", int(applied.lag), "[d] nights from it to this frame")
    if applied.cut:
        cards.set(f"{name}CUT", applied.cut, "section of it that this frame has")
    if master.kind == "dark":
        scale = float(f"{applied.scale:.9g}")
        cards.set("DARKSCAL", scale, "factor on the dark less its bias")
        if applied.degrees_warmer is not None:
            cards.set(
                "DARKDTMP",
                _six_digits(applied.degrees_warmer),
                "[deg C] the dark's temperature less this one's",
            )
    if master.kind == "flat" and master.level:
        cards.set("FLATLVL", _six_digits(master.level), "[adu] mean level of one flat")


def extension_cards(hdu):
    """Return the cards that an image extension keeps, and the cards that name it.

    Returns
    -------
    cards, names : ccdflow.files.header_text.CardList
    """
    return _cards_of_frame(hdu.cards), CardList(
        card for card in hdu.cards if card[0] in EXTENSION_NAMES
    )


def write_calibrated_cards(cards, calibration, figures):
    """Write the cards of one calibrated image.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place. Their number depends on which figures are known, not on the values.
    calibration : ccdflow.calibrate.arithmetic.ImageCalibration
    figures : ccdflow.calibrate.image_figures.ImageFigures
        Figures of the image.
    """
    unit = calibration.unit
    _rename_camera_cards(cards, calibration.is_converted)
    for applied in calibration.masters.applied_masters:
        cards.set(_STEP_CARDS[applied.master.kind], printable_text(applied.master.name))
    cards.set("BUNIT", unit, "unit of the pixels")
    for keyword, name, comment in (
        ("SATURATE", "saturation", f"[{unit}] least value of a saturated pixel"),
        ("MBNOISE", "bias_noise", f"[{unit}] of the bias as applied, before flat"),
        ("MDNOISE", "dark_noise", f"[{unit}] of the dark as applied, before flat"),
        ("MFNOISE", "flat_noise", "noise of the flat in a pixel, relative"),
        ("SKYLVL", "sky", f"[{unit}] median of this image"),
        ("SKYRMS", "sky_rms", f"[{unit}] noise of a pixel, measured"),
        ("SKYPRED", "sky_predicted", f"[{unit}] noise of a pixel, from UNCERT"),
    ):
        if figures.get(name) is not None:
            cards.set(keyword, _six_digits(figures[name]), comment)
    _write_amplifier_cards(cards, calibration.readouts, figures, unit)
    for keyword, bit, words in _COUNT_CARDS if "flags" in figures else ():
        cards.set(keyword, int(figures["flags"][bit]), f"pixels {words}")
    if "keeps_cosmics" in figures:
        cards.set("NCOSMIC", int(figures["flags"][mask_bits.COSMIC]), "pixels hit by cosmic rays")
        outcome = "found" if figures["keeps_cosmics"] else "discarded"
        cards.set("COSMICS", outcome, "discarded: too many pixels of stars flagged")
        sigma, contrast, fwhm = map(float, figures["cosmics_search"])
        cards.set("CRSIGMA", sigma, "sigclip of L.A.Cosmic")
        cards.set("CRCONTR", contrast, "objlim of L.A.Cosmic")
        cards.set("CRFWHM", fwhm, "[pixel] of its stars, 0 for too few")


def _write_amplifier_cards(cards, readouts, figures, unit):
    """Write the gain, saturation and linearity that were measured and used, by amplifier.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    readouts : tuple of ccdflow.frame.readout.Readout
    figures : ccdflow.calibrate.image_figures.ImageFigures
        Figures of the calibrated image.
    unit : {'adu', 'electron'}
    """
    for number, readout in enumerate(readouts, start=1):
        if readout.measured_gain is not None:
            keyword = "GAINMEAS" if len(readouts) == 1 else f"GAINME{number:02d}"
            gain = _six_digits(readout.measured_gain)
            cards.set(keyword, gain, "[electron/adu] of flats, for noise")
        if readout.is_saturation_measured:
            keyword = "SATMEAS" if len(readouts) == 1 else f"SATMEA{number:02d}"
            # A rounded value would flag other pixels than the mask does.
            cards.set(
                keyword, float(readout.saturation), "[adu] raw value of full pixels, by flats"
            )
        if readout.linear is not None and "flags" in figures:
            keyword = "LINRAW" if len(readouts) == 1 else f"LINRAW{number:02d}"
            cards.set(keyword, float(readout.linear), "[adu] raw value, end of the linear range")
    _write_noise_cards(cards, readouts, figures, unit)


def _write_noise_cards(cards, readouts, figures, unit):
    """Write the read noise that UNCERT is made with, and the noise of a row's level, by amplifier.

    Parameters
    ----------
    cards, readouts, figures, unit
        See `_write_amplifier_cards`.
    """
    readouts = readouts if figures.get("sky_predicted") is not None else ()
    for number, readout in enumerate(readouts, start=1):
        keyword = "MODRN" if len(readouts) == 1 else f"MODRN{number:02d}"
        cards.set(
            keyword, _six_digits(readout.read_noise), "[adu] read noise that UNCERT is made with"
        )
    levels = figures.get("level_noise") or ()
    for number, noise in enumerate(levels, start=1):
        keyword = "OSCNOISE" if len(levels) == 1 else f"OSCNOI{number:02d}"
        cards.set(keyword, _six_digits(noise), f"[{unit}] of a row's level, before flat")


def _rename_camera_cards(cards, is_converted):
    """Rename the camera's cards of gain and saturation, which describe the raw pixels."""
    for keyword, raw_keyword in _RENAMED_CARDS.items():
        if keyword in cards and (is_converted or keyword not in _GAIN_CARDS):
            cards.drop(raw_keyword)
            cards.rename(keyword, raw_keyword)
    for keyword in dict.fromkeys(keyword for keyword, _ in cards):
        is_gain = is_converted and _OTHER_GAIN_CARD.fullmatch(keyword)
        is_known = keyword in _RENAMED_CARDS or keyword in _RENAMED_CARDS.values()
        if is_known or not (is_gain or _OTHER_SATURATION_CARD.fullmatch(keyword)):
            continue
        raw_keyword = _RAW_PREFIX + keyword.replace("_", "")
        if len(raw_keyword) > _LONGEST_KEYWORD:
            cards.drop(keyword)
        else:
            cards.drop(raw_keyword)
            cards.rename(keyword, raw_keyword)
    if is_converted:
        cards.set("GAIN", 1.0, "[electron] in a unit of these pixels")


def _six_digits(value):
    """Return a number rounded to six digits; 'unknown' for one that is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else "unknown"


def image_header_bytes(cards, shape, datasum, *, dtype=">f4", name=None, is_primary=False):
    """Return the header of an image HDU as bytes.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
    shape : (int, int) or None
        (ny, nx); None for a primary HDU without an image.
    datasum : int
        DATASUM of its pixels.
    dtype : str, optional
        Type of the pixels, big-endian.
    name : str or CardList, optional
        EXTNAME, or the cards that name the extension.
    is_primary : bool, optional

    Returns
    -------
    bytes
    """
    stand_in = None if shape is None else np.broadcast_to(np.zeros((), dtype), shape)
    return hdu_header(cards, stand_in, datasum, name=name, is_primary=is_primary)


def uncertainty_cards(unit):
    """Return the cards of an UNCERT extension, as `astropy.nddata.CCDData` reads them."""
    cards = CardList()
    cards.set("UTYPE", "StdDevUncertainty", "kind of uncertainty")
    cards.set("BUNIT", unit, "standard error of the pixels")
    cards.add_comment(
        "Signal, read noise, rounding, level of the row and masters; OSCNOISE and M.NOISE of the "
        "image are the parts common to a row, or to all frames with these masters."
    )
    return cards


def mask_cards():
    """Return the cards of a MASK extension: the meaning of each bit."""
    cards = CardList()
    cards.add_comment("Bits of the mask; 0 is a good pixel:")
    for bit, words in mask_bits.MEANINGS.items():
        cards.add_comment(f"{bit} {words}")
    return cards
