"""A flat of another filter by its shape: power, and no alarm on flats of one filter."""

import numpy as np
import pytest

from ccdflow.detector.flat_shapes import find_odd_shape

SHAPE = 64, 512
y, x = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
PATTERNS = {
    "bowl": x**2 + y**2,
    "dust": np.exp(-((x - 0.3) ** 2 + (y + 0.2) ** 2) / 0.1),
    "wave": np.sin(6 * x + 4 * y),
}


def flats(count, rng, *, noise=0.005, slope=0.0):
    """Flats of one filter: vignetting, stars, noise; each with a slope of its own."""
    for _ in range(count):
        a, b = slope * rng.uniform(-1, 1, 2)
        flat = (1 - 0.2 * (x**2 + y**2)) * (1 + a * x + b * y)
        flat[rng.integers(0, SHAPE[0], 20), rng.integers(0, SHAPE[1], 20)] *= 1.5
        yield flat * rng.normal(1, noise, SHAPE)


@pytest.mark.parametrize("count", [3, 7])
def test_flats_of_one_filter_raise_no_alarm(count):
    """The light has slopes of up to 2 %, in 12 groups."""
    rng = np.random.default_rng(count)
    groups = (np.array(list(flats(count, rng, slope=0.02))) for _ in range(12))
    assert [find_odd_shape(group) for group in groups if find_odd_shape(group)] == []


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("count", [3, 6])
def test_a_difference_of_four_parts_in_a_thousand_is_found(count, pattern):
    rng, count_found = np.random.default_rng(7), 0
    pattern = (pattern - pattern.mean()) / pattern.std()
    for _ in range(3):
        group = np.array(list(flats(count, rng, noise=0.003, slope=0.01)))
        group[1] *= 1 + 0.004 * pattern
        odd = find_odd_shape(group)
        count_found += odd is not None and odd.index == 1 and 0.002 < odd.distance < 0.0045
    assert count_found == 3


def test_flats_of_spectra_and_masked_ones_are_not_judged():
    rng = np.random.default_rng(3)
    group = np.array(list(flats(3, rng)))
    group[1] *= 1 + 0.01 * PATTERNS["wave"]
    assert find_odd_shape(group).index == 1
    assert find_odd_shape(group[:2]) is None
    assert find_odd_shape(group[:, :4]) is None
    lamp = np.exp(2 * x)
    assert find_odd_shape(group * lamp / np.median(lamp)) is None
    group[:, :, 128:] = np.nan
    assert find_odd_shape(group) is None
