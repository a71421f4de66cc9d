"""The page of a night and the overview of all nights, each one self-contained HTML file.

The functions take values and give text. Pictures stand inside the file as data, the style too;
nothing is loaded from anywhere, and nothing says when the page was made, so that the same values
give the same bytes. Encode the text as UTF-8.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ccdflow.errors import UserError
from ccdflow.pages.words import figure, span

KINDS = ("bias", "dark", "flat", "arc", "science", "other")
_PLURALS = {"bias": "biases", "dark": "darks", "flat": "flats", "arc": "arcs"}
REDUCED = "reduced"
SET_ASIDE = "set aside"
OPEN_ROWS = 25
ASIDE_OPEN_ROWS = 60


@dataclass(frozen=True)
class Frame:
    """One raw frame of the night.

    Attributes
    ----------
    file : str
        Path relative to the raw folder.
    camera : str
        Name of its profile; may be empty.
    kind : str
        Image type as understood: bias, dark, flat, arc, science, other; empty where unknown.
    status : str
        'reduced', 'set aside', or in a few words what else became of it ('passed by', 'orphan').
    reason : str
        Why it was set aside or passed by.
    remark : str
        What else is to be said of it.
    object : str
        What the header says it shows.
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
    kind: str = ""
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


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    png : bytes
        The picture.
    alt : str
        What it shows, for those who do not see it; must not be empty.
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
class LeftOut:
    """A bias that is no member of the combined bias.

    Attributes
    ----------
    file : str
        The frame.
    reason : str
        In plain words.
    figure : str
        What was measured: 'level'.
    value, threshold : float
        What was found and what it was held against; NaN where there is no such figure.
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
    """One combined bias, or a group of biases of which none was made.

    Attributes
    ----------
    name : str
        Name of the group or product.
    camera : str
        Camera.
    product : str
        Path relative to the page; empty where none was made.
    members : tuple of str
        Frames combined.
    left_out : tuple of LeftOut
        Biases of the group that were not.
    remarks : tuple of str
        What is not as it should be, in words.
    not_made : str
        Why there is no product; empty where there is one.
    recipe : str
        How it was made, in a few words.
    group : str
        What the members share: binning, window, readout mode.
    noises, predicted : tuple of float
        Noise of a pixel of each amplifier in adu, as measured and as the members' read noise
        predicts it.
    rejected : int
        Pixels rejected as outliers; -1 where not known.
    pixels : int
        Pixels of all members together; 0 where not known.
    pictures : tuple of Picture
        Pictures of it.
    """

    name: str
    camera: str = ""
    product: str = ""
    members: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    not_made: str = ""
    recipe: str = ""
    group: str = ""
    noises: tuple[float, ...] = ()
    predicted: tuple[float, ...] = ()
    rejected: int = -1
    pixels: int = 0
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class AmplifierFigures:
    """What the biases say about one amplifier, beside what the header claims; NaN: not known.

    Attributes
    ----------
    camera, amplifier : str
        Which one.
    biases : int
        Number of biases the figures come from.
    level, span : float
        Bias level, and its highest less its lowest value through the night, in adu.
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
    """What a kind of product shows on a night's page, or on the overview.

    Attributes
    ----------
    anchor : str
        Its name in links: letters, digits and hyphens.
    title : str
        Its heading, and the link to it at the top of the page.
    said : tuple of str
        Sentences for the summary.
    paragraphs : tuple of str
        Texts below the heading.
    facts : tuple of (str, str)
        Names and values.
    headings : tuple of str
        Of the columns of a table; () for no table.
    rows : tuple of tuple of str
        Cells of the table.
    pictures : tuple of Picture
    template : str
        The template that renders it, which finds it as ``section``.
    """

    anchor: str
    title: str
    said: tuple[str, ...] = ()
    paragraphs: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    pictures: tuple[Picture, ...] = ()
    template: str = "section.html.j2"


