"""Frames of several amplifiers: put together, kept apart, windows of their chips."""

import re

import numpy as np
import pytest
from astropy.io import fits
from camera_headers import four_extensions, geometry, header, profile, rebuild_image

from ccdflow.camera.cameras import generic_camera
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError

# -- several amplifiers -----------------------------------------------------------------------


@pytest.mark.parametrize("binning", [1, 2])
def test_four_extensions_are_put_together_as_they_lie_on_the_chip(binning):
    chip = 1 + np.arange(10 * 14).reshape(10, 14)
    headers, arrays = four_extensions(chip, binning=binning)
    frame_geometry = geometry(*headers)
    assert (frame_geometry.layout, frame_geometry.shape, frame_geometry.source) == (
        "image",
        (10, 14),
        "header",
    )
    np.testing.assert_array_equal(rebuild_image(frame_geometry, arrays), chip)
    assert [a.gain for a in frame_geometry.amplifiers] == [1.1, 1.2, 1.3, 1.4]
    assert frame_geometry.raw_shapes == ((1, (5, 10)), (2, (5, 10)), (3, (5, 10)), (4, (5, 10)))


def test_a_trimsec_inside_datasec_keeps_its_place_in_a_flipped_amplifier():
    chip = 1 + np.arange(10 * 14).reshape(10, 14)
    headers, arrays = four_extensions(chip)
    for made in headers[1:]:
        made["TRIMSEC"] = "[5:10,1:5]"
    image = rebuild_image(geometry(*headers), arrays)
    # The first column that each amplifier reads, at the outer edge, is dropped.
    np.testing.assert_array_equal(image, chip[:, 1:-1])


def test_extensions_are_kept_where_asked():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    frame_geometry = geometry(*headers, layout="extensions")
    assert frame_geometry.layout == "extensions"
    assert frame_geometry.extension_shapes == tuple((hdu, (5, 7)) for hdu in (1, 2, 3, 4))
    assert {a.place for a in frame_geometry.amplifiers} == {Region(0, 5, 0, 7)}
    assert not any(a.is_flipped_x or a.is_flipped_y for a in frame_geometry.amplifiers)


def test_extensions_without_a_place_are_kept_and_reported():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    for made in headers[1:]:
        del made["DETSEC"]
    frame_geometry = geometry(*headers)
    assert frame_geometry.layout == "extensions"
    assert "no card says where" in frame_geometry.notes[-1].text


