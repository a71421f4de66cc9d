"""The closed nights that a new master would change: those with fewer than five candidates.

The frames of a night list the masters that suit them best, five at most. A master of a later night
stands behind all masters of their own and earlier nights, and behind nearer ones of later nights;
an exact dark stands before a scaled one of a later night. So a new master changes a list only if
the list is shorter than five, has a scaled dark of a later night, or has a master that is undated
or cut from a larger window. The words on a missing master name the masters there are: a new one
changes them as well.
"""

from __future__ import annotations

import math

from ccdflow import paths
from ccdflow.calibrate.applied_masters import DARK, FLAT, MASTER_KINDS
from ccdflow.files.values import number_or_none
from ccdflow.kinds.matching.match_sentences import is_later
from ccdflow.kinds.matching.rule_values import HARMLESS_SCALE_UP, MOST_CANDIDATES
from ccdflow.kinds.matching.setups import filter_and_grism
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.shutter import SHUTTER, corrects_shutter
from ccdflow.run.rawframes.rows import is_dated

AWAITED_NOTE = "waits"
"""The name of this part of the notes on closed nights."""

# Within rounding a dark counts as long enough.
_ROUNDING_FACTOR = 1 - 1e-9
_ANY_LIGHT = ("*", "", "", 0.0)


def masters_awaited(context, night, frames, masters):
    """Return the masters that a night waits for, because they may come or change.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    frames, masters : list of ccdflow.run.job.Group
        The frames of the night that are calibrated, and its masters.

    Returns
    -------
    list of [str, str, str, float]
        Kind, camera and filter of a new master, '' for any, and the seconds that darks exceed; or
        '', the product that the night waits for, '' and 0.
    """
    if not is_dated(night):
        # An undated night has its place among the nights by its name.
        return [list(_ANY_LIGHT)] if frames or masters else []
    properties, choices_seen = {}, set()
    for group in (*frames, *masters):
        row, seconds = context.row(group.files[0]), longest_of(context, group)
        for step in group.steps:
            choice = (id(step), *_light_and_seconds(step.kind, row, seconds))
            if step.kind in MASTER_KINDS and choice not in choices_seen:
                choices_seen.add(choice)
                properties |= dict.fromkeys(_awaited_properties(step, row.camera, *choice[1:]))
    for group in frames:
        properties |= dict.fromkeys(_measurements_awaited(context, night, group))
    return sorted(map(list, properties))


def _light_and_seconds(kind, row, seconds):
    """Return the filter by which flats are chosen, and the exposure for which darks are."""
    light = filter_and_grism(row.facts) if kind == FLAT else ""
    return light, seconds if kind == DARK else 0.0


def longest_of(context, group):
    """Return the longest exposure of the members of a group, 0 where no header has one.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group

    Returns
    -------
    float
        Seconds.
    """
    rows = (context.row(file) for file in group.files)
    return max((number_or_none(row.facts["exptime"]) or 0.0 for row in rows), default=0.0)


def _awaited_properties(step, camera, light, seconds):
    """Yield the properties with which a later master would change a step.

    Parameters
    ----------
    step : ccdflow.run.master_choices.Step
    camera, light : str
        Camera and filter of the frame.
    seconds : float or None
        Its exposure.
    """
    if not step.needed:
        return
    # A master of a later night may change, or go.
    yield from (("", use.product, "", 0.0) for use in step.uses if is_later(use))
    if not step.uses:
        yield step.kind, "", "", 0.0
    elif len(step.uses) < MOST_CANDIDATES or any(use.lag is None or use.cut for use in step.uses):
        yield step.kind, camera, light, 0.0
    elif any(use.scale != 1 and use.lag < 0 for use in step.uses):
        # A later dark that is scaled up comes after these.
        yield step.kind, camera, light, _ROUNDING_FACTOR * seconds / HARMLESS_SCALE_UP


def _measurements_awaited(context, night, group):
    """Yield the measurements of a detector, and the maps of a shutter, that a frame waits for."""
    if not DETECTOR.is_enabled(context):
        return
    # Measurements, the newest first, are followed by the map of a shutter.
    yield from (
        ("", product, "", 0.0)
        for product in group.measurements
        if paths.night_of_product(product) > night
    )
    if not any(map(DETECTOR.has_name, group.measurements)):
        yield DETECTOR.name, group.camera, "", 0.0
    if corrects_shutter(context, group.camera) and not any(
        map(SHUTTER.has_name, group.measurements)
    ):
        yield SHUTTER.name, group.camera, "", 0.0


def waiting_for(context, new_groups):
    """Return the closed nights that wait for one of some new groups.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    new_groups : list of ccdflow.run.job.Group
        Masters and measurements of new nights, which are later than all others.

    Returns
    -------
    set of str
    """
    longest_by_master = {_ANY_LIGHT[:3]: math.inf} if new_groups else {}
    for group in new_groups:
        row, seconds = context.row(group.files[0]), longest_of(context, group)
        light, _ = _light_and_seconds(group.kind, row, seconds)
        seconds = seconds if group.kind == DARK else math.inf
        for name in ((group.kind, "", ""), (group.kind, group.camera, light)):
            longest_by_master[name] = max(seconds, longest_by_master.get(name, 0.0))
        longest_by_master["", group.product, ""] = math.inf
    return {
        night
        for night, waits in context.summaries(AWAITED_NOTE).items()
        if any(longest_by_master.get(tuple(name), 0.0) > seconds for *name, seconds in waits)
    }
