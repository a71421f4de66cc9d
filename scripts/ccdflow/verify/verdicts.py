"""Is a product what ccdproc makes? One verdict a product, with what was compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from astropy.io.fits.verify import VerifyError

from ccdflow.verify.accounts import (
    CannotRemake,
    read_headers,
)
from ccdflow.verify.calibrated import verify_calibrated
from ccdflow.verify.combined import verify_combined
from ccdflow.verify.comparing import (
    Differs,
    check_sums,
)
from ccdflow.verify.detector import verify_detector
from ccdflow.verify.frames import verify_frame

VERIFIED, DIFFERS, CANNOT = "verified", "differs", "cannot be made again"

KINDS = {
    "reduced": "frame",
    "combined": "combined",
    "calibrated": "calibrated",
    "detector": "detector",
}
"""What the products in a folder of the results are verified as."""


_UNUSABLE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, VerifyError)
"""What cards raise that no product has, as they are followed."""


@dataclass(frozen=True)
class Verdict:
    """What became of a product's verification.

    Attributes
    ----------
    product : str
        Relative to the results folder.
    kind : {'frame', 'combined', 'calibrated', 'detector'}
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
    folder = product.partition("/")[0]
    kind = KINDS.get(folder, folder)
    raw, results = Path(raw), Path(results)
    try:
        content = (results / product).read_bytes()
        check_sums(content)
        headers = read_headers(content)
        fields = _verify_as(kind, headers, results / product, raw, results, whole)
    except CannotRemake as error:
        fields = {"verdict": CANNOT, "reason": str(error)}
    except Differs as error:
        fields = {"verdict": DIFFERS, "reason": str(error), "largest": error.largest}
        fields["pixels"] = error.pixels
    except _UNUSABLE as error:
        # Its sums are right, and its cards are no account of anything.
        fields = {"verdict": DIFFERS, "reason": f"its header cannot be followed: {error!r}"}
    return Verdict(product, kind, **fields, seconds=round(time.perf_counter() - began, 3))


def _verify_as(kind, headers, path, raw, results, whole):
    if kind == "frame":
        return verify_frame(headers, path, raw)
    if kind == "calibrated":
        return verify_calibrated(headers, path, results)
    if kind == "combined":
        return verify_combined(headers, path, results, whole)
    if kind == "detector":
        return verify_detector(headers, path, results)
    raise CannotRemake(f"nothing verifies the products in {kind}/")
