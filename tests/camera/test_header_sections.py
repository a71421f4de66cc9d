"""Sections, strips and numbers of columns in made-up headers that have the traits of real ones."""

import pytest
from camera_headers import geometry, header, only_amplifier, profile

from ccdflow.camera.cameras import generic_camera
from ccdflow.camera.profiles import load_camera
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError

# -- sections in the header -------------------------------------------------------------------


def test_sound_headers_need_no_profile():
    amplifier = only_amplifier(
        header(12, 9, BIASSEC="[ 11: 12,1:9]", TRIMSEC="[ 2:10 , 1:9 ]", GAIN=1.5)
    )
    assert amplifier.data.to_fits() == "[2:10,1:9]"
    assert [strip.to_fits() for strip in amplifier.overscan] == ["[11:12,1:9]"]
    assert amplifier.along == "rows"
    assert amplifier.place == Region(0, 9, 0, 9)
    assert amplifier.gain == 1.5


def test_trimsec_comes_before_datasec():
    amplifier = only_amplifier(
        header(12, 9, BIASSEC="[11:12,1:9]", TRIMSEC="[2:9,1:8]", DATASEC="[1:10,1:9]")
    )
    assert amplifier.data.to_fits() == "[2:9,1:8]"
    assert amplifier.overscan[0].to_fits() == "[11:12,1:8]"


def test_the_lfc_without_profile_gets_its_missing_row_with_a_warning():
    """BIASSEC is one row short; its length along the readout axis is that of the data."""
    frame_geometry = geometry(
        header(80, 128, BIASSEC="[49:80,1:127]", DATASEC="[1:48,1:128]", CCDSEC="[1:48,1:128]")
    )
    assert frame_geometry.amplifiers[0].overscan[0].to_fits() == "[49:80,1:128]"
    assert "127 of the 128 rows" in frame_geometry.notes[0].text


def test_a_strip_much_too_short_is_refused():
    with pytest.raises(FrameError, match=r"100 of the 128 rows.*along: frame"):
        geometry(header(80, 128, BIASSEC="[49:80,1:100]", DATASEC="[1:48,1:128]"))


def test_overscan_above_gives_a_level_a_column():
    amplifier = only_amplifier(header(9, 14, BIASSEC="[1:9,11:14]", TRIMSEC="[3:8,1:9]"))
    assert amplifier.along == "columns"
    assert amplifier.overscan[0].to_fits() == "[3:8,11:14]"


def test_a_biassec_at_the_corner_is_its_columns_beside_the_data():
    """Las Campanas' cameras name the corner; IRAF takes its columns from all rows of the data."""
    frame_geometry = geometry(
        header(80, 82, BIASSEC="[49:80,51:82]", DATASEC="[1:48,1:50]", TRIMSEC="[3:48,2:50]")
    )
    (amplifier,) = frame_geometry.amplifiers
    assert amplifier.along == "rows"
    assert amplifier.overscan[0].to_fits() == "[49:80,2:50]"
    assert "BIASSEC [49:80,51:82] is beside the corner" in frame_geometry.notes[0].text
    below = only_amplifier(header(80, 82, BIASSEC="[1:30,1:10]", DATASEC="[31:80,11:82]"))
    assert below.overscan[0].to_fits() == "[1:30,11:82]"


@pytest.mark.parametrize("size", ["96x40", "[96,40]", "96 X 40", "(96*40)"])
def test_the_size_of_a_detector_may_be_two_numbers(size):
    assert only_amplifier(header(96, 40, DETSIZE=size, DATASEC="[1:90,1:40]")).data.shape == (
        40,
        90,
    )
    with pytest.raises(FrameError, match="more pixels than the detector"):
        geometry(header(97, 40, DETSIZE=size))


def test_swapped_axes_are_read_rows_first_with_a_warning():
    frame_geometry = geometry(header(12, 90, BIASSEC="[1:90,11:12]", TRIMSEC="[1:90,1:10]"))
    assert frame_geometry.amplifiers[0].data.to_fits() == "[1:10,1:90]"
    assert frame_geometry.amplifiers[0].overscan[0].to_fits() == "[11:12,1:90]"
    assert "read rows first" in frame_geometry.notes[0].text


