"""Which master, told before pixels: plan, tonight, explain, coverage; nights of known answers."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from chain_runs import BIAS, DARKS, FEW_FRAMES, FLATS, copy_finished_run, edit, run, take
from small_frames import begin, run_jobs

from ccdflow import kinds, settings, simulate
from ccdflow.detector.ageing import fit_ageing
from ccdflow.kinds.calibrating import master_ageing
from ccdflow.kinds.calibrating.science import SCIENCE as SCIENCE_KIND
from ccdflow.kinds.explaining import what_if
from ccdflow.kinds.forecasting import coverage, forecast_sentences, night_forecast
from ccdflow.kinds.reporting.associations_table import ASSOCIATIONS
from ccdflow.run import session
from ccdflow.run.context import PlanContext
from ccdflow.run.run_start import DRY_RUN

ROOT = Path(__file__).parents[3]
EFOSC2 = ROOT.parent / "shared" / "data" / "efosc2_2022"
SCIENCE = "calibrated/science_g1.fits"


def script(name):
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def look(raw, results, **config):
    """Return the plan of a raw folder as a dry run makes it."""
    values = settings.load_settings({"raw": str(raw), "results": str(results), **config})
    return PlanContext.of(session.start(values, chain=kinds.CHAIN, request=DRY_RUN).context)


def masters(context, night):
    """Return {frame: {step: (master, lag, scale, grade)}} of a night's plan; None for none."""
    masters_by_frame = {}
    for block in night_forecast.forecasts_of_setups(context, night):
        for line in block.masters:
            use = line.use
            choice = (
                None if use is None else (Path(use.product).name, use.lag, use.scale, use.grade)
            )
            for group in line.groups:
                masters_by_frame.setdefault(Path(group.files[0]).name, {})[line.kind] = choice
    return masters_by_frame


# -- the masters that an astronomer would take, written down beforehand ----------------------------


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """The guide's night, tiny, its darks two months later as in the guide."""
    raw = tmp_path_factory.mktemp("guide") / "raw"
    simulate.simulate_night(raw, scale=0.0625, date="2016-01-16", darks_date="2016-03-13")
    return raw


def test_the_masters_of_the_guides_night(guide, tmp_path):
    """Written down before the plan was looked at.

    bias  the six of the evening: the lone bias beside the darks is too few, and two months off;
    dark  300 s for 300.062 s and 300.014 s: 0.02 % is no difference. It is two months later, but
          there is no other, and a dark of 70 s would be stretched 4.3 times. Grade B;
    flat  of its own filter, of the same night.
    """
    name = "lfc_128x258_1x1_g1.1"
    bias = (f"bias_{name}.fits", 0, 1.0, "A")
    both = {"bias": bias, "dark": (f"dark_{name}_300s.fits", -57, 1.0, "B")}
    assert masters(look(guide, tmp_path / "none"), "2016-01-15") == {
        "ccd.037.0.fits.gz": {**both, "flat": (f"flat_{name}_g.fits", 0, 1.0, "A")},
        "ccd.043.0.fits.gz": {**both, "flat": (f"flat_{name}_i.fits", 0, 1.0, "A")},
    }  # fmt: skip


def test_the_flats_of_the_guide_take_the_dark_of_their_exposure(guide, tmp_path):
    """70.011 s and 7.0 s have darks of 70 and 7 s: each the exact one, not the nearest number."""
    context = look(guide, tmp_path / "none")
    taken = {
        group.product.rpartition("_")[2]: group.steps[1].uses[0].product.rpartition("_")[2]
        for group in context.groups.values()
        if group.kind == "flat"
    }
    assert taken == {"g.fits": "70s.fits", "i.fits": "7s.fits"}


