"""Rows of raw frames as earlier versions noted them, with their findings in words alone.

The constants are the words of those versions: they stay when a sentence of the present one changes.
"""

from __future__ import annotations

from ccdflow.run.raw_frames.rows import OWN_TEXTS, SET_ASIDE, RowMark

# Fields that `texts_with_later_fields` gives to a row that lacks them.
_LATER_FIELDS = ("amplifier_warnings", "marks")
_N_EARLIER_FIELDS = len(OWN_TEXTS) - len(_LATER_FIELDS)
_STATUS_INDEX, _REASON_INDEX, _GONE_INDEX = map(OWN_TEXTS.index, ("status", "reason", "gone"))
# Older results: the words on a finding in the reason of a row, which had no other entry for it.
_WARNING = "warning: "
_NO_OVERSCAN = ("no card names science pixels or overscan", "no card names an overscan")
_UNKNOWN_TYPE = ("unknown image type", "no card says the image type")
_LIT_STRIP_BY_CARD = "the overscan of the camera's profile may hold data by this card"
_TWIN = "would become the same product as"
_LIT_OVERSCAN = "holds data as the image does"
_PRODUCT_IN_THE_WAY = "it was deleted, and its product is in the way of another"


def texts_with_later_fields(texts):
    """Return the texts of a row; those that an earlier version did not note are added.

    Parameters
    ----------
    texts : list of str
        In the order of `ccdflow.run.raw_frames.rows.OWN_TEXTS`.

    Returns
    -------
    list of str
    """
    if len(texts) != _N_EARLIER_FIELDS:
        return texts
    reason = texts[_REASON_INDEX]
    return [
        *texts,
        _amplifier_warnings_in(reason),
        _marks_in(texts[_STATUS_INDEX], reason, texts[_GONE_INDEX]),
    ]


def _amplifier_warnings_in(reason):
    """Return the warnings in a reason as ``Row.amplifier_warnings`` has them."""
    lines, parts = [], reason.split("; ")
    while parts:
        text = parts.pop(0)
        if text.startswith(_WARNING):
            # A remedy in brackets may have a semicolon.
            while text.count("(") > text.count(")") and parts:
                text = f"{text}; {parts.pop(0)}"
            text = text.removeprefix(_WARNING)
            lines.append(f"{text.partition(':')[0]}\t{text}")
    return "\n".join(lines)


def _marks_in(status, reason, gone):
    """Return the marks that the words of a row show, as ``Row.marks`` has them."""
    is_set_aside = status == SET_ASIDE
    marks = {
        RowMark.UNKNOWN_TYPE: reason.startswith(_UNKNOWN_TYPE),
        RowMark.NO_OVERSCAN: any(words in reason for words in _NO_OVERSCAN),
        RowMark.LIT_STRIP_BY_CARD: _LIT_STRIP_BY_CARD in reason,
        RowMark.TWIN: reason.startswith(_TWIN),
        RowMark.LIT_OVERSCAN: is_set_aside and _LIT_OVERSCAN in reason,
        RowMark.PRODUCT_IN_THE_WAY: gone == _PRODUCT_IN_THE_WAY,
    }
    return " ".join(mark for mark, is_there in marks.items() if is_there)
