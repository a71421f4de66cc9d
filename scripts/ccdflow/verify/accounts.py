"""A product's own account of itself: its header, read through astropy."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from urllib.parse import unquote

from astropy.io import fits

_SECTION = re.compile(r"\[(\d+):(\d+),(\d+):(\d+)\]")
_PACKINGS = (".gz", ".fz", ".bz2", ".xz")


class CannotRemake(Exception):
    """A product that cannot be made again, with the reason."""


@dataclass(frozen=True)
class AmplifierAccount:
    """One amplifier of an image, as the header tells it.

    Attributes
    ----------
    name : str
    hdu : int
        HDU of the raw file.
    strips : tuple of (slice, slice)
        Overscan, in the raw array; empty where none was subtracted.
    axis : {'rows', 'columns', 'frame'}
        What the overscan has a level for.
    kept : (slice, slice) or None
        The pixels that were kept, in the raw array; None where the frame was left whole.
    place : (slice, slice)
        Where they lie in the product.
    flip : {'', 'x', 'y', 'xy'}
    level, noise : float or None
        The mean level that was subtracted, and the noise of the overscan, adu.
    """

    name: str
    hdu: int
    strips: tuple
    axis: str
    kept: tuple | None
    place: tuple
    flip: str
    level: float | None
    noise: float | None


@dataclass(frozen=True)
class FrameAccount:
    """How a reduced frame was made.

    Attributes
    ----------
    raw : str
        The raw file, relative to the raw folder.
    fingerprint, key : str
    statistic : {'median', 'mean', ''}
        Across the overscan; '' where none was subtracted.
    model : str
        Along it; '' where each row or column has its own level.
    order : int
        Of the model.
    images : dict of int to tuple of AmplifierAccount
        For each HDU of the product that holds an image.
    """

    raw: str
    fingerprint: str
    key: str
    statistic: str
    model: str
    order: int
    images: dict


@dataclass(frozen=True)
class CombinedAccount:
    """How a combined frame was made.

    Attributes
    ----------
    key : str
    members : tuple of str
        Raw files, relative to the raw folder.
    method : {'average', 'median'}
    clip : float or None
        In units of the deviation.
    deviation : str
        What a sigma is: 'mad', 'std' or 'noise'.
    iterations : int
    hdus : tuple of int
        Those that hold a combined image.
    bias : str
        The combined bias that was subtracted from each member, relative to the results folder; ''
        for none.
    bias_key : str
        Its CCDFKEY.
    """

    key: str
    members: tuple
    method: str
    clip: float | None
    deviation: str
    iterations: int
    hdus: tuple
    bias: str = ""
    bias_key: str = ""


def slices_of(text):
    """Return the numpy slices of a FITS section.

    >>> slices_of("[2056:2080,1:4128]")
    (slice(0, 4128, None), slice(2055, 2080, None))
    """
    match = _SECTION.fullmatch(text.strip())
    if match is None:
        raise CannotRemake(f"the section {text!r} cannot be read")
    x0, x1, y0, y1 = map(int, match.groups())
    return slice(y0 - 1, y1), slice(x0 - 1, x1)


def raw_file(header):
    """Return the raw file that a header names, relative to the raw folder."""
    return unquote(header["RAWFILE"], errors="surrogateescape")


def product_of(raw):
    """Return the reduced frame of a raw file, relative to the results folder."""
    for packing in _PACKINGS:
        if raw.lower().endswith(packing):
            raw = raw[: -len(packing)]
            break
    return f"reduced/{raw}"


def account_of_frame(headers):
    """Return the `FrameAccount` of a reduced frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        Of each HDU of the product.

    Raises
    ------
    CannotRemake
        If a card that the account needs is not there.
    """
    first = headers[0]
    try:
        return FrameAccount(
            raw=raw_file(first),
            fingerprint=first["RAWFP"],
            key=first["CCDFKEY"],
            statistic=first.get("OSCSTAT", ""),
            model=first.get("OSCMODEL", ""),
            order=first.get("OSCORDER", 0),
            images={
                number: _amplifiers(header, first)
                for number, header in enumerate(headers)
                if "NAMPS" in header
            },
        )
    except KeyError as error:
        raise CannotRemake(f"the header lacks {error.args[0]}") from None


def _amplifiers(header, first):
    count = header["NAMPS"]
    tails = [f"{number:02d}" for number in range(1, count + 1)] if count > 1 else [""]
    return tuple(_amplifier(header, first, tail) for tail in tails)


def _amplifier(header, first, tail):
    """Return one amplifier; ``tail`` is '' where it is alone, else its two digits."""

    def card(name, absent=None):
        numbered = {"OVERSCAN": "OVERSC", "BIASLVL": "BIASLV", "OVERRMS": "OVRRMS"}
        keyword = name if not tail else f"{numbered.get(name, name)[:6]}{tail}"
        return header.get(keyword, absent)

    used, kept = card("OVERSCAN", ""), card("TRIM")
    strips = tuple(slices_of(strip) for strip in used.split()) if used else ()
    whole = (slice(0, header["NAXIS2"]), slice(0, header["NAXIS1"]))
    place = slices_of(card("DATSEC", "")) if tail else whole
    return AmplifierAccount(
        name=card("AMPNAM", "") or "",
        hdu=card("AMPHDU", 0),
        strips=strips,
        axis=first.get("OSCAXIS", "rows"),
        kept=slices_of(kept) if kept else None,
        place=place,
        flip=(card("AMPFLIP") if not tail else header.get(f"AMPFLP{tail}")) or "",
        level=_number(card("BIASLVL")),
        noise=_number(card("OVERRMS")),
    )


def _number(value):
    return float(value) if isinstance(value, int | float) else None


def account_of_combined(headers):
    """Return the `CombinedAccount` of a combined bias, dark or flat.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header

    Raises
    ------
    CannotRemake
        If a card that the account needs is not there.
    """
    first = headers[0]
    if "FLATLVL" in first or "DARKIM" in first:
        raise CannotRemake(
            "the header of a combined flat does not name the level that each flat was divided by"
        )
    try:
        count = first["NCOMBINE"]
        numbered = "IMCOM{:03d}" if count <= 999 else "IMC{:05d}"
        members = tuple(first[numbered.format(number)] for number in range(1, count + 1))
        return CombinedAccount(
            key=first["CCDFKEY"],
            members=tuple(unquote(name, errors="surrogateescape") for name in members),
            method=first["COMBMETH"],
            clip=first.get("CLIPSIG"),
            deviation=first.get("CLIPDEV", ""),
            iterations=first.get("CLIPITER", 1),
            hdus=tuple(number for number, each in enumerate(headers) if "IMGLEVEL" in each),
            bias=first.get("BIASIM", ""),
            bias_key=first.get("BIASKEY", ""),
        )
    except KeyError as error:
        raise CannotRemake(f"the header lacks {error.args[0]}") from None


def read_headers(content):
    """Return the headers of the HDUs in a FITS file's bytes.

    Raises
    ------
    CannotRemake
        If they cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(io.BytesIO(content), lazy_load_hdus=False) as hdus:
                return [hdu.header.copy() for hdu in hdus]
    except Exception as error:
        # Whatever astropy raises or warns of, the file is not as it was written.
        raise CannotRemake(f"its headers cannot be read: {error}") from None
