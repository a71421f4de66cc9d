"""The dead time of a shutter: its map, and the correction of frames, on injected truth."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from small_frames import begin, run_jobs
from workflow.stand_ins import use_stand_ins

from ccdflow import simulate
from ccdflow.detector import dead_time
from ccdflow.errors import FrameError
from ccdflow.kinds import CHAIN
from ccdflow.kinds.explaining import product_explanation
from ccdflow.kinds.measuring.shutter import can_measure_shutter
from ccdflow.verify import verdicts

KINDS = tuple(kind.name for kind in CHAIN if "picture" not in kind.name)
MAP = "detector/simcam/2024-03-01/shutter_103x101_1x1.fits"
FLATS = (("g", 3, 0.5), ("g", 2, 1.0), ("g", 3, 4.0))


# -- the map, arrays only --------------------------------------------------------------------------


def series_of(detector, times, *, seed, lamp=0.0005, rate=12_000.0):
    """Take flats and return their cells."""
    rng = np.random.default_rng(seed)
    good, values = detector.defects() == 0, []
    for t in times:
        light = simulate.Sky(rate * (1 + lamp * rng.normal()))
        taken = simulate.expose(detector, "flat", t, rng=rng, filter="g", sky=light)
        values.append(np.where(good, taken.electrons - taken.dark - taken.glow, np.nan))
    sums, count = dead_time.cell_sums(np.array(values), slice(0, detector.shape[0]), detector.shape)
    means = sums / count
    return dead_time.FlatSeries(np.array(times), [means], [means / count], [count])


def true_cells(detector, band="g"):
    """Return the dead time that the cells of a flat have less its mean, and the mean."""
    lit = np.where(detector.defects() == 0, detector.response(band), np.nan)
    whole = slice(0, detector.shape[0])
    light, _ = dead_time.cell_sums(lit[None], whole, detector.shape)
    lost, _ = dead_time.cell_sums((lit * detector.dead_time)[None], whole, detector.shape)
    mean = lost.sum() / light.sum()
    return lost[0] / light[0] - mean, mean


TIMES = [0.5] * 3 + [1.0] * 2 + [4.0] * 2


def test_the_injected_dead_time_returns_within_its_error():
    pulls, errors_of_means, sizes = [], [], []
    for seed in range(12):
        detector = simulate.draw_detector((101, 103), seed=seed, shutter=0.02)
        measured = dead_time.measure_dead_time([series_of(detector, TIMES, seed=seed)])
        truth, mean = true_cells(detector)
        pulls.append((measured.excess[0] - truth) / measured.error[0])
        errors_of_means.append(measured.mean - mean)
        sizes.append(measured.error[0].mean())
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 3 / pulls.size**0.5
    assert pulls.std() == pytest.approx(1, abs=0.1)
    # Twelve lines of seven levels, which scatter by 0.05 %, end within 0.5 ms of the truth.
    assert np.sqrt(np.mean(np.square(errors_of_means))) == pytest.approx(4.9e-4, rel=0.02)
    assert np.mean(sizes) == pytest.approx(2.68e-4, rel=0.02)


def test_the_error_of_the_mean_dead_time_has_as_many_degrees_of_freedom_as_its_flats():
    """Seven flats less their three exposures: pulls are those of Student's t of 4 degrees."""
    rng, pulls = np.random.default_rng(1), []
    times = np.array(TIMES)
    for _ in range(1500):
        light = 12_000 * (times - 0.02) * (1 + 0.0005 * rng.normal(size=times.size))
        means = light[:, None, None]
        flats = dead_time.FlatSeries(times, [means], [means / 1e4], [np.full((1, 1), 1e4)])
        measured = dead_time.measure_dead_time([flats])
        pulls.append(abs(measured.mean - 0.02) / measured.mean_error)
    # Half of them are below 0.741, nine in ten below 2.132.
    assert np.median(pulls) == pytest.approx(0.741, rel=0.06)
    assert np.mean(np.array(pulls) < 2.132) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("n_lights", [1, 2, 3])
def test_the_error_of_a_mean_dead_time_of_several_lights_is_its_scatter(n_lights):
    """Of two lights it was 18 % too small, of three 27 %: flats that agree by chance weighed more.

    The mean of the squared errors is the squared scatter.
    """
    rng, errors, deviations = np.random.default_rng(2), [], []
    times = np.array(TIMES)
    for _ in range(1500):
        series = []
        for _ in range(n_lights):
            light = 12_000 * (times - 0.02) * (1 + 0.0005 * rng.normal(size=times.size))
            means = light[:, None, None]
            series.append(
                dead_time.FlatSeries(times, [means], [means / 1e4], [np.full((1, 1), 1e4)])
            )
        measured = dead_time.measure_dead_time(series)
        errors.append(measured.mean_error)
        deviations.append(measured.mean - 0.02)
    scatter = np.std(deviations)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(scatter, rel=0.13)
    assert abs(np.mean(deviations)) < 3 * scatter / 1500**0.5


