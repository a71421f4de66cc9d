"""What the headers say about a frame: its type, exposure, filter, time and night."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath

from ccdflow.camera.geometry import binning, image_hdus
from ccdflow.camera.identity import setting_of
from ccdflow.errors import FrameError
from ccdflow.files.cards import CardSpec, card_value, find, find_first, matches, number

TYPES = ("bias", "dark", "flat", "science", "arc", "other")

# Image types as observatories write them, after case, blanks and punctuation are taken out.
SYNONYMS = {
    "bias": "bias biasframe biasimage zero zeroframe zeros biaszero mbias",
    "dark": "dark darkframe darkimage darks darkflat flatdark",
    "flat": (
        "flat flats flatfield flatframe flatimage dome domeflat skyflat twiflat twilight "
        "twilightflat dflat sflat flatlamp lampflat lampqtz internalflat intflat dmflat "
        "projectorflat led pixflat flatsky skyflats domeflats flatdome flatfieldimage ledflat "
        "twilighttwilight wflat"
    ),
    "science": (
        "science object objects target light lightframe std standard spectrum sci stdstar "
        "spectrophotometricstandard objectastro expose sky stdflux stdtell lightimage nightsky "
        "stdtelluric objectframe guidestar"
    ),
    "arc": (
        "arc arcs comp comparison lamp wave wavelamp lampwave wavecal arclamp line arcimage "
        "compframe lamparc arclamps wavelengthcalibration"
    ),
    "other": (
        "focus test other acquisition acq acquire align alignment engineering junk pointing "
        "through slit mask"
    ),
}
_TYPE_OF = {word: kind for kind, words in SYNONYMS.items() for word in words.split()}

# Cards that are tried in order, where a profile does not name its own.
KEYWORDS = {
    # Keck's archive knows better than the instrument, whose OBSTYPE is often left at 'dark'.
    "imagetyp": "KOAIMTYP IMAGETYP OBSTYPE IMGTYPE FRAMETYP IMTYPE PICTTYPE EXPTYPE OBS_TYPE "
    "OBS-TYPE FLAVOR DATA-TYP|ESO DPR TYPE",
    "object": "OBJECT OBJNAME TARGNAME TARGET|ESO OBS TARG NAME",
    "filter": "FILTER FILTERS FILTNAM FILTER1 FILTER01 FILTNAME FILTERID FILT1|ESO INS FILT1 NAME",
    "exptime": "EXPTIME EXPOSURE ITIME EXP_TIME EXPOSED ELAPTIME TTIME TEXPTIME|ESO DET WIN1 DIT1",
    "date": "DATE-OBS DATE_OBS DATEOBS UTDATE UT-DATE DATE-BEG UT_DATE",
    "time": "UT UTSTART TIME-OBS UTC-OBS UT-TIME UTC UTOBS TIME-BEG UTSHUT UT-OBS UT_TIME "
    "TIME_OBS TIME",
    "mjd": "MJD-OBS MJD MJD_OBS MJDOBS MJD-STR|MJD START",
    "jd": "JD JD-OBS JULDATE JULIAN",
    "sidereal": "ST LST LST-OBS STSTART SIDEREAL",
    "longitude": "LONGITUD SITELONG LONGITUDE LONG-OBS OBSLONG OBS-LONG GEOLON TELLONG OBSGEO-L"
    "|ESO TEL GEOLON",
    "gain": "GAIN EGAIN CCDGAIN GAIN1",
    "read_noise": "RDNOISE READNOIS READNOISE RON ENOISE RO_NOISE RDNOISE1",
    "saturation": "SATURATE SATLEVEL SATURATI",
    "set_temperature": "SET-TEMP SETTEMP CCD-TSET CCDTSET CCDSTEMP TEMPSET SET_TEMP CCD_SET",
    "temperature": "CCD-TEMP CCDTEMP CCD_TEMP DETTEMP DET-TEMP DET_TEMP TEMPDET SENSTEMP CCDTMP"
    "|ESO DET CHIP1 TEMP",
    "read_mode": "READMODE CCDSPEED READSPEE READ-SPD RDMODE SPEED READOUTM|ESO DET READ CLOCK"
    "|ESO DET READ MODE",
    "window": "WINDOW ROI SUBFRAME WINSEC1 DETWIN1 ROISEC",
    # Empty: `ccdflow.camera.geometry.binning` knows the usual cards and how they belong together.
    "binning": "",
    "biassec": "BIASSEC",
    "trimsec": "TRIMSEC",
    "datasec": "DATASEC",
    "ccdsec": "CCDSEC",
}
# Which part of which detector an image is of: frames that differ in one are never averaged.
PART = (
    "DETECTOR", "DETNAM", "DETID", "CHIPID", "CHIP", "CCDNAME", "CCDID", "AMPNAME", "AMPLIST",
    "CCDSEC", "DETSEC", "CRVAL1U", "CRVAL2U",
)  # fmt: skip
# These are about the pixels, so the image's own header comes before the primary.
OF_THE_IMAGE = (
    "gain", "read_noise", "saturation", "biassec", "trimsec", "datasec", "ccdsec",
)  # fmt: skip

_DATE = re.compile(r"((?:19|20)\d\d)([-/_.]?)([01]\d)\2([0-3]\d)(?!\d)")
_OLD_DATE = re.compile(r"(\d\d?)/(\d\d?)/(\d\d)")
_NAMED_DATE = re.compile(
    r"(?<!\d)([0-3]?\d)[-_ ]?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
    r"[-_ ]?((?:19|20)\d\d)"
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = re.compile(r"([+-]?)(\d{1,3})[: ]\s*(\d{1,2})(?:[: ]\s*(\d{1,2}(?:\.\d*)?))?")


@dataclass(frozen=True)
class TypeRule:
    """When a frame is of a type.

    Parameters
    ----------
    type : str
        One of TYPES.
    imagetyp : tuple
        What the image type may be; empty for anything.
    exptime_min, exptime_max : float or None
        Bounds of the exposure in seconds, both included.
    cards : tuple of (CardSpec, tuple)
        Further cards, and what each may be.
    """

    type: str
    imagetyp: tuple = ()
    exptime_min: float | None = None
    exptime_max: float | None = None
    cards: tuple[tuple[CardSpec, tuple], ...] = ()


@dataclass(frozen=True)
class FrameFacts:
    """What the headers say about a frame; '' or None for what they do not say.

    Parameters
    ----------
    imagetyp : str
        As in the header.
    type : str
        bias, dark, flat, science, arc or other; '' where nobody knows the image type.
    reason : str
        Why `type` is '', for the inventory; else ''.
    object, filter : str
    exptime : float or None
        Seconds.
    naxis1, naxis2 : int or None
        Of the first image.
    biassec, trimsec, datasec, ccdsec : str
        As in the header.
    ccdsum : str
        Binning as 'x y'; '' where no card says it.
    gain, rdnoise : float or None
        Electrons per adu, electrons, as the header claims.
    date_obs : str
        ISO date and time (UT) as far as known.
    night : str
        YYYY-MM-DD of the evening, else the folder's name, else ''.
    readmode, window : str
    part : str
        Which part of which detector the images are of, as the cards of `PART` have it.
    setting : str
        Which device took it and with which setting, see `ccdflow.camera.identity.setting_of`.
    set_temperature, temperature : float or None
        Set point of the cooler, and the sensor's own; in degrees, as the header has them.
    """

    imagetyp: str = ""
    type: str = ""
    reason: str = ""
    object: str = ""
    filter: str = ""
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


def default_cards():
    """The cards of `KEYWORDS` as CardSpec tuples by name."""
    return {name: tuple(CardSpec(k) for k in _split(text)) for name, text in KEYWORDS.items()}


def describe(headers, cards, rules, *, longitude, file):
    """The facts of a frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    cards : dict of str to tuple of CardSpec
        For each name of `KEYWORDS`, the cards tried in order.
    rules : tuple of TypeRule
        Tried in order before the built-in synonyms.
    longitude : float or None
        Degrees, east positive; None for the header's own.
    file : str
        Path relative to the raw folder: its folder's name is the night where no card tells it.

    Returns
    -------
    FrameFacts
    """
    images = image_hdus(headers)
    if not images:
        raise FrameError("the file holds no image", file=file, keyword="NAXIS")
    image = images[0]

    def value(name):
        order = (image, 0) if name in OF_THE_IMAGE else (0, image)
        return find_first(headers, cards[name], order)

    imagetyp, kind, reason = frame_type(headers, cards["imagetyp"], rules, value, (0, image))
    start, exact = start_of(value)
    return FrameFacts(
        imagetyp=imagetyp,
        type=kind,
        reason=reason,
        object=_text(value("object")),
        filter=_text(value("filter")),
        exptime=number(value("exptime")),
        naxis1=headers[image].get("NAXIS1"),
        naxis2=headers[image].get("NAXIS2"),
        biassec=_text(value("biassec")),
        trimsec=_text(value("trimsec")),
        datasec=_text(value("datasec")),
        ccdsec=_text(value("ccdsec")),
        ccdsum=binning_text(headers, image, cards["binning"]),
        gain=number(value("gain")),
        rdnoise=number(value("read_noise")),
        date_obs=_iso(start, exact),
        night=night_of(start, exact, value, longitude, file),
        readmode=_text(value("read_mode")),
        window=_text(value("window")),
        part=part_of(headers, images),
        setting=setting_of(headers, images),
        set_temperature=number(value("set_temperature")),
        temperature=number(value("temperature")),
    )


def part_of(headers, images):
    """Return a text that two frames have in common only if they are of the same part of a detector.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    images : list of int
        The HDUs that hold an image.

    Returns
    -------
    str
        Values by keyword; a hash of them where several images make it long.
    """
    said = []
    for hdu in dict.fromkeys((0, *images)):
        cards = ((name, card_value(headers[hdu], name)) for name in PART)
        said += [f"{name} {_text(value)}" for name, value in cards if _text(value)]
    text = ", ".join(dict.fromkeys(said) if len(images) == 1 else said)
    return text if len(text) <= 120 else hashlib.sha256(text.encode()).hexdigest()[:12]


_UNKNOWN = "unknown image type"
_UNSAID = "no card says the image type"


def is_of_unknown_type(reason):
    """Tell from a frame's reason whether its image type was not understood."""
    return reason.startswith((_UNKNOWN, _UNSAID))


