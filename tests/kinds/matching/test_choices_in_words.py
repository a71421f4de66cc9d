"""The words on choices are true: of plan, page, table, explain and night, on one archive each.

The files hold headers and zeros: the choice depends on nothing else, and is made while planning.
"""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from header_archives import NIGHT, NIGHT_AFTER, NIGHT_BEFORE, HeaderArchive
from offered_masters import frame, master

import tonight
from ccdflow.errors import UserError
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.forecasting import coverage, forecast_sentences, night_forecast, planned_masters
from ccdflow.kinds.forecasting.budget import wishes_of
from ccdflow.kinds.matching import match_sentences, rule
from ccdflow.kinds.matching.answers import Answer, answers_of, has_reasons_of_its_own, reasons_of
from ccdflow.kinds.matching.match_sentences import missing_words
from ccdflow.kinds.matching.rule import MasterChoice
from ccdflow.kinds.matching.rule_values import TEMPERATURE_UNKNOWN, Rules
from ccdflow.kinds.reporting.associations_table import ASSOCIATIONS, COLUMNS, table_lines
from ccdflow.run import read_only_plan
from ccdflow.run.master_choices import Step, Use
from ccdflow.run.raw_frames.rows import digest


@pytest.fixture
def archive(tmp_path):
    return HeaderArchive(tmp_path)


def plan_lines(archive, night, **options):
    """Return the lines of a night's plan, blanks made single."""
    blocks = night_forecast.forecasts_of_setups(archive.plan(**options), night, foretells=True)
    return [
        " ".join(line.split()) for block in blocks for line in forecast_sentences.paragraph(block)
    ]


def line_of(lines, start):
    return next((line for line in lines if line.startswith(start)), "")


def test_a_master_that_one_frame_may_take_is_not_among_those_not_used(archive):
    """The master competes for one frame, and is refused for another of the same night."""
    archive.calibrations(NIGHT_BEFORE, dark=60.0, frames=10)
    archive.take("dark", NIGHT_BEFORE, 5, exptime=300.0)
    archive.take("flat", NIGHT, 3, exptime=3.0)
    archive.take("flat", NIGHT, 3, exptime=3.0, FILTER="R")
    archive.take("science", NIGHT, exptime=300.0)
    archive.take("science", NIGHT, exptime=100.0, FILTER="B")
    assert line_of(plan_lines(archive, NIGHT), "not used: ") == (
        f"not used: flat R (3, {NIGHT}): other filter"
    )
    archive.take("science", NIGHT, exptime=500.0, FILTER="R")
    archive.take("dark", NIGHT, 5, exptime=20.0)
    assert line_of(plan_lines(archive, NIGHT), "not used: ") == (
        f"not used: dark 20 s at -20 C (5, {NIGHT}): would be scaled up 15 times or would be scaled"
        " up 5 times or would be scaled up 25 times"
    )


def test_a_later_master_is_named_with_the_reason_against_the_earlier_ones(archive):
    """Nothing earlier fits; or it would be scaled up; `nearest` asks for no reason."""
    archive.take("bias", NIGHT_AFTER, 5)
    archive.take("flat", NIGHT_BEFORE, 5, exptime=3.0)
    archive.take("flat", NIGHT_AFTER, 12, exptime=3.0)
    archive.take("science", NIGHT, exptime=300.0)
    lines = plan_lines(archive, NIGHT)
    assert "2 nights later (nothing earlier fits)" in line_of(lines, "bias")
    assert "1 night before" in line_of(lines, "flat")
    lines = plan_lines(archive, NIGHT, calibrate={"direction": "nearest"})
    assert "12 of 03-12 2 nights later, chosen by number, 2 levels not known yet:" in line_of(
        lines, "flat"
    )
    assert "earlier" not in " ".join(lines)


def test_a_later_dark_is_named_with_the_earlier_one_that_would_be_scaled_up():
    later = Use("later", -2, 1.0, 4.0, "B", (match_sentences.remark_on_lag(-2),))
    own = Use("own", 0, 1.5, 9.0, "C", (match_sentences.remark_on_scale(1.5),))
    step = Step("dark", (later, own))
    reason = "2 nights later (one of the own night would be scaled up 1.5 times)"
    assert reasons_of(Answer(step, later), Rules()) == [reason, "exact"]
    turned = Answer(Step("dark", (own, later)), later)
    assert "2 nights later (nothing earlier could be made)" in reasons_of(turned, Rules())


