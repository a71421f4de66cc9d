"""Steps in figures over the nights: the fraction found and dated, and false alarms."""

from __future__ import annotations

import dataclasses
import math
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import small_chain
import steady_cameras
from nights_with_step import PROFILE, name_of_night, write_archive, write_night
from small_frames import begin, run_jobs

from ccdflow import settings as settings_module
from ccdflow import simulate
from ccdflow.detector.trend_steps import FEWEST_NIGHTS_A_SIDE, TRENDS, find_steps
from ccdflow.kinds import CHAIN
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.measuring.trend_series import FigureSeries, figure_series
from ccdflow.kinds.measuring.trends import RECENT_NIGHTS, TRENDS_TABLE
from ccdflow.run import job_records
from ccdflow.run.context import JobContext
from ccdflow.run.job import Group
from ccdflow.run.master_choices import Step, Use

TRENDS_BY_NAME = {trend.name: trend for trend in TRENDS}


# -- power -----------------------------------------------------------------------------------------


def count_dated_steps(trend, archives, **options):
    """Return the number of archives whose only event is the injected step, at its night."""
    rng, hits = np.random.default_rng(17), 0
    for _ in range(archives):
        days, values, first = steady_cameras.archive_with_step(rng, **options)
        hits += [event.first for event in trend.steps(days, values)] == [first]
    return hits


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("read_noise", {"scatter": 0.002}),
        ("read_noise", {"scatter": 0.01}),
        ("dark_rate", {"scatter": 0.03}),
        ("read_noise", {"scatter": 0.01, "nights": 30}),
        ("dark_rate", {"scatter": 0.03, "nights": 300}),
        ("dark_rate", {"scatter": 0.03, "nights": 30}),
    ],
)
def test_a_step_of_20_percent_is_dated_to_the_night_in_95_of_100_archives(name, options):
    assert count_dated_steps(TRENDS_BY_NAME[name], 100, **options) >= 95


def test_size_and_error_of_a_step_are_those_injected():
    rng, pulls = np.random.default_rng(3), []
    for _ in range(300):
        days, values, first = steady_cameras.archive_with_step(rng, scatter=0.01, bad=0)
        (event,) = find_steps(days, values)
        sign = np.sign(event.size)
        truth = sign * 0.2 * 100 * (event.before / 100)
        pulls.append((event.size - truth) / event.error)
        assert event.size == pytest.approx(event.after - event.before)
        assert (event.first, event.last_before) == (first, first - 1)
    # Errors are a little too large rather than too small: nights that resemble one another by
    # chance count for less.
    assert np.std(pulls) == pytest.approx(0.95, abs=0.08)
    assert abs(np.mean(pulls)) < 0.12


def test_errors_of_steps_are_large_enough_where_nights_resemble_their_neighbours():
    """Neighbours correlate by 0.7: of 200 steps the pulls scatter by 1.1, by 1.3 if none did."""
    rng, correlation, pulls = np.random.default_rng(26), 0.7, []
    for _ in range(200):
        noise = rng.standard_normal(200)
        for night in range(1, 200):
            new_part = math.sqrt(1 - correlation**2) * noise[night]
            noise[night] = correlation * noise[night - 1] + new_part
        events = find_steps(np.arange(200.0), 100 + noise + 30 * (np.arange(200) >= 100))
        pulls += [(event.size - 30) / event.error for event in events if event.first == 100]
    assert len(pulls) > 190
    assert 0.9 < np.std(pulls) < 1.25


def test_two_steps_are_two_events_and_a_step_back_is_one():
    rng = np.random.default_rng(4)
    values = 10 + 0.1 * rng.standard_normal(120)
    values[30:] += 1
    values[80:] -= 2
    events = find_steps(np.arange(120), values)
    assert [event.first for event in events] == [30, 80]
    assert [round(event.size) for event in events] == [1, -2]


@pytest.mark.parametrize("change", [lambda v: 3 * v, lambda v: v + 50, lambda v: -v])
def test_units_change_no_night(change):
    rng = np.random.default_rng(5)
    for _ in range(10):
        days, values, _ = steady_cameras.archive_with_step(rng)
        nights = [(event.first, event.last_before) for event in find_steps(days, values)]
        assert len(nights) == 1
        assert [(e.first, e.last_before) for e in find_steps(days, change(values))] == nights


