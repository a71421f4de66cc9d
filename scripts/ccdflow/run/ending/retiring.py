"""The products that leave the archive at the end of a run, and those that stay for now."""

from __future__ import annotations

from ccdflow.errors import UserError
from ccdflow.run import failures, job_records
from ccdflow.run.job import OF_A_FRAME
from ccdflow.run.products import removal


def retire_planned(session):
    """Remove the products that the plan retires; restore the row of one that cannot be removed."""
    context = session.context
    session.unmoved_products |= retire(context, session.plan.products_to_retire)
    for row in filter(None, map(session.plan.dropped_rows.get, session.unmoved_products)):
        context.store.rows[row.file] = row


def retire(context, products):
    """Remove products that no frame or setting asks for; return those that cannot be removed.

    `removal.remove_product` moves or deletes each file. A product that cannot be removed stays in
    its place, and the next run tries again.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    products : iterable of str
        Paths relative to the results folder.

    Returns
    -------
    dict of str to Exception
        Products that cannot be removed, and the error.

    Raises
    ------
    OSError
        If the disk is full.
    """
    unmoved_products = {}
    for product in products:
        try:
            removal.remove_product(context.results, product, raw=context.raw)
        except (OSError, UserError) as error:
            if failures.is_of_full_disk(error):
                raise
            unmoved_products[product] = error
            continue
        record = context.earlier_record(product)
        if not context.is_planned(product) or (record and record.status != job_records.REFUSED):
            context.ledger.pop(product, None)
    return unmoved_products


def refused_of_frames_set_aside(run_plan, unmade_records):
    """Return the refused products of frames that this run has set aside.

    The next plan has no product of such a frame. So the ledger need not have these products, and
    the last lines do not name them: the frame has a line already.

    Parameters
    ----------
    run_plan : ccdflow.run.plan.Plan
    unmade_records : list of ccdflow.run.job_records.Record
        Records without a product.

    Returns
    -------
    list of str
    """
    reach_by_kind = {kind.name: kind.reach for kind in run_plan.context.chain}
    frames_set_aside = {
        record.product for record in unmade_records if record.status == job_records.SET_ASIDE
    }
    if not frames_set_aside:
        return []
    refused_products = {
        record.product for record in unmade_records if record.status == job_records.REFUSED
    }
    return [
        job.product
        for job in run_plan.jobs.values()
        if job.product in refused_products
        and reach_by_kind[job.kind] == OF_A_FRAME
        and not frames_set_aside.isdisjoint(job.needs)
    ]


def products_to_keep(run_plan, unmade_records):
    """Return the products whose earlier versions stay, though this run did not make them.

    They are the products of failed jobs, of jobs that wait or were left for the next run, and the
    products that depend on these. So a disk that is absent for a moment costs no product.

    Parameters
    ----------
    run_plan : ccdflow.run.plan.Plan
    unmade_records : list of ccdflow.run.job_records.Record
        Records without a product.

    Returns
    -------
    set of str
    """
    products = {
        record.product
        for record in unmade_records
        if record.status in (job_records.GONE, job_records.FAILED, job_records.WAITING)
    }
    for job in run_plan.jobs.values() if products else ():
        if not products.isdisjoint(job.needs):
            products.add(job.product)
    return products
