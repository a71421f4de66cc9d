"""The words of a plan where frames of one name differ: temperature, camera, binning, filter."""

from __future__ import annotations

import pytest
from astropy.io import fits
from header_archives import NIGHT, NIGHT_AFTER, NIGHT_BEFORE, HeaderArchive
from offered_masters import frame, master

from ccdflow.kinds.explaining import product_explanation, what_if
from ccdflow.kinds.forecasting import (
    forecast_sentences,
    night_forecast,
    night_noise,
    planned_masters,
)
from ccdflow.kinds.forecasting.budget import BudgetedFrame, Wish
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.answers import Answer
from ccdflow.kinds.matching.match_sentences import missing_words
from ccdflow.kinds.matching.rule import MasterChoice
from ccdflow.run.job import Group
from ccdflow.run.master_choices import Missing, MissingCause, Step


@pytest.fixture
def archive(tmp_path):
    return HeaderArchive(tmp_path)


def plan_lines(archive, night):
    """Return the lines of a night's plan, blanks made single."""
    blocks = night_forecast.forecasts_of_setups(archive.plan(), night, foretells=True)
    return [
        " ".join(line.split()) for block in blocks for line in forecast_sentences.paragraph(block)
    ]


def test_frames_of_one_filter_and_exposure_may_take_other_masters(archive):
    """The cooler failed for the first frame; each line says whose it is, and whose the noise."""
    cards = {"SET_TEMP": -20.0, "CCD_TEMP": -20.0}
    archive.calibrations(NIGHT, **cards)
    archive.take("science", NIGHT, exptime=300.0, **{**cards, "CCD_TEMP": -14.0})
    archive.take("science", NIGHT, 2, exptime=300.0, **cards)
    lines = plan_lines(archive, NIGHT)
    failed, *good = sorted(path.name for path in archive.raw.rglob("science*"))
    darks = [line for line in lines if line.startswith("dark ")]
    assert darks[0].startswith(f"dark none {failed}: no dark for 300 s at -20 C by its set point")
    assert f" {', '.join(good)}: own night, exact; adds " in darks[1]
    flats = [line for line in lines if line.startswith("flat ")]
    assert [failed in flats[0], good[0] in flats[1]] == [True, True]
    noises = [line for line in lines if line.startswith("noise ")]
    assert len(noises) == 2
    assert f"({failed}): " in noises[0]
    assert "dark " not in noises[0].partition("(read noise")[2].partition(")")[0]
    assert f"({', '.join(good)}): " in noises[1]
    assert "dark 1" in noises[1]


def test_a_camera_that_was_swapped_is_named_by_its_card(archive):
    archive.calibrations(NIGHT_BEFORE, SERIALNO="111")
    archive.take("science", NIGHT, exptime=300.0, SERIALNO="222")
    dark = next(line for line in plan_lines(archive, NIGHT) if line.startswith("dark "))
    assert "300 s" in dark
    assert "300 s with SERIALNO 222: nearest" in dark
    assert "with SERIALNO 111 instead of 222" in dark


def test_another_gain_is_not_named_as_another_layout_as_well(archive):
    archive.calibrations(NIGHT_BEFORE, GAIN=1.5)
    archive.take("science", NIGHT, exptime=300.0, GAIN=3.0)
    dark = next(line for line in plan_lines(archive, NIGHT) if line.startswith("dark "))
    assert "with gain 1.5 instead of 3.0 e-/adu grade C" in dark
    assert "layout" not in dark


def test_brighter_flats_are_wished_for_where_those_there_are_too_faint():
    missing = Missing("flat", MissingCause.TOO_FAINT, obstacles="flat.fits: none is bright enough")
    group = Group("calibrated/a.fits", NIGHT, "cam", (), ("a.fits",), kind="science")
    line = planned_masters.PlannedMaster(
        "flat", (group,), Answer(Step("flat"), missing_master=missing)
    )
    exposure = BudgetedFrame(60.0, 5.0, sky=100.0, needed_kinds=("flat",))
    noise = night_noise.GroupNoise("V 60 s", "V", (group.product,), exposure, is_sky_measured=True)
    block = night_forecast.SetupForecast(NIGHT, "cam", (group,), masters=(line,), noises=(noise,))
    assert noise.wishes == [
        Wish(
            "flat",
            5,
            joins_frames=False,
            saved_fraction=0.0,
            saved_fraction_without_light=0.0,
            is_missing=True,
        )
    ]
    assert forecast_sentences.wish_lines(block) == [
        "5 brighter flats V of this night (those that there are could not be made)"
    ]


