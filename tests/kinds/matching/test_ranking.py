"""The columns of masters: exposures, temperatures, and the order of candidates."""

import random
from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest

from ccdflow.kinds.matching import ranking
from ccdflow.kinds.matching.master_columns import (
    HAS_KNOWN_TEMPERATURE,
    HAS_OTHER_TEMPERATURE,
    IS_EXACT,
    IS_SCALED_UP,
    IS_TOO_SHORT,
    columns_of_masters,
    day_of,
)
from ccdflow.kinds.matching.ranking import (
    Ranking,
    rank_masters,
    rank_recent,
    rescale_use,
)
from ccdflow.kinds.matching.rule_values import (
    EXACT_NIGHTS,
    CandidateMaster,
    DetectorNoise,
    Observation,
    Rules,
)
from ccdflow.kinds.matching.temperatures import degrees_beyond_tolerance, degrees_warmer
from ccdflow.kinds.matching.terms import choice_key, terms_of

NIGHT = "2024-03-10"
NOISE = DetectorNoise(read_noise=10.0)


def master(kind, night=NIGHT, frames=10, exptime=60.0, **temperatures):
    about = Observation((), night, exptime, "g", **temperatures)
    return CandidateMaster(f"{kind}_{night}_{frames}_{exptime}", kind, about, frames)


def order(kind, masters, *, night=NIGHT, exptime=60.0, rules=None, **temperatures):
    columns = columns_of_masters(masters, rules or Rules())
    frame = Observation((), night, exptime, "g", **temperatures)
    uses = rank_masters(columns, kind, frame, NOISE, exptime)
    return [(use.product, use.grade, use.lag, use.scale) for use in uses]


@pytest.mark.parametrize(
    ("night", "day"), [("2024-03-10", 738955), ("2024-03-10_b", 738955), ("undated", None)]
)
def test_a_night_has_the_day_of_its_date(night, day):
    assert day_of(night) == day


def test_flags_of_exposures_tell_equal_ones_and_those_too_short():
    columns = columns_of_masters(
        [master("dark", exptime=t) for t in (10.0, 30.0, 60.0, 60.05, 300.0)], Rules(scale_up=2.5)
    )
    flags = list(columns.exposure_flags(60.0))
    # 60.05 s is exact to a thousandth; 30 s is stretched by 2, 10 s by more than is allowed.
    assert flags == [IS_SCALED_UP | IS_TOO_SHORT, IS_SCALED_UP, IS_EXACT, IS_EXACT, 0]


def test_the_same_masters_under_other_rules_have_flags_of_their_own():
    """The flags that columns keep follow from the rules: an exposure asked twice has both."""
    darks = [master("dark", exptime=20.0, set_temperature=-20.0)]
    narrow = columns_of_masters(darks, Rules(scale_up=2.5, temperature_tolerance=0.5))
    wide = columns_of_masters(darks, Rules(scale_up=4.0, temperature_tolerance=2.0))
    for columns, exposure_flags, has_other_temperature in (
        (narrow, IS_SCALED_UP | IS_TOO_SHORT, 1),
        (wide, IS_SCALED_UP, 0),
        (narrow, IS_SCALED_UP | IS_TOO_SHORT, 1),
    ):
        assert list(columns.exposure_flags(60.0)) == [exposure_flags]
        flags = columns.temperature_flags((-19.0, None))
        assert list(flags) == [
            HAS_KNOWN_TEMPERATURE | has_other_temperature * HAS_OTHER_TEMPERATURE
        ]


@pytest.mark.parametrize(
    ("of_master", "of_frame", "apart"),
    [
        ((None, None), (-20.0, -20.0), None),
        ((None, -19.5), (None, -20.0), 0.5),
        ((-20.0, -19.5), (-20.0, -20.0), 0.0),
        ((-20.0, 5.0), (-20.0, -20.0), 25.0),
        ((-10.0, None), (-20.0, None), 10.0),
    ],
)
def test_set_points_count_unless_the_cooler_did_not_reach_them(of_master, of_frame, apart):
    assert degrees_warmer(of_master, of_frame) == apart


def test_a_bias_of_many_frames_goes_first_on_a_camera_that_does_not_age():
    few, many = master("bias", frames=5), master("bias", "2024-03-08", frames=50)
    assert order("bias", [few, many]) == [
        (many.product, "B", 2, 1.0),
        (few.product, "A", 0, 1.0),
    ]
    assert order("bias", [few, many], rules=Rules(prefers_own_night=True))[0][0] == few.product


