"""Injected figures come back within their statistical error, and the right frames are left out."""

import dataclasses
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from ccdflow import simulate
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.moments import clipped_moments
from ccdflow.combine.stack import combine_arrays
from ccdflow.detector.bias_figures import (
    AmplifierValues,
    measure_amplifier,
    measure_disagreement,
    measure_drift,
    measure_member_structure,
    measure_read_noise,
    measure_structure,
)
from ccdflow.detector.bias_warnings import expected_clipped_fraction, is_cut_off, warnings_on_bias
from ccdflow.detector.combined_bias_noise import (
    measure_combined_noise,
    predict_noise,
    variance_ratio,
)
from ccdflow.detector.frame_figures import (
    COARSE_BOXES,
    CleanImage,
    Estimate,
    FrameStatistics,
    frame_statistics,
    scatter_about_row_means,
)
from ccdflow.detector.member_selection import Thresholds, find_unlike_frames, select_members
from ccdflow.errors import UserError

KAST = Path(__file__).parents[3] / "shared" / "data" / "kast_blue_2015"
SHAPE = (96, 130)
PULL = 4.5  # standard errors; the seeds are fixed


def biases(n, *, shape=SHAPE, sigma=4.0, rows=0.0, columns=0.0, hits=20, seed=3, level=0.0):
    """`n` reduced biases: white noise, offsets of rows (each frame its own) and columns (fixed)."""
    rng = np.random.default_rng(seed)
    fixed = level + columns * rng.standard_normal((1, 1, shape[1]))
    stack = fixed + sigma * rng.standard_normal((n, *shape))
    stack += rows * rng.standard_normal((n, shape[0], 1))
    for frame in stack:
        frame.ravel()[rng.integers(0, frame.size, hits)] += rng.exponential(300, hits)
    return stack.astype(np.float32)


def agrees(estimate, truth, pull=PULL):
    assert estimate.error > 0
    assert abs(estimate.value - truth) < pull * estimate.error, (estimate, truth)


# -- scatter ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.9, 2.0, 30.0])
@pytest.mark.parametrize("centre", [0.0, 0.5, 1140.2])
def test_scatter_of_whole_numbers_is_right_where_the_mad_is_not(sigma, centre):
    rng = np.random.default_rng(4)
    values = np.rint(rng.normal(centre, sigma, 50_000)).astype(np.float32)
    mean, scatter = values.mean(dtype=float), values.std(dtype=float)
    values[::500] += 5000
    values[7] = np.nan
    moments = clipped_moments(values)
    assert moments.sigma == pytest.approx(scatter, rel=0.005)
    assert moments.mean == pytest.approx(mean, abs=0.005 * sigma)
    assert 49_850 < moments.count < 49_900


def test_scatter_of_nothing_is_unknown():
    assert np.isnan(clipped_moments(np.full(5, np.nan)).sigma)
    assert clipped_moments(np.full((4, 5), 7.0)).sigma == 0


# -- one frame ----------------------------------------------------------------------------------


def test_figures_of_a_frame_are_those_injected():
    shape = (400, 900)
    image = biases(1, shape=shape, rows=0.7, columns=1.5, level=2.5, hits=400)[0]
    image[:, 0] = np.nan
    stats = frame_statistics(image, overscan=np.full((400, 1), 1140.25))
    assert stats.level == pytest.approx(2.5, abs=0.2)
    assert stats.bias_level == 1140.25
    # neighbouring columns differ by their fixed offsets too
    assert stats.noise == pytest.approx(np.hypot(4, 1.5), rel=0.01)
    assert stats.column_structure == pytest.approx(1.5, rel=0.1)
    assert 0 < stats.bright_fraction < 2e-3
    assert len(stats.box_offsets) == 64


def test_row_structure_is_that_injected():
    """A frame knows it to 9 %, the mean of 200 frames to 0.7 %: without its bias by noise."""
    frames = biases(200, shape=(64, 400), rows=0.7, columns=1.5)
    structures = [frame_statistics(frame).row_structure for frame in frames]
    assert np.mean(structures) == pytest.approx(0.7, rel=0.02)
    # 200 frames give their scatter to 5 %.
    assert np.std(structures) == pytest.approx(0.7 * 0.09, rel=0.1)


