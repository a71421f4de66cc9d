"""The type of a frame, by the words and numbers that observatories write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from ccdflow.camera.header_reader import LONGEST_BIAS_SECONDS
from ccdflow.camera.profile_lines import pattern_of, type_rule_text
from ccdflow.files.cards import (
    CardSpec,
    as_text,
    contents_of_cards,
    hdu_indices,
    matches_patterns,
    specs_in_headers,
    unreadable_card,
    value_of_card,
)
from ccdflow.files.values import Broken, as_number, says_unknown

TYPES = ("bias", "dark", "flat", "science", "arc", "other")
"""The types of frames; `other` is a known type that no product needs, such as a frame for focusing.
"""

TARGET_CARD = "OBJECT"
"""The card of the target in nearly all headers."""

SYNONYMS = {
    "bias": (
        "bias biases biasframe biasimage biasfield zero zeroframe zeros biaszero mbias offset "
        "offsets offsetframe offsetfield biasexposure zeroexposure zeroimage "
        "zro nullbild"
    ),
    "dark": (
        "dark darks darkframe darkimage darkfield darkexposure darkflat flatdark drk dunkelbild "
        "dunkelbilder dunkelstrom noir noirs oscuro oscuros escuro escuros buio"
    ),
    "flat": (
        "flat flats flatfield flatframe flatimage dome domeflat skyflat twiflat twilight "
        "twilightflat dflat sflat flatlamp lampflat lampqtz internalflat intflat dmflat "
        "projectorflat led pixflat flatsky skyflats domeflats flatdome flatfieldimage ledflat "
        "twilighttwilight wflat plu domelamp lampdome quartz quartzlamp mfff mffff mfsff flt "
        "twi plano planos"
    ),
    "science": (
        "science object objects obj objs target light lightframe lights std standard spectrum sci "
        "stdstar spectrophotometricstandard objectastro expose sky stdflux stdtell lightimage "
        "nightsky stdtelluric objectframe guidestar sciobj mfobject mfsky "
        "specltarget speclfluxref osirisbroadbandimage osirislongslitspectroscopy osirismos "
        "osiristunablefilterimage brute brutes imagebrute luz luces luce objeto objetos objet "
        "oggetto"
    ),
    "arc": (
        "arc arcs comp comps comparison lamp wave wavelamp lampwave wavecal arclamp line arcimage "
        "compframe lamparc arclamps wavelengthcalibration neon argon xenon krypton helium mercury "
        "thar cuar hear fear hgar hgne hgcd henear near arne cdar thne hene hgnear hgarne cuhear "
        "comparisonlamp calibrationlamp arcframe calib mfarc "
        "cmp specllamp speclwllight osiriscalibrationlamp"
    ),
    "other": (
        "focus test other acquisition acq acquire align alignment engineering junk pointing "
        "through slit mask slittarget"
    ),
}
"""Words of observatories for image types, in lower case, without blanks and punctuation."""


def _type_by_word(words_by_type):
    """Return {word: image type} of a table that has the words of each type in one text."""
    return {
        word: image_type for image_type, words in words_by_type.items() for word in words.split()
    }


# The image type of each word of `SYNONYMS`.
_TYPE_OF_WORD = _type_by_word(SYNONYMS)
# Patterns that match words for the light of a flat: of the sky, and of a lamp.
_LIGHT_PATTERNS = {
    "sky": re.compile(r"sky|twi(?:l|f|ght)?|dusk|dawn|sflat"),
    "lamp": re.compile(
        r"dome|dmf|dflat|lamp|\bled\b|ledflat|quartz|qtz|qflat|intern|intflat|proj|screen"
    ),
}
# Words that give the type even among other words: 'BIAS 1x1', 'Neon lamp 2 s'.
_STRONG_WORDS = {
    "bias": "bias biases zero offset",
    "dark": "dark darks",
    "flat": "dome twilight quartz",
    "arc": (
        "arc arcs comp comparison neon argon xenon krypton helium mercury thar cuar hear fear hgar "
        "hgne henear wave"
    ),
    "science": "science object obj light target standard std",
    "other": "focus test junk acquisition acq",
}
# The image type of each word of `_STRONG_WORDS`.
_TYPE_OF_STRONG_WORD = _type_by_word(_STRONG_WORDS)
# Image types by weight: where the words of a text name several types, the first one counts.
_TYPES_BY_WEIGHT = ("bias", "dark", "flat", "arc", "science", "other")
# The numbers of image types that CCDSoft and TheSky write into PICTTYPE.
_NUMBERED_TYPES = {"PICTTYPE": {1: "science", 2: "bias", 3: "dark", 4: "flat"}}
# Cards that may have another use: a value counts only if it is an image type.
_AMBIGUOUS_TYPE_CARDS = ("FRAME", "PICTTYPE", "OBSMODE", "OBS_MODE")
# Words in the place of a target: a frame of type science with one of them may be of another type.
_NO_TARGET_WORDS = {
    "bias": "bias biases zero zeros biasframe offset",
    "dark": "dark darks darkframe",
    "flat": "flat flats flatfield flatfields flatframe twilight twilights twi dome quartz domeflat "
    "domeflats skyflat skyflats twiflat twilightflat flatlamp",
    "arc": "arc arcs comp comps comparison arclamp wavecal thar cuar hear fear henear hgne hgar "
    "cdar hgcd neon argon xenon krypton",
}
# The image type of each word in the place of a target.
_TYPE_OF_TARGET_WORD = _type_by_word(_NO_TARGET_WORDS)
# Matches words that may stand beside one of `_NO_TARGET_WORDS`, and name no target: 'Dome flat V 3
# s', 'sky flat r', 'FeAr lamp on'.
_OTHER_WORDS = re.compile(
    r"[a-z]{1,2}|[a-z]?\d+[a-z]?|sky|field|lamp|lamps|frame|frames|image|test|exp|sec|secs|on|off|evening"
    r"|morning|eve|morn|even|dusk|dawn|screen|internal|int|red|blue|green|clear|filter|bessell|bess|sdss"
    r"|sloan|johnson|cousins|halpha|ha|spec|spectrum|slit|grating|grism|calib|calibration|cal"
)

# The types by which people name folders and files.
_TYPES_IN_NAMES = ("bias", "dark", "flat", "science")
# DARKTIME of a bias is at most this many seconds: it includes the readout, which is slow for a
# large detector.
_LONGEST_READOUT_SECONDS = 10.0


@dataclass(frozen=True)
class TypeRule:
    """The conditions under which a frame is of a type.

    Attributes
    ----------
    type : str
        One of TYPES.
    imagetyp : tuple of str
        Allowed image types; empty for any.
    exptime_min, exptime_max : float or None
        Bounds of the exposure in seconds, both included.
    cards : tuple of (CardSpec, tuple)
        Further cards, and the values that each may have.
    files : tuple of str
        Allowed file names, as globs in small or capital letters; empty for any.
    """

    type: str
    imagetyp: tuple[str, ...] = ()
    exptime_min: float | None = None
    exptime_max: float | None = None
    cards: tuple[tuple[CardSpec, tuple[object, ...]], ...] = ()
    files: tuple[str, ...] = ()


def frame_type(reader, rules):
    """Return the image type as written, the type that it means, and the reason if it means none.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets warnings on cards by which the frame may be of another type.
    rules : tuple of TypeRule

    Returns
    -------
    imagetyp, type, reason : str
    """
    types_written = _types_of_cards(reader)
    first_text = types_written[0][0] if types_written else ""
    for rule in rules:
        if _rule_holds(rule, reader, first_text):
            if rule.type == "bias" and rule.exptime_min is rule.exptime_max is None:
                reader.warn_of_long_bias(first_text)
            return first_text, rule.type, ""
    for text, image_type in types_written:
        if image_type:
            _warn_of_other_types(reader, text, image_type, types_written)
            return text, _type_by_other_cards(reader, text, image_type), ""
    keyword, name = _target_of(reader)
    target_type = type_of_target(name)
    advice = ""
    if target_type:
        rule = type_rule_text(target_type, cards=[(keyword, [name])])
        advice = f"; by {keyword} it is of type {target_type}: types: [{rule}]"
    if first_text:
        reason = f"unknown image type {first_text!r}: name it under `types:` in a profile"
        return first_text, "", reason + advice
    keywords_in_words = ", ".join(spec.keyword for spec in reader.cards["imagetyp"][:4])
    reason = (
        f"no card says the image type (looked for {keywords_in_words}...): name it in a profile"
    )
    return "", "", reason + advice


# The types that contradict a type. A dark of 0 s is a bias, so that the two are no contradiction.
_CONTRADICTIONS = {
    "science": ("bias", "dark", "flat"),
    "flat": ("bias", "dark"),
    "bias": ("flat",),
    "dark": ("flat",),
}


def _warn_of_other_types(reader, text, image_type, types_written):
    """Warn of a frame whose type another card contradicts.

    Contradictions are science that is called a bias, a dark or a flat elsewhere, and frames with
    light that are called frames without: a flat that is a bias or a dark, and the reverse.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets the warning.
    text, image_type : str
        The type that counts: as written, and the one of `TYPES`.
    types_written : list of (str, str)
        Text and type of each card.
    """
    # A frame of the sky may be a flat: both words are right. KOAIMTYP is the type that Keck's
    # archive found after the night: cards of the night that disagree with it are wrong.
    order = (0, reader.images[0])
    is_corrected = value_of_card(reader.headers, CardSpec("KOAIMTYP"), order) is not None
    if "sky" in text.lower() or is_corrected:
        return
    others = [pair for pair in types_written if pair[1] in _CONTRADICTIONS.get(image_type, ())]
    if others:
        other_text, other_type = others[0]
        name = "science" if image_type == "science" else f"a {image_type}"
        reader.warn(
            f"{text!r} is taken for {name}, and another card says {other_text!r}; if it is of type"
            f" {other_type}, name the card that counts in the camera's profile:"
            " keywords: {imagetyp: CARD}"
        )


def type_by_file_name(file):
    """Return the type of a frame by the name of its folder or file, and a glob; '' for none.

    Parameters
    ----------
    file : str
        Path relative to the raw folder.

    Returns
    -------
    image_type, pattern : str

    Examples
    --------
    >>> type_by_file_name("2024/Biases/F_001.fits"), type_by_file_name("flat_R_2.fits")
    (('bias', '*Biases/*'), ('flat', 'flat*'))
    >>> type_by_file_name("IMG_0012.fits")
    ('', '')
    """
    *folders, name = PurePosixPath(file).parts
    word = re.match(r"[A-Za-z]*", name)[0]
    for text, pattern in (
        (word, f"{word}*"),
        *((folder, f"*{pattern_of(folder)}/*") for folder in folders[::-1]),
    ):
        image_type = _TYPE_OF_WORD.get(_letters_and_digits(text), "")
        if image_type in _TYPES_IN_NAMES:
            return image_type, pattern
    return "", ""


def warn_of_unlike_file_name(reader, image_type):
    """Warn of a frame whose file is named after another type: 'dark_001.fits' of type flat.

    Names of folders do not count: a folder of darks may have biases in it.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader
        Gets the warning.
    image_type : str
        The type by the header.
    """
    name = PurePosixPath(reader.file).name
    word = re.match(r"[A-Za-z]*", name)[0]
    type_by_name = _TYPE_OF_WORD.get(word.lower(), "")
    contradicting_types = _CONTRADICTIONS.get(image_type, ())
    if image_type == "dark" and (reader.seconds() or 0) > LONGEST_BIAS_SECONDS:
        contradicting_types += ("bias",)
    if type_by_name in contradicting_types:
        rule = type_rule_text(type_by_name, files=[f"{word}*"])
        same_rule = type_rule_text(image_type, files=[f"{word}*"])
        described = "science" if image_type == "science" else f"a {image_type}"
        reader.warn(
            f"the file is named {word!r}, and its header makes it {described}; if it is of type"
            f" {type_by_name}, write into the camera's profile: types: [{rule}]; if not,"
            f" [{same_rule}]"
        )


def is_named_by_object(reader):
    """Return whether a frame's target is named by OBJECT, and its name means an image type.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader

    Returns
    -------
    bool
    """
    keyword, name = _target_of(reader)
    return keyword == TARGET_CARD and bool(type_of_target(name))


def _target_of(reader):
    """Return the keyword and the text of the card with a frame's target; '' and '' for none."""
    cards = reader.all_values("object", as_text, None)
    return (cards[0][1].keyword, cards[0][0]) if cards else ("", "")


