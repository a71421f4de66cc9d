"""Gain, read noise and saturation from cards, in the unit that a card has.

Cards with a setting of the readout do not count.
"""

from __future__ import annotations

import re

from ccdflow.files.cards import card_value, contents_of_cards, hdu_indices
from ccdflow.files.values import (
    ADU_UNITS,
    FACTORLESS_UNITS,
    MOST_ELECTRONS,
    as_electrons,
    as_number,
)

GAIN_FIGURE, READ_NOISE_FIGURE, SATURATION_FIGURE = "gain", "read_noise", "saturation"
"""The figures of an amplifier: electrons per adu, electrons, and adu, whatever the unit of a card
is."""

# Patterns of electrons and of adu in texts such as '[e-/ADU]', 'photo-electrons per DN'.
_ELECTRON_PATTERN = r"(?<![a-z0-9])(?:photo-?)?e(?:l|lectrons?|lec)?(?![a-z0-9])\s*-?"
_ADU_PATTERN = r"(?<![a-z0-9])(?:adus?|dns?|counts?|cts?|a/d(?: units?)?)(?![a-z0-9])"
# Matches electrons per adu.
_ELECTRONS_PER_ADU = re.compile(rf"{_ELECTRON_PATTERN}\s*(?:/|per)\s*{_ADU_PATTERN}")
# Matches adu per electron.
_ADU_PER_ELECTRON = re.compile(rf"{_ADU_PATTERN}\s*(?:/|per)\s*{_ELECTRON_PATTERN}")
# Match one of the two units.
_ELECTRON, _ADU = re.compile(_ELECTRON_PATTERN), re.compile(_ADU_PATTERN)
# Units behind a number, in lower case.
_UNITS = {**FACTORLESS_UNITS, **ADU_UNITS}


def figure_of_content(content, quantity, *, gain=None, largest=MOST_ELECTRONS):
    """Return the figure of a card in the unit of its quantity, or None.

    The unit is that behind the number, else that in the comment, else that of the quantity. A gain
    in adu per electron is inverted. A read noise in adu is multiplied by the gain, and a saturation
    in electrons is divided by it: without a gain both are unknown.

    Parameters
    ----------
    content : ccdflow.files.cards.Content
    quantity : {'gain', 'read_noise', 'saturation'}
    gain : float, optional
        Electrons per adu.
    largest : float, optional
        The largest number that is possible.

    Returns
    -------
    float or None

    Examples
    --------
    >>> from ccdflow.files.cards import Content
    >>> figure_of_content(Content("RDNOISE", 4.0, "[ADU] read noise"), "read_noise", gain=1.5)
    6.0
    >>> figure_of_content(Content("GAIN", 0.8, "ADU/e-"), "gain")
    1.25
    """
    number = as_electrons(content.value, most=largest)
    if number is None:
        number = as_electrons(as_number(content.value, _UNITS), most=largest)
    if not number or not _is_in_other_unit(content, quantity):
        return number
    if quantity == GAIN_FIGURE:
        return 1 / number
    if not gain:
        return None
    number = number * gain if quantity == READ_NOISE_FIGURE else number / gain
    return number if number <= largest else None


def _is_in_other_unit(content, quantity):
    """Return whether the unit of a card is another one than that of the quantity.

    A comment with both units, such as '[e-] noise of 2 adu', counts as one without a unit.
    """
    value, comment = content.value, content.comment or ""
    is_number = isinstance(value, int | float) or as_number(value) is not None
    text = (comment if is_number else str(value)).lower()
    if quantity == GAIN_FIGURE:
        return bool(_ADU_PER_ELECTRON.search(text)) and not _ELECTRONS_PER_ADU.search(text)
    text = _ADU_PER_ELECTRON.sub(" ", _ELECTRONS_PER_ADU.sub(" ", text))
    has_electrons, has_adu = (bool(pattern.search(text)) for pattern in (_ELECTRON, _ADU))
    if has_electrons == has_adu:
        return False
    return has_adu if quantity == READ_NOISE_FIGURE else has_electrons


def positive_electrons_of_cards(
    headers, specs, index, *, quantity=GAIN_FIGURE, gain=None, largest=MOST_ELECTRONS
):
    """Return the first figure above 0 in these cards, in an HDU's own header before the primary.

    A unit may follow the number, or stand in the comment, see `figure_of_content`. A setting of the
    readout does not count, see `is_gain_setting`, nor does a number that no detector has, see
    `ccdflow.files.values.as_electrons`.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    specs : sequence of ccdflow.files.cards.CardSpec
        The cards that are tried, in order.
    index : int
        Number of the HDU, whose own cards are tried before those of the primary.
    quantity : {'gain', 'read_noise', 'saturation'}, optional
    gain : float, optional
        Electrons per adu, for cards in another unit.
    largest : float, optional
        The largest number that is possible.

    Returns
    -------
    float or None
    """
    for spec in specs:
        for hdu in (index, 0) if spec.hdu is None else hdu_indices(headers, spec.hdu):
            for content in contents_of_cards(headers[hdu], spec.keyword, spec.occurrence):
                value = figure_of_content(content, quantity, gain=gain, largest=largest)
                if value is not None and value > 0:
                    if is_gain_setting(content, headers[index]):
                        break
                    return value
    return None


# Matches cards of electrons per adu into which some programs write the setting of a CMOS sensor.
_GAIN_WITH_SETTING = re.compile(r"(?:CCD)?GAIN1?")

# Matches the comment of a card with a setting: 'gain setting', 'camera gain'. Of 'electrons to adu'
# it is not known which of the two is divided by the other.
_SETTING = re.compile(
    r"\bsettings?\b|\bindex\b|\bmode\b|sensor gain|camera gain|\bdb\b|electrons? to adu|e-? to adu",
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

# The least number that is a setting: no detector has so many electrons in an adu.
_LEAST_SETTING = 50


def is_gain_setting(content, header):
    """Return whether a GAIN card has a setting of the readout instead of electrons per adu.

    Parameters
    ----------
    content : ccdflow.files.cards.Content
    header : astropy.io.fits.Header
        The image's header. A whole number in a header with a card of `_CARDS_BESIDE_A_SETTING` is a
        setting, unless its unit is electrons per adu or adu per electron; so is one of a camera of
        `_CMOS_CAMERAS`.

    Returns
    -------
    bool
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
    unit_text = f"{content.value} {comment}".lower()
    has_unit = bool(_ELECTRONS_PER_ADU.search(unit_text) or _ADU_PER_ELECTRON.search(unit_text))
    is_bare = float(value).is_integer() and not has_unit
    return is_bare and (
        any(key in header for key in _CARDS_BESIDE_A_SETTING)
        or any(_CMOS_CAMERAS.search(str(card_value(header, key))) for key in _CAMERA_CARDS)
    )
