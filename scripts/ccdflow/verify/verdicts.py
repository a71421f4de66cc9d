"""Is a product what ccdproc makes? One verdict a product, with what was compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from ccdflow.verify import combining, remake
from ccdflow.verify.accounts import (
    CannotRemake,
    account_of_combined,
    account_of_frame,
    gains_of,
    product_of,
    read_headers,
)
from ccdflow.verify.calibrated import verify_calibrated
from ccdflow.verify.comparing import (
    OF_COMBINED,
    OF_REDUCED,
    Differs,
    check_sums,
    same_bits,
    same_cards,
    same_figure,
    within,
)
from ccdflow.verify.meanings import HOT

VERIFIED, DIFFERS, CANNOT = "verified", "differs", "cannot be made again"

COMBINED_EPS = 2
"""float32 steps by which a combined pixel may differ: sums run in another order."""
_BANDS, _BAND_ROWS = 16, 8
_FEWEST_BANDS, _VALUES = 4, 6_000_000
"""Of very many members fewer bands are made again: so many values of them."""
_OF_ERROR, _OF_DARK_ERROR = (0.999, 1.001), (0.7, 1.5)
"""Of the noise model's standard error; the light around a dark's pixel is known only roughly."""
_KINDS = {"reduced": "frame", "combined": "combined", "calibrated": "calibrated"}
_COMMENTARY = ("COMMENT", "HISTORY")


_UNUSABLE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, VerifyError)
"""What cards raise that no product has, as they are followed."""


@dataclass(frozen=True)
class Verdict:
    """What became of a product's verification.

    Attributes
    ----------
    product : str
        Relative to the results folder.
    kind : {'frame', 'combined', 'calibrated'}
    compared : str
        Against what, and how closely.
    pixels : int
        Pixels compared.
    largest : float
        Largest difference, adu; NaN where none was compared.
    verdict : {'verified', 'differs', 'cannot be made again'}
    reason : str
        What differs, or why it cannot be made again.
    seconds : float
    """

    product: str
    kind: str
    compared: str = ""
    pixels: int = 0
    largest: float = float("nan")
    verdict: str = VERIFIED
    reason: str = ""
    seconds: float = 0.0


def verify(product, *, raw, results, whole=False):
    """Make a product again and compare it.

    Parameters
    ----------
    product : str
        Relative to the results folder.
    raw, results : path-like
        Folders.
    whole : bool
        Whether all rows of a combined frame are made again, instead of some bands of them.

    Returns
    -------
    Verdict
    """
    began = time.perf_counter()
    kind = _KINDS[product.partition("/")[0]]
    raw, results = Path(raw), Path(results)
    try:
        content = (results / product).read_bytes()
        check_sums(content)
        headers = read_headers(content)
        if kind == "frame":
            fields = _verify_frame(headers, results / product, raw)
        elif kind == "calibrated":
            fields = verify_calibrated(headers, results / product, results)
        else:
            fields = _verify_combined(headers, results / product, results, whole)
    except CannotRemake as error:
        fields = {"verdict": CANNOT, "reason": str(error)}
    except Differs as error:
        fields = {"verdict": DIFFERS, "reason": str(error), "largest": error.largest}
        fields["pixels"] = error.pixels
    except _UNUSABLE as error:
        # Its sums are right, and its cards are no account of anything.
        fields = {"verdict": DIFFERS, "reason": f"its header cannot be followed: {error!r}"}
    return Verdict(product, kind, **fields, seconds=round(time.perf_counter() - began, 3))


def _verify_frame(headers, path, raw):
    account = account_of_frame(headers)
    source = remake.read_raw(account, raw)
    if source.fingerprint != account.fingerprint:
        raise Differs(f"RAWFP is {account.fingerprint}, and the raw file has {source.fingerprint}")
    expected = product_of(account.raw)
    if not path.as_posix().endswith(expected):
        raise Differs(f"RAWFILE is {account.raw}, which becomes {expected}")
    pixels = 0
    with fits.open(path, memmap=False) as hdus:
        for hdu, image in remake.remake_frame(account, source.images).items():
            pixels += same_bits(hdus[hdu].data, image)
    _check_overscan(account, source.images)
    same_cards(headers[0], source.first, OF_REDUCED)
    return {"compared": "bit for bit with ccdproc", "pixels": pixels, "largest": 0.0}


def _check_overscan(account, raw):
    """Compare the level and the noise in the header with those of the raw overscan."""
    for amplifier, level, noise in remake.overscan_figures(account, raw):
        where = f" of amplifier {amplifier.name}" if amplifier.name else ""
        if abs(amplifier.level - level) > 1e-5 * abs(level) + 1e-9:
            raise Differs(f"the level{where} is {level:.6g}, and its card has {amplifier.level}")
        if noise and amplifier.noise is not None and abs(amplifier.noise / noise - 1) > 5e-3:
            raise Differs(f"the noise{where} is {noise:.6g}, and its card has {amplifier.noise}")


def _verify_combined(headers, path, results, whole):
    account = account_of_combined(headers)
    pixels, largest, makers = 0, 0.0, set()
    gains = _ratios(headers, account) if account.levels else {}
    a_band = len(account.members) * _BAND_ROWS * max(headers[hdu]["NAXIS1"] for hdu in account.hdus)
    count = min(max(_VALUES // a_band, _FEWEST_BANDS), _BANDS)
    _check_kept_cards(headers, account, results)
    with fits.open(path) as hdus:
        for hdu in account.hdus:
            rows = headers[hdu]["NAXIS2"]
            parts = [slice(0, rows)] if whole else combining.bands(rows, count, _BAND_ROWS)
            for part in parts:
                image = np.asarray(hdus[hdu].section[part, :], dtype=np.float64)
                again = combining.combine_rows(account, results, hdu, part, gains.get(hdu, ()))
                makers.add(again.by)
                largest = max(largest, _same_combined(image, again, account))
                _check_errors(hdus, hdu, part, again, account, gains.get(hdu, ()))
                pixels += image.size
            _check_figures(headers[hdu], headers[0], hdus, hdu, account)
    how = "all rows" if whole else f"{count} bands of {_BAND_ROWS} rows"
    by = " and ".join(sorted(makers))
    return {
        "compared": f"float32 rounding with {by}, {how}",
        "pixels": pixels,
        "largest": largest,
    }


def _same_combined(image, again, account):
    """Return the largest difference; a value near the limit of rejection is in or out."""
    # A dark is a small difference of large numbers: it is rounded as those are.
    scale = again.scale if account.masters or account.levels else 1.0
    steps = COMBINED_EPS + 2 * bool(account.levels)
    other = np.where(np.isnan(again.image), np.nan, again.other)
    nearer = np.abs(image - other) < np.abs(image - again.image)
    return within(image, np.where(nearer, other, again.image), np.float32, steps, scale)


def _check_errors(hdus, hdu, part, again, account, gains):
    """Compare UNCERT with the noise model, where the header has one."""
    name = f"UNCERT{hdu}" if hdu else "UNCERT"
    is_scatter = not account.masters and not account.levels
    if is_scatter or again.variances is None or name not in [each.name for each in hdus]:
        return
    error = np.asarray(hdus[name].section[part, :], dtype=np.float64)
    bounds = np.sqrt(np.sort(again.variances, axis=0))
    for place, factor in gains:
        bounds[:, :, place[1]] *= factor
    is_lit = any(model.gain for model in account.models[hdu]) and not account.levels
    least, most = _OF_DARK_ERROR if is_lit else _OF_ERROR
    with np.errstate(invalid="ignore"):
        within = (error >= bounds[0] * least) & (error <= bounds[1] * most)
    wrong = ~within & np.isfinite(bounds[1]) & (again.image == again.other)
    if wrong.any():
        raise Differs(f"{int(wrong.sum())} standard errors are not what the noise model gives")


def _ratios(headers, account):
    """Return {HDU: [(place, gain over the mean gain)]} of a flat whose gains are known."""
    found = {hdu: gains_of(headers[hdu]) for hdu in account.hdus}
    gains = [gain for pairs in found.values() for _, gain in pairs]
    if None in gains or len(set(gains)) == 1:
        return {}
    mean = sum(gains) / len(gains)
    return {hdu: [(place, gain / mean) for place, gain in pairs] for hdu, pairs in found.items()}


def _check_kept_cards(headers, account, results):
    """Compare the cards that all members have alike with those of the first member."""
    path = results / product_of(account.members[0])
    if not path.is_file():
        raise CannotRemake(f"its member {path.name} is missing")
    with fits.open(path) as member:
        for hdu in {0, *account.hdus}:
            same_cards(headers[hdu], member[hdu].header, OF_COMBINED)


def _check_figures(header, first, hdus, hdu, account):
    """Compare the figures of an image that follow from its pixels, members and other cards."""
    image = hdus[hdu].data
    same_figure(header, "IMGLEVEL", float(np.nanmean(image, dtype=np.float64)))
    same_figure(header, "NEMPTY", int(np.count_nonzero(np.isnan(image))))
    same_figure(first, "NCOMBINE", len(account.members))
    if account.levels:
        same_figure(header, "FLATLVL", float(np.median(account.levels)))
        same_figure(header, "FLATMIN", min(account.levels))
        same_figure(header, "FLATMAX", max(account.levels))
        if "FLATSN" in header:
            same_figure(header, "FLATRMS", 1 / header["FLATSN"], part=1e-4)
    if "NHOT" in header:
        mask = hdus[f"MASK{hdu}" if hdu else "MASK"].data
        same_figure(header, "NHOT", int(np.count_nonzero(mask & HOT)))
