"""The check of the cards that a product has from its source: no change, no addition, no loss.

A card of a product is a card of its source, with the same value and comment, or a card of ccdflow.
The verdicts compare the cards of ccdflow one by one, except for those of `BELIEVED_CARDS`.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass

from astropy.io.fits.verify import VerifyError, VerifyWarning

from ccdflow.verify.comparing.comparing import Differs

# Pattern of cards on how an HDU is stored: their values are the product's own.
_STORAGE_CARDS = (
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|CHECKSUM|DATASUM|LONGSTRN|EXTNAME"
    r"|EXTVER|EXTLEVEL|INHERIT|NEXTEND|DATAMIN|DATAMAX|BZERO|BSCALE|BLANK|BUNIT"
)
# Pattern of storage cards that a product may have although its source lacks them.
_STORAGE_CARDS_ADDED = (
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d?|EXTEND|PCOUNT|GCOUNT|CHECKSUM|DATASUM|LONGSTRN|BUNIT"
    r"|EXT(NAME|VER|LEVEL)|INHERIT"
)
# Pattern of cards with versions of programs, and with keys and names of products.
_VERSION_CARDS = r"CCDFLOW|(CCDP|ASTRP|NUMPY)VER|CCDF(KEY|NAME)"
# Pattern of cards on amplifiers and overscan of a reduced frame.
_AMPLIFIER_CARDS = (
    r"NAMPS|(DATSEC|OVERSC|BIASLV|OVRRMS|AMPNAM|AMPFLP|OSCAXI|OSCSAT|AMP(SAT|TOP|FUL|HDU|BAD)|GAIN|TRIM)\d\d"
    r"|OSC(STAT|MODEL|ORDER|SIGMA|ITERS|AXIS|SAT)|OVERSCAN|BIASLVL|OVERRMS|TRIM|AMP(HDU|FLIP|SAT|TOP|FULL|GAIN|BAD)"
    r"|RAW(FILE|FP|DATE)|DATSEC"
)
# Pattern of cards with places in the image or on the detector: they change because pixels move.
_PLACED_CARDS = r"(CCD|DET|AMP|DATA)SEC|LTV\d|LTM\d_\d|CRPIX\d\w?|(PC|CD)\d_\d\w?|CDELT\d\w?"
# Pattern of cards of world coordinates.
_WORLD_CARDS = (
    r"(CRPIX|CRVAL|CDELT|CTYPE|CUNIT|CROTA|CRDER|CSYER)\d[A-Z]?|(PC|CD|PV|PS)\d_\d+[A-Z]?"
    r"|(WCSAXES|WCSNAME|LONPOLE|LATPOLE)[A-Z]?|WCSDIM|WAT\d_\d+|[AB]P?_\w+|CPDIS\d|DP\d|CPERR\d|D2IM.*"
)
# Pattern of cards with sections and numbers of raw pixels: they are wrong for a reduced frame.
_RAW_PIXEL_CARDS = (
    r"(BIAS|TRIM|DATA|CCD|DET|AMP|PRE|POST)SEC\w*|[ABCDT]SEC_?(\d+|[A-Z]\d?)|RTDATSEC|[CR]OVER"
    r"|ESO DET OUT\d+ .*|\w*(PRE|OVER)SC\w*|\w*OSCAN\w*|LT[VM].*"
    r"|\w*PSCAN\w*|[PO]VERS[XY]|N[PO]SC\w*|DATE|[\w-]*(OVRSC|OVESC|OVSC|PRSC|POSTSC|PSTSC)[\w-]*"
    r"|[\w-]*(P(RE|OST)(PIX|COL|LINE)|NBIAS)[\w-]*|[A-Z]_(EF|OS)M[NX]\d\d"
)
# Pattern of cards on the tiles of a compressed image.
_TILE_CARDS = r"T(FIELDS|(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+)|THEAP|Z\w+"
# Patterns of the cards that a combined frame adds, and of those that a calibrated one adds.
_COMBINED_CARDS = (
    r"NCOMBINE|DATE-(BEG|END)|COMBMETH|CLIP(SIG|DEV|ITER|RN)|CLIPRN\d\d|IM[A-Z]*\d+|N(REJECT|INVALID)"
    r"|NEMPTY|IMGLEVEL|[RC]NOISE(\d\d)?|CNOISPR|CNOISP\d\d|(BIAS|DARK)(IM|KEY|DT|CUT)|M[BD]NOISE"
    r"|MOD(RN|GN|FC|LN)(\d\d)?|NHOT|DARKRT\w*|FLAT(LVL|MIN|MAX|RMS|SN|R\d\d)|GAINMEAS|GAINME\d\d"
)
_CALIBRATED_CARDS = (
    r"(BIAS|DARK|FLAT)(IM|KEY|DT|CUT)|DARK(SCAL|DTMP)|FLATLVL|M[BDF]NOISE|OSCNOISE|OSCNOI\d\d|COSMICS"
    r"|SKY(LVL|RMS|PRED)|CALGRADE|(ZERO|DARK|FLAT)COR|REDKEY|N(SAT|HOT|UNCAL|COSMIC)|BPM(IM|KEY)(\d\d)?|BPM(NTS|SHARE)"
    r"|GAINMEAS|GAINME\d\d|SHUT\w+|MODRN(\d\d)?|(E|CCD|RO_?|GT)?GAIN(_?[A-Z\d]{1,2})?|SAT(URAT\w+|LEV\w*)|RAW\w*GAIN\w*|RAWSAT\w+"
    r"|CCDSENS|EPERDN|EP(ER)?ADU|ELECGAIN|GAINEADU|ESO DET OUT\d+ (CONAD|GAIN)"
    r"|QUANSTEP|CR(SIGMA|CONTR|FWHM)|LINRAW(\d\d)?|SATME(AS|A\d\d)"
)
WORLD = re.compile(_WORLD_CARDS)
"""Matches cards of world coordinates: a product has all of its source, or a line in HISTORY."""

# Older results: the comment of OSCAXIS in reduced frames of header version 3, and the present one.
# A calibrated frame keeps the comment that its reduced frame had.
_COMMENTS_OF_VERSIONS = {
    "what of the image has a level of its own",
    "part of the image with one overscan level",
}
# Bytes of a FITS card.
_CARD_BYTES = 80
_COMMENTARY = ("COMMENT", "HISTORY", "")

BELIEVED_CARDS = {
    r"CCDFLOW|(CCDP|ASTRP|NUMPY)VER": "the versions that made it; another version is no fault",
    r"CCDFKEY": "a hash of all settings; it is compared with the notes of the run, where they are",
    r"CCDFCAM|AMPNAM\d\d|DATSEC|AMPGAIN|GAIN\d\d|AMPSAT(\d\d)?": "what the camera's profile says,"
    " which changes no pixel of a reduced frame; masters and calibrated frames have their sources',"
    " and the notes have `CCDFCAM`",
    r"NNIGHTS": "how many nights with darks or flats there were, beyond those that are named",
    r"CLIPSIG|CLIPITER|CRCONTR|BPSHARE|BPNIGHTS|HOTRATE|LOWSIGMA": "a limit, or none, that"
    " gives the same values as the true one; the notes of the run have the settings",
}
"""Patterns of cards that are compared with nothing, and the reasons: docs/verify.md has them."""


@dataclass(frozen=True)
class CardOrigins:
    """Patterns of a sort of product's cards by their relation to the source.

    Attributes
    ----------
    renewed_cards : re.Pattern
        Cards that the product writes anew: their values may differ from those of the source.
    added_cards : re.Pattern
        Cards of the product that the source need not have.
    omissible_cards : re.Pattern
        Cards of the source that the product need not have.
    history_starts : re.Pattern
        Beginnings of the lines of HISTORY that ccdflow adds.
    may_omit_sections : bool
        Whether the product need not have cards whose value is a section.
    """

    renewed_cards: re.Pattern
    added_cards: re.Pattern
    omissible_cards: re.Pattern
    history_starts: re.Pattern
    may_omit_sections: bool = False


REDUCED_ORIGINS = CardOrigins(
    re.compile(
        f"{_STORAGE_CARDS}|{_VERSION_CARDS}|CCDFCAM|{_AMPLIFIER_CARDS}|{_RAW_PIXEL_CARDS}|{_TILE_CARDS}"
        r"|CRPIX\d\w?|CD\d_\d\w?|PC\d_\d\w?|CDELT\d\w?"
    ),
    re.compile(
        f"{_STORAGE_CARDS_ADDED}|{_VERSION_CARDS}|CCDFCAM|{_AMPLIFIER_CARDS}|{_PLACED_CARDS}"
    ),
    re.compile(
        f"{_STORAGE_CARDS}|{_VERSION_CARDS}|{_AMPLIFIER_CARDS}|{_RAW_PIXEL_CARDS}|{_TILE_CARDS}|{_WORLD_CARDS}"
    ),
    re.compile("ccdflow: world coordinates that do not hold for this image left out"),
    may_omit_sections=True,
)
"""Patterns that match the cards of a reduced frame by their origins."""

COMBINED_ORIGINS = CardOrigins(
    re.compile(
        rf"{_STORAGE_CARDS}|{_VERSION_CARDS}|BIASLVL|BIASLV\d\d|OVERRMS|EXPTIME|DATE-(BEG|END)"
    ),
    re.compile(f"{_STORAGE_CARDS_ADDED}|{_VERSION_CARDS}|{_COMBINED_CARDS}|EXPTIME"),
    re.compile(
        rf"{_STORAGE_CARDS}|{_VERSION_CARDS}|RAW(FILE|FP|DATE)|BIASLVL|BIASLV\d+|OVERRMS|OVRRMS\d+"
        r"|AMPTOP(\d\d)?|AMPFUL(L|\d\d)"
    ),
    # All lines of ccdflow, such as warnings on the pixels.
    re.compile("ccdflow: "),
)
"""Patterns that match the cards of a combined bias, dark or flat by their origins."""

CALIBRATED_ORIGINS = CardOrigins(
    re.compile(f"{_STORAGE_CARDS}|{_VERSION_CARDS}|GAIN|SATURATE"),
    re.compile(f"{_STORAGE_CARDS_ADDED}|{_VERSION_CARDS}|{_CALIBRATED_CARDS}"),
    re.compile(f"{_STORAGE_CARDS}|{_CALIBRATED_CARDS}"),
    re.compile("ccdflow: (grade [ABC]|without (bias|dark|flat)): "),
)
"""Patterns that match the cards of a calibrated frame by their origins."""


def check_cards(header, sources, origin, *, must_have=True):
    """Raise unless the cards of a product are those of its source, except for the allowed changes.

    Parameters
    ----------
    header : astropy.io.fits.Header
    sources : list of astropy.io.fits.Header
        Headers of the source; where the first one lacks a card, another one may have it.
    origin : CardOrigins
    must_have : bool, optional
        Whether the header must have all cards of the first source but the omissible ones.

    Raises
    ------
    Differs
        If a card is absent, added or repeated, or has another value or comment.
    """
    counts = Counter(keyword for keyword in header if keyword not in _COMMENTARY)
    for keyword, count in counts.items():
        source = next((source for source in sources if keyword in source), None)
        n_allowed = 1
        if source is None:
            if not origin.added_cards.fullmatch(keyword):
                raise Differs(f"no source has a card {keyword}, and ccdflow writes none")
        elif not origin.renewed_cards.fullmatch(keyword):
            _check_card(header, source, keyword)
            n_allowed = source.count(keyword)
        if count > n_allowed:
            raise Differs(f"the card {keyword} is there {count} times")
    if must_have:
        _check_missing(counts, sources[0], origin)
    _check_commentary(header, sources, origin, must_have)


def _check_missing(counts, source, origin):
    """Raise if a product lacks a card of its source that it must have.

    Parameters
    ----------
    counts : mapping of str to int
        The keywords of the product.
    source : astropy.io.fits.Header
    origin : CardOrigins
        Patterns of the cards that may be missing.
    """
    for keyword in source:
        if keyword in counts or keyword in _COMMENTARY:
            continue
        is_section = origin.may_omit_sections and _has_section(source, keyword)
        if not is_section and not origin.omissible_cards.fullmatch(keyword):
            raise Differs(f"the card {keyword} of its source is missing")


# Matches a section of an array as the value of a card.
_SECTION = re.compile(r"\s*\[\s*\d+\s*:\s*\d+\s*,\s*\d+\s*:\s*\d+\s*\]\s*")


def _has_section(header, keyword):
    """Return whether the value of a card is a section, such as [1:2048,1:4096]."""
    return (
        _SECTION.fullmatch(
            text_of_card(header.cards[keyword]).partition("=")[2].split("/")[0].strip().strip("'")
        )
        is not None
    )


def check_shared_cards(header, members, origin):
    """Raise if a combined frame lacks a card that is equal in all its members.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the combined frame.
    members : list of astropy.io.fits.Header
        Headers of its members.
    origin : CardOrigins
        Patterns of the cards of combined frames.

    Raises
    ------
    Differs
        If a card is absent.
    """
    first_member, *other_members = members
    for keyword in dict.fromkeys(first_member.keys()):
        if keyword in header or keyword in _COMMENTARY or origin.omissible_cards.fullmatch(keyword):
            continue
        text = text_of_card(first_member.cards[keyword])
        if all(
            keyword in member and text_of_card(member.cards[keyword]) == text
            for member in other_members
        ):
            raise Differs(f"the card {keyword} is alike in all members, and is missing here")


def _check_card(header, source, keyword):
    """Compare value and comment of a card; its text, where astropy cannot read its value."""
    try:
        card_value, value = header[keyword], source[keyword]
    except VerifyError:
        card_value, value = (
            text_of_card(one_header.cards[keyword]).strip() for one_header in (header, source)
        )
    if card_value != value or type(card_value) is not type(value):
        raise Differs(f"{keyword} is {value!r} in its source, and its card has {card_value!r}")
    if _comment_of(header, keyword) != _comment_of(source, keyword):
        raise Differs(f"the comment of {keyword} is not that of its source")


def text_of_card(card):
    """Return the text of a card. astropy puts quotes around a value that breaks the standard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        return card.image


