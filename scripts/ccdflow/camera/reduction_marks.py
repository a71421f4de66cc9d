"""The marks that programs leave in the header of a frame that they reduced."""

from __future__ import annotations

import re

from ccdflow.errors import FrameError
from ccdflow.files.cards import card_value, contents_of_cards, has_card
from ccdflow.files.raw_headers import CARD_BYTES, commentary, has_card_texts
from ccdflow.files.values import Broken, as_number

# The keywords by which programs mark their steps. Their values differ: IRAF and Gemini write text
# with a date, ccdproc the arguments or an empty card, BANZAI a status, ESO the product's category.
_MARKS_OF_PROGRAMS = {
    "ccdflow": ("CCDFLOW",),
    "the Space Telescope's pipeline": ("BLEVCORR", "DRIZCORR"),
    "ccdproc": ("SUBOSCAN", "TRIMIM", "SUBBIAS", "SUBDARK", "FLATCOR", "GAINCOR", "CREATDEV"),
    "IRAF": (
        "OVERSCAN", "TRIM", "ZEROCOR", "DARKCOR", "FLATCOR", "CCDPROC", "FIXPIX", "ILLUMCOR",
        "FRINGCOR", "CCDMEAN",
    ),
    "BANZAI": ("L1STATOV", "L1STATTR", "L1STATBI", "L1STATDA", "L1STATFL", "L1IDBIAS"),
    "DRAGONS or Gemini IRAF": (
        "PREPARE", "SUBOVER", "TRIMOVER", "TRIMMED", "OVERSEC", "BIASIM", "BIASCORR", "GPREPARE",
        "GSREDUCE", "GIREDUCE",
    ),
    "ESO's pipeline": ("ESO PRO CATG", "ESO PRO REC1 ID", "PRODCATG"),
    "NOIRLab's pipeline": ("PROCTYPE",),
    "Goodman's pipeline": ("GSP_OVER", "GSP_TRIM", "GSP_BIAS", "GSP_FLAT"),
    "MaxIm DL": ("CALSTAT",),
    "Mira": ("MIRAPROC",),
    "a program that subtracts biases": (
        "PROCBIAS", "BIASSUB", "BIAS_SUB", "BIASCOR", "SUBZERO", "ZEROSUB", "OVERSUB", "OSCANSUB",
    ),
    "a program that subtracts darks": ("PROCDARK", "DARKSUB", "DARK_SUB"),
    "a program that divides by flats": (
        "PROCFLAT", "FLATDIV", "FLATFLD", "FLAT_DIV", "FLATSUB", "FLATCORR",
    ),
}  # fmt: skip
# Values, in capitals, of a card that names a step which was not taken. The Liverpool Telescope
# writes -1 before its pipeline has run.
_UNDONE_VALUES = frozenset([
    "F", "FALSE", "N", "NO", "NONE", "0", "0.0", "-1", "-1.0", "OMIT", "SKIPPED", "PERFORM", "RAW",
    "N/A", "NA", "-", "OFF", "UNKNOWN", "NULL", "DISABLED", "INCOMPLETE", "PENDING", "NOT DONE",
    "NOT APPLIED", "NOT PERFORMED",
])  # fmt: skip
# OVERSCAN and TRIM are settings of many readouts: only a sentence of a reduction is a mark.
_SETTING_CARDS = ("OVERSCAN", "TRIM")
# Matches a sentence of a log, with a time or with a word for a step that was done.
_LOG_LINE = re.compile(
    r"[a-z]{3} +\d+ +\d+:\d\d|\d{4}-\d\d-\d\dt?\s*\d\d:|with mean|subtract|correct|remov|applied"
    r"|complete|\bdone\b|section is|trimmed",
    re.IGNORECASE,
)
# A pattern of the words for a step.
_STEP = r"(bias|zero|dark|flat|overscan|pedestal|master ?frame)"
# Matches a line of HISTORY on a step that was taken.
_STEP_IN_HISTORY = re.compile(
    rf"\b{_STEP}\w*[\w\s:/-]{{0,24}}?\b(subtract|correct|remov|divi|calibrat|appli)\w*"
    rf"|\b(subtract|correct|remov|divid|calibrat)\w*[\w\s:/-]{{0,24}}?\b{_STEP}"
    r"|\btrimmed to\b|\bccdproc\b.*\bdone\b",
    re.IGNORECASE,
)
# Matches words in a line of HISTORY by which the step was not taken.
_DENIED_STEP = re.compile(
    r"\b(no|not|none|without|off|false|skip\w*|omit\w*|un(corrected|subtracted|calibrated)|disabled"
    r"|never|will be|to be|should)\b|\bnon-|[=:]\s*0\b",
    re.IGNORECASE,
)