def _types_of_cards(reader):
    """Return the image types of cards in their order, as (text of the card, its type or '')."""
    types = []
    for spec in specs_in_headers(reader.headers, reader.cards["imagetyp"]):
        is_ambiguous = spec.keyword in _AMBIGUOUS_TYPE_CARDS
        if is_ambiguous and any(image_type for _, image_type in types):
            # The type is known, and this card may hold a number that differs in each header. It is
            # not read, because results are remembered by the values of the cards that were read.
            continue
        content = _first_telling_card(reader, spec)
        if content is None:
            continue
        image_type = _type_of(content)
        is_broken = isinstance(content.value, Broken)
        if image_type or not (is_ambiguous or is_broken):
            types.append((" ".join(str(content.value).split()), image_type))
        elif not is_ambiguous:
            reader.warn(unreadable_card(content, "the text is not in quotes"))
    return types


def _first_telling_card(reader, spec):
    """Return the content of the first card of an image type that is not blank; None without one.

    The primary's card counts only if that of the image is absent or blank.
    """
    order = reader.hdu_order("imagetyp")
    if spec.hdu is not None:
        order = hdu_indices(reader.headers, spec.hdu)
    for index in dict.fromkeys(order):
        for content in contents_of_cards(reader.headers[index], spec.keyword, spec.occurrence):
            if not says_unknown(content.value):
                return content
    return None


