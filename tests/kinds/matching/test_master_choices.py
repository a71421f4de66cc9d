"""Archives written by hand in which an astronomer knows the right master, and why.

The files hold headers and zeros: the choice depends on nothing else, and is made while planning.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from header_archives import NIGHT, NIGHT_AFTER, NIGHT_BEFORE, HeaderArchive


@pytest.fixture
def archive(tmp_path):
    return HeaderArchive(tmp_path)


SAME_NIGHT = {"bias": NIGHT, "dark": NIGHT, "flat": NIGHT, "grade": "A"}


def choices_of(night, grade):
    return {"bias": night, "dark": night, "flat": night, "grade": grade}


@pytest.mark.parametrize(
    ("first", "second", "frame"),
    [
        ({"READMODE": "slow"}, {"READMODE": "fast"}, {"READMODE": "slow"}),
        ({"GAIN": 1.0}, {"GAIN": 2.0}, {"GAIN": "1.00"}),
        ({"PREAMP": "1x"}, {"PREAMP": "4x"}, {"PREAMP": "1x"}),
        ({"COADDS": 1}, {"COADDS": 10}, {"COADDS": 1}),
        ({"DETSERNO": "1111"}, {"DETSERNO": "2222"}, {"DETSERNO": "1111"}),
        ({"AMPNAME": "L"}, {"AMPNAME": "R"}, {"AMPNAME": "L"}),
        ({"LTV2": -10}, {"LTV2": 0}, {"LTV2": -10}),
        ({"BLKLEVEL": 10}, {"BLKLEVEL": 50}, {"BLKLEVEL": 10}),
    ],
)
def test_the_masters_of_the_frames_own_device_and_setting(archive, first, second, frame):
    """Those of tonight are of another one, whatever they would save in noise."""
    archive.calibrations(NIGHT_BEFORE, **first)
    archive.calibrations(NIGHT, frames=20, **second)
    file = archive.take("science", NIGHT, exptime=300.0, **frame)
    assert archive.chosen(file) == choices_of(NIGHT_BEFORE, "B")


@pytest.mark.parametrize("card", ["DETSERNO", "COADDS", "PREAMP", "BLKLEVEL"])
def test_masters_of_another_device_alone_are_none(archive, card):
    """All flats are of the camera that was there before: nothing among them tells it."""
    archive.calibrations(NIGHT_BEFORE, **{card: 1})
    archive.calibrations(NIGHT, without=["flat"], **{card: 2})
    file = archive.take("science", NIGHT, exptime=300.0, **{card: 2})
    masters = archive.chosen(file)
    assert (masters["bias"], masters["dark"]) == (NIGHT, NIGHT)
    assert masters["flat"].endswith(f"nearest V (5, {NIGHT_BEFORE}) with {card} 1 instead of 2")


def test_a_card_that_tells_the_kind_of_exposure_is_no_device(archive):
    for kind, exptime in (("bias", 0.0), ("dark", 300.0), ("flat", 3.0)):
        archive.take(kind, NIGHT, 3, exptime=exptime, CCDTYPE=kind, TELESCOP=kind)
    file = archive.take("science", NIGHT, exptime=300.0, CCDTYPE="object", TELESCOP="object")
    assert archive.chosen(file) == SAME_NIGHT


def test_one_readout_mode_in_two_spellings(archive):
    archive.calibrations(NIGHT, READMODE="Slow  Scan")
    file = archive.take("science", NIGHT, exptime=300.0, READMODE="SLOW scan ")
    assert archive.chosen(file) == SAME_NIGHT
    # Of later nights another spelling renames nothing.
    before = set(archive.plan().groups)
    assert len(before) > 3
    archive.calibrations(NIGHT_AFTER, READMODE="SLOW SCAN")
    assert before <= set(archive.plan().groups)


@pytest.mark.parametrize("card", ["CCDSUM", "BINNING"])
def test_one_binning_in_two_spellings(archive, card):
    """A new version of the camera's program writes the binning 2 1 as 2x1."""
    archive.calibrations(NIGHT, **{card: "2 1"})
    file = archive.take("science", NIGHT, exptime=300.0, **{card: "2x1"})
    assert archive.chosen(file) == SAME_NIGHT
    archive.take("flat", NIGHT_BEFORE, 3, exptime=3.0, **{card: "1 1"})
    assert archive.chosen(file) == SAME_NIGHT
    archive.take("flat", NIGHT, 3, exptime=3.0, **{card: "2x1"})
    flats = [group for group in archive.plan().groups.values() if group.kind == "flat"]
    assert sorted(len(group.files) for group in flats) == [3, 8]


