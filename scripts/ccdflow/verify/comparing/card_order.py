"""The order of a header's cards: the source's cards in their order, then those of ccdflow."""

from __future__ import annotations

import re

from ccdflow.verify.comparing.comparing import Differs

# Cards that may be anywhere in a header.
_COMMENTARY = ("COMMENT", "HISTORY", "", "CONTINUE")
# Matches a keyword with its number: IMCMB012 is IMCMB and 012.
_NUMBERED_KEYWORD = re.compile(r"(\D*?)(\d+)$")
# Keywords of the cards on a master, in their order, for the name of a kind.
_KEYWORDS_OF_A_MASTER = ("{0}IM", "{0}KEY", "{0}DT", "{0}CUT")


def _keywords_of_masters(*names):
    """Return the keywords of the cards on masters, for each of some kinds in order."""
    return tuple(keyword.format(name) for name in names for keyword in _KEYWORDS_OF_A_MASTER)


VERSIONS = ("CCDFLOW", "CCDPVER", "ASTRPVER", "NUMPYVER")
"""Cards with the versions of programs."""

REDUCED_ORDER = (
    *VERSIONS, "RAWFILE", "RAWFP", "CCDFKEY", "CCDFCAM",
    "OSCSTAT", "OSCMODEL", "OSCORDER", "OSCSIGMA", "OSCITERS", "NAMPS",
    ("AMPNAM", "DATSEC", "OVERSC", "OSCAXI", "BIASLV", "OVRRMS", "TRIM", "AMPHDU", "AMPFLP",
     "AMPSAT", "AMPTOP", "AMPFUL", "GAIN", "AMPBAD", "OSCSAT"),
    "DATSEC", "OVERSCAN", "OSCAXIS", "BIASLVL", "OVERRMS", "TRIM", "AMPHDU", "AMPFLIP", "AMPSAT",
    "AMPTOP", "AMPFULL", "AMPGAIN", "AMPBAD", "OSCSAT", "DATASEC", "BUNIT", "CHECKSUM", "DATASUM",
)  # fmt: skip
"""The cards of a reduced frame, in their order; those of a tuple are numbered by amplifier."""

COMBINED_ORDER = (
    "NCOMBINE", "DATE-BEG", "DATE-END", "COMBMETH", "CLIPSIG", "CLIPITER", ("IMCOM",), ("IMC",),
    ("IMOUT",), ("IMO",), "CCDFNAME", *_keywords_of_masters("BIAS", "DARK"), ("IMDRK",), ("IMD",),
    "NREJECT", "NINVALID", "NEMPTY", "IMGLEVEL", ("BIASLV", "RNOISE", "CNOISE", "CNOISP"),
    "BIASLVL", "RNOISE", "CNOISE", "CNOISPR", "CLIPRN", ("CLIPRN",), "MBNOISE", "MDNOISE",
    "MODRN", "MODGN", "MODFC", "MODLN", ("MODRN", "MODGN", "MODFC", "MODLN"),
    "DARKRT", ("DARKRT",), "NHOT", ("IMLVL",), ("IML",),
    "FLATLVL", "FLATMIN", "FLATMAX", "FLATSN", "FLATRMS", ("FLATR",), "GAINMEAS", ("GAINME",),
    "CHECKSUM", "DATASUM",
)  # fmt: skip
"""The cards of a combined bias, dark or flat, in their order."""

CALIBRATED_ORDER = (
    "REDKEY", *_keywords_of_masters("BIAS"),
    "DARKIM", "DARKKEY", "DARKDT", "DARKCUT", "DARKSCAL", "DARKDTMP",
    *_keywords_of_masters("FLAT"), "CALGRADE", "ZEROCOR", "DARKCOR", "FLATCOR",
    "SATURATE", "MBNOISE", "MDNOISE", "MFNOISE", "SKYLVL", "SKYRMS", "SKYPRED",
    ("GAINME", "SATMEA", "LINRAW"), "GAINMEAS", "SATMEAS", "LINRAW",
    "MODRN", ("MODRN",), "OSCNOISE", ("OSCNOI",), "NSAT", "NHOT", "NUNCAL", "NCOSMIC", "COSMICS",
    "CRSIGMA", "CRCONTR", "CRFWHM", "CHECKSUM", "DATASUM",
)  # fmt: skip
"""The cards that a calibrated frame has in addition, in their order."""

COMMON_GAIN_ORDER = tuple(
    name
    for each in CALIBRATED_ORDER
    if each != "GAINMEAS"
    for name in (("GAINMEAS", each) if each == "CALGRADE" else (each,))
)
"""The cards of a first header with the factor of all pixels in GAINMEAS, in their order: a
correction of the whole frame stands before the grade."""


def check_order(header, source, order, renewed_cards):
    """Raise unless a header has the cards of its source first, and both sorts in their order.

    Parameters
    ----------
    header : astropy.io.fits.Header
    source : astropy.io.fits.Header or None
        The header whose cards the product has; None where it has none.
    order : sequence of (str or tuple of str)
        As `REDUCED_ORDER`.
    renewed_cards : re.Pattern
        Cards that may be anywhere, if the source has them as well.

    Raises
    ------
    Differs
        If a card is after one that must follow it.
    """
    place_in_source = (
        {} if source is None else {keyword: n for n, keyword in reversed(list(enumerate(source)))}
    )
    ranks, last_rank, last_keyword = _ranks_of_keywords(order), None, None
    for keyword in dict.fromkeys(header):
        if keyword in _COMMENTARY or (
            keyword in place_in_source and renewed_cards.fullmatch(keyword)
        ):
            continue
        rank = (
            (0, place_in_source[keyword])
            if keyword in place_in_source
            else _rank_of(keyword, ranks)
        )
        if rank is None:
            continue
        if last_rank is not None and rank < last_rank:
            raise Differs(f"the card {keyword} is after {last_keyword}, and must be before it")
        last_rank, last_keyword = rank, keyword


def _ranks_of_keywords(order):
    """Return {keyword, or (its beginning, True) if numbered: (rank, rank within one number)}."""
    ranks = {}
    for rank, entry in enumerate(order):
        if isinstance(entry, str):
            ranks[entry] = rank, 0
        else:
            ranks |= {(keyword, True): (rank, n) for n, keyword in enumerate(entry)}
    return ranks


def _rank_of(keyword, ranks):
    """Return the rank of a card of ccdflow, (1, rank, number, rank within the number), or None."""
    if keyword in ranks:
        return 1, ranks[keyword][0], 0, 0
    match = _NUMBERED_KEYWORD.fullmatch(keyword)
    if match is None or (match[1], True) not in ranks:
        return None
    rank, rank_of_kind = ranks[match[1], True]
    return 1, rank, int(match[2]), rank_of_kind