def frame_type(headers, specs, rules, value, order):
    """The image type as written, as understood, and the reason where it is not understood."""
    written = [_text(find(headers, spec, order)) for spec in specs]
    written = [text for text in written if text]
    first = written[0] if written else ""
    for rule in rules:
        if _rule_holds(rule, headers, first, value, order):
            return first, rule.type, ""
    for text in written:
        kind = known_type(text)
        if kind:
            return text, kind, ""
    if first:
        return first, "", f"{_UNKNOWN} {first!r}: name it under `types:` in a profile"
    names = ", ".join(spec.keyword for spec in specs[:4])
    return "", "", f"{_UNSAID} (looked for {names}...): name it in a profile"


def known_type(text):
    """The type that a header's image type stands for by itself, or ''."""
    letters = _letters(text)
    if letters in _TYPE_OF:
        return _TYPE_OF[letters]
    # Flats have most names: TWIFLAT2, PROJFLAT, 'dome flat r', and among ESO's 'LAMP,QFLAT'.
    if "flat" in letters:
        return "flat"
    # ESO and others list attributes: 'WAVE,LAMP', 'OBJECT,SKY', 'STD,FLUX'.
    words = re.split(r"[,;]", text)
    kinds = {_TYPE_OF.get(_letters(word)) for word in words} if len(words) > 1 else ()
    return next((kind for kind in ("bias", "dark", "arc", "science", "other") if kind in kinds), "")


