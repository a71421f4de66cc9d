"""Headers as observatories and programs write them: each kind, and some neighbours of it.

Of each frame it is known what its header means; whatever is not read right must be set aside, or
left empty with a warning.
"""

import bz2
import lzma
import os
import re
import warnings

import numpy as np
import pytest
from astropy.io import fits
from forgetful_rows import read_rows, rows_read_without_memory
from header_fuzz import (
    NX,
    NY,
    SECTIONS,
    STRIP,
    body,
    card,
    frame,
    pixels,
    quote,
    reduce_by_numpy,
    three_hdus,
    top,
    usual,
)
from small_frames import begin, run_jobs

from ccdflow.run.raw_frames.inventory_table import read_inventory
from ccdflow.run.raw_frames.rows import UNDATED_NIGHT


@pytest.fixture
def rows_of(tmp_path):
    """Return a function that writes frames of these cards and gives their rows by name."""

    def read(cards_of, *, cameras=None, profile=None):
        raw = tmp_path / "raw"
        for number, (name, cards) in enumerate(cards_of.items()):
            path = raw / f"{name}.fits"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(frame(pixels(number), cards))
        cameras = {"probe": profile} if profile else (cameras or {})
        running = begin(raw, tmp_path / "results", cameras)
        running.lock.close()
        rows = running.context.store.rows
        config = running.context.settings
        assert read_rows(config) == rows_read_without_memory(config)
        return {name: rows[f"{name}.fits"] for name in cards_of}

    return read


def cards_without(keywords, **options):
    """Return the cards of a sound frame without those of some keywords."""
    return [one for one in usual(**options) if one[:8].rstrip() not in keywords]


def cards_of_day(*cards):
    """Return the cards of a frame in Arizona in which only these cards give the time."""
    return [*cards_without(("DATE-OBS",)), *cards]


def warnings_of(row):
    """Return the warnings of a row."""
    return row.warnings


# -- dates -----------------------------------------------------------------------------------------

# 07:42 UT in Arizona is the evening before.
DATES = {
    "2000-01-27": [
        "28/01/100", "28/01/00", "28/01/2000", "28-01-2000", "28.01.2000", "2000/01/28",
        "2000-1-28", "2000_01_28", "2000:01:28", "20000128", "28-Jan-2000", "28 January 2000",
        "Jan 28, 2000", "2000-Jan-28", "28Jan00", "01/28/2000", "2000-028",
    ],
    "1996-01-27": ["28/01/96", "28-Jan-96", "1996-01-28", "28jan1996"],
    "2005-11-02": ["03/11/05", "3/11/2005"],
    "2025-11-29": ["30/11/125", "30/11/25"],
}  # fmt: skip


def test_days_however_they_are_written(rows_of):
    cases = {
        # A name with the date would tell the order of day and month.
        f"{night.replace('-', 'x')}-{number}": (night, text)
        for night, texts in DATES.items()
        for number, text in enumerate(texts)
    }
    rows = rows_of(
        {
            name: cards_of_day(card("DATE-OBS", quote(text)), card("UT", quote("07:42:26")))
            for name, (_, text) in cases.items()
        }
    )
    nights = {name: (row.night, row.facts["date_obs"][10:]) for name, row in rows.items()}
    assert nights == {name: (night, "T07:42:26") for name, (night, _) in cases.items()}
    doubtful = {name for name, row in rows.items() if "cannot be told apart" in row.warnings}
    assert doubtful == {"2005x11x02-0", "2005x11x02-1"}


@pytest.mark.parametrize(
    "text",
    ["2000-01-28T07:42:26", "2000-01-28 07:42:26", "2000-01-28_07:42:26", "2000-01-28-07:42:26",
     "20000128T074226", "20000128_074226", "2000-01-28T07:42:26Z", "2000-01-28 07:42:26 UT",
     "28/01/2000 07:42:26", "28-Jan-2000 07:42:26", "Fri Jan 28 07:42:26 2000",
     "Fri Jan 28 00:42:26 MST 2000", "2000-01-28T00:42:26-0700", "2000-01-28T00:42:26-07:00",
     "2000-01-28T09:42:26+02", "2000-01-28 07:42:26 AM", "2000-01-27 11:42:26 PM -0800"],
)  # fmt: skip
def test_a_day_with_a_time_of_day_and_a_zone(text, rows_of):
    (row,) = rows_of({"a": cards_of_day(card("DATE-OBS", quote(text)))}).values()
    assert (row.facts["date_obs"], row.night) == ("2000-01-28T07:42:26", "2000-01-27")
    assert warnings_of(row) == ""


@pytest.mark.parametrize("text", ["0000-00-00", "1970-01-01T00:00:00", "28/01/70", "99/99/99"])
def test_a_day_that_cannot_be_is_no_day(text, rows_of):
    (row,) = rows_of({"a": cards_of_day(card("DATE-OBS", quote(text)))}).values()
    assert (row.facts["date_obs"], row.night, row.status) == ("", UNDATED_NIGHT, "ok")
    assert f"DATE-OBS: not a date (found '{text}')" in warnings_of(row)
    assert "no card has the date or time" in row.status_and_reason[1]


def test_a_julian_date_and_a_comment_tell_day_and_month_apart(rows_of):
    rows = rows_of(
        {
            "jd": cards_of_day(card("DATE-OBS", quote("03/11/05")), card("MJD-OBS", "53440.25")),
            "comment": cards_of_day(
                card("DATE-OBS", quote("03/11/05"), "mm/dd/yy"),
                card("UT", quote("06:00:00")),
            ),
            "day": cards_of_day(
                card("DATE-OBS", quote("03/11/05"), "day/month/year"),
                card("UT", quote("06:00")),
            ),
        }
    )
    assert {name: row.facts["date_obs"] for name, row in rows.items()} == {
        "jd": "2005-03-11T06:00:00", "comment": "2005-03-11T06:00:00", "day": "2005-11-03T06:00:00",
    }  # fmt: skip
    assert {warnings_of(row) for row in rows.values()} == {""}


DAY_ORDERS = {
    "mjd": [card("MJD-OBS", "50936.25")],
    "jd": [card("JD", "2450936.75")],
    "utdate": [card("UTDATE", quote("1998-05-03"))],
    "local": [card("DATE-LOC", quote("1998-05-02T23:00:00"))],
    "written": [card("DATE", quote("1998-05-03T06:10:00"))],
    "name": [card("FILENAME", quote("n980503_012.fits"))],
    "long name": [card("ORIGFILE", quote("/data/19980502/n012.fits"))],
    "1998-05-02/folder": [],
    "n980503/folder": [],
    "run19980503_7": [],
    "sidereal": [card("ST", quote("13:17:22"))],
    "clear": [card("DATE-BEG", quote("3 May 1998"))],
}