def test_an_earlier_bias_goes_before_a_later_one():
    earlier, later = master("bias", "2024-02-01", frames=3), master("bias", "2024-03-11", frames=90)
    assert [each[0] for each in order("bias", [later, earlier])] == [earlier.product, later.product]
    nearest = order("bias", [later, earlier], rules=Rules(direction="nearest"))
    assert nearest[0][0] == later.product


def test_an_exact_dark_goes_before_one_scaled_down_and_that_before_one_scaled_up():
    darks = [master("dark", exptime=t) for t in (30.0, 60.0, 120.0, 10.0)]
    assert order("dark", darks) == [
        (darks[1].product, "B", 0, 1.0),
        (darks[2].product, "B", 0, 0.5),
        (darks[0].product, "C", 0, 2.0),
    ]


def test_a_dark_of_another_temperature_is_no_candidate():
    cold, warm = master("dark", set_temperature=-20.0), master("dark", set_temperature=-10.0)
    (candidate,) = order("dark", [warm, cold], set_temperature=-20.0)
    assert candidate == (cold.product, "A", 0, 1.0)


@pytest.mark.parametrize(
    ("of_dark", "is_candidate"),
    [
        ({"set_temperature": -19.5}, True),
        ({"set_temperature": -20.5}, True),
        ({"set_temperature": -19.375}, False),
        ({"set_temperature": -20.0, "temperature": -18.0}, True),
        ({"set_temperature": -20.0, "temperature": -17.875}, False),
        ({"temperature": -19.5}, True),
        ({"temperature": -20.625}, False),
    ],
)
def test_a_dark_differs_by_half_a_degree_and_a_sensor_at_one_set_point_by_two(
    of_dark, is_candidate
):
    """The limits themselves are allowed, in either direction."""
    cold = {"set_temperature": -20.0, "temperature": -20.0}
    assert len(order("dark", [master("dark", **of_dark)], **cold)) == is_candidate


@pytest.mark.parametrize(
    ("of_master", "warmer"),
    [
        ((-20.0, -18.0), 0.0),
        ((-20.0, -22.0), 0.0),
        ((-20.0, -17.875), 2.1),
        ((-20.0, -22.125), -2.1),
        ((-19.5, -20.0), 0.0),
        ((-19.0, -20.0), 1.0),
        ((-16.0, -16.0), 4.0),
        # Both are off by the same: the set point counts.
        ((-16.0, -24.0), 4.0),
        ((-16.0, -25.0), -5.0),
    ],
)
def test_a_sensor_counts_for_a_bias_where_it_is_more_than_two_degrees_off(of_master, warmer):
    """Set points within the tolerance are equal; the farther of set point and sensor counts."""
    set_points, sensors = (np.array([each]) for each in of_master)
    degrees = degrees_beyond_tolerance(set_points, sensors, (-20.0, -20.0), Rules())
    assert degrees.tolist() == [warmer]


def test_frames_with_the_same_candidates_ask_the_same_question():
    columns = columns_of_masters([master("dark", exptime=t) for t in (60.0, 300.0)], Rules())

    def question_of_frame(seconds):
        return choice_key(columns, "dark", seconds, (None, None))

    assert question_of_frame(60.01) == question_of_frame(60.02)
    # 60.2 s is no longer the exposure of the dark of 60 s.
    assert question_of_frame(60.2)[0] != question_of_frame(60.01)[0]
    # The exposure of a flat is no part of the key.
    flats = [choice_key(columns, "flat", seconds, (-20.0, None)) for seconds in (1, 9)]
    assert flats[0] == flats[1]


def test_a_rescaled_dark_adds_with_the_square_of_the_exposure():
    columns = columns_of_masters([master("dark", exptime=100.0)], Rules())
    frame = Observation((), NIGHT, 50.0, "g")
    (half,) = rank_masters(columns, "dark", frame, NOISE, 50.0)
    quarter = rescale_use(half, 100.0, 25.0)
    assert (half.scale, quarter.scale) == (0.5, 0.25)
    assert quarter.variance == pytest.approx(half.variance / 4)
    assert "scaled down by 0.25" in quarter.remark_texts


