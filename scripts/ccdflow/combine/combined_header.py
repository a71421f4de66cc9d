"""The headers of combined products: members, method, noise and quality."""

from __future__ import annotations

import math
import re

import numpy as np

from ccdflow.files.fits_products.hdus import version_cards
from ccdflow.files.header_text import (
    EXTENSION_NAMES,
    CardList,
    card_text,
    printable_sentence,
    printable_text,
)

# Matches cards of the members that describe a single frame, or the storage of its array.
_SINGLE_FRAME_CARDS = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d?|EXTEND|PCOUNT|GCOUNT|EXTNAME|EXTVER|EXTLEVEL|LONGSTRN|CHECKSUM"
    r"|DATASUM|RAW(FILE|FP|DATE)|BIASLVL|BIASLV\d+|OVERRMS|OVRRMS\d+|AMPTOP(\d+)?|AMPFUL(L|\d+)"
)
# The comment of the card CLIPDEV, by its value.
_SIGMA_COMMENTS = {
    "mad": "sigma from the median absolute deviation",
    "std": "sigma from the standard deviation",
    "noise": "sigma from gain and read noise",
}
NO_CLIPPING = "none"
"""Value of CLIPDEV if no value is rejected."""

# Up to this number of members their numbers have three digits in keywords, otherwise five.
_MOST_SHORT_NUMBERS = 999


def shared_cards(members):
    """Return the cards of one HDU that are equal in all members.

    Parameters
    ----------
    members : list of ccdflow.combine.members.ProductHdu

    Returns
    -------
    ccdflow.files.header_text.CardList
    """
    first, *other_cards = (member.cards for member in members)
    return CardList(
        (keyword.removeprefix("HIERARCH").strip(), text)
        for keyword, text in first.items()
        if not _SINGLE_FRAME_CARDS.fullmatch(keyword)
        and all(cards.get(keyword) == text for cards in other_cards)
    )


def extension_name_cards(member):
    """Return the cards that name an extension of a member."""
    # INHERIT is left out here: it is among the cards that are equal in all members.
    names = (name for name in EXTENSION_NAMES if name != "INHERIT")
    return CardList((name, member.cards[name]) for name in names if name in member.cards)


def unit_of_member(member):
    """Return the unit of a member HDU's pixels; ``adu`` if no card gives it."""
    text = member.cards.get("BUNIT", "")[10:].strip()
    return (text[1:].partition("'")[0].strip() if text.startswith("'") else "") or "adu"


def is_electrons(unit):
    """Return whether a unit is electrons, in one of the spellings of cameras.

    Examples
    --------
    >>> [is_electrons(unit) for unit in ("electron", "Electrons", "e-", "adu", "")]
    [True, True, True, False, False]
    """
    return unit.lower() in ("electron", "electrons", "e-", "e")


def write_group_cards(cards, *, key, recipe, members, dates, left_out):
    """Write the cards on members and method, which hold for all images of a product.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    key : str
        CCDFKEY of the product.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
    members : list of str
        Raw files of the members.
    dates : list of str
        DATE-OBS of each member, in any order.
    left_out : list of (str, ccdflow.detector.member_selection.LeftOut)
        Raw files that are unlike the others of the group, with the reasons.
    """
    for keyword, value, comment in version_cards():
        cards.set(keyword, value, comment)
    cards.set("CCDFKEY", key, "hash of everything the product depends on")
    cards.set("NCOMBINE", len(members), "frames combined")
    if all("T" in text for text in dates):
        cards.set("DATE-BEG", min(dates), "DATE-OBS of the first frame combined")
        cards.set("DATE-END", max(dates), "DATE-OBS of the last frame combined")
    cards.set("COMBMETH", recipe.method, "statistic of the values of a pixel")
    if recipe.clip is not None:
        cards.set("CLIPSIG", float(recipe.clip), "clipping limit, in sigma about the median")
        if recipe.clip_by != "auto":
            write_clipping_cards(cards, recipe)
        cards.set("CLIPITER", recipe.iterations, "rounds of clipping at most")
    else:
        write_clipping_cards(cards, recipe)
    cards.extend(
        (keyword, card_text(keyword, printable_text(file)))
        for keyword, file in zip(_numbered_keywords("IMCOM", len(members)), members, strict=True)
    )
    names = _numbered_keywords("IMOUT", len(left_out))
    for keyword, (file, reason) in zip(names, left_out, strict=True):
        cards.set(keyword, printable_text(file), "left out")
        cards.add_history(
            f"ccdflow: {printable_text(file)} was left out: {printable_sentence(reason.text)}"
        )