def test_a_step_waits_for_five_nights():
    rng = np.random.default_rng(6)
    values = 10 + 0.1 * rng.standard_normal(40)
    values[20:] += 2
    days = np.arange(40.0)
    seen = {n: [e.first for e in find_steps(days[:n], values[:n])] for n in range(10, 41)}
    fewest = 20 + FEWEST_NIGHTS_A_SIDE
    assert seen == {n: [20] if n >= fewest else [] for n in range(10, 41)}


def test_nights_that_are_missing_or_bad_beside_a_step_do_not_move_the_step():
    rng = np.random.default_rng(7)
    values = 10 + 0.1 * rng.standard_normal(60)
    values[30:] += 2
    values[[28, 31]] = 40, math.nan
    (event,) = find_steps(np.arange(60), values)
    assert (event.first, event.last_before) == (30, 29)
    values[30] = math.nan
    (event,) = find_steps(np.arange(60), values)
    assert (event.first, event.last_before) == (32, 29)


@pytest.mark.parametrize("bad_nights", [{31: 5, 32: 40, 33: 5}, {31: 8, 32: 8.5, 34: 9}])
def test_a_first_night_that_bad_ones_follow_is_that_of_the_step(bad_nights):
    """Among three of five nights that are bad it has no company; its value is that of the rest."""
    values = 10 + 0.1 * np.random.default_rng(7).standard_normal(60)
    values[30:] += 2
    for night, value in bad_nights.items():
        values[night] = value
    (event,) = find_steps(np.arange(60), values)
    assert (event.first, event.last_before) == (30, 29)


@pytest.mark.parametrize(("gap", "steps"), [(1, [5]), (20, [])])
def test_a_figure_that_drifts_may_have_drifted_by_a_step_in_weeks_without_nights(gap, steps):
    """A drift of 0.1 a day makes 2 of 20 days; five nights on each side are enough to see it."""
    rng = np.random.default_rng(1)
    days = np.r_[np.arange(5.0), 4 + gap + np.arange(5.0)]
    values = 100 + 0.1 * days + 0.05 * rng.standard_normal(10)
    values[5:] += 3
    assert [event.first for event in find_steps(days, values)] == steps


# -- false alarms ----------------------------------------------------------------------------------


def false_alarms(cameras, *, nights=365, seed=0):
    """Return the number of false alarms of all figures of some cameras."""
    rng = np.random.default_rng(seed)
    return sum(
        len(find_steps(days, values))
        for _ in range(cameras)
        for days, values in steady_cameras.steady_camera(rng, nights=nights)
    )


def test_steady_cameras_have_less_than_one_false_alarm_a_year_of_nights():
    assert false_alarms(20) <= 4


@pytest.mark.torture
@pytest.mark.parametrize(("nights", "cameras"), [(60, 600), (365, 300), (3650, 10)])
def test_steady_cameras_have_less_than_a_fifth_of_a_false_alarm_a_year(nights, cameras):
    assert false_alarms(cameras, nights=nights, seed=nights) < 0.2 * cameras * nights / 365


@pytest.mark.torture
def test_looks_every_third_night_have_less_than_one_false_alarm_a_year():
    """Alarms that vanish a few nights later count as well; the archive grows for 425 nights."""
    rng, cameras, seen = np.random.default_rng(21), 40, 0
    for _ in range(cameras):
        for days, values in steady_cameras.steady_camera(rng, nights=425):
            firsts = []
            for size in range(int((days < 60).sum()), days.size + 1, 3):
                for event in find_steps(days[:size], values[:size]):
                    if all(abs(event.first - other) > 6 for other in firsts):
                        firsts.append(event.first)
            seen += len(firsts)
    assert seen < cameras


@pytest.mark.torture
@pytest.mark.parametrize(("scatter", "least"), [(0.04, 0.93), (0.05, 0.79)])
def test_noisy_figures_are_dated_nearly_as_often_as_with_all_known(scatter, least):
    """With scatter, drift and bad nights known, a line and a step date 95.8 and 89 %."""
    assert count_dated_steps(TRENDS_BY_NAME["read_noise"], 400, scatter=scatter) >= least * 400


@pytest.mark.torture
@pytest.mark.parametrize("name", ["read_noise", "dark_rate"])
def test_steps_are_dated_in_1000_archives(name):
    assert count_dated_steps(TRENDS_BY_NAME[name], 1000, scatter=0.02) >= 950


WHITE = np.random.default_rng(8).standard_normal(200)
DAYS = np.arange(200.0)


