"""Nights with frames that are odd in one way: each is a line with a remedy, and costs no other."""

import re
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from camera_headers import header, profile
from chain_runs import BIAS, DARKS, FEW_FRAMES, FLATS, KINDS, edit, row_of, run, take
from small_frames import run_jobs

from ccdflow import simulate
from ccdflow.detector.frame_figures import frame_statistics
from ccdflow.kinds.explaining import product_explanation
from ccdflow.run import job_records
from ccdflow.verify import verdicts

SCIENCE = "calibrated/science_g1.fits"
# One of each step, for nights of two cameras.
FEWEST_FRAMES = {
    "biases": 3, "darks": ((60.0, 3),), "flats": (("g", 3),), "science": (("g", 60.0, 1),),
}  # fmt: skip


def test_pixels_without_a_value_are_counted_and_masked_and_copies_are_named(tmp_path):
    """A science frame of floating point, and one that lies there under two names."""
    chain = take(tmp_path, **FEW_FRAMES)
    path = tmp_path / "raw" / "science_g1.fits"
    with fits.open(path) as hdus:
        data, cards = hdus[0].data.astype(np.float32), hdus[0].header.copy()
    data[20:30, 30:40], data[40, 70] = np.nan, np.inf
    fits.writeto(path, data, cards, overwrite=True)
    shutil.copy(tmp_path / "raw" / "science_r1.fits", tmp_path / "raw" / "second.fits")
    shutil.copy(tmp_path / "raw" / "bias1.fits", tmp_path / "raw" / "zero.fits")
    done = run(tmp_path, chain)
    hdus = done.open(SCIENCE)
    lost = ~np.isfinite(hdus[0].data)
    assert lost.sum() == 101
    assert (hdus["MASK"].data[lost] & 2 == 2).all()
    assert np.isfinite(hdus["UNCERT"].data[~lost]).all()
    reason = row_of(done, "science_g1.fits").reason
    assert "warning: amplifier A: 100 of its 5252 pixels are not finite (NaN or infinite)" in reason
    (line,) = (line for line in done.lines if line.startswith("warning: simcam: science_g1.fits"))
    assert "allowed: numbers" in line
    assert "look at the raw frame" in line
    same = "the same frame as science_r1.fits: use one of the two"
    assert row_of(done, "second.fits").reason == same
    assert row_of(done, "science_r1.fits").reason == ""
    assert row_of(done, "zero.fits").reason == "the same frame as bias1.fits: combined once"
    assert done.records[BIAS].data["members"] == [f"bias{n}.fits" for n in (1, 2, 3)]


def test_a_dark_of_a_sensor_10_degrees_warmer_is_left_out(tmp_path):
    """The set point is that of the others: the cooler failed."""
    chain = take(tmp_path, **FEW_FRAMES)
    take(tmp_path, folder="warm", **FEW_FRAMES, dark_temperature=-90.0)
    for path in (tmp_path / "raw" / "warm").glob("*.fits"):
        if path.name == "dark60_1.fits":
            edit(path, **{"SET-TEMP": -100.0})
        else:
            path.unlink()
    done = run(tmp_path, chain)
    assert done.records[DARKS[60]].data["members"] == [f"dark60_{n}.fits" for n in (1, 2, 3)]
    (line,) = (line for line in done.lines if "warm/dark60_1.fits" in line)
    assert "its temperature is -90 C, further than 0.5 C from that of the group, -100 C" in line
    assert done.records[SCIENCE].data["grade"] == "A"


def test_two_cameras_in_one_night_share_nothing(tmp_path):
    chain = take(tmp_path, folder="one", **FEWEST_FRAMES)
    other = take(
        tmp_path, folder="two", detector=simulate.draw_detector((101, 103), seed=5), **FEWEST_FRAMES
    )
    for path in (tmp_path / "raw" / "two").glob("*.fits"):
        edit(path, INSTRUME="OTHERCAM")
    profiles = {"simcam": chain.profile, "other": other.profile.replace('"SIMCAM"', "OTHERCAM")}
    done = run_jobs(tmp_path / "raw", tmp_path / "results", profiles, kinds=KINDS)
    for product, record in done.records.items():
        folder = "two" if "other" in product else "one"
        if record.kind in ("bias", "dark", "flat"):
            assert record.status == job_records.MADE
            assert {member.split("/")[0] for member in record.data["members"]} == {folder}
    for folder, name in (("one", "simcam"), ("two", "other")):
        cards = done.open(f"calibrated/{folder}/science_g1.fits")[0].header
        assert {name in cards[keyword] for keyword in ("BIASIM", "DARKIM", "FLATIM")} == {True}


