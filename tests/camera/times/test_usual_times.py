"""The time of a usual header is found by a short way: with the same result as card by card."""

import random
from unittest import mock

import pytest
from header_fuzz import card, quote

from ccdflow.camera import facts
from ccdflow.camera.facts import ProfileFacts, default_cards, frame_facts
from ccdflow.camera.times.usual_times import usual_moment
from ccdflow.files.fits_structure import parse_header

STRUCTURE = [
    card("SIMPLE", "T"), card("BITPIX", "16"), card("NAXIS", "2"), card("NAXIS1", "96"),
    card("NAXIS2", "48"), card("IMAGETYP", quote("object")),
]  # fmt: skip
# Usual values, those of other times, ways of writing that the short way does not read.
CARDS = {
    "EXPTIME": ("10.0", "300", quote("1,500"), "-1", "0.0"),
    "DATE-OBS": (
        quote("2016-01-21"), quote("2016-01-21T01:16:40"), quote("2016-01-21T01:16:40.25"),
        quote("2016-01-21T00:00:00"), quote("21/01/16"), quote("2016-02-30"), "20160121",
        quote("2016-01-21T25:16:40"), quote("1970-01-01"), quote(""),
        quote("2016-01-21T01:16Z"),
    ),
    "FRAME": ("51", "0", "2016021", "20160121", quote("object"), quote("2016-01-20")),
    "DATE-AVG": (
        quote("2016-01-21T01:16:45"), quote("2016-01-21"), quote("2016-01-24T01:16:45"),
    ),
    "UT": (
        quote("01:16:40.00"), quote("01:16:40"), quote("00:00:00"), quote("13:00:00"), "4600.0",
        quote("T01:16:40"), quote("01:16:61"), quote("unknown"), quote("2016-01-21T01:16:40"),
    ),
    "TIME": (quote("01:16:50"), quote("18:00:00"), "51"),
    "JD": ("2457408.553241", "2457408.5", "2457408", "2457411.553241", "0.5", "51"),
    "MJD-OBS": ("57408.0532", "57408.0", "0.0", quote("57408.0532"), "57411.0532"),
    "TIMESYS": (quote("UTC"), quote("TAI"), quote("local"), quote("+02:00"), quote("mars")),
    "LONGITUD": ("-116.9", quote("116:54:00 W")),
}  # fmt: skip
COMMENTS = ("", "", "UT of the start", "local time", "dd/mm/yy", "record: of FITS")


def facts_of(texts):
    headers = [parse_header("".join([*texts, f"{'END':80}"]).encode())]
    return frame_facts(headers, default_cards(), (), ProfileFacts(), file="n20160120/a.fits")


def without_short_way(texts):
    with mock.patch.object(facts, "usual_moment", return_value=None):
        return facts_of(texts)


def random_cards(chance):
    """Return the cards of a header: most of them usual, in any order, some twice."""
    texts = []
    for keyword, values in CARDS.items():
        for _ in range(chance.choice((0, 1, 1, 1, 1, 2))):
            value = values[0] if chance.random() < 0.8 else chance.choice(values)
            comment = chance.choice(COMMENTS) if chance.random() < 0.2 else ""
            texts.append(card(keyword, value, comment))
    chance.shuffle(texts)
    return [*STRUCTURE, *texts]


def test_the_facts_are_those_of_each_card_alone():
    chance, short = random.Random(3), []
    for _ in range(120):
        texts = random_cards(chance)
        moments = []
        with mock.patch.object(
            facts,
            "usual_moment",
            lambda reader, exptime, moments=moments: (
                moments.append(usual_moment(reader, exptime)) or moments[0]
            ),
        ):
            by_the_short_way = facts_of(texts)
        assert by_the_short_way == without_short_way(texts), texts
        short.append(moments[0] is not None)
    assert 30 < sum(short) < 100


@pytest.mark.parametrize(
    ("cards", "date_obs"),
    [
        ({"DATE-OBS": "2016-01-21T01:16:40"}, "2016-01-21T01:16:40"),
        ({"DATE-OBS": "2016-01-21", "UT": "01:16:40.25"}, "2016-01-21T01:16:40.250"),
        ({"DATE-OBS": "2016-01-21", "UT": "00:00:00"}, "2016-01-21T00:00:00"),
        ({"DATE-OBS": "2016-01-21T23:59:59.5", "UT": "00:00:01"}, "2016-01-21T23:59:59.500"),
    ],
)
def test_a_usual_time_is_found_by_the_short_way(cards, date_obs):
    texts = [*STRUCTURE, *(card(name, quote(value)) for name, value in cards.items())]
    with mock.patch.object(facts, "moment_of", side_effect=AssertionError):
        assert facts_of(texts).date_obs == date_obs
    assert without_short_way(texts).date_obs == date_obs
