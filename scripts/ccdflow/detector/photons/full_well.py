"""The level at which the pixels of an amplifier are full, from the flats of a night.

Photons scatter by the root of their number, until a pixel or the converter is full. There the
scatter between flats of one exposure falls: the turnover of photon transfer (Janesick, Photon
Transfer, SPIE Press 2007, chapter 5). Nothing else halves the variance at the bright end: a night
whose flats are not full has no full well.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA

# Bins of levels up to the highest value. Chosen: the full well is found to within a bin, and more
# bins have fewer pixels each.
_BINS = 64
# A bin of levels needs at least this many pixels: they give its variance to 10 %.
_FEWEST_PIXELS = 200
# A bin of levels needs at least this many pixels in a pair of flats. Their median shows the change
# of the lamp, with an error of 0.18 of their scatter.
_FEWEST_PIXELS_OF_PAIR = 50
# Pixels are full where the variance is below this fraction of the usual variance. Chosen: with a
# larger fraction the error of a bin and a slow decline count as full; with a smaller one bins that
# are full in part do not.
_FULL_VARIANCE_FRACTION = 0.5
# From this many to four times as many pixels of a large flat are sampled. Chosen: more pixels take
# time; with fewer the bins at the top have fewer than `_FEWEST_PIXELS`.
_SAMPLED_PIXELS = 100_000
# At most this many pairs of flats of one exposure are compared. Chosen: more pairs take time, and
# errors fall only by the root of their number.
_MOST_PAIRS = 4
# Bins below this fraction of the highest level give the usual variance. Chosen: above it the
# variance may decline already; with a smaller fraction flats of one level have too few such bins.
_FAINT_FRACTION = 0.6
# A bin gives the usual variance if its photon variance is above this many times the read
# variance. A relative error of the read noise then changes the photon variance by at most four
# times as much.
_LIT_VARIANCE_RATIO = 0.5
# Adu: the steps of the converter alone cause a scatter up to this.
_LEAST_NOISE = 1.5
# A difference beyond this many sigma is a hit of a cosmic ray: one in 1.7 million normal values is.
_CLIP_SIGMA = 5.0
# The full well is this many sigma below the median of the full pixels: 1 in 740 normal values is
# lower.
_FULL_SIGMA = 3.0


class FullWell:
    """The full well of an amplifier from flats that are added exposure by exposure.

    Parameters
    ----------
    read_noise : float
        Noise of a pixel without light, adu.
    """

    def __init__(self, read_noise):
        self._read_noise = float(read_noise)
        self._levels, self._changes = [], []

    def add(self, flats):
        """Add flats of one exposure.

        Parameters
        ----------
        flats : numpy.ndarray of shape (n, k, nx), float32
            Adu above bias, n from 2; NaN where masked. Not changed.
        """
        step = max(1, math.isqrt(flats[0].size // _SAMPLED_PIXELS))
        for first, second in pairwise(flats[: _MOST_PAIRS + 1, ::step, ::step]):
            level, change = (first + second).ravel() / 2, (first - second).ravel()
            is_finite = np.isfinite(change)
            # Two copies of one frame have no scatter: they are left out.
            if np.count_nonzero(change[is_finite]) > is_finite.sum() / 10:
                self._levels.append(level[is_finite])
                self._changes.append(change[is_finite])

    def level(self):
        """Return the lowest level of a full pixel, adu above bias; NaN where none is full."""
        if not self._levels:
            return math.nan
        highest = max(float(levels.max()) for levels in self._levels)
        if not highest > 0:
            return math.nan
        # The highest level lies in the last bin, not beyond it.
        width = highest * (1 + 1e-6) / _BINS
        variance_per_light, is_lit = self._variance_per_light(width)
        middles = (np.arange(_BINS) + 0.5) * width
        turnover = _first_full_bin(variance_per_light, is_lit, middles)
        if turnover is None:
            return math.nan
        full_levels = np.concatenate(
            [levels[levels >= turnover * width] for levels in self._levels]
        )
        middle = float(np.median(full_levels))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(full_levels - middle)))
        return max(turnover * width, middle - _FULL_SIGMA * spread)

    def _variance_per_light(self, width):
        """Return the photon variance over the level, adu, of each bin, and the mask of lit bins.

        A bin with too few pixels is NaN. A bin of dead pixels is not lit: its variance is that of
        the read noise, and a small error of the read noise would count as photons.

        Parameters
        ----------
        width : float
            Width of a bin, adu.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray) of shape (bins,), float64 and bool
        """
        squares, counts, light = np.zeros((3, _BINS))
        for levels, changes in zip(self._levels, self._changes, strict=True):
            bins = np.clip(levels / width, 0, _BINS - 1).astype(np.int64)
            order = np.argsort(bins, kind="stable")
            edges = np.searchsorted(bins[order], np.arange(_BINS + 1))
            for index in np.flatnonzero(np.diff(edges) >= _FEWEST_PIXELS_OF_PAIR):
                pixels = order[edges[index] : edges[index + 1]]
                # A change of the lamp between two flats is the same for all pixels of a level.
                change = changes[pixels] - np.median(changes[pixels])
                limit = _CLIP_SIGMA * max(MAD_TO_SIGMA * float(np.median(np.abs(change))), 1.0)
                is_inlier = np.abs(change) <= limit
                squares[index] += float(np.sum(change[is_inlier] ** 2)) / 2
                counts[index] += is_inlier.sum()
                light[index] += float(np.sum(levels[pixels[is_inlier]]))
        is_measured = counts >= _FEWEST_PIXELS
        variance_per_light = np.full(_BINS, np.nan)
        excess = squares[is_measured] - counts[is_measured] * self._read_noise**2
        # The level counts as at least 1 adu, so that the quotient is finite.
        variance_per_light[is_measured] = excess / np.maximum(
            light[is_measured], counts[is_measured]
        )
        is_lit = np.zeros(_BINS, bool)
        is_lit[is_measured] = (
            excess > _LIT_VARIANCE_RATIO * counts[is_measured] * self._read_noise**2
        )
        return variance_per_light, is_lit


def _first_full_bin(variance_per_light, is_lit, middles):
    """Return the first of the bins at the top with full pixels; None if no bin has them.

    Parameters
    ----------
    variance_per_light : numpy.ndarray of shape (k,), float64
        Photon variance over the level of each bin, adu; NaN where it is not measured.
    is_lit : numpy.ndarray of shape (k,), bool
        Bins that may give the usual variance.
    middles : numpy.ndarray of shape (k,), float64
        Levels of the bins, adu.

    Returns
    -------
    int or None
    """
    measured_bins = np.flatnonzero(np.isfinite(variance_per_light))
    if not measured_bins.size:
        return None
    top_bin = measured_bins[-1]
    faint_bins = measured_bins[
        (measured_bins < _FAINT_FRACTION * top_bin)
        & (variance_per_light[measured_bins] > 0)
        & is_lit[measured_bins]
    ]
    if not faint_bins.size:
        return None
    usual_variance = float(np.median(variance_per_light[faint_bins]))
    if usual_variance * middles[top_bin] < _LEAST_NOISE**2:
        return None
    first_bin = None
    for index in measured_bins[::-1]:
        if variance_per_light[index] >= _FULL_VARIANCE_FRACTION * usual_variance:
            break
        first_bin = index
    return None if first_bin is None or first_bin <= faint_bins[-1] else int(first_bin)
