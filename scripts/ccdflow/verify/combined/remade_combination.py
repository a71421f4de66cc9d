"""Combined frames made again, some rows at a time: by `ccdproc.combine` where it has the model.

ccdproc knows no rejection by gain and read noise (``CLIPDEV = noise``). That model is made again
here with numpy, from the header's MODRN, MODGN, MODFC and MODLN: variance = fixed + light / gain,
rejected what is further than CLIPSIG from the lower median; the centre's own variance counts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import ccdproc
import numpy as np
from astropy import units
from astropy.nddata import CCDData
from astropy.stats import mad_std, sigma_clip

from ccdflow.verify.combined.kept_values import middle_of, part_in_rows
from ccdflow.verify.combined.measuring import finite_median
from ccdflow.verify.comparing.amplifiers import places_without_level, tails_of
from ccdflow.verify.reading.accounts import product_of
from ccdflow.verify.reading.amplifier_places import place_of
from ccdflow.verify.reading.mask_bits import DEAD, MAD_TO_SIGMA, NO_DATA, SATURATED
from ccdflow.verify.reading.stored_rows import master_file, open_product, rows_of
from ccdflow.verify.reading.verdict import MODEL, OLDER, CannotRemake

# Part by which a limit is moved, to see which values are decided by the rounding.
_ON_LIMIT = 5e-4
# Part of a limit within which a value may be rejected or kept: light is known to that.
_NEAR_LIMIT = 0.03


@dataclass(frozen=True)
class RemadeRows:
    """Some rows of a combined image, made again.

    Attributes
    ----------
    image : numpy.ndarray
        (ny, nx), float64.
    other : numpy.ndarray of shape (ny, nx), float64
        The same, with values near the limit of rejection kept, where `image` rejects them.
    scale : float
        The largest value that went into a sum: float32 is rounded at its scale.
    maker : str
        'ccdproc', or 'numpy: a noise model that ccdproc lacks'.
    rejected : (numpy.ndarray, numpy.ndarray) of int64
        (ny, nx): how many values of each pixel are rejected in `image` and in `other`.
    invalid : numpy.ndarray of shape (ny, nx), int
        How many are not finite.
    variances : (numpy.ndarray, numpy.ndarray) of float64 or None
        (ny, nx), by the noise model, of the mean of the kept values; the second where a decision
        on its light went the other way.
    stack : numpy.ndarray of float64 or None
        (n, ny, nx): the values.
    kept : (numpy.ndarray, numpy.ndarray) of bool or None
        (n, ny, nx), which of them were kept in `image` and in `other`; None where nobody asked.
    mask : numpy.ndarray or None
        (ny, nx), int16: the bits that all members share.
    """

    image: np.ndarray
    other: np.ndarray
    scale: float
    maker: str
    rejected: tuple[np.ndarray, np.ndarray]
    invalid: np.ndarray
    variances: tuple[np.ndarray, np.ndarray] | None = None
    stack: np.ndarray | None = None
    kept: tuple[np.ndarray, np.ndarray] | None = None
    mask: np.ndarray | None = None


class PreparedRows(NamedTuple):
    """Some rows of all members of a combined frame, less their masters, over their levels.

    Attributes
    ----------
    stack, bits : numpy.ndarray of float64, and of int16
        (n, ny, nx): values, and their mask; a value with any bit is left out.
    dark : numpy.ndarray of float32 or float64, or None
        (ny, nx): the dark that was subtracted.
    scale : float
        The largest value that went into a sum.
    """

    stack: np.ndarray
    bits: np.ndarray
    dark: np.ndarray | None
    scale: float

    @property
    def is_masked(self):
        """Whether each value is masked, (n, ny, nx) bool."""
        return self.bits != 0

    def levels(self, account):
        """Return the level of each member, (n, 1, 1); 1 where the members were not divided."""
        return np.array(account.levels or [1.0] * len(self.stack))[:, None, None]

    def charge(self, account):
        """Return the charge subtracted from each member, (n, ny, nx); 0.0 without a dark."""
        if self.dark is None:
            return 0.0
        factors = np.array(account.masters["dark"].factors)[:, None, None]
        return factors * np.nan_to_num(self.dark.astype(np.float64))


def bands(rows, count, height):
    """Return slices of rows spread over an image: all of it where that is no more.

    Parameters
    ----------
    rows : int
        Of the image.
    count : int
        Number of bands.
    height : int
        Rows of a band.

    Returns
    -------
    list of slice
    """
    if count * height >= rows:
        return [slice(0, rows)]
    starts = np.linspace(0, rows - height, count).round().astype(int)
    return [slice(int(start), int(start) + height) for start in starts]


def combine_rows(account, results, hdu, rows, gains, surroundings=None, *, counts=True):
    """Combine the rows of a combined frame's members again.

    Parameters
    ----------
    account : ccdflow.verify.reading.accounts.CombinedAccount
    results : pathlib.Path
    hdu : int
    rows : slice
    gains : list of ((slice, slice), float)
        Factor of each amplifier on a flat; [] for none.
    surroundings : callable, optional
        Takes rows, returns the light around their pixels; needed for darks.
    counts : bool
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
        remade = _combine_by_noise(prepared, account, hdu, rows, surroundings)
    else:
        remade = _combine_by_ccdproc(
            stack, prepared.is_masked, account, prepared.scale, counts=counts
        )
        remade = _with_variances(remade, prepared, account, hdu, rows, surroundings)
    remade = replace(remade, stack=stack, mask=_common_mask(stack, prepared.bits))
    for place, factor in gains:
        part_of_amplifier = part_in_rows(place, rows)
        for image in (remade.image, remade.other):
            image[part_of_amplifier] *= factor
    return remade


