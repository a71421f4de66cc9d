"""The HDUs of a frame that hold images, and their shape."""

from __future__ import annotations

import re

from ccdflow.errors import FrameError
from ccdflow.files.cards import as_integer, card_value, has_card, header_value
from ccdflow.files.fits_structure import MOST_AXES

# Matches the name of an extension with a mask of bad pixels.
_MASK = re.compile(
    r"(?:.*[-_ ,])?(?:BPM|(?:PIX)?MASK|BAD[-_ ]?PIX\w*|DQ|FLAGS?|DATAQUAL\w*)(?:[-_ ,]?\w{0,4})",
    re.IGNORECASE,
)

# Matches the name of an extension with a small picture of the frame.
_PREVIEW = re.compile(r"thumb(nail)?s?|preview|quick-?look|icon", re.IGNORECASE)


def image_hdus(headers):
    """Return the indices of the HDUs that hold an image.

    Tables and empty primaries do not count, nor do masks of bad pixels, overscans and small
    pictures of the frame in extensions of their own, if there is another image.

    Examples
    --------
    >>> from astropy.io import fits
    >>> hdus = [fits.PrimaryHDU(), fits.ImageHDU([[1, 2]]), fits.ImageHDU([[0, 1]], name="MASK")]
    >>> image_hdus([hdu.header for hdu in hdus])
    (1,)
    """
    images = [index for index, header in enumerate(headers) if _is_image(header)]
    others = (is_mask, is_overscan, is_preview)
    frames = [i for i in images if not any(is_other(headers[i]) for is_other in others)]
    return tuple(frames or images)


def required_image_hdus(headers, *, file):
    """Return `image_hdus` of a file that must have an image.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    file : str
        Named in the error.

    Returns
    -------
    tuple of int

    Raises
    ------
    FrameError
        If the file has no image.
    """
    images = image_hdus(headers)
    if not images:
        raise FrameError(
            "the file holds no image",
            file=file,
            keyword="NAXIS",
            allowed="two axes in an HDU",
            remedy="move the file out of the raw folder",
        )
    return images


def is_mask(header):
    """Return whether an extension is a mask of bad pixels, by its EXTNAME."""
    return _MASK.fullmatch(str(card_value(header, "EXTNAME") or "")) is not None


def is_preview(header):
    """Return whether an extension is a small picture of the frame, by its EXTNAME."""
    return _PREVIEW.fullmatch(str(card_value(header, "EXTNAME") or "")) is not None


# Matches the name of an extension with an overscan: 'Overscan 1', 'PRESCAN'.
_OVERSCAN = re.compile(r".*(?:over-?scan|ovr?scn?\b|oscan|pre-?scan).*", re.IGNORECASE)


def is_overscan(header):
    """Return whether an extension is the overscan of another HDU, by name or description."""
    texts = (card_value(header, name) for name in ("EXTNAME", "EXTDESC", "DESC", "HDUNAME"))
    return any(isinstance(text, str) and _OVERSCAN.fullmatch(text) for text in texts)


def _is_image(header):
    """Return whether an HDU holds an image with pixels, compressed or not."""
    # The header of a compressed image has XTENSION = 'BINTABLE', but no cards of columns any more.
    extension_type = str(header_value(header, "XTENSION", "IMAGE")).strip()
    is_table = extension_type != "IMAGE" and has_card(header, "TFIELDS")
    return not is_table and min(_axis_lengths(header), default=0) > 0


def _axis_lengths(header):
    """Return NAXIS1, NAXIS2, ...; trailing axes of length 1 are left out."""
    # A damaged card may claim any number.
    n_axes = min(as_integer(header_value(header, "NAXIS")) or 0, MOST_AXES)
    lengths = [as_integer(header_value(header, f"NAXIS{i + 1}")) or 0 for i in range(n_axes)]
    while len(lengths) > 2 and lengths[-1] == 1:
        lengths.pop()
    return lengths


def array_shape(header, *, file=None):
    """Return the shape (ny, nx) of the image of an HDU; trailing axes of length 1 do not count.

    Parameters
    ----------
    header : astropy.io.fits.Header
    file : str, optional
        Named in errors.

    Returns
    -------
    (int, int)

    Raises
    ------
    FrameError
        If the image is not two-dimensional.
    """
    lengths = _axis_lengths(header)
    if len(lengths) != 2:
        raise FrameError(
            "the frame is not a two-dimensional image",
            file=file,
            keyword="NAXIS",
            value=" x ".join(map(str, lengths)),
            allowed="two axes",
            remedy="split it into images, or keep it out of the raw folder",
        )
    return lengths[1], lengths[0]
