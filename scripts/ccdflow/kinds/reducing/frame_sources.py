"""The sources of reduced frames, with their hashes; the size of a frame's job, and its images."""

from __future__ import annotations

import math

from ccdflow.frame import reduction
from ccdflow.frame.products import product_images
from ccdflow.run import job_records
from ccdflow.run.job import Size
from ccdflow.run.lookups import Lookup, OutcomeKey
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK, digest

# Statuses of frames without a new product: the page of the night shows them instead of the row's.
_UNMADE_STATUSES = (job_records.SET_ASIDE, job_records.GONE, job_records.FAILED)

SOURCE_HEADER = "source_header"
"""The entry for `oldest_header` in the record of a product that has cards of reduced frames."""


def frame_basis(row):
    """Return the sources of a reduced frame.

    The raw file's name is a source, because the header has it. The version of the header is not
    part of the key: see `ccdflow.frame.reduction.HEADER_VERSION`.
    """
    return {
        "arithmetic": reduction.PIXELS_VERSION,
        "header": reduction.HEADER_VERSION,
        "camera": row.camera,
        "file": row.file,
        "fingerprint": row.fingerprint,
        "geometry": row.geometry,
        "recipe": row.recipe,
    }


def frame_key(row):
    """Return the key of a reduced frame: the hash of all that its pixels depend on."""
    values = (row.camera, row.file, row.fingerprint, row.geometry, row.recipe)
    return digest([reduction.PIXELS_VERSION, *values])


def oldest_header(context, files):
    """Return the oldest header version of some reduced frames; the current one without frames.

    A product made of these frames has cards of their headers, and notes this version in its record
    (`SOURCE_HEADER`).

    Parameters
    ----------
    context : ccdflow.run.context.Context
    files : iterable of str
        Raw files of the frames.

    Returns
    -------
    int
    """
    version_of = context.chain.first.header_version_of
    records = filter(None, map(context.made_record, map(reduced_product, files)))
    return min(map(version_of, records), default=reduction.HEADER_VERSION)


def has_older_cards(context, product, data):
    """Return whether a product has cards of older headers than its frames have now.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    product : str
        A master or a calibrated frame.
    data : dict of str to object
        The data of its record.

    Returns
    -------
    bool
        False where the record does not note the version.
    """
    # Older results: records of products do not note the headers of their frames.
    version = data.get(SOURCE_HEADER, reduction.HEADER_VERSION)
    if version >= reduction.HEADER_VERSION:
        return False
    group = context.find_group(product)
    return group is not None and version < oldest_header(context, group.files)


class CardsOfFrames:
    """The base of kinds whose products have cards of the reduced frames they are made of."""

    def has_older_header(self, context, record):
        """Return whether a product's own cards, or those of its frames, are of an older version.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        record : ccdflow.run.job_records.Record
            Record of a product that was made.

        Returns
        -------
        bool
        """
        # Each access to a record's data decodes JSON text: here it is decoded once, because a plan
        # asks for all products.
        data = dict(record.data.items())
        is_older = data.get("header", 1) < self.header_version
        return is_older or has_older_cards(context, record.product, data)


def night_frame_records(context, night):
    """Return the records of a night's reduced frames; all kinds of a plan share the list.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of (ccdflow.run.job_records.Record or None)
        One for each of the night's rows; None for a row without a record, or that is not ok.
    """

    def records_of_rows():
        """Return the record of each row that is ok, None for the others."""
        return [
            context.outcome(reduced_product(row.file)) if row.status == OK else None
            for row in context.rows_of(night)
        ]

    return context.kept_by_key((OutcomeKey.FRAME_RECORDS, night), records_of_rows)


def night_frames_basis(context, night):
    """Return [file, status, reason, key] of each frame of a night, for the bases of its pages.

    A frame whose raw file is gone keeps its entry: its product stays, and no page is made again.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of list of str
    """
    lines = []
    for row, record in zip(
        context.rows_of(night), night_frame_records(context, night), strict=True
    ):
        status, reason, key = row.status, row.reason, ""
        if record is not None and record.status in _UNMADE_STATUSES:
            status, reason = record.status, record.reason
        elif record is not None:
            key = record.key
        if status != ARRIVING_STATUS:
            lines.append([row.file, status, reason, key])
    return lines


def night_frames_digest(context, night):
    """Return the hash of `night_frames_basis`.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    str
    """
    return context.kept_by_key(
        (OutcomeKey.HASH_OF_FRAMES, night), lambda: digest(night_frames_basis(context, night))
    )


def nights_with_page(context):
    """Return the nights with a page, sorted; all kinds of a plan share the list."""
    rows = context.store.rows

    def sorted_nights():
        """Return the nights of all rows whose raw file is complete, sorted."""
        return sorted({row.night for row in rows.values() if row.status != ARRIVING_STATUS})

    return context.kept_by_key((OutcomeKey.SHOWN_NIGHTS,), sorted_nights)


def number_of_raw_pixels(context, row):
    """Return the number of pixels of a raw frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.

    Returns
    -------
    int
    """

    def sum_over_images():
        """Return the number of pixels in all images of the file."""
        geometry = context.store.shared[row.geometry]
        return sum(math.prod(shape) for _, shape in geometry["raw_shapes"])

    return context.lookup((Lookup.RAW_PIXELS, row.geometry), sum_over_images)


def size_of_frame(context, row):
    """Return the `Size` of the job of one raw frame; frames of one geometry share it.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.

    Returns
    -------
    ccdflow.run.job.Size
    """

    def size_of_geometry():
        """Return the size of one frame of the row's geometry."""
        n_pixels = number_of_raw_pixels(context, row)
        return Size(n_frames=1, n_pixels_of_largest=n_pixels, n_pixels=n_pixels)

    return context.lookup((Lookup.SIZE_OF_FRAME, row.geometry), size_of_geometry)


def recipe_and_images(context, row):
    """Return the recipe by which a frame is reduced, and the images of the reduced frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        Row of the raw frame.

    Returns
    -------
    ccdflow.camera.reduction_recipe.ReductionRecipe
    tuple of ccdflow.frame.products.ProductImage
    """
    geometry, recipe = context.store.geometry(row.geometry), context.store.recipe(row.recipe)
    return recipe, product_images(geometry, recipe)
