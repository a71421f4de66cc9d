"""Sections on the biases of a night: combined biases, figures of noise, and the trend."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ccdflow.pages.contents import AmplifierFigures, CombinedBias, Section
from ccdflow.pages.text_formatting import (
    EMPTY_CELL,
    capitalised_text,
    figure_text,
    span_text,
    value_with_error,
)
from ccdflow.wording import count

_LEVEL, _READ_NOISE = "Bias level (adu)", "Read noise"
_STRUCTURE_LEFT, _COMBINED_NOISE = "Structure left (adu)", "Combined noise (adu)"
_GROUP_HINTS = {
    _LEVEL: "Mean of the overscan, or of the pixels without one",
    _READ_NOISE: "From pairs of biases, and as the header or the profile has it",
    _STRUCTURE_LEFT: "In a bias after its overscan is subtracted",
    _COMBINED_NOISE: "Of a pixel of the combined bias",
}

# The heading of the read noise that a header or a profile gives.
_CLAIMED_HEADING = "claimed (e⁻)"


@dataclass(frozen=True)
class BiasContent:
    """The content of the section on combined biases.

    Attributes
    ----------
    groups : tuple of ccdflow.pages.contents.CombinedBias
    absence : str
        A sentence on combined biases of the night's frames that are not on this page; may be empty.
    """

    groups: tuple[CombinedBias, ...] = ()
    absence: str = ""

    @property
    def pictures(self):
        """All pictures of the section."""
        return [picture for group in self.groups for picture in group.pictures]


@dataclass(frozen=True)
class NoiseContent:
    """The content of the section on noise.

    Attributes
    ----------
    amplifiers : tuple of ccdflow.pages.contents.AmplifierFigures
    absence : str
        A sentence on combined biases of the night's frames that are not on this page; may be empty.
    """

    amplifiers: tuple[AmplifierFigures, ...] = field(default=())
    absence: str = ""

    @property
    def columns(self):
        """The `NoiseColumn` of each column with a value."""
        return [
            column
            for column in _noise_columns(self.amplifiers)
            if set(column.cells) != {EMPTY_CELL}
        ]

    @property
    def headings(self):
        """(heading, hint, columns below) of the upper row; [] for a heading over both rows."""
        headings = []
        for column in self.columns:
            if headings and column.group and headings[-1][0] == column.group:
                headings[-1][2].append(column)
            elif column.group:
                headings.append((column.group, _GROUP_HINTS[column.group], [column]))
            else:
                headings.append((column.heading, column.hint, []))
        return headings

    @property
    def has_claimed_noise(self):
        """Whether the table has the read noise that a header or a profile gives."""
        return any(column.heading == _CLAIMED_HEADING for column in self.columns)


@dataclass(frozen=True)
class NoiseColumn:
    """A column of the table of noise figures.

    Attributes
    ----------
    group : str
        The heading above that of the column; empty for none.
    heading, hint : str
    cells : tuple of str
        One for each amplifier.
    """

    group: str
    heading: str
    hint: str
    cells: tuple[str, ...]


def _figure_writer(name, digits=4, factor=""):
    """Return the function for the cells of a figure; ``factor`` names a figure to multiply by."""

    def cell(amplifier):
        """Return the cell of an amplifier."""
        value = getattr(amplifier, name)
        return figure_text(value * getattr(amplifier, factor) if factor else value, digits)

    return cell


def _level_cell(amplifier):
    """Return the cell of a bias level, adu."""
    level = amplifier.level
    return f"{level:.2f}".replace("-", "−") if math.isfinite(level) else EMPTY_CELL


def _drift_cell(amplifier):
    """Return the cell of a drift, adu an hour; a dash where the error exceeds the levels' span."""
    is_measured = not amplifier.drift_error > amplifier.span
    return value_with_error(amplifier.drift, amplifier.drift_error) if is_measured else EMPTY_CELL


def _read_noise_cell(amplifier):
    """Return the cell of a read noise with its error, adu."""
    return value_with_error(amplifier.read_noise, amplifier.read_noise_error)