def _rule_holds(rule, headers, imagetyp, value, order):
    if rule.imagetyp and not matches(imagetyp or None, rule.imagetyp):
        return False
    if rule.exptime_min is not None or rule.exptime_max is not None:
        exptime = number(value("exptime"))
        if exptime is None or (rule.exptime_min is not None and exptime < rule.exptime_min):
            return False
        if rule.exptime_max is not None and exptime > rule.exptime_max:
            return False
    return all(matches(find(headers, spec, order), wanted) for spec, wanted in rule.cards)


def binning_text(headers, index, specs=()):
    """Binning as 'x y', or '' where no card says it."""
    by, bx = binning(headers, index, specs=specs, default=(0, 0))
    return f"{bx} {by}" if bx else ""


def start_of(value):
    """The start of the exposure in UT as (datetime, whether the time of day is known).

    Parameters
    ----------
    value : callable
        Gives the value of a name of `KEYWORDS`.

    Returns
    -------
    start : datetime.datetime or None
    exact : bool
    """
    text = _text(value("date"))
    day = parse_date(text)
    if day is not None:
        clock = (
            _clock(re.split(r"[T ]", text, maxsplit=1)[-1])
            if re.search(r"\d[T ]\s*\d", text)
            else None
        )
        clock = clock if clock is not None else _clock(_text(value("time")))
        if clock is not None:
            return datetime(day.year, day.month, day.day) + clock, True
    mjd, jd = number(value("mjd")), number(value("jd"))
    for days in (mjd, None if jd is None else jd - 2400000.5):
        # A whole number says no more than the date.
        if days is not None and 15020 < days < 88127 and days % 1:
            return datetime(1858, 11, 17) + timedelta(days=days), True
    if day is None and mjd is not None and 15020 < mjd < 88127:
        return datetime(1858, 11, 17) + timedelta(days=mjd), False
    return (None if day is None else datetime(day.year, day.month, day.day)), False