@pytest.mark.skipif(not EFOSC2.is_dir(), reason="the real frames are not here")
def test_the_masters_of_efosc2(tmp_path):
    """Written down before the plan was looked at.

    bias  the five of 01-26 for all nights, one or two nights before: there are no others;
    dark  none was taken: the frames have grade C, with this reason;
    flat  grism frames take the grism flats of their own night, taken through their slit of 1.2
          arcsec. The standard star of 01-28 was observed through the slit of 5.0: those of
          01-26 are of the narrow one, and the observer took flats through the wide one on the
          morning after. The g images take the g flats of their own night.
    """
    context = look(EFOSC2, tmp_path / "none")
    for night, light, flat, days, frames in (
        ("2022-01-26", "Free_Gr_3_SLIT_1.2", (0, 1.0, "A"), 0, 2),
        ("2022-01-27", "g_782", (0, 1.0, "A"), 1, 6),
        ("2022-01-28", "Gr_3_SLIT_5.0", (-1, 1.0, "B"), 2, 1),
    ):
        masters_by_frame = masters(context, night)
        assert len(masters_by_frame) == frames
        for taken in masters_by_frame.values():
            assert taken["dark"] is None
            assert taken["bias"][0].startswith("bias_efosc2_1024x1024_2x2_read_L_port_Fast")
            assert taken["bias"][1:] == (days, 1.0, "B" if days else "A")
            assert light in taken["flat"][0]
            assert taken["flat"][1:] == flat
    flat = context.groups["calibrated/EFOSC.2022-01-29T01:12:03.548.fits"].steps[2]
    assert "2022-01-29" in flat.uses[0].product


# -- the plan's text -------------------------------------------------------------------------------


def test_the_paragraph_of_the_guides_night(guide, tmp_path):
    context = look(guide, tmp_path / "none")
    lines = [" ".join(line.split()) for line in ASSOCIATIONS.dry_run_lines(context)]
    assert lines[:3] == [
        "night 2016-01-15 lfc 128x258 1x1 g1.1",
        "2 science g' 300.1 s, i' 300 s",
        "bias 6 of 01-15 own night, cancels in the dark",
    ]
    dark = next(line for line in lines if line.startswith("dark "))
    assert dark == (
        "dark 3 x 300 s of 03-12 57 nights later (nothing earlier fits), temperature unknown,"
        " exact; adds 26 e2 a pixel grade B"
    )
    unused = next(line for line in lines if line.startswith("not used: "))
    assert "dark 70 s (3, 2016-03-12): would be scaled up 4.3 times" in unused
    wishes = next(line for line in lines if line.startswith("to gain most: "))
    # Read noise of 8 e-, which nobody has measured yet; 25 columns of overscan: 1 + 0.062.
    now, then = (64 * (1 + 1 / 3) * 1.0617 + 5.13, 64 * (1 + 1 / 12) * 1.0617)
    assert f"12 darks of 300 s of this night (-{100 * (1 - then / now):.0f} % of read" in wishes


def test_the_paragraph_names_the_frames_that_are_refused(guide, tmp_path):
    context = look(guide, tmp_path / "none", calibrate={"missing": "refuse"}, flat={"minimum": 4})
    text = "\n".join(forecast_sentences.paragraphs(context, {"2016-01-15": []}, most_nights=3))
    assert "not calibrated: 2 of 2, as `calibrate: missing: refuse` wants whole frames" in text


def test_many_nights_have_a_paragraph_for_the_last_ones_and_counts(tmp_path):
    for day in range(1, 7):
        chain = take(tmp_path, evening=datetime(2024, 3, day, 17), folder=f"n{day}", seed=day)
    running = begin(tmp_path / "raw", tmp_path / "results", {"simcam": chain.profile})
    running.lock.close()
    lines = ASSOCIATIONS.dry_run_lines(PlanContext.of(running.context))
    assert lines[0] == ("plan of 3 earlier nights, from 2024-03-01: 9 frames, 9 of grade A")
    assert [line for line in lines if line.startswith("night ")] == [
        f"night 2024-03-0{day}  simcam 103x101 1x1" for day in (4, 5, 6)
    ]


# -- the page and the overview ---------------------------------------------------------------------


def test_the_page_has_the_masters_the_runner_up_and_why_it_lost(tmp_path):
    chain = take(tmp_path, darks=((60.0, 4), (90.0, 3)), science=(("g", 60.0, 2),))
    done = run(tmp_path, chain)
    section = ASSOCIATIONS.section(done.context, "2024-03-01")
    rows = {row[0]: row for row in section.rows}
    assert rows["dark"][1] == "4 x 60 s of 03-01"
    assert rows["dark"][5] == "3 x 90 s of 03-01"
    assert rows["dark"][6] == "would be scaled by 0.667"
    assert rows["flat"][5:7] == ("-", "-")
    (noise,) = section.facts
    skies = [_sky(done, f"calibrated/science_g{n}.fits") for n in (1, 2)]
    assert noise[0] == "g 60 s"
    assert f"sky {np.median(skies):.4g} e-" in noise[1]