def write_clipping_cards(cards, recipe):
    """Write the source of the clipping sigma: MAD, standard deviation or noise model.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
        The recipe that was used, `Combined.recipe`: one of the settings may still be ``auto``.
    """
    if recipe.clip is None:
        cards.set("CLIPDEV", NO_CLIPPING, "no value is rejected")
    else:
        cards.set("CLIPDEV", recipe.clip_by, _SIGMA_COMMENTS[recipe.clip_by])


def write_clipping_noise_cards(cards, noises, unit="adu"):
    """Write the noise of a value in each amplifier, by which values were clipped.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    noises : sequence of float
        Noise of a value in each amplifier. The clipping sigma is this noise times
        sqrt(1 + 1 / number of values).
    unit : str, optional
    """
    for number, noise in enumerate(noises, start=1):
        keyword = "CLIPRN" if len(noises) == 1 else f"CLIPRN{number:02d}"
        cards.set(keyword, float(f"{noise:.9g}"), f"[{unit}] noise of a value, for clipping")


def _numbered_keywords(name, count):
    """Return keywords with numbers from 1: IMCOM001, or IMC00001 for many members."""
    if count > _MOST_SHORT_NUMBERS:
        # FITS allows eight characters: three letters before five digits.
        return [f"{name[:3]}{number:05d}" for number in range(1, count + 1)]
    return [f"{name}{number:03d}" for number in range(1, count + 1)]


def write_combined_cards(cards, combined, figures, remarks=(), unit="adu"):
    """Write the cards on rejection, level and noise of one image of a product.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    combined : ccdflow.combine.stack.Combined
    figures : sequence of dict
        Figures of each amplifier of the image, named as in
        `ccdflow.detector.bias_figures.AmplifierQuality`, and 'subtracted': whether the overscan of
        the members was subtracted.
    remarks : sequence of str, optional
        Warnings on the image.
    unit : str, optional
        Unit of the pixels.
    """
    for text in remarks:
        cards.add_history(f"ccdflow: {printable_sentence(text)}")
    cards.set("NREJECT", int(combined.n_clipped.sum()), "values rejected, of all members")
    cards.set("NINVALID", int(combined.n_invalid.sum()), "values masked or not finite, left out")
    cards.set("NEMPTY", int(combined.n_empty), "pixels without any value, NaN here")
    level = np.mean(combined.image, dtype=np.float64)
    if np.isnan(level):
        # `numpy.nanmean` takes four times as long, and few images have a pixel without a value.
        level = np.nanmean(combined.image, dtype=np.float64)
    cards.set("IMGLEVEL", float(f"{level:.6g}"), f"[{unit}] mean of this image")
    for number, figure in enumerate(figures, start=1):
        for keyword, stem, name, comment in (
            ("BIASLVL", "BIASLV", "level", "level subtracted from the members"),
            ("RNOISE", "RNOISE", "read_noise", "read noise from pairs of members"),
            ("CNOISE", "CNOISE", "combined_noise", "noise of this image, measured"),
            ("CNOISPR", "CNOISP", "predicted_noise", "noise that the read noise predicts"),
        ):
            # Without overscan subtraction no level is written: IMGLEVEL has the level of the image.
            if math.isfinite(figure[name]) and (figure["subtracted"] or name != "level"):
                keyword_of_amplifier = keyword if len(figures) == 1 else f"{stem}{number:02d}"
                cards.set(keyword_of_amplifier, figure[name], f"[{unit}] {comment}")


def write_noise_cards(cards, combined, unit="adu"):
    """Write the noise that the uncertainty leaves out, and the parameters of the noise model.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    combined : ccdflow.combine.stack.Combined
    unit : str, optional
        Unit of the pixels.
    """
    comments = {
        "MBNOISE": "noise of the bias in it, not in UNCERT",
        "MDNOISE": "noise of the dark in it, not in UNCERT",
    }
    for keyword, value in (combined.shared_noise or {}).items():
        if math.isfinite(value):
            cards.set(keyword, float(f"{value:.6g}"), f"[{unit}] {comments[keyword]}")
    amplifiers = combined.noise.amplifiers if combined.noise else ()
    for number, amplifier in enumerate(amplifiers, start=1):
        suffix = "" if len(amplifiers) == 1 else f"{number:02d}"
        for keyword, value, comment in (
            ("MODRN", amplifier.read_noise, f"[{unit}] read noise that UNCERT is made with"),
            ("MODGN", amplifier.gain, f"[electron/{unit}] gain that UNCERT is made with"),
            ("MODFC", amplifier.factor, "measured over predicted noise, in UNCERT"),
            ("MODLN", amplifier.level_noise or None, f"[{unit}] noise of a row's level, in UNCERT"),
        ):
            if value is not None:
                cards.set(f"{keyword}{suffix}", float(f"{value:.6g}"), comment)


