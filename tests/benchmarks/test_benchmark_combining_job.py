"""The benchmark of a combined bias in the workflow compares pixels, and judges whole commands."""

import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import combining_job
import measure


def measurement(wall, user):
    return measure.Measurement(
        wall=wall, user=user, system=0.0, peak_tree=2e8, peak_main=1e8, log=Path("log")
    )


def results(**times):
    return [
        combining_job.Result(
            contender=name.replace("_py", ".py"), measurement=measurement(*each), difference=0.0
        )
        for name, runs in times.items()
        for each in runs
    ]


def test_the_bar_is_of_whole_commands_and_the_start_is_measured_apart():
    measured = results(
        combine_py=[(4.0, 5.0), (4.2, 5.2), (9.0, 5.1)],
        workflow=[(7.0, 6.0), (6.3, 6.1), (6.2, 7.0)],
        start=[(2.0, 2.0)],
        rebuilt=[(6.0, 6.0)],
    )
    wall, cpu = combining_job.bars(measured)
    assert wall.value == pytest.approx(6.3 / 4.2)
    assert cpu.value == pytest.approx(6.1 / 5.1)
    assert (wall.limit, wall.verdict, cpu.verdict) == (1.2, "MISSED", "reached")
    lines = combining_job.table(measured).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(combining_job.DESCRIPTIONS)
    assert "nothing left to do" in lines[4]


def test_pixels_that_differ_end_the_run(tmp_path):
    bench = object.__new__(combining_job.Bench)
    bench.results, bench.file_by_script = tmp_path / "results", tmp_path / "by_hand.fits"
    fits.writeto(bench.file_by_script, np.ones((3, 4), np.float32))
    with pytest.raises(measure.BenchmarkError, match="workflow: no combined bias"):
        bench._check("workflow")
    made = tmp_path / "results" / "combined" / "2016-01-15" / "bias_lfc.fits"
    made.parent.mkdir(parents=True)
    fits.writeto(made, np.ones((3, 4), np.float32))
    assert bench._check("workflow") == 0
    fits.writeto(made, np.full((3, 4), 1.5, np.float32), overwrite=True)
    with pytest.raises(
        measure.BenchmarkError, match=r"workflow: its pixels are up to 0\.5 adu off"
    ):
        bench._check("workflow")
    fits.writeto(made, np.full((3, 4), np.nan, np.float32), overwrite=True)
    with pytest.raises(measure.BenchmarkError, match="workflow: its pixels are up to nan adu off"):
        bench._check("workflow")
