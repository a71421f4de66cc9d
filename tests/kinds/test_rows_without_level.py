"""Rows whose overscan is saturated have no level: masters leave them out, products mask them."""

import numpy as np
import pytest
from astropy.io import fits
from chain_runs import DARKS, FEW_FRAMES, FLATS, KINDS, take
from small_frames import amplifier, geometry, run_jobs

from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.frame import reduction
from ccdflow.kinds.explaining import product_explanation
from ccdflow.mask_bits import NO_DATA
from ccdflow.verify import verdicts

SCIENCE = "calibrated/science_g1.fits"
# Rows that a bleeding star fills in the overscan of amplifier A.
ROWS = {"science_g1": slice(40, 46), "dark60_2": slice(60, 61), "flat_g2": slice(20, 23)}
# Columns of amplifier A in the product, and of its overscan in the raw frame.
LEFT_COLUMNS, OVERSCAN = slice(0, 52), slice(103, 119)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The tiny night with such rows in a science frame, a dark and a flat: (chain, its run)."""
    folder = tmp_path_factory.mktemp("rows")
    chain = take(folder, **FEW_FRAMES)
    for name, rows in ROWS.items():
        with fits.open(chain.raw / f"{name}.fits", mode="update") as hdus:
            hdus[0].data[rows, OVERSCAN] = 65535
    counted = {"dark": {"count": True}, "flat": {"count": True}}
    profiles = {"simcam": chain.profile}
    return chain, run_jobs(chain.raw, folder / "results", profiles, kinds=KINDS, **counted)


def test_a_calibrated_frame_masks_them_alone(night):
    chain, done = night
    hdus, lost = done.open(SCIENCE), np.zeros((101, 103), bool)
    lost[ROWS["science_g1"], LEFT_COLUMNS] = True
    assert np.array_equal(hdus["MASK"].data & NO_DATA != 0, lost)
    header = done.open("reduced/science_g1.fits")[0].header
    assert (header["OSCSAT01"], "OSCSAT02" in header) == ("[1:52,41:46]", False)
    good = chain.good_pixels("science_g1.fits") & (hdus["MASK"].data == 0)
    pulls = (hdus[0].data - chain.perfect("science_g1.fits")) / hdus["UNCERT"].data
    assert np.std(pulls[good]) == pytest.approx(1.0, abs=0.03)
    beside = np.concatenate([pulls[row, LEFT_COLUMNS][good[row, LEFT_COLUMNS]] for row in (39, 46)])
    assert np.std(beside) == pytest.approx(1.0, abs=0.2)
    (line,) = (line for line in done.lines if line.startswith("warning:"))
    assert "dark60_2.fits (the first of 3 frames): amplifier A: the overscan is saturated" in line
    assert "calibrated frames mask them (bit 4)" in line
    explanation = "\n".join(product_explanation.explain_product(done.results, SCIENCE))
    assert "no level in [1:52,41:46]: the overscan is saturated" in explanation


@pytest.mark.parametrize(("product", "frame"), [(DARKS[60], "dark60_2"), (FLATS["g"], "flat_g2")])
def test_a_master_is_of_the_other_members_there(night, product, frame):
    _, done = night
    hdus = done.open(product)
    assert done.records[product].data["left_out"] == []
    counts = hdus["COUNT"].data
    assert (counts[ROWS[frame], LEFT_COLUMNS] <= 2).all()
    assert np.median(counts) == 3
    assert (hdus["MASK"].data[ROWS[frame], LEFT_COLUMNS] & NO_DATA == 0).all()
    left = hdus[0].data[:, LEFT_COLUMNS]
    beside = np.median(left[ROWS[frame].stop : ROWS[frame].stop + 6])
    assert np.median(left[ROWS[frame]]) == pytest.approx(beside, abs=4 + 0.05 * abs(float(beside)))
    # The median of their values alone rejects no more than noise does.
    assert hdus[0].header["NREJECT"] < 60


@pytest.mark.parametrize("product", ["reduced/science_g1.fits", DARKS[60], FLATS["g"], SCIENCE])
def test_rows_without_level_are_verified_and_another_card_is_found(night, product):
    chain, done = night
    folders = {"raw": chain.raw, "results": done.results, "compares_all_rows": True}
    verdict = verdicts.verify(product, **folders)
    assert (verdict.verdict, verdict.reason) == ("verified", "")
    if product.startswith("reduced/"):
        path = done.results / product
        sound = path.read_bytes()
        with fits.open(path, mode="update", checksum=True) as hdus:
            hdus[0].header["OSCSAT01"] = "[1:52,41:47]"
        verdict = verdicts.verify(product, **folders)
        path.write_bytes(sound)
        assert verdict.verdict == "differs"
        assert "OSCSAT has other parts than those whose raw overscan is saturated" in verdict.reason


def test_the_mask_of_a_reduced_frame_has_them_in_its_own_orientation():
    """An amplifier as it was read, and one that is turned over; the bit is that of no data."""
    frame = np.full((40, 60), 1000, np.uint16) + np.arange(60, dtype=np.uint16) % 3
    frame[5:8, 50:] = 65535
    for changes, expected in (
        ({}, np.s_[5:8]),
        ({"is_flipped_y": True}, np.s_[32:35]),
    ):
        one = amplifier("1:50,1:40", "51:60,1:40", **changes)
        made = reduction.reduce_frame(
            {0: (frame, 0)}, geometry(frame.shape, one), ReductionRecipe(mask=True)
        )
        mask = made.images[0].mask
        lost = np.zeros(mask.shape, bool)
        lost[expected] = True
        assert np.array_equal(mask == NO_DATA, lost), changes
