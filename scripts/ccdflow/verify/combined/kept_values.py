"""Rows of combined frames by the values that are kept: their mean or median, and their scatter."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np

from ccdflow.verify.combined.measuring import finite_median
from ccdflow.verify.reading.restated_numbers import MAD_TO_SIGMA

# Values of a pixel near the limit of rejection of which all choices are tried.
_MOST_DOUBTFUL = 8


def part_in_rows(place, rows):
    """Return the part of an amplifier's place that lies in some rows, counted from their first.

    Parameters
    ----------
    place : (slice, slice)
        In the image.
    rows : slice or numpy.ndarray of int, shape (k,)
        Rows of the image.

    Returns
    -------
    (slice or numpy.ndarray of int, shape (k,); slice)
    """
    if not isinstance(rows, slice):
        indices = np.flatnonzero((rows >= place[0].start) & (rows < place[0].stop))
        return indices, place[1]
    low, high = max(place[0].start, rows.start), min(place[0].stop, rows.stop)
    return slice(low - rows.start, max(high, low) - rows.start), place[1]


def middle_of(stack, keep, method):
    """Return the mean or median of the values that are kept: (n, ...) to (...).

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
    keep : numpy.ndarray of the same shape, bool
    method : {'average', 'median'}

    Returns
    -------
    numpy.ndarray of shape (...), float64
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")
        if method == "median":
            return np.nanmedian(np.where(keep, stack, np.nan), axis=0)
        return np.where(keep, stack, 0).sum(axis=0) / keep.sum(axis=0)


def count_invalid(stack, masked):
    """Return how many values of each pixel count for nothing: not finite, or masked.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
    masked : numpy.ndarray of the same shape, bool

    Returns
    -------
    numpy.ndarray of shape (...), int
    """
    return (masked | ~np.isfinite(stack)).sum(axis=0)


def values_that_count(values, masked):
    """Return which values count: those not masked; all finite ones where all are masked.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, ...), float64
    masked : numpy.ndarray of the same shape, bool

    Returns
    -------
    numpy.ndarray of the same shape, bool
    """
    finite = np.isfinite(values)
    good = finite & ~masked
    return np.where(good.any(axis=0), good, finite)


def kept_by_scatter(stack, masked, account, part=1.0):
    """Return which values are kept where a part of the limit is theirs: (n, ...) bool.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
    masked : numpy.ndarray of the same shape, bool
        True for pixels that are masked.
    account : CombinedAccount
        Its rejection.
    part : float, optional
        Fraction of the limit.

    Returns
    -------
    numpy.ndarray of shape (n, ...), bool
        True for a value that is kept.
    """
    good = values_that_count(stack, masked)
    kept = np.where(good, stack, np.nan)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")
        for _ in range(account.iterations if account.clip is not None else 0):
            middle = finite_median(kept)
            if account.deviation == "mad":
                spread = MAD_TO_SIGMA * finite_median(np.abs(kept - middle))
            else:
                spread = np.nanstd(kept, axis=0)
            clipped = np.where(np.abs(kept - middle) > part * account.clip * spread, np.nan, kept)
            # Where all are masked, nothing is rejected.
            kept = np.where((good & ~masked).any(axis=0), clipped, kept)
    return np.isfinite(kept)


def standard_errors(stack, kept, method):
    """Return the standard error of a mean or median from the scatter of the kept values.

    That of a median from the MAD, and by the root of pi / 2 larger; NaN below two values.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
    kept : numpy.ndarray of the same shape, bool
    method : {'average', 'median'}

    Returns
    -------
    numpy.ndarray of shape (...), float64
    """
    values, count = np.where(kept, stack, np.nan), kept.sum(axis=0)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")
        if method == "median":
            deviations = np.abs(values - np.nanmedian(values, axis=0))
            scatter = MAD_TO_SIGMA * np.nanmedian(deviations, axis=0) * (np.pi / 2) ** 0.5
        else:
            scatter = np.nanstd(values, axis=0, ddof=1)
        return np.where(count > 1, scatter / np.sqrt(count), np.nan)


def match_doubtful_pixels(image, nearest, *, remade, method, gains, rows, limit):
    """Try all choices of the doubtful values of a pixel; keep the result closest to the product.

    A value near the limit of rejection is doubtful: it may have been kept or rejected. `nearest`
    is changed in place, where it differs from the product by more than is allowed.

    Parameters
    ----------
    image, nearest, limit : numpy.ndarray of float64
        (ny, nx): the product, the same made again, and the allowed difference.
    remade : RemadeRows
    method : str
    gains : list of ((slice, slice), float)
    rows : slice
        Of the image.
    """
    if remade.kept is None:
        return
    with np.errstate(invalid="ignore"):
        is_wrong = np.abs(image - nearest) > limit
    doubtful = remade.kept[0] ^ remade.kept[1]
    pixels = np.nonzero(
        is_wrong & (doubtful.sum(axis=0) > 1) & (doubtful.sum(axis=0) <= _MOST_DOUBTFUL)
    )
    factors = np.ones(image.shape)
    for place, factor in gains if pixels[0].size else ():
        factors[part_in_rows(place, rows)] = factor
    for pixel in zip(*pixels, strict=True):
        values, sure = remade.stack[:, *pixel], (remade.kept[0] & remade.kept[1])[:, *pixel]
        doubtful_values = np.flatnonzero(doubtful[:, *pixel])
        for choice in product((False, True), repeat=doubtful_values.size):
            keep = sure.copy()
            keep[doubtful_values] = choice
            value = middle_of(values, keep, method) * factors[pixel]
            if abs(value - image[pixel]) < abs(nearest[pixel] - image[pixel]):
                nearest[pixel] = value
