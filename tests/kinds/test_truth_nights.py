"""Whole nights, raw to calibrated, against their truth: the figures with their errors.

`python -m pytest -m torture -s tests/kinds/test_truth_nights.py` prints them; about 10 s of
CPU a night, and 1.2 GB of memory.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import small_chain
from amplifier_columns import values_by_column
from chain_runs import KINDS
from small_frames import run_jobs

from ccdflow import simulate
from ccdflow.simulate.optics import vignetting

NIGHTS = 10
SHAPE = (620, 640)
LEVELS = (0, 30, 400, 5_000, 40_000)
APERTURE, FRAMES = 8, 4
BAND, SECONDS = "g", 60.0
HALVES = (slice(0, SHAPE[1] // 2), slice(SHAPE[1] // 2, SHAPE[1]))


def stars_of(seed, flux):
    """Return stars on a grid, far enough from each other: (x, y, electrons a second)."""
    random = np.random.default_rng([seed, 9])
    y, x = np.mgrid[20 : SHAPE[0] - 20 : 30, 20 : SHAPE[1] - 20 : 30]
    y, x = y.ravel(), x.ravel()
    away = random.uniform(-0.5, 0.5, (2, len(x)))
    brightness = 10 ** random.uniform(*flux, len(x)) / SECONDS
    return np.stack([x + away[0], y + away[1], brightness], axis=1)


def science_plan(seed):
    """Return the shots of a night: five levels of light, faint stars and bright ones."""
    skies = {f"level{level}": simulate.Sky(level / SECONDS) for level in LEVELS}
    for name, flux in (("faint", (3.5, 5.0)), ("bright", (6.0, 6.3))):
        stars = stars_of(seed, flux)
        for number in range(FRAMES):
            skies[f"{name}{number}"] = simulate.Sky(10.0, stars=stars, fwhm=6.5)
    start = datetime(2024, 3, 1, 22)
    return [
        simulate.Shot(
            f"{name}.fits", start=start + timedelta(minutes=3 * place), image_type="science",
            exptime=SECONDS, filter=BAND, sky=sky, temperature=-100.0,
        )
        for place, (name, sky) in enumerate(skies.items())
    ]  # fmt: skip


def compare_night_with_truth(seed, folder):
    """Take a night, reduce it, and return what is compared: {name of the frame: what it has}."""
    detector = simulate.draw_detector(
        SHAPE, seed=seed, shutter=0.0, faults=simulate.FaultCounts(filling=0, blinking=0)
    )
    # Vignetted by 10 to 16 % half-way along an edge, by twice that in the corners; and its dust.
    dusty = detector.illumination[BAND] * vignetting(SHAPE, 0.06).astype(np.float32)
    detector = replace(detector, illumination={**detector.illumination, BAND: dusty})
    chain = small_chain.make(
        folder / "raw", seed=seed, detector=detector, biases=9, darks=((SECONDS, 9),),
        flats=((BAND, 25),), science=(),
    )  # fmt: skip
    chain.exposures.clear()
    taken = simulate.expose_night(
        folder / "raw/science", detector, science_plan(seed), seed=1000 + seed
    )
    done = run_jobs(folder / "raw", folder / "results", {"simcam": chain.profile}, kinds=KINDS)
    (product,) = [p for p in done.records if p.startswith("combined/") and "/flat_" in p]
    response = detector.response(BAND)
    scale = response[done.open(product)["MASK"].data == 0].mean()
    gain, noise = values_by_column(detector, "gain"), values_by_column(detector, "read_noise")
    for file, one in taken.items():
        hdus = done.open(f"calibrated/science/{file}")
        truth = one.incident * scale
        quiet = one.dark + one.glow + noise**2 + gain**2 / 12
        yield SimpleNamespace(
            name=file.removesuffix(".fits"),
            off=hdus[0].data - truth,
            error=hdus["UNCERT"].data.astype(float),
            good=(hdus["MASK"].data == 0) & (detector.defects() == 0) & ~one.is_saturated,
            truth=truth,
            photons=(one.light + quiet) * (scale / np.maximum(response, 1e-3)) ** 2,
            flat=response / scale,
            levels=[hdus[0].header[f"OSCNOI{number:02d}"] for number in (1, 2)],
        )


def scatter_of_boxes(frame, number, part):
    """Return the scatter of sums of 10 x 10 pixels over its prediction; the rows' level apart."""
    off, variance = frame.off[:, part], frame.error[:, part] ** 2
    level = frame.levels[number] / np.maximum(frame.flat[:, part], 1e-3)
    ny, nx = (size // 10 * 10 for size in off.shape)

    def rows(plane):
        return plane[:ny, :nx].reshape(ny, nx // 10, 10).sum(axis=2)

    def boxes(plane):
        return rows(plane).reshape(ny // 10, 10, nx // 10).sum(axis=1)

    whole = boxes(frame.good[:, part].astype(float)) == 100
    common = (rows(level) ** 2).reshape(ny // 10, 10, nx // 10).sum(axis=1)
    return float((boxes(off) / np.sqrt(boxes(variance - level**2) + common))[whole].std())


def star_fluxes(frame, places):
    """Return flux found less true, true flux, predicted noise and flat of the stars of a frame."""
    reach = range(-APERTURE, APERTURE + 1)
    wide = len(reach)

    def sums(plane):
        return sum(plane[places[0] + dy, places[1] + dx] for dy in reach for dx in reach)

    whole = sums(frame.good.astype(int)) == wide**2
    star = frame.truth - np.median(frame.truth)
    # In an aperture the level of a row counts with all of its columns.
    level = np.where(places[1] < HALVES[0].stop, *frame.levels)
    noise = np.sqrt(sums(frame.photons) + wide * (wide * level) ** 2)
    shape = sums(star * frame.flat) / sums(star)
    return np.stack([sums(frame.off), sums(star), noise, shape])[:, whole]


@pytest.fixture(scope="module")
def figures_of_nights(tmp_path_factory):
    """The figures of all nights: {name: list of a figure, or of figures, of each night}."""
    figures = {}
    for seed in range(NIGHTS):
        folder = tmp_path_factory.mktemp(f"night{seed}")
        places = stars_of(seed, (0.0, 0.0))[:, [1, 0]].round().astype(int).T
        stars = {"faint": [], "bright": []}
        for frame in compare_night_with_truth(seed, folder):
            if frame.name.startswith("level"):
                for number, part in enumerate(HALVES):
                    pull = (frame.off / frame.error)[:, part][frame.good[:, part]]
                    own = [pull.mean(), pull.std(), scatter_of_boxes(frame, number, part)]
                    figures.setdefault((frame.name, number), []).append(own)
            else:
                stars[frame.name.rstrip("0123456789")].append(star_fluxes(frame, places))
        for name, own in stars.items():
            figures.setdefault(name, []).append(np.concatenate(own, axis=1))
        shutil.rmtree(folder)
    return figures


def mean_and_error(values):
    """Return the mean of the nights' figures and its standard error."""
    return np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / len(values) ** 0.5


@pytest.mark.torture
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("amplifier", [0, 1])
def test_values_scatter_by_their_errors(level, amplifier, figures_of_nights):
    """Mean within 0.01, standard deviation within 0.01 of 1; in sums of 10 x 10 within 0.03."""
    figures, errors = mean_and_error(figures_of_nights[f"level{level}", amplifier])
    names = ("mean", "std", "10 x 10")
    each = (f"{n} {f:.4f} +- {e:.4f}" for n, f, e in zip(names, figures, errors, strict=True))
    print(f"  {level} e-, amplifier {amplifier}: {', '.join(each)}")
    assert abs(figures[0]) < 0.01
    assert figures[1] == pytest.approx(1, abs=0.01)
    assert figures[2] == pytest.approx(1, abs=0.03)


@pytest.mark.torture
def test_the_scatter_of_stars(figures_of_nights):
    """0.98 to 1.02 of the noise of photons, of the readout and of the rows' level."""
    ratio, error = mean_and_error(
        [(off / noise).std() for off, _, noise, _ in figures_of_nights["faint"]]
    )
    stars = sum(each.shape[1] for each in figures_of_nights["faint"])
    print(f"  {stars} fluxes of faint stars: rms over the prediction {ratio:.4f} +- {error:.4f}")
    assert error < 0.006
    assert ratio - 2 * error > 0.98
    assert ratio + 2 * error < 1.02


@pytest.mark.torture
def test_the_slope_against_the_flat(figures_of_nights):
    """0 within 5e-4, and known well enough to say so."""
    slopes, errors = [], []
    for off, light, noise, flat in figures_of_nights["bright"]:
        weight = light / noise
        slopes.append(np.polyfit(flat - 1, off / light, 1, w=weight)[0])
        middle = np.average(flat, weights=weight**2)
        errors.append(np.sum(weight**2 * (flat - middle) ** 2) ** -0.5)
    weights = 1 / np.square(errors)
    slope, error = np.average(slopes, weights=weights), np.sum(weights) ** -0.5
    stars = sum(each.shape[1] for each in figures_of_nights["bright"])
    print(f"  {stars} fluxes of bright stars: slope {slope:+.1e} +- {error:.1e}")
    print(f"  a night's: {np.std(slopes, ddof=1):.1e}, predicted {np.median(errors):.1e}")
    assert error < 1.6e-4
    assert abs(slope) + 2 * error < 5e-4
