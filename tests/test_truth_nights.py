"""Nights of a megapixel, raw to calibrated, against their truth: the figures with their errors.

`python -m pytest -m torture -s tests/test_truth_nights.py` prints them; 17 s of CPU a night.
"""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import pytest
import small_chain
from small_frames import run_jobs
from test_chain_of_masters import KINDS

from ccdflow import simulate

NIGHTS = 12
SHAPE = (1000, 1080)
LEVELS = (0.0, 30.0, 400.0, 5_000.0, 40_000.0)
APERTURE, STARS, FRAMES = 8, 1000, 3
BAND, SECONDS = "g", 60.0
HALVES = (slice(0, SHAPE[1] // 2), slice(SHAPE[1] // 2, SHAPE[1]))


def stars_of(seed, flux):
    """Return a thousand stars on a grid, far enough from each other: (x, y, electrons a second)."""
    random = np.random.default_rng([seed, 9])
    y, x = np.mgrid[20 : SHAPE[0] - 20 : 30, 20 : SHAPE[1] - 20 : 30]
    y, x = y.ravel()[:STARS], x.ravel()[:STARS]
    away = random.uniform(-0.5, 0.5, (2, len(x)))
    return np.stack([x + away[0], y + away[1], 10 ** random.uniform(*flux, len(x))], axis=1)


@cache
def night(seed, folder):
    """Return (chain, science frames, run) of one night: levels, bright stars and faint ones."""
    detector = simulate.draw_detector(SHAPE, seed=seed, shutter=0.0, filling=0, blinking=0)
    chain = small_chain.make(
        folder / "raw", seed=seed, detector=detector, biases=9, darks=((SECONDS, 9),),
        flats=((BAND, 25),), science=(),
    )  # fmt: skip
    plan, start = [], datetime(2024, 3, 1, 22)

    def add(name, sky):
        plan.append(
            simulate.Shot(
                f"{name}.fits", start=start + timedelta(minutes=3 * len(plan)), kind="science",
                exptime=SECONDS, filter=BAND, sky=sky, temperature=-100.0,
            )
        )  # fmt: skip

    for level in LEVELS:
        add(f"level{level:.0f}", simulate.Sky(level / SECONDS))
    for name, flux in (("faint", (3.5, 5.0)), ("bright", (5.6, 5.95))):
        low, high = (value - np.log10(SECONDS) for value in flux)
        stars = stars_of(seed, (low, high))
        for number in range(FRAMES):
            add(f"{name}{number}", simulate.Sky(10.0, stars=stars, fwhm=5.0))
    taken = simulate.night(folder / "raw/science", detector, plan, seed=1000 + seed)
    done = run_jobs(folder / "raw", folder / "results", {"simcam": chain.profile}, kinds=KINDS)
    return chain, taken, done


def frames_of(seed, tmp_path_factory, name):
    """Yield (data, error, good, truth, header) of the frames of a night whose name begins so."""
    folder = tmp_path_factory.getbasetemp() / f"night{seed}"
    chain, taken, done = night(seed, folder)
    flat = done.open(f"combined/{small_chain.NIGHT}/flat_simcam_1080x1000_1x1_{BAND}.fits")
    response = chain.detector.response(BAND)
    scale = response[flat["MASK"].data == 0].mean()
    for file, one in taken.items():
        if file.startswith(name):
            hdus = done.open(f"calibrated/science/{file}")
            good = (hdus["MASK"].data == 0) & (chain.detector.defects() == 0) & ~one.saturated
            truth = one.incident * scale
            yield hdus[0].data.astype(float), hdus["UNCERT"].data, good, truth, hdus[0].header, one


def say(text):
    print(f"  {text}")


@pytest.fixture(scope="module", autouse=True)
def tidy(tmp_path_factory):
    yield
    night.cache_clear()
    for folder in tmp_path_factory.getbasetemp().glob("night*"):
        shutil.rmtree(folder)


@pytest.mark.torture
@pytest.mark.parametrize("level", LEVELS)
def test_pulls(level, tmp_path_factory):
    """Mean within 0.01, standard deviation within 0.01 of 1, in each amplifier; sums of 10 x 10."""
    pulls, summed = ([], []), ([], [])
    for seed in range(NIGHTS):
        for data, error, good, truth, header, _ in frames_of(
            seed, tmp_path_factory, f"level{level:.0f}."
        ):
            for number, part in enumerate(HALVES):
                pull = ((data - truth) / error)[:, part][good[:, part]]
                pulls[number].append([pull.mean(), pull.std()])
                summed[number].append(in_boxes(data - truth, error, good, header, number, part))
    for number in range(2):
        mean, spread = np.mean(pulls[number], axis=0)
        errors = np.std(pulls[number], axis=0, ddof=1) / NIGHTS**0.5
        boxes = np.array(summed[number])
        say(
            f"{level:6.0f} e-, amplifier {number}: mean {mean:+.4f} +- {errors[0]:.4f}, std"
            f" {spread:.4f} +- {errors[1]:.4f}; 10 x 10: {boxes.mean():.4f}"
            f" +- {boxes.std(ddof=1) / NIGHTS**0.5:.4f}"
        )
        assert abs(mean) < 0.01
        assert spread == pytest.approx(1, abs=0.01)
        assert boxes.mean() == pytest.approx(1, abs=0.03)


def in_boxes(off, error, good, header, number, part):
    """Return the scatter of sums of 10 x 10 pixels over its prediction; the rows' level apart."""
    level = header[f"OSCNOI{number + 1:02d}"]
    ny, nx = (size // 10 * 10 for size in off[:, part].shape)

    def boxes(plane):
        return plane[:ny, :nx].reshape(ny // 10, 10, nx // 10, 10).sum(axis=(1, 3))

    off, variance = off[:, part], error[:, part].astype(float) ** 2
    ones = np.ones(off.shape)
    whole = boxes(good[:, part].astype(float)) == 100
    predicted = boxes(variance) - level**2 * boxes(ones) + 10 * (10 * level) ** 2
    return float((boxes(off) / np.sqrt(predicted))[whole].std())


def apertures(plane, places):
    """Return the sums around some places."""
    reach = range(-APERTURE, APERTURE + 1)
    rows, columns = places
    return sum(plane[rows + dy, columns + dx] for dy in reach for dx in reach)


def stellar(seed, tmp_path_factory, name):
    """Return flux found less true, true flux, photon noise and flat of the stars of a night."""
    places = stars_of(seed, (0.0, 0.0))[:, [1, 0]].round().astype(int).T
    folder = tmp_path_factory.getbasetemp() / f"night{seed}"
    flat = night(seed, folder)[0].flat(BAND)
    found = []
    for data, _, good, truth, header, one in frames_of(seed, tmp_path_factory, name):
        whole = apertures(good.astype(int), places) == (2 * APERTURE + 1) ** 2
        detector = night(seed, folder)[0].detector
        gain, noise = detector.per_column("gain"), detector.per_column("read_noise")
        variance = one.light + one.dark + one.glow + noise**2 + gain**2 / 12
        # In an aperture the level of a row counts with its columns.
        level = np.concatenate(
            [np.full(part.stop - part.start, header[f"OSCNOI{n + 1:02d}"])
             for n, part in enumerate(HALVES)]
        )  # fmt: skip
        wide = 2 * APERTURE + 1
        rows = wide * (wide * level[places[1]]) ** 2
        variance = variance * (truth / np.maximum(one.light, 1e-9)) ** 2
        star = truth - np.median(truth)
        shape = apertures(star * flat, places) / apertures(star, places)
        found.append(
            np.stack(
                [apertures(data - truth, places), apertures(star, places),
                 np.sqrt(apertures(variance, places) + rows), shape]
            )[:, whole]
        )  # fmt: skip
    return np.concatenate(found, axis=1)


@pytest.mark.torture
def test_the_scatter_of_a_thousand_stars(tmp_path_factory):
    """At most 1.02 of what photons, read noise and the level of the rows leave."""
    ratios = []
    for seed in range(NIGHTS):
        off, _, noise, _ = stellar(seed, tmp_path_factory, "faint")
        ratios.append((off / noise).std())
    error = np.std(ratios, ddof=1) / NIGHTS**0.5
    say(f"rms of faint stars over the photon prediction {np.mean(ratios):.4f} +- {error:.4f}")
    assert error < 0.005
    assert np.mean(ratios) + 2 * error < 1.02


@pytest.mark.torture
def test_the_slope_against_the_flat(tmp_path_factory):
    """0 within 5e-4, and known well enough to say so."""
    slopes, errors = [], []
    for seed in range(NIGHTS):
        off, light, noise, flat = stellar(seed, tmp_path_factory, "bright")
        weight = light / noise
        slope, _ = np.polyfit(flat - 1, off / light, 1, w=weight)
        middle = np.average(flat, weights=weight**2)
        slopes.append(slope)
        errors.append(np.sum(weight**2 * (flat - middle) ** 2) ** -0.5)
    weights = 1 / np.square(errors)
    slope, error = np.average(slopes, weights=weights), np.sum(weights) ** -0.5
    say(f"slope {slope:+.1e} +- {error:.1e}; of the nights {np.std(slopes, ddof=1):.1e}")
    assert error < 1.5e-4
    assert abs(slope) + 2 * error < 5e-4
