"""Combined darks and flats against injected truth, and against the ccdproc calls of the guide."""

import tracemalloc
from dataclasses import replace

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std
from master_truth import (
    DARK_SECONDS,
    GAINS,
    NOISES,
    SHAPE,
    SPLIT,
    amplifiers,
    darks,
    expose,
    flats,
    parts,
    sums,
    truth,
    write,
)

from ccdflow.combine import combined_header
from ccdflow.combine.biases import combine_biases
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.darks import combine_darks
from ccdflow.combine.flats import (
    FlatSubtraction,
    ScaledDark,
    amplifier_ratios,
    combine_flats,
    combine_image_of_flats,
    flat_levels,
    normalise_flat,
)
from ccdflow.combine.member_reader import Member
from ccdflow.combine.noise import AmplifierNoise, NoiseModel
from ccdflow.combine.preparation import MemberMasks, SubtractedTerm
from ccdflow.combine.stack import CombineOptions, combine, combine_arrays
from ccdflow.combine.subtracted_masters import SubtractedMaster, dark_factors
from ccdflow.combine.tiling import combine_job
from ccdflow.detector.dark_figures import hot_mask
from ccdflow.detector.frame_figures import Estimate
from ccdflow.detector.half_split import noise_ratio_of_halves
from ccdflow.errors import FrameError, UserError
from ccdflow.files.header_text import CardList
from ccdflow.mask_bits import HOT, NO_DATA, SATURATED, UNLIT

EPS = float(np.finfo(np.float32).eps)


def master(pixels, **more):
    """Return a master that is subtracted from members."""
    return SubtractedMaster(np.asarray(pixels, np.float32), **more)


def true_dark(t, seconds=DARK_SECONDS):
    """The dark in adu of so many seconds, without its bias."""
    return master(t.rate * seconds / t.gain, seconds=seconds, is_bias_subtracted=True)


def assert_pulls(pull, *, mean=0.02, scatter=0.02):
    """Pulls of each amplifier, and of sums of 10 x 10 pixels, have mean 0 and scatter 1."""
    for part in parts(pull):
        assert abs(part.mean()) < mean
        assert part.std() == pytest.approx(1, abs=scatter)
        boxes = sums(part) / 10
        assert boxes.std() == pytest.approx(1, abs=4 / np.sqrt(2 * boxes.size))


# -- biases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 6, 12])
def test_uncertainty_of_a_bias_is_its_error(tmp_path, n):
    t = truth()
    members = write(tmp_path, darks(t, n, seconds=0.0))
    result = combine_biases(members, amplifiers=amplifiers())
    assert result.image.dtype == result.uncertainty.dtype == np.float32
    assert_pulls((result.image - t.bias) / result.uncertainty)
    clipped_fraction = result.n_clipped.sum() / (n * t.rate.size)
    if n < 10:
        assert result.recipe.clip_by == "noise"
        assert clipped_fraction < 1e-4
    else:
        # The MAD of twelve values is so uncertain that three good values in a thousand are clipped.
        assert result.recipe.clip_by == "mad"
        assert 2e-3 < clipped_fraction < 4e-3
    for amplifier in amplifiers():
        ratio = noise_ratio_of_halves(result, amplifier.region).value
        assert 0.97 < ratio < 1.03


def test_a_read_noise_that_nothing_tells_is_measured(tmp_path):
    t = truth()
    members = write(tmp_path, darks(t, 5, seconds=0.0))
    result = combine_biases(members, amplifiers=amplifiers(noises=(None, None)))
    for amplifier, noise in zip(result.noise.amplifiers, NOISES, strict=True):
        assert amplifier.read_noise * amplifier.factor == pytest.approx(noise, rel=0.02)
    assert_pulls((result.image - t.bias) / result.uncertainty)


def test_one_frame_of_unknown_noise_is_refused(tmp_path):
    members = write(tmp_path, darks(truth(), 1, seconds=0.0))
    with pytest.raises(FrameError, match="read noise of amplifier A is neither known nor"):
        combine_biases(members, amplifiers=amplifiers(noises=(None, None)))
    known = combine_biases(members, amplifiers=amplifiers())
    assert known.uncertainty[0, 0] == pytest.approx(NOISES[0])