def test_coarse_shape_is_row_by_row():
    image = np.zeros((80, 160), np.float32)
    image[70:, :20] = 9
    shape = np.reshape(frame_statistics(image).box_offsets, (8, 8))
    assert np.unravel_index(shape.argmax(), shape.shape) == (7, 0)


def test_a_frame_without_overscan_has_no_bias_level():
    stats = frame_statistics(biases(1)[0])
    assert np.isnan(stats.bias_level)
    figures = dataclasses.asdict(stats)
    assert len(figures) > 5
    assert all(isinstance(value, float | tuple | int) for value in figures.values())


# -- the detector -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 12])
def test_read_noise_comes_back_from_frames_with_structure(n):
    frames = biases(n, rows=1.0, columns=30.0, seed=n)
    frames += np.linspace(0, 5, n, dtype=np.float32)[:, None, None]  # drift
    estimate = measure_read_noise(frames)
    agrees(estimate, 4.0)
    n_pairs = n - 1
    factor = (1 + (n_pairs - 1) / (2 * n_pairs)) / (2 * np.prod(SHAPE) * n_pairs)
    assert estimate.error == pytest.approx(4.0 * np.sqrt(factor), rel=0.03)


@pytest.mark.parametrize("n", [2, 6])
def test_error_of_the_read_noise_is_its_scatter(n):
    """500 seeds give the scatter to 3.2 %; without the correlation the error is wrong by 18 %."""
    seeds = range(500)
    estimates = [measure_read_noise(biases(n, shape=(20, 31), hits=0, seed=s)) for s in seeds]
    values = np.array([e.value for e in estimates])
    error = np.mean([e.error for e in estimates])
    assert values.std(ddof=1) == pytest.approx(error, rel=0.1)
    assert abs(values.mean() - 4) < PULL * error / np.sqrt(len(seeds))


def test_read_noise_needs_a_pair():
    assert np.isnan(measure_read_noise(biases(1)).value)
    assert np.isnan(measure_read_noise(np.full((2, *SHAPE), np.nan, np.float32)).value)


@pytest.mark.parametrize(("rows", "columns"), [(1.0, 0.0), (0.0, 2.0), (0.5, 0.5)])
def test_structure_of_rows_and_columns_comes_back(rows, columns):
    image = biases(1, shape=(300, 431), rows=rows, columns=columns)[0]
    measured = measure_structure(image, 4.0)
    for estimate, truth, (n_means, n_pixels) in (
        (measured.rows, rows, (300, 431)),
        (measured.columns, columns, (431, 300)),
    ):
        variance_error = (truth**2 + 4.0**2 / n_pixels) * np.sqrt(2 / (n_means - 1))
        if truth:
            agrees(estimate, truth)
            assert estimate.error == pytest.approx(variance_error / (2 * truth), rel=0.05)
        else:
            assert estimate.value < 3 * estimate.error
            assert estimate.error == pytest.approx(np.sqrt(variance_error), rel=0.05)


def test_structure_of_members_is_their_mean():
    frames = biases(9, rows=0.8, columns=1.2)
    frames[:, :, 5] += 100  # a hot column is structure
    measured = measure_member_structure(frames, 4.0)
    agrees(measured.rows, 0.8)
    assert measured.columns.value > 100 / np.sqrt(130)


def test_drift_is_followed():
    rng = np.random.default_rng(5)
    hours = np.arange(20) / 2
    levels = 1140 - 0.3 * hours + rng.normal(0, 0.1, 20)
    levels[3], hours[5] = np.nan, np.nan
    trend = measure_drift(levels, hours)
    agrees(trend.slope, -0.3)
    assert trend.level.value == pytest.approx(np.nanmean(levels))
    assert trend.span == pytest.approx(np.nanmax(levels) - np.nanmin(levels))


def test_error_of_the_drift_is_that_of_a_straight_line():
    """Over many series, because a single series gives its scatter to a sixth only."""
    rng = np.random.default_rng(5)
    hours = np.arange(20) / 2
    variances = [
        measure_drift(1140 - 0.3 * hours + rng.normal(0, 0.1, 20), hours).slope.error ** 2
        for _ in range(200)
    ]
    truth = 0.1 / np.sqrt(np.sum((hours - hours.mean()) ** 2))
    assert np.sqrt(np.mean(variances)) == pytest.approx(truth, rel=0.1)


