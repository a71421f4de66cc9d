"""The masters that a frame takes, as they turned out: every table and text asks here.

A master that is there may be left out of a frame all the same: a dark that does harm, or a flat
where the bias level is still in the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccdflow.kinds.matching import association, rule
from ccdflow.run.job import Step, Use

LEFT_OUT = "left out: more noise than structure"
"""Why a dark that does harm is not applied."""

LEVEL_IN = "no flat: the bias level is still in the frame, for want of overscan and bias"
"""Why a frame is not divided by its flat."""

_UNNEEDED = "not needed: too short for its dark current"


@dataclass(frozen=True, slots=True)
class Answer:
    """A step of one frame, and the master that is applied.

    Attributes
    ----------
    step : ccdflow.run.job.Step
    use : ccdflow.run.job.Use or None
        None where no master is applied.
    missing : str
        Why one is missing; '' where there is one, and where none is wanted.
    left_out : ccdflow.run.job.Use or None
        A dark that is there, and is not applied because it does harm.
    """

    step: Step
    use: Use | None = None
    missing: str = ""
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
        return "C" if self.missing else "B" if self.left_out else "A"

    @property
    def why_none(self):
        """Why no master is applied, in words; '' where one is."""
        if self.use is not None:
            return ""
        if self.left_out is not None:
            return f"{LEFT_OUT} ({self.left_out.product})"
        return self.missing or _UNNEEDED


def answers_of(context, group):
    """Return the `Answer` of each step of a frame that is to be calibrated.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Of one frame.

    Returns
    -------
    tuple of Answer
    """
    row = context.store.rows[group.files[0]]
    name = ("answers", row.recipe, row.geometry, *map(id, group.steps))
    # The steps are kept beside their answers, so that their ids stay their own.
    made = context.planned(name, lambda: (group.steps, _answers(context, row, group.steps)))
    return made[1]


def used_by(context, group):
    """Return {kind: `ccdflow.run.job.Use` or None} of the masters applied to a frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Of one frame.
    """
    return {answer.kind: answer.use for answer in answers_of(context, group)}


def grade_of(answers):
    """Return the grade of a frame with some answers: the worst of its steps."""
    return max((answer.grade for answer in answers), default="A")


def _answers(context, row, steps):
    found = {step.kind: _answer(context, step) for step in steps}
    uses = {kind: answer.use for kind, answer in found.items()}
    flat, dark = uses.get(rule.FLAT), uses.get(rule.DARK)
    if flat is not None and uses.get(rule.BIAS) is None and not _has_overscan(context, row):
        found[rule.FLAT] = Answer(found[rule.FLAT].step, missing=LEVEL_IN)
    is_harmful_out = context.chain.by_name("science").configuration(context)["skip_harmful"]
    if dark is not None and is_harmful_out and association.harms(context, uses):
        found[rule.DARK] = Answer(found[rule.DARK].step, left_out=dark)
    return tuple(found.values())


def _answer(context, step):
    def make():
        use = association.taken(context, step)
        return step, Answer(step, use, association.why_missing(context, step))

    return context.planned(("answer", id(step)), make)[1]


def _has_overscan(context, row):
    recipe = context.store.recipe(row.recipe)
    amplifiers = context.store.geometry(row.geometry).amplifiers
    return recipe.subtract and all(amplifier.overscan for amplifier in amplifiers)