# -- darks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 9])
def test_a_dark_is_its_charge_within_its_uncertainty(tmp_path, n):
    t = truth(hot=500, glow=0.3)
    members = write(tmp_path, darks(t, n))
    result = combine_darks(members, bias=master(t.bias), amplifiers=amplifiers())
    charge = t.rate * DARK_SECONDS / t.gain
    assert_pulls((result.image - charge) / result.uncertainty)
    assert result.n_clipped.sum() < 1e-4 * n * t.rate.size
    for amplifier in amplifiers():
        assert 0.97 < noise_ratio_of_halves(result, amplifier.region).value < 1.03
    # Hot pixels have the noise of their own light.
    hot = t.rate > 5
    pull = ((result.image - charge) / result.uncertainty)[hot]
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_the_glow_of_darks_tells_an_unknown_gain(tmp_path):
    t = truth(hot=500, glow=3.0)
    members = write(tmp_path, darks(t, 3))
    charge = t.rate * DARK_SECONDS / t.gain
    unknown = amplifiers(gains=(None, None))
    result = combine_darks(members, bias=master(t.bias), amplifiers=unknown)
    assert len(list(parts(charge))) == 2
    assert all(np.median(part) < 100 for part in parts(charge))
    glowing, faint = result.noise.amplifiers
    assert glowing.gain / glowing.factor**2 == pytest.approx(GAINS[0], rel=0.05)
    assert faint.gain is None
    pull, light = (
        parts(plane)[0] for plane in ((result.image - charge) / result.uncertainty, charge)
    )
    for part in (pull[light < 50], pull[light > 150]):
        assert abs(part.mean()) < 0.03
        assert part.std() == pytest.approx(1, abs=0.03)


def test_cosmic_rays_in_three_darks_are_gone(tmp_path):
    t = truth()
    frames = darks(t, 3)
    rng = np.random.default_rng(4)
    struck = np.zeros(SHAPE, int)
    for frame in frames:
        places = rng.choice(frame.size, 300, replace=False)
        frame.ravel()[places] += rng.uniform(100, 5000, 300).astype(np.float32)
        struck.ravel()[places] += 1
    result = combine_darks(write(tmp_path, frames), bias=master(t.bias), amplifiers=amplifiers())
    assert result.n_clipped.sum() >= 0.99 * 900
    pull = (result.image - t.rate * DARK_SECONDS / t.gain) / result.uncertainty
    # With hits in two of three values the rejected value may be the good one.
    alone = (struck == 1) & (result.count == 2)
    assert alone.sum() > 850
    assert np.abs(pull[alone]).max() < 6
    assert pull[alone].std() == pytest.approx(1, abs=0.1)


def test_the_noise_of_the_bias_is_a_number_of_its_own(tmp_path):
    """One noisy bias in all darks: without MBNOISE the predicted errors are too small."""
    t = truth()
    rng = np.random.default_rng(5)
    errors = rng.normal(0, 3.0, SHAPE)
    bias = master(t.bias + errors, uncertainty=np.full(SHAPE, 3.0, np.float32))
    result = combine_darks(write(tmp_path, darks(t, 9)), bias=bias, amplifiers=amplifiers())
    assert result.shared_noise["MBNOISE"] == pytest.approx(3.0)
    off = result.image - t.rate * DARK_SECONDS / t.gain
    alone = np.hypot(result.uncertainty, result.shared_noise["MBNOISE"])
    assert (off / result.uncertainty).std() > 1.2
    assert (off / alone).std() == pytest.approx(1, abs=0.02)
    # Halves share the bias, so that their difference has none of it.
    assert 0.97 < noise_ratio_of_halves(result, amplifiers()[1].region).value < 1.03


def test_a_wrong_read_noise_is_set_right_by_the_members(tmp_path):
    """A header that says 60 % of the read noise: every fourth value would seem an outlier."""
    t = truth()
    wrong = amplifiers(noises=tuple(0.6 * noise for noise in NOISES))
    members = write(tmp_path, darks(t, 6))
    result = combine_darks(members, bias=master(t.bias), amplifiers=wrong)
    assert_pulls((result.image - t.rate * DARK_SECONDS / t.gain) / result.uncertainty)
    assert result.n_clipped.sum() < 1e-4 * 6 * t.rate.size
    for amplifier, noise, gain in zip(result.noise.amplifiers, NOISES, GAINS, strict=True):
        photons = 0.02 * DARK_SECONDS / gain**2
        true, claimed = noise**2 + photons, (0.6 * noise) ** 2 + photons
        assert amplifier.factor == pytest.approx(np.sqrt(true / claimed), rel=0.02)


def test_the_noise_of_the_rows_level_is_in_the_uncertainty(tmp_path):
    t = truth()
    members = write(tmp_path, darks(t, 6, level_noise=2.0))
    given = amplifiers(level_noise=2.0)
    result = combine_darks(members, bias=master(t.bias), amplifiers=given)
    pull = (result.image - t.rate * DARK_SECONDS / t.gain) / result.uncertainty
    assert [part.std() for part in parts(pull)] == pytest.approx([1, 1], abs=0.03)


