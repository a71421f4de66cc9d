"""The header of a reduced frame: its reduction and origin, without outdated cards."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import NamedTuple

from ccdflow.camera.sections import Region
from ccdflow.files import fits_structure
from ccdflow.files.cards import card_value
from ccdflow.files.fits_products.hdus import array_hdu, hdu_header, version_cards
from ccdflow.files.header_text import EXTENSION_NAMES, CardList, is_commentary, printable_text
from ccdflow.frame import placement
from ccdflow.frame.products import product_images

# Matches cards on the storage of the raw array, which the product gets anew.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|BUNIT"
    r"|CHECKSUM|DATASUM|END|NEXTEND|EXTNAME|EXTVER|EXTLEVEL|INHERIT|DATAMIN|DATAMAX"
)
# Matches cards of compressed tiles: those of the table, and those with values of the image.
_TILES = re.compile(
    r"T(FIELDS|(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+)|THEAP"
    r"|Z(IMAGE|TENSION|SIMPLE|EXTEND|CMPTYPE|BLANK|SCALE|ZERO|QUANTIZ|DITHER0|HECKSUM|DATASUM"
    r"|PCOUNT|GCOUNT|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|MASKCMP)"
)
# Names that only describe the storage of an extension.
_STORAGE_NAMES = ("COMPRESSED_IMAGE",)
# Matches the names of the product's own cards: a raw frame's card with one of these names would be
# mistaken for the product's.
_OWN_CARDS = re.compile(
    r"(AMPNAM|OVERSC|BIASLV|OVRRMS|AMPBAD|AMPFLP|OSCAXI|GAIN)\d\d|AMP(HDU|SAT|TOP|FULL?)(\d\d)?|AMPFLIP"
    r"|(DATSEC|TRIM)(\d\d)?|AMPGAIN"
    r"|OSC(STAT|MODEL|ORDER|SIGMA|ITERS|AXIS|SAT)|OSCSAT\d\d"
    r"|BIASLVL|OVERRMS|AMPBAD|RAWFILE|RAWFP|CCDF(KEY|CAM)|(CCDP|ASTRP|NUMPY)VER"
)


class ProductOrigin(NamedTuple):
    """The raw file of a reduced frame, and the keys in its header.

    Attributes
    ----------
    file : str
        The raw file, relative to the raw folder.
    fingerprint : str
        CRC-32 and length of the raw FITS file.
    key : str
        Digest of all that the product depends on.
    """

    file: str
    fingerprint: str
    key: str


def product_parts(layout, geometry, recipe, reduced, origin):
    """Return the header and data units of a reduced frame, in the order of the file.

    Parameters
    ----------
    layout : ccdflow.files.fits_structure.RawLayout
        The raw file's headers.
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    reduced : ccdflow.frame.reduction.Reduced
    origin : ProductOrigin

    Returns
    -------
    list of bytes-like
        For `ccdflow.files.atomic_write.write_whole`.
    """
    parts = []
    images_of_product = product_images(geometry, recipe)
    if images_of_product[0].hdu:
        primary = _cards_to_keep(layout.texts[0])
        _write_origin_and_recipe(primary, geometry, recipe, reduced, origin)
        parts.append(hdu_header(primary, None, 0, is_primary=True))
    for product_image, image in zip(images_of_product, reduced.images, strict=True):
        if not parts:
            first = first_header(layout, geometry, recipe, reduced, origin)
            parts += [first, *_data_unit(image)]
            continue
        cards = _cards_to_keep(layout.texts[product_image.raw_hdu])
        _write_image_cards(cards, layout.headers, product_image, recipe, reduced)
        name_cards = _name_cards(layout.hdus[product_image.raw_hdu])
        header = hdu_header(cards, image.data, image.datasum, name=name_cards)
        parts += [header, *_data_unit(image)]
    for product_image, image in zip(images_of_product, reduced.images, strict=True):
        if image.mask is not None:
            parts += mask_hdu(image.mask, f"MASK{product_image.suffix}")
    return parts


def first_header(layout, geometry, recipe, reduced, origin):
    """Return the bytes of the primary header of a product whose first image is in it.

    Parameters
    ----------
    layout, geometry, recipe, reduced, origin
        See `product_parts`.

    Returns
    -------
    bytes
    """
    product_image, image = product_images(geometry, recipe)[0], reduced.images[0]
    cards = _common_cards(layout, product_image.amplifiers)
    _write_origin_and_recipe(cards, geometry, recipe, reduced, origin)
    _write_image_cards(cards, layout.headers, product_image, recipe, reduced)
    return hdu_header(cards, image.data, image.datasum, is_primary=True)


def mask_hdu(mask, name):
    """Return header and data of a mask extension (uint8; 1 saturated, 2 not finite, 4 no data).

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), uint8
    name : str
        EXTNAME of the extension.

    Returns
    -------
    list of bytes and ccdflow.files.fits_products.hdus.BigEndian
    """
    cards = CardList()
    cards.add_comment("Bits of the mask: 1 saturated, 2 not finite, 4 no data; 0 is a good pixel")
    return array_hdu(cards, mask, name=name)


def _data_unit(image):
    """Return the pixels of an image and their padding, as bytes-like parts."""
    return [
        image.data.reshape(-1).view("u1"),
        b"\0" * (-image.data.nbytes % fits_structure.FITS_BLOCK_BYTES),
    ]


def _name_cards(hdu):
    """Return the cards that name a raw extension."""
    if card_value(hdu.header, "EXTNAME") in _STORAGE_NAMES:
        return CardList()
    return CardList.parse(hdu.text).copy_without(lambda keyword: keyword not in EXTENSION_NAMES)


# -- the raw header --------------------------------------------------------------------------------


def _cards_to_keep(text):
    """Return the cards of a raw header that its product keeps; DATE becomes RAWDATE.

    Left out are cards on the storage of the raw array, and cards named like the product's own.
    """
    cards = CardList.parse(text)
    is_tiled = "ZIMAGE" in cards
    cards = cards.copy_without(
        lambda keyword: bool(
            _STRUCTURE.fullmatch(keyword)
            or _OWN_CARDS.fullmatch(keyword)
            or (is_tiled and _TILES.fullmatch(keyword))
        )
    )
    # DATE is the time when a file was written. A product has no DATE, so that a frame always
    # becomes the same bytes.
    if "RAWDATE" in cards:
        cards.drop("DATE")
    cards.rename("DATE", "RAWDATE")
    return cards


def _common_cards(layout, amplifiers):
    """Return the cards of the primary header, and those equal in the amplifiers' extensions.

    Of the commentary of these extensions, that of the first one is taken.
    """
    headers = layout.headers
    cards = _cards_to_keep(layout.texts[0])
    hdus_used = sorted({a.hdu for a in amplifiers} - {0})
    if not hdus_used:
        return cards
    keywords = {keyword for keyword, _ in cards}
    other_headers = [headers[hdu] for hdu in hdus_used[1:]]
    first_header_used = headers[hdus_used[0]]
    for keyword, text in _cards_to_keep(layout.texts[hdus_used[0]]):
        # RAWDATE is the DATE of the raw header, renamed.
        is_renamed = keyword == "RAWDATE" and keyword not in first_header_used
        raw_keyword = "DATE" if is_renamed else keyword
        value = card_value(first_header_used, raw_keyword)
        is_common = keyword not in keywords and all(
            card_value(other_header, raw_keyword) == value for other_header in other_headers
        )
        if is_common or is_commentary(keyword):
            cards.extend([(keyword, text)])
    return cards


# -- cards of the reduction ------------------------------------------------------------------------


def _write_origin_and_recipe(cards, geometry, recipe, reduced, origin):
    """Write the versions, the raw file and the recipe of a reduced frame.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    geometry : ccdflow.camera.geometry.Geometry
        Geometry of the frame.
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        Settings of its reduction.
    reduced : ccdflow.frame.reduction.Reduced
        The reduced frame.
    origin : ProductOrigin
        Raw file and key of the product.
    """
    for keyword, value, comment in version_cards():
        cards.set(keyword, value, comment)
    cards.set("RAWFILE", printable_text(origin.file))
    cards.set("RAWFP", origin.fingerprint, "CRC-32 and length of the raw FITS file")
    cards.set("CCDFKEY", origin.key, "hash of everything the product depends on")
    cards.set("CCDFCAM", geometry.camera, f"camera; sections from its {geometry.source}")
    if not any(reduced.overscans.values()):
        return
    cards.set("OSCSTAT", recipe.statistic, "statistic across the overscan")
    if recipe.model is not None:
        cards.set("OSCMODEL", recipe.model, "model along the overscan")
        cards.set("OSCORDER", recipe.order, "degree, or number of spline pieces")
        cards.set("OSCSIGMA", recipe.reject_sigma, "rejection of levels, in sigma")
        cards.set("OSCITERS", recipe.reject_iterations, "rounds of rejection at most")


def _write_image_cards(cards, headers, product_image, recipe, reduced):
    """Write the cards of one image: its amplifiers, its unit, and the places of its pixels.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
    headers : list of astropy.io.fits.Header
        Headers of the raw frame.
    product_image : ccdflow.frame.products.ProductImage
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    reduced : ccdflow.frame.reduction.Reduced
    """
    if recipe.trim:
        # A trimmed image does not have these pixels.
        for keyword in {k for k, text in cards if placement.is_about_raw_pixels(k, text)}:
            cards.drop(keyword)
    _write_amplifier_cards(cards, product_image.amplifiers, recipe, reduced)
    if recipe.trim:
        placement.correct_cards(cards, headers, product_image.amplifiers, product_image.shape)
    cards.set("BUNIT", _unit_of_pixels(headers, product_image), "unit of the pixels")


def _write_amplifier_cards(cards, amplifiers, recipe, reduced):
    """Write region, level and noise of each amplifier; numbered if there are several.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
        Changed in place.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    reduced : ccdflow.frame.reduction.Reduced
        The reduced frame, with its overscans.
    """
    cards.set("NAMPS", len(amplifiers), "amplifiers in this image")
    is_numbered = len(amplifiers) > 1
    for number, amplifier in enumerate(amplifiers, start=1):
        set_card = partial(_set_numbered, cards, number if is_numbered else None)
        if is_numbered:
            set_card("", "AMPNAM", printable_text(amplifier.name), "amplifier")
        if is_numbered or not recipe.trim:
            place = recipe.region_of(amplifier)
            set_card("DATSEC", "DATSEC", place.to_fits(), "where it lies in this image")
        _write_overscan_cards(set_card, amplifier, reduced.overscans[amplifier.name])
        _write_readout_cards(set_card, amplifier, recipe)
        _write_converter_cards(set_card, reduced.converters.get(amplifier.name))
        if amplifier.gain is not None:
            # The keyword is not GAIN, because many cameras write a setting under this name.
            set_card("AMPGAIN", "GAIN", amplifier.gain, "[electron/adu]")
        if amplifier.name in reduced.flags:
            flag = reduced.flags[amplifier.name]
            set_card("AMPBAD", "AMPBAD", flag, "throughout this amplifier")
        if parts := reduced.without_level.get(amplifier.name):
            text = " ".join(map(Region.to_fits, parts))
            set_card("OSCSAT", "OSCSAT", text, "no level here: overscan saturated")


def _write_overscan_cards(set_card, amplifier, overscan):
    """Write strips, level and noise of an amplifier's overscan, if one was subtracted."""
    if overscan is None:
        return
    strips_text = " ".join(map(Region.to_fits, amplifier.overscan))
    set_card("OVERSCAN", "OVERSC", strips_text, "raw pixels of the overscan used")
    set_card("OSCAXIS", "OSCAXI", amplifier.along, "part of the image with one overscan level")
    level, noise = _round_figure(overscan.level), _round_figure(overscan.noise)
    set_card("BIASLVL", "BIASLV", level, "[adu] mean level that was subtracted")
    set_card("OVERRMS", "OVRRMS", noise, "[adu] noise of an overscan pixel")