def test_drift_without_times_or_levels_is_unknown():
    assert np.isnan(measure_drift([1140, 1141, 1142]).slope.value)
    assert np.isnan(measure_drift([]).level.value)
    assert measure_drift([1140, 1142], [0, 4]).slope.value == 0.5
    assert np.isnan(measure_drift([1140, 1142], [3, 3]).slope.value)


# -- the combined bias --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "recipe", "truth"),
    [
        (7, CombineRecipe("average", None), 1.0),
        (2, CombineRecipe(), 1.0),
        (3, CombineRecipe("median", None), 3 * 0.448671),
        (5, CombineRecipe("median", None), 5 * 0.286834),
        (101, CombineRecipe("median", None), np.pi / 2),
    ],
)
def test_loss_of_a_recipe_against_known_values(n, recipe, truth):
    """Variances of the median of 3 and 5 normal values: Sarhan & Greenberg's tables."""
    assert variance_ratio(n, recipe) == pytest.approx(truth, rel=0.015)


def test_clipping_costs_little_but_something():
    losses = [variance_ratio(n, CombineRecipe()) for n in (3, 6, 12)]
    assert 1.15 < losses[0] < 1.3
    assert losses[0] > losses[1] > losses[2] > 1.0
    prediction = predict_noise(Estimate(4.0, 0.1), 12)
    assert prediction.value == pytest.approx(4 / np.sqrt(12), rel=0.02)
    assert prediction.error == pytest.approx(prediction.value / 40)
    assert predict_noise(4.0, 4, CombineRecipe("average", None)) == Estimate(2.0, 0.0)


@pytest.mark.parametrize("n", [2, 5, 12])
@pytest.mark.parametrize(
    "recipe", [CombineRecipe(), CombineRecipe("average", None), CombineRecipe("median", None)]
)
def test_noise_of_the_combined_bias_is_that_of_its_pixels(n, recipe):
    pattern = 25 * np.random.default_rng(1).standard_normal(SHAPE)
    frames = (biases(n, seed=n, hits=0) + pattern).astype(np.float32)
    true = np.std(combine_arrays(frames, recipe).image - pattern)
    estimate = measure_combined_noise(frames, recipe)
    # the noise that is there is itself known to 1 / sqrt(2 N), the loss of the recipe to 1 %
    assert abs(estimate.value - true) < PULL * np.hypot(1.5 * estimate.error, 0.01 * true)
    predicted = predict_noise(measure_read_noise(frames), n, recipe).value
    assert estimate.value == pytest.approx(predicted, rel=0.04)


def test_noise_that_does_not_average_out_is_seen():
    """A pattern that differs between even and odd members does not average out."""
    frames = biases(20, hits=0)
    frames[::2] += 3 * np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
    noise, prediction = (
        measure_combined_noise(frames),
        predict_noise(measure_read_noise(biases(20)), 20),
    )
    assert noise.value > 1.3 * prediction.value
    assert np.isnan(measure_combined_noise(frames[:1]).value)


def two_amplifiers():
    left, right = biases(8, sigma=4, columns=1, rows=0.6), biases(8, sigma=7, seed=8)
    stack = np.concatenate([left, right], axis=2)
    rows = np.arange(0, SHAPE[0], 3)
    return dataclasses.replace(combine_arrays(stack), sample=stack[:, rows], sample_rows=rows)


def test_each_amplifier_has_its_own_figures():
    combined = two_amplifiers()
    left = AmplifierValues("left", (0, 96, 0, 130), gain=1.1, read_noise=11.0)
    right = AmplifierValues("right", (0, 96, 130, 260))
    levels, hours = [1140, 1141, 1142], [0, 1, 2]
    first = measure_amplifier(combined, left, levels, hours)
    second = measure_amplifier(combined, right)
    agrees(Estimate(first.read_noise, first.read_noise_error), 4.0)
    agrees(Estimate(second.read_noise, second.read_noise_error), 7.0)
    agrees(Estimate(first.row_structure, first.row_structure_error), 0.6)
    agrees(Estimate(first.column_structure, first.column_structure_error), 1.0)
    assert first.read_noise_electrons == pytest.approx(1.1 * first.read_noise)
    assert first.header_read_noise_electrons == 11.0
    assert np.isnan(second.read_noise_electrons)
    assert first.drift_an_hour == 1.0
    assert first.frames == 8
    assert first.combined_noise == pytest.approx(4 / np.sqrt(8), rel=0.06)
    assert first.root_n_noise == pytest.approx(first.read_noise / np.sqrt(8))
    assert first.predicted_noise > first.root_n_noise
    assert 0 < first.clipped_fraction < 0.02
    row = dataclasses.asdict(first)
    pairs = row.pop("pair_noise")
    assert len(pairs) == 7
    assert np.sqrt(np.mean(np.square(pairs))) == pytest.approx(first.read_noise)
    assert row
    assert all(type(value) in (str, int, float) for value in row.values())


