"""The forecast of a night: its frames and their masters; `night_noise` has their noise.

Values only; `forecast_sentences` makes text and tables of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
from ccdflow.kinds.matching.setups import setup_of
from ccdflow.kinds.science import SCIENCE
from ccdflow.pages.text_formatting import light_words
from ccdflow.run.job import Group, RemarkKind, Use
from ccdflow.run.lookups import OutcomeKey

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
        Of each of the frames.
    master : ccdflow.run.job.Group or None
    factors : tuple of float
        Of a bias: the parts of it that are left in these frames, the smallest and the largest.
        Its dark has it as well: 1 - k where that is multiplied by k.
    reasons : tuple of str
        How near the master is, and how it is applied.
    rival : ccdflow.run.job.Use or None
        The next one among those that compete.
    rival_master : ccdflow.run.job.Group or None
        Of the rival, where this run knows its frames.
    why_lost : str
        Why the rival lost.
    level : str
        Of one of the flats, in words; '' where it is not measured.
    frames : int
        Number of frames combined; 0 where the master is not made yet.
    unmeasured : int
        Of the flats that compete, those whose electrons are not known yet; 0 where none competes.
    missing : str
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
    unmeasured: int = 0
    missing: str = ""

    @property
    def use(self):
        """The `ccdflow.run.job.Use` of the master, None where none is applied."""
        return self.answer.use

    @property
    def is_unneeded(self):
        """Whether the frames need no such master."""
        return not self.answer.step.needed

    @property
    def grade(self):
        """The grade that it gives the frames."""
        return self.answer.grade


@dataclass(frozen=True)
class Block:
    """The frames of a night that one camera took in one way.

    Attributes
    ----------
    night, setup : str
    groups : tuple of ccdflow.run.job.Group
        The frames that are to be calibrated.
    types : tuple of (str, int)
        Image types, and how many frames there are of each.
    frames : tuple of (str, int)
        Filter and exposure, and how many there are.
    taken : tuple of PlannedMaster
    noises : tuple of ccdflow.kinds.forecasting.night_noise.GroupNoise
        () where the gain is not known.
    refused_masters : tuple of (str, str)
        Masters that no frame takes, in words, and why.
    refused : int
        Frames that lack a master and are not calibrated for that, by the configuration.
    """

    night: str
    setup: str
    groups: tuple[Group, ...]
    types: tuple[tuple[str, int], ...] = ()
    frames: tuple[tuple[str, int], ...] = ()
    taken: tuple[PlannedMaster, ...] = ()
    noises: tuple[night_noise.GroupNoise, ...] = ()
    refused_masters: tuple[tuple[str, str], ...] = ()
    refused: int = 0


def blocks_of(context, night, *, foretell=False):
    """Return the `Block` of each way of observing in a night.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        With all groups.
    night : str
    foretell : bool
        Whether the sky of frames that are not measured is taken from others, and the masters are
        named that were passed over: only planning knows these.

    Returns
    -------
    list of Block
    """
    groups_by_setup = defaultdict(list)
    for group in SCIENCE.night_groups(context, night):
        row = context.row(group.files[0])
        setup = setup_of(context, row, context.chain.by_name("bias"))
        groups_by_setup[setup].append(group)
    return [
        _block(context, night, setup, groups, foretell=foretell)
        for setup, groups in sorted(groups_by_setup.items())
    ]


def _block(context, night, setup, groups, *, foretell):
    """Return the `Block` of a night's frames of one setup.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    setup : tuple
    groups : list of ccdflow.run.job.Group
        One for each frame.
    foretell : bool
        See `blocks_of`.
    """
    names = {group.product: name_of_exposure(context, group) for group in groups}
    noises = [
        replace(noise, files=words_on_files)
        for name, words_on_files, same_frames in _frames_of_one_budget(context, groups, names)
        if (noise := night_noise.noise_of_group(context, name, same_frames, foretell=foretell))
        is not None
    ]
    kinds = dict.fromkeys(step.kind for group in groups for step in group.steps)
    planned = tuple(each for kind in kinds for each in _planned_masters(context, kind, groups))
    refused_masters = _refused_masters(context, groups, planned) if foretell else ()
    lacking = {group.product for each in planned if each.missing for group in each.groups}
    is_refused = SCIENCE.configuration(context)["missing"] == "refuse"
    return Block(
        night=night,
        setup=match_sentences.setup_words(setup),
        groups=tuple(groups),
        types=tuple(Counter(context.row(g.files[0]).facts["type"] for g in groups).items()),
        frames=tuple(Counter(names.values()).items()),
        taken=planned,
        noises=tuple(noises),
        refused_masters=tuple(refused_masters),
        refused=len(lacking) if is_refused else 0,
    )


def _frames_of_one_budget(context, groups, names):
    """Yield the frames of one filter and exposure that take the same masters, with their names.

    Yields
    ------
    (str, str, list of ccdflow.run.job.Group)
        Filter and exposure; the first files, '' where all such frames take the same masters.
    """
    groups_by_name = defaultdict(lambda: defaultdict(list))
    for group in groups:
        uses = [(each.kind, each.use) for each in answers_of(context, group)]
        key = tuple(
            (kind, use and (use.product, use.lag, round(use.scale, 3))) for kind, use in uses
        )
        groups_by_name[names[group.product]][key].append(group)
    for name, groups_by_uses in groups_by_name.items():
        for same_frames in groups_by_uses.values():
            yield name, files_words(same_frames) if len(groups_by_uses) > 1 else "", same_frames


def files_words(groups):
    """Return the first files of some frames, and how many more there are.

    Parameters
    ----------
    groups : sequence of ccdflow.run.job.Group
        Of one frame each.

    Returns
    -------
    str
    """
    first_files = names_of_files(groups)[:2]
    unnamed = len(groups) - 2
    return ", ".join(first_files) + (f" and {unnamed} more" if unnamed > 0 else "")


def names_of_files(groups):
    """Return the names of the files of some frames; their paths where two have one name.

    Parameters
    ----------
    groups : sequence of ccdflow.run.job.Group
        Of one frame each.

    Returns
    -------
    list of str
    """
    files = [group.files[0] for group in groups]
    names = [Path(file).name for file in files]
    return names if len(set(names)) == len(names) else files


def name_of_exposure(context, group):
    """Return filter, grism and exposure of a frame: ``g' 300.062 s``.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group

    Returns
    -------
    str
    """
    facts = context.row(group.files[0]).facts
    time = seconds_words(facts["exptime"])
    return light_words((facts["filter"], facts["grism"], time))


def seconds_words(seconds):
    """Return an exposure in words: ``300.1 s``."""
    return (
        f"{_round_exposure(seconds):g} s"
        if isinstance(seconds, int | float)
        else "unknown exposure"
    )


def _round_exposure(seconds):
    """Return an exposure to the digits that distinguish it.

    Examples
    --------
    >>> [_round_exposure(seconds) for seconds in (300.062, 180.0057, 0.05, 29.95)]
    [300.1, 180.0, 0.05, 29.95]
    """
    if seconds < 1:
        return float(f"{seconds:.3g}")
    # Further digits come from a program: no observer asks for an exposure so precisely.
    return round(seconds, 1 if seconds >= 100 else 2)


# -- masters ---------------------------------------------------------------------------------------


def _planned_masters(context, kind, groups):
    """Return the `PlannedMaster` of a kind: one for all frames that take it in the same way."""
    frames_by_application = defaultdict(list)
    for group in groups:
        for answer in answers_of(context, group):
            if answer.kind == kind:
                use = answer.use
                application = None if use is None else _application(use)
                reason = _reason_but_degrees(answer.missing) or answer.why_none
                frames_by_application[application or (answer.grade, reason)].append((group, answer))
    return [_planned_master(context, kind, uses) for uses in frames_by_application.values()]


def _reason_but_degrees(missing):
    """Return the words of why frames lack a master: equal words share a line, as 600 and 600.01 s.

    Their own temperatures do not count.
    """
    return missing and match_sentences.words_on_missing(replace(missing, degrees=""))


def _application(use):
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
        That it adds, as predicted.
    is_measured : bool
        Whether the electrons of the master are measured.
    reasons : list of str
        How near the master is, and how it is applied.
    rank : int
        Of the master among the candidates, from 0.
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
    missing : str
        Why there is no master that is needed.
    """

    kind: str
    is_needed: bool
    missing: str


