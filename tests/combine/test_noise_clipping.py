"""Clipping by gain and read noise: no good value lost, hits removed, the same bits however run."""

import importlib.util
import math
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from ccdflow.camera.sections import Region
from ccdflow.combine.clipping import PixelNoise, estimate_pixels, kept_mask
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.member_noise import MemberSample, measure_noise_model
from ccdflow.combine.member_reader import member_of_file
from ccdflow.combine.noise import AmplifierNoise, ExpectedLight, LightGrid, NoiseModel
from ccdflow.combine.ordering import Ordering
from ccdflow.combine.preparation import MemberMasks, SubtractedTerm
from ccdflow.combine.stack import CombineOptions, combine, combine_arrays
from ccdflow.combine.tiling import combine_job
from ccdflow.errors import UserError

NOISE = CombineRecipe(clip_by="noise")
SHAPE = (37, 61)


def model(shape=SHAPE, *, read_noise=(4.0, 7.0), gain=(None, None), **more):
    """Two amplifiers, the left one a third of the columns."""
    ny, nx = shape
    left = nx // 3
    regions = ((0, ny, 0, left), (0, ny, left, nx))
    return NoiseModel(
        tuple(
            AmplifierNoise(name, region, rn, g, **more)
            for name, region, rn, g in zip("AB", regions, read_noise, gain, strict=True)
        ),
        shape,
    )


def test_the_light_of_four_amplifiers_is_the_same_by_rows_and_by_pixels():
    """Each has a plane of its own, and no light lies between them."""
    shape, grids, truth = (40, 50), [], np.zeros((40, 50))
    regions = (
        Region(2, 17, 3, 24),
        Region(2, 17, 24, 46),
        Region(20, 38, 3, 24),
        Region(17, 38, 24, 46),
    )
    for number, region in enumerate(regions, start=1):
        y, x = np.mgrid[: region.y1 - region.y0, : region.x1 - region.x0]
        truth[region.slices] = 100 * number + 3 * y - number * x
        rows, columns = np.array([1.0, 6.0, 12.0]), np.array([2.0, 18.0])
        values = 100 * number + 3 * rows[:, None] - number * columns
        grids.append(LightGrid(region, rows, columns, values))
    light = ExpectedLight(tuple(grids), shape[1])
    for start, stop in ((0, 2000), (0, 130), (130, 777), (777, 1501), (1501, 2000)):
        part = light.light_between(start, stop)
        np.testing.assert_allclose(part, truth.ravel()[start:stop], atol=1e-9)
    np.testing.assert_allclose(light.light_at(*np.indices(shape)), truth, atol=1e-9)


def normal_frames(n, noise, *, seed=1, level=0.0):
    """Return frames with normal noise by a noise model."""
    rng = np.random.default_rng(seed)
    deviations = rng.standard_normal((n, *noise.shape)) * errors_without_light(noise)
    return (level + deviations).astype(np.float32)


def errors_without_light(noise):
    """Return the standard errors of the pixels of a noise model without light."""
    variance, _ = noise.terms_at(np.arange(math.prod(noise.shape)))
    return np.sqrt(variance.reshape(noise.shape))


@pytest.fixture
def write(tmp_path):
    def write(stack, name="m"):
        members = []
        for index, frame in enumerate(stack):
            path = tmp_path / f"{name}{index:03}.fits"
            fits.writeto(path, frame)
            members.append(member_of_file(path))
        return members

    return write


# -- what is rejected ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n", [2, 3, 6, *(pytest.param(n, marks=pytest.mark.torture) for n in (4, 5, 7, 8, 9))]
)
def test_good_values_are_kept_and_hits_removed(n):
    """The bar: below 1e-4 of the good values lost, 99 % of hits of 10 sigma removed."""
    noise = model((400, 900), read_noise=(4.0, 7.0))
    stack = normal_frames(n, noise, seed=n)
    clean = combine_arrays(stack, NOISE, noise=noise)
    assert clean.n_clipped.sum() < 1e-4 * stack.size
    stack[0] += (10 * errors_without_light(noise)).astype(np.float32)
    hit = combine_arrays(stack, NOISE, noise=noise)
    assert hit.n_clipped[0] > 0.99 * 400 * 900
    assert (hit.count >= 1).all()


