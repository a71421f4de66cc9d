"""A date card in local time beside cards in UT: the night is that of UT, at every observatory."""

import random
import re
from datetime import datetime, timedelta

import pytest
from astropy.io import fits

from ccdflow.camera.cameras import generic_camera
from ccdflow.camera.profiles import load_camera
from ccdflow.camera.times.date_cards import MJD_START
from ccdflow.camera.times.longitudes import longitude_of_sidereal_time

# Degrees east, and the hours of local time minus UT: Palomar in summer, Arizona, Hawaii, Chile in
# summer and winter, La Palma, South Africa, Xinjiang, Siding Spring, New Zealand in summer.
SITES = (
    (-116.9, -7), (-111.6, -7), (-155.5, -10), (-70.7, -3), (-70.7, -4), (-17.9, 1), (20.8, 2),
    (87.2, 8), (149.1, 11), (170.5, 13),
)  # fmt: skip


def facts_of(cards, *, profile=None, comments=()):
    header = fits.Header({"SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": 9, "NAXIS2": 9})
    header.update({"INSTRUME": "PROBE", "IMAGETYP": "object", "EXPTIME": 10.0, **cards})
    for keyword, comment in dict(comments).items():
        header.comments[keyword] = comment
    camera = profile or generic_camera([header])
    return camera.describe([header], file="a.fits")


def julian(time, zero=0.0):
    return (time - MJD_START) / timedelta(days=1) + zero


def dialects(time, local_time):
    """Return headers with a local date and cards in UT, by a name for each."""
    day, clock, local_day = f"{time:%Y-%m-%d}", f"{time:%H:%M:%S}", f"{local_time:%Y-%m-%d}"
    local = {"DATE-OBS": local_time.isoformat()}
    return {
        "UT": local | {"UT": clock},
        "UTC-OBS": local | {"UTC-OBS": clock},
        "UTDATE, UT": local | {"UTDATE": day, "UT": clock},
        "UTCSTART": local | {"UTCSTART": time.isoformat()},
        "DATE-UTC": local | {"DATE-UTC": time.isoformat()},
        "MJD-OBS": local | {"MJD-OBS": julian(time)},
        "JD": local | {"JD": julian(time, 2400000.5), "UT": clock},
        "two cards": {"DATE-OBS": local_day, "TIME-OBS": f"{local_time:%H:%M:%S}",
                      "MJD-OBS": julian(time)},
        "local day": {"DATE-OBS": local_day, "UT": clock, "UTDATE": day},
        "local day, MJD": {"DATE-OBS": local_day, "UT": clock, "MJD-OBS": julian(time)},
        "partners": {"DATE-OBS": local_day, "TIME-OBS": f"{local_time:%H:%M:%S}", "UT": clock},
        "two clocks": {"DATE-OBS": local_day, "UT": clock, "UTC-OBS": clock,
                       "MJD-OBS": julian(time)},
        "TIMESYS": local | {"TIMESYS": "LOCAL", "UT": clock},
        "TIMESYS, UTDATE": local | {"TIMESYS": "LOCAL", "UTDATE": day},
        "TIMESYS UTC": local | {"TIMESYS": "UTC", "UT": clock, "UTDATE": day},
    }  # fmt: skip


def random_times(longitude, zone, n, seed):
    """Yield times in UT and local times of dark hours, and the night, of random days."""
    chance = random.Random(seed)
    for _ in range(n):
        noon = datetime(2023, 1, 1, 12) + timedelta(days=chance.randrange(365))
        # Hours from local noon by the Sun.
        hours = timedelta(hours=round(chance.uniform(7, 18), 3))
        time = noon + hours - timedelta(hours=longitude / 15)
        time = time.replace(microsecond=0)
        yield time, time + timedelta(hours=zone), noon.date().isoformat()


@pytest.mark.parametrize(("longitude", "zone"), SITES)
def test_the_night_is_that_of_the_cards_in_ut(longitude, zone):
    """Without the longitude as well, where local time itself is known."""
    cases = [
        (name, cards, time, night)
        for time, local_time, night in random_times(longitude, zone, 12, seed=zone)
        for name, cards in dialects(time, local_time).items()
    ]
    facts = [facts_of(cards | {"LONGITUD": longitude}) for _, cards, _, _ in cases]
    assert len(cases) == 12 * 15
    nights = [(name, cards, night) for name, cards, _, night in cases]
    assert [(*case[:2], each.night) for case, each in zip(cases, facts, strict=True)] == nights
    errors = {
        name: max(abs(datetime.fromisoformat(each.date_obs) - time), timedelta())
        for (name, _, time, _), each in zip(cases, facts, strict=True)
        if name != "TIMESYS, UTDATE"
    }
    assert max(errors.values()) < timedelta(seconds=1), errors
    placeless = [case for case in nights if case[1]["DATE-OBS"][10:]]
    assert len(placeless) > 12 * 8
    assert [(*case[:2], facts_of(case[1]).night) for case in placeless] == placeless


