"""The last lines of a run that was asked for products by name: they are on these products alone."""

from __future__ import annotations

from ccdflow.run import failures, job_records
from ccdflow.run.lines.plan_description import lines_on_unreadable_folders
from ccdflow.wording import LEFT_FOR_NEXT_RUN, count


def lines_on_targets(context, plan, failed_records=(), postponed_records=()):
    """Return the closing lines of a run that was asked for some products by name.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    plan : ccdflow.run.plan.Plan
        With the products that were asked for.
    failed_records, postponed_records : sequence of ccdflow.run.job_records.Record, optional
        Failed jobs of this run, and jobs that were left for the next run.

    Returns
    -------
    list of str
    """
    lines = lines_on_unreadable_folders(context) + failures.lines_on_failures(
        context.results, failed_records
    )
    lines += [
        f"{LEFT_FOR_NEXT_RUN}: {record.product}: {record.reason}" for record in postponed_records
    ]
    products_named = {record.product for record in (*failed_records, *postponed_records)}
    refused_products = [product for product in plan.jobs if _is_refused(context.outcome(product))]
    # A product may lack a master because that master was refused in this run.
    for product in dict.fromkeys([*refused_products, *plan.requested]):
        record = context.outcome(product)
        if record is not None and product not in products_named:
            lines += context.chain.by_name(record.kind).closing_lines_of_one(context, record)
    return [*lines, line_on_number(context, plan, failed_records, postponed_records)]


def line_on_number(context, plan, failed_records, postponed_records):
    """Return the last line of such a run: how many of the products are made.

    Parameters
    ----------
    context, plan, failed_records, postponed_records
        As for `lines_on_targets`.

    Returns
    -------
    str
    """
    products_named = {record.product for record in (*failed_records, *postponed_records)}
    products = dict.fromkeys(plan.requested)
    outcomes = {product: context.outcome(product) for product in products}
    # The inventory has no record, because every run writes it.
    n_made = sum(
        product not in products_named and (record is None or record.status == job_records.MADE)
        for product, record in outcomes.items()
    )
    n_others, words_on_others = plan.n_not_requested, ""
    if n_others:
        verb = "is" if n_others == 1 else "are"
        words_on_others = f"; {count(n_others, 'other product')} {verb} not up to date"
    return f"{_number_in_words(n_made, len(products))}{words_on_others}"


def _is_refused(record):
    """Return whether a record is that of a refused product; False for None."""
    return record is not None and record.status == job_records.REFUSED


def _number_in_words(n_made, n_requested):
    """Return the number of made products, among those that were asked for, in words.

    Examples
    --------
    >>> _number_in_words(1, 1), _number_in_words(0, 1), _number_in_words(2, 3)
    ('the product is made', 'the product is not made', '2 of 3 products are made')
    """
    if n_requested == 1:
        return f"the product is {'made' if n_made else 'not made'}"
    return f"{n_made} of {n_requested} products are made"
