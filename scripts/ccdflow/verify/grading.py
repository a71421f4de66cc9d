"""The grade of a calibrated frame: that of the steps and reasons that its header names."""

from __future__ import annotations

import re

from ccdflow.verify.comparing import Differs

_LINE = re.compile(r"ccdflow: grade ([ABC]): (.*)")
_WITHOUT = re.compile(r"ccdflow: without (bias|dark|flat): (no step of this|none is needed)")
_LEFT_OUT, _UNKNOWN = "dark left out: ", "dark temperature unknown"
_GRADES = (
    (re.compile(r"no (bias|dark|flat)$"), "C"),
    (re.compile(r"dark scaled up by "), "C"),
    (re.compile(r"dark (left out: |scaled down by |temperature unknown$)"), "B"),
    (re.compile(r"(bias|dark|flat) (\d+ nights? (before|later)$|of another night without)"), "B"),
    (re.compile(r"(bias|dark|flat) (cut to its pixels |[\d.e+-]+ C (warm|cold)er$)"), "B"),
    (re.compile(r"no UNCERT: |shutter not corrected: "), "A"),
)
"""Reasons, and the grade that a frame has at best with one."""


def check_grade(first, masters):
    """Raise unless CALGRADE is what the masters and the reasons in HISTORY give.

    Parameters
    ----------
    first : astropy.io.fits.Header
        Of the first HDU of a calibrated frame.
    masters : dict of str to ccdflow.verify.accounts.NamedMaster
        Those that its header names.

    Raises
    ------
    Differs
        If the grade or a reason is not the one that the cards and the masters give.
    """
    said = [match for line in first.get("HISTORY", ()) if (match := _LINE.match(str(line)))]
    reasons, grade = [match[2].strip() for match in said], first.get("CALGRADE")
    if wrong := [match[1] for match in said if match[1] != grade]:
        raise Differs(f"CALGRADE is {grade}, and HISTORY has {', '.join(wrong)}")
    expected = max((_grade_of(reason) for reason in reasons), default="A")
    if grade != expected:
        raise Differs(f"CALGRADE is {expected} by its HISTORY, and its card has {grade}")
    _check_steps(first, masters, reasons)
    if "dark" in masters and "DARKDTMP" not in first and _UNKNOWN not in reasons:
        raise Differs(f"there is no card DARKDTMP, and HISTORY has no {_UNKNOWN!r}")
    for needed in _needed(first, masters):
        if not any(re.match(needed, reason) for reason in reasons):
            words = needed.rstrip("$")
            raise Differs(f"HISTORY has no reason {words!r}, which its masters and cards give")


def _grade_of(reason):
    for pattern, grade in _GRADES:
        if pattern.match(reason):
            return grade
    raise Differs(f"HISTORY has a grade for a reason that ccdflow has not: {reason!r}")


def _check_steps(first, masters, reasons):
    """Raise unless each step has a master, or one line of HISTORY that says why it has none."""
    lines = [match for line in first.get("HISTORY", ()) if (match := _WITHOUT.match(str(line)))]
    without = [match[1] for match in lines]
    for kind in ("bias", "dark", "flat"):
        left = reasons.count(f"no {kind}") + without.count(kind)
        left += kind == "dark" and any(reason.startswith(_LEFT_OUT) for reason in reasons)
        if kind in masters and left:
            raise Differs(f"{kind.upper()}IM names a {kind}, and HISTORY says that there was none")
        if kind not in masters and left != 1:
            raise Differs(f"there is no {kind.upper()}IM, and no line of HISTORY says why")


def _needed(first, masters):
    """Return patterns of the reasons that the masters give: another night, a scale, a part."""
    found = []
    for kind, master in masters.items():
        if lag := first.get(f"{kind.upper()}DT", 0):
            plural = "s" * (abs(lag) != 1)
            found.append(f"{kind} {abs(lag)} night{plural} {'before' if lag > 0 else 'later'}$")
        if master.cut is not None:
            found.append(f"{kind} cut to its pixels ")
        if any(factor != 1 for factor in master.factors):
            found.append(f"dark scaled {'up' if master.factors[0] > 1 else 'down'} by ")
    return found
