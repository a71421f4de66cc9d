"""The masters that belong to a frame, by the rule, the inventory and the plan.

The plan makes the choice once, from the whole archive, and stores it with the group
(`ccdflow.run.master_choices.Step`): a job on another machine does not choose again. A master may
be refused during the run: then the frame takes the first one that was made. The electrons of flats
are known only when they are made (`measured_flats`), so all competing flats are made before the
frame.
"""

from __future__ import annotations

import math

from ccdflow.calibrate.applied_masters import BIAS, DARK
from ccdflow.detector import benefit
from ccdflow.detector.member_selection import TOO_FAINT
from ccdflow.kinds.matching import master_library, match_sentences, measured_flats, pairs
from ccdflow.kinds.matching.master_library import MasterLibrary
from ccdflow.run import job_records
from ccdflow.run.lookups import Lookup, OutcomeKey
from ccdflow.run.master_choices import Missing, MissingCause
from ccdflow.wording import first_named

# A reason names at most this many masters that could not be made.
_MOST_NAMED = 2


def steps_of(context, kind_names, rows, night):
    """Return the steps of the members of a master, bias and dark as a pair.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    kind_names : sequence of str
        Kinds of masters, in the order of the steps; the plan has all groups of these kinds.
    rows : sequence of ccdflow.run.raw_frames.rows.Row
    night : str

    Returns
    -------
    tuple of ccdflow.run.master_choices.Step
    """
    libraries = [library_of(context, context.chain.by_name(name)) for name in kind_names]
    steps = tuple([library.step(rows, night) for library in libraries])
    return pair_masters(context, steps, rows, night)


def pair_masters(context, steps, rows, night):
    """Return steps whose bias and dark add the least variance together.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    steps : tuple of ccdflow.run.master_choices.Step
    rows : sequence of ccdflow.run.raw_frames.rows.Row
        Rows of the frame, or of the members.
    night : str
        Night of the frame or members.

    Returns
    -------
    tuple of ccdflow.run.master_choices.Step
    """
    step_of_kind = {step.kind: step for step in steps}
    if BIAS not in step_of_kind or DARK not in step_of_kind:
        return steps
    pair = step_of_kind[BIAS], step_of_kind[DARK]
    # Frames of all filters share these steps.
    steps_of_pair = context.kept_by_identity(
        OutcomeKey.BEST_PAIR, pair, lambda: _best_pair(context, pair, rows, night)
    )
    step_of_kind |= {step.kind: step for step in steps_of_pair}
    return tuple(step_of_kind[step.kind] for step in steps)


def _best_pair(context, pair, rows, night):
    """Return the steps of bias and dark that add the least variance together.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    pair : (ccdflow.run.master_choices.Step, ccdflow.run.master_choices.Step)
        Steps of bias and dark.
    rows : sequence of ccdflow.run.raw_frames.rows.Row
        Rows of the frame or of the members.
    night : str
    """
    bias_step, dark_step = pair
    if not bias_step.uses or not dark_step.uses:
        return pair
    # Frames with one step of the bias share these biases: the exposures of the frames change only
    # the scales of the darks.
    darks = [use.product for use in dark_step.uses]
    biases_of_darks = context.kept_by_identity(
        OutcomeKey.BIASES_OF_DARKS,
        (bias_step,),
        lambda: _biases_of_darks(context, bias_step, darks, rows, night),
        *darks,
    )
    equal_steps = context.lookup((Lookup.PAIRS,), dict)
    # Equal steps share one object.
    return tuple(
        step if step is earlier_step else equal_steps.setdefault(step, step)
        for step, earlier_step in zip(biases_of_darks.best_pair_first(dark_step), pair, strict=True)
    )


def _biases_of_darks(context, bias_step, darks, rows, night):
    """Return the `pairs.BiasesOfDarks` of frames: the biases that compete beside some darks.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    bias_step : ccdflow.run.master_choices.Step
    darks : list of str
        Products.
    rows : sequence of ccdflow.run.raw_frames.rows.Row
    night : str
    """
    bias_library, dark_library = (
        library_of(context, context.chain.by_name(name)) for name in (BIAS, DARK)
    )
    return pairs.BiasesOfDarks(
        bias_step,
        list(map(dark_library.bias_of, darks)),
        master_library.rules_of(context),
        bias_library.ageing(rows[0]),
        lambda biases: bias_library.uses_for(biases, rows, night),
    )


