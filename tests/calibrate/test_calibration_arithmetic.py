"""The arithmetic of calibrated frames against injected truth, and against ccdproc."""

import re
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import ccdproc
import numpy as np
import pytest
from astropy import units
from astropy.io.fits import Header
from astropy.nddata import CCDData
from calibration_truth import (
    DARK_TIME,
    FRAMES,
    GAINS,
    NOISES,
    SHAPE,
    Sky,
    chain,
    columns,
    expose,
    gain_map,
    masters,
    readouts,
)
from master_truth import sums

from ccdflow import mask_bits
from ccdflow.calibrate import signal
from ccdflow.calibrate.applied_masters import (
    AppliedMaster,
    FrameMasters,
    dark_scale,
    unit_of_calibrated,
)
from ccdflow.calibrate.arithmetic import calibrate_arrays
from ccdflow.calibrate.combined_master import Master, master_image_of
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.calibrate.image_masters import ImageMasters
from ccdflow.calibrate.variance import PixelVariance
from ccdflow.camera.geometry import Amplifier
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError
from ccdflow.frame.readout import (
    AmplifierReduction,
    MeasuredReadout,
    Readout,
    median_rounding,
    median_variance,
    readout_of,
)
from ccdflow.kinds.masters.member_masters import amplifier_noise
from ccdflow.verify.comparing.amplifiers import level_noise

LEVELS = (0, 30, 400, 5_000, 40_000)  # electrons
SEEDS = range(12)
EPS = np.finfo(np.float32).eps


@cache
def sky_and_masters(seed, hot):
    """A detector and its masters, the same for all levels: they are the slow part."""
    sky = Sky.of(seed=seed, hot=hot)
    return sky, masters(sky, np.random.default_rng([seed, hot]))


def frames_with_errors(level, k, seeds, *, hot=200, without=()):
    """Yield (product less truth, standard error, mask, sky) of frames of one level."""
    for seed in seeds:
        random = np.random.default_rng([seed, level, int(10 * k)])
        sky, made = sky_and_masters(seed, hot)
        scene = np.full(SHAPE, float(level))
        light = scene * sky.flat + k * sky.dark * gain_map()
        reduced = expose(light, sky.bias, random)
        data, error, mask = calibrate_arrays(reduced, readouts(), chain(made, k=k, without=without))
        yield data - scene, error, mask, sky


@pytest.mark.parametrize("k", [1.0, 0.4])
@pytest.mark.parametrize("level", LEVELS)
def test_pulls_are_those_of_the_truth_in_each_amplifier(level, k):
    pulls_of_parts = [
        (off / error)[:, part][mask[:, part] == 0]
        for off, error, mask, _ in frames_with_errors(level, k, SEEDS)
        for part in columns()
    ]
    for amplifier in range(2):
        pulls = np.concatenate(pulls_of_parts[amplifier::2])
        assert abs(pulls.mean()) < 0.01
        assert pulls.std() == pytest.approx(1, abs=0.01)
    assert np.concatenate(pulls_of_parts).std() == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("k", [1.0, 0.4])
