"""Combined frames made again, some rows at a time, by `ccdproc.combine` where it has the model."""

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
    count_invalid,
    kept_by_scatter,
    values_that_count,
)
from ccdflow.verify.combined.prepared_rows import RemadeRows, prepare_rows
from ccdflow.verify.combined.remade_by_noise import add_variances, combine_by_noise
from ccdflow.verify.reading.restated_numbers import NO_DATA
from ccdflow.verify.reading.verdict import MODEL, CannotRemake

# Part by which a limit is moved, to see which values are decided by the rounding.
_LIMIT_SHIFT = 5e-4


def combine_rows(account, results, hdu, rows, surroundings=None, *, counts_rejections=True):
    """Combine the rows of a combined frame's members again.

    Parameters
    ----------
    account : ccdflow.verify.reading.accounts.CombinedAccount
    results : pathlib.Path
    hdu : int
    rows : slice
    surroundings : callable, optional
        Takes rows, returns the light around their pixels; needed for darks.
    counts_rejections : bool
        Whether rejected values of biases are counted where ccdproc rejects them: it counts none.

    Returns
    -------
    RemadeRows

    Raises
    ------
    CannotRemake
        If ccdproc does not clip by the deviation of the header, or MODRN is absent.
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
    """Return the mask of the combined pixels: bits that all members share where none is good."""
    is_finite = np.isfinite(stack)
    is_good = (is_finite & (bits == 0)).any(axis=0)
    common_bits = np.bitwise_and.reduce(np.where(is_finite, bits, np.int16(-1)), axis=0)
    return np.where(is_good, 0, np.where(is_finite.any(axis=0), common_bits, NO_DATA)).astype(
        np.int16
    )


def _combine_by_ccdproc(stack, is_masked, account, scale, *, counts_rejections):
    """Combine by ccdproc.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ny, nx), float64
    is_masked : numpy.ndarray of shape (n, ny, nx), bool
        True for pixels that do not count.
    account : ccdflow.verify.reading.accounts.CombinedAccount
    scale : float
        The largest value, for the tolerance.
    counts_rejections : bool
        Whether the number of kept values is wanted.
    """
    # Its errors are not used, and take a fifth of its time.
    arguments = {"method": account.method, "combine_uncertainty_function": _zero_errors}
    if account.clip is not None:
        if account.deviation not in ("mad", "std"):
            raise CannotRemake(f"ccdproc does not clip by {account.deviation!r}", MODEL)
        if account.iterations != 1:
            return _combine_by_repeated_clipping(stack, is_masked, account, scale)
        arguments |= {
            "sigma_clip": True,
            "sigma_clip_low_thresh": account.clip,
            "sigma_clip_high_thresh": account.clip,
            # By name astropy runs them in C: half the time of the guide's functions, equal limits.
            "sigma_clip_func": "median",
            "sigma_clip_dev_func": "mad_std" if account.deviation == "mad" else "std",
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        members = [CCDData(values, unit=units.adu) for values in stack]
        for name in ("sigma_clip_low_thresh", "sigma_clip_high_thresh"):
            if name in arguments and account.has_light:
                arguments[name] *= 1 - _LIMIT_SHIFT
        image = np.asarray(ccdproc.combine(members, **arguments).data, dtype=np.float64)
        # ccdproc does not clip a pixel in which a value is missing.
        is_incomplete = (is_masked | ~np.isfinite(stack)).any(axis=0)
        if is_incomplete.any():
            image[is_incomplete] = _combine_incomplete(
                stack[:, is_incomplete], is_masked[:, is_incomplete], account
            )
        if account.clip is None or not account.has_light:
            is_kept = kept_by_scatter(stack, is_masked, account) if counts_rejections else np.True_
            counts = _count_rejected(stack, is_masked, [is_kept])
            kept_pair = (is_kept, is_kept) if counts_rejections else None
            return RemadeRows(
                image=image,
                alternative=image.copy(),
                scale=scale,
                maker="ccdproc",
                rejected_counts=counts[0] * 2,
                invalid_counts=counts[1],
                kept=kept_pair,
            )
        # The product's members were float32: a value on the limit may be on its other side.
        for name in ("sigma_clip_low_thresh", "sigma_clip_high_thresh"):
            arguments[name] *= (1 + _LIMIT_SHIFT) / (1 - _LIMIT_SHIFT)
        alternative = np.asarray(ccdproc.combine(members, **arguments).data, dtype=np.float64)
        alternative[is_incomplete] = image[is_incomplete]
    kept_pair = tuple(
        kept_by_scatter(stack, is_masked, account, 1 + sign * _LIMIT_SHIFT) for sign in (-1, 1)
    )
    counts = _count_rejected(stack, is_masked, kept_pair)
    return RemadeRows(image, alternative, scale, "ccdproc", *counts, kept=kept_pair)


def _zero_errors(values, axis):
    """Return zeros for the errors that ccdproc's combiner would compute, and nobody uses."""
    return np.zeros(values.shape[1:])


def _combine_by_repeated_clipping(stack, is_masked, account, scale):
    """Clip by `astropy.stats.sigma_clip` and combine by `ccdproc.Combiner`.

    Its own `sigma_clipping` calls the same, but for one round: it forgets the values that an
    earlier one left out.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, rows, nx), float64
    is_masked : numpy.ndarray of shape (n, rows, nx), bool
    account : ccdflow.verify.reading.accounts.CombinedAccount
    scale : float
        The largest value, for the tolerance.
    """
    images, is_good = [], values_that_count(stack, is_masked)
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
                # By names it takes values in again that an earlier round left out.
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
    kept_pair = tuple(
        kept_by_scatter(stack, is_masked, account, 1 + sign * _LIMIT_SHIFT) for sign in (-1, 1)
    )
    maker = "ccdproc and repeated clipping by astropy"
    return RemadeRows(
        *images, scale, maker, *_count_rejected(stack, is_masked, kept_pair), kept=kept_pair
    )


def _count_rejected(stack, is_masked, is_kept_pair):
    """Return how many values are rejected, by either limit, and how many are not finite."""
    is_good = np.isfinite(stack) & ~is_masked
    return tuple((is_good & ~is_kept).sum(axis=0) for is_kept in is_kept_pair), count_invalid(
        stack, is_masked
    )


def _combine_incomplete(values, is_masked, account):
    """Combine pixels with values that are masked or not finite: (n, k)."""
    kept_values = np.where(kept_by_scatter(values, is_masked, account), values, np.nan)
    return (np.nanmean if account.method == "average" else np.nanmedian)(kept_values, axis=0)
