"""The choice of flats of one exposure, where the shutter makes several exposures disagree."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.detector.dark_flat_selection import select_flats
from ccdflow.detector.member_selection import OTHER_EXPOSURE, LeftOut, Selection
from ccdflow.detector.photons.night_transfer import group_by_exposure


def select_flats_of_one_exposure(statistics, seconds, minimum):
    """Return the `Selection` of the flats of the longest exposure whose flats agree.

    Parameters
    ----------
    statistics : sequence of ccdflow.detector.flat_figures.MemberFlatFigures
        One for each flat of a group that does not agree.
    seconds : sequence of float
        Exposure of each flat.
    minimum : int
        Least number of flats that are combined.

    Returns
    -------
    ccdflow.detector.member_selection.Selection or None
        None where no exposure has enough flats that agree.
    """
    for members in reversed(group_by_exposure(list(seconds))):
        if not minimum <= len(members) < len(statistics):
            continue
        members = sorted(members)
        selection = select_flats([statistics[index] for index in members])
        if not selection.agrees or len(selection.kept) < minimum:
            continue
        exposure = seconds[members[0]]
        left_out = [replace(frame, index=members[frame.index]) for frame in selection.left_out]
        left_out += [
            LeftOut(
                index,
                OTHER_EXPOSURE,
                float(seconds[index]),
                float(exposure),
                f"its exposure of {seconds[index]:g} s: flats of several exposures differ, as a"
                f" shutter makes them; those of {exposure:g} s are combined",
            )
            for index in set(range(len(statistics))) - set(members)
        ]
        members_kept = tuple(members[index] for index in selection.kept)
        left_out = tuple(sorted(left_out, key=lambda frame: frame.index))
        return Selection(members_kept, left_out, agrees=True, reason="")
    return None
