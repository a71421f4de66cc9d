"""Two things never become one product, whatever a file system makes of their names."""

import pytest
import small_chain
from small_frames import begin

from ccdflow import kinds
from ccdflow.kinds.masters.master_names import master_names
from ccdflow.kinds.measuring.detector_setups import setups_in_words
from ccdflow.run.job import Group


def groups_and_products_of(chain, tmp_path, raw):
    """Return {kind: its groups} of a plan, and the names of its planned products."""
    (tmp_path / "out").mkdir()
    running = begin(raw, tmp_path / "out" / "results", {"simcam": chain.profile},
                    detector={"enabled": True})  # fmt: skip
    running.lock.close()
    groups = {}
    for group in running.context.groups.values():
        groups.setdefault(group.kind, []).append(group)
    return groups, running.context.planned_products


def test_filters_that_differ_in_capitals_have_flats_of_their_own(tmp_path):
    """Bessell's R and Sloan's r, also where a file system tells no capitals (macOS, exFAT)."""
    for number, band in enumerate(("r", "R", "g")):
        chain = small_chain.make(
            tmp_path / "raw" / str(number), biases=1, darks=(), science=(), flats=(("r", 2),),
            cards={"FILTER": band}, seed=number + 1,
        )  # fmt: skip
    groups, _ = groups_and_products_of(chain, tmp_path, tmp_path / "raw")
    names = {dict(group.shared)["filter"]: group.product.lower() for group in groups["flat"]}
    assert len(names) == len(set(names.values())) == 3
    # Only names that are ambiguous have digits behind them.
    assert names["g"].endswith("_g.fits")


@pytest.mark.parametrize("modes", [("1 MHz", "1_MHz"), ("Fast/1", "FAST 1")])
def test_readout_modes_that_look_alike_have_products_of_their_own(tmp_path, modes):
    """Each kind that names the readout has them: masters, bad pixels of a night, shutters."""
    for number, mode in enumerate(modes):
        chain = small_chain.make(
            tmp_path / "raw" / str(number), biases=3, darks=((60.0, 3),), science=(),
            flats=(("g", 3, 4.0), ("g", 3, 2.0)), cards={"READMODE": mode}, seed=number + 1,
        )  # fmt: skip
    groups, products = groups_and_products_of(chain, tmp_path, tmp_path / "raw")
    for kind in ("bias", "dark", "flat", "detector", "shutter"):
        # Flats of two exposures are two groups of each mode, or one.
        assert len(groups[kind]) % 2 == 0, kind
        assert {dict(group.shared)["readmode"] for group in groups[kind]} == set(modes), kind
    assert len({product.lower() for product in products}) == len(products)
    names = master_names(groups["flat"], night=small_chain.NIGHT)
    assert len(set(names.values())) == len(names)
    assert {mode for mode in modes for name in names.values() if mode in name} == set(modes)
    (file,) = {name.file for product, name in names.items() if product == groups["flat"][0].product}
    assert file == groups["flat"][0].product
    assert {kind.name for kind in kinds.CHAIN} >= groups.keys()


@pytest.mark.parametrize(
    ("name", "values", "meaning"),
    [
        ("gain", ("1.0", "2.0"), ("g1.0", "g2.0")),
        ("ccdsum", ("1 1", "2 2"), ("1x1", "2x2")),
        ("readmode", ("80", "250"), ("readout mode 80", "readout mode 250")),
        ("readmode", ("", "fast"), ("", "fast")),
        ("temperature", ("-100", "-90"), ("-100 °C", "-90 °C")),
        ("size", ("64x8", "32x8"), ("64x8", "32x8")),
        ("exptime", ("60.0", "60.4"), ("60 s", "60.4 s")),
        # Written alike: the names of the files.
        ("exptime", ("60.0", "60.00000001"), None),
    ],
)
def test_a_number_in_the_name_of_a_master_tells_its_meaning(name, values, meaning):
    groups = [
        Group(f"combined/n/file{n}.fits", "n", "cam", ((name, value),), (), ("n",), kind="dark")
        for n, value in enumerate(values)
    ]
    expected = (
        ["file0", "file1"] if meaning is None else [f"dark {words}".strip() for words in meaning]
    )
    assert list(master_names(groups, night="n").values()) == expected
    if name != "exptime":
        setups = [(("camera", "cam"), (name, value)) for value in values]
        expected = [f"cam {words}".strip() for words in meaning]
        assert list(setups_in_words(setups).values()) == expected
