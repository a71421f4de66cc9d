"""Frames of a night that are too few for a master, where a few more would make a useful one.

The result depends only on rows of the night and masters of the frame: page and plan agree.
"""

from __future__ import annotations

from ccdflow.calibrate.applied_masters import BIAS, DARK
from ccdflow.camera import identity
from ccdflow.camera.exposures import is_same_exposure
from ccdflow.kinds.forecasting.budget import SmallGroup
from ccdflow.kinds.masters.combining import is_below_minimum
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.detector_noise import detector_noise_of
from ccdflow.kinds.matching.master_library import rules_of
from ccdflow.kinds.matching.setups import observation_of
from ccdflow.kinds.matching.temperatures import observation_degrees_warmer


def small_groups_of(context, group, answers):
    """Return the groups of a frame's night with too few members whose master the frame would take.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of the frame.
    answers : iterable of ccdflow.kinds.matching.answers.Answer
        The answers of the frame.

    Returns
    -------
    dict of str to ccdflow.kinds.forecasting.budget.SmallGroup
        By the kind of the master.
    """
    small_groups = {}
    for answer in answers:
        find_groups = _groups_for_missing_master if answer.use is None else _groups_before_master
        for small_group in find_groups(context, answer, group):
            small_groups.setdefault(answer.kind, small_group)
    return small_groups


def _groups_for_missing_master(context, answer, group):
    """Yield the groups with too few members that would give a frame the master that it lacks."""
    missing_master = answer.missing_master
    is_named = missing_master is not None and missing_master.night == group.night
    products_of_night = [use.product for use in answer.step.uses if use.lag == 0]
    for product in ([missing_master.product] if is_named else []) + products_of_night:
        master = context.find_group(product)
        for n_members, minimum, observation in (
            () if master is None else _groups_below_minimum(context, answer.kind, master)
        ):
            yield SmallGroup(n_members, minimum, observation.exptime, is_preferred=True)


def _groups_below_minimum(context, kind_name, group):
    """Yield the number of members of a group, the minimum, and their observation, if too few.

    Frames that were left out of the group do not count.

    Yields
    ------
    (int, int, ccdflow.kinds.matching.rule_values.Observation)
    """
    kind = context.chain.by_name(kind_name)
    minimum, files = kind.configuration(context)["minimum"], group.files
    record = context.outcome(group.product)
    if record is not None and is_below_minimum(record):
        files = record.data.get("members", files)
    if 0 < len(files) < minimum:
        rows = [context.row(file) for file in files]
        yield len(files), minimum, observation_of(context, rows, kind, night=group.night)


def _groups_before_master(context, answer, group):
    """Yield the groups with too few members whose master would go before the one of a frame."""
    kind, use = context.chain.by_name(answer.kind), answer.use
    if use.lag == 0 and use.scale == 1 and not use.cut:
        return
    row = context.row(group.files[0])
    frame, noise = observation_of(context, [row], kind, night=group.night), None
    for master in kind.night_groups(context, group.night):
        for n_members, minimum, observation in _groups_below_minimum(context, answer.kind, master):
            is_of_setting = _is_of_setting(context, kind, context.row(master.files[0]), row)
            if is_of_setting and _would_serve(context, kind, observation, frame):
                noise = noise or detector_noise_of(context, row)
                is_preferred = _is_preferred(use, rules_of(context))
                if is_preferred or _adds_less(answer, observation, minimum, noise):
                    yield SmallGroup(n_members, minimum, observation.exptime, is_preferred)


def _would_serve(context, kind, observation, frame):
    """Return whether another frame could take a master of some frames.

    A dark must have the exposure of the frame: one that is scaled is no reason for a wish.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.masters.master.MasterKind
    observation : ccdflow.kinds.matching.rule_values.Observation
        The values that the members of the master share.
    frame : ccdflow.kinds.matching.rule_values.Observation
    """
    if observation.setup != frame.setup:
        return False
    if kind.name == BIAS:
        return True
    if kind.name != DARK:
        return observation.light == frame.light
    degrees = observation_degrees_warmer(observation, frame)
    is_apart = degrees is not None and abs(degrees) > rules_of(context).temperature_tolerance
    is_known = observation.exptime is not None and frame.exptime is not None
    return is_known and not is_apart and bool(is_same_exposure(observation.exptime, frame.exptime))


def _is_of_setting(context, kind, member, row):
    """Return whether a member and a frame agree in all decisive cards on device and setting.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of the master.
    member, row : ccdflow.run.raw_frames.rows.Row
        Row of the member, and row of the frame.
    """
    group_by = kind.configuration(context)["group_by"]
    differing_keywords = identity.differing_keywords(
        [member.facts["setting"], row.facts["setting"]]
    )
    return not any(identity.is_decisive(keyword, group_by) for keyword in differing_keywords)


def _is_preferred(use, rules_of_run):
    """Return whether an unscaled, uncut master of the own night has a better rank than another.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
        Use of the other master.
    rules_of_run : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    bool
    """
    is_later = match_sentences.is_later(use) and rules_of_run.is_causal
    is_of_worse_rank = is_later or use.lag is None or bool(use.cut) or use.scale != 1
    return is_of_worse_rank or rules_of_run.prefers_own_night


def _adds_less(answer, observation, minimum, noise):
    """Return whether a master of few frames may add less variance than the one that a frame has.

    Parameters
    ----------
    answer : ccdflow.kinds.matching.answers.Answer
        With a master.
    observation : ccdflow.kinds.matching.rule_values.Observation
        Observation of the few frames.
    minimum : int
        Number of frames that the master would have.
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise

    Returns
    -------
    bool
    """
    if answer.use.is_measured:
        # Flats are compared by their electrons, which are known only when the new one is made.
        return True
    variances = {
        BIAS: noise.read_noise**2,
        DARK: noise.read_noise**2 + noise.dark_rate * (observation.exptime or 0.0),
    }
    return variances.get(answer.kind, 1 / noise.flat_level) / minimum < answer.use.variance
