"""A saturated patch of a small picture: near the saturation of its amplifiers, and not above."""

import math

import pytest

from ccdflow.kinds.reporting import sheet_tiles


@pytest.mark.parametrize(
    ("raw_value", "words"),
    [
        # Saturation at 60,000 adu: from 1 % below it to 1 % above it.
        (59_390, ""),
        (59_410, "a patch of it reaches 59410 adu"),
        (60_590, "a patch of it reaches 60590 adu"),
        (60_610, ""),
    ],
)
def test_a_patch_is_saturated_within_a_percent_of_the_saturation(raw_value, words):
    level = 400.0
    picture = {"centre": 0.0, "scale": 1.0, "high": math.asinh(raw_value - level)}
    assert sheet_tiles.saturated_patch(picture, {"A": level}, [60_000.0]) == words
    # Two amplifiers without a saturation have that of most converters.
    at_top = {"centre": 0.0, "scale": 1.0, "high": math.asinh(raw_value - level + 5535)}
    words_at_top = sheet_tiles.saturated_patch(at_top, {"A": level}, [None, None])
    assert bool(words_at_top) == (raw_value + 5535 > 0.99 * 65535)
