"""The check of a calibrated frame's grade against the steps and reasons that its header names."""

from __future__ import annotations

import re

from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.comparing.sentences import check_plain, sentences_in_header

# Matches a line of HISTORY with a grade and its reasons: "grade B: no flat of this night".
_GRADE_LINE = re.compile(r"grade ([ABC]): (.*)")
# Matches a line of HISTORY on a step that was not taken.
_LINE_WITHOUT_STEP = re.compile(r"without (bias|dark|flat): (no step of this frame|none is needed)")
# Pattern of a number in a reason.
_NUMBER_GROUP = r"([\d.]+(?:e[+-]?\d+)?)"
_START_OF_LEFT_OUT, _UNKNOWN_TEMPERATURE = "dark left out: ", "dark temperature unknown"
# Relative rounding of degrees in a reason, and their absolute rounding: they have two or three
# digits.
_ROUNDING_DEGREES = 0.006
# Matches the words of a reason that follows from cards: nights between, a cut, a scale.
_REASON_OF_CARDS = re.compile(r"\d+ nights? |cut to its pixels |scaled (up|down) by ")
# Patterns that match reasons, and the best grade of a frame with such a reason.
_GRADES = (
    (re.compile(r"no (bias|dark|flat)"), "C"),
    (re.compile(rf"dark scaled up by {_NUMBER_GROUP}"), "C"),
    (re.compile("amplifiers of unlike scales: a gain is unknown, and no flat was applied"), "C"),
    (
        re.compile(rf"dark (left out: more noise than structure|scaled down by {_NUMBER_GROUP})"),
        "B",
    ),
    (re.compile(r"dark temperature unknown"), "B"),
    # Older results: "without a date", of masters and of frames that have none.
    (re.compile(r"(bias|dark|flat) (\d+ nights? (before|later)"
                r"|of another night(, days between unknown| without a date))"), "B"),
    (re.compile(r"(bias|dark|flat) cut to its pixels \[\d+:\d+,\d+:\d+\]"), "B"),
    (re.compile(rf"(bias|dark|flat) {_NUMBER_GROUP} C (warm|cold)er"), "B"),
    (re.compile(r"no UNCERT: gain or read noise of an amplifier is unknown"), "A"),
    (re.compile(r"no UNCERT: the bias level is still in the pixels"), "A"),
    (re.compile(r"shutter not corrected: (no flats of several exposures tell of it|no flat"
                r"|an exposure is not known, or as short as its dead time)"), "A"),
)  # fmt: skip


def check_grade(first_header, masters):
    """Raise unless CALGRADE follows from the masters and the reasons in HISTORY.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
        Header of the first HDU of a calibrated frame.
    masters : dict of str to ccdflow.verify.reading.accounts.NamedMaster
        Masters that its header names.

    Raises
    ------
    Differs
        If the grade or a reason is not the one that the cards and the masters give.
    """
    grade_lines = _matches_in_history(_GRADE_LINE, first_header)
    reasons = [match[2].strip() for match in grade_lines]
    grade = first_header.get("CALGRADE")
    if wrong_grades := [match[1] for match in grade_lines if match[1] != grade]:
        raise Differs(f"CALGRADE is {grade}, and HISTORY has {', '.join(wrong_grades)}")
    check_plain(first_header, re.compile(f"{_GRADE_LINE.pattern}|{_LINE_WITHOUT_STEP.pattern}"))
    expected = max((_grade_of(reason) for reason in reasons), default="A")
    if grade != expected:
        raise Differs(f"CALGRADE is {expected} by its HISTORY, and its card has {grade}")
    _check_left_out_steps(first_header, masters, reasons)
    if "dark" in masters and "DARKDTMP" not in first_header and _UNKNOWN_TEMPERATURE not in reasons:
        raise Differs(f"there is no card DARKDTMP, and HISTORY has no {_UNKNOWN_TEMPERATURE!r}")
    needed_patterns = _patterns_of_reasons(first_header, masters)
    for pattern in needed_patterns:
        if not any(re.match(pattern, reason) for reason in reasons):
            words = re.sub(r"\\(.)", r"\1", pattern.rstrip("$"))
            raise Differs(f"HISTORY has no reason {words!r}, which its masters and cards give")
    _check_reasons(first_header, reasons, needed_patterns)


