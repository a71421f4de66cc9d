"""Nights whose frames were written in several ways: the masters are those of one, and true."""

import numpy as np
import pytest
from astropy.io import fits
from chain_runs import DARKS, FEW_FRAMES, FLATS, edit, pull, row_of, run, take

SCIENCE = ("science_g1.fits", "science_r1.fits")


def rewrite(path, write, *, suffix=""):
    """Write a raw frame once more, by `write(pixels, header, path)`."""
    with fits.open(path) as hdus:
        pixels, header = hdus[0].data, hdus[0].header.copy()
    for keyword in ("BZERO", "BSCALE"):
        header.remove(keyword, ignore_missing=True)
    path.unlink()
    write(pixels, header, path.with_name(path.name + suffix))


def as_extension(pixels, header, path):
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(pixels)]).writeto(path)


def as_tiles(pixels, header, path):
    tiles = fits.CompImageHDU(pixels, header, compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(path)


def as_floats(pixels, header, path):
    fits.writeto(path, pixels.astype(np.float32), header)


def members_of(done):
    """Return {master: its members}, without what packing adds to their names."""
    return {
        product: [name.removesuffix(".fz") for name in record.data["members"]]
        for product, record in done.records.items()
        if record.kind in ("bias", "dark", "flat")
    }


def check_truth(done, chain):
    """Assert that the science frames have all masters, and differ from the truth by UNCERT."""
    for name in SCIENCE:
        product = f"calibrated/{name}"
        assert done.records[product].data["grade"] == "A"
        hdus = done.open(product)
        good = chain.good_pixels(name) & (hdus["MASK"].data & ~np.int16(8) == 0)
        off = pull(hdus, chain.perfect(name), good)
        assert off.std() == pytest.approx(1, abs=0.04)
        assert abs(off.mean()) < 0.05


WRITERS = {"extension": (as_extension, ""), "tiles": (as_tiles, ".fz"), "floats": (as_floats, "")}


def test_a_night_of_every_form_of_file_has_one_set_of_masters(tmp_path):
    """Images in the first HDU or the second, packed in tiles, of floating point, in one group."""
    chain = take(tmp_path, **FEW_FRAMES)
    plain = {path.stem: path for path in (tmp_path / "raw").glob("*.fits")}
    for number, stem in enumerate(sorted(set(plain) - {"science_g1", "science_r1"})):
        writer, suffix = [*WRITERS.values(), (None, "")][number % 4]
        if writer is not None:
            rewrite(plain[stem], writer, suffix=suffix)
    rewrite(plain["science_r1"], as_extension)
    done = run(tmp_path, chain)
    members = members_of(done)
    assert {product: len(names) for product, names in members.items()} == {
        product: 3 for product in (*FLATS.values(), *DARKS.values(), *members)
    }
    assert len(members) == 5
    check_truth(done, chain)


def test_units_wheels_and_gains_in_other_spellings_part_nothing(tmp_path):
    chain = take(tmp_path, **FEW_FRAMES)
    for number, path in enumerate(sorted((tmp_path / "raw").glob("*.fits"))):
        header = fits.getheader(path)
        seconds, band = header["EXPTIME"], header.get("FILTER")
        edit(
            path,
            EXPTIME=(seconds, f"{seconds:g} s", f"{seconds} sec", f" {seconds:g}s ")[number % 4],
            GAIN=(1.2, "1.2", "1.2 e-/ADU", "1.20 e/adu")[number % 4],
        )
        if band:
            wheels = ((band, "Clear"), ("Open", f" {band} "))[number % 2]
            edit(path, FILTER=None, FILTER1=wheels[0], FILTER2=wheels[1])
    done = run(tmp_path, chain)
    members = members_of(done)
    assert sorted(map(len, members.values())) == [3] * 5
    assert all("_g1.2" in product for product in members)
    check_truth(done, chain)


def test_darks_without_a_temperature_are_with_those_of_the_only_one(tmp_path):
    """A third of the darks has none: level, noise and structure tell whether they belong there."""
    chain = take(tmp_path, **FEW_FRAMES)
    for path in (tmp_path / "raw").glob("*.fits"):
        cards = {"SET-TEMP": None} if "SET-TEMP" in fits.getheader(path) else {}
        edit(path, **cards, **({"CCD-TEMP": None} if path.stem.endswith("0_2") else {}))
    done = run(tmp_path, chain)
    members = members_of(done)
    for seconds, product in DARKS.items():
        assert members[product] == [f"dark{seconds}_{n}.fits" for n in (1, 2, 3)]
    check_truth(done, chain)


def test_darks_without_a_temperature_are_a_group_where_others_have_two(tmp_path):
    chain = take(tmp_path, biases=3, darks=((60.0, 9),), flats=(), science=())
    for number in range(1, 10):
        degrees = (-100.0, -90.0, None)[(number - 1) // 3]
        path = tmp_path / f"raw/dark60_{number}.fits"
        cards = {"SET-TEMP": None} if "SET-TEMP" in fits.getheader(path) else {}
        edit(path, **cards, **{"CCD-TEMP": degrees})
    done = run(tmp_path, chain)
    names = [names for product, names in members_of(done).items() if "/dark_" in product]
    assert sorted(names) == [
        [f"dark60_{n}.fits" for n in numbers] for numbers in ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    ]


def test_a_readout_that_broke_off_is_reported_for_each_type_of_frame(tmp_path):
    chain = take(tmp_path, **FEW_FRAMES)
    names = ("flat_g1.fits", "dark60_1.fits", "science_g1.fits")
    for name in names:
        with fits.open(tmp_path / "raw" / name, mode="update") as hdus:
            hdus[0].data[81:] = 0
    done = run(tmp_path, chain)
    for name in names:
        assert "20 of the 101 rows of the overscan have one value" in row_of(done, name).reason
    (line,) = (line for line in done.lines if "the readout broke off" in line)
    assert line.startswith("warning: simcam: dark60_1.fits (the first of 3 frames): amplifier A:")


def test_a_saturated_science_frame_is_reported_as_such_and_not_by_its_noise(tmp_path):
    """No word of the overscan, nor of the gain, whose noise is 0 in it."""
    chain = take(tmp_path, **FEW_FRAMES)
    with fits.open(tmp_path / "raw/science_g1.fits", mode="update") as hdus:
        hdus[0].data[...] = 65535
    done = run(tmp_path, chain)
    lines = [line for line in done.lines if line.startswith("warning")]
    assert lines == [
        "warning: simcam: science_g1.fits: no pixel has a signal in the amplifiers A (saturated),"
        " B (saturated); allowed: pixels between dark and saturated; they are masked; look at the"
        " raw frame"
    ]
    flagged = "amplifier A is saturated throughout; amplifier B is saturated throughout"
    assert row_of(done, "science_g1.fits").reason == flagged
    assert (done.open("calibrated/science_g1.fits")["MASK"].data & 1 == 1).all()


def test_flats_of_one_filter_in_several_spellings_are_one_group(tmp_path):
    """The group has the name of the first; the frame takes it, whatever its own card has."""
    chain = take(tmp_path, **FEW_FRAMES)
    spelled = ("Bessell_g", "Bessell-g", "Clear+Bessell  g")
    for number, band in enumerate(spelled, start=1):
        edit(tmp_path / f"raw/flat_g{number}.fits", FILTER=band)
    for number, band in enumerate(("r+ND2", "ND2+r", "Open+ND2 + r"), start=1):
        edit(tmp_path / f"raw/flat_r{number}.fits", FILTER=band)
    edit(tmp_path / "raw/science_g1.fits", FILTER="Bessell g")
    edit(tmp_path / "raw/science_r1.fits", FILTER="ND2+r")
    done = run(tmp_path, chain)
    members = members_of(done)
    named = {
        FLATS["g"].replace("_g.", "_Bessell_g."): "g",
        FLATS["r"].replace("_r.", "_r+ND2."): "r",
    }
    for product, band in named.items():
        assert members[product] == [f"flat_{band}{n}.fits" for n in (1, 2, 3)]
        assert done.open(f"calibrated/science_{band}1.fits")[0].header["FLATIM"] == product
    check_truth(done, chain)