def test_a_pixel_saturated_in_all_darks_keeps_its_value_and_is_masked(tmp_path):
    t = truth()
    frames = darks(t, 4)
    for frame in frames:
        frame[8, 9] = 60_000
        frame[9, 9] = np.nan
    frames[1][20, 200] = 60_000
    members = write(tmp_path, frames)
    result = combine_darks(
        members,
        bias=master(t.bias),
        amplifiers=amplifiers(),
        masks=MemberMasks(ceilings=[50_000] * 4),
    )
    assert result.mask[8, 9] == SATURATED
    assert result.image[8, 9] == pytest.approx(60_000 - t.bias[8, 9])
    assert result.mask[9, 9] == NO_DATA
    assert np.isnan(result.image[9, 9])
    assert result.mask[20, 200] == 0
    assert result.count[20, 200] == 3
    assert np.count_nonzero(result.mask) == 2


def test_hot_pixels_are_those_injected(tmp_path):
    t = truth(hot=700)
    members = write(tmp_path, darks(t, 5))
    result = combine_darks(members, bias=master(t.bias), amplifiers=amplifiers())
    mask = hot_mask(result, seconds=DARK_SECONDS)
    np.testing.assert_array_equal(mask & HOT != 0, t.rate > 5)


# -- flats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [[20_000] * 3, [8000, 12_000, 18_000, 27_000, 40_000]])
def test_a_flat_is_the_response_within_its_uncertainty(tmp_path, levels):
    t = truth(hot=300)
    members = write(tmp_path, flats(t, levels, seconds=30.0))
    result = combine_flats(
        members,
        FlatSubtraction(master(t.bias), ScaledDark(true_dark(t), [30.0] * len(levels))),
        amplifiers=amplifiers(),
    )
    assert result.image.dtype == np.float32
    good = result.mask == 0
    assert result.image[good].mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert_pulls((result.image - t.flat) / result.uncertainty, mean=0.05)
    assert result.n_clipped.sum() < 1e-4 * len(levels) * t.rate.size
    np.testing.assert_allclose(result.levels, levels, rtol=2e-3)
    for amplifier in amplifiers():
        assert 0.97 < noise_ratio_of_halves(result, amplifier.region).value < 1.03


def test_amplifiers_keep_their_ratio(tmp_path):
    t = truth()
    members = write(tmp_path, flats(t, [20_000] * 4))
    result = combine_flats(members, FlatSubtraction(master(t.bias)), amplifiers=amplifiers())
    ratios = amplifier_ratios(result, amplifiers())
    for ratio, part in zip(ratios.values(), parts(t.flat), strict=True):
        assert ratio == pytest.approx(part.mean(), rel=5e-4)
    assert ratios["A"] / ratios["B"] == pytest.approx(GAINS[1] / GAINS[0], rel=0.05)


def test_an_unknown_gain_is_measured_from_the_flats(tmp_path):
    t = truth()
    members = write(tmp_path, flats(t, [20_000, 22_000, 25_000, 30_000]))
    unknown = amplifiers(gains=(None, None))
    result = combine_flats(members, FlatSubtraction(master(t.bias)), amplifiers=unknown)
    for amplifier, gain in zip(result.noise.amplifiers, GAINS, strict=True):
        assert amplifier.gain / amplifier.factor**2 == pytest.approx(gain, rel=0.03)
    assert_pulls((result.image - t.flat) / result.uncertainty, mean=0.05, scatter=0.03)


def test_stars_of_twilight_flats_leave_nothing(tmp_path):
    t = truth()
    levels = [9000.0, 14_000, 20_000, 26_000, 31_000]
    rng = np.random.default_rng(8)
    frames, y, x = [], *np.mgrid[: SHAPE[0], : SHAPE[1]]
    rim = np.zeros(SHAPE, bool)
    for level in levels:
        light = level * np.ones(SHAPE)
        for _ in range(12):
            cy, cx = rng.uniform(5, SHAPE[0] - 5), rng.uniform(5, SHAPE[1] - 5)
            star = 8000 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.5**2))
            rim |= (star > 50) & (star < 1000)
            light += star
        frames.append(expose(t, light * t.flat, 5.0, rng))
    members = write(tmp_path, frames)
    off = {}
    for grow in (0, 1):
        result = combine_flats(
            members,
            FlatSubtraction(master(t.bias)),
            amplifiers=amplifiers(),
            recipe=CombineRecipe(grow=grow),
        )
        pull = (result.image - t.flat) / result.uncertainty
        off[grow] = pull[rim].mean()
        assert np.abs(pull).max() < 6
    assert off[0] > 0.2
    assert abs(off[1]) < 0.3 * off[0]


def test_dark_corners_are_flagged_and_not_in_the_mean(tmp_path):
    t = truth()
    t.flat[:40, :30] *= 0.1
    members = write(tmp_path, flats(t, [20_000] * 4))
    result = combine_flats(members, FlatSubtraction(master(t.bias)), amplifiers=amplifiers())
    unlit = result.mask & UNLIT != 0
    np.testing.assert_array_equal(unlit, t.flat / t.flat[~unlit].mean() < 0.2)
    assert unlit.sum() == 1200
    assert result.image[~unlit].mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("part", [0.04, 0.5])