@pytest.mark.parametrize(
    ("days", "values"),
    [
        (DAYS, WHITE),
        (DAYS, WHITE + 0.2 * DAYS),
        (DAYS, WHITE + 20 * np.sin(2 * np.pi * DAYS / 365)),
        (DAYS, np.where(DAYS == 100, 1e4, WHITE)),
        (DAYS, np.where(DAYS % 20 < 2, WHITE + 50, WHITE)),
        (DAYS, np.zeros(200)),
        (DAYS, np.full(200, math.nan)),
        (DAYS, np.where(DAYS == 100, math.inf, 7.0)),
        (DAYS, np.cumsum(WHITE)),
        (DAYS, np.where(DAYS < 60, 10 * WHITE, WHITE)),
        (DAYS + 150 * (DAYS >= 100), WHITE + 10 * np.sin(2 * np.pi * DAYS / 365)),
        (30 * DAYS, WHITE + 20 * np.sin(2 * np.pi * 30 * DAYS / 365.25)),
        (DAYS[:9], WHITE[:9] + 100 * (DAYS[:9] >= 5)),
        (DAYS[:0], WHITE[:0]),
    ],
    ids=[
        "scatter", "ageing", "season", "a bad night", "pairs of bad nights", "nothing but zeros",
        "nothing known", "an infinite value", "a walk at random", "noise that ends",
        "a gap of 150 nights", "a night a month", "too few nights", "none",
    ],
)  # fmt: skip
def test_series_without_a_step_have_none(days, values):
    assert find_steps(days, values) == []
    assert [t.name for t in TRENDS if t.steps(days, values, read_noise=1.0)] == []


def test_a_small_step_is_none_whatever_its_significance():
    rng = np.random.default_rng(9)
    values = 100 + 0.01 * rng.standard_normal(100)
    values[50:] += 1
    days = np.arange(100)
    assert TRENDS_BY_NAME["read_noise"].steps(days, values) == []
    assert TRENDS_BY_NAME["level"].steps(days, values, read_noise=5.0) == []
    assert len(TRENDS_BY_NAME["level"].steps(days, values, read_noise=1.0)) == 1
    assert len(find_steps(days, values)) == 1


def test_few_hot_pixels_scatter_by_one_at_least():
    rng = np.random.default_rng(10)
    days, few = np.arange(100), np.full(100, 8.0)
    few[50:] = 9
    assert TRENDS_BY_NAME["hot"].steps(days, few) == []
    few[50:] = 15
    assert [event.first for event in TRENDS_BY_NAME["hot"].steps(days, few)] == [50]
    assert TRENDS_BY_NAME["hot"].steps(days, rng.poisson(2, 100)) == []
    many = rng.poisson(np.where(days < 50, 300, 400)).astype(float)
    assert [event.first for event in TRENDS_BY_NAME["hot"].steps(days, many)] == [50]


def test_an_epoch_parts_a_series():
    rng = np.random.default_rng(11)
    names = [(date(2024, 1, 1) + timedelta(days=n)).isoformat() for n in range(60)]
    values = 5 * (1 + 0.01 * rng.standard_normal(60)) * np.where(np.arange(60) < 30, 1, 1.2)
    points = {n: (v, math.nan, math.nan) for n, v in zip(names, values, strict=True)}
    series = FigureSeries("cam", "", "A", "read_noise", dict(sorted(points.items(), reverse=True)))
    ((nights, event),) = series.events()
    assert nights[event.first] == names[30]
    assert series.events([names[30]]) == []
    ((nights, event),) = series.events([names[10]])
    assert (nights[0], nights[event.first]) == (names[10], names[30])


# -- darks of other temperatures and exposures -----------------------------------------------------


