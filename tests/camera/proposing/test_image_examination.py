"""The amplifiers of an image by its light, and by a header that has more than light shows."""

import numpy as np
import pytest
from astropy.io import fits

from ccdflow.camera.geometry import Amplifier
from ccdflow.camera.proposing.image_examination import examine_image
from ccdflow.camera.sections import Region

NOTE = (
    "The header's 2 amplifiers are used: their strips are dark, but light does not show where one"
    " of them ends."
)


def flat_of(light, level, *, seed):
    """Return a flat, (140, 100) adu: level, photons at a gain of 1.5 and a read noise of 4 adu."""
    rng = np.random.default_rng(seed)
    light = np.broadcast_to(light, (140, 100))
    frame = level + rng.poisson(light * 1.5) / 1.5 + rng.normal(0, 4.0, light.shape)
    return np.round(frame).astype(np.uint16)


def amplifier(name, data, *overscan):
    regions = [Region(*ends) for ends in overscan]
    return Amplifier(name, 0, Region(*data), tuple(regions), "rows", Region(*data))


def examine_flat(flat, *amplifiers, **cards):
    header = fits.Header({"NAXIS": 2, "NAXIS1": 100, "NAXIS2": 140} | cards)
    return examine_image([header], 0, flat, frame_type="flat", header_amplifiers=amplifiers)


@pytest.fixture(scope="module")
def one_above_the_other():
    """Amplifiers of rows 1 to 70 and 71 to 140; columns 81 to 100 are overscan of both."""
    light = np.where(np.arange(100) < 80, 800.0, 0.0)
    return flat_of(light, np.where(np.arange(140) < 70, 1000.0, 1200.0)[:, None], seed=62)


LOWER = ("lower", (0, 70, 0, 80), (0, 70, 82, 100))


def test_amplifiers_of_the_header_are_taken_with_their_names_and_strips(one_above_the_other):
    upper = ("upper", (70, 140, 0, 80), (70, 140, 82, 100))
    seen = examine_flat(one_above_the_other, amplifier(*LOWER), amplifier(*upper))
    assert seen.amplifiers == (
        ("lower", Region(0, 70, 0, 80), (Region(0, 70, 82, 100),)),
        ("upper", Region(70, 140, 0, 80), (Region(70, 140, 82, 100),)),
    )
    assert seen.findings.count(NOTE) == 1
    assert seen.has_light


@pytest.mark.parametrize(
    "upper",
    [
        ("upper", (70, 140, 0, 60), (70, 140, 60, 80)),
        ("upper", (70, 140, 0, 80)),
        ("upper", (70, 140, 0, 80), (70, 140, 82, 100), (70, 140, 0, 10)),
    ],
    ids=["light on its strip", "no strip", "light on the second of its strips"],
)
def test_light_decides_where_a_strip_of_the_header_is_lit_or_absent(one_above_the_other, upper):
    seen = examine_flat(one_above_the_other, amplifier(*LOWER), amplifier(*upper))
    assert [(data, strips) for _, data, strips in seen.amplifiers] == [
        (Region(0, 140, 0, 80), (Region(0, 140, 80, 100),))
    ]
    assert NOTE not in seen.findings


def test_light_decides_where_it_shows_as_many_amplifiers_as_the_header():
    """Strips on either side of two amplifiers: those of the header have two columns fewer."""
    light = np.where((np.arange(100) < 15) | (np.arange(100) >= 85), 0.0, 800.0)
    flat = flat_of(light, np.where(np.arange(100) < 50, 1000.0, 1150.0), seed=64)
    left = amplifier("left", (0, 140, 15, 50), (0, 140, 2, 15))
    right = amplifier("right", (0, 140, 50, 85), (0, 140, 85, 98))
    bias = flat_of(0.0, np.where(np.arange(100) < 50, 1000.0, 1150.0), seed=65)
    header = fits.Header({"NAXIS": 2, "NAXIS1": 100, "NAXIS2": 140})
    seen = examine_image(
        [header], 0, flat, bias=bias, frame_type="flat", header_amplifiers=(left, right)
    )
    assert [(data, strips) for _, data, strips in seen.amplifiers] == [
        (Region(0, 140, 15, 50), (Region(0, 140, 0, 15),)),
        (Region(0, 140, 50, 85), (Region(0, 140, 85, 100),)),
    ]
    assert NOTE not in seen.findings


def test_the_strip_of_a_single_amplifier_is_found_by_light_not_by_the_header():
    light = np.where(np.arange(100) < 80, 800.0, 0.0)
    flat = flat_of(light, 1000.0, seed=66)
    seen = examine_flat(flat, amplifier("A", (0, 140, 0, 80), (0, 140, 90, 100)))
    ((_, data, strips),) = seen.amplifiers
    assert (data, strips) == (Region(0, 140, 0, 80), (Region(0, 140, 80, 100),))
    assert seen.findings
    assert [text for text in seen.findings if "amplifiers are used" in text] == []


@pytest.mark.parametrize(
    ("section", "last"), [("[1:79,1:140]", 79), ("[1:40,1:140]", 80), ("[1:90,1:140]", 80)]
)
def test_a_science_section_of_the_header_is_taken_just_inside_the_light(section, last):
    """One that cuts off half of the light, or reaches into the dark, is not."""
    flat = flat_of(np.where(np.arange(100) < 80, 800.0, 0.0), 1000.0, seed=67)
    ((_, data, strips),) = examine_flat(flat, DATASEC=section).amplifiers
    assert (data, strips) == (Region(0, 140, 0, last), (Region(0, 140, 80, 100),))