@pytest.mark.parametrize("level", [0, 400, 40_000])
def test_pulls_of_sums_with_the_level_of_a_row(level, k):
    """In 10 x 10 pixels the noise of the level, common to a row, counts ten times."""
    own_pulls, naive = ([], []), ([], [])
    for off, error, _, sky in frames_with_errors(level, k, SEEDS, hot=0):
        for number, (part, readout) in enumerate(zip(columns(), readouts(), strict=True)):
            share = 1 + (1 - k) ** 2 / FRAMES["bias"] + k**2 / FRAMES["dark"]
            noise = readout.gain * (readout.level_variance * share) ** 0.5 / sky.flat[:, part]
            variance = error[:, part].astype(float) ** 2
            ny, nx = (n // 10 * 10 for n in noise.shape)
            rows = noise[:ny, :nx].reshape(ny, nx // 10, 10).sum(2) ** 2
            common = rows.reshape(ny // 10, 10, nx // 10).sum(1)
            total = sums(off[:, part])
            own_pulls[number].append((total / np.sqrt(sums(variance - noise**2) + common)).ravel())
            naive[number].append((total / np.sqrt(sums(variance))).ravel())
    for number in range(2):
        assert np.concatenate(own_pulls[number]).std() == pytest.approx(1, abs=0.03)
    if level == 0:
        # Without the card OSCNOISE one would be wrong by a twentieth and more.
        assert np.concatenate(naive[0] + naive[1]).std() > 1.05


def starfield(shape, random, *, sky, width, flux):
    """Return a scene (electrons) and its stars: row, column, flux."""
    scene, stars = np.full(shape, float(sky)), []
    for row in range(25, shape[0] - 25, 33):
        for column in range(25, shape[1] - 25, 40):
            y, x = row + random.uniform(-0.5, 0.5), column + random.uniform(-0.5, 0.5)
            window = slice(row - 14, row + 15), slice(column - 14, column + 15)
            grid = np.mgrid[window]
            star = np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / (2 * width**2))
            total = 10 ** random.uniform(*flux)
            scene[window] += star * total / star.sum()
            stars.append((row, column, total))
    return scene, stars


STARS, APERTURE = (1100, 1300), 6


@cache
def night_of_stars():
    """A vignetted, dusty flat and its masters. The overscan's level is exact."""
    sky, frames = Sky.of(STARS, seed=5), {"bias": 3, "dark": 16, "flat": 30}
    return sky, masters(sky, np.random.default_rng(11), frames=frames, overscan=0)


def field_of(flux, exposures, seed):
    """A thousand stars, calibrated a number of times.

    The overscan's level is exact: another test is on the noise that it adds to a row.
    """
    random = np.random.default_rng(seed)
    sky, made = night_of_stars()
    scene, stars = starfield(STARS, random, sky=600, width=1.5, flux=flux)
    light, known = scene * sky.flat + sky.dark * gain_map(STARS), readouts(STARS, overscan=0)
    frames = []
    for _ in range(exposures):
        reduced = expose(light, sky.bias, random, overscan=0)
        frames.append(calibrate_arrays(reduced, known, chain(made)))
    return scene, stars, sky, frames


@pytest.fixture(scope="module")
def field():
    """A field of stars up to 200,000 electrons, exposed eight times."""
    return field_of((3.5, 5.3), 8, 21)


@pytest.fixture(scope="module")
def bright_field():
    """A field of stars of about a million electrons, exposed eight times."""
    return field_of((5.7, 6.3), 8, 12)


def aperture_sums(plane, stars):
    """Sums of an image around each star."""
    reach = range(-APERTURE, APERTURE + 1)
    rows, columns = (np.array([star[axis] for star in stars]) for axis in (0, 1))
    return sum(plane[rows + dy, columns + dx] for dy in reach for dx in reach)


def photon_noise(scene, sky):
    """The standard deviation of a pixel that photons and read noise alone leave."""
    gain = gain_map(scene.shape)
    noise = np.where(gain == GAINS[0], NOISES[0], NOISES[1]) ** 2 + 1 / 12
    return np.sqrt((scene * sky.flat + sky.dark * gain + noise * gain**2) / sky.flat**2)


def response_at(scene, stars, sky):
    """Return the response of the flat to the light of each star."""
    return aperture_sums(sky.flat * scene, stars) / aperture_sums(scene, stars)


def test_stars_scatter_by_their_errors(field):
    scene, _, _, frames = field
    data, error, mask = frames[0]
    pulls = (data - scene) / error
    for low, high in ((601, 700), (700, 1000), (1000, 3000), (3000, 1e6)):
        chosen = pulls[(mask == 0) & (scene > low) & (scene <= high)]
        assert len(chosen) > 3000
        assert chosen.std() == pytest.approx(1, abs=0.02)
        assert abs(chosen.mean()) < 0.03


@pytest.mark.parametrize("peak", [1_000, 10_000, 50_000, 500_000])
@pytest.mark.parametrize("level", [0, 100, 1000])
def test_steep_wings_scatter_by_their_errors(level, peak):
    """Stars of a width of 0.85 pixels, far above saturation: a surface is no image of them."""
    random, noise = np.random.default_rng([level, peak]), 5.0
    side, step = 320, 16
    y, x = np.mgrid[:step, :step]
    scene = np.full((side, side), float(level))
    for row in range(0, side, step):
        for column in range(0, side, step):
            cy, cx = 8 + random.uniform(-0.5, 0.5, 2)
            star = peak * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 0.85**2))
            scene[row : row + step, column : column + step] += star
    values = (random.poisson(scene) + random.normal(0, noise, scene.shape)).astype(np.float32)
    known = Readout(Region(0, side, 0, side), gain=1.0, read_noise=noise, rounding_variance=0.0)
    data, error, _ = calibrate_arrays(values, (known,), FrameMasters())
    pulls = (data - scene) / error
    # An earlier estimate gave up to 41 in the wings of the brightest, and a scatter of 6.
    assert np.abs(pulls).max() < 6
    for low, high in ((0, 50), (50, 1500), (1500, 4000), (4000, 1e6)):
        chosen = pulls[(scene - level >= low) & (scene - level < high)]
        # The brightest stars alone have pixels in the last range.
        is_enough = len(chosen) > 400
        if low < 1500:
            assert is_enough
        if is_enough:
            scatter = 2 * (2 / len(chosen)) ** 0.5
            assert chosen.std() == pytest.approx(1, abs=0.025 + scatter)
            assert abs(chosen.mean()) < 0.01 + 0.03 * (low > 0) + 3 / len(chosen) ** 0.5


