"""The effect of subtracting an overscan: injected rows, strips and seams, and the warnings."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from small_frames import LFC_LIKE, amplifier, bias_cards, geometry, run_jobs, write_raw

from ccdflow.camera.profiles import load_cameras
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.stack import combine_arrays
from ccdflow.detector.bias_warnings import expected_clipped_fraction, warnings_on_bias
from ccdflow.frame import reduction, strip_samples
from ccdflow.frame.checks import seam_checks, subtraction_checks
from ccdflow.kinds.reducing import frame_warnings
from ccdflow.settings import ROOT

ROW_RECIPE, POLYNOMIAL_RECIPE = ReductionRecipe(), ReductionRecipe(model="polynomial")
NY, NX = 1024, 128


def raw(k, *, seed=1, noise=4.0, drift=0.0, strip_noise=None, light=0.0):
    """A frame with `k` overscan columns at the right, and a drift that both share, adu."""
    rng = np.random.default_rng(seed)
    frame = 1000 + noise * rng.standard_normal((NY, NX + k))
    frame += drift * rng.standard_normal((NY, 1))
    if strip_noise is not None:
        frame[:, NX:] = 1000 + strip_noise * rng.standard_normal((NY, k))
    frame[:, :NX] += rng.poisson(light, (NY, NX)) if light else 0
    return np.rint(frame).astype(np.uint16)


def reduce(frame, recipe, *, amplifiers=None):
    """Return a reduced frame whose overscan is at the right of `NX` columns."""
    k = frame.shape[1] - NX
    a = amplifiers or [amplifier(f"1:{NX},1:{NY}", f"{NX + 1}:{NX + k},1:{NY}")]
    return reduction.reduce_frame({0: (frame, 0)}, geometry(frame.shape, *a), recipe)


def kinds(reduced):
    """Return the kinds of a frame's warnings."""
    return [kind for kind, _ in reduced.warnings]


@pytest.mark.parametrize("k", [5, 9, 15, 25, 49])
def test_the_noise_of_rows_comes_back(k):
    """The median of k columns has pi / 2 k of a pixel's variance, in the long run of k."""
    (rows,) = reduce(raw(k), ROW_RECIPE).row_noises.values()
    assert rows.pixel_noise == pytest.approx(4, rel=0.03)
    assert rows.before == pytest.approx(4 / NX**0.5, rel=0.08)
    # The variance of the median of few normal values is somewhat less than that.
    medians = np.median(np.random.default_rng(2).standard_normal((20000, k)), axis=1).std()
    assert rows.after == pytest.approx(4 * np.hypot(medians, NX**-0.5), rel=0.08)
    assert medians == pytest.approx((np.pi / 2 / k) ** 0.5, rel=0.12)


@pytest.mark.parametrize(
    ("k", "is_warned_of"), [(3, True), (6, True), (10, True), (16, False), (25, False)]
)
def test_subtraction_that_raised_the_noise_of_rows_is_warned_of(k, is_warned_of):
    for seed in range(8):
        reduced = reduce(raw(k, seed=seed), ROW_RECIPE)
        assert kinds(reduced) == [subtraction_checks.ROW_NOISE_GREW] * is_warned_of, seed
        if is_warned_of:
            assert "`reduction: {model: polynomial}`" in reduced.warnings[0][1]
        assert kinds(reduce(raw(k, seed=seed), POLYNOMIAL_RECIPE)) == [], seed


def test_saturated_pixels_are_no_sign_of_too_narrow_a_strip():
    """The noise of such frames is 0: a level a row of any strip would raise it."""
    frame = raw(16)
    frame[:, :NX] = 65535
    assert subtraction_checks.ROW_NOISE_GREW not in kinds(reduce(frame, ROW_RECIPE))


