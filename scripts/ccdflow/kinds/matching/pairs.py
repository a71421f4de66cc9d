"""Which bias and dark a frame takes together: a pure function of the masters that it may take.

R - B - k (D - B') holds two biases: that of the frame, B, and that of the dark's members, B'. They
cancel at k = 1 only where they are one. The pair that adds the least is taken, so that the bias of
the dark is a candidate for the frame as well.
"""

from __future__ import annotations

from operator import and_, or_

from ccdflow.kinds.matching.rule_values import EXACT_NIGHTS, HARMLESS_SCALE_UP, MOST_CANDIDATES
from ccdflow.run.job import Step


def variance_of_biases(bias, dark, of_dark, ageing):
    """Return the variance of B - k B', electrons^2 a pixel.

    Parameters
    ----------
    bias, dark : ccdflow.run.job.Use
        As the frame takes them.
    of_dark : ccdflow.run.job.Use or None
        The bias as the dark's members had it subtracted; None where that is not known.
    ageing : float
        Electrons^2 by which a bias departs from the truth, for each day between.

    Returns
    -------
    float

    Notes
    -----
    A level b(t) that departs at random by ``ageing`` a day leaves b(frame) - b(B) - k (b(dark) -
    b(B)) where both biases are one: its variance follows from the days between the three.
    """
    k = dark.scale
    if of_dark is None:
        return bias.variance
    if of_dark.product != bias.product:
        return bias.variance + k**2 * of_dark.variance
    to_frame, dark_to_frame = abs(bias.lag or 0), abs(dark.lag or 0)
    to_dark = abs(of_dark.lag or 0)
    # Undated masters have no days; no days make the variance negative.
    days = (1 - k) * to_frame + k * (k - 1) * to_dark + k * dark_to_frame
    return (1 - k) ** 2 * (bias.variance - ageing * to_frame) + ageing * max(days, 0.0)


def best_pair_first(steps, rules, ageing, bias_of, uses_of):
    """Return the steps of bias and dark with the pair first that adds the least variance.

    Only masters that nothing but their variance ranks compete: a later night, an exact dark of
    these weeks, a cut from a larger window keep their ranks.

    Parameters
    ----------
    steps : (ccdflow.run.job.Step, ccdflow.run.job.Step)
        Bias and dark, each the best alone first.
    rules : ccdflow.kinds.matching.rule_values.Rules
    ageing : float
        As `variance_of_biases` takes it.
    bias_of : callable
        Takes a dark's product and returns the `Use` of the bias of its members, or None.
    uses_of : callable
        Takes a list of biases and returns the `Use` of those that the frame may take.

    Returns
    -------
    (ccdflow.run.job.Step, ccdflow.run.job.Step)
    """
    bias, dark = steps
    if not bias.uses or not dark.uses:
        return steps
    of_darks = [bias_of(use.product) for use in dark.uses]
    return BiasesOfDarks(bias, of_darks, rules, ageing, uses_of).best_pair_first(dark)


class BiasesOfDarks:
    """The biases that compete in frames with some darks, whatever the exposure of the frames.

    Exposures that differ by a thousandth have the same darks with other scales: their biases are
    compared once, and so is all that an exact dark leaves of a bias.

    Parameters
    ----------
    bias : ccdflow.run.job.Step
        Of the frames, the best alone first.
    of_darks : list of ccdflow.run.job.Use or None
        The bias of each dark's members.
    rules, ageing, uses_of
        As `best_pair_first` takes them.
    """

    def __init__(self, bias, of_darks, rules, ageing, uses_of):
        self._bias, self._of_darks = bias, of_darks
        self._rules, self._ageing = rules, ageing
        self._biases = _competing_biases(bias.uses, of_darks, rules, uses_of)
        self._variances = [each.variance for each in self._biases]
        index_of_bias = {each.product: index for index, each in enumerate(self._biases)}
        self._indices = [
            None if own is None else index_of_bias.get(own.product) for own in of_darks
        ]
        self._unscaled, self._biases_first = {}, {}

    def best_pair_first(self, dark):
        """Return the steps of bias and dark with the pair first that adds the least variance.

        Parameters
        ----------
        dark : ccdflow.run.job.Step
            The darks in the order of their biases, scaled for the frames' exposure.

        Returns
        -------
        (ccdflow.run.job.Step, ccdflow.run.job.Step)
        """
        darks, best = [], []
        for number, use in enumerate(dark.uses):
            if use.scale != 1:
                with_bias = self._with_best_bias(number, use)
            else:
                # The same object for frames of all exposures, which is kept with its id.
                known = self._unscaled.get(id(use))
                if known is None:
                    known = self._unscaled[id(use)] = self._with_best_bias(number, use), use
                with_bias = known[0]
            darks.append(with_bias[0])
            best.append(with_bias[1])
        order = _order_of_darks(darks, _ranks_of_darks(dark.uses, self._rules))
        pairs = tuple([(darks[n].product, best[n].product) for n in order])
        bias = self._biases_first.get(pairs)
        if bias is None:
            # The first pair says which bias is the best.
            bias = _with_pairs(self._bias, best[order[0]], pairs)
            self._biases_first[pairs] = bias
        uses = tuple([darks[n] for n in order])
        return bias, Step(dark.kind, uses, dark.needed, dark.missing, dark.pairs)

    def _with_best_bias(self, number, use):
        """Return a dark with the variance that stays of its bias, and the bias of the least."""
        own, left = self._of_darks[number], self._variances
        if own is not None:
            # The result of `variance_of_biases` for a bias that is not the dark's: most are not.
            of_bias = use.scale**2 * own.variance
            left = [variance + of_bias for variance in left]
            if (index := self._indices[number]) is not None:
                left[index] = variance_of_biases(self._biases[index], use, own, self._ageing)
        least = min(left)
        dark = use if use.bias_left == least else use.with_bias_left(least)
        return dark, self._biases[left.index(least)]


