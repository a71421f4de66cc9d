"""Header values of a frame: its type, exposure, filter, time and night."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import NamedTuple

from ccdflow.camera.binning import binning_of_hdu
from ccdflow.camera.filters import disperser_of, filter_of
from ccdflow.camera.header_reader import FactPositions, HeaderReader
from ccdflow.camera.identity import setting_of
from ccdflow.camera.image_types import frame_type, is_named_by_object, warn_of_unlike_file_name
from ccdflow.camera.times.agreement import warn_of_unlike_dates
from ccdflow.camera.times.local_dates import moment_in_ut
from ccdflow.camera.times.nights import moment_of, night_of, warn_of_daylight
from ccdflow.camera.times.usual_times import usual_moment
from ccdflow.files.cards import CardSpec, as_text, card_value
from ccdflow.files.remembered_results import compute_at_once
from ccdflow.files.values import as_number

KEYWORDS = {
    # KOAIMTYP counts first: Keck's archive is right more often than the instrument, whose OBSTYPE
    # is often left at 'dark'.
    "imagetyp": "KOAIMTYP IMAGETYP OBSTYPE IMGTYPE IMAGETYPE FRAMETYP IMTYPE IMG_TYPE EXPTYPE "
    "OBS_TYPE OBS-TYPE FLAVOR DATA-TYP CCDTYPE NDFCLASS FRAME PICTTYPE OBSMODE OBS_MODE"
    "|ESO DPR TYPE",
    "object": "OBJECT OBJNAME TARGNAME TARGET|ESO OBS TARG NAME",
    "filter": "FILTER FILTERS FILTNAM FILTER1 FILTER01 FILTNAME FILTERID FILT1 FILTER2 FILTER02 "
    "FILTER3 FILTER03 FILTER4 FILT2 FILNAME BLUFILT REDFILT FILTERN FILT_NAM FILT_ID FILTNM "
    "FILTID1 FILTID2 FILTID3 WFFBAND PFMFBAND ALFLTNM FAFLTNM FBFLTNM BLFILT_N RDFILT_N INSFILTE"
    "|ESO INS FILT1 NAME|ESO INS FILT2 NAME|ESO INS FILT3 NAME",
    "grism": "GRISM GRISMNAM GRISM_N GRATING GRATING_N GRATNAME GRATNAM GRATID GRNAME GRANAME "
    "DISPERSE DISPERSR DISPNAME ISIGRAT ALGRNM BLGRATNG GRATENAM GRISNAME BGRATNAM RGRATNAM GRM_ID"
    "|ESO INS GRIS1 NAME|ESO INS GRAT1 NAME|ESO INS GRAT NAME",
    "exptime": "EXPTIME EXPOSURE ITIME EXP_TIME EXP-TIME EXPOSED ELAPTIME TTIME TEXPTIME XPOSURE "
    "EXPOS INTTIME INTEGRAT EXP|ESO DET WIN1 DIT1",
    "date": "DATE-OBS DATE_OBS DATEOBS DATE-BEG UTDATE UT-DATE UT_DATE DATE-UTC DATE_UTC UTCDATE "
    "DATE-STR DATESTRT DATE-AVG FRAME",
    "time": "UT UTSTART UTCSTART TIME-OBS TIME_OBS TIMEOBS UTC-OBS UTCOBS UT-TIME UTC UTOBS "
    "TIME-BEG TIME-STR TM-START TM_START UTSHUT UT-OBS UT_TIME TIME TIME-UTC TAIHMS",
    "mjd": "MJD-OBS MJD MJD_OBS MJDOBS MJD-STR MJD-BEG MJDATE MJD-AVG MJD-MID|MJD START",
    "jd": "JD JD-OBS JD-BEG JULDATE JULIAN JD_UTC",
    "time_system": "TIMESYS",
    "local_time": "DATE-LOC DATE_LOC DATELOC LOC-DATE LOCALDAT DATE-LT LT-DATE LOCTIME HSTTIME",
    "time_zone": "UTCOFF UTC-OFF UTCOFFS UTOFFSET UTOFF TZOFFSET GMTOFF GMTOFFSE TIMEZONE TIMEZON "
    "TIMEZ TZ",
    "sidereal": "ST LST LST-OBS STSTART SIDEREAL SIDTIME LST-BEG",
    "longitude": "OBSGEO-L LONGITUD SITELONG LONGITUDE LONG-OBS OBSLONG OBS-LONG GEOLON TELLONG "
    "LONG SITE-LON GEOLONG LON-OBS OBS_LONG OBSLON LONG_OBS SITELON|ESO TEL GEOLON"
    "|CAHA TEL GEOLON",
    # Cards with electrons per adu in their name come before GAIN, which may be a setting.
    "gain": "EGAIN GAIN CCDGAIN GAIN1 RO_GAIN CCDSENS EPERDN EPERADU EPADU ELECGAIN GAINEADU"
    "|ESO DET OUT1 CONAD",
    "read_noise": "RDNOISE READNOIS READNOISE RON ENOISE RO_NOISE RDNOISE1 READNOI RNOISE CCDRON "
    "CCDRDN|ESO DET OUT1 RON",
    "saturation": "SATURATE SATLEVEL SATURATI",
    "set_temperature": "SET-TEMP SETTEMP CCD-TSET CCDTSET CCDSTEMP TEMPSET SET_TEMP CCD_SET",
    "temperature": "CCD-TEMP CCDTEMP CCD_TEMP DETTEMP DET-TEMP DET_TEMP TEMPDET SENSTEMP CCDTMP "
    "TEMPCCD TEMPCCD1 CCDATEMP CAMTEMP T-DET"
    "|ESO DET CHIP1 TEMP",
    "read_mode": "READMODE CCDSPEED READSPEE READ-SPD RDMODE SPEED READOUTM|ESO DET READ CLOCK"
    "|ESO DET READ MODE",
    "window": "WINDOW ROI SUBFRAME WINSEC1 DETWIN1 ROISEC",
    # Empty: `ccdflow.camera.binning.binning_of_hdu` has the usual cards, in their order.
    "binning": "",
    # Empty: only a profile names these cards.
    "optics": "",
    "biassec": "BIASSEC",
    "trimsec": "TRIMSEC",
    "datasec": "DATASEC",
    "ccdsec": "CCDSEC",
}
"""The cards of each fact, in the order in which they are tried if the profile names none.

