"""A warning names two cards of one time that disagree; cards that agree give none."""

from datetime import timedelta

import pytest
from astropy.io import fits

from ccdflow.camera.cameras import generic_camera
from ccdflow.camera.times.dates import read_clock

OBS, MJD, JD = "2022-01-28T04:54:24", 59607.2044444, 2459607.7044444


def warnings_of(**cards):
    header = fits.Header({"SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": 9, "NAXIS2": 9})
    header.update({"IMAGETYP": "object", "EXPTIME": 180.0, "LONGITUD": -70.7, "DATE-OBS": OBS})
    header.update({name.replace("_", "-"): value for name, value in cards.items()})
    described = generic_camera([header]).describe([header], file="a.fits")
    return [text for text in described.warnings if "the time of " in text], described


@pytest.mark.parametrize(
    ("cards", "other", "apart"),
    [
        ({"MJD_OBS": MJD + 7}, "MJD-OBS", "7 days"),
        ({"JD": JD - 1}, "JD", "24 hours"),
        ({"MJD_OBS": MJD + 7, "JD": JD + 7}, "MJD-OBS, JD", "7 days"),
        # The clock of the telescope runs in local time.
        ({"UT": "00:54:24"}, "UT", "4 hours"),
        ({"UTC": 17664.0 + 600}, "UTC", "600 s"),
        ({"MJD_OBS": 59614.0}, "MJD-OBS", "7.3 days"),
        ({"UTDATE": "2022-02-11"}, "UTDATE", "14.3 days"),
        ({"DATE_BEG": "2021-01-28T04:54:24"}, "DATE-BEG", "365 days"),
        ({"MJD_OBS": MJD + 245 / 86400}, "MJD-OBS", "245 s"),
    ],
)
def test_cards_that_disagree(cards, other, apart):
    (warning,), described = warnings_of(**cards)
    assert warning.startswith(
        f"the time of DATE-OBS is not that of {other}: DATE-OBS is taken (found"
    )
    is_clock = other in ("UT", "UTC")
    right = "DATE-OBS" if is_clock else other.split(", ")[-1]
    key = f"keywords: {{{'time' if is_clock else 'date'}: {right}}}"
    assert warning.endswith(
        f", {apart} apart); if {right} is right, write into the camera's profile: {key}"
    )
    assert (described.date_obs, described.night) == (OBS, "2022-01-27")


@pytest.mark.parametrize(
    "cards",
    [
        {"MJD_OBS": MJD, "JD": JD, "UT": "04:54:20", "DATE_BEG": OBS, "UTC": 17657.0},
        # Of the middle, of the end and half a minute after it.
        {"MJD_AVG": MJD + 90 / 86400, "UT": "04:57:54"},
        # Numbers of few digits, and of single precision.
        {"JD": 2459607.7},
        {"MJD_OBS": 59607.203125},
        {"JD": 2459607.75},
        # The day only: of the evening, or of UT.
        {"MJD_OBS": 59607, "UTDATE": "2022-01-27"},
        {"DATE_OBS": "2022-01-28", "UT": "04:54:24", "MJD_OBS": MJD},
        # A clock of the place, and a scale of time that is 69 s ahead.
        {"TIME": "00:54:24", "TIMESYS": "TT", "UTC": 17664.0 - 69, "EXPTIME": 0.0},
        # Clocks to both sides of midnight.
        {"DATE_OBS": "2022-01-28T23:59:50", "UT": "00:00:20"},
    ],
)
def test_cards_that_tell_the_same(cards):
    assert warnings_of(**cards)[0] == []


def test_a_time_of_two_cards_names_both():
    (warning,), _ = warnings_of(DATE_OBS="2022-01-28", UT="04:54:24", MJD_OBS=MJD - 30)
    assert warning == (
        "the time of DATE-OBS and UT is not that of MJD-OBS: DATE-OBS and UT are taken"
        " (found 2022-01-28T04:54:24 and 59577.2044444, 30 days apart); if MJD-OBS is right, write"
        " into the camera's profile: keywords: {date: MJD-OBS}"
    )


@pytest.mark.parametrize(
    ("text", "hours"), [("12:30:00 AM", 0.5), ("12:30:00 PM", 12.5), ("01:00:00 PM", 13.0)]
)
def test_a_clock_of_twelve_hours_begins_with_twelve(text, hours):
    assert read_clock(text).time == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["13:00:00 PM", "00:30:00 AM"])
def test_an_hour_that_no_clock_of_twelve_hours_has_is_no_time(text):
    assert read_clock(text) is None
