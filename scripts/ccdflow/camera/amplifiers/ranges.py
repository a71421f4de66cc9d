"""Amplifiers from cards with the first and last pixel of each: Subaru's S_EFMN11, S_OSMX11."""

from __future__ import annotations

import re

from ccdflow.camera.geometry import Draft
from ccdflow.camera.sections import Region, region_within
from ccdflow.files.values import as_number

# Matches the card with the first effective pixel of amplifier n along x, S_EFMNn1. In the names of
# such cards the first letter is of the camera (Suprime-Cam's S, Hyper Suprime-Cam's T), EF is the
# effective area and OS the overscan, MN the first pixel and MX the last.
_FIRST_PIXEL_CARD = re.compile(r"([A-Z])_EFMN(\d)1")
_EFFECTIVE_TYPE, _OVERSCAN_TYPE = "EF", "OS"


def drafts_from_ranges(reader):
    """Return the amplifiers of an HDU from the first and last pixel of their data and overscans.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader

    Returns
    -------
    list of Draft
        Empty where there are no such cards.

    Raises
    ------
    FrameError
        If a region leaves the frame, or is empty.
    """
    matches = (_FIRST_PIXEL_CARD.fullmatch(keyword) for keyword in reader.headers[reader.index])
    letters_and_names = dict.fromkeys(match.groups() for match in matches if match)
    drafts = []
    for letter, name in letters_and_names:
        data, strip = (
            _stated_region(reader, f"{letter}_{section_type}", name)
            for section_type in (_EFFECTIVE_TYPE, _OVERSCAN_TYPE)
        )
        gain = as_number(reader.value(f"{letter}_GAIN{name}"))
        figures = reader.figures()
        drafts.append(
            Draft(
                name=f"{reader.name}{name}",
                hdu=reader.index,
                data=data,
                overscan=() if strip is None else (strip,),
                may_be_lengthened=True,
                **(figures | {"gain": gain or figures["gain"]}),
            )
        )
    return drafts


def _stated_region(reader, prefix, name):
    """Return the region of one amplifier; None for an overscan of no pixels."""
    cards = [f"{prefix}{end}{name}{axis}" for axis in (2, 1) for end in ("MN", "MX")]
    y0, y1, x0, x1 = (reader.count(card) for card in cards)
    if prefix.endswith(_OVERSCAN_TYPE) and not all((y0, y1, x0, x1)):
        return None
    region = Region(y0 - 1, y1, x0 - 1, x1)
    text = f"{x0} to {x1}, {y0} to {y1}"
    if min(region.shape) < 1 or min(y0, x0) < 1:
        raise reader.contradiction("the region is empty", cards[2], text, "first <= last, from 1")
    return region_within(region, reader.shape, text, file=reader.file, keyword=cards[2])