def _sky(done, product):
    return done.records[product].data["images"][0]["sky"]


def test_the_budget_is_the_noise_measured_on_each_frame(tmp_path):
    """Within 3 % on simulated frames; two amplifiers of unlike noise are budgeted together."""
    chain = take(tmp_path, biases=12, darks=((60.0, 6), (20.0, 6)))
    done = run(tmp_path, chain)
    blocks = night_forecast.forecasts_of_setups(done.context, "2024-03-01")
    products = [p for block in blocks for noise in block.noises[:1] for p in noise.products]
    assert {"calibrated/science_g1.fits", "calibrated/science_g2.fits"} <= set(products)
    for block in blocks:
        assert len(block.noises) == 2
        for noise in block.noises:
            for product in noise.products:
                file = product.partition("/")[2]
                truth = chain.perfect(file)
                # The sky: stars, faults of the detector and hot pixels are no part of the budget.
                sky = np.abs(truth / np.median(truth) - 1) < 0.05
                good = chain.good_pixels(file) & sky & (done.open(product)["MASK"].data == 0)
                measured = (done.open(product)[0].data - truth)[good].std()
                assert noise.budget.noise == pytest.approx(measured, rel=0.03)


def test_a_later_night_changes_nothing_that_an_older_page_says_of_its_masters(tmp_path):
    chain, before = copy_finished_run(tmp_path)
    basis = ASSOCIATIONS.page_basis(before.context, "2024-03-01")
    take(tmp_path, evening=datetime(2024, 3, 9, 17), folder="later", seed=9, **FEW_FRAMES)
    after = run(tmp_path, chain)
    assert ASSOCIATIONS.page_basis(after.context, "2024-03-01") == basis
    assert ASSOCIATIONS.page_basis(after.context, "2024-03-09") != basis


@pytest.fixture(scope="module")
def many_biases(tmp_path_factory):
    """Two nights, the first of thirty biases; what is planned for a copy changes no original."""
    top = tmp_path_factory.mktemp("many")
    take(top, folder="first", **(FEW_FRAMES | {"biases": 30, "seed": 1}))
    chain = take(top, evening=datetime(2024, 3, 2, 17), folder="second", seed=2)
    run(top, chain)
    return top, chain


def test_another_rule_makes_only_frames_that_take_another_master_again(many_biases, tmp_path):
    """Thirty biases of the day before are better; `same_night` takes the six of the night."""
    top, chain = many_biases
    shutil.copytree(top, tmp_path, dirs_exist_ok=True)
    own = {f"calibrated/second/science_{name}.fits" for name in ("g1", "g2", "r1")}
    running = begin(
        tmp_path / "raw", tmp_path / "results", {"simcam": chain.profile},
        calibrate={"same_night": True},
    )  # fmt: skip
    running.lock.close()
    jobs = {p for p, job in running.plan.jobs.items() if job.kind == "science"}
    assert jobs == own
    assert {job.product for job in running.plan.jobs_of_kind("frame", "bias")} == set()


def test_an_added_epoch_makes_frames_with_masters_from_before_it_again(many_biases, tmp_path):
    """Darks and flats had the thirty biases of the night before; nothing older is touched."""
    top, chain = many_biases
    shutil.copytree(top, tmp_path, dirs_exist_ok=True)
    masters = ("frame", "bias", "dark", "flat", "science")

    def products_with_epochs(epochs):
        profile = chain.profile + f"epochs: {epochs}\n"
        running = begin(tmp_path / "raw", tmp_path / "results", {"simcam": profile})
        running.lock.close()
        return {job.product for job in running.plan.jobs_of_kind(*masters)}

    assert products_with_epochs('["2024-03-01"]') == set()
    assert products_with_epochs('["2024-03-03"]') == set()
    assert products_with_epochs('["2024-03-02"]') == {
        *(f"calibrated/second/science_{name}.fits" for name in ("g1", "g2", "r1")),
        *(p.replace("2024-03-01", "2024-03-02") for p in (*DARKS.values(), *FLATS.values())),
    }