Each word is a keyword. After each ``|`` is one keyword of several words, as ESO has them.
"""

PART_CARDS = (
    "DETECTOR", "DETNAM", "DETID", "CHIPID", "CHIP", "CCDNAME", "CCDID", "AMPNAME", "AMPLIST",
    "CCDSEC", "DETSEC", "CRVAL1U", "CRVAL2U",
)  # fmt: skip
"""Cards on the part of the detector in an image. Frames that differ in one are never averaged."""

# Cards of coordinates, from which the product's are made; one that cannot be read gets a warning.
_PLACEMENT_CARDS = ("LTV1", "LTV2", "LTM1_1", "LTM1_2", "LTM2_1", "LTM2_2")
_SECTIONS = ("biassec", "trimsec", "datasec", "ccdsec")


class FrameFacts(NamedTuple):
    """Header values of a frame; '' or None for absent ones.

    Attributes
    ----------
    imagetyp : str
        As in the header.
    type : str
        bias, dark, flat, science, arc or other; '' for an unknown image type.
    reason : str
        Reason for which `type` is '', for the inventory; else ''.
    is_named_by_object : bool
        Whether the image type is unknown, and OBJECT names a type.
    object, filter, grism : str
    optics : str
        Cards that the profile names, such as the angle of a rotator: 'ROTANGLE 90, PUPIL OPEN'.
    exptime : float or None
        Seconds.
    naxis1, naxis2 : int or None
        Columns and rows of the first image.
    biassec, trimsec, datasec, ccdsec : str
        As in the header.
    ccdsum : str
        Binning as 'x y'; '' where no card has it.
    gain, rdnoise : float or None
        Electrons per adu, electrons, as the header claims.
    date_obs : str
        ISO date and time (UT) as far as known.
    night : str
        YYYY-MM-DD of the evening, else the folder's name, else ''.
    readmode, window : str
    part : str
        The detector and its part in the images, by the cards of `PART_CARDS`.
    setting : str
        The device that took the frame and its setting, see `ccdflow.camera.identity.setting_of`.
    set_temperature, temperature : float or None
        Set point of the cooler and temperature of the sensor, degrees C.
    warnings : tuple of str
        Warnings on cards that cannot be read, and on values that were guessed.
    """

    imagetyp: str = ""
    type: str = ""
    reason: str = ""
    is_named_by_object: bool = False
    object: str = ""
    filter: str = ""
    grism: str = ""
    optics: str = ""
    exptime: float | None = None
    naxis1: int | None = None
    naxis2: int | None = None
    biassec: str = ""
    trimsec: str = ""
    datasec: str = ""
    ccdsec: str = ""
    ccdsum: str = ""
    gain: float | None = None
    rdnoise: float | None = None
    date_obs: str = ""
    night: str = ""
    readmode: str = ""
    window: str = ""
    part: str = ""
    setting: str = ""
    set_temperature: float | None = None
    temperature: float | None = None
    warnings: tuple[str, ...] = ()


def default_cards():
    """Return the cards of `KEYWORDS` as CardSpec tuples by name, in a dict of the caller's own."""
    return dict(_usual_cards())


