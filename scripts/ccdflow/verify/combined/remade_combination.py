"""Combined frames made again, some rows at a time, by `ccdproc.combine` where it can."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import ccdproc
import numpy as np
from astropy import units
from astropy.nddata import CCDData
from astropy.stats import mad_std, sigma_clip

from ccdflow.verify.combined.kept_values import (
    are_counted,
    are_kept_by_scatter,
    count_invalid,
)
from ccdflow.verify.combined.prepared_rows import RemadeRows, prepare_rows
from ccdflow.verify.combined.remade_by_noise import add_variances, combine_by_noise
from ccdflow.verify.reading.restated_numbers import NO_DATA
from ccdflow.verify.reading.verdict import MODEL, CannotRemake

# Fraction by which a limit is moved either way: values between were decided by the rounding.
_LIMIT_SHIFT = 5e-4


def combine_rows(account, results, hdu, rows, surroundings=None, *, counts_rejections=True):
    """Return some rows of a combined frame, combined again from its members.

    Parameters
    ----------
    account : ccdflow.verify.reading.accounts.CombinedAccount
    results : pathlib.Path
    hdu : int
    rows : slice
    surroundings : callable, optional
        Takes rows, and returns the light around their pixels, (ny, nx); darks need it.
    counts_rejections : bool, optional
        Whether the rejected values of biases are counted: ccdproc counts none.

    Returns
    -------
    RemadeRows

    Raises
    ------
    CannotRemake
        If ccdproc does not clip by the deviation of the header, or a card of the noise is absent.
    """
    prepared = prepare_rows(account, results, hdu, rows)
    stack = prepared.stack
    if account.clip is not None and account.deviation == "noise":
        remade = combine_by_noise(prepared, account, hdu, rows, surroundings)
    else:
        remade = _combine_by_ccdproc(
            stack, prepared.is_masked, account, prepared.scale, counts_rejections=counts_rejections
        )
        remade = add_variances(remade, prepared, account, hdu, rows, surroundings)
    return replace(remade, stack=stack, mask=_common_mask(stack, prepared.bits))


def _common_mask(stack, bits):
    """Return the mask of the combined pixels: the bits that all members share; 0 if one is good."""
    is_finite = np.isfinite(stack)
    mask = np.bitwise_and.reduce(np.where(is_finite, bits, np.int16(-1)), axis=0)
    mask[~is_finite.any(axis=0)] = NO_DATA
    mask[(is_finite & (bits == 0)).any(axis=0)] = 0
    return mask.astype(np.int16)


def _combine_by_ccdproc(stack, is_masked, account, scale, *, counts_rejections):
    """Return the `RemadeRows` that ccdproc combines.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ny, nx), float64
    is_masked : numpy.ndarray of shape (n, ny, nx), bool
        True for pixels that do not count.
    account : ccdflow.verify.reading.accounts.CombinedAccount
    scale : float
        Size of the largest value, for the tolerance.
    counts_rejections : bool
        Whether the kept values of biases are needed.
    """
    if account.clip is not None:
        if account.deviation not in ("mad", "std"):
            raise CannotRemake(f"ccdproc does not clip by {account.deviation!r}", MODEL)
        if account.iterations != 1:
            return _combine_by_repeated_clipping(stack, is_masked, account, scale)
    # The maker prepares members of darks and flats in float32: a value near the limit may be on its
    # other side.
    has_open_limit = account.clip is not None and account.has_light
    shift = _LIMIT_SHIFT if has_open_limit else 0.0
    image = _image_by_ccdproc(stack, account, 1 - shift)
    alternative = _image_by_ccdproc(stack, account, 1 + shift) if has_open_limit else image.copy()
    # ccdproc does not clip a pixel in which a value is missing.
    is_incomplete = (is_masked | ~np.isfinite(stack)).any(axis=0)
    if is_incomplete.any():
        image[is_incomplete] = alternative[is_incomplete] = _combine_incomplete(
            stack[:, is_incomplete], is_masked[:, is_incomplete], account
        )
    if has_open_limit:
        is_kept_pair = _kept_by_both_limits(stack, is_masked, account)
    elif counts_rejections:
        is_kept_pair = (are_kept_by_scatter(stack, is_masked, account),) * 2
    else:
        is_kept_pair = None
    counts = _count_rejected(stack, is_masked, is_kept_pair or (np.True_, np.True_))
    return RemadeRows(image, alternative, scale, "ccdproc", *counts, is_kept_pair=is_kept_pair)


def _image_by_ccdproc(stack, account, factor):
    """Return the float64 image that `ccdproc.combine` makes with its limits times a factor."""
    # The errors of ccdproc are not used, and would take a fifth of its time.
    arguments = {"method": account.method, "combine_uncertainty_function": _zero_errors}
    if account.clip is not None:
        arguments |= {
            "sigma_clip": True,
            "sigma_clip_low_thresh": account.clip * factor,
            "sigma_clip_high_thresh": account.clip * factor,
            # astropy runs functions that are given by name in C, in half the time of Python ones.
            "sigma_clip_func": "median",
            "sigma_clip_dev_func": "mad_std" if account.deviation == "mad" else "std",
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        members = [CCDData(values, unit=units.adu) for values in stack]
        return np.asarray(ccdproc.combine(members, **arguments).data, dtype=np.float64)


def _kept_by_both_limits(stack, is_masked, account):
    """Return which values a slightly lower limit keeps, and which a slightly higher one."""
    return tuple(
        are_kept_by_scatter(stack, is_masked, account, 1 + sign * _LIMIT_SHIFT) for sign in (-1, 1)
    )


def _zero_errors(values, axis):
    """Return zeros in place of the errors that ccdproc would compute, which are not used."""
    return np.zeros(values.shape[1:])


def _combine_by_repeated_clipping(stack, is_masked, account, scale):
    """Return rows clipped by `astropy.stats.sigma_clip` and combined by `ccdproc.Combiner`.

    `ccdproc.Combiner.sigma_clipping` does one round alone: a second call forgets the values that
    the first one left out.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, rows, nx), float64
    is_masked : numpy.ndarray of shape (n, rows, nx), bool
    account : ccdflow.verify.reading.accounts.CombinedAccount
    scale : float
        The largest value, for the tolerance.
    """
    images, is_good = [], are_counted(stack, is_masked)
    deviation_function = (
        partial(mad_std, ignore_nan=True) if account.deviation == "mad" else np.nanstd
    )
    for sign in (-1, 1):
        limit = account.clip * (1 + sign * _LIMIT_SHIFT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clipped_values = sigma_clip(
                np.where(is_good, stack, np.nan),
                sigma=limit,
                axis=0,
                maxiters=account.iterations,
                # With functions given by name, astropy uses values again that a round left out.
                cenfunc=np.nanmedian,
                stdfunc=deviation_function,
            )
            combiner = ccdproc.Combiner([
                CCDData(values, mask=mask, unit=units.adu)
                for values, mask in zip(stack, np.ma.getmaskarray(clipped_values), strict=True)
            ])  # fmt: skip
            is_mean = account.method == "average"
            combined_values = combiner.average_combine() if is_mean else combiner.median_combine()
            image = np.where(
                is_good.any(axis=0), np.asarray(combined_values.data, dtype=np.float64), np.nan
            )
        is_empty = ~(np.isfinite(stack) & ~is_masked).any(axis=0)
        if is_empty.any():
            image[is_empty] = _combine_incomplete(
                stack[:, is_empty], is_masked[:, is_empty], account
            )
        images.append(image)
    is_kept_pair = _kept_by_both_limits(stack, is_masked, account)
    maker = "ccdproc and repeated clipping by astropy"
    return RemadeRows(
        *images,
        scale,
        maker,
        *_count_rejected(stack, is_masked, is_kept_pair),
        is_kept_pair=is_kept_pair,
    )


def _count_rejected(stack, is_masked, is_kept_pair):
    """Return the counts of rejected values by either limit, and of values that do not count."""
    is_good = np.isfinite(stack) & ~is_masked
    rejected_counts = tuple((is_good & ~is_kept).sum(axis=0) for is_kept in is_kept_pair)
    return rejected_counts, count_invalid(stack, is_masked)


def _combine_incomplete(values, is_masked, account):
    """Return the combination of pixels with values that do not count: (n, k) to (k,)."""
    kept_values = np.where(are_kept_by_scatter(values, is_masked, account), values, np.nan)
    combine = np.nanmean if account.method == "average" else np.nanmedian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return combine(kept_values, axis=0)