def test_an_earlier_master_of_another_epoch_does_not_fit(archive):
    archive.calibrations(NIGHT_BEFORE)
    archive.calibrations(NIGHT_AFTER)
    archive.take("science", NIGHT, exptime=300.0)
    lines = plan_lines(archive, NIGHT, profile=f'epochs: ["{NIGHT}"]\n')
    assert "2 nights later (nothing earlier fits)" in line_of(lines, "dark")


def test_a_refusal_for_temperature_names_the_frames_own(archive):
    """The cooler did not hold its set point; frames of other temperatures are told apart."""
    cards = {"SET_TEMP": -20.0, "CCD_TEMP": -20.0}
    archive.calibrations(NIGHT, **cards)
    archive.take("dark", NIGHT, 4, exptime=20.0, **cards)
    archive.take("science", NIGHT, exptime=300.0, SET_TEMP=-20.0, CCD_TEMP=-17.0)
    there = (
        f"there are 20 s at -20 C (4, {NIGHT}), of another temperature and too short; 300 s at -20"
        f" C (5, {NIGHT}), of another temperature; allowed: scaled up 2.5 times at most, and a"
        " temperature within 0.5 C"
    )
    failed = "300 s at -20 C by its set point and -17 C by its sensor"
    setup = " of testcam 64x8"
    dark = line_of(plan_lines(archive, NIGHT), "dark")
    assert dark == f"dark none no dark for {failed}: {there} grade C"
    for degrees in (-15.0, -20.6):
        archive.take("science", NIGHT, exptime=300.0, SET_TEMP=None, CCD_TEMP=degrees)
    dark = line_of(plan_lines(archive, NIGHT), "dark")
    assert dark.startswith(f"dark none no dark for 300 s at -20.6 C, 300 s at -15 C, {failed}: ")
    missing = archive.chosen(archive.take("science", NIGHT, exptime=300.0, CCD_TEMP=-10.0))["dark"]
    assert missing.startswith(f"no dark for 300 s at -10 C{setup}")


def test_too_few_frames_of_the_night_are_named_beside_an_older_master(archive):
    archive.calibrations(NIGHT_BEFORE)
    archive.take("bias", NIGHT, 2)
    archive.take("science", NIGHT, exptime=300.0)
    assert line_of(plan_lines(archive, NIGHT), "not used: ") == (
        f"not used: bias (2, {NIGHT}): fewer than the minimum of 3"
    )


def test_a_master_that_lacks_a_frame_asks_for_one_more(archive):
    archive.calibrations(NIGHT, without=("bias",))
    archive.take("bias", NIGHT, 2)
    archive.take("science", NIGHT, exptime=300.0)
    lines = plan_lines(archive, NIGHT)
    assert "would be of 2 frames, allowed 3 or more" in line_of(lines, "bias")
    wishes = line_of(lines, "to gain most: ")
    assert "1 more bias makes a combined bias of the 2 that there are" in wishes
    assert "10 biases" not in wishes


def test_one_more_dark_completes_a_group_that_is_refused(archive):
    """Five darks of four years ago are taken; the two of tonight would be, if they were three."""
    archive.calibrations("2020-03-09")
    archive.take("dark", NIGHT, 2, exptime=300.0)
    archive.take("science", NIGHT, exptime=300.0)
    (block,) = night_forecast.forecasts_of_setups(archive.plan(), NIGHT, foretells=True)
    first, second = forecast_sentences.wish_lines(block)[:2]
    # No current, 1462 days of 1e-6 (e-/s)^2; the bias cancels in the dark.
    read, share = block.noises[0].frame.read_variance, block.noises[0].frame.level_share
    now = read * (1 + 1 / 5) * (1 + share) + 1462 * 1e-6 * 300**2
    then = {frames: read * (1 + 1 / frames) * (1 + share) for frames in (3, 20)}
    assert first == (
        "1 more dark of 300 s makes a combined dark of the 2 that there are"
        f" (-{100 * (1 - then[3] / now):.0f} % of read and dark variance)"
    )
    assert second == (
        f"18 more darks of 300 s (-{100 * (1 - then[20] / now):.0f} % of read and dark variance)"
    )
    archive.take("dark", NIGHT, exptime=300.0)
    context = archive.plan()
    (block,) = night_forecast.forecasts_of_setups(context, NIGHT, foretells=True)
    assert block.noises[0].budget.variance_without_light == pytest.approx(then[3])