@cache
def _usual_cards():
    """Return the cards of `KEYWORDS`, made once: each profile begins with them."""
    return {
        name: tuple(CardSpec(k) for k in _words_and_phrases(text))
        for name, text in KEYWORDS.items()
    }


class ProfileFacts(NamedTuple):
    """Facts that a profile gives for the frames of its camera.

    Attributes
    ----------
    longitude : float or None
        Degrees, east positive; None for the header's own.
    has_gain : bool
        Whether the profile has the gain of all amplifiers as numbers, or has it measured. Cards of
        the gain then get no warning.
    gain : float or None
        Electrons per adu of all amplifiers, if the profile has it as a number.
    """

    longitude: float | None = None
    has_gain: bool = False
    gain: float | None = None


def frame_facts(headers, cards, rules, profile_facts, *, file, remembered=compute_at_once):
    """Return the facts of a frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    cards : dict of str to tuple of CardSpec
        For each name of `KEYWORDS`, its cards in the order in which they are tried.
    rules : tuple of ccdflow.camera.image_types.TypeRule
        The profile's rules, which are tried in this order before the built-in synonyms.
    profile_facts : ProfileFacts
    file : str
        Path relative to the raw folder: its folder's name is the night where no card gives it.
    remembered : callable, optional
        A `ccdflow.files.remembered_results.Remembered` of these cards and rules alone.

    Returns
    -------
    FrameFacts

    Raises
    ------
    FrameError
        If the file holds no image.
    """
    positions = remembered(
        "positions", lambda headers: FactPositions(headers, cards, file=file), headers
    )
    reader = HeaderReader(headers, cards, file=file, positions=positions)
    exptime = reader.seconds()
    # A rule on file names has another result in each file. `positions` is part of the key, because
    # the result depends on the positions as well.
    remembered_type = compute_at_once if any(rule.files for rule in rules) else remembered
    (imagetyp, image_type, reason), type_warnings = remembered_type(
        ("type", positions),
        lambda headers: _type_of(headers, cards, rules, file, positions),
        headers,
    )
    reader.warn_all(type_warnings)
    if not any(rule.files for rule in rules):
        warn_of_unlike_file_name(reader, image_type)
    moment = _begin_of_exposure(reader, exptime, profile_facts.longitude)
    if image_type == "science" and exptime == 0:
        # A dark that is scaled to 0 s subtracts nothing, and no card of the product would show it.
        reader.warn_of_no_exposure("a science frame")
        exptime = None
    elif image_type == "flat" and exptime == 0:
        reader.warn_of_no_exposure("a flat")
    alike = remembered(
        "facts",
        lambda headers: _alike_facts(headers, cards, file, profile_facts),
        headers,
    )
    # Targets, times and temperatures differ from frame to frame, so they are not remembered.
    target = reader.text("object")
    reader.warn_all(alike.pixel_warnings)
    night = night_of(moment, reader, profile_facts.longitude, file)
    if image_type == "science":
        warn_of_daylight(reader, moment, profile_facts.longitude, exptime)
    reader.warn_all(alike.readout_warnings)
    # Many programs write text into these cards, and a frame can be reduced without a temperature:
    # a value that is not a number is ignored.
    set_point = celsius(reader.text("set_temperature"))
    temperature = celsius(reader.text("temperature"))
    reader.warn_all(alike.placement_warnings)
    return FrameFacts(
        imagetyp=_shorten_text(imagetyp),
        type=image_type,
        reason=_shorten_text(reason),
        is_named_by_object=bool(reason) and is_named_by_object(reader),
        object=_shorten_text(target),
        exptime=exptime,
        date_obs=moment.iso,
        night=_shorten_text(night),
        set_temperature=set_point,
        temperature=temperature,
        warnings=tuple(map(_shorten_text, reader.warnings)),
        **alike.facts,
    )


