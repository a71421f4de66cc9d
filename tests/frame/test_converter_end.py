"""Pixels at the end of the converter: found while a raw frame is read, whatever its form."""

import numpy as np
import pytest
from astropy.io import fits
from small_frames import amplifier, geometry, run_jobs, write_raw

from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.camera.sections import Region
from ccdflow.frame import reduction
from ccdflow.frame.converter_end import ConverterEnd, runs_of_lines
from ccdflow.verify import verdicts

PROFILE = "recognise: {INSTRUME: TESTCAM}\n" + (
    "amplifiers: [{name: A, data: {python: '[:, 0:64]'}, overscan: {python: '[:, 66:]'}}]\n"
)
CARDS = {"INSTRUME": "TESTCAM", "IMAGETYP": "OBJECT", "EXPTIME": 10.0, "DATE-OBS": "2020-03-02"}


@pytest.mark.parametrize(
    ("least", "values", "lowest"),
    [
        (None, (), np.inf),
        (900.0, (), 900.0),
        (None, (950.0, 920.0), 920.0),
        (900.0, (920.0,), 900.0),
    ],
)
def test_the_lowest_pixel_at_the_end_is_that_of_all_lines(least, values, lowest):
    parts = tuple((Region(n, n + 1, 0, 9), value) for n, value in enumerate(values))
    end = ConverterEnd(65535.0, least, parts)
    assert (end.least_of_all_lines, end.has_pixels) == (lowest, lowest < np.inf)


def lit_frame(seed=1):
    """A raw frame whose level runs up by 40 adu, with pixels at the end of the converter.

    In rows 20 to 22 a star runs into the overscan, which is higher by 9,000 adu.
    """
    rng = np.random.default_rng(seed)
    frame = rng.normal(1000, 3, (40, 72)) + np.linspace(0, 40, 40)[:, None]
    frame[:, :64] += 3000
    frame[20:23, 66:] += 9000
    frame, full = np.rint(frame), np.zeros((40, 64), bool)
    full[rng.integers(0, 40, 30), rng.integers(0, 64, 30)] = True
    full[20:23, 50:] = True
    frame[:, :64][full] = 65535
    # Very bright, but 200 adu below the end.
    frame[::5, 7][frame[::5, 7] < 65000] = 65335
    full[::5, 7] &= frame[::5, 7] == 65535
    return frame, full


@pytest.mark.parametrize("changes", [{}, {"is_flipped_y": True}, {"is_flipped_x": True}])
@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_all_pixels_at_the_end_are_found_and_no_others(changes, axis):
    """The level differs from row to row: a single limit lost them, or found others."""
    frame, full = lit_frame()
    sections = ("1:64,1:40", "67:72,1:40")
    if axis == "columns":
        frame, full, sections = frame.T, full.T, ("1:40,1:64", "1:40,67:72")
    one = amplifier(*sections, **({"along": "columns"} if axis == "columns" else {}), **changes)
    place = geometry(frame.shape, one)
    raw = frame.astype(np.uint16)
    made = reduction.reduce_frame({0: (raw, 0)}, place, ReductionRecipe())
    end = made.converters[place.amplifiers[0].name]
    full = full[
        :: -1 if "is_flipped_y" in changes else 1, :: -1 if "is_flipped_x" in changes else 1
    ]
    assert np.array_equal(end.full_pixels(made.images[0].data, 0, 0), full)
    assert (end.top, len(end.parts)) == (65535.0, 1)
    assert end.parts[0][1] < end.least - 8000
    assert reduction.ConverterEnd.from_record(end.to_record()) == end


def test_a_line_counts_as_usual_up_to_64_adu_from_the_median_level():
    frame = np.full((40, 72), 1000, np.uint16)
    frame[:, 5] = 65535
    frame[10, 66:], frame[20, 66:] = 1064, 1065
    place = geometry(frame.shape, amplifier("1:64,1:40", "67:72,1:40"))
    (end,) = reduction.reduce_frame({0: (frame, 0)}, place, ReductionRecipe()).converters.values()
    assert end.least == 65535 - 1064
    ((region, least),) = end.parts
    assert (region.y0, region.y1, least) == (20, 21, 65535 - 1065)