def test_a_group_of_the_own_night_is_completed_also_where_later_masters_are_better(archive):
    """A frame takes masters of later nights for lack of others: three of its own night go first."""
    archive.calibrations(NIGHT, frames=2)
    archive.take("science", NIGHT, exptime=300.0)
    archive.calibrations(NIGHT_AFTER, frames=8)
    wishes = line_of(plan_lines(archive, NIGHT), "to gain most: ").removeprefix("to gain most: ")
    assert wishes.split(", ")[:3] == [
        "1 more bias makes a combined bias of the 2 that there are (of the own night)",
        "1 more flat V makes a combined flat of the 2 that there are (of the own night)",
        "1 more dark of 300 s makes a combined dark of the 2 that there are (of the own night)",
    ]
    archive.calibrations(NIGHT, frames=1)
    assert archive.chosen(archive.take("science", NIGHT, exptime=300.0))["dark"] == NIGHT


def test_a_group_of_the_night_that_the_frame_may_not_take_is_no_wish(archive):
    """One more frame of another exposure, temperature, camera or filter is no gain for it."""
    archive.calibrations(NIGHT_BEFORE)
    archive.take("dark", NIGHT, 2, exptime=20.0)
    archive.take("dark", NIGHT, 2, exptime=300.0, CCD_TEMP=-10.0)
    archive.take("bias", NIGHT, 2, OFFSET=77)
    archive.take("flat", NIGHT, 2, exptime=3.0, FILTER="R")
    archive.take("science", NIGHT, exptime=300.0)
    assert "makes a combined" not in line_of(plan_lines(archive, NIGHT), "to gain most: ")


def test_flats_and_biases_that_complete_a_group_go_before_other_wishes(archive):
    """Masters of years ago are taken: those of the night would go first, if there were enough."""
    archive.calibrations("2020-03-09", frames=3)
    archive.calibrations(NIGHT, frames=2, without=("dark",))
    archive.take("science", NIGHT, exptime=150.0)
    wishes = line_of(plan_lines(archive, NIGHT), "to gain most: ").removeprefix("to gain most: ")
    assert wishes.startswith("1 more bias makes a combined bias of the 2 that there are (-")
    context = archive.plan()
    (block,) = night_forecast.forecasts_of_setups(context, NIGHT, foretells=True)
    (noise,) = block.noises
    lit = replace(noise.frame, sky=50_000.0)
    wish = next(wish for wish in wishes_of(lit) if wish.kind == "flat")
    assert (wish.n_frames, wish.small_group.n_frames, wish.small_group.minimum) == (1, 2, 3)


def test_masters_of_another_camera_are_neither_nearest_nor_not_used():
    other, own = (("camera", "camg"), ("size", "64x64")), (("camera", "cami"), ("size", "32x32"))
    full = (("camera", "cami"), ("size", "64x64"), ("binning", "2x2"))
    masters = MasterChoice([master("bias", NIGHT, setup=other), master("bias", NIGHT, setup=full)])
    wanted = frame(setup=own)
    missing = missing_words(masters.choose("bias", wanted).missing_master)
    assert f"nearest (3, {NIGHT}) with size 64x64 instead of 32x32 pixels, binning 2x2" in missing
    assert [m.observation.setup for m, _ in masters.refused_masters("bias", wanted, {NIGHT})] == [
        full
    ]
    alone = MasterChoice([master("bias", NIGHT, setup=other)])
    missing = missing_words(alone.choose("bias", wanted).missing_master)
    assert missing == "no bias of cami 32x32: there is none of this camera"


