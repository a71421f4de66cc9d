"""The variance of masters: predicted by formulas, corrected by scatter; the signal of a dark."""

import numpy as np
import pytest

from ccdflow.calibrate import master_noise
from ccdflow.calibrate.combined_master import Master, MasterImage
from ccdflow.calibrate.sparse_masks import SparseMask
from ccdflow.camera.sections import Region
from ccdflow.frame.readout import Readout

SHAPE = (48, 60)
# Two amplifiers side by side; the last five columns belong to none.
LEFT_AMP = Readout(
    Region(0, 48, 0, 30), gain=2.0, read_noise=3.0, rounding_variance=0.25, level_variance=0.75
)
RIGHT_AMP = Readout(
    Region(0, 48, 30, 55), name="B", gain=1.25, read_noise=5.0, rounding_variance=0.0
)
READOUTS = (LEFT_AMP, RIGHT_AMP)
FRAME_VARIANCE = {LEFT_AMP: 9 + 0.25 + 0.75, RIGHT_AMP: 25.0}


def master_of(kind, data, *, frames=10, error=None, **options):
    """Return the image of a master, and the master."""
    image = MasterImage(np.float32(data), SparseMask.from_mask(np.zeros(SHAPE, np.int16)), error)
    return image, Master(kind, (image,), frames=frames, **options)


def predict_variance(kind, data, **options):
    """Return the predicted variance of a master's pixels."""
    image, master = master_of(kind, data, **options)
    return master_noise.predicted_variance(image, master, READOUTS, slice(0, SHAPE[0]))


def test_a_bias_has_the_variance_of_reading_over_its_frames():
    variance = predict_variance("bias", np.full(SHAPE, 7.0))
    assert variance[:, :30] == pytest.approx(FRAME_VARIANCE[LEFT_AMP] / 10)
    assert variance[:, 30:55] == pytest.approx(FRAME_VARIANCE[RIGHT_AMP] / 10)
    assert np.all(variance[:, 55:] == 1)


def test_a_dark_has_that_of_its_photons_as_well_and_none_below_0():
    data = np.full(SHAPE, 40.0)
    data[:, 40:] = -40.0
    variance = predict_variance("dark", data)
    assert variance[:, :30] == pytest.approx((FRAME_VARIANCE[LEFT_AMP] + 40 / 2.0) / 10)
    assert variance[:, 30:40] == pytest.approx((FRAME_VARIANCE[RIGHT_AMP] + 40 / 1.25) / 10)
    assert variance[:, 40:55] == pytest.approx(FRAME_VARIANCE[RIGHT_AMP] / 10)


def test_noise_below_0_takes_at_most_half_of_the_variance_of_reading_from_a_dark():
    """Of one frame: 4 sigma below 0 is a hole, 12.6 adu at the left and 20 adu at the right."""
    data = np.full(SHAPE, -5.0)
    data[10], data[20] = -12.0, -13.0
    data[10, 30:], data[20, 30:] = -18.0, -21.0
    variance = predict_variance("dark", data, frames=1)
    for readout in READOUTS:
        own, reading = variance[readout.region.slices], FRAME_VARIANCE[readout]
        assert own[0] == pytest.approx(reading - 5 / readout.gain)
        assert own[10] == pytest.approx(reading / 2)
        assert own[20] == pytest.approx(reading)


def test_a_flat_has_the_relative_variance_at_its_own_light():
    data = np.full(SHAPE, 0.8)
    variance = predict_variance("flat", data, level=10_000.0)
    for readout in READOUTS:
        light = 8_000.0
        expected = (light / readout.gain + FRAME_VARIANCE[readout]) / light**2 / 10
        assert variance[readout.region.slices] == pytest.approx(expected, rel=1e-5)


def test_scatter_sets_the_level_of_the_variance_and_no_single_pixel_but_a_wild_one():
    """Twenty values a pixel, of twice the noise that the header's read noise predicts."""
    rng = np.random.default_rng(8)
    values = rng.normal(0, 2 * np.sqrt(FRAME_VARIANCE[LEFT_AMP]), (20, *SHAPE))
    error = np.float32(values.std(axis=0, ddof=1) / np.sqrt(20))
    error[5, 6] = 30.0
    image, master = master_of("bias", np.zeros(SHAPE), frames=20, error=error.copy)
    variance = master_noise.variance_of(image, master, (LEFT_AMP,))[:, :30]
    usual = np.delete(variance.ravel(), 5 * 30 + 6)
    # The scale is the median of 48 x 30 variances of 19 degrees of freedom each.
    assert usual == pytest.approx(4 * FRAME_VARIANCE[LEFT_AMP] / 20, rel=0.04)
    assert np.unique(usual).size == 1
    assert variance[5, 6] == pytest.approx(900.0)


def test_scatter_below_the_prediction_lowers_the_variance_of_all_pixels():
    """Twenty values a pixel, of a third of the noise that the header's read noise predicts."""
    rng = np.random.default_rng(9)
    values = rng.normal(0, np.sqrt(FRAME_VARIANCE[LEFT_AMP]) / 3, (20, *SHAPE))
    error = np.float32(values.std(axis=0, ddof=1) / np.sqrt(20))
    image, master = master_of("bias", np.zeros(SHAPE), frames=20, error=error.copy)
    variance = master_noise.variance_of(image, master, (LEFT_AMP,))[:, :30]
    assert np.median(variance) == pytest.approx(FRAME_VARIANCE[LEFT_AMP] / 9 / 20, rel=0.04)


def test_without_errors_the_variance_is_the_predicted_one():
    image, master = master_of("bias", np.zeros(SHAPE))
    expected = master_noise.predicted_variance(image, master, READOUTS, slice(0, SHAPE[0]))
    assert np.array_equal(master_noise.variance_of(image, master, READOUTS), expected)


def test_the_signal_of_a_dark_is_smooth_but_for_its_hot_pixels():
    rng = np.random.default_rng(9)
    noise = np.sqrt((FRAME_VARIANCE[LEFT_AMP] + 20 / 2.0) / 10)
    data = 20 + rng.normal(0, noise, SHAPE)
    data[10, 12] = 500.0
    image, master = master_of("dark", data, bias_key="abc")
    signal = master_noise.signal_of(image, master, (LEFT_AMP,))[:, :30]
    assert signal[10, 12] == 500.0
    # Fewer than one in ten thousand normal values is 4 sigma off its surroundings.
    smooth = np.delete(signal.ravel(), 10 * 30 + 12)
    assert smooth == pytest.approx(20, abs=noise)
    assert smooth.std() < noise / 4


def test_the_signal_of_a_dark_that_holds_its_bias_is_its_excess_over_the_median():
    image, master = master_of("dark", np.full(SHAPE, 300.0), bias_key="")
    assert np.all(master_noise.signal_of(image, master, READOUTS) == 0)
