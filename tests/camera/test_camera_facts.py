"""Type, time and night of frames, read from cards however they are written."""

import pytest
from astropy.io import fits
from camera_headers import header, profile

from ccdflow.camera.cameras import generic_camera
from ccdflow.camera.header_reader import HeaderReader
from ccdflow.camera.times import nights

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
        ("zro", "bias"), ("drk", "dark"), ("flt", "flat"), ("twi", "flat"), ("cmp", "arc"),
        ("Nullbild", "bias"), ("Dunkelbild", "dark"), ("Noir", "dark"), ("Image brute", "science"),
        ("Oscuro", "dark"), ("Plano", "flat"), ("Luz", "science"), ("Objeto", "science"),
        ("SPECLTARGET", "science"), ("SPECLFLAT", "flat"), ("SPECLLAMP", "arc"),
        ("OsirisBroadBandImage", "science"), ("OsirisSkyFlat", "flat"), ("OsirisBias", "bias"),
    ],
)  # fmt: skip
def test_the_usual_image_types(written, understood):
    frame_header = header(12, 9, IMAGETYP=written)
    facts = generic_camera([frame_header]).describe([frame_header], file="a.fits")
    assert (facts.imagetyp, facts.type, facts.reason) == (written, understood, "")


def test_a_word_of_two_meanings_is_no_image_type():
    """In German 'Hellbild' is used for flats and for frames of the sky."""
    frame_header = header(12, 9, IMAGETYP="Hellbild")
    facts = generic_camera([frame_header]).describe([frame_header], file="a.fits")
    assert facts.type == ""
    assert "unknown image type 'Hellbild'" in facts.reason


def test_an_unknown_image_type_has_a_warning():
    frame_header = header(12, 9, IMAGETYP="florp")
    facts = generic_camera([frame_header]).describe([frame_header], file="a.fits")
    assert (facts.imagetyp, facts.type) == ("florp", "")
    assert "unknown image type 'florp'" in facts.reason
    facts = generic_camera([frame_header]).describe([header(12, 9)], file="a.fits")
    assert "no card says the image type" in facts.reason


PROBE = "recognise: {INSTRUME: PROBE}\n"


def test_a_bias_of_600_seconds_is_warned_of_and_the_remedy_holds(tmp_path):
    """The frame counts as a bias until the profile names its type."""

    def describe_frame(text, seconds, kind="BIAS"):
        frame_header = header(12, 9, INSTRUME="PROBE", IMAGETYP=kind, EXPTIME=seconds)
        facts = profile(tmp_path, text).describe([frame_header], file="a.fits")
        return facts.type, tuple(text for text in facts.warnings if "date" not in text)

    for seconds in (0.0, 1e-5, 0.3, 1.0):
        assert describe_frame(PROBE, seconds) == ("bias", ())
    kind, (text,) = describe_frame(PROBE, 600.0)
    assert kind == "bias"
    rule = "types: [{type: dark, imagetyp: BIAS, exptime: {min: 1}}]"
    assert text == (
        "EXPTIME: 600 s is no exposure of a bias (found 600); allowed: up to 1 s; it counts as a"
        f" bias; if it is a dark, write into the camera's profile: {rule}; if it is none, the same"
        " with type: bias"
    )
    assert describe_frame(PROBE + rule, 600.0) == ("dark", ())
    assert describe_frame(PROBE + rule.replace("dark", "bias"), 600.0) == ("bias", ())
    # A rule without bounds of the exposure holds for every exposure.
    whole = PROBE + "types: [{type: bias, imagetyp: ZED}]"
    assert describe_frame(whole, 0.0, "ZED") == ("bias", ())
    assert "imagetyp: ZED, exptime: {min: 1}" in describe_frame(whole, 600.0, "ZED")[1][0]


@pytest.mark.parametrize(
    ("lines", "is_warned_of", "gain"),
    [
        ("", True, None),
        ("gain: 2\n", False, 2.0),
        ("gain: measured\n", False, None),
        ("amplifiers: [{name: A, gain: 2}]\n", False, 2.0),
        ("amplifiers: [{name: A}]\n", True, None),
    ],
)
@pytest.mark.parametrize("setting", [2, 0])
def test_the_gain_of_the_profile_is_the_remedy_for_a_header_without_one(
    tmp_path, setting, lines, is_warned_of, gain
):
    """A setting of the readout, and 0, get no warning if the profile has the gain."""
    frame_header = header(12, 9, INSTRUME="PROBE", GAIN=setting, OFFSET=10)
    camera = profile(tmp_path, PROBE + lines)
    facts = camera.describe([frame_header], file="a.fits")
    remedies = [text for text in facts.warnings if "write gain into the camera's profile" in text]
    assert (len(remedies), facts.gain) == (int(is_warned_of), None)
    (amplifier,) = camera.geometry([frame_header], file="a.fits").amplifiers
    assert amplifier.gain == gain