# The columns of the table: heading above, heading, text on hovering, and the function that returns
# the cell of an amplifier.
_COLUMNS = (
    ("", "Biases", "Number of biases measured", lambda amplifier: str(amplifier.n_biases)),
    (_LEVEL, "level", "Mean bias level, adu", _level_cell),
    (_LEVEL, "span", "Highest less lowest level of the night, adu", _figure_writer("span", 3)),
    (
        _LEVEL,
        "an hour",
        "Slope of the level, adu an hour; a dash where the biases are too near in time to tell",
        _drift_cell,
    ),
    (_READ_NOISE, "adu", "Read noise from pairs of biases, adu", _read_noise_cell),
    (
        _READ_NOISE,
        "e⁻",
        "Read noise times gain, electrons",
        _figure_writer("read_noise", factor="gain"),
    ),
    (
        _READ_NOISE,
        _CLAIMED_HEADING,
        "Read noise as the header or the profile has it, electrons",
        _figure_writer("claimed_read_noise"),
    ),
    (
        "",
        "Gain (e⁻/adu)",
        "Electrons per adu, from the header or the profile",
        _figure_writer("gain", 3),
    ),
    (
        _STRUCTURE_LEFT,
        "rows",
        "Scatter of the means of rows beyond noise, adu",
        _figure_writer("row_structure", 3),
    ),
    (
        _STRUCTURE_LEFT,
        "columns",
        "Scatter of the means of columns beyond noise, adu",
        _figure_writer("column_structure", 3),
    ),
    (
        _COMBINED_NOISE,
        "measured",
        "Noise of a pixel of the combined bias, adu",
        _figure_writer("combined_noise", 3),
    ),
    (
        _COMBINED_NOISE,
        "predicted",
        "The same from the read noise of its members, adu",
        _figure_writer("predicted_noise", 3),
    ),
)


def _noise_columns(amplifiers):
    """Yield all columns of the table of noise figures."""
    for group, heading, hint, cell in _COLUMNS:
        yield NoiseColumn(group, heading, hint, tuple(map(cell, amplifiers)))


def combined_section(groups, *, absence="", n_biases=0):
    """Return the section on the combined biases of a night.

    Parameters
    ----------
    groups : sequence of ccdflow.pages.contents.CombinedBias
        Combined biases, and groups of which none was made.
    absence : str, optional
        As of `BiasContent`.
    n_biases : int, optional
        Number of biases of the night.

    Returns
    -------
    Section
    """
    return Section(
        "combined",
        "Combined bias",
        tuple(_bias_sentences(groups, absence, n_biases)),
        template="bias.html.j2",
        content=BiasContent(tuple(groups), absence),
        order=45,
    )


def noise_section(amplifiers, pictures, *, absence="", summary=()):
    """Return the section on the noise figures of amplifiers, measured from biases.

    Parameters
    ----------
    amplifiers : sequence of ccdflow.pages.contents.AmplifierFigures
    pictures : sequence of ccdflow.pages.contents.Picture
    absence : str, optional
        As of `NoiseContent`.
    summary : sequence of str, optional
        Sentences for the summary at the top of the page.

    Returns
    -------
    Section
    """
    return Section(
        "amplifiers",
        "Noise figures",
        tuple(summary),
        pictures=tuple(pictures),
        template="noise.html.j2",
        content=NoiseContent(tuple(amplifiers), absence),
        order=46,
    )


def trend_section(pictures):
    """Return the section on the trend of figures over the nights; None without pictures.

    Parameters
    ----------
    pictures : sequence of ccdflow.pages.contents.Picture

    Returns
    -------
    Section or None
    """
    if not pictures:
        return None
    return Section(
        "trend",
        "Trend over the nights",
        pictures=tuple(pictures),
        order=80,
        name="Trend",
    )


def _bias_sentences(groups, absence, n_biases):
    """Return the sentences at the head of the section on combined biases."""
    if not groups and absence:
        return [absence]
    if not groups:
        return ["No biases were combined." if n_biases else "The night has no biases to combine."]
    sentences = []
    for group in groups:
        if group.not_made:
            sentences.append(
                f"{capitalised_text(group.name)}: none was made, because {group.not_made}."
            )
            continue
        line = f"{capitalised_text(group.name)}: {count(len(group.members), 'bias', 'biases')}"
        if noise := span_text(group.noises):
            line += f", noise of a pixel {noise} adu"
            if predicted := span_text(group.predicted_noises):
                line += f" (predicted {predicted} adu)"
        if group.left_out:
            line += f"; {len(group.left_out)} left out"
        sentences.append(line + ".")
        sentences += [f"{capitalised_text(group.name)}: {text}." for text in group.remarks]
    return [*sentences, absence] if absence else sentences
