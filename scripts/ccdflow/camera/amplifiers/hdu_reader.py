"""The cards of one HDU, read for its amplifiers."""

from __future__ import annotations

import re

from ccdflow.camera.binning import binning_of_hdu
from ccdflow.camera.gains import positive_electrons_of_cards
from ccdflow.camera.geometry import Note
from ccdflow.camera.image_hdus import array_shape, required_image_hdus
from ccdflow.camera.sections import DirectedSection, Region, parse_fits, region_within
from ccdflow.errors import FrameError
from ccdflow.files.cards import CardSpec, as_integer, card_value, contents_of_cards
from ccdflow.files.values import MOST_ELECTRONS, MOST_SATURATION, as_number, says_unknown

AMPLIFIERS_REMEDY = (
    "give `amplifiers:` with `data` and `overscan` in a profile in config/cameras "
    "(docs/cameras.md; `make new-camera FRAME=file` proposes one)"
)
"""The remedy for a frame whose amplifiers cannot be found from its header."""

# Cards of the size of a detector, which may be a section.
_SIZE_CARDS = ("DETSIZE", "CCDSIZE")
# Matches a size as columns and rows: 4096x4096, [4096,4096].
_SIZE = re.compile(r"[\[(]?\s*([1-9]\d*)\s*[xX*,]\s*([1-9]\d*)\s*[\])]?")
# Short names of sections, into which other cameras write numbers: TSEC of Lick is the time in
# seconds.
_SHORT_SECTION_CARDS = ("BSEC", "CSEC", "DSEC", "TSEC")
# Cards of the gain, read noise and saturation of one amplifier, which count before the camera's.
_CARDS_OF_AMPLIFIER = {
    "gain": ("GAIN", "GTGAIN"),
    "read_noise": ("RDNOISE", "GTRON"),
    "saturation": ("SATURATE",),
}


def section_text(header, keyword, *, file):
    """Return the text of a section's card; None for an absent or blank card, or one of 'unknown'.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str
    file : str
        Named in the error.

    Returns
    -------
    str or None

    Raises
    ------
    FrameError
        If the card exists and has no text in quotes, but a number, or is not valid FITS.
    """
    for content in contents_of_cards(header, keyword):
        if says_unknown(content.value):
            continue
        if keyword in _SHORT_SECTION_CARDS and as_number(content.value) is not None:
            continue
        if not isinstance(content.value, str):
            raise FrameError(
                "the card is there, and is no section in quotes",
                file=file,
                keyword=keyword,
                value=content.value,
                allowed="'[x1:x2,y1:y2]'",
                remedy=AMPLIFIERS_REMEDY,
            )
        return content.value
    return None


