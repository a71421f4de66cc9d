"""The contact sheet of a night: a small picture of each frame; a click shows it large."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from ccdflow.pages.contents import Section
from ccdflow.pages.rendering import escape_unprintable, href
from ccdflow.pages.text_formatting import sort_by_type, type_rank
from ccdflow.wording import count

# Matches the ending of a FITS file: .fits, .FIT.gz.
_FILE_ENDING = re.compile(r"\.(fits|fit|fts)(\.(gz|fz|bz2|xz))?$", re.IGNORECASE)
_NEEDED_FIELDS = ("unit", "centre", "scale", "low", "high", "zscale")


@dataclass(frozen=True)
class SmallPicture:
    """A small picture of a frame.

    Attributes
    ----------
    path : str
        Relative to the page.
    step : str
        'reduced' or 'calibrated'.
    product : str
        Path of the pictured FITS file, relative to the page.
    values : dict of str to object
        The fields of a `ccdflow.pages.pictures.small_picture.PictureValues`.
    """

    path: str
    step: str
    product: str
    values: dict[str, object] = field(repr=False)


@dataclass(frozen=True)
class Tile:
    """A frame on the contact sheet.

    Attributes
    ----------
    file : str
        The raw file.
    image_type : str
    caption : str
        Object, filter and exposure in a few words.
    time : str
        Time of observation, as text.
    marks : tuple of (str, str)
        A word or two on each oddity of the frame, and the reason.
    pictures : tuple of SmallPicture
        The reduced frame, and the calibrated one where it exists; () without a product.
    notes : tuple of (str, str)
        Remarks that most frames of the night share, in the form of the marks.
    """

    file: str
    image_type: str = ""
    caption: str = ""
    time: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    pictures: tuple[SmallPicture, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def path(self):
        """The raw file without the ending of its name, such as .fits.gz."""
        return _FILE_ENDING.sub("", self.file) or self.file

    @property
    def name(self):
        """The name of the raw file without its ending and folders."""
        return self.path.rpartition("/")[2]

    @property
    def type_rank(self):
        """The rank of the frame's type when the sheet is sorted by type, from 0."""
        return type_rank(self.image_type)


@dataclass(frozen=True)
class SheetTiles:
    """The content of the contact sheet.

    Attributes
    ----------
    tiles : tuple of Tile
        The tiles in the order of time; frames without a time are last.
    n_by_type : tuple of (str, int)
        Each image type, and the number of its frames.
    """

    tiles: tuple[Tile, ...] = ()
    n_by_type: tuple[tuple[str, int], ...] = ()

    @property
    def names(self):
        """The names of all tiles; all have their folders if any two frames share a name."""
        n_by_name = Counter(tile.name for tile in self.tiles)
        has_unique_names = not n_by_name or max(n_by_name.values()) == 1
        return [tile.name if has_unique_names else tile.path for tile in self.tiles]

    @property
    def n_marked(self):
        """Number of frames with a mark."""
        return sum(bool(tile.marks) for tile in self.tiles)

    @property
    def data(self):
        """The values of each frame for the script of the page, as JSON that HTML may contain."""
        values = [
            [
                escape_unprintable(tile.file),
                [
                    [
                        href(picture.path), picture.step, href(picture.product),
                        *(picture.values[name] for name in _NEEDED_FIELDS),
                    ]
                    for picture in tile.pictures
                ],
            ]
            for tile in self.tiles
        ]  # fmt: skip
        text = json.dumps(values, separators=(",", ":"), ensure_ascii=True)
        return text.replace("<", "\\u003c").replace("&", "\\u0026")


def sheet_section(tiles):
    """Return the section with the contact sheet.

    Parameters
    ----------
    tiles : sequence of Tile

    Returns
    -------
    Section
    """
    tiles_by_time = sorted(tiles, key=lambda tile: (tile.time or "~", tile.file))
    n_by_type = tuple(sort_by_type(Counter(tile.image_type for tile in tiles_by_time).items()))
    sheet = SheetTiles(tuple(tiles_by_time), n_by_type)
    summary = ()
    if sheet.n_marked:
        verb = "is" if sheet.n_marked == 1 else "are"
        summary = (
            f"{count(sheet.n_marked, 'frame')} to look at {verb} marked on the contact sheet.",
        )
    return Section(
        "sheet", "Contact sheet", summary, template="sheet.html.j2", content=sheet, order=10
    )
