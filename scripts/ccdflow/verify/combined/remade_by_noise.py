"""Combined rows made again by gain and read noise (``CLIPDEV = noise``), which ccdproc lacks.

The model is given by MODRN, MODGN, MODFC and MODLN, for biases by CLIPRN: variance = fixed + light
/ gain. A value is rejected if it is more than CLIPSIG standard deviations from the lower median.
The variance of the median is added to that of the value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ccdflow.verify.combined.kept_values import (
    are_kept_by_scatter,
    combine_kept_values,
    count_invalid,
    part_in_rows,
)
from ccdflow.verify.combined.prepared_rows import RemadeRows
from ccdflow.verify.reading.verdict import OLDER, CannotRemake

# Fraction of a limit within which a value may be rejected or kept: the light is no better known.
_NEAR_LIMIT = 0.03
# A pixel at least this many standard errors above its surroundings has its own light.
_BRIGHT_SIGMA = 3.0


def combine_by_noise(prepared, account, hdu, rows, surroundings):
    """Return rows combined with two limits, a little below and above that of the noise model.

    Parameters
    ----------
    prepared : ccdflow.verify.combined.prepared_rows.PreparedRows
    account : ccdflow.verify.reading.accounts.CombinedAccount
    hdu : int
    rows : slice or numpy.ndarray of shape (k,), int
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
    stack, is_masked = prepared.stack, prepared.is_masked
    missing_keyword = "MODRN" if account.has_light else "CLIPRN"
    fixed, slope = _noise_terms(account.models[hdu], rows, stack.shape[1:], missing_keyword)
    levels, charge = prepared.levels(account), prepared.charge(account)
    is_good = np.isfinite(stack) & ~is_masked
    is_empty = ~is_good.any(axis=0)
    # Only pixels of darks need the light around them: a pixel of a flat has enough light itself.
    light = None if account.levels or not account.masters else surroundings(rows)
    is_kept_by_lower, is_kept_by_higher = is_good.copy(), is_good.copy()
    for sign, is_kept in ((-1, is_kept_by_lower), (1, is_kept_by_higher)):
        for _ in range(account.iterations):
            centre = np.where(is_empty, 0, _lower_median(stack, is_kept))
            light_of_pixels = _light_of_noise(centre, light, fixed, slope, len(stack))
            variance = (
                fixed + slope * np.maximum(light_of_pixels * levels + charge, 0)
            ) / levels**2
            count = np.maximum(is_kept.sum(axis=0), 1)
            total_variance = variance + np.where(is_kept, variance, 0).sum(axis=0) / count**2
            limit = account.clip * np.sqrt(total_variance) * (1 + sign * _NEAR_LIMIT)
            with np.errstate(invalid="ignore"):
                is_kept &= ~(np.abs(stack - centre) > limit)
    is_finite = np.isfinite(stack)
    are_in_mean = [
        np.where(is_empty, is_finite, is_kept) for is_kept in (is_kept_by_lower, is_kept_by_higher)
    ]
    images = [combine_kept_values(stack, is_in_mean, account.method) for is_in_mean in are_in_mean]
    variances = None
    if account.method == "average":
        variances = _variance_by_source(
            images[1],
            are_in_mean[1],
            model=(fixed, slope),
            levels=levels,
            charge=charge,
            light=light,
        )
    is_good &= ~is_empty
    return RemadeRows(
        *images,
        prepared.scale,
        "numpy: a noise model that ccdproc lacks",
        rejected_counts=tuple(
            (is_good & ~is_kept).sum(axis=0) for is_kept in (is_kept_by_lower, is_kept_by_higher)
        ),
        invalid_counts=count_invalid(stack, is_masked),
        variances=variances,
        is_kept_pair=(is_kept_by_lower, is_kept_by_higher),
    )


