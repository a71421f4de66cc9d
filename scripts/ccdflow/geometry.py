"""Where the amplifiers of a frame lie: their science pixels, their overscan, their place.

Two sources give the same `Draft` of each amplifier: a profile (`drafts_from_profile`, here) and
the frame's own cards (`ccdflow.headersections`). `resolve` checks them and puts them together.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations

from ccdflow.cards import CardSpec, card_value, find, find_first, hdu_indices, number, whole
from ccdflow.errors import FrameError
from ccdflow.sections import Region, RegionSpec, Section, parse_fits

# The least part of the data's length that a strip of the header must span to be lengthened to it.
MOST = 0.9

BINNING_PAIRS = (
    ("CCDBIN1", "CCDBIN2"),
    ("CCDXBIN", "CCDYBIN"),
    ("XBINNING", "YBINNING"),
    ("BINX", "BINY"),
    ("XBIN", "YBIN"),
    ("CDELT1U", "CDELT2U"),
    ("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"),
)
BINNING_TEXTS = ("CCDSUM", "BINNING", "BINSUM", "CCDBIN")


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

    def canonical(self):
        """A plain dict with all that products depend on."""
        return {
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


@dataclass(frozen=True)
class Geometry:
    """The amplifiers of a frame, and the shape of what they are put together to.

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
        What was decided beyond the letter of the cards, for the log and the inventory.
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
    hdu : int, str or None
        Index or EXTNAME; None for the file's only image.
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
    hdu: int | str | None = None
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
    name, hdu, data, overscan, along, flip_x, flip_y, gain, read_noise, saturation
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
    detector: tuple[tuple[str, Section], ...] = ()
    detector_of: Region | None = None
    flip_x: bool = False
    flip_y: bool = False
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    lengthen: bool = False


def image_hdus(headers):
    """Indices of the HDUs that hold an image with pixels; tables and empty primaries do not."""
    return tuple(
        index
        for index, header in enumerate(headers)
        if str(header.get("XTENSION", "IMAGE")).strip() == "IMAGE"
        and (whole(header.get("NAXIS")) or 0) > 0
        and all((whole(header.get(f"NAXIS{axis + 1}")) or 0) > 0 for axis in range(header["NAXIS"]))
    )


def array_shape(header, *, file=None):
    """The shape (ny, nx) of the image of an HDU.

    Raises
    ------
    FrameError
        If it is not two-dimensional.
    """
    if header["NAXIS"] != 2:
        raise FrameError(
            "the frame is not a two-dimensional image",
            file=file,
            keyword="NAXIS",
            value=header["NAXIS"],
            allowed="2",
        )
    return header["NAXIS2"], header["NAXIS1"]


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
    return default


def _integers(value):
    """The whole numbers above 0 in a text such as '2 1', '2x1' or '2,1'."""
    return [int(digits) for digits in re.findall(r"\d+", str(value or "")) if int(digits)]


def card_number(headers, specs, index):
    """A number from the first of these cards, in an HDU's own header before the primary."""
    return number(find_first(headers, specs, (index, 0)))


def drafts_from_profile(headers, specs, size, cards, *, file):
    """The drafts of a profile's amplifiers for one frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    specs : tuple of AmplifierSpec
    size : (int, int) or None
        NAXIS1, NAXIS2 that the profile is made for.
    cards : Cards
    file : str

    Returns
    -------
    list of Draft

    Raises
    ------
    FrameError
        If the frame is not of that size, has no such HDU, or a region leaves it.
    """
    drafts = []
    for spec in specs:
        index = _only_hdu(headers, spec, file=file)
        shape = array_shape(headers[index], file=file)
        if size is not None and tuple(size) != shape[::-1]:
            raise FrameError(
                "the frame is not of the size the camera's profile is made for",
                file=file,
                keyword="NAXIS1, NAXIS2",
                value=f"{shape[1]} x {shape[0]}",
                allowed=f"{size[0]} x {size[1]}",
                remedy="give this window or binning a profile of its own, recognised by NAXIS1",
            )
        drafts.append(_draft(headers, spec, index, shape, cards, file=file))
    return drafts