def _begin_of_exposure(reader, exptime, longitude):
    """Return the start of an exposure, a `Moment`; warn of dates that contradict each other.

    Parameters
    ----------
    reader : HeaderReader
        Gets the warnings.
    exptime : float or None
        Seconds.
    longitude : float or None
        Degrees east, by the camera's profile.
    """
    moment = usual_moment(reader, exptime)
    if moment is None:
        moment = moment_in_ut(reader, moment_of(reader, longitude), exptime, longitude)
        warn_of_unlike_dates(reader, moment, exptime)
    return moment


def _type_of(headers, cards, rules, file, positions):
    """Return the image type of a frame as `frame_type` does, and the warnings on its cards.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    cards : dict of str to tuple of CardSpec
        Cards of each fact, in the order in which they are tried.
    rules : tuple of ccdflow.camera.image_types.TypeRule
        Rules of the camera's profile.
    file : str
        Named in errors.
    positions : FactPositions
        Positions of the cards in these headers.
    """
    reader = HeaderReader(headers, cards, file=file, positions=positions)
    return frame_type(reader, rules), reader.warnings


def _gain_of(reader, *, has_gain):
    """Return the gain of a header; its cards get no warning if the profile has the gain."""
    n_warnings_before = len(reader.warnings)
    gain = reader.gain()
    if has_gain:
        del reader.warnings[n_warnings_before:]
    return gain


class _AlikeFacts(NamedTuple):
    """Facts that are equal in many frames of a night, and the warnings on their cards.

    Attributes
    ----------
    facts : dict of str to object
    pixel_warnings, readout_warnings, placement_warnings : list of str
        Three lists, because a row has the warnings on times and temperatures between them.
    """

    facts: dict[str, object]
    pixel_warnings: list[str]
    readout_warnings: list[str]
    placement_warnings: list[str]


def _alike_facts(headers, cards, file, profile_facts):
    """Return the `_AlikeFacts` of the headers of a frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    cards : dict of str to tuple of CardSpec
    file : str
        Named in errors.
    profile_facts : ProfileFacts
        Facts that the camera's profile gives.
    """
    reader = HeaderReader(headers, cards, file=file)
    image = reader.images[0]
    facts = {
        "filter": filter_of(reader),
        "grism": disperser_of(reader),
        "optics": optics_of(reader),
        "naxis1": headers[image].get("NAXIS1"),
        "naxis2": headers[image].get("NAXIS2"),
        **{name: _section_as_written(reader, name) for name in _SECTIONS},
        "ccdsum": binning_text(headers, image, cards["binning"]),
        "gain": _gain_of(reader, has_gain=profile_facts.has_gain),
    }
    used_gain = profile_facts.gain or (None if profile_facts.has_gain else facts["gain"])
    facts["rdnoise"] = reader.read_noise(used_gain)
    n_pixel_warnings = len(reader.warnings)
    facts |= {
        "readmode": reader.text("read_mode"),
        "window": reader.text("window"),
        "part": part_of(headers, reader.images),
        "setting": setting_of(headers, reader.images),
    }
    n_before_placement = len(reader.warnings)
    reader.saturation(used_gain)
    _warn_of_unreadable_placement(reader)
    texts = reader.warnings
    facts |= {
        name: _shorten_text(text)
        for name, text in facts.items()
        if name != "setting" and isinstance(text, str)
    }
    return _AlikeFacts(
        facts,
        texts[:n_pixel_warnings],
        texts[n_pixel_warnings:n_before_placement],
        texts[n_before_placement:],
    )


