"""Is a product as ccdproc makes it? One verdict a product, with the pixels compared."""

from __future__ import annotations

import gc
import importlib
import math
import struct
import time
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from ccdflow.verify.comparing.comparing import Differs, check_sums
from ccdflow.verify.comparing.noted_settings import check_settings
from ccdflow.verify.reading.accounts import read_headers
from ccdflow.verify.reading.card_types import check_types
from ccdflow.verify.reading.own_faults import is_missing_card, words_of_fault
from ccdflow.verify.reading.source_files import read_product
from ccdflow.verify.reading.verdict import (
    CANNOT,
    DIFFERS,
    FAILED,
    MODEL,
    OLDER,
    UNREADABLE,
    CannotRemake,
    NotedProduct,
    Verdict,
)
from ccdflow.verify.selection import kind_of


@cache
def _import_module(name):
    """Return a module below ccdflow.verify, imported without garbage collection.

    ccdproc has 300,000 objects, none of them garbage: the search takes a quarter of its import.
    """
    gc.disable()
    try:
        module = importlib.import_module(f"ccdflow.verify.{name}")
        gc.freeze()
    finally:
        gc.enable()
    return module


class _Task(NamedTuple):
    """A product, and the folders to make it again from.

    Attributes
    ----------
    headers : list of astropy.io.fits.Header
        Headers of the product.
    path : pathlib.Path
        Path of the product.
    raw, results : pathlib.Path
        Folders.
    compares_all_rows : bool
        Whether all rows of a combined frame are made again.
    """

    headers: list[fits.Header]
    path: Path
    raw: Path
    results: Path
    compares_all_rows: bool


def _verify_frame(task):
    """Verify a reduced frame; return the fields of its verdict."""
    module = _import_module("reduced.reduced_verdict")
    return module.verify_frame(task.headers, task.path, task.raw)


def _verify_combined(task):
    """Verify a combined bias, dark or flat; return the fields of its verdict."""
    module = _import_module("combined.combined_verdict")
    return module.verify_combined(task.headers, task.path, task.results, task.compares_all_rows)


def _verify_calibrated(task):
    """Verify a calibrated frame; return the fields of its verdict."""
    module = _import_module("calibrated.calibrated_verdict")
    return module.verify_calibrated(task.headers, task.path, task.results)


def _verify_measured(task):
    """Verify a product of detector/; return the fields of its verdict."""
    module = _import_module("detector.detector_products")
    return module.verify_detector(task.headers, task.path, task.results)


VERIFIERS = {
    "frame": _verify_frame,
    "science": _verify_calibrated,
    **dict.fromkeys(("bias", "dark", "flat"), _verify_combined),
    **dict.fromkeys(("detector", "bad pixels", "shutter"), _verify_measured),
}
"""The function that verifies each kind of product; a test compares the kinds with the chain's. The
modules of a kind are imported for its first product alone: all of them take 0.3 s."""

# Errors of astropy at a damaged file. Damage of the product itself shows in its checksums.
_UNREADABLE_ERRORS = (OSError, EOFError, zlib.error, struct.error)


def verify(product, *, raw, results, compares_all_rows=False, product_notes=None, content=None):
    """Make a product again and compare it.

    Parameters
    ----------
    product : str
        Relative to the results folder.
    raw, results : path-like
        Folders.
    compares_all_rows : bool
        Whether all rows of a combined frame are made again, instead of some bands of them.
    product_notes : ccdflow.verify.reading.verdict.NotedProduct, optional
        What a run noted of it; by default its name gives the kind.
    content : bytes, optional
        Content of its file, where it was read.

    Returns
    -------
    Verdict
    """
    began = time.perf_counter()
    raw, results = Path(raw), Path(results)
    product_notes = product_notes or NotedProduct(kind_of(product))
    try:
        fields = _compare_product(
            product,
            raw,
            results=results,
            compares_all_rows=compares_all_rows,
            product_notes=product_notes,
            content=content,
        )
    except Differs as error:
        fields = {"verdict": DIFFERS, "reason": str(error), "largest": error.largest}
        fields |= {"pixels": error.pixels, "unit": error.unit}
    except MemoryError:
        # The fault is neither the product's nor the program's.
        raise
    except Exception as error:
        # The fault is in this code: the product has no verdict, and the others have theirs.
        fields = {"verdict": FAILED, "reason": words_of_fault(product, error, results)}
    return Verdict(
        product, product_notes.kind, **fields, seconds=round(time.perf_counter() - began, 3)
    )


