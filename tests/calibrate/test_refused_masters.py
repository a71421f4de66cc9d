"""Masters that do not fit a frame, and frames that are not their record's: the whole line."""

import numpy as np
import pytest
from astropy.io import fits
from refusals import refusal_of

from ccdflow.calibrate.applied_masters import AppliedMaster, FrameMasters, check_masters
from ccdflow.calibrate.blocks import calibrate_file
from ccdflow.calibrate.combined_master import Master, master_image_of, read_master
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.camera.sections import Region
from ccdflow.errors import DamagedProduct, FrameError
from ccdflow.frame.readout import Readout

SHAPE = (6, 8)
READOUTS = (Readout(Region(0, 6, 0, 8), gain=2.0, read_noise=3.0),)


def master(kind, **more):
    """Return a master whose pixels are all 1."""
    image = master_image_of(np.ones(SHAPE, np.float32), kind)
    return Master(kind, (image,), name=f"{kind}.fits", key=f"{kind}-key", frames=9, **more)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_dark_without_a_factor_to_the_exposure_is_refused(scale):
    uses = FrameMasters(AppliedMaster(master("bias")), AppliedMaster(master("dark"), scale))
    assert refusal_of(check_masters, uses, READOUTS, name="s1.fits") == (
        FrameError,
        f"s1.fits: EXPTIME: the dark cannot be scaled to the frame's exposure (found {scale}); "
        "allowed: a ratio of both exposures above 0; give the exposure times of both",
    )


@pytest.mark.parametrize(
    ("cards", "line"),
    [
        (
            {"camera": "kast"},
            "CCDFCAM: the bias is another camera's (found 'kast in bias.fits'); allowed: lfc; "
            "name a bias of this camera",
        ),
        (
            {"unit": "electron"},
            "BUNIT: the bias is in another unit (found 'electron in bias.fits'); allowed: adu; "
            "name a bias in this unit, or reduce its members again",
        ),
        (
            {"gains": (2.1,)},
            "GAIN: the bias was taken at another gain (found '(2.1,) in bias.fits'); "
            "allowed: (2.0,) electrons per adu; name a bias of this gain",
        ),
    ],
)
def test_a_master_of_another_origin_is_refused(cards, line):
    uses = FrameMasters(AppliedMaster(master("bias", **cards)))
    refusal = refusal_of(check_masters, uses, READOUTS, camera="lfc", name="s1.fits")
    assert refusal == (FrameError, f"s1.fits: {line}")


def test_a_master_of_the_gain_within_a_part_in_a_thousand_is_taken():
    """The gain of the master is 2.0 within its rounding: 2.0005 passes, 2.1 above does not."""
    check_masters(FrameMasters(AppliedMaster(master("bias", gains=(2.0005,)))), READOUTS)


def test_a_master_without_an_image_is_damaged(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "bias.fits")
    assert refusal_of(read_master, tmp_path / "bias.fits", "bias", name="bias.fits") == (
        DamagedProduct,
        "bias.fits: the combined bias holds no image; delete it and make it again, as the next "
        "run of the workflow does",
    )


def test_a_reduced_frame_with_fewer_images_than_its_camera_is_damaged(tmp_path):
    fits.writeto(tmp_path / "s1.fits", np.ones(SHAPE, np.float32), checksum=True)
    uses = FrameMasters(AppliedMaster(master("bias")))
    calibration = FrameCalibration(uses, [READOUTS, READOUTS])
    refusal = refusal_of(
        calibrate_file, tmp_path / "s1.fits", tmp_path / "out.fits", calibration, name="s1.fits"
    )
    assert refusal == (
        DamagedProduct,
        "s1.fits: images: the reduced frame has another number of images than its camera "
        "(found 1); allowed: 2; "
        "delete it and make it again, as the next run of the workflow does",
    )
    assert not (tmp_path / "out.fits").exists()
