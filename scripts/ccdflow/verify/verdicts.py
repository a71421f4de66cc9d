"""Is a product what ccdproc makes? One verdict a product, with what was compared."""

from __future__ import annotations

import io
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdflow.verify import remake
from ccdflow.verify.accounts import (
    CannotRemake,
    account_of_combined,
    account_of_frame,
    product_of,
    read_headers,
)

VERIFIED, DIFFERS, CANNOT = "verified", "differs", "cannot be made again"

COMBINED_EPS = 2
"""float32 steps by which a combined pixel may differ: sums run in another order."""
_BANDS, _BAND_ROWS = 16, 8


@dataclass(frozen=True)
class Verdict:
    """What became of a product's verification.

    Attributes
    ----------
    product : str
        Relative to the results folder.
    kind : {'frame', 'combined'}
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


class _Differs(Exception):
    """A product that is not what ccdproc makes."""

    def __init__(self, reason, largest=float("nan"), pixels=0):
        super().__init__(reason)
        self.largest, self.pixels = largest, pixels


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
    kind = "frame" if product.startswith("reduced/") else "combined"
    raw, results = Path(raw), Path(results)
    try:
        content = (results / product).read_bytes()
        _check_sums(content)
        headers = read_headers(content)
        if kind == "frame":
            fields = _verify_frame(headers, results / product, raw)
        else:
            fields = _verify_combined(headers, results / product, results, whole)
    except CannotRemake as error:
        fields = {"verdict": CANNOT, "reason": str(error)}
    except _Differs as error:
        fields = {"verdict": DIFFERS, "reason": str(error), "largest": error.largest}
        fields["pixels"] = error.pixels
    return Verdict(product, kind, **fields, seconds=round(time.perf_counter() - began, 3))


def _check_sums(content):
    """Raise unless every HDU has a CHECKSUM and DATASUM, and both are right for its bytes.

    The FITS standard has the 32-bit ones' complement sum of all words of an HDU be -0. It is taken
    of the bytes as they are: astropy takes it of the header as it would write it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with fits.open(io.BytesIO(content), checksum=True, lazy_load_hdus=False) as hdus:
                headers = [hdu.header for hdu in hdus]
                places = [hdu.fileinfo() for hdu in hdus]
        except Exception as error:
            # Whatever astropy raises or warns of, the file is not as it was written.
            raise _Differs(f"its checksum is wrong: {error}") from None
    for number, (header, place) in enumerate(zip(headers, places, strict=True)):
        if not {"CHECKSUM", "DATASUM"} <= set(header):
            raise _Differs(f"HDU {number} has no checksum")
        end = place["datLoc"] + place["datSpan"]
        if _sum_of_words(content[place["hdrLoc"] : end]) != 0xFFFFFFFF:
            raise _Differs(f"the checksum of HDU {number} is wrong")
    if end != len(content):
        raise _Differs("bytes are behind its last HDU, or are missing there")


def _sum_of_words(content):
    """Return the 32-bit ones' complement sum of big-endian words."""
    total = int(np.frombuffer(content, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _verify_frame(headers, path, raw):
    account = account_of_frame(headers)
    source = raw / account.raw
    if not source.is_file():
        raise CannotRemake("the raw file is missing")
    found = remake.fingerprint_of(source)
    if found != account.fingerprint:
        raise _Differs(f"RAWFP is {account.fingerprint}, and the raw file has {found}")
    expected = product_of(account.raw)
    if not path.as_posix().endswith(expected):
        raise _Differs(f"RAWFILE is {account.raw}, which becomes {expected}")
    pixels = 0
    with fits.open(path, memmap=False) as hdus:
        for hdu, image in remake.remake_frame(account, raw).items():
            pixels += _same_bits(hdus[hdu].data, image)
    _check_overscan(account, raw)
    return {"compared": "bit for bit with ccdproc", "pixels": pixels, "largest": 0.0}


def _same_bits(product, again):
    native = product.astype(product.dtype.newbyteorder("="))
    again = again.astype(native.dtype)
    if native.shape != again.shape:
        raise _Differs(f"its shape is {native.shape}, and ccdproc gives {again.shape}")
    same = (native == again) | (np.isnan(native) & np.isnan(again))
    if not same.all():
        difference = np.abs(native.astype(np.float64) - again)
        raise _Differs(
            f"{int((~same).sum())} pixels differ", float(np.nanmax(difference)), native.size
        )
    return native.size


def _check_overscan(account, raw):
    """Compare the level and the noise in the header with those of the raw overscan."""
    for amplifier, level, noise in remake.overscan_figures(account, raw):
        where = f" of amplifier {amplifier.name}" if amplifier.name else ""
        if abs(amplifier.level - level) > 1e-5 * abs(level) + 1e-9:
            raise _Differs(f"the level{where} is {level:.6g}, and its card has {amplifier.level}")
        if noise and amplifier.noise is not None and abs(amplifier.noise / noise - 1) > 2e-3:
            raise _Differs(f"the noise{where} is {noise:.6g}, and its card has {amplifier.noise}")


def _verify_combined(headers, path, results, whole):
    account = account_of_combined(headers)
    pixels, largest = 0, 0.0
    with fits.open(path) as hdus:
        for hdu in account.hdus:
            rows = headers[hdu]["NAXIS2"]
            parts = [slice(0, rows)] if whole else remake.bands(rows, _BANDS, _BAND_ROWS)
            for part in parts:
                image = np.asarray(hdus[hdu].section[part, :], dtype=np.float64)
                again, largest_term = remake.combine_rows(account, results, hdu, part)
                # A dark is a small difference of large numbers: it is rounded as those are.
                scale = largest_term if account.bias else 1.0
                difference = _within(image, again, np.float32, COMBINED_EPS, scale)
                pixels, largest = pixels + image.size, max(largest, difference)
            if whole:
                _check_level(headers[hdu], hdus[hdu].data)
    how = "all rows" if whole else f"{_BANDS} bands of {_BAND_ROWS} rows"
    return {"compared": f"float32 rounding, {how}", "pixels": pixels, "largest": largest}


def _within(image, again, dtype, steps, scale=1.0):
    """Return the largest difference, where none is beyond some steps of the numbers' type."""
    if image.shape != again.shape:
        raise _Differs(f"its shape is {image.shape}, and ccdproc gives {again.shape}")
    empty = np.isnan(image)
    if (empty != np.isnan(again)).any():
        raise _Differs("pixels without a value are not those that ccdproc gives")
    difference = np.where(empty, 0, np.abs(image - again))
    limit = steps * np.finfo(dtype).eps * np.maximum(np.abs(again), scale)
    wrong = int((difference > np.where(empty, 1, limit)).sum())
    if wrong:
        raise _Differs(f"{wrong} pixels differ", float(difference.max()), image.size)
    return float(difference.max(initial=0.0))


def _check_level(header, image):
    level = float(np.nanmean(image, dtype=np.float64))
    if abs(header["IMGLEVEL"] - level) > 1e-5 * abs(level) + 1e-9:
        raise _Differs(f"the mean is {level:.6g}, and IMGLEVEL has {header['IMGLEVEL']}")