def test_names_of_filters_may_differ_in_the_signs_between_their_words(archive):
    """Letters count: r and R, and v and V, are two filters."""
    for filter_name in ("Bessell_V", "Sloan r"):
        archive.take("flat", NIGHT, 3, exptime=3.0, FILTER=filter_name)
    for filter_name in ("Bessell V", "Bessell-V", "Bessell v", "Sloan_R"):
        archive.take("science", NIGHT, exptime=300.0, FILTER=filter_name)
    flats = [line for line in plan_lines(archive, NIGHT) if line.startswith("flat ")]
    assert [line.split(":")[0] for line in flats] == [
        f"flat Bessell_V 3 of {NIGHT[5:]} own night",
        "flat none no flat in Bessell v",
        "flat none no flat in Sloan_R",
    ]


def test_an_exposure_too_short_for_a_dark_is_another_question_than_an_unknown_one():
    """The first needs no dark; of the other nobody knows."""
    choice = MasterChoice([]).night_choice_of("dark", frame())
    assert choice.exposure_key(0.0) != choice.exposure_key(None)
    assert [choice.choose(s, None, None).is_needed for s in (0.0, None)] == [False, True]


def test_frames_of_unknown_exposure_are_named_with_their_own_temperature():
    """The reason of the first such frame is not that of the others."""
    masters = MasterChoice([master("dark", NIGHT, set_temperature=-20.0)])
    choice = masters.night_choice_of("dark", frame(night=NIGHT))
    warm, cold = (
        missing_words(choice.choose(None, degrees, None).missing_master)
        for degrees in (-10.0, -20.0)
    )
    assert "of another temperature and an exposure is unknown" in warm
    assert "of another temperature" not in cold


def test_an_unknown_exposure_and_a_long_one_have_different_keys(archive):
    archive.calibrations(NIGHT, dark=10.0)
    for seconds in (60.0, 24.0, None):
        archive.take("science", NIGHT, exptime=seconds, EXPTIME=seconds)
    lines = plan_lines(archive, NIGHT)
    darks = [line for line in lines if line.startswith("dark ")]
    assert [line.partition(" V ")[2].split(":")[0] for line in darks[:2]] == ["60 s", "24 s"]
    assert "no dark for 60 s" in darks[0]
    assert "scaled up by 2.4" in darks[1]
    assert "no dark for an unknown exposure" in darks[2]
    gain = next(line for line in lines if line.startswith("to gain most: "))
    # More darks of 10 s would not change that they are scaled up.
    assert "darks of 24 s of this night" in gain
    assert "darks of 10 s" not in gain


@pytest.mark.parametrize(("of_dark", "is_named"), [("bias.fits", True), ("other.fits", False)])
def test_a_bias_that_adds_more_alone_is_named_as_that_of_the_dark(tmp_path, of_dark, is_named):
    fits.PrimaryHDU(header=fits.Header({"BIASIM": of_dark})).writeto(tmp_path / "dark.fits")
    fits.PrimaryHDU(header=fits.Header({"NCOMBINE": 5})).writeto(tmp_path / "bias.fits")
    header = fits.Header({"BIASIM": "bias.fits", "DARKIM": "dark.fits"})
    chosen = {
        "reason": "1 night before",
        "runner_up": "second.fits",
        "runner_up_variance": "5.0",
        "predicted_variance": "5.01",
    }
    lines = product_explanation.step_lines(tmp_path, "bias", header, chosen)
    assert ("it is the bias of the dark as well" in lines[-1]) is is_named


def test_a_long_reason_of_a_grade_is_whole(tmp_path):
    """The reason goes on in the next card of HISTORY."""
    header = fits.Header({"CCDFKEY": "0123", "CALGRADE": "C"})
    reasons = ("no dark", "no UNCERT: gain or read noise of an amplifier is unknown")
    for reason in reasons:
        header.add_history(f"ccdflow: grade C: {reason}")
    assert len(header["HISTORY"]) == 3
    path = tmp_path / "calibrated/a.fits"
    path.parent.mkdir()
    fits.PrimaryHDU(header=header).writeto(path)
    lines = product_explanation.explain_product(tmp_path, "calibrated/a.fits")
    assert f"  grade    C: {'; '.join(reasons)}" in lines


