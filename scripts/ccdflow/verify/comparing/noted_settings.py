"""The check of a product's header against the settings that its run noted.

CCDFKEY is the hash of the basis that the run noted: the settings, and the keys of all sources. This
check notices a header that agrees with itself, but names other settings.
"""

from __future__ import annotations

from urllib.parse import unquote

from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.reading.restated_numbers import UNDERSAMPLED_FWHM

# Factors by which the contrast is raised where stars are flagged: detector/cosmic_rays/cosmics.py.
_CONTRAST_FACTORS = (1, 2, 4)
# The contrast of undersampled stars is this fraction of the setting: they are compared with their
# own profile.
_PROFILE_CONTRAST = 0.3
# The `low_sigma` of measurements whose basis has none, also after a change of the default.
_UNNOTED_LOW_SIGMA = 4.5


def check_settings(headers, kind, basis):
    """Raise unless the cards of a product name the settings and sources that its run noted.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        Headers of its HDUs.
    kind : str
        The kind of the product.
    basis : mapping of str to object
        The basis that the run noted; {} if it noted none.

    Raises
    ------
    Differs
        If a card has another value.
    """
    settings, first_header = basis.get("settings") or {}, headers[0]
    if kind in ("bias", "dark", "flat"):
        _check_recipe(headers, settings)
    elif kind == "frame":
        _check_setting(first_header, "CCDFCAM", basis.get("camera"))
    elif kind == "bad pixels":
        _check_setting(first_header, "BPNIGHTS", settings.get("nights"))
        _check_setting(first_header, "BPSHARE", settings.get("share"))
    elif kind == "detector":
        _check_detector(first_header, settings, basis)
    elif kind == "science":
        _check_cosmics(headers, settings)
        for kind_of_master, name, _ in basis.get("masters", ()):
            keyword = f"{kind_of_master.upper()}IM"
            if keyword in first_header:
                _check_name(first_header, keyword, name)


def _check_detector(first_header, settings, basis):
    """Compare the limits and sources of a night's table of bad pixels with those of the run."""
    if "HOTRATE" in first_header:
        _check_setting(first_header, "HOTRATE", settings.get("hot_rate"))
    if settings:
        _check_setting(first_header, "LOWSIGMA", settings.get("low_sigma", _UNNOTED_LOW_SIGMA))
    if "masters" in basis:
        used_masters = [name for name, _, use in basis["masters"] if use == "made"]
        _check_sources(first_header, used_masters)


def _check_recipe(headers, settings):
    """Compare COMBMETH and the cards of clipping with the recipe of the run."""
    first_header = headers[0]
    _check_setting(first_header, "COMBMETH", settings.get("method"))
    if "clip" not in settings:
        return
    if settings["clip"] is None:
        if "CLIPSIG" in first_header:
            raise Differs("the run that made it clipped nothing, and its header has CLIPSIG")
        return
    _check_setting(first_header, "CLIPSIG", settings["clip"])
    _check_setting(first_header, "CLIPITER", settings.get("iterations"))
    images = [header for header in headers if "IMGLEVEL" in header]
    for header in images:
        if "CLIPDEV" not in header:
            raise Differs("the run that made it clipped, and its header has no CLIPDEV")
        if settings.get("clip_by") not in (None, "auto"):
            _check_setting(header, "CLIPDEV", settings["clip_by"])


def _check_cosmics(headers, settings):
    """Raise unless the cards of cosmic rays have the settings of the run."""
    if not settings.get("cosmic_rays"):
        if settings and any("COSMICS" in header for header in headers):
            raise Differs("the run that made it looked for no cosmic rays, and its header has some")
        return
    for header in headers:
        if "CRSIGMA" in header:
            _check_setting(header, "CRSIGMA", settings.get("cosmic_sigma"))
            _check_contrast(header, float(settings.get("cosmic_contrast", 0)))


def _check_contrast(header, contrast):
    """Raise `Differs` unless CRCONTR is the contrast of the run, times a factor for stars."""
    # Text is compared with no number, and a missing card is None.
    fwhm, card_value = header.get("CRFWHM", 0), header.get("CRCONTR")
    for keyword, value in (("CRFWHM", fwhm), ("CRCONTR", card_value)):
        if not isinstance(value, int | float):
            raise Differs(f"{keyword} is a number, and its card has {value}")
    if 0 < fwhm < UNDERSAMPLED_FWHM:
        contrast *= _PROFILE_CONTRAST
    deviation = min(abs(card_value - contrast * factor) for factor in _CONTRAST_FACTORS)
    # The card has fewer digits than a product of three numbers.
    if contrast and deviation > 1e-6 * contrast:
        raise Differs(f"CRCONTR is {contrast:g} times 1, 2 or 4, and its card has {card_value}")


def _check_sources(first_header, names):
    """Compare the masters that a table of bad pixels names with those of the notes."""
    sources = [
        unquote(str(first_header[keyword]), errors="surrogateescape")
        for keyword in first_header
        if keyword.startswith("IMCOM")
    ]
    # Older results: a table names no masters. A table of today has masters, or an empty LOOKED.
    must_name_masters = bool(sources) or not str(first_header.get("LOOKED", "")).strip()
    if must_name_masters and sorted(sources) != sorted(names):
        raise Differs("the run that made it noted other masters than its header names")


def _check_name(first_header, keyword, name):
    """Raise `Differs` unless a card has the name that the notes of the run have."""
    card_value = unquote(str(first_header.get(keyword)), errors="surrogateescape")
    if card_value != name:
        raise Differs(f"{keyword} is {name} in the notes of the run, and its card has {card_value}")


def _check_setting(header, keyword, value):
    """Compare a card with a setting, if the run noted the setting."""
    if value is None:
        return
    card_value = header.get(keyword)
    is_same = card_value == value
    if isinstance(value, int | float) and isinstance(card_value, int | float):
        # A card has all digits of a setting.
        is_same = abs(card_value - value) <= 1e-9 * abs(value)
    if not is_same:
        raise Differs(
            f"{keyword} is {value} in the notes of the run, and its card has {card_value}"
        )
