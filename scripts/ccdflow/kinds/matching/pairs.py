"""The bias and dark that a frame takes together: a pure function of its candidates.

R - B - k (D - B') contains two biases: B of the frame, and B' of the dark's members. They cancel
only where k = 1 and both are one bias. The frame takes the pair that adds the least variance. So
the bias of each dark is a candidate for the frame as well.
"""

from __future__ import annotations

from operator import and_, or_

from ccdflow.kinds.matching.rule_values import EXACT_NIGHTS, HARMLESS_SCALE_UP, MOST_CANDIDATES
from ccdflow.run.master_choices import Step


def variance_of_biases(bias, dark, bias_in_dark, ageing_a_day):
    """Return the variance of B - k B', electrons^2 a pixel.

    Parameters
    ----------
    bias, dark : ccdflow.run.master_choices.Use
        The bias and dark of the frame.
    bias_in_dark : ccdflow.run.master_choices.Use or None
        The bias that the dark's members had subtracted; None where it is not known.
    ageing_a_day : float
        The variance that a day between bias and frame adds, electrons^2.

    Returns
    -------
    float

    Notes
    -----
    Where both biases are B, the bias levels b(t) of the three nights leave
    b(frame) - b(B) - k (b(dark) - b(B)). The level is a random walk, whose variance grows by
    ``ageing_a_day``. The result follows from the days between the three nights.
    """
    k = dark.scale
    if bias_in_dark is None:
        return bias.variance
    if bias_in_dark.product != bias.product:
        return bias.variance + k**2 * bias_in_dark.variance
    # An undated master has no lag, and counts as of the same night.
    bias_to_frame, dark_to_frame = abs(bias.lag or 0), abs(dark.lag or 0)
    bias_to_dark = abs(bias_in_dark.lag or 0)
    days = (1 - k) * bias_to_frame + k * (k - 1) * bias_to_dark + k * dark_to_frame
    # If an undated master counts, lags may contradict each other: no variance becomes negative.
    return (1 - k) ** 2 * (bias.variance - ageing_a_day * bias_to_frame) + ageing_a_day * max(
        days, 0.0
    )


