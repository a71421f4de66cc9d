"""Amplifiers from a camera's profile, for one frame."""

from __future__ import annotations

import fnmatch
from contextlib import suppress
from dataclasses import replace

from ccdflow.camera.amplifiers.hdu_reader import section_text
from ccdflow.camera.amplifiers.stated_sections import check_strips
from ccdflow.camera.gains import (
    GAIN_FIGURE,
    READ_NOISE_FIGURE,
    SATURATION_FIGURE,
    figure_of_content,
    positive_electrons_of_cards,
)
from ccdflow.camera.geometry import Draft, detector_sections
from ccdflow.camera.image_hdus import array_shape, image_hdus
from ccdflow.camera.sections import Region, RegionSpec
from ccdflow.errors import FrameError
from ccdflow.files.cards import CardSpec, card_value, contents_of_cards, hdu_indices
from ccdflow.files.values import MOST_ELECTRONS, MOST_SATURATION


def drafts_from_profile(headers, specs, size, cards, *, file):
    """Return the drafts of a profile's amplifiers for one frame, and warnings on them.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    specs : tuple of ccdflow.camera.geometry.AmplifierSpec
    size : (int or None, int or None)
        NAXIS1, NAXIS2 that the profile is made for; None for any.
    cards : ccdflow.camera.geometry.Cards
    file : str

    Returns
    -------
    drafts : list of Draft
    notes : list of ccdflow.camera.geometry.Note
        Warnings on an overscan that may hold data.

    Raises
    ------
    FrameError
        If the frame has another size, lacks an HDU, or a region leaves it, or if its header shows
        that the overscan holds data and the profile is not made for this size.
    """
    drafts = []
    for spec, index in _amplifiers_with_hdus(headers, specs, file=file):
        shape = array_shape(headers[index], file=file)
        _check_size(shape, size, file=file)
        drafts.append(_draft_of_profile(headers, spec, index, shape, cards, file=file))
    return drafts, check_strips(headers, drafts, size, binning_cards=cards.binning, file=file)


def _check_size(shape, size, *, file):
    """Raise `FrameError` for a frame that is not of the size, (nx, ny), of its profile."""
    ny, nx = shape
    if size[0] in (None, nx) and size[1] in (None, ny):
        return
    raise FrameError(
        "the frame is not of the size the camera's profile is made for",
        file=file,
        keyword="NAXIS1, NAXIS2",
        value=f"{nx} x {ny}",
        allowed=" x ".join("any" if length is None else str(length) for length in size),
        remedy="give this window or binning a profile of its own, recognised by NAXIS1",
    )


def _amplifiers_with_hdus(headers, specs, *, file):
    """Yield each amplifier with its HDU; an amplifier of several HDUs gets a name in each."""
    for spec in specs:
        if not isinstance(spec.hdu, tuple) and not _is_pattern(spec.hdu):
            yield spec, _only_hdu(headers, spec, file=file)
            continue
        hdus = spec.hdu if isinstance(spec.hdu, tuple) else (spec.hdu,)
        images = image_hdus(headers)
        indices = [index for index in images if any(_is_hdu(headers, index, hdu) for hdu in hdus)]
        if not indices:
            raise FrameError(
                f"the file has no image in the HDUs of amplifier {spec.name}",
                file=file,
                keyword="hdu",
                value=", ".join(map(str, hdus)),
                allowed=f"some of {list(images)}, or their EXTNAMEs",
                remedy="name HDUs with images at `hdu:` in the profile",
            )
        for index in indices:
            yield replace(spec, name=f"{spec.name}-{index}", hdu=index), index


def _is_pattern(hdu):
    """Return whether the HDU of a profile is a pattern of names, such as IM*."""
    return isinstance(hdu, str) and any(letter in hdu for letter in "*?[")


def _is_hdu(headers, index, hdu):
    """Return whether an HDU has the number, or the EXTNAME, that a profile gives."""
    if isinstance(hdu, int):
        return index == hdu
    name = str(card_value(headers[index], "EXTNAME") or "")
    return fnmatch.fnmatchcase(name.upper(), hdu.strip().upper())


def _only_hdu(headers, spec, *, file):
    """Return the index of an amplifier's HDU: that of the profile, or that of the only image."""
    images = image_hdus(headers)
    if spec.hdu is not None:
        indices = hdu_indices(headers, spec.hdu)
        if indices and indices[0] in images:
            return indices[0]
        raise FrameError(
            f"the file has no image in the HDU of amplifier {spec.name}",
            file=file,
            keyword="hdu",
            value=spec.hdu,
            allowed=f"one of {list(images)}, or its EXTNAME",
            remedy="name an HDU with an image at `hdu:` in the profile",
        )
    if len(images) == 1:
        return images[0]
    raise FrameError(
        f"the file has {len(images)} images",
        file=file,
        allowed="1",
        remedy=f"give `hdu:` for amplifier {spec.name} in the camera's profile",
    )


