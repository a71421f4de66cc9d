"""Rows of the sources of products: headers are read once, pixels only where they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from astropy.io import fits

from ccdflow.verify.reading.verdict import MISSING, SOURCE_REPLACED, UNREADABLE, CannotRemake

# Bytes of a FITS block.
_BLOCK_BYTES = 2880
# numpy's types of pixels in a file by BITPIX.
_TYPES_BY_BITPIX = {-32: ">f4", -64: ">f8", 8: "u1", 16: ">i2", 32: ">i4"}


@dataclass(frozen=True)
class StoredPixels:
    """The place and type of an HDU's pixels in its file; products are stored unscaled.

    Attributes
    ----------
    offset : int
        Bytes before the first pixel.
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
    """Return the `StoredProduct` of a file; its headers are read once for all bands of rows.

    Raises
    ------
    CannotRemake
        If the file is empty.
    OSError
        If the file cannot be read.
    """
    status = path.stat()
    if not status.st_size:
        raise CannotRemake(f"{path.name}, which it is made of, is empty", UNREADABLE)
    return _read_product(path, status.st_size, status.st_mtime_ns)


# A product has up to hundreds of members and masters, and each is opened for each band of rows.
# 4096 entries hold the headers of many products. With fewer than hundreds, each band would read all
# headers again.
@lru_cache(maxsize=4096)
def _read_product(path, size, time):
    """Return the `StoredProduct` of a file that has this size and time."""
    images, first_header, number = {}, None, 0
    with path.open("rb") as file:
        while file.tell() < size:
            header = fits.Header.fromfile(file)
            first_header = header if first_header is None else first_header
            shape = [header[f"NAXIS{axis}"] for axis in range(header["NAXIS"], 0, -1)]
            start = file.tell()
            if len(shape) == 2:
                image = StoredPixels(
                    start, tuple(shape), np.dtype(_TYPES_BY_BITPIX[header["BITPIX"]]), header
                )
                images[number] = image
                images.setdefault(header.get("EXTNAME", ""), image)
            n_bytes = abs(header["BITPIX"]) // 8 * prod(shape) if shape else 0
            n_bytes += header.get("PCOUNT", 0)
            file.seek(start + -(-n_bytes // _BLOCK_BYTES) * _BLOCK_BYTES)
            number += 1
    return StoredProduct(first_header, images)


def rows_of(path, hdu, rows, noun, cut=None):
    """Return some rows of an image in a file, or of a part of the image.

    Parameters
    ----------
    path : pathlib.Path
    hdu : int or str
    rows : slice or numpy.ndarray of shape (k,), int
        A slice must have no step.
    noun : str
        The noun for the file in an error.
    cut : (slice, slice), optional
        The part of the image whose rows are counted; the whole image by default.

    Returns
    -------
    numpy.ndarray of shape (k, nx)
        In the byte order of the machine.

    Raises
    ------
    CannotRemake
        If the file is missing, or empty.
    OSError
        If the file cannot be read.
    """
    if not path.is_file():
        raise CannotRemake(f"its {noun} {path.name} is missing", MISSING)
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
        The noun for the master in an error.
    results : pathlib.Path
        The results folder.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    CannotRemake
        If the master is missing, or another one has its name now.
    """
    path = results / master.name
    if not path.is_file():
        raise CannotRemake(f"its {kind} {master.name} is missing", MISSING)
    if open_product(path).first_header["CCDFKEY"] != master.key:
        reason = f"its {kind} {master.name} was replaced by another"
        raise CannotRemake(reason, SOURCE_REPLACED)
    return path