class BiasesOfDarks:
    """The biases that compete in frames with some darks, for all exposures of the frames.

    Frames whose exposures differ by a thousandth have the same darks with other scales. Their
    biases are compared once, and the pairs of exact darks are computed once.

    Masters compete where their variance alone ranks them. Those of a later night and those cut from
    a larger window come after the others. An exact dark of these weeks stays before scaled ones.

    Parameters
    ----------
    bias_step : ccdflow.run.master_choices.Step
        Step of the bias of the frames, ordered for frames without a dark.
    biases_of_darks : list of ccdflow.run.master_choices.Use or None
        The bias of each dark's members.
    rules : ccdflow.kinds.matching.rule_values.Rules
    ageing_a_day : float
        The variance that a day between bias and frame adds, electrons^2.
    uses_of : callable
        Takes a list of biases, and returns the `Use` of those that the frame may take.
    """

    def __init__(self, bias_step, biases_of_darks, rules, ageing_a_day, uses_of):
        self._bias_step, self._biases_of_darks = bias_step, biases_of_darks
        self._rules, self._ageing_a_day = rules, ageing_a_day
        self._biases = _competing_biases(bias_step.uses, biases_of_darks, rules, uses_of)
        self._variances = [each.variance for each in self._biases]
        index_by_product = {each.product: index for index, each in enumerate(self._biases)}
        # For each dark, the index of its bias among the competing ones; None where it is no such.
        self._indices_of_biases = [
            None if bias_in_dark is None else index_by_product.get(bias_in_dark.product)
            for bias_in_dark in biases_of_darks
        ]
        # {id of an exact dark: (the dark, its pair)}: while a dark is kept here, its id is its own.
        self._pairs_of_exact_darks = {}
        # {pairs of products: the step of the bias}
        self._bias_steps = {}

    def best_pair_first(self, dark_step):
        """Return the steps of bias and dark; the pair that adds the least variance is first.

        Parameters
        ----------
        dark_step : ccdflow.run.master_choices.Step
            The darks in the order of ``biases_of_darks``, scaled for the frames' exposure.

        Returns
        -------
        (ccdflow.run.master_choices.Step, ccdflow.run.master_choices.Step)
        """
        pairs = [self._pair_of(index, use) for index, use in enumerate(dark_step.uses)]
        ranks = _ranks_of_darks(dark_step.uses, self._rules)
        pairs = [pairs[index] for index in _order_of_darks([dark for dark, _ in pairs], ranks)]
        products = tuple([(dark.product, bias.product) for dark, bias in pairs])
        bias_step = self._bias_steps.get(products)
        if bias_step is None:
            _, best_bias = pairs[0]
            bias_step = _step_with_pairs(self._bias_step, best_bias, products)
            self._bias_steps[products] = bias_step
        darks = tuple([dark for dark, _ in pairs])
        return bias_step, Step(
            dark_step.kind, darks, dark_step.is_needed, dark_step.missing_master, dark_step.pairs
        )

    def _pair_of(self, index, use):
        """Return a dark and its best bias, as `_use_with_best_bias` does.

        Frames of all exposures share the pair of an exact dark.
        """
        if use.scale != 1:
            return self._use_with_best_bias(index, use)
        dark_and_pair = self._pairs_of_exact_darks.get(id(use))
        if dark_and_pair is None:
            dark_and_pair = use, self._use_with_best_bias(index, use)
            self._pairs_of_exact_darks[id(use)] = dark_and_pair
        return dark_and_pair[1]

    def _use_with_best_bias(self, index, use):
        """Return a dark, and the bias with which the pair leaves the least variance in a frame.

        Parameters
        ----------
        index : int
            Index of the dark in ``biases_of_darks``.
        use : ccdflow.run.master_choices.Use
            The dark, scaled for the frame.

        Returns
        -------
        (ccdflow.run.master_choices.Use, ccdflow.run.master_choices.Use)
            The dark has that variance as its ``bias_variance_left``.
        """
        bias_in_dark, variances = self._biases_of_darks[index], self._variances
        if bias_in_dark is not None:
            # Most biases are not the one in the dark: for these `variance_of_biases` adds both
            # variances.
            variance_in_dark = use.scale**2 * bias_in_dark.variance
            variances = [variance + variance_in_dark for variance in variances]
            if (index_of_bias := self._indices_of_biases[index]) is not None:
                variances[index_of_bias] = variance_of_biases(
                    self._biases[index_of_bias], use, bias_in_dark, self._ageing_a_day
                )
        least_variance = min(variances)
        dark = (
            use
            if use.bias_variance_left == least_variance
            else use.with_bias_variance_left(least_variance)
        )
        return dark, self._biases[variances.index(least_variance)]


def _competing_biases(uses, biases_of_darks, rules, uses_of):
    """Return the biases of the frame and of the darks that have the rank of the first one.

    Parameters
    ----------
    uses : tuple of ccdflow.run.master_choices.Use
        The biases of the frame, ordered for frames without a dark.
    biases_of_darks : list of ccdflow.run.master_choices.Use or None
        The bias of each dark's members.
    rules : ccdflow.kinds.matching.rule_values.Rules
    uses_of : callable
        See `BiasesOfDarks`.
    """
    rank = rank_of(uses[0], rules)
    products_of_frame = {use.product for use in uses}
    products = dict.fromkeys(
        [bias_in_dark.product for bias_in_dark in biases_of_darks if bias_in_dark is not None]
    )
    other_biases = uses_of([product for product in products if product not in products_of_frame])
    further_biases = (*uses[1:], *other_biases)
    return [uses[0], *[use for use in further_biases if rank_of(use, rules) == rank]]


