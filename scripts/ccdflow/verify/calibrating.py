"""Calibrated frames made again by `ccdproc.subtract_bias`, `subtract_dark` and `flat_correct`."""

from __future__ import annotations

from dataclasses import dataclass

import ccdproc
import numpy as np
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData

from ccdflow.verify.accounts import CannotRemake, gains_of
from ccdflow.verify.combining import master_file
from ccdflow.verify.meanings import HOT, MAD_TO_SIGMA, SATURATED, UNCALIBRATED, UNLIT

_LEAST_FLAT, _UNLIT_BELOW = 1e-3, 0.2
_OF_FRAMES = 1 | 2 | 4
_ADU = ("adu", "adus", "dn", "count", "counts")


@dataclass(frozen=True)
class Again:
    """One image of a calibrated frame, made again.

    Attributes
    ----------
    image : numpy.ndarray
        (ny, nx), float64.
    terms : numpy.ndarray
        (ny, nx): the largest term of each pixel's sum, in its unit: float32 is rounded at that.
    mask : numpy.ndarray
        (ny, nx), int16: the bits that masters and missing values set.
    unit : str
    factor : numpy.ndarray
        (ny, nx): of a reduced pixel's adu in the product, the flat divided out.
    flat : numpy.ndarray or None
    """

    image: np.ndarray
    terms: np.ndarray
    mask: np.ndarray
    unit: str
    factor: np.ndarray
    flat: np.ndarray | None


def remake_image(account, reduced, header, hdu, results, *, all_gains):
    """Calibrate one image of a reduced frame again.

    Parameters
    ----------
    account : ccdflow.verify.accounts.CalibratedAccount
    reduced : numpy.ndarray
        (ny, nx), its pixels.
    header : astropy.io.fits.Header
        Of its HDU.
    hdu : int
    results : Path
    all_gains : bool
        Whether the gains of all amplifiers of the frame are known.

    Returns
    -------
    Again

    Raises
    ------
    CannotRemake
        If a master is gone or was replaced.
    """
    unit = str(header.get("BUNIT", "adu"))
    in_adu = unit.lower() in _ADU
    ccd = CCDData(reduced.astype(np.float64), unit=units.adu)
    terms, mask, flat = np.abs(ccd.data), np.where(np.isfinite(ccd.data), 0, 2), None
    for kind, master in account.masters.items():
        pixels, flags = _read(master_file(master, kind, results), hdu, kind)
        mask |= flags
        if kind == "bias":
            terms = np.fmax(terms, np.abs(pixels.data))
            ccd = ccdproc.subtract_bias(ccd, pixels, add_keyword=None)
        elif kind == "dark":
            scale = master.factors[0]
            terms = np.fmax(terms, np.abs(scale * pixels.data))
            ccd = ccdproc.subtract_dark(
                ccd,
                pixels,
                dark_exposure=1 * units.s,
                data_exposure=scale * units.s,
                scale=True,
                add_keyword=None,
            )
        else:
            flat = pixels.data
            ccd = ccdproc.flat_correct(ccd, pixels, norm_value=1, add_keyword=None)
    image = np.array(ccd.data)
    factor = np.ones(image.shape)
    if in_adu and all_gains:
        for place, gain in gains_of(header):
            part = CCDData(image[place], unit=units.adu)
            image[place] = ccdproc.gain_correct(part, gain * units.electron / units.adu).data
            factor[place] = gain
    now = "electron" if in_adu and all_gains else unit
    if flat is not None:
        factor /= flat
    return Again(image, terms * factor, mask.astype(np.int16), now, factor, flat)


def _read(path, hdu, kind):
    """Return a master's pixels, and the mask bits that it gives a frame.

    A pixel without a value becomes the median (of a flat: 1, as does one below 0.001).
    """
    with fits.open(path) as opened:
        data = np.array(opened[hdu].data, dtype=np.float64)
        name = f"MASK{hdu}" if hdu else "MASK"
        names = [each.name for each in opened]
        stored = np.array(opened[name].data, np.int64) if name in names else np.zeros(data.shape)
    stored = stored.astype(np.int64)
    flags = np.where(stored & _OF_FRAMES, UNCALIBRATED, 0) | (stored & ~_OF_FRAMES)
    absent = ~np.isfinite(data)
    if absent.all():
        raise CannotRemake(f"its {kind} {path.name} has no pixel with a value")
    flags[absent] |= UNCALIBRATED
    if kind == "flat":
        with np.errstate(invalid="ignore"):
            flags[~absent & (data < np.float32(_UNLIT_BELOW))] |= UNLIT
            low = ~absent & (data < np.float32(_LEAST_FLAT))
        flags[low] |= UNCALIBRATED
        data[absent | low] = 1.0
        return CCDData(data, unit=units.dimensionless_unscaled), flags
    # The median of float32 values, as the frame's pixels are.
    data[absent] = np.median(data[~absent].astype(np.float32))
    return CCDData(data, unit=units.adu), flags