class StepLeftOut(NamedTuple):
    """All that a page says of a step whose master was left out.

    Attributes
    ----------
    kind, is_needed, missing
        As of a `StepWithoutMaster`.
    why_none : str
        Why the master was left out.
    """

    kind: str
    is_needed: bool
    missing: str
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
        missing = match_sentences.missing_words(answer.missing)
        without = StepWithoutMaster(step.kind, step.needed, missing)
        return StepLeftOut(*without, answer.why_none) if answer.left_out else without
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
        return PlannedMaster(kind, groups, answer, missing=_words_on_missing(answers))
    rival, why = rival_of(context, answer)
    span = [each.use.warmer for _, each in answers]
    warmth = match_sentences.span_words(span) if use.warmer else ""
    reasons = reasons_of(answer, master_library.rules(context), warmth=warmth)
    return PlannedMaster(
        kind,
        groups,
        answer,
        context.find_group(use.product),
        factors=_factors(context, answers) if kind == BIAS else (1.0, 1.0),
        reasons=tuple(reasons),
        rival=rival,
        rival_master=context.find_group(rival.product) if rival else None,
        why_lost=why,
        level=_level_words(context.outcome(use.product)) if kind == FLAT else "",
        frames=len(getattr(context.outcome(use.product), "data", {}).get("members", ())),
        unmeasured=_count_unmeasured(context, answer.step),
    )