def resolve(drafts, headers, *, camera, source, layout, binning_cards=(), notes=(), file):
    """Check the drafts of a frame's amplifiers and put them together.

    Parameters
    ----------
    drafts : list of Draft
    headers : list of astropy.io.fits.Header
    camera, source, layout : str
        As in `Geometry`; with layout 'image', a file with several images that does not say where
        they lie is kept as extensions.
    binning_cards : tuple of CardSpec
        As `specs` of `binning`.
    notes : iterable of str
    file : str

    Returns
    -------
    Geometry

    Raises
    ------
    FrameError
        If regions leave the frame, overlap, or contradict each other.
    """
    notes = list(notes)
    drafts = [_with_strips(draft, notes, file=file) for draft in drafts]
    _check_overlaps(drafts, file=file)
    hdus = tuple(dict.fromkeys(draft.hdu for draft in drafts))
    raw_shapes = tuple((hdu, array_shape(headers[hdu], file=file)) for hdu in hdus)
    factors = {hdu: binning(headers, hdu, specs=binning_cards) for hdu in hdus}
    assemble = layout == "image" or len(hdus) == 1
    placed = _placed(drafts, headers, factors, file=file) if assemble else None
    if placed is None and layout == "image":
        notes.append("no card says where the extensions lie on the detector: kept as extensions")
    if placed is not None:
        shape = _extent(placed)
        _check_places(placed, shape, notes, file=file)
        return Geometry(
            camera, shape, _amplifiers(placed), "image", source, raw_shapes, (), tuple(notes)
        )
    placed, shapes = [], []
    for hdu in hdus:
        here = _as_read([replace(draft, detector=()) for draft in drafts if draft.hdu == hdu])
        shapes.append((hdu, _extent(here)))
        placed += here
    return Geometry(
        camera,
        shapes[0][1],
        _amplifiers(placed),
        "extensions",
        source,
        raw_shapes,
        tuple(shapes),
        tuple(notes),
    )


def _only_hdu(headers, spec, *, file):
    images = image_hdus(headers)
    if spec.hdu is not None:
        found = hdu_indices(headers, spec.hdu)
        if found and found[0] in images:
            return found[0]
        raise FrameError(
            f"the file has no image in the HDU of amplifier {spec.name}",
            file=file,
            value=spec.hdu,
            allowed=f"one of {list(images)}, or its EXTNAME",
        )
    if len(images) == 1:
        return images[0]
    raise FrameError(
        f"the file has {len(images)} images",
        file=file,
        allowed="1",
        remedy=f"say `hdu:` for amplifier {spec.name} in the camera's profile",
    )


def _draft(headers, spec, index, shape, cards, *, file):
    header = headers[index]

    def region(spec_of, what):
        keyword = f"amplifier {spec.name}, {what}"
        if spec_of.form == "keyword":
            text = card_value(header, spec_of.text)
            if text is None:
                raise FrameError(
                    "the card that the camera's profile names is absent", file=file, keyword=keyword
                )
            return RegionSpec("fits", text).resolve(shape, file=file, keyword=spec_of.text)
        return spec_of.resolve(shape, file=file, keyword=keyword)

    def value(given, specs):
        if isinstance(given, CardSpec):
            return number(find(headers, given, (index, 0)))
        return card_number(headers, specs, index) if given is None else given

    place, detector = None, ()
    if spec.place is not None and spec.place.form == "keyword":
        detector = detector_sections(header, (spec.place.text,), file=file)
    elif spec.place is not None:
        place = Region.from_fits(spec.place.text, file=file, keyword=f"amplifier {spec.name}")
    else:
        detector = detector_sections(header, ("DETSEC", "CCDSEC"), file=file)
    return Draft(
        name=spec.name,
        hdu=index,
        data=Region(0, shape[0], 0, shape[1]) if spec.data is None else region(spec.data, "data"),
        overscan=tuple(region(strip, "overscan") for strip in spec.overscan),
        along=spec.along,
        place=place,
        detector=detector,
        flip_x=spec.flip_x,
        flip_y=spec.flip_y,
        gain=value(spec.gain, cards.gain),
        read_noise=value(spec.read_noise, cards.read_noise),
        saturation=value(spec.saturation, cards.saturation),
        lengthen=any(strip.form == "keyword" for strip in spec.overscan),
    )


def detector_sections(header, keywords, *, file, suffix=""):
    """The detector sections a header has, as ((keyword, Section), ...)."""
    found = []
    for keyword in keywords:
        text = card_value(header, keyword + suffix)
        if text is not None:
            found.append((keyword, parse_fits(text, file=file, keyword=keyword + suffix)))
    return tuple(found)


