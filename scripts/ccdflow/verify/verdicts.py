"""Is a product what ccdproc makes? One verdict a product, with what was compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from ccdflow.verify import remake
from ccdflow.verify.accounts import (
    CannotRemake,
    account_of_frame,
    product_of,
    read_headers,
)
from ccdflow.verify.calibrated import verify_calibrated
from ccdflow.verify.combined import verify_combined
from ccdflow.verify.comparing import (
    OF_REDUCED,
    Differs,
    check_sums,
    same_bits,
    same_cards,
)

VERIFIED, DIFFERS, CANNOT = "verified", "differs", "cannot be made again"

_KINDS = {"reduced": "frame", "combined": "combined", "calibrated": "calibrated"}


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
            fields = verify_combined(headers, results / product, results, whole)
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