def _type_of(content):
    """Return the type that a card gives by a number or in words; '' if it gives none."""
    number = as_number(content.value)
    if number is not None and content.keyword in _NUMBERED_TYPES:
        return _NUMBERED_TYPES[content.keyword].get(number, "")
    return known_type(str(content.value))


def light_named_in(*texts):
    """Return the light of a flat, ``sky`` or ``lamp``, by the first text that names one; else ''.

    Parameters
    ----------
    *texts : str
        Image type and object, as headers have them.

    Returns
    -------
    {'sky', 'lamp', ''}
    """
    for text in texts:
        lights = [name for name, words in _LIGHT_PATTERNS.items() if words.search(text.lower())]
        if len(lights) == 1:
            return lights[0]
    return ""


def known_type(text):
    """Return the type that the text of a card means, without other cards; '' for an unknown text.

    Examples
    --------
    >>> known_type("Bias Frame"), known_type("Dome Flat"), known_type("Light"), known_type("M 51")
    ('bias', 'flat', 'science', '')
    """
    letters = _letters_and_digits(text)
    if letters in _TYPE_OF_WORD:
        return _TYPE_OF_WORD[letters]
    separated = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()
    words = re.findall(r"[a-z]+", re.sub(r"\d+x\d+", " ", separated))
    if {"dark", "flat"} <= set(words) and not {"field", "fielding"} & set(words):
        return "dark"
    # Flats have more names than other types: TWIFLAT2, PROJFLAT, 'dome flat r', ESO's 'LAMP,QFLAT'.
    if "flat" in letters:
        return "flat"
    # ESO and others list attributes: 'WAVE,LAMP', 'OBJECT,SKY', 'STD,FLUX'.
    parts = re.split(r"[,;]", text)
    types = (
        {_TYPE_OF_WORD.get(_letters_and_digits(part)) for part in parts}
        if len(parts) > 1
        else set()
    )
    types |= {_TYPE_OF_STRONG_WORD.get(word) for word in words}
    types |= {_TYPE_OF_WORD.get("".join(words))}
    return next((image_type for image_type in _TYPES_BY_WEIGHT if image_type in types), "")


