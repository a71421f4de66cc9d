"""Products that are text or pictures, put in place whole and recorded."""

from __future__ import annotations

from ccdflow.files import whole
from ccdflow.run import ledger
from ccdflow.run.inventory import digest


def write_text(context, job, basis, content):
    """Write a text or picture product and return its record.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
    basis : dict
        What the product depends on, as it turned out.
    content : str or bytes

    Returns
    -------
    ccdflow.run.ledger.Record

    Raises
    ------
    OSError
        If it cannot be written.
    """
    target = context.results / job.product
    whole.write_hdus(target, [content.encode() if isinstance(content, str) else content])
    return ledger.Record(
        job.product,
        job.kind,
        digest(basis),
        stamp=ledger.stamp_of(target),
        content=ledger.content_of(target),
        basis=basis,
    )
