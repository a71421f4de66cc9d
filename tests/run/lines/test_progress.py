"""The progress line of a run: its counts, its speed, and when it is renewed."""

from __future__ import annotations

import io
import threading

import pytest
from watched_folders import wait_until

from ccdflow.run.lines.progress import BatchCount, Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def run(progress, clock, ticks, *, each, aside=()):
    for number in range(ticks):
        clock.now += each
        progress.add(BatchCount(1, int(number in aside)))


def test_a_line_has_number_speed_remaining_time_and_frames_set_aside():
    clock = Clock()
    progress = Progress(100, stream=io.StringIO(), clock=clock)
    run(progress, clock, 40, each=0.5, aside=(3, 5))
    assert progress.line(clock.now) == (
        "ccdflow: 40 of 100 frames, 2.0 a second, 30 s left, 2 set aside"
    )


def test_a_log_gets_plain_lines_now_and_then():
    clock, stream = Clock(), io.StringIO()
    run(Progress(100, stream=stream, clock=clock), clock, 100, each=0.5)
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["30", "60", "90", "100"]
    assert lines[-1] == "ccdflow: 100 of 100 frames, 2.0 a second"
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_is_renewed_and_left_at_the_end():
    clock, stream = Clock(), Terminal()
    progress = Progress(10, stream=stream, clock=clock)
    run(progress, clock, 10, each=0.25)
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().count("\r") == 10
    progress.end()
    assert stream.getvalue().endswith("ccdflow: 10 of 10 frames, 4.0 a second\n")


def test_a_message_does_not_stand_on_the_renewed_line():
    clock, stream = Clock(), Terminal()
    progress = Progress(10, stream=stream, clock=clock)
    run(progress, clock, 1, each=1)
    progress.say("ccdflow: something")
    before, message = stream.getvalue().rsplit("\r", 1)
    assert message == "ccdflow: something\n"
    assert before.endswith(" " * 40)


def test_no_line_is_printed_where_none_is_wanted():
    clock, stream = Clock(), Terminal()
    progress = Progress(10, mode="none", stream=stream, clock=clock)
    run(progress, clock, 10, each=100)
    progress.end()
    assert stream.getvalue() == ""
    assert progress.count == BatchCount(10, 0, 0)


def test_products_of_other_processes_count():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(100, n_other_products=5, stream=stream, clock=clock)
    clock.now += 20
    progress.add(BatchCount(1))
    progress.take_over(BatchCount(39, 2, 1))
    assert progress.count == BatchCount(40, 2, 1)
    assert stream.getvalue().startswith("ccdflow: 1 of 100 frames")
    clock.now += 20
    progress.take_over(BatchCount(99, 2, 4))
    assert stream.getvalue().splitlines()[-1] == (
        "ccdflow: 100 of 100 frames, 2.5 a second, 2 set aside; 4 of 5 other products"
    )


def test_the_time_left_follows_the_pace_of_the_last_minute():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(1000, stream=stream, clock=clock)
    clock.now += 600
    run(progress, clock, 200, each=1)
    assert "1.0 a second, 13 min 20 s left" in progress.line(clock.now)


def test_a_log_gets_no_second_line_while_nothing_happens():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(1000, stream=stream, clock=clock)
    for _ in range(10):
        clock.now += 20
        progress.take_over(BatchCount())
    assert stream.getvalue() == "ccdflow: 0 of 1000 frames\n"


def test_a_line_is_not_longer_than_the_terminal_is_wide():
    clock, stream = Clock(), Terminal()
    progress = Progress(10**30, n_other_products=9, stream=stream, clock=clock)
    run(progress, clock, 3, each=1, aside=(0, 1, 2))
    assert max(map(len, stream.getvalue().split("\r"))) == 79


def test_watching_asks_until_the_end():
    stream = Terminal()
    progress = Progress(10, stream=stream)
    asked, earlier_threads = [], set(threading.enumerate())

    def count():
        asked.append(True)
        return BatchCount(len(asked), 0, 0)

    progress.watch(count, pause=0.01)
    (asking,) = set(threading.enumerate()) - earlier_threads
    wait_until(lambda: len(asked) >= 3)
    progress.end()
    asking.join(timeout=10)
    assert not asking.is_alive()
    assert progress.count.frames >= 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (75, "1 min 15 s"), (7300, "2 h 1 min")]
)
def test_a_duration_in_words(seconds, text):
    assert duration(seconds) == text


def test_a_run_without_frames_counts_its_other_products():
    stream = io.StringIO()
    progress = Progress(0, n_other_products=2, stream=stream)
    for _ in range(2):
        progress.add(BatchCount(other_products=1))
    assert stream.getvalue() == "ccdflow: 2 of 2 other products\n"


def test_a_run_with_nothing_to_do_has_no_line():
    stream = io.StringIO()
    progress = Progress(0, stream=stream)
    progress.take_over(BatchCount())
    progress.end()
    assert stream.getvalue() == ""
