"""Frames with renewed headers: products that still have the older cards are offered for renewal."""

import numpy as np
import pytest
import small_frames
from astropy.io import fits

from ccdflow.frame import headers, reduction
from ccdflow.kinds import CHAIN
from ccdflow.run import session, worker
from ccdflow.run.ending import session_end
from ccdflow.run.run_start import RunRequest

OLDER_COMMENT, NEWER_COMMENT = "an older comment", "part of the image with one overscan level"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Frames and a master of an older version, in which a card had another comment."""
    return _older_archive(tmp_path, monkeypatch, ("frame", "bias"))


def _older_archive(tmp_path, monkeypatch, kinds):
    """Return the `Archive` of some kinds, with a science frame if that is one of them."""
    cameras = {"testcam": small_frames.LFC_LIKE.format(name="TESTCAM")}
    for number, frame in enumerate(small_frames.biases(3)):
        cards = small_frames.bias_cards(number)
        small_frames.write_raw(tmp_path / "raw" / f"b{number}.fits", (frame, cards))
    if "science" in kinds:
        cards = small_frames.bias_cards(10, IMAGETYP="OBJECT", EXPTIME=60.0)
        small_frames.write_raw(tmp_path / "raw/s.fits", (frame + np.uint16(500), cards))
    set_numbered = headers._set_numbered

    def set_older(cards, number, keyword, stem, value, comment):
        comment = OLDER_COMMENT if keyword == "OSCAXIS" else comment
        set_numbered(cards, number, keyword, stem, value, comment)

    with monkeypatch.context() as older_version:
        older_version.setattr(headers, "_set_numbered", set_older)
        older_version.setattr(reduction, "HEADER_VERSION", reduction.HEADER_VERSION - 1)
        first = small_frames.run_jobs(
            tmp_path / "raw", tmp_path / "results", cameras, kinds=kinds, limits={"settle": 0}
        )
    return Archive(first, kinds)


class Archive:
    """An archive, and the runs that make some kinds in it again."""

    def __init__(self, first, kinds):
        self.settings, self.results = first.context.settings, first.results
        self.kinds = kinds

    def run(self, *forced):
        """Make products of these kinds again; return the numbers of older headers by kind."""
        request = RunRequest(forced=frozenset(forced))
        running = session.start(self.settings, chain=CHAIN, request=request)
        try:
            jobs = running.plan.jobs_of_kind(*self.kinds)
            assert {job.kind for job in jobs} == set(forced)
            worker.work(running.context, jobs, threads=1, make=CHAIN.make)
            session_end.finish(running)
        finally:
            running.lock.close()
        return {kind: len(products) for kind, products in running.plan.older_headers.items()}

    def comments(self):
        """Return the comments of the card in reduced frames and in the master."""
        folders = (self.results.glob("reduced/*.fits"), self.results.glob("combined/*/*.fits"))
        return tuple(
            {fits.getheader(path).comments["OSCAXIS"] for path in files} for files in folders
        )


def test_frames_and_masters_that_are_asked_for_together_are_renewed_together(archive):
    assert archive.comments() == ({OLDER_COMMENT}, {OLDER_COMMENT})
    # The pixels of frames with an older header are current, and a master made of them as well.
    assert archive.run() == {"frame": 3}
    assert archive.run("frame", "bias") == {}
    assert archive.comments() == ({NEWER_COMMENT}, {NEWER_COMMENT})
    assert archive.run() == {}


def test_a_master_of_frames_that_were_renewed_later_is_offered_for_renewal(archive):
    assert archive.run("frame") == {}
    assert archive.comments() == ({NEWER_COMMENT}, {OLDER_COMMENT})
    assert archive.run() == {"bias": 1}
    assert archive.run("bias") == {}
    assert archive.comments() == ({NEWER_COMMENT}, {NEWER_COMMENT})
    assert archive.run() == {}


def test_a_master_that_was_renewed_before_its_frames_is_offered_once_more(archive):
    assert archive.run("bias") == {"frame": 3}
    assert archive.comments() == ({OLDER_COMMENT}, {OLDER_COMMENT})
    assert archive.run("frame") == {}
    assert archive.run() == {"bias": 1}
    archive.run("bias")
    assert archive.comments() == ({NEWER_COMMENT}, {NEWER_COMMENT})
    assert archive.run() == {}


def test_a_calibrated_frame_of_a_frame_that_was_renewed_later_is_offered_for_renewal(
    tmp_path, monkeypatch
):
    archive = _older_archive(tmp_path, monkeypatch, ("frame", "bias", "science"))
    product = archive.results / "calibrated/s.fits"
    assert archive.run("frame") == {}
    assert fits.getheader(product).comments["OSCAXIS"] == OLDER_COMMENT
    assert archive.run() == {"bias": 1, "science": 1}
    assert archive.run("science") == {"bias": 1}
    assert fits.getheader(product).comments["OSCAXIS"] == NEWER_COMMENT
    assert archive.run() == {"bias": 1}


def test_a_master_whose_record_lacks_the_header_version_is_not_offered(archive, monkeypatch):
    monkeypatch.setattr("ccdflow.kinds.reducing.frame_sources.SOURCE_HEADER", "another key")
    assert archive.run("frame") == {}
    assert archive.run() == {}