def test_the_error_of_a_dead_time_that_is_long_beside_the_exposure_is_its_scatter():
    """With a dead time of 0.2 s of 0.5 s, intercept and slope of a cell's line are correlated."""
    times = np.array(TIMES)
    truth = np.where(np.arange(4000) % 2, 0.2, -0.2)
    light = 1e5 * (times[:, None] - truth)
    noise = np.random.default_rng(4).normal(0, 1, light.shape)
    means, variances = (light + noise * light**0.5)[:, None], light[:, None]
    flats = dead_time.FlatSeries(times, [means], [variances], [np.full((1, truth.size), 100.0)])
    measured = dead_time.measure_dead_time([flats])
    pulls = (measured.excess[0][0] + measured.mean - truth) / measured.error[0][0]
    assert pulls[truth > 0].std() == pytest.approx(1, abs=0.06)
    assert pulls[truth < 0].std() == pytest.approx(1, abs=0.06)


def test_two_flats_give_the_error_of_their_variances():
    """The line has no residuals: 1 s and 4 s of 1e4 adu a second, each known to 100 adu."""
    means = np.array([1e4, 4e4])[:, None, None] * np.ones((2, 1, 3))
    flats = dead_time.FlatSeries(
        np.array([1.0, 4.0]), [means], [np.full((2, 1, 3), 1e4)], [np.ones((1, 3))]
    )
    measured = dead_time.measure_dead_time([flats])
    # A change of 100 adu at 1 s shifts the end of the line by 4/3 of it, one at 4 s by 1/3.
    assert measured.error[0] == pytest.approx(np.full((1, 3), np.hypot(4, 1) / 300), rel=1e-6)
    assert measured.excess[0] == pytest.approx(0, abs=1e-9)


def test_an_image_smaller_than_a_cell_has_the_value_of_its_cell():
    assert (dead_time.interpolate_cells(np.array([[0.25]]), (5, 7)) == 0.25).all()
    rows = dead_time.interpolate_cells(np.array([[0.25], [0.75]]), (32, 7))
    assert rows.shape == (32, 7)
    assert rows[[7, 8, 23, 24]].mean() == pytest.approx(0.5)


def test_a_lamp_that_drifts_changes_no_map_and_tells_no_mean():
    detector = simulate.draw_detector((101, 103), seed=3, shutter=0.02)
    truth, _ = true_cells(detector)
    pulls = []
    for seed in range(8):
        wild = dead_time.measure_dead_time([series_of(detector, TIMES, seed=seed, lamp=0.1)])
        pulls.append((wild.excess[0] - truth) / wild.error[0])
        assert np.isnan(wild.mean)
    assert np.std(pulls) == pytest.approx(1, abs=0.1)


def test_filters_tell_of_one_shutter_together():
    detector = simulate.draw_detector((101, 103), seed=3, shutter=0.02)
    one = series_of(detector, TIMES, seed=5)
    two = series_of(detector, TIMES, seed=6)
    alone, both = (dead_time.measure_dead_time(each) for each in ([one], [one, two]))
    ratio = both.error[0] / alone.error[0]
    assert np.median(ratio) == pytest.approx(2**-0.5, rel=0.1)


def test_the_scatter_of_the_flats_decides_on_errors_not_the_gain_assumed():
    detector = simulate.draw_detector((101, 103), seed=3, shutter=0.02)
    one = series_of(detector, TIMES, seed=5)
    wrong = dead_time.FlatSeries(one.seconds, one.means, [4 * one.variances[0]], one.counts)
    right, other = (dead_time.measure_dead_time([each]) for each in (one, wrong))
    np.testing.assert_allclose(other.error[0], right.error[0], rtol=1e-9)
    assert other.reduced_chi2 == pytest.approx(right.reduced_chi2 / 4)


