"""Calibrated frames as the workflow makes them: truth, masters taken, grades, what is missing."""

from __future__ import annotations

import os
import warnings
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from ccdproc import ImageFileCollection
from chain_runs import (
    BIAS,
    DARKS,
    FEW_FRAMES,
    FLATS,
    MANY_FRAMES,
    NIGHT,
    copy_finished_run,
    late_copy,
    pull,
    run,
    take,
)
from small_frames import begin

from ccdflow import kinds, simulate
from ccdflow.run import job_records
from ccdflow.run.lines.plan_description import lines_on_plan
from ccdflow.verify import verdicts

SCIENCE = "calibrated/science_g1.fits"


def plan_of(tmp_path, chain, profile=None, **config):
    """Return the plan of the next run, and {product: why} without tables, pages and pictures."""
    session = begin(
        tmp_path / "raw", tmp_path / "results", {"simcam": profile or chain.profile}, **config
    )
    session.lock.close()
    chain_of_kinds = kinds.CHAIN
    return session.plan, {
        job.product: job.reason
        for job in session.plan.jobs.values()
        if not chain_of_kinds.by_name(job.kind).is_report
    }


# -- truth -----------------------------------------------------------------------------------------


def test_calibrated_frames_are_the_truth_within_their_errors(tmp_path):
    chain = take(tmp_path, **MANY_FRAMES)
    done = run(tmp_path, chain)
    spreads = []
    for file in chain.files_of_type("science"):
        hdus = done.open(f"calibrated/{file}")
        assert hdus[0].header["CALGRADE"] == "A"
        assert hdus[0].header["BUNIT"] == "electron"
        spread = pull(hdus, chain.perfect(file), chain.good_pixels(file) & (hdus["MASK"].data == 0))
        assert abs(spread.mean()) < 0.04
        spreads.append(spread)
    assert np.concatenate(spreads).std() == pytest.approx(1.0, abs=0.02)


def test_halves_of_every_master_differ_by_their_uncertainties(tmp_path):
    """Two runs, each with every other frame of a night: what their masters share cancels."""
    chain = take(
        tmp_path, folder="all", biases=12, darks=((60.0, 12),), flats=(("g", 12),), science=()
    )  # fmt: skip
    halves = []
    for half in range(2):
        folder = tmp_path / f"half{half}"
        (folder / "raw").mkdir(parents=True)
        for kind in ("bias", "dark", "flat"):
            for file in chain.files_of_type(kind)[half::2]:
                (folder / "raw" / file).symlink_to(tmp_path / "raw/all" / file)
        halves.append(run(folder, chain, bias={"uncertainty": True}))
    good = chain.detector.defects() == 0
    for product in (BIAS, DARKS[60], FLATS["g"]):
        one, other = (done.open(product) for done in halves)
        variance = sum(hdus["UNCERT"].data.astype(float) ** 2 for hdus in (one, other))
        if product == BIAS:
            # Of so few values the scatter is that of each pixel: its mean over the amplifier.
            for part in (np.s_[:, :52], np.s_[:, 52:]):
                variance[part] = variance[part].mean()
        variance += sum(hdus[0].header.get("MBNOISE", 0.0) ** 2 for hdus in (one, other))
        variance += sum(hdus[0].header.get("MDNOISE", 0.0) ** 2 for hdus in (one, other))
        off = (one[0].data.astype(float) - other[0].data) / np.sqrt(variance)
        for part in (np.s_[:, :52], np.s_[:, 52:]):
            ratio = off[part][good[part]].std()
            assert 0.97 < ratio < 1.03, (product, part, ratio)