def _type_by_other_cards(reader, text, image_type):
    """Return the type after a look at the exposure and the target: a dark of 0 s is a bias."""
    if image_type == "dark" and _has_zero_exposure(reader):
        seconds = _dark_time(reader)
        if seconds > _LONGEST_READOUT_SECONDS:
            reader.warn(
                f"EXPTIME: no exposure of a dark whose DARKTIME is {seconds:g} s (found 0);"
                " allowed: above 0 s; it is in no master until the card is corrected, or the"
                " camera's profile says: keywords: {exptime: DARKTIME}"
            )
            return "dark"
        reader.warn(
            f"{text!r} of 0 s is taken for a bias; to keep it a dark, write into the camera's"
            f" profile: types: [{type_rule_text('dark', imagetyp=[text])}]"
        )
        return "bias"
    if image_type == "bias":
        reader.warn_of_long_bias(text)
    if image_type == "science":
        keyword, name = _target_of(reader)
        target_type = type_of_target(name)
        if target_type:
            rule = type_rule_text(target_type, imagetyp=[text], cards=[(keyword, [name])])
            reader.warn(
                f"{text!r} with {keyword} {name!r} is taken for science; if it is of type"
                f" {target_type}, write into the camera's profile: types: [{rule}]"
            )
    return image_type


