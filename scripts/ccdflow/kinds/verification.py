"""The verdicts of `snakemake verify` on a night's products, as its page shows them.

The page depends on the verdicts that the table has when the page is planned. A night that was never
verified has none, and its page is the same to the last byte; a verification changes the page once,
in the next run. A product made anew since has another key than its verdict: it counts no more.
"""

from __future__ import annotations

import csv
import io

from ccdflow import paths
from ccdflow.pages.page import Section
from ccdflow.run.context import reduced

_MOST = 20


def verdicts_of(context, night):
    """Return [[product, verdict, reason, ccdproc]] of a night's products that still hold."""
    by_product = context.lookup(("verdicts",), lambda: _read(context.results))
    if not by_product:
        return []
    files = [row.file for row in context.rows_of(night)]
    products = [*map(reduced, files), *map(paths.calibrated, files)]
    folder = f"combined/{paths.segment(night)}/"
    products += [product for product in by_product if product.startswith(folder)]
    found = []
    for product in products:
        line = by_product.get(product)
        record = None if line is None else context.outcome(product)
        if record is not None and record.key == line["key"]:
            found.append([product, line["verdict"], line["reason"], line["ccdproc"]])
    return sorted(found)


def _read(results):
    try:
        text = (results / paths.VERIFICATION).read_text("utf-8", errors="surrogateescape")
        lines = list(csv.DictReader(io.StringIO(text)))
        needed = ("product", "key", "verdict", "reason", "ccdproc")
        return {
            line["product"]: line for line in lines if all(line.get(n) is not None for n in needed)
        }
    except (OSError, csv.Error):
        # No table, or none of ours: nothing was verified.
        return {}


def page_basis(context, night):
    """Return what a night's page depends on: {} where nothing was verified."""
    found = verdicts_of(context, night)
    return {"verified": found} if found else {}


def section(context, night):
    """Return the section of a night's page with its verdicts, or None."""
    found = verdicts_of(context, night)
    if not found:
        return None
    good = [line for line in found if line[1] == "verified"]
    versions = ", ".join(sorted({line[3] for line in good}))
    text = f"{len(good)} of {len(found)} products that were looked at are verified"
    text += f" with ccdproc {versions}." if versions else "."
    others = [tuple(line[:3]) for line in found if line[1] != "verified"]
    return Section(
        anchor="verified",
        title="Made again by ccdproc",
        said=(text,),
        paragraphs=(f"{text} All verdicts are in {paths.VERIFICATION}.",),
        headings=("product", "verdict", "why") if others else (),
        rows=tuple(others[:_MOST]),
    )
