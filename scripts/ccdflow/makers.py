"""Which function makes which kind of product."""

from __future__ import annotations

from ccdflow import plan
from ccdflow.work import reduce_frame
from ccdflow.work_biases import combine_biases, write_quality_table
from ccdflow.work_pages import draw_frames, draw_quality, write_index, write_page

_MAKERS = {
    plan.BIAS: combine_biases,
    plan.PICTURE: draw_frames,
    plan.QUALITY: draw_quality,
    plan.PAGE: write_page,
    plan.TABLE: write_quality_table,
    plan.INDEX: write_index,
}


def make(context, job, **options):
    """Make a job's product.

    Parameters
    ----------
    context : ccdflow.plan.Context
    job : ccdflow.plan.Job
    **options
        ``threads`` for a combined bias.

    Returns
    -------
    ccdflow.ledger.Record
    """
    if job.kind == plan.FRAME:
        return reduce_frame(context, job, context.row_of(job.product))
    return _MAKERS[job.kind](context, job, **options)