def test_masters_of_some_nights_are_found_among_those_of_ten_years(monkeypatch):
    """The words on a night look at the masters of the nights that they name, at no others."""
    setups = [(("camera", "cami"), ("binning", text)) for text in ("1x1", "2x2")]
    nights = [f"{2000 + n // 300}-{n % 300 // 28 + 1:02}-{n % 28 + 1:02}" for n in range(3000)]
    masters = MasterChoice([master("bias", night, setup=s) for night in nights for s in setups])
    asked, wanted, some = [], frame(setup=setups[0]), {nights[2000], nights[10], NIGHT}
    monkeypatch.setattr(
        rule, "_are_of_one_camera", lambda master, frame: asked.append(master) or True
    )
    passed = [each for each, _ in masters.refused_masters("bias", wanted, some)]
    assert [each.observation.night for each in passed] == [nights[10], nights[2000]]
    assert [each.observation.setup for each in passed] == [setups[1]] * 2
    assert len(asked) == 4
    fitting = masters.masters_that_fit("bias", wanted, some)
    assert [each.observation.night for each in fitting] == [nights[10], nights[2000]]


def test_the_tables_runner_up_is_the_pages(archive):
    """A later night's dark of less noise does not compete: neither names it."""
    archive.calibrations(NIGHT)
    archive.take("dark", NIGHT_AFTER, 20, exptime=300.0)
    archive.take("science", NIGHT, exptime=300.0)
    context = archive.plan()
    (block,) = night_forecast.forecasts_of_setups(context, NIGHT)
    assert [line.rival for line in block.masters] == [None, None, None]
    rows = [dict(zip(COLUMNS, cells, strict=True)) for cells in table_lines(context)]
    assert [row["runner_up"] for row in rows] == ["", "", ""]


def test_the_matrix_tells_the_setups_of_one_camera_apart(archive):
    """The night has biases of two binnings, and flats of one: a frame has the other one."""
    archive.calibrations(NIGHT, CCDSUM="1 1")
    archive.take("bias", NIGHT, 5, CCDSUM="2 2")
    archive.take("science", NIGHT, exptime=300.0, CCDSUM="1 1")
    context = archive.plan()
    assert coverage.coverage_of(context).cells_of_state(coverage.NO_MASTERS) == []
    archive.take("science", NIGHT, exptime=300.0, CCDSUM="2 2")
    context = archive.plan()
    matrix = coverage.coverage_of(context)
    missing = [("2x2 dark 300 s", NIGHT), ("2x2 flat V", NIGHT)]
    assert matrix.cells_of_state(coverage.NO_MASTERS) == missing
    assert [matrix.cells[place] for place in missing] == [(0, coverage.NO_MASTERS)] * 2
    assert (
        matrix.cells["1x1 bias", NIGHT]
        == matrix.cells["2x2 bias", NIGHT]
        == (5, coverage.FROM_OWN_NIGHT)
    )
    (line,) = ASSOCIATIONS.overview(context).summary
    assert line == f"Missing: 2x2 dark 300 s ({NIGHT}), 2x2 flat V ({NIGHT})."


def test_the_page_distinguishes_cameras(archive):
    """Two setups, files of one name: each row, noise and wish names its own."""
    for gain in (1.0, 2.0):
        archive.calibrations(NIGHT, GAIN=gain)
        archive.take("science", NIGHT, exptime=300.0, GAIN=gain)
    section = ASSOCIATIONS.section(archive.plan(), NIGHT)
    setups = ("testcam 64x8 g1.0", "testcam 64x8 g2.0")
    assert {row[4].partition(": ")[0] for row in section.rows} == set(setups)
    assert all(name.startswith(own) for (name, _), own in zip(section.facts, setups, strict=True))
    wishes = section.summary[0].removeprefix("To gain most: ").split(", ")
    assert wishes
    assert all(wish.startswith(setups) for wish in wishes), wishes


