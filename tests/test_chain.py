"""What holds the chain of kinds together: old results stay current, and each kind is complete."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from workflow.sandbox import Sandbox, products
from workflow.stand_ins import use_stand_ins

from ccdflow.run.describe import describe

DATA = Path(__file__).parent / "data"
OLD = DATA / "results_of_38e4045.tar.xz"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A results folder that commit 38e4045 made, with its raw frames; pictures are stand-ins.

    Two nights of two cameras: a combined bias each, one group too small, a copy, a cut file, a raw
    file that is gone, a name with braces.
    """
    use_stand_ins(monkeypatch)
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    box = Sandbox.__new__(Sandbox)
    box.root, box.config, box.profiles, box.project = tmp_path / "old", {}, {}, None
    return box


def test_results_of_an_older_version_are_up_to_date(old):
    before = products(old.results)
    plan = old.plan().plan
    assert plan.jobs == {}, "\n".join(describe(plan))
    assert plan.retire == []
    assert plan.asked["frame"] == 13
    outcome = old.run()
    assert outcome.jobs == []
    assert products(old.results) == before
    assert outcome.lines[-1].startswith(
        "14 reduced frames, 2 combined biases, 1 set aside, 1 whose raw file is gone; table: "
    )


def test_products_have_the_bytes_that_the_older_version_gave_them(old):
    """All are made again but what shows the raw file that is gone: each file is what it was."""
    before = products(old.results)
    kept = {"inventory.csv", "reduced/2024-03-02/gone.fits", "nights/2024-03-02/before_after.png"}
    for product in before.keys() - kept:
        (old.results / product).unlink()
    assert set(old.run().jobs) == before.keys() - kept
    assert products(old.results) == before
