"""Rebuild exactly what changed, for masters and calibrated frames: the rows of docs/rebuilds.md.

Two nights with all that is made of them but pages and pictures. Each test asserts the exact set of
products that are made again, that all others kept bytes and times, and that nothing is left to do.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from unittest import mock

import pytest
import small_chain
from small_frames import begin, run_jobs

from ccdflow.kinds import CHAIN

KINDS = tuple(
    kind.name
    for kind in CHAIN
    if "picture" not in kind.name and kind.name not in ("sheet", "page", "index")
)
SETUP_NAME = "103x101_1x1"
LATE = ("bias6", "dark60_4", "dark20_4", "flat_r5", "science_g2")


def products_of(night, *names):
    """Return products of a night: 'bias', 'dark 60', 'flat g', 'pixels', frames by name."""
    products = set()
    for name in names:
        kind, _, which = name.partition(" ")
        if kind == "pixels":
            products.add(f"detector/simcam/2024-03-0{night}/pixels_{SETUP_NAME}.fits")
        elif kind in ("bias", "dark", "flat"):
            suffix = {"bias": "", "dark": f"_{which}s", "flat": f"_{which}"}[kind]
            products.add(f"combined/2024-03-0{night}/{kind}_simcam_{SETUP_NAME}{suffix}.fits")
        else:
            products.add(f"{kind}/n{night}/{which}.fits")
    return products


MAP = {f"detector/simcam/bad_pixels_all_{SETUP_NAME}.fits"}


class RebuiltChain:
    """A folder with raw frames and results."""

    def __init__(self, root, profile):
        self.root, self.profile, self.options = root, profile, {}

    def run(self):
        """Make what is to be made; return the products."""
        return set(run_jobs(*self._folders, kinds=KINDS, detector=self.options).records)

    def products_to_make(self):
        """Return the products that the next run would make."""
        session = begin(*self._folders, detector=self.options)
        session.lock.close()
        return {job.product for job in session.plan.jobs.values() if job.kind in KINDS}

    @property
    def _folders(self):
        return self.root / "raw", self.root / "results", {"simcam": self.profile}

    def snapshot(self):
        """Return bytes and time of each product."""
        results = self.root / "results"
        return {
            str(path.relative_to(results)): (path.read_bytes(), path.stat().st_mtime_ns)
            for folder in ("reduced", "combined", "calibrated", "detector")
            for path in (results / folder).rglob("*.fits")
        }

    def makes(self, expected):
        """Assert that a run makes these products and touches no other, and leaves nothing to do."""
        before = self.snapshot()
        assert self.run() == expected
        after = self.snapshot()
        assert before
        assert {name for name in before if before[name] != after.get(name)} <= expected
        assert self.products_to_make() == set()


@pytest.fixture(scope="module")
def original_nights(tmp_path_factory):
    """Two nights, the late frames of the second kept aside."""
    root = tmp_path_factory.mktemp("original")
    for night in (1, 2):
        with mock.patch.object(small_chain, "EVENING", datetime(2024, 3, night, 17)):
            chain = small_chain.make(
                root / f"raw/n{night}", seed=night, lamp_drift=0.002,
                detector=None if night == 1 else chain.detector,  # noqa: F821
                # Fewer biases on the first night: the flats of the second take their own night's.
                biases=4 if night == 1 else 6,
                darks=((60.0, 4), (20.0, 4)), flats=(("g", 4), ("r", 5)),
            )  # fmt: skip
    (root / "late").mkdir()
    for name in LATE:
        (root / f"raw/n2/{name}.fits").rename(root / f"late/{name}.fits")
    archive = RebuiltChain(root, chain.profile)
    archive.run()
    assert archive.products_to_make() == set()
    return archive


@pytest.fixture
def archive(original_nights, tmp_path):
    shutil.copytree(original_nights.root, tmp_path / "box")
    return RebuiltChain(tmp_path / "box", original_nights.profile)


# By the late frame: what is made again of the second night. Its bad pixels come from all of its
# darks and flats and stand in the mask of all of its frames.
CALIBRATED_FRAMES = ("calibrated science_g1", "calibrated science_r1")
REMADE = {
    "bias6": ("bias", "dark 60", "dark 20", "flat g", "flat r", "pixels", *CALIBRATED_FRAMES),
    # The flats take the dark that leaves less of the bias, that of 20 s.
    "dark60_4": ("dark 60", "pixels", *CALIBRATED_FRAMES),
    "dark20_4": ("dark 20", "flat g", "flat r", "pixels", *CALIBRATED_FRAMES),
    "flat_r5": ("flat r", "pixels", *CALIBRATED_FRAMES),
    "science_g2": ("calibrated science_g2",),
}
TABLES_AGAIN = {
    "bias6": {"bias_quality.csv", "dark_quality.csv", "flat_quality.csv"},
    "dark60_4": {"dark_quality.csv"},
    "dark20_4": {"dark_quality.csv", "flat_quality.csv"},
    "flat_r5": {"flat_quality.csv"},
    "science_g2": set(),
}


@pytest.mark.parametrize("late", REMADE)
def test_a_late_frame(archive, late):
    shutil.copy2(archive.root / f"late/{late}.fits", archive.root / "raw/n2")
    expected = (
        products_of(2, f"reduced {late}", *REMADE[late]) | TABLES_AGAIN[late] | {"associations.csv"}
    )
    if "pixels" in REMADE[late]:
        # The map of all nights, their table, and its steps.
        expected |= MAP | {"detector.csv", "events.csv"}
    archive.makes(expected)


def test_without_bad_pixels_a_late_dark_concerns_only_frames_that_took_it(archive):
    archive.options = {"enabled": False}
    archive.run()
    shutil.copy2(archive.root / "late/dark60_4.fits", archive.root / "raw/n2")
    expected = products_of(2, "reduced dark60_4", "dark 60", "calibrated science_g1")
    archive.makes(expected | {"dark_quality.csv", "associations.csv"})


@pytest.mark.parametrize("how", ["deleted", "damaged"])
def test_a_product_of_each_kind(archive, how):
    """Each is made again as it was, and nothing that is made of it."""
    products = (
        products_of(2, "dark 60", "flat g", "pixels", "calibrated science_g1")
        | products_of(1, "bias")
        | MAP
    )
    products |= {"detector.csv", "associations.csv", "dark_quality.csv", "flat_quality.csv"}
    results, before = archive.root / "results", {}
    for name in products:
        before[name] = (results / name).read_bytes()
        if how == "deleted":
            (results / name).unlink()
        else:
            content = bytearray(before[name])
            content[len(content) // 2] ^= 4
            (results / name).write_bytes(content)
    archive.makes(products)
    assert {name: (results / name).read_bytes() for name in products} == before
