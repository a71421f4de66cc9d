"""The page of a night and the overview of all nights, each one HTML file.

The functions take values and return text, to be encoded as UTF-8. Pictures, style and scripts are
inside the file; only the small pictures of a night's frames are beside it. Nothing is loaded from a
network. The page does not have the time of its making, so that the same values give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ccdflow.pages.calendar import calendar
from ccdflow.pages.contents import Section, ShownFrame
from ccdflow.pages.rendering import check_pictures, template
from ccdflow.pages.text_formatting import (
    UNDATED,
    capitalised_text,
    number_of,
    plural,
    sort_by_type,
)
from ccdflow.wording import count, listing

OPEN_ROWS = 25
"""A table of at most this many rows is shown unfolded."""

ASIDE_OPEN_ROWS = 60
"""Frames set aside matter more: a longer list is shown unfolded."""

# The place of the frames among the sections.
_FRAMES_ORDER = 30


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
        Sentences that ask for a look: warnings, missing pictures.
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
    """One night in the overview.

    Attributes
    ----------
    night : str
        Name of the night.
    page : str
        Path of its page relative to the overview; empty where it has none.
    cameras : tuple of str
        Cameras used.
    types : tuple of (str, int)
        Image types and their numbers of frames.
    reduced, set_aside, other : int
        Frames reduced, set aside, and neither.
    combined : tuple of (str, int, int)
        Image types whose frames form groups, in the order of work: the number of combined
        groups, and the number of all groups.
    grades : tuple of (str, int)
        Grades of its calibrated frames, and the number of frames of each.
    uncalibrated : int
        Frames that were to be calibrated and are not.
    """

    night: str
    page: str = ""
    cameras: tuple[str, ...] = ()
    types: tuple[tuple[str, int], ...] = ()
    reduced: int = 0
    set_aside: int = 0
    other: int = 0
    combined: tuple[tuple[str, int, int], ...] = ()
    grades: tuple[tuple[str, int], ...] = ()
    uncalibrated: int = 0

    # The page has ten thousand lines: their words are made here, which a template does slowly.
    @property
    def types_words(self):
        """The frames of each type in words."""
        return ", ".join(number_of(*each) for each in sort_by_type(self.types))

    @property
    def combined_words(self):
        """The number of combined groups of each type in words; a dash for none."""
        return ", ".join(number_of(image_type, n) for image_type, n, _ in self.combined) or "–"

    @property
    def frames(self):
        """Frames of the night."""
        return self.reduced + self.set_aside + self.other

    @property
    def groups(self):
        """Groups of biases, darks and flats, whether combined or not."""
        return sum(groups for _, _, groups in self.combined)

    @property
    def masters(self):
        """Combined biases, darks and flats made."""
        return sum(n_made for _, n_made, _ in self.combined)

    @property
    def masters_words(self):
        """The combined frames of each type in words."""
        words = [
            count(n_made, f"combined {image_type}", f"combined {plural(image_type)}")
            for image_type, n_made, _ in self.combined
        ]
        return listing(words or ["no combined bias, dark or flat"])

    @property
    def calibrated_frames(self):
        """Calibrated frames of the night."""
        return sum(number for _, number in self.grades)

    @property
    def grades_words(self):
        """The calibrated frames of each grade in words; a dash for none."""
        return ", ".join(f"{number} of grade {grade}" for grade, number in self.grades) or "–"


@dataclass(frozen=True)
class IndexContent:
    """The content of the overview.

    Attributes
    ----------
    nights : tuple of NightLine
        In the order to show.
    aside : tuple of ShownFrame
        Frames set aside, of all nights and of none.
    sections : tuple of Section
        Sections of the kinds of products.
    provenance : tuple of (str, str)
        Names and values.
    last_run : str
        Path, relative to the page, of the script with the actions of the last run and the disk
        space of the products; empty for none.
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
    """Write the page of one night.

    Parameters
    ----------
    page : NightContent
        Its content.

    Returns
    -------
    str
        HTML that can always be encoded as UTF-8: other characters stand as escapes.

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
    """Write the overview of all nights.

    Parameters
    ----------
    page : IndexContent
        Its content.

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
    """Return the sentences of sections: first those on the night, then those on products."""
    ranked = sorted(sections, key=lambda section: section.order < _FRAMES_ORDER)
    return [text for section in ranked for text in section.summary]


def _end_sentences(texts):
    """Return the texts with a full stop at the end, but for those that end with one or a colon."""
    return [text if text.endswith((".", ":")) else f"{text}." for text in texts]


def ordered_sections(sections):
    """Return sections in their order on the page, without None (nothing to show)."""
    present_sections = (section for section in sections if section is not None)
    return sorted(present_sections, key=lambda section: section.order)


def _section_pictures(sections):
    """Yield the pictures of sections: their own, and those that their content holds."""
    for section in sections:
        yield from section.pictures
        yield from getattr(section.content, "pictures", ())


def _reasons_by_frames(aside):
    """Return (reason, frames, cameras) of frames set aside, the reason of most frames first."""
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
    groups_without = [
        f"{count(groups - n_made, 'group')} of {plural(image_type)}"
        for image_type, n_made, groups in totals.combined
        if n_made < groups
    ]
    sentences = [
        f"{_nights_words(page.nights)}, {count(totals.frames, 'frame')}: "
        f"{totals.reduced} reduced, {totals.set_aside} set aside"
        + (f", {totals.other} neither" if totals.other else "")
        + ".",
        f"{capitalised_text(totals.masters_words)} made"
        + (f", {listing(groups_without)} without one." if groups_without else "."),
    ]
    if totals.calibrated_frames or totals.uncalibrated:
        sentences.append(_calibrated_words(totals))
    return [*sentences, *page.notes]


def _nights_words(nights):
    """Return in words the number of nights, and the number of frames without a date."""
    night_words = count(sum(line.night != UNDATED for line in nights), "night")
    undated_frames = sum(line.frames for line in nights if line.night == UNDATED)
    return (
        f"{night_words} and {count(undated_frames, 'frame')} without a date"
        if undated_frames
        else night_words
    )


def _calibrated_words(totals):
    """Return the sentence on calibrated frames, and on those that could not be calibrated."""
    text = f"{count(totals.calibrated_frames, 'calibrated frame')}"
    if totals.calibrated_frames:
        text += f": {totals.grades_words}"
    if totals.uncalibrated:
        text += f"; {count(totals.uncalibrated, 'frame')} not calibrated"
    return f"{text}."


# The fields of a night's line that are added up in the last line, for all nights.
_COUNTED_FIELDS = ("reduced", "set_aside", "other", "uncalibrated")


def _line_of_totals(nights):
    """Return the line of all nights together."""
    grades, numbers_made, groups = Counter(), Counter(), Counter()
    for night in nights:
        grades.update(dict(night.grades))
        for image_type, made_of_type, groups_of_type in night.combined:
            numbers_made[image_type] += made_of_type
            groups[image_type] += groups_of_type
    combined = tuple(
        (image_type, numbers_made[image_type], number)
        for image_type, number in sort_by_type(groups.items())
    )
    sums = {name: sum(getattr(night, name) for night in nights) for name in _COUNTED_FIELDS}
    return NightLine("", combined=combined, grades=tuple(sorted(grades.items())), **sums)