def wrong_bits(mask, again, *, is_open):
    """Return how many pixels lack a bit that a master sets, or have one that nothing sets.

    With `is_open` others than the masters make hot pixels: a dark scaled up, or bad pixels.
    """
    lacking = (mask & again.mask) != again.mask
    certain = UNLIT | 2 | (0 if is_open else HOT)
    surplus = (mask & ~again.mask & certain) != 0
    return int(np.count_nonzero(lacking | surplus))


def wrong_errors(error, again, header):
    """Return in words what is wrong with the standard errors, '' if nothing is.

    Each is at least what read noise and rounding give; and their median over the good pixels is
    within 5 % of the sum of the terms that the header names, with the light of the pixel itself.
    """
    noises = _read_noises(header)
    if not noises:
        return ""
    floor = np.zeros(again.image.shape)
    for place, noise in noises:
        floor[place] = noise
    floor = floor * again.factor
    finite = np.isfinite(again.image) & (again.factor > 0)
    if not (error[finite] >= floor[finite] * (1 - 5e-3)).all():
        return "standard errors are below the read noise"
    if not np.isfinite(error[finite]).all():
        return "standard errors are not finite"
    flat = 1.0 if again.flat is None else again.flat
    one = _one_photon(again, header)
    level = _card(header, "OSCNOI", "OSCNOISE")
    before = (floor * flat) ** 2 + level**2
    before = before + sum(_card(header, name, name) ** 2 for name in ("MBNOISE", "MDNOISE"))
    light = np.maximum(again.image, 0) * flat
    before = before + light * one + (_card(header, "MFNOISE", "MFNOISE") * light) ** 2
    good = finite & (again.image > -5 * error)
    ratio = float(np.median(error[good] * (flat[good] if again.flat is not None else 1.0)
                            / np.sqrt(before[good])))  # fmt: skip
    if abs(ratio - 1) > 0.05:
        return f"the median standard error is {ratio:.4f} of what the header's terms give"
    return ""


def _one_photon(again, header):
    """Return the variance that a unit of light adds, by the gain that the flats show if any."""
    gains = [gain for _, gain in gains_of(header) if gain]
    measured = [header.get(keyword) for keyword in _keywords(header, "GAINME", "GAINMEAS")]
    measured = [gain for gain in measured if isinstance(gain, int | float)] or gains
    if not measured:
        return 1.0 if again.unit == "electron" else 0.0
    one = len(measured) / sum(measured)
    return one * sum(gains) / len(gains) if again.unit == "electron" and gains else one


def _read_noises(header):
    return [
        (place, header[keyword])
        for (place, _), keyword in zip(
            gains_of(header), _keywords(header, "MODRN", "MODRN"), strict=True
        )
        if keyword in header
    ]


def _card(header, numbered, alone):
    found = [header.get(keyword) for keyword in _keywords(header, numbered, alone)]
    found = [value for value in found if isinstance(value, int | float)]
    found = found or [header.get(alone, 0.0)]
    return max(value if isinstance(value, int | float) else 0.0 for value in found)


def _keywords(header, numbered, alone):
    count = header.get("NAMPS", 1)
    return [f"{numbered}{n:02d}" for n in range(1, count + 1)] if count > 1 else [alone]


def counts_of(mask):
    """Return the numbers of pixels that the header's NSAT, NHOT and NUNCAL are to have."""
    return {
        keyword: int(np.count_nonzero(mask & bit))
        for keyword, bit in (("NSAT", SATURATED), ("NHOT", HOT), ("NUNCAL", UNCALIBRATED))
    }


def sky_of(image):
    """Return median and noise of an image: (level, rms), (None, None) of one without values.

    The noise is that of differences between a pixel and its neighbour but one in the next row.
    """
    finite = image[np.isfinite(image)]
    steps = np.abs(image[1:, 2:] - image[:-1, :-2])[::4]
    steps = steps[np.isfinite(steps)]
    if not finite.size or not steps.size:
        return None, None
    return float(np.median(finite[::5])), MAD_TO_SIGMA * float(np.median(steps)) / 2**0.5
