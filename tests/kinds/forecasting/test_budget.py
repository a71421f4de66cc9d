"""The budget of a pixel's noise against drawn pixels, and which further frames gain most."""

from dataclasses import replace

import numpy as np
import pytest

from ccdflow.kinds.forecasting.budget import (
    BudgetedFrame,
    BudgetedMaster,
    budget_of,
    flat_noise,
    wishes_of,
)

LFC = BudgetedFrame(
    exptime=300.0,
    read_noise=11.0,
    dark_rate=0.02,
    level_share=0.061,
    sky=450.0,
    masters={
        "bias": BudgetedMaster(6),
        "dark": BudgetedMaster(3, exptime=300.0),
        "flat": BudgetedMaster(3, noise=22_000**-0.5),
    },
)


def variance_by_drawing(exposure, *, dark_scale, response=1.0, pixels=120_000, rows=200):
    """Draw frame and masters pixel by pixel, calibrate, and return the variance of the result.

    Each frame's level is measured row by row with the noise that ``level_share`` says.
    """
    rng = np.random.default_rng(5)
    shape = (rows, pixels // rows)
    masters, rn = exposure.masters, exposure.read_noise

    def frame(light):
        level = rng.normal(0, rn * exposure.level_share**0.5, (shape[0], 1))
        return rng.poisson(light, shape) + rng.normal(0, rn, shape) - level

    bias = np.mean([frame(0.0) for _ in range(masters["bias"].n_frames)], axis=0)
    seconds = masters["dark"].exptime
    darks = [frame(exposure.dark_rate * seconds) for _ in range(masters["dark"].n_frames)]
    dark = np.mean(darks, axis=0) - bias
    flat = response * (1 + rng.normal(0, flat_noise(masters["flat"]), shape))
    raw = frame(exposure.sky * response + exposure.dark_rate * exposure.exptime)
    return float(((raw - bias - dark_scale * dark) / flat).var())


@pytest.mark.parametrize("seconds", [300.0, 600.0, 200.0])
def test_the_budget_is_the_variance_of_pixels_drawn_from_it(seconds):
    """At k = 1 the bias cancels; scaled up or down it enters with (1 - k)^2."""
    scale = LFC.exptime / seconds
    masters = {**LFC.masters, "dark": BudgetedMaster(3, scale=scale, exptime=seconds)}
    exposure = replace(LFC, masters=masters)
    assert budget_of(exposure).total == pytest.approx(
        variance_by_drawing(exposure, dark_scale=scale), rel=0.02
    )
    assert (budget_of(exposure).parts["bias"] == 0) == (scale == 1)


def test_the_bias_of_a_dark_that_is_not_the_frames_adds_to_the_budget():
    """Variance of R - B - k (D - B') over drawn pixels: k = 1 does not cancel two biases."""
    for k in (1.0, 0.5):
        rng, rn = np.random.default_rng(8), LFC.read_noise

        def mean(frames, rng=rng, rn=rn):
            return rng.normal(0, rn / frames**0.5, 200_000)

        variance = (rng.normal(0, rn, 200_000) - mean(6) - k * (mean(3) - mean(2))).var()
        masters = {"bias": BudgetedMaster(6), "dark": BudgetedMaster(3, scale=k, exptime=300 / k)}
        exposure = replace(
            LFC, masters=masters, sky=0.0, dark_rate=0.0, level_share=0.0,
            is_bias_in_dark=False, other_bias=BudgetedMaster(2),
        )  # fmt: skip
        budget = budget_of(exposure)
        assert budget.total == pytest.approx(variance, rel=0.01)
        assert budget.parts["bias"] == pytest.approx(121 / 6 + k**2 * 121 / 2)


def test_a_low_response_collects_less_light_and_divides_the_rest():
    exposure = replace(LFC, response=0.45)
    variance = variance_by_drawing(exposure, dark_scale=1.0, response=0.45)
    assert budget_of(exposure).total == pytest.approx(variance, rel=0.02)


def test_the_parts_of_the_guides_frame():
    parts = budget_of(LFC).parts
    assert parts["read noise"] == 121
    assert parts["dark"] == pytest.approx((121 + 6) / 3)
    assert parts["flat"] == pytest.approx(450**2 / 22_000 / 3)
    assert parts["overscan"] == pytest.approx(0.061 * 121 * (1 + 1 / 3))
    assert budget_of(LFC).largest_part == "photons"
    assert budget_of(replace(LFC, sky=10.0)).largest_part == "read noise"


def test_ageing_is_in_the_budget():
    dark = BudgetedMaster(3, exptime=300.0, ageing_variance=5.0)
    old = replace(LFC, masters={**LFC.masters, "dark": dark})
    assert budget_of(old).total == pytest.approx(budget_of(LFC).total + 5.0)


def test_nine_more_darks_take_a_fifth_of_the_read_and_dark_variance():
    """The example of the plan: three darks, read noise only."""
    exposure = replace(LFC, dark_rate=0.0, level_share=0.0, sky=None)
    first = wishes_of(exposure)[0]
    assert (first.kind, first.n_frames, first.joins_frames) == ("dark", 9, True)
    assert first.saved_fraction_without_light == pytest.approx((4 / 3 - 13 / 12) / (4 / 3))
    assert first.saved_fraction_without_light == pytest.approx(0.1875)


def test_a_master_of_another_night_is_not_joined_but_replaced():
    old = BudgetedMaster(3, exptime=300.0, ageing_variance=30.0, takes_further_frames=False)
    exposure = replace(LFC, masters={**LFC.masters, "dark": old})
    first = wishes_of(exposure)[0]
    assert (first.kind, first.n_frames, first.joins_frames) == ("dark", 12, False)
    fresh = {**LFC.masters, "dark": BudgetedMaster(12, exptime=300.0)}
    then = budget_of(replace(LFC, masters=fresh)).total
    assert first.saved_fraction == pytest.approx(1 - then / budget_of(exposure).total)


def test_missing_masters_come_first_and_frames_without_gain_are_not_named():
    bare = replace(LFC, masters={"bias": BudgetedMaster(6)})
    kinds = [(wish.kind, wish.is_missing) for wish in wishes_of(bare)]
    assert kinds[:2] == [("dark", True), ("flat", True)]
    # The bias cancels in the dark: more biases gain nothing.
    assert "bias" not in [wish.kind for wish in wishes_of(LFC)]
    bright = replace(LFC, sky=30_000.0)
    assert wishes_of(bright)[0].kind == "flat"
    many = replace(
        LFC, masters={kind: replace(m, n_frames=2000) for kind, m in LFC.masters.items()}
    )
    assert wishes_of(many) == []


def test_new_darks_are_of_the_frames_exposure_and_take_its_bias():
    """A scaled dark of another night leaves half of a bias: new exact darks leave nothing of it."""
    bias, dark = (
        BudgetedMaster(3),
        BudgetedMaster(5, scale=0.5, exptime=600.0, takes_further_frames=False),
    )
    exposure = BudgetedFrame(
        300.0, 8.0, masters={"bias": bias, "dark": dark}, needed_kinds=("dark",)
    )
    (wish,) = wishes_of(exposure)
    now = 64 * (1 + 0.25 / 3 + 0.25 / 5)
    assert wish.saved_fraction == pytest.approx((now - 64 * (1 + 1 / 20)) / now)
