"""Headers invented after real instruments: values known by the kind of a card's name."""

import numpy as np
import pytest
import yaml
from astropy.io import fits
from small_frames import run_jobs

from ccdflow.calibrate.combined_master import read_master
from ccdflow.camera.amplifiers.header_sections import drafts_from_header
from ccdflow.camera.facts import ProfileFacts, default_cards, frame_facts
from ccdflow.camera.gains import positive_electrons_of_cards
from ccdflow.camera.geometry import Cards
from ccdflow.camera.profiles import load_camera
from ccdflow.combine.member_noise import light_around
from ccdflow.errors import FrameError
from ccdflow.files.values import MOST_SATURATION, as_seconds

CARDS = Cards(**{name: default_cards()[name] for name in ("gain", "read_noise", "saturation")})


def header_of(*cards, nx=64, ny=48):
    """Return a primary header with an image and these cards, (keyword, value, comment)."""
    header = fits.Header()
    for keyword, value in (("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 2)):
        header[keyword] = value
    header["NAXIS1"], header["NAXIS2"] = nx, ny
    for keyword, *rest in cards:
        header.append((f"HIERARCH {keyword}" if " " in keyword else keyword, *rest))
    return header


def facts_of(*cards):
    return frame_facts([header_of(*cards)], default_cards(), (), ProfileFacts(), file="a/x.fits")


def warnings_of(facts):
    """Return the warnings on cards, without those on the date: these frames have none."""
    return tuple(text for text in facts.warnings if "night is unknown" not in text)


def test_several_filters_in_one_card_are_one_name_however_they_are_written():
    for text in ("g,r", "g ; r", "g|r", "g & r", "g and r", "g/r", "g r", "g, Clear, r"):
        facts = facts_of(("FILTER", text))
        assert facts.filter == "g+r", text
        (line,) = warnings_of(facts)
        assert line == (
            f"FILTER: several filters in one card (found {text!r}); all of them count as in the"
            " beam, as g+r; correct the card if only one was"
        )
    wheels = facts_of(("FILTER1", "g"), ("FILTER2", "r"))
    assert (wheels.filter, warnings_of(wheels)) == ("g+r", ())
    for text in (
        "V_Bes 530",
        "Halpha 6563/80",
        "SDSS g",
        "V/89_ESO843",
        "Johnson B",
        "g'",
        "r+ND2",
    ):
        facts = facts_of(("FILTER", text))
        assert (facts.filter, warnings_of(facts)) == (text, ())


def test_a_science_frame_of_no_exposure_and_a_gain_of_0_have_warnings():
    sky, flat = (facts_of(("IMAGETYP", kind), ("EXPTIME", 0.0)) for kind in ("object", "flat"))
    assert (sky.type, sky.exptime, flat.exptime) == ("science", None, 0.0)
    assert warnings_of(sky) == (
        "EXPTIME: no exposure of a science frame (found 0); allowed: above 0 s; it counts as"
        " unknown until the card is corrected",
    )
    for value in (-5.0, 3e9, "abc", "NaN"):
        facts = facts_of(("IMAGETYP", "dark"), ("EXPTIME", value))
        assert facts.exptime is None
        assert warnings_of(facts) == (
            f"EXPTIME: not an exposure in seconds (found {value!r}); allowed: 0 s up to below"
            " 2^31 s; it counts as unknown until the card is corrected",
        )
    remedy = (
        "allowed: electrons per adu, above 0; correct the card, or write gain into the camera's"
    )
    zero = facts_of(("GAIN", 0.0))
    # A gain of 0 counts as unknown, so that no master is named g0.0.
    assert zero.gain is None
    none = warnings_of(zero)
    assert none == (f"GAIN: no gain (found 0.0); {remedy} profile",)
    below = warnings_of(facts_of(("GAIN", -1.1)))
    assert below == (f"GAIN: not a number from 0 to 1e6 (found -1.1); {remedy} profile",)


def test_the_gains_of_further_amplifiers_are_looked_at():
    def gain_warnings(gain):
        images = [header_of(("GAIN", value)) for value in (1.1, gain)]
        return warnings_of(
            frame_facts(images, default_cards(), (), ProfileFacts(), file="a/x.fits")
        )

    assert gain_warnings(1.6) == gain_warnings("") == ()
    for value in (0.0, -2.0, "NaN"):
        (line,) = gain_warnings(value)
        assert line.startswith(
            f"image 2: GAIN: not a number from 0 to 1e6 (found {value!r}); allowed"
        )


def test_a_place_in_a_wheel_is_one_filter_however_its_number_is_written():
    names = [facts_of(("FILTER", value)).filter for value in (3, 3.0, "3", 3.5)]
    assert names == ["3", "3", "3", "3.5"]


def test_a_name_of_a_filter_comes_before_its_place_in_the_wheel():
    """After the wheel is refilled the place has another filter: a flat must not fit by it."""
    osmos = (("FILTER1", 1), ("FILTID1", "Open"), ("FILTER2", 3), ("FILTID2", "g"))
    assert facts_of(*osmos).filter == "g"
    assert facts_of(("FILTER", 2), ("FILTERID", "V")).filter == "V"
    assert facts_of(("FILTER1", 3), ("FILTER2", 5)).filter == "3+5"
    # The second wheel has no name of a filter: its place is kept beside the name of the first.
    assert facts_of(("FILTER1", "V"), ("FILTER2", 3)).filter == "V+3"


def test_of_numbered_optical_elements_the_filters_are_those_of_this_type():
    cards = [
        ("ESO INS OPTI-2 NAME", "Bessel R"), ("ESO INS OPTI-2 TYPE", "FILTER"),
        ("ESO INS OPTI-3 NAME", "Grism 7"), ("ESO INS OPTI-3 TYPE", "GRISM"),
        ("ESO INS OPTI-4 NAME", "Free hole"), ("ESO INS OPTI-4 TYPE", "FILTER"),
    ]  # fmt: skip
    assert facts_of(*cards).filter == "Bessel R"
    assert facts_of(("ESO INS OPTI-2 NAME", "Bessel R")).filter == ""


def test_a_filter_of_keck_or_of_several_wheels_in_one_card_is_no_open_place():
    """Flats of two filters were averaged where the name of the filter was lost."""
    for cards, name in (
        ([("DWFILNAM", "R")], "R"),
        ([("FIL1NAME", "kv380"), ("FIL2NAME", "clear")], "kv380"),
        ([("ACAMFILT", "SlnR+CLEAR")], "SlnR"),
        ([("ACAMFILT", "CLEAR+SlnG")], "SlnG"),
        ([("ACAMFILT", "CLEAR+CLEAR")], ""),
        ([("FILTER1", "1 Free"), ("FILTER2", "7 Bes V")], "7 Bes V"),
        ([("LFILNAME", "ug5"), ("FLATNAME", "R")], ""),
    ):
        assert facts_of(*cards).filter == name, cards


def test_a_mirror_or_an_open_place_is_no_disperser():
    """Direct images would else count as spectra: their flats are not compared."""
    for keyword, text in (
        ("GRATING", "MIRROR"), ("GRATENAM", "Mirror"), ("GRATING", "NO_GRATING"),
        ("GRISM", "OPEN"), ("ALGRNM", "Open (Lyot)"), ("GRISM", "8 Free"), ("GRISM", "Open+Open"),
    ):  # fmt: skip
        assert facts_of((keyword, text)).grism == "", text
    for keyword, text in (
        ("GRATENAM", "600ZD"), ("GRISM", "8 Grism 5"), ("GRISM", "R400+open"), ("GRM_ID", "LR-R"),
        ("GRATING", "No5"), ("DISPERSE", "VPHG1200@540"),
    ):  # fmt: skip
        assert facts_of((keyword, text)).grism == text
    assert facts_of(("GRISM", "OPEN"), ("GRATING", "B1200")).grism == "B1200"


def test_a_whole_number_in_gain_is_a_setting_for_cameras_of_makers_of_such_settings():
    for name in ("QHY CCD QHY183M-c1", "ZWO ASI2600MM Pro", "ASI1600MM", "ToupTek ATR3"):
        facts = facts_of(("INSTRUME", name), ("GAIN", 26.0))
        assert facts.gain is None, name
        assert "GAIN: a setting of the readout" in warnings_of(facts)[0]
    for name, gain in (("QHY183M", 0.8), ("ASIAGO AFOSC", 2), ("SBIG STX-16803", 2.0)):
        facts = facts_of(("INSTRUME", name), ("GAIN", gain))
        assert (facts.gain, warnings_of(facts)) == (float(gain), ()), name
    unit = facts_of(("INSTRUME", "ZWO ASI1600MM"), ("GAIN", 2.0, "e-/ADU"))
    assert (unit.gain, warnings_of(unit)) == (2.0, ())


def test_a_unit_of_electrons_and_its_statistic_after_a_read_noise():
    for text in ("5.0 e- rms", "5.0 e-", "5.0 electrons rms", "5.0 e-/pixel", "5.0 [e- rms]"):
        facts = facts_of(("READNOIS", text))
        assert (facts.rdnoise, warnings_of(facts)) == (5.0, ()), text


READ_NOISES = {
    "electrons": [
        (5.0, ""), (5.0, "[e-] read noise"), (5.0, "e-(rms) read noise"), (5.0, "in electrons"),
        (5.0, "Readout noise per output (e-)"), (5.0, "[electron], gain in e-/adu"),
        (5.0, "[el] of 2 ADU"), (5.0, "read noise [e-/adu]"), (5.0, "noise of the amplifier"),
        ("5.0 e-", "[ADU]"),
    ],
    "adu": [
        (4.0, "[ADU]"), (4.0, "(adu) read noise"), (4.0, "Read noise, DN"), (4.0, "in ADU rms"),
        (4.0, "[count] readout noise"), (4.0, "RMS noise in ADUs"), ("4.0 ADU", ""),
        ("4.0 DN rms", "read noise"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("gain_card", [("GAIN", 1.25, "[e-/ADU]"), ("GAIN", 0.8, "[ADU/e-]")])
def test_a_read_noise_is_in_the_unit_of_its_card(gain_card):
    frames = [(text, comment) for texts in READ_NOISES.values() for text, comment in texts]
    assert len(frames) == 18
    for value, comment in frames:
        cards = [gain_card, ("RDNOISE", value, comment)]
        facts = facts_of(*cards)
        assert (facts.gain, facts.rdnoise, warnings_of(facts)) == (1.25, 5.0, ()), (value, comment)
        drafts, _ = drafts_from_header([header_of(*cards)], CARDS, file="x.fits")
        assert [(draft.gain, draft.read_noise) for draft in drafts] == [(1.25, 5.0)]


def test_a_read_noise_in_adu_without_a_gain_is_unknown():
    facts = facts_of(("RDNOISE", 4.0, "[ADU]"))
    assert facts.rdnoise is None
    assert warnings_of(facts) == (
        "RDNOISE: not a number from 0 to 1e6, or in adu without a gain (found 4.0)",
    )


def test_a_saturation_in_electrons_is_brought_to_adu():
    gain = ("GAIN", 1.25)
    for comment, saturation in (
        ("[electron]", 40000.0), ("full well in e-", 40000.0), ("[ADU]", 50000.0), ("", 50000.0),
    ):  # fmt: skip
        headers = [header_of(gain, ("SATURATE", 50000.0, comment))]
        drafts, _ = drafts_from_header(headers, CARDS, file="x.fits")
        assert [draft.saturation for draft in drafts] == [saturation], comment
    facts = facts_of(("SATURATE", 50000.0, "[electron]"))
    assert warnings_of(facts) == (
        "SATURATE: not a number from 0 to 1e10, or in electrons without a gain (found 50000.0)",
    )


@pytest.mark.parametrize(
    ("text", "noise", "gain"),
    [
        ("gain: 2.5", 10.0, 2.5),
        ("gain: measured", None, None),
        ("amplifiers: [{name: A, gain: 2.5, overscan: {python: '[:, 32:]'},"
         " data: {python: '[:, :32]'}}]", 10.0, 2.5),
        ("amplifiers: [{name: A, gain: {keyword: MYGAIN}, overscan: {python: '[:, 32:]'},"
         " data: {python: '[:, :32]'}, read_noise: {keyword: MYNOISE}}]", 6.0, 2.0),
    ],
)  # fmt: skip
def test_the_gain_of_the_profile_is_that_of_a_read_noise_in_adu(text, noise, gain, tmp_path):
    path = tmp_path / "probe.yaml"
    path.write_text(f"recognise: {{INSTRUME: PROBE}}\n{text}\n")
    headers = [header_of(
        ("INSTRUME", "PROBE"), ("GAIN", 1.25, "[e-/adu]"), ("RDNOISE", 4.0, "[adu]"),
        ("MYGAIN", 0.5, "[adu/e-]"), ("MYNOISE", "3.0 DN"), nx=40, ny=24,
    )]  # fmt: skip
    camera = load_camera(path)
    (amplifier,) = camera.geometry(headers, file="a.fits").amplifiers
    assert (amplifier.gain, amplifier.read_noise) == (gain, noise)


def test_a_card_of_a_calibration_beside_science_has_a_warning():
    both = (("IMAGETYP", "object"), ("OBSTYPE", "DARK"), ("EXPTIME", 60.0))
    facts = facts_of(*both)
    assert (facts.type, warnings_of(facts)) == (
        "science",
        (
            "'object' is taken for science, and another card says 'DARK'; if it is of type dark,"
            " name the card that counts in the camera's profile: keywords: {imagetyp: CARD}",
        ),
    )
    # Keck's archive knows better than the instrument; a frame of the sky may be a flat.
    assert warnings_of(facts_of(("KOAIMTYP", "object"), *both)) == ()
    for imagetyp, obstype in (("sky", "FLAT"), ("object", "TARGET"), ("flat", "DOME")):
        cards = (("IMAGETYP", imagetyp), ("OBSTYPE", obstype), ("EXPTIME", 60.0))
        assert warnings_of(facts_of(*cards)) == (), (imagetyp, obstype)


def test_the_gains_of_several_images_are_numbered_in_the_primary_header():
    numbered = [("GAIN1", 2.0), ("GAIN2", 2.3), ("RDNOISE1", 5.0), ("RDNOISE2", 6.0)]

    def figures(*cards, own=()):
        headers = [fits.Header({"SIMPLE": True, "NAXIS": 0}), header_of(), header_of(*own)]
        headers[0].update(dict(cards))
        drafts, _ = drafts_from_header(headers, CARDS, file="x.fits")
        return [(draft.gain, draft.read_noise) for draft in drafts]

    assert figures(*numbered) == [(2.0, 5.0), (2.3, 6.0)]
    assert figures(*numbered, own=[("GAIN", 3.1)]) == [(2.0, 5.0), (3.1, 6.0)]
    # Numbers for more amplifiers than images, or for fewer, are not those of the images.
    assert figures(*numbered, ("GAIN3", 2.6), ("RDNOISE3", 7.0)) == [(2.0, 5.0), (2.0, 5.0)]
    assert figures(("GAIN1", 2.0)) == [(2.0, None), (2.0, None)]


def test_a_unit_of_time_at_the_end_of_a_comment():
    for comment, seconds in (
        ("exposure time, milliseconds", 0.06), ("Exposure - ms", 0.06), ("msec", 0.06),
        ("exposure time, microseconds", 6e-5), ("Exposure time, minutes", 3600.0),
        ("exposure time, to 1 ms", 60.0), ("exposure, resolution ms", 60.0),
        ("exposure (s), good to milliseconds", 60.0), ("exposure time in seconds", 60.0),
        ("of two frames", 60.0), ("", 60.0),
    ):  # fmt: skip
        assert as_seconds(60, comment) == pytest.approx(seconds), comment


def test_a_day_before_its_month_after_the_year_is_read_where_it_is_no_month():
    facts = facts_of(("DATE-OBS", "2025/16/12"), ("UT", "21:00:00"), ("LONGITUD", 41.4))
    assert (facts.date_obs, facts.night) == ("2025-12-16T21:00:00", "2025-12-16")
    usual = facts_of(("DATE-OBS", "2025/12/06"), ("UT", "21:00:00"), ("LONGITUD", 41.4))
    assert usual.night == "2025-12-06"
    assert facts_of(("DATE-OBS", "2025/16/32"), ("UT", "21:00:00")).date_obs == ""


def test_the_temperature_of_the_sensor_in_degrees_or_kelvin():
    for keyword, value, degrees in (
        ("TEMPCCD", -112.0, -112.0), ("CCDATEMP", -109.9, -109.9), ("CAMTEMP", "-120.1", -120.1),
        ("T-DET", 165.0, -108.15), ("TEMPCCD1", -109.0, -109.0),
    ):  # fmt: skip
        assert facts_of((keyword, value)).temperature == degrees, keyword


def test_clocks_set_by_hand_have_universal_time():
    cards = [("DATE-OBS", "2017-03-15T04:00:00"), ("LONGITUD", -111.6)]
    facts = facts_of(*cards, ("TIMESYS", "UTC approximate"))
    assert (facts.night, warnings_of(facts)) == ("2017-03-14", ())


def test_a_science_frame_at_noon_by_its_longitude_has_a_warning():
    def noon_warnings(longitude, time, exptime=300.0, kind="object", comment="", **more):
        cards = [("IMAGETYP", kind), ("EXPTIME", exptime), ("DATE-OBS", f"2017-03-15T{time}"),
                 ("LONGITUD", longitude, comment), *more.items()]  # fmt: skip
        facts = facts_of(*cards)
        return [w for w in facts.warnings if "middle of a day" in w]

    assert noon_warnings(121.6, "04:00:00") == [
        "LONGITUD: 121.6 degrees east makes this the middle of a day, -121.6 of a night: if it is"
        " counted west, write into the camera's profile: site: {longitude: -121.6}; else its date"
        " or time is wrong"
    ]
    assert noon_warnings(121.6, "04:00:00", comment="degrees west") == []
    assert noon_warnings(-121.6, "04:00:00") == noon_warnings(121.6, "16:00:00") == []
    # A lamp or the sun may be exposed at noon, and a site near Greenwich has noon with either sign.
    assert noon_warnings(121.6, "04:00:00", exptime=30.0) == []
    assert noon_warnings(121.6, "04:00:00", kind="dark") == noon_warnings(5.0, "12:00:00") == []


def test_a_filter_is_known_by_the_name_of_its_card():
    for keyword in ("INSFLNAM", "FLT_ID", "CCDFLTID", "ESO INS FILT4 NAME", "CAHA INS FILT NAME"):
        assert facts_of((keyword, "V_Bes 530")).filter == "V_Bes 530", keyword
    both = facts_of(("CCDFLTID", "B"), ("IRFLTID", "J"), ("FLTWHEEL", "Open"), ("FLTPOS", "3a"))
    assert both.filter == "B+J"
    # A listed card counts before others, unless it names an open place.
    assert facts_of(("FILTER", "R"), ("MYFLTID", "none at all")).filter == "R"
    assert facts_of(("FILTER", "Open"), ("ESO INS FILT5 NAME", "Ha")).filter == "Ha"
    for text in ("CF-CLEAR1", "WaveplateOut", "Open (Lyot)", "No Filter"):
        assert facts_of(("USFLTNM", text)).filter == "", text
    assert facts_of(("FLATFILE", "f.fits"), ("FILTSYS", "SDSS"), ("INSFLID", 5)).filter == ""


@pytest.mark.parametrize(
    ("cards", "gain"),
    [
        ([("GAIN", 139), ("EGAIN", 1.0069)], 1.0069),
        ([("GAIN", 139), ("OFFSET", 0)], None),
        ([("GAIN", 2), ("BLKLEVEL", 10)], None),
        ([("GAIN", 120.0, "Sensor gain")], None),
        ([("GAIN", 0.8, "[adu/e-] conversion")], 1.25),
        ([("GAIN", 0.8, "ADU per electron")], 1.25),
        ([("GAIN", 0.8, "counts per e-")], 1.25),
        ([("GAIN", "0.8 DN/e-")], 1.25),
        ([("CCDSENS", 0.8, "(DN/electron)"), ("OFFSET", 10)], 1.25),
        ([("GAIN", 2, "[adu/e-]"), ("OFFSET", 10)], 0.5),
        ([("GAIN", 1.25, "[electron/adu], the inverse of 0.8 adu/electron")], 1.25),
        ([("GAIN", 0.8, "electrons to ADU")], None),
        ([("GAIN", 2)], 2.0),
        # Ekos writes settings as real numbers, Andor's programs that of the multiplier.
        ([("GAIN", 100.0, "Gain")], None),
        ([("GAIN", 2.0, "Gain"), ("OFFSET", 10.0)], None),
        ([("GAIN", 1.0, "Gain"), ("OUTPTAMP", "Conventional")], None),
        ([("GAIN", 2.0, "Preamp gain (e-/ADU)"), ("OUTPTAMP", "Conventional")], 2.0),
        ([("GAIN", "2.0 e-/ADU"), ("OFFSET", 10)], 2.0),
        ([("GAIN", 2.0, "e-/ADU"), ("OFFSET", 10)], 2.0),
        ([("GAIN", 2, "electrons per adu"), ("BLKLEVEL", 10)], 2.0),
        ([("GAIN", 2.5), ("OFFSET", 10)], 2.5),
        ([("GAIN", "0.72 (e-/adu)")], 0.72),
        ([("CCDSENS", 2.3)], 2.3),
        ([("RO_GAIN", 1.9)], 1.9),
        ([("ESO DET OUT1 GAIN", 0.8), ("ESO DET OUT1 CONAD", 1.25)], 1.25),
    ],
)
def test_a_gain_is_electrons_per_adu_and_no_setting(cards, gain):
    frame_facts = facts_of(*cards)
    assert frame_facts.gain == gain
    assert [w for w in frame_facts.warnings if "GAIN" in w] == (
        []
        if gain is not None
        else [
            f"GAIN: a setting of the readout, not electrons per adu (found {cards[0][1]}); allowed:"
            " electrons per adu, above 0; correct the card, or write gain into the camera's profile"
        ]
    )
    # The reduction uses the same number as the table.
    assert positive_electrons_of_cards([header_of(*cards)], default_cards()["gain"], 0) == gain


@pytest.mark.parametrize(
    ("cards", "date_obs"),
    [
        ([("UTSHUT", "2019-05-03T03:11:03.4")], "2019-05-03T03:11:03.400"),
        ([("EXPEND", "2019-05-03T04:00:00"), ("SHUTOPEN", "2019-05-03T03:11:03")],
         "2019-05-03T03:11:03"),
        ([("OBSMJD", 58300.25)], "2018-07-01T06:00:00"),
        ([("DATE-OBS", "2016-02-03"), ("EXPSTART", "21:05:33"), ("LST", "09:00:00")],
         "2016-02-03T21:05:33"),
        ([("DATE-OBS", "2013-06-07"), ("TM_START", 76331.0)], "2013-06-07T21:12:11"),
        ([("DATE-OBS", "2016-02-03"), ("EXPEND", "21:05:33"), ("LTSTART", "20:00:00"),
          ("STSTART", "09:00:00")], "2016-02-03"),
        ([("DATE", "2019-05-03T03:11:03"), ("FILEBEG", "2019-05-03T03:11:03")], ""),
    ],
)  # fmt: skip
def test_the_start_of_an_exposure_is_known_by_the_name_of_its_card(cards, date_obs):
    assert facts_of(*cards).date_obs == date_obs


def test_parts_of_instruments_and_places_of_windows_tell_frames_apart():
    for keyword, one, other in (
        ("ESO OCS CON QUAD", 1, 2), ("FPA", "DBSP_BLUE", "DBSP_RED"), ("SPECTID", "BL", "RD"),
        ("CHANNEL", "g", "r"), ("DETPOS", "S29", "N4"), ("X1", 0, 1024), ("Y2", 48, 300),
    ):  # fmt: skip
        settings = {facts_of((keyword, value)).setting for value in (one, other)}
        assert len(settings) == 2, keyword
    # The quadrants of one chip, in files of their own; gains and amplifiers by letters.
    for keyword, one, other in (
        ("OPAMP", 1, 2), ("GAINM", "HIGH", "LOW"), ("AMPM", "A", "B"), ("AGAIN_01", 0.33, 0.66),
        ("READAMPS", "Quad", "LL"), ("GTINDEX", 1, 2),
    ):  # fmt: skip
        settings = {facts_of((keyword, value)).setting for value in (one, other)}
        assert len(settings) == 2, keyword
    # The time at which a frame was read out is not a setting of the readout.
    assert facts_of(("READTIME", "2014-05-01T22:01:51.2")).setting == ""
    assert facts_of(("READTIME", 1e-6)).setting != ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Dome flat V", "flat"), ("twilight B", "flat"), ("skyflat r", "flat"),
        ("FlatField_R_3s", "flat"), ("FeAr lamp", "arc"), ("bias 2x2", "bias"), 
        ("Dark 300s", "dark"),
        ("Dark Nebula B33", ""), ("flat galaxy FGC 12", ""), ("M31", ""), ("zero point star", ""),
        ("HD 1234", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_target_named_like_a_calibration_has_a_warning_with_its_type(name, kind):
    frame_facts = facts_of(("IMAGETYP", "object"), ("OBJECT", name), ("EXPTIME", 3.0))
    assert frame_facts.type == "science"
    advice = [w for w in frame_facts.warnings if "if it is of type" in w]
    assert [w.split("if it is of type ")[1].split(",")[0] for w in advice] == (
        [kind] if kind else []
    )


def test_the_rule_of_a_warning_names_the_card_and_can_be_read():
    cards = (("IMAGETYP", "Light: a"), ("TARGNAME", "Flat: R"), ("EXPTIME", 3.0))
    frame_facts = facts_of(*cards)
    (advice,) = [w for w in frame_facts.warnings if "if it is of type" in w]
    (rule,) = yaml.safe_load(advice.split("types: ")[1])
    assert rule == {"type": "flat", "imagetyp": "Light: a", "cards": {"TARGNAME": "Flat: R"}}


def test_words_of_one_instrument_in_one_word():
    assert facts_of(("OBSMODE", "OsirisBias")).type == "bias"
    assert facts_of(("OBSMODE", "OsirisSkyFlat")).type == "flat"
    assert facts_of(("OBSMODE", "IMAGING"), ("IMAGETYP", "zero")).type == "bias"
    assert facts_of(("NDFCLASS", "MFFFF")).type == "flat"


def write_extensions(path, kind, number, *, light, has_strips=False):
    """Write a file of two images of unlike sizes, and perhaps their overscans as images."""
    rng = np.random.default_rng(number)
    primary = fits.PrimaryHDU(
        header=fits.Header(
            {"INSTRUME": "MOSAIC", "IMAGETYP": kind, "EXPTIME": 5.0 * bool(light),
             "DATE-OBS": f"2024-03-10T04:{number:02d}:00", "LONGITUD": -111.6, "FILTER": "V"}
        )
    )  # fmt: skip
    hdus = [primary]
    for name, shape, level, scale in (("Q1", (48, 64), 300, 1), ("Q2", (40, 56), 400, 3)):
        data = level + light * scale + np.sqrt(light * scale + 9) * rng.standard_normal(shape)
        hdus.append(fits.ImageHDU(np.rint(data).astype(np.uint16), name=name))
    for name in ("OVERSCAN1", "OVERSCAN2") if has_strips else ():
        hdus.append(fits.ImageHDU(np.full((48, 10), 300, np.uint16), name=name))
    fits.HDUList(hdus).writeto(path)


@pytest.mark.parametrize("strips", [False, True])
def test_each_of_several_images_has_its_own_uncertainty_and_mask(strips, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for n in range(3):
        write_extensions(raw / f"b{n}.fits", "bias", n, light=0, has_strips=strips)
        write_extensions(raw / f"f{n}.fits", "flat", n + 10, light=10_000, has_strips=strips)
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame", "bias", "flat"))
    warnings = [line for line in run.lines if "OVERSCAN1, OVERSCAN2: overscan in an image" in line]
    assert bool(warnings) == strips
    (flat,) = (tmp_path / "results" / "combined").rglob("flat*.fits")
    with fits.open(flat) as hdus:
        names = [hdu.name for hdu in hdus[1:]]
        # Images first, as in a reduced frame: an image has one index in all products.
        assert names == ["Q1", "Q2", "UNCERT1", "MASK1", "UNCERT2", "MASK2"]
        errors = [hdus[name].data.copy() for name in ("UNCERT1", "UNCERT2")]
    for image, error in zip(read_master(flat, "flat").images, errors, strict=True):
        assert image.data.shape == error.shape
        assert np.allclose(image.error(), error)


def range_cards(name, first, last, strip, letter="S"):
    """Return Subaru's cards of one amplifier: its columns, and those of its overscan."""
    values = {"EFMN": (first, 1), "EFMX": (last, 48), "OSMN": (strip[0], 1), "OSMX": (strip[1], 48)}
    return [
        (f"{letter}_{k}{name}{axis + 1}", v[axis]) for k, v in values.items() for axis in (0, 1)
    ]


@pytest.mark.parametrize("letter", ["S", "T"])
def test_first_and_last_pixels_of_amplifiers(letter):
    """Suprime-Cam writes S_EFMN11, Hyper Suprime-Cam T_EFMN11."""
    cards = [
        *range_cards(1, 1, 22, (23, 32), letter),
        *range_cards(2, 43, 64, (33, 42), letter),
        (f"{letter}_GAIN2", 3.1),
    ]
    drafts, notes = drafts_from_header([header_of(*cards)], CARDS, file="x.fits")
    assert [(d.data.to_fits(), d.overscan[0].to_fits(), d.gain) for d in drafts] == [
        ("[1:22,1:48]", "[23:32,1:48]", None),
        ("[43:64,1:48]", "[33:42,1:48]", 3.1),
    ]
    assert notes == []
    cards = range_cards(1, 1, 80, (81, 90), letter)
    with pytest.raises(FrameError, match="outside the frame"):
        drafts_from_header([header_of(*cards)], CARDS, file="x.fits")


def drafts_of(*cards):
    """Return [(data, [strips])] of the amplifiers of a header with these cards, as in FITS."""
    drafts, _ = drafts_from_header([header_of(*cards)], CARDS, file="x.fits")
    return [(d.data.to_fits(), [strip.to_fits() for strip in d.overscan]) for d in drafts]


def test_columns_before_and_after_the_data_of_the_liverpool_telescope():
    counts = (("PRESCAN", 4), ("POSTSCAN", 10))
    assert drafts_of(*counts) == [("[5:54,1:48]", ["[55:64,1:48]"])]
    assert drafts_of(("PRESCAN", 4), ("POSTSCAN", "ON")) == [("[5:64,1:48]", ["[1:4,1:48]"])]


def test_a_card_of_the_size_of_the_data_tells_how_a_binned_frame_counts_its_overscan():
    """Lick counts binned columns, others those of the chip."""
    binned = (("CCDXBIN", 2), ("CCDYBIN", 2), ("COVER", 16))
    with pytest.raises(FrameError, match="the frame is binned"):
        drafts_of(*binned)
    as_counted = [("[1:48,1:48]", ["[49:64,1:48]"])]
    assert drafts_of(*binned, ("DNAXIS1", 96), ("DNAXIS2", 96)) == as_counted
    assert drafts_of(*binned, ("CCDXIMSI", 48), ("CCDYIMSI", 48)) == as_counted
    unbinned_counts = [("[1:56,1:48]", ["[57:64,1:48]"])]
    assert drafts_of(*binned, ("CCDXIMSI", 56), ("CCDYIMSI", 48)) == unbinned_counts
    with pytest.raises(FrameError, match="the frame is binned"):
        drafts_of(*binned, ("CCDXIMSI", 50), ("CCDYIMSI", 48))


def test_the_time_of_lick_is_no_section():
    seconds = (("TSEC", 1710126000), ("TUSEC", 12345))
    assert drafts_of(*seconds) == drafts_of() == [("[1:64,1:48]", [])]
    with pytest.raises(FrameError, match="is no section in quotes"):
        drafts_of(("TRIMSEC", 1710126000))
    section = (("TSEC", "[1:50,1:48]"), ("BSEC", "[51:64,1:48]"))
    assert drafts_of(*section) == [("[1:50,1:48]", ["[51:64,1:48]"])]


@pytest.mark.parametrize(
    ("card", "is_warned_of"),
    [
        (("NBIASCOL", 16), True), (("OVERSCAN", "ON"), True), (("XOVERSC", "[50:64]"), True),
        (("NBIASCOL", 0), False), (("OVERSCAN", "OFF"), False), (("OVERSCN", "N/A"), False),
    ],
)  # fmt: skip
def test_a_card_about_an_overscan_is_not_passed_over_in_silence(card, is_warned_of):
    _, notes = drafts_from_header([header_of(card)], CARDS, file="x.fits")
    assert (
        any(f"warning: {card[0]} {card[1]}: about an overscan" in each.table_text for each in notes)
        == is_warned_of
    )


def test_the_light_of_an_amplifier_narrower_than_a_box():
    frames = np.random.default_rng(3).normal(100, 1, (3, 8, 24))
    light = light_around(frames)
    assert light.shape == (8, 24)
    assert np.allclose(light, 100, atol=1)


@pytest.mark.parametrize("value", [1e300, 1.7976931348623157e308, 4.9e-324, "1D300 e-/adu", 1e7])
def test_numbers_that_no_detector_has_are_unknown(value):
    """The squares of the largest would overflow, and the plan of all nights would fail."""
    headers, cards = [header_of(("GAIN", value), ("RDNOISE", value))], default_cards()
    assert positive_electrons_of_cards(headers, cards["gain"], 0) is None
    assert positive_electrons_of_cards(headers, cards["read_noise"], 0) is None


@pytest.mark.parametrize(
    ("value", "comment", "seconds"),
    [
        (1e300, "", None), (-1e308, "", None), (4.9e-324, "", None), ("1E308 h", "", None),
        (1e12, "[ms]", 1e9), (1e13, "[ms]", None), (0, "", 0.0), (1e-6, "", 1e-6),
        (-5.0, "", -5.0),
    ],
)  # fmt: skip
def test_an_exposure_of_2_to_the_31_seconds_or_more_is_unknown(value, comment, seconds):
    assert as_seconds(value, comment) == seconds


@pytest.mark.parametrize(("value", "saturation"), [(4294967295, 4294967295.0), (1e300, None)])
def test_a_saturation_may_be_one_of_integers_of_32_bits(value, saturation):
    headers, cards = [header_of(("SATURATE", value))], default_cards()["saturation"]
    assert positive_electrons_of_cards(headers, cards, 0, largest=MOST_SATURATION) == saturation
