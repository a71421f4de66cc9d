"""The geometry of a frame: science pixels, overscan and place of each amplifier.

A profile (`amplifiers/profile_sections.py`) or the frame's own cards
(`amplifiers/header_sections.py`) make a `Draft` of each amplifier. `amplifiers/assembly.py` checks
the drafts and puts them together.
"Draft" is a term: docs/architecture.md, "Words".
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from ccdflow.camera.hashed_text import hashed_text
from ccdflow.camera.sections import DirectedSection, Region, RegionSpec, parse_fits
from ccdflow.files.cards import (
    CardSpec,
    card_value,
)


@dataclass(frozen=True)
class Amplifier:
    """One amplifier of a frame.

    Attributes
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
        The region of the product image into which `data` go.
    is_flipped_x, is_flipped_y : bool
        Whether the columns, the rows are reversed in the product image.
    gain : float or None
        Electrons per adu.
    read_noise : float or None
        Electrons.
    saturation : float or None
        Raw adu at which a pixel counts as saturated.
    linear : float or None
        Raw adu above which the response is no longer linear.
    """

    name: str
    hdu: int
    data: Region
    overscan: tuple[Region, ...]
    along: str
    place: Region
    is_flipped_x: bool = False
    is_flipped_y: bool = False
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    linear: float | None = None

    def canonical(self):
        """Return a plain dict with every value that products depend on."""
        plain = {
            "along": self.along,
            "data": self.data.to_fits(),
            "flip": [self.is_flipped_x, self.is_flipped_y],
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
        """Return the amplifier of a plain dict that `canonical` returned.

        A value whose name is unknown is left out: another version of ccdflow wrote it.
        """
        field_names = {field.name for field in fields(cls)} | {"flip"}
        values = {name: value for name, value in canonical.items() if name in field_names}
        is_flipped_x, is_flipped_y = values.pop("flip")
        return cls(
            data=Region.from_fits(values.pop("data")),
            overscan=tuple(map(Region.from_fits, values.pop("overscan"))),
            place=Region.from_fits(values.pop("place")),
            is_flipped_x=is_flipped_x,
            is_flipped_y=is_flipped_y,
            **values,
        )


NO_OVERSCAN, LIT_STRIP_BY_CARD = "no_overscan", "doubted_strip"
"""Marks of notes. The first: no overscan is subtracted, because no card names one. The second: a
card shows that the strip of the profile may hold data; its text is a former name, which stored rows
have.
"""


class Note(NamedTuple):
    """A decision on a frame's amplifiers that its cards alone do not settle, or a warning.

    Attributes
    ----------
    text : str
    topic : str
        The card or the part that a warning is about, which has one line; '' for other notes.
    mark : {'', 'no_overscan', 'doubted_strip'}
        `NO_OVERSCAN` or `LIT_STRIP_BY_CARD` where other code asks whether a frame has such a note.
    """

    text: str
    topic: str = ""
    mark: str = ""

    @property
    def table_text(self):
        """The text as the table has it."""
        return f"warning: {self.text}" if self.topic else self.text


@dataclass(frozen=True)
class Geometry:
    """The amplifiers of a frame, and the shape of the image that they form.

    Attributes
    ----------
    camera : str
        The camera's name.
    shape : (int, int)
        (ny, nx) of the product image; with layout 'extensions', of the first product image.
    amplifiers : tuple of Amplifier
        In the order of the profile or of the file.
    layout : str
        'image': all amplifiers in one image. 'extensions': an image for each HDU; the `place` of an
        amplifier is a region in the image of its own HDU.
    source : str
        'profile' or 'header'.
    raw_shapes : tuple of (int, (int, int))
        For each HDU that is used, its index and (ny, nx).
    extension_shapes : tuple of (int, (int, int))
        With layout 'extensions', the (ny, nx) of the product for each HDU; else empty.
    notes : tuple of Note
        For the log and the inventory.
    """

    camera: str
    shape: tuple[int, int]
    amplifiers: tuple[Amplifier, ...]
    layout: str
    source: str
    raw_shapes: tuple[tuple[int, tuple[int, int]], ...] = ()
    extension_shapes: tuple[tuple[int, tuple[int, int]], ...] = ()
    notes: tuple[Note, ...] = ()

    def canonical(self):
        """Return a plain dict with every value that products depend on, without the notes."""
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
        """Return the geometry of a plain dict that `canonical` returned, without its notes."""
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
    """The cards of the figures of an amplifier, each list in the order in which it is tried.

    Attributes
    ----------
    gain, read_noise, saturation : tuple of CardSpec
    binning : tuple of CardSpec
        Empty for the usual cards.
    profile_gain : float or None
        Electrons per adu of all amplifiers by the profile, which comes before that of cards.
    """

    gain: tuple[CardSpec, ...]
    read_noise: tuple[CardSpec, ...]
    saturation: tuple[CardSpec, ...]
    binning: tuple[CardSpec, ...] = ()
    profile_gain: float | None = None


@dataclass(frozen=True)
class AmplifierSpec:
    """An amplifier as a profile gives it, before a frame is known.

    Attributes
    ----------
    name : str
    hdu : int, str, tuple or None
        Index or EXTNAME; None for the file's only image. A tuple of them, or a glob of names, gives
        an amplifier in each of several HDUs.
    data : RegionSpec or None
        None for all pixels of the HDU.
    overscan : tuple of RegionSpec
    along : str or None
        None where the place of the strips shows it.
    place : RegionSpec or None
        A region of the product image, or the card with its section of the unbinned detector.
    is_flipped_x, is_flipped_y : bool
        As in `Amplifier`.
    gain, read_noise, saturation : float, CardSpec or None
        None for the camera's cards.
    """

    name: str
    hdu: int | str | tuple[int | str, ...] | None = None
    data: RegionSpec | None = None
    overscan: tuple[RegionSpec, ...] = ()
    along: str | None = None
    place: RegionSpec | None = None
    is_flipped_x: bool = False
    is_flipped_y: bool = False
    gain: float | CardSpec | None = None
    read_noise: float | CardSpec | None = None
    saturation: float | CardSpec | None = None

    def __repr__(self):
        return hashed_text(self)


@dataclass(frozen=True)
class Draft:
    """An amplifier of a frame before it is checked and placed.

    Attributes
    ----------
    name, hdu, data, overscan, is_flipped_x, is_flipped_y, gain, read_noise, saturation, linear
        As in `Amplifier`.
    along : str or None
        As in `Amplifier`; None where the place of the strips shows it.
    place : Region or None
        In the product image, where the profile gives it.
    detector : tuple of (str, DirectedSection)
        Sections of the unbinned detector by card, in order of preference.
    detector_of : Region or None
        The pixels of the frame that the sections in `detector` show; None for `data`.
    may_be_lengthened : bool
        Whether a strip nearly as long as the data may be made as long as the data. This is the
        convention for BIASSEC, whose length along the readout axis is that of TRIMSEC.
    """

    name: str
    hdu: int
    data: Region
    overscan: tuple[Region, ...]
    along: str | None = None
    place: Region | None = None
    detector: tuple[tuple[str, DirectedSection], ...] = ()
    detector_of: Region | None = None
    is_flipped_x: bool = False
    is_flipped_y: bool = False
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    linear: float | None = None
    may_be_lengthened: bool = False


def detector_sections(header, keywords, *, file, suffix=""):
    """Return a header's detector sections, as ((keyword, DirectedSection), ...).

    Parameters
    ----------
    header : astropy.io.fits.Header
    keywords : sequence of str
        Keywords to try, in order.
    file : str or None
        Path of the raw file relative to the raw folder; named in errors.
    suffix : str, optional
        Appended to each keyword: the number of an amplifier.

    Returns
    -------
    tuple of (str, ccdflow.camera.sections.DirectedSection)

    Raises
    ------
    FrameError
        If a section cannot be parsed.
    """
    sections = []
    for keyword in keywords:
        text = card_value(header, keyword + suffix)
        if text is not None:
            sections.append((keyword, parse_fits(text, file=file, keyword=keyword + suffix)))
    return tuple(sections)