@pytest.mark.parametrize(
    ("direction", "line"),
    [("causal", "  rule     it is not taken: of a later night"), ("nearest", "variance")],
)
def test_what_if_says_that_a_later_master_does_not_compete(archive, direction, line):
    archive.calibrations(NIGHT)
    archive.calibrations(NIGHT_AFTER)
    file = archive.take("science", NIGHT, exptime=300.0)
    context = archive.plan(calibrate={"direction": direction})
    product = "calibrated/" + file
    (dark,) = (each for each in context.groups if each.startswith(f"combined/{NIGHT_AFTER}/dark"))
    path = context.results / dark
    path.parent.mkdir(parents=True)
    path.touch()
    assert line in what_if.rule_line(context, product, path)


def test_what_if_says_that_a_master_beyond_those_listed_is_of_a_later_night(archive):
    """A frame's list has five masters; those of the sixth and seventh night after it are none."""
    archive.take("bias", "2016-01-15", 5, exptime=0.0)
    for day in range(15, 22):
        archive.take("dark", f"2016-01-{day}", 3, exptime=300.0)
    file = archive.take("science", "2016-01-15", exptime=300.0)
    context = archive.plan(calibrate={"direction": "causal"})
    (group,) = (each for each in context.groups.values() if each.product == f"calibrated/{file}")
    (listed,) = ([use.product for use in step.uses] for step in group.steps if step.kind == "dark")
    darks = sorted(each for each in context.groups if "/dark" in each)
    assert (listed, len(darks)) == (darks[:5], 7)
    for dark in darks[-2:]:
        path = context.results / dark
        path.parent.mkdir(parents=True)
        path.touch()
        line = what_if.rule_line(context, f"calibrated/{file}", path)
        assert line == "  rule     it is not taken: of a later night"


def test_the_inventory_is_not_called_a_product_that_nobody_asks_for(archive):
    archive.calibrations(NIGHT)
    context = archive.plan()
    results = archive.raw.parent / "results"
    results.mkdir(exist_ok=True)
    (results / "inventory.csv").write_text("file\n")
    assert (
        "no product of the plan"
        in product_explanation.explain_product(results, "inventory.csv", context)[-1]
    )


def test_a_window_whose_strip_is_short_takes_masters_of_the_whole_chip(archive):
    """Twelve columns of overscan: the polynomial is of degree 1 in 22 rows, of degree 0 in 7."""
    cards = {"INSTRUME": "NARROW", "GAIN": 1.0, "RDNOISE": 8.0}
    for kind, rows, columns, place in (
        ("bias", 22, 26, "[1:26,1:22]"),
        ("science", 7, 9, "[5:13,11:17]"),
        ("science", 7, 9, "[20:28,11:17]"),
    ):
        sections = {"TRIMSEC": f"[1:{columns},1:{rows}]", "CCDSEC": place}
        sections["BIASSEC"] = f"[{columns + 1}:{columns + 12},1:{rows}]"
        count, shape = (3 if kind == "bias" else 1), (rows, columns + 12)
        archive.take(kind, NIGHT, count, shape=shape, **cards, **sections)
    inside, outside = (archive.chosen(f"{NIGHT}/science00{n}.fits")["bias"] for n in (3, 4))
    assert inside == NIGHT
    assert outside.endswith("with size 26x22 instead of 9x7 pixels, another part of the detector")


@pytest.mark.parametrize(
    ("lag", "alone", "of_frame"),
    [
        (0, "own night", "own night"),
        (1, "1 night before", "1 night before the frame"),
        (57, "57 nights before", "57 nights before the frame"),
        (-1, "1 night later", "1 night after the frame"),
        (-2, "2 nights later", "2 nights after the frame"),
        (1.5, "1.5 nights before", "1.5 nights before the frame"),
        (0.25, "6 hours before", "6 hours before the frame"),
        (-1 / 24, "1 hour later", "1 hour after the frame"),
        (None, *["of another night, days between unknown"] * 2),
        (float("nan"), *["of another night, days between unknown"] * 2),
    ],
)
def test_a_lag_has_one_wording(lag, alone, of_frame):
    assert match_sentences.lag_words(lag) == alone
    assert match_sentences.lag_words(lag, "the frame") == of_frame


