"""Bad pixels change neither the standard errors of their neighbours nor the noise of the sky."""

import numpy as np
import pytest
from astropy.io import fits

from ccdflow import mask_bits
from ccdflow.calibrate.applied_masters import AppliedMaster, FrameMasters
from ccdflow.calibrate.arithmetic import calibrate_arrays
from ccdflow.calibrate.blocks import ProductForm, calibrate_file
from ccdflow.calibrate.combined_master import Master, master_image_of
from ccdflow.calibrate.filled_pixels import fill_pixels
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.calibrate.master_noise import predicted_variance
from ccdflow.camera.sections import Region
from ccdflow.frame.readout import Readout
from ccdflow.mask_bits import BAD_COLUMN, DEAD, HOT

SHAPE = (200, 300)
SKY, READ_NOISE = 400.0, 5.0
READOUT = Readout(
    Region(0, 200, 0, 300), "A", gain=1.0, read_noise=READ_NOISE, rounding_variance=0.0
)
COLUMNS = [40, 41, 120, 200]


def frame_with_faults(seed=2):
    """A frame of a sky with hot pixels, and a flat whose dead columns have 2 % of the light."""
    rng = np.random.default_rng(seed)
    flat, bad = np.ones(SHAPE), np.zeros(SHAPE, np.int16)
    flat[:, COLUMNS] = 0.02
    bad[:, COLUMNS] = DEAD
    hot = rng.integers(2, SHAPE[0] - 2, 400), rng.integers(2, SHAPE[1] - 2, 400)
    bad[hot] |= HOT
    electrons = rng.poisson(SKY * flat) + rng.normal(0, READ_NOISE, SHAPE)
    electrons[hot] += rng.uniform(500, 20_000, 400)
    return electrons.astype(np.float32), flat, bad


def masters_of(flat, bad):
    """Return the masters of a frame: a flat alone, with its mask."""
    image = master_image_of(flat, "flat", mask=bad, error=np.full(SHAPE, 1e-5, np.float32),
                            is_error_measured=False)  # fmt: skip
    master = Master("flat", (image,), frames=5, level=2e4)
    return FrameMasters(flat=AppliedMaster(master))


def test_neighbours_have_the_errors_that_they_have_without():
    """A hot pixel was a star to its neighbours, a dead column over its flat a peak or a hole."""
    reduced, flat, bad = frame_with_faults()
    _, error, flags = calibrate_arrays(reduced, (READOUT,), masters_of(flat, bad))
    assert np.array_equal(flags & HOT, bad & HOT)
    near = np.zeros(SHAPE, bool)
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            near |= np.roll(bad, (y, x), (0, 1)) != 0
    near &= bad == 0
    near[[0, -1]] = near[:, [0, -1]] = False
    assert np.count_nonzero(near) > 3000
    ratio = error[near] / (SKY + READ_NOISE**2) ** 0.5
    # One in a hundred is a chance peak of 3 x 3 pixels, as elsewhere.
    assert np.percentile(np.abs(ratio - 1), 98.5) < 0.02
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.003)


@pytest.mark.parametrize("bit", mask_bits.MEANINGS)
def test_pixels_whose_value_is_not_light_are_filled_and_those_with_charge_are_not(bit):
    filled_bits = {
        mask_bits.HOT, mask_bits.DEAD, mask_bits.BAD_COLUMN, mask_bits.UNLIT,
        mask_bits.UNCALIBRATED, mask_bits.VARIES,
    }  # fmt: skip
    image = np.array([[1.0, 900.0, 3.0]] * 3, np.float32)
    flags = np.array([[0, bit, 0]] * 3, np.int16)
    with fill_pixels(image, flags, lambda rows: np.zeros((len(rows), 3))):
        assert image[1, 1] == (2 if bit in filled_bits else 900)
    assert image[1, 1] == 900


