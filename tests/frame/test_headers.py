"""Every card of a product is true: cards on its reduction are there, outdated cards are not."""

import gzip
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from small_frames import amplifier, bias_cards, biases, run_jobs, write_raw

from ccdflow.files.fits_products.hdus import version_cards
from ccdflow.files.header_text import CardList, card_text, printable_text
from ccdflow.frame import placement

PROFILE = """\
recognise: {INSTRUME: TESTCAM}
amplifiers:
  - {name: A, data: {python: '[:, 0:64]'}, overscan: {python: '[:, 66:]'}, gain: 1.5}
"""
VERSIONS = ["CCDFLOW", "CCDPVER", "ASTRPVER", "NUMPYVER"]
SUMS = ["CHECKSUM", "DATASUM"]


def reduced_hdus(tmp_path, *, name="raw.fits.gz", profile=PROFILE, **config):
    """The reduced frame of the one raw file in a folder."""
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": profile}, **config)
    (record,) = run.records.values()
    assert record.status == "made", record.reason
    return run.open(f"reduced/{name.removesuffix('.gz').removesuffix('.fz')}"), record


def primary_header(tmp_path, cards=(), *, pixels=None, more=(), name="raw.fits.gz", **options):
    """The primary header of the product of a frame with these cards beside the usual ones."""
    pixels = next(biases(1)) if pixels is None else pixels
    cards = {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT", **dict(cards)}
    write_raw(tmp_path / "raw" / name, (pixels, cards), more=more)
    return reduced_hdus(tmp_path, name=name, **options)[0][0].header


def values(header):
    """Return keyword and value of each card."""
    return [(card.keyword, card.value) for card in header.cards]


# -- the cards of the reduction ------------------------------------------------------------------


def test_a_frame_of_one_amplifier_card_for_card(tmp_path):
    cards = {
        "DATE": "2020-03-02",
        "GAIN": 1.7,
        "BIASSEC": "[65:72,1:40]",
        "TRIMSEC": "[1:64,1:40]",
        "DATASEC": "[1:64,1:40]",
        "CCDSEC": "[1:64,1:40]",
        "FILTER": "g'",
    }
    header = primary_header(tmp_path, cards)
    fingerprint = header["RAWFP"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", fingerprint)
    assert re.fullmatch(r"[0-9a-f]{16}", header["CCDFKEY"])
    frame = next(biases(1))
    levels = np.median(frame[:, 66:], axis=1)
    assert values(header) == [
        ("SIMPLE", True),
        ("BITPIX", -32),
        ("NAXIS", 2),
        ("NAXIS1", 64),
        ("NAXIS2", 40),
        ("EXTEND", True),
        ("INSTRUME", "TESTCAM"),
        ("IMAGETYP", "FLAT"),
        ("RAWDATE", "2020-03-02"),
        ("GAIN", 1.7),
        ("FILTER", "g'"),
        *((keyword, value) for keyword, value, _ in version_cards()),
        ("RAWFILE", "raw.fits.gz"),
        ("RAWFP", fingerprint),
        ("CCDFKEY", header["CCDFKEY"]),
        ("CCDFCAM", "test"),
        ("OSCSTAT", "median"),
        ("NAMPS", 1),
        ("OVERSCAN", "[67:72,1:40]"),
        ("OSCAXIS", "rows"),
        ("BIASLVL", float(f"{levels.mean():.6g}")),
        ("OVERRMS", pytest.approx(4.0, rel=0.15)),
        ("TRIM", "[1:64,1:40]"),
        ("AMPTOP", 65535.0),
        ("AMPGAIN", 1.5),
        ("DATASEC", "[1:64,1:40]"),
        ("CCDSEC", "[1:64,1:40]"),
        ("LTV1", 0.0),
        ("LTV2", 0.0),
        ("LTM1_1", 1.0),
        ("LTM2_2", 1.0),
        ("BUNIT", "adu"),
        *((keyword, header[keyword]) for keyword in SUMS),
    ]


def test_two_amplifiers_and_a_model_add_their_cards(tmp_path):
    profile = """\
recognise: {INSTRUME: TESTCAM}
amplifiers:
  - {name: left, data: {python: '[:, 2:32]'}, overscan: {python: '[:, 64:68]'}, gain: 1.2}
  - {name: "the right", data: {python: '[:, 32:60]'}, overscan: [{python: '[:, 68:]'}, {python: '[:, 0:2]'}]}
reduction: {model: spline, order: 2}
"""  # noqa: E501
    header = primary_header(tmp_path, {"GAIN01": 9.0, "AMPNAM03": "old"}, profile=profile)
    cards = {k: v for k, v in values(header) if k[-2:] in ("01", "02", "03") or k.startswith("OSC")}
    levels = cards.pop("BIASLV01"), cards.pop("BIASLV02")
    noises = cards.pop("OVRRMS01"), cards.pop("OVRRMS02")
    assert levels == (pytest.approx(1000, abs=1), pytest.approx(1000, abs=1))
    assert noises == (pytest.approx(4, rel=0.2), pytest.approx(4, rel=0.2))
    assert cards == {
        "OSCSTAT": "median",
        "OSCMODEL": "spline",
        "OSCORDER": 2,
        "OSCSIGMA": 3.0,
        "OSCITERS": 3,
        "AMPNAM01": "left",
        "DATSEC01": "[1:30,1:40]",
        "OVERSC01": "[65:68,1:40]",
        "OSCAXI01": "rows",
        "OSCAXI02": "rows",
        "TRIM01": "[3:32,1:40]",
        "GAIN01": 1.2,
        "AMPNAM02": "the right",
        "DATSEC02": "[31:58,1:40]",
        "OVERSC02": "[69:72,1:40] [1:2,1:40]",
        "TRIM02": "[33:60,1:40]",
        "AMPTOP01": 65535.0,
        "AMPTOP02": 65535.0,
    }
    assert header["NAMPS"] == 2
    assert not {"OVERSCAN", "TRIM", "BIASLVL", "OVERRMS", "GAIN"} & set(header)
    assert header["DATASEC"] == "[1:58,1:40]"


def test_trimmed_only_and_left_whole_do_not_claim_more(tmp_path):
    cards = {"BIASSEC": "[65:72,1:40]", "DATASEC": "[1:64,1:40]", "CRPIX1": 5.0, "COVER": 8}
    header = primary_header(tmp_path, cards, reduction={"subtract": False})
    assert not {"OVERSCAN", "BIASLVL", "OVERRMS", "OSCSTAT", "BIASSEC", "COVER"} & set(header)
    assert header["TRIM"] == "[1:64,1:40]"
    header = primary_header(tmp_path, cards, reduction={"trim": False})
    assert not {"TRIM", "LTV1"} & set(header)
    assert header["OVERSCAN"] == "[67:72,1:40]"
    # Nothing was cut: the cards on the raw array are still true.
    assert {k: header[k] for k in cards} == cards


def test_amplifiers_without_signal_are_flagged(tmp_path):
    frame = np.array(next(biases(1)))
    frame[:, 32:64] = 65535
    profile = PROFILE + "  - {name: B, data: {python: '[:, 32:64]'}}\n"
    profile = profile.replace("0:64", "0:32")
    write_raw(tmp_path / "raw/raw.fits", (frame, {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT"}))
    hdus, record = reduced_hdus(tmp_path, name="raw.fits", profile=profile)
    assert hdus[0].header["AMPBAD02"] == "saturated"
    assert "AMPBAD01" not in hdus[0].header
    assert record.data["flags"] == {"B": "saturated"}


# -- the cards of the raw frame ------------------------------------------------------------------


def test_cards_of_every_kind_survive(tmp_path):
    long = "a text that is far longer than one card has room for, " * 4
    more = [
        "HIERARCH ESO DET CHIP1 NAME = 'CCD-44  ' / Detector",
        "COMMENT   first",
        "OBSTYPE = 'DARK    '           / what was observed",
        "HISTORY   flat-fielded by nobody",
        "        an unnamed remark",
        "OBSTYPE =                    0 / an index",
        "COMMENT   second",
        "UNDEF   =",
        "OBSERVER= 'O''Brien'",
        "BIG     =          12345678901",
        "TINY    =             -1.5E-17 / with an exponent",
        "FLAG    =                    T",
        "ESO-LOG= 'no standard format'",
    ]
    header = primary_header(tmp_path, {"LONGTEXT": long}, more=more)
    assert header["LONGTEXT"] == long.rstrip()
    assert header["ESO DET CHIP1 NAME"] == "CCD-44"
    assert header.comments["ESO DET CHIP1 NAME"] == "Detector"
    assert header["OBSTYPE", 0] == "DARK"
    assert header["OBSTYPE", 1] == 0
    assert list(header["COMMENT"]) == ["  first", "  second"]
    assert list(header["HISTORY"]) == ["  flat-fielded by nobody"]
    assert [text for text in header[""] if text] == ["an unnamed remark"]
    assert header["UNDEF"] is None
    assert (header["OBSERVER"], header["BIG"], header["FLAG"]) == ("O'Brien", 12345678901, True)
    assert header["TINY"] == -1.5e-17
    assert header["LONGSTRN"].startswith("OGIP")


def test_cards_that_are_not_fits_stay_as_they_are(tmp_path):
    """Astropy would change three of them, and would fail at two."""
    odd = [
        "GRATING = 1800 l/mm / lines",
        "lower   = 3",
        "NOVALUE   is this",
        "NUMBER  =        ,    014E",
        "CONTINUE= 'of a number'",
        "HIERARCH no equals sign",
        "",
        "LAST    =                    T",
    ]
    path = write_raw(
        tmp_path / "raw/raw.fits", (next(biases(1)), {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT"})
    )
    text = "".join(f"{card:<80}" for card in [*odd, "END"]).encode()
    data = path.read_bytes()
    end = data.index(b"END" + b" " * 77)
    path.write_bytes(data[:end] + text + data[end + len(text) :])
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE})
    assert text[:-80].rstrip() in (run.results / "reduced/raw.fits").read_bytes()


def test_bytes_that_are_not_ascii_do_not_cost_the_frame(tmp_path):
    path = write_raw(
        tmp_path / "raw/raw.fits",
        (next(biases(1)), {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT", "OBSERVER": "Mueller"}),
    )
    path.write_bytes(path.read_bytes().replace(b"Mueller", "M\u00fcller".encode()))
    hdus, _ = reduced_hdus(tmp_path, name="raw.fits")
    assert hdus[0].header["OBSERVER"] == "M??ller"


@pytest.mark.parametrize(
    ("unit", "unit_written"), [("ADU", "adu"), ("DN", "adu"), ("electron", "electron"), ("", "adu")]
)
def test_the_unit_is_that_of_the_raw_pixels(unit, unit_written, tmp_path):
    assert primary_header(tmp_path, {"BUNIT": unit})["BUNIT"] == unit_written


def test_cards_on_the_storage_of_the_raw_array_are_left_out(tmp_path):
    pixels = next(biases(1)).astype("int32")
    cards = {"DATAMIN": 3, "DATAMAX": 9999, "BLANK": -5, "CHECKSUM": "x", "DATASUM": "1"}
    header = primary_header(tmp_path, cards, pixels=pixels)
    assert not {"DATAMIN", "DATAMAX", "BLANK", "BZERO", "BSCALE"} & set(header)
    assert header["BITPIX"] == -32


@pytest.mark.parametrize("date", [{}, {"RAWDATE": "1999-01-01"}])
def test_no_card_says_when_the_product_was_written(date, tmp_path):
    header = primary_header(tmp_path, {"DATE": "2020-03-02T01:02:03", **date})
    assert "DATE" not in header
    assert header["RAWDATE"] == date.get("RAWDATE", "2020-03-02T01:02:03")


@pytest.mark.parametrize("name", ["ä b'c.fits", "50% {off}; it\\'s.fits", "x" * 90 + ".fits"])
def test_the_raw_file_is_named_whatever_its_name(name, tmp_path):
    header = primary_header(tmp_path, name=name)
    assert header["RAWFILE"] == printable_text(name)
    assert printable_text("ä b'c.fits") == "%C3%A4 b'c.fits"
    assert printable_text("50%") == "50%25"


def test_compressed_tiles_become_the_product_of_the_plain_frame(tmp_path):
    frame = next(biases(1))
    cards = {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT", "FILTER": "R", "BIASSEC": "[65:72,1:40]"}
    write_raw(tmp_path / "plain/raw/raw.fits", (frame, cards))
    (tmp_path / "tiled/raw").mkdir(parents=True)
    tiled = fits.CompImageHDU(frame, fits.Header(cards), name="COMPRESSED_IMAGE")
    fits.HDUList([fits.PrimaryHDU(), tiled]).writeto(tmp_path / "tiled/raw/raw.fits.fz")
    profile = PROFILE.replace("name: A", "name: A, hdu: 1")
    got, _ = reduced_hdus(tmp_path / "tiled", name="raw.fits.fz", profile=profile)
    wanted, _ = reduced_hdus(tmp_path / "plain", name="raw.fits")
    np.testing.assert_array_equal(got[0].data, wanted[0].data)
    assert got[0].header["AMPHDU"] == 1
    other = {"RAWFILE", "RAWFP", "CCDFKEY", "AMPHDU", *SUMS}
    plain_cards = {k: v for k, v in values(wanted[0].header) if k not in other}
    assert {"INSTRUME", "FILTER"} <= plain_cards.keys()
    assert {k: v for k, v in values(got[0].header) if k not in other} == plain_cards


def test_compressed_tiles_that_stay_an_extension_lose_the_tables_name(tmp_path):
    (tmp_path / "raw").mkdir()
    cards = {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT", "DATASEC": "[1:64,1:40]"}
    hdus = [fits.PrimaryHDU(header=fits.Header(cards))]
    for frame in biases(2):
        hdus.append(fits.CompImageHDU(frame, fits.Header(cards)))
    fits.HDUList(hdus).writeto(tmp_path / "raw/raw.fits.fz")
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {}, reduction={"layout": "extensions"})
    with run.open("reduced/raw.fits") as product:
        assert [hdu.name for hdu in product] == ["PRIMARY", "", ""]
        assert product[1].header
        assert not [k for k in product[1].header if re.match(r"Z[A-Z]|T(TYPE|FORM|FIELDS)", k)]
        np.testing.assert_array_equal(product[2].data, frame[:, :64])


# -- several HDUs --------------------------------------------------------------------------------

CORNERS = {
    # EXTNAME: section of the chip; AMP2 and AMP4 are read from the right, AMP3 and AMP4 from above
    "AMP1": "[1:64,1:40]",
    "AMP2": "[128:65,1:40]",
    "AMP3": "[1:64,80:41]",
    "AMP4": "[128:65,80:41]",
}


TESTCAM = "recognise: {INSTRUME: TESTCAM}"


def mosaic(path, *, crpix_off=0.0):
    """A frame of four amplifiers, each an extension with its own world coordinates."""
    hdus = [(None, {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT", "DATE": "2020-01-01", "NEXTEND": 4})]
    for number, (frame, (name, section)) in enumerate(
        zip(biases(4), CORNERS.items(), strict=True), start=1
    ):
        x, y = re.findall(r"(\d+):\d+", section)
        sx, sy = (-1 if number in (2, 4) else 1), (-1 if number > 2 else 1)
        hdus.append((
            frame,
            {
                "EXTNAME": name, "EXTVER": number, "INHERIT": True, "DATE": "2020-01-01",
                "DETSEC": section, "CCDSEC": section, "AMPSEC": "[1:64,1:40]",
                "DATASEC": "[1:64,1:40]", "BIASSEC": "[67:72,1:40]", "CCDSUM": "1 1",
                "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0,
                # Star at pixel (70.5, 30.25) of the chip; x of the chip = x0 + sx (x - 1)
                "CRPIX1": 1 + sx * (70.5 - int(x)) + crpix_off * (number == 3),
                "CRPIX2": 1 + sy * (30.25 - int(y)),
                "CD1_1": -5e-5 * sx, "CD1_2": 1e-6 * sy, "CD2_1": 1e-6 * sx, "CD2_2": 5e-5 * sy,
            },
        ))  # fmt: skip
    return write_raw(path, *hdus)


def test_four_extensions_become_one_image_with_one_sky(tmp_path):
    path = mosaic(tmp_path / "raw/raw.fits.gz")
    hdus, _ = reduced_hdus(tmp_path, profile=TESTCAM)
    assert len(hdus) == 1
    header = hdus[0].header
    assert hdus[0].data.shape == (80, 128)
    assert (header["DETSEC"], header["CCDSEC"]) == ("[1:128,1:80]",) * 2
    assert header["DATASEC"] == "[1:128,1:80]"
    assert not {"BIASSEC", "AMPSEC", "EXTNAME", "EXTVER", "INHERIT", "NEXTEND"} & set(header)
    assert not {"LTV1", "LTM1_1", "DATE"} & set(header)
    assert [header[f"AMPNAM0{n}"] for n in (1, 2, 3, 4)] == list(CORNERS)
    assert [header[f"DATSEC0{n}"] for n in (1, 3)] == ["[1:64,1:40]", "[1:64,41:80]"]
    sky = WCS(header).pixel_to_world_values
    with fits.open(path) as raw:
        for number, (x, y) in enumerate([(10, 20), (100, 20), (10, 70), (100, 70)], start=1):
            chip = re.findall(r"(\d+):(\d+)", CORNERS[f"AMP{number}"])
            # The raw column and row of a pixel of the chip, both from 0.
            column, row = (
                abs(p - (int(start) - 1)) for p, (start, _) in zip((x, y), chip, strict=True)
            )
            own = WCS(raw[number].header).pixel_to_world_values(column, row)
            np.testing.assert_allclose(sky(x, y), own, rtol=0, atol=1e-10)
            level = np.median(raw[number].data[row, 66:])
            assert hdus[0].data[y, x] == raw[number].data[row, column] - level


def test_amplifiers_that_do_not_agree_on_the_sky_leave_none(tmp_path):
    mosaic(tmp_path / "raw/raw.fits.gz", crpix_off=3.0)
    header = reduced_hdus(tmp_path, profile=TESTCAM)[0][0].header
    assert not [k for k in header if re.match(r"CRPIX|CRVAL|CTYPE|CD\d", k)]
    history = "ccdflow: world coordinates that do not hold for this image left out"
    assert header["HISTORY"][0] == history


def test_extensions_that_are_kept_stay_unchanged(tmp_path):
    path = mosaic(tmp_path / "raw/raw.fits.gz")
    reduction = {"layout": "extensions", "mask": True}
    hdus, _ = reduced_hdus(tmp_path, profile=TESTCAM, reduction=reduction)
    names = [*CORNERS, "MASK1", "MASK2", "MASK3", "MASK4"]
    assert [hdu.name for hdu in hdus] == ["PRIMARY", *names]
    assert hdus[0].data is None
    assert hdus[0].header["RAWFILE"] == "raw.fits.gz"
    assert hdus[0].header["OSCSTAT"] == "median"
    with fits.open(path) as raw:
        for number in (1, 2, 3, 4):
            header, before = hdus[number].header, raw[number].header
            kept = ["EXTVER", "INHERIT", "DETSEC", "CCDSEC", "AMPSEC", "DATASEC", "CRPIX1", "CD1_1"]
            assert {k: header[k] for k in kept} == {k: before[k] for k in kept}
            assert header["OVERSCAN"] == "[67:72,1:40]"
            assert header["TRIM"] == "[1:64,1:40]"
            assert not {"BIASSEC", "DATE"} & set(header)
            level = np.median(raw[number].data[:, 66:], axis=1)[:, None].astype("f4")
            np.testing.assert_array_equal(hdus[number].data, raw[number].data[:, :64] - level)
            assert hdus[f"MASK{number}"].data.max() == 0


def test_one_extension_becomes_the_primary_with_the_cards_of_both(tmp_path):
    frame = next(biases(1))
    primary = {"INSTRUME": "TESTCAM", "IMAGETYP": "FLAT", "OBJECT": "dome", "EXPTIME": 3.0}
    extension = {"EXTNAME": "chip", "INHERIT": True, "GAIN": 1.5, "OBJECT": "not this"}
    write_raw(tmp_path / "raw/raw.fits", (None, primary), (frame, extension))
    profile = PROFILE.replace("name: A", "name: A, hdu: 1")
    for trim in (True, False):
        hdus, _ = reduced_hdus(tmp_path, name="raw.fits", profile=profile, reduction={"trim": trim})
        assert len(hdus) == 1
        header = hdus[0].header
        assert (header["OBJECT"], header["EXPTIME"], header["GAIN"]) == ("dome", 3.0, 1.5)
        assert not {"EXTNAME", "INHERIT"} & set(header)
        assert hdus[0].data.shape == (40, 64 if trim else 72)


# -- sections and coordinates --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "data", "section"),
    [
        # The kept pixels are those of DATASEC, or fewer, and so fewer of the chip.
        ({"DATASEC": "[1:64,1:40]", "CCDSEC": "[101:164,1:40]"}, "1:64,1:40", "[101:164,1:40]"),
        ({"DATASEC": "[1:64,1:40]", "CCDSEC": "[101:164,1:40]"}, "5:60,3:40", "[105:160,3:40]"),
        ({"DATASEC": "[3:66,1:40]", "CCDSEC": "[1:64,1:40]"}, "5:60,1:40", "[3:58,1:40]"),
        # Binned 2 x 4, and read backwards.
        ({"DATASEC": "[1:64,1:40]", "CCDSEC": "[1:128,1:160]"}, "5:60,3:40", "[9:120,9:160]"),
        ({"DATASEC": "[1:64,1:40]", "CCDSEC": "[64:1,1:40]"}, "5:60,3:40", "[60:5,3:40]"),
        # Without DATASEC the section is that of TRIMSEC, or of the whole array.
        ({"TRIMSEC": "[2:65,1:40]", "CCDSEC": "[1:64,1:40]"}, "2:65,2:40", "[1:64,2:40]"),
        ({"CCDSEC": "[1:72,1:40]"}, "5:60,3:40", "[5:60,3:40]"),
        # Beyond the chip, with a binning that is not whole, or unreadable: there is no section.
        ({"DATASEC": "[5:68,1:40]", "CCDSEC": "[1:64,1:40]"}, "3:60,1:40", ""),
        ({"DATASEC": "[1:64,1:40]", "CCDSEC": "[1:100,1:40]"}, "1:64,1:40", ""),
        ({"DATASEC": "[1:64,1:40]", "CCDSEC": "everywhere"}, "1:64,1:40", ""),
        ({"DATASEC": "[1:64,1:40]"}, "1:64,1:40", ""),
    ],
)
def test_sections_of_the_chip_follow_the_kept_pixels(cards, data, section):
    header = fits.Header({"NAXIS": 2, "NAXIS1": 72, "NAXIS2": 40} | cards)
    one = amplifier(data)
    assert placement.detector_section([header], (one,), one.place.shape, "CCDSEC") == section


def test_an_amplifier_that_was_turned_gives_a_section_in_the_orientation_of_the_product():
    header = fits.Header({"NAXIS": 2, "NAXIS1": 72, "NAXIS2": 40, "DATASEC": "[1:64,1:40]"})
    header["DETSEC"] = "[64:1,1:40]"
    one = amplifier("5:60,3:40", is_flipped_x=True)
    assert placement.detector_section([header], (one,), (38, 56), "DETSEC") == "[5:60,3:40]"


STALE_CARDS = """
BIASSEC TRIMSEC DATASEC CCDSEC DETSEC AMPSEC BIASSEC2 DATASEC11 BSEC11 TSEC21 ASEC12 CSEC1 DSECA
BIASSEC_1 PRESECA POSTSECB RTDATSEC COVER ROVER PRESCAN OVERSCAN POSTPIX PRECOL PRELINE LTV1 LTM1_2
NBIASCOL S_EFMN11 T_OSMX12 OVSCNX OSCANCOL PRESCN3 PSTSCN HPRESC X_OVRSC
"""
# TSEC is Lick's clock, not a section of somebody's amplifier.
NOT_STALE = """TSEC BSEC DETSIZE CCDSIZE CCDSUM ROISEC COVERAGE AMPNAME SECZ EXPTIME
PRESCALE AIRPRESS OBSCAN CONSOLE NBINS
"""


@pytest.mark.parametrize("keyword", [*STALE_CARDS.split(), "ESO DET OUT1 OVSCX"])
def test_numbers_of_the_raw_array_are_known(keyword):
    assert placement.is_about_raw_pixels(keyword)


@pytest.mark.parametrize("keyword", [*NOT_STALE.split(), "ESO DET OUT1 NX"])
def test_cards_that_are_not_about_raw_pixels_are_left_alone(keyword):
    assert not placement.is_about_raw_pixels(keyword)


SECTION = "'[1:40,1:24]'"


@pytest.mark.parametrize("keyword", ["MYAREA", "DATSEC", "IMGREG", "OUT-SEC", "BIASREG", "E_LEFT"])
@pytest.mark.parametrize("value", [SECTION, "'[ 1: 40, 1: 24]' / at the left", "[1:40,1:24]"])
def test_a_section_is_about_the_raw_array_whatever_its_card_is_called(keyword, value):
    assert placement.is_about_raw_pixels(keyword, f"{keyword:<8}= {value}".ljust(80))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        # The size of the chip and the window that was read hold for the product.
        *((name, SECTION) for name in ("DETSIZE", "CCDSIZE", "WINSEC1", "ROISEC", "SUBRECT")),
        ("TITLE", "'star at [1:40,1:24]'"), ("SLIT", "'[1:40]'"), ("NOTE", "1.0 / [1:40,1:24]"),
        ("COORDS", "'[1:40,1:24] of 3'"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_section_of_the_raw_array_stays(keyword, value):
    assert not placement.is_about_raw_pixels(keyword, f"{keyword:<8}= {value}".ljust(80))


OWN_NAMES = """
DATSEC DATSEC01 AMPGAIN GAIN01 GAIN12 TRIM TRIM03 AMPSAT AMPTOP AMPFULL AMPHDU AMPNAM02 OVERSC01
BIASLVL BIASLV01 OVERRMS OSCSTAT AMPBAD RAWFILE
"""


def test_raw_cards_that_the_product_would_own_or_that_are_of_the_raw_array_are_left_out(tmp_path):
    cards = {"BIASSEC": "[33:40,1:24]", "TRIMSEC": "[1:32,1:24]", "INSTRUME": "PROBE",
             "IMAGETYP": "object", "DATE-OBS": "2024-03-10T04:00:00", "LONGITUD": -111.6,
             "EXPTIME": 5.0}  # fmt: skip
    stale = {name: "[1:40,1:24]" for name in ("MYAREA", "OUTSEC")} | {"NBIASCOL": 8, "OVSCNX": 8}
    own = dict.fromkeys(OWN_NAMES.split(), "raw")
    kept = {"DETSIZE": "[1:64,1:48]", "WINSEC1": "[1:40,1:24]", "GAIN1": 7.5, "MYNOTE": "raw"}
    image = np.random.default_rng(1).normal(1000, 4, (24, 40)).astype("u2")
    write_raw(tmp_path / "raw" / "a.fits", (image, cards | stale | own | kept))
    run = run_jobs(
        tmp_path / "raw", tmp_path / "results",
        {"probe": "recognise: {INSTRUME: PROBE}\ngain: 2.5\nraw: true\n"}, kinds=("frame",),
    )  # fmt: skip
    with run.open("reduced/a.fits") as hdus:
        header = hdus[0].header
    assert {name: header.get(name) for name in kept} == kept
    assert [name for name in stale if name in header] == []
    assert len(own) == 19
    assert [name for name in own if header.get(name) == "raw"] == []
    assert (header["AMPGAIN"], header["TRIM"]) == (2.5, "[1:32,1:24]")
    assert "DATSEC" not in header


def placed_header(raw, one):
    """The world and physical coordinates of the product of an amplifier."""
    header = fits.Header({"NAXIS": 2, "NAXIS1": 72, "NAXIS2": 40} | raw)
    cards = CardList.parse(header.tostring()).copy_without(placement.is_about_raw_pixels)
    placement.correct_cards(cards, [header], (one,), one.place.shape)
    text = "".join(text for _, text in cards)
    return fits.Header.fromstring(text)


TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 20.0, "CRVAL2": -5.0,
       "CRPIX1": 31.5, "CRPIX2": 12.0}  # fmt: skip
SKIES = {
    "CD": TAN | {"CD1_1": -1e-4, "CD1_2": 2e-5, "CD2_1": 2e-5, "CD2_2": 1e-4},
    "PC": TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4, "PC1_1": 0.9, "PC1_2": -0.3, "PC2_1": 0.3,
                 "PC2_2": 0.9},
    "PC in part": TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4, "PC1_2": -0.3},
    "CDELT": TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4},
    "CROTA": TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4, "CROTA2": 25.0},
    "linear": {"CRVAL1": 4000.0, "CDELT1": 1.25, "CRPIX1": 3.0, "CTYPE1": "WAVE", "CUNIT1": "nm",
               "CTYPE2": "LINEAR"},
    "no CRPIX": TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4, "CRPIX1": 0.0, "CRPIX2": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("sky", SKIES)
def test_a_pixel_keeps_its_place_in_the_sky_and_on_the_chip(sky, flips):
    raw = dict(SKIES[sky])
    if sky == "no CRPIX":
        del raw["CRPIX1"], raw["CRPIX2"]
    one = amplifier("5:60,3:40", is_flipped_x=flips[0], is_flipped_y=flips[1])
    header = placed_header(raw | {"LTV1": 100.0, "LTM1_1": 0.5}, one)
    x, y = np.array([4.0, 17.0, 59.0]), np.array([2.0, 30.0, 39.0])  # raw, from 0
    at = (59 - x if flips[0] else x - 4), (39 - y if flips[1] else y - 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = WCS(fits.Header(raw | {"NAXIS": 2})).pixel_to_world_values(x, y)
        after = WCS(header).pixel_to_world_values(*at)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-11 * np.max(np.abs(before)))
    physical = ((x + 1) - 100.0) / 0.5, y + 1
    for axis in (1, 2):
        image = header[f"LTM{axis}_{axis}"] * physical[axis - 1] + header[f"LTV{axis}"]
        np.testing.assert_allclose(image, at[axis - 1] + 1)


def test_alternative_coordinates_move_too_and_other_cards_are_left_as_they_are():
    raw = {"CRPIX1": 9.0, "CRPIX1B": 7.0, "CRVAL1B": 3.0, "CRVAL2U": 1260, "CDELT2U": -1}
    header = placed_header(raw, amplifier("5:60,1:40"))
    # A CRPIX that is absent is 0.
    assert [header[f"CRPIX1{version}"] for version in ("", "B", "U")] == [5.0, 3.0, -4.0]
    assert not {"CRPIX2", "CRPIX2B", "CRPIX2U"} & set(header)


@pytest.mark.parametrize("flip", [True, False])
def test_unreadable_coordinates_go_where_sound_ones_would_move(flip):
    raw = SKIES["CD"] | {"CRPIX1": "in the middle"}
    header = placed_header(raw, amplifier("5:60,1:40", is_flipped_x=flip))
    assert not {"CRPIX1", "CTYPE1", "CD1_1"} & set(header)
    assert placed_header(raw, amplifier("1:60,1:40"))["CRPIX1"] == "in the middle"


def test_distortions_hold_when_trimmed_and_go_when_turned():
    raw = SKIES["CD"] | {"A_ORDER": 2, "A_2_0": 1e-6, "B_ORDER": 2, "B_0_2": 1e-6}
    assert placed_header(raw, amplifier("5:60,1:40"))["A_2_0"] == 1e-6
    header = placed_header(raw, amplifier("5:60,1:40", is_flipped_x=True))
    assert not {"A_ORDER", "B_0_2", "CRPIX1", "CTYPE1"} & set(header)


# -- the text of cards ---------------------------------------------------------------------------


def test_a_comment_that_has_no_room_is_left_out():
    assert "/" not in card_text("OVERSCAN", "[2056:2080,1:4128] " * 3, "raw pixels of the overscan")
    text = card_text("OVERSCAN", "[1:2,3:4] " * 20, "comment")
    assert len(text) % 80 == 0
    assert fits.Card.fromstring(text).value == ("[1:2,3:4] " * 20).rstrip()


@pytest.mark.parametrize("value", [1.0, 123456, True, "text", -1.2345678901234e-101])
def test_no_comment_is_cut(value):
    """A comment is left out where there is no room, or its unit is."""
    for size in range(1, 80):
        for unit in ("", "[adu] ", "[photons per second and square arcsecond] "):
            text = card_text("KEY", value, f"{unit}{'c' * size}")
            assert len(text) == 80
            comment = text.partition(" / ")[2].rstrip()
            assert comment in (f"{unit}{'c' * size}", "c" * size, "")
            room = 80 - max(30, len(card_text("KEY", value).rstrip())) - 3
            assert len(comment) == max(n for n in (0, size, len(unit) + size) if n <= room)


@pytest.mark.parametrize("length", range(60, 75))
def test_a_doubled_quote_is_not_cut_in_two(length):
    """Each piece of a text that goes on is a whole string of FITS."""
    value = printable_text("x" * length + "'a''b" * 30)
    text = card_text("RAWFILE", value)
    cards = [text[start : start + 80] for start in range(0, len(text), 80)]
    pieces = [re.fullmatch(r"'((?:[^']|'')*)' *", card[10:])[1] for card in cards]
    assert {card[:8].strip() for card in cards[1:]} == {"CONTINUE"}
    assert len(pieces) > 1
    assert all(piece.endswith("&") for piece in pieces[:-1])
    whole = "".join(piece[:-1] for piece in pieces[:-1]) + pieces[-1]
    assert whole.replace("''", "'") == value
    assert fits.Card.fromstring(text).value == value


@pytest.mark.parametrize("name", ["dogs' run/a.fits", "a'/b.fits", "a&", "''  '/x", "it's & so"])
def test_letters_that_astropy_takes_for_the_end_of_a_text_are_written_as_numbers(name):
    text = card_text("RAWFILE", printable_text(name))
    assert unquote(fits.Card.fromstring(text).value) == name
    assert printable_text("it's & so") == "it's & so"


def test_equal_numbers_of_different_types_are_different_cards():
    assert [card_text("N", value)[10:30].strip() for value in (1, 1.0, True)] == ["1", "1.0", "T"]


def test_there_is_no_negative_zero():
    cards = CardList()
    for value in (-0.0, 0.0):
        cards.set("LTV1", value)
        assert [text[10:30].strip() for _, text in cards] == ["0.0"]


def test_a_card_takes_the_place_of_all_of_its_keyword():
    cards = CardList((k, card_text(k, v)) for k, v in [("A", 1), ("B", 2), ("A", 3), ("C", 4)])
    cards.set("A", 5)
    assert [(k, text[10:30].strip()) for k, text in cards] == [("A", "5"), ("B", "2"), ("C", "4")]


# -- the reference checker -----------------------------------------------------------------------


def complaints(path):
    """The errors and warnings of fitsverify, without the numbers of cards."""
    out = subprocess.run(["fitsverify", path], capture_output=True, text=True, check=False).stdout
    lines = re.findall(r"\*\*\* (?:Warning|Error): *(.*)", out)
    return {re.sub(r"#?\d+", "N", line) for line in lines}


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
@pytest.mark.parametrize("layout", ["image", "extensions"])
def test_fitsverify_reports_no_fault_that_the_raw_frame_lacks(layout, tmp_path):
    path = mosaic(tmp_path / "raw/four.fits")
    cards = bias_cards(0, OBSERVER="x" * 200, EPOCH=2000.0, DATE="2020-01-01")
    more = ["HIERARCH ESO OBS ID = 7", "OBSTYPE = 'A'", "OBSTYPE =  2", "COMMENT x", "lower   = 3"]
    write_raw(tmp_path / "raw/odd.fits", (next(biases(1)), cards), more=more)
    reduction = {"layout": layout, "mask": True}
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": TESTCAM}, reduction=reduction)
    for name in ("four.fits", "odd.fits"):
        new = complaints(run.results / "reduced" / name) - complaints(path.with_name(name))
        assert new == set()


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
@pytest.mark.parametrize(
    "name",
    [
        "saao_ste3/a8280271.fits",
        "vbo_uags_2025/02jan2025_bias1.fits",
        "goodman_focus/sp_400m1.fits",
        "kast_blue_2015/b14.fits.gz",
        "isis_blue_2016/r2324594.fit.gz",
    ],
)
def test_fitsverify_finds_no_more_in_products_of_real_frames_than_in_the_raw_ones(
    name, tmp_path, real_frames
):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / name.split("/")[1]).symlink_to((real_frames / name).resolve())
    profiles = (Path(__file__).parents[2] / "config" / "cameras").glob("*.yaml")
    cameras = {path.stem: path.read_text() for path in profiles}
    assert len(cameras) > 5
    run = run_jobs(folder, tmp_path / "results", cameras)
    (product,) = (run.results / "reduced").iterdir()
    assert complaints(product) <= complaints(_inflate_file(real_frames / name, tmp_path))


def _inflate_file(path, folder):
    """Return a file, inflated into a folder if it is compressed."""
    if path.suffix != ".gz":
        return path
    plain = folder / "plain.fits"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


# Among them are values, keywords and comments that astropy writes in a way of its own.
@pytest.mark.parametrize("keyword", ["RAWFILE", "A", "NAXIS1", "A-B_9", "COMMENT", "END", "lower"])
def test_a_card_is_written_as_by_astropy(keyword):
    strings = ["", " ", "a", "a ", " a", "it's", "''", "x" * 67, "x" * 68, "'" * 34, "AXIS.1: 2",
               "a: b", "12345678", "a&", "a' b", "a/b", "tab\t", "\u00e9"]  # fmt: skip
    numbers = [0, 7, -3, 10**19, 10**20, 1.5, -0.25, 997.123, 1e-7, 1e16, 1e300, 1234.567890123456,
               -1234567.123456789012, True, False, np.float32(1.5), np.int64(4)]  # fmt: skip
    comments = ["", "c", "[adu] mean level", "c" * 47, "c" * 48, "[m] " + "c" * 45, " c", "c "]
    for value in (*strings, *numbers):
        for comment in comments:
            assert outcome(card_text, keyword, value, comment) == outcome(
                card_by_astropy, keyword, value, comment
            ), (value, comment)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("x" * 69, ["x" * 67 + "&", "xx"]),
        ("ab" * 80, ["ab" * 33 + "a&", "ba" * 33 + "b&", "ab" * 13]),
        # A quote counts twice, and no piece ends in the middle of one.
        ("'" * 35, ["''" * 33 + "&", "''" * 2]),
        ("x" * 66 + "'" + "y" * 20, ["x" * 66 + "&", "''" + "y" * 20]),
    ],
)
def test_a_longer_text_goes_on_in_further_cards(text, pieces):
    """The pieces are worked out by hand: at most 67 letters between quotes, and an ampersand."""
    starts = ["LONG    = ", *["CONTINUE  "] * (len(pieces) - 1)]
    written = card_text("LONG", text, "a comment that has no room")
    cards = [written[first : first + 80].rstrip() for first in range(0, len(written), 80)]
    assert cards == [f"{start}'{piece}'" for start, piece in zip(starts, pieces, strict=True)]
    assert fits.Card.fromstring(written).value == text


def card_by_astropy(keyword, value, comment):
    """Return the card of a text of 68 letters or less, with as much of its comment as fits."""
    used = len(str(fits.Card(keyword, value)).rstrip())
    room = 80 - max(30, used) - 3
    short = comment.partition("] ")[2] if comment.startswith("[") else comment
    shown = comment if len(comment) <= room else short if len(short) <= room else ""
    return str(fits.Card(keyword, value, shown or None))


def outcome(write, *arguments):
    """Return a card, or the sort of the error with which it was refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return write(*arguments)
    except Exception as error:
        return type(error)


def test_usual_cards_need_no_astropy(monkeypatch):
    """Those of each frame: its file, key, level, noise and checksum."""
    monkeypatch.setattr(fits, "Card", None)
    for value in ("ccd.001.0.fits.gz", "5d41402a", 997.123, 4.18322, 2048, 4294967295, "it's"):
        text = card_text("KEYWORD", value, f"comment on {value}")
        assert (len(text), text[:10]) == (80, "KEYWORD = ")
        assert fits_value(text) == value


def fits_value(text):
    """Return the value of a card by the rules of FITS."""
    value = text[10:].partition(" / ")[0].strip()
    return value[1:-1].rstrip().replace("''", "'") if value.startswith("'") else float(value)