@pytest.mark.parametrize("top", [65535, 16383])
@pytest.mark.parametrize("part", [0.6, 0.9, 0.99])
def test_a_twilight_flat_that_is_mostly_saturated_has_no_fault_of_its_overscan(part, top):
    """Saturated pixels do not follow the rows' drift, and step by the levels of amplifiers."""
    rng = np.random.default_rng(int(100 * part))
    levels = 1000 + np.repeat([0, 40], [64, 64]) + 2 * rng.standard_normal((NY, 1))
    light = np.where(rng.random(NX) < part, 2 * top, 0.8 * top)
    frame = levels + light + 100 * rng.standard_normal((NY, NX))
    strips = levels[:, [0] * 32 + [127] * 32] + 4 * rng.standard_normal((NY, 64))
    frame = np.clip(np.rint(np.hstack([frame, strips])), 0, top).astype(np.uint16)
    amplifiers = [
        amplifier(
            f"{x}:{x + 63},1:{NY}", f"{o}:{o + 31},1:{NY}", name=name, place=f"{x}:{x + 63},1:{NY}"
        )
        for name, x, o in (("A1", 1, NX + 1), ("A2", 65, NX + 33))
    ]
    assert reduce(frame, ROW_RECIPE, amplifiers=amplifiers).warnings == ()


def test_rows_that_drift_with_their_overscan_are_warned_of_where_it_is_smoothed():
    for seed in range(8):
        frame = raw(12, seed=seed, drift=4.0)
        assert kinds(reduce(frame, POLYNOMIAL_RECIPE)) == [subtraction_checks.DRIFT], seed
        assert "`reduction: {model: null}`" in reduce(frame, POLYNOMIAL_RECIPE).warnings[0][1]
        assert kinds(reduce(frame, ROW_RECIPE)) == [], seed


def test_a_smoothed_level_adds_nothing_to_the_rows():
    """Six columns, as EFOSC2: what the rows share is as before, within 1 %."""
    (rows,) = reduce(raw(6, light=50.0), POLYNOMIAL_RECIPE).row_noises.values()
    assert rows.after == pytest.approx(rows.before, rel=0.01)
    assert rows.with_level_per_row > 2.5 * rows.before


def test_a_strip_noisier_than_its_image_is_warned_of():
    assert subtraction_checks.NOISE in kinds(reduce(raw(20, strip_noise=8.0), POLYNOMIAL_RECIPE))
    assert subtraction_checks.NOISE not in kinds(
        reduce(raw(20, strip_noise=5.0), POLYNOMIAL_RECIPE)
    )
    # Light brings noise of its own: the image is noisier than the strip.
    assert kinds(reduce(raw(20, light=9000.0), ROW_RECIPE)) == []


def test_a_strip_of_two_levels_moves_its_level_by_nothing_that_is_known():
    """Three columns 80 adu above three others: all are off, and none tells the right level."""
    frame = raw(6)
    frame[:, NX + 3 :] += 80
    reduced = reduce(frame, POLYNOMIAL_RECIPE)
    (text,) = (text for kind, text in reduced.warnings if kind == subtraction_checks.LIGHT)
    assert "6 of its 6 columns are off by up to 40" in text
    assert "move the level" not in text


@pytest.mark.parametrize("along", ["rows", "columns"])
def test_light_in_a_strip_is_warned_of(along):
    frame = raw(20)
    a = amplifier(f"1:{NX},1:{NY}", f"{NX + 1}:{NX + 20},1:{NY}")
    # Seven of twenty columns hold light that falls off; the median of the row is pulled along.
    frame[:, NX : NX + 7] += np.array([400, 200, 100, 50, 25, 12, 6], dtype=np.uint16)
    if along == "columns":
        frame = np.ascontiguousarray(frame.T)
        a = amplifier(f"1:{NY},1:{NX}", f"1:{NY},{NX + 1}:{NX + 20}", along="columns")
    reduced = reduction.reduce_frame({0: (frame, 0)}, geometry(frame.shape, a), ROW_RECIPE)
    (text,) = (text for kind, text in reduced.warnings if kind == subtraction_checks.LIGHT)
    assert "7 of its 20 columns are off by up to 399.4 adu, where its noise is 4," in text
    moved = float(text.split("move the level by ")[1].split()[0])
    strip = frame[:, NX:] if along == "rows" else frame[NX:].T
    truth = np.mean(np.median(strip, axis=1) - np.median(strip[:, 7:], axis=1))
    assert moved == pytest.approx(truth, abs=0.3)
    # A single hot column does not move the median.
    frame = raw(20)
    frame[:, NX + 11] += 900
    assert subtraction_checks.LIGHT not in kinds(reduce(frame, ROW_RECIPE))
    assert subtraction_checks.LIGHT in kinds(reduce(frame, replace(ROW_RECIPE, statistic="mean")))


