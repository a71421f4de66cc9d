"""The site's longitude from a number, a text with a direction, a place, or a sidereal time."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from functools import lru_cache

from ccdflow.files.values import as_number

LONGITUDE_TOLERANCE = 0.05
"""Degrees by which a longitude may differ from that of the sidereal time. In correct headers the
two differ by 0.001; 12 s of a clock are 0.05."""

# Least and largest distance of a telescope from the centre of the Earth, m.
_RADII_METRES = (6.33e6, 6.39e6)

# Matches an angle, with or without a sign, minutes and seconds: 116 51 46.3, -116.863, 116d51m46s.
_ANGLE = re.compile(
    r"([+-])?\s*(\d{1,3}(?:\.\d*)?)\s*(?:°|deg(?:rees)?|d|h|:|\s|$)?\s*"
    r"(?:(\d{1,2}(?:\.\d*)?)\s*(?:'|arcmin|min|m|:|\s|$)?\s*)?"
    r"(?:(\d{1,2}(?:\.\d*)?)\s*(?:\"|''|arcsec|sec|s|$)?\s*)?",
    re.IGNORECASE,
)
# Matches a direction: West, e.
_DIRECTION = re.compile(r"(?<![a-z])(east|west|e|w)(?![a-z])", re.IGNORECASE)
# Matches a comment by which a longitude is positive to the west: 'west positive', '+ towards west'.
_WEST_POSITIVE = re.compile(
    r"west\W{0,3}(is |counts )?(positive|\+|>0)|(positive|\+)\W{0,3}(to |towards )?(the )?w(est)?\b"
    r"|east\W{0,3}(is )?(negative|-)|(negative|-)\W{0,2}e(ast)?\b"
)
# Matches a comment by which a longitude is positive to the east: 'east is positive', 'positive to
# the east'.
_EAST_POSITIVE = re.compile(
    r"east\W{0,3}(is |counts )?(positive|\+|>0)|(positive|\+)\W{0,3}(to |towards )?(the )?e(ast)?\b"
    r"|west\W{0,3}(is )?(negative|-)|(negative|-)\W{0,2}w(est)?\b"
)


# A site has one longitude and one comment. 256 entries are a limit to the memory for a telescope
# that writes another longitude into each frame.
@lru_cache(maxsize=256, typed=True)
def read_longitude(value, comment=""):
    """Return a longitude in degrees, east positive, -180 to 180, or None.

    Parameters
    ----------
    value : str, int, float or ccdflow.files.values.Broken
        A number, or text such as ``-122:30:31``, ``122 30 31 W``, ``W 122 30``, ``-8h10m02s``.
    comment : str, optional
        The card's comment: with ``degrees west`` a number counts to the west.

    Returns
    -------
    float or None

    Examples
    --------
    >>> read_longitude("122:30:00 W"), read_longitude("W 122 30"), read_longitude("unknown")
    (-122.5, -122.5, None)
    """
    number = as_number(value)
    direction = None
    if number is None:
        text = str(value).strip()
        directions = {word.lower()[0] for word in _DIRECTION.findall(text)}
        text = " ".join(_DIRECTION.sub(" ", text).split()).strip(" ,;")
        if len(directions) > 1:
            return None
        direction = next(iter(directions), None)
        number = _read_degrees(text)
        if number is None:
            return None
    if abs(number) > 360:
        return None
    return wrapped_degrees(_degrees_east(number, direction, comment))


def _read_degrees(text):
    """Return degrees from a number or from degrees, minutes and seconds; None for other text."""
    number = as_number(text)
    if number is not None:
        return number
    match = _ANGLE.fullmatch(text)
    if match is None:
        return None
    minutes, seconds = float(match[3] or 0), float(match[4] or 0)
    if minutes >= 60 or seconds >= 60:
        return None
    angle = float(match[2]) + minutes / 60 + seconds / 3600
    is_in_hours = re.search(r"\d\s*h", text, re.IGNORECASE) is not None
    degrees = angle * 15 if is_in_hours else angle
    return -degrees if match[1] == "-" else degrees


def _degrees_east(degrees, direction, comment):
    """Return the angle counted to the east, by a letter beside it or by the card's comment."""
    if direction is not None:
        return -abs(degrees) if direction == "w" else degrees
    words = comment.lower()
    if _WEST_POSITIVE.search(words) and not _EAST_POSITIVE.search(words):
        return -degrees
    says_west = re.search(r"\bwest\b|\bdeg(rees)?\.? w\b|\(w\)|\[w\]", words)
    if says_west and not re.search(r"\beast\b|\be\b", words):
        return -abs(degrees)
    return degrees


def longitude_of_place(x, y, z):
    """Return the longitude of a geocentric place, or None if no telescope can be there.

    Parameters
    ----------
    x, y, z : float
        OBSGEO-X, OBSGEO-Y and OBSGEO-Z, in metres.

    Returns
    -------
    float or None
        Degrees, east positive.

    Examples
    --------
    The place of Palomar:

    >>> round(longitude_of_place(-2410346.8, -4758666.8, 3487943.0), 2)
    -116.86
    """
    if not _RADII_METRES[0] <= math.hypot(x, y, z) <= _RADII_METRES[1]:
        return None
    return math.degrees(math.atan2(y, x))


def longitude_of_sidereal_time(sidereal, start):
    """Return the longitude of the sites that have a sidereal time at a time.

    Greenwich mean sidereal time is 280.46061837 + 360.98564736629 d degrees, d days after
    JD 2451545.0 (Meeus, Astronomical Algorithms, 12.4).

    Parameters
    ----------
    sidereal : datetime.timedelta
    start : datetime.datetime
        UT.

    Returns
    -------
    float
        Degrees, east positive.
    """
    # Days since the epoch J2000.0.
    days = (start - datetime(2000, 1, 1, 12)) / timedelta(days=1)
    degrees = sidereal / timedelta(hours=24) * 360
    # Sidereal time at Greenwich in degrees (IAU 1982, without its square terms).
    return wrapped_degrees(degrees - 280.46061837 - 360.98564736629 * days)


def longitude_with_sign_of(claimed, implied):
    """Return a longitude with the sign that agrees with a sidereal time, and whether one agrees.

    Parameters
    ----------
    claimed, implied : float
        Degrees, east positive: the longitude of a card, and that of the sidereal time.

    Returns
    -------
    longitude : float
        `claimed` itself where neither sign agrees within `LONGITUDE_TOLERANCE` degrees.
    agrees : bool
    """
    for longitude in (claimed, -claimed):
        if abs(wrapped_degrees(longitude - implied)) <= LONGITUDE_TOLERANCE:
            return longitude, True
    return claimed, False


def wrapped_degrees(degrees):
    """Return an angle in -180 to 180 degrees.

    Examples
    --------
    >>> wrapped_degrees(243.5), wrapped_degrees(-116.5)
    (-116.5, -116.5)
    """
    return (degrees + 180) % 360 - 180