@pytest.mark.parametrize(
    ("lag", "words"),
    [(-2, "2 nights after the frame"), (1, "1 night before the frame"), (0, "own night"),
     (None, "of another night, days between unknown")],
)  # fmt: skip
def test_explain_tells_on_which_side_of_the_frame_a_master_was_taken(tmp_path, lag, words):
    """The card of a later master is negative: -2 nights before the frame is no English."""
    fits.PrimaryHDU(header=fits.Header({"NCOMBINE": 5})).writeto(tmp_path / "flat.fits")
    header = fits.Header({"FLATIM": "flat.fits"} | ({} if lag is None else {"FLATDT": lag}))
    lines = product_explanation.step_lines(tmp_path, "flat", header, {})
    assert lines[1].split("; ")[0].strip() == words


_SETUPS = {
    "size": ("64x64", "32x32"), "ccdsum": ("2 2", "1 1"), "window": ("[1:9,1:9]", "[2:9,1:9]"),
    "readmode": ("fast", "slow"), "gain": ("1.5", "3.0"), "optics": ("ROT 12", "ROT 45"),
    "setting": ("DETSERNO 111, OFFSET 10", "DETSERNO 222, OFFSET 10"),
    "part": ("a", "b"), "layout": ("c", "d"), "epoch": ("2024-01-01", "2024-03-01"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "of_master", "of_frame", "words"),
    [
        ("size", 1, 1, "with size 64x64 instead of 32x32 pixels"),
        ("ccdsum", 1, 1, "with binning 2x2 instead of 1x1"),
        ("ccdsum", 0, 1, "with unknown binning instead of 1x1"),
        ("ccdsum", 1, 0, "with binning 2x2 instead of an unknown one"),
        ("window", 1, 1, "with window [1:9,1:9] instead of [2:9,1:9]"),
        ("window", 0, 1, "with unknown window instead of [2:9,1:9]"),
        ("window", 1, 0, "with window [1:9,1:9] instead of an unknown one"),
        ("readmode", 1, 1, "with readout mode fast instead of slow"),
        ("readmode", 0, 1, "with unknown readout mode instead of slow"),
        ("readmode", 1, 0, "with readout mode fast instead of an unknown one"),
        ("gain", 1, 1, "with gain 1.5 instead of 3.0 e-/adu"),
        ("gain", 0, 1, "with unknown gain instead of 3.0 e-/adu"),
        ("gain", 1, 0, "with gain 1.5 e-/adu instead of an unknown one"),
        ("optics", 1, 1, "with ROT 12 instead of 45"),
        ("optics", 0, 1, "with no ROT in the header instead of 45"),
        ("optics", 1, 0, "with ROT 12 instead of none in the header"),
        ("setting", 1, 1, "with DETSERNO 111 instead of 222"),
        ("setting", 0, 1, "with no DETSERNO in the header instead of 222"),
        ("setting", 1, 0, "with DETSERNO 111 instead of none in the header"),
        ("part", 1, 1, "with another part of the detector"),
        ("layout", 1, 1, "with another layout of the amplifiers or way to reduce"),
        ("epoch", 1, 1, "with the camera as from 2024-01-01 on instead of from 2024-03-01 on"),
        ("epoch", 0, 1, "with the camera as before 2024-03-01 instead of from 2024-03-01 on"),
        ("epoch", 1, 0, "with the camera as from 2024-01-01 on instead of before 2024-01-01"),
    ],
)
def test_each_hard_key_is_named_with_another_value_and_with_none(name, of_master, of_frame, words):
    """Each refusal of each kind of master is a sentence, and numbers have their unit."""
    absent = "DETSERNO absent, OFFSET 10" if name == "setting" else ""
    values = [
        pair if there else absent
        for pair, there in zip(_SETUPS[name], (of_master, of_frame), strict=True)
    ]
    of_master, of_frame = (
        (("camera", "cam"), *([(name, value)] if value else [])) for value in values
    )
    for kind in ("bias", "dark", "flat"):
        masters = MasterChoice([master(kind, NIGHT, setup=of_master)])
        step = masters.choose(kind, frame(night=NIGHT, setup=of_frame))
        missing = missing_words(step.missing_master)
        assert missing.endswith(f"({3}, {NIGHT}) {words}"), missing
        assert "absent" not in missing
        assert "  " not in missing
        (_, why) = masters.refused_masters(kind, frame(night=NIGHT, setup=of_frame), {NIGHT})[0]
        assert f"with {why}" == words


