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

# Matches the end of a file's name if another product has the same values in its name.
_SUFFIX_LETTERS = re.compile(r"_[0-9a-f]{6}\.fits$")
_SUFFIX_HINT = (
    " (the six letters at its end name the part of the detector, or the setting, by which it"
    " differs from others of the same name)"
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
        As understood: bias, dark, flat, arc, science, other; empty where unknown.
    status : str
        'reduced', 'set aside', or another state in a few words ('raw file missing').
    reason : str
        Reason for which it was set aside or passed by.
    remark : str
        A further remark on it.
    object : str
        The object by the header.
    filter : str
        Filter.
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
    """A name in words that a page shows in the place of a file's, which is shown on hovering.

    Attributes
    ----------
    path : str
        Path of the file, relative to the page, for a link to it; empty for none.
    file : str
        Path of the file, below the results folder.
    """

    def __new__(cls, words, *, path="", file=""):
        """Make a name.

        Parameters
        ----------
        words : str
        path, file : str, optional
            As the attributes.
        """
        instance = super().__new__(cls, words)
        instance.path, instance.file = path, file
        return instance

    @property
    def hint(self):
        """The text on hovering: the file, and the meaning of the six letters at its end."""
        return f"{self.file}{_SUFFIX_HINT if _SUFFIX_LETTERS.search(self.file) else ''}"


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    png : bytes
        The picture.
    alt : str
        Its content, for those who do not see it; must not be empty.
    caption : str
        A sentence or two below it.
    title : str
        Heading above it; may be empty.
    """

    png: bytes = field(repr=False)
    alt: str
    caption: str = ""
    title: str = ""


@dataclass(frozen=True)
class LeftOutBias:
    """A bias that is not a member of the combined bias.

    Attributes
    ----------
    file : str
        The frame.
    reason : str
        In plain words.
    figure : str
        The measured figure: 'level'.
    value, threshold : float
        The value found and its limit; NaN where there is no such figure.
    unit : str
        Unit of both.
    """

    file: str
    reason: str
    figure: str = ""
    value: float = math.nan
    threshold: float = math.nan
    unit: str = "adu"


@dataclass(frozen=True)
class CombinedBias:
    """One combined bias, or a group of biases without one.

    Attributes
    ----------
    name : str
        Name of the group in words.
    camera : str
        Camera.
    product : str
        Path relative to the page; empty where none was made.
    members : tuple of str
        Frames combined.
    left_out : tuple of LeftOutBias
        Biases of the group that were not.
    remarks : tuple of str
        Warnings, in words.
    not_made : str
        Reason for which there is no product; empty where there is one.
    recipe : str
        Recipe of the combination, in a few words.
    group : str
        Values that the members share: binning, window, readout mode.
    noises, predicted : tuple of float
        Noise of a pixel of each amplifier in adu, as measured and as the members' read noise
        predicts it.
    rejected : int
        Pixels rejected as outliers; -1 where not known.
    pixels : int
        Pixels of all members together; 0 where not known.
    pictures : tuple of Picture
        Pictures of it.
    file, hint : str
        Name of its file, and the text on hovering over it.
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
    predicted: tuple[float, ...] = ()
    rejected: int = -1
    pixels: int = 0
    pictures: tuple[Picture, ...] = ()
    file: str = ""
    hint: str = ""


@dataclass(frozen=True)
class AmplifierFigures:
    """The figures of an amplifier by its biases, beside the header's; NaN where not known.

    Attributes
    ----------
    camera, amplifier : str
        Their names.
    biases : int
        Number of biases the figures come from.
    level, span : float
        Bias level, and its highest minus its lowest value through the night, in adu.
    drift, drift_error : float
        Slope of the level through the night and its statistical error, in adu an hour.
    read_noise, read_noise_error : float
        Read noise from pairs of biases and its statistical error, in adu.
    gain : float
        Electrons per adu, as the header or the profile gives it.
    claimed_read_noise : float
        In electrons, as the header or the profile gives it.
    row_structure, column_structure : float
        Structure left in rows and columns of a frame after overscan subtraction, in adu.
    combined_noise, predicted_noise : float
        Noise of the combined bias, measured and predicted, in adu.
    """

    camera: str
    amplifier: str = ""
    biases: int = 0
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
    """The part of a kind of product on a night's page, or on the overview.

    Attributes
    ----------
    anchor : str
        Its name in links: letters, digits and hyphens.
    title : str
        Its heading, and the link to it at the top of the page.
    summary : tuple of str
        Sentences for the summary.
    paragraphs : tuple of str
        Texts below the heading.
    facts : tuple of (str, str)
        Names and values.
    headings : tuple of str
        Headings of the columns of a table; () for no table.
    rows : tuple of tuple of str
        Cells of the table.
    pictures : tuple of Picture
    template : str
        The template that renders it; there its name is ``section``.
    hints : tuple of str
        Text on hovering over each heading, the meaning and unit of the column; () for none.
    content : object
        Further content for a template of the kind's own.
    order : int
        Sections are sorted by it: 10 is the contact sheet, 30 the frames, 40 to 60 the products,
        80 the trends, 90 the provenance. The default is among the products.
    name : str
        The text of the link at the top of the page; the title where empty.
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