def _comment_of(header, keyword):
    """Return the comment of a card; '' for one that depends on the version of the header."""
    comment = header.comments[keyword]
    return "" if comment in _COMMENTS_OF_VERSIONS else comment


def _check_commentary(header, sources, origin, must_have):
    """Raise unless the lines of COMMENT and HISTORY are those of the source or of ccdflow.

    Parameters
    ----------
    header : astropy.io.fits.Header
    sources : list of astropy.io.fits.Header
    origin : CardOrigins
    must_have : bool
        Whether the lines of the sources have to be there.
    """
    is_long = any(len(text_of_card(card)) > _CARD_BYTES for card in header.cards)
    if "LONGSTRN" in header and not is_long and not any("LONGSTRN" in source for source in sources):
        raise Differs("LONGSTRN is there, and no text goes on in a second card")
    if _count_blank(header) > max(map(_count_blank, sources), default=0):
        raise Differs("a card without a keyword is there that no source has")
    for keyword in _COMMENTARY:
        lines = _lines_of(header, keyword)
        source_lines = {line for source in sources for line in _lines_of(source, keyword)}
        _check_lines(keyword, lines, source_lines, origin)
        if must_have and not set(_lines_of(sources[0], keyword)) <= set(lines):
            raise Differs(f"a line of {keyword} of its source is missing")


def _check_lines(keyword, lines, source_lines, origin):
    """Raise unless each line is a line of the sources or of ccdflow.

    Parameters
    ----------
    keyword : {'COMMENT', 'HISTORY', ''}
    lines : list of str
        Lines of the product.
    source_lines : set of str
        Lines of its sources.
    origin : CardOrigins
        Patterns of the lines of ccdflow.
    """
    is_own = False
    for line in lines:
        # A long line of ccdflow continues in the next card.
        is_begun = keyword == "HISTORY" and origin.history_starts.match(line) is not None
        goes_on = is_own and line not in source_lines and not line.startswith("ccdflow: ")
        is_own = is_begun or goes_on
        if not is_own and line not in source_lines:
            raise Differs(f"no source has the {keyword} {line!r}")


def _count_blank(header):
    """Return how many cards of a header have neither a keyword nor a text."""
    return sum(not card.keyword and not str(card.value).strip() for card in header.cards)


def _lines_of(header, keyword):
    """Return the lines of COMMENT or HISTORY, without empty ones."""
    return [str(line) for line in header.get(keyword, ()) if str(line).strip()]