def test_the_guides_clipping_loses_a_fifth_of_the_pixels_of_three_where_noise_loses_none():
    noise = model((200, 300))
    stack = normal_frames(3, noise)
    mad = combine_arrays(stack, CombineRecipe(clip_by="mad"), noise=noise)
    assert 0.2 < np.mean(mad.count < 3) < 0.23
    by_noise = combine_arrays(stack, NOISE, noise=noise)
    assert np.mean(by_noise.count < 3) < 1e-4
    np.testing.assert_array_equal(
        by_noise.image[by_noise.count == 3], plain_mean(stack)[by_noise.count == 3]
    )


def plain_mean(stack):
    """Return the mean of frames, float32."""
    return stack.mean(axis=0, dtype=np.float64).astype(np.float32)


def test_two_of_four_hit_leave_the_two_that_were_not():
    noise = model()
    stack = np.zeros((4, *SHAPE), np.float32)
    stack[1, 5, 5] = stack[3, 5, 5] = 9000
    result = combine_arrays(stack, NOISE, noise=noise)
    assert result.image[5, 5] == 0
    assert result.count[5, 5] == 2
    assert result.n_clipped.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(("n", "by"), [(2, "noise"), (9, "noise"), (10, "mad"), (25, "mad")])
def test_auto_clips_by_noise_below_ten(n, by):
    noise = model()
    stack = normal_frames(n, noise)
    result = combine_arrays(stack, CombineRecipe(), noise=noise)
    assert result.recipe.clip_by == by
    same = combine_arrays(stack, CombineRecipe(clip_by=by), noise=noise)
    assert result.image.tobytes() == same.image.tobytes()
    assert combine_arrays(stack).recipe.clip_by == "mad"


def test_photon_noise_widens_the_limit_of_bright_pixels():
    noise = model(gain=(1.0, 2.0), read_noise=(4.0, 4.0))
    stack = np.full((5, *SHAPE), 10_000, np.float32)
    # sigma: 100 in the left amplifier, 70.8 in the right one; limit 5 sqrt(1 + 1/5) of them
    stack[2, 0, 3] += 540
    stack[2, 1, 3] += 560
    stack[2, 0, 40] += 380
    stack[2, 1, 40] += 400
    result = combine_arrays(stack, NOISE, noise=noise)
    assert result.count[0, 3] == result.count[0, 40] == 5
    assert result.count[1, 3] == result.count[1, 40] == 4


def test_a_faint_member_has_a_wider_limit_than_a_bright_one(write):
    """Noise is 3 % of a member of 1,000 and 0.5 % of one of 40,000: 12 % is 4 or 24 sigma."""
    shape = (12, 40)
    noise = model(shape, gain=(1.0, 1.0), read_noise=(4.0, 4.0))
    levels = np.array([1000.0, 40_000, 40_000, 40_000])
    stack = np.broadcast_to(levels[:, None, None], (4, *shape)).astype(np.float32)
    stack[0, 3, 5] *= 1.12
    stack[1, 6, 5] *= 1.12
    result = combine(write(stack), NOISE, noise=noise, scale=levels)
    assert result.count[3, 5] == 4
    assert result.count[6, 5] == 3
    assert result.n_clipped.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("level", [0.0, 0.02, 1.0])
