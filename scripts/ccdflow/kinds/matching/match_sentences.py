"""Masters, frames and choices in words: lags, differences of setups, and reasons."""

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
from ccdflow.run.master_choices import MissingCause, Remark, RemarkKind
from ccdflow.wording import first_named

SCALE_KIND = RemarkKind.SCALE
"""The kind of a remark on a scaled dark.

A name of a module is found faster than a member of an enumeration, and a plan scales hundreds of
thousands of darks.
"""


# Most lags are whole nights: the cache holds those of 27 years. A lag that has left it is worded
# again.
@lru_cache(maxsize=10_000)
def lag_words(lag, frame_words=""):
    """Return in words how long before or after a frame a master was taken.

    Parameters
    ----------
    lag : float or None
        Nights from the master to the frame; negative for a later master; NaN or None if unknown.
    frame_words : str, optional
        The noun for the frame, where the text around these words does not name it.

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
        # The frame or the master has no date: the words are true in both cases.
        return "of another night, days between unknown"
    if lag == 0:
        return "own night"
    hours = round(24 * abs(lag))
    count, unit = (hours, "hour") if hours < 24 else (round(abs(lag), 1), "night")
    word_for_later = "after" if frame_words else "later"
    noun = unit if count == 1 else f"{unit}s"
    words = f"{count:g} {noun} {'before' if lag > 0 else word_for_later}"
    return f"{words} {frame_words}".strip()


# Most lags are whole nights: the cache holds those of 27 years. Frames of one lag share the remark,
# because a plan has hundreds of thousands of them.
@lru_cache(maxsize=10_000)
def remark_on_lag(lag):
    """Return the `Remark` on a master of another night, with `lag_words`."""
    return Remark(RemarkKind.LAG, lag_words(lag))


def remark_on_scale(scale):
    """Return the `Remark` on a scaled dark: ``scaled down by 0.5``."""
    return Remark(SCALE_KIND, f"scaled {'up' if scale > 1 else 'down'} by {scale:.4g}")


def remark_on_degrees(degrees):
    """Return the `Remark` on a master that is warmer or colder than a frame."""
    return Remark(RemarkKind.WARMTH, warmer_words(degrees))


def warmer_words(degrees):
    """Return in words by how many degrees Celsius a master is warmer or colder than a frame.

    Examples
    --------
    >>> warmer_words(10.0), warmer_words(-0.75)
    ('10 C warmer', '0.75 C colder')
    """
    return f"{abs(degrees):.3g} C {'warmer' if degrees > 0 else 'colder'}"


def warmer_span_words(degrees):
    """Return in words by how many degrees Celsius a master is warmer or colder than several frames.

    Parameters
    ----------
    degrees : sequence of float
        Degrees Celsius by which the master is warmer, one value for each frame.

    Returns
    -------
    str

    Examples
    --------
    >>> warmer_span_words([-4.1, -5.6, -4.8]), warmer_span_words([2.5, -3.0])
    ('4.1 to 5.6 C colder', '3 C colder to 2.5 C warmer')
    >>> warmer_span_words([10.0])
    '10 C warmer'
    """
    coldest, warmest = min(degrees), max(degrees)
    if coldest == warmest:
        return warmer_words(coldest)
    if coldest < 0 < warmest:
        return f"{warmer_words(coldest)} to {warmer_words(warmest)}"
    lesser_change, larger_change = sorted((coldest, warmest), key=abs)
    return f"{abs(lesser_change):.3g} to {warmer_words(larger_change)}"


def temperature_words(observation):
    """Return the temperature of a frame or master in words; '' where it is unknown.

    Parameters
    ----------
    observation : ccdflow.kinds.matching.rule_values.Observation

    Returns
    -------
    str
    """
    set_point, sensor = observation.set_temperature, observation.temperature
    if set_point is None or sensor is None or abs(set_point - sensor) <= SENSOR_SPREAD_DEGREES:
        temperature = sensor if set_point is None else set_point
        return "" if temperature is None else f"{round(temperature, 2):g} C"
    return f"{set_point:g} C by its set point and {round(sensor, 1):g} C by its sensor"


# A sentence names at most this many masters, exposures or filters.
_MOST_NAMED = 6
# A variance that is larger by less than this factor is given in per cent, other ones as a factor.
_LEAST_FACTOR_IN_TIMES = 1.02


class MissingWords(NamedTuple):
    """The words on a missing master in three parts: frames may differ in one and share two.

    Attributes
    ----------
    start, wanted_trait, end : str
        The three parts together are the reason. ``wanted_trait`` is the filter of a flat, or
        exposure and temperature of a dark.
    """

    start: str
    wanted_trait: str = ""
    end: str = ""


def parts_on_missing(missing_master):
    """Return the `MissingWords` of a `ccdflow.run.master_choices.Missing`.

    Parameters
    ----------
    missing_master : ccdflow.run.master_choices.Missing

    Returns
    -------
    MissingWords
    """
    kind, end = missing_master.kind, f" of {missing_master.setup}: {missing_master.obstacles}"
    if missing_master.cause is MissingCause.TOO_FEW:
        noun = "frame" if missing_master.n_frames == 1 else "frames"
        return MissingWords(
            f"no {kind}: {missing_master.product} would be of {missing_master.n_frames} {noun},"
            f" allowed {missing_master.minimum} or more"
        )
    if missing_master.cause is MissingCause.LEVEL_IN_FRAME:
        level = "the bias level is still in the frame, which has neither overscan nor bias"
        return MissingWords(f"no {kind}: {level}")
    if missing_master.is_of_unmade:
        return MissingWords(f"no {kind}: {missing_master.obstacles} could not be made")
    if kind == FLAT:
        return MissingWords(f"no {kind} in ", missing_master.light or "an unnamed filter", end)
    if kind != DARK:
        return MissingWords(f"no {kind}{end}")
    temperature_in_words = missing_master.temperature_in_words
    temperature_phrase = f" at {temperature_in_words}" if temperature_in_words else ""
    return MissingWords(
        f"no {kind} for ", f"{_exposure_words(missing_master.seconds)}{temperature_phrase}", end
    )


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


def missing_words(missing_master):
    """Return why a master is missing, in words; '' where none is missing.

    Parameters
    ----------
    missing_master : ccdflow.run.master_choices.Missing or None

    Returns
    -------
    str
    """
    return "" if missing_master is None else "".join(parts_on_missing(missing_master))


def differences(master_setup, frame_setup):
    """Return (name, master's value, frame's value) for each value in which two setups differ.

    Parameters
    ----------
    master_setup, frame_setup : iterable of (str, str)
        Names and values of the setups.

    Returns
    -------
    list of (str, str, str)
    """
    frame_values, master_values = dict(frame_setup), dict(master_setup)
    return [
        (name, master_values.get(name, ""), frame_values.get(name, ""))
        for name in {**frame_values, **master_values}
        if master_values.get(name, "") != frame_values.get(name, "")
    ]


def why_lost(winner, rival, rules):
    """Return in a few words why one master is ranked after another.

    Parameters
    ----------
    winner, rival : ccdflow.run.master_choices.Use
        The master that is taken, and the one that is ranked after it.
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    str
    """
    return _why_lost_by_rule(winner, rival, rules) or _why_lost_by_variance(winner, rival)


def _why_lost_by_rule(winner, rival, rules):
    """Return the rule, other than variance, that decided between two masters; '' for none."""
    is_rival_later = rules.is_causal and is_later(rival)
    if is_rival_later and not is_later(winner):
        return "of a later night"
    if rival.cut and not winner.cut:
        return "of a larger window"
    if rival.scale > HARMLESS_SCALE_UP >= winner.scale:
        return f"would be scaled up {rival.scale:.3g} times"
    if is_rival_later and rival.lag < winner.lag:
        return "further away in time"
    return _why_lost_by_night_or_scale(winner, rival, rules)


def _why_lost_by_night_or_scale(winner, rival, rules):
    """Return the rule on own nights, exact darks or dates that decided; '' for none of them."""
    if rules.prefers_own_night and winner.lag == 0 and rival.lag != 0:
        return "not of the own night"
    is_only_rival_near = abs(rival.lag or 0) <= EXACT_NIGHTS < abs(winner.lag or 0)
    if (winner.scale == 1, rival.scale == 1) == (True, False) and not is_only_rival_near:
        return f"would be scaled by {rival.scale:.3g}"
    if (winner.lag is None, rival.lag is None) == (False, True):
        return "of another night, days between unknown"
    return ""


def _why_lost_by_variance(winner, rival):
    """Return how much more variance a rival adds, or why it lost although it adds less."""
    # A dark leaves a part of the bias in the frame: the variance of this part is compared as well.
    winner_variance = winner.variance + winner.bias_variance_left
    rival_variance = rival.variance + rival.bias_variance_left
    if rival_variance > winner_variance:
        words_on_degrees = f"{warmer_words(rival.degrees_warmer)}, " if rival.degrees_warmer else ""
        words_on_bias = (
            "with its bias " if winner.bias_variance_left or rival.bias_variance_left else ""
        )
        return f"{words_on_degrees}{words_on_bias}{_more_words(rival_variance / winner_variance)}"
    if rival_variance < winner_variance:
        return _why_lost_with_less_variance(winner, rival, rival_variance / winner_variance)
    if abs(rival.lag or 0) > abs(winner.lag or 0):
        return "as good, and further away in time"
    return "as good: of these the first by name is taken"


def _more_words(ratio):
    """Return in words by how much a variance exceeds a smaller one.

    Examples
    --------
    >>> _more_words(1.68), _more_words(1.00095)
    ('adds 1.68 times the variance', 'adds 0.1 % more variance')
    """
    if ratio < _LEAST_FACTOR_IN_TIMES:
        return f"adds {100 * (ratio - 1):.1g} % more variance"
    return f"adds {ratio:.3g} times the variance"


def _why_lost_with_less_variance(winner, rival, ratio):
    """Return why a rival lost although it adds ``ratio``, less than 1, times the variance."""
    if winner.is_measured:
        return f"adds {ratio:.2g} times the variance, too small a difference"
    if rival.is_measured:
        return "the electrons of the one that is taken are not known"
    # Variance alone ranks biases, except the bias that the dark's members had subtracted.
    return "not the bias that the dark had subtracted"


def is_later(use):
    """Return whether a master is of a later night than its frame."""
    return use.lag is not None and use.lag < 0


def count_differences(observation, frame):
    """Return the number of values in which the setups of a master and a frame differ.

    Parameters
    ----------
    observation : ccdflow.kinds.matching.rule_values.Observation
        Observation of the master.
    frame : ccdflow.kinds.matching.rule_values.Observation

    Returns
    -------
    int
    """
    return len(differences(observation.setup, frame.setup))


def differences_in_words(observation, frame):
    """Return in words the values in which the setups of a master and a frame differ.

    Parameters
    ----------
    observation : ccdflow.kinds.matching.rule_values.Observation
        Observation of the master.
    frame : ccdflow.kinds.matching.rule_values.Observation

    Returns
    -------
    str
    """
    all_differences = differences(observation.setup, frame.setup)
    # With another size, binning or gain the layout differs as well, and other cards distinguish
    # the masters. Layout and cards are therefore named only if nothing else differs.
    differences_named = [
        each for each in all_differences if not _may_follow_from_other_value(*each)
    ] or all_differences
    return ", ".join(_difference_in_words(*each) for each in differences_named)


def _may_follow_from_other_value(name, master_value, frame_value):
    """Return whether a value may differ only because another value of the setup differs."""
    return name == "layout" or (name == SETTING_NAME and not (master_value and frame_value))


# Values of a setup that are cards of the header: ``OFFSET 10, DETSERNO absent``.
_CARDS = (SETTING_NAME, "optics")
_ABSENT = " absent"
# Matches a card as a setup has it, keyword and value. Keywords of ESO have several words.
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
        master_epoch = _epoch_words(master_value, frame_value)
        frame_epoch = _epoch_words(frame_value, master_value)
        return f"the camera as {master_epoch} instead of {frame_epoch}"
    if " " in name:
        # The entry "KEYWORD value" has the value of all masters in its name. Only the setup of a
        # frame with another value has such an entry.
        return f"{name} instead of {frame_value or master_value}"
    if name == "ccdsum":
        master_value, frame_value = (
            "x".join(value.split()) for value in (master_value, frame_value)
        )
    # A gain without a unit may be a name, such as HIGH.
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
    values_of_master, values_of_frame = (
        _values_by_keyword(text) for text in (master_value, frame_value)
    )
    words = []
    for keyword in {**values_of_master, **values_of_frame}:
        master_card, frame_card = values_of_master.get(keyword), values_of_frame.get(keyword)
        if master_card == frame_card:
            continue
        card_words = (
            f"no {keyword} in the header" if master_card is None else f"{keyword} {master_card}"
        )
        value_words = "none in the header" if frame_card is None else frame_card
        words.append(f"{card_words} instead of {value_words}")
    return ", ".join(words)


def _values_by_keyword(text):
    """Return {keyword: value} of the cards of a setting, without those that the header lacks."""
    cards = [card for card in text.split(", ") if card and not card.endswith(_ABSENT)]
    return dict(_CARD.fullmatch(card).groups() for card in cards)


def _cards_in_words(text):
    """Return the cards of a setting in words, the absent ones last.

    Examples
    --------
    >>> _cards_in_words("DETSERNO absent, OFFSET 10")
    'OFFSET 10 without DETSERNO in the header'
    """
    cards, absent_keywords = map(", ".join, _cards_there_and_lacking(text))
    return f"{cards} without {absent_keywords} in the header".strip() if absent_keywords else cards


def _cards_there_and_lacking(text):
    """Return a list of the cards of a setting, and a list of the keywords that the header lacks."""
    cards = text.split(", ")
    absent_keywords = [card.removesuffix(_ABSENT) for card in cards if card.endswith(_ABSENT)]
    return [card for card in cards if not card.endswith(_ABSENT)], absent_keywords


def _epoch_words(epoch, other_epoch):
    """Return an epoch in words; the first epoch, '', ends where the other one begins."""
    return f"from {epoch} on" if epoch else f"before {other_epoch}"


def setup_words(setup):
    """Return a setup in words: ``lfc 512x1032 1x1 g1.1``."""
    return " ".join(
        # Without "with" a card would read as a part of the words before it.
        ("with " if name in _CARDS and _cards_there_and_lacking(value)[0] else "") + words
        for name, value in setup
        if value and name not in LONG_VALUES and (words := trait_words(name, value))
    )


def trait_words(name, value):
    """Return a value of a setup in words; a number gets a word or sign for its meaning.

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
        # All masters agree in this card; the frame has another value.
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
    """Return the traits of a master, its number of frames and night: ``300 s (3, 2016-03-13)``.

    Parameters
    ----------
    master : ccdflow.kinds.matching.rule_values.CandidateMaster
    kind : {'bias', 'dark', 'flat'}

    Returns
    -------
    str
    """
    observation = master.observation
    exposure_in_words = f"{observation.exptime:g} s" if observation.exptime else "unknown exposure"
    traits = {"flat": observation.filter or "an unnamed filter", "dark": exposure_in_words}.get(
        kind, ""
    )
    if kind == "dark":
        words_on_temperature = temperature_words(observation)
        traits += f" at {words_on_temperature}" if words_on_temperature else ""
    return f"{traits} ({master.n_members}, {observation.night})".strip()


