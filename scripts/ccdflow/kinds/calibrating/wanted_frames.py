"""The frames that are calibrated: of the types asked for, and reduced or about to be."""

from __future__ import annotations

from ccdflow.kinds.reducing.frame_sources import night_frame_records
from ccdflow.run import job_records
from ccdflow.run.products.product_names import calibrated_product
from ccdflow.run.raw_frames.enabled_types import is_type_enabled
from ccdflow.run.raw_frames.rows import OK, SET_ASIDE, value_picker

_type_of = value_picker("type")


def frames_to_calibrate(planner, types):
    """Yield the frames of some types that were or will be reduced; keep other calibrated frames.

    Parameters
    ----------
    planner : ccdflow.run.plan.Planner
    types : collection of str
        The image types that the configuration asks for.

    Yields
    ------
    row : ccdflow.run.raw_frames.rows.Row
    product : str
        The calibrated frame.
    record : ccdflow.run.job_records.Record
        Record of the reduced frame.
    """
    context, is_wanted_by_type = planner.context, {}
    # Each type is looked up once, because this loop goes over all frames of an archive.
    for row, frame in _rows_with_records(context):
        type_, status, file = _type_of(row.facts.values()), row.status, row.file
        is_wanted = is_wanted_by_type.get(type_)
        if is_wanted is None:
            is_enabled = is_type_enabled(context.settings, type_)
            is_wanted = is_wanted_by_type[type_] = is_enabled and type_ in types
        if status == SET_ASIDE and not row.gone:
            # A calibrated frame of an earlier raw file is not kept, so that it is moved away.
            continue
        if status != OK or not is_wanted:
            # Products stay if their type is not asked for, or their raw file is being copied.
            planner.keep(calibrated_product(file))
        elif row.geometry and frame is not None and frame.status == job_records.MADE:
            yield row, calibrated_product(file), frame


def _rows_with_records(context):
    """Yield all rows, sorted by night and file, each with the record of its reduced frame."""
    for night in sorted(context.nights):
        yield from zip(context.rows_of(night), night_frame_records(context, night), strict=True)


def keep_products_without_row(planner, kind):
    """Keep the calibrated frames whose raw file has no row, because notes on it may be lost.

    Those of a raw file that has another path now are not kept, so that they are moved away.

    Parameters
    ----------
    planner : ccdflow.run.plan.Planner
    kind : ccdflow.kinds.calibrating.science.Science
    """
    context = planner.context
    records = [each for each in context.ledger.values() if each.kind == kind.name]
    files = (*context.store.rows, *planner.moved_files) if records else ()
    products = set(map(calibrated_product, files))
    for record in records:
        if record.product not in products:
            planner.keep(record.product)
