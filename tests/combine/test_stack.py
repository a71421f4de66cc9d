"""The combined image: ccdproc's values, the same bits however it is run, within its memory."""

import itertools
import tracemalloc
from dataclasses import replace
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std

from ccdflow.combine import member_reader
from ccdflow.combine.clipping import estimate_pixels, kept_mask
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.member_reader import Member, member_of_file
from ccdflow.combine.ordering import Ordering
from ccdflow.combine.preparation import prepare_members
from ccdflow.combine.row_sample import sampled_rows
from ccdflow.combine.stack import CombineOptions, combine, combine_arrays
from ccdflow.combine.tiling import combine_job, tile_workers
from ccdflow.errors import FrameError, UserError
from ccdflow.robust import MAD_TO_SIGMA

SHAPE = (17, 23)
GUIDE = {
    "method": "average",
    "sigma_clip": True,
    "sigma_clip_low_thresh": 5,
    "sigma_clip_high_thresh": 5,
    "sigma_clip_func": np.ma.median,
    "sigma_clip_dev_func": mad_std,
}


def noise(n, shape=SHAPE, *, seed=1, hits=0, level=3.0, sigma=4.0, is_whole=False):
    """`n` biases with `hits` cosmic rays in each, float32; whole adu if `is_whole`."""
    rng = np.random.default_rng(seed)
    stack = rng.normal(level, sigma, (n, *shape))
    stack = np.rint(stack) if is_whole else stack
    for frame in stack:
        frame.ravel()[rng.integers(0, frame.size, hits)] += rng.exponential(500, hits)
    return stack.astype(np.float32)


def combine_by_ccdproc(stack, **kwargs):
    """Return the combination of a stack by ccdproc."""
    return ccdproc.combine([CCDData(frame, unit="adu") for frame in stack], **kwargs)


@pytest.fixture
def write(tmp_path):
    def write(stack):
        members = []
        for index, frame in enumerate(stack):
            path = tmp_path / f"red{index:03}.fits"
            fits.writeto(path, frame)
            members.append(member_of_file(path))
        return members

    return write


# -- the values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [*range(2, 26), 50])
def test_clipped_average_is_ccdprocs(n):
    stack = noise(n, seed=n, hits=12)
    ours, theirs = combine_arrays(stack), combine_by_ccdproc(stack, **GUIDE)
    np.testing.assert_array_equal(ours.image, theirs.data.astype(np.float32))
    # ccdproc divides by count, not by count - 1: a sample of two would be off by sqrt(2)
    expected = theirs.uncertainty.array * np.sqrt(ours.count / (ours.count - 1))
    np.testing.assert_allclose(ours.uncertainty, expected, rtol=3e-6)
    if n > 4:
        assert ours.n_clipped.sum() > 0


@pytest.mark.parametrize("n", [3, 8, 15, 16, 17, 31])
def test_whole_numbers_with_many_ties_are_clipped_as_by_ccdproc(n):
    stack = noise(n, sigma=0.6, is_whole=True, seed=n)
    ours, theirs = combine_arrays(stack), combine_by_ccdproc(stack, **GUIDE)
    np.testing.assert_array_equal(ours.image, theirs.data.astype(np.float32))
    assert ours.n_clipped.sum() > 0  # where more than half of the values agree the MAD is 0


@pytest.mark.parametrize("level", [0.0, -1.0, 1140.0, 65535.0, 1e7])
def test_values_just_at_the_limit_are_decided_as_by_ccdproc(level):
    """Members one float32 step inside, at and outside of the limit: rounding must not decide."""
    base = np.float32(level) + np.array([-2, -1, -1, 0, 0, 1, 1, 2], np.float32)
    limit = np.float32(level + 5 * MAD_TO_SIGMA)
    steps = [limit]
    for _ in range(40):
        steps = [np.nextafter(steps[0], np.float32(-np.inf)), *steps]
        steps = [*steps, np.nextafter(steps[-1], np.float32(np.inf))]
    stack = np.empty((9, 1, len(steps)), np.float32)
    stack[:8] = base[:, None, None]
    stack[8, 0] = steps
    ours, theirs = combine_arrays(stack), combine_by_ccdproc(stack, **GUIDE)
    np.testing.assert_array_equal(ours.image, theirs.data.astype(np.float32))
    assert len(np.unique(ours.count)) == 2


