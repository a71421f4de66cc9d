"""Hot, unsteady, low and bad-column pixels of injected truth are found, and good ones are not."""

import numpy as np
import pytest

from ccdflow.detector.pixels.bad_pixels import dark_mask, fit_darks
from ccdflow.detector.pixels.response import ContrastSum
from ccdflow.detector.pixels.surroundings import (
    surrounding_medians,
    surrounding_medians_of_pixels,
)
from ccdflow.detector.pixels.trails import pixels_of_trails
from ccdflow.errors import UserError
from ccdflow.mask_bits import BAD_COLUMN, DEAD, HOT, VARIES
from ccdflow.simulate.charge import spill_charge

SHAPE, READ_NOISE = (403, 509), 8.0
TIMES = [7.0] * 3 + [70.0] * 3 + [300.0] * 3


def darks(rng, rate, *, more=()):
    """Nine darks of three exposures, electrons; ``more`` is added to each frame."""
    frames = [rng.poisson(rate * t) + rng.normal(0, READ_NOISE, rate.shape) for t in TIMES]
    for number, extra in enumerate(more):
        frames[number] = frames[number] + extra
    return np.array(frames)


@pytest.fixture(scope="module")
def hot_pixels():
    """(true rates, places of 2,000 hot pixels of 0.1 to 100 e-/s, fitted lines)."""
    rng = np.random.default_rng(1)
    rate = np.full(SHAPE, 0.01)
    places = rng.permutation(rate.size)[:2000]
    rate.ravel()[places] = 10 ** rng.uniform(-1, 2, 2000)
    return rate, places, fit_darks(darks(rng, rate), TIMES, READ_NOISE)


def test_rates_are_right_within_their_errors(hot_pixels):
    rate, places, lines = hot_pixels
    pulls = ((lines.rate - rate) / lines.rate_error).ravel()
    assert abs(pulls.mean()) < 0.01
    assert pulls.std() == pytest.approx(1, abs=0.01)
    assert abs(pulls[places].mean()) < 0.1
    assert pulls[places].std() == pytest.approx(1, abs=0.05)


def test_hot_pixels_are_found_and_good_ones_are_not(hot_pixels):
    rate, _, lines = hot_pixels
    is_hot = dark_mask(lines) & HOT > 0
    assert is_hot[rate > 1].mean() >= 0.99
    # 1e-5 of 203,000 pixels.
    assert is_hot[rate == 0.01].sum() <= 2
    assert (dark_mask(lines)[rate == 0.01] & VARIES > 0).sum() <= 2