def test_the_estimate_proves_only_values_that_the_exact_rule_keeps(dark, level):
    """Values crowded about their limits: the exact rule keeps all values of a proved pixel."""
    rng = np.random.default_rng(5)
    n, k = 6, 40_000
    noise = PixelNoise(
        read_variance=rng.uniform(1, 90, k),
        photon_slope=rng.uniform(0, 2, k),
        levels=np.array([500.0, 900, 20_000, 1.0, 40, 7]),
        dark=rng.normal(10, 40, k) if dark else None,
        factors=np.linspace(0.1, 2, n) if dark else None,
    )
    values = np.full((n, k), level)
    spread = np.sqrt(noise.least_variance(np.full(k, level)))
    values += rng.uniform(-3.4, 3.4, (n, k)) * spread
    values = values.astype(np.float32)
    exact = kept_mask(values.astype(np.float64), NOISE, noise).all(axis=0)
    *_, proven = estimate_pixels(values.copy(), Ordering(n, k, values.dtype), NOISE, noise=noise)
    assert not (proven & ~exact).any()
    assert proven.any()
    assert (~proven).any()


def test_values_one_step_beyond_the_limit_are_never_proved():
    noise = PixelNoise(np.ones(3), np.zeros(3), np.ones(2))
    limit = np.float32(5 * np.sqrt(1.5))
    highs = [limit / 2, limit, np.nextafter(limit, np.float32(9))]
    values = np.array([[0, 0, 0], highs], np.float32)
    exact = kept_mask(values.astype(np.float64), NOISE, noise).all(axis=0)
    *_, proven = estimate_pixels(values.copy(), Ordering(2, 3, values.dtype), NOISE, noise=noise)
    assert not exact[2]
    # The first pixel is far inside: a proof that proves none is seen.
    assert proven.tolist() == [True, False, False]


@pytest.mark.parametrize("n", [5, 16, 24, 40])
def test_by_standard_deviation_the_values_are_ccdprocs(n):
    """The guide's misspelt argument leaves ccdproc's default: the standard deviation."""
    rng = np.random.default_rng(n)
    stack = rng.normal(1000, 10, (n, 31, 47)).astype(np.float32)
    for frame in stack:
        frame.ravel()[rng.integers(0, frame.size, 20)] += 5000
    ours = combine_arrays(stack, CombineRecipe(clip_by="std"))
    theirs = ccdproc.combine(
        [CCDData(frame, unit="adu") for frame in stack],
        method="average",
        sigma_clip=True,
        sigma_clip_low_thresh=5,
        sigma_clip_high_thresh=5,
        sigma_clip_func=np.ma.median,
        signma_clip_dev_func="misspelt",
    )
    np.testing.assert_array_equal(ours.image, theirs.data.astype(np.float32))
    # One among n is at most n / sqrt(n - 1) deviations off: 5 sigma needs 24 or more.
    assert (ours.n_clipped.sum() > 0) == (n >= 24)


# -- the same bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["average", "median"])
@pytest.mark.parametrize("grow", [0, 1, 2])
def test_bits_do_not_depend_on_threads_or_tiles(write, monkeypatch, method, grow):
    noise = model(gain=(1.3, 0.9))
    stack = normal_frames(6, noise, level=400.0)
    rng = np.random.default_rng(3)
    stack[rng.random(stack.shape) < 0.01] += 3000
    stack[1, 3, 4:9] = np.nan
    masks = [(rng.random(SHAPE) < 0.02).astype(np.uint8) for _ in stack]
    options = {
        "subtracted_terms": [SubtractedTerm(np.full(SHAPE, 7.5, np.float32)), dark(2.0)],
        "scale": np.linspace(300, 500, 6),
        "masks": MemberMasks(masks),
        "noise": noise,
        "allows_empty": True,
    }
    recipe = CombineRecipe(method, clip_by="noise", grow=grow)
    members = write(stack)
    whole = combine(
        members, recipe, options=CombineOptions(1, uncertainty_source="noise"), **options
    )
    assert whole.n_clipped.sum() > 100
    for threads, tile in [(1, 1), (2, 70 * 3 * 6 * 4), (3, 10**5)]:
        monkeypatch.setattr(combine_job, "TILE_BYTES", tile)
        part = combine(
            members, recipe, options=CombineOptions(threads, uncertainty_source="noise"), **options
        )
        for name in ("image", "count", "uncertainty", "n_clipped", "n_invalid", "mask", "sample"):
            assert getattr(part, name).tobytes() == getattr(whole, name).tobytes(), name


