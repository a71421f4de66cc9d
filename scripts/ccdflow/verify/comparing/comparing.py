"""The comparison of a product with the remade one: sums, cards, figures, pixels."""

from __future__ import annotations

import io
import math
import warnings
import zlib

import numpy as np
from astropy.io import fits

from ccdflow.errors import is_own_fault

RELATIVE_ROUNDING, ABSOLUTE_ROUNDING = 1e-5, 1e-9
"""Relative and absolute difference of figures that is due to rounding: cards have six digits."""

DERIVED_ROUNDING = 2e-5
"""Relative difference that is due to rounding in figures that follow from cards of six digits."""

NEAR_LIMIT_OF_CARD = 1e-4
"""Fraction of a limit within which a pixel may be on either side: the cards have six digits."""

# Cards on the structure of a file, with their values in all products.
_STRUCTURE_CARDS = (("SIMPLE", True), ("EXTEND", True), ("GCOUNT", 1))


class Differs(Exception):
    """A product that differs from the remade one.

    Parameters
    ----------
    reason : str
        The difference, in words.
    largest : float, optional
        Largest difference of a pixel, in the unit of the image; NaN if something else differs.
    pixels : int, optional
        Number of pixels that were compared; 0 if something else differs.

    Attributes
    ----------
    unit : str
        Unit of the largest difference; '' until a handler sets it.
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
    checksum_of_headers : str
        Eight hexadecimal digits.

    Raises
    ------
    Differs
        If the headers cannot be read, an HDU lacks CHECKSUM or DATASUM, one is wrong for its bytes,
        or there are bytes after the pixels of an HDU.

    Notes
    -----
    By the FITS standard the 32-bit ones' complement sum of all words of an HDU is -0. Here the sum
    is that of the stored bytes; astropy would sum the header as it would write it.
    """
    with warnings.catch_warnings():
        # A product keeps cards of the camera that break the standard, and astropy warns of them.
        warnings.simplefilter("ignore")
        try:
            # The header of the table that holds tiles has their checksums.
            as_stored = {"lazy_load_hdus": False, "disable_image_compression": True}
            with fits.open(io.BytesIO(content), **as_stored) as hdus:
                headers = [hdu.header for hdu in hdus]
                extents = [hdu.fileinfo() for hdu in hdus]
        except Exception as error:
            # Any error of astropy means that the file is not as it was written.
            if is_own_fault(error):
                raise
            raise Differs(f"its headers cannot be read: {error}") from None
    end, datasum_of_first, checksum_of_headers, content = 0, "0", 0, memoryview(content)
    for number, (header, extent) in enumerate(zip(headers, extents, strict=True)):
        if not {"CHECKSUM", "DATASUM"} <= set(header):
            raise Differs(f"HDU {number} has no checksum")
        start, end = extent["datLoc"], extent["datLoc"] + extent["datSpan"]
        if _sum_of_words(content[extent["hdrLoc"] : end]) != 0xFFFFFFFF:
            raise Differs(f"the checksum of HDU {number} is wrong")
        checksum_of_headers = zlib.crc32(content[extent["hdrLoc"] : start], checksum_of_headers)
        datasum = str(_sum_of_words(content[start:end]))
        if datasum != str(header["DATASUM"]).strip():
            raise Differs(f"the DATASUM of HDU {number} is wrong")
        datasum_of_first = datasum if datasum_of_first == "0" and end > start else datasum_of_first
        _check_structure(header, number)
        if any(content[start + _data_bytes(header) : end]):
            raise Differs(f"bytes after the pixels of HDU {number} are not 0")
    if end != len(content):
        raise Differs("bytes are after its last HDU, or are missing there")
    return datasum_of_first, f"{checksum_of_headers:08x}"


def _check_structure(header, number):
    """Raise unless the cards of `_STRUCTURE_CARDS` have their values."""
    for keyword, value in _STRUCTURE_CARDS:
        if keyword in header and header[keyword] != value:
            raise Differs(
                f"{keyword} of HDU {number} is {value}, and its card has {header[keyword]}"
            )


def _data_bytes(header):
    """Return the number of bytes of an HDU's data, without those that fill its last block."""
    axes = [header[f"NAXIS{axis}"] for axis in range(1, header["NAXIS"] + 1)]
    n_values = math.prod(axes) if axes else 0
    n_stored_values = header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + n_values)
    return abs(header["BITPIX"]) // 8 * n_stored_values


