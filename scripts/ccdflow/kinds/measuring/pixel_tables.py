"""Images and tables of the known properties of pixels as FITS files, written and read."""

from __future__ import annotations

import io
import threading
from functools import lru_cache

import numpy as np
from astropy.io import fits

from ccdflow.calibrate.frame_corrections import sparse_mask
from ccdflow.detector.pixels.history import SOURCES, NightBadPixels, combine_nights
from ccdflow.detector.pixels.response import WeakPixels
from ccdflow.files import atomic_write, checksum, file_access
from ccdflow.files.fits_products import plain_tables
from ccdflow.files.header_text import card_text, printable_text
from ccdflow.run import job_records

PIXELS_EXTENSION, WEAK_EXTENSION = "PIXELS", "WEAK"
"""The extensions with the bad and with the weak pixels."""

# Comments of checksums: they have no date, so that the same pixels give the same bytes.
_CHECKSUM_COMMENT = "by ccdflow"
# Card of the first HDU: the fraction of the variance in an image's flats that is noise of the
# night. The rest is the response of the pixels, which is the same in the next night.
_NOISE_FRACTION_CARD = "FLATOWN"


def write_product(context, record, cards, images=(), **tables):
    """Write a product of images, followed by tables of pixels; return its record.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    record : ccdflow.run.job_records.Record
        The record without stamp and content.
    cards : list of (str, object, str)
        Keyword, value and comment of each card of the primary HDU.
    images : sequence of (str, numpy.ndarray), optional
        Name and pixels, (ny, nx) each.
    **tables : dict of str to (str, numpy.ndarray)
        By the names of their HDUs, as `plain_tables.table_hdu` takes them.

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    primary = fits.PrimaryHDU()
    primary.header["CCDFKEY"] = (record.key, "hash of everything the product depends on")
    cards_with_name = (("CCDFNAME", record.product, "name of this product"), *cards)
    texts = (
        card_text(keyword, printable_text(value) if isinstance(value, str) else value, comment)
        for keyword, value, comment in cards_with_name
    )
    # All cards in one call: each call reads the whole header.
    primary.header.extend(fits.Header.fromstring("".join(texts)))
    hdus = fits.HDUList([primary])
    hdus += [fits.ImageHDU(pixels, name=name) for name, pixels in images]
    for hdu in hdus:
        hdu.add_checksum(when=_CHECKSUM_COMMENT)
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    content = buffer.getvalue()
    with fits.open(io.BytesIO(content), lazy_load_hdus=False) as written:
        extents = [hdu.fileinfo() for hdu in written]
    headers = [content[extent["hdrLoc"] : extent["datLoc"]] for extent in extents]
    comments = (_CHECKSUM_COMMENT, _CHECKSUM_COMMENT)
    table_hdus = [plain_tables.table_hdu(*each, comments=comments) for each in tables.items()]
    headers += [header for header, _ in table_hdus]
    target = context.results / record.product
    atomic_write.write_whole(target, [content, *(part for hdu in table_hdus for part in hdu)])
    return job_records.Record(
        record.product,
        record.kind,
        record.key,
        stamp=file_access.stamp_of(target),
        content=checksum.product_checksum(job_records.file_checksum(target), headers),
        basis=record.basis,
        data=record.data,
    )


def bad_pixel_columns(images):
    """Return the columns of the table of a night's bad pixels.

    Parameters
    ----------
    images : list of ccdflow.kinds.measuring.nights.night_findings.BadPixelsOfImage

    Returns
    -------
    dict of str to (str, numpy.ndarray)
        As `plain_tables.table_hdu` takes them.
    """
    columns = {name: [] for name in ("IMAGE", "X", "Y", *map(str.upper, SOURCES))}
    for number, image in enumerate(images):
        y, x = np.nonzero(np.bitwise_or.reduce(list(image.masks.values())))
        columns["IMAGE"].append(np.full(y.size, number, np.int16))
        columns["X"].append(x + 1)
        columns["Y"].append(y + 1)
        for source in SOURCES:
            columns[source.upper()].append(image.masks[source][y, x])
    formats = {"IMAGE": "I", "X": "J", "Y": "J"} | {name.upper(): "I" for name in SOURCES}
    return _joined_columns(columns, formats)


def weak_pixel_columns(images):
    """Return the columns of the table of a night's weak pixels, bad or not.

    Parameters
    ----------
    images : list of ccdflow.kinds.measuring.nights.night_findings.BadPixelsOfImage

    Returns
    -------
    dict of str to (str, numpy.ndarray)
        As `plain_tables.table_hdu` takes them.
    """
    columns = {name: [] for name in ("IMAGE", "X", "Y", "SIGMA")}
    for number, image in enumerate(images):
        if image.weak is None:
            continue
        y, x = np.divmod(image.weak.index, image.masks["flat"].shape[1])
        columns["IMAGE"].append(np.full(y.size, number, np.int16))
        columns["X"].append(x + 1)
        columns["Y"].append(y + 1)
        columns["SIGMA"].append(image.weak.sigma)
    return _joined_columns(columns, {"IMAGE": "I", "X": "J", "Y": "J", "SIGMA": "E"})


def weak_pixel_cards(images):
    """Return a card for each image with weak pixels: the night's own fraction of their variance."""
    return [
        (
            f"{_NOISE_FRACTION_CARD}{number}",
            image.weak.noise_fraction,
            "part of the variance that is the night's own",
        )
        for number, image in enumerate(images)
        if image.weak is not None
    ]