def test_a_group_of_settings_is_given_to_the_scripts_as_to_a_run(archive, monkeypatch):
    monkeypatch.chdir(archive.raw.parent)
    given = {"raw": str(archive.raw), "results": "results"}
    values = read_only_plan.settings_of({**given, "calibrate": "{skip_harmful: true, scale_up: 1}"})
    assert (values["calibrate"]["skip_harmful"], values["calibrate"]["scale_up"]) == (True, 1)
    assert (
        values["calibrate"]["missing"] == read_only_plan.settings_of(given)["calibrate"]["missing"]
    )
    with pytest.raises(UserError, match="is not a group of settings"):
        read_only_plan.settings_of({**given, "calibrate": "true"})
    words = ["raw=raw", "results=results", "calibrate={scale_up: 1}"]
    assert tonight.parse(words).settings_given["calibrate"] == "{scale_up: 1}"


def test_darks_scaled_by_about_the_same_factor_have_a_line_for_each_grade(archive):
    """Up to 1 % too short a dark is of grade B: by three digits both are scaled by 1.01."""
    archive.calibrations(NIGHT, dark=60.0)
    for seconds in (60.6, 60.61):
        archive.take("science", NIGHT, exptime=seconds)
    darks = [line for line in plan_lines(archive, NIGHT) if "scaled up by 1.01" in line]
    assert [(line.partition(": ")[0].partition(" V ")[2], line[-1]) for line in darks] == [
        ("60.6 s", "B"),
        ("60.61 s", "C"),
    ]


def test_a_variance_that_is_hardly_larger_is_given_in_percent_and_a_tie_as_one(archive):
    """Masters of 1 and 3 March, for a frame of 2 March: 'further away' would be false."""
    rules = Rules(direction="nearest")
    first = Use("combined/2024-03-01/bias.fits", 1, 1.0, 10.5625, "B", ())
    assert match_sentences.why_lost(first, replace(first, lag=2, variance=10.5725), rules) == (
        "adds 0.09 % more variance"
    )
    assert match_sentences.why_lost(first, replace(first, lag=2, variance=17.7), rules) == (
        "adds 1.68 times the variance"
    )
    assert match_sentences.why_lost(first, replace(first, lag=-1), rules) == (
        "as good: of these the first by name is taken"
    )
    assert match_sentences.why_lost(first, replace(first, lag=-2), rules) == (
        "as good, and further away in time"
    )


def test_frames_of_one_name_are_distinguished_by_their_folders():
    """A night that was copied to another folder: its names say nothing."""
    groups = [SimpleNamespace(files=(file,)) for file in ("a/x.fits", "b/x.fits", "b/y.fits")]
    assert night_forecast.names_of_files(groups[1:]) == ["x.fits", "y.fits"]
    assert night_forecast.names_of_files(groups) == ["a/x.fits", "b/x.fits", "b/y.fits"]
    assert night_forecast.files_words(groups) == "a/x.fits, b/x.fits and 1 more"


def test_one_earlier_night_is_no_nights(archive):
    nights = [NIGHT_BEFORE, NIGHT, NIGHT_AFTER]
    for night in nights:
        archive.take("science", night, exptime=300.0)
    context = archive.plan()
    by_night = {night: SCIENCE.night_groups(context, night) for night in nights}
    first = forecast_sentences.paragraphs(context, by_night, most_nights=2)[0]
    assert first == f"plan of 1 earlier night, from {NIGHT_BEFORE}: 1 frame, 1 of grade C"


def test_darks_without_any_bias_are_promised_to_no_frame(archive):
    """A dark is less its bias. Without one it is known beforehand that there will be no dark."""
    archive.calibrations(NIGHT, without=["bias"])
    archive.take("science", NIGHT, exptime=300.0)
    lines = plan_lines(archive, NIGHT)
    dark = f"combined/{NIGHT}/dark_testcam_64x8_300s.fits"
    refused = f"no dark: {dark} could not be made grade C"
    assert line_of(lines, "dark") == f"dark none {refused}"
    # Only biases are missing: the existing darks suffice.
    assert line_of(lines, "to gain most") == (
        "to gain most: 10 biases of this night (there is none that fits)"
    )


def test_a_frame_without_temperature_has_a_line_on_darks_of_several(archive):
    archive.take("bias", NIGHT, 5)
    archive.take("dark", NIGHT, 6, exptime=300.0, CCD_TEMP=10.0)
    archive.take("dark", NIGHT, 4, exptime=300.0)
    archive.take("dark", NIGHT_AFTER, 4, exptime=300.0, CCD_TEMP=0.0)
    archive.take("science", NIGHT, exptime=300.0, CCD_TEMP=None)
    dark = line_of(plan_lines(archive, NIGHT), "dark 6 x 300 s")
    assert "own night, temperature unknown (darks of -20 C and 10 C compete), exact" in dark