def masters_in_words(masters, kind):
    """Return the first of some masters in words, and how many more there are.

    Parameters
    ----------
    masters : sequence of ccdflow.kinds.matching.rule_values.CandidateMaster
    kind : {'bias', 'dark', 'flat'}

    Returns
    -------
    str
    """
    return first_named([master_in_words(master, kind) for master in masters], _MOST_NAMED)


# A line names at most this many different reasons.
_MOST_REASONS = 3


def reasons_words(reasons):
    """Return the reasons of several frames in one line: equal reasons once, the commonest first.

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
    for start, wanted_trait, end in reasons:
        counts[start, end] += 1
        wanted_by_reason.setdefault((start, end), {})[wanted_trait] = None
    texts = []
    for (start, end), count in counts.most_common(_MOST_REASONS):
        text = f"{start}{_list_names(wanted_by_reason[start, end])}{end}"
        texts.append(text + (f" ({count} of {counts.total()})" if len(counts) > 1 else ""))
    n_unnamed = len(counts) - _MOST_REASONS
    return "; ".join(texts) + (f"; and {n_unnamed} more reasons" if n_unnamed > 0 else "")


def _list_names(names):
    """Return names with commas, shortest exposures first; after the first names a count."""
    names_in_order = sorted(names, key=lambda name: (len(name.partition(".")[0]), name))
    return first_named(names_in_order, _MOST_NAMED)