# A text in a row has at most this many characters. CONTINUE cards make texts of any length, which
# would fill the table, names and lines.
_MOST_CHARACTERS = 500


def _shorten_text(text):
    """Return a text; a long text is cut, and gets eight digits of its hash."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    digits = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{text[:100]}...{digits}"


def _section_as_written(reader, name):
    """Return the text of a section's card, for the table; '' without a card."""
    cards = reader.all_values(name, lambda content: str(content.value), "")
    return " ".join(cards[0][0].split()) if cards else ""


def _warn_of_unreadable_placement(reader):
    """Warn of coordinates that cannot be read: those of the product are made without them."""
    for keyword in _PLACEMENT_CARDS:
        reader.read(
            keyword,
            lambda content: as_number(content.value),
            "not a number: it is not used",
            keywords=(keyword,),
        )


def optics_of(reader):
    """Return the texts of the profile's optics cards, which frame and flat share; '' for none."""
    cards = reader.all_values("optics", as_text, "the text is not in quotes")
    return ", ".join(f"{content.keyword} {_one_spelling(text)}" for text, content in cards)


# Highest temperature of a CCD, degrees C: a larger number is in kelvin.
_MOST_DEGREES = 70.0
# Lowest temperature of a CCD, degrees C: none is colder than liquid nitrogen.
_LEAST_DEGREES = -200.0
# 0 degrees C in kelvin.
_KELVIN_AT_ZERO_CELSIUS = 273.15
# Matches a temperature with or without its unit: -110.5 deg C, 163 K, -20,5°.
_DEGREES = re.compile(
    r"([+-]?[\d.,]+)\s*(?:deg(?:rees?|\.)?|\u00b0)?\s*(?:C|K|cels\w*|centi\w*|kelvin)?",
    re.IGNORECASE,
)


def celsius(text):
    """Return a temperature in degrees C; None for text and for impossible values.

    Examples
    --------
    >>> celsius("-20.5"), celsius("160"), celsius("-999"), celsius("off"), celsius("-20.5 C")
    (-20.5, -113.15, None, None, -20.5)
    """
    if not text:
        return None
    match = _DEGREES.fullmatch(text.strip())
    value = as_number(match[1] if match else text)
    if value is None:
        return None
    value = round(value - _KELVIN_AT_ZERO_CELSIUS, 6) if value > _MOST_DEGREES else value
    return value if _LEAST_DEGREES <= value <= _MOST_DEGREES else None


def _one_spelling(text):
    """Return a value in one spelling: ``90`` for ``90.0``."""
    value = as_number(text)
    return " ".join(text.upper().split()) if value is None else f"{value + 0.0:g}"


# A text on the part of a detector has at most this many characters. A longer text, as of many
# images, is replaced by its hash.
_MOST_PART_CHARACTERS = 120


def part_of(headers, images):
    """Return a text that frames share only if they show the same part of the same detector.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    images : sequence of int
        The HDUs that hold an image.

    Returns
    -------
    str
        The keywords with their values; a hash of this text if it is long.
    """
    entries = []
    for hdu in dict.fromkeys((0, *images)):
        cards = ((name, card_value(headers[hdu], name)) for name in PART_CARDS)
        entries += [
            f"{name} {_text_on_one_line(value)}"
            for name, value in cards
            if _text_on_one_line(value)
        ]
    text = ", ".join(dict.fromkeys(entries) if len(images) == 1 else entries)
    return (
        text
        if len(text) <= _MOST_PART_CHARACTERS
        else hashlib.sha256(text.encode()).hexdigest()[:12]
    )


def _text_on_one_line(value):
    """Return a value as text, with one blank between its words; '' for None."""
    return "" if value is None else " ".join(str(value).split())


def binning_text(headers, index, specs=()):
    """Return the binning as 'x y', or '' where no card has it.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    index : int
        Number of the HDU, the primary is 0.
    specs : sequence of CardSpec, optional
        The profile's cards for the binning; tried before the usual ones.

    Returns
    -------
    str
    """
    by, bx = binning_of_hdu(headers, index, specs=specs, default=(0, 0))
    return f"{bx} {by}" if bx else ""


def _words_and_phrases(text):
    """Return the words before the first bar of a text, and the phrases between its bars."""
    words, *phrases = text.split("|")
    return (*words.split(), *phrases)