def test_a_map_on_cells_gives_back_the_dead_time_of_pixels():
    """A parabola on cells, back on pixels; and the factor, worked out by hand for two exposures."""
    y, x = np.indices((101, 103))
    dead = 0.02 * ((y - 50) ** 2 + (x - 51) ** 2) / 5101
    cells = dead_time.cell_sums(dead[None], slice(0, 101), (101, 103))
    mean = dead.mean()
    excess = cells[0][0] / cells[1] - mean
    back = dead_time.interpolate_cells(excess, (101, 103)) + mean
    assert np.abs(back - dead).max() < 1e-3
    error = np.full(excess.shape, 1e-4)
    factor, variance = dead_time.shutter_factor(excess, error, mean, 0.5, [1.0, 4.0], (101, 103))
    flat = ((1 - back) / (1 - mean) + (4 - back) / (4 - mean)) / 2
    np.testing.assert_allclose(factor, flat / ((0.5 - back) / 0.5), rtol=1e-6)
    slope = 1 / (0.5 - mean) - (1 / (1 - mean) + 1 / (4 - mean)) / 2
    np.testing.assert_allclose(variance, (1e-4 * slope) ** 2, rtol=1e-5)
    # Without the mean, the frame keeps its own.
    factor, _ = dead_time.shutter_factor(excess, error, np.nan, 0.5, [4.0], (101, 103))
    np.testing.assert_allclose(
        factor, (1 - (back - mean) / 4) / (1 - (back - mean) / 0.5), rtol=1e-6
    )
    for seconds, least, noun in ((0.01, 4.0, "the frame"), (1.0, 0.01, "a flat")):
        words = rf"EXPTIME: the exposure of {noun} is no longer than the dead time.*\(found 0\.01\)"
        with pytest.raises(FrameError, match=words + rf".*leave the {noun.split()[1]} out"):
            dead_time.shutter_factor(excess, error, mean, seconds, [4.0, least], (101, 103))


def test_a_cell_without_good_pixels_takes_its_neighbours():
    cells = np.array([[1.0, np.nan, 1.0], [1.0, 1.0, 1.0]])
    assert (dead_time.interpolate_cells(cells, (32, 48)) == 1).all()


# -- the workflow ----------------------------------------------------------------------------------


def take(tmp_path, flats=FLATS):
    detector = simulate.draw_detector(
        (101, 103), seed=1, shutter=0.05, faults=simulate.FaultCounts(traps=0, filling=0)
    )
    return small_chain.make(
        tmp_path / "raw", detector=detector, flats=flats, flat_level=40_000.0, lamp_drift=0.0005,
        science=(("g", 0.7, 2),), sky=20_000.0, stars=0,
    )  # fmt: skip


def run(tmp_path, profile, results="results"):
    with pytest.MonkeyPatch.context() as patch:
        # Pictures take no time: no test here looks at one.
        use_stand_ins(patch)
        return run_jobs(
            tmp_path / "raw", tmp_path / results, {"simcam": profile}, kinds=KINDS, detector={}
        )


