"""The file of a combination that was made by hand: one image, and a card for each member."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdflow import __version__
from ccdflow.files import atomic_write, checksum, fits_structure
from ccdflow.files.header_text import printable_text


def write_combined_image(path, result, files, *, unit="adu"):
    """Write a combined image as float32, with a card for each member.

    Parameters
    ----------
    path : path-like
    result : ccdflow.combine.stack.Combined
    files : list of str
        Files of the members, in the order of the combination.
    unit : str, optional
        Unit of the pixels.
    """
    data = result.image.astype(">f4")
    header = fits.Header()
    header["SIMPLE"] = True
    header["BITPIX"] = -32
    header["NAXIS"] = 2
    header["NAXIS1"] = data.shape[1]
    header["NAXIS2"] = data.shape[0]
    header["BUNIT"] = unit
    header["NCOMBINE"] = (len(files), "number of frames combined")
    header["COMBMETH"] = str(result.recipe)
    header["NREJECT"] = (int(result.n_clipped.sum()), "values rejected")
    header["CCDFLOW"] = (__version__, "version of ccdflow")
    for number, name in enumerate(files, start=1):
        digits = f"{number:03d}"
        header["IMCMB"[: 8 - len(digits)] + digits] = printable_text(Path(name).name)
    padding = bytes(-data.nbytes % fits_structure.FITS_BLOCK_BYTES)
    sum_of_data = checksum.sum_words(data)
    atomic_write.write_whole(
        path, [checksum.header_bytes(header, sum_of_data), np.ravel(data), padding]
    )
