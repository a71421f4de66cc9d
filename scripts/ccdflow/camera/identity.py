"""The device that took a frame, and its setting: frames that differ in it are never averaged.

Observatories write device and setting in many dialects, so patterns of keywords recognise the
cards: the place of a window, the binning, the serial number of a camera, the offset, gain and
temperature that a camera was set to, the readout mode. A card counts only where its value differs
between frames that would be one group otherwise. A card that is not about the device therefore does
no harm while all frames have the same value.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from ccdflow.files.cards import card_value
from ccdflow.files.values import as_electrons, as_number

SETTING_NAME = "setting"
"""Name for the values that the members of a group share and other frames of the night do not."""

# A pattern of a device: CAMERA, DET, SENSOR.
_DEVICE = r"(?:CAM(?:ERAS?)?|CCD|DET(?:ECTOR)?|CHIP|SENSOR|DEV(?:ICE)?|HEAD|CONTROLLER|CTRL)"
# A pattern of a word before an axis: CCD in CCDXORG, WIN_ in WIN_XMIN.
_WORD_BEFORE = r"(?:CCD|DET|SUB|ROI|WIN|WINDOW|IMG|CROP|FRM|FRAME|CAM)?[-_]?"
# A pattern of the word for a first pixel: ORG, START, MIN.
_START = r"(?:ORG|ORIG|ORIGIN|START|STRT|STR|STA|BEG|BEGIN|FIRST|MIN|LOW|LO|CORNER|COR|LL)"
# A pattern of an axis: X, V, COLUMN, ROW.
_AXIS = r"(?:[XYHV]|COL(?:UMN)?|ROW)"

# Matches the card of the place of a window, as whole pixels or lists of them: XORGSUBF, WIN_XMIN,
# LTV1.
_PLACE = re.compile(
    rf"{_WORD_BEFORE}{_AXIS}[-_]?{_START}(?:SUBF|[-_]?[XYU12])?\d?"
    rf"|{_WORD_BEFORE}{_START}[-_]?{_AXIS}\d?"
    rf"|{_AXIS}\d?[-_]?{_START}\d?"
    r"|(?:CCDW|ROI|AOI|WIN|WINDOW|CROP|SUB|FRAME|FRM)[-_]?[XYHV][-_]?(?:OFF|OFFSET|POS|[01])?"
    r"|(?:ROI|AOI|WIN|WINDOW|CROP|SUB|CCD|DET)[-_]?[XY][01]|(?:ROI|AOI|WIN|CROP|SUB)[01][-_]?[XY]?"
    r"|(?:ROI|AOI|WIN|CROP|SUB)?[-_]?(?:LEFT|TOP|BOTTOM)|[XY][012]|(?:COL|ROW)OFF(?:SET)?"
    r"|LTV[12]|CNPIX[12]|CRVAL[12]U|PRD-?MIN[12]|(?:PHYS|DET|CCD)ORG[XY12]"
    r"|ESO (?:DET )?WIN\d* STR[XY]"
)
# Matches the card of a shift, XOFFSET or OFFY. A dither of the telescope may have the same keyword:
# only whole numbers count.
_SHIFT = re.compile(r"[XYHV][-_]?OFF(?:SET|S)?|OFF(?:SET)?[-_]?[XY]|OFFS[XY]")
# Matches the card of a section that was read: WINDOW1, CCDROI, READSEC.
_SECTION = re.compile(
    r"WINDOW\d?|WINSEC\d?|DETWIN\d?|CCDWIN\d?|SUBWIN\w*|SUBFRAME|SUBRECT|SUBARRAY|SUBARR|SUBSEC"
    r"|SUBIMAGE|PANE|(?:CCD|DET)?ROI\d?|ROISEC|ROIRECT|CROPSEC|READSEC|READAREA|READWIN|PHYSSEC"
    r"|RECT|AOI|IMGRECT|IMAGERECT|CCDREGN|REGION"
)
# Matches the card of a binning: XBINNING, CCD-BIN, CCDSUM.
_BINNING = re.compile(
    r"(?:CCD|DET|CAM|CHIP)?[-_]?(?:[XYHV]|COL|ROW)[-_]?(?:BIN|BINNING|BINFACTOR|FACTOR|FACT)"
    r"|(?:CCD|DET|CAM|CHIP)?[-_]?(?:BIN|BINNING|BINFACT|FACTOR)[-_]?(?:[XYHV12]|COL|ROW)?"
    r"|BIN-FCT[12]|CCDSUM|CCD-?BIN|BINSUM|BINMODE|ESO DET WIN\d* BIN[XY]"
)
# Matches the card that names a device: CAMERAID, CCDSERNO, DETNAME, INSTRUME, TELESCOP.
_DEVICE_NAME = re.compile(
    rf"{_DEVICE}[-_ ]?\d?[-_ ]?(?:ID|SN|S/N|NO|NUM|NUMBER|SERNO|SER|SERIAL|SERNUM|NAME|NAM|UID"
    r"|LABEL|MODEL|TYPE)?\d?"
    rf"|(?:SN|ID|SERIAL|SERNO)[-_]?{_DEVICE}"
    r"|SERIAL\w*|SER[-_]?(?:NO|NUM|NR|ID)\w*|SERNO\w*|DSENSOR|CAMERAID|INSTRUME|INSTR(?:ID|NAME|SER)?"
    r"|TELESCOP|TEL(?:ID|NAME|UNIT|NUM)|TELESC|UNITID|SITEID|ENCID|OBSTELID"
    # Parts of an instrument: a quadrant, an arm of a spectrograph, a channel, an amplifier.
    r"|QUAD(?:RANT|ID|NO|NUM)?|FPA(?:ID|NAME|NO)?|ARM(?:ID|NAME)?|SPECT?ID|SPECTROG|SPECNO|BRANCH"
    r"|CHAN(?:NEL|NL|ID|NAME|NO|NUM)?|CHNLNUM|DETPOS|(?:OP)?AMP(?:[-_]?(?:ID|NO|NUM))?|DASCHAN|BEAMID"
    r"|ESO OCS CON QUAD"
    r"|[A-Z]+ DET (?:CHIP\d* )?(?:ID|NAME|SER\w*|CHIP\d* ?ID)"
    r"|ESO DET CHIP\d* (?:ID|NAME)|ESO DET OUT\d* (?:ID|NAME)|ESO DET ID"
)
# Matches the card of a setting of the bias level: OFFSET, CCDOFFSET, BLKLEVEL, PEDESTAL.
_LEVEL = re.compile(
    rf"(?:{_DEVICE}|ADC?|BIAS)?[-_]?OFF?SET(?:LVL|LEVEL|VAL)?|BLACK|BL(?:AC)?K[-_]?(?:LVL|LEVEL|OFF\w*)"
    r"|BLKLEVEL|BLACKLEV|PEDESTAL|BRIGHTNS|BRIGHTNE"
)
# Matches the card of a gain or its setting: EGAIN, CONVGAIN, GAINMODE, PREAMP.
_GAIN = re.compile(
    r"[CHL]?C?GAIN|[ADP]GAIN(?:_?\d+)?|GAINM|GTINDEX|E[-_]?GAIN|CONV(?:ERSION)?[-_]?G(?:AI)?N?|CONVGAIN|GAIN[-_]?(?:MODE|SET|SETTING|IDX"
    r"|INDEX|DB|STATE|LEVEL|LVL|CONV|SEL|NAME|TYPE|RAW|1)|(?:CCD|CAM|DET|SENSOR|ADC|ANALOG|PRE|PGA)"
    r"[-_]?GAIN|HCG|LCG|HCGMODE|PRE[-_]?AMP\w*|EM[-_]?GAIN\w*|GAIN[-_]?EM|EMREALGN|HIGHGAIN|HDR\w*"
    r"|ISO(?:SPEED)?|ISOSET"
)
# Matches the card of a setting of the readout: READMODE, RDSPEED, AMPNAME, ESO DET READ CLOCK.
_READOUT = re.compile(
    r"READ?[-_]?(?:MODE|MOD|SPD|SPEED|SPEE|SPE|RATE|OUT|PORT|AMP|CLOCK|CLK|FREQ|NOISM)|READOUT\w{0,2}"
    r"|RD?OUT?[-_]?(?:MODE|SPD|SPEED)|RO?D?[-_]?(?:MODE|SPEED|SPD)|RDMODE|CCDSPEED|CCDMODE|DETMODE"
    r"|CAMMODE|SPEED|SENSMODE|AMP(?:L)?MODE|AMPM|READAMPS|OUTPTAMP|OUTAMP|AMPLIFIE?R?|AMPSEL|AMPNAME|CLKMODE|ADCMODE"
    r"|[HV]?S(?:HIFT)?[-_]?SPEED|[HV]SHIFT\w*|SHIFTSPD|VSSPEED|HSSPEED|PIXRATE|PIXFREQ|PIXSPEED"
    r"|PIXCLK|BITDEPTH|ADCBITS?|ADC[-_]?(?:DEPTH|SPEED|RATE|CHAN\w*)|DIGIBITS|READTIME"
    r"|ESO DET READ (?:CLOCK|MODE|SPEED)"
)
# Matches the card of the temperature that a detector is set to: SET-TEMP, CCDSTEMP, TEMPTARG.
_SET_POINT = re.compile(
    r"SET[-_]?(?:TEMP|TMP|POINT|PT|T)\w?|T(?:EMP)?[-_]?(?:SET|SETP|SETPT|SETPNT|SP|REQ|TARG|TARGET|CMD)"
    rf"|{_DEVICE}[-_]?S?T?(?:EM?P?)?[-_]?(?:SET|SETP|SETPT|SP)|{_DEVICE}[-_]?SET[-_]?T(?:EMP)?"
    r"|CCDSTEMP|COOL(?:ER)?[-_]?(?:SET|SP|TEMP|TARG\w*)|TARG(?:ET)?[-_]?(?:TEMP|T)|REQTEMP|TEMPTARG"
)
# Matches the card of the number of added exposures: COADDS, NUMCOADD, ESO DET NDIT.
_COADDS = re.compile(r"(?:N|NUM|NO|TOT|TOTAL)?[-_]?CO[-_]?ADD(?:S|ED)?|ESO DET NDIT|NDIT|COADDONE")
_MEANINGS = {
    "place": _PLACE, "shift": _SHIFT, "section": _SECTION, "binning": _BINNING,
    "device": _DEVICE_NAME, "level": _LEVEL, "gain": _GAIN, "readout": _READOUT,
    "temperature": _SET_POINT, "coadds": _COADDS,
}  # fmt: skip
# Matches a date or a time of day, which differs from frame to frame under any keyword: READTIME.
_MOMENT = re.compile(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d")
# Degrees C. Set points are rounded to this step: cards may have the noise of the converter.
_STEP_DEGREES = 1.0
# Matches a binning in another spelling than 2 1: 2x1, 2,1.
_TWO_FACTORS = re.compile(r"=(\d+) ?[xX,] ?(\d+)(?=$|\|)")
# A setting's value has at most this many characters; a longer one is replaced by its hash.
_LONGEST_TEXT = 48


def setting_of(headers, images):
    """Return a text with the device that took a frame, and its setting.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    images : sequence of int
        The HDUs that hold an image.

    Returns
    -------
    str
        ``KEYWORD=value`` in the order of the keywords, with ``|`` between; '' without such a card.
        A long value, or the long text of the values of many images, is replaced by its hash.
    """
    values_by_keyword = {}
    for hdu in dict.fromkeys((0, *images)):
        for keyword, value in _settings_in_header(headers[hdu]):
            values_by_keyword.setdefault(keyword, []).append(value)
    return "|".join(
        f"{keyword}={_text_of_values(values)}"
        for keyword, values in sorted(values_by_keyword.items())
    )


def _settings_in_header(header):
    """Yield (keyword, value) of the cards of a header that name a device or a setting."""
    for keyword in dict.fromkeys(header):
        meaning = _meaning_of(keyword)
        value = _setting_as_text(meaning, card_value(header, keyword)) if meaning else ""
        if value:
            yield keyword, value


def _text_of_values(values):
    """Return the value that all images share, or all values; a hash if this text is long."""
    text = values[0] if len(set(values)) == 1 else ";".join(values)
    if len(text) > _LONGEST_TEXT:
        return "#" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return text


# The headers of a camera have some hundreds of keywords: 4096 entries hold the keywords of several
# cameras.
@lru_cache(maxsize=4096)
def _meaning_of(keyword):
    """Return the meaning of a card, '' for a card on neither device nor setting."""
    return next((meaning for meaning, names in _MEANINGS.items() if names.fullmatch(keyword)), "")


def _setting_as_text(meaning, value):
    """Return the value of a card in one spelling, '' for a value that is not a setting."""
    if value is None:
        return ""
    text = "".join(c if c.isprintable() and c not in "|;=" else " " for c in str(value))
    text = ",".join(" ".join(part.split()) for part in text.upper().split(","))
    if _MOMENT.search(text):
        return ""
    # As a gain, 1.2 e-/ADU is the same as 1.2.
    number = as_electrons(value) if meaning == "gain" else None
    number = as_number(value) if number is None else number
    if number is None:
        return text
    if not _may_be_setting(meaning, value, number):
        return ""
    if meaning == "temperature":
        number = round(number / _STEP_DEGREES) * _STEP_DEGREES
    return f"{number:g}" if abs(number) < 1e6 else text


def _may_be_setting(meaning, value, number):
    """Return whether a number can be a setting: places, shifts and levels are whole numbers.

    A number with a fraction is the offset of a telescope in arc seconds, or a level that was
    measured.

    Parameters
    ----------
    meaning : str
    value : object
        As in the header.
    number : float
        The value as a number.
    """
    if meaning == "shift":
        return isinstance(value, int)
    return meaning not in ("place", "level") or number.is_integer()


def cards_of(text):
    """Return {keyword: value} of a text that `setting_of` made, binnings in one spelling.

    Examples
    --------
    >>> cards_of("CCDSUM=2x1|GAIN=1.1") == cards_of("CCDSUM=2 1|GAIN=1.1")
    True
    """
    cards = dict(card.split("=", 1) for card in text.split("|")) if text else {}
    if _TWO_FACTORS.search(text):
        for keyword, value in cards.items():
            if has_meaning(keyword, ("binning",)):
                cards[keyword] = _TWO_FACTORS.sub(r"=\1 \2", f"={value}")[1:]
    return cards


def differing_keywords(texts):
    """Return the keywords whose values differ between some settings, sorted.

    Parameters
    ----------
    texts : iterable of str
        As `setting_of` makes them.

    Returns
    -------
    list of str
    """
    cards = [cards_of(text) for text in dict.fromkeys(texts)]
    names = sorted(set().union(*cards)) if cards else []
    return [
        name for name in names if len({cards_of_text.get(name, "") for cards_of_text in cards}) > 1
    ]


# The key of `group_by` for the cards of a meaning. A user leaves out the key to have frames that
# differ in these cards averaged.
_KEY_OF_MEANING = {
    "place": "window", "shift": "window", "section": "window", "binning": "ccdsum",
    "gain": "gain", "readout": "readmode",
}  # fmt: skip


def has_meaning(keyword, meanings):
    """Return whether a card has one of some meanings, such as ``temperature``.

    Parameters
    ----------
    keyword : str
    meanings : collection of str
        Keys of `_MEANINGS`.

    Returns
    -------
    bool
    """
    return _meaning_of(keyword) in meanings


def tells_apart(keyword, group_by):
    """Return whether the configuration allows a card to separate groups of frames.

    Parameters
    ----------
    keyword : str
    group_by : sequence of str
        As for `split_by_cards`.

    Returns
    -------
    bool

    Examples
    --------
    >>> tells_apart("GAIN", ["night", "gain"]), tells_apart("GAIN", ["night"])
    (True, False)
    """
    return _KEY_OF_MEANING.get(_meaning_of(keyword)) in (None, *group_by)


# Matches cards in which frames that fit each other may differ. CCDTYPE is a kind of exposure. Some
# cameras write the kind into TELESCOP. A profile may have several names of the instrument.
_NOT_DECISIVE = re.compile(r".*TYPE.*|.*TIME.*|INSTR.*|TEL.*|OBSTELID")
_DECISIVE_MEANINGS = ("device", "gain", "readout", "level", "coadds", "place", "section", "binning")


def is_decisive(keyword, group_by):
    """Return whether frames with different values of a card do not fit each other.

    Parameters
    ----------
    keyword : str
    group_by : sequence of str
        As for `split_by_cards`.

    Returns
    -------
    bool
    """
    meaning = _meaning_of(keyword)
    has_decisive_name = meaning in _DECISIVE_MEANINGS and not _NOT_DECISIVE.fullmatch(keyword)
    return has_decisive_name and tells_apart(keyword, group_by)


def split_by_cards(groups, group_by, *, ignored_meanings=()):
    """Split groups whose rows differ in device or setting.

    Parameters
    ----------
    groups : dict of tuple to list of ccdflow.run.raw_frames.rows.Row
        By (night, camera, shared, ...), `shared` a tuple of (name, value).
    group_by : sequence of str
        The facts in which the frames of a group agree, by the configuration. If window, ccdsum,
        readmode or gain is left out, cards on it do not separate groups.
    ignored_meanings : tuple of str, optional
        Meanings of cards that separate no groups, such as ``temperature``.

    Returns
    -------
    dict of tuple to list of ccdflow.run.raw_frames.rows.Row
        A group whose rows agree is unchanged. Each part of a group that is split has one more entry
        in `shared`: `SETTING_NAME`, with the values of the cards in which the parts differ.
    """
    rows_by_key = {}
    for key, rows in groups.items():
        names = differing_keywords(row.facts["setting"] for row in rows)
        names = [
            name
            for name in names
            if tells_apart(name, group_by) and not has_meaning(name, ignored_meanings)
        ]
        if not names:
            rows_by_key[key] = rows
            continue
        for row in rows:
            cards = cards_of(row.facts["setting"])
            differing_cards_text = ", ".join(
                f"{name} {cards.get(name, 'absent')}" for name in names
            )
            night, camera, shared, *further = key
            key_of_part = (night, camera, (*shared, (SETTING_NAME, differing_cards_text)), *further)
            rows_by_key.setdefault(key_of_part, []).append(row)
    return rows_by_key


# The name of a group has the keywords and values of at most this many cards.
_MOST_CARDS_IN_NAME = 2


def name_of_setting(setting):
    """Return the part of a group's file name with the cards in which it differs from others.

    Parameters
    ----------
    setting : str
        As `split_by_cards` writes it.

    Returns
    -------
    str
        Such as 'OFFSET10'.
    """
    cards = setting.split(", ")
    cards = [re.sub(r"[^A-Za-z0-9.+-]", "", part) for part in cards[:_MOST_CARDS_IN_NAME]]
    return "_".join(cards)


# Matches cards that differ from frame to frame, or from hour to hour, whatever the camera does.
_RUNNING_VALUE_CARD = re.compile(
    r".*(?:DATE|TIME|STAMP|FILE|CHECKSUM|DATASUM|CKSUM).*|(?:RAW|CCDF|IMCOM|BIASLV|OVRRMS|OVERRMS).*"
    r"|U(?:T|TC).*|[LG]?M?ST(?:ART|END|OP)?|M?JD.*|.*MJD.*|HA|ZD|AIRMASS.*|AM(?:START|END)"
    r"|(?:TEL|OBJ|CAT|TARG)?(?:RA|DEC|ALT|AZ|EL)(?:DEG|D)?|PARANG.*|ROT.*|.*ANGLE?|DOME.*|FOCUS.*"
    r"|(?:OBS|EXP|IMG|SEQ|FRAME|RUN|PIC|CCDPIC|FR|ID)[-_]?(?:NO|NUM|NR|ID|COUNT|CNT|N)?|SEQ.*|SERIES"
    r"|TU?SEC|CRVAL[12]|CRPIX[12]|CD[12]_[12]|P[CV]\d_\d|AMB.*|HUMID.*|PRESS.*|WIND(?:SP|DIR|D|V).*"
    r"|OBJECT|TITLE|OBSERVER|COMMENT|HISTORY|BLOCK.*|GROUP.*|REQ.*|DATA(?:MIN|MAX|MEAN)|MEAN.*|STD.*"
    r"|MED.*|MIN.*|MAX.*|MODE"
)
# A sentence names at most this many cards.
_MOST_CARDS_IN_SENTENCE = 4
# Numbers tell two sets of frames apart if the gap between their ranges is wider than this many
# times the wider range. Chosen: a gap that is short beside a range may lie within that range by
# chance.
_LEAST_GAP_RATIO = 3


def differing_cards_in_words(one, other):
    """Return the cards whose values tell two sets of frames apart, in words.

    Parameters
    ----------
    one, other : list of dict
        {keyword: value} of each frame's header.

    Returns
    -------
    list of str
        Such as 'OFFSET (10 and 50)', with the cards on device and setting first. A value of ''
        counts as absent.
    """
    keywords = sorted(set().union(*one, *other), key=lambda name: (not _meaning_of(name), name))
    texts = []
    for keyword in keywords:
        if not _meaning_of(keyword) and _RUNNING_VALUE_CARD.fullmatch(keyword):
            continue
        sides = [[header.get(keyword, "") for header in side] for side in (one, other)]
        values = _values_of_two_sides(*sides)
        if values:
            texts.append(f"{keyword} ({values[0]} and {values[1]})")
    return texts[:_MOST_CARDS_IN_SENTENCE] + ["..."] * (len(texts) > _MOST_CARDS_IN_SENTENCE)


def value_of_card_text(text):
    """Return the value of a card's text as text, without quotes and comment.

    A text ends at its first inner quote: ``'it''s'`` gives ``it``.
    """
    value = text[10:80].strip() if text[8:9] == "=" else text.partition("=")[2][:70].strip()
    if value.startswith("'"):
        return value[1:].partition("'")[0].strip()
    return value.partition("/")[0].strip()


def _values_of_two_sides(first_side, second_side):
    """Return the unequal values of two sides in words: (str, str); None if they are not distinct.

    Values are distinct if each side has a single one and these two differ. They are also distinct
    if all are numbers, and the gap between the two ranges is wider than `_LEAST_GAP_RATIO` times
    the wider range.
    """
    if len(set(first_side)) == len(set(second_side)) == 1:
        pair = tuple(
            str(side[0]) if side[0] != "" else "absent" for side in (first_side, second_side)
        )
        return pair if pair[0] != pair[1] else None
    numbers = [[as_number(value) for value in side] for side in (first_side, second_side)]
    if any(value is None for side in numbers for value in side):
        return None
    low, high = sorted(numbers, key=min)
    gap, spread = min(high) - max(low), max(max(low) - min(low), max(high) - min(high))
    if gap <= _LEAST_GAP_RATIO * spread or gap <= 0:
        return None
    return tuple(f"{min(side):g} to {max(side):g}" for side in numbers)