def _matches_in_history(pattern, first_header):
    """Return the matches of a pattern with whole sentences of ccdflow in HISTORY."""
    matches = map(pattern.fullmatch, sentences_in_header(first_header))
    return [match for match in matches if match is not None]


def _check_reasons(first_header, reasons, needed_patterns):
    """Raise if HISTORY has a reason that the masters and cards do not give."""
    for reason in reasons:
        kind, _, words = reason.partition(" ")
        is_needed = any(re.match(pattern, reason) for pattern in needed_patterns)
        is_of_cards = _REASON_OF_CARDS.match(words) is not None
        if kind in ("bias", "dark", "flat") and is_of_cards and not is_needed:
            raise Differs(f"HISTORY has the reason {reason!r}, which its cards do not give")
        if reason == _UNKNOWN_TEMPERATURE and "DARKDTMP" in first_header:
            raise Differs(f"HISTORY has {_UNKNOWN_TEMPERATURE!r}, and DARKDTMP is there")
        _check_degrees(first_header, reason)
        if reason.startswith("shutter not corrected") and "SHUTCOR" in first_header:
            raise Differs(f"HISTORY has {reason!r}, and SHUTCOR names a map")
        if reason.startswith("no UNCERT") and "SKYPRED" in first_header:
            raise Differs(f"HISTORY has {reason!r}, and SKYPRED is there")


def _check_degrees(first_header, reason):
    """Raise if a reason in HISTORY has other degrees than DARKDTMP."""
    match = re.fullmatch(rf"dark {_NUMBER_GROUP} C (warmer|colder)", reason)
    if match is None:
        return
    card_value = first_header.get("DARKDTMP")
    degrees = (card_value or 0.0) * (1 if match[2] == "warmer" else -1)
    if abs(float(match[1]) - degrees) > _ROUNDING_DEGREES * (1 + abs(degrees)):
        raise Differs(f"HISTORY has {reason!r}, and DARKDTMP is {card_value}")


def _grade_of(reason):
    """Return the grade of a reason in HISTORY; raise `Differs` if no grade has that reason."""
    for pattern, grade in _GRADES:
        if pattern.fullmatch(reason):
            return grade
    raise Differs(f"HISTORY has a grade for a reason that ccdflow has not: {reason!r}")


def _check_left_out_steps(first_header, masters, reasons):
    """Raise unless each step has either a master or one line of HISTORY on its absence."""
    lines = _matches_in_history(_LINE_WITHOUT_STEP, first_header)
    kinds_without_step = [match[1] for match in lines]
    if any(reason.startswith(_START_OF_LEFT_OUT) for reason in reasons):
        kinds_without_step.append("dark")
    for kind in ("bias", "dark", "flat"):
        n_reasons = reasons.count(f"no {kind}") + kinds_without_step.count(kind)
        if kind in masters and n_reasons:
            raise Differs(f"{kind.upper()}IM names a {kind}, and HISTORY says that there was none")
        if kind not in masters and n_reasons != 1:
            raise Differs(f"there is no {kind.upper()}IM, and no line of HISTORY says why")


def _patterns_of_reasons(first_header, masters):
    """Return patterns of the reasons that the masters give: other nights, scales, cut masters."""
    patterns = []
    for kind, master in masters.items():
        if lag := first_header.get(f"{kind.upper()}DT", 0):
            noun = "night" if abs(lag) == 1 else "nights"
            patterns.append(f"{kind} {abs(lag)} {noun} {'before' if lag > 0 else 'later'}$")
        if master.cut is not None:
            patterns.append(
                f"{kind} cut to its pixels {re.escape(first_header[f'{kind.upper()}CUT'])}$"
            )
        if any(factor != 1 for factor in master.factors):
            factor = master.factors[0]
            words = f"{kind} scaled {'up' if factor > 1 else 'down'} by {factor:.4g}"
            patterns.append(f"{re.escape(words)}$")
    return patterns
