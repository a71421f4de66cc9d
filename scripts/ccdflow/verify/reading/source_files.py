"""The files that a product names: its verdict holds while they do not change."""

from __future__ import annotations

import errno
import os
import re
import stat
from urllib.parse import unquote

from ccdflow.files import file_access
from ccdflow.verify.reading.accounts import product_of, raw_file
from ccdflow.verify.reading.stored_rows import open_product
from ccdflow.verify.reading.verdict import CannotRemake

# Matches cards that name a master: BIASIM, FLATIM02, BPMIM, SHUTCOR.
_MASTER_CARDS = re.compile(r"(BIAS|DARK|FLAT)IM(\d\d)?|BPMIM(\d\d)?|SHUTCOR")


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
        _path_named(results, first_header[keyword])
        for keyword in first_header
        if _MASTER_CARDS.fullmatch(keyword)
    ]
    if product.startswith("detector/"):
        paths += [
            _path_named(results, first_header[keyword])
            for keyword in first_header
            if keyword.startswith("IMCOM")
        ]
        if "HOTRATE" in first_header:
            paths += [path for master in paths for path in _members_of(master, results)]
    elif product.startswith("combined/"):
        members = [
            str(first_header[keyword]) for keyword in first_header if keyword.startswith("IMC")
        ]
        paths += [_path_named(results, product_of(member)) for member in members]
    elif "RAWFILE" in first_header:
        source = raw_file(first_header)
        is_reduced = product.startswith("reduced/")
        paths.append(raw / source if is_reduced else results / product_of(source))
    return paths


def read_product(path):
    """Return the bytes of a product; a pipe or a device in its place is an error, without waiting.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If the file is missing, cannot be read, or is a pipe or a device.
    """
    with open(path, "rb", buffering=0, opener=file_access.open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "a pipe or a device is in its place", str(path))
        return file.read()


def size_and_times(path):
    """Return size, time of modification and time of change of a file; () without the file.

    A user can set the time of modification, but not that of the change, ctime.
    """
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _members_of(master, results):
    """Return the paths of the reduced frames that a master names; [] if it cannot be read."""
    try:
        first_header = open_product(master).first_header
    except (OSError, LookupError, ValueError, TypeError, CannotRemake):
        # The verdict on the product reports the cause.
        return []
    names = [str(first_header[keyword]) for keyword in first_header if keyword.startswith("IMC")]
    return [_path_named(results, product_of(name)) for name in names]


def _path_named(results, text):
    """Return the path of a product that a card names, in which some characters are written %XX."""
    return results / unquote(str(text), errors="surrogateescape")