def pixels_beyond_limit(n, level, recipe, dtype, *, width=400, seed=1):
    """Pixels whose last member is the first number that is beyond their limit, by bisection."""
    values = np.random.default_rng(seed).normal(level, 4, (n, width)).astype(dtype)
    kept = values.max(axis=0)
    rejected = kept + dtype(1e4)
    while True:
        between = ((kept.astype(np.float64) + rejected) / 2).astype(dtype)
        if ((between == kept) | (between == rejected)).all():
            values[-1] = rejected
            return values
        values[-1] = between
        inside = kept_mask(values.astype(np.float64), recipe)[-1]
        kept, rejected = np.where(inside, between, kept), np.where(inside, rejected, between)


def proven_bounds(values, recipe):
    """Return the mask of pixels that are proved to have no rejected value."""
    return estimate_pixels(values.copy(), Ordering(*values.shape, values.dtype), recipe)[-1]


@pytest.mark.parametrize("threads", [1, 4])
def test_tiles_are_read_together_while_the_memory_holds_them(threads):
    """The first tile is among the bytes needed; ten members of two bytes, 16,384 pixels at most."""
    job = combine_job.CombineJob(
        read=None, n=10, shape=(1000, 2000), source=np.dtype("u2"), dtype=np.dtype("f4"),
        recipe=CombineRecipe(), preparation=prepare_members(10, (1000, 2000), np.dtype("u2")),
        noise=None, uncertainty_source=None, n_sample_rows=0,
    )  # fmt: skip
    width, needed = 1000, job.bytes_needed(1000, threads)
    tile = threads * 10 * width * 2
    tiles_of_bytes = {0: 1, tile - 1: 1, tile: 2, 3 * tile - 1: 3, 3 * tile: 4, 99 * tile: 16}
    assert {
        free: job.n_tiles_of_a_read(width, threads, needed + free) for free in tiles_of_bytes
    } == tiles_of_bytes
    # A tile at least, and no more than each thread's part of the image.
    assert job.n_tiles_of_a_read(width, threads, 0) == 1
    small = replace(job, shape=(12, width))
    assert small.n_tiles_of_a_read(width, threads, 10**9) == 12 // threads


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", [0.0, 1140.0, 65535.0, 1e7])
@pytest.mark.parametrize(("n", "clip_by"), [(4, "mad"), (8, "mad"), (30, "mad"), (30, "std")])
def test_a_value_one_step_beyond_the_limit_is_never_proved_to_be_inside(n, clip_by, level, dtype):
    """The proof needs its margins: without them up to half of these pixels are wrong in float32.

    In float64 the error of a deviation is nothing, and the margin of the sums is left alone.
    """
    recipe = CombineRecipe(clip=5.0, clip_by=clip_by)
    values = pixels_beyond_limit(n, level, recipe, dtype)
    kept = kept_mask(values.astype(np.float64), recipe)
    assert kept[:-1].any()
    assert not kept[-1].any()
    assert not proven_bounds(values, recipe).any()
    if (
        level < 1e6 or dtype is np.float64
    ):  # beyond, float32 is too coarse to prove anything of a scatter of 4
        values[-1] = values[0]
        assert proven_bounds(values, recipe).mean() > 0.5


@pytest.mark.parametrize("n", [1, 2, 5, 8, 21])
@pytest.mark.parametrize("method", ["average", "median"])
def test_without_clipping_every_value_counts(n, method):
    stack = noise(n, seed=n, hits=5)
    ours = combine_arrays(stack, CombineRecipe(method, clip=None))
    theirs = combine_by_ccdproc(stack, method=method)
    np.testing.assert_array_equal(ours.image, theirs.data.astype(np.float32))
    assert (ours.count == n).all()
    assert not ours.n_clipped.any()


def test_uncertainty_is_the_scatter_of_repeated_combinations():
    recipes = [
        CombineRecipe("average", None),
        CombineRecipe("average"),
        CombineRecipe("median", None),
    ]
    stack = noise(15 * 40, (31, 37), sigma=4.0)
    for recipe in recipes:
        results = [combine_arrays(part, recipe) for part in np.split(stack, 40)]
        scatter = np.std([r.image for r in results], axis=0, ddof=1).mean()
        claimed = np.mean([r.uncertainty for r in results])
        assert claimed == pytest.approx(scatter, rel=0.05), recipe


