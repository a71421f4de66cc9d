"""One amplifier of a camera has no signal: the other one is calibrated, the lost one masked."""

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from chain_runs import KINDS
from small_frames import run_jobs

from ccdflow.mask_bits import DEAD, SATURATED, UNLIT
from ccdflow.run import job_records
from ccdflow.verify import verdicts

COLUMNS = {"A": np.r_[0:52, 103:119], "B": np.r_[52:103, 119:135]}
NIGHT = "combined/2024-03-01"


def night_with_lost_amplifier(folder, name, value, files="*.fits"):
    """Make a night in which an amplifier has one value in all pixels of some frames."""
    chain = small_chain.make(folder / "raw", biases=4, flats=(("g", 4),), darks=((60.0, 3),),
                             science=(("g", 60.0, 1),))  # fmt: skip
    for path in chain.raw.glob(files):
        with fits.open(path, mode="update") as hdus:
            hdus[0].data[:, COLUMNS[name]] = value
    return chain


@pytest.mark.parametrize(
    ("name", "value", "flag", "bit"),
    [
        ("B", 1000, "dead", DEAD),
        pytest.param("A", 0, "dead", DEAD, marks=pytest.mark.torture),
        ("B", 65535, "saturated", SATURATED),
    ],
)
def test_the_other_amplifier_is_calibrated(tmp_path, name, value, flag, bit):
    chain = night_with_lost_amplifier(tmp_path, name, value)
    done = run_jobs(chain.raw, tmp_path / "results", {"simcam": chain.profile}, kinds=KINDS)
    for kind in ("bias", "dark", "flat"):
        (record,) = (r for p, r in done.records.items() if p.startswith(f"{NIGHT}/{kind}"))
        assert f"amplifier {name} is {flag} throughout" in record.data["remarks"]
    for product in (p for p in done.records if p.startswith(("combined", "calibrated"))):
        verdict = verdicts.verify(product, raw=chain.raw, results=done.results)
        assert (verdict.verdict, verdict.reason) == ("verified", ""), product
    lost = np.zeros(chain.detector.shape, bool)
    lost[:, slice(52, None) if name == "B" else slice(52)] = True
    assert lost.mean() == pytest.approx(0.5, abs=0.01)
    flat = done.open(f"{NIGHT}/flat_simcam_103x101_1x1_g.fits")
    assert (flat["MASK"].data[lost] == bit | UNLIT).all()
    good = ~lost & (flat["MASK"].data == 0)
    assert flat[0].data[good].mean() == pytest.approx(1, abs=1e-4)
    truth = chain.flat("g", unit="electron")
    scale = truth[good].mean()
    assert np.median(np.abs(flat[0].data[good] * scale / truth[good] - 1)) < 0.005
    frame = done.open("calibrated/science_g1.fits")
    assert (frame["MASK"].data[lost] & bit != 0).all()
    good = ~lost & (frame["MASK"].data == 0) & chain.good_pixels("science_g1.fits")
    pull = (frame[0].data - chain.perfect("science_g1.fits") * scale) / frame["UNCERT"].data
    assert abs(pull[good].mean()) < 0.1
    assert pull[good].std() == pytest.approx(1, abs=0.06)


def test_a_dead_amplifier_is_masked_without_any_master_that_knows(tmp_path):
    chain = night_with_lost_amplifier(tmp_path, "B", 1000, "science*.fits")
    bias = {"enabled": False}
    config = {"bias": bias, "dark": bias, "flat": bias}
    done = run_jobs(
        chain.raw, tmp_path / "results", {"simcam": chain.profile}, kinds=KINDS, **config
    )
    mask = done.open("calibrated/science_g1.fits")["MASK"].data
    assert (mask[:, 52:] & DEAD != 0).all()
    assert not (mask[:, :52] & DEAD).any()


def test_a_flat_of_which_one_amplifier_is_dead_is_left_out(tmp_path):
    chain = night_with_lost_amplifier(tmp_path, "B", 1000, "flat_g2.fits")
    done = run_jobs(chain.raw, tmp_path / "results", {"simcam": chain.profile}, kinds=KINDS)
    record = done.records[f"{NIGHT}/flat_simcam_103x101_1x1_g.fits"]
    assert record.status == job_records.MADE
    assert len(record.data["members"]) == 3
    ((file, text, *_),) = record.data["left_out"]
    assert file == "flat_g2.fits"
    assert text == "its amplifier B is dead throughout"
