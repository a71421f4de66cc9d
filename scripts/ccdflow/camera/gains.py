"""Gain and read noise from cards, of which those with a setting of the readout do not count."""

from __future__ import annotations

import re

from ccdflow.files.cards import card_value, contents_of_cards, hdu_indices
from ccdflow.files.values import MOST_ELECTRONS, as_electrons, as_number


def positive_electrons_of_cards(headers, specs, index, *, largest=MOST_ELECTRONS):
    """Return the first number above 0 in these cards, in an HDU's own header before the primary.

    A unit of electrons may follow the number. A setting of the readout does not count, see
    `is_gain_setting`, nor does a number that no detector has, see
    `ccdflow.files.values.as_electrons`.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    specs : sequence of ccdflow.files.cards.CardSpec
        The cards that are tried, in order.
    index : int
        Number of the HDU, whose own cards are tried before those of the primary.
    largest : float, optional
        The largest number that is possible.

    Returns
    -------
    float or None
    """
    for spec in specs:
        for hdu in (index, 0) if spec.hdu is None else hdu_indices(headers, spec.hdu):
            for content in contents_of_cards(headers[hdu], spec.keyword, spec.occurrence):
                value = as_electrons(content.value, most=largest)
                if value is not None and value > 0:
                    if is_gain_setting(content, headers[index]):
                        break
                    return value
    return None


# Matches cards of electrons per adu into which some programs write the setting of a CMOS sensor.
_GAIN_WITH_SETTING = re.compile(r"(?:CCD)?GAIN1?")

# Matches the comment of a card with a setting: 'gain setting', 'camera gain', 'adu per e'.
_SETTING = re.compile(
    r"\bsettings?\b|\bindex\b|\bmode\b|sensor gain|camera gain|\bdb\b|adu */ *e|adu per e"
    r"|electrons? to adu|e-? to adu|counts? per e",
    re.IGNORECASE,
)

# Cards that show that GAIN is a setting. A camera with a setting of the gain has a setting of the
# offset as well. Andor's programs alone write OUTPTAMP; their GAIN is that of the electron
# multiplier.
_CARDS_BESIDE_A_SETTING = ("OFFSET", "BLKLEVEL", "USBLIMIT", "BRIGHTNS", "BLACKLVL", "OUTPTAMP")

# Matches names of cameras, by their makers, whose programs write the setting of the sensor into
# GAIN.
_CMOS_CAMERAS = re.compile(
    r"\b(zwo|asi ?\d{3,4}m[mc]?|qhy|toup ?tek|player ?one|svbony|altair|atik horizon)",
    re.IGNORECASE,
)
# Cards with the name of a camera.
_CAMERA_CARDS = ("INSTRUME", "CAMERA", "DETECTOR", "CAMNAME")

# Matches a unit of electrons per adu, after the number or in the comment: 'e-/ADU', 'electrons per
# adu'.
_ELECTRONS = re.compile(r"\be(?:lectrons?)?-?\s*(?:/|per)\s*(?:adu|dn|count|a/d)", re.IGNORECASE)

# The least number that is a setting: no detector has so many electrons in an adu.
_LEAST_SETTING = 50


def is_gain_setting(content, header):
    """Return whether a GAIN card has a setting of the readout instead of electrons per adu.

    Parameters
    ----------
    content : ccdflow.files.cards.Content
    header : astropy.io.fits.Header
        The image's header. A whole number in a header with a card of `_CARDS_BESIDE_A_SETTING` is a
        setting, unless its unit is electrons per adu; so is one of a camera of `_CMOS_CAMERAS`.

    Returns
    -------
    bool
        True also if the comment has adu per electron.
    """
    if not _GAIN_WITH_SETTING.fullmatch(content.keyword):
        return False
    comment = content.comment or ""
    if _SETTING.search(comment):
        return True
    value = as_number(content.value)
    if value is None:
        return False
    if value >= _LEAST_SETTING:
        return True
    has_unit = any(_ELECTRONS.search(text) for text in (str(content.value), comment))
    is_bare = float(value).is_integer() and not has_unit
    return is_bare and (
        any(key in header for key in _CARDS_BESIDE_A_SETTING)
        or any(_CMOS_CAMERAS.search(str(card_value(header, key))) for key in _CAMERA_CARDS)
    )
