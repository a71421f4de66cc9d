"""The verification for `snakemake verify` and `scripts/verify.py`: its lines and exit status."""

from __future__ import annotations

import shlex
import warnings
from dataclasses import dataclass

from astropy.utils.exceptions import AstropyWarning

from ccdflow.errors import UserError
from ccdflow.verify import selection, table
from ccdflow.verify.reading.verdict import (
    CANNOT,
    DIFFERS,
    FAILED,
    STRANGER,
    NotedProduct,
    Verdict,
)

# The reason for a file that is no product, and lines on large products and on missing notes.
_STRANGER_REASON = "no run here has noted it: it is not a product of this results folder"
_LARGE_PRODUCTS_LINE = (
    "left out of all samples: {} of the tables of bad pixels and maps of shutters, whose frames"
    f" have more than {selection.MOST_BYTES / 1e6:.0f} MB"
)
_NO_NOTES_LINE = (
    "no notes of a run (.ccdflow/ledger.json is missing, empty or broken): cards that no file bears"
    " out, and bits within the rounding, are compared with nothing (docs/verify.md lists them)"
)
# Exit status of an error of the verification's own code; 1 is for products.
_OWN_FAULT_STATUS = 2
# A line names at most this many of the files that are no products.
_MOST_NAMED_FILES = 3


@dataclass(frozen=True)
class VerifyRequest:
    """The products that a user wants verified, and the extent of the comparison.

    Attributes
    ----------
    product_names : tuple of str
        Paths of products; without any, a sample is verified.
    verifies_all_products : bool
        Whether all products are verified instead of a sample.
    compares_all_rows : bool
        Whether all rows of combined frames are compared.
    expected_causes : tuple of str
        Words for reasons against a remake that are no failure: `verify_expected`.
    threads : int
        Number of threads; the default is for a small machine.
    """

    product_names: tuple[str, ...] = ()
    verifies_all_products: bool = False
    compares_all_rows: bool = False
    expected_causes: tuple[str, ...] = ()
    threads: int = 2


def named_products(results, words):
    """Return the named products, relative to the results folder.

    Parameters
    ----------
    results : pathlib.Path
        The results folder.
    words : iterable of str
        Paths, relative to the results folder or to the working directory.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If a named product does not exist.
    """
    existing = set(selection.files_of(results))
    products = []
    folder = shlex.quote(f"{results}/reduced")
    for word in words:
        product = word.removeprefix(f"{results.as_posix()}/")
        if product not in existing:
            raise UserError(
                "there is no such product",
                file=results / product,
                allowed=f"a FITS file below {results}, as `ls {folder}` has them",
                remedy="give one of these, or no product for all of them",
            )
        products.append(product)
    return products


def verify_and_report(raw, results, request, *, notes_by_product):
    """Verify products, and return the lines on them and the exit status.

    Parameters
    ----------
    raw, results : pathlib.Path
        Folders of raw frames and of results.
    request : VerifyRequest
    notes_by_product : dict of str to (kind, key, content, basis)
        Fields of the `ccdflow.verify.reading.verdict.NotedProduct` of each product with notes.

    Returns
    -------
    text : str
    status : int
        2 if the verification itself failed for a product; otherwise 1 if a product differs, or
        cannot be made again for an unexpected reason; otherwise 0.

    Raises
    ------
    UserError
        If a named product does not exist, there is no inventory for a sample, or the table of
        verdicts is a folder.
    """
    if (results / table.TABLE_FILE).is_dir():
        raise UserError(
            "the table of verdicts cannot be written: it is a folder",
            file=results / table.TABLE_FILE,
            remedy="move it away",
        )
    notes_by_product = {
        product: NotedProduct(*notes) for product, notes in notes_by_product.items()
    }
    noted_products, strangers = selection.products_and_strangers(results, notes_by_product)
    products, large_products = _products_to_verify(results, request, noted_products)
    with warnings.catch_warnings():
        # astropy warns of cards that break the standard: the camera wrote them, not ccdflow.
        warnings.simplefilter("ignore", AstropyWarning)
        verdicts, n_fresh, remarks = table.verify_products(
            products,
            noted_products=noted_products,
            raw=raw,
            results=results,
            compares_all_rows=request.compares_all_rows,
            threads=request.threads,
        )
    all_verdicts = [*verdicts, *_verdicts_on_strangers(strangers, request.verifies_all_products)]
    lines = table.lines_on_verdicts(all_verdicts, n_fresh, request.expected_causes)
    if not notes_by_product:
        lines.insert(-1, _NO_NOTES_LINE)
    if strangers and not request.verifies_all_products and not request.product_names:
        lines.insert(-1, _line_on_strangers(strangers))
    if large_products:
        lines.insert(-1, _LARGE_PRODUCTS_LINE.format(len(large_products)))
    lines[-1:-1] = remarks
    status = int(any(_is_failure(verdict, request.expected_causes) for verdict in all_verdicts))
    if any(verdict.verdict == FAILED for verdict in all_verdicts):
        status = _OWN_FAULT_STATUS
    return "\n".join(f"ccdflow: {line}" for line in lines), status


def _products_to_verify(results, request, noted_products):
    """Return the products to verify, and those that are too large for a sample.

    A named product without notes is added to ``noted_products``.
    """
    if request.product_names:
        products = named_products(results, request.product_names)
        for name in products:
            noted_products.setdefault(name, NotedProduct(selection.kind_of(name)))
        return products, []
    if request.verifies_all_products:
        return sorted(noted_products), []
    return selection.sample_of_products(results, noted_products)


def _is_failure(verdict, expected_causes):
    """Return whether a verdict is a failure: a difference, or an unexpected cause."""
    return verdict.verdict == DIFFERS or (
        verdict.verdict == CANNOT and verdict.cause not in expected_causes
    )


def _verdicts_on_strangers(strangers, verifies_all_products):
    """Return the verdicts on files that are no products, if all products are verified."""
    if not verifies_all_products:
        return []
    return [
        Verdict(
            name, selection.kind_of(name), verdict=CANNOT, reason=_STRANGER_REASON, cause=STRANGER
        )
        for name in strangers
    ]


def _line_on_strangers(strangers):
    """Return the line on FITS files that are no products, with the names of the first ones."""
    names = ", ".join(strangers[:_MOST_NAMED_FILES]) + (
        " ..." if len(strangers) > _MOST_NAMED_FILES else ""
    )
    return f"{len(strangers)} FITS files are no products of this results folder: {names}"
