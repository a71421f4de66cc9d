"""The filter of a frame: of several wheels, those whose place is not open."""

from __future__ import annotations

import re

from ccdflow.files.cards import as_text

# Matches the value of a filter wheel's card for an open position.
_OPEN_POSITION = re.compile(
    r"(no|none|without|empty|open|clear|clr|air|free|frei|libre|hole|blank|nofilter|nofilt|out|unfiltered"
    r"|luminance(clear)?)(filter|filt|slot|position|pos)?[0-9]*",
)
# Matches keywords with a word for a filter, for cards that no list has: CCDFLTID, FLT_ID, INSFLNAM.
_FILTER_CARD = re.compile(r".*(?:FILT|FLT|FLNAM|FLTNM|FLNM).*")
# Matches the exceptions to `_FILTER_CARD`: the wheel's motion, and properties of a filter.
_NO_FILTER_CARD = re.compile(
    r".*(?:POS|NUM|NO|SPD|SPEED|OFF|OFFSET|STEP|STEPS|ENC|DATE|TIME|STAT|STATUS|FILE|PATH|FOC|FOCUS|MODE"
    r"|THICK|TEMP|COMM?|SER|SERIAL|SN|SLOT|WIDTH|WAVE|WL|CWL|BW|SYS|PSYS|DRV|DRIVER|PORT|MOV\w*|ERR)\d*"
    r"|.*(?:FLAT|INFILT|FAULT|FLTRD).*"
)
# Matches keywords of filters that most cameras have for files: the wheel's FILNAM of Keck
# (DWFILNAM), FIL1NAME.
_FILTER_OR_FILE_CARD = re.compile(r".*W\d?FILNAME?|FIL\d{1,2}NAME?")
# Matches the characters between the words of a name.
_WORD_SEPARATOR = re.compile(r"[\s_-]+")
# Matches the separator of several filters in one card: g,r or g; r or g & r.
_FILTER_SEPARATOR = re.compile(r"\s*[,;&|]\s*|\s+and\s+")
# Matches a slash or a space, which separates filters only between names of bands (g/r, g r): names
# of other filters contain slashes and spaces.
_BETWEEN_BANDS = re.compile(r"\s*/\s*|\s+")
# Matches the name of a band: V, i, g'.
_BAND = re.compile(r"[UBVRIJHKugrizy]['\u2019]?")
# Matches the keywords of the wheels of one instrument: together they are the filter.
_WHEEL = re.compile(r"(FILTER|FILT|FILTERN|FILTNAM|FILTID|ESO INS FILT)_?0?[1-9]( NAME)?")
# Matches the number of a place in a wheel, which has another filter once the wheel is refilled.
_WHEEL_PLACE = re.compile(r"\d+")
# Matches the keyword of an optical element, which older instruments of ESO number. The card of the
# element's type shows whether it is a filter.
_ELEMENT = re.compile(r"(ESO INS OPTI-?\d+) NAME")


def filter_of(reader):
    """Return the name of a frame's filter; '' where no card has one.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader

    Returns
    -------
    str
        The first text that names a filter; for several numbered wheels, their texts with ``+``
        between. If no listed card names a filter, all texts of cards whose keyword has a word for a
        filter. If all wheels are open, the first text as written.
    """
    cards = reader.all_values("filter", _as_name, "the text is not in quotes")
    names = [(_joined_names(reader, text, content), content.keyword) for text, content in cards]
    real_filters = [(text, keyword) for text, keyword in names if not is_open(text)]
    if real_filters:
        return _name_of_wheels(_filters_with_name(real_filters))
    return _filter_by_keyword(reader, [keyword for _, keyword in names]) or (
        names[0][0] if names else ""
    )


def _name_of_wheels(real_filters):
    """Return the name of the first filter, with those of the other wheels of its instrument.

    Parameters
    ----------
    real_filters : list of (str, str)
        Name and keyword of each filter that is not an open place; not empty.
    """
    name, keyword = real_filters[0]
    wheels = [
        (text, other_keyword)
        for text, other_keyword in real_filters
        if _keyword_family(other_keyword) == _keyword_family(keyword)
    ]
    if _WHEEL.fullmatch(keyword):
        return "+".join(dict.fromkeys(text for text, _ in wheels))
    # FILTER and FILTER1 are of one wheel, or FILTER has the names of all wheels.
    other_wheels = [
        text
        for text, other_keyword in wheels[1:]
        if re.search("[2-9]", other_keyword) and text.casefold() not in name.casefold()
    ]
    return "+".join(dict.fromkeys([name, *other_wheels]))


def _filters_with_name(filters):
    """Return the filters of families with a name, without those that only have a place's number.

    Parameters
    ----------
    filters : list of (str, str)
        Name and keyword; not empty.

    Returns
    -------
    list of (str, str)
        All filters if none has a name; the wheels of one instrument stay together.
    """
    named_families = {
        _keyword_family(keyword) for text, keyword in filters if not _WHEEL_PLACE.fullmatch(text)
    }
    return [pair for pair in filters if _keyword_family(pair[1]) in named_families] or filters


def _as_name(content):
    """Return a card's value as text: a place in a wheel is 3, whether written 3, 3.0 or '3'."""
    value = content.value
    is_place = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_place else as_text(content)


