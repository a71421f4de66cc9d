"""The structure function of masters on walks of known step."""

import math

import numpy as np
import pytest

from ccdflow.detector.ageing import MasterPair, fit_ageing, structure_function

DAYS = [0, 1, 2, 4, 7, 11, 16, 22, 29, 37]


def walk(step, noise, *, seed=4, pixels=(16, 400)):
    """Return masters whose pixels walk by ``step`` (variance) a day, each with its own noise."""
    rng = np.random.default_rng(seed)
    truth, last, masters = rng.normal(0, 30, pixels), 0, []
    for day in DAYS:
        truth = truth + rng.normal(0, math.sqrt(step * (day - last)), pixels)
        last = day
        masters.append(truth + rng.normal(0, noise, pixels))
    return masters


@pytest.mark.parametrize(("step", "noise"), [(0.5, 2.0), (0.05, 2.0), (3.0, 0.5)])
def test_the_step_of_a_walk_is_found(step, noise):
    masters = walk(step, noise, pixels=(128, 2000))
    pairs = structure_function(masters, [noise**2] * len(DAYS), DAYS)
    assert len(pairs) == 45
    ageing, error = fit_ageing(pairs)
    assert ageing == pytest.approx(step, abs=4 * error)
    assert error < 0.025 * step


@pytest.mark.parametrize(
    ("step", "noise", "scatter"), [(0.5, 2.0, 0.88), (0.05, 2.0, 0.58), (3.0, 0.5, 1.97)]
)
def test_the_error_of_an_ageing_is_half_to_twice_its_scatter(step, noise, scatter):
    """Pairs share masters: its error is too large with much noise, too small with large steps."""
    pulls = []
    for seed in range(30):
        masters = walk(step, noise, seed=seed, pixels=(16, 200))
        ageing, error = fit_ageing(structure_function(masters, [noise**2] * len(DAYS), DAYS))
        pulls.append((ageing - step) / error)
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(scatter, rel=0.02)


def test_a_steady_camera_has_no_ageing():
    ageing, error = fit_ageing(structure_function(walk(0.0, 2.0), [4.0] * len(DAYS), DAYS))
    assert abs(ageing) < 4 * error
    assert abs(ageing) < 0.02


def test_noise_that_is_not_taken_off_would_be_seen_at_no_lag():
    pairs = structure_function(walk(0.0, 2.0), [0.0] * len(DAYS), DAYS)
    assert [pair.excess_variance for pair in pairs] == pytest.approx([8.0] * 45, rel=0.1)


def test_hot_pixels_that_come_and_go_are_no_ageing():
    masters = walk(0.5, 2.0)
    for number, master in enumerate(masters):
        master[number % 16, ::50] += 5_000
        master[0, 7] = np.nan
    ageing, _ = fit_ageing(structure_function(masters, [4.0] * len(DAYS), DAYS))
    assert ageing == pytest.approx(0.5, rel=0.1)


def test_pairs_of_one_lag_make_no_slope():
    """Ten pairs with one lag of a week give the offset of the line, but not its slope."""
    pairs = [MasterPair(n, n + 1, 7, math.nan, 3.0 + n % 2, 0.1) for n in range(10)]
    assert np.isnan(fit_ageing(pairs)).all()
    ageing, error = fit_ageing([*pairs, MasterPair(10, 12, 14, math.nan, 7.0, 0.1)])
    assert ageing == pytest.approx(0.5, abs=0.01)
    assert math.isfinite(error)


def test_temperatures_are_kept_and_few_masters_make_no_slope():
    samples = walk(0.5, 2.0)[:2]
    (pair,) = structure_function(samples, [4.0, 4.0], [0, 1], [-100.0, -97.5])
    assert (pair.days, pair.degrees_between) == (1, 2.5)
    assert math.isnan(fit_ageing([pair])[0])
    assert math.isnan(fit_ageing([MasterPair(0, 1, 0, 0.0, 1.0, 0.1)] * 5)[0])


def test_a_master_without_a_common_pixel_changes_nothing_of_the_others():
    """The number of masters was computed from the pairs, which lack masters without pixels."""
    masters = walk(0.5, 2.0)
    expected = fit_ageing(structure_function(masters, [4.0] * 10, DAYS))
    masked = [*masters, np.full_like(masters[0], np.nan)]
    pairs = structure_function(masked, [4.0] * 11, [*DAYS, 40])
    assert len(pairs) == 45
    assert fit_ageing(pairs) == expected
    # Without the pair of the first and the last master, ten masters are ten: the root was 9.9.
    fewer = [pair for pair in pairs if (pair.first, pair.second) != (0, 9)]
    slope, error = fit_ageing(fewer)
    days = np.array([pair.days for pair in fewer], float)
    weights = 1 / (days + np.median(days)) ** 2
    coefficients = np.polyfit(days, [p.excess_variance for p in fewer], 1, w=weights**0.5)
    residuals = [p.excess_variance for p in fewer] - np.polyval(coefficients, days)
    lags = days - np.average(days, weights=weights)
    variance = np.sum((weights * lags * residuals) ** 2) / np.sum(weights * lags**2) ** 2
    assert slope == pytest.approx(coefficients[0])
    assert error == pytest.approx(math.sqrt(variance * 44 / (10 - 2)))


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_hot_pixels_do_not_count_in_whatever_unit(scale):
    """A limit of 1.5 in any unit kept hot pixels of darks, and dust of flats."""
    rng = np.random.default_rng(3)
    first, second = scale * rng.normal(0, 0.01, (2, 16, 2000))
    (steady,) = structure_function([first, second], [scale**2 * 1e-4] * 2, [0, 10])
    is_hot = rng.random(second.shape) < 0.01
    second[is_hot] += scale * rng.uniform(0.075, 0.8, np.count_nonzero(is_hot))
    (hot,) = structure_function([first, second], [scale**2 * 1e-4] * 2, [0, 10])
    assert hot.excess_variance == pytest.approx(
        steady.excess_variance, abs=0.5 * steady.variance_error
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1e-3, 7.7])
def test_masters_that_differ_by_a_constant_do_not_scatter(value):
    (pair,) = structure_function([np.full((16, 400), value), np.zeros((16, 400))], [0, 0], [0, 1])
    assert pair.excess_variance == pytest.approx(0, abs=1e-20)