def test_figures_and_strangers_do_not_depend_on_the_number_of_threads(monkeypatch):
    combined, names = two_amplifiers(), set()
    left = AmplifierValues("left", (0, 96, 0, 130), gain=1.1, read_noise=11.0)
    one = measure_amplifier(combined, left, [1140, 1141, 1143], [0, 1, 2])
    sample = combined.sample.copy()
    sample[5] = sample[5][:, ::-1] + np.linspace(0, 60, sample.shape[2], dtype=np.float32)
    strangers = find_unlike_frames(sample)
    assert [each.index for each in strangers] == [5]

    # The first two calls wait for each other, or one thread might take all frames by itself.
    calls, both_begun = itertools.count(), threading.Barrier(2, timeout=60)

    def note_thread(image):
        names.add(threading.current_thread().name)
        if next(calls) < 2:
            both_begun.wait()
        return scatter_about_row_means(image)

    monkeypatch.setattr("ccdflow.detector.bias_figures.scatter_about_row_means", note_thread)
    three = measure_amplifier(combined, left, [1140, 1141, 1143], [0, 1, 2], threads=3)
    assert dataclasses.asdict(three) == dataclasses.asdict(one)
    assert len(names) > 1
    assert find_unlike_frames(sample, threads=3) == strangers


def test_missing_values_raise_the_noise_that_is_predicted_and_are_not_counted_as_clipped():
    stack = biases(8, sigma=4, hits=0, shape=(200, 300))
    stack[np.random.default_rng(1).random(stack.shape) < 0.3] = np.nan
    recipe = CombineRecipe(clip=None)
    rows = np.arange(0, 200, 3)
    combined = dataclasses.replace(
        combine_arrays(stack, recipe, allows_empty=True), sample=stack[:, rows], sample_rows=rows
    )
    figures = measure_amplifier(combined, AmplifierValues("A", (0, 200, 0, 300)))
    scatter = np.nanstd(combined.image)
    assert scatter > 1.15 * 4 / np.sqrt(8)
    assert figures.predicted_noise == pytest.approx(scatter, rel=0.03)
    assert figures.clipped_fraction < 0.003


def test_a_region_outside_is_refused():
    with pytest.raises(UserError, match="region of amplifier A is not inside the image"):
        measure_amplifier(two_amplifiers(), AmplifierValues("A", (0, 96, 130, 261)))


# -- selection ----------------------------------------------------------------------------------


def statistics(stack, levels=None):
    levels = [1140.0] * len(stack) if levels is None else levels
    return [frame_statistics(f, [level]) for f, level in zip(stack, levels, strict=True)]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 20])
@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.7, 4.0, 12.0])
def test_good_frames_are_kept_in_small_groups_and_from_quiet_cameras(n, sigma):
    for seed in range(4):
        stack = biases(n, sigma=sigma, rows=0.25 * sigma, columns=2, hits=5, seed=seed)
        levels = 1140 + np.linspace(0, 3 * sigma, n)
        for frames in (stack, np.rint(stack)):
            selection = select_members(statistics(frames, levels))
            assert selection.kept == tuple(range(n)), selection
            assert selection.agrees, selection.reason


