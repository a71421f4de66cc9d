"""Standard errors are as smooth as the light that they come from: no boxes, no steps at tiles."""

import numpy as np
import pytest
from astropy.io import fits

from ccdflow.calibrate.applied_masters import AppliedMaster, FrameMasters
from ccdflow.calibrate.arithmetic import calibrate_arrays
from ccdflow.calibrate.combined_master import Master, master_image_of
from ccdflow.camera.sections import Region
from ccdflow.combine.darks import combine_darks
from ccdflow.combine.member_noise import MemberSample, expected_light
from ccdflow.combine.member_reader import member_of_file
from ccdflow.combine.noise import AmplifierNoise, NoiseModel
from ccdflow.frame.readout import Readout

SHAPE = (260, 300)
GAIN, READ_NOISE = 1.5, 5.0
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
GLOWS = {
    "corner": 20 + 1500 * np.exp(-np.hypot(Y, X) / 60),
    "edge": 20 + 300 * np.exp(-(SHAPE[1] - 1 - X) / 50),
    "weak": 10 + 60 * np.exp(-Y / 40),
}


def steps(ratio):
    """Return the largest step of the median along columns and along rows, relative."""
    return max(np.abs(np.diff(np.log(np.median(ratio, axis=axis)))).max() for axis in (0, 1))


def frame_variance(light):
    """Return the variance of a reduced frame, adu^2, of expected electrons."""
    return (light + READ_NOISE**2) / GAIN**2 + 1 / 12


@pytest.mark.parametrize("name", GLOWS)
def test_errors_of_a_dark_follow_its_glow(name, tmp_path):
    """In boxes of 32 columns, a value each, they were off by 10 %, with steps of as much."""
    random, light, members = np.random.default_rng(3), GLOWS[name], []
    for number in range(5):
        adu = random.poisson(light) / GAIN + random.normal(0, READ_NOISE / GAIN, SHAPE)
        fits.writeto(tmp_path / f"{number}.fits", np.rint(adu).astype(np.float32))
        members.append(member_of_file(tmp_path / f"{number}.fits"))
    amplifier = AmplifierNoise("A", (0, SHAPE[0], 0, SHAPE[1]), READ_NOISE / GAIN, GAIN)
    made = combine_darks(members, bias=None, amplifiers=[amplifier])
    ratio = made.uncertainty / np.sqrt(frame_variance(light) / 5)
    assert np.percentile(np.abs(ratio - 1), 99) < 0.04
    assert steps(ratio) < 0.01


@pytest.mark.parametrize("name", GLOWS)
def test_errors_of_a_frame_follow_glow_and_sky(name):
    """Beyond the middles of the outermost tiles a level was kept: there was a step of 3 %."""
    random, charge = np.random.default_rng(4), GLOWS[name]
    sky, flat = 300 * (1 + X / SHAPE[1]), 1 - 0.2 * (X / SHAPE[1] - 0.5) ** 2
    errors = {
        "dark": np.sqrt(frame_variance(charge) / 6),
        "flat": np.sqrt(flat / 2e4 / GAIN / 9),
    }
    truth = {"dark": charge / GAIN, "flat": flat}
    uses = {}
    for kind, values in truth.items():
        data = values + errors[kind] * random.normal(0, 1, SHAPE)
        image = master_image_of(
            data, kind, error=errors[kind].astype(np.float32), is_error_measured=False
        )
        master = Master(kind, (image,), frames=6, bias_key="b", exptime=300.0, level=2e4)
        uses[kind] = AppliedMaster(master)
    electrons = random.poisson(sky * flat + charge) + random.normal(0, READ_NOISE, SHAPE)
    readout = Readout(
        Region(0, SHAPE[0], 0, SHAPE[1]), "A", gain=GAIN, read_noise=READ_NOISE / GAIN,
        is_level_subtracted=True,
    )  # fmt: skip
    reduced = np.rint(electrons / GAIN).astype(np.float32)
    _, error, _ = calibrate_arrays(reduced, (readout,), FrameMasters(**uses))
    variance = GAIN**2 * (frame_variance(sky * flat + charge) + errors["dark"] ** 2) / flat**2
    ratio = error / np.sqrt(variance + (sky * errors["flat"] / flat) ** 2)
    assert np.percentile(np.abs(ratio - 1), 99) < 0.02
    assert steps(ratio) < 0.005


