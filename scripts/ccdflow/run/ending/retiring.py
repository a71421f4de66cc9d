"""Products that nothing asks for any more leave their places."""

from __future__ import annotations

from ccdflow.errors import UserError
from ccdflow.run import failures, job_records
from ccdflow.run.products import removal


def retire_planned(session):
    """Move the products that the plan retires; the row of a frame that cannot be moved stays."""
    context = session.context
    session.unmoved_products |= retire(context, session.plan.products_to_retire)
    for row in filter(None, map(session.plan.dropped.get, session.unmoved_products)):
        context.store.rows[row.file] = row


def retire(context, products):
    """Remove products that nothing asks for any more, as `removal.remove_product` does.

    A product that cannot be removed stays in its place, and the next run tries again.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    products : iterable of str
        Paths relative to the results folder.

    Returns
    -------
    dict of str to Exception
        Products that cannot be removed, and the reason.

    Raises
    ------
    OSError
        If the disk is full.
    """
    unmoved = {}
    for product in products:
        try:
            removal.remove_product(context.results, product, raw=context.raw)
        except (OSError, UserError) as error:
            if failures.is_full(error):
                raise
            unmoved[product] = error
            continue
        record = context.earlier_record(product)
        if not context.is_planned(product) or (record and record.status != job_records.REFUSED):
            context.ledger.pop(product, None)
    return unmoved
