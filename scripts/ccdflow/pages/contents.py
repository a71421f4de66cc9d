"""The content of pages: frames, pictures, figures and the sections that hold them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from ccdflow import wording

REDUCED = "reduced"
"""The word for a frame that was reduced."""

SET_ASIDE = wording.SET_ASIDE
"""The word for a frame that was set aside."""

FRAMES_ORDER = 30
"""The `Section.order` of the section on frames: only sections on the whole night are before it."""

# Matches the end of a file's name that distinguishes products with equal values in their names.
_SUFFIX = re.compile(r"_[0-9a-f]{6}\.fits$")
_SUFFIX_HINT = (
    " (the six characters at its end are of the part of the detector, or of the setting, by which"
    " it differs from others of the same name)"
)


@dataclass(frozen=True)
class ShownFrame:
    """One raw frame of the night.

    Attributes
    ----------
    file : str
        Path relative to the raw folder.
    camera : str
        Name of its profile; may be empty.
    image_type : str
        'bias', 'dark', 'flat', 'arc', 'science' or 'other'; '' where unknown.
    status : str
        'reduced', 'set aside', or another state in a few words ('raw file missing').
    reason : str
        Reason for which it was set aside or is not reduced.
    remark : str
        Warnings on the frame, in words; empty for none.
    object : str
        The object, as in the header.
    filter : str
        Filter and grism in words.
    exptime : float
        Exposure time in seconds; NaN where not known.
    time : str
        Time of observation, as text.
    levels : tuple of float
        Overscan level of each amplifier, in adu.
    noises : tuple of float
        Noise of an overscan pixel of each amplifier, in adu.
    product : str
        Path of the reduced frame relative to the page; empty for none.
    """

    file: str
    camera: str = ""
    image_type: str = ""
    status: str = REDUCED
    reason: str = ""
    remark: str = ""
    object: str = ""
    filter: str = ""
    exptime: float = math.nan
    time: str = ""
    levels: tuple[float, ...] = ()
    noises: tuple[float, ...] = ()
    product: str = ""


class NamedFile(str):
    """A name in words that a page shows for a file; the path of the file is shown on hovering.

    Attributes
    ----------
    path : str
        Path of the file relative to the page, for a link; empty for no link.
    file : str
        Path of the file relative to the results folder.
    """

    def __new__(cls, words, *, path="", file=""):
        """Return a new name.

        Parameters
        ----------
        words : str
        path, file : str, optional
            Values of the attributes.
        """
        instance = super().__new__(cls, words)
        instance.path, instance.file = path, file
        return instance

    @property
    def hint(self):
        """The text on hovering: the file, with the meaning of six characters at its end."""
        return f"{self.file}{_SUFFIX_HINT if _SUFFIX.search(self.file) else ''}"


@dataclass(frozen=True)
class Picture:
    """A picture on a page.

    Attributes
    ----------
    png : bytes
        The picture.
    alt : str
        The content of the picture in words, for readers who cannot see it; never empty.
    caption : str
        A sentence or two below the picture.
    title : str
        Heading above the picture; may be empty.
    """

    png: bytes = field(repr=False)
    alt: str
    caption: str = ""
    title: str = ""


@dataclass(frozen=True)
class LeftOutBias:
    """A bias of a group that is not a member of its combined bias.

    Attributes
    ----------
    file : str
        The raw file.
    reason : str
        The reason in words.
    figure : str
        Name of the figure that decided, such as 'level'.
    value, threshold : float
        Value and limit of the figure; NaN where no figure decided.
    unit : str
        Unit of value and limit.
    """

    file: str
    reason: str
    figure: str = ""
    value: float = math.nan
    threshold: float = math.nan
    unit: str = "adu"


@dataclass(frozen=True)
class CombinedBias:
    """A combined bias, or a group of biases of which none was made.

    Attributes
    ----------
    name : str
        Name of the group in words.
    camera : str
        Name of the camera.
    product : str
        Path of the combined bias relative to the page; empty where none was made.
    members : tuple of str
        Raw files of the members.
    left_out : tuple of LeftOutBias
        Biases of the group that are no members.
    remarks : tuple of str
        Warnings, in words.
    not_made : str
        Reason for which no combined bias was made; empty where one was made.
    recipe : str
        Recipe of the combination, in a few words.
    group : str
        Values that the members share: binning, window, readout mode.
    noises, predicted_noises : tuple of float
        Noise of a pixel of each amplifier, adu: measured, and predicted from the read noise of the
        members.
    n_rejected : int
        Number of values rejected as outliers; -1 where not known.
    n_pixels : int
        Number of pixels of all members together; 0 where not known.
    pictures : tuple of Picture
        Pictures of the combined bias.
    file, hint : str
        Name of its file, and the text on hovering over this name.
    """

    name: str
    camera: str = ""
    product: str = ""
    members: tuple[str, ...] = ()
    left_out: tuple[LeftOutBias, ...] = ()
    remarks: tuple[str, ...] = ()
    not_made: str = ""
    recipe: str = ""
    group: str = ""
    noises: tuple[float, ...] = ()
    predicted_noises: tuple[float, ...] = ()
    n_rejected: int = -1
    n_pixels: int = 0
    pictures: tuple[Picture, ...] = ()
    file: str = ""
    hint: str = ""


@dataclass(frozen=True)
class AmplifierFigures:
    """The figures of an amplifier, measured from biases and as in the header; NaN where unknown.

    Attributes
    ----------
    camera, amplifier : str
        Names of the camera and of the amplifier.
    n_biases : int
        Number of biases from which the figures are measured.
    level, span : float
        Bias level, and its highest minus its lowest value through the night, in adu.
    drift, drift_error : float
        Slope of the level through the night and its statistical error, in adu an hour.
    read_noise, read_noise_error : float
        Read noise from pairs of biases and its statistical error, in adu.
    gain : float
        Electrons per adu, as the header or the profile gives it.
    claimed_read_noise : float
        Read noise in electrons, as the header or the profile gives it.
    row_structure, column_structure : float
        Structure left in rows and columns of a frame after overscan subtraction, in adu.
    combined_noise, predicted_noise : float
        Noise of the combined bias, measured and predicted, in adu.
    """

    camera: str
    amplifier: str = ""
    n_biases: int = 0
    level: float = math.nan
    span: float = math.nan
    drift: float = math.nan
    drift_error: float = math.nan
    read_noise: float = math.nan
    read_noise_error: float = math.nan
    gain: float = math.nan
    claimed_read_noise: float = math.nan
    row_structure: float = math.nan
    column_structure: float = math.nan
    combined_noise: float = math.nan
    predicted_noise: float = math.nan


@dataclass(frozen=True)
class Section:
    """A section of a night's page, or of the overview, on one kind of product.

    Attributes
    ----------
    anchor : str
        Name of the section in links: letters, digits and hyphens.
    title : str
        Heading of the section.
    summary : tuple of str
        Sentences for the summary at the top of the page.
    paragraphs : tuple of str
        Texts below the heading.
    facts : tuple of (str, str)
        Names and values below the texts.
    headings : tuple of str
        Headings of the columns of a table; () for no table.
    rows : tuple of tuple of str
        Cells of the table.
    pictures : tuple of Picture
    template : str
        Name of the template that renders the section, with the section as ``section``.
    hints : tuple of str
        Text on hovering over each heading, the meaning and unit of the column; () for none.
    content : object
        Further content, where the kind has a template of its own.
    order : int
        Place among the sections: 10 is the contact sheet, 20 the strip of time, 30 the frames, 35
        those set aside, 40 to 60 the products, 80 the trends, 90 the provenance. The default is
        among the products.
    name : str
        Text of the link at the top of the page; by default the title.
    """

    anchor: str
    title: str
    summary: tuple[str, ...] = ()
    paragraphs: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    pictures: tuple[Picture, ...] = ()
    template: str = "section.html.j2"
    hints: tuple[str, ...] = ()
    content: object = field(default=None, repr=False)
    order: int = 50
    name: str = ""

    @property
    def link(self):
        """The text of the link to the section."""
        return self.name or self.title