def test_light_in_the_outermost_columns_has_its_photons():
    """A star that the edge cuts: its pixels there are as uncertain as those beside them."""
    random = np.random.default_rng(7)
    sky = Sky.of(seed=3, hot=0)
    made = masters(sky, np.random.default_rng(4))
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    scene = np.full(SHAPE, 50.0)
    for row in range(8, SHAPE[0] - 8, 16):
        for column in (0, SHAPE[1] - 1):
            scene += 1500 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 2.0**2))
    pulls, ratios = [], []
    for _ in range(4):
        reduced = expose(scene * sky.flat + sky.dark * gain_map(), sky.bias, random)
        data, error, _ = calibrate_arrays(reduced, readouts(), chain(made, k=1.0))
        pulls.append(((data - scene) / error)[:, [0, -1]])
        ratios.append(error[:, [0, -1]] / error[:, [1, -2]])
    bright = scene[:, [0, -1]] > 300
    assert np.count_nonzero(bright) > 200
    assert np.std(np.array(pulls)[:, bright]) == pytest.approx(1, abs=0.06)
    # An earlier estimate gave the error of the sky: 0.25.
    assert np.median(np.array(ratios)[:, scene[:, [0, -1]] > 1000]) == pytest.approx(1, abs=0.1)


def test_the_fluxes_of_a_thousand_stars_scatter_by_their_photons(field):
    """8,000 residuals: their rms is known to 0.8 %, so that 2 % are seen."""
    scene, stars, sky, frames = field
    assert len(stars) >= 1000
    predicted = np.sqrt(aperture_sums(photon_noise(scene, sky) ** 2, stars))
    off = np.array([aperture_sums(data - scene, stars) for data, _, _ in frames]) / predicted
    assert 0.98 < off.std() <= 1.02
    assert abs(off.mean()) < 0.02


def test_the_flux_of_a_star_does_not_depend_on_the_flat_below_it(bright_field):
    """Stars of a million electrons: the slope is known to 2e-4. A bias left in makes 3e-2."""
    scene, stars, sky, frames = bright_field
    light, flat = aperture_sums(scene, stars), response_at(scene, stars, sky)
    off = np.mean([aperture_sums(data - scene, stars) for data, _, _ in frames], axis=0) / light
    weight = light / np.sqrt(aperture_sums(photon_noise(scene, sky) ** 2, stars))
    slope, _ = np.polyfit(flat - 1, off, 1, w=weight)
    assert abs(slope) < 5e-4
    assert 1 / np.sqrt(len(frames) * np.sum(weight**2 * (flat - flat.mean()) ** 2)) < 2.5e-4
    assert flat.max() / flat.min() > 1.2


def test_a_bias_left_in_would_be_seen(bright_field):
    """The slope that the star test forbids is there where a flat keeps its bias level."""
    scene, stars, sky, frames = bright_field
    wrong = frames[0][0] * sky.flat / ((sky.flat + 0.06) / 1.06)
    off = aperture_sums(wrong - scene, stars) / aperture_sums(scene, stars)
    slope, _ = np.polyfit(response_at(scene, stars, sky) - 1, off, 1)
    assert slope > 2e-2


@pytest.mark.parametrize("count", [1, 2, 3, 8, 25, 32])
def test_variance_of_a_median(count):
    values = np.random.default_rng(count).normal(size=(200_000, count))
    assert np.median(values, axis=1).var() == pytest.approx(median_variance(count), rel=0.01)