def test_an_amplifier_is_unlit_by_its_light_and_not_by_its_adu(tmp_path, part):
    """Gains that nothing gives are those that the members show."""
    t = truth()
    light = t.flat * t.gain / np.mean(t.flat * t.gain)
    light[:, :SPLIT] *= part
    t.gain[:, :SPLIT], t.gain[:, SPLIT:] = 0.5, 8.0
    t.flat[:] = light / t.gain
    members = write(tmp_path, flats(t, [20_000] * 5))
    unknown = amplifiers(gains=(None, None))
    result = combine_flats(members, FlatSubtraction(master(t.bias)), amplifiers=unknown)
    unlit = result.mask & UNLIT != 0
    # In adu the first one has 0.64 and 8 times those of the second.
    assert unlit[:, :SPLIT].all() == (part < 0.2)
    assert unlit[:, :SPLIT].any() == (part < 0.2)
    assert not unlit[:, SPLIT:].any()


@pytest.mark.parametrize(("adu", "is_unlit"), [(0.75, True), (1.0, False)])
def test_an_amplifier_without_a_gain_is_compared_by_the_mean_gain_of_the_others(adu, is_unlit):
    """Gains of 1 and 3: 2 electrons an adu. A fifth of the mean light is 1.7 electrons."""
    gains = {"A": 1.0, "B": 3.0, "C": None}
    noise = NoiseModel(
        tuple(
            AmplifierNoise(name, (0, 4, 10 * n, 10 * n + 10), 5.0, gain)
            for n, (name, gain) in enumerate(gains.items())
        ),
        (4, 30),
    )
    image = np.repeat(np.float32([12.0, 4.0, adu]), 10) * np.ones((4, 1), np.float32)
    flat = replace(
        combine_arrays(np.ones((3, 4, 30), np.float32)),
        image=image, mask=np.zeros((4, 30), np.int16), noise=noise, levels=np.ones(3),
        shared_noise={},
    )  # fmt: skip
    (normalised,) = normalise_flat([flat])
    assert (normalised.mask[:, 20:] & UNLIT != 0).all() == is_unlit
    assert not (normalised.mask[:, :20] & UNLIT).any()


def test_the_noise_of_a_master_leaves_out_hot_pixels_and_those_without_an_error():
    errors = np.ones((10, 12))
    errors[0, :4] = 2.9, 3.1, 500.0, np.nan
    noisy = master(np.zeros((10, 12)), uncertainty=errors)
    assert noisy.rms() == pytest.approx(np.sqrt((116 + 2.9**2) / 117))
    assert noisy.rms(np.array([1, 2])) == 1
    assert np.isnan(master(np.zeros((10, 12))).rms())
    assert np.isnan(master(np.zeros((10, 12)), uncertainty=np.full((10, 12), np.nan)).rms())


def test_without_uncertainty_the_pixels_are_the_same(tmp_path):
    t = truth()
    members = write(tmp_path, flats(t, [20_000] * 3))
    given = {"subtraction": FlatSubtraction(master(t.bias)), "amplifiers": amplifiers()}
    whole, bare = (
        combine_flats(members, **given),
        combine_flats(members, **given, options=CombineOptions(uncertainty_source=None)),
    )
    assert bare.uncertainty is None
    assert np.array_equal(bare.image, whole.image)
    assert np.array_equal(bare.mask, whole.mask)


def test_images_of_one_flat_have_a_mean_of_1_together(tmp_path):
    t = truth()
    frames = flats(t, [20_000, 30_000, 25_000])
    halves = [[f[:, :SPLIT].copy() for f in frames], [f[:, SPLIT:].copy() for f in frames]]
    biases = [master(t.bias[:, :SPLIT]), master(t.bias[:, SPLIT:])]
    levels = flat_levels(write(tmp_path, halves[0], "a"), FlatSubtraction(biases[0]))
    images = []
    for name, half, bias, whole in zip("ab", halves, biases, amplifiers(), strict=True):
        amplifier = type(whole)(whole.name, (0, SHAPE[0], 0, half[0].shape[1]), 8.0, whole.gain)
        images.append(
            combine_image_of_flats(
                write(tmp_path, half, name),
                FlatSubtraction(bias),
                amplifiers=[amplifier],
                scale=levels,
            )
        )
    flat = normalise_flat(images)
    both = np.hstack([image.image for image in flat])
    assert both.mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(both, t.flat, rtol=0.06)
    assert flat[0].image.mean() / flat[1].image.mean() == pytest.approx(
        t.flat[:, :SPLIT].mean() / t.flat[:, SPLIT:].mean(), rel=1e-3
    )


