"""The selection of the members of a master from a group's frames, by the figures in records."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.detector import frame_figures, member_selection
from ccdflow.wording import amplifier_prefix


def select_frames(context, frames, choose):
    """Return the selection of the frames of a group that are combined.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    frames : list of (str, ccdflow.run.job_records.Record)
        As `ccdflow.kinds.masters.group_queries.reduced_members` returns them.
    choose : callable
        Takes the `FrameStatistics` of one amplifier in all frames and returns a `Selection`, as
        `ccdflow.detector.member_selection.select_members` does.

    Returns
    -------
    ccdflow.detector.member_selection.Selection
    """
    if refusal := refusal_without_signal(context, frames):
        return refusal

    def select_alike(sound_frames):
        """Return the selection by the statistics of the amplifiers that have signal."""
        flags_of_all = common_flags(sound_frames)
        statistics = [
            [
                entry
                for entry in record.data.get("statistics") or []
                if entry["amplifier"] not in flags_of_all
            ]
            for _, record in sound_frames
        ]
        return select_by_statistics(statistics, choose)

    return select_without_odd_flags(frames, select_alike)


def common_flags(frames):
    """Return {amplifier: flag} of the amplifiers that have a flag in all frames.

    A flag on all frames is a fault of the detector; a flag on some is a fault of those frames.
    """
    flags = [record.data.get("flags", {}) for _, record in frames]
    flags_of_first, *further_flags = flags or [{}]
    return {
        name: flag
        for name, flag in flags_of_first.items()
        if all(name in each for each in further_flags)
    }


def select_without_odd_flags(frames, select_alike):
    """Return a selection without frames whose flagged amplifier is sound in other frames.

    Parameters
    ----------
    frames : list of (str, ccdflow.run.job_records.Record)
        As for `select_frames`.
    select_alike : callable
        Takes a list of the frames that are left, and returns their `Selection`.

    Returns
    -------
    ccdflow.detector.member_selection.Selection
    """
    flags_of_all = common_flags(frames)
    left_out = {
        index: member_selection.LeftOut(
            index, f"{flag} amplifier", 1.0, 0.0, f"its amplifier {name} is {flag} throughout"
        )
        for index, (_, record) in enumerate(frames)
        for name, flag in record.data.get("flags", {}).items()
        if name not in flags_of_all
    }
    if not left_out:
        return select_alike(frames)
    sound_indices = [index for index in range(len(frames)) if index not in left_out]
    return widen_selection(
        select_alike([frames[index] for index in sound_indices]), sound_indices, left_out.values()
    )


def widen_selection(selection, indices, left_out):
    """Return a selection of some frames, with indices among all frames.

    Parameters
    ----------
    selection : ccdflow.detector.member_selection.Selection
        Its indices count some of the frames.
    indices : list of int
        The indices of these among all frames.
    left_out : iterable of ccdflow.detector.member_selection.LeftOut
        The remaining frames.

    Returns
    -------
    ccdflow.detector.member_selection.Selection
    """
    left_out_of_some = (replace(each, index=indices[each.index]) for each in selection.left_out)
    return replace(
        selection,
        kept=tuple(indices[index] for index in selection.kept),
        left_out=tuple(sorted((*left_out, *left_out_of_some), key=lambda each: each.index)),
    )


def refusal_without_signal(context, frames):
    """Return an empty selection if all amplifiers of all frames are without signal, else None.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    frames : list of (str, ccdflow.run.job_records.Record)
        As for `select_frames`.

    Returns
    -------
    ccdflow.detector.member_selection.Selection or None
    """
    flags = [record.data.get("flags", {}) for _, record in frames]
    if not flags or not all(flags):
        return None
    row = context.row_of_product(frames[0][1].product)
    names = {amplifier.name for amplifier in context.store.geometry(row.geometry).amplifiers}
    if set.intersection(*map(set, flags)) != names:
        return None
    words = " or ".join(sorted({word for each in flags for word in each.values()}))
    return member_selection.Selection(
        (), (), agrees=False, reason=f"all of them are {words} throughout"
    )


def select_by_statistics(statistics, choose=member_selection.select_members):
    """Return the selection of frames that are combined: one odd in any amplifier is left out.

    Parameters
    ----------
    statistics : list of list of dict
        For each frame the figures of each of its amplifiers, as the record of the frame has them;
        empty where the frames are too small to have any.
    choose : callable, optional
        As for `select_frames`.

    Returns
    -------
    ccdflow.detector.member_selection.Selection
    """
    entries_of_frames = [{entry["amplifier"]: entry for entry in frame} for frame in statistics]
    names, indices = _names_in_all(entries_of_frames), range(len(statistics))
    if len(indices) < 2 or not names:
        return member_selection.Selection(tuple(indices), (), agrees=True, reason="")
    left_out, reasons = {}, []
    for name in names:
        selection = choose([as_statistics(entries[name]) for entries in entries_of_frames])
        prefix = amplifier_prefix(name, has_others=len(names) > 1)
        for each in selection.left_out:
            left_out.setdefault(each.index, replace(each, text=f"{prefix}{each.text}"))
        if not selection.agrees:
            reasons.append(f"{prefix}{selection.reason}")
    return member_selection.Selection(
        kept=tuple(index for index in indices if index not in left_out),
        left_out=tuple(each for _, each in sorted(left_out.items())),
        agrees=not reasons,
        # The reason names the first amplifier alone: a line has no room for eight.
        reason=reasons[0] if reasons else "",
    )


def _names_in_all(entries_of_frames):
    """Return the names of the amplifiers that all frames have, in the order of the first frame."""
    if not entries_of_frames:
        return []
    first, *further = entries_of_frames
    return [name for name in first if all(name in entries for entries in further)]


def as_statistics(entry):
    """Return the `FrameStatistics` of an amplifier from its entry in the record of a frame."""
    figures = {name: value for name, value in entry.items() if name != "amplifier"}
    return frame_figures.FrameStatistics.from_record(figures)