def _joined_names(reader, text, content):
    """Return the text of a card; for several filters, warn and put ``+`` between them."""
    parts = [part for part in _FILTER_SEPARATOR.split(text) if part]
    if len(parts) == 1:
        words = [word for word in _BETWEEN_BANDS.split(text) if word]
        parts = words if all(map(_BAND.fullmatch, words)) else parts
    if len(parts) < 2:
        return _name_without_open_places(text)
    name = "+".join(part for part in dict.fromkeys(parts) if not is_open(part)) or text
    reader.warn(
        f"{content.keyword}: several filters in one card (found {text!r}); all of them count as in"
        f" the beam, as {name}; correct the card if only one was"
    )
    return name


def _name_without_open_places(text):
    """Return the name of the filters of several wheels in one card: g+Clear is g."""
    wheels = [part.strip() for part in text.split("+")]
    filters = [part for part in wheels if part and not is_open(part)]
    return "+".join(filters) if filters and len(filters) < len(wheels) else text


def _filter_by_keyword(reader, open_wheels):
    """Return the texts of all cards with a word for a filter in the keyword, with ``+`` between.

    ``open_wheels`` are the keywords of wheels at an open place: further cards of these wheels do
    not count. The result is '' without a text.
    """
    open_stems = {stem for keyword in open_wheels if (stem := keyword.rpartition(" ")[0])}
    filter_cards = [
        *reader.cards_with_name(_FILTER_CARD, _NO_FILTER_CARD),
        *reader.cards_with_name(_FILTER_OR_FILE_CARD, _NO_FILTER_CARD),
        *_optical_filters(reader),
    ]
    values = (
        content.value
        for content in filter_cards
        if content.keyword.rpartition(" ")[0] not in open_stems
    )
    texts = [
        _name_without_open_places(" ".join(text.split()))
        for text in values
        if isinstance(text, str)
    ]
    texts = [text for text in texts if re.search("[A-Za-z]", text) and not _is_word_for_open(text)]
    return "+".join(dict.fromkeys(texts))


def _optical_filters(reader):
    """Return the contents of the cards that name optical elements whose type is FILTER."""
    elements = reader.cards_with_name(_ELEMENT, _NO_FILTER_CARD)
    if not elements:
        return []
    types = reader.cards_with_name(re.compile(r"ESO INS OPTI-?\d+ TYPE"), _NO_FILTER_CARD)
    filters = {
        content.keyword.rpartition(" ")[0]
        for content in types
        if str(content.value).upper() == "FILTER"
    }
    return [content for content in elements if content.keyword.rpartition(" ")[0] in filters]


def _is_word_for_open(text):
    """Return whether one of a text's words is that of an open place: CF-CLEAR1, WaveplateOut."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())
    return is_open(text) or any(map(is_open, words))


def filter_in_any_order(name):
    """Return one name for filters in any order of their wheels: V+ND2 and ND2+V give ND2+V.

    Blanks, underscores and hyphens count as equal: programs write ``Bessell_V`` and ``Bessell V``.
    Small and capital letters differ: r and R are two filters.

    Parameters
    ----------
    name : str
        As `filter_of` returns it.

    Returns
    -------
    str

    Examples
    --------
    >>> filter_in_any_order("V+ND2"), filter_in_any_order("ND2 + V"), filter_in_any_order("V")
    ('ND2+V', 'ND2+V', 'V')
    >>> tuple(map(filter_in_any_order, ("Bessell_V", "Bessell-V", "Bessell  v")))
    ('Bessell V', 'Bessell V', 'Bessell v')
    """
    return "+".join(sorted(_WORD_SEPARATOR.sub(" ", part).strip() for part in name.split("+")))


def is_open(text):
    """Return whether a wheel's text means no filter: open, Clear, NO_FILTER, 1 Free.

    Examples
    --------
    >>> is_open("Clear"), is_open("NO_FILTER"), is_open("V")
    (True, True, False)
    """
    name = re.sub(r"^\s*\d{1,2}\s+", "", text.lower())
    return bool(_OPEN_POSITION.fullmatch(re.sub(r"[^a-z0-9]", "", name)))


# Matches the words of an instrument's disperser that disperse nothing: a mirror or an open place.
_NO_DISPERSER = re.compile(
    r"(\d{1,2} +)?(no|none|without|(open|clear|empty|free|air|out)\d*)"
    r"([-_ ]*(grating|grism|gris|prism|disperser))?"
    r"|(\d{1,2} +)?mirror\d*|undispersed|imaging|direct",
    re.IGNORECASE,
)


def disperser_of(reader):
    """Return the name of a frame's grism or grating; '' for a mirror or an open place.

    Parameters
    ----------
    reader : ccdflow.camera.header_reader.HeaderReader

    Returns
    -------
    str
        The first text that names a disperser: GMOS writes MIRROR, Goodman NO_GRATING, ALFOSC 'Open
        (Lyot)' into its card where the light goes straight through.
    """
    if not is_undispersed(name := reader.text("grism")):
        return name
    texts = (text for text, _ in reader.all_values("grism", as_text, None))
    return next((text for text in texts if not is_undispersed(text)), "")


def is_undispersed(text):
    """Return whether the text of a grism's or a grating's card means that nothing disperses.

    Examples
    --------
    >>> is_undispersed("MIRROR"), is_undispersed("NO_GRATING"), is_undispersed("R400 + open")
    (True, True, False)
    """
    words = re.sub(r"\(.*?\)", " ", text).strip()
    parts = [part for part in re.split(r"\s*[+,;]\s*", words) if part]
    return all(map(_NO_DISPERSER.fullmatch, parts))


def _keyword_family(keyword):
    """Return a keyword without the number of its filter wheel."""
    return re.sub(r"_?\d+", "", keyword) if _WHEEL.fullmatch(keyword) else keyword
