"""Gain and linearity come back from simulated flats within their stated errors."""

import numpy as np
import pytest

from ccdflow.detector.bias_figures import measure_read_noise
from ccdflow.detector.photons.night_transfer import measure_transfer, split_by_level
from ccdflow.detector.photons.photon_transfer import (
    Gain,
    combine_gains,
    measure_gain,
    measure_linearity,
)
from ccdflow.errors import UserError
from ccdflow.simulate import draw_stars
from ccdflow.simulate.scene import add_star

SHAPE = (112, 144)


def flats(rng, *, gain=1.7, read_noise=6.0, electrons=(30_000, 29_000, 31_500)):
    """Flats in adu above the bias: vignetted, dusty, pixels of unlike response, five rays each."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    response = 1 - 0.2 * ((x - 70) ** 2 + (y - 50) ** 2) / 70**2 / 2
    response = response * rng.normal(1, 0.01, SHAPE)
    response[40:50, 60:70] *= 0.6
    frames = []
    for level in electrons:
        frame = rng.poisson(level * response) + rng.normal(0, read_noise, SHAPE)
        frame.ravel()[rng.integers(0, frame.size, 5)] += 5000
        frames.append(np.rint(frame / gain))
    return np.array(frames)


CAMERAS = ((1.7, 6.0), (0.45, 11.0), (8.0, 30.0))


def test_gain_is_right_within_two_errors_in_57_of_60_seeds():
    """961 of a thousand seeds of the first camera: a mean pull of -0.02, a scatter of 0.99."""
    pulls = []
    for seed in range(1000, 1060):
        gain, read_noise = CAMERAS[seed % 3]
        rng = np.random.default_rng(seed)
        gains = [
            measure_gain(flats(rng, gain=gain, read_noise=read_noise, electrons=levels), r, e)
            for r, e in [(read_noise / gain, 0.002 * read_noise / gain)]
            for levels in [(30_000, 29_000, 31_500), (15_000, 15_200, 15_100)]
        ]
        value, error = combine_gains(gains)
        assert error / gain < 0.01
        pulls.append((value - gain) / error)
    pulls = np.array(pulls)
    assert (np.abs(pulls) < 2).sum() >= 57
    assert np.abs(pulls.mean()) < 0.3
    assert 0.8 < pulls.std() < 1.2


@pytest.mark.torture
def test_two_errors_hold_gain_and_read_noise_as_often_as_those_of_a_normal_distribution():
    of_gain, of_noise = [], []
    for gain, noise in (*CAMERAS, (0.25, 3.0), (3.0, 4.0)):
        truth = np.hypot(noise, gain * 12**-0.5)
        for seed in range(400):
            rng = np.random.default_rng(seed + int(1e8 * gain))
            bias = np.rint(rng.normal(1000.3, noise / gain, (6, *SHAPE)))
            measured, level = measure_read_noise(bias), bias.mean(axis=0) - 1000.3
            levels = ((20_000, 21_000, 19_000), (30_000, 29_000, 31_500))
            own = [
                measure_gain(
                    flats(rng, gain=gain, read_noise=noise, electrons=each) - level,
                    measured.value,
                    measured.error,
                )
                for each in levels
            ]
            value, error = combine_gains(own)
            of_gain.append((value - gain) / error)
            error = np.hypot(measured.error * value, measured.value * error)
            of_noise.append((measured.value * value - truth) / error)
    for pulls in (np.array(of_gain), np.array(of_noise)):
        assert 0.94 < (np.abs(pulls) < 2).mean() < 0.975
        assert abs(pulls.mean()) < 0.1


def test_gains_that_came_out_low_do_not_draw_the_mean():
    """The gains scatter by 5 %, and each has an error of 5 %."""
    noise = 1 / (2.0 * np.random.default_rng(1).normal(1, 0.05, (400, 24)))
    means = [combine_gains([Gain(g, 0.05 * g, 1.0, 1.0, 1) for g in row])[0] for row in noise]
    assert np.mean(means) == pytest.approx(0.5, rel=0.0015)


def test_a_gradient_that_moves_between_frames_does_not_count_as_noise():
    rng = np.random.default_rng(3)
    frames = flats(rng)
    frames[1] *= np.linspace(0.97, 1.03, SHAPE[1])
    measured = measure_gain(frames, 6.0 / 1.7)
    # In a block of 16 pixels the gradient leaves (0.006 / sqrt(12))^2 of level^2: 0.1 of 100.
    assert measured.gain == pytest.approx(1.7, abs=4 * measured.error + 0.02)


@pytest.mark.parametrize("lit", [0.15, 0.5, 0.9, 0.97])
def test_the_lit_part_of_a_flat_tells_the_gain_beside_a_slit(lit):
    """One bin has levels from 0 to full: the noise of dark pixels does not limit bright ones."""
    rng = np.random.default_rng(6)
    rows = np.linspace(0, 1, SHAPE[0])[:, None]
    response = np.clip((lit - rows) / 0.04, 0.01, 1) * rng.normal(1, 0.01, SHAPE)
    gains = [
        measure_gain(rng.poisson(40_000 * response, (2, *SHAPE)) / 1.7 + noise, 3.5)
        for noise in rng.normal(0, 3.5, (6, 2, *SHAPE))
    ]
    gain, error = combine_gains(gains)
    assert gain == pytest.approx(1.7, abs=3 * error)
    assert all(each.n_pixels > 0.999 * np.prod(SHAPE) for each in gains)


def test_the_dark_rows_of_a_slit_do_not_count_to_the_gain():
    """The levels of rows scatter by as much as the photons there: the gain was 5 % too low."""
    rng = np.random.default_rng(8)
    light = np.full(SHAPE, 20_000.0)
    light[:30] = 10
    noise = rng.normal(0, 3.5, (6, *SHAPE)) + rng.normal(0, 1.5, (6, SHAPE[0], 1))
    measured = measure_gain(rng.poisson(light, (6, *SHAPE)) / 1.7 + noise, 3.5)
    assert measured.gain == pytest.approx(1.7, abs=3 * measured.error)
    freedom = 5 * np.count_nonzero(light > 10)
    assert measured.error == pytest.approx(1.7 * np.sqrt(2 / freedom), rel=0.05)


@pytest.mark.parametrize(("fwhm", "beta"), [(4.0, None), (3.0, 3.0)])
def test_the_stars_of_a_twilight_do_not_count_to_the_gain(fwhm, beta):
    """700 stars in a million pixels, others in each flat: the gain was 11 % too low."""
    ratios = []
    for seed in range(6):
        rng, frames = np.random.default_rng(seed), []
        for number in range(4):
            light = np.full((208, 224), 20_000.0)
            electrons = (1_200, 240_000)
            stars = draw_stars(light.shape, 33, flux=electrons, seed=10 * seed + number)
            for y, x, flux in stars:
                add_star(light, y, x, flux, fwhm=fwhm, beta=beta)
            frames.append(np.rint(rng.poisson(light) / 1.2 + rng.normal(0, 4.0, light.shape)))
        measured = measure_gain(np.array(frames, np.float32), 4.0)
        assert 0.5 < measured.n_pixels / light.size < 0.95
        ratios.append(measured.gain / 1.2)
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)


def test_flats_without_stars_lose_no_pixel():
    frames = flats(np.random.default_rng(7))
    assert measure_gain(frames, 6.0 / 1.7).n_pixels > 0.998 * np.prod(SHAPE)


LEVELS = (60_000, 45_000, 32_000, 15_000, 8_000, 3_800, 2_000, 900)


def test_flats_of_a_fading_twilight_tell_the_gain():
    """Scaled to one level, faint flats scatter by more than bright ones: the gain was 10 % off."""
    pulls = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        frames = flats(rng, gain=1.2, read_noise=5.0, electrons=LEVELS).astype(np.float32)
        transfer = measure_transfer([([4.0] * len(LEVELS), frames)], 5.0 / 1.2)
        # The faintest has no like.
        assert transfer.n_frames == len(LEVELS) - 1
        assert 0.006 < transfer.gain_error < 0.0075
        pulls.append((transfer.gain - 1.2) / transfer.gain_error)
    assert abs(np.mean(pulls)) < 0.6
    assert np.std(pulls) == pytest.approx(1, abs=0.25)


def test_flats_are_split_into_sets_of_like_levels():
    """A flat of another level than all others joins the next; flats of one level stay together."""
    levels = np.array([100.0, 900.0, 1000.0, 30.0, 800.0, 5.0])
    assert split_by_level([0, 1, 2, 3, 4], levels) == [[1, 2, 4], [0, 3]]
    assert split_by_level([0, 2, 5], levels) == [[0, 2], [5]]
    assert split_by_level([2, 3], levels) == [[2, 3]]
    assert split_by_level([1, 2, 4], levels) == [[1, 2, 4]]


LAMP_LEVELS = [9000.0] * 3 + [2000.0] * 2 + [500.0] * 2


def night(*, masked=()):
    """Return exposures and flats of three of them, with some flats masked whole."""
    rng = np.random.default_rng(9)
    frames = [
        rng.poisson(2 * level, (64, 80)) / 2 + rng.normal(0, 3, (64, 80)) for level in LAMP_LEVELS
    ]
    frames = np.array(frames, np.float32)
    frames[list(masked)] = np.nan
    return [level / 1000 for level in LAMP_LEVELS], frames


@pytest.mark.parametrize(
    ("masked", "compared"), [([0], 6), ([2], 6), ([4], 5), ([0, 6], 4), ([3, 4], 5)]
)
def test_a_flat_without_a_pixel_is_as_none(masked, compared):
    """The brightest level was NaN with a warning, and the other flats of its exposure were lost."""
    times, frames = night(masked=masked)
    kept = [index for index in range(len(LAMP_LEVELS)) if index not in masked]
    measured = measure_transfer([(times, frames)], 3.0)
    assert measured == measure_transfer([([times[each] for each in kept], frames[kept])], 3.0)
    assert measured.level == pytest.approx(9000, rel=1e-3)
    assert measured.gain == pytest.approx(2.0, abs=4 * measured.gain_error)
    assert measured.n_frames == compared


def test_flats_of_which_no_pixel_is_good_tell_nothing_and_hide_nothing():
    times, frames = night(masked=range(len(LAMP_LEVELS)))
    nothing = measure_transfer([(times, frames)], 3.0)
    assert (nothing.n_frames, np.isnan(nothing.level), np.isnan(nothing.gain)) == (0, True, True)
    assert repr(measure_transfer([([], frames[:0])], 3.0)) == repr(nothing)
    both = measure_transfer([(times, frames), night()], 3.0)
    assert repr(both) == repr(measure_transfer([night()], 3.0))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.s_[:32], np.s_[32:]),
        (np.s_[:], np.s_[:63]),
        (np.s_[:63], np.s_[:63]),
        (np.s_[:, :79], np.s_[:, :79]),
    ],
    ids=["disjoint", "one of them", "last row", "last column"],
)
def test_two_flats_with_hardly_a_pixel_in_common_raise_nothing(first, second):
    times, frames = night()
    frames[3][first] = frames[4][second] = np.nan
    measured = measure_transfer([(times, frames)], 3.0)
    assert measured.level == pytest.approx(9000, rel=1e-3)
    assert measured.gain == pytest.approx(2.0, abs=4 * measured.gain_error)


def test_pixels_beside_whole_blocks_alone_give_no_gain():
    flats_of_edge = night()[1][:2, :40, :40].copy()
    flats_of_edge[:, :32, :32] = np.nan
    measured = measure_gain(flats_of_edge, 3.0)
    assert (np.isnan(measured.gain), measured.n_pixels) == (True, 0)
    assert measured.level == pytest.approx(9000, rel=1e-3)


def test_masked_pixels_take_no_part():
    frames = flats(np.random.default_rng(4))
    clean = measure_gain(frames, 3.5)
    frames[2, :40, :40] = np.nan
    measured = measure_gain(frames, 3.5)
    assert measured.n_pixels < clean.n_pixels - 1500
    assert measured.gain == pytest.approx(clean.gain, rel=0.02)


def test_pixels_without_light_or_scatter_give_no_gain_and_the_others_theirs():
    """Two of nine blocks are 0 in all flats of a camera whose biases are all equal."""
    frames = flats(np.random.default_rng(6), read_noise=0.0)
    expected = measure_gain(frames, 0.0)
    frames[:, :, :32] = 0
    measured = measure_gain(frames, 0.0)
    assert measured.gain == pytest.approx(expected.gain, rel=0.02)
    assert measured.gain == pytest.approx(1.7, abs=4 * measured.error)


def test_scatter_below_the_read_noise_gives_no_gain():
    frames = np.random.default_rng(5).normal(100, 2, (3, *SHAPE))
    assert np.isnan(measure_gain(frames, 20.0).gain)
    assert np.isnan(combine_gains([measure_gain(frames, 20.0)])[0])


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 8, 64), (64, 64)])
def test_one_flat_and_small_flats_are_refused(shape):
    with pytest.raises(
        UserError, match=r"the gain needs two flats or more .*allowed: \(n, ny, nx\)"
    ):
        measure_gain(np.ones(shape), 1.0)


def test_dark_pixels_below_zero_do_not_count_to_the_gain():
    """A read noise of 1.5 adu, not 4, left photons where no light is: the gain was 3.4, not 1.7."""
    rng = np.random.default_rng(8)
    is_lit = np.arange(SHAPE[0])[:, None] >= 32
    light = rng.poisson(20_000, (4, *SHAPE)) / 1.7
    measured = measure_gain(np.where(is_lit, light, rng.normal(-8.0, 4.0, (4, *SHAPE))), 1.5)
    assert measured.gain == pytest.approx(1.7, abs=3 * measured.error)
    freedom = 3 * np.count_nonzero(np.broadcast_to(is_lit, SHAPE))
    assert measured.error == pytest.approx(1.7 * np.sqrt(2 / freedom), rel=0.05)


@pytest.mark.parametrize("level", [1.0, 3.0, 10.0, 30.0])
def test_faint_flats_tell_the_gain_as_well_as_their_photons_can(level):
    """The read noise sorted the pixels into bins: the gain of flats of 3 adu was 4.2, not 1.7."""
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        frames = rng.poisson(1.7 * level, (4, 160, 256)) / 1.7
        measured = measure_gain(frames + rng.normal(0, 4.0, frames.shape), 4.0)
        assert measured.n_pixels > 0.99 * frames[0].size
        pulls.append((measured.gain - 1.7) / measured.error)
    assert abs(np.mean(pulls)) < 0.5
    assert np.std(pulls) == pytest.approx(1, abs=0.25)


def test_an_amplifier_without_light_has_no_gain_and_stops_nothing():
    """Columns that trap charge draw the mean of dark pixels below 0, and not their median."""
    rng = np.random.default_rng(11)
    frames = rng.normal(0.5, 4.0, (3, 64, 80))
    frames[:, :, 40] = -100
    assert (np.median(frames, axis=(1, 2)) > 0).all()
    assert (frames.mean(axis=(1, 2)) < 0).all()
    measured = measure_gain(frames, 4.0)
    assert (np.isnan(measured.gain), measured.n_pixels) == (True, 0)
    transfer = measure_transfer([([2.0] * 3, frames.astype(np.float32))], 4.0)
    assert (np.isnan(transfer.gain), transfer.n_frames) == (True, 0)
    lit = measure_transfer([([2.0] * 3, frames.astype(np.float32)), night()], 3.0)
    alone = measure_transfer([night()], 3.0)
    assert (lit.gain, lit.gain_error, lit.n_frames) == (
        alone.gain,
        alone.gain_error,
        alone.n_frames,
    )


def test_a_loss_of_two_percent_at_half_full_well_is_measured_within_its_error():
    pulls = []
    times = np.array([2.0, 5.0, 10.0, 20.0, 30.0, 40.0])
    for seed in range(100):
        rng = np.random.default_rng(seed)
        true = 1000 * (times + 0.1)
        # 2 % lost at 20,000 adu.
        errors = 0.001 * true
        levels = true * (1 - 0.02 * true / 20_000) + rng.normal(0, errors)
        linearity = measure_linearity(times, levels, errors, evaluated_level=20_000)
        pulls.append(
            [
                (linearity.departure + 0.02) / linearity.error,
                (linearity.shutter - 0.1) / linearity.shutter_error,
            ]
        )
    pulls = np.array(pulls)
    assert (np.abs(pulls) < 2).sum(axis=0).min() >= 90
    assert pulls.std(axis=0) == pytest.approx(1, abs=0.25)
    assert np.abs(pulls.mean(axis=0)).max() < 0.4


def test_two_exposures_say_nothing_of_linearity():
    assert np.isnan(measure_linearity([1, 1, 2], [10, 10, 20], [1, 1, 1], 10).departure)