def test_a_dark_whose_exposure_is_in_darktime_is_no_bias(tmp_path):
    """EXPTIME is the shutter's, 0; the remedy that the warning names makes it a dark of 60 s."""

    def describe_frame(text, seconds):
        cards = {"INSTRUME": "PROBE", "IMAGETYP": "DARK", "EXPTIME": 0.0, "DARKTIME": seconds}
        facts = profile(tmp_path, text).describe([header(12, 9, **cards)], file="a.fits")
        return facts.type, facts.exptime, [text for text in facts.warnings if "date" not in text]

    kind, seconds, (text,) = describe_frame(PROBE, 60.0)
    assert (kind, seconds) == ("dark", 0.0)
    assert text.startswith("EXPTIME: no exposure of a dark whose DARKTIME is 60 s (found 0);")
    assert "keywords: {exptime: DARKTIME}" in text
    assert describe_frame(PROBE + "keywords: {exptime: DARKTIME}\n", 60.0) == ("dark", 60.0, [])
    # DARKTIME includes the readout, so that of a bias is some seconds.
    kind, seconds, (text,) = describe_frame(PROBE, 3.2)
    assert (kind, "taken for a bias" in text) == ("bias", True)


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

    def describe_frame(kind, exptime=5, **cards):
        first = header(INSTRUME="PROBE", EXPTIME=exptime, GAIN=3, **cards)
        image = header(12, 9, PROBE__SHOT__KIND=kind)
        return camera.describe([first, image], file="a.fits")

    assert describe_frame("DARK", 0.0).type == "bias"
    assert describe_frame("DARK", 5).type == "dark"
    assert describe_frame("object", LAMP="On (5 V)").type == "flat"
    assert describe_frame("object", LAMP="off").type == "science"
    assert describe_frame("FLORP").type == "arc"
    assert describe_frame("DARK", 5, ELAPSED=7).exptime == 7
    assert describe_frame("DARK").gain is None


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
        # The header counts west positive, as the sidereal time at the site, 05:33:59, shows.
        (
            {"DATE_OBS": "2016-01-16T05:20:00", "LONGITUD": 111.6, "ST": "05:33:59"},
            "2016-01-16T05:20:00",
            "2016-01-15",
        ),
    ],
)  # fmt: skip
def test_the_night_of_a_frame(cards, date_obs, night):
    frame_header = header(12, 9, **cards)
    facts = generic_camera([frame_header]).describe([frame_header], file="archive/run7/a.fits")
    assert (facts.date_obs, facts.night) == (date_obs, night)


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
    frame_header = header(12, 9)
    assert generic_camera([frame_header]).describe([frame_header], file=file).night == night


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
    frame_header = header(12, 9, **cards)
    camera = generic_camera([frame_header])
    reader = HeaderReader([frame_header], dict(camera.cards), file="a.fits")
    degrees_east = nights.site_longitude(reader, nights.moment_of(reader).time)
    assert degrees_east == pytest.approx(longitude, abs=off)
    assert reader.warnings == []


# -- cards as they are ------------------------------------------------------------------------


def test_headers_are_not_changed_and_unreadable_cards_count_as_absent():
    text = "FILTER  = 1800 l/mm / not valid FITS"
    frame_header = fits.Header.fromstring(
        "".join(card.ljust(80) for card in ("NAXIS   = 2", "NAXIS1  = 12", "NAXIS2  = 9", text))
    )
    camera = generic_camera([frame_header])
    assert camera.describe([frame_header], file="a.fits").filter == ""
    camera.geometry([frame_header], file="a.fits")
    assert frame_header.cards[-1]._image.strip() == text


def test_binning_however_it_is_written():
    for cards in (
        {"CCDSUM": "2 1"}, {"CCDSUM": "2x1"}, {"BINNING": "2,1"}, {"CCDBIN1": 2, "CCDBIN2": 1},
        {"XBINNING": 2, "YBINNING": 1},
    ):  # fmt: skip
        frame_header = header(12, 9, **cards)
        assert generic_camera([frame_header]).describe([frame_header], file="a").ccdsum == "2 1"
    frame_header = header(12, 9)
    assert generic_camera([frame_header]).describe([frame_header], file="a").ccdsum == ""
