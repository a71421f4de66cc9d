"""Which frames are calibrated: the plan of a run, and its calibrated frames by night."""

from __future__ import annotations

from operator import attrgetter

from ccdflow.kinds.reducing.frame_sources import frame_records
from ccdflow.run import job_records
from ccdflow.run.context import calibrated_product, type_is_enabled
from ccdflow.run.lookups import Lookup, OutcomeKey
from ccdflow.run.rawframes.rows import OK, SET_ASIDE, value_picker

_type_of = value_picker("type")


def frames_to_calibrate(planner, types):
    """Yield the frames of some types that were or will be reduced; keep the products of others.

    Parameters
    ----------
    planner : ccdflow.run.plan.Planner
    types : collection of str
        The image types that the configuration asks for.

    Yields
    ------
    row : ccdflow.run.rawframes.rows.Row
    product : str
        The calibrated frame.
    record : ccdflow.run.job_records.Record
        Record of the reduced frame.
    """
    context, wanted_types = planner.context, {}
    # A loop over all frames of an archive: each type is looked up once.
    for row, frame in _rows_with_records(context):
        type_, status, file = _type_of(row.facts.values()), row.status, row.file
        is_wanted = wanted_types.get(type_)
        if is_wanted is None:
            is_enabled = type_is_enabled(context.settings, type_)
            is_wanted = wanted_types[type_] = is_enabled and type_ in types
        if status == SET_ASIDE and not row.gone:
            # The product of the raw file as it was is moved away.
            continue
        if status != OK or not is_wanted:
            # A product that is not wanted, or whose frame is being copied, is not touched.
            planner.keep(calibrated_product(file))
        elif row.geometry and frame is not None and frame.status == job_records.MADE:
            yield row, calibrated_product(file), frame


def _rows_with_records(context):
    """Yield all rows, sorted by night and file, each with the record of its reduced frame."""
    for night in sorted(context.nights):
        yield from zip(context.rows_of(night), frame_records(context, night), strict=True)


def keep_products_without_row(planner, kind):
    """Keep the calibrated frames whose raw file has no row: the notes on it may be lost.

    Parameters
    ----------
    planner : ccdflow.run.plan.Planner
    kind : ccdflow.kinds.calibrating.science.Science
    """
    context = planner.context
    records = [each for each in context.ledger.values() if each.kind == kind.name]
    products = {calibrated_product(file) for file in context.store.rows} if records else ()
    for record in records:
        if record.product not in products:
            planner.keep(record.product)


def calibrated_groups(context, kind):
    """Return the frames that are calibrated, as groups, sorted by product.

    A frame that a job of this run has set aside is none of them, as in the next run: pages and
    tables that showed it would be made anew then.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.calibrating.science.Science

    Returns
    -------
    list of ccdflow.run.job.Group
    """
    return context.kept_by_key(
        (OutcomeKey.CALIBRATED_FRAMES,),
        lambda: context.without_set_aside(_planned_groups(context, kind)),
    )


def night_groups(context, kind, night):
    """Return those of `calibrated_groups` that are of a night.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.calibrating.science.Science
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of ccdflow.run.job.Group
    """
    return context.kept_by_key(
        (OutcomeKey.CALIBRATED_FRAMES, night),
        lambda: context.without_set_aside(groups_of_nights(context, kind).get(night, ())),
    )


def groups_of_nights(context, kind):
    """Return all frames of the plan that are calibrated, also those set aside since, by night.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.calibrating.science.Science

    Returns
    -------
    dict of str to list of ccdflow.run.job.Group
        Those of a night are sorted by product.
    """

    def groups_by_night():
        """Return {night: its groups}, each sorted by product."""
        groups = {}
        for group in _planned_groups(context, kind):
            groups.setdefault(group.night, []).append(group)
        return groups

    return context.lookup((Lookup.CALIBRATED_BY_NIGHT,), groups_by_night)


def _planned_groups(context, kind):
    """Return all frames of the plan that are calibrated, sorted by product."""

    def sorted_groups():
        """Return the groups of this kind, sorted by product."""
        groups = (group for group in context.groups.values() if group.kind == kind.name)
        return sorted(groups, key=attrgetter("product"))

    return context.lookup((Lookup.GROUPS, kind.name), sorted_groups)
