"""The bad pixels of a night are the same whether its tables are read as bytes or by astropy."""

import io
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from ccdflow.detector.pixels.history import SOURCES
from ccdflow.detector.pixels.response import WeakPixels
from ccdflow.files.fits_products import plain_tables
from ccdflow.kinds.measuring import pixel_tables
from ccdflow.run.job_records import Record

SHAPES = [(31, 40), (17, 23)]
CARDS = [f"FLATOWN{number}" for number in range(len(SHAPES))]


def _image(rng, shape, share, own):
    masks = {s: (rng.random(shape) < share) * np.int16(2) for s in SOURCES}
    low = np.flatnonzero(rng.random(shape) < 5 * share)
    weak = WeakPixels(low, rng.normal(size=low.size).astype(np.float32), own)
    return SimpleNamespace(masks=masks, weak=None if own is None else weak)


def _write(folder, *, share=0.02, owns=(0.123456789, 1), name="pixels.fits"):
    rng = np.random.default_rng(7)
    images = [_image(rng, shape, share, own) for shape, own in zip(SHAPES, owns, strict=True)]
    pixel_tables.write_product(
        SimpleNamespace(results=folder),
        Record(name, "detector", "k" * 16),
        [("NIGHT", "2024-03-01", "night"), *pixel_tables.weak_pixel_cards(images)],
        PIXELS=pixel_tables.bad_pixel_columns(images),
        WEAK=pixel_tables.weak_pixel_columns(images),
    )
    return folder / name


def _equal(one, other):
    tables, cards = one
    assert cards == other[1]
    assert [*map(type, cards.values())] == [*map(type, other[1].values())]
    assert tables.keys() == other[0].keys()
    for name, columns in other[0].items():
        assert tables[name].keys() == columns.keys()
        for column, values in columns.items():
            assert tables[name][column].dtype == values.dtype
            np.testing.assert_array_equal(tables[name][column], values)


@pytest.mark.parametrize("names", [("PIXELS",), ("PIXELS", "WEAK")])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"share": 0},
        {"owns": (None, 1e-12)},
        {"owns": (None, None)},
        {"name": f"detector/{'long' * 30}.fits"},
    ],
)
def test_both_readers_give_the_same(tmp_path, options, names):
    path = _write(tmp_path, **options)
    plain = pixel_tables.read_plain_columns(path, names, CARDS)
    assert plain is not None
    _equal(plain, pixel_tables.read_columns_by_astropy(path, names, CARDS))


@pytest.mark.parametrize("count", [0, 1, 777])
def test_a_table_has_the_bytes_of_astropys(count):
    rng = np.random.default_rng(count)
    columns = {
        "IMAGE": ("I", rng.integers(-9, 9, count)),
        "X": ("J", rng.integers(1, 1 << 30, count)),
        "SIGMA": ("E", rng.normal(size=count).astype(np.float32)),
        "FIRST": ("12A", rng.choice(["2024-03-01", "undated"], count).astype("U12")),
    }
    made = [fits.Column(name, form, array=values) for name, (form, values) in columns.items()]
    hdu = fits.BinTableHDU.from_columns(made, name="PIXELS")
    hdu.add_checksum(when="by hand")
    hdus, buffer = fits.HDUList([fits.PrimaryHDU(), hdu]), io.BytesIO()
    hdus.writeto(buffer)
    table = plain_tables.table_hdu("PIXELS", columns, comments=("by hand", "by hand"))
    assert b"".join(table) == buffer.getvalue()[2880:]


def test_the_bad_pixels_are_those_that_were_written(tmp_path, monkeypatch):
    path = _write(tmp_path)
    seen = [pixel_tables.read_night_bad_pixels(path, "n", ["dark"], SHAPES, reads_weak_pixels=True)]
    monkeypatch.setattr(pixel_tables, "read_plain_columns", lambda *_: None)
    seen.append(
        pixel_tables.read_night_bad_pixels(path, "n", ["dark"], SHAPES, reads_weak_pixels=True)
    )
    rng = np.random.default_rng(7)
    for number, shape in enumerate(SHAPES):
        truth = _image(rng, shape, 0.02, (0.123456789, 1)[number])
        bad = np.flatnonzero(np.bitwise_or.reduce([*truth.masks.values()]))
        assert bad.size > 10
        for images in seen:
            one = images[number]
            np.testing.assert_array_equal(one.index, bad)
            np.testing.assert_array_equal(one.bits["flat"], truth.masks["flat"].ravel()[bad])
            np.testing.assert_array_equal(one.weak.index, truth.weak.index)
            np.testing.assert_array_equal(one.weak.sigma, truth.weak.sigma)
            assert one.weak.noise_fraction == truth.weak.noise_fraction


DAMAGES = {
    "the padding is cut": lambda content: content[:-1],
    "rows are cut": lambda content: content[:-2880],
    "more follows": lambda content: content + b"\0" * 2880,
    "nothing": lambda content: b"",
    "a header only": lambda content: content[:2880],
    "more rows than bytes": lambda content: re.sub(
        rb"NAXIS2  = {10}", b"NAXIS2  = 9999999999", content, count=1
    ),
    "many columns": lambda content: content.replace(
        b"TFIELDS =                    7", b"TFIELDS =           9999999999"
    ),
    "another type": lambda content: content.replace(b"'I       '", b"'2A      '", 1),
    "a number with a point": lambda content: content.replace(
        b"PCOUNT  =                    0", b"PCOUNT  =                  0.0", 1
    ),
    "a scaled column": lambda content: content.replace(b"CHECKSUM= ", b"TZERO1  = ", 2),
    "an umlaut": lambda content: content.replace(b"number of table", b"n\xfcmber of table", 1),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_table_that_was_changed_is_left_to_astropy(tmp_path, how):
    path = _write(tmp_path)
    before = path.read_bytes()
    path.write_bytes(DAMAGES[how](before))
    assert path.read_bytes() != before
    assert pixel_tables.read_plain_columns(path, ("PIXELS", "WEAK"), CARDS) is None


def test_a_missing_file_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        pixel_tables.read_night_bad_pixels(tmp_path / "none.fits", "n", [], SHAPES)


def test_both_readers_agree_on_a_header_with_any_byte_changed(tmp_path):
    path = _write(tmp_path)
    content = path.read_bytes()
    with fits.open(path) as hdus:
        starts = [hdu.fileinfo()["hdrLoc"] for hdu in hdus]
        lengths = [len(hdu.header) * 80 for hdu in hdus]
    rng, plain = np.random.default_rng(11), 0
    for _ in range(150):
        hdu = rng.integers(len(starts))
        at = starts[hdu] + rng.integers(lengths[hdu])
        changed = bytearray(content)
        changed[at] = rng.choice(list(b" 0123456789'=/AEIJTX\x00\xfc"))
        path.write_bytes(changed)
        table = pixel_tables.read_plain_columns(path, ("PIXELS", "WEAK"), CARDS)
        if table is not None:
            plain += 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _equal(table, pixel_tables.read_columns_by_astropy(path, ("PIXELS", "WEAK"), CARDS))
    assert 20 < plain < 140
