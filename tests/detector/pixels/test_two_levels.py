"""Pixels that are not linear in light: found by flats of two levels, and good ones are not."""

import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData

from ccdflow.detector.pixels.two_levels import average_levels, nonlinear_mask, split_levels
from ccdflow.mask_bits import BAD_COLUMN

SHAPE, GAIN, READ_NOISE = (200, 300), 1.5, 4.0
LEVELS = np.array([4000, 4100, 4050, 20_000, 19_500, 20_300.0])


def light(rng, *, trap=None, dim=None, share=1.0):
    """Return flats in adu above bias, (n, ny, nx): vignetted, dusty, pixels of unlike response.

    A trap keeps back so many electrons of a pixel; a dim pixel loses a part where light is bright.
    """
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    response = (1 - 0.25 * ((x - 150) ** 2 + (y - 90) ** 2) / 150**2 / 2) * rng.normal(
        1, 0.01, SHAPE
    )
    response[40:50, 60:70] *= 0.7
    frames = []
    for level in LEVELS:
        electrons = level * GAIN * response
        if trap is not None:
            electrons = electrons - trap
        if dim is not None and level > 10_000:
            electrons = electrons * dim
        noise = rng.normal(0, READ_NOISE, SHAPE)
        frames.append(np.rint(rng.poisson(np.maximum(electrons, 0)) / GAIN + noise))
    return np.array(frames, np.float32)


def nonlinear_pixels(frames):
    groups = split_levels(LEVELS)
    return nonlinear_mask(average_levels(frames, LEVELS, groups, (GAIN, READ_NOISE)))


def test_traps_columns_and_pixels_that_saturate_early_are_found_and_good_ones_are_not():
    rng = np.random.default_rng(1)
    # The ratio of three faint and three bright flats is known to 0.9 %: 6000 e- of which 54 go.
    sigma = np.hypot((1 / 6000 + (READ_NOISE * GAIN / 6000) ** 2) ** 0.5, 30_000**-0.5) / 3**0.5
    low = rng.permutation(SHAPE[0] * SHAPE[1])[:300]
    trap = np.zeros(SHAPE)
    # A fifth of a trap is lost in bright flats as well: 10 sigma leave 8.
    trap.ravel()[low] = 10 * sigma * 6000
    trap[:, 77] = 2 * sigma * 6000
    dim = np.ones(SHAPE)
    dim.ravel()[low[:100]] = 0.5
    mask = nonlinear_pixels(light(rng, trap=trap, dim=dim))
    assert set(np.unique(mask)) == {0, BAD_COLUMN}
    assert (mask.ravel()[low] != 0).mean() >= 0.99
    assert (mask[:, 77] != 0).all()
    mask[:, 77] = 0
    mask.ravel()[low] = 0
    assert np.count_nonzero(mask) <= 2


def test_pixels_that_ccdmask_finds_are_found():
    """The ratio of bright to faint flats, as IRAF's and ccdproc's ccdmask take it.

    Of the pixels at its limit, where chance decides, it finds a few others; it needs 30 times as
    long, and misses a column that is two sigma off throughout.
    """
    rng = np.random.default_rng(4)
    trap = np.zeros(SHAPE)
    low = rng.permutation(SHAPE[0] * SHAPE[1])[:300]
    trap.ravel()[low] = np.repeat([600, 1000, 2000, 5000], 75)
    trap[:, 77] = 100
    trap[50:, 150] = 600
    frames = light(rng, trap=trap)
    faint, bright = (
        frames[group].mean(axis=0) / LEVELS[group].mean() for group in split_levels(LEVELS)
    )
    peer = ccdproc.ccdmask(CCDData(bright / faint, unit="adu"))
    own = nonlinear_pixels(frames) != 0
    assert (peer & (trap > 500) & ~own).sum() == 0
    assert own[trap > 500].mean() >= peer[trap > 500].mean() > 0.99
    assert (own[:, 77].mean(), peer[:, 77].mean() < 0.1) == (1, True)
    own[:, [77, 150]] = peer[:, [77, 150]] = False
    assert np.count_nonzero(own & (trap == 0)) <= np.count_nonzero(peer & (trap == 0))