def _joined_columns(arrays_by_name, formats):
    """Return FITS columns in which the arrays of all images are joined; empty without arrays."""
    return {
        name: (formats[name], np.concatenate([np.empty(0, np.int16), *arrays]))
        for name, arrays in arrays_by_name.items()
    }


def read_night_bad_pixels(path, night, sources_used, shapes, *, reads_weak_pixels=False):
    """Return the `NightBadPixels` of each image from the tables of a night.

    Parameters
    ----------
    path : path-like
    night : str
    sources_used : iterable of str
        Those of `ccdflow.detector.pixels.history.SOURCES` that could show bad pixels.
    shapes : sequence of (int, int)
        (ny, nx) of each image.
    reads_weak_pixels : bool, optional
        Whether to read the table of weak pixels as well.

    Returns
    -------
    list of ccdflow.detector.pixels.history.NightBadPixels
    """
    cards = [
        f"{_NOISE_FRACTION_CARD}{number}" for number in range(len(shapes)) if reads_weak_pixels
    ]
    names = (PIXELS_EXTENSION, WEAK_EXTENSION) if reads_weak_pixels else (PIXELS_EXTENSION,)
    tables_and_cards = read_plain_columns(path, names, cards)
    tables, values_of_cards = tables_and_cards or read_columns_by_astropy(path, names, cards)
    table, weak_table = tables[PIXELS_EXTENSION], tables.get(WEAK_EXTENSION)
    images = []
    for number, (_, nx) in enumerate(shapes):
        index, is_of_image = _pixels_of_image(table, number, nx)
        # Older results: tables lack the columns of newer sources.
        no_bits = np.zeros(len(table["X"]), np.int16)
        bits = {n: table.get(n.upper(), no_bits)[is_of_image].astype(np.int16) for n in SOURCES}
        weak_pixels = None
        noise_fraction = values_of_cards.get(f"{_NOISE_FRACTION_CARD}{number}")
        if noise_fraction is not None:
            index_of_weak, is_weak = _pixels_of_image(weak_table, number, nx)
            weak_pixels = WeakPixels(index_of_weak, weak_table["SIGMA"][is_weak], noise_fraction)
        images.append(NightBadPixels(night, frozenset(sources_used), index, bits, weak_pixels))
    return images


