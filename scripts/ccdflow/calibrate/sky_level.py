"""Level and noise of the sky of an image, from a sample of its rows."""

from __future__ import annotations

import math

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA, median

# Rows of the sample: of 2000 columns each, they give the noise to 0.3 %.
_SAMPLED_ROWS = 64
COLUMN_LAG = 4
"""Compared pixels lie this many columns apart, where their noise is not correlated."""

# Differences beyond this many sigma are stars. With a larger limit faint stars count as noise; with
# a smaller one the noise itself is cut.
_STAR_SIGMA = 3.0
# The variance of a normal distribution of variance 1 that is cut at `_STAR_SIGMA`: 1 - 6 phi(3) /
# (2 Phi(3) - 1), phi its density and Phi its distribution function.
_CLIPPED_VARIANCE = 0.97334
# Rounds of clipping.
_CLIPPING_ITERATIONS = 4
# Logarithmic classes of standard errors: the expected noise is computed for each, not each pixel.
_ERROR_CLASSES = 400
# Bisections of the expected median: 1e-7 of the range.
_BISECTIONS = 24


def sampled_pairs_of_rows(ny):
    """Return the indices of rows, (k,) int, evenly spread, each of which has a row after it."""
    return np.unique(
        np.linspace(0, max(ny - 2, 0), min(ny, _SAMPLED_ROWS // 2)).round().astype(int)
    )


def count_of_differences(shape):
    """Return the number of differences of which `level_and_noise` is made for an image.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx).

    Returns
    -------
    int
    """
    ny, nx = shape
    return len(sampled_pairs_of_rows(ny)) * (nx - min(COLUMN_LAG, nx - 1))


def level_and_noise(first, second):
    """Return level and noise of the sky of a median pixel.

    The noise is that of differences between a pixel and one some columns away in the next row: the
    two have the same background, but neither the level of a row (which differences within a row
    do not show, though it is in UNCERT) nor read noise in common (the EFOSC2's is correlated by
    -0.1 from one column to the next, which makes differences of neighbours 3 % too large).

    Parameters
    ----------
    first, second : numpy.ndarray of shape (k, nx), float32
        Rows of an image, and the row after each.

    Returns
    -------
    dict of str to float or None
        ``sky`` and ``sky_rms``, in the unit of the pixels; None without a finite pixel.

    Examples
    --------
    A noise of 5 electrons; the gradient does not count as noise:

    >>> rng = np.random.default_rng(1)
    >>> image = rng.normal(200, 5, (400, 300)) + np.linspace(0, 20, 300)
    >>> figures = level_and_noise(image[:-1:2], image[1::2])
    >>> print(f"{figures['sky']:.0f}, {figures['sky_rms']:.1f}")
    210, 5.0
    """
    values = np.concatenate([first, second])
    values = values[np.isfinite(values)]
    if not values.size:
        return {"sky": None, "sky_rms": None}
    lag = min(COLUMN_LAG, first.shape[1] - 1)
    with np.errstate(invalid="ignore"):  # infinite values have no difference
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
    for _ in range(_CLIPPING_ITERATIONS):
        kept_squares = squares[squares <= (_STAR_SIGMA * sigma) ** 2]
        sigma = (float(np.mean(kept_squares)) / _CLIPPED_VARIANCE) ** 0.5
    return sigma


def expected_noise(sigmas):
    """Return the noise that `level_and_noise` finds of pixels with these standard errors.

    Where all are alike it is theirs. In a spectrum they differ by a hundred times: clipping then
    leaves the faint pixels, and the median of all says nothing of these.

    Parameters
    ----------
    sigmas : numpy.ndarray of any shape, float32
        Standard errors of a sample of pixels.

    Returns
    -------
    float
        NaN if there is none above 0.

    Notes
    -----
    The start is the standard deviation whose median absolute deviation halves the pixels. Each
    round of clipping at t sigmas keeps of a pixel's normal distribution the part
    2 Phi(t) - 1 and the second moment s^2 (2 Phi(t) - 1 - 2 t phi(t)).

    Examples
    --------
    >>> print(f"{expected_noise(np.full((20, 30), 5.0)):.3f}")
    5.000
    """
    sigmas = sigmas[np.isfinite(sigmas) & (sigmas > 0)].astype(np.float64)
    if not sigmas.size:
        return math.nan
    sizes, weights = _error_classes(sigmas)
    low, high = float(sizes.min()), float(sizes.max())
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_below = _share_within(middle / MAD_TO_SIGMA / sizes) @ weights < 0.5
        low, high = (middle, high) if is_below else (low, middle)
    sigma = (low + high) / 2
    for _ in range(_CLIPPING_ITERATIONS):
        limit = _STAR_SIGMA * sigma / sizes
        share_inside = _share_within(limit)
        density = np.exp(-0.5 * limit**2) * (2 / math.pi) ** 0.5
        kept_squares = sizes**2 * (share_inside - limit * density)
        sigma = (
            float(kept_squares @ weights) / float(share_inside @ weights) / _CLIPPED_VARIANCE
        ) ** 0.5
    return sigma


def _error_classes(sigmas):
    """Return a size for each class of like standard errors, and the part of pixels in it."""
    logs = np.log(sigmas)
    low, span = float(logs.min()), float(np.ptp(logs)) or 1.0
    number = np.minimum((logs - low) * (_ERROR_CLASSES / span), _ERROR_CLASSES - 1).astype(np.intp)
    counts = np.bincount(number, minlength=_ERROR_CLASSES)
    squares = np.bincount(number, sigmas**2, _ERROR_CLASSES)
    is_there = counts > 0
    return np.sqrt(squares[is_there] / counts[is_there]), counts[is_there] / sigmas.size


def _share_within(limits):
    """Return the parts of normal distributions within a number of sigma to either side."""
    return np.array([math.erf(limit / 2**0.5) for limit in limits])
