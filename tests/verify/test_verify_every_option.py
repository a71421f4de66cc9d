"""Every choice of the configuration, one of each block at a time: all that is made is verified."""

import json
from itertools import zip_longest
from pathlib import Path

import pytest
import small_chain
from small_frames import run_jobs

from ccdflow.run.ledger import noted_fits_products
from ccdflow.verify import command
from ccdflow.verify.table import CCDPROC_VERSION

SCHEMA = Path(__file__).parents[2] / "config" / "schemas" / "config.schema.json"
MADE_KINDS = ("frame", "bias", "dark", "flat", "detector", "shutter", "science", "bad pixels")
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
    schema, allowed_values = json.loads(SCHEMA.read_text()), []
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
            allowed_values += [
                (block, name, value) for value in values if value != option.get("default")
            ]
    return allowed_values


ALL_CHOICES = choices()
AMPLIFIERS = "".join(
    f"  - {{name: {name}, data: {{python: '[{rows}, {data}]'}},"
    f" overscan: {{python: '[{rows}, {strip}]'}}, gain: {gain}, read_noise: 5.0}}\n"
    for name, rows, data, strip, gain in (
        ("A", "0:50", "0:52", "103:119", 1.2), ("B", "0:50", "52:103", "119:135", 1.55),
        ("C", "50:101", "0:52", "103:119", 1.2), ("D", "50:101", "52:103", "119:135", 1.55),
    )
)  # fmt: skip
QUADRANTS = 'recognise: {INSTRUME: "SIMCAM"}\nsite: {longitude: 0.0}\namplifiers:\n' + AMPLIFIERS
"""Four amplifiers beside and above each other."""


def test_the_choices_are_those_of_the_schema():
    names = {f"{block}.{name}" for block, name, _ in ALL_CHOICES}
    assert {"reduction.dtype", "dark.method", "detector.ccdmask", "calibrate.compress"} <= names
    assert len(ALL_CHOICES) > 60


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Darks of two exposures, flats of two levels, frames of two filters."""
    folder = tmp_path_factory.mktemp("options") / "raw"
    flats = (("g", 3, 8.0), ("g", 2, 2.0), ("r", 3, 8.0))
    return small_chain.make(folder, flats=flats, flat_exptime=8.0, cosmic_rays=2e-6)


def rounds():
    """Return the choices in rounds, each with the next choice of each block."""
    choices_by_block = [[each for each in ALL_CHOICES if each[0] == block] for block in BLOCKS]
    return [
        [one for one in choices_of_round if one]
        for choices_of_round in zip_longest(*choices_by_block)
    ]


ROUNDS = rounds()


def settings_of(chosen):
    """Return the configuration with some choices."""
    settings = {"detector": {"enabled": True}}
    for block, name, value in chosen:
        settings[block] = settings.get(block, {}) | {name: value}
        if name.startswith("cosmic"):
            settings[block]["cosmic_rays"] = True
    return settings


def report_of_choices(raw, results, chosen):
    """Return the lines of a verification of all that some choices make, and how many products."""
    run_jobs(raw.raw, results, {"simcam": QUADRANTS}, kinds=MADE_KINDS, **settings_of(chosen))
    products = noted_fits_products(results)
    request = command.VerifyRequest(verifies_all_products=True, compares_all_rows=True)
    text, _ = command.verify_and_report(raw.raw, results, request, notes_by_product=products)
    return text.splitlines(), len(products)


@pytest.mark.parametrize(
    "chosen", [ROUNDS[2], *(pytest.param(e, marks=pytest.mark.torture) for e in ROUNDS)],
    ids=lambda chosen: " ".join(f"{name}={value}" for _, name, value in chosen),
)  # fmt: skip
def test_products_of_every_option_are_verified(raw, tmp_path, chosen):
    lines, count = report_of_choices(raw, tmp_path / "results", chosen)
    assert lines == [
        f"ccdflow: {count} of {count} products verified with ccdproc {CCDPROC_VERSION}"
    ]