def test_noise_of_bias_and_dark_in_a_flat_are_numbers_of_their_own(tmp_path):
    t = truth()
    rng = np.random.default_rng(6)
    level, n = 1000.0, 9
    bias_off, dark_off = rng.normal(0, 6, SHAPE), rng.normal(0, 9, SHAPE)
    bias = master(t.bias + bias_off, uncertainty=6.0)
    # The dark was made with the same bias, whose error it has with the other sign.
    pixels = t.rate * DARK_SECONDS / t.gain + dark_off - bias_off
    dark = master(pixels, seconds=DARK_SECONDS, is_bias_subtracted=True, uncertainty=9.0)
    members = write(tmp_path, flats(t, [level] * n, seconds=100.0))
    result = combine_flats(
        members, FlatSubtraction(bias, ScaledDark(dark, [100.0] * n)), amplifiers=amplifiers()
    )
    scale = np.median(result.levels)
    assert result.shared_noise["MBNOISE"] == pytest.approx((1 - 1 / 3) * 6 / scale, rel=0.01)
    assert result.shared_noise["MDNOISE"] == pytest.approx(9 / 3 / scale, rel=0.01)
    total = np.sqrt(result.uncertainty**2 + sum(v**2 for v in result.shared_noise.values()))
    assert ((result.image - t.flat) / total).std() == pytest.approx(1, abs=0.02)


# -- against ccdproc -------------------------------------------------------------------------------


def ccd(pixels, seconds=0.0, dtype=np.float64):
    """Return pixels as ccdproc takes them, with an exposure time."""
    data = CCDData(np.asarray(pixels, dtype), unit="adu")
    data.header["EXPTIME"] = seconds
    return data


def assert_within_rounding(ours, theirs, *terms):
    """Two images differ by no more than the rounding of their terms."""
    largest = np.max([np.abs(np.asarray(term)) for term in terms], axis=0)
    assert (np.abs(ours - theirs) <= 2 * EPS * largest).all()


GUIDE = {
    "method": "average",
    "sigma_clip": True,
    "sigma_clip_low_thresh": 5,
    "sigma_clip_high_thresh": 5,
    "sigma_clip_func": np.ma.median,
    "sigma_clip_dev_func": mad_std,
}


@pytest.mark.parametrize(("n", "clip_by"), [(3, "mad"), (9, "mad"), (12, "auto")])
def test_a_dark_is_ccdprocs_with_the_same_clipping(tmp_path, n, clip_by):
    t = truth(hot=300)
    frames = darks(t, n)
    bias = t.bias.astype(np.float32)
    ours = combine_darks(
        write(tmp_path, frames),
        bias=master(bias),
        amplifiers=amplifiers(),
        recipe=CombineRecipe(clip_by=clip_by),
    )
    # Reduced frames are float32, and so is what ccdproc makes of them.
    reduced = [
        ccdproc.subtract_bias(ccd(frame, dtype=np.float32), ccd(bias, dtype=np.float32))
        for frame in frames
    ]
    assert {each.dtype for each in reduced} == {np.dtype(np.float32)}
    theirs = ccdproc.combine(reduced, **GUIDE).data
    assert_within_rounding(ours.image, theirs, *frames, bias)
    assert ours.n_clipped.sum() > 100


@pytest.mark.parametrize("n", [3, 9])
def test_a_flat_is_ccdprocs_step_by_step(tmp_path, n):
    t = truth(hot=300)
    levels = np.linspace(12_000, 30_000, n)
    frames = flats(t, levels, seconds=30.0)
    bias, dark = t.bias.astype(np.float32), true_dark(t)
    ours = combine(
        write(tmp_path, frames),
        CombineRecipe(clip=None),
        subtracted_terms=[SubtractedTerm(bias), SubtractedTerm(dark.pixels, 0.1, is_charge=True)],
        scale=levels,
    )
    reduced = [
        ccdproc.subtract_dark(
            ccdproc.subtract_bias(ccd(frame, 30.0), ccd(bias)),
            ccd(dark.pixels, DARK_SECONDS),
            exposure_time="EXPTIME",
            exposure_unit=u.s,
            scale=True,
        )
        for frame in frames
    ]
    theirs = ccdproc.combine(reduced, method="average", scale=1 / levels).data
    assert ours.image.dtype == np.float32
    biggest = np.max(np.abs(frames) / levels[:, None, None], axis=0)
    assert_within_rounding(ours.image, theirs, biggest)


