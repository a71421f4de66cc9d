"""The mean or median of the kept values of combined pixels, and their scatter."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np

from ccdflow.verify.combined.measuring import finite_median
from ccdflow.verify.reading.restated_numbers import MAD_TO_SIGMA, MEDIAN_VARIANCE

# All choices of kept values are tried for pixels with two to this many values near the limit. For
# one value the caller has tried both choices.
_MOST_DOUBTFUL = 8


def part_in_rows(place, rows):
    """Return the part of an amplifier's place within some rows, counted from the first of these.

    Parameters
    ----------
    place : (slice, slice)
        In the image.
    rows : slice or numpy.ndarray of shape (k,), int
        Rows of the image.

    Returns
    -------
    (slice or numpy.ndarray of shape (k,), int; slice)
    """
    if not isinstance(rows, slice):
        indices = np.flatnonzero((rows >= place[0].start) & (rows < place[0].stop))
        return indices, place[1]
    low, high = max(place[0].start, rows.start), min(place[0].stop, rows.stop)
    return slice(low - rows.start, max(high, low) - rows.start), place[1]


def factors_in_rows(places_and_factors, rows, shape):
    """Return the factor of the amplifier of each pixel of some rows; 1 outside all amplifiers.

    Parameters
    ----------
    places_and_factors : sequence of ((slice, slice), float)
        Place in the image, and factor, of each amplifier; () for a factor of 1 everywhere.
    rows : slice
        Rows of the image.
    shape : (int, int)
        Number of these rows, and of the columns.

    Returns
    -------
    numpy.ndarray of shape (k, nx), float64
    """
    factors = np.ones(shape)
    for place, factor in places_and_factors:
        factors[part_in_rows(place, rows)] = factor
    return factors


def combine_kept_values(stack, is_kept, method):
    """Return the mean or median of the values that are kept: (n, ...) to (...).

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
        Values of n members.
    is_kept : numpy.ndarray of the same shape, bool
        Whether a value is combined.
    method : {'average', 'median'}

    Returns
    -------
    numpy.ndarray of shape (...), float64
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")
        if method == "median":
            return np.nanmedian(np.where(is_kept, stack, np.nan), axis=0)
        return np.where(is_kept, stack, 0).sum(axis=0) / is_kept.sum(axis=0)


def count_invalid(stack, is_masked):
    """Return how many values of each pixel do not count: they are not finite, or masked.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
    is_masked : numpy.ndarray of the same shape, bool

    Returns
    -------
    numpy.ndarray of shape (...), int
    """
    return (is_masked | ~np.isfinite(stack)).sum(axis=0)


def are_counted(values, is_masked):
    """Return whether each value counts: the finite ones that are not masked.

    Where all values of a pixel are masked, all its finite values count.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, ...), float64
    is_masked : numpy.ndarray of the same shape, bool

    Returns
    -------
    numpy.ndarray of the same shape, bool
    """
    is_finite = np.isfinite(values)
    is_good = is_finite & ~is_masked
    return np.where(is_good.any(axis=0), is_good, is_finite)


def are_kept_by_scatter(stack, is_masked, account, limit_factor=1.0):
    """Return whether each value is kept by a limit of rejection times a factor.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
    is_masked : numpy.ndarray of the same shape, bool
        True for pixels that are masked.
    account : ccdflow.verify.reading.accounts.CombinedAccount
        Account with the limit, deviation and rounds of the rejection.
    limit_factor : float, optional
        Factor of the limit.

    Returns
    -------
    numpy.ndarray of shape (n, ...), bool
        True for a value that is kept.
    """
    is_good = are_counted(stack, is_masked)
    kept_values = np.where(is_good, stack, np.nan)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")
        for _ in range(account.iterations if account.clip is not None else 0):
            middle = finite_median(kept_values)
            if account.deviation == "mad":
                spread = MAD_TO_SIGMA * finite_median(np.abs(kept_values - middle))
            else:
                spread = np.nanstd(kept_values, axis=0)
            clipped_values = np.where(
                np.abs(kept_values - middle) > limit_factor * account.clip * spread,
                np.nan,
                kept_values,
            )
            # Where all values of a pixel are masked, none is rejected.
            kept_values = np.where((is_good & ~is_masked).any(axis=0), clipped_values, kept_values)
    return np.isfinite(kept_values)


def standard_errors(stack, is_kept, method):
    """Return the standard error of a mean or median from the scatter of the kept values.

    The error of a median is computed from the MAD, and is larger than that of a mean by the root of
    pi / 2. Fewer than two values give NaN.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ...), float64
        Values of n members.
    is_kept : numpy.ndarray of the same shape, bool
        Whether a value is combined.
    method : {'average', 'median'}

    Returns
    -------
    numpy.ndarray of shape (...), float64
    """
    values, count = np.where(is_kept, stack, np.nan), is_kept.sum(axis=0)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")
        if method == "median":
            deviations = np.abs(values - np.nanmedian(values, axis=0))
            scatter = MAD_TO_SIGMA * np.nanmedian(deviations, axis=0) * MEDIAN_VARIANCE**0.5
        else:
            scatter = np.nanstd(values, axis=0, ddof=1)
        return np.where(count > 1, scatter / np.sqrt(count), np.nan)


def match_doubtful_pixels(image, nearest, *, remade, method, factors, limit):
    """Replace remade pixels, in place, by the closest result of choices of their doubtful values.

    A value near the limit of rejection is doubtful: it may have been kept or rejected. Only pixels
    that differ from the product by more than is allowed are replaced.

    Parameters
    ----------
    image, nearest, limit : numpy.ndarray of shape (ny, nx), float64
        The product, the remade pixels (changed in place), and the allowed difference.
    remade : ccdflow.verify.combined.prepared_rows.RemadeRows
    method : {'average', 'median'}
    factors : numpy.ndarray of shape (ny, nx), float64
        The factor of each pixel's amplifier: `factors_in_rows`.
    """
    if remade.is_kept_pair is None:
        return
    with np.errstate(invalid="ignore"):
        is_wrong = np.abs(image - nearest) > limit
    is_kept_by_both = remade.is_kept_pair[0] & remade.is_kept_pair[1]
    is_doubtful = remade.is_kept_pair[0] ^ remade.is_kept_pair[1]
    pixels = np.nonzero(
        is_wrong & (is_doubtful.sum(axis=0) > 1) & (is_doubtful.sum(axis=0) <= _MOST_DOUBTFUL)
    )
    for pixel in zip(*pixels, strict=True):
        values, is_sure = remade.stack[:, *pixel], is_kept_by_both[:, *pixel]
        doubtful_values = np.flatnonzero(is_doubtful[:, *pixel])
        for choice in product((False, True), repeat=doubtful_values.size):
            is_kept = is_sure.copy()
            is_kept[doubtful_values] = choice
            value = combine_kept_values(values, is_kept, method) * factors[pixel]
            if abs(value - image[pixel]) < abs(nearest[pixel] - image[pixel]):
                nearest[pixel] = value
