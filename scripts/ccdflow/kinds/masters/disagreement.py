"""The cards that differ between the frames of a group, where these do not agree."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.camera.identity import differing_cards_in_words, value_of_card_text
from ccdflow.combine.members import read_hdus
from ccdflow.detector.two_populations import split_populations
from ccdflow.kinds.masters.selecting import as_statistics
from ccdflow.wording import first_named

# A reason names at most this many frames of a group.
_MOST_NAMED = 2


def odd_frames_in_words(context, members, left_out):
    """Return the odd frames of a group and the cards that differ, in words.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    members : list of (str, ccdflow.run.job_records.Record)
        As `ccdflow.kinds.masters.group_queries.reduced_members` returns them.
    left_out : sequence of ccdflow.detector.member_selection.LeftOut
        Their indices are those of `members`.

    Returns
    -------
    str
        Continues the sentence of the reason; '' where no frame stands out.

    Raises
    ------
    ccdflow.errors.FrameError
        If the header of a reduced frame cannot be read.
    """
    if words := _populations_in_words(context, members):
        return words
    files = [members[each.index][0] for each in left_out]
    return f": {first_named(files, _MOST_NAMED)}" if files else ""


def _populations_in_words(context, members):
    """Return the smaller of two populations of frames in words, and the cards that differ.

    The figures of the first amplifier separate the populations. The result is '' where the frames
    are one population, or one of them has no figures.
    """
    figures = [record.data.get("statistics") or [] for _, record in members]
    if not all(figures):
        return ""
    populations = split_populations([as_statistics(entries[0]) for entries in figures])
    if populations is None:
        return ""
    headers = [_header_values(context, record) for _, record in members]
    # The values of the cards stand in the order of the populations in the sentence.
    smaller, larger = sorted((populations[1], populations[0]), key=len)
    cards = differing_cards_in_words(
        [headers[index] for index in smaller], [headers[index] for index in larger]
    )
    names_in_words = first_named([members[index][0] for index in smaller], _MOST_NAMED)
    card_words = f"; these cards differ: {', '.join(cards)}" if cards else ""
    return f"; two kinds: {names_in_words}, and {len(larger)} others{card_words}"


def explain_left_out(context, members, members_kept, left_out):
    """Return the frames left out, with their reasons.

    If there are several, each reason also has the cards by which they differ from the members.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    members, members_kept : list of (str, ccdflow.run.job_records.Record)
        All frames of the group, and those that are combined.
    left_out : sequence of ccdflow.detector.member_selection.LeftOut
        Their indices are those of `members`.

    Returns
    -------
    list of (str, ccdflow.detector.member_selection.LeftOut)
        Raw file, and the reason with the cards.

    Raises
    ------
    ccdflow.errors.FrameError
        If the header of a reduced frame cannot be read.
    """
    reasons_of_files = [(members[each.index][0], each) for each in left_out]
    if len(reasons_of_files) < 2 or not members_kept:
        return reasons_of_files
    headers_of_members = [_header_values(context, record) for _, record in members_kept]
    headers_left_out = [_header_values(context, members[each.index][1]) for each in left_out]
    # The values of the frame that the sentence is about stand before those of the others.
    cards = differing_cards_in_words(headers_left_out, headers_of_members)
    card_words = f"; cards differ from those of the others: {', '.join(cards)}" if cards else ""
    return [(file, replace(each, text=each.text + card_words)) for file, each in reasons_of_files]


def _header_values(context, record):
    """Return {keyword: value as text} of a reduced frame's first header."""
    (hdu,) = read_hdus(context.results / record.product, 1)
    return {keyword: value_of_card_text(text) for keyword, text in hdu.cards.items()}
