"""Products that nothing asks for any more leave their places; those of failed jobs stay."""

from __future__ import annotations

from ccdflow.errors import UserError
from ccdflow.run import failures, job_records
from ccdflow.run.job import OF_A_FRAME
from ccdflow.run.products import removal


def retire_planned(session):
    """Move the products that the plan retires; the row of a frame that cannot be moved stays."""
    context = session.context
    session.unmoved_products |= retire(context, session.plan.products_to_retire)
    for row in filter(None, map(session.plan.dropped_rows.get, session.unmoved_products)):
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
            if failures.is_of_full_disk(error):
                raise
            unmoved[product] = error
            continue
        record = context.earlier_record(product)
        if not context.is_planned(product) or (record and record.status != job_records.REFUSED):
            context.ledger.pop(product, None)
    return unmoved


def refused_of_frames_set_aside(run_plan, unmade):
    """Return the refused products of frames that this run set aside.

    The next plan wants nothing of such a frame. So the ledger need not have them, and the last
    lines are silent on them: the frame has a line already.

    Parameters
    ----------
    run_plan : ccdflow.run.plan.Plan
    unmade : list of ccdflow.run.job_records.Record
        Records without a product.

    Returns
    -------
    list of str
    """
    reach = {kind.name: kind.reach for kind in run_plan.context.chain}
    frames_set_aside = {
        record.product for record in unmade if record.status == job_records.SET_ASIDE
    }
    if not frames_set_aside:
        return []
    refused = {record.product for record in unmade if record.status == job_records.REFUSED}
    return [
        job.product
        for job in run_plan.jobs.values()
        if job.product in refused
        and reach[job.kind] == OF_A_FRAME
        and not frames_set_aside.isdisjoint(job.needs)
    ]


def products_to_keep(run_plan, unmade):
    """Return the products of failed jobs, of those left for the next run, and their dependants.

    Earlier products of these names stay: a disk that was away for a moment costs none.

    Parameters
    ----------
    run_plan : ccdflow.run.plan.Plan
    unmade : list of ccdflow.run.job_records.Record
        Records without a product.

    Returns
    -------
    set of str
    """
    products = {
        record.product
        for record in unmade
        if record.status in (job_records.GONE, job_records.FAILED, job_records.WAITING)
    }
    for job in run_plan.jobs.values() if products else ():
        if not products.isdisjoint(job.needs):
            products.add(job.product)
    return products
