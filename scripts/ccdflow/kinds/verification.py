"""The verdicts of `snakemake verify` on a night's products, as its page shows them.

The page depends on the verdicts that the table has when the page is planned. The page of a night
that was never verified stays the same to the last byte; a verification changes the page once, in
the next run. A verdict counts while the product has the key that was verified; the verdict
"differs" counts only while the product's file has the same time, for a run remakes such a product
with the same key.
"""

from __future__ import annotations

from ccdflow import paths
from ccdflow.files.text_files import line_checksums
from ccdflow.pages.contents import Section
from ccdflow.run.lookups import Lookup
from ccdflow.run.products.product_names import reduced_product

# At most this many products that are not verified get a line.
_MOST_LINES = 20
_VERIFIED_WORD = "verified"


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
    line_of_product = context.lookup((Lookup.VERDICTS,), lambda: _read_verdicts(context.results))
    if not line_of_product:
        return []
    files = [row.file for row in context.rows_of(night)]
    products = [*map(reduced_product, files), *map(paths.calibrated_frame, files)]
    folder = paths.segment(night)
    products += [product for product in line_of_product if _is_of(product, folder)]
    verdicts = []
    for product in products:
        line = line_of_product.get(product)
        if line is not None and _verdict_holds(
            line, context.outcome(product), product in context.jobs
        ):
            verdicts.append([product, line["verdict"], line["reason"], line["ccdproc"]])
    return sorted(verdicts)


def _is_of(product, folder):
    """Return whether a product is a master of a night, or a measurement of its detector."""
    return paths.night_of_product(product) == folder


def _verdict_holds(line, record, is_made_now):
    """Return whether a verdict is that of the product that is there.

    A product that was damaged and made again has the same key: the time of its file is another.
    """
    if record is None or record.key != line["key"]:
        return False
    is_same = not is_made_now and list(map(str, record.stamp[1:2])) == [line["modified"]]
    return is_same or line["verdict"] == _VERIFIED_WORD


def _read_verdicts(results):
    """Return {product: its line of the table}; edited lines count for nothing."""
    columns = ("product", "key", "modified", "verdict", "reason", "ccdproc")
    rows, _ = line_checksums.unedited_lines(results / paths.VERIFICATION)
    return {row["product"]: row for row in rows if all(row.get(n) is not None for n in columns)}


def page_basis(context, night):
    """Return the sources of a night's page: {} where nothing was verified.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    dict of str to list
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
    verified_lines = [line for line in verdicts if line[1] == _VERIFIED_WORD]
    versions = ", ".join(sorted({line[3] for line in verified_lines}))
    text = f"{len(verified_lines)} of {len(verdicts)} products that were looked at are verified"
    text += f" with ccdproc {versions}." if versions else "."
    not_verified = [tuple(line[:3]) for line in verdicts if line[1] != _VERIFIED_WORD]
    return Section(
        anchor="verified",
        title="Made again by ccdproc",
        summary=(text,),
        paragraphs=(f"{text} All verdicts are in {paths.VERIFICATION}.",),
        headings=("product", "verdict", "why") if not_verified else (),
        rows=tuple(not_verified[:_MOST_LINES]),
    )
