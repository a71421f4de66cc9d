"""The closed nights that a master of a new, later night would change.

A frame has a list of its best candidates, at most `rule_values.MOST_CANDIDATES`. A later master is
ranked after those of the own and earlier nights, and after nearer later ones. An exact dark is
ranked before scaled darks of later nights. So a new master changes a list in three cases: the list
is not full, it has a scaled dark of a later night, or it has a master that is undated or cut from
a larger window. The words on a missing master name the existing masters: a new one changes them.
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
from ccdflow.run.raw_frames.rows import is_dated

AWAITED_NOTE = "waits"
"""The name, in the notes on closed nights, of the masters that a night waits for."""

# The exposure that a dark must exceed is lowered by this factor: otherwise rounding alone could
# exclude a dark.
_ROUNDING_FACTOR = 1 - 1e-9
# The properties of any new master, as `masters_awaited` returns them.
_ANY_MASTER = ("*", "", "", 0.0)


def masters_awaited(context, night, frames, masters):
    """Return the masters that a night waits for, because they may come or change.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    frames, masters : list of ccdflow.run.job.Group
        The calibrated frames of the night, and its masters.

    Returns
    -------
    list of [str, str, str, float]
        Kind, camera and filter of a new master, with '' for any, and the exposure that a dark must
        exceed, seconds. Or '', the product that the night waits for, '' and 0. Or '*', '', '' and
        0: the night waits for any new master.
    """
    if not is_dated(night):
        # An undated night may be sorted before new ones, so any master may change it.
        return [list(_ANY_MASTER)] if frames or masters else []
    properties, choices_seen = {}, set()
    for group in (*frames, *masters):
        row, seconds = context.row(group.files[0]), longest_exposure(context, group)
        for step in group.steps:
            choice = (id(step), *_light_and_seconds(step.kind, row, seconds))
            if step.kind in MASTER_KINDS and choice not in choices_seen:
                choices_seen.add(choice)
                properties |= dict.fromkeys(_awaited_properties(step, row.camera, *choice[1:]))
    for group in frames:
        properties |= dict.fromkeys(_measurements_awaited(context, night, group))
    return sorted(map(list, properties))


def _light_and_seconds(kind, row, seconds):
    """Return the filter of a frame or flat, and its exposure, if they count for masters of a kind.

    The filter counts for flats, else it is ''; the exposure counts for darks, else it is 0.
    """
    light = filter_and_grism(row.facts) if kind == FLAT else ""
    return light, seconds if kind == DARK else 0.0


def longest_exposure(context, group):
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
    seconds : float
        Exposure of the frame, 0 where it is unknown.
    """
    if not step.is_needed:
        return
    # A later master that is a candidate may change or vanish.
    yield from (("", use.product, "", 0.0) for use in step.uses if is_later(use))
    if not step.uses:
        yield step.kind, "", "", 0.0
    elif len(step.uses) < MOST_CANDIDATES or any(use.lag is None or use.cut for use in step.uses):
        yield step.kind, camera, light, 0.0
    elif any(use.scale != 1 and use.lag < 0 for use in step.uses):
        # A later dark that would be scaled up is ranked after these candidates.
        yield step.kind, camera, light, _ROUNDING_FACTOR * seconds / HARMLESS_SCALE_UP


def _measurements_awaited(context, night, group):
    """Yield the properties of the detector measurements and shutter maps that a frame waits for."""
    if not DETECTOR.is_enabled(context):
        return
    # Measurements and maps of later nights may change or vanish.
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


def nights_waiting_for(context, new_groups):
    """Return the closed nights that wait for one of some new groups.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    new_groups : list of ccdflow.run.job.Group
        Masters and measurements of new nights, which are later than all closed nights.

    Returns
    -------
    set of str
    """
    # The longest exposure of the new masters with some properties; infinite where none counts.
    longest_by_properties = {_ANY_MASTER[:3]: math.inf} if new_groups else {}
    for group in new_groups:
        row, seconds = context.row(group.files[0]), longest_exposure(context, group)
        light, _ = _light_and_seconds(group.kind, row, seconds)
        seconds = seconds if group.kind == DARK else math.inf
        for properties in ((group.kind, "", ""), (group.kind, group.camera, light)):
            longest_by_properties[properties] = max(
                seconds, longest_by_properties.get(properties, 0.0)
            )
        longest_by_properties["", group.product, ""] = math.inf
    return {
        night
        for night, awaited in context.summaries(AWAITED_NOTE).items()
        if any(
            longest_by_properties.get(tuple(properties), 0.0) > seconds
            for *properties, seconds in awaited
        )
    }
