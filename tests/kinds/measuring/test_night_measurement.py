"""A night of a detector with two images: each has its own sources, and a name in the sentences."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from ccdflow.detector.pixels.history import SOURCES
from ccdflow.kinds.measuring.nights import night_measurement

SHAPE = (7, 9)


def test_each_image_counts_by_its_own_sources_and_each_amplifier_is_named(monkeypatch):
    images = [
        SimpleNamespace(shape=SHAPE, amplifiers=[SimpleNamespace(name=name, gain=2.0)])
        for name in ("a", "b")
    ]
    night = SimpleNamespace(
        images=images,
        place=lambda amplifier: SimpleNamespace(slices=np.s_[:, :]),
        darks_of_one_temperature=list,
    )
    sources_by_image = dict(zip("ab", ({"flat"}, {"deep"}), strict=True))
    named = []

    def flag_by_flats(night, image, bad_pixels, *, low_sigma):
        return set(sources_by_image[image.amplifiers[0].name]), []

    def sentences_on_amplifier(night, amplifier, values, *, has_several_amplifiers):
        named.append((amplifier.name, has_several_amplifiers))
        return []

    for name, function in {
        "flag_by_flats": flag_by_flats,
        "transfer_of": lambda night, image, amplifier: None,
        "flag_by_darks": lambda *arguments, **options: None,
        "flag_by_levels": lambda *arguments, **options: False,
        "_figures_of_amplifier": lambda night, amplifier, transfer: {"amplifier": amplifier.name},
        "_sentences_on_amplifier": sentences_on_amplifier,
    }.items():
        monkeypatch.setattr(night_measurement, name, function)
    findings = night_measurement.measure_night(night, 0.5, includes_ccdmask=False, low_sigma=4.5)
    assert named == [("a", True), ("b", True)]
    one, two = findings.figures
    assert (one["low"], one["columns"]) == (0, 0)
    assert math.isnan(two["low"])
    assert math.isnan(two["columns"])
    assert findings.sources_used == ["deep", "flat"]
    assert [set(each.masks) for each in findings.images] == [set(SOURCES)] * 2
