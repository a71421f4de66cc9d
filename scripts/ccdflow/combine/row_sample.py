"""The rows of the members that are kept for figures of single members."""

from __future__ import annotations

import numpy as np

# Memory for the rows of all frames: 128 rows of 12 LFC frames.
_SAMPLE_BYTES = 12_600_000
# Rows of each frame that are sampled at least, as far as `_MOST_EXCESS` allows.
_FEWEST_ROWS = 16
# The rows of all frames take this many times `_SAMPLE_BYTES` at most.
_MOST_EXCESS = 5


def sampled_rows(ny, nx, n, *, rows_wanted=128, itemsize=4):
    """Return the rows to keep of each of `n` frames: evenly spread, an odd number of rows apart.

    An even distance would sample only one half of a pattern that alternates from row to row.

    Parameters
    ----------
    ny, nx : int
        Shape of a frame.
    n : int
        Number of frames.
    rows_wanted : int, optional
        Rows of each frame, if the memory for samples allows. The default is chosen: 250,000 pixels
        of 2048 columns give a noise to 0.2 %.
    itemsize : int, optional
        Bytes of a pixel; the default is float32.

    Returns
    -------
    numpy.ndarray of shape (k,), int
        At most about `rows_wanted` rows, fewer for very many frames.
    """
    affordable = _SAMPLE_BYTES // (n * nx * itemsize)
    rows_wanted = min(rows_wanted, max(affordable, min(_FEWEST_ROWS, _MOST_EXCESS * affordable)))
    if rows_wanted < 1:
        return np.arange(0)
    step = -(-ny // rows_wanted)
    step += (step + 1) % 2
    return np.arange(min(step // 2, ny - 1), ny, step)


def rows_within(rows, region):
    """Return the rows that lie in a region, as a slice: an index by it makes no copy.

    Parameters
    ----------
    rows : numpy.ndarray of shape (k,), int
        In ascending order, as `sampled_rows` returns them.
    region : ccdflow.camera.sections.Region

    Returns
    -------
    slice
    """
    return slice(*np.searchsorted(rows, (region.y0, region.y1)).tolist())