def test_other_cards_and_names_tell_day_and_month_apart(rows_of):
    """05/03/98 is in March, or in May: 59 days, in which the sidereal time moves by 3.9 hours."""
    time = card("UT", quote("06:00:00"))
    for text in ("05/03/98", "03/05/98"):
        rows = rows_of(
            {
                name: cards_of_day(card("DATE-OBS", quote(text)), time, *cards)
                for name, cards in DAY_ORDERS.items()
            }
        )
        dates = {name: row.facts["date_obs"][:16] for name, row in rows.items()}
        assert dates == dict.fromkeys(DAY_ORDERS, "1998-05-03T06:00")
        assert rows
        assert {name: warnings_of(row) for name, row in rows.items() if row.warnings} == {}


UNTOLD_ORDERS = {
    "nothing": [],
    "later": [card("DATE", quote("2004-07-01T10:00:00"))],
    "number": [card("FILENAME", quote("n123456_012.fits"))],
    "1998/folder": [],
    "also unclear": [card("UTDATE", quote("05/03/98"))],
}


def test_a_date_whose_order_nothing_tells_has_one_warning(rows_of):
    date = [card("DATE-OBS", quote("05/03/98")), card("UT", quote("06:00:00"))]
    rows = rows_of({name: cards_of_day(*date, *cards) for name, cards in UNTOLD_ORDERS.items()})
    assert {row.facts["date_obs"] for row in rows.values()} == {"1998-03-05T06:00:00"}
    assert {warnings_of(row) for row in rows.values()} == {
        "DATE-OBS: day and month cannot be told apart: 1998-03-05 is meant, or 1998-05-03; the"
        " first is taken, unless the frame's folder is named after its date, such as 2016-01-15, or"
        " the camera's profile names a card that tells: keywords: {date: CARD}"
    }


# -- times of day ----------------------------------------------------------------------------------

CLOCKS = {
    "iso": [card("TIME-OBS", quote("2023-06-01T05:04:58"))],
    "iso in ut": [card("UT", quote("2023-06-01T05:04:58"))],
    "colons": [card("UT", quote("05:04:58"))],
    "unquoted": ["UT      = 05:04:58".ljust(80)],
    "blanks": [card("UT", quote("05 04 58"))],
    "letters": [card("UT", quote("05h04m58s"))],
    "digits": [card("UT", quote("050458"))],
    "dashes": [card("UT", quote("05-04-58"))],
    "hours": [card("UT", "5.082778")],
    "hours as text": [card("UT", quote("5.082778"))],
    "seconds": [card("UTSTART", "18298.0", "seconds of the day")],
    "small seconds": [card("UTSTART", "18298", "[s] since midnight")],
    "digits as a number": [card("UT", "50458", "hhmmss")],
    "part of a day": [card("UT", "0.2117824", "fraction of the day")],
    "an offset": [card("TIME-OBS", quote("05:04:58 +00:00"))],
    "am": [card("UT", quote("5:04:58 AM"))],
    "mjd": [card("MJD-OBS", "60096.2117824")],
    "mjdate": [card("MJDATE", "60096.2117824")],
    "jd": [card("JD", "2460096.7117824")],
    "another date": [card("DATE-BEG", quote("2023-06-01T05:04:58"))],
}


@pytest.mark.parametrize("midnight", [False, True])
def test_times_of_day_beside_a_date_without(midnight, rows_of):
    """A date at midnight to the second counts as a date without a time of day."""
    day = card("DATE-OBS", quote("2023-06-01T00:00:00" if midnight else "2023-06-01"))
    rows = rows_of({name: cards_of_day(day, *cards) for name, cards in CLOCKS.items()})
    times = {name: (row.facts["date_obs"][:18], row.night) for name, row in rows.items()}
    assert times == dict.fromkeys(CLOCKS, ("2023-06-01T05:04:5", "2023-05-31"))
    assert rows
    assert {name: warnings_of(row) for name, row in rows.items() if row.warnings} == {}


def test_the_date_of_the_date_card_stands_where_it_has_a_time(rows_of):
    cards = [
        card("DATE-OBS", quote("2023-06-01T05:04:58")),
        card("TIME-OBS", quote("2023-05-30T05:04:58")),
    ]
    rows = rows_of(
        {"both": cards_of_day(*cards), "frame": cards_of_day(card("FRAME", cards[0][10:33]))}
    )
    assert {row.night for row in rows.values()} == {"2023-05-31"}


def test_a_time_that_cannot_be_read_has_a_warning(rows_of):
    cards = (card("DATE-OBS", quote("2023-06-01")), card("UT", quote("25:04:58")))
    (row,) = rows_of({"a": cards_of_day(*cards)}).values()
    assert (row.facts["date_obs"], row.night) == ("2023-06-01", "2023-06-01")
    assert "UT: not a time of day (found '25:04:58')" in warnings_of(row)
    assert "no card has the time of day" in warnings_of(row)


LOCAL_TIMES = {
    "with utc": [
        card("TIMESYS", quote("LOCAL")),
        card("DATE-UTC", quote("2023-06-01T02:04:58")),
    ],
    "with mjd": [card("TIMESYS", quote("LT")), card("MJD-OBS", "60096.0867824")],
    "with a zone": [card("TIMESYS", quote("local")), card("UTCOFF", "-7")],
    "a named zone": [card("TIMESYS", quote("MST"))],
    "an offset": [card("TIMESYS", quote("UTC-7"))],
}


def test_local_time_is_brought_to_ut(rows_of):
    date = card("DATE-OBS", quote("2023-05-31T19:04:58"))
    rows = rows_of({name: cards_of_day(date, *cards) for name, cards in LOCAL_TIMES.items()})
    times = {name: (row.facts["date_obs"][:18], row.night) for name, row in rows.items()}
    assert times == dict.fromkeys(LOCAL_TIMES, ("2023-06-01T02:04:5", "2023-05-31"))


