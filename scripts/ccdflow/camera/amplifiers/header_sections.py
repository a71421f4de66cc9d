"""Amplifiers from a frame's own cards: sections, families of sections, and numbers of columns.

For each HDU the first of these sorts of cards that exists is used:

1. a family of sections, one set for each of several amplifiers (``BSEC11``, ``BIASSECA``);
2. ``BIASSEC``, alone or with ``TRIMSEC`` or ``DATASEC``;
3. the first and last pixels of each amplifier (``S_EFMN11``), or numbers of prescan and overscan
   columns and rows (``ESO DET OUT1 OVSCX``, ``POSTPIX``);
4. ``TRIMSEC`` or ``DATASEC`` alone: trimmed, no overscan;
5. nothing: the whole frame, no overscan.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ccdflow.camera.amplifiers.hdu_reader import HduReader
from ccdflow.camera.amplifiers.ranges import drafts_from_ranges
from ccdflow.camera.amplifiers.scan_counts import drafts_from_counts, drafts_from_outputs
from ccdflow.camera.binning import detector_mismatch, fits_binned
from ccdflow.camera.geometry import NO_OVERSCAN, Draft, Note
from ccdflow.camera.image_hdus import is_mask, is_overscan, required_image_hdus
from ccdflow.camera.sections import Region
from ccdflow.files.cards import card_value, contents_of_cards
from ccdflow.files.values import says_unknown

BIAS_CARDS, TRIM_CARDS, DATA_CARDS = ("BIASSEC", "BSEC"), ("TRIMSEC", "TSEC"), ("DATASEC", "DSEC")
"""Cards of the bias, trim and data section, alone or with the suffix of an amplifier."""

DETECTOR_CARDS = {"DETSEC": ("DETSEC",), "CCDSEC": ("CCDSEC", "CSEC")}
"""Cards of sections in pixels of the detector, by the name that a profile gives them."""

# Matches the card of a numbered bias section: BIASSEC1, BSEC_A2.
_NUMBERED_BIAS = re.compile(r"(?:BIASSEC|BSEC)_?[A-Z0-9]{1,2}")
# Matches the card of an amplifier's data or trim section, with its suffix: DATASEC1, TSEC_A2.
_FAMILY = re.compile(r"(?:DATASEC|DSEC|TRIMSEC|TSEC)_?([A-Z0-9]{1,2})")
# A warning names at most this many unread cards; further ones become "...".
_MOST_CARDS_NAMED = 3


def drafts_from_header(headers, cards, *, takes_overscan=True, file):
    """Return the drafts of a frame's amplifiers from its own cards.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    cards : ccdflow.camera.geometry.Cards
        Where gain, read noise, saturation and binning stand.
    takes_overscan : bool, optional
        False where the profile has `overscan: none`.
    file : str

    Returns
    -------
    drafts : list of Draft
    notes : list of ccdflow.camera.geometry.Note

    Raises
    ------
    FrameError
        If the file has no image, or sections leave the frame, are empty or contradict each other.
    """
    images = required_image_hdus(headers, file=file)
    drafts, notes = [], _notes_on_other_hdus(headers, images)
    for position, index in enumerate(images):
        reader = HduReader(
            headers, index, is_alone=len(images) == 1, cards=cards, notes=notes, file=file
        )
        image_drafts = _drafts_of_hdu(reader, position, len(images), takes_overscan=takes_overscan)
        drafts += (
            image_drafts
            if takes_overscan
            else [replace(draft, overscan=()) for draft in image_drafts]
        )
    return drafts, notes


def _notes_on_other_hdus(headers, images):
    """Return a `Note` on masks in HDUs of their own, and a `Note` on overscans in such HDUs."""
    notes = []
    masks = [header for hdu, header in enumerate(headers) if hdu not in images and is_mask(header)]
    if masks:
        names_in_words = ", ".join(str(card_value(header, "EXTNAME")) for header in masks)
        notes.append(Note(f"{names_in_words}: a mask of bad pixels, which is not reduced"))
    strips = [
        hdu for hdu, header in enumerate(headers) if hdu not in images and is_overscan(header)
    ]
    if strips:
        names_in_words = ", ".join(
            str(card_value(headers[hdu], "EXTNAME") or f"HDU {hdu}") for hdu in strips
        )
        text = (
            f"{names_in_words}: overscan in an image of its own, which is not used: the bias level"
            " stays in the image, until a combined bias takes it away"
        )
        notes.append(Note(text, topic=names_in_words))
    return notes


def _drafts_of_hdu(reader, position, n_images, *, takes_overscan):
    """Return the drafts of an HDU's amplifiers, by the first sort of cards that it has.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
        Reader of the HDU.
    position : int
        Position of the HDU among the images.
    n_images : int
        Number of images in the file.
    takes_overscan : bool
        Whether an overscan is looked for.
    """
    suffixes = _section_suffixes(reader)
    if len(suffixes) > 1:
        are_raw = _are_trim_sections_raw(reader, suffixes)
        return [
            _draft_of_sections(
                reader, suffix, takes_overscan=takes_overscan, takes_trim_section=are_raw
            )
            for suffix in suffixes
        ]
    plain_card = reader.section_card(TRIM_CARDS + DATA_CARDS)
    suffix = suffixes[0] if suffixes and plain_card is None else ""
    if reader.section_card(BIAS_CARDS, suffix) is None:
        card = reader.section_card(TRIM_CARDS + DATA_CARDS, suffix)
        data = reader.section(TRIM_CARDS + DATA_CARDS, suffix) if card else None
        detector = () if n_images == 1 else _detector_sections(reader, suffix)
        counted_drafts = (
            drafts_from_ranges(reader)
            or drafts_from_outputs(reader, position, n_images, detector)
            or drafts_from_counts(reader, data.region if data else None, card, detector)
        )
        if counted_drafts:
            return counted_drafts
    return [_draft_of_sections(reader, suffix, takes_overscan=takes_overscan)]


def _section_suffixes(reader):
    """Return the suffixes of a family of sections, such as 11 and 21 of DSEC11 and DSEC21."""
    matches = (_FAMILY.fullmatch(keyword) for keyword in reader.headers[reader.index])
    return list(dict.fromkeys(match[1] for match in matches if match))


def _are_trim_sections_raw(reader, suffixes):
    """Return whether each TSEC of a family lies in its DSEC; else it counts trimmed pixels."""
    for suffix in suffixes:
        data, trim = reader.section(DATA_CARDS, suffix), reader.section_card(TRIM_CARDS, suffix)
        if data is None or trim is None:
            continue
        if not data.region.contains(reader.parse_section(*trim, shape=reader.shape).region):
            return False
    return True


def _draft_of_sections(reader, suffix, *, takes_overscan, takes_trim_section=True):
    """Return the draft of one amplifier by its sections; without BIASSEC it has no overscan.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    suffix : str
        The end of the keywords of the amplifier's cards.
    takes_overscan : bool
        Whether the overscan is looked for.
    takes_trim_section : bool, optional
        Whether the section of trimmed pixels is looked for.
    """
    bias = reader.section(BIAS_CARDS, suffix) if takes_overscan else None
    data = reader.section(DATA_CARDS, suffix)
    section = (_trim_section(reader, suffix, data) if takes_trim_section else None) or data
    kept_region = section.region if section else _data_beside_overscan(reader, bias)
    strip = _strip_beside_data(reader, bias, kept_region) if bias else None
    if bias is None and takes_overscan:
        _refuse_numbered_strips(reader)
        _check_size(reader, kept_region)
        _note_no_overscan(reader, kept_region, is_trimmed=section is not None)
        _warn_of_unread_cards(reader)
    name = f"{reader.name}{suffix}" if suffix else reader.name
    # A family shares one array, in which its amplifiers lie as they do on the chip.
    detector = () if suffix and reader.is_alone else _detector_sections(reader, suffix)
    if suffix:
        detector = _sections_with_part_of_detector(reader, data, detector)
    draft = Draft(
        name=name,
        hdu=reader.index,
        data=kept_region,
        overscan=(strip,) if strip else (),
        detector=_turned_sections(detector, section),
        detector_of=data.region if data else None,
        may_be_lengthened=True,
        **reader.figures(suffix),
    )
    _check_detector(reader, draft)
    return draft


def _trim_section(reader, suffix, data):
    """Return TRIMSEC, a `DirectedSection` that must lie in DATASEC; None without the card."""
    card = reader.section_card(TRIM_CARDS, suffix)
    if card is None:
        return None
    trim = reader.section(TRIM_CARDS, suffix)
    if data is not None and not data.region.contains(trim.region):
        raise reader.contradiction(
            "TRIMSEC keeps pixels that are not in DATASEC",
            card[0],
            card[1],
            f"within {data.region.to_fits()}",
        )
    return trim


def _data_beside_overscan(reader, bias):
    """Return the data where only BIASSEC is given: the frame without that strip at its edge."""
    if bias is None:
        return reader.frame
    strip, (ny, nx) = bias.region, reader.shape
    if strip.y1 - strip.y0 >= strip.x1 - strip.x0:
        before, after = Region(0, ny, 0, strip.x0), Region(0, ny, strip.x1, nx)
        is_at_start, is_at_end = strip.x0 == 0, strip.x1 == nx
    else:
        before, after = Region(0, strip.y0, 0, nx), Region(strip.y1, ny, 0, nx)
        is_at_start, is_at_end = strip.y0 == 0, strip.y1 == ny
    data = after if is_at_start else before
    if is_at_start == is_at_end:
        raise reader.contradiction(
            "neither TRIMSEC nor DATASEC says which pixels are science",
            "BIASSEC",
            strip.to_fits(),
        )
    text = f"no TRIMSEC or DATASEC: {data.to_fits()}, all beside BIASSEC, is kept"
    reader.notes.append(Note(text))
    return data


def _strip_beside_data(reader, bias, kept_region):
    """Return the strip that BIASSEC names, beside the data.

    The cameras of Las Campanas name the corner where the columns and the rows of overscan meet.
    Where rows are read out, IRAF uses only the columns of BIASSEC, and takes these columns from all
    rows of the data. This function does the same.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    bias : ccdflow.camera.sections.DirectedSection
    kept_region : ccdflow.camera.sections.Region
        The data.

    Returns
    -------
    ccdflow.camera.sections.Region
    """
    corner = bias.region
    if corner.shares_rows(kept_region) or corner.shares_columns(kept_region):
        return corner
    strip = replace(corner, y0=kept_region.y0, y1=kept_region.y1)
    text = (
        f"BIASSEC {corner.to_fits()} is beside the corner of the data: its columns are used, of"
        f" the rows of the data: {strip.to_fits()}"
    )
    reader.notes.append(Note(text))
    return strip


def _check_size(reader, kept_region):
    """Refuse a frame with more science pixels than its detector has."""
    for keyword in ("DETSIZE", "CCDSIZE"):
        card = reader.section_card((keyword,))
        if card is None:
            continue
        detector = reader.parse_section(*card).region.shape
        if any(count > length for count, length in zip(kept_region.shape, detector, strict=True)):
            raise reader.contradiction(
                "the frame has more pixels than the detector, and no card says which are overscan",
                keyword,
                card[1],
                f"at least {kept_region.shape[1]} x {kept_region.shape[0]}",
            )


def _refuse_numbered_strips(reader):
    """Refuse BIASSEC1, BIASSEC2 ... beside one section of data: no card tells which one to use."""
    keywords = [key for key in reader.headers[reader.index] if _NUMBERED_BIAS.fullmatch(key)]
    strips = [card for card in (reader.section_card((key,)) for key in keywords) if card]
    if strips:
        raise reader.contradiction(
            "overscan strips are numbered, the data are not: no card says which belong together",
            ", ".join(keyword for keyword, _ in strips),
            " ".join(text for _, text in strips),
        )


def _note_no_overscan(reader, kept_region, *, is_trimmed):
    """Add a note that no card names an overscan, with the pixels that are kept."""
    if not is_trimmed:
        text = "no card names science pixels or overscan: the frame is left whole"
        reader.notes.append(Note(text, mark=NO_OVERSCAN))
    elif kept_region != reader.frame:
        text = f"no card names an overscan: trimmed to {kept_region.to_fits()} only"
        reader.notes.append(Note(text, mark=NO_OVERSCAN))
        unused_lines = _unused_lines(reader.shape, kept_region)
        if unused_lines:
            topic = f"{unused_lines} beside the data are in no overscan strip"
            text = (
                f"{topic}: if they hold the bias level, it stays in the image (give `overscan:` in"
                " a camera's profile; `overscan: none` if they hold nothing)"
            )
            reader.notes.append(Note(text, topic=topic))


# Matches the keyword of a card on an overscan, in any dialect.
_OVERSCAN_CARDS = re.compile(
    r".*(?:OVER?SC|OVRSC|OSCAN|OVSC|PRESC|PRSC|POSTSC|PSTSC|PREPIX|POSTPIX|BIASSEC|NBIAS).*"
)
# Matches a value by which a card names no overscan: 0.0, F, none, [0:0,0:0].
_NONE_OR_ZERO = re.compile(r"0*\.?0*|f(?:alse)?|no|off|none|\[0:0,0:0\]", re.IGNORECASE)


def _warn_of_unread_cards(reader):
    """Warn of cards on an overscan that are not understood, where none is subtracted."""
    header = reader.headers[reader.index]
    unread_cards = []
    for keyword in dict.fromkeys(header):
        if not _OVERSCAN_CARDS.fullmatch(keyword):
            continue
        values = [
            content.value
            for content in contents_of_cards(header, keyword)
            if not says_unknown(content.value)
        ]
        if values and not _NONE_OR_ZERO.fullmatch("".join(str(values[0]).split())):
            unread_cards.append(f"{keyword} {values[0]}")
    if unread_cards:
        ellipsis = " ..." if len(unread_cards) > _MOST_CARDS_NAMED else ""
        topic = f"{', '.join(unread_cards[:_MOST_CARDS_NAMED])}{ellipsis}"
        text = (
            f"{topic}: about an overscan, and not understood: nothing is subtracted (give"
            " `overscan:` in a camera's profile; `overscan: none` if there is none)"
        )
        reader.notes.append(Note(text, topic=topic))


# Fewest unused columns or rows that may be a strip: one or two at an edge are bad columns or rows.
_NARROWEST_STRIP = 3


def _unused_lines(shape, kept_region):
    """Return the unused columns and rows beside the data, in words; '' for few of them."""
    spans = []
    for word, start, stop, length in (
        ("columns", kept_region.x0, kept_region.x1, shape[1]),
        ("rows", kept_region.y0, kept_region.y1, shape[0]),
    ):
        ranges = [(0, start), (stop, length)]
        spans += [
            f"{word} {unused_start + 1} to {unused_stop}"
            for unused_start, unused_stop in ranges
            if unused_stop - unused_start >= _NARROWEST_STRIP
        ]
    return " and ".join(spans)


def _detector_sections(reader, suffix):
    """Return the amplifier's sections of the detector, as ((card, DirectedSection), ...)."""
    sections = []
    for name, keywords in DETECTOR_CARDS.items():
        card = reader.section_card(keywords, suffix)
        if card is not None:
            sections.append((name, reader.parse_section(*card)))
    return tuple(sections)