def type_of_target(name):
    """Return the image type that the name of a target means; '' for the name of an object.

    Parameters
    ----------
    name : str
        As in OBJECT. Each of several words must mean this type, or no object.

    Returns
    -------
    str
    """
    letters = _letters_and_digits(name).rstrip("0123456789")
    if letters in _TYPE_OF_TARGET_WORD:
        return _TYPE_OF_TARGET_WORD[letters]
    return _type_of_words(name) or _type_of_words(re.sub(r"([a-z])([A-Z])", r"\1 \2", name))


def _type_of_words(name):
    """Return the type by the words of a target's name; '' if a word may be part of an object's."""
    words = re.findall(r"[a-z]+\d*|\d+[a-z]?", name.lower())
    types = [_TYPE_OF_TARGET_WORD.get(word.rstrip("0123456789")) for word in words]
    other_words = [word for word, image_type in zip(words, types, strict=True) if not image_type]
    if not any(types) or not all(map(_OTHER_WORDS.fullmatch, other_words)):
        return ""
    return "flat" if "flat" in types else next(filter(None, types))


def _dark_time(reader):
    """Return the seconds from the clearing of the detector to its readout; 0 where unknown."""
    value = value_of_card(reader.headers, CardSpec("DARKTIME"), (0, reader.images[0]))
    return as_number(value) or 0.0


def _has_zero_exposure(reader):
    """Return whether there is a card with the exposure, and all of them say 0."""
    exposures = [
        seconds
        for seconds, _ in reader.all_values(
            "exptime", lambda content: as_number(content.value), None
        )
    ]
    return bool(exposures) and not any(exposures)


def _rule_holds(rule, reader, imagetyp):
    """Return whether a frame meets all conditions of a profile's rule on image types."""
    if rule.files and not _is_file_of(reader.file or "", rule.files):
        return False
    if rule.imagetyp and not matches_patterns(imagetyp or None, rule.imagetyp):
        return False
    if not _is_exposure_of(rule, reader):
        return False
    order = (0, reader.images[0])
    return all(
        matches_patterns(value_of_card(reader.headers, spec, order), values)
        for spec, values in rule.cards
    )


def _is_exposure_of(rule, reader):
    """Return whether a frame's exposure is within the bounds of a rule; True without bounds."""
    if rule.exptime_min is rule.exptime_max is None:
        return True
    exptime = reader.seconds()
    if exptime is None or (rule.exptime_min is not None and exptime < rule.exptime_min):
        return False
    return rule.exptime_max is None or exptime <= rule.exptime_max


def _is_file_of(file, patterns):
    """Return whether the path or the name of a file matches a glob, in small or capital letters."""
    path_and_name = (str(PurePosixPath(file)).lower(), PurePosixPath(file).name.lower())
    return any(fnmatchcase(text, pattern.lower()) for text in path_and_name for pattern in patterns)


def _letters_and_digits(text):
    """Return the letters and digits of a text, in lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())