def test_local_time_without_a_zone_gives_the_night_and_a_warning(rows_of):
    cases = {
        "timesys": cards_of_day(
            card("DATE-OBS", quote("2023-06-01T02:04:58")),
            card("TIMESYS", quote("LOCAL")),
        ),
        "comment": cards_of_day(card("DATE-OBS", quote("2023-06-01T02:04:58"), "local time")),
    }
    rows = rows_of(cases)
    assert len(rows) == len(cases)
    for row in rows.values():
        assert row.night == "2023-05-31"
        assert "DATE-OBS is the local time, and no card has the time zone" in warnings_of(row)


# -- the night -------------------------------------------------------------------------------------

# At Siding Spring a night is 09:30 to 18:00 UT of one day.
PARTS = {"dusk": ("09:30:00", "10T20:30:00"), "dawn": ("18:00:00", "11T05:00:00")}
PLACES = {
    "nina": lambda local: [card("DATE-LOC", quote(f"2024-03-{local}"))],
    "zone": lambda local: [card("TIMEZONE", "11")],
    "offset": lambda local: [card("UTCOFF", quote("+11:00"))],
    "minutes": lambda local: [card("TZOFFSET", "660")],
    "20240310": lambda local: [],
    "site": lambda local: [card("SITELONG", "149.06")],
    "text": lambda local: [card("SITELONG", quote("149 03 36 E"))],
    "geodetic": lambda local: [card("OBSGEO-L", "149.06"), card("LONGITUD", "-149.06")],
    "geocentric": lambda local: [
        card("OBSGEO-X", "-4680888.6"), card("OBSGEO-Y", "2805218.4"),
        card("OBSGEO-Z", "-3292788.1"),
    ],
}  # fmt: skip


def test_the_night_is_known_by_many_a_card(rows_of):
    cases = {
        f"{place}/{part}": [
            *cards_without(("DATE-OBS", "LONGITUD")),
            card("DATE-OBS", quote(f"2024-03-10T{universal}")),
            *make(local),
        ]
        for place, make in PLACES.items()
        for part, (universal, local) in PARTS.items()
    }
    rows = rows_of(cases)
    assert {name: row.night for name, row in rows.items()} == dict.fromkeys(cases, "2024-03-10")
    guessed = {name.split("/")[0] for name, row in rows.items() if row.warnings}
    assert guessed == {"zone", "20240310"}


WESTERN_LONGITUDES = [
    (quote("122 30 31 W"), ""), (quote("W 122 30 31"), ""), (quote("-122d30m31s"), ""),
    (quote("-122:30:31"), ""), ("122.5086", "degrees West"), ("122.5086", "longitude (west +)"),
    ("-122.5086", "[deg] east positive"), ("237.4914", ""), (quote("-8h10m02s"), ""),
    (quote("-122,5086"), ""), ("-122.5086", "East(+) West(-)"), ("-122 30 31", ""),
]  # fmt: skip


def test_a_longitude_and_its_sign(rows_of):
    date = card("DATE-OBS", quote("2024-03-10T19:50:00"))
    rows = rows_of(
        {
            f"l{number}": [
                *cards_without(("DATE-OBS", "LONGITUD")),
                date,
                card("LONGITUD", *written),
            ]
            for number, written in enumerate(WESTERN_LONGITUDES)
        }
    )
    # 19:50 UT is before noon at longitude -122, and after it everywhere east of -117.
    assert {name: (r.night, warnings_of(r)) for name, r in rows.items()} == dict.fromkeys(
        rows, ("2024-03-09", "")
    )


def test_a_sidereal_time_decides_the_sign_only_where_it_agrees(rows_of):
    """The sidereal time is 05:33:59 at longitude -111.6; a degree off it does not decide."""
    date = card("DATE-OBS", quote("2016-01-16T05:20:00"))
    base = [*cards_without(("DATE-OBS", "LONGITUD")), date, card("LONGITUD", "111.6")]
    rows = rows_of(
        {
            "agrees": [*base, card("ST", quote("05:33:59"))],
            "seconds": [*base, card("LST", "20039.0", "[s] sidereal time")],
            "off": [*base, card("ST", quote("05:37:59"))],
            "other": [*base, card("ST", quote("17:00:00"))],
        }
    )
    nights = {name: row.night for name, row in rows.items()}
    assert nights == {"agrees": "2016-01-15", "seconds": "2016-01-15", "off": "2016-01-16",
                      "other": "2016-01-16"}  # fmt: skip
    assert warnings_of(rows["agrees"]) == warnings_of(rows["seconds"]) == ""
    # 17:00:00 is the time at longitude 59.9, nearer to 111.6 than to -111.6.
    for name, degrees in (("off", 1.0), ("other", 51.7)):
        warning_words = f"agrees with neither sign of LONGITUD ({degrees} degrees off)"
        assert warning_words in warnings_of(rows[name])


def test_the_row_warns_of_an_uncertain_night(rows_of, tmp_path):
    date = card("DATE-OBS", quote("2024-03-10T04:00:00"))
    rows = rows_of(
        {
            "nowhere": [*cards_without(("DATE-OBS", "LONGITUD")), date],
            "zero": [*cards_without(("DATE-OBS", "LONGITUD")), date, card("SITELONG", "0.0"),
                     card("SITELAT", "0.0")],
            "bad": [*cards_without(("DATE-OBS", "LONGITUD")), date,
                    card("LONGITUD", quote("far off"))],
        }
    )  # fmt: skip
    for row in rows.values():
        assert row.night == "2024-03-09"
        assert "no card has the longitude: the night is that of longitude 0" in warnings_of(row)
    assert "longitude and latitude are 0" in warnings_of(rows["zero"])
    assert "LONGITUD: not a longitude in degrees (found 'far off')" in warnings_of(rows["bad"])


def test_undated_biases_are_combined_within_their_folder_with_a_warning(tmp_path):
    raw = tmp_path / "raw"
    for first_seed, place in enumerate(("one/darks", "two/darks", "undated", ".")):
        for number in range(3):
            path = raw / place / f"b{number}.fits"
            path.parent.mkdir(parents=True, exist_ok=True)
            cards = cards_without(("DATE-OBS",), kind="bias", exptime="0.0")
            path.write_bytes(frame(pixels(10 * first_seed + number, light=0), cards))
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame", "bias"))
    members = [record.data["members"] for record in run.records.values() if record.kind == "bias"]
    folders = [{m.rpartition("/")[0] for m in each} for each in members]
    assert sorted(map(sorted, folders)) == [[""], ["one/darks"], ["two/darks"], ["undated"]]
    warning_lines = [line for line in run.lines if "have no date" in line]
    assert len(warning_lines) == 4
    assert all(line.startswith("warning: 3 biases of the folder") for line in warning_lines)
    assert run.context.store.rows
    assert all(
        "no card has the date" in r.status_and_reason[1] for r in run.context.store.rows.values()
    )