def _side(data, strip):
    """'rows' for a strip at the left or right, 'columns' for one above or below, else None."""
    if strip.shares_rows(data) == strip.shares_columns(data):
        return None
    return "rows" if strip.shares_rows(data) else "columns"


def _with_strips(draft, notes, *, file):
    """The draft with `along` known and its strips exactly as long as the data."""
    if not draft.overscan:
        return replace(draft, along="none")
    sides = {_side(draft.data, strip) for strip in draft.overscan}
    if draft.along == "frame":
        return draft
    if len(sides) != 1 or None in sides or draft.along not in (None, *sides):
        raise FrameError(
            f"amplifier {draft.name}: the overscan does not lie beside the data",
            file=file,
            value=f"overscan {' '.join(strip.to_fits() for strip in draft.overscan)}, "
            f"data {draft.data.to_fits()}",
            allowed="left or right of the data, or above or below them, and not both",
            remedy="give this amplifier's `data` and `overscan` in the camera's profile",
        )
    (along,) = sides
    strips = tuple(_spanning(draft, strip, along, notes, file=file) for strip in draft.overscan)
    return replace(draft, along=along, overscan=strips)


def _spanning(draft, strip, along, notes, *, file):
    """The strip, as long as the data along the axis that has one level for each step."""
    data = draft.data
    if along == "rows":
        wanted = replace(strip, y0=data.y0, y1=data.y1)
        shared = min(strip.y1, data.y1) - max(strip.y0, data.y0)
        length = data.y1 - data.y0
    else:
        wanted = replace(strip, x0=data.x0, x1=data.x1)
        shared = min(strip.x1, data.x1) - max(strip.x0, data.x0)
        length = data.x1 - data.x0
    if shared == length:
        return wanted
    if draft.lengthen and shared >= MOST * length:
        notes.append(
            f"amplifier {draft.name}: overscan {strip.to_fits()} has {shared} of the {length} "
            f"{along} of the data {data.to_fits()}; used as {wanted.to_fits()}"
        )
        return wanted
    raise FrameError(
        f"amplifier {draft.name}: the overscan has {shared} of the {length} {along} of the data",
        file=file,
        value=f"overscan {strip.to_fits()}, data {data.to_fits()}",
        allowed=f"a strip that spans the data's {along}",
        remedy="in the camera's profile give a longer strip, or `along: frame` for one level",
    )


def _check_overlaps(drafts, *, file):
    for one, other in combinations(drafts, 2):
        if one.hdu == other.hdu and one.data.overlaps(other.data):
            raise FrameError(
                f"the data of amplifiers {one.name} and {other.name} overlap",
                file=file,
                value=f"{one.data.to_fits()} and {other.data.to_fits()}",
                remedy="give the `data` of each amplifier in the camera's profile",
            )
    for owner in drafts:
        for strip in owner.overscan:
            for other in drafts:
                if owner.hdu == other.hdu and strip.overlaps(other.data):
                    raise FrameError(
                        f"the overscan of amplifier {owner.name} overlaps the data of {other.name}",
                        file=file,
                        value=f"{strip.to_fits()} and {other.data.to_fits()}",
                        remedy="give `data` and `overscan` of each in the camera's profile",
                    )


def _placed(drafts, headers, factors, *, file):
    """The drafts with their place in one image, or None where nothing says it."""
    if len(drafts) == 1:
        (draft,) = drafts
        ny, nx = draft.data.shape
        return [replace(draft, place=Region(0, ny, 0, nx))]
    given = [draft for draft in drafts if draft.place is not None]
    if len(given) == len(drafts):
        for draft in given:
            _check_size(draft, draft.place.shape, file=file)
        return drafts
    if given:
        raise FrameError(
            "some amplifiers have a place and some have none",
            file=file,
            value=", ".join(draft.name for draft in drafts if draft.place is None),
            remedy="give `place` for each amplifier in the camera's profile, or for none",
        )
    for keyword in ("DETSEC", "CCDSEC", *_other_keywords(drafts)):
        sections = [dict(draft.detector).get(keyword) for draft in drafts]
        if None not in sections and len({section.region for section in sections}) == len(sections):
            if keyword == "CCDSEC" and _chips(headers, drafts) > 1:
                continue
            return _on_detector(drafts, sections, factors, keyword, file=file)
    return _as_read(drafts) if len({draft.hdu for draft in drafts}) == 1 else None


def _other_keywords(drafts):
    return tuple(dict.fromkeys(keyword for draft in drafts for keyword, _ in draft.detector))


