"""The accounts that products give of themselves: their headers, read through astropy.

"Account" is a term of ccdflow: docs/architecture.md, "Words".
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass, field, replace
from datetime import date
from urllib.parse import unquote

from astropy.io import fits

from ccdflow.errors import is_own_fault
from ccdflow.verify.reading.amplifier_places import place_of, slices_of
from ccdflow.verify.reading.own_faults import is_missing_card
from ccdflow.verify.reading.restated_numbers import DIGITAL_NOISE
from ccdflow.verify.reading.verdict import OLDER, UNREADABLE, CannotRemake

PACKINGS = (".gz", ".fz", ".bz2", ".xz")
"""Endings of packed raw files; the names of products have none of them."""

# Adu. A level of 16-bit pixels of at least this is saturated, if no AMPSAT has another value.
_SATURATED_LEVEL = 65535.0
# Matches the folder of a combined frame with a date.
_NIGHT_OF_COMBINED = re.compile(r"combined/(\d{4}-\d\d-\d\d)/")


@dataclass(frozen=True)
class AmplifierAccount:
    """An amplifier of an image, as the header describes it.

    Attributes
    ----------
    name : str
    hdu : int
        Index of its HDU in the raw file.
    strips : tuple of (slice, slice)
        Overscan, in the raw array; empty where none was subtracted.
    axis : {'rows', 'columns', 'frame'}
        The parts of the image that have one overscan level each.
    kept_section : (slice, slice) or None
        The pixels that were kept, in the raw array; None where the frame was left whole.
    place : (slice, slice)
        Place of these pixels in the product.
    flip : {'', 'x', 'y', 'xy'}
    level, noise : float or None
        The mean level that was subtracted, and the noise of the overscan, adu.
    saturated_level : float or None
        Adu. An overscan level of a line of at least this is saturated: the line has no level, and
        does not count in ``level``. None where OSCSAT names no lines.
    """

    name: str
    hdu: int
    strips: tuple[tuple[slice, slice], ...]
    axis: str
    kept_section: tuple[slice, slice] | None
    place: tuple[slice, slice]
    flip: str
    level: float | None
    noise: float | None
    saturated_level: float | None = None


@dataclass(frozen=True)
class FrameAccount:
    """The making of a reduced frame, as its header states it.

    Attributes
    ----------
    raw_file : str
        The raw file, relative to the raw folder.
    fingerprint, key : str
        RAWFP and CCDFKEY.
    statistic : {'median', 'mean', ''}
        Statistic across the overscan; '' where none was subtracted.
    model : str
        Model along the overscan; '' where each row or column has its own level.
    order, iterations : int
        Degree or number of pieces of the model, and rounds of rejection.
    sigma : float
        Limit of rejection, in standard deviations about the median.
    images : dict of int to tuple of AmplifierAccount
        Amplifiers by the index of the product's HDU that holds the image.
    """

    raw_file: str
    fingerprint: str
    key: str
    statistic: str
    model: str
    order: int
    sigma: float
    iterations: int
    images: dict[int, tuple[AmplifierAccount, ...]]


@dataclass(frozen=True)
class CombinedAccount:
    """The making of a combined frame, as its header states it.

    Attributes
    ----------
    key : str
    members : tuple of str
        Raw files, relative to the raw folder.
    method : {'average', 'median'}
    clip : float or None
        Limit of rejection in units of the deviation; None without clipping.
    deviation : str
        The unit of the limit: 'mad', 'std' or 'noise'.
    iterations : int
    hdus : tuple of int
        Indices of the HDUs that hold a combined image.
    masters : dict of str to NamedMaster
        By 'bias' and 'dark': the masters that were subtracted from each member.
    levels : tuple of float
        The level that each member of a flat was divided by; () for none.
    models : dict of int to tuple of ModelAccount
        The noise models in the header, by the index of the image's HDU.
    kind : {'bias', 'dark', 'flat'}
    """

    key: str
    members: tuple[str, ...]
    method: str
    clip: float | None
    deviation: str
    iterations: int
    hdus: tuple[int, ...]
    masters: dict[str, NamedMaster]
    levels: tuple[float, ...] = ()
    models: dict[int, tuple[ModelAccount, ...]] = field(default_factory=dict)
    kind: str = "bias"

    @property
    def has_light(self):
        """Whether the frame is a dark or flat, which has errors by a noise model and a mask."""
        return self.kind != "bias"


@dataclass(frozen=True)
class NamedMaster:
    """A master that a header names.

    Attributes
    ----------
    name, key : str
        Path relative to the results folder, and CCDFKEY.
    factors : tuple of float
        Factor of the master for each member, or for the frame; () for 1.
    cut : (slice, slice) or None
        The used pixels of a larger master; None for all.
    """

    name: str
    key: str
    factors: tuple[float, ...] = ()
    cut: tuple[slice, slice] | None = None


@dataclass(frozen=True)
class ModelAccount:
    """The noise model of an amplifier in a header: variance = fixed + slope x light, adu^2.

    Attributes
    ----------
    place : (slice, slice)
    read_noise, level_noise, factor : float
    gain : float or None
        Electrons per adu; None where no light counts.
    """

    place: tuple[slice, slice]
    read_noise: float
    level_noise: float
    factor: float
    gain: float | None

    @property
    def fixed_variance(self):
        """Variance without light, adu^2; the read noise is at least that of the rounding."""
        return self.factor**2 * (max(self.read_noise, DIGITAL_NOISE) ** 2 + self.level_noise**2)

    @property
    def slope(self):
        """Variance that one adu of light adds, adu^2."""
        return self.factor**2 / self.gain if self.gain else 0.0


@dataclass(frozen=True)
class CalibratedAccount:
    """The making of a calibrated frame, as its header states it.

    Attributes
    ----------
    key, reduced_key : str
    masters : dict of str to NamedMaster
        By 'bias', 'dark' and 'flat': the masters that were applied.
    """

    key: str
    reduced_key: str
    masters: dict[str, NamedMaster]


def _error_of_missing_card(error):
    """Return a `CannotRemake` that names the missing card of a `KeyError` of astropy.

    A `KeyError` of this code is returned itself.
    """
    if not is_missing_card(error):
        return error
    keyword = re.sub(r"^Keyword '(.*)' not found\.$", r"\1", str(error.args[0]))
    reason = f"the header lacks {keyword}: it was taken out, or is of an older version"
    return CannotRemake(reason, OLDER)


def raw_file(header):
    """Return the raw file that a header names, relative to the raw folder."""
    return unquote(header["RAWFILE"], errors="surrogateescape")


def product_of(file):
    """Return the reduced frame of a raw file, relative to the results folder."""
    for packing in PACKINGS:
        if file.lower().endswith(packing):
            file = file[: -len(packing)]
            break
    return f"reduced/{file}"


def date_of_combined(path):
    """Return the date of the night of a combined frame by its folder; None for an undated one.

    Parameters
    ----------
    path : str
        With or without the results folder.

    Returns
    -------
    datetime.date or None
    """
    night = _NIGHT_OF_COMBINED.search(path)
    return None if night is None else date.fromisoformat(night[1])


def is_of_first_version(header):
    """Return whether the first header of a reduced frame is of version 1, by a comment.

    Such headers lack OSCAXIS, AMPHDU, AMPFLIP and AMPSAT.
    """
    # Older results: header version 1 had these words.
    comment = header.comments["CCDPVER"] if "CCDPVER" in header else ""
    return "OSCAXIS" not in header and comment.startswith("ccdproc, whose arithmetic it is")


def account_of_frame(headers):
    """Return the `FrameAccount` of a reduced frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        Headers of each HDU of the product.

    Returns
    -------
    FrameAccount

    Raises
    ------
    CannotRemake
        If a card that the account needs is not there, or has no section where one must be.
    """
    first_header = headers[0]
    if is_of_first_version(first_header) and (first_header.get("NAMPS") != 1 or len(headers) > 1):
        raise CannotRemake("the header lacks AMPHDU and AMPFLIP: it is of an older version", OLDER)
    try:
        return FrameAccount(
            raw_file=raw_file(first_header),
            fingerprint=first_header["RAWFP"],
            key=first_header["CCDFKEY"],
            statistic=first_header.get("OSCSTAT", ""),
            model=first_header.get("OSCMODEL", ""),
            order=first_header.get("OSCORDER", 0),
            sigma=first_header["OSCSIGMA"] if "OSCMODEL" in first_header else 0.0,
            iterations=first_header["OSCITERS"] if "OSCMODEL" in first_header else 0,
            images={
                number: _amplifiers_of_header(header)
                for number, header in enumerate(headers)
                if "NAMPS" in header
            },
        )
    except KeyError as error:
        raise _error_of_missing_card(error) from None


def _amplifiers_of_header(header):
    """Return the `AmplifierAccount` of each amplifier of an image."""
    n_amplifiers = header["NAMPS"]
    tails = [f"{number:02d}" for number in range(1, n_amplifiers + 1)] if n_amplifiers > 1 else [""]
    return tuple(_amplifier_of_tail(header, tail) for tail in tails)


def _amplifier_of_tail(header, tail):
    """Return the `AmplifierAccount` with a tail: two digits, '' for the only amplifier."""

    def card(name, default=None):
        """Return the value of the amplifier's card, or `default`.

        The keyword of a numbered card is cut, so that two digits fit after it.
        """
        numbered_keywords = {
            "OSCAXIS": "OSCAXI",
            "OVERSCAN": "OVERSC",
            "BIASLVL": "BIASLV",
            "OVERRMS": "OVRRMS",
            "AMPFLIP": "AMPFLP",
        }
        keyword = name if not tail else f"{numbered_keywords.get(name, name)[:6]}{tail}"
        return header.get(keyword, default)

    overscan, kept_section = card("OVERSCAN", ""), card("TRIM")
    strips = tuple(slices_of(strip) for strip in overscan.split()) if overscan else ()
    kept_section = slices_of(kept_section) if kept_section else None
    axis = card("OSCAXIS") or _axis_of(strips, kept_section)
    place = slices_of(card("DATSEC", "")) if tail else _pixels_of_levels(header, axis)
    return AmplifierAccount(
        name=card("AMPNAM", "") or "",
        hdu=card("AMPHDU", 0),
        strips=strips,
        axis=axis,
        kept_section=kept_section,
        place=place,
        flip=card("AMPFLIP") or "",
        level=_number_or_none(card("BIASLVL")),
        noise=_number_or_none(card("OVERRMS")),
        saturated_level=card("AMPSAT", _SATURATED_LEVEL) if card("OSCSAT") else None,
    )


def _pixels_of_levels(header, axis):
    """Return the pixels of an image from which the levels of its only amplifier are subtracted.

    In a frame that was not trimmed, they are all pixels of the rows, or columns, of DATSEC.
    """
    pixels = [slice(0, header["NAXIS2"]), slice(0, header["NAXIS1"])]
    if "TRIM" not in header and "DATSEC" in header and axis in ("rows", "columns"):
        axis_number = ("rows", "columns").index(axis)
        pixels[axis_number] = place_of(header, "")[axis_number]
    return tuple(pixels)


def _axis_of(strips, kept_section):
    """Return OSCAXIS for a header of version 1: 'columns' if the strips span the kept columns."""
    # Older results: header version 1 had no card OSCAXIS.
    spans_columns = (
        kept_section is not None and strips and all(strip[1] == kept_section[1] for strip in strips)
    )
    return "columns" if spans_columns else "rows"


def _number_or_none(value):
    """Return a number as a float; None for other values."""
    return float(value) if isinstance(value, int | float) else None


def account_of_combined(headers):
    """Return the `CombinedAccount` of a combined bias, dark or flat.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header

    Returns
    -------
    CombinedAccount

    Raises
    ------
    CannotRemake
        If a card that the account needs is not there, or has no section where one must be.
    """
    first_header = headers[0]
    try:
        n_members = first_header["NCOMBINE"]
        members = _numbered_values(first_header, "IMCOM", "IMC", n_members)
        image_indices = tuple(
            number for number, header in enumerate(headers) if "IMGLEVEL" in header
        )
        flat_headers = [headers[number] for number in image_indices if "FLATLVL" in headers[number]]
        levels = (
            _numbered_values(flat_headers[0], "IMLVL", "IML", n_members) if flat_headers else ()
        )
        masters = masters_of(first_header)
        if "dark" in masters:
            factors = _numbered_values(first_header, "IMDRK", "IMD", n_members)
            masters["dark"] = replace(masters["dark"], factors=factors)
        return CombinedAccount(
            key=first_header["CCDFKEY"],
            members=tuple(unquote(name, errors="surrogateescape") for name in members),
            method=first_header["COMBMETH"],
            clip=first_header.get("CLIPSIG"),
            deviation=first_header.get("CLIPDEV", ""),
            iterations=first_header.get("CLIPITER", 1),
            hdus=image_indices,
            masters=masters,
            levels=levels,
            models={number: models_of(headers[number]) for number in image_indices},
            kind=str(first_header["CCDFNAME"]).rpartition("/")[2].partition("_")[0],
        )
    except KeyError as error:
        raise _error_of_missing_card(error) from None


def _numbered_values(header, name, long_name, n_values):
    """Return the values of numbered cards; more than 999 of them begin with `long_name`.

    Parameters
    ----------
    header : astropy.io.fits.Header
    name, long_name : str
        The beginning of the keywords.
    n_values : int
        Number of cards.
    """
    # Keywords of up to 999 cards have three digits, those of more cards five.
    pattern = f"{name}{{:03d}}" if n_values <= 999 else f"{long_name}{{:05d}}"
    return tuple(header[pattern.format(number)] for number in range(1, n_values + 1))


def masters_of(header, kinds=("bias", "dark")):
    """Return the masters that a header names, by their kind.

    Parameters
    ----------
    header : astropy.io.fits.Header
    kinds : sequence of str, optional
        Out of 'bias', 'dark' and 'flat'.

    Returns
    -------
    dict of str to NamedMaster
    """
    return {
        kind: NamedMaster(
            unquote(header[f"{kind.upper()}IM"], errors="surrogateescape"),
            header[f"{kind.upper()}KEY"],
            cut=slices_of(header[f"{kind.upper()}CUT"]) if f"{kind.upper()}CUT" in header else None,
        )
        for kind in kinds
        if f"{kind.upper()}IM" in header
    }


def gains_of(header):
    """Return [((slice, slice), gain or None)] of the amplifiers of an image of a product."""
    return [
        (place, header.get(f"GAIN{tail}" if tail else "AMPGAIN"))
        for place, tail in _places_and_tails(header)
    ]


def _places_and_tails(header):
    """Return [(place in the image, tail of its keywords)] of the amplifiers."""
    n_amplifiers = header.get("NAMPS", 1)
    tails = [f"{number:02d}" for number in range(1, n_amplifiers + 1)] if n_amplifiers > 1 else [""]
    return [(place_of(header, tail), tail) for tail in tails]


def models_of(header):
    """Return the `ModelAccount` of each amplifier of an image; () where the header has none."""
    places_and_tails = _places_and_tails(header)
    if all(f"CLIPRN{tail}" in header for _, tail in places_and_tails):
        # Biases hold no light: one number describes their noise.
        return tuple(
            ModelAccount(place, header[f"CLIPRN{tail}"], 0.0, 1.0, None)
            for place, tail in places_and_tails
        )
    places_with_model = [
        (place, tail) for place, tail in places_and_tails if f"MODRN{tail}" in header
    ]
    return tuple(
        ModelAccount(
            place,
            header[f"MODRN{tail}"],
            header.get(f"MODLN{tail}", 0.0),
            header.get(f"MODFC{tail}", 1.0),
            header.get(f"MODGN{tail}"),
        )
        for place, tail in places_with_model
    )


def account_of_calibrated(headers):
    """Return the `CalibratedAccount` of a calibrated frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header

    Returns
    -------
    CalibratedAccount

    Raises
    ------
    CannotRemake
        If a card that the account needs is not there, or has no section where one must be.
    """
    first_header = headers[0]
    try:
        masters = masters_of(first_header, ("bias", "dark", "flat"))
        if "dark" in masters:
            masters["dark"] = replace(masters["dark"], factors=(float(first_header["DARKSCAL"]),))
        return CalibratedAccount(first_header["CCDFKEY"], first_header["REDKEY"], masters)
    except KeyError as error:
        raise _error_of_missing_card(error) from None


def uncompressed_hdus(hdus):
    """Return the HDUs of a product without the empty first HDU of packed tiles.

    The image of a first HDU is packed into the second HDU, whose header then has SIMPLE.
    """
    is_packed = hdus[0].header["NAXIS"] == 0 and len(hdus) > 1 and "SIMPLE" in hdus[1].header
    return list(hdus[1:]) if is_packed else list(hdus)


def read_headers(content):
    """Return the headers of the HDUs in a FITS file's bytes; packed images have their own headers.

    Raises
    ------
    CannotRemake
        If the headers cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(content), lazy_load_hdus=False) as hdus:
                return [hdu.header.copy() for hdu in uncompressed_hdus(hdus)]
    except Exception as error:
        # Any error of astropy means that the file is not as it was written.
        if is_own_fault(error):
            raise
        raise CannotRemake(f"its headers cannot be read: {error}", UNREADABLE) from None
