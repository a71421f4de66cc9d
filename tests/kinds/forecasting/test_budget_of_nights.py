"""The budget of a night against its pixels: the noise of a frame, and the gain of more frames."""

from __future__ import annotations

import shutil
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from chain_runs import DARKS, FEW_FRAMES, FLATS, NIGHT, edit, run
from small_frames import begin

from ccdflow import simulate
from ccdflow.calibrate.sky_level import level_and_noise
from ccdflow.kinds.forecasting import forecast_sentences, night_forecast
from ccdflow.kinds.forecasting.sky_prediction import predicted_sky
from ccdflow.run.nights.note_lines import NeedsWholePlan

SHAPE = (151, 153)
NO_FAULTS = simulate.FaultCounts(0, 0, 0, 0, 0, 0, 0, 0)
SKIES = (3.0, 10.0, 38.0, 226.0, 1000.0, 3000.0)


def detector_of(gain, read_noise):
    amplifier = simulate.SimulatedAmplifier((0, SHAPE[1]), gain, read_noise)
    return simulate.draw_detector(
        SHAPE, amplifiers=[amplifier], shutter=0.0, faults=NO_FAULTS, filters=("g",)
    )


def noises_of(done):
    """Return the blocks of a night, and {calibrated frame: its noise in the budget}."""
    blocks = night_forecast.forecasts_of_setups(done.context, NIGHT)
    noises = {
        product: noise for block in blocks for noise in block.noises for product in noise.products
    }
    return blocks, noises


@pytest.mark.parametrize(("gain", "read_noise"), [(0.5, 3.0), (1.0, 6.0), (3.0, 3.0)])
def test_the_budget_is_the_noise_of_frames_of_all_skies(tmp_path, gain, read_noise):
    """From 3 to 3000 electrons, the read noise from one step of the converter to six: 3 %."""
    detector, shots = detector_of(gain, read_noise), []

    def take(image_type, count=1, **options):
        for number in range(count):
            start = small_chain.EVENING + timedelta(minutes=3 * len(shots))
            file = f"{image_type}{len(shots) if count == 1 else number}.fits"
            shots.append(simulate.Shot(file, image_type, start, **options))

    take("bias", 5)
    take("dark", 5, exptime=60.0)
    take("flat", 5, exptime=4.0, filter="g", sky=simulate.Sky(25_000 * min(gain, 1.0) / 4))
    for number, sky in enumerate(SKIES):
        # Frames of one exposure would be budgeted together.
        seconds = 60.0 + 0.01 * number
        take("science", exptime=seconds, filter="g", sky=simulate.Sky(sky / seconds))
    taken = simulate.expose_night(tmp_path / "raw", detector, shots, seed=1)
    done = run(tmp_path, SimpleNamespace(profile=simulate.profile(detector)))
    _, noises = noises_of(done)
    assert len(noises) == len(SKIES)
    for product, noise in noises.items():
        hdus, truth = done.open(product), taken[product.partition("/")[2]].incident
        sky = np.median(truth)
        off = np.where(hdus["MASK"].data == 0, hdus[0].data - truth, np.nan)
        # As SKYRMS is measured, but on all rows.
        measured = level_and_noise(off[:-1:2], off[1::2])["sky_rms"]
        assert noise.budget.noise == pytest.approx(measured, rel=0.03), sky


MORE_NIGHTS = {
    # Kind: frames of the night, in the end, exposures of frame and darks, sky in electrons.
    "dark": ({"bias": 6, "dark": 3, "flat": 4}, 12, (60.0, 60.0), 1.0),
    "bias": ({"bias": 3, "dark": 9, "flat": 4}, 12, (20.0, 60.0), 1.0),
    "flat": ({"bias": 6, "dark": 4, "flat": 3}, 12, (20.0, 20.0), 20_000.0),
}


