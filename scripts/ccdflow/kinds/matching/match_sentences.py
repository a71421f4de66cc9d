"""Masters, frames and choices in words: the failed criterion, the masters there are, the reason."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from ccdflow.calibrate.applied_masters import DARK, FLAT
from ccdflow.camera.identity import SETTING_NAME
from ccdflow.kinds.matching.rule_values import (
    EPOCH,
    EXACT_NIGHTS,
    HARMLESS_SCALE_UP,
    LONG_VALUES,
    SENSOR_SPREAD_DEGREES,
)
from ccdflow.run.job import MissingCause, Remark, RemarkKind

# Looked up once: a plan scales hundreds of thousands of darks.
_SCALE_KIND = RemarkKind.SCALE


# Lags are whole nights, mostly: those of 27 years fit. A lag beyond them is only worded again.
@lru_cache(maxsize=10_000)
def lag_words(lag, than=""):
    """Return how long before or after a frame a master was taken: all texts word it by this.

    Parameters
    ----------
    lag : float or None
        Nights from the master to the frame; negative for a later master; NaN or None if unknown.
    than : str, optional
        What the master comes before or after, where the text has not named it.

    Returns
    -------
    str

    Examples
    --------
    >>> lag_words(1), lag_words(-57), lag_words(0)
    ('1 night before', '57 nights later', 'own night')
    >>> lag_words(-2, "the frame"), lag_words(0.25, "the frame")
    ('2 nights after the frame', '6 hours before the frame')
    >>> lag_words(None)
    'of another night, days between unknown'
    """
    if lag is None or math.isnan(lag):
        # The frame or the master has no date: the words are true of both.
        return "of another night, days between unknown"
    if lag == 0:
        return "own night"
    hours = round(24 * abs(lag))
    count, unit = (hours, "hour") if hours < 24 else (round(abs(lag), 1), "night")
    later = "after" if than else "later"
    words = f"{count:g} {unit}{'s' * (count != 1)} {'before' if lag > 0 else later}"
    return f"{words} {than}".strip()


# Lags are whole nights, mostly: those of 27 years fit. Frames of one lag share the remark: a plan
# has hundreds of thousands of them.
@lru_cache(maxsize=10_000)
def remark_on_lag(lag):
    """Return the `Remark` on a master of another night: see `lag_words`."""
    return Remark(RemarkKind.LAG, lag_words(lag))


def remark_on_scale(scale):
    """Return the `Remark` on a scaled dark: ``scaled down by 0.5``."""
    return Remark(_SCALE_KIND, f"scaled {'up' if scale > 1 else 'down'} by {scale:.4g}")


def remark_on_warmth(degrees):
    """Return the `Remark` on a master that is warmer or colder than a frame."""
    return Remark(RemarkKind.WARMTH, warmer_words(degrees))


def warmer_words(degrees):
    """Return by how much a master is warmer than a frame.

    Examples
    --------
    >>> warmer_words(10.0), warmer_words(-0.75)
    ('10 C warmer', '0.75 C colder')
    """
    return f"{abs(degrees):.3g} C {'warmer' if degrees > 0 else 'colder'}"


def span_words(degrees):
    """Return by how much a master is warmer than frames that take it.

    Parameters
    ----------
    degrees : sequence of float
        Degrees Celsius, one value for each frame.

    Returns
    -------
    str

    Examples
    --------
    >>> span_words([-4.1, -5.6, -4.8]), span_words([2.5, -3.0]), span_words([10.0])
    ('4.1 to 5.6 C colder', '3 C colder to 2.5 C warmer', '10 C warmer')
    """
    low, high = min(degrees), max(degrees)
    if low == high:
        return warmer_words(low)
    if low < 0 < high:
        return f"{warmer_words(low)} to {warmer_words(high)}"
    small, large = sorted((low, high), key=abs)
    return f"{abs(small):.3g} to {warmer_words(large)}"


def degrees_words(about):
    """Return the temperature of a frame or master in words, '' where it is unknown.

    Parameters
    ----------
    about : Observation

    Returns
    -------
    str
    """
    set_point, sensor = about.set_temperature, about.temperature
    if set_point is None or sensor is None or abs(set_point - sensor) <= SENSOR_SPREAD_DEGREES:
        known = sensor if set_point is None else set_point
        return "" if known is None else f"{round(known, 2):g} C"
    return f"{set_point:g} C by its set point and {round(sensor, 1):g} C by its sensor"


# Below this factor a variance is told in percent.
_MANY_TIMES = 1.02


class MissingWords(NamedTuple):
    """The words on a missing master, split so that frames which want other values share the rest.

    Attributes
    ----------
    start, wanted, end : str
        Joined they are the reason; ``wanted`` is the filter, or exposure and temperature.
    """

    start: str
    wanted: str = ""
    end: str = ""


def words_on_missing(missing):
    """Return the `MissingWords` of a `ccdflow.run.job.Missing`.

    Parameters
    ----------
    missing : ccdflow.run.job.Missing

    Returns
    -------
    MissingWords
    """
    kind, end = missing.kind, f" of {missing.setup}: {missing.rest}"
    if missing.cause is MissingCause.TOO_FEW:
        frames = "frame" if missing.frames == 1 else "frames"
        return MissingWords(
            f"no {kind}: {missing.product} would be of {missing.frames} {frames}, fewer than the"
            f" minimum of {missing.minimum}"
        )
    if missing.cause is MissingCause.LEVEL_IN_FRAME:
        level = "the bias level is still in the frame, for want of overscan and bias"
        return MissingWords(f"no {kind}: {level}")
    if missing.is_of_unmade:
        return MissingWords(f"no {kind} could be made: {missing.rest}")
    if kind == FLAT:
        return MissingWords(f"no {kind} in ", missing.light or "an unnamed filter", end)
    if kind != DARK:
        return MissingWords(f"no {kind}{end}")
    degrees = f" at {missing.degrees}" if missing.degrees else ""
    return MissingWords(f"no {kind} for ", f"{_exposure_words(missing.seconds)}{degrees}", end)


def _exposure_words(seconds):
    """Return an exposure, or the shortest and the longest of several, in words.

    Examples
    --------
    >>> _exposure_words((300.062,)), _exposure_words((3.0, 90.0)), _exposure_words((None,))
    ('300.1 s', '3 to 90 s', 'an unknown exposure')
    """
    if None in seconds:
        return "an unknown exposure"
    return f"{' to '.join(f'{each:.4g}' for each in seconds)} s"


def missing_words(missing):
    """Return why a master is missing, '' where none is.

    Parameters
    ----------
    missing : ccdflow.run.job.Missing or None

    Returns
    -------
    str
    """
    return "" if missing is None else "".join(words_on_missing(missing))


def differences(master_setup, frame_setup):
    """Return (name, their value, our value) of everything in which two setups differ.

    Parameters
    ----------
    master_setup, frame_setup : iterable of (str, str)
        Setups: names and values.

    Returns
    -------
    list of (str, str, str)
    """
    frame_value, master_value = dict(frame_setup), dict(master_setup)
    return [
        (name, master_value.get(name, ""), frame_value.get(name, ""))
        for name in {**frame_value, **master_value}
        if master_value.get(name, "") != frame_value.get(name, "")
    ]


def why_lost(best, other, rules):
    """Return why one master goes before another, in a few words.

    Parameters
    ----------
    best, other : ccdflow.run.job.Use
        The first one is taken.
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    str
    """
    return _why_lost_by_rule(best, other, rules) or _why_lost_by_variance(best, other)


def _why_lost_by_rule(best, other, rules):
    """Return the rule that goes before the variance and decided between two masters, or ''."""
    is_after = rules.direction != "nearest" and is_later(other)
    if is_after and not is_later(best):
        return "of a later night"
    if other.cut and not best.cut:
        return "of a larger window"
    if other.scale > HARMLESS_SCALE_UP >= best.scale:
        return f"would be scaled up {other.scale:.3g} times"
    if is_after and other.lag < best.lag:
        return "further away in time"
    if rules.same_night and best.lag == 0 and other.lag != 0:
        return "not of the own night"
    is_near = abs(other.lag or 0) <= EXACT_NIGHTS < abs(best.lag or 0)
    if best.scale == 1 != other.scale and not is_near:
        return f"would be scaled by {other.scale:.3g}"
    if other.lag is None is not best.lag:
        return "of another night, days between unknown"
    return ""


def _why_lost_by_variance(best, other):
    """Return by how much the variance of a master that lost is higher, or why a lower one lost."""
    # A dark leaves a part of the bias in the frame: its variance belongs to the comparison.
    biases = [use.bias_left for use in (best, other)]
    best_variance, other_variance = best.variance + biases[0], other.variance + biases[1]
    if other_variance > best_variance:
        warmer = f"{warmer_words(other.warmer)}, " if other.warmer else ""
        with_bias = "with its bias " if any(biases) else ""
        return f"{warmer}{with_bias}{_more_words(other_variance / best_variance)}"
    if other_variance < best_variance:
        return _why_less_lost(best, other, other_variance / best_variance)
    if abs(other.lag or 0) > abs(best.lag or 0):
        return "as good, and further away in time"
    return "as good: of these the first by name is taken"


def _more_words(times):
    """Return by how much a variance is above another one.

    Examples
    --------
    >>> _more_words(1.68), _more_words(1.00095)
    ('adds 1.68 times the variance', 'adds 0.1 % more variance')
    """
    if times < _MANY_TIMES:
        return f"adds {100 * (times - 1):.1g} % more variance"
    return f"adds {times:.3g} times the variance"


def _why_less_lost(best, other, part):
    """Return why a master that adds a smaller part of the variance lost."""
    if best.is_measured:
        return f"adds {part:.2g} times the variance, too small a difference"
    if other.is_measured:
        return "the electrons of the one that is taken are not known"
    # Biases are ranked by variance alone, except the one that the dark's members had subtracted.
    return "not the bias that the dark had subtracted"


def is_later(use):
    """Return whether a master is of a later night than its frame."""
    return use.lag is not None and use.lag < 0


def count_differences(about, frame):
    """Return in how many criteria a master and a frame differ.

    Parameters
    ----------
    about : Observation
        Observation of the master.
    frame : Observation

    Returns
    -------
    int
    """
    return len(differences(about.setup, frame.setup))


def differences_in_words(about, frame):
    """Return in words in which criteria another setup differs from a frame's.

    Parameters
    ----------
    about : Observation
        Observation of the master.
    frame : Observation

    Returns
    -------
    str
    """
    differing = differences(about.setup, frame.setup)
    # A different size, binning or gain changes the layout, and masters of another setup are told
    # apart by other cards: these two are named if nothing else is.
    shown = [each for each in differing if not _is_of_other_setup(*each)] or differing
    return ", ".join(_difference_in_words(*each) for each in shown)


def _is_of_other_setup(name, master_value, frame_value):
    """Return whether a value differs only because another value of the setup does."""
    return name == "layout" or (name == SETTING_NAME and not (master_value and frame_value))


# Values of a setup that are cards of the header: ``OFFSET 10, DETSERNO absent``.
_CARDS = (SETTING_NAME, "optics")
_ABSENT = " absent"
# A card as a setup has it: keyword and value. Keywords of ESO have several words.
_CARD = re.compile(r"(ESO(?: [\w-]+)*|\S+) (.+)")
# Values of a setup as an observer calls them, and the units of those that are numbers.
_NAMES = {"ccdsum": "binning", "readmode": "readout mode"}
_UNITS = {"gain": "e-/adu", "size": "pixels"}


def _difference_in_words(name, master_value, frame_value):
    """Return in words how a master's value differs from the frame's."""
    if name in LONG_VALUES:
        return f"another {LONG_VALUES[name]}"
    if name in _CARDS:
        return _cards_that_differ(master_value, frame_value)
    if name == EPOCH:
        master_epoch, frame_epoch = (
            _epoch_words(master_value, frame_value),
            _epoch_words(frame_value, master_value),
        )
        return f"the camera as {master_epoch} instead of {frame_epoch}"
    if " " in name:
        # A setup names only cards in which masters differ, so the value of one may be missing.
        return f"{name} instead of {frame_value or master_value}"
    if name == "ccdsum":
        master_value, frame_value = (
            "x".join(value.split()) for value in (master_value, frame_value)
        )
    # The gain may be a name, such as HIGH.
    has_unit = name in _UNITS and (frame_value or master_value)[0].isdigit()
    unit, label = f" {_UNITS[name]}" if has_unit else "", _NAMES.get(name, name)
    if not master_value:
        return f"unknown {label} instead of {frame_value}{unit}"
    if not frame_value:
        return f"{label} {master_value}{unit} instead of an unknown one"
    return f"{label} {master_value} instead of {frame_value}{unit}"


def _cards_that_differ(master_value, frame_value):
    """Return in words the cards in which a master differs from a frame.

    Examples
    --------
    >>> _cards_that_differ("DETSERNO 111, OFFSET 10", "DETSERNO absent, OFFSET 10")
    'DETSERNO 111 instead of none in the header'
    """
    one_side, other_side = (_values_by_keyword(text) for text in (master_value, frame_value))
    words = []
    for keyword in {**one_side, **other_side}:
        one, other = one_side.get(keyword), other_side.get(keyword)
        if one == other:
            continue
        first = f"no {keyword} in the header" if one is None else f"{keyword} {one}"
        words.append(f"{first} instead of {'none in the header' if other is None else other}")
    return ", ".join(words)


def _values_by_keyword(text):
    """Return {keyword: value} of the cards of a setting, without those that the header lacks."""
    cards = [card for card in text.split(", ") if card and not card.endswith(_ABSENT)]
    return dict(_CARD.fullmatch(card).groups() for card in cards)


def _cards_in_words(text):
    """Return the cards of a setting in words, those behind that the header lacks.

    Examples
    --------
    >>> _cards_in_words("DETSERNO absent, OFFSET 10")
    'OFFSET 10 without DETSERNO in the header'
    """
    cards, lacking = map(", ".join, _cards_there_and_lacking(text))
    return f"{cards} without {lacking} in the header".strip() if lacking else cards


def _cards_there_and_lacking(text):
    """Return the cards of a setting, and the keywords of those that the header lacks: two lists."""
    cards = text.split(", ")
    lacking = [card.removesuffix(_ABSENT) for card in cards if card.endswith(_ABSENT)]
    return [card for card in cards if not card.endswith(_ABSENT)], lacking


def _epoch_words(epoch, other):
    """Return an epoch in words; the first one has no beginning, and ends where the other begins."""
    return f"from {epoch} on" if epoch else f"before {other}"


def setup_words(setup):
    """Return a setup in words: ``lfc 512x1032 1x1 g1.1``."""
    return " ".join(
        # A card by itself would read as a part of what stands before it.
        ("with " if name in _CARDS and _cards_there_and_lacking(value)[0] else "") + words
        for name, value in setup
        if value and name not in LONG_VALUES and (words := trait_words(name, value))
    )


def trait_words(name, value):
    """Return a value of a setup in words that give its meaning where it is a number.

    Parameters
    ----------
    name : str
        Name of the value, such as ``gain``.
    value : str
        Not empty.

    Returns
    -------
    str

    Examples
    --------
    >>> trait_words("gain", "1.1"), trait_words("temperature", "-100"), trait_words("ccdsum", "2 2")
    ('g1.1', '-100 °C', '2x2')
    """
    if name == EPOCH:
        return f"from {value} on"
    if " " in name:
        # A card in which all masters agree, and this frame does not.
        return f"with {_CARD.fullmatch(name)[1]} {value}"
    if name in _CARDS:
        return _cards_in_words(value)
    if name == "ccdsum":
        return "x".join(value.split())
    if name == "temperature":
        return f"{value} °C"
    if name == "readmode" and value[0].isdigit():
        return f"readout mode {value}"
    return f"g{value}" if name == "gain" and value[0].isdigit() else value


def master_in_words(master, kind):
    """Return the words that distinguish a master: ``300 s at -20 C (3, 2016-03-13)``.

    Parameters
    ----------
    master : OfferedMaster
    kind : {'bias', 'dark', 'flat'}

    Returns
    -------
    str
    """
    about = master.about
    seconds = f"{about.exptime:g} s" if about.exptime else "unknown exposure"
    traits = {"flat": about.filter or "an unnamed filter", "dark": seconds}.get(kind, "")
    if kind == "dark":
        degrees = degrees_words(about)
        traits += f" at {degrees}" if degrees else ""
    return f"{traits} ({master.frames}, {about.night})".strip()


def masters_in_words(masters, kind, most=6):
    """Return the first of some masters in words, and how many more there are.

    Parameters
    ----------
    masters : sequence of OfferedMaster
    kind : {'bias', 'dark', 'flat'}
    most : int, optional
        As many are named.

    Returns
    -------
    str
    """
    words = [master_in_words(master, kind) for master in masters]
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")


# A line names at most this many reasons of several products.
_MOST_REASONS = 3


def reasons_words(reasons):
    """Return the reasons of several frames in one line: all that they lack is named.

    Parameters
    ----------
    reasons : iterable of MissingWords
        One for each frame.

    Returns
    -------
    str

    Examples
    --------
    >>> of_x, of_y = " of x: none", " of y: none"
    >>> reasons_words([("no dark for ", "3 s", of_x), ("no dark for ", "90 s", of_x)])
    'no dark for 3 s, 90 s of x: none'
    >>> reasons_words([("no dark for ", "3 s", of_x), ("no dark for ", "3 s", of_y)])
    'no dark for 3 s of x: none (1 of 2); no dark for 3 s of y: none (1 of 2)'
    """
    wanted_by_reason, counts = {}, Counter()
    for start, wanted, end in reasons:
        counts[start, end] += 1
        wanted_by_reason.setdefault((start, end), {})[wanted] = None
    texts = []
    for (start, end), count in counts.most_common(_MOST_REASONS):
        text = f"{start}{_list_names(wanted_by_reason[start, end])}{end}"
        texts.append(text + (f" ({count} of {counts.total()})" if len(counts) > 1 else ""))
    rest = len(counts) - _MOST_REASONS
    return "; ".join(texts) + (f"; and {rest} more reasons" if rest > 0 else "")


def _list_names(names, most=6):
    """Return names with commas, shortest exposures first; the rest is counted."""
    ordered = sorted(names, key=lambda name: (len(name.partition(".")[0]), name))
    rest = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {rest} more" if rest > 0 else "")
