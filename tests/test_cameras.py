"""Cameras on made-up headers that have the traits of real ones."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from ccdflow.camera import facts, imagetypes, nights
from ccdflow.camera.cameras import generic_camera, identify, refuse_reduced
from ccdflow.camera.profiles import SCHEMA, load_camera, load_cameras
from ccdflow.camera.reader import HeaderReader
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError, UserError
from ccdflow.schemas import FOLDER

ROOT = Path(__file__).parents[1]
CAMERAS = ROOT / "config" / "cameras"
DOCUMENT = ROOT / "docs" / "cameras.md"


def header(nx=0, ny=0, **cards):
    """A header of an image of nx columns and ny rows; '_' in names stands for '-', '__' for ' '."""
    made = fits.Header()
    made["NAXIS"] = 2 if nx else 0
    if nx:
        made["NAXIS1"], made["NAXIS2"] = nx, ny
    for name, value in cards.items():
        key = name.replace("__", " ").replace("_", "-")
        made[f"HIERARCH {key}" if " " in key else key] = value
    return made


def geometry(*headers, **options):
    camera = generic_camera(headers)
    return camera.geometry(list(headers), file="night/a.fits", **options)


def only(*headers):
    (amplifier,) = geometry(*headers).amplifiers
    return amplifier


# -- sections in the header -------------------------------------------------------------------


def test_sound_headers_need_no_profile():
    amplifier = only(header(12, 9, BIASSEC="[ 11: 12,1:9]", TRIMSEC="[ 2:10 , 1:9 ]", GAIN=1.5))
    assert amplifier.data.to_fits() == "[2:10,1:9]"
    assert [strip.to_fits() for strip in amplifier.overscan] == ["[11:12,1:9]"]
    assert amplifier.along == "rows"
    assert amplifier.place == Region(0, 9, 0, 9)
    assert amplifier.gain == 1.5


def test_trimsec_comes_before_datasec():
    amplifier = only(
        header(12, 9, BIASSEC="[11:12,1:9]", TRIMSEC="[2:9,1:8]", DATASEC="[1:10,1:9]")
    )
    assert amplifier.data.to_fits() == "[2:9,1:8]"
    assert amplifier.overscan[0].to_fits() == "[11:12,1:8]"


def test_the_lfc_without_profile_gets_its_missing_row_and_says_so():
    """BIASSEC is one row short; its length along the readout axis is that of the data."""
    found = geometry(
        header(80, 128, BIASSEC="[49:80,1:127]", DATASEC="[1:48,1:128]", CCDSEC="[1:48,1:128]")
    )
    assert found.amplifiers[0].overscan[0].to_fits() == "[49:80,1:128]"
    assert "127 of the 128 rows" in found.notes[0]


def test_a_strip_much_too_short_is_refused():
    with pytest.raises(FrameError, match=r"100 of the 128 rows.*along: frame"):
        geometry(header(80, 128, BIASSEC="[49:80,1:100]", DATASEC="[1:48,1:128]"))


def test_overscan_above_gives_a_level_a_column():
    amplifier = only(header(9, 14, BIASSEC="[1:9,11:14]", TRIMSEC="[3:8,1:9]"))
    assert amplifier.along == "columns"
    assert amplifier.overscan[0].to_fits() == "[3:8,11:14]"


def test_swapped_axes_are_read_rows_first_and_said():
    found = geometry(header(12, 90, BIASSEC="[1:90,11:12]", TRIMSEC="[1:90,1:10]"))
    assert found.amplifiers[0].data.to_fits() == "[1:10,1:90]"
    assert found.amplifiers[0].overscan[0].to_fits() == "[11:12,1:90]"
    assert "read rows first" in found.notes[0]


@pytest.mark.parametrize("text", ["[0:0,0:0]", "[ ]", "81:100,1:60", "[11:12,1:9,1:1]"])
@pytest.mark.parametrize("keyword", ["BIASSEC", "TRIMSEC", "CCDSEC"])
def test_a_section_that_is_empty_or_unreadable_says_what_to_put_into_the_profile(keyword, text):
    cards = {"BIASSEC": "[11:12,1:9]", "TRIMSEC": "[1:10,1:9]"} | {keyword: text}
    with pytest.raises(FrameError) as caught:
        geometry(header(12, 9, **cards))
    assert caught.value.keyword == keyword
    assert "`data` and `overscan` in a profile" in caught.value.remedy


def test_numbered_strips_beside_one_section_are_not_passed_over():
    cards = {"DATASEC": "[3:10,1:9]", "BIASSEC1": "[1:2,1:9]", "BIASSEC2": "[11:12,1:9]"}
    with pytest.raises(FrameError, match="strips are numbered, and the data are not") as caught:
        geometry(header(12, 9, **cards))
    assert caught.value.keyword == "BIASSEC1, BIASSEC2"
    assert geometry(header(12, 9, **cards | {"BIASSEC": "[11:12,1:9]"})).amplifiers[0].overscan


def test_extensions_inherit_the_sections_of_the_primary_where_they_say_so():
    primary = header(BIASSEC="[11:12,1:9]", DATASEC="[1:10,1:9]")
    chips = [header(12, 9, DETSEC=f"[{x + 1}:{x + 10},1:9]") for x in (0, 10)]
    with pytest.raises(FrameError, match="differ in size"):
        geometry(primary, *chips)
    for chip in chips:
        chip["INHERIT"] = True
    found = geometry(primary, *chips)
    assert found.shape == (9, 20)
    assert {a.overscan[0].to_fits() for a in found.amplifiers} == {"[11:12,1:9]"}


def test_windows_far_apart_on_a_detector_are_not_put_together():
    """Two guide windows in the corners of a mosaic: one image would be gigabytes of nothing."""
    cards = {"BIASSEC": "[11:12,1:9]", "DATASEC": "[1:10,1:9]"}
    chips = [header(12, 9, DETSEC=f"[{x}:{x + 9},{x}:{x + 8}]", **cards) for x in (1, 90_001)]
    found = geometry(header(), *chips)
    assert found.layout == "extensions"
    assert found.shape == (9, 10)
    assert "far apart" in found.notes[0]


@pytest.mark.parametrize("text", ["UNKNOWN", "[0:0,0:0]", "chip 1"])
def test_a_profile_stands_in_for_a_detsec_that_can_not_be_read(tmp_path, text):
    camera = profile(tmp_path, 'recognise: {A: b}\namplifiers: [{data: {python: "[:, :10]"}}]')
    found = camera.geometry([header(12, 9, DETSEC=text, CCDSEC=text)], file="a.fits")
    assert found.shape == (9, 10)


def test_a_card_that_is_absent_is_named(tmp_path):
    camera = profile(tmp_path, "recognise: {A: b}\namplifiers: [{data: {keyword: TRIMSEC2}}]")
    with pytest.raises(FrameError, match=r"names is absent \(found 'TRIMSEC2'\)"):
        camera.geometry([header(12, 9)], file="a.fits")


def test_amplifiers_of_a_profile_that_share_the_detsec_of_their_chip(tmp_path):
    """As DECam: two amplifiers in each extension, whose DETSEC is that of the whole DATASEC."""
    path = tmp_path / "probe.yaml"
    path.write_text(
        "recognise: {INSTRUME: PROBE}\namplifiers:\n"
        + "".join(
            f"  - {{name: {n}{hdu}, hdu: {hdu}, data: {{fits: '{data}'}}, "
            f"overscan: {{fits: '{o}'}}}}\n"
            for hdu in (1, 2)
            for n, data, o in (("A", "[3:6,1:5]", "[1:2,1:5]"), ("B", "[7:10,1:5]", "[11:12,1:5]"))
        )
    )
    chips = [
        header(12, 5, DATASEC="[3:10,1:5]", DETSEC="[16:9,1:5]"),
        header(12, 5, DATASEC="[3:10,1:5]", DETSEC="[1:8,1:5]"),
    ]
    found = load_camera(path).geometry([header(INSTRUME="PROBE"), *chips], file="a.fits")
    assert (found.layout, found.shape) == ("image", (5, 16))
    places = {a.name: (a.place.to_fits(), a.flip_x) for a in found.amplifiers}
    assert places == {
        "A1": ("[13:16,1:5]", True), "B1": ("[9:12,1:5]", True),
        "A2": ("[1:4,1:5]", False), "B2": ("[5:8,1:5]", False),
    }  # fmt: skip
    chips[0]["DETSEC"] = "[1:8,1:5]"
    found = load_camera(path).geometry([header(INSTRUME="PROBE"), *chips], file="a.fits")
    assert found.layout == "extensions"


def test_a_gain_is_above_zero_and_egain_is_in_electrons():
    """A ZWO's GAIN is a setting; NINA writes -1 where it is not known, MaxIm EGAIN 0."""
    assert only(header(12, 9, GAIN=120, EGAIN=0.98)).gain == 0.98
    assert only(header(12, 9, GAIN=1.3, EGAIN=0.0)).gain == 1.3
    assert only(header(12, 9, GAIN=-1)).gain is None


