"""The page of a night and the overview of all nights, each one HTML file.

The functions take values and return text for UTF-8. Pictures, style and scripts are inside the
file. Beside it are only the small pictures of a night's frames, and for the overview a script with
the last run. Nothing is loaded from a network.
The page does not have the time at which it is made, so that equal values give equal bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ccdflow.pages.calendar import calendar
from ccdflow.pages.contents import FRAMES_ORDER, Section, ShownFrame
from ccdflow.pages.rendering import check_pictures, template
from ccdflow.pages.text_formatting import (
    EMPTY_CELL,
    UNDATED,
    capitalised_text,
    number_in_words,
    plural,
    sort_by_type,
)
from ccdflow.wording import count, listing

OPEN_ROWS = 25
"""A table of frames with at most this many rows is unfolded when the page opens. Chosen: about as
many rows fill a window."""

ASIDE_OPEN_ROWS = 60
"""The table of frames set aside, which matters more, is unfolded up to this many rows. With more,
the rest of the page is far below it; with fewer, it is folded on the nights that have the most to
see. Chosen, not measured."""


@dataclass(frozen=True)
class NightContent:
    """The content of the page of one night.

    Attributes
    ----------
    night : str
        Name of the night.
    cameras : tuple of str
        Cameras used.
    sections : tuple of Section
        Sections of the kinds of products.
    notes : tuple of str
        Sentences that an observer should read: warnings, missing pictures.
    index : str
        Path of the overview relative to the page; empty for no link.
    """

    night: str
    cameras: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    notes: tuple[str, ...] = ()
    index: str = ""


@dataclass(frozen=True)
class NightLine:
    """The line of a night in the overview.

    Attributes
    ----------
    night : str
        Name of the night.
    page : str
        Path of its page relative to the overview; empty where it has none.
    cameras : tuple of str
        Cameras used.
    types : tuple of (str, int)
        Each image type, and the number of its frames.
    n_reduced, n_set_aside, n_other : int
        Number of frames that were reduced, were set aside, and neither.
    combined : tuple of (str, int, int)
        Each image type whose frames form groups, its number of combined groups, and its number of
        all groups.
    grades : tuple of (str, int)
        Each grade of calibrated frames, and the number of these frames.
    n_uncalibrated : int
        Number of frames that were to be calibrated and are not.
    """

    night: str
    page: str = ""
    cameras: tuple[str, ...] = ()
    types: tuple[tuple[str, int], ...] = ()
    n_reduced: int = 0
    n_set_aside: int = 0
    n_other: int = 0
    combined: tuple[tuple[str, int, int], ...] = ()
    grades: tuple[tuple[str, int], ...] = ()
    n_uncalibrated: int = 0

    # An overview may have ten thousand lines: their words are made here, as a template is slow.
    @property
    def types_words(self):
        """The number of frames of each type in words."""
        return ", ".join(number_in_words(*each) for each in sort_by_type(self.types))

    @property
    def combined_words(self):
        """The number of combined groups of each type in words; a dash for none."""
        return (
            ", ".join(number_in_words(image_type, n) for image_type, n, _ in self.combined)
            or EMPTY_CELL
        )

    @property
    def n_frames(self):
        """Number of frames of the night."""
        return self.n_reduced + self.n_set_aside + self.n_other

    @property
    def n_groups(self):
        """Number of groups of biases, darks and flats, whether combined or not."""
        return sum(n_groups for _, _, n_groups in self.combined)

    @property
    def n_masters(self):
        """Number of combined biases, darks and flats that were made."""
        return sum(n_made for _, n_made, _ in self.combined)

    @property
    def masters_words(self):
        """The number of masters of each type in words."""
        words = [
            count(n_made, f"combined {image_type}", f"combined {plural(image_type)}")
            for image_type, n_made, _ in self.combined
        ]
        return listing(words or ["no combined bias, dark or flat"])

    @property
    def n_calibrated(self):
        """Number of calibrated frames of the night."""
        return sum(number for _, number in self.grades)

    @property
    def grades_words(self):
        """The number of calibrated frames of each grade in words; a dash for none."""
        return (
            ", ".join(f"{number} of grade {grade}" for grade, number in self.grades) or EMPTY_CELL
        )


@dataclass(frozen=True)
class IndexContent:
    """The content of the overview.

    Attributes
    ----------
    nights : tuple of NightLine
        The lines of the nights, in the order of the page.
    aside : tuple of ShownFrame
        Frames that were set aside, also those without a night.
    sections : tuple of Section
        Sections of the kinds of products.
    provenance : tuple of (str, str)
        Names and versions of the software.
    last_run : str
        Path, relative to the page, of the script on the last run and on disk space; empty for none.
    notes : tuple of str
        Sentences to add to the summary.
    title : str
        Headline.
    """

    nights: tuple[NightLine, ...] = ()
    aside: tuple[ShownFrame, ...] = ()
    sections: tuple[Section, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    last_run: str = ""
    notes: tuple[str, ...] = ()
    title: str = "All nights"


def night_page_html(page):
    """Return the page of one night.

    Parameters
    ----------
    page : NightContent
        The content of the page.

    Returns
    -------
    str
        HTML that UTF-8 can always encode: other characters are written as escapes.

    Raises
    ------
    ValueError
        If a picture is not a PNG or has no alternative text.
    """
    sections = ordered_sections(page.sections)
    check_pictures(_section_pictures(sections), page.night)
    return template("night.html.j2").render(
        page=page,
        sections=sections,
        summary=_end_sentences(_sentences_of_sections(sections)),
        notes=_end_sentences(page.notes),
        open_rows=OPEN_ROWS,
        aside_open_rows=ASIDE_OPEN_ROWS,
    )


def index_page_html(page):
    """Return the overview of all nights.

    Parameters
    ----------
    page : IndexContent
        The content of the overview.

    Returns
    -------
    str
        HTML, as of `night_page_html`.

    Raises
    ------
    ValueError
        If a picture is not a PNG or has no alternative text.
    """
    sections = ordered_sections(page.sections)
    check_pictures(_section_pictures(sections), page.title)
    return template("index.html.j2").render(
        page=page,
        sections=sections,
        years=calendar(page.nights),
        summary=[*_index_summary(page), *(text for each in sections for text in each.summary)],
        totals=_line_of_totals(page.nights),
        reasons=_reasons_by_frames(page.aside),
        open_rows=OPEN_ROWS,
        aside_open_rows=ASIDE_OPEN_ROWS,
    )


def _sentences_of_sections(sections):
    """Return the sentences of sections, from the section on frames on, then those before it."""
    ranked = sorted(sections, key=lambda section: section.order < FRAMES_ORDER)
    return [text for section in ranked for text in section.summary]


def _end_sentences(texts):
    """Return the texts with a full stop at the end of each that has neither this nor a colon."""
    return [text if text.endswith((".", ":")) else f"{text}." for text in texts]


def ordered_sections(sections):
    """Return the sections in their order on the page, without those that are None."""
    present_sections = (section for section in sections if section is not None)
    return sorted(present_sections, key=lambda section: section.order)


def _section_pictures(sections):
    """Yield the pictures of sections: their own, and those that their content holds."""
    for section in sections:
        yield from section.pictures
        yield from getattr(section.content, "pictures", ())


def _reasons_by_frames(aside):
    """Return (reason, number of frames, cameras), the reason of most frames first."""
    frames_by_reason = {}
    for frame in aside:
        frames_by_reason.setdefault(frame.reason, []).append(frame)
    ranked = sorted(frames_by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        (reason, len(frames), sorted({frame.camera for frame in frames if frame.camera}))
        for reason, frames in ranked
    ]


def _index_summary(page):
    """Return the sentences at the head of the overview."""
    totals = _line_of_totals(page.nights)
    if not page.nights:
        return ["No night has frames yet.", *page.notes]
    groups_without_master = [
        f"{count(n_groups - n_made, 'group')} of {plural(image_type)}"
        for image_type, n_made, n_groups in totals.combined
        if n_made < n_groups
    ]
    sentences = [
        f"{_nights_words(page.nights)}, {count(totals.n_frames, 'frame')}: "
        f"{totals.n_reduced} reduced, {totals.n_set_aside} set aside"
        + (f", {totals.n_other} neither" if totals.n_other else "")
        + ".",
        f"{capitalised_text(totals.masters_words)} made"
        + (f", {listing(groups_without_master)} without one." if groups_without_master else "."),
    ]
    if totals.n_calibrated or totals.n_uncalibrated:
        sentences.append(_calibrated_words(totals))
    return [*sentences, *page.notes]


def _nights_words(nights):
    """Return the number of nights, and of frames without a date, in words."""
    night_words = count(sum(line.night != UNDATED for line in nights), "night")
    n_undated = sum(line.n_frames for line in nights if line.night == UNDATED)
    return (
        f"{night_words} and {count(n_undated, 'frame')} without a date"
        if n_undated
        else night_words
    )


def _calibrated_words(totals):
    """Return the sentence on calibrated frames, and on those that could not be calibrated."""
    text = f"{count(totals.n_calibrated, 'calibrated frame')}"
    if totals.n_calibrated:
        text += f": {totals.grades_words}"
    if totals.n_uncalibrated:
        text += f"; {count(totals.n_uncalibrated, 'frame')} not calibrated"
    return f"{text}."


# The fields of a night's line that are single numbers: their sums are in the line of totals.
_COUNTED_FIELDS = ("n_reduced", "n_set_aside", "n_other", "n_uncalibrated")


def _line_of_totals(nights):
    """Return a `NightLine` with the sums of all nights; it has no name, page, cameras or types."""
    n_by_grade, n_made_by_type, n_groups_by_type = Counter(), Counter(), Counter()
    for night in nights:
        n_by_grade.update(dict(night.grades))
        for image_type, n_made, n_groups in night.combined:
            n_made_by_type[image_type] += n_made
            n_groups_by_type[image_type] += n_groups
    combined = tuple(
        (image_type, n_made_by_type[image_type], n_groups)
        for image_type, n_groups in sort_by_type(n_groups_by_type.items())
    )
    sums = {name: sum(getattr(night, name) for night in nights) for name in _COUNTED_FIELDS}
    return NightLine("", combined=combined, grades=tuple(sorted(n_by_grade.items())), **sums)