@pytest.mark.parametrize("binning", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_the_amplifiers_of_a_chip_lie_in_its_part_of_the_detector(turned, binning):
    """MegaCam: DSECA and DSECB of each extension, and one DETSEC, which may run backwards."""
    chips = 1 + np.arange(8 * 32).reshape(8, 32)
    headers, arrays = [header(EXTEND=True)], {}
    for number, chip in enumerate((chips[:, :16], chips[:, 16:])):
        first, last = 16 * number * binning + 1, 16 * (number + 1) * binning
        is_turned = turned and number == 0
        ends = f"{last}:{first},{8 * binning}:1" if is_turned else f"{first}:{last},1:{8 * binning}"
        made = header(
            20, 8, EXTNAME=f"ccd{number}", CCDSUM=f"{binning} {binning}", DATASEC="[3:18,1:8]",
            DETSEC=f"[{ends}]", DSECA="[3:10,1:8]", DSECB="[11:18,1:8]", BSECA="[1:2,1:8]",
            BSECB="[19:20,1:8]",
        )  # fmt: skip
        headers.append(made)
        arrays[number + 1] = np.pad(chip[::-1, ::-1] if is_turned else chip, ((0, 0), (2, 2)))
    frame_geometry = geometry(*headers)
    assert (frame_geometry.layout, frame_geometry.shape) == ("image", (8, 32))
    assert [a.name for a in frame_geometry.amplifiers] == ["ccd0A", "ccd0B", "ccd1A", "ccd1B"]
    np.testing.assert_array_equal(rebuild_image(frame_geometry, arrays), chips)
    # Cards that contradict each other give no place.
    headers[2]["DETSEC"] = "[1:99,1:8]"
    assert geometry(*headers).layout == "extensions"


def test_a_thumbnail_beside_the_frame_is_no_amplifier():
    picture = header(5, 4, EXTNAME="THUMBNAIL")
    frame = header(20, 8, BIASSEC="[17:20,1:8]", TRIMSEC="[1:16,1:8]")
    frame_geometry = geometry(frame, picture)
    assert (frame_geometry.layout, frame_geometry.shape) == ("image", (8, 16))
    assert [a.overscan[0].to_fits() for a in frame_geometry.amplifiers] == ["[17:20,1:8]"]
    # A file with this picture alone is a frame of its own.
    assert geometry(picture).shape == (4, 5)


def test_ccdsec_does_not_join_two_chips():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    for index, made in enumerate(headers[1:]):
        made.rename_keyword("DETSEC", "CCDSEC")
        made["CCDNAME"] = f"chip {index // 2}"
    assert geometry(*headers).layout == "extensions"
    for made in headers[1:]:
        made["CCDNAME"] = "the chip"
    assert geometry(*headers).layout == "image"
    # Name and number of one chip are two cards, not two chips.
    for made in headers[1:]:
        made["CHIPID"] = 3
    assert geometry(*headers).layout == "image"
    headers[1]["CHIPID"] = 4
    assert geometry(*headers).layout == "extensions"


def test_amplifiers_that_would_overlap_are_refused():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    headers[2]["DETSEC"] = "[9:3,1:5]"
    with pytest.raises(FrameError, match=r"would overlap.*layout: extensions"):
        geometry(*headers)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ('data: "[8:12,1:9]", overscan: "[13:14,1:9]"', "the data of amplifiers A and B overlap"),
        (
            'data: "[7:10,1:9]", overscan: "[5:6,1:9]"',
            "the overscan of amplifier B overlaps the data",
        ),
    ],
)
def test_regions_of_a_profile_that_contradict_each_other_are_refused(tmp_path, second, problem):
    first = '{name: A, data: "[1:8,1:9]", overscan: "[13:14,1:9]"}'
    if "overscan of" in problem:
        first = first.replace("1:8", "1:6")
    text = f"recognise: {{INSTRUME: P}}\namplifiers: [{first}, {{name: B, {second}}}]"
    text = re.sub(r'"(\[[^"]*\])"', r'{fits: "\1"}', text)
    with pytest.raises(FrameError, match=problem):
        profile(tmp_path, text).geometry([header(14, 9, INSTRUME="P")], file="a")


def test_a_gap_between_windows_is_reported():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    headers[2]["DETSEC"], headers[4]["DETSEC"] = "[16:10,1:5]", "[16:10,10:6]"
    frame_geometry = geometry(*headers)
    assert frame_geometry.shape == (10, 16)
    assert "20 pixels of the image" in frame_geometry.notes[-1].text


def test_a_family_of_sections_in_one_image():
    """As DESI: four quadrants, their overscans in the middle, TSEC of KCWI in other coordinates."""
    cards = {}
    for suffix, x, bias, y in (
        ("A", "1:8", "9:11", "1:5"),
        ("B", "15:22", "12:14", "1:5"),
        ("C", "1:8", "9:11", "6:10"),
        ("D", "15:22", "12:14", "6:10"),
    ):
        cards |= {f"DATASEC{suffix}": f"[{x},{y}]", f"BIASSEC{suffix}": f"[{bias},{y}]"}
        cards |= {f"GAIN{suffix}": 1.0 + len(cards), f"TRIMSEC{suffix}": "[1:16,1:10]"}
    frame_geometry = geometry(header(22, 10, **cards))
    assert frame_geometry.shape == (10, 16)
    assert [a.name for a in frame_geometry.amplifiers] == ["AA", "AB", "AC", "AD"]
    frame = np.arange(220).reshape(10, 22)
    np.testing.assert_array_equal(
        rebuild_image(frame_geometry, [frame]), np.delete(frame, range(8, 14), axis=1)
    )
    assert len({a.gain for a in frame_geometry.amplifiers}) == 4