def _compare_product(product, raw, results, compares_all_rows, product_notes, content):
    """Return the fields of a verdict; raise `Differs` where ccdproc makes another product.

    Parameters
    ----------
    product : str
        Relative to the results folder.
    raw, results : pathlib.Path
        Folders.
    compares_all_rows : bool
        Whether all rows of a combined frame are made again.
    product_notes : NotedProduct
    content : bytes or None
        Content of the product's file; None if it was not read yet.
    """
    path = results / product
    content = read_product(path) if content is None else content
    datasum, cards = check_sums(content)
    try:
        headers = read_headers(content)
    except CannotRemake as error:
        return _fields_of_refusal(str(error), error.cause)
    try:
        fields = _verify_by_sources(
            product,
            headers,
            raw=raw,
            results=results,
            compares_all_rows=compares_all_rows,
            product_notes=product_notes,
        )
        _check_noted(headers[0], datasum, product_notes)
        check_settings(headers, product_notes.kind, product_notes.basis)
        _check_headers(cards, product_notes)
    except Differs as error:
        error.unit = _unit_of(headers, product_notes.kind, error.largest)
        raise
    return fields | {"unit": _unit_of(headers, product_notes.kind, fields.get("largest", math.nan))}


def _verify_by_sources(product, headers, raw, results, compares_all_rows, product_notes):
    """Return the fields of a verdict by the files that a product names.

    Parameters
    ----------
    product : str
        Relative to the results folder.
    headers : list of astropy.io.fits.Header
    raw, results : pathlib.Path
        Folders.
    compares_all_rows : bool
        Whether all rows of a combined frame are made again.
    product_notes : NotedProduct
    """
    try:
        if product_notes.kind not in VERIFIERS:
            reason = f"nothing verifies a product of the kind {product_notes.kind!r}"
            raise CannotRemake(reason, MODEL)
        check_types(headers)
        _check_name(headers[0], product, product_notes.kind)
        task = _Task(headers, results / product, raw, results, compares_all_rows)
        return VERIFIERS[product_notes.kind](task)
    except CannotRemake as error:
        return _fields_of_refusal(str(error), error.cause)
    except _UNREADABLE_ERRORS as error:
        words = str(error) or f"it is empty or cut short ({type(error).__name__})"
        return _fields_of_refusal(f"a file that it is made of cannot be read: {words}", UNREADABLE)
    except (KeyError, VerifyError) as error:
        if not (isinstance(error, VerifyError) or is_missing_card(error)):
            raise
        # The sums are right, but the cards do not describe a product.
        return _fields_of_refusal(f"its header cannot be followed: {error.args[0]}", UNREADABLE)


def _fields_of_refusal(reason, cause):
    """Return the fields of the verdict on a product that cannot be made again."""
    return {"verdict": CANNOT, "reason": reason, "cause": cause}


def _unit_of(headers, kind, largest):
    """Return the unit of the largest difference; '' where none was measured, and of a flat."""
    if not math.isfinite(largest) or kind in ("flat", "bad pixels"):
        return ""
    if kind == "detector":
        return "sigma"
    return next((str(header["BUNIT"]) for header in headers if "BUNIT" in header), "adu")


def _check_name(first_header, product, kind):
    """Compare the name that a master or a map has in its header; frames have that of a raw file."""
    if kind in ("frame", "science"):
        return
    if "CCDFNAME" not in first_header:
        raise CannotRemake("the header lacks CCDFNAME: it is of an older version", OLDER)
    name = unquote(str(first_header["CCDFNAME"]), errors="surrogateescape")
    if name != product:
        raise Differs(f"CCDFNAME is {product}, and its card has {name}")


def _check_noted(first_header, datasum, product_notes):
    """Compare a product's key and content with the notes of the run that made it."""
    key = str(first_header.get("CCDFKEY", ""))
    if product_notes.key and key != product_notes.key:
        raise Differs(
            f"CCDFKEY is {product_notes.key} in the notes of the run, and its card has {key}"
        )
    noted = product_notes.content.partition("-")[0]
    if noted and datasum != noted:
        raise Differs(
            f"the DATASUM of its first image is {noted} in the notes of the run that made it, and"
            f" {datasum} now"
        )


def _check_headers(cards, product_notes):
    """Compare the sum of all headers with that in the notes; older runs noted none."""
    noted = product_notes.content.partition("-")[2]
    if noted and cards != noted:
        raise Differs(
            "a card, or a bit within the rounding, is not as the run that made it wrote it: the"
            f" CRC-32 of its headers is {noted} in the notes of the run, and {cards} now"
        )
