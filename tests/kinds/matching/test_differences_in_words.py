"""The words of a plan where frames of one name differ: temperature, camera, binning, filter."""

from __future__ import annotations

import pytest
from astropy.io import fits
from header_archives import BEFORE, NIGHT, HeaderArchive
from offered_masters import frame, master

from ccdflow.kinds.explaining import product_explanation
from ccdflow.kinds.forecasting import forecast_sentences, night_forecast, night_noise
from ccdflow.kinds.forecasting.budget import BudgetedFrame, Wish
from ccdflow.kinds.matching.answers import Answer
from ccdflow.kinds.matching.match_sentences import missing_words
from ccdflow.kinds.matching.rule import MasterChoice
from ccdflow.run.job import Group, Missing, MissingCause, Step


@pytest.fixture
def archive(tmp_path):
    return HeaderArchive(tmp_path)


def plan_lines(archive, night):
    """Return the lines of a night's plan, blanks made single."""
    blocks = night_forecast.blocks_of(archive.plan(), night, foretell=True)
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
    archive.calibrations(BEFORE, SERIALNO="111")
    archive.take("science", NIGHT, exptime=300.0, SERIALNO="222")
    dark = next(line for line in plan_lines(archive, NIGHT) if line.startswith("dark "))
    assert "300 s" in dark
    assert "with SERIALNO 222: nearest" in dark
    assert "with SERIALNO 111 instead of 222" in dark


def test_another_gain_is_not_named_as_another_layout_as_well(archive):
    archive.calibrations(BEFORE, GAIN=1.5)
    archive.take("science", NIGHT, exptime=300.0, GAIN=3.0)
    dark = next(line for line in plan_lines(archive, NIGHT) if line.startswith("dark "))
    assert "with gain 1.5 instead of 3.0 grade C" in dark
    assert "layout" not in dark


def test_brighter_flats_are_wished_for_where_those_there_are_too_faint():
    missing = Missing("flat", MissingCause.TOO_FAINT, rest="flat.fits: none is bright enough")
    group = Group("calibrated/a.fits", NIGHT, "cam", (), ("a.fits",), kind="science")
    line = night_forecast.PlannedMaster("flat", (group,), Answer(Step("flat"), missing=missing))
    exposure = BudgetedFrame(60.0, 5.0, sky=100.0, needed=("flat",))
    noise = night_noise.GroupNoise("V 60 s", "V", (group.product,), exposure, sky_is_measured=True)
    block = night_forecast.Block(NIGHT, "cam", (group,), taken=(line,), noises=(noise,))
    assert noise.wishes == [
        Wish("flat", 5, has_more=False, gain=0.0, gain_of_reading=0.0, is_missing=True)
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
    alike = MasterChoice([]).alike("dark", frame())
    assert alike.exposure_key(0.0) != alike.exposure_key(None)
    assert [alike.choose(s, None, None).needed for s in (0.0, None)] == [False, True]


def test_frames_of_unknown_exposure_are_named_with_their_own_temperature():
    """The reason of the first such frame was told of all others."""
    masters = MasterChoice([master("dark", NIGHT, set_temperature=-20.0)])
    alike = masters.alike("dark", frame(night=NIGHT))
    warm, cold = (
        missing_words(alike.choose(None, degrees, None).missing) for degrees in (-10.0, -20.0)
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
    assert "no dark for unknown exposure" in darks[2]
    gain = next(line for line in lines if line.startswith("to gain most: "))
    # More darks of 10 s would not mend that they are scaled up.
    assert "darks of 24 s of this night" in gain
    assert "darks of 10 s" not in gain


@pytest.mark.parametrize(("of_dark", "is_said"), [("bias.fits", True), ("other.fits", False)])
def test_a_bias_that_adds_more_alone_is_named_as_that_of_the_dark(tmp_path, of_dark, is_said):
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
    assert ("it is the bias of the dark as well" in lines[-1]) is is_said


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
    assert outside.endswith("with size 26x22 instead of 9x7, another part of the detector")