def test_the_pixels_of_ccdmask_are_added_where_they_are_asked_for_and_hits_are_none():
    rng = np.random.default_rng(5)
    trap = np.zeros(SHAPE)
    trap.ravel()[rng.permutation(trap.size)[:400]] = rng.uniform(300, 1500, 400)
    frames = light(rng, trap=trap)
    frames[0, 5, :20] += 20_000
    averages = average_levels(frames, LEVELS, split_levels(LEVELS), (GAIN, READ_NOISE))
    ratio = averages[1] / averages[0]
    unknown = np.isnan(ratio)
    assert unknown[5, :20].all()
    ratio[unknown] = np.median(ratio[~unknown])
    peer = ccdproc.ccdmask(CCDData(ratio, unit="adu")) & ~unknown
    own, both = nonlinear_mask(averages), nonlinear_mask(averages, includes_ccdmask=True)
    assert (peer & (own == 0)).sum() > 5
    assert np.array_equal(both, np.where(peer, BAD_COLUMN, own))


def test_a_detector_of_which_less_than_half_is_lit_has_no_faults():
    """In flats of a slit the few lit rows do not show the usual ratio."""
    rng = np.random.default_rng(5)
    trap = np.zeros(SHAPE)
    trap[10:20, 77] = 3000
    frames = light(rng, trap=trap)
    assert nonlinear_pixels(frames)[10:20, 77].all()
    frames[:, 95:] = np.nan
    assert not nonlinear_pixels(frames).any()
    frames = light(rng, trap=trap)
    frames[:, 105:] = np.nan
    assert nonlinear_pixels(frames)[10:20, 77].all()


def test_hits_dust_and_masked_pixels_are_no_faults():
    rng = np.random.default_rng(2)
    frames = light(rng)
    hit = rng.permutation(SHAPE[0] * SHAPE[1])[:400]
    for number, part in enumerate(np.split(hit, 4)):
        frames[number].ravel()[part] += rng.uniform(100, 5000, 100)
    frames[5].ravel()[hit[:50]] = np.nan
    assert np.count_nonzero(nonlinear_pixels(frames)) <= 2


def test_a_detector_that_is_not_linear_throughout_has_no_bad_pixels_for_that():
    rng = np.random.default_rng(3)
    frames = light(rng)
    assert np.count_nonzero(nonlinear_pixels(frames * (1 - 2e-6 * frames))) <= 2


@pytest.mark.parametrize(
    ("levels", "groups"),
    [
        ([10, 11, 30, 31], ([0, 1], [2, 3])),
        ([31, 10, 11, 30], ([1, 2], [0, 3])),
        ([10, 13, 17, 22, 28], ([0, 1], [2, 3, 4])),
        ([10, 10, 10, 30], None),
        ([10, 11, 12, 13], None),
        ([10, 30, 31], None),
        ([0, 10, 30, 31], None),
    ],
)
def test_flats_are_of_two_levels_if_each_has_two_and_one_is_half_as_bright_again(levels, groups):
    split = split_levels(levels)
    assert (split is None) == (groups is None)
    if groups is not None:
        assert [list(part) for part in split] == list(groups)


def test_a_flat_without_a_level_does_not_count():
    for place in range(len(LEVELS) + 1):
        groups = split_levels(np.insert(LEVELS, place, np.nan))
        known = [
            np.delete(np.arange(len(LEVELS) + 1), place)[part] for part in split_levels(LEVELS)
        ]
        assert len(known) == 2
        assert [part.tolist() for part in groups] == [part.tolist() for part in known]
    assert split_levels([np.nan, 4000.0, 20_000.0, 20_000.0]) is None
    assert split_levels([np.nan] * 4) is None
    assert split_levels([-1.0, 4000.0, 4000.0, 20_000.0, 20_000.0]) is None