@pytest.mark.parametrize(
    "recipe", [CombineRecipe("average", None), CombineRecipe("average"), CombineRecipe("median")]
)
def test_a_single_frame_has_no_uncertainty(recipe):
    result = combine_arrays(noise(1), recipe)
    np.testing.assert_array_equal(result.image, noise(1)[0])
    assert np.isnan(result.uncertainty).all()


def test_more_iterations_find_outliers_hidden_by_a_wide_first_limit():
    values = np.array([0, 1, 2, 10, 12, 40], np.float32)
    stack = np.broadcast_to(values[:, None, None], (6, 2, 3)).copy()
    for iterations, count, mean in [(1, 5, 5), (2, 4, 3.25), (9, 3, 1)]:
        result = combine_arrays(stack, CombineRecipe(clip=3, iterations=iterations))
        assert (result.count == count).all()
        assert (result.image == mean).all()


# -- values that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe", [CombineRecipe(), CombineRecipe("average", None), CombineRecipe("median", None)]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_values_are_as_if_the_member_were_absent(recipe, bad):
    stack = noise(8, hits=5)
    damaged = stack.copy()
    damaged[3] = bad
    result = combine_arrays(damaged, recipe)
    expected = combine_arrays(np.delete(stack, 3, axis=0), recipe)
    np.testing.assert_array_equal(result.image, expected.image)
    np.testing.assert_array_equal(result.count, expected.count)
    np.testing.assert_allclose(result.uncertainty, expected.uncertainty, rtol=1e-5)
    assert result.n_invalid.tolist() == [0, 0, 0, 17 * 23, 0, 0, 0, 0]
    assert result.n_clipped[3] == 0


def test_a_pixel_without_any_value_is_refused_unless_allowed():
    stack = noise(5)
    stack[:, 4, 7] = np.nan
    with pytest.raises(FrameError, match=r"1 of 391 pixels .*x=8, y=5"):
        combine_arrays(stack)
    result = combine_arrays(stack, allows_empty=True)
    assert np.isnan(result.image[4, 7])
    assert result.count[4, 7] == 0
    assert result.n_empty == 1
    assert np.isfinite(np.delete(result.image.ravel(), 4 * 23 + 7)).all()


def test_an_image_without_any_value_is_always_refused():
    with pytest.raises(FrameError, match="391 of 391 pixels"):
        combine_arrays(np.full((3, *SHAPE), np.nan, np.float32), allows_empty=True)


def test_rejected_pixels_are_counted_for_the_member_that_had_them():
    stack = noise(12)
    clean = combine_arrays(stack)
    stack[7, 2, 5] += 4000
    stack[7, 11, 0] += 4000
    result = combine_arrays(stack)
    assert result.n_clipped[7] - clean.n_clipped[7] == 2
    assert result.count[2, 5] < 12
    assert (12 * 17 * 23 - result.count.sum()) == result.n_clipped.sum()


# -- the same bits, from files ------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 13, 20])
@pytest.mark.parametrize(
    "recipe", [CombineRecipe(), CombineRecipe("average", None), CombineRecipe("median", None)]
)
def test_bits_do_not_depend_on_threads_or_memory(write, monkeypatch, n, recipe):
    stack = noise(n, (19, 67), hits=9)
    stack[1, 3, 4:9] = np.nan
    members = write(stack)
    whole = combine_arrays(stack, recipe)
    for threads, tile in [(1, 1), (2, 1), (3, 70 * 3 * n * 4), (2, 10**7)]:
        monkeypatch.setattr(combine_job, "TILE_BYTES", tile)
        part = combine(members, recipe, options=CombineOptions(threads))
        for name in ("image", "count", "uncertainty", "n_clipped", "n_invalid"):
            assert getattr(part, name).tobytes() == getattr(whole, name).tobytes(), name


def test_last_tile_of_one_pixel_gives_the_same_bits(monkeypatch):
    stack = noise(30, (1, 65), level=1e6)
    whole = combine_arrays(stack)
    monkeypatch.setattr(combine_job, "TILE_BYTES", 1)
    assert combine_arrays(stack).image.tobytes() == whole.image.tobytes()