def spoil(frame, how):
    ny, nx = frame.shape
    rng = np.random.default_rng(9)
    if how == "level":
        frame += 12
    elif how == "noise":
        frame += 4 * rng.standard_normal(frame.shape)
    elif how == "fraction of bright pixels":
        frame.ravel()[rng.integers(0, frame.size, frame.size // 50)] += 900
    elif how == "coarse structure":
        frame += np.linspace(-5, 5, nx)
    elif how == "row structure":
        frame += 2.5 * (-1.0) ** np.arange(ny)[:, None]
    elif how == "column structure":
        frame += 4 * np.sin(2 * np.pi * np.arange(nx) * 16 / nx)


@pytest.mark.parametrize("n", [3, 4, 9])
@pytest.mark.parametrize(
    "how",
    [
        "level",
        "noise",
        "fraction of bright pixels",
        "coarse structure",
        "row structure",
        "column structure",
    ],
)
def test_the_odd_frame_is_left_out_and_the_figure_is_named(n, how):
    stack = biases(n, shape=(200, 310), rows=1.0)
    spoil(stack[1], how)
    selection = select_members(statistics(stack))
    assert selection.kept == (0, *range(2, n))
    assert selection.agrees, selection.reason
    (left,) = selection.left_out
    assert (left.index, left.figure) == (1, how)
    assert left.value > left.threshold
    assert how in left.text
    assert f"{left.threshold:.6g}" in left.text


def test_a_bias_level_far_from_the_others_is_left_out():
    selection = select_members(statistics(biases(6), [1140, 1141, 1139, 700, 1140, 1142]))
    assert [(o.index, o.figure) for o in selection.left_out] == [(3, "bias level")]
    assert "below the limit" in selection.left_out[0].text


def test_a_frame_that_cannot_be_measured_is_left_out():
    stack = biases(5)
    stack[2] = np.nan
    selection = select_members(statistics(stack))
    assert [o.index for o in selection.left_out] == [2]
    assert "cannot be measured" in selection.left_out[0].text


@pytest.mark.parametrize("pattern", ["01", "010101", "0011", "000000001111", "00011"])
def test_a_group_of_two_kinds_is_not_combined(pattern):
    stack = biases(len(pattern))
    for frame, kind in zip(stack, pattern, strict=True):
        frame += 20 * int(kind)
    selection = select_members(statistics(stack))
    assert not selection.agrees
    assert "level" in selection.reason


def test_levels_all_over_the_place_are_no_group():
    stack = biases(7) + np.linspace(0, 40, 7, dtype=np.float32)[:, None, None]
    selection = select_members(statistics(stack))
    assert not selection.agrees
    assert "no common level" in selection.reason


def test_a_region_that_is_dead_in_every_frame_hides_nothing():
    stack = biases(6, shape=(160, 240))
    stack[:, :60, :90] = np.nan
    spoil(stack[4], "coarse structure")
    selection = select_members(statistics(stack))
    assert [(o.index, o.figure) for o in selection.left_out] == [(4, "coarse structure")]


def test_thresholds_decide_which_frames_are_left_out():
    stats = statistics(biases(6))
    stats[2] = dataclasses.replace(stats[2], level=stats[2].level + 6)
    assert len(select_members(stats).left_out) == 1
    assert not select_members(stats, Thresholds(level=0.5, subtracted_level=0.5)).left_out
    assert not select_members(stats, Thresholds(sigma=50)).left_out


def test_a_quarter_may_be_left_out_and_no_more():
    stats = statistics(biases(8))
    assert isinstance(stats[0], FrameStatistics)
    for bad in (1, 2, 3):
        stats[bad] = dataclasses.replace(stats[bad], level=30.0 * bad)
        assert select_members(stats).agrees == (bad < 3)
    assert select_members(stats).reason == (
        "3 of 8 frames are unlike the others, allowed 2 (level 30 adu, limit 1.99467 adu)"
    )


def test_nothing_to_select_from():
    with pytest.raises(UserError, match="no frame to select from"):
        select_members([])


# -- the simulated night ------------------------------------------------------------------------


def test_truth_of_the_simulated_camera_comes_back():
    camera = simulate.LFC.scale_by(0.12)
    detector = simulate.draw_guide_detector(camera, seed=5)
    asked = simulate.guide_frames()[:6]
    drawn = [simulate.realise(camera, frame, seed=5) for frame in asked]
    raw = [simulate.render(camera, detector, *pair) for pair in zip(asked, drawn, strict=True)]
    strips = [np.median(r[:, camera.usable_overscan_columns], axis=1, keepdims=True) for r in raw]
    stack = np.array(
        [r[:, camera.data_columns] - s for r, s in zip(raw, strips, strict=True)], np.float32
    )
    selection = select_members([frame_statistics(f, s) for f, s in zip(stack, strips, strict=True)])
    assert selection.agrees, selection.reason
    assert len(selection.kept) == 6
    combined = dataclasses.replace(
        combine_arrays(stack), sample=stack, sample_rows=np.arange(camera.ny)
    )
    levels = [strip.mean() for strip in strips]
    whole = (0, camera.ny, 0, camera.nx)
    quality = measure_amplifier(combined, AmplifierValues("A", whole, camera.gain), levels)
    sigma = np.hypot(camera.read_noise_adu, 1 / np.sqrt(12))
    agrees(Estimate(quality.read_noise, quality.read_noise_error), sigma)
    assert quality.read_noise_electrons == pytest.approx(camera.gain * sigma, rel=0.01)
    # the rest from row to row is the noise of the overscan's own median
    columns = 25
    left = sigma * np.sqrt(variance_ratio(columns, CombineRecipe("median", None)) / columns)
    agrees(Estimate(quality.row_structure, quality.row_structure_error), left)
    pattern = detector.structure.std(ddof=1)
    assert quality.combined_column_structure == pytest.approx(pattern, rel=0.01)
    true_levels = [d.level for d in drawn]
    error = left / np.sqrt(camera.ny)
    np.testing.assert_allclose(levels, true_levels, atol=PULL * error)
    assert quality.level == pytest.approx(np.mean(true_levels), abs=PULL * error / np.sqrt(6))
    assert quality.combined_noise == pytest.approx(quality.predicted_noise, rel=0.02)


# -- a real night -------------------------------------------------------------------------------


def kast(number):
    """One frame of Kast blue, its overscan subtracted as the guide does, and the levels."""
    raw = fits.getdata(KAST / f"b{number}.fits.gz").astype(np.float32)
    left = np.median(raw[:, 2048:2080], axis=1, keepdims=True)
    right = np.median(raw[:, 2080:2112], axis=1, keepdims=True)
    return np.hstack([raw[:, :1024] - left, raw[:, 1024:2048] - right]), np.hstack([left, right])


@pytest.mark.skipif(not KAST.exists(), reason="the real frames of Kast blue are not here")
def test_ten_real_biases_agree_and_a_science_frame_among_them_does_not():
    frames = [kast(number) for number in range(14, 24)]
    stats = [frame_statistics(*frame) for frame in frames]
    selection = select_members(stats)
    assert selection.agrees
    assert len(selection.kept) == 10
    with_science = select_members([*stats, frame_statistics(*kast(24))])
    assert [o.index for o in with_science.left_out] == [10]
    stack = np.array([frame[0] for frame in frames])
    combined = combine_arrays(stack)
    combined = dataclasses.replace(combined, sample=stack, sample_rows=np.arange(350))
    quality = measure_amplifier(combined, AmplifierValues("1", (0, 350, 0, 1024)))
    # independent of the above: the scatter of each pixel over the ten frames
    rows = stack[:, :, :1024] - stack[:, :, :1024].mean(axis=2, keepdims=True)
    expected = np.sqrt(np.median(rows.var(axis=0, ddof=1)) * 9 / 8.343)  # median of chi2, 9 dof
    assert quality.read_noise == pytest.approx(expected, rel=0.01)
    assert quality.combined_noise == pytest.approx(quality.predicted_noise, rel=0.02)


# -- groups that disagree with themselves --------------------------------------------------------


def two_patterns(pattern, n=12, order=None):
    """Half of the biases have a pattern, the other half its mirror image."""
    stack = biases(n)
    order = [number < n / 2 for number in range(n)] if order is None else order
    for frame, first in zip(stack, order, strict=True):
        frame += pattern if first else pattern[:, ::-1]
    return stack


GLOW = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 8, 12.0, 0.0)[None, :].astype(np.float32)


@pytest.mark.parametrize("n", [4, 10, 12])
def test_frames_of_two_kinds_have_no_common_structure(n):
    """With as many frames of each kind, all frames are equally far from the median."""
    selection = select_members(statistics(two_patterns(GLOW, n)))
    assert not selection.agrees
    assert "no common coarse structure" in selection.reason


@pytest.mark.parametrize("alternating", [False, True])
def test_frames_that_differ_from_column_to_column_have_a_warning(alternating):
    """+-3 adu in odd and even columns changes no mean of a box, but the variance of the pixels."""
    pattern = (3 * (-1.0) ** np.arange(SHAPE[1]))[None, :].astype(np.float32)
    order = [bool(number % 2) for number in range(12)] if alternating else None
    frames = two_patterns(pattern, order=order)
    assert select_members(statistics(frames)).agrees
    # The variance of six values of +3 and six of -3, ddof=1; the worst box is a little above it.
    rms = measure_disagreement(frames, 4.0)
    assert 1 < rms / (3 * (12 / 11) ** 0.5) < 1.2
    texts = warnings_on_bias(figures_of(disagreement=rms), CombineRecipe())
    assert len(texts) == 1
    assert texts[0].startswith(f"its frames differ from each other by {rms:.3g} adu (rms)")


@pytest.mark.parametrize("n", [3, 4, 6, 20])
def test_frames_of_noise_and_cosmic_rays_do_not_disagree(n):
    for seed in range(6):
        assert measure_disagreement(biases(n, rows=1.0, columns=2.0, seed=seed), 4.0) == 0


def figures_of(**changes):
    values = {
        "read_noise": 4.0, "combined_noise": 1.2, "combined_noise_error": 0.01, "frames": 12,
        "predicted_noise": 1.2, "clipped_fraction": 0.003, "disagreement": 0.0,
        "cut_off": False,
    }  # fmt: skip
    return {**values, **changes}


def test_a_good_combined_bias_needs_no_remark():
    assert warnings_on_bias(figures_of(), CombineRecipe()) == []
    assert warnings_on_bias(figures_of(combined_noise=1.38), CombineRecipe()) == []
    (text,) = warnings_on_bias(figures_of(combined_noise=1.5), CombineRecipe())
    assert text == "its noise is 1.5 adu, 25 % more than the 1.2 adu that the read noise predicts"


def test_rejections_by_noise_alone_need_no_remark():
    """Two of three values may be close by chance: the third value is rejected then."""
    few = expected_clipped_fraction(3, CombineRecipe())
    assert 0.05 < few < 0.2
    assert expected_clipped_fraction(25, CombineRecipe()) < 0.002
    assert warnings_on_bias(figures_of(frames=3, clipped_fraction=few), CombineRecipe()) == []
    # Noise of 0.4 adu, rounded to whole adu, rejects up to 27 %: more than that gives a warning.
    assert (
        warnings_on_bias(figures_of(clipped_fraction=0.25, read_noise=0.4), CombineRecipe()) == []
    )
    (text,) = warnings_on_bias(figures_of(clipped_fraction=0.5, read_noise=0.4), CombineRecipe())
    assert "50 % of the values were rejected, where noise alone would have" in text
    assert "`bias: {clip: null}` averages all" in text


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.4, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.45])
@pytest.mark.parametrize("rows", [0.0, 0.05])
def test_the_read_noise_of_quiet_cameras_comes_back(sigma, fraction, rows):
    """Most of the whole numbers are equal: values that differ by one are no outliers."""
    rng = np.random.default_rng(11)
    values = np.rint(rng.normal(1000 + fraction, sigma, (12, *SHAPE)))
    truth = values.std()
    stack = values - np.rint(rng.normal(1000, 1, (12, SHAPE[0], 1)) * rows / 0.05) * rows
    estimate = measure_read_noise(stack.astype(np.float32))
    assert estimate.value == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize("along", ["rows", "columns"])