def test_set_points_are_given_to_a_tenth(archive):
    archive.calibrations(NIGHT, SET_TEMP=-19.6, CCD_TEMP=-19.6)
    archive.take("science", NIGHT, exptime=300.0, SET_TEMP=-20.4, CCD_TEMP=-20.4)
    assert "own night, 0.8 C warmer" in line_of(plan_lines(archive, NIGHT), "bias")


def test_further_darks_are_of_the_exposure_of_those_that_they_join(archive):
    """20 of 300 s for a frame of 290 s: as pixels drawn at random have it, 20 more gain 2 %."""
    archive.calibrations(NIGHT, frames=20)
    archive.take("science", NIGHT, exptime=290.0)
    wishes = line_of(plan_lines(archive, NIGHT), "to gain most: ")
    assert "20 more darks of 300 s (-2 % of read and dark variance)" in wishes


def test_further_darks_are_of_the_temperature_of_the_frames_that_lack_them(archive):
    """A night at two temperatures: 5 darks of 300 s would be read as more of either."""
    archive.calibrations(NIGHT)
    archive.take("science", NIGHT, exptime=300.0)
    assert " at -20 C" not in line_of(plan_lines(archive, NIGHT), "to gain most: ")
    archive.take("science", NIGHT, exptime=300.0, CCD_TEMP=-10.0)
    wishes = line_of(plan_lines(archive, NIGHT), "to gain most: ")
    assert "5 darks of 300 s at -10 C of this night (there is none that fits)" in wishes
    assert "15 more darks of 300 s at -20 C (" in wishes


@pytest.mark.parametrize("filter_name", ["", "V", "Bessell V"])
def test_missing_darks_are_asked_for_by_exposure_whatever_the_filter(archive, filter_name):
    """A camera without a filter has the exposure alone as the name of its frames."""
    archive.take("bias", NIGHT, 5)
    for exptime in (2700.0, 300.0):
        archive.take("science", NIGHT, exptime=exptime, FILTER=filter_name)
    wishes = line_of(plan_lines(archive, NIGHT), "to gain most: ")
    for exptime in (2700, 300):
        assert f"5 darks of {exptime} s of this night (there is none that fits)" in wishes


def test_the_own_nights_biases_lost_to_the_bias_of_the_dark(archive):
    """Three biases of last night cancel in the dark; twelve of tonight would add to them."""
    archive.take("bias", NIGHT_BEFORE, 3)
    archive.take("dark", NIGHT_BEFORE, 8, exptime=300.0)
    archive.take("bias", NIGHT, 12)
    archive.take("science", NIGHT, exptime=300.0)
    (block,) = night_forecast.forecasts_of_setups(archive.plan(), NIGHT)
    (line,) = (line for line in block.masters if line.kind == "bias")
    assert (line.use.lag, line.rival.lag) == (1, 0)
    assert line.why_lost == "not the bias that the dark had subtracted"
    headings, rows = forecast_sentences.table([block])
    (row,) = (dict(zip(headings, row, strict=True)) for row in rows if row[0] == "bias")
    assert row["Master"] == f"3 of {NIGHT_BEFORE[5:]}"
    assert row["Second choice"] == f"12 of {NIGHT[5:]}"


def test_a_flat_that_is_measured_lost_to_one_that_is_not():
    own, old = Use("own", 0, 1.0, 1e-5, "A"), Use("old", 1, 1.0, 1e-6, "B", is_measured=True)
    words = "the electrons of the one that is taken are not known"
    assert match_sentences.why_lost(own, old, Rules()) == words
    words = "adds 0.1 times the variance, too small a difference"
    assert match_sentences.why_lost(replace(own, is_measured=True), old, Rules()) == words


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "of this night and earlier ones"),
        ({"direction": "nearest"}, "of earlier and later nights"),
        ({"same_night": True}, "One of the frame's own night goes first."),
    ],
)
def test_the_page_tells_the_rule_of_the_configuration(archive, rules, words):
    archive.take("bias", NIGHT, 5)
    archive.take("science", NIGHT, exptime=300.0)
    context = archive.plan(calibrate=rules)
    section = ASSOCIATIONS.section(context, NIGHT)
    assert words in " ".join(section.paragraphs)
    usual = archive.plan(calibrate={})
    assert (ASSOCIATIONS.page_basis(context, NIGHT) == ASSOCIATIONS.page_basis(usual, NIGHT)) == (
        not rules
    )