def test_the_advice_on_light_in_a_strip_can_be_followed():
    """None of five columns, as of EFOSC2, may be given up to leave a level of two."""
    few = ((5, 3, 1, "the 2 left are too few"), (5, 4, 100, "the one left is too few"))
    enough = (20, 8, 1, "leave them out of")
    without = (20, 20, 1, "the 3 left may be no overscan either: look at `overscan:`, or give")
    for width, lit, step, advice in (*few, enough, without):
        frame = raw(width)
        frame[:, NX : NX + lit] += (400 + step * np.arange(lit)).astype(np.uint16)
        geometry_of = amplifier(f"1:{NX},1:{NY}", f"{NX + 1}:{NX + width},1:{NY}")
        reduced = reduction.reduce_frame(
            {0: (frame, 0)}, geometry(frame.shape, geometry_of), ROW_RECIPE
        )
        (text,) = (text for kind, text in reduced.warnings if kind == subtraction_checks.LIGHT)
        assert advice in text
        warnings = {
            "a.fits": frame_warnings.FrameWarnings("simcam", [(subtraction_checks.LIGHT, text)])
        }
        (line,) = frame_warnings.sentences_on_warnings(warnings)
        assert line.startswith("simcam: a.fits: the overscan holds light")
        assert line.endswith("config/cameras/simcam.yaml")


def two_amplifier_frame(split, *, seam, step, seed=3, light=0.0):
    """A frame of two amplifiers whose levels differ by `step` and meet at `seam`."""
    rng = np.random.default_rng(seed)
    frame = 1000 + 4 * rng.standard_normal((NY, NX + 64))
    frame[:, seam:NX] += step
    frame[:, NX + 32 :] += step
    frame[:, :NX] += light
    rows = f"1:{NY}"
    amplifiers = [
        amplifier(
            f"1:{split},{rows}", f"{NX + 1}:{NX + 32},{rows}", name="A1",
            place=f"1:{split},{rows}",
        ),
        amplifier(
            f"{split + 1}:{NX},{rows}", f"{NX + 33}:{NX + 64},{rows}", name="A2",
            place=f"{split + 1}:{NX},{rows}",
        ),
    ]  # fmt: skip
    return reduce(np.rint(frame).astype(np.uint16), ROW_RECIPE, amplifiers=amplifiers)


@pytest.mark.parametrize("step", [4.5, -4.5, 20.0])
@pytest.mark.parametrize("light", [0.0, 500.0])
def test_a_seam_elsewhere_than_the_split_is_warned_of(step, light):
    reduced = two_amplifier_frame(64, seam=40, step=step, light=light)
    (text,) = (text for kind, text in reduced.warnings if kind == seam_checks.SEAM)
    assert "amplifiers A1 and A2 are split at column 65, and the image steps by" in text
    assert "at column 41:" in text
    image = reduced.images[0].data.astype(float)
    assert image[:, 40:64].mean() - image[:, :40].mean() == pytest.approx(step, abs=0.1)
    assert seam_checks.SEAM not in kinds(two_amplifier_frame(40, seam=40, step=step, light=light))


def test_a_step_of_the_sky_is_no_seam():
    rng = np.random.default_rng(5)
    light = np.where(np.arange(NX) < 90, 100.0, 104.5) + rng.normal(0, 0.1, NX)
    assert seam_checks.SEAM not in kinds(two_amplifier_frame(64, seam=64, step=4.5, light=light))


# -- what a geometry decides -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strips", "along", "wanted"),
    [
        (["65:80,1:200"], "rows", (None, 3)),
        (["65:79,1:200"], "rows", ("polynomial", 3)),
        (["65:72,1:200", "73:80,1:200"], "rows", (None, 3)),
        (["1:64,201:206"], "columns", ("polynomial", 3)),
        (["65:66,1:200"], "frame", (None, 3)),
        ([], "none", (None, 3)),
    ],
)
def test_the_width_of_the_strip_alone_decides(strips, along, wanted):
    where = geometry((206, 80), amplifier("1:64,1:200", strips, along=along))
    recipe = ReductionRecipe(model="auto").for_geometry(where)
    assert (recipe.model, recipe.order) == wanted
    for model in (None, "polynomial", "spline"):
        assert ReductionRecipe(model=model).for_geometry(where).model == model
    assert ReductionRecipe(model="auto", subtract=False).for_geometry(where).model is None


