"""Where the amplifiers of a frame lie: their science pixels, their overscan, their place.

Two sources give the same `Draft` of each amplifier: a profile (`profilesections`, beside this) and
the frame's own cards (`headersections`). `assemble` checks them and puts them together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ccdflow.camera.sections import DirectedSection, Region, RegionSpec, parse_fits
from ccdflow.errors import FrameError
from ccdflow.files.cards import (
    CardSpec,
    card_value,
    contents,
    find,
    first_value,
    has_card,
    hdu_indices,
    number,
    whole,
)
from ccdflow.files.values import as_electrons

BINNING_PAIRS = (
    ("CCDBIN1", "CCDBIN2"),
    ("CCDXBIN", "CCDYBIN"),
    ("XBINNING", "YBINNING"),
    ("BINX", "BINY"),
    ("XBIN", "YBIN"),
    ("DETXBIN", "DETYBIN"),
    ("BIN-FCT1", "BIN-FCT2"),
    ("CDELT1U", "CDELT2U"),
    ("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"),
    # Added later: after those above, so that headers read before give the same values.
    ("HBIN", "VBIN"),
    ("CCDBINX", "CCDBINY"),
    ("DET-BIN1", "DET-BIN2"),
    ("XFACTOR", "YFACTOR"),
    ("BINNINGX", "BINNINGY"),
    ("BINFACTX", "BINFACTY"),
    ("BIN1", "BIN2"),
    ("COLBIN", "ROWBIN"),
    ("BINCOL", "BINROW"),
    ("X_BIN", "Y_BIN"),
    ("BIN_X", "BIN_Y"),
    ("BIN-X", "BIN-Y"),
    ("CAMXBIN", "CAMYBIN"),
    ("CCDHBIN", "CCDVBIN"),
    ("HBINNING", "VBINNING"),
    ("PRD-BIN1", "PRD-BIN2"),
)
BINNING_TEXTS = ("CCDSUM", "BINNING", "BINSUM", "CCDBIN")
# Cards that may hold one number for both axes.
_BINNING_WORDS = (*BINNING_TEXTS, "CCD-BIN", "BINFACTR", "BINFACT", "BIN")


@dataclass(frozen=True)
class Amplifier:
    """One amplifier of a frame.

    Parameters
    ----------
    name : str
        Unique in the frame.
    hdu : int
        Index of its HDU in the file.
    data : Region
        The science pixels that are kept, in the array of that HDU.
    overscan : tuple of Region
        Strips whose statistic is the bias level; empty where nothing is subtracted.
    along : str
        'rows': one level for each row of `data` (strips at the left or right, each as high as
        `data`); 'columns': one for each column (strips above or below, each as wide as `data`);
        'frame': one level for all pixels (strips of any size); 'none': no overscan.
    place : Region
        Where `data` go in the product image.
    flip_x, flip_y : bool
        Whether columns, rows are reversed on the way there.
    gain : float or None
        Electrons per adu.
    read_noise : float or None
        Electrons.
    saturation : float or None
        Raw adu at which a pixel counts as saturated.
    linear : float or None
        Raw adu above which the response is not linear any more.
    """

    name: str
    hdu: int
    data: Region
    overscan: tuple[Region, ...]
    along: str
    place: Region
    flip_x: bool = False
    flip_y: bool = False
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    linear: float | None = None

    def canonical(self):
        """A plain dict with all that products depend on."""
        plain = {
            "along": self.along,
            "data": self.data.to_fits(),
            "flip": [self.flip_x, self.flip_y],
            "gain": self.gain,
            "hdu": self.hdu,
            "name": self.name,
            "overscan": [strip.to_fits() for strip in self.overscan],
            "place": self.place.to_fits(),
            "read_noise": self.read_noise,
            "saturation": self.saturation,
        }
        return plain if self.linear is None else {**plain, "linear": self.linear}

    @classmethod
    def from_canonical(cls, canonical):
        """Return the amplifier that `canonical` made a plain dict of."""
        values = dict(canonical)
        flip_x, flip_y = values.pop("flip")
        return cls(
            data=Region.from_fits(values.pop("data")),
            overscan=tuple(map(Region.from_fits, values.pop("overscan"))),
            place=Region.from_fits(values.pop("place")),
            flip_x=flip_x,
            flip_y=flip_y,
            **values,
        )


@dataclass(frozen=True)
class Geometry:
    """The amplifiers of a frame, and the shape of the image that they are put together to.

    Parameters
    ----------
    camera : str
        The camera's name.
    shape : (int, int)
        (ny, nx) of the product image; with layout 'extensions' that of the first.
    amplifiers : tuple of Amplifier
        In the order of the profile or of the file.
    layout : str
        'image': all amplifiers in one image; 'extensions': an image for each HDU, and each
        amplifier's `place` is in that of its own HDU.
    source : str
        'profile' or 'header'.
    raw_shapes : tuple of (int, (int, int))
        For each HDU that is used, its index and (ny, nx).
    extension_shapes : tuple of (int, (int, int))
        With layout 'extensions', the (ny, nx) of the product for each HDU; else empty.
    notes : tuple of str
        Decisions that the cards alone do not settle, for the log and the inventory.
    """

    camera: str
    shape: tuple[int, int]
    amplifiers: tuple[Amplifier, ...]
    layout: str
    source: str
    raw_shapes: tuple[tuple[int, tuple[int, int]], ...] = ()
    extension_shapes: tuple[tuple[int, tuple[int, int]], ...] = ()
    notes: tuple[str, ...] = ()

    def canonical(self):
        """A plain dict with all that products depend on: the notes are not among it."""
        return {
            "amplifiers": [amplifier.canonical() for amplifier in self.amplifiers],
            "camera": self.camera,
            "extension_shapes": [[hdu, list(shape)] for hdu, shape in self.extension_shapes],
            "layout": self.layout,
            "raw_shapes": [[hdu, list(shape)] for hdu, shape in self.raw_shapes],
            "shape": list(self.shape),
            "source": self.source,
        }

    @classmethod
    def from_canonical(cls, canonical):
        """Return the geometry that `canonical` made a plain dict of, without its notes."""
        return cls(
            camera=canonical["camera"],
            shape=tuple(canonical["shape"]),
            amplifiers=tuple(map(Amplifier.from_canonical, canonical["amplifiers"])),
            layout=canonical["layout"],
            source=canonical["source"],
            raw_shapes=tuple((hdu, tuple(shape)) for hdu, shape in canonical["raw_shapes"]),
            extension_shapes=tuple((h, tuple(s)) for h, s in canonical["extension_shapes"]),
        )


@dataclass(frozen=True)
class Cards:
    """Where gain, read noise, saturation and binning stand: cards tried in order."""

    gain: tuple[CardSpec, ...]
    read_noise: tuple[CardSpec, ...]
    saturation: tuple[CardSpec, ...]
    binning: tuple[CardSpec, ...] = ()


@dataclass(frozen=True)
class AmplifierSpec:
    """An amplifier as a profile gives it, before a frame is known.

    Parameters
    ----------
    name : str
    hdu : int, str, tuple or None
        Index or EXTNAME; None for the file's only image. A tuple of them, or a glob of names,
        stands for an amplifier in each of several HDUs.
    data : RegionSpec or None
        None for all pixels of the HDU.
    overscan : tuple of RegionSpec
    along : str or None
        None to see it from where the strips lie.
    place : RegionSpec or None
        A region of the product image, or the card with its section of the unbinned detector.
    flip_x, flip_y : bool
    gain, read_noise, saturation : float, CardSpec or None
        None for the camera's cards.
    """

    name: str
    hdu: int | str | tuple | None = None
    data: RegionSpec | None = None
    overscan: tuple[RegionSpec, ...] = ()
    along: str | None = None
    place: RegionSpec | None = None
    flip_x: bool = False
    flip_y: bool = False
    gain: float | CardSpec | None = None
    read_noise: float | CardSpec | None = None
    saturation: float | CardSpec | None = None


@dataclass(frozen=True)
class Draft:
    """An amplifier of a frame before it is checked and placed.

    Parameters
    ----------
    name, hdu, data, overscan, along, flip_x, flip_y, gain, read_noise, saturation, linear
        As in `Amplifier`; `along` None to see it from where the strips lie.
    place : Region or None
        In the product image, where the profile says it.
    detector : tuple of (str, Section)
        Sections of the unbinned detector by card, in order of preference.
    detector_of : Region or None
        The pixels that `detector` is about; None for `data`.
    lengthen : bool
        Whether a strip nearly as long as the data may be lengthened to them: the convention for
        BIASSEC, whose length along the readout axis is that of TRIMSEC.
    """

    name: str
    hdu: int
    data: Region
    overscan: tuple[Region, ...]
    along: str | None = None
    place: Region | None = None
    detector: tuple[tuple[str, DirectedSection], ...] = ()
    detector_of: Region | None = None
    flip_x: bool = False
    flip_y: bool = False
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    linear: float | None = None
    lengthen: bool = False


# Extensions that say which pixels of an image are bad, by name.
_MASK = re.compile(
    r"(?:.*[-_ ,])?(?:BPM|(?:PIX)?MASK|BAD[-_ ]?PIX\w*|DQ|FLAGS?|DATAQUAL\w*)(?:[-_ ,]?\w{0,4})",
    re.IGNORECASE,
)


def image_hdus(headers):
    """Indices of the HDUs that hold an image with pixels; tables and empty primaries do not.

    Nor does a mask of bad pixels beside an image: no amplifier reads it out.
    """
    images = [index for index, header in enumerate(headers) if _is_image(header)]
    frames = [i for i in images if not (is_mask(headers[i]) or is_overscan(headers[i]))]
    return tuple(frames or images)


def is_mask(header):
    """Tell by its EXTNAME whether an extension is a mask of bad pixels."""
    return _MASK.fullmatch(str(card_value(header, "EXTNAME") or "")) is not None


_OVERSCAN = re.compile(r".*(?:over-?scan|ovr?scn?\b|oscan|pre-?scan).*", re.IGNORECASE)


def is_overscan(header):
    """Tell by name or description whether an extension is the overscan of another one."""
    said = (card_value(header, name) for name in ("EXTNAME", "EXTDESC", "DESC", "HDUNAME"))
    return any(isinstance(text, str) and _OVERSCAN.fullmatch(text) for text in said)


def _is_image(header):
    # The header of a compressed image still calls itself a table, but has no columns any more.
    kind = str(first_value(header, "XTENSION", "IMAGE")).strip()
    is_table = kind != "IMAGE" and has_card(header, "TFIELDS")
    return not is_table and min(_lengths(header), default=0) > 0


def _lengths(header):
    """NAXIS1, NAXIS2, ...; trailing axes of length 1 are left out."""
    axes = whole(first_value(header, "NAXIS")) or 0
    lengths = [whole(first_value(header, f"NAXIS{i + 1}")) or 0 for i in range(axes)]
    while len(lengths) > 2 and lengths[-1] == 1:
        lengths.pop()
    return lengths


def array_shape(header, *, file=None):
    """The shape (ny, nx) of the image of an HDU; trailing axes of length 1 do not count.

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
        If it is not two-dimensional.
    """
    lengths = _lengths(header)
    if len(lengths) != 2:
        raise FrameError(
            "the frame is not a two-dimensional image",
            file=file,
            keyword="NAXIS",
            value=" x ".join(map(str, lengths)),
            allowed="two axes",
        )
    return lengths[1], lengths[0]


def binning(headers, index, *, specs=(), default=(1, 1)):
    """The binning (by, bx) of an HDU, from its own header or the primary.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    index : int
        The HDU.
    specs : tuple of CardSpec
        The profile's cards: one with both numbers or with one for both axes, or x and then y.
    default : (int, int)
        Where no card says it.

    Returns
    -------
    (int, int)
    """
    if specs:
        texts = [find(headers, spec, (index, 0)) for spec in specs]
        numbers = _integers(" ".join(str(text) for text in texts if text is not None))
        return (numbers[-1], numbers[0]) if numbers else default
    for header in (headers[index], headers[0]):
        for keyword in BINNING_TEXTS:
            numbers = _integers(card_value(header, keyword))
            if len(numbers) == 2:
                return numbers[1], numbers[0]
        for x_keyword, y_keyword in BINNING_PAIRS:
            bx = abs(whole(card_value(header, x_keyword)) or 0)
            by = abs(whole(card_value(header, y_keyword)) or 0)
            if bx and by:
                return by, bx
    return _one_number(headers, index) or default


# No camera bins more pixels than this along an axis: beyond it, a number is not a binning.
_MOST_BINNED = 64


def _one_number(headers, index):
    """Return (by, bx) from cards with one number for both axes, or None.

    A pair of which only one is there is such a card as well: the other axis is taken to be like it.
    """
    for header in (headers[index], headers[0]):
        for keyword in _BINNING_WORDS:
            numbers = _integers(card_value(header, keyword))
            if len(numbers) in (1, 2) and max(numbers) <= _MOST_BINNED:
                return numbers[-1], numbers[0]
        for pair in BINNING_PAIRS:
            # CDELT1U is a pixel's step on the chip, and may stand alone: it tells no binning of
            # both axes.
            found = [whole(card_value(header, keyword)) or 0 for keyword in pair]
            if any(found) and not pair[0].startswith("CDELT") and max(found) <= _MOST_BINNED:
                return max(found), max(found)
    return None


def _integers(value):
    """The whole numbers above 0 in a text such as '2 1', '2x1' or '2,1'."""
    return [int(digits) for digits in re.findall(r"\d+", str(value or "")) if int(digits)]


def card_number(headers, specs, index):
    """The first number above 0 in these cards, in an HDU's own header before the primary.

    A unit of electrons may follow it. A setting of the readout is passed over, see
    `is_gain_setting`.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    specs : sequence of CardSpec
        The cards that are tried, in order.
    index : int
        Number of the HDU; its own cards come before those of the primary.

    Returns
    -------
    float or None
    """
    for spec in specs:
        for hdu in (index, 0) if spec.hdu is None else hdu_indices(headers, spec.hdu):
            for content in contents(headers[hdu], spec.keyword, spec.occurrence):
                value = number(content.value)
                value = as_electrons(content.value) if value is None else value
                if value is not None and value > 0:
                    if is_gain_setting(content, headers[index]):
                        break
                    return value
    return None


# Cards of electrons per adu into which some programs write the setting of a CMOS sensor.
_GAIN = re.compile(r"(?:CCD)?GAIN1?")
_SETTING = re.compile(
    r"\bsettings?\b|\bindex\b|\bmode\b|sensor gain|camera gain|\bdb\b|adu */ *e|adu per e"
    r"|electrons? to adu|e-? to adu|counts? per e",
    re.IGNORECASE,
)
# Such a camera has an offset as well; no detector has this many electrons per adu.
_BESIDE_A_SETTING = ("OFFSET", "BLKLEVEL", "USBLIMIT", "BRIGHTNS", "BLACKLVL")
_MOST_ELECTRONS = 50


def is_gain_setting(content, header):
    """Tell whether a GAIN card has a setting of the readout instead of electrons per adu.

    Parameters
    ----------
    content : ccdflow.files.cards.Content
    header : astropy.io.fits.Header
        The image's: a whole number beside an offset is a setting.

    Returns
    -------
    bool
        Also for adu per electron, by the card's comment.
    """
    if not _GAIN.fullmatch(content.keyword):
        return False
    if _SETTING.search(content.comment or ""):
        return True
    value = number(content.value)
    if value is None or not re.fullmatch(r"\d+", str(content.value).strip()):
        return False
    return value >= _MOST_ELECTRONS or any(key in header for key in _BESIDE_A_SETTING)


def detector_sections(header, keywords, *, file, suffix=""):
    """The detector sections a header has, as ((keyword, Section), ...).

    Parameters
    ----------
    header : astropy.io.fits.Header
    keywords : sequence of str
        Keywords to try, in order.
    file : str
        Path of the raw file relative to the raw folder; named in errors.
    suffix : str, optional
        Appended to each keyword: the number of an amplifier.

    Raises
    ------
    FrameError
        If a section cannot be parsed.
    """
    found = []
    for keyword in keywords:
        text = card_value(header, keyword + suffix)
        if text is not None:
            found.append((keyword, parse_fits(text, file=file, keyword=keyword + suffix)))
    return tuple(found)


def fits_binned(section, region, factors):
    """Whether a section of the unbinned detector has the size of these binned pixels.

    Parameters
    ----------
    section : Section
        In pixels of the unbinned detector.
    region : Region
        In binned pixels of the frame.
    factors : (int, int)
        Binning (y, x).
    """
    pairs = zip(section.shape, region.shape, factors, strict=True)
    return all(abs(length / factor - count) < 1 for length, count, factor in pairs)


def detector_mismatch(draft, section, base, factors, keyword, *, file):
    """The error for a detector section that is not the size of the amplifier's pixels.

    Parameters
    ----------
    draft : Draft
        The amplifier whose section disagrees.
    section : Section
        In pixels of the unbinned detector.
    base : Region
        The amplifier's pixels in the frame.
    factors : (int, int)
        Binning (y, x).
    keyword : str
        The card with the section.
    file : str
        Path of the raw file relative to the raw folder; named in errors.

    Returns
    -------
    FrameError
    """
    ny, nx = base.shape
    return FrameError(
        f"amplifier {draft.name}: the detector section and the data differ in size",
        file=file,
        keyword=keyword,
        value=section.region.to_fits(),
        allowed=f"{nx * factors[1]} x {ny * factors[0]} for data {base.to_fits()} "
        f"binned {factors[1]} x {factors[0]}",
        remedy="give the amplifiers with their `place` in the camera's profile",
    )