def night_of(start, exact, value, longitude, file):
    """The night: the local date at noon before the exposure.

    Local mean time is UT + longitude / 15 h; half a day is taken off, so that a night has one date.

    Parameters
    ----------
    start : datetime.datetime or None
        UT.
    exact : bool
        Whether `start` has the time of day.
    value : callable
        Gives the value of a name of `KEYWORDS`.
    longitude : float or None
        Degrees, east positive; None for the header's own.
    file : str
        Path relative to the raw folder.

    Returns
    -------
    str
    """
    folder = PurePosixPath(file).parent.name
    if exact:
        east = site_longitude(value, start) if longitude is None else longitude
        return (start + timedelta(hours=east / 15 - 12)).date().isoformat()
    for part in reversed(PurePosixPath(file).parent.parts):
        day = parse_date(part)
        if day is not None:
            return day.isoformat()
    return start.date().isoformat() if start is not None else folder


def site_longitude(value, start):
    """The site's longitude from the headers, degrees, east positive; 0 where they do not tell.

    The sidereal time at a known UT gives the longitude as well: it decides the sign where a header
    counts west positive, and stands in where there is no other card. Greenwich mean sidereal time
    is 280.46061837 + 360.98564736629 d degrees, d days after JD 2451545.0 (Meeus, Astronomical
    Algorithms, 12.4).
    """
    claimed = _angle(value("longitude"))
    clock = _clock(_text(value("sidereal")))
    if clock is None:
        return claimed or 0.0
    days = (start - datetime(2000, 1, 1, 12)) / timedelta(days=1)
    sidereal = clock / timedelta(hours=24) * 360
    implied = _around(sidereal - 280.46061837 - 360.98564736629 * days)
    if claimed is None:
        return implied
    return min((claimed, -claimed), key=lambda east: abs(_around(east - implied)))


def parse_date(text):
    """The date in a text such as 2016-01-16, 20160116, 16/01/98 or 02jan2025, or None."""
    text = str(text or "").strip().lower()
    match = _DATE.search(text)
    if match:
        year, month, day = int(match[1]), int(match[3]), int(match[4])
    elif match := _NAMED_DATE.search(text):
        year, month, day = int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1])
    elif match := _OLD_DATE.fullmatch(text):
        # FITS before 1998: day/month/year of the twentieth century.
        year, month, day = 1900 + int(match[3]), int(match[2]), int(match[1])
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _clock(text):
    """A time of day or sidereal time as a timedelta, or None."""
    match = _CLOCK.match(text.strip())
    if match is None or match[1] == "-":
        return None
    hours, minutes, seconds = int(match[2]), int(match[3]), float(match[4] or 0)
    if hours > 24 or minutes > 59 or seconds >= 61:
        return None
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _angle(value):
    """Degrees from a number or from sexagesimal text, in -180 to 180; None where it is neither."""
    degrees = number(value)
    if degrees is None:
        match = _CLOCK.match(_text(value))
        if match is None:
            return None
        degrees = int(match[2]) + int(match[3]) / 60 + float(match[4] or 0) / 3600
        degrees = -degrees if match[1] == "-" else degrees
    return _around(degrees) if abs(degrees) <= 360 else None


def _around(degrees):
    return (degrees + 180) % 360 - 180


