"""The rows of members that are sampled for figures of single members."""

from __future__ import annotations

import numpy as np

# Bytes of memory for the rows of all frames: 128 rows of 12 LFC frames.
_SAMPLE_BYTES = 12_600_000
# Rows of each frame are sampled up to this number even if they take more than `_SAMPLE_BYTES`: with
# 2000 columns they give a noise to 0.4 %.
_FEWEST_ROWS = 16
# The rows of all frames take at most this many times `_SAMPLE_BYTES`: 63 MB.
_MOST_EXCESS = 5


def sampled_rows(ny, nx, n, *, rows_wanted=128, itemsize=4):
    """Return the rows to sample in each of `n` frames: evenly spread, an odd number of rows apart.

    An even distance would show only one half of a pattern that alternates from row to row.

    Parameters
    ----------
    ny, nx : int
        Shape of a frame.
    n : int
        Number of frames.
    rows_wanted : int, optional
        Rows of each frame, if the memory for samples allows. The default is chosen: in frames of
        2048 columns it gives a noise to 0.2 %.
    itemsize : int, optional
        Bytes of a pixel; the default is float32.

    Returns
    -------
    numpy.ndarray of shape (k,), int
        At most `rows_wanted` rows; fewer for many frames, none for thousands.
    """
    rows_in_memory = _SAMPLE_BYTES // (n * nx * itemsize)
    most_rows = max(rows_in_memory, min(_FEWEST_ROWS, _MOST_EXCESS * rows_in_memory))
    rows_wanted = min(rows_wanted, most_rows)
    if rows_wanted < 1:
        return np.arange(0)
    step = -(-ny // rows_wanted)
    step += (step + 1) % 2
    return np.arange(min(step // 2, ny - 1), ny, step)


def rows_within(rows, region):
    """Return the sampled rows in a region as a slice, which copies no values.

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