# -- numbers ---------------------------------------------------------------------------------------

EXPOSURES = {
    "number": ([card("EXPTIME", "0.5")], 0.5),
    "text": ([card("EXPTIME", "'0.5'")], 0.5),
    "comma": ([card("EXPTIME", "'0,5'")], 0.5),
    "comma without quotes": ([card("EXPTIME", "0,5")], 0.5),
    "unit": ([card("EXPTIME", "'0.5 s'")], 0.5),
    "unit at once": ([card("EXPOSURE", "'0.5sec'")], 0.5),
    "unit without quotes": ([card("EXPTIME", "0.5 s", "exposure")], 0.5),
    "ms": ([card("EXPTIME", "'500 ms'")], 0.5),
    "minutes": ([card("EXPTIME", "'2 min'")], 120.0),
    "unit of the comment": ([card("EXPTIME", "500", "[ms] exposure")], 0.5),
    "words of the comment": ([card("EXPTIME", "90000", "exposure time in ms")], 90.0),
    "fraction": ([card("EXPTIME", "'1/2 s'")], 0.5),
    "fortran": ([card("EXPTIME", "5.0D-01")], 0.5),
    "fortran as text": ([card("EXPTIME", "'5.0D-01'")], 0.5),
    "exp": ([card("EXP", "0.5")], 0.5),
    "nan first": ([card("EXPTIME", "NaN"), card("EXPOSURE", "0.5")], 0.5),
    "nan as text first": ([card("EXPTIME", "'nan'"), card("EXPOSURE", "0.5")], 0.5),
    "nan, then the same card": ([card("EXPTIME", "NaN"), card("EXPTIME", "0.5")], 0.5),
    "negative first": ([card("EXPTIME", "-1.0"), card("EXPOSURE", "0.5")], 0.5),
    "blank first": ([card("EXPTIME", "''"), card("EXPTIME", "0.5")], 0.5),
    "unknown first": ([card("EXPTIME", "'N/A'"), card("ITIME", "0.5")], 0.5),
    "thousands": ([card("EXPTIME", "'1.234,5'")], 1234.5),
    "no blank": (["EXPTIME=0.5".ljust(80)], 0.5),
    "nan": ([card("EXPTIME", "'NaN'")], ""),
    "infinite": ([card("EXPTIME", "'inf'")], ""),
    "too much": ([card("EXPTIME", "1.0E400")], ""),
    "negative": ([card("EXPTIME", "-1")], ""),
    "absurd": ([card("EXPTIME", "'long'")], ""),
    "python": ([card("EXPTIME", "'1_000'")], ""),
    "logical": ([card("EXPTIME", "T")], ""),
    "absent": ([], ""),
    "unknown": ([card("EXPTIME", "'UNKNOWN'")], ""),
}


def test_exposures_however_they_are_written(rows_of):
    rows = rows_of(
        {name: [*cards_without(("EXPTIME",)), *cards] for name, (cards, _) in EXPOSURES.items()}
    )
    exposures = {name: row.facts["exptime"] for name, row in rows.items()}
    assert exposures == {name: want for name, (_, want) in EXPOSURES.items()}
    assert {row.status for row in rows.values()} == {"ok"}
    silent = {name for name, row in rows.items() if not row.warnings and exposures[name] == ""}
    assert silent == {"absent", "unknown"}
    assert "EXPTIME: not an exposure in seconds (found NaN): EXPOSURE is used" in warnings_of(
        rows["nan first"]
    )


def test_a_figure_that_cannot_be_read_is_left_empty_with_a_warning(rows_of):
    cases = {
        "GAIN": "'inf'", "RDNOISE": "1.0E400", "SATURATE": "'much'", "LTV1": "'nan'",
        "LTM1_1": "NaN", "FILTER": "1800 l/mm", "READMODE": "fast readout",
    }  # fmt: skip
    rows = rows_of({name: [*usual(), card(name, value)] for name, value in cases.items()})
    for name, row in rows.items():
        assert row.status == "ok"
        assert warnings_of(row).startswith(f"{name}: ")
        assert "(found " in warnings_of(row)
    assert rows["GAIN"].facts["gain"] == rows["RDNOISE"].facts["rdnoise"] == ""


def test_coordinates_that_are_no_numbers_do_not_reach_the_product(tmp_path):
    cards = [*usual(), card("LTV1", "'nan'"), card("GAIN", "'inf'"), card("CRPIX1", "1.0E400")]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.fits").write_bytes(frame(pixels(1), cards))
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {}, kinds=("frame",))
    with run.open("reduced/a.fits") as hdus:
        assert np.array_equal(hdus[0].data, reduce_by_numpy(pixels(1)))
        assert hdus[0].header["LTV1"] == 0


# -- what is left out and what sets a frame aside --------------------------------------------------

TRIMSEC = SECTIONS[1]
BROKEN_CARDS = {
    "no quotes": [f"BIASSEC = [{NX + 1}:{NX + STRIP},1:{NY}]", TRIMSEC],
    "one quote": [f"BIASSEC = '[{NX + 1}:{NX + STRIP},1:{NY}]", TRIMSEC],
    "a number": [card("BIASSEC", "16"), TRIMSEC],
    "a logical": [card("BIASSEC", "T"), TRIMSEC],
    "no brackets": [card("BIASSEC", quote(f"{NX + 1}:{NX + STRIP},1:{NY}")), TRIMSEC],
    "no sign": [f"BIASSEC   '[{NX + 1}:{NX + STRIP},1:{NY}]'", TRIMSEC],
    "trimsec": [SECTIONS[0], "TRIMSEC = [1:32,1:24]"],
    "datasec": [SECTIONS[0], card("DATASEC", "NaN")],
    "detsize": [card("TRIMSEC", quote("[1:32,1:24]")), card("DETSIZE", "32")],
    "prescan": [card("PREPIX", quote("some"))],
    "overscan": [card("COVER", "NaN")],
    "eso": ["HIERARCH ESO DET OUT1 NX = 32", "HIERARCH ESO DET OUT1 OVSCX = 'eight'"],
}


