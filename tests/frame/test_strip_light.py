"""Columns of data taken for an overscan have the level and noise of the data beside them."""

from dataclasses import replace

import numpy as np
import pytest
from real_frame_files import CAMERAS, DATA, needs_data, read
from small_frames import amplifier, geometry

from ccdflow.camera.cameras import identify
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.frame.checks import strip_light
from ccdflow.frame.reduction import reduce_frame

NY, NX, STRIP = 120, 300, 32
ROW_RECIPE = ReductionRecipe(model=None)


HOLDS_DATA = "holds data as the image does"


def expose_frame(light, *, noise=5.0, strip=STRIP, seed=1, vignetting=0.2, unlit=0):
    """A frame, adu and electrons, of which the last `strip` columns are a true overscan."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, NX)
    mean = light * (1 - vignetting * x**2) * np.ones((NY, 1))
    mean[:, NX - unlit :] = 0
    frame = 1000 + noise * rng.standard_normal((NY, NX + strip))
    frame[:, :NX] += rng.poisson(mean)
    return np.rint(frame).clip(0, 65535).astype(np.uint16)


def warnings_of(frame, *, gain=1.0, read_noise=5.0, is_turned=False):
    """Return the warnings on light in the last 25 columns of a frame, and whether they are dark.

    A frame that is turned has its overscan in the first 25 rows.
    """
    ny, nx = frame.shape
    one = amplifier(f"1:{nx - 32},1:{ny}", f"{nx - 24}:{nx},1:{ny}")
    if is_turned:
        frame = np.ascontiguousarray(frame.T[::-1])
        one = amplifier(f"1:{ny},33:{nx}", f"1:{ny},1:25", along="columns")
    one = replace(one, gain=gain, read_noise=read_noise)
    reduced = reduce_frame({0: (frame, 0)}, geometry(frame.shape, one), ROW_RECIPE)
    (rows,) = reduced.row_noises.values()
    remedies = strip_light.REMEDIES
    texts = [f"{text}; {remedies[kind]}" for kind, text in reduced.warnings if kind in remedies]
    return texts, rows.is_strip_dark


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("light", [300, 3_000, 30_000])
def test_columns_of_data_are_known_by_level_and_noise(light, turned):
    for seed in range(5):
        (text,), is_dark = warnings_of(expose_frame(light, strip=0, seed=seed), is_turned=turned)
        assert not is_dark
        # A faint strip may be a noisy readout: it leaves a doubt, and sets no flat aside.
        assert (HOLDS_DATA in text) == (light == 30_000)
        assert ("correct `gain:` and `read_noise:`" in text) == (light < 30_000)
        assert "allowed: a strip without light" in text
        assert "`overscan: none`" in text
        where = "[1:120,1:25]" if turned else "[276:300,1:120]"
        assert text.startswith(f"the overscan {where} ")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("light", [0, 20, 300, 3_000, 30_000])
@pytest.mark.parametrize("unlit", [0, 80])
def test_a_true_overscan_gets_no_warning(light, unlit, turned):
    """Neither beside bright data, nor where no light comes to the edge, nor in a bias."""
    for seed in range(5):
        frame = expose_frame(light, seed=seed, unlit=unlit)
        texts, is_dark = warnings_of(frame, is_turned=turned)
        assert texts == []
        assert is_dark == (light >= 300 and not unlit), seed


def test_a_read_noise_that_is_not_known_is_taken_to_be_below_30_electrons():
    assert len(warnings_of(expose_frame(3_000, strip=0), read_noise=None)[0]) == 1
    assert len(warnings_of(expose_frame(3_000, strip=0), gain=None)[0]) == 1
    # 300 electrons have a noise of 18: it could be that of a readout.
    assert warnings_of(expose_frame(300, strip=0), read_noise=None)[0] == []
    # A noisy readout that the header gives is no light; the same noise may be, if it gives another.
    noisy = expose_frame(0, noise=25.0)
    assert warnings_of(noisy, read_noise=20.0)[0] == []
    assert len(warnings_of(noisy, read_noise=5.0)[0]) == 1
    # A noise of 40 electrons needs 1600 photons: 1000 adu hold fewer.
    assert warnings_of(expose_frame(0, noise=40.0), read_noise=5.0)[0] == []


# Noise and gain as they are, and the gain and read noise that the header gives.
MISTAKEN_FIGURES = {
    "noisy, no gain": (50.0, {"gain": None, "read_noise": None}),
    "noisy, no read noise": (70.0, {"read_noise": None}),
    "read noise a tenth": (10.0, {"read_noise": 1.0}),
    "gain ten times": (10.0, {"gain": 10.0, "read_noise": 10.0}),
    "gain ten times, no read noise": (15.0, {"gain": 10.0, "read_noise": None}),
    "gain a tenth": (10.0, {"gain": 0.1}),
    "noise of 80 adu, no gain": (80.0, {"gain": None}),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("light", [0, 50, 1_000, 30_000])
@pytest.mark.parametrize("case", MISTAKEN_FIGURES)
def test_no_noise_of_a_readout_sets_a_flat_aside(case, light, turned):
    """Whatever the cards say of it; neither at an unlit edge nor in a frame without light."""
    noise, given = MISTAKEN_FIGURES[case]
    for unlit in (0, 80):
        for seed in range(3):
            # With a bias level of 1000 adu, and with one that could be light.
            frame = expose_frame(light, noise=noise, seed=seed, unlit=unlit) + np.uint16(
                6000 * (seed % 2)
            )
            texts = warnings_of(frame, is_turned=turned, **given)[0]
            assert [text for text in texts if HOLDS_DATA in text] == []


def test_a_strip_that_is_dark_beside_its_data_clears_the_others():
    """One of two amplifiers shows that the strips of the profile are an overscan."""
    ny = 120
    lit, dark = expose_frame(20_000, strip=0), expose_frame(20_000, strip=STRIP)
    frame = np.concatenate([lit, dark], axis=1)
    first = amplifier(f"1:268,1:{ny}", f"276:300,1:{ny}", name="L")
    second = amplifier(f"301:600,1:{ny}", f"608:632,1:{ny}", name="R", place=f"269:568,1:{ny}")
    both = [replace(each, gain=1.0, read_noise=5.0) for each in (first, second)]
    frame_geometry = geometry(frame.shape, *both)
    kinds = [kind for kind, _ in reduce_frame({0: (frame, 0)}, frame_geometry, ROW_RECIPE).warnings]
    assert strip_light.LIT_OVERSCAN in kinds
    assert strip_light.DATA_FOR_OVERSCAN not in kinds


def test_a_strip_of_which_a_part_is_data_has_another_warning():
    """12 of its 25 columns are an overscan: a warning says that its columns disagree."""
    frame = expose_frame(3_000, strip=12)
    ny, nx = frame.shape
    one = amplifier(f"1:{nx - 32},1:{ny}", f"{nx - 24}:{nx},1:{ny}")
    reduced = reduce_frame({0: (frame, 0)}, geometry(frame.shape, one), ROW_RECIPE)
    assert "light" in [kind for kind, _ in reduced.warnings]


# Words of the warning on the frame without its overscan; None for a frame without a warning.
REAL_FRAMES = {
    "kast_blue_2015/b2.fits.gz": HOLDS_DATA,
    "kast_blue_2015/b27.fits.gz": None,
    "kast_blue_2015/b14.fits.gz": None,
    "saao_ste3/a8280271.fits": "may hold data",
    "isis_blue_2016/r2324581.fit.gz": HOLDS_DATA,
    "vbo_uags_2025/02jan2025_dft1.fits": "may hold data",
    "goodman_focus/im_g_SDSS.fits": None,
    # An arc and a faint spectrum, unlit at the edge but for lines.
    "efosc2_2022/EFOSC.2022-01-28T04:54:24.341.fits.gz": None,
}


@needs_data
@pytest.mark.parametrize("name", REAL_FRAMES)
def test_real_frames_with_their_overscan_and_without(name):
    """No overscan of a real frame is taken for data; flats without theirs are known."""
    headers, arrays = read(DATA / name)
    camera = identify(headers, CAMERAS, file=name)
    frame_geometry = camera.geometry(headers, file=name)
    recipe = camera.recipe({}).for_geometry(frame_geometry)
    stored = {hdu: (arrays[hdu], 0) for hdu, _ in frame_geometry.raw_shapes}
    kinds = [kind for kind, _ in reduce_frame(stored, frame_geometry, recipe).warnings]
    assert not {strip_light.LIT_OVERSCAN, strip_light.DATA_FOR_OVERSCAN} & set(kinds)
    first = frame_geometry.amplifiers[0]
    trimmed = np.ascontiguousarray(arrays[first.hdu][first.data.slices])
    known, is_dark = warnings_of(
        trimmed, gain=first.gain or 1.0, read_noise=first.read_noise or 5.0
    )
    assert len(known) == (REAL_FRAMES[name] is not None)
    assert all(REAL_FRAMES[name] in text and not is_dark for text in known)
