"""Masters of a larger window: the place of a frame on its chip, and the masters that contain it.

The inventory gives all values: sections on the chip (CCDSEC or DETSEC) or the origins of windows
(XORGSUBF and YORGSUBF), and the amplifiers' geometry.
`ccdflow.calibrate.master_windows` compares the region with the products' own cards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from astropy.io import fits

from ccdflow.calibrate.applied_masters import BIAS, GAIN_ROUNDING
from ccdflow.calibrate.master_windows import ORIGIN_CARDS, region_by_sections, section_by_origin
from ccdflow.camera import identity
from ccdflow.camera.geometry import Amplifier
from ccdflow.errors import FrameError
from ccdflow.files.cards import as_integer
from ccdflow.files.values import as_number
from ccdflow.frame.placement import axis_shifts, detector_section
from ccdflow.frame.products import product_images
from ccdflow.kinds.matching.setups import is_level_subtracted
from ccdflow.run.lookups import Lookup

# Matches "CCDSEC [1:512,1:512], DETSEC [1:512,1:512]".
_SECTION_CARD = re.compile(r"(?:^|, )((?:CCD|DET)SEC) (\[[^\]]*\])")
# Matches each card with the place of a window: two windows of one chip differ in these cards.
_PLACE_CARD = re.compile(r"(?:^|, )(?:CCDSEC|DETSEC) \[[^\]]*\]|(?:^|, )CRVAL[12]U [^,]*")
_WINDOW_VALUES = ("size", "window", "part", "layout")
# The meanings of the cards with the place of a window.
_PLACE_MEANINGS = ("place", "section")


@dataclass(frozen=True)
class WindowPlace:
    """Where the frames of a window lie on their chip.

    Attributes
    ----------
    sections : dict of str to str
        CCDSEC and DETSEC of the reduced frames, those that exist; without both, the section that
        the origin of the window gives, under the key XORGSUBF.
    shape : (int, int)
        (ny, nx) of the reduced frames.
    amplifiers : tuple of ccdflow.camera.geometry.Amplifier
    is_level_subtracted : bool
        Whether the level of the overscan is subtracted from all amplifiers.
    """

    sections: dict[str, str]
    shape: tuple[int, int]
    amplifiers: tuple[Amplifier, ...]
    is_level_subtracted: bool


def window_place_of(context, row):
    """Return the `WindowPlace` of a frame; None where no card has the place.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row

    Returns
    -------
    WindowPlace or None
    """
    facts = row.facts
    place_key = (
        row.geometry,
        row.recipe,
        *(facts[name] for name in ("part", "datasec", "trimsec")),
    )
    place_key += (_origin_of(row), facts["ccdsum"])
    return context.lookup((Lookup.PLACE, *place_key), lambda: _window_place(context, row))


def _window_place(context, row):
    """Return the `WindowPlace` of a frame by its cards; None where no card has the place."""
    cards, origin = dict(_SECTION_CARD.findall(row.facts["part"])), _origin_of(row)
    geometry, recipe = context.store.geometry(row.geometry), context.store.recipe(row.recipe)
    images = product_images(geometry, recipe)
    if not (cards or origin) or len(images) != 1 or not recipe.trim or images[0].raw_hdu is None:
        return None
    (image,) = images
    shape = dict(geometry.raw_shapes)[image.raw_hdu]
    sections = (
        _sections_by_cards(row, cards, image, shape)
        if cards
        else _sections_by_origin(row, origin, image, shape)
    )
    if not sections:
        return None
    is_subtracted = is_level_subtracted(recipe, image.amplifiers)
    return WindowPlace(sections, image.shape, image.amplifiers, is_subtracted)


def _sections_by_cards(row, cards, image, shape):
    """Return the sections of a reduced image on the chip: {keyword: section}.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row
    cards : dict of str to str
        CCDSEC and DETSEC of the raw image, those that exist.
    image : ccdflow.frame.products.ProductImage
    shape : (int, int)
        (ny, nx) of the raw image.
    """
    headers = [fits.Header() for _ in range(image.raw_hdu + 1)]
    cards_of_image = {"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0], **cards}
    for keyword, name in (("DATASEC", "datasec"), ("TRIMSEC", "trimsec")):
        if row.facts[name]:
            cards_of_image[keyword] = row.facts[name]
    headers[image.raw_hdu].update(cards_of_image)
    sections = {
        keyword: detector_section(headers, image.amplifiers, image.shape, keyword)
        for keyword in cards
    }
    return {keyword: text for keyword, text in sections.items() if text}


def _origin_of(row):
    """Return (column, row) of a window's origin, binned pixels.

    () where no cards have whole numbers for it, and where an LTV card is not 0.
    """
    return _origin_of_setting(row.facts["setting"])


# Thousands of masters have a few settings.
@lru_cache(maxsize=1024)
def _origin_of_setting(setting):
    """Return `_origin_of` a row with a setting."""
    cards = identity.cards_of(setting)
    origin = tuple(as_integer(cards.get(name)) for name in ORIGIN_CARDS)
    if None in origin or any(as_number(cards.get(name, 0)) != 0 for name in ("LTV1", "LTV2")):
        return ()
    return origin


def _sections_by_origin(row, origin, image, shape):
    """Return a reduced image's section on the chip, {keyword of the origin: section}; {} for none.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row
    origin : (int, int)
        As `_origin_of` returns it.
    image : ccdflow.frame.products.ProductImage
    shape : (int, int)
        (ny, nx) of the raw image.
    """
    if any(amplifier.is_flipped_x or amplifier.is_flipped_y for amplifier in image.amplifiers):
        return {}
    shifts_of_amplifiers = {axis_shifts(amplifier) for amplifier in image.amplifiers}
    if len(shifts_of_amplifiers) > 1:
        return {}
    header = fits.Header({"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0]})
    if row.facts["ccdsum"]:
        header["CCDSUM"] = row.facts["ccdsum"]
    header.update(zip(ORIGIN_CARDS, origin, strict=True))
    (shifts,) = shifts_of_amplifiers
    header.update({f"LTV{axis}": each.offset for axis, each in enumerate(shifts, start=1)})
    text = section_by_origin(header, image.shape)
    return {ORIGIN_CARDS[0]: text} if text else {}


class ChipWindows:
    """The windows in which the masters of a kind were read out, by chip.

    Setups are as `ccdflow.kinds.matching.setups.setup_of` returns them.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    """

    def __init__(self, context):
        self._context = context
        self._windows = {}
        self._added_keys = set()
        self._larger_windows_by_place = {}

    def add(self, row, setup):
        """Note the window of a master.

        Parameters
        ----------
        row : ccdflow.run.raw_frames.rows.Row
            Row of a member of the master.
        setup : tuple of (str, str)
            Setup of the master.
        """
        origin, part = _origin_of(row), row.facts["part"]
        # Thousands of masters have a few windows.
        key = (setup, origin, part, row.recipe)
        if (part or origin) and key not in self._added_keys:
            self._added_keys.add(key)
            windows_of_chip = self._windows.setdefault(_chip_of(self._context, row, setup), {})
            windows_of_chip.setdefault((setup, origin), row)

    def larger_windows(self, row, setup, kind):
        """Return the larger windows that contain the whole of a frame, the smallest first.

        Parameters
        ----------
        row : ccdflow.run.raw_frames.rows.Row
            The frame.
        setup : tuple of (str, str)
            Setup of the frame.
        kind : {'bias', 'dark', 'flat'}

        Returns
        -------
        list of (tuple, str, ccdflow.camera.sections.Region)
            Setup of a master; header values on device and setting of its members; the region of
            the master in which the frame lies.
        """
        origin = _origin_of(row)
        if not (row.facts["part"] or origin):
            return []
        windows_of_chip = self._windows.get(_chip_of(self._context, row, setup), {})
        if not windows_of_chip.keys() - {(setup, origin)}:
            return []
        facts = row.facts
        key = (setup, origin, row.geometry, facts["datasec"], facts["trimsec"])
        if key not in self._larger_windows_by_place:
            windows, frame_place = [], window_place_of(self._context, row)
            for (other_setup, _), member in windows_of_chip.items():
                place = window_place_of(self._context, member)
                region = region_of(frame_place, place, kind)
                if region is not None:
                    size = place.shape[0] * place.shape[1]
                    windows.append((size, other_setup, member.facts["setting"], region))
            self._larger_windows_by_place[key] = [each[1:] for each in sorted(windows)]
        return self._larger_windows_by_place[key]


def cards_in_larger_window(cards, cards_of_larger):
    """Return a frame's cards on device and setting, with the place of a larger window.

    Parameters
    ----------
    cards, cards_of_larger : dict of str to str
        As `ccdflow.camera.identity.cards_of` returns them.

    Returns
    -------
    dict of str to str
    """
    other_cards = {
        name: value
        for name, value in cards.items()
        if not identity.has_meaning(name, _PLACE_MEANINGS)
    }
    places = {
        name: value
        for name, value in cards_of_larger.items()
        if identity.has_meaning(name, _PLACE_MEANINGS)
    }
    return other_cards | places


def _chip_of(context, row, setup):
    """Return the values that the frames of all windows of one chip share: setup, part, recipe."""
    shared_values = tuple(each for each in setup if each[0] not in _WINDOW_VALUES)
    recipe = context.lookup(
        (Lookup.CHIP_RECIPE, row.recipe), lambda: _recipe_without_order(context, row)
    )
    return shared_values, _PLACE_CARD.sub("", row.facts["part"]).strip(", "), recipe


def _recipe_without_order(context, row):
    """Return a frame's recipe without the order of its model.

    The settings have one order for a camera; it is lower only for a window with few rows.
    """
    settings = context.store.recipe(row.recipe).canonical()
    return tuple(each for each in settings.items() if each[0] != "order")


def region_of(frame_place, master_place, kind):
    """Return the region of a master in which the frames of a window lie; None without one.

    Parameters
    ----------
    frame_place, master_place : WindowPlace or None
        Place of the frame, and of the master.
    kind : {'bias', 'dark', 'flat'}

    Returns
    -------
    ccdflow.camera.sections.Region or None
    """
    if frame_place is None or master_place is None or frame_place.shape == master_place.shape:
        return None
    if kind == BIAS and not (frame_place.is_level_subtracted and master_place.is_level_subtracted):
        # A window may have another bias level than the whole chip.
        return None
    for keyword, text in frame_place.sections.items():
        if keyword not in master_place.sections:
            continue
        try:
            region = region_by_sections(
                (text, master_place.sections[keyword]), (frame_place.shape, master_place.shape)
            )
        except FrameError:
            return None
        return region if _has_same_amplifiers(frame_place, master_place, region) else None
    return None


def _has_same_amplifiers(frame_place, master_place, region):
    """Return whether each amplifier of a window lies in one of the master with the same values.

    The values are name, flips and gain.
    """
    amplifiers_of_master = {each.name: each for each in master_place.amplifiers}
    for amplifier in frame_place.amplifiers:
        amplifier_of_master = amplifiers_of_master.get(amplifier.name)
        if amplifier_of_master is None or not amplifier_of_master.place.contains(
            amplifier.place.shift(region.y0, region.x0)
        ):
            return False
        flips = [
            (each.is_flipped_x, each.is_flipped_y) for each in (amplifier, amplifier_of_master)
        ]
        if flips[0] != flips[1]:
            return False
        gains = amplifier.gain, amplifier_of_master.gain
        if None in gains and gains != (None, None):
            return False
        if None not in gains and abs(gains[0] - gains[1]) > GAIN_ROUNDING * gains[1]:
            return False
    return True