def test_filters_are_names_and_their_case_counts(archive):
    """Johnson's V and Stroemgren's v are two filters: the refusal names what there is."""
    archive.calibrations(NIGHT, FILTER="v")
    file = archive.take("science", NIGHT, exptime=300.0)
    assert archive.chosen(file)["flat"].endswith(f"there are v (5, {NIGHT})")


def test_flats_of_another_angle_of_the_rotator(archive):
    archive.calibrations(NIGHT_BEFORE, ROTANGLE=0.0)
    archive.calibrations(NIGHT, ROTANGLE=90.0)
    file = archive.take("science", NIGHT, exptime=300.0, ROTANGLE=0)
    profile = "keywords: {optics: [ROTANGLE, PUPIL]}\n"
    assert archive.chosen(file) == SAME_NIGHT
    assert archive.chosen(file, profile=profile) == {
        **SAME_NIGHT,
        "flat": NIGHT_BEFORE,
        "grade": "B",
    }
    again = archive.take("science", NIGHT, exptime=300.0, ROTANGLE=45.0)
    missing = archive.chosen(again, profile=profile)["flat"]
    assert missing.endswith("with ROTANGLE 0 instead of 45")


def test_flats_of_two_angles_are_two_flats(archive):
    for angle in (0.0, 90.0):
        archive.take("flat", NIGHT, 3, exptime=3.0, ROTANGLE=angle)
    groups = archive.plan(profile="keywords: {optics: ROTANGLE}\n").groups.values()
    assert [len(group.files) for group in groups if group.kind == "flat"] == [3, 3]


def test_flats_of_the_sky_and_of_a_lamp_are_never_averaged(archive):
    archive.calibrations(NIGHT, without=["flat"])
    archive.take("flat", NIGHT, 4, exptime=3.0, IMAGETYP="DOMEFLAT")
    archive.take("flat", NIGHT, 6, exptime=5.0, OBJECT="twilight V")
    file = archive.take("science", NIGHT, exptime=300.0)
    assert archive.chosen(file) == SAME_NIGHT
    groups = archive.plan().groups
    flats = {Path(p).stem[-5:]: len(g.files) for p, g in groups.items() if g.kind == "flat"}
    assert flats == {"_lamp": 4, "V_sky": 6}


def test_the_dark_of_a_step_of_the_cooler(archive):
    archive.calibrations(NIGHT, SET_TEMP=-20.0)
    archive.take("dark", NIGHT, 5, exptime=300.0, SET_TEMP=-10.0, CCD_TEMP=-10.0)
    cold = archive.take("science", NIGHT, exptime=300.0, SET_TEMP=-20.0, CCD_TEMP=-19.6)
    assert archive.chosen(cold) == SAME_NIGHT
    failed = archive.take("science", NIGHT, exptime=300.0, SET_TEMP=-20.0, CCD_TEMP=-5.0)
    assert archive.chosen(failed)["dark"].startswith("no dark for 300 s")


def test_biases_and_flats_of_another_set_point_serve_with_a_remark(archive):
    """Both depend little on temperature: where there are no others they are taken, at grade B."""
    archive.calibrations(NIGHT, CCD_TSET=-10.0, CCD_TEMP=-10.1)
    file = archive.take("science", NIGHT, exptime=300.0, CCD_TSET=-20.0, CCD_TEMP=-20.0)
    context = archive.plan()
    bias, dark, flat = context.groups[f"calibrated/{file}"].steps
    for step in (bias, flat):
        assert (step.uses[0].degrees_warmer, step.uses[0].grade) == (10.0, "B")
        assert step.uses[0].remark_texts == ["10 C warmer"]
    assert dark.uses == ()
    # 5 frames of 6 e-, and a tenth of an electron for each degree.
    assert bias.uses[0].variance == pytest.approx(36 / 5 + (0.1 * 10) ** 2)


