"""Parts of profiles that warnings and errors tell a user to write.

The values come from headers and names of files: ``Dark: no shutter``, ``yes``, ``12``,
``FLAT [r]``. The functions quote texts that YAML would not read as a text, and escape letters that
have a meaning in a pattern. So the profile has the same value as the header.
"""

from __future__ import annotations

import json
import re

from ccdflow.yaml_reading import SURROGATE

# Matches a text that YAML reads as itself without quotes.
_PLAIN = re.compile(
    r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[A-Za-z](?:[\w .+/-]*[\w.+/-])?",
    re.ASCII | re.IGNORECASE,
)
# Matches a letter that has a meaning in a pattern of file names.
_GLOB_LETTER = re.compile(r"[*?\[]")


def yaml_text(text):
    """Return a text as a value in YAML, in quotes where YAML would not read it as this text."""
    if _PLAIN.fullmatch(text):
        return text
    # YAML takes no bare DEL, which JSON leaves as it is.
    return json.dumps(text).replace("\x7f", "\\u007f")


def yaml_number(number, digits=None):
    """Return a number as a value in YAML; without a point in ``1e-07`` YAML would read a text.

    Parameters
    ----------
    number : int or float
    digits : int, optional
        Significant digits; without it, all digits of the number.

    Returns
    -------
    str

    Examples
    --------
    >>> print(yaml_number(1e-7, 2), yaml_number(12.50), yaml_number(30.0))
    1.0e-07 12.5 30
    """
    text = f"{number:.{digits or 6}g}"
    if digits is None and float(text) != number:
        text = repr(number)
    mantissa, exponent_mark, exponent = text.partition("e")
    return text if "." in mantissa or not exponent_mark else f"{mantissa}.0e{exponent}"


def pattern_of(text):
    """Return the pattern of this text alone, with ``?`` for a byte of a name that is not UTF-8.

    Examples
    --------
    >>> print(pattern_of("FLAT [r]*"))
    FLAT [[]r][*]
    """
    return SURROGATE.sub("?", _GLOB_LETTER.sub(r"[\g<0>]", text))


def condition_text(keyword, text):
    """Return the condition that a card has a text, as `recognise` and `cards` of a profile have it.

    Parameters
    ----------
    keyword, text : str
        The card's keyword and its text.

    Returns
    -------
    str

    Examples
    --------
    >>> print(condition_text("INSTRUME", "cam: 2"))
    {INSTRUME: "cam: 2"}
    """
    return f"{{{yaml_text(keyword)}: {yaml_text(pattern_of(text))}}}"


def type_rule_text(frame_type, *, imagetyp=(), files=(), cards=(), exptime=()):
    """Return a rule on image types as a profile has it.

    Parameters
    ----------
    frame_type : str
    imagetyp : sequence of str, optional
        Image types as written in headers; blank ones are left out.
    files : sequence of str, optional
        Patterns of file names.
    cards : sequence of (str, sequence of str), optional
        Keywords of other cards, and the texts of each.
    exptime : sequence of (str, float), optional
        ``min`` or ``max``, and seconds.

    Returns
    -------
    str

    Examples
    --------
    >>> print(type_rule_text("flat", cards=[("OBJECT", ["FLAT R", "FLAT: V"])]))
    {type: flat, cards: {OBJECT: [FLAT R, "FLAT: V"]}}
    >>> print(type_rule_text("bias", files=["bias*"], exptime=[("max", 0)]))
    {type: bias, file: "bias*", exptime: {max: 0}}
    """
    conditions = [("type", yaml_text(frame_type))]
    texts = [pattern_of(text) for text in imagetyp if text]
    conditions += [("imagetyp", _text_or_list(texts))] if texts else []
    conditions += [("file", _text_or_list(files))] if files else []
    allowed_cards = [
        f"{yaml_text(keyword)}: {_text_or_list(list(map(pattern_of, values)))}"
        for keyword, values in cards
    ]
    limits = [f"{end}: {yaml_number(seconds)}" for end, seconds in exptime]
    conditions += [
        (name, f"{{{', '.join(texts)}}}")
        for name, texts in (("cards", allowed_cards), ("exptime", limits))
        if texts
    ]
    return f"{{{', '.join(f'{name}: {text}' for name, text in conditions)}}}"


def _text_or_list(texts):
    """Return a single text, or several as a list, as a value in YAML."""
    values = list(map(yaml_text, texts))
    return values[0] if len(values) == 1 else f"[{', '.join(values)}]"
