"""The places of the members' pixels in files, and the reading of these pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io.fits.verify import VerifyError

from ccdflow.errors import CHECK_FILE, MAKE_AGAIN, DamagedProduct, FrameError, action_of
from ccdflow.files import file_access, fits_structure
from ccdflow.files.cards import card_value

MOST_OPEN_FILES = 200
"""The files of at most this many members stay open: Linux allows a process 1024 open files."""

# The remedy for a file that cannot be combined.
_REDUCED_REMEDY = "give reduced frames, as ccdflow writes them"


@dataclass(frozen=True)
class Member:
    """The place of a member's pixels: an uncompressed big-endian float image in a file.

    Attributes
    ----------
    path : path-like
        The file.
    offset : int
        Bytes of the file before the pixels.
    shape : tuple of int
        ``(ny, nx)``.
    dtype : {'>f4', '>f8'}
        Type of the pixels.
    """

    path: str | os.PathLike
    offset: int
    shape: tuple[int, int]
    dtype: str = ">f4"


def member_of_file(path, *, hdu=0, is_mask=False):
    """Return an image of a reduced frame as a `Member`.

    Parameters
    ----------
    path : path-like
        An uncompressed FITS file.
    hdu : int or str, optional
        Number or EXTNAME of the image.
    is_mask : bool, optional
        Whether the image is a mask, of whole numbers.

    Returns
    -------
    Member

    Raises
    ------
    FrameError
        If the image is missing, is not a plain two-dimensional float image, or the file ends
        before its pixels do.
    """
    header, offset, size = _read_header(path, hdu)
    # A mask has bytes or integers, an image numbers of single or double precision.
    type_of_bitpix = {8: "u1", 16: ">i2"} if is_mask else {-32: ">f4", -64: ">f8"}
    is_two_dimensional = header.get("NAXIS") == 2
    if not is_two_dimensional or header.get("BITPIX") not in type_of_bitpix:
        image_words = "mask of uint8 or int16" if is_mask else "image of float32 or float64 pixels"
        keyword = "BITPIX" if is_two_dimensional else "NAXIS"
        raise FrameError(
            f"cannot be combined: not a two-dimensional {image_words}",
            file=path,
            keyword=keyword,
            value=header.get(keyword),
            allowed=", ".join(map(str, type_of_bitpix)) if is_two_dimensional else 2,
            remedy=_REDUCED_REMEDY,
        )
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0:
        raise FrameError(
            "cannot be combined: the pixels are scaled",
            file=path,
            keyword="BSCALE",
            allowed="reduced frames, of floating point",
            remedy="reduce the raw frame first",
        )
    shape = (header["NAXIS2"], header["NAXIS1"])
    dtype = type_of_bitpix[header["BITPIX"]]
    bytes_needed = offset + shape[0] * shape[1] * np.dtype(dtype).itemsize
    if size < bytes_needed:
        raise DamagedProduct(
            "cannot be combined: the file ends before its pixels do",
            file=path,
            keyword="bytes",
            value=size,
            allowed=f"{bytes_needed} bytes or more",
            remedy=MAKE_AGAIN,
        )
    return Member(path, offset, shape, dtype)


def _read_header(path, hdu):
    """Return the header of an image, the offset of its pixels, and the size of its file.

    Raises
    ------
    FrameError
        If the file cannot be read, has no such image, or is no FITS file.
    """
    try:
        with open(path, "rb", opener=file_access.open_at_once) as file:
            header, offset = _find_hdu(file, hdu)
            return header, offset, file.seek(0, os.SEEK_END)
    except OSError as error:
        reason = f"cannot be combined: it cannot be read ({error.strerror or error})"
        raise FrameError(reason, file=path, remedy=action_of(error, CHECK_FILE)) from error
    except EOFError as error:
        raise DamagedProduct(
            f"cannot be combined: {error}", file=path, remedy=_REDUCED_REMEDY
        ) from error
    except (ValueError, KeyError, TypeError, VerifyError) as error:
        raise DamagedProduct(
            "cannot be combined: not a FITS file", file=path, remedy=_REDUCED_REMEDY
        ) from error


def unit_of_image(path, *, hdu=0):
    """Return the unit of an image for which `member_of_file` gave a `Member`; '' without a unit.

    Parameters
    ----------
    path : path-like
    hdu : int or str, optional
        Number or EXTNAME of the image.

    Returns
    -------
    str
    """
    with Path(path).open("rb") as file:
        header, _ = _find_hdu(file, hdu)
    unit = card_value(header, "BUNIT")
    return unit.strip() if isinstance(unit, str) else ""


def _find_hdu(file, hdu):
    """Return the header of the HDU with this number or EXTNAME, and the offset of its pixels.

    Raises
    ------
    ValueError
        If the file is no FITS file.
    EOFError
        If there is no such HDU.
    """
    if file.read(6) != b"SIMPLE":
        raise ValueError("not a FITS file")
    number = offset = 0
    while True:
        try:
            text = fits_structure.read_header_bytes(file, offset)
        except EOFError:
            raise EOFError(f"there is no HDU {hdu!r}") from None
        header = fits_structure.parse_header(text)
        offset += len(text)
        if hdu in (number, card_value(header, "EXTNAME")):
            return header, offset
        offset += header.data_size_padded
        number += 1


def _open_member(path):
    """Return the descriptor of a file; raise `FrameError` if it cannot be opened."""
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise FrameError(
            f"cannot be read: {error.strerror}",
            file=path,
            remedy=action_of(error, CHECK_FILE),
        ) from error


def _fill_with_pixels(descriptor, member, start, out):
    """Fill `out`, shape (k,), with the pixels from `start` on.

    Parameters
    ----------
    descriptor : int
        Descriptor of the open file.
    member : Member
    start : int
        Pixel of the flattened image.
    out : numpy.ndarray of shape (k,)
        In the type of the file; filled in place.

    Raises
    ------
    FrameError
        If the file cannot be read, or ends before these pixels do.
    """
    view = memoryview(out).cast("B")
    position = member.offset + start * out.itemsize
    while len(view):
        try:
            count = os.preadv(descriptor, [view], position)
        except OSError as error:
            raise FrameError(
                f"cannot be read: {error.strerror}",
                file=member.path,
                remedy=action_of(error, CHECK_FILE),
            ) from error
        if count == 0:
            raise DamagedProduct(
                "ends before its pixels do",
                file=member.path,
                keyword="bytes",
                value=position,
                allowed=f"{position + len(view)} or more",
                remedy=MAKE_AGAIN,
            )
        view, position = view[count:], position + count


def file_reader(members, exit_stack):
    """Return a function that reads pixels of members, ``read(index, start, out)``.

    Parameters
    ----------
    members : sequence of Member
    exit_stack : contextlib.ExitStack
        Closes the files of a small number of members, which are open from now on.

    Returns
    -------
    callable
        Fills ``out`` with pixels of member ``index`` from pixel ``start`` on; raises `FrameError`
        if the file cannot be read or ends early.

    Raises
    ------
    FrameError
        If a file of a small number of members cannot be opened.
    """
    if len(members) > MOST_OPEN_FILES:

        def read(index, start, out):
            """Open the file of a member, and fill `out` with its pixels from `start` on."""
            descriptor = _open_member(members[index].path)
            try:
                _fill_with_pixels(descriptor, members[index], start, out)
            finally:
                os.close(descriptor)

        return read

    descriptors = []
    for member in members:
        descriptors.append(_open_member(member.path))
        exit_stack.callback(os.close, descriptors[-1])

    def read(index, start, out):
        """Fill `out` with the pixels of a member from `start` on."""
        _fill_with_pixels(descriptors[index], members[index], start, out)

    return read