# Matches the unit of pixels that were divided by an exposure time or turned into a flux: a bias in
# adu cannot be subtracted from them.
_RATE_UNIT = re.compile(
    r".*(/|\bper\b|[*^ ]\W*)\s*s(ec(onds?)?)?\b.*|.*\bs(ec(onds?)?)?\s*(\^|\*\*)?\s*\(?-1\b.*"
    r"|.*jy(/.*)?|.*\berg.*|.*\bmag.*|.*\bw(att)?\b.*m.*",
    re.IGNORECASE,
)

REDUCED_REMEDY = (
    "leave it out of the raw folder; if frames of this camera are raw all the same, write "
    "`raw: true` into its profile"
)
"""The remedy for a frame that another program has reduced already."""


def is_called_master(headers):
    """Return whether a card with the type of a frame calls it a master.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header

    Returns
    -------
    bool
    """
    return any(_master_card(header) for header in headers)


def _master_card(header):
    """Return (keyword, value) of the first card that calls the frame a master, or None."""
    for keyword in ("IMAGETYP", "OBSTYPE", "FRAME"):
        # Nearly all frames end here. A text that is continued in further cards may have the word in
        # two pieces, so such a text is read as a whole.
        if has_card_texts(header) and not any(
            "master" in text.lower() or len(text) > CARD_BYTES for text in header.cards_of(keyword)
        ):
            continue
        value = card_value(header, keyword)
        if isinstance(value, str) and re.match(r"\W*master", value.lower()):
            return keyword, value
    return None


def refuse_reduced(headers, *, file, is_master_sought=True):
    """Refuse a frame that was reduced already.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    file : str
    is_master_sought : bool, optional
        False if `is_called_master` is known to be False: the cards that it reads are not read
        again. These may hold the number of the frame. All other cards are the same in many frames,
        for which the result can then be remembered.

    Raises
    ------
    FrameError
        If the header has the mark of a program that reduces frames, or a line of HISTORY on a step,
        or if the unit is a rate or a flux.
    """
    for header in headers:
        mark = next(_marks_of_reduction(header, is_master_sought=is_master_sought), None)
        if mark is not None:
            raise reduced_error(*mark, file)


def _marks_of_reduction(header, *, is_master_sought):
    """Yield (program, keyword, value) of the cards by which a frame was reduced already.

    Parameters
    ----------
    header : astropy.io.fits.Header
    is_master_sought : bool
        Whether the cards with the frame's type are read.
    """
    for program, keywords in _MARKS_OF_PROGRAMS.items():
        for keyword in keywords:
            if has_card(header, keyword) and _is_mark(program, keyword, header):
                yield program, keyword, card_value(header, keyword)
    yield from _marks_by_number(header)
    if is_master_sought and (card := _master_card(header)):
        yield "a program that makes masters", *card
    unit = card_value(header, "BUNIT")
    if isinstance(unit, str) and _RATE_UNIT.fullmatch(unit.strip()):
        yield "a program that made rates or fluxes of it", "BUNIT", unit
    for line in commentary(header, "HISTORY"):
        if _STEP_IN_HISTORY.search(line) and not _DENIED_STEP.search(line):
            yield "a program that says so in its log", "HISTORY", line[:60]


def _marks_by_number(header):
    """Yield (program, keyword, value) of the cards whose number is the mark of a reduction."""
    level = as_number(card_value(header, "RLEVEL"))
    if level is not None and level >= 1:
        yield "BANZAI", "RLEVEL", level
    for keyword in ("NCOMBINE", "STACKCNT"):
        count = as_number(card_value(header, keyword))
        if count is not None and count > 1:
            yield "a program that combines frames", keyword, count


def _is_mark(program, keyword, header):
    """Return whether a card is a program's mark of a step, and not a setting of the camera."""
    cards = contents_of_cards(header, keyword)
    if not cards:
        # ccdproc writes a step without arguments as an empty card; other programs announce a step
        # by an empty card.
        return program == "ccdproc" and keyword in ("SUBOSCAN", "TRIMIM", "SUBBIAS", "SUBDARK")
    value = cards[0].value
    if keyword in _SETTING_CARDS:
        # A whole number is the number of columns, or a flag of the readout. DRAGONS writes a level
        # that is no whole number.
        if isinstance(value, str | Broken):
            return bool(_LOG_LINE.search(str(value)))
        return isinstance(value, float) and not value.is_integer()
    if keyword == "MIRAPROC":
        return "1" in str(value)
    return str(value).strip().upper() not in _UNDONE_VALUES


def reduced_error(program, keyword, value, file):
    """Return the error for a frame that was reduced already.

    Parameters
    ----------
    program : str
        The program that reduced it.
    keyword : str
        The card with the mark.
    value : object
        As found.
    file : str
        Path of the raw file relative to the raw folder; named in errors.

    Returns
    -------
    FrameError
    """
    return FrameError(
        f"the frame was reduced already, by {program}",
        file=file,
        keyword=keyword,
        value=value,
        allowed="a raw frame",
        remedy=REDUCED_REMEDY,
    )
