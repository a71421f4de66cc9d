"""The full well by the turnover of photon transfer; none in flats without full pixels."""

import math

import numpy as np
import pytest

from ccdflow.detector.photons.full_well import FullWell
from ccdflow.detector.photons.night_transfer import measure_transfer

SHAPE = (160, 160)


def flats(rng, levels, *, gain=1.5, noise=4.0, well=math.inf, spread=0.0, count=3, **options):
    """Return sets of flats in adu above bias, of one level each: (n, ny, nx) each."""
    options = {"vignette": 0.2, "uneven": 0.01, "brighter": 0.0, "curve": 0.0, "rays": 5,
               "drift": 0.01} | options  # fmt: skip
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0] - 0.5
    response = 1 - 2 * options["vignette"] * (x * x + y * y)
    response = response * rng.normal(1, options["uneven"], SHAPE)
    wells = well if math.isinf(well) else well * (1 + spread * rng.standard_normal(SHAPE))
    pairs = []
    for level in levels:
        frames = []
        for _ in range(count):
            light = level * gain * response * (1 + options["drift"] * rng.standard_normal())
            # Charge that pushes charge aside lessens the scatter of bright pixels.
            part = 1 - options["brighter"] * level / max(levels)
            frame = (light + np.sqrt(light * part) * rng.standard_normal(SHAPE)) / gain
            frame -= options["curve"] * frame**2 / max(levels)
            frame = np.minimum(frame, wells) + rng.normal(0, noise, SHAPE)
            hit = rng.integers(0, frame.size, options["rays"])
            frame.ravel()[hit] += rng.uniform(100, 20_000, options["rays"])
            frames.append(np.rint(np.minimum(frame, wells) if not spread else frame))
        pairs.append(np.array(frames, np.float32))
    return pairs


def well_of(sets, noise=4.0):
    well = FullWell(noise)
    for each in sets:
        well.add(each)
    return well.level()


@pytest.mark.parametrize("levels", [(10_000, 42_000), (10_000, 60_000)])
@pytest.mark.parametrize("vignette", [0.02, 0.2, 0.5])
def test_pixels_that_are_full_are_found_to_a_tenth_of_a_percent(levels, vignette):
    full = well_of(flats(np.random.default_rng(1), levels, vignette=vignette, well=40_000))
    assert 0.999 * 40_000 <= full <= 40_000


def test_pixels_of_unlike_wells_count_as_full_above_the_lowest_wells():
    full = well_of(flats(np.random.default_rng(2), (10_000, 60_000), well=40_000, spread=0.02))
    assert 0.93 * 40_000 < full < 0.96 * 40_000


def nothing_full(seed):
    """Return a random night of flats of which none is full, and its read noise."""
    rng = np.random.default_rng(seed)
    gain, noise = 10 ** rng.uniform(-0.5, 1.7), rng.uniform(0.5, 10)
    top = 60_000 if gain < 10 else 6000
    options = {
        "vignette": rng.uniform(0, 0.6), "uneven": rng.uniform(0, 0.03),
        "brighter": rng.choice([0, 0.3]), "curve": rng.choice([0, 0.05]),
        "count": int(rng.integers(2, 5)), "rays": int(rng.integers(0, 100)),
        "drift": rng.choice([0, 0.01, 0.05]),
    }  # fmt: skip
    levels = sorted(rng.uniform(300, top, rng.integers(1, 5)))
    return flats(rng, levels, gain=gain, noise=noise, **options), noise


def test_a_night_whose_flats_are_not_full_claims_nothing():
    assert [seed for seed in range(12) if not math.isnan(well_of(*nothing_full(seed)))] == []


@pytest.mark.torture
def test_1000_nights_whose_flats_are_not_full_claim_nothing():
    assert [s for s in range(1000, 2000) if not math.isnan(well_of(*nothing_full(s)))] == []


def test_the_same_frame_twice_or_one_level_that_is_full_throughout_claims_nothing():
    rng = np.random.default_rng(3)
    faint, bright = flats(rng, (10_000, 30_000))
    assert math.isnan(well_of([faint, np.array([bright[0], bright[0]])]))
    assert math.isnan(well_of(flats(rng, (60_000,), well=40_000, vignette=0.02)))
    assert math.isnan(FullWell(4.0).level())


def test_flats_with_full_pixels_tell_no_gain_and_no_linearity():
    rng = np.random.default_rng(4)
    levels = (5000, 10_000, 20_000, 60_000)
    sets = flats(rng, levels, well=40_000, count=2, rays=0, drift=0.001)
    times = [seconds for level in levels for seconds in [level / 1000] * 2]
    transfer = measure_transfer([(times, np.concatenate(sets))], 4.0)
    assert (transfer.n_frames, transfer.full_well) == (6, pytest.approx(40_000, rel=1e-3))
    assert transfer.gain == pytest.approx(1.5, abs=4 * transfer.gain_error)
    assert abs(transfer.departure) < 4 * transfer.departure_error
    assert transfer.departure_error == pytest.approx(0.00376, rel=0.1)


def test_flats_of_which_many_pixels_are_at_the_converters_end_tell_no_gain():
    """Full pixels have one value, the full well itself: no frame of this level counts."""
    rng = np.random.default_rng(5)
    levels = (5000, 10_000, 20_000, 44_000)
    sets = flats(rng, levels, noise=0.0, well=40_000, count=2, rays=0, drift=0.001)
    assert 0.5 < np.mean(sets[-1] == 40_000) < 0.9
    times = [seconds for level in levels for seconds in [level / 1000] * 2]
    transfer = measure_transfer([(times, np.concatenate(sets))], 0.0)
    assert (transfer.n_frames, transfer.full_well) == (6, 40_000)
    assert transfer.gain == pytest.approx(1.5, abs=4 * transfer.gain_error)
    without_full = measure_transfer([(times[:6], np.concatenate(sets[:3]))], 0.0)
    assert (without_full.n_frames, without_full.full_well) == (
        6,
        pytest.approx(math.nan, nan_ok=True),
    )
    figures = transfer.gain, transfer.gain_error
    assert figures == (without_full.gain, without_full.gain_error)


def test_dead_pixels_are_no_faint_light():
    """The scatter is the read noise: its error counted as photons, and lit pixels as full."""
    claims = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        light = np.full((101, 103), 12_000.0)
        light[:, 40:43] = 0
        own = [rng.poisson(2 * light, (n, 101, 103)) / 2 + rng.normal(0, 3.5, (n, 101, 103))
               for n in (4, 3)]  # fmt: skip
        well = FullWell(3.3)
        for each in own:
            well.add(each)
        claims.append(well.level())
    assert np.isnan(claims).all()
