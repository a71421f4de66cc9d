"""The verdicts of `snakemake verify` on a night's products, as its page shows them.

The page depends on the verdicts that the table has when the page is planned. A night that was never
verified has none, and its page is the same to the last byte; a verification changes the page once,
in the next run. A product made anew since has another key than its verdict: it counts no more.
"""

from __future__ import annotations

from ccdflow import paths
from ccdflow.files import sealed
from ccdflow.pages.page import Section
from ccdflow.run import ledger
from ccdflow.run.context import reduced

# Products that are not verified and that the page names; the table has all.
_MOST_LINES = 20


def noted(results):
    """Return {product: (kind, key, content, basis)} of the FITS products that runs have noted.

    That is the ledger, and records that a run which was ended left. A kind that nothing verifies is
    among them, so that a new one cannot be forgotten.

    Parameters
    ----------
    results : path-like
    """
    left = (record for _, record in ledger.unfolded(results) if record is not None)
    return {
        record.product: (record.kind, record.key, record.content, record.basis)
        for record in (*ledger.load(results).values(), *left)
        if record.status == ledger.MADE and paths.is_fits(record.product)
    }


def verdicts_of(context, night):
    """Return [[product, verdict, reason, ccdproc]] of a night's products that still hold.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of [str, str, str, str]
    """
    by_product = context.lookup(("verdicts",), lambda: _read(context.results))
    if not by_product:
        return []
    files = [row.file for row in context.rows_of(night)]
    products = [*map(reduced, files), *map(paths.calibrated, files)]
    folder = f"combined/{paths.segment(night)}/"
    products += [product for product in by_product if product.startswith(folder)]
    verdicts = []
    for product in products:
        line = by_product.get(product)
        record = None if line is None else context.outcome(product)
        if record is not None and record.key == line["key"]:
            verdicts.append([product, line["verdict"], line["reason"], line["ccdproc"]])
    return sorted(verdicts)


def _read(results):
    """Return {product: its line of the table}; edited lines count for nothing."""
    needed = ("product", "key", "verdict", "reason", "ccdproc")
    rows, _ = sealed.read_rows(results / paths.VERIFICATION)
    return {row["product"]: row for row in rows if all(row.get(n) is not None for n in needed)}


def page_basis(context, night):
    """Return the sources of a night's page: {} where nothing was verified.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    dict
    """
    verdicts = verdicts_of(context, night)
    return {"verified": verdicts} if verdicts else {}


def section(context, night):
    """Return the section of a night's page with its verdicts, or None.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    ccdflow.pages.contents.Section or None
    """
    verdicts = verdicts_of(context, night)
    if not verdicts:
        return None
    good = [line for line in verdicts if line[1] == "verified"]
    versions = ", ".join(sorted({line[3] for line in good}))
    text = f"{len(good)} of {len(verdicts)} products that were looked at are verified"
    text += f" with ccdproc {versions}." if versions else "."
    others = [tuple(line[:3]) for line in verdicts if line[1] != "verified"]
    return Section(
        anchor="verified",
        title="Made again by ccdproc",
        summary=(text,),
        paragraphs=(f"{text} All verdicts are in {paths.VERIFICATION}.",),
        headings=("product", "verdict", "why") if others else (),
        rows=tuple(others[:_MOST_LINES]),
    )
