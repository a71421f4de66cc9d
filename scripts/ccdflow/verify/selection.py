"""The products to verify: all that runs have noted, or a sample."""

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

# Kinds of products by their folder, and by the beginning of their name in it.
_KIND_BY_FOLDER = {"reduced": "frame", "calibrated": "science"}
_KINDS_BY_PREFIX = {
    "combined": {"bias_": "bias", "dark_": "dark", "flat_": "flat"},
    "detector": {"pixels_": "detector", "bad_pixels_": "bad pixels", "shutter_": "shutter"},
}

KINDS_FROM_ALL_PIXELS = ("detector", "shutter")
"""Kinds whose products take all pixels of all the frames that they are made of."""

MOST_BYTES = 64_000_000
"""A product whose frames have more bytes than this together is in no sample: it would take 1.5 s of
CPU."""


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
    """Return the kind of a product by its name; that of its folder where no kind is so named.

    Examples
    --------
    >>> kind_of("combined/2024-03-01/dark_x.fits"), kind_of("other/x.fits")
    ('dark', 'other')
    """
    folder, name = product.split("/")[0], product.split("/")[-1]
    kinds = _KINDS_BY_PREFIX.get(folder, {})
    kinds_by_name = [kind for start, kind in kinds.items() if name.startswith(start)]
    return _KIND_BY_FOLDER.get(folder, kinds_by_name[0] if kinds_by_name else folder)


def products_and_strangers(results, notes_by_product):
    """Return {product: `NotedProduct`} of all to be verified, and the FITS files of no run.

    Files below ``set_aside/`` are neither: runs put them there, and nothing asks for
    them any more.

    Parameters
    ----------
    results : path-like
    notes_by_product : dict of str to NotedProduct
        Products that runs have noted. Where there are none, as in a folder that was copied without
        its notes, every file counts as a product, and its name gives its kind.

    Returns
    -------
    made : dict of str to NotedProduct
    strangers : list of str
    """
    set_aside_folder = f"{paths.SET_ASIDE_FOLDER}/"
    files = [name for name in files_of(results) if not name.startswith(set_aside_folder)]
    if not notes_by_product:
        return {product: NotedProduct(kind_of(product)) for product in files}, []
    return dict(notes_by_product), [name for name in files if name not in notes_by_product]


def sample_of_products(results, noted_products):
    """Return one reduced, calibrated and combined frame of each camera, type and night.

    Of the maps of bad pixels there is one of each sort, of `KINDS_FROM_ALL_PIXELS` one of each
    camera and night whose frames are small enough. The choice depends on the hash of a product's
    name alone, so that the same archive gives the same sample on every machine.

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
        If there is no inventory.
    """
    results, chosen_products, large_products = Path(results), {}, []
    rows = _rows_of(results)
    for product, notes in noted_products.items():
        folder, *folders, name = product.split("/")
        if notes.kind in KINDS_FROM_ALL_PIXELS and _bytes_of_frames(product, results) > MOST_BYTES:
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


def _bytes_of_frames(product, results):
    """Return the size of the frames and masters that a product below detector/ names."""
    try:
        paths_named = named_files(product, _first_header(results / product), results, results)
    except OSError:
        # The verdict on the product reports the cause.
        return 0
    return sum(size for size, *_ in filter(None, map(size_and_times, set(paths_named))))


def _rows_of(results):
    """Return {product's name below reduced/: its line of the inventory} of frames that are ok."""
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
    """Return the first header of a product; raise `OSError` where there is no file to read."""
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
    """Return a hash of a product's name: of each group the product with the least one is chosen."""
    return hashlib.sha256(product.encode("utf-8", "surrogateescape")).hexdigest()