def _order_of_darks(darks, ranks):
    """Return the indices of the darks: first those of the first rank, by their pairs' variance."""
    added_variances = [dark.variance + dark.bias_variance_left for dark in darks]
    indices_of_first_rank = [index for index, rank in enumerate(ranks) if rank == ranks[0]]
    other_indices = [index for index, rank in enumerate(ranks) if rank != ranks[0]]
    # The sorting is stable: darks of equal variance keep their order.
    return sorted(indices_of_first_rank, key=added_variances.__getitem__) + other_indices


def _step_with_pairs(bias_step, best_bias, pairs):
    """Return the step of a bias: the bias of the best pair first, and the bias of each dark.

    Parameters
    ----------
    bias_step : ccdflow.run.master_choices.Step
    best_bias : ccdflow.run.master_choices.Use
        The bias of the best pair.
    pairs : sequence of (str, str)
        Dark and bias, the best pair first.

    Returns
    -------
    ccdflow.run.master_choices.Step
        The same object where nothing changes.
    """
    other_uses = [use for use in bias_step.uses if use.product != best_bias.product]
    uses = (best_bias, *other_uses)[:MOST_CANDIDATES]
    products = {use.product for use in uses}
    candidate_pairs = tuple([pair for pair in pairs if pair[1] in products])
    if {product for _, product in candidate_pairs} <= {best_bias.product}:
        # One bias is the best with each dark, so the order of the biases is enough.
        candidate_pairs = ()
    if (uses, candidate_pairs) == (bias_step.uses, bias_step.pairs):
        return bias_step
    return Step(
        bias_step.kind, uses, bias_step.is_needed, bias_step.missing_master, candidate_pairs
    )


def bias_alone_first(step, rules):
    """Return the step of a bias, with its biases in the order for a frame without a dark.

    Parameters
    ----------
    step : ccdflow.run.master_choices.Step
        As `BiasesOfDarks` returned it: the bias of the best pair goes first.
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    ccdflow.run.master_choices.Step
        The same object where the order is the same.
    """
    if not step.uses:
        return step
    rank = rank_of(step.uses[0], rules)
    competing_uses = [use for use in step.uses if rank_of(use, rules) == rank]
    other_uses = [use for use in step.uses if rank_of(use, rules) != rank]
    competing_uses.sort(key=lambda use: (use.variance, abs(use.lag or 0), use.product))
    uses = (*competing_uses, *other_uses)
    if uses == step.uses and not step.pairs:
        return step
    return Step(step.kind, uses, step.is_needed, step.missing_master)


def rank_of(use, rules):
    """Return the rank of a bias or flat: variance decides only between masters of one rank.

    Parameters
    ----------
    use : ccdflow.run.master_choices.Use
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    (int or None, bool, bool, str)
        The lag of a later master, else None (and None where later masters compete like others);
        whether it is of another night, where the own night goes first; whether the days between are
        unknown; the region cut from a larger window.
    """
    lag = use.lag
    is_later = lag is not None and lag < 0 and rules.is_causal
    return lag if is_later else None, rules.prefers_own_night and lag != 0, lag is None, use.cut


def _ranks_of_darks(uses, rules):
    """Return the rank of each dark, by the order of `ranking.rank_masters`."""
    ranks = [(*rank_of(use, rules), use.scale > HARMLESS_SCALE_UP) for use in uses]
    flags_of_exact = [use.scale == 1 for use in uses]
    flags_of_preferred = flags_of_exact
    if not all(flags_of_exact):
        # The first value of a rank is not None for a later master, which does not compete.
        flags_of_near = [
            abs(use.lag or 0) <= EXACT_NIGHTS and rank[0] is None
            for use, rank in zip(uses, ranks, strict=True)
        ]
        # The rule of `ranking.rank_masters`: exact darks of another season compete with scaled
        # darks of these weeks.
        if not any(map(and_, flags_of_exact, flags_of_near)):
            flags_of_preferred = list(map(or_, flags_of_exact, flags_of_near))
    return [
        (*rank, is_preferred) for rank, is_preferred in zip(ranks, flags_of_preferred, strict=True)
    ]
