"""The bias and the dark of a frame as a pair: the choice, and its noise against injected truth."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_chain
from amplifier_columns import values_by_column
from chain_runs import run, take
from small_frames import begin

from ccdflow import simulate
from ccdflow.kinds.forecasting import night_forecast
from ccdflow.kinds.matching import measured_flats
from ccdflow.kinds.matching.pairs import BiasesOfDarks, variance_of_biases
from ccdflow.kinds.matching.rule_values import Rules
from ccdflow.run import job_records
from ccdflow.run.master_choices import Step, Use
from ccdflow.verify import verdicts

DETECTOR = simulate.draw_detector(small_chain.SHAPE, seed=1, shutter=0.0, amplifiers=1)
NO_FRAMES = {"detector": DETECTOR, "biases": 0, "darks": (), "flats": (), "science": ()}
SCIENCE = {"g60": (("g", 60.0, 1),), "g58": (("g", 58.0, 1),)}


def use(product, lag=0, variance=1.0, scale=1.0, **more):
    return Use(product, lag, scale, variance, "A", **more)


# -- the choice ------------------------------------------------------------------------------------


def best_pair_first(steps, rules, ageing, bias_of, uses_of):
    """Return the steps of bias and dark with the best pair first; `bias_of` takes a dark."""
    bias, dark = steps
    biases_of_darks = [bias_of(each.product) for each in dark.uses]
    return BiasesOfDarks(bias, biases_of_darks, rules, ageing, uses_of).best_pair_first(dark)


def pair(biases, darks, of_darks, *, others=(), ageing=0.01, **rules):
    """Return the products of bias and dark that are taken."""
    known = {each.product: each for each in others}
    steps = best_pair_first(
        (Step("bias", tuple(biases)), Step("dark", tuple(darks))),
        Rules(**rules),
        ageing,
        of_darks.get,
        lambda products: [known[each] for each in products if each in known],
    )
    return tuple(step.uses[0].product for step in steps)


def test_the_bias_of_the_dark_is_taken_where_it_cancels():
    tonight, of_dark = use("b10", 0, 25 / 12), use("b01", 9, 25 / 3 + 0.09)
    dark = use("d01", 9, 25 / 8)
    of_darks = {"d01": use("b01", 0, 25 / 3)}
    assert pair([tonight], [dark], of_darks, others=[of_dark]) == ("b01", "d01")
    # Not where the rule keeps the own night's, and not where it is not the frame's to take.
    assert pair([tonight], [dark], of_darks, others=[of_dark], prefers_own_night=True)[0] == "b10"
    assert pair([tonight], [dark], of_darks)[0] == "b10"
    # Nor where the level drifts by more in these nights than both biases are noisy.
    steady = pair([tonight], [dark], of_darks, others=[of_dark], ageing=1.0)
    assert (steady[0], pair([tonight], [dark], of_darks, others=[of_dark], ageing=3.0)[0]) == (
        "b01",
        "b10",
    )
    # A much shorter frame leaves nearly all of the bias in: the better one is taken.
    faint = use("d01", 9, 0.01**2 * 25 / 8, scale=0.01)
    assert pair([tonight], [faint], of_darks, others=[of_dark])[0] == "b10"


def test_the_next_dark_has_a_bias_of_its_own():
    """Where the best dark could not be made, the bias that cancels in the next one is taken."""
    biases = use("b10", 0, 5.0), use("b01", 1, 5.01)
    darks = use("d10", 0, 3.0), use("d01", 1, 5.0)
    of_darks = {"d10": biases[0], "d01": use("b01", 0, 5.0)}
    steps = Step("bias", biases), Step("dark", darks)
    bias, dark = best_pair_first(steps, Rules(), 0.01, of_darks.get, lambda products: [])
    assert [each.product for each in dark.uses] == ["d10", "d01"]
    assert bias.pairs == (("d10", "b10"), ("d01", "b01"))
    assert Step.from_dict(json.loads(json.dumps(asdict(bias)))) == bias
    for refused, first in (((), "b10"), (("d10",), "b01"), (("d10", "b01"), "b10")):
        made = {
            product: job_records.Record(product, "", "") for product in ("b10", "b01", "d10", "d01")
        }
        made |= dict.fromkeys(refused)
        context = SimpleNamespace(
            made_record=made.get, kept_by_identity=lambda outcome_key, objects, make: make()
        )
        assert measured_flats.order_by_measurement(context, bias).uses[0].product == first
    # Where one bias is best with all darks, there is nothing to note.
    same = dict.fromkeys(of_darks, biases[0])
    assert best_pair_first(steps, Rules(), 0.01, same.get, lambda products: [])[0].pairs == ()


def test_a_later_bias_is_not_taken_for_a_dark_that_has_it():
    """Otherwise a night that is added would change an older frame."""
    own, later, dark = use("b0", 0, 9.0), use("b5", -5, 0.1), use("d0", 0, 1.0)
    of_darks = {"d0": use("b5", -5, 0.1)}
    assert pair([own], [dark], of_darks, others=[later]) == ("b0", "d0")
    assert pair([own, later], [dark], of_darks) == ("b0", "d0")
    assert pair([own], [dark], of_darks, others=[later], direction="nearest") == ("b5", "d0")


def test_a_long_dark_of_little_noise_leaves_the_bias_in():
    bias = use("b", 0, 25 / 3)
    long, short = use("d3000", 0, 0.05, scale=0.097), use("d300", 0, 1.17, scale=0.967)
    of_darks = dict.fromkeys(("d3000", "d300"), bias)
    assert pair([bias], [long, short], of_darks) == ("b", "d300")
    # An exact dark goes first whatever it adds, and one that is scaled up comes last.
    exact, up = use("d290", 0, 40.0), use("d200", 0, 0.01, scale=1.45)
    of_darks |= dict.fromkeys(("d290", "d200"), bias)
    assert pair([bias], [exact, short], of_darks) == ("b", "d290")
    assert pair([bias], [long, up], of_darks) == ("b", "d3000")


@pytest.mark.parametrize(
    ("lag", "direction", "dark_taken"),
    [
        (30, "causal", "d290"),
        (31, "causal", "d300"),
        (30, "nearest", "d290"),
        (-30, "nearest", "d290"),
        (-31, "nearest", "d300"),
    ],
)
def test_an_exact_dark_of_thirty_nights_goes_first_in_a_pair(lag, direction, dark_taken):
    """The scaled dark adds much less: an exact one of longer ago competes with it."""
    bias = use("b", 0, 25 / 3)
    exact, scaled = use("d290", lag, 40.0), use("d300", 0, 1.17, scale=0.967)
    of_darks = dict.fromkeys(("d290", "d300"), bias)
    assert pair([bias], [exact, scaled], of_darks, direction=direction) == ("b", dark_taken)


def test_biases_that_are_compared_once_pair_as_those_of_each_exposure_alone():
    """Exposures that differ by a thousandth have other scales, and may have another order."""
    chance, orders, lefts = random.Random(7), set(), set()
    for _ in range(60):
        biases = [
            use(f"b{n}", chance.randrange(40), chance.choice([2.5, 2.6, 5.0, 25 / 3]))
            for n in range(5)
        ]
        of_darks = [
            chance.choice([None, *biases, use(f"b{5 + n}", n, chance.uniform(2.0, 9.0))])
            for n in range(4)
        ]
        sky = [use(each.product, 3, each.variance + 0.01) for each in of_darks if each is not None]
        known = {each.product: each for each in sky}
        bias, rules, ageing = Step("bias", tuple(biases)), Rules(), chance.choice([0.0, 0.01, 0.3])

        def uses_of(products, known=known):
            return [known[each] for each in products]

        shared = BiasesOfDarks(bias, of_darks, rules, ageing, uses_of)
        # Behind an exact dark the others keep their order.
        first = chance.choice([use("d0", 0, 3.0), use("d0", 0, 3.0, scale=0.5)])
        noises = [chance.uniform(1.0, 3.0) for _ in range(4)]
        for seconds in (60.0, 60.001, 60.05, 61.0):
            scaled = [
                use(f"d{n}", n, (seconds / 60) ** 2 * noises[n], scale=seconds / (60 * n + 20))
                for n in range(1, 4)
            ]
            dark = Step("dark", (first, *scaled))
            own, taken = shared.best_pair_first(dark)
            alone = BiasesOfDarks(bias, of_darks, rules, ageing, uses_of).best_pair_first(dark)
            assert (own, taken) == alone
            # The least of all pairs, each by itself.
            competing = {each.product: each for each in (*biases, *sky)} | {
                each.product: each for each in biases
            }
            for each in taken.uses:
                of_dark = of_darks[int(each.product[1])]
                least = min(
                    variance_of_biases(one, each, of_dark, ageing) for one in competing.values()
                )
                assert each.bias_variance_left == least
                lefts.add(each.bias_variance_left)
            orders.add((seconds, tuple(each.product for each in taken.uses)))
    # The draws have darks in several orders, and thousands of variances.
    assert len({order for _, order in orders}) >= 3
    assert len(lefts) > 100


@pytest.mark.parametrize("k", [0.3, 1.0, 1.8])
@pytest.mark.parametrize("days", [(9, 9, 0), (0, 40, 40), (30, 10, 20), (5, -4, -9)])
def test_the_variance_of_two_biases_is_that_of_levels_that_wander(k, days):
    """Levels drawn as a random walk: frame on day 50, and the days from it to bias and dark."""
    rng, ageing = np.random.default_rng(3), 0.4
    walk = np.cumsum(rng.normal(0, ageing**0.5, (120, 20_000)), axis=0)
    to_bias, to_dark, bias_to_dark = days
    level = {"frame": walk[50], "bias": walk[50 - to_bias], "dark": walk[50 - to_dark]}
    noise = rng.normal(0, 1.3, 20_000)
    bias = level["bias"] + noise
    same = (level["frame"] - bias - k * (level["dark"] - bias)).var()
    taken = use("b", to_bias, 1.3**2 + ageing * abs(to_bias))
    dark = use("d", to_dark, 1.0, scale=k)
    of_dark = use("b", bias_to_dark, 1.3**2 + ageing * abs(bias_to_dark))
    variance = variance_of_biases(taken, dark, of_dark, ageing)
    assert variance == pytest.approx(same, rel=0.05)


# -- whole nights ----------------------------------------------------------------------------------


def archive(tmp_path, science="g60", **later):
    """Biases and darks of one night, and twelve biases and a frame of another."""
    options = NO_FRAMES | {"biases": 12, "science": SCIENCE[science], "seed": 2} | later
    take(tmp_path, folder="a", **(NO_FRAMES | {"biases": 3, "darks": ((60.0, 8),)}))
    return take(tmp_path, folder="b", evening=datetime(2024, 3, 10, 17), **options)


@pytest.mark.parametrize("same_night", [False, True])
def test_the_noise_of_the_masters_subtracted_is_that_of_header_and_plan(tmp_path, same_night):
    chain = archive(tmp_path)
    done = run(tmp_path, chain, calibrate={"same_night": same_night})
    product = "calibrated/b/science_g1.fits"
    header = done.open(product)[0].header
    bias, dark = (done.open(header[name])[0].data for name in ("BIASIM", "DARKIM"))
    assert Path(header["BIASIM"]).parent.name == ("2024-03-10" if same_night else "2024-03-01")
    off = bias + dark - chain.bias() - chain.dark(60.0)
    gain = values_by_column(chain.detector, "gain")
    # Hot pixels have more noise of their own than the median that the cards are.
    good = chain.good_pixels() & (chain.dark(60.0) < 3 * np.median(chain.dark(60.0)))
    variance = (off * gain)[good].var()
    stated = header["MBNOISE"] ** 2 + header["MDNOISE"] ** 2
    assert stated == pytest.approx(variance, rel=0.1)
    assert (header["MBNOISE"] > 0) == same_night
    (block,) = night_forecast.forecasts_of_setups(done.context, "2024-03-10")
    parts = block.noises[0].budget.parts
    assert parts["bias"] + parts["dark"] == pytest.approx(variance, rel=0.15)
    outcome = verdicts.verify(
        product, raw=tmp_path / "raw", results=tmp_path / "results", compares_all_rows=True
    )
    assert (outcome.verdict, outcome.reason) == ("verified", "")
    assert "standard errors to 2e-05" in outcome.compared


@pytest.mark.parametrize(("darks", "night"), [((), "2024-03-01"), (((900.0, 3),), "2024-03-10")])
def test_the_plan_names_the_pair(tmp_path, darks, night):
    """A dark of 60 s at 0.97 with its bias, or one of 900 s that leaves the twelve biases in."""
    chain = archive(tmp_path, "g58", darks=darks)
    session = begin(tmp_path / "raw", tmp_path / "results", {"simcam": chain.profile})
    session.lock.close()
    group = session.context.groups["calibrated/b/science_g1.fits"]
    bias, dark = (step.uses[0].product.rpartition("/")[0] for step in group.steps[:2])
    assert (bias, dark) == (f"combined/{night}", f"combined/{night}")
