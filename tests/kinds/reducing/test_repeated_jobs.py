"""Jobs that are repeated: after an unforeseen error, and where a small picture is damaged."""

import os

import pytest
from workflow.sandbox import archive_of_two_cameras

from ccdflow.kinds.reducing import reduce_job
from ccdflow.run.raw_frames.header_store import load_store


@pytest.fixture
def sandbox(tmp_path):
    return archive_of_two_cameras(tmp_path / "box")


def test_an_unforeseen_error_that_a_job_raises_twice_is_a_verdict(sandbox, monkeypatch):
    sandbox.run()
    (sandbox.results / "reduced/n1/alpha1.fits").unlink()

    def raise_fault(context, job, row, raw):
        raise ValueError("a fault of the moment")

    monkeypatch.setattr(reduce_job, "_reduce_raw_file", raise_fault)
    for attempts in (1, 1, 0):
        outcome = sandbox.run()
        assert [job for job in outcome.jobs if job.startswith("reduced/")] == [
            "reduced/n1/alpha1.fits"
        ] * attempts
        row = load_store(sandbox.results).rows["n1/alpha1.fits.gz"]
        assert (row.status, "a fault of the moment" in row.reason) == ("set aside", True)
    monkeypatch.undo()
    assert sandbox.run().jobs == []
    os.utime(sandbox.raw / "n1/alpha1.fits.gz")
    sandbox.run()
    assert (sandbox.results / "reduced/n1/alpha1.fits").is_file()


def test_an_unforeseen_error_that_does_not_come_back_costs_one_run(sandbox, monkeypatch):
    expected = sandbox.run() and {
        path.name: path.read_bytes() for path in (sandbox.results / "reduced").rglob("*.fits")
    }
    (sandbox.results / "reduced/n1/alpha1.fits").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(reduce_job, "_reduce_raw_file", lambda *_: 1 / 0)
        sandbox.run()
    assert "reduced/n1/alpha1.fits" in sandbox.run().jobs
    contents = {
        path.name: path.read_bytes() for path in (sandbox.results / "reduced").rglob("*.fits")
    }
    assert contents == expected
    assert sandbox.run().jobs == []


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_small_picture_that_is_damaged_in_place_is_made_again(sandbox, how):
    """The time of a folder does not change when a file in it is overwritten."""
    sandbox.run()
    path = next((sandbox.results / "nights").rglob("frames/reduced*alpha1*.png"))
    sound = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(sound[:99] if how == "cut" else sound[:70] + b"\0" + sound[71:])
    assert [job for job in sandbox.run().jobs if job.endswith("frames.json")] == [
        "nights/2024-03-01/frames.json"
    ]
    assert path.read_bytes() == sound
    assert sandbox.run().jobs == []