@pytest.mark.parametrize("pixels", [5, 20])
def test_the_noise_of_the_overscan_is_none_of_the_pixels(along, pixels):
    """The level by five overscan pixels of a row, or a column, has 0.56 of their noise."""
    rng = np.random.default_rng(9)
    stack = biases(10)
    shape = (10, SHAPE[0], 1) if along == "rows" else (10, 1, SHAPE[1])
    stack -= rng.normal(0, 4 / pixels**0.5, shape).astype(np.float32)
    combined = combine_arrays(stack)
    combined = dataclasses.replace(combined, sample=stack, sample_rows=np.arange(SHAPE[0]))
    amplifier = AmplifierValues("A", (0, SHAPE[0], 0, SHAPE[1]), along=along)
    figures = measure_amplifier(combined, amplifier)
    assert abs(figures.read_noise - 4) < PULL * figures.read_noise_error
    assert figures.combined_noise == pytest.approx(figures.predicted_noise, rel=0.05)


@pytest.mark.parametrize("shape", [(16, 17), (26, 22)])
def test_small_frames_of_noise_alone_agree(shape):
    """No group of five small frames of white noise is refused, and no frame is left out."""
    rng = np.random.default_rng(1)
    for _ in range(100):
        frames = rng.normal(0, 5, (5, *shape)).round().astype(np.float32)
        selection = select_members([frame_statistics(frame) for frame in frames])
        assert (selection.reason, selection.left_out) == ("", ())


