"""Sections on the frames of a night: all frames, frames set aside, pictures, provenance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ccdflow.pages.contents import REDUCED, SET_ASIDE, Section, ShownFrame
from ccdflow.pages.text_formatting import count, grouped_by_type, listing, number_of, unique


@dataclass(frozen=True)
class FrameTable:
    """The frames of a night.

    Attributes
    ----------
    groups : list of (str, list of ccdflow.pages.contents.ShownFrame)
        By image type.
    cameras : list of str
        Those that took them.
    """

    groups: list[tuple[str, list[ShownFrame]]]
    cameras: list[str]

    @property
    def shown(self):
        """{column: whether any frame has a value in it}; those without are not shown."""
        frames = [frame for _, own in self.groups for frame in own]
        columns = {"exptime": any(not math.isnan(frame.exptime) for frame in frames)}
        for name in ("object", "filter", "time", "levels", "noises"):
            columns[name] = any(getattr(frame, name) for frame in frames)
        return columns


def frames_section(frames):
    """Return the section with a table of every frame.

    Parameters
    ----------
    frames : sequence of ccdflow.pages.contents.ShownFrame
        Those set aside as well.

    Returns
    -------
    Section
    """
    cameras = unique(frame.camera for frame in frames)
    return Section(
        "frames",
        "Frames of the night",
        tuple(_night_sentences(frames, cameras)),
        template="frames.html.j2",
        content=FrameTable(grouped_by_type(sorted(frames, key=_number_key)), cameras),
        order=30,
        name="Frames",
    )


def _number_key(frame):
    """Sort b2.fits before b10.fits."""
    parts = re.split(r"(\d+)", frame.file)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def aside_section(frames):
    """Return the section on frames set aside, or None; arguments as of `frames_section`."""
    aside = [frame for frame in frames if frame.status == SET_ASIDE]
    if not aside:
        return None
    return Section(
        "aside",
        "Set aside, and why",
        template="aside.html.j2",
        content=aside,
        order=35,
        name="Set aside",
    )


def pictures_section(pictures):
    """Return the section with the picture of frames before and after they were reduced."""
    missing = () if pictures else ("No frame of this night was drawn.",)
    return Section(
        "pictures", "Before and after", paragraphs=missing, pictures=tuple(pictures), order=40
    )


@dataclass(frozen=True)
class Provenance:
    """How the products of a night were made.

    Attributes
    ----------
    recipes : tuple of (str, str)
        Camera, and a sentence on the reduction of its frames.
    provenance : tuple of (str, str)
        Names and values: versions of ccdflow, astropy, numpy.
    """

    recipes: tuple[tuple[str, str], ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()


def provenance_section(recipes, provenance):
    """Return the section on how the products were made; see `Provenance`.

    Parameters
    ----------
    recipes : iterable of (str, str)
        As of `Provenance`.
    provenance : iterable of (str, str)
        As of `Provenance`.

    Returns
    -------
    Section
    """
    content = Provenance(tuple(recipes), tuple(provenance))
    return Section(
        "provenance", "How it was made", template="made.html.j2", content=content, order=90
    )


def _night_sentences(frames, cameras):
    """Return plain sentences on the night's frames and products."""
    if not frames:
        return ["No frame of this night was found."]
    numbers = [number_of(image_type, len(own)) for image_type, own in grouped_by_type(frames)]
    subject = f"{count(len(frames), 'frame')}"
    if cameras:
        subject += f", taken with {listing(cameras)}"
    done, aside = _count_of_status(frames, REDUCED), _count_of_status(frames, SET_ASIDE)
    sentences = [f"{subject}: {listing(numbers)}.", _sentence_on_reduced(frames, done)]
    sentences.append(
        f"{count(aside, 'frame')} set aside, each with its reason below."
        if aside
        else "No frame had to be set aside."
    )
    if other := len(frames) - done - aside:
        statuses = unique(
            frame.status for frame in frames if frame.status not in (REDUCED, SET_ASIDE)
        )
        sentences.append(f"{count(other, 'frame')} not reduced ({listing(statuses)}).")
    return sentences


def _sentence_on_reduced(frames, done):
    """Return the sentence on the frames that were reduced."""
    if not done:
        return "No frame was reduced."
    subtracted = sum(bool(frame.levels) for frame in frames if frame.status == REDUCED)
    text = "the level of the overscan was subtracted from "
    if not subtracted:
        text = "no overscan was subtracted"
    elif subtracted < done:
        text += f"{subtracted} of them, none from the others"
    else:
        text += "each" if done > 1 else "it"
    return f"{count(done, 'frame')} reduced: {text}."


def _count_of_status(frames, status):
    return sum(frame.status == status for frame in frames)
