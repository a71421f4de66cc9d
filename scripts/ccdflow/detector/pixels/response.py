"""Pixels and columns that respond less than their neighbours, from the combined flats of a night.

The flats of a night are one measurement: of n flats a contrast of five sigma of each is one of
5 sqrt(n) sigma. So are the nights of an epoch (`ccdflow.detector.pixels.history`), for which the
pixels are kept that are a little low.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.detector.pixels.columns import bad_columns
from ccdflow.detector.pixels.surroundings import illumination, surrounding_medians
from ccdflow.maskbits import BAD_COLUMN, DEAD
from ccdflow.robust import MAD_TO_SIGMA, median

LOW_SIGMA = 4.5
"""Sigma by which a low pixel is below its neighbours: of good ones 3.4e-6 are by chance.

Of pixels that are five sigma low 69 % are found. No test finds more at as few false alarms (Neyman
and Pearson 1933, Phil. Trans. R. Soc. A 231, 289): the mean of the frames of a flat has all that
they show."""

WEAK_SIGMA = 2.5
"""A pixel this many sigma low is kept until several nights can judge it (0.6 % of good pixels)."""


@dataclass(frozen=True)
class WeakPixels:
    """Pixels of one image that are low in one night, whether or not enough to be bad.

    Attributes
    ----------
    index : numpy.ndarray
        int64, (n,): indices in the flattened image, sorted.
    sigma : numpy.ndarray
        float32, (n,): by how much they are off their neighbours, all below -`WEAK_SIGMA`.
    noise_share : float
        Part of a pixel's variance that is noise of the night: the rest, the response of good
        pixels, is the same in the next night.
    """

    index: np.ndarray
    sigma: np.ndarray
    noise_share: float


@dataclass(frozen=True)
class Response:
    """The weak and dead pixels of an image by the flats of a night.

    Attributes
    ----------
    mask : numpy.ndarray
        (ny, nx), int16: `DEAD` where all flats together are low enough, `BAD_COLUMN` along
        columns, or parts of them, that are.
    weak : WeakPixels
    low_part : float
        Part of the pixels that the flats tell of, outside bad columns, that are low by
        `LOW_SIGMA`.
    """

    mask: np.ndarray
    weak: WeakPixels
    low_part: float


def response(pairs, *, low_sigma=LOW_SIGMA, parts=(np.s_[:, :],)):
    """Find the pixels and columns of an image that respond less than their neighbours.

    Parameters
    ----------
    pairs : iterable of (numpy.ndarray, numpy.ndarray) of float32
        Combined flats and the standard errors of their pixels, each (ny, nx); taken one after the
        other. Filters may differ: each pixel is compared with the median of its neighbours. An
        error that is not finite leaves the pixel out.
    low_sigma : float
        Sigma by which a low pixel is below its neighbours.
    parts : sequence of tuple of slice
        Regions that together are the image: neighbours are those of the same one. Amplifiers whose
        gains are not known have steps between them.

    Returns
    -------
    Response
    """
    sigma = _sigma_off_neighbours(pairs, parts)
    # The response of good pixels differs as well; the median pixel shows how much.
    sigma_sampled = sigma[::4, ::4]
    usual_deviation = max(
        1.0, MAD_TO_SIGMA * float(median(np.abs(sigma_sampled[np.isfinite(sigma_sampled)])))
    )
    sigma *= np.float32(1 / usual_deviation)
    mask = np.where(sigma < -low_sigma, DEAD, 0).astype(np.int16)
    index = np.flatnonzero((sigma < -WEAK_SIGMA) & np.isfinite(sigma))
    weak = WeakPixels(index, sigma.reshape(-1)[index], usual_deviation**-2)
    is_measured = np.isfinite(sigma)
    np.nan_to_num(sigma, copy=False, nan=0.0, neginf=0.0)
    mask[bad_columns(-sigma)] |= BAD_COLUMN
    is_measured &= mask & BAD_COLUMN == 0
    low_part = np.count_nonzero(sigma[is_measured] < -LOW_SIGMA) / max(
        1, np.count_nonzero(is_measured)
    )
    return Response(mask, weak, low_part)


def _write_smooth(flat, out):
    """Write the flat that its light and its surroundings give each pixel to ``out``, (ny, nx)."""
    out[...] = illumination(flat)
    out *= surrounding_medians(flat / out)


def _sigma_off_neighbours(pairs, parts):
    """Return the departure of pixels from their neighbours, sigma; -inf where no flat shows it."""
    total = weights = None
    for flat, error in pairs:
        flat = np.asarray(flat, np.float32)
        if total is None:
            total, weights = np.zeros(flat.shape, np.float32), np.zeros(flat.shape, np.float32)
        smooth_flat = np.ones_like(flat)
        with np.errstate(divide="ignore", invalid="ignore"):
            for part in parts:
                _write_smooth(flat[part], smooth_flat[part])
            weight = np.divide(smooth_flat, error, dtype=np.float32)
            weight *= weight
            weight[~np.isfinite(weight)] = 0
            relative = np.divide(flat, smooth_flat, out=smooth_flat)
            relative -= 1
            relative *= weight
        np.nan_to_num(relative, copy=False)
        total += relative
        weights += weight
    with np.errstate(divide="ignore", invalid="ignore"):
        total /= np.sqrt(weights)
    total[weights == 0] = -np.inf
    return total
