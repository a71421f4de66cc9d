"""One image read row by row from a raw file, and written row by row into a product."""

from __future__ import annotations

import numpy as np

from ccdflow.files import atomic_write, file_errors, fits_structure, gzip_inflation, raw_files
from ccdflow.files.scaling import scaling_of
from ccdflow.files.thread_buffers import thread_buffer


class RowStream:
    """The rows of one image of a raw file, inflated a block at a time.

    Parameters
    ----------
    file : ccdflow.files.raw_files.RawFile
    layout : ccdflow.files.fits_structure.RawLayout
    hdu : ccdflow.files.fits_structure.Hdu
        Its image has plain pixels, see `ccdflow.files.decoding.is_plain`.
    name : str
    fingerprint : str, optional
        Fingerprint of the content that is expected; that of the layout if absent.

    Attributes
    ----------
    shape : (int, int)
        (ny, nx) of the image.
    dtype : numpy.dtype
        Type of the stored pixels, big-endian.
    offset : int
        Number to add to stored integers: BZERO; 0 for floats.
    """

    def __init__(self, file, layout, hdu, name, fingerprint=None):
        self._file = file
        self._fingerprint = layout.fingerprint if fingerprint is None else fingerprint
        self._layout = layout
        self._hdu = hdu
        self._name = name
        self.shape = fits_structure.image_shape(hdu.header, name)
        self.dtype = np.dtype(fits_structure.DTYPES[hdu.header["BITPIX"]])
        bzero = scaling_of(hdu.header, name).bzero
        self.offset = 0 if self.dtype.kind == "f" else int(bzero)

    def blocks(self, rows):
        """Yield (first row, stored pixels) for blocks of up to ``rows`` rows.

        The pixels are (k, nx), big-endian, valid until the next block.

        Raises
        ------
        FrameError
            If the file is truncated, or at its end its checksum, length or fingerprint is not
            right.
        """
        ny, nx = self.shape
        self._file.rewind(self._layout)
        buffer = thread_buffer(
            "rows", max(rows * nx * self.dtype.itemsize, fits_structure.FITS_BLOCK_BYTES)
        )
        total = self._skip(self._hdu.offset, buffer)
        for first in range(0, ny, rows):
            n_rows = min(rows, ny - first)
            view = buffer[: n_rows * nx * self.dtype.itemsize]
            n_read = self._fill(view)
            total += n_read
            if n_read < len(view):
                file_errors.check_length(
                    total, has_more=False, layout=self._layout, name=self._name
                )
            yield first, np.frombuffer(view, dtype=self.dtype).reshape(n_rows, nx)
        # gzip compares its checksum only where it is read to the end.
        end = self._layout.hdus[-1].end
        total += self._skip(end - total, buffer)
        has_more = bool(self._fill(buffer[: raw_files.BYTES_BEYOND_END]))
        file_errors.check_length(total, has_more, self._layout, self._name)
        self._file.check(self._fingerprint)

    def _skip(self, size, buffer):
        """Read some bytes and drop them; return their number, smaller where the file ends."""
        n_skipped = 0
        while n_skipped < size:
            n_read = self._fill(buffer[: min(size - n_skipped, len(buffer))])
            n_skipped += n_read
            if not n_read:
                break
        return n_skipped

    def _fill(self, view):
        """Fill a buffer with the next bytes; return their number."""
        with file_errors.raw_file_errors(self._name):
            return gzip_inflation.fill_buffer(self._file, view)


class RowWriter:
    """A FITS file of one image that is written by blocks of rows, its header last.

    The file gets its name when it is whole (`ccdflow.files.atomic_write.Part`).

    Parameters
    ----------
    path : path-like
    header_size : int
        Bytes that are kept free for the header.
    """

    def __init__(self, path, header_size):
        self._part = atomic_write.Part(path)
        self._header_size = header_size

    def __enter__(self):
        self._part.__enter__().file.seek(self._header_size)
        return self

    def write(self, data):
        """Write the next bytes of the data unit."""
        self._part.write(data)

    def finish(self, header):
        """Write the header and give the file its name.

        Returns
        -------
        bool
            False, and no file, if the header does not have the size that was kept free.
        """
        if len(header) != self._header_size:
            return False
        self._part.write_at(header, 0)
        self._part.keep()
        return True

    def __exit__(self, *error):
        self._part.__exit__(*error)