def library_of(context, kind):
    """Return the `MasterLibrary` of a kind, which knows the masters that a frame may take.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.masters.master.MasterKind

    Returns
    -------
    ccdflow.kinds.matching.master_library.MasterLibrary
    """
    return context.lookup((Lookup.MASTER_LIBRARY, kind.name), lambda: MasterLibrary(context, kind))


def refused_masters(context, kind_name, group, nights):
    """Return the masters of some nights that a frame may not take, and why.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
        After the plan was made.
    kind_name : {'bias', 'dark', 'flat'}
    group : ccdflow.run.job.Group
        Group of the frame.
    nights : set of str
        Nights of the masters.

    Returns
    -------
    list of (ccdflow.kinds.matching.rule_values.CandidateMaster, str)
    """
    kind = context.chain.by_name(kind_name)
    rows = [context.row(file) for file in group.files]
    return library_of(context, kind).refused_masters(rows, group.night, nights)


# -- the masters that are taken --------------------------------------------------------------------


def first_use(context, step):
    """Return the `Use` of the first master of a step that was or will be made; None without one.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.master_choices.Step

    Returns
    -------
    ccdflow.run.master_choices.Use or None
    """
    return context.kept_by_identity(
        OutcomeKey.FIRST_USE, (step,), lambda: _first_made_use(context, step)
    )


def _first_made_use(context, step):
    """Return the `first_use` of a step, without looking for an earlier result."""
    for use in measured_flats.order_by_measurement(context, step).uses:
        if measured_flats.is_made(context, use):
            return use
    return None


def dark_harms(context, uses):
    """Return whether the dark of a frame adds more noise than the structure that it removes.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    uses : dict of str to ccdflow.run.master_choices.Use or None
        The masters that the frame takes.

    Returns
    -------
    bool
        False where it is not known: before the dark is made.
    """
    dark = uses.get(DARK)
    record = None if dark is None else context.made_record(dark.product)
    if record is None:
        return False
    return benefit.harms(
        record.data.get("quality", ()),
        scale=dark.scale,
        bias_variance=_bias_variance(context, uses),
    )


def _bias_variance(context, uses):
    """Return the variance of the combined bias of a frame, electrons^2 (adu^2 without a gain).

    It is the largest of the amplifiers' variances; 0 where none is known.
    """
    bias = uses.get(BIAS)
    record = None if bias is None else context.outcome(bias.product)
    quality = record.data.get("quality", ()) if record is not None else ()
    variances = [
        (each["predicted_noise"] * _gain_or_one(each["gain"])) ** 2
        for each in quality
        if not math.isnan(each["predicted_noise"])
    ]
    return max(variances, default=0.0)


def _gain_or_one(gain):
    """Return a gain in electrons per adu; 1 where it is unknown, so that figures stay in adu."""
    return gain if gain and not math.isnan(gain) else 1.0


def candidates_of(groups):
    """Return all masters that some frames may take, each once.

    Tables and pages name the second choice as well, which no frame needs. So they are made after
    all these masters.

    Parameters
    ----------
    groups : iterable of ccdflow.run.job.Group
        Groups of calibrated frames.

    Returns
    -------
    list of str
        Products.
    """
    # Thousands of frames share one tuple of steps, and tuples share steps.
    tuples_of_steps = {id(group.steps): group.steps for group in groups}.values()
    steps = {id(step): step for steps in tuples_of_steps for step in steps}.values()
    products = dict.fromkeys(use.product for step in steps for use in step.uses)
    return list(products)


def needs_of(context, steps):
    """Return the masters that are made before a frame, and those that replace a refused one.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    steps : iterable of ccdflow.run.master_choices.Step

    Returns
    -------
    needs, spare_masters : list of str
    """
    needs, spare_masters = [], []
    for step in (*steps, *_biases_without_dark(context, steps)):
        # Frames of all filters share the steps of bias and dark.
        needs_of_step, spare_masters_of_step = context.kept_by_identity(
            OutcomeKey.NEEDS, (step,), lambda step=step: _needs_of_step(context, step)
        )
        needs += needs_of_step
        spare_masters += spare_masters_of_step
        # A spare dark needs the bias that is the best with it.
        known_products = {*needs, *spare_masters} if step.pairs else ()
        spare_masters += [bias for _, bias in step.pairs if bias not in known_products]
    return needs, spare_masters


