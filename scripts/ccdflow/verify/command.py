"""What `snakemake verify` and `scripts/verify.py` do: products verified, and the lines on them."""

from __future__ import annotations

from ccdflow.errors import UserError
from ccdflow.verify import table
from ccdflow.verify.verdicts import DIFFERS


def named(results, words):
    """Return the products that are named, relative to the results folder.

    Raises
    ------
    UserError
        If there is no such product.
    """
    there = set(table.products_of(results))
    products = []
    for word in words:
        product = word.removeprefix(f"{results.as_posix()}/")
        if product not in there:
            raise UserError(
                "there is no such product",
                file=results / product,
                allowed=f"a FITS file below {results}, as `ls {results}/reduced` has them",
            )
        products.append(product)
    return products


def said_of(raw, results, *, words=(), every=False, whole=False, threads=2):
    """Verify products, and return the lines on them and the exit status.

    Parameters
    ----------
    raw, results : pathlib.Path
        Folders.
    words : sequence of str
        Products; where there are none, a sample.
    every : bool
        Whether all products are verified instead of a sample.
    whole : bool
        Whether all rows of combined frames are compared.
    threads : int

    Returns
    -------
    text : str
    status : int
        1 if a product differs.

    Raises
    ------
    UserError
        If a product that is named is not there, or nothing was reduced yet.
    """
    if words:
        products = named(results, words)
    else:
        products = table.products_of(results) if every else table.sample_of(results)
    found, fresh = table.verify_products(
        products, raw=raw, results=results, whole=whole, threads=threads
    )
    lines = [f"ccdflow: {line}" for line in table.lines_of(found, fresh)]
    return "\n".join(lines), int(any(verdict.verdict == DIFFERS for verdict in found))
