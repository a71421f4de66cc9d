"""A science frame that is a flat: from its small image, and its warning in a run."""

import zlib

import numpy as np
import pytest
from header_fuzz import card, frame, pixels, quote, top, usual
from small_frames import run_jobs

from ccdflow.frame.checks.evenness import even_level
from ccdflow.frame.small_images import small_image


def image(level, *, stars=0, slope=0.0, seed=1, shape=(300, 400), has_slit=False):
    """A frame after reduction, float32 adu: light with its noise, and sharp stars."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = level * (1 - slope * ((x / shape[1] - 0.5) ** 2 + (y / shape[0] - 0.5) ** 2))
    for _ in range(stars):
        at = rng.uniform(10, 290, 2)
        light += level * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8)
    if has_slit:
        light[:100] = 0
    return (rng.poisson(light) + rng.normal(0, 5, shape)).astype(np.float32)


@pytest.mark.parametrize("slope", [0.0, 0.6])
def test_a_flat_is_even_and_its_level_is_found(slope):
    wanted = np.median(image(20_000, slope=slope))
    assert even_level(small_image(image(20_000, slope=slope))) == pytest.approx(wanted, rel=0.002)


def test_stars_slits_and_darkness_are_no_flat():
    for made in (image(20_000, stars=15), image(20_000, has_slit=True), image(300)):
        assert even_level(small_image(made)) is None
    assert even_level(np.full((8, 8), 20_000, np.float32)) is None


def frames(raw, name, kind, count, *, light, stars=()):
    """Write raw frames of a type with some light, and stars at some places."""
    for number in range(count):
        made = pixels(zlib.crc32(name.encode()) % 1000 + number, light=light)
        wide = np.concatenate(
            [np.tile(made[:, :32], (3, 3)), np.tile(made[:, 32:], (3, 1))], axis=1
        )
        for y, x in stars:
            wide[y : y + 2, x : x + 2] += 9000
        cards = usual(kind=kind, has_sections=False)
        cards.append(card("BIASSEC", quote("[97:104,1:72]")))
        cards.append(card("TRIMSEC", quote("[1:96,1:72]")))
        path = raw / f"{name}{number}.fits"
        path.write_bytes(frame(wide, cards, structure=top(nx=wide.shape[1], ny=wide.shape[0])))


def test_a_science_frame_that_is_a_flat_is_warned_of_with_its_remedy(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    frames(raw, "b", "bias", 3, light=0)
    frames(raw, "f", "flat", 3, light=20_000)
    frames(raw, "auto", "object", 1, light=15_000)
    frames(raw, "faint", "object", 1, light=6_000)
    frames(raw, "stars", "object", 1, light=15_000, stars=[(9, 9), (30, 40), (50, 80), (60, 20)])
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    warnings = [line for line in run.lines if "as even and bright as a flat" in line]
    assert len(warnings) == 1
    assert (
        "auto0.fits: taken for science, and as even and bright as a flat (1.5e+04 adu"
        in warnings[0]
    )
    assert "types: [{type: flat, file: auto0.fits}]" in warnings[0]
