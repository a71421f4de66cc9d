"""Noise of cameras quieter than one adu, and the unit in which outliers are told from rounding."""

import numpy as np
import pytest

from ccdflow.combine.member_noise import MemberSample, levels_of_members, measure_noise_model
from ccdflow.combine.moments import clipped_moments
from ccdflow.combine.noise import DIGITAL_NOISE, AmplifierNoise

SHAPE = (120, 200)


def model_of(frames, *, levels=None, has_light=True, **noise):
    """Return the noise of an amplifier as it is measured from frames, (n, ny, nx)."""
    amplifier = AmplifierNoise("A", (0, SHAPE[0], 0, SHAPE[1]), **noise)
    sample = MemberSample(np.arange(SHAPE[0]), frames.astype(np.float32))
    model = measure_noise_model([amplifier], SHAPE, sample, levels=levels, has_light=has_light)
    return model.amplifiers[0]


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("unit", [0.2, 20.0])
def test_moments_do_not_depend_on_the_unit_of_the_values(noise, unit):
    random = np.random.default_rng(1)
    values = np.rint(random.normal(size=20_000) * noise + random.random(20_000) * 0.6)
    adu = clipped_moments(values)
    other = clipped_moments(values * unit, rounding_noise=DIGITAL_NOISE * unit)
    assert other.count == adu.count == values.size
    assert other.sigma == pytest.approx(adu.sigma * unit)


def test_members_without_a_common_pixel_keep_their_own_levels():
    """Ratios at common pixels set the levels of others right; here there is none."""
    sample = np.full((2, 4, 50), np.nan, np.float32)
    sample[0, :, :25], sample[1, :, 25:] = 100, 60
    assert levels_of_members(sample).tolist() == [100, 60]
    # Two thirds of the first and one third of the second member are of the brighter half.
    bright = np.where(np.arange(60) < 30, 3.0, 1.0)
    sample = np.stack([bright * 100, bright * 60])[:, None].astype(np.float32).repeat(4, axis=1)
    sample[0, :, 30:45] = sample[1, :, :15] = np.nan
    levels = levels_of_members(sample)
    assert levels[0] / levels[1] == pytest.approx(100 / 60)


def test_unlit_pixels_do_not_set_the_levels_of_members():
    """Two fifths of the pixels have 2 % of the light, and an offset in one member."""
    is_lit = np.arange(300) < 180
    scatter = np.random.default_rng(4).normal(0, 5, (2, 32, 300))
    sample = np.where(is_lit, 100 + scatter, 2.0)
    sample[1] += 2.0 * ~is_lit
    # With the unlit pixels the ratio is 10 % off.
    levels = levels_of_members(sample.astype(np.float32))
    assert levels[1] / levels[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("rows", "has_gain"), [(4, False), (12, True)])
def test_the_glow_of_few_pixels_shows_no_gain(rows, has_gain):
    """Pairs of 128 pixels show it to 13 %, pairs of 384 to 7 %: the limit is 10 %."""
    random = np.random.default_rng(5)
    light = np.zeros(SHAPE)
    light[:rows, :32] = 150.0
    frames = random.poisson(light, (3, *SHAPE)) + random.normal(0, 5.0, (3, *SHAPE))
    made = model_of(frames, read_noise=5.0)
    assert (made.gain is not None) == has_gain
    if has_gain:
        assert made.gain == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("columns", [6, 25])
@pytest.mark.parametrize("noise", [0.01, 0.02, 0.05])
def test_frames_that_hardly_scatter_are_as_quiet_as_rounding(columns, noise):
    """Steps of one adu among equal pixels are no outliers, whatever noise was predicted."""
    random = np.random.default_rng(2)
    level = random.random((6, SHAPE[0], 1))
    overscan = np.rint(random.normal(size=(6, SHAPE[0], columns)) * noise + level)
    frames = np.rint(random.normal(size=(6, *SHAPE)) * noise + level)
    frames -= np.median(overscan, axis=2, keepdims=True)
    made = model_of(frames, read_noise=noise, gain=20.0, level_noise=DIGITAL_NOISE)
    # Where the steps are left out as outliers, the prediction of 0.41 adu stands.
    assert made.variance_without_light**0.5 == pytest.approx(DIGITAL_NOISE, rel=0.01)


def test_hits_in_flats_do_not_change_the_gain_that_they_show():
    """Flats are over their levels, so that one adu is a small number among their values."""
    random = np.random.default_rng(3)
    gain, noise, levels = 2.0, 4.0, np.array([20_000.0, 21_000.0, 19_500.0, 20_200.0])
    light = np.ones((len(levels), *SHAPE)) * levels[:, None, None] * gain
    frames = random.poisson(light) / gain + random.normal(size=light.shape) * noise
    frames[random.random(frames.shape) < 0.002] += 3_000
    made = model_of(frames / levels[:, None, None], levels=levels, read_noise=noise)
    # With the hits: a third of it.
    assert made.gain == pytest.approx(gain, rel=0.02)
    assert made.factor == pytest.approx(1, abs=0.01)
