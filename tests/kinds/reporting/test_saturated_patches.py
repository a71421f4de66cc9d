"""A saturated patch of a small picture: near the saturation of its amplifiers, and not above."""

import math
from types import SimpleNamespace

import pytest

from ccdflow.kinds.reporting.sheet_tiles import NightTiles
from ccdflow.pages.contents import ShownFrame


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
    geometry = SimpleNamespace(amplifiers=[SimpleNamespace(saturation=60_000.0)])
    tiles = object.__new__(NightTiles)
    tiles.context = SimpleNamespace(
        outcome=lambda product: SimpleNamespace(data={"levels": {"A": level}}),
        store=SimpleNamespace(geometry=lambda number: geometry),
    )
    tiles.entries = {"a.fits": {"pictures": [picture]}}
    tiles._calibrated_records, tiles.rows = {}, {"a.fits": SimpleNamespace(geometry=0)}
    assert tiles.saturation_in_words(ShownFrame("a.fits", "cam", "flat")) == words
