"""The masters that the frames of a night take or lack, and the words of a page on each step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT
from ccdflow.kinds.forecasting import night_noise
from ccdflow.kinds.matching import association, master_library, match_sentences
from ccdflow.kinds.matching.answers import Answer, answers_of, reasons_of, uses_applied
from ccdflow.kinds.matching.measured_flats import (
    competing_flats,
    is_made,
    mean_figure,
    with_measured_variance,
)
from ccdflow.pages.text_formatting import short_unit
from ccdflow.run.job import Group
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.master_choices import RemarkKind, Use

# The masters not taken are named for at most this many frames.
_MOST_REFUSED_MASTERS = 4


@dataclass(frozen=True)
class PlannedMaster:
    """A master that some frames take, or that they lack.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    groups : tuple of ccdflow.run.job.Group
        The frames.
    answer : ccdflow.kinds.matching.answers.Answer
        The answer for each of the frames.
    master : ccdflow.run.job.Group or None
    factors : tuple of float
        The smallest and the largest part of a bias that is left in these frames. Its dark has it as
        well: 1 - k where that is multiplied by k.
    reasons : tuple of str
        The nearness of the master, and the way in which it is applied.
    rival : ccdflow.run.master_choices.Use or None
        The next one among those that compete.
    rival_master : ccdflow.run.job.Group or None
        Group of the rival, where this run knows its frames.
    why_lost : str
        Why the rival lost.
    level : str
        Level of one of the flats, in words; '' where it is not measured.
    frames : int
        Number of frames combined; 0 where the master is not made yet.
    n_unmeasured : int
        Number of flats that compete and whose electrons are not known yet.
    why_missing : str
        Why there is no master that they need, in words for all of them; '' otherwise.
    """

    kind: str
    groups: tuple[Group, ...]
    answer: Answer
    master: Group | None = None
    factors: tuple[float, float] = (1.0, 1.0)
    reasons: tuple[str, ...] = ()
    rival: Use | None = None
    rival_master: Group | None = None
    why_lost: str = ""
    level: str = ""
    frames: int = 0
    n_unmeasured: int = 0
    why_missing: str = ""

    @property
    def use(self):
        """The `ccdflow.run.master_choices.Use` of the master, None where none is applied."""
        return self.answer.use

    @property
    def is_unneeded(self):
        """Whether the frames need no such master."""
        return not self.answer.step.is_needed

    @property
    def grade(self):
        """The grade that it gives the frames."""
        return self.answer.grade


def planned_masters_of(context, kind, groups):
    """Return the `PlannedMaster` of a kind: one for all frames that take it in the same way.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : {'bias', 'dark', 'flat'}
    groups : list of ccdflow.run.job.Group
        One for each frame.

    Returns
    -------
    list of PlannedMaster
    """
    frames_by_application = defaultdict(list)
    for group in groups:
        for answer in answers_of(context, group):
            if answer.kind == kind:
                use = answer.use
                application = None if use is None else _application_of_use(use)
                reason = _reason_but_degrees(answer.missing_master) or answer.why_none
                frames_by_application[application or (answer.grade, reason)].append((group, answer))
    return [_planned_master(context, kind, uses) for uses in frames_by_application.values()]


def _reason_but_degrees(missing_master):
    """Return why frames lack a master, in words, without their own temperatures.

    Frames with equal words share a line: those of 600 s and of 600.01 s.
    """
    return missing_master and match_sentences.words_on_missing(replace(missing_master, degrees=""))


def _application_of_use(use):
    """Return how a master is applied: frames that have it alike share a line.

    Without a cooler each frame has a temperature of its own: the degrees between are a span.
    """
    remarks = [remark for remark in use.remarks if remark.kind is not RemarkKind.WARMTH]
    # Darks scaled up by 1.01 are on both sides of the limit of a grade.
    values = [use.product, use.lag, round(use.scale, 3), use.grade, bool(use.warmer), *remarks]
    return tuple(values)


# The order of the fields of these three classes is part of the keys of night pages.
class StepWithMaster(NamedTuple):
    """All that a page says of a step whose master was found.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    product : str
        The master.
    lag : int or None
        Days from the night of the master to that of the frame; negative for a later night.
    scale : float
        Factor of the master.
    variance : float
        Variance that it adds to a pixel, as predicted: electrons^2; of a flat, relative to the
        signal^2.
    is_measured : bool
        Whether the electrons of the master are measured.
    reasons : list of str
        The nearness of the master, and the way in which it is applied.
    rank : int
        Rank of the master among the candidates, from 0.
    rival : str
        The product of the next candidate; '' without one.
    why_lost : str
        Why that one was not taken.
    """

    kind: str
    product: str
    lag: int | None
    scale: float
    variance: float
    is_measured: bool
    reasons: list[str]
    rank: int
    rival: str
    why_lost: str


class StepWithoutMaster(NamedTuple):
    """All that a page says of a step for which there is no master.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    is_needed : bool
    why_missing : str
        Why there is no master that is needed.
    """

    kind: str
    is_needed: bool
    why_missing: str


class StepLeftOut(NamedTuple):
    """All that a page says of a step whose master was left out.

    Attributes
    ----------
    kind, is_needed, why_missing
        As of a `StepWithoutMaster`.
    why_none : str
        Why the master was left out.
    """

    kind: str
    is_needed: bool
    why_missing: str
    why_none: str


def plain_step(context, answer):
    """Return all that a page says of a step, as plain values that can be hashed.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    answer : ccdflow.kinds.matching.answers.Answer

    Returns
    -------
    StepWithMaster, StepWithoutMaster or StepLeftOut
    """
    step, use = answer.step, answer.use
    if use is None:
        why_missing = match_sentences.missing_words(answer.missing_master)
        step_without_master = StepWithoutMaster(step.kind, step.is_needed, why_missing)
        return (
            StepLeftOut(*step_without_master, answer.why_none)
            if answer.left_out
            else step_without_master
        )
    rival, why_lost = rival_of(context, answer)
    return StepWithMaster(
        kind=step.kind,
        product=use.product,
        lag=use.lag,
        scale=use.scale,
        variance=use.variance,
        is_measured=use.is_measured,
        reasons=reasons_of(answer, master_library.rules(context)),
        rank=step.uses.index(use),
        rival="" if rival is None else rival.product,
        why_lost=why_lost,
    )


def _planned_master(context, kind, answers):
    """Return the `PlannedMaster` of a kind for groups that have the same answer."""
    groups = tuple(group for group, _ in answers)
    answer = answers[0][1]
    use = answer.use
    if use is None:
        return PlannedMaster(kind, groups, answer, why_missing=_words_on_missing(answers))
    rival, reason = rival_of(context, answer)
    span = [each.use.warmer for _, each in answers]
    words = match_sentences.span_words(span) if use.warmer else ""
    reasons = reasons_of(answer, master_library.rules(context), words_on_degrees=words)
    return PlannedMaster(
        kind,
        groups,
        answer,
        context.find_group(use.product),
        factors=_range_of_factors(context, answers) if kind == BIAS else (1.0, 1.0),
        reasons=tuple(reasons),
        rival=rival,
        rival_master=context.find_group(rival.product) if rival else None,
        why_lost=reason,
        level=_level_words(context.outcome(use.product)) if kind == FLAT else "",
        frames=len(getattr(context.outcome(use.product), "data", {}).get("members", ())),
        n_unmeasured=_count_unmeasured(context, answer.step),
    )


def _count_unmeasured(context, step):
    """Return the number of competing flats without measured electrons; 0 for a single flat."""
    rivals = competing_flats(context, step)
    return sum(not use.is_measured for use in rivals) if len(rivals) > 1 else 0


def _words_on_missing(answers):
    """Return why frames that lack the same master have none, in words; '' where none is wanted."""
    reasons = dict.fromkeys(answer.missing_master for _, answer in answers if answer.missing_master)
    return match_sentences.reasons_words(map(match_sentences.words_on_missing, reasons))


def _level_words(record):
    """Return the mean level of a flat's amplifiers with its unit; '' where it was not measured."""
    level = mean_figure(record, "level")
    if level is None:
        return ""
    unit = record.data["quality"][0]["unit"]
    return f"{level:,.0f} {short_unit(unit)}"