def test_light_is_smooth_within_an_amplifier_and_its_own_in_each():
    """Two amplifiers side by side and one above: planes give themselves back, to the corners."""
    regions = [(0, 100, 0, 70), (0, 100, 70, 150), (100, 180, 0, 150)]
    planes = [(5, 0.3, 0.1), (200, -0.5, 0.4), (50, 0.0, 0.2)]
    y, x = np.mgrid[:180, :150]
    truth = np.zeros((180, 150))
    for (y0, y1, x0, x1), (level, up, right) in zip(regions, planes, strict=True):
        part = slice(y0, y1), slice(x0, x1)
        truth[part] = level + up * y[part] + right * x[part]
    amplifiers = tuple(AmplifierNoise(str(n), r, 1.0, 1.0) for n, r in enumerate(regions))
    rows = np.arange(1, 180, 3)
    sample = np.repeat(truth[None, rows], 3, axis=0)
    sample[:, 4:8, 75:110] = np.nan  # no value in a box is good: that of the others is taken
    light = expected_light(NoiseModel(amplifiers, truth.shape), MemberSample(rows, sample))
    smooth = light.light_between(0, truth.size).reshape(truth.shape)
    kept = np.ones(truth.shape, bool)
    kept[:40, 70:] = False
    np.testing.assert_allclose(smooth[kept], truth[kept], atol=1e-9)
    assert np.isfinite(smooth).all()
    some = np.random.default_rng(1).integers(0, truth.size, 500)
    at = light.light_at(*np.divmod(some, truth.shape[1]))
    np.testing.assert_allclose(at, smooth.reshape(-1)[some])
    for start, stop in ((0, 10), (149, 301), (14_900, 15_200), (26_990, 27_000)):
        np.testing.assert_array_equal(
            light.light_between(start, stop), smooth.reshape(-1)[start:stop]
        )


def test_frames_and_darks_without_light_have_the_variance_of_reading():
    """Medians of tiles scatter about 0; by those above 0 alone the variance was 3 % too large."""
    random, read_noise, shape = np.random.default_rng(9), 2.5, (512, 512)
    single = read_noise**2
    readout = Readout(
        Region(0, 512, 0, 512), gain=1.0, read_noise=read_noise, rounding_variance=0.0
    )
    error = np.full(shape, read_noise / 3**0.5, np.float32)
    image = master_image_of(
        error * random.normal(size=shape), "dark", error=error, is_error_measured=False
    )
    dark = AppliedMaster(Master("dark", (image,), frames=3, bias_key="b", exptime=60.0))
    for masters, expected in (
        (FrameMasters(), single),
        (FrameMasters(dark=dark), single * 4 / 3),
    ):
        reduced = random.normal(0, read_noise, shape).astype(np.float32)
        data, errors, _ = calibrate_arrays(reduced, (readout,), masters)
        assert np.mean(errors**2, dtype=float) == pytest.approx(expected, rel=0.01)
        assert (data / errors).std() == pytest.approx(1, abs=0.008)
    # A level that noise does not explain, as of a bias of another night, is none of light.
    _, errors, _ = calibrate_arrays(reduced - 50, (readout,), FrameMasters())
    assert np.allclose(errors**2, single, rtol=1e-5)


@pytest.mark.parametrize("read_noise", [0.05, 0.3, 1.2])
def test_noise_below_an_electron_keeps_half_of_its_variance(read_noise):
    """A median as low as noise makes it, and lower than that may be: by 0.4 standard deviations."""
    readout = Readout(Region(0, 99, 0, 99), gain=1.0, read_noise=read_noise, rounding_variance=0.0)
    reduced = np.full((99, 99), -0.4 * read_noise, np.float32)
    _, errors, _ = calibrate_arrays(reduced, (readout,), FrameMasters())
    expected = read_noise**2 - min(0.4 * read_noise, 0.5 * read_noise**2)
    assert np.allclose(errors**2, expected, rtol=1e-5)