def prepare_rows(account, results, hdu, rows):
    """Return some rows of all members, less their masters, over their levels.

    Parameters
    ----------
    account : ccdflow.verify.reading.accounts.CombinedAccount
    results : pathlib.Path
    hdu : int
    rows : slice or numpy.ndarray of int, shape (k,)

    Returns
    -------
    PreparedRows

    Raises
    ------
    CannotRemake
        If a member, or a master of one, is missing.
    """
    paths = [results / product_of(member) for member in account.members]
    values = [rows_of(path, hdu, rows, "member") for path in paths]
    bits = _masks(paths, hdu, rows, values, account)
    scale = max(float(np.nanmax(np.abs(value), initial=0.0)) for value in values)
    dark = None
    for kind, master in account.masters.items():
        path = master_file(master, kind, results)
        pixels = CCDData(rows_of(path, hdu, rows, kind, master.cut), unit=units.adu)
        dark = pixels.data if kind == "dark" else dark
        scale = max(scale, float(np.nanmax(np.abs(pixels.data))))
        values = [
            _subtract_master(value, kind, pixels, master.factors[n] if master.factors else 1.0)
            for n, value in enumerate(values)
        ]
    if account.levels:
        values = [v.astype(np.float64) / L for v, L in zip(values, account.levels, strict=True)]
        scale /= min(account.levels)
    return PreparedRows(np.array(values, dtype=np.float64), bits, dark, scale)


def _subtract_master(values, kind, master, factor):
    """Subtract a master from a member by ccdproc."""
    member = CCDData(values, unit=units.adu)
    if kind == "bias":
        return ccdproc.subtract_bias(member, master, add_keyword=None).data
    difference = ccdproc.subtract_dark(
        member,
        master,
        dark_exposure=1 * units.s,
        data_exposure=factor * units.s,
        scale=True,
        add_keyword=None,
    )
    return difference.data


def _masks(paths, hdu, rows, values, account):
    """Return the masks of the members: (n, ny, nx) int16. Biases are combined without them.

    Parameters
    ----------
    paths : list of pathlib.Path
        Of the members.
    hdu : int
    rows : slice or numpy.ndarray of int
    values : list of numpy.ndarray
        Pixels of those rows of each member: (ny, nx).
    account : ccdflow.verify.reading.accounts.CombinedAccount
    """
    bits = np.zeros((len(paths), *values[0].shape), np.int16)
    if not account.masters and not account.levels:
        return bits
    for number, path in enumerate(paths):
        name = f"MASK{hdu}" if hdu else "MASK"
        if name in open_product(path).images:
            bits[number] = rows_of(path, name, rows, "member")
        header = open_product(path).images[hdu].header
        if (ceiling := _ceiling(header)) is not None:
            bits[number][values[number] >= ceiling] |= SATURATED
        for tail in filter(lambda tail: f"AMPBAD{tail}" in header, tails_of(header)):
            y, x = place_of(header, tail)
            inside = np.isin(np.arange(header["NAXIS2"])[rows], np.r_[y])
            bits[number][inside, x] |= DEAD if header[f"AMPBAD{tail}"] == "dead" else SATURATED
        for y, x in (p for tail in tails_of(header) for p in places_without_level(header, tail)):
            inside = np.isin(np.arange(header["NAXIS2"])[rows], np.r_[y])
            bits[number][inside, x] |= NO_DATA
    return bits