def _write_readout_cards(set_card, amplifier, recipe):
    """Write the raw pixels of an amplifier, their orientation and their saturation."""
    if recipe.trim:
        set_card("TRIM", "TRIM", amplifier.data.to_fits(), "raw pixels that were kept")
    if amplifier.hdu:
        set_card("AMPHDU", "AMPHDU", amplifier.hdu, "HDU of the raw file, the first is 0")
    flipped_axes = ("x" if amplifier.is_flipped_x else "") + ("y" if amplifier.is_flipped_y else "")
    if recipe.trim and flipped_axes:
        set_card("AMPFLIP", "AMPFLP", flipped_axes, "axes along which raw pixels were reversed")
    if amplifier.saturation is not None:
        saturation = float(amplifier.saturation)
        set_card("AMPSAT", "AMPSAT", saturation, "[adu] raw value that is saturated")


def _write_converter_cards(set_card, end):
    """Write the end of an amplifier's converter, if known, and the least values of its pixels."""
    if end is None:
        return
    set_card("AMPTOP", "AMPTOP", end.top, "[adu] raw value at the end of the converter")
    if end.has_pixels:
        set_card("AMPFULL", "AMPFUL", end.to_text(), "[adu] least reduced value there")


def _set_numbered(cards, number, keyword, stem, value, comment):
    """Set a card of an amplifier: `keyword`, or `stem` and its number if there are several.

    Parameters
    ----------
    cards : ccdflow.files.header_text.CardList
    number : int or None
        Number of the amplifier; None if the image has only one.
    keyword, stem : str
        The keyword without a number, and the one that a number follows.
    value : object
    comment : str
    """
    digits = "" if number is None else f"{number:02d}"
    cards.set(f"{stem[: 8 - len(digits)]}{digits}" if digits else keyword, value, comment)


def _round_figure(value):
    """Return a number rounded to six significant digits; 'unknown' for NaN."""
    return "unknown" if math.isnan(value) else float(f"{value:.6g}")


def _unit_of_pixels(headers, product_image):
    """Return the unit of the raw pixels by BUNIT; 'adu' for counts, and without the card."""
    for hdu in (product_image.amplifiers[0].hdu, 0):
        unit = card_value(headers[hdu], "BUNIT")
        if isinstance(unit, str) and unit.lower() not in ("adu", "adus", "dn", "counts", "count"):
            return unit
    return "adu"
