"""The flat that a frame takes once the flats are combined and their signal to noise is known.

The electrons of a flat are not known before it is reduced. A plan therefore orders the flats by
their number of frames and their age, and all flats that compete are made before the frame. The
frame takes the first of these flats that could be made, unless another one adds much less noise.
The figures of a flat follow from raw frames, so that the choice depends on the archive alone.
"""

from __future__ import annotations

from dataclasses import replace

from ccdflow.calibrate.applied_masters import FLAT
from ccdflow.kinds.matching.master_library import rules_of
from ccdflow.kinds.matching.pairs import rank_of
from ccdflow.run import job_records
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.products.product_names import reduced_product

BETTER_FACTOR = 1.5
"""A flat goes before the first one if the first adds more than this factor times its variance.

Chosen, not measured: below it the order of the plan stays, so that few frames change their flat.
"""

# A flat that is made again of the same frames, with another bias or dark, has at most this factor
# times its former (signal to noise)^2. With a larger factor more frames are planned that keep their
# flat in the end; with a smaller one a frame may keep a flat that is no longer the best. Chosen,
# not measured.
_MOST_IMPROVEMENT = 1.2


def mean_figure(record, name):
    """Return the mean of a figure over a master's amplifiers; None without a master or the figure.

    Values that are not above 0 do not count.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
    name : str

    Returns
    -------
    float or None
    """
    if record is None or record.status != job_records.MADE:
        return None
    values = [each.get(name) for each in record.data.get("quality", ())]
    values = [value for value in values if isinstance(value, int | float) and value > 0]
    return sum(values) / len(values) if values else None


def competing_flats(context, step):
    """Return the flats of a step that compete with the first flat that can be made.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.master_choices.Step

    Returns
    -------
    list of ccdflow.run.master_choices.Use
        The first flat first; [] where none can be made, and for other masters.
    """
    if step.kind != FLAT:
        return []
    return context.kept_by_identity(
        OutcomeKey.COMPETING_FLATS, (step,), lambda: _competing_flats(context, step)
    )


def _competing_flats(context, step):
    """Return the flats whose rank equals that of the first flat that is made.

    Flats that could not be made are passed over. A flat of a worse rank never wins, whatever its
    noise.
    """
    run_rules = rules_of(context)
    made_uses = [use for use in step.uses if is_made(context, use)]
    ranks = [rank_of(use, run_rules) for use in made_uses]
    return [use for use, rank in zip(made_uses, ranks, strict=True) if rank == ranks[0]]


def flats_of_one_rank(context, step, use):
    """Return the flats of a step that have the rank of one flat: their variance alone orders them.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.master_choices.Step
    use : ccdflow.run.master_choices.Use
        The one flat.

    Returns
    -------
    list of str
        Products; [] for other masters.
    """
    run_rules = rules_of(context)
    uses_of_rank = (
        each for each in step.uses if rank_of(each, run_rules) == rank_of(use, run_rules)
    )
    return [each.product for each in uses_of_rank] if step.kind == FLAT else []


def order_by_measurement(context, step):
    """Return a step with its masters in the order that the masters made so far give.

    The flat that its measured variance prefers goes first. Of biases, the best one for the dark
    that could be made goes first.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.master_choices.Step

    Returns
    -------
    ccdflow.run.master_choices.Step
        The same object where the order is that of the plan.
    """
    if not step.pairs and (step.kind != FLAT or not step.uses):
        return step
    reorder = _pair_first if step.pairs else _measured_flat_first
    return context.kept_by_identity(
        OutcomeKey.STEP_IN_ORDER, (step,), lambda: reorder(context, step)
    )


def _pair_first(context, step):
    """Return a step whose first bias is the best one for the first dark that was made."""
    biases_of_pairs = (
        bias
        for dark, bias in step.pairs
        if context.made_record(dark) is not None and context.made_record(bias) is not None
    )
    best_bias = next(biases_of_pairs, step.uses[0].product)
    if best_bias == step.uses[0].product:
        return step
    uses = sorted(step.uses, key=lambda use: use.product != best_bias)
    return replace(step, uses=tuple(uses))


def _measured_flat_first(context, step):
    """Return a step whose first flat that can be made is the one that `preferred_flat` names."""
    rivals = competing_flats(context, step)
    products = [use.product for use in rivals]
    is_any_measured = any(_measured_variance(context, use) for use in rivals)
    if not is_any_measured and not any(map(context.earlier_record, products)):
        return step
    first_product = preferred_flat(products, _expected_variances(context, rivals))
    if first_product is None or (first_product == products[0] and not is_any_measured):
        return step
    uses = [use_with_measured_variance(context, use) for use in rivals]
    uses.sort(key=lambda use: (use.product != first_product, use.variance))
    index = step.uses.index(rivals[0])
    other_uses = [use for use in step.uses[index:] if use.product not in products]
    return replace(step, uses=(*step.uses[:index], *uses, *other_uses))


