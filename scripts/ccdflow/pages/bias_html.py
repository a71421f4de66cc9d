"""Sections on the biases of a night: combined biases, figures of noise, and the trend."""

from __future__ import annotations

from dataclasses import dataclass, field

from ccdflow.pages.contents import Section
from ccdflow.pages.words import count, span


@dataclass(frozen=True)
class BiasContent:
    """The content of the section on combined biases.

    Attributes
    ----------
    groups : tuple of ccdflow.pages.contents.CombinedBias
    elsewhere : str
        A sentence on where combined biases of the night's frames are, if not here.
    """

    groups: tuple = ()
    elsewhere: str = ""

    @property
    def pictures(self):
        """All pictures of it."""
        return [picture for group in self.groups for picture in group.pictures]


@dataclass(frozen=True)
class NoiseContent:
    """The content of the section on noise.

    Attributes
    ----------
    amplifiers : tuple of ccdflow.pages.contents.AmplifierFigures
    elsewhere : str
        As of `BiasContent`.
    """

    amplifiers: tuple = field(default=())
    elsewhere: str = ""


def combined_section(groups, *, elsewhere="", biases=0):
    """Return the section on the combined biases of a night.

    Parameters
    ----------
    groups : sequence of ccdflow.pages.contents.CombinedBias
        Also those of which none was made.
    elsewhere : str, optional
        A sentence on where they are, if not here.
    biases : int, optional
        Number of biases of the night.

    Returns
    -------
    Section
    """
    return Section(
        "combined",
        "Combined bias",
        tuple(_summary(groups, elsewhere, biases)),
        template="bias.html.j2",
        content=BiasContent(tuple(groups), elsewhere),
        order=45,
    )


def noise_section(amplifiers, pictures, *, elsewhere="", summary=()):
    """Return the section on each amplifier's figures by the biases, with its pictures.

    Parameters
    ----------
    amplifiers : sequence of ccdflow.pages.contents.AmplifierFigures
    pictures : sequence of ccdflow.pages.contents.Picture
    elsewhere : str, optional
        As of `combined_section`.
    summary : sequence of str, optional
        Sentences for the summary.

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
        content=NoiseContent(tuple(amplifiers), elsewhere),
        order=46,
    )


def trend_section(pictures):
    """Return the section on figures over the nights; None where there are none.

    Parameters
    ----------
    pictures : sequence of Picture

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


def _summary(groups, elsewhere, biases):
    """Return the sentences at the head of the section on combined biases."""
    if not groups and elsewhere:
        return [elsewhere]
    if not groups:
        return ["No biases were combined." if biases else "The night has no biases to combine."]
    sentences = []
    for group in groups:
        if group.not_made:
            sentences.append(f"{group.name}: no combined bias was made, because {group.not_made}.")
            continue
        line = f"{group.name}: {count(len(group.members), 'bias', 'biases')} combined"
        if noise := span(group.noises):
            line += f", noise of a pixel {noise} adu"
            if predicted := span(group.predicted):
                line += f" (predicted {predicted} adu)"
        if group.left_out:
            line += f"; {len(group.left_out)} left out"
        sentences.append(line + ".")
        sentences += [f"{group.name}: {text}." for text in group.remarks]
    return [*sentences, elsewhere] if elsewhere else sentences
