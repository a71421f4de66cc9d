"""Independent estimates with numpy alone find the values injected into an exposure."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from amplifier_columns import values_by_column
from astropy.io import fits

from ccdflow import simulate
from ccdflow.camera.profiles import load_camera
from ccdflow.errors import UserError
from ccdflow.simulate import charge, tracks
from ccdflow.simulate.scene import add_star

SHAPE = (101, 103)
START = datetime(2024, 3, 1, 20)


@pytest.fixture(scope="module")
def detector():
    """A detector of two amplifiers with faults of every kind."""
    return simulate.draw_detector(SHAPE, seed=4)


@pytest.fixture(scope="module")
def clean():
    """A detector of two amplifiers without faults, structure and dark current."""
    halves = (
        simulate.SimulatedAmplifier((0, 51), gain=1.3, read_noise=5.0, level=1000.0, row_drift=1.0),
        simulate.SimulatedAmplifier(
            (51, 103), gain=1.7, read_noise=7.0, level=1100.0, row_drift=2.0
        ),
    )
    flat = {"g": np.ones(SHAPE, dtype=np.float32)}
    return simulate.Detector(shape=SHAPE, amplifiers=halves, illumination=flat)


def electrons(detector, exposure):
    """Return the science pixels minus the injected level and structure, electrons."""
    image = exposure.raw[:, : detector.shape[1]] - np.float64(detector.structure)
    for number, own in enumerate(detector.amplifiers):
        image[:, own.slice] -= exposure.level[number][:, None]
    return image * values_by_column(detector, "gain")


def mean_of(detector, kind, exptime, count, **options):
    """Return the mean of several exposures, electrons, and the first exposure."""
    exposures = [simulate.expose(detector, kind, exptime, rng=n, **options) for n in range(count)]
    return np.mean([electrons(detector, one) for one in exposures], axis=0), exposures[0]


def readout_variance(detector):
    """Return the variance of read noise and rounding of each column, squared electrons."""
    gain = values_by_column(detector, "gain")
    return values_by_column(detector, "read_noise") ** 2 + gain**2 / 12


def assert_within_errors(values, expected, error, *, most_sigma=5.0):
    """Assert that values differ from others by their errors: within `most_sigma`, with spread 1."""
    pull = np.ravel((values - expected) / error)
    assert np.abs(pull).max() < most_sigma
    if pull.size > 30:
        assert pull.std() == pytest.approx(1, abs=5 / np.sqrt(2 * pull.size))


# ----------------------------------------------------------------------- readout


def test_shape_and_type_of_a_frame(detector):
    taken = simulate.expose(detector, "bias", 0, rng=1)
    assert taken.raw.dtype == np.uint16
    assert taken.raw.shape == detector.raw_shape == (101, 103 + 32)
    assert detector.overscan(1) == slice(119, 135)


def test_same_seed_same_frame_and_another_seed_another(detector):
    first, again, other = (
        simulate.expose(detector, "dark", 60, rng=seed, cosmic_ray_rate=1e-5) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.raw, again.raw)
    assert (first.raw != other.raw).mean() > 0.5


@pytest.mark.parametrize("number", [0, 1])
def test_overscan_follows_the_level_of_its_own_amplifier(clean, number):
    taken = simulate.expose(clean, "flat", 1, rng=3, filter="g", sky=simulate.Sky(20_000))
    own = clean.amplifiers[number]
    strip = taken.raw[:, clean.overscan(number)].astype(float)
    noise = np.hypot(own.read_noise / own.gain, 12**-0.5)
    assert_within_errors(strip.mean(axis=1), taken.level[number], noise / 4)
    assert_within_errors(strip, taken.level[number][:, None], noise, most_sigma=6)
    assert taken.level[number].mean() == pytest.approx(own.level)
    assert taken.level[number].std() == pytest.approx(own.row_drift)


def test_structure_of_the_bias(detector):
    mean_image, _ = mean_of(replace(detector, structure=0.0), "bias", 0, 1)
    with_structure = simulate.expose(detector, "bias", 0, rng=0).raw[:, :103] * 1.0
    without = simulate.expose(replace(detector, structure=0.0), "bias", 0, rng=0).raw[:, :103]
    # Both frames have the same noise: their difference is the structure, rounded.
    assert np.abs(with_structure - without - detector.structure).max() <= 1
    assert_within_errors(mean_image, 0, np.sqrt(readout_variance(detector)))


@pytest.mark.parametrize("number", [0, 1])
def test_photon_transfer_gives_gain_and_read_noise(clean, number):
    own = clean.amplifiers[number]

    def pair(kind, exptime, **options):
        raw = [simulate.expose(clean, kind, exptime, rng=n, **options) for n in (1, 2)]
        one, two = (t.raw[:, own.slice] - t.level[number][:, None] for t in raw)
        return (one.mean() + two.mean()) / 2, np.var(one - two) / 2

    _, zero = pair("bias", 0)
    relative = 1 / np.sqrt(one_size := 101 * (own.columns[1] - own.columns[0]))
    assert one_size > 5000
    assert np.sqrt(zero - 1 / 12) * own.gain == pytest.approx(own.read_noise, rel=5 * relative)
    for light in (2_000, 10_000, 50_000):
        mean, variance = pair("flat", 1, filter="g", sky=simulate.Sky(light))
        assert mean / (variance - zero) == pytest.approx(own.gain, rel=5 * np.sqrt(2) * relative)


def test_few_photons_follow_poisson(clean):
    """Skewness and zeros, which no normal deviate has."""
    taken = simulate.expose(clean, "flat", 10, rng=8, filter="g", sky=simulate.Sky(0.05))
    count = taken.electrons
    assert count.size == 101 * 103
    np.testing.assert_array_equal(count, np.rint(count))
    assert (count == 0).mean() == pytest.approx(np.exp(-0.5), abs=5 * 0.5 / 102)
    third = ((count - 0.5) ** 3).mean()
    assert third == pytest.approx(0.5, abs=5 * np.sqrt(15 * 0.5**3 + 25 * 0.5**2 + 0.5) / 102)


def test_an_amplifier_that_is_not_linear(clean):
    bent = tuple(replace(a, nonlinearity=0.04, full_scale=80_000) for a in clean.amplifiers)
    bent = replace(clean, amplifiers=bent, illumination=clean.illumination)
    for light, missing in ((4_000, 0.002), (40_000, 0.02), (80_000, 0.04)):
        sky = simulate.Sky(light)
        mean_image, _ = mean_of(bent, "flat", 1, 1, filter="g", sky=sky)
        error = np.sqrt((light + 40) / mean_image.size)
        assert light - mean_image.mean() == pytest.approx(missing * light, abs=5 * error)


def test_the_converter_saturates_one_amplifier_at_its_highest_number(clean):
    taken = simulate.expose(
        replace(clean, saturation=4095), "flat", 1, rng=1, filter="g", sky=simulate.Sky(4_500)
    )
    assert taken.raw.max() == 4095
    left, right = taken.is_saturated[:, :51], taken.is_saturated[:, 51:]
    assert left.all()  # 1000 + 4500 / 1.3
    assert not right.any()  # 1100 + 4500 / 1.7


# ----------------------------------------------------------------------- dark current


def test_rates_of_hot_pixels_from_darks_of_three_exposures(detector):
    times = np.array([20.0, 60.0, 300.0])
    means = [mean_of(detector, "dark", t, 3)[0] for t in times]
    rows, columns = detector.hot_pixels[:, :2].astype(int).T
    values = np.array([mean[rows, columns] for mean in means])
    glow = detector.glow.image(SHAPE)[rows, columns].astype(float)
    rate = detector.hot_pixels[:, 2] + detector.dark_current + glow
    variance = (rate * times[:, None] + readout_variance(detector)[columns]) / 3
    weight = times[:, None] / variance
    slopes = (weight * values).sum(axis=0) / (weight * times[:, None]).sum(axis=0)
    error = (weight * times[:, None]).sum(axis=0) ** -0.5
    assert_within_errors(slopes, rate, error)
    assert rate.min() < 0.5
    assert rate.max() > 95
    assert np.all(error < 0.5)


def test_pixels_that_fill_are_not_linear_in_time_and_end_where_the_truth_says(detector):
    rows, columns = detector.filling_pixels[:, :2].astype(int).T
    rate, end = detector.filling_pixels[:, 2:].T
    steady = detector.dark_current + detector.glow.image(SHAPE)[rows, columns]
    error = np.sqrt((end + readout_variance(detector)[columns] + 300 * steady) / 4)
    short, long = (mean_of(detector, "dark", t, 4)[0][rows, columns] for t in (1.0, 300.0))
    whole = end * (1 - np.exp(-300 * rate / end))
    np.testing.assert_array_less(np.abs(long - whole - 300 * steady), 5 * error)
    np.testing.assert_array_less(long, 300 * short - 5 * error)
    assert np.all(np.abs(short - rate - steady) < 5 * error)


def test_blinking_pixels_are_on_in_half_of_the_frames(detector):
    taken = [simulate.expose(detector, "dark", 100, rng=n) for n in range(60)]
    on = np.array([one.is_blinking_pixel_on for one in taken])
    assert on.shape == (60, 3)
    rows, columns, rate, _ = detector.blinking_pixels.T
    where = rows.astype(int), columns.astype(int)
    values = np.array([electrons(detector, one)[where] for one in taken])
    for n in range(3):
        error = np.sqrt((100 * rate[n] + 150) * 4 / 60)
        step = values[on[:, n], n].mean() - values[~on[:, n], n].mean()
        assert step == pytest.approx(100 * rate[n], abs=5 * error)
    assert on.mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(180))


def test_dark_current_doubles_every_six_degrees_and_glow_does_not(detector):
    warm = replace(detector, dark_current=1.0, glow=simulate.Glow(20.0, 5.0))
    good = warm.defects() == 0
    corner = np.zeros(SHAPE, dtype=bool)
    corner[:5, :5] = True
    far = good.copy()
    far[:60, :60] = False
    rates, glows = [], []
    for temperature in (-106, -100, -94, -88):
        mean_image, taken = mean_of(warm, "dark", 100, 1, temperature=temperature)
        assert taken.temperature == temperature
        rates.append(mean_image[far].mean() / 100)
        glows.append(mean_image[good & corner].mean() / 100 - rates[-1])
    error = np.sqrt((np.array(rates) * 100 + 45) / far.sum()) / 100
    assert_within_errors(np.array(rates), np.array([0.5, 1, 2, 4]), error)
    glow = warm.glow.image(SHAPE)[good & corner].mean()
    error = np.sqrt((100 * (glow + 4) + 45) / (good & corner).sum()) / 100
    assert np.abs(np.array(glows) - glow).max() < 5 * error
    slope = np.polyfit([-106, -100, -94, -88], np.log2(rates), 1)[0]
    assert 1 / slope == pytest.approx(warm.doubling, rel=0.02)


def test_later_the_detector_is_warmer_and_has_more_hot_pixels(detector):
    aged = simulate.later_detector(detector, seed=1, dark_factor=1.2, n_new_hot=5)
    assert len(aged.hot_pixels) == 25
    np.testing.assert_allclose(aged.hot_pixels[:20, 2], 1.2 * detector.hot_pixels[:, 2])
    new = aged.hot_pixels[20:]
    before, after = (mean_of(one, "dark", 100, 2)[0] for one in (detector, aged))
    where = tuple(new[:, :2].astype(int).T)
    assert not detector.defects()[where].any()
    step = after[where] - before[where] - 100 * 0.2 * detector.dark_current
    assert_within_errors(step, 100 * new[:, 2], np.sqrt((100 * (new[:, 2] + 10) + 100) / 2))


# ----------------------------------------------------------------------- light


def test_ratio_of_two_flats_gives_the_dust_that_has_come(detector):
    dust = simulate.Dust(60.0, 30.0, radius=8.0, width=2.5, depth=0.3)
    sky = simulate.Sky(50_000)
    before, _ = mean_of(detector, "flat", 1, 4, filter="g", sky=sky)
    after, taken = mean_of(detector, "flat", 1, 4, filter="g", sky=sky, dust=(dust,))
    good = detector.defects() == 0
    y, x = np.indices(SHAPE)
    distance = np.hypot(y - 60, x - 30)
    shadow = 1 - 0.3 * np.exp(-(((distance - 8) / 2.5) ** 2))
    ring = good & (np.abs(distance - 8) < 1)
    error = np.sqrt((1 / before + 1 / after)[ring].mean() / 4 / ring.sum())
    ratio = (after[ring] / before[ring]).mean()
    assert ratio == pytest.approx(shadow[ring].mean(), abs=5 * error)
    assert ratio < 0.8
    clear = good & (distance > 16)
    assert (after / before)[clear].mean() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(
        taken.response[ring], (detector.response("g") * shadow)[ring], rtol=1e-6
    )


def test_flats_show_the_response_in_each_filter_and_low_pixels_columns(detector):
    sky = simulate.Sky(60_000)
    for band in ("g", "r"):
        mean_image, taken = mean_of(detector, "flat", 1, 6, filter=band, sky=sky)
        free = (detector.defects() & (8 | 32 | 4096)) == 0
        expected = taken.light + taken.dark + taken.glow
        error = np.sqrt((expected + readout_variance(detector)) / 6)
        assert_within_errors(mean_image[free], expected[free], error[free], most_sigma=5.5)
        assert detector.response(band)[50, 51] > 1.05 * detector.response(band)[1, 1]
    rows, columns, part = detector.low_pixels.T
    near = np.array([np.median(mean_image[int(y), max(0, int(x) - 4) : int(x) + 5]) for y, x in
                     zip(rows, columns, strict=True)])  # fmt: skip
    here = mean_image[rows.astype(int), columns.astype(int)]
    np.testing.assert_allclose(here / near, part, atol=0.05)
    dead = detector.dead_columns[0]
    assert np.abs(mean_image[:, dead]).max() < 60
    assert not np.array_equal(detector.illumination["g"], detector.illumination["r"])


def test_shutter_is_found_as_the_intercept_of_flats_of_several_exposures(detector):
    slow = replace(detector, dead_time=5 * detector.dead_time, full_well=np.inf)
    times = np.array([0.5, 1.0, 2.0, 4.0])
    sky = simulate.Sky(12_000)
    values = np.array([mean_of(slow, "flat", t, 4, filter="g", sky=sky)[0] for t in times])
    good = slow.defects() == 0
    edge = good.copy()
    edge[12:-12, 12:-12] = False
    centre = good.copy()
    centre[:40] = centre[60:] = False
    centre[:, :40] = centre[:, 60:] = False
    for region in (edge, centre):
        signal = np.array([(value[region] / slow.response("g")[region]).mean() for value in values])
        slope, intercept = np.polyfit(times, signal, 1)
        dead = -intercept / slope
        error = 2 * np.sqrt(times.max() * 12_000 / (4 * region.sum())) / 12_000
        assert dead == pytest.approx(slow.dead_time[region].mean(), abs=5 * error)
    assert slow.dead_time[0, 0] == pytest.approx(0.1)
    assert slow.dead_time[edge].mean() > 10 * error


@pytest.mark.parametrize("beta", [None, 3.5])
@pytest.mark.parametrize("fwhm", [1.5, 3.0, 5.0])
def test_sum_in_an_aperture_is_the_flux_of_a_star(clean, fwhm, beta):
    stars = np.array([[30.3, 25.8, 900.0], [60.9, 75.2, 300.0]])
    sky = simulate.Sky(5.0, stars=stars, fwhm=fwhm, beta=beta)
    mean_image, taken = mean_of(clean, "science", 60, 1, filter="g", sky=sky)
    y, x = np.indices(SHAPE)
    for row, column, flux in stars:
        inside = np.hypot(y - row, x - column) < 20
        total = (mean_image - 60 * 5)[inside].sum()
        error = np.sqrt(60 * flux + inside.sum() * (300 + 50))
        lost = 0.0
        if beta:
            alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
            lost = (1 + min(20, 10 * fwhm) ** 2 / alpha**2) ** (1 - beta)
        assert total == pytest.approx(60 * flux * (1 - lost), abs=5 * error)
        assert taken.incident[inside].sum() - 300 * inside.sum() == pytest.approx(
            60 * flux * (1 - lost), rel=2e-4
        )


@pytest.mark.parametrize("beta", [None, 2.5, 4.0])
def test_a_star_is_as_wide_as_asked_for(beta):
    image = np.zeros((121, 121))
    add_star(image, 60.0, 60.0, 1.0, fwhm=12.0, beta=beta)
    # At half the width from its centre a star is half as bright.
    assert image[66, 60] / image[60, 60] == pytest.approx(0.5, abs=0.005)
    assert image[60, 54] / image[60, 60] == pytest.approx(0.5, abs=0.005)


def test_a_star_outside_leaves_only_the_light_that_reaches_the_frame():
    image = np.zeros((20, 20))
    add_star(image, -0.5, 10.0, 100.0, fwhm=3.0)
    assert image.sum() == pytest.approx(50, abs=0.1)
    add_star(image, -500.0, 800.0, 100.0, fwhm=3.0, beta=3.0)
    assert image.sum() == pytest.approx(50, abs=0.1)


def test_twilight_has_a_gradient_and_stars(clean):
    stars = simulate.draw_stars(SHAPE, 8, flux=(500, 5_000), seed=2, margin=10)
    sky = simulate.Sky(4_000, gradient=(0.05, -0.02), stars=stars, fwhm=3.0)
    mean_image, _ = mean_of(clean, "flat", 5, 4, filter="g", sky=sky)
    y, x = (np.linspace(-1, 1, n) for n in SHAPE)
    far = np.ones(SHAPE, dtype=bool)
    for row, column, _ in stars:
        far &= np.hypot(np.arange(101)[:, None] - row, np.arange(103) - column) > 12
    design = [np.ones(SHAPE), y[:, None] + 0 * x, x + 0 * y[:, None]]
    (level, slope_y, slope_x), *_ = np.linalg.lstsq(
        np.array([plane[far] for plane in design]).T, mean_image[far], rcond=None
    )
    error = np.sqrt(20_000 / 4 / far.sum())
    assert level == pytest.approx(20_000, abs=5 * error)
    assert slope_y / level == pytest.approx(0.05, abs=5 * 2 * error / level)
    assert slope_x / level == pytest.approx(-0.02, abs=5 * 2 * error / level)
    plane = level * design[0] + slope_y * design[1] + slope_x * design[2]
    more = (mean_image - plane)[~far].sum()
    assert more == pytest.approx(5 * stars[:, 2].sum(), abs=5 * np.sqrt(20_000 * (~far).sum()))


# ----------------------------------------------------------------------- charge


def test_traps_take_the_same_from_faint_and_bright(detector):
    ((row, column, depth),) = detector.traps
    row, column = int(row), int(column)
    for light in (5_000, 40_000):
        mean_image, taken = mean_of(detector, "flat", 1, 4, filter="g", sky=simulate.Sky(light))
        lost = (taken.light + taken.dark + taken.glow - mean_image)[:, column]
        error = np.sqrt((light + 60) / 4)
        behind = lost[row:].mean()
        assert behind == pytest.approx(depth, abs=5 * error / np.sqrt(101 - row))
        assert lost[:row].mean() == pytest.approx(0, abs=5 * error / np.sqrt(row))


def test_a_trap_takes_no_more_than_there_is():
    image = np.full((6, 3), 50.0)
    charge.hold_back_charge(image, np.array([[2.0, 1.0, 80.0]]))
    assert image[2:, 1].tolist() == [0, 0, 0, 0]
    assert image.sum() == 14 * 50


def test_a_full_well_spills_along_its_column_and_loses_nothing_within_the_frame():
    image = np.full((40, 5), 100.0)
    image[20, 2] = 9_100.0
    charge.spill_charge(image, 1_000.0)
    assert image.sum() == pytest.approx(199 * 100 + 9_100)
    assert image.max() == 1_000
    np.testing.assert_array_equal(image[:, [0, 1, 3, 4]], 100)
    full = np.flatnonzero(image[:, 2] == 1_000)
    # 8100 electrons too many: 4050 each way fill four pixels that have room for 900, and half one.
    assert full.tolist() == list(range(16, 25))
    assert image[15, 2] == image[25, 2] == pytest.approx(550)


def test_a_spill_over_the_edge_is_gone():
    image = np.zeros((4, 1))
    image[0, 0] = 100.0
    charge.spill_charge(image, 10.0)
    assert image[:, 0].tolist() == [10, 10, 10, 10]


def test_a_bright_star_bleeds_in_a_frame_along_its_columns(detector):
    sky = simulate.Sky(1.0, stars=np.array([[50.0, 50.0, 1e5]]), fwhm=3.0)
    taken = simulate.expose(detector, "science", 60, rng=1, filter="g", sky=sky)
    rows, columns = np.nonzero(taken.is_saturated)
    assert np.ptp(rows) > 3 * np.ptp(columns)
    assert columns.min() > 40
    assert columns.max() < 60


# ----------------------------------------------------------------------- cosmic rays


def test_cosmic_rays_are_as_many_as_their_rate_and_add_the_charge_of_the_truth(clean):
    taken = simulate.expose(clean, "dark", 300, rng=5, cosmic_ray_rate=1e-5)
    rays = taken.cosmics
    charges = electrons(clean, taken)
    where = tuple(rays[:, :2].astype(int).T)
    assert len(set(zip(*where, strict=True))) == len(rays)
    error = np.sqrt(readout_variance(clean))
    assert_within_errors(charges[where], rays[:, 2], error[where[1]])
    rest = np.ones(SHAPE, dtype=bool)
    rest[where] = False
    assert np.abs(charges / error)[rest].max() < 5
    assert (charges / error)[rest].std() == pytest.approx(1, abs=5 / np.sqrt(2 * rest.sum()))
    rng = np.random.default_rng(1)
    events = [len(simulate.draw_cosmics(rng, (50, 50), 100, 4e-7)) > 0 for _ in range(2000)]
    # Some tracks leave the frame soon, but the first pixel of each track is in it.
    assert np.mean(events) == pytest.approx(1 - np.exp(-0.1), abs=5 * 0.3 / np.sqrt(2000))


def test_cosmic_rays_are_tracks():
    rng = np.random.default_rng(2)
    rays = simulate.draw_cosmics(rng, (400, 400), 1.0, 1 / 400**2)
    while len(rays) < 8:
        rays = simulate.draw_cosmics(rng, (400, 400), 1.0, 1 / 400**2)
    y, x = rays[:, :2].T
    covariance = np.linalg.eigvalsh(np.cov(y, x))
    assert covariance[0] < 0.3
    assert covariance[1] > 4


def test_cosmic_rays_may_be_given(clean):
    rays = np.array([[1.0, 2.0, 30_000.0], [7.0, 60.0, 5_000.0]])
    taken, without = (
        simulate.expose(clean, "dark", 1, rng=1, cosmics=cosmics, cosmic_ray_rate=1e-3)
        for cosmics in (rays, np.empty((0, 3)))
    )
    assert (len(taken.cosmics), len(without.cosmics)) == (2, 0)
    charge_of_rays = taken.electrons - without.electrons
    assert (charge_of_rays[1, 2], charge_of_rays[7, 60]) == (30_000, 5_000)
    assert charge_of_rays.sum() == 35_000
    columns = values_by_column(clean, "gain")
    raw_difference = (taken.raw.astype(float) - without.raw)[:, : SHAPE[1]]
    assert np.abs(raw_difference - charge_of_rays / columns).max() <= 1


def test_charges_of_a_pixel_that_is_listed_twice_add_up():
    image = np.zeros((4, 4))
    tracks.add_pixels(image, np.array([[1, 2, 30.0], [1, 2, 5.0]]))
    assert image[1, 2] == image.sum() == 35


# ----------------------------------------------------------------------- maps and errors


def test_defects_are_where_their_lists_say_and_no_pixel_has_two(detector):
    mask = detector.defects()
    lists = (detector.hot_pixels, detector.filling_pixels, detector.low_pixels,
             detector.blinking_pixels)  # fmt: skip
    places = [tuple(place) for pixels in lists for place in pixels[:, :2].astype(int).tolist()]
    assert len(set(places)) == len(places) == 20 + 4 + 10 + 3
    assert {bit: int(((mask & bit) > 0).sum()) for bit in (8, 16, 4096)} == {8: 24, 16: 10, 4096: 3}
    trap_row = int(detector.traps[0, 0])
    assert ((mask & 32) > 0).sum() == 101 + 101 - trap_row
    some = detector.defects(least_hot_rate=10.0, most_low_response=0.0)
    strong = int((detector.hot_pixels[:, 2] >= 10).sum())
    assert ((some & 8) > 0).sum() == strong + 4 < 24
    assert ((some & 16) > 0).sum() == 4


@pytest.mark.parametrize(
    ("kind", "exptime", "options", "message"),
    [
        ("arc", 1, {}, "unknown image type .*'arc'.*bias, dark, flat, science"),
        ("bias", 1, {}, "exptime: out of range"),
        ("dark", -1, {}, "exptime: out of range"),
        ("dark", float("nan"), {}, "exptime: out of range"),
        ("dark", 1, {"sky": simulate.Sky(1)}, "a dark has neither light nor a filter"),
        ("flat", 1, {"filter": "g"}, "a flat has light in a filter"),
        ("flat", 1, {"filter": "z", "sky": simulate.Sky(1)}, "no such filter .*'z'.*g, r"),
    ],
)
def test_frames_that_can_not_be_are_refused(detector, kind, exptime, options, message):
    with pytest.raises(UserError, match=message):
        simulate.expose(detector, kind, exptime, rng=1, **options)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"rate": -1.0}, "negative somewhere"),
        ({"rate": 1.0, "gradient": (0.8, -0.3)}, "negative somewhere"),
        ({"fwhm": 0.0}, "no profile of a star"),
        ({"beta": 1.0}, "no profile of a star"),
    ],
)
def test_a_sky_that_can_not_be_is_refused(wrong, problem):
    with pytest.raises(UserError, match=problem):
        simulate.Sky(**wrong)


def test_amplifiers_that_leave_columns_out_are_refused():
    with pytest.raises(UserError, match="do not share the columns"):
        simulate.Detector(shape=(10, 10), amplifiers=(simulate.SimulatedAmplifier((0, 9)),))


def test_more_faults_than_pixels_are_refused():
    with pytest.raises(UserError, match=r"^faults: more faults than pixels"):
        simulate.draw_detector((10, 12), faults=simulate.FaultCounts(hot=200))


# ----------------------------------------------------------------------- nights


def plan():
    lamp = simulate.Sky(20_000.0)
    later = datetime(2024, 5, 1, 20)
    shots = [simulate.Shot(f"b{n}.fits", "bias", START + n * timedelta(minutes=1)) for n in (1, 2)]
    shots.append(simulate.Shot("flat.fits.gz", "flat", START, 1.5, filter="r", sky=lamp))
    shots.append(
        simulate.Shot("d/dark.fits", "dark", later, 60.0, temperature=-94.3, set_temperature=-94.0)
    )
    return shots


def test_a_night_is_written_with_headers_profile_and_truth(detector, tmp_path):
    taken = simulate.expose_night(tmp_path, detector, plan(), seed=3)
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert names == {"b1.fits", "b2.fits", "flat.fits.gz", "d/dark.fits", "truth.npz"}
    for file, one in taken.items():
        with fits.open(tmp_path / file) as hdus:
            hdus.verify("exception")
            np.testing.assert_array_equal(hdus[0].data, one.raw)
    header = fits.getheader(tmp_path / "d/dark.fits")
    assert (header["IMAGETYP"], header["EXPTIME"], header["CCD-TEMP"], header["SET-TEMP"]) == (
        "DARK", 60.0, -94.3, -94.0,
    )  # fmt: skip
    assert header["DATE-OBS"] == "2024-05-01T20:00:00.000"
    assert "FILTER" not in header
    assert fits.getheader(tmp_path / "flat.fits.gz")["FILTER"] == "r"
    truth = simulate.read_night_truth(tmp_path)
    for name in ("structure", "dark_rate", "glow", "defects", "response/r", "incident/flat.fits.gz",
                 "light/flat.fits.gz", "dark/d/dark.fits", "saturated/b1.fits"):  # fmt: skip
        assert truth[name].shape == SHAPE, name
    assert truth["level/b2.fits"].shape == (2, 101)
    np.testing.assert_array_equal(truth["level/b2.fits"], taken["b2.fits"].level)
    assert truth["incident/flat.fits.gz"][50, 50] == 30_000
    assert np.all(truth["amplifier"] == (np.arange(103) >= 52))
    assert truth["gain"].tolist() == [a.gain for a in detector.amplifiers]
    y, x = detector.hot_pixels[-1, :2].astype(int)
    assert truth["dark_rate"][y, x] == pytest.approx(100.05)


def test_a_frame_does_not_depend_on_the_other_frames_taken(detector, tmp_path):
    for name, shots in (("all", plan()), ("one", plan()[1:2])):
        simulate.expose_night(tmp_path / name, detector, shots, seed=3, writes_truth=False)
    assert (tmp_path / "all/b2.fits").read_bytes() == (tmp_path / "one/b2.fits").read_bytes()
    assert not (tmp_path / "all/truth.npz").exists()


def test_the_profile_of_a_detector_is_read_by_ccdflow(detector, tmp_path):
    simulate.expose_night(tmp_path, detector, plan()[:1])
    path = tmp_path / "simcam.yaml"
    path.write_text(simulate.profile(detector))
    header = fits.getheader(tmp_path / "b1.fits")
    geometry = load_camera(path).geometry([header], file="b1.fits")
    assert geometry.shape == SHAPE
    for number, amplifier in enumerate(geometry.amplifiers):
        own = detector.amplifiers[number]
        assert (amplifier.data.x0, amplifier.data.x1) == own.columns
        strip = detector.overscan(number)
        assert [(s.x0, s.x1) for s in amplifier.overscan] == [(strip.start, strip.stop)]


def test_two_frames_of_one_name_are_refused(detector, tmp_path):
    with pytest.raises(
        UserError,
        match=r"file: two simulated frames have one name .*b1\.fits.*; allowed: one frame of",
    ):
        simulate.expose_night(tmp_path, detector, [*plan(), plan()[0]])
    with pytest.raises(UserError, match="no truth of simulated frames"):
        simulate.read_night_truth(tmp_path)
