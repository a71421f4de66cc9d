"""The level at which the pixels of an amplifier are full, from the flats of a night.

Photons scatter by the root of their number, until a pixel or the converter can hold no more: there
the scatter between flats of one exposure falls (the turnover of photon transfer: Janesick, Photon
Transfer, SPIE Press 2007, chapter 5). Nothing else halves it at the bright end, so that a night
whose flats are not full shows nothing.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA

# Bins of levels up to the highest value. Chosen: a bin is the step in which the full well is found;
# more bins have fewer pixels each.
_BINS = 64
# A bin of levels needs at least this many pixels: they give its variance to 10 %, which is compared
# with half of the usual one.
_FEWEST_PIXELS = 200
# A bin of levels needs at least this many pixels of each pair of flats: their median takes off the
# change of the lamp, to 0.18 of the scatter.
_FEWEST_PIXELS_OF_PAIR = 50
# Pixels are full where the variance is below this part of the usual one. Chosen: with a larger part
# noise of the bins, 10 %, and a slow decline count, with a smaller one pixels that are full in part
# do not.
_FULL_VARIANCE_FRACTION = 0.5
# Pixels of a flat that give its light and scatter, about. Chosen: more take time, and fewer leave
# the bins at the top below 200 pixels.
_MOST_PIXELS = 100_000
# Pairs of flats of one exposure at most. Chosen: more take time, and errors fall by their root
# only.
_MOST_PAIRS = 4
# Bins below this part of the highest value give the usual scatter. Chosen: above it the variance
# may decline already; lower bins alone are too faint in flats of one level.
_FAINT_FRACTION = 0.6
# A bin gives the usual scatter if its photon noise has at least this part of the read variance: a
# relative error of the read noise counts at most four times in it.
_LIT_VARIANCE_RATIO = 0.5
# Adu: the converter's steps alone make a scatter up to this.
_LEAST_NOISE = 1.5
# A difference beyond this many sigma is a hit: one in 1.7 million normal values is.
_CLIP_SIGMA = 5.0
# The lowest full pixel lies this many sigma below the median of the full ones: 1 in 740 normal
# values is lower.
_FULL_SIGMA = 3.0


class FullWell:
    """The full well of an amplifier by its flats, which are added set by set.

    Parameters
    ----------
    read_noise : float
        Adu.
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
        step = max(1, math.isqrt(flats[0].size // _MOST_PIXELS))
        for first, second in pairwise(flats[: _MOST_PAIRS + 1, ::step, ::step]):
            level, change = (first + second).ravel() / 2, (first - second).ravel()
            is_finite = np.isfinite(change)
            # Two copies of one frame have no scatter anywhere.
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
        # The highest level itself lies in the last bin, not behind it.
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
        """Return the variance of photons over the level, adu, of each bin, and which bins are lit.

        A bin with too few pixels has NaN. Dead pixels have no light: their variance is that of the
        read noise, and a small error of the read noise would pass for many photons.

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
            for number in np.flatnonzero(np.diff(edges) >= _FEWEST_PIXELS_OF_PAIR):
                indices = order[edges[number] : edges[number + 1]]
                # A change of the lamp between two flats is the same for all pixels of a level.
                change = changes[indices] - np.median(changes[indices])
                limit = _CLIP_SIGMA * max(MAD_TO_SIGMA * float(np.median(np.abs(change))), 1.0)
                is_kept = np.abs(change) <= limit
                squares[number] += float(np.sum(change[is_kept] ** 2)) / 2
                counts[number] += is_kept.sum()
                light[number] += float(np.sum(levels[indices[is_kept]]))
        is_measured = counts >= _FEWEST_PIXELS
        variance_per_light = np.full(_BINS, np.nan)
        excess = squares[is_measured] - counts[is_measured] * self._read_noise**2
        # At least 1 adu of light a pixel.
        variance_per_light[is_measured] = excess / np.maximum(
            light[is_measured], counts[is_measured]
        )
        is_lit = np.zeros(_BINS, bool)
        is_lit[is_measured] = (
            excess > _LIT_VARIANCE_RATIO * counts[is_measured] * self._read_noise**2
        )
        return variance_per_light, is_lit


def _first_full_bin(variance_per_light, is_lit, middles):
    """Return the first of the bins at the top that hold full pixels, None where none do.

    Parameters
    ----------
    variance_per_light : numpy.ndarray of shape (k,), float64
        Variance of photons over the level of each bin, adu; NaN where it is not measured.
    is_lit : numpy.ndarray of shape (k,), bool
        Bins that may give the usual scatter.
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
    first = None
    for number in measured_bins[::-1]:
        if variance_per_light[number] >= _FULL_VARIANCE_FRACTION * usual_variance:
            break
        first = number
    return None if first is None or first <= faint_bins[-1] else int(first)
