"""Combined frames made again, some rows at a time: by `ccdproc.combine` where it has the model.

ccdproc knows no rejection by gain and read noise (``CLIPDEV = noise``). That model is made again
here with numpy, from the header's MODRN, MODGN, MODFC and MODLN: variance = fixed + light / gain,
rejected what is further than CLIPSIG from the lower median; the centre's own variance counts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import ccdproc
import numpy as np
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std

from ccdflow.verify.accounts import CannotRemake, product_of
from ccdflow.verify.meanings import MAD_TO_SIGMA

_BOX = 32
_ON_LIMIT = 5e-4
_NEAR_LIMIT = 0.03
"""Part of a limit within which a value may be rejected or kept: light is known to that."""


@dataclass(frozen=True)
class Again:
    """Some rows of a combined image, made again.

    Attributes
    ----------
    image : numpy.ndarray
        (ny, nx), float64.
    other : numpy.ndarray
        The same, with values near the limit of rejection kept, where `image` rejects them.
    scale : float
        The largest value that went into a sum: float32 is rounded at its scale.
    by : str
        'ccdproc', or 'numpy: a noise model that ccdproc lacks'.
    variances : (numpy.ndarray, numpy.ndarray) or None
        By the noise model, of the mean of what was kept: with the light of the pixel itself, and
        with that of its surroundings. The product has either, or a value between them.
    """

    image: np.ndarray
    other: np.ndarray
    scale: float
    by: str
    variances: tuple | None = None


def bands(rows, count, height):
    """Return slices of rows spread over an image: all of it where that is no more."""
    if count * height >= rows:
        return [slice(0, rows)]
    starts = np.linspace(0, rows - height, count).round().astype(int)
    return [slice(int(start), int(start) + height) for start in starts]


def rows_of(path, hdu, rows, what):
    """Return some rows of an image in a file, native.

    Raises
    ------
    CannotRemake
        If the file is gone.
    """
    if not path.is_file():
        raise CannotRemake(f"its {what} {path.name} is missing")
    place = _places(path).images[hdu]
    pixels = np.memmap(path, place.dtype, "r", offset=place.offset, shape=place.shape)
    return np.array(pixels[rows], dtype=place.dtype.newbyteorder("="))


@dataclass(frozen=True)
class _Place:
    """Where the pixels of an HDU are in its file: products are stored as they are, unscaled."""

    offset: int
    shape: tuple
    dtype: np.dtype


@dataclass(frozen=True)
class _Places:
    """Places of the HDUs by index and by name, and the value at which each HDU is saturated."""

    images: dict
    ceilings: dict


def _places(path):
    """Return the `_Places` of a product; its headers are read once for all bands of rows."""
    status = path.stat()
    return _read_places(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _read_places(path, size, time):
    images, ceilings = {}, {}
    with fits.open(path) as opened:
        for number, hdu in enumerate(opened):
            header = hdu.header
            if header["NAXIS"] != 2:
                continue
            letter = {-32: ">f4", -64: ">f8", 8: "u1", 16: ">i2", 32: ">i4"}[header["BITPIX"]]
            shape = header["NAXIS2"], header["NAXIS1"]
            images[number] = _Place(hdu.fileinfo()["datLoc"], shape, np.dtype(letter))
            images.setdefault(hdu.name, images[number])
            ceilings[number] = _ceiling(header)
    return _Places(images, ceilings)


def master_file(master, kind, results):
    """Return the path of a master that a header names.

    Raises
    ------
    CannotRemake
        If it is gone, or another has its name now.
    """
    path = results / master.name
    if not path.is_file():
        raise CannotRemake(f"its {kind} {master.name} is missing")
    if fits.getval(path, "CCDFKEY") != master.key:
        raise CannotRemake(f"its {kind} {master.name} was replaced by another")
    return path


def combine_rows(account, results, hdu, rows, gains):
    """Combine the rows of a combined frame's members again.

    Parameters
    ----------
    account : ccdflow.verify.accounts.CombinedAccount
    results : Path
    hdu : int
    rows : slice
    gains : list of ((slice, slice), float)
        Factor of each amplifier on a flat; [] for none.

    Returns
    -------
    Again

    Raises
    ------
    CannotRemake
    """
    paths = [results / product_of(member) for member in account.members]
    values = [rows_of(path, hdu, rows, "member") for path in paths]
    masked = _masks(paths, hdu, rows, values, account)
    scale = max(float(np.nanmax(np.abs(value), initial=0.0)) for value in values)
    dark = None
    for kind, master in account.masters.items():
        path = master_file(master, kind, results)
        pixels = CCDData(rows_of(path, hdu, rows, kind), unit=units.adu)
        dark = pixels.data if kind == "dark" else dark
        scale = max(scale, float(np.nanmax(np.abs(pixels.data))))
        values = [
            _less(value, kind, pixels, master.factors[n] if master.factors else 1.0)
            for n, value in enumerate(values)
        ]
    if account.levels:
        values = [v.astype(np.float64) / L for v, L in zip(values, account.levels, strict=True)]
        scale /= min(account.levels)
    stack = np.array(values, dtype=np.float64)
    if account.clip is not None and account.deviation == "noise":
        again = _by_noise(stack, masked, account, hdu, rows, dark, scale)
    else:
        again = _by_ccdproc(stack, masked, account, scale)
    for place, factor in gains:
        inside = _within(place, rows)
        for image in (again.image, again.other):
            image[inside] *= factor
    return again


def _less(values, kind, master, factor):
    """Subtract a master from a member by ccdproc."""
    member = CCDData(values, unit=units.adu)
    if kind == "bias":
        return ccdproc.subtract_bias(member, master, add_keyword=None).data
    less = ccdproc.subtract_dark(
        member,
        master,
        dark_exposure=1 * units.s,
        data_exposure=factor * units.s,
        scale=True,
        add_keyword=None,
    )
    return less.data


def _within(place, rows):
    low, high = max(place[0].start, rows.start), min(place[0].stop, rows.stop)
    return slice(low - rows.start, max(high, low) - rows.start), place[1]


def _masks(paths, hdu, rows, values, account):
    """Return which values were left out: (n, ny, nx) bool. Biases are combined without masks."""
    masked = np.zeros((len(paths), *values[0].shape), bool)
    if not account.masters and not account.levels:
        return masked
    for number, path in enumerate(paths):
        name = f"MASK{hdu}" if hdu else "MASK"
        if name in _places(path).images:
            masked[number] = rows_of(path, name, rows, "member") != 0
        if (ceiling := _places(path).ceilings[hdu]) is not None:
            masked[number] |= values[number] >= ceiling
    return masked


def _ceiling(header):
    """Return the reduced value from which on a member is saturated; None if not all have one."""
    count = header.get("NAMPS", 1)
    tails = [f"{n:02d}" for n in range(1, count + 1)] if count > 1 else [""]
    tops = [header.get(f"AMPSAT{tail}") for tail in tails]
    if None in tops:
        return None
    levels = [header.get(f"BIASLV{tail}" if tail else "BIASLVL", 0.0) for tail in tails]
    return min(top - level for top, level in zip(tops, levels, strict=True))


# -- by ccdproc ------------------------------------------------------------------------------------


def _by_ccdproc(stack, masked, account, scale):
    arguments = {"method": account.method}
    if account.clip is not None:
        if account.iterations != 1 or account.deviation not in ("mad", "std"):
            raise CannotRemake(
                f"ccdproc does not clip {account.iterations} times by {account.deviation}"
            )
        arguments |= {
            "sigma_clip": True,
            "sigma_clip_low_thresh": account.clip,
            "sigma_clip_high_thresh": account.clip,
            "sigma_clip_func": np.ma.median,
            "sigma_clip_dev_func": mad_std if account.deviation == "mad" else np.ma.std,
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        members = [CCDData(values, unit=units.adu) for values in stack]
        for name in ("sigma_clip_low_thresh", "sigma_clip_high_thresh"):
            if name in arguments and (account.masters or account.levels):
                arguments[name] *= 1 - _ON_LIMIT
        image = np.asarray(ccdproc.combine(members, **arguments).data, dtype=np.float64)
        # ccdproc does not clip a pixel in which a value is missing.
        odd = (masked | ~np.isfinite(stack)).any(axis=0)
        if odd.any():
            image[odd] = _without(stack[:, odd], masked[:, odd], account)
        if account.clip is None or not (account.masters or account.levels):
            return Again(image, image.copy(), scale, "ccdproc")
        # The product's members were float32: a value on the limit may be on its other side.
        for name in ("sigma_clip_low_thresh", "sigma_clip_high_thresh"):
            arguments[name] *= (1 + _ON_LIMIT) / (1 - _ON_LIMIT)
        other = np.asarray(ccdproc.combine(members, **arguments).data, dtype=np.float64)
        other[odd] = image[odd]
    return Again(image, other, scale, "ccdproc")


def _without(values, masked, account):
    """Combine pixels of which some values are masked or not finite: (n, k)."""
    good = _good(values, masked)
    kept = np.where(good, values, np.nan)
    if account.clip is not None:
        middle = np.nanmedian(kept, axis=0)
        if account.deviation == "mad":
            spread = MAD_TO_SIGMA * np.nanmedian(np.abs(kept - middle), axis=0)
        else:
            spread = np.nanstd(kept, axis=0)
        # Where all are masked, nothing is rejected.
        clipped = np.where(np.abs(kept - middle) > account.clip * spread, np.nan, kept)
        kept = np.where((good & ~masked).any(axis=0), clipped, kept)
    return (np.nanmean if account.method == "average" else np.nanmedian)(kept, axis=0)


def _good(values, masked):
    """Return which values count: those not masked; all finite ones where all are masked."""
    finite = np.isfinite(values)
    good = finite & ~masked
    return np.where(good.any(axis=0), good, finite)


# -- by a noise model ------------------------------------------------------------------------------


def _by_noise(stack, masked, account, hdu, rows, dark, scale):
    fixed, slope = _model(account.models[hdu], rows, stack.shape[1:])
    levels = np.array(account.levels or [1.0] * len(stack))[:, None, None]
    good = np.isfinite(stack) & ~masked
    none = ~good.any(axis=0)
    charge = 0.0
    if dark is not None:
        factors = np.array(account.masters["dark"].factors)[:, None, None]
        charge = factors * np.nan_to_num(dark.astype(np.float64))
    # Light near a dark's pixel; flats have so much of it that their own will do.
    light = None if account.levels else _around(np.where(good, stack, np.nan))
    keep = {-1: good.copy(), 1: good.copy()}
    for sign, kept in keep.items():
        for _ in range(account.iterations):
            centre = _lower_median(stack, kept)
            variance = (fixed + slope * np.maximum(_lit(centre, light, fixed, slope, len(stack))
                        * levels + charge, 0)) / levels**2  # fmt: skip
            count = np.maximum(kept.sum(axis=0), 1)
            whole = variance + np.where(kept, variance, 0).sum(axis=0) / count**2
            limit = account.clip * np.sqrt(whole) * (1 + sign * _NEAR_LIMIT)
            with np.errstate(invalid="ignore"):
                kept &= ~(np.abs(stack - centre) > limit)
    finite = np.isfinite(stack)
    images = [
        _middle(stack, np.where(none, finite, kept), account.method)
        for kept in (keep[-1], keep[1])
    ]  # fmt: skip
    kept = np.where(none, finite, keep[1])
    inverse = 1 / levels
    count = kept.sum(axis=0)
    whole, charges = np.where(kept, inverse, 0).sum(axis=0), np.where(kept, charge * inverse**2, 0)
    squares = np.where(kept, inverse**2, 0).sum(axis=0)
    variances = []
    for lit in (images[1], images[1] if light is None else light):
        seen = np.maximum(lit * whole + charges.sum(axis=0), 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            variances.append((fixed * squares + slope * seen) / count**2)
    by = "numpy: a noise model that ccdproc lacks"
    return Again(*images, scale, by, tuple(variances) if account.method == "average" else None)


def _lit(centre, light, fixed, slope, count):
    """Return the light that sets a pixel's noise: its surroundings', or its own if brighter."""
    if light is None:
        return centre
    reach = 3 * np.sqrt((fixed + slope * np.maximum(light, 0)) / count)
    return np.where(centre > light + reach, centre, light)


def _middle(stack, keep, method):
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")
        if method == "median":
            return np.nanmedian(np.where(keep, stack, np.nan), axis=0)
        return np.where(keep, stack, 0).sum(axis=0) / keep.sum(axis=0)


def _lower_median(stack, keep):
    ordered = np.sort(np.where(keep, stack, np.inf), axis=0)
    place = np.maximum((keep.sum(axis=0) - 1) // 2, 0)
    return np.take_along_axis(ordered, place[None], axis=0)[0]


def _model(models, rows, shape):
    """Return fixed variance and slope of the pixels of some rows; infinite where none is known."""
    if not models:
        raise CannotRemake("the header lacks MODRN")
    fixed, slope = np.full(shape, np.inf), np.zeros(shape)
    for model in models:
        inside = _within(model.place, rows)
        fixed[inside], slope[inside] = model.fixed, model.slope
    return fixed, slope


def _around(stack):
    """Return the median of all members in boxes of all these rows by some columns: (ny, nx)."""
    light = np.zeros(stack.shape[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for y in range(0, light.shape[0], 8):
            for x in range(0, light.shape[1], _BOX):
                box = stack[:, y : y + 8, x : x + _BOX]
                light[y : y + 8, x : x + _BOX] = np.nan_to_num(np.nanmedian(box))
    return light