def _iso(start, exact):
    if start is None:
        return ""
    if not exact:
        return start.date().isoformat()
    return start.isoformat(timespec="milliseconds" if start.microsecond else "seconds")


def _letters(text):
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _text(value):
    return "" if value is None else " ".join(str(value).split())


def _split(text):
    words, *phrases = text.split("|")
    return (*words.split(), *phrases)


# What a frame that was reduced already carries. IRAF and Gemini write text with a date, ccdproc
# the arguments or an empty card, BANZAI a status, ESO the product's category.
_DONE_BY = {
    "ccdflow": ("CCDFLOW",),
    "the Space Telescope's pipeline": ("BLEVCORR", "DRIZCORR"),
    "ccdproc": ("SUBOSCAN", "TRIMIM", "SUBBIAS", "SUBDARK", "FLATCOR", "GAINCOR", "CREATDEV"),
    "IRAF": (
        "OVERSCAN", "TRIM", "ZEROCOR", "DARKCOR", "FLATCOR", "CCDPROC", "FIXPIX", "ILLUMCOR",
        "FRINGCOR", "CCDMEAN",
    ),
    "BANZAI": (
        "L1STATOV", "L1STATTR", "L1STATBI", "L1STATDA", "L1STATFL", "BIASLVL", "L1IDBIAS",
    ),
    "DRAGONS or Gemini IRAF": (
        "PREPARE", "SUBOVER", "TRIMOVER", "TRIMMED", "OVERSEC", "BIASIM", "BIASCORR", "GPREPARE",
        "GSREDUCE", "GIREDUCE",
    ),
    "ESO's pipeline": ("ESO PRO CATG", "ESO PRO REC1 ID", "PRODCATG"),
    "NOIRLab's pipeline": ("PROCTYPE",),
    "Goodman's pipeline": ("GSP_OVER", "GSP_TRIM", "GSP_BIAS", "GSP_FLAT"),
    "MaxIm DL": ("CALSTAT",),
}  # fmt: skip
_NOT_DONE = {
    "F",
    "FALSE",
    "N",
    "NO",
    "NONE",
    "0",
    "OMIT",
    "SKIPPED",
    "PERFORM",
    "RAW",
    "N/A",
    "NA",
    "-",
    "OFF",
}


def refuse_reduced(headers, *, file):
    """Refuse a frame that was reduced already.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    file : str

    Raises
    ------
    FrameError
        If a card of ccdflow, ccdproc, IRAF, BANZAI, DRAGONS, ESO's pipeline or MaxIm tells so.
    """
    for header in headers:
        for program, keywords in _DONE_BY.items():
            for keyword in keywords:
                if keyword in header and _says_done(program, keyword, header):
                    raise _already(program, keyword, card_value(header, keyword), file)
        level = number(card_value(header, "RLEVEL"))
        if level is not None and level >= 1:
            raise _already("BANZAI", "RLEVEL", level, file)
        for keyword in ("NCOMBINE", "STACKCNT"):
            combined = number(card_value(header, keyword))
            if combined is not None and combined > 1:
                raise _already("a program that combines frames", keyword, combined, file)
        for keyword in ("IMAGETYP", "OBSTYPE", "FRAME"):
            kind = card_value(header, keyword)
            if isinstance(kind, str) and _letters(kind).startswith("master"):
                raise _already("a program that makes masters", keyword, kind, file)


def _says_done(program, keyword, header):
    value = card_value(header, keyword)
    if value is None:
        # ccdproc writes a step without arguments as an empty card, others announce steps so.
        return program == "ccdproc" and keyword in ("SUBOSCAN", "TRIMIM", "SUBBIAS", "SUBDARK")
    if keyword in ("OVERSCAN", "TRIM") and not isinstance(value, str):
        # A number of columns, or a flag of the readout; DRAGONS writes a level with a fraction.
        return isinstance(value, float) and not value.is_integer()
    if keyword in ("OVERSCAN", "TRIM") and value.startswith("["):
        return False
    return str(value).strip().upper() not in _NOT_DONE


def _already(program, keyword, value, file):
    return FrameError(
        f"the frame was reduced already, by {program}",
        file=file,
        keyword=keyword,
        value=value,
        allowed="a raw frame",
        remedy="leave it out of the raw folder",
    )
