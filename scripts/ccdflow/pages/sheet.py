"""The contact sheet of a night: a small picture of each frame, which a click opens large."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field

from ccdflow.pages.contents import Section
from ccdflow.pages.rendering import href, visible
from ccdflow.pages.text_formatting import KINDS, count

# .fits, .FIT.gz.
_ENDING = re.compile(r"\.(fits|fit|fts)(\.(gz|fz|bz2|xz))?$", re.IGNORECASE)
_NEEDED = ("unit", "centre", "scale", "low", "high", "zscale")


@dataclass(frozen=True)
class SmallPicture:
    """A small picture of a frame.

    Attributes
    ----------
    path : str
        Relative to the page.
    what : str
        'reduced' or 'calibrated'.
    product : str
        Path of the frame itself, relative to the page.
    shown : dict
        As `dataclasses.asdict` makes it of a `ccdflow.pages.pictures.small_picture.Shown`.
    """

    path: str
    what: str
    product: str
    shown: dict[str, object] = field(repr=False)


@dataclass(frozen=True)
class Tile:
    """One frame of the sheet.

    Attributes
    ----------
    file : str
        The raw file.
    kind : str
        Image type.
    what : str
        Object, filter and exposure in a few words.
    time : str
        Time of observation, as text.
    marks : tuple of (str, str)
        What is odd: a word or two, and the reason.
    pictures : tuple of SmallPicture
        Reduced, and calibrated where it is; () for a frame without a product.
    notes : tuple of (str, str)
        What holds of it as of most others of the night; as marks.
    """

    file: str
    kind: str = ""
    what: str = ""
    time: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    pictures: tuple[SmallPicture, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def path(self):
        """The raw file without the ending that all have."""
        return _ENDING.sub("", self.file) or self.file

    @property
    def name(self):
        """The same without its folders."""
        return self.path.rpartition("/")[2]

    @property
    def place(self):
        """The place of its type among the types."""
        return KINDS.index(self.kind) if self.kind in KINDS else len(KINDS)


@dataclass(frozen=True)
class SheetTiles:
    """The content of the contact sheet.

    Attributes
    ----------
    tiles : tuple of Tile
        In the order of time.
    kinds : tuple of (str, int)
        Image types and their numbers of frames.
    """

    tiles: tuple[Tile, ...] = ()
    kinds: tuple[tuple[str, int], ...] = ()

    @property
    def names(self):
        """The names of all tiles: with their folders, on all of them, where two have one name."""
        seen = Counter(tile.name for tile in self.tiles)
        is_alone = not seen or max(seen.values()) == 1
        return [tile.name if is_alone else tile.path for tile in self.tiles]

    @property
    def odd(self):
        """Number of frames with a mark."""
        return sum(bool(tile.marks) for tile in self.tiles)

    @property
    def data(self):
        """The page script's values of each frame, as JSON that HTML may hold."""
        values = [
            [
                visible(tile.file),
                [
                    [
                        href(picture.path), picture.what, href(picture.product),
                        *(picture.shown[name] for name in _NEEDED),
                    ]
                    for picture in tile.pictures
                ],
            ]
            for tile in self.tiles
        ]  # fmt: skip
        text = json.dumps(values, separators=(",", ":"), ensure_ascii=True)
        return text.replace("<", "\\u003c").replace("&", "\\u0026")


def sheet_section(tiles):
    """Return the contact sheet.

    Parameters
    ----------
    tiles : sequence of Tile

    Returns
    -------
    Section
    """
    ordered = sorted(tiles, key=lambda tile: (tile.time or "~", tile.file))
    names = sorted({tile.kind for tile in ordered}, key=lambda kind: (Tile("", kind).place, kind))
    kinds = tuple((kind, sum(tile.kind == kind for tile in ordered)) for kind in names)
    sheet = SheetTiles(tuple(ordered), kinds)
    note = ()
    if sheet.odd:
        are = "is" if sheet.odd == 1 else "are"
        note = (f"{count(sheet.odd, 'frame')} to look at {are} marked on the contact sheet.",)
    return Section(
        "sheet", "Contact sheet", note, template="sheet.html.j2", content=sheet, order=10
    )


