"""Images and tables of what is known of pixels as FITS files, written and read."""

from __future__ import annotations

import io
import threading
from functools import lru_cache

import numpy as np
from astropy.io import fits

from ccdflow.detector.history import NightBadPixels, combine_nights
from ccdflow.files import whole
from ccdflow.files.headertext import card_text, printable
from ccdflow.frame.extras import sparse
from ccdflow.run import ledger

TABLE = "PIXELS"


def write_hdus(context, record, cards, images=(), columns=None):
    """Write images, and behind them a table of pixels if there is one; return the record.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    record : ccdflow.run.ledger.Record
    cards : list of (str, object, str)
        Of the primary HDU.
    images : sequence of (str, numpy.ndarray)
        Name and pixels, (ny, nx) each.
    columns : list of astropy.io.fits.Column, optional

    Returns
    -------
    ccdflow.run.ledger.Record
    """
    primary = fits.PrimaryHDU()
    primary.header["CCDFKEY"] = (record.key, "what this product depends on")
    for keyword, value, comment in cards:
        value = printable(value) if isinstance(value, str) else value
        primary.header.extend(fits.Header.fromstring(card_text(keyword, value, comment)))
    hdus = fits.HDUList([primary])
    hdus += [fits.ImageHDU(pixels, name=name) for name, pixels in images]
    if columns is not None:
        hdus.append(fits.BinTableHDU.from_columns(columns, name=TABLE))
    for hdu in hdus:
        # No card says when a product was made: the same pixels become the same bytes.
        hdu.add_checksum(when="by ccdflow")
    content = io.BytesIO()
    hdus.writeto(content)
    target = context.results / record.product
    whole.write_hdus(target, [content.getvalue()])
    return ledger.Record(
        record.product,
        record.kind,
        record.key,
        stamp=ledger.stamp_of(target),
        content=ledger.content_of(target),
        basis=record.basis,
        data=record.data,
    )


def columns_of(found):
    """Return the columns of the bad pixels of a night.

    Parameters
    ----------
    found : list of (int, (int, int), numpy.ndarray, numpy.ndarray)
        For each image its index from 0, its shape, the mask of its darks and that of its flats,
        each (ny, nx) int16.
    """
    parts = {name: [] for name in ("IMAGE", "X", "Y", "DARK", "FLAT")}
    for number, _, dark, flat in found:
        y, x = np.nonzero(dark | flat)
        parts["IMAGE"].append(np.full(y.size, number, np.int16))
        parts["X"].append(x + 1)
        parts["Y"].append(y + 1)
        parts["DARK"].append(dark[y, x])
        parts["FLAT"].append(flat[y, x])
    formats = {"IMAGE": "I", "X": "J", "Y": "J", "DARK": "I", "FLAT": "I"}
    return [
        fits.Column(name, formats[name], array=np.concatenate([np.empty(0, np.int16), *arrays]))
        for name, arrays in parts.items()
    ]


def read_seen(path, night, looked, shapes):
    """Return the `NightBadPixels` of each image from the table of a night.

    Parameters
    ----------
    path : path-like
    night : str
    looked : iterable of str
    shapes : sequence of (int, int)
        (ny, nx) of each image.
    """
    with fits.open(path, memmap=False) as hdus:
        table = hdus[TABLE].data
        values = {name: np.asarray(table[name]) for name in table.names}
    found = []
    for number, (_, nx) in enumerate(shapes):
        own = values["IMAGE"] == number
        index = (values["Y"][own] - 1).astype(np.int64) * nx + values["X"][own] - 1
        dark, flat = (values[name][own].astype(np.int16) for name in ("DARK", "FLAT"))
        found.append(NightBadPixels(night, frozenset(looked), index, dark, flat))
    return found


_LOCK = threading.Lock()


def masks_of(context, records, shapes, share):
    """Return the sparse mask of each image from the measurements of some nights.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : sequence of ccdflow.run.ledger.Record
        Of `ccdflow.kinds.detector`, by night.
    shapes : sequence of (int, int)
    share : float

    Returns
    -------
    tuple of ccdflow.frame.bits.Sparse
    """
    nights = tuple(
        (str(context.results / r.product), r.key, r.data["night"], tuple(r.data["looked"]))
        for r in records
    )
    # The frames of a night share one.
    with _LOCK:
        return _masks(nights, tuple(shapes), share)


@lru_cache(maxsize=4)
def _masks(nights, shapes, share):
    seen = [read_seen(path, night, looked, shapes) for path, _, night, looked in nights]
    found = []
    for number, shape in enumerate(shapes):
        history = combine_nights([images[number] for images in seen], share=share)
        row, column = np.divmod(history.index, shape[1])
        pixels = {"row": row, "column": column, "bits": history.bits}
        found.append(sparse({k: v[history.bits != 0] for k, v in pixels.items()}, shape))
    return tuple(found)