@pytest.mark.parametrize("text", ["[0:0,0:0]", "[ ]", "81:100,1:60", "[11:12,1:9,1:1]"])
@pytest.mark.parametrize("keyword", ["BIASSEC", "TRIMSEC", "CCDSEC"])
def test_an_empty_or_unreadable_section_has_a_remedy_for_the_profile(keyword, text):
    cards = {"BIASSEC": "[11:12,1:9]", "TRIMSEC": "[1:10,1:9]"} | {keyword: text}
    with pytest.raises(FrameError) as caught:
        geometry(header(12, 9, **cards))
    assert caught.value.keyword == keyword
    assert "`data` and `overscan` in a profile" in caught.value.remedy


def test_numbered_strips_beside_one_section_are_not_passed_over():
    cards = {"DATASEC": "[3:10,1:9]", "BIASSEC1": "[1:2,1:9]", "BIASSEC2": "[11:12,1:9]"}
    with pytest.raises(FrameError, match="strips are numbered, the data are not") as caught:
        geometry(header(12, 9, **cards))
    assert caught.value.keyword == "BIASSEC1, BIASSEC2"
    assert geometry(header(12, 9, **cards | {"BIASSEC": "[11:12,1:9]"})).amplifiers[0].overscan


def test_extensions_with_inherit_have_the_sections_of_the_primary():
    primary = header(BIASSEC="[11:12,1:9]", DATASEC="[1:10,1:9]")
    chips = [header(12, 9, DETSEC=f"[{x + 1}:{x + 10},1:9]") for x in (0, 10)]
    with pytest.raises(FrameError, match="differ in size"):
        geometry(primary, *chips)
    for chip in chips:
        chip["INHERIT"] = True
    frame_geometry = geometry(primary, *chips)
    assert frame_geometry.shape == (9, 20)
    assert {a.overscan[0].to_fits() for a in frame_geometry.amplifiers} == {"[11:12,1:9]"}


def test_windows_far_apart_on_a_detector_are_not_put_together():
    """Two guide windows in the corners of a mosaic: one image would be gigabytes of nothing."""
    cards = {"BIASSEC": "[11:12,1:9]", "DATASEC": "[1:10,1:9]"}
    chips = [header(12, 9, DETSEC=f"[{x}:{x + 9},{x}:{x + 8}]", **cards) for x in (1, 90_001)]
    frame_geometry = geometry(header(), *chips)
    assert frame_geometry.layout == "extensions"
    assert frame_geometry.shape == (9, 10)
    assert "far apart" in frame_geometry.notes[0].text


@pytest.mark.parametrize("text", ["UNKNOWN", "[0:0,0:0]", "chip 1"])
def test_a_profile_stands_in_for_a_detsec_that_can_not_be_read(tmp_path, text):
    camera = profile(tmp_path, 'recognise: {A: b}\namplifiers: [{data: {python: "[:, :10]"}}]')
    frame_geometry = camera.geometry([header(12, 9, DETSEC=text, CCDSEC=text)], file="a.fits")
    assert frame_geometry.shape == (9, 10)


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
    frame_geometry = load_camera(path).geometry([header(INSTRUME="PROBE"), *chips], file="a.fits")
    assert (frame_geometry.layout, frame_geometry.shape) == ("image", (5, 16))
    places = {a.name: (a.place.to_fits(), a.is_flipped_x) for a in frame_geometry.amplifiers}
    assert places == {
        "A1": ("[13:16,1:5]", True), "B1": ("[9:12,1:5]", True),
        "A2": ("[1:4,1:5]", False), "B2": ("[5:8,1:5]", False),
    }  # fmt: skip
    chips[0]["DETSEC"] = "[1:8,1:5]"
    frame_geometry = load_camera(path).geometry([header(INSTRUME="PROBE"), *chips], file="a.fits")
    assert frame_geometry.layout == "extensions"