def products_to_make(tmp_path, profile):
    session = begin(tmp_path / "raw", tmp_path / "results", {"simcam": profile}, detector={})
    products = {job.product for job in session.plan.jobs.values() if job.kind in KINDS}
    session.lock.close()
    return products


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night without a word on the shutter, and its run: (folder, chain, run)."""
    top = tmp_path_factory.mktemp("plain")
    chain = take(top)
    return top, chain, run(top, chain.profile)


def copy_of(night, tmp_path):
    """Return a copy of the night and of its run: (chain, run)."""
    top, chain, done = night
    shutil.copytree(top, tmp_path, dirs_exist_ok=True)
    return chain, replace(done, results=tmp_path / "results")


def test_frames_are_corrected_where_the_profile_asks_and_have_a_sentence_elsewhere(night, tmp_path):
    chain, done = copy_of(night, tmp_path)
    perfect, good = chain.perfect("science_g1.fits"), chain.good_pixels("science_g1.fits")
    explanation = product_explanation.explain_product(done.results, MAP)
    assert explanation[0].startswith(f"{MAP}: dead time of the shutter over the image")
    assert explanation[1:3] == ["  night    2024-03-01", "  flats    of 0.5 to 4.0 s"]
    with fits.open(done.results / MAP) as hdus:
        truth, mean = true_cells(chain.detector)
        pulls = (hdus["EXCESS"].data - truth) / hdus["ERROR"].data
        header = hdus[0].header
    # The pulls of 36 cells scatter by 1, known to 12 %.
    assert pulls.std() == pytest.approx(1, abs=0.25)
    assert 0.0004 < header["SHUTMERR"] < 0.0007
    assert abs(header["SHUTMEAN"] - mean) < 4 * header["SHUTMERR"]
    (line,) = [line for line in done.lines if line.startswith("shutter:")]
    assert line.startswith(
        "shutter: simcam of 2024-03-01: 2 frames of its night, of 0.7 s, would be off by up to"
    )
    assert line.endswith("`shutter: measured` in the camera's profile corrects them")
    uncorrected = done.open(FRAMES[0])
    assert not {"SHUTCOR", "SHUTKEY", "SHUTMEAN"} & set(uncorrected[0].header)
    key = done.records[MAP].key

    profile = chain.profile + "shutter: measured\n"
    remade = products_to_make(tmp_path, profile)
    assert remade == {*FRAMES, NIGHT}
    done = run(tmp_path, profile)
    assert verify_first_frame(tmp_path) == ("verified", "")
    sound = (done.results / MAP).read_bytes()
    with fits.open(done.results / MAP, mode="update") as hdus:
        hdus["EXCESS"].data[2, 3] += 0.001
    assert verify_first_frame(tmp_path)[0] == "differs"
    (done.results / MAP).write_bytes(sound)
    assert not [line for line in done.lines if line.startswith("shutter:")]
    hdus = done.open(FRAMES[0])
    assert (hdus[0].header["SHUTCOR"], hdus[0].header["SHUTKEY"]) == (MAP, key)
    assert hdus[0].header["SHUTMEAN"] == header["SHUTMEAN"]
    assert products_to_make(tmp_path, profile) == set()

    y, x = np.indices(good.shape)
    corner = np.hypot(y - 50, x - 51) > 60
    ratios = [image[0].data / perfect for image in (uncorrected, hdus)]
    off = [r[good & corner].mean() / r[good & ~corner].mean() - 1 for r in ratios]
    assert off[0] < -0.03
    assert abs(off[1]) < 0.0015
    assert ratios[1][good].mean() == pytest.approx(1, abs=0.0015)
    pull = (hdus[0].data - perfect)[good] / hdus["UNCERT"].data[good]
    assert pull.std() == pytest.approx(1, abs=0.04)


FRAMES = ("calibrated/science_g1.fits", "calibrated/science_g2.fits")
NIGHT = "nights/2024-03-01/report.html"


def test_without_a_map_the_frame_is_made_with_a_sentence(tmp_path):
    chain = take(tmp_path, flats=(("g", 4, 1.0),))
    done = run(tmp_path, chain.profile + "shutter: measured\n")
    assert MAP not in done.records
    header = done.open(FRAMES[0])[0].header
    assert "SHUTCOR" not in header
    assert any("shutter not corrected: no flats of several" in line for line in header["HISTORY"])


def test_a_flat_that_changes_makes_the_map_and_its_frames_again(night, tmp_path):
    chain, _ = copy_of(night, tmp_path)
    profile = chain.profile + "shutter: measured\n"
    done = run(tmp_path, profile)
    before = (done.results / MAP).read_bytes()
    assert products_to_make(tmp_path, profile) == set()
    (done.results / MAP).unlink()
    assert products_to_make(tmp_path, profile) == {MAP}
    assert run(tmp_path, profile).records.keys() == {MAP}
    assert (done.results / MAP).read_bytes() == before
    path = tmp_path / "raw/flat_g0.5_1.fits"
    with fits.open(path) as hdus:
        hdus[0].data[50:60, 50:60] += 1
        hdus.writeto(path, overwrite=True)
    remade = products_to_make(tmp_path, profile)
    flat = "combined/2024-03-01/flat_simcam_103x101_1x1_g.fits"
    pixels = "detector/simcam/2024-03-01/pixels_103x101_1x1.fits"
    epoch = "detector/simcam/bad_pixels_all_103x101_1x1.fits"
    assert remade == {
        "reduced/flat_g0.5_1.fits", flat, pixels, MAP, epoch, "detector.csv", "events.csv",
        "flat_quality.csv", "associations.csv", *FRAMES, NIGHT, "report.html",
    }  # fmt: skip
    again, fresh = run(tmp_path, profile), run(tmp_path, profile, results="fresh")
    for name in (MAP, *FRAMES):
        assert (again.results / name).read_bytes() == (fresh.results / name).read_bytes()


def verify_first_frame(folder):
    verdict = verdicts.verify(FRAMES[0], raw=folder / "raw", results=folder / "results")
    return verdict.verdict, verdict.reason


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((0.5, 0.5, 4.0, 4.0), True),
        ((1.0, 1.5, 2.25, 3.4), True),
        ((15.0,) * 11 + (30.0,), False),
        ((0.5, 4.0, 4.0, 4.0), False),
        ((3.3, 3.8, 4.4), True),
        ((20.0, 90.0, 90.0, 120.0), False),
        ((0.5, 0.5, math.nan, 4.0, 4.0), False),
    ],
)
def test_no_map_rests_on_one_flat(seconds, expected):
    assert can_measure_shutter(seconds) is expected


def test_flats_that_follow_no_line_make_no_map(tmp_path):
    """Light moves in the image from flat to flat, as of a lamp: no shutter causes this."""
    chain = take(tmp_path)
    for number, path in enumerate(sorted((tmp_path / "raw").glob("flat_*.fits"))):
        with fits.open(path) as hdus:
            level = np.median(hdus[0].data)
            pixels = hdus[0].data.astype(float)
            pixels[:, 20:50] += (level - 1000) * 0.01 * (number % 3)
            hdus[0].data = pixels.astype(hdus[0].data.dtype)
            hdus.writeto(path, overwrite=True)
    done = run(tmp_path, chain.profile)
    record = done.records[MAP]
    assert record.status == "refused"
    assert "times the variance of noise (allowed: 4)" in record.reason
    assert done.lines
    assert not [line for line in done.lines if line.startswith("shutter:")]