def bias_without_dark(context, step):
    """Return the step of a bias for a frame whose dark is left out.

    With the dark the frame takes the bias of the best pair; without the dark, the bias that adds
    the least variance alone.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.master_choices.Step
        Step of the bias for the frame with its dark.

    Returns
    -------
    ccdflow.run.master_choices.Step
        The same object where the order of the biases is the same.
    """
    rules = master_library.rules_of(context)
    return context.kept_by_identity(
        OutcomeKey.BIAS_WITHOUT_DARK, (step,), lambda: pairs.bias_alone_first(step, rules)
    )


def _biases_without_dark(context, steps):
    """Return the steps of biases for a frame whose dark is left out, where their order changes."""
    kinds = {step.kind for step in steps}
    if DARK not in kinds or not context.settings["calibrate"]["skip_harmful"]:
        return []
    bias_steps = [step for step in steps if step.kind == BIAS]
    steps_without_dark = [bias_without_dark(context, step) for step in bias_steps]
    return [
        step_without_dark
        for step_without_dark, step in zip(steps_without_dark, bias_steps, strict=True)
        if step_without_dark is not step
    ]


def _needs_of_step(context, step):
    """Return the masters of a step that are made before the frame, and its spare masters.

    The spare masters end with the first one that exists already, because it cannot be refused.
    """
    uses = measured_flats.order_by_measurement(context, step).uses
    # The frame can choose among these flats only when all of them are made.
    needs = [use.product for use in measured_flats.competing_flats(context, step)]
    chosen_use = first_use(context, step)
    if chosen_use is None:
        return needs + [use.product for use in uses], []
    index = uses.index(chosen_use)
    needs += [use.product for use in uses[: index + 1]]
    spare_masters = []
    for use in uses[index:]:
        if use is not chosen_use:
            spare_masters.append(use.product)
        if measured_flats.is_made(context, use) and not context.will_be_made(use.product):
            # If the frame takes this flat, the flats of its rank compete with it.
            spare_masters += measured_flats.flats_of_one_rank(context, step, use)
            break
    return needs, spare_masters


def keys_of(context, steps):
    """Return kind, product and key of each master that is taken, for the basis of a product.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    steps : iterable of ccdflow.run.master_choices.Step

    Returns
    -------
    list of [str, str, str]
    """
    keys = []
    for step in steps:
        use = first_use(context, step)
        if use is not None:
            keys.append([step.kind, use.product, context.outcome(use.product).key])
    return keys


def missing_master(context, step):
    """Return why a step has no master; None where it has one or needs none.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.master_choices.Step

    Returns
    -------
    ccdflow.run.master_choices.Missing or None
    """
    if not step.is_needed or first_use(context, step) is not None:
        return None
    if not step.uses:
        return step.missing_master
    records = [context.outcome(use.product) for use in step.uses]
    cause = MissingCause.NOT_MADE
    if _lacks_bias(records[0]):
        cause = MissingCause.NO_BIAS
    elif any(map(_is_too_faint, records)):
        cause = MissingCause.TOO_FAINT
    # Lines, tables and pages have the reason for each of these masters: here their names suffice.
    names_in_words = first_named([use.product for use in step.uses], _MOST_NAMED)
    return Missing(step.kind, cause, obstacles=names_in_words)


def why_missing(context, step):
    """Return why a step has no master, in words; '' where it has one or needs none.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.master_choices.Step

    Returns
    -------
    str
    """
    return match_sentences.missing_words(missing_master(context, step))


def _lacks_bias(record):
    """Return whether a dark or flat was or will be refused because its members lack a bias."""
    is_refused = record is not None and record.status == job_records.REFUSED
    return is_refused and bool(record.basis.get("missing"))


def _is_too_faint(record):
    """Return whether a flat was refused because none of its frames is bright enough."""
    if record is None or record.status != job_records.REFUSED or record.data.get("members"):
        return False
    return any(figure == TOO_FAINT for _, _, figure, *_ in record.data.get("left_out", ()))