def test_a_gain_is_above_zero_and_egain_is_in_electrons():
    """A ZWO's GAIN is a setting; NINA writes -1 where it is not known, MaxIm EGAIN 0."""
    assert only_amplifier(header(12, 9, GAIN=120, EGAIN=0.98)).gain == 0.98
    assert only_amplifier(header(12, 9, GAIN=1.3, EGAIN=0.0)).gain == 1.3
    assert only_amplifier(header(12, 9, GAIN=-1)).gain is None


def test_only_biassec_keeps_the_columns_beside_it():
    frame_geometry = geometry(header(12, 9, BIASSEC="[1:3,1:9]"))
    assert frame_geometry.amplifiers[0].data.to_fits() == "[4:12,1:9]"
    with pytest.raises(FrameError, match="which pixels are science"):
        geometry(header(12, 9, BIASSEC="[5:6,1:9]"))


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"BIASSEC": "[11:13,1:9]", "TRIMSEC": "[1:10,1:9]"}, "outside the frame"),
        ({"BIASSEC": "[11:12,1:9]", "TRIMSEC": "[0:10,1:9]"}, "outside the frame"),
        ({"BIASSEC": "[10:12,1:9]", "TRIMSEC": "[1:10,1:9]"}, "does not lie beside the data"),
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
    assert "profile" in caught.value.remedy


def test_a_section_that_says_nothing_counts_as_absent():
    frame_geometry = geometry(header(12, 9, BIASSEC="UNKNOWN", TRIMSEC="N/A", DATASEC=""))
    assert frame_geometry.amplifiers[0].along == "none"
    assert frame_geometry.shape == (9, 12)
    assert "left whole" in frame_geometry.notes[0].text


def test_trimmed_only_where_there_is_no_overscan():
    frame_geometry = geometry(header(12, 9, DATASEC="[1:10,1:9]"))
    assert (frame_geometry.shape, frame_geometry.amplifiers[0].overscan) == ((9, 10), ())
    assert "trimmed to [1:10,1:9] only" in frame_geometry.notes[0].text


def test_numbers_of_columns():
    amplifier = only_amplifier(header(20, 9, PRESCAN=2, OVERSCAN=3))
    assert (amplifier.data.to_fits(), amplifier.overscan[0].to_fits()) == (
        "[3:17,1:9]",
        "[18:20,1:9]",
    )
    assert "3 after the data" in geometry(header(20, 9, OVERSCAN=3)).notes[0].text
    assert only_amplifier(header(20, 9, POSTPIX=3.0, PREPIX="2")).data.to_fits() == "[3:17,1:9]"
    amplifier = only_amplifier(header(20, 9, PREPIX=4))
    assert (amplifier.data.to_fits(), amplifier.overscan[0].to_fits()) == (
        "[5:20,1:9]",
        "[1:4,1:9]",
    )


def test_keck_numbers_count_unbinned_columns():
    amplifier = only_amplifier(
        header(20, 9, PREPIX=4, POSTPIX=6, BINNING="2,1", DATASEC="[3:17,1:9]")
    )
    assert (amplifier.data.to_fits(), amplifier.overscan[0].to_fits()) == (
        "[3:17,1:9]",
        "[18:20,1:9]",
    )
    with pytest.raises(FrameError, match="count binned pixels"):
        geometry(header(20, 9, PREPIX=4, POSTPIX=6, BINNING="2,1"))


def test_two_amplifiers_side_by_side_in_one_image():
    """As Keck ESI: both prescans, both halves of the data, both overscans."""
    frame_geometry = geometry(
        header(2 * (2 + 8 + 3), 5, NUMAMPS=2, PREPIX=2, POSTPIX=3, WINDOW="0,0,0,16,5")
    )
    assert [a.data.to_fits() for a in frame_geometry.amplifiers] == ["[5:12,1:5]", "[13:20,1:5]"]
    assert [a.overscan[0].to_fits() for a in frame_geometry.amplifiers] == [
        "[21:23,1:5]",
        "[24:26,1:5]",
    ]
    assert frame_geometry.shape == (5, 16)
    with pytest.raises(FrameError, match="2 amplifiers in one image"):
        geometry(header(26, 5, NUMAMPS=2, PREPIX=2, POSTPIX=3))