def _draft_of_profile(headers, spec, index, shape, cards, *, file):
    """Return the draft of an amplifier of a profile in the frame of these headers.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    spec : ccdflow.camera.geometry.AmplifierSpec
    index : int
        The HDU.
    shape : (int, int)
        Shape of its image: (ny, nx).
    cards : ccdflow.camera.geometry.Cards
    file : str
        Named in the error.
    """
    header = headers[index]

    def region_of(region_spec, key):
        """Return the `Region` at a key of the profile."""
        keyword = f"amplifier {spec.name}, {key}"
        return _region_in_frame(region_spec, header, shape, keyword=keyword, file=file)

    def figure_of(quantity, gain=None):
        """Return the gain, read noise or saturation of an entry; None where it is unknown."""
        cards_of_figure = getattr(cards, quantity)
        entry = getattr(spec, quantity)
        return _figure_of_profile(entry, headers, index, cards_of_figure, quantity, gain)

    data = Region(0, shape[0], 0, shape[1]) if spec.data is None else region_of(spec.data, "data")
    gain = figure_of(GAIN_FIGURE)
    used_gain = cards.profile_gain or gain
    place, detector = None, ()
    if spec.place is None:
        detector = _detector_sections(header)
    elif spec.place.form == "keyword":
        detector = detector_sections(header, (spec.place.text,), file=file)
    else:
        place = Region.from_fits(spec.place.text, file=file, keyword=f"amplifier {spec.name}")
    return Draft(
        name=spec.name,
        hdu=index,
        data=data,
        overscan=tuple(region_of(strip, "overscan") for strip in spec.overscan),
        along=spec.along,
        place=place,
        detector=detector,
        detector_of=_datasec_around(header, data, shape),
        is_flipped_x=spec.is_flipped_x,
        is_flipped_y=spec.is_flipped_y,
        gain=gain,
        read_noise=figure_of(READ_NOISE_FIGURE, used_gain),
        saturation=figure_of(SATURATION_FIGURE, used_gain),
        may_be_lengthened=any(strip.form == "keyword" for strip in spec.overscan),
    )


def _region_in_frame(region_spec, header, shape, *, keyword, file):
    """Return the `Region` of a part of a profile, in the frame of a header.

    Parameters
    ----------
    region_spec : RegionSpec
    header : astropy.io.fits.Header
    shape : (int, int)
        (ny, nx) of the frame.
    keyword, file : str
        The part of the profile, and the frame, named in errors.
    """
    if region_spec.form != "keyword":
        return region_spec.resolve(shape, file=file, keyword=keyword)
    text = section_text(header, region_spec.text, file=file)
    if text is None:
        raise FrameError(
            "the card that the camera's profile names is absent",
            file=file,
            keyword=keyword,
            value=region_spec.text,
            remedy="name another card in the camera's profile, or give the region itself",
        )
    return RegionSpec("fits", text).resolve(shape, file=file, keyword=region_spec.text)


def _figure_of_profile(entry, headers, index, usual_cards, quantity, gain):
    """Return a gain, read noise or saturation; None where neither profile nor header has it.

    Parameters
    ----------
    entry : float, CardSpec or None
        As the profile has it: the value, its card, or None for the usual cards.
    headers : list of astropy.io.fits.Header
    index : int
        The amplifier's HDU.
    usual_cards : tuple of CardSpec
    quantity : {'gain', 'read_noise', 'saturation'}
    gain : float or None
        Electrons per adu, for cards in another unit.
    """
    largest = MOST_SATURATION if quantity == SATURATION_FIGURE else MOST_ELECTRONS
    if isinstance(entry, CardSpec):
        hdus = (index, 0) if entry.hdu is None else hdu_indices(headers, entry.hdu)
        contents = (
            content
            for hdu in hdus
            for content in contents_of_cards(headers[hdu], entry.keyword, entry.occurrence)
        )
        content = next(contents, None)
        figure = content and figure_of_content(content, quantity, gain=gain, largest=largest)
        # A gain of 0 counts as no gain, in the usual cards as well.
        return figure or None
    if entry is not None:
        return entry
    return positive_electrons_of_cards(
        headers, usual_cards, index, quantity=quantity, gain=gain, largest=largest
    )


def _detector_sections(header):
    """Return the header's DETSEC and CCDSEC; a card that cannot be read counts as absent."""
    sections = []
    for keyword in ("DETSEC", "CCDSEC"):
        with suppress(FrameError):
            sections += detector_sections(header, (keyword,), file=None)
    return tuple(sections)


def _datasec_around(header, data, shape):
    """Return the header's DATASEC, the pixels of DETSEC, if it contains the data; else None."""
    text = card_value(header, "DATASEC")
    if not isinstance(text, str):
        return None
    try:
        region = Region.from_fits(text, shape=shape)
    except FrameError:
        # The profile replaces the header's sections: a DATASEC that cannot be read does no harm.
        return None
    return region if region.is_within(shape) and region.contains(data) else None
