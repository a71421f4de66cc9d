"""Combined rows made again by gain and read noise (``CLIPDEV = noise``), which ccdproc lacks.

The model is that of the header's MODRN, MODGN, MODFC and MODLN: variance = fixed + light / gain.
Rejected is what is further than CLIPSIG from the lower median; the centre's own variance counts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ccdflow.verify.combined.kept_values import (
    count_invalid,
    kept_by_scatter,
    middle_of,
    part_in_rows,
)
from ccdflow.verify.combined.prepared_rows import RemadeRows
from ccdflow.verify.reading.verdict import OLDER, CannotRemake

# Part of a limit within which a value may be rejected or kept: light is known to that.
_NEAR_LIMIT = 0.03


def combine_by_noise(prepared, account, hdu, rows, surroundings):
    """Combine with limits of the noise model, moved a little to either side.

    Parameters
    ----------
    prepared : PreparedRows
    account : ccdflow.verify.reading.accounts.CombinedAccount
    hdu : int
    rows : slice or numpy.ndarray of int, shape (k,)
    surroundings : callable
        Called with rows; returns the light around each of their pixels, (ny, nx).

    Returns
    -------
    RemadeRows

    Raises
    ------
    CannotRemake
        If the header lacks the noise of an amplifier.
    """
    stack, masked = prepared.stack, prepared.is_masked
    lacking = "MODRN" if account.has_light else "CLIPRN"
    fixed, slope = _noise_terms(account.models[hdu], rows, stack.shape[1:], lacking)
    levels, charge = prepared.levels(account), prepared.charge(account)
    good = np.isfinite(stack) & ~masked
    is_empty = ~good.any(axis=0)
    # Light near a dark's pixel; flats have enough of it for their own to do.
    light = None if account.levels or not account.masters else surroundings(rows)
    keep = {-1: good.copy(), 1: good.copy()}
    for sign, kept in keep.items():
        for _ in range(account.iterations):
            centre = np.where(is_empty, 0, _lower_median(stack, kept))
            lit = _light_of_noise(centre, light, fixed, slope, len(stack))
            variance = (fixed + slope * np.maximum(lit * levels + charge, 0)) / levels**2
            count = np.maximum(kept.sum(axis=0), 1)
            total_variance = variance + np.where(kept, variance, 0).sum(axis=0) / count**2
            limit = account.clip * np.sqrt(total_variance) * (1 + sign * _NEAR_LIMIT)
            with np.errstate(invalid="ignore"):
                kept &= ~(np.abs(stack - centre) > limit)
    finite = np.isfinite(stack)
    images = [
        middle_of(stack, np.where(is_empty, finite, kept), account.method)
        for kept in (keep[-1], keep[1])
    ]  # fmt: skip
    kept = np.where(is_empty, finite, keep[1])
    variances = _variance_by_source(
        images[1], kept, model=(fixed, slope), levels=levels, charge=charge, light=light
    )
    maker = "numpy: a noise model that ccdproc lacks"
    good &= ~is_empty
    rejected = tuple((good & ~values).sum(axis=0) for values in (keep[-1], keep[1]))
    variances = variances if account.method == "average" else None
    kept = keep[-1], keep[1]
    return RemadeRows(
        *images,
        prepared.scale,
        maker,
        rejected,
        count_invalid(stack, masked),
        variances,
        kept=kept,
    )


def _variance_by_source(image, kept, model, levels, charge, light):
    """Return the variance of the mean of the kept values, for each of two sources of the light.

    The light of a pixel is that of its surroundings, or its own where it is brighter by three
    standard errors.

    Parameters
    ----------
    image : numpy.ndarray of float64
        Shape (ny, nx): the combined pixels.
    kept : numpy.ndarray of bool
        Shape (n, ny, nx): values that are in the mean.
    model : (numpy.ndarray, numpy.ndarray)
        Fixed variance and its slope with light, each (ny, nx).
    levels : numpy.ndarray
        Level that each member was divided by: (n, 1, 1).
    charge : numpy.ndarray
        Charge of the subtracted dark in each member.
    light : numpy.ndarray or None
        Shape (ny, nx): light of the surroundings; None if each pixel's own counts.
    """
    (fixed, slope), inverse, count = model, 1 / levels, kept.sum(axis=0)
    squares = np.where(kept, inverse**2, 0).sum(axis=0)
    inverse_sum = np.where(kept, inverse, 0).sum(axis=0)
    charges = np.where(kept, charge * inverse**2, 0).sum(axis=0)

    def variance_of(lit):
        light_sum = np.maximum(lit * inverse_sum + charges, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (fixed * squares + slope * light_sum) / count**2

    if light is None:
        return variance_of(image), variance_of(image)
    reach = 3 * np.sqrt((fixed + slope * np.maximum(light, 0)) / len(kept))
    with np.errstate(invalid="ignore"):
        is_own = image > light + reach
        is_doubtful = np.abs(image - light - reach) < _NEAR_LIMIT * reach
    chosen, other = np.where(is_own, image, light), np.where(is_own, light, image)
    return variance_of(chosen), variance_of(np.where(is_doubtful, other, chosen))


def with_variances(remade, prepared, account, hdu, rows, surroundings):
    """Add the variances of the noise model to rows of darks or flats that ccdproc combined.

    Parameters
    ----------
    remade : RemadeRows
    prepared : PreparedRows
    account : ccdflow.verify.reading.accounts.CombinedAccount
    hdu : int
    rows : slice or numpy.ndarray of int, shape (k,)
    surroundings : callable
        Called with rows; returns the light around each of their pixels, (ny, nx).

    Returns
    -------
    RemadeRows

    Raises
    ------
    CannotRemake
        If the header lacks the noise of an amplifier.
    """
    if not account.masters and not account.levels:
        return remade
    if account.method != "average" or not account.models.get(hdu):
        return remade
    model = _noise_terms(account.models[hdu], rows, prepared.stack.shape[1:])
    levels, charge = prepared.levels(account), prepared.charge(account)
    kept = kept_by_scatter(prepared.stack, prepared.is_masked, account)
    light = None if account.levels else surroundings(rows)
    return replace(
        remade,
        variances=_variance_by_source(
            remade.image, kept, model=model, levels=levels, charge=charge, light=light
        ),
    )


def _light_of_noise(centre, light, fixed, slope, count):
    """Return the light that sets a pixel's noise: its surroundings', or its own if brighter.

    Parameters
    ----------
    centre : numpy.ndarray
        Shape (ny, nx): the pixel's own light.
    light : numpy.ndarray or None
        Shape (ny, nx): light of the surroundings; None if each pixel's own counts.
    fixed, slope : numpy.ndarray
        Shape (ny, nx): fixed variance, and its slope with light.
    count : int
        Members.
    """
    if light is None:
        return centre
    reach = 3 * np.sqrt((fixed + slope * np.maximum(light, 0)) / count)
    return np.where(centre > light + reach, centre, light)


def _lower_median(stack, keep):
    """Return the median over (n, ny, nx) of the values kept; of an even number the lower one."""
    ordered = np.sort(np.where(keep, stack, np.inf), axis=0)
    middle_index = np.maximum((keep.sum(axis=0) - 1) // 2, 0)
    return np.take_along_axis(ordered, middle_index[None], axis=0)[0]


def _noise_terms(models, rows, shape, lacking="MODRN"):
    """Return fixed variance and slope of the pixels of some rows; infinite where none is known.

    Parameters
    ----------
    models : list
        One for each amplifier.
    rows : slice or numpy.ndarray of shape (k,), int
    shape : (int, int)
        Of the rows.
    lacking : str
        The cards that an older header lacks.
    """
    if not models:
        # The noise of a value of biases is in another card.
        raise CannotRemake(f"the header lacks {lacking}: it is of an older version", OLDER)
    fixed, slope = np.full(shape, np.inf), np.zeros(shape)
    for model in models:
        part_of_amplifier = part_in_rows(model.place, rows)
        fixed[part_of_amplifier], slope[part_of_amplifier] = model.fixed, model.slope
    return fixed, slope