ODD_FRAMES = {
    "level": lambda frame: frame + 5.0,
    "noise": lambda frame: frame * 1.2,
    "gradient": lambda frame: frame + np.linspace(-5, 5, frame.shape[1]),
    "rows": lambda frame: frame + 2 * np.random.default_rng(8).standard_normal((len(frame), 1)),
}


@pytest.mark.parametrize(
    ("size", "kind", "least"),
    [(16, "level", 0.8), (64, "noise", 0.8), (64, "gradient", 0.95), (64, "rows", 0.7)],
)
def test_how_often_an_odd_bias_of_a_small_frame_is_left_out(size, kind, least):
    """Five biases with a noise of 5 adu; docs/calibration.md has the table."""
    rng, hits = np.random.default_rng(size), 0
    for _ in range(20):
        frames = 5 * rng.standard_normal((5, size, size)).astype(np.float32)
        frames[1] = ODD_FRAMES[kind](frames[1])
        selection = select_members([frame_statistics(frame, [1000.0]) for frame in frames])
        hits += selection.agrees and [out.index for out in selection.left_out] == [1]
    assert hits >= least * 20


@pytest.mark.parametrize("shape", [(8, 8), (9, 17), (63, 300), (64, 64), (72, 40), (73, 41)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sums_of_boxes_are_those_of_reduceat_to_the_last_bit(shape, dtype):
    rng = np.random.default_rng(7)
    values = (rng.normal(0, 1, shape) * 10.0 ** rng.integers(-8, 9, shape)).astype(dtype)
    good = rng.random(shape) > 0.1
    values[~good] = 0
    starts = [np.arange(COARSE_BOXES) * size // COARSE_BOXES for size in shape]

    def sums(array):
        return np.add.reduceat(np.add.reduceat(array, starts[0], axis=0), starts[1], axis=1)

    with np.errstate(invalid="ignore"):
        expected = sums(values.astype(np.float64)) / sums(good.astype(np.int32))
    assert np.array_equal(CleanImage(values, good, 0.0).boxes(), expected, equal_nan=True)


def test_pixels_of_more_than_ten_noises_are_bright():
    """A column of 44 adu, and one of 36, of 300 with a noise of 4 adu: one pixel in 300."""
    image = np.random.default_rng(3).normal(0, 4, (400, 300)).astype(np.float32)
    image[:, 100], image[:, 200] = 44, 36
    assert frame_statistics(image).bright_fraction == pytest.approx(1 / 300)


def test_a_structure_that_all_frames_share_is_no_disagreement():
    """A ramp to 500 adu in each frame alike, far beyond the reach of an outlier of 4 adu."""
    ramp = np.linspace(100, 500, SHAPE[1], dtype=np.float32)
    assert measure_disagreement(biases(12, rows=1.0, columns=2.0, seed=2) + ramp, 4.0) == 0
    differing = two_patterns((3 * (-1.0) ** np.arange(SHAPE[1]))[None, :].astype(np.float32))
    expected = measure_disagreement(differing, 4.0)
    assert expected > 3
    assert measure_disagreement(differing + ramp, 4.0) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("masked_rows", [0, 30, 60, 64])
@pytest.mark.parametrize("cut", [True, False])
def test_masked_pixels_do_not_make_a_bias_cut_off(cut, masked_rows):
    """Masked pixels counted as not below 0: with many, each bias near 0 was called cut off."""
    frames = np.random.default_rng(5).normal(2.0, 4.0, (4, 64, 64)).astype(np.float32)
    frames = np.maximum(frames, 0) if cut else frames
    # Every eighth row gives the level.
    frames[:, 64 - masked_rows :] = np.nan
    assert is_cut_off(frames, [0.0] * 4, 4.0) == (cut and masked_rows < 64)