def _common_mask(stack, bits):
    """Return the mask of the combined pixels: bits that all members share where none is good."""
    finite = np.isfinite(stack)
    good = (finite & (bits == 0)).any(axis=0)
    common = np.bitwise_and.reduce(np.where(finite, bits, np.int16(-1)), axis=0)
    return np.where(good, 0, np.where(finite.any(axis=0), common, NO_DATA)).astype(np.int16)


def _ceiling(header):
    """Return the lowest saturated value of a reduced member; None if an amplifier has none."""
    tails = [tail for tail in tails_of(header) if f"AMPBAD{tail}" not in header]
    tops = [header.get(f"AMPSAT{tail}") for tail in tails]
    if not tops or None in tops:
        return None
    levels = [header.get(f"BIASLV{tail}" if tail else "BIASLVL", 0.0) for tail in tails]
    return min(top - level for top, level in zip(tops, levels, strict=True))


# -- by ccdproc ------------------------------------------------------------------------------------


def _combine_by_ccdproc(stack, masked, account, scale, *, counts):
    """Combine by ccdproc.

    Parameters
    ----------
    stack : numpy.ndarray of float64
        Shape (n, ny, nx).
    masked : numpy.ndarray of bool
        The same shape, True for pixels that do not count.
    account : ccdflow.verify.reading.accounts.CombinedAccount
    scale : float
        The largest value, for the tolerance.
    counts : bool
        Whether the number of kept values is wanted.
    """
    # Its errors are not used, and take a fifth of its time.
    arguments = {"method": account.method, "combine_uncertainty_function": _no_errors}
    if account.clip is not None:
        if account.deviation not in ("mad", "std"):
            raise CannotRemake(f"ccdproc does not clip by {account.deviation!r}", MODEL)
        if account.iterations != 1:
            return _combine_by_repeated_clipping(stack, masked, account, scale)
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
                arguments[name] *= 1 - _ON_LIMIT
        image = np.asarray(ccdproc.combine(members, **arguments).data, dtype=np.float64)
        # ccdproc does not clip a pixel in which a value is missing.
        is_incomplete = (masked | ~np.isfinite(stack)).any(axis=0)
        if is_incomplete.any():
            image[is_incomplete] = _combine_incomplete(
                stack[:, is_incomplete], masked[:, is_incomplete], account
            )
        if account.clip is None or not account.has_light:
            kept = kept_by_scatter(stack, masked, account) if counts else np.True_
            left_out = _count_left_out(stack, masked, [kept])
            kept_masks = (kept, kept) if counts else None
            return RemadeRows(
                image=image,
                other=image.copy(),
                scale=scale,
                maker="ccdproc",
                rejected=left_out[0] * 2,
                invalid=left_out[1],
                kept=kept_masks,
            )
        # The product's members were float32: a value on the limit may be on its other side.
        for name in ("sigma_clip_low_thresh", "sigma_clip_high_thresh"):
            arguments[name] *= (1 + _ON_LIMIT) / (1 - _ON_LIMIT)
        other = np.asarray(ccdproc.combine(members, **arguments).data, dtype=np.float64)
        other[is_incomplete] = image[is_incomplete]
    kept = [kept_by_scatter(stack, masked, account, 1 + sign * _ON_LIMIT) for sign in (-1, 1)]
    left_out = _count_left_out(stack, masked, kept)
    return RemadeRows(image, other, scale, "ccdproc", *left_out, kept=tuple(kept))


def _no_errors(values, axis):
    return np.zeros(values.shape[1:])


