"""The masters that the frames of a night take or lack, and the values that a page shows of them."""

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
    use_with_measured_variance,
)
from ccdflow.pages.text_formatting import short_unit
from ccdflow.run.job import Group
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.master_choices import RemarkKind, Use

# A forecast names at most this many masters that no frame may take.
_MOST_REFUSED_MASTERS = 4


@dataclass(frozen=True)
class PlannedMaster:
    """A master that some frames take, or that they lack.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    groups : tuple of ccdflow.run.job.Group
        The groups of the frames.
    answer : ccdflow.kinds.matching.answers.Answer
        The answer for each of the frames.
    master : ccdflow.run.job.Group or None
        The group of the master; None where this run does not know it.
    bias_fractions : tuple of float
        The smallest and the largest fraction of a bias whose noise is left in these frames. It is
        1 - k where their dark, multiplied by k, had the same bias subtracted.
    reasons : tuple of str
        The nearness of the master, and the way in which it is applied.
    rival : ccdflow.run.master_choices.Use or None
        The second choice: the next master that competes.
    rival_master : ccdflow.run.job.Group or None
        The group of the rival; None where this run does not know it.
    why_lost : str
        Why the rival lost.
    level_in_words : str
        Mean level of the members of a flat, with its unit; '' where it is not measured.
    n_frames : int
        Number of frames combined; 0 while the master is not made.
    n_unmeasured : int
        Number of competing flats whose electrons are not known yet.
    why_missing : str
        The reasons, in words, for which all these frames lack a master; '' where none is missing.
    """

    kind: str
    groups: tuple[Group, ...]
    answer: Answer
    master: Group | None = None
    bias_fractions: tuple[float, float] = (1.0, 1.0)
    reasons: tuple[str, ...] = ()
    rival: Use | None = None
    rival_master: Group | None = None
    why_lost: str = ""
    level_in_words: str = ""
    n_frames: int = 0
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
        """The grade that this step gives the frames: A, B or C."""
        return self.answer.grade


def planned_masters_of(context, kind, groups):
    """Return the planned masters of a kind: one for all frames that take it in the same way.

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
                reason = _reason_without_degrees(answer.missing_master) or answer.why_none
                frames_by_application[application or (answer.grade, reason)].append((group, answer))
    return [
        _planned_master(context, kind, groups_and_answers)
        for groups_and_answers in frames_by_application.values()
    ]


def _reason_without_degrees(missing_master):
    """Return the `MissingWords` on a master, without the temperatures of frames; None for None.

    Frames with equal words share a line: those of 600 s and of 600.01 s.
    """
    return missing_master and match_sentences.parts_on_missing(
        replace(missing_master, temperature_in_words="")
    )


def _application_of_use(use):
    """Return the way in which a master is applied: frames with equal results share a line.

    The degrees between master and frame do not count: without a cooler each frame has its own.
    """
    remarks = [remark for remark in use.remarks if remark.kind is not RemarkKind.WARMTH]
    # The grade is a part of it: near the limit, darks of one rounded scale may have two grades.
    values = [
        use.product,
        use.lag,
        round(use.scale, 3),
        use.grade,
        bool(use.degrees_warmer),
        *remarks,
    ]
    return tuple(values)


# The order of the fields of these three classes is part of the keys of night pages.
class StepWithMaster(NamedTuple):
    """The values of a step with a master that a page shows.

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
        Why the next candidate was not taken.
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
    """The values of a step without a master that a page shows.

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
    """The values of a step with a master that was left out, as a page shows them.

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
    """Return the values of a step that a page shows; their hash is a part of the page's basis.

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
        reasons=reasons_of(answer, master_library.rules_of(context)),
        rank=step.uses.index(use),
        rival="" if rival is None else rival.product,
        why_lost=why_lost,
    )


def _planned_master(context, kind, groups_and_answers):
    """Return the `PlannedMaster` of frames with equal answers: [(group, answer)]."""
    groups = tuple(group for group, _ in groups_and_answers)
    answer = groups_and_answers[0][1]
    use = answer.use
    if use is None:
        return PlannedMaster(
            kind, groups, answer, why_missing=_words_on_missing(groups_and_answers)
        )
    rival, why_lost = rival_of(context, answer)
    degrees_warmer = [each.use.degrees_warmer for _, each in groups_and_answers]
    words_on_degrees = (
        match_sentences.warmer_span_words(degrees_warmer) if use.degrees_warmer else ""
    )
    reasons = reasons_of(
        answer, master_library.rules_of(context), words_on_degrees=words_on_degrees
    )
    return PlannedMaster(
        kind,
        groups,
        answer,
        context.find_group(use.product),
        bias_fractions=_range_of_fractions(context, groups_and_answers)
        if kind == BIAS
        else (1.0, 1.0),
        reasons=tuple(reasons),
        rival=rival,
        rival_master=context.find_group(rival.product) if rival else None,
        why_lost=why_lost,
        level_in_words=_level_words(context.outcome(use.product)) if kind == FLAT else "",
        n_frames=len(getattr(context.outcome(use.product), "data", {}).get("members", ())),
        n_unmeasured=_count_unmeasured(context, answer.step),
    )


def _count_unmeasured(context, step):
    """Return the number of competing flats without measured electrons; 0 for a single flat."""
    competing_uses = competing_flats(context, step)
    is_alone = len(competing_uses) < 2
    return 0 if is_alone else sum(not use.is_measured for use in competing_uses)


def _words_on_missing(groups_and_answers):
    """Return why frames lack a master of a kind, in words; '' where they need none."""
    reasons = dict.fromkeys(
        answer.missing_master for _, answer in groups_and_answers if answer.missing_master
    )
    return match_sentences.reasons_words(map(match_sentences.parts_on_missing, reasons))


def _level_words(record):
    """Return the mean level of a flat's amplifiers with its unit; '' where it was not measured."""
    level = mean_figure(record, "level")
    if level is None:
        return ""
    unit = record.data["quality"][0]["unit"]
    return f"{level:,.0f} {short_unit(unit)}"