def test_only_biassec_keeps_what_is_beside_it():
    found = geometry(header(12, 9, BIASSEC="[1:3,1:9]"))
    assert found.amplifiers[0].data.to_fits() == "[4:12,1:9]"
    with pytest.raises(FrameError, match="which pixels are science"):
        geometry(header(12, 9, BIASSEC="[5:6,1:9]"))


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"BIASSEC": "[11:13,1:9]", "TRIMSEC": "[1:10,1:9]"}, "outside the frame"),
        ({"BIASSEC": "[11:12,1:9]", "TRIMSEC": "[0:10,1:9]"}, "outside the frame"),
        ({"BIASSEC": "[10:12,1:9]", "TRIMSEC": "[1:10,1:9]"}, "does not lie beside the data"),
        ({"BIASSEC": "[11:12,9:9]", "TRIMSEC": "[1:10,1:8]"}, "does not lie beside the data"),
        ({"BIASSEC": "here", "TRIMSEC": "[1:10,1:9]"}, "not a FITS section"),
        ({"BIASSEC": "[11:12,1:9]", "TRIMSEC": "[1:10,1:9]", "DATASEC": "[2:10,1:9]"}, "DATASEC"),
        ({"DATASEC": "[1:10,1:9]", "CCDSEC": "[1:11,1:9]"}, "differ in size"),
        ({"TRIMSEC": "[1:12,1:9]", "DETSIZE": "[1:10,1:100]"}, "more pixels than the detector"),
        ({"OVERSCAN": 3, "DATASEC": "[1:10,1:9]"}, "contradict the section"),
        ({"OVERSCAN": 12}, "no science pixels"),
    ],
)
def test_sections_that_can_not_be_are_refused_with_a_remedy(cards, message):
    with pytest.raises(FrameError, match=message) as caught:
        geometry(header(12, 9, **cards))
    assert str(caught.value).startswith("night/a.fits: ")
    if caught.value.remedy is None:
        assert caught.value.allowed
    else:
        assert "profile" in caught.value.remedy


def test_a_section_that_says_nothing_counts_as_absent():
    found = geometry(header(12, 9, BIASSEC="UNKNOWN", TRIMSEC="N/A", DATASEC=""))
    assert found.amplifiers[0].along == "none"
    assert found.shape == (9, 12)
    assert "left whole" in found.notes[0]


def test_trimmed_only_where_there_is_no_overscan():
    found = geometry(header(12, 9, DATASEC="[1:10,1:9]"))
    assert (found.shape, found.amplifiers[0].overscan) == ((9, 10), ())
    assert "trimmed to [1:10,1:9] only" in found.notes[0]


def test_numbers_of_columns():
    found = only(header(20, 9, PRESCAN=2, OVERSCAN=3))
    assert (found.data.to_fits(), found.overscan[0].to_fits()) == ("[3:17,1:9]", "[18:20,1:9]")
    assert "3 after the data" in geometry(header(20, 9, OVERSCAN=3)).notes[0]
    assert only(header(20, 9, POSTPIX=3.0, PREPIX="2")).data.to_fits() == "[3:17,1:9]"
    found = only(header(20, 9, PREPIX=4))
    assert (found.data.to_fits(), found.overscan[0].to_fits()) == ("[5:20,1:9]", "[1:4,1:9]")


def test_keck_numbers_count_unbinned_columns():
    found = only(header(20, 9, PREPIX=4, POSTPIX=6, BINNING="2,1", DATASEC="[3:17,1:9]"))
    assert (found.data.to_fits(), found.overscan[0].to_fits()) == ("[3:17,1:9]", "[18:20,1:9]")
    with pytest.raises(FrameError, match="count binned pixels"):
        geometry(header(20, 9, PREPIX=4, POSTPIX=6, BINNING="2,1"))