def test_a_section_that_is_there_and_unreadable_sets_the_frame_aside(rows_of):
    rows = rows_of(
        {name: [*usual(has_sections=False), *cards] for name, cards in BROKEN_CARDS.items()}
    )
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys(rows, "set aside")
    for name, row in rows.items():
        assert re.search(r"BIASSEC|TRIMSEC|DATASEC|DETSIZE|PREPIX|COVER|OVSCX", row.reason), name
        assert "(found " in row.reason


_LEFT_IN = (
    "ok",
    "no card names an overscan: trimmed to [1:32,1:24] only; warning: columns 33 to 40 beside the"
    " data are in no overscan strip: if they hold the bias level, it stays in the image",
)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("''", _LEFT_IN),
        ("'UNKNOWN'", _LEFT_IN),
        ("'none'", _LEFT_IN),
        ("'[0:0,0:0]'", ("set aside", "BIASSEC: the section is empty")),
    ],
)
def test_a_section_that_says_nothing_never_leaves_the_level_in_silence(text, outcome, rows_of):
    (row,) = rows_of({"a": [*usual(has_sections=False), card("BIASSEC", text), TRIMSEC]}).values()
    assert (row.status, row.reason.partition(" (")[0]) == outcome


STRUCTURES = {
    "bzero text": (["BZERO   = '32768'"], "BZERO"),
    "bzero empty": (["BZERO   ="], "BZERO"),
    "bzero comma": (["BZERO   = 32768,0"], "BZERO"),
    "bzero nan": (["BZERO   = NaN"], "BZERO"),
    "bzero infinite": (["BZERO   = 1.0E400"], "BZERO"),
    "bzero logical": (["BZERO   = T"], "BZERO"),
    "bscale comma": (["BZERO   = 32768", "BSCALE  = 1,000000E+00"], "BSCALE"),
    "bscale zero": (["BZERO   = 32768", "BSCALE  = 0"], "BSCALE"),
    "blank nan": (["BZERO   = 32768", "BLANK   = NaN"], "BLANK"),
    "blank text": (["BZERO   = 32768", "BLANK   = 'none'"], "BLANK"),
    "bitpix real": (["BITPIX  = 16.0"], "BITPIX"),
    "bitpix text": (["BITPIX  = '16'"], "BITPIX"),
    "bitpix odd": (["BITPIX  = 24"], "BITPIX"),
    "naxis1 real": (["NAXIS1  = 40.0"], "NAXIS1"),
    "naxis1 negative": (["NAXIS1  = -40"], "NAXIS1"),
    "naxis twice, blank first": (["NAXIS2  =", "NAXIS2  = 24"], "NAXIS2"),
}


def test_scaling_or_structure_that_is_no_number_sets_the_frame_aside(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, (cards, _) in STRUCTURES.items():
        names = {one[:8].rstrip() for one in cards} | {"BSCALE"}
        other_cards = [one for one in top() if one[:8].rstrip() not in names]
        header_cards = [*other_cards[:4], *cards, *other_cards[4:]]
        (raw / f"{name}.fits").write_bytes(frame(pixels(1), usual(), structure=header_cards))
    (raw / "sound.fits").write_bytes(frame(pixels(2), usual()))
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    rows = run.context.store.rows
    for name, (_, keyword) in STRUCTURES.items():
        row = rows[f"{name}.fits"]
        assert (row.status, row.reason.split(":")[0]) == ("set aside", keyword), name
    with run.open("reduced/sound.fits") as hdus:
        assert np.array_equal(hdus[0].data, reduce_by_numpy(pixels(2)))


@pytest.mark.parametrize(
    "scaling",
    [["BZERO   = 32768.0", "BSCALE  = 1.0000000"], ["BZERO   = 3.2768E+04", "BSCALE  = 1.E0"],
     ["BZERO   = 3.2768D+04", "BSCALE  = 1.0D0"]],
)  # fmt: skip
def test_scaling_is_a_number_however_it_is_written(scaling, tmp_path):
    (tmp_path / "raw").mkdir()
    structure = [*top()[:5], *scaling]
    frame_bytes = frame(pixels(1), usual(), structure=structure)
    (tmp_path / "raw" / "a.fits").write_bytes(frame_bytes)
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {}, kinds=("frame",))
    with run.open("reduced/a.fits") as hdus:
        assert np.array_equal(hdus[0].data, reduce_by_numpy(pixels(1)))


END = b"END".ljust(80)


def _raw(cards, *, pad=b" ", end=END):
    text = b"".join(one if isinstance(one, bytes) else one.encode() for one in cards) + end
    return text + pad * (-len(text) % 2880) + body(pixels(1))


BLOCKS = {
    "zeros after end": lambda: _raw([*top(), *usual()], pad=b"\0"),
    "zeros in end": lambda: _raw([*top(), *usual()], pad=b"\0", end=b"END".ljust(80, b"\0")),
    "carriage returns": lambda: _raw([one[:79] + "\r" for one in (*top(), *usual())]),
    "line feeds": lambda: _raw([one[:79] + "\n" for one in (*top(), *usual())]),
    "junk after end": lambda: _raw([*top(), *usual()], pad=b"x"),
    "lower case": lambda: _raw([*top(), *(c[:8].lower() + c[8:] for c in usual())]),
    "no blank": lambda: _raw(
        [*top(), *cards_without(("IMAGETYP",)), "IMAGETYP='object'".ljust(80)]
    ),
    "blank type first": lambda: _raw([*top(), card("IMAGETYP", quote("")), *usual()]),
    "many blanks": lambda: _raw([*top(), *[" " * 80] * 100, *usual()]),
}