@pytest.mark.parametrize(
    ("degrees", "night"),
    [(-20.0, NIGHT_BEFORE), (-12.0, NIGHT), (None, NIGHT), (-19.0, NIGHT_BEFORE)],
)
def test_the_same_set_point_goes_first_by_the_predicted_variance(archive, degrees, night):
    """8 warm biases of tonight against 6 cold ones of the night before: 2.7 e2 of noise apart."""
    archive.calibrations(NIGHT_BEFORE, frames=6, CCD_TSET=-20.0)
    archive.calibrations(NIGHT, frames=8, CCD_TSET=-1.0)
    file = archive.take("science", NIGHT, exptime=300.0, CCD_TSET=degrees, CCD_TEMP=degrees)
    assert archive.chosen(file)["bias"] == night


def test_the_scatter_of_a_sensor_is_no_other_temperature(archive):
    """ISIS reads 159.8 to 161.5 K in one night; no card has a set point."""
    archive.calibrations(NIGHT, CCD_TEMP=159.8)
    file = archive.take("science", NIGHT, exptime=300.0, CCD_TEMP=161.5)
    masters = archive.chosen(file, calibrate={"temperature_tolerance": 2.0})
    assert masters == SAME_NIGHT
    warm = archive.take("science", NIGHT, exptime=300.0, CCD_TEMP=175.0)
    assert archive.chosen(warm)["grade"] == "C"


def test_without_overscan_the_level_of_a_bias_goes_with_the_temperature(archive):
    """An electron a degree: the few of the own set point go before the many of another."""
    for night, frames, degrees in ((NIGHT_BEFORE, 5, -20.0), (NIGHT, 20, -15.0)):
        archive.take("bias", night, frames, CCD_TSET=degrees)
    file = archive.take("science", NIGHT, exptime=300.0, CCD_TSET=-20.0)
    assert archive.chosen(file)["bias"] == NIGHT
    assert archive.chosen(file, reduction={"subtract": False})["bias"] == NIGHT_BEFORE


@pytest.mark.parametrize(
    ("own", "other", "grade"),
    [
        (600.0, "2024-01-10", "B"),  # exact, but two months old, and of fewer frames
        (600.0, "2024-05-10", "B"),  # exact, but later
        (200.0, "2024-05-10", "C"),  # scaled up: a later night would change what was made
    ],
)
def test_darks_two_months_off_against_scaled_ones_of_the_own_night(archive, own, other, grade):
    archive.calibrations(NIGHT, dark=own)
    archive.calibrations(other, frames=3)
    file = archive.take("science", NIGHT, exptime=300.01)
    assert archive.chosen(file) == {**SAME_NIGHT, "grade": grade}


def test_a_dark_that_is_too_short_by_a_trifle_is_not_stretched(archive):
    """0.5 s of readout in 300 s: the dark of the night is right, not that of two months later."""
    archive.calibrations(NIGHT)
    archive.calibrations("2024-05-10", dark=300.5)
    file = archive.take("science", NIGHT, exptime=300.5)
    assert archive.chosen(file) == {**SAME_NIGHT, "grade": "B"}
    assert archive.chosen(file, calibrate={"scale_up": 1})["dark"] == "2024-05-10"


def test_a_night_is_not_split_at_midnight(archive):
    archive.take("bias", NIGHT, 5, time="17")
    archive.take("flat", NIGHT, 5, exptime=3.0, time="18")
    archive.take("dark", NIGHT, 5, exptime=300.0, time="06")
    for time in ("23", "00"):
        file = archive.take("science", NIGHT, exptime=300.0, time=time)
        assert archive.chosen(file) == SAME_NIGHT


# -- epochs of a camera ----------------------------------------------------------------------------