@pytest.mark.parametrize(("ny", "order"), [(8, 0), (20, 1), (40, 2), (200, 3)])
def test_short_strips_get_fewer_orders(ny, order):
    where = geometry((ny, 72), amplifier(f"1:64,1:{ny}", f"65:70,1:{ny}"))
    recipe = ReductionRecipe(model="auto").for_geometry(where)
    assert recipe.order == order
    frame = np.full((ny, 72), 1000, dtype=np.uint16)
    frame[:, :64] += 7
    (image,) = reduction.reduce_frame({0: (frame, 0)}, where, recipe).images
    assert image.data == pytest.approx(7, abs=1e-3)


def profile(strip="66:", **more):
    """Return a profile of the test camera, with further keys."""
    text = LFC_LIKE.format(name="TESTCAM").replace('"[:, 66:]"', f'"[:, {strip}]"')
    return text + "".join(f"{key}: {value}\n" for key, value in more.items())


def write_biases(folder, frames, cards=None):
    """Write raw biases into a folder."""
    for number, frame in enumerate(frames):
        write_raw(folder / "raw" / f"b{number}.fits", (frame, bias_cards(number, **(cards or {}))))


@pytest.mark.parametrize(
    ("more", "config", "model"),
    [
        ({}, "auto", "polynomial"),
        ({}, None, None),
        ({"reduction": "{model: null}"}, "auto", None),
        ({"reduction": "{model: auto}"}, None, "polynomial"),
        ({"reduction": "{model: spline}"}, "auto", "spline"),
    ],
)
def test_profile_before_configuration_before_geometry(more, config, model, tmp_path):
    write_biases(tmp_path, [raw(6)[:300, 64:]])
    run = run_jobs(
        tmp_path / "raw",
        tmp_path / "results",
        {"test": profile(**more)},
        reduction={"model": config},
    )
    (hdu,) = run.open("reduced/b0.fits")
    assert hdu.header.get("OSCMODEL") == model
    assert hdu.header.get("OSCORDER") == (3 if model else None)


def test_faults_of_pixels_stand_in_the_row_and_in_the_last_lines(tmp_path):
    """Three biases by row from six columns, and a frame whose strip has another noise."""
    frames = [raw(25, seed=seed)[:300, 64:] for seed in range(4)]
    flat = raw(25, seed=9, strip_noise=40.0, light=60000.0)[:300, 64:]
    write_biases(tmp_path, frames)
    cards = bias_cards(9, IMAGETYP="FLAT", EXPTIME=5.0)
    write_raw(tmp_path / "raw" / "flat.fits", (np.minimum(flat, 65000), cards))
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": profile()})
    (line,) = (line for line in run.lines if line.startswith("warning:"))
    noise = run.records["reduced/flat.fits"].data["noises"]["A"]
    assert noise == pytest.approx(40, rel=0.03)
    assert line.startswith(f"warning: test: flat.fits: the overscan has a noise of {noise:.4g} adu")
    assert "that of the camera's biases is 4" in line
    rows = run.context.store.rows
    own = line.replace("warning: test: flat.fits: ", "warning: ")
    own = own.replace("config/cameras/test.yaml", "the camera's profile")
    assert rows["flat.fits"].status_and_reason[1] == own
    assert {rows[f"b{i}.fits"].status_and_reason[1] for i in range(4)} == {""}
    assert set(run.records["reduced/b1.fits"].data["rows"]) == {"A"}
    pages = run_jobs(
        tmp_path / "raw", tmp_path / "results", {"test": profile()}, kinds=("page",),
    )  # fmt: skip
    (page,) = (pages.results / "nights").glob("*/report.html")
    text = html.unescape(re.sub("</?code>", "`", page.read_text())).replace("\xa0", " ")
    assert line.removeprefix("warning: ") in text


def test_columns_left_over_are_warned_of(tmp_path):
    frames = [raw(25, seed=seed)[:300, 64:] for seed in range(3)]
    write_biases(tmp_path, frames, {"DATASEC": "[1:64,1:300]"})
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {})
    lines = (line for line in run.lines if line.startswith("warning:"))
    (line,) = (line for line in lines if "longitude" not in line)
    assert "(the first of 3 frames): columns 65 to 89 beside the data are in no overscan" in line
    # Two columns at the edge are bad ones.
    write_biases(tmp_path / "other", frames, {"DATASEC": "[3:89,1:300]"})
    other = run_jobs(tmp_path / "other" / "raw", tmp_path / "other" / "results", {})
    assert other.lines
    assert not any("left over" in line or "in no overscan" in line for line in other.lines)