def _variance_by_source(image, is_kept, model, levels, charge, light):
    """Return two variances of the mean of the kept values: by the chosen and by the other light.

    A pixel has the light of its surroundings, or its own where it is brighter by `_BRIGHT_SIGMA`.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float64
        The combined pixels.
    is_kept : numpy.ndarray of shape (n, ny, nx), bool
        Whether each value is in the mean.
    model : (numpy.ndarray, numpy.ndarray) of shape (ny, nx), float64
        Fixed variance and its slope with light.
    levels : numpy.ndarray of shape (n, 1, 1), float64
        Level that each member was divided by.
    charge : numpy.ndarray of shape (n, ny, nx), float64, or float
        Charge of the subtracted dark in each member.
    light : numpy.ndarray of shape (ny, nx), float64, or None
        Light of the surroundings; None if each pixel's own counts.
    """
    (fixed, slope), inverse_levels, count = model, 1 / levels, is_kept.sum(axis=0)
    sum_of_squares = np.where(is_kept, inverse_levels**2, 0).sum(axis=0)
    inverse_sum = np.where(is_kept, inverse_levels, 0).sum(axis=0)
    charges = np.where(is_kept, charge * inverse_levels**2, 0).sum(axis=0)

    def variance_of(light_of_pixels):
        """Return the variance of pixels with this light."""
        light_sum = np.maximum(light_of_pixels * inverse_sum + charges, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (fixed * sum_of_squares + slope * light_sum) / count**2

    if light is None:
        return variance_of(image), variance_of(image)
    limit = _BRIGHT_SIGMA * np.sqrt((fixed + slope * np.maximum(light, 0)) / len(is_kept))
    with np.errstate(invalid="ignore"):
        has_own_light = image > light + limit
        is_doubtful = np.abs(image - light - limit) < _NEAR_LIMIT * limit
    chosen_light = np.where(has_own_light, image, light)
    other_light = np.where(has_own_light, light, image)
    return variance_of(chosen_light), variance_of(np.where(is_doubtful, other_light, chosen_light))


def add_variances(remade, prepared, account, hdu, rows, surroundings):
    """Return rows of darks or flats that ccdproc combined, with variances by the noise model.

    Parameters
    ----------
    remade : RemadeRows
    prepared : ccdflow.verify.combined.prepared_rows.PreparedRows
    account : ccdflow.verify.reading.accounts.CombinedAccount
    hdu : int
    rows : slice or numpy.ndarray of shape (k,), int
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
    is_kept = are_kept_by_scatter(prepared.stack, prepared.is_masked, account)
    light = None if account.levels else surroundings(rows)
    return replace(
        remade,
        variances=_variance_by_source(
            remade.image, is_kept, model=model, levels=levels, charge=charge, light=light
        ),
    )


def _light_of_noise(centre, light, fixed, slope, n_members):
    """Return the light that gives a pixel's noise: of its surroundings, or its own if brighter.

    Parameters
    ----------
    centre : numpy.ndarray of shape (ny, nx), float64
        The pixel's own light.
    light : numpy.ndarray of shape (ny, nx), float64, or None
        Light of the surroundings; None if each pixel's own counts.
    fixed, slope : numpy.ndarray of shape (ny, nx), float64
        Fixed variance, and its slope with light.
    n_members : int
        Number of members.
    """
    if light is None:
        return centre
    limit = _BRIGHT_SIGMA * np.sqrt((fixed + slope * np.maximum(light, 0)) / n_members)
    return np.where(centre > light + limit, centre, light)


def _lower_median(stack, is_kept):
    """Return the median of the kept values, (ny, nx); of an even number the lower middle one."""
    sorted_values = np.sort(np.where(is_kept, stack, np.inf), axis=0)
    middle_index = np.maximum((is_kept.sum(axis=0) - 1) // 2, 0)
    return np.take_along_axis(sorted_values, middle_index[None], axis=0)[0]


def _noise_terms(models, rows, shape, missing_keyword="MODRN"):
    """Return fixed variance and slope of the pixels of some rows; infinite where none is known.

    Parameters
    ----------
    models : sequence of ccdflow.verify.reading.accounts.ModelAccount
        One for each amplifier.
    rows : slice or numpy.ndarray of shape (k,), int
    shape : (int, int)
        Number of these rows, and of the columns.
    missing_keyword : str, optional
        The keyword that an older header lacks, for the error.
    """
    if not models:
        # Biases have their noise in CLIPRN, darks and flats in MODRN.
        raise CannotRemake(f"the header lacks {missing_keyword}: it is of an older version", OLDER)
    fixed, slope = np.full(shape, np.inf), np.zeros(shape)
    for model in models:
        part_of_amplifier = part_in_rows(model.place, rows)
        fixed[part_of_amplifier], slope[part_of_amplifier] = model.fixed_variance, model.slope
    return fixed, slope
