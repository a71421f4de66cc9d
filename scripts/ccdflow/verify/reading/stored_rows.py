"""Rows of products that others are made of: headers are read once, pixels only where needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from astropy.io import fits

from ccdflow.verify.reading.verdict import MISSING, SOURCE_REPLACED, UNREADABLE, CannotRemake

# Bytes of a FITS block.
_BLOCK = 2880
# Types of pixels in a file by BITPIX.
_TYPE_OF_BITPIX = {-32: ">f4", -64: ">f8", 8: "u1", 16: ">i2", 32: ">i4"}


@dataclass(frozen=True)
class StoredPixels:
    """Where the pixels of an HDU are in its file: products are stored unscaled.

    Attributes
    ----------
    offset : int
        Bytes.
    shape : (int, int)
        (ny, nx).
    dtype : numpy.dtype
    header : astropy.io.fits.Header
    """

    offset: int
    shape: tuple[int, int]
    dtype: np.dtype
    header: fits.Header


@dataclass(frozen=True)
class StoredProduct:
    """A product's first header, and its images by number and by name."""

    first_header: fits.Header
    images: dict[int | str, StoredPixels]


def open_product(path):
    """Return the `StoredProduct` of a product; its headers are read once for all bands of rows.

    Raises
    ------
    CannotRemake
        If the file is empty.
    OSError
        If it cannot be read.
    """
    status = path.stat()
    if not status.st_size:
        raise CannotRemake(f"{path.name}, which it is made of, is empty", UNREADABLE)
    return _read_product(path, status.st_size, status.st_mtime_ns)


# A product has up to hundreds of members and masters, each opened for each band of rows: 4096
# entries hold the headers of many products. With fewer than hundreds, each header would be read
# anew for each band.
@lru_cache(maxsize=4096)
def _read_product(path, size, time):
    """Read the `StoredProduct` of a file; size and time make a replaced file another one."""
    images, first_header, number = {}, None, 0
    with path.open("rb") as file:
        while file.tell() < size:
            header = fits.Header.fromfile(file)
            first_header = header if first_header is None else first_header
            shape = [header[f"NAXIS{axis}"] for axis in range(header["NAXIS"], 0, -1)]
            start = file.tell()
            if len(shape) == 2:
                image = StoredPixels(
                    start, tuple(shape), np.dtype(_TYPE_OF_BITPIX[header["BITPIX"]]), header
                )
                images[number] = image
                images.setdefault(header.get("EXTNAME", ""), image)
            length = abs(header["BITPIX"]) // 8 * prod(shape) if shape else 0
            length += header.get("PCOUNT", 0)
            file.seek(start + -(-length // _BLOCK) * _BLOCK)
            number += 1
    return StoredProduct(first_header, images)


def rows_of(path, hdu, rows, word, cut=None):
    """Return some rows of an image in a file, or of a part of it, native.

    Parameters
    ----------
    path : pathlib.Path
    hdu : int or str
    rows : slice or numpy.ndarray of shape (k,), int
        A slice has no step.
    word : str
        The word for it in the reason.
    cut : (slice, slice), optional
        The part of which the rows are; the whole image by default.

    Returns
    -------
    numpy.ndarray of shape (k, nx)
        In the byte order of the machine.

    Raises
    ------
    CannotRemake
        If the file is gone, or empty.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise CannotRemake(f"its {word} {path.name} is missing", MISSING)
    image = open_product(path).images[hdu]
    native, nx = image.dtype.newbyteorder("="), image.shape[1]
    if isinstance(rows, slice) and cut is None:
        low, high, _ = rows.indices(image.shape[0])
        offset, count = image.offset + low * nx * image.dtype.itemsize, (high - low) * nx
        pixels = np.fromfile(path, image.dtype, count, offset=offset)
        return pixels.reshape(-1, nx).astype(native)
    pixels = np.memmap(path, image.dtype, "r", offset=image.offset, shape=image.shape)
    pixels = pixels if cut is None else pixels[cut]
    return np.array(pixels[rows], dtype=native)


def master_file(master, kind, results):
    """Return the path of a master that a header names.

    Parameters
    ----------
    master : ccdflow.verify.reading.accounts.NamedMaster
    kind : str
        The word for it in the reason.
    results : pathlib.Path
        The results folder.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    CannotRemake
        If it is gone, or another has its name now.
    """
    path = results / master.name
    if not path.is_file():
        raise CannotRemake(f"its {kind} {master.name} is missing", MISSING)
    if open_product(path).first_header["CCDFKEY"] != master.key:
        reason = f"its {kind} {master.name} was replaced by another"
        raise CannotRemake(reason, SOURCE_REPLACED)
    return path