def test_three_by_three_binning_that_does_not_divide_the_chip():
    """As the Mont4k: 4096 columns in two amplifiers of 682 binned by 3, the second one reversed."""
    cards = {"BIASSEC": "[683:702,1:1365]", "DATASEC": "[1:682,1:1365]", "CCDSUM": "3 3"}
    cards |= {"OVRSCAN1": 20, "OVRSCAN2": 0, "DETSIZE": "[1:4096,1:4096]"}
    one = header(702, 1365, **cards, DETSEC="[1:2048,1:4096]", CCDSEC="[1:2048,1:4096]")
    two = header(702, 1365, **cards, DETSEC="[4096:2049,1:4096]", CCDSEC="[4096:2049,1:4096]")
    frame_geometry = geometry(header(), one, two)
    assert frame_geometry.shape == (1365, 1364)
    assert [a.place.to_fits() for a in frame_geometry.amplifiers] == [
        "[1:682,1:1365]",
        "[683:1364,1:1365]",
    ]
    assert [a.is_flipped_x for a in frame_geometry.amplifiers] == [False, True]


def test_a_family_with_its_strips_at_either_end():
    """As ESPaDOnS with two amplifiers, beside plain cards for the whole frame."""
    frame_geometry = geometry(
        header(
            88, 46, DATASEC="[21:68,1:46]", TRIMSEC="[21:68,4:43]", CCDSEC="[21:68,1:46]",
            BSECA="[1:20,1:46]", BSECB="[69:88,1:46]", DSECA="[21:44,1:46]", DSECB="[45:68,1:46]",
            TSECA="[21:44,4:43]", TSECB="[45:68,4:43]", GAINA=1.3, GAINB=1.4,
        )
    )  # fmt: skip
    assert [a.data.to_fits() for a in frame_geometry.amplifiers] == ["[21:44,4:43]", "[45:68,4:43]"]
    assert [a.overscan[0].to_fits() for a in frame_geometry.amplifiers] == [
        "[1:20,4:43]",
        "[69:88,4:43]",
    ]
    assert [a.gain for a in frame_geometry.amplifiers] == [1.3, 1.4]
    assert frame_geometry.shape == (40, 48)


# -- windows of chips with several amplifiers -------------------------------------------------


LICK = {"DATASEC": "[1:440,1:9]", "COVER": 32, "AMPSROW": 2}