@pytest.mark.parametrize(("longitude", "zone"), SITES)
def test_sound_cards_have_no_warning(longitude, zone):
    cases = []
    for time, local_time, night in random_times(longitude, zone, 12, seed=100 + zone):
        day, clock = f"{time:%Y-%m-%d}", f"{time:%H:%M:%S}"
        sound_headers = (
            {"DATE-OBS": time.isoformat(), "UT": clock, "UTDATE": day},
            {"DATE-OBS": day, "UT": clock, "MJD-OBS": julian(time)},
            {"DATE-OBS": time.isoformat(), "DATE-LOC": local_time.isoformat(),
             "TIME": f"{local_time:%H:%M:%S}", "TIMESYS": "UTC"},
        )  # fmt: skip
        cases += [(cards, night, time.isoformat(), ()) for cards in sound_headers]
    facts = [facts_of(cards | {"LONGITUD": longitude}) for cards, *_ in cases]
    assert len(facts) == 12 * 3
    assert [
        (case[0], each.night, each.date_obs[:19], each.warnings)
        for case, each in zip(cases, facts, strict=True)
    ] == cases


TIME, LOCAL_TIME, NIGHT = datetime(2023, 6, 1, 2, 4, 58), "2023-05-31T19:04:58", "2023-05-31"
ARIZONA = {"DATE-OBS": LOCAL_TIME, "LONGITUD": -111.6}


@pytest.mark.parametrize(
    ("cards", "text"),
    [
        (
            {"UT": "02:04:58"},
            "DATE-OBS: the local time, by UT, which is taken (found 2023-05-31T19:04:58 and"
            " 02:04:58); to end this line, write into the camera's profile: keywords: {time:"
            " DATE-OBS}, if DATE-OBS is in UT",
        ),
        (
            {"DATE-UTC": "2023-06-01T02:04:58"},
            "DATE-OBS: the local time, by DATE-UTC, which is taken (found 2023-05-31T19:04:58 and"
            " 2023-06-01T02:04:58); to end this line, write into the camera's profile: keywords:"
            " {date: DATE-UTC}",
        ),
        (
            {"DATE-OBS": "2023-05-31", "UT": "02:04:58", "UTDATE": "2023-06-01"},
            "DATE-OBS: the local date, by UTDATE, which is taken (found 2023-05-31 and 2023-06-01);"
            " to end this line, write into the camera's profile: keywords: {date: UTDATE}",
        ),
    ],
)
def test_one_warning_names_both_cards_and_the_key(cards, text):
    facts = facts_of(ARIZONA | cards)
    assert (facts.night, facts.date_obs) == (NIGHT, TIME.isoformat())
    assert facts.warnings == (text,)


def sidereal_text(time, longitude):
    """Return the sidereal time of a longitude at a time in UT, such as '10:43:12'."""
    degrees = (longitude - longitude_of_sidereal_time(timedelta(), time)) % 360
    return str(timedelta(seconds=round(degrees * 240)))


def test_of_two_times_in_ut_the_sidereal_time_decides():
    cards = ARIZONA | {"UT": "02:04:58"}
    comments = {"DATE-OBS": "UTC of the start"}
    undecided = facts_of(cards, comments=comments)
    assert undecided.date_obs == LOCAL_TIME
    (warning,) = undecided.warnings
    assert warning == (
        "the time of DATE-OBS is not that of UT: DATE-OBS is taken (found 2023-05-31T19:04:58 and"
        " 02:04:58, 7 hours apart); if DATE-OBS is right, write into the camera's profile:"
        " keywords: {time: DATE-OBS}"
    )
    decided = facts_of(cards | {"ST": sidereal_text(TIME, -111.6)}, comments=comments)
    assert (decided.night, decided.date_obs) == (NIGHT, TIME.isoformat())
    other_time = datetime.fromisoformat(LOCAL_TIME)
    kept = facts_of(cards | {"ST": sidereal_text(other_time, -111.6)}, comments=comments)
    assert (kept.night, kept.date_obs) == ("2023-05-30", LOCAL_TIME)