def columns_and_frame(rng):
    """Return a random frame and years of masters: many masters are equal but for their night."""
    kind = rng.choice(["bias", "dark", "flat"])
    nights = [
        "undated"
        if rng.random() < 0.02
        else str(date(2024, 3, 10) + timedelta(rng.randint(-900, 200)))
        for _ in range(rng.choice([8, 150, 150]))
    ]
    counts, times = rng.choice([(10,), (3, 10, 60)]), rng.choice([(60.0,), (30.0, 60.0, 200.0)])
    degrees = rng.choice([(None,), (-20.0, -20.0, -19.8), (-20.0, -10.0, None)])
    masters = [
        CandidateMaster(
            f"{kind}{number:03}",
            kind,
            Observation((), own, rng.choice(times), "g", rng.choice(degrees), rng.choice(degrees)),
            rng.choice(counts),
            rng.choice([0.0, 3.0]),
        )
        for number, own in enumerate(sorted(nights))
    ]
    ages = rng.choice([0.0, 0.003, 0.1])
    noise = DetectorNoise(10.0, 0.01, 2e4, ages, ages / 4000, ages / 1e5)
    rules = Rules(rng.choice(["causal", "causal", "nearest"]), rng.random() < 0.2)
    asked = Observation(
        (), rng.choice([*nights, "2024-03-10"]), rng.choice([20.0, 60.0, 61.0]), "g",
        rng.choice(degrees), rng.choice(degrees),
    )  # fmt: skip
    return columns_of_masters(masters, rules), kind, asked, noise, asked.exptime


def test_masters_further_away_are_left_out_only_where_they_cannot_win():
    """Against a comparison of all masters, ties included."""
    rng, reaches = random.Random(3), Counter()
    for _ in range(200):
        _, _, frame, _, _ = asked = columns_and_frame(rng)
        terms = terms_of(*asked)
        assert rank_masters(*asked) == Ranking(terms, frame.night).uses()
        near = Ranking(terms, frame.night, EXACT_NIGHTS)
        reach = near.reach_of_others()
        is_far = "near" if reach <= EXACT_NIGHTS else "all" if reach == float("inf") else "some"
        reaches[is_far] += len(near._order) == 5
    # Each way is taken, those that leave masters out as well.
    assert min(reaches.values()) > 12
    assert len(reaches) == 3


def test_the_last_masters_are_taken_alone_only_where_no_other_can_win():
    """Against a comparison of all masters, in archives with masters of nearly each night."""
    rng, ways = random.Random(4), Counter()
    for _ in range(150):
        kind, counts = rng.choice(["bias", "dark"]), rng.choice([(10,), (9, 10), (3, 10, 60)])
        masters = [
            CandidateMaster(
                f"{kind}{rng.random()}",
                kind,
                Observation((), str(date(2024, 3, 10) + timedelta(day)), seconds, "g", -20.0),
                rng.choice(counts),
            )
            for day in range(-rng.choice([4, 15, 60]), rng.choice([0, 5]))
            for seconds in ((60.0, 300.0) if kind == "dark" else (0.0,))
            if rng.random() < 0.9
        ]
        age, night = rng.choice([0.0, 0.003, 0.1]), rng.choice([NIGHT, "2024-03-25", "undated"])
        noise = DetectorNoise(10.0, 0.01, 2e4, age, age / 4000)
        rules, asked = (
            Rules(prefers_own_night=rng.random() < 0.2),
            Observation((), night, 60.0, "g", -20.0),
        )
        values_of_frame = columns_of_masters(masters, rules), kind, asked, noise, 60.0
        terms = terms_of(*values_of_frame)
        expected = Ranking(terms, night).uses()
        assert rank_masters(*values_of_frame) == expected
        last_ones = rank_recent(terms, night)
        assert last_ones in (None, expected)
        ways[last_ones is None] += 1
    assert min(ways.values()) > 30


def test_the_index_of_a_master_of_several_nights_is_its_first():
    nights = "2024-03-12", "2024-03-10", "2024-03-11"
    masters = [master("bias", night) for night in nights]
    both = CandidateMaster(masters[1].product, "bias", masters[0].observation, 10)
    columns = columns_of_masters([masters[1], both, masters[2]], Rules())
    index = columns.index_of(masters[1].product)
    assert columns.masters[index].observation.night == "2024-03-10"
    assert columns.index_of("bias of another setup") is None


def test_the_first_of_many_masters_are_those_of_a_whole_sort(monkeypatch):
    rng, orders = random.Random(5), set()
    for _ in range(200):
        _, _, frame, _, _ = asked = columns_and_frame(rng)
        terms = terms_of(*asked)
        if len(terms.indices) < 6:
            continue
        monkeypatch.setattr(ranking, "_FEW_MASTERS", len(terms.indices))
        expected = Ranking(terms, frame.night).uses()
        monkeypatch.setattr(ranking, "_FEW_MASTERS", 0)
        assert Ranking(terms, frame.night).uses() == expected
        orders.add(tuple(use.product for use in expected))
    assert len(orders) > 100
