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
        Cards for `frame_bytes`.
    """
    content = frame_bytes(raw, cards)
    if path.suffix == ".gz":
        # The gzip header has no time and no name: equal frames have equal bytes.
        content = igzip.compress(content, 1, mtime=0)
    atomic_write.write_whole(path, [content])


def write_arrays(path, arrays):
    """Write arrays by name as a ``.npz`` file of NumPy; a reader sees the whole file or none.

    Parameters
    ----------
    path : path-like
    arrays : dict of str to numpy.ndarray of any shape
    """
    with atomic_write.Part(path, is_buffered=True) as part:
        np.savez(part.file, **arrays)
        part.keep()


def make_folder(folder):
    """Make a folder and its parents if they are missing.

    Raises
    ------
    UserError
        If the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder for simulated frames ({error.strerror})",
            file=folder,
            remedy="choose another folder",
        ) from None