def rival_of(context, answer):
    """Return the second choice, the next candidate that competes by the rule, and why it lost.

    A master that could not be made does not compete. Where a master of the own or an earlier night
    is taken, later ones do not compete either. So page and table do not change with each new night.

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
    """Return the next candidate that competes, and why it lost; (None, '') without one."""
    step, use, rules = answer.step, answer.use, master_library.rules_of(context)
    next_uses = step.uses[step.uses.index(use) + 1 :]
    for candidate in next_uses:
        is_first_later = match_sentences.is_later(candidate) and not match_sentences.is_later(use)
        if is_first_later and rules.is_causal:
            continue
        if candidate.product != use.product and is_made(context, candidate):
            if use.is_measured:
                # The plan ranked the flats by predicted variances. The flat taken has its measured
                # one, so this candidate gets its own: two measured ones are compared.
                candidate = use_with_measured_variance(context, candidate)
            return candidate, match_sentences.why_lost(use, candidate, rules)
    return None, ""


def _range_of_fractions(context, groups_and_answers):
    """Return the smallest and the largest fraction of a bias whose noise is left in some frames."""
    fraction_by_steps = {}
    for group, _ in groups_and_answers:
        steps_key = tuple(map(id, group.steps))
        if steps_key not in fraction_by_steps:
            uses = uses_applied(context, group)
            dark = uses.get(DARK)
            is_in_both = dark is not None and night_noise.shares_bias(context, dark, uses.get(BIAS))
            fraction_by_steps[steps_key] = abs(1 - dark.scale) if is_in_both else 1.0
    return min(fraction_by_steps.values()), max(fraction_by_steps.values())


def name_and_night(product):
    """Return the name and night of a master: masters of several nights may have one name.

    Examples
    --------
    >>> name_and_night("combined/2016-03-12/dark_lfc_300s.fits")
    'dark_lfc_300s of 2016-03-12'
    """
    path = Path(product)
    return f"{path.stem} of {path.parent.name}"


def _masters_that_failed(context, masters):
    """Yield the better masters that could not be made, and why, as words."""
    products_named = set()
    for planned_master in masters:
        uses = planned_master.answer.step.uses
        for use in uses[: uses.index(planned_master.use)] if planned_master.use is not None else ():
            record = context.outcome(use.product)
            if use.product not in products_named and record is not None and record.reason:
                products_named.add(use.product)
                yield name_and_night(use.product), record.reason


def masters_refused_to_all(context, groups, masters):
    """Return the masters that could not be made, and those that no frame may take, and why.

    Only better masters than the planned ones are among those that could not be made. Only masters
    of the frames' night, and of the nights of their masters, are among those that no frame may
    take. Of all these the first few are returned.

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
        A master in words, and the reason.
    """
    nights = {groups[0].night} | {each.master.night for each in masters if each.master is not None}
    refusals = list(_masters_that_failed(context, masters))
    for kind in dict.fromkeys(each.kind for each in masters):
        needed_masters = [each for each in masters if each.kind == kind and not each.is_unneeded]
        groups_in_need = [group for each in needed_masters for group in each.groups]
        reasons_by_master = defaultdict(list)
        for group in groups_in_need:
            for master, reason in association.refused_masters(context, kind, group, nights):
                reasons_by_master[master].append(reason)
        refusals += [
            (
                f"{kind} {match_sentences.master_in_words(master, kind)}",
                " or ".join(dict.fromkeys(reasons)),
            )
            for master, reasons in reasons_by_master.items()
            if len(reasons) == len(groups_in_need)
        ]
    return refusals[:_MOST_REFUSED_MASTERS]