def write_flat_cards(cards, *, levels, signal_to_noise, ratios):
    """Write the cards on levels and noise of a combined flat.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    levels : sequence of float
        Levels of the members, in their unit.
    signal_to_noise : float
        Signal to noise of a pixel of the flat, an upper limit for frames divided by the flat.
    ratios : dict of str to float
        Mean of the flat in each amplifier, see `ccdflow.combine.flats.amplifier_ratios`.
    """
    for keyword, level in zip(_numbered_keywords("IMLVL", len(levels)), levels, strict=True):
        cards.set(keyword, float(f"{level:.9g}"), "level that this flat was divided by")
    cards.set("FLATLVL", float(f"{np.median(levels):.6g}"), "median level of the flats combined")
    cards.set("FLATMIN", float(f"{np.min(levels):.6g}"), "lowest level of the flats combined")
    cards.set("FLATMAX", float(f"{np.max(levels):.6g}"), "highest level of the flats combined")
    if math.isfinite(signal_to_noise):
        cards.set("FLATSN", float(f"{signal_to_noise:.5g}"), "signal to noise of a pixel")
        cards.set("FLATRMS", float(f"{1 / signal_to_noise:.5g}"), "noise of a pixel, relative")
    for number, ratio in enumerate(ratios.values(), start=1):
        if len(ratios) > 1 and math.isfinite(ratio):
            cards.set(f"FLATR{number:02d}", float(f"{ratio:.7g}"), "mean of an amplifier here")


def write_gain_cards(cards, gains, unit="adu"):
    """Write the gains that were measured from the flats.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    gains : sequence of (float or None)
        Gain of each amplifier, electrons per `unit`; NaN or None where it is not measured.
    unit : str, optional
        Unit of the members.
    """
    for number, gain in enumerate(gains, start=1):
        if gain is not None and math.isfinite(gain):
            keyword = "GAINMEAS" if len(gains) == 1 else f"GAINME{number:02d}"
            cards.set(keyword, float(f"{gain:.6g}"), f"[electron/{unit}] gain from pairs of flats")


def write_factor_cards(cards, factors):
    """Write the factor on the dark for each member of a flat.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    factors : sequence of float
        () if no dark was subtracted.
    """
    for keyword, factor in zip(_numbered_keywords("IMDRK", len(factors)), factors, strict=True):
        cards.set(keyword, float(f"{factor:.9g}"), "factor on the dark for this flat")


def write_dark_cards(cards, *, seconds, rates, hot_pixels, hot_limit, units):
    """Write the cards on exposure time, dark current and hot pixels of a combined dark.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    seconds : float
        Exposure time of the members.
    rates : sequence of ccdflow.detector.frame_figures.Estimate
        Median dark current of each amplifier, in its unit a second.
    hot_pixels : int
        Number of hot pixels.
    hot_limit : float
        A pixel is hot if its rate is above that of its neighbours by more than this, in the unit of
        its amplifier a second.
    units : sequence of str
        Unit of each amplifier: ``electron``, or ``adu`` if its gain is unknown.
    """
    cards.set("EXPTIME", float(seconds), "[s] exposure time of each dark")
    for number, (rate, unit) in enumerate(zip(rates, units, strict=True), start=1):
        suffix = "" if len(rates) == 1 else f"{number:02d}"
        if math.isfinite(rate.value):
            cards.set(f"DARKRT{suffix}", float(f"{rate.value:.6g}"), f"[{unit}/s] median rate")
    # A comment has no room for two units.
    rate_unit = f"{units[0]}/s" if len(set(units)) == 1 else "a second"
    cards.set("NHOT", int(hot_pixels), f"pixels over those around by {hot_limit:g} {rate_unit}")