@pytest.mark.parametrize("n", [3, 10])
def test_a_flat_is_that_of_the_guides_very_call(tmp_path, n):
    """The guide's misspelt argument gives the standard deviation: it rejects none of ten values."""
    t = truth(hot=300)
    frames = flats(t, np.linspace(18_000, 22_000, n))
    bias = t.bias.astype(np.float32)
    reduced = [ccdproc.subtract_bias(ccd(frame), ccd(bias)) for frame in frames]
    scale = [float(np.median(each.data)) for each in reduced]
    ours = combine(
        write(tmp_path, frames),
        CombineRecipe(clip_by="std"),
        subtracted_terms=[SubtractedTerm(bias)],
        scale=scale,
    )
    guide = {key: value for key, value in GUIDE.items() if key != "sigma_clip_dev_func"}
    theirs = ccdproc.combine(
        reduced, **guide, scale=lambda a: 1 / np.median(a), signma_clip_dev_func=mad_std
    ).data
    assert ours.n_clipped.sum() == 0
    biggest = np.max(np.abs(frames), axis=0) / min(scale)
    assert_within_rounding(ours.image, theirs, biggest)


@pytest.mark.parametrize("n", [3, 9, 12])
def test_a_clipped_flat_is_ccdprocs_with_the_guides_arguments(tmp_path, n):
    """The pixels are equal, except where a value is within its rounding of the clipping limit.

    `ccdproc.combine` clips before it scales: flats are scaled before they are handed to it.
    """
    t = truth(hot=300)
    levels = np.linspace(12_000, 30_000, n)
    frames = flats(t, levels)
    frames[1][::11, ::7] += 9_000  # cosmic rays
    bias, dark = t.bias.astype(np.float32), true_dark(t)
    factor = np.float32(5 / DARK_SECONDS)
    ours = combine(
        write(tmp_path, frames),
        CombineRecipe(clip_by="mad"),
        subtracted_terms=[
            SubtractedTerm(bias),
            SubtractedTerm(dark.pixels, float(factor), is_charge=True),
        ],
        scale=levels,
    )
    reduced = [
        ccdproc.subtract_dark(
            ccdproc.subtract_bias(ccd(frame, 5.0), ccd(bias)),
            ccd(dark.pixels, DARK_SECONDS),
            exposure_time="EXPTIME",
            exposure_unit=u.s,
            scale=True,
        )
        for frame in frames
    ]
    values = np.array([each.data for each in reduced]) / levels[:, None, None]
    theirs = ccdproc.combine([ccd(each) for each in values], **GUIDE).data
    biggest = np.max(np.abs(frames) / levels[:, None, None], axis=0)
    same = np.abs(ours.image - theirs) <= 2 * EPS * biggest
    off = np.abs(values - np.median(values, axis=0))
    limit = 5 * mad_std(values, axis=0)
    from_limit = np.min(np.abs(off - limit), axis=0)
    # Rounding of the values moves the limit by 5 x 1.48 x 2 of it.
    assert (same | (from_limit <= 16 * EPS * biggest)).all()
    assert np.count_nonzero(~same) <= 3
    assert ours.n_clipped[1] >= 0.95 * len(frames[1][::11, ::7].ravel())


# -- halves ----------------------------------------------------------------------------------------


def assert_halves_agree(one, two):
    """The difference of two masters of other members, over its predicted noise."""
    pull = (one.image - two.image) / np.hypot(one.uncertainty, two.uncertainty)
    for part in parts(pull):
        assert 0.97 < part.std() < 1.03


@pytest.mark.parametrize("n", [3, 6, pytest.param(12, marks=pytest.mark.torture)])
def test_halves_of_every_master_differ_by_their_uncertainties(tmp_path, n):
    t = truth(hot=100, glow=0.2)
    bias = master(t.bias)
    members = write(tmp_path, darks(t, 2 * n, seconds=0.0), "b")
    assert_halves_agree(*(combine_biases(members[k::2], amplifiers=amplifiers()) for k in range(2)))
    members = write(tmp_path, darks(t, 2 * n), "d")
    assert_halves_agree(
        *(combine_darks(members[k::2], bias=bias, amplifiers=amplifiers()) for k in range(2))
    )
    levels = np.geomspace(10_000, 35_000, 2 * n)
    members = write(tmp_path, flats(t, levels), "f")
    assert_halves_agree(
        *(
            combine_flats(members[k::2], FlatSubtraction(bias), amplifiers=amplifiers())
            for k in range(2)
        )
    )


# -- what must be impossible -----------------------------------------------------------------------


def test_a_dark_with_its_bias_in_is_refused(tmp_path):
    t = truth()
    members = write(tmp_path, flats(t, [20_000] * 3))
    dark = master(t.rate * 300, seconds=300.0, file="dark.fits")
    with pytest.raises(UserError, match=r"dark\.fits: BIASKEY: a dark that still holds its bias"):
        combine_flats(
            members,
            FlatSubtraction(master(t.bias), ScaledDark(dark, [5.0] * 3)),
            amplifiers=amplifiers(),
        )