def dark(factor):
    """Return a dark with charge, scaled for each of six members."""
    rng = np.random.default_rng(9)
    pixels = rng.exponential(30, SHAPE).astype(np.float32)
    return SubtractedTerm(pixels, tuple(np.linspace(0.2, factor, 6)), is_charge=True)


# -- growth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("grow", [0, 1, 2])
def test_a_rejection_takes_its_neighbours_in_the_same_member(grow):
    noise = model(read_noise=(4.0, 4.0))
    stack = np.zeros((5, *SHAPE), np.float32)
    stack[2, 10, 20] = 1000
    stack[3, 0, 0] = 1000
    result = combine_arrays(stack, CombineRecipe(clip_by="noise", grow=grow), noise=noise)
    expected = np.full(SHAPE, 5)
    expected[10 - grow : 11 + grow, 20 - grow : 21 + grow] = 4
    expected[: grow + 1, : grow + 1] = 4
    np.testing.assert_array_equal(result.count, expected)
    assert result.n_clipped.tolist() == [0, 0, (2 * grow + 1) ** 2, (grow + 1) ** 2, 0]
    assert (result.image == 0).all()


def test_growth_never_takes_the_last_value():
    noise = model(read_noise=(4.0, 4.0))
    stack = np.zeros((2, *SHAPE), np.float32)
    stack[0, 10, 20] = 1000
    stack[1, 10, 22] = 1000
    result = combine_arrays(stack, CombineRecipe(clip_by="noise", grow=1), noise=noise)
    assert (result.count > 0).all()
    assert np.isfinite(result.image).all()


# -- masks -----------------------------------------------------------------------------------------


def test_masked_values_are_left_out_and_stay_where_all_are_masked(write):
    stack = np.broadcast_to(np.arange(4.0)[:, None, None] * 10, (4, *SHAPE)).astype(np.float32)
    masks = [np.zeros(SHAPE, np.int16) for _ in range(4)]
    masks[3][5, 6] = 1
    for index, mask in enumerate(masks):
        mask[7, 8] = 1 if index else 1 | 4
    members = write(stack)
    result = combine(members, CombineRecipe(clip=None), masks=MemberMasks(masks))
    assert result.image[5, 6] == 10.0
    assert result.count[5, 6] == 3
    assert result.image[7, 8] == 15.0
    assert result.count[7, 8] == 0
    assert result.mask[7, 8] == 1
    assert np.count_nonzero(result.mask) == 1
    only = combine(members, CombineRecipe(clip=None), masks=MemberMasks(masks, bits=4))
    assert only.image[5, 6] == 15.0
    assert only.image[7, 8] == 20.0


def test_masks_are_read_from_files(write, tmp_path):
    stack = np.broadcast_to(np.arange(3.0)[:, None, None], (3, *SHAPE)).astype(np.float32)
    mask = np.zeros(SHAPE, np.uint8)
    mask[4, 4] = 1
    path = tmp_path / "mask.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(mask, name="MASK")]).writeto(path)
    place = member_of_file(path, hdu="MASK", is_mask=True)
    result = combine(write(stack), CombineRecipe(clip=None), masks=MemberMasks([None, None, place]))
    assert result.image[4, 4] == 0.5
    assert result.image[4, 5] == 1.0