# -- alarms that were false --------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.4, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("n", [5, 10, 25])
def test_rejections_by_whole_adu_are_no_alarm(sigma, n):
    rng = np.random.default_rng(6)
    recipe = CombineRecipe()
    values = np.rint(rng.normal(rng.random((1, 50, 80)), sigma, (n, 50, 80))).astype(np.float32)
    clipped = 1 - float(combine_arrays(values, recipe).count.mean()) / n
    noise = float(values.std(axis=0).mean())
    assert clipped < expected_clipped_fraction(n, recipe, noise) + 0.02
    figures = {
        "read_noise": noise, "combined_noise": 0.3, "combined_noise_error": 0.1, "frames": n,
        "predicted_noise": 0.3, "clipped_fraction": clipped, "disagreement": 0.0, "cut_off": False,
    }  # fmt: skip
    assert warnings_on_bias(figures, recipe) == []
    assert (
        "values were rejected" in warnings_on_bias({**figures, "clipped_fraction": 0.6}, recipe)[0]
    )


def test_a_mask_beside_an_image_is_no_dead_amplifier(tmp_path):
    frames = [raw(25, seed=seed)[:300, 64:] for seed in range(3)]
    for number, frame in enumerate(frames):
        write_raw(
            tmp_path / "raw" / f"b{number}.fits",
            (None, bias_cards(number, BIASSEC="[65:89,1:300]", TRIMSEC="[1:64,1:300]")),
            (frame, {"EXTNAME": "SCI"}),
            (np.zeros(frame.shape, np.uint8), {"EXTNAME": "BPM"}),
        )
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {})
    assert {r.status for r in run.records.values()} == {"made"}
    assert run.lines
    assert not any("dead" in line for line in run.lines)
    (hdu,) = run.open("reduced/b0.fits")
    expected = frames[0][:, :64] - np.median(frames[0][:, 64:], axis=1, keepdims=True)
    np.testing.assert_array_equal(hdu.data, expected.astype(np.float32))
    assert "BPM: a mask of bad pixels" in run.context.store.rows["b0.fits"].reason


def test_the_profiles_that_come_along_keep_a_level_a_row():
    """The guide's strip has 25 columns; what is narrower says so itself."""
    names = {c.name: dict(c.reduction) for c in load_cameras(ROOT / "config" / "cameras")}
    assert "model" not in names["lfc"]
    assert names["saao_ste3"] == {"model": None}


def test_a_clash_of_profiles_costs_the_frames_it_concerns_only(tmp_path):
    """Two profiles know the same cards; a third camera is reduced, and `size` ends the clash."""
    for name, camera in (("a", "TESTCAM"), ("b", "OTHER")):
        cards = bias_cards(0, name=camera)
        write_raw(tmp_path / "raw" / f"{name}.fits", (raw(25)[:300, 64:], cards))
    cameras = {"one": profile(), "two": profile(), "other": profile().replace("TESTCAM", "OTHER")}
    run = run_jobs(tmp_path / "raw", tmp_path / "results", cameras)
    assert set(run.records) - {"reduced/b.fits"} == {
        product for product in run.records if product.startswith("combined/")
    }
    row = run.context.store.rows["a.fits"]
    assert row.status == "set aside"
    assert "two camera profiles recognise this frame equally well" in row.reason
    cameras["two"] += "size: [89, null]\n"
    run = run_jobs(tmp_path / "raw", tmp_path / "results", cameras)
    assert run.context.store.rows["a.fits"].camera == "two"
    assert run.records["reduced/a.fits"].status == "made"


@pytest.mark.parametrize(
    ("k", "rows", "fewest", "most"),
    [(6, 200, 50, 50), (10, 1000, 50, 50), (16, 60, 0, 3), (16, 1000, 0, 1), (25, 60, 0, 1)],
)
def test_a_strip_of_16_columns_is_wide_enough_and_10_are_not(k, rows, fewest, most):
    rng = np.random.default_rng(k + rows)
    count = 0
    for _ in range(50):
        lines, strip = (np.rint(1000 + 4 * rng.standard_normal((rows, n))) for n in (128, k))
        levels = np.median(strip, axis=1)
        _, warnings = subtraction_checks.judge_sample(
            strip_samples.Sample(lines, levels, levels, strip, 4.0), ROW_RECIPE
        )
        count += subtraction_checks.ROW_NOISE_GREW in [kind for kind, _ in warnings]
    assert fewest <= count <= most