@pytest.mark.parametrize(
    ("cards", "data"),
    [
        ({"CRVAL1U": 400, "DNAXIS1": 1024}, ["[1:112,1:9]", "[113:440,1:9]"]),
        ({"CRVAL1U": 400, "DETSIZE": "[1:1024,1:9]"}, ["[1:112,1:9]", "[113:440,1:9]"]),
        ({"CCDSEC": "[401:840,1:9]", "DNAXIS1": 1024}, ["[1:112,1:9]", "[113:440,1:9]"]),
        ({"LTV1": -400.0, "DNAXIS1": 1024}, ["[1:112,1:9]", "[113:440,1:9]"]),
        # From the right: its first column is the chip's 840th.
        ({"CRVAL1U": 839, "CDELT1U": -1, "DNAXIS1": 1024}, ["[1:327,1:9]", "[328:440,1:9]"]),
        # Binned by two: the window's 440 columns begin at the chip's column 101 of 2048.
        (
            {"CRVAL1U": 100, "CDELT1U": 2, "CDELT2U": 1, "COVER": 64, "DNAXIS1": 2048},
            ["[1:440,1:9]"],
        ),
        # The whole window lies on the right amplifier.
        ({"CRVAL1U": 520, "DNAXIS1": 1024}, ["[1:440,1:9]"]),
        # A window in the middle, or on a chip of unknown width, is divided evenly; the latter with
        # a warning.
        ({"CRVAL1U": 292, "DNAXIS1": 1024}, ["[1:220,1:9]", "[221:440,1:9]"]),
        ({"CRVAL1U": 0}, ["[1:220,1:9]", "[221:440,1:9]"]),
        ({"CRVAL1U": 400}, ["[1:220,1:9]", "[221:440,1:9]"]),
    ],
)
def test_the_window_places_the_seam_of_its_amplifiers(cards, data):
    frame_header = header(504, 9, **(LICK | cards))
    frame_geometry = geometry(frame_header)
    assert [a.data.to_fits() for a in frame_geometry.amplifiers] == data
    strips = {"A1": "[441:472,1:9]", "A2": "[473:504,1:9]"}
    for amplifier in frame_geometry.amplifiers:
        assert amplifier.overscan[0].to_fits() == strips[amplifier.name]
    warned = "no card says how wide the chip is" in " ".join(
        note.text for note in frame_geometry.notes
    )
    assert warned is (cards == {"CRVAL1U": 400})


@pytest.mark.parametrize(
    ("hdu", "names"),
    [
        ("[1, 2]", ["A-1", "A-2"]),
        ('"im*"', ["A-1", "A-2", "A-3"]),
        ('"*"', ["A-1", "A-2", "A-3"]),
        ('["im1", 3]', ["A-1", "A-3"]),
        ("im2", ["A"]),
    ],
)
def test_one_entry_for_several_hdus(hdu, names, tmp_path):
    regions = 'data: {python: "[:, :8]"}, overscan: {python: "[:, 8:]"}'
    text = f"recognise: {{INSTRUME: PROBE}}\namplifiers: [{{name: A, hdu: {hdu}, {regions}}}]"
    camera = profile(tmp_path, text, "many")
    headers = [header(INSTRUME="PROBE"), *(header(12, 9, EXTNAME=f"im{i}") for i in (1, 2, 3))]
    frame_geometry = camera.geometry(headers, file="a", layout="extensions")
    assert [a.name for a in frame_geometry.amplifiers] == names
    with pytest.raises(FrameError, match="no image in the HDU"):
        camera.geometry([header(), header(EXTNAME="im9")], file="a")


def test_an_instrument_of_endless_letters_has_a_short_name_of_its_own():
    one, other = ({"INSTRUME": "y" * 132_000 + last} for last in "ab")
    names = [generic_camera([fits.Header(cards)]).name for cards in (one, other)]
    assert all(len(name) < 100 for name in names)
    assert names[0] != names[1]


def test_texts_of_many_continue_cards_do_not_fill_the_table():
    cards = {"SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": 9, "NAXIS2": 9}
    names = ("OBJECT", "FILTER", "READMODE", "IMAGETYP")
    facts = []
    for last in "ab":
        header = fits.Header(cards | {name: "y" * 140_000 + last for name in names})
        facts.append(generic_camera([header]).describe([header], file="x.fits"))
    values = [each._asdict() for each in facts]
    assert max(len(str(value)) for each in values for value in each.values()) < 1000
    assert all(values[0][name] != values[1][name] for name in ("object", "filter", "readmode"))


def test_a_text_of_501_characters_is_cut_to_a_hundred_and_has_eight_digits_of_its_own():
    texts = []
    for length in (500, 501):
        image = header(9, 9, OBJECT="y" * length)
        texts.append(generic_camera([image]).describe([image], file="x.fits").object)
    assert texts[0] == "y" * 500
    assert re.fullmatch(r"y{100}\.\.\.[0-9a-f]{8}", texts[1])
