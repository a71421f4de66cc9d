"""The predicted noise of a sky is what is measured of pixels with these standard errors."""

import math

import numpy as np
import pytest

from ccdflow.calibrate.sky_level import expected_noise, level_and_noise
from ccdflow.verify.calibrated.remade_calibration import expected_scatter


@pytest.mark.parametrize(
    "sizes",
    [
        lambda rng, shape: np.full(shape, 7.0),
        # Two amplifiers.
        lambda rng, shape: (
            np.where(np.arange(shape[1]) < shape[1] // 2, 5.0, 9.0) + np.zeros(shape)
        ),
        # A spectrum: faint sky, bright lines, and a flat that is dark to its sides.
        lambda rng, shape: 8.0 * np.exp(np.abs(np.linspace(-2.5, 3.2, shape[1]))) + np.zeros(shape),
        lambda rng, shape: 10.0 * np.exp(rng.uniform(0.0, 5.0, (1, shape[1]))) + np.zeros(shape),
    ],
)
def test_the_expected_noise_is_the_measured_one(sizes):
    rng = np.random.default_rng(3)
    sigmas = sizes(rng, (32, 1000))
    # The pixel four columns on in the next row has the same error.
    first, second = sigmas * rng.normal(size=(2, *sigmas.shape))
    second = np.roll(second, 4, axis=1)
    measured = level_and_noise(first, second)["sky_rms"]
    assert expected_noise(sigmas) == pytest.approx(measured, rel=0.05)
    assert expected_noise(sigmas) == pytest.approx(expected_scatter(sigmas.ravel()), rel=1e-3)


def test_pixels_without_an_error_tell_nothing():
    assert expected_noise(np.array([3.0, np.nan, 0.0, 3.0])) == pytest.approx(3.0, rel=1e-4)
    assert math.isnan(expected_noise(np.zeros(5)))


@pytest.mark.filterwarnings("error")
def test_infinite_pixels_are_no_noise_and_raise_no_warning():
    random = np.random.default_rng(2)
    image = random.normal(200, 5, (64, 300)).astype(np.float32)
    sound = level_and_noise(image[:-1:2], image[1::2])
    image[20:40, 100:200] = np.inf
    image[3] = -np.inf
    figures = level_and_noise(image[:-1:2], image[1::2])
    assert figures["sky_rms"] == pytest.approx(sound["sky_rms"], rel=0.03)
    assert figures["sky"] == pytest.approx(sound["sky"], abs=0.3)
