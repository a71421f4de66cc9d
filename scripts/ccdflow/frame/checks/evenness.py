"""The level of frames that are as even as flats, from their small images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA, median

LEAST_LEVEL = 1000.0
"""Adu: darker frames are no flats, and are not examined further."""

# A small image with fewer pixels is not judged: a box would have fewer than 64.
_FEWEST_PIXELS = 1024
# A pixel this many sigma above the pixels two columns away belongs to a star or a spectral line:
# noise does not reach it. With a smaller limit hot pixels of an even frame count as stars; with a
# larger one fields of faint stars pass for even ones.
_STAR_SIGMA = 8.0
# Pixels of stars or lines that an even frame may have, as cosmic rays make some: this fraction of
# its pixels, or this many in a very small image.
_MOST_STAR_FRACTION, _STARS_ALLOWED_ALWAYS = 2e-4, 2
# The noise counts as at least this fraction of the level, because means of many pixels scatter
# little.
_LEAST_RELATIVE_NOISE = 1e-3
# The median of each box of an even frame differs from the frame's by at most this fraction. With a
# larger fraction vignettes and slits count as even light; with a smaller one flats with a usual
# vignette do not.
_MOST_UNEVENNESS = 0.5
# The light of an image is compared between this many boxes along each side.
_BOXES_A_SIDE = 4


def even_level(small_image):
    """Return the level of a frame that is as even as a flat; None for another frame.

    Parameters
    ----------
    small_image : numpy.ndarray of shape (ny, nx), float32
        Adu: means of squares of the reduced frame (`ccdflow.frame.small_images`).

    Returns
    -------
    float or None
        Adu; None for frames with stars, lines or a slit, with a level below `LEAST_LEVEL`, or
        with too few pixels.
    """
    if small_image.size < _FEWEST_PIXELS or min(small_image.shape) < 2 * _BOXES_A_SIDE:
        return None
    level = float(median(small_image))
    if not level >= LEAST_LEVEL:
        return None
    noise = MAD_TO_SIGMA * float(median(np.abs(np.diff(small_image, axis=1)))) / 2**0.5
    excess = small_image[:, 2:-2] - np.maximum(small_image[:, :-4], small_image[:, 4:])
    if np.count_nonzero(excess > _STAR_SIGMA * max(noise, _LEAST_RELATIVE_NOISE * level)) > max(
        _STARS_ALLOWED_ALWAYS, _MOST_STAR_FRACTION * small_image.size
    ):
        return None
    y_edges, x_edges = (
        np.arange(_BOXES_A_SIDE + 1) * length // _BOXES_A_SIDE for length in small_image.shape
    )
    for y0, y1 in pairwise(y_edges):
        for x0, x1 in pairwise(x_edges):
            if not abs(float(median(small_image[y0:y1, x0:x1])) / level - 1) <= _MOST_UNEVENNESS:
                return None
    return level
