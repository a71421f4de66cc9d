"""The geometry of a frame: the drafts of its amplifiers, checked and with their places."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

from ccdflow.camera.binning import binning_of_hdu, detector_mismatch, fits_binned
from ccdflow.camera.geometry import Amplifier, Geometry, Note
from ccdflow.camera.image_hdus import array_shape
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError
from ccdflow.files.cards import card_value

LEAST_SPANNED_FRACTION = 0.9
"""A strip that a card gives is lengthened to the whole data if it spans at least this fraction of
them; a shorter strip is refused."""

SPARSE_FRACTION = 0.1
"""Amplifiers that fill less than this fraction of the image around them get an image each."""


def geometry_of_drafts(
    drafts, headers, *, camera, source, layout, binning_cards=(), notes=(), file
):
    """Check the drafts of a frame's amplifiers and put them together.

    Parameters
    ----------
    drafts : list of ccdflow.camera.geometry.Draft
    headers : list of astropy.io.fits.Header
    camera, source, layout : str
        As in `Geometry`. The layout 'image' becomes 'extensions' for a file with several images
        whose places on the detector no card gives.
    binning_cards : tuple of ccdflow.files.cards.CardSpec, optional
        As `specs` of `binning_of_hdu`.
    notes : iterable of ccdflow.camera.geometry.Note, optional
    file : str

    Returns
    -------
    Geometry

    Raises
    ------
    FrameError
        If regions leave the frame, overlap, or contradict each other.
    """
    notes = [*dict.fromkeys(notes), *_notes_on_missing_gains(drafts)]
    drafts = [_draft_with_strips(draft, notes, file=file) for draft in drafts]
    _check_overlaps(drafts, file=file)
    hdus = tuple(dict.fromkeys(draft.hdu for draft in drafts))
    raw_shapes = tuple((hdu, array_shape(headers[hdu], file=file)) for hdu in hdus)
    placed_drafts, extension_shapes = None, ()
    if layout == "image" or len(hdus) == 1:
        factors = {hdu: binning_of_hdu(headers, hdu, specs=binning_cards) for hdu in hdus}
        placed_drafts = _drafts_in_one_image(drafts, headers, factors, notes, file=file)
    if placed_drafts is None:
        placed_drafts, extension_shapes = _drafts_in_extensions(drafts, hdus)
        shape = extension_shapes[0][1]
    else:
        shape = _extent_of_drafts(placed_drafts)
        _check_places(placed_drafts, shape, notes, file=file)
    return Geometry(
        camera=camera,
        shape=shape,
        amplifiers=_named_amplifiers(placed_drafts),
        layout="extensions" if extension_shapes else "image",
        source=source,
        raw_shapes=raw_shapes,
        extension_shapes=extension_shapes,
        notes=tuple(notes),
    )


def _drafts_in_one_image(drafts, headers, factors, notes, *, file):
    """Return the drafts with their places in one image, or None and a note on the reason.

    Parameters
    ----------
    drafts : list of ccdflow.camera.geometry.Draft
    headers : list of astropy.io.fits.Header
    factors : dict of int to (int, int)
        Binning of rows and columns, by HDU.
    notes : list of Note
        Gets the reason for which each HDU keeps an image of its own.
    file : str
        Named in errors.
    """
    placed_drafts = _drafts_with_places(drafts, headers, factors, file=file)
    if placed_drafts is None:
        reason = "no card says where the extensions lie on the detector"
    elif len(factors) > 1 and _is_sparse(placed_drafts):
        reason = "the extensions lie far apart on the detector"
    else:
        return placed_drafts
    notes.append(Note(f"{reason}: kept as extensions"))
    return None


def _drafts_in_extensions(drafts, hdus):
    """Return the drafts with their places in the images of their HDUs, and (HDU, shape) of each."""
    placed_drafts, shapes = [], []
    for hdu in hdus:
        placed_in_hdu = _places_without_strips([draft for draft in drafts if draft.hdu == hdu])
        shapes.append((hdu, _extent_of_drafts(placed_in_hdu)))
        placed_drafts += placed_in_hdu
    return placed_drafts, tuple(shapes)


def _notes_on_missing_gains(drafts):
    """Return [the warning] on amplifiers without a gain, if other amplifiers have one; else []."""
    names_without_gain = [draft.name for draft in drafts if not draft.gain]
    if not names_without_gain or len(names_without_gain) == len(drafts):
        return []
    gains_in_words = ", ".join(f"{draft.name} {draft.gain:g}" for draft in drafts if draft.gain)
    text = (
        f"gain: none is known of amplifier {', '.join(names_without_gain)} (found {gains_in_words}"
        " e-/adu, allowed: a gain of each amplifier or of none): calibrated frames stay in adu"
        " until the camera's profile has a `gain:` for each of its `amplifiers:`, or `gain:"
        " measured`"
    )
    return [Note(text, topic="gain")]


def _strip_axis(data, strip):
    """Return 'rows' for a strip at the left or right, 'columns' above or below, else None."""
    if strip.shares_rows(data) == strip.shares_columns(data):
        return None
    return "rows" if strip.shares_rows(data) else "columns"


def _draft_with_strips(draft, notes, *, file):
    """Return the draft with `along` known and its strips exactly as long as the data."""
    if not draft.overscan:
        return replace(draft, along="none")
    if draft.along == "frame":
        return draft
    axes = {_strip_axis(draft.data, strip) for strip in draft.overscan}
    if len(axes) != 1 or None in axes or draft.along not in (None, *axes):
        raise FrameError(
            f"amplifier {draft.name}: the overscan does not lie beside the data",
            file=file,
            keyword="overscan",
            value=f"overscan {' '.join(strip.to_fits() for strip in draft.overscan)}, "
            f"data {draft.data.to_fits()}",
            allowed="left or right of the data, or above or below them, and not both",
            remedy="give this amplifier's `data` and `overscan` in the camera's profile",
        )
    (along,) = axes
    strips = tuple(
        _spanning_strip(draft, strip, along, notes, file=file) for strip in draft.overscan
    )
    return replace(draft, along=along, overscan=strips)


def _spanning_strip(draft, strip, along, notes, *, file):
    """Return the strip with the length of the data; refuse a strip that is much shorter.

    Parameters
    ----------
    draft : ccdflow.camera.geometry.Draft
    strip : Region
    along : {'rows', 'columns'}
    notes : list of Note
        Gets one where a strip is lengthened.
    file : str
        Named in the error.
    """
    data = draft.data
    if along == "rows":
        full_strip = replace(strip, y0=data.y0, y1=data.y1)
        shared = min(strip.y1, data.y1) - max(strip.y0, data.y0)
        length = data.y1 - data.y0
    else:
        full_strip = replace(strip, x0=data.x0, x1=data.x1)
        shared = min(strip.x1, data.x1) - max(strip.x0, data.x0)
        length = data.x1 - data.x0
    if shared == length:
        return full_strip
    if draft.may_be_lengthened and shared >= LEAST_SPANNED_FRACTION * length:
        text = (
            f"amplifier {draft.name}: overscan {strip.to_fits()} has {shared} of the {length} "
            f"{along} of the data {data.to_fits()}; used as {full_strip.to_fits()}"
        )
        notes.append(Note(text))
        return full_strip
    raise FrameError(
        f"amplifier {draft.name}: the overscan has {shared} of the {length} {along} of the data",
        file=file,
        keyword="overscan",
        value=f"overscan {strip.to_fits()}, data {data.to_fits()}",
        allowed=f"a strip that spans the data's {along}",
        remedy="give a longer strip in the camera's profile, or `along: frame` for one level",
    )


def _check_overlaps(drafts, *, file):
    """Raise `FrameError` where data of an amplifier overlap other data, or an overscan."""
    for first, second in combinations(drafts, 2):
        if first.hdu == second.hdu and first.data.overlaps(second.data):
            raise FrameError(
                f"the data of amplifiers {first.name} and {second.name} overlap",
                file=file,
                keyword="data",
                value=f"{first.data.to_fits()} and {second.data.to_fits()}",
                allowed="each pixel in the data of one amplifier",
                remedy="give the `data` of each amplifier in the camera's profile",
            )
    for owner in drafts:
        drafts_of_hdu = [draft for draft in drafts if draft.hdu == owner.hdu]
        for strip in owner.overscan:
            draft = next((draft for draft in drafts_of_hdu if strip.overlaps(draft.data)), None)
            if draft is not None:
                raise FrameError(
                    f"the overscan of amplifier {owner.name} overlaps the data of {draft.name}",
                    file=file,
                    keyword="overscan",
                    value=f"{strip.to_fits()} and {draft.data.to_fits()}",
                    allowed="strips beside the data of all amplifiers",
                    remedy="give `data` and `overscan` of each in the camera's profile",
                )


def _drafts_with_places(drafts, headers, factors, *, file):
    """Return the drafts with their place in one image; None where no card or profile has it.

    Parameters
    ----------
    drafts : list of ccdflow.camera.geometry.Draft
    headers : sequence of mapping
        Headers of the HDUs, by index.
    factors : dict of int to tuple
        The binning of each HDU.
    file : str
        Named in errors.
    """
    if len(drafts) == 1:
        (draft,) = drafts
        ny, nx = draft.data.shape
        return [replace(draft, place=Region(0, ny, 0, nx))]
    if any(draft.place is not None for draft in drafts):
        _check_given_places(drafts, file=file)
        return drafts
    stated_keywords = (keyword for draft in drafts for keyword, _ in draft.detector)
    for keyword in dict.fromkeys(("DETSEC", "CCDSEC", *stated_keywords)):
        sections = [dict(draft.detector).get(keyword) for draft in drafts]
        if None in sections or not _are_places(drafts, sections):
            continue
        # On each chip CCDSEC counts pixels from 1: it gives no places for several chips.
        if keyword != "CCDSEC" or _count_chips(headers, drafts) <= 1:
            return _places_on_detector(drafts, sections, factors, keyword, file=file)
    has_one_hdu = len({draft.hdu for draft in drafts}) == 1
    return _places_without_strips(drafts) if has_one_hdu else None


def _check_given_places(drafts, *, file):
    """Raise `FrameError` unless the profile gives each amplifier a place as large as its data."""
    names_without_place = [draft.name for draft in drafts if draft.place is None]
    if names_without_place:
        raise FrameError(
            "some amplifiers have a place and some have none",
            file=file,
            keyword="place",
            value=", ".join(names_without_place),
            remedy="give `place` for each amplifier in the camera's profile, or for none",
        )
    for draft in drafts:
        if draft.data.shape != draft.place.shape:
            (ny, nx), (place_ny, place_nx) = draft.data.shape, draft.place.shape
            raise FrameError(
                f"amplifier {draft.name}: place and data differ in size",
                file=file,
                keyword="place",
                value=f"{place_nx} x {place_ny}",
                allowed=f"{nx} x {ny}",
                remedy="correct `place` or `data` in the camera's profile",
            )


def _are_places(drafts, sections):
    """Return whether no section is of two amplifiers, unless these share a DATASEC."""
    owners = {}
    for draft, section in zip(drafts, sections, strict=True):
        owner_name = draft.name if draft.detector_of in (None, draft.data) else draft.detector_of
        owners.setdefault(section.region, set()).add((draft.hdu, owner_name))
    return all(len(owner) == 1 for owner in owners.values())


def _count_chips(headers, drafts):
    """Return the number of chips that the frame's HDUs name: by the card that tells most apart.

    Cards are counted apart, because a chip may have a name (CCDNAME) and a number (CHIPID).
    """
    names_by_keyword = (
        {card_value(headers[draft.hdu], keyword) for draft in drafts} - {None}
        for keyword in ("CCDNAME", "CHIPNAME", "CCDNUM", "CHIPID")
    )
    return max(map(len, names_by_keyword))


def _places_on_detector(drafts, sections, factors, keyword, *, file):
    """Return the drafts with places by sections of the unbinned detector, in its orientation.

    Parameters
    ----------
    drafts : list of ccdflow.camera.geometry.Draft
    sections : list of ccdflow.camera.sections.DirectedSection
        One for each draft.
    factors : dict of int to (int, int)
        Binning of rows and columns, by HDU.
    keyword : str
        The card of the sections.
    file : str
        Named in the error.
    """
    placed_drafts = []
    for draft, section in zip(drafts, sections, strict=True):
        by, bx = factors[draft.hdu]
        base = draft.detector_of or draft.data
        if not fits_binned(section.region, base, (by, bx)):
            base = draft.data
        if not fits_binned(section.region, base, (by, bx)):
            raise detector_mismatch(draft, section, base, (by, bx), keyword, file=file)
        data, (ny, nx) = draft.data, draft.data.shape
        # Pixels of the section that lie before the data, as the detector counts them.
        rows_before = base.y1 - data.y1 if section.is_flipped_y else data.y0 - base.y0
        columns_before = base.x1 - data.x1 if section.is_flipped_x else data.x0 - base.x0
        y = section.region.y0 // by + rows_before
        x = section.region.x0 // bx + columns_before
        place = Region(y, y + ny, x, x + nx)
        placed_drafts.append(
            replace(
                draft,
                place=place,
                is_flipped_x=section.is_flipped_x,
                is_flipped_y=section.is_flipped_y,
            )
        )
    dy = min(draft.place.y0 for draft in placed_drafts)
    dx = min(draft.place.x0 for draft in placed_drafts)
    return [replace(draft, place=draft.place.shift(-dy, -dx)) for draft in placed_drafts]


def _places_without_strips(drafts):
    """Return the drafts with places side by side in the order of their data, without the strips."""
    columns = _starts_without_gaps({(d.data.x0, d.data.x1) for d in drafts})
    rows = _starts_without_gaps({(d.data.y0, d.data.y1) for d in drafts})
    placed_drafts = []
    for draft in drafts:
        y, x = rows[draft.data.y0], columns[draft.data.x0]
        ny, nx = draft.data.shape
        placed_drafts.append(replace(draft, place=Region(y, y + ny, x, x + nx)))
    return placed_drafts


def _starts_without_gaps(ranges):
    """Return {first pixel: its new position} of ranges from which all gaps are taken out."""
    starts, position, end = {}, 0, None
    for start, stop in sorted(ranges):
        if end is None or start >= end:
            starts[start] = position
            position += stop - start
            end = stop
        else:
            starts[start] = position - (end - start)
            position += max(0, stop - end)
            end = max(end, stop)
    return starts


def _extent_of_drafts(placed_drafts):
    """Return (ny, nx) of the smallest image from (0, 0) that holds all drafts."""
    return max(d.place.y1 for d in placed_drafts), max(d.place.x1 for d in placed_drafts)


def _is_sparse(placed_drafts):
    """Return whether the drafts fill less than `SPARSE_FRACTION` of the image that holds them."""
    ny, nx = _extent_of_drafts(placed_drafts)
    return sum(draft.place.size for draft in placed_drafts) < SPARSE_FRACTION * ny * nx


def _check_places(placed_drafts, shape, notes, *, file):
    """Raise `FrameError` where amplifiers overlap in the image; note pixels without data.

    Parameters
    ----------
    placed_drafts : list of ccdflow.camera.geometry.Draft
        With their places.
    shape : (int, int)
        (ny, nx) of the image.
    notes : list of Note
        A note on pixels without data is added.
    file : str
        Named in errors.
    """
    for first, second in combinations(placed_drafts, 2):
        if first.place.overlaps(second.place):
            raise FrameError(
                f"amplifiers {first.name} and {second.name} would overlap in the image",
                file=file,
                keyword="place",
                value=f"{first.place.to_fits()} and {second.place.to_fits()}",
                allowed="places side by side",
                remedy="give `place` for each in the camera's profile, or `layout: extensions`",
            )
    n_empty_pixels = shape[0] * shape[1] - sum(draft.place.size for draft in placed_drafts)
    if n_empty_pixels:
        text = f"{n_empty_pixels} pixels of the image lie between amplifiers and have no data"
        notes.append(Note(text))


def _named_amplifiers(placed_drafts):
    """Return the drafts as amplifiers whose names are unique."""
    counts = Counter(draft.name for draft in placed_drafts)
    return tuple(
        Amplifier(
            name=draft.name if counts[draft.name] == 1 else f"{draft.name}-{draft.hdu}",
            hdu=draft.hdu,
            data=draft.data,
            overscan=draft.overscan,
            along=draft.along,
            place=draft.place,
            is_flipped_x=draft.is_flipped_x,
            is_flipped_y=draft.is_flipped_y,
            gain=draft.gain,
            read_noise=draft.read_noise,
            saturation=draft.saturation,
            linear=draft.linear,
        )
        for draft in placed_drafts
    )
