"""Flats whose light has another shape than that of the rest of their group: another filter, say."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np

from ccdflow.detector.flat_figures import SHAPE_BOXES
from ccdflow.detector.frame_figures import LIT_FRACTION
from ccdflow.robust import MAD_TO_SIGMA, MEDIAN_OVER_MEAN_SHORT

# Least scatter of the shapes of flats of one filter, once slopes are taken off, as a part of the
# light. Of three flats of the sky of EFOSC2 it is 0.00007.
_LEAST_SCATTER = 4e-4
# A flat is odd if its distance from the others exceeds the group's median by this many scatters.
# Chosen: few flats give a rough scatter, by which a smaller limit calls good flats odd; a larger
# one keeps clouds in.
_ODD_SIGMA = 5.0
# Flats of a group at least: of two that differ, neither is the odd one.
_FEWEST_FLATS = 3
# In flats of direct images most boxes have this part of the level; boxes of spectra follow the
# lamp, whose colour drifts.
_EVEN_RANGE = (0.5, 1.5)
# In flats of direct images at least this part of the boxes has light within `_EVEN_RANGE`.
_LEAST_EVEN_FRACTION = 0.9
# The noise of a pixel is measured in one sampled row of this many.
_NOISE_STEP = 4
# Rounds in which the slopes are taken off.
_ITERATIONS = 4


class OddShape(NamedTuple):
    """A flat of another shape than the others.

    Attributes
    ----------
    index : int
        Among the flats.
    distance, limit : float
        Root mean square of the difference of its boxes from the others, slopes taken off, and the
        limit of it; parts of the light.
    """

    index: int
    distance: float
    limit: float


def find_odd_shape(sample):
    """Find the flat of direct images whose shape is least like that of the others.

    Light that falls off to one side differs from flat to flat, above all in twilight, so a plane is
    taken off.

    Parameters
    ----------
    sample : numpy.ndarray of shape (n, k, nx), float32 or float64
        Some rows of an amplifier in each flat, over its level; NaN where masked.

    Returns
    -------
    OddShape or None
        None where all are alike, where there are fewer than three, or where they are of spectra.
    """
    if len(sample) < _FEWEST_FLATS or min(sample.shape[1:]) < SHAPE_BOXES:
        return None
    boxes, pixels = _medians_and_box_size(sample)
    middle = np.median(boxes, axis=0)
    is_lit = np.isfinite(boxes).all(axis=0) & (middle > LIT_FRACTION)
    is_even = is_lit & (middle > _EVEN_RANGE[0]) & (middle < _EVEN_RANGE[1])
    if np.count_nonzero(is_even) < _LEAST_EVEN_FRACTION * is_lit.size:
        return None
    y, x = np.divmod(np.flatnonzero(is_lit), SHAPE_BOXES)
    plane = np.stack([np.ones(len(x)), x, y], axis=1)
    levelled = boxes[:, is_lit]
    for _ in range(_ITERATIONS):
        # The median of flats with several slopes has kinks, until the slopes are taken off.
        ratios = (levelled / np.median(levelled, axis=0)).T
        slopes = plane @ np.linalg.lstsq(plane, ratios, rcond=None)[0]
        levelled = levelled / slopes.T
    residuals = ratios - slopes
    distances = np.sqrt(np.mean(np.square(residuals), axis=0))
    centre = float(np.median(distances))
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(distances - centre)))
    floor = math.hypot(_LEAST_SCATTER, MEDIAN_OVER_MEAN_SHORT * _noise_of(sample) / pixels**0.5)
    limit = centre + _ODD_SIGMA * max(scatter, floor)
    index = int(np.argmax(distances))
    return OddShape(index, float(distances[index]), limit) if distances[index] > limit else None


def _medians_and_box_size(sample):
    """Return the medians of 8 x 8 boxes of each flat, (n, 64), and the pixels of a box."""
    n, ny, nx = (
        size - size % SHAPE_BOXES if axis else size for axis, size in enumerate(sample.shape)
    )
    blocks = sample[:, :ny, :nx].reshape(
        n, SHAPE_BOXES, ny // SHAPE_BOXES, SHAPE_BOXES, nx // SHAPE_BOXES
    )
    blocks = blocks.swapaxes(2, 3).reshape(n, SHAPE_BOXES**2, -1)
    if np.isfinite(blocks).all():
        return np.median(blocks, axis=2), blocks.shape[2]
    with warnings.catch_warnings():
        # All pixels of a box may be masked.
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(blocks, axis=2), blocks.shape[2]


def _noise_of(sample):
    """Return the noise of a pixel of the noisiest flat, as a part of its light."""
    noises, sample = [], sample[:, ::_NOISE_STEP]
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.median(sample, axis=0)
        for frame in sample:
            steps = np.abs(np.diff(frame / middle, axis=1))
            steps = steps[np.isfinite(steps)]
            noises.append(MAD_TO_SIGMA * float(np.median(steps)) / 2**0.5 if steps.size else 0.0)
    return max(noises)