def test_the_matrix_marks_missing_masters_and_those_of_another_night(tmp_path):
    take(tmp_path, folder="first")
    chain = take(
        tmp_path, evening=datetime(2024, 3, 2, 17), folder="second", seed=2,
        biases=0, darks=(), flats=(("r", 4),), science=(("g", 60.0, 1), ("r", 200.0, 1)),
    )  # fmt: skip
    running = begin(tmp_path / "raw", tmp_path / "results", {"simcam": chain.profile})
    running.lock.close()
    matrix = coverage.coverage_of(PlanContext.of(running.context))
    assert matrix.nights == ("2024-03-01", "2024-03-02")
    assert matrix.labels[:4] == ("bias", "dark 20 s", "dark 60 s", "dark 200 s")
    assert matrix.cells["bias", "2024-03-01"] == (6, coverage.FROM_OWN_NIGHT)
    assert matrix.cells_of_state(coverage.NO_MASTERS) == [("dark 200 s", "2024-03-02")]
    assert set(matrix.cells_of_state(coverage.FROM_OTHER_NIGHT)) == {
        (label, "2024-03-02") for label in ("bias", "dark 60 s", "flat g")
    }
    section = ASSOCIATIONS.overview(PlanContext.of(running.context))
    assert section.summary == ("Missing: dark 200 s (2024-03-02).",)
    assert section.pictures[0].png.startswith(b"\x89PNG")


def test_frames_without_a_date_have_no_coverage_and_end_no_run(tmp_path):
    chain = take(tmp_path, darks=(), flats=(), biases=3, science=(("g", 60.0, 1),))
    for path in chain.raw.glob("*.fits"):
        edit(path, **{"DATE-OBS": None})
    running = begin(tmp_path / "raw", tmp_path / "results", {"simcam": chain.profile})
    running.lock.close()
    context = PlanContext.of(running.context)
    assert context.store.rows
    assert all(row.is_undated for row in context.store.rows.values())
    assert ASSOCIATIONS.overview_basis(context)
    assert ASSOCIATIONS.overview(context) is None


def test_of_more_nights_than_are_shown_the_last_ones_are(tmp_path):
    assert coverage.SHOWN_NIGHTS == 30
    archive = tmp_path / "raw"
    simulate.simulate_archive(
        archive, nights=33, frames_per_night=4, first_date="2020-01-01", workers=1
    )
    matrix = coverage.coverage_of(look(archive, tmp_path / "none"))
    assert (len(matrix.nights), matrix.n_earlier) == (30, 3)
    assert (matrix.nights[0], matrix.nights[-1]) == ("2020-01-03", "2020-02-01")


# -- the scripts -----------------------------------------------------------------------------------


def test_tonight_names_missing_masters_before_there_is_a_result(guide, tmp_path, capsys):
    words = [f"raw={guide}", f"results={tmp_path / 'none'}", "night=2016-01-15"]
    assert script("tonight").main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "night 2016-01-15: 14 frames: 6 bias, 3 flat g', 3 flat i', 1 science"
    )
    assert lines[-1] == "nothing is missing: all 2 frames have every master that they need"
    assert not (tmp_path / "none").exists()


