"""Masters whose file or members cannot be theirs: the whole line."""

from dataclasses import replace

import numpy as np
from astropy.io import fits
from refusals import refusal_of
from small_frames import LFC_LIKE, bias_cards, biases, run_jobs, write_raw

from ccdflow.errors import FrameError
from ccdflow.kinds.masters.makers import bias_maker
from ccdflow.kinds.measuring import member_rows


def test_a_master_without_an_extension_that_is_needed_is_refused(tmp_path):
    path = tmp_path / "flat.fits"
    fits.writeto(path, np.ones((5, 7), np.float32))
    assert member_rows.whole_image(path, 0).tolist() == [[1.0] * 7] * 5
    for extension in ("UNCERT", 1):
        assert refusal_of(member_rows.whole_image, path, extension) == (
            FrameError,
            f"{path}: the master has no extension {extension}; delete it and make it again, as the "
            "next run of the workflow does",
        )


def test_a_combination_without_any_value_makes_no_master(tmp_path, monkeypatch):
    """A master of NaN alone would mask the frames that take it from edge to edge."""
    real = bias_maker.BiasMaker.combined_images

    def empty_images(maker, work, hdus_of_members):
        for image, hdus, combined in real(maker, work, hdus_of_members):
            yield image, hdus, replace(combined, n_empty=combined.image.size)

    monkeypatch.setattr(bias_maker.BiasMaker, "combined_images", empty_images)
    for number, frame in enumerate(biases(5)):
        write_raw(tmp_path / f"raw/{number}.fits", (frame, bias_cards(number)))
    cameras = {"test": LFC_LIKE.format(name="TESTCAM")}
    run = run_jobs(tmp_path / "raw", tmp_path / "results", cameras)
    (record,) = (each for each in run.records.values() if each.kind == "bias")
    assert (record.status, record.reason) == (
        "failed",
        "no pixel has a value in any member; look at its frames: all their pixels are NaN or "
        "infinite",
    )
    assert not (run.results / record.product).exists()
