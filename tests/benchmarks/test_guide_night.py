"""The benchmark of the guide's night: its script makes the guide's frames; wrong ones stop it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from ccdflow import simulate

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers"))

import guide_night
import guide_notebooks
import measure


def test_the_guides_notebooks_make_the_injected_light(tmp_path, monkeypatch):
    truth = simulate.simulate_night(tmp_path / "raw", scale=0.0625)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(sys, "argv", ["guide_notebooks.py", str(tmp_path / "raw"), str(out)])
    guide_notebooks.main()
    assert len(list(out.glob("combined_*.fits"))) == 6
    for name, image in guide_night.read_calibrated(out).items():
        light = truth.incident(f"{name}.gz")
        assert image.shape == light.shape
        ratio = np.median(image) * truth.camera["gain"] / np.median(light)
        # Each flat is divided by its own mean, of a response that is not 1 on average.
        assert ratio == pytest.approx(1, abs=0.2)
        assert np.corrcoef(image.ravel(), light.ravel())[0, 1] > 0.85


def frames(folder, image, *, gain=2.0, error=10.0):
    folder.mkdir()
    header = fits.Header({"RAWGAIN": gain, "GAIN": 1.0})
    planes = (("UNCERT", np.full(image.shape, error)), ("MASK", np.zeros(image.shape, np.int16)))
    hdus = [fits.ImageHDU(plane, name=name) for name, plane in planes]
    for name in guide_night.SCIENCE_FRAMES:
        fits.HDUList([fits.PrimaryHDU(image, header), *hdus]).writeto(folder / name)
    return folder


def test_wrong_frames_stop_the_run(tmp_path):
    guide = np.full((20, 30), 500.0)
    reference = dict.fromkeys(guide_night.SCIENCE_FRAMES, guide)
    measured = measure.run([sys.executable, "-c", ""], log=tmp_path / "log")

    def check(folder):
        difference, level = guide_night.compare(folder, reference)
        guide_night.check_differences(
            guide_night.Result(
                contender="ccdflow",
                measurement=measured,
                difference=difference,
                level_difference=level,
            )
        )
        return difference, level

    wave = np.tile([[-1.0, 0.0, 1.0]], (20, 10))
    assert check(frames(tmp_path / "right", 2 * guide + 0.2 * wave)) == (pytest.approx(0.02), 0)
    with pytest.raises(measure.BenchmarkError, match=r"are 0\.500 sigma off"):
        check(frames(tmp_path / "noisy", 2 * guide + 5 * wave))
    with pytest.raises(measure.BenchmarkError, match=r"its level is 0\.0100 off"):
        check(frames(tmp_path / "bright", 2.02 * guide))
    (tmp_path / "right" / guide_night.SCIENCE_FRAMES[1]).unlink()
    with pytest.raises(measure.BenchmarkError, match=r"no product .*ccd\.043\.0\.fits"):
        check(tmp_path / "right")


def test_the_bar_is_five_times_the_notebooks(tmp_path):
    def result(name, wall):
        measured = measure.Measurement(
            wall=wall, user=wall, system=0, peak_tree=8e8, peak_main=8e8, log=tmp_path
        )
        return guide_night.Result(
            contender=name, measurement=measured, difference=None, level_difference=None
        )

    runs = [result("guide", 60.0), *(result("ccdflow", wall) for wall in (13.0, 11.0, 12.0))]
    first, memory = guide_night.bars(measure.median_runs(runs))
    assert (first.value, first.verdict) == (5.0, "reached")
    assert (memory.value, memory.verdict) == (800.0, "reached")