def _sum_of_words(content):
    """Return the 32-bit ones' complement sum of big-endian words."""
    total = int(np.frombuffer(content, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def rounding_of_card(value):
    """Return the largest rounding error of a number that a card has with six digits.

    Examples
    --------
    >>> rounding_of_card(10.3152), rounding_of_card(-12345.7), rounding_of_card(0)
    (5e-05, 0.05, 0.0)
    """
    return 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - 5) if value else 0.0


def check_value(keyword, card_value, value, *, rtol=RELATIVE_ROUNDING, atol=ABSOLUTE_ROUNDING):
    """Raise unless the value of a card is a remade value, within its rounding.

    Parameters
    ----------
    keyword : str
    card_value : object
        The value of the card; None where there is none.
    value : float
        Made again.
    rtol : float, optional
        Allowed difference, relative.
    atol : float, optional
        Allowed difference, absolute.

    Raises
    ------
    Differs
        If the values differ by more than the tolerances, or the remade value is not finite: no
        product has a card with it.
    """
    if card_value is None:
        raise Differs(f"there is no card {keyword}, which would have {value:.6g}")
    is_number = not isinstance(card_value, str) and math.isfinite(value)
    if not (is_number and abs(card_value - value) <= rtol * abs(value) + atol):
        raise Differs(f"{keyword} is {value:.6g}, and its card has {card_value}")


def check_figure(header, keyword, value, *, rtol=RELATIVE_ROUNDING, atol=ABSOLUTE_ROUNDING):
    """Raise unless a header has a card with a remade value, within its rounding.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    value : float
        Made again.
    rtol : float, optional
        Allowed difference, relative.
    atol : float, optional
        Allowed difference, absolute.

    Raises
    ------
    Differs
        If the card is absent, or the values differ by more than the tolerances.
    """
    check_value(keyword, header.get(keyword), value, rtol=rtol, atol=atol)


def check_bits(mask, possible_bits):
    """Raise if a mask has bits that no product of its sort can have.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), integers, any byte order
    possible_bits : int or numpy.ndarray of shape (ny, nx), any integer type
        The bits that all pixels, or each pixel, may have.

    Raises
    ------
    Differs
        If any pixel has another bit.
    """
    if n_wrong := np.count_nonzero(mask & ~np.asarray(possible_bits, mask.dtype)):
        raise Differs(f"{n_wrong} pixels of the mask have bits that no mask of its kind has")


def words_on_differing(n_differing):
    """Return the words for the number of pixels that differ: the search may end at a first part."""
    return f"at least {n_differing} pixel{' differs' if n_differing == 1 else 's differ'}"


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


def count_other_bits(product, remade):
    """Return how many pixels have other bits than remade ones, and the largest difference.

    The NaN of numpy counts as one value with either sign; 0 and -0 are two values.

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
    is_same[are_nan] = _are_sound_nans(product[are_nan], remade[are_nan])
    with np.errstate(invalid="ignore"):
        difference = np.abs(product[~is_same].astype(np.float64) - remade[~is_same])
    finite_values = difference[np.isfinite(difference)]
    return int(np.count_nonzero(~is_same)), float(finite_values.max(initial=0.0))


def _bits_of(values):
    """Return the bits of floating-point numbers as integers, without the sign."""
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    bits = native.view(f"u{native.itemsize}")
    return bits & np.array((1 << 8 * native.itemsize - 1) - 1, bits.dtype)


def _are_sound_nans(product, remade):
    """Return which NaNs of a product have the bits of numpy's NaN, or those of a remade NaN."""
    are_plain = _bits_of(product) == _bits_of(np.full(1, np.nan, product.dtype))
    # The NaN of a raw frame keeps its bits, except for bits that float32 has no room for.
    bits_of_remade = np.unique(_bits_of(remade.astype(np.float32)))
    return are_plain | np.isin(_bits_of(product.astype(np.float32)), bits_of_remade)


def are_within(values, remade, limits):
    """Return which pairs of numbers differ by at most a limit.

    NaN agrees only with NaN, and an infinite number only with itself. A limit that is not finite
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
    """Return the largest difference of pixels; raise if one is beyond the allowed steps.

    An infinite pixel agrees only with the same infinity.

    Parameters
    ----------
    image, remade : numpy.ndarray of any shape, floats, any byte order
        The product's pixels, and those made again.
    dtype : dtype
        Type of numbers whose steps are allowed.
    steps : float
        Number of allowed steps.
    scale : float or numpy.ndarray of the same shape, float64, optional
        Least value whose steps count.
    allowance : float, optional
        Difference that is allowed beside the steps, in the unit of the pixels.

    Returns
    -------
    float

    Raises
    ------
    Differs
        If a pixel differs by more, or is NaN in one image alone, or the shapes differ.
    """
    if image.shape != remade.shape:
        raise Differs(f"its shape is {image.shape}, and ccdproc gives {remade.shape}")
    is_empty = np.isnan(image)
    if (is_empty != np.isnan(remade)).any():
        raise Differs("pixels without a value are not those that ccdproc gives")
    if is_empty.any() and not _are_sound_nans(image[is_empty], remade[is_empty]).all():
        raise Differs("pixels without a value have other bits than those that ccdproc gives")
    limits = steps * np.finfo(dtype).eps * np.maximum(np.abs(remade), scale) + allowance
    n_wrong = int(np.count_nonzero(~are_within(image, remade, limits)))
    with np.errstate(invalid="ignore"):
        differences = np.abs(image - remade)
    largest = float(differences[np.isfinite(differences)].max(initial=0.0))
    if n_wrong:
        raise Differs(words_on_differing(n_wrong), largest, image.size)
    return largest