@pytest.mark.parametrize("noise", [1.5, 4.0])
@pytest.mark.parametrize("count", [5, 6, 16, 24, 25, 64, 1000, 1001])
def test_variance_of_a_median_of_whole_numbers(count, noise):
    """The formula holds for few pixels of a row, and for the many of one level."""
    random = np.random.default_rng(count)
    levels = random.random((min(200_000, 2_000_000 // count), 1))
    values = np.rint(random.normal(size=(len(levels), count)) * noise + levels)
    variance = np.mean((np.median(values, axis=1) - levels[:, 0]) ** 2)
    predicted = median_variance(count) * (noise**2 + 1 / 12) + median_rounding(count, noise)
    # The rounding alone is 0.083: of many pixels it is most of the variance.
    error = 4 * predicted * (2 / len(levels)) ** 0.5
    assert variance == pytest.approx(predicted, abs=error + 0.004)


def test_measured_read_noise_holds_the_rounding():
    """A quiet camera: rounding counted twice would be 4 % of the error."""
    random = np.random.default_rng(3)
    shape, noise = (400, 500), 0.6
    values = np.rint(random.normal(1000, noise, shape)).astype(np.float32) - 1000
    whole = Region(0, shape[0], 0, shape[1])
    measured = float(values.std())
    for read_noise, rounding_variance in ((noise, 1 / 12), (measured, 0.0)):
        known = Readout(whole, gain=2.0, read_noise=read_noise, rounding_variance=rounding_variance)
        data, error, _ = calibrate_arrays(values, (known,), FrameMasters())
        assert (data / error).std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("count", [5, 6, 25])
def test_the_level_of_a_camera_quieter_than_one_adu_has_all_its_rounding(count, noise):
    """Pixels that are mostly equal scatter by less than the rounding of their median."""
    random = np.random.default_rng(count)
    levels = random.random((100_000, 1))
    values = np.rint(random.normal(size=(len(levels), count)) * noise + levels)
    truth = np.mean((np.median(values, axis=1) - levels[:, 0]) ** 2) ** 0.5
    measured = np.mean(values.var(axis=1, ddof=1)) ** 0.5
    strip = Region(0, 100, 200, 200 + count)
    place = Region(0, 100, 0, 200)
    amplifier = Amplifier("A", 0, place, (strip,), along="rows", place=place, gain=1.0)
    recipe = ReductionRecipe(model=None)
    made = readout_of(
        amplifier, recipe, AmplifierReduction(level=1000.0), MeasuredReadout(read_noise=measured)
    )
    # Without the rounding of the strip: 9 % too small for six pixels and a noise of 0.02 adu.
    assert made.level_variance**0.5 == pytest.approx(truth, rel=0.05)
    header = Header({"OVERSCAN": strip.to_fits(), "OSCAXIS": "rows", "OSCSTAT": "median"})
    own = level_noise(header, "", measured, made.rounding_variance)
    assert made.level_variance**0.5 == pytest.approx(own, rel=0.02)
    # MODLN of darks and flats. Without the rounding of the strip: 0.260 for 0.288 adu.
    member = amplifier_noise(amplifier, recipe, measured)
    assert member.level_noise == pytest.approx(truth, rel=0.05)


# -- equal to ccdproc ------------------------------------------------------------------------------


@cache
def frames_for_ccdproc(seed=4):
    """Return a reduced frame that cannot be changed, and its masters; of twelve tests."""
    random = np.random.default_rng(seed)
    sky = Sky.of(seed=seed)
    made = masters(sky, random)
    scene = 300 + 2000 * random.random(SHAPE)
    reduced = expose(scene * sky.flat + sky.dark * gain_map(), sky.bias, random)
    reduced.flags.writeable = False
    return reduced, made


@pytest.mark.parametrize("seconds", [DARK_TIME, 120.0])
@pytest.mark.parametrize("without", [(), ("flat",), ("dark",), ("dark", "flat"), ("bias", "dark")])
def test_pixels_are_those_of_ccdproc(seconds, without):
    reduced, made = frames_for_ccdproc()
    planes = {kind: made[kind].images[0].data for kind in made}
    ccd = CCDData(reduced, unit="adu")
    if "bias" not in without:
        ccd = ccdproc.subtract_bias(ccd, CCDData(planes["bias"], unit="adu"))
    if "dark" not in without:
        ccd = ccdproc.subtract_dark(
            ccd,
            CCDData(planes["dark"], unit="adu"),
            dark_exposure=DARK_TIME * units.s,
            data_exposure=seconds * units.s,
            scale=True,
        )
    if "flat" not in without:
        ccd = ccdproc.flat_correct(ccd, CCDData(planes["flat"], unit=""), norm_value=1)
    no_gain = tuple(replace(readout, gain=None) for readout in readouts())
    k = seconds / DARK_TIME
    data, error, _ = calibrate_arrays(
        reduced, no_gain, chain(made, k=k, without=without), needs_noise=False
    )
    assert error is None
    assert data.dtype == np.float32
    largest = np.max([np.abs(reduced), np.abs(planes["bias"]), np.abs(planes["dark"])], axis=0)
    largest = largest / planes["flat"].clip(0.5) if "flat" not in without else largest
    assert (np.abs(data - ccd.data) <= 2 * EPS * np.maximum(largest, np.abs(data))).all()
    electrons, _, _ = calibrate_arrays(
        reduced, readouts(), chain(made, k=k, without=without), needs_noise=False
    )
    assert np.allclose(electrons, data * gain_map(), rtol=3 * EPS, atol=0)


def test_the_guide_s_dark_with_its_bias_in_is_the_same_as_bias_and_dark():
    """Bias stays in the dark: R - D, with no bias."""
    reduced, made = frames_for_ccdproc()
    bias, dark = made["bias"].images[0].data, made["dark"].images[0].data
    whole = replace(made["dark"], images=(master_image_of(dark + bias, "dark"),), bias_key="")
    guide, _, _ = calibrate_arrays(
        reduced,
        readouts(),
        FrameMasters(dark=AppliedMaster(whole), flat=AppliedMaster(made["flat"])),
        needs_noise=False,
    )
    ours, _, _ = calibrate_arrays(reduced, readouts(), chain(made), needs_noise=False)
    assert np.allclose(guide, ours, rtol=0, atol=0.01)


# -- chains ----------------------------------------------------------------------------------------


def test_chain_without_darks():
    """Short exposures: the dark current stays in, and its photon noise is in the error."""
    frames = list(frames_with_errors(2000, 0.02, range(3), without=("dark",)))
    assert len(frames) == 3
    for off, error, mask, sky in frames:
        left = 0.02 * sky.dark * gain_map() / sky.flat
        pulls = ((off - left) / error)[mask == 0]
        assert abs(pulls.mean()) < 0.02
        assert pulls.std() == pytest.approx(1, abs=0.01)


def test_chain_without_flats():
    random = np.random.default_rng(9)
    sky = Sky.of(seed=9)
    made = masters(sky, random)
    seen = 900.0 * sky.flat
    reduced = expose(seen + sky.dark * gain_map(), sky.bias, random)
    data, error, mask = calibrate_arrays(reduced, readouts(), chain(made, without=("flat",)))
    assert ((data - seen) / error)[mask == 0].std() == pytest.approx(1, abs=0.01)


def test_chain_of_flats_only():
    random = np.random.default_rng(10)
    sky = replace(Sky.of(seed=10), bias=np.zeros(SHAPE), dark=np.zeros(SHAPE))
    made = masters(sky, random)
    flat = replace(made["flat"], bias_key="")
    reduced = expose(900.0 * sky.flat, sky.bias, random)
    data, error, mask = calibrate_arrays(
        reduced, readouts(), FrameMasters(flat=AppliedMaster(flat))
    )
    assert ((data - 900) / error)[mask == 0].std() == pytest.approx(1, abs=0.01)


def test_chain_without_overscan():
    """The level goes with the bias: one number a frame, no noise of rows."""
    random = np.random.default_rng(12)
    sky = Sky.of(seed=12)
    sky = replace(sky, bias=sky.bias + 700.0)
    made = masters(sky, random, overscan=0)
    reduced = expose(500.0 * sky.flat + sky.dark * gain_map(), sky.bias, random, overscan=0)
    known = readouts(overscan=0, is_level_subtracted=False)
    data, error, mask = calibrate_arrays(reduced, known, chain(made))
    pulls = ((data - 500) / error)[mask == 0]
    assert pulls.std() == pytest.approx(1, abs=0.01)
    assert abs(pulls.mean()) < 0.02


# -- masks -----------------------------------------------------------------------------------------


def any_master(kind, data, **more):
    """Return a master of an array."""
    data = np.asarray(data, np.float32)
    keys = {"bias_key": "" if kind == "bias" else "bias-key", "key": f"{kind}-key"}
    image = master_image_of(
        data, kind, **{key: more.pop(key) for key in ("mask", "error") if key in more}
    )
    return Master(kind, (image,), name=f"{kind}.fits", **{**keys, "frames": 9, **more})


def one_readout(shape=(6, 8), **more):
    """Return the readout of a frame of one amplifier."""
    return (Readout(Region(0, shape[0], 0, shape[1]), gain=2.0, read_noise=3.0, **more),)


def test_masks_of_frame_and_masters_are_all_there():
    shape = (6, 8)
    reduced = np.full(shape, 100, np.float32)
    stored = np.zeros(shape, np.uint8)
    stored[0, 0], stored[0, 1] = mask_bits.SATURATED, mask_bits.NO_DATA
    dark_mask = np.zeros(shape, np.int16)
    dark_mask[1, 1], dark_mask[1, 2] = mask_bits.HOT, mask_bits.NO_DATA
    bias = np.zeros(shape)
    bias[2, 2] = np.nan
    flat = np.ones(shape)
    flat[3, 3], flat[3, 4], flat[3, 5], flat[3, 6] = 0.1, 0.0, np.nan, -1
    uses = FrameMasters(
        AppliedMaster(any_master("bias", bias)),
        AppliedMaster(any_master("dark", np.zeros(shape), mask=dark_mask)),
        AppliedMaster(any_master("flat", flat)),
    )
    data, error, mask = calibrate_arrays(reduced, one_readout(), uses, mask=stored)
    assert np.isfinite(data).all()
    assert np.isfinite(error).all()
    wanted = np.zeros(shape, np.int16)
    wanted[0, 0], wanted[0, 1] = 1, 4
    wanted[1, 1], wanted[1, 2], wanted[2, 2] = 8, 256, 256
    wanted[3, 3], wanted[3, 4], wanted[3, 5], wanted[3, 6] = 128, 384, 256, 384
    assert mask.dtype == np.int16
    assert (mask == wanted).all()
    assert data[3, 3] == np.float32(2000)
    assert data[3, 4] == np.float32(200)


def test_saturated_and_infinite_pixels_are_found_without_a_stored_mask():
    reduced = np.full((6, 8), 100, np.float32)
    reduced[1, 2], reduced[3, 4], reduced[5, 7] = 64535, np.nan, np.inf
    known = one_readout(level=1000.0, saturation=65535.0)
    with np.errstate(all="raise"):
        data, _, mask = calibrate_arrays(
            reduced, known, FrameMasters(AppliedMaster(any_master("bias", np.ones((6, 8)))))
        )
    assert mask[1, 2] == mask_bits.SATURATED
    assert mask[3, 4] == mask[5, 7] & mask_bits.NOT_FINITE == mask_bits.NOT_FINITE
    assert np.isfinite(data).sum() == data.size - 2


def test_a_dark_scaled_up_masks_hot_pixels_and_where_it_dominates():
    shape = (6, 8)
    dark, error = np.zeros(shape), np.full(shape, 0.5)
    dark[1, 1], error[2, 2] = 1100, 40.0
    made = any_master("dark", dark, error=error, exptime=100.0)
    uses = FrameMasters(
        AppliedMaster(any_master("bias", np.zeros(shape))), AppliedMaster(made, 2.0)
    )
    _, _, mask = calibrate_arrays(np.full(shape, 10, np.float32), one_readout(), uses)
    assert mask[1, 1] & mask_bits.HOT
    assert mask[2, 2] == mask_bits.UNCALIBRATED
    assert np.count_nonzero(mask) == 2


# -- physics ---------------------------------------------------------------------------------------


def interlocks():
    """Yield the words of an error, the masters that raise it, and options of the readout."""
    flat, zero = np.ones((6, 8)), np.zeros((6, 8))
    bias = AppliedMaster(any_master("bias", zero))
    with_bias = any_master("dark", zero, bias_key="")
    plain = any_master("dark", zero)
    lit = any_master("flat", flat)
    yield "subtracted twice", FrameMasters(bias, AppliedMaster(with_bias)), {}
    yield "its bias with it", FrameMasters(None, AppliedMaster(with_bias, 0.5)), {}
    yield "scaled up beyond the limit", FrameMasters(bias, AppliedMaster(plain, 2.6)), {}
    yield "cannot be scaled", FrameMasters(bias, AppliedMaster(plain, float("nan"))), {}
    yield "cannot be scaled", FrameMasters(bias, AppliedMaster(plain, 0.0)), {}
    yield (
        "another temperature",
        FrameMasters(bias, AppliedMaster(plain, 1.0, degrees_warmer=-3.0)),
        {},
    )
    pedestal = replace(lit, bias_key="", is_level_subtracted=False)
    yield "flat still holds its bias level", FrameMasters(bias, flat=AppliedMaster(pedestal)), {}
    yield (
        "divided by the flat",
        FrameMasters(flat=AppliedMaster(lit)),
        {"is_level_subtracted": False},
    )
    yield "another unit", FrameMasters(AppliedMaster(replace(bias.master, unit="electron"))), {}
    yield "another gain", FrameMasters(AppliedMaster(replace(bias.master, gains=(1.0,)))), {}
    yield "another shape", FrameMasters(AppliedMaster(any_master("bias", np.zeros((8, 6))))), {}


@pytest.mark.parametrize(("words", "uses", "more"), list(interlocks()))
def test_masters_that_physics_forbids_are_refused_in_one_line(words, uses, more):
    with pytest.raises(FrameError, match=words) as error:
        calibrate_arrays(np.ones((6, 8), np.float32), one_readout(**more), uses)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (0.0, "the flat holds no lit pixel"),
        (-1.0, "the flat holds no lit pixel"),
        (np.nan, "the combined flat holds no finite value"),
        (20173.0, "the flat is not normalised"),
    ],
)
def test_a_flat_that_is_none_is_refused(value, problem):
    with pytest.raises(FrameError, match=problem):
        any_master("flat", np.full((6, 8), value))


@pytest.mark.parametrize("lost", ["gain", "read_noise"])
def test_noise_without_gain_or_read_noise_is_refused(lost):
    known = (replace(one_readout()[0], **{lost: None}),)
    words = lost.replace("_", " ")
    line = f"^{lost}: the noise cannot be predicted: the {words} is unknown; allowed: a number for"
    with pytest.raises(FrameError, match=line):
        calibrate_arrays(np.ones((6, 8), np.float32), known, FrameMasters())


@pytest.mark.parametrize(
    ("seconds", "of_dark", "factor"),
    [(300.0, 300.2, 1.0), (150.0, 300.0, 0.5), (0.0, 300.0, 0.0), (0.0, 0.05, 1.0)],
)
def test_the_factor_of_a_dark_is_the_ratio_of_the_exposures(seconds, of_dark, factor):
    dark = SimpleNamespace(exptime=of_dark, name="dark.fits")
    assert dark_scale(seconds, dark, file="science.fits") == factor


@pytest.mark.parametrize(
    ("seconds", "of_dark", "text"),
    [
        (None, 300.0, "science.fits: EXPTIME: the frame has no exposure time (found 'long')"),
        (300.0, None, "dark.fits: EXPTIME: the dark has no exposure time;"),
        (300.0, 0.0, "dark.fits: EXPTIME: the dark has no exposure time (found 0.0)"),
    ],
)
def test_the_error_names_the_file_without_an_exposure_time(seconds, of_dark, text):
    dark = SimpleNamespace(exptime=of_dark, name="dark.fits")
    with pytest.raises(FrameError, match="^" + re.escape(text)):
        dark_scale(seconds, dark, file="science.fits", card_value="long")


def test_nothing_handed_in_is_changed():
    reduced, made = frames_for_ccdproc()
    before = reduced.copy()
    planes = {kind: made[kind].images[0].data.copy() for kind in made}
    calibrate_arrays(reduced, readouts(), chain(made))
    assert (reduced == before).all()
    for kind, plane in planes.items():
        assert (made[kind].images[0].data == plane).all()


def test_a_dark_of_another_bias_adds_the_variance_of_that_bias():
    """k = 2, 1.5 adu a pixel of the bias in the dark, 9 + 1 adu^2 a pixel, 2 adu^2 a row."""
    reduced = np.full((6, 8), 500, np.float32)
    known = one_readout(rounding_variance=1.0, level_variance=2.0)
    bias = AppliedMaster(any_master("bias", np.zeros((6, 8)), key="bias-key"))
    variances = []
    for key in ("bias-key", "another"):
        dark = any_master("dark", np.full((6, 8), 3.0), bias_key=key, bias_noise=1.5)
        _, error, _ = calibrate_arrays(reduced, known, FrameMasters(bias, AppliedMaster(dark, 2.0)))
        variances.append(np.square(error.astype(float)))
    # Electrons, of 2 an adu.
    assert variances[1] - variances[0] == pytest.approx((2 * 1.5 * 2) ** 2 * (1 + 2 / 10), rel=1e-4)


@pytest.mark.parametrize("is_upper_first", [False, True])
@pytest.mark.parametrize("width", [55, 60])
@pytest.mark.parametrize("measured_gain", [None, 1.6])
def test_rows_of_amplifiers_one_above_the_other_have_each_its_own_noise(
    measured_gain, width, is_upper_first
):
    """Seam and edges included, in whichever way rows are named; columns of no amplifier have 0."""
    lower = Readout(Region(0, 24, 0, width), gain=2.0, read_noise=3.0, rounding_variance=0.25)
    upper = Readout(
        Region(24, 48, 0, width), "B", gain=1.25, read_noise=5.0, rounding_variance=0.0,
        measured_gain=measured_gain,
    )  # fmt: skip
    amplifiers = lower, upper
    calibration = FrameCalibration(
        FrameMasters(), (amplifiers[::-1] if is_upper_first else amplifiers,)
    )
    noise = PixelVariance(ImageMasters((48, 60), calibration))
    # Light of 80 electrons by the gain of the header: fewer where a measured one is larger.
    expected = np.zeros((48, 60))
    expected[:24, :width] = 9.25 * 2.0**2 + 80
    expected[24:, :width] = 25 * 1.25**2 + 80 * 1.25 / upper.photon_gain
    for rows in (slice(0, 48), slice(20, 30), np.arange(48), np.array([0, 23, 24, 25, 47])):
        out, scratch = np.empty((2, *expected[rows].shape), np.float32)
        noise.write_for_signal(rows, np.full_like(out, 80), out, scratch)
        assert out == pytest.approx(expected[rows], rel=1e-5)


def test_frames_in_other_units_share_no_variance_of_their_masters():
    """Pixels in Jy are not multiplied by the gain; the variance of a frame in adu was kept."""
    bias = AppliedMaster(any_master("bias", np.zeros((6, 8))))
    calibration = FrameCalibration(FrameMasters(bias), [one_readout(rounding_variance=0.0)])
    planes = {
        unit: PixelVariance(ImageMasters((6, 8), calibration, unit=unit)).variance_without_light
        for unit in ("adu", "Jy")
    }
    # A read noise of 3 adu and nine biases; a gain of 2.
    assert planes["Jy"] == pytest.approx(9 + 9 / 9)
    assert planes["adu"] == pytest.approx(4 * (9 + 9 / 9))


@pytest.mark.parametrize(
    ("text", "gains", "unit"),
    [
        ("adu", (1.2, 1.5), "electron"), ("ADU", (1.2, None), "adu"), ("e-", (None,), "electron"),
        ("counts", (1.2,), "electron"), ("Electrons", (1.2,), "electron"), ("Jy", (1.2,), "Jy"),
    ],
)  # fmt: skip
def test_the_unit_is_electrons_where_the_gains_are_known_or_the_frame_is_in_them(text, gains, unit):
    assert unit_of_calibrated(text, [SimpleNamespace(gain=gain) for gain in gains]) == unit


def test_a_tile_without_a_value_has_the_median_of_the_others():
    """Three tiles of 10, 20 and 40, and one of NaN: 20 in it, and lines between their middles."""
    tiles = signal.tiles_of(2 * signal.TILE_SIDE)
    half = len(tiles.rows[0])
    sample = np.empty((len(tiles.all_rows), 2 * signal.TILE_SIDE), np.float32)
    sample[:half, : signal.TILE_SIDE], sample[:half, signal.TILE_SIDE :] = 10, 20
    sample[half:, : signal.TILE_SIDE], sample[half:, signal.TILE_SIDE :] = 40, np.nan
    background = signal.Background(tiles, sample)
    assert background.level == 20
    image = background.write_rows(slice(None), np.empty((2 * signal.TILE_SIDE,) * 2, np.float32))
    # The tiles' middles are a quarter of the image from its edges; beyond, the lines go on.
    middle = signal.TILE_SIDE
    part = (2 * signal.TILE_SIDE - 1 - (signal.TILE_SIDE - 1) / 2) / signal.TILE_SIDE
    corner = (1 - part) * (10 * (1 - part) + 20 * part) + part * (40 * (1 - part) + 20 * part)
    assert image[-1, -1] == pytest.approx(corner, abs=1e-3)
    assert image[middle, middle] == pytest.approx(22.5, abs=0.5)
