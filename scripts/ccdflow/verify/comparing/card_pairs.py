"""Cards that a product must have because it has certain others: a deleted card is noticed."""

from __future__ import annotations

from ccdflow.verify.comparing.amplifiers import card, tails_of
from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.reading.accounts import is_of_first_version

# Groups of cards that are all there or all absent; numbered cards count for each amplifier.
_CARDS_TOGETHER = (
    ("LTV1", "LTV2", "LTM1_1", "LTM2_2"),
    ("CLIPSIG", "CLIPITER"),
    ("DATE-BEG", "DATE-END"),
    ("RNOISE", "CNOISE", "CNOISPR"),
    ("FLATSN", "FLATRMS"),
)
# Pairs of cards by the sort of a product: a header with the first card has the second one too.
_CARDS_WITH_OTHERS = {
    "frame": (("OVERSCAN", "OSCAXIS"), ("OVERSCAN", "BIASLVL"), ("OVERSCAN", "OVERRMS")),
    "combined": (("MODRN", "MODFC"), ("DARKRT", "NHOT")),
    "calibrated": (("SKYPRED", "MODRN"),),
}


def check_required(header, first_header, sort):
    """Raise if an image lacks a card that other cards of it require.

    Parameters
    ----------
    header, first_header : astropy.io.fits.Header
        Headers of an image and of the first HDU.
    sort : {'frame', 'combined', 'calibrated'}

    Raises
    ------
    Differs
        If such a card is absent.
    """

    def has(keyword, tail):
        """Return whether the image or the first HDU has the card of an amplifier."""
        return any(
            keyword in one_header or card(one_header, keyword, tail) is not None
            for one_header in (header, first_header)
        )

    for tail in tails_of(header):
        for names in _CARDS_TOGETHER:
            present_keywords = [name for name in names if has(name, tail)]
            if present_keywords and len(present_keywords) < len(names):
                missing_keyword = next(name for name in names if name not in present_keywords)
                raise Differs(
                    f"there is no card {missing_keyword}{tail},"
                    f" and {present_keywords[0]}{tail} is there"
                )
        for name, needed_keyword in _CARDS_WITH_OTHERS[sort]:
            if needed_keyword == "OSCAXIS" and is_of_first_version(first_header):
                continue
            if has(name, tail) and not has(needed_keyword, tail):
                raise Differs(f"there is no card {needed_keyword}{tail}, and {name}{tail} is there")


def must_have(header, keyword):
    """Raise unless a header has a card.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keyword : str

    Raises
    ------
    Differs
        If the card is absent.
    """
    if keyword not in header:
        raise Differs(f"there is no card {keyword}, which the product must have")
