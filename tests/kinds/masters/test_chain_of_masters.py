"""Combined darks and flats as the workflow makes them: groups, masters before them, truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from amplifier_columns import values_by_column
from astropy.io import fits
from chain_runs import (
    BIAS,
    DARKS,
    FEW_FRAMES,
    FLATS,
    KINDS,
    MANY_FRAMES,
    NIGHT,
    copy_finished_run,
    edit,
    pull,
    run,
    run_again,
    take,
)
from small_frames import begin

from ccdflow import simulate
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.run import job_records

# -- what is made ----------------------------------------------------------------------------------


def test_each_exposure_has_a_dark_and_each_filter_a_flat(tmp_path):
    _, done = copy_finished_run(tmp_path)
    masters = {p: r.status for p, r in done.records.items() if p.startswith("combined/")}
    assert masters == dict.fromkeys((BIAS, *DARKS.values(), *FLATS.values()), job_records.MADE)
    assert done.lines[-1].split(", ")[:5] == [
        "24 reduced frames", "1 combined bias", "2 combined darks", "2 combined flats",
        "3 calibrated frames",
    ]  # fmt: skip
    dark = done.open(DARKS[60])[0].header
    assert (dark["BIASIM"], dark["BIASKEY"]) == (BIAS, done.records[BIAS].key)
    assert (dark["EXPTIME"], dark["NCOMBINE"], dark["BIASDT"]) == (60.0, 4, 0)
    flat = done.open(FLATS["g"])[0].header
    # Two darks are long enough for 4 s. That of 60 s adds less noise, but leaves more of the bias:
    # 0.03 + 0.87 x 25 / 6 e2, against 0.33 + 0.64 x 25 / 6 e2 with that of 20 s.
    assert (flat["DARKIM"], flat["DARKKEY"]) == (DARKS[20], done.records[DARKS[20]].key)
    assert [hdu.name for hdu in done.open(FLATS["g"])] == ["PRIMARY", "UNCERT", "MASK"]
    rates = (done.results / "dark_quality.csv").read_text().splitlines()
    assert len(rates) == 1 + 2 * 2
    assert len((done.results / "flat_quality.csv").read_text().splitlines()) == 1 + 2 * 2


def test_a_master_notes_how_many_values_it_had_and_how_many_it_rejected(tmp_path):
    """The picture of a bias has the fraction of rejected values."""
    _, done = copy_finished_run(tmp_path)
    masters = (BIAS, DARKS[60], FLATS["g"])
    for product in masters:
        header, data = done.open(product)[0].header, done.records[product].data
        assert data["pixels"] == header["NCOMBINE"] * 101 * 103
        assert 0 <= data["rejected"] < data["pixels"] / 100
    assert any(done.records[product].data["rejected"] for product in masters)


def test_masters_are_the_injected_truth_within_their_errors(tmp_path):
    chain = take(tmp_path, **MANY_FRAMES)
    done = run(tmp_path, chain)
    good = chain.good_pixels()
    for seconds, product in DARKS.items():
        # UNCERT lacks the noise of the subtracted bias, which is common to all members.
        hdus = done.open(product)
        spread = pull(hdus, chain.dark(seconds), good)
        error = hdus["UNCERT"].data[good].mean()
        expected = np.hypot(1.0, hdus[0].header["MBNOISE"] / error)
        assert spread.std() == pytest.approx(expected, rel=0.03)
        assert abs(spread.mean()) < 0.25
    for band, product in FLATS.items():
        hdus, truth = done.open(product), chain.flat(band)
        # The mean of a flat is 1 over the pixels that its mask calls good.
        truth = truth / truth[hdus["MASK"].data == 0].mean()
        spread = pull(hdus, truth, good)
        assert spread.std() == pytest.approx(1.0, abs=0.04)
        assert abs(spread.mean()) < 0.05


@pytest.fixture(scope="module")
def steady_lamp(tmp_path_factory):
    """Nine flats of a lamp that is steady: (chain, run)."""
    top = tmp_path_factory.mktemp("steady")
    one = {"darks": ((20.0, 3),), "science": (), "flats": (("g", 9),), "lamp_drift": 0.0}
    chain = take(top, flat_level=25_000.0, **one)
    return chain, run(top, chain)


def test_a_flat_has_the_ratio_of_light_and_not_of_gains(steady_lamp):
    """Gains of 1.2 and 1.55: a flat in adu would be off by a quarter between the amplifiers."""
    chain, done = steady_lamp
    flat = done.open(FLATS["g"])[0].data
    half = flat.shape[1] // 2
    good, truth = chain.good_pixels(), chain.flat("g")
    ratio = flat[:, :half][good[:, :half]].mean() / flat[:, half + 1 :][good[:, half + 1 :]].mean()
    expected = (
        truth[:, :half][good[:, :half]].mean() / truth[:, half + 1 :][good[:, half + 1 :]].mean()
    )
    assert ratio == pytest.approx(expected, abs=1e-3)


def test_figures_of_a_flat_are_those_of_its_members(steady_lamp):
    """Halves of the members differ by the predicted noise, and levels are electrons."""
    chain, done = steady_lamp
    record = done.records[FLATS["g"]]
    assert len(record.data["quality"]) == 2
    for figures, amplifier in zip(record.data["quality"], chain.detector.amplifiers, strict=True):
        columns = slice(*amplifier.columns)
        good = chain.good_pixels()[:, columns]
        light = np.median(25_000 * chain.detector.response("g")[:, columns][good])
        assert figures["level"] == pytest.approx(light, rel=0.02)
        assert figures["noise_ratio"] == pytest.approx(1.0, abs=0.04)


# -- groups ----------------------------------------------------------------------------------------


def test_darks_of_another_temperature_are_another_group(tmp_path):
    chain = take(tmp_path, darks=((60.0, 6),))
    for number in (4, 5, 6):
        edit(tmp_path / f"raw/dark60_{number}.fits", **{"SET-TEMP": -80.0, "CCD-TEMP": -80.0})
    done = run(tmp_path, chain)
    darks = {p: r for p, r in done.records.items() if r.kind == "dark"}
    members = sorted(tuple(r.data["members"]) for r in darks.values())
    assert members == [
        tuple(f"dark60_{n}.fits" for n in numbers) for numbers in ((1, 2, 3), (4, 5, 6))
    ]
    science = done.open("calibrated/science_g1.fits")[0].header
    assert done.records[science["DARKIM"]].data["members"] == [
        f"dark60_{n}.fits" for n in (1, 2, 3)
    ]
    assert science["DARKDTMP"] == 0.0


def test_exposures_that_differ_by_less_than_a_tenth_of_a_second_are_one(tmp_path):
    chain = take(tmp_path, darks=((60.0, 5),))
    for number, seconds in ((2, 60.04), (3, 59.98), (5, 60.4)):
        edit(tmp_path / f"raw/dark60_{number}.fits", EXPTIME=seconds)
    done = run(tmp_path, chain)
    groups = {r.product: r.data["members"] for r in done.records.values() if r.kind == "dark"}
    assert groups == {
        DARKS[60]: [f"dark60_{n}.fits" for n in (1, 2, 3, 4)],
        DARKS[60].replace("_60s", "_60.4s"): ["dark60_5.fits"],
    }


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (-5.0, "in no combined dark: it has no exposure time"),
        # No camera exposes for longer than 1e9 s: the card counts as unknown.
        *(
            pytest.param(
                odd, "in no combined dark: it has no exposure time", marks=pytest.mark.torture
            )
            for odd in (None, 3e9)
        ),
    ],
)
def test_a_dark_without_a_possible_exposure_is_in_none_and_reported(tmp_path, seconds, reason):
    chain, before = copy_finished_run(tmp_path)
    edit(tmp_path / "raw/dark60_4.fits", EXPTIME=seconds)
    done = run_again(tmp_path, chain, before)
    assert done.records[DARKS[60]].data["members"] == [f"dark60_{n}.fits" for n in (1, 2, 3)]
    table = (done.results / "inventory.csv").read_text()
    (line,) = [line for line in table.splitlines() if line.startswith("dark60_4.fits")]
    assert reason in line
    (sentence,) = [
        line for line in DARK_KIND.closing_lines(done.context, []) if reason[:20] in line
    ]
    assert sentence.startswith("in no combined dark: dark60_4.fits: it has ")
    assert reason[24:] in sentence
    assert done.records["reduced/dark60_4.fits"].status == job_records.MADE


def test_names_of_exposures():
    seconds = (300.062, 300.014, 70.011, 7.0, 1.25, 0.253, 0.1, 0.02, 0.0032, 1e-5)
    assert [DARK_KIND.name_part("exptime", f"{t:.6g}") for t in seconds] == [
        "300s", "300s", "70s", "7s", "1.2s", "0.25s", "0.1s", "0.02s", "0.0032s", "0.00001s",
    ]  # fmt: skip


def test_darks_of_short_exposures_have_names_that_are_true_and_their_own(tmp_path):
    """Darks of 1e-5 s and of 0.12 s: two groups, and no file named 0.1s."""
    chain = take(tmp_path, biases=3, darks=((1.0, 6),), flats=(), science=())
    for n in range(6):
        edit(tmp_path / f"raw/dark1_{n + 1}.fits", EXPTIME=1e-5 if n < 3 else 0.12)
    done = run(tmp_path, chain)
    members = {p: r.data["members"] for p, r in done.records.items() if r.kind == "dark"}
    assert members == {
        DARKS[60].replace("_60s", f"_{name}s"): [f"dark1_{n}.fits" for n in numbers]
        for name, numbers in (("0.00001", (1, 2, 3)), ("0.12", (4, 5, 6)))
    }


# -- what is missing or odd ------------------------------------------------------------------------


def test_without_biases_no_dark_is_made_and_the_reason_names_the_bias_wanted(tmp_path):
    done = run(tmp_path, take(tmp_path, biases=0))
    for product in DARKS.values():
        record = done.records[product]
        assert record.status == job_records.REFUSED
        assert record.reason == "no bias of simcam 103x101 1x1: there is none at all"
        assert not (done.results / product).exists()
    flat = done.records[FLATS["g"]]
    assert flat.status == job_records.MADE
    assert "without bias: no bias of simcam 103x101 1x1: there is none at all" in "\n".join(
        done.lines
    )
    assert "BIASIM" not in done.open(FLATS["g"])[0].header


def test_too_few_biases_are_named(tmp_path):
    done = run(tmp_path, take(tmp_path, biases=2))
    assert done.records[DARKS[60]].reason == (
        f"no bias: {BIAS} would be of 2 frames, allowed 3 or more"
    )


def test_a_dark_with_light_is_left_out_with_figure_and_limit(tmp_path):
    chain = take(tmp_path, darks=((60.0, 6),))
    with fits.open(tmp_path / "raw/dark60_3.fits", mode="update") as hdus:
        hdus[0].data[:, :103] += np.linspace(0, 60, 103).astype(np.uint16)
    record = run(tmp_path, chain).records[DARKS[60]]
    assert record.data["members"] == [f"dark60_{n}.fits" for n in (1, 2, 4, 5, 6)]
    ((file, text, figure, value, threshold),) = record.data["left_out"]
    assert (file, figure) == ("dark60_3.fits", "level")
    assert value > threshold
    assert "limit" in text


def test_a_flat_that_is_too_faint_is_left_out(tmp_path):
    chain = take(tmp_path, flats=(("g", 5),))
    with fits.open(tmp_path / "raw/flat_g2.fits", mode="update") as hdus:
        light = hdus[0].data.astype(float) - 1000
        hdus[0].data = np.rint(1000 + light / 1000).astype(np.uint16)
    record = run(tmp_path, chain).records[FLATS["g"]]
    assert [out[0] for out in record.data["left_out"]] == ["flat_g2.fits"]
    assert record.data["left_out"][0][2] == "signal to noise in a pixel"


def test_flats_of_amplifiers_with_gains_of_0_3_and_30_are_combined(tmp_path):
    """Both amplifiers have 15,000 electrons, so one has a hundred times the adu of the other."""
    detector = simulate.draw_detector((101, 103), seed=1, shutter=0.0)
    gains = {"A": 0.3, "B": 30.0}
    amplifiers = [
        replace(amplifier, gain=gain)
        for amplifier, gain in zip(detector.amplifiers, gains.values(), strict=True)
    ]
    detector = replace(detector, amplifiers=tuple(amplifiers))
    chain = take(tmp_path, detector=detector, flats=(("g", 4),), flat_level=15_000.0)
    done = run(tmp_path, chain)
    record = done.records[FLATS["g"]]
    assert (record.status, record.data["left_out"]) == (job_records.MADE, [])
    hdus, good = done.open(FLATS["g"]), chain.good_pixels()
    truth = chain.flat("g") / chain.flat("g")[hdus["MASK"].data == 0].mean()
    for half in (np.s_[:, :51], np.s_[:, 52:]):
        ratio = hdus[0].data[half][good[half]] / truth[half][good[half]]
        assert np.median(ratio) == pytest.approx(1, abs=0.002)
        # The photons of four flats.
        assert ratio.std() == pytest.approx((4 * 15_000) ** -0.5, rel=0.04)


def test_a_dark_of_two_hours_makes_no_holes_in_a_frame_of_a_minute(tmp_path):
    """Hot pixels of the dark bleed into neighbours; in a frame of a minute they do not.

    The wells are full at 40,000 adu, below the converter's end. No card or profile has this value.
    """
    faults = simulate.FaultCounts(filling=0, blinking=0, hot=0)
    detector = simulate.draw_detector((101, 103), seed=3, shutter=0.0, faults=faults)
    rng = np.random.default_rng(3)
    places = np.stack(np.divmod(rng.permutation(101 * 103)[:60], 103), axis=1)
    hot = np.column_stack([places, rng.uniform(3, 60, 60)])
    detector = replace(detector, hot_pixels=hot, glow=None, full_well=60_000.0)
    chain = take(
        tmp_path, detector=detector, darks=((7200.0, 3),), flats=(("g", 3),),
        science=(("g", 60.0, 1),), stars=0,
    )  # fmt: skip
    profile = f"linear: 35000\n{chain.profile}"
    done = run(tmp_path, chain, profile)
    (dark,) = [p for p in done.records if "/dark_" in p and p.startswith("combined/")]
    mask, file = done.open(dark)["MASK"].data, chain.files_of_type("science")[0]
    exposures = [chain.exposures[each] for each in chain.files_of_type("dark")]
    # Pixels with 1000 electrons more than their own charge: neighbours bled into these.
    own_charge = np.minimum(exposures[0].dark, 60_000.0)
    mean_raw = np.mean([each.raw[:, :103].astype(float) for each in exposures], axis=0)
    charge = (mean_raw - 1000) * values_by_column(detector, "gain")
    has_foreign_charge = charge - own_charge > 1000
    assert np.count_nonzero(has_foreign_charge) > 40
    assert (mask[has_foreign_charge] & (8 | 1024)).all()
    assert np.count_nonzero(mask & 1024) < 4 * np.count_nonzero(has_foreign_charge)
    # The linear range ends at 35,000 adu with gains below 1.6.
    is_beyond = charge > 36_000 * 1.6
    assert np.count_nonzero(is_beyond) > 10
    assert (mask[is_beyond] & 512).all()
    hdus = done.open(f"calibrated/{file}")
    is_good = chain.good_pixels(file) & (hdus["MASK"].data == 0)
    # Over the median of UNCERT: masked holes also change the errors of their neighbours.
    pulls = (hdus[0].data - chain.perfect(file)) / np.median(hdus["UNCERT"].data)
    assert is_good.mean() > 0.9
    assert pulls[mask & 1024 != 0].min() < -10
    assert 2 < np.abs(pulls[is_good]).max() < 5


@pytest.mark.torture
def test_flats_of_zeros_make_no_flat_and_harm_no_other_product(tmp_path):
    chain = take(tmp_path)
    for number in range(1, 5):
        with fits.open(tmp_path / f"raw/flat_r{number}.fits", mode="update") as hdus:
            hdus[0].data[...] = 0
    done = run(tmp_path, chain)
    assert done.records[FLATS["r"]].status == job_records.REFUSED
    assert done.records[FLATS["r"]].reason
    assert done.open("calibrated/science_r1.fits")[0].header["CALGRADE"] == "C"
    assert done.open("calibrated/science_g1.fits")[0].header["CALGRADE"] == "A"


# -- nights ----------------------------------------------------------------------------------------


def test_a_master_that_is_refused_while_the_run_goes_on_gives_way_to_the_next(tmp_path):
    """The darks of the second night do not agree: its frame takes those of the first."""
    few = {"biases": 3, "flats": (("g", 3),), "science": (("g", 60.0, 1),)}
    first = take(tmp_path, folder="one", darks=((60.0, 4),), **few)
    second = datetime(2024, 3, 2, 17)
    take(tmp_path, folder="two", evening=second, seed=2, darks=((60.0, 4),), **few)
    for number in (1, 2):
        with fits.open(tmp_path / f"raw/two/dark60_{number}.fits", mode="update") as hdus:
            hdus[0].data[:, :103] += 400
    done = run(tmp_path, first)
    second = DARKS[60].replace(NIGHT, "2024-03-02")
    assert done.records[second].status == job_records.REFUSED
    header = done.open("calibrated/two/science_g1.fits")[0].header
    assert (header["DARKIM"], header["DARKDT"], header["CALGRADE"]) == (DARKS[60], 1, "B")
    # The bias that was subtracted from this dark is taken, not the night's own: its noise cancels.
    assert (header["BIASIM"], header["MBNOISE"]) == (BIAS, 0)
    line = [
        line
        for line in (done.results / "associations.csv").read_text().splitlines()
        if line.startswith("calibrated/two/science_g1.fits,2024-03-02,dark")
    ]
    assert "could not be made" in line[0]
    # Nothing is left for a second run.
    session = begin(tmp_path / "raw", tmp_path / "results", {"simcam": first.profile})
    jobs = [job for job in session.plan.jobs.values() if job.kind in KINDS]
    session.lock.close()
    assert session.plan.jobs
    assert jobs == []


def test_a_night_at_the_end_changes_no_older_master(tmp_path):
    first, before = copy_finished_run(tmp_path)
    take(tmp_path, folder="two", evening=datetime(2024, 3, 2, 17), seed=2, **FEW_FRAMES)
    again = run(tmp_path, first)
    assert set(before.records) & set(again.records) == {
        "associations.csv", "dark_quality.csv", "flat_quality.csv",
    }  # fmt: skip


def test_a_frame_of_a_camera_with_one_amplifier_has_true_errors(tmp_path):
    detector = simulate.draw_detector(
        (64, 72), seed=4, shutter=0.0,
        amplifiers=(simulate.SimulatedAmplifier(columns=(0, 72), gain=2.0, read_noise=7.0),),
    )  # fmt: skip
    chain = take(tmp_path, detector=detector)
    done = run(tmp_path, chain)
    hdus = done.open("calibrated/science_g1.fits")
    good = chain.good_pixels("science_g1.fits")
    spread = pull(hdus, chain.perfect("science_g1.fits"), good)
    assert spread.std() == pytest.approx(1.0, abs=0.05)


def test_an_earlier_flat_is_taken_where_all_flats_are_saturated(tmp_path):
    """The frame takes the flats of the night before: saturated pixels alone make no flat."""
    few = {"biases": 3, "darks": ((20.0, 3),), "flats": (("g", 3),)}
    evening = datetime(2024, 2, 29, 17)
    take(tmp_path, evening=evening, folder="before", science=(), seed=3, **few)
    chain = take(tmp_path, folder="own", flat_level=1e6, science=(("g", 20.0, 1),), **few)
    done = run(tmp_path, chain)
    assert done.records[FLATS["g"]].status == job_records.REFUSED
    assert done.records[FLATS["g"]].reason == "all of them are saturated throughout"
    header = done.open("calibrated/own/science_g1.fits")[0].header
    assert header["FLATIM"] == FLATS["g"].replace("2024-03-01", "2024-02-29")