def test_values_at_the_ceiling_are_saturated(write):
    stack = np.broadcast_to(np.arange(3.0)[:, None, None] * 10, (3, *SHAPE)).astype(np.float32)
    stack[1:, 2, 3] = 60_000
    stack[:, 2, 4] = 60_000
    members = write(stack)
    result = combine(members, CombineRecipe(clip=None), masks=MemberMasks(ceilings=[60_000] * 3))
    assert (result.image[2, 3], result.count[2, 3], result.mask[2, 3]) == (0, 1, 0)
    assert (result.image[2, 4], result.count[2, 4], result.mask[2, 4]) == (60_000, 0, 1)


# -- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"clip_by": "sigma"}, "clip_by: unknown source .*'auto', 'noise', 'mad' or 'std'"),
        *(
            (
                {"grow": grow},
                f"grow: rejection cannot grow by this .found {grow}.; allowed: 0 to 5 whole pixels;"
                " give a whole number",
            )
            for grow in (-1, 1.5, 6)
        ),
    ],
)
def test_the_error_on_a_wrong_recipe_names_the_allowed_values(kwargs, text):
    with pytest.raises(UserError, match=text):
        CombineRecipe(**kwargs)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"recipe": NOISE}, "clip_by: clipping by noise needs gain and read noise"),
        (
            {"options": CombineOptions(uncertainty_source="noise")},
            "uncertainty_source: .* needs gain and read noise",
        ),
        ({"noise": model((5, 5))}, r"noise model is of another shape .*\(37, 61\)"),
        ({"scale": [1.0, 2.0]}, "scale: 2 values for 3 frames .found 2.; allowed: 3; give one"),
        ({"scale": [1.0, 0.0, 1.0]}, "scale: frame 2 cannot be divided by its level"),
        ({"scale": [1.0, 1.0, float("nan")]}, "scale: frame 3 cannot be divided"),
        ({"subtracted_terms": [SubtractedTerm(np.zeros((3, 4)))]}, "master has another shape"),
        (
            {"subtracted_terms": [SubtractedTerm(np.zeros(SHAPE), (1.0, 2.0))]},
            "factors: 2 values for 3 frames",
        ),
        ({"subtracted_terms": [dark(1), dark(2)]}, "more than one dark to subtract"),
        ({"masks": MemberMasks([None, None])}, "mask: 2 values for 3 frames"),
        (
            {"masks": MemberMasks([None, None, np.zeros((3, 4), np.int16)])},
            "mask does not fit its frame",
        ),
        ({"masks": MemberMasks(ceilings=(1.0,))}, "ceilings: 1 values for 3 frames"),
    ],
)
def test_values_that_do_not_fit_are_refused(write, options, text):
    members = write(normal_frames(3, model()))
    with pytest.raises(UserError, match=text):
        combine(members, **options)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        (
            {"read_noise": -1.0},
            "read_noise: the value of amplifier A is out of range.*; give it in the unit",
        ),
        ({"read_noise": float("nan")}, "read_noise: .*0 or more"),
        (
            {"read_noise": 3.0, "gain": 0.0},
            "gain: the value of amplifier A .*a positive number; give electrons per",
        ),
        (
            {"read_noise": 3.0, "gain": float("inf")},
            r"gain: the value of amplifier A .* .found inf.",
        ),
        (
            {"level_noise": -1.0},
            "level_noise: the value of amplifier A .* 0 or more; give it in the unit",
        ),
        (
            {"factor": 0.0},
            "factor: the value of amplifier A is out of range .*; give a ratio, 1 for none",
        ),
    ],
)
def test_impossible_noise_is_refused(kwargs, text):
    with pytest.raises(UserError, match=text):
        AmplifierNoise("A", (0, 2, 0, 2), **kwargs)


def test_regions_have_to_lie_in_the_image():
    with pytest.raises(UserError, match="amplifier A is not inside the image"):
        NoiseModel((AmplifierNoise("A", (0, 9, 0, 3), 3.0),), (5, 5))
    with pytest.raises(
        UserError, match=r"read noise of amplifier A is not known.*give the read noise"
    ):
        NoiseModel((AmplifierNoise("A", (0, 5, 0, 3)),), (5, 5))


