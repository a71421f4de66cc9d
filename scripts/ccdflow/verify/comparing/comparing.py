"""The comparison of a product with the same made again: sums, cards, figures, pixels."""

from __future__ import annotations

import io
import math
import warnings
import zlib

import numpy as np
from astropy.io import fits

from ccdflow.errors import is_own_fault

RELATIVE_ROUNDING, ABSOLUTE_ROUNDING = 1e-5, 1e-9
"""Relative and absolute difference of two figures that is rounding: cards have six digits."""

DERIVED_ROUNDING = 2e-5
"""Relative difference that is rounding in a figure made of others with six digits."""

NEAR_LIMIT_OF_CARD = 1e-4
"""Part of a limit within which a pixel may be on either side of it: cards have six digits."""

# Cards that no pixel determines, with the values that they have in all products.
_STRUCTURE = (("SIMPLE", True), ("EXTEND", True), ("GCOUNT", 1))


class Differs(Exception):
    """A product that differs from the same made again.

    Parameters
    ----------
    reason : str
        The difference, in words.
    largest : float
        Largest difference of a pixel, in the image's unit; NaN if it is none of pixels.
    pixels : int
        Number of pixels that were compared, as in a verdict; 0 if it is none of pixels.
    """

    def __init__(self, reason, largest=float("nan"), pixels=0):
        super().__init__(reason)
        self.largest, self.pixels, self.unit = largest, pixels, ""


def check_sums(content):
    """Return the DATASUM of the first HDU with data, and the CRC-32 of all headers.

    Returns
    -------
    datasum : str
        '0' if no HDU has data.
    headers : str
        Eight hexadecimal digits.

    Raises
    ------
    Differs
        Unless every HDU has a CHECKSUM and DATASUM, and both are right for its bytes.

    Notes
    -----
    The FITS standard has the 32-bit ones' complement sum of all words of an HDU be -0. It is taken
    of the bytes as they are: astropy takes it of the header as it would write it.
    """
    with warnings.catch_warnings():
        # Cards of the camera that break the standard are kept as they are.
        warnings.simplefilter("ignore")
        try:
            # The checksums of tiles are in the header of the table that holds the tiles.
            as_stored = {"lazy_load_hdus": False, "disable_image_compression": True}
            with fits.open(io.BytesIO(content), **as_stored) as hdus:
                headers = [hdu.header for hdu in hdus]
                extents = [hdu.fileinfo() for hdu in hdus]
        except Exception as error:
            # Any error of astropy means that the file is not as it was written.
            if is_own_fault(error):
                raise
            raise Differs(f"its headers cannot be read: {error}") from None
    end, first, cards, content = 0, "0", 0, memoryview(content)
    for number, (header, extent) in enumerate(zip(headers, extents, strict=True)):
        if not {"CHECKSUM", "DATASUM"} <= set(header):
            raise Differs(f"HDU {number} has no checksum")
        start, end = extent["datLoc"], extent["datLoc"] + extent["datSpan"]
        if _sum_of_words(content[extent["hdrLoc"] : end]) != 0xFFFFFFFF:
            raise Differs(f"the checksum of HDU {number} is wrong")
        cards = zlib.crc32(content[extent["hdrLoc"] : start], cards)
        datasum = str(_sum_of_words(content[start:end]))
        if datasum != str(header["DATASUM"]).strip():
            raise Differs(f"the DATASUM of HDU {number} is wrong")
        first = datasum if first == "0" and end > start else first
        _check_structure(header, number)
        if any(content[start + _bytes_of(header) : end]):
            raise Differs(f"bytes behind the pixels of HDU {number} are not 0")
    if end != len(content):
        raise Differs("bytes are behind its last HDU, or are missing there")
    return first, f"{cards:08x}"


def _check_structure(header, number):
    """Raise unless the cards that the standard prescribes have the values of a product."""
    for keyword, value in _STRUCTURE:
        if keyword in header and header[keyword] != value:
            raise Differs(
                f"{keyword} of HDU {number} is {value}, and its card has {header[keyword]}"
            )


def _bytes_of(header):
    """Return the bytes of the data of an HDU, without those that fill its last block."""
    axes = [header[f"NAXIS{axis}"] for axis in range(1, header["NAXIS"] + 1)]
    count = math.prod(axes) if axes else 0
    groups = header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + count)
    return abs(header["BITPIX"]) // 8 * groups