def test_two_amplifiers_side_by_side_in_one_image():
    """As Keck ESI: both prescans, both halves of the data, both overscans."""
    found = geometry(
        header(2 * (2 + 8 + 3), 5, NUMAMPS=2, PREPIX=2, POSTPIX=3, WINDOW="0,0,0,16,5")
    )
    assert [a.data.to_fits() for a in found.amplifiers] == ["[5:12,1:5]", "[13:20,1:5]"]
    assert [a.overscan[0].to_fits() for a in found.amplifiers] == ["[21:23,1:5]", "[24:26,1:5]"]
    assert found.shape == (5, 16)
    with pytest.raises(FrameError, match="2 amplifiers in one image"):
        geometry(header(26, 5, NUMAMPS=2, PREPIX=2, POSTPIX=3))


def test_lick_strips_one_after_the_other():
    """As Kast without its profile: COVER counts an amplifier's columns, DATASEC agrees."""
    cards = {"AMPSROW": 2, "COVER": 3, "ROVER": 0, "DATASEC": "[1:16,1:5]"}
    found = geometry(header(22, 5, **cards))
    assert [a.data.to_fits() for a in found.amplifiers] == ["[1:8,1:5]", "[9:16,1:5]"]
    assert [a.overscan[0].to_fits() for a in found.amplifiers] == ["[17:19,1:5]", "[20:22,1:5]"]
    with pytest.raises(FrameError, match="2 amplifiers in one image"):
        geometry(header(22, 5, **cards | {"DATASEC": "[1:18,1:5]"}))


def test_keck_prescan_and_overscan_in_each_extension():
    """As LRIS: the numbers are in the primary and unbinned, the sections in the extensions."""
    primary = header(PRECOL=5, POSTPIX=8, BINNING="2,2", NUMAMPS=2)
    cards = {"DATASEC": "[3:10,1:7]"}
    one = header(14, 7, **cards, DETSEC="[1:16,1:14]", EXTNAME="VidInp1")
    two = header(14, 7, **cards, DETSEC="[32:17,1:14]", EXTNAME="VidInp2")
    found = geometry(primary, one, two)
    assert [a.name for a in found.amplifiers] == ["VidInp1", "VidInp2"]
    assert {a.overscan[0].to_fits() for a in found.amplifiers} == {"[11:14,1:7]"}
    assert found.amplifiers[1].place.to_fits() == "[9:16,1:7]"
    assert found.amplifiers[1].flip_x


# -- HIERARCH ---------------------------------------------------------------------------------


def eso(nx, ny, *outputs, **cards):
    made = header(nx, ny, INSTRUME="FORS2", **cards)
    for number, values in enumerate(outputs, 1):
        for key, value in values.items():
            made[f"HIERARCH ESO DET OUT{number} {key}"] = value
    return made


def test_eso_output_at_the_right_has_its_prescan_there():
    """As EFOSC2: the output is at X = 2048, so its 6 columns of prescan are the last ones."""
    out = {"NX": 24, "NY": 18, "X": 48, "Y": 1, "PRSCX": 6, "OVSCX": 0, "PRSCY": 0, "OVSCY": 4}
    out |= {"CONAD": 1.1, "GAIN": 0.91, "RON": 7.8}
    found = only(eso(30, 22, out, ESO__DET__WIN1__BINX=2, ESO__DET__WIN1__BINY=2))
    assert found.data.to_fits() == "[1:24,1:18]"
    assert found.overscan[0].to_fits() == "[25:30,1:18]"
    assert found.along == "rows"
    assert (found.gain, found.read_noise) == (1.1, 7.8)


def test_eso_strips_above_and_below():
    out = {"NX": 20, "NY": 10, "X": 1, "Y": 1, "PRSCX": 0, "OVSCX": 0, "PRSCY": 2, "OVSCY": 3}
    found = only(eso(20, 15, out))
    assert (found.data.to_fits(), found.along) == ("[1:20,3:12]", "columns")
    assert found.overscan[0].to_fits() == "[1:20,13:15]"


def test_eso_four_outputs_read_towards_the_corners():
    """As MUSE: overscans meet in the middle, prescans are outside."""
    base = {"NX": 8, "NY": 6, "PRSCX": 2, "OVSCX": 3, "PRSCY": 1, "OVSCY": 1}
    corners = [{"X": 1, "Y": 1}, {"X": 16, "Y": 1}, {"X": 16, "Y": 12}, {"X": 1, "Y": 12}]
    found = geometry(eso(26, 16, *[base | corner for corner in corners]))
    assert found.shape == (12, 16)
    assert [a.data.to_fits() for a in found.amplifiers] == [
        "[3:10,2:7]", "[17:24,2:7]", "[17:24,10:15]", "[3:10,10:15]",
    ]  # fmt: skip
    assert [a.overscan[0].to_fits() for a in found.amplifiers] == [
        "[11:13,2:7]", "[14:16,2:7]", "[14:16,10:15]", "[11:13,10:15]",
    ]  # fmt: skip
    assert found.amplifiers[2].place.to_fits() == "[9:16,7:12]"


def test_eso_numbers_that_do_not_add_up_are_refused():
    out = {"NX": 20, "NY": 10, "X": 1, "Y": 1, "PRSCX": 2, "OVSCX": 2, "PRSCY": 0, "OVSCY": 0}
    with pytest.raises(FrameError, match=r"do not add up.*OUT1 NX|OUT1 NX.*do not add up"):
        geometry(eso(22, 10, out))


def test_facts_from_hierarch_cards_alone():
    made = eso(20, 10, ESO__DPR__TYPE="FLAT,LAMP", MJD_OBS=59000.25, EXPTIME=3.5)
    made["HIERARCH ESO TEL GEOLON"] = -70.4
    made["HIERARCH ESO INS FILT1 NAME"] = "v_HIGH"
    found = generic_camera([made]).describe([made], file="a.fits")
    assert (found.imagetyp, found.type, found.filter) == ("FLAT,LAMP", "flat", "v_HIGH")
    assert (found.date_obs, found.night) == ("2020-05-31T06:00:00", "2020-05-30")


# -- several amplifiers -----------------------------------------------------------------------


def rebuilt(found, arrays):
    """The product image that a geometry tells to make, without any level taken off."""
    image = np.full(found.shape, -1)
    for amplifier in found.amplifiers:
        part = arrays[amplifier.hdu][amplifier.data.slices]
        part = part[:: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1]
        image[amplifier.place.slices] = part
    return image


