"""The times of a watch's rounds: the rest before a whole one, and the pause after a problem."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ccdflow.run.watch import round_schedule
from ccdflow.run.watch.round_schedule import RoundSchedule

DAILY = Path(__file__).parents[3] / "docs" / "daily.md"


@dataclass
class SetClock:
    """A time that stands still until it is set."""

    now: float = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def schedule(clock):
    return RoundSchedule(clock)


def seconds_until(clock, is_so):
    """Return after how many steps of 0.5 s something is so; the clock stands there then."""
    began = clock.now
    while not is_so():
        assert clock.now < began + 1000, "it never is"
        clock.now += 0.5
    return clock.now - began


def take_whole(schedule, clock, seconds, **options):
    schedule.begin_whole()
    clock.now += seconds
    schedule.note_whole(**options)


def test_a_new_watch_may_begin_and_has_no_whole_round_to_come(schedule):
    assert schedule.may_begin()
    assert not schedule.has_whole_round
    assert not schedule.is_whole_due()


# Five times the last whole round, and two seconds at least.
@pytest.mark.parametrize(("took", "rest"), [(0.0, 2.0), (0.3, 2.0), (1.0, 5.0), (60.0, 300.0)])
def test_a_whole_round_follows_a_short_one_after_a_rest_by_its_length(schedule, clock, took, rest):
    take_whole(schedule, clock, took)
    assert not schedule.has_whole_round
    schedule.note_short()
    assert schedule.has_whole_round
    assert schedule.may_begin()
    assert seconds_until(clock, schedule.is_whole_due) == rest


def test_short_rounds_that_go_on_do_not_put_the_whole_one_off(schedule, clock):
    take_whole(schedule, clock, 2.0)
    schedule.note_short()
    for _ in range(3):
        clock.now += 3.0
        schedule.note_short()
    assert seconds_until(clock, schedule.is_whole_due) == 1.0


def test_after_a_failed_product_the_whole_round_is_due_at_once(schedule, clock):
    take_whole(schedule, clock, 60.0)
    schedule.note_short()
    assert not schedule.is_whole_due()
    schedule.note_short(has_failure=True)
    assert schedule.is_whole_due()


@pytest.mark.parametrize(("is_busy", "pause"), [(False, 10.0), (True, 0.0)])
def test_a_problem_lets_time_pass_and_another_run_none(schedule, clock, is_busy, pause):
    schedule.note_problem(is_busy=is_busy)
    assert not schedule.has_whole_round
    assert seconds_until(clock, schedule.may_begin) == pause


@pytest.mark.parametrize(("is_busy", "pause"), [(False, 10.0), (True, 0.0)])
def test_a_short_round_with_a_problem_leads_to_a_whole_one(schedule, clock, is_busy, pause):
    schedule.note_short(has_failure=True)
    schedule.note_failed_short(is_busy=is_busy)
    assert seconds_until(clock, schedule.may_begin) == pause
    assert seconds_until(clock, schedule.is_whole_due) == 10.0 - pause


def test_an_open_whole_round_comes_again_and_a_clean_one_does_not(schedule, clock):
    take_whole(schedule, clock, 4.0, is_unfinished=True)
    assert schedule.has_whole_round
    assert seconds_until(clock, schedule.is_whole_due) == 10.0
    take_whole(schedule, clock, 4.0)
    assert not schedule.has_whole_round
    clock.now += 1e6
    assert not schedule.is_whole_due()


@pytest.mark.parametrize(("took", "rest"), [(0.5, 10.0), (4.0, 20.0)])
def test_products_that_can_be_repaired_are_tried_again_after_a_rest(schedule, clock, took, rest):
    """Five times the round, and ten seconds at least: an archive's round takes a minute."""
    take_whole(schedule, clock, took, has_failed_products=True)
    assert seconds_until(clock, schedule.is_whole_due) == rest
    # A frame that is still being written does not wait for that.
    take_whole(schedule, clock, 60.0, is_unfinished=True, has_failed_products=True)
    assert seconds_until(clock, schedule.is_whole_due) == 10.0


def test_products_that_failed_are_tried_again_ever_more_rarely(schedule, clock):
    """The next frame was waited for, and at the end of a night the next run."""
    pauses = []
    for _ in range(9):
        take_whole(schedule, clock, 1.0, has_failed_products=True)
        pauses.append(seconds_until(clock, schedule.is_whole_due))
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0, 600.0]
    take_whole(schedule, clock, 1.0)
    assert not schedule.has_whole_round
    take_whole(schedule, clock, 1.0, has_failed_products=True)
    assert seconds_until(clock, schedule.is_whole_due) == 10.0


def test_a_whole_round_ends_the_pause_of_an_earlier_problem(schedule, clock):
    schedule.note_problem()
    assert not schedule.may_begin()
    take_whole(schedule, clock, 1.0)
    assert schedule.may_begin()


def test_one_row_of_the_documents_has_the_pauses_after_a_failure():
    """Two merged branches had a row each, with other pauses."""
    text = DAILY.read_text("utf-8")
    (row,) = [line for line in text.splitlines() if "twice as long" in line]
    assert f"tried again after {round_schedule._RETRY_SECONDS:g} s," in row
    assert f"up to {round_schedule._MOST_RETRY_SECONDS / 60:g} minutes" in row
    assert {5: "five"}[round_schedule._REST_FACTOR] + " times a whole round" in row
    assert sum("permissions, disk, network" in line for line in text.splitlines()) == 1
