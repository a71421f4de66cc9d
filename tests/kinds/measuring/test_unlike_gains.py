"""Amplifiers of very unlike gains, of which neither profile nor header gives one."""

import re

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from small_frames import run_jobs

from ccdflow.mask_bits import UNLIT
from ccdflow.verify import verdicts

KINDS = ("frame", "bias", "dark", "flat", "detector", "detector table", "science")
GAINS, VERY_UNLIKE = (0.8, 3.2), (0.5, 8.0)
SIDES = (np.s_[:, :60], np.s_[:, 60:])


def take(folder, gains=GAINS, **options):
    """Take a night of a detector whose first amplifier has 60 of 103 columns."""
    amplifiers = tuple(
        small_chain.simulate.SimulatedAmplifier(columns, gain=gain, read_noise=4.0, level=level)
        for columns, gain, level in zip(((0, 60), (60, 103)), gains, (900.0, 1100.0), strict=True)
    )
    detector = small_chain.simulate.draw_detector(
        small_chain.SHAPE, seed=4, shutter=0.0, amplifiers=amplifiers
    )
    options = {
        "detector": detector, "darks": ((60.0, 3),), "flats": (("g", 6), ("r", 4)), "sky": 20.0,
        "flat_level": 40_000.0, "science": (("g", 60.0, 1),), "lamp_drift": 0.002,
    } | options  # fmt: skip
    return small_chain.make(folder / "raw", **options)


def run(folder, chain, keep=(), results="results", **config):
    """Run all kinds with a profile that keeps the gains of the amplifiers ``keep`` alone."""
    parts = re.split(r"(?m)(?=^ *- )", chain.profile)
    lacks = [re.sub(r",? ?gain: [\d.]+", "", part) for part in parts]
    kept = {n + len(parts) - len(GAINS) for n in keep}
    profile = "".join(parts[n] if n in kept else lacks[n] for n in range(len(parts)))
    assert profile.count("gain:") == len(keep)
    config = {"detector": {}} | config
    profiles = {"simcam": profile}
    return run_jobs(chain.raw, folder / results, profiles, kinds=KINDS, **config)


def scales_and_pulls(done, chain):
    """Return the header, and the scale and standard deviation of the pull of each amplifier.

    The scale is the median of product over truth.
    """
    hdus, truth = done.open("calibrated/science_g1.fits"), chain.perfect("science_g1.fits")
    is_good = chain.good_pixels("science_g1.fits") & (hdus["MASK"].data == 0)
    scales_and_deviations = []
    for side in SIDES:
        pixels, is_good_here = hdus[0].data[side], is_good[side]
        scale = float(np.median((pixels / truth[side])[is_good_here]))
        errors = pixels[is_good_here] - scale * truth[side][is_good_here]
        pulls = errors / hdus["UNCERT"].data[side][is_good_here]
        scales_and_deviations.append((scale, float(np.std(pulls))))
    return hdus[0].header, scales_and_deviations


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlike")
    return folder, take(folder)


@pytest.mark.parametrize("keep", [(), (0,)], ids=["no gain", "one of two"])
def test_a_frame_over_its_flat_has_one_scale_and_errors_of_each_amplifier(keep, night):
    """The mean of the gains was 15 % off, and UNCERT by a third, or twice as large."""
    folder, chain = night
    done = run(folder, chain, keep, results=f"results{len(keep)}")
    header, ((first, first_pull), (second, second_pull)) = scales_and_pulls(done, chain)
    assert header["BUNIT"] == "electron"
    assert first == pytest.approx(1.0, abs=0.03)
    assert second == pytest.approx(first, rel=0.01)
    assert (first_pull, second_pull) == pytest.approx((1.0, 1.0), abs=0.05)
    measured = [header.get(f"GAINME{number:02d}") for number in (1, 2)]
    assert measured == pytest.approx(GAINS, rel=0.04)
    product = "calibrated/science_g1.fits"
    verdict = verdicts.verify(product, raw=chain.raw, results=done.results, compares_all_rows=True)
    assert (verdict.verdict, verdict.reason) == ("verified", "")


def test_a_frame_without_a_flat_has_the_gain_of_each_amplifier(night):
    folder, chain = night
    done = run(folder, chain, results="bare", calibrate={"steps": ["bias", "dark"]})
    hdus = done.open("calibrated/science_g1.fits")
    assert (hdus[0].header["BUNIT"], "GAINMEAS" in hdus[0].header) == ("electron", False)
    # The columns on both sides of the seam have the same light.
    left, right = (np.median(hdus[0].data[:, columns]) for columns in (np.s_[54:60], np.s_[60:66]))
    assert left == pytest.approx(right, rel=0.05)
    product = "calibrated/science_g1.fits"
    verdict = verdicts.verify(product, raw=chain.raw, results=done.results, compares_all_rows=True)
    assert (verdict.verdict, verdict.reason) == ("verified", "")


def test_a_frame_of_amplifiers_with_unlike_scales_has_grade_c(night):
    folder, chain = night
    done = run(
        folder, chain, results="unknown", calibrate={"steps": ["bias", "dark"]},
        detector={"enabled": False},
    )  # fmt: skip
    header = done.open("calibrated/science_g1.fits")[0].header
    assert (header["BUNIT"], header["CALGRADE"]) == ("adu", "C")
    assert "amplifiers of unlike scales: a gain is unknown, and no" in str(header["HISTORY"])
    product = "calibrated/science_g1.fits"
    verdict = verdicts.verify(product, raw=chain.raw, results=done.results, compares_all_rows=True)
    assert (verdict.verdict, verdict.reason) == ("verified", "")


def test_an_amplifier_of_few_adu_and_many_electrons_is_lit(tmp_path):
    """The amplifier has a sixteenth of the adu of the other one, and as many electrons."""
    chain = take(tmp_path, gains=VERY_UNLIKE, flat_level=20_000.0)
    done = run(tmp_path, chain)
    flat = next(done.results.glob("combined/*/flat_*_g.fits"))
    with fits.open(flat) as hdus:
        unlit = hdus["MASK"].data & UNLIT != 0
        assert hdus[0].header["FLATR01"] / hdus[0].header["FLATR02"] == pytest.approx(16, rel=0.05)
        truth = chain.flat("g", unit="adu")
        fine = chain.good_pixels() & (hdus["MASK"].data == 0)
        scale = np.median(hdus[0].data[fine] / truth[fine])
        off = (hdus[0].data - scale * truth)[fine] / hdus["UNCERT"].data[fine]
        assert off.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(unlit, chain.flat("g") < 0.2)
    assert 0 < np.count_nonzero(unlit) < 200
    header, ((first, first_pull), (second, second_pull)) = scales_and_pulls(done, chain)
    assert header["BUNIT"] == "electron"
    assert (first, second) == pytest.approx((1.0, 1.0), abs=0.03)
    assert second == pytest.approx(first, rel=0.01)
    assert (first_pull, second_pull) == pytest.approx((1.0, 1.0), abs=0.06)
    for product in ("calibrated/science_g1.fits", str(flat.relative_to(done.results))):
        verdict = verdicts.verify(
            product, raw=chain.raw, results=done.results, compares_all_rows=True
        )
        assert (verdict.verdict, verdict.reason) == ("verified", "")