def _count_unmeasured(context, step):
    """Return the number of competing flats without measured electrons; 0 for a single flat."""
    rivals = competing_flats(context, step)
    return sum(not use.is_measured for use in rivals) if len(rivals) > 1 else 0


def _words_on_missing(answers):
    """Return why frames that lack the same master have none, in words; '' where none is wanted."""
    reasons = dict.fromkeys(answer.missing for _, answer in answers if answer.missing)
    return match_sentences.reasons_words(map(match_sentences.words_on_missing, reasons))


def _level_words(record):
    """Return the mean level of a flat's amplifiers with its unit; '' where it was not measured."""
    level = mean_figure(record, "level")
    if level is None:
        return ""
    unit = record.data["quality"][0]["unit"]
    return f"{level:,.0f} {'e-' if unit == 'electron' else unit}"


def rival_of(context, answer):
    """Return the next candidate that competes by the rule, and why it lost.

    A later night's master does not compete where an earlier one is taken: what page and table say
    does not change with a night that is added. Nor does one that could not be made.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    answer : ccdflow.kinds.matching.answers.Answer
        With a master.

    Returns
    -------
    rival : ccdflow.run.job.Use or None
    why : str
    """
    return context.kept_by_identity(OutcomeKey.RIVAL, (answer,), lambda: _rival_of(context, answer))


def _rival_of(context, answer):
    """Return the next candidate that competes and why it lost; (None, '') without one."""
    step, use, rules = answer.step, answer.use, master_library.rules(context)
    after = step.uses[step.uses.index(use) + 1 :]
    for candidate in after:
        is_later = candidate.lag is not None and candidate.lag < 0
        is_taken_later = use.lag is not None and use.lag < 0
        if is_later and not is_taken_later and rules.direction != "nearest":
            continue
        if candidate.product != use.product and is_made(context, candidate):
            if use.is_measured:
                # Flats that do not compete are ordered by number: both figures are measured ones.
                candidate = with_measured_variance(context, candidate)
            return candidate, match_sentences.why_lost(use, candidate, rules)
    return None, ""


def _factors(context, answers):
    """Return the smallest and the largest part of a bias that is left in some frames."""
    known = {}
    for group, _ in answers:
        name = tuple(map(id, group.steps))
        if name not in known:
            uses = uses_applied(context, group)
            dark = uses.get(DARK)
            is_in_both = dark is not None and night_noise.shares_bias(context, dark, uses.get(BIAS))
            known[name] = abs(1 - dark.scale) if is_in_both else 1.0
    return min(known.values()), max(known.values())


def _masters_that_failed(context, planned):
    """Yield the masters before those that are taken, which could not be made, and why."""
    known = set()
    for each in planned:
        uses = each.answer.step.uses
        for use in uses[: uses.index(each.use)] if each.use is not None else ():
            record = context.outcome(use.product)
            if use.product not in known and record is not None and record.reason:
                known.add(use.product)
                path = Path(use.product)
                yield f"{path.stem} of {path.parent.name}", record.reason


def _refused_masters(context, groups, planned):
    """Return the masters of these nights that none of the frames may take, in words, and why."""
    nights = {groups[0].night} | {each.master.night for each in planned if each.master is not None}
    refused = list(_masters_that_failed(context, planned))
    for kind in dict.fromkeys(each.kind for each in planned):
        needed = [each for each in planned if each.kind == kind and not each.is_unneeded]
        asking = [group for each in needed for group in each.groups]
        reasons = defaultdict(list)
        for group in asking:
            for master, why in association.refused_masters(context, kind, group, nights):
                reasons[master].append(why)
        refused += [
            (
                f"{kind} {match_sentences.master_in_words(master, kind)}",
                " or ".join(dict.fromkeys(whys)),
            )
            for master, whys in reasons.items()
            if len(whys) == len(asking)
        ]
    return refused[:_MOST_REFUSED_MASTERS]
