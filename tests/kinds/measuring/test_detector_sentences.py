"""Gains, read noises and full wells that header or profile contradict: the limits of a sentence."""

import math
from types import SimpleNamespace

import pytest

from ccdflow.kinds.measuring.detector_sentences import (
    sentences_on_claims,
    sentences_on_full_pixels,
)

NAN = math.nan


def figures_of(name, *, value, error, value_used, header):
    """Return the figures of an amplifier of which gain or read noise alone was measured."""
    figures = {"amplifier": "A"}
    for each in ("gain", "read_noise"):
        figures |= {each: NAN, f"{each}_error": NAN, f"{each}_used": 1.0, f"{each}_header": 1.0}
    return figures | {
        name: value,
        f"{name}_error": error,
        f"{name}_used": value_used,
        f"{name}_header": header,
    }


@pytest.mark.parametrize(
    ("value", "error", "claims"),
    [
        (2.0, 0.01, ["the header has 2.11"]),
        # Within 5 % of the measured value, or within three of its errors.
        (2.02, 0.01, []),
        (2.0, 0.036, ["the header has 2.11"]),
        (2.0, 0.037, []),
        (2.0, NAN, []),
    ],
)
@pytest.mark.parametrize("name", ["gain", "read_noise"])
def test_a_claim_is_named_if_it_is_5_percent_and_three_errors_off(name, value, error, claims):
    figures = figures_of(name, value=value, error=error, value_used=2.11, header=2.11)
    sentences = sentences_on_claims(figures, has_several_amplifiers=False)
    assert [text.partition(" is measured, ")[2] for text in sentences] == claims


@pytest.mark.parametrize(
    ("value_used", "header", "claims"),
    [
        (2.0, 2.2, "the header has 2.2, the profile has the right one"),
        (2.2, 2.0, "the profile has 2.2"),
        (2.2, 2.4, "the profile has 2.2, the header has 2.4"),
        (2.2, NAN, "the profile has 2.2"),
    ],
)
def test_profile_and_header_are_judged_each_by_its_own_value(value_used, header, claims):
    figures = figures_of("gain", value=2.0, error=0.01, value_used=value_used, header=header)
    (sentence,) = sentences_on_claims(figures, has_several_amplifiers=True)
    assert sentence.startswith("amplifier A: gain 2.000 ± 0.010 electrons per adu is measured, ")
    assert sentence.partition(" is measured, ")[2] == claims


@pytest.mark.parametrize(
    ("saturation", "full_well", "words"),
    [
        # Pixels are full at 40,000 adu above a bias level of 1000.
        (None, 40_000.0, "neither profile nor header has a saturation"),
        (41_900.0, 40_000.0, "profile or header say 41900"),
        (41_800.0, 40_000.0, None),
        (30_000.0, 40_000.0, None),
        (None, NAN, None),
    ],
)
def test_a_saturation_is_named_if_it_is_2_percent_above_the_full_pixels(
    saturation, full_well, words
):
    record = SimpleNamespace(data={"levels": {"A": 1000.0}})
    night = SimpleNamespace(
        context=SimpleNamespace(outcome={"reduced/f1.fits": record}.get), files=["f1.fits"]
    )
    amplifier = SimpleNamespace(name="A", saturation=saturation)
    figures = {"amplifier": "A", "full_well": full_well}
    sentences = sentences_on_full_pixels(night, amplifier, figures, has_several_amplifiers=False)
    assert len(sentences) == (words is not None)
    if words:
        assert sentences[0].startswith("pixels are full at 41000 adu (raw) by their flats; ")
        assert words in sentences[0]