@dataclass(frozen=True)
class NightPage:
    """All that the page of one night shows; what is empty is left out, or said to be missing.

    Attributes
    ----------
    night : str
        Name of the night.
    frames : tuple of Frame
        Every frame of the night, those set aside too, in the order to show.
    before_after : tuple of Picture
        One a frame shown.
    combined : tuple of CombinedBias
        One a group of biases.
    amplifiers : tuple of AmplifierFigures
        One a camera and amplifier.
    quality : tuple of Picture
        One a camera.
    trend : tuple of Picture
        Figures over nights.
    recipes : tuple of (str, str)
        Camera and, in a sentence, what was done to its frames.
    provenance : tuple of (str, str)
        Names and values: versions of ccdflow, astropy, numpy; the key of the night.
    notes : tuple of str
        Sentences to add to the summary: a raw file that is gone, a camera without overscan.
    index : str
        Path of the overview relative to the page; empty for no link.
    elsewhere : str
        A sentence on where combined biases of its frames are, if not here.
    sections : tuple of Section
        What other kinds of products show.
    """

    night: str
    frames: tuple[Frame, ...] = ()
    before_after: tuple[Picture, ...] = ()
    combined: tuple[CombinedBias, ...] = ()
    amplifiers: tuple[AmplifierFigures, ...] = ()
    quality: tuple[Picture, ...] = ()
    trend: tuple[Picture, ...] = ()
    recipes: tuple[tuple[str, str], ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    index: str = ""
    elsewhere: str = ""
    sections: tuple[Section, ...] = ()


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
    kinds : tuple of (str, int)
        Image types and their numbers of frames.
    reduced, set_aside, other : int
        Frames reduced, set aside, and neither.
    combined : int
        Combined biases made.
    groups : int
        Groups of biases, whether combined or not.
    """

    night: str
    page: str = ""
    cameras: tuple[str, ...] = ()
    kinds: tuple[tuple[str, int], ...] = ()
    reduced: int = 0
    set_aside: int = 0
    other: int = 0
    combined: int = 0
    groups: int = 0


@dataclass(frozen=True)
class IndexPage:
    """All that the overview shows.

    Attributes
    ----------
    nights : tuple of NightLine
        In the order to show.
    aside : tuple of Frame
        Frames set aside, of all nights and of none.
    trend : tuple of Picture
        Figures over nights.
    sections : tuple of Section
        Of the kinds of products.
    provenance : tuple of (str, str)
        Names and values.
    notes : tuple of str
        Sentences to add to the summary.
    title : str
        Headline.
    """

    nights: tuple[NightLine, ...] = ()
    aside: tuple[Frame, ...] = ()
    trend: tuple[Picture, ...] = ()
    sections: tuple[Section, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    title: str = "All nights"


def night_page(page: NightPage) -> str:
    """Write the page of one night.

    Parameters
    ----------
    page : NightPage
        What it shows.

    Returns
    -------
    str
        HTML that can always be encoded as UTF-8: what cannot be printed stands as an escape.

    Raises
    ------
    UserError
        If a picture is no PNG or has no alternative text.
    """
    pictures = (*page.before_after, *page.quality, *page.trend)
    parts = (*page.combined, *page.sections)
    combined = [picture for each in parts for picture in each.pictures]
    _check_pictures((*pictures, *combined), page.night)
    cameras = _unique(frame.camera for frame in page.frames)
    return _template("night.html.j2").render(
        page=page,
        cameras=cameras,
        summary=_night_summary(page, cameras),
        groups=_by_kind(page.frames),
        aside=[frame for frame in page.frames if frame.status == SET_ASIDE],
        several_amplifiers=len(page.amplifiers) > 1,
        open_rows=OPEN_ROWS,
        aside_open_rows=ASIDE_OPEN_ROWS,
    )


def index_page(page: IndexPage) -> str:
    """Write the overview of all nights.

    Parameters
    ----------
    page : IndexPage
        What it shows.

    Returns
    -------
    str
        HTML, as of `night_page`.

    Raises
    ------
    UserError
        If a picture is no PNG or has no alternative text.
    """
    pictures = [*page.trend, *(item for section in page.sections for item in section.pictures)]
    _check_pictures(pictures, page.title)
    return _template("index.html.j2").render(
        page=page,
        summary=_index_summary(page),
        in_order=_in_order,
        totals=_totals(page.nights),
        aside_open_rows=ASIDE_OPEN_ROWS,
    )


# ---------------------------------------------------------------------------- what is said


def _night_summary(page, cameras):
    """Say in plain sentences what the night was and what was made of it."""
    if not page.frames:
        return ["No frame of this night was found.", *page.notes]
    kinds = [_number_of(kind, len(frames)) for kind, frames in _by_kind(page.frames)]
    taken = f"{_count(len(page.frames), 'frame')}"
    if cameras:
        taken += f", taken with {_listing(cameras)}"
    said = [f"{taken}: {_listing(kinds)}."]
    done = _number(page.frames, REDUCED)
    aside = _number(page.frames, SET_ASIDE)
    other = len(page.frames) - done - aside
    said.append(_what_was_done(page.frames, done))
    said.append(
        f"{_count(aside, 'frame')} set aside, each with its reason below."
        if aside
        else "No frame had to be set aside."
    )
    if other:
        statuses = _unique(
            frame.status for frame in page.frames if frame.status not in (REDUCED, SET_ASIDE)
        )
        said.append(f"{_count(other, 'frame')} not reduced ({_listing(statuses)}).")
    others = [sentence for section in page.sections for sentence in section.said]
    return [*said, *_combined_summary(page), *others, *page.notes]


def _what_was_done(frames, done):
    if not done:
        return "No frame was reduced."
    subtracted = sum(bool(frame.levels) for frame in frames if frame.status == REDUCED)
    text = "the bias level that the overscan measures was taken off"
    if not subtracted:
        text = "no overscan was subtracted"
    elif subtracted < done:
        text += f" {subtracted} of them, from the others no overscan was subtracted"
    return f"{_count(done, 'frame')} reduced: {text}."


def _combined_summary(page):
    if not page.combined and page.elsewhere:
        return [page.elsewhere]
    if not page.combined:
        biases = sum(frame.kind == "bias" for frame in page.frames)
        return ["No biases were combined." if biases else "The night has no biases to combine."]
    said = []
    for each in page.combined:
        if each.not_made:
            said.append(f"{each.name}: no combined bias was made, because {each.not_made}.")
            continue
        line = f"{each.name}: {_count(len(each.members), 'bias', 'biases')} combined"
        if noise := span(each.noises):
            line += f", noise of a pixel {noise} adu"
            if predicted := span(each.predicted):
                line += f" (predicted {predicted} adu)"
        if each.left_out:
            line += f"; {len(each.left_out)} left out"
        said.append(line + ".")
        said += [f"{each.name}: {text}." for text in each.remarks]
    return [*said, page.elsewhere] if page.elsewhere else said


def _index_summary(page):
    totals = _totals(page.nights)
    if not page.nights:
        return ["No night has frames yet.", *page.notes]
    said = [
        f"{_count(len(page.nights), 'night')}, {_count(totals.frames, 'frame')}: "
        f"{totals.reduced} reduced, {totals.set_aside} set aside"
        + (f", {totals.other} neither" if totals.other else "")
        + ".",
        f"{_count(totals.combined, 'combined bias', 'combined biases')} made"
        + (f" of {_count(totals.groups, 'group')} of biases." if totals.groups else "."),
    ]
    return [*said, *page.notes]


@dataclass(frozen=True)
class _Totals:
    frames: int
    reduced: int
    set_aside: int
    other: int
    combined: int
    groups: int


def _totals(nights):
    reduced, aside, other, combined, groups = (
        sum(getattr(night, name) for night in nights)
        for name in ("reduced", "set_aside", "other", "combined", "groups")
    )
    return _Totals(reduced + aside + other, reduced, aside, other, combined, groups)


def _number(frames, status):
    return sum(frame.status == status for frame in frames)


def _by_kind(frames):
    """Group frames by image type: the known types in the order of work, then the others."""
    grouped = {}
    for frame in frames:
        grouped.setdefault(frame.kind, []).append(frame)
    return _in_order(grouped.items())


def _in_order(kinds):
    """Sort pairs of image type and something: the known types in the order of work, then others."""
    known = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(kinds, key=lambda pair: (known.get(pair[0], len(known)), pair[0]))


def _kind_name(kind):
    return kind or "of unknown type"


def _number_of(kind, number):
    """Write how many frames of a type: 6 biases, 1 science frame, 3 of unknown type."""
    if kind in _PLURALS:
        return _count(number, kind, _PLURALS[kind])
    return _count(number, f"{kind} frame") if kind else f"{number} of unknown type"


def _unique(names: Iterable[str]):
    return list(dict.fromkeys(name for name in names if name))


def _listing(names):
    names = list(names)
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _count(number, one, many=None):
    return f"{number} {one if number == 1 else many or one + 's'}"


# ---------------------------------------------------------------------------- filters


def _fixed(values, places):
    """Write the figures of all amplifiers with so many places after the point."""
    shown = [f"{value:.{places}f}" if math.isfinite(value) else "–" for value in values]
    return " / ".join(shown).replace("-", "−") if shown else "–"


def _with_error(value, error):
    """Write a value with its error, to two digits of the error."""
    # An error of nothing is one by chance: three levels that lie on a line.
    if not (math.isfinite(value) and math.isfinite(error) and error > 1e-6 * abs(value)):
        return figure(value)
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")


def _seconds(value):
    """Write an exposure time to the millisecond, without zeros at its end."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if math.isfinite(value) else "–"


def visible(text: object) -> str:
    """Write what cannot be printed (line breaks, controls, undecodable bytes) as escapes.

    Parameters
    ----------
    text : object
        Shown as ``str`` gives it.

    Returns
    -------
    str
        Printable characters only, always fit for UTF-8.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )


def _href(path):
    """Write a relative path as a reference; bytes of a name that are no UTF-8 stay what they are.

    A leading ``./`` keeps the beginning of a name from being read as a scheme or as a host.
    """
    quoted = quote(path, safe="/", errors="surrogateescape")
    return quoted if quoted.startswith(("./", "../")) else f"./{quoted}"


def _data_uri(png):
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _png_size(png):
    """Width and height in pixels, from the header of a PNG."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _check_pictures(pictures, where):
    for picture in pictures:
        if not picture.png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise UserError(
                "a picture of the page is no PNG",
                keyword=picture.title or picture.alt,
                value=picture.png[:8],
                remedy=f"look at what drew the pictures of {where}",
            )
        if not picture.alt.strip():
            raise UserError(
                "a picture of the page has no alternative text",
                keyword=picture.title or None,
                remedy=f"say in a sentence what the pictures of {where} show",
            )


@cache
def _environment():
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters |= {
        "figure": figure,
        "fixed": _fixed,
        "seconds": _seconds,
        "span": span,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "with_error": _with_error,
        "number_of": _number_of,
        "href": _href,
        "data_uri": _data_uri,
        "png_size": _png_size,
        "kind_name": _kind_name,
        "count": _count,
    }
    return environment


def _shown(value):
    """Make every value that a template writes printable; markup made by the templates stays."""
    return visible(value) if type(value) is str else value


def _template(name):
    return _environment().get_template(name)
