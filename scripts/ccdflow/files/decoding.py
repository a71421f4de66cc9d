"""Decoding the pixels of an HDU: arrays from bytes."""

from __future__ import annotations

import io
import warnings
from math import prod

import numpy as np
from astropy.io import fits
from isal import isal_zlib

from ccdflow.errors import FrameError, is_own_fault, one_line
from ccdflow.files.fits_structure import (
    DTYPES,
    FITS_BLOCK_BYTES,
    Hdu,
    data_size,
    has_end_card,
    image_shape,
    parse_header,
)
from ccdflow.files.scaling import scaling_of

# The unsigned types that FITS stores as signed ones, and the offset between the two, by BITPIX.
_UNSIGNED_TYPES = {16: (np.uint16, 2**15), 32: (np.uint32, 2**31), 64: (np.uint64, 2**63)}

# Integer types as wide as the output of a camera's analogue-to-digital converter, by BITPIX.
_CONVERTER_TYPES = {8: np.uint8, 16: np.int16}


def stored_pixels(data, hdu, name=None):
    """Return the stored pixels of an image HDU as (ny, nx), or its values if they are not plain.

    Parameters
    ----------
    data : memoryview
        The file's bytes.
    hdu : Hdu
    name : str, optional

    Returns
    -------
    stored : numpy.ndarray of shape (ny, nx), any integer or float type
        Of a plain image (`is_plain`) a big-endian view of the stored numbers: for integers with the
        FITS unsigned offset the *stored* signed values. Of an image that is scaled or in tiles the
        values that astropy computes, in native order.
    offset : int
        Number added to the stored integers to get the values: 0, 2**15, 2**31 or 2**63.

    Raises
    ------
    FrameError
        If the HDU holds no two-dimensional image, or its tiles cannot be unpacked.
    """
    if not is_plain(hdu):
        return _values_by_astropy(data, hdu, name), 0
    shape = image_shape(hdu.header, name)
    bitpix = hdu.header["BITPIX"]
    stored = np.frombuffer(data, dtype=DTYPES[bitpix], count=shape[0] * shape[1], offset=hdu.offset)
    offset = 0 if bitpix < 0 else int(scaling_of(hdu.header, name).bzero)
    return stored.reshape(shape), offset


def highest_value(hdu, name=None):
    """Return the highest value that the integers of an image can have, after their scaling.

    Parameters
    ----------
    hdu : Hdu
    name : str, optional

    Returns
    -------
    float or None
        As astropy computes it, in float32 if BSCALE or BZERO scale the integers. None for floats,
        and for integers of more than 16 bits, which no analogue-to-digital converter fills.
    """
    header = hdu.header
    bitpix = header.get("ZBITPIX") if hdu.is_tiled else header["BITPIX"]
    if bitpix not in _CONVERTER_TYPES:
        return None
    scaling = scaling_of(header, name)
    limits = np.iinfo(_CONVERTER_TYPES[bitpix])
    ends = np.array([limits.min, limits.max], np.float32)
    np.multiply(ends, scaling.bscale, out=ends, casting="unsafe")
    ends += np.float32(scaling.bzero)
    return float(ends.max())


def is_plain(hdu):
    """Return whether stored numbers are an image's values, or unsigned values less an offset."""
    return not hdu.is_tiled and _has_plain_scaling(hdu.header)


def _has_plain_scaling(header):
    """Return whether BSCALE, BZERO and BLANK leave the stored numbers, or only offset them."""
    scaling, bitpix = scaling_of(header), header["BITPIX"]
    if scaling.bscale != 1 or scaling.blank is not None:
        return False
    bzero = scaling.bzero
    return bzero == 0 or (bitpix in _UNSIGNED_TYPES and bzero == _UNSIGNED_TYPES[bitpix][1])


def _values_by_astropy(data, hdu, name):
    """Return the values of an image that is scaled or in tiles, (ny, nx), native."""
    index = _index_of(data, hdu)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = (_unpack_tiles if hdu.is_tiled else _decoded_values)(data, index, name)
    if values is None or values.ndim != 2:
        image_shape(hdu.header, name)
    return np.ascontiguousarray(values)


def _decoded_values(data, index, name):
    """Return the values that astropy gives an HDU, or None."""
    with fits.open(io.BytesIO(bytes(data)), memmap=False) as hdus:
        return hdus[index].data


def _unpack_tiles(data, index, name):
    """Return the image of compressed tiles; an error of astropy becomes one of the file."""
    try:
        shape = _checked_shape(data, index)
        return _decoded_values(data, index, name).reshape(shape)
    except (MemoryError, FrameError):
        raise
    except Exception as error:
        # The check of the tiles raises ValueError on purpose.
        if is_own_fault(error) and not isinstance(error, ValueError):
            raise
        raise FrameError(
            f"its compressed tiles cannot be unpacked ({one_line(error)})",
            file=name,
            remedy="copy the file again from where it came from",
        ) from error


def _checked_shape(data, index):
    """Return the image's (ny, nx); raise `ValueError` if its gzip tiles inflate to too many bytes.

    A pixel has at most eight bytes.
    astropy inflates a whole tile before it checks the length.
    """
    with fits.open(io.BytesIO(bytes(data)), disable_image_compression=True) as hdus:
        table = hdus[index]
        names = {"GZIP_COMPRESSED_DATA"} & set(table.columns.names)
        if str(table.header.get("ZCMPTYPE")).startswith("GZIP"):
            names.add("COMPRESSED_DATA")
        shape = image_shape(table.header)
        bytes_left = 8 * prod(shape) + FITS_BLOCK_BYTES
        for tile in (tile for name in names for tile in table.data[name]):
            inflated = isal_zlib.decompressobj(wbits=31).decompress(tile.tobytes(), bytes_left + 1)
            bytes_left -= len(inflated)
            if bytes_left < 0:
                raise ValueError("they inflate to more than the image")
        return shape


def _index_of(data, hdu):
    """Return the number of the HDU whose data start at its offset."""
    offset = index = 0
    while True:
        end = offset
        while not has_end_card(data[end : end + FITS_BLOCK_BYTES]):
            end += FITS_BLOCK_BYTES
        end += FITS_BLOCK_BYTES
        if end == hdu.offset:
            return index
        header = parse_header(bytes(data[offset:end]))
        offset = Hdu(header, end, data_size(header)).end
        index += 1
