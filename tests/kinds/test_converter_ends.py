"""Pixels at the end of the converter have bit 1 where nobody says when pixels are full."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from chain_runs import DARKS, FEW_FRAMES, FLATS, KINDS, take
from small_frames import begin, run_jobs

from ccdflow.kinds.masters.member_masters import saturation_ceiling
from ccdflow.kinds.reducing.record_entries import (
    lacks_converter_ends,
    plain_ends,
    plain_ends_of_full_pixels,
)
from ccdflow.mask_bits import SATURATED
from ccdflow.verify import verdicts

SCIENCE = "calibrated/science_g1.fits"
# Columns of the two amplifiers in the raw frame, of their data and of their overscan.
HALVES = {"A": (slice(0, 52), slice(103, 119)), "B": (slice(52, 103), slice(119, 135))}
# A bright star, and rows of it that run into the overscan of amplifier A.
STAR, RUNS_OVER = np.s_[40:49, 20:27], slice(43, 46)


def fill(path, pixels, *, ramp=0.0):
    """Set pixels of a raw frame to its highest number; the bias level runs up by ``ramp`` adu."""
    with fits.open(path, mode="update") as hdus:
        data = hdus[0].data.astype(np.int64)
        data += np.rint(np.linspace(0, ramp, len(data))).astype(int)[:, None]
        for place in pixels:
            data[place] = 65535
        if ramp:
            data[RUNS_OVER, HALVES["A"][1]] += 7000
        hdus[0].data = np.minimum(data, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The tiny night of a camera without a saturation: (chain, its run)."""
    folder = tmp_path_factory.mktemp("ends")
    chain = take(folder, **FEW_FRAMES)
    single = [np.s_[3, 60], np.s_[97, 90], np.s_[70, 10]]
    fill(chain.raw / "science_g1.fits", [STAR, *single], ramp=50)
    for number in (1, 2, 3):
        # A hot pixel that is full in all darks of 60 s, and one in a single dark and flat.
        fill(chain.raw / f"dark60_{number}.fits", [np.s_[30, 30]] + [np.s_[9, 9]] * (number == 2))
        fill(chain.raw / f"flat_g{number}.fits", [np.s_[9, 9]] * (number == 2))
    profile = re.sub(r", saturation: [\d.]+", "", chain.profile)
    profile = re.sub(r"(?m)^ *saturation: .*\n", "", profile)
    assert "saturation" not in profile
    counted = {"dark": {"count": True}, "flat": {"count": True}}
    profiles = {"simcam": profile}
    done = run_jobs(chain.raw, folder / "results", profiles, kinds=KINDS, **counted)
    session = begin(chain.raw, folder / "results", profiles, **counted)
    left = [job.product for job in session.plan.jobs.values() if job.kind in KINDS]
    session.lock.close()
    assert session.plan.jobs
    assert left == []
    return chain, done


def test_a_calibrated_frame_flags_them_all_and_no_others(night):
    """A level that runs up by 50 adu, and rows whose overscan is 7000 adu too high, lose none."""
    chain, done = night
    hdus = done.open(SCIENCE)
    with fits.open(chain.raw / "science_g1.fits") as raw:
        full = raw[0].data[:, :103] == 65535
    assert np.count_nonzero(full) == 66
    assert np.array_equal(hdus["MASK"].data & SATURATED != 0, full)
    assert (hdus[0].header["NSAT"], "SATMEA01" in hdus[0].header) == (66, False)
    # The least of the two amplifiers, less its level, times its gain, over the brightest flat.
    header = hdus[0].header
    gains = [header[f"GAIN{number:02d}"] for number in (1, 2)]
    tops = [
        (65535 - header[f"BIASLV{n:02d}"]) * gain for n, gain in zip((1, 2), gains, strict=True)
    ]
    assert 0.7 * min(tops) < header["SATURATE"] < 1.02 * min(tops)


def test_masters_leave_them_out(night):
    _, done = night
    dark = done.open(DARKS[60])
    assert dark["MASK"].data[30, 30] & SATURATED
    assert (dark["COUNT"].data[30, 30], dark["COUNT"].data[9, 9]) == (0, 2)
    assert dark["MASK"].data[9, 9] & SATURATED == 0
    assert done.open(FLATS["g"])["COUNT"].data[9, 9] <= 2
    assert "AMPTOP01" not in dark[0].header


@pytest.mark.parametrize("product", ["reduced/science_g1.fits", DARKS[60], FLATS["g"], SCIENCE])
def test_the_products_are_verified(night, product):
    chain, done = night
    verdict = verdicts.verify(product, raw=chain.raw, results=done.results, compares_all_rows=True)
    assert (verdict.verdict, verdict.reason) == ("verified", "")


def test_the_mask_without_one_of_them_differs(night):
    chain, done = night
    path = done.results / SCIENCE
    sound = path.read_bytes()
    with fits.open(path, mode="update", checksum=True) as hdus:
        hdus["MASK"].data[44, 23] &= ~SATURATED
    verdict = verdicts.verify(SCIENCE, raw=chain.raw, results=done.results, compares_all_rows=True)
    path.write_bytes(sound)
    assert (verdict.verdict, "pixels of the mask" in verdict.reason) == ("differs", True)


def test_records_without_the_entry_are_as_they_were():
    """Reduced frames of an older header: no key changes, and no member has a ceiling."""
    full = {"converter": {"A": {"top": 65535.0, "least": 64500.0}, "B": {"top": 65535.0}}}
    older, newer = (SimpleNamespace(data={"levels": {"A": 1000.0}} | more) for more in ({}, full))
    amplifiers = [SimpleNamespace(name=name, saturation=None) for name in "AB"]
    image = SimpleNamespace(amplifiers=amplifiers)
    assert [saturation_ceiling(image, record) for record in (older, newer)] == [None, 64500.0]
    assert (plain_ends_of_full_pixels(older), plain_ends(older)) == ({}, {})
    assert plain_ends_of_full_pixels(newer) == {"A": full["converter"]["A"]}
    foreseen = SimpleNamespace(data={})
    assert [lacks_converter_ends(each) for each in (older, newer, foreseen)] == [True, False, False]
    # A lower value of the profile takes precedence.
    amplifiers[0].saturation = 60000.0
    assert saturation_ceiling(image, newer) == 59000.0