def test_every_byte_is_read_once(write, monkeypatch):
    stack = noise(6, (40, 50))
    members = write(stack)
    read = []
    real = member_reader.os.preadv

    def counting(descriptor, buffers, position):
        got = real(descriptor, buffers, position)
        read.append((descriptor, position, got))
        return got

    monkeypatch.setattr(member_reader.os, "preadv", counting)
    monkeypatch.setattr(combine_job, "TILE_BYTES", 5000)
    combine(members)
    assert len(read) > 6
    for descriptor in {d for d, _, _ in read}:
        spans = sorted((p, g) for d, p, g in read if d == descriptor)
        assert spans[0][0] == members[0].offset
        assert all(p + g == q for (p, g), (q, _) in itertools.pairwise(spans))
        assert sum(g for _, g in spans) == 40 * 50 * 4


@pytest.mark.parametrize("n", [17, 18, 31, 64])
def test_many_members_without_scatter_are_clipped_alike(n, write):
    stack = noise(n)
    # Beyond the limit and just within it, on both sides; and pixels that hardly scatter.
    stack[3, ::5] += np.linspace(20, 90, stack.shape[2])
    stack[n - 1, 1::5] -= np.linspace(20, 90, stack.shape[2])
    stack[: n // 2 + 1, 7] = 1000
    stack[2, 9, ::3] = np.nan
    members = write(stack)
    with_scatter, without = (
        combine(members),
        combine(members, options=CombineOptions(uncertainty_source=None)),
    )
    assert without.image.tobytes() == with_scatter.image.tobytes()
    assert without.count.tobytes() == with_scatter.count.tobytes()
    assert without.n_clipped.tolist() == with_scatter.n_clipped.tolist()
    assert min(without.n_clipped[3], without.n_clipped[n - 1]) > 0


def test_members_in_float64_and_a_named_extension(tmp_path):
    stack = noise(5).astype(np.float64) + 1e-9
    members = []
    for index, frame in enumerate(stack):
        path = tmp_path / f"{index}.fits"
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(frame, name="AMP2")]
        fits.HDUList(hdus).writeto(path)
        members.append(member_of_file(path, hdu="AMP2"))
    assert members[0].dtype == ">f8"
    result = combine(members, options=CombineOptions(dtype=np.float64))
    np.testing.assert_array_equal(result.image, combine_by_ccdproc(stack, **GUIDE).data)


def test_more_members_than_open_files_are_allowed(write, monkeypatch):
    stack = noise(7)
    members = write(stack)
    monkeypatch.setattr(member_reader, "MOST_OPEN_FILES", 3)
    assert combine(members).image.tobytes() == combine_arrays(stack).image.tobytes()


def test_sample_holds_the_rows_as_they_were_read(write, monkeypatch):
    stack = noise(4, (41, 33))
    stack[2, 20, 5] = np.nan
    members = write(stack)
    for tile in (1, 10**7):
        monkeypatch.setattr(combine_job, "TILE_BYTES", tile)
        result = combine(members, n_sample_rows=10)
        assert len(result.sample_rows) == 8
        np.testing.assert_array_equal(result.sample, stack[:, result.sample_rows])


@pytest.mark.parametrize("ny", [1, 2, 7, 350, 4128])
def test_sampled_rows_are_spread_and_see_odd_and_even_rows(ny):
    rows = sampled_rows(ny, 2048, 12)
    assert 0 <= rows[0] <= rows[-1] < ny
    assert min(ny, 100) <= len(rows) <= 128
    if ny > 1:
        assert set(rows % 2) == {0, 1}
    # The memory holds 15 rows of a hundred frames, and none of thousands.
    assert min(ny, 15) <= len(sampled_rows(ny, 2048, 100)) <= 16
    assert len(sampled_rows(ny, 2048, 10_000)) == 0


