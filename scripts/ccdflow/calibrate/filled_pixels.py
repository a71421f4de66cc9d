"""Bad pixels, filled while the light of their neighbours is estimated."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from ccdflow import mask_bits

FILLED_BITS = (
    mask_bits.HOT
    | mask_bits.DEAD
    | mask_bits.BAD_COLUMN
    | mask_bits.UNLIT
    | mask_bits.UNCALIBRATED
    | mask_bits.VARIES
)
"""Flags of pixels whose value is not light: faults of the detector or of a master. Saturated pixels
and hits of cosmic rays are not filled: their charge is real, and so is its noise."""


@contextmanager
def fill_pixels(image, flags, smooth_rows, bits=FILLED_BITS):
    """Fill bad pixels of an image with the mean of their good neighbours in the same row.

    Unfilled, a hot pixel would count as a star beside its neighbours, and a dead column, divided by
    its flat, as a peak or a hole. Where neither neighbour is good, the pixel gets the smooth
    background. Each row is filled by itself, so that the result does not depend on the blocks in
    which an image is processed.

    Parameters
    ----------
    image : numpy.ndarray of shape (k + 2, nx), float32
        Rows of an image, contiguous. Inside the context its bad pixels have the filled values.
    flags : numpy.ndarray of shape (k + 2, nx), int16, or None
        Mask of these rows, contiguous. With None no pixel is filled.
    smooth_rows : callable
        Takes ascending indices of some of the k + 2 rows, (n,) int, and returns the smooth light
        of these rows, (n, nx).
    bits : int, optional
        Flags of the pixels that are filled.

    Yields
    ------
    None

    Examples
    --------
    >>> image = np.array([[1.0, 900.0, 3.0, 4.0]] * 3, np.float32)
    >>> flags = np.array([[0, mask_bits.HOT, 0, 0]] * 3, np.int16)
    >>> with fill_pixels(image, flags, lambda rows: np.zeros((len(rows), 4))):
    ...     print(image[1])
    [1. 2. 3. 4.]
    >>> print(image[1])
    [  1. 900.   3.   4.]
    """
    pixels = image.reshape(-1)
    indices = np.zeros(0, int)
    if flags is not None:
        indices = mask_bits.flagged_indices(flags)
        indices = indices[flags.reshape(-1)[indices] & bits != 0]
    own_values = pixels[indices]
    if indices.size:
        pixels[indices] = _values_beside(image, indices, smooth_rows)
    try:
        yield
    finally:
        pixels[indices] = own_values


def _values_beside(image, indices, smooth_rows):
    """Return the mean of the good neighbours of each bad pixel, (n,) float32.

    A pixel without a good neighbour gets the smooth light.
    """
    nx = image.shape[1]
    pixels, is_bad = image.reshape(-1), np.zeros(image.size, bool)
    is_bad[indices] = True
    rows, columns = np.divmod(indices, nx)
    total, count = np.zeros(indices.size, np.float32), np.zeros(indices.size, np.float32)
    for step in (-1, 1):
        index_beside = np.clip(columns + step, 0, nx - 1) + rows * nx
        values = pixels[index_beside]
        is_good = ~is_bad[index_beside] & np.isfinite(values)
        total[is_good] += values[is_good]
        count += is_good
    means = np.divide(total, np.maximum(count, 1), out=total)
    indices_without_neighbour = np.flatnonzero(count == 0)
    if indices_without_neighbour.size:
        rows_needed, place = np.unique(rows[indices_without_neighbour], return_inverse=True)
        means[indices_without_neighbour] = smooth_rows(rows_needed)[
            place, columns[indices_without_neighbour]
        ]
    return means
