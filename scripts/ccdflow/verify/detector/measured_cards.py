"""The check of products below detector/ for their HDUs, cards and columns, in their order."""

from __future__ import annotations

import re
from collections import Counter

from ccdflow.verify.comparing.card_order import check_order
from ccdflow.verify.comparing.comparing import Differs, check_text

# Patterns of the cards of the first HDU: for all products, and by the beginning of the file's name.
_COMMON_CARDS = "SIMPLE|BITPIX|NAXIS|EXTEND|CCDF(KEY|NAME|CAM)|NIGHT|CHECKSUM|DATASUM|LONGSTRN"
_NOISE_CARDS = r"MOD(RN|GN)(\d\d\d?)?"
_FIRST_HDU_CARDS = {
    "pixels_": rf"LOOKED|FLATOWN\d+|HOTRATE|LOWSIGMA|CCDMASK|IM(COM|KEY|USE)\d\d\d|{_NOISE_CARDS}",
    "shutter_": r"BUNIT|NFLATS|EXPM(IN|AX)|CHI2|SHUTM(EAN|ERR)|SERIES\d\d|(BIAS|DARK)(IM|KY)\d\d"
    rf"|IM(COM|FLT|SEC)\d\d\d|{_NOISE_CARDS}",
    "bad_pixels_": r"EPOCH|NNIGHTS|BPNIGHTS|BPSHARE|NCOMBINE|IM(COM|KEY)\d\d\d",
}
# The order of the cards of the first HDU, as `card_order.REDUCED_ORDER`.
_ORDER_BY_SORT = {
    "pixels_": (
        "CCDFKEY", "CCDFNAME", "CCDFCAM", "NIGHT", "LOOKED", ("FLATOWN",),
        "HOTRATE", "LOWSIGMA", "CCDMASK", ("IMCOM", "IMKEY", "IMUSE"),
        "MODRN", "MODGN", ("MODRN", "MODGN"), "CHECKSUM", "DATASUM",
    ),
    "shutter_": (
        "CCDFKEY", "CCDFNAME", "CCDFCAM", "NIGHT", "BUNIT", "NFLATS", "EXPMIN", "EXPMAX", "CHI2",
        "SHUTMEAN", "SHUTMERR", ("SERIES", "BIASIM", "BIASKY", "DARKIM", "DARKKY"),
        ("IMCOM", "IMFLT", "IMSEC"), "MODRN", "MODGN", ("MODRN", "MODGN"), "CHECKSUM", "DATASUM",
    ),
    "bad_pixels_": (
        "CCDFKEY", "CCDFNAME", "CCDFCAM", "EPOCH", "NNIGHTS", "NIGHT", "BPNIGHTS", "BPSHARE",
        "NCOMBINE", ("IMCOM", "IMKEY"), "CHECKSUM", "DATASUM",
    ),
}  # fmt: skip
# Columns of the tables, and BITPIX of the images, by the beginning of the file's name.
_TABLES_BY_SORT = {
    "pixels_": {
        "PIXELS": ["IMAGE", "X", "Y", "DARK", "FLAT", "LEVELS", "DEEP"],
        "WEAK": ["IMAGE", "X", "Y", "SIGMA"],
    },
    "shutter_": {},
    "bad_pixels_": {"PIXELS": ["IMAGE", "X", "Y", "BITS", "FIRST", "LAST", "SEEN", "LOOKED"]},
}
_IMAGES = {"pixels_": {}, "shutter_": {"EXCESS": -32, "ERROR": -32}, "bad_pixels_": {"MASK": 16}}
# Matches cards of the form of a table, such as TFORM1.
_TABLE_FORM_CARDS = re.compile(
    r"XTENSION|BITPIX|NAXIS[12]?|[PG]COUNT|TFIELDS|T(TYPE|FORM)\d|EXTNAME|CHECKSUM|DATASUM"
)
# Matches cards of the form of an image, such as NAXIS1.
_IMAGE_FORM_CARDS = re.compile(r"XTENSION|BITPIX|NAXIS[12]?|[PG]COUNT|EXTNAME|CHECKSUM|DATASUM")


def sort_of(path):
    """Return the beginning of a product's name that gives its sort; None for another file."""
    return next((start for start in _FIRST_HDU_CARDS if path.name.startswith(start)), None)


def check_measured(hdus, path):
    """Raise unless a product below detector/ has its HDUs, columns and cards, and no others.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
    path : pathlib.Path

    Raises
    ------
    Differs
        If an HDU, column or card is lost, added, or not in its place.
    """
    sort = sort_of(path)
    _check_hdus(hdus, sort)
    for number, hdu in enumerate(hdus):
        if number == 0:
            pattern = re.compile(f"{_COMMON_CARDS}|{_FIRST_HDU_CARDS[sort]}")
        else:
            pattern = _TABLE_FORM_CARDS if hdu.name in _TABLES_BY_SORT[sort] else _IMAGE_FORM_CARDS
        for keyword, count in Counter(hdu.header.keys()).items():
            if not pattern.fullmatch(keyword) or count > 1:
                words = "writes no" if count == 1 else "writes only one"
                raise Differs(f"ccdflow {words} card {keyword} into {hdu.name}")
    first_header = hdus[0].header
    check_order(first_header, None, _ORDER_BY_SORT[sort], re.compile(""))
    # A folder has another name than the camera where that has unusual characters.
    camera = path.parent if sort == "bad_pixels_" else path.parent.parent
    if re.fullmatch(r"[a-z0-9_]+", camera.name):
        check_text(first_header, "CCDFCAM", camera.name)
    if sort != "bad_pixels_" and re.fullmatch(r"\d{4}-\d\d-\d\d", path.parent.name):
        check_text(first_header, "NIGHT", path.parent.name)
    if sort == "bad_pixels_" and not path.name.startswith(
        f"bad_pixels_{first_header.get('EPOCH')}_"
    ):
        raise Differs(f"EPOCH is that of {path.name}, and its card has {first_header.get('EPOCH')}")
    if sort == "shutter_":
        check_text(first_header, "BUNIT", "s")


def _check_hdus(hdus, sort):
    """Raise unless the HDUs are those of a product of this sort."""
    tables = _TABLES_BY_SORT[sort]
    columns_by_table = {hdu.name: hdu.columns.names for hdu in hdus[1:] if hasattr(hdu, "columns")}
    # Older results: nights closed before version 4 of the measurement have no column DEEP.
    columns_of_older_tables = {
        name: [column for column in columns if column != "DEEP"] for name, columns in tables.items()
    }
    if columns_by_table not in (tables, columns_of_older_tables):
        raise Differs(f"its tables should be {tables}, and are {columns_by_table}")
    bitpix_by_name = _IMAGES[sort]
    images = [hdu for hdu in hdus[1:] if not hasattr(hdu, "columns")]
    if len(images) + len(columns_by_table) != len(hdus) - 1 or bool(images) != bool(bitpix_by_name):
        raise Differs(f"its HDUs are not those of such a product: {[hdu.name for hdu in hdus[1:]]}")
    for hdu in images:
        kind = re.sub(r"\d+$", "", hdu.name)
        if kind not in bitpix_by_name or hdu.header["BITPIX"] != bitpix_by_name[kind]:
            raise Differs(
                f"an image should be one of {', '.join(bitpix_by_name)} with the BITPIX"
                f" {', '.join(map(str, bitpix_by_name.values()))}, and {hdu.name} has"
                f" {hdu.header['BITPIX']}"
            )
