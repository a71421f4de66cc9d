"""The predicted noise of a sky is what is measured of pixels with these standard errors."""

import math

import numpy as np
import pytest

from ccdflow.calibrate.sky_level import expected_noise, level_and_noise
from ccdflow.verify.calibrated.remade_calibration import _expected_scatter


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
    assert expected_noise(sigmas) == pytest.approx(_expected_scatter(sigmas.ravel()), rel=1e-3)


def test_pixels_without_an_error_tell_nothing():
    assert expected_noise(np.array([3.0, np.nan, 0.0, 3.0])) == pytest.approx(3.0, rel=1e-4)
    assert math.isnan(expected_noise(np.zeros(5)))
