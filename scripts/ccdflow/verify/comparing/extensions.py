"""The HDUs of a product beside its images: their names, order, shapes and cards."""

from __future__ import annotations

import re

from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.comparing.source_cards import text_of_card

# Pattern of the cards that all extensions have.
_COMMON_CARDS = r"XTENSION|BITPIX|NAXIS[12]?|[PG]COUNT|EXTNAME|CHECKSUM|DATASUM|COMMENT"
# The first cards of an extension in their order. Comments and checksums follow them; where pixels
# are packed, the checksums are first.
_ORDER = (
    "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTNAME", "UTYPE",
    "BUNIT",
)  # fmt: skip
# Matches the keywords of each extension.
_CARDS_BY_EXTENSION = {
    "UNCERT": re.compile(f"{_COMMON_CARDS}|BUNIT|UTYPE|QUANSTEP"),
    "MASK": re.compile(_COMMON_CARDS),
    "COUNT": re.compile(_COMMON_CARDS),
}
# Allowed texts of COMMENT by the kind of extension: its cards are joined.
_COMMENTS = {
    "UNCERT": (
        "",
        "Signal, read noise, rounding, level of the row and masters; OSCNOISE and M.NOISE of the"
        " image are the parts common to a row, or to all frames with these masters.",
        # Older results: the words of a comment.
        "Signal, read noise, rounding, level of the row and masters; OSCNOISE and M.NOISE of the"
        " image tell what of it is common to a row, or to all frames with these masters.",
    ),
    "COUNT": ("Number of frames behind each pixel",),
    "MASK": (
        "Bits of the mask: 1 saturated, 2 not finite, 4 no data; 0 is a good pixel",
        "Bits as in the mask of a calibrated frame; 0 is a good pixel",
        "Bits of the mask; 0 is a good pixel: 1 saturated 2 not finite 4 no data 8 hot 16 dead or"
        " low response 32 bad column or trap 64 cosmic ray 128 unlit 256 calibration missing or"
        " extrapolated here 512 beyond linear range 1024 next to saturation 2048 value replaced"
        " 4096 varies 8192 flat unreliable",
    ),
}
# Cards that scale pixels, and cards that name an HDU.
_SCALE_CARDS = ("BSCALE", "BZERO", "BLANK")
_NAME_CARDS = ("EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT")
# Matches the cards of a packed image that the first header does not repeat.
_PIXEL_CARDS = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d?|EXTEND|PCOUNT|GCOUNT|CHECKSUM|DATASUM|QUANSTEP|"
)


def extension_name(kind, hdu):
    """Return the name of an extension of an image: 'MASK' of the first HDU, 'MASK2' of HDU 2.

    Parameters
    ----------
    kind : str
        'UNCERT', 'MASK' or 'COUNT'; of a map of the shutter 'EXCESS' or 'ERROR'.
    hdu : int
        Index of the image's HDU.

    Returns
    -------
    str
    """
    return f"{kind}{hdu or ''}"


def check_extensions(
    headers, image_indices, kinds, *, needed_kinds=(), pixel_types=(-32,), mask_type=16
):
    """Raise unless the HDUs are images, each followed by its extensions in their order.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    image_indices : iterable of int
        Indices of the HDUs that hold an image.
    kinds : sequence of str
        Kinds of extensions that an image may have, out of 'UNCERT', 'MASK' and 'COUNT', in order.
    needed_kinds : sequence of str, optional
        Kinds that each image must have.
    pixel_types : tuple of int, optional
        Values of BITPIX that an image may have; the default is that of float32.
    mask_type : int, optional
        BITPIX of MASK; the default is that of int16, of calibrated frames and masters.

    Raises
    ------
    Differs
        If an extension is absent, unknown or not in its place, or an HDU has other pixels or cards
        than its kind.
    """
    image_indices = sorted(image_indices)
    owners = {extension_name(kind, hdu): (hdu, kind) for hdu in image_indices for kind in kinds}
    names_seen, last_rank_by_image = set(), {}
    bitpix_by_kind = {"UNCERT": -32, "COUNT": 16, "MASK": mask_type}
    for number, header in enumerate(headers):
        _check_storage(number, header, pixel_types if number in image_indices else None)
        if not number or number in image_indices:
            continue
        name, hdu, kind = _name_and_owner(number, header, owners)
        if header["BITPIX"] != bitpix_by_kind[kind]:
            raise Differs(
                f"BITPIX of {name} is {bitpix_by_kind[kind]}, and {header['BITPIX']} here"
            )
        rank = kinds.index(kind)
        is_in_order = number > image_indices[-1] and rank >= last_rank_by_image.get(hdu, 0)
        if name in names_seen or not is_in_order:
            raise Differs(f"HDU {number}, {name}, is not in its place")
        names_seen.add(name)
        last_rank_by_image[hdu] = rank
        _check_extension(header, headers[hdu], name)
    _check_needed_extensions(names_seen, image_indices, needed_kinds)