def use_with_measured_variance(context, use):
    """Return the `Use` of a flat with its measured variance, where that is known.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    use : ccdflow.run.master_choices.Use

    Returns
    -------
    ccdflow.run.master_choices.Use
    """
    variance = None if use.is_measured else _measured_variance(context, use)
    return use if variance is None else replace(use, variance=variance, is_measured=True)


def _expected_variances(context, rivals):
    """Return {product: variance that the flat adds, relative to the signal^2, or None}.

    The earlier record of a flat counts while the flat is made again.
    """
    return {
        use.product: _measured_variance(context, use)
        or _variance_of_flat(use, context.earlier_record(use.product))
        for use in rivals
    }


def preferred_flat(products, variances):
    """Return the flat that goes first; None without flats.

    Parameters
    ----------
    products : sequence of str
        In the order of the plan.
    variances : dict of str to (float or None)
        Measured variances; None or no entry for a flat that is not measured. Such a flat stays the
        first if it is the first of the plan; otherwise it does not become the first.

    Returns
    -------
    str or None

    Examples
    --------
    >>> preferred_flat(["own", "old"], {"own": 8e-5, "old": 5e-6})
    'old'
    >>> preferred_flat(["own", "old"], {"own": 8e-5, "old": 6e-5})
    'own'
    >>> preferred_flat(["own", "old"], {"old": 0.1})
    'own'
    """
    if not products:
        return None
    first_variance = variances.get(products[0])
    if first_variance is None:
        return products[0]
    known_variances = {
        product: value for product in products if (value := variances.get(product)) is not None
    }
    best_product = min(known_variances, key=known_variances.get)
    is_better = known_variances[best_product] * BETTER_FACTOR < first_variance
    return best_product if is_better else products[0]


def may_take_another(context, steps):
    """Return whether frames may take another flat once the flats of this run are made.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    steps : iterable of ccdflow.run.master_choices.Step

    Returns
    -------
    bool
    """
    return any(
        context.kept_by_identity(
            OutcomeKey.MAY_CHANGE, (step,), lambda step=step: _may_take_another(context, step)
        )
        for step in steps
        if step.kind == FLAT
    )


def _may_take_another(context, step):
    """Return whether another flat of one step may be taken once the flats of this run are made."""
    if not any(context.earlier_record(use.product) for use in step.uses):
        # All flats are new: no frame was calibrated with one of them.
        return False
    rivals = competing_flats(context, step)
    pending_uses = [use for use in rivals if context.will_be_made(use.product)]
    if len(rivals) < 2 or not pending_uses:
        return False
    products, variances_now = [use.product for use in rivals], _expected_variances(context, rivals)
    first_product = preferred_flat(products, variances_now)
    first_of_others = preferred_flat(products[1:], variances_now)
    if pending_uses[0] is rivals[0] and first_product not in (products[0], first_of_others):
        # All other flats are compared with the first one, which may still be refused.
        return True
    cases_of_least_variance = (
        {**variances_now, use.product: _least_variance(context, use)} for use in pending_uses
    )
    return any(
        preferred_flat(products, values) != first_product for values in cases_of_least_variance
    )


def is_made(context, use):
    """Return whether a master was made or, during planning, will be made.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    use : ccdflow.run.master_choices.Use

    Returns
    -------
    bool
    """
    return context.made_record(use.product) is not None


def _measured_variance(context, use):
    """Return the variance that a flat adds, relative to the signal^2; None if not measured."""
    return _variance_of_flat(use, context.outcome(use.product))


def _variance_of_flat(use, record, improvement=1.0):
    """Return the variance that a flat adds by a record, relative to the signal^2; None without one.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
    record : ccdflow.run.job_records.Record or None
    improvement : float, optional
        Factor by which the flat's (signal to noise)^2 exceeds that of the record.
    """
    signal_to_noise = mean_figure(record, "signal_to_noise")
    if signal_to_noise is None:
        return None
    return 1 / (improvement * signal_to_noise**2) + use.ageing_variance


def _least_variance(context, use):
    """Return the least variance that a flat may add after this run, relative to the signal^2."""
    earlier_record = context.earlier_record(use.product)
    earlier_keys = {} if earlier_record is None else dict(earlier_record.basis.get("members", ()))
    # A frame that was set aside stays in its group, has no record, and adds no electrons.
    records = {
        file: record
        for file in context.group(use.product).files
        if (record := context.outcome(reduced_product(file))) is not None
    }
    if not records or any(earlier_keys.get(file) != record.key for file, record in records.items()):
        # A new frame may be of any brightness, so the least variance is assumed.
        return 0.0
    members_ratio = len(records) / max(1, len(earlier_record.data.get("members", ())))
    return _variance_of_flat(use, earlier_record, _MOST_IMPROVEMENT * members_ratio) or 0.0
