"""The verdict on a product: whether ccdproc makes the same one from its header and sources."""

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
from ccdflow.verify.reading.own_faults import is_missing_card, report_own_fault
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

    An import of ccdproc makes 300,000 objects and no garbage, whose search takes a quarter of the
    import.
    """
    gc.disable()
    try:
        module = importlib.import_module(f"ccdflow.verify.{name}")
        gc.freeze()
    finally:
        gc.enable()
    return module


class _RemakeTask(NamedTuple):
    """A product, and the folders with its sources.

    Attributes
    ----------
    headers : list of astropy.io.fits.Header
        Headers of the product.
    path : pathlib.Path
        Path of the product.
    raw, results : pathlib.Path
        Folders of raw frames and of results.
    compares_all_rows : bool
        Whether all rows of a combined frame are made again.
    """

    headers: list[fits.Header]
    path: Path
    raw: Path
    results: Path
    compares_all_rows: bool


def _verify_frame(task):
    """Return the fields of the verdict on a reduced frame."""
    module = _import_module("reduced.reduced_verdict")
    return module.verify_frame(task.headers, task.path, task.raw)


def _verify_combined(task):
    """Return the fields of the verdict on a combined bias, dark or flat."""
    module = _import_module("combined.combined_verdict")
    return module.verify_combined(task.headers, task.path, task.results, task.compares_all_rows)


def _verify_calibrated(task):
    """Return the fields of the verdict on a calibrated frame."""
    module = _import_module("calibrated.calibrated_verdict")
    return module.verify_calibrated(task.headers, task.path, task.results)


def _verify_measured(task):
    """Return the fields of the verdict on a product of detector/."""
    module = _import_module("detector.detector_products")
    return module.verify_detector(task.headers, task.path, task.results)


VERIFIERS = {
    "frame": _verify_frame,
    "science": _verify_calibrated,
    **dict.fromkeys(("bias", "dark", "flat"), _verify_combined),
    **dict.fromkeys(("detector", "bad pixels", "shutter"), _verify_measured),
}
"""The functions that verify a product, by its kind. They import the modules of a kind at its first
product: all modules together take 0.3 s."""

# Errors of astropy at a damaged source. The checksums of the product show its own damage before.
_UNREADABLE_ERRORS = (OSError, EOFError, zlib.error, struct.error)


def verify(product, *, raw, results, compares_all_rows=False, product_notes=None, content=None):
    """Return the verdict on a product, which is made again and compared.

    Parameters
    ----------
    product : str
        Relative to the results folder.
    raw, results : path-like
        Folders.
    compares_all_rows : bool, optional
        Whether all rows of a combined frame are made again, instead of some bands of them.
    product_notes : ccdflow.verify.reading.verdict.NotedProduct, optional
        Notes of a run on the product; by default its name gives the kind.
    content : bytes, optional
        Content of the product's file; by default it is read.

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
        # The fault is in this code: this product has no verdict, and other products have theirs.
        fields = {"verdict": FAILED, "reason": report_own_fault(product, error, results)}
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
        Content of the product's file; None if it has to be read.
    """
    path = results / product
    content = read_product(path) if content is None else content
    datasum, checksum_of_headers = check_sums(content)
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
        _check_key_and_content(headers[0], datasum, product_notes)
        check_settings(headers, product_notes.kind, product_notes.basis)
        _check_sum_of_headers(checksum_of_headers, product_notes)
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
        task = _RemakeTask(headers, results / product, raw, results, compares_all_rows)
        return VERIFIERS[product_notes.kind](task)
    except CannotRemake as error:
        return _fields_of_refusal(str(error), error.cause)
    except _UNREADABLE_ERRORS as error:
        words = str(error) or f"it is empty or cut short ({type(error).__name__})"
        return _fields_of_refusal(f"a file that it is made of cannot be read: {words}", UNREADABLE)
    except (KeyError, VerifyError) as error:
        if not (isinstance(error, VerifyError) or is_missing_card(error)):
            raise
        # The checksums are right, but the cards do not describe a product.
        return _fields_of_refusal(f"its header cannot be followed: {error.args[0]}", UNREADABLE)


def _fields_of_refusal(reason, cause):
    """Return the fields of the verdict on a product that cannot be made again."""
    return {"verdict": CANNOT, "reason": reason, "cause": cause}


def _unit_of(headers, kind, largest):
    """Return the unit of the largest difference; '' without one, for flats and maps of pixels."""
    if not math.isfinite(largest) or kind in ("flat", "bad pixels"):
        return ""
    if kind == "detector":
        return "sigma"
    return next((str(header["BUNIT"]) for header in headers if "BUNIT" in header), "adu")


def _check_name(first_header, product, kind):
    """Compare CCDFNAME of a master, map or table with its path; frames have no such card."""
    if kind in ("frame", "science"):
        return
    if "CCDFNAME" not in first_header:
        raise CannotRemake("the header lacks CCDFNAME: it is of an older version", OLDER)
    name = unquote(str(first_header["CCDFNAME"]), errors="surrogateescape")
    if name != product:
        raise Differs(f"CCDFNAME is {product}, and its card has {name}")


def _check_key_and_content(first_header, datasum, product_notes):
    """Compare CCDFKEY and DATASUM of a product with the notes of the run that made it."""
    key = str(first_header.get("CCDFKEY", ""))
    if product_notes.key and key != product_notes.key:
        raise Differs(
            f"CCDFKEY is {product_notes.key} in the notes of the run, and its card has {key}"
        )
    noted_sum = product_notes.content.partition("-")[0]
    if noted_sum and datasum != noted_sum:
        raise Differs(
            f"the DATASUM of its first image is {noted_sum} in the notes of the run that made it,"
            f" and {datasum} now"
        )


def _check_sum_of_headers(checksum_of_headers, product_notes):
    """Compare the CRC-32 of all headers with that in the notes; older runs noted none."""
    noted_sum = product_notes.content.partition("-")[2]
    if noted_sum and checksum_of_headers != noted_sum:
        raise Differs(
            "a card, or a bit within the rounding, is not as the run that made it wrote it: the"
            f" CRC-32 of its headers is {noted_sum} in the notes of the run, and"
            f" {checksum_of_headers} now"
        )