class HduReader:
    """A reader of the cards of one image HDU, which tries its own header before the primary's.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    index : int
        The HDU.
    is_alone : bool
        Whether the HDU has the file's only image: sections in the primary header then apply to it.
    cards : ccdflow.camera.geometry.Cards
    notes : list of ccdflow.camera.geometry.Note
        Changed in place: each decision that the cards alone do not settle is added.
    file : str

    Attributes
    ----------
    shape : (int, int)
        (ny, nx) of the image.
    frame : Region
        The whole image.
    binning : (int, int)
        (by, bx) of the HDU.
    inherits : bool
        Whether cards of the primary header hold for this HDU by INHERIT.
    name : str
        EXTNAME; 'A' without it.
    """

    def __init__(self, headers, index, *, is_alone, cards, notes, file):
        self.headers, self.index, self.is_alone = headers, index, is_alone
        self.cards, self.notes, self.file = cards, notes, file
        self.shape = array_shape(headers[index], file=file)
        self.frame = Region(0, self.shape[0], 0, self.shape[1])
        self.binning = binning_of_hdu(headers, index, specs=cards.binning)
        # With INHERIT, a card that this HDU lacks is taken from the primary header.
        self.inherits = card_value(headers[index], "INHERIT") is True
        self.name = str(card_value(headers[index], "EXTNAME") or "A")

    def value(self, keyword, *, tries_primary=True):
        """Return the value of a card, or None.

        Parameters
        ----------
        keyword : str
        tries_primary : bool, optional
            Whether the primary header is tried after the HDU's own.

        Returns
        -------
        object or None
            As the header has it: text, a number or a boolean.
        """
        for index in (self.index, 0) if tries_primary else (self.index,):
            value = card_value(self.headers[index], keyword)
            if value is not None:
                return value
        return None

    def count(self, keyword):
        """Return a number of columns or rows; 0 where absent.

        Raises
        ------
        FrameError
            If the card exists and is not a whole number, 0 or more.
        """
        for index in (self.index, 0):
            for content in contents_of_cards(self.headers[index], keyword):
                if says_unknown(content.value):
                    continue
                number = as_integer(content.value)
                if number is None or number < 0:
                    raise self.contradiction(
                        "not a number of columns or rows", keyword, content.value,
                        "a whole number from 0 on",
                    )  # fmt: skip
                return number
        return 0

    def section_card(self, keywords, suffix=""):
        """Return the first of these section cards that is not blank, as (keyword, text), or None.

        Parameters
        ----------
        keywords : sequence of str
            Keywords to try, in order.
        suffix : str, optional
            Appended to each keyword, directly or after ``_``.

        Returns
        -------
        (str, str) or None

        Raises
        ------
        FrameError
            If a card exists and has no text: it must not count as absent.
        """
        hdus = (self.index, 0) if self.is_alone or self.inherits else (self.index,)
        for keyword in keywords:
            for name in (keyword + suffix, f"{keyword}_{suffix}") if suffix else (keyword,):
                for index in hdus:
                    text = section_text(self.headers[index], name, file=self.file)
                    if text is not None:
                        return name, text
        return None

    def section(self, keywords, suffix=""):
        """Return the first of these cards as a DirectedSection within the frame, or None.

        Parameters
        ----------
        keywords : sequence of str
            Keywords to try, in order.
        suffix : str, optional
            Appended to each keyword, directly or after ``_``.

        Returns
        -------
        ccdflow.camera.sections.DirectedSection or None

        Raises
        ------
        FrameError
            If the section is outside the frame, even with its axes exchanged.
        """
        card = self.section_card(keywords, suffix)
        if card is None:
            return None
        keyword, text = card
        section = self.parse_section(keyword, text, shape=self.shape)
        transposed_region = section.region.transpose()
        if not section.region.is_within(self.shape) and transposed_region.is_within(self.shape):
            note = f"{keyword} {text} is outside the frame as written: read rows first"
            self.notes.append(Note(note))
            section = DirectedSection(
                transposed_region,
                is_flipped_x=section.is_flipped_y,
                is_flipped_y=section.is_flipped_x,
            )
        region_within(
            section.region,
            self.shape,
            text,
            file=self.file,
            keyword=keyword,
            remedy=AMPLIFIERS_REMEDY,
        )
        return section

    def parse_section(self, keyword, text, *, shape=None):
        """Return the text of a card as a DirectedSection, which may lie outside the frame.

        Parameters
        ----------
        keyword : str
        text : str
            As in the card.
        shape : (int, int), optional
            (ny, nx) of the frame, for a section with ``*``.

        Returns
        -------
        ccdflow.camera.sections.DirectedSection

        Raises
        ------
        FrameError
            If the text is not a section.
        """
        size = _SIZE.fullmatch(text.strip()) if keyword in _SIZE_CARDS else None
        if size:
            region = Region(0, int(size[2]), 0, int(size[1]))
            return DirectedSection(region, is_flipped_x=False, is_flipped_y=False)
        return parse_fits(
            text, shape=shape, file=self.file, keyword=keyword, remedy=AMPLIFIERS_REMEDY
        )

    def figures(self, suffix=""):
        """Return gain, read noise and saturation as a dict; a value is None without a card."""
        figures = {}
        for field, names in _CARDS_OF_AMPLIFIER.items():
            own_specs = tuple(CardSpec(base + suffix) for base in names) if suffix else ()
            own_specs += self._numbered_specs(names)
            specs = own_specs + getattr(self.cards, field)
            largest = MOST_SATURATION if field == "saturation" else MOST_ELECTRONS
            figures[field] = positive_electrons_of_cards(
                self.headers, specs, self.index, quantity=field, largest=largest,
                gain=self.cards.profile_gain or figures.get("gain"),
            )  # fmt: skip
        return figures

    def _numbered_specs(self, names):
        """Return the cards of this image in the primary header: GAIN3 of the third of four images.

        Parameters
        ----------
        names : sequence of str
            Keywords without the number, such as GAIN.

        Returns
        -------
        tuple of ccdflow.files.cards.CardSpec
            Empty unless the primary header has a card for each of several images.
        """
        images = required_image_hdus(self.headers, file=self.file)
        if len(images) == 1:
            return ()
        numbers = range(1, len(images) + 1)
        number = images.index(self.index) + 1
        return tuple(
            CardSpec(f"{name}{number}", hdu=0)
            for name in names
            if all(as_number(card_value(self.headers[0], f"{name}{n}")) for n in numbers)
            and f"{name}{len(images) + 1}" not in self.headers[0]
            and name not in self.headers[self.index]
        )

    def contradiction(self, problem, keyword, value, allowed=None):
        """Return the error for cards that contradict each other or the frame.

        Parameters
        ----------
        problem : str
            The fault: the first words of the error.
        keyword : str
        value : object
            As found.
        allowed : str, optional
            Allowed values.

        Returns
        -------
        FrameError
        """
        return FrameError(
            problem,
            file=self.file,
            keyword=keyword,
            value=value,
            allowed=allowed,
            remedy=AMPLIFIERS_REMEDY,
        )