def _check_needed_extensions(names_seen, image_indices, needed_kinds):
    """Raise unless each image has the extensions that it needs."""
    for hdu in image_indices:
        for kind in needed_kinds:
            if extension_name(kind, hdu) not in names_seen:
                raise Differs(f"it has no {extension_name(kind, hdu)}")


def _name_and_owner(number, header, owners):
    """Return the name of an extension, the index of its image's HDU, and its kind."""
    name = str(header.get("EXTNAME"))
    if name not in owners:
        raise Differs(f"HDU {number} is named {name!r}, and no image has such a one")
    return name, *owners[name]


def _check_storage(number, header, pixel_types):
    """Raise if an HDU is scaled, or its BITPIX is none of the pixel types; None allows all."""
    if scale_cards := [keyword for keyword in _SCALE_CARDS if keyword in header]:
        raise Differs(f"HDU {number} has {scale_cards[0]}, and no product is stored scaled")
    if pixel_types is not None and header["BITPIX"] not in pixel_types:
        raise Differs(f"BITPIX is {pixel_types[0]} in such a product, and {header['BITPIX']} here")


def _check_extension(header, image, name):
    """Raise unless an extension has the shape, cards and comments of its kind."""
    sides = [[each.get(f"NAXIS{axis}") for axis in (1, 2)] for each in (header, image)]
    if sides[0] != sides[1]:
        words = [" x ".join(map(str, pair)) for pair in sides]
        raise Differs(f"{name} has {words[0]} pixels, and its image {words[1]}")
    kind = re.sub(r"\d+$", "", name)
    for keyword in header:
        if not _CARDS_BY_EXTENSION[kind].fullmatch(keyword):
            raise Differs(f"{name} has a card {keyword}, which ccdflow does not write")
    keywords = [keyword for keyword in dict.fromkeys(header) if keyword != "QUANSTEP"]
    leading_keywords = [keyword for keyword in _ORDER if keyword in keywords]
    if keywords[: len(leading_keywords)] != leading_keywords:
        raise Differs(f"the cards of {name} are not in the order in which ccdflow writes them")
    comments = ["".join(str(line).split()) for line in header.get("COMMENT", ())]
    if "".join(comments) not in ["".join(text.split()) for text in _COMMENTS[kind]]:
        raise Differs(
            f"{name} has another COMMENT than ccdflow writes:"
            f" {' '.join(map(str, header.get('COMMENT', ())))!r}"
        )


def check_packed(first_header, image):
    """Raise unless the first HDU of a file of tiles repeats the cards of its image.

    Parameters
    ----------
    first_header, image : astropy.io.fits.Header
        Headers of the first HDU, which has no pixels, and of the image that is packed after it.

    Raises
    ------
    Differs
        If a card is absent, has another value or another place.
    """
    cards_of_first, cards_of_image = _cards_but_on_pixels(first_header), _cards_but_on_pixels(image)
    for cards, other_cards, holder in (
        (cards_of_first, cards_of_image, "of its image"),
        (cards_of_image, cards_of_first, "first"),
    ):
        if lost_cards := [card for card in cards if card not in other_cards]:
            raise Differs(
                f"the card {lost_cards[0][0]} is not in the header {holder} as it is in the other"
            )
    if cards_of_first != cards_of_image:
        raise Differs("the first header and that of its image have their cards in another order")


def _cards_but_on_pixels(header):
    """Return [(keyword, text)] of the cards that the first and the packed header must share."""
    return [
        (card.keyword, text_of_card(card).strip())
        for card in header.cards
        if not _PIXEL_CARDS.fullmatch(card.keyword)
    ]


def check_names(header, source, *, must_have=True):
    """Raise unless an image has the name of its source; the image of a first HDU may have none.

    Parameters
    ----------
    header, source : astropy.io.fits.Header
    must_have : bool, optional
        Whether an image that is not a first HDU has the names that its source has.

    Raises
    ------
    Differs
        If the names differ.
    """
    for keyword in _NAME_CARDS:
        card_value, value = header.get(keyword), source.get(keyword)
        is_left_out = card_value is None and not (must_have and "XTENSION" in header)
        if card_value != value and not is_left_out:
            raise Differs(f"{keyword} is {value} in its source, and its card has {card_value}")