@pytest.mark.parametrize("kind", MORE_NIGHTS)
def test_the_gain_of_further_frames_is_that_of_a_run_with_them(tmp_path, kind):
    """The night is run, the frames of the list are added, and it is run again."""
    counts, final, (seconds, dark_seconds), sky = MORE_NIGHTS[kind]
    all_counts = {**counts, kind: final}
    chain = small_chain.make(
        tmp_path / "all", detector=detector_of(1.0, 6.0), biases=all_counts["bias"],
        darks=((dark_seconds, all_counts["dark"]),), flats=(("g", all_counts["flat"]),),
        science=(("g", seconds, 1),), sky=sky / seconds, stars=0, lamp_drift=0.0,
    )  # fmt: skip
    (tmp_path / "raw").mkdir()
    (frame,) = chain.files_of_type("science")
    names = [
        frame,
        *(name for each in counts for name in chain.files_of_type(each)[: counts[each]]),
    ]

    def variance():
        for name in names:
            shutil.copy(tmp_path / "all" / name, tmp_path / "raw" / name)
        done = run(tmp_path, chain)
        off = (done.open(f"calibrated/{frame}")[0].data - chain.perfect(frame))[
            chain.good_pixels(frame)
        ]
        return done, off.var()

    done, before = variance()
    (block,), noises = noises_of(done)
    noise = noises[f"calibrated/{frame}"]
    wish = next(wish for wish in noise.wishes if wish.kind == kind)
    assert (wish.n_frames, wish.joins_frames) == (final - counts[kind], True)
    gain = wish.saved_fraction if kind == "flat" else wish.saved_fraction_without_light
    of = "the variance" if kind == "flat" else "read and dark variance"
    assert f"(-{100 * gain:.0f} % of {of})" in " ".join(forecast_sentences.wish_lines(block))
    names = chain.files_of_type(kind)
    _, after = variance()
    # The frame's own noise is in both: the error is that of its product with the master's.
    fall, error = 1 - after / before, 2 * (wish.saved_fraction / SHAPE[0] / SHAPE[1]) ** 0.5
    assert fall == pytest.approx(wish.saved_fraction, abs=3 * error + 0.02 * wish.saved_fraction)
    if kind == "flat":
        return
    photons = noise.budget.parts["photons"]
    variance_without_light = (before - after) / (before - photons)
    assert variance_without_light == pytest.approx(
        wish.saved_fraction_without_light, abs=3 * error + 0.05 * gain
    )


def test_a_dark_that_was_left_out_leaves_two_and_one_more_completes_them(tmp_path):
    """Three darks of the night, one of them with light in it: two are too few for a master."""
    chain = small_chain.make(tmp_path / "raw", **(FEW_FRAMES | {"science": (("g", 60.0, 1),)}))
    with fits.open(tmp_path / "raw/dark60_2.fits", mode="update") as hdus:
        hdus[0].data[:, :90] += 400
    done = run(tmp_path, chain)
    assert done.records[DARKS[60]].reason == "2 of 3 frames, fewer than the minimum of 3"
    (block,), _ = noises_of(done)
    wishes = forecast_sentences.wish_lines(block)
    assert wishes[0] == "1 more dark of 60 s makes a combined dark of the 2 that there are"


def test_the_response_is_that_of_a_flat_that_is_there_and_made(tmp_path):
    """Otherwise it is 1: a flat that was deleted, or one that is to be made anew."""
    chain = small_chain.make(tmp_path / "raw", **(FEW_FRAMES | {"science": (("g", 60.0, 1),)}))
    done = run(tmp_path, chain)
    path, away = done.results / FLATS["g"], tmp_path / "away.fits"

    def response(run_or_plan):
        (noise,) = noises_of(run_or_plan)[1].values()
        return noise.frame.response

    path.rename(away)
    assert response(done) == 1.0
    away.rename(path)
    flat = fits.getdata(path)
    sample = flat[:: max(1, len(flat) // 64)].astype(float)
    assert response(done) == float(np.median(sample[sample > 0])) != 1.0
    edit(tmp_path / "raw" / "flat_g1.fits", OBSERVER="somebody")
    planned = begin(tmp_path / "raw", done.results, {"simcam": chain.profile})
    planned.lock.close()
    assert FLATS["g"] in planned.plan.jobs
    assert response(planned) == 1.0


def test_a_sky_predicted_by_frames_of_all_nights_needs_a_whole_plan():
    context = SimpleNamespace(closed_nights=object(), lookup=lambda key, make: make())
    with pytest.raises(NeedsWholePlan, match="the sky of frames of all nights is asked for"):
        predicted_sky(context, SimpleNamespace(), 30.0)