def test_a_dark_is_no_bias_and_a_flat_keeps_none(tmp_path):
    t = truth()
    members = write(tmp_path, flats(t, [20_000] * 3))
    with pytest.raises(UserError, match="EXPTIME: a dark cannot be subtracted from darks"):
        combine_darks(members, bias=true_dark(t), amplifiers=amplifiers())
    with pytest.raises(UserError, match="subtract the combined bias from the flats as well"):
        combine_flats(
            members,
            FlatSubtraction(None, ScaledDark(true_dark(t), [5.0] * 3)),
            amplifiers=amplifiers(),
        )


@pytest.mark.parametrize(
    ("dark_seconds", "seconds", "expected"),
    [
        (300.0, [300.05, 300.062, 30.0], (1.0, 1.0, 0.1)),
        (70.0, [70.1, 70.2, 7.0], (1.0, 70.2 / 70, 0.1)),
        (100.0, [250.0, 0.0], (2.5, 0.0)),
    ],
)
def test_a_dark_is_scaled_unless_the_times_agree(dark_seconds, seconds, expected):
    dark = SubtractedMaster(np.zeros((2, 2)), seconds=dark_seconds, is_bias_subtracted=True)
    assert dark_factors(dark, seconds) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("dark_seconds", "seconds", "text"),
    [
        (
            10.0,
            [26.0],
            r"scale_up: the dark would be scaled up beyond the limit .found 2\.6.; allowed: up",
        ),
        (None, [1.0], "EXPTIME: the exposure time of a dark is missing"),
        (0.0, [1.0], "EXPTIME: the exposure time of a dark is missing"),
        (float("nan"), [1.0], "EXPTIME"),
        (2.0**31, [1.0], "below 2.31 s"),
        (10.0, [1.0, None], "EXPTIME: the exposure time of frame 2 is missing"),
        (10.0, [-1.0], "EXPTIME"),
        (10.0, [float("nan")], "EXPTIME"),
    ],
)
def test_impossible_times_are_refused(dark_seconds, seconds, text):
    dark = SubtractedMaster(np.zeros((2, 2)), seconds=dark_seconds, is_bias_subtracted=True)
    with pytest.raises(UserError, match=text):
        dark_factors(dark, seconds)


def test_exposure_times_are_as_many_as_flats(tmp_path):
    t = truth()
    members = write(tmp_path, flats(t, [20_000] * 3))
    dark = ScaledDark(true_dark(t), (1.0, 2.0))
    with pytest.raises(
        UserError, match=r"^seconds: 2 exposure times for 3 flats .found 2.; allowed: 3; give one"
    ):
        combine_flats(members, FlatSubtraction(master(t.bias), dark), amplifiers=amplifiers())


@pytest.mark.parametrize("scale", [(20_000.0,), (20_000.0, 20_000.0), (20_000.0,) * 4])
def test_levels_are_as_many_as_flats(tmp_path, scale):
    t = truth()
    members = write(tmp_path, flats(t, [20_000] * 3))
    text = rf"^scale: {len(scale)} levels for 3 flats .found {len(scale)}.; allowed: 3; give one"
    with pytest.raises(UserError, match=text):
        combine_image_of_flats(
            members, FlatSubtraction(master(t.bias)), amplifiers=amplifiers(), scale=scale
        )


@pytest.mark.parametrize("light", [0.0, float("nan"), -50.0])
def test_a_flat_without_light_is_named(tmp_path, light):
    t = truth()
    frames = flats(t, [20_000] * 3)
    frames[1] = np.full(SHAPE, light, np.float32) + t.bias.astype(np.float32)
    members = write(tmp_path, frames)
    with pytest.raises(FrameError, match=r"m001\.fits: level: a flat without light"):
        combine_flats(members, FlatSubtraction(master(t.bias)), amplifiers=amplifiers())


def test_a_master_of_another_shape_is_refused(tmp_path):
    t = truth()
    members = write(tmp_path, darks(t, 3))
    with pytest.raises(UserError, match="a master has another shape than the frames"):
        combine_darks(members, bias=master(t.bias[:-1]), amplifiers=amplifiers())


# -- memory and files ------------------------------------------------------------------------------


def test_masters_are_read_from_their_files_on_access(tmp_path):
    t = truth()
    members = write(tmp_path, darks(t, 4))
    (bias,) = write(tmp_path, [t.bias.astype(np.float32)], "bias")
    mapped = combine_darks(members, bias=SubtractedMaster(bias), amplifiers=amplifiers())
    given = combine_darks(members, bias=master(t.bias), amplifiers=amplifiers())
    assert mapped.image.tobytes() == given.image.tobytes()
    cut = Member(bias.path, bias.offset + 3000, bias.shape)
    with pytest.raises(FrameError, match=r"bias000\.fits: the product is cut"):
        combine_darks(members, bias=SubtractedMaster(cut), amplifiers=amplifiers())


