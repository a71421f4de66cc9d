"""The verdicts of `snakemake verify` on a night's products, for the page of the night.

The page has the verdicts that are in the table of verdicts when the page is planned. So a
verification changes the page once, in the next run; a night without verdicts has no such section.
A verdict holds while the product has the key that was verified. Every other verdict than
"verified" also needs the time of the file that was verified: a run makes such a product again with
an unchanged key.
"""

from __future__ import annotations

from ccdflow import paths
from ccdflow.files.text_files import line_checksums
from ccdflow.pages.contents import Section
from ccdflow.run.lookups import Lookup
from ccdflow.run.products.product_names import reduced_product

# The section has lines on at most this many products that are not verified.
_MOST_LINES = 20
_VERIFIED_WORD = "verified"


def verdicts_of(context, night):
    """Return the verdicts on a night's products that still hold.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of [str, str, str, str]
        Product, verdict, reason, and version of ccdproc.
    """
    lines_by_product = context.lookup((Lookup.VERDICTS,), lambda: _read_verdicts(context.results))
    if not lines_by_product:
        return []
    files = [row.file for row in context.rows_of(night)]
    products = [*map(reduced_product, files), *map(paths.calibrated_frame, files)]
    folder = paths.segment(night)
    # The masters of the night, and the measurements of its detectors.
    products += [
        product for product in lines_by_product if paths.night_of_product(product) == folder
    ]
    verdicts = []
    for product in products:
        line = lines_by_product.get(product)
        if line is not None and _verdict_holds(
            line, context.outcome(product), product in context.jobs
        ):
            verdicts.append([product, line["verdict"], line["reason"], line["ccdproc"]])
    return sorted(verdicts)


def _verdict_holds(line, record, is_to_be_made):
    """Return whether a verdict is about the present product and not about an earlier version.

    A damaged product that was made again has the same key, but another time of its file.
    """
    if record is None or record.key != line["key"]:
        return False
    is_same_file = not is_to_be_made and list(map(str, record.stamp[1:2])) == [line["modified"]]
    return is_same_file or line["verdict"] == _VERIFIED_WORD


def _read_verdicts(results):
    """Return {product: its line of the table}, without the lines that somebody has edited."""
    columns = ("product", "key", "modified", "verdict", "reason", "ccdproc")
    lines, _ = line_checksums.unedited_lines(results / paths.VERIFICATION)
    return {
        line["product"]: line
        for line in lines
        if all(line.get(name) is not None for name in columns)
    }


def page_basis(context, night):
    """Return the verdicts as sources of a night's page; {} without verdicts.

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
    """Return the section with the verdicts on a night's products; None without verdicts.

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
    versions_in_words = ", ".join(sorted({line[3] for line in verified_lines}))
    text = f"{len(verified_lines)} of {len(verdicts)} products that were looked at are verified"
    text += f" with ccdproc {versions_in_words}." if versions_in_words else "."
    lines_not_verified = [tuple(line[:3]) for line in verdicts if line[1] != _VERIFIED_WORD]
    return Section(
        anchor="verified",
        title="Made again by ccdproc",
        summary=(text,),
        paragraphs=(f"{text} All verdicts are in {paths.VERIFICATION}.",),
        headings=("product", "verdict", "why") if lines_not_verified else (),
        rows=tuple(lines_not_verified[:_MOST_LINES]),
    )