def four_extensions(chip, strip=3, binning=1):
    """A chip read by an amplifier at each corner, each stored as read, as Keck LRIS does."""
    ny, nx = chip.shape
    half = {False: (1, 2), True: (2, 1)}
    headers, arrays = [header()], [None]
    for top in (False, True):
        for right in (False, True):
            rows = slice(ny // 2, ny) if top else slice(0, ny // 2)
            columns = slice(nx // 2, nx) if right else slice(0, nx // 2)
            part = chip[rows, columns][:: -1 if top else 1, :: -1 if right else 1]
            x = [1 + (nx // 2 * right), nx // 2 * (1 + right)]
            y = [1 + (ny // 2 * top), ny // 2 * (1 + top)]
            x = [(x[0] - 1) * binning + 1, x[1] * binning][:: -1 if right else 1]
            y = [(y[0] - 1) * binning + 1, y[1] * binning][:: -1 if top else 1]
            made = header(
                nx // 2 + strip,
                ny // 2,
                XTENSION="IMAGE",
                DATASEC=f"[{strip + 1}:{strip + nx // 2},1:{ny // 2}]",
                BIASSEC=f"[1:{strip},1:{ny // 2}]",
                DETSEC=f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]",
                CCDSUM=f"{binning} {binning}",
                EXTNAME=f"AMP{half[right][0]}{half[top][0]}",
                GAIN=1.0 + len(headers) / 10,
            )
            headers.append(made)
            arrays.append(np.pad(part, ((0, 0), (strip, 0))))
    return headers, arrays


@pytest.mark.parametrize("binning", [1, 2])
def test_four_extensions_are_put_together_as_they_lie_on_the_chip(binning):
    chip = 1 + np.arange(10 * 14).reshape(10, 14)
    headers, arrays = four_extensions(chip, binning=binning)
    found = geometry(*headers)
    assert (found.layout, found.shape, found.source) == ("image", (10, 14), "header")
    np.testing.assert_array_equal(rebuilt(found, arrays), chip)
    assert [a.gain for a in found.amplifiers] == [1.1, 1.2, 1.3, 1.4]
    assert found.raw_shapes == ((1, (5, 10)), (2, (5, 10)), (3, (5, 10)), (4, (5, 10)))


def test_a_trimsec_inside_datasec_keeps_its_place_in_a_flipped_amplifier():
    chip = 1 + np.arange(10 * 14).reshape(10, 14)
    headers, arrays = four_extensions(chip)
    for made in headers[1:]:
        made["TRIMSEC"] = "[5:10,1:5]"
    image = rebuilt(geometry(*headers), arrays)
    # The first column read of each is dropped: that at the outer edge.
    np.testing.assert_array_equal(image, chip[:, 1:-1])


def test_extensions_are_kept_where_asked():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    found = geometry(*headers, layout="extensions")
    assert found.layout == "extensions"
    assert found.extension_shapes == tuple((hdu, (5, 7)) for hdu in (1, 2, 3, 4))
    assert {a.place for a in found.amplifiers} == {Region(0, 5, 0, 7)}
    assert not any(a.flip_x or a.flip_y for a in found.amplifiers)


def test_extensions_without_a_place_are_kept_and_that_is_said():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    for made in headers[1:]:
        del made["DETSEC"]
    found = geometry(*headers)
    assert found.layout == "extensions"
    assert "no card says where" in found.notes[-1]


def test_ccdsec_does_not_join_two_chips():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    for index, made in enumerate(headers[1:]):
        made.rename_keyword("DETSEC", "CCDSEC")
        made["CCDNAME"] = f"chip {index // 2}"
    assert geometry(*headers).layout == "extensions"
    for made in headers[1:]:
        made["CCDNAME"] = "the chip"
    assert geometry(*headers).layout == "image"


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


def test_a_gap_between_windows_is_said():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    headers[2]["DETSEC"], headers[4]["DETSEC"] = "[16:10,1:5]", "[16:10,10:6]"
    found = geometry(*headers)
    assert found.shape == (10, 16)
    assert "20 pixels of the image" in found.notes[-1]


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
    found = geometry(header(22, 10, **cards))
    assert found.shape == (10, 16)
    assert [a.name for a in found.amplifiers] == ["AA", "AB", "AC", "AD"]
    frame = np.arange(220).reshape(10, 22)
    np.testing.assert_array_equal(rebuilt(found, [frame]), np.delete(frame, range(8, 14), axis=1))
    assert len({a.gain for a in found.amplifiers}) == 4


def test_three_by_three_binning_that_does_not_divide_the_chip():
    """As the Mont4k: 4096 columns in two amplifiers of 682 binned by 3, the second one reversed."""
    cards = {"BIASSEC": "[683:702,1:1365]", "DATASEC": "[1:682,1:1365]", "CCDSUM": "3 3"}
    cards |= {"OVRSCAN1": 20, "OVRSCAN2": 0, "DETSIZE": "[1:4096,1:4096]"}
    one = header(702, 1365, **cards, DETSEC="[1:2048,1:4096]", CCDSEC="[1:2048,1:4096]")
    two = header(702, 1365, **cards, DETSEC="[4096:2049,1:4096]", CCDSEC="[4096:2049,1:4096]")
    found = geometry(header(), one, two)
    assert found.shape == (1365, 1364)
    assert [a.place.to_fits() for a in found.amplifiers] == ["[1:682,1:1365]", "[683:1364,1:1365]"]
    assert [a.flip_x for a in found.amplifiers] == [False, True]


def test_a_family_with_its_strips_at_either_end():
    """As ESPaDOnS with two amplifiers, beside plain cards for the whole frame."""
    found = geometry(
        header(
            88, 46, DATASEC="[21:68,1:46]", TRIMSEC="[21:68,4:43]", CCDSEC="[21:68,1:46]",
            BSECA="[1:20,1:46]", BSECB="[69:88,1:46]", DSECA="[21:44,1:46]", DSECB="[45:68,1:46]",
            TSECA="[21:44,4:43]", TSECB="[45:68,4:43]", GAINA=1.3, GAINB=1.4,
        )
    )  # fmt: skip
    assert [a.data.to_fits() for a in found.amplifiers] == ["[21:44,4:43]", "[45:68,4:43]"]
    assert [a.overscan[0].to_fits() for a in found.amplifiers] == ["[1:20,4:43]", "[69:88,4:43]"]
    assert [a.gain for a in found.amplifiers] == [1.3, 1.4]
    assert found.shape == (40, 48)


# -- files ------------------------------------------------------------------------------------


def test_empty_primary_and_tables_are_passed_over():
    table = header(16, 30, XTENSION="BINTABLE", TFIELDS=2)
    image = header(12, 9, XTENSION="IMAGE", BIASSEC="[11:12,1:9]", TRIMSEC="[1:10,1:9]")
    assert only(header(IMAGETYP="zero"), table, image).hdu == 2
    tiles = header(12, 9, XTENSION="BINTABLE", BIASSEC="[11:12,1:9]", TRIMSEC="[1:10,1:9]")
    assert only(header(), tiles).hdu == 1


def test_files_without_a_plane_image_are_refused():
    with pytest.raises(FrameError, match="no image"):
        geometry(header())
    cube = header(12, 9)
    cube["NAXIS"], cube["NAXIS3"] = 3, 4
    with pytest.raises(FrameError, match=r"two-dimensional.*12 x 9 x 4"):
        geometry(cube)
    cube["NAXIS3"] = 1
    assert geometry(cube).shape == (9, 12)


# -- profiles ---------------------------------------------------------------------------------


def profile(tmp_path, text, name="probe"):
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_camera(path)


def test_every_profile_that_comes_along_is_valid():
    names = [camera.name for camera in load_cameras(CAMERAS)]
    assert names == sorted(names)
    assert {"lfc", "kast_blue", "isis_blue", "saao_ste3", "goodman_red", "vbo_uags"} <= set(names)


@pytest.mark.parametrize(("nx", "ny"), [(2080, 4128), (160, 70)])
def test_the_lfc_profile_at_any_size(nx, ny):
    made = header(nx, ny, INSTRUME="LFC", BIASSEC=f"[{nx - 31}:{nx},1:{ny - 1}]")
    camera = identify([made], load_cameras(CAMERAS), file="a.fits")
    (amplifier,) = camera.geometry([made], file="a.fits").amplifiers
    assert camera.name == "lfc"
    assert amplifier.data.to_fits() == f"[1:{nx - 32},1:{ny}]"
    assert amplifier.overscan[0].to_fits() == f"[{nx - 24}:{nx},1:{ny}]"


def test_profile_with_flips_places_and_figures(tmp_path):
    camera = profile(
        tmp_path,
        """
recognise: {INSTRUME: PROBE}
size: [16, null]
amplifiers:
  - name: L
    data: {python: "[:, 0:5]"}
    overscan: [{python: "[:, 5:7]"}, {python: "[:, 14:16]"}]
    place: {fits: "[6:10,1:9]"}
    gain: 2.5
    read_noise: {keyword: RON2}
  - name: R
    data: {python: "[:, 9:14]"}
    place: {fits: "[1:5,1:9]"}
    flip: x
reduction: {statistic: mean, trim: false}
layout: extensions
""",
    )
    made = header(16, 9, INSTRUME="PROBE", RON2=7.0, RDNOISE=3.0)
    frame = np.arange(16 * 9).reshape(9, 16)
    found = camera.geometry([made], file="a.fits")
    left, right = found.amplifiers
    assert (left.gain, left.read_noise, right.read_noise) == (2.5, 7.0, 3.0)
    assert [strip.to_fits() for strip in left.overscan] == ["[6:7,1:9]", "[15:16,1:9]"]
    assert (right.along, right.overscan) == ("none", ())
    wanted = np.hstack([frame[:, 13:8:-1], frame[:, 0:5]])
    np.testing.assert_array_equal(rebuilt(found, [frame]), wanted)
    recipe = camera.recipe({"dtype": "float64", "statistic": "median"})
    assert (recipe.statistic, recipe.trim, recipe.dtype) == ("mean", False, "float64")
    assert recipe.layout == "extensions"
    with pytest.raises(FrameError, match=r"found '15 x 9'\); allowed: 16 x any"):
        camera.geometry([header(15, 9)], file="a.fits")


def test_a_profile_may_keep_a_part_of_what_detsec_is_about(tmp_path):
    chip = 1 + np.arange(10 * 14).reshape(10, 14)
    headers, arrays = four_extensions(chip)
    regions = "data: {python: '[:, 4:]'}, overscan: {python: '[:, 1:3]'}"
    amplifiers = "".join(f"  - {{name: {i}, hdu: {i}, {regions}}}\n" for i in range(1, 5))
    camera = profile(tmp_path, f"recognise: {{GAIN: 1.1}}\namplifiers:\n{amplifiers}")
    found = camera.geometry(headers, file="a.fits")
    np.testing.assert_array_equal(rebuilt(found, arrays), chip[:, 1:-1])


def test_overscan_none_drops_what_the_header_claims(tmp_path):
    camera = profile(tmp_path, "recognise: {INSTRUME: PROBE}\noverscan: none\n")
    made = header(12, 9, INSTRUME="PROBE", BIASSEC="[11:12,1:9]", TRIMSEC="[1:10,1:9]")
    found = camera.geometry([made], file="a.fits")
    assert (found.shape, found.amplifiers[0].along, found.source) == ((9, 10), "none", "profile")


def test_a_strip_of_a_profile_is_never_lengthened(tmp_path):
    text = """
recognise: {INSTRUME: PROBE}
amplifiers: [{data: {fits: "[1:10,1:9]"}, overscan: {fits: "[11:12,1:8]"}%s}]
"""
    made = header(12, 9, INSTRUME="PROBE")
    with pytest.raises(FrameError, match="8 of the 9 rows"):
        profile(tmp_path, text % "").geometry([made], file="a.fits")
    (amplifier,) = (
        profile(tmp_path, text % ", along: frame").geometry([made], file="a.fits").amplifiers
    )
    assert (amplifier.along, amplifier.overscan[0].to_fits()) == ("frame", "[11:12,1:8]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recognise: {A: b}\nrecognize: {}", r"recognize: unknown key.*did you mean 'recognise'"),
        ("overscan: none", r"recognise: a key is missing"),
        ("recognise: {A: b}\nsize: [2080]", r"size: .*NAXIS1, NAXIS2"),
        ("recognise: {A: b}\nreduction: {statistic: mode}", r"statistic: .*'mode'.*median, mean"),
        ("recognise: {A: b}\nsite: {longitude: 243}", r"site.longitude: .*243.*degrees"),
        ("recognise: {A: b}\ntypes: [{type: zero, imagetyp: Z}]", r"types\[0\].type: .*bias, dark"),
        (
            'recognise: {A: b}\namplifiers: [{data: "[1:2,3:4]"}]',
            r"amplifiers\[0\].data: a region must say which notation.*fits.*python",
        ),
        (
            'recognise: {A: b}\namplifiers: [{overscan: ["[1:2,3:4]"]}]',
            r"overscan\[0\]: a region must say",
        ),
        (
            'recognise: {A: b}\namplifiers: [{data: {fits: "[:, 2:]"}}]',
            r"amplifiers\[0\].data: not a FITS section.*columns first",
        ),
        (
            'recognise: {A: b}\namplifiers: [{place: {python: "[:, 2:3]"}}]',
            r"amplifiers\[0\].place: a place is given as a FITS section",
        ),
        ("recognise: {A: b}\namplifiers: [{name: L}, {name: L}]", r"two amplifiers of one name"),
        (
            'recognise: {A: b}\noverscan: none\namplifiers: [{overscan: {fits: "[1:2,*]"}}]',
            r"overscan: an amplifier has an overscan, and the camera has none",
        ),
        ("recognise: {A: b}\nrecognise: {A: c}", r"given twice"),
        ("recognise: [", r"not valid YAML"),
        ("7", r"holds no profile"),
        ("", r"holds no profile"),
        ("- LFC", r"holds no profile"),
    ],
)
def test_a_wrong_profile_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        profile(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "probe.yaml"))
    assert "\n" not in str(caught.value)


def test_the_documented_profile_is_valid_and_complete(tmp_path):
    """The example shows every key that the schema has."""
    text = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
    camera = profile(tmp_path, text)
    assert [amplifier.name for amplifier in camera.amplifiers] == ["left", "right"]
    schema = json.loads((FOLDER / SCHEMA).read_text(encoding="utf-8"))["properties"]
    for properties in (schema, schema["amplifiers"]["items"]["properties"]):
        assert not [key for key in properties if f"{key}:" not in text]
    assert not [key for key in schema["keywords"]["properties"] if key not in text]


def test_schema_and_code_know_the_same_names():
    schema = json.loads((FOLDER / SCHEMA).read_text(encoding="utf-8"))["properties"]
    sections = {"biassec", "trimsec", "datasec", "ccdsec"}
    assert set(schema["keywords"]["properties"]) == set(facts.KEYWORDS) - sections
    assert tuple(schema["types"]["items"]["properties"]["type"]["enum"]) == imagetypes.TYPES
    settings = {field.name for field in fields(ReductionRecipe)} - {"layout", "raw"}
    assert set(schema["reduction"]["properties"]) == settings


def test_a_missing_folder_of_profiles_is_said(tmp_path):
    with pytest.raises(UserError, match="folder of camera profiles is missing"):
        load_cameras(tmp_path / "none")


# -- recognition ------------------------------------------------------------------------------


def test_the_most_specific_profile_wins(tmp_path):
    wide = profile(tmp_path, 'recognise: {INSTRUME: "Pro*"}', "wide")
    exact = profile(tmp_path, "recognise: {INSTRUME: PROBE}", "exact")
    small = profile(tmp_path, 'recognise: {INSTRUME: "Pro*", NAXIS1: 12}', "small")
    twin = profile(tmp_path, "recognise: {DETECTOR: E2V}", "twin")
    made = header(12, 9, INSTRUME="PROBE", DETECTOR="e2v")
    assert identify([header(), made], [wide, exact], file="a").name == "exact"
    assert identify([header(), made], [wide, small, exact], file="a").name == "small"
    with pytest.raises(FrameError, match=r"recognise this frame equally well.*exact.*twin"):
        identify([made], [exact, twin], file="a.fits")
    # Windows of one camera: the size decides between profiles that are recognised alike.
    sized = replace(twin, name="sized", size=(12, 9))
    narrow = replace(twin, name="narrow", size=(10, None))
    assert identify([made], [exact, twin, sized, narrow], file="a.fits").name == "sized"
    assert identify([header(10, 9, DETECTOR="e2v")], [narrow, sized], file="a").name == "narrow"
    with pytest.raises(FrameError, match="or the `size` that each is for"):
        identify([header(11, 9, DETECTOR="e2v")], [narrow, sized], file="a")


def test_recognition_by_number_list_hdu_and_occurrence(tmp_path):
    made = header(12, 9, PORTS=2.0)
    made.append(("OBSTYPE", "OBJECT"))
    made.append(("OBSTYPE", 1))
    text = "recognise: {PORTS: [1, 2], OBSTYPE: {value: 1, occurrence: last, hdu: %d}}"
    assert identify([made], [profile(tmp_path, text % 0)], file="a").name == "probe"
    assert identify([made, made], [profile(tmp_path, text % 3)], file="a").name == "unknown"


def test_generic_cameras_have_speaking_names(tmp_path):
    assert generic_camera([header(), header(INSTRUME="Si 1110")]).name == "si_1110"
    assert generic_camera([header(DETECTOR="E2V")]).name == "e2v"
    assert generic_camera([header(INSTRUME="GMOS-N")]).name == "gmos-n"
    lfc = profile(tmp_path, "recognise: {INSTRUME: LFC, CHIPID: 3}", "lfc")
    assert identify([header(INSTRUME="LFC", CHIPID=0)], [lfc], file="a").name == "lfc-generic"


def test_two_instruments_never_share_a_name():
    """Blanks, slashes, a name as of a profile's, none: each is a camera of its own."""
    texts = [
        "TEST CAM", "TEST/CAM", "TEST-CAM", "TEST_CAM", "TEST  CAM", "TEST.CAM", "TESTCAM", "???",
        "!!!", "unknown", "lfc-generic", "test-cam-cb6dde66",
    ]  # fmt: skip
    lfc = frozenset({"lfc"})
    names = [generic_camera([header(INSTRUME=text)], taken=lfc).name for text in texts]
    names += [generic_camera([made], taken=lfc).name for made in (header(), header(INSTRUME="LFC"))]
    assert len(set(names)) == len(names)
    assert names[-2:] == ["unknown", "lfc-generic"]
    assert generic_camera([header(INSTRUME="TestCam")]).name == names[6] == "testcam"
    taken = frozenset({"lfc", "lfc-generic"})
    assert generic_camera([header(INSTRUME="LFC")], taken=taken).name == "lfc-generic-generic"


def test_a_frame_of_another_size_than_the_profiles_is_refused(tmp_path):
    text = 'recognise: {INSTRUME: P}\nsize: [16, null]\namplifiers: [{name: A, data: "[1:9,:]"}]'
    camera = profile(
        tmp_path, text.replace('"[1:9,:]"', '{fits: "[1:9,1:9]"}') + "\noverscan: none"
    )
    with pytest.raises(FrameError, match=r"not of the size.*found '12 x 9'.*allowed: 16 x any"):
        camera.geometry([header(12, 9, INSTRUME="P")], file="a")


def test_two_profiles_of_one_name_are_refused(tmp_path):
    for ending in ("yaml", "yml"):
        (tmp_path / f"lfc.{ending}").write_text("recognise: {INSTRUME: LFC}\noverscan: none\n")
    with pytest.raises(UserError, match=r"lfc\.yml: two profiles are of one camera: lfc\.yaml"):
        load_cameras(tmp_path)


# -- types ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("BIAS", "bias"), ("zero", "bias"), ("Bias Frame", "bias"),
        ("DARK", "dark"), ("Dark Frame", "dark"),
        ("FLATFIELD", "flat"), ("dome flat", "flat"), ("SKYFLAT", "flat"), ("FLAT,SKY", "flat"),
        ("DOME", "flat"),
        ("LAMP,FLAT", "flat"), ("LAMP,QFLAT", "flat"), ("TWIFLAT_R", "flat"),
        ("DARKFLAT", "dark"), ("Flat Field", "flat"), ("IntFlat", "flat"),
        ("object", "science"), ("Light Frame", "science"), ("OBJECT,POINT", "science"),
        ("comp", "arc"), ("WAVE,LAMP", "arc"), ("Line", "arc"),
        ("FOCUS", "other"),
    ],
)  # fmt: skip
def test_the_usual_image_types(written, understood):
    made = header(12, 9, IMAGETYP=written)
    found = generic_camera([made]).describe([made], file="a.fits")
    assert (found.imagetyp, found.type, found.reason) == (written, understood, "")