def test_a_frame_below_the_end_and_one_of_floats_have_no_such_pixel():
    frame = np.full((40, 72), 1000, np.uint16)
    frame[3, 5] = 65534
    place = geometry(frame.shape, amplifier("1:64,1:40", "67:72,1:40"))
    made = reduction.reduce_frame({0: (frame, 0)}, place, ReductionRecipe())
    (end,) = made.converters.values()
    assert (end.to_record(), end.has_pixels) == ({"top": 65535.0}, False)
    made = reduction.reduce_frame({0: (frame.astype("f4"), 0)}, place, ReductionRecipe())
    assert made.converters == {}


FORMS = {
    "uint16": (np.uint16, {}, 65535.0),
    "int16": (np.int16, {}, 32767.0),
    "scaled": (np.int16, {"BSCALE": 2.0, "BZERO": 70000.0}, 135534.0),
    "blank": (np.int16, {"BLANK": -32768}, 32767.0),
    "packed": (np.uint16, {}, 65535.0),
    "int32": (np.int32, {}, None),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_top_is_that_of_the_stored_integers(form, tmp_path):
    """Of packed tiles and scaled integers too; a converter does not fill 32 bits."""
    dtype, cards, top = FORMS[form]
    frame, full = lit_frame()
    stored = np.clip(frame, None, np.iinfo(dtype).max)
    if dtype is np.int16:
        stored = np.where(frame == 65535, 32767, stored / 4)
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw/lit.fits"
    header = fits.Header({**CARDS, "AMPTOP": 1.0})
    if form == "packed":
        tiles = fits.CompImageHDU(stored.astype(dtype), header, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(path)
    else:
        fits.writeto(path, stored.astype(dtype), header)
    if cards:
        raw = path.read_bytes().partition(b"END" + b" " * 77)
        more = "".join(fits.Card(key, value).image for key, value in cards.items()).encode()
        text = raw[0].replace(b"END", b"") + more + b"END" + b" " * 77
        path.write_bytes(text.ljust(-(-len(text) // 2880) * 2880) + stored.astype(">i2").tobytes())
    profile = PROFILE.replace("{name: A,", "{name: A, hdu: 1,") if form == "packed" else PROFILE
    done = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": profile}, kinds=("frame",))
    record = done.records["reduced/lit.fits"]
    assert record.status == "made", record.reason
    with fits.open(tmp_path / "results/reduced/lit.fits") as hdus:
        header, image = hdus[-1].header, hdus[-1].data
    verdict = verdicts.verify(
        "reduced/lit.fits",
        raw=tmp_path / "raw",
        results=tmp_path / "results",
        compares_all_rows=True,
    )
    assert (verdict.verdict, verdict.reason) == ("verified", "")
    assert header.get("AMPTOP") == top
    if top is None:
        assert "AMPFULL" not in header
        assert record.data["converter"] == {}
        return
    end = reduction.ConverterEnd.from_record(record.data["converter"]["A"])
    assert header["AMPFULL"] == end.to_text()
    assert np.array_equal(end.full_pixels(image, 0, 0), full)


LOWER_TOPS = {10: 1023, 12: 4095, 14: 16383, 15: 32767}


@pytest.mark.parametrize("is_scaled", [False, True], ids=["as it is", "scaled to 16 bits"])
@pytest.mark.parametrize("bits", LOWER_TOPS)
def test_a_converter_of_fewer_bits_ends_at_its_own_highest_number(bits, is_scaled, tmp_path):
    """Without `saturation` in the profile, only the end of the converter shows its full pixels."""
    rng, top = np.random.default_rng(bits), LOWER_TOPS[bits]
    frame = rng.normal(0.1 * top, 3, (300, 72))
    frame[:, :64] += np.linspace(0, 0.5 * top, 300)[:, None]
    full = np.zeros((300, 64), bool)
    full[rng.integers(0, 300, 30), rng.integers(0, 64, 30)] = True
    frame[:, :64][full] = 2 * top
    raw = np.clip(np.rint(frame), 0, top).astype(np.uint16)
    raw *= 1 << (16 - bits) if is_scaled else 1
    (tmp_path / "raw").mkdir()
    write_raw(tmp_path / "raw/lit.fits", (raw, CARDS))
    run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE}, kinds=("frame",))
    with fits.open(tmp_path / "results/reduced/lit.fits") as hdus:
        header, image = hdus[0].header, hdus[0].data
    assert header["AMPTOP"] == (65536 - (1 << (16 - bits)) if is_scaled else top) == raw.max()
    place = geometry(raw.shape, amplifier("1:64,1:300", "67:72,1:300"))
    (end,) = reduction.reduce_frame({0: (raw, 0)}, place, ReductionRecipe()).converters.values()
    assert header["AMPFULL"] == end.to_text()
    assert np.array_equal(end.full_pixels(image, 0, 0), full)
    verdict = verdicts.verify(
        "reduced/lit.fits",
        raw=tmp_path / "raw",
        results=tmp_path / "results",
        compares_all_rows=True,
    )
    assert (verdict.verdict, verdict.reason) == ("verified", "")


@pytest.mark.parametrize(
    ("highest", "count"), [(4095, 1), (4094, 9), (4096, 9), (65519, 9), (12288, 9)]
)
def test_the_brightest_pixels_of_a_frame_are_no_end_by_chance(highest, count):
    frame = np.full((40, 72), 1000, np.uint16)
    frame[3, 5 : 5 + count] = highest
    frame[9, 5 : 5 + count] = min(highest, 4095) - 5
    place = geometry(frame.shape, amplifier("1:64,1:40", "67:72,1:40"))
    (end,) = reduction.reduce_frame({0: (frame, 0)}, place, ReductionRecipe()).converters.values()
    assert (end.top, end.has_pixels) == (65535.0, False)


def test_a_pixel_above_the_end_of_fewer_bits_refutes_it():
    """Wherever it is: rows before and after it have pixels of that number."""
    for row in (2, 20, 38):
        frame = np.full((40, 72), 1000, np.uint16)
        frame[10:30, 5:9] = 4095
        frame[row, 3] = 4096
        place = geometry(frame.shape, amplifier("1:64,1:40", "67:72,1:40"))
        made = reduction.reduce_frame({0: (frame, 0)}, place, ReductionRecipe())
        (end,) = made.converters.values()
        assert (end.top, end.has_pixels) == (65535.0, False)


def test_very_many_lines_make_no_very_long_card():
    for lines, fewest in (
        (np.arange(0, 4000, 2), 1),
        (np.random.default_rng(1).exponential(25, 1000).cumsum().astype(int), 50),
    ):
        runs = runs_of_lines(np.unique(lines))
        assert fewest <= len(runs) <= 100
        assert len(lines) >= 1000
        assert all(any(low <= line < high for low, high in runs) for line in lines)


@pytest.mark.parametrize(("keyword", "value"), [("AMPTOP", 65534.0), ("AMPFULL", "64000.0")])
def test_another_card_is_found(keyword, value, tmp_path):
    (tmp_path / "raw").mkdir()
    write_raw(tmp_path / "raw/lit.fits", (lit_frame()[0].astype(np.uint16), CARDS))
    run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE}, kinds=("frame",))
    folders = {"raw": tmp_path / "raw", "results": tmp_path / "results", "compares_all_rows": True}
    with fits.open(tmp_path / "results/reduced/lit.fits", mode="update", checksum=True) as hdus:
        hdus[0].header[keyword] = value
    verdict = verdicts.verify("reduced/lit.fits", **folders)
    assert verdict.verdict == "differs"
    assert keyword in verdict.reason
