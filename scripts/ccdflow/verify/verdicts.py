"""Is a product what ccdproc makes? One verdict a product, with what was compared."""

from __future__ import annotations

import io
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from ccdflow.verify import calibrating, combining, remake
from ccdflow.verify.accounts import (
    CannotRemake,
    account_of_calibrated,
    account_of_combined,
    account_of_frame,
    gains_of,
    product_of,
    raw_file,
    read_headers,
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

_STRUCTURE = (
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|CHECKSUM|DATASUM|LONGSTRN|EXTNAME|EXTVER"
    r"|EXTLEVEL|INHERIT|(CCDP|ASTRP|NUMPY)VER|CCDF(LOW|KEY)|BUNIT"
)
OF_COMBINED = re.compile(_STRUCTURE + r"|BIASLVL|BIASLV\d\d|OVERRMS|EXPTIME|DATE-(BEG|END)")
"""Cards of a combined frame that are not those of its members."""
OF_CALIBRATED = re.compile(_STRUCTURE + r"|GAIN|SATURATE")
OF_REDUCED = re.compile(
    _STRUCTURE + r"|BZERO|BSCALE|BLANK|DATE|(CCD|DET|AMP|DATA|BIAS|TRIM)SEC\w*|CRPIX\d\w?|LT[MV]\w+"
    r"|CRVAL\d\w?|CD\d_\d\w?|PC\d_\d\w?|CDELT\d\w?|Z\w+|T(TYPE|FORM)\d+|TFIELDS|THEAP"
    r"|OVERSC\w*|TRIM\w*|GAIN\d\d|AMPGAIN|OSC\w+|NAMPS|DATSEC\d\d"
)
"""Cards that a reduced frame gives anew, so that they may differ from the raw frame's."""


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
    kind = _KINDS[product.partition("/")[0]]
    raw, results = Path(raw), Path(results)
    try:
        content = (results / product).read_bytes()
        _check_sums(content)
        headers = read_headers(content)
        if kind == "frame":
            fields = _verify_frame(headers, results / product, raw)
        elif kind == "calibrated":
            fields = _verify_calibrated(headers, results / product, results)
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
        # Cards of the camera that break the standard are kept as they are.
        warnings.simplefilter("ignore")
        try:
            with fits.open(io.BytesIO(content), lazy_load_hdus=False) as hdus:
                headers = [hdu.header for hdu in hdus]
                places = [hdu.fileinfo() for hdu in hdus]
        except Exception as error:
            # Whatever astropy raises, the file is not as it was written.
            raise _Differs(f"its headers cannot be read: {error}") from None
    end = 0
    for number, (header, place) in enumerate(zip(headers, places, strict=True)):
        if not {"CHECKSUM", "DATASUM"} <= set(header):
            raise _Differs(f"HDU {number} has no checksum")
        start, end = place["datLoc"], place["datLoc"] + place["datSpan"]
        if _sum_of_words(content[place["hdrLoc"] : end]) != 0xFFFFFFFF:
            raise _Differs(f"the checksum of HDU {number} is wrong")
        if str(_sum_of_words(content[start:end])) != str(header["DATASUM"]).strip():
            raise _Differs(f"the DATASUM of HDU {number} is wrong")
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
    source = remake.read_raw(account, raw)
    if source.fingerprint != account.fingerprint:
        raise _Differs(f"RAWFP is {account.fingerprint}, and the raw file has {source.fingerprint}")
    expected = product_of(account.raw)
    if not path.as_posix().endswith(expected):
        raise _Differs(f"RAWFILE is {account.raw}, which becomes {expected}")
    pixels = 0
    with fits.open(path, memmap=False) as hdus:
        for hdu, image in remake.remake_frame(account, source.images).items():
            pixels += _same_bits(hdus[hdu].data, image)
    _check_overscan(account, source.images)
    _same_cards(headers[0], source.first, OF_REDUCED)
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
        if noise and amplifier.noise is not None and abs(amplifier.noise / noise - 1) > 5e-3:
            raise _Differs(f"the noise{where} is {noise:.6g}, and its card has {amplifier.noise}")


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
    return _within(image, np.where(nearer, other, again.image), np.float32, steps, scale)


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
        raise _Differs(f"{int(wrong.sum())} standard errors are not what the noise model gives")


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
            _same_cards(headers[hdu], member[hdu].header, OF_COMBINED)


def _check_figures(header, first, hdus, hdu, account):
    """Compare the figures of an image that follow from its pixels, members and other cards."""
    image = hdus[hdu].data
    _same_figure(header, "IMGLEVEL", float(np.nanmean(image, dtype=np.float64)))
    _same_figure(header, "NEMPTY", int(np.count_nonzero(np.isnan(image))))
    _same_figure(first, "NCOMBINE", len(account.members))
    if account.levels:
        _same_figure(header, "FLATLVL", float(np.median(account.levels)))
        _same_figure(header, "FLATMIN", min(account.levels))
        _same_figure(header, "FLATMAX", max(account.levels))
        if "FLATSN" in header:
            _same_figure(header, "FLATRMS", 1 / header["FLATSN"], part=1e-4)
    if "NHOT" in header:
        mask = hdus[f"MASK{hdu}" if hdu else "MASK"].data
        _same_figure(header, "NHOT", int(np.count_nonzero(mask & HOT)))


def _same_figure(header, keyword, value, *, part=1e-5):
    """Raise unless a card has a value, to the digits that it is written with."""
    said = header.get(keyword)
    if said is None:
        raise _Differs(f"there is no card {keyword}, which would have {value:.6g}")
    if isinstance(said, str) or not abs(said - value) <= part * abs(value) + 1e-9:
        raise _Differs(f"{keyword} is {value:.6g}, and its card has {said}")


def _same_cards(header, source, own):
    """Raise unless the cards that a product has from its source have the source's values."""
    for keyword in source:
        if not keyword or keyword in _COMMENTARY or keyword not in header:
            continue
        if own.fullmatch(keyword):
            continue
        try:
            is_same = header[keyword] == source[keyword]
        except VerifyError:
            # No value can be read of it, neither here nor there.
            continue
        if is_same:
            continue
        raise _Differs(
            f"{keyword} is {source[keyword]!r} in its source, and its card has {header[keyword]!r}"
        )


def _verify_calibrated(headers, path, results):
    account = account_of_calibrated(headers)
    expected = product_of(raw_file(headers[0]))
    if not path.as_posix().endswith("calibrated/" + expected.removeprefix("reduced/")):
        raise _Differs(f"RAWFILE is {headers[0]['RAWFILE']}, which becomes {expected}")
    source = results / expected
    if not source.is_file():
        raise CannotRemake("its reduced frame is missing")
    pixels, largest, errors = 0, 0.0, False
    with fits.open(source, memmap=False) as frame, fits.open(path, memmap=False) as hdus:
        if frame[0].header["CCDFKEY"] != account.reduced_key:
            raise CannotRemake(f"its reduced frame {expected} was replaced by another")
        names = [each.name for each in hdus]
        images = [n for n, header in enumerate(headers) if "NAMPS" in header]
        gains = [gain for n in images for _, gain in gains_of(frame[n].header)]
        for hdu in sorted({0, *images}):
            _same_cards(headers[hdu], frame[hdu].header, OF_CALIBRATED)
        for hdu in images:
            again = calibrating.remake_image(
                account, frame[hdu].data, frame[hdu].header, hdu, results, all_gains=all(gains)
            )
            suffix = str(hdu) if hdu else ""
            image = np.asarray(hdus[hdu].data, dtype=np.float64)
            largest = max(largest, _same_calibrated(image, again, headers[hdu], account))
            pixels += image.size
            _check_sky(headers[hdu], hdus[hdu].data.astype("f4"))
            if f"UNCERT{suffix}" in names:
                error, errors = hdus[f"UNCERT{suffix}"].data, True
                if wrong := calibrating.wrong_errors(error, again, headers[hdu]):
                    raise _Differs(wrong)
            if f"MASK{suffix}" in names:
                _check_mask(hdus[f"MASK{suffix}"].data, again, account, headers[hdu], headers[0])
    how = ", its standard errors within what the header's terms give" if errors else ""
    return {
        "compared": f"{COMBINED_EPS} steps of float32 with ccdproc{how}",
        "pixels": pixels,
        "largest": largest,
    }


def _same_calibrated(image, again, header, account):
    if header["BUNIT"] != again.unit:
        raise _Differs(f"the unit is {again.unit}, and BUNIT has {header['BUNIT']}")
    for kind, keyword in (("bias", "ZEROCOR"), ("dark", "DARKCOR"), ("flat", "FLATCOR")):
        name = account.masters[kind].name if kind in account.masters else None
        if name is not None and unquote(str(header.get(keyword))) != name:
            raise _Differs(f"{keyword} is not {name}")
    return _within(image, again.image, np.float32, COMBINED_EPS, np.abs(again.terms))


def _check_sky(header, image):
    """Compare level and noise of the sky: they are of some rows there, and of all here."""
    level, noise = calibrating.sky_of(image)
    said = [header.get(keyword) for keyword in ("SKYLVL", "SKYRMS")]
    if level is None or not noise or None in said or "unknown" in said:
        return
    if abs(said[0] - level) > 0.2 * noise:
        raise _Differs(f"SKYLVL is {level:.6g}, and its card has {said[0]}")
    # Of an image whose noise differs from place to place, two measures differ.
    if not 1 / 3 < said[1] / noise < 3:
        raise _Differs(f"SKYRMS is {noise:.6g}, and its card has {said[1]}")


def _check_mask(mask, again, account, header, first):
    dark = account.masters.get("dark")
    up = dark is not None and dark.factors[0] > 1
    # What the bad pixels of several nights say is in the mask as well, and names one file only.
    is_open = up or "BPMIM" in first
    if wrong := calibrating.wrong_bits(mask, again, is_open=is_open):
        raise _Differs(f"{wrong} pixels of the mask have other bits than the masters give")
    for keyword, count in calibrating.counts_of(mask).items():
        _same_figure(header, keyword, count)


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
