"""The masters that a frame takes in fact, or the reasons why it takes none, for tables and texts.

A master that was made may be left out: a dark that does harm, or the flat of a frame that still
has its bias level. For the term "answer" see docs/architecture.md, "Words".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT
from ccdflow.kinds.matching import association, match_sentences, measured_flats, setups
from ccdflow.kinds.matching.rule_values import MOST_CANDIDATES
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.master_choices import Missing, MissingCause, RemarkKind, Step, Use

WHY_LEFT_OUT = "left out: more noise than structure"
"""The reason why a dark that does harm is left out."""

WHY_UNNEEDED = "too short for its dark current"
"""The reason why a frame needs no dark."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The master that a frame takes in one step of calibrating, or the reason why it takes none.

    The step ranks the candidates before they are made. The answer is known once they are made: the
    first candidate that was made. A dark that does harm is left out instead. A flat is missing if
    the frame still has its bias level.

    Attributes
    ----------
    step : ccdflow.run.master_choices.Step
    use : ccdflow.run.master_choices.Use or None
        None where no master is applied.
    missing_master : ccdflow.run.master_choices.Missing or None
        The reason for a missing master; None where a master is applied, left out or not needed.
    left_out : ccdflow.run.master_choices.Use or None
        A dark that was made, and is left out because it does harm.
    """

    step: Step
    use: Use | None = None
    missing_master: Missing | None = None
    left_out: Use | None = None

    @property
    def kind(self):
        """The kind of the master: bias, dark or flat."""
        return self.step.kind

    @property
    def grade(self):
        """The grade that this step gives the frame: A, B or C."""
        if self.use is not None:
            return self.use.grade
        if self.missing_master is not None:
            return "C"
        return "B" if self.left_out is not None else "A"

    @property
    def why_none(self):
        """The reason why no master is applied, in words; '' where one is applied."""
        if self.use is not None:
            return ""
        if self.left_out is not None:
            return f"{WHY_LEFT_OUT} ({self.left_out.product})"
        return match_sentences.missing_words(self.missing_master) or f"not needed: {WHY_UNNEEDED}"


def has_reasons_of_its_own(answer):
    """Return whether the reasons of an applied master do not depend on other candidates.

    Parameters
    ----------
    answer : Answer
        With a master.

    Returns
    -------
    bool
        True where `reasons_of` names no other candidate.
    """
    use = answer.use
    is_taken_unconditionally = not (match_sentences.is_later(use) or use.is_of_unknown_temperature)
    return is_taken_unconditionally and answer.step.uses[0] is use


def reasons_of(answer, rules, *, words_on_degrees=""):
    """Return the reasons of an applied master: its nearness, and the way in which it is applied.

    Parameters
    ----------
    answer : Answer
        With a master.
    rules : ccdflow.kinds.matching.rule_values.Rules
    words_on_degrees : str, optional
        Words on the degrees by which the master is warmer than several frames. They replace the
        words on a single frame.

    Returns
    -------
    list of str
    """
    use, uses = answer.use, answer.step.uses
    index = uses.index(use)
    reasons = [match_sentences.lag_words(0)] if use.lag == 0 else []
    for kind, text in use.remarks:
        reason = ""
        if kind is RemarkKind.LAG and match_sentences.is_later(use):
            reason = _why_later(use, index, uses, rules)
        elif kind is RemarkKind.UNKNOWN_TEMPERATURE:
            reason = _temperatures_in_words(use, uses, rules)
        elif kind is RemarkKind.WARMTH:
            text = words_on_degrees or text
        reasons.append(f"{text} ({reason})" if reason else text)
    if answer.kind == DARK and use.scale == 1:
        reasons.append("exact")
    if index:
        nights = dict.fromkeys(Path(each.product).parent.name for each in uses[:index])
        reasons.append(
            f"{'that' if index == 1 else 'those'} of {', '.join(nights)} could not be made"
        )
    return reasons


def _why_later(use, index, uses, rules):
    """Return why a master of a later night is taken.

    '' where its nearness is the reason, and where the candidates do not show the reason.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
    index : int
        Index of the use among the candidates.
    uses : sequence of ccdflow.run.master_choices.Use
        All candidates, the best first.
    rules : ccdflow.kinds.matching.rule_values.Rules
    """
    if not rules.is_causal:
        return ""
    earlier_uses = [
        each for each in uses if each.lag is not None and not match_sentences.is_later(each)
    ]
    if not earlier_uses:
        # A full list may have dropped earlier darks that would have to be scaled up.
        return "nothing earlier fits" if len(uses) < MOST_CANDIDATES else ""
    if earlier_uses[0] in uses[:index]:
        return "nothing earlier could be made"
    earlier_use = earlier_uses[0]
    nearness = match_sentences.lag_words(earlier_use.lag) if earlier_use.lag else "of the own night"
    return f"one {nearness} {match_sentences.why_lost(use, earlier_use, rules)}"


def _temperatures_in_words(use, uses, rules):
    """Return the temperatures of competing darks in words, for a frame of unknown temperature.

    The result is '' where all darks have one temperature.
    """
    temperatures = sorted(
        next(value for value in each.temperatures if value is not None)
        for each in uses
        if each.is_of_unknown_temperature
        and any(value is not None for value in each.temperatures)
        and match_sentences.is_later(each) <= match_sentences.is_later(use)
    )
    distinct_temperatures = temperatures[:1]
    distinct_temperatures += [
        warmer
        for colder, warmer in pairwise(temperatures)
        if warmer - colder > rules.temperature_tolerance
    ]
    words = [f"{round(value, 1):g} C" for value in distinct_temperatures]
    return f"darks of {', '.join(words[:-1])} and {words[-1]} compete" if words[1:] else ""


def answers_of(context, group):
    """Return the `Answer` of each step of a calibrated frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of one frame.

    Returns
    -------
    tuple of Answer
    """
    row = context.row(group.files[0])
    steps = group.steps
    return context.kept_by_identity(
        OutcomeKey.ANSWERS,
        (steps,),
        lambda: _applicable_answers(context, row, steps),
        row.recipe,
        row.geometry,
    )


def uses_applied(context, group):
    """Return the `ccdflow.run.master_choices.Use` of each master applied to a frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of one frame.

    Returns
    -------
    dict of str to (ccdflow.run.master_choices.Use or None)
        By kind of master; None where no master is applied.
    """
    return {answer.kind: answer.use for answer in answers_of(context, group)}


def grade_of(answers):
    """Return the grade of a frame from its answers: the worst grade of its steps, 'A' to 'C'."""
    return max((answer.grade for answer in answers), default="A")


def _applicable_answers(context, row, steps):
    """Return the `Answer` of each step of a frame, without the masters that are left out."""
    answers = {step.kind: _answer_of_step(context, step) for step in steps}
    uses = {kind: answer.use for kind, answer in answers.items()}
    flat, dark = uses.get(FLAT), uses.get(DARK)
    if flat is not None and uses.get(BIAS) is None and not _is_level_subtracted(context, row):
        missing_master = Missing(FLAT, MissingCause.LEVEL_IN_FRAME)
        answers[FLAT] = Answer(answers[FLAT].step, missing_master=missing_master)
    skips_harmful = context.chain.by_name("science").configuration(context)["skip_harmful"]
    if dark is not None and skips_harmful and association.dark_harms(context, uses):
        answers[DARK] = Answer(answers[DARK].step, left_out=dark)
        if uses.get(BIAS) is not None:
            bias = next(step for step in steps if step.kind == BIAS)
            answers[BIAS] = _answer_of_step(context, association.bias_without_dark(context, bias))
    return tuple(answers.values())


def _answer_of_step(context, step):
    """Return the `Answer` of a step, computed once for all frames that share the step."""

    def answer_of_step():
        """Return the `Answer` of the step: masters, first use, missing master."""
        return Answer(
            measured_flats.order_by_measurement(context, step),
            association.first_use(context, step),
            association.missing_master(context, step),
        )

    return context.kept_by_identity(OutcomeKey.ANSWER, (step,), answer_of_step)


def _is_level_subtracted(context, row):
    """Return whether the overscan level of every amplifier of a frame was subtracted."""
    amplifiers = context.store.geometry(row.geometry).amplifiers
    return setups.is_level_subtracted(context.store.recipe(row.recipe), amplifiers)
