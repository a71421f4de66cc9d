"""The result of a verification: the verdict on a product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

VERIFIED, DIFFERS, CANNOT = "verified", "differs", "cannot be made again"
"""The three verdicts on a product."""

FAILED = "verification failed"
"""No verdict on the product: an error of the verification's own code."""

MISSING, SOURCE_REPLACED, MODEL = "missing", "replaced", "model"
"""Why a product cannot be made again: a source is missing, was replaced, or its numbers have no
model."""

OLDER, STRANGER, UNREADABLE = "older", "stranger", "unreadable"
"""Why a product cannot be made again: another version made it, ccdflow did not, or it cannot be
read (docs/verify.md)."""

EXPECTABLE = (MISSING, SOURCE_REPLACED, MODEL, OLDER, STRANGER)
"""Words that a user may write into `verify_expected`; unreadable products are never expected."""


class CannotRemake(Exception):
    """A product that cannot be made again, with the reason, and a word for the reason.

    Parameters
    ----------
    reason : str
    cause : str
        One of the words of this module, `MISSING` to `UNREADABLE`.
    """

    def __init__(self, reason, cause):
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True)
class Verdict:
    """The result of a product's verification.

    Attributes
    ----------
    product : str
        Relative to the results folder.
    kind : str
        A kind of the chain: 'frame', 'bias', 'dark', 'flat', 'science' ...
    compared : str
        The comparison, and its tolerance, in words.
    pixels : int
        Number of pixels that were compared.
    largest : float
        Largest difference; NaN where no pixel was compared.
    unit : str
        Unit of the largest difference: adu or electron for pixels, s for a shutter's dead time,
        sigma for a night's table of bad pixels. '' without a difference, for a flat, whose mean is
        1, and for a map of bad pixels.
    verdict : {'verified', 'differs', 'cannot be made again', 'verification failed'}
    reason : str
        The difference, the reason against a remake, or the error of the verification.
    cause : str
        The word for the reason where a product cannot be made again.
    seconds : float
    """

    product: str
    kind: str
    compared: str = ""
    pixels: int = 0
    largest: float = float("nan")
    unit: str = ""
    verdict: str = VERIFIED
    reason: str = ""
    cause: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class NotedProduct:
    """The notes of a run on a product that it made.

    Attributes
    ----------
    kind : str
        A kind of the chain.
    key : str
        CCDFKEY of the product; '' where nothing was noted.
    content : str
        DATASUM of its first HDU with data, and after a hyphen the CRC-32 of all headers.
    basis : mapping of str to object
        Settings and sources, of which the key is the hash.
    """

    kind: str
    key: str = ""
    content: str = ""
    basis: Mapping[str, object] = field(default_factory=dict)