def test_the_surroundings_of_some_pixels_are_those_of_all():
    rng = np.random.default_rng(3)
    for shape in (SHAPE, (8, 5), (16, 40)):
        image = rng.normal(100, 10, shape).astype(np.float32)
        places = np.sort(rng.permutation(image.size)[: image.size // 9])
        rows, columns = np.unravel_index(places, shape)
        some = surrounding_medians_of_pixels(image, rows, columns, usual=7.0)
        assert some.dtype == np.float32
        np.testing.assert_array_equal(some, surrounding_medians(image)[rows, columns])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_without_a_finite_value_count_as_usual_ones_around_others(value):
    image = np.full((40, 40), 100, np.float32)
    image[8:16, 16:24] = value
    rows, columns = np.array([[11, 12, 20, 30], [19, 20, 36, 4]])
    some = surrounding_medians_of_pixels(image, rows, columns, usual=7.0)
    usual_image = np.where(np.isfinite(image), image, np.float32(7))
    np.testing.assert_array_equal(some, surrounding_medians(usual_image)[rows, columns])
    assert some[0] < 40
    assert list(some[2:]) == [100, 100]


def test_charge_that_ran_over_is_found_with_the_full_pixels_and_nothing_else():
    """Wells of 60,000 electrons at 40,000 adu: far below the end of the converter."""
    rng, gain = np.random.default_rng(4), 1.5
    electrons = rng.poisson(200, SHAPE).astype(float)
    # Full ones with a trail, one in a corner, and bright ones that are not full.
    full = {(100, 50): 500_000, (300, 400): 80_000, (0, 0): 150_000, (402, 508): 61_500}
    for place, charge in full.items():
        electrons[place] += charge
    electrons[200, ::7] += 55_000
    moved = electrons.copy()
    spill_charge(moved, 60_000.0)
    has_run_over = moved != electrons
    values = (moved / gain + rng.normal(0, 3, SHAPE)).astype(np.float32)
    errors = np.full(SHAPE, np.hypot(3, (200 / gain**2) ** 0.5), np.float32)
    none = np.zeros(SHAPE, bool)
    trails = pixels_of_trails(values, errors, is_full=none, gain=gain)
    np.testing.assert_array_equal(trails, np.flatnonzero(has_run_over))
    assert has_run_over.sum() == 16
    # A saturated pixel of less charge than that of a well, with charge beside it.
    values[250, 250], values[251, 250], is_full = 5000.0, 700.0, none.copy()
    is_full[250, 250] = True
    more = pixels_of_trails(values, errors, is_full=is_full, gain=gain)
    assert set(more) - set(trails) == {250 * SHAPE[1] + 250, 251 * SHAPE[1] + 250}
    assert not pixels_of_trails(values[320:], errors[320:], is_full=none[320:], gain=1e-3).size


def test_a_glowing_corner_is_not_hot_but_hot_pixels_in_it_are():
    rng = np.random.default_rng(5)
    y, x = np.indices(SHAPE)
    rate = 0.01 + 5 * np.exp(-np.hypot(y, x) / 60)
    places = rng.permutation(rate.size)[:600]
    hot = np.zeros(SHAPE, bool)
    hot.ravel()[places] = True
    is_hot = dark_mask(fit_darks(darks(rng, rate + 3 * hot), TIMES, READ_NOISE)) & HOT > 0
    assert (rate > 0.51).sum() > 5000
    assert is_hot[hot].mean() >= 0.99
    assert is_hot[~hot].sum() <= 2


def test_pixels_that_follow_no_line_and_pixels_that_vary_have_different_bits():
    rng = np.random.default_rng(2)
    rate = np.full(SHAPE, 0.02)
    kinked = np.zeros(SHAPE, bool)
    kinked.ravel()[:300] = True
    blinking = np.zeros(SHAPE, bool)
    blinking.ravel()[1000:1300] = True
    more = [np.where(kinked, 800.0 * np.sqrt(t / 300), 0) for t in TIMES]
    more[7] = more[7] + np.where(blinking, 150.0, 0)
    mask = dark_mask(fit_darks(darks(rng, rate, more=more), TIMES, READ_NOISE), hot_rate=50.0)
    assert (mask[kinked] & HOT > 0).mean() > 0.99
    assert (mask[blinking] & VARIES > 0).mean() > 0.99
    assert (mask[~kinked & ~blinking] != 0).sum() <= 2


@pytest.mark.parametrize("exposures", [9, 6])
def test_pixels_that_fill_up_in_the_shortest_dark_are_not_linear_in_time(exposures):
    """A constant charge in all darks is a straight line: only its value at 0 s shows the fault."""
    rng = np.random.default_rng(6)
    rate = np.full(SHAPE, 0.02)
    full = np.zeros(SHAPE, bool)
    full.ravel()[rng.permutation(rate.size)[:600]] = True
    # The level of a column may be wrong: its pixels do not differ from their neighbours by it.
    y, _ = np.indices(SHAPE)
    more = [np.where(full, 120.0, 0) + 6 * np.sin(y / 60)] * 9
    taken = darks(rng, rate, more=more)[:exposures]
    mask = dark_mask(fit_darks(taken, TIMES[:exposures], READ_NOISE), hot_rate=50.0)
    assert (mask[full] & HOT > 0).mean() > 0.99
    assert (mask[~full] != 0).sum() <= 2


def test_two_exposures_give_a_rate_and_no_misfit():
    rng = np.random.default_rng(3)
    rate = np.full((60, 70), 0.5)
    lines = fit_darks(darks(rng, rate)[:6], TIMES[:6], READ_NOISE)
    assert lines.misfit_freedom == 0
    assert lines.rate.mean() == pytest.approx(0.5, abs=4 * lines.rate_error.mean() / 64)
    assert not (dark_mask(lines, hot_rate=5) & HOT).any()
    with pytest.raises(UserError, match="two exposures or more"):
        fit_darks(darks(rng, rate)[:3], TIMES[:3], READ_NOISE)


def response_mask(flats, error):
    contrasts = ContrastSum()
    for flat in flats:
        contrasts.add(flat, error)
    return contrasts.response().mask


def test_low_pixels_and_columns_are_found_at_five_sigma():
    """Two flats, as in the guide's night: a contrast of five sigma of each."""
    rng = np.random.default_rng(4)
    error = 0.003
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = 1 - 0.2 * ((x - 250) ** 2 + (y - 200) ** 2) / 320**2
    truth = np.ones(SHAPE)
    low = rng.permutation(truth.size)[:1000]
    truth.ravel()[low] = 1 - 5 * error
    truth[:, 77] = 1 - 5 * error
    truth.ravel()[low[:20]] = 0
    flats = [light * truth * rng.normal(1, error, SHAPE) for _ in range(2)]
    mask = response_mask(flats, light * error)
    assert (mask.ravel()[low] & DEAD > 0).mean() >= 0.99
    assert (mask[:, 77] & BAD_COLUMN > 0).all()
    good = np.ones(SHAPE, bool)
    good.ravel()[low] = False
    good[:, 77] = False
    assert (mask[good] != 0).mean() <= 3e-5
    assert not (mask[:, :77] & BAD_COLUMN).any()
    # Five sigma of both flats together: all of the column, and of single pixels those above 4.5.
    truth[truth == 1 - 5 * error] = 1 - 5 * error / 2**0.5
    flats = [light * truth * rng.normal(1, error, SHAPE) for _ in range(2)]
    mask = response_mask(flats, light * error)
    assert (mask[:, 77] & BAD_COLUMN > 0).all()
    assert 0.62 < (mask.ravel()[low[20:]] & DEAD > 0).mean() < 0.74


@pytest.mark.parametrize("level", [60.0, 500.0])
def test_a_trail_in_a_hot_column_is_the_trail_alone(level):
    """All pixels of a hot column are above their neighbours; eleven have charge that ran over."""
    random = np.random.default_rng(5)
    light = np.full((400, 60), 4.0)
    light[:, 30] += level
    truth = np.zeros(light.shape, bool)
    truth[195:206, 30] = True
    light[truth] += 2_000
    light[200, 30] = 20_000
    # The mean of four darks, adu, gain 1 and a read noise of 5.
    errors = np.sqrt((light + 25) / 4).astype(np.float32)
    values = (light + errors * random.normal(size=light.shape)).astype(np.float32)
    trail = pixels_of_trails(values, errors, is_full=np.zeros(light.shape, bool), gain=1.0)
    # An earlier search flagged all 400 pixels of the column.
    np.testing.assert_array_equal(trail, np.flatnonzero(truth))
