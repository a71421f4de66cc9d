"""Sections on the frames of a night: all frames, frames set aside, pictures, provenance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ccdflow.pages.contents import FRAMES_ORDER, REDUCED, SET_ASIDE, Section, ShownFrame
from ccdflow.pages.text_formatting import group_by_type, number_in_words, unique_names
from ccdflow.wording import count, listing


@dataclass(frozen=True)
class FrameTable:
    """The content of the section on the frames of a night.

    Attributes
    ----------
    groups : list of (str, list of ccdflow.pages.contents.ShownFrame)
        Each image type with its frames.
    cameras : list of str
        The cameras of the frames.
    """

    groups: list[tuple[str, list[ShownFrame]]]
    cameras: list[str]

    @property
    def shown_columns(self):
        """{column: whether any frame has a value in it}: the page shows only such columns."""
        frames = [frame for _, frames_of_type in self.groups for frame in frames_of_type]
        columns = {"exptime": any(not math.isnan(frame.exptime) for frame in frames)}
        for name in ("object", "filter", "time", "levels", "noises"):
            columns[name] = any(getattr(frame, name) for frame in frames)
        return columns


def frames_section(frames):
    """Return the section with a table of every frame.

    Parameters
    ----------
    frames : sequence of ccdflow.pages.contents.ShownFrame
        All frames, also those that were set aside.

    Returns
    -------
    Section
    """
    cameras = unique_names(frame.camera for frame in frames)
    return Section(
        "frames",
        "Frames of the night",
        tuple(_night_sentences(frames, cameras)),
        template="frames.html.j2",
        content=FrameTable(group_by_type(sorted(frames, key=_number_key)), cameras),
        order=FRAMES_ORDER,
        name="Frames",
    )


def _number_key(frame):
    """Return the key that sorts b2.fits before b10.fits: numbers as numbers."""
    parts = re.split(r"(\d+)", frame.file)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def aside_section(frames):
    """Return the section on frames that were set aside; None where there are none."""
    frames_set_aside = [frame for frame in frames if frame.status == SET_ASIDE]
    if not frames_set_aside:
        return None
    return Section(
        "aside",
        "Set aside, and why",
        template="aside.html.j2",
        content=frames_set_aside,
        order=35,
        name="Set aside",
    )


def pictures_section(pictures):
    """Return the section with the picture of frames before and after they were reduced."""
    paragraphs = () if pictures else ("No frame of this night was drawn.",)
    return Section(
        "pictures", "Before and after", paragraphs=paragraphs, pictures=tuple(pictures), order=40
    )


@dataclass(frozen=True)
class Provenance:
    """The content of the section on recipes and software of a night's products.

    Attributes
    ----------
    recipes : tuple of (str, str)
        Camera, and a sentence on the reduction of its frames.
    versions : tuple of (str, str)
        Names and versions of the software, such as ccdflow, astropy, numpy.
    """

    recipes: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()


def provenance_section(recipes, versions):
    """Return the section on the recipes and the software of a night's products.

    Parameters
    ----------
    recipes : iterable of (str, str)
        Camera, and a sentence on the reduction of its frames.
    versions : iterable of (str, str)
        Names and versions of the software.

    Returns
    -------
    Section
    """
    content = Provenance(tuple(recipes), tuple(versions))
    return Section(
        "provenance", "How it was made", template="made.html.j2", content=content, order=90
    )


def _night_sentences(frames, cameras):
    """Return the sentences on the frames of a night: their types, and how many were reduced."""
    if not frames:
        return ["No frame of this night was found."]
    counts_in_words = [
        number_in_words(image_type, len(frames_of_type))
        for image_type, frames_of_type in group_by_type(frames)
    ]
    subject = f"{count(len(frames), 'frame')}"
    if cameras:
        subject += f", taken with {listing(cameras)}"
    n_reduced, n_set_aside = _count_of_status(frames, REDUCED), _count_of_status(frames, SET_ASIDE)
    sentences = [f"{subject}: {listing(counts_in_words)}.", _sentence_on_reduced(frames, n_reduced)]
    sentences.append(
        f"{count(n_set_aside, 'frame')} set aside, each with its reason below."
        if n_set_aside
        else "No frame had to be set aside."
    )
    if n_others := len(frames) - n_reduced - n_set_aside:
        statuses = unique_names(
            frame.status for frame in frames if frame.status not in (REDUCED, SET_ASIDE)
        )
        sentences.append(f"{count(n_others, 'frame')} not reduced ({listing(statuses)}).")
    return sentences


def _sentence_on_reduced(frames, n_reduced):
    """Return the sentence on the frames that were reduced."""
    if not n_reduced:
        return "No frame was reduced."
    n_subtracted = sum(bool(frame.levels) for frame in frames if frame.status == REDUCED)
    text = "the level of the overscan was subtracted from "
    if not n_subtracted:
        text = "no overscan was subtracted"
    elif n_subtracted < n_reduced:
        text += f"{n_subtracted} of them, none from the others"
    else:
        text += "each" if n_reduced > 1 else "it"
    return f"{count(n_reduced, 'frame')} reduced: {text}."


def _count_of_status(frames, status):
    """Return the number of frames of a status."""
    return sum(frame.status == status for frame in frames)
