"""With each master and without: injected noise and structure come out, and reach page and lines."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from chain_runs import run, take

from ccdflow.calibrate.master_effects import Effect, effects_on_rows
from ccdflow.kinds.calibrating import master_help
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.run.context import PlanContext

FRAME = "calibrated/science_g1.fits"
SHAPE, SKY, READ_NOISE = (32, 2048), 800.0, 6.0


def sample(rng, *, bias=0.0, dark=0.0, flat=0.0, frames=9):
    """Return rows of a frame and of its masters; their true pixels scatter by these amounts."""
    pixels = {
        "bias": (rng.normal(0, bias, SHAPE), READ_NOISE / frames**0.5),
        "dark": (rng.normal(0, dark, SHAPE), READ_NOISE / frames**0.5),
        "flat": (rng.normal(1, flat, SHAPE), (frames * 20_000.0) ** -0.5),
    }
    light = SKY * pixels["flat"][0]
    frame = pixels["bias"][0] + pixels["dark"][0] + light
    frame = frame + rng.normal(0, (READ_NOISE**2 + SKY) ** 0.5, SHAPE)
    masters = {
        kind: ((truth + rng.normal(0, noise, SHAPE)).astype(np.float32), 1.0)
        for kind, (truth, noise) in pixels.items()
    }
    return frame.astype(np.float32), masters


def test_each_master_changes_the_noise_by_the_parts_that_the_master_takes_and_adds():
    true = {"bias": 4.0, "dark": 0.0, "flat": 0.01}
    measured = effects_on_rows(*sample(np.random.default_rng(1), **true))
    added = {"bias": 36 / 9, "dark": 36 / 9, "flat": SKY**2 / (9 * 20_000)}
    taken = {kind: true[kind] ** 2 for kind in ("bias", "dark")} | {"flat": (SKY * 0.01) ** 2}
    for kind, effect in measured.items():
        change = effect.noise_variance - effect.noise_variance_without
        assert change == pytest.approx(
            added[kind] - taken[kind], abs=3 * effect.noise_variance_error
        )
        assert effect.noise_variance_error < 3
    everything = SKY + 36 + sum(added.values())
    assert measured["bias"].noise_variance == pytest.approx(everything, rel=0.02)


def test_vignetting_is_structure_and_no_noise():
    rng = np.random.default_rng(2)
    frame, masters = sample(rng)
    slope = np.linspace(0.8, 1.2, SHAPE[1], dtype=np.float32)
    masters["flat"] = (masters["flat"][0] * slope, 1.0)
    effect = effects_on_rows(frame * slope, masters)["flat"]
    assert effect.structure_variance_without**0.5 == pytest.approx(SKY * 0.4 / 12**0.5, rel=0.03)
    assert effect.structure_variance**0.5 < 2
    assert effect.noise_variance - effect.noise_variance_without == pytest.approx(
        SKY**2 / 180_000, abs=3 * effect.noise_variance_error
    )


def test_a_glow_in_a_few_boxes_is_structure_that_the_dark_takes():
    rng = np.random.default_rng(4)
    frame, masters = sample(rng)
    glow = np.zeros(SHAPE, np.float32)
    glow[:, :96] = 300.0
    masters["dark"] = (masters["dark"][0] + glow, 1.0)
    effect = effects_on_rows(frame + glow, masters)["dark"]
    # A part of 3 in 64 boxes.
    assert effect.structure_variance_without == pytest.approx(300**2 * 3 / 64, rel=0.05)
    assert effect.structure_variance < 10


def test_a_bias_that_cancels_is_not_judged_and_one_that_half_does_by_half():
    frame, masters = sample(np.random.default_rng(3), bias=8.0)
    assert "bias" not in effects_on_rows(frame, masters, net_factors={"bias": 0.0})
    whole = effects_on_rows(frame, masters)["bias"]
    half = effects_on_rows(frame, masters, net_factors={"bias": 0.5})["bias"]
    # A part of 0.5^2 of both stays in beside the noise of the master, which subtracts half only.
    gained = whole.noise_variance_without - whole.noise_variance
    assert gained == pytest.approx(64 - 4, abs=3 * whole.noise_variance_error)
    assert half.noise_variance_without - half.noise_variance == pytest.approx(
        16 - 3, abs=3 * half.noise_variance_error
    )


def record_of_effect(kind, product, values):
    """Return the record of a calibrated frame with the effect of one master."""
    return SimpleNamespace(
        status="made",
        basis={"masters": [[kind, product, "key"]]},
        data={"helps": {kind: values}, "unit": "electron"},
    )


def test_a_master_that_does_harm_in_its_frames_is_named():
    worse = record_of_effect("flat", "flat_B", [110.0, 100.0, 2.0, 2.0, 1.0, 0.1])
    lines = master_help.lines_on_harm(
        [master_help.sums_of_effects([worse]), master_help.sums_of_effects([worse])]
    )
    assert lines == [
        "flat does harm: flat_B: noise 10.5 e- a pixel with it and 10 without, structure 1.4 and"
        " 1.4; 2 frames; more of its frames would help"
    ]
    better = record_of_effect("flat", "flat_V", [110.0, 100.0, 2.0, 40.0, 1.0, 0.1])
    unsure = record_of_effect("bias", "bias", [110.0, 100.0, 2.0, 2.0, 5.0, 0.1])
    dark = record_of_effect("dark", "dark", [110.0, 100.0, 2.0, 2.0, 1.0, 0.1])
    assert master_help.lines_on_harm([master_help.sums_of_effects([better, unsure, dark])]) == []
    verdicts = [each.verdict for each in master_help.helps_of([better, unsure, dark, worse])]
    spectrum = record_of_effect("flat", "flat_S", [110.0, 100.0, 0.0, 0.0, 1.0, 0.0])
    section = master_help.section_on_effects(
        SimpleNamespace(find_group={}.get), [better, spectrum, worse]
    )
    assert "2 of 3 masters do harm: flat_B, flat_S: more of its frames would help." in str(section)
    shown = {row[0]: row[4:6] for row in section.rows}
    assert shown["flat_S"] == ("–", "–")
    assert shown["flat_B"] == ("1.41", "1.41")
    assert verdicts == ["no difference", "does harm", "does harm", "helps, though it adds noise"]


@pytest.mark.parametrize(
    ("added", "error", "harms"),
    [(9.0, 0.1, False), (11.0, 0.1, True), (16.0, 5.0, True), (14.0, 5.0, False)],
)
def test_a_master_does_harm_beyond_three_errors_and_a_hundredth_of_the_variance(
    added, error, harms
):
    effect = Effect(1000.0 + added, 1000.0, 2.0, 2.0, error, 0.0)
    assert master_help.MasterHelp("flat", "f", 2, effect, "electron").harms is harms


def test_the_page_has_the_effect_of_each_master_on_the_frames(tmp_path):
    done = run(tmp_path, take(tmp_path, sky=40.0))
    helps = done.records[FRAME].data["helps"]
    assert set(helps) == {"dark", "flat"}
    section = SCIENCE.section(PlanContext.of(done.context), "2024-03-01")
    assert [row[0] for row in section.rows] == [
        f"{name} of 2024-03-01" for name in ("dark 20 s", "dark 60 s", "flat g", "flat r")
    ]
    flat = Effect(*helps["flat"])
    assert flat.structure_variance_without > 5 * flat.structure_variance
    assert section.rows[2][1].startswith("helps")


def test_the_structure_of_a_spectrum_is_no_effect_of_its_flat(tmp_path):
    done = run(tmp_path, take(tmp_path, sky=40.0, cards={"GRISM": "Gr#3"}))
    flat = Effect(*done.records[FRAME].data["helps"]["flat"])
    assert flat.structure_variance == flat.structure_variance_without == 0
    assert flat.structure_variance_error == 0
    assert flat.noise_variance > 0


def test_a_glow_in_a_few_boxes_that_goes_is_a_help():
    effect = Effect(1160.0, 1143.0, 6.35, 12321.0, 10.0, 4500.0)
    assert master_help.MasterHelp("dark", "d", 2, effect, "electron").verdict == "helps"
    small = Effect(1160.0, 1143.0, 6.35, 500.0, 10.0, 4500.0)
    assert master_help.MasterHelp("dark", "d", 2, small, "electron").verdict == "no difference"


def test_a_frame_without_a_pixel_shows_no_effect():
    frame, masters = sample(np.random.default_rng(1), bias=3.0)
    measured = effects_on_rows(np.full_like(frame, np.nan), masters)
    assert measured.keys() == masters.keys()
    assert np.isnan([each.noise_variance for each in measured.values()]).all()