@dataclass(frozen=True)
class TimePoint:
    """One frame in the strip of time.

    Attributes
    ----------
    hours : float
        Time, hours.
    value : float
    kind : str
        Image type.
    words : str
        What is told of it.
    number : int
        Of its tile on the contact sheet; -1 for none.
    """

    hours: float
    value: float
    kind: str
    words: str
    number: int = -1


@dataclass(frozen=True)
class TimePanel:
    """One panel of the strip of time.

    Attributes
    ----------
    name, unit, hint : str
        The figure, its unit, and its text on hovering.
    points : tuple of TimePoint
    """

    name: str
    unit: str
    hint: str
    points: tuple[TimePoint, ...]

    @property
    def limits(self):
        """Lowest and highest value of the scale; never equal."""
        values = [point.value for point in self.points]
        low, high = min(values), max(values)
        room = max(0.08 * (high - low), 2e-4 * max(abs(low), abs(high)), 1e-6)
        return low - room, high + room

    @property
    def span(self):
        """Lowest and highest value in words."""
        low, high = (end(point.value for point in self.points) for end in (min, max))
        if low == high:
            return f"{low:.4g}".replace("-", "−")
        digits = max(
            0, 3 - math.floor(math.log10(max(high - low, 1e-3 * max(abs(high), 1e-3)))) - 1
        )
        texts = [f"{value:.{digits}f}".replace("-", "−") for value in (low, high)]
        return " to ".join(dict.fromkeys(texts))


@dataclass(frozen=True)
class TimePanels:
    """The strip of time: panels over one another, all with the same clock.

    Attributes
    ----------
    panels : tuple of TimePanel
    start, end : float
        Hours at the left and at the right edge.
    kinds : tuple of str
        The image types that occur.
    """

    panels: tuple[TimePanel, ...]
    start: float
    end: float
    kinds: tuple[str, ...]

    def x(self, point):
        """Return the place of a point from left to right, 0 to 1000."""
        return round(1000 * (point.hours - self.start) / (self.end - self.start), 1)

    def y(self, panel, point):
        """Return the place of a point from top to bottom, 0 to 100.

        Parameters
        ----------
        panel : TimePanel
            Its limits.
        point : TimePoint

        Returns
        -------
        float
        """
        low, high = panel.limits
        return round(100 * (high - point.value) / (high - low), 1)

    @property
    def ticks(self):
        """Places and words of the clock's lines: about six, at full hours or parts of them."""
        length = self.end - self.start
        step = next(
            (s for s in (1 / 60, 1 / 12, 1 / 6, 0.5, 1, 2, 3, 6, 12, 24) if length / s <= 7), 48
        )
        first = math.ceil(self.start / step - 1e-9)
        ticks = []
        for number in range(first, math.floor(self.end / step + 1e-9) + 1):
            minutes = round(number * step * 60)
            where = round(1000 * (number * step - self.start) / length, 1)
            ticks.append((where, f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"))
        return ticks


def strip_section(panels):
    """Return the strip of time; None where no panel has a point.

    Parameters
    ----------
    panels : sequence of TimePanel

    Returns
    -------
    Section or None
    """
    panels = tuple(panel for panel in panels if panel.points)
    hours = [point.hours for panel in panels for point in panel.points]
    if not hours:
        return None
    room = max(0.02 * (max(hours) - min(hours)), 1 / 60)
    kinds = {point.kind for panel in panels for point in panel.points}
    kinds = tuple(sorted(kinds, key=lambda kind: (Tile("", kind).place, kind)))
    strip = TimePanels(panels, min(hours) - room, max(hours) + room, kinds)
    return Section("clock", "Through the night", template="strip.html.j2", content=strip, order=20)
