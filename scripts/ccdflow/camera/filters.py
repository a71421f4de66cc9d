"""The filter in the light's way: of several wheels, those whose place is not open."""

from __future__ import annotations

import re

from ccdflow.files.cards import as_text

# Values of a filter wheel's card for an open position.
_OPEN = re.compile(
    r"(no|none|without|empty|open|clear|clr|air|free|hole|blank|nofilter|nofilt|out|unfiltered"
    r"|luminance(clear)?)(filter|filt|slot|position|pos)?[0-9]*",
)
# The wheels of one instrument: together they are the filter.
_WHEEL = re.compile(r"(FILTER|FILT|FILTERN|FILTNAM|ESO INS FILT)_?0?[1-9]( NAME)?")


def filter_of(reader):
    """Return the name of a frame's filter; '' where no card has one.

    Parameters
    ----------
    reader : ccdflow.camera.reader.HeaderReader

    Returns
    -------
    str
        The first that is a filter; those of several numbered wheels with ``+`` between them; where
        all are open, the first as it is written.
    """
    found = reader.every("filter", as_text, "the text is not in quotes")
    found = [(text, content.keyword) for text, content in found]
    real = [(text, keyword) for text, keyword in found if not is_open(text)]
    if not real:
        return found[0][0] if found else ""
    name, keyword = real[0]
    if not _WHEEL.fullmatch(keyword):
        return name
    wheels = [text for text, other in real if _family(other) == _family(keyword)]
    return "+".join(dict.fromkeys(wheels))


def is_open(text):
    """Tell whether a wheel's text says that there is no filter: open, Clear, NO_FILTER."""
    return bool(_OPEN.fullmatch(re.sub(r"[^a-z0-9]", "", text.lower())))


def _family(keyword):
    return re.sub(r"_?\d+", "", keyword) if _WHEEL.fullmatch(keyword) else keyword