@pytest.mark.parametrize(
    "cards",
    [
        # A card in UT agrees with the date card.
        {"UT": "02:04:58", "MJD-OBS": julian(datetime(2023, 5, 31, 19, 4, 58))},
        # Two cards in UT that are of two zones.
        {"UT": "02:04:58", "MJD-OBS": julian(datetime(2023, 6, 1, 3, 4, 58))},
        # No zone has this difference, or no zone at this longitude.
        {"UT": "02:24:58"},
        {"UT": "15:04:58"},
        {"UT": "02:04:58", "LONGITUD": 20.8},
        # A day too many.
        {"DATE-UTC": "2023-06-02T02:04:58"},
        {"DATE-OBS": "2023-05-31", "UT": "02:04:58", "MJD-OBS": julian(TIME) + 1},
    ],
)
def test_a_difference_of_no_time_zone_is_a_contradiction(cards):
    facts = facts_of(ARIZONA | cards)
    assert facts.date_obs[:10] == "2023-05-31"
    warnings = [text for text in facts.warnings if "is not that of" in text]
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("cards", "date"),
    [
        ({"MJD-OBS": julian(TIME) + 3}, "2023-06-04"),
        ({"JD": julian(TIME, 2400000.5) + 3}, "2023-06-04"),
        ({"DATE-UTC": "2023-06-04T02:04:58"}, "2023-06-04"),
        ({"UTDATE": "2023-06-04"}, "2023-06-04"),
        ({"UT": "02:24:58"}, "2023-05-31"),
        ({"MJD-OBS": julian(TIME)}, "2023-06-01"),
        ({"UT": "02:04:58"}, "2023-05-31"),
    ],
)
def test_the_key_of_the_warning_ends_it(cards, date, tmp_path):
    (warning,) = facts_of(ARIZONA | cards).warnings
    key = re.search(r"profile: keywords: (\{.*?\})", warning)[1]
    path = tmp_path / "probe.yaml"
    path.write_text(f"recognise: {{INSTRUME: PROBE}}\nkeywords: {key}\n")
    facts = facts_of(ARIZONA | cards, profile=load_camera(path))
    assert (facts.date_obs[:10], facts.warnings) == (date, ())


def test_the_local_time_of_a_date_has_the_name_of_the_date():
    """01:42:26 of 29 January in India is 20:12:26 UT of the 28th."""
    cards = {"DATE-OBS": "2025-01-29", "TIME-OBS": "01:42:26", "UT": "20:12:26", "LONGITUD": 78.8}
    facts = facts_of(cards)
    assert (facts.night, facts.date_obs) == ("2025-01-28", "2025-01-28T20:12:26")
    assert facts.warnings == (
        "DATE-OBS, TIME-OBS: the local date and time, by UT (found 2025-01-29T01:42:26 and 20:12:26"
        " in UT); to end this line, write into the camera's profile: keywords: {time: UT}, if"
        " DATE-OBS is in UT",
    )
    in_ut = {"ST": sidereal_text(datetime(2025, 1, 29, 20, 12, 26), 78.8)}
    assert facts_of(cards | in_ut).night == "2025-01-29"
    assert facts_of(cards, comments={"DATE-OBS": "UT date"}).night == "2025-01-29"
    # A local time of another name may stand beside a date in UT.
    other = {"TIME" if name == "TIME-OBS" else name: value for name, value in cards.items()}
    assert (facts_of(other).night, facts_of(other).warnings) == ("2025-01-29", ())


@pytest.mark.parametrize(("clock", "day"), [("19:04:58", "31"), ("02:04:58", "32")])
def test_a_date_beside_a_local_time_alone_is_local(clock, day):
    date = (datetime(2023, 5, 1) + timedelta(days=int(day) - 1)).date().isoformat()
    facts = facts_of(
        {"DATE-OBS": date, "TIME-OBS": clock, "LONGITUD": -111.6},
        comments={"TIME-OBS": "local time"},
    )
    assert (facts.night, facts.date_obs) == (NIGHT, f"{date}T{clock}")
    assert facts.warnings == ("DATE-OBS is the local time, and no card has the time zone",)


def test_a_time_of_day_that_was_not_set_moves_no_date():
    cards = {"DATE-OBS": "2023-06-01T02:00:00", "UT": "00:00:00", "LONGITUD": 30.0}
    assert facts_of(cards).date_obs == "2023-06-01T02:00:00"


def test_a_local_day_and_a_time_in_ut():
    comments = {"DATE-OBS": "local date"}
    cards = {"DATE-OBS": "2023-05-31", "UT": "02:04:58"}
    with_place = facts_of(cards | {"LONGITUD": -111.6}, comments=comments)
    assert (with_place.night, with_place.date_obs) == (NIGHT, TIME.isoformat())
    assert with_place.warnings == ()
    with_zone = facts_of(cards | {"UTCOFF": "-07:00"}, comments=comments)
    assert (with_zone.night, with_zone.date_obs) == (NIGHT, TIME.isoformat())
    without = facts_of(cards, comments=comments)
    assert without.warnings[0] == (
        "DATE-OBS is the local date, and no card has the longitude: taken for UT; write into the"
        " camera's profile: site: {longitude: DEGREES EAST}"
    )
