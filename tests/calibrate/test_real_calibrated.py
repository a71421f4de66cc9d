"""EFOSC2's real frames calibrated: the noise between frames of one field is that of their UNCERT.

Two frames of one field, calibrated with the same masters, differ by their own noise alone: what the
masters add is in UNCERT and cancels in the difference. The expected ratio is therefore below 1.
"""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from small_frames import run_jobs

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "efosc2_2022"
PROFILE = (ROOT / "config" / "cameras" / "efosc2.yaml").read_text()
BIASES, SKY_FLATS = "2022-01-26T19:0", "2022-01-28T00:0"
FIELDS = ("2022-01-28T0[45]", "2022-01-28T08")
EDGE, BOX = 32, 16

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real frames in {DATA}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(1.19, id="profile"),
        pytest.param(1.10, id="header", marks=pytest.mark.torture),
    ],
)
def calibrated_night(request, tmp_path_factory):
    """The night with the gain of pairs of flats, and with that of the header (CONAD)."""
    folder = tmp_path_factory.mktemp("efosc2")
    (folder / "raw").mkdir()
    for pattern in (BIASES, SKY_FLATS, *FIELDS):
        for path in DATA.glob(f"*{pattern}*"):
            (folder / "raw" / path.name).symlink_to(path)
    profile = PROFILE.replace("gain: 1.19", f"gain: {request.param}")
    assert f"gain: {request.param}" in profile
    kinds = ("frame", "bias", "flat", "science")
    run = run_jobs(
        folder / "raw", folder / "results", {"efosc2": profile}, kinds=kinds,
        reduction={"model": "auto"},
    )  # fmt: skip
    return request.param, run


def open_calibrated(run, pattern):
    """Return the open calibrated frames whose names match a pattern."""
    frames = sorted((run.results / "calibrated").glob(f"*{pattern}*"))
    return [run.open(f"calibrated/{path.name}") for path in frames]


def without_light(image):
    """Return the mask of pixels far from objects and from the edges, (ny, nx) bool."""
    size = 64
    levels = np.median(image.reshape(16, size, 16, size).swapaxes(1, 2).reshape(16, 16, -1), axis=2)
    smooth = image - np.kron(levels, np.ones((size, size)))
    means = sum(np.roll(smooth, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    bright = np.abs(means) > 4 * 1.4826 * np.median(np.abs(means))
    for axis in (0, 1):
        bright = np.any([np.roll(bright, step, axis) for step in range(-6, 7)], axis=0)
    dark = ~bright
    dark[:EDGE] = dark[-EDGE:] = dark[:, :EDGE] = dark[:, -EDGE:] = False
    return dark


def scatter_in_boxes(pulls):
    """The standard deviation within boxes of 16 x 16 pixels: the sky may slope between frames."""
    count = len(pulls) // BOX
    boxes = pulls.reshape(count, BOX, count, BOX).swapaxes(1, 2).reshape(count * count, -1)
    enough = np.isfinite(boxes).sum(axis=1) > 200
    return np.sqrt(np.mean(np.nanvar(boxes[enough], axis=1, ddof=1)))


@pytest.fixture(scope="module")
def pairs(calibrated_night):
    """For each of the six pairs the pulls of the pixels without light, and the expected scatter."""
    _, run = calibrated_night
    pulls_and_factors = []
    for pattern in FIELDS:
        frames = open_calibrated(run, pattern)
        assert len(frames) == 3
        for one, other in combinations(frames, 2):
            images = [hdus[0].data.astype(float) for hdus in (one, other)]
            errors = [hdus["UNCERT"].data.astype(float) for hdus in (one, other)]
            good = (one["MASK"].data | other["MASK"].data) == 0
            good &= without_light(images[0]) & without_light(images[1])
            total = errors[0] ** 2 + errors[1] ** 2
            pulls = np.where(good, (images[0] - images[1]) / np.sqrt(total), np.nan)
            pulls[np.abs(pulls - np.nanmedian(pulls)) > 5] = np.nan
            cards, levels = one[0].header, [hdus[0].header["SKYLVL"] for hdus in (one, other)]
            # Bias and flat are in both errors, and leave only the flat's noise of the difference.
            common = 2 * cards["MBNOISE"] ** 2
            common += cards["MFNOISE"] ** 2 * 2 * levels[0] * levels[1]
            pulls_and_factors.append((pulls, np.sqrt(1 - common / np.median(total[good]))))
    return pulls_and_factors


def test_the_difference_of_two_frames_has_the_noise_of_their_uncertainty(pairs):
    ratios = [scatter_in_boxes(pulls) / expected for pulls, expected in pairs]
    assert len(ratios) == 6
    # The masters' part is seen: without it the ratio of the standard deviation would be 1.
    assert len(pairs) == 6
    assert all(0.96 < expected < 0.98 for _, expected in pairs)
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
    assert ratios == pytest.approx([1] * 6, abs=0.016)


def test_neighbouring_columns_differ_by_more_as_their_read_noise_is_correlated(
    calibrated_night, pairs
):
    """Why the difference of neighbours in a row is 2 % too large for a test of UNCERT."""
    gain, run = calibrated_night
    if gain != 1.19:
        pytest.skip("the read noise has no gain")
    biases = sorted((run.results / "reduced").glob(f"*{BIASES}*"))
    images = [run.open(f"reduced/{path.name}")[0].data.astype(float) for path in biases]
    middle = np.s_[50:970, 50:970]
    noise = [(a - b)[middle] - (a - b)[middle].mean() for a, b in pairwise(images)]
    correlations = [np.mean(n[:, 1:] * n[:, :-1]) / n.var() for n in noise]
    assert len(correlations) == len(biases) - 1 > 2
    assert all(-0.2 < value < -0.05 for value in correlations)
    for pulls, _ in pairs:
        by_column = np.nanstd(pulls[:, 1:] - pulls[:, :-1]) / np.sqrt(2)
        apart = np.nanstd(pulls[:, 4:] - pulls[:, :-4]) / np.sqrt(2)
        assert 1.012 < by_column / apart < 1.03
        assert apart == pytest.approx(scatter_in_boxes(pulls), rel=0.005)


def test_the_measured_noise_of_the_sky_is_the_predicted_one(calibrated_night):
    _, run = calibrated_night
    frames_of_fields = [open_calibrated(run, pattern) for pattern in FIELDS]
    assert all(frames_of_fields)
    for hdus in [each for frames in frames_of_fields for each in frames]:
        cards = hdus[0].header
        assert cards["SKYRMS"] == pytest.approx(cards["SKYPRED"], rel=0.03)


def test_a_wrong_gain_is_reported_and_the_pixels_keep_that_gain(calibrated_night):
    gain, run = calibrated_night
    (flat,) = (r for r in run.records.values() if r.kind == "flat")
    (figures,) = flat.data["quality"]
    assert figures["measured_gain"] == pytest.approx(1.18, abs=0.015)
    warnings = [line for line in run.lines if "the flats show a gain of 1.18" in line]
    cards = open_calibrated(run, FIELDS[0])[0][0].header
    if gain == 1.19:
        assert run.lines
        assert not warnings
        assert "GAINMEAS" not in cards
        return
    assert "profile or header say 1.1:" in warnings[0]
    assert cards["GAINMEAS"] == figures["measured_gain"]
    assert cards["AMPGAIN"] == 1.10
    # In units of 1.10 electrons an adu: the same adu as with 1.19.
    assert cards["SKYLVL"] / 1.10 == pytest.approx(381, rel=0.01)