def test_ccdproc_and_astropy_open_them(tmp_path):
    _, done = copy_finished_run(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ccd = CCDData.read(done.results / SCIENCE)
    assert str(ccd.unit) == "electron"
    assert ccd.uncertainty.uncertainty_type == "std"
    assert ccd.mask.shape == ccd.shape == (101, 103)
    collection = ImageFileCollection(done.results / "calibrated")
    assert list(collection.summary["calgrade"]) == ["A", "A", "A"]


def test_the_table_has_a_line_for_each_step_of_each_frame(tmp_path):
    _, done = copy_finished_run(tmp_path)
    table = pd.read_csv(done.results / "associations.csv")
    assert len(table) == 3 * 3
    one = table[table.frame == "calibrated/science_r1.fits"].set_index("step")
    assert list(one.master) == [BIAS, DARKS[20], FLATS["r"]]
    assert list(one["rank"]) == [1, 1, 1]
    assert list(one.scale) == [1.0, 1.0, 1.0]
    assert one.runner_up["dark"] == DARKS[60]
    header = done.open("calibrated/science_r1.fits")[0].header
    assert header["DARKKEY"] == done.records[DARKS[20]].key
    assert one.grade["dark"] == "A"


# -- chains with something missing -----------------------------------------------------------------

CHAINS = {
    "no darks": ({"darks": ()}, "C", ["bias", "flat"], "no dark"),
    "no flats": ({"flats": ()}, "C", ["bias", "dark"], "no flat"),
    "no biases": ({"biases": 0}, "C", ["flat"], "no bias"),
    "flats only": ({"biases": 0, "darks": ()}, "C", ["flat"], "no bias"),
    "another filter": ({"flats": (("r", 4),)}, "C", ["bias", "dark"], "no flat"),
    "a longer dark": ({"darks": ((90.0, 3),)}, "B", ["bias", "dark", "flat"], "scaled down by"),
    "a shorter dark": ({"darks": ((30.0, 3),)}, "C", ["bias", "dark", "flat"], "scaled up by 2"),
    "a dark too short": ({"darks": ((20.0, 3),)}, "C", ["bias", "flat"], "no dark"),
    "a dark too warm": ({"dark_temperature": -90.0}, "C", ["bias", "flat"], "no dark"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_masters_that_exist_are_applied_and_missing_ones_are_named(tmp_path, name):
    options, grade, applied, note = CHAINS[name]
    chain = take(tmp_path, **(FEW_FRAMES | options))
    done = run(tmp_path, chain)
    record, header = done.records[SCIENCE], done.open(SCIENCE)[0].header
    steps = [step for step in ("bias", "dark", "flat") if f"{step.upper()}IM" in header]
    assert (record.data["grade"], header["CALGRADE"]) == (grade, grade)
    assert steps == applied
    assert note in "; ".join(map(str, header["HISTORY"]))
    lines = [line for line in done.lines if line.startswith("calibrated without ")]
    assert bool(lines) == ("no " in note)
    table = pd.read_csv(done.results / "associations.csv").set_index(["frame", "step"])
    for step in ("bias", "dark", "flat"):
        assert (table.master[SCIENCE, step] == table.master[SCIENCE, step]) == (step in applied)


def test_a_dark_that_is_lengthened_is_the_truth_all_the_same(tmp_path):
    chain = take(tmp_path, biases=12, darks=((30.0, 7),), flats=(("g", 7), ("r", 7)))
    done = run(tmp_path, chain)
    hdus = done.open(SCIENCE)
    assert hdus[0].header["DARKSCAL"] == 2.0
    good = chain.good_pixels("science_g1.fits") & (hdus["MASK"].data == 0)
    spread = pull(hdus, chain.perfect("science_g1.fits"), good)
    # Glow does not grow with time as dark current does: what of it is left is below the noise.
    assert spread.std() == pytest.approx(1.0, abs=0.05)
    assert abs(spread.mean()) < 0.1


def without_overscan(chain):
    """Return the profile of a chain's camera, its overscan said to be of no use."""
    lines = chain.profile.splitlines()
    return "\n".join(line for line in lines if "overscan" not in line) + "\n"


def test_a_camera_without_overscan(tmp_path):
    """The level goes with the combined bias; rows that drift stay in."""
    amplifiers = (
        simulate.SimulatedAmplifier(columns=(0, 52), gain=1.2, read_noise=5.0, row_drift=0.0),
        simulate.SimulatedAmplifier(columns=(52, 103), gain=1.55, read_noise=6.5, row_drift=0.0),
    )
    detector = simulate.draw_detector((101, 103), shutter=0.0, amplifiers=amplifiers)
    chain = take(
        tmp_path, detector=detector, biases=20, darks=((60.0, 9),), flats=(("g", 9), ("r", 9))
    )
    done = run(tmp_path, chain, without_overscan(chain))
    hdus = done.open(SCIENCE)
    assert hdus[0].header["CALGRADE"] == "A"
    good = chain.good_pixels("science_g1.fits") & (hdus["MASK"].data == 0)
    spread = pull(hdus, chain.perfect("science_g1.fits"), good)
    assert spread.std() == pytest.approx(1.0, abs=0.04)
    assert abs(spread.mean()) < 0.1


def test_without_overscan_and_bias_nothing_is_divided_by_a_flat(tmp_path):
    chain = take(tmp_path, biases=0)
    done = run(tmp_path, chain, without_overscan(chain))
    assert done.records[FLATS["g"]].status == job_records.REFUSED
    hdus = done.open(SCIENCE)
    reduced = done.open("reduced/science_g1.fits")[0].data
    assert "FLATIM" not in hdus[0].header
    assert [hdu.name for hdu in hdus] == ["PRIMARY", "MASK"]
    gains = np.repeat([a.gain for a in chain.detector.amplifiers], [52, 51])
    np.testing.assert_allclose(hdus[0].data, reduced * gains, rtol=1e-6)


def test_refuse_sets_a_frame_aside_with_the_wanted_and_the_existing_masters(tmp_path):
    chain = take(tmp_path, darks=((60.0, 3),), flats=(("g", 4),))
    done = run(tmp_path, chain, calibrate={"missing": "refuse"})
    assert done.records[SCIENCE].status == job_records.MADE
    refused = done.records["calibrated/science_r1.fits"]
    assert refused.status == job_records.REFUSED
    assert refused.reason.startswith("no flat in r of simcam 103x101 1x1: there are g (4, ")
    assert not (done.results / "calibrated/science_r1.fits").exists()
    assert any(line.startswith("not calibrated: calibrated/science_r1.fits: no flat in r ")
               for line in done.lines)  # fmt: skip
    table = pd.read_csv(done.results / "associations.csv").set_index(["frame", "step"])
    assert dict(table.calibrated.groupby("frame").first()) == {
        SCIENCE: "yes", "calibrated/science_g2.fits": "yes", "calibrated/science_r1.fits": "no",
    }  # fmt: skip
    assert not table.reason.str.contains("not calibrated").any()
    assert plan_of(tmp_path, chain, calibrate={"missing": "refuse"})[1] == {}


def test_a_camera_without_gain_is_in_adu_and_its_errors_are_of_the_gain_that_flats_show(tmp_path):
    chain = take(tmp_path, **MANY_FRAMES)
    done = run(tmp_path, chain, simulate.profile(chain.detector, states_gain=False))
    spreads = []
    for file in chain.files_of_type("science"):
        hdus = done.open(f"calibrated/{file}")
        assert hdus[0].header["BUNIT"] == "adu"
        for number, amplifier in enumerate(chain.detector.amplifiers, start=1):
            gain = hdus[0].header[f"GAINME{number:02d}"]
            assert gain == pytest.approx(amplifier.gain, rel=0.05)
        good = chain.good_pixels(file) & (hdus["MASK"].data == 0)
        spreads.append(pull(hdus, chain.perfect(file, unit="adu"), good))
    assert abs(np.concatenate(spreads).mean()) < 0.04
    assert np.concatenate(spreads).std() == pytest.approx(1.0, abs=0.02)


def test_a_camera_without_gain_and_flats_has_no_uncertainty(tmp_path):
    chain = take(tmp_path, flats=())
    done = run(tmp_path, chain, simulate.profile(chain.detector, states_gain=False))
    hdus = done.open(SCIENCE)
    assert hdus[0].header["BUNIT"] == "adu"
    assert [hdu.name for hdu in hdus] == ["PRIMARY", "MASK"]
    assert any(line.startswith("calibrated without UNCERT: 3 of 3 ") for line in done.lines)


@pytest.mark.parametrize("part", [0.85, pytest.param(1.2, marks=pytest.mark.torture)])
def test_a_wrong_gain_is_warned_of_and_the_errors_are_right_all_the_same(tmp_path, part):
    """The profile's gain is off by a fifth or less: electrons are, and pulls are not."""
    chain = take(tmp_path, **MANY_FRAMES)
    profile = chain.profile
    for amplifier in chain.detector.amplifiers:
        wrong = f"gain: {amplifier.gain * part:.4f}"
        assert profile.count(f"gain: {amplifier.gain}\n") == 1
        profile = profile.replace(f"gain: {amplifier.gain}\n", f"{wrong}\n")
    done = run(tmp_path, chain, profile)
    spreads = []
    for file in chain.files_of_type("science"):
        hdus = done.open(f"calibrated/{file}")
        assert hdus[0].header["BUNIT"] == "electron"
        good = chain.good_pixels(file) & (hdus["MASK"].data == 0)
        spreads.append(pull(hdus, chain.perfect(file) * part, good))
    assert abs(np.concatenate(spreads).mean()) < 0.04
    assert np.concatenate(spreads).std() == pytest.approx(1.0, abs=0.02)
    assert sum("profile or header say" in line for line in done.lines) >= 1
    remarks = done.records[FLATS["g"]].data["remarks"]
    assert [text.startswith("amplifier") for text in remarks] == [True, True]


# -- configuration ---------------------------------------------------------------------------------


def test_types_and_steps_are_configuration(tmp_path):
    chain, _ = copy_finished_run(tmp_path)
    done = run(tmp_path, chain, calibrate={"types": ["flat"], "steps": ["bias", "dark", "flat"]})
    made = sorted(p for p, r in done.records.items() if r.kind == "science")
    assert made == [f"calibrated/flat_{band}{n}.fits" for band in "gr" for n in range(1, 5)]
    header = done.open(made[0])[0].header
    assert ("BIASIM" in header, "DARKIM" in header, "FLATIM" in header) == (True, True, False)


def test_neither_uncertainty_nor_mask(tmp_path):
    chain, done = copy_finished_run(tmp_path)
    whole = done.open(SCIENCE)[0].data
    plain = run(tmp_path, chain, calibrate={"uncertainty": False, "mask": False})
    hdus = plain.open(SCIENCE)
    assert len(hdus) == 1
    np.testing.assert_array_equal(hdus[0].data, whole)
    assert {r.kind for r in plain.records.values()} == {"science"}


def test_switched_off_nothing_is_made_or_touched(tmp_path):
    chain, _ = copy_finished_run(tmp_path)
    before = (tmp_path / "results" / SCIENCE).stat()
    done = run(tmp_path, chain, calibrate={"enabled": False})
    assert done.records == {}
    assert (tmp_path / "results" / SCIENCE).stat() == before
    assert (tmp_path / "results/associations.csv").is_file()
    assert plan_of(tmp_path, chain)[1] == {}


# -- what is made again ----------------------------------------------------------------------------


def test_a_late_dark_makes_its_combined_dark_and_its_frames_alone(
    tmp_path,
):
    chain = take(tmp_path, flat_exptime=60.0)
    late = tmp_path / "raw/dark20_3.fits"
    content = late.read_bytes()
    late.unlink()
    # Two darks are too few, so that no frame has taken them.
    run(tmp_path, chain, dark={"minimum": 2})
    late.write_bytes(content)
    plan, jobs = plan_of(tmp_path, chain, dark={"minimum": 2})
    assert jobs == {
        "reduced/dark20_3.fits": "new",
        DARKS[20]: "its frames changed",
        "calibrated/science_r1.fits": "its masters changed",
    }
    assert "1 frame to calibrate: 1 its masters changed" in "\n".join(lines_on_plan(plan))
    assert plan.jobs["calibrated/science_r1.fits"].needs == (DARKS[20],)
    run(tmp_path, chain, dark={"minimum": 2})
    assert plan_of(tmp_path, chain, dark={"minimum": 2})[1] == {}


def test_a_late_bias_makes_again_the_products_of_its_master(tmp_path):
    chain, _ = copy_finished_run(tmp_path)
    late_copy(chain.raw / "bias1.fits", "bias7.fits")
    _, jobs = plan_of(tmp_path, chain)
    calibrated = {f"calibrated/{file}" for file in chain.files_of_type("science")}
    masters = {BIAS, *DARKS.values(), *FLATS.values()}
    assert set(jobs) == {"reduced/bias7.fits"} | masters | calibrated


def test_a_late_science_frame_makes_itself_only(tmp_path):
    chain, _ = copy_finished_run(tmp_path)
    late_copy(chain.raw / "science_g2.fits", "science_g3.fits")
    _, jobs = plan_of(tmp_path, chain)
    assert set(jobs) == {"reduced/science_g3.fits", "calibrated/science_g3.fits"}


def test_a_night_at_the_end_changes_no_calibrated_frame_before_it(tmp_path):
    first = take(tmp_path, folder="one", darks=((60.0, 3),))
    run(tmp_path, first)
    take(tmp_path, folder="two", evening=datetime(2024, 3, 2, 17), seed=2, biases=30)
    _, jobs = plan_of(tmp_path, first)
    assert any("/two/" in product for product in jobs)
    assert not [product for product in jobs if "/one/" in product or NIGHT in product]


def test_an_earlier_night_helps_the_frames_that_lacked_a_master(tmp_path):
    first = take(tmp_path, folder="one", darks=())
    run(tmp_path, first)
    take(
        tmp_path, folder="before", evening=datetime(2024, 2, 28, 17), seed=2,
        flats=(), science=(), biases=3,
    )  # fmt: skip
    _, jobs = plan_of(tmp_path, first)
    assert len(jobs) > 1
    assert {p: why for p, why in jobs.items() if p.startswith("calibrated/")} == {
        f"calibrated/one/{file}": "its masters changed" for file in first.files_of_type("science")
    }


def test_a_product_deleted_is_made_again_alone(tmp_path):
    chain, done = copy_finished_run(tmp_path)
    whole = (done.results / SCIENCE).read_bytes()
    (done.results / SCIENCE).unlink()
    assert plan_of(tmp_path, chain)[1] == {SCIENCE: "product missing"}
    run(tmp_path, chain)
    assert (done.results / SCIENCE).read_bytes() == whole


@pytest.mark.parametrize("fault", ["cut", "flipped"])
def test_a_product_damaged_is_made_again_alone(tmp_path, fault):
    chain, done = copy_finished_run(tmp_path)
    path = done.results / "calibrated/science_r1.fits"
    whole = path.read_bytes()
    changed = bytearray(whole[:-2880] if fault == "cut" else whole)
    changed[len(whole) // 2] ^= 1
    path.write_bytes(changed)
    later = path.stat().st_mtime_ns + 2_000_000_000
    os.utime(path, ns=(later, later))
    assert plan_of(tmp_path, chain)[1] == {"calibrated/science_r1.fits": "product damaged"}
    run(tmp_path, chain)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_a_damaged_master_is_made_again_and_its_frames_stay(tmp_path, kind):
    """The same members make the same bytes: nothing after it has to be made again."""
    chain, done = copy_finished_run(tmp_path)
    product = {"bias": BIAS, "dark": DARKS[60], "flat": FLATS["g"]}[kind]
    whole = (done.results / product).read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    (done.results / product).write_bytes(changed)
    later = (done.results / product).stat().st_mtime_ns + 2_000_000_000
    os.utime(done.results / product, ns=(later, later))
    assert plan_of(tmp_path, chain)[1] == {product: "product damaged"}
    again = run(tmp_path, chain)
    assert (done.results / product).read_bytes() == whole
    assert {
        p for p, r in again.records.items() if r.kind in ("bias", "dark", "flat", "science")
    } == {product}


def test_one_frame_by_name_makes_only_its_needs(tmp_path):
    options = {"flat_exptime": 60.0}
    chain = take(tmp_path, folder="one", **options)
    take(tmp_path, folder="two", evening=datetime(2024, 3, 2, 17), seed=2, **options)
    plan, _ = plan_of(tmp_path, chain)
    plan.keep_only(["calibrated/two/science_g1.fits"])
    masters = {job.product for job in plan.jobs.values() if job.product.startswith("combined/")}
    own = (BIAS, DARKS[60], FLATS["g"])
    # The flat of the night before competes: its electrons may be many more.
    assert masters == {*own, *(product.replace(NIGHT, "2024-03-02") for product in own)}
    frames = {job.product for job in plan.jobs.values() if job.kind == "frame"}
    members = {
        f"reduced/{folder}/{file}"
        for folder in ("one", "two")
        for file in chain.exposures
        if file.startswith(("bias", "dark60", "flat_g"))
    }
    assert frames == {*members, "reduced/two/science_g1.fits"}


def test_a_raw_frame_that_is_gone_keeps_its_calibrated_frame(tmp_path):
    chain, done = copy_finished_run(tmp_path)
    (tmp_path / "raw/science_g1.fits").unlink()
    assert plan_of(tmp_path, chain)[1] == {}
    assert (done.results / SCIENCE).is_file()


def test_a_frame_gone_bad_takes_its_calibrated_frame_out_of_the_way(tmp_path):
    chain, done = copy_finished_run(tmp_path)
    path = tmp_path / "raw/science_g1.fits"
    path.write_bytes(path.read_bytes()[:5000])
    run(tmp_path, chain, limits={"settle": 0})
    assert not (done.results / SCIENCE).exists()
    assert (done.results / "set_aside" / SCIENCE).is_file()
    assert (done.results / "calibrated/science_g2.fits").is_file()


def test_cores_and_order_do_not_matter(tmp_path):
    """Masters are shared by the threads: each frame has the bytes that it has alone."""
    chain, done = copy_finished_run(tmp_path)
    before = {p: (done.results / p).read_bytes() for p in done.records if p.startswith("cal")}
    for product in reversed(sorted(before)):
        (done.results / product).unlink()
    again = run(tmp_path, chain)
    assert {p: (again.results / p).read_bytes() for p in before} == before
    with fits.open(done.results / SCIENCE) as hdus:
        assert hdus[0].header["REDKEY"] == done.records["reduced/science_g1.fits"].key


# -- compressed files ------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, "quantised"])
def test_compressed_frames_are_the_same_pixels_and_are_made_again_alone(tmp_path, compress):
    chain, plain = copy_finished_run(tmp_path)
    frames = {f"calibrated/{file}" for file in chain.files_of_type("science")}
    before = {product: plain.open(product) for product in frames}
    settings = {"calibrate": {"compress": compress}}
    assert set(plan_of(tmp_path, chain, **settings)[1]) == frames
    done = run(tmp_path, chain, **settings)
    assert plan_of(tmp_path, chain, **settings)[1] == {}
    if compress is True:
        assert plan_of(tmp_path, chain, calibrate={"compress": "lossless"})[1] == {}
    for product in frames:
        path = done.results / product
        # Names and places of images are the plain file's, but that the first one is the second HDU.
        after = done.open(product)
        assert len(after) > 2
        assert [hdu.name for hdu in after[2:]] == [hdu.name for hdu in before[product][1:]]
        for old, new in zip(before[product], after[1:], strict=True):
            if compress is True or new.name == "MASK":
                assert np.array_equal(old.data, new.data, equal_nan=new.name != "MASK")
            else:
                off = np.abs(old.data - new.data)
                assert 0 < np.nanmax(off) <= 0.51 * new.header["QUANSTEP"]
                assert new.header["QUANSTEP"] < 0.2 * np.nanmedian(before[product]["UNCERT"].data)
        assert verdicts.verify(product, raw=chain.raw.parent, results=done.results).reason == ""
        ccd = CCDData.read(path, hdu=1)
        assert (str(ccd.unit), ccd.uncertainty.uncertainty_type) == ("electron", "std")
        assert ccd.mask.any()
    collection = ImageFileCollection(done.results / "calibrated")
    assert list(collection.summary["calgrade"]) == ["A", "A", "A"]
    assert set(plan_of(tmp_path, chain)[1]) == frames
