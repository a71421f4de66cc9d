"""Bad pixels of a detector, from the darks and flats that a night has anyway.

Darks give a straight line for each pixel: its rate, and what it has at once. A pixel whose rate is
high is hot; one that follows no line, or varies between frames of one exposure, cannot be
corrected by a dark at all. Flats give pixels and columns that respond less than their neighbours.
The bits are those of docs/products.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggrid2d, legvander2d
from scipy.stats import chi2

from ccdflow.errors import UserError
from ccdflow.maskbits import BAD_COLUMN, DEAD, HOT, VARIES

FALSE_ALARMS = 1e-6
"""Share of good pixels whose chi^2 may be called bad by chance."""

_ROUNDS = 2
# Side of the blocks whose medians, interpolated, are what a pixel is compared with: a running
# median of as many pixels takes ten times as long.
_NEIGHBOURS = 8
_SIGMA = 4.5
# Blocks on a side, and the degree of the polynomial, that give the illumination of a flat.
_BLOCKS, _DEGREE = 24, 6


@dataclass(frozen=True)
class DarkLines:
    """A straight line through the darks of each pixel.

    Attributes
    ----------
    rate, rate_error : numpy.ndarray
        Shape (ny, nx), electrons a second.
    offset : numpy.ndarray
        (ny, nx), electrons at an exposure of zero.
    misfit : numpy.ndarray
        (ny, nx): chi^2 of the means of the exposures about the line.
    misfit_freedom : int
        Its degrees of freedom: 0 where there are two exposures.
    scatter : numpy.ndarray
        (ny, nx): chi^2 of the frames about the means of their exposures.
    scatter_freedom : int
    """

    rate: np.ndarray
    rate_error: np.ndarray
    offset: np.ndarray
    misfit: np.ndarray
    misfit_freedom: int
    scatter: np.ndarray
    scatter_freedom: int


def fit_darks(darks, times, read_noise):
    """Fit a line to the darks of each pixel.

    Parameters
    ----------
    darks : array_like
        Shape (n, ny, nx), electrons, the bias taken out. Not changed.
    times : sequence of float
        Exposures, seconds; two different ones or more.
    read_noise : float
        Electrons, that of the combined bias included.

    Returns
    -------
    DarkLines

    Raises
    ------
    UserError
        If all exposures are the same.

    Notes
    -----
    The variance of a frame is read_noise^2 and the electrons that the line predicts; a first fit
    with equal weights gives the first line.
    """
    darks, times = np.asarray(darks, dtype=np.float64), np.asarray(times, dtype=np.float64)
    exposures, places = np.unique(times, return_inverse=True)
    if len(exposures) < 2:
        raise UserError(
            "a rate needs darks of two exposures or more", keyword="times", value=times.tolist()
        )
    counts = np.bincount(places)
    means = np.stack([darks[places == i].mean(axis=0) for i in range(len(exposures))])
    variance = np.full_like(means, read_noise**2)
    for _ in range(_ROUNDS):
        offset, rate, rate_error = _line(exposures, means, variance / counts[:, None, None])
        model = offset + rate * exposures[:, None, None]
        variance = read_noise**2 + _electrons(model, rate, rate_error)
    misfit = ((means - model) ** 2 / (variance / counts[:, None, None])).sum(axis=0)
    scatter = ((darks - means[places]) ** 2 / variance[places]).sum(axis=0)
    return DarkLines(
        rate, rate_error, offset, misfit, len(exposures) - 2, scatter, len(darks) - len(exposures)
    )


def _electrons(model, rate, rate_error):
    """Return the electrons whose photon noise counts: a pixel's own only where it is hot.

    A weight that follows the noise of its own pixel would pull the line down.
    """
    stands_out = rate > np.median(rate) + 3 * rate_error
    usual = np.median(model, axis=(1, 2), keepdims=True)
    return np.maximum(np.where(stands_out, model, usual), 0)


def _line(times, values, variances):
    """Return offset, slope and the error of the slope of a weighted line in each pixel."""
    weights = 1 / variances
    t = times[:, None, None]
    s, st, stt = weights.sum(axis=0), (weights * t).sum(axis=0), (weights * t * t).sum(axis=0)
    sy, sty = (weights * values).sum(axis=0), (weights * t * values).sum(axis=0)
    determinant = s * stt - st**2
    slope = (s * sty - st * sy) / determinant
    return (stt * sy - st * sty) / determinant, slope, np.sqrt(s / determinant)


def dark_mask(lines, *, hot=0.5):
    """Return which pixels are bad in the dark.

    Parameters
    ----------
    lines : DarkLines
    hot : float
        Electrons a second above the median rate from which a pixel is hot, where that is five times
        its error.

    Returns
    -------
    numpy.ndarray
        (ny, nx), int16: `HOT` for hot pixels and those that follow no line, `VARIES` for those that
        scatter more between frames of one exposure than their noise.
    """
    mask = np.zeros(lines.rate.shape, dtype=np.int16)
    above = lines.rate - np.median(lines.rate)
    mask[above > np.maximum(hot, 5 * lines.rate_error)] |= HOT
    if lines.misfit_freedom:
        mask[lines.misfit > chi2.isf(FALSE_ALARMS, lines.misfit_freedom)] |= HOT
    if lines.scatter_freedom:
        mask[lines.scatter > chi2.isf(FALSE_ALARMS, lines.scatter_freedom)] |= VARIES
    return mask


def response_mask(flats, errors):
    """Return pixels and columns that respond less than their neighbours.

    Parameters
    ----------
    flats, errors : list of numpy.ndarray
        Combined flats and the standard errors of their pixels, each (ny, nx). Filters may differ:
        what is compared is each pixel with the median of its neighbours.

    Returns
    -------
    numpy.ndarray
        (ny, nx), int16: `DEAD` where all flats together are 4.5 sigma low, `BAD_COLUMN` along
        columns whose median is.
    """
    contrast, error = 0.0, 0.0
    for flat, each in zip(flats, errors, strict=True):
        lit = _illumination(flat)
        with np.errstate(divide="ignore", invalid="ignore"):
            smooth = lit * _neighbours(flat / lit)[: flat.shape[0], : flat.shape[1]]
            relative, of_it = flat / smooth - 1, each / smooth
            weight = np.where(of_it > 0, 1 / of_it**2, 0.0)
        contrast = contrast + np.nan_to_num(weight * relative)
        error = error + weight
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.nan_to_num(contrast / np.sqrt(error), nan=-np.inf)
    mask = np.where(sigma < -_SIGMA, DEAD, 0).astype(np.int16)
    # The median of n pixels scatters by 1.25 / sqrt(n) of one of them.
    of_column = np.median(sigma, axis=0) / (1.2533 / np.sqrt(len(sigma)))
    mask[:, of_column < -_SIGMA] |= BAD_COLUMN
    return mask


def _neighbours(image):
    """Return the medians of blocks of an image, interpolated to each of its pixels."""
    for axis in (0, 1):
        short = -image.shape[axis] % _NEIGHBOURS
        widths = [(0, 0), (0, 0)]
        widths[axis] = (0, short)
        image = np.pad(image, widths, mode="symmetric") if short else image
    ny, nx = (n // _NEIGHBOURS for n in image.shape)
    blocks = image.reshape(ny, _NEIGHBOURS, nx, _NEIGHBOURS).swapaxes(1, 2).reshape(ny, nx, -1)
    medians = np.median(blocks, axis=-1)
    return _stretched(_stretched(medians, 0), 1)


def _stretched(values, axis):
    """Return values at the centres of blocks, interpolated to their pixels along an axis."""
    count = values.shape[axis]
    at = np.clip((np.arange(count * _NEIGHBOURS) + 0.5) / _NEIGHBOURS - 0.5, 0, count - 1)
    low = np.minimum(at.astype(int), max(count - 2, 0))
    high = np.minimum(low + 1, count - 1)
    part = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
    return (1 - part) * values.take(low, axis) + part * values.take(high, axis)


def _illumination(flat):
    """Return the smooth illumination of a flat: a polynomial through the medians of its blocks.

    Without it the median of the neighbours of a pixel at the edge, which all lie on one side, would
    be off by the gradient.
    """
    ny, nx = flat.shape
    rows, columns = (np.array_split(np.arange(n), min(_BLOCKS, n)) for n in (ny, nx))
    medians = np.array(
        [[np.median(flat[r[0] : r[-1] + 1, c[0] : c[-1] + 1]) for c in columns] for r in rows]
    )
    at = [
        [np.mean(part) * 2 / max(n - 1, 1) - 1 for part in parts]
        for parts, n in ((rows, ny), (columns, nx))
    ]
    degrees = [min(_DEGREE, len(parts) - 1) for parts in (rows, columns)]
    y, x = np.meshgrid(*at, indexing="ij")
    terms = legvander2d(y.ravel(), x.ravel(), degrees)
    coefficients = np.linalg.lstsq(terms, medians.ravel(), rcond=None)[0]
    shape = tuple(degree + 1 for degree in degrees)
    return leggrid2d(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), coefficients.reshape(shape))