def rival_of(context, answer):
    """Return the next candidate that competes by the rule, and why it lost.

    A master that could not be made does not compete, and neither does one of a later night where an
    earlier one is taken: so page and table stay as they are when a night is added.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    answer : ccdflow.kinds.matching.answers.Answer
        With a master.

    Returns
    -------
    rival : ccdflow.run.master_choices.Use or None
    reason : str
    """
    return context.kept_by_identity(OutcomeKey.RIVAL, (answer,), lambda: _rival_of(context, answer))


def _rival_of(context, answer):
    """Return the next candidate that competes and why it lost; (None, '') without one."""
    step, use, rules = answer.step, answer.use, master_library.rules(context)
    next_uses = step.uses[step.uses.index(use) + 1 :]
    for candidate in next_uses:
        is_first_later = match_sentences.is_later(candidate) and not match_sentences.is_later(use)
        if is_first_later and rules.direction != "nearest":
            continue
        if candidate.product != use.product and is_made(context, candidate):
            if use.is_measured:
                # Flats that do not compete are ordered by number: both figures are measured ones.
                candidate = with_measured_variance(context, candidate)
            return candidate, match_sentences.why_lost(use, candidate, rules)
    return None, ""


def _range_of_factors(context, answers):
    """Return the smallest and the largest part of a bias that is left in some frames."""
    factors_by_steps = {}
    for group, _ in answers:
        name = tuple(map(id, group.steps))
        if name not in factors_by_steps:
            uses = uses_applied(context, group)
            dark = uses.get(DARK)
            is_in_both = dark is not None and night_noise.shares_bias(context, dark, uses.get(BIAS))
            factors_by_steps[name] = abs(1 - dark.scale) if is_in_both else 1.0
    return min(factors_by_steps.values()), max(factors_by_steps.values())