def _competing_biases(uses, of_darks, rules, uses_of):
    """Return the biases that only their variance ranks behind the first, and those of the darks.

    Parameters
    ----------
    uses : tuple of ccdflow.run.job.Use
        The biases of the frame, the best alone first.
    of_darks : list of ccdflow.run.job.Use or None
        The bias of each dark's members.
    rules : ccdflow.kinds.matching.rule_values.Rules
    uses_of : callable
        See `best_pair_first`.
    """
    rank = rank_of(uses[0], rules)
    known = {use.product for use in uses}
    more = dict.fromkeys([own.product for own in of_darks if own is not None])
    others = uses_of([product for product in more if product not in known])
    rest = (*uses[1:], *others)
    return [uses[0], *[use for use in rest if rank_of(use, rules) == rank]]


def _order_of_darks(darks, ranks):
    """Return the indices of the darks: those of the first rank by the variance of their pair."""
    some = [n for n, rank in enumerate(ranks) if rank == ranks[0]]
    others = [n for n, rank in enumerate(ranks) if rank != ranks[0]]
    # Equal ones keep their order.
    return sorted(some, key=lambda n: darks[n].variance + darks[n].bias_left) + others


def _with_pairs(bias, best, pairs):
    """Return the step of the bias with the best one first, and the bias of each dark.

    Parameters
    ----------
    bias : ccdflow.run.job.Step
    best : ccdflow.run.job.Use
        The bias of the best pair.
    pairs : sequence of (str, str)
        Dark and bias, the best pair first.

    Returns
    -------
    ccdflow.run.job.Step
        The same object where nothing changes.
    """
    rest = [use for use in bias.uses if use.product != best.product]
    uses = (best, *rest)[:MOST_CANDIDATES]
    there = {use.product for use in uses}
    kept = tuple([pair for pair in pairs if pair[1] in there])
    if {product for _, product in kept} <= {best.product}:
        kept = ()
    if (uses, kept) == (bias.uses, bias.pairs):
        return bias
    return Step(bias.kind, uses, bias.needed, bias.missing, kept)


def bias_alone_first(step, rules):
    """Return the step of a bias in the order of what each bias adds where no dark is subtracted.

    Parameters
    ----------
    step : ccdflow.run.job.Step
        As `best_pair_first` returned it: the bias of the best pair goes first.
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    ccdflow.run.job.Step
        The same object where the order is the same.
    """
    if not step.uses:
        return step
    rank = rank_of(step.uses[0], rules)
    alone = [use for use in step.uses if rank_of(use, rules) == rank]
    rest = [use for use in step.uses if rank_of(use, rules) != rank]
    alone.sort(key=lambda use: (use.variance, abs(use.lag or 0), use.product))
    uses = (*alone, *rest)
    if uses == step.uses and not step.pairs:
        return step
    return Step(step.kind, uses, step.needed, step.missing)


def rank_of(use, rules):
    """Return all that ranks a bias or flat before its variance does.

    Parameters
    ----------
    use : ccdflow.run.job.Use
    rules : ccdflow.kinds.matching.rule_values.Rules

    Returns
    -------
    tuple
        Masters compete that have the same.
    """
    lag = use.lag
    is_later = lag is not None and lag < 0 and rules.direction != "nearest"
    return lag if is_later else None, rules.same_night and lag != 0, lag is None, use.cut


def _ranks_of_darks(uses, rules):
    """Return the rank of each dark, as `ranking.rank_masters` would order them."""
    ranks = [(*rank_of(use, rules), use.scale > HARMLESS_SCALE_UP) for use in uses]
    exact = [use.scale == 1 for use in uses]
    if not all(exact):
        # A rank begins with the nights to a later master that does not compete.
        near = [
            abs(use.lag or 0) <= EXACT_NIGHTS and rank[0] is None
            for use, rank in zip(uses, ranks, strict=True)
        ]
        # The rule of `ranking.rank_masters`: exact darks of another season compete with scaled
        # darks of these weeks.
        if not any(map(and_, exact, near)):
            exact = list(map(or_, exact, near))
    return [(*rank, is_first) for rank, is_first in zip(ranks, exact, strict=True)]