def test_an_epoch_bounds_the_frames_that_a_master_serves(archive):
    """The camera was opened: thirty frames of the day before are of another camera."""
    archive.calibrations(NIGHT_BEFORE, frames=30)
    archive.calibrations(NIGHT, without=["flat"])
    file = archive.take("science", NIGHT, exptime=300.0)
    assert archive.chosen(file) == choices_of(NIGHT_BEFORE, "B")
    masters = archive.chosen(file, profile=f'epochs: ["{NIGHT}"]\n')
    assert (masters["bias"], masters["dark"]) == (NIGHT, NIGHT)
    assert masters["flat"].endswith(
        f"nearest V (30, {NIGHT_BEFORE}) with the camera as before {NIGHT} "
        f"instead of from {NIGHT} on"
    )


def test_a_later_master_is_taken_within_the_epoch_only(archive):
    archive.calibrations(NIGHT, without=["flat"])
    archive.take("flat", NIGHT_AFTER, 5, exptime=3.0)
    file = archive.take("science", NIGHT, exptime=300.0)
    profile = 'epochs: ["2024-01-01", "{}"]\n'
    assert archive.chosen(file, profile=profile.format("2024-03-13"))["flat"] == NIGHT_AFTER
    assert archive.chosen(file, profile=profile.format("2024-03-11"))["grade"] == "C"


def test_masters_over_nights_end_with_the_epoch(archive):
    for night in (NIGHT_BEFORE, NIGHT, NIGHT_AFTER):
        archive.take("bias", night, 3)
    by = {"bias": {"group_by": ["ccdsum", "window", "readmode", "gain"]}}
    groups = archive.plan(profile=f'epochs: ["{NIGHT}"]\n', **by).groups
    assert sorted((g.nights, len(g.files)) for g in groups.values() if g.kind == "bias") == [
        ((NIGHT_BEFORE,), 3),
        ((NIGHT, NIGHT_AFTER), 6),
    ]


def test_biases_of_a_detector_that_was_still_warm_are_a_master_of_their_own(archive):
    """Ten biases, five before the cooler was on; no card has a set point."""
    archive.take("bias", NIGHT, 5, CCD_TEMP=15.0)
    archive.take("bias", NIGHT, 5, CCD_TEMP=-19.9)
    archive.calibrations(NIGHT, without=["bias"])
    file = archive.take("science", NIGHT, exptime=300.0)
    context = archive.plan()
    (use, other) = context.groups[f"calibrated/{file}"].steps[0].uses
    assert (len(context.groups[use.product].files), use.grade) == (5, "A")
    assert use.product.endswith("_-19.9C.fits")
    assert other.remark_texts == ["35 C warmer"]


def test_two_wheels_of_which_one_has_no_number(archive):
    """V with a neutral filter behind it is no flat of V."""
    archive.take("flat", NIGHT, 9, exptime=3.0, FILTER="V", FILTER2="ND")
    archive.take("flat", NIGHT_BEFORE, 3, exptime=3.0, FILTER="V", FILTER2="Clear")
    archive.calibrations(NIGHT, without=["flat"])
    file = archive.take("science", NIGHT, exptime=300.0, FILTER2="Clear")
    assert archive.chosen(file)["flat"] == NIGHT_BEFORE
    both = archive.take("science", NIGHT, exptime=300.0, FILTER2="ND")
    assert archive.chosen(both)["flat"] == NIGHT


def test_temperatures_with_their_unit(archive):
    archive.calibrations(NIGHT, CCD_TEMP="-20.0 C")
    archive.take("dark", NIGHT, 9, exptime=300.0, CCD_TEMP="263.15 K")
    file = archive.take("science", NIGHT, exptime=300.0, CCD_TEMP="253.15 K")
    dark = archive.plan().groups[f"calibrated/{file}"].steps[1]
    assert [use.temperatures for use in dark.uses] == [(None, -20.0)]


# -- archives that try to make the rule choose wrongly: the answers were written down beforehand ---

EARLIER_NIGHT = "2024-03-08"


def test_a_camera_that_comes_back_takes_its_masters_of_before_the_other(archive):
    """Those of the night between are nearer, and of the other camera."""
    archive.calibrations(EARLIER_NIGHT, SERIALNO="111")
    archive.calibrations(NIGHT_BEFORE, SERIALNO="222")
    own = archive.take("science", NIGHT, exptime=300.0, SERIALNO="111")
    assert archive.chosen(own) == choices_of(EARLIER_NIGHT, "B")
    unknown = archive.chosen(archive.take("science", NIGHT, exptime=300.0))
    assert unknown["flat"] == (
        "no flat in V of testcam 64x8 without SERIALNO in the header: nearest V"
        f" (5, {EARLIER_NIGHT}) with SERIALNO 111 instead of none in the header"
    )