def test_an_image_type_nobody_knows_is_said():
    made = header(12, 9, IMAGETYP="florp")
    found = generic_camera([made]).describe([made], file="a.fits")
    assert (found.imagetyp, found.type) == ("florp", "")
    assert "unknown image type 'florp'" in found.reason
    found = generic_camera([made]).describe([header(12, 9)], file="a.fits")
    assert "no card says the image type" in found.reason


def test_rules_come_before_the_usual_types(tmp_path):
    camera = profile(
        tmp_path,
        """
recognise: {INSTRUME: PROBE}
keywords:
  imagetyp: {keyword: HIERARCH PROBE SHOT KIND, hdu: 1}
  exptime: [ELAPSED, EXPTIME]
  gain: none
types:
  - {type: bias, imagetyp: DARK, exptime: {max: 0}}
  - {type: flat, imagetyp: [OBJECT, SKY], cards: {LAMP: "on*"}}
  - {type: arc, imagetyp: florp}
""",
    )

    def described(kind, exptime=5, **cards):
        first = header(INSTRUME="PROBE", EXPTIME=exptime, GAIN=3, **cards)
        image = header(12, 9, PROBE__SHOT__KIND=kind)
        return camera.describe([first, image], file="a.fits")

    assert described("DARK", 0.0).type == "bias"
    assert described("DARK", 5).type == "dark"
    assert described("object", LAMP="On (5 V)").type == "flat"
    assert described("object", LAMP="off").type == "science"
    assert described("FLORP").type == "arc"
    assert described("DARK", 5, ELAPSED=7).exptime == 7
    assert described("DARK").gain is None