def _sections_with_part_of_detector(reader, data, detector):
    """Return the detector sections of an amplifier of a family, with its part of the HDU's DETSEC.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    data : ccdflow.camera.sections.DirectedSection or None
        The amplifier's data.
    detector : tuple of (str, ccdflow.camera.sections.DirectedSection)
        Its own sections of the detector.

    Returns
    -------
    tuple of (str, ccdflow.camera.sections.DirectedSection)
    """
    if reader.is_alone or data is None or "DETSEC" in dict(detector):
        return detector
    return (*_part_of_detector_section(reader, data.region), *detector)


def _part_of_detector_section(reader, own_region):
    """Return an amplifier's part of the DETSEC of its HDU, as (("DETSEC", DirectedSection),).

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    own_region : ccdflow.camera.sections.Region
        The amplifier's data: a part of DATASEC, to which DETSEC belongs (MegaCam).

    Returns
    -------
    tuple of (str, ccdflow.camera.sections.DirectedSection)
        Empty without these two cards, or if they contradict each other.
    """
    card = reader.section_card(("DETSEC",))
    whole = reader.section(("DATASEC",)) if card else None
    if whole is None or whole.is_flipped_x or whole.is_flipped_y:
        return ()
    section = reader.parse_section(*card)
    region, by, bx = section.region, *reader.binning
    if not fits_binned(region, whole.region, (by, bx)) or not whole.region.contains(own_region):
        return ()
    offsets_x = [bx * (x - whole.region.x0) for x in (own_region.x0, own_region.x1)]
    offsets_y = [by * (y - whole.region.y0) for y in (own_region.y0, own_region.y1)]
    x0, x1 = _ends_on_detector(offsets_x, region.x0, region.x1, is_flipped=section.is_flipped_x)
    y0, y1 = _ends_on_detector(offsets_y, region.y0, region.y1, is_flipped=section.is_flipped_y)
    return (("DETSEC", replace(section, region=Region(y0, y1, x0, x1))),)


