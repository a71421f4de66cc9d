"""Cosmic rays of injected truth are found, and stars are left alone."""

import numpy as np
import pytest

from ccdflow.detector.cosmics import find_cosmics

SHAPE, SKY, READ_NOISE = (400, 430), 200.0, 6.0


def scene(seed, fwhm, *, hits=300, least=5.0):
    """A frame, its standard errors, its stars' light, and which pixels were hit (n, 2)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sigma, stars = fwhm / 2.3548, np.zeros(SHAPE)
    for _ in range(60):
        cy, cx, flux = rng.uniform(10, 390), rng.uniform(10, 420), 10 ** rng.uniform(3.5, 5.3)
        part = slice(int(cy) - 12, int(cy) + 13), slice(int(cx) - 12, int(cx) + 13)
        r2 = (y[part] - cy) ** 2 + (x[part] - cx) ** 2
        if r2.size:
            stars[part] += flux / (2 * np.pi * sigma**2) * np.exp(-r2 / (2 * sigma**2))
    truth = SKY + stars
    image = rng.poisson(truth) + rng.normal(0, READ_NOISE, SHAPE)
    errors = np.sqrt(truth + READ_NOISE**2)
    where = rng.permutation(image.size)[:hits]
    where = where[stars.ravel()[where] < 0.1 * SKY]
    energy = errors.ravel()[where] * 10 ** rng.uniform(np.log10(least), 2.5, where.size)
    image.ravel()[where] += energy
    return image.astype(np.float32), errors.astype(np.float32), stars, where, energy


@pytest.mark.parametrize("fwhm", [3.0, 5.0])
def test_hits_are_found_and_stars_are_left_alone(fwhm):
    found, lost, light = [], 0.0, 0.0
    for seed in (1, 2):
        image, errors, stars, where, energy = scene(seed, fwhm)
        before = image.copy()
        hits, is_kept = find_cosmics(image, errors, np.zeros(SHAPE, np.int16))
        assert is_kept
        assert (image == before).all()
        found += hits.ravel()[where[energy > 8 * errors.ravel()[where]]].tolist()
        clean = np.ones(image.size, bool)
        clean[where] = False
        lost += stars.ravel()[hits.ravel() & clean].sum()
        light += stars.sum()
    assert np.mean(found) >= 0.95
    assert lost / light < 1e-4


def test_masked_pixels_are_no_hits():
    image, errors, _, where, _ = scene(1, 3.0)
    mask = np.zeros(SHAPE, np.int16)
    mask.ravel()[where[:50]] = 8
    hits, _ = find_cosmics(image, errors, mask)
    assert not hits.ravel()[where[:50]].any()


def test_a_result_that_flags_stars_is_discarded():
    """Stars of a FWHM of 1.5 pixels are as sharp as hits."""
    image, errors, *_ = scene(2, 1.5)
    hits, is_kept = find_cosmics(image, errors, np.zeros(SHAPE, np.int16))
    assert not is_kept
    assert not hits.any()