def _combine_by_repeated_clipping(stack, masked, account, scale):
    """Clip by `astropy.stats.sigma_clip` and combine by `ccdproc.Combiner`.

    Its own `sigma_clipping` calls the same, but for one round: it forgets the values that an
    earlier one left out.
    """
    images, good = [], _values_that_count(stack, masked)
    spread = partial(mad_std, ignore_nan=True) if account.deviation == "mad" else np.nanstd
    for sign in (-1, 1):
        limit = account.clip * (1 + sign * _ON_LIMIT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clipped = sigma_clip(
                np.where(good, stack, np.nan),
                sigma=limit,
                axis=0,
                maxiters=account.iterations,
                # By names it takes values in again that an earlier round left out.
                cenfunc=np.nanmedian,
                stdfunc=spread,
            )
            combiner = ccdproc.Combiner([
                CCDData(values, mask=mask, unit=units.adu)
                for values, mask in zip(stack, np.ma.getmaskarray(clipped), strict=True)
            ])  # fmt: skip
            is_mean = account.method == "average"
            combined = combiner.average_combine() if is_mean else combiner.median_combine()
            image = np.where(good.any(axis=0), np.asarray(combined.data, dtype=np.float64), np.nan)
        is_empty = ~(np.isfinite(stack) & ~masked).any(axis=0)
        if is_empty.any():
            image[is_empty] = _combine_incomplete(stack[:, is_empty], masked[:, is_empty], account)
        images.append(image)
    kept = [kept_by_scatter(stack, masked, account, 1 + sign * _ON_LIMIT) for sign in (-1, 1)]
    maker = "ccdproc and repeated clipping by astropy"
    return RemadeRows(
        *images, scale, maker, *_count_left_out(stack, masked, kept), kept=tuple(kept)
    )


def _count_left_out(stack, masked, kept):
    """Return how many values are rejected, by either limit, and how many are not finite."""
    good = np.isfinite(stack) & ~masked
    return tuple((good & ~values).sum(axis=0) for values in kept), _count_invalid(stack, masked)


def _count_invalid(stack, masked):
    """Return how many values of each pixel count for nothing: not finite, or masked."""
    return (masked | ~np.isfinite(stack)).sum(axis=0)


def _combine_incomplete(values, masked, account):
    """Combine pixels with values that are masked or not finite: (n, k)."""
    kept = np.where(kept_by_scatter(values, masked, account), values, np.nan)
    return (np.nanmean if account.method == "average" else np.nanmedian)(kept, axis=0)


def _values_that_count(values, masked):
    """Return which values count: those not masked; all finite ones where all are masked."""
    finite = np.isfinite(values)
    good = finite & ~masked
    return np.where(good.any(axis=0), good, finite)


# -- by a noise model ------------------------------------------------------------------------------


def _combine_by_noise(prepared, account, hdu, rows, surroundings):
    """Combine with limits of the noise model, moved a little to either side.

    Parameters
    ----------
    prepared : PreparedRows
    account : ccdflow.verify.reading.accounts.CombinedAccount
    hdu : int
    rows : slice or numpy.ndarray of int
    surroundings : callable
        Called with rows; returns the light around each of their pixels, (ny, nx).
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
    variances = _variances(
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
        _count_invalid(stack, masked),
        variances,
        kept=kept,
    )


def _variances(image, kept, model, levels, charge, light):
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


def _with_variances(remade, prepared, account, hdu, rows, surroundings):
    """Add the variances of the noise model to rows of darks or flats that ccdproc combined.

    Parameters
    ----------
    remade : RemadeRows
    prepared : PreparedRows
    account : ccdflow.verify.reading.accounts.CombinedAccount
    hdu : int
    rows : slice or numpy.ndarray of int
    surroundings : callable
        Called with rows; returns the light around each of their pixels, (ny, nx).
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
        variances=_variances(
            remade.image, kept, model=model, levels=levels, charge=charge, light=light
        ),
    )


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
    good = _values_that_count(stack, masked)
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
    ordered = np.sort(np.where(keep, stack, np.inf), axis=0)
    middle_index = np.maximum((keep.sum(axis=0) - 1) // 2, 0)
    return np.take_along_axis(ordered, middle_index[None], axis=0)[0]


def _noise_terms(models, rows, shape, lacking="MODRN"):
    """Return fixed variance and slope of the pixels of some rows; infinite where none is known."""
    if not models:
        # The noise of a value of biases is in another card.
        raise CannotRemake(f"the header lacks {lacking}: it is of an older version", OLDER)
    fixed, slope = np.full(shape, np.inf), np.zeros(shape)
    for model in models:
        part_of_amplifier = part_in_rows(model.place, rows)
        fixed[part_of_amplifier], slope[part_of_amplifier] = model.fixed, model.slope
    return fixed, slope
