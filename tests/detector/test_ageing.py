"""The structure function of masters on walks of known step."""

import math

import numpy as np
import pytest

from ccdflow.detector.ageing import Pair, ageing_of, structure_function

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
    pairs = structure_function(walk(step, noise), [noise**2] * len(DAYS), DAYS)
    assert len(pairs) == 45
    ageing, error = ageing_of(pairs)
    assert ageing == pytest.approx(step, rel=0.1, abs=4 * error)
    assert error < 0.4 * step


def test_a_steady_camera_has_no_ageing():
    ageing, error = ageing_of(structure_function(walk(0.0, 2.0), [4.0] * len(DAYS), DAYS))
    assert abs(ageing) < 4 * error
    assert abs(ageing) < 0.02


def test_noise_that_is_not_taken_off_would_be_seen_at_no_lag():
    pairs = structure_function(walk(0.0, 2.0), [0.0] * len(DAYS), DAYS)
    assert [pair.excess for pair in pairs] == pytest.approx([8.0] * 45, rel=0.1)


def test_hot_pixels_that_come_and_go_are_no_ageing():
    masters = walk(0.5, 2.0)
    for number, master in enumerate(masters):
        master[number % 16, ::50] += 5_000
        master[0, 7] = np.nan
    ageing, _ = ageing_of(structure_function(masters, [4.0] * len(DAYS), DAYS))
    assert ageing == pytest.approx(0.5, rel=0.1)


def test_temperatures_are_kept_and_few_masters_make_no_slope():
    samples = walk(0.5, 2.0)[:2]
    (pair,) = structure_function(samples, [4.0, 4.0], [0, 1], [-100.0, -97.5])
    assert (pair.days, pair.degrees) == (1, 2.5)
    assert math.isnan(ageing_of([pair])[0])
    assert math.isnan(ageing_of([Pair(0, 0.0, 1.0, 0.1)] * 5)[0])
