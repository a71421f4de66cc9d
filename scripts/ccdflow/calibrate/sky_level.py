"""Level and noise of the sky of an image, from a sample of its rows."""

from __future__ import annotations

import math

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA, median

# Rows of the sample: those of an image of 2000 columns give the noise to 0.3 %.
_SAMPLED_ROWS = 64
COLUMN_LAG = 4
"""Compared pixels lie this many columns apart, where their noise is not correlated."""

# Differences beyond this many sigma are stars. With a larger limit faint stars count as noise; with
# a smaller one the noise itself is cut.
_STAR_SIGMA = 3.0
# The variance of a normal distribution of variance 1 that is cut at `_STAR_SIGMA`: 1 - 6 phi(3) /
# (2 Phi(3) - 1), phi its density and Phi its distribution function.
_CLIPPED_VARIANCE = 0.97334
# Rounds of clipping: with stars in a fifth of the differences, more rounds change the noise by less
# than 0.1 %.
_CLIPPING_ITERATIONS = 4
# Logarithmic classes of standard errors: the noise is computed for each class, not for each pixel.
# For errors that differ by a factor of a hundred it is exact to 2e-5.
_ERROR_CLASSES = 400
# Bisections by which the median deviation is found, to 1e-7 of the range.
_BISECTIONS = 24


def sampled_pairs_of_rows(ny):
    """Return the indices of rows, (k,) int, evenly spread, each of which has a row after it.

    [0] for an image of a single row.
    """
    return np.unique(
        np.linspace(0, max(ny - 2, 0), min(ny, _SAMPLED_ROWS // 2)).round().astype(int)
    )


def count_of_differences(shape):
    """Return the number of differences from which `level_and_noise` measures an image's noise.

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
    """Return the level of the sky, and the noise of a pixel of the sky.

    The noise follows from differences between a pixel and one some columns away in the next row.
    The two have nearly the same background. They do not share the level of a row, which is in
    UNCERT and cancels in differences within a row. Their read noise is independent; the EFOSC2's is
    correlated by -0.1 from one column to the next, which makes differences of neighbours 3 % too
    large.

    Parameters
    ----------
    first, second : numpy.ndarray of shape (k, nx), float32
        Rows of an image, and the row after each.

    Returns
    -------
    dict of str to float or None
        ``sky`` and ``sky_rms``, in the unit of the pixels; None without a finite pixel, or without
        a finite difference.

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
    # Infinite values have no difference.
    with np.errstate(invalid="ignore"):
        steps = (second[:, lag:] - first[:, : first.shape[1] - lag]).ravel()
    steps = steps[np.isfinite(steps)]
    rms = _clipped_rms(steps) / 2**0.5 if steps.size else None
    return {"sky": float(median(values)), "sky_rms": rms}


def _clipped_rms(steps):
    """Return the standard deviation of differences about 0, stars left out.

    The median absolute deviation only begins the clipping: that of whole numbers is a whole number.
    """
    squares = np.square(steps, dtype=np.float64)
    sigma = MAD_TO_SIGMA * float(median(squares)) ** 0.5
    sigma = sigma or float(np.mean(squares)) ** 0.5
    for _ in range(_CLIPPING_ITERATIONS):
        kept_squares = squares[squares <= (_STAR_SIGMA * sigma) ** 2]
        sigma = (float(np.mean(kept_squares)) / _CLIPPED_VARIANCE) ** 0.5
    return sigma


def expected_noise(sigmas):
    """Return the noise that `level_and_noise` would measure of pixels with these standard errors.

    If all errors are equal, the noise equals them. In a spectrum they differ by a factor of a
    hundred. Clipping then keeps the faint pixels, whose noise is not the median of all errors.

    Parameters
    ----------
    sigmas : numpy.ndarray of any shape, float32
        Standard errors of a sample of pixels.

    Returns
    -------
    float
        NaN if no error is above 0.

    Notes
    -----
    Clipping begins at the sigma that the median absolute deviation of all pixels gives. Each round
    of clipping at t sigmas of a pixel keeps the fraction 2 Phi(t) - 1 of its normal distribution,
    with the second moment s^2 (2 Phi(t) - 1 - 2 t phi(t)).

    Examples
    --------
    >>> print(f"{expected_noise(np.full((20, 30), 5.0)):.3f}")
    5.000
    """
    sigmas = sigmas[np.isfinite(sigmas) & (sigmas > 0)].astype(np.float64)
    if not sigmas.size:
        return math.nan
    errors, weights = _error_classes(sigmas)
    low, high = float(errors.min()), float(errors.max())
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_below = _fraction_within(middle / MAD_TO_SIGMA / errors) @ weights < 0.5
        low, high = (middle, high) if is_below else (low, middle)
    sigma = (low + high) / 2
    for _ in range(_CLIPPING_ITERATIONS):
        limit = _STAR_SIGMA * sigma / errors
        kept_fraction = _fraction_within(limit)
        density = np.exp(-0.5 * limit**2) * (2 / math.pi) ** 0.5
        kept_squares = errors**2 * (kept_fraction - limit * density)
        sigma = (
            float(kept_squares @ weights) / float(kept_fraction @ weights) / _CLIPPED_VARIANCE
        ) ** 0.5
    return sigma


def _error_classes(sigmas):
    """Return the rms standard error of each class of errors, and the fraction of pixels in it."""
    logs = np.log(sigmas)
    low, span = float(logs.min()), float(np.ptp(logs)) or 1.0
    number = np.minimum((logs - low) * (_ERROR_CLASSES / span), _ERROR_CLASSES - 1).astype(np.intp)
    counts = np.bincount(number, minlength=_ERROR_CLASSES)
    squares = np.bincount(number, sigmas**2, _ERROR_CLASSES)
    has_pixels = counts > 0
    return np.sqrt(squares[has_pixels] / counts[has_pixels]), counts[has_pixels] / sigmas.size


def _fraction_within(limits):
    """Return the fraction of a normal distribution within each number of sigma of its mean."""
    return np.array([math.erf(limit / 2**0.5) for limit in limits])