def _sum_of_words(content):
    """Return the 32-bit ones' complement sum of big-endian words."""
    total = int(np.frombuffer(content, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def check_value(keyword, card_value, value, *, rtol=RELATIVE_ROUNDING, atol=ABSOLUTE_ROUNDING):
    """Raise unless a card has a value, to the digits that it is written with.

    Parameters
    ----------
    keyword : str
    card_value : object
        The value of the card; None where there is none.
    value : float
        Made again.
    rtol : float
        Allowed difference, relative.
    atol : float
        Allowed difference, absolute.

    Raises
    ------
    Differs
        If the values differ by more than the digits, or the value made again is no number: a
        product has no card of it.
    """
    if card_value is None:
        raise Differs(f"there is no card {keyword}, which would have {value:.6g}")
    is_number = not isinstance(card_value, str) and math.isfinite(value)
    if not (is_number and abs(card_value - value) <= rtol * abs(value) + atol):
        raise Differs(f"{keyword} is {value:.6g}, and its card has {card_value}")


def check_figure(header, keyword, value, *, rtol=RELATIVE_ROUNDING, atol=ABSOLUTE_ROUNDING):
    """Raise unless a card of a header has a value, to the digits that it is written with.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    value : float
        Made again.
    rtol : float
        Allowed difference, relative.
    atol : float
        Allowed difference, absolute.

    Raises
    ------
    Differs
        If the figures differ by more than the tolerance.
    """
    check_value(keyword, header.get(keyword), value, rtol=rtol, atol=atol)


def check_bits(mask, possible_bits):
    """Raise if a mask has bits that no product of its sort can have.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), integers, any byte order
    possible_bits : int or numpy.ndarray of shape (ny, nx), any integer type
        The bits, of all pixels or of each.

    Raises
    ------
    Differs
        If any pixel has such a bit.
    """
    if n_wrong := np.count_nonzero(mask & ~np.asarray(possible_bits, mask.dtype)):
        raise Differs(f"{n_wrong} pixels of the mask have bits that no mask of its kind has")


def words_on_differing(count):
    """Return the words for pixels that differ: at least these, as one part may end the search."""
    return f"at least {count} pixel{' differs' if count == 1 else 's differ'}"


def check_text(header, keyword, value):
    """Raise unless a card has a text.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    value : str or int
        Made again.

    Raises
    ------
    Differs
        If the texts differ.
    """
    card_value = header.get(keyword)
    if str(card_value).strip() != str(value).strip():
        raise Differs(f"{keyword} is {value}, and its card has {card_value}")


def other_bits(product, remade):
    """Return how many pixels have other bits than made again, and the largest difference, adu.

    NaN as numpy writes it, of either sign, counts as one value; 0 and -0 are two.

    Parameters
    ----------
    product, remade : numpy.ndarray of any shape, any type, any byte order
        The product's pixels, and those made again.

    Returns
    -------
    (int, float)

    Raises
    ------
    Differs
        If the shapes differ.
    """
    if product.shape != remade.shape:
        raise Differs(f"its shape is {product.shape}, and ccdproc gives {remade.shape}")
    remade = remade.astype(product.dtype)
    if remade.tobytes() == product.tobytes():
        return 0, 0.0
    is_same = (product == remade) & (np.signbit(product) == np.signbit(remade))
    are_nan = np.isnan(product) & np.isnan(remade)
    is_same[are_nan] = _is_sound_nan(product[are_nan], remade[are_nan])
    with np.errstate(invalid="ignore"):
        difference = np.abs(product[~is_same].astype(np.float64) - remade[~is_same])
    finite_values = difference[np.isfinite(difference)]
    return int(np.count_nonzero(~is_same)), float(finite_values.max(initial=0.0))


def _bits_of(values):
    """Return floating-point numbers as whole numbers of the same bits, without their sign."""
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    bits = native.view(f"u{native.itemsize}")
    return bits & np.array((1 << 8 * native.itemsize - 1) - 1, bits.dtype)


def _is_sound_nan(product, remade):
    """Return for each NaN of a product whether it is numpy's, or has the bits of one made again."""
    is_plain = _bits_of(product) == _bits_of(np.full(1, np.nan, product.dtype))
    # The NaN of a raw frame keeps its bits, except for bits that float32 has no room for.
    bits_of_remade = np.unique(_bits_of(remade.astype(np.float32)))
    return is_plain | np.isin(_bits_of(product.astype(np.float32)), bits_of_remade)


def are_within(values, remade, limits):
    """Return for each pair of numbers whether they differ by a limit at most.

    NaN is like NaN alone, and an infinite number like itself alone. A limit that is not finite
    allows no difference.

    Parameters
    ----------
    values, remade : numpy.ndarray of one shape, floats, any byte order
        Numbers of the product, and those made again.
    limits : float or numpy.ndarray of that shape, float64
        Allowed differences.

    Returns
    -------
    numpy.ndarray of that shape, bool
    """
    with np.errstate(invalid="ignore"):
        differences = np.abs(values - remade)
    is_near = np.isfinite(differences) & np.isfinite(limits) & (differences <= limits)
    return is_near | (values == remade) | (np.isnan(values) & np.isnan(remade))


def difference_within(image, remade, dtype, steps, scale=1.0, *, allowance=0.0):
    """Return the largest difference, if none is beyond steps of the numbers' type, and `allowance`.

    An infinite pixel is like the same infinity alone.

    Parameters
    ----------
    image, remade : numpy.ndarray of any shape, floats, any byte order
        The product's pixels, and those made again.
    dtype : dtype
        Type whose steps count.
    steps : float
        Allowed steps.
    scale : float or numpy.ndarray of the same shape, float64
        Least value at which a step is taken.
    allowance : float
        Allowed beside the steps, adu.

    Returns
    -------
    float

    Raises
    ------
    Differs
        If a pixel differs by more.
    """
    if image.shape != remade.shape:
        raise Differs(f"its shape is {image.shape}, and ccdproc gives {remade.shape}")
    is_empty = np.isnan(image)
    if (is_empty != np.isnan(remade)).any():
        raise Differs("pixels without a value are not those that ccdproc gives")
    if is_empty.any() and not _is_sound_nan(image[is_empty], remade[is_empty]).all():
        raise Differs("pixels without a value have other bits than those that ccdproc gives")
    limits = steps * np.finfo(dtype).eps * np.maximum(np.abs(remade), scale) + allowance
    n_wrong = int(np.count_nonzero(~are_within(image, remade, limits)))
    with np.errstate(invalid="ignore"):
        differences = np.abs(image - remade)
    largest = float(differences[np.isfinite(differences)].max(initial=0.0))
    if n_wrong:
        raise Differs(words_on_differing(n_wrong), largest, image.size)
    return largest