def measured_context(nights):
    """Return a context with the measurement of each (night, temperature, exposures, rate)."""
    groups, records = {}, {}
    for name, degrees, exposures, rate in nights:
        uses = []
        for seconds in exposures:
            product = f"combined/{name}/dark_cam_{seconds}s.fits"
            shared = (("exptime", str(seconds)), ("temperature", degrees))
            groups[product] = Group(product, name, "cam", shared, (), (name,), kind=DARK_KIND.name)
            records[product] = job_records.Record(product, "dark", "k")
            uses.append(Use(product, 0, 1.0, 0.0, "A"))
        product = f"detector/cam/{name}/pixels_9x9.fits"
        groups[product] = Group(
            product,
            name,
            "cam",
            (),
            (),
            (name,),
            kind="detector",
            steps=(Step("dark", tuple(uses)),),
        )
        figures = {"amplifier": "A", "gain": math.nan, "gain_error": math.nan, "hot": 9}
        data = {"quality": [figures | {"dark_rate": rate}]}
        records[product] = job_records.Record(product, "detector", "k", data=data)
    values = settings_module.load_settings({"raw": "raw", "results": "results"})
    store = SimpleNamespace(rows={})
    return JobContext(
        settings=values,
        raw=None,
        results=None,
        store=store,
        ledger=records,
        chain=CHAIN,
        groups=groups,
    )


def test_darks_of_another_temperature_or_exposure_are_a_series_of_their_own():
    series = figure_series(
        measured_context(
            [
                ("2024-01-01", "-100", (20, 60), 1.0),
                ("2024-01-02", "-99.6", (20, 60), 1.1),
                ("2024-01-03", "-80", (20, 60), 9.0),
                ("2024-01-04", "-100.2", (60,), 2.0),
                ("2024-01-05", "-100", (60, 180), 1.2),
                ("2024-01-06", "-100", (), math.nan),
            ]
        )
    )
    nights = {(each.figure, each.setup): sorted(each.points) for each in series}
    assert nights == {
        ("dark_rate", "9x9 -100 C several exposures"): ["2024-01-01", "2024-01-02", "2024-01-05"],
        ("dark_rate", "9x9 -100 C 60 s"): ["2024-01-04"],
        ("dark_rate", "9x9 -80 C several exposures"): ["2024-01-03"],
        ("hot", "9x9 -100 C 20+60 s"): ["2024-01-01", "2024-01-02"],
        ("hot", "9x9 -80 C 20+60 s"): ["2024-01-03"],
        ("hot", "9x9 -100 C 60 s"): ["2024-01-04"],
        ("hot", "9x9 -100 C 60+180 s"): ["2024-01-05"],
    }


# -- the workflow ----------------------------------------------------------------------------------