def _masters_that_failed(context, masters):
    """Yield the masters before those that are taken, which could not be made, and why."""
    products_named = set()
    for each in masters:
        uses = each.answer.step.uses
        for use in uses[: uses.index(each.use)] if each.use is not None else ():
            record = context.outcome(use.product)
            if use.product not in products_named and record is not None and record.reason:
                products_named.add(use.product)
                path = Path(use.product)
                yield f"{path.stem} of {path.parent.name}", record.reason


def masters_refused_to_all(context, groups, masters):
    """Return the masters of these nights that none of the frames may take, in words, and why.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    groups : list of ccdflow.run.job.Group
        One for each frame.
    masters : sequence of PlannedMaster
        Planned masters of these frames.

    Returns
    -------
    list of (str, str)
    """
    nights = {groups[0].night} | {each.master.night for each in masters if each.master is not None}
    refusals = list(_masters_that_failed(context, masters))
    for kind in dict.fromkeys(each.kind for each in masters):
        needed_masters = [each for each in masters if each.kind == kind and not each.is_unneeded]
        groups_in_need = [group for each in needed_masters for group in each.groups]
        reasons = defaultdict(list)
        for group in groups_in_need:
            for master, reason in association.refused_masters(context, kind, group, nights):
                reasons[master].append(reason)
        refusals += [
            (
                f"{kind} {match_sentences.master_in_words(master, kind)}",
                " or ".join(dict.fromkeys(whys)),
            )
            for master, whys in reasons.items()
            if len(whys) == len(groups_in_need)
        ]
    return refusals[:_MOST_REFUSED_MASTERS]