# -- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 150])
def test_memory_stays_below_its_ceiling_whatever_the_number_of_frames(tmp_path, n):
    shape = (128, 256)
    stack = noise(10, shape, hits=3000)  # a tenth of the pixels needs the exact arithmetic
    path = tmp_path / "many.dat"
    stack.astype(">f4").tofile(path)
    size = shape[0] * shape[1]
    members = [Member(path, (k % 10) * size * 4, shape) for k in range(n)]
    ceiling = 4_500_000  # the frames take 1.3 and 20 MB
    combine(members[:2], options=CombineOptions(memory=ceiling), n_sample_rows=4)
    tracemalloc.start()
    result = combine(members, options=CombineOptions(memory=ceiling), n_sample_rows=4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.n_clipped.sum() > 0
    assert size * 10 < peak < ceiling


def test_the_error_on_too_little_memory_names_the_need(write):
    members = write(noise(5))
    with pytest.raises(UserError, match=r"memory.*found 1000.*allowed: (\d+) bytes") as caught:
        combine(members, options=CombineOptions(memory=1000))
    needed = int(str(caught.value).split("allowed: ")[1].split()[0])
    assert combine(members, options=CombineOptions(memory=needed)).image.shape == SHAPE
    with pytest.raises(UserError, match="memory is too small"):
        combine(members, options=CombineOptions(memory=needed - 1))


# -- what cannot be combined --------------------------------------------------------------------


def test_a_truncated_member_is_named(write):
    members = write(noise(4))
    with Path(members[2].path).open("r+b") as file:
        file.truncate(members[2].offset + 500)
    for threads in (1, 2):
        with pytest.raises(FrameError, match=r"red002\.fits: bytes: ends before its pixels do"):
            combine(members, options=CombineOptions(threads))
    with pytest.raises(FrameError, match=r"red002\.fits: .*ends before its pixels do.*found"):
        member_of_file(members[2].path)


def test_an_unexpected_error_in_a_thread_is_not_lost(write, monkeypatch):
    def raise_bug(*args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(tile_workers, "solve_exactly", raise_bug)
    with pytest.raises(ZeroDivisionError):
        combine(write(noise(12, hits=40)), options=CombineOptions(3))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"hello " * 600, "not a FITS file"), (b"SIMPLE  =", "there is no HDU 0")],
)
def test_a_member_without_a_whole_header_is_named(tmp_path, content, reason):
    (tmp_path / "odd.fits").write_bytes(content)
    with pytest.raises(FrameError, match=rf"odd\.fits: cannot be combined: {reason}"):
        member_of_file(tmp_path / "odd.fits")


def test_an_image_that_is_not_of_floats_is_refused(tmp_path):
    whole, cube, scaled = (tmp_path / f"{name}.fits" for name in "abc")
    fits.writeto(whole, np.zeros(SHAPE, np.int16))
    fits.writeto(cube, np.zeros((2, *SHAPE), np.float32))
    for path in (whole, cube):
        with pytest.raises(FrameError, match="not a two-dimensional image of float"):
            member_of_file(path)
    fits.writeto(scaled, np.zeros(SHAPE, np.float32))
    with fits.open(scaled, mode="update") as hdus:
        hdus[0].header["BSCALE"] = 2.0
    with pytest.raises(FrameError, match="BSCALE: cannot be combined: the pixels are scaled"):
        member_of_file(scaled)
    with pytest.raises(FrameError, match="there is no HDU 'AMP9'"):
        member_of_file(whole, hdu="AMP9")
    with pytest.raises(FrameError, match="cannot be combined"):
        member_of_file(tmp_path / "absent.fits")


def test_members_have_to_fit_each_other(write):
    first = write(noise(2))
    other = Member("other.fits", 0, (17, 24))
    with pytest.raises(UserError, match=r"other\.fits: shape: the shape differs .* \(17, 24\)\);"):
        combine([*first, other])
    other = replace(first[0], path="other.fits", dtype=">f8")
    with pytest.raises(UserError, match=r"dtype: the pixel type differs .*'>f8'\); allowed: >f4"):
        combine([*first, other])
    with pytest.raises(UserError, match="nothing to combine"):
        combine([])
    with pytest.raises(UserError, match=r"threads: .*found 0"):
        combine(first, options=CombineOptions(0))
    with pytest.raises(UserError, match="pixel type"):
        combine([Member("a.fits", 0, (17, 24), "<f4")])
    with pytest.raises(FrameError, match=r"absent\.fits: cannot be read: No such file"):
        combine([Member("absent.fits", 0, (17, 24))])


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"method": "mean"}, "method: unknown way to combine .found 'mean'.; allowed: 'average'"),
        ({"clip": 0.5}, "clip: the clipping limit is out of range"),
        ({"clip": float("nan")}, "clip: the clipping limit is out of range"),
        ({"iterations": 0}, "iterations: clipping has to be done"),
    ],
)
def test_the_error_on_a_wrong_recipe_names_the_allowed_values(kwargs, text):
    with pytest.raises(UserError, match=text):
        CombineRecipe(**kwargs)


def test_inputs_are_not_changed():
    stack = noise(6, hits=4)
    before = stack.copy()
    combine_arrays(stack)
    np.testing.assert_array_equal(stack, before)