# -- time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "date_obs", "night"),
    [
        # The LFC's own frame 14: 04:17 UT is 20:30 of the day before at Palomar.
        (
            {"DATE_OBS": "2016-01-16", "UT": "04:17:28.00", "LONGITUD": -116.9},
            "2016-01-16T04:17:28",
            "2016-01-15",
        ),
        # The flats of the afternoon before and the arcs of the morning after belong to one night.
        ({"DATE_OBS": "2016-01-15T21:00", "LONGITUD": -116.9}, "2016-01-15T21:00:00", "2016-01-15"),
        ({"DATE_OBS": "2016-01-16T19:00", "LONGITUD": -116.9}, "2016-01-16T19:00:00", "2016-01-15"),
        ({"DATE_OBS": "2016-01-16T20:30", "LONGITUD": -116.9}, "2016-01-16T20:30:00", "2016-01-16"),
        ({"DATE_OBS": "16/01/98", "UT": "04:17:28.5"}, "1998-01-16T04:17:28.500", "1998-01-15"),
        ({"MJD_OBS": 57427.7153188}, "2016-02-09T17:10:03.544", "2016-02-09"),
        ({"JD": 2457403.678796}, "2016-01-16T04:17:27.974", "2016-01-15"),
        ({"DATE_OBS": "2016-01-16"}, "2016-01-16", "2016-01-16"),
        ({"DATE_OBS": "2016-01-16", "MJD_OBS": 57403.0}, "2016-01-16", "2016-01-16"),
        ({"DATE_OBS": "2016-01-16 04:00:60"}, "2016-01-16T04:01:00", "2016-01-15"),
        ({"DATE_OBS": "0000-00-00"}, "", "archive/run7"),
        # The header counts west positive: the sidereal time, 05:33:59 there, tells.
        (
            {"DATE_OBS": "2016-01-16T05:20:00", "LONGITUD": 111.6, "ST": "05:33:59"},
            "2016-01-16T05:20:00",
            "2016-01-15",
        ),
    ],
)  # fmt: skip
def test_the_night_of_a_frame(cards, date_obs, night):
    made = header(12, 9, **cards)
    found = generic_camera([made]).describe([made], file="archive/run7/a.fits")
    assert (found.date_obs, found.night) == (date_obs, night)


