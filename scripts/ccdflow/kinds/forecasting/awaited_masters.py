"""The closed nights that a master of a new, later night would change.

A frame has a list of its best candidates, at most `rule_values.MOST_CANDIDATES`. A later master is
ranked after those of the own and earlier nights, and after nearer later ones. An exact dark is
ranked before scaled darks of later nights. So a new master changes a list in three cases: the list
is not full, it has a scaled dark of a later night, or it has a master that is undated or cut from
a larger window. The words on a missing master name the existing masters: a new one changes them.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

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


class Awaited(NamedTuple):
    """The masters for which a night waits: new ones with some properties, or one product.

    A record has these values as a list.

    Attributes
    ----------
    kind : str
        Kind of a new master; '' for a product, '*' for any new master.
    camera : str
        Camera of a new master, '' for any; of a product its path.
    light : str
        Filter and grism of a new flat, '' for any.
    least_seconds : float
        The exposure that a new dark must exceed.
    """

    kind: str
    camera: str = ""
    light: str = ""
    least_seconds: float = 0.0

    @classmethod
    def of_product(cls, product):
        """Return the values of a product that may change or vanish."""
        return cls("", product)

    @property
    def properties(self):
        """Kind, camera and light, which a new master has as well."""
        return self[:3]


_ANY_MASTER = Awaited("*")


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
        The values of each `Awaited`, as JSON has them.
    """
    if not is_dated(night):
        # An undated night may be sorted before new ones, so any master may change it.
        return [list(_ANY_MASTER)] if frames or masters else []
    awaited, choices_seen = {}, set()
    for group in (*frames, *masters):
        row, seconds = context.row(group.files[0]), longest_exposure(context, group)
        for step in group.steps:
            choice = (id(step), *_light_and_seconds(step.kind, row, seconds))
            if step.kind in MASTER_KINDS and choice not in choices_seen:
                choices_seen.add(choice)
                awaited |= dict.fromkeys(_masters_awaited_by(step, row.camera, *choice[1:]))
    for group in frames:
        awaited |= dict.fromkeys(_measurements_awaited(context, night, group))
    return sorted(map(list, awaited))


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


def _masters_awaited_by(step, camera, light, seconds):
    """Yield the `Awaited` masters that would change a step.

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
    yield from (Awaited.of_product(use.product) for use in step.uses if is_later(use))
    if not step.uses:
        yield Awaited(step.kind)
    elif len(step.uses) < MOST_CANDIDATES or any(use.lag is None or use.cut for use in step.uses):
        yield Awaited(step.kind, camera, light)
    elif any(use.scale != 1 and use.lag < 0 for use in step.uses):
        # A later dark that would be scaled up is ranked after these candidates.
        least_seconds = _ROUNDING_FACTOR * seconds / HARMLESS_SCALE_UP
        yield Awaited(step.kind, camera, light, least_seconds)


def _measurements_awaited(context, night, group):
    """Yield the `Awaited` measurements of detectors, and shutter maps, of a frame."""
    if not DETECTOR.is_enabled(context):
        return
    # Measurements and maps of later nights may change or vanish.
    yield from (
        Awaited.of_product(product)
        for product in group.measurements
        if paths.night_of_product(product) > night
    )
    if not any(map(DETECTOR.has_name, group.measurements)):
        yield Awaited(DETECTOR.name, group.camera)
    if corrects_shutter(context, group.camera) and not any(
        map(SHUTTER.has_name, group.measurements)
    ):
        yield Awaited(SHUTTER.name, group.camera)


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
    longest_by_properties = {_ANY_MASTER.properties: math.inf} if new_groups else {}
    for group in new_groups:
        row, seconds = context.row(group.files[0]), longest_exposure(context, group)
        light, _ = _light_and_seconds(group.kind, row, seconds)
        seconds = seconds if group.kind == DARK else math.inf
        for awaited in (Awaited(group.kind), Awaited(group.kind, group.camera, light)):
            longest_by_properties[awaited.properties] = max(
                seconds, longest_by_properties.get(awaited.properties, 0.0)
            )
        longest_by_properties[Awaited.of_product(group.product).properties] = math.inf
    return {
        night
        for night, values_awaited in context.summaries(AWAITED_NOTE).items()
        if any(
            longest_by_properties.get(awaited.properties, 0.0) > awaited.least_seconds
            for awaited in itertools.starmap(Awaited, values_awaited)
        )
    }