KINDS = ("frame", "bias", "bias table", "trends", "index")
NIGHTS, STEP, FACTOR = 16, 8, 1.2


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A run on an archive whose read noise is 20 % larger from its ninth night on."""
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder / "raw", NIGHTS, step=STEP, factor=FACTOR)
    return folder, make(folder, folder / "results")


def make(folder, results, profile=PROFILE, **config):
    return run_jobs(folder / "raw", results, {"test": profile}, kinds=KINDS, detector={}, **config)


def to_make(folder, results, profile=PROFILE):
    running = begin(folder / "raw", results, {"test": profile}, detector={})
    running.lock.close()
    return {job.product for job in running.plan.jobs_of_kind(*KINDS)}


def lines_on_trends(run):
    return [line for line in run.lines if line.startswith("trends: ")]


def test_a_step_is_a_row_a_line_and_a_section_and_gone_with_its_epoch(archive):
    folder, run = archive
    (row,) = pd.read_csv(run.results / "events.csv").itertuples()
    step = name_of_night(STEP)
    assert (row.night, row.night_before, row.epoch) == (step, name_of_night(STEP - 1), step)
    assert (row.camera, row.setup, row.amplifier, row.figure) == (
        "test",
        "64x40",
        "A",
        "read_noise",
    )
    assert row.after / row.before == pytest.approx(FACTOR, rel=0.05)
    assert 0.05 * row.change < row.change_error < 0.1 * row.change
    (line,) = lines_on_trends(run)
    assert f"test: a step with night {step}: read noise of A" in line
    assert line.endswith(f'put into {folder}/cameras/test.yaml the line epochs: ["{step}"]')
    page = (run.results / "report.html").read_text()
    assert f"Steps: bias level, no step; read noise with {step}." in page
    assert str(folder) not in page
    assert to_make(folder, run.results) == set()
    # The line is put into the profile.
    epoch = line.partition("the line ")[2]
    accepted = f"{PROFILE}{epoch}\n"
    assert to_make(folder, run.results, accepted) == {"events.csv", "report.html"}
    before = {path: path.read_bytes() for path in (run.results / "reduced").rglob("*.fits")}
    again = make(folder, run.results, accepted)
    assert lines_on_trends(again) == []
    assert pd.read_csv(run.results / "events.csv").empty
    assert before
    assert {path: path.read_bytes() for path in before} == before
    make(folder, run.results)


def test_a_night_at_the_end_makes_itself_the_table_and_the_overview(archive):
    folder, run = archive
    write_night(folder / "raw", NIGHTS, noise=4 * FACTOR)
    name = name_of_night(NIGHTS)
    assert to_make(folder, run.results) == {
        *(f"reduced/{name}/b{place}.fits" for place in range(3)),
        f"combined/{name}/bias_test_64x40.fits",
        "bias_quality.csv", "events.csv", "report.html",
    }  # fmt: skip
    for path in (folder / "raw" / name).iterdir():
        path.unlink()
    assert "events.csv" not in to_make(folder, run.results)


def test_nights_in_another_order_make_the_same_table(archive, tmp_path):
    folder, run = archive
    late = tmp_path / "raw" / name_of_night(3)
    (tmp_path / "raw").mkdir()
    for path in sorted((folder / "raw").iterdir()):
        (tmp_path / "raw" / path.name).symlink_to(path)
    late.unlink()
    first = make(tmp_path, tmp_path / "results")
    late.symlink_to(folder / "raw" / name_of_night(3))
    second = make(tmp_path, tmp_path / "results")
    one, other = (r.records["events.csv"] for r in (first, second))
    assert one.key != other.key
    assert other.key == run.context.outcome("events.csv").key
    for name in ("events.csv", "report.html"):
        assert (tmp_path / "results" / name).read_bytes() == (run.results / name).read_bytes()


def test_an_old_step_is_on_the_page_and_not_among_the_last_lines(archive):
    _, run = archive
    record = run.context.outcome("events.csv")
    (event,) = record.data["events"]
    assert event["after"] == NIGHTS - STEP

    def lines(after):
        old = job_records.Record(
            "events.csv", "trends", "k", data={"events": [{**event, "after": after}]}
        )
        return TRENDS_TABLE.closing_lines(run.context, [old])

    assert (len(lines(RECENT_NIGHTS)), lines(RECENT_NIGHTS + 1)) == (1, [])


def test_switched_off_nothing_is_made_or_touched(archive):
    folder, run = archive
    before = (run.results / "events.csv").read_bytes()
    running = begin(folder / "raw", run.results, {"test": PROFILE}, detector={"enabled": False})
    running.lock.close()
    assert "events.csv" not in running.plan.jobs
    assert "events.csv" not in running.plan.files_to_retire
    assert (run.results / "events.csv").read_bytes() == before


@pytest.mark.torture
def test_steps_of_20_percent_of_a_simulated_camera_are_dated_through_the_workflow(tmp_path):
    """Six biases and three darks a night at -100 +- 0.1 C; a step in the 16th of 30 nights."""
    rng, step = np.random.default_rng(22), 15
    before = simulate.draw_detector((129, 130), seed=3, shutter=0.0)
    before = dataclasses.replace(before, dark_current=0.1)
    amplifiers = tuple(
        dataclasses.replace(each, read_noise=1.2 * each.read_noise) for each in before.amplifiers
    )
    after = dataclasses.replace(before, dark_current=0.12, amplifiers=amplifiers)
    for number in range(30):
        evening = datetime(2024, 3, 1, 17) + timedelta(days=number)
        with mock.patch.object(small_chain, "EVENING", evening):
            chain = small_chain.make(
                tmp_path / f"raw/n{number}", seed=number, biases=6, darks=((300.0, 3),), flats=(),
                science=(), detector=after if number >= step else before,
                temperature=round(-100 + rng.normal(0, 0.1), 2),
            )  # fmt: skip
    kinds = ("frame", "bias", "dark", "detector", "trends")
    profiles = {"simcam": chain.profile}
    done = run_jobs(tmp_path / "raw", tmp_path / "results", profiles, kinds=kinds, detector={})
    table = pd.read_csv(done.results / "events.csv")
    steps = {(e.figure, e.amplifier): (e.night, e.after / e.before) for e in table.itertuples()}
    night_of_step = (date(2024, 3, 1) + timedelta(days=step)).isoformat()
    wanted = {(name, own) for name in ("read_noise", "dark_rate") for own in ("A", "B")}
    assert set(steps) == wanted
    for figure, (place, factor) in steps.items():
        assert place == night_of_step, figure
        # Glow is in the rate as well, and rounding in the noise: both are the same as before.
        assert 1.12 < factor < 1.22, figure
