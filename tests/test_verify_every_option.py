"""Every choice of the configuration, one by one: what it makes is verified, nothing differs."""

import json
from pathlib import Path

import pytest
import small_chain
from small_frames import run_jobs

from ccdflow.kinds.sections.verification import noted
from ccdflow.verify import command

SCHEMA = Path(__file__).parents[1] / "config" / "schemas" / "config.schema.json"
MADE = ("frame", "bias", "dark", "flat", "detector", "shutter", "science", "bad pixels")
BLOCKS = ("reduction", "bias", "dark", "flat", "calibrate", "detector")
NUMBERS = {
    "reduction.order": (1, 4),
    "reduction.reject_iterations": (0, 2),
    "bias.clip": (None, 3),
    "dark.clip": (None, 3),
    "flat.clip": (None, 3),
    "bias.iterations": (3,),
    "dark.iterations": (3,),
    "flat.iterations": (3,),
    "dark.hot_rate": (0.5,),
    "detector.hot_rate": (0.05, 5.0),
    "detector.share": (0.3, 1.0),
    "detector.nights": (1,),
}
"""Numbers that change products, and others than the default."""


def choices():
    """Return every (block, option, value) that the schema lists, but for the defaults."""
    schema, found = json.loads(SCHEMA.read_text()), []
    master = schema["$defs"]["master"]["properties"]
    for block in BLOCKS:
        own = schema["properties"][block]
        options = dict(own["properties"])
        options |= master if "$ref" in own else {}
        for name, option in options.items():
            values = option.get("enum", [])
            values = [True, False] if option.get("type") == "boolean" else values
            items = option.get("items", {}).get("enum", [])
            values = [*values, *([one] for one in items)]
            values += NUMBERS.get(f"{block}.{name}", ())
            found += [(block, name, value) for value in values if value != option.get("default")]
    return found


EVERY = choices()
SOON = [("reduction", "layout", "extensions"), ("calibrate", "compress", "lossless")]


def test_the_choices_are_those_of_the_schema():
    names = {f"{block}.{name}" for block, name, _ in EVERY}
    assert {"reduction.dtype", "dark.method", "detector.ccdmask", "calibrate.compress"} <= names
    assert len(EVERY) > 60


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Darks of two exposures, flats of two levels, frames of two filters."""
    folder = tmp_path_factory.mktemp("options") / "raw"
    flats = (("g", 3, 8.0), ("g", 2, 2.0), ("r", 3, 8.0))
    return small_chain.make(folder, flats=flats, flat_exptime=8.0, cosmic_rays=2e-6)


@pytest.mark.parametrize(
    ("block", "name", "value"),
    [pytest.param(*each, marks=[] if each in SOON else pytest.mark.torture) for each in EVERY],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_what_an_option_makes_is_verified(raw, tmp_path, block, name, value):
    how = {"detector": {"enabled": True}}
    # Cosmic rays are found with the other options of their kind as well.
    how[block] = how.get(block, {}) | {name: value}
    if name.startswith("cosmic"):
        how[block] |= {"cosmic_rays": True}
    results = tmp_path / "results"
    run_jobs(raw.raw, results, {"simcam": raw.profile}, kinds=MADE, **how)
    products = noted(results)
    text, _ = command.report(raw.raw, results, noted=products, every=True, whole=True)
    lines = text.splitlines()
    assert [line for line in lines if "differs" in line or "again" in line] == []
    assert lines[-1].startswith(f"ccdflow: {len(products)} of {len(products)} products verified")