def test_rows_above_and_below_two_amplifiers_side_by_side_are_cut():
    """Two rows below the data and one above them, of 8."""
    cards = {"NUMAMPS": 2, "PREPIX": 2, "POSTPIX": 3, "PRELINE": 2, "POSTLINE": 1}
    frame_geometry = geometry(header(2 * (2 + 8 + 3), 8, **cards, TRIMSEC="[5:20,3:7]"))
    assert [a.data.to_fits() for a in frame_geometry.amplifiers] == ["[5:12,3:7]", "[13:20,3:7]"]
    assert frame_geometry.amplifiers[0].overscan[0].to_fits() == "[21:23,3:7]"
    assert frame_geometry.shape == (5, 16)


def test_lick_strips_one_after_the_other():
    """As Kast without its profile: COVER counts an amplifier's columns, DATASEC agrees."""
    cards = {"AMPSROW": 2, "COVER": 3, "ROVER": 0, "DATASEC": "[1:16,1:5]"}
    frame_geometry = geometry(header(22, 5, **cards))
    assert [a.data.to_fits() for a in frame_geometry.amplifiers] == ["[1:8,1:5]", "[9:16,1:5]"]
    assert [a.overscan[0].to_fits() for a in frame_geometry.amplifiers] == [
        "[17:19,1:5]",
        "[20:22,1:5]",
    ]
    with pytest.raises(FrameError, match="2 amplifiers in one image"):
        geometry(header(22, 5, **cards | {"DATASEC": "[1:18,1:5]"}))


def test_keck_prescan_and_overscan_in_each_extension():
    """As LRIS: the numbers are in the primary and unbinned, the sections in the extensions."""
    primary = header(PRECOL=5, POSTPIX=8, BINNING="2,2", NUMAMPS=2)
    cards = {"DATASEC": "[3:10,1:7]"}
    one = header(14, 7, **cards, DETSEC="[1:16,1:14]", EXTNAME="VidInp1")
    two = header(14, 7, **cards, DETSEC="[32:17,1:14]", EXTNAME="VidInp2")
    frame_geometry = geometry(primary, one, two)
    assert [a.name for a in frame_geometry.amplifiers] == ["VidInp1", "VidInp2"]
    assert {a.overscan[0].to_fits() for a in frame_geometry.amplifiers} == {"[11:14,1:7]"}
    assert frame_geometry.amplifiers[1].place.to_fits() == "[9:16,1:7]"
    assert frame_geometry.amplifiers[1].is_flipped_x


# -- HIERARCH ---------------------------------------------------------------------------------


def eso(nx, ny, *outputs, **cards):
    frame_header = header(nx, ny, INSTRUME="FORS2", **cards)
    for number, values in enumerate(outputs, 1):
        for key, value in values.items():
            frame_header[f"HIERARCH ESO DET OUT{number} {key}"] = value
    return frame_header


def test_eso_output_at_the_right_has_its_prescan_there():
    """As EFOSC2: the output is at X = 2048, so its 6 columns of prescan are the last ones."""
    counts = {
        "NX": 24,
        "NY": 18,
        "X": 48,
        "Y": 1,
        "PRSCX": 6,
        "OVSCX": 0,
        "PRSCY": 0,
        "OVSCY": 4,
    }
    counts |= {"CONAD": 1.1, "GAIN": 0.91, "RON": 7.8}
    amplifier = only_amplifier(eso(30, 22, counts, ESO__DET__WIN1__BINX=2, ESO__DET__WIN1__BINY=2))
    assert amplifier.data.to_fits() == "[1:24,1:18]"
    assert amplifier.overscan[0].to_fits() == "[25:30,1:18]"
    assert amplifier.along == "rows"
    assert (amplifier.gain, amplifier.read_noise) == (1.1, 7.8)


