"""The small pictures of a night's frames: their files, and the values shown beside them.

The pictures are in a folder beside the night's page. The job of a frame draws its picture while it
has the pixels. The job of the night's list (`ccdflow.kinds.reporting.contact_sheet`) keeps current
pictures, draws missing ones from the products, and removes pictures without a frame.
"""

from __future__ import annotations

from contextlib import suppress

from ccdflow import paths
from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.files import atomic_write
from ccdflow.files.fits_products.stored_images import stored_image
from ccdflow.frame.small_images import ROWS_OF_CALIBRATIONS, SQUARE_ROWS, small_image
from ccdflow.kinds.reducing.frame_sources import recipe_and_images
from ccdflow.pages.pictures.small_picture import draw_small_picture, read_picture_values
from ccdflow.run.lookups import Lookup
from ccdflow.run.raw_frames.raw_folders import is_below


def n_rows_of_square(row):
    """Return the number of rows in each square of pixels that a frame's small picture averages.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row

    Returns
    -------
    int
    """
    return ROWS_OF_CALIBRATIONS if row.facts["type"] in MASTER_KINDS else SQUARE_ROWS


def wants_pictures(context):
    """Return whether the configuration asks for pictures of frames."""
    return context.settings["pictures"]["per_type"] != 0


def write_small_picture(context, row, job, image):
    """Write the small picture of a reduced frame, unless its folder lies among the raw frames.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
    job : ccdflow.run.job.Job
    image : numpy.ndarray of shape (ny, nx), float32
        The frame's small image, adu, made of `n_rows_of_square` rows of each square.
    """
    path = f"{context.results}/{paths.small_picture(row.night, job.product)}"
    is_among_raw_frames = context.lookup(
        (Lookup.SMALL_PICTURES, row.night),
        lambda: is_below(path.rpartition("/")[0], context.raw),
    )
    if is_among_raw_frames:
        return
    # The frame is complete without its picture. The job of the night's list draws a missing
    # picture, or reports the error.
    with suppress(OSError):
        content = draw_small_picture(image, key=job.key, rows=n_rows_of_square(row))
        atomic_write.write_directly(path, content)


def values_and_picture(context, row, product, key, unit="adu"):
    """Return a product's small picture and the values shown beside it; draw a missing picture.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        Row of the raw frame.
    product, key : str
        A reduced or calibrated frame, and the key of its current version.
    unit : str, optional
        Unit of its pixels.

    Returns
    -------
    values : ccdflow.pages.pictures.small_picture.PictureValues
    content : bytes
        The picture itself.

    Raises
    ------
    OSError
        If the product cannot be read, or the picture not be written.
    """
    path, rows = context.results / paths.small_picture(row.night, product), n_rows_of_square(row)
    with suppress(FileNotFoundError):
        content = path.read_bytes()
        values = read_picture_values(content)
        if values is not None and values.key == key and values.rows in (rows, None):
            return values, content
    pixels = mapped_image_of(context, row, product)
    content = draw_small_picture(small_image(pixels, rows), key=key, unit=unit, rows=rows)
    atomic_write.write_directly(path, content)
    return read_picture_values(content), content


def mapped_image_of(context, row, product):
    """Return the first image of a product: (ny, nx), its pixels read on access.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.
    product : str
        A reduced or calibrated frame.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32 or float64, any byte order
    """
    _, images = recipe_and_images(context, row)
    return stored_image(context.results / product, images[0].hdu)