def test_steps_have_the_hashes_of_their_values_in_order(archive):
    """Hashes are part of the keys of night pages: a changed field would draw all pages again."""
    archive.take("bias", NIGHT, 5)
    archive.take("science", NIGHT, exptime=300.0)
    context = archive.plan()
    (group,) = SCIENCE.night_groups(context, NIGHT)
    bias, *_, flat = (
        planned_masters.plain_step(context, answer) for answer in answers_of(context, group)
    )
    assert bias._fields[:3] == ("kind", "product", "lag")
    assert (bias.kind, bias.lag, bias.scale, bias.rank, bias.rival) == ("bias", 0, 1.0, 0, "")
    assert digest(bias) == digest(
        ["bias", bias.product, 0, 1.0, bias.variance, False, ["own night"], 0, "", ""]
    )
    assert digest(flat) == digest(["flat", True, flat.why_missing])


def test_the_noise_of_a_master_is_that_in_a_frame_that_takes_it():
    """Frames of one filter and exposure are budgeted by the first, which may lack the flat."""
    one, other = SimpleNamespace(masters={"bias": 1}), SimpleNamespace(masters={"flat": 2})
    line = SimpleNamespace(groups=[SimpleNamespace(product=name) for name in "ab"], kind="flat")
    noises = [
        SimpleNamespace(frame=each, products=(name,)) for each, name in ((one, "a"), (other, "b"))
    ]
    assert (
        forecast_sentences.budgeted_frame_with_master(line, SimpleNamespace(noises=noises)) is other
    )
    assert (
        forecast_sentences.budgeted_frame_with_master(line, SimpleNamespace(noises=noises[:1]))
        is None
    )


def test_candidates_behind_give_reasons_only_where_their_answer_says_so():
    """A hash that answers share rests on it."""
    chance, changed = random.Random(3), set()

    def draw_candidate(number):
        has_known_temperature = chance.random() < 0.6
        lag = chance.choice([None, 0, 1, 5, -1, -3])
        remarks = (match_sentences.remark_on_lag(lag),) if lag else ()
        remarks += () if has_known_temperature else (TEMPERATURE_UNKNOWN,)
        degrees = (chance.choice([-20.0, -10.0, 0.0]), None)
        scale = chance.choice([1.0, 0.7])
        return Use(f"combined/{number}/d.fits", lag, scale, 1.0 + number, "B", remarks, degrees)

    for _ in range(3000):
        uses = tuple(draw_candidate(number) for number in range(4))
        taken = uses[chance.choice([0, 0, 1])]
        answer = Answer(Step("dark", uses), taken)
        own = has_reasons_of_its_own(answer)
        fewer = Answer(Step("dark", uses[: uses.index(taken) + 1]), taken)
        is_same = reasons_of(answer, Rules()) == reasons_of(fewer, Rules())
        changed.add((own, is_same))
    assert changed == {(True, True), (False, True), (False, False)}


@pytest.mark.parametrize(
    ("sky", "words"), [(-45.75, "sky predicted 0 e-,"), (12.0, "sky predicted 12 e-,")]
)
def test_a_sky_below_the_bias_is_no_light(sky, words):
    """With a bias of another night, above the frame, the sky is -45.75 e-: no light is below 0."""
    noise = SimpleNamespace(
        budget=SimpleNamespace(
            parts={"read noise": 27.0}, total=27.0, noise=5.2, largest_part="read noise"
        ),
        frame=SimpleNamespace(sky=sky, read_noise=4.8),
        is_read_noise_measured=True,
        is_sky_measured=False,
    )
    assert forecast_sentences.noise_words(noise).startswith(words)