def test_flats_of_the_next_morning_are_of_the_own_night(archive):
    archive.calibrations(NIGHT_BEFORE)
    archive.calibrations(NIGHT, without=("flat",))
    file = archive.take("science", NIGHT, exptime=300.0, time="23")
    archive.take("flat", NIGHT, 5, exptime=3.0, time="05")
    assert archive.chosen(file) == SAME_NIGHT


def test_frames_whose_date_was_not_turned_at_midnight_take_the_masters_of_that_night(archive):
    """The frames' headers name the night before, so the masters count as of a later night."""
    archive.calibrations(NIGHT)
    file = archive.take("science", NIGHT_BEFORE, exptime=300.0, time="01")
    assert archive.chosen(file) == choices_of(NIGHT, "B")
    (group,) = (g for g in archive.plan().groups.values() if g.product == f"calibrated/{file}")
    assert {step.uses[0].remark_texts[0] for step in group.steps} == {"1 night later"}


def test_a_set_point_that_changes_at_midnight_parts_the_darks(archive):
    cold, warm = {"SET_TEMP": -20.0, "CCD_TEMP": -20.0}, {"SET_TEMP": -10.0, "CCD_TEMP": -10.0}
    archive.calibrations(NIGHT_BEFORE, **cold)
    archive.take("flat", NIGHT, 5, exptime=3.0, **cold)
    evening = archive.take("science", NIGHT, exptime=300.0, time="22", **cold)
    morning = archive.take("science", NIGHT, exptime=300.0, time="02", **warm)
    archive.take("bias", NIGHT, 5, time="05", **warm)
    archive.take("dark", NIGHT, 5, exptime=300.0, time="05", **warm)
    # The bias of the evening's dark cancels in it.
    night, before = NIGHT, NIGHT_BEFORE
    assert archive.chosen(evening) == {"bias": before, "dark": before, "flat": night, "grade": "B"}
    assert archive.chosen(morning) == {**SAME_NIGHT, "grade": "B"}


@pytest.mark.parametrize(
    ("seconds", "of_dark", "grade"),
    [(200.0, 300.0, "B"), (700.0, 1200.0, "B"), (2000.0, 1200.0, "C"), (5000.0, None, "C")],
)
def test_darks_that_are_longer_and_shorter_than_the_frame(archive, seconds, of_dark, grade):
    """300 s for 200 s: of 1200 s most of the bias would stay in; 5000 s are too long for any."""
    archive.calibrations(NIGHT)
    for exptime in (60.0, 1200.0):
        archive.take("dark", NIGHT, 5, exptime=exptime)
    file = archive.take("science", NIGHT, exptime=seconds)
    (group,) = (g for g in archive.plan().groups.values() if g.product == f"calibrated/{file}")
    products = [use.product for use in group.steps[1].uses[:1]]
    assert products == ([] if of_dark is None else [products[0]])
    assert all(f"_{of_dark:g}s" in product for product in products)
    assert archive.chosen(file)["grade"] == grade


def test_masters_of_years_ago_give_way_to_a_few_of_the_night(archive):
    archive.calibrations("2019-03-10", frames=12)
    archive.calibrations(NIGHT, frames=3)
    assert archive.chosen(archive.take("science", NIGHT, exptime=300.0)) == SAME_NIGHT


def test_a_filter_that_was_renamed_is_another_and_the_old_one_is_named(archive):
    archive.calibrations(NIGHT_BEFORE, FILTER="R")
    archive.calibrations(NIGHT_BEFORE, FILTER=None, without=("bias", "dark"))
    missing = archive.chosen(archive.take("science", NIGHT, exptime=300.0, FILTER="Rc"))["flat"]
    assert missing.startswith("no flat in Rc of testcam 64x8: there are ")
    assert f"R (5, {NIGHT_BEFORE})" in missing
    assert f"an unnamed filter (5, {NIGHT_BEFORE})" in missing
