"""Frames that do not belong among the darks and flats of a night, through the whole workflow.

Each is left out of its master. A line and a row of the inventory have its figure and the limit.
"""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from chain_runs import DARKS, FLATS, edit, run, take

from ccdflow import simulate
from ccdflow.kinds.masters import combining
from ccdflow.run import job_records


def change(path, how):
    """Change the science pixels of a raw frame: ``how`` changes them in place, as float64."""
    with fits.open(path, mode="update") as hdus:
        data = hdus[0].data.astype(np.float64)
        how(data[:, :103])
        hdus[0].data = np.clip(np.rint(data), 0, 65535).astype(np.uint16)


def frames_left_out(done, product):
    """Return {file: (figure, value, limit)} of the frames left out of a master."""
    figures_by_file = {
        file: (figure, value, limit)
        for file, _, figure, value, limit in done.records[product].data["left_out"]
    }
    table = pd.read_csv(done.results / "inventory.csv", keep_default_na=False).set_index("file")
    for file in figures_by_file:
        assert "left out of its combined" in table.loc[file].reason
        assert sum(line.startswith("left out of") and file in line for line in done.lines) == 1
        assert table.loc[file].status == "ok"
    return figures_by_file


def leak(data):
    data += np.linspace(0, 60, 103)


def brighten(data):
    data += 80


def fill(data):
    data[:, :60] = 65535


def test_darks_that_do_not_belong(tmp_path):
    chain = take(tmp_path, darks=((60.0, 10),))
    raw = tmp_path / "raw"
    change(raw / "dark60_2.fits", leak)
    change(raw / "dark60_4.fits", fill)
    edit(raw / "dark60_6.fits", **{"CCD-TEMP": -96.0})
    with fits.open(raw / "dark60_8.fits", mode="update") as hdus:
        hdus[0].data[...] = fits.getdata(raw / "dark60_7.fits")
    done = run(tmp_path, chain)
    misfits = frames_left_out(done, DARKS[60])
    assert set(misfits) >= {"dark60_2.fits", "dark60_4.fits", "dark60_6.fits"}
    assert misfits["dark60_4.fits"][0] == "saturated amplifier"
    assert "temperature" in misfits["dark60_6.fits"][0]
    (copy,) = {"dark60_7.fits", "dark60_8.fits"} & set(misfits)
    assert len(misfits) == 4
    (text,) = (o[1] for o in done.records[DARKS[60]].data["left_out"] if o[0] == copy)
    assert "its pixels are those of dark60_" in text
    for file in set(misfits) - {copy}:
        _, value, limit = misfits[file]
        assert value > limit
    truth = chain.dark(60.0)
    hdus = done.open(DARKS[60])
    good = chain.good_pixels(*chain.files_of_type("dark"))
    # The noise of the bias is in all members, and not in UNCERT.
    error = np.hypot(hdus["UNCERT"].data, hdus[0].header["MBNOISE"])
    off = ((hdus[0].data - truth) / error)[good & (hdus["MASK"].data == 0)]
    assert off.std() == pytest.approx(1, abs=0.06)
    assert done.records[f"calibrated/{chain.files_of_type('science')[0]}"].data["grade"] == "A"


def test_darks_of_two_kinds_are_refused_and_the_frames_name_the_reason(tmp_path):
    chain = take(tmp_path, darks=((60.0, 6),))
    for number in (1, 3, 5):
        change(tmp_path / f"raw/dark60_{number}.fits", brighten)
    done = run(tmp_path, chain)
    record = done.records[DARKS[60]]
    assert record.status == job_records.REFUSED
    assert re.fullmatch(
        r"amplifier A: the frames have no common level: it scatters by 59\.\d\d adu about"
        r" [\d.]+ adu, allowed 4\.\d+ adu; two kinds: dark60_2\.fits, dark60_4\.fits and 1 more,"
        r" and 3 others",
        record.reason,
    )
    (line,) = (line for line in done.lines if DARKS[60] in line and line.startswith("no combined"))
    assert line == (
        f"no combined dark: {DARKS[60]}: {record.reason}; take the odd ones out of the raw folder,"
        " or write `{type: other, file: NAME}` under `types:` in the camera's profile"
    )
    # The frames that lack the dark name it, without its reason.
    others = [other for other in done.lines if DARKS[60] in other and other != line]
    why = f"no dark: {DARKS[60]} could not be made"
    assert others == [
        f"2 of 2 combined flats without dark: {why}",
        f"calibrated without dark: 3 of 3 calibrated frames: {why}",
    ]
    assert done.records["calibrated/science_g1.fits"].data["missing"] == ["dark"]


