"""Level and noise of the sky of an image, from a sample of its rows."""

from __future__ import annotations

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA, median

_ROWS, _LAG = 64, 4
# Sigma beyond which differences are stars; the variance of a normal distribution cut there.
_CLIP, _KEPT, _ROUNDS = 3.0, 0.97334, 4


def sampled(ny):
    """Return the indices of rows, (k,) int, evenly spread, each of which has a row after it."""
    return np.unique(np.linspace(0, max(ny - 2, 0), min(ny, _ROWS // 2)).round().astype(int))


def level_and_noise(first, second):
    """Return level and noise of the sky of a median pixel.

    The noise is that of differences between a pixel and one some columns away in the next row: the
    two have the same background, but neither the level of a row (which differences within a row
    do not show, though it is in UNCERT) nor read noise in common (the EFOSC2's is correlated by
    -0.1 from one column to the next, which makes differences of neighbours 3 % too large).

    Parameters
    ----------
    first, second : numpy.ndarray
        (k, nx): rows of an image, and the row after each.
    """
    values = np.concatenate([first, second])
    values = values[np.isfinite(values)]
    if not values.size:
        return {"sky": None, "sky_rms": None}
    lag = min(_LAG, first.shape[1] - 1)
    steps = (second[:, lag:] - first[:, : first.shape[1] - lag]).ravel()
    steps = steps[np.isfinite(steps)]
    rms = _clipped_rms(steps) / 2**0.5 if steps.size else None
    return {"sky": float(median(values)), "sky_rms": rms}


def _clipped_rms(steps):
    """Return the standard deviation of differences about 0, stars left out.

    The median absolute deviation is a start only: of whole numbers it is one itself.
    """
    squares = np.square(steps, dtype=np.float64)
    sigma = MAD_TO_SIGMA * float(median(squares)) ** 0.5
    sigma = sigma or float(np.mean(squares)) ** 0.5
    for _ in range(_ROUNDS):
        kept = squares[squares <= (_CLIP * sigma) ** 2]
        sigma = (float(np.mean(kept)) / _KEPT) ** 0.5
    return sigma