def _ends_on_detector(offsets, start, stop, *, is_flipped):
    """Return the first pixel of a part of a section along an axis, and the one after its last.

    Parameters
    ----------
    offsets : list of int
        Pixels of the detector from the start of the data to the start and the end of the part.
    start, stop : int
        The section's first pixel, and the one after its last.
    is_flipped : bool
        Whether the section runs backwards.

    Returns
    -------
    (int, int)
    """
    part_start, part_stop = offsets
    if is_flipped:
        return stop - part_stop, stop - part_start
    return start + part_start, start + part_stop


def _turned_sections(detector, own_section):
    """Return detector sections, turned where the pixels' own section runs backwards."""
    if own_section is None:
        return detector
    return tuple(
        (
            name,
            replace(
                section,
                is_flipped_x=section.is_flipped_x != own_section.is_flipped_x,
                is_flipped_y=section.is_flipped_y != own_section.is_flipped_y,
            ),
        )
        for name, section in detector
    )


def _check_detector(reader, draft):
    """Refuse a CCDSEC or DETSEC whose size is neither that of DATASEC nor that of TRIMSEC."""
    base = draft.detector_of or draft.data
    bases = {draft.data, base}
    for keyword, section in draft.detector:
        is_unbinned = any(section.region.shape == region.shape for region in bases)
        if not is_unbinned and not any(
            fits_binned(section.region, region, reader.binning) for region in bases
        ):
            raise detector_mismatch(draft, section, base, reader.binning, keyword, file=reader.file)