@pytest.mark.parametrize(
    ("file", "night"),
    [
        ("20160115/darks/a.fits", "2016-01-15"),
        ("n2016_01_15b/a.fits", "2016-01-15"),
        ("15jan2016/a.fits", "2016-01-15"),
        ("first night/a.fits", "first night"),
        ("a.fits", ""),
    ],
)
def test_the_folder_stands_in_for_the_night(file, night):
    made = header(12, 9)
    assert generic_camera([made]).describe([made], file=file).night == night


@pytest.mark.parametrize(
    ("cards", "longitude", "off"),
    [
        # Real frames: SAAO (no longitude card), ISIS (longitude and sidereal time).
        ({"DATE_OBS": "2013-07-13", "UT": "00:57:33", "ST": "21:45:06"}, 20.81, 0.3),
        (
            {"DATE_OBS": "2016-02-09", "UT": "17:10:03.435", "ST": "1:15:28.7",
             "LONGITUD": -17.881603},
            -17.881603, 1e-9,
        ),
        ({"DATE_OBS": "2016-02-09T17:10", "LONGITUD": "-17:52:53.8"}, -17.8816, 1e-4),
        ({"DATE_OBS": "2016-02-09T17:10", "LONGITUD": 289.3}, -70.7, 1e-9),
    ],
)  # fmt: skip
def test_the_longitude_of_real_headers(cards, longitude, off):
    made = header(12, 9, **cards)
    camera = generic_camera([made])
    reader = HeaderReader([made], dict(camera.cards), file="a.fits")
    found = nights.site_longitude(reader, nights.moment_of(reader).when)
    assert found == pytest.approx(longitude, abs=off)
    assert reader.warnings == []


# -- cards as they are ------------------------------------------------------------------------


