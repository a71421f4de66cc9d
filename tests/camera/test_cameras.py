"""Recognition of cameras, and of frames that were reduced already."""

from dataclasses import replace

import pytest
from camera_headers import header, profile

from ccdflow.camera.cameras import generic_camera, identify
from ccdflow.camera.profiles import load_cameras
from ccdflow.camera.reduction_marks import is_called_master, refuse_reduced
from ccdflow.errors import FrameError, UserError

# -- recognition ------------------------------------------------------------------------------


def test_the_most_specific_profile_wins(tmp_path):
    wide = profile(tmp_path, 'recognise: {INSTRUME: "Pro*"}', "wide")
    exact = profile(tmp_path, "recognise: {INSTRUME: PROBE}", "exact")
    small = profile(tmp_path, 'recognise: {INSTRUME: "Pro*", NAXIS1: 12}', "small")
    twin = profile(tmp_path, "recognise: {DETECTOR: E2V}", "twin")
    frame_header = header(12, 9, INSTRUME="PROBE", DETECTOR="e2v")
    assert identify([header(), frame_header], [wide, exact], file="a").name == "exact"
    assert identify([header(), frame_header], [wide, small, exact], file="a").name == "small"
    with pytest.raises(
        FrameError, match=r"recognise this frame equally well.*exact.*twin.*; allowed: one profile"
    ):
        identify([frame_header], [exact, twin], file="a.fits")
    # Windows of one camera: the size decides between profiles with the same cards.
    sized = replace(twin, name="sized", size=(12, 9))
    narrow = replace(twin, name="narrow", size=(10, None))
    assert identify([frame_header], [exact, twin, sized, narrow], file="a.fits").name == "sized"
    assert identify([header(10, 9, DETECTOR="e2v")], [narrow, sized], file="a").name == "narrow"
    with pytest.raises(FrameError, match="or the `size` that each is for"):
        identify([header(11, 9, DETECTOR="e2v")], [narrow, sized], file="a")


def test_recognition_by_number_list_hdu_and_occurrence(tmp_path):
    frame_header = header(12, 9, PORTS=2.0)
    frame_header.append(("OBSTYPE", "OBJECT"))
    frame_header.append(("OBSTYPE", 1))
    text = "recognise: {PORTS: [1, 2], OBSTYPE: {value: 1, occurrence: last, hdu: %d}}"
    assert identify([frame_header], [profile(tmp_path, text % 0)], file="a").name == "probe"
    assert (
        identify([frame_header, frame_header], [profile(tmp_path, text % 3)], file="a").name
        == "unknown"
    )


def test_generic_cameras_have_speaking_names(tmp_path):
    assert generic_camera([header(), header(INSTRUME="Si 1110")]).name == "si_1110"
    assert generic_camera([header(DETECTOR="E2V")]).name == "e2v"
    assert generic_camera([header(INSTRUME="GMOS-N")]).name == "gmos-n"
    for keyword in ("CAMERAS", "FPA", "HEAD"):
        assert generic_camera([header(**{keyword: "B1"})]).name == "b1"
    lfc = profile(tmp_path, "recognise: {INSTRUME: LFC, CHIPID: 3}", "lfc")
    assert identify([header(INSTRUME="LFC", CHIPID=0)], [lfc], file="a").name == "lfc-generic"


def test_two_instruments_never_share_a_name():
    """Each text is the name of another camera: with blanks, slashes, a profile's name, or empty."""
    texts = [
        "TEST CAM", "TEST/CAM", "TEST-CAM", "TEST_CAM", "TEST  CAM", "TEST.CAM", "TESTCAM", "???",
        "!!!", "unknown", "lfc-generic", "test-cam-cb6dde66",
    ]  # fmt: skip
    lfc = frozenset({"lfc"})
    names = [generic_camera([header(INSTRUME=text)], used_names=lfc).name for text in texts]
    names += [
        generic_camera([made], used_names=lfc).name for made in (header(), header(INSTRUME="LFC"))
    ]
    assert len(set(names)) == len(names)
    assert names[-2:] == ["unknown", "lfc-generic"]
    assert generic_camera([header(INSTRUME="TestCam")]).name == names[6] == "testcam"
    taken = frozenset({"lfc", "lfc-generic"})
    assert generic_camera([header(INSTRUME="LFC")], used_names=taken).name == "lfc-generic-generic"


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
        ({"NCOMBINE": 11}, "a program that combines frames"),
        ({"STACKCNT": 187}, "a program that combines frames"),
        ({"IMAGETYP": "Master Flat"}, "a program that makes masters"),
        ({"BLEVCORR": "COMPLETE", "BIASCORR": "COMPLETE"}, "Space Telescope"),
        ({"BUNIT": "adu/s"}, "a program that made rates or fluxes of it"),
        ({"BUNIT": "electron s-1"}, "a program that made rates or fluxes of it"),
        ({"BUNIT": "counts per second"}, "a program that made rates or fluxes of it"),
        ({"HISTORY": "Bias subtracted by hand"}, "a program that says so in its log"),
        ({"BUNIT": "MJy/sr"}, "a program that made rates or fluxes of it"),
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
        {"BUNIT": "ADU"}, {"BUNIT": "electrons"}, {"BUNIT": "counts"}, {"BUNIT": "DN/pixel"},
        {"BLEVCORR": "PERFORM", "DRIZCORR": "OMIT", "BIASCORR": "SKIPPED"}, {"STACKCNT": 1},
    ],
)  # fmt: skip
def test_raw_frames_are_not_refused(cards):
    assert refuse_reduced([header(12, 9, **cards)], file="a.fits") is None


@pytest.mark.parametrize("keyword", ["IMAGETYP", "OBSTYPE", "FRAME"])
def test_masters_are_known_by_the_cards_of_their_type_alone(keyword):
    headers = [header(), header(12, 9, **{keyword: "Master bias"})]
    assert is_called_master(headers)
    with pytest.raises(FrameError, match="reduced already, by a program that makes masters"):
        refuse_reduced(headers, file="a.fits")
    assert refuse_reduced(headers, file="a.fits", is_master_sought=False) is None
    assert not is_called_master([header(12, 9, **{keyword: 14}), header(OBJECT="Master bias")])