def tilt(data):
    data -= 1000
    data *= 1 + 0.05 * np.linspace(-1, 1, 103)
    data += 1000


def spot(data):
    y, x = np.mgrid[:101, :103]
    data -= 1000
    data *= 1 - 0.15 * (np.hypot(y - 50, x - 30) < 3.5)
    data += 1000


def dim_light(data):
    data -= 1000
    data *= 0.001
    data += 1000


def test_flats_that_do_not_belong(tmp_path):
    """Flats of a drifting lamp belong together at all levels; four changed flats do not."""
    chain = take(tmp_path, flats=(("g", 11), ("r", 3)), lamp_drift=0.05)
    raw = tmp_path / "raw"
    for number, how in ((2, tilt), (4, spot), (6, dim_light), (8, fill)):
        change(raw / f"flat_g{number}.fits", how)
    done = run(tmp_path, chain)
    misfits = frames_left_out(done, FLATS["g"])
    assert {file: figure for file, (figure, *_) in misfits.items()} == {
        "flat_g2.fits": "shape",
        "flat_g4.fits": "deepest spot",
        "flat_g6.fits": "signal to noise in a pixel",
        "flat_g8.fits": "saturated amplifier",
    }
    for figure, value, limit in misfits.values():
        assert (value < limit) == (figure == "signal to noise in a pixel")
    hdus = done.open(FLATS["g"])
    good = chain.good_pixels() & (hdus["MASK"].data == 0)
    off = hdus[0].data[good] / chain.flat("g")[good] - 1
    assert off.std() == pytest.approx(np.median((hdus["UNCERT"].data)[good]), rel=0.1)
    header = hdus[0].header
    assert header["FLATMAX"] / header["FLATMIN"] == pytest.approx(1.05**10, rel=0.02)


@pytest.mark.parametrize("flux", [(1e5, 1e6), pytest.param((1e3, 1e5), marks=pytest.mark.torture)])
def test_twilight_flats_with_stars_give_the_flat(tmp_path, flux):
    """Levels are 2,500 to 30,000 electrons, and each flat has the stars at other places.

    The two amplifiers have unlike gains: the median of all pixels lies anywhere between the levels
    of the amplifiers, and is none. Stars look like spots that move, and are no reason to refuse.
    """
    detector = simulate.draw_detector((180, 190), seed=1, shutter=0.0)
    chain = take(tmp_path, detector=detector, biases=4, darks=((60.0, 3),), flats=(("r", 3),))
    plan, levels = [], np.array([30_000, 18_000, 11_000, 7_000, 4_000, 2_500])
    for number, level in enumerate(levels, start=1):
        stars = simulate.draw_stars(detector.shape, 6, flux=flux, seed=50 + number, margin=4)
        plan.append(
            simulate.Shot(
                f"flat_g{number}.fits", start=datetime(2024, 3, 1, 18, number), image_type="flat",
                exptime=4.0, filter="g", sky=simulate.Sky(level / 4.0, stars=stars, fwhm=3.0),
                temperature=-100.0,
            )
        )  # fmt: skip
    simulate.expose_night(tmp_path / "raw/sky", detector, plan, seed=3)
    done = run(tmp_path, chain)
    product = FLATS["g"].replace("103x101", "190x180")
    assert done.records[product].data["left_out"] == []
    hdus = done.open(product)
    assert hdus[0].header["NCOMBINE"] == 6
    ratio = [hdus[0].header[f"IMLVL{n:03d}"] for n in range(1, 7)] / levels
    assert ratio.std() / ratio.mean() < 0.003
    good = chain.good_pixels() & (hdus["MASK"].data == 0)
    off = ((hdus[0].data - chain.flat("g")) / hdus["UNCERT"].data)[good]
    # The truth has its mean of 1 over other pixels, which shifts all values by 1 in 10,000.
    off -= np.median(off)
    assert off.std() == pytest.approx(1, abs=0.04)
    assert 3 < np.abs(off).max() < 6


def test_too_few_frames_are_known_without_the_words_of_the_reason():
    """A record of an earlier version has these words alone."""
    words = "2 frames, fewer than the minimum of 3"
    cases = (
        ("refused", {"too_few": True}, "another wording", True),
        ("refused", {}, words, True),
        ("refused", {}, "the frames do not agree", False),
        ("made", {}, words, False),
    )
    for status, data, reason, is_below in cases:
        record = job_records.Record("combined/x.fits", "bias", "k", status, reason, data=data)
        assert combining.is_below_minimum(record) is is_below, (status, reason)