def test_headers_are_not_changed_and_unreadable_cards_count_as_absent():
    text = "FILTER  = 1800 l/mm / not valid FITS"
    made = fits.Header.fromstring(
        "".join(card.ljust(80) for card in ("NAXIS   = 2", "NAXIS1  = 12", "NAXIS2  = 9", text))
    )
    camera = generic_camera([made])
    assert camera.describe([made], file="a.fits").filter == ""
    camera.geometry([made], file="a.fits")
    assert made.cards[-1]._image.strip() == text


def test_binning_however_it_is_written():
    for cards in (
        {"CCDSUM": "2 1"}, {"CCDSUM": "2x1"}, {"BINNING": "2,1"}, {"CCDBIN1": 2, "CCDBIN2": 1},
        {"XBINNING": 2, "YBINNING": 1},
    ):  # fmt: skip
        made = header(12, 9, **cards)
        assert generic_camera([made]).describe([made], file="a").ccdsum == "2 1"
    made = header(12, 9)
    assert generic_camera([made]).describe([made], file="a").ccdsum == ""


# -- recipes and keys -------------------------------------------------------------------------


def test_what_a_model_does_not_use_is_not_in_the_key():
    camera = generic_camera([header()])
    one, other = camera.recipe({"order": 3}), camera.recipe({"order": 5})
    assert one.canonical() == other.canonical()
    one, other = (
        camera.recipe({"order": 3, "model": "spline"}),
        ReductionRecipe(order=5, model="spline"),
    )
    assert one.canonical() != other.canonical()
    with pytest.raises(UserError, match="sigma_clip: not a setting"):
        camera.recipe({"sigma_clip": 3})


def test_notes_are_not_in_the_key_of_a_geometry():
    short = header(12, 40, BIASSEC="[11:12,1:39]", TRIMSEC="[1:10,1:40]")
    long = header(12, 40, BIASSEC="[11:12,1:40]", TRIMSEC="[1:10,1:40]")
    assert geometry(short).notes != geometry(long).notes
    assert geometry(short).canonical() == geometry(long).canonical()
    other = header(12, 40, BIASSEC="[12:12,1:40]", TRIMSEC="[1:10,1:40]")
    assert geometry(other).canonical() != geometry(long).canonical()


# -- frames that were reduced already ---------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "program"),
    [
        ({"CCDFLOW": "0.1.0"}, "ccdflow"),
        ({"SUBOSCAN": "ccd=<CCDData>, overscan=<CCDData>, median=True"}, "ccdproc"),
        ({"OVERSCAN": "Nov 22 14:17 Overscan section is [2056:2080,1:4128]"}, "IRAF"),
        ({"TRIM": "Nov 22 14:17 Trim data section is [1:2048,1:4128]"}, "IRAF"),
        ({"ZEROCOR": "Nov 22 14:17 Zero level correction image is Zero"}, "IRAF"),
        ({"CCDPROC": "Nov 22 14:17 CCD processing done"}, "IRAF"),
        ({"RLEVEL": 91}, "BANZAI"),
        ({"L1STATOV": "1"}, "BANZAI"),
        ({"PREPARE": "2021-01-01T00:00:00"}, "DRAGONS"),
        ({"OVERSCAN": 812.34}, "IRAF"),
        ({"ESO__PRO__CATG": "MASTER_BIAS"}, "ESO"),
        ({"CALSTAT": "BDF"}, "MaxIm"),
        ({"PROCTYPE": "InstCal"}, "NOIRLab"),
        ({"PRODCATG": "SCIENCE.IMAGE"}, "ESO"),
        ({"NCOMBINE": 11}, "combines"),
        ({"STACKCNT": 187}, "combines"),
        ({"IMAGETYP": "Master Flat"}, "masters"),
        ({"BLEVCORR": "COMPLETE", "BIASCORR": "COMPLETE"}, "Space Telescope"),
    ],
)
def test_reduced_frames_are_refused(cards, program):
    for headers in ([header(12, 9, **cards)], [header(), header(12, 9, **cards)]):
        with pytest.raises(FrameError, match=f"reduced already, by .*{program}"):
            refuse_reduced(headers, file="a.fits")


@pytest.mark.parametrize(
    "cards",
    [
        {"OVERSCAN": 32}, {"OVERSCAN": True}, {"OVERSCAN": "[1:10,1:9]"}, {"TRIM": False},
        {"ZEROCOR": "no"}, {"BIASCORR": "PERFORM"}, {"RLEVEL": 0}, {"L1STATOV": "N/A"},
        {"PROCTYPE": "raw"}, {"NCOMBINE": 1}, {"IRAF_TLM": "2025-06-12T07:19:38"}, {"CALSTAT": ""},
        {"BLEVCORR": "PERFORM", "DRIZCORR": "OMIT", "BIASCORR": "SKIPPED"}, {"STACKCNT": 1},
    ],
)  # fmt: skip
def test_raw_frames_are_not_refused(cards):
    refuse_reduced([header(12, 9, **cards)], file="a.fits")


# -- windows of chips with several amplifiers --------------------------------------------------


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
        # All of it lies on the right one.
        ({"CRVAL1U": 520, "DNAXIS1": 1024}, ["[1:440,1:9]"]),
        # In the middle, or of a chip that nobody knows: divided evenly, the latter with a warning.
        ({"CRVAL1U": 292, "DNAXIS1": 1024}, ["[1:220,1:9]", "[221:440,1:9]"]),
        ({"CRVAL1U": 0}, ["[1:220,1:9]", "[221:440,1:9]"]),
        ({"CRVAL1U": 400}, ["[1:220,1:9]", "[221:440,1:9]"]),
    ],
)
def test_the_window_says_where_the_amplifiers_meet(cards, data):
    made = header(504, 9, **(LICK | cards))
    found = geometry(made)
    assert [a.data.to_fits() for a in found.amplifiers] == data
    strips = {"A1": "[441:472,1:9]", "A2": "[473:504,1:9]"}
    for amplifier in found.amplifiers:
        assert amplifier.overscan[0].to_fits() == strips[amplifier.name]
    warned = "no card says how wide the chip is" in " ".join(found.notes)
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
    made = camera.geometry(headers, file="a", layout="extensions")
    assert [a.name for a in made.amplifiers] == names
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
    found = []
    for last in "ab":
        header = fits.Header(cards | {name: "y" * 140_000 + last for name in names})
        found.append(generic_camera([header]).describe([header], file="x.fits"))
    values = [vars(each) for each in found]
    assert max(len(str(value)) for each in values for value in each.values()) < 1000
    assert all(values[0][name] != values[1][name] for name in ("object", "filter", "readmode"))
