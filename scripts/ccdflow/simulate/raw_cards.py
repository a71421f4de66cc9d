"""Headers of the guide's camera: its cards, in its order, and the bytes of a FITS file."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from ccdflow.files.fits_structure import FITS_BLOCK_BYTES
from ccdflow.files.raw_headers import CARD_BYTES
from ccdflow.simulate.observing_log import LATITUDE, LONGITUDE

# Julian date at 0 h of the day before 0001-01-01.
_JD_OF_ORDINAL_ZERO = 1721424.5
# Right ascension and declination of the objects.
_FIELDS = {"field_1": ("08:26:40.00", "+28:10:00.0"), "field_2": ("09:10:00.00", "+50:20:00.0")}


def _fits_card(keyword, value, comment=""):
    """Return one FITS card of 80 characters.

    astropy would take ten times as long for it as for the pixels of a tiny frame.
    """
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        escaped = value.replace("'", "''")
        text = f"'{escaped:<8}'".ljust(20)
    else:
        text = f"{value!r:>20}"
    card = f"{keyword:<8}= {text}"
    return (f"{card} / {comment}" if comment else card)[:CARD_BYTES].ljust(CARD_BYTES)


def _sexagesimal_text(hours, *, is_signed=False):
    """Return hours (or degrees) as dd:mm:ss.ss."""
    hundredths = round(abs(hours) * 360000)
    minutes, remainder = divmod(hundredths, 6000)
    sign = ("-" if hours < 0 else "+") if is_signed else ""
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}:{remainder / 100:05.2f}"


def _parse_sexagesimal(text):
    """Return the number of a text such as -29:15:30.5."""
    first, minutes, seconds = text.split(":")
    magnitude = abs(float(first)) + float(minutes) / 60 + float(seconds) / 3600
    return -magnitude if first.startswith("-") else magnitude


class _Pointing(NamedTuple):
    """Right ascension, declination, hour angle and sidereal time as text, and the airmass."""

    ra: str
    dec: str
    ha: str
    st: str
    airmass: float


def _pointing_of_frame(frame, jd):
    """Return the `_Pointing` of a frame; calibrations are taken at the zenith.

    Mean sidereal time after Meeus, Astronomical Algorithms, equation 12.4, to the first order.
    """
    st = ((280.46061837 + 360.98564736629 * (jd - 2451545.0) + LONGITUDE) / 15) % 24
    if frame.object not in _FIELDS:
        zenith = _sexagesimal_text(LATITUDE, is_signed=True)
        sidereal = _sexagesimal_text(st)
        return _Pointing(sidereal, zenith, _sexagesimal_text(0.0, is_signed=True), sidereal, 1.0)
    ra, dec = _FIELDS[frame.object]
    ha = (st - _parse_sexagesimal(ra) + 12) % 24 - 12
    declination, latitude = math.radians(_parse_sexagesimal(dec)), math.radians(LATITUDE)
    sine = math.sin(latitude) * math.sin(declination)
    sine += math.cos(latitude) * math.cos(declination) * math.cos(math.radians(15 * ha))
    # On dates when the object is below the horizon, the card has a large value.
    airmass = round(1 / max(sine, 0.02), 3)
    return _Pointing(ra, dec, _sexagesimal_text(ha, is_signed=True), _sexagesimal_text(st), airmass)


def header_cards(camera, frame, *, seed):
    """Return the header of a raw frame: the LFC's cards, in its order.

    Parameters
    ----------
    camera : ccdflow.simulate.camera.SimulatedCamera
    frame : ccdflow.simulate.observing_log.LogLine
    seed : int
        The night's seed.

    Returns
    -------
    list of (str, object, str)
        Keyword, value, comment.
    """
    start = frame.start
    day_fraction = (start - datetime.combine(start.date(), datetime.min.time())) / timedelta(days=1)
    jd = start.toordinal() + _JD_OF_ORDINAL_ZERO + day_fraction
    ra, dec, ha, st, airmass = _pointing_of_frame(frame, jd)
    return [
        ("SIMPLE", True, "conforms to FITS standard"),
        ("BITPIX", 16, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", camera.naxis1, ""),
        ("NAXIS2", camera.ny, ""),
        ("BZERO", 32768.0, "pixels are unsigned 16 bit"),
        ("BSCALE", 1.0, ""),
        ("DATE", f"{start:%Y-%m-%d}", "date the file was written"),
        ("ORIGIN", "California Institute of Technology", ""),
        ("LATITUDE", LATITUDE, "degrees"),
        ("LONGITUD", LONGITUDE, "degrees, east positive"),
        ("TELESCOP", "Hale 5m Telescope", ""),
        ("FRATIO", 7.5, ""),
        ("INSTRUME", camera.instrument, ""),
        ("DETECTOR", "SITe SI002 x 6", ""),
        ("FRAME", frame.number, ""),
        ("CCDPICNO", frame.number, ""),
        ("OBJECT", frame.object, ""),
        ("IMAGETYP", frame.imagetyp, ""),
        ("EXPTIME", frame.exptime, "seconds"),
        ("DARKTIME", round(frame.exptime + 0.672, 3), "seconds"),
        ("DATE-OBS", f"{start:%Y-%m-%d}", "UT date of the start"),
        ("UT", f"{start:%H:%M:%S}.00", "UT of the start"),
        ("JD", round(jd, 6), ""),
        ("RA", ra, "hours"),
        ("DEC", dec, "degrees"),
        ("EQUINOX", 2000.0, ""),
        ("EPOCH", 2000.0, ""),
        ("HA", ha, "hours"),
        ("ST", st, "hours"),
        ("AIRMASS", airmass, ""),
        ("FILTER", frame.filter, ""),
        ("GAIN", camera.gain, "electrons per adu"),
        ("SECPIX1", 0.182, "arcsec per pixel"),
        ("SECPIX2", 0.182, "arcsec per pixel"),
        ("CCDBIN1", 1, ""),
        ("CCDBIN2", 1, ""),
        ("ROTANGLE", 0.0, "degrees"),
        ("DATASEC", camera.section(camera.data_columns), ""),
        ("CCDSEC", f"[1:{camera.nx},1:{camera.ny}]", ""),
        ("BIASSEC", camera.biassec, ""),
        ("LOGINFO", f"simulated by ccdflow, seed {seed}", ""),
        ("CHIPID", 0, ""),
    ]


def frame_bytes(raw, cards):
    """Return a FITS file of one 16-bit image.

    Parameters
    ----------
    raw : numpy.ndarray of shape (ny, naxis1), uint16
        In adu.
    cards : list of (str, object, str)
        All cards of the header but END; BZERO must be 32768.

    Returns
    -------
    bytes
    """
    header = "".join(_fits_card(*card) for card in cards) + "END".ljust(CARD_BYTES)
    header = header.ljust(-(-len(header) // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES)
    # To flip the highest bit of an unsigned number subtracts BZERO, 2^15.
    stored = np.bitwise_xor(raw, np.uint16(0x8000)).astype(">u2")
    return b"".join((header.encode("ascii"), stored, bytes(-stored.nbytes % FITS_BLOCK_BYTES)))
