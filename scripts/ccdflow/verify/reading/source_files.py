"""The files that a product names: a verdict holds as long as these files are the same."""

from __future__ import annotations

import errno
import os
import re
import stat
from urllib.parse import unquote

from ccdflow.files import atomic_write
from ccdflow.verify.reading.accounts import product_of, raw_file
from ccdflow.verify.reading.stored_rows import open_product
from ccdflow.verify.reading.verdict import CannotRemake

# Matches cards that name a master: BIASIM, FLATIM02, BPMIM, SHUTCOR.
_MASTERS = re.compile(r"(BIAS|DARK|FLAT)IM(\d\d)?|BPMIM(\d\d)?|SHUTCOR")


def named_files(product, first_header, raw, results):
    """Return the paths of the files that a product was made of, as its header names them.

    Parameters
    ----------
    product : str
        Relative to the results folder.
    first_header : astropy.io.fits.Header
        Header of its first HDU.
    raw, results : pathlib.Path
        Folders.

    Returns
    -------
    list of pathlib.Path
    """
    paths = [
        _path_named(results, first_header[word])
        for word in first_header
        if _MASTERS.fullmatch(word)
    ]
    if product.startswith("detector/"):
        paths += [
            _path_named(results, first_header[word])
            for word in first_header
            if word.startswith("IMCOM")
        ]
        if "HOTRATE" in first_header:
            paths += [path for master in paths for path in _members_of(master, results)]
    elif product.startswith("combined/"):
        members = [str(first_header[word]) for word in first_header if word.startswith("IMC")]
        paths += [_path_named(results, product_of(member)) for member in members]
    elif "RAWFILE" in first_header:
        source = raw_file(first_header)
        is_reduced = product.startswith("reduced/")
        paths.append(raw / source if is_reduced else results / product_of(source))
    return paths


def read_product(path):
    """Return the bytes of a product; nobody waits for a pipe, and no device is read.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If there is no file, it cannot be read, or something else is in its place.
    """
    with open(path, "rb", buffering=0, opener=atomic_write.open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "a pipe or a device is in its place", str(path))
        return file.read()


def size_and_times(path):
    """Return size and times of a file; nobody can set the time of the last change, ctime."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _members_of(master, results):
    """Return the reduced frames that a master names; none of one that cannot be read."""
    try:
        first_header = open_product(master).first_header
    except (OSError, LookupError, ValueError, TypeError, CannotRemake):
        # The verdict on the product reports the cause.
        return []
    names = [str(first_header[word]) for word in first_header if word.startswith("IMC")]
    return [_path_named(results, product_of(name)) for name in names]


def _path_named(results, text):
    """Return the path of a product that a card names: in cards, odd letters are written as %XX."""
    return results / unquote(str(text), errors="surrogateescape")
