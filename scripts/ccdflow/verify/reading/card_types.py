"""The check of the types of cards: ccdflow writes no text for a number."""

from __future__ import annotations

import re

from astropy.io.fits.card import Undefined

from ccdflow.verify.reading.verdict import UNREADABLE, CannotRemake

# Matches cards whose values are numbers.
_NUMBERS = re.compile(
    r"NAMPS|NCOMBINE|NNIGHTS|NFLATS|BPNIGHTS|BPSHARE|CLIP(SIG|ITER|RN\d*)|OSC(ORDER|SIGMA|ITERS)"
    r"|MOD(RN|GN|FC|LN)\d*|IM(DRK|D|LVL|L|SEC|FLT)\d+|DARKSCAL|HOTRATE|LOWSIGMA|M[BDF]NOISE"
    r"|CR(SIGMA|CONTR|FWHM)|SHUTMEAN|QUANSTEP"
)
# Matches cards whose values are texts: names of files, sections or methods.
_TEXTS = re.compile(
    r"RAW(FILE|FP)|CCDF(KEY|NAME|CAM)|REDKEY|COMBMETH|CLIPDEV|OSCSTAT|OSCMODEL|OVERSCAN|OVERSC\d+"
    r"|TRIM\d*|(BIAS|DARK|FLAT)(IM|KEY|CUT)|IM(COM|C|OUT|O|KEY|USE)\d+|CALGRADE|COSMICS"
)


def check_types(headers):
    """Raise if a card of a product has another type than ccdflow gives it.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header

    Raises
    ------
    CannotRemake
        If a card has another type.
    """
    for header in headers:
        for card in header.cards:
            keyword = card.keyword
            # Only cards of ccdflow are read: a card of the camera may break the standard.
            if not (_NUMBERS.fullmatch(keyword) or _TEXTS.fullmatch(keyword)):
                continue
            value = None if isinstance(card.value, Undefined) else card.value
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if _NUMBERS.fullmatch(keyword) and not is_number:
                raise CannotRemake(f"{keyword} is {value!r}, and no number", UNREADABLE)
            if _TEXTS.fullmatch(keyword) and not isinstance(value, str):
                raise CannotRemake(f"{keyword} is {value!r}, and no text", UNREADABLE)
