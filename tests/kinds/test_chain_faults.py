"""Bad calibration frames and headers: each is a line and a row, and costs nobody else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from chain_runs import (
    BIAS,
    DARKS,
    FLATS,
    copy_finished_run,
    edit,
    pull,
    row_of,
    run,
    run_again,
    take,
)

from ccdflow import simulate
from ccdflow.run import job_records

SCIENCE = ["calibrated/science_g1.fits", "calibrated/science_g2.fits", "calibrated/science_r1.fits"]


def grades(done):
    return {product: done.records[product].data["grade"] for product in SCIENCE}


def why_without(done, product, kind):
    """Return the line of the table of masters on a step that a frame lacks."""
    table = pd.read_csv(done.results / "associations.csv", keep_default_na=False)
    (row,) = table[(table["frame"] == product) & (table["step"] == kind)].itertuples()
    assert row.master == ""
    return row.reason


def no_nan_made(done):
    """No master and no calibrated frame of this run has a value that is not finite."""
    for product, record in done.records.items():
        if record.kind in ("bias", "dark", "flat", "science") and record.status == job_records.MADE:
            hdus = done.open(product)
            assert np.isfinite(hdus[0].data).all(), product
            names = [hdu.name for hdu in hdus]
            if record.kind == "science":
                assert names[1:3] == ["UNCERT", "MASK"], product
            if "UNCERT" in names:
                assert np.isfinite(hdus["UNCERT"].data).all(), product


def as_float(path, change):
    """Rewrite a raw frame as float32, changed."""
    with fits.open(path) as hdus:
        data, cards = hdus[0].data.astype(np.float32), hdus[0].header.copy()
    change(data)
    fits.writeto(path, data, cards, overwrite=True)


def lose_an_amplifier(data):
    data[:, :103] = np.nan


def lose_a_box(data):
    data[10:30, 20:40] = np.nan


@pytest.mark.parametrize("kind", ["bias", "dark60_", "flat_g"])
def test_one_frame_that_is_nan_is_set_aside_and_costs_nothing(tmp_path, kind):
    chain, before = copy_finished_run(tmp_path)
    as_float(tmp_path / f"raw/{kind}2.fits", lose_an_amplifier)
    done = run_again(tmp_path, chain, before)
    row = row_of(done, f"{kind}2.fits")
    assert row.status == "set aside"
    assert "holds no finite value" in row.reason
    assert sum(line.startswith(f"set aside: {kind}2.fits: ") for line in done.lines) == 1
    assert set(grades(done).values()) == {"A"}
    no_nan_made(done)


@pytest.mark.parametrize(
    "kind", ["dark60_", *(pytest.param(k, marks=pytest.mark.torture) for k in ("bias", "flat_g"))]
)
def test_nan_in_a_part_of_a_frame_is_left_out_of_its_master(tmp_path, kind):
    chain, before = copy_finished_run(tmp_path)
    as_float(tmp_path / f"raw/{kind}2.fits", lose_a_box)
    counted = {kind.split("_")[0].rstrip("0123456789"): {"count": True}}
    done = run_again(tmp_path, chain, before, **counted)
    product = {"bias": BIAS, "dark60_": DARKS[60], "flat_g": FLATS["g"]}[kind]
    members = done.records[product].data["members"]
    # A flat keeps its other pixels; a bias or dark with a part without values is left out.
    is_kept = kind == "flat_g"
    assert (f"{kind}2.fits" in members) == is_kept
    left_out = [file for file, *_ in done.records[product].data["left_out"]]
    assert left_out == ([] if is_kept else [f"{kind}2.fits"])
    count = done.open(product)["COUNT"].data[10:30, 20:40]
    assert (count <= len(members) - is_kept).all()
    assert np.median(count) == len(members) - is_kept
    assert set(grades(done).values()) == {"A"}
    no_nan_made(done)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_flats_of_zeros_or_nan_make_no_flat_and_are_reported(tmp_path, value):
    chain, before = copy_finished_run(tmp_path)
    for number in range(1, 5):
        as_float(tmp_path / f"raw/flat_r{number}.fits", lambda data: data[:, :103].fill(value))
    done = run_again(tmp_path, chain, before)
    assert done.records[FLATS["r"]].status == job_records.REFUSED
    assert grades(done) == dict(zip(SCIENCE, "AAC", strict=True))
    assert "no flat" in why_without(done, SCIENCE[2], "flat")
    assert sum(line.startswith(f"no combined flat: {FLATS['r']}: ") for line in done.lines) == 1
    assert all(row_of(done, f"flat_r{n}.fits").reason for n in range(1, 5))
    no_nan_made(done)


@pytest.mark.parametrize(
    "seconds", [-5.0, None, 3e9, pytest.param(2.0**31, marks=pytest.mark.torture)]
)
def test_a_dark_of_an_impossible_exposure_is_a_row_and_costs_nothing(tmp_path, seconds):
    chain, before = copy_finished_run(tmp_path)
    edit(tmp_path / "raw/dark60_4.fits", EXPTIME=seconds)
    done = run_again(tmp_path, chain, before)
    assert done.records[DARKS[60]].data["members"] == [f"dark60_{n}.fits" for n in (1, 2, 3)]
    assert "in no combined dark: it has " in row_of(done, "dark60_4.fits").reason
    assert set(grades(done).values()) == {"A"}


def test_a_dark_of_a_vanishing_exposure_costs_nothing(tmp_path):
    """By 6e301 no dark is scaled, and no number overflows on the way to that."""
    chain = take(tmp_path, darks=((60.0, 4),))
    for number in (1, 2, 3):
        edit(tmp_path / f"raw/dark60_{number}.fits", EXPTIME=1e-300)
    done = run(tmp_path, chain)
    assert set(grades(done).values()) == {"C"}
    assert "would be of 1 frame, allowed 3 or more" in why_without(done, SCIENCE[0], "dark")


def test_a_dark_of_0_s_is_reported_and_left_out_of_the_biases(tmp_path):
    """The dark is taken for a bias, as those of the EFOSC2 are; hot pixels show that it is none."""
    chain = take(tmp_path)
    edit(tmp_path / "raw/dark60_4.fits", EXPTIME=0.0)
    done = run(tmp_path, chain)
    assert any("dark60_4.fits: 'DARK' of 0 s is taken for a bias" in line for line in done.lines)
    assert done.records[BIAS].data["members"] == [f"bias{n}.fits" for n in range(1, 7)]
    assert "left out of its combined bias" in row_of(done, "dark60_4.fits").reason
    assert set(grades(done).values()) == {"A"}


def test_all_darks_without_an_exposure_are_no_dark_and_every_frame_is_calibrated(tmp_path):
    chain = take(tmp_path, biases=3, darks=((60.0, 3),), flats=(("g", 3), ("r", 3)))
    for number in (1, 2, 3):
        edit(tmp_path / f"raw/dark60_{number}.fits", EXPTIME=None)
    done = run(tmp_path, chain)
    assert done.records
    assert not [r for r in done.records.values() if r.kind == "dark"]
    assert set(grades(done).values()) == {"C"}
    for number in (1, 2, 3):
        assert "no exposure time" in row_of(done, f"dark60_{number}.fits").reason


def test_a_frame_without_an_exposure_takes_no_dark_and_gives_the_reason(tmp_path):
    chain, before = copy_finished_run(tmp_path)
    edit(tmp_path / "raw/science_g1.fits", EXPTIME=None)
    done = run_again(tmp_path, chain, before)
    assert grades(done) == dict(zip(SCIENCE, "CAA", strict=True))
    assert "unknown exposure" in why_without(done, SCIENCE[0], "dark")
    assert "DARKIM" not in done.open(SCIENCE[0])[0].header


def test_two_filters_in_one_card_are_a_filter_of_their_own(tmp_path):
    chain = take(tmp_path, flats=(("g", 6), ("r", 4)))
    for number in (1, 2, 3):
        edit(tmp_path / f"raw/flat_g{number}.fits", FILTER="g,r")
    done = run(tmp_path, chain)
    both = FLATS["g"].replace("_g.fits", "_g+r.fits")
    members = {p: r.data["members"] for p, r in done.records.items() if r.kind == "flat"}
    assert members == {
        both: [f"flat_g{n}.fits" for n in (1, 2, 3)],
        FLATS["g"]: [f"flat_g{n}.fits" for n in (4, 5, 6)],
        FLATS["r"]: [f"flat_r{n}.fits" for n in (1, 2, 3, 4)],
    }
    assert done.open(SCIENCE[0])[0].header["FLATIM"] == FLATS["g"]
    assert done.open(SCIENCE[2])[0].header["FLATIM"] == FLATS["r"]


def test_masters_of_another_shape_are_not_taken_and_named(tmp_path):
    """A second camera format in the same night: no frame takes what does not fit it."""
    small = simulate.draw_detector((101, 103), shutter=0.0)
    few = {"biases": 3, "darks": ((60.0, 3), (20.0, 3))}
    chain = take(tmp_path, folder="one", detector=small, flats=(("r", 3),), **few)
    large = simulate.draw_detector((121, 103), shutter=0.0)
    take(tmp_path, folder="two", detector=large, science=(), darks=(), biases=3, flats=(("g", 3),))
    done = run(tmp_path, chain)
    record = done.records["calibrated/one/science_g1.fits"]
    assert record.data["grade"] == "C"
    why = why_without(done, record.product, "flat")
    assert "no flat in g" in why
    assert "size 103x121 instead of 103x101" in why
    header = done.open("calibrated/one/science_r1.fits")[0].header
    assert header["CALGRADE"] == "A"
    assert header["FLATIM"] == FLATS["r"]


def test_flats_of_unlike_exposures_never_take_a_dark_that_is_too_short_for_one_of_them(tmp_path):
    """The longest of 4, 4, 4 and 80 s is beyond 2.5 times 20 s: the 60 s dark is taken, scaled."""
    chain = take(tmp_path)
    edit(tmp_path / "raw/flat_g4.fits", EXPTIME=80.0)
    done = run(tmp_path, chain)
    assert done.open(FLATS["g"])[0].header["DARKIM"] == DARKS[60]
    assert done.open(FLATS["r"])[0].header["DARKIM"] in DARKS.values()
    edit(tmp_path / "raw/flat_r4.fits", EXPTIME=400.0)
    again = run(tmp_path, chain)
    assert "DARKIM" not in again.open(FLATS["r"])[0].header
    (line,) = [line for line in again.lines if "combined flats without dark: " in line]
    assert "scaled up 2.5 times at most" in line


def test_a_header_that_says_a_step_was_done_is_refused_in_one_line(tmp_path):
    chain = take(tmp_path)
    edit(tmp_path / "raw/science_g1.fits", FLATFLD="done", ZEROCOR="Zero.fits")
    done = run(tmp_path, chain)
    assert SCIENCE[0] not in done.records
    lines = [line for line in done.lines if "science_g1.fits" in line]
    assert len(lines) == 1
    assert lines[0].startswith(
        "set aside: science_g1.fits: ZEROCOR: the frame was reduced already, by IRAF"
    )
    assert row_of(done, "science_g1.fits").status == "set aside"
    assert [done.records[p].data["grade"] for p in SCIENCE[1:]] == ["A", "A"]


def test_amplifiers_of_very_unlike_gain(tmp_path):
    """Electrons are the truth across the seam, and so are the errors."""
    amplifiers = (
        simulate.SimulatedAmplifier(columns=(0, 52), gain=0.7, read_noise=5.0),
        simulate.SimulatedAmplifier(columns=(52, 103), gain=2.8, read_noise=6.5),
    )
    detector = simulate.draw_detector((101, 103), shutter=0.0, amplifiers=amplifiers)
    chain = take(tmp_path, detector=detector, biases=12, darks=((60.0, 6),), flats=(("g", 6),),
                 science=(("g", 60.0, 2),))  # fmt: skip
    done = run(tmp_path, chain)
    hdus = done.open(SCIENCE[0])
    good = chain.good_pixels("science_g1.fits") & (hdus["MASK"].data == 0)
    for part in (np.s_[:, :52], np.s_[:, 52:]):
        inside = np.zeros(good.shape, bool)
        inside[part] = True
        spread = pull(hdus, chain.perfect("science_g1.fits"), good & inside)
        assert spread.std() == pytest.approx(1.0, abs=0.04)
        assert abs(spread.mean()) < 0.1