@pytest.mark.parametrize("grow", [0, 1])
def test_bits_of_a_dark_do_not_depend_on_threads_or_tiles(tmp_path, monkeypatch, grow):
    t = truth(hot=200, glow=0.3)
    members = write(tmp_path, darks(t, 5))
    given = {"bias": master(t.bias), "amplifiers": amplifiers()}
    recipe = CombineRecipe(grow=grow)
    whole = combine_darks(members, recipe=recipe, options=CombineOptions(1), **given)
    for threads, tile in [(1, 1), (2, 5000 * 3 * 5 * 4)]:
        monkeypatch.setattr(combine_job, "TILE_BYTES", tile)
        part = combine_darks(members, recipe=recipe, options=CombineOptions(threads), **given)
        for name in ("image", "count", "uncertainty", "mask", "sample", "n_clipped"):
            assert getattr(part, name).tobytes() == getattr(whole, name).tobytes(), name


@pytest.mark.parametrize("n", [5, 30])
def test_memory_stays_below_its_ceiling_whatever_the_number_of_frames(tmp_path, n):
    t = truth()
    frames = flats(t, [20_000] * 5)
    written = write(tmp_path, frames)
    members = [written[k % 5] for k in range(n)]
    ceiling = 9_000_000
    options = {
        "subtracted_terms": [SubtractedTerm(t.bias.astype(np.float32))],
        "scale": [20_000.0] * n,
        "noise": combine_biases(members[:5], amplifiers=amplifiers()).noise,
        "n_sample_rows": 4,
        "masks": MemberMasks(ceilings=[50_000.0] * n),
    }
    recipe = CombineRecipe(clip_by="noise", grow=1)
    tracemalloc.start()
    combine(
        members,
        recipe,
        options=CombineOptions(memory=ceiling, uncertainty_source="noise"),
        **options,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert SHAPE[0] * SHAPE[1] * 12 < peak < ceiling


# -- cards -----------------------------------------------------------------------------------------


def values(cards):
    """The cards as astropy reads them."""
    return fits.Header.fromstring(cards.to_bytes(0))


def test_cards_tell_the_shared_noise_and_the_model(tmp_path):
    t = truth()
    bias = master(t.bias, uncertainty=3.0)
    dark = combine_darks(write(tmp_path, darks(t, 3)), bias=bias, amplifiers=amplifiers())
    cards = CardList()
    combined_header.write_noise_cards(cards, dark)
    combined_header.write_dark_cards(
        cards, seconds=300.0, rates=[Estimate(0.02, 0.001)] * 2, hot_pixels=17, hot_limit=5.0,
        units=["electron"] * 2,
    )  # fmt: skip
    cards_by_name = values(cards)
    assert cards_by_name["MBNOISE"] == 3.0
    assert (cards_by_name["MODRN01"], cards_by_name["MODRN02"]) == NOISES
    assert (cards_by_name["MODGN01"], cards_by_name["MODGN02"]) == GAINS
    assert (cards_by_name["MODFC01"], cards_by_name["MODFC02"]) == (1.0, 1.0)
    assert (cards_by_name["EXPTIME"], cards_by_name["NHOT"], cards_by_name["DARKRT02"]) == (
        300.0,
        17,
        0.02,
    )
    assert "5 electron/s" in cards_by_name.comments["NHOT"]


def test_the_cards_of_a_flat_have_its_levels_and_signal_to_noise():
    cards = CardList()
    combined_header.write_flat_cards(
        cards,
        levels=[10_000.0, 20_000.0, 40_000.0],
        signal_to_noise=250.0,
        ratios={"A": 1.2, "B": 0.9},
    )
    cards_by_name = values(cards)
    assert (cards_by_name["FLATLVL"], cards_by_name["FLATMIN"], cards_by_name["FLATMAX"]) == (
        20_000,
        10_000,
        40_000,
    )
    assert (cards_by_name["FLATSN"], cards_by_name["FLATRMS"]) == (250, 0.004)
    assert (cards_by_name["FLATR01"], cards_by_name["FLATR02"]) == (1.2, 0.9)
    one = CardList()
    combined_header.write_flat_cards(
        one, levels=[1.0], signal_to_noise=float("nan"), ratios={"A": 1.0}
    )
    assert "FLATSN" not in values(one)
    assert "FLATR01" not in values(one)


def test_rates_of_a_dark_are_in_the_unit_of_each_amplifier():
    cards = CardList()
    combined_header.write_dark_cards(
        cards, seconds=60.0, rates=[Estimate(0.1, 0.01), Estimate(0.2, 0.01)],
        hot_pixels=3, hot_limit=5.0, units=["electron", "adu"],
    )  # fmt: skip
    header = values(cards)
    assert header.comments["DARKRT01"] == "[electron/s] median rate"
    assert header.comments["DARKRT02"] == "[adu/s] median rate"
    assert header.comments["NHOT"] == "pixels over those around by 5 a second"
