"""The lines at the end of a run for products that were asked for by name: on these alone."""

from __future__ import annotations

from ccdflow.run import failures, job_records
from ccdflow.run.lines.plan_description import unreadable_lines
from ccdflow.wording import count


def lines_on_targets(context, plan, failed=(), postponed=()):
    """Return the closing lines of a run that was asked for some products by name.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    plan : ccdflow.run.plan.Plan
        With the products that were asked for.
    failed, postponed : list of ccdflow.run.job_records.Record
        Failed jobs of this run, and those left for the next one.

    Returns
    -------
    list of str
    """
    lines = unreadable_lines(context) + failures.lines_on_failures(context.results, failed)
    lines += [f"left for the next run: {record.product}: {record.reason}" for record in postponed]
    products_named = {record.product for record in (*failed, *postponed)}
    n_made = 0
    for product in dict.fromkeys(plan.requested):
        record = context.outcome(product)
        kind = None if record is None else context.chain.by_name(record.kind)
        # The inventory is written in every run, and has no record.
        is_made = kind is None or record.status == job_records.MADE
        n_made += is_made and product not in products_named
        if kind is not None and product not in products_named:
            lines += kind.closing_of_one(context, record)
    number = f"{n_made} of {count(len(set(plan.requested)), 'product')} asked for by name made"
    others = plan.n_not_requested
    verb = "is" if others == 1 else "are"
    rest = f"; {count(others, 'other product')} {verb} not up to date" if others else ""
    return [*lines, f"{number}{rest}"]
