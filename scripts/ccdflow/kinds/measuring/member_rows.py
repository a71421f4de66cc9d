"""Rows of the members of a master, minus its bias, read in parts; whole images of products."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from ccdflow.errors import MAKE_AGAIN, FrameError
from ccdflow.files.fits_products.multi_image_products import read_rows, read_stored_hdus
from ccdflow.run.products.product_names import reduced_product

# Rows of an image that are read at once: the file's rows are still in the processor's cache when
# they are converted.
_ROWS_AT_ONCE = 32


class MemberRows:
    """The members of a master, minus its bias, read some rows of all members at a time.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    record : ccdflow.run.job_records.Record
        Record of the master.
    image : ccdflow.frame.products.ProductImage
        The image of the frames whose rows are read.
    """

    def __init__(self, night, record, image):
        results = night.context.results
        self._paths = [results / reduced_product(file) for file in record.data["members"]]
        self._image = image
        self._mask_name = f"MASK{image.suffix}"
        self._bias = night.bias_pixels(record, image)

    def __enter__(self):
        self._exit_stack = ExitStack()
        self._files = []
        for path in self._paths:
            hdus = read_stored_hdus(path)
            file = self._exit_stack.enter_context(path.open("rb", buffering=0))
            mask_hdu = next((hdu for hdu in hdus if hdu.name == self._mask_name), None)
            self._files.append((file.fileno(), hdus[self._image.hdu], mask_hdu, str(path)))
        return self

    def __exit__(self, *error):
        self._exit_stack.close()

    def read(self, rows):
        """Return rows of all members, (n, k, nx) float32; NaN where a member's mask has any bit."""
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        nx = self._image.shape[1]
        values_of_members = np.empty((len(self._files), len(rows), nx), np.float32)
        for values, (file, hdu, mask_hdu, name) in zip(values_of_members, self._files, strict=True):
            start = 0
            for run in runs:
                values_of_run = values[start : start + len(run)]
                values_of_run[...] = _read_rows(file, hdu, run, name)
                if mask_hdu is not None:
                    values_of_run[_read_rows(file, mask_hdu, run, name) != 0] = np.nan
                start += len(run)
            if self._bias is not None:
                values -= self._bias[rows]
        return values_of_members


def _read_rows(file, hdu, run, name):
    """Return consecutive rows of an HDU, shape (k, nx), in the type of the file.

    Parameters
    ----------
    file : int
        Descriptor of the open file.
    hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
    run : numpy.ndarray of shape (k,), int
        Indices of the rows.
    name : str
        Name of the file, for errors.
    """
    values = np.empty((len(run), hdu.shape[1]), hdu.dtype)
    read_rows(file, hdu, int(run[0]), values, name=name)
    return values


def whole_image(path, extension):
    """Return an image of a product by the index or name of its HDU, in native byte order.

    Parameters
    ----------
    path : pathlib.Path
    extension : int or str
        Index of the HDU, or its EXTNAME.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32 or int16

    Raises
    ------
    FrameError
        If there is no such extension.
    """
    hdus = read_stored_hdus(path)
    if isinstance(extension, int):
        hdu = hdus[extension] if extension < len(hdus) else None
    else:
        hdu = next((each for each in hdus if each.name == extension), None)
    if hdu is None:
        raise FrameError(
            f"the master has no extension {extension}", file=str(path), remedy=MAKE_AGAIN
        )
    with path.open("rb", buffering=0) as file:
        image = np.empty(hdu.shape, np.float32 if np.dtype(hdu.dtype).kind == "f" else np.int16)
        for first in range(0, len(image), _ROWS_AT_ONCE):
            rows = image[first : first + _ROWS_AT_ONCE]
            run = np.arange(first, first + len(rows))
            rows[...] = _read_rows(file.fileno(), hdu, run, str(path))
    return image