def test_a_frame_is_named_by_its_cards_and_those_that_its_header_lacks():
    camera = ("camera", "cam")
    for setting, words in (
        ("DETSERNO 5", "cam with DETSERNO 5"),
        ("DETSERNO absent", "cam without DETSERNO in the header"),
        ("DETSERNO absent, OFFSET 10", "cam with OFFSET 10 without DETSERNO in the header"),
    ):
        assert match_sentences.setup_words((camera, ("setting", setting))) == words


def test_a_frame_whose_header_lacks_a_card_has_a_sentence():
    """The card is in the header of its masters only."""
    setups = [
        (("camera", "cam"), ("setting", f"DETSERNO {serial}")) for serial in ("111", "absent")
    ]
    flats = MasterChoice([master("flat", NIGHT, setup=setups[0])])
    step = flats.choose("flat", frame(night=NIGHT, setup=setups[1]))
    assert missing_words(step.missing_master) == (
        "no flat in g' of cam without DETSERNO in the header: nearest g'"
        f" (3, {NIGHT}) with DETSERNO 111 instead of none in the header"
    )


@pytest.mark.parametrize(
    "card",
    ["CAMERAID", "OFFSET", "COADDS", "PREAMP", "RDSPEED", "XORGSUBF", "CCDROI",
     "HIERARCH ESO DET CHIP1 ID"],
)  # fmt: skip
def test_cards_of_all_kinds_that_a_header_lacks_are_named_in_a_sentence(archive, card):
    for value in (1, 2):
        archive.calibrations(NIGHT_BEFORE, frames=3, **{card: value})
    archive.take("science", NIGHT, exptime=300.0)
    name = card.removeprefix("HIERARCH ")
    lines = plan_lines(archive, NIGHT)
    assert "absent" not in " ".join(lines)
    refusals = [line for line in lines if line.startswith(("bias none", "dark none", "flat none"))]
    assert len(refusals) == 3
    for line in refusals:
        assert f" without {name} in the header: nearest " in line
        assert f"with {name} 1 instead of none in the header" in line


def test_degrees_between_are_given_to_a_tenth_and_as_a_span(archive):
    """A cooler that failed: each frame is colder by a number of its own, and they share a line."""
    archive.calibrations(NIGHT, CCD_TEMP=-10.0)
    for degrees in (-14.1, -15.6, -14.8):
        file = archive.take("science", NIGHT, exptime=300.0, CCD_TEMP=degrees)
    lines = plan_lines(archive, NIGHT)
    biases = [line for line in lines if line.startswith("bias ")]
    assert len(biases) == 1
    assert "own night, 4.1 to 5.6 C warmer; adds " in biases[0]
    context = archive.plan()
    step = context.groups[f"calibrated/{file}"].steps[0]
    assert step.uses[0].remark_texts == ["4.8 C warmer"]
    assert match_sentences.warmer_span_words([2.5, -3.0]) == "3 C colder to 2.5 C warmer"


@pytest.mark.parametrize(("scale", "is_named"), [(0.667, True), (1.0, False)])
def test_the_variance_of_a_scaled_dark_is_given_without_its_bias(tmp_path, scale, is_named):
    """1200 s for 200 s adds less by itself, and lost for the bias that it leaves in the frame."""
    fits.PrimaryHDU(header=fits.Header({"NCOMBINE": 5})).writeto(tmp_path / "dark.fits")
    header = fits.Header({"DARKIM": "dark.fits", "DARKSCAL": scale, "DARKDT": 0})
    chosen = {"reason": "own night", "runner_up": "long.fits", "runner_up_variance": "0.17",
              "predicted_variance": "2.78"}  # fmt: skip
    line = product_explanation.step_lines(tmp_path, "dark", header, chosen)[-1]
    assert ("without the bias that a scaled dark leaves in the frame" in line) is is_named


def test_frames_of_about_one_exposure_that_lack_a_dark_share_a_line(archive):
    archive.calibrations(NIGHT, without=("dark",))
    for exptime in (600.0, 600.004, 599.998):
        archive.take("science", NIGHT, exptime=exptime)
    lines = [line for line in plan_lines(archive, NIGHT) if line.startswith("dark none")]
    assert lines == ["dark none no dark for 600 s: there is none at all grade C"]
