"""Images of products whose pixels are read on access.

A memory map would also read on access. But if the disk cannot read a page, or the file was cut, the
system ends the whole process (SIGBUS). A call that reads raises an error, which costs one job.
"""

from __future__ import annotations

import os
from math import prod

import numpy as np
from astropy.io import fits

from ccdflow.errors import MAKE_AGAIN, DamagedProduct, action_of
from ccdflow.files.fits_products.compressed_images import hdus_in_plain_order
from ccdflow.files.fits_structure import DTYPES

# Rows that begin more than this many bytes apart are read one by one. With a larger gap more bytes
# are read than are asked for; with a smaller one there are more reads, each with a wait of its own.
# Chosen, not measured.
_GAP_BYTES = 1 << 15


class StoredImage:
    """Pixels in a file, read on access.

    Parameters
    ----------
    path : path-like
    offset : int
        First byte of the pixels.
    dtype : str or numpy.dtype
        As they are stored.
    shape : tuple of int
        ``(ny, nx)``, or ``(ny * nx,)``.
    """

    def __init__(self, path, offset, dtype, shape):
        self.path, self.offset = path, offset
        self.dtype, self.shape = np.dtype(dtype), tuple(shape)

    def ravel(self):
        """Return the same pixels in one dimension."""
        return StoredImage(self.path, self.offset, self.dtype, (prod(self.shape),))

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("the pixels are in a file: each array of them is a copy")
        values = self._read([(0, len(self))])
        return values if dtype is None else values.astype(dtype)

    def __getitem__(self, index):
        """Return some rows, or some columns of them, as an array.

        Parameters
        ----------
        index : slice, array of int, or a tuple of one of these and a slice of columns

        Raises
        ------
        DamagedProduct
            If the file cannot be read, or ends before them.
        """
        rows, *columns = index if isinstance(index, tuple) else (index,)
        values = (
            self._read_slice(rows)
            if isinstance(rows, slice)
            else self._read_picked_rows(np.asarray(rows))
        )
        return values[(slice(None), *columns)] if columns else values

    def _read_slice(self, rows):
        """Return the rows of a slice."""
        start, stop, step = rows.indices(len(self))
        if step != 1 and (step < 0 or step * self._row_bytes > _GAP_BYTES):
            return self._read_picked_rows(np.arange(start, stop, step))
        return self._read([(start, max(start, stop))])[::step]

    def _read_picked_rows(self, rows):
        """Return single rows, in the order asked for; neighbours are read together."""
        if not rows.size:
            return self._read([])
        sorted_rows = np.unique(rows)
        breaks = np.flatnonzero(np.diff(sorted_rows) * self._row_bytes > _GAP_BYTES) + 1
        spans = [(int(part[0]), int(part[-1]) + 1) for part in np.split(sorted_rows, breaks)]
        first_rows, stops = np.array(spans).T
        span_of_row = np.searchsorted(first_rows, rows, side="right") - 1
        starts = np.cumsum([0, *(stops - first_rows)])
        return self._read(spans)[rows - first_rows[span_of_row] + starts[span_of_row]]

    @property
    def _row_bytes(self):
        """Bytes of a row."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    def _read(self, ranges):
        """Return the rows of some ranges, (first, stop) each, joined in their order."""
        count = sum(stop - first for first, stop in ranges)
        values = np.empty((count, *self.shape[1:]), self.dtype)
        view = memoryview(values.reshape(-1).view(np.uint8))
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                for first, stop in ranges:
                    size = (stop - first) * self._row_bytes
                    self._fill(descriptor, view[:size], self.offset + first * self._row_bytes)
                    view = view[size:]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DamagedProduct(
                f"cannot be read ({error.strerror})", file=self.path, remedy=action_of(error)
            ) from None
        return values

    def _fill(self, descriptor, view, offset):
        """Fill a buffer with the bytes of a file from an offset on."""
        while view:
            count = os.preadv(descriptor, [view], offset)
            if not count:
                raise DamagedProduct("the product is cut", file=self.path, remedy=MAKE_AGAIN)
            view, offset = view[count:], offset + count


def stored_image(path, hdu):
    """Return an image of a product; all pixels are read if it is in compressed tiles.

    Parameters
    ----------
    path : path-like
    hdu : int or str
        Number of its HDU in the product as it would be uncompressed, or its EXTNAME.

    Returns
    -------
    StoredImage or numpy.ndarray of shape (ny, nx), the stored type
    """
    with fits.open(path, memmap=False) as hdus:
        image = (hdus if isinstance(hdu, str) else hdus_in_plain_order(hdus))[hdu]
        if isinstance(image, fits.CompImageHDU):
            return image.data
        dtype = DTYPES[image.header["BITPIX"]]
        return StoredImage(path, image.fileinfo()["datLoc"], dtype, image.shape)
