"""Bad pixels of a detector, from the darks and flats of an ordinary night.

Darks give a straight line for each pixel: a rate, and an offset at exposure zero. A pixel with a
high rate is hot; a pixel that follows no line, or varies between frames of one exposure, cannot be
corrected by a dark. Flats show pixels and columns that respond less than their neighbours. The
bits are those of docs/products.md.
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
# Side of the blocks whose interpolated medians each pixel is compared with: a running median over
# as many pixels takes ten times as long.
_NEIGHBOURS = 8
_SIGMA = 4.5
# The illumination of a flat is a polynomial of this degree through so many blocks on a side.
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
        Shape (n, ny, nx), electrons, bias subtracted. Not changed.
    times : sequence of float
        Exposure times in seconds; at least two different ones.
    read_noise : float
        Electrons; includes the noise of the combined bias.

    Returns
    -------
    DarkLines

    Raises
    ------
    UserError
        If all exposures are equal.

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
    """Return the electrons that set the photon noise: a pixel's own value only if it is hot.

    A weight that follows each pixel's own noise would bias the line downwards.
    """
    stands_out = rate > np.median(rate) + 3 * rate_error
    usual = np.median(model, axis=(1, 2), keepdims=True)
    return np.maximum(np.where(stands_out, model, usual), 0)


def _line(times, values, variances):
    """Return offset, slope and error of the slope of each pixel's weighted line."""
    weights = 1 / variances
    t = times[:, None, None]
    s, st, stt = weights.sum(axis=0), (weights * t).sum(axis=0), (weights * t * t).sum(axis=0)
    sy, sty = (weights * values).sum(axis=0), (weights * t * values).sum(axis=0)
    determinant = s * stt - st**2
    slope = (s * sty - st * sy) / determinant
    return (stt * sy - st * sty) / determinant, slope, np.sqrt(s / determinant)


def dark_mask(lines, *, hot=0.5):
    """Return the mask of pixels that are bad in the dark.

    Parameters
    ----------
    lines : DarkLines
    hot : float
        A pixel is hot if its rate is this many electrons a second above the median, and at least
        five times its error.

    Returns
    -------
    numpy.ndarray
        (ny, nx), int16: `HOT` for hot pixels and those that follow no line, `VARIES` for those
        that scatter between frames of one exposure by more than their noise.
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
    """Return the mask of pixels and columns that respond less than their neighbours.

    Parameters
    ----------
    flats, errors : list of numpy.ndarray
        Combined flats and the standard errors of their pixels, each (ny, nx). Filters may differ:
        each pixel is compared with the median of its neighbours.

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
    """Return the medians of blocks of an image, interpolated to all pixels."""
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
    """Return the values at block centres, interpolated to pixels along one axis."""
    count = values.shape[axis]
    at = np.clip((np.arange(count * _NEIGHBOURS) + 0.5) / _NEIGHBOURS - 0.5, 0, count - 1)
    low = np.minimum(at.astype(int), max(count - 2, 0))
    high = np.minimum(low + 1, count - 1)
    part = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
    return (1 - part) * values.take(low, axis) + part * values.take(high, axis)


def _illumination(flat):
    """Return the smooth illumination of a flat: a polynomial through the medians of its blocks.

    Without it, the gradient would bias the comparison at the edges, where all neighbours of a
    pixel lie on one side.
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