def test_blocks_of_a_header_as_they_should_not_be(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, make in BLOCKS.items():
        (raw / f"{name}.fits").write_bytes(make())
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    for name in BLOCKS:
        row = run.context.store.rows[f"{name}.fits"]
        assert (row.status, row.facts["type"], row.facts["exptime"]) == ("ok", "science", 5.0), name
        with warnings.catch_warnings():
            # The product has the raw cards unchanged, even those that are not valid FITS.
            warnings.simplefilter("ignore")
            product = fits.getdata(run.results / "reduced" / f"{name}.fits")
        assert np.array_equal(product, reduce_by_numpy(pixels(1)))


@pytest.mark.parametrize(
    "new", [b"XTENSION= &IMAGE   '", b"XTENSION= IMAGE     ", b"XTENSION= \0IMAGE   '"]
)
def test_a_broken_extension_costs_its_own_file_alone(new, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(3):
        data, _ = three_hdus(number)
        old = b"XTENSION= 'IMAGE   '"
        (raw / f"m{number}.fits").write_bytes(data.replace(old, new, 1) if number == 1 else data)
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    rows = run.context.store.rows
    assert [rows[f"m{i}.fits"].status for i in range(3)] == ["ok", "set aside", "ok"]
    assert rows["m1.fits"].reason.startswith("XTENSION")
    for number in (0, 2):
        with run.open(f"reduced/m{number}.fits") as hdus:
            expected_image = np.hstack(
                [reduce_by_numpy(pixels(number + i, light=0)) for i in (0, 1)]
            )
            assert np.array_equal(hdus[0].data, expected_image)


# -- types and filters -----------------------------------------------------------------------------

TYPES = {
    "bias": ["Bias Field", "Offset", "BIAS 1x1", "Zero", "bias frame", "OFFSET FRAME"],
    "dark": ["Dark Field", "DARK 300s", "Flat Dark", "dark frame"],
    "flat": ["DOME,LAMP", "Dome Flat", "TWILIGHT", "sky flat R", "Quartz lamp"],
    "science": ["obj", "OBJECT", "Light Frame", "target"],
    "arc": ["neon", "ThAr", "Neon lamp", "CuAr", "He-Ne-Ar", "HeNeAr", "comp 2s"],
    "other": ["focus", "TEST", "focus run 3"],
}


@pytest.mark.parametrize("keyword", ["IMAGETYP", "OBSTYPE", "FRAME"])
def test_words_for_types(keyword, rows_of):
    cases = {
        f"{kind}{number}": (kind, text)
        for kind, texts in TYPES.items()
        for number, text in enumerate(texts)
    }
    rows = rows_of(
        {
            name: [*cards_without(("IMAGETYP",)), card(keyword, quote(text))]
            for name, (_, text) in cases.items()
        }
    )
    assert {name: row.facts["type"] for name, row in rows.items()} == {
        name: kind for name, (kind, _) in cases.items()
    }


def test_numbers_of_picttype_and_of_frame(rows_of):
    kinds = {1: "science", 2: "bias", 3: "dark", 4: "flat", 9: "other"}
    base = cards_without(("IMAGETYP",))
    rows = rows_of({str(n): [*base, card("PICTTYPE", str(n))] for n in kinds})
    assert {name: row.facts["type"] for name, row in rows.items()} == {
        str(n): kind for n, kind in kinds.items()
    }
    # LFC's FRAME is a number of the night.
    (row,) = rows_of({"lfc": [*usual(), card("FRAME", "14")]}).values()
    assert (row.facts["type"], warnings_of(row)) == ("science", "")


def test_a_dark_of_no_time_is_a_bias_with_a_warning(rows_of, tmp_path):
    dark = [one for one in cards_without(("EXPTIME", "IMAGETYP"))]
    dark.append(card("IMAGETYP", quote("DARK")))
    cases = {
        "zero": [*dark, card("EXPTIME", "0.0")],
        "long": [*dark, card("EXPTIME", "300.0")],
        "not sure": [*dark, card("EXPTIME", "0.0"), card("EXPOSURE", "300.0")],
        "unknown": dark,
    }
    rows = rows_of(cases)
    assert {name: row.facts["type"] for name, row in rows.items()} == {
        "zero": "bias", "long": "dark", "not sure": "dark", "unknown": "dark",
    }  # fmt: skip
    assert "types: [{type: dark, imagetyp: DARK}]" in warnings_of(rows["zero"])
    profile_text = "recognise: {INSTRUME: PROBE}\ntypes: [{type: dark, imagetyp: DARK}]\n"
    assert rows_of(cases, profile=profile_text)["zero"].facts["type"] == "dark"


def test_science_whose_object_is_a_flat_has_a_warning_with_its_remedy(rows_of):
    light = [*cards_without(("IMAGETYP",)), card("IMAGETYP", quote("Light Frame"))]
    cases = {
        "flat": [*light, card("OBJECT", quote("flat"))],
        "numbered": [*light, card("OBJECT", quote("SkyFlat 3"))],
        "star": [*light, card("OBJECT", quote("Flatiron nebula"))],
    }
    rows = rows_of(cases)
    assert {row.facts["type"] for row in rows.values()} == {"science"}
    assert {name for name, row in rows.items() if row.warnings} == {"flat", "numbered"}
    rule = re.search(r"types: \[(.*)\]", warnings_of(rows["flat"]))[0]
    profile = f"recognise: {{INSTRUME: PROBE}}\n{rule}\n"
    assert rows_of(cases, profile=profile)["flat"].facts["type"] == "flat"


def test_a_rule_on_the_name_of_the_file(rows_of):
    profile = """
recognise: {INSTRUME: PROBE}
types:
  - {type: flat, file: ["flat_*", "calib/*"]}
"""
    rows = rows_of(
        {"flat_1": usual(), "Flat_2": usual(), "calib/a": usual(), "m31": usual()}, profile=profile
    )
    assert [row.facts["type"] for row in rows.values()] == ["flat", "flat", "flat", "science"]


WHEELS = {
    "no filter": ([("FILTER", "NO_FILTER"), ("FILTER2", "B")], "B"),
    "clear": ([("FILTER1", "Clear"), ("FILTER2", "V")], "V"),
    "open": ([("FILTER1", "OPEN"), ("FILTER2", "R")], "R"),
    "air": ([("FILTER1", "air"), ("FILTER2", "rp"), ("FILTER3", "air")], "rp"),
    "second open": ([("FILTER1", "V"), ("FILTER2", "open")], "V"),
    "both": ([("FILTER1", "V"), ("FILTER2", "ND2")], "V+ND2"),
    "numbered place": ([("FILTER1", "open1-6"), ("FILTER2", "g_G0301")], "g_G0301"),
    "brackets": ([("FILTER", "<NO FILTER>"), ("FILTER2", "GG455")], "GG455"),
    "one": ([("FILTER", "Clear")], "Clear"),
    "all open": ([("FILTER1", "open"), ("FILTER2", "Clear")], "open"),
    "blue": ([("BLUFILT", "B")], "B"),
    "filname": ([("FILNAME", "Halpha")], "Halpha"),
    "unknown": ([("FILTER", "UNKNOWN"), ("FILTERID", "i")], "i"),
    "none": ([], ""),
}


def test_filters_of_several_wheels(rows_of):
    rows = rows_of(
        {
            name: [*usual(), *(card(key, quote(text)) for key, text in cards)]
            for name, (cards, _) in WHEELS.items()
        }
    )
    assert {name: row.facts["filter"] for name, row in rows.items()} == {
        name: want for name, (_, want) in WHEELS.items()
    }


def test_the_grism_is_a_column(rows_of, tmp_path):
    rows = rows_of(
        {
            "grism": [*usual(), card("GRISM", quote("600/4310"))],
            "grating": [*usual(), card("GRATING", quote("R300B"))],
            "none": usual(),
        }
    )
    assert [row.facts["grism"] for row in rows.values()] == ["600/4310", "R300B", ""]
    table = read_inventory(tmp_path / "results" / "inventory.csv")
    assert sorted(table["grism"]) == ["", "600/4310", "R300B"]


# -- marks of a reduction --------------------------------------------------------------------------

SETTINGS = [
    "OVERSCAN= '[33 40 1 24]'", "OVERSCAN= '[33:40,1:24]'", "OVERSCAN= 'ON      '",
    "OVERSCAN= 'YES     '", "OVERSCAN= 'Enabled '", "OVERSCAN= T", "OVERSCAN= 16.0",
    "OVERSCAN= '16'", "OVERSCAN= '16,0'", "OVERSCAN= 'both sides'", "TRIM    = 'YES     '",
    "BIASLVL = 1000.0", "CALSTAT = '        '", "PROCBIAS= F", "PROCFLAT= 'NO      '",
    "HISTORY no bias subtracted", "HISTORY dark subtraction: off", "HISTORY taken through flat 3",
    "NCOMBINE= 1", "MIRAPROC= '00000'", "L1STATOV= -1", "L1STATOV= 0",
]  # fmt: skip
MARKS = [
    "OVERSCAN= 'Oct  8 21:19 Overscan section is [33:40,1:24] with mean=1000.'",
    "OVERSCAN= 'subtracted'", "OVERSCAN= 812.34", "TRIM    = 'Nov 22 14:17 Trim data section'",
    "CALSTAT = 'B       '", "PROCBIAS= T", "PROCDARK= 'mdark.fits'", "PROCFLAT= 'done'",
    "BIASSUB = T", "DARKSUB = 'YES     '", "FLATDIV = 1", "MIRAPROC= '10000'", "NCOMBINE= 5",
    "HISTORY Bias subtracted with master_bias.fits", "HISTORY Flat field correction applied",
    "HISTORY Calibrated with a master dark", "HISTORY overscan removed and trimmed",
    "HISTORY Dark Subtraction (Dark 3, 1024 x 1024)", "HISTORY divided by flat",
    "L1STATOV= 1", "CCDMEAN = -0.03",
]  # fmt: skip


def test_settings_of_a_readout_are_no_marks_of_a_reduction(rows_of):
    rows = rows_of({str(n): [*usual(), one.ljust(80)] for n, one in enumerate(SETTINGS)})
    wrong = {SETTINGS[int(n)]: row.reason for n, row in rows.items() if row.status != "ok"}
    assert rows
    assert wrong == {}


def test_marks_of_a_reduction_set_aside_unless_the_profile_says_raw(rows_of):
    cases = {str(n): [*usual(), one.ljust(80)] for n, one in enumerate(MARKS)}
    rows = rows_of(cases)
    assert rows
    assert {MARKS[int(n)]: r.reason for n, r in rows.items() if r.status != "set aside"} == {}
    assert rows
    assert all("reduced already" in row.reason for row in rows.values())
    assert rows
    assert all("raw: true" in row.reason for row in rows.values())
    rows_of_raw_camera = rows_of(cases, profile="recognise: {INSTRUME: PROBE}\nraw: true\n")
    assert {row.status for row in rows_of_raw_camera.values()} == {"ok"}


def _floats(path, image):
    reduced_hdu = fits.PrimaryHDU(image.astype(np.float32))
    reduced_hdu.header["INSTRUME"], reduced_hdu.header["IMAGETYP"] = "PROBE", "bias"
    reduced_hdu.header["BIASSEC"] = f"[{NX + 1}:{NX + STRIP},1:{NY}]"
    reduced_hdu.header["TRIMSEC"] = f"[1:{NX},1:{NY}]"
    path.parent.mkdir(parents=True, exist_ok=True)
    reduced_hdu.writeto(path)


@pytest.mark.parametrize("several", [False, True])
def test_floats_below_0_are_a_mark_of_a_reduction(several, tmp_path):
    """A frame alone is read whole, the second of a kind is streamed: both ways give one verdict."""
    raw = pixels(3, light=0).astype(float)
    if several:
        _floats(tmp_path / "raw" / "a.fits", raw)
    _floats(tmp_path / "raw" / "raw.fits", raw)
    _floats(tmp_path / "raw" / "subtracted.fits", raw - 1000)
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {}, kinds=("frame",))
    rows = run.context.store.rows
    assert (rows["raw.fits"].status, rows["subtracted.fits"].status) == ("ok", "set aside")
    assert "floating point and has pixels below 0" in rows["subtracted.fits"].reason
    profile = {"probe": "recognise: {INSTRUME: PROBE}\nraw: true\n"}
    run = run_jobs(tmp_path / "raw", tmp_path / "second", profile, kinds=("frame",))
    with run.open("reduced/subtracted.fits") as hdus:
        subtracted = raw.astype(np.float32) - np.float32(1000)
        assert hdus[0].data == pytest.approx(
            reduce_by_numpy((raw - 1000).astype(np.float32)), abs=1e-3
        )
        assert subtracted.min() < 0


def _write_scaled(path, image, *, dtype=np.float32, cards=()):
    """Write a frame scaled to 0..1, as Siril and PixInsight do."""
    scaled_hdu = fits.PrimaryHDU((image / 65535).astype(dtype))
    scaled_hdu.header.update(
        {"INSTRUME": "PROBE", "IMAGETYP": "bias", "EGAIN": 1.5, "PROGRAM": "Siril",
         "BIASSEC": f"[{NX + 1}:{NX + STRIP},1:{NY}]", "TRIMSEC": f"[1:{NX},1:{NY}]"}
    )  # fmt: skip
    scaled_hdu.header.update(dict(cards))
    path.parent.mkdir(parents=True, exist_ok=True)
    scaled_hdu.writeto(path)


@pytest.mark.parametrize("several", [False, True])
def test_a_frame_scaled_to_one_is_set_aside(several, tmp_path):
    """Gains are then off by 65535. A frame alone is read whole, the second of one is streamed."""
    raw = pixels(3).astype(float)
    if several:
        _floats(tmp_path / "raw" / "a.fits", raw)
    _floats(tmp_path / "raw" / "raw.fits", raw)
    faulty = raw.copy()
    faulty[3, 5] = np.nan
    _write_scaled(tmp_path / "raw" / "scaled.fits", faulty)
    _write_scaled(tmp_path / "raw" / "double.fits", raw, dtype=np.float64)
    _write_scaled(tmp_path / "raw" / "full.fits", np.where(raw > 1200, 65535.0, raw))
    _floats(tmp_path / "raw" / "normal.fits", raw / raw.mean())
    _write_scaled(tmp_path / "raw" / "cured.fits", raw, cards={"BSCALE": 65535.0})
    # Raw frames of few adu: whole numbers, and a level above 2 with fractions.
    _floats(tmp_path / "raw" / "few.fits", np.round(raw) % 2)
    _floats(tmp_path / "raw" / "means.fits", raw / 300)
    profile = {"probe": "recognise: {INSTRUME: PROBE}\nraw: true\n"}
    for cameras, results in (({}, "results"), (profile, "second")):
        run = run_jobs(tmp_path / "raw", tmp_path / results, cameras, kinds=("frame",))
        rows = run.context.store.rows
        reasons = {name: row.reason for name, row in rows.items() if row.status != "ok"}
        assert sorted(reasons) == ["double.fits", "full.fits", "normal.fits", "scaled.fits"]
        assert set(reasons.values()) == {
            "pixels above 2: the pixels are scaled to 0..1: they are real numbers, and nearly none"
            " is above 2 (found '0 of 960'); allowed: adu of the converter; write the frames as"
            " integers of the converter (in Siril set16bits, in PixInsight 16 bits), or give their"
            " headers BSCALE = 65535"
        }
        with run.open("reduced/cured.fits") as hdus:
            assert hdus[0].data == pytest.approx(reduce_by_numpy(raw), abs=0.02)


# -- the last lines --------------------------------------------------------------------------------


def test_warnings_stand_in_the_table_and_once_for_each_kind_in_the_last_lines(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(5):
        cards = [*usual(), card("GAIN", f"'odd {number}'")]
        (raw / f"g{number}.fits").write_bytes(frame(pixels(number), cards))
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    warning_lines = [line for line in run.lines if line.startswith("warning") and "GAIN" in line]
    assert warning_lines == [
        "warning: g0.fits (the first of 5 frames): GAIN: not a number from 0 to 1e6 (found"
        " 'odd 0'); allowed: electrons per adu, above 0; correct the card, or write gain into the"
        " camera's profile"
    ]
    table = read_inventory(tmp_path / "results" / "inventory.csv").set_index("file")
    expected_warning = "warning: GAIN: not a number from 0 to 1e6 (found 'odd 3')"
    assert expected_warning in table.loc["g3.fits", "reason"].split("; ")
    (why,) = [line for line in run.lines if line.startswith("no combined bias")]
    assert "no frame is of type bias (5 science)" in why


def test_a_camera_whose_overscan_no_card_names_has_a_line(tmp_path):
    """The level would stay in all frames, and no other line of the run would say so."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(3):
        cards = usual(has_sections=number == 0)
        (raw / f"f{number}.fits").write_bytes(frame(pixels(number), cards))
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    assert [line for line in run.lines if line.startswith("no overscan")] == [
        "no overscan subtracted: probe: f1.fits (the first of 2 frames): no card names one. If the "
        "camera has one, `make new-camera FRAME=BIAS FLAT=FLAT` finds it; if not, `overscan: none`"
        " in a profile ends this line"
    ]
    profile = "recognise: {INSTRUME: PROBE}\noverscan: none\n"
    run = run_jobs(raw, tmp_path / "other", {"probe": profile}, kinds=("frame",))
    assert [line for line in run.lines if line.startswith("no overscan")] == []


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress)])
def test_files_packed_by_bzip2_and_xz_become_the_product_of_the_plain_file(ending, pack, tmp_path):
    raw, content = tmp_path / "raw", frame(pixels(1), usual())
    raw.mkdir()
    packed = pack(content)
    (raw / f"a.fits.{ending}").write_bytes(packed)
    (raw / f"second.fits.{ending}").write_bytes(pack(frame(pixels(2), usual())))
    half = len(content) // 2880 // 2 * 2880
    (raw / f"two.fits.{ending}").write_bytes(pack(content[:half]) + pack(content[half:]))
    (raw / f"cut.fits.{ending}").write_bytes(packed[: len(packed) * 2 // 3])
    (raw / f"bad.fits.{ending}").write_bytes(packed[:200] + bytes(50) + packed[250:])
    (raw / f"long.fits.{ending}").write_bytes(pack(content + bytes(1 << 22)))
    (raw / "b.fits").write_bytes(content)
    for path in raw.iterdir():
        os.utime(path, (1.7e9, 1.7e9))
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    rows = run.context.store.rows
    assert rows["b.fits"].fingerprint == rows[f"a.fits.{ending}"].fingerprint
    for name, seed in (("a", 1), ("two", 1), ("second", 2)):
        with run.open(f"reduced/{name}.fits") as hdus:
            assert np.array_equal(hdus[0].data, reduce_by_numpy(pixels(seed)))
    for name, reason in (
        ("cut", "ends early"),
        ("bad", "stream is damaged"),
        ("long", "holds more"),
    ):
        row = rows[f"{name}.fits.{ending}"]
        assert row.status == "set aside"
        assert reason in row.reason


def test_files_that_are_passed_over_are_counted(tmp_path):
    raw = tmp_path / "raw"
    (raw / "n1").mkdir(parents=True)
    for name in ("a.fits", "._a.fits", "n1/.b.fits.gz", "n1/c.fits.Z", ".DS_Store", "notes.zip"):
        (raw / name).write_bytes(frame(pixels(1), usual()))
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    assert list(run.context.store.rows) == ["a.fits"]
    assert [line for line in run.lines if line.startswith("passed over")] == [
        "passed over: 2 files with a leading dot in the name (the first: '._a.fits')",
        "passed over: 1 file packed in a way that is not read: unpack them, or pack them with gzip "
        "(the first: 'n1/c.fits.Z')",
    ]