def test_a_star_beside_a_bad_column_keeps_its_noise():
    rng, (y, x) = np.random.default_rng(3), np.mgrid[: SHAPE[0], : SHAPE[1]]
    star = 20_000 * np.exp(-((y - 100) ** 2 + (x - 118) ** 2) / 2 / 2.5**2)
    flat, bad = np.ones(SHAPE), np.zeros(SHAPE, np.int16)
    flat[:, 120], bad[:, 120] = 0.02, BAD_COLUMN
    electrons = rng.poisson((SKY + star) * flat) + rng.normal(0, READ_NOISE, SHAPE)
    _, error, _ = calibrate_arrays(electrons.astype("f4"), (READOUT,), masters_of(flat, bad))
    ratio = error / np.sqrt(SKY + star + READ_NOISE**2)
    assert ratio[96:105, [119, 121]] == pytest.approx(1.0, abs=0.12)
    assert np.mean(ratio[96:105, [119, 121]]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("has_mask", [True, False])
def test_the_noise_of_the_sky_is_that_of_good_pixels(has_mask, tmp_path):
    """Within 3 sigma the masked pixels counted: dead columns made SKYRMS 2 % too large."""
    rng = np.random.default_rng(5)
    image, columns = rng.normal(SKY, 20.0, SHAPE), np.arange(3, 297, 12)
    # These columns are twice as noisy, and mostly within the limit of stars.
    image[:, columns] += rng.normal(0, 35.0, (SHAPE[0], len(columns)))
    bad = np.zeros(SHAPE, np.int16)
    bad[:, columns] = BAD_COLUMN
    fits.writeto(tmp_path / "reduced.fits", image.astype("f4"), fits.Header({"BUNIT": "adu"}))
    calibrate_file(
        tmp_path / "reduced.fits", tmp_path / "out.fits",
        FrameCalibration(masters_of(np.ones(SHAPE), bad), [[READOUT]]),
        form=ProductForm(has_mask=has_mask),
    )  # fmt: skip
    with fits.open(tmp_path / "out.fits") as hdus:
        header = hdus[0].header
        assert ("MASK" in [hdu.name for hdu in hdus]) is has_mask
        assert header["SKYLVL"] == pytest.approx(SKY, abs=0.6)
    if has_mask:
        assert header["SKYRMS"] == pytest.approx(20.0, rel=0.022)
    else:
        assert header["SKYRMS"] > 20.8


def test_the_errors_do_not_depend_on_the_mask_s_being_written(tmp_path):
    reduced, flat, bad = frame_with_faults()
    fits.writeto(tmp_path / "reduced.fits", reduced, fits.Header({"BUNIT": "adu"}))
    masters, errors = masters_of(flat, bad), {}
    for has_mask in (True, False):
        path = tmp_path / f"{has_mask}.fits"
        calibrate_file(
            tmp_path / "reduced.fits",
            path,
            FrameCalibration(masters, [[READOUT]]),
            form=ProductForm(has_mask=has_mask),
        )
        errors[has_mask] = fits.getdata(path, "UNCERT")
    assert np.array_equal(errors[True], errors[False])
    _, whole, _ = calibrate_arrays(reduced, (READOUT,), masters)
    assert np.array_equal(errors[True], whole)


def test_a_dark_without_charge_has_the_variance_of_its_read_noise():
    """Values below 0 counted as 0: the variance was 7 % too large with a read noise of 2.5."""
    read_noise, frames = 2.5, 5
    rng = np.random.default_rng(6)
    data = rng.normal(0, read_noise / frames**0.5, SHAPE).astype(np.float32)
    image = master_image_of(data, "dark")
    readout = Readout(
        Region(0, 200, 0, 300), gain=1.0, read_noise=read_noise, rounding_variance=0.0
    )
    dark = Master("dark", (image,), frames=frames, bias_key="b", exptime=300.0)
    variance = predicted_variance(image, dark, (readout,), slice(0, 200))
    assert np.mean(variance) == pytest.approx(read_noise**2 / frames, rel=0.004)
    assert variance.min() > 0
