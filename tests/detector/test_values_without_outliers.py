"""Figures of values without outliers are the same numbers whether all values are kept or not."""

import numpy as np
import pytest

from ccdflow.combine.moments import clipped_moments
from ccdflow.combine.noise import DIGITAL_NOISE
from ccdflow.detector.frame_figures import clean_image_of, scatter_about_row_means
from ccdflow.frame.line_noise import noise_of_neighbours
from ccdflow.robust import MAD_TO_SIGMA

NOISE = np.random.default_rng(7).normal(1000, 5, (64, 300))
SPOT = np.where(np.arange(NOISE.size).reshape(NOISE.shape) == 700, 5e4, NOISE)
GAP = np.where(np.arange(NOISE.size).reshape(NOISE.shape) == 900, np.nan, NOISE)
IMAGES = {"noise": NOISE, "counts": np.rint(NOISE), "spot": SPOT, "gap": GAP, "flat": NOISE * 0 + 7}
every_image = pytest.mark.parametrize(
    "image",
    [pytest.param(image.astype(dtype), id=f"{name}-{dtype}")
     for name, image in IMAGES.items() for dtype in ("float32", "float64")],
)  # fmt: skip


def clip_value_by_value(values):
    """The mean, the scatter and the number of the finite values within 5 sigma, round by round."""
    values = values[np.isfinite(values)]
    mean = float(np.median(values))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(values - mean)))
    kept = values
    for _ in range(50):
        former = kept
        kept = values[np.abs(values - mean) <= 5 * max(sigma, DIGITAL_NOISE)]
        if sigma and len(kept) == len(former) and former is not values:
            break
        mean = float(kept.mean(dtype=np.float64))
        sigma = float(kept.std(dtype=np.float64))
    return mean, float(kept.std(ddof=1, dtype=np.float64)), len(kept)


@every_image
def test_moments_are_those_of_the_values_within_five_sigma(image):
    moments = clipped_moments(image)
    mean, sigma, count = clip_value_by_value(image)
    assert moments.count == count == np.isfinite(image).sum() - (image.max() > 4e4)
    assert moments.mean == pytest.approx(mean, rel=1e-12)
    assert moments.sigma == pytest.approx(sigma, rel=1e-5)


@every_image
def test_an_image_without_outliers_has_the_same_numbers(image):
    clean = clean_image_of(image)
    assert clean.is_good.sum() == clipped_moments(image).count
    assert clean.level == float(np.mean(image[clean.is_good], dtype=np.float64))
    expected = np.where(clean.is_good, image - np.asarray(clean.level, image.dtype), 0)
    assert clean.values.dtype == expected.dtype
    assert np.array_equal(clean.values, expected)


def test_a_difference_that_is_left_out_changes_no_other():
    """Of two halves, one with a spot, the noise is that of the differences that are kept."""
    (noise,), count = noise_of_neighbours(NOISE)
    differences = np.diff(NOISE, axis=0)
    about = differences - np.median(differences)
    assert count == differences.size
    assert noise == pytest.approx(np.sqrt(np.mean(np.square(about)) / 2), rel=1e-12)
    (with_spot,), fewer = noise_of_neighbours(SPOT)
    assert fewer == count - 2
    assert with_spot == pytest.approx(noise, rel=1e-3)


@pytest.mark.parametrize("shape", [(0, 40), (12, 0), (12, 40), (1, 1)])
def test_an_image_without_a_value_has_no_figures(shape):
    """Sampled rows may lie beside a small amplifier, and all of its pixels may be masked."""
    image = np.full(shape, np.nan, np.float32)
    part = scatter_about_row_means(image)
    assert (np.isnan(part.mean), np.isnan(part.sigma), part.count) == (True, True, 0)
    clean = clean_image_of(image)
    assert np.isnan(clean.level)
    assert not clean.is_good.any()
    for axis in (0, 1):
        assert np.isnan(clean.excess_scatter(3.0, axis=axis).value)