def test_flats_that_are_too_few_name_those_that_were_left_out(tmp_path):
    """One is saturated in a tenth of its pixels."""
    chain = take(tmp_path, **FEW_FRAMES)
    with fits.open(tmp_path / "raw" / "flat_g2.fits", mode="update") as hdus:
        hdus[0].data[:12, :103] = 65535
    done = run(tmp_path, chain)
    assert done.records[FLATS["g"]].status == job_records.REFUSED
    lines = [line for line in done.lines if FLATS["g"] in line and line.startswith("no combined")]
    assert lines == [
        f"no combined flat: {FLATS['g']}: 2 of 3 frames, fewer than the minimum of 3; take 1 more,"
        " or add flat='{minimum: 2}' to --config"
    ]
    (line,) = (line for line in done.lines if line.startswith("left out of its combined flat"))
    assert "flat_g2.fits: its saturated fraction is 0.117647" in line
    assert "above the limit of 0.05" in line
    assert done.records[SCIENCE].data["grade"] == "C"


def test_a_dark_and_a_flat_without_values_are_reported_as_such(tmp_path):
    """Not as saturated: the dark is NaN in a part, the flat in another, which is full beside."""
    chain = take(tmp_path, **FEW_FRAMES)
    for name, rows, full in (("dark60_2", 6, 0), ("flat_g2", 8, 4)):
        path = chain.raw / f"{name}.fits"
        with fits.open(path) as hdus:
            data, cards = hdus[0].data.astype(np.float32), hdus[0].header.copy()
        data[:rows, :103], data[rows : rows + full, :103] = np.nan, 65535
        fits.writeto(path, data, cards, overwrite=True)
    done = run(tmp_path, chain)
    lines = " ".join(line for line in done.lines if line.startswith("left out of its combined"))
    none = "fraction of pixels that are not finite (NaN or infinite)"
    about = rf"dark60_2.fits: amplifier A: its {re.escape(none)} is 0.0[56]\d*, above the limit"
    assert re.search(about, lines)
    assert f"flat_g2.fits: its {none} or saturated is 0.103084, above the limit of 0.05" in lines


def test_a_flat_of_slightly_another_shape_is_reported_and_combined(tmp_path):
    """By 1 % rms and more it would be left out."""
    chain = take(tmp_path, **{**FEW_FRAMES, "flats": (("g", 5), ("r", 3))})
    y = np.linspace(-1, 1, 101)[:, None]
    with fits.open(chain.raw / "flat_g2.fits", mode="update") as hdus:
        raw = hdus[0].data[:, :103].astype(float)
        hdus[0].data[:, :103] = 1000 + (raw - 1000) * (1 + 0.013 * np.sin(5 * y))
    done = run(tmp_path, chain)
    flat = FLATS["g"]
    assert "flat_g2.fits" in done.records[flat].data["members"]
    (line,) = (line for line in done.lines if "the shape of" in line)
    assert re.search(r"the shape of flat_g2.fits differs by (0\.[89]\d*|1) % from that", line)
    assert "another filter than its card says, or another light: look at it" in line
    explanation = product_explanation.explain_product(done.results, flat)
    (warning,) = (line for line in explanation if line.startswith("  warning"))
    assert warning.removeprefix("  warning  ") in line
    verdict = verdicts.verify(flat, raw=chain.raw, results=done.results, compares_all_rows=True)
    assert (verdict.verdict, verdict.reason) == ("verified", ""), verdict.reason


def test_frames_calibrated_without_a_flat_have_no_warning_of_stars(tmp_path):
    """Flats are divided by none, and science frames by none if the configuration says so."""
    chain = take(tmp_path, **FEWEST_FRAMES, sky=40.0)
    steps = {"types": ["flat", "science"], "steps": ["bias", "dark"]}
    done = run(tmp_path, chain, calibrate=steps)
    assert done.records["calibrated/flat_g1.fits"].status == job_records.MADE
    (line,) = (line for line in done.lines if "that UNCERT predicts" in line)
    assert "the noise of 1 calibrated frame (g)" in line
    assert line.endswith("no flat was divided: the response of the pixels is in it")


