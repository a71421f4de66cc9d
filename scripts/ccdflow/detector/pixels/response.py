"""Pixels and columns that respond less than their neighbours, from a night's combined flats.

The flats of a night are one measurement: a contrast of five sigma in each of n flats is one of 5
sqrt(n) sigma in all. The nights of an epoch are one measurement as well
(`ccdflow.detector.pixels.history`): pixels that are only a little low are stored for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.detector.pixels.columns import bad_columns
from ccdflow.detector.pixels.surroundings import BlockMedians, illumination_of_flat
from ccdflow.mask_bits import BAD_COLUMN, DEAD
from ccdflow.robust import MAD_TO_SIGMA, median

LOW_SIGMA = 4.5
"""Sigma by which a low pixel is below its neighbours: 3.4e-6 of the good pixels are by chance.

Of pixels that are five sigma low 69 % are found. No test finds more at as few false alarms (Neyman
and Pearson 1933, Phil. Trans. R. Soc. A 231, 289): the mean of a flat's frames has all information
on a pixel."""

WEAK_SIGMA = 2.5
"""A pixel this many sigma low is stored until several nights can judge it: 0.6 % of the good
pixels."""


@dataclass(frozen=True)
class WeakPixels:
    """Pixels of one image that are low in one night, whether or not low enough to be bad.

    Attributes
    ----------
    index : numpy.ndarray of shape (n,), int64
        Indices in the flattened image, sorted.
    sigma : numpy.ndarray of shape (n,), float32
        Their contrast to their neighbours in sigma, all below -`WEAK_SIGMA`.
    noise_fraction : float
        Fraction of a good pixel's variance that is noise of the night. The other variance is that
        of the response of good pixels, which is the same in all nights.
    """

    index: np.ndarray
    sigma: np.ndarray
    noise_fraction: float


@dataclass(frozen=True)
class Response:
    """The weak and dead pixels of an image by the flats of a night.

    Attributes
    ----------
    mask : numpy.ndarray of shape (ny, nx), int16
        `DEAD` where all flats together are low by the given number of sigma, and where no flat has
        a usable pixel; `BAD_COLUMN` in columns, or parts of columns, that are low.
    weak : WeakPixels
    low_fraction : float
        Fraction of the measured pixels outside bad columns that are low by `LOW_SIGMA`, whatever
        the limit of the mask. It shows flats with structure as fine as pixels, which a high limit
        of the mask would hide.
    """

    mask: np.ndarray
    weak: WeakPixels
    low_fraction: float


class ContrastSum:
    """The contrasts of pixels to their neighbours, summed over the flats of a night.

    Parameters
    ----------
    parts : sequence of tuple of slice, optional
        Regions that together are the image; a pixel is compared with neighbours of its own region.
        Amplifiers have steps between them, because gains have errors.
    """

    def __init__(self, parts=(np.s_[:, :],)):
        self._parts = parts
        self._total = self._weights = None

    def add(self, flat, error):
        """Add a flat of any filter: each pixel is compared with its neighbours in this flat.

        Parameters
        ----------
        flat, error : numpy.ndarray of shape (ny, nx), float32
            Pixels and their standard errors. A pixel without a finite error does not count in this
            flat. A pixel that counts in no flat is dead: it is saturated, unlit or without a value
            in all flats, and no flat can correct it.
        """
        flat = np.asarray(flat, np.float32)
        if self._total is None:
            self._total = np.zeros(flat.shape, np.float32)
            self._weights = np.zeros(flat.shape, np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for part in self._parts:
                _add_contrasts(flat[part], error[part], self._total[part], self._weights[part])

    def response(self, low_sigma=LOW_SIGMA):
        """Return the `Response` by the flats that were added so far.

        Parameters
        ----------
        low_sigma : float, optional
            Sigma by which a low pixel is below its neighbours.

        Returns
        -------
        Response
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = self._total / np.sqrt(self._weights)
        sigma[self._weights == 0] = -np.inf
        # The response of good pixels differs as well: the median size of sigma shows by how much.
        sigma_sampled = sigma[::4, ::4]
        usual_deviation = max(
            1.0, MAD_TO_SIGMA * float(median(np.abs(sigma_sampled[np.isfinite(sigma_sampled)])))
        )
        sigma *= np.float32(1 / usual_deviation)
        mask = (sigma < -low_sigma) * np.int16(DEAD)
        is_measured = np.isfinite(sigma)
        index = np.flatnonzero((sigma < -WEAK_SIGMA) & is_measured)
        weak = WeakPixels(index, sigma.reshape(-1)[index], usual_deviation**-2)
        sigma[~is_measured] = 0
        mask[bad_columns(-sigma)] |= BAD_COLUMN
        is_measured &= mask & BAD_COLUMN == 0
        n_low = np.count_nonzero((sigma < -LOW_SIGMA) & is_measured)
        return Response(mask, weak, n_low / max(1, np.count_nonzero(is_measured)))


def _add_contrasts(flat, error, total, weights):
    """Add the weighted contrasts of a part of a flat, and their weights, in place.

    Parameters
    ----------
    flat, error, total, weights : numpy.ndarray of shape (ny, nx), float32
    """
    light, medians = illumination_of_flat(flat), BlockMedians(flat.shape, np.float32)
    for rows in medians.bands:
        medians.add_band(rows, flat[rows] / light.values_of_rows(rows))
    for rows in medians.bands:
        smooth_light = light.values_of_rows(rows)
        smooth_flat = np.multiply(smooth_light, medians.smooth(rows), out=smooth_light)
        signal_to_noise = np.divide(smooth_flat, error[rows], dtype=np.float32)
        weight = np.multiply(signal_to_noise, signal_to_noise, out=signal_to_noise)
        weight[~np.isfinite(weight)] = 0
        relative_flat = np.divide(flat[rows], smooth_flat, out=smooth_flat)
        contrast = np.subtract(relative_flat, 1, out=relative_flat)
        weighted_contrast = np.multiply(contrast, weight, out=contrast)
        if not np.isfinite(weighted_contrast).all():
            np.nan_to_num(weighted_contrast, copy=False)
        total[rows] += weighted_contrast
        weights[rows] += weight