def test_eso_strips_above_and_below():
    counts = {
        "NX": 20,
        "NY": 10,
        "X": 1,
        "Y": 1,
        "PRSCX": 0,
        "OVSCX": 0,
        "PRSCY": 2,
        "OVSCY": 3,
    }
    amplifier = only_amplifier(eso(20, 15, counts))
    assert (amplifier.data.to_fits(), amplifier.along) == ("[1:20,3:12]", "columns")
    assert amplifier.overscan[0].to_fits() == "[1:20,13:15]"


def test_eso_four_outputs_read_towards_the_corners():
    """As MUSE: overscans meet in the middle, prescans are outside."""
    base = {"NX": 8, "NY": 6, "PRSCX": 2, "OVSCX": 3, "PRSCY": 1, "OVSCY": 1}
    corners = [{"X": 1, "Y": 1}, {"X": 16, "Y": 1}, {"X": 16, "Y": 12}, {"X": 1, "Y": 12}]
    frame_geometry = geometry(eso(26, 16, *[base | corner for corner in corners]))
    assert frame_geometry.shape == (12, 16)
    assert [a.data.to_fits() for a in frame_geometry.amplifiers] == [
        "[3:10,2:7]", "[17:24,2:7]", "[17:24,10:15]", "[3:10,10:15]",
    ]  # fmt: skip
    assert [a.overscan[0].to_fits() for a in frame_geometry.amplifiers] == [
        "[11:13,2:7]", "[14:16,2:7]", "[14:16,10:15]", "[11:13,10:15]",
    ]  # fmt: skip
    assert frame_geometry.amplifiers[2].place.to_fits() == "[9:16,7:12]"


def test_eso_numbers_that_do_not_add_up_are_refused():
    counts = {
        "NX": 20,
        "NY": 10,
        "X": 1,
        "Y": 1,
        "PRSCX": 2,
        "OVSCX": 2,
        "PRSCY": 0,
        "OVSCY": 0,
    }
    with pytest.raises(
        FrameError, match="OUT1 NX, NY: prescan, valid pixels and overscan do not add up to"
    ):
        geometry(eso(22, 10, counts))


def test_facts_from_hierarch_cards_alone():
    frame_header = eso(20, 10, ESO__DPR__TYPE="FLAT,LAMP", MJD_OBS=59000.25, EXPTIME=3.5)
    frame_header["HIERARCH ESO TEL GEOLON"] = -70.4
    frame_header["HIERARCH ESO INS FILT1 NAME"] = "v_HIGH"
    facts = generic_camera([frame_header]).describe([frame_header], file="a.fits")
    assert (facts.imagetyp, facts.type, facts.filter) == ("FLAT,LAMP", "flat", "v_HIGH")
    assert (facts.date_obs, facts.night) == ("2020-05-31T06:00:00", "2020-05-30")


# -- files ------------------------------------------------------------------------------------


def test_empty_primary_and_tables_are_passed_over():
    table = header(16, 30, XTENSION="BINTABLE", TFIELDS=2)
    image = header(12, 9, XTENSION="IMAGE", BIASSEC="[11:12,1:9]", TRIMSEC="[1:10,1:9]")
    assert only_amplifier(header(IMAGETYP="zero"), table, image).hdu == 2
    tiles = header(12, 9, XTENSION="BINTABLE", BIASSEC="[11:12,1:9]", TRIMSEC="[1:10,1:9]")
    assert only_amplifier(header(), tiles).hdu == 1


def test_files_without_a_plane_image_are_refused():
    with pytest.raises(FrameError, match="no image"):
        geometry(header())
    cube = header(12, 9)
    cube["NAXIS"], cube["NAXIS3"] = 3, 4
    with pytest.raises(FrameError, match=r"two-dimensional.*12 x 9 x 4"):
        geometry(cube)
    cube["NAXIS3"] = 1
    assert geometry(cube).shape == (9, 12)