def test_a_gain_missing_of_one_amplifier_leaves_no_seam_and_is_reported(tmp_path):
    chain = take(tmp_path, **FEW_FRAMES)
    text = chain.profile.replace("gain: 1.2\n", "gain: {keyword: GAIN9}\n")
    for path in (tmp_path / "raw").glob("*.fits"):
        edit(path, GAIN9=0.0)
    done = run(tmp_path, chain, text)
    hdus = done.open(SCIENCE)
    assert hdus[0].header["BUNIT"] == "adu"
    assert "GAIN01" not in hdus[0].header
    ratio = hdus[0].data / chain.perfect("science_g1.fits", unit="adu")
    good = chain.good_pixels("science_g1.fits") & (hdus["MASK"].data == 0)
    left, right = (np.median(ratio[:, part][good[:, part]]) for part in (np.s_[:52], np.s_[52:]))
    assert left == pytest.approx(right, rel=0.02)
    (line,) = (line for line in done.lines if "gain: none is known" in line)
    assert "of amplifier A (found B 1.55 e-/adu, allowed: a gain of each amplifier or" in line
    assert "calibrated frames stay in adu until" in line


def test_a_gain_that_half_of_a_night_lacks_is_reported_and_the_remedy_works(tmp_path):
    """Science frames without GAIN take no master of frames with it, until the user says so."""
    chain = take(tmp_path, **FEWEST_FRAMES)
    for path in (tmp_path / "raw").glob("*.fits"):
        if not path.name.startswith("science"):
            edit(path, GAIN=1.2)
    done = run(tmp_path, chain)
    assert done.records[SCIENCE].data["grade"] == "C"
    (line,) = (line for line in done.lines if line.startswith("warning: simcam: science_g1.fits"))
    assert "no gain in its header, as in 1 of the 10 frames of its night; the others" in line
    assert "have 1.2: frames with and without it share no masters" in line
    assert "leave gain out of `group_by:` of bias, dark and flat in config/config.yaml" in line
    assert "warning: no gain in its header" in row_of(done, "science_g1.fits").reason
    for path in (tmp_path / "raw").glob("*.fits"):
        if path.name not in ("bias1.fits", "science_g1.fits"):
            edit(path, GAIN=None)
    done = run(tmp_path, chain)
    (line,) = (line for line in done.lines if line.startswith("warning: simcam: bias1.fits"))
    assert "a gain in its header, which 9 of the 10 frames of its night lack: frames with" in line
    by = {"group_by": ["night", "ccdsum", "window", "readmode"]}
    done = run(tmp_path, chain, bias=by, dark=by, flat=by)
    assert done.records[SCIENCE].data["grade"] == "A"
    assert not any("no gain in its header" in line for line in done.lines)


@pytest.mark.parametrize("gain", [0.0, "unknown", -1.0])
def test_a_card_without_a_gain_is_none(tmp_path, gain):
    camera = profile(
        tmp_path,
        "recognise: {INSTRUME: PROBE}\namplifiers:\n"
        '  - {name: A, data: {python: "[:, :10]"}, gain: {keyword: GAIN9}}\n'
        '  - {name: B, data: {python: "[:, 10:]"}, gain: 2}\n',
    )
    frame_geometry = camera.geometry([header(20, 9, INSTRUME="PROBE", GAIN9=gain)], file="a.fits")
    assert [amplifier.gain for amplifier in frame_geometry.amplifiers] == [None, 2]
    assert frame_geometry.notes[0].table_text.startswith(
        "warning: gain: none is known of amplifier A (found B 2 e-"
    )
    known = camera.geometry([header(20, 9, INSTRUME="PROBE", GAIN9=1.5)], file="a.fits")
    assert known.notes == ()


def test_infinite_neighbours_in_a_frame_raise_no_warning_of_numpy():
    image = np.random.default_rng(1).normal(100, 5, (64, 64)).astype(np.float32)
    image[20:30, 20:30] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = frame_statistics(image)
    assert figures.level == pytest.approx(100, abs=1)
    assert figures.noise == pytest.approx(5, rel=0.1)
