"""Files and folders of simulated frames."""

from __future__ import annotations

import numpy as np
from isal import igzip

from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.simulate.raw_cards import frame_bytes


def write_frame(path, raw, cards):
    """Write a frame as FITS, compressed where the name ends in ``.gz``.

    Parameters
    ----------
    path : pathlib.Path
    raw : numpy.ndarray of shape (ny, naxis1), uint16
        In adu.
    cards : list of (str, object, str)
        As `frame_bytes` takes them.
    """
    content = frame_bytes(raw, cards)
    if path.suffix == ".gz":
        # No time and no name in the gzip header: the same frame is the same bytes.
        content = igzip.compress(content, 1, mtime=0)
    atomic_write.write_whole(path, [content])


def write_arrays(path, arrays):
    """Write arrays by name as NumPy's ``.npz``, whole or not at all.

    Parameters
    ----------
    path : path-like
    arrays : dict of str to numpy.ndarray of any shape
    """
    with atomic_write.Part(path, is_buffered=True) as part:
        np.savez(part.file, **arrays)
        part.keep()


def make_folder(folder):
    """Make a folder and those above it, where they are missing.

    Raises
    ------
    UserError
        Where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder for simulated frames ({error.strerror})",
            file=folder,
            remedy="choose another folder",
        ) from None