def read_plain_columns(path, names, cards):
    """Return the columns of tables and the values of cards of a product, without astropy.

    Parameters
    ----------
    path : path-like
    names : sequence of str
        Names of the tables.
    cards : sequence of str
        Keywords of the first header; those that it lacks are left out.

    Returns
    -------
    (dict of str to dict, dict of str to object) or None
        By table and column an array of shape (n,), of the type in the file; the cards by keyword.
        None for a file that ccdflow does not write in this way.
    """
    plain = plain_tables.read_plain_tables(path, names)
    if plain is None:
        return None
    values = {card: plain.cards[card] for card in cards if card in plain.cards}
    tables = plain.tables.items()
    return {name: {n: rows[n] for n in rows.dtype.names} for name, rows in tables}, values


def read_columns_by_astropy(path, names, cards):
    """Return the columns of tables and the values of cards of any FITS file, read by astropy.

    Parameters
    ----------
    path : pathlib.Path
    names, cards : sequence of str
        As `read_plain_columns` takes them.

    Returns
    -------
    (dict of str to dict, dict of str to object)
        As `read_plain_columns` returns them.
    """
    with fits.open(path, memmap=False) as hdus:
        tables = {name: _columns_by_name(hdus[name]) for name in names}
        first_header = hdus[0].header
        return tables, {card: first_header[card] for card in cards if card in first_header}


def _columns_by_name(hdu):
    """Return {name: array} of the columns of a table's HDU."""
    return {name: np.asarray(hdu.data[name]) for name in hdu.data.names}


def _pixels_of_image(table, number, nx):
    """Return the flat indices of an image's pixels in a table, and the mask of their rows there.

    Parameters
    ----------
    table : dict of str to numpy.ndarray of shape (n,)
        Columns of the table, of any type.
    number : int
        Number of the image.
    nx : int
        Columns of the image.

    Returns
    -------
    index : numpy.ndarray of shape (k,), int64
    is_of_image : numpy.ndarray of shape (n,), bool
    """
    is_of_image = table["IMAGE"] == number
    y, x = ((table[name][is_of_image] - 1).astype(np.int64) for name in ("Y", "X"))
    return y * nx + x, is_of_image


# Held by the job that makes the masks, which other frames of the night also need.
_MASKS_LOCK = threading.Lock()


def masks_of_nights(context, records, shapes, share):
    """Return the sparse mask of each image from the measurements of some nights.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : sequence of ccdflow.run.job_records.Record
        Records of `ccdflow.kinds.measuring.detector_measurement`, by night.
    shapes : sequence of (int, int)
        (ny, nx) of each image.
    share : float
        Fraction of the nights in which a pixel must have been seen bad to be bad.

    Returns
    -------
    tuple of ccdflow.calibrate.sparse_masks.SparseMask
    """
    nights = tuple(
        (
            str(context.results / record.product),
            record.key,
            record.data["night"],
            tuple(record.data["looked"]),
        )
        for record in records
    )
    # The first thread makes the masks of a night, the others wait for them.
    with _MASKS_LOCK:
        return _sparse_masks(nights, tuple(shapes), share)


# The frames of a night share their masks, and jobs make one night after the other. Four entries
# serve two cameras whose frames take turns. A mask has 10 bytes a bad pixel: 1.7 MB if 1 % of
# 4096 x 4096 pixels are bad.
@lru_cache(maxsize=4)
def _sparse_masks(nights, shapes, share):
    """Return the sparse masks of `masks_of_nights`.

    Parameters
    ----------
    nights : tuple of (str, str, str, tuple of str)
        Path, key, night and sources of each measurement. The key distinguishes one file of a path
        from another.
    shapes : tuple of (int, int)
    share : float
    """
    images_of_nights = [
        read_night_bad_pixels(path, night, sources, shapes, reads_weak_pixels=True)
        for path, _, night, sources in nights
    ]
    masks = []
    for number, shape in enumerate(shapes):
        history = combine_nights([images[number] for images in images_of_nights], share=share)
        row, column = np.divmod(history.index, shape[1])
        pixels = {"row": row, "column": column, "bits": history.bits}
        masks.append(sparse_mask({k: v[history.bits != 0] for k, v in pixels.items()}, shape))
    return tuple(masks)