def test_tonight_names_the_criterion_and_the_existing_masters(guide, tmp_path, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in guide.glob("*.fits.gz"):
        if path.name != "ccd.014.0.fits.gz":
            (raw / path.name).write_bytes(path.read_bytes())
    assert script("tonight").main([f"raw={raw}", f"results={tmp_path / 'none'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "missing: 2 of 2 frames lack a master" in lines
    setup = "lfc 128x258 1x1 g1.1"
    assert f"  no dark for 300.1 s of {setup}: there is none at all" in lines
    few = "combined/2016-01-15/flat_lfc_128x258_1x1_g1.1_g.fits"
    assert f"  no flat: {few} would be of 2 frames, allowed 3 or more" in lines


@pytest.mark.parametrize("flats", [(), (("g", 3),)], ids=["no flat", "flats"])
@pytest.mark.parametrize("gains", ["none", "one of two", "both"])
def test_tonight_foretells_grade_c_of_amplifiers_whose_gains_are_unknown(
    gains, flats, tmp_path, capsys
):
    """No flat is wanted and no master is missing: without gains the frames have grade C."""
    chain = take(tmp_path, darks=((60.0, 3),), flats=flats, science=(("g", 60.0, 2),))
    lacks = {"none": r"\n +gain: .*", "one of two": r"\n +gain: 1.2(?=\n)", "both": "(?!)"}[gains]
    profile = re.sub(lacks, "", chain.profile)
    assert profile.count("gain:") == {"none": 0, "one of two": 1, "both": 2}[gains]
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras/simcam.yaml").write_text(profile)
    shared = [f"raw={chain.raw}", f"results={tmp_path / 'results'}"]
    shared += [f"cameras={tmp_path / 'cameras'}", "calibrate={steps: [bias, dark]}"]
    assert script("tonight").main(shared) == 0
    lines = capsys.readouterr().out.splitlines()
    is_foretold = gains != "both" and not flats
    assert (lines[-1] == "nothing is missing: all 2 frames have every master that they need") is (
        not is_foretold
    )
    unlike_frames = (
        "2 frames of amplifiers of unlike scales: a gain is unknown, and no flat is applied"
    )
    assert (
        any(line.startswith(f"  {unlike_frames}") and "grade C" in line for line in lines)
        is is_foretold
    )
    assert lines[-1].startswith(f"of grade C: {unlike_frames}; write `gain:`") is is_foretold
    config = {"calibrate": {"steps": ["bias", "dark"]}, "detector": {"enabled": True}}
    kinds_made = ("frame", "bias", "dark", "flat", "detector", "science")
    done = run_jobs(
        chain.raw, tmp_path / "results", {"simcam": profile}, kinds=kinds_made, **config
    )
    with fits.open(done.results / SCIENCE) as hdus:
        assert (hdus[0].header["CALGRADE"] == "C") is is_foretold
    texts = ASSOCIATIONS.section(done.context, "2024-03-01").summary
    on_page = [text for text in texts if unlike_frames in text]
    assert [text.endswith("which show the gains: grade C.") for text in on_page] == (
        [True] if is_foretold else []
    )
    # A night before the last ones has one line, with the numbers of its grades.
    nights = {"2024-03-01": SCIENCE_KIND.night_groups(done.context, "2024-03-01"), "2024-03-02": []}
    (line,) = forecast_sentences.paragraphs(done.context, nights, most_nights=1)
    assert line.startswith("plan of 1 earlier night, from 2024-03-01: 2 frames, 2 of grade ")
    assert line.endswith("C") is is_foretold


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "raw: is not given; write raw=FOLDER"),
        (["raw=/nowhere", "raw=/there"], "raw: the setting is given twice; write raw=VALUE once"),
        (["raw="], "raw: the setting has no value; write raw=VALUE once"),
        (["raw=/nowhere"], "ccdflow: raw: there is no such folder (found '/nowhere')"),
        (["raw={guide}", "2016-01-15"], "2016-01-15: the word is not understood"),
        (
            ["raw={guide}", "night=1999-01-01"],
            "there is no frame of this night (found '1999-01-01')",
        ),
    ],
)
def test_tonight_wrong_words_are_one_line(guide, tmp_path, capsys, words, message):
    words = [word.format(guide=guide) for word in words]
    if words:
        words.append(f"results={tmp_path / 'none'}")
    assert script("tonight").main(words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture(scope="module")
def night_run(tmp_path_factory):
    """A night that is calibrated."""
    folder = tmp_path_factory.mktemp("made")
    return folder, copy_finished_run(folder)[1]


def test_explain_tells_the_story_of_a_calibrated_frame(night_run, capsys):
    _, done = night_run
    assert script("explain").main([str(done.results / SCIENCE)]) == 0
    output = capsys.readouterr().out
    header = done.open(SCIENCE)[0].header
    assert "raw      science_g1.fits (fingerprint " in output
    assert f"bias     {BIAS}: 6 frames (bias1.fits, bias2.fits" in output
    assert f"dark     {DARKS[60]}: 4 frames (dark60_1.fits" in output
    assert f"flat     {FLATS['g']}: 4 frames (flat_g1.fits" in output
    assert f"second {DARKS[20]}" not in output
    assert f"measured {header['SKYRMS']:.4g}, predicted {header['SKYPRED']:.4g}" in output
    assert "today    not looked at: give raw=FOLDER" in output


def test_explain_tells_the_story_of_a_master_and_who_uses_it(night_run, capsys):
    _, done = night_run
    assert script("explain").main([str(done.results / DARKS[60])]) == 0
    output = capsys.readouterr().out
    assert "members  dark60_1.fits, dark60_2.fits, dark60_3.fits, dark60_4.fits" in output
    assert f"bias     {BIAS} subtracted from each" in output
    assert (
        "used by  2 calibrated frames: calibrated/science_g1.fits, calibrated/science_g2.fits"
        in output
    )


@pytest.mark.parametrize(
    ("file", "product", "line"),
    [
        (
            "science_g1.fits",
            "calibrated/science_g1.fits",
            "raw frame of reduced/science_g1.fits and calibrated/science_g1.fits",
        ),
        (
            "dark60_2.fits",
            "reduced/dark60_2.fits",
            f"raw frame of reduced/dark60_2.fits; in {DARKS[60]}",
        ),
    ],
)
@pytest.mark.parametrize("form", ["absolute", "relative", "of the inventory", "packed"])
def test_explain_leads_from_a_raw_frame_to_its_products(
    night_run, capsys, monkeypatch, file, product, line, form
):
    folder, done = night_run
    monkeypatch.chdir(folder)
    path = {
        "absolute": folder / "raw" / file,
        "relative": f"raw/{file}",
        "of the inventory": file,
        "packed": folder / "raw" / f"{file}.gz",
    }[form]
    assert script("explain").main([str(path), f"results={done.results}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: {line}"
    assert lines[1].startswith(f"{product}: type ")


def test_explain_names_the_paths_that_an_unknown_frame_may_mean(night_run, capsys):
    _, done = night_run
    words = [f"results={done.results}"]
    explain = script("explain")
    assert explain.main(["raw/other.fits", *words]) == 1
    where = f"is neither a product in {done.results} nor a raw frame of its inventory.csv"
    assert (
        capsys.readouterr().err == f"ccdflow: raw/other.fits: {where}; give a file that is there\n"
    )
    # A product that is not there is no raw frame.
    assert explain.main(["calibrated/other.fits", *words]) == 1
    assert capsys.readouterr().err == (
        f"ccdflow: {done.results}/calibrated/other.fits: there is no such file; give a product in"
        " the results folder\n"
    )


def test_explain_names_the_changes_of_the_next_run(tmp_path, capsys):
    chain, done = copy_finished_run(tmp_path)
    words = [str(done.results / SCIENCE), f"raw={chain.raw}", f"cameras={tmp_path / 'cameras'}"]
    explain = script("explain")
    edit(chain.raw / "dark60_2.fits", OBJECT="another dark")
    assert explain.main(words) == 0
    output = capsys.readouterr().out
    assert "today    would be made again: " in output
    assert f"dark: {DARKS[60]}" in output


def test_explain_gives_the_reason_for_a_missing_product(night_run, capsys, tmp_path):
    _, done = night_run
    explain = script("explain")
    assert explain.main([str(done.results / "calibrated" / "no.fits")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    (tmp_path / "x.fits").write_bytes(b"")
    assert explain.main([str(tmp_path / "x.fits")]) == 1
    assert capsys.readouterr().err == (
        f"ccdflow: {tmp_path / 'x.fits'}: lies in no results folder of ccdflow; name a file of a"
        " results folder; for a raw frame give results=FOLDER as well\n"
    )
    shutil.copytree(done.results / ".ccdflow", tmp_path / "results/.ccdflow")
    for file, why in (
        (SCIENCE, "it was made, and deleted or moved; the next run makes it again"),
        ("half.fits", "no whole FITS header"),
        ("text.fits", "no whole FITS header"),
        (".ccdflow", "is a folder"),
    ):
        path = tmp_path / "results" / file
        if file.startswith("half"):
            path.write_bytes((done.results / SCIENCE).read_bytes()[:1000])
        elif file.startswith("text"):
            path.write_text("no frame")
        assert explain.main([str(path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line


def test_what_if_makes_a_picture_and_three_numbers_and_no_product(night_run, capsys, tmp_path):
    folder, done = night_run
    before = {path: path.stat().st_mtime_ns for path in done.results.rglob("*")}
    words = [str(done.results / SCIENCE), f"raw={folder / 'raw'}", f"cameras={folder / 'cameras'}"]
    png = tmp_path / "what_if.png"
    what = ["--what-if", DARKS[20], f"picture={png}"]
    assert script("explain").main([*words, *what]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split()[0] for line in lines[1:]]
    assert starts == ["level", "scatter", "noise", "rule", "picture"]
    assert lines[4] == "  rule     it may not be taken: would be scaled up 3 times"
    assert png.read_bytes().startswith(b"\x89PNG")
    for other in (done.results / SCIENCE, done.results / "nights/x.png", tmp_path / "notes.txt"):
        assert script("explain").main([*words, *what[:2], f"picture={other}"]) == 1
        assert "picture: the picture " in capsys.readouterr().err
    assert not (tmp_path / "notes.txt").exists()
    assert before
    assert {path: path.stat().st_mtime_ns for path in done.results.rglob("*")} == before


def test_what_if_gives_the_reason_of_the_rule_against_the_other_master(night_run):
    """Another filter's flat changes the noise of a sky by nothing: the numbers do not tell."""
    folder, done = night_run
    context = look(folder / "raw", done.results, cameras=str(folder / "cameras"))

    def rule(product):
        return what_if.rule_line(context, SCIENCE, done.results / product)

    assert rule(FLATS["r"]) == "  rule     it may not be taken: other filter"
    assert rule(BIAS) == "  rule     this master is the one that the frame takes"
    other = "calibrated/science_r1.fits"
    line = what_if.rule_line(context, other, done.results / DARKS[60])
    assert line == "  rule     it is not taken: would be scaled by 0.333"


def test_what_if_is_the_arithmetic_of_the_other_master(night_run):
    """The frame with its own dark is the product; with the other, the reduced frame less 3 x it."""
    folder, done = night_run
    context = look(folder / "raw", done.results, cameras=str(folder / "cameras"))
    trial = what_if.try_master(context, SCIENCE, done.results / DARKS[20])
    product = fits.getdata(done.results / SCIENCE)
    assert np.array_equal(trial.image, product.astype(np.float32))
    one, other = (fits.getdata(done.results / DARKS[t]).astype(float) for t in (60, 20))
    flat = fits.getdata(done.results / FLATS["g"]).astype(float)
    gain = np.where(np.arange(103) < 52, *[a.gain for a in _amplifiers(done)])
    expected = (one - 3 * other) * gain / flat
    good = flat > 0.2
    assert np.allclose(trial.difference[good], expected[good], atol=0.02)
    same = what_if.try_master(context, SCIENCE, done.results / DARKS[60])
    assert (same.level_change, same.scatter) == (0.0, 0.0)


def _amplifiers(done):
    row = next(iter(done.context.store.rows.values()))
    return done.context.store.geometry(row.geometry).amplifiers


def test_the_scripts_help_has_an_example():
    for name in ("tonight", "explain"):
        module = script(name)
        assert "Example, after `make demo`:\n\npython scripts/" in module.__doc__
        assert "raw=" in module.__doc__


def test_the_overview_measures_how_masters_age_and_names_the_line_for_the_profile(tmp_path):
    """Four nights of a steady detector: the noise is taken off, and no ageing is seen."""
    steady = simulate.draw_detector((101, 103), seed=1, shutter=0.0)
    for day in (1, 2, 4, 11):
        evening = datetime(2024, 3, day, 17)
        few = {"biases": 5, "darks": ((60.0, 4),), "flats": (("g", 4),)}
        few["science"] = (("g", 60.0, 1),)
        chain = take(tmp_path, evening=evening, folder=f"n{day}", seed=day, detector=steady, **few)
    done = run(tmp_path, chain)
    section = SCIENCE_KIND.overview(done.context)
    assert {row[0].split()[0] for row in section.rows} == {"bias", "dark", "flat"}
    assert {row[1][:9] for row in section.rows} == {"1 to 10 d"}
    for series in master_ageing.master_series(done.context):
        slope, error = fit_ageing(series.pairs)
        assert len(series.pairs) == 6
        assert slope == pytest.approx(0, abs=4 * error)
        # Six pairs, 1 to 10 days apart, each with an error of its own.
        least_error = min(pair.variance_error for pair in series.pairs)
        assert least_error / 10 / 6**0.5 < error < least_error
    assert {row[3] for row in section.rows} == {"none is seen"}
    assert section.pictures[0].png.startswith(b"\x89PNG")
