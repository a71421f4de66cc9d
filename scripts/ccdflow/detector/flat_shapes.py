"""A flat of another shape than the other flats of its group, as by another filter."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np

from ccdflow.detector.frame_figures import COARSE_BOXES, LIT_FRACTION
from ccdflow.robust import MAD_TO_SIGMA, MEDIAN_OVER_MEAN_SHORT

# Least scatter that is assumed for the shapes of flats of one filter without their slopes, as a
# fraction of the light. Three flats of the sky of EFOSC2 scatter by 0.00007.
_LEAST_SCATTER = 4e-4
# A flat is odd if its distance from the others exceeds the median distance by this many times their
# scatter. Chosen: the scatter of few flats is uncertain, and with a smaller limit good flats are
# odd; with a larger one flats with clouds are not.
_ODD_SIGMA = 5.0
# A group needs at least this many flats: of two flats that differ, neither is the odd one.
_FEWEST_FLATS = 3
# In flats of direct images most boxes have light within this range, in units of the level. In
# spectra the light of a box follows the colour of the lamp, which drifts.
_EVEN_RANGE = (0.5, 1.5)
# In flats of direct images at least this fraction of the boxes has light within `_EVEN_RANGE`.
_LEAST_EVEN_FRACTION = 0.9
# The noise of a pixel is measured in every row of the sample whose number is a multiple of this.
# With 1 it takes four times as long; with a larger step the noise of a small image is that of few
# pixels. Chosen, not measured.
_NOISE_STEP = 4
# Rounds in which the slopes are fitted and divided out. With one, the median of flats with unlike
# slopes has kinks, which count as their shapes; more rounds take longer. Chosen, not measured.
_ITERATIONS = 4


class OddShape(NamedTuple):
    """A flat of another shape than the others.

    Attributes
    ----------
    index : int
        Its index among the flats.
    distance, limit : float
        Root mean square of the differences of its boxes from those of the other flats, slopes
        divided out; and the limit of this distance. Both are fractions of the light.
    """

    index: int
    distance: float
    limit: float


def find_odd_shape(sample):
    """Find the flat of direct images whose shape is least like that of the others.

    The slope of the light differs from flat to flat, above all in twilight: a plane is divided out.

    Parameters
    ----------
    sample : numpy.ndarray of shape (n, k, nx), float32 or float64
        Some rows of an amplifier in each flat, over the flat's level; NaN where masked.

    Returns
    -------
    OddShape or None
        None where all flats are alike, where they are too few or too small, or where they are of
        spectra.
    """
    if len(sample) < _FEWEST_FLATS or min(sample.shape[1:]) < COARSE_BOXES:
        return None
    box_medians, box_pixels = _medians_and_box_size(sample)
    middle = np.median(box_medians, axis=0)
    is_lit = np.isfinite(box_medians).all(axis=0) & (middle > LIT_FRACTION)
    is_even = is_lit & (middle > _EVEN_RANGE[0]) & (middle < _EVEN_RANGE[1])
    if np.count_nonzero(is_even) < _LEAST_EVEN_FRACTION * is_lit.size:
        return None
    y, x = np.divmod(np.flatnonzero(is_lit), COARSE_BOXES)
    design = np.stack([np.ones(len(x)), x, y], axis=1)
    levelled = box_medians[:, is_lit]
    for _ in range(_ITERATIONS):
        # The median of flats with several slopes has kinks, until the slopes are divided out.
        ratios = (levelled / np.median(levelled, axis=0)).T
        planes = design @ np.linalg.lstsq(design, ratios, rcond=None)[0]
        levelled = levelled / planes.T
    residuals = ratios - planes
    distances = np.sqrt(np.mean(np.square(residuals), axis=0))
    centre = float(np.median(distances))
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(distances - centre)))
    floor = math.hypot(
        _LEAST_SCATTER, MEDIAN_OVER_MEAN_SHORT * _largest_noise(sample) / box_pixels**0.5
    )
    limit = centre + _ODD_SIGMA * max(scatter, floor)
    index = int(np.argmax(distances))
    return OddShape(index, float(distances[index]), limit) if distances[index] > limit else None


def _medians_and_box_size(sample):
    """Return the medians of the boxes of each flat, (n, boxes), and the pixels of a box."""
    n, ny, nx = (
        size - size % COARSE_BOXES if axis else size for axis, size in enumerate(sample.shape)
    )
    blocks = sample[:, :ny, :nx].reshape(
        n, COARSE_BOXES, ny // COARSE_BOXES, COARSE_BOXES, nx // COARSE_BOXES
    )
    blocks = blocks.swapaxes(2, 3).reshape(n, COARSE_BOXES**2, -1)
    if np.isfinite(blocks).all():
        return np.median(blocks, axis=2), blocks.shape[2]
    with warnings.catch_warnings():
        # All pixels of a box may be masked.
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(blocks, axis=2), blocks.shape[2]


def _largest_noise(sample):
    """Return the noise of a pixel of the noisiest flat, as a fraction of its light."""
    noises, sample = [], sample[:, ::_NOISE_STEP]
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.median(sample, axis=0)
        for frame in sample:
            steps = np.abs(np.diff(frame / middle, axis=1))
            steps = steps[np.isfinite(steps)]
            noises.append(MAD_TO_SIGMA * float(np.median(steps)) / 2**0.5 if steps.size else 0.0)
    return max(noises)
