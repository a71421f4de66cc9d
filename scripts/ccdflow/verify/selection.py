"""The products to verify: all products with notes, or a sample."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

from astropy.io import fits

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.verify.reading.accounts import product_of
from ccdflow.verify.reading.source_files import named_files, size_and_times
from ccdflow.verify.reading.verdict import NotedProduct

# Kinds of products by their folder; in two folders by the beginning of their names as well.
_KIND_BY_FOLDER = {"reduced": "frame", "calibrated": "science"}
_KINDS_BY_PREFIX = {
    "combined": {"bias_": "bias", "dark_": "dark", "flat_": "flat"},
    "detector": {"pixels_": "detector", "bad_pixels_": "bad pixels", "shutter_": "shutter"},
}

KINDS_FROM_ALL_PIXELS = ("detector", "shutter")
"""Kinds whose verification reads all pixels of all their sources."""

MOST_BYTES = 64_000_000
"""Bytes of sources above which no sample has a product of `KINDS_FROM_ALL_PIXELS`.

Reading this many bytes takes 1.5 s of CPU.
"""


def files_of(results):
    """Return the names of all FITS files in the folders of a results folder, sorted."""
    results, files = Path(results), []
    for top in sorted(results.iterdir()):
        if not top.is_dir() or top.name.startswith("."):
            continue
        for folder, _, names in os.walk(top):
            relative = Path(folder).relative_to(results).as_posix()
            files += [
                f"{relative}/{name}"
                for name in names
                if not name.startswith(".") and paths.is_fits(name)
            ]
    return sorted(files)


def kind_of(product):
    """Return the kind of a product by its folder and name; the folder where no kind has the name.

    Examples
    --------
    >>> kind_of("combined/2024-03-01/dark_x.fits"), kind_of("other/x.fits")
    ('dark', 'other')
    """
    folder, name = product.split("/")[0], product.split("/")[-1]
    kinds = _KINDS_BY_PREFIX.get(folder, {})
    kinds_of_name = [kind for start, kind in kinds.items() if name.startswith(start)]
    return _KIND_BY_FOLDER.get(folder, kinds_of_name[0] if kinds_of_name else folder)


def products_and_strangers(results, notes_by_product):
    """Return {product: `NotedProduct`} of the products, and the FITS files that no run has noted.

    Files below ``set_aside/`` are neither: runs put them there, and need them no more.

    Parameters
    ----------
    results : path-like
    notes_by_product : dict of str to NotedProduct
        Products that runs have noted. Without notes, as in a folder that was copied without them,
        each file counts as a product, and its name gives the kind.

    Returns
    -------
    products : dict of str to NotedProduct
    strangers : list of str
    """
    set_aside_folder = f"{paths.SET_ASIDE_FOLDER}/"
    files = [name for name in files_of(results) if not name.startswith(set_aside_folder)]
    if not notes_by_product:
        return {product: NotedProduct(kind_of(product)) for product in files}, []
    return dict(notes_by_product), [name for name in files if name not in notes_by_product]


def sample_of_products(results, noted_products):
    """Return one reduced, calibrated and combined frame of each camera, type and night.

    The sample also has a map of bad pixels of each camera, and the products of
    `KINDS_FROM_ALL_PIXELS` of each camera and night if their sources are small enough. The choice
    depends on the hash of a product's name alone: an archive has one sample on all machines.

    Parameters
    ----------
    results : path-like
    noted_products : dict of str to NotedProduct

    Returns
    -------
    chosen_products : list of str
    large_products : list of str
        Products of `KINDS_FROM_ALL_PIXELS` that take too long for a sample.

    Raises
    ------
    UserError
        If the inventory is missing.
    """
    results, chosen_products, large_products = Path(results), {}, []
    rows = _lines_of_inventory(results)
    for product, notes in noted_products.items():
        folder, *folders, name = product.split("/")
        if notes.kind in KINDS_FROM_ALL_PIXELS and _bytes_of_sources(product, results) > MOST_BYTES:
            large_products.append(product)
            continue
        if notes.kind in ("frame", "science"):
            row = rows.get(product.removeprefix(f"{folder}/"))
            if row is None:
                continue
            group = row["camera"], row["type"], row["night"]
        elif folder == "combined":
            group = _camera_of(results / product), *folders
        else:
            group = *folders, name.partition("_")[0]
        group = (notes.kind, *group)
        chosen_products[group] = min(
            chosen_products.get(group, product), product, key=_hash_of_name
        )
    return sorted(chosen_products.values()), large_products


def _bytes_of_sources(product, results):
    """Return the bytes of the frames and masters that a product below detector/ names."""
    try:
        paths_named = named_files(product, _first_header(results / product), results, results)
    except OSError:
        # The verdict on the product reports the cause.
        return 0
    return sum(size for size, *_ in filter(None, map(size_and_times, set(paths_named))))


def _lines_of_inventory(results):
    """Return {name below reduced/: line of the inventory} of the frames with the status ok."""
    table = results / paths.INVENTORY
    if not table.is_file():
        raise UserError(
            "there is no inventory here",
            file=table,
            remedy="run `snakemake` first, or name the results folder: results=FOLDER",
        )
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    return {product_of(row["file"]).removeprefix("reduced/"): row for row in lines}


def _first_header(path):
    """Return the first header of a product; raise `OSError` if it is no regular file."""
    if not path.is_file():
        # astropy would wait for a pipe.
        raise FileNotFoundError(path)
    return fits.getheader(path)


def _camera_of(path):
    """Return the camera in the header of a product; '' where it cannot be read."""
    try:
        return _first_header(path)["CCDFCAM"]
    except (OSError, KeyError):
        # The verdict on the product reports the cause.
        return ""


def _hash_of_name(product):
    """Return the hash of a product's name: the sample has the least hash of each group."""
    return hashlib.sha256(product.encode("utf-8", "surrogateescape")).hexdigest()