def strip_filled(rows=slice(None), columns=slice(0), *, model=None, value=70_000):
    """The warnings and image of a frame of 120 rows, 25 columns of overscan, filled in part."""
    rng = np.random.default_rng(1)
    frame = 1000 + 5 * rng.standard_normal((120, 325))
    frame[:, :300] += rng.poisson(2000, (120, 300))
    frame[rows, 300:][:, columns] = value
    frame = np.rint(frame).clip(0, 65535).astype(np.uint16)
    one = replace(amplifier("1:300,1:120", "301:325,1:120"), gain=1.0, read_noise=5.0)
    made = reduction.reduce_frame(
        {0: (frame, 0)}, geometry(frame.shape, one), ReductionRecipe(model=model)
    )
    return [text for _, text in made.warnings], made.images[0].data.copy()


@pytest.mark.parametrize("model", [None, "polynomial"])
@pytest.mark.parametrize("count", [3, 12, 15, 25])
def test_saturated_columns_of_an_overscan_are_those_that_are_named(count, model):
    """Good columns are not named, where most are saturated, nor noise and structure."""
    (text,), _ = strip_filled(columns=slice(0, count), model=model)
    assert text.startswith(f"{count} of the 25 columns of the overscan are saturated (65535 adu);")
    assert ("leave them out of `overscan:` in the camera's profile" in text) == (count < 25)
    assert ("none is left: take a wider strip" in text) == (count == 25)


@pytest.mark.parametrize("count", [1, 10, 80])
def test_rows_with_a_saturated_level_are_counted(count):
    """Charge of a bright star runs through the overscan: these rows have the level 65535."""
    (text,), image = strip_filled(slice(20, 20 + count), slice(None))
    assert np.median(image[20]) < -60_000
    assert text.startswith(f"the overscan is saturated (65535 adu) in {count} of its 120 rows, and")
    assert "as many rows of the image have no level: masters of exposed frames leave them" in text
    assert "calibrated frames mask them (bit 4); allowed: a strip without light;" in text
    assert "leave the frame out, or take a strip" in text
    # A fit leaves out a few rows, and not most of them.
    texts, image = strip_filled(slice(20, 20 + count), slice(None), model="polynomial")
    assert (abs(np.median(image) - 2000) < 10) == (texts == []) == (count < 80)
    assert all("the levels of all rows are wrong by it" in text for text in texts)


def test_a_half_saturated_row_and_a_saturated_amplifier_get_no_warning():
    assert strip_filled(slice(20, 30), slice(0, 12))[0] == []
    frame = np.full((120, 325), 65535, np.uint16)
    one = amplifier("1:300,1:120", "301:325,1:120")
    made = reduction.reduce_frame({0: (frame, 0)}, geometry(frame.shape, one), ROW_RECIPE)
    assert (made.flags, list(made.warnings)) == ({"A": "saturated"}, [])


@pytest.mark.parametrize("value", [0, 1000])
def test_rows_that_were_not_read_out_are_counted(value):
    """A file that was filled up after a readout that broke off: level and noise are none."""
    (text,), _ = strip_filled(slice(100, 120), slice(None), value=value)
    assert text.startswith("20 of the 120 rows of the overscan have one value throughout, and no")
    assert "from row 101 on: the readout broke off" in text
    assert "allowed: rows that were read out; look at the raw frame" in text
    # Too few to tell.
    assert strip_filled(slice(100, 103), slice(None), value=value)[0] == []


@pytest.mark.parametrize("noise", [0.29, 0.5])
def test_a_quiet_readout_has_no_empty_rows(noise):
    rng = np.random.default_rng(4)
    for _ in range(5):
        frame = np.rint(1000.3 + noise * rng.standard_normal((4000, 60))).astype(np.uint16)
        one = amplifier("1:50,1:4000", "51:60,1:4000")
        made = reduction.reduce_frame({0: (frame, 0)}, geometry(frame.shape, one), ROW_RECIPE)
        assert subtraction_checks.EMPTY_ROWS not in dict(made.warnings)
