"""The header of a reduced frame: what was done, by whom, from what; and no card that is stale."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from urllib.parse import quote

from astropy.io import fits

from ccdflow import __version__, fitsio
from ccdflow.sections import Region

# Cards that describe how the raw array was stored; those of the product are written anew.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|BUNIT|CHECKSUM"
    r"|DATASUM|END|NEXTEND|INHERIT|EXTNAME|EXTVER|EXTLEVEL|DATAMIN|DATAMAX"
    r"|Z(IMAGE|TENSION|SIMPLE|EXTEND|CMPTYPE|BLANK|SCALE|ZERO|QUANTIZ|DITHER0|HECKSUM|DATASUM"
    r"|PCOUNT|GCOUNT|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+)"
    r"|TFIELDS|TTYPE\d+|TFORM\d+|TUNIT\d+|THEAP"
)
# Sections of the raw array, which after trimming point at pixels that are no longer there.
_RAW_SECTIONS = (
    "BIASSEC", "TRIMSEC", "DATASEC", "CCDSEC", "DETSEC", "AMPSEC", "PRESCAN", "OVERSCAN",
    "LTV1", "LTV2", "LTM1_1", "LTM2_2", "LTM1_2", "LTM2_1",
)  # fmt: skip
_RAW_SECTION_NUMBERED = re.compile(r"(BIASSEC|TRIMSEC|DATASEC|CCDSEC|DETSEC|AMPSEC|[ABCDT]SEC)\d+")
_WCS = re.compile(
    r"(CRPIX|CRVAL|CDELT|CTYPE|CUNIT|CROTA|PC\d+_|CD\d+_|PV\d+_|WCSAXES|WCSNAME|LONPOLE|LATPOLE)"
    r"\w*|WCSDIM|WAT\d_\d+"
)

# Beyond it, a string goes on in CONTINUE cards.
_LONGEST_STRING = 68


@cache
def versions():
    """Return the versions that products name, as (keyword, version, comment)."""
    return (
        ("CCDFLOW", __version__, "reduced by ccdflow, version"),
        ("CCDPVER", version("ccdproc"), "ccdproc, whose arithmetic it is, version"),
        ("ASTRPVER", version("astropy"), "astropy version"),
        ("NUMPYVER", version("numpy"), "numpy version"),
    )


def product_parts(headers, geometry, recipe, reduced, *, file, fingerprint, key):
    """Return the header and data units of a reduced frame, in the order of the file.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        Of the raw file, index = HDU number. Not changed.
    geometry : ccdflow.cameras.Geometry
    recipe : ccdflow.cameras.Recipe
    reduced : ccdflow.reduction.Reduced
    file : str
        The raw file, relative to the raw folder.
    fingerprint, key : str
        Of the raw content, and of the product.

    Returns
    -------
    list of bytes-like
        For `ccdflow.fitsio.write_hdus`.
    """
    many = len(reduced.images) > 1 or reduced.images[0].hdu not in (None, 0)
    as_extensions = many and (geometry.layout == "extensions" or not recipe.trim)
    parts = []
    if as_extensions and (0 not in {image.hdu for image in reduced.images}):
        primary = _kept(headers[0], set())
        _say_what_was_done(primary, geometry, recipe, reduced, file, fingerprint, key)
        parts.append(fitsio.header_bytes(_structured(primary, None, primary=True), 0))
        for image in reduced.images:
            header = _kept(headers[image.hdu], set())
            amplifiers = [a for a in geometry.amplifiers if a.hdu == image.hdu]
            _say_of_amplifiers(header, amplifiers, recipe, reduced)
            _place(header, headers[image.hdu], amplifiers, image.data.shape, recipe)
            name = headers[image.hdu].get("EXTNAME")
            parts += _hdu(header, image, primary=not parts, name=name)
    else:
        header = first_header(
            headers, geometry, recipe, reduced, file=file, fingerprint=fingerprint, key=key
        )
        amplifiers = geometry.amplifiers
        parts += [header, *_data(reduced.images[0])]
        for more in reduced.images[1:]:
            extra = _kept(headers[more.hdu], set())
            own = [a for a in amplifiers if a.hdu == more.hdu]
            _say_of_amplifiers(extra, own, recipe, reduced)
            _place(extra, headers[more.hdu], own, more.data.shape, recipe)
            parts += _hdu(extra, more, primary=False, name=headers[more.hdu].get("EXTNAME"))
    for image in reduced.images:
        if image.mask is not None:
            name = "MASK" if len(reduced.images) == 1 else f"MASK{image.hdu}"
            parts += mask_hdu(image.mask, name)
    return parts


def first_header(headers, geometry, recipe, reduced, *, file, fingerprint, key):
    """Return the bytes of the primary header of a product whose first image is in it.

    Parameters
    ----------
    headers, geometry, recipe, reduced, file, fingerprint, key
        As for `product_parts`.

    Returns
    -------
    bytes
    """
    image = reduced.images[0]
    header = _merged(headers, geometry)
    amplifiers = geometry.amplifiers
    _say_what_was_done(header, geometry, recipe, reduced, file, fingerprint, key)
    _say_of_amplifiers(header, amplifiers, recipe, reduced)
    _place(header, headers[amplifiers[0].hdu], amplifiers, image.data.shape, recipe)
    header["BUNIT"] = ("adu", "unit of the pixels")
    return fitsio.header_bytes(_structured(header, image.data, primary=True), image.words)


def mask_hdu(mask, name):
    """Return header and data of a mask extension (uint8; 1 saturated, 2 not finite, 4 no data)."""
    header = fits.Header()
    header["BUNIT"] = ("", "bits: 1 saturated, 2 not finite, 4 no data")
    return array_hdu(header, mask, name=name)


def array_hdu(header, data, *, name=None, primary=False):
    """Return header and padded data unit of an array, with its checksums.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Without the cards that describe the array.
    data : numpy.ndarray or None
        Shape (ny, nx); uint8, int16, int32, float32 or float64, any byte order; None for a
        primary HDU without an image.
    name : str, optional
        EXTNAME.
    primary : bool

    Returns
    -------
    list of bytes
    """
    raw = b""
    if data is not None:
        raw = data.astype(data.dtype.newbyteorder(">"), copy=False).tobytes()
        raw += b"\0" * (-len(raw) % fitsio.BLOCK)
    structured = _structured(header, data, primary=primary, name=name)
    return [fitsio.header_bytes(structured, fitsio.sum_words(raw)), raw]


def _hdu(header, image, *, primary, name=None):
    header["BUNIT"] = ("adu", "unit of the pixels")
    structured = _structured(header, image.data, primary=primary, name=name)
    return [fitsio.header_bytes(structured, image.words), *_data(image)]


def _data(image):
    return [image.data.reshape(-1).view("u1"), b"\0" * (-image.data.nbytes % fitsio.BLOCK)]


def _structured(header, data, *, primary, name=None):
    """Return a header that begins with the cards that FITS wants first."""
    first = fits.Header()
    if primary:
        first["SIMPLE"] = (True, "conforms to FITS standard")
    else:
        first["XTENSION"] = ("IMAGE", "Image extension")
    bits = 8 if data is None else data.dtype.itemsize * 8 * (-1 if data.dtype.kind == "f" else 1)
    first["BITPIX"] = (bits, "array data type")
    first["NAXIS"] = (0 if data is None else 2, "number of array dimensions")
    if data is not None:
        first["NAXIS1"] = data.shape[1]
        first["NAXIS2"] = data.shape[0]
    if primary:
        first["EXTEND"] = True
    else:
        first["PCOUNT"] = 0
        first["GCOUNT"] = 1
        if name:
            first["EXTNAME"] = name
    first.extend(header.cards, bottom=True, strip=False, unique=False)
    return first


def _kept(header, drop):
    """Return a header without the cards that describe the raw array or stand in ``drop``."""
    kept = fits.Header()
    cards = [
        card
        for card in header.cards
        if not _STRUCTURE.fullmatch(card.keyword) and card.keyword not in drop
    ]
    kept.extend(cards, bottom=True, strip=False, unique=False)
    return kept


def _merged(headers, geometry):
    """Return the primary's cards and those that all the amplifiers' extensions agree on."""
    header = _kept(headers[0], set())
    used = sorted({a.hdu for a in geometry.amplifiers} - {0})
    if not used:
        return header
    have = set(header)
    others = [headers[hdu] for hdu in used[1:]]
    for card in _kept(headers[used[0]], have - {"COMMENT", "HISTORY", ""}).cards:
        same = all(other.get(card.keyword) == card.value for other in others)
        if card.keyword in ("COMMENT", "HISTORY", "") or same:
            header.append(card, bottom=True)
    return header


def _say_what_was_done(header, geometry, recipe, reduced, file, fingerprint, key):
    if "DATE" in header:
        # DATE is when a file was written, which is not true of this one, whose time of making is
        # not told: the same frame always becomes the same bytes.
        header.rename_keyword("DATE", "RAWDATE")
    for keyword in ("RAWFILE", "RAWFP", "CCDFKEY", "CCDFCAM"):
        header.remove(keyword, ignore_missing=True, remove_all=True)
    for keyword, value, comment in versions():
        header.remove(keyword, ignore_missing=True, remove_all=True)
        header[keyword] = (value, comment)
    header["RAWFILE"] = printable(file)
    allow_long_strings(header)
    header["RAWFP"] = (fingerprint, "CRC-32 and length of the raw FITS file")
    header["CCDFKEY"] = (key, "what this product depends on")
    header["CCDFCAM"] = (geometry.camera, f"camera; sections from its {geometry.source}")
    if any(reduced.overscans.values()):
        header["OSCSTAT"] = (recipe.statistic, "statistic across the overscan")
        if recipe.model is not None:
            header["OSCMODEL"] = (recipe.model, "model along the overscan")
            header["OSCORDER"] = (recipe.order, "degree, or number of spline pieces")
            header["OSCSIGMA"] = (recipe.reject_sigma, "rejection of levels, in sigma")
            header["OSCITERS"] = (recipe.reject_iterations, "rounds of rejection at most")


def printable(text):
    """Return a text with percent signs and numbers for what a FITS card cannot hold."""
    return quote(text, safe=" !\"#$&'()*+,/:;<=>?@[\\]^_`{|}~")


def allow_long_strings(header):
    """Add the card that goes with strings that CONTINUE cards carry on, if there are any."""
    if "LONGSTRN" in header:
        return
    texts = (card.value for card in header.cards if isinstance(card.value, str))
    if any(len(text.replace("'", "''")) > _LONGEST_STRING for text in texts):
        header["LONGSTRN"] = ("OGIP 1.0", "the long string convention may be used")


def _say_of_amplifiers(header, amplifiers, recipe, reduced):
    """Write region, level and noise of each amplifier; numbered where there are several."""
    if recipe.trim:
        for keyword in [k for k in header if k in _RAW_SECTIONS or _RAW_SECTION_NUMBERED.match(k)]:
            header.remove(keyword, ignore_missing=True, remove_all=True)
    header["NAMPS"] = (len(amplifiers), "amplifiers in this image")
    for number, amplifier in enumerate(amplifiers, start=1):
        tail = "" if len(amplifiers) == 1 else f"{number:02d}"
        overscan = reduced.overscans[amplifier.name]
        if tail:
            header[f"AMPNAM{tail}"] = (amplifier.name, "amplifier")
            header[f"AMPSEC{tail}"] = (amplifier.place.to_fits(), "where it lies in this image")
        if overscan is not None:
            used = " ".join(strip.to_fits() for strip in amplifier.overscan)
            name = f"OVERSC{tail}" if tail else "OVERSCAN"
            header[name] = (used, "raw pixels of the overscan used")
            header[f"BIASLV{tail}" if tail else "BIASLVL"] = (
                _rounded(overscan.level),
                "[adu] mean level that was subtracted",
            )
            header[f"OVRRMS{tail}" if tail else "OVERRMS"] = (
                _rounded(overscan.noise),
                "[adu] noise of an overscan pixel",
            )
        if recipe.trim:
            name = f"TRIM{tail}"
            header[name] = (amplifier.data.to_fits(), "raw pixels that were kept")
        if amplifier.gain is not None:
            header[f"GAIN{tail}"] = (amplifier.gain, "[electron/adu]")
        if amplifier.name in reduced.flags:
            header[f"AMPBAD{tail}" if tail else "AMPBAD"] = (
                reduced.flags[amplifier.name],
                "throughout this amplifier",
            )


def _rounded(value):
    return float(f"{value:.6g}") if value == value else "unknown"


def _place(header, raw, amplifiers, shape, recipe):
    """Write where the product's pixels lie on the chip, and keep the sky coordinates true."""
    if not recipe.trim:
        return
    whole = Region(0, shape[0], 0, shape[1])
    header["DATASEC"] = (whole.to_fits(), "science pixels in this image")
    shifts = {
        (a.place.y0 - a.data.y0, a.place.x0 - a.data.x0)
        for a in amplifiers
        if not (a.flip_x or a.flip_y)
    }
    flipped = any(a.flip_x or a.flip_y for a in amplifiers)
    if len(shifts) != 1 or flipped:
        stale = sorted({k for k in header if _WCS.fullmatch(k)})
        for keyword in stale:
            header.remove(keyword, ignore_missing=True, remove_all=True)
        if stale:
            header.add_history("ccdflow: sky coordinates of single amplifiers left out")
        return
    dy, dx = shifts.pop()
    for keyword in list(header):
        axis = {"CRPIX1": dx, "CRPIX2": dy}.get(keyword[:6])
        if axis and re.fullmatch(r"CRPIX[12][A-Z]?", keyword):
            header[keyword] = header[keyword] + axis
    header["LTV1"] = (float(dx), "this image = LTM x raw + LTV")
    header["LTV2"] = float(dy)
    header["LTM1_1"] = 1.0
    header["LTM2_2"] = 1.0
    _keep_ccdsec(header, raw, amplifiers)


def _keep_ccdsec(header, raw, amplifiers):
    """Keep CCDSEC and DETSEC, which say where DATASEC lies, where just those pixels are kept."""
    data = raw.get("DATASEC") or raw.get("TRIMSEC")
    if len(amplifiers) != 1 or not isinstance(data, str):
        return
    if Region.from_fits(data, keyword="DATASEC") != amplifiers[0].data:
        return
    for keyword in ("CCDSEC", "DETSEC"):
        if isinstance(raw.get(keyword), str):
            header[keyword] = (raw[keyword], "where they lie on the chip or detector")