def test_terms_are_those_of_each_pixels_amplifier():
    parts = (
        AmplifierNoise("A", (0, 2, 0, 3), 3.0, 2.0),
        AmplifierNoise("B", (2, 5, 0, 3), 4.0, 1.0, factor=2.0),
        AmplifierNoise("C", (0, 5, 3, 4), 5.0, level_noise=12.0),
    )
    noise = NoiseModel(parts, (5, 5))
    fixed = np.array([[9, 9, 9, 169, np.inf]] * 2 + [[64, 64, 64, 169, np.inf]] * 3)
    slope = np.array([[0.5, 0.5, 0.5, 0, 0]] * 2 + [[4, 4, 4, 0, 0]] * 3)
    for start, stop in [(0, 25), (3, 4), (7, 23), (9, 10)]:
        got = noise.terms(start, stop)
        np.testing.assert_allclose(got[0], fixed.ravel()[start:stop])
        np.testing.assert_allclose(got[1], slope.ravel()[start:stop])
    places = np.array([24, 0, 13])
    np.testing.assert_allclose(noise.terms_at(places)[0], fixed.ravel()[places])
    np.testing.assert_allclose(noise.terms_at(places)[1], slope.ravel()[places])


def test_the_region_of_an_amplifier_has_its_places_in_an_image_and_among_rows():
    region = AmplifierNoise("A", (2, 5, 1, 3), 3.0).region
    image = np.arange(24).reshape(6, 4)
    np.testing.assert_array_equal(image[region.slices], [[9, 10], [13, 14], [17, 18]])
    np.testing.assert_array_equal(region.has_rows(np.array([0, 2, 4, 5])), [0, 1, 1, 0])
    assert region == Region(2, 5, 1, 3)


# -- by hand ---------------------------------------------------------------------------------------


def test_the_command_clips_three_frames_by_their_read_noise(write, tmp_path, capsys):
    scripts = Path(__file__).resolve().parents[2] / "scripts"
    spec = importlib.util.spec_from_file_location("combine_command", scripts / "combine.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    stack = np.zeros((3, *SHAPE), np.float32)
    stack[1, 4, 5] = 70
    stack[2, 4, 6] = 15
    files = [str(member.path) for member in write(stack)]
    out = tmp_path / "out.fits"
    assert command.main([str(out), *files, "--read-noise", "5"]) == 0
    assert "5 sigma (noise model) about the median; 1 values rejected" in capsys.readouterr().out
    image = fits.getdata(out)
    assert (image[4, 5], image[4, 6]) == (0, 5)
    assert command.main([str(out), *files, "--overwrite", "--clip-by", "noise"]) == 1
    assert "clipping by noise needs gain and read noise" in capsys.readouterr().err
    wrong = [str(out), *files, "--overwrite", "--read-noise", "-5"]
    assert command.main(wrong) == 1
    assert "--read-noise: the value is not allowed (found '-5')" in capsys.readouterr().err


@pytest.mark.parametrize(("share", "factor"), [(1.0, 1.0), (1.005, 1.0), (1.1, 1.1)])
def test_the_noise_of_the_profile_stands_unless_the_measured_one_is_a_percent_off(share, factor):
    """Eight frames of 64 x 100 pixels: the noise is known to a fifth of a percent."""
    amplifier = AmplifierNoise("A", Region(0, 64, 0, 100), read_noise=5.0)
    rng = np.random.default_rng(4)
    values = rng.normal(1000, 5 * share, (8, 64, 100)).astype(np.float32)
    sample = MemberSample(np.arange(64), values)
    model = measure_noise_model([amplifier], (64, 100), sample, has_light=False)
    measured = model.amplifiers[0].factor
    assert measured == (1.0 if factor == 1.0 else pytest.approx(factor, rel=0.01))