def _chips(headers, drafts):
    """How many chips the frame's HDUs name: CCDSEC is about one chip only."""
    names = {
        card_value(headers[draft.hdu], keyword)
        for draft in drafts
        for keyword in ("CCDNAME", "CHIPNAME", "CCDNUM", "CHIPID")
    }
    return len(names - {None})


def _check_size(draft, shape, *, file):
    if draft.data.shape != shape:
        raise FrameError(
            f"amplifier {draft.name}: place and data differ in size",
            file=file,
            value=f"{shape[1]} x {shape[0]}",
            allowed=f"{draft.data.shape[1]} x {draft.data.shape[0]}",
            remedy="correct `place` or `data` in the camera's profile",
        )


def _on_detector(drafts, sections, factors, keyword, *, file):
    """Places from sections of the unbinned detector, in its orientation."""
    placed = []
    for draft, section in zip(drafts, sections, strict=True):
        by, bx = factors[draft.hdu]
        base = draft.detector_of or draft.data
        if not fits_binned(section.region, base, (by, bx)):
            base = draft.data
        if not fits_binned(section.region, base, (by, bx)):
            raise detector_mismatch(draft, section, base, (by, bx), keyword, file=file)
        kept, span = draft.data, section.region
        y = span.y0 // by + (base.y1 - kept.y1 if section.flip_y else kept.y0 - base.y0)
        x = span.x0 // bx + (base.x1 - kept.x1 if section.flip_x else kept.x0 - base.x0)
        place = Region(y, y + draft.data.shape[0], x, x + draft.data.shape[1])
        placed.append(replace(draft, place=place, flip_x=section.flip_x, flip_y=section.flip_y))
    dy = min(draft.place.y0 for draft in placed)
    dx = min(draft.place.x0 for draft in placed)
    return [replace(draft, place=draft.place.shifted(-dy, -dx)) for draft in placed]


def fits_binned(section, region, factors):
    """Whether a section of the unbinned detector has the size of these binned pixels."""
    pairs = zip(section.shape, region.shape, factors, strict=True)
    return all(abs(length / factor - count) < 1 for length, count, factor in pairs)


def detector_mismatch(draft, section, base, factors, keyword, *, file):
    """The error for a detector section that is not the size of the amplifier's pixels."""
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


def _as_read(drafts):
    """Places in the order the data have in the frame, strips between them closed up."""
    columns = _closed({(d.data.x0, d.data.x1) for d in drafts})
    rows = _closed({(d.data.y0, d.data.y1) for d in drafts})
    placed = []
    for draft in drafts:
        y, x = rows[draft.data.y0], columns[draft.data.x0]
        ny, nx = draft.data.shape
        placed.append(replace(draft, place=Region(y, y + ny, x, x + nx)))
    return placed


def _closed(ranges):
    """Starts of ranges after what none of them covers is taken out."""
    starts, position, end = {}, 0, None
    for first, last in sorted(ranges):
        if end is None or first >= end:
            starts[first] = position
            position += last - first
            end = last
        else:
            starts[first] = position - (end - first)
            position += max(0, last - end)
            end = max(end, last)
    return starts


def _extent(placed):
    return max(d.place.y1 for d in placed), max(d.place.x1 for d in placed)


def _check_places(placed, shape, notes, *, file):
    for one, other in combinations(placed, 2):
        if one.place.overlaps(other.place):
            raise FrameError(
                f"amplifiers {one.name} and {other.name} would overlap in the image",
                file=file,
                value=f"{one.place.to_fits()} and {other.place.to_fits()}",
                remedy="give `place` for each in the camera's profile, or `layout: extensions`",
            )
    empty = shape[0] * shape[1] - sum(draft.place.size for draft in placed)
    if empty:
        notes.append(f"{empty} pixels of the image lie between amplifiers and have no data")


def _amplifiers(placed):
    counts = Counter(draft.name for draft in placed)
    return tuple(
        Amplifier(
            name=draft.name if counts[draft.name] == 1 else f"{draft.name}-{draft.hdu}",
            hdu=draft.hdu,
            data=draft.data,
            overscan=draft.overscan,
            along=draft.along,
            place=draft.place,
            flip_x=draft.flip_x,
            flip_y=draft.flip_y,
            gain=draft.gain,
            read_noise=draft.read_noise,
            saturation=draft.saturation,
        )
        for draft in placed
    )
