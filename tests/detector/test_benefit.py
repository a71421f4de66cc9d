"""Whether a dark helps: with injected structure and noise, and through the whole chain."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from chain_runs import BIAS, DARKS, run, take

from ccdflow import paths, simulate
from ccdflow.detector.benefit import harms, measure_benefit
from ccdflow.kinds.explaining import product_explanation
from ccdflow.kinds.forecasting import forecast_sentences, night_forecast
from ccdflow.kinds.reporting.associations_table import ASSOCIATIONS
from ccdflow.pages.terminal import Tables, night_text

SCIENCE = "calibrated/science_g1.fits"


@pytest.mark.parametrize(("structure", "noise"), [(0.0, 6.0), (3.0, 6.0), (9.0, 6.0)])
def test_structure_and_noise_are_distinguished(structure, noise):
    rng = np.random.default_rng(3)
    shape = (150, 201)
    image = 40 + rng.normal(0, structure, shape) + rng.normal(0, noise, shape)
    good = np.ones(shape, bool)
    good[:, 17] = False
    image[:, 17] += 1e5
    benefit = measure_benefit(image, np.full(shape, noise), good, gain=1.5)
    assert benefit.noise_variance == pytest.approx(36 * 1.5**2)
    assert abs(benefit.structure_variance - structure**2 * 1.5**2) < 4 * benefit.variance_error
    expected_error = (structure**2 + noise**2) * 1.5**2 * np.sqrt(2 / good.sum())
    assert benefit.variance_error == pytest.approx(expected_error, rel=0.03)
    figures = {
        "structure": benefit.structure_variance,
        "structure_error": benefit.variance_error,
        "added": benefit.noise_variance,
    }
    assert harms([figures]) == (structure < noise)


def test_a_dark_that_is_as_good_as_none_does_no_harm():
    even = {"structure": 36.0, "structure_error": 0.5, "added": 36.0}
    assert not harms([even])
    # The bias cancels where there is a dark: without, its noise is back.
    worse = {"structure": 0.0, "structure_error": 0.1, "added": 36.0}
    assert harms([worse])
    assert not harms([worse], bias_variance=40.0)
    assert harms([worse], bias_variance=20.0)
    # One amplifier that it helps is enough to keep it; what is not known does no harm.
    assert not harms([worse, {**worse, "structure": 90.0}])
    assert not harms([])
    assert not harms([{"rate": 1.0}])


def clean_detector():
    """Return a cold detector without glow and hot pixels: a dark removes nothing."""
    amplifiers = [
        simulate.SimulatedAmplifier(columns=(0, 52), gain=1.2, read_noise=9.0),
        simulate.SimulatedAmplifier(columns=(52, 103), gain=1.55, read_noise=9.0),
    ]
    detector = simulate.draw_detector(
        (101, 103),
        shutter=0.0,
        amplifiers=amplifiers,
        faults=simulate.FaultCounts(
            hot=0, filling=0, blinking=0, traps=0, dead_columns=0, low=0, dead=0
        ),
    )
    return replace(detector, glow=None)


LIGHT = {"flats": (("g", 3),), "science": (("g", 60.0, 1),)}
COLD_NIGHT = LIGHT | {"biases": 16, "darks": ((60.0, 3),), "temperature": -140.0}
COLD_NIGHT["science"] = (("g", 60.0, 2),)


def noise_of(done, chain):
    truth = chain.perfect("science_g1.fits")
    sky = chain.good_pixels("science_g1.fits") & (np.abs(truth / np.median(truth) - 1) < 0.05)
    return (done.open(SCIENCE)[0].data - truth)[sky].std()


def test_a_harmful_dark_is_named_and_left_out_on_request(tmp_path):
    """Three darks of a cold detector, many biases: the frame is noisier with the darks."""
    chain = take(tmp_path, detector=clean_detector(), **COLD_NIGHT)
    done = run(tmp_path, chain)
    lines = [line for line in done.lines if line.startswith("dark does harm: ")]
    assert len(lines) == 1
    assert f"{DARKS[60]}: it adds " in lines[0]
    assert "`calibrate: skip_harmful: true` leaves it out" in lines[0]
    before = noise_of(done, chain)
    header = done.open(SCIENCE)[0].header
    assert "DARKIM" in header

    done = run(tmp_path, chain, calibrate={"skip_harmful": True})
    header = done.open(SCIENCE)[0].header
    assert "DARKIM" not in header
    assert header["BIASIM"] == BIAS
    assert header["CALGRADE"] == "B"
    assert "dark left out: more noise than structure" in "; ".join(map(str, header["HISTORY"]))
    assert noise_of(done, chain) < before - 0.3
    assert "it was left out" in next(line for line in done.lines if "dark does harm" in line)
    assert_all_tell_of_a_dark_left_out(done)
    again = run(tmp_path, chain, calibrate={"skip_harmful": True})
    assert again.records == {}


def assert_all_tell_of_a_dark_left_out(done):
    """Plan, page, associations.csv, explain, night and last line say what the header says."""
    why = f"left out: more noise than structure ({DARKS[60]})"
    with (done.results / paths.ASSOCIATIONS_FILE).open(newline="") as file:
        steps = [row for row in csv.DictReader(file) if row["frame"] == SCIENCE]
    by_step = {row["step"]: row for row in steps}
    dark = by_step["dark"]
    assert [dark[name] for name in ("master", "reason", "grade")] == ["", why, "B"]
    assert dark["predicted_variance"] == dark["runner_up"] == ""
    section = ASSOCIATIONS.section(done.context, "2024-03-01")
    row = next(row for row in section.rows if row[0] == "dark")
    assert row[1:4] == ("-", why, "B")
    (block,) = night_forecast.forecasts_of_setups(done.context, "2024-03-01")
    plan = forecast_sentences.paragraph(block)
    assert f"  dark  none                           {why}   grade B" in plan
    # Without its dark the bias does not cancel, and no dark is asked for.
    assert "cancels" not in next(line for line in plan if line.startswith("  bias"))
    parts = block.noises[0].budget.parts
    assert parts["dark"] == 0
    assert parts["bias"] > 0
    assert list(block.noises[0].wishes) == []
    assert f"  dark     none: {why}" in product_explanation.explain_product(done.results, SCIENCE)
    night = night_text("2024-03-01", Tables([], steps=steps))
    assert "1 frame: 1 of grade B" in night
    assert "frames without it" in next(line for line in done.lines if "dark does harm" in line)


def test_without_its_dark_a_frame_takes_the_bias_that_is_best_alone(tmp_path):
    """The bias of the dark cancels in the dark only: tonight's many biases add less without it."""
    few = COLD_NIGHT | {"biases": 8, "flats": (), "science": (("g", 60.0, 1),)}
    chain = take(tmp_path, detector=clean_detector(), **few)
    next_night = few | {"biases": 12, "darks": ()}
    take(
        tmp_path,
        evening=datetime(2024, 3, 2, 17),
        folder="next",
        detector=clean_detector(),
        **next_night,
    )
    own, frame = BIAS.replace("03-01", "03-02"), "calibrated/next/science_g1.fits"
    done = run(tmp_path, chain, calibrate={"skip_harmful": True})
    header = done.open(frame)[0].header
    assert ("DARKIM" in header, header["BIASIM"]) == (False, own)
    assert run(tmp_path, chain, calibrate={"skip_harmful": True}).records == {}
    with (done.results / paths.ASSOCIATIONS_FILE).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["frame"] == frame]
    (bias,) = [row for row in rows if row["step"] == "bias"]
    assert (bias["master"], bias["runner_up"], bias["reason"]) == (own, BIAS, "own night")
    section = ASSOCIATIONS.section(done.context, "2024-03-02")
    (row,) = [row for row in section.rows if row[0] == "bias"]
    assert "times the variance" in row[-1]


def test_a_run_from_scratch_leaves_the_harmful_dark_out_as_well(tmp_path):
    """The dark is not made when the run is planned; the frame is what a second run would make."""
    chain = take(tmp_path, detector=clean_detector(), **COLD_NIGHT)
    done = run(tmp_path, chain, calibrate={"skip_harmful": True})
    assert "DARKIM" not in done.open(SCIENCE)[0].header
    assert run(tmp_path, chain, calibrate={"skip_harmful": True}).records == {}


def test_a_dark_with_glow_and_hot_pixels_is_kept(tmp_path):
    chain = take(tmp_path, biases=9, darks=((60.0, 7),), **LIGHT)
    done = run(tmp_path, chain, calibrate={"skip_harmful": True})
    assert "DARKIM" in done.open(SCIENCE)[0].header
    assert done.lines
    assert not [line for line in done.lines if line.startswith("dark does harm")]
