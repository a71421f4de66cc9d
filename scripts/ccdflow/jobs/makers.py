"""Which function makes which kind of product."""

from __future__ import annotations

from importlib import import_module

from ccdflow.run import plan

# Imported when the first product of a kind is made: a run without pages need not load what draws.
_MAKERS = {
    plan.FRAME: ("ccdflow.jobs.work", "reduce_frame"),
    plan.BIAS: ("ccdflow.jobs.work_biases", "combine_biases"),
    plan.TABLE: ("ccdflow.jobs.work_tables", "write_quality_table"),
    plan.PICTURE: ("ccdflow.jobs.work_pictures", "draw_frames"),
    plan.QUALITY: ("ccdflow.jobs.work_pictures", "draw_quality"),
    plan.PAGE: ("ccdflow.jobs.work_pages", "write_page"),
    plan.INDEX: ("ccdflow.jobs.work_pages", "write_index"),
}


def make(context, job, **options):
    """Make a job's product.

    Parameters
    ----------
    context : ccdflow.run.plan.Context
    job : ccdflow.run.plan.Job
    **options
        ``threads`` for a combined bias.

    Returns
    -------
    ccdflow.run.ledger.Record
    """
    module, name = _MAKERS[job.kind]
    return getattr(import_module(module), name)(context, job, **options)
